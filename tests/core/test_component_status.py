"""A component: its status and its redundancy by table, from its own checks and those of its providers."""

from __future__ import annotations

from typing import Any

import pytest

from opsdash.core.redundancy import redundancy_of
from opsdash.model.effects import CancelTimer, Poll, Read, SuspendPolling
from opsdash.model.inputs import ClockJumped, Loaded, Overdue, PauseIntent, ResumeIntent
from opsdash.model.operation import Feature, OldOut, Operation, SwitchSpec, Tier
from opsdash.model.records import ActiveChanged, ComponentChanged, Paused, RedundancyChanged, Resumed
from opsdash.model.status import Reason, Status
from opsdash.model.switch import Refused
from opsdash.testing import (
    Timeline,
    call,
    check,
    component,
    email,
    failure,
    mail_switch,
    operation,
    order_mail_only,
    provider,
)

FRONT = "email/delivery"
LETTERS = "email/newsletter"
PRIMARY = "email/postmark/api"
STANDBY = "email/ses/api"


def mail(**settings: Any) -> Timeline:
    """Email, served by Postmark, all well."""
    timeline = Timeline(operation(email(**settings)))
    timeline.read("email", "pm-prod")
    timeline.all_ok()
    timeline.effects.clear()
    return timeline


def show(timeline: Timeline, check_id: str, status: str) -> None:
    """Make a check be shown with a status."""
    if status == "unknown":
        timeline.unknown(check_id, times=2)
    elif status != "ok":
        for _ in range(3):
            timeline.observe(check_id, status, "timeout" if status == "down" else "slow")


# --- the table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("front", "letters", "expected"),
    [
        ("ok", "ok", "ok"),
        ("degraded", "ok", "degraded"),
        ("ok", "unknown", "unknown"),
        ("degraded", "unknown", "unknown"),
        ("unknown", "down", "down"),
        ("down", "degraded", "down"),
    ],
)
def test_with_checks_of_its_own_it_has_the_worst_of_them(front: str, letters: str, expected: str) -> None:
    timeline = mail()
    show(timeline, FRONT, front)
    show(timeline, LETTERS, letters)
    assert timeline.status("email") == expected


@pytest.mark.parametrize(("primary", "expected"), [("ok", "ok"), ("degraded", "degraded"), ("down", "degraded")])
def test_it_is_at_least_degraded_while_the_active_provider_is_not_ok(primary: str, expected: str) -> None:
    timeline = mail()
    show(timeline, PRIMARY, primary)
    assert timeline.status("email") == expected


def test_an_unknown_active_provider_does_not_lower_a_front_door_that_works() -> None:
    timeline = mail()
    show(timeline, PRIMARY, "unknown")
    assert timeline.status("email") == "ok"


@pytest.mark.parametrize("status", ["degraded", "down", "unknown"])
def test_a_standby_never_lowers_the_status(status: str) -> None:
    timeline = mail()
    show(timeline, STANDBY, status)
    assert timeline.status("email") == "ok"


@pytest.mark.parametrize("status", ["ok", "degraded", "unknown", "down"])
def test_without_checks_of_its_own_it_is_the_worst_of_the_active_provider(status: str) -> None:
    timeline = mail(checks=(), features={})
    show(timeline, PRIMARY, status)
    show(timeline, STANDBY, "down")
    assert timeline.status("email") == status


def test_without_checks_of_its_own_it_follows_whoever_serves() -> None:
    timeline = mail(checks=(), features={})
    show(timeline, PRIMARY, "down")
    assert timeline.status("email") == "down"
    timeline.read("email", "ses-eu")
    assert timeline.status("email") == "ok"


def test_what_nobody_measures_is_not_fine() -> None:
    timeline = Timeline(operation(component("shop")))
    assert (timeline.status("shop"), timeline.health("shop").reason) == ("unknown", Reason.CONFIG)


def test_a_file_that_cannot_be_read_leaves_its_component_unknown() -> None:
    timeline = Timeline(operation(component("shop", problem="line 3 is no YAML")))
    assert (timeline.status("shop"), timeline.health("shop").reason) == ("unknown", Reason.CONFIG)


def test_a_component_is_starting_until_its_mechanism_was_read_and_unknown_when_it_cannot_be() -> None:
    timeline = Timeline(operation(email(checks=(), features={})))
    assert timeline.health("email").reason is Reason.STARTING
    timeline.read("email", None)
    assert timeline.health("email").reason is Reason.STARTING
    timeline.read("email", None)
    assert timeline.health("email").reason is Reason.PROVIDER
    assert ("blind", "email") in timeline.timers


def test_a_mechanism_that_names_nobody_here_is_quoted() -> None:
    timeline = mail(checks=(), features={})
    timeline.read("email", "pm-prod+ses-eu")
    health = timeline.health("email")
    assert (health.status, health.reason) == (Status.UNKNOWN, Reason.PROVIDER)
    assert health.cause == "the mechanism says 'pm-prod+ses-eu', which is the name of no provider"
    timeline.read("email", None)
    timeline.read("email", None)
    assert timeline.health("email").cause == "the active provider is not known", "it says nothing any more"


def test_a_parent_that_is_down_changes_no_status() -> None:
    timeline = Timeline(operation(component("dns", checks=["a"]), component("shop", checks=["a"], depends_on=("dns",))))
    timeline.all_ok()
    timeline.down("dns/a", times=3)
    assert timeline.status("shop") == "ok"


def test_every_change_of_status_is_recorded_once_with_its_cause() -> None:
    timeline = mail()
    show(timeline, FRONT, "down")
    timeline.down(FRONT, times=3)
    changes = [(each.status, each.was, each.cause) for each in timeline.of(ComponentChanged)]
    assert changes == [(Status.OK, Status.UNKNOWN, ""), (Status.DOWN, Status.OK, FRONT)]
    timeline.check_replay()


def test_a_start_alone_is_recorded_as_no_change() -> None:
    later = mail().crash()
    later.read("email", "pm-prod")
    before = len(later.records)
    later.all_ok()
    assert [each for each in later.records[before:] if isinstance(each, ComponentChanged | RedundancyChanged)] == []


# --- redundancy ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("standby", "expected"), [("ok", "ready"), ("degraded", "ready"), ("unknown", "unknown"), ("down", "lost")]
)
def test_the_standby_sets_the_redundancy(standby: str, expected: str) -> None:
    timeline = mail()
    show(timeline, STANDBY, standby)
    assert timeline.health("email").redundancy == expected
    assert timeline.state("email").redundancy == expected


def test_redundancy_is_about_whoever_does_not_serve() -> None:
    timeline = mail()
    timeline.read("email", "ses-eu")
    show(timeline, PRIMARY, "down")
    assert timeline.health("email").redundancy == "lost"


@pytest.mark.parametrize(
    ("standbys", "expected"),
    [
        (["down", "ok"], "ready"),
        (["down", "unknown"], "unknown"),
        (["down", "down"], "lost"),
        (["unknown", "degraded"], "ready"),
    ],
)
def test_one_standby_that_works_is_enough(standbys: list[str], expected: str) -> None:
    shop = component("shop", providers=[provider("main"), provider("one"), provider("two")])
    statuses = {"main": Status.DOWN} | dict(zip(("one", "two"), map(Status, standbys), strict=True))
    assert redundancy_of(shop, "main", statuses) == expected


def test_without_a_backup_there_is_no_redundancy_to_lose() -> None:
    timeline = Timeline(operation(component("shop", providers=[provider("main", "api")])))
    timeline.all_ok()
    assert timeline.health("shop").redundancy == "none"


# --- degraded mode ---------------------------------------------------------------------------------------------------


def test_in_a_degraded_mode_it_is_at_least_degraded_and_dropped_features_do_not_count() -> None:
    timeline = mail()
    timeline.read("email", "transactional-only", "order-mail-only")
    assert (timeline.status("email"), timeline.health("email").reason) == ("degraded", Reason.MODE)
    show(timeline, LETTERS, "down")
    assert (timeline.status("email"), timeline.health("email").reason) == ("degraded", Reason.MODE)
    show(timeline, FRONT, "down")
    assert timeline.status("email") == "down"


def test_a_check_that_a_kept_feature_or_the_mode_itself_needs_counts_on() -> None:
    shared = {
        "orders": Feature("orders", "Orders", Tier.ESSENTIAL, (FRONT, LETTERS)),
        "newsletters": Feature("newsletters", "Newsletters", Tier.DROPPABLE, (LETTERS,)),
    }
    timeline = mail(features=shared)
    timeline.read("email", "transactional-only", "order-mail-only")
    show(timeline, LETTERS, "down")
    assert timeline.status("email") == "down"


# --- pause -----------------------------------------------------------------------------------------------------------


def test_a_pause_stops_polling_and_ends_at_its_review_time() -> None:
    timeline = mail()
    assert timeline.want(PauseIntent("email", 1800.0, "moving house")) == ""
    assert timeline.status("email") == "paused"
    assert timeline.take(SuspendPolling) == [SuspendPolling("email", suspended=True)]
    timeline.down(FRONT, times=3)
    assert timeline.status("email") == "paused", "what still comes in means nothing"
    timeline.advance(1799)
    assert timeline.of(Resumed) == []
    timeline.advance(1)
    assert timeline.of(Resumed)[0].who == "opsdash"
    assert timeline.take(SuspendPolling) == [SuspendPolling("email", suspended=False)]
    assert Poll(FRONT) in timeline.effects
    assert timeline.health("email").reason is Reason.STARTING, "nothing is known until it has been polled"
    timeline.check_replay()


def test_a_pause_outlives_the_engine() -> None:
    timeline = mail()
    timeline.want(PauseIntent("email", 1800.0))
    later = timeline.crash(seconds=600)
    assert later.status("email") == "paused"
    assert later.take(SuspendPolling) == [SuspendPolling("email", suspended=True)]
    later.advance(1201)
    assert [each.who for each in later.of(Resumed)] == ["opsdash"]


def test_a_person_can_end_a_pause() -> None:
    timeline = mail()
    timeline.want(PauseIntent("email", 1800.0))
    assert timeline.want(ResumeIntent("email"), who="ken") == ""
    assert timeline.of(Resumed)[0].who == "ken"
    assert ("pause", "email") not in timeline.timers
    refused = timeline.want(ResumeIntent("email"))
    assert isinstance(refused, Refused)
    assert refused.rule == "not_paused"


def test_a_pause_that_was_prolonged_ends_later() -> None:
    timeline = mail()
    timeline.want(PauseIntent("email", 600.0))
    timeline.want(PauseIntent("email", 1800.0))
    timeline.advance(700)
    assert timeline.status("email") == "paused"
    assert [each.until - each.at for each in timeline.of(Paused)] == [600.0, 1800.0]


@pytest.mark.parametrize("intent", [PauseIntent("email", 0.0), PauseIntent("fax", 60.0)])
def test_a_pause_without_a_duration_or_of_nothing_is_refused(intent: PauseIntent) -> None:
    assert isinstance(mail().want(intent), Refused)


def test_a_failure_mode_elsewhere_that_watches_a_paused_component_lets_go_of_it() -> None:
    shop = component("shop", checks=["a"], failures={"no-mail": failure("no-mail", FRONT)})
    timeline = Timeline(operation(email(), shop))
    timeline.all_ok()
    timeline.down(FRONT, times=3)
    assert timeline.failures("shop") == ["no-mail"]
    timeline.want(PauseIntent("email", 60.0))
    assert timeline.failures("shop") == []


# --- what is too old -------------------------------------------------------------------------------------------------


def test_a_result_that_is_too_old_is_shown_as_unknown_and_the_next_one_that_agrees_is_believed() -> None:
    timeline = mail()
    timeline.feed(Overdue(FRONT))
    assert (timeline.status("email"), timeline.health("email").reason) == ("unknown", Reason.STALE)
    assert timeline.world.get("checks", FRONT).status is Status.OK
    timeline.ok(FRONT)
    assert timeline.status("email") == "ok"


def test_after_a_result_that_was_too_old_a_failure_only_begins_a_streak() -> None:
    timeline = mail()
    timeline.feed(Overdue(FRONT))
    timeline.down(FRONT)
    assert timeline.status("email") == "unknown"
    timeline.down(FRONT, times=2)
    assert timeline.status("email") == "down"


def test_when_the_clock_jumps_nothing_is_known_until_it_was_polled_again() -> None:
    timeline = mail()
    timeline.clock.suspend(3600)
    timeline.feed(ClockJumped(3600.0))
    assert (timeline.status("email"), timeline.health("email").reason) == ("unknown", Reason.CLOCK)
    assert {poll.check for poll in timeline.take(Poll)} == {FRONT, LETTERS, PRIMARY, STANDBY}
    timeline.all_ok()
    assert timeline.status("email") == "ok"


def test_a_jump_of_the_clock_does_not_wake_what_is_paused() -> None:
    timeline = mail()
    timeline.want(PauseIntent("email", 7200.0))
    timeline.effects.clear()
    timeline.feed(ClockJumped(3600.0))
    assert timeline.take(Poll) == []
    assert timeline.status("email") == "paused"


# --- files -----------------------------------------------------------------------------------------------------------


def load(timeline: Timeline, new: Operation) -> None:
    timeline.feed(Loaded(new))


def test_files_that_change_elsewhere_leave_streaks_and_statuses_alone() -> None:
    timeline = mail()
    timeline.down(FRONT, times=2)
    load(timeline, operation(email(), component("shop", checks=["a"])))
    assert timeline.status("email") == "ok"
    timeline.down(FRONT)
    assert timeline.status("email") == "down"


def test_a_check_whose_definition_changed_begins_anew() -> None:
    timeline = mail()
    changed = check(FRONT, raw={"url": "https://elsewhere"})
    load(timeline, operation(email(), checks=[changed], sha256="other"))
    assert timeline.shown(FRONT).reason is Reason.STARTING
    assert Poll(FRONT) in timeline.take(Poll)
    assert timeline.shown(LETTERS).status is Status.OK


def test_a_component_that_is_gone_and_held_by_nothing_is_forgotten() -> None:
    timeline = mail()
    timeline.touched.clear()
    load(timeline, operation(sha256="empty"))
    assert timeline.touched == {"email"}
    assert timeline.draft().component("email") is None
    assert ("read", "email") not in timeline.timers


def test_a_component_that_is_on_its_backup_survives_its_file() -> None:
    timeline = mail()
    timeline.read("email", "ses-eu")
    load(timeline, operation(sha256="empty"))
    found = timeline.draft().component("email")
    assert found is not None
    assert found.removed
    timeline.check_replay()
    load(timeline, operation(email(), sha256="back again"))
    found = timeline.draft().component("email")
    assert found is not None
    assert not found.removed


def test_the_primary_serves_where_nothing_says_otherwise() -> None:
    timeline = Timeline(operation(email(switch=None)))
    assert timeline.state("email").active == "postmark"
    timeline = Timeline(operation(email(switch=mail_switch(read=None))))
    assert timeline.state("email").active == "postmark"


def test_a_provider_taken_out_of_the_file_while_it_serves_by_memory_leaves_nobody_who_is_known_to_serve() -> None:
    by_memory = mail_switch(read=None, served_by=None)
    timeline = Timeline(operation(email(switch=by_memory)))
    other = component("email", providers=[provider("ses", "api")], switch=by_memory)
    load(timeline, operation(other, sha256="other"))
    assert timeline.state("email").active is None
    load(timeline, operation(other, sha256="another"))
    assert timeline.state("email").active is None


def test_a_provider_that_was_renamed_in_a_file_without_a_switch_is_the_new_primary() -> None:
    timeline = Timeline(operation(component("shop", providers=[provider("old", "api")])))
    load(timeline, operation(component("shop", providers=[provider("new", "api")]), sha256="other"))
    assert timeline.state("shop").active == "new"


# --- reading the mechanism -------------------------------------------------------------------------------------------


def test_what_the_mechanism_says_wins_over_memory() -> None:
    timeline = mail()
    assert timeline.state("email").active == "postmark"
    timeline.read("email", "ses-eu")
    assert timeline.state("email").active == "ses"
    assert timeline.state("email").on_backup_since == timeline.clock.wall


def test_a_name_that_nobody_has_makes_the_active_provider_unknown() -> None:
    timeline = mail()
    timeline.read("email", "sendgrid")
    assert (timeline.state("email").active, timeline.state("email").seen) == (None, "sendgrid")


def test_one_failed_read_keeps_the_last_value_and_two_make_it_unknown() -> None:
    timeline = mail()
    timeline.read("email", None)
    assert timeline.state("email").active == "postmark"
    timeline.read("email", None)
    assert timeline.state("email").active is None
    timeline.read("email", "pm-prod")
    assert timeline.state("email").active == "postmark"


def test_results_that_come_in_between_two_failed_reads_do_not_hide_the_first_one() -> None:
    timeline = mail()
    timeline.read("email", None)
    show(timeline, FRONT, "down")
    timeline.read("email", None)
    assert timeline.state("email").active is None


def test_a_mechanism_that_can_be_read_again_starts_the_count_anew() -> None:
    timeline = mail()
    for value in (None, "pm-prod", None):
        timeline.read("email", value)
    assert timeline.state("email").active == "postmark"


def test_the_mechanism_is_read_at_the_start_and_every_half_minute() -> None:
    timeline = Timeline(operation(email()))
    assert {read.what for read in timeline.take(Read)} == {"switch", "order-mail-only"}
    timeline.advance(29.9)
    assert timeline.take(Read) == []
    timeline.advance(0.2)
    assert {read.what for read in timeline.take(Read)} == {"switch", "order-mail-only"}
    timeline.advance(30.1)
    assert len(timeline.take(Read)) == 2


def test_nothing_is_read_where_there_is_nothing_to_read() -> None:
    shop = component(
        "shop",
        checks=["a"],
        providers=[provider("main"), provider("spare")],
        switch=SwitchSpec(call("switch", "{to}"), old_out=OldOut(stateless=True)),
        modes={"quiet": order_mail_only(read=None)},
    )
    timeline = Timeline(operation(shop))
    assert ("read", "shop") not in timeline.timers
    assert [type(each) for each in timeline.effects if isinstance(each, CancelTimer)] == []
    assert len(timeline.of(ActiveChanged)) == 1
