"""Rotas of opsdash.yaml: an iCalendar file of the workspace becomes the shifts of people.

Who is meant by an event is said by its ATTENDEEs (address, or the part before the @, or name), else by its SUMMARY: the
id, login or name of a person of opsdash.yaml, alone or among other words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

from opsdash.config.files import stamp_of
from opsdash.config.icalendar import MAX_FLAWS, Calendar, Flaw, read_calendar, replaced, timestamp
from opsdash.config.problems import Problem, did_you_mean
from opsdash.config.recurrence import Budget, TooManyStepsError, occurrences
from opsdash.model.cover import DAY, Rota, Shift
from opsdash.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import date
    from pathlib import Path

    from opsdash.config.files import Source, Stamp
    from opsdash.config.icalendar import Event
    from opsdash.config.parts import Report
    from opsdash.config.schema import RotaModel
    from opsdash.model.operation import Person

AHEAD: Final = 400 * DAY
"""Seconds for which shifts are made in advance: more than a year, so that whatever is planned is seen."""

MADE_ANEW: Final = 30 * DAY
"""Seconds after which they are made again from the same file."""

MAX_SHIFTS: Final = 20_000
STEPS: Final = 200_000
"""Steps that all rules of a file may take: half a second."""


@dataclass(frozen=True, slots=True)
class ReadRota:
    """A rota's file as it was read."""

    source: Source
    zone: str
    calendar: Calendar


@dataclass(frozen=True, slots=True)
class RotaFiles:
    """The files of all rotas: as they are, as they were last good, and what tells whether they have changed since."""

    read: Mapping[str, ReadRota] = field(default_factory=dict)
    good: Mapping[str, ReadRota] = field(default_factory=dict)
    stamps: Mapping[str, Stamp | None] = field(default_factory=dict)

    @property
    def sources(self) -> list[Source]:
        """The files, each once."""
        return list({each.source.name: each.source for each in self.read.values()}.values())

    def changed(self, workspace: Path) -> bool:
        """Whether one has changed, come or gone since."""
        return any(stamp_of(workspace / each.source.name) != self.stamps[name] for name, each in self.read.items())

    def still_good(self, read: Mapping[str, ReadRota]) -> dict[str, ReadRota]:
        """What was last good of the rotas that there are now."""
        found = {name: each if not each.calendar.broken else self.good.get(name) for name, each in read.items()}
        return {name: each for name, each in found.items() if each is not None}


class Made(NamedTuple):
    """A rota, and what is wrong with it."""

    rota: Rota
    flaws: tuple[Flaw, ...]


def rota_paths(
    models: Mapping[str, RotaModel], workspace: Path, people: Collection[str], report: Report
) -> dict[str, Path]:
    """The files of the rotas that can be used; of the others it is reported why not."""
    found: dict[str, Path] = {}
    for name, model in models.items():
        part = f"rota/{name}"
        if part in report.off:
            continue
        path = PurePosixPath(model.file)
        if name in people:
            report.error(("rota", name), f"there is a person {name!r}, too", "give the rota another name", part)
        elif path.is_absolute() or ".." in path.parts or not path.parts or "\0" in model.file:
            hint = "name a file of the workspace, such as rota.ics; a link may lead elsewhere"
            report.error(("rota", name, "file"), f"{model.file!r:.60} is not in the workspace", hint, part)
        else:
            found[name] = workspace / path
    return found


def made_rotas(
    files: RotaFiles, models: Mapping[str, RotaModel], people: Mapping[str, Person], wall: float
) -> tuple[dict[str, Rota], list[Problem]]:
    """All rotas, and what is wrong with their files. One that is broken goes on in its last good version."""
    found: dict[str, Rota] = {}
    problems: list[Problem] = []
    for name, read in files.read.items():
        used = files.good.get(name, read)
        made, flaws = rota(name, used, people, wall, warn=models[name].gaps == "warn")
        if read.calendar.broken:
            flaws = read.calendar.flaws
            made = made if used is not read else replace(made, until=0.0)
        found[name] = made
        kept = "the last good version stays in use" if used is not read else ""
        problems += [
            Problem(read.source.name, each.line, (), each.message, "; ".join(filter(None, (each.hint, kept))))
            for each in flaws
        ]
    return found, problems


def read_rota(source: Source, zone: str) -> ReadRota:
    """A rota's file; one that was refused says so."""
    if source.refused:
        return ReadRota(source, zone, Calendar(flaws=(Flaw(0, source.refused, source.hint),), broken=True))
    return ReadRota(source, zone, read_calendar(source.data, zone))


def rota(name: str, read: ReadRota, people: Mapping[str, Person], wall: float, *, warn: bool) -> Made:
    """The shifts from yesterday on, for the 400 days after `wall`."""
    since, until = wall - DAY, wall + AHEAD
    flaws: list[Flaw] = list(read.calendar.flaws)
    shifts: set[Shift] = set()
    budget = Budget(STEPS)
    instead = replaced(read.calendar.events)
    for event in read.calendar.events:
        if event.cancelled:
            continue
        who = _people(event, people)
        if not who:
            flaws.append(_nobody(event, people))
            continue
        try:
            for start, end in _times(event, instead, since, until, budget):
                shifts.update(Shift(start, end, person) for person in who)
        except TooManyStepsError:
            flaws.append(Flaw(event.line, "the rules of this file go on for too long", "leave out what is long over"))
            break
        if len(shifts) > MAX_SHIFTS:
            flaws.append(Flaw(event.line, f"there are more than {MAX_SHIFTS} shifts", "leave out what is long over"))
            break
    made = sorted(shifts, key=lambda shift: (shift.start, shift.end, shift.person))[:MAX_SHIFTS]
    return Made(Rota(name, read.source.name, tuple(made), until, warn), tuple(flaws[:MAX_FLAWS]))


def _times(
    event: Event,
    instead: Mapping[str, tuple[frozenset[float], frozenset[date]]],
    since: float,
    until: float,
    budget: Budget,
) -> Iterator[tuple[float, float]]:
    """When an event takes place, of which something lies between `since` and `until`."""
    zone = event.start.zone
    moments, days = instead.get(event.uid, (frozenset(), frozenset())) if event.replaces is None else ((), ())
    for local in _beginnings(event, since, budget):
        start = timestamp(local, zone)
        if start >= until or (event.rule is not None and event.rule.until is not None and start > event.rule.until):
            return
        end = timestamp(local + event.length, zone)
        left_out = start in event.without or local.date() in event.without_days
        if end > since and end > start and not left_out and start not in moments and local.date() not in days:
            yield start, end


def _beginnings(event: Event, since: float, budget: Budget) -> Iterator[datetime]:
    if event.rule is None:
        yield event.start.local
        return
    first = (datetime.fromtimestamp(since, UTC) - event.length - timedelta(days=2)).date()
    yield from occurrences(event.rule, event.start.local, first, budget)


# --- people ----------------------------------------------------------------------------------------------------------


def _people(event: Event, people: Mapping[str, Person]) -> list[str]:
    """Ids of those who are meant."""
    found: dict[str, None] = {}
    for attendee in event.attendees:
        address = attendee.address.casefold()
        said = {address, address.partition("@")[0], attendee.name.casefold()} - {""}
        found.update(dict.fromkeys(person.id for person in people.values() if said & _names(person)))
    return list(found) or _in_summary(event.summary.casefold(), people)


def _in_summary(summary: str, people: Mapping[str, Person]) -> list[str]:
    whole = [person.id for person in people.values() if summary.strip() in _names(person)]
    if whole:
        return whole
    words = (
        (person.id, re.search(rf"(?<!\w){re.escape(name)}(?!\w)", summary))
        for person in people.values()
        for name in sorted(_names(person))
    )
    return list(dict.fromkeys(person for person, found in words if found))


def _names(person: Person) -> set[str]:
    given = (person.id, person.login, person.name, person.contact)
    return {each.casefold() for each in given if each}


def _nobody(event: Event, people: Mapping[str, Person]) -> Flaw:
    said = event.summary or ", ".join(each.address for each in event.attendees)
    names = {name for person in people.values() for name in _names(person)}
    near = did_you_mean(said.casefold(), names) if said else ""
    message = f"nobody of opsdash.yaml is meant by {clean(said, 60)!r}" if said else "an event that names nobody"
    return Flaw(event.line, message, near or "write a person's id, login or name as its SUMMARY")
