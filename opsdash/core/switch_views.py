"""Plans and switches as clients see them: for the board, the command line and the evidence.

Titles, times and the commands that a person would type instead; the decisions themselves are made elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core import planning, proofs, steps, verifying, ways_out
from opsdash.core.outcomes import LIVE_STATES
from opsdash.model.operation import Confirm
from opsdash.model.switch import BACK_TITLES, FACT_TITLES, MAIN, MOVES_PROVIDER, Refused, SwitchKind, SwitchState
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.core.draft import Draft
    from opsdash.model.operation import ActionCall, Component, Step
    from opsdash.model.switch import Fact, FactName, Guard, Plan, Switch
    from opsdash.model.views import FactView, GuardView, PlanView, RefusedView, StepPlanView, SwitchView
    from opsdash.model.world import Proof, SwitchLive

    ByHand = Callable[[ActionCall | None, str | None], str]

COUNTDOWN = 3.0
"""Seconds after which a plan with `confirm: countdown` acts by itself while all guards pass."""


# --- a plan --------------------------------------------------------------------------------------------------------


def plan_view(draft: Draft, component_id: str, kind: SwitchKind, target: str | None, by_hand: ByHand) -> PlanView:
    """What a switch would do. `by_hand` gives the equivalent command of an action, or of putting a value back."""
    plan = planning.plan(draft, component_id, kind, target)
    component = draft.component(component_id)
    if isinstance(plan, Refused):
        return _refused_plan(component_id, component.title if component else component_id, kind, plan)
    assert component is not None  # noqa: S101 - there is no plan without a component
    restoring = plan.kind is SwitchKind.RESTORE and plan.restores
    entering = plan.kind is SwitchKind.DEGRADE and plan.restores
    calm = not plan.failed and not plan.warnings and plan.confirm is Confirm.COUNTDOWN
    proved = proofs.proof_of(draft, component, plan.target, draft.now.wall)[0] == proofs.FRESH
    mode = component.modes.get(plan.target or plan.source) if kind not in MOVES_PROVIDER else None
    return {
        "component": plan.component,
        "title": component.title,
        "kind": plan.kind.value,
        "source": plan.source,
        "source_title": _end_title(component, plan, plan.source),
        "target": plan.target,
        "target_title": _end_title(component, plan, plan.target),
        "generation": plan.generation,
        "guards": [guard_view(guard) for guard in plan.guards],
        "failed": [guard.rule for guard in plan.failed],
        "warnings": [guard.rule for guard in plan.warnings],
        "needs": "typed" if plan.failed or plan.typed else "y",
        "countdown": COUNTDOWN if calm and proved else None,
        "reason": plan.reason,
        "drops": list(plan.drops),
        "keeps": list(mode.keeps) if mode else [],
        "state": plan.state.value,
        "steps": [_step(component, step, by_hand) for step in (*plan.before, *plan.after)],
        "steps_before": len(plan.before),
        "notes": list(plan.notes),
        "settle": plan.settle,
        "deadline": plan.deadline,
        "manual": by_hand(plan.call, plan.wanted if restoring else None),
        "undo": "" if entering else by_hand(plan.undo_call, None),
        "last": _last_time(draft, component_id, plan),
        "refused": None,
    }


def guard_view(guard: Guard) -> GuardView:
    """A guard, of whatever plan."""
    return {
        "rule": guard.rule,
        "title": guard.title,
        "result": guard.result.value,
        "evidence": guard.evidence,
        "age": guard.age,
        "overridable": guard.overridable,
    }


def _last_time(draft: Draft, component_id: str, plan: Plan) -> str:
    what = plan.target if plan.kind in MOVES_PROVIDER else f"mode:{plan.target}"
    proof: Proof | None = draft.get("proofs", f"{component_id}/{what}")
    if proof is None or not proof.took:
        return ""
    ago = format_duration(max(0.0, draft.now.wall - proof.at))
    return f"{proof.took:.1f} s, {ago} ago, by {proof.who}"


def _step(component: Component, step: Step, by_hand: ByHand) -> StepPlanView:
    watched = [f"{check.removeprefix(f'{component.id}/')} passes" for check in step.verify]
    watched += [f"{check.removeprefix(f'{component.id}/')} is down" for check in step.down]
    return {
        "name": step.name,
        "manual": by_hand(step.action, None),
        "undo": by_hand(step.undo, None),
        "again": step.again,
        "verify": watched,
        "no_return": step.no_return,
    }


def _end_title(component: Component, plan: Plan, end: str) -> str:
    if plan.kind in MOVES_PROVIDER:
        provider = component.provider(end)
        return provider.title if provider else (end or "unknown")
    mode = component.modes.get(end)
    return mode.title if mode else (end or "normal operation")


def refused_view(refused: Refused | None) -> RefusedView | None:
    """A refusal for a client."""
    if refused is None:
        return None
    return {"rule": refused.rule, "reason": refused.reason, "override": refused.override}


def _refused_plan(component: str, title: str, kind: SwitchKind, refused: Refused) -> PlanView:
    return {
        "component": component, "title": title, "kind": kind.value,
        "source": "", "source_title": "", "target": "", "target_title": "", "generation": 0,
        "guards": [], "failed": [], "warnings": [], "needs": "y", "countdown": None, "reason": "",
        "drops": [], "keeps": [], "state": "refused", "steps": [], "steps_before": 0, "notes": [],
        "settle": 0.0, "deadline": 0.0, "manual": "", "undo": "", "last": "",
        "refused": refused_view(refused),
    }  # fmt: skip


def commands_there(plan: PlanView) -> list[tuple[str, str]]:
    """The name and the equivalent command of each step of a plan, in order."""
    before, after = plan["steps"][: plan["steps_before"]], plan["steps"][plan["steps_before"] :]
    steps = [(step["name"], step["manual"]) for step in before]
    return [*steps, (MAIN, plan["manual"]), *((step["name"], step["manual"]) for step in after)]


def commands_back(plan: PlanView) -> list[tuple[str, str]]:
    """The same for the whole way back: in reverse, and what is done `again` comes last."""
    before, after = plan["steps"][: plan["steps_before"]], plan["steps"][plan["steps_before"] :]
    again = [step for step in plan["steps"] if step["again"]]
    first = [step for step in reversed(after) if not step["again"]]
    last = [*(step for step in reversed(before) if not step["again"]), *again]
    back = [(step["name"], step["undo"]) for step in first]
    return [*back, (MAIN, plan["undo"]), *((step["name"], step["undo"]) for step in last)]


# --- a switch ------------------------------------------------------------------------------------------------------


def switch_view(draft: Draft, switch: Switch) -> SwitchView:
    """A switch, live or past."""
    plan = switch.plan
    component = draft.component(plan.component)
    live: SwitchLive | None = draft.live("switches", switch.id)
    measured = live is not None and switch.state is SwitchState.VERIFYING and verifying.is_whole(switch)
    known = verifying.facts(switch, live) if live is not None and measured else switch.facts

    def title(end: str) -> str:
        return _end_title(component, plan, end) if component else end

    return {
        "id": switch.id,
        "component": plan.component,
        "kind": plan.kind.value,
        "state": switch.state.value,
        "live": switch.state in LIVE_STATES,
        "source": plan.source,
        "source_title": title(plan.source),
        "target": plan.target,
        "target_title": title(plan.target),
        "who": switch.who,
        "reason": switch.reason,
        "overrides": list(switch.overrides),
        "intended_at": switch.intended_at,
        "ended_at": switch.ended_at,
        "times": switch_times(switch, draft.now.wall),
        "facts": [_fact(switch, fact) for fact in known],
        "detail": detail_of(switch),
        "in_doubt": switch.in_doubt,
        "ways_out": ways_out.ways_out(switch) + (["take_over"] if ways_out.is_stale(draft, switch) else []),
        "sequence": list(plan.sequence),
        "step": switch.step,
        "begun": list(switch.begun),
        "cause": switch.cause.value,
        "approved_by": switch.approved_by,
        "abort_asked": switch.abort_asked,
        "stated_by": switch.stated_by,
        "called_off": steps.called_off(switch),
        "steps": list(switch.history),
        "incident": switch.incident,
    }


def detail_of(switch: Switch) -> str:
    """What there is to say of a switch in its present state; of one that was taken back, why."""
    if not switch.undo_reason or switch.undo_reason in switch.detail:
        return switch.detail
    parts = [switch.undo_reason] if switch.state is SwitchState.UNDONE else [switch.undo_reason, switch.detail]
    return "; ".join(part for part in parts if part)


def fact_title(switch: Switch, fact: FactName) -> str:
    """What a fact of a switch says when it is true."""
    return (BACK_TITLES if switch.undoing else FACT_TITLES)[fact]


def _fact(switch: Switch, fact: Fact) -> FactView:
    return {
        "name": fact.name.value,
        "title": fact_title(switch, fact.name),
        "truth": fact.truth.value,
        "evidence": fact.evidence,
        "hits": fact.hits,
        "needed": fact.needed,
    }


def switch_times(switch: Switch, wall: float) -> dict[str, float]:
    """Where the time went, in seconds: detect (the first bad result to noticed), decide (noticed to confirmed), act,
    settle, verify, and in all since the key.
    """
    end = switch.ended_at if switch.ended_at is not None else wall
    times: dict[str, float] = {}
    if switch.noticed_at is not None and switch.failed_at is not None:
        times["detect"] = max(0.0, switch.noticed_at - switch.failed_at)
    if switch.noticed_at is not None:
        times["decide"] = switch.intended_at - switch.noticed_at
    marks = [switch.intended_at, switch.applied_at, switch.verifying_at, end]
    for name, start, until in zip(("act", "settle", "verify"), marks, marks[1:], strict=False):
        if start is not None and until is not None:
            times[name] = max(0.0, until - start)
        elif start is not None:
            times[name] = max(0.0, end - start)
    times["total"] = max(0.0, end - switch.intended_at)
    return {name: round(seconds, 3) for name, seconds in times.items()}
