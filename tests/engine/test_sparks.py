"""Small charts: the latest runs of every check."""

from __future__ import annotations

from opsdash.engine.sparks import RUNS, Sparks


def test_the_latest_runs_are_kept_oldest_first_and_a_failed_one_is_a_gap() -> None:
    sparks = Sparks()
    for run in range(RUNS + 5):
        sparks.add("web/home", run + 0.25)
    sparks.add("web/home", None)
    assert sparks["web/home"][:2] == [6.25, 7.25]
    assert sparks["web/home"][-2:] == [RUNS + 4.25, None]
    assert len(sparks["web/home"]) == RUNS


def test_a_latency_reads_as_it_was_measured_to_the_microsecond() -> None:
    sparks = Sparks()
    sparks.add("web/home", 1.2345)
    assert sparks["web/home"] == [1.234] or sparks["web/home"] == [1.235]


def test_what_is_no_longer_checked_is_forgotten() -> None:
    sparks = Sparks()
    sparks.add("web/home", 1.0)
    sparks.add("web/gone", 1.0)
    sparks.keep({"web/home", "web/new"})
    assert dict(sparks) == {"web/home": [1.0]}
    assert sparks.get("web/gone", ()) == ()
