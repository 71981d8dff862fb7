"""Flapping: found by what is confirmed, mutes the alarm of what flaps, hides nothing, and ends by itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.core import flapping
from opsdash.core.alarms import DOWN_THROUGH
from opsdash.core.views import Viewer
from opsdash.model import inputs as i
from opsdash.model.operation import Threshold
from opsdash.model.records import AlarmHeld, AlarmRaised, FlappingBegan, FlappingEnded
from opsdash.testing import Timeline, check, component, operation
from tests.core.test_alarms import told

API, PAGE = "shop/api", "shop/page"


def shop(*names: str, down_after: int = 1, up_after: int = 1) -> Timeline:
    checks = [check(f"shop/{name}", down_after=Threshold(down_after, down_after), up_after=up_after) for name in names]
    timeline = Timeline(operation(component("shop", checks=names), checks=checks))
    timeline.all_ok()
    return timeline


def flap(timeline: Timeline, times: int, name: str = API, *, every: float = 10.0) -> None:
    """Down and up again, `times` times."""
    for _ in range(times):
        timeline.advance(every)
        timeline.down(name)
        timeline.advance(every)
        timeline.ok(name)


# --- the numbers -----------------------------------------------------------------------------------------------------


def bits(text: str) -> int:
    """Results in their order, `x` a change."""
    found = 0
    for each in text:
        found = flapping.pushed(found, changed=each == "x")
    return found


@pytest.mark.parametrize(
    ("results", "percent"),
    [
        ("." * 20, 0),
        ("x" * 20, 100),
        ("x" * 40, 100),
        ("x" + "." * 19, 3),
        ("." * 19 + "x", 6),
        ("xxxxx", 29),
        ("xxxxxx", 35),
        ("x" * 20 + "." * 15, 20),
        ("x" * 20 + "." * 16, 15),
    ],
)
def test_newer_changes_weigh_more_and_all_of_them_are_a_hundred_percent(results: str, percent: int) -> None:
    assert flapping.percent(bits(results)) == percent


@given(st.lists(st.booleans(), max_size=60))
def test_the_share_is_that_of_the_weights_however_it_is_looked_up(changes: list[bool]) -> None:
    found = 0
    for changed in changes:
        found = flapping.pushed(found, changed=changed)
    step = (flapping.HEAVIEST - flapping.LIGHTEST) / 19
    weights = [flapping.HEAVIEST - step * age for age, changed in enumerate(reversed(changes[-20:])) if changed]
    assert flapping.share(found) == pytest.approx(sum(weights) * 5)
    assert 0 <= found < 1 << 20


# --- what counts -----------------------------------------------------------------------------------------------------


def test_the_sixth_change_in_a_row_begins_it_and_sixteen_steady_results_end_it_at_the_latest() -> None:
    timeline = shop("api")
    flap(timeline, 2)
    timeline.down(API)
    assert timeline.of(FlappingBegan) == []
    timeline.ok(API)
    began = timeline.of(FlappingBegan)[0]
    assert (began.check, began.percent) == (API, 35)
    timeline.ok(API, times=15)
    assert timeline.of(FlappingEnded) == []
    timeline.ok(API)
    assert [each.check for each in timeline.of(FlappingEnded)] == [API]
    timeline.check_replay()


def test_what_thresholds_smooth_out_is_no_flapping() -> None:
    timeline = shop("api", down_after=3, up_after=2)
    for _ in range(40):
        timeline.down(API)
        timeline.ok(API)
    assert timeline.of(FlappingBegan) == []


def test_a_service_that_restarts_again_and_again_is_found_although_thresholds_stretch_it() -> None:
    timeline = shop("api", down_after=3, up_after=2)
    for times in range(1, 4):
        timeline.down(API, times=4)
        timeline.ok(API, times=4)
        assert bool(timeline.of(FlappingBegan)) == (times == 3)


def test_results_that_say_nothing_make_nothing_steady() -> None:
    timeline = shop("api")
    flap(timeline, 4)
    timeline.unknown(API, times=30)
    assert timeline.of(FlappingEnded) == []


def test_a_check_that_becomes_another_one_or_goes_does_not_flap_any_more() -> None:
    timeline = shop("api")
    flap(timeline, 4)
    other = operation(
        component("shop", checks=["api"]), checks=[check(API, raw={"url": "https://other"})], sha256="other"
    )
    timeline.reload(other)
    assert len(timeline.of(FlappingEnded)) == 1
    flap(timeline, 1)
    gone = operation(component("shop", checks=["page"]), sha256="gone")
    timeline.reload(gone)
    timeline.check_replay()
    assert timeline.world.tables["flapping"] == {}


# --- what it does ----------------------------------------------------------------------------------------------------


def test_while_it_flaps_nobody_is_told_of_every_change_and_its_status_is_shown_as_it_is() -> None:
    timeline = shop("api")
    flap(timeline, 3)
    told_before = len(timeline.of(AlarmRaised))
    assert told_before == 3
    flap(timeline, 10)
    assert len(timeline.of(AlarmRaised)) == told_before
    timeline.down(API)
    assert timeline.status("shop") == "down"
    assert told(timeline)[-1] == "held flapping"
    row = Viewer(timeline.world, timeline.live, timeline.clock()).row("shop")
    assert row is not None
    assert (row["status"], row["alarm"], row["held"]) == ("down", "held", "it is flapping")
    assert row["flapping"] is not None
    assert row["flapping"] > 30


def test_an_alarm_that_was_raised_before_it_flapped_is_cleared_all_the_same() -> None:
    timeline = shop("api")
    flap(timeline, 2)
    timeline.down(API)
    timeline.down(API)
    assert told(timeline)[-1] == "raised"
    timeline.ok(API)
    assert timeline.world.get("flapping", API) is not None
    assert told(timeline)[-1] == "cleared"


def test_down_without_a_break_is_raised_after_five_minutes_although_it_flapped() -> None:
    timeline = shop("api")
    flap(timeline, 4)
    timeline.down(API)
    timeline.advance(DOWN_THROUGH - 1)
    assert told(timeline)[-1] == "held flapping"
    timeline.advance(2)
    assert told(timeline)[-1] == "raised"


def test_steady_failure_ends_the_flapping_and_is_raised() -> None:
    timeline = shop("api")
    flap(timeline, 4)
    timeline.down(API, times=17)
    assert len(timeline.of(FlappingEnded)) == 1
    assert told(timeline)[-1] == "raised"


def test_a_steady_failure_beside_a_flapping_check_is_raised_at_once() -> None:
    timeline = shop("api", "page")
    flap(timeline, 4)
    timeline.down(API)
    assert told(timeline)[-1] == "held flapping"
    timeline.down(PAGE)
    timeline.ok(API)
    assert told(timeline)[-1] == "raised"


def test_it_is_still_flapping_after_a_restart_until_it_has_been_steady() -> None:
    timeline = shop("api")
    flap(timeline, 5)
    later = timeline.crash()
    held = len(later.of(AlarmHeld))
    later.ok(API)
    later.down(API)
    assert len(later.of(AlarmHeld)) > held
    later.ok(API, times=15)
    assert len(later.of(FlappingEnded)) == 1


def test_a_pause_is_no_end_of_flapping() -> None:
    timeline = shop("api")
    flap(timeline, 4)
    timeline.want(i.PauseIntent("shop", 60.0))
    timeline.want(i.ResumeIntent("shop"))
    timeline.ok(API)
    assert timeline.of(FlappingEnded) == []


def test_a_steady_check_costs_nothing() -> None:
    timeline = shop("api")
    timeline.ok(API, times=30)
    assert timeline.shown(API).flaps == 0
    assert timeline.world.tables["flapping"] == {}
