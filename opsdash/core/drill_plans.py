"""What a drill would do, step by step, before anything has happened; what undoes it, is expected, and may fail."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opsdash.core import drill_guards, drill_marks
from opsdash.core.drill_marks import PRETEND
from opsdash.core.drill_overlay import failure_id
from opsdash.model.drill import DrillPlan, Goal, Level, Responder
from opsdash.model.operation import ResponseKind
from opsdash.model.switch import Refused
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.drill import Drill, Injection
    from opsdash.model.operation import Component, FailureMode


def plan(draft: Draft, drill_id: str, who: str) -> DrillPlan | Refused:
    """The plan of a drill for this person, or why there is none."""
    drill = draft.operation.drills.get(drill_id)
    if drill is None:
        known = ", ".join(sorted(draft.operation.drills)) or "none"
        return Refused("unknown_drill", f"there is no drill {drill_id!r}; there are: {known}")
    goal = goal_of(draft, drill)
    found = drill_guards.guards_of(draft, drill, goal, who)
    latest = drill_marks.latest_run(draft, drill_id)
    return DrillPlan(
        drill=drill,
        latest="" if latest is None else latest.id,
        goal=goal,
        steps=tuple(_steps(drill, goal)),
        undo=tuple(_undo(drill)),
        expects=tuple(_expects(draft, drill, goal)),
        touches=tuple(_touches(draft, drill, goal)),
        guards=found,
        typed=drill.level is Level.REAL,
    )


def failure_of(draft: Draft, drill: Drill) -> FailureMode | None:
    """The failure mode that a drill answers."""
    component = draft.component(drill.component)
    return None if component is None else component.failures.get(failure_id(drill.failure_mode))


def goal_of(draft: Draft, drill: Drill) -> Goal | None:
    """Where the response leads: as the drill says, else as was decided for its failure mode."""
    component, failure = draft.component(drill.component), failure_of(draft, drill)
    if component is None or drill.level is Level.TABLETOP:
        return None
    wanted = drill.to or drill.expect.mode
    if wanted is not None and _is_mode(component, wanted):
        return Goal(component.id, wanted, degrades=True)
    if failure is not None and failure.response.kind is ResponseKind.DEGRADE:
        return Goal(failure.response.component or component.id, failure.response.mode, degrades=True)
    switches = drill.level is Level.SWITCH or (failure is not None and failure.response.kind is ResponseKind.SWITCH)
    return Goal(component.id, drill.to) if switches or drill.to is not None else None


def _is_mode(component: Component, name: str) -> bool:
    return name in component.modes and component.provider(name) is None


def resolved(draft: Draft, goal: Goal | None) -> Goal | None:
    """The same goal, with the backup that a plan would choose now, where it names none."""
    if goal is None or goal.degrades or goal.target is not None:
        return goal
    component = draft.component(goal.component)
    backups = () if component is None else component.providers[1:]
    return replace(goal, target=backups[0].id) if len(backups) == 1 else goal


# --- in words ------------------------------------------------------------------------------------------------------


def _steps(drill: Drill, goal: Goal | None) -> list[str]:
    by_opsdash = drill.responder is Responder.OPSDASH or drill.level is Level.SWITCH
    who = "opsdash" if by_opsdash else "whoever is on duty"
    if drill.level is Level.TABLETOP:
        runbook = f"runbook {drill.runbook}" if drill.runbook else "what would be done"
        return [f"go through {runbook} with a clock; nothing is touched", "close it: that ends the drill"]
    steps = [f"arm a guard, which undoes everything after {format_duration(drill.limit)} at the latest"]
    if not any(each.kind != PRETEND for each in drill.injections):
        steps = []
    steps += [_injection(each) for each in drill.injections]
    if drill.injections:
        steps.append("wait until opsdash's own checks notice it and the incident, marked as a drill, is opened")
    steps.append(f"{who} {_response(drill, goal)}")
    if drill.expect.load is not None:
        load = drill.expect.load
        steps.append(f"let it carry a load: {load.kind}, {load.times} times within {format_duration(load.over)}")
    if drill.hold:
        steps.append(f"hold for {format_duration(drill.hold)}")
    if drill.injections:
        steps.append("undo it, and verify that it is gone")
    if goal is not None:
        steps.append(f"{who} goes back to normal operation, and redundancy is ready again")
    return steps


def _injection(injection: Injection) -> str:
    where = f" of {injection.target}" if injection.target else ""
    if injection.kind == PRETEND:
        return f"pretend{where or ' of what detects it'} that it is {injection.raw.get('status', 'down')}"
    return f"inject {injection.kind}{where}"


def _response(drill: Drill, goal: Goal | None) -> str:
    if goal is None:
        return f"follows runbook {drill.runbook}" if drill.runbook else "follows the runbook"
    where = f"{goal.component} to {goal.target}" if goal.target else goal.component
    return f"{'degrades' if goal.degrades else 'fails over'} {where}"


def _undo(drill: Drill) -> list[str]:
    found = []
    for each in reversed(drill.injections):
        if each.kind == PRETEND:
            found.append("pretend no longer; that also ends with opsdash, and at the limit")
        else:
            found.append(f"{each.kind}: {'as its `undo` says' if each.undo is not None else 'by its own way back'}")
    if found and drill.verify_undone:
        found.append(f"verified by {', '.join(drill.verify_undone)}")
    return found


def _expects(draft: Draft, drill: Drill, goal: Goal | None) -> list[str]:
    expect, failure = drill.expect, failure_of(draft, drill)
    recover = expect.recover if expect.recover is not None or failure is None else failure.rto
    found = [
        ("detected", expect.detect, bool(drill.injections)),
        ("acknowledged", expect.acknowledge, expect.acknowledge is not None),
        ("service verified", recover, goal is not None or expect.recover is not None),
    ]
    lines = [
        name + (f" within {format_duration(limit)}" if limit is not None else "")
        for name, limit, wanted in found
        if wanted
    ]
    lines += [f"degraded mode {expect.mode} serves"] if expect.mode else []
    lines += ["a message about it is delivered"] if expect.alarm else []
    lines += ["its runbook is gone through, each step marked"] if expect.runbook else []
    lines += [f"not affected: {', '.join(expect.unaffected)}"] if expect.unaffected else []
    return lines


def _touches(draft: Draft, drill: Drill, goal: Goal | None) -> list[str]:
    if drill.level is Level.TABLETOP:
        return ["nothing"]
    lines = []
    if drill.injections and not drill_marks.breaks(drill):
        lines.append("what opsdash shows and whom it tells, marked as a drill; no user")
    elif drill.injections:
        below = sorted(draft.operation.dependents.get(drill.component, ()))
        lines.append(
            f"users of {drill.component}" + (f", and of what depends on it: {', '.join(below)}" if below else "")
        )
    if goal is not None:
        lines.append(f"{'the degraded mode' if goal.degrades else 'the routing'} of {goal.component}")
    return lines
