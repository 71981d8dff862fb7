"""What the records of runs change: a part of `opsdash.core.evolve`.

Which step is the current one, and since when, follows from the marks; how long steps take is learned from that. A time
counts when one person did the step in one go: not over a restart of the engine or a jump of the clock, not over a
change of the driver, not in a rehearsal, and not for a step that was opened again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from opsdash.core import practice
from opsdash.model import records as r
from opsdash.model.run import END, BlockResult, BlockState, Run, RunMode, RunParameter, StepMark, StepTimes
from opsdash.model.world import EngineState

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.model.world import Patch

TIMES_KEPT = 20
"""Runs of a step from which its usual time is learned, the latest ones."""

LONGEST_LEARNED = 24 * 3600.0
"""Seconds beyond which a step was left lying, and not worked on."""


class Reader(Protocol):
    """The part of a world that is read here."""

    def get(self, table: str, key: str) -> Any: ...

    def keys(self, table: str) -> list[str]: ...


def times_are_void(world: Reader) -> Patch:
    """Since when a step is the current one is no measure of its time any more: of an engine's end, of another clock."""
    runs = ((key, world.get("runs", key)) for key in world.keys("runs"))
    return [("runs", key, replace(run, since=None)) for key, run in runs if run.since is not None]


def _run_started(world: Reader, record: r.RunStarted) -> Patch:
    engine: EngineState = world.get("engine", "engine") or EngineState()
    run = Run(
        id=record.run,
        runbook=record.runbook,
        component=record.component,
        sha256=record.sha256,
        who=record.who,
        started_at=record.at,
        incident=record.incident,
        steps=record.steps,
        mode=record.mode,
        driver=record.who,
        session=record.session,
        active_at=record.at,
        current=record.steps[0][0] if record.steps else "",
        since=record.at,
        drivers=(record.who,),
        titles=record.titles,
    )
    return [("runs", record.run, run), ("engine", "engine", replace(engine, runs=engine.runs + 1))]


def _changed(world: Reader, record: Any, change: Callable[[Run], Run]) -> Patch:
    """The run after `change`. Whatever its driver does is a sign of life."""
    run: Run | None = world.get("runs", record.run)
    if run is None:
        return []
    run = change(run)
    if getattr(record, "who", None) == run.driven_by:
        run = replace(run, active_at=record.at)
    return [("runs", record.run, run)]


def _run_taken(world: Reader, record: r.RunTaken) -> Patch:
    def taken(run: Run) -> Run:
        drivers = run.drivers if run.drivers[-1:] == (record.who,) else (*run.drivers, record.who)
        return replace(run, driver=record.who, session=record.session, since=None, drivers=drivers)

    return _changed(world, record, taken)


def _run_accepted(world: Reader, record: r.RunAccepted) -> Patch:
    names = [step for step, _ in record.steps]

    def accepted(run: Run) -> Run:
        current = run.current if run.current in names else _first_open(run, names)
        return replace(run, sha256=record.sha256, steps=record.steps, titles=record.titles, current=current, since=None)

    return _changed(world, record, accepted)


def _first_open(run: Run, names: list[str]) -> str:
    return next((name for name in names if not run.mark(name)), "")


def _parameter_set(world: Reader, record: r.RunParameterSet) -> Patch:
    def with_parameter(run: Run) -> Run:
        others = tuple(each for each in run.params if each.name != record.name)
        return replace(run, params=(*others, RunParameter(record.name, record.value, record.who, record.source)))

    return _changed(world, record, with_parameter)


def _run_ticked(world: Reader, record: r.RunTicked) -> Patch:
    tick = (record.step, record.tick)

    def ticked(run: Run) -> Run:
        others = tuple(each for each in run.ticks if each != tick)
        return replace(run, ticks=(*others, tick) if record.done else others)

    return _changed(world, record, ticked)


# --- steps and their times -----------------------------------------------------------------------------------------


def _step_marked(world: Reader, record: r.StepMarked) -> Patch:
    run: Run | None = world.get("runs", record.run)
    if run is None:
        return []
    seconds = _seconds(run, record)
    marks = tuple(mark for mark in run.marks if mark.step != record.step)
    if record.mark != "open":
        marks = (*marks, StepMark(record.step, record.mark, record.at, record.who, seconds))
    patch = _changed(world, record, lambda before: _advanced(replace(before, marks=marks), record))
    if seconds is not None and record.mark == "done" and run.mode is RunMode.STEP:
        patch += _learned(world, run, record.step, seconds)
    return patch


def _seconds(run: Run, record: r.StepMarked) -> float | None:
    """How long a step was the current one, None where that says nothing about it."""
    if run.current != record.step or run.since is None or record.mark == "open":
        return None
    seconds = record.at - run.since
    return seconds if 0 <= seconds <= LONGEST_LEARNED else None


def _advanced(run: Run, record: r.StepMarked) -> Run:
    names = [step for step, _ in run.steps]
    if record.mark == "open":
        return replace(run, current=record.step, since=None) if record.step in names else run
    if record.goto in names or record.goto == END:
        return replace(run, current=record.goto, since=record.at)
    if run.current != record.step:
        return run
    place = names.index(record.step) + 1 if record.step in names else 0
    return replace(run, current=_first_open(run, names[place:] + names[:place]), since=record.at)


def _learned(world: Reader, run: Run, step: str, seconds: float) -> Patch:
    sha256 = next((sha for name, sha in run.steps if name == step), "")
    key = times_key(run.runbook, step)
    known: StepTimes | None = world.get("step_times", key)
    before = known.seconds if known is not None and known.sha256 == sha256 else ()
    return [("step_times", key, StepTimes(sha256, (*before, seconds)[-TIMES_KEPT:]))]


def times_key(runbook: str, step: str) -> str:
    """Where the times of a step are kept."""
    return f"{runbook}/{step}"


# --- blocks --------------------------------------------------------------------------------------------------------


def _block_started(world: Reader, record: r.BlockStarted) -> Patch:
    result = BlockResult(record.step, record.block, BlockState.STARTED, record.at, who=record.who, role=record.role)
    return _changed(world, record, lambda run: _with_block(run, result))


def _block_finished(world: Reader, record: r.BlockFinished) -> Patch:
    return _changed(world, record, lambda run: _with_block(run, record.result))


def _with_block(run: Run, result: BlockResult) -> Run:
    others = tuple(each for each in run.blocks if (each.step, each.block) != (result.step, result.block))
    return replace(run, blocks=(*others, result))


def _block_changed(world: Reader, record: Any, **changes: Any) -> Patch:
    def changed(run: Run) -> Run:
        before = run.block(record.step, record.block)
        return run if before is None else _with_block(run, replace(before, **changes))

    return _changed(world, record, changed)


def _block_spawned(world: Reader, record: r.BlockSpawned) -> Patch:
    return _block_changed(world, record, pid=record.pid, identity=record.identity)


def _cancel_asked(world: Reader, record: r.BlockCancelAsked) -> Patch:
    return _block_changed(world, record, cancelled_by=record.who)


def _block_decided(world: Reader, record: r.BlockDecided) -> Patch:
    return _block_changed(world, record, decision=record.decision, decided_by=record.who)


# --- the end -------------------------------------------------------------------------------------------------------


def _run_ended(world: Reader, record: r.RunEnded) -> Patch:
    """The run is closed; what it came to stays until the next one of the same runbook and component."""
    run: Run | None = world.get("runs", record.run)
    if run is None:
        return []
    blocks = tuple(replace(each, output="") for each in run.blocks)
    last = replace(run, ended_at=record.at, blocks=blocks)
    closed: Patch = [("runs", record.run, None), ("last_runs", f"{run.component}/{run.runbook}", last)]
    return [*closed, *practice.after_run(world, run, record.at)]


def _approved(_world: Reader, _record: r.RunbookApproved) -> Patch:
    """What is approved is known outside of the workspace, and from nowhere else."""
    return []


EVOLVE: dict[type, Callable[[Reader, Any], Patch]] = {
    r.RunStarted: _run_started,
    r.RunTaken: _run_taken,
    r.RunAccepted: _run_accepted,
    r.RunParameterSet: _parameter_set,
    r.RunTicked: _run_ticked,
    r.StepMarked: _step_marked,
    r.BlockStarted: _block_started,
    r.BlockSpawned: _block_spawned,
    r.BlockCancelAsked: _cancel_asked,
    r.BlockFinished: _block_finished,
    r.BlockDecided: _block_decided,
    r.RunEnded: _run_ended,
    r.RunbookApproved: _approved,
}
