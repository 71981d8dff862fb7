"""The disk gets full while a drill has broken something: a real engine takes it back at once, and records it later."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from tests.engine.drills import PATIENCE, shop
from tests.engine.support import eventually, eventually_asked
from tests.lifecycle.support import begin, engine, of, works

if TYPE_CHECKING:
    from pathlib import Path


async def test_what_is_broken_is_undone_when_the_disk_gets_full_and_the_verdict_follows_when_there_is_room(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "w"
    async with shop(folder, hold="1h", limit="2h") as made, engine(folder, wait=False) as one:
        await one.until_it_answers(PATIENCE)
        await eventually_asked(lambda: works(one), within=PATIENCE, hint=lambda: one.said)
        await begin(one.session, "refuses")
        await eventually(lambda: is_running(folder), within=PATIENCE, hint=lambda: one.said)
        assert await made.mode() == "refuse"
        segment = next((one.where.state / "journal").glob("*.jsonl"))
        limit_files(one.process.pid, segment.stat().st_size)

        refused = (await one.session.submit("halt_drills", {"reason": "nothing can be recorded"}))["refused"]
        assert refused is not None
        assert refused["rule"] == "journal"
        await made.until_passing()
        assert of(folder, "drill_ended") == []

        limit_files(one.process.pid, resource.RLIM_INFINITY)
        await eventually(lambda: of(folder, "drill_ended"), within=PATIENCE, hint=lambda: one.said)
        [ended] = of(folder, "drill_ended")
        assert ended["run"]["verdict"] == "aborted"
        assert ended["run"]["undone"] is True
        assert (await one.session.drills())["faults"] == []


def limit_files(pid: int, size: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def is_running(folder: Path) -> bool:
    return any(each["state"] == "running" for each in of(folder, "drill_advanced"))
