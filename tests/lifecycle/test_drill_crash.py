"""The short form of the crash matrix of drills; the long one is `make crash-matrix`. And a target that really fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.drills import PATIENCE, shop
from tests.engine.support import eventually_asked
from tests.lifecycle.drill_matrix import Cell, tried
from tests.lifecycle.support import engine

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lifecycle.support import EngineProcess

CELLS = [
    Cell("pretend", "engine", "running"),
    Cell("fault_proxy", "client", "running"),
    Cell("haproxy", "engine", "running"),
    Cell("toxiproxy", "guard", "running"),
    Cell("command", "engine", "making"),
    Cell("http", "both", "running"),
    Cell("systemd", "both", "guard: injecting"),
    Cell("chaostoolkit", "engine", "injecting"),
]
"""Each kind once, each of those who can be killed, where something is broken or about to be."""


@pytest.mark.parametrize("cell", CELLS, ids=str)
async def test_whoever_is_killed_during_a_drill_nothing_stays_broken_and_nothing_is_called_passed(
    tmp_path: Path, cell: Cell
) -> None:
    end = await tried(tmp_path / "w", cell)
    assert end.wrong == ""
    assert end.killed.split() == {"both": ["guard", "engine"]}.get(cell.whom, [cell.whom])


async def works(one: EngineProcess) -> bool:
    return await one.status("shop") == "ok"


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
