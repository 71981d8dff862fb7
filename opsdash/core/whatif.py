"""What-if: something is taken away; what goes down, what was decided for it, what users are left with, and what nobody
answers.

Nothing in here knows what a status means or what a guard asks: a trial (`core/whatif_trial`) runs the core on a world
in which the loss has happened, and this module reads what came of it, twice. *Before*: what follows by itself, until
nothing changes any more. *After*: once what the register offers first has been done, as far as its guards let it, and
has been verified.

    whatif = WhatIf(operation, wall)
    result = whatif.without(find(whatif.subjects, ["email/postmark"]))
    result.lost()            # the features that nobody has any more, in spite of what was decided

A component that depends on one that is down may still work; only its own checks could tell. Its features are then
neither kept nor lost, they are *at risk*, and say so.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from opsdash.core import people, planning, routing
from opsdash.core.index import index
from opsdash.core.redundancy import LOST
from opsdash.core.topics import RULES as TOPICS
from opsdash.core.views import Viewer
from opsdash.core.whatif_reach import Reach
from opsdash.core.whatif_subjects import subjects_of
from opsdash.core.whatif_trial import Start, Trial
from opsdash.model.alarm import alarm_key, hold_words
from opsdash.model.empty import nothing
from opsdash.model.operation import TIER_ORDER, Absence, ResponseKind, Tier
from opsdash.model.status import Reason, Status
from opsdash.model.switch import GuardResult, Plan, Refused, SwitchCause, SwitchKind, SwitchState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from opsdash.core.draft import Draft
    from opsdash.core.routing import Subject
    from opsdash.core.whatif_reach import Group
    from opsdash.core.whatif_subjects import Loss
    from opsdash.core.whatif_subjects import Subject as Taken
    from opsdash.model.operation import Component, FailureMode, Operation, Raw

YES, NO, UNKNOWN, DROPPED, AT_RISK = "yes", "no", "unknown", "dropped", "at risk"
"""What users have of a feature. The first four are those of every screen; `at risk`: see above."""

KINDS = {ResponseKind.SWITCH: SwitchKind.FAILOVER, ResponseKind.DEGRADE: SwitchKind.DEGRADE}

ALWAYS = Absence(None, None)

EVERY_STEP = 1_000
"""More steps of escalation than any route has."""


# --- what comes out --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FeatureFate:
    """What users have of a feature at first, and once what was decided has been done. id: component/feature."""

    id: str
    title: str
    tier: Tier
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Recognised:
    """An entry of the register that becomes active. response: in words.  offered: it is what one key does."""

    id: str
    title: str
    response: str
    runbook: str | None
    offered: bool


@dataclass(frozen=True, slots=True)
class Objection:
    """A guard of the response's plan that does not pass."""

    rule: str
    result: GuardResult
    evidence: str


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of the response. kind: what was decided.  component, target: what was to be moved where.

    refused: why it was not begun, "" where it was; rule: of the guard or rule that refused.
    outcome: how it ended, None where it was not begun or is for people (a runbook).  by_itself: nobody had to confirm.
    """

    kind: ResponseKind
    component: str
    target: str = ""
    rule: str = ""
    refused: str = ""
    objections: tuple[Objection, ...] = ()
    outcome: SwitchState | None = None
    detail: str = ""
    by_itself: bool = False

    @property
    def worked(self) -> bool:
        """Whether it was carried out and verified."""
        return self.outcome is SwitchState.COMMITTED


@dataclass(frozen=True, slots=True)
class Told:
    """An alarm. topic: "" for the failure itself.  held: why it waits, "" where it is raised.

    at_once, later: the channels it goes to, the later ones by escalation.  silent: those of them over which nothing
    arrives.  note: what has to be said of it.
    """

    topic: str
    title: str
    held: str
    at_once: tuple[str, ...]
    later: tuple[str, ...]
    silent: tuple[str, ...] = ()
    note: str = ""

    @property
    def reaches(self) -> bool:
        """Whether it arrives anywhere."""
        return any(channel not in self.silent for channel in (*self.at_once, *self.later))


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a component.

    was, status, after: its status at the start, with the loss, and after the response.  reason, cause: of `status`.
    present: ids of its owners who are there.  unanswered: what nobody or nothing answers, in words.
    """

    component: str
    title: str
    tier: Tier
    was: Status
    status: Status
    reason: Reason | None
    cause: str
    after: Status
    redundancy: str
    failures: tuple[Recognised, ...]
    answered: Answered | None
    runbook: str | None
    features: tuple[FeatureFate, ...]
    alarms: tuple[Told, ...]
    present: tuple[str, ...]
    unanswered: tuple[str, ...]


Weight = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What comes of a loss. fates: in the order of the files, only those that fare otherwise than before.

    at_risk: features of components that depend on what is down.  unheard: components of which nobody would be told.
    """

    subjects: tuple[Taken, ...]
    fates: tuple[Fate, ...] = ()
    at_risk: tuple[FeatureFate, ...] = ()
    unheard: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[FeatureFate, ...]:
        """All features that users have less of at any time, the most important first."""
        found = [feature for fate in self.fates for feature in fate.features]
        return tuple(sorted((*found, *self.at_risk), key=lambda each: (TIER_ORDER[each.tier], each.id)))

    def lost(self, tier: Tier | None = None) -> tuple[str, ...]:
        """The features that are gone after the response; an essential one that was given up is gone, too."""
        return tuple(each.id for each in self.features if _is_lost(each) and tier in (None, each.tier))

    def risked(self, tier: Tier | None = None) -> tuple[str, ...]:
        """The features that are at risk after the response."""
        return tuple(each.id for each in self.features if each.after == AT_RISK and tier in (None, each.tier))

    def stays_down(self) -> tuple[str, ...]:
        """The essential and important components that are still down after the response: people have to repair them."""
        return tuple(
            fate.component
            for fate in self.fates
            if fate.after is Status.DOWN is not fate.was and fate.tier is not Tier.DROPPABLE
        )

    def with_status(self, status: Status) -> tuple[str, ...]:
        """The components that have a status at first, and did not before."""
        return tuple(fate.component for fate in self.fates if fate.status is status is not fate.was)

    @property
    def unanswered(self) -> tuple[str, ...]:
        """What nobody answers, each with its component."""
        found = [f"{fate.component}: {each}" for fate in self.fates for each in fate.unanswered]
        return tuple(found + [f"{component}: nobody would be told of a failure" for component in self.unheard])

    @property
    def is_critical(self) -> bool:
        """Whether an essential or important feature is lost or such a component stays down in spite of what was
        decided, or nobody answers something: alone, that is a single point of failure.
        """
        lost = self.lost(Tier.ESSENTIAL) or self.lost(Tier.IMPORTANT)
        return bool(lost or self.stays_down() or self.unanswered)

    @property
    def weight(self) -> Weight:
        """The worse the greater: essential features that are lost, at risk, then important ones, then components that
        stay down, then what nobody answers.
        """
        essential, important, droppable = Tier.ESSENTIAL, Tier.IMPORTANT, Tier.DROPPABLE
        return (
            len(self.lost(essential)),
            len(self.risked(essential)),
            len(self.lost(important)),
            len(self.risked(important)),
            len(self.stays_down()),
            len(self.unanswered),
            len(self.lost(droppable)),
            len(self.fates),
        )


def _is_lost(feature: FeatureFate) -> bool:
    return feature.after in (NO, UNKNOWN) or (feature.after == DROPPED and feature.tier is Tier.ESSENTIAL)


def ranked(results: Iterable[Result]) -> list[Result]:
    """The worst first, and those that are equally bad by their names."""
    return sorted(results, key=lambda each: (tuple(-part for part in each.weight), [str(one) for one in each.subjects]))


def union(one: Result, other: Result) -> Result:
    """What comes of two losses that have nothing to do with each other."""
    fates = {fate.component: fate for fate in (*one.fates, *other.fates)}
    touched = {feature.id for fate in fates.values() for feature in fate.features}
    at_risk = {each.id: each for each in (*one.at_risk, *other.at_risk) if each.id not in touched}
    unheard = {*one.unheard, *other.unheard}
    subjects = tuple(dict.fromkeys((*one.subjects, *other.subjects)))
    return Result(subjects, _by_name(fates), _by_name(at_risk), tuple(sorted(unheard)))


def _by_name(found: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(found[key] for key in sorted(found))


# --- computing it ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Seen:
    """What can be read of a component at one moment of a trial."""

    status: Status
    reason: Reason | None
    cause: str
    redundancy: str
    features: dict[str, tuple[str, Tier, str]] = field(default_factory=dict)


class WhatIf:
    """An operation, from which anything can be taken away. Trials are made once and remembered.

    wall: seconds since 1970 UTC.  tables: what is recorded, to begin with the present; without, all works at first.
    filled: options with their settings filled in.
    """

    def __init__(
        self,
        operation: Operation,
        wall: float,
        *,
        tables: Mapping[str, Mapping[str, Any]] | None = None,
        filled: Callable[[Raw], Mapping[str, Any]] = dict,
    ) -> None:
        self.operation = index(operation)
        self.subjects: dict[str, Loss] = subjects_of(operation, filled)
        self._wall = wall
        self._tables: Mapping[str, Mapping[str, Any]] = tables if tables is not None else nothing()
        self._reach = Reach(self.operation)
        self._starts: dict[frozenset[str], tuple[Start, dict[str, _Seen]]] = {}
        self._fates: dict[tuple[Group, Any], dict[str, Fate]] = {}
        self._accounts: dict[tuple[Group, Any], dict[str, _Account]] = {}
        self._features: dict[str, tuple[FeatureFate, ...]] = {}
        everybody = self._absences(frozenset())
        self._heard = {each.id: routing.known_targets(everybody, each) for each in self._components()}

    def _components(self) -> Iterator[Component]:
        yield from self.operation.components.values()

    def without(self, loss: Loss) -> Result:
        """What comes of a loss: each group of components that it concerns by itself."""
        fates: dict[str, Fate] = {}
        for group in self._reach.groups(self._reach.concerned(loss)):
            fates |= self._of_group(group, loss)
        return self._result(loss, fates)

    def at_once(self, loss: Loss) -> Result:
        """The same, with the whole operation in one trial: what `without` has to agree with, and far slower."""
        everything = tuple(sorted(self.operation.components))
        concerned = self._reach.concerned(loss)
        found = self._tried(everything, loss)
        absences = self._absences(loss.people)
        return self._result(loss, {each: found[each].fate(loss, absences) for each in found if each in concerned})

    def singles(self, after_each: Callable[[], object] = int) -> list[Result]:
        """What comes of each single loss, the worst first. `after_each` is called after each of them."""
        found = []
        for loss in self.subjects.values():
            found.append(self.without(loss))
            after_each()
        return ranked(found)

    def pairs(self, after_each: Callable[[], object] = int) -> list[Result]:
        """What comes of the pairs that are worse than their two by themselves, the worst first.

        Only those can be that have to do with each other. `after_each` is called after each that was looked at.
        """
        single = {name: self.without(loss) for name, loss in self.subjects.items()}
        found = []
        for one, other in self.connected_pairs():
            both = self.without(self.subjects[one].with_also(self.subjects[other]))
            if is_worse(both, union(single[one], single[other])):
                found.append(both)
            after_each()
        return ranked(found)

    def connected_pairs(self) -> list[tuple[str, str]]:
        """The pairs of subjects of which one can make the other worse, in the order of the subjects."""
        hit: dict[str, list[str]] = {each: [] for each in self.operation.components}
        minds: dict[str, list[str]] = {each: [] for each in self.operation.components}
        order = {name: number for number, name in enumerate(self.subjects)}
        for name, loss in self.subjects.items():
            concerned = self._reach.concerned(loss)
            for component in concerned:
                hit[component].append(name)
            for component in self._minding(loss, concerned):
                minds[component].append(name)
        found = {
            (one, other) if order[one] < order[other] else (other, one)
            for component, names in hit.items()
            for one in names
            for other in (*minds[component], *names)
            if one != other
        }
        found |= set(combinations([name for name, loss in self.subjects.items() if loss.channels], 2))
        return sorted(found, key=lambda pair: (order[pair[0]], order[pair[1]]))

    def _minding(self, loss: Loss, concerned: frozenset[str]) -> set[str]:
        """The components whose loss besides makes a difference to what comes of a loss."""
        found = {other for each in concerned for other in self._reach.kin[each]}
        channels = self.operation.alarms.channels
        found |= {needed for each in concerned for name in self._heard[each] for needed in channels[name].depends_on}
        for component in self.operation.components:
            if loss.people & self._reach.people[component] or loss.channels & self._heard[component]:
                found.add(component)
        return found & self.operation.components.keys()

    # --- one group ---------------------------------------------------------------------------------------------

    def _of_group(self, group: Group, loss: Loss) -> dict[str, Fate]:
        people_of = frozenset().union(*(self._reach.people[each] for each in group))
        part = loss.within(frozenset(group), people_of)
        asked = (group, part.key(self.operation))
        found = self._fates.get(asked)
        if found is None:
            found = self._fates[asked] = self._fates_of(group, part)
        return found

    def _fates_of(self, group: Group, part: Loss) -> dict[str, Fate]:
        plain = self._reach.plain(part)
        if not any(self._minds_absence(each) for each in group):
            plain = replace(plain, people=frozenset())
        key = (group, plain.key(self.operation))
        accounts = self._accounts.get(key)
        if accounts is None:
            accounts = self._accounts[key] = self._tried(group, plain)
        return {each: account.fate(part, self._absences(part.people)) for each, account in accounts.items()}

    def _minds_absence(self, component: str) -> bool:
        """Whether people who are away make a failure mode of a component active."""
        failures = self.operation.components[component].failures.values()
        return any(failure.detected_by is not None and failure.detected_by.away for failure in failures)

    def _absences(self, away: frozenset[str]) -> _Absences:
        return _Absences(self.operation, self._tables.get("absences", {}), away)

    def _tried(self, group: Group, loss: Loss) -> dict[str, _Account]:
        start, normal = self._start(group)
        trial = Trial(start, loss)
        trial.lose()
        mine = set(group)
        components = [each for each in start.operation.components.values() if each.id in mine]
        before = _look(trial, components)
        found = {each.id: _Account(trial.draft, each, normal[each.id], before[each.id]) for each in components}
        answers = _answer_all(trial, [(each.component, each.failures) for each in found.values()])
        after = _look(trial, components)
        for key, account in found.items():
            account.end(after[key], answers.get(key))
        return found

    def _start(self, group: Group) -> tuple[Start, dict[str, _Seen]]:
        wanted = frozenset(group).union(*(self._reach.company[each] for each in group))
        found = self._starts.get(wanted)
        if found is None:
            start = Start(self._reach.part(group), self._wall, self._tables)
            normal = _look(Trial(start), start.operation.components.values())
            found = self._starts[wanted] = (start, normal)
        return found

    # --- all groups together -----------------------------------------------------------------------------------

    def _result(self, loss: Loss, fates: Mapping[str, Fate]) -> Result:
        down = {each for each, fate in fates.items() if fate.status is Status.DOWN}
        silent = {*loss.channels, *self._cut_off(down)}
        found = {each: _told(fate, silent) for each, fate in fates.items() if _fares_otherwise(fate)}
        down_after = {each for each, fate in fates.items() if Status.DOWN is fate.after is not fate.was}
        at_risk = self._at_risk(down - {each for each in down if fates[each].was is Status.DOWN}, down_after)
        touched = {feature.id for fate in found.values() for feature in fate.features}
        unheard = self._unheard(loss.channels, silent) if loss.channels else ()
        return Result(
            loss.subjects,
            _by_name(found),
            tuple(at_risk[key] for key in sorted(at_risk) if key not in touched),
            unheard,
        )

    def _cut_off(self, down: set[str]) -> Iterator[str]:
        """The channels through which nothing goes while those components are down."""
        for channel in self.operation.alarms.channels.values():
            if down.intersection(channel.depends_on):
                yield channel.id

    def _unheard(self, gone: frozenset[str], silent: set[str]) -> tuple[str, ...]:
        """The components of which nobody would be told, and would be otherwise; droppable ones alarm nobody."""
        return tuple(
            sorted(
                component.id
                for component in self._components()
                if component.tier is not Tier.DROPPABLE
                and self._heard[component.id] & gone
                and self._heard[component.id] <= silent
            )
        )

    def _at_risk(self, before: set[str], after: set[str]) -> dict[str, FeatureFate]:
        """The features of all that depends on what is down, by id."""
        below, still = self._below(before | after), self._below(after)
        found: dict[str, FeatureFate] = {}
        for component in sorted(below):
            for feature in self._features_of(component):
                found[feature.id] = replace(feature, before=AT_RISK, after=AT_RISK if component in still else YES)
        return found

    def _below(self, down: set[str]) -> set[str]:
        queue = list(down)
        found: set[str] = set()
        for each in queue:
            for child in self.operation.dependents.get(each, ()):
                if child not in found:
                    found.add(child)
                    queue.append(child)
        return found - down

    def _features_of(self, component: str) -> tuple[FeatureFate, ...]:
        known = self._features.get(component)
        if known is None:
            _, normal = self._start((component,))
            seen = normal[component].features
            known = tuple(FeatureFate(key, title, tier, YES, YES) for key, (title, tier, _) in seen.items())
            self._features[component] = known
        return known


@dataclass(frozen=True, slots=True)
class _Absences:
    """A reader for questions about people: who is away by the files, by what is recorded, and by the loss."""

    operation: Operation
    recorded: Mapping[str, Absence]
    away: frozenset[str]

    def get(self, table: str, key: str) -> Any:
        if table == "absences" and key in self.away:
            return ALWAYS
        return self.recorded.get(key) if table == "absences" else None


def is_worse(both: Result, apart: Result) -> bool:
    """Whether a pair takes more than its two do one at a time."""
    return any(one > other for one, other in zip(both.weight[:-1], apart.weight[:-1], strict=True))


def _fares_otherwise(fate: Fate) -> bool:
    changed = fate.status is not fate.was or fate.after is not fate.was or fate.redundancy == LOST
    return changed or bool(fate.failures or fate.features or fate.unanswered or fate.alarms)


def _told(fate: Fate, silent: set[str]) -> Fate:
    """The same, with the channels over which nothing arrives; and whether anybody is told at all."""
    alarms = tuple(
        replace(each, silent=tuple(channel for channel in (*each.at_once, *each.later) if channel in silent))
        for each in fate.alarms
    )
    raised = [each for each in alarms if not each.held]
    unheard = [each for each in raised if not each.reaches]
    more = ("nobody is told: " + _why_unheard(unheard[0]),) if unheard and len(unheard) == len(raised) else ()
    return replace(fate, alarms=alarms, unanswered=(*fate.unanswered, *more))


def _why_unheard(alarm: Told) -> str:
    if not alarm.at_once and not alarm.later:
        return "its alarms go to no channel"
    return f"nothing arrives over {', '.join(alarm.silent)}"


# --- reading a trial -------------------------------------------------------------------------------------------------


def _look(trial: Trial, components: Iterable[Component]) -> dict[str, _Seen]:
    """How components are at this moment."""
    draft, found = trial.draft, {}
    for component in components:
        health = draft.health(component.id)
        found[component.id] = _Seen(health.status, health.reason, health.cause, health.redundancy)
    for feature in Viewer(trial.world, trial.live, trial.now).features():
        if feature["component"] in found:
            about = (feature["title"], Tier(feature["tier"]), feature["works"])
            found[feature["component"]].features[feature["id"]] = about
    return found


class _Account:
    """What a trial has come to for a component. Who is there, and who is told, follows from it for any absences."""

    def __init__(self, draft: Draft, component: Component, normal: _Seen, seen: _Seen) -> None:
        self.component = component
        self.failures = [each for each in component.failures.values() if each.id in _active(draft, component)]
        self._normal = normal
        self._seen = seen
        self._wall = draft.now.wall
        self._alarms = list(_alarms(draft, component))
        self._after = seen
        self._answered: Answered | None = None

    def end(self, after: _Seen, answered: Answered | None) -> None:
        """Take down how it is after the response, and what became of that."""
        self._after = after
        self._answered = answered

    def fate(self, loss: Loss, who: _Absences) -> Fate:
        """What becomes of it. loss: as it was asked for, with the reasons of its own."""
        component, seen, normal = self.component, self._seen, self._normal
        offered = self.failures[0] if self.failures else None
        present = tuple(people.present_owners(who, component, self._wall))
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
            unanswered=tuple(self._unanswered(present, loss.people)),
        )

    def _told(self, alarm: Told, about: Subject | None, who: _Absences) -> Told:
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


def _feature_fates(normal: _Seen, seen: _Seen, after: _Seen) -> Iterator[FeatureFate]:
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


def _answer_all(trial: Trial, failing: list[tuple[Component, list[FailureMode]]]) -> dict[str, Answered]:
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
            return Answered(response.kind, about, response.mode or "", outcome=SwitchState.COMMITTED, detail=plan.reason)
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
