"""What clients are told of drills, as plain JSON."""

from __future__ import annotations

import json
from typing import Any

from opsdash.core.drill_views import plan_view, rows, run_view, state_view
from opsdash.model import inputs as i
from opsdash.model.drill import Schedule
from opsdash.model.status import Status
from opsdash.testing_drills import Faults, drill
from tests.core.test_drill_runs import PRIMARY, D, begun, office, running
from tests.core.test_drill_schedule import told


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def test_a_plan_is_told_with_its_guards() -> None:
    timeline = office(drill())
    found = plan_view(timeline.drill_plan(D))
    assert plain(found) == found
    assert (found["component"], found["latest"], found["typed"]) == ("email", "", False)
    assert {"rule": "running", "title": "no other drill is running", "result": "pass",
            "evidence": "none is", "overridable": False} in found["guards"]  # fmt: skip


def test_a_run_tells_what_it_waits_for_and_how_long_it_may_last() -> None:
    timeline = running(drill())
    found = run_view(timeline.run(D), timeline.clock.wall)
    assert plain(found) == found
    assert (found["state"], found["awaited"], found["verdict"]) == ("running", ["detect", "recover"], None)
    assert 290.0 < found["left"] < 300.0
    timeline.until_ended(D)
    found = run_view(timeline.run(D), timeline.clock.wall)
    assert (found["state"], found["verdict"], found["left"], found["awaited"]) == ("ended", "passed", None, [])


def test_the_list_says_what_is_overdue_and_what_its_evidence_is_worth() -> None:
    timeline = office(drill(runbook="email-down", schedule=Schedule(every=90 * 86400.0)))
    told(timeline)
    assert [
        (each["drill"], each["overdue"], each["evidence"]) for each in rows(timeline.world, timeline.clock.wall)
    ] == [(D, True, "never")]
    timeline.begin(D, runbook_sha256="one")
    timeline.until_ended(D)
    told(timeline)
    (found,) = rows(timeline.world, timeline.clock.wall, {"email-down": "one"})
    assert (found["overdue"], found["evidence"], found["latest"]["verdict"]) == (False, "fresh", "passed")
    (found,) = rows(timeline.world, timeline.clock.wall, {"email-down": "two"})
    assert found["evidence"] == "changed"


def test_what_may_still_be_broken_and_the_lever_are_in_everybodys_face() -> None:
    timeline = begun(drill(), faults=Faults(breaks={PRIMARY: Status.DOWN}, undone=False, stuck=True))
    assert state_view(timeline.world, timeline.clock.wall)["running"]["run"] == "DRILL-1"
    timeline.until_ended(D)
    timeline.want(i.HaltDrillsIntent("so"))
    found = state_view(timeline.world, timeline.clock.wall)
    assert plain(found) == found
    assert (found["running"], [each["run"] for each in found["faults"]]) == (None, ["DRILL-1"])
    assert found["halted"]["reason"] == "so"
