"""Guards: what speaks for and against a switch, one by one, and what a component may say about them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from opsdash.core.guards import RULES
from opsdash.model.inputs import LiftBlockadeIntent, MaintenanceIntent, PreflightDone, WindowsOpen
from opsdash.model.operation import Limit, OldOut, Severity, Step
from opsdash.model.records import ApprovalAsked, SwitchBlocked
from opsdash.model.status import Status
from opsdash.model.switch import Guard, GuardResult, Plan, Refused, SwitchKind, SwitchState
from opsdash.model.window import Occurrence, WindowKind, WindowSpec
from opsdash.testing import (
    Timeline,
    call,
    check,
    component,
    email,
    intent_of,
    mail_outside,
    mail_switch,
    operation,
    provider,
)

PASS, WARN, FAIL, UNKNOWN = GuardResult.PASS, GuardResult.WARN, GuardResult.FAIL, GuardResult.UNKNOWN
PRIMARY, STANDBY = "email/postmark/api", "email/ses/api"


def mail(*others: Any, providers: Any = None, checks: Any = (), **switch: Any) -> Timeline:
    """Email, all well, with whatever its switch says."""
    settings: dict[str, Any] = {"switch": mail_switch(**switch)}
    if providers is not None:
        settings["providers"] = providers
    timeline = Timeline(operation(email(**settings), *others, checks=checks), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    return timeline


def plan(timeline: Timeline, kind: str = "failover") -> Plan:
    found = timeline.plan("email", kind)
    assert isinstance(found, Plan), found
    return found


def guard(timeline: Timeline, rule: str, kind: str = "failover") -> Guard:
    return next(each for each in plan(timeline, kind).guards if each.rule == rule)


def rules(timeline: Timeline, kind: str = "failover") -> set[str]:
    return {each.rule for each in plan(timeline, kind).guards}


def refused(answer: Refused | str) -> Refused:
    assert isinstance(answer, Refused), f"accepted: {answer}"
    return answer


def test_every_guard_of_a_plan_is_in_the_table() -> None:
    timeline = mail()
    timeline.confirm("email")
    timeline.advance(10)
    assert rules(timeline, "failback") | rules(mail()) <= RULES.keys()


def test_what_never_may_be_overridden_says_so() -> None:
    assert {rule for rule, each in RULES.items() if not each.overridable} == {"live_switch", "journal", "expected_from"}


# --- the state of a plan ---------------------------------------------------------------------------------------------


def test_a_plan_is_planned_until_everything_was_tried_then_ready_or_blocked() -> None:
    timeline = mail()
    assert plan(timeline).state is SwitchState.PLANNED, "the preflight has not been tried yet"
    timeline.feed(PreflightDone("email/ses", True, "fine"))
    assert plan(timeline).state is SwitchState.READY
    timeline.down(STANDBY, times=3)
    blocked = timeline.plan("email", "failover", "ses")
    assert isinstance(blocked, Plan)
    assert blocked.state is SwitchState.BLOCKED


# --- the sides -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("old_out", [OldOut(stateless=False, mechanism=True), OldOut(stateless=True), None])
def test_taking_away_the_one_that_works_is_refused_also_where_both_may_be_up(old_out: OldOut | None) -> None:
    timeline = mail(old_out=old_out)
    timeline.down(STANDBY, times=3)
    found = timeline.plan("email", "failover", "ses")
    assert isinstance(found, Plan)
    serves = next(each for each in found.guards if each.rule == "somebody_serves")
    assert serves.result is FAIL
    assert "takes away the one that works" in serves.evidence


def test_where_neither_side_works_nothing_is_taken_away() -> None:
    timeline = mail()
    timeline.down(STANDBY, times=3)
    timeline.down(PRIMARY, times=3)
    found = timeline.plan("email", "failover", "ses")
    assert isinstance(found, Plan)
    assert next(each for each in found.guards if each.rule == "somebody_serves").result is WARN


@pytest.mark.parametrize(
    ("old_out", "before", "result"),
    [
        (OldOut(stateless=True), (), PASS),
        (OldOut(stateless=False, mechanism=True), (), PASS),
        (None, (Step("fence", call("fence", "on"), undo=call("fence", "off")),), PASS),
        (None, (), WARN),
    ],
)
def test_a_side_that_goes_on_serving_has_to_be_harmless_or_shown_to_be_out(
    old_out: OldOut | None, before: Any, result: GuardResult
) -> None:
    assert guard(mail(old_out=old_out, before=before), "fence").result is result


def test_a_primary_that_has_just_come_back_is_warned_of() -> None:
    timeline = mail(steady=600.0)
    timeline.confirm("email")
    timeline.advance(10)
    assert guard(timeline, "steady", "failback").result is WARN
    timeline.advance(600)
    found = guard(timeline, "steady", "failback")
    assert (found.result, found.evidence) == (PASS, "well for 10m, while it did not serve")


@pytest.mark.parametrize(
    ("facts", "status", "result"),
    [
        ({"behind": 3}, Status.OK, PASS),
        ({"behind": 30.0}, Status.OK, PASS),
        ({"behind": 31}, Status.OK, FAIL),
        ({}, Status.OK, FAIL),
        ({"behind": True}, Status.OK, FAIL),
        ({"behind": 3}, Status.UNKNOWN, FAIL),
    ],
)
def test_the_data_of_the_new_side_is_known_and_not_too_far_behind(
    facts: dict[str, Any], status: Status, result: GuardResult
) -> None:
    timeline = mail(lag=Limit("email/{to}/api", "facts.behind", 30.0))
    timeline.observe(STANDBY, status, facts=facts)
    timeline.observe(STANDBY, status, facts=facts)
    found = timeline.plan("email", "failover", "ses")
    assert isinstance(found, Plan)
    assert next(each for each in found.guards if each.rule == "lag").result is result


@pytest.mark.parametrize(
    ("capacity", "result"), [("500", PASS), ("400", PASS), ("300", WARN), ("lots", WARN), (None, WARN)]
)
def test_the_new_side_has_to_carry_the_declared_load(capacity: str | None, result: GuardResult) -> None:
    values = {} if capacity is None else {"capacity": capacity}
    providers = (
        provider("postmark", "api", as_name="pm-prod"),
        provider("ses", "api", as_name="ses-eu", values=values),
    )
    assert guard(mail(providers=providers, load=400.0), "capacity").result is result


def test_without_a_declared_load_nothing_is_said_of_capacity() -> None:
    assert "capacity" not in rules(mail())


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ({"zone": "us-east"}, {"zone": "eu-west"}, None),
        ({"zone": "us-east"}, {"zone": "us-east"}, "zone us-east"),
        ({"credential": "vault/mail"}, {"credential": "vault/mail"}, "credential vault/mail"),
        ({"host": "127.0.0.1"}, {"host": "127.0.0.1"}, None),
        ({"port": "25"}, {"port": "25"}, None),
    ],
)
def test_what_both_sides_have_in_common_may_take_both_out(
    one: dict[str, str], other: dict[str, str], words: str | None
) -> None:
    providers = (
        provider("postmark", "api", as_name="pm-prod", values=one),
        provider("ses", "api", as_name="ses-eu", values=other),
    )
    found = guard(mail(providers=providers), "shared_fate")
    assert (found.result is WARN) == (words is not None)
    assert words is None or words in found.evidence


def test_two_sides_that_are_watched_on_one_host_share_it() -> None:
    same = [check(name, raw={"url": f"https://mail.example/{name}"}) for name in (PRIMARY, STANDBY)]
    assert "host mail.example" in guard(mail(checks=same), "shared_fate").evidence


# --- what the switch itself needs ------------------------------------------------------------------------------------


def test_a_switch_that_goes_by_what_has_failed_is_warned_of() -> None:
    balancer = component("balancer", checks=("up",))
    watched = check("balancer/up", raw={"url": "http://lb.internal:8404/health"})
    action = replace(
        call("switch", "{to.as}"), raw={"mechanism": "switch", "value": "{to.as}", "url": "http://lb.internal/set"}
    )
    timeline = mail(balancer, checks=[watched], action=action)
    assert guard(timeline, "trace").result is PASS
    timeline.down("balancer/up", times=3)
    found = guard(timeline, "trace")
    assert found.result is WARN
    assert "it goes by lb.internal, where balancer/up is down" in found.evidence


def test_a_switch_that_looks_up_a_name_needs_name_resolution() -> None:
    names = component("names", checks=("resolve",))
    action = replace(
        call("switch", "{to.as}"), raw={"mechanism": "switch", "value": "{to.as}", "url": "http://lb.internal/set"}
    )
    timeline = mail(names, checks=[check("names/resolve", kind="dns", raw={"name": "shop.example"})], action=action)
    timeline.down("names/resolve", times=3)
    assert "it looks up a name, and names/resolve is down" in guard(timeline, "trace").evidence


@pytest.mark.parametrize("status", ["down", "unknown"])
def test_a_component_that_the_switch_is_said_to_need_is_warned_of(status: str) -> None:
    timeline = mail(component("identity", checks=("login",)), needs=("identity",))
    assert guard(timeline, "trace").result is PASS
    (timeline.down if status == "down" else timeline.unknown)("identity/login", times=3)
    assert f"it needs identity, which is {status}" in guard(timeline, "trace").evidence


# --- opsdash itself --------------------------------------------------------------------------------------------------


def test_half_of_everything_failing_at_once_may_be_opsdash() -> None:
    others = [component(name, checks=("up",)) for name in ("a", "b", "c", "d")]
    timeline = mail(*others)
    assert guard(timeline, "observer").result is PASS
    timeline.down("a/up", times=3)
    timeline.down("b/up", times=3)
    found = guard(timeline, "observer")
    assert (found.result, found.evidence[:36]) == (WARN, "2 of 4 others failed in the last two")
    timeline.advance(200)
    timeline.all_ok()
    timeline.down("a/up", "b/up", times=1)
    assert guard(timeline, "observer").result is PASS


def test_a_component_that_fails_with_its_parents_says_nothing_about_opsdash() -> None:
    children = [component(name, checks=("up",), depends_on=("email",)) for name in ("a", "b", "c", "d")]
    assert "observer" not in rules(mail(*children))


def test_another_component_that_is_moved_by_the_same_mechanism_waits() -> None:
    twin = component(
        "twin",
        checks=("up",),
        providers=(provider("one", "api"), provider("two", "api")),
        switch=mail_switch(served_by=None, verify=("twin/up",), mechanism="pointer: file=x"),
    )
    timeline = mail(twin, mechanism="pointer: file=x")
    timeline.read("twin", "one")
    timeline.confirm("email")
    found = refused(timeline.confirm("twin"))
    assert found.rule == "live_switch"
    assert "failover of email, which uses the same mechanism" in found.reason
    timeline.advance(10)
    assert not isinstance(timeline.confirm("twin"), Refused)


def test_credentials_that_are_refused_stand_in_the_way() -> None:
    timeline = mail()
    timeline.feed(PreflightDone("email/ses", True, "reachable", credentials=True))
    assert guard(timeline, "credentials").result is PASS
    timeline.feed(PreflightDone("email/ses", False, "Permission denied", credentials=False))
    assert guard(timeline, "credentials").result is FAIL
    assert refused(timeline.confirm("email")).rule in ("preflight", "credentials")


# --- blockade --------------------------------------------------------------------------------------------------------


def test_after_a_switch_another_one_is_warned_of_for_an_hour() -> None:
    timeline = mail()
    timeline.confirm("email")
    timeline.advance(10)
    assert guard(timeline, "blockade", "failback").result is WARN
    timeline.advance(3600)
    assert guard(timeline, "blockade", "failback").result is PASS


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 86400.0])
def test_a_clock_that_jumps_neither_ends_a_blockade_nor_makes_it_longer(jump: float) -> None:
    timeline = mail()
    timeline.confirm("email")
    timeline.advance(10)
    timeline.clock.wall += jump
    assert guard(timeline, "blockade", "failback").result is WARN
    timeline.advance(3595)
    assert guard(timeline, "blockade", "failback").result is PASS


def test_a_blockade_outlives_a_restart() -> None:
    timeline = mail()
    timeline.confirm("email")
    timeline.advance(10)
    again = timeline.crash()
    again.advance(1)
    again.all_ok()
    assert guard(again, "blockade", "failback").result is WARN


def test_a_person_ends_a_blockade_with_a_reason() -> None:
    timeline = mail()
    timeline.confirm("email")
    timeline.advance(10)
    assert refused(timeline.want(LiftBlockadeIntent("email", " "))).rule == "reason"
    assert timeline.want(LiftBlockadeIntent("email", "it was a drill")) == "email-failover-1"
    assert "blockade" not in rules(timeline, "failback")
    moved = timeline.state("email").moved
    assert moved is not None
    assert moved.lifted == "maria"
    assert refused(timeline.want(LiftBlockadeIntent("email", "again"))).rule == "state"


def test_a_blockade_is_not_forgotten_over_an_attempt_that_came_to_nothing() -> None:
    timeline = mail()
    timeline.confirm("email")
    timeline.advance(10)
    assert timeline.outside is not None
    timeline.outside.results["switch"] = "refused"
    timeline.confirm("email", "failback")
    timeline.advance(10)
    assert timeline.switch("email").state is SwitchState.ABORTED
    assert guard(timeline, "blockade", "failback").result is WARN
    timeline.confirm("email", "degrade")
    timeline.advance(10)
    assert guard(timeline, "blockade", "failback").result is WARN


def test_a_slow_switch_blocks_ten_times_as_long() -> None:
    timeline = mail(blockade=60.0, settle=20.0)
    timeline.confirm("email")
    timeline.advance(30)
    timeline.advance(100)
    assert guard(timeline, "blockade", "failback").result is WARN, "it took 20 seconds, so 200 of them"
    timeline.advance(200)
    assert guard(timeline, "blockade", "failback").result is PASS


# --- severities, records of what was blocked -------------------------------------------------------------------------


def test_a_component_may_say_that_a_guard_blocks() -> None:
    timeline = mail(guards={"proof": Severity.BLOCK})
    found = refused(timeline.confirm("email"))
    assert (found.rule, found.override) == ("proof", "--override proof --reason TEXT")
    assert timeline.confirm("email", overrides=["proof"], reason="no time", typed="email") == "email-failover-1"
    assert timeline.switch("email").overrides == ("proof",)


def test_a_component_may_say_that_a_guard_only_warns() -> None:
    timeline = mail(guards={"lag": Severity.WARN}, lag=Limit("email/{to}/api", "facts.behind", 30.0))
    assert guard(timeline, "lag").result is WARN


def test_a_switch_that_was_blocked_is_recorded_with_its_reason_until_one_is_begun() -> None:
    timeline = mail(guards={"proof": Severity.BLOCK})
    timeline.confirm("email", who="ken")
    (blocked,) = timeline.of(SwitchBlocked)
    assert (blocked.who, blocked.rule, blocked.target) == ("ken", "proof", "ses")
    kept = timeline.state("email").blocked
    assert kept is not None
    assert kept.reason == blocked.reason
    timeline.confirm("email", overrides=["proof"], reason="no time", typed="email")
    assert timeline.state("email").blocked is None
    timeline.check_replay()


# --- two people ------------------------------------------------------------------------------------------------------


def test_a_switch_that_takes_two_people_begins_when_a_second_one_confirms() -> None:
    timeline = mail(approvals=2)
    asked = refused(timeline.confirm("email", who="maria"))
    assert (asked.rule, asked.override) == ("approval", "--override approval --reason TEXT")
    assert [each.who for each in timeline.of(ApprovalAsked)] == ["maria"]
    assert "maria asks for it" in guard(timeline, "approval").evidence
    assert refused(timeline.confirm("email", who="maria")).rule == "approval", "not twice the same"
    assert timeline.confirm("email", who="ken") == "email-failover-1"
    switch = timeline.switch("email")
    assert (switch.who, switch.approved_by) == ("maria", "ken")
    timeline.advance(10)
    timeline.check_replay()


def test_what_was_asked_for_is_forgotten_after_ten_minutes() -> None:
    timeline = mail(approvals=2)
    timeline.confirm("email", who="maria")
    timeline.advance(601)
    assert refused(timeline.confirm("email", who="ken")).rule == "approval"
    assert not isinstance(timeline.confirm("email", who="maria"), Refused), "ken's wish is the one that counts now"


def test_one_person_alone_breaks_the_glass_with_a_reason() -> None:
    timeline = mail(approvals=2)
    assert refused(timeline.confirm("email", overrides=["approval"], typed="email")).rule == "reason"
    assert refused(timeline.confirm("email", overrides=["approval"], reason="alone")).rule == "typed"
    answer = timeline.confirm("email", overrides=["approval"], reason="nobody else is awake", typed="email")
    assert answer == "email-failover-1"
    switch = timeline.switch("email")
    assert (switch.overrides, switch.approved_by) == (("approval",), None)


def test_an_approval_is_for_one_plan_and_no_other() -> None:
    timeline = mail(approvals=2)
    first = plan(timeline)
    timeline.want(intent_of(first), "maria")
    timeline.read("email", "somebody")
    other = timeline.plan("email", SwitchKind.FAILOVER, "ses")
    assert isinstance(other, Plan)
    assert refused(timeline.want(intent_of(other), "ken")).rule == "approval"


# --- windows ---------------------------------------------------------------------------------------------------------


def test_a_freeze_warns_and_where_the_component_says_so_blocks() -> None:
    frozen = WindowSpec("year-end", WindowKind.FREEZE, "Year end")
    for severity, result in ((None, WARN), (Severity.BLOCK, FAIL)):
        guards = {} if severity is None else {"freeze": severity}
        timeline = Timeline(
            operation(email(switch=mail_switch(guards=guards)), windows={"year-end": frozen}), outside=mail_outside()
        )
        timeline.advance(1)
        timeline.all_ok()
        assert "freeze" not in rules(timeline)
        now = timeline.clock.wall
        timeline.feed(WindowsOpen((Occurrence("year-end", now, now + 3600.0),)))
        found = guard(timeline, "freeze")
        assert (found.result, found.evidence) == (result, "Year end, until 1h from now")


def test_somebody_who_works_on_it_is_named() -> None:
    timeline = mail()
    timeline.want(MaintenanceIntent("email", 7200.0, "new mailer"), who="ken")
    found = guard(timeline, "maintenance")
    assert found.result is WARN
    assert "by ken, for 2h more" in found.evidence
