"""Drills as clients see them: what runs, what is due, what is broken, and what a plan says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core.drill_views import DrillViewer, is_overdue
from opsdash.model.drill import DrillDue, DrillRun, DrillState, FaultLeft, Lever
from opsdash.model.world import EngineState
from tests.core.ready import DAY, NOW, Stage, drill, past

if TYPE_CHECKING:
    from opsdash.model.drill import Drill


def by_hand(drill: Drill) -> list[str]:
    return [f"mend {drill.id}"]


def viewer(stage: Stage, left: dict[str, tuple[tuple[str, ...], bool]] | None = None) -> DrillViewer:
    return DrillViewer(stage.draft(), by_hand, left or {}, {})


def due(days_ago: float, **changes: object) -> Stage:
    return Stage(rows={("drill_dues", "shop-drill"): DrillDue(NOW - days_ago * DAY, **changes)})  # type: ignore[arg-type]


def test_a_drill_is_overdue_a_day_after_its_date_unless_somebody_has_begun_it() -> None:
    expected = (
        (due(2), True),
        (due(0.5), False),
        (due(2, claimed="DRILL-1"), False),
        (due(-1), False),
        (Stage(), False),
    )
    for stage, overdue in expected:
        assert viewer(stage).drills()["drills"][0]["overdue"] is overdue
        assert viewer(stage).summary()["overdue"] == int(overdue)


def test_a_surprise_that_may_still_begin_by_itself_is_not_overdue() -> None:
    stage = due(2, starts=NOW + DAY)
    assert not is_overdue(stage.draft(), drill(surprise=5 * DAY), NOW)


def test_what_a_drill_has_shown_is_in_its_line() -> None:
    line = viewer(Stage()).line(drill())
    assert (line["standing"], line["verdict"], line["verdict_run"]) == ("fresh", "passed", "DRILL-1")
    changed = viewer(Stage(rows={("drill_past", "shop-drill"): past(sha256="another")})).line(drill())
    assert changed["standing"] == "changed"


def test_a_fault_that_was_left_says_how_it_is_undone_by_hand() -> None:
    stage = Stage(rows={("drill_faults", "DRILL-7"): FaultLeft("DRILL-7", "shop-drill", "shop", NOW, "it hung")})
    (known,) = viewer(stage).faults()
    assert (known["by_hand"], known["guarded"], known["detail"]) == (["mend shop-drill"], False, "it hung")
    (written,) = viewer(stage, {"DRILL-7": (("plug it in",), True)}).summary()["faults"]
    assert (written["by_hand"], written["guarded"]) == (["plug it in"], True)


def test_what_the_open_run_has_broken_is_red_only_where_no_engine_is_there_to_undo_it() -> None:
    run = DrillRun("DRILL-7", drill(), DrillState.RUNNING, "maria", NOW, faulty=True)
    stage = Stage(
        rows={
            ("drill_faults", "DRILL-7"): FaultLeft("DRILL-7", "shop-drill", "shop", NOW),
            ("drills", "DRILL-7"): run,
            ("engine", "engine"): EngineState(drill="DRILL-7"),
        }
    )
    assert viewer(stage).faults() == []
    (known,) = DrillViewer(stage.draft(), by_hand, {}, {}, alone=True).faults()
    assert known["run"] == "DRILL-7"


def test_the_lever_is_in_everybodys_face() -> None:
    halted = viewer(Stage(rows={("lever", "lever"): Lever(NOW, "ken", "customers call")}))
    assert halted.summary()["halted"]
    assert halted.drills()["lever"] == {"at": NOW, "who": "ken", "reason": "customers call"}


def test_a_plan_of_a_drill_that_does_not_exist_says_which_there_are() -> None:
    plan = viewer(Stage()).plan("nobody", "maria")
    assert plan["refused"] is not None
    assert plan["refused"]["rule"] == "unknown_drill"
    assert "shop-drill" in plan["refused"]["reason"]


def test_nothing_is_known_of_a_run_of_nobody() -> None:
    assert viewer(Stage()).drill("DRILL-99") is None
    shown = viewer(Stage()).drill("shop-drill")
    assert shown is not None
    assert shown["run"] is None
