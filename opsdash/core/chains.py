"""What of a runbook can be executed next in a run: what a block still needs, and which checks follow each other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opsdash.model.run import END, BlockRef, BlockState
from opsdash.model.runbook import Language, Role, used_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opsdash.model.run import Run
    from opsdash.model.runbook import Block, Runbook, Step


def missing(runbook: Runbook, run: Run | None, block: Block) -> tuple[str, ...]:
    """Names of the parameters that a block uses and that have no value yet. Secrets are never asked for."""
    used = used_names(block)
    declared = [param.name for param in runbook.params if param.secret is None and param.name in used]
    known = {each.name for each in run.params} if run is not None else set()
    return tuple(name for name in (*declared, *sorted(runbook.captures & used)) if name not in known)


def block_ref(runbook: Runbook, run: Run | None, step: Step, index: int, *, ends_step: bool = False) -> BlockRef:
    """A block as the core decides about it."""
    block = step.blocks[index]
    return BlockRef(
        step=step.id,
        block=index,
        role=block.role.value,
        text=block_text(block),
        danger=block.danger or (step.danger and block.role is not Role.CHECK),
        once=block.once,
        asks=missing(runbook, run, block),
        ends_step=ends_step,
    )


def block_text(block: Block) -> str:
    """What is going to be executed, for the journal."""
    where = f"on {block.host}: " if block.host else ""
    if block.language is Language.OPSDASH:
        return "; ".join(" ".join(command.argv) for command in block.commands)
    return where + block.code.strip()


def checks_of(runbook: Runbook, run: Run | None) -> tuple[BlockRef, ...]:
    """All checks of a runbook."""
    return tuple(
        block_ref(runbook, run, step, index)
        for step in runbook.steps
        for index, block in enumerate(step.blocks)
        if block.role is Role.CHECK
    )


def current_step(runbook: Runbook, run: Run | None) -> Step | None:
    """The step that is to be done now; None where there is none any more."""
    if run is not None and run.current == END:
        return None
    named = runbook.step(run.current) if run is not None and run.current else None
    if named is not None or run is None:
        return named or (runbook.steps[0] if runbook.steps else None)
    return next((step for step in runbook.steps if not run.mark(step.id)), None)


def chain(runbook: Runbook, run: Run) -> tuple[tuple[BlockRef, ...], str]:
    """The checks that come next, and why they stop there, in words."""
    first = current_step(runbook, run)
    refs: list[BlockRef] = []
    if first is None:
        return (), "no step is left"
    for step in _from(runbook, first):
        if run.mark(step.id) and step is not first:
            continue
        checks, stop = _checks_of_step(runbook, run, step)
        refs += checks
        if stop:
            return tuple(refs), stop
    return tuple(refs), "the runbook ends there"


def _from(runbook: Runbook, first: Step) -> Iterator[Step]:
    begun = False
    for step in runbook.steps:
        begun = begun or step is first
        if begun:
            yield step


def _checks_of_step(runbook: Runbook, run: Run, step: Step) -> tuple[list[BlockRef], str]:
    """The checks of a step that have not passed, and what a person has to do there ("": nothing, it ends with them)."""
    if step.danger:
        return [], f"“{step.title}” is marked as dangerous"
    own = [block for block in step.blocks if block.role is not Role.UNDO]
    ticks = {index for name, index in run.ticks if name == step.id}
    refs: list[BlockRef] = []
    for index, block in enumerate(step.blocks):
        if block.role is Role.UNDO:
            continue
        if block.role is not Role.CHECK:
            return refs, f"“{step.title}” has a block to {block.role.value}"
        before = run.block(step.id, index)
        if before is not None and before.state is BlockState.PASSED:
            continue
        lacking = missing(runbook, run, block)
        if lacking:
            return refs, f"“{step.title}” needs {', '.join(lacking)}"
        refs.append(block_ref(runbook, run, step, index, ends_step=block is own[-1]))
    if len(ticks) < len(step.ticks):
        return _open_ended(refs), f"“{step.title}” has something to tick"
    if not own or step.ticks or step.wait:
        return _open_ended(refs), f"“{step.title}” is for a person"
    return refs, "" if refs and refs[-1].ends_step else f"“{step.title}” waits for its mark"


def _open_ended(refs: list[BlockRef]) -> list[BlockRef]:
    return [replace(ref, ends_step=False) for ref in refs]
