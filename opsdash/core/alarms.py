"""Alarms: when people are to be told of a failure, and what speaks for waiting.

An alarm belongs to a component, and is due while the component has an open incident that is more than a note and has
not recovered. It is *raised* at once, or *held* while one of these holds, the first that applies:

    offline      opsdash itself is not connected
    paused       a person has stopped the component's checks
    parent       something that it depends on, directly or through others, is down, and explains it
    recheck      something has explained it until just now: only what its own checks see from now on counts
    asked        its parents are asked first: a failure that they explain is seen in any order
    flapping     all that fails changes again and again; being down for five minutes without a break ends that
    maintenance  a window mutes it; what would have been raised is shown there

Both edges of a parent's failure are races. On the way down the child's check may run before its parent's: so the
parents are polled on demand, and only a result that was requested after the child failed says that they are well. On
the way up the parent recovers while all its children are still called down: so they are polled, and only a result that
was requested after the recovery decides, to raise (it still fails) or to drop (it works again). All waiting is bounded
by the time limit of the checks concerned and a little more; when that has passed the alarm is raised, and says what
could not be found out.

Three things hold whatever else does: checks go on and their statuses are true, what is held is shown with its reason;
an alarm that was raised is never held again, and is always cleared; what was held and is over is dropped, unraised.
What a person opens by hand is raised at once: nothing explains it better than that person.

Besides, a component has *topics* (`core/topics.py`), such as redundancy that is lost. Each has an alarm of its own,
which nothing explains: it is held only by `offline`, `paused` and `maintenance`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from opsdash.core import drill_marks, failures, grouping, topics, windows
from opsdash.model.alarm import Alarm, Hold, HoldReason, alarm_key, parts_of
from opsdash.model.effects import CancelTimer, Poll, SetTimer
from opsdash.model.incident import EntryKind, IncidentKind
from opsdash.model.operation import Tier
from opsdash.model.records import AlarmCleared, AlarmDropped, AlarmHeld, AlarmRaised
from opsdash.model.status import SEVERITY, Reason, Status
from opsdash.model.world import AlarmLive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from opsdash.core.draft import Draft
    from opsdash.model.incident import Incident
    from opsdash.model.operation import Component
    from opsdash.model.world import CheckLive

LITTLE = 3.0
"""Seconds beyond its time limit that an answer of a check is waited for: it may have to wait for its turn."""

DOWN_THROUGH = 300.0
"""Seconds without a break after which what flaps is down after all."""

DOUBTS = frozenset({Reason.STARTING, Reason.CLOCK, Reason.STALE, Reason.OFFLINE})
"""Reasons for which it is not known at the moment whether something works."""

TOLD_BY = frozenset({EntryKind.DETECTED, EntryKind.FAILURE_MODE})
"""Lines of a timeline that say what is wrong."""


# --- what happens ----------------------------------------------------------------------------------------------------


def refresh(draft: Draft, component_id: str) -> None:
    """Raise, hold, drop or clear the alarm of a component, as its incident and all that may hold it now are."""
    component, incident = draft.component(component_id), draft.incident(component_id)
    alarm: Alarm | None = draft.get("alarms", component_id)
    if component is None or incident is None or not is_due(incident, component):
        _over(draft, component_id, alarm)
        return
    if alarm is not None and alarm.is_raised:
        return
    case = _Case(draft, component, incident, _progress(draft, component_id, alarm))
    hold = None if incident.kind is IncidentKind.MANUAL else case.hold()
    if hold is None:
        _raise(draft, component, incident, alarm, "; ".join(case.notes))
        return
    if alarm is None or alarm.hold != hold:
        draft.emit(
            AlarmHeld(draft.now.wall, component_id, incident.id, what_is_wrong(draft, incident, component), hold)
        )
        draft.touch(component_id)
    _wait(draft, component_id, case.progress, case.look)


def refresh_topics(draft: Draft, component_id: str) -> None:
    """Raise, hold, drop or clear the alarms of what there is to tell of a component besides."""
    component = draft.component(component_id)
    for topic in topics.RULES:
        alarm: Alarm | None = draft.get("alarms", alarm_key(component_id, topic))
        was = "" if alarm is None else alarm.title
        due = "" if component is None else topics.due(draft, component, topic, was)
        _refresh_topic(draft, component_id, topic, alarm, due)


def refresh_channel(draft: Draft, channel: str) -> None:
    """Raise or clear the alarm of a channel over which nothing arrives."""
    topic = topics.CHANNEL + channel
    alarm: Alarm | None = draft.get("alarms", alarm_key("", topic))
    due = topics.broken_channel(draft, channel)
    _refresh_topic(draft, "", topic, alarm, due)


def refresh_cover(draft: Draft, component_id: str) -> None:
    """Raise or clear the alarm of a component for which nobody will be there: people come and go by the clock."""
    component, topic = draft.component(component_id), topics.COVER
    alarm: Alarm | None = draft.get("alarms", alarm_key(component_id, topic))
    was = "" if alarm is None else alarm.title
    due = "" if component is None else topics.due(draft, component, topic, was)
    _refresh_topic(draft, component_id, topic, alarm, due)


def refresh_rotas(draft: Draft) -> None:
    """Raise or clear the alarms of rotas with a gap; one that is no longer in the files has none."""
    known = {topic for key in draft.keys("alarms") if (topic := parts_of(key)[1]).startswith(topics.ROTA)}
    for topic in sorted({*known, *(topics.ROTA + name for name in draft.operation.rotas)}):
        alarm: Alarm | None = draft.get("alarms", alarm_key("", topic))
        due = topics.rota(draft, topic.removeprefix(topics.ROTA), "" if alarm is None else alarm.title)
        _refresh_topic(draft, "", topic, alarm, due)


def _refresh_topic(draft: Draft, component_id: str, topic: str, alarm: Alarm | None, title: str) -> None:
    """Raise, hold, drop or clear the alarm of a topic; title: what there is to tell, "" for nothing."""
    if not title:
        _over(draft, component_id, alarm, topic)
        return
    if alarm is not None and alarm.is_raised:
        return
    hold = _topic_hold(draft, component_id)
    incident = draft.incident(component_id)
    about = "" if incident is None else incident.id
    if hold is None:
        now = draft.now.wall
        due, after = (now, None) if alarm is None else (alarm.due, alarm.hold)
        draft.emit(AlarmRaised(now, component_id, about, title, due, after, topic=topic))
        _changed(draft, component_id, topic)
    elif alarm is None or alarm.hold != hold:
        draft.emit(AlarmHeld(draft.now.wall, component_id, about, title, hold, topic))
        draft.touch(component_id)


def _topic_hold(draft: Draft, component_id: str) -> Hold | None:
    if draft.engine().offline:
        return Hold(HoldReason.OFFLINE)
    pause = draft.get("pauses", component_id)
    if pause is not None:
        return Hold(HoldReason.PAUSED, until=pause.until)
    window = windows.maintenance(draft, component_id)
    return None if window is None else Hold(HoldReason.MAINTENANCE, window.id, window.until)


def _changed(draft: Draft, component_id: str, topic: str = "") -> None:
    """An alarm was raised or cleared: whoever is to be told will be."""
    draft.touch(component_id)
    grouping.changed(draft, alarm_key(component_id, topic))


def is_due(incident: Incident, component: Component) -> bool:
    """Whether an incident is one that people are to be told about, as far as a component of it is concerned."""
    if not incident.is_open or incident.recovered_at is not None or component.id in incident.well:
        return False
    folded = component.id != incident.component
    return incident.kind is not IncidentKind.NOTE and not (folded and component.tier is Tier.DROPPABLE)


def what_is_wrong(draft: Draft, incident: Incident, component: Component) -> str:
    """The most specific failure mode that applies to a component, else the latest line of the timeline that says it."""
    active = {failure for failure, _ in draft.state(component.id).failures}
    named = [each for each in component.failures.values() if each.id in active]
    failing = [each.title for each in named if each.detected_by is None or not each.detected_by.away]
    if failing and incident.kind is not IncidentKind.MANUAL:
        return failing[0]
    said = (
        entry.text
        for entry in reversed(incident.entries)
        if entry.kind in TOLD_BY and entry.component in ("", component.id)
    )
    return next(said, incident.title)


def _progress(draft: Draft, component_id: str, alarm: Alarm | None) -> AlarmLive:
    """How far the questions have come; after a restart all are asked anew, of the component itself first."""
    known: AlarmLive | None = draft.live("alarms", component_id)
    if known is not None:
        return known
    if alarm is None:
        return AlarmLive(due=draft.now.mono)
    return AlarmLive(due=draft.now.mono - max(0.0, draft.now.wall - alarm.due), stale=True)


def _wait(draft: Draft, component_id: str, progress: AlarmLive, look: float | None) -> None:
    if look is not None and look != progress.look:
        draft.effect(SetTimer(("alarm", component_id), look))
    after = replace(progress, look=look)
    if after != draft.live("alarms", component_id):
        draft.set_live("alarms", component_id, after)


def _raise(draft: Draft, component: Component, incident: Incident, alarm: Alarm | None, note: str) -> None:
    now = draft.now.wall
    due, after = (now, None) if alarm is None else (alarm.due, alarm.hold)
    draft.emit(AlarmRaised(now, component.id, incident.id, what_is_wrong(draft, incident, component), due, after, note))
    _end(draft, component.id)
    _changed(draft, component.id)


def _over(draft: Draft, component_id: str, alarm: Alarm | None, topic: str = "") -> None:
    if alarm is None:
        return
    if alarm.raised is not None:
        draft.emit(AlarmCleared(draft.now.wall, component_id, alarm.incident, alarm.raised, topic))
    else:
        draft.emit(AlarmDropped(draft.now.wall, component_id, alarm.incident, topic))
    if not topic:
        _end(draft, component_id)
    if alarm.is_raised:
        _changed(draft, component_id, topic)
    draft.touch(component_id)


def _end(draft: Draft, component_id: str) -> None:
    if draft.live("alarms", component_id) is not None:
        draft.set_live("alarms", component_id, None)
        draft.effect(CancelTimer(("alarm", component_id)))
    draft.touch(component_id)


# --- when to look again ----------------------------------------------------------------------------------------------


def look_again(draft: Draft) -> None:
    """Something has changed that may hold any alarm."""
    for key in draft.keys("alarms"):
        component_id, topic = parts_of(key)
        if component_id and topic:
            refresh_topics(draft, component_id)
        elif component_id:
            refresh(draft, component_id)
        elif not topic.startswith(topics.ROTA):
            refresh_channel(draft, topic.removeprefix(topics.CHANNEL))
    refresh_rotas(draft)


def timer(draft: Draft, component_id: str) -> None:
    """What was waited for has had its time."""
    progress: AlarmLive | None = draft.live("alarms", component_id)
    if progress is not None:
        draft.set_live("alarms", component_id, replace(progress, look=None))
    refresh(draft, component_id)


def look_below(draft: Draft, component_id: str) -> None:
    """The status of a component has changed: look at the held alarms of all that depend on it."""
    for child in descendants(draft, component_id):
        alarm = draft.get("alarms", child)
        if alarm is not None and not alarm.is_raised:
            refresh(draft, child)


def sampled(draft: Draft, check: str) -> None:
    """A check has answered: whoever waits for its answer is looked at again."""
    spec = draft.operation.checks.get(check)
    if spec is None:
        return
    watchers = draft.operation.watchers
    concerned = [
        spec.component,
        *watchers.get(check, ()),
        *watchers.get(f"{spec.component}/*", ()),
        *descendants(draft, spec.component),
    ]
    for component_id in dict.fromkeys(concerned):
        if draft.live("alarms", component_id) is not None:
            refresh(draft, component_id)


def ancestors(draft: Draft, component_id: str) -> list[str]:
    """All that a component depends on, directly or through others, the nearest first.

    One that is down only because a drill says so is left out: it explains nothing.
    """
    found = _reached(component_id, lambda each: _parents(draft, each))
    return [each for each in found if not drill_marks.is_pretended(draft, each)]


def descendants(draft: Draft, component_id: str) -> list[str]:
    """All that depends on a component, directly or through others, the nearest first."""
    return _reached(component_id, lambda each: draft.operation.dependents.get(each, ()))


def _reached(start: str, neighbours: Callable[[str], Iterable[str]]) -> list[str]:
    """Everything that can be reached, the nearest first, without the start; a circle does no harm."""
    found: dict[str, None] = {start: None}
    queue = [start]
    for each in queue:
        for neighbour in neighbours(each):
            if neighbour not in found:
                found[neighbour] = None
                queue.append(neighbour)
    return queue[1:]


# --- what may hold it ------------------------------------------------------------------------------------------------


class _Case:
    """One alarm that is due, and the rules that may hold it.

    notes: what could not be found out.  look: when to look again, if nothing happens before.
    """

    def __init__(self, draft: Draft, component: Component, incident: Incident, progress: AlarmLive) -> None:
        self.draft = draft
        self.component = component
        self.incident = incident
        self.progress = progress
        self.notes: list[str] = []
        self.look: float | None = None

    def hold(self) -> Hold | None:
        """Why the alarm waits; None if it is to be raised."""
        return next((hold for rule in RULES if (hold := rule(self)) is not None), None)

    def know(self, **changes: object) -> None:
        """Note how far the questions have come."""
        self.progress = replace(self.progress, **changes)  # type: ignore[arg-type] # fields of AlarmLive

    def explained(self) -> None:
        """Something explains the failure: what is known of it has to be found out anew once it no longer does."""
        if not self.progress.stale:
            self.know(stale=True, recheck=None, rechecked=False)


def _offline(case: _Case) -> Hold | None:
    if not case.draft.engine().offline:
        return None
    case.explained()
    return Hold(HoldReason.OFFLINE)


def _paused(case: _Case) -> Hold | None:
    pause = case.draft.get("pauses", case.component.id)
    if pause is None:
        return None
    case.explained()
    return Hold(HoldReason.PAUSED, until=pause.until)


def _parent(case: _Case) -> Hold | None:
    parents = ancestors(case.draft, case.component.id)
    failing = next((each for each in parents if is_failing(case.draft, each)), None)
    if failing is None:
        return None
    case.explained()
    return Hold(HoldReason.PARENT, failing)


def _recheck(case: _Case) -> Hold | None:
    """What explained it is over, or nobody knows at the moment: only what its own checks see from now on counts."""
    draft, now, wanted = case.draft, case.draft.now.mono, speaking(case.draft, case.component)
    if _is_in_doubt(case) and case.progress.recheck is None:
        case.know(stale=True)
    if case.progress.stale:
        start = max(now, draft.engine().grace_until)
        limit = max((draft.operation.checks[check].timeout for check in wanted), default=0.0)
        case.know(stale=False, recheck=start, rechecked=False, deadline=start + limit + LITTLE)
        for check in wanted:
            draft.effect(Poll(check, start - now))
    if case.progress.recheck is None or case.progress.rechecked:
        return None
    answers = _Answers.of(draft, wanted, case.progress.recheck, turning=_is_better)
    if not answers.against and (answers.missing or answers.undecided):
        until = case.progress.deadline + answers.patience
        if now < until:
            case.look = until
            return Hold(HoldReason.RECHECK)
        case.notes.append("its checks gave no clear answer in time")
    case.know(rechecked=True)
    return None


def _is_in_doubt(case: _Case) -> bool:
    health = case.draft.health(case.component.id)
    blind = case.incident.kind is IncidentKind.BLIND
    return not blind and health.status is Status.UNKNOWN and health.reason in DOUBTS


def _asked(case: _Case) -> Hold | None:
    """Its parents are asked. What they answer is theirs to confirm; while that is undecided it waits."""
    draft, now = case.draft, case.draft.now.mono
    parents = ancestors(draft, case.component.id)
    askable = (_askable(draft, each) for each in parents)
    wanted = {each.id: _counting(draft, each) for each in askable if each is not None}
    failed = case.progress.due
    if not case.progress.asked:
        checks = [check for found in wanted.values() for check in found]
        silent = [check for check in checks if not _has_answered(draft.check(check), failed)]
        limit = max((draft.operation.checks[check].timeout for check in silent), default=0.0)
        case.know(asked=True, deadline=now + limit + LITTLE)
        for check in silent:
            draft.effect(Poll(check))
    for parent, found in wanted.items():
        answers = _Answers.of(draft, found, failed, turning=_is_worse)
        if not answers.missing and not answers.undecided:
            continue
        until = case.progress.deadline + answers.patience
        if now < until:
            case.look = until
            return Hold(HoldReason.ASKED, parent)
        case.notes.append(f"{parent} gave no clear answer in time")
    return None


def _flapping(case: _Case) -> Hold | None:
    draft, until = case.draft, case.progress.due + DOWN_THROUGH
    failing = [check for check in speaking(draft, case.component) if _speaks_of_failure(draft, check)]
    flapping = bool(failing) and all(draft.get("flapping", check) is not None for check in failing)
    if not flapping or draft.now.mono >= until:
        return None
    case.look = until
    return Hold(HoldReason.FLAPPING)


def _maintenance(case: _Case) -> Hold | None:
    window = windows.maintenance(case.draft, case.component.id)
    return None if window is None else Hold(HoldReason.MAINTENANCE, window.id, window.until)


RULES: tuple[Callable[[_Case], Hold | None], ...] = (
    _offline,
    _paused,
    _parent,
    _recheck,
    _asked,
    _flapping,
    _maintenance,
)
"""In this order: the first that holds is the reason that is shown."""


# --- parents ---------------------------------------------------------------------------------------------------------


def _parents(draft: Draft, component_id: str) -> tuple[str, ...]:
    component = draft.component(component_id)
    return () if component is None else component.depends_on


def is_failing(draft: Draft, component_id: str) -> bool:
    """Whether a component is down. While nobody can see it, what was confirmed last stands."""
    component, health = draft.component(component_id), draft.health(component_id)
    if component is None or health.status is not Status.UNKNOWN:
        return health.status is Status.DOWN
    if component.removed or component.problem is not None:
        return False
    return any(_is_confirmed_down(draft, check) for check in _counting(draft, component))


def _is_confirmed_down(draft: Draft, check: str) -> bool:
    confirmed = draft.confirmed(check)
    return confirmed is not None and confirmed.status is Status.DOWN


def _askable(draft: Draft, component_id: str) -> Component | None:
    """A parent that can be asked: its checks run."""
    component = draft.component(component_id)
    is_paused = draft.get("pauses", component_id) is not None
    return None if component is None or component.removed or is_paused else component


# --- checks and their answers ----------------------------------------------------------------------------------------


def _counting(draft: Draft, component: Component) -> list[str]:
    """The checks that make a component down: its own, or the active provider's where it has none."""
    from opsdash.core.health import ignored_checks

    ignored = ignored_checks(draft, component)
    active = component.provider(draft.state(component.id).active)
    own = [check for check in component.checks if check not in ignored]
    found = own or [check for check in (active.checks if active else ()) if check not in ignored]
    return [check for check in found if check in draft.operation.checks]


def speaking(draft: Draft, component: Component) -> list[str]:
    """The checks that say that a component fails, or would say it if they could: not well, or behind what is active."""
    not_well = [
        check for check in _counting(draft, component) if draft.check(check).status in (Status.DOWN, Status.UNKNOWN)
    ]
    return list(dict.fromkeys([*not_well, *_evidence(draft, component)]))


def _evidence(draft: Draft, component: Component) -> Iterator[str]:
    """The checks by which the active failure modes of a component were recognised."""
    active = {failure for failure, _ in draft.state(component.id).failures}
    for failure in component.failures.values():
        if failure.id not in active or failure.detected_by is None:
            continue
        for signal in failure.detected_by.signals:
            check = failures.check_of(draft, signal)
            if check is not None and check in draft.operation.checks and failures.signalled(draft, signal) is not False:
                yield check


def _speaks_of_failure(draft: Draft, check: str) -> bool:
    return draft.check(check).status in (Status.DOWN, Status.DEGRADED)


@dataclass(frozen=True, slots=True)
class _Answers:
    """What checks have answered since they were asked.

    missing: no answer yet.  undecided: they begin to say something else than what is shown, and have to confirm it.
    against: at least one says again what is shown.  patience: seconds that the undecided may take to confirm it.
    """

    missing: bool
    undecided: bool
    against: bool
    patience: float

    @classmethod
    def of(
        cls, draft: Draft, checks: Iterable[str], asked: float, *, turning: Callable[[Draft, str], bool | None]
    ) -> _Answers:
        """The answers of `checks` that were requested after `asked`."""
        missing = undecided = against = False
        patience = 0.0
        for check in checks:
            live = draft.check(check)
            if not _has_answered(live, asked):
                missing = True
                continue
            turns = turning(draft, check)
            undecided = undecided or turns is True
            against = against or turns is False
            if turns:
                patience = max(patience, _time_to_confirm(draft, check))
        return cls(missing, undecided, against, patience)


def _has_answered(live: CheckLive, asked: float) -> bool:
    """Whether a check has had a result that was requested after `asked`, and says something."""
    return bool(live.runs) and live.requested > asked and live.raw_reason is not Reason.OFFLINE


def _time_to_confirm(draft: Draft, check: str) -> float:
    from opsdash.core.health import retry_after

    spec = draft.operation.checks[check]
    return max(spec.down_after.of, spec.up_after) * (retry_after(spec) + spec.timeout)


def _is_better(draft: Draft, check: str) -> bool | None:
    """Whether the latest result of a failing check is better than what is confirmed; None if it says nothing."""
    live, confirmed = draft.check(check), draft.confirmed(check)
    if live.raw is Status.UNKNOWN:
        return None
    worse = confirmed.status if confirmed is not None else Status.OK
    if live.raw is Status.OK and live.status is Status.OK:
        return None
    return SEVERITY[live.raw] < SEVERITY[worse]


def _is_worse(draft: Draft, check: str) -> bool | None:
    """Whether the latest result of a parent's check fails, and it is not confirmed yet."""
    live = draft.check(check)
    return live.raw is Status.DOWN and live.status is not Status.DOWN
