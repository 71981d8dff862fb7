"""Following a runbook: steps are ticked and marked, blocks are executed, and all of it is recorded.

A block that was started and not finished is unknown: after the engine's death nobody can say what it did. It is never
repeated by itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opsdash.core import incidents
from opsdash.model.effects import RunBlock
from opsdash.model.incident import EntryKind
from opsdash.model.records import BlockFinished, BlockStarted, RunEnded, RunStarted, RunTicked, StepMarked
from opsdash.model.run import BlockState, Run
from opsdash.model.switch import Refused

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.inputs import (
        BlockDone,
        EndRunIntent,
        MarkStepIntent,
        OpenRunIntent,
        RunBlockIntent,
        TickIntent,
    )

MARKS = ("done", "failed", "skipped", "open")
MARK_WORDS = {"done": "done", "failed": "did not work", "skipped": "skipped", "open": "open again"}


def open_run(draft: Draft, who: str, intent: OpenRunIntent) -> str:
    """Begin a run, or go on with the one that is open for this runbook and component. Returns its id."""
    present = open_run_of(draft, intent.runbook, intent.component)
    if present is not None:
        return present.id
    run = f"RUN-{draft.life().runs + 1}"
    incident = draft.state(intent.component).incident
    draft.emit(RunStarted(draft.now.wall, run, intent.runbook, intent.component, intent.sha256, who, incident))
    incidents.note(draft, intent.component, EntryKind.RUNBOOK, f"opened runbook {intent.runbook}", who)
    draft.touch(intent.component)
    return run


def open_run_of(draft: Draft, runbook: str, component: str) -> Run | None:
    """The open run of a runbook for a component."""
    runs = (draft.get("runs", key) for key in draft.keys("runs"))
    return next((run for run in runs if (run.runbook, run.component) == (runbook, component)), None)


def _find(draft: Draft, run: str) -> Run | Refused:
    found: Run | None = draft.get("runs", run)
    return found or Refused("unknown_run", f"there is no open run {run!r}; open the runbook again")


def tick(draft: Draft, who: str, intent: TickIntent) -> Refused | None:
    """Set or take back a tick."""
    run = _find(draft, intent.run)
    if isinstance(run, Refused):
        return run
    draft.emit(RunTicked(draft.now.wall, run.id, intent.step, intent.tick, intent.done, who))
    draft.touch(run.component)
    return None


def mark(draft: Draft, who: str, intent: MarkStepIntent) -> Refused | None:
    """Call a step done, failed or skipped."""
    run = _find(draft, intent.run)
    if isinstance(run, Refused):
        return run
    if intent.mark not in MARKS:
        return Refused("mark", f"a step is {', '.join(MARKS)}; not {intent.mark!r}")
    draft.emit(StepMarked(draft.now.wall, run.id, intent.step, intent.mark, who))
    text = f"{run.runbook}, step {intent.step}: {MARK_WORDS[intent.mark]}"
    incidents.note(draft, run.component, EntryKind.RUNBOOK, text, who)
    draft.touch(run.component)
    return None


def run_block(draft: Draft, who: str, intent: RunBlockIntent) -> Refused | None:
    """Execute a block, unless it is running already."""
    run = _find(draft, intent.run)
    if isinstance(run, Refused):
        return run
    present = next((b for b in run.blocks if (b.step, b.block) == (intent.step, intent.block)), None)
    if present is not None and present.state is BlockState.STARTED:
        return Refused("running", f"it has been running since {present.who} started it")
    draft.emit(BlockStarted(draft.now.wall, run.id, intent.step, intent.block, intent.text, who))
    draft.effect(RunBlock(run.id, run.runbook, run.component, intent.step, intent.block, who))
    draft.touch(run.component)
    return None


def block_done(draft: Draft, event: BlockDone) -> None:
    """A block has ended."""
    run = _find(draft, event.run)
    if isinstance(run, Refused):
        return
    result = event.result
    started = next((b for b in run.blocks if (b.step, b.block) == (result.step, result.block)), None)
    if started is not None:
        result = replace(result, started_at=started.started_at, who=started.who)
    draft.emit(BlockFinished(draft.now.wall, run.id, replace(result, finished_at=draft.now.wall)))
    text = f"{run.runbook}, step {result.step}: {result.state.value}" + (f" ({result.detail})" if result.detail else "")
    incidents.note(draft, run.component, EntryKind.RUNBOOK, text, result.who or "opsdash")
    draft.touch(run.component)


def end_run(draft: Draft, who: str, intent: EndRunIntent) -> Refused | None:
    """Close a run."""
    run = _find(draft, intent.run)
    if isinstance(run, Refused):
        return run
    draft.emit(RunEnded(draft.now.wall, run.id, who))
    incidents.note(draft, run.component, EntryKind.RUNBOOK, f"closed runbook {run.runbook}", who)
    draft.touch(run.component)
    return None


def recover(draft: Draft) -> None:
    """Blocks that were running when the engine died are unknown."""
    for key in draft.keys("runs"):
        run: Run = draft.get("runs", key)
        for block in run.blocks:
            if block.state is BlockState.STARTED:
                detail = "the engine ended while it was running; check by hand what it did"
                result = replace(block, state=BlockState.UNKNOWN, finished_at=draft.now.wall, detail=detail)
                draft.emit(BlockFinished(draft.now.wall, run.id, result))
