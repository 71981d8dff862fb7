"""Engines with a check that blocks, as real processes: killed, stopped, and asked what they know."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.blocker import LINE_THAT_BLOCKS, MODULE, component, gone, install
from tests.engine.support import eventually, eventually_asked, write_workspace
from tests.lifecycle.support import engine

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lifecycle.support import EngineProcess

MOVED_WITHIN = 60.0


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Where the kind is installed, for an engine."""
    path = os.pathsep.join(filter(None, (str(install(tmp_path / "site")), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path}


async def held(running: EngineProcess) -> dict[str, Any]:
    """What the engine says of the one check that held its loop."""
    found: list[dict[str, Any]] = (await running.session.about())["held_loop"]
    return found[0] if found else {}


async def until_moved(running: EngineProcess) -> int:
    async def moved() -> int | None:
        return (await held(running)).get("pid")

    pid = await eventually_asked(moved, within=MOVED_WITHIN, hint=lambda: running.said)
    assert pid is not None
    return pid


@pytest.mark.parametrize(
    ("instead", "timeout"),
    [("", "300s"), ("600", "300s"), ("keep the lock", "2s")],
    ids=["between two runs", "while it blocks", "while it keeps the interpreter's lock"],
)
async def test_an_engine_that_is_killed_leaves_no_process_of_a_check(
    tmp_path: Path, environment: dict[str, str], instead: str, timeout: str
) -> None:
    folder = write_workspace(tmp_path / "w", slow=component(seconds=0.6, timeout=timeout))
    begun = folder / "begun"
    async with engine(folder, environment=environment) as running:
        await until_moved(running)
        await eventually(lambda: begun.read_text() not in {"", str(running.process.pid)}, within=MOVED_WITHIN)
        if instead:
            (folder / "instead").write_text(instead)
            await eventually((folder / "heeded").exists, within=MOVED_WITHIN)
        await running.kill()
        await eventually(lambda: gone(int(begun.read_text())), within=20)


async def test_an_engine_that_was_stopped_and_goes_on_blames_nobody(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    folder = write_workspace(tmp_path / "w", slow=component(seconds=0.05, every="200ms"))
    async with engine(folder, environment=environment) as running:
        loop = asyncio.get_running_loop()
        await eventually((folder / "begun").exists)
        for _ in range(3):
            before = (await running.session.about())["runs"]
            begun = (folder / "begun").stat().st_mtime_ns
            await eventually(lambda begun=begun: (folder / "begun").stat().st_mtime_ns > begun)  # type: ignore[misc]
            running.signal(signal.SIGSTOP)
            until = loop.time() + 1.0
            await eventually(lambda until=until: loop.time() > until)  # type: ignore[misc]
            running.signal(signal.SIGCONT)

            async def goes_on(before: int = before) -> bool:
                runs: int = (await running.session.about())["runs"]
                return runs > before + 3

            await eventually_asked(goes_on)
        assert await held(running) == {}
        assert "held up" not in running.said
        assert "the engine did not run for" in running.said


async def test_people_can_see_which_checks_held_the_loop(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = write_workspace(tmp_path / "w")
    async with engine(folder, environment=environment) as running:
        assert "nothing holds it up" in await opsdash("doctor", folder)
        write_workspace(folder, slow=component(seconds=0.6))
        pid = await until_moved(running)
        place = f"{MODULE}.py:{LINE_THAT_BLOCKS} in sleep"
        assert "check slow/block held up the event loop for 0." in running.said
        assert f"{place}; from now on it runs in a process of its own" in running.said

        (listed,) = json.loads(await opsdash("engine", folder, "status", "--json"))["held_loop"]
        assert (listed["check"], listed["times"], listed["own_process"]) == ("slow/block", 2, True)
        assert listed["longest"] >= 0.25
        assert listed["place"].endswith(place)

        shown = await opsdash("engine", folder, "status")
        assert "slow/block  2 times" in shown
        assert f"runs in a process of its own (pid {pid})" in shown

        told = await opsdash("doctor", folder)
        assert "slow/block held up all other checks" in told
        assert place in told


async def opsdash(command: str, folder: Path, *more: str) -> str:
    """What a command prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "opsdash", command, *more, "-w", str(folder)),
        stdout=asyncio.subprocess.PIPE,
    )
    return (await process.communicate())[0].decode()
