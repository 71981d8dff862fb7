"""Drills in a real engine with real guards: what is broken is undone, whatever ends it, and is recorded."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from opsdash.engine import guards
from opsdash.engine.drilldates import DrillCalendar
from opsdash.engine.lever import halt
from opsdash.model import inputs as i
from opsdash.model.drill import Verdict
from opsdash.model.window import WindowKind, WindowSpec
from opsdash.storage.memory import MemoryJournal
from tests.engine.drills import PATIENCE, begin, run_of, shop, until_state
from tests.engine.support import ShiftedClock, eventually, running

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3600.0


async def test_a_drill_breaks_detects_undoes_and_leaves_evidence(tmp_path: Path) -> None:
    async with shop(tmp_path) as made, running(tmp_path) as engine:
        run = await begin(engine)
        assert engine.in_flight == [run]
        found = await until_state(engine, "ended")
        assert (found.verdict, found.undone, found.undo_by) == (Verdict.PASSED, True, "guard"), found.why
        assert await made.mode() == "pass"
        view = engine.drilling.viewer().drill("refuses")
        assert view is not None
        assert view["line"]["standing"] == "fresh"
        assert view["fault"] is None
        assert [each["holds"] for each in view["run"]["expectations"]] == ["true"] if view["run"] else False
        assert await asyncio.to_thread(guards.leftovers, tmp_path / ".opsdash") == ()


async def test_an_engine_that_ends_undoes_first(tmp_path: Path) -> None:
    async with shop(tmp_path, hold="1h", limit="2h") as made, running(tmp_path, stop=False) as engine:
        await begin(engine)
        await until_state(engine, "running")
        assert await made.mode() == "refuse"
        await engine.stop("the test is over")
        found = run_of(engine)
        assert await made.mode() == "pass"
        assert (found.undone, found.stopped) == (True, "stopped by opsdash: the engine is ending")


async def test_a_lever_that_is_moved_without_the_engine_undoes_and_is_recorded(tmp_path: Path) -> None:
    async with shop(tmp_path, hold="1h", limit="2h") as made, running(tmp_path) as engine:
        await begin(engine)
        await until_state(engine, "running")
        await asyncio.to_thread(halt, tmp_path / ".opsdash", "ken", "customers call")
        found = await until_state(engine, "ended")
        assert found.verdict is Verdict.ABORTED
        assert await made.mode() == "pass"
        lever = await eventually(lambda: engine.drilling.viewer().lever(), within=PATIENCE)
        assert lever is not None
        assert (lever["who"], lever["reason"]) == ("ken", "customers call")
        refused = (await engine.submit("again", "maria", i.StartDrillIntent("refuses", latest=found.id)))["refused"]
        assert refused is not None
        assert refused["rule"] == "lever"
        await engine.submit("allow", "ken", i.AllowDrillsIntent("it was something else"))
        await eventually(lambda: not (tmp_path / ".opsdash" / "drills" / "halt").exists(), within=PATIENCE)


async def test_what_is_broken_is_undone_when_nothing_can_be_recorded_any_more(tmp_path: Path) -> None:
    journal = MemoryJournal()
    async with shop(tmp_path, hold="1h", limit="2h") as made, running(tmp_path, journal=journal) as engine:
        await begin(engine)
        await until_state(engine, "running")
        journal.full = True
        engine.runner.put(i.Wanted("note", "ken", i.HaltDrillsIntent("this cannot be recorded")))
        await made.until_passing()
        assert run_of(engine).is_open
        journal.full = False
        found = await until_state(engine, "ended")
        assert (found.verdict, found.undone) == (Verdict.ABORTED, True)


async def test_nothing_is_broken_when_its_beginning_cannot_be_recorded(tmp_path: Path) -> None:
    journal = MemoryJournal()
    async with shop(tmp_path) as made, running(tmp_path, journal=journal) as engine:
        await eventually(lambda: engine.viewer().row("shop"), within=PATIENCE)
        journal.full = True
        verdict = await engine.submit("k", "maria", i.StartDrillIntent("refuses"))
        assert not verdict["accepted"]
        assert not (tmp_path / ".opsdash" / "drills").exists()
        assert await made.mode() == "pass"
        journal.full = False


async def test_of_two_operators_who_begin_a_drill_one_does(tmp_path: Path) -> None:
    async with shop(tmp_path, hold="1h", limit="2h") as made, running(tmp_path) as engine:
        await begin(engine)
        second = await engine.submit("other", "ken", i.StartDrillIntent("refuses"))
        assert second["refused"] is not None
        assert second["refused"]["rule"] in ("changed", "running")
        await until_state(engine, "running")
        await engine.submit("stop", "ken", i.StopDrillIntent("DRILL-1", "enough"))
        assert (await until_state(engine, "ended")).verdict is Verdict.ABORTED
        assert await made.mode() == "pass"


async def test_a_guard_that_dies_is_replaced_by_the_engine(tmp_path: Path) -> None:
    async with shop(tmp_path, hold="1h", limit="2h") as made, running(tmp_path) as engine:
        run = await begin(engine)
        await until_state(engine, "running")
        os.kill(engine.drilling.guard(run).pid, signal.SIGKILL)
        found = await until_state(engine, "ended")
        assert (found.verdict, found.undone, found.undo_by) == (Verdict.ABORTED, True, "engine")
        assert await made.mode() == "pass"


async def test_a_clock_that_jumps_over_the_window_is_noticed(tmp_path: Path) -> None:
    clock = ShiftedClock()
    now = datetime.fromtimestamp(clock().wall, UTC)
    begins = f"{now.minute} {now.hour} * * *"
    windows = f'windows: {{now: {{kind: maintenance, cron: "{begins}", for: 1h, components: []}}}}\n'
    more = "schedule: {every: 90d, windows: [now]}\n"
    async with shop(tmp_path, settings=windows, more=more), running(tmp_path, clock=clock) as engine:

        def window() -> str:
            plan = engine.drilling.viewer().plan("refuses", "maria")
            return next((each["result"] for each in plan["guards"] if each["rule"] == "window"), "")

        await eventually(lambda: window() == "pass", within=PATIENCE)
        clock.wall += 3 * HOUR
        clock.boot += 0.0
        await eventually(lambda: window() == "fail", within=PATIENCE)


def test_the_calendar_knows_windows_by_their_names_and_times_of_the_week() -> None:
    once = WindowSpec("once", WindowKind.MAINTENANCE, "Once", start=1_000_000.0, until=1_003_600.0)
    calendar = DrillCalendar({"once": once}, "UTC")
    assert calendar.opens(("once",), 999_000.0) == (1_000_000.0, 1_003_600.0)
    assert calendar.opens(("once",), 1_000_100.0) == (1_000_000.0, 1_003_600.0)
    assert calendar.opens(("once",), 1_003_600.0) is None
    thursday = datetime(2026, 11, 26, 9, 0, tzinfo=UTC).timestamp()
    ten = datetime(2026, 11, 26, 10, 0, tzinfo=UTC).timestamp()
    assert calendar.opens(("tue-thu 10:00-15:00", "once"), thursday) == (ten, ten + 5 * HOUR)
    assert calendar.opens(("tue-thu 10:00-15:00",), ten + HOUR) == (ten, ten + 5 * HOUR)
    assert calendar.opens(("nobody",), thursday) is None
    assert calendar.next_cron("0 25 * * *", "UTC", thursday) is None
