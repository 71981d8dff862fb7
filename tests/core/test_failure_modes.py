"""The register at work: which failure modes are recognised, and when they are let go of."""

from __future__ import annotations

from typing import Any

import pytest

from opsdash.model.inputs import AwayIntent, Loaded, Overdue, PauseIntent
from opsdash.model.operation import FailureMode, Person
from opsdash.model.records import FailureActive, FailureCleared, IncidentOpened
from opsdash.model.status import Reason
from opsdash.testing import Timeline, component, email, failure, operation, provider

A, B, C = "shop/a", "shop/b", "shop/c"


def shop(*failures: FailureMode, **settings: Any) -> Timeline:
    made = component("shop", checks=["a", "b", "c"], failures={each.id: each for each in failures}, **settings)
    people = [Person("maria", "Maria"), Person("ken", "Ken")]
    timeline = Timeline(operation(made, people=people))
    timeline.all_ok()
    return timeline


def mail() -> Timeline:
    timeline = Timeline(operation(email()))
    timeline.read("email", "pm-prod")
    timeline.all_ok()
    return timeline


# --- signals ---------------------------------------------------------------------------------------------------------


def test_any_of_its_signals_is_enough_and_only_a_confirmed_one() -> None:
    timeline = shop(failure("broken", A, B))
    timeline.down(B, times=2)
    assert timeline.failures("shop") == []
    timeline.down(B)
    assert timeline.failures("shop") == ["broken"]
    assert timeline.of(FailureActive)[0].evidence == B


@pytest.mark.parametrize(("needed", "failing", "active"), [(3, 2, False), (3, 3, True), (2, 1, False), (2, 2, True)])
def test_all_of_or_at_least_some_of_its_signals(needed: int, failing: int, *, active: bool) -> None:
    timeline = shop(failure("broken", A, B, C, at_least=needed))
    timeline.down(*(A, B, C)[:failing], times=3)
    assert (timeline.failures("shop") == ["broken"]) is active


def test_degraded_or_unknown_is_not_down() -> None:
    timeline = shop(failure("broken", A, B))
    for _ in range(5):
        timeline.observe(A, "degraded", "slow")
    timeline.unknown(B, times=5)
    assert timeline.failures("shop") == []


@pytest.mark.parametrize("status", ["degraded", "down"])
def test_with_a_reason_a_degraded_check_counts_as_well_as_one_that_is_down(status: str) -> None:
    timeline = shop(failure("limited", f"{A}#rate_limited"))
    for _ in range(3):
        timeline.observe(A, status, "rate_limited")
    assert timeline.failures("shop") == ["limited"]


def test_with_a_reason_no_other_reason_counts() -> None:
    timeline = shop(failure("limited", f"{A}#rate_limited"))
    timeline.down(A, times=3, reason="timeout")
    assert timeline.failures("shop") == []


def test_with_a_reason_unknown_counts_the_second_time() -> None:
    timeline = shop(failure("unparsable", f"{A}#expectation_error"))
    timeline.unknown(A, reason="expectation_error")
    assert timeline.failures("shop") == []
    timeline.unknown(A, reason="expectation_error")
    assert timeline.failures("shop") == ["unparsable"]


def test_right_after_a_start_one_unknown_result_is_not_two() -> None:
    timeline = Timeline(
        operation(component("shop", checks=["a"], failures={"x": failure("x", f"{A}#expectation_error")}))
    )
    timeline.unknown(A, reason="expectation_error")
    assert timeline.failures("shop") == []
    timeline.unknown(A, reason="expectation_error")
    assert timeline.failures("shop") == ["x"]


def test_that_no_result_comes_is_not_what_a_check_of_stale_data_means_by_stale() -> None:
    timeline = shop(failure("old-data", f"{A}#stale"))
    timeline.feed(Overdue(A))
    assert timeline.shown(A).reason is Reason.STALE
    assert timeline.failures("shop") == []
    for _ in range(3):
        timeline.observe(A, "down", "stale")
    assert timeline.failures("shop") == ["old-data"]


# --- whoever serves --------------------------------------------------------------------------------------------------


def test_active_means_whoever_serves() -> None:
    timeline = mail()
    timeline.down("email/ses/api", times=3)
    assert timeline.failures("email") == []
    timeline.read("email", "ses-eu")
    assert timeline.failures("email") == ["provider-unreachable"]
    timeline.read("email", "pm-prod")
    assert timeline.failures("email") == []


def test_while_nobody_knows_who_serves_what_was_recognised_stands_and_nothing_new_is() -> None:
    timeline = mail()
    timeline.down("email/postmark/api", times=3)
    timeline.read("email", "nobody")
    assert timeline.failures("email") == ["provider-unreachable"]
    timeline.ok("email/postmark/api", times=2)
    assert timeline.failures("email") == ["provider-unreachable"]
    timeline.read("email", "pm-prod")
    assert timeline.failures("email") == []


def test_the_primary_recovers_after_a_failover_and_the_failure_is_over() -> None:
    timeline = mail()
    timeline.down("email/postmark/api", "email/ses/api", times=3)
    assert set(timeline.failures("email")) == {"provider-unreachable", "nobody-delivers"}
    timeline.ok("email/ses/api", times=2)
    assert timeline.failures("email") == ["provider-unreachable"]
    timeline.read("email", "ses-eu")
    assert timeline.failures("email") == []


# --- blind -----------------------------------------------------------------------------------------------------------


def test_it_stands_while_opsdash_is_blind() -> None:
    timeline = shop(failure("broken", A))
    timeline.down(A, times=3)
    timeline.unknown(A, times=5)
    assert timeline.failures("shop") == ["broken"]
    timeline.ok(A)
    timeline.ok(A)
    assert timeline.failures("shop") == []


def test_it_stands_after_a_start_until_something_is_known() -> None:
    timeline = shop(failure("broken", A))
    timeline.down(A, times=3)
    later = timeline.crash()
    assert later.failures("shop") == ["broken"]
    later.ok(A, times=2)
    assert later.failures("shop") == []


def test_it_is_let_go_of_when_enough_is_known_to_be_well() -> None:
    timeline = shop(failure("broken", A, B, at_least=2))
    timeline.down(A, B, times=3)
    timeline.unknown(A, times=2)
    assert timeline.failures("shop") == ["broken"]
    timeline.ok(B, times=2)
    assert timeline.failures("shop") == [], "with one of two known to be well it cannot apply"


# --- elsewhere -------------------------------------------------------------------------------------------------------


def test_a_failure_mode_may_watch_the_checks_of_another_component() -> None:
    crm = component("crm", checks=["api"])
    sales = component("sales", checks=["page"], failures={"no-leads": failure("no-leads", "crm/api")})
    timeline = Timeline(operation(crm, sales))
    timeline.all_ok()
    timeline.down("crm/api", times=3)
    assert timeline.failures("sales") == ["no-leads"]
    assert timeline.incident("sales") is not None
    assert timeline.status("sales") == "ok", "its status is its own"
    timeline.ok("crm/api", times=2)
    assert timeline.failures("sales") == []


def test_it_may_watch_whoever_serves_another_component() -> None:
    shop = component("shop", checks=["a"], failures={"no-mail": failure("no-mail", "email/active/api")})
    timeline = Timeline(operation(email(), shop))
    timeline.read("email", "pm-prod")
    timeline.all_ok()
    timeline.down("email/postmark/api", times=3)
    assert timeline.failures("shop") == ["no-mail"]
    timeline.read("email", "ses-eu")
    assert timeline.failures("shop") == []


# --- people, pauses, files -------------------------------------------------------------------------------------------


def test_all_owners_away_is_a_failure_mode_that_opens_no_incident() -> None:
    timeline = shop(failure("nobody-knows-it", away=True), owners=("maria", "ken"))
    timeline.want(AwayIntent("maria", None))
    assert timeline.failures("shop") == []
    timeline.want(AwayIntent("ken", timeline.clock.wall + 3600))
    assert timeline.failures("shop") == ["nobody-knows-it"]
    assert timeline.of(IncidentOpened) == []
    timeline.advance(3661)
    assert timeline.failures("shop") == [], "ken is back by the clock"


def test_never_while_paused() -> None:
    timeline = shop(failure("broken", A))
    timeline.down(A, times=3)
    timeline.want(PauseIntent("shop", 60.0))
    assert timeline.failures("shop") == []


def test_a_failure_mode_without_detection_is_never_recognised_by_itself() -> None:
    timeline = shop(failure("rumour"))
    timeline.down(A, B, C, times=3)
    assert timeline.failures("shop") == []


def test_a_failure_mode_that_leaves_the_file_is_cleared() -> None:
    timeline = shop(failure("broken", A))
    timeline.down(A, times=3)
    timeline.feed(Loaded(operation(component("shop", checks=["a", "b", "c"]), sha256="other")))
    assert [each.failure for each in timeline.of(FailureCleared)] == ["broken"]
    timeline.check_replay()


def test_a_switch_of_providers_is_seen_by_failure_modes_without_any_new_result() -> None:
    shop = component(
        "shop",
        providers=[provider("main", "api"), provider("spare", "api")],
        failures={"down": failure("down", "shop/active/api")},
        switch=email().switch,
    )
    timeline = Timeline(operation(shop))
    timeline.read("shop", "main")
    timeline.all_ok()
    timeline.down("shop/main/api", times=3)
    assert timeline.failures("shop") == ["down"]
    timeline.read("shop", "spare")
    assert timeline.failures("shop") == []
