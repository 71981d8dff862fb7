"""What is shown of a time in which no engine was at work: that nothing was known, and never the last state."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import sys
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.engine.clock import system_clock
from tests.engine.support import eventually, eventually_asked, serving, web, write_workspace
from tests.lifecycle.support import engine, of

if TYPE_CHECKING:
    from pathlib import Path

    from opsdash.service.places import Places
    from tests.lifecycle.support import EngineProcess

HOUR = 3600.0


def let_an_hour_pass(where: Places) -> None:
    """Everything in history happened an hour earlier than it did."""
    with sqlite3.connect(where.history) as db:
        for table in ("sample", "check_change", "component_change"):
            db.execute(f"UPDATE {table} SET at_ms = at_ms - 3600000")  # noqa: S608 - names of ours


async def history(folder: Path, *more: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "opsdash", "history", "web", *more, "-w", str(folder)),
        stdout=asyncio.subprocess.PIPE,
    )
    return (await process.communicate())[0].decode()


async def until_recorded(running: EngineProcess, samples: int) -> None:
    async def recorded() -> bool:
        found = await running.session.history("web", 24.0)
        return bool(sum(found["checks"][0]["uptime"]["counts"].values()) >= samples)

    await eventually_asked(recorded)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_an_hour_without_an_engine_was_not_ok_however_the_engine_ended(tmp_path: Path, number: int) -> None:
    async with serving() as target:
        folder = write_workspace(tmp_path / "w", web=web(target.url))
        async with engine(folder) as running:
            await running.until_status("web", "ok")
            await until_recorded(running, 3)
            running.signal(number)
            await running.ended()
        assert bool(of(folder, "engine_stopped")) == (number == signal.SIGTERM)
        let_an_hour_pass(running.where)

        off = json.loads(await history(folder, "--json"))
        (gap,) = off["gaps"]
        assert gap["until"] == off["until"]
        assert HOUR < gap["until"] - gap["since"] < HOUR + 300
        assert "unknown" in await history(folder)

        async with engine(folder) as again:
            await again.until_status("web", "ok")
            await until_recorded(again, 4)
            found = json.loads(await history(folder, "--json"))
            (gap,) = found["gaps"]
            assert HOUR < gap["until"] - gap["since"] < HOUR + 300
            (check,) = found["checks"]
            assert check["gaps"] == [gap]
            assert check["uptime"]["missing"] >= HOUR - 10
            assert "not measured for 1h" in await history(folder)
            row = await _row(again)
            assert row["status"] == "ok"
            assert system_clock().wall - row["since"] < 300
            assert len(row["spark"]) < 60


async def _row(running: EngineProcess) -> dict[str, Any]:
    rows = (await running.session.snapshot())["rows"]
    return dict(next(row for row in rows if row["id"] == "web"))


async def test_the_chart_of_an_engine_that_was_stopped_begins_anew(tmp_path: Path) -> None:
    async with serving() as target:
        folder = write_workspace(tmp_path / "w", web=web(target.url, every="200ms"))
        async with engine(folder) as running:

            async def chart() -> list[float | None]:
                return list((await running.session.component("web"))["checks"][0]["spark"])

            async def long_enough() -> bool:
                return len(await chart()) >= 30

            await eventually_asked(long_enough, within=40)
            running.signal(signal.SIGSTOP)
            loop = asyncio.get_running_loop()
            until = loop.time() + 3.0
            await eventually(lambda: loop.time() > until)
            before = target.hits["GET /"]
            running.signal(signal.SIGCONT)
            await eventually(lambda: target.hits["GET /"] >= before + 3)
            drawn = await chart()
            assert len(drawn) <= target.hits["GET /"] - before + 1  # one may have been under way
