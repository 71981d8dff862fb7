"""The only module that reads clocks for decisions. `now` is one value, taken once per input, and passed on."""

from __future__ import annotations

import time
from collections.abc import Callable

from opsdash.model.now import Now

Clock = Callable[[], Now]

JUMP = 30.0
"""Seconds by which boot time and wall clock may part before all that is known is doubted (suspend, clock set)."""

_BOOT = getattr(time, "CLOCK_BOOTTIME", None)


def system_clock() -> Now:
    """The machine's clocks. Where there is no boot clock (macOS), the monotonic one stands in for it."""
    mono = time.monotonic()
    boot = time.clock_gettime(_BOOT) if _BOOT is not None else mono
    return Now(wall=time.time(), mono=mono, boot=boot)  # noqa: TID251 - here is where it is read


class JumpDetector:
    """Notices that wall clock, boot clock and monotonic clock no longer agree about how much time has passed.

    Two things make a result older than it looks: the machine was suspended (boot time runs on, monotonic time does
    not), and the wall clock was set (wall and boot time part).
    """

    def __init__(self, now: Now) -> None:
        self._last = now

    def moved(self, now: Now) -> float | None:
        """Seconds of the jump since the last call, None if there was none worth mentioning."""
        last, self._last = self._last, now
        boot = now.boot - last.boot
        set_by = (now.wall - last.wall) - boot
        suspended = boot - (now.mono - last.mono)
        if suspended > JUMP:
            return suspended
        if abs(set_by) > JUMP:
            return set_by
        return None
