"""Cover: whether somebody is there for each component, now and in the days to come.

Two things can be missing: an owner who is there, and anybody who is there and can run it (`opsdash.core.practice`).
What was never there is a gap of readiness and no news; here it is about what goes, as people do: an absence begins, a
shift ends, somebody leaves.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

from opsdash.core import people, practice
from opsdash.core.rota import on_duty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from opsdash.model.cover import Rota, Shift
    from opsdash.model.operation import Component, Operation

OWNERS = "owners"
RUNNERS = "runners"
"""What is missing: an owner who is there; somebody who is there and can run it."""

LITTLE = 60.0
"""Seconds without anybody that are no gap: one shift ends at 07:59:59 and the next begins at 08:00."""

ENDS_WITHIN = 366 * 86400.0
"""Seconds within which the end of a gap is looked for."""


class Reader(Protocol):
    """What is needed of a world or draft."""

    operation: Operation

    def get(self, table: str, key: str) -> Any: ...

    def keys(self, table: str) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Gap:
    """Nobody is there from `since` until `until`, in seconds since 1970 UTC; None: as far as is known, for good.

    what: OWNERS or RUNNERS, or the name of a rota.  people: who would be, and is away or has left.
    """

    what: str
    since: float
    until: float | None
    people: tuple[str, ...] = ()


# --- components -------------------------------------------------------------------------------------------------------


def gaps(reader: Reader, component: Component, wall: float, ahead: float) -> list[Gap]:
    """What is missing now, or begins to be within `ahead` seconds: at most one gap of each sort, the first."""
    who: dict[str, Callable[[float], Sequence[str]]] = {}
    if component.owners or component.rotas:
        who[OWNERS] = lambda at: people.owners_at(reader, component, at)
    runners = practice.can_run(reader, component, wall)
    if runners:
        who[RUNNERS] = lambda _: runners
    if not who:
        return []
    near = [wall, *_moments(reader, component, runners, wall, wall + ahead)]
    found: list[Gap] = []
    for what, named in who.items():
        for since in near:
            gap = None if _is_covered(reader, named, since) else _gap(reader, component, what, named, since)
            if gap is not None:
                found.append(gap)
                break
    return found


def _gap(
    reader: Reader, component: Component, what: str, who: Callable[[float], Sequence[str]], since: float
) -> Gap | None:
    """The gap that begins at `since`, unless it is over at once."""
    later = _moments(reader, component, who(since), since, since + ENDS_WITHIN)
    until = next((at for at in later if _is_covered(reader, who, at)), None)
    return None if until is not None and until - since <= LITTLE else Gap(what, since, until, tuple(who(since)))


def _is_covered(reader: Reader, who: Callable[[float], Sequence[str]], at: float) -> bool:
    return any(people.is_there(reader, person, at) for person in who(at))


def _moments(reader: Reader, component: Component, runners: Iterable[str], since: float, last: float) -> list[float]:
    """When it may change who is there for a component, after `since`; of shifts and absences until `last`."""
    return sorted({at for at in _changes(reader, component, runners, since, last) if since < at <= last})


def _changes(
    reader: Reader, component: Component, runners: Iterable[str], since: float, last: float
) -> Iterator[float]:
    concerned = {*component.owners, *runners}
    for name in component.rotas:
        rota = reader.operation.rotas.get(name)
        shifts = () if rota is None else rota.shifts
        for shift in shifts[: bisect_right(shifts, last, key=lambda shift: shift.start)]:
            if shift.end > since:
                concerned.add(shift.person)
                yield from (shift.start, shift.end)
    yield from _of_people(reader, concerned)


def _of_people(reader: Reader, names: Iterable[str]) -> Iterator[float]:
    """When any of them comes or goes."""
    for name in names:
        person = reader.operation.people.get(name)
        if person is None:
            continue
        recorded = reader.get("absences", name)
        absences = [*person.away, *([recorded] if recorded is not None else [])]
        yield from (at for each in absences for at in (each.start, each.end) if at is not None)
        if person.left is not None:
            yield person.left


def words(reader: Reader, component: Component, gap: Gap, wall: float) -> str:
    """A gap of a component in a sentence."""
    who = "nobody who can run it" if gap.what == RUNNERS else "none of its owners"
    when = "" if gap.since <= wall else f" from {day(reader, gap.since)}"
    until = "" if gap.until is None else f" until {day(reader, gap.until)}"
    names = ", ".join(_name(reader, person) for person in gap.people)
    return f"{component.title}: {who} is there{when}{until}" + (f" ({names})" if names else "")


def warning(reader: Reader, component: Component, wall: float) -> str:
    """What there is to warn of for a component, "" for nothing."""
    found = gaps(reader, component, wall, reader.operation.cover.warn_before)
    return words(reader, component, min(found, key=lambda gap: gap.since), wall) if found else ""


def lost(reader: Reader, person: str, component: Component, wall: float, when: float) -> list[str]:
    """What becomes of a component while one person is not there, in words. wall: who can run it is said as of then;
    when: and who of the others is there, as of then.
    """
    if person not in component.owners and not component.rotas and reader.get("practice", component.id) is None:
        return []  # most of the components, for most of the people

    def is_alone(names: Sequence[str]) -> bool:
        return person in names and not any(people.is_there(reader, each, when) for each in names if each != person)

    owners, runners = people.owners_at(reader, component, when), practice.can_run(reader, component, wall)
    found = []
    if is_alone(owners):
        found.append("nobody else owns it" if len(owners) == 1 else "none of its other owners is there")
    if is_alone(runners):
        found.append("nobody else can run it" if len(runners) == 1 else "none of the others who can run it is there")
    return found


def next_absence(reader: Reader, person: str, wall: float) -> float | None:
    """When a person will begin to be away, or leave, who is there now; None where nothing is known of it."""
    later = (at for at in _of_people(reader, [person]) if at > wall and not people.is_there(reader, person, at))
    return min(later, default=None) if people.is_there(reader, person, wall) else None


def next_driver(reader: Reader, component: Component, candidates: Iterable[str], wall: float) -> str | None:
    """Who should drive the next drill of a component: somebody who is there and has not done it in 180 days, else who
    did it the longest ago; in the order in which they are named. None: none of them is there.
    """
    latest: dict[str, float] = {}
    for deed in practice.of_component(reader, component.id, wall):
        latest.setdefault(deed.person, deed.at)
    there = [each for each in dict.fromkeys(candidates) if people.is_there(reader, each, wall)]
    return min(there, key=lambda each: latest.get(each, 0.0), default=None)


# --- rotas ------------------------------------------------------------------------------------------------------------


def rota_gaps(reader: Reader, rota: Rota, since: float, until: float) -> list[Gap]:
    """When nobody is on duty who is there, beginning from `since` until `until`, as far as the rota is known; oldest
    first.
    """
    last = min(until + (until - since), rota.until)
    concerned = [shift for shift in rota.shifts if shift.end > since and shift.start < last]
    edges = sorted({since, last, *(at for at in _edges(reader, concerned) if since < at < last)})
    found: list[Gap] = []
    named: list[Shift] = []
    coming = deque(concerned)
    for start, end in pairwise(edges):
        while coming and coming[0].start <= start:
            named.append(coming.popleft())
        named = [shift for shift in named if shift.end > start]
        if any(people.is_there(reader, shift.person, start) for shift in named):
            continue
        who = tuple(dict.fromkeys(shift.person for shift in named))
        if found and found[-1].until == start and found[-1].people == who:
            found[-1] = Gap(rota.id, found[-1].since, end, who)
        else:
            found.append(Gap(rota.id, start, end, who))
    return [gap for gap in found if gap.since < until and gap.until is not None and gap.until - gap.since > LITTLE]


def _edges(reader: Reader, shifts: Sequence[Shift]) -> Iterator[float]:
    yield from (moment for shift in shifts for moment in (shift.start, shift.end))
    yield from _of_people(reader, {shift.person for shift in shifts})


def rota_warning(reader: Reader, name: str, wall: float) -> str:
    """What there is to warn of for a rota, "" for nothing."""
    rota = reader.operation.rotas.get(name)
    if rota is None or not rota.warn:
        return ""
    found = rota_gaps(reader, rota, wall, wall + reader.operation.cover.rota_ahead)
    if not found:
        return ""
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return f"rota {name}: nobody is on duty {span(reader, found[0], wall)}{more}"


def span(reader: Reader, gap: Gap, wall: float) -> str:
    """The time of a gap, and who would be there."""
    start = "now" if gap.since <= wall else f"from {day(reader, gap.since)}"
    end = "" if gap.until is None else f" until {day(reader, gap.until)}"
    away = f" ({', '.join(_name(reader, each) for each in gap.people)} away)" if gap.people else ""
    return f"{start}{end}{away}"


def next_shift(rota: Rota, wall: float) -> Shift | None:
    """The shift that begins next."""
    return next((shift for shift in rota.shifts if shift.start > wall), None)


def duties(reader: Reader, wall: float) -> dict[str, list[str]]:
    """The rotas by which each person is on duty now."""
    found: dict[str, list[str]] = {}
    for name, rota in reader.operation.rotas.items():
        for person in on_duty(rota, wall):
            found.setdefault(person, []).append(name)
    return found


# --- words ------------------------------------------------------------------------------------------------------------


def day(reader: Reader, at: float) -> str:
    """A moment for people, in the operation's time zone."""
    from zoneinfo import ZoneInfo  # looks the system's zones up when it is imported

    return datetime.fromtimestamp(at, ZoneInfo(reader.operation.timezone)).strftime("%a %Y-%m-%d %H:%M")


def _name(reader: Reader, person: str) -> str:
    found = reader.operation.people.get(person)
    return person if found is None else found.name
