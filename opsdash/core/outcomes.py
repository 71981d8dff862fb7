"""The states of a switch as a table, and its outcome as a function of the four facts.

Failover, failback, entering and leaving a degraded mode go through the same table; so does a switch that was in flight
when the engine died, and undoing one.

A reply of OK is no proof, and unknown is not failed: an action that may have had an effect always leads on to
`settling` and `verifying`, and never back to `acting`. Nothing is fired twice.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from opsdash.model.switch import FactName, SwitchState, Truth

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opsdash.model.switch import Fact


class SwitchEvent(StrEnum):
    """What can happen to a switch."""

    GUARDS_HOLD = "no guard stands in the way"
    GUARD_FAILS = "a guard stands in the way"
    OVERRIDDEN = "a person overrides it, with a reason"
    CONFIRMED = "a person confirms, or opsdash may do it by itself"
    EXPECTED = "the mechanism says what was expected"
    UNEXPECTED = "the mechanism says something else, or cannot be read"
    STEP_BEFORE = "a step before the switch begins"
    STEP_DONE = "the steps before are done: the switch itself, or a step after it, begins"
    STEPS_DONE = "the last step is done"
    STEP_FAILED = "a step after the switch did not work: the facts decide"
    ROLLED_BACK = "a step did not work, and what was begun is taken back"
    STUCK = "a step did not work, or nobody knows, and a person has to decide"
    CALLED_OFF = "a person calls it off before anything was done"
    APPLIED = "the action was accepted, or nobody knows"
    NOT_APPLIED = "the action was refused or never started"
    SETTLED = "the settle time is over"
    VERIFIED = "all declared facts are true"
    WITHOUT_EFFECT = "a fact is false"
    BOTH_SERVE = "old and new side contradict each other"
    CANNOT_TELL = "a declared fact cannot be measured"
    GONE_BACK = "the mechanism says the old side again, and opsdash did not do that"
    BACK = "the facts hold for the old side again"
    NOT_BACK = "they do not"
    UNDO = "a person undoes it"
    NEXT_UNDO = "the next step is taken back"
    TAKE_OVER = "a person has it observed again"
    STATE_COMMITTED = "a person states that it took effect"
    STATE_ABORTED = "a person states that nothing changed"
    STATE_UNDONE = "a person states that the old side serves again"
    ENGINE_DIED = "the engine was killed while it was in flight"


S = SwitchState
E = SwitchEvent

_WAYS_OUT = {
    E.UNDO: S.UNDOING,
    E.TAKE_OVER: S.SETTLING,
    E.STATE_COMMITTED: S.COMMITTED,
    E.STATE_ABORTED: S.ABORTED,
    E.STATE_UNDONE: S.UNDONE,
}

_CARRIED_OUT = {
    E.APPLIED: S.SETTLING,
    E.NOT_APPLIED: S.ABORTED,
    E.ROLLED_BACK: S.UNDOING,
    E.STUCK: S.NEEDS_HUMAN,
    E.TAKE_OVER: S.SETTLING,
    E.ENGINE_DIED: S.SETTLING,
}

TRANSITIONS: dict[SwitchState, dict[SwitchEvent, SwitchState]] = {
    S.PLANNED: {E.GUARDS_HOLD: S.READY, E.GUARD_FAILS: S.BLOCKED},
    S.BLOCKED: {E.GUARDS_HOLD: S.READY, E.OVERRIDDEN: S.READY},
    S.READY: {E.CONFIRMED: S.INTENT, E.GUARD_FAILS: S.BLOCKED},
    S.INTENT: {
        E.STEP_BEFORE: S.FENCING,
        E.EXPECTED: S.ACTING,
        E.UNEXPECTED: S.REFUSED,
        E.CALLED_OFF: S.ABORTED,
        E.ENGINE_DIED: S.ABORTED,
    },
    S.FENCING: _CARRIED_OUT,
    S.ACTING: _CARRIED_OUT | {E.STEP_FAILED: S.SETTLING},
    S.SETTLING: {E.SETTLED: S.VERIFYING, E.TAKE_OVER: S.SETTLING, E.ENGINE_DIED: S.SETTLING},
    S.VERIFYING: {
        E.STEP_BEFORE: S.FENCING,
        E.STEP_DONE: S.ACTING,
        E.STEPS_DONE: S.VERIFYING,
        E.STEP_FAILED: S.VERIFYING,
        E.ROLLED_BACK: S.UNDOING,
        E.STUCK: S.NEEDS_HUMAN,
        E.VERIFIED: S.COMMITTED,
        E.WITHOUT_EFFECT: S.NO_EFFECT,
        E.BOTH_SERVE: S.SPLIT,
        E.CANNOT_TELL: S.UNKNOWN,
        E.BACK: S.UNDONE,
        E.NOT_BACK: S.NEEDS_HUMAN,
        E.TAKE_OVER: S.SETTLING,
        E.ENGINE_DIED: S.SETTLING,
    },
    S.UNDOING: {
        E.NEXT_UNDO: S.UNDOING,
        E.APPLIED: S.SETTLING,
        E.NOT_APPLIED: S.NEEDS_HUMAN,
        E.TAKE_OVER: S.SETTLING,
        E.ENGINE_DIED: S.SETTLING,
    },
    S.UNKNOWN: _WAYS_OUT,
    S.SPLIT: _WAYS_OUT,
    S.NEEDS_HUMAN: _WAYS_OUT,
    S.NO_EFFECT: {E.UNDO: S.UNDOING, E.TAKE_OVER: S.SETTLING},
    S.COMMITTED: {E.GONE_BACK: S.REVERTED},
    S.REVERTED: {},
    S.ABORTED: {},
    S.REFUSED: {},
    S.UNDONE: {},
}

PLAN_STATES = frozenset({S.PLANNED, S.BLOCKED, S.READY})
"""Of a plan: nothing has happened yet."""

LIVE_STATES = frozenset({S.INTENT, S.FENCING, S.ACTING, S.SETTLING, S.VERIFYING, S.UNDOING})
"""In flight: opsdash is at it."""

UNDECIDED = frozenset({S.UNKNOWN, S.SPLIT, S.NEEDS_HUMAN})
"""Out of which only a person leads; until then no other switch of the component is begun."""

NOT_OVER = LIVE_STATES | UNDECIDED
"""Begun, and neither ended nor given up: opsdash is at it, or a person has to be."""

CARRYING_OUT = frozenset({S.FENCING, S.ACTING, S.UNDOING})
"""An action is on its way, and its answer is awaited."""


def follow(state: SwitchState, event: SwitchEvent) -> SwitchState | None:
    """The state after `event`, None where the event has no place."""
    return TRANSITIONS[state].get(event)


def outcome(facts: Iterable[Fact]) -> SwitchEvent:
    """What the four facts add up to; undeclared and stateless ones are left out. First match counts."""
    truth = {fact.name: fact.truth for fact in facts if fact.truth not in (Truth.UNDECLARED, Truth.STATELESS)}
    mechanism, front_door = truth.get(FactName.MECHANISM), truth.get(FactName.FRONT_DOOR)
    old_out = truth.get(FactName.OLD_OUT)
    if old_out is Truth.FALSE and Truth.TRUE in (mechanism, front_door):
        return SwitchEvent.BOTH_SERVE
    if mechanism is Truth.FALSE and front_door is Truth.TRUE:
        return SwitchEvent.BOTH_SERVE
    if Truth.UNKNOWN in truth.values():
        return SwitchEvent.CANNOT_TELL
    if Truth.FALSE in (mechanism, front_door, truth.get(FactName.FEATURES)):
        return SwitchEvent.WITHOUT_EFFECT
    if Truth.TRUE in (mechanism, front_door):
        return SwitchEvent.VERIFIED
    return SwitchEvent.CANNOT_TELL


def mermaid() -> str:
    """The table as a state diagram, for the documentation."""
    lines = ["stateDiagram-v2", "    [*] --> planned: a person asks for a plan, or a failure mode is active"]
    for state, events in TRANSITIONS.items():
        for event, after in events.items():
            lines.append(f"    {state.value} --> {after.value}: {event.value}")
    lines += [f"    {state.value} --> [*]" for state, events in TRANSITIONS.items() if not events]
    return "\n".join(lines) + "\n"
