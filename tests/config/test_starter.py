"""`opsdash init` writes a workspace that is sound, runs at once, and never overwrites anything."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from opsdash.config.loader import load
from opsdash.config.starter import STARTER, write_starter
from opsdash.kinds.base import ActionContext, Applied, CheckContext
from opsdash.kinds.registry import action_kind
from opsdash.kinds.resolver import Resolver
from opsdash.model.status import Status
from opsdash.model.templates import fill_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opsdash.config.loader import Loaded

WALL = 1_795_000_000.0


@pytest.fixture(params=[0o022, 0o000, 0o077], ids=["umask 022", "umask 000", "umask 077"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    before = os.umask(request.param)
    yield tmp_path / "new" / "workspace"
    os.umask(before)


def loaded(folder: Path) -> Loaded:
    return load(folder, os.environ, WALL)


def test_it_is_sound_whatever_the_umask_is(folder: Path) -> None:
    written = write_starter(folder)
    assert [path.relative_to(folder).as_posix() for path in written] == list(STARTER)
    assert [str(problem) for problem in loaded(folder).problems] == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "opsdash.yaml").write_text("title: mine\n")
    written = write_starter(tmp_path)
    assert tmp_path / "opsdash.yaml" not in written
    assert (tmp_path / "opsdash.yaml").read_text() == "title: mine\n"
    assert write_starter(tmp_path) == []


async def test_every_check_passes_at_once_and_notices_what_is_broken(tmp_path: Path) -> None:
    write_starter(tmp_path)
    found = loaded(tmp_path)

    async def statuses() -> dict[str, Status]:
        result = {}
        for name, binding in found.bindings.items():
            context = CheckContext(
                check=name, deadline=5, wall=WALL, workspace=tmp_path, resolver=Resolver(), wants_json=False
            )
            sample = await asyncio.wait_for(binding.kind.run(binding.options, context), 10)
            result[name] = binding.judge(sample, WALL).status
        return result

    assert set((await statuses()).values()) == {Status.OK}
    (tmp_path / "example" / "first.txt").unlink()
    assert {name for name, status in (await statuses()).items() if status is Status.DOWN} == {"greeting/first/text"}


async def test_its_switch_moves_the_pointer(tmp_path: Path) -> None:
    write_starter(tmp_path)
    switch = loaded(tmp_path).operation.components["greeting"].switch
    assert switch is not None
    kind = action_kind(switch.action.kind)
    options = kind.options.model_validate(fill_all(switch.action.raw, {"to.as": "second"}))
    context = ActionContext("greeting:failover:1", 5, tmp_path, Resolver(), WALL, expected="first")
    assert (await kind.apply(options, context)).applied is Applied.APPLIED
    assert (tmp_path / "example" / "in-use.txt").read_text() == "second\n"
