"""Whether opsdash itself is at work, judged from what is seen of the engine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from opsdash.core.progress import (
    DECISIONS,
    FIRST_RUN,
    HELPED_BY_RESTART,
    LOOP,
    OUTBOX,
    Hindrance,
    Signs,
    lateness,
    obstacles,
)
from opsdash.model.now import Now
from opsdash.model.operation import CheckSpec, Component, Operation
from opsdash.model.world import CheckLive, Live, Pause, World

WELL = Signs(now=1000.0, turned=999.9, decided=999.0, waiting=False, late=0, checks=40)


def test_an_engine_at_work_is_hindered_by_nothing() -> None:
    assert obstacles(WELL) == ()


@pytest.mark.parametrize(
    ("signs", "what", "text"),
    [
        (replace(WELL, turned=1000 - LOOP - 1), Hindrance.LOOP, "has started no check for 6s"),
        (
            replace(WELL, decided=1000 - DECISIONS - 1, waiting=True),
            Hindrance.DECISIONS,
            "has decided nothing for 11s, and something waits",
        ),
        (replace(WELL, late=20), Hindrance.CHECKS, "has no result in time of 20 of 40 checks"),
        (replace(WELL, late=1, checks=1), Hindrance.CHECKS, "has no result in time of 1 of 1 checks"),
        (replace(WELL, journal_error="no space"), Hindrance.JOURNAL, "cannot write its journal: no space"),
        (
            replace(WELL, journal_hangs=True),
            Hindrance.JOURNAL,
            "waits for its journal to be written: is the disk dead?",
        ),
        (
            replace(WELL, outbox_waits=OUTBOX + 20),
            Hindrance.OUTBOX,
            "has an alarm that nobody has tried to send for 5m20s",
        ),
    ],
)
def test_each_thing_that_stands_still_is_named(signs: Signs, what: Hindrance, text: str) -> None:
    (found,) = obstacles(signs)
    assert (found.what, found.text) == (what, text)


@pytest.mark.parametrize(
    "signs",
    [
        replace(WELL, turned=1000 - LOOP + 1),
        replace(WELL, decided=0.0),  # nothing has happened for long, and nothing waits
        replace(WELL, decided=1000 - DECISIONS + 1, waiting=True),
        replace(WELL, late=19),
        replace(WELL, late=0, checks=0),
        replace(WELL, outbox_waits=OUTBOX - 1),
        replace(WELL, outbox_waits=None),
    ],
)
def test_what_is_only_slow_hinders_nothing(signs: Signs) -> None:
    assert obstacles(signs) == ()


def test_several_obstacles_are_all_told() -> None:
    signs = replace(WELL, turned=0.0, late=40, journal_error="no space", journal_hangs=True)
    assert [each.what for each in obstacles(signs)] == [Hindrance.LOOP, Hindrance.CHECKS, Hindrance.JOURNAL]


def test_a_full_disk_is_not_cured_by_a_restart() -> None:
    assert Hindrance.JOURNAL not in HELPED_BY_RESTART
    assert set(Hindrance) - HELPED_BY_RESTART == {Hindrance.JOURNAL}


def world(*names: str, passive: bool = False) -> World:
    checks = {
        f"{name}/api": CheckSpec(f"{name}/api", name, None, "api", "http", {}, every=10.0, passive=passive)
        for name in names
    }
    made = World()
    made.operation = Operation(
        title="t", timezone="UTC", components={name: Component(name, name) for name in names}, checks=checks
    )
    return made


def at(mono: float) -> Now:
    return Now(wall=1e9 + mono, mono=mono, boot=mono)


def test_a_result_is_late_two_intervals_after_it_was_due() -> None:
    live = Live()
    live.tables["checks"]["a/api"] = CheckLive(runs=3, due=100.0)
    live.tables["checks"]["b/api"] = CheckLive(runs=3, due=119.0)
    assert lateness(world("a", "b"), live, at(120.0), 0.0) == (0, 2)
    assert lateness(world("a", "b"), live, at(121.0), 0.0) == (1, 2)
    assert lateness(world("a", "b"), live, at(140.0), 0.0) == (2, 2)


def test_a_check_that_has_never_run_is_late_a_minute_after_the_start() -> None:
    assert lateness(world("a"), Live(), at(50.0 + FIRST_RUN), 50.0) == (0, 1)
    assert lateness(world("a"), Live(), at(51.0 + FIRST_RUN), 50.0) == (1, 1)


def test_what_is_paused_and_what_others_report_is_left_out() -> None:
    paused = world("a")
    paused.tables["pauses"]["a"] = Pause(until=1e9, since=0.0, who="maria")
    assert lateness(paused, Live(), at(1000.0), 0.0) == (0, 0)
    assert lateness(world("a", passive=True), Live(), at(1000.0), 0.0) == (0, 0)
