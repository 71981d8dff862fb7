"""Small charts: the latest runs of every check."""

from __future__ import annotations

from opsdash.engine.sparks import RUNS, Sparks


def add(sparks: Sparks, check: str, milliseconds: float | None, at: float = 0.0) -> None:
    """A run of a check that has to run again within thirty seconds."""
    sparks.add(check, milliseconds, at=at, good_until=at + 30)


def test_the_latest_runs_are_kept_oldest_first_and_a_failed_one_is_a_gap() -> None:
    sparks = Sparks()
    for run in range(RUNS + 5):
        add(sparks, "web/home", run + 0.25, at=run * 10)
    add(sparks, "web/home", None, at=run * 10 + 10)
    assert sparks["web/home"][:2] == [6.25, 7.25]
    assert sparks["web/home"][-2:] == [RUNS + 4.25, None]
    assert len(sparks["web/home"]) == RUNS


def test_a_latency_reads_as_it_was_measured_to_the_microsecond() -> None:
    sparks = Sparks()
    add(sparks, "web/home", 1.2345)
    assert sparks["web/home"] == [1.234] or sparks["web/home"] == [1.235]


def test_what_is_no_longer_checked_is_forgotten() -> None:
    sparks = Sparks()
    add(sparks, "web/home", 1.0)
    add(sparks, "web/gone", 1.0)
    sparks.keep({"web/home", "web/new"})
    assert dict(sparks) == {"web/home": [1.0]}
    assert sparks.get("web/gone", ()) == ()


def test_a_chart_bridges_no_time_in_which_nothing_was_measured() -> None:
    sparks = Sparks()
    add(sparks, "web/home", 1.0, at=0)
    add(sparks, "web/home", 2.0, at=30)
    add(sparks, "web/other", 5.0, at=30)
    assert sparks["web/home"] == [1.0, 2.0]
    add(sparks, "web/home", 3.0, at=60.1)
    assert sparks["web/home"] == [3.0]
    assert sparks["web/other"] == [5.0]


def test_after_a_jump_of_the_clock_all_charts_begin_anew() -> None:
    sparks = Sparks()
    add(sparks, "web/home", 1.0)
    sparks.clear()
    assert dict(sparks) == {}
    add(sparks, "web/home", 2.0, at=-1000)
    assert sparks["web/home"] == [2.0]
