"""How a run goes on by itself: the response where opsdash gives it, the load, enough seen, undone, restored.

Whenever something was decided, and every second besides, the open run is looked at. What each state waits for is one
function; each has a bound, so that no run waits for ever.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opsdash.core import confirming, drill_overlay, drill_sights, drill_verdicts, guards, incidents, planning, switching
from opsdash.core.drill_marks import open_run
from opsdash.core.drill_moves import UNDO_WITHIN, advance, end, live_of, stop, wait
from opsdash.core.drill_states import DrillEvent
from opsdash.core.outcomes import NOT_OVER
from opsdash.core.redundancy import REDUNDANT
from opsdash.model.drill import DrillState, Level, Responder, Sight, Verdict
from opsdash.model.effects import Poll, StartLoad
from opsdash.model.inputs import SwitchIntent
from opsdash.model.operation import ACTIVE
from opsdash.model.records import DrillUndone
from opsdash.model.status import SEVERITY, Status
from opsdash.model.switch import Plan, Refused, SwitchCause, SwitchKind
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.drill import DrillRun, StopIf
    from opsdash.model.switch import Switch
    from opsdash.model.world import DrillLive

ARM_WITHIN = 120.0
"""Seconds within which the guard has to be up; before that its engine says why it is not."""

RESTORE_WITHIN = 600.0
RESTORE_BY_PEOPLE = 1800.0
"""Seconds within which everything has to be as before, where opsdash goes back and where people do."""

TABLETOP_TAKES = 86400.0
"""Seconds after which a tabletop that nobody has closed is over."""

MOST_STEPS = 20
"""A decision leads a run no further than so many looks; the next one goes on."""


def follow(draft: Draft) -> None:
    """Let the open run see what was decided, and go on, until nothing more follows."""
    seen = 0
    for _ in range(MOST_STEPS):
        run = open_run(draft)
        if run is None:
            return
        fresh, seen = draft.records[seen:], len(draft.records)
        drill_sights.look(draft, run, fresh)
        run = open_run(draft)
        if run is not None:
            GOES_ON[run.state](draft, run, live_of(draft, run))
        if len(draft.records) == seen:
            return


def look(draft: Draft, run_id: str) -> None:
    """A second has passed: ask again for what is waited for. `follow` comes after every timer."""
    run = open_run(draft)
    if run is None or run.id != run_id:
        return
    wait(draft, run)
    draft.touch(run.component)
    live = live_of(draft, run)
    since = live.undone_at if run.state is DrillState.UNDOING else live.since
    if run.state in (DrillState.UNDOING, DrillState.RESTORING) and since is not None:
        for check in _verified_by(run):
            if draft.check(check).requested < since:
                draft.effect(Poll(check))


def _verified_by(run: DrillRun) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*run.drill.verify_undone, *run.drill.steady)))


# --- before and while it is there ----------------------------------------------------------------------------------


def _arming(draft: Draft, run: DrillRun, live: DrillLive) -> None:
    if draft.now.mono - live.since > ARM_WITHIN:
        why = f"the guard was not up within {format_duration(ARM_WITHIN)}"
        end(draft, replace(run, stopped=why, stopped_as=Verdict.ABORTED), DrillEvent.NOT_ARMED)


def _injecting(draft: Draft, run: DrillRun, live: DrillLive) -> None:
    if not _stopped_by_rule(draft, run, live) and _over(draft, run, live):
        advance(draft, run, DrillEvent.LIMIT, detail="the faults were not made within its limit")


def _running(draft: Draft, run: DrillRun, live: DrillLive) -> None:
    if _stopped_by_rule(draft, run, live):
        return
    if run.drill.level is Level.TABLETOP:
        _tabletop(draft, run, live)
        return
    live = _with_verified(draft, run, live)
    if _enough(draft, run, live):
        advance(draft, run, DrillEvent.SEEN if run.drill.injections else DrillEvent.SEEN_ALL)
    elif _over(draft, run, live):
        limit_has_come(draft, run, f"its limit of {format_duration(run.drill.limit)} has come")
    else:
        _load(draft, run, live)
        _respond(draft, run)


def limit_has_come(draft: Draft, run: DrillRun, detail: str) -> None:
    """The time of a run is over: it is judged by what has come true; what has not held for long enough has not."""
    live = live_of(draft, run)
    held = 0.0 if live.verified is None else draft.now.mono - live.verified
    if live.verified is not None and held < run.drill.hold:
        said = f"its limit came when it had held for {format_duration(held)} of {format_duration(run.drill.hold)}"
        drill_sights.note(draft, run, Sight.FAILED, said)
        run = draft.get("drills", run.id)
    advance(draft, run, DrillEvent.LIMIT if run.drill.injections else DrillEvent.LIMIT_OF_NOTHING, detail=detail)


def _over(draft: Draft, run: DrillRun, live: DrillLive) -> bool:
    return live.injected is not None and draft.now.mono - live.injected >= run.drill.limit


def _tabletop(draft: Draft, run: DrillRun, live: DrillLive) -> None:
    closed = run.runbook_run is not None and draft.get("runs", run.runbook_run) is None
    if closed:
        end(draft, run, DrillEvent.CLOSED, recovered=True)
    elif draft.now.mono - live.since > TABLETOP_TAKES:
        stop(draft, run, "nobody has closed it within a day", Verdict.ABORTED)


def _with_verified(draft: Draft, run: DrillRun, live: DrillLive) -> DrillLive:
    """From verified service on the backup has to hold; where the drill leads to none, what was noticed has to."""
    came = run.times.verified if drill_verdicts.wants_recovery(run) else run.times.opened
    if came is None or live.verified is not None:
        return live
    after = replace(live, verified=draft.now.mono)
    draft.set_live("drills", run.id, after)
    return after


def _enough(draft: Draft, run: DrillRun, live: DrillLive) -> bool:
    """Whether there is nothing more to see: all has come true and held, or it cannot pass any more."""
    if run.failed or run.affected:
        return True
    if drill_verdicts.awaited(run) and not _only_a_load_that_failed(run):
        return False
    return live.verified is None or draft.now.mono - live.verified >= run.drill.hold


def _only_a_load_that_failed(run: DrillRun) -> bool:
    return run.load_at is not None and drill_verdicts.awaited(run) == ["load"]


def _load(draft: Draft, run: DrillRun, live: DrillLive) -> None:
    """The load comes once the backup serves; where the drill leads to none, at once."""
    load = run.drill.expect.load
    if load is None or live.loading or (drill_verdicts.wants_recovery(run) and run.times.verified is None):
        return
    draft.set_live("drills", run.id, replace(live, loading=True))
    draft.effect(StartLoad(run.id, run.component, load))


# --- stop conditions -----------------------------------------------------------------------------------------------


def _stopped_by_rule(draft: Draft, run: DrillRun, live: DrillLive) -> bool:
    really = drill_overlay.really_failing(draft, run.id)
    if really:
        why = f"{really} really fails: {draft.check(really).raw_detail or 'it is down'}"
        stop(draft, run, why, Verdict.INTERRUPTED, real=True)
        return True
    why = _why_stop(draft, run, live)
    if why:
        stop(draft, run, why, Verdict.ABORTED)
    return bool(why)


def _why_stop(draft: Draft, run: DrillRun, live: DrillLive) -> str:
    if run.drill.level is Level.TABLETOP:
        return ""
    if draft.engine().offline:
        return "opsdash is offline: nobody can tell what the drill does"
    if draft.get("pauses", run.component) is not None:
        return f"{run.component} was paused: nothing is measured"
    known = dict(live.bad)
    bad = tuple(
        (place, known.get(place, draft.now.mono)) for place, rule in enumerate(run.drill.stop_if) if _is(draft, rule)
    )
    if bad != live.bad:
        draft.set_live("drills", run.id, replace(live_of(draft, run), bad=bad))
    for place, since in bad:
        rule = run.drill.stop_if[place]
        if draft.now.mono - since >= rule.lasts:
            lasted = f" for {format_duration(rule.lasts)}" if rule.lasts else ""
            return f"stop condition: {rule.check or rule.component} is {rule.status.value}{lasted}"
    return ""


def _is(draft: Draft, rule: StopIf) -> bool:
    """Whether a component, or a check of it, is as bad as that, or worse; unknown never counts as down."""
    status = draft.check(_watched(draft, rule)).status if rule.check else draft.health(rule.component).status
    if status in (Status.UNKNOWN, Status.PAUSED):
        return rule.status is status
    return SEVERITY[status] >= SEVERITY[rule.status] > SEVERITY[Status.OK]


def _watched(draft: Draft, rule: StopIf) -> str:
    """The check that a rule names; `active` is whoever serves at that moment."""
    component, *provider, check = rule.check.split("/")
    if provider == [ACTIVE]:
        provider = [draft.state(component).active or ACTIVE]
    return "/".join((component, *provider, check))


# --- the response, and the way back --------------------------------------------------------------------------------


def by_opsdash(run: DrillRun) -> bool:
    """Whether opsdash gives the response itself; a planned switch always is its own."""
    return run.drill.responder is Responder.OPSDASH or run.drill.level is Level.SWITCH


def _respond(draft: Draft, run: DrillRun) -> None:
    goal = run.goal
    noticed = run.times.opened is not None or run.drill.level is Level.SWITCH
    if goal is None or not by_opsdash(run) or not noticed or run.switches or run.times.verified is not None:
        return
    _switch(draft, run, goal.component, SwitchKind.DEGRADE if goal.degrades else SwitchKind.FAILOVER, goal.target)


def _switch(draft: Draft, run: DrillRun, component: str, kind: SwitchKind, target: str | None) -> None:
    """Begin a switch in the name of whoever began the drill, as soon as no guard stands in its way."""
    plan = planning.plan(draft, component, kind, target)
    refused: Refused | None = plan if isinstance(plan, Refused) else None
    if isinstance(plan, Plan):
        intent = SwitchIntent(
            component=component,
            kind=plan.kind,
            generation=plan.generation,
            source=plan.source,
            target=plan.target,
            reason=f"drill {run.drill.id} ({run.id})",
            overrides=(guards.APPROVAL,) if run.approved_by else (),
            typed=component,
        )
        refused = confirming.blocked(plan, intent)
        if refused is None:
            answer = switching.intend(draft, run.who, intent, SwitchCause.DRILL)
            refused = answer if isinstance(answer, Refused) else None
    said = "" if refused is None else refused.reason
    live = live_of(draft, run)
    if said != live.refused:
        draft.set_live("drills", run.id, replace(live, refused=said))


def _back(draft: Draft, run: DrillRun) -> None:
    """Go back, where opsdash does and something is left of the response."""
    for name in sorted(drill_sights.parts(run)):
        component, state, switch = draft.component(name), draft.state(name), draft.switch(name)
        if component is None or (switch is not None and switch.state in NOT_OVER):
            continue
        if switch is None or not _belongs(run, switch):
            continue
        if state.mode is not None:
            _switch(draft, run, name, SwitchKind.RESTORE, None)
        elif state.active != component.primary and component.switch is not None:
            _switch(draft, run, name, SwitchKind.FAILBACK, component.primary)


def _belongs(run: DrillRun, switch: Switch) -> bool:
    """Whether a switch is of this run, also where the engine ended before that was noted."""
    own = switch.cause is SwitchCause.DRILL and switch.intended_at >= run.started_at
    return own or switch.id in run.switches


# --- undone, restored ----------------------------------------------------------------------------------------------


def _undoing(draft: Draft, run: DrillRun, live: DrillLive) -> None:
    """What was broken is gone when its guard says so, or cannot tell, and opsdash's own checks agree."""
    if not run.faulty:
        advance(draft, run, DrillEvent.UNDONE, detail="nothing was broken")
        return
    if live.undone_at is not None:
        agree = all(_passes_since(draft, check, live.undone_at) for check in run.drill.verify_undone)
        told = live.undone is True or bool(run.drill.verify_undone)
        if live.undone is False:
            _judge(draft, run, live, verified=False)
            return
        if told and agree:
            _judge(draft, run, live, verified=True)
            return
        if not told:
            _judge(draft, run, live, verified=None)
            return
    if draft.now.mono - live.since > UNDO_WITHIN:
        _judge(draft, run, live, verified=None if live.undone_at is None else False)


def _passes_since(draft: Draft, check: str, moment: float) -> bool:
    """Whether a check passes by a result that was asked for after `moment`."""
    shown = draft.check(check)
    return shown.requested >= moment and shown.status is Status.OK and shown.raw is Status.OK


def _judge(draft: Draft, run: DrillRun, live: DrillLive, *, verified: bool | None) -> None:
    detail = live.detail
    if not verified:
        failing = [check for check in run.drill.verify_undone if draft.check(check).status is not Status.OK]
        said = f"not ok since: {', '.join(failing)}" if failing else "nobody could verify that it is gone"
        detail = "; ".join(part for part in (detail, said) if part)
    draft.emit(DrillUndone(draft.now.wall, run.id, run.component, verified, live.by or "guard", detail))
    event = DrillEvent.UNDONE if verified else DrillEvent.NOT_UNDONE
    flaw = f"a fault was not made as a whole: {live.flaw}" if live.flaw else ""
    stopped_as = Verdict.ABORTED if flaw else None
    advance(draft, draft.get("drills", run.id), event, detail=detail, stopped=flaw, stopped_as=stopped_as)


def _restoring(draft: Draft, run: DrillRun, live: DrillLive) -> None:
    if run.real:
        end(draft, run, DrillEvent.LEFT)
        return
    if _is_restored(draft, run, live):
        end(draft, run, DrillEvent.RESTORED, recovered=True)
        return
    bound = RESTORE_WITHIN if by_opsdash(run) else RESTORE_BY_PEOPLE
    if draft.now.mono - live.since > bound:
        end(draft, run, DrillEvent.NOT_RESTORED, recovered=False)
    elif by_opsdash(run):
        _back(draft, run)


def _is_restored(draft: Draft, run: DrillRun, live: DrillLive) -> bool:
    """Whether everything that the drill could have moved is as before: measured, by results of after the undoing."""
    for name in drill_sights.parts(run):
        component, state, switch = draft.component(name), draft.state(name), draft.switch(name)
        if component is None or (switch is not None and switch.state in NOT_OVER):
            return False
        home = state.active == component.primary and state.mode is None
        if not home or draft.health(name).redundancy not in REDUNDANT:
            return False
        if incidents.failing_modes(draft, component):
            return False
    status = draft.health(run.component).status
    if status is not Status.OK and (status is not run.status or status is Status.DOWN):
        return False
    return all(_passes_since(draft, check, live.since) for check in _verified_by(run))


def _ended(_draft: Draft, _run: DrillRun, _live: DrillLive) -> None:
    """Nothing follows."""


GOES_ON = {
    DrillState.ARMING: _arming,
    DrillState.INJECTING: _injecting,
    DrillState.RUNNING: _running,
    DrillState.UNDOING: _undoing,
    DrillState.RESTORING: _restoring,
    DrillState.ENDED: _ended,
}
"""What each state waits for."""
