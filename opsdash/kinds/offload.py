"""File work in threads of its own, so that a dead mount hangs nobody but those who look at it.

A `stat` on a file system whose server is gone blocks its thread for minutes, and cancelling the coroutine
that waits for it does not free that thread. On asyncio's default executor, which has a handful of threads and
serves everybody, one dead mount looked at every few seconds would soon stop all. Here each piece of work gets
a daemonic thread of its own, and work under one key runs one piece at a time: a place that hangs holds one
thread, however often it is looked at, and what a later caller gets was begun after that caller asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")

_running: dict[Hashable, _Work[object]] = {}
_lock = threading.Lock()


async def in_thread(key: Hashable, work: Callable[[], T]) -> T:
    """The result of `work()`, run in a thread as soon as no other work under `key` is running.

    Whoever is cancelled stops waiting; the work goes on, and the next one with its key waits for its end.
    """
    mine = _Work(key, work)
    while (before := mine.claim()) is not None:
        await before
    return await mine.start()


class _Work(Generic[T]):
    """One piece of work: waits for its key, runs in its thread, tells those who wait for the key."""

    def __init__(self, key: Hashable, work: Callable[[], T]) -> None:
        self._key = key
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._outcome: asyncio.Future[T] = self._loop.create_future()
        self.waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def claim(self) -> asyncio.Future[None] | None:
        """None when the key is now ours, else a future that is done when it may be tried again."""
        with _lock:
            before = _running.setdefault(self._key, self)  # type: ignore[arg-type]
            if before is self:
                return None
            free: asyncio.Future[None] = self._loop.create_future()
            before.waiting.append((self._loop, free))
            return free

    async def start(self) -> T:
        try:
            threading.Thread(target=self._serve, name="opsdash-files", daemon=True).start()
        except RuntimeError as error:  # the system has no thread left
            self._release()
            raise OSError(f"no thread could be started: {error}") from error
        return await self._outcome

    def _serve(self) -> None:
        try:
            result = self._work()
        except BaseException as error:  # noqa: BLE001 - it belongs to the one who waits
            self._release()
            _call(self._loop, _fail, self._outcome, error)
        else:
            self._release()
            _call(self._loop, _finish, self._outcome, result)

    def _release(self) -> None:
        with _lock:
            del _running[self._key]
            waiting = self.waiting
        for loop, future in waiting:
            _call(loop, _finish, future, None)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: object) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(function, *arguments)


def _finish(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[T], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
