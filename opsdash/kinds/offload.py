"""File work in threads of its own, so that a dead mount hangs nobody but those who look at it.

A `stat` on a file system whose server is gone blocks its thread for minutes, and cancelling the coroutine
that waits for it does not free that thread. On asyncio's default executor, which has a handful of threads and
serves everybody, one dead mount looked at every few seconds would soon stop all. Here each piece of work gets
a daemonic thread of its own, and work under one key runs one piece at a time: a place that hangs holds one
thread, however often it is looked at, and what a later caller gets was begun after that caller asked.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")

_waiting: dict[Hashable, deque[_Work[object]]] = {}
"""By the keys under which something runs: what waits for its end, in order."""

_lock = threading.Lock()


async def in_thread(key: Hashable, work: Callable[[], T]) -> T:
    """The result of `work()`, run in a thread as soon as no other work under `key` is running, in order.

    Whoever is cancelled stops waiting; the work goes on, and the next one with its key waits for its end.
    """
    mine = _Work(key, work)
    await mine.turn()
    return await mine.start()


class _Work(Generic[T]):
    """One piece of work: waits for its key, runs in its thread, hands the key on.

    It is handed to one that waits, not thrown among all: a thousand looks at one place would wake each other a million
    times.
    """

    def __init__(self, key: Hashable, work: Callable[[], T]) -> None:
        self._key = key
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._outcome: asyncio.Future[T] = self._loop.create_future()
        self._turn: asyncio.Future[None] = self._loop.create_future()
        self._has_key = False

    async def turn(self) -> None:
        """Wait until the key is ours."""
        with _lock:
            if self._key not in _waiting:
                _waiting[self._key] = deque()
                self._has_key = True
                return
            _waiting[self._key].append(self)  # type: ignore[arg-type]
        try:
            await self._turn
        except BaseException:
            self._give_up()
            raise

    def _give_up(self) -> None:
        """Nobody waits for this any more; the key may have been handed to it all the same."""
        with _lock:
            if not self._has_key:
                _waiting[self._key].remove(self)  # type: ignore[arg-type]
                return
        self._release()

    async def start(self) -> T:
        """Do it."""
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
        """Hand the key to the next one whose loop still runs."""
        while True:
            with _lock:
                waiting = _waiting[self._key]
                if not waiting:
                    del _waiting[self._key]
                    return
                following = waiting.popleft()
                following._has_key = True  # noqa: SLF001 - of its own kind
            if _call(following._loop, _finish, following._turn, None):  # noqa: SLF001
                return


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: object) -> bool:
    """Whether `function` will be called: not if the loop is closed, where nobody waits any more."""
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        return False
    return True


def _finish(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[T], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
