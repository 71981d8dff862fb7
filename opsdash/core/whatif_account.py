"""What a trial has come to for each component, and doing what was decided in it.

Who is there, and who is told, follows from a trial for any absences: it is not made again for each person.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from opsdash.core import people, planning, routing
from opsdash.core.topics import RULES as TOPICS
from opsdash.core.views import Viewer
from opsdash.core.whatif_results import Answered, Fate, FeatureFate, Objection, Recognised, Told
from opsdash.model.alarm import alarm_key, hold_words
from opsdash.model.operation import Absence, ResponseKind, Tier
from opsdash.model.status import Reason, Status
from opsdash.model.switch import GuardResult, Plan, Refused, SwitchCause, SwitchKind, SwitchState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from opsdash.core.draft import Draft
    from opsdash.core.routing import Subject
    from opsdash.core.whatif_subjects import Loss
    from opsdash.core.whatif_trial import Trial
    from opsdash.model.operation import Component, FailureMode, Operation

KINDS = {ResponseKind.SWITCH: SwitchKind.FAILOVER, ResponseKind.DEGRADE: SwitchKind.DEGRADE}

ALWAYS = Absence(None, None)

EVERY_STEP = 1_000
"""More steps of escalation than any route has."""


@dataclass(slots=True)
class Absences:
    """A reader for questions about people: who is away by the files, by what is recorded (tables), and by the loss."""

    operation: Operation
    tables: Mapping[str, Mapping[str, Any]]
    away: frozenset[str]

    def get(self, table: str, key: str) -> Any:
        if table == "absences" and key in self.away:
            return ALWAYS
        return self.tables.get(table, {}).get(key)

    def keys(self, table: str) -> list[str]:
        found = set(self.tables.get(table, {}))
        return sorted(found | self.away if table == "absences" else found)


@dataclass(slots=True)
class Seen:
    """What can be read of a component at one moment of a trial."""

    status: Status
    reason: Reason | None
    cause: str
    redundancy: str
    failures: frozenset[str]
    alarms: frozenset[str]
    features: dict[str, tuple[str, Tier, str]] = field(default_factory=dict)


def look(trial: Trial, components: Iterable[Component]) -> dict[str, Seen]:
    """How components are at this moment."""
    draft, found = trial.draft, {}
    for component in components:
        health = draft.health(component.id)
        topics = (topic for topic in ("", *TOPICS) if draft.get("alarms", alarm_key(component.id, topic)) is not None)
        found[component.id] = Seen(
            health.status,
            health.reason,
            health.cause,
            health.redundancy,
            frozenset(_active(draft, component)),
            frozenset(topics),
        )
    for feature in Viewer(trial.world, trial.live, trial.now).features():
        if feature["component"] in found:
            about = (feature["title"], Tier(feature["tier"]), feature["works"])
            found[feature["component"]].features[feature["id"]] = about
    return found


class Account:
    """What a trial has come to for a component. Who is there, and who is told, follows from it for any absences."""

    def __init__(self, draft: Draft, component: Component, normal: Seen, seen: Seen) -> None:
        self.component = component
        self.failures = [each for each in component.failures.values() if each.id in _active(draft, component)]
        self._normal = normal
        self._seen = seen
        self._wall = draft.now.wall
        self._alarms = list(_alarms(draft, component))
        self._after = seen
        self._answered: Answered | None = None

    def end(self, after: Seen, answered: Answered | None) -> None:
        """Take down how it is after the response, and what became of that."""
        self._after = after
        self._answered = answered

    def fate(self, loss: Loss, who: Absences) -> Fate:
        """What becomes of it. loss: as it was asked for, with the reasons of its own."""
        component, seen, normal = self.component, self._seen, self._normal
        offered = self.failures[0] if self.failures else None
        present = tuple(people.present_owners(who, component, self._wall))
        unanswered = tuple(self._unanswered(present, loss.people))
        return Fate(
            component=component.id,
            title=component.title,
            tier=component.tier,
            was=normal.status,
            status=seen.status,
            reason=loss.checks.get(seen.cause, seen.reason),
            cause=seen.cause,
            after=self._after.status,
            redundancy=seen.redundancy if seen.redundancy != normal.redundancy else "",
            failures=tuple(
                Recognised(each.id, each.title, str(each.response), each.runbook, each is offered)
                for each in self.failures
            ),
            answered=self._answered,
            runbook=(offered.runbook if offered else None) or component.runbook,
            features=tuple(_feature_fates(normal, seen, self._after)),
            alarms=tuple(self._told(alarm, about, who) for alarm, about in self._alarms),
            present=present,
            unanswered=unanswered,
            as_before=self._as_before() and not (unanswered and loss.people.intersection(component.owners)),
        )

    def _as_before(self) -> bool:
        """Whether nothing has become of it that was not so at the start."""
        normal, seen = self._normal, self._seen
        same = (seen.status, seen.redundancy, self._after.status) == (normal.status, normal.redundancy, normal.status)
        known = seen.failures <= normal.failures and seen.alarms <= normal.alarms
        return same and known and not any(_feature_fates(normal, seen, self._after))

    def _told(self, alarm: Told, about: Subject | None, who: Absences) -> Told:
        if about is None:
            return alarm
        found = routing.targets(who, about, EVERY_STEP, self._wall)
        at_once = tuple(channel for channel, step in found.channels.items() if step == 0)
        later = tuple(channel for channel, step in found.channels.items() if step > 0)
        return replace(alarm, at_once=at_once, later=later, note=found.note)

    def _unanswered(self, present: tuple[str, ...], away: frozenset[str]) -> Iterator[str]:
        """What nobody or nothing answers."""
        component, answered = self.component, self._answered
        status = self._seen.status
        fails = status is not self._normal.status and status in (Status.DOWN, Status.UNKNOWN)
        if not fails and not self.failures:
            if not present and away.intersection(component.owners):
                yield "nobody who owns it is there"
            return
        if not self.failures:
            yield "no entry of the register says what to do"
        elif answered is not None and answered.refused:
            yield f"{answered.kind.value} is not possible: {answered.refused}"
        elif answered is not None and answered.outcome is not None and not answered.worked:
            yield f"{answered.kind.value} does not help ({answered.outcome.value}): {answered.detail}"
        if not (self.failures and self.failures[0].runbook) and not component.runbook:
            yield "no runbook"
        if not present:
            yield "nobody who owns it is there" if component.owners else "nobody owns it"


def _active(draft: Draft, component: Component) -> set[str]:
    return {failure for failure, _ in draft.state(component.id).failures}


def _feature_fates(normal: Seen, seen: Seen, after: Seen) -> Iterator[FeatureFate]:
    """The features of which users have less than before, at any time."""
    for key, (title, tier, works) in normal.features.items():
        before, later = seen.features[key][2], after.features[key][2]
        if works != before or works != later:
            yield FeatureFate(key, title, tier, before, later)


def _alarms(draft: Draft, component: Component) -> Iterator[tuple[Told, Subject | None]]:
    """Every alarm of a component; where it is raised, with what it is routed by."""
    for topic in ("", *TOPICS):
        key = alarm_key(component.id, topic)
        alarm = draft.get("alarms", key)
        if alarm is not None:
            held = "" if alarm.is_raised else hold_words(alarm.hold) if alarm.hold else "it waits"
            yield Told(topic, alarm.title, held, (), ()), routing.subject(draft, key)


# --- answering -------------------------------------------------------------------------------------------------------


def answer_all(trial: Trial, failing: list[tuple[Component, list[FailureMode]]]) -> dict[str, Answered]:
    """Do what the register offers first for each component that fails, one after the other."""
    planned = [(component, failures[0], _by_itself(trial, component)) for component, failures in failing if failures]
    return {component.id: done or _answer(trial, component, failure) for component, failure, done in planned}


def _by_itself(trial: Trial, component: Component) -> Answered | None:
    """The switch that opsdash has begun without a person, if it has."""
    switch = trial.draft.switch(component.id)
    if switch is None or switch.cause is not SwitchCause.AUTO or switch.intended_at < trial.since:
        return None
    return _ended(trial, ResponseKind.SWITCH, switch.plan, switch.id, by_itself=True)


def _answer(trial: Trial, component: Component, failure: FailureMode) -> Answered:
    response = failure.response
    kind = KINDS.get(response.kind)
    about = (response.component if response.kind is ResponseKind.DEGRADE else "") or component.id
    if kind is None:
        return Answered(response.kind, about, failure.runbook or component.runbook or "")
    plan = planning.plan(trial.draft, about, kind, response.mode)
    if isinstance(plan, Refused):
        if plan.rule == "already_active":
            return Answered(
                response.kind, about, response.mode or "", outcome=SwitchState.COMMITTED, detail=plan.reason
            )
        return Answered(response.kind, about, response.mode or "", plan.rule, plan.reason)
    answer = trial.answer(plan)
    if isinstance(answer, Refused):
        refused = Answered(response.kind, about, plan.target, answer.rule, answer.reason)
        return replace(refused, objections=_objections(plan))
    return _ended(trial, response.kind, plan, answer)


def _ended(trial: Trial, kind: ResponseKind, plan: Plan, switch_id: str, *, by_itself: bool = False) -> Answered:
    switch = trial.draft.get("switches", switch_id)
    return Answered(
        kind,
        plan.component,
        plan.target,
        objections=_objections(plan),
        outcome=switch.state,
        detail=switch.detail or "; ".join(f"{fact.name.value}: {fact.evidence}" for fact in switch.facts),
        by_itself=by_itself,
    )


def _objections(plan: Plan) -> tuple[Objection, ...]:
    """The guards that do not pass. Whether opsdash itself is cut off is no question here: it is not."""
    return tuple(
        Objection(each.rule, each.result, each.evidence)
        for each in plan.guards
        if each.result is not GuardResult.PASS and each.rule != "observer"
    )
