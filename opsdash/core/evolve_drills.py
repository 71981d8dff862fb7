"""What the records of drills change in the world. `evolve` is the way in."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from opsdash.core import practice
from opsdash.core.drill_marks import breaks
from opsdash.core.reader import Reader, engine_state
from opsdash.model import records as r
from opsdash.model.drill import (
    PROVES,
    SAYS_NOTHING,
    DrillDue,
    DrillEvidence,
    DrillPast,
    DrillRun,
    DrillState,
    FaultLeft,
    Lever,
    Sight,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.model.world import Patch


def _started(world: Reader, record: r.DrillStarted) -> Patch:
    run = replace(record.run, history=((record.at, record.run.state.value),))
    engine = engine_state(world)
    patch: Patch = []
    for key in world.keys("drills"):
        before: DrillRun = world.get("drills", key)
        if before.drill.id == run.drill.id and not before.is_open:
            patch.append(("drills", key, None))
    patch += [
        ("drills", run.id, run),
        ("engine", "engine", replace(engine, drills=engine.drills + 1, drill=run.id)),
        ("drill_approvals", run.drill.id, None),
    ]
    due: DrillDue | None = world.get("drill_dues", run.drill.id)
    if due is not None and due.due == run.due:
        patch.append(("drill_dues", run.drill.id, replace(due, claimed=run.id)))
    return patch


def _with(world: Reader, run_id: str, change: Callable[[DrillRun], DrillRun]) -> Patch:
    run: DrillRun | None = world.get("drills", run_id)
    return [] if run is None else [("drills", run_id, change(run))]


def _advanced(world: Reader, record: r.DrillAdvanced) -> Patch:
    run: DrillRun | None = world.get("drills", record.run)
    if run is None:
        return []
    begins = record.state in (DrillState.INJECTING, DrillState.RUNNING) and run.times.injected is None
    breaking = record.state is DrillState.INJECTING and breaks(run.drill)
    times = replace(run.times, injected=record.at) if begins else run.times
    only_pretended = bool(run.drill.injections) and not run.faulty and not breaking
    if record.state is DrillState.RESTORING and only_pretended and times.undone is None:
        times = replace(times, undone=record.at)
    after = replace(
        run,
        state=record.state,
        history=(*run.history, (record.at, record.state.value)),
        times=times,
        faulty=run.faulty or breaking,
        stopped=run.stopped or record.stopped,
        stopped_as=run.stopped_as or record.stopped_as,
        real=run.real or record.real,
    )
    patch: Patch = [("drills", run.id, after)]
    if breaking:
        patch.append(("drill_faults", run.id, FaultLeft(run.id, run.drill.id, run.component, record.at)))
    return patch


def _time(name: str) -> Callable[[DrillRun, r.DrillSaw, float], DrillRun]:
    def change(run: DrillRun, _record: r.DrillSaw, at: float) -> DrillRun:
        if getattr(run.times, name) is not None:
            return run
        moment: dict[str, Any] = {name: at}
        return replace(run, times=replace(run.times, **moment))

    return change


def _opened(run: DrillRun, record: r.DrillSaw, at: float) -> DrillRun:
    return replace(run, incident=record.subject, times=replace(run.times, opened=at))


def _decided(run: DrillRun, record: r.DrillSaw, at: float) -> DrillRun:
    switches = (*run.switches, record.subject) if record.subject else run.switches
    decided = at if run.times.decided is None else run.times.decided
    return replace(run, switches=switches, times=replace(run.times, decided=decided))


def _verified(run: DrillRun, record: r.DrillSaw, at: float) -> DrillRun:
    return replace(run, target=record.subject, times=replace(run.times, verified=at))


SIGHTS: dict[Sight, Callable[[DrillRun, r.DrillSaw, float], DrillRun]] = {
    Sight.FIRST_BAD: _time("first_bad"),
    Sight.OPENED: _opened,
    Sight.ACKNOWLEDGED: _time("acknowledged"),
    Sight.DECIDED: _decided,
    Sight.BACK: lambda run, record, _at: replace(run, switches=(*run.switches, record.subject)),
    Sight.SWITCHED: _time("switched"),
    Sight.VERIFIED: _verified,
    Sight.MODE: lambda run, _record, at: replace(run, mode_at=at),
    Sight.ALARMED: lambda run, _record, at: replace(run, alarmed_at=at),
    Sight.RUNBOOK: lambda run, record, _at: replace(run, runbook_run=record.subject),
    Sight.FOLLOWED: lambda run, _record, at: replace(run, runbook_at=at),
    Sight.AFFECTED: lambda run, record, _at: replace(run, affected=(*run.affected, record.subject)),
    Sight.FAILED: lambda run, record, _at: replace(run, failed=(*run.failed, record.subject)),
}
"""One function for each thing that can be seen."""


def _saw(world: Reader, record: r.DrillSaw) -> Patch:
    at = record.at if record.moment is None else record.moment
    return _with(world, record.run, lambda run: SIGHTS[record.what](run, record, at))


def _undone(world: Reader, record: r.DrillUndone) -> Patch:
    def change(run: DrillRun) -> DrillRun:
        times = replace(run.times, undone=record.at) if record.verified and run.times.undone is None else run.times
        return replace(run, undone=record.verified, undo_by=record.by, times=times)

    patch = _with(world, record.run, change)
    fault: FaultLeft | None = world.get("drill_faults", record.run)
    if fault is not None:
        after = None if record.verified else replace(fault, detail=record.detail or fault.detail)
        patch.append(("drill_faults", record.run, after))
    return patch


def _loaded(world: Reader, record: r.DrillLoaded) -> Patch:
    return _with(world, record.run, lambda run: replace(run, load=(record.times, record.failed), load_at=record.at))


def _ended(world: Reader, record: r.DrillEnded) -> Patch:
    run = record.run
    engine = engine_state(world)
    patch: Patch = [("drills", run.id, run)]
    if engine.drill == run.id:
        patch.append(("engine", "engine", replace(engine, drill="")))
    if run.verdict is not None:
        before: DrillPast | None = world.get("drill_past", run.drill.id)
        found = evidence_of(run, record.at)
        past = replace(before, latest=found) if before is not None else DrillPast(found)
        if run.verdict in PROVES:
            past = replace(past, proved=found, failed=None)
        elif run.verdict is Verdict.FAILED:
            past = replace(past, failed=found)
        patch.append(("drill_past", run.drill.id, past))
        patch += _given_back(world, run)
        patch += practice.after_drill(world, run)
    return patch


def _given_back(world: Reader, run: DrillRun) -> Patch:
    """A run that says nothing either way leaves its due time to another one, which a person begins."""
    due: DrillDue | None = world.get("drill_dues", run.drill.id)
    if due is None or due.claimed != run.id or run.verdict not in SAYS_NOTHING:
        return []
    return [("drill_dues", run.drill.id, replace(due, claimed="", starts=None))]


def evidence_of(run: DrillRun, at: float) -> DrillEvidence:
    """What is left of a run that has ended with a verdict."""
    if run.verdict is None:
        raise ValueError(f"{run.id} has no verdict")
    begun, verified = run.times.injected, run.times.verified
    return DrillEvidence(
        run=run.id,
        drill=run.drill.id,
        component=run.component,
        level=run.drill.level,
        at=at,
        verdict=run.verdict,
        hashes=run.hashes,
        valid_for=run.drill.valid_for,
        who=run.who,
        took=0.0 if begun is None or verified is None else max(0.0, verified - begun),
    )


def _fault_found(world: Reader, record: r.DrillFaultFound) -> Patch:
    before: FaultLeft | None = world.get("drill_faults", record.run)
    since = record.at if before is None else before.since
    return [("drill_faults", record.run, FaultLeft(record.run, record.drill, record.component, since, record.detail))]


def _fault_gone(_world: Reader, record: r.DrillFaultGone) -> Patch:
    return [("drill_faults", record.run, None)]


def _halted(_world: Reader, record: r.DrillsHalted) -> Patch:
    return [("lever", "lever", Lever(record.at, record.who, record.reason))]


def _allowed(_world: Reader, _record: r.DrillsAllowed) -> Patch:
    return [("lever", "lever", None)]


def _approval_asked(_world: Reader, record: r.DrillApprovalAsked) -> Patch:
    return [("drill_approvals", record.drill, record)]


def _due_set(world: Reader, record: r.DrillDueSet) -> Patch:
    if record.due is None:
        return [("drill_dues", record.drill, None)]
    before: DrillDue | None = world.get("drill_dues", record.drill)
    due = DrillDue(record.due, record.starts, set_at=record.at)
    if before is not None:
        due = replace(due, missed=before.missed, missed_at=before.missed_at)
    return [("drill_dues", record.drill, due)]


def _due(world: Reader, drill: str, due: float, **changes: Any) -> Patch:
    before: DrillDue | None = world.get("drill_dues", drill)
    return [] if before is None or before.due != due else [("drill_dues", drill, replace(before, **changes))]


def _reminded(world: Reader, record: r.DrillReminded) -> Patch:
    before: DrillDue | None = world.get("drill_dues", record.drill)
    given = () if before is None else before.reminded
    return _due(world, record.drill, record.due, reminded=(*given, record.name))


def _missed(world: Reader, record: r.DrillMissed) -> Patch:
    return _due(world, record.drill, record.due, missed=record.why, missed_at=record.due, starts=None)


EVOLVE: dict[type, Callable[[Reader, Any], Patch]] = {
    r.DrillStarted: _started,
    r.DrillAdvanced: _advanced,
    r.DrillSaw: _saw,
    r.DrillUndone: _undone,
    r.DrillLoaded: _loaded,
    r.DrillEnded: _ended,
    r.DrillFaultFound: _fault_found,
    r.DrillFaultGone: _fault_gone,
    r.DrillsHalted: _halted,
    r.DrillsAllowed: _allowed,
    r.DrillApprovalAsked: _approval_asked,
    r.DrillDueSet: _due_set,
    r.DrillReminded: _reminded,
    r.DrillOverdue: lambda world, record: _due(world, record.drill, record.due, overdue=True),
    r.DrillMissed: _missed,
}
"""One function per record type."""
