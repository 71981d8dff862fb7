"""Blocks of a run: begun on a person's word, recorded before they do anything, and never repeated by themselves.

A block that was started and not finished is unknown: after the engine's death nobody can say what it did. The checks
of its step are executed when the run is opened again; then a person decides whether it is done, to be repeated, or to
be left out. Until then it cannot be begun again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opsdash.core import incidents, runs
from opsdash.core.reader import OPSDASH
from opsdash.model.effects import CancelBlock, ReleaseBlock, RunBlock
from opsdash.model.incident import EntryKind
from opsdash.model.records import (
    BlockCancelAsked,
    BlockDecided,
    BlockFinished,
    BlockSpawned,
    BlockStarted,
    RunParameterSet,
    StepMarked,
)
from opsdash.model.run import BlockRef, BlockState, Decision, RunMode
from opsdash.model.switch import Refused
from opsdash.model.world import RunLive

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.inputs import (
        BlockDone,
        BlockUp,
        CancelBlockIntent,
        DecideBlockIntent,
        OpenRunIntent,
        RunBlockIntent,
        RunChecksIntent,
    )
    from opsdash.model.run import BlockResult, Run

CHANGES = frozenset({"run", "undo", ""})
"""Roles of blocks that are meant to change something; of an old record it is not known."""

ROUTINE = f": {BlockState.PASSED.value}"
"""How a line ends that says of a block no more than the mark of its step does."""

DIED = "the engine ended while it was running; check by hand what it did"


def open_run(draft: Draft, who: str, intent: OpenRunIntent) -> str:
    """Begin a run, or go on with the one that is open: first of all with what is in doubt there. Returns its id."""
    present = runs.open_run_of(draft, intent.runbook, intent.component, intent.mode)
    if present is None:
        return runs.begin(draft, who, intent)
    run = runs.driven(draft, who, present.id)
    if not isinstance(run, Refused):
        for check in intent.checks:
            if _is_wanted(run, check):
                _start(draft, run, check, who)
    return present.id


def _is_wanted(run: Run, check: BlockRef) -> bool:
    """Whether a check would tell something about a block that is in doubt, and has not been executed since."""
    doubts = [each.finished_at or each.started_at for each in run.in_doubt if each.step == check.step]
    before = run.block(check.step, check.block)
    if not doubts or check.asks:
        return False
    return before is None or (before.state is not BlockState.STARTED and before.started_at < max(doubts))


def run_block(draft: Draft, who: str, intent: RunBlockIntent) -> Refused | None:
    """Execute a block, unless something speaks against it."""
    run = runs.driven(draft, who, intent.run)
    if isinstance(run, Refused):
        return run
    ref = BlockRef(
        intent.step, intent.block, intent.role, intent.text, danger=intent.danger, once=intent.once, asks=intent.asks
    )
    refused = _hindrance(run, ref, intent.typed)
    if refused is None:
        draft.set_live("runs", run.id, None)
        _start(draft, run, ref, who)
    return refused


def _hindrance(run: Run, ref: BlockRef, typed: str) -> Refused | None:
    before = run.block(ref.step, ref.block)
    if run.mode is RunMode.REHEARSE and ref.role in CHANGES:
        return Refused("rehearsal", f"{run.id} is a rehearsal: what changes something is only shown")
    if before is not None and before.state is BlockState.STARTED:
        return Refused("running", f"it has been running since {before.who} started it")
    if before is not None and before.in_doubt and ref.role in CHANGES:
        return Refused("unknown", "it may have run: look first, then say whether it is done, to be repeated or skipped")
    again = ref.once and before is not None
    if (ref.danger or again) and typed != run.component:
        why = "it is meant to be run only once, and was run" if again else "this step is dangerous"
        return Refused("once" if again else "typed", f"{why}: the component's name has to be typed: {run.component}")
    if ref.asks:
        return Refused("parameter", f"it needs {', '.join(ref.asks)}, which nobody has given yet")
    return None


def _start(draft: Draft, run: Run, ref: BlockRef, who: str) -> None:
    draft.emit(BlockStarted(draft.now.wall, run.id, ref.step, ref.block, ref.text, who, ref.role))
    draft.effect(RunBlock(run.id, run.runbook, run.component, ref.step, ref.block, who))
    draft.touch(run.component)


def run_checks(draft: Draft, who: str, intent: RunChecksIntent) -> Refused | None:
    """Execute the coming checks, one after the other, up to the first that does not pass."""
    run = runs.driven(draft, who, intent.run)
    if isinstance(run, Refused):
        return run
    if not intent.chain:
        return Refused("automatic", f"no check comes next: {intent.stop}" if intent.stop else "no check comes next")
    refused = _hindrance(run, intent.chain[0], "")
    if refused is None:
        draft.set_live("runs", run.id, RunLive(intent.chain, who))
        _start(draft, run, intent.chain[0], who)
    return refused


def block_up(draft: Draft, event: BlockUp) -> None:
    """The program of a block is there. It begins when its number is on record, so that it can be found again."""
    run = runs.find(draft, event.run)
    started = None if isinstance(run, Refused) else run.block(event.step, event.block)
    if started is None or started.state is not BlockState.STARTED:
        return
    draft.emit(BlockSpawned(draft.now.wall, event.run, event.step, event.block, event.pid, event.identity))
    draft.effect(ReleaseBlock(event.run, event.step, event.block))


def block_done(draft: Draft, event: BlockDone) -> None:
    """A block has ended."""
    run = runs.find(draft, event.run)
    if isinstance(run, Refused):
        return
    result = event.result
    started = run.block(result.step, result.block)
    if started is not None:
        result = replace(
            result, started_at=started.started_at, who=started.who, role=started.role, pid=started.pid,
            identity=started.identity, cancelled_by=started.cancelled_by,
        )  # fmt: skip
    result = replace(result, finished_at=draft.now.wall)
    draft.emit(BlockFinished(draft.now.wall, run.id, result))
    if event.captured is not None and result.state is BlockState.PASSED:
        name, value = event.captured
        draft.emit(RunParameterSet(draft.now.wall, run.id, name, value, result.who, source="captured"))
    detail = f" ({result.detail})" if result.detail else ""
    text = f"{run.runbook}, {run.called(result.step)}: {result.state.value}{detail}"
    incidents.note(draft, run.component, EntryKind.RUNBOOK, text, result.who or OPSDASH)
    _go_on(draft, run, result)
    draft.touch(run.component)


def _go_on(draft: Draft, run: Run, result: BlockResult) -> None:
    """With the next check of a chain, if this one was of it and has passed."""
    live: RunLive | None = draft.live("runs", run.id)
    if live is None or (live.chain[0].step, live.chain[0].block) != (result.step, result.block):
        return
    done, rest = live.chain[0], live.chain[1:]
    passed = result.state is BlockState.PASSED
    if passed and done.ends_step and not run.mark(done.step):
        draft.emit(StepMarked(draft.now.wall, run.id, done.step, "done", live.who, automatic=True))
        text = f"{run.runbook}, {run.called(done.step)}: done, its checks passed"
        incidents.note(draft, run.component, EntryKind.RUNBOOK, text, live.who)
    draft.set_live("runs", run.id, RunLive(rest, live.who) if passed and rest else None)
    if passed and rest:
        _start(draft, run, rest[0], live.who)


def cancel(draft: Draft, who: str, intent: CancelBlockIntent) -> Refused | None:
    """End a block that runs."""
    run = runs.driven(draft, who, intent.run)
    if isinstance(run, Refused):
        return run
    block = run.block(intent.step, intent.block)
    if block is None or block.state is not BlockState.STARTED:
        return Refused("not_running", "this block is not running")
    draft.emit(BlockCancelAsked(draft.now.wall, run.id, block.step, block.block, who))
    draft.effect(CancelBlock(run.id, block.step, block.block, who))
    draft.touch(run.component)
    return None


def decide(draft: Draft, who: str, intent: DecideBlockIntent) -> Refused | None:
    """Say what is to be taken for true of a block that is in doubt."""
    run = runs.driven(draft, who, intent.run)
    if isinstance(run, Refused):
        return run
    block = run.block(intent.step, intent.block)
    if block is None or not block.in_doubt:
        return Refused("decided", "there is nothing to decide about this block")
    draft.emit(BlockDecided(draft.now.wall, run.id, block.step, block.block, intent.decision, who))
    words = {Decision.DONE: "is done", Decision.REPEAT: "is to be repeated", Decision.SKIP: "is left out"}
    text = f"{run.runbook}, {run.called(block.step)}: the block that was cut short {words[intent.decision]}"
    incidents.note(draft, run.component, EntryKind.RUNBOOK, text, who)
    draft.touch(run.component)
    return None


def recover(draft: Draft) -> None:
    """Blocks that were running when the engine died are unknown."""
    for key in draft.keys("runs"):
        run: Run = draft.get("runs", key)
        for block in run.blocks:
            if block.state is BlockState.STARTED:
                result = replace(block, state=BlockState.UNKNOWN, finished_at=draft.now.wall, detail=DIED)
                draft.emit(BlockFinished(draft.now.wall, run.id, result))
                text = "cut short, the engine ended while a block of it was running"
                text = f"{run.runbook}, {run.called(block.step)}: {text}"
                incidents.note(draft, run.component, EntryKind.RUNBOOK, text)
