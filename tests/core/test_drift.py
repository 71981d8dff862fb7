"""After a switch its mechanism keeps being read: what somebody else undoes is said at once, with what was seen."""

from __future__ import annotations

from typing import Any

import pytest

from opsdash.model.operation import OldOut
from opsdash.model.records import SwitchReverted
from opsdash.model.switch import FactName, Refused, SwitchState, Truth
from opsdash.testing import Timeline, email, mail_outside, mail_switch, operation


def switched(**settings: Any) -> Timeline:
    """Email on its backup, after a committed failover."""
    timeline = Timeline(operation(email(switch=mail_switch(**settings))), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    timeline.confirm("email")
    timeline.advance(10)
    assert timeline.switch("email").state is SwitchState.COMMITTED
    return timeline


def test_a_reading_that_was_asked_for_before_the_switch_and_answered_after_it_takes_nothing_back() -> None:
    timeline = Timeline(operation(email(switch=mail_switch())), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    before = timeline.clock.mono
    timeline.confirm("email")
    timeline.advance(10)
    timeline.read("email", "pm-prod", requested=before)
    assert timeline.switch("email").state is SwitchState.COMMITTED
    assert timeline.state("email").active == "ses"
    assert timeline.incident("email") is None
    timeline.check_replay()


def test_of_two_readings_the_one_that_was_asked_for_last_counts_whichever_is_answered_first() -> None:
    timeline = switched()
    asked = timeline.clock.mono
    timeline.advance(1)
    timeline.read("email", "nobody-we-know")
    timeline.read("email", "ses-eu", requested=asked)
    timeline.read("email", None, requested=asked)
    assert timeline.state("email").active is None
    assert timeline.state("email").seen == "nobody-we-know"


def test_a_reload_that_forgets_the_switch_is_seen_within_half_a_minute() -> None:
    timeline = switched()
    assert timeline.outside is not None
    timeline.outside.says["email/switch"] = "pm-prod"
    timeline.advance(31)
    switch = timeline.switch("email")
    assert switch.state is SwitchState.REVERTED
    assert switch.detail == "it says 'pm-prod', and email-failover-1 had led it to 'ses-eu'"
    assert timeline.state("email").active == "postmark"
    incident = timeline.incident("email")
    assert incident is not None
    assert "opsdash did not do that" in incident.title
    timeline.check_replay()


def test_somebody_who_goes_to_a_third_side_has_reverted_it_too() -> None:
    timeline = switched()
    timeline.read("email", "somebody-else")
    (reverted,) = timeline.of(SwitchReverted)
    assert reverted.seen == "somebody-else"
    assert timeline.state("email").active is None


def test_the_mark_of_whoever_did_it_is_told() -> None:
    timeline = switched()
    timeline.read("email", "pm-prod", by="terraform-apply-12")
    assert "it bears the mark 'terraform-apply-12'" in timeline.switch("email").detail


def test_it_is_raised_once_and_what_comes_after_is_nobodys_drift() -> None:
    timeline = switched()
    timeline.read("email", "pm-prod")
    timeline.read("email", "pm-prod")
    timeline.read("email", "ses-eu")
    assert len(timeline.of(SwitchReverted)) == 1


def test_after_it_was_reverted_one_key_leads_there_again() -> None:
    timeline = switched()
    assert timeline.outside is not None
    timeline.outside.says["email/switch"] = "pm-prod"
    timeline.advance(31)
    answer = timeline.confirm("email")
    assert not isinstance(answer, Refused)
    timeline.advance(10)
    assert timeline.switch("email").state is SwitchState.COMMITTED


def test_a_mechanism_that_cannot_be_read_has_reverted_nothing() -> None:
    timeline = switched()
    timeline.read("email", None)
    timeline.read("email", None)
    assert timeline.of(SwitchReverted) == []
    assert timeline.state("email").active is None, "nobody knows"


def test_what_was_undone_while_no_engine_ran_is_seen_at_the_start() -> None:
    timeline = switched()
    assert timeline.outside is not None
    timeline.outside.says["email/switch"] = "pm-prod"
    again = timeline.crash()
    again.advance(1)
    assert again.switch("email").state is SwitchState.REVERTED


def test_a_degraded_mode_that_somebody_ends_is_reverted() -> None:
    timeline = Timeline(operation(email()), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    timeline.confirm("email", "degrade")
    timeline.advance(10)
    timeline.read("email", "everything", "order-mail-only")
    assert timeline.switch("email").state is SwitchState.REVERTED
    assert timeline.state("email").mode is None
    incident = timeline.incident("email")
    assert incident is not None
    assert "degraded mode order-mail-only is no longer in force" in incident.title


# --- the old side, as the mechanism sees it -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("serving", "truth", "state"),
    [
        (("ses-eu",), Truth.TRUE, SwitchState.COMMITTED),
        ((), Truth.TRUE, SwitchState.COMMITTED),
        (("pm-prod", "ses-eu"), Truth.FALSE, SwitchState.SPLIT),
        (None, Truth.UNKNOWN, SwitchState.UNKNOWN),
    ],
)
def test_the_old_side_is_out_when_the_mechanism_no_longer_sees_it_serve(
    serving: tuple[str, ...] | None, truth: Truth, state: SwitchState
) -> None:
    outside = mail_outside()
    if serving is not None:
        outside.serving["email/switch"] = serving
    spec = mail_switch(old_out=OldOut(stateless=False, mechanism=True))
    timeline = Timeline(operation(email(switch=spec)), outside=outside)
    timeline.advance(1)
    timeline.all_ok()
    timeline.confirm("email")
    timeline.advance(60)
    switch = timeline.switch("email")
    assert next(fact.truth for fact in switch.facts if fact.name is FactName.OLD_OUT) is truth
    assert switch.state is state


def test_two_sides_that_both_serve_for_a_while_are_waited_for() -> None:
    outside = mail_outside(serving={"email/switch": ("pm-prod", "ses-eu")})
    spec = mail_switch(old_out=OldOut(stateless=False, mechanism=True))
    timeline = Timeline(operation(email(switch=spec)), outside=outside)
    timeline.advance(1)
    timeline.all_ok()
    timeline.confirm("email")
    timeline.advance(11)
    assert timeline.switch("email").state is SwitchState.VERIFYING
    outside.serving["email/switch"] = ("ses-eu",)
    timeline.advance(2)
    assert timeline.switch("email").state is SwitchState.COMMITTED


@pytest.mark.parametrize(("serving", "truth"), [(("ses-eu",), Truth.TRUE), (("ses-eu", "pm-prod"), Truth.UNKNOWN)])
def test_where_nobody_knew_who_served_before_only_the_new_side_may_be_left(
    serving: tuple[str, ...], truth: Truth
) -> None:
    outside = mail_outside(serving={"email/switch": serving})
    outside.says["email/switch"] = "somebody"
    spec = mail_switch(old_out=OldOut(stateless=False, mechanism=True))
    timeline = Timeline(operation(email(switch=spec)), outside=outside)
    timeline.advance(1)
    timeline.all_ok()
    timeline.confirm("email", target="ses")
    timeline.advance(60)
    facts = timeline.switch("email").facts
    assert next(fact.truth for fact in facts if fact.name is FactName.OLD_OUT) is truth


@pytest.mark.parametrize("old_out", [OldOut(stateless=False, mechanism=True), OldOut(stateless=True), None])
def test_a_mechanism_that_leads_to_both_sides_is_split_whatever_else_tells_that_the_old_one_is_out(
    old_out: OldOut | None,
) -> None:
    outside = mail_outside(serving={"email/switch": ("pm-prod", "ses-eu")})
    spec = mail_switch(old_out=old_out, served_by=None)
    timeline = Timeline(operation(email(switch=spec)), outside=outside)
    timeline.advance(1)
    timeline.all_ok()
    timeline.confirm("email")
    timeline.advance(1)
    outside.says["email/switch"] = "pm-prod+ses-eu"
    timeline.advance(60)
    switch = timeline.switch("email")
    assert switch.state is SwitchState.SPLIT
    told = next(fact for fact in switch.facts if fact.name is FactName.OLD_OUT)
    assert (told.truth, told.evidence) == (Truth.FALSE, "it sees pm-prod, ses-eu serving")
    assert timeline.state("email").active is None


def test_both_sides_may_serve_for_a_while_where_that_is_stateless() -> None:
    outside = mail_outside(serving={"email/switch": ("pm-prod", "ses-eu")})
    timeline = Timeline(operation(email(switch=mail_switch(old_out=OldOut(stateless=True)))), outside=outside)
    timeline.advance(1)
    timeline.all_ok()
    timeline.confirm("email")
    timeline.advance(1)
    outside.says["email/switch"] = "pm-prod+ses-eu"
    timeline.advance(10)
    assert timeline.switch("email").state is SwitchState.VERIFYING
    outside.says["email/switch"], outside.serving["email/switch"] = "ses-eu", ("ses-eu",)
    timeline.advance(5)
    assert timeline.switch("email").state is SwitchState.COMMITTED


def test_a_note_about_drift_is_no_failure_that_somebody_took_long_to_decide_about() -> None:
    timeline = switched()
    timeline.read("email", "pm-prod")
    assert timeline.incident("email") is not None
    timeline.advance(600)
    timeline.confirm("email")
    assert timeline.switch("email").noticed_at is None
