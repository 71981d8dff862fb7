"""Whoever is killed at whatever moment of a drill, the fault is taken back, by the guard, the engine, or the next one.

`make crash-matrix ARGS=guard` kills at many more random moments.
"""

from __future__ import annotations

import os
import resource
import signal
from typing import TYPE_CHECKING

import pytest

from opsdash.engine import guards
from opsdash.kinds.base import Applied
from tests.engine.faults import Desk, Thing
from tests.engine.support import eventually_asked
from tests.lifecycle import guard_kills
from tests.lifecycle.drill_driver import STEPS
from tests.lifecycle.guard_kills import BEFORE_ANYTHING_IS_BROKEN, all_is_well, drive

if TYPE_CHECKING:
    from pathlib import Path

    from opsdash.engine.guards import GuardEvent

RANDOM_KILLS = 2


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / ".opsdash").mkdir()
    return Desk(tmp_path)


@pytest.fixture
def thing(tmp_path: Path) -> Thing:
    return Thing(tmp_path)


@pytest.mark.parametrize("whom", ["engine", "both"])
@pytest.mark.parametrize("step", STEPS)
async def test_killed_at_any_step_the_fault_is_taken_back(desk: Desk, thing: Thing, step: str, whom: str) -> None:
    steps = await drive(desk, step, whom)
    assert steps[-1] == step
    await all_is_well(desk, thing, by_the_guard=whom == "engine")
    if step in BEFORE_ANYTHING_IS_BROKEN:
        assert thing.calls() == []
    elif step == "injected":
        assert thing.calls()[-2:] == ["mend", "gone"]


@pytest.mark.parametrize("seed", range(RANDOM_KILLS))
async def test_killed_at_a_random_moment_the_fault_is_taken_back(tmp_path: Path, seed: int) -> None:
    assert (await guard_kills.at_random(tmp_path, seed)).wrong == ""


@pytest.mark.parametrize("line", ["armed", "injecting", "undoing", "tried", "undone"])
async def test_a_guard_killed_at_any_of_its_lines_is_replaced_by_the_engine(
    desk: Desk, thing: Thing, line: str
) -> None:
    def told(event: GuardEvent) -> None:
        if event.event == line and event.by == "guard":
            os.kill(guard.pid, signal.SIGKILL)

    guard = await guards.arm(desk.arming(thing.injection()), desk.state, desk.hands(), told)
    if line == "armed":
        os.kill(guard.pid, signal.SIGKILL)
    results = await guard.inject()
    outcome = await guard.undo("over")
    assert outcome.verified is True
    assert not thing.is_broken
    assert await desk.leftovers() == ()
    if line == "armed":
        assert results[0].applied is Applied.NOT_STARTED
        assert thing.calls() == []


async def test_what_a_guard_has_given_up_is_found_by_the_next_engine_and_taken_back_when_that_works_again(
    desk: Desk, thing: Thing
) -> None:
    thing.misbehave("deaf")
    guard = await desk.arm(thing.injection())
    await guard.inject()
    guard.let_go()
    await eventually_asked(lambda: has_written(desk, "given_up"), within=guard_kills.PATIENCE)
    [left] = await desk.leftovers()
    assert left.by_hand == ("thing/fault mend",)
    assert thing.is_broken
    (thing.folder / "deaf").unlink()
    await all_is_well(desk, thing, by_the_guard=False)


async def has_written(desk: Desk, event: str) -> bool:
    return event in desk.events()


# --- a disk that is full -----------------------------------------------------------------------------------------


async def test_on_a_full_disk_nothing_is_armed_and_so_nothing_injected(desk: Desk, thing: Thing) -> None:
    steps = await drive(desk, "never", "engine", "64")
    assert steps[-1].startswith("refused: the guard could not be armed")
    assert "File too large" in steps[-1]
    assert thing.calls() == []
    assert await desk.leftovers() == ()


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="the limits of another process are Linux's")
async def test_a_guard_that_cannot_write_that_faults_are_made_lets_none_be_made(desk: Desk, thing: Thing) -> None:
    guard = await desk.arm(thing.injection())
    fill_the_disk(desk, guard.pid)
    [done] = await guard.inject()
    assert done.applied is Applied.NOT_STARTED
    assert "File too large" in done.detail
    assert thing.calls() == []
    assert (await guard.undo("over")).verified is True


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="the limits of another process are Linux's")
async def test_a_disk_that_becomes_full_keeps_no_guard_from_undoing(desk: Desk, thing: Thing) -> None:
    guard = await desk.arm(thing.injection())
    await guard.inject()
    fill_the_disk(desk, guard.pid)
    outcome = await guard.undo("over")
    assert (outcome.verified, outcome.by) == (True, "guard")
    assert not thing.is_broken
    assert desk.events() == ["armed", "injecting"]
    await all_is_well(desk, thing, by_the_guard=False)  # nobody can know from the disk, so it is undone once more


def fill_the_disk(desk: Desk, pid: int) -> None:
    """From now on the guard can write nothing more into its log."""
    size = (desk.state / "drills/run-1/guard.jsonl").stat().st_size
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, size))
