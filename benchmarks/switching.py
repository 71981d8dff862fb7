"""From the key to the verified switch: in the example operation with its real servers, and for mechanisms alone.

The peer of a mechanism is what a person would type instead: the plan's own manual command, from its start until the
mechanism itself says the other side. It verifies nothing else.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from asyncio.subprocess import DEVNULL
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.measure import Bar, BenchmarkError, Result, Table, median
from opsdash.cli.example import running
from tests.engine.support import write_workspace
from tests.lifecycle.support import engine
from tests.mechanisms import matrix
from tests.mechanisms.mechanisms import MECHANISMS, SIDES

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.scale import Scale
    from opsdash.cli.example import Example
    from opsdash.model.views import ComponentDetail, SwitchView
    from opsdash.service.client import EngineSession
    from tests.mechanisms.matrix import Mechanism

TITLE = "Switching"
COMPONENT, PRIMARY = "email", "postmark"
SWITCH_BAR = 3.0
LOOK_EVERY = 0.02
SEE_EVERY = 0.005
WITHIN = 30.0
ALONE = ("pointer", "haproxy", "redis_failover")
PARTS = ("decide", "act", "settle", "verify", "seen")


def run(scale: Scale) -> Result:
    result = Result("switching", TITLE)
    with running() as example:
        taken = asyncio.run(_switches(example, scale.times(2)))
    rows = []
    for kind, found in taken.items():
        cells = [f"{median([each[part] for each in found]):.2f} s" for part in (*PARTS, "total")]
        rows.append([kind, str(len(found)), *cells])
    result.tables.append(Table("", ("switch of email", "times", *PARTS, "in all"), rows))
    slowest = max(each["total"] for found in taken.values() for each in found)
    result.bars.append(
        Bar("key to verified switch, the slowest", f"under {SWITCH_BAR:g} s", f"{slowest:.2f} s", slowest < SWITCH_BAR)
    )
    result.raw = dict(taken)
    _mechanisms(result, scale)
    result.notes.append(
        "The mail provider is down; the intent is submitted as `y` on the plan does it. decide: until the intent is "
        "safe in the journal; act: the mailer is told; settle: 0.5 s, as the file says; verify: all declared facts are "
        "true, the front door's three samples included; seen: until a client that asks for it has the outcome. Medians."
    )
    result.notes.append(
        "Mechanisms alone: nothing but the mechanism tells who serves, so that verifying is reading it back. By hand: "
        "the plan's manual command in a shell, from its start until the mechanism itself says the other side."
    )
    return result


# --- mechanisms alone ----------------------------------------------------------------------------------------------


def _mechanisms(result: Result, scale: Scale) -> None:
    rows = []
    for kind in ALONE:
        with tempfile.TemporaryDirectory(prefix="switching-") as name:
            try:
                taken = asyncio.run(_alone(kind, Path(name), scale.times(10)))
            except pytest.skip.Exception as why:
                rows.append([kind, f"not run: {why}", *[""] * 7])
                continue
        parts = {part: median([each[part] for each in taken]) for part in (*PARTS, "total", "by hand")}
        cells = [f"{1000 * parts[part]:.1f} ms" for part in (*PARTS, "total", "by hand")]
        rows.append([kind, str(len(taken)), *cells, f"{parts['total'] / parts['by hand']:.1f}"])
        result.raw[kind] = taken
    columns = ("mechanism", "times", *PARTS, "in all", "by hand", "times as long")
    result.tables.append(Table("key to committed, mechanisms alone", columns, rows))


async def _alone(kind: str, folder: Path, times: int) -> list[dict[str, float]]:
    """There and back again, so many times, each beside the same by hand."""
    taken = []
    with MECHANISMS[kind](folder) as mechanism:
        workspace = write_workspace(folder / "w", **{matrix.COMPONENT: matrix.component(mechanism, settle="0s")})
        async with engine(workspace) as process:
            session = process.session
            for number in range(times):
                side = SIDES[(number + 1) % 2]
                await _until_ready(session, SIDES[number % 2])
                plan = await session.plan(matrix.COMPONENT, "failover", side)
                found = await _switch(session, plan["kind"], matrix.COMPONENT, side)
                await asyncio.to_thread(mechanism.lead, SIDES[number % 2])
                await _until_led(mechanism, SIDES[number % 2])
                found["by hand"] = await _by_hand(plan["manual"], workspace, mechanism, side)
                taken.append(found)
                await session.submit("lift_blockade", {"component": matrix.COMPONENT, "reason": "a measurement"})
    return taken


async def _by_hand(command: str, workspace: Path, mechanism: Mechanism, side: str) -> float:
    began = time.perf_counter()
    shell = await asyncio.create_subprocess_shell(command, cwd=workspace, stdout=DEVNULL, stderr=DEVNULL)
    await shell.wait()
    await _until_led(mechanism, side)
    return time.perf_counter() - began


async def _until_led(mechanism: Mechanism, side: str) -> None:
    async with asyncio.timeout(WITHIN):
        while await asyncio.to_thread(mechanism.serves) != side:  # noqa: ASYNC110 - another process decides when
            await asyncio.sleep(0.001)


async def _until_ready(session: EngineSession, side: str) -> None:
    """The engine knows who serves, and that the other one could."""
    async with asyncio.timeout(WITHIN):
        while True:
            row = (await session.component(matrix.COMPONENT))["row"]
            if row["active"] == side and row["redundancy"] == "ready":
                return
            await session.submit("poll", {"target": matrix.COMPONENT})
            await asyncio.sleep(LOOK_EVERY)


# --- the example operation -----------------------------------------------------------------------------------------


async def _switches(example: Example, times: int) -> dict[str, list[dict[str, float]]]:
    taken: dict[str, list[dict[str, float]]] = {"failover": [], "failback": []}
    example.start_engine()
    session = await example.attach()
    async with asyncio.TaskGroup() as group:
        listener = group.create_task(_listen(session))  # the example's engine lives as long as somebody listens
        await _until(session, "email is not ok", lambda detail: _is(detail, "ok", "ready"))
        for _ in range(times):
            await asyncio.to_thread(example.services.inject, PRIMARY, "down")
            await _until(session, "the failure was not named", lambda detail: bool(detail["row"]["failure_id"]))
            taken["failover"].append(await _switch(session, "failover"))
            await asyncio.to_thread(example.services.inject, PRIMARY, "ok")
            await _until(session, "the primary did not recover", lambda detail: _is(detail, "ok", "ready"))
            taken["failback"].append(await _switch(session, "failback"))
            await _until(session, "email is not ok", lambda detail: _is(detail, "ok", "ready"))
        listener.cancel()
    return taken


async def _listen(session: EngineSession) -> None:
    async for _ in session.events():
        pass


def _is(detail: ComponentDetail, status: str, redundancy: str) -> bool:
    return detail["row"]["status"] == status and detail["row"]["redundancy"] == redundancy


async def _until(session: EngineSession, otherwise: str, met: Callable[[ComponentDetail], bool]) -> None:
    try:
        async with asyncio.timeout(WITHIN):
            while not met(await session.component(COMPONENT)):  # noqa: ASYNC110 - another process decides when
                await asyncio.sleep(LOOK_EVERY)
    except TimeoutError:
        raise BenchmarkError(otherwise) from None


async def _switch(
    session: EngineSession, kind: str, component: str = COMPONENT, target: str | None = None
) -> dict[str, float]:
    """Carry out the plan that is there; how long each part of it took."""
    plan = await session.plan(component, kind, target)
    if plan["refused"] is not None or plan["failed"]:
        raise BenchmarkError(f"there is no plan for {kind}: {plan['refused'] or plan['failed']}")
    arguments: dict[str, Any] = {key: plan[key] for key in ("component", "generation", "source", "target", "reason")}
    pressed = time.time()
    verdict = await session.submit(kind, arguments)
    switch = await _ended(session, component, verdict["subject"])
    seen = time.time()
    if switch["state"] != "committed" or switch["ended_at"] is None:
        raise BenchmarkError(f"{kind} ended {switch['state']}: {switch['detail']}")
    found = {part: switch["times"].get(part, 0.0) for part in ("act", "settle", "verify")}
    found["decide"] = switch["intended_at"] - pressed
    found["seen"] = seen - switch["ended_at"]
    found["total"] = seen - pressed
    return found


async def _ended(session: EngineSession, component: str, subject: str) -> SwitchView:
    async with asyncio.timeout(WITHIN):
        while True:
            switch = await session.switch(component)
            if switch is not None and switch["id"] == subject and not switch["live"]:
                return switch
            await asyncio.sleep(SEE_EVERY)
