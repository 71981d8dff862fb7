"""Engines that are killed at each record of a drill that has broken something: what is left broken is nothing.

A real engine, a real guard, a real server behind the built-in fault proxy. OPSDASH_DRILL_KILLS=all kills at every state
of a run, once the engine alone and once the guard together with it (default: the engine, where something is broken).
"""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from opsdash.service.places import places
from tests.engine.drills import PATIENCE, shop
from tests.engine.support import eventually, eventually_asked
from tests.lifecycle.support import engine, journal

if TYPE_CHECKING:
    from pathlib import Path

    from opsdash.service.client import EngineSession
    from tests.lifecycle.support import EngineProcess

ALL = os.environ.get("OPSDASH_DRILL_KILLS") == "all"
BROKEN = ("injecting", "running", "undoing")
STATES = ("arming", *BROKEN, "restoring", "ended") if ALL else BROKEN
WHOM = ("engine", "both") if ALL else ("engine",)


def has_come_to(folder: Path, state: str) -> bool:
    """Whether the journal on disk says that the run has come to a state."""
    wanted = {"arming": "drill_started", "ended": "drill_ended"}.get(state, "drill_advanced")
    return any(
        entry.type == wanted and (wanted != "drill_advanced" or entry.data["state"] == state)
        for entry in journal(folder)
    )


def kill_the_guard(folder: Path) -> None:
    """`kill -9` for the guard of the run, if it has been armed."""
    log = places(folder).state / "drills" / "DRILL-1" / "guard.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    for line in lines:
        entry = json.loads(line)
        if entry["event"] == "armed":
            os.kill(entry["pid"], signal.SIGKILL)


async def works(one: EngineProcess) -> bool:
    return await one.status("shop") == "ok"


async def begin(session: EngineSession) -> None:
    verdict = await session.submit("start_drill", {"drill": "refuses"})
    assert verdict["accepted"], verdict["refused"]


async def is_over(session: EngineSession) -> bool:
    found = await session.drills()
    return not found["running"] and not found["faults"]


@pytest.mark.parametrize("whom", WHOM)
@pytest.mark.parametrize("state", STATES)
async def test_an_engine_that_is_killed_during_a_drill_leaves_nothing_broken(
    tmp_path: Path, state: str, whom: str
) -> None:
    folder = tmp_path / "w"
    lasts = "1h" if state in ("injecting", "running") else "0s"
    async with shop(folder, hold=lasts, limit="2h") as made:
        async with engine(folder, wait=False) as one:
            await one.until_it_answers(PATIENCE)
            await eventually_asked(lambda: works(one), within=PATIENCE, hint=lambda: one.said)
            await begin(one.session)
            await eventually(lambda: has_come_to(folder, state), within=PATIENCE, hint=lambda: one.said)
            await one.kill()
            if whom == "both":
                kill_the_guard(folder)
        if whom == "engine":
            await made.until_passing()
        async with engine(folder, wait=False) as two:
            await two.until_it_answers(PATIENCE)
            await eventually_asked(lambda: is_over(two.session), within=PATIENCE, hint=lambda: two.said)
            found = await two.session.drill("DRILL-1")
            assert found is not None
            assert found["run"] is not None
            if state != "ended":
                assert found["run"]["verdict"] in ("aborted", "passed", "failed")
        assert await made.mode() == "pass"


async def test_a_target_that_really_fails_interrupts_the_drill(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    async with shop(folder, hold="1h", limit="2h") as made:
        (folder / "drills" / "pretends.yaml").write_text(
            "title: As if\nowner: maria\ncomponent: shop\nfailure_mode: broken\n"
            "level: synthetic\nexpect: {detect: 5m}\n"
            "inject: {pretend: {status: down, target: front}}\nverify_undone: [front]\nlimit: 2h\nhold: 1h\n"
        )
        async with engine(folder, wait=False) as one:
            await one.until_it_answers(PATIENCE)
            await eventually_asked(lambda: works(one), within=PATIENCE, hint=lambda: one.said)
            verdict = await one.session.submit("start_drill", {"drill": "pretends"})
            assert verdict["accepted"], verdict["refused"]

            async def noticed() -> bool:
                return await one.status("shop") == "down"

            await eventually_asked(noticed, within=PATIENCE, hint=lambda: one.said)
            await made.tell("refuse")

            async def over() -> bool:
                return not (await one.session.drills())["running"]

            await eventually_asked(over, within=PATIENCE, hint=lambda: one.said)
            found = await one.session.drill("DRILL-1")
            assert found is not None
            assert found["run"] is not None
            assert found["run"]["verdict"] == "interrupted", found["run"]["why"]
