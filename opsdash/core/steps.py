"""The steps of a switch: which one is next, and what has to be taken back, in which order.

In order: the steps before (quiesce, fence), the switch itself, the steps after (reload, warm up). They are taken back
in reverse; a step that is done `again` instead, such as a reload, comes last, since it has to see what was restored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.model.switch import MAIN, SwitchCause, SwitchKind

if TYPE_CHECKING:
    from opsdash.model.operation import ActionCall
    from opsdash.model.switch import Plan, Switch


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


# --- calling off ---------------------------------------------------------------------------------------------------


def may_call_off(switch: Switch, who: str) -> bool:
    """Whether this person's word is enough: whoever began it, the second person, anybody if it was opsdash itself."""
    return switch.cause is SwitchCause.AUTO or who in (switch.who, switch.approved_by)


def called_off(switch: Switch) -> bool:
    """Whether it was called off by somebody whose word is enough."""
    return switch.abort_asked is not None and may_call_off(switch, switch.abort_asked)
