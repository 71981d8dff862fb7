"""Ways out of a switch that went no good way: undo, settle, take over; and calling one off before it does anything.

From unknown, split and needs-human only a person leads out. Nothing here fires the action again: an undo is an action
of its own, with an id of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core import guards, switching
from opsdash.core.outcomes import LIVE_STATES, UNDECIDED, SwitchEvent, follow
from opsdash.core.steps import called_off, is_before, may_call_off, undo_trouble
from opsdash.model.records import BlockadeLifted, SwitchAbortAsked
from opsdash.model.switch import MOVES_PROVIDER, Refused, SwitchState
from opsdash.model.units import format_duration
from opsdash.model.world import SwitchLive

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.inputs import AbortIntent, LiftBlockadeIntent, SettleIntent, TakeOverIntent, UndoIntent
    from opsdash.model.switch import Switch

STALE_AFTER = 15.0
"""Seconds beyond the time at which a state should have been over, after which a switch in flight may be taken over."""

SETTLED_BY = {
    SwitchState.COMMITTED: SwitchEvent.STATE_COMMITTED,
    SwitchState.ABORTED: SwitchEvent.STATE_ABORTED,
    SwitchState.UNDONE: SwitchEvent.STATE_UNDONE,
}


def ways_out(switch: Switch) -> list[str]:
    """What a person can do with a switch in its present state."""
    ways = []
    if follow(switch.state, SwitchEvent.UNDO) and not undo_trouble(switch):
        ways.append("undo")
    if switch.state in UNDECIDED:
        ways.append("settle")
    if switch.state not in LIVE_STATES and follow(switch.state, SwitchEvent.TAKE_OVER):
        ways.append("take_over")
    if can_be_called_off(switch) and not called_off(switch):
        ways.append("abort")
    return ways


def is_stale(draft: Draft, switch: Switch) -> bool:
    """Whether a switch is in flight and nothing has come of it for so long that somebody may take it over."""
    return (
        switch.state in LIVE_STATES
        and follow(switch.state, SwitchEvent.TAKE_OVER) is not None
        and (_left(draft, switch) <= 0)
    )


def _left(draft: Draft, switch: Switch) -> float:
    """Seconds until a switch in flight counts as abandoned."""
    live: SwitchLive = draft.live("switches", switch.id) or SwitchLive()
    return live.due + STALE_AFTER - draft.now.mono


def can_be_called_off(switch: Switch) -> bool:
    """Whether a switch is in flight and has not done anything yet that users notice."""
    return switch.state in LIVE_STATES and is_before(switch) and not switch.undoing and not switch.halted


def undo(draft: Draft, who: str, intent: UndoIntent) -> Refused | str:
    """Take back what was carried out, in reverse, then verify that the old side serves again."""
    switch = draft.switch(intent.component)
    if switch is None or follow(switch.state, SwitchEvent.UNDO) is None:
        return _no_way(switch, intent.component, "undo")
    trouble = undo_trouble(switch)
    if trouble:
        return Refused("no_undo", trouble)
    detail = f"undone by {who}: {intent.reason}".rstrip(": ")
    switching.take_back(draft, switch, SwitchEvent.UNDO, detail)
    return switch.id


def settle(draft: Draft, who: str, intent: SettleIntent) -> Refused | str:
    """A person states the outcome, with a reason."""
    switch = draft.switch(intent.component)
    event = SETTLED_BY.get(intent.state)
    if event is None:
        return Refused("state", "the outcome is one of committed, aborted, undone")
    if switch is None or follow(switch.state, event) is None:
        return _no_way(switch, intent.component, "settle")
    if not intent.reason.strip():
        return Refused("reason", "stating an outcome needs a reason: how do you know?", "--reason TEXT")
    switching.end(draft, switch, event, detail=f"stated by {who}: {intent.reason.strip()}", who=who)
    return switch.id


def take_over(draft: Draft, who: str, intent: TakeOverIntent) -> Refused | str:
    """Observe it again; nothing is fired. A switch in flight can be taken over when nobody is at it any more."""
    switch = draft.switch(intent.component)
    if switch is None or follow(switch.state, SwitchEvent.TAKE_OVER) is None:
        return _no_way(switch, intent.component, "take over")
    if switch.state in LIVE_STATES and not is_stale(draft, switch):
        left = format_duration(_left(draft, switch))
        return Refused("alive", f"{switch.who} is at it: {switch.state.value}; if nothing comes of it, in {left}")
    switching.observe(draft, switch, SwitchEvent.TAKE_OVER, f"observed again for {who}", 0.0)
    return switch.id


def abort(draft: Draft, who: str, intent: AbortIntent) -> Refused | str:
    """Call it off, as long as nothing was done that users notice. Somebody else's switch: ask for that.

    Once it has been called off, what others ask for changes nothing any more.
    """
    switch = draft.switch(intent.component)
    if switch is None or switch.state not in LIVE_STATES:
        return _no_way(switch, intent.component, "call off")
    if not can_be_called_off(switch):
        return Refused("too_late", _too_late(switch))
    if called_off(switch):
        return switch.id
    draft.emit(SwitchAbortAsked(draft.now.wall, switch.id, intent.component, who, intent.reason))
    draft.touch(intent.component)
    if may_call_off(switch, who) and switch.state is SwitchState.INTENT:
        switching.end(draft, switch, SwitchEvent.CALLED_OFF, detail=f"called off by {who}: nothing was done")
    return switch.id


def _too_late(switch: Switch) -> str:
    if switch.undoing:
        return "it is being taken back already"
    if is_before(switch):
        return "it was interrupted, and is only observed: no further step is begun; wait for its outcome, then undo it"
    return "the switch itself has been carried out; wait for its outcome, then undo it"


def lift_blockade(draft: Draft, who: str, intent: LiftBlockadeIntent) -> Refused | str:
    """End the blockade after the last switch; only automatic switching obeys it, so this lets opsdash go on."""
    component = draft.component(intent.component)
    if component is None or component.switch is None:
        return Refused("no_switch", f"{intent.component} declares no switch")
    left, moved = guards.blockade_left(draft, component, component.switch)
    if moved is None or left <= 0:
        return Refused("state", f"there is no blockade of {component.title}")
    if not intent.reason.strip():
        return Refused(
            "reason", "ending a blockade needs a reason: why will it not go back and forth?", "--reason TEXT"
        )
    draft.emit(BlockadeLifted(draft.now.wall, moved.switch, component.id, who, intent.reason.strip()))
    draft.touch(component.id)
    return moved.switch


def _no_way(switch: Switch | None, component: str, what: str) -> Refused:
    if switch is None:
        return Refused("no_switch", f"{component} was never switched, there is nothing to {what}")
    moved = "switch" if switch.plan.kind in MOVES_PROVIDER else "change of degraded mode"
    return Refused("state", f"the last {moved} is {switch.state.value}; there is nothing to {what}")
