"""Drills: planned failures, begun by a person or as a surprise, that undo themselves and leave evidence.

What people want of a drill, and what its guard, its faults and its load answer. How a run goes on is in
`core.drill_going`, its states are a table in `core.drill_states`, the verdict one in `core.drill_verdicts`.

    arming → injecting → running → undoing → restoring → ended

One record comes before each step. After an engine's restart a run that may have broken something is undone, and its
verdict is `aborted` at best: nobody was looking.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opsdash.core import drill_evidence, drill_going, drill_guards, drill_marks, drill_moves, drill_plans
from opsdash.core.drill_marks import open_run
from opsdash.core.drill_moves import UNDO_WITHIN, advance, end, live_of, stop, wait
from opsdash.core.drill_states import DrillEvent
from opsdash.core.people import same_person
from opsdash.model.drill import DrillRun, DrillState, Level, Verdict
from opsdash.model.effects import Poll, UndoFaults
from opsdash.model.records import (
    DrillApprovalAsked,
    DrillFaultFound,
    DrillFaultGone,
    DrillLoaded,
    DrillsAllowed,
    DrillsHalted,
    DrillStarted,
    DrillUndone,
)
from opsdash.model.status import Status
from opsdash.model.switch import Refused
from opsdash.model.units import format_duration
from opsdash.model.world import DrillLive

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model import inputs as i
    from opsdash.model.drill import Drill, DrillDue, DrillPlan

APPROVAL_WITHIN = 600.0
"""Seconds within which a second person has to begin the same drill."""

LIMIT_SLACK = 5.0
"""Seconds by which the guard, who is armed before the fault is made, may be ahead of the limit."""

ENGINE_ENDED = "the engine ended while it was under way"


# --- what people want ----------------------------------------------------------------------------------------------


def start(draft: Draft, who: str, intent: i.StartDrillIntent, cause: str = "person") -> Refused | str:
    """Begin a drill, if what was shown still stands and nothing speaks against it. Returns the run's id."""
    plan = drill_plans.plan(draft, intent.drill, who)
    if isinstance(plan, Refused):
        return plan
    due: DrillDue | None = draft.get("drill_dues", intent.drill)
    if intent.due is not None and due is not None and due.due == intent.due and due.claimed:
        return Refused(
            "claimed", f"{due.claimed} was run for this date already; begin the drill without it to run again"
        )
    if plan.latest != intent.latest:
        run = open_run(draft)
        going = f"{run.id} is {run.state.value}" if run is not None else f"{plan.latest} was run meanwhile"
        return Refused("changed", f"this plan is out of date: {going}; look at the new plan")
    refused = drill_guards.blocked(plan.guards, intent, plan.drill)
    if refused is not None:
        return refused
    asker = _asker(draft, plan.drill, who, intent)
    if isinstance(asker, Refused):
        return asker
    run = _new_run(draft, plan, who, intent, cause)
    run = replace(run, approved_by=who if asker else None, who=asker or who)
    draft.emit(DrillStarted(draft.now.wall, run))
    draft.touch(run.component)
    begun: DrillRun = draft.get("drills", run.id)
    wait(draft, begun)
    drill_moves.enter(draft, begun)
    return run.id


def _asker(draft: Draft, drill: Drill, who: str, intent: i.StartDrillIntent) -> Refused | str | None:
    """Who asked for a drill that takes two people, and that this one lets happen. None: it takes one."""
    if drill_guards.takes(draft, drill) < 2:
        return None
    asked = drill_guards.asked_for(draft, drill)
    if asked is not None and not same_person(asked.who, who):
        return asked.who
    until = draft.now.wall + APPROVAL_WITHIN
    if asked is None:
        draft.emit(DrillApprovalAsked(draft.now.wall, drill.id, drill.component, who, until, intent.reason))
        draft.touch(drill.component)
    within = format_duration((until if asked is None else asked.until) - draft.now.wall)
    return Refused(
        drill_guards.APPROVAL, f"this takes two people: another one has to begin the same drill within {within}"
    )


def _new_run(draft: Draft, plan: DrillPlan, who: str, intent: i.StartDrillIntent, cause: str) -> DrillRun:
    drill = plan.drill
    failure = drill_plans.failure_of(draft, drill)
    due: DrillDue | None = draft.get("drill_dues", drill.id)
    claims = due is not None and not due.claimed and due.due <= draft.now.wall
    return DrillRun(
        id=f"DRILL-{draft.life().drills + 1}",
        drill=drill,
        state=DrillState.ARMING,
        who=who,
        started_at=draft.now.wall,
        cause=cause,
        due=due.due if due is not None and claims else None,
        goal=plan.goal,
        rto=None if failure is None else failure.rto,
        reason=intent.reason.strip(),
        overrides=intent.overrides,
        status=draft.health(drill.component).status,
        hashes=drill_evidence.hashes_now(draft, drill, intent.runbook_sha256),
    )


def _find(draft: Draft, run_id: str) -> DrillRun | Refused:
    run = open_run(draft)
    if run is None or run.id != run_id:
        going = f"; {run.id} is {run.state.value}" if run is not None else "; none is running"
        return Refused("unknown_run", f"there is no open drill {run_id!r}{going}")
    return run


BACK_ALREADY = (DrillState.UNDOING, DrillState.RESTORING)


def abort(draft: Draft, who: str, intent: i.StopDrillIntent) -> Refused | None:
    """A person ends a drill before its time."""
    run = _find(draft, intent.run)
    if isinstance(run, Refused):
        return run
    if run.state in BACK_ALREADY:
        return Refused("state", f"{run.id} is {run.state.value} already")
    why = f": {intent.reason.strip()}" if intent.reason.strip() else ""
    stop(draft, run, f"stopped by {who}{why}", Verdict.ABORTED)
    return None


def finish(draft: Draft, who: str, intent: i.FinishDrillIntent) -> Refused | None:
    """A person has seen enough: the drill is judged by what has come true so far."""
    run = _find(draft, intent.run)
    if isinstance(run, Refused):
        return run
    if run.state is not DrillState.RUNNING:
        return Refused("state", f"{run.id} is {run.state.value}; only one that is running can be closed")
    text = intent.text.strip()
    if run.drill.level is Level.TABLETOP:
        end(draft, replace(run, note=text), DrillEvent.CLOSED, recovered=True)
        return None
    said = f"{who} has seen enough" + (f": {text}" if text else "")
    advance(draft, run, DrillEvent.SEEN if run.drill.injections else DrillEvent.SEEN_ALL, detail=said)
    return None


def halt(draft: Draft, who: str, intent: i.HaltDrillsIntent) -> Refused | None:
    """The lever: whatever a drill has broken is undone, and none begins until somebody allows it."""
    reason = intent.reason.strip()
    if not reason:
        return Refused(
            "reason", "halting drills needs a reason, for whoever wants to allow them again", "--reason TEXT"
        )
    draft.emit(DrillsHalted(draft.now.wall, who, reason))
    run = open_run(draft)
    if run is not None and run.state not in BACK_ALREADY:
        stop(draft, run, f"halted by {who}: {reason}", Verdict.ABORTED)
    elif run is not None and run.state is DrillState.UNDOING and run.faulty:
        draft.effect(UndoFaults(run.id, run.drill, draft.now.mono + UNDO_WITHIN, reason))
    for left in drill_marks.red(draft):
        drill = draft.operation.drills.get(left.drill)
        found: DrillRun | None = draft.get("drills", left.run)
        definition = found.drill if found is not None else drill
        if definition is not None:
            draft.effect(UndoFaults(left.run, definition, draft.now.mono + UNDO_WITHIN, reason))
    _touch_all(draft)
    return None


def allow(draft: Draft, who: str, intent: i.AllowDrillsIntent) -> Refused | None:
    """Let drills begin again."""
    if draft.get("lever", "lever") is None:
        return Refused("state", "drills are not halted")
    if not intent.reason.strip():
        return Refused("reason", "this needs a reason: why may drills begin again?", "--reason TEXT")
    draft.emit(DrillsAllowed(draft.now.wall, who, intent.reason.strip()))
    _touch_all(draft)
    return None


def _touch_all(draft: Draft) -> None:
    for drill in draft.operation.drills.values():
        draft.touch(drill.component)


def fault_gone(draft: Draft, who: str, intent: i.FaultGoneIntent) -> Refused | None:
    """A person states that a fault is gone which nobody could verify to be."""
    left = next((each for each in drill_marks.red(draft) if each.run == intent.run), None)
    if left is None:
        known = ", ".join(each.run for each in drill_marks.red(draft)) or "none"
        return Refused("unknown_run", f"no fault of {intent.run!r} is in doubt; in doubt: {known}")
    if not intent.reason.strip():
        return Refused("reason", "this needs a reason: how do you know that it is gone?", "--reason TEXT")
    draft.emit(DrillFaultGone(draft.now.wall, left.run, left.component, who, intent.reason.strip()))
    draft.touch(left.component)
    return None


# --- what is answered ----------------------------------------------------------------------------------------------


def armed(draft: Draft, event: i.GuardArmed) -> None:
    """The guard is up, or could not be; for a run that has ended meanwhile it has nothing to do any more."""
    run = open_run(draft)
    if run is None or run.id != event.run or run.state is not DrillState.ARMING:
        _let_go(draft, event.run)
    elif event.error:
        why = f"the guard could not be armed: {event.error}"
        end(draft, replace(run, stopped=why, stopped_as=Verdict.ABORTED), DrillEvent.NOT_ARMED)
    else:
        advance(draft, run, DrillEvent.ARMED)


def _let_go(draft: Draft, run_id: str) -> None:
    run: DrillRun | None = draft.get("drills", run_id)
    if run is not None and not run.is_open:
        draft.effect(UndoFaults(run.id, run.drill, draft.now.mono + UNDO_WITHIN, "the run has ended"))


def injected(draft: Draft, event: i.Injected) -> None:
    """The faults were made, or some could not be."""
    run = open_run(draft)
    if run is None or run.id != event.run or run.state is not DrillState.INJECTING:
        _let_go(draft, event.run)
    elif event.error:
        why = f"a fault could not be made: {event.error}"
        advance(draft, run, DrillEvent.NOT_INJECTED, detail=why, stopped=why, stopped_as=Verdict.ABORTED)
    else:
        advance(draft, run, DrillEvent.INJECTED)


def undone(draft: Draft, event: i.Undone) -> None:
    """The faults were taken back, as far as that could be done. It may come late, or for a run of long ago."""
    run: DrillRun | None = draft.get("drills", event.run)
    if run is not None and run.is_open and run.state is DrillState.UNDOING:
        live = live_of(draft, run)
        after = replace(
            live,
            undone=event.verified,
            undone_at=draft.now.mono,
            by=event.by,
            detail=event.detail,
            flaw=event.flaw or live.flaw,
        )
        draft.set_live("drills", run.id, after)
        draft.touch(run.component)
        for check in run.drill.verify_undone:
            draft.effect(Poll(check))
    elif run is not None and run.state in (DrillState.INJECTING, DrillState.RUNNING) and run.faulty:
        _taken_back_early(draft, run, event)
    elif event.verified and draft.get("drill_faults", event.run) is not None and _agree(draft, run):
        component = draft.get("drill_faults", event.run).component
        draft.emit(DrillUndone(draft.now.wall, event.run, component, True, event.by, event.detail))
        draft.touch(component)


def _agree(draft: Draft, run: DrillRun | None) -> bool:
    """Whether opsdash's own checks do not speak against what is said late of a fault to be gone."""
    checks = () if run is None else run.drill.verify_undone
    return all(draft.check(check).status is Status.OK for check in checks)


def _taken_back_early(draft: Draft, run: DrillRun, event: i.Undone) -> None:
    """At the limit the guard takes the fault back without being told; before it somebody else has told it to."""
    began = live_of(draft, run).injected
    if began is not None and draft.now.mono - began >= run.drill.limit - LIMIT_SLACK:
        drill_going.limit_has_come(draft, run, f"its limit has come, its {event.by} has taken the fault back")
    else:
        stop(draft, run, f"its {event.by} has taken the fault back before it was told to", Verdict.ABORTED)
    undone(draft, event)


def guard_gone(draft: Draft, event: i.GuardGone) -> None:
    """Nothing is broken any longer without somebody who would undo it."""
    run = open_run(draft)
    if run is None or run.id != event.run or not drill_marks.breaks(run.drill):
        return
    why = "its guard has ended" + (f": {event.detail}" if event.detail else "")
    if run.state is DrillState.ARMING:
        end(draft, replace(run, stopped=why, stopped_as=Verdict.ABORTED), DrillEvent.GUARD_GONE)
    elif run.state in (DrillState.INJECTING, DrillState.RUNNING):
        advance(draft, run, DrillEvent.GUARD_GONE, detail=why, stopped=why, stopped_as=Verdict.ABORTED)
    elif run.state is DrillState.UNDOING:
        draft.effect(UndoFaults(run.id, run.drill, draft.now.mono + UNDO_WITHIN, why))


def fault_found(draft: Draft, event: i.FaultFound) -> None:
    """The engine has found at its start what was left behind: that is in the face of everybody until it is undone."""
    known = draft.get("drill_faults", event.run)
    if known is None or not known.detail:
        detail = event.detail or "found at the engine's start"
        draft.emit(DrillFaultFound(draft.now.wall, event.run, event.drill, event.component, detail))
        draft.touch(event.component)


def load_done(draft: Draft, event: i.LoadDone) -> None:
    """The load has ended."""
    run = open_run(draft)
    if run is not None and run.id == event.run and run.load_at is None and run.drill.expect.load is not None:
        draft.emit(DrillLoaded(draft.now.wall, run.id, run.component, event.times, event.failed, event.detail))
        draft.touch(run.component)


# --- after a start -------------------------------------------------------------------------------------------------


def recover(draft: Draft) -> None:
    """What was under way when the engine ended is undone. What people do at a table goes on."""
    run = open_run(draft)
    if run is None:
        return
    wait(draft, run)
    draft.set_live("drills", run.id, DrillLive(since=draft.now.mono))
    if run.state is DrillState.ARMING:
        end(draft, replace(run, stopped=ENGINE_ENDED, stopped_as=Verdict.ABORTED), DrillEvent.ENGINE_DIED)
    elif run.state is DrillState.RUNNING and not run.drill.injections:
        if run.drill.level is not Level.TABLETOP:
            _died(draft, run, DrillEvent.ENGINE_DIED_UNBROKEN)
    else:
        _died(draft, run, DrillEvent.ENGINE_DIED)


def _died(draft: Draft, run: DrillRun, event: DrillEvent) -> None:
    advance(draft, run, event, detail=ENGINE_ENDED, stopped=ENGINE_ENDED, stopped_as=Verdict.ABORTED)
