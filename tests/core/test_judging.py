"""One check: what its thresholds make of a sequence of results."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.core.health import Judged, judge, retry_after
from opsdash.model.effects import Poll
from opsdash.model.observation import Observation
from opsdash.model.operation import CheckSpec, Threshold
from opsdash.model.records import CheckChanged
from opsdash.model.status import Reason, Status
from opsdash.model.world import CheckLive, CheckState
from opsdash.testing import Timeline, check, component, operation

API = "shop/api"


def shop(**settings: Any) -> Timeline:
    """A component with one check."""
    return Timeline(operation(component("shop", checks=["api"]), checks=[check(API, **settings)]))


def shown(timeline: Timeline) -> str:
    return timeline.shown(API).status.value


def test_a_check_is_down_after_as_many_failures_in_a_row_as_its_threshold_says() -> None:
    timeline = shop(down_after=Threshold(3, 3))
    timeline.ok(API)
    timeline.down(API, times=2)
    assert shown(timeline) == "ok"
    timeline.down(API)
    assert shown(timeline) == "down"
    assert [record.status for record in timeline.of(CheckChanged)] == [Status.OK, Status.DOWN]


def test_a_good_result_in_between_starts_the_count_anew() -> None:
    timeline = shop(down_after=Threshold(3, 3))
    timeline.ok(API)
    timeline.down(API, times=2)
    timeline.ok(API)
    timeline.down(API, times=2)
    assert shown(timeline) == "ok"


def test_three_of_five_tolerates_two_good_results_in_between() -> None:
    timeline = shop(down_after=Threshold(3, 5))
    timeline.ok(API)
    timeline.down(API)
    timeline.ok(API)
    timeline.down(API)
    timeline.ok(API)
    assert shown(timeline) == "ok"
    timeline.down(API)
    assert shown(timeline) == "down"


def test_three_of_five_forgets_what_lies_further_back() -> None:
    timeline = shop(down_after=Threshold(3, 5))
    timeline.ok(API)
    timeline.down(API, times=2)
    timeline.ok(API, times=3)
    timeline.down(API)
    assert shown(timeline) == "ok"


def test_it_is_up_again_after_as_many_good_results_in_a_row_as_its_threshold_says() -> None:
    timeline = shop(up_after=2)
    timeline.down(API, times=3)
    timeline.ok(API)
    timeline.down(API)
    timeline.ok(API)
    assert shown(timeline) == "down"
    timeline.ok(API)
    assert shown(timeline) == "ok"


def test_failures_from_before_a_recovery_count_for_nothing_after_it() -> None:
    timeline = shop(down_after=Threshold(3, 5), up_after=2)
    timeline.down(API, times=3)
    timeline.ok(API, times=2)
    timeline.down(API)
    assert shown(timeline) == "ok"


def test_one_unknown_result_changes_nothing_and_two_in_a_row_show_unknown() -> None:
    timeline = shop()
    timeline.ok(API)
    timeline.unknown(API, reason=Reason.PROBE_ERROR)
    assert shown(timeline) == "ok"
    timeline.unknown(API, reason=Reason.PROBE_ERROR)
    assert (shown(timeline), timeline.shown(API).reason) == ("unknown", Reason.PROBE_ERROR)
    assert timeline.world.get("checks", API).status is Status.OK, "what was confirmed stands"


def test_unknown_neither_advances_nor_resets_a_streak_of_failures() -> None:
    timeline = shop(down_after=Threshold(3, 3))
    timeline.ok(API)
    timeline.down(API, times=2)
    timeline.unknown(API, times=5)
    assert shown(timeline) == "unknown"
    timeline.down(API)
    assert shown(timeline) == "down"


def test_unknown_neither_advances_nor_resets_a_streak_of_good_results() -> None:
    timeline = shop(up_after=2)
    timeline.down(API, times=3)
    timeline.ok(API)
    timeline.unknown(API)
    assert shown(timeline) == "down"
    timeline.ok(API)
    assert shown(timeline) == "ok"


def test_a_check_never_seen_takes_its_first_good_result_as_confirmed() -> None:
    timeline = shop(up_after=2)
    assert (shown(timeline), timeline.shown(API).reason) == ("unknown", Reason.STARTING)
    timeline.ok(API)
    assert shown(timeline) == "ok"


def test_a_check_never_seen_stays_unknown_while_it_fails_until_its_threshold_is_reached() -> None:
    timeline = shop(down_after=Threshold(3, 3))
    timeline.down(API, times=2)
    assert (shown(timeline), timeline.shown(API).reason) == ("unknown", Reason.STARTING)
    timeline.down(API)
    assert shown(timeline) == "down"


def test_after_a_start_the_recorded_status_is_shown_once_a_first_result_agrees() -> None:
    timeline = shop()
    timeline.down(API, times=3)
    later = timeline.crash()
    assert (shown(later), later.shown(API).reason) == ("unknown", Reason.STARTING)
    later.down(API)
    assert shown(later) == "down", "one result that agrees is enough"


def test_after_a_start_a_result_that_disagrees_only_begins_a_streak() -> None:
    timeline = shop(up_after=2)
    timeline.down(API, times=3)
    later = timeline.crash()
    later.ok(API)
    assert (shown(later), later.shown(API).reason) == ("unknown", Reason.STARTING)
    later.ok(API)
    assert shown(later) == "ok"


def test_a_degraded_result_on_the_way_delays_no_down() -> None:
    timeline = shop(down_after=Threshold(3, 3))
    timeline.ok(API)
    timeline.observe(API, "degraded", "slow")
    timeline.down(API, times=2)
    assert shown(timeline) == "degraded", "three were not ok"
    timeline.down(API)
    assert shown(timeline) == "down", "and now three were down"


def test_degraded_needs_as_many_results_as_down_and_carries_its_reason() -> None:
    timeline = shop(down_after=Threshold(2, 2))
    timeline.ok(API)
    timeline.observe(API, "degraded", "slow")
    assert shown(timeline) == "ok"
    timeline.observe(API, "degraded", "slow")
    assert (shown(timeline), timeline.shown(API).reason) == ("degraded", Reason.SLOW)


def test_from_down_by_degraded_results_to_degraded_with_the_reason_of_those() -> None:
    timeline = shop(up_after=2)
    timeline.down(API, times=3)
    timeline.observe(API, "degraded", "slow")
    timeline.ok(API)
    assert (shown(timeline), timeline.shown(API).reason) == ("degraded", Reason.SLOW)


def test_the_latest_reason_of_a_failing_check_is_shown() -> None:
    timeline = shop()
    timeline.down(API, times=3, reason="timeout")
    timeline.down(API, reason="refused")
    assert timeline.shown(API).reason is Reason.REFUSED


def test_an_undecided_check_is_tried_again_after_a_quarter_of_its_interval() -> None:
    timeline = shop(every=20.0)
    timeline.ok(API)
    assert timeline.take(Poll) == [], "what agrees can wait for its slot"
    timeline.down(API)
    assert timeline.take(Poll) == [Poll(API, 5.0)]
    timeline.down(API, times=2)
    timeline.take(Poll)
    timeline.down(API)
    assert timeline.take(Poll) == [], "it is decided"
    timeline.unknown(API)
    assert timeline.take(Poll) == [Poll(API, 5.0)]


def test_a_retry_comes_after_a_second_at_the_earliest_and_no_later_than_the_slot() -> None:
    assert retry_after(check(API, every=2.0)) == 1.0
    assert retry_after(check(API, every=0.5)) == 0.5


def test_nobody_is_hurried_who_asked_to_be_left_alone_or_who_reports_by_himself() -> None:
    timeline = shop()
    timeline.ok(API)
    timeline.observe(API, "down", "rate_limited", retry_after=30.0)
    assert timeline.take(Poll) == []
    heartbeat = shop(passive=True)
    heartbeat.ok(API)
    heartbeat.down(API)
    assert heartbeat.take(Poll) == []


def test_since_when_it_is_as_it_is_shown() -> None:
    timeline = shop()
    timeline.ok(API)
    first = timeline.clock.wall
    timeline.clock.advance(60)
    timeline.ok(API)
    assert timeline.shown(API).since == first
    timeline.down(API, times=2)
    timeline.clock.advance(60)
    timeline.down(API)
    assert timeline.shown(API).since == timeline.clock.wall


def test_a_result_of_a_check_that_is_no_longer_in_the_files_means_nothing() -> None:
    timeline = shop()
    assert timeline.observe("shop/gone", "down", "timeout") == []


# --- any sequence ----------------------------------------------------------------------------------------------------

RESULTS = st.sampled_from([Status.OK, Status.DEGRADED, Status.DOWN, Status.UNKNOWN])


@st.composite
def thresholds(draw: st.DrawFn) -> CheckSpec:
    of = draw(st.integers(1, 6))
    return check(API, down_after=Threshold(draw(st.integers(1, of)), of), up_after=draw(st.integers(1, 4)))


def run(spec: CheckSpec, results: list[Status], holds: list[bool] | None = None) -> list[Judged]:
    live, confirmed = CheckLive(), None
    course = []
    for number, status in enumerate(results):
        seen = Observation(API, status, None, "", None, number, number, float(number), number)
        judged = judge(spec, live, confirmed, seen, hold=bool(holds and holds[number % len(holds)]))
        live, confirmed = judged.live, judged.confirmed or confirmed
        course.append(judged)
    return course


def confirmed_down(judged: Judged) -> bool:
    return judged.confirmed is not None and judged.confirmed.status is Status.DOWN


@given(thresholds(), st.lists(RESULTS, max_size=40), st.lists(st.booleans(), max_size=5))
def test_nothing_turns_down_with_fewer_failures_than_its_threshold_among_the_results_that_count(
    spec: CheckSpec, results: list[Status], holds: list[bool]
) -> None:
    for number, judged in enumerate(run(spec, results, holds)):
        if confirmed_down(judged):
            usable = [status for status in results[: number + 1] if status is not Status.UNKNOWN]
            recent = usable[-spec.down_after.of :]
            assert recent.count(Status.DOWN) >= spec.down_after.hits
            assert results[number] is Status.DOWN, "a good result never makes things worse"


@given(thresholds(), st.lists(RESULTS, max_size=40))
def test_what_is_shown_is_what_was_confirmed_or_unknown(spec: CheckSpec, results: list[Status]) -> None:
    confirmed: CheckState | None = None
    for judged in run(spec, results):
        confirmed = judged.confirmed or confirmed
        assert judged.live.status in (Status.UNKNOWN, confirmed.status if confirmed else Status.UNKNOWN)


@given(thresholds(), st.lists(RESULTS, max_size=30))
def test_enough_failures_in_a_row_always_end_in_down_and_enough_good_results_always_in_ok(
    spec: CheckSpec, results: list[Status]
) -> None:
    failing = run(spec, [*results, *[Status.DOWN] * spec.down_after.hits])
    assert failing[-1].live.status is Status.DOWN
    healthy = run(spec, [*results, *[Status.OK] * spec.up_after])
    assert healthy[-1].live.status is Status.OK


@given(thresholds(), st.lists(RESULTS, max_size=30))
def test_two_unknown_results_in_a_row_are_always_shown_as_unknown(spec: CheckSpec, results: list[Status]) -> None:
    assert run(spec, [*results, Status.UNKNOWN, Status.UNKNOWN])[-1].live.status is Status.UNKNOWN


@pytest.mark.parametrize("status", [Status.DOWN, Status.DEGRADED])
def test_a_failure_that_is_held_counts_and_confirms_nothing(status: Status) -> None:
    spec = check(API, down_after=Threshold(2, 2))
    course = run(spec, [Status.OK, status, status], holds=[False, True, True])
    assert course[-1].confirmed is None
    assert course[-1].live.window[-2:] == ((3, 3) if status is Status.DOWN else (1, 1))
