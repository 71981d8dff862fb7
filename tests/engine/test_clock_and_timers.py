"""Clocks part and timers fire; nothing is believed across a jump until it has been measured again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from opsdash.engine import engine as engine_module
from opsdash.engine.calendar import next_cron
from opsdash.engine.clock import JUMP, JumpDetector, system_clock
from opsdash.engine.timers import Timers
from opsdash.model.inputs import TimerFired
from opsdash.testing import FakeClock
from tests.engine.support import (
    GatedJournal,
    Request,
    ShiftedClock,
    eventually,
    http,
    reason,
    running,
    serving,
    status,
    web,
    write_workspace,
)

if TYPE_CHECKING:
    from pathlib import Path


# --- timers ------------------------------------------------------------------------------------------------------


async def test_a_timer_fires_once_at_its_time() -> None:
    fired: list[TimerFired] = []
    timers = Timers(system_clock, fired.append)
    began = system_clock().mono
    timers.set(("settle", "s1"), began + 0.05)
    await eventually(lambda: fired)
    assert system_clock().mono - began >= 0.049
    await asyncio.sleep(0.02)
    assert fired == [TimerFired(("settle", "s1"))]


async def test_a_timer_that_is_past_fires_at_once() -> None:
    fired: list[TimerFired] = []
    timers = Timers(system_clock, fired.append)
    timers.set(("pause", "web"), system_clock().mono - 100)
    await eventually(lambda: fired, within=0.5)


async def test_a_timer_is_replaced_by_one_of_the_same_key() -> None:
    fired: list[TimerFired] = []
    timers = Timers(system_clock, fired.append)
    now = system_clock().mono
    timers.set(("read", "email"), now + 0.02)
    timers.set(("read", "email"), now + 0.15)
    timers.set(("read", "crm"), now + 0.06)
    await eventually(lambda: fired)
    assert fired == [TimerFired(("read", "crm"))]
    await eventually(lambda: len(fired) == 2)
    assert fired[1] == TimerFired(("read", "email"))


async def test_a_timer_that_is_cancelled_does_not_fire() -> None:
    fired: list[TimerFired] = []
    timers = Timers(system_clock, fired.append)
    now = system_clock().mono
    timers.set(("verify", "s1"), now + 0.02)
    timers.set(("verify", "s2"), now + 0.02)
    timers.set(("verify", "s3"), now + 0.04)
    timers.cancel(("verify", "s1"))
    timers.cancel(("verify", "never set"))
    await eventually(lambda: TimerFired(("verify", "s3")) in fired)
    assert TimerFired(("verify", "s1")) not in fired
    timers.set(("verify", "s4"), system_clock().mono + 0.01)
    timers.close()
    await asyncio.sleep(0.03)
    assert TimerFired(("verify", "s4")) not in fired


async def test_a_jump_of_the_clock_wakes_those_that_go_by_the_wall_clock() -> None:
    fired: list[TimerFired] = []
    timers = Timers(system_clock, fired.append)
    far = system_clock().mono + 1000
    for key in (("pause", "web"), ("review", "email", "backup"), ("people",), ("verify", "s1")):
        timers.set(key, far)
    timers.clock_jumped()
    assert {event.key[0] for event in fired} == {"pause", "review", "people"}
    timers.close()


# --- jumps -------------------------------------------------------------------------------------------------------


def test_time_that_passes_is_no_jump() -> None:
    clock = FakeClock()
    detector = JumpDetector(clock())
    for seconds in (1, 10, 600, 86_400):
        clock.advance(seconds)
        assert detector.moved(clock()) is None


@pytest.mark.parametrize("seconds", [-3600.0, -JUMP - 1, JUMP + 1, 86_400.0])
def test_a_clock_that_was_set_is_a_jump_by_so_much_and_once(seconds: float) -> None:
    clock = FakeClock()
    detector = JumpDetector(clock())
    clock.advance(1)
    clock.jump(seconds)
    assert detector.moved(clock()) == pytest.approx(seconds)
    clock.advance(1)
    assert detector.moved(clock()) is None


def test_a_small_correction_is_no_jump() -> None:
    clock = FakeClock()
    detector = JumpDetector(clock())
    for _ in range(10):
        clock.advance(1)
        clock.jump(-2)
        assert detector.moved(clock()) is None


def test_a_machine_that_slept_has_jumped() -> None:
    clock = FakeClock()
    detector = JumpDetector(clock())
    clock.advance(1)
    clock.suspend(7200)
    assert detector.moved(clock()) == pytest.approx(7200)
    clock.advance(1)
    assert detector.moved(clock()) is None


@pytest.mark.parametrize("how", ["set back", "set forward", "suspended"])
async def test_after_a_jump_all_is_unknown_until_it_is_polled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(engine_module, "WATCH_EVERY", 0.02)
    clock = ShiftedClock()
    gate = asyncio.Event()
    gate.set()

    async def home(_: Request) -> bytes:
        await gate.wait()
        return http()

    async with serving(home=home) as target:
        folder = write_workspace(tmp_path, web=web(f"{target.url}/home", every="60s", timeout="30s"))
        journal = GatedJournal()
        async with running(folder, clock=clock, journal=journal) as engine:
            await eventually(lambda: status(engine, "web") == "ok")
            gate.clear()
            if how == "suspended":
                clock.wall += 3600
                clock.boot += 3600
            else:
                clock.wall += 3600 if how == "set forward" else -3600
            await eventually(lambda: status(engine, "web") == "unknown")
            assert reason(engine, "web") == "clock"
            gate.set()
            await eventually(lambda: status(engine, "web") == "ok", hint=lambda: reason(engine, "web"))
            await eventually(
                lambda: [entry.data["status"] for entry in journal.of("component_changed")] == ["ok", "unknown", "ok"]
            )


async def test_a_pause_ends_at_its_wall_clock_time_when_the_clock_is_set_forward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opsdash.model.inputs import PauseIntent

    monkeypatch.setattr(engine_module, "WATCH_EVERY", 0.02)
    clock = ShiftedClock()
    async with serving() as target:
        folder = write_workspace(tmp_path, web=web(f"{target.url}/home"))
        async with running(folder, clock=clock) as engine:
            await engine.submit("k", "maria", PauseIntent("web", 3600.0, "works"))
            await eventually(lambda: status(engine, "web") == "paused")
            clock.wall += 3700
            clock.boot += 3700
            await eventually(lambda: status(engine, "web") == "ok")


# --- the calendar ------------------------------------------------------------------------------------------------


def test_a_cron_expression_says_when_next_in_its_own_zone() -> None:
    noon = 1_795_435_200.0  # 2026-11-23T12:00:00Z
    assert next_cron("0 2 * * *", "UTC", noon) == noon + 14 * 3600
    assert next_cron("0 2 * * *", "Europe/Berlin", noon) == noon + 13 * 3600
    assert next_cron("0 12 * * *", "UTC", noon) == noon + 86_400
    assert next_cron("0 0 30 2 *", "UTC", noon) is None
    with pytest.raises(ValueError, match="Wrong number of fields"):
        next_cron("every day", "UTC", noon)
