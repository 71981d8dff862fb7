"""Tasks that nobody awaits: kept alive by a strong reference, and their errors are reported.

A task without one may be collected in mid-flight, and an error in it is lost: the screen then stays green for ever.
What must be let end is counted in an `UnderWay`.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

log = logging.getLogger(__name__)

_running: set[asyncio.Task[Any]] = set()


def spawn(coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """Run a coroutine as a task of that name. An exception in it is logged as a bug, and ends nothing else."""
    task = asyncio.get_running_loop().create_task(coroutine, name=name)
    _running.add(task)
    task.add_done_callback(_done)
    return task


def _done(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled() and task.exception() is not None:
        log.error("task %s failed", task.get_name(), exc_info=task.exception())


async def cancel(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel tasks and wait until they have cleaned up."""
    alive = [task for task in tasks if task is not None and not task.done()]
    for task in alive:
        task.cancel()
    await asyncio.gather(*alive, return_exceptions=True)


class UnderWay:
    """What is being carried out at the moment, and its end."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def carrying_out(self, key: str) -> Iterator[None]:
        """`key` is under way for as long as this lasts."""
        self._keys.add(key)
        self._idle.clear()
        try:
            yield
        finally:
            self._keys.discard(key)
            if not self._keys:
                self._idle.set()

    async def idle_within(self, seconds: float) -> bool:
        """Wait until nothing is under way; False if something still is after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
