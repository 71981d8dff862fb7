"""Nothing is silently forgotten: what is not normal carries a review time, and its passing is said."""

from __future__ import annotations

from opsdash.model.incident import IncidentKind
from opsdash.model.inputs import OpenIncidentIntent
from opsdash.model.records import IncidentNoted, IncidentOpened, ReviewPassed
from opsdash.model.switch import SwitchState
from opsdash.testing import (
    Timeline,
    component,
    email,
    mail_outside,
    mail_switch,
    operation,
    order_mail_only,
    provider,
)

DAY = 86400.0
FRONT = "email/delivery"


def on_backup() -> Timeline:
    timeline = Timeline(operation(email()), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    timeline.confirm("email")
    timeline.advance(10)
    assert timeline.switch("email").state is SwitchState.COMMITTED
    return timeline


def test_being_on_the_backup_for_three_days_is_said_once() -> None:
    timeline = on_backup()
    timeline.advance(3 * DAY - 60)
    assert timeline.of(ReviewPassed) == []
    timeline.advance(60)
    assert [each.what for each in timeline.of(ReviewPassed)] == ["backup"]
    assert timeline.state("email").overdue == ("backup",)
    incident = timeline.incident("email")
    assert incident is not None
    assert (incident.kind, incident.title) == (
        IncidentKind.NOTE,
        "Transactional email: review time passed, it is still on its backup",
    )
    timeline.advance(DAY)
    assert len(timeline.of(ReviewPassed)) == 1


def test_it_is_not_called_over_before_somebody_did_something_about_it() -> None:
    timeline = on_backup()
    timeline.advance(3 * DAY)
    timeline.down("email/ses/api", times=3)
    timeline.ok("email/ses/api", times=2)
    timeline.observe("email/newsletter", "degraded", "slow")
    incident = timeline.incident("email")
    assert incident is not None
    assert incident.recovered_at is None or incident.kind is not IncidentKind.NOTE
    timeline.confirm("email", "failback")
    timeline.advance(10)
    assert timeline.state("email").overdue == ()
    assert timeline.world.get("incidents", incident.id).recovered_at is not None


def test_a_review_note_becomes_a_failure_when_the_component_fails() -> None:
    timeline = on_backup()
    timeline.advance(3 * DAY)
    timeline.down(FRONT, times=3)
    incident = timeline.incident("email")
    assert incident is not None
    assert incident.kind is IncidentKind.FAILURE
    assert len(timeline.of(IncidentOpened)) == 1


def test_an_incident_that_is_open_takes_the_note() -> None:
    timeline = on_backup()
    timeline.want(OpenIncidentIntent("email", "some letters arrive twice"))
    timeline.advance(3 * DAY)
    texts = [each.text for each in timeline.of(IncidentNoted)]
    assert "review time passed, it is still on its backup" in texts
    assert len(timeline.of(IncidentOpened)) == 1


def test_review_times_outlive_the_engine_and_pass_while_it_is_off() -> None:
    later = on_backup().crash(seconds=4 * DAY)
    later.advance(1)
    assert [each.what for each in later.of(ReviewPassed)] == ["backup"]


def test_failing_back_in_time_leaves_nothing_to_review() -> None:
    timeline = on_backup()
    timeline.advance(DAY)
    timeline.confirm("email", "failback")
    timeline.advance(10)
    timeline.advance(5 * DAY)
    assert timeline.of(ReviewPassed) == []


def test_somebody_else_s_failover_carries_a_review_time_as_well() -> None:
    timeline = Timeline(operation(email()))
    timeline.read("email", "ses-eu")
    timeline.advance(3 * DAY)
    assert [each.what for each in timeline.of(ReviewPassed)] == ["backup"]


def test_from_backup_to_backup_it_is_still_the_time_off_the_primary_that_counts() -> None:
    providers = [provider(name, "api") for name in ("main", "one", "two")]
    switch = mail_switch(served_by=None, old_out=None, verify=(), settle=0.0)
    timeline = Timeline(operation(component("shop", providers=providers, switch=switch)))
    timeline.read("shop", "one")
    timeline.all_ok()
    since = timeline.state("shop").on_backup_since
    timeline.advance(3 * DAY + 1)
    timeline.confirm("shop", target="two")
    timeline.read("shop", "one")
    timeline.applied()
    timeline.read("shop", "two")
    found = timeline.state("shop")
    assert (found.active, found.on_backup_since, found.overdue) == ("two", since, ("backup",))
    timeline.advance(DAY)
    assert len(timeline.of(ReviewPassed)) == 1


def test_a_degraded_mode_carries_a_review_time_too() -> None:
    mode = order_mail_only(review_after=3600.0)
    timeline = Timeline(operation(email(modes={mode.id: mode})), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    timeline.confirm("email", "degrade")
    timeline.advance(3601)
    assert [each.what for each in timeline.of(ReviewPassed)] == ["mode"]
    timeline.confirm("email", "restore")
    timeline.advance(10)
    assert timeline.state("email").overdue == ()
    timeline.check_replay()


def test_a_wall_clock_that_was_set_back_passes_no_review_early() -> None:
    timeline = on_backup()
    timeline.clock.jump(-DAY)
    timeline.advance(3 * DAY)
    assert timeline.of(ReviewPassed) == []
    timeline.advance(DAY)
    assert [each.what for each in timeline.of(ReviewPassed)] == ["backup"]
