"""Drills for clients: plans, runs, the list of all drills, and what may still be broken, as plain JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from opsdash.core import drill_evidence, drill_marks, drill_verdicts
from opsdash.core.drill_schedule import in_order
from opsdash.model.drill import DrillState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opsdash.model.drill import Drill, DrillDue, DrillPlan, DrillRun, Lever
    from opsdash.model.operation import Operation

LIMITED = frozenset({DrillState.INJECTING, DrillState.RUNNING})
"""States in which a run's limit counts."""


class Reader(Protocol):
    """What is needed of a world or draft."""

    operation: Operation

    def get(self, table: str, key: str) -> Any: ...

    def keys(self, table: str) -> list[str]: ...


def plan_view(plan: DrillPlan) -> dict[str, Any]:
    """A plan: what is done, what undoes it, what is expected, what may fail, and what speaks against it."""
    return {
        "component": plan.drill.component,
        "drill": plan.drill.id,
        "title": plan.drill.title,
        "level": plan.drill.level.value,
        "latest": plan.latest,
        "steps": list(plan.steps),
        "undo": list(plan.undo),
        "expects": list(plan.expects),
        "touches": list(plan.touches),
        "limit": plan.drill.limit,
        "typed": plan.typed,
        "guards": [
            {
                "rule": each.rule,
                "title": each.title,
                "result": each.result.value,
                "evidence": each.evidence,
                "overridable": each.overridable,
            }
            for each in plan.guards
        ],
    }


def run_view(run: DrillRun, wall: float) -> dict[str, Any]:
    """A run, open or ended. left: seconds until its limit, as far as the wall clock tells; None where none counts."""
    begun = run.times.injected
    left = None if begun is None or run.state not in LIMITED else max(0.0, begun + run.drill.limit - wall)
    return {
        "component": run.component,
        "run": run.id,
        "drill": run.drill.id,
        "title": run.drill.title,
        "level": run.drill.level.value,
        "state": run.state.value,
        "who": run.who,
        "approved_by": run.approved_by,
        "cause": run.cause,
        "due": run.due,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "left": left,
        "times": {name: getattr(run.times, name) for name in drill_evidence.TIMES},
        "measured": drill_evidence.measured(run),
        "awaited": drill_verdicts.awaited(run) if run.is_open else [],
        "incident": run.incident,
        "switches": list(run.switches),
        "affected": list(run.affected),
        "faulty": run.faulty,
        "undone": run.undone,
        "stopped": run.stopped,
        "verdict": None if run.verdict is None else run.verdict.value,
        "why": list(run.why),
        "history": [{"at": at, "state": state} for at, state in run.history],
    }


def rows(reader: Reader, wall: float, runbooks: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """All drills, what is overdue first. runbooks: sha256 of the runbooks' texts by id, where they are known."""
    return [_row(reader, drill, wall, runbooks or {}) for drill in in_order(reader, wall)]


def _row(reader: Reader, drill: Drill, wall: float, runbooks: Mapping[str, str]) -> dict[str, Any]:
    due: DrillDue | None = reader.get("drill_dues", drill.id)
    past = drill_evidence.latest(reader, drill.id)
    open_due = due is not None and not due.claimed
    return {
        "component": drill.component,
        "drill": drill.id,
        "title": drill.title,
        "level": drill.level.value,
        "owner": drill.owner,
        "off": drill.off,
        "due": None if due is None else due.due,
        "overdue": due is not None and open_due and due.due <= wall,
        "missed": "" if due is None else due.missed,
        "evidence": drill_evidence.standing(reader, drill, wall, runbooks.get(drill.runbook or "", "")),
        "latest": None
        if past is None
        else {"run": past.latest.run, "at": past.latest.at, "verdict": past.latest.verdict.value},
        "valid_until": None if past is None or past.proved is None else drill_evidence.void_at(past.proved),
    }


def state_view(reader: Reader, wall: float) -> dict[str, Any]:
    """What is in everybody's face: the open run, faults that may still be in place, and the lever."""
    run, lever = drill_marks.open_run(reader), _lever(reader)
    return {
        "running": None if run is None else run_view(run, wall),
        "faults": [
            {
                "component": each.component,
                "run": each.run,
                "drill": each.drill,
                "since": each.since,
                "detail": each.detail,
            }
            for each in drill_marks.red(reader)
        ],
        "halted": None if lever is None else {"at": lever.at, "who": lever.who, "reason": lever.reason},
    }


def _lever(reader: Reader) -> Lever | None:
    found: Lever | None = reader.get("lever", "lever")
    return found
