"""Timers by key, on the monotonic clock."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from opsdash.model.inputs import TimerFired

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.engine.clock import Clock

Key = tuple[str, ...]

BY_WALL_CLOCK = frozenset({"ack", "pause", "maintenance", "review", "people", "alarms"})
"""Timers whose handlers compare with the wall clock and set themselves again: after a jump they have to look anew."""


class Timers:
    """Sends `TimerFired` when a timer comes due; one timer per key."""

    def __init__(self, clock: Clock, put: Callable[[TimerFired], None]) -> None:
        self._clock = clock
        self._put = put
        self._handles: dict[Key, asyncio.TimerHandle] = {}

    def set(self, key: Key, at: float) -> None:
        """Fire at `at` monotonic seconds; replaces a timer of the same key."""
        self.cancel(key)
        delay = max(0.0, at - self._clock().mono)
        self._handles[key] = asyncio.get_running_loop().call_later(delay, self._fire, key)

    def cancel(self, key: Key) -> None:
        """Forget a timer."""
        handle = self._handles.pop(key, None)
        if handle is not None:
            handle.cancel()

    def clock_jumped(self) -> None:
        """Let the timers that go by the wall clock look at it again."""
        for key in [key for key in self._handles if key[0] in BY_WALL_CLOCK]:
            self.cancel(key)
            self._put(TimerFired(key))

    def close(self) -> None:
        """Forget all."""
        for key in list(self._handles):
            self.cancel(key)

    def _fire(self, key: Key) -> None:
        self._handles.pop(key, None)
        self._put(TimerFired(key))
