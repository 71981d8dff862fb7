"""When a channel is told, and of what: one outage, one message.

Nothing is remembered of what is still to be told. A channel is told the *difference* between what is so (the alarms
that are raised now, and whom their routes name) and what it knows (a table, made of the messages that were queued for
it). So nothing can be lost, and whatever changes in between (the files, who is there, an engine that was killed) is
accounted for when the difference is taken, which is:

    group wait   a few seconds after the first change, so that what belongs together is in one message
    in a storm   at distances that double up to five minutes; once nothing has changed for as long, it begins anew
    busy         not while an earlier message of that channel waits: after it was delivered

What follows from that:

- A failure that is over before its message was made is not told.
- A channel that was told of a failure is told of its end, whatever the routes, windows and people are by then.
- What is raised while the channel is busy, or in quiet hours, is *deferred*, which is a record: it is told later, and
  if it is over by then, that it was.

Reminders and escalation are such differences too: time passes, and more people are to know than do. Both stop while the
incident is acknowledged. They begin anew when the acknowledgement expires, which is told at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from opsdash.core import acknowledging, outbox, routing, windows, wording
from opsdash.model.alarm import parts_of
from opsdash.model.effects import SetTimer
from opsdash.model.message import ChannelState, KnownAlarm, Message, MessageKind, known_key
from opsdash.model.records import AlarmsDeferred
from opsdash.model.world import GroupLive

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opsdash.core.draft import Draft
    from opsdash.core.routing import Subject, Targets
    from opsdash.model.alarm import Alarm

FURTHEST = 300.0
"""Seconds between two messages of a storm, at most."""

LOOK_EVERY = 10.0
"""Seconds between two looks at what is due by time: reminders, escalations, acknowledgements that expire."""

LOOKED_AT = 50.0
"""Alarms for which the next look is put off by one more second: a look takes a fifth of a millisecond for each."""

SELDOM = 86400.0
"""Seconds between two reminders of what nobody can acknowledge, at least."""

LOOKING = "looking"
NEW = GroupLive()


# --- what happens ----------------------------------------------------------------------------------------------------


def changed(draft: Draft, key: str) -> None:
    """An alarm was raised or cleared."""
    if not draft.operation.alarms.channels and not draft.keys("channels"):
        return
    about = routing.subject(draft, key)
    if about is not None:
        for channel in routing.targets(draft, about, 0, draft.now.wall).channels:
            _schedule(draft, channel)
    for channel in all_channels(draft):
        if draft.get("known", known_key(channel, key)) is not None:
            _schedule(draft, channel)
    keep_looking(draft)


def delivered(draft: Draft, message: Message) -> None:
    """A channel has been told something, or never will be: what has changed meanwhile comes next."""
    if message.kind in outbox.BY_HAND:
        return
    for key in message.about:
        if draft.get("known", known_key(message.channel, key)) is not None:
            draft.set_live("told", known_key(message.channel, key), draft.now.mono)
    _schedule(draft, message.channel)


def look(draft: Draft) -> None:
    """Time has passed, or something has changed that may be about any alarm."""
    state = _State.of(draft)
    for channel in all_channels(draft):
        found = _difference(draft, state, channel)
        if found.is_news or found.is_unsaid:
            _schedule(draft, channel)
        elif not outbox.is_busy(draft, channel):
            _remind(draft, state, channel)
    keep_looking(draft)


def keep_looking(draft: Draft) -> None:
    """Look again in a while, as long as there is something to look at."""
    if draft.live("told", LOOKING) is not None:
        return
    alarms = draft.keys("alarms")
    if alarms or draft.keys("known") or any(_is_unwell(draft, each) for each in draft.keys("channels")):
        draft.set_live("told", LOOKING, draft.now.mono)
        draft.effect(SetTimer(("alarms",), draft.now.mono + LOOK_EVERY + len(alarms) / LOOKED_AT))


def _is_unwell(draft: Draft, channel: str) -> bool:
    state: ChannelState = draft.get("channels", channel)
    return bool(state.waiting) or state.failing_since is not None


def all_channels(draft: Draft) -> list[str]:
    """The channels of the files, and those that were taken out of them and still are to be told of an end."""
    return list(dict.fromkeys([*draft.operation.alarms.channels, *draft.keys("channels")]))


# --- when ------------------------------------------------------------------------------------------------------------


def _schedule(draft: Draft, channel: str) -> None:
    """Tell a channel soon; in a storm later."""
    group: GroupLive = draft.live("groups", channel) or NEW
    if group.at is not None:
        return
    now = draft.now.mono
    storm = group.last is not None and now < group.last + group.distance
    at = group.last + group.distance if storm and group.last is not None else now + draft.operation.alarms.group_wait
    draft.set_live("groups", channel, replace(group, at=at, storm=storm))
    draft.effect(SetTimer(("group", channel), at))


def timer(draft: Draft, channel: str) -> None:
    """The time has come to tell a channel what has changed."""
    group: GroupLive = draft.live("groups", channel) or NEW
    if _tell(draft, channel):
        first = 2 * draft.operation.alarms.group_wait
        distance = min(FURTHEST, group.distance * 2) if group.storm else min(FURTHEST, first)
        draft.set_live("groups", channel, GroupLive(last=draft.now.mono, distance=distance))
    else:
        draft.set_live("groups", channel, replace(group, at=None, storm=False))
    keep_looking(draft)


# --- what ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A raised alarm that a channel is to know: by which step of its route, and what has to be said of that."""

    about: Subject
    step: int
    note: str


@dataclass(slots=True)
class _State:
    """What is so: the raised alarms by channel, and what each channel knows."""

    wanted: dict[str, list[_Wanted]] = field(default_factory=dict)
    known: dict[str, list[KnownAlarm]] = field(default_factory=dict)

    @classmethod
    def of(cls, draft: Draft) -> _State:
        """As it is now."""
        state = cls()
        for key in draft.keys("known"):
            known: KnownAlarm = draft.get("known", key)
            state.known.setdefault(known.channel, []).append(known)
        for key in draft.keys("alarms"):
            about = routing.subject(draft, key)
            if about is None:
                continue
            found = _targets(draft, about)
            for channel, step in found.channels.items():
                state.wanted.setdefault(channel, []).append(_Wanted(about, step, found.note))
        return state


@dataclass(slots=True)
class _Difference:
    """What a channel is to be told.

    began: it has not been told of.  quiet: neither, and it is to wait for the end of quiet hours, by their name.
    over, missed: of which it was told, or which was deferred, and that is over.  still: it knows of, and it is not.
    is_unsaid: that something has to wait for quiet hours is not noted yet.
    """

    began: list[_Wanted] = field(default_factory=list)
    quiet: dict[str, list[Subject]] = field(default_factory=dict)
    over: list[KnownAlarm] = field(default_factory=list)
    missed: list[KnownAlarm] = field(default_factory=list)
    still: int = 0
    is_unsaid: bool = False

    @property
    def is_news(self) -> bool:
        """Whether there is something to tell now."""
        return bool(self.began or self.over or self.missed)


def _difference(draft: Draft, state: _State, channel: str) -> _Difference:
    found = _Difference()
    for wanted in state.wanted.get(channel, ()):
        about = wanted.about
        known: KnownAlarm | None = draft.get("known", known_key(channel, about.key))
        if known is not None and known.told and known.incident == about.alarm.incident:
            continue
        window = _quiet(draft, about.key)
        if window is None:
            found.began.append(wanted)
        else:
            found.quiet.setdefault(window, []).append(about)
            found.is_unsaid = found.is_unsaid or not _is_noted(draft, channel, about)
    for known in state.known.get(channel, ()):
        alarm: Alarm | None = draft.get("alarms", known.alarm)
        if alarm is not None and alarm.is_raised:
            found.still += known.told and alarm.incident == known.incident
        elif known.told:
            found.over.append(known)
        elif _quiet(draft, known.alarm) is None:
            found.missed.append(known)
    found.began.sort(key=lambda each: (each.about.severity, each.about.alarm.due, each.about.key))
    found.over.sort(key=lambda each: (each.severity, each.at, each.alarm))
    found.missed.sort(key=lambda each: (each.at, each.alarm))
    return found


def _quiet(draft: Draft, key: str) -> str | None:
    """The quiet hours over an alarm, None if there are none. What is about opsdash itself is never quiet."""
    component, _ = parts_of(key)
    window = windows.quiet(draft, component) if component and draft.operation.windows else None
    return None if window is None else window.id


def _tell(draft: Draft, channel: str) -> bool:
    """Queue a message about what has changed. Returns whether there was one."""
    found = _difference(draft, _State.of(draft), channel)
    for window, subjects in found.quiet.items():
        _defer(draft, channel, subjects, window)
    if outbox.is_busy(draft, channel):
        _defer(draft, channel, [each.about for each in found.began], "")
        return False
    if not found.is_news:
        return False
    began = [each.about for each in found.began]
    kind = MessageKind.RESOLVED
    if began:
        escalated = all(each.step for each in found.began)
        kind = MessageKind.ESCALATION if escalated else MessageKind.PROBLEM
    told = wording.News(
        began=began,
        over=found.over,
        missed=found.missed,
        still=found.still,
        notes=list(dict.fromkeys(each.note for each in found.began if each.note)),
    )
    ended = [*found.over, *found.missed]
    ends = [each.alarm for each in ended]
    severities = [each.severity for each in began] or [each.severity for each in ended if each.severity]
    outbox.queue(
        draft,
        channel,
        kind,
        wording.news(draft, kind, told),
        severity=min(severities, default=routing.MILD),
        about=[*(each.key for each in began), *ends],
        over=ends,
        incidents=[*(each.alarm.incident for each in began), *(each.incident for each in ended)],
        drill=all(each.drill for each in began) and all(each.drill for each in ended),
    )
    _note_told(draft, channel, began)
    for key in ends:
        draft.set_live("told", known_key(channel, key), None)
        if routing.subject(draft, key) is None:
            draft.set_live("told", key, None)
    return True


def _defer(draft: Draft, channel: str, subjects: Iterable[Subject], window: str) -> None:
    """Note that a channel is to be told of alarms later, of which it knows nothing yet."""
    fresh = [each.key for each in subjects if not _is_noted(draft, channel, each)]
    if fresh:
        draft.emit(AlarmsDeferred(draft.now.wall, channel, tuple(fresh), window))


def _is_noted(draft: Draft, channel: str, about: Subject) -> bool:
    known: KnownAlarm | None = draft.get("known", known_key(channel, about.key))
    return known is not None and (known.told or known.incident == about.alarm.incident)


def _note_told(draft: Draft, channel: str, subjects: Iterable[Subject]) -> None:
    now = draft.now.mono
    for about in subjects:
        draft.set_live("told", known_key(channel, about.key), now)
        if draft.live("told", about.key) is None:
            draft.set_live("told", about.key, now)


# --- reminders, escalation -------------------------------------------------------------------------------------------


def _targets(draft: Draft, about: Subject) -> Targets:
    """Who is to know of an alarm by now."""
    route, steps = about.route, 0
    if route is not None and route.escalate and not _is_looked_after(draft, about) and _quiet(draft, about.key) is None:
        since = _escalates_since(draft, about)
        if since is not None:
            passed = draft.now.mono - since
            steps = sum(step.after <= passed for step in route.escalate)
    return routing.targets(draft, about, steps, draft.now.wall)


def _is_looked_after(draft: Draft, about: Subject) -> bool:
    return acknowledging.looked_after_by(about.incident, draft.now.wall) is not None


def _escalates_since(draft: Draft, about: Subject) -> float | None:
    """When the first were told, or an acknowledgement has expired; None if nobody was told, or nobody could react."""
    if about.incident is None:
        return None
    first: float | None = draft.live("told", about.key)
    if first is None:
        at = min((known.at for known in _tellings(draft, about)), default=None)
        first = None if at is None else _mono(draft, at)
    return first if first is None else max(first, _expired(draft, about))


def _tellings(draft: Draft, about: Subject) -> Iterator[KnownAlarm]:
    for channel in all_channels(draft):
        known: KnownAlarm | None = draft.get("known", known_key(channel, about.key))
        if known is not None and known.told and known.incident == about.alarm.incident:
            yield known


def _expired(draft: Draft, about: Subject) -> float:
    """When the acknowledgement expired, by the monotonic clock; minus infinity if none did."""
    incident = about.incident
    if incident is None or incident.ack_until is None or not acknowledging.has_expired(incident, draft.now.wall):
        return outbox.NEVER
    return _mono(draft, incident.ack_until)


def _mono(draft: Draft, wall: float) -> float:
    """A time that a record says, by the monotonic clock; none that is still to come."""
    return draft.now.mono - max(0.0, draft.now.wall - wall)


def _remind(draft: Draft, state: _State, channel: str) -> None:
    """Remind a channel of all that nobody has acknowledged, as soon as that is due for any of it."""
    subjects = [
        each.about
        for each in state.wanted.get(channel, ())
        if _knows(draft, channel, each.about) and not _is_looked_after(draft, each.about)
    ]
    subjects = [each for each in subjects if _quiet(draft, each.key) is None]
    if not any(_is_due(draft, channel, each) for each in subjects):
        return
    reminded = sorted(subjects, key=lambda each: (each.severity, each.alarm.due, each.key))
    reminded = [each for each in reminded if _interval(draft, channel, each) is not None]
    outbox.queue(
        draft,
        channel,
        MessageKind.REMINDER,
        wording.reminder(draft, reminded),
        severity=reminded[0].severity,
        about=[each.key for each in reminded],
        incidents=[each.alarm.incident for each in reminded],
        drill=all(each.drill for each in reminded),
    )
    for about in reminded:
        draft.set_live("told", known_key(channel, about.key), draft.now.mono)


def _knows(draft: Draft, channel: str, about: Subject) -> bool:
    known: KnownAlarm | None = draft.get("known", known_key(channel, about.key))
    return known is not None and known.told and known.incident == about.alarm.incident


def _is_due(draft: Draft, channel: str, about: Subject) -> bool:
    interval = _interval(draft, channel, about)
    return interval is not None and draft.now.mono - _last(draft, channel, about) >= interval


def _interval(draft: Draft, channel: str, about: Subject) -> float | None:
    """Seconds after which a channel is reminded of an alarm, None if never: 0 when an acknowledgement has expired."""
    if _expired(draft, about) > _last(draft, channel, about):
        return 0.0
    route = about.route
    if route is None or route.remind is None:
        return None
    return route.remind if about.incident is not None else max(route.remind, SELDOM)


def _last(draft: Draft, channel: str, about: Subject) -> float:
    """When a channel was last told or reminded of an alarm."""
    last: float | None = draft.live("told", known_key(channel, about.key))
    if last is not None:
        return last
    known: KnownAlarm | None = draft.get("known", known_key(channel, about.key))
    return draft.now.mono if known is None else _mono(draft, known.last)
