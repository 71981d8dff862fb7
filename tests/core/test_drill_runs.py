"""Drills from the key to the verdict: what is broken is undone, what really fails wins, nothing passes by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from opsdash.core import drill_marks
from opsdash.core.drill_going import RESTORE_BY_PEOPLE, RESTORE_WITHIN
from opsdash.core.drill_moves import UNDO_WITHIN
from opsdash.core.evolve import evolve
from opsdash.model import inputs as i
from opsdash.model.channel import Route
from opsdash.model.drill import Drill, DrillState, Expect, Level, Load, Responder, StopIf, Verdict
from opsdash.model.effects import ArmGuard, Inject, StartLoad, StopLoad, UndoFaults
from opsdash.model.incident import IncidentKind, IncidentState
from opsdash.model.message import Delivery
from opsdash.model.operation import Auto, Component, Response, ResponseKind, Tier
from opsdash.model.records import (
    DrillAdvanced,
    DrillEnded,
    DrillStarted,
    IncidentOpened,
    Proved,
    SwitchBlocked,
    SwitchIntended,
    WouldSwitch,
)
from opsdash.model.run import RunMode
from opsdash.model.status import Reason, Status
from opsdash.model.switch import Refused, SwitchCause, SwitchKind
from opsdash.testing import (
    Inbox,
    Outside,
    Timeline,
    alarming,
    component,
    email,
    failure,
    mail_outside,
    mail_switch,
    operation,
)
from opsdash.testing_drills import DrillTimeline, Faults, drill, pretend, with_drills

PRIMARY, STANDBY, FRONT, CRM = "email/postmark/api", "email/ses/api", "email/delivery", "crm/api"
D = "email-drill"
LOAD = Load("http", {"url": "https://mailer.internal/test"}, times=50, over=10.0, failures=1)


def office(
    *drills: Drill, faults: Faults | None = None, mail: Component | None = None, **settings: Any
) -> DrillTimeline:
    """Email and a CRM that has nothing to do with it, all well; a fault breaks the primary."""
    outside = settings.pop("outside", None) or mail_outside()
    parts = operation(mail or email(), component("crm", checks=["api"]), **settings)
    timeline = DrillTimeline(
        with_drills(parts, *drills),
        outside=outside,
        inbox=Inbox(),
        faults=faults or Faults(breaks={PRIMARY: Status.DOWN}),
    )
    timeline.live_on(15)
    return timeline


def begun(*drills: Drill, **settings: Any) -> DrillTimeline:
    """The same, with the first of the drills begun."""
    timeline = office(*drills, **settings)
    answer = timeline.begin(drills[0].id)
    assert answer == "DRILL-1"
    return timeline


def running(*drills: Drill, **settings: Any) -> DrillTimeline:
    timeline = begun(*drills, **settings)
    timeline.live_on(1)
    assert timeline.run(drills[0].id).state is DrillState.RUNNING
    return timeline


def outside_of(timeline: Timeline) -> Outside:
    assert timeline.outside is not None
    return timeline.outside


def red(timeline: Timeline) -> list[str]:
    return [each.run for each in drill_marks.red(timeline.world)]


def rule(answer: Refused | str) -> str:
    assert isinstance(answer, Refused), f"accepted: {answer!r}"
    return answer.rule


# --- the whole way ---------------------------------------------------------------------------------------------------


def test_a_fault_is_made_noticed_answered_undone_and_gone_back_from() -> None:
    timeline = begun(drill(steady=(FRONT, CRM)))
    run = timeline.until_ended(D)
    assert run.verdict is Verdict.PASSED
    assert timeline.faults.log == ["arm DRILL-1", "inject DRILL-1", "undo DRILL-1"]
    assert timeline.faults.in_place == set()
    times = run.times
    order = [times.injected, times.first_bad, times.opened, times.decided, times.switched, times.verified]
    order += [times.undone, times.restored]
    known = [at for at in order if at is not None]
    assert len(known) == len(order)
    assert known == sorted(known)
    assert (run.switches, run.target) == (("email-failover-1", "email-failback-2"), "ses")
    assert timeline.state("email").active == "postmark"
    assert [each.switch.cause for each in timeline.of(SwitchIntended)] == [SwitchCause.DRILL] * 2
    assert (run.samples > 0, run.missing, run.undone, run.undo_by) == (True, 0, True, "guard")
    assert timeline.of(Proved)[-1].by == "DRILL-1"
    assert red(timeline) == []
    timeline.check_replay()


def test_every_record_comes_before_its_step() -> None:
    timeline = office(drill())
    timeline.begin(D)
    assert [type(each) for each in timeline.records[-1:]] == [DrillStarted]
    assert timeline.wanted(ArmGuard)
    assert not timeline.wanted(Inject)
    timeline.feed(i.GuardArmed("DRILL-1"))
    assert timeline.run(D).state is DrillState.INJECTING
    assert len(timeline.wanted(Inject)) == 1


def test_the_incident_of_a_drill_is_marked_and_ends_with_it() -> None:
    timeline = begun(drill(hold=120.0), alarms=alarming("ops", routes=[Route(to=("ops",))]))
    run = timeline.until_ended(D)
    incident = timeline.world.get("incidents", run.incident or "")
    assert incident.drill
    assert incident.state is IncidentState.CLOSED
    assert timeline.inbox is not None
    timeline.live_on(60)
    told = timeline.inbox.titles("ops")
    assert told
    assert all(title.startswith("[DRILL] ") for title in told)


def test_the_note_about_what_is_droppable_ends_with_its_drill_too() -> None:
    timeline = begun(drill(D), mail=replace(email(), tier=Tier.DROPPABLE))
    timeline.live_on(60)
    run = timeline.run(D)
    assert run.verdict is Verdict.PASSED
    incident = timeline.world.get("incidents", run.incident or "")
    assert (incident.kind, incident.state) == (IncidentKind.NOTE, IncidentState.CLOSED)


def test_a_synthetic_drill_touches_nothing_but_what_opsdash_says() -> None:
    timeline = begun(drill(level=Level.SYNTHETIC, responder=Responder.PEOPLE))
    timeline.live_on(30)
    assert timeline.shown(PRIMARY).reason is Reason.PRETENDED
    assert "really it is ok" in timeline.shown(PRIMARY).detail
    assert timeline.world.get("seen_red", PRIMARY) is None, "that it can become red has not been shown"
    assert timeline.run(D).times.opened is not None
    assert not (timeline.wanted(ArmGuard))
    assert not (timeline.wanted(Inject))
    assert not (timeline.wanted(UndoFaults))
    assert timeline.confirm("email", who="ken") == "email-failover-1"
    timeline.live_on(30)
    assert timeline.run(D).state is DrillState.RESTORING, "people go back themselves"
    assert timeline.shown(PRIMARY).status is Status.OK
    timeline.confirm("email", "failback", who="ken")
    assert timeline.until_ended(D).verdict is Verdict.PASSED
    assert timeline.run(D).times.undone is not None


@pytest.mark.parametrize(
    ("level", "auto", "why", "switched"),
    [
        (Level.SYNTHETIC, Auto.ALWAYS, "only pretends", False),
        (Level.CONTAINED, Auto.SHADOW, "was decided before", False),
        (Level.CONTAINED, Auto.ALWAYS, "", True),
    ],
)
def test_opsdash_switches_by_itself_in_a_drill_only_what_really_fails(
    level: Level, auto: Auto, why: str, *, switched: bool
) -> None:
    long = drill(level=level, responder=Responder.PEOPLE, limit=300.0, expect=Expect(recover=200.0))
    timeline = begun(long, mail=email(switch=mail_switch(auto=auto)), anchors=3)
    proved = Proved(timeline.clock.wall, "email", "ses", "d", timeline.world.operation.components["email"].sha256)
    timeline.world.apply(evolve(timeline.world, proved))
    timeline.records.append(proved)
    timeline.feed(i.PreflightDone("email/ses", True, "fine"))
    timeline.live_on(60)
    own = [each for each in timeline.of(SwitchIntended) if each.switch.cause is SwitchCause.AUTO]
    assert bool(own) is switched
    assert timeline.of(WouldSwitch) == []
    assert [each.rule for each in timeline.of(SwitchBlocked) if why and why in each.reason] == ["drill"] * bool(why)


def test_a_planned_switch_goes_there_holds_and_comes_back() -> None:
    timeline = begun(drill(level=Level.SWITCH, hold=60.0, steady=(FRONT,)))
    timeline.live_on(30)
    assert (timeline.run(D).state, timeline.state("email").active) == (DrillState.RUNNING, "ses")
    run = timeline.until_ended(D)
    assert run.verdict is Verdict.PASSED
    assert timeline.state("email").active == "postmark"
    assert timeline.of(IncidentOpened) == []
    assert run.times.restored is not None
    assert run.times.verified is not None
    assert run.times.restored - run.times.verified >= 60.0


def test_a_tabletop_is_a_rehearsal_of_the_runbook_that_a_person_closes() -> None:
    timeline = begun(drill(level=Level.TABLETOP, runbook="email-down", responder=Responder.PEOPLE))
    timeline.want(i.OpenRunIntent("email-down", "email", "sha", (("look", "a"), ("act", "b")), RunMode.REHEARSE))
    assert timeline.run(D).runbook_run == "RUN-1"
    timeline.advance(300)
    for step in ("look", "act"):
        timeline.want(i.MarkStepIntent("RUN-1", step, "done"))
    timeline.want(i.EndRunIntent("RUN-1"))
    assert timeline.ended(D).verdict is Verdict.PASSED


def test_a_tabletop_whose_runbook_was_not_gone_through_fails() -> None:
    timeline = begun(drill(level=Level.TABLETOP, runbook="email-down", responder=Responder.PEOPLE))
    timeline.want(i.OpenRunIntent("email-down", "email", "sha", (("look", "a"), ("act", "b")), RunMode.REHEARSE))
    timeline.want(i.MarkStepIntent("RUN-1", "look", "done"))
    timeline.want(i.EndRunIntent("RUN-1"))
    assert timeline.ended(D).verdict is Verdict.FAILED


def test_a_tabletop_without_a_runbook_is_closed_with_a_word() -> None:
    timeline = begun(drill(level=Level.TABLETOP, responder=Responder.PEOPLE))
    timeline.want(i.FinishDrillIntent("DRILL-1", "the phone number was wrong"))
    run = timeline.ended(D)
    assert (run.verdict, run.note) == (Verdict.PASSED, "the phone number was wrong")


def test_a_tabletop_that_nobody_closes_is_over_after_a_day() -> None:
    timeline = begun(drill(level=Level.TABLETOP, responder=Responder.PEOPLE))
    timeline.advance(2 * 86400)
    run = timeline.ended(D)
    assert run.verdict is Verdict.FAILED or run.stopped == "nobody has closed it within a day"


def test_a_degraded_mode_is_entered_serves_and_is_left() -> None:
    rate_limited = drill(failure_mode="rate-limited", expect=Expect(mode="order-mail-only"))
    limited = Faults(breaks={})
    timeline = office(rate_limited, faults=limited)
    timeline.begin(D)
    timeline.live_on(1)
    for _ in range(3):
        timeline.observe(PRIMARY, Status.DOWN, Reason.RATE_LIMITED)
    run = timeline.until_ended(D)
    assert run.verdict is Verdict.PASSED
    assert run.mode_at is not None
    assert timeline.state("email").mode is None
    assert timeline.of(Proved)[-1].what == "mode:order-mail-only"


# --- what is expected ------------------------------------------------------------------------------------------------


def test_what_comes_too_late_makes_it_late() -> None:
    run = begun(drill(expect=Expect(detect=5.0, recover=6.0))).until_ended(D)
    assert run.verdict is Verdict.LATE
    assert [why.partition(" after")[0] for why in run.why] == ["it was detected", "service was verified"]


def test_without_a_limit_of_its_own_the_failure_mode_says_how_long_recovery_may_take() -> None:
    modes = {"gone": failure("gone", PRIMARY, response=Response(ResponseKind.SWITCH), rto=3.0)}
    run = begun(drill(failure_mode="gone"), mail=email(failures=modes)).until_ended(D)
    assert (run.rto, run.verdict) == (3.0, Verdict.LATE)


def test_a_fault_that_nobody_notices_fails_at_its_limit() -> None:
    timeline = begun(drill(), faults=Faults())
    run = timeline.until_ended(D)
    assert run.verdict is Verdict.FAILED
    assert "not detected" in run.why[0]
    assert timeline.faults.in_place == set()
    assert run.undone


def test_nobody_who_acknowledges_fails_it() -> None:
    run = begun(drill(expect=Expect(acknowledge=30.0))).until_ended(D)
    assert (run.verdict, run.why) == (Verdict.FAILED, ("nobody acknowledged the incident",))


def test_an_acknowledgement_in_time_is_seen() -> None:
    timeline = begun(drill(expect=Expect(acknowledge=60.0)))
    timeline.live_on(20)
    incident = timeline.run(D).incident
    assert incident is not None
    timeline.want(i.AckIntent(incident), who="ken")
    assert timeline.until_ended(D).verdict is Verdict.PASSED


def test_a_message_has_to_be_delivered_where_an_alarm_is_expected() -> None:
    told = alarming("ops", routes=[Route(to=("ops",))])
    wanted = drill(expect=Expect(alarm=True), hold=120.0)
    assert begun(wanted, alarms=told).until_ended(D).verdict is Verdict.PASSED
    timeline = begun(wanted, alarms=told)
    assert timeline.inbox is not None
    timeline.inbox.outcome["ops"] = Delivery.FAILED
    run = timeline.until_ended(D)
    assert (run.verdict, run.why) == (Verdict.FAILED, ("no message about it was delivered",))


def test_the_backup_has_to_carry_the_load() -> None:
    timeline = begun(drill(expect=Expect(load=LOAD)))
    run = timeline.until_ended(D)
    assert (run.verdict, run.load) == (Verdict.PASSED, (50, 0))
    assert len(timeline.wanted(StartLoad)) == 1, "a bounded load is started once"


@pytest.mark.parametrize(
    ("load", "verdict"),
    [((50, 1), Verdict.PASSED), ((50, 2), Verdict.FAILED), ((49, 0), Verdict.INCONCLUSIVE)],
)
def test_a_load_that_was_not_carried_never_passes(load: tuple[int, int], verdict: Verdict) -> None:
    faults = Faults(breaks={PRIMARY: Status.DOWN}, load=load)
    assert begun(drill(expect=Expect(load=LOAD)), faults=faults).until_ended(D).verdict is verdict


def test_a_load_that_never_ends_is_ended_at_the_limit() -> None:
    faults = Faults(breaks={PRIMARY: Status.DOWN}, silent={"load"})
    timeline = begun(drill(expect=Expect(load=LOAD)), faults=faults)
    run = timeline.until_ended(D)
    assert run.verdict is Verdict.FAILED
    assert timeline.wanted(StopLoad)


def test_a_runbook_is_followed_by_people_while_opsdash_pretends() -> None:
    modes = {"gone": failure("gone", PRIMARY, response=Response(ResponseKind.RUNBOOK))}
    book = drill(
        level=Level.SYNTHETIC,
        failure_mode="gone",
        runbook="email-down",
        responder=Responder.PEOPLE,
        expect=Expect(runbook=True, recover=600.0),
    )
    timeline = begun(book, mail=email(failures=modes))
    timeline.live_on(20)
    timeline.want(i.OpenRunIntent("email-down", "email", "sha", (("look", "a"),)))
    timeline.want(i.MarkStepIntent("RUN-1", "look", "done"))
    timeline.want(i.EndRunIntent("RUN-1"))
    run = timeline.until_ended(D)
    assert (run.verdict, run.runbook_run) == (Verdict.PASSED, "RUN-1")
    assert run.times.decided is not None


def test_a_component_that_was_to_stay_as_it_was_and_changes_fails_it_by_name() -> None:
    timeline = running(drill(expect=Expect(unaffected=("crm",))))
    timeline.observe(CRM, Status.DEGRADED, Reason.SLOW)
    for _ in range(3):
        timeline.observe(CRM, Status.DEGRADED, Reason.SLOW)
    run = timeline.until_ended(D)
    assert (run.verdict, run.affected) == (Verdict.FAILED, ("crm",))
    assert run.why == ("crm was to stay as it was, and changed",)


def test_a_response_that_goes_wrong_fails_it_at_once() -> None:
    timeline = begun(drill())
    outside_of(timeline).effective = False
    run = timeline.until_ended(D)
    assert run.verdict is Verdict.FAILED
    assert "email-failover-1 ended no_effect" in run.why[0]
    assert timeline.faults.in_place == set()


def test_a_guard_in_the_way_of_the_response_is_no_reason_to_override_it() -> None:
    timeline = begun(drill(limit=60.0))
    for _ in range(3):
        timeline.observe(STANDBY, Status.DOWN, Reason.TIMEOUT)
    outside_of(timeline).status[STANDBY] = Status.DOWN
    run = timeline.until_ended(D)
    assert timeline.of(SwitchIntended) == []
    assert run.verdict is Verdict.FAILED


def test_missing_samples_are_never_passed() -> None:
    timeline = running(drill(steady=(FRONT, CRM), hold=100.0))
    outside_of(timeline).status[CRM] = Status.UNKNOWN
    timeline.live_on(60)
    del outside_of(timeline).status[CRM]
    run = timeline.until_ended(D)
    assert run.verdict is Verdict.INCONCLUSIVE
    assert run.missing > 0


def test_not_recovered_is_failed() -> None:
    timeline = running(drill(steady=(CRM,)))
    outside_of(timeline).status[CRM] = Status.DEGRADED
    run = timeline.until_ended(D)
    assert (run.verdict, run.recovered) == (Verdict.FAILED, False)
    assert run.ended_at is not None
    assert run.times.undone is not None
    assert run.ended_at - run.times.undone >= RESTORE_WITHIN


def test_people_have_a_bound_for_going_back_too() -> None:
    timeline = begun(drill(level=Level.SYNTHETIC, responder=Responder.PEOPLE))
    timeline.live_on(20)
    timeline.confirm("email")
    run = timeline.until_ended(D)
    assert (run.verdict, run.recovered) == (Verdict.FAILED, False)
    assert run.ended_at is not None
    assert run.times.verified is not None
    assert run.ended_at - run.times.verified >= RESTORE_BY_PEOPLE


# --- stopped ---------------------------------------------------------------------------------------------------------


def test_a_person_ends_a_drill_and_everything_is_undone() -> None:
    timeline = running(drill())
    assert timeline.faults.in_place == {"DRILL-1"}
    timeline.want(i.StopDrillIntent("DRILL-1", "customers call"))
    timeline.live_on(1)
    assert timeline.faults.in_place == set()
    run = timeline.until_ended(D)
    assert (run.verdict, run.why) == (Verdict.ABORTED, ("stopped by maria: customers call",))
    assert rule(timeline.want(i.StopDrillIntent("DRILL-1"))) == "unknown_run"


def test_a_drill_that_is_on_its_way_back_cannot_be_stopped_again() -> None:
    timeline = running(drill())
    timeline.want(i.StopDrillIntent("DRILL-1"))
    assert rule(timeline.want(i.StopDrillIntent("DRILL-1"))) == "state"
    assert rule(timeline.want(i.FinishDrillIntent("DRILL-1"))) == "state"


def test_a_drill_that_is_stopped_while_it_is_armed_breaks_nothing() -> None:
    timeline = office(drill(), faults=Faults(silent={"arm"}))
    timeline.begin(D)
    timeline.want(i.StopDrillIntent("DRILL-1"))
    assert timeline.ended(D).verdict is Verdict.ABORTED
    timeline.feed(i.GuardArmed("DRILL-1"))
    assert timeline.wanted(Inject) == []
    assert len(timeline.wanted(UndoFaults)) == 2, "whatever was armed is let go"


def test_enough_seen_is_judged_by_what_has_come() -> None:
    timeline = begun(drill(hold=200.0))
    timeline.live_on(30)
    timeline.want(i.FinishDrillIntent("DRILL-1", "that will do"))
    assert timeline.until_ended(D).verdict is Verdict.PASSED


def test_a_stop_condition_ends_it_once_it_has_lasted() -> None:
    rules = (StopIf("crm", Status.DEGRADED, lasts=30.0),)
    timeline = running(drill(stop_if=rules, hold=200.0))
    outside_of(timeline).status[CRM] = Status.DEGRADED
    timeline.live_on(20)
    assert timeline.run(D).stopped == ""
    timeline.live_on(60)
    run = timeline.until_ended(D)
    outside_of(timeline).status.clear()
    assert (run.verdict, run.why) == (Verdict.ABORTED, ("stop condition: crm is degraded for 30s",))


def test_a_stop_condition_that_did_not_last_is_none() -> None:
    timeline = running(drill(stop_if=(StopIf("crm", Status.DEGRADED, lasts=60.0),), hold=100.0))
    outside_of(timeline).status[CRM] = Status.DEGRADED
    timeline.live_on(45)
    del outside_of(timeline).status[CRM]
    assert timeline.until_ended(D).verdict is Verdict.PASSED


def test_a_real_incident_elsewhere_interrupts_it() -> None:
    timeline = running(drill(hold=200.0))
    timeline.down(CRM, times=3)
    outside_of(timeline).status[CRM] = Status.DOWN
    timeline.live_on(1)
    assert timeline.faults.in_place == set()
    run = timeline.until_ended(D)
    assert run.verdict is Verdict.INTERRUPTED
    assert "crm is down" in run.why[0]
    assert not timeline.world.get("incidents", "INC-1").drill


def test_an_incident_that_a_person_opens_interrupts_it() -> None:
    timeline = running(drill())
    timeline.want(i.OpenIncidentIntent("email", "customers get no mail"))
    assert timeline.until_ended(D).verdict is Verdict.INTERRUPTED


def test_what_depends_on_what_is_broken_belongs_to_the_drill() -> None:
    shop = component("shop", checks=["page"], depends_on=("email",))
    parts = with_drills(operation(email(), shop), drill())
    faults = Faults(breaks={PRIMARY: Status.DOWN, "shop/page": Status.DOWN})
    timeline = DrillTimeline(parts, outside=mail_outside(), faults=faults)
    timeline.live_on(15)
    timeline.begin(D)
    run = timeline.until_ended(D)
    assert run.verdict is Verdict.PASSED
    assert all(each.drill for each in timeline.of(IncidentOpened))


def test_what_really_fails_wins_over_what_is_pretended() -> None:
    timeline = begun(drill(level=Level.SYNTHETIC, responder=Responder.PEOPLE))
    timeline.live_on(25)
    first = timeline.incident("email")
    assert first is not None
    assert first.drill
    outside_of(timeline).status[PRIMARY] = Status.DOWN
    timeline.observe(PRIMARY, Status.DOWN, Reason.REFUSED)
    assert timeline.shown(PRIMARY).reason is Reason.REFUSED, "shown without the mark at once"
    timeline.live_on(30)
    run = timeline.ended(D)
    assert (run.verdict, run.real) == (Verdict.INTERRUPTED, True)
    second = timeline.incident("email")
    assert second is not None
    assert not second.drill
    assert timeline.world.get("incidents", first.id).closed_at is not None
    assert timeline.status("email") == "degraded"
    timeline.check_replay()


def test_a_pretence_covers_no_blindness() -> None:
    timeline = begun(drill(level=Level.SYNTHETIC, responder=Responder.PEOPLE))
    timeline.unknown(PRIMARY, times=2)
    assert timeline.shown(PRIMARY).status is Status.UNKNOWN


def test_a_pretence_explains_nothing_of_what_really_fails_below_it() -> None:
    shop = component("shop", checks=["page"], depends_on=("email",))
    modes = {"gone": failure("gone", FRONT)}
    pretended = drill(
        level=Level.SYNTHETIC,
        failure_mode="gone",
        responder=Responder.PEOPLE,
        injections=(pretend("email"),),
        hold=60.0,
    )
    timeline = DrillTimeline(with_drills(operation(email(failures=modes), shop), pretended), outside=mail_outside())
    timeline.live_on(15)
    timeline.begin(D)
    timeline.live_on(25)
    assert timeline.status("email") == "down"
    timeline.down("shop/page", times=3)
    found = timeline.incident("shop")
    assert found is not None
    assert (found.component, found.drill) == ("shop", False)
    assert timeline.run(D).stopped_as is Verdict.INTERRUPTED


def test_a_real_incident_of_an_hour_ago_is_not_reopened_by_a_drill() -> None:
    timeline = office(drill())
    timeline.down(PRIMARY, times=3)
    timeline.live_on(40)
    assert timeline.incident("email") is None
    timeline.begin(D)
    run = timeline.until_ended(D)
    assert (run.incident, run.verdict) == ("INC-2", Verdict.PASSED)
    timeline.down(PRIMARY, times=3)
    found = timeline.incident("email")
    assert found is not None
    assert (found.id, found.drill) == ("INC-3", False)


@pytest.mark.parametrize("level", [Level.SYNTHETIC, Level.CONTAINED, Level.SWITCH])
def test_offline_nobody_can_tell_what_a_drill_does(level: Level) -> None:
    timeline = running(drill(level=level, hold=200.0), anchors=1)
    timeline.down("anchors/1", times=3)
    timeline.live_on(2)
    assert timeline.run(D).stopped_as is Verdict.ABORTED
    assert timeline.faults.in_place == set()


# --- the lever -------------------------------------------------------------------------------------------------------


def test_the_lever_undoes_everything_and_blocks_new_drills() -> None:
    timeline = running(drill())
    assert rule(timeline.want(i.HaltDrillsIntent(" "))) == "reason"
    timeline.want(i.HaltDrillsIntent("sale begins"), who="ken")
    timeline.live_on(1)
    assert timeline.faults.in_place == set()
    assert timeline.until_ended(D).why == ("halted by ken: sale begins",)
    refused = timeline.begin(D)
    assert rule(refused) == "lever"
    assert isinstance(refused, Refused)
    assert "sale begins" in refused.reason
    assert rule(timeline.want(i.AllowDrillsIntent(""))) == "reason"
    timeline.want(i.AllowDrillsIntent("it is over"))
    assert timeline.begin(D) == "DRILL-2"
    assert rule(timeline.want(i.AllowDrillsIntent("again"))) == "state"


def test_the_lever_stays_over_a_crash() -> None:
    timeline = office(drill())
    timeline.want(i.HaltDrillsIntent("sale begins"))
    later = timeline.crash()
    later.live_on(15)
    assert rule(later.begin(D)) == "lever"


# --- the guard -------------------------------------------------------------------------------------------------------


def test_without_a_guard_nothing_is_broken() -> None:
    timeline = office(drill(), faults=Faults(arm_error="the disk is full"))
    timeline.begin(D)
    timeline.live_on(1)
    run = timeline.ended(D)
    assert (run.verdict, run.why) == (
        Verdict.ABORTED,
        ("nothing was broken: the guard could not be armed: the disk is full",),
    )
    assert timeline.faults.log == ["undo DRILL-1"]
    assert red(timeline) == []


def test_a_guard_that_never_answers_ends_it_before_anything_is_broken() -> None:
    timeline = office(drill(), faults=Faults(silent={"arm"}))
    timeline.begin(D)
    timeline.live_on(130)
    assert timeline.ended(D).verdict is Verdict.ABORTED
    assert timeline.wanted(Inject) == []


def test_an_injection_that_failed_half_way_is_undone() -> None:
    faults = Faults(inject_error="the second one was refused", breaks={PRIMARY: Status.DOWN})
    timeline = begun(drill(), faults=faults)
    run = timeline.until_ended(D)
    assert run.verdict is Verdict.ABORTED
    assert faults.in_place == set()


def test_an_injection_that_never_answers_is_undone_at_the_limit() -> None:
    timeline = begun(drill(limit=60.0), faults=Faults(silent={"inject"}))
    run = timeline.until_ended(D)
    assert run.verdict is Verdict.FAILED
    assert timeline.faults.in_place == set()


def test_a_guard_that_dies_ends_it() -> None:
    timeline = running(drill())
    timeline.feed(i.GuardGone("DRILL-1", "killed by signal 9"))
    timeline.live_on(1)
    assert timeline.faults.in_place == set()
    assert timeline.until_ended(D).why == ("its guard has ended: killed by signal 9",)


def test_a_guard_that_dies_while_it_is_armed_or_undoes_leaves_nothing() -> None:
    timeline = office(drill(), faults=Faults(silent={"arm"}))
    timeline.begin(D)
    timeline.feed(i.GuardGone("DRILL-1"))
    assert timeline.ended(D).verdict is Verdict.ABORTED
    timeline = running(drill(), faults=Faults(silent={"undo"}))
    timeline.want(i.StopDrillIntent("DRILL-1"))
    timeline.take(UndoFaults)
    timeline.feed(i.GuardGone("DRILL-1"))
    assert len(timeline.wanted(UndoFaults)) == 1, "the engine undoes it itself"


def test_the_guard_takes_the_fault_back_at_the_limit_without_being_told() -> None:
    timeline = begun(drill(limit=60.0), faults=Faults())
    timeline.live_on(59)
    assert timeline.faults.in_place == {"DRILL-1"}
    timeline.live_on(3)
    assert timeline.faults.in_place == set()
    assert timeline.until_ended(D).verdict is Verdict.FAILED, "it was not detected; that its limit came is no abort"


def test_a_fault_that_somebody_has_taken_back_too_early_aborts_it() -> None:
    timeline = running(drill())
    timeline.faults.take_back("DRILL-1", timeline.outside)
    timeline.feed(i.Undone("DRILL-1", True, "guard"))
    assert timeline.until_ended(D).verdict is Verdict.ABORTED
    assert red(timeline) == []


@pytest.mark.parametrize("answer", [False, None])
def test_an_undoing_that_nobody_can_verify_fails_and_stays_red_until_somebody_states_it(answer: bool | None) -> None:
    faults = Faults(breaks={PRIMARY: Status.DOWN}, undone=answer, stuck=True)
    timeline = begun(drill(), faults=faults)
    run = timeline.until_ended(D)
    assert run.verdict is Verdict.FAILED
    assert red(timeline) == ["DRILL-1"]
    faults.stuck = False
    faults.take_back("DRILL-1", timeline.outside)
    timeline.live_on(60)
    assert rule(timeline.begin(D)) == "fault_left"
    assert rule(timeline.want(i.FaultGoneIntent("DRILL-1", ""))) == "reason"
    timeline.want(i.FaultGoneIntent("DRILL-1", "looked at it myself"))
    assert red(timeline) == []
    assert rule(timeline.want(i.FaultGoneIntent("DRILL-1", "again"))) == "unknown_run"
    assert timeline.ended(D).verdict is Verdict.FAILED, "the verdict stays"
    timeline.check_replay()


def test_what_the_guard_cannot_tell_opsdash_tells_by_its_own_checks() -> None:
    timeline = begun(drill(), faults=Faults(breaks={PRIMARY: Status.DOWN}, undone=None))
    run = timeline.until_ended(D)
    assert (run.verdict, run.undone) == (Verdict.PASSED, True)


def test_what_the_guard_calls_gone_and_the_checks_do_not_is_not_gone() -> None:
    faults = Faults(breaks={PRIMARY: Status.DOWN}, undone=True, stuck=True)
    timeline = begun(drill(), faults=faults)
    run = timeline.until_ended(D)
    assert (run.verdict, run.undone) == (Verdict.FAILED, False)
    assert f"not ok since: {PRIMARY}" in timeline.world.get("drill_faults", "DRILL-1").detail


def test_an_undoing_that_never_answers_is_said_after_its_bound_and_may_still_come() -> None:
    faults = Faults(breaks={PRIMARY: Status.DOWN}, silent={"undo"}, stuck=True)
    timeline = begun(drill(limit=30.0, responder=Responder.PEOPLE), faults=faults)
    timeline.faults.armed.clear()
    timeline.live_on(40 + UNDO_WITHIN)
    assert red(timeline) == ["DRILL-1"]
    faults.stuck = False
    faults.take_back("DRILL-1", timeline.outside)
    timeline.feed(i.Undone("DRILL-1", True, "engine"))
    assert red(timeline) == ["DRILL-1"], "the checks do not agree yet"
    timeline.live_on(30)
    timeline.feed(i.Undone("DRILL-1", True, "engine"))
    assert red(timeline) == []
    assert timeline.until_ended(D).verdict is Verdict.FAILED or timeline.run(D).undone


def test_what_an_earlier_engine_has_left_behind_is_red_and_blocks() -> None:
    timeline = office(drill())
    timeline.feed(i.FaultFound("DRILL-9", "old", "email", "haproxy: set server b/main state ready"))
    assert red(timeline) == ["DRILL-9"]
    assert rule(timeline.begin(D)) == "fault_left"
    timeline.feed(i.Undone("DRILL-9", False, "guard", "refused"))
    assert red(timeline) == ["DRILL-9"]
    timeline.feed(i.Undone("DRILL-9", True, "guard"))
    assert red(timeline) == []
    timeline.check_replay()


# --- more than one ---------------------------------------------------------------------------------------------------


def test_two_people_who_press_at_once_begin_one_drill() -> None:
    timeline = office(drill())
    assert timeline.begin(D, "maria", latest="") == "DRILL-1"
    assert rule(timeline.begin(D, "ken", latest="")) == "changed"
    assert len(timeline.of(DrillStarted)) == 1
    run = timeline.until_ended(D)
    assert rule(timeline.begin(D, "ken", latest="")) == "changed", "also when the first is over"
    assert timeline.begin(D, "ken", latest=run.id) == "DRILL-2"


def test_two_drills_never_run_at_once() -> None:
    timeline = begun(drill(), drill("other"))
    refused = timeline.begin("other")
    assert rule(refused) == "running"
    timeline.until_ended(D)
    assert timeline.begin("other") == "DRILL-2"


def test_answers_for_a_run_that_is_over_do_nothing() -> None:
    timeline = begun(drill())
    timeline.until_ended(D)
    before = len(timeline.records)
    events: list[i.Input] = [i.LoadDone("DRILL-1", 1, 0)]
    for run in ("DRILL-1", "DRILL-7"):
        events += [i.GuardArmed(run), i.Injected(run), i.Undone(run, True), i.Undone(run, None), i.GuardGone(run)]
    for event in events:
        timeline.feed(event)
    assert timeline.records[before:] == []


def test_a_drill_goes_on_as_it_was_when_it_began() -> None:
    timeline = running(drill(hold=30.0))
    timeline.reload(with_drills(timeline.world.operation))
    run = timeline.until_ended(D)
    assert run.verdict is Verdict.PASSED
    assert [each.state for each in timeline.of(DrillAdvanced)][-1] is DrillState.RESTORING
    assert len(timeline.of(DrillEnded)) == 1


def test_a_switch_that_people_make_while_opsdash_answers_counts_as_the_response() -> None:
    timeline = running(drill(responder=Responder.PEOPLE))
    timeline.live_on(20)
    timeline.confirm("email", SwitchKind.FAILOVER, who="ken")
    timeline.live_on(20)
    assert timeline.run(D).times.verified is not None


def test_a_limit_that_comes_before_the_backup_has_held_is_no_pass() -> None:
    run = begun(drill(hold=200.0, limit=60.0)).until_ended(D)
    assert run.verdict is Verdict.FAILED
    assert run.why[0].startswith("its limit came when it had held for")


def test_a_component_that_was_to_stay_as_it_was_has_the_fault_undone_at_once() -> None:
    timeline = running(drill(expect=Expect(unaffected=("crm",)), hold=200.0))
    for _ in range(3):
        timeline.observe(CRM, Status.DEGRADED, Reason.SLOW)
    timeline.live_on(1)
    assert timeline.faults.in_place == set()


def test_a_component_that_leaves_the_files_while_it_is_drilled_is_kept_until_the_end() -> None:
    timeline = running(drill())
    timeline.reload(with_drills(operation(component("crm", checks=["api"]))))
    assert timeline.draft().component("email") is not None
    run = timeline.until_ended(D)
    assert (run.verdict, run.undone is True) != (Verdict.PASSED, False)
    assert timeline.faults.in_place == set()
