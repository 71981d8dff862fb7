"""Readiness, reckoned by an engine: whenever something was recorded, and now and then since time passes as well.

It is reckoned in a thread of its own, from a copy of what is known, and stands back now and then: checks come first.
One score a day goes to the journal.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from opsdash.core.draft import Draft
from opsdash.core.readiness import readiness
from opsdash.core.readiness_views import MOST_GAPS, readiness_view
from opsdash.engine.threads import Worker
from opsdash.errors import EngineError
from opsdash.model.inputs import ReadinessSeen
from opsdash.model.readiness import Facts, RunbookFacts
from opsdash.model.runbook import Language, Role
from opsdash.model.world import Live, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.config.loader import Loaded
    from opsdash.engine.clock import Clock
    from opsdash.model.readiness import Readiness
    from opsdash.model.readiness_views import ReadinessView
    from opsdash.model.runbook import Runbook
    from opsdash.storage.trust import Trust

log = logging.getLogger(__name__)

FIRST_AFTER: Final = 10.0
"""Seconds after the start before it is first reckoned: by then every check has run once."""

AT_MOST_EVERY: Final = 10.0
"""Seconds between two times at which it is reckoned because something was recorded."""

AT_LEAST_EVERY: Final = 300.0
"""Seconds after which it is reckoned again although nothing was recorded: proofs grow old, people go away."""

SHARE: Final = 50.0
"""It is reckoned so rarely that it takes at most this part of the time."""

FRESH: Final = 30.0
"""Seconds for which an answer is good while nothing is recorded."""

STAND_BACK_EVERY: Final = 16
STAND_BACK: Final = 0.002
"""Seconds in which others run, after so many components."""


def facts_of(loaded: Loaded, trust: Trust, *, measured: bool) -> Facts:
    """What the rules have to know of a workspace beyond its operation. measured: an engine polls it."""
    runbooks = {
        name: RunbookFacts(
            path=runbook.path,
            broken=_broken(runbook, loaded),
            approved=trust.trusts(name, runbook.sha256) if _executes(runbook) else None,
            review_due=_review_due(runbook),
        )
        for name, runbook in loaded.runbooks.items()
    }
    return Facts(
        runbooks=runbooks,
        dead_man=loaded.settings.dead_man is not None,
        measured=measured,
        fill=loaded.with_settings,
    )


def _broken(runbook: Runbook, loaded: Loaded) -> str:
    """Why nobody can follow it step by step."""
    if runbook.executable:
        return ""
    errors = [each.message for each in loaded.errors if each.file == runbook.path]
    return errors[0] if errors else "it has no steps"


def _executes(runbook: Runbook) -> bool:
    """Whether it has blocks that wait for an approval before they do anything."""
    blocks = (block for step in runbook.steps for block in step.blocks)
    return any(block.role is not Role.SHOW and block.language is not Language.OPSDASH for block in blocks)


def _review_due(runbook: Runbook) -> float | None:
    if runbook.reviewed is None or runbook.review_every is None:
        return None
    day = runbook.reviewed
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() + runbook.review_every


class ReadinessKeeper:
    """Knows the readiness of an engine's operation. latest: as it was last reckoned.

    put: takes the input that follows from it.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        loaded: Callable[[], Loaded],
        world: World,
        live: Live,
        trust: Trust,
        put: Callable[[ReadinessSeen], None],
    ) -> None:
        self._clock = clock
        self._loaded = loaded
        self._world = world
        self._live = live
        self._trust = trust
        self._put = put
        self._worker = Worker("readiness")
        self._one_at_a_time = asyncio.Lock()
        self._changed = asyncio.Event()
        self._stale = True
        self._took = 0.0
        self._at = 0.0
        self._closed = False
        self.latest: Readiness | None = None

    @property
    def score(self) -> int | None:
        """The operation's score, None as long as it was not reckoned."""
        return None if self.latest is None else self.latest.score

    def changed(self) -> None:
        """Something was recorded, or the files were read."""
        self._stale = True
        self._changed.set()

    async def run(self) -> None:
        """Reckon it again and again, for ever."""
        await asyncio.sleep(FIRST_AFTER)
        while True:
            try:
                self._changed.clear()
                found = await self.look()
                self._put(ReadinessSeen(found.score, len(found.gaps)))
            except Exception:
                log.exception("readiness could not be reckoned: this is a bug")
            await asyncio.sleep(max(AT_MOST_EVERY, SHARE * self._took))
            try:
                async with asyncio.timeout(AT_LEAST_EVERY):
                    await self._changed.wait()
            except TimeoutError:
                self._stale = True

    async def look(self) -> Readiness:
        """The readiness as of now."""
        async with self._one_at_a_time:
            if self._closed and self.latest is None:
                raise EngineError("the engine is ending; readiness was not reckoned yet")
            if self._closed and self.latest is not None:
                return self.latest
            if self.latest is None or self._stale or self._clock().mono - self._at > FRESH:
                await self._reckon()
            assert self.latest is not None  # noqa: S101 - it was just reckoned
            return self.latest

    async def view(self, component: str | None, limit: int = MOST_GAPS) -> ReadinessView | None:
        """The same for a client; None if there is no such component."""
        found = await self.look()
        if component is not None and component not in found.components:
            return None
        draft = Draft(self._world, self._live, self._clock())
        return readiness_view(found, draft, component, measured=True, limit=limit)

    async def _reckon(self) -> None:
        began = self._clock()
        self._stale = False
        world = World(self._world.operation, {name: dict(rows) for name, rows in self._world.tables.items()})
        live = Live({name: dict(rows) for name, rows in self._live.tables.items()})
        try:
            self.latest = await self._worker.call(
                _reckoned, Draft(world, live, began), partial(facts_of, self._loaded(), self._trust, measured=True)
            )
        except BaseException:
            self._stale = True
            raise
        self._at = self._clock().mono
        self._took = self._at - began.mono

    async def close(self) -> None:
        """Reckon no more."""
        self._closed = True
        self._worker.dismiss()


def _reckoned(draft: Draft, facts: Callable[[], Facts]) -> Readiness:
    """In a thread. It stands back now and then: Python runs one thread at a time, and checks come first."""
    never = threading.Event()
    done = 0

    def stand_back() -> None:
        nonlocal done
        done += 1
        if done % STAND_BACK_EVERY == 0:
            never.wait(STAND_BACK)

    return readiness(draft, facts(), stand_back)
