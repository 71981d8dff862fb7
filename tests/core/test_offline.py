"""It may be opsdash that is offline: anchors are asked before anything new is called down."""

from __future__ import annotations

from opsdash.core.health import OFFLINE_GRACE
from opsdash.model.effects import Poll
from opsdash.model.inputs import Loaded
from opsdash.model.operation import Threshold
from opsdash.model.records import IncidentOpened
from opsdash.model.status import Reason
from opsdash.model.switch import GuardResult, Plan
from opsdash.testing import Timeline, check, component, email, operation

API = "shop/api"
ANCHORS = ("anchors/1", "anchors/2", "anchors/3")


def shop(*, anchors: int = 3, every: float = 4.0) -> Timeline:
    """A shop that works, watched by an opsdash with anchors that have answered."""
    timeline = Timeline(operation(component("shop", checks=["api"]), checks=[check(API, every=every)], anchors=anchors))
    timeline.all_ok()
    timeline.effects.clear()
    timeline.clock.advance(60)
    return timeline


def polled(timeline: Timeline) -> list[str]:
    return [poll.check for poll in timeline.take(Poll)]


def test_when_something_fails_the_anchors_are_asked_at_once() -> None:
    timeline = shop()
    timeline.down(API)
    assert set(ANCHORS) <= set(polled(timeline))


def test_nothing_turns_down_before_the_anchors_have_answered() -> None:
    timeline = shop()
    for _ in range(5):
        timeline.clock.advance(1)
        timeline.down(API)
    assert timeline.status("shop") == "ok"
    timeline.ok(*ANCHORS[:2])
    timeline.down(API)
    assert timeline.status("shop") == "ok", "one of them has not answered yet"
    timeline.ok(ANCHORS[2])
    timeline.down(API)
    assert timeline.status("shop") == "down"


def test_a_check_with_long_intervals_is_called_down_although_the_answers_of_the_anchors_grow_old_in_between() -> None:
    timeline = shop(every=300.0)
    for _ in range(3):
        timeline.clock.advance(75)
        timeline.down(API)
        assert min(poll.after for poll in timeline.take(Poll) if poll.check == API) <= 2.0
        timeline.ok(*ANCHORS)
    timeline.clock.advance(2)
    timeline.down(API)
    assert timeline.status("shop") == "down"


def test_an_answer_of_the_anchors_is_believed_for_half_a_minute() -> None:
    timeline = shop()
    timeline.down(API)
    timeline.ok(*ANCHORS)
    polled(timeline)
    timeline.clock.advance(29)
    timeline.down(API)
    assert not set(ANCHORS) & set(polled(timeline))
    timeline.clock.advance(2)
    timeline.down(API)
    assert set(ANCHORS) <= set(polled(timeline))


def test_what_is_known_to_be_down_asks_nobody() -> None:
    timeline = shop()
    timeline.down(API)
    timeline.ok(*ANCHORS)
    timeline.down(API, times=2)
    polled(timeline)
    timeline.clock.advance(120)
    timeline.down(API)
    assert polled(timeline) == []


def test_while_most_anchors_are_silent_failures_are_unknown_and_nothing_turns_down() -> None:
    timeline = shop()
    timeline.down(API)
    timeline.down(*ANCHORS[:2])
    timeline.ok(ANCHORS[2])
    assert timeline.draft().engine().offline
    timeline.down(API, times=10)
    assert (timeline.status("shop"), timeline.health("shop").reason) == ("unknown", Reason.OFFLINE)
    timeline.advance(3600)
    assert timeline.of(IncidentOpened) == [], "not being able to look is no incident while opsdash is offline"


def test_one_silent_anchor_of_three_is_no_proof() -> None:
    timeline = shop()
    timeline.down(API)
    timeline.down(ANCHORS[0])
    timeline.ok(*ANCHORS[1:])
    timeline.down(API, times=2)
    assert timeline.status("shop") == "down"


def test_what_was_down_before_is_not_called_fine_while_offline() -> None:
    timeline = shop()
    timeline.down(API)
    timeline.ok(*ANCHORS)
    timeline.down(API, times=2)
    timeline.down(*ANCHORS)
    timeline.down(API, times=2)
    assert timeline.status("shop") == "unknown"
    assert timeline.world.get("checks", API).status.value == "down"


def back_online(timeline: Timeline) -> None:
    """Three failures while the anchors had not answered, then offline, then back again."""
    timeline.down(API, times=3)
    timeline.down(*ANCHORS)
    timeline.down(API, times=2)
    timeline.clock.advance(60)
    timeline.ok(*ANCHORS)
    assert not timeline.draft().engine().offline


def test_after_coming_back_nothing_new_turns_down_for_a_moment() -> None:
    timeline = shop()
    back_online(timeline)
    timeline.clock.advance(OFFLINE_GRACE - 1)
    timeline.down(API, times=5)
    assert timeline.status("shop") == "unknown"
    timeline.clock.advance(1)
    timeline.down(API, times=2)
    timeline.ok(*ANCHORS)
    assert timeline.status("shop") != "down", "failures from before coming back count for nothing"
    timeline.down(API)
    assert timeline.status("shop") == "down"


def test_failures_from_before_coming_back_count_for_nothing_even_if_no_other_result_came_in_between() -> None:
    timeline = shop()
    timeline.down(API, times=3)
    timeline.down(*ANCHORS)
    timeline.clock.advance(60)
    timeline.ok(*ANCHORS)
    timeline.clock.advance(OFFLINE_GRACE + 1)
    timeline.down(API)
    timeline.ok(*ANCHORS)
    timeline.down(API)
    assert timeline.status("shop") == "ok"


def test_without_anchors_opsdash_never_claims_to_be_offline() -> None:
    timeline = shop(anchors=0)
    timeline.down(API, times=3)
    assert timeline.status("shop") == "down"
    assert polled(timeline).count(API) == 2


def test_anchors_that_were_taken_out_of_the_files_keep_nobody_offline() -> None:
    timeline = shop()
    timeline.down(*ANCHORS)
    timeline.feed(Loaded(operation(component("shop", checks=["api"]), sha256="no anchors")))
    timeline.down(API, times=3)
    assert timeline.status("shop") == "down"


def test_the_plan_of_a_switch_warns_while_offline() -> None:
    timeline = Timeline(operation(email(), anchors=1))
    timeline.read("email", "pm-prod")
    timeline.all_ok()
    timeline.down("anchors/1")
    plan = timeline.plan("email", "failover")
    assert isinstance(plan, Plan)
    assert [guard.result for guard in plan.guards if guard.rule == "online"] == [GuardResult.WARN]


def test_being_blind_is_looked_at_again_once_opsdash_is_connected() -> None:
    timeline = shop()
    timeline.unknown(API, times=2)
    timeline.down(*ANCHORS)
    timeline.advance(400)
    assert timeline.incident("shop") is None
    timeline.ok(*ANCHORS)
    timeline.advance(400)
    assert timeline.incident("shop") is not None


def test_an_answer_that_comes_late_to_a_held_failure_leaves_a_good_result_good() -> None:
    spec = check(API, every=4.0, down_after=Threshold(3, 5))
    timeline = Timeline(operation(component("shop", checks=["api"]), checks=[spec], anchors=3))
    timeline.all_ok()
    timeline.clock.advance(60)
    timeline.down(API, times=3)
    timeline.ok(*ANCHORS)
    timeline.ok(API)
    assert timeline.status("shop") == "ok", "no good result makes anything worse"
