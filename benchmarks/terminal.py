"""A program on a real pseudo-terminal, and when it wrote what.

The text is kept without escape sequences, so that a row of the board reads as it looks. Times are of CLOCK_MONOTONIC,
which is one for all processes of a machine.
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import termios
import threading
import time
from bisect import bisect_left
from typing import TYPE_CHECKING, Self

from benchmarks.measure import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

COLUMNS, ROWS = 120, 40
_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_].*?\x1b\\|[ -/]*[0-OQ-WYZ\\`a-~])", re.DOTALL
)
_LONGEST_ESCAPE = 64


class Terminal:
    """Runs a command on a terminal of 120x40 and reads along."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.began = time.monotonic()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            terminal = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
            os.execve(command[0], list(command), {**os.environ, **terminal, **environment})  # noqa: S606
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._text = ""
        self._ends: list[int] = []
        self._times: list[float] = []
        self.bytes = 0
        self._more = threading.Condition()
        self._over = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def here(self) -> int:
        """Where the text ends now; what is looked for later begins here."""
        return len(self._text)

    def press(self, keys: str) -> float:
        """Type. Returns when."""
        at = time.monotonic()
        os.write(self._fd, keys.encode())
        return at

    def wait_for(self, pattern: str, since: int, within: float) -> tuple[re.Match[str], float]:
        """The first match behind `since`, and when its last character came. Raises BenchmarkError."""
        wanted = re.compile(pattern)
        deadline = time.monotonic() + within
        with self._more:
            while True:
                found = wanted.search(self._text, since)
                if found:
                    return found, self._times[bisect_left(self._ends, found.end())]
                if self._over or not self._more.wait(deadline - time.monotonic()):
                    shown = self._text[-2000:]
                    raise BenchmarkError(f"{pattern!r} did not come within {within} s; the screen ends with {shown!r}")

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        while True:
            try:
                data = os.read(self._fd, 1 << 16)
            except OSError:  # the program has ended
                data = b""
            at = time.monotonic()
            rest += decoder.decode(data)
            # an escape sequence may have been cut in two
            cut = rest.rfind("\x1b", max(0, len(rest) - _LONGEST_ESCAPE))
            if cut < 0 or _ESCAPE.match(rest, cut):
                cut = len(rest)
            with self._more:
                self._text += _ESCAPE.sub("", rest[:cut])
                rest = rest[cut:]
                self._ends.append(len(self._text))
                self._times.append(at)
                self.bytes += len(data)
                self._over = not data
                self._more.notify_all()
            if not data:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._thread.join(2)
        os.close(self._fd)


def read_stamps(path: Path) -> list[float]:
    """Times that a process has written down, one a line."""
    return [float(row) for row in path.read_text().split()] if path.exists() else []
