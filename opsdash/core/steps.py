"""The steps of a switch: which one is next, and what has to be taken back, in which order.

In order: the steps before (quiesce, fence), the switch itself, the steps after (reload, warm up). They are taken back
in reverse; a step that is done `again` instead, such as a reload, comes last, since it has to see what was restored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.model.switch import BACK_TITLES, FACT_TITLES, MAIN, SwitchCause, SwitchKind, SwitchState

if TYPE_CHECKING:
    from opsdash.model.operation import ActionCall
    from opsdash.model.switch import FactName, Plan, Switch
    from opsdash.model.views import PlanView


def first_step(plan: Plan) -> str:
    """The name of the step that a switch begins with."""
    return plan.sequence[0]


def next_step(switch: Switch) -> str | None:
    """The name of the step that is still to be begun, None where there is none, or none may be begun any more."""
    if switch.halted or switch.in_doubt or switch.undoing:
        return None
    return next((name for name in switch.plan.sequence if name not in switch.begun), None)


def step_name(switch: Switch) -> str:
    """The name of the step that a switch is at."""
    return switch.step or MAIN


def is_before(switch: Switch) -> bool:
    """Whether the switch itself has not been begun yet."""
    return MAIN not in switch.begun


def undo_sequence(switch: Switch) -> tuple[str, ...]:
    """The names of the steps that are carried out to take a switch back, in order."""
    plan = switch.plan
    steps = [step for name in switch.begun if (step := plan.step(name)) is not None]
    taken_back = {step.name for step in steps if step.undo is not None and not step.again}
    if MAIN in switch.begun and plan.undo_call is not None:
        taken_back.add(MAIN)
    again = [step.name for step in steps if step.again and step.undo is not None]
    return (*(name for name in reversed(switch.begun) if name in taken_back), *again)


def undo_left(switch: Switch) -> tuple[str, ...]:
    """What of it is still to be done, while a switch is being taken back."""
    sequence = undo_sequence(switch)
    current = step_name(switch)
    return sequence[sequence.index(current) + 1 :] if current in sequence else ()


def undo_call(switch: Switch, name: str) -> ActionCall | None:
    """The action that takes a step back."""
    if name == MAIN:
        return switch.plan.undo_call
    step = switch.plan.step(name)
    return None if step is None else step.undo


def undo_trouble(switch: Switch) -> str:
    """Why a switch cannot be taken back, "" where it can."""
    plan = switch.plan
    final = next((name for name in switch.begun if (step := plan.step(name)) is not None and step.no_return), None)
    if final is not None:
        return f"{final} was the point of no return"
    if MAIN not in switch.begun:
        return ""
    if plan.undo_call is None:
        return "it is not known what served before; name it with failover --to"
    if plan.kind is SwitchKind.DEGRADE and plan.restores and switch.prior is None:
        return f"it is not known what was there before {plan.target}; put it back by hand"
    return ""


def detail_of(switch: Switch) -> str:
    """What there is to say of a switch in its present state; of one that was taken back, why."""
    if not switch.undo_reason or switch.undo_reason in switch.detail:
        return switch.detail
    parts = [switch.undo_reason] if switch.state is SwitchState.UNDONE else [switch.undo_reason, switch.detail]
    return "; ".join(part for part in parts if part)


def fact_title(switch: Switch, fact: FactName) -> str:
    """What a fact of a switch says when it is true."""
    return (BACK_TITLES if switch.undoing else FACT_TITLES)[fact]


# --- calling off ---------------------------------------------------------------------------------------------------


def may_call_off(switch: Switch, who: str) -> bool:
    """Whether this person's word is enough: whoever began it, the second person, anybody if it was opsdash itself."""
    return switch.cause is SwitchCause.AUTO or who in (switch.who, switch.approved_by)


def called_off(switch: Switch) -> bool:
    """Whether it was called off by somebody whose word is enough."""
    return switch.abort_asked is not None and may_call_off(switch, switch.abort_asked)


# --- the commands of a plan ----------------------------------------------------------------------------------------


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
