"""A board on a stage: a clock that stands until it is moved, an engine in memory, and keys to press."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import UTC
from typing import TYPE_CHECKING, Any

import pytest
from textual.events import Key
from textual.geometry import Size
from textual.keys import key_to_character

from opsdash.board.app import BoardApp
from opsdash.board.lines import plain
from opsdash.board.widgets import Paper
from tests.board.fake_session import FakeSession

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from textual.pilot import Pilot

    from opsdash.board.wall import Wall
    from opsdash.board.wallscreen import WallScreen


PATIENCE = 10.0
"""Seconds after which a board that does not come to rest is taken as it is."""


class Clock:
    """Monotonic seconds, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


class Stage:
    """A running board, what it runs on, and how a test plays with it."""

    def __init__(self, app: BoardApp, session: FakeSession, clock: Clock, pilot: Pilot[Any]) -> None:
        self.app, self.session, self.clock, self.pilot = app, session, clock, pilot

    async def settle(self) -> None:
        """Let everything that was caused come to rest."""
        await self.pilot.pause()
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if not self._at_work:
                return
            await asyncio.sleep(0.001)
            if not self._at_work:
                await self.pilot.pause()

    @property
    def _at_work(self) -> bool:
        loading = any(worker.is_running for worker in self.app.workers if worker.name != "reader")
        return loading or self.app._flush_waits or self.session.unheard or self._messages_wait

    @property
    def _messages_wait(self) -> bool:
        """Whether the app or a screen has something before it: a callback of a dialog that was left, too."""
        return any(
            pump._next_callbacks or pump._message_queue.qsize()
            for pump in (self.app, *self.app.screen_stack)
            if pump.is_running
        )

    async def live(self, seconds: float = 1.0) -> None:
        """Time passes, and the engine gives signs of life."""
        left = seconds
        while left > 0:
            step = min(1.0, left)
            self.clock.advance(step)
            self.session.report()
            await self.settle()
            self.app.tick()
            await self.settle()
            left -= step

    async def silence(self, seconds: float) -> None:
        """Time passes, and nothing is heard."""
        self.clock.advance(seconds)
        self.app.tick()
        await self.settle()

    async def press(self, *keys: str) -> None:
        """Keys of somebody who reads first: a second passes before each."""
        for key in keys:
            await self.live(1.0)
            await self.pilot.press(key)
            await self.settle()

    async def rush(self, *keys: str) -> None:
        """Keys without any time between them."""
        for key in keys:
            await self.pilot.press(key)
        await self.settle()

    async def ahead(self, *keys: str) -> None:
        """Keys of somebody who is faster than the board: all are there before it has handled the first one."""
        for key in keys:
            self.app.post_message(Key(key, "/" if key == "slash" else key_to_character(key)))
        await self.settle()

    async def type(self, text: str) -> None:
        """Letters into a field."""
        await self.live(1.0)
        await self.pilot.press(*text)
        await self.settle()

    async def resize(self, width: int, height: int) -> None:
        await self.pilot.resize_terminal(width, height)
        await self.settle()

    @property
    def screen_lines(self) -> list[str]:
        """What the terminal shows, line by line."""
        size = self.app.size
        strips = self.app.screen._compositor.render_strips(Size(size.width, size.height))
        return [strip.text for strip in strips]

    @property
    def screen(self) -> str:
        """What the terminal shows."""
        return "\n".join(self.screen_lines)

    @property
    def page(self) -> str:
        """All rows of the page or dialog, those that are scrolled away, too."""
        return "\n".join(plain(row.line) for row in self.app.screen.query_one(Paper).rows)

    @property
    def name(self) -> str:
        """The class of the screen on top."""
        return type(self.app.screen).__name__

    @property
    def wallscreen(self) -> WallScreen:
        return self.app.screen_stack[0]  # type: ignore[return-value] # the wall lies at the bottom

    @property
    def wall(self) -> Wall:
        return self.wallscreen.wall

    @property
    def said(self) -> list[str]:
        """Messages that the board has shown."""
        return [str(notification.message) for notification in self.app._notifications]

    def intents(self, name: str) -> list[dict[str, Any]]:
        """Arguments of the intents of that name that arrived at the engine."""
        return [arguments for intent, arguments, _ in self.session.submitted if intent == name]


@pytest.fixture
def board() -> Callable[..., AbstractAsyncContextManager[Stage]]:
    """A function that opens a board. `before` prepares the session, everything else goes to BoardApp."""

    @asynccontextmanager
    async def opened(
        before: Callable[[FakeSession], None] | None = None,
        *,
        size: tuple[int, int] = (120, 36),
        engine: dict[str, Any] | None = None,
        **options: Any,
    ) -> AsyncIterator[Stage]:
        clock = Clock()
        session = FakeSession(clock, **(engine or {}))
        if before is not None:
            before(session)
        app = BoardApp(session, clock=clock, tz=UTC, **options)
        app.look_again_after = 0.01
        async with app.run_test(size=size, notifications=True) as pilot:
            stage = Stage(app, session, clock, pilot)
            while app.state.summary is None:
                await pilot.pause()
            await stage.settle()
            yield stage

    return opened
