"""A small engine that makes one fault, and is killed; then the next one looks what is left. The guard is a real one."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opsdash.engine import guards
from tests.engine.faults import Desk, Thing, ended
from tests.engine.support import eventually_asked
from tests.lifecycle.drill_driver import STEPS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
LATEST = 0.05
"""Seconds after one of its steps, each as likely as the others, within which an engine is killed at random."""

BEFORE_ANYTHING_IS_BROKEN = ("written", "started", "armed", "refused")


async def drive(
    desk: Desk, step: str, whom: str = "engine", *more: str, killed_after: tuple[str, float] | None = None
) -> list[str]:
    """The steps to which an engine came that was killed. killed_after: from outside, so long after a step."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.lifecycle.drill_driver", str(desk.workspace), step, whom, *more,
        stdout=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    steps = []
    while line := await process.stdout.readline():
        steps.append(line.decode().strip())
        if killed_after is not None and steps[-1] == killed_after[0]:
            await asyncio.sleep(killed_after[1])
            if process.returncode is None:
                process.kill()
    await process.wait()
    return steps


async def all_is_well(desk: Desk, thing: Thing, *, by_the_guard: bool) -> None:
    """What the next engine finds and does; afterwards nothing is broken and nothing is left.

    by_the_guard: whether the guard has seen to it, so that nothing is to be found.
    """

    async def alone() -> bool:
        return not any(left.guarded for left in await desk.leftovers())

    await eventually_asked(alone, within=PATIENCE)
    if by_the_guard:
        assert await desk.leftovers() == ()
    for left in await desk.leftovers():
        guard = await guards.take_back(left, desk.hands(), desk.told.append)
        assert (await ended(guard)).verified is True
    assert not thing.is_broken
    assert await desk.leftovers() == ()


@dataclass(frozen=True)
class RandomEnd:
    """What came of an engine that was killed at a random moment. step: the last one to which it came."""

    step: str
    wrong: str


async def at_random(folder: Path, seed: int) -> RandomEnd:
    """Kill an engine at a random moment. folder: an empty one."""
    (folder / ".opsdash").mkdir()
    desk, thing = Desk(folder), Thing(folder)
    chance = random.Random(seed)  # noqa: S311 - a kill, no key
    after = chance.choice(STEPS), chance.uniform(0.0, LATEST)
    step = (await drive(desk, "never", killed_after=after))[-1]
    wrong = await _why_wrong(lambda: all_is_well(desk, thing, by_the_guard=True))
    if step in BEFORE_ANYTHING_IS_BROKEN and "break" in thing.calls():
        wrong = f"it was broken before that was written; {wrong}".removesuffix("; ")
    return RandomEnd(step, wrong and f"killed {after[1]:.3f} s after {after[0]}, at {step}: {wrong}")


async def _why_wrong(check: Callable[[], Awaitable[None]]) -> str:
    try:
        await check()
    except AssertionError as error:
        return str(error)
    return ""
