"""Terminals that remember: commands in real pseudo-terminals, a person's answers, and what was to be seen meanwhile.

Each command gets a pseudo-terminal of its own, which is read until it is closed, so that nothing of what was said is
missed. The terminal echoes what is typed, as everywhere, so the answers stand in the transcript where they were given.
"""

from __future__ import annotations

import codecs
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SIZE = (40, 100)
"""Rows and columns."""

PROMPT = "\n> "
"""How a runbook that is followed asks for the next command."""

PATIENCE = 60.0
"""Seconds in which any command says what it is waited for."""

_COMMANDS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class TerminalError(Exception):
    """A terminal did not show what was waited for, or a command ended in another way than it should."""


class Terminal:
    """One person's terminal, in a folder and with an environment of its own.

    reads: seconds for which that person reads before typing.
    transcript: all that was typed and shown, command after command.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], reads: float = 0.0) -> None:
        self.folder = folder
        self.environment = environment
        self.reads = reads
        self.transcript: list[str] = []

    def run(self, *words: str, code: int = 0) -> str:
        """Run `opsdash WORDS` to its end; what it said. Raises TerminalError when it ends with another code."""
        with self.begin(*words) as conversation:
            return conversation.ends(code)

    def begin(self, *words: str) -> Conversation:
        """Begin `opsdash WORDS`, and talk to it."""
        return Conversation(self, words)


class Conversation:
    """A command that runs in a terminal, and a person at its keys."""

    def __init__(self, terminal: Terminal, words: tuple[str, ...]) -> None:
        self.typed = shlex.join(("opsdash", *words))
        self._terminal = terminal
        self._said = ""
        self._seen = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._keys, tty = pty.openpty()
        termios.tcsetwinsize(tty, SIZE)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "opsdash", *words],
            stdin=tty,
            stdout=tty,
            stderr=tty,
            cwd=terminal.folder,
            env=terminal.environment,
            start_new_session=True,
        )
        os.close(tty)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._keys)
        self._terminal.transcript.append(f"$ {self.typed}\n{self._shown().rstrip()}")

    def sees(self, text: str) -> str:
        """Wait until the text is shown, after what was seen before; what came up to it. Raises TerminalError."""
        until = time.monotonic() + PATIENCE
        while (found := self._shown().find(text, self._seen)) < 0:
            if not self._read(until):
                raise TerminalError(f"`{self.typed}` did not show {text!r}; it said:\n{self._shown()}")
        before = self._shown()[self._seen : found]
        self._seen = found + len(text)
        return before

    def types(self, text: str) -> None:
        """Type something, and press Enter."""
        select.select([], [], [], self._terminal.reads)
        os.write(self._keys, f"{text}\n".encode())

    def answers(self, text: str, then: str) -> None:
        """Answer the question for the next command of a runbook, and wait for what follows. Raises TerminalError."""
        self.sees(PROMPT)
        self.types(text)
        self.sees(then)

    def ends(self, code: int = 0) -> str:
        """Wait for the end; all that was said. Raises TerminalError when it ends with another code than this."""
        until = time.monotonic() + PATIENCE
        while self._read(until):
            pass
        try:
            ended = self._process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise TerminalError(f"`{self.typed}` did not end; it said:\n{self._shown()}") from None
        if ended != code:
            raise TerminalError(f"`{self.typed}` ended with {ended}, expected {code}; it said:\n{self._shown()}")
        return self._shown()

    def _shown(self) -> str:
        return _COMMANDS.sub("", self._said).replace("\r\n", "\n")

    def _read(self, until: float) -> bool:
        """Whether there is more: False at the end of the command, and when it has been silent for too long."""
        ready, _, _ = select.select([self._keys], [], [], max(0.0, until - time.monotonic()))
        try:
            more = os.read(self._keys, 65536) if ready else b""
        except OSError:  # Linux: the other end is closed
            return False
        self._said += self._decoder.decode(more)
        return bool(more)
