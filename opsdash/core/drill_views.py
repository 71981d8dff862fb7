"""Drills as clients see them: the list, one with its run, a plan, what was left behind.

What only files outside of the world can tell comes as arguments: what undoes a fault by hand, a runbook's hash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core import drill_evidence, drill_marks, drill_plans, drill_schedule, drill_verdicts
from opsdash.core.drill_samples import missing
from opsdash.core.practice import of_component
from opsdash.core.switch_views import guard_view, refused_view
from opsdash.model.drill import PROVES
from opsdash.model.switch import GuardResult, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opsdash.core.draft import Draft
    from opsdash.model.drill import Drill, DrillDue, DrillPast, DrillRun, FaultLeft, Lever
    from opsdash.model.views import (
        DrillLine,
        DrillPlanView,
        DrillRunView,
        DrillSummary,
        DrillsView,
        DrillView,
        ExpectationView,
        FaultView,
        LeverView,
    )
    from opsdash.model.world import DrillLive

    ByHand = Callable[[Drill], list[str]]

TITLES: dict[str, str] = {
    "detect": "detected",
    "acknowledge": "acknowledged",
    "recover": "service verified",
    "mode": "the degraded mode serves",
    "alarm": "a message was delivered",
    "runbook": "the runbook was gone through",
    "load": "the load was carried",
}
"""What an expectation is called on a screen."""


class DrillViewer:
    """Drills of one state of world and live.

    by_hand: what undoes a drill's faults by hand.  left: what guards have left on the disk, by run: what undoes it by
    hand, and whether a guard is at work on it.  runbooks: the hashes of runbooks, by id.
    alone: no engine is at work, which would undo what the run that is open has broken.
    """

    def __init__(
        self,
        draft: Draft,
        by_hand: ByHand,
        left: Mapping[str, tuple[tuple[str, ...], bool]],
        runbooks: Mapping[str, str],
        *,
        alone: bool = False,
    ) -> None:
        self._draft = draft
        self._by_hand = by_hand
        self._left = left
        self._runbooks = runbooks
        self._alone = alone

    # --- all of them -----------------------------------------------------------------------------------------------

    def summary(self) -> DrillSummary:
        """What a snapshot says of drills."""
        run = drill_marks.open_run(self._draft)
        wall = self._draft.now.wall
        return {
            "running": "" if run is None else run.id,
            "drill": "" if run is None else run.drill.id,
            "component": "" if run is None else run.component,
            "state": "" if run is None else run.state.value,
            "until": None if run is None else _until(run),
            "marked": sorted(drill_marks.marked(self._draft)),
            "faults": self.faults(),
            "halted": self._draft.get("lever", "lever") is not None,
            "overdue": sum(is_overdue(self._draft, each, wall) for each in self._draft.operation.drills.values()),
        }

    def drills(self) -> DrillsView:
        """All drills, overdue ones first."""
        run, wall = drill_marks.open_run(self._draft), self._draft.now.wall
        return {
            "drills": [self.line(each) for each in drill_schedule.in_order(self._draft, wall)],
            "running": "" if run is None else run.id,
            "faults": self.faults(),
            "lever": self.lever(),
            "at": wall,
        }

    def lever(self) -> LeverView | None:
        """The lever, if it is engaged."""
        lever: Lever | None = self._draft.get("lever", "lever")
        return None if lever is None else {"at": lever.at, "who": lever.who, "reason": lever.reason}

    def faults(self) -> list[FaultView]:
        """What may still be in place, the oldest first."""
        draft = self._draft
        left = [draft.get("drill_faults", key) for key in draft.keys("drill_faults")]
        found: list[FaultLeft] = left if self._alone else drill_marks.red(draft)
        return [self._fault(each) for each in sorted(found, key=lambda each: each.since)]

    def _fault(self, left: FaultLeft) -> FaultView:
        by_hand, guarded = self._left.get(left.run, ((), False))
        drill = self._definition(left)
        return {
            "run": left.run,
            "drill": left.drill,
            "component": left.component,
            "since": left.since,
            "detail": left.detail or "nobody has verified that it is gone",
            "by_hand": list(by_hand) or ([] if drill is None else self._by_hand(drill)),
            "guarded": guarded,
        }

    def _definition(self, left: FaultLeft) -> Drill | None:
        run: DrillRun | None = self._draft.get("drills", left.run)
        return run.drill if run is not None else self._draft.operation.drills.get(left.drill)

    # --- one of them -----------------------------------------------------------------------------------------------

    def drill(self, name: str) -> DrillView | None:
        """A drill by its id, or by that of a run which is still known; None if there is no such thing."""
        run: DrillRun | None = self._draft.get("drills", name)
        drill = self._draft.operation.drills.get(name if run is None else run.drill.id)
        if drill is None and run is None:
            return None
        if run is None and drill is not None:
            run = drill_marks.latest_run(self._draft, drill.id)
        shown = drill if drill is not None or run is None else run.drill
        assert shown is not None  # noqa: S101 - one of both was found
        left = next((each for each in self.faults() if each["drill"] == shown.id), None)
        return {
            "line": self.line(shown),
            "run": None if run is None else self.run(run),
            "fault": left,
            "absent": list(shown.absent),
            "steady": list(shown.steady),
            "unaffected": list(shown.expect.unaffected),
            "limit": shown.limit,
            "windows": [] if shown.schedule is None else list(shown.schedule.windows),
            "runbook": shown.runbook,
        }

    def line(self, drill: Drill) -> DrillLine:
        """One drill in the list."""
        draft, wall = self._draft, self._draft.now.wall
        past: DrillPast | None = drill_evidence.latest(draft, drill.id)
        known: DrillDue | None = draft.get("drill_dues", drill.id)
        waiting = known if known is not None and not known.claimed else None
        proved = None if past is None else past.proved
        run = drill_marks.open_run(draft)
        return {
            "id": drill.id,
            "title": drill.title,
            "component": drill.component,
            "failure_mode": drill.failure_mode,
            "level": drill.level.value,
            "owner": drill.owner,
            "driver": self._driver(drill),
            "due": None if waiting is None else waiting.due,
            "overdue": is_overdue(draft, drill, wall),
            "surprise": drill.surprise is not None,
            "missed": "" if known is None else known.missed,
            "standing": drill_evidence.standing(draft, drill, wall, self._runbooks.get(drill.runbook or "", "")),
            "proved_at": None if proved is None else proved.at,
            "void_at": None if proved is None else drill_evidence.void_at(proved),
            "verdict": None if past is None else past.latest.verdict.value,
            "verdict_at": None if past is None else past.latest.at,
            "verdict_run": "" if past is None else past.latest.run,
            "running": run.id if run is not None and run.drill.id == drill.id else "",
            "off": drill.off,
            "file": drill.file,
        }

    def _driver(self, drill: Drill) -> str | None:
        draft, wall = self._draft, self._draft.now.wall
        latest: dict[str, float] = {}
        for deed in of_component(draft, drill.component, wall):
            latest[deed.person] = max(deed.at, latest.get(deed.person, 0.0))
        return drill_schedule.driver(draft, drill, latest.get, wall)

    # --- a run -----------------------------------------------------------------------------------------------------

    def run(self, run: DrillRun) -> DrillRunView:
        """One run, open or ended."""
        draft, drill = self._draft, run.drill
        live: DrillLive | None = draft.live("drills", run.id) if run.is_open else None
        counted = (run.samples, run.missing)
        if live is not None:
            counted = (sum(live.samples.values()), missing(draft, run, live))
        times = {name: getattr(run.times, name) for name in drill_evidence.TIMES}
        wanted = drill.expect.load
        ended = run.started_at if run.ended_at is None else run.ended_at
        return {
            "id": run.id,
            "drill": drill.id,
            "title": drill.title,
            "component": run.component,
            "level": drill.level.value,
            "state": run.state.value,
            "live": run.is_open,
            "who": run.who,
            "approved_by": run.approved_by,
            "cause": run.cause,
            "reason": run.reason,
            "overrides": list(run.overrides),
            "started_at": run.started_at,
            "ended_at": run.ended_at,
            "steps": [{"at": at, "state": state} for at, state in run.history],
            "times": {name: at for name, at in times.items() if at is not None},
            "measured": drill_evidence.measured(run),
            "expectations": _expectations(run),
            "unaffected": list(drill.expect.unaffected),
            "affected": list(run.affected),
            "samples": counted[0],
            "missing": counted[1],
            "load": run.load[0],
            "load_failed": run.load[1],
            "load_wanted": 0 if wanted is None else wanted.times,
            "faulty": run.faulty,
            "until": _until(run),
            "undone": run.undone,
            "undo_by": run.undo_by,
            "by_hand": self._by_hand(drill),
            "waits": "" if live is None else live.refused,
            "stopped": run.stopped,
            "incident": run.incident,
            "switches": list(run.switches),
            "runbook": drill.runbook,
            "runbook_run": run.runbook_run,
            "verdict": None if run.verdict is None else run.verdict.value,
            "why": list(run.why),
            "note": run.note,
            "valid_until": ended + drill.valid_for if run.verdict in PROVES else None,
        }

    # --- a plan ----------------------------------------------------------------------------------------------------

    def plan(self, drill_id: str, who: str) -> DrillPlanView:
        """What a drill would do now, for that person."""
        plan = drill_plans.plan(self._draft, drill_id, who)
        if isinstance(plan, Refused):
            return _no_plan(drill_id, plan)
        drill = plan.drill
        known: DrillDue | None = self._draft.get("drill_dues", drill.id)
        waiting = known if known is not None and not known.claimed else None
        failed = [guard for guard in plan.guards if guard.result is GuardResult.FAIL]
        overridable = any(guard.overridable for guard in failed)
        return {
            "drill": drill.id,
            "title": drill.title,
            "component": drill.component,
            "level": drill.level.value,
            "latest": plan.latest,
            "due": None if waiting is None or waiting.due > self._draft.now.wall else waiting.due,
            "steps": list(plan.steps),
            "undo": list(plan.undo),
            "by_hand": self._by_hand(drill),
            "expects": list(plan.expects),
            "touches": list(plan.touches),
            "limit": drill.limit,
            "guards": [guard_view(guard) for guard in plan.guards],
            "failed": [guard.rule for guard in failed],
            "warnings": [guard.rule for guard in plan.guards if guard.result is GuardResult.WARN],
            "needs": "typed" if plan.typed or overridable else "y",
            "refused": None,
        }


def _no_plan(drill_id: str, refused: Refused) -> DrillPlanView:
    return {
        "drill": drill_id, "title": drill_id, "component": "", "level": "", "latest": "", "due": None, "steps": [],
        "undo": [], "by_hand": [], "expects": [], "touches": [], "limit": 0.0, "guards": [], "failed": [],
        "warnings": [], "needs": "y", "refused": refused_view(refused),
    }  # fmt: skip


def is_overdue(draft: Draft, drill: Drill, wall: float) -> bool:
    """Whether a drill's date has passed for a day and nobody has begun it; a surprise may still begin by itself."""
    known: DrillDue | None = draft.get("drill_dues", drill.id)
    if known is None or known.claimed or known.starts is not None or drill.off:
        return False
    return known.overdue or wall >= known.due + drill_schedule.OVERDUE_AFTER + (drill.surprise or 0.0)


def _until(run: DrillRun) -> float | None:
    """When what a run has broken is undone at the latest."""
    broken = run.faulty and run.undone is None and run.is_open
    return None if not broken or run.times.injected is None else run.times.injected + run.drill.limit


def _expectations(run: DrillRun) -> list[ExpectationView]:
    found: list[ExpectationView] = []
    for name, each in drill_verdicts.EXPECTATIONS.items():
        if not each.wanted(run):
            continue
        came, took, allowed = each.came(run), each.took(run), each.allowed(run)
        in_time = took is None or allowed is None or took <= allowed
        holds = "true" if came and in_time else "false" if came or not run.is_open else "waiting"
        if name == "load" and run.is_open and run.load_at is None:
            holds = "waiting"
        found.append({"name": name, "title": TITLES[name], "took": took, "allowed": allowed, "holds": holds})
    return found
