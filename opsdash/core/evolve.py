"""`evolve(world, record) -> patch`: what a record changes. Replaying the journal is this and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from opsdash.core import evolve_drills, evolve_runs, practice, readiness_trend
from opsdash.core.evolve_incidents import EVOLVE_INCIDENTS, forgotten, set_back, with_change
from opsdash.core.evolve_outbox import OUTBOX
from opsdash.core.reader import OPSDASH
from opsdash.core.reader import component_state as _component
from opsdash.core.reader import engine_state as _engine
from opsdash.model import records as r
from opsdash.model.alarm import Alarm, HoldReason, alarm_key
from opsdash.model.change import Change, ChangeKind
from opsdash.model.operation import Absence
from opsdash.model.status import Status
from opsdash.model.switch import MAIN, MOVES_PROVIDER, Fact, FactName, SwitchCause, SwitchKind, SwitchState, Truth
from opsdash.model.window import FILES, Muted, WindowKind, WindowState
from opsdash.model.world import (
    CheckState,
    ComponentState,
    Flap,
    Heartbeat,
    Moved,
    Pause,
    Proof,
    Request,
    Shadow,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.core.reader import Reader
    from opsdash.model.records import Record
    from opsdash.model.switch import Switch
    from opsdash.model.world import Patch

MOST_MUTED = 50
"""Alarms that a window remembers to have held, the latest ones."""

REQUESTS_KEPT = 1000
"""Requests that are known to have been accepted, the latest ones. Who has no answer asks again within minutes."""

AUTOS_KEPT = 86400.0
"""Seconds for which it is known when opsdash switched by itself; its budget is by the hour."""


def _engine_started(world: Reader, record: r.EngineStarted) -> Patch:
    engine = replace(_engine(world), started_at=record.at, stopped_at=None, off_since=record.stopped_at)
    faded = practice.forgotten(world, record.at)
    void = evolve_runs.times_are_void(world)
    return [("engine", "engine", engine), *forgotten(world, record.at), *void, *faded]


def _engine_stopped(world: Reader, record: r.EngineStopped) -> Patch:
    return [("engine", "engine", replace(_engine(world), stopped_at=record.at))]


def _clock_moved(world: Reader, record: r.ClockMoved) -> Patch:
    return [*evolve_runs.times_are_void(world), *set_back(world, record)]


def _configured(world: Reader, record: r.Configured) -> Patch:
    kept = {component.id for component in record.removed}
    patch: Patch = [("removed", key, None) for key in world.keys("removed") if key not in kept]
    patch += [("removed", component.id, component) for component in record.removed]
    changes = (
        Change(record.at, ChangeKind.CONFIGURATION, component, f"the files of {component} were edited", OPSDASH)
        for component in record.changed
    )
    return [*patch, *with_change(world, *changes)] if record.changed else patch


def _check_changed(_world: Reader, record: r.CheckChanged) -> Patch:
    state = CheckState(record.status, record.at, record.reason, record.detail)
    patch: Patch = [("checks", record.check, state)]
    if record.status in (Status.DOWN, Status.DEGRADED):
        patch.append(("seen_red", record.check, record.at))
    return patch


def _component_changed(world: Reader, record: r.ComponentChanged) -> Patch:
    state = replace(
        _component(world, record.component),
        status=record.status,
        reason=record.reason,
        cause=record.cause,
        since=record.at,
    )
    return [("components", record.component, state)]


def _redundancy_changed(world: Reader, record: r.RedundancyChanged) -> Patch:
    state = replace(_component(world, record.component), redundancy=record.redundancy)
    return [("components", record.component, state)]


def _active_changed(world: Reader, record: r.ActiveChanged) -> Patch:
    state = _component(world, record.component)
    since = state.on_backup_since
    if record.provider is not None:
        since = (since or record.at) if record.on_backup else None
    overdue = state.overdue if since else tuple(what for what in state.overdue if what != "backup")
    state = replace(state, active=record.provider, seen=record.seen, on_backup_since=since, overdue=overdue)
    return [("components", record.component, state)]


def _mode_seen(world: Reader, record: r.ModeSeen) -> Patch:
    state = _component(world, record.component)
    since = record.at if record.mode else None
    overdue = tuple(what for what in state.overdue if what != "mode")
    state = replace(state, mode=record.mode, mode_since=since, mode_prior=None, overdue=overdue)
    return [("components", record.component, state)]


def _failure_active(world: Reader, record: r.FailureActive) -> Patch:
    state = _component(world, record.component)
    failures = (*(pair for pair in state.failures if pair[0] != record.failure), (record.failure, record.at))
    return [("components", record.component, replace(state, failures=failures))]


def _failure_cleared(world: Reader, record: r.FailureCleared) -> Patch:
    state = _component(world, record.component)
    failures = tuple(pair for pair in state.failures if pair[0] != record.failure)
    return [("components", record.component, replace(state, failures=failures))]


def _paused(_world: Reader, record: r.Paused) -> Patch:
    return [("pauses", record.component, Pause(record.until, record.at, record.who, record.reason))]


def _resumed(_world: Reader, record: r.Resumed) -> Patch:
    return [("pauses", record.component, None)]


# --- alarms, windows, flapping -------------------------------------------------------------------------------------


def _alarm_held(world: Reader, record: r.AlarmHeld) -> Patch:
    key = alarm_key(record.component, record.topic)
    before: Alarm | None = world.get("alarms", key)
    due = record.at if before is None else before.due
    alarm = Alarm(record.incident, record.title, due, hold=record.hold, held=record.at)
    patch: Patch = [("alarms", key, alarm)]
    window: WindowState | None = world.get("windows", record.hold.what)
    if record.hold.reason is HoldReason.MAINTENANCE and window is not None:
        muted = Muted(record.component, record.title, due)
        others = (each for each in window.muted if (each.component, each.at) != (muted.component, muted.at))
        patch.append(("windows", record.hold.what, replace(window, muted=(*others, muted)[-MOST_MUTED:])))
    return patch


def _alarm_raised(_world: Reader, record: r.AlarmRaised) -> Patch:
    alarm = Alarm(record.incident, record.title, record.due, raised=record.at, note=record.note)
    return [("alarms", alarm_key(record.component, record.topic), alarm)]


def _alarm_over(_world: Reader, record: r.AlarmDropped | r.AlarmCleared) -> Patch:
    return [("alarms", alarm_key(record.component, record.topic), None)]


def _flapping_began(_world: Reader, record: r.FlappingBegan) -> Patch:
    return [("flapping", record.check, Flap(record.at))]


def _flapping_ended(_world: Reader, record: r.FlappingEnded) -> Patch:
    return [("flapping", record.check, None)]


def _maintenance_set(world: Reader, record: r.MaintenanceSet) -> Patch:
    before: WindowState | None = world.get("windows", record.target)
    since, muted = (record.at, ()) if before is None else (before.since, before.muted)
    kind = WindowKind.MAINTENANCE
    state = WindowState(kind, "Maintenance", since, record.until, record.who, record.reason, muted)
    return [("windows", record.target, state)]


def _maintenance_ended(_world: Reader, record: r.MaintenanceEnded) -> Patch:
    return [("windows", record.target, None)]


def _window_began(world: Reader, record: r.WindowBegan) -> Patch:
    before: WindowState | None = world.get("windows", record.window)
    muted = () if before is None else before.muted
    state = WindowState(record.kind, record.title, record.since, record.until, FILES, muted=muted)
    return [("windows", record.window, state)]


def _window_ended(_world: Reader, record: r.WindowEnded) -> Patch:
    return [("windows", record.window, None)]


def _heartbeat_received(world: Reader, record: r.HeartbeatReceived) -> Patch:
    before: Heartbeat = world.get("heartbeats", record.check) or Heartbeat()
    if record.signal == "awaited":
        after = replace(before, due=record.due)
    elif record.signal == "start":
        after = replace(before, started=record.at, detail=record.detail)
    elif record.signal == "fail":
        after = replace(before, failed=record.at, started=None, due=record.due, detail=record.detail)
    else:
        after = Heartbeat(last=record.at, due=record.due, detail=record.detail)
    return [("heartbeats", record.check, after)]


def _away_set(_world: Reader, record: r.AwaySet) -> Patch:
    start = record.at if record.start is None else record.start
    return [("absences", record.person, None if record.back else Absence(start, record.until))]


def _review_passed(world: Reader, record: r.ReviewPassed) -> Patch:
    state = _component(world, record.component)
    overdue = (*(what for what in state.overdue if what != record.what), record.what)
    return [("components", record.component, replace(state, overdue=overdue))]


# --- switches ------------------------------------------------------------------------------------------------------


def _switch_intended(world: Reader, record: r.SwitchIntended) -> Patch:
    switch = record.switch
    state = _component(world, switch.plan.component)
    patch: Patch = []
    if state.switch and state.switch != switch.id:
        patch.append(("switches", state.switch, None))
    state = replace(state, generation=state.generation + 1, switch=switch.id, blocked=None)
    patch.append(("approvals", switch.plan.component, None))
    patch += [("switches", switch.id, switch), ("components", switch.plan.component, state)]
    if switch.cause is SwitchCause.AUTO:
        engine = _engine(world)
        autos = (*(at for at in engine.autos if record.at - at < AUTOS_KEPT), record.at)
        patch.append(("engine", "engine", replace(engine, autos=autos)))
    return patch


def _switch_advanced(world: Reader, record: r.SwitchAdvanced) -> Patch:
    switch: Switch | None = world.get("switches", record.switch)
    if switch is None:
        return []
    changes: dict[str, Any] = {
        "state": record.state,
        "history": (*switch.history, (record.at, record.state.value)),
        "in_doubt": switch.in_doubt or record.in_doubt,
        "halted": switch.halted or record.halted,
        "step": record.step,
        "begun": _begun(switch, record),
    }
    if record.detail:
        changes["detail"] = record.detail
    if record.prior is not None and switch.prior is None:
        changes["prior"] = record.prior
    if switch.ended_at is not None:
        changes["ended_at"] = None
    if record.state is SwitchState.ACTING and not record.step:
        changes["acted_at"] = record.at
    elif record.state is SwitchState.SETTLING and switch.state in (SwitchState.ACTING, SwitchState.UNDOING):
        changes["applied_at"] = record.at if MAIN in switch.begun else None
    elif record.state is SwitchState.VERIFYING:
        changes["verifying_at"] = record.at
    elif record.state is SwitchState.UNDOING:
        changes["undoing"] = True
        if switch.state is not SwitchState.UNDOING:
            changes["undo_reason"] = record.detail
    return [("switches", record.switch, replace(switch, **changes))]


def _begun(switch: Switch, record: r.SwitchAdvanced) -> tuple[str, ...]:
    """The steps whose action may have been carried out: a record comes before each, so that this is never too few."""
    kept = tuple(name for name in switch.begun if name != record.dropped)
    name = record.step or MAIN
    begins = record.state in (SwitchState.FENCING, SwitchState.ACTING) and name not in kept
    return (*kept, name) if begins else kept


def _switch_abort_asked(world: Reader, record: r.SwitchAbortAsked) -> Patch:
    switch: Switch | None = world.get("switches", record.switch)
    return [] if switch is None else [("switches", switch.id, replace(switch, abort_asked=record.who))]


def _switch_blocked(world: Reader, record: r.SwitchBlocked) -> Patch:
    state = _component(world, record.component)
    return [("components", record.component, replace(state, blocked=record))]


def _switch_reverted(world: Reader, record: r.SwitchReverted) -> Patch:
    switch: Switch | None = world.get("switches", record.switch)
    if switch is None:
        return []
    history = (*switch.history, (record.at, SwitchState.REVERTED.value))
    after = replace(switch, state=SwitchState.REVERTED, detail=record.detail, history=history)
    return [("switches", switch.id, after)]


def _blockade_lifted(world: Reader, record: r.BlockadeLifted) -> Patch:
    state = _component(world, record.component)
    if state.moved is None or state.moved.switch != record.switch:
        return []
    return [("components", record.component, replace(state, moved=replace(state.moved, lifted=record.who)))]


def _would_switch(world: Reader, record: r.WouldSwitch) -> Patch:
    shadow: Shadow = world.get("shadows", record.component) or Shadow()
    return [("shadows", record.component, replace(shadow, at=record.at, target=record.target, would=shadow.would + 1))]


def _shadow_scored(world: Reader, record: r.ShadowScored) -> Patch:
    shadow: Shadow | None = world.get("shadows", record.component)
    if shadow is None:
        return []
    counter = {"agreed": "agreed", "differed": "differed"}.get(record.verdict, "not_needed")
    scored: dict[str, Any] = {"target": None, counter: getattr(shadow, counter) + 1}
    return [("shadows", record.component, replace(shadow, **scored))]


def _auto_stopped(world: Reader, record: r.AutoStopped) -> Patch:
    stopped = replace(_engine(world), auto_stopped=record.why, auto_stopped_by=record.component)
    return [("engine", "engine", stopped)]


def _auto_resumed(world: Reader, _record: r.AutoResumed) -> Patch:
    return [("engine", "engine", replace(_engine(world), auto_stopped="", auto_stopped_by=""))]


def _approval_asked(_world: Reader, record: r.ApprovalAsked) -> Patch:
    return [("approvals", record.component, record)]


def _switch_ended(world: Reader, record: r.SwitchEnded) -> Patch:
    switch: Switch | None = world.get("switches", record.switch)
    if switch is None:
        return []
    ended = replace(
        switch,
        state=record.state,
        facts=record.facts or switch.facts,
        ended_at=record.at,
        detail=record.detail or switch.detail,
        stated_by=record.who,
        history=(*switch.history, (record.at, record.state.value)),
    )
    patch: Patch = [("switches", switch.id, ended)]
    state = _component(world, switch.plan.component)
    if switch.plan.kind in MOVES_PROVIDER:
        state = _provider_after(state, switch, record)
        if switch.applied_at is not None:
            took = max(0.0, record.at - switch.intended_at)
            state = replace(state, moved=Moved(switch.id, switch.plan.kind, switch.who, record.at, took))
    else:
        state = _mode_after(state, switch, record)
    patch.append(("components", switch.plan.component, state))
    return [*patch, *practice.after_switch(world, ended, record)]


def _provider_after(state: ComponentState, switch: Switch, record: r.SwitchEnded) -> ComponentState:
    """Who serves after a switch. After an unknown or split outcome nobody can tell, until the mechanism is read."""
    plan = switch.plan
    if record.state is SwitchState.COMMITTED:
        away = plan.kind is SwitchKind.FAILOVER
        since = (state.on_backup_since or record.at) if away else None
        kept = since is not None and since == state.on_backup_since
        overdue = state.overdue if kept else tuple(what for what in state.overdue if what != "backup")
        return replace(state, active=plan.target, seen=plan.wanted or "", on_backup_since=since, overdue=overdue)
    if _is_back(switch, record):
        seen = state.seen if plan.expected is None else plan.expected
        return replace(state, active=plan.source or None, seen=seen)
    mechanism = _truth(record.facts, FactName.MECHANISM)
    if _leads_to_both(switch, record):
        return replace(state, active=None)
    if mechanism is Truth.TRUE:
        return replace(state, active=plan.target, seen=plan.wanted or "")
    measured = record.state is SwitchState.NEEDS_HUMAN and bool(record.facts)
    nobody_knows = measured or record.state in (SwitchState.UNKNOWN, SwitchState.SPLIT)
    return replace(state, active=None) if nobody_knows and mechanism is not Truth.FALSE else state


def _leads_to_both(switch: Switch, record: r.SwitchEnded) -> bool:
    """Whether it is the mechanism itself by which the old side still serves, and not a check."""
    old_out = switch.plan.old_out
    by_check = old_out is not None and old_out.by_check
    return record.state is SwitchState.SPLIT and not by_check and _truth(record.facts, FactName.OLD_OUT) is Truth.FALSE


def _mode_after(state: ComponentState, switch: Switch, record: r.SwitchEnded) -> ComponentState:
    """Which degraded mode is in force after entering or leaving one; as before, where that cannot be told."""
    plan = switch.plan
    reached = _truth(record.facts, FactName.MECHANISM) is Truth.TRUE
    if _is_back(switch, record):
        in_force = plan.source
    elif record.state is SwitchState.COMMITTED or reached:
        in_force = plan.target
    else:
        return state
    stays = in_force == state.mode
    overdue = state.overdue if stays else tuple(what for what in state.overdue if what != "mode")
    if not in_force:
        return replace(state, mode=None, mode_since=None, mode_prior=None, overdue=overdue)
    since = state.mode_since if stays else record.at
    prior = switch.prior if plan.kind is SwitchKind.DEGRADE else state.mode_prior or plan.wanted
    return replace(state, mode=in_force, mode_since=since, mode_prior=prior, overdue=overdue)


def _is_back(switch: Switch, record: r.SwitchEnded) -> bool:
    """Whether the old side serves again: by a person's word, or by what was measured while undoing."""
    stated = record.state is SwitchState.ABORTED and record.who is not None
    measured = switch.undoing and _truth(record.facts, FactName.MECHANISM) is Truth.TRUE
    return stated or measured or record.state is SwitchState.UNDONE


def _truth(facts: tuple[Fact, ...], name: FactName) -> Truth:
    return next((fact.truth for fact in facts if fact.name is name), Truth.UNKNOWN)


def _proved(_world: Reader, record: r.Proved) -> Patch:
    return [
        (
            "proofs",
            f"{record.component}/{record.what}",
            Proof(record.at, record.by, record.sha256, record.who, record.took, record.valid_for),
        )
    ]


def _request_accepted(world: Reader, record: r.RequestAccepted) -> Patch:
    known: dict[str, Request] = {key: world.get("requests", key) for key in world.keys("requests") if key != record.key}
    number = 1 + max((each.number for each in known.values()), default=0)
    patch: Patch = [("requests", record.key, Request(record.at, record.subject, number))]
    if len(known) >= REQUESTS_KEPT:
        patch.append(("requests", min(known, key=lambda key: known[key].number), None))
    return patch


EVOLVE: dict[type, Callable[[Reader, Any], Patch]] = {
    r.EngineStarted: _engine_started,
    r.EngineStopped: _engine_stopped,
    r.ClockMoved: _clock_moved,
    r.Configured: _configured,
    r.CheckChanged: _check_changed,
    r.ComponentChanged: _component_changed,
    r.RedundancyChanged: _redundancy_changed,
    r.ActiveChanged: _active_changed,
    r.ModeSeen: _mode_seen,
    r.FailureActive: _failure_active,
    r.FailureCleared: _failure_cleared,
    **EVOLVE_INCIDENTS,
    r.Paused: _paused,
    r.Resumed: _resumed,
    r.AlarmHeld: _alarm_held,
    r.AlarmRaised: _alarm_raised,
    r.AlarmDropped: _alarm_over,
    r.AlarmCleared: _alarm_over,
    **OUTBOX,
    r.FlappingBegan: _flapping_began,
    r.FlappingEnded: _flapping_ended,
    r.MaintenanceSet: _maintenance_set,
    r.MaintenanceEnded: _maintenance_ended,
    r.WindowBegan: _window_began,
    r.WindowEnded: _window_ended,
    r.HeartbeatReceived: _heartbeat_received,
    r.AwaySet: _away_set,
    r.ReviewPassed: _review_passed,
    r.ReadinessNoted: readiness_trend.noted,
    r.SwitchIntended: _switch_intended,
    r.SwitchAdvanced: _switch_advanced,
    r.SwitchAbortAsked: _switch_abort_asked,
    r.SwitchBlocked: _switch_blocked,
    r.SwitchReverted: _switch_reverted,
    r.BlockadeLifted: _blockade_lifted,
    r.ApprovalAsked: _approval_asked,
    r.WouldSwitch: _would_switch,
    r.ShadowScored: _shadow_scored,
    r.AutoStopped: _auto_stopped,
    r.AutoResumed: _auto_resumed,
    r.SwitchEnded: _switch_ended,
    r.Proved: _proved,
    **evolve_runs.EVOLVE,
    **evolve_drills.EVOLVE,
    r.RequestAccepted: _request_accepted,
}
"""One function per record type; a test holds it complete."""


def evolve(world: Reader, record: Record) -> Patch:
    """The changes that follow from `record`."""
    return EVOLVE[type(record)](world, record)
