"""The confirmation of a plan: whether it may be begun, what it takes, and since when what it answers was known.

A confirmation names the switch that a person (or opsdash itself) has looked at. If the plan is another one by now, a
guard stands in its way, a reason or the typed name is missing, or a second person is wanted, nothing is begun and the
refusal says what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core import guards
from opsdash.model.incident import IncidentKind
from opsdash.model.records import ApprovalAsked, SwitchBlocked
from opsdash.model.switch import Refused, SwitchKind
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.inputs import SwitchIntent
    from opsdash.model.switch import Plan, SwitchCause

BREAK_GLASS = frozenset({guards.APPROVAL})
"""Guards that are no obstacle by themselves, and that may be overridden all the same."""

ANSWERS_A_FAILURE = frozenset({SwitchKind.FAILOVER, SwitchKind.DEGRADE})
"""The way back answers none: how long somebody took to decide on it says nothing."""


def note_blocked(draft: Draft, plan: Plan, who: str, refused: Refused, cause: SwitchCause) -> None:
    """Record that a guard stood in the way, so that it can be told later why nothing happened."""
    if any(guard.rule == refused.rule for guard in plan.guards):
        draft.emit(
            SwitchBlocked(
                draft.now.wall, plan.component, plan.kind, plan.target, who, refused.rule, refused.reason, cause
            )
        )
        draft.touch(plan.component)


def asker(draft: Draft, plan: Plan, who: str, intent: SwitchIntent) -> Refused | str | None:
    """Who asked for a switch that takes two people, and that this confirmation lets happen. None: it takes one."""
    if guards.APPROVAL in intent.overrides or not any(guard.rule == guards.APPROVAL for guard in plan.guards):
        return None
    asked = guards.asked_for(draft, plan)
    if asked is not None and asked.who != who:
        return asked.who
    until = draft.now.wall + guards.APPROVAL_WITHIN
    if asked is None:
        draft.emit(
            ApprovalAsked(
                draft.now.wall,
                plan.component,
                plan.kind,
                plan.generation,
                plan.source,
                plan.target,
                who,
                until,
                intent.reason or plan.reason,
            )
        )
        draft.touch(plan.component)
    within = format_duration((until if asked is None else asked.until) - draft.now.wall)
    return Refused(
        guards.APPROVAL,
        f"this takes two people: another one has to confirm the same plan within {within}",
        f"--override {guards.APPROVAL} --reason TEXT",
    )


def named_target(intent: SwitchIntent) -> str | None:
    """What the plan is asked for: modes are planned by their own id, also on the way out."""
    if intent.kind is SwitchKind.RESTORE:
        return intent.source or None
    return intent.target or None


def changed(plan: Plan, intent: SwitchIntent) -> Refused | None:
    """The refusal of a confirmation whose plan is another one by now."""
    if (plan.generation, plan.source, plan.target) == (intent.generation, intent.source, intent.target):
        return None
    ends = f"{plan.source or 'normal'} to {plan.target or 'normal'}"
    return out_of_date(f"it is now {ends}, switch number {plan.generation + 1}")


def out_of_date(now: str) -> Refused:
    """Says what has become of the plan that was confirmed."""
    return Refused("changed", f"this plan is out of date: {now}; look at the new plan")


def blocked(plan: Plan, intent: SwitchIntent) -> Refused | None:
    """What keeps the plan from being begun: a guard that is not overridden (all of them are named), or a reason or a
    typed name that is missing.
    """
    final = next((guard for guard in plan.failed if not guard.overridable), None)
    if final is not None:
        return Refused(final.rule, f"{final.title}: {final.evidence}")
    missing = [guard for guard in plan.failed if guard.rule not in intent.overrides]
    if missing:
        why = "; ".join(f"{guard.title}: {guard.evidence}" for guard in missing)
        overrides = " ".join(f"--override {guard.rule}" for guard in missing)
        return Refused(missing[0].rule, why, f"{overrides} --reason TEXT")
    overridden = [rule for rule in intent.overrides if rule in {guard.rule for guard in plan.failed} | BREAK_GLASS]
    if overridden and not intent.reason.strip():
        return Refused("reason", f"overriding {', '.join(overridden)} needs a reason", "--reason TEXT")
    if (overridden or plan.typed) and intent.typed != plan.component:
        return Refused("typed", f"this needs the component's name to be typed: {plan.component}")
    return None


def noticed_at(draft: Draft, component: str) -> float | None:
    """When it was first known that something is wrong with a component."""
    times = [since for _, since in draft.state(component).failures]
    incident = draft.incident(component)
    if incident is not None and incident.kind is not IncidentKind.NOTE:
        times.append(incident.opened_at)
    return min(times, default=None)


def failed_at(draft: Draft, component_id: str, noticed_at: float) -> float | None:
    """When the first bad result came in, of those that are still bad; never later than it was noticed."""
    component = draft.component(component_id)
    if component is None:
        return None
    provider = component.provider(draft.state(component_id).active)
    checks = (*component.checks, *(provider.checks if provider is not None else ()))
    times = [since for check in checks if (since := draft.check(check).bad_since) is not None]
    return min((at for at in times if at <= noticed_at), default=None)
