"""What speaks against beginning a drill: each rule stands in the way when it has to, and only then."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.core.drill_guards import RULES
from opsdash.core.evolve import evolve
from opsdash.model import inputs as i
from opsdash.model.drill import Expect, Level, Load, Responder, Schedule, Verdict
from opsdash.model.operation import Absence, Person
from opsdash.model.records import DrillApprovalAsked, DrillEnded, DrillStarted
from opsdash.model.status import Reason, Status
from opsdash.model.switch import GuardResult, Refused
from opsdash.model.window import Occurrence, WindowKind, WindowSpec
from opsdash.testing import Timeline, component, email, mail_outside, mail_switch, operation
from opsdash.testing_drills import DrillTimeline, Faults, drill, pretend, with_drills
from tests.core.test_drill_runs import CRM, PRIMARY, STANDBY, D, office, rule

if TYPE_CHECKING:
    from collections.abc import Callable

FREEZE = WindowSpec("sale", WindowKind.FREEZE, "Sale", start=0.0, until=1e12)
WORK = WindowSpec("work", WindowKind.MAINTENANCE, "Work hours", cron="0 9 * * *", length=28800.0)


def result(timeline: DrillTimeline, name: str, who: str = "maria") -> str:
    """What the guard of a rule says; "" where it says nothing."""
    plan = timeline.drill_plan(D, who)
    found = [each.result.value for each in plan.guards if each.rule == name]
    return found[0] if found else ""


def opened(timeline: Timeline, *names: str) -> None:
    now = timeline.clock.wall
    timeline.feed(i.WindowsOpen(tuple(Occurrence(name, now, now + 3600.0) for name in names)))


def paused(timeline: DrillTimeline) -> None:
    timeline.want(i.PauseIntent("email", 600.0))


def switching(timeline: DrillTimeline) -> None:
    timeline.confirm("email")


def on_the_backup(timeline: DrillTimeline) -> None:
    timeline.confirm("email")
    timeline.live_on(20)


def degraded(timeline: DrillTimeline) -> None:
    timeline.confirm("email", "degrade")
    timeline.live_on(20)


def backup_down(timeline: DrillTimeline) -> None:
    timeline.down(STANDBY, times=3)


IN_THE_WAY: dict[str, tuple[dict[str, Any], Callable[[DrillTimeline], object]]] = {
    "lever": ({}, lambda timeline: timeline.want(i.HaltDrillsIntent("so"))),
    "running": ({}, lambda timeline: timeline.begin(D)),
    "fault_left": ({}, lambda timeline: timeline.feed(i.FaultFound("DRILL-9", "old", "email", "by hand"))),
    "journal": ({}, lambda timeline: timeline.feed(i.JournalState("the disk is full"))),
    "incident": ({}, lambda timeline: timeline.down(CRM, times=3)),
    "polled": ({}, paused),
    "maintenance": ({}, lambda timeline: timeline.want(i.MaintenanceIntent("email", 600.0))),
    "switch": ({}, switching),
    "primary": ({}, on_the_backup),
    "backup": ({}, backup_down),
    "steady": ({"steady": (CRM,)}, lambda timeline: timeline.observe(CRM, Status.UNKNOWN, Reason.PROBE_ERROR)),
    "unaffected": (
        {"expect": Expect(unaffected=("crm",))},
        lambda timeline: timeline.want(i.PauseIntent("crm", 600.0)),
    ),
    "absent": ({"absent": ("maria",)}, lambda _timeline: None),
    "off": ({"off": "its injection has no undo"}, lambda _timeline: None),
}


@pytest.mark.parametrize("name", IN_THE_WAY)
def test_a_rule_stands_in_the_way_with_its_evidence(name: str) -> None:
    settings, happens = IN_THE_WAY[name]
    timeline = office(drill(**settings))
    happens(timeline)
    guards = {each.rule: each for each in timeline.drill_plan(D).guards}
    assert guards[name].result is GuardResult.FAIL
    assert guards[name].evidence
    assert guards[name].overridable is RULES[name].overridable
    before = len(timeline.of(DrillStarted))
    refused = timeline.begin(D)
    assert isinstance(refused, Refused)
    assert refused.rule in IN_THE_WAY
    assert len(timeline.of(DrillStarted)) == before


def test_nothing_stands_in_the_way_of_a_drill_when_all_is_well() -> None:
    timeline = office(drill(steady=(CRM,), expect=Expect(unaffected=("crm",))), anchors=1)
    plan = timeline.drill_plan(D)
    assert {each.result for each in plan.guards} <= {GuardResult.PASS, GuardResult.WARN}
    assert set(RULES) >= {each.rule for each in plan.guards}


def test_what_has_no_result_yet_is_no_witness_of_having_stayed_as_it_was() -> None:
    timeline = office(drill(expect=Expect(unaffected=("crm",))))
    assert result(timeline, "unaffected") == "pass"
    assert result(timeline.crash(), "unaffected") == "fail"


def test_offline_no_drill_begins() -> None:
    timeline = office(drill(), anchors=1)
    timeline.down("anchors/1", times=3)
    assert result(timeline, "online") == "fail"


def test_a_freeze_cannot_be_overridden_a_drill_can_wait() -> None:
    timeline = office(drill(), windows={"sale": FREEZE})
    opened(timeline, "sale")
    assert rule(timeline.begin(D, overrides=("freeze",), reason="so", typed="email")) == "freeze"


def test_outside_of_its_window_it_takes_a_reason_and_the_name() -> None:
    timeline = office(drill(schedule=Schedule(every=90 * 86400.0, windows=("work",))), windows={"work": WORK})
    refused = timeline.begin(D)
    assert isinstance(refused, Refused)
    assert (refused.rule, refused.override) == ("window", "--override window --reason TEXT")
    assert rule(timeline.begin(D, overrides=("window",))) == "reason"
    assert rule(timeline.begin(D, overrides=("window",), reason="so")) == "typed"
    assert timeline.begin(D, overrides=("window",), reason="so", typed="email") == "DRILL-1"
    assert timeline.run(D).overrides == ("window",)


def test_within_its_window_it_begins() -> None:
    timeline = office(drill(schedule=Schedule(every=90 * 86400.0, windows=("work",))), windows={"work": WORK})
    opened(timeline, "work")
    assert timeline.begin(D) == "DRILL-1"


def test_its_own_window_is_no_work_of_somebody_else_but_holds_the_alarm_that_is_expected() -> None:
    scheduled = drill(schedule=Schedule(every=90 * 86400.0, windows=("work",)), expect=Expect(alarm=True))
    timeline = office(scheduled, windows={"work": WORK})
    opened(timeline, "work")
    assert result(timeline, "maintenance") == "warn"
    timeline.want(i.MaintenanceIntent("email", 600.0))
    assert result(timeline, "maintenance") == "fail"


def test_a_clock_that_jumps_over_the_window_closes_it() -> None:
    timeline = office(drill(schedule=Schedule(every=90 * 86400.0, windows=("work",))), windows={"work": WORK})
    opened(timeline, "work")
    timeline.clock.jump(7200.0)
    assert result(timeline, "window") == "fail"


def test_what_the_calendar_says_of_a_span_of_its_own_counts_as_a_window() -> None:
    timeline = office(drill(schedule=Schedule(every=90 * 86400.0, windows=("Tue 10:00-15:00",))))
    assert result(timeline, "window") == "fail"
    timeline.feed(i.DrillDates((_date(timeline, 3600.0),)))
    assert result(timeline, "window") == "pass"


def _date(timeline: Timeline, left: float) -> Any:
    from opsdash.model.drill import DrillDate

    return DrillDate(D, timeline.clock.wall + 86400.0, timeline.clock.wall + left)


def test_a_real_drill_never_begins_outside_of_its_window_and_always_takes_the_name() -> None:
    scheduled = drill(level=Level.REAL, schedule=Schedule(every=90 * 86400.0, windows=("work",)))
    timeline = office(scheduled, windows={"work": WORK})
    assert rule(timeline.begin(D, overrides=("window",), reason="so", typed="email")) == "window"
    opened(timeline, "work")
    assert rule(timeline.begin(D)) == "typed"
    assert timeline.begin(D, typed="email") == "DRILL-1"


def test_a_note_about_another_component_is_no_incident() -> None:
    timeline = office(drill())
    timeline.down(CRM, times=3)
    incident = timeline.incident("crm")
    assert incident is not None
    timeline.want(i.ResolveIntent(incident.id))
    timeline.ok(CRM, times=3)
    assert result(timeline, "incident") == "pass"


def test_whoever_is_to_be_absent_may_not_begin_it_also_not_under_a_claimed_name() -> None:
    timeline = office(drill(absent=("dana",)))
    assert rule(timeline.begin(D, "dana")) == "absent"
    assert rule(timeline.begin(D, "dana (ops)")) == "absent"
    assert timeline.begin(D, "ken") == "DRILL-1"


def test_a_drill_that_waits_for_people_who_are_all_away_takes_a_reason() -> None:
    people = [Person("maria", "Maria"), Person("ken", "Ken", away=(Absence(None, None),))]
    timeline = office(
        drill(responder=Responder.PEOPLE, absent=("maria",)), mail=email(owners=("maria", "ken")), people=people
    )
    assert result(timeline, "present", "li") == "fail"
    timeline = office(drill(responder=Responder.PEOPLE), mail=email(owners=("maria", "ken")), people=people)
    assert result(timeline, "present", "li") == "pass"


def _passed(timeline: DrillTimeline, drill_id: str, verdict: Verdict = Verdict.PASSED, age: float = 0.0) -> None:
    """A drill was run a while ago."""
    known = timeline.world.operation.drills[drill_id]
    at = timeline.clock.wall - age
    run = replace(_template(), drill=known, verdict=verdict, ended_at=at, hashes={"component": "sha of email"})
    record = DrillEnded(at, run)
    timeline.records.append(record)
    timeline.world.apply(evolve(timeline.world, record))


def _template() -> Any:
    from opsdash.model.drill import DrillRun, DrillState

    return DrillRun("DRILL-0", drill(), DrillState.ENDED, "maria", 0.0)


def test_the_level_below_needs_fresh_evidence_or_a_reason() -> None:
    below = drill("email-pretended", level=Level.SYNTHETIC)
    timeline = office(drill(), below)
    assert rule(timeline.begin(D)) == "below"
    assert timeline.drill_plan(D).guards[-1].evidence == "email-pretended: never"
    _passed(timeline, below.id, age=101 * 86400.0)
    assert timeline.drill_plan(D).guards[-1].evidence == "email-pretended: old"
    _passed(timeline, below.id)
    assert timeline.begin(D) == "DRILL-1"


def test_a_level_below_that_failed_does_not_count() -> None:
    below = drill("email-pretended", level=Level.SYNTHETIC)
    timeline = office(drill(), below)
    _passed(timeline, below.id)
    _passed(timeline, below.id, Verdict.FAILED)
    _passed(timeline, below.id, Verdict.ABORTED)
    assert timeline.drill_plan(D).guards[-1].evidence == "email-pretended: failed"
    assert timeline.begin(D, overrides=("below",), reason="fixed by now", typed="email") == "DRILL-1"


def test_it_takes_as_many_people_as_its_file_says() -> None:
    timeline = office(drill(approvals=2))
    assert rule(timeline.begin(D, "maria")) == "approval"
    assert rule(timeline.begin(D, "maria")) == "approval", "the same person twice is one"
    assert len(timeline.of(DrillApprovalAsked)) == 1
    assert timeline.begin(D, "ken") == "DRILL-1"
    run = timeline.run(D)
    assert (run.who, run.approved_by) == ("maria", "ken")


def test_an_approval_runs_out() -> None:
    timeline = office(drill(approvals=2))
    timeline.begin(D, "maria")
    timeline.live_on(700)
    assert rule(timeline.begin(D, "ken")) == "approval"


def test_a_switch_that_takes_two_makes_the_drill_that_gives_it_take_two() -> None:
    timeline = office(drill(level=Level.SWITCH), mail=email(switch=mail_switch(approvals=2)))
    assert rule(timeline.begin(D, "maria")) == "approval"
    assert timeline.begin(D, "ken") == "DRILL-1"
    assert timeline.until_ended(D).verdict is Verdict.PASSED, "and both switches happen"


def test_an_unknown_drill_gets_the_names_that_there_are() -> None:
    timeline = office(drill())
    refused = timeline.begin("nothing")
    assert isinstance(refused, Refused)
    assert (refused.rule, D in refused.reason) == ("unknown_drill", True)


# --- the plan --------------------------------------------------------------------------------------------------------


def test_a_plan_says_what_is_done_what_undoes_it_and_what_is_expected() -> None:
    load = Load("http", {}, times=50, over=10.0)
    timeline = office(drill(hold=60.0, expect=Expect(detect=60.0, load=load, unaffected=("crm",), alarm=True)))
    plan = timeline.drill_plan(D)
    assert plan.steps[0].startswith("arm a guard")
    assert [each.partition(" ")[0] for each in plan.steps] == [
        "arm", "inject", "wait", "opsdash", "let", "hold", "undo", "opsdash",
    ]  # fmt: skip
    assert plan.undo == ("fault_proxy: by its own way back", f"verified by {PRIMARY}")
    assert plan.expects[0] == "detected within 1m"
    assert "not affected: crm" in plan.expects
    assert any("routing" in each for each in plan.touches)
    assert timeline.of(DrillStarted) == [], "looking changes nothing"


@pytest.mark.parametrize("level", Level)
def test_every_level_has_a_plan_in_words(level: Level) -> None:
    timeline = office(drill(level=level, runbook="email-down"))
    plan = timeline.drill_plan(D)
    assert plan.steps
    assert plan.touches
    assert (plan.touches == ("nothing",)) is (level is Level.TABLETOP)


def test_a_pretended_fault_says_that_no_user_notices() -> None:
    timeline = DrillTimeline(
        with_drills(
            operation(email(), component("crm", checks=["api"])),
            drill(level=Level.SYNTHETIC, injections=(pretend("email/postmark", "degraded"),)),
        ),
        outside=mail_outside(),
        faults=Faults(),
    )
    plan = timeline.drill_plan(D)
    assert "no user" in plan.touches[0]
    assert plan.steps[0] == "pretend of email/postmark that it is degraded"
