"""From the key to the verified switch, in the example operation with its real servers."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Bar, BenchmarkError, Result, Table, median
from opsdash.cli.example import running

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.scale import Scale
    from opsdash.cli.example import Example
    from opsdash.model.views import ComponentDetail, SwitchView
    from opsdash.service.client import EngineSession

TITLE = "Switching"
COMPONENT, PRIMARY = "email", "postmark"
SWITCH_BAR = 3.0
LOOK_EVERY = 0.02
WITHIN = 30.0
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
    result.notes.append(
        "The mail provider is down; the intent is submitted as `y` on the plan does it. decide: until the intent is "
        "safe in the journal; act: the mailer is told; settle: 0.5 s, as the file says; verify: all declared facts are "
        "true, the front door's three samples included; seen: until a client that asks for it has the outcome. Medians."
    )
    return result


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


async def _switch(session: EngineSession, kind: str) -> dict[str, float]:
    """Carry out the plan that is there; how long each part of it took."""
    plan = await session.plan(COMPONENT, kind)
    if plan["refused"] is not None or plan["failed"]:
        raise BenchmarkError(f"there is no plan for {kind}: {plan['refused'] or plan['failed']}")
    arguments: dict[str, Any] = {key: plan[key] for key in ("component", "generation", "source", "target", "reason")}
    pressed = time.time()
    verdict = await session.submit(kind, arguments)
    switch = await _ended(session, verdict["subject"])
    seen = time.time()
    if switch["state"] != "committed" or switch["ended_at"] is None:
        raise BenchmarkError(f"{kind} ended {switch['state']}: {switch['detail']}")
    found = {part: switch["times"].get(part, 0.0) for part in ("act", "settle", "verify")}
    found["decide"] = switch["intended_at"] - pressed
    found["seen"] = seen - switch["ended_at"]
    found["total"] = seen - pressed
    return found


async def _ended(session: EngineSession, subject: str) -> SwitchView:
    async with asyncio.timeout(WITHIN):
        while True:
            switch = await session.switch(COMPONENT)
            if switch is not None and switch["id"] == subject and not switch["live"]:
                return switch
            await asyncio.sleep(LOOK_EVERY)
