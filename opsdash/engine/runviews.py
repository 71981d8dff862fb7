"""A runbook with its run, for a client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opsdash.model.run import BlockResult, Run
    from opsdash.model.runbook import Block, Runbook, Step
    from opsdash.model.views import BlockView, RunbookLine, RunView, StepView


def run_view(runbook: Runbook, run: Run | None, component: str, findings: Iterable[str]) -> RunView:
    """The runbook, step by step, with what has been done in `run`."""
    blocks = {(block.step, block.block): block for block in run.blocks} if run else {}
    marks = {mark.step: mark.mark for mark in run.marks} if run else {}
    ticks = set(run.ticks) if run else set()
    return {
        "id": run.id if run else "",
        "runbook": runbook.id,
        "title": runbook.title,
        "component": component or runbook.component or "",
        "owner": runbook.owner,
        "executable": runbook.executable,
        "changed": run is not None and run.sha256 != runbook.sha256,
        "findings": list(findings),
        "steps": [_step(step, marks.get(step.id, ""), ticks, blocks) for step in runbook.steps],
        "text": runbook.text,
        "who": run.who if run else "",
        "started_at": run.started_at if run else None,
        "ended_at": run.ended_at if run else None,
    }


def _step(
    step: Step, mark: str, ticks: set[tuple[str, int]], blocks: Mapping[tuple[str, int], BlockResult]
) -> StepView:
    return {
        "id": step.id,
        "title": step.title,
        "text": step.text,
        "ticks": [(tick.text, (step.id, index) in ticks) for index, tick in enumerate(step.ticks)],
        "blocks": [_block(block, index, blocks.get((step.id, index))) for index, block in enumerate(step.blocks)],
        "expect": step.expect or "",
        "time": format_duration(step.time) if step.time is not None else "",
        "who": step.who or "",
        "if_fails": step.if_fails,
        "danger": step.danger,
        "mark": mark,
    }


def _block(block: Block, index: int, result: BlockResult | None) -> BlockView:
    return {
        "index": index,
        "role": block.role.value,
        "language": block.language.value,
        "code": block.code,
        "danger": block.danger,
        "state": result.state.value if result else "",
        "detail": result.detail if result else "",
        "output": result.output if result else "",
        "at": (result.finished_at or result.started_at) if result else None,
    }


def runbook_line(runbook: Runbook, findings: int) -> RunbookLine:
    """A runbook in a list."""
    return {
        "id": runbook.id,
        "title": runbook.title,
        "component": runbook.component,
        "failures": list(runbook.failure_modes),
        "owner": runbook.owner,
        "reviewed": runbook.reviewed.isoformat() if runbook.reviewed else None,
        "executable": runbook.executable,
        "findings": findings,
    }
