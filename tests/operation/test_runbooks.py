"""The example's runbooks do what they say: each block is executed, in an operation in which nothing is wrong."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

import pytest

from opsdash.config.loader import load
from opsdash.demo.example import copy_example
from opsdash.model.run import BlockState
from opsdash.model.runbook import Language, Role

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from opsdash.config.loader import Loaded
    from opsdash.model.runbook import Block, Runbook, Step
    from tests.operation.desk import Desk, Follower

pytestmark = pytest.mark.asyncio(loop_scope="package")

BESIDES = {"market-data": "reporting"}
"""A runbook of the one acts on the other as well, so theirs are not followed at the same time."""


def as_it_stands(folder: Path) -> Loaded:
    """The example as it lies in the repository, on the day of its last review, without any service."""
    copy_example(folder)
    reviewed = max(runbook.reviewed for runbook in load(folder, {}, 0.0).runbooks.values() if runbook.reviewed)
    return load(folder, {}, datetime.combine(reviewed, time(), UTC).timestamp())


async def test_the_example_as_it_stands_has_neither_problem_nor_finding(tmp_path: Path) -> None:
    loaded = as_it_stands(tmp_path / "operation")

    assert loaded.problems == ()
    assert loaded.findings == {}
    assert all(runbook.executable for runbook in loaded.runbooks.values())


async def test_each_runbook_is_somebodys_answer(desk: Desk) -> None:
    register = desk.engine.viewer().register()

    assert {failure["runbook"] for failure in register} == set(desk.engine.loaded.runbooks)


async def test_no_block_of_the_example_starts_a_program(desk: Desk) -> None:
    for runbook in desk.engine.loaded.runbooks.values():
        assert {block.language for _, _, block in blocks_of(runbook)} <= {Language.OPSDASH}, runbook.id


async def test_each_block_can_be_executed(desk: Desk) -> None:
    lanes: dict[str, list[Runbook]] = {}
    for runbook in desk.engine.loaded.runbooks.values():
        assert runbook.component is not None
        lanes.setdefault(BESIDES.get(runbook.component, runbook.component), []).append(runbook)

    executed = await asyncio.gather(*(follow(desk, runbooks) for runbooks in lanes.values()))

    assert sum(executed) == sum(len(list(blocks_of(runbook))) for runbook in desk.engine.loaded.runbooks.values())


def blocks_of(runbook: Runbook) -> Iterable[tuple[Step, int, Block]]:
    return ((step, number, block) for step in runbook.steps for number, block in enumerate(step.blocks))


async def follow(desk: Desk, runbooks: Iterable[Runbook]) -> int:
    """Execute every block of these runbooks, one after the other. How many there were."""
    executed = 0
    for runbook in runbooks:
        assert runbook.component is not None
        following = await desk.open_runbook(runbook.id, runbook.component)
        for step, number, block in blocks_of(runbook):
            await passes(following, step, number)
            executed += 1
            if block.role is Role.UNDO:
                await passes(following, step, number - 1)  # what was undone, once more: later steps go on from there
        await following.close()
        for component in (runbook.component, BESIDES.get(runbook.component, runbook.component)):
            await desk.lead_back(component)
    return executed


async def passes(following: Follower, step: Step, number: int) -> None:
    result = await following.execute(step.id, number, within=30.0)
    assert result.state is BlockState.PASSED, f"{following.runbook.id}, {step.id}: {result.detail}: {result.output}"
