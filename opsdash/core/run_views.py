"""A run as it is listed, and as it is kept when it has ended: which steps were done, skipped or failed, and when."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from opsdash.model.run import BlockState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opsdash.model.run import Run
    from opsdash.model.views import RunLine

COUNTED = ("done", "failed", "skipped")


def run_document(run: Run) -> dict[str, Any]:
    """All that a report asks of a run; what blocks have said is left to the journal. Times: seconds since 1970 UTC."""
    names = [step for step, _ in run.steps] or [mark.step for mark in run.marks]
    return {
        "id": run.id,
        "runbook": run.runbook,
        "component": run.component,
        "sha256": run.sha256,
        "mode": run.mode.value,
        "incident": run.incident,
        "who": run.who,
        "drivers": list(run.drivers or (run.who,)),
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "steps": [_step(name, run) for name in names],
        "blocks": [
            {
                "step": block.step,
                "block": block.block,
                "role": block.role,
                "state": block.state.value,
                "decision": block.decision.value if block.decision else None,
                "who": block.who,
                "started_at": block.started_at,
                "finished_at": block.finished_at,
                "detail": block.detail,
            }
            for block in run.blocks
        ],
        "params": {each.name: each.value for each in run.params},
        **_counts(run, len(names)),
    }


def _step(name: str, run: Run) -> dict[str, Any]:
    mark = next((each for each in run.marks if each.step == name), None)
    return {
        "id": name,
        "title": run.title(name),
        "mark": mark.mark if mark else "",
        "at": mark.at if mark else None,
        "who": mark.who if mark else None,
        "seconds": mark.seconds if mark else None,
    }


def _counts(run: Run, steps: int) -> dict[str, int]:
    found = Counter(mark.mark for mark in run.marks)
    return {**{mark: found[mark] for mark in COUNTED}, "open": max(0, steps - sum(found.values()))}


def run_line(run: Run, title: str) -> RunLine:
    """A run in a list."""
    counts = _counts(run, len(run.steps) or len(run.marks))
    return {
        "id": run.id,
        "runbook": run.runbook,
        "title": title,
        "component": run.component,
        "mode": run.mode.value,
        "incident": run.incident,
        "who": run.who,
        "driver": run.driven_by,
        "active_at": run.active_at or run.started_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "done": counts["done"],
        "failed": counts["failed"],
        "skipped": counts["skipped"],
        "open": counts["open"],
        "running": sum(block.state is BlockState.STARTED for block in run.blocks),
        "in_doubt": len(run.in_doubt),
    }


def line_of_document(document: Mapping[str, Any], title: str) -> RunLine:
    """The same of a run that has ended, as it is kept."""
    drivers = document["drivers"]
    return {
        "id": document["id"],
        "runbook": document["runbook"],
        "title": title,
        "component": document["component"],
        "mode": document["mode"],
        "incident": document["incident"],
        "who": document["who"],
        "driver": drivers[-1] if drivers else document["who"],
        "active_at": document["ended_at"] or document["started_at"],
        "started_at": document["started_at"],
        "ended_at": document["ended_at"],
        "done": document["done"],
        "failed": document["failed"],
        "skipped": document["skipped"],
        "open": document["open"],
        "running": 0,
        "in_doubt": sum(
            block["state"] == BlockState.UNKNOWN.value and block["decision"] is None and block["role"] != "check"
            for block in document["blocks"]
        ),
    }
