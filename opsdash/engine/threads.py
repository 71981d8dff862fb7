"""One thread for one thing that blocks: the journal has one, history has one, nothing shares them.

asyncio's default executor is small and shared; a slow disk or a name lookup that hangs would hold up whatever else uses
it. A call here waits only for the calls of the same owner.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_Job = tuple[Callable[[], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


class Worker:
    """A daemon thread that carries out calls in the order in which they come."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Carry out `function(*arguments)` in the thread; what it raises is raised here."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((lambda: function(*arguments), future, loop))
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Let everything that was asked for happen, then end the thread."""
        await self.call(lambda: None)
        self._jobs.put(None)

    def dismiss(self) -> None:
        """End the thread once it has carried out what was asked for, and wait for nothing: it may hang for ever."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            function, future, loop = job
            try:
                result, error = function(), None
            except BaseException as raised:  # noqa: BLE001 - it is handed to whoever asked
                result, error = None, raised
            try:
                loop.call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
