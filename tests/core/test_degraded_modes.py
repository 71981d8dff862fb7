"""Degraded modes: entered, verified, left, and what was there before is put back."""

from __future__ import annotations

from typing import Any

from opsdash.model.effects import Apply
from opsdash.model.inputs import TakeOverIntent, UndoIntent
from opsdash.model.operation import DegradedMode, Feature, Tier
from opsdash.model.records import ModeSeen, Proved
from opsdash.model.status import Reason, Status
from opsdash.model.switch import Refused, SwitchState
from opsdash.testing import Timeline, call, email, mail_outside, operation, order_mail_only

FRONT, LETTERS = "email/delivery", "email/newsletter"
WHAT = "email/order-mail-only"


def mail(mode: DegradedMode | None = None, **settings: Any) -> Timeline:
    mode = mode or order_mail_only()
    timeline = Timeline(operation(email(modes={mode.id: mode}, **settings)), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    return timeline


def says(timeline: Timeline) -> str | None:
    assert timeline.outside is not None
    return timeline.outside.says[WHAT]


def rule(answer: Refused | str) -> str:
    assert isinstance(answer, Refused), f"accepted: {answer!r}"
    return answer.rule


def state(timeline: Timeline) -> SwitchState:
    return timeline.switch("email").state


def test_in_and_out_again_and_what_was_there_before_is_back() -> None:
    timeline = mail()
    assert timeline.confirm("email", "degrade") == "email-degrade-1"
    timeline.advance(5)
    assert state(timeline) is SwitchState.COMMITTED
    found = timeline.state("email")
    assert (found.mode, found.mode_prior) == ("order-mail-only", "everything")
    assert timeline.health("email").reason is Reason.MODE
    assert says(timeline) == "transactional-only"
    assert [each.what for each in timeline.of(Proved)] == ["mode:order-mail-only"]

    assert timeline.confirm("email", "restore") == "email-restore-2"
    timeline.advance(5)
    assert state(timeline) is SwitchState.COMMITTED
    found = timeline.state("email")
    assert (found.mode, found.mode_since, found.mode_prior) == (None, None, None)
    assert says(timeline) == "everything"
    assert timeline.status("email") == "ok"
    timeline.check_replay()


def test_the_incident_tells_what_was_done() -> None:
    timeline = mail()
    timeline.down(LETTERS, times=3)
    timeline.confirm("email", "degrade", reason="the queue is full")
    timeline.advance(5)
    timeline.confirm("email", "restore", overrides=["dropped_pass"], reason="enough", typed="email")
    timeline.advance(5)
    incident = timeline.world.get("incidents", "INC-1")
    assert [entry.text for entry in incident.entries if entry.who == "maria"] == [
        "degraded mode order-mail-only: the queue is full",
        "degraded mode order-mail-only: the queue is full → committed",
        "back to normal from degraded mode order-mail-only",
        "back to normal from degraded mode order-mail-only → committed",
    ]


def test_the_way_out_is_verified_by_the_checks_of_the_mode() -> None:
    timeline = mail(order_mail_only(verify=(LETTERS,)))
    timeline.confirm("email", "degrade")
    timeline.advance(5)
    assert timeline.outside is not None
    timeline.outside.status[LETTERS] = Status.DOWN
    timeline.confirm("email", "restore")
    timeline.advance(40)
    assert state(timeline) is SwitchState.NO_EFFECT


def test_a_leave_of_its_own_is_used_where_there_is_one_and_anything_else_than_the_mode_will_do() -> None:
    timeline = mail(order_mail_only(leave=call("order-mail-only", "normal")))
    timeline.confirm("email", "degrade")
    timeline.advance(5)
    timeline.confirm("email", "restore")
    timeline.advance(5)
    assert timeline.wanted(Apply)[-1].prior is None
    assert (state(timeline), says(timeline)) == (SwitchState.COMMITTED, "normal")
    assert timeline.state("email").mode is None


def test_leaving_is_refused_by_what_is_no_longer_ours() -> None:
    timeline = mail()
    timeline.confirm("email", "degrade")
    timeline.advance(5)
    assert timeline.outside is not None
    timeline.outside.says[WHAT] = "somebody's own idea"
    timeline.confirm("email", "restore")
    timeline.advance(5)
    assert state(timeline) is SwitchState.REFUSED
    assert says(timeline) == "somebody's own idea"
    assert timeline.state("email").mode is None, "which also shows that it is no longer in force"


def test_entering_what_is_in_force_already_does_nothing_and_notices_it() -> None:
    timeline = mail()
    assert timeline.outside is not None
    timeline.outside.says[WHAT] = "transactional-only"
    timeline.confirm("email", "degrade")
    timeline.advance(1)
    assert state(timeline) is SwitchState.REFUSED
    assert timeline.wanted(Apply) == []
    assert timeline.state("email").mode == "order-mail-only"


def test_leaving_is_refused_while_what_was_dropped_still_fails_and_may_be_overridden() -> None:
    timeline = mail()
    timeline.confirm("email", "degrade")
    timeline.advance(5)
    timeline.down(LETTERS, times=3)
    assert rule(timeline.confirm("email", "restore")) == "dropped_pass"
    override = ["dropped_pass"]
    answer = timeline.confirm("email", "restore", overrides=override, reason="they can wait", typed="email")
    assert answer == "email-restore-2"


def test_dropping_something_essential_needs_the_name_typed() -> None:
    essential = {"newsletters": Feature("newsletters", "Newsletters", Tier.ESSENTIAL)}
    timeline = mail(features=essential)
    assert rule(timeline.confirm("email", "degrade")) == "typed"
    assert timeline.confirm("email", "degrade", typed="email") == "email-degrade-1"


def test_a_mode_that_does_not_keep_what_it_promises_has_no_effect_and_is_undone() -> None:
    timeline = mail()
    assert timeline.outside is not None
    timeline.outside.status[FRONT] = Status.DOWN
    timeline.confirm("email", "degrade")
    timeline.advance(40)
    assert state(timeline) is SwitchState.NO_EFFECT
    assert timeline.state("email").mode == "order-mail-only", "the mechanism says so"
    timeline.outside.status.clear()
    timeline.want(UndoIntent("email"))
    timeline.advance(5)
    assert state(timeline) is SwitchState.UNDONE
    assert (timeline.state("email").mode, says(timeline)) == (None, "everything")
    assert timeline.wanted(Apply)[-1].prior == "everything"
    timeline.check_replay()


def test_a_mode_with_a_leave_of_its_own_is_undone_by_it() -> None:
    timeline = mail(order_mail_only(leave=call("order-mail-only", "normal")))
    assert timeline.outside is not None
    timeline.outside.status[FRONT] = Status.UNKNOWN
    timeline.confirm("email", "degrade")
    timeline.advance(40)
    timeline.outside.status.clear()
    timeline.want(UndoIntent("email"))
    timeline.advance(5)
    assert timeline.wanted(Apply)[-1].prior is None
    assert (state(timeline), says(timeline)) == (SwitchState.UNDONE, "normal")


def test_an_undo_that_cannot_be_verified_knows_that_the_mode_is_no_longer_in_force() -> None:
    timeline = mail()
    assert timeline.outside is not None
    timeline.outside.status[FRONT] = Status.DOWN
    timeline.confirm("email", "degrade")
    timeline.advance(40)
    timeline.want(UndoIntent("email"))
    timeline.advance(40)
    assert state(timeline) is SwitchState.NEEDS_HUMAN
    assert timeline.state("email").mode is None


def test_a_mode_that_was_left_without_what_it_dropped_is_entered_again_by_an_undo() -> None:
    timeline = mail()
    timeline.confirm("email", "degrade")
    timeline.advance(5)
    since = timeline.state("email").mode_since
    assert timeline.outside is not None
    timeline.outside.status[FRONT] = Status.UNKNOWN
    timeline.confirm("email", "restore")
    timeline.advance(40)
    assert state(timeline) is SwitchState.UNKNOWN
    timeline.outside.status.clear()
    timeline.want(UndoIntent("email"))
    timeline.advance(5)
    found = timeline.state("email")
    assert (state(timeline), found.mode, says(timeline)) == (
        SwitchState.UNDONE,
        "order-mail-only",
        "transactional-only",
    )
    assert found.mode_prior == "everything", "so that it can be left once more"
    assert since is not None


def test_a_mode_that_cannot_restore_cannot_be_undone_without_a_leave() -> None:
    timeline = mail(order_mail_only(restores=False))
    assert timeline.outside is not None
    timeline.outside.status[FRONT] = Status.UNKNOWN
    timeline.confirm("email", "degrade")
    timeline.advance(40)
    assert state(timeline) is SwitchState.UNKNOWN
    assert rule(timeline.want(UndoIntent("email"))) == "no_undo"


def test_nothing_is_put_back_where_nobody_knows_what_was_there() -> None:
    timeline = mail(order_mail_only(read=None))
    timeline.outside = None
    timeline.confirm("email", "degrade")
    timeline.applied("unknown")
    timeline.advance(40)
    assert state(timeline) is SwitchState.UNKNOWN
    assert rule(timeline.want(UndoIntent("email"))) == "no_undo"


def test_a_mode_that_somebody_else_entered_or_left_is_noticed() -> None:
    timeline = mail()
    assert timeline.outside is not None
    timeline.outside.says[WHAT] = "transactional-only"
    timeline.advance(31)
    assert timeline.state("email").mode == "order-mail-only"
    assert timeline.status("email") == "degraded"
    timeline.outside.says[WHAT] = "everything"
    timeline.advance(31)
    assert timeline.state("email").mode is None
    assert [each.mode for each in timeline.of(ModeSeen)] == ["order-mail-only", None]


def test_a_mode_whose_effect_came_late_keeps_what_was_there_before_when_it_is_looked_at_again() -> None:
    timeline = mail()
    assert timeline.outside is not None
    timeline.outside.effective = False
    timeline.confirm("email", "degrade")
    timeline.advance(40)
    assert state(timeline) is SwitchState.NO_EFFECT
    timeline.outside.says[WHAT] = "transactional-only"
    timeline.advance(31)
    timeline.want(TakeOverIntent("email"))
    timeline.advance(5)
    assert state(timeline) is SwitchState.COMMITTED
    assert timeline.state("email").mode_prior == "everything"
