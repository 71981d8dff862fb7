"""Programs by which a fault is made: written down before they begin, and ended before it is taken back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

from opsdash.kinds.identity import identity_of
from opsdash.kinds.making import Recorded, end_all
from opsdash.kinds.processes import run_program

if TYPE_CHECKING:
    from pathlib import Path

BREAKS = ("/bin/sh", "-c", "(trap '' TERM; echo >began; sleep 60) & echo $! >child; wait; echo broken >broken")
"""Has a child that does not hear SIGTERM."""

DIES_BEFORE_IT_IS_WRITTEN_DOWN = """
import asyncio, os, pathlib, signal, sys
from opsdash.kinds.processes import run_program
folder = pathlib.Path(sys.argv[1])
def record(pid):
    print(pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(run_program(["/usr/bin/touch", "began"], cwd=folder, record=record))
"""


async def until_there(path: Path) -> None:
    async with asyncio.timeout(30):
        while not path.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)


async def test_a_program_is_written_down_before_it_begins(tmp_path: Path) -> None:
    seen = []

    def record(pid: int) -> None:
        Recorded(tmp_path)(pid)
        seen.append((pid, (tmp_path / "began").exists()))

    done = await run_program(["/bin/sh", "-c", "echo $$ >began; cat"], cwd=tmp_path, record=record)
    assert (done.started, done.exit_code) == (True, 0)
    [(pid, began)] = seen
    assert not began
    assert (tmp_path / "began").read_text() == f"{pid}\n"
    assert json.loads((tmp_path / f"program-{pid}.run").read_bytes())["pid"] == pid


async def test_a_program_that_cannot_be_written_down_never_begins(tmp_path: Path) -> None:
    done = await run_program(["touch", "began"], cwd=tmp_path, record=Recorded(tmp_path / "nowhere"))
    assert not done.started
    assert "nowhere" in done.problem
    assert not (tmp_path / "began").exists()
    missing = await run_program(["no-such-program"], cwd=tmp_path, record=Recorded(tmp_path))
    assert (missing.started, missing.problem) == (False, "no-such-program is not on the path")


async def test_a_program_whose_engine_is_killed_before_it_is_written_down_never_begins(tmp_path: Path) -> None:
    engine = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DIES_BEFORE_IT_IS_WRITTEN_DOWN, tmp_path, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        said, _ = await engine.communicate()
        while await asyncio.to_thread(identity_of, int(said)):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
    assert not (tmp_path / "began").exists()


async def test_what_is_still_making_a_fault_is_ended_with_its_children(tmp_path: Path) -> None:
    making = asyncio.ensure_future(run_program(BREAKS, cwd=tmp_path, record=Recorded(tmp_path)))
    await until_there(tmp_path / "began")
    await until_there(tmp_path / "child")
    assert await end_all(tmp_path) == "what was still making the fault was ended"
    assert (await making).signal == signal.SIGTERM
    child = int((tmp_path / "child").read_text())
    async with asyncio.timeout(30):
        while await asyncio.to_thread(identity_of, child):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
    assert not (tmp_path / "broken").exists()
    assert await end_all(tmp_path) == ""


async def test_one_that_does_not_hear_is_ended_by_force(tmp_path: Path) -> None:
    deaf = ("/bin/sh", "-c", "trap '' TERM; echo began >began; while :; do sleep 0.05; done")
    making = asyncio.ensure_future(run_program(deaf, cwd=tmp_path, record=Recorded(tmp_path)))
    await until_there(tmp_path / "began")
    assert await end_all(tmp_path) == "what was still making the fault was ended"
    assert (await making).signal == signal.SIGKILL


async def test_a_stranger_of_that_number_is_let_be(tmp_path: Path) -> None:
    await asyncio.to_thread(Recorded(tmp_path), os.getpid())
    [record] = tmp_path.glob("program-*.run")
    told = json.loads(record.read_bytes())
    record.write_text(json.dumps({**told, "identity": "of another boot:1"}))
    (tmp_path / "program-1.run").write_text("torn")
    assert await end_all(tmp_path) == ""  # and this test goes on
