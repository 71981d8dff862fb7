"""An engine keeps emergency sheets fresh, and nothing that is wrong with their folder disturbs it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.core.sheet import INDEX, MARK
from opsdash.engine import sheets
from opsdash.engine.calendar import Calendar
from opsdash.engine.clock import system_clock
from opsdash.engine.engine import Engine
from opsdash.engine.sheets import PATIENCE
from opsdash.engine.stores import Stores
from opsdash.storage.documents import Documents
from opsdash.storage.history import History
from tests.engine.support import (
    GatedJournal,
    ShiftedClock,
    eventually,
    loaded_from,
    serving,
    status,
    turn_loop,
    web,
    write_workspace,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path


class FakeCalendar(Calendar):
    """Days that pass when a test says so."""

    def __init__(self) -> None:
        self.daily: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}

    def every_day(self, name: str, job: Callable[[], Coroutine[Any, Any, None]], *, hour: int, minute: int) -> None:
        assert (0 <= hour < 24, 0 <= minute < 60) == (True, True)
        self.daily[name] = job

    def every_minute(self, name: str, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Minutes pass elsewhere."""

    def start(self) -> None:
        """Nothing passes by itself."""

    def close(self) -> None:
        """Nothing has to end."""


class Keeper:
    """An engine that writes sheets, its clock and its calendar."""

    def __init__(self, workspace: Path, folder: Path) -> None:
        self.workspace, self.folder = workspace, folder
        self.clock = ShiftedClock()
        self.calendar = FakeCalendar()
        state = workspace / ".opsdash"
        stores = Stores(GatedJournal(), Documents(state / "documents"), History(state / "history.sqlite"))
        self.engine = Engine(
            workspace=workspace,
            loaded=loaded_from(workspace),
            stores=stores,
            clock=self.clock,
            sheets=folder,
            calendar=self.calendar,
        )

    async def written(self) -> str:
        """The sheet of `shop`, once nothing is being written."""
        await self.engine.sheets.written()
        return (self.folder / "shop.md").read_text()

    async def next_day(self) -> None:
        """The hour of the sheets has come again."""
        self.clock.wall += 86_400.0
        await self.calendar.daily["sheets"]()

    def problems(self) -> list[str]:
        """What is told of sheets."""
        return [problem.message for problem in self.engine.loaded.problems if problem.path[:1] == ("sheets",)]


@pytest.fixture
async def keeper(tmp_path: Path) -> AsyncIterator[Keeper]:
    """An engine at work, whose sheets have a folder of their own."""
    async with serving() as target:
        folder = write_workspace(tmp_path / "shop", shop=f"title: The shop\n{web(target.url)}")
        keeper = Keeper(folder, tmp_path / "sheets")
        await keeper.engine.start()
        try:
            yield keeper
        finally:
            await keeper.engine.stop("the test is over")


async def test_sheets_are_written_when_an_engine_starts(keeper: Keeper) -> None:
    assert (await keeper.written()).startswith(f"{MARK}\n# The shop\n")
    assert sorted(file.name for file in keeper.folder.iterdir()) == [INDEX, "shop.md"]


async def test_they_are_written_anew_every_day(keeper: Keeper) -> None:
    first = await keeper.written()
    await keeper.next_day()
    second = await keeper.written()
    changed = [one for one, other in zip(first.splitlines(), second.splitlines(), strict=True) if one != other]
    assert changed
    assert all("known on" in line or "served on" in line for line in changed)


async def test_a_change_of_the_files_is_in_them_and_what_is_gone_goes(keeper: Keeper) -> None:
    await keeper.written()
    (keeper.folder / "notes.md").write_text("# Mine\n")
    (keeper.workspace / "checks/shop.yaml").rename(keeper.workspace / "checks/store.yaml")
    keeper.engine.reload(loaded_from(keeper.workspace))
    await keeper.engine.sheets.written()
    assert sorted(file.name for file in keeper.folder.iterdir()) == [INDEX, "notes.md", "store.md"]


async def test_the_folder_that_is_named_wins_also_after_a_reload(keeper: Keeper, tmp_path: Path) -> None:
    await keeper.written()
    (keeper.workspace / "opsdash.yaml").write_text(f"title: Test\nsheets: {{folder: '{tmp_path / 'share'}'}}\n")
    keeper.engine.reload(loaded_from(keeper.workspace))
    await keeper.engine.sheets.written()
    assert (tmp_path / "share" / "shop.md").exists()


async def test_a_folder_that_cannot_be_written_is_shown_until_it_can(keeper: Keeper) -> None:
    await keeper.written()
    for file in keeper.folder.iterdir():
        file.unlink()
    keeper.folder.rmdir()
    keeper.folder.write_text("a file, where the folder was")
    await keeper.next_day()
    await keeper.engine.sheets.written()
    (told,) = keeper.problems()
    assert f"{keeper.folder / INDEX} cannot be written" in told
    assert keeper.engine.hub.snapshot()["summary"]["problems"] == 1
    await eventually(lambda: status(keeper.engine, "shop") == "ok")

    keeper.folder.unlink()
    await keeper.next_day()
    await keeper.written()
    assert keeper.problems() == []


async def test_a_share_that_hangs_holds_up_nobody_and_is_told(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    await keeper.written()
    hangs, entered = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        entered.set()
        hangs.wait(60)

    monkeypatch.setattr(sheets, "write_sheets", hang)
    try:
        await keeper.next_day()
        await eventually(entered.is_set)
        seen = await keeper.engine.observe("shop/home")
        assert seen.status == "ok"
        assert keeper.problems() == []
        keeper.clock.wall += PATIENCE
        await keeper.next_day()
        assert "their folder does not answer" in keeper.problems()[0]
        keeper.engine.reload(loaded_from(keeper.workspace))
        await turn_loop()
        async with asyncio.timeout(10):
            await keeper.engine.stop("a share hangs")
    finally:
        hangs.set()


async def test_what_cannot_be_rendered_is_told_and_the_engine_goes_on(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await keeper.written()

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(sheets, "rendered", fail)
    await keeper.next_day()
    await keeper.engine.sheets.written()
    assert "could not be made: RuntimeError" in keeper.problems()[0]
    assert "this is a bug" in caplog.text
    assert (await keeper.engine.observe("shop/home")).status == "ok"


async def test_without_a_folder_nothing_is_written(tmp_path: Path) -> None:
    async with serving() as target:
        folder = write_workspace(tmp_path / "shop", shop=web(target.url))
        state = folder / ".opsdash"
        stores = Stores(GatedJournal(), Documents(state / "documents"), History(state / "history.sqlite"))
        engine = Engine(workspace=folder, loaded=loaded_from(folder), stores=stores, clock=system_clock)
        await engine.start()
        await engine.sheets.written()
        await engine.stop("the test is over")
    assert not list(tmp_path.rglob("*.md"))
