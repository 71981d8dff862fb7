"""A machine that was suspended: nothing was known meanwhile, and nothing is drawn as if it had been."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.support import (
    ShiftedClock,
    eventually,
    eventually_asked,
    loaded_from,
    running,
    serving,
    status,
    web,
    write_workspace,
)

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3600.0


@pytest.mark.parametrize("suspended", [True, False], ids=["suspended", "clock set forward"])
async def test_an_hour_that_passed_at_once_is_a_gap_in_chart_and_history(
    tmp_path: Path, suspended: bool, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ShiftedClock()
    async with serving() as target:
        folder = write_workspace(tmp_path / "w", web=web(target.url, every="200ms"))
        loaded = loaded_from(folder)
        async with running(folder, clock=clock, loaded=loaded) as engine:

            def drawn() -> int:
                return len(engine.viewer().check("web/home")["spark"])

            await eventually(lambda: drawn() >= 25, within=40)
            before = target.hits["GET /"]
            clock.wall = HOUR
            clock.boot = HOUR if suspended else 0.0
            await eventually(lambda: "the clock moved" in caplog.text)
            await eventually(lambda: status(engine, "web") == "ok" and drawn() > 0)
            assert drawn() <= target.hits["GET /"] - before + 1

            async def gaps() -> list[dict[str, float]]:
                found = await engine.remembered.history("web", list(loaded.operation.checks.values()), 24.0)
                return list(found["gaps"])

            (gap,) = await eventually_asked(gaps)
            assert HOUR - 10 < gap["until"] - gap["since"] < HOUR + 60
