"""What comes of a what-if, as values: what becomes of each component, of each feature, and what nobody answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from opsdash.model.operation import TIER_ORDER, ResponseKind, Tier
from opsdash.model.status import Reason, Status
from opsdash.model.switch import GuardResult, SwitchState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from opsdash.core.whatif_subjects import Subject

YES, NO, UNKNOWN, DROPPED, AT_RISK = "yes", "no", "unknown", "dropped", "at risk"
"""What users have of a feature. The first four are those of every screen; `at risk`: it depends on
what is down, and may still work; only checks of its own could tell."""


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
    as_before: nothing has become of it that was not so at the start.
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
    as_before: bool = False

    @property
    def goes_down(self) -> bool:
        """Whether it is down because of the loss."""
        return self.status is Status.DOWN is not self.was

    @property
    def stays_down(self) -> bool:
        """Whether it still is once what was decided has been done."""
        return self.after is Status.DOWN is not self.was


Weight = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What comes of a loss. fates: in the order of the files, only those that fare otherwise than before.

    at_risk: features of components that depend on what is down.  unheard: components of which nobody would be told.
    """

    subjects: tuple[Subject, ...]
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
        return tuple(each.id for each in self.features if is_lost(each) and tier in (None, each.tier))

    def risked(self, tier: Tier | None = None) -> tuple[str, ...]:
        """The features that are at risk after the response."""
        return tuple(each.id for each in self.features if each.after == AT_RISK and tier in (None, each.tier))

    def stays_down(self) -> tuple[str, ...]:
        """The essential and important components that are still down after the response: people have to repair them."""
        return tuple(fate.component for fate in self.fates if fate.stays_down and fate.tier is not Tier.DROPPABLE)

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


@dataclass(frozen=True, slots=True)
class Together:
    """What two losses take only when they happen at once: beyond what each of them takes by itself.

    lost, at_risk: features, with their tiers.  down: components that stay down.  unanswered: what nobody answers.
    """

    subjects: tuple[Subject, ...]
    lost: tuple[tuple[str, Tier], ...] = ()
    at_risk: tuple[tuple[str, Tier], ...] = ()
    down: tuple[str, ...] = ()
    unanswered: tuple[str, ...] = ()

    @property
    def weight(self) -> Weight:
        """As that of a result."""
        counts = {
            (name, tier): sum(each is tier for _, each in found)
            for name, found in (("lost", self.lost), ("risk", self.at_risk))
            for tier in Tier
        }
        return (
            counts["lost", Tier.ESSENTIAL],
            counts["risk", Tier.ESSENTIAL],
            counts["lost", Tier.IMPORTANT],
            counts["risk", Tier.IMPORTANT],
            len(self.down),
            len(self.unanswered),
            counts["lost", Tier.DROPPABLE],
        )


def is_lost(feature: FeatureFate) -> bool:
    return feature.after in (NO, UNKNOWN) or (feature.after == DROPPED and feature.tier is Tier.ESSENTIAL)


R = TypeVar("R", Result, Together)


def ranked(results: Iterable[R]) -> list[R]:
    """The worst first, and those that are equally bad by their names."""
    return sorted(results, key=lambda each: (tuple(-part for part in each.weight), [str(one) for one in each.subjects]))


def union(one: Result, other: Result) -> Result:
    """What comes of two losses that have nothing to do with each other."""
    fates = {fate.component: fate for fate in (*one.fates, *other.fates)}
    touched = {feature.id for fate in fates.values() for feature in fate.features}
    at_risk: dict[str, FeatureFate] = {}
    for each in (*one.at_risk, *other.at_risk):
        known = at_risk.get(each.id, each)
        if each.id not in touched:
            before, after = (AT_RISK if AT_RISK in both else YES for both in _both_times(each, known))
            at_risk[each.id] = replace(each, before=before, after=after)
    unheard = {*one.unheard, *other.unheard}
    subjects = tuple(dict.fromkeys((*one.subjects, *other.subjects)))
    return Result(subjects, by_name(fates), by_name(at_risk), tuple(sorted(unheard)))


def _both_times(one: FeatureFate, other: FeatureFate) -> tuple[tuple[str, str], tuple[str, str]]:
    return (one.before, other.before), (one.after, other.after)


def by_name(found: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(found[key] for key in sorted(found))


def with_silent(fate: Fate, silent: AbstractSet[str]) -> Fate:
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
