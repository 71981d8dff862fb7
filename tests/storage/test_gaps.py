"""Times in which nothing was measured stay such, however long ago they were and however the engine ended."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.model.status import Status
from opsdash.storage.gaps import limit_of, of_all
from opsdash.storage.history import History
from opsdash.storage.samples import HOUR, MINUTE, Gap, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

DAY = 24 * HOUR
T0 = 1_793_700_000 // HOUR * HOUR
CHECK = "email/postmark/api"
EVERY = 30.0


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    made = History(tmp_path / "history.db")
    yield made
    made.close()


def measured(history: History, since: float, until: float, every: float = EVERY, status: Status = Status.OK) -> None:
    """A check that was measured all the time in between."""
    count = int((until - since) / every)
    history.write([Sample(CHECK, T0 + since + n * every, status, 20.0, "") for n in range(count)])


def sum_up(history: History, now: float) -> None:
    while history.maintain(T0 + now).behind:
        pass


def found(history: History, since: float, until: float, every: float = EVERY) -> list[tuple[float, float]]:
    return [(gap.since - T0, gap.until - T0) for gap in history.gaps(CHECK, T0 + since, T0 + until, every)]


def test_a_check_that_was_always_measured_has_none(history: History) -> None:
    measured(history, 0, HOUR)
    assert found(history, 0, HOUR) == []


def test_a_time_in_which_the_engine_was_off_is_one(history: History) -> None:
    measured(history, 0, 600)
    measured(history, 2000, 3000)
    assert found(history, 0, 3000) == [(570, 2000)]


def test_one_missed_result_is_none_and_what_outlives_the_freshness_of_a_result_is(history: History) -> None:
    limit = limit_of(EVERY)
    history.write([Sample(CHECK, T0 + at, Status.OK, 1.0, "") for at in (0, limit, 2 * limit + 0.5)])
    assert found(history, 0, 2 * limit + 1) == [(limit, 2 * limit + 0.5)]


def test_an_engine_that_has_not_come_back_leaves_one_that_lasts(history: History) -> None:
    measured(history, 0, 600)
    assert found(history, 0, DAY) == [(570, DAY)]


def test_one_that_began_before_the_period_reaches_into_it(history: History) -> None:
    measured(history, 0, 600)
    measured(history, 7200, 7800)
    assert found(history, 3600, 7800) == [(3600, 7200)]


def test_what_was_before_the_first_result_of_all_is_none(history: History) -> None:
    measured(history, HOUR, 2 * HOUR)
    assert found(history, 0, 2 * HOUR) == []
    assert history.gaps("nobody/knows/it", T0, T0 + DAY, EVERY) == []


def test_unknown_results_are_results(history: History) -> None:
    measured(history, 0, HOUR, status=Status.UNKNOWN)
    assert found(history, 0, HOUR) == []


def test_old_ones_are_told_by_minutes_and_by_hours(history: History) -> None:
    measured(history, 0, 2 * HOUR)
    measured(history, 5 * HOUR, 6 * HOUR)
    sum_up(history, 7 * HOUR)
    sum_up(history, 10 * DAY)  # single results are gone, minutes are there
    assert found(history, 0, 6 * HOUR) == [(2 * HOUR, 5 * HOUR)]
    measured(history, 20 * DAY, 20 * DAY + HOUR)
    sum_up(history, 20 * DAY + 2 * HOUR)  # the first minutes are gone, too
    assert found(history, 0, 20 * DAY + HOUR) == [(2 * HOUR, 5 * HOUR), (6 * HOUR, 20 * DAY)]


def test_one_between_what_is_kept_as_minutes_and_what_is_kept_as_samples_is_found(history: History) -> None:
    measured(history, 0, HOUR)
    measured(history, 3 * DAY, 3 * DAY + HOUR)
    sum_up(history, 3 * DAY + HOUR + 2 * MINUTE)
    assert found(history, 0, 3 * DAY + HOUR) == [(HOUR, 3 * DAY)]


@given(marks=st.lists(st.booleans(), min_size=1, max_size=40))
def test_gap_and_results_take_turns_and_fill_the_period(
    marks: Sequence[bool], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Ten minutes each, measured or not; by single results and by their sums."""
    history = History(tmp_path_factory.mktemp("gaps") / "history.db")
    try:
        measured(history, -600, 0)
        for number, there in enumerate(marks):
            if there:
                measured(history, number * 600, number * 600 + 600)
        for _ in range(2):
            gaps = history.gaps(CHECK, T0, T0 + len(marks) * 600, EVERY)
            covered = sum(gap.until - gap.since for gap in gaps)
            assert abs(covered - 600 * marks.count(False)) <= 60 * len(gaps)
            assert all(one.until < other.since for one, other in pairwise(gaps))
            sum_up(history, DAY)
    finally:
        history.close()


def test_what_a_check_ran_too_often_does_not_make_up_for_when_it_did_not_run(history: History) -> None:
    measured(history, 0, 600, every=1.0, status=Status.DOWN)
    measured(history, 3600, 4200)
    uptime = history.uptime(CHECK, T0, T0 + 4200, EVERY)
    assert uptime.missing == 100  # from 599 s to 3600 s
    assert uptime.share is not None
    assert uptime.share < 20 / 600


def test_a_component_was_not_measured_when_none_of_its_checks_was() -> None:
    one = [Gap(0, 10), Gap(20, 40)]
    assert of_all([one, [Gap(5, 25), Gap(30, 60)]]) == [Gap(5, 10), Gap(20, 25), Gap(30, 40)]
    assert of_all([one, []]) == []
    assert of_all([one]) == one
    assert of_all([]) == []
