"""Asking a person while something else goes on: the answer is awaited, and Ctrl-C is an answer, too.

The terminal stays as it is, line by line; nothing is drawn. What was typed before a question is dropped, since it was
meant for something else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import termios
from typing import TYPE_CHECKING

from opsdash.cli.terminal import Part, coloured, render

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERRUPTED = None
"""The answer of whoever presses Ctrl-C."""


class Person:
    """Somebody at the terminal. `interrupted` is set by Ctrl-C while nothing is asked."""

    def __init__(self) -> None:
        self.interrupted = asyncio.Event()
        self._pending: asyncio.Future[str | None] | None = None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Ctrl-C interrupts no command any more; it is noticed."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    def _interrupt(self) -> None:
        if self._pending is not None and not self._pending.done():
            self._pending.set_result(INTERRUPTED)
        else:
            self.interrupted.set()

    async def ask(self, *question: Part) -> str | None:
        """What is answered, "" for nothing or the end of the input, None for Ctrl-C."""
        loop, keys = asyncio.get_running_loop(), sys.stdin.fileno()
        self.interrupted.clear()
        with contextlib.suppress(termios.error):
            termios.tcflush(keys, termios.TCIFLUSH)
        print(render(question, coloured(sys.stderr)) + " ", end="", file=sys.stderr, flush=True)
        self._pending = loop.create_future()
        loop.add_reader(keys, self._read, keys)
        try:
            answer = await self._pending
        finally:
            loop.remove_reader(keys)
            self._pending = None
        if answer is INTERRUPTED:
            print(file=sys.stderr, flush=True)
        return answer

    def _read(self, keys: int) -> None:
        try:
            line = os.read(keys, 4096)
        except OSError:  # the terminal is gone
            line = b""
        if self._pending is not None and not self._pending.done():
            self._pending.set_result(line.decode("utf-8", "replace").strip())
