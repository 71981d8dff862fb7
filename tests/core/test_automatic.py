"""Switching without a person: never by default, in shadow to learn, and always only where everything speaks for it."""

from __future__ import annotations

from typing import Any

import pytest

from opsdash.core.automatic import LOOK_AGAIN, score_words
from opsdash.core.evolve import evolve
from opsdash.model.inputs import PreflightDone, ResumeAutoIntent
from opsdash.model.operation import Auto, Response, ResponseKind
from opsdash.model.records import AutoStopped, Proved, ShadowScored, SwitchBlocked, WouldSwitch
from opsdash.model.status import Status
from opsdash.model.switch import Refused, SwitchCause, SwitchState
from opsdash.model.world import Shadow
from opsdash.testing import (
    Timeline,
    component,
    email,
    failure,
    mail_outside,
    mail_switch,
    operation,
    provider,
)

PRIMARY, STANDBY = "email/postmark/api", "email/ses/api"


def mail(*others: Any, auto: Auto = Auto.ALWAYS, anchors: int = 3, proved: bool = True, **switch: Any) -> Timeline:
    """Email that opsdash may switch by itself, with a fresh proof of its backup; nothing speaks against it."""
    spec = mail_switch(auto=auto, **switch)
    timeline = Timeline(operation(email(switch=spec), *others, anchors=anchors), outside=mail_outside())
    timeline.advance(1)
    timeline.all_ok()
    timeline.feed(PreflightDone("email/ses", True, "fine"))
    if proved:
        prove(timeline, "email", "ses")
    return timeline


def prove(timeline: Timeline, component_id: str, what: str) -> None:
    sha256 = timeline.world.operation.components[component_id].sha256
    record = Proved(timeline.clock.wall, component_id, what, "drill-1", sha256)
    timeline.records.append(record)
    timeline.world.apply(evolve(timeline.world, record))


def fail(timeline: Timeline, check: str = PRIMARY) -> None:
    """The active provider is down, by its own check and by whoever looks from now on."""
    assert timeline.outside is not None
    timeline.outside.status[check] = Status.DOWN
    timeline.down(check, times=3)


def come_back(timeline: Timeline, check: str = PRIMARY) -> None:
    """The provider works again."""
    assert timeline.outside is not None
    timeline.outside.status.pop(check)
    timeline.ok(check, times=2)


def hold(timeline: Timeline, seconds: float = 31.0) -> None:
    """Time goes by, while results keep coming in and the anchors answer."""
    for _ in range(int(seconds)):
        timeline.advance(1)


def causes(timeline: Timeline) -> list[str]:
    return [each.rule for each in timeline.of(SwitchBlocked)]


def test_by_default_nothing_is_switched_without_a_person() -> None:
    timeline = mail(auto=Auto.NEVER)
    fail(timeline)
    hold(timeline, 120)
    assert timeline.state("email").switch is None
    assert timeline.of(SwitchBlocked) == []


def test_a_primary_that_is_down_for_the_hold_time_is_left_for_the_backup() -> None:
    timeline = mail()
    fail(timeline)
    hold(timeline, 29)
    assert timeline.state("email").switch is None
    hold(timeline, 15)
    switch = timeline.switch("email")
    assert (switch.state, switch.cause, switch.who) == (SwitchState.COMMITTED, SwitchCause.AUTO, "opsdash")
    assert timeline.state("email").active == "ses"
    timeline.check_replay()


def test_a_blip_shorter_than_the_hold_time_switches_nothing() -> None:
    timeline = mail()
    fail(timeline)
    hold(timeline, 20)
    come_back(timeline)
    hold(timeline, 60)
    assert timeline.state("email").switch is None


def test_a_second_blip_starts_a_hold_time_of_its_own() -> None:
    timeline = mail()
    fail(timeline)
    hold(timeline, 20)
    come_back(timeline)
    fail(timeline)
    hold(timeline, 20)
    assert timeline.state("email").switch is None


def test_unknown_is_not_down() -> None:
    timeline = mail()
    timeline.unknown(PRIMARY, times=5)
    hold(timeline, 120)
    assert timeline.state("email").switch is None


def test_it_never_goes_back_by_itself() -> None:
    timeline = mail()
    fail(timeline)
    hold(timeline, 45)
    come_back(timeline)
    hold(timeline, 120)
    assert timeline.state("email").active == "ses"
    timeline.down(STANDBY, times=3)
    hold(timeline, 120)
    assert timeline.state("email").generation == 1, "and from the backup it goes nowhere"


# --- what stands in the way ----------------------------------------------------------------------------------------


def test_a_backup_that_was_never_proved_is_no_place_to_go_to_without_a_person() -> None:
    timeline = mail(proved=False)
    fail(timeline)
    hold(timeline)
    assert causes(timeline) == ["proof"]
    (blocked,) = timeline.of(SwitchBlocked)
    assert (blocked.cause, blocked.who) == (SwitchCause.AUTO, "opsdash")
    assert "never proved" in blocked.reason


def test_what_stands_in_the_way_is_recorded_once_and_looked_at_again() -> None:
    timeline = mail(proved=False)
    fail(timeline)
    hold(timeline, 100)
    assert causes(timeline) == ["proof"]
    prove(timeline, "email", "ses")
    hold(timeline, LOOK_AGAIN + 10)
    assert timeline.switch("email").state is SwitchState.COMMITTED


def test_without_anchors_nobody_can_tell_who_is_cut_off() -> None:
    timeline = mail(anchors=0)
    fail(timeline)
    hold(timeline)
    assert causes(timeline) == ["anchors"]


def test_while_opsdash_is_offline_nothing_is_switched() -> None:
    timeline = mail()
    fail(timeline)
    assert timeline.outside is not None
    for anchor in timeline.world.operation.anchors:
        timeline.outside.status[anchor] = Status.DOWN
        timeline.down(anchor)
    hold(timeline, 40)
    assert timeline.state("email").switch is None


def test_a_backup_that_does_not_work_is_left_alone() -> None:
    timeline = mail()
    fail(timeline, STANDBY)
    fail(timeline)
    hold(timeline)
    assert causes(timeline) == ["none_ready"]


def test_in_a_blockade_it_waits_for_a_person() -> None:
    timeline = mail()
    timeline.confirm("email")
    timeline.advance(10)
    timeline.confirm("email", "failback")
    timeline.advance(10)
    prove(timeline, "email", "ses")
    fail(timeline)
    hold(timeline, 40)
    assert causes(timeline) == ["blockade"]


def test_what_was_not_tried_is_not_taken_for_granted() -> None:
    timeline = mail()
    timeline.live.tables["preflights"].clear()
    fail(timeline)
    hold(timeline)
    assert causes(timeline) == ["preflight"]


# --- limits over all components ------------------------------------------------------------------------------------


def shop(name: str) -> Any:
    return component(
        name,
        checks=("up",),
        providers=(provider("one", "api"), provider("two", "api")),
        switch=mail_switch(auto=Auto.ALWAYS, served_by=None, verify=(f"{name}/up",)),
        failures={"gone": failure("gone", f"{name}/active/api", response=Response(ResponseKind.SWITCH))},
    )


def shops(*names: str) -> Timeline:
    """Components that opsdash may switch by itself, each with a proved backup."""
    outside = mail_outside(says={f"{name}/switch": "one" for name in names})
    timeline = Timeline(operation(*(shop(name) for name in names), anchors=3), outside=outside)
    timeline.advance(1)
    timeline.all_ok()
    for name in names:
        timeline.feed(PreflightDone(f"{name}/two", True, "fine"))
        prove(timeline, name, "two")
    return timeline


def test_no_more_than_two_an_hour_over_all_components() -> None:
    timeline = shops("a", "b", "c")
    for name in ("a", "b", "c"):
        fail(timeline, f"{name}/one/api")
        hold(timeline, 45)
    assert [timeline.state(name).active for name in ("a", "b", "c")] == ["two", "two", "one"]
    assert causes(timeline) == ["per_hour"]
    timeline.advance(3600)
    hold(timeline, 15)
    assert timeline.state("c").active == "two"


@pytest.mark.parametrize("jump", [7200.0, -7200.0])
def test_a_clock_that_jumps_does_not_change_that(jump: float) -> None:
    timeline = shops("a", "b", "c")
    for name in ("a", "b"):
        fail(timeline, f"{name}/one/api")
        hold(timeline, 45)
    timeline.clock.wall += jump
    fail(timeline, "c/one/api")
    hold(timeline, 45)
    assert timeline.state("c").active == "one"


def test_a_restart_does_not_change_that() -> None:
    timeline = shops("a", "b", "c")
    for name in ("a", "b"):
        fail(timeline, f"{name}/one/api")
        hold(timeline, 45)
    again = timeline.crash()
    again.advance(1)
    again.all_ok()
    again.feed(PreflightDone("c/two", True, "fine"))
    fail(again, "c/one/api")
    hold(again, 45)
    assert again.state("c").active == "one"
    assert "per_hour" in causes(again)


def test_one_at_a_time() -> None:
    timeline = shops("a", "b")
    assert timeline.outside is not None
    timeline.outside.takes = 5.0
    fail(timeline, "a/one/api")
    fail(timeline, "b/one/api")
    hold(timeline, 31)
    assert causes(timeline) == ["one_at_a_time"]
    hold(timeline, 30)
    assert [timeline.state(name).active for name in ("a", "b")] == ["two", "two"]


# --- the first unknown ---------------------------------------------------------------------------------------------


def test_after_an_outcome_that_is_not_known_it_does_nothing_more_until_a_person_lets_it() -> None:
    timeline = shops("a", "b")
    assert timeline.outside is not None
    timeline.outside.status["a/up"] = Status.UNKNOWN
    fail(timeline, "a/one/api")
    hold(timeline, 80)
    assert timeline.switch("a").state is SwitchState.UNKNOWN
    assert [each.why for each in timeline.of(AutoStopped)] == ["a-failover-1 ended unknown"]
    fail(timeline, "b/one/api")
    hold(timeline, 45)
    assert timeline.state("b").active == "one"
    assert causes(timeline) == ["auto_stopped"]
    refused = timeline.want(ResumeAutoIntent(" "))
    assert isinstance(refused, Refused)
    assert refused.rule == "reason"
    timeline.want(ResumeAutoIntent("the check was broken"))
    hold(timeline, LOOK_AGAIN + 10)
    assert timeline.state("b").active == "two"
    timeline.check_replay()


def test_what_has_not_stopped_needs_nobody_to_go_on() -> None:
    refused = mail().want(ResumeAutoIntent("why not"))
    assert isinstance(refused, Refused)
    assert refused.rule == "state"


# --- in shadow -----------------------------------------------------------------------------------------------------


def test_in_shadow_it_only_says_that_it_would_have() -> None:
    timeline = mail(auto=Auto.SHADOW)
    fail(timeline)
    hold(timeline, 120)
    assert [(each.source, each.target) for each in timeline.of(WouldSwitch)] == [("postmark", "ses")]
    assert timeline.state("email").switch is None
    timeline.check_replay()


def test_it_is_scored_by_what_people_did() -> None:
    timeline = mail(auto=Auto.SHADOW)
    fail(timeline)
    hold(timeline, 40)
    timeline.confirm("email")
    timeline.advance(10)
    assert [each.verdict for each in timeline.of(ShadowScored)] == ["agreed"]


def test_what_came_back_by_itself_was_not_needed() -> None:
    timeline = mail(auto=Auto.SHADOW)
    fail(timeline)
    hold(timeline, 40)
    come_back(timeline)
    assert [each.verdict for each in timeline.of(ShadowScored)] == ["not needed"]
    assert timeline.draft().get("shadows", "email") == Shadow(timeline.of(WouldSwitch)[0].at, None, 1, not_needed=1)


def test_the_score_in_words() -> None:
    assert score_words(Shadow(would=1)) == "would have switched once"
    shadow = Shadow(would=6, agreed=3, differed=1, not_needed=2)
    assert score_words(shadow) == (
        "would have switched 6 times: 3 as people did, 1 elsewhere than people did, 2 not needed"
    )
