"""A switch of several steps: each verified before the next, taken back in reverse, never gone on with after a crash."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.core.steps import called_off, may_call_off, undo_sequence
from opsdash.core.switch_views import commands_back, detail_of, fact_title
from opsdash.core.views import Viewer
from opsdash.core.ways_out import ways_out
from opsdash.model.effects import Apply
from opsdash.model.inputs import AbortIntent, TakeOverIntent, UndoIntent
from opsdash.model.operation import Step
from opsdash.model.records import SwitchAbortAsked, SwitchAdvanced
from opsdash.model.status import Status
from opsdash.model.switch import FactName, Plan, Refused, SwitchCause, SwitchKind, SwitchState
from opsdash.testing import Outside, Timeline, call, email, mail_outside, mail_switch, operation

if TYPE_CHECKING:
    from opsdash.model.now import Now

FENCED = "email/newsletter"
"""Stands for whatever shows that the old side is fenced."""

QUIESCE = Step("quiesce", call("quiesce", "on"), undo=call("quiesce", "off"))
FENCE = Step("fence", call("fence", "{from.as}"), undo=call("fence", "nobody"), verify=(FENCED,), deadline=5.0)
RELOAD = Step("reload", call("reload", "done"), again=True)
WARM_UP = Step("warm-up", call("warm-up", "{to.as}"))


def mail(outside: Outside | None = None, **settings: Any) -> Timeline:
    """Email with steps around its switch, all well."""
    steps = {"before": (QUIESCE, FENCE), "after": (RELOAD, WARM_UP)} | settings
    timeline = Timeline(operation(email(switch=mail_switch(**steps))), outside=outside or mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    return timeline


def served_by_nobody(_: Outside, now: Now) -> dict[str, Any]:
    """What a front door says behind which nobody is."""
    return {"provider": "nobody", "json.at": now.wall}


def carried_out(timeline: Timeline) -> list[str]:
    assert timeline.outside is not None
    return [f"{each.call.raw['mechanism']} {each.call.raw['value']}" for each in timeline.outside.applied]


def state(timeline: Timeline) -> SwitchState:
    return timeline.switch("email").state


def test_the_steps_are_carried_out_in_order_and_then_the_facts_are_verified() -> None:
    timeline = mail()
    timeline.confirm("email")
    timeline.advance(15)
    assert carried_out(timeline) == ["quiesce on", "fence pm-prod", "switch ses-eu", "reload done", "warm-up ses-eu"]
    switch = timeline.switch("email")
    assert switch.state is SwitchState.COMMITTED
    assert switch.begun == ("quiesce", "fence", "switch", "reload", "warm-up")
    assert timeline.state("email").active == "ses"
    timeline.check_replay()


@pytest.mark.parametrize("before", [(QUIESCE, FENCE), (QUIESCE, replace(RELOAD, name="drain")), ()])
def test_the_way_back_that_a_plan_shows_is_the_one_that_is_gone(before: tuple[Step, ...]) -> None:
    timeline = mail(before=before, after=(RELOAD, WARM_UP))
    view = Viewer(timeline.world, timeline.live, timeline.clock()).plan(
        "email", SwitchKind.FAILOVER, None, lambda action, _: "" if action is None else "a command"
    )
    plan = timeline.plan("email", SwitchKind.FAILOVER)
    assert isinstance(plan, Plan)
    timeline.confirm("email")
    switch = replace(timeline.switch("email"), begun=plan.sequence)
    assert [name for name, command in commands_back(view) if command] == list(undo_sequence(switch))


def test_a_record_comes_before_each_step_and_names_it() -> None:
    timeline = mail()
    timeline.confirm("email")
    timeline.advance(15)
    begun = [
        (each.state.value, each.step)
        for each in timeline.of(SwitchAdvanced)
        if each.state in (SwitchState.FENCING, SwitchState.ACTING)
    ]
    assert begun == [
        ("fencing", "quiesce"),
        ("fencing", "fence"),
        ("acting", ""),
        ("acting", "reload"),
        ("acting", "warm-up"),
    ]


def test_every_step_has_an_action_id_of_its_own() -> None:
    timeline = mail()
    timeline.confirm("email")
    timeline.advance(15)
    assert timeline.outside is not None
    assert [each.action_id for each in timeline.outside.applied] == [
        "email-failover-1-quiesce",
        "email-failover-1-fence",
        "email-failover-1",
        "email-failover-1-reload",
        "email-failover-1-warm-up",
    ]


def test_the_switch_itself_compares_with_what_was_read_before_the_first_step() -> None:
    timeline = mail()
    timeline.confirm("email")
    timeline.advance(15)
    assert timeline.outside is not None
    assert timeline.outside.applied[2].expected == "pm-prod"


def test_a_first_step_that_is_refused_aborts_and_nothing_is_taken_back() -> None:
    timeline = mail(mail_outside(results={"quiesce": "refused"}))
    timeline.confirm("email")
    timeline.advance(5)
    assert state(timeline) is SwitchState.ABORTED
    assert carried_out(timeline) == ["quiesce on"]


def test_a_fence_that_is_refused_takes_back_what_was_done_before() -> None:
    timeline = mail(mail_outside(results={"fence": "refused"}))
    timeline.confirm("email")
    timeline.advance(40)
    assert carried_out(timeline) == ["quiesce on", "fence pm-prod", "quiesce off"]
    assert state(timeline) is SwitchState.UNDONE
    assert any("fence was not carried out" in each.detail for each in timeline.of(SwitchAdvanced))
    assert timeline.state("email").active == "postmark"


def test_a_fence_that_does_not_come_about_is_taken_back_itself_too() -> None:
    outside = mail_outside()
    timeline = mail(outside)
    outside.status[FENCED] = Status.DOWN
    timeline.confirm("email")
    timeline.advance(40)
    assert carried_out(timeline) == ["quiesce on", "fence pm-prod", "fence nobody", "quiesce off"]
    assert state(timeline) is SwitchState.UNDONE


def test_a_fence_of_which_nobody_knows_needs_a_person_and_nothing_more_is_done() -> None:
    outside = mail_outside()
    timeline = mail(outside)
    outside.status[FENCED] = Status.UNKNOWN
    timeline.confirm("email")
    timeline.advance(40)
    assert carried_out(timeline) == ["quiesce on", "fence pm-prod"]
    assert state(timeline) is SwitchState.NEEDS_HUMAN
    assert "nobody knows whether fence came about" in timeline.switch("email").detail


def test_a_step_whose_answer_is_lost_and_that_nothing_shows_needs_a_person() -> None:
    outside = mail_outside(results={"quiesce": "unknown"})
    timeline = mail(outside)
    timeline.confirm("email")
    timeline.advance(40)
    assert carried_out(timeline) == ["quiesce on"]
    assert state(timeline) is SwitchState.NEEDS_HUMAN
    assert "nobody knows whether quiesce came about" in timeline.switch("email").detail
    outside.results.clear()
    timeline.want(UndoIntent("email"))
    timeline.advance(40)
    assert carried_out(timeline)[1:] == ["quiesce off"]
    assert state(timeline) is SwitchState.UNDONE


def test_a_step_whose_answer_is_lost_and_that_a_check_shows_is_gone_on_from() -> None:
    timeline = mail(mail_outside(results={"fence": "unknown"}))
    timeline.confirm("email")
    timeline.advance(15)
    assert state(timeline) is SwitchState.COMMITTED


def test_after_the_switch_such_a_step_ends_the_sequence_and_the_facts_decide() -> None:
    timeline = mail(mail_outside(results={"reload": "unknown"}))
    timeline.confirm("email")
    timeline.advance(20)
    assert carried_out(timeline) == ["quiesce on", "fence pm-prod", "switch ses-eu", "reload done"]
    assert state(timeline) is SwitchState.COMMITTED
    assert any("nobody knows whether reload came about" in each.detail for each in timeline.of(SwitchAdvanced))


def test_when_the_switch_itself_is_refused_the_steps_before_it_are_taken_back() -> None:
    timeline = mail(mail_outside(results={"switch": "refused"}))
    timeline.confirm("email")
    timeline.advance(40)
    assert carried_out(timeline) == ["quiesce on", "fence pm-prod", "switch ses-eu", "fence nobody", "quiesce off"]
    assert state(timeline) is SwitchState.UNDONE
    assert timeline.state("email").active == "postmark"


def test_a_step_after_the_switch_that_fails_ends_the_sequence_and_the_facts_decide() -> None:
    timeline = mail(mail_outside(results={"reload": "refused"}))
    timeline.confirm("email")
    timeline.advance(20)
    assert carried_out(timeline) == ["quiesce on", "fence pm-prod", "switch ses-eu", "reload done"]
    assert state(timeline) is SwitchState.COMMITTED, "the front door says that it is served by the new side"


def test_a_switch_that_is_undone_is_taken_back_in_reverse_and_reloaded_last() -> None:
    outside = mail_outside(facts={"email/delivery": served_by_nobody})
    timeline = mail(outside)
    timeline.confirm("email")
    timeline.advance(60)
    assert state(timeline) is SwitchState.NO_EFFECT
    outside.applied.clear()
    outside.facts = mail_outside().facts
    timeline.want(UndoIntent("email", "no mail leaves"))
    timeline.advance(40)
    old_out = next(fact for fact in timeline.switch("email").facts if fact.name is FactName.OLD_OUT)
    assert "way back" in old_out.evidence, "that `old_out` is not declared would not be true"
    assert carried_out(timeline) == ["switch pm-prod", "fence nobody", "quiesce off", "reload done"]
    assert state(timeline) is SwitchState.UNDONE
    timeline.check_replay()


def test_an_undo_that_stops_half_way_names_what_is_left() -> None:
    outside = mail_outside(facts={"email/delivery": served_by_nobody})
    timeline = mail(outside)
    timeline.confirm("email")
    timeline.advance(60)
    outside.results["fence"] = "unknown"
    timeline.want(UndoIntent("email"))
    timeline.advance(60)
    assert state(timeline) is SwitchState.NEEDS_HUMAN
    detail = timeline.switch("email").detail
    assert detail.startswith("nobody knows whether fence was taken back: ")
    assert detail.endswith("; not taken back yet: quiesce, reload")


def test_a_last_step_back_that_nobody_can_vouch_for_is_not_called_undone() -> None:
    outside = mail_outside()
    timeline = mail(outside, before=(QUIESCE, FENCE), after=())
    outside.status[FENCED] = Status.DOWN
    outside.results["quiesce"] = "applied"
    timeline.confirm("email")
    timeline.advance(2)
    outside.results["quiesce"] = "unknown"
    timeline.advance(40)
    assert carried_out(timeline)[-1] == "quiesce off"
    assert state(timeline) is SwitchState.NEEDS_HUMAN
    assert timeline.switch("email").detail.startswith("nobody knows whether quiesce was taken back: ")
    outside.results["quiesce"] = "applied"
    timeline.want(UndoIntent("email"))
    timeline.advance(40)
    assert state(timeline) is SwitchState.UNDONE


def test_killed_at_the_last_step_back_it_is_not_called_undone_either() -> None:
    outside = mail_outside()
    timeline = mail(outside)
    outside.status[FENCED] = Status.DOWN
    timeline.confirm("email")
    while (state(timeline), timeline.switch("email").step) != (SwitchState.UNDOING, "quiesce"):
        timeline.advance(0.01)
    again = timeline.crash()
    again.advance(60)
    assert again.switch("email").state is SwitchState.NEEDS_HUMAN
    assert again.switch("email").detail.startswith("nobody knows whether quiesce was taken back: ")
    again.want(UndoIntent("email"))
    again.advance(60)
    assert again.switch("email").state is SwitchState.UNDONE


@pytest.mark.parametrize("answer", ["unknown", "applied"])
def test_a_fence_that_nothing_verifies_has_to_say_that_it_worked(answer: str) -> None:
    outside = mail_outside()
    bare = replace(FENCE, verify=())
    timeline = mail(outside, before=(QUIESCE, bare), after=())
    outside.results["fence"] = answer
    timeline.confirm("email")
    timeline.advance(40)
    assert ("switch ses-eu" in carried_out(timeline)) == (answer == "applied")
    wanted = SwitchState.COMMITTED if answer == "applied" else SwitchState.NEEDS_HUMAN
    assert state(timeline) is wanted


def test_what_nothing_verifies_and_nobody_vouches_for_ends_the_sequence_after_the_switch() -> None:
    outside = mail_outside()
    timeline = mail(outside)
    outside.results["reload"] = "unknown"
    timeline.confirm("email")
    timeline.advance(40)
    assert carried_out(timeline)[-1] == "reload done", "no warm-up"
    assert state(timeline) is SwitchState.COMMITTED, "the facts decide"


def test_past_the_point_of_no_return_there_is_no_undo_and_the_name_has_to_be_typed() -> None:
    final = Step("fence", call("fence", "{from.as}"), no_return=True)
    outside = mail_outside(facts={"email/delivery": served_by_nobody})
    timeline = mail(outside, before=(final,), after=())
    refused = timeline.confirm("email")
    assert isinstance(refused, Refused)
    assert refused.rule == "typed"
    timeline.confirm("email", typed="email")
    timeline.advance(60)
    refused = timeline.want(UndoIntent("email"))
    assert isinstance(refused, Refused)
    assert refused.reason == "fence was the point of no return"


# --- crashes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("killed_after", [0.02, 0.04, 0.1, 0.14])
def test_killed_before_the_switch_itself_nothing_more_is_begun(killed_after: float) -> None:
    outside = mail_outside()
    timeline = mail(outside)
    timeline.confirm("email")
    timeline.advance(killed_after)
    done = carried_out(timeline)
    again = timeline.crash()
    again.advance(60)
    assert carried_out(again) == done, "after a crash it is only observed"
    assert again.switch("email").state in (SwitchState.ABORTED, SwitchState.NEEDS_HUMAN, SwitchState.NO_EFFECT)
    again.check_replay()


def test_killed_at_the_fence_a_person_takes_it_back() -> None:
    outside = mail_outside()
    outside.status[FENCED] = Status.DOWN
    timeline = mail(outside)
    timeline.outside = outside
    outside.status[FENCED] = Status.DOWN
    timeline.confirm("email")
    timeline.advance(1)
    assert carried_out(timeline) == ["quiesce on", "fence pm-prod"]
    again = timeline.crash()
    outside.status.pop(FENCED)
    again.advance(30)
    assert again.switch("email").state is SwitchState.NEEDS_HUMAN
    assert "it was interrupted at fence: it is done" in again.switch("email").detail
    again.want(UndoIntent("email"))
    again.advance(30)
    assert carried_out(again)[2:] == ["fence nobody", "quiesce off"]
    assert again.switch("email").state is SwitchState.UNDONE


def test_taking_it_over_only_observes() -> None:
    outside = mail_outside()
    timeline = mail(outside)
    outside.status[FENCED] = Status.UNKNOWN
    timeline.confirm("email")
    timeline.advance(40)
    outside.status.pop(FENCED)
    timeline.want(TakeOverIntent("email"), who="ken")
    timeline.advance(40)
    assert carried_out(timeline) == ["quiesce on", "fence pm-prod"]
    assert state(timeline) is SwitchState.NEEDS_HUMAN


def test_killed_while_it_was_taken_back_a_person_is_told_what_is_left() -> None:
    outside = mail_outside()
    timeline = mail(outside)
    outside.status[FENCED] = Status.DOWN
    timeline.confirm("email")
    while state(timeline) is not SwitchState.UNDOING:
        timeline.advance(0.01)
    again = timeline.crash()
    again.advance(60)
    assert again.switch("email").state is SwitchState.NEEDS_HUMAN
    assert again.switch("email").detail.endswith("; not taken back yet: quiesce")


# --- calling off -----------------------------------------------------------------------------------------------------


def test_the_one_who_began_it_calls_it_off_before_the_switch_itself() -> None:
    outside = mail_outside()
    timeline = mail(outside)
    outside.status[FENCED] = Status.DOWN
    timeline.confirm("email")
    timeline.advance(0.5)
    assert timeline.want(AbortIntent("email", "wrong component")) == "email-failover-1"
    outside.status.pop(FENCED)
    timeline.advance(40)
    assert "switch ses-eu" not in carried_out(timeline)
    assert state(timeline) is SwitchState.UNDONE


def test_once_it_is_called_off_what_others_ask_for_changes_nothing_any_more() -> None:
    outside = mail_outside()
    timeline = mail(outside)
    outside.status[FENCED] = Status.DOWN
    timeline.confirm("email", who="maria")
    timeline.advance(0.5)
    timeline.want(AbortIntent("email"), who="maria")
    timeline.want(AbortIntent("email", "I think so too"), who="ken")
    outside.status.pop(FENCED)
    timeline.advance(40)
    assert timeline.switch("email").abort_asked == "maria"
    assert "switch ses-eu" not in carried_out(timeline)
    assert state(timeline) is SwitchState.UNDONE


def test_of_two_people_who_agreed_on_it_each_can_call_it_off() -> None:
    outside = mail_outside()
    timeline = mail(outside, approvals=2)
    outside.status[FENCED] = Status.DOWN
    timeline.confirm("email", who="maria")
    timeline.confirm("email", who="ken")
    timeline.advance(0.5)
    assert "abort" in ways_out(timeline.switch("email"))
    timeline.want(AbortIntent("email"), who="ken")
    assert "abort" not in ways_out(timeline.switch("email"))
    outside.status.pop(FENCED)
    timeline.advance(40)
    assert "switch ses-eu" not in carried_out(timeline)
    assert state(timeline) is SwitchState.UNDONE


def test_what_opsdash_began_by_itself_anybody_calls_off() -> None:
    timeline = mail()
    timeline.confirm("email")
    began = replace(timeline.switch("email"), cause=SwitchCause.AUTO, who="opsdash")
    assert may_call_off(began, "ken")
    assert called_off(replace(began, abort_asked="ken"))
    assert not called_off(replace(began, abort_asked="ken", cause=SwitchCause.PERSON, who="maria"))


def test_a_switch_that_was_taken_back_says_why_and_not_only_what_was_done() -> None:
    outside = mail_outside()
    timeline = mail(outside)
    outside.status[FENCED] = Status.DOWN
    timeline.confirm("email")
    timeline.advance(40)
    switch = timeline.switch("email")
    assert switch.state is SwitchState.UNDONE
    assert detail_of(switch).startswith("fence did not come about: ")
    assert fact_title(switch, FactName.MECHANISM) == "the mechanism reads back the old side"


def test_what_is_only_observed_any_more_cannot_be_called_off() -> None:
    outside = mail_outside()
    timeline = mail(outside)
    outside.status[FENCED] = Status.DOWN
    timeline.confirm("email")
    timeline.advance(1)
    again = timeline.crash()
    refused = again.want(AbortIntent("email"))
    assert isinstance(refused, Refused)
    assert refused.rule == "too_late"
    assert "only observed" in refused.reason


def test_somebody_else_can_only_ask_for_it() -> None:
    timeline = mail()
    timeline.confirm("email", who="maria")
    timeline.advance(0.1)
    timeline.want(AbortIntent("email", "is that right?"), who="ken")
    assert timeline.switch("email").abort_asked == "ken"
    timeline.advance(20)
    assert state(timeline) is SwitchState.COMMITTED
    assert [each.who for each in timeline.of(SwitchAbortAsked)] == ["ken"]


def test_once_the_switch_itself_was_carried_out_it_is_too_late() -> None:
    timeline = mail(before=(), after=())
    timeline.confirm("email")
    timeline.advance(1)
    refused = timeline.want(AbortIntent("email"))
    assert isinstance(refused, Refused)
    assert refused.rule == "too_late"


def test_before_anything_was_done_calling_off_aborts_at_once() -> None:
    timeline = Timeline(operation(email(switch=mail_switch(before=(QUIESCE,)))))
    timeline.read("email", "pm-prod")
    timeline.all_ok()
    timeline.confirm("email")
    timeline.want(AbortIntent("email"))
    assert state(timeline) is SwitchState.ABORTED
    timeline.read("email", "pm-prod")
    assert timeline.wanted(Apply) == []
