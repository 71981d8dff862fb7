"""The short form of the crash matrix of drills; the long one is `make crash-matrix`. And a target that really fails."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from opsdash.kinds.identity import identity_of
from opsdash.service.places import places
from tests.engine.drills import PATIENCE, shop
from tests.engine.support import eventually, eventually_asked
from tests.lifecycle.drill_faults import FAULTS
from tests.lifecycle.drill_matrix import ROOT, Cell, trap, tried
from tests.lifecycle.support import begin, engine, is_over, works

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)  # two engines and a guard each, on a machine that has other things to do

CELLS = [
    Cell("pretend", "engine", "running"),
    Cell("fault_proxy", "client", "running"),
    Cell("haproxy", "engine", "running"),
    Cell("toxiproxy", "guard", "running"),
    Cell("command", "engine", "making"),
    Cell("http", "both", "running"),
    Cell("systemd", "both", "guard: injecting"),
    Cell("chaostoolkit", "engine", "taken back"),
]
"""Each kind once, each of those who can be killed, where something is broken or about to be; and where it was recorded
that a fault is gone, and the guard's log does not know of that.
"""


@pytest.mark.parametrize("cell", CELLS, ids=str)
async def test_whoever_is_killed_during_a_drill_nothing_stays_broken_and_nothing_is_called_passed(
    tmp_path: Path, cell: Cell
) -> None:
    end = await tried(tmp_path / "w", cell)
    assert end.wrong == ""
    assert end.killed.split() == {"both": ["guard", "engine"]}.get(cell.whom, [cell.whom])


async def test_a_fault_that_cannot_be_taken_back_is_shown_in_red_by_the_next_engine_until_it_is(tmp_path: Path) -> None:
    folder, told = tmp_path / "w", tmp_path / "killed"
    async with FAULTS["command"](folder) as fault:
        fault.write(folder)
        deaf = folder / "thing" / "deaf"
        deaf.touch()
        async with engine(folder, wait=False, program=trap(Cell("command", "both", "running"), told), cwd=ROOT) as one:
            await one.until_it_answers(PATIENCE)
            await eventually_asked(lambda: works(one), within=PATIENCE, hint=lambda: one.said)
            await begin(one.session, "breaks")
            await one.ended(PATIENCE)
        async with engine(folder, wait=False) as two:
            await two.until_it_answers(PATIENCE)
            [left] = (await two.session.drills())["faults"]
            assert await fault.is_broken()
            assert (left["run"], left["component"], left["by_hand"]) == ("DRILL-1", "shop", ["thing/fault mend"])
            deaf.unlink()
            await eventually_asked(lambda: is_over(two.session), within=PATIENCE, hint=lambda: two.said)
            assert not await fault.is_broken()


async def test_an_experiment_that_was_lost_with_the_machine_stays_red_until_its_fault_is_gone(tmp_path: Path) -> None:
    folder, told = tmp_path / "w", tmp_path / "killed"
    async with FAULTS["chaostoolkit"](folder) as fault:
        fault.write(folder)
        cell = Cell("chaostoolkit", "both", "running")
        async with engine(folder, wait=False, program=trap(cell, told), cwd=ROOT) as one:
            await one.until_it_answers(PATIENCE)
            await eventually_asked(lambda: works(one), within=PATIENCE, hint=lambda: one.said)
            await begin(one.session, "breaks")
            await one.ended(PATIENCE)
        [record] = (places(folder).state / "drills" / "DRILL-1").glob("chaos-*.run")
        experiment = json.loads(record.read_bytes())["pid"]
        os.kill(experiment, signal.SIGKILL)
        await eventually(lambda: not identity_of(experiment), within=PATIENCE)
        async with engine(folder, wait=False) as two:
            await two.until_it_answers(PATIENCE)
            await eventually_asked(lambda: was_tried(folder), within=PATIENCE, hint=lambda: two.said)
            [left] = (await two.session.drills())["faults"]
            assert await fault.is_broken()
            assert (left["run"], left["component"]) == ("DRILL-1", "shop")
            (folder / "broken").unlink()
            await eventually_asked(lambda: is_over(two.session), within=PATIENCE, hint=lambda: two.said)


async def was_tried(folder: Path) -> bool:
    """Whether an undo has come to its end, as the guard's log says."""
    log = places(folder).state / "drills" / "DRILL-1" / "guard.jsonl"
    return '"undone"' in await asyncio.to_thread(log.read_text)


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
            await begin(one.session, "pretends")

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
