"""A switch from the key to its outcome: intent, action, and what is measured afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from opsdash.core.switching import SAMPLE_EVERY
from opsdash.model.effects import Apply, Poll, Read
from opsdash.model.inputs import JournalState, Loaded, SwitchIntent, TimerFired
from opsdash.model.operation import Feature, OldOut, ServedBy, Tier
from opsdash.model.records import (
    ActiveChanged,
    ComponentChanged,
    Proved,
    SwitchAdvanced,
    SwitchEnded,
    SwitchIntended,
)
from opsdash.model.status import Status
from opsdash.model.switch import FactName, Plan, Refused, SwitchKind, SwitchState, Truth
from opsdash.testing import (
    Outside,
    Timeline,
    check,
    component,
    email,
    intent_of,
    mail_outside,
    mail_switch,
    operation,
    provider,
)

FRONT = "email/delivery"
LETTERS = "email/newsletter"
PRIMARY, STANDBY = "email/postmark/api", "email/ses/api"


def mail(**settings: Any) -> Timeline:
    """Email served by Postmark, all well; what becomes of effects is said step by step."""
    timeline = Timeline(operation(email(**settings)))
    timeline.read("email", "pm-prod")
    timeline.all_ok()
    timeline.effects.clear()
    timeline.advance(1)
    return timeline


def live_mail(outside: Outside | None = None, **settings: Any) -> Timeline:
    """The same, with an outside that answers."""
    timeline = Timeline(operation(email(**settings)), outside=outside or mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    return timeline


def rule(answer: Refused | str) -> str:
    assert isinstance(answer, Refused), f"accepted: {answer!r}"
    return answer.rule


def state(timeline: Timeline) -> SwitchState:
    return timeline.switch("email").state


def truth(timeline: Timeline, name: FactName) -> Truth:
    return next(fact.truth for fact in timeline.switch("email").facts if fact.name is name)


def act(timeline: Timeline, *, result: str = "applied", settle: float = 2.0) -> None:
    """Confirm a failover, let the mechanism be as planned, and the action end."""
    timeline.confirm("email")
    timeline.read("email", "pm-prod")
    timeline.applied(result)
    timeline.advance(settle)


def served_by(timeline: Timeline, who: str, *, at: float | None = None, requested: float | None = None) -> None:
    """The front door answers."""
    made = timeline.clock.wall if at is None else at
    timeline.observe(FRONT, facts={"provider": who, "json.at": made}, requested=requested)


# --- the whole way ---------------------------------------------------------------------------------------------------


def test_one_key_leads_to_the_backup_with_all_facts_verified() -> None:
    timeline = live_mail()
    timeline.down(PRIMARY, times=3)
    assert timeline.incident("email") is not None
    started = timeline.clock.wall
    answer = timeline.confirm("email", who="maria")
    assert answer == "email-failover-1"
    timeline.advance(10)
    switch = timeline.switch("email")
    assert switch.state is SwitchState.COMMITTED
    assert {fact.name: fact.truth for fact in switch.facts} == {
        FactName.MECHANISM: Truth.TRUE,
        FactName.FRONT_DOOR: Truth.TRUE,
        FactName.OLD_OUT: Truth.STATELESS,
        FactName.FEATURES: Truth.TRUE,
    }
    assert [fact.hits for fact in switch.facts if fact.name is FactName.FRONT_DOOR] == [3]
    assert switch.ended_at is not None
    assert switch.ended_at - started < 3.0, "two seconds of settling, and not one more"
    found = timeline.state("email")
    assert (found.active, found.seen, found.generation) == ("ses", "ses-eu", 1)
    assert found.on_backup_since == switch.ended_at
    assert [state for _, state in switch.history] == ["intent", "acting", "settling", "verifying", "committed"]
    assert timeline.failures("email") == []
    assert (switch.who, switch.reason, switch.incident) == ("maria", "Provider unreachable", "INC-1")
    timeline.check_replay()


def test_a_committed_switch_proves_its_target() -> None:
    timeline = live_mail()
    timeline.confirm("email")
    timeline.advance(10)
    assert [(each.what, each.by, each.sha256) for each in timeline.of(Proved)] == [
        ("ses", "email-failover-1", "sha of email")
    ]


def test_there_and_back_again() -> None:
    timeline = live_mail()
    timeline.confirm("email")
    timeline.advance(10)
    assert timeline.confirm("email", "failback") == "email-failback-2"
    timeline.advance(10)
    found = timeline.state("email")
    assert (found.active, found.on_backup_since, found.generation) == ("postmark", None, 2)
    assert timeline.switch("email").state is SwitchState.COMMITTED
    assert timeline.world.keys("switches") == ["email-failback-2"], "the one before is in the journal"
    timeline.check_replay()


def test_the_incident_tells_what_was_done() -> None:
    timeline = live_mail()
    timeline.down(PRIMARY, times=3)
    timeline.confirm("email", who="maria")
    timeline.advance(10)
    incident = timeline.world.get("incidents", "INC-1")
    told = [entry.text for entry in incident.entries if entry.who == "maria"]
    assert told[0] == "failover from postmark to ses: Provider unreachable"
    assert told[-1].endswith("→ committed")


# --- intent first ----------------------------------------------------------------------------------------------------


def test_before_anything_is_touched_the_whole_plan_is_recorded() -> None:
    timeline = mail()
    timeline.confirm("email")
    intended = timeline.of(SwitchIntended)[0].switch
    assert (intended.plan.source, intended.plan.target) == ("postmark", "ses")
    assert intended.plan.guards
    assert timeline.wanted(Apply) == [], "first it is read again"
    assert [read.what for read in timeline.take(Read)] == ["switch"]
    timeline.read("email", "pm-prod")
    assert [each.state for each in timeline.of(SwitchAdvanced)] == [SwitchState.ACTING]
    (applied,) = timeline.take(Apply)
    assert (applied.action_id, applied.expected) == ("email-failover-1", "pm-prod")
    assert (applied.source, applied.target, applied.call.raw["value"]) == ("postmark", "ses", "ses-eu")


def test_without_a_read_it_acts_at_once_and_the_record_still_comes_first() -> None:
    timeline = mail(switch=mail_switch(read=None))
    timeline.confirm("email")
    assert [type(each) for each in timeline.records[-2:]] == [SwitchIntended, SwitchAdvanced]
    assert len(timeline.take(Apply)) == 1


@pytest.mark.parametrize("found", ["ses-eu", "somebody", None])
def test_a_mechanism_that_is_not_as_planned_refuses_the_switch(found: str | None) -> None:
    timeline = mail()
    timeline.confirm("email")
    timeline.read("email", found)
    assert state(timeline) is SwitchState.REFUSED
    assert timeline.wanted(Apply) == []
    assert "nothing was done" in timeline.switch("email").detail


def test_what_aborted_a_switch_is_known_at_once() -> None:
    timeline = mail()
    timeline.confirm("email")
    timeline.read("email", "ses-eu")
    assert timeline.state("email").active == "ses"


def test_a_reading_that_was_on_its_way_before_the_key_does_not_count() -> None:
    timeline = mail()
    before = timeline.clock.mono - 0.5
    timeline.confirm("email")
    timeline.read("email", "pm-prod", requested=before)
    assert state(timeline) is SwitchState.INTENT
    assert timeline.wanted(Apply) == []


def test_what_is_in_force_already_is_not_done_again() -> None:
    timeline = mail()
    timeline.read("email", "nobody")
    timeline.confirm("email", target="ses")
    timeline.read("email", "ses-eu")
    assert state(timeline) is SwitchState.REFUSED
    assert timeline.wanted(Apply) == []


def test_from_an_unknown_provider_to_a_named_one() -> None:
    timeline = live_mail(mail_outside(says={"email/switch": "nobody"}))
    timeline.confirm("email", target="ses")
    timeline.advance(10)
    assert (state(timeline), timeline.state("email").active) == (SwitchState.COMMITTED, "ses")


@pytest.mark.parametrize("result", ["refused", "not_started"])
def test_an_action_that_never_started_aborts(result: str) -> None:
    timeline = mail()
    act(timeline, result=result, settle=0)
    assert state(timeline) is SwitchState.ABORTED
    assert timeline.state("email").active == "postmark"
    assert ("verify", "email-failover-1") not in timeline.timers


# --- refusals --------------------------------------------------------------------------------------------------------


def test_two_operators_press_at_once_and_one_switch_is_made() -> None:
    timeline = mail()
    plan = timeline.plan("email", "failover")
    assert isinstance(plan, Plan)
    assert timeline.want(intent_of(plan), who="maria") == "email-failover-1"
    assert rule(timeline.want(intent_of(plan), who="ken")) == "changed"
    assert len(timeline.of(SwitchIntended)) == 1


def test_a_second_press_after_the_switch_does_not_switch_back() -> None:
    timeline = live_mail()
    plan = timeline.plan("email", "failover")
    assert isinstance(plan, Plan)
    timeline.want(intent_of(plan))
    timeline.advance(10)
    assert rule(timeline.want(intent_of(plan))) == "changed"
    assert timeline.state("email").active == "ses"


def test_an_intent_is_refused_when_the_plan_has_changed_since() -> None:
    timeline = mail()
    plan = timeline.plan("email", "failover")
    assert isinstance(plan, Plan)
    timeline.read("email", "nobody")
    assert rule(timeline.want(intent_of(plan))) == "changed"
    assert timeline.of(SwitchIntended) == []


def test_while_somebody_is_at_it_nobody_else_begins() -> None:
    timeline = mail()
    timeline.confirm("email", who="maria")
    refused = timeline.confirm("email", who="ken", overrides=["live_switch"], reason="now", typed="email")
    assert rule(refused) == "live_switch"
    assert isinstance(refused, Refused)
    assert "maria is at it" in refused.reason
    assert refused.override is None


def test_after_an_unknown_outcome_nobody_begins_before_it_was_led_out() -> None:
    timeline = mail()
    act(timeline)
    timeline.advance(31)
    assert state(timeline) is SwitchState.UNKNOWN
    assert rule(timeline.confirm("email", target="ses")) == "live_switch"


def test_a_failed_guard_needs_to_be_overridden_by_name_with_a_reason_and_the_name_typed() -> None:
    timeline = mail()
    timeline.down(STANDBY, times=3)
    to = {"target": "ses"}
    refused = timeline.confirm("email", **to)
    assert rule(refused) == "target_healthy"
    assert isinstance(refused, Refused)
    assert refused.override == "--override target_healthy --override somebody_serves --reason TEXT"
    assert rule(timeline.confirm("email", **to, overrides=["proof"])) == "target_healthy"
    assert rule(timeline.confirm("email", **to, overrides=["target_healthy"])) == "somebody_serves"
    both = ["target_healthy", "somebody_serves"]
    assert rule(timeline.confirm("email", **to, overrides=both)) == "reason"
    assert rule(timeline.confirm("email", **to, overrides=both, reason="it lies")) == "typed"
    answer = timeline.confirm("email", **to, overrides=both, reason="it lies", typed="email")
    assert answer == "email-failover-1"
    intended = timeline.of(SwitchIntended)[0].switch
    assert (intended.overrides, intended.reason) == (tuple(both), "it lies")


def test_the_wrong_name_typed_is_not_the_name_typed() -> None:
    timeline = mail()
    timeline.down(STANDBY, times=3)
    override = ["target_healthy", "somebody_serves"]
    assert rule(timeline.confirm("email", target="ses", overrides=override, reason="x", typed="mail")) == "typed"


def test_nothing_is_begun_while_the_journal_cannot_be_written() -> None:
    timeline = mail()
    timeline.feed(JournalState("the disk is full"))
    assert rule(timeline.confirm("email", overrides=["journal"], reason="x", typed="email")) == "journal"


def test_warnings_alone_need_no_more_than_the_key() -> None:
    timeline = mail()
    plan = timeline.plan("email", "failover")
    assert isinstance(plan, Plan)
    assert {guard.rule for guard in plan.warnings} >= {"proof", "needed"}
    assert timeline.confirm("email") == "email-failover-1"


def test_nothing_is_known_of_a_component_that_does_not_exist() -> None:
    intent = SwitchIntent("fax", SwitchKind.FAILOVER, 0, "a", "b")
    assert rule(mail().want(intent)) == "unknown_component"


# --- what counts as a sample -----------------------------------------------------------------------------------------


def test_the_checks_involved_run_at_once_and_again_until_they_are_enough() -> None:
    timeline = mail()
    timeline.confirm("email")
    timeline.read("email", "pm-prod")
    timeline.applied()
    timeline.effects.clear()
    timeline.advance(2)
    assert [poll.check for poll in timeline.take(Poll)] == [FRONT]
    assert [read.after for read in timeline.take(Read)] == [0.0]
    served_by(timeline, "ses-eu")
    assert timeline.take(Poll) == [Poll(FRONT, SAMPLE_EVERY)]
    timeline.read("email", "pm-prod")
    assert [read.after for read in timeline.take(Read)] == [SAMPLE_EVERY]


def test_samples_make_one_chain_however_many_results_come_in() -> None:
    timeline = live_mail(mail_outside(effective=False))
    timeline.down(PRIMARY, times=3)
    timeline.confirm("email")
    timeline.advance(2.2)
    timeline.outside.status[FRONT] = Status.DOWN  # type: ignore[union-attr]
    for _ in range(10):
        timeline.observe(FRONT, "down", "timeout")
        timeline.advance(1)
        timeline.read("email", "pm-prod")
    timeline.effects.clear()
    timeline.advance(10)
    assert len([poll for poll in timeline.take(Poll) if poll.check == FRONT]) <= 10 / SAMPLE_EVERY + 12
    assert len(timeline.take(Read)) <= 10 / SAMPLE_EVERY + 2


def test_what_was_requested_before_the_action_ended_does_not_count() -> None:
    timeline = mail()
    timeline.confirm("email")
    timeline.read("email", "pm-prod")
    timeline.advance(1)
    early = timeline.clock.mono - 0.5
    timeline.applied()
    timeline.advance(2)
    timeline.read("email", "ses-eu")
    for _ in range(3):
        served_by(timeline, "ses-eu", requested=early)
    assert state(timeline) is SwitchState.VERIFYING
    timeline.read("email", "ses-eu", requested=early)
    for _ in range(3):
        served_by(timeline, "ses-eu")
    assert state(timeline) is SwitchState.COMMITTED


def test_a_reading_requested_before_the_action_ended_does_not_count() -> None:
    timeline = mail()
    timeline.confirm("email")
    timeline.read("email", "pm-prod")
    timeline.advance(1)
    early = timeline.clock.mono - 0.5
    timeline.applied()
    timeline.advance(2)
    for _ in range(3):
        served_by(timeline, "ses-eu")
    timeline.read("email", "ses-eu", requested=early)
    assert state(timeline) is SwitchState.VERIFYING


def test_an_answer_older_than_the_action_is_unknown_and_never_false() -> None:
    timeline = mail()
    before = timeline.clock.wall - 0.1
    act(timeline)
    timeline.read("email", "ses-eu")
    for _ in range(5):
        served_by(timeline, "pm-prod", at=before)
    timeline.advance(31)
    assert truth(timeline, FactName.FRONT_DOOR) is Truth.UNKNOWN
    assert state(timeline) is SwitchState.UNKNOWN, "not split, although the old name was seen"


def test_an_answer_without_the_time_that_was_promised_is_no_proof() -> None:
    timeline = mail()
    act(timeline)
    timeline.read("email", "ses-eu")
    for _ in range(5):
        timeline.observe(FRONT, facts={"provider": "ses-eu"})
    timeline.advance(31)
    assert truth(timeline, FactName.FRONT_DOOR) is Truth.UNKNOWN


def test_the_front_door_has_to_name_the_new_provider_several_times_in_a_row() -> None:
    timeline = mail()
    act(timeline)
    timeline.read("email", "ses-eu")
    for who in ("ses-eu", "ses-eu", "pm-prod", "ses-eu", "ses-eu"):
        served_by(timeline, who)
    assert state(timeline) is SwitchState.VERIFYING
    served_by(timeline, "ses-eu")
    assert state(timeline) is SwitchState.COMMITTED


def test_a_sample_that_says_nothing_neither_counts_nor_starts_anew() -> None:
    timeline = mail()
    act(timeline)
    timeline.read("email", "ses-eu")
    for _ in range(2):
        served_by(timeline, "ses-eu")
    timeline.unknown(FRONT)
    assert state(timeline) is SwitchState.VERIFYING
    served_by(timeline, "ses-eu")
    assert state(timeline) is SwitchState.COMMITTED


def test_a_fact_that_cannot_be_measured_any_more_is_unknown_at_the_deadline() -> None:
    timeline = mail()
    act(timeline)
    timeline.read("email", "ses-eu")
    served_by(timeline, "pm-prod")
    timeline.unknown(FRONT)
    timeline.advance(31)
    assert state(timeline) is SwitchState.UNKNOWN


def test_the_old_side_that_no_longer_serves_is_found_by_its_own_check() -> None:
    fenced = mail_switch(old_out=OldOut(stateless=False, check="email/{from}/api", status=Status.DOWN))
    timeline = mail(switch=fenced)
    act(timeline)
    assert {poll.check for poll in timeline.take(Poll)} >= {FRONT, PRIMARY}
    timeline.read("email", "ses-eu")
    for _ in range(3):
        served_by(timeline, "ses-eu")
    timeline.ok(PRIMARY)
    assert state(timeline) is SwitchState.VERIFYING
    timeline.down(PRIMARY)
    assert state(timeline) is SwitchState.COMMITTED
    assert truth(timeline, FactName.OLD_OUT) is Truth.TRUE


def test_without_declared_checks_the_essential_features_are_verified() -> None:
    timeline = mail(switch=mail_switch(served_by=None, verify=()))
    act(timeline)
    timeline.read("email", "ses-eu")
    timeline.down(LETTERS)
    assert state(timeline) is SwitchState.VERIFYING
    timeline.observe(FRONT, "degraded", "slow")
    assert state(timeline) is SwitchState.COMMITTED, "slow mail is mail; newsletters are not essential"


def test_undeclared_facts_are_no_obstacle() -> None:
    timeline = mail(switch=mail_switch(served_by=None, old_out=None, verify=()), features={})
    act(timeline)
    timeline.read("email", "ses-eu")
    assert state(timeline) is SwitchState.COMMITTED
    assert truth(timeline, FactName.FRONT_DOOR) is Truth.UNDECLARED
    assert truth(timeline, FactName.OLD_OUT) is Truth.UNDECLARED
    assert truth(timeline, FactName.FEATURES) is Truth.UNDECLARED


def test_without_mechanism_and_front_door_nobody_can_say_that_it_worked() -> None:
    timeline = mail(switch=mail_switch(read=None, served_by=None))
    timeline.confirm("email")
    timeline.applied()
    timeline.advance(2)
    timeline.ok(FRONT, times=3)
    assert state(timeline) is SwitchState.VERIFYING
    timeline.advance(30)
    assert state(timeline) is SwitchState.UNKNOWN


# --- settling and deadlines ------------------------------------------------------------------------------------------


def test_nothing_is_judged_before_the_settle_time_is_over() -> None:
    timeline = mail()
    act(timeline, settle=1.9)
    timeline.read("email", "ses-eu")
    for _ in range(3):
        served_by(timeline, "ses-eu")
    assert state(timeline) is SwitchState.SETTLING
    timeline.advance(0.2)
    assert state(timeline) is SwitchState.VERIFYING


def test_without_a_settle_time_it_is_judged_at_once() -> None:
    timeline = mail(switch=mail_switch(settle=0.0))
    act(timeline, settle=0.0)
    assert state(timeline) is SwitchState.VERIFYING
    timeline.read("email", "ses-eu")
    for _ in range(3):
        served_by(timeline, "ses-eu")
    assert state(timeline) is SwitchState.COMMITTED


def test_an_action_whose_answer_was_lost_is_observed_and_not_repeated() -> None:
    timeline = live_mail(mail_outside(result="unknown"))
    timeline.confirm("email")
    timeline.advance(10)
    assert state(timeline) is SwitchState.COMMITTED, "it had its effect after all"
    assert len(timeline.wanted(Apply)) == 1


def test_an_action_that_says_ok_and_does_nothing_had_no_effect() -> None:
    outside = mail_outside(effective=False)
    timeline = live_mail(outside)
    timeline.confirm("email")
    timeline.advance(40)
    assert state(timeline) is SwitchState.NO_EFFECT
    assert truth(timeline, FactName.MECHANISM) is Truth.FALSE
    assert timeline.state("email").active == "postmark"
    assert timeline.of(Proved) == []


def test_after_its_end_nothing_of_a_switch_is_left_ticking() -> None:
    timeline = live_mail()
    timeline.confirm("email")
    timeline.advance(10)
    assert {key[0] for key in timeline.timers} == {"read", "people", "review"}
    assert timeline.live.tables["switches"] == {}
    before = len(timeline.records)
    for _ in range(5):
        served_by(timeline, "pm-prod")
    for late in ("settle", "verify"):
        timeline.feed(TimerFired((late, "email-failover-1")))
    timeline.advance(60)
    assert [each for each in timeline.records[before:] if isinstance(each, SwitchAdvanced | SwitchEnded)] == []


def test_results_that_fail_while_verifying_are_judged_as_ever() -> None:
    timeline = mail()
    act(timeline)
    timeline.read("email", "ses-eu")
    timeline.down(FRONT, times=3)
    assert timeline.status("email") == "down"
    assert any(each.status is Status.DOWN for each in timeline.of(ComponentChanged))
    timeline.advance(31)
    assert state(timeline) is SwitchState.UNKNOWN


def test_files_that_change_while_a_switch_is_in_flight_leave_it_its_plan() -> None:
    timeline = mail()
    timeline.confirm("email")
    timeline.feed(Loaded(operation(email(switch=mail_switch(settle=60.0, deadline=5.0)), sha256="other")))
    timeline.read("email", "pm-prod")
    timeline.applied()
    timeline.advance(2)
    assert state(timeline) is SwitchState.VERIFYING


def test_a_component_that_leaves_the_files_while_it_is_switched_is_switched_to_the_end() -> None:
    timeline = mail()
    timeline.confirm("email")
    timeline.feed(Loaded(operation(sha256="empty")))
    timeline.read("email", "pm-prod")
    timeline.applied()
    timeline.advance(2)
    timeline.read("email", "ses-eu")
    timeline.advance(31)
    assert state(timeline) is SwitchState.UNKNOWN, "its checks no longer run"
    timeline.check_replay()


# --- others ----------------------------------------------------------------------------------------------------------


def test_somebody_else_switches_and_the_incident_says_so() -> None:
    timeline = mail()
    timeline.down(FRONT, times=3)
    timeline.read("email", "ses-eu")
    incident = timeline.incident("email")
    assert incident is not None
    assert incident.entries[-1].text == "the mechanism now says 'ses-eu'; opsdash did not do that"
    assert timeline.of(ActiveChanged)[-1].on_backup


def test_an_effect_that_came_too_late_is_told_as_such() -> None:
    timeline = mail()
    act(timeline)
    timeline.down(PRIMARY, times=3)
    timeline.read("email", "pm-prod")
    served_by(timeline, "pm-prod")
    timeline.advance(31)
    assert state(timeline) is SwitchState.NO_EFFECT
    timeline.read("email", "ses-eu")
    incident = timeline.incident("email")
    assert incident is not None
    told = [entry.text for entry in incident.entries]
    assert "the mechanism now says 'ses-eu'; a late effect of email-failover-1" in told
    assert timeline.state("email").on_backup_since is not None


def test_a_switch_that_moved_the_mechanism_without_being_committed_still_counts_as_being_on_the_backup() -> None:
    timeline = live_mail(mail_outside(status={FRONT: Status.DOWN}))
    timeline.confirm("email")
    timeline.advance(40)
    assert state(timeline) in (SwitchState.UNKNOWN, SwitchState.NO_EFFECT)
    timeline.advance(31)
    found = timeline.state("email")
    assert (found.active, found.on_backup_since is not None) == ("ses", True)
    assert ("review", "email", "backup") in timeline.timers


def test_components_switch_side_by_side() -> None:
    def shop(name: str) -> object:
        return component(
            name,
            checks=["door"],
            providers=[provider("a", "api"), provider("b", "api")],
            switch=mail_switch(served_by=ServedBy(f"{name}/door", "facts.who"), verify=(), old_out=None),
        )

    timeline = Timeline(operation(shop("one"), shop("two")))  # type: ignore[arg-type]
    for name in ("one", "two"):
        timeline.read(name, "a")
    timeline.all_ok()
    for name in ("one", "two"):
        timeline.confirm(name)
        timeline.read(name, "a")
        timeline.applied()
    timeline.advance(2)
    for name in ("one", "two"):
        timeline.read(name, "b")
    for _ in range(3):
        timeline.observe("one/door", facts={"who": "b"})
    assert timeline.switch("one").state is SwitchState.COMMITTED
    assert timeline.switch("two").state is SwitchState.VERIFYING


def test_evidence_is_kept_with_each_fact() -> None:
    timeline = live_mail()
    timeline.confirm("email")
    timeline.advance(10)
    evidence = {fact.name: fact.evidence for fact in timeline.switch("email").facts}
    assert evidence[FactName.MECHANISM] == "it says 'ses-eu'"
    assert evidence[FactName.FRONT_DOOR] == "answered by 'ses-eu'"


def test_a_feature_that_matters_is_verified_even_if_only_one_of_its_checks_fails() -> None:
    both = {"orders": Feature("orders", "Orders", Tier.ESSENTIAL, (FRONT, LETTERS))}
    timeline = mail(switch=mail_switch(served_by=None, verify=()), features=both)
    act(timeline)
    timeline.read("email", "ses-eu")
    timeline.ok(FRONT)
    timeline.down(LETTERS)
    timeline.advance(31)
    assert state(timeline) is SwitchState.NO_EFFECT
    assert truth(timeline, FactName.FEATURES) is Truth.FALSE


def test_the_definition_of_a_check_that_nobody_polls_does_no_harm() -> None:
    timeline = Timeline(operation(email(), checks=[check(FRONT, every=300.0)]), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    timeline.confirm("email")
    timeline.advance(10)
    assert state(timeline) is SwitchState.COMMITTED, "samples do not wait for slots"
