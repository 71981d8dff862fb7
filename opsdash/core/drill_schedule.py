"""When drills are due, what is said before and after that, and the surprise that nobody begins.

The calendar is outside: `dates` asks it through a port, and the core is told what came of it by `DrillDates`, all of it
each time, so that nothing is missed. A due time is claimed by the run that begins for it, in one record; whoever comes
second is told which run that was. One that led to no run is said to be missed, with the reason: also the calendar does
not forget what happened while no engine ran.

A drill that comes again by `every` is due so long after the latest evidence that proves something, at once when the
latest has failed. One without a schedule is due when its evidence runs out. A surprise begins by itself at a time that
follows from its name and its due time, so that nobody can know it and a restart does not draw another one.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Protocol

from opsdash.core import drills, outbox
from opsdash.core.drill_evidence import void_at
from opsdash.core.drill_guards import takes
from opsdash.core.drill_marks import latest_run
from opsdash.core.people import is_away
from opsdash.core.proofs import REMIND_AFTER
from opsdash.core.proofs import VALID_FOR as USUAL
from opsdash.core.reader import OPSDASH
from opsdash.core.wording import Text
from opsdash.model.drill import DrillDate
from opsdash.model.inputs import StartDrillIntent
from opsdash.model.message import MessageKind
from opsdash.model.records import DrillDueSet, DrillMissed, DrillOverdue, DrillReminded
from opsdash.model.switch import Refused
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.core.draft import Draft
    from opsdash.model.drill import Drill, DrillDue, DrillPast
    from opsdash.model.inputs import DrillDates
    from opsdash.model.operation import Operation

REMIND_SHARE = REMIND_AFTER / USUAL
"""The part of its validity after which evidence is reminded of: 75 days of 100."""

OVERDUE_AFTER = 86400.0
"""Seconds after its due time at which a drill that nobody has begun is overdue."""

SURPRISE_WITHIN = 3600.0
"""Seconds for which a surprise that cannot begin at its time is tried again."""

DRAWS = 32
"""Times that are drawn for a surprise, of which the first within its windows counts."""

MOST_DATES = 1000
"""Dates of a cron expression that are looked at; beyond that the time without an engine is not gone through."""

PROOF = "proof"
"""Name of the reminder that evidence will soon no longer count."""


class Calendar(Protocol):
    """What has to be known of the calendar. Times are seconds since 1970 UTC."""

    def next_cron(self, expression: str, timezone: str, after: float) -> float | None:
        """When a cron expression fires next, after `after`."""
        ...

    def opens(self, windows: tuple[str, ...], at: float) -> tuple[float, float] | None:
        """The first span from `at` on in which one of the windows is open: (since, until); it may have begun before."""
        ...


class Reader(Protocol):
    """What is needed of a world or draft."""

    operation: Operation

    def get(self, table: str, key: str) -> Any: ...


# --- dates ---------------------------------------------------------------------------------------------------------


def dates(reader: Reader, wall: float, calendar: Calendar) -> tuple[DrillDate, ...]:
    """What the calendar says of every drill, for `DrillDates`."""
    found = []
    for drill in reader.operation.drills.values():
        if drill.off:
            continue
        windows = () if drill.schedule is None else drill.schedule.windows
        at = due(drill, reader.get("drill_past", drill.id), reader.get("drill_dues", drill.id), wall, calendar)
        span = calendar.opens(windows, wall) if windows else None
        open_until = span[1] if span is not None and span[0] <= wall else None
        starts = None if at is None else surprise_at(drill, at, calendar)
        found.append(DrillDate(drill.id, at, open_until, starts))
    return tuple(found)


def due(drill: Drill, past: DrillPast | None, known: DrillDue | None, wall: float, calendar: Calendar) -> float | None:
    """When a drill is due next, None for never. known: what is recorded of that; it may have passed."""
    schedule = drill.schedule
    if schedule is None:
        return None if past is None or past.proved is None else void_at(past.proved)
    if schedule.cron:
        return _by_cron(drill, known, wall, calendar)
    if schedule.every is None:
        return None
    if past is not None and past.failed is not None:
        at = past.failed.at
    elif past is not None and past.proved is not None:
        at = past.proved.at + schedule.every
    elif known is not None:
        return known.due
    else:
        at = wall
    return _within(schedule.windows, at, calendar)


def _by_cron(drill: Drill, known: DrillDue | None, wall: float, calendar: Calendar) -> float | None:
    """The date that is known stays until it is claimed or the next one has come; then it is that one."""
    schedule = drill.schedule
    if schedule is None:
        return None

    def following(after: float) -> float | None:
        """The next date that lies after `after`, once it is moved into a window."""
        fires = calendar.next_cron(schedule.cron, schedule.timezone, after)
        for _ in range(MOST_DATES):
            if fires is None:
                return None
            at = _within(schedule.windows, fires, calendar)
            if at > after:
                return at
            fires = calendar.next_cron(schedule.cron, schedule.timezone, fires)
        return None

    if known is None:
        return following(wall)
    at, coming = known.due, following(known.due)
    for _ in range(MOST_DATES):
        if coming is None or coming > wall:
            break
        at, coming = coming, following(coming)
    else:
        coming = following(wall)
    return coming if known.claimed and at == known.due else at


def _within(windows: tuple[str, ...], at: float, calendar: Calendar) -> float:
    """`at`, or when one of the windows next opens after it."""
    span = calendar.opens(windows, at) if windows else None
    return at if span is None else max(at, span[0])


def surprise_at(drill: Drill, due_at: float, calendar: Calendar) -> float | None:
    """When a surprise begins: the same for the same drill and due time, within its windows."""
    if drill.surprise is None:
        return None
    windows = () if drill.schedule is None else drill.schedule.windows
    for draw in range(DRAWS):
        at = due_at + drill.surprise * _share(drill.id, due_at, draw)
        span = calendar.opens(windows, at) if windows else None
        if not windows or (span is not None and span[0] <= at):
            return at
    return _within(windows, due_at, calendar)


def _share(drill: str, due_at: float, draw: int) -> float:
    """A number from 0 to 1 that follows from its arguments, and that nobody guesses."""
    digest = hashlib.sha256(f"{drill} {due_at:.0f} {draw}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64


# --- what follows --------------------------------------------------------------------------------------------------


def told(draft: Draft, event: DrillDates) -> None:
    """The calendar says this of all drills."""
    named = {each.drill for each in event.dates}
    for key in draft.keys("drill_dues"):
        if key not in named:
            _set(draft, key, None, None)
            draft.set_live("drill_windows", key, None)
    for date in event.dates:
        drill = draft.operation.drills.get(date.drill)
        if drill is None:
            continue
        draft.set_live("drill_windows", drill.id, date.open_until)
        _renew(draft, drill, date)
        known: DrillDue | None = draft.get("drill_dues", drill.id)
        if known is not None and not known.claimed:
            _remind(draft, drill, known)
            _surprise(draft, drill, draft.get("drill_dues", drill.id))
            _overdue(draft, drill, draft.get("drill_dues", drill.id))


def _set(draft: Draft, drill: str, at: float | None, starts: float | None) -> None:
    component = draft.operation.drills[drill].component if drill in draft.operation.drills else ""
    draft.emit(DrillDueSet(draft.now.wall, drill, component, at, starts))
    if component:
        draft.touch(component)


def _renew(draft: Draft, drill: Drill, date: DrillDate) -> None:
    known: DrillDue | None = draft.get("drill_dues", drill.id)
    if date.due is None:
        if known is not None:
            _set(draft, drill.id, None, None)
        return
    if known is not None and known.due == date.due:
        return
    if known is not None and not known.claimed and known.due <= draft.now.wall and date.due > known.due:
        why = f"{_why_not(draft, known)}, and the next date has come"
        draft.emit(DrillMissed(draft.now.wall, drill.id, drill.component, known.due, why))
    _set(draft, drill.id, date.due, date.starts)


def _why_not(draft: Draft, known: DrillDue) -> str:
    return "no engine ran at that time" if _was_off(draft, known) else "nobody has run it"


def _was_off(draft: Draft, known: DrillDue) -> bool:
    """Whether no engine ran when a drill was due, as far as is known: one that was killed has not said when."""
    life = draft.life()
    ran = known.due <= known.set_at or (life.off_since is not None and known.due < life.off_since)
    return life.started_at > known.due and not ran


def _remind(draft: Draft, drill: Drill, known: DrillDue) -> None:
    """Once for each distance; of several that have passed only the last is worth a word."""
    wall, schedule = draft.now.wall, drill.schedule
    leads = sorted(() if schedule is None else schedule.remind)
    passed = [lead for lead in leads if known.due - lead <= wall < known.due]
    if passed and not any(format_duration(lead) in known.reminded for lead in leads if lead <= passed[0]):
        name = format_duration(passed[0])
        left = format_duration(known.due - wall)
        _tell(draft, drill, known, name, f"drill {drill.id} is due in {left}")
    past: DrillPast | None = draft.get("drill_past", drill.id)
    if past is None or past.proved is None or PROOF in known.reminded:
        return
    void = void_at(past.proved)
    if past.proved.at + REMIND_SHARE * past.proved.valid_for <= wall < void:
        left = format_duration(void - wall)
        _tell(
            draft, drill, known, PROOF, f"the evidence of drill {drill.id} counts for {left} more; run it again by then"
        )


def _tell(draft: Draft, drill: Drill, known: DrillDue, name: str, text: str) -> None:
    draft.emit(DrillReminded(draft.now.wall, drill.id, drill.component, known.due, name, drill.owner))
    draft.touch(drill.component)
    _message(draft, drill, text)


def _message(draft: Draft, drill: Drill, text: str) -> None:
    """A message to the owner, over the channels that reach the person."""
    person = draft.operation.people.get(drill.owner)
    channels = draft.operation.alarms.channels
    for channel in () if person is None else person.alarms:
        if channel in channels:
            body = f"{drill.title}\n\nlook at its plan: opsdash drill run {drill.id} --plan"
            outbox.queue(draft, channel, MessageKind.REMINDER, Text(text, body))


def _surprise(draft: Draft, drill: Drill, known: DrillDue) -> None:
    """Its time has come: it begins, or it is said why not, and from then on a person has to begin it."""
    wall = draft.now.wall
    if known.starts is None or wall < known.starts:
        return
    if draft.life().started_at > known.starts:
        why = "no engine ran when it was to begin by itself"
    elif takes(draft, drill) > 1:
        why = "it takes two people, who have to begin it"
    else:
        latest = latest_run(draft, drill.id)
        intent = StartDrillIntent(drill.id, "" if latest is None else latest.id, typed="", due=known.due)
        answer = drills.start(draft, OPSDASH, intent, cause="schedule")
        if not isinstance(answer, Refused) or wall - known.starts < SURPRISE_WITHIN:
            return
        why = f"it could not begin by itself: {answer.reason}"
    draft.emit(DrillMissed(wall, drill.id, drill.component, known.due, why))
    draft.touch(drill.component)


def _overdue(draft: Draft, drill: Drill, known: DrillDue) -> None:
    wall = draft.now.wall
    grace = 0.0 if _was_off(draft, known) else OVERDUE_AFTER + (drill.surprise or 0.0)
    if known.claimed or known.overdue or wall < known.due + grace or known.starts is not None:
        return
    why = known.missed if known.missed_at == known.due else _why_not(draft, known)
    draft.emit(DrillOverdue(wall, drill.id, drill.component, known.due, why))
    draft.touch(drill.component)
    _message(draft, drill, f"drill {drill.id} is overdue: {why}")


# --- for lists -----------------------------------------------------------------------------------------------------


def in_order(reader: Reader, wall: float) -> list[Drill]:
    """All drills, those that are overdue first, then by when they are due; those without a date last."""

    def key(drill: Drill) -> tuple[bool, float, str]:
        known: DrillDue | None = reader.get("drill_dues", drill.id)
        if known is None or known.claimed:
            return (True, float("inf"), drill.id)
        return (known.due > wall, known.due, drill.id)

    return sorted(reader.operation.drills.values(), key=key)


def driver(reader: Reader, drill: Drill, practised: Callable[[str], float | None], wall: float) -> str | None:
    """Who should begin a drill: of the owners who are there, whoever has never done it, else whose practice is oldest.

    practised: when a person last did what is drilled, None for never.
    """
    people, component = reader.operation.people, reader.operation.components.get(drill.component)
    there = [
        each
        for each in (() if component is None else component.owners)
        if each in people and each not in drill.absent and not is_away(people[each], reader.get("absences", each), wall)
    ]
    found = {each: practised(each) for each in there}
    return min(there, key=lambda each: (found[each] is not None, found[each] or 0.0, each), default=None)
