"""The engine is killed after each single record of a drill: the fault is undone, and nothing passes that nobody saw."""

from __future__ import annotations

import pytest

from opsdash.core import drill_marks
from opsdash.model.drill import Drill, Level, Responder, Verdict
from opsdash.model.effects import Inject
from opsdash.model.records import DrillEnded, DrillStarted, Record, SwitchAdvanced, SwitchIntended
from opsdash.model.status import Status
from opsdash.model.switch import SwitchState
from opsdash.testing import FakeClock, component, email, mail_outside, operation
from opsdash.testing_drills import DrillTimeline, Faults, drill, with_drills

PRIMARY = "email/postmark/api"


def played(each: Drill) -> DrillTimeline:
    """A drill from its beginning to its end."""
    parts = with_drills(operation(email(), component("crm", checks=["api"])), each)
    faults = Faults(breaks={PRIMARY: Status.DOWN})
    timeline = DrillTimeline(parts, outside=mail_outside(), faults=faults)
    timeline.live_on(15)
    timeline.begin(each.id)
    assert timeline.until_ended(each.id).verdict is Verdict.PASSED
    return timeline


STEADY = ("email/delivery", "crm/api")
DRILLS = {
    "contained": drill(steady=STEADY),
    "synthetic": drill(level=Level.SYNTHETIC, steady=STEADY),
    "switch": drill(level=Level.SWITCH, steady=STEADY, hold=10.0),
}
PLAYED = {name: played(each) for name, each in DRILLS.items()}


def boundaries(timeline: DrillTimeline) -> list[int]:
    first = next(n for n, record in enumerate(timeline.records) if isinstance(record, DrillStarted))
    last = next(n for n, record in enumerate(timeline.records) if isinstance(record, DrillEnded))
    return list(range(first + 1, last + 2))


CASES = [(name, after) for name, timeline in PLAYED.items() for after in boundaries(timeline)]


@pytest.mark.parametrize("guard_lives", [True, False])
@pytest.mark.parametrize(("name", "after"), CASES)
def test_a_drill_cut_short_at_any_record_is_undone_and_never_passes(
    name: str, after: int, *, guard_lives: bool
) -> None:
    whole = PLAYED[name]
    kept = whole.records[:after]
    over = any(isinstance(record, DrillEnded) for record in kept)
    told = DrillTimeline(whole.world.operation, outside=mail_outside(), replay=kept)
    known = told.world.get("drills", "DRILL-1")
    begun = known.faulty and known.undone is not True
    outside = mail_outside()
    outside.says["email/switch"] = said_by(kept)
    faults = Faults(breaks={PRIMARY: Status.DOWN})
    if begun:
        faults.armed.add("DRILL-1")
        faults.make("DRILL-1", outside)
    if guard_lives:
        faults.engine_died(outside)
    later = DrillTimeline(whole.world.operation, outside=outside, faults=faults, replay=kept, clock=_later(whole))
    assert later.wanted(Inject) == [], "a start breaks nothing"
    later.live_on(1)
    later.until_ended("email-drill")
    run = later.ended("email-drill")
    assert faults.in_place == set()
    assert drill_marks.red(later.world) == []
    assert later.wanted(Inject) == []
    if over:
        assert run.verdict is Verdict.PASSED
    else:
        assert run.verdict is Verdict.ABORTED, run.why
        assert "the engine ended" in run.why[0]
        assert later.state("email").active == "postmark"
    later.check_replay()


def said_by(records: list[Record]) -> str:
    """What the mechanism says after these records: what the latest switch whose action was carried out wanted."""
    said, switches = "pm-prod", {each.switch.id: each.switch for each in records if isinstance(each, SwitchIntended)}
    for record in records:
        if isinstance(record, SwitchAdvanced) and record.state is SwitchState.SETTLING:
            said = switches[record.switch].plan.wanted or said
    return said


def _later(timeline: DrillTimeline) -> FakeClock:
    clock = FakeClock(timeline.clock.wall, mono=timeline.clock.mono)
    clock.advance(5.0)
    return clock


def test_a_tabletop_goes_on_over_a_restart() -> None:
    each = drill(level=Level.TABLETOP, responder=Responder.PEOPLE)
    timeline = DrillTimeline(with_drills(operation(email()), each), outside=mail_outside())
    timeline.live_on(15)
    timeline.begin(each.id)
    later = timeline.crash()
    later.live_on(15)
    assert later.run(each.id).is_open
    assert later.run(each.id).stopped == ""


def test_a_fault_that_is_left_when_the_guard_died_with_the_engine_is_red_and_named() -> None:
    each = drill()
    faults = Faults(breaks={PRIMARY: Status.DOWN}, stuck=True, undone=False)
    timeline = DrillTimeline(with_drills(operation(email()), each), outside=mail_outside(), faults=faults)
    timeline.live_on(15)
    timeline.begin(each.id)
    timeline.live_on(2)
    later = timeline.crash()
    later.live_on(10)
    left = drill_marks.red(later.world)
    assert [(each.run, each.component) for each in left] == [("DRILL-1", "email")]
    again = later.crash()
    assert [each.run for each in drill_marks.red(again.world)] == ["DRILL-1"], "also the next engine knows"
    assert again.until_ended(each.id).verdict is Verdict.FAILED
