"""The load of a drill: work that a backup or degraded mode has to carry, again and again, bounded in number and time.

Each time is one action, of which the kind says whether it was carried out; what is not certain has failed. The times
are spread evenly. One that hangs keeps none of the others waiting, up to a limit of how many are under way at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opsdash.engine.tasks import spawn
from opsdash.kinds.base import Applied
from opsdash.model.inputs import LoadDone
from opsdash.model.operation import ActionCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.engine.executor import Executor
    from opsdash.model.effects import StartLoad

AT_ONCE = 16
"""How many times of one load may be under way together."""

EACH = 30.0
"""Seconds that one time may take."""


@dataclass(slots=True)
class _Count:
    times: int = 0
    failed: int = 0
    detail: str = ""
    under_way: set[asyncio.Task[None]] = field(default_factory=set)


class Loads:
    """Carries loads, each as one task. `put` takes what came of it."""

    def __init__(self, executor: Executor, put: Callable[[LoadDone], None]) -> None:
        self._executor = executor
        self._put = put
        self._running: dict[str, asyncio.Task[None]] = {}

    def start(self, effect: StartLoad) -> None:
        """Begin."""
        if effect.run not in self._running:
            self._running[effect.run] = spawn(self._carry(effect), f"load of {effect.run}")

    def stop(self, run: str) -> None:
        """End it, if it still runs; what was done until then is told."""
        task = self._running.get(run)
        if task is not None:
            task.cancel()

    def close(self) -> None:
        """End all of them."""
        for run in list(self._running):
            self.stop(run)

    async def _carry(self, effect: StartLoad) -> None:
        load, count = effect.load, _Count()
        gate = asyncio.Semaphore(AT_ONCE)
        loop = asyncio.get_running_loop()
        began, pause = loop.time(), load.over / max(1, load.times)
        try:
            for number in range(load.times):
                await asyncio.sleep(max(0.0, began + number * pause - loop.time()))
                await gate.acquire()
                task = spawn(self._once(effect, number, count, gate), f"load of {effect.run}, {number}")
                count.under_way.add(task)
                task.add_done_callback(count.under_way.discard)
            if count.under_way:
                await asyncio.wait(set(count.under_way))
        except asyncio.CancelledError:
            for task in list(count.under_way):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*count.under_way, return_exceptions=True)
            count.detail = count.detail or f"it was ended after {count.times} of {load.times} times"
        finally:
            self._running.pop(effect.run, None)
            self._put(LoadDone(effect.run, count.times, count.failed, count.detail))

    async def _once(self, effect: StartLoad, number: int, count: _Count, gate: asyncio.Semaphore) -> None:
        try:
            call = ActionCall(effect.load.kind, effect.load.raw, EACH)
            done = await self._executor.carry(call, f"{effect.run}-load-{number + 1}")
            count.times += 1
            if done.applied is not Applied.APPLIED:
                count.failed += 1
                count.detail = done.detail
        finally:
            gate.release()
