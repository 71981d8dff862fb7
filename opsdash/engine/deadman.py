"""The dead man's switch: a sign of life to somebody elsewhere, sent only while opsdash is really at work.

The protocol is that of healthchecks.io: POST to a URL says that all is well, `/start` after it that opsdash has begun,
`/fail` that it has found itself unable to work, with the reasons. Who hears nothing for too long, alarms.

It is sent from the event loop and from nowhere else: a loop that hangs cannot send it, and what is judged right before
(`core.progress`) is whether everything that runs on it makes progress. A sign of life that does not get through
disturbs nobody here; it is tried again sooner, told in the log once, and shown by `opsdash engine status` and `opsdash
doctor`.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

from opsdash import __version__
from opsdash.core.progress import obstacles
from opsdash.kinds.failures import FAILURES, explain
from opsdash.kinds.sending import told
from opsdash.kinds.transport import build_request, fetch, parse_url
from opsdash.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.config.workspace import DeadMan
    from opsdash.core.progress import Obstacle, Signs
    from opsdash.engine.clock import Clock
    from opsdash.kinds.resolver import Resolver

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 1.0
"""Seconds between two looks while there is no progress, or nobody to tell."""

SETTLED: Final = 60.0
"""Seconds after the start before the first sign of life, or `every` if that is less: an engine that is started again
and again, and ends each time, is not at work."""

MAX_ANSWER: Final = 4096
DETAIL: Final = 200

_NOT_TAKEN: Final = ("ok (not found)", "ok (rate limited)")
"""What healthchecks.io says with a 200 when it has no such check, or has not counted the call."""


@dataclass(slots=True)
class _Caller:
    """Who asks for an exchange."""

    resolver: Resolver
    stage: str = ""


class DeadManSwitch:
    """Gives signs of life by what the files say at each moment.

    settings: whom to tell, None for nobody.  signs: what is seen of the engine now.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        settings: Callable[[], DeadMan | None],
        signs: Callable[[], Signs],
        resolver: Resolver,
        mask: Callable[[str], str],
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._signs = signs
        self._resolver = resolver
        self._mask = mask
        self._told_start = ""
        self._stalled_since: float | None = None
        self._told_fail: float | None = None
        self.last_sign: float | None = None
        """When the last sign of life was taken, in seconds since 1970 UTC."""
        self.trouble = ""
        self.trouble_at: float | None = None
        self.withheld: tuple[Obstacle, ...] = ()

    async def run(self) -> None:
        """For ever; an error in here is a bug, and what follows from it is silence."""
        while True:
            settings = self._settings()
            await asyncio.sleep(LOOK_EVERY if settings is None else await self.turn(settings))

    async def turn(self, settings: DeadMan) -> float:
        """Tell what is to be told now. Returns the seconds until there may be more."""
        if settings.url != self._told_start:
            self._told_start = settings.url
            if settings.signals:
                await self._tell(settings, "/start", f"opsdash {__version__} has started")
            return min(settings.every, SETTLED)
        before, self.withheld = self.withheld, obstacles(self._signs())
        if self.withheld:
            return await self._stalled(settings, before)
        if self._stalled_since is not None:
            log.info("opsdash is at work again; signs of life go out")
        self._stalled_since = self._told_fail = None
        if await self._tell(settings, "", f"opsdash {__version__} is at work"):
            self.last_sign = self._clock().wall
            return settings.every
        return max(LOOK_EVERY, settings.every / 6)

    async def _stalled(self, settings: DeadMan, before: tuple[Obstacle, ...]) -> float:
        """No sign of life; after a while the other side is told why, instead of having to find out."""
        now = self._clock().mono
        if self._stalled_since is None:
            self._stalled_since = now
        why = "; ".join(f"opsdash {obstacle.text}" for obstacle in self.withheld)
        if {each.what for each in before} != {each.what for each in self.withheld}:
            log.warning("no sign of life goes out: %s", why)
        waited = now - self._stalled_since >= settings.grace
        due = self._told_fail is None or now - self._told_fail >= settings.every
        if settings.signals and waited and due and await self._tell(settings, "/fail", why):
            self._told_fail = now
        return LOOK_EVERY

    async def _tell(self, settings: DeadMan, signal: str, text: str) -> bool:
        """One request. Whether the other side took it; what went wrong is noted."""
        target = parse_url(_with_signal(settings.url, signal))
        body = clean(self._mask(text), 1000).encode()
        headers = (("Content-Type", "text/plain; charset=utf-8"),)
        request = build_request("POST", target, headers=headers, body=body, max_body=MAX_ANSWER)
        try:
            async with asyncio.timeout(settings.timeout) as limit:
                response = await fetch(request, _Caller(self._resolver))
        except FAILURES as error:
            return self._note(target.authority, "no answer in time" if limit.expired() else explain(error)[2])
        answer = response.body.decode("utf-8", "replace").strip().lower()
        if not 200 <= response.status < 300 or answer.startswith(_NOT_TAKEN):
            return self._note(target.authority, told(response))
        self.trouble = ""
        return True

    def _note(self, where: str, words: str) -> bool:
        trouble = clean(self._mask(f"{where}: {words}"), DETAIL)
        if trouble != self.trouble:
            log.warning("a sign of life was not taken by %s", trouble)
        self.trouble, self.trouble_at = trouble, self._clock().wall
        return False

    def about(self) -> dict[str, Any]:
        """For `opsdash engine status` and `opsdash doctor`."""
        settings = self._settings()
        return {
            "configured": settings is not None,
            "to": None if settings is None else parse_url(settings.url).authority,
            "every": None if settings is None else settings.every,
            "last_sign": self.last_sign,
            "trouble": self.trouble,
            "trouble_at": self.trouble_at if self.trouble else None,
            "withheld": [obstacle.text for obstacle in self.withheld],
        }


def _with_signal(url: str, signal: str) -> str:
    """The URL with `/start` or `/fail` after its path."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + signal)) if signal else url
