"""What systemd is told: that opsdash is ready, that it is at work, that it ends (sd_notify(3)).

With `Type=notify` and `WatchdogSec` in its unit, systemd starts opsdash anew when the sign of life does not come. It is
judged as the dead man's switch is (`core.progress`), by what a restart can cure: an engine that hangs is ended, one
that cannot write its journal is left alone, since it still shows the operation, and would come back with no more room
than before. Without systemd nothing is told to anybody.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import TYPE_CHECKING, Final

from opsdash.core.progress import HELPED_BY_RESTART, obstacles
from opsdash.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from opsdash.core.progress import Signs

log = logging.getLogger(__name__)

VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
STATUS_EVERY: Final = 10.0


class Systemd:
    """The way to systemd's socket. every: seconds between two signs of life, None where none are expected."""

    def __init__(self, address: str, every: float | None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.every = every

    def tell(self, **states: str | int) -> None:
        """Send `NAME=value` lines. Never blocks, and what goes wrong disturbs nobody."""
        if not self._address:
            return
        data = "\n".join(f"{name}={value}" for name, value in states.items()).encode()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            try:
                sock.sendto(data, self._address)
            except OSError as error:
                log.debug("systemd was not told %s: %s", ", ".join(states), error.strerror)

    async def watch(self, signs: Callable[[], Signs], stopping: Callable[[], bool]) -> None:
        """Signs of life, twice as often as expected, for ever. While it ends, that the loop turns is enough."""
        if not self._address:
            return
        told = ""
        while True:
            found = obstacles(signs())
            curable = [obstacle for obstacle in found if obstacle.what in HELPED_BY_RESTART]
            status = clean("; ".join(obstacle.text for obstacle in found) or "at work", 200)
            if status != told and not stopping():
                told = status
                self.tell(STATUS=status)
            if self.every is not None and (stopping() or not curable):
                self.tell(WATCHDOG=1)
            await asyncio.sleep(self.every / 2 if self.every is not None else STATUS_EVERY)


def from_environment(environment: MutableMapping[str, str] = os.environ) -> Systemd:
    """What systemd has said to this process; taken out, since no program that opsdash starts may answer for it."""
    address, microseconds, pid = (environment.pop(name, "") for name in VARIABLES)
    watched = microseconds.isascii() and microseconds.isdigit() and int(microseconds) > 0
    if pid and pid != str(os.getpid()):
        watched = False
    usable = address.startswith(("/", "@")) and len(address) > 1
    return Systemd(address if usable else "", int(microseconds) / 1e6 if watched else None)
