"""What a drill expects, in a real engine with a real guard: a load, others that stay as they were, people, dates.

What is broken is a file that a program makes and removes.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from opsdash.engine import drilldates
from opsdash.model import inputs as i
from opsdash.model.drill import Verdict
from tests.engine.drills import PATIENCE, RUNBOOK, run_of, until_state
from tests.engine.faults import Thing
from tests.engine.support import ShiftedClock, eventually, running, serving, status, write_workspace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    import pytest

    from opsdash.engine.engine import Engine

DAY = 86400.0
SETTINGS = """
timezone: UTC
people: {maria: {alarms: [log]}, ken: {}}
alarms: {channels: {log: {kind: file, path: messages.txt}}}
"""
SHOP = """
tier: essential
owners: [maria, ken]
defaults: {every: 200ms, timeout: 5s, down_after: 2, up_after: 1}
checks: {front: {kind: file, path: thing/broken, exists: false}}
failures: {broken: {title: The shop is broken, detected_by: [front], response: runbook, runbook: shop-down}}
runbook: shop-down
"""
TILL = """
tier: droppable
defaults: {every: 200ms, timeout: 5s, down_after: 1}
checks: {drawer: {kind: file, path: thing/DRAWER, exists: false}}
"""
DRILL = """
title: The shop is broken
owner: maria
component: shop
failure_mode: broken
level: contained
inject: {command: {argv: [thing/fault, break]}}
undo: {command: {argv: [thing/fault, mend], verify: [thing/fault, gone]}}
verify_undone: [front]
"""


@asynccontextmanager
async def shop(
    folder: Path, *keys: str, drawer: str = "drawer", clock: ShiftedClock | None = None
) -> AsyncIterator[tuple[Engine, Thing]]:
    """An engine that watches a thing, and what can be broken. keys: more lines of the drill `breaks`."""
    thing = Thing(folder)
    write_workspace(folder, settings=SETTINGS, shop=SHOP, till=TILL.replace("DRAWER", drawer))
    drill = DRILL + "\n".join(keys) + "\n"
    for place, name, text in (("runbooks", "shop-down.md", RUNBOOK), ("drills", "breaks.yaml", drill)):
        (folder / place).mkdir()
        (folder / place / name).write_text(text)
    async with running(folder, clock=clock or ShiftedClock()) as engine:
        assert engine.loaded.operation.drills["breaks"].off == ""
        await eventually(lambda: {status(engine, each) for each in ("shop", "till")} == {"ok"}, within=PATIENCE)
        yield engine, thing


async def begin(engine: Engine, who: str = "maria") -> str:
    """Begin the drill; the rule that refused it, "" for none."""
    refused = (await engine.submit("k", who, i.StartDrillIntent("breaks")))["refused"]
    return "" if refused is None else refused["rule"]


# --- a load ----------------------------------------------------------------------------------------------------------


async def test_a_load_by_a_command_is_carried_as_often_as_its_file_says_and_counted(tmp_path: Path) -> None:
    load = 'load: {command: {argv: [sh, -c, "echo carried >>carried"]}, times: 5, over: 1s}'
    async with shop(tmp_path, f"expect: {{detect: 2m, {load}}}", "limit: 2m") as (engine, _):
        assert await begin(engine) == ""
        found = await until_state(engine, "ended")
        assert (found.verdict, found.load) == (Verdict.PASSED, (5, 0)), found.why
        assert (tmp_path / "carried").read_text() == "carried\n" * 5


async def test_of_a_load_over_http_each_request_arrives_once_and_a_refused_one_fails_the_drill(tmp_path: Path) -> None:
    async with serving() as target:
        load = f'load: {{http: {{method: POST, url: "{target.url}/orders"}}, times: 5, over: 1s, failures: 1}}'
        async with shop(tmp_path, f"expect: {{detect: 2m, {load}}}", "limit: 2m") as (engine, _):
            answers = iter([b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"] * 2)
            target.routes["/orders"] = lambda _: _next(answers)
            assert await begin(engine) == ""
            found = await until_state(engine, "ended")
        assert found.load == (5, 2)
        assert (found.verdict, found.why) == (Verdict.FAILED, ("the declared load was not carried",))
        assert target.hits["POST /orders"] == 5


async def _next(answers: Iterator[bytes]) -> bytes:
    default = b"HTTP/1.1 200 Fine\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    return next(answers, default)


async def test_a_load_that_hangs_is_ended_at_the_limit_and_nothing_of_it_is_left_behind(tmp_path: Path) -> None:
    load = 'load: {command: {argv: [sh, -c, "echo $$ >>pids; exec sleep 600"]}, times: 3, over: 1s}'
    async with shop(tmp_path, f"expect: {{detect: 3s, {load}}}", "limit: 4s") as (engine, thing):
        assert await begin(engine) == ""
        found = await until_state(engine, "ended")
        assert found.verdict is not Verdict.PASSED
        assert not thing.is_broken
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert 1 <= len(pids) <= 3
        await eventually(lambda: not any(_lives(pid) for pid in pids), within=PATIENCE, hint=lambda: pids)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# --- others ----------------------------------------------------------------------------------------------------------


async def test_a_component_that_was_to_stay_as_it_was_and_changes_fails_the_drill_by_its_name(tmp_path: Path) -> None:
    keys = ("expect: {detect: 2m, unaffected: [till]}", "limit: 2m", "hold: 1m")
    async with shop(tmp_path, *keys, drawer="broken") as (engine, thing):
        assert await begin(engine) == ""
        found = await until_state(engine, "ended")
        assert (found.verdict, found.why) == (Verdict.FAILED, ("till was to stay as it was, and changed",))
        assert (found.affected, thing.is_broken) == (("till",), False)


async def test_a_stop_condition_has_it_undone(tmp_path: Path) -> None:
    keys = ("expect: {detect: 2m}", "limit: 2h", "hold: 1h", "stop_if: [till is down]")
    async with shop(tmp_path, *keys, drawer="broken") as (engine, thing):
        assert await begin(engine) == ""
        found = await until_state(engine, "ended")
        assert (found.verdict, found.why) == (Verdict.ABORTED, ("stop condition: till is down",))
        assert not thing.is_broken


async def test_whoever_is_to_be_absent_cannot_begin_it_and_somebody_else_can(tmp_path: Path) -> None:
    async with shop(tmp_path, "absent: [ken]", "expect: {detect: 2m}", "limit: 2m") as (engine, _):
        assert await begin(engine, "ken") == "absent"
        assert await begin(engine) == ""
        found = await until_state(engine, "ended")
        assert found.drill.absent == ("ken",)


# --- dates -----------------------------------------------------------------------------------------------------------


def at(clock: ShiftedClock, days: float) -> tuple[str, float]:
    """A cron expression for a minute in so many days, and when that is."""
    due = (datetime.fromtimestamp(clock().wall, UTC) + timedelta(days=days)).replace(second=0, microsecond=0)
    return f'"{due.minute} {due.hour} {due.day} {due.month} *"', due.timestamp()


def goes_to(clock: ShiftedClock, wall: float) -> None:
    """Time passes, for whoever looks at the clock."""
    passed = wall - clock().wall
    clock.wall += passed
    clock.boot += passed


async def test_its_owner_is_reminded_and_told_when_it_is_overdue_over_a_real_channel(tmp_path: Path) -> None:
    clock, messages = ShiftedClock(), tmp_path / "messages.txt"
    cron, due = at(clock, 3)
    keys = (f"schedule: {{cron: {cron}, remind: [1d]}}", "expect: {detect: 2m}", "limit: 2m")

    def told(text: str) -> bool:
        return messages.exists() and text in messages.read_text()

    async with shop(tmp_path, *keys, clock=clock) as (engine, _):
        await eventually(lambda: engine.drilling.viewer().drills()["drills"][0]["due"] == due, within=PATIENCE)
        goes_to(clock, due - 0.9 * DAY)
        await eventually(
            lambda: told("drill breaks is due in 21h"), within=PATIENCE, hint=lambda: list(tmp_path.iterdir())
        )
        assert engine.drilling.viewer().summary()["overdue"] == 0
        goes_to(clock, due + 1.1 * DAY)
        await eventually(lambda: told("drill breaks is overdue: nobody has run it"), within=PATIENCE)
        line = engine.drilling.viewer().drills()["drills"][0]
        assert (line["overdue"], line["due"]) == (True, due)


async def test_a_surprise_begins_by_itself_within_its_time_and_claims_its_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drilldates, "EVERY", 0.5)  # after the jump all is unknown for a moment; then it is tried again
    clock = ShiftedClock()
    cron, due = at(clock, 2)
    keys = (f"schedule: {{cron: {cron}}}", "surprise: 30m", "expect: {detect: 2m}", "limit: 2m")
    async with shop(tmp_path, *keys, clock=clock) as (engine, _):
        await eventually(lambda: engine.drilling.viewer().drills()["drills"][0]["due"] == due, within=PATIENCE)
        assert engine.runner.world.get("drills", "DRILL-1") is None
        goes_to(clock, due + 1800.0)
        await eventually(lambda: engine.runner.world.get("drills", "DRILL-1"), within=PATIENCE)
        found = await until_state(engine, "ended")
        assert (found.verdict, found.cause, found.due) == (Verdict.PASSED, "schedule", due), found.why
        assert engine.runner.world.get("drills", "DRILL-2") is None
        assert run_of(engine).who == "opsdash"
