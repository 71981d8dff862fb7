"""The states of a drill's run as a table.

A record comes before each step. So a run whose record says `arming` has broken nothing, and one that says `injecting`
may have: it is undone, whatever came in between. What was broken is undone before anything is restored, and nothing
leads back: a run breaks something once.
"""

from __future__ import annotations

from enum import StrEnum

from opsdash.model.drill import DrillState


class DrillEvent(StrEnum):
    """What can happen to a run."""

    ARMED = "the guard has written down the way back"
    NOT_ARMED = "it has not: nothing was broken"
    NOTHING_TO_INJECT = "this drill breaks nothing"
    INJECTED = "the faults were made"
    NOT_INJECTED = "a fault could not be made"
    SEEN = "everything that was expected has come, or a person has seen enough"
    SEEN_ALL = "the same, and there is nothing to undo"
    LIMIT = "its time is over"
    LIMIT_OF_NOTHING = "its time is over, and there is nothing to undo"
    STOPPED = "it is stopped, and what was broken is undone"
    STOPPED_UNBROKEN = "it is stopped, and there is nothing to undo"
    CALLED_OFF = "it is stopped before anything was broken"
    STOPPED_LATE = "it is stopped, and on its way back already"
    GUARD_GONE = "the guard has ended"
    ENGINE_DIED = "the engine ended while it was under way"
    ENGINE_DIED_UNBROKEN = "the engine ended, and there is nothing to undo"
    UNDONE = "the faults are verified to be gone"
    NOT_UNDONE = "nobody can verify that they are gone: a person has to"
    RESTORED = "everything is as before"
    NOT_RESTORED = "it is not, and the time for that is over"
    LEFT = "it really fails: it is left to people"
    CLOSED = "a person has closed it; nothing was touched"


S = DrillState
E = DrillEvent

TRANSITIONS: dict[DrillState, dict[DrillEvent, DrillState]] = {
    S.ARMING: {
        E.ARMED: S.INJECTING,
        E.NOTHING_TO_INJECT: S.RUNNING,
        E.NOT_ARMED: S.ENDED,
        E.CALLED_OFF: S.ENDED,
        E.GUARD_GONE: S.ENDED,
        E.ENGINE_DIED: S.ENDED,
    },
    S.INJECTING: {
        E.INJECTED: S.RUNNING,
        E.NOT_INJECTED: S.UNDOING,
        E.LIMIT: S.UNDOING,
        E.STOPPED: S.UNDOING,
        E.GUARD_GONE: S.UNDOING,
        E.ENGINE_DIED: S.UNDOING,
    },
    S.RUNNING: {
        E.SEEN: S.UNDOING,
        E.SEEN_ALL: S.RESTORING,
        E.LIMIT: S.UNDOING,
        E.LIMIT_OF_NOTHING: S.RESTORING,
        E.STOPPED: S.UNDOING,
        E.STOPPED_UNBROKEN: S.RESTORING,
        E.GUARD_GONE: S.UNDOING,
        E.ENGINE_DIED: S.UNDOING,
        E.ENGINE_DIED_UNBROKEN: S.RESTORING,
        E.CLOSED: S.ENDED,
    },
    S.UNDOING: {
        E.UNDONE: S.RESTORING,
        E.NOT_UNDONE: S.RESTORING,
        E.STOPPED_LATE: S.UNDOING,
        E.ENGINE_DIED: S.UNDOING,
    },
    S.RESTORING: {
        E.RESTORED: S.ENDED,
        E.NOT_RESTORED: S.ENDED,
        E.LEFT: S.ENDED,
        E.STOPPED_LATE: S.RESTORING,
        E.ENGINE_DIED: S.RESTORING,
    },
    S.ENDED: {},
}


def after(state: DrillState, event: DrillEvent) -> DrillState | None:
    """The state after `event`, None where the event has no place."""
    return TRANSITIONS[state].get(event)


def mermaid() -> str:
    """The table as a state diagram, for the documentation."""
    lines = ["stateDiagram-v2", "    [*] --> arming: a person begins a drill, or a surprise does"]
    for state, events in TRANSITIONS.items():
        for event, following in events.items():
            lines.append(f"    {state.value} --> {following.value}: {event.value}")
    lines.append("    ended --> [*]")
    return "\n".join(lines) + "\n"
