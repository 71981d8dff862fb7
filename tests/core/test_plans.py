"""Plans: where a switch would lead, and what speaks against it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from opsdash.core.evolve import evolve
from opsdash.core.proofs import VALID_FOR
from opsdash.model.inputs import JournalState, PreflightDone
from opsdash.model.operation import Feature, Tier
from opsdash.model.records import Proved
from opsdash.model.status import Status
from opsdash.model.switch import Guard, GuardResult, Plan, Refused, SwitchKind
from opsdash.testing import (
    Timeline,
    call,
    component,
    email,
    failure,
    mail_outside,
    mail_switch,
    operation,
    order_mail_only,
    provider,
)

THREE = [
    provider("main", "api", as_name="m", values={"host": "m.example"}),
    provider("one", "api", as_name="1", values={"host": "one.example"}),
    provider("two", "api", as_name="2", values={"host": "two.example"}),
]


def shop(**settings: Any) -> Timeline:
    """A shop with a primary and two backups, served by its primary; nothing but the mechanism is declared."""
    switch = mail_switch(served_by=None, old_out=None, verify=())
    timeline = Timeline(operation(component("shop", providers=THREE, **({"switch": switch} | settings))))
    timeline.read("shop", "m")
    timeline.all_ok()
    return timeline


def mail(**settings: Any) -> Timeline:
    timeline = Timeline(operation(email(**settings)), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    return timeline


def planned(timeline: Timeline, kind: str, target: str | None = None, of: str = "shop") -> Plan:
    plan = timeline.plan(of, kind, target)
    assert isinstance(plan, Plan), plan
    return plan


def refused(timeline: Timeline, kind: str, target: str | None = None, of: str = "shop") -> Refused:
    plan = timeline.plan(of, kind, target)
    assert isinstance(plan, Refused), plan
    return plan


def guard(plan: Plan, rule: str) -> Guard:
    return next(each for each in plan.guards if each.rule == rule)


# --- targets ---------------------------------------------------------------------------------------------------------


def test_a_failover_goes_to_the_first_ready_provider_in_file_order() -> None:
    timeline = shop()
    assert planned(timeline, "failover").target == "one"
    timeline.down("shop/one/api", times=3)
    assert planned(timeline, "failover").target == "two"


def test_a_degraded_backup_is_ready_and_an_unknown_one_is_not() -> None:
    timeline = shop()
    timeline.unknown("shop/one/api", times=2)
    assert planned(timeline, "failover").target == "two"
    for _ in range(3):
        timeline.observe("shop/two/api", "degraded", "slow")
    assert planned(timeline, "failover").target == "two"


def test_when_none_is_ready_it_is_refused_with_the_reason_of_each_one() -> None:
    timeline = shop()
    timeline.down("shop/one/api", times=3)
    timeline.unknown("shop/two/api", times=2)
    answer = refused(timeline, "failover")
    assert answer.rule == "none_ready"
    assert "shop/one/api is down (no answer)" in answer.reason
    assert "shop/two/api is unknown" in answer.reason
    assert answer.override == "--to PROVIDER"


def test_on_a_backup_the_next_failover_goes_to_another_backup_and_never_to_the_primary() -> None:
    timeline = shop()
    timeline.read("shop", "1")
    assert planned(timeline, "failover").target == "two"
    timeline.down("shop/two/api", times=3)
    assert refused(timeline, "failover").rule == "none_ready"


def test_with_the_only_backup_serving_there_is_nowhere_to_fail_over_to() -> None:
    timeline = mail()
    timeline.read("email", "ses-eu")
    assert refused(timeline, "failover", of="email").rule == "no_backup"


def test_a_target_can_be_named_the_primary_too() -> None:
    timeline = shop()
    timeline.down("shop/two/api", times=3)
    assert planned(timeline, "failover", "two").target == "two"
    timeline.read("shop", "1")
    assert planned(timeline, "failover", "main").kind is SwitchKind.FAILBACK


def test_going_to_another_backup_is_a_failover_whatever_it_is_called() -> None:
    timeline = shop()
    timeline.read("shop", "1")
    assert planned(timeline, "failback", "two").kind is SwitchKind.FAILOVER


def test_never_to_the_provider_that_serves_already() -> None:
    assert refused(shop(), "failover", "main").rule == "already_active"
    assert refused(shop(), "failback").rule == "already_active"


def test_a_failback_goes_to_the_primary() -> None:
    timeline = shop()
    timeline.read("shop", "2")
    plan = planned(timeline, "failback")
    assert (plan.kind, plan.source, plan.target) == (SwitchKind.FAILBACK, "two", "main")


def test_while_nobody_knows_who_serves_a_target_must_be_named() -> None:
    timeline = shop()
    timeline.read("shop", "somebody")
    assert refused(timeline, "failover").rule == "active_unknown"
    plan = planned(timeline, "failover", "one")
    assert (plan.source, plan.expected, plan.undo_call) == ("", None, None)
    assert guard(plan, "expected_from").result is GuardResult.WARN
    assert "somebody" in guard(plan, "expected_from").evidence


def test_a_mechanism_that_cannot_be_read_is_not_said_to_have_named_anybody() -> None:
    timeline = shop()
    timeline.read("shop", None)
    timeline.read("shop", None)
    assert guard(planned(timeline, "failover", "one"), "expected_from").evidence == "it cannot be read"


def test_an_action_that_names_who_serves_now_cannot_be_planned_while_nobody_knows() -> None:
    timeline = shop(switch=mail_switch(action=call("switch", "{from} to {to}"), served_by=None, old_out=None))
    timeline.read("shop", "somebody")
    assert refused(timeline, "failover", "one").rule == "active_unknown"


@pytest.mark.parametrize(
    ("kind", "target", "rule"),
    [("failover", "three", "unknown_provider"), ("degrade", None, "unknown_mode"), ("restore", None, "no_mode")],
)
def test_what_does_not_exist_is_refused_with_what_there_is(kind: str, target: str | None, rule: str) -> None:
    answer = refused(shop(), kind, target)
    assert answer.rule == rule


def test_a_component_without_a_switch_says_so_or_why_it_was_switched_off() -> None:
    timeline = Timeline(operation(component("shop"), component("crm", off={"switch": "line 9: no action"})))
    assert refused(timeline, "failover").rule == "no_switch"
    assert refused(timeline, "failover", of="crm").reason == "line 9: no action"
    assert refused(timeline, "failover", of="fax").rule == "unknown_component"


def test_templates_are_filled_in_for_the_way_there_and_the_way_back() -> None:
    action = mail_switch().action
    assert action.raw["value"] == "{to.as}"
    plan = planned(shop(), "failover", "two")
    assert plan.call is not None
    assert plan.undo_call is not None
    assert (plan.call.raw["value"], plan.undo_call.raw["value"]) == ("2", "m")
    assert (plan.expected, plan.wanted) == ("m", "2")


# --- guards ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "result"),
    [
        ("ok", GuardResult.PASS),
        ("degraded", GuardResult.WARN),
        ("unknown", GuardResult.FAIL),
        ("down", GuardResult.FAIL),
    ],
)
def test_a_target_that_does_not_work_stands_in_the_way(status: str, result: GuardResult) -> None:
    timeline = shop()
    for _ in range(3):
        timeline.observe("shop/one/api", status, None if status == "ok" else "timeout")
    found = guard(planned(timeline, "failover", "one"), "target_healthy")
    assert (found.result, found.overridable) == (result, True)


def test_a_guard_says_how_old_its_evidence_is() -> None:
    timeline = shop()
    timeline.clock.advance(7)
    assert guard(planned(timeline, "failover"), "target_healthy").age == pytest.approx(7)


def test_leaving_a_primary_that_works_is_worth_a_warning() -> None:
    timeline = shop()
    assert guard(planned(timeline, "failover"), "needed").result is GuardResult.WARN
    timeline.down("shop/main/api", times=3)
    assert guard(planned(timeline, "failover"), "needed").result is GuardResult.PASS


def test_the_last_read_of_the_mechanism_failed() -> None:
    timeline = shop()
    assert guard(planned(timeline, "failover"), "expected_from").result is GuardResult.PASS
    timeline.read("shop", None)
    assert guard(planned(timeline, "failover"), "expected_from").result is GuardResult.WARN
    timeline.all_ok()
    assert guard(planned(timeline, "failover"), "expected_from").result is GuardResult.WARN


def test_proof_is_fresh_for_a_hundred_days_and_while_the_definition_stands() -> None:
    timeline = shop()
    assert guard(planned(timeline, "failover"), "proof").result is GuardResult.WARN
    prove(timeline, "one", "sha of shop")
    assert guard(planned(timeline, "failover"), "proof").result is GuardResult.PASS
    timeline.clock.advance(VALID_FOR)
    assert guard(planned(timeline, "failover"), "proof").result is GuardResult.WARN
    prove(timeline, "one", "sha of another shop")
    assert "changed" in guard(planned(timeline, "failover"), "proof").evidence


def prove(timeline: Timeline, what: str, sha256: str) -> None:
    timeline.world.apply(evolve(timeline.world, Proved(timeline.clock.wall, "shop", what, "drill", sha256)))


@pytest.mark.parametrize(
    ("passed", "result"), [(True, GuardResult.PASS), (False, GuardResult.FAIL), (None, GuardResult.UNKNOWN)]
)
def test_the_preflight_of_the_action_is_a_guard(*, passed: bool | None, result: GuardResult) -> None:
    timeline = shop()
    assert guard(planned(timeline, "failover"), "preflight").result is GuardResult.UNKNOWN
    timeline.feed(PreflightDone("shop/one", passed, "asked"))
    assert guard(planned(timeline, "failover"), "preflight").result is result
    assert guard(planned(timeline, "failover", "two"), "preflight").evidence == "not tried yet"


def test_a_journal_that_cannot_be_written_stands_in_the_way_and_cannot_be_overridden() -> None:
    timeline = shop()
    timeline.feed(JournalState("the disk is full"))
    found = guard(planned(timeline, "failover"), "journal")
    assert (found.result, found.overridable) == (GuardResult.FAIL, False)
    timeline.feed(JournalState(""))
    assert all(each.rule != "journal" for each in planned(timeline, "failover").guards)


def test_an_unknown_guard_warns_where_it_may_be_overridden_and_blocks_where_not() -> None:
    soft = Guard("soft", "", GuardResult.UNKNOWN, "")
    hard = Guard("hard", "", GuardResult.UNKNOWN, "", overridable=False)
    plan = planned(shop(), "failover")
    mixed = Plan(**{name: getattr(plan, name) for name in plan.__slots__} | {"guards": (soft, hard)})
    assert (mixed.failed, mixed.warnings) == ((hard,), (soft,))


def test_the_reason_is_filled_in_from_the_failure_mode_that_is_active() -> None:
    timeline = mail()
    assert planned(timeline, "failover", of="email").reason == ""
    timeline.down("email/postmark/api", times=3)
    assert planned(timeline, "failover", of="email").reason == "Provider unreachable"


# --- degraded modes --------------------------------------------------------------------------------------------------


def test_a_degraded_mode_that_drops_something_essential_needs_the_name_typed() -> None:
    timeline = mail()
    assert not planned(timeline, "degrade", of="email").typed
    essential = {"newsletters": Feature("newsletters", "Newsletters", Tier.ESSENTIAL)}
    plan = planned(mail(features=essential), "degrade", of="email")
    assert plan.typed
    assert guard(plan, "drops_essential").result is GuardResult.WARN


def test_one_degraded_mode_at_a_time() -> None:
    one = order_mail_only()
    timeline = mail(modes={one.id: one, "silence": replace(one, id="silence", as_name="silence")})
    assert refused(timeline, "degrade", of="email").reason.endswith("it has: order-mail-only, silence")
    timeline.read("email", "silence", "silence")
    assert refused(timeline, "degrade", "order-mail-only", of="email").rule == "other_mode"


def test_leaving_requires_what_was_dropped_to_work_again_and_may_be_overridden() -> None:
    timeline = mail()
    timeline.confirm("email", "degrade")
    timeline.advance(10)
    timeline.down("email/newsletter", times=3)
    found = guard(planned(timeline, "restore", of="email"), "dropped_pass")
    assert (found.result, found.overridable) == (GuardResult.FAIL, True)
    assert "email/newsletter" in found.evidence
    timeline.ok("email/newsletter", times=2)
    assert guard(planned(timeline, "restore", of="email"), "dropped_pass").result is GuardResult.PASS


def test_where_nobody_knows_what_was_there_before_a_person_has_to_leave_the_mode() -> None:
    timeline = mail()
    timeline.read("email", "transactional-only", "order-mail-only")
    assert refused(timeline, "restore", of="email").rule == "no_leave"


def test_a_mode_that_a_problem_switched_off_says_why() -> None:
    timeline = mail(modes={}, off={"modes/order-mail-only": "line 30: no enter"})
    assert refused(timeline, "degrade", "order-mail-only", of="email").reason == "line 30: no enter"


def test_a_standing_failure_names_the_reason_for_degrading() -> None:
    timeline = mail()
    for _ in range(3):
        timeline.observe("email/postmark/api", "degraded", "rate_limited")
    assert planned(timeline, "degrade", of="email").reason == failure("rate-limited").title
    assert timeline.health("email").status is Status.DEGRADED
