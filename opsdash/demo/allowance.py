"""A vendor's rate limit: what was used lately, what is left, and the headers that say so.

The headers follow the draft `RateLimit-Policy`/`RateLimit` (draft-ietf-httpapi-ratelimit-headers): a quota
`q` for a window of `w` seconds, `r` left, `t` seconds until it is full again. Under the fault `429` the
quota shrinks to less than the normal load needs and more than the essential load needs: who drops what was
decided to be droppable is served again, who goes on as before is not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from opsdash.demo.catalog import Fault
from opsdash.demo.server import Service

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.demo.web import Headers

WINDOW = 5.0
NORMAL_QUOTA = 100
REDUCED_QUOTA = 20
RETRY_AFTER = 2
# Longer than half a window: a load above the quota is let through and refused in turn, and that is one limit.
_GRUDGE = 3.0


class Allowance:
    """Units used within a sliding window, against a quota that depends on whether we are being limited."""

    def __init__(self, limited: Callable[[], bool]) -> None:
        self._limited = limited
        self._used: deque[tuple[float, int]] = deque()
        self._refused_at = float("-inf")

    def begin_limiting(self) -> None:
        """The vendor has noticed us: 429 at once, whatever was used so far."""
        self._refused_at = asyncio.get_running_loop().time()

    def admit(self, units: int) -> bool:
        """Take the units, or refuse them; only a limited account refuses."""
        now = asyncio.get_running_loop().time()
        if self._limited() and self._in_window(now) + units > REDUCED_QUOTA:
            self._refused_at = now
            return False
        self._used.append((now, units))
        return True

    @property
    def exceeded(self) -> bool:
        """Whether the account answers 429. An idle one does too: others who share it eat its quota."""
        now = asyncio.get_running_loop().time()
        used = self._in_window(now)
        idle_or_full = used == 0 or used >= REDUCED_QUOTA
        return self._limited() and (idle_or_full or now - self._refused_at < _GRUDGE)

    def headers(self) -> Headers:
        now = asyncio.get_running_loop().time()
        quota = REDUCED_QUOTA if self._limited() else NORMAL_QUOTA
        left = 0 if self.exceeded else max(0, quota - self._in_window(now))
        window = int(WINDOW)
        state: Headers = (
            ("RateLimit-Policy", f'"default";q={quota};w={window}'),
            ("RateLimit", f'"default";r={left};t={window}'),
        )
        return (*state, ("Retry-After", str(RETRY_AFTER))) if self.exceeded else state

    def _in_window(self, now: float) -> int:
        while self._used and now - self._used[0][0] > WINDOW:
            self._used.popleft()
        return sum(units for _, units in self._used)


class LimitedService(Service):
    """A vendor's service that has such a limit."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.allowance = Allowance(lambda: self.fault is Fault.RATE_LIMITED)

    async def inject(self, fault: Fault) -> None:
        if fault is Fault.RATE_LIMITED:
            self.allowance.begin_limiting()
        await super().inject(fault)
