"""A real terminal for tests: tmux with a socket of its own, driven by keys and read as a screen."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE = 25.0
LOOK_EVERY = 0.05


class Terminal:
    """One tmux session; `press` types, `wait_for` looks at the screen until it shows something."""

    def __init__(self, socket: Path, columns: int, rows: int) -> None:
        self._socket = socket
        self._size = (columns, rows)

    def run(self, *argv: str, environment: dict[str, str] | None = None) -> None:
        """Start a program in the terminal; the terminal stays when it has ended."""
        variables = {"TERM": "tmux-256color", "TEXTUAL_ANIMATIONS": "none", **(environment or {})}
        pairs = [f"{name}={value}" for name, value in variables.items()]
        columns, rows = (str(each) for each in self._size)
        stay = ("start-server", ";", "set-option", "-wg", "remain-on-exit", "on", ";")
        program = ("env", "-u", "COLUMNS", "-u", "LINES", *pairs, *argv)
        self._tmux(*stay, "new-session", "-d", "-x", columns, "-y", rows, *program)
        self._tmux("set-option", "-s", "escape-time", "0")

    def press(self, *keys: str) -> None:
        """Type keys by tmux's names: `f`, `Enter`, `Escape`, `Down`."""
        for key in keys:
            self._tmux("send-keys", key)

    def screen(self) -> str:
        """What the terminal shows now."""
        return self._tmux("capture-pane", "-p")

    def wait_for(self, *wanted: str, gone: str | None = None, within: float = PATIENCE) -> str:
        """The screen, as soon as it shows all of `wanted` (regular expressions) and no longer `gone`."""
        until = time.monotonic() + within
        while True:
            screen = self.screen()
            if all(re.search(each, screen) for each in wanted) and (gone is None or not re.search(gone, screen)):
                return screen
            if time.monotonic() > until:
                raise AssertionError(f"not on the screen within {within} s: {wanted}\n{screen}")
            _look_again()

    def press_until(self, key: str, *wanted: str, gone: str | None = None) -> str:
        """Press a key until the screen answers it: a dialog drops what is typed in its first 300 ms."""
        until = time.monotonic() + PATIENCE
        while True:
            self.press(key)
            try:
                return self.wait_for(*wanted, gone=gone, within=1.0)
            except AssertionError:
                if time.monotonic() > until:
                    raise

    def wait_until_ended(self) -> None:
        """Wait for the end of the program, which the terminal knows of sooner than it writes it on the screen."""
        until = time.monotonic() + PATIENCE
        while not self.has_ended():
            if time.monotonic() > until:
                raise AssertionError(f"it has not ended within {PATIENCE} s\n{self.screen()}")
            _look_again()

    def resize(self, columns: int, rows: int) -> None:
        """Make the terminal another size."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def has_ended(self) -> bool:
        """Whether the program has ended."""
        return self._tmux("display-message", "-p", "#{pane_dead}").strip() == "1"

    def pid(self) -> int:
        """The process in the terminal."""
        return int(self._tmux("display-message", "-p", "#{pane_pid}"))

    def close_other_panes(self) -> None:
        """Leave nothing but the first pane: that of the program."""
        self._tmux("kill-pane", "-a", "-t", "0")

    def close(self) -> None:
        """End the terminal, as a person who closes its window."""
        subprocess.run(["tmux", "-S", str(self._socket), "kill-server"], capture_output=True, check=False)

    def _tmux(self, *command: str) -> str:
        argv = ["tmux", "-u", "-S", str(self._socket), "-f", "/dev/null", *command]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        return done.stdout


def _look_again() -> None:
    """A screen has no event to wait for: it is looked at twenty times a second."""
    time.sleep(LOOK_EVERY)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Opens terminals, which are closed after the test."""
    if shutil.which("tmux") is None:
        if os.environ.get("CI"):
            pytest.fail("tmux is missing: apt-get install tmux")
        pytest.skip("tmux is missing: apt-get install tmux")
    opened: list[Terminal] = []

    def open_terminal(columns: int = 120, rows: int = 36) -> Terminal:
        made = Terminal(tmp_path / f"tmux-{len(opened)}", columns, rows)
        opened.append(made)
        return made

    yield open_terminal
    for each in opened:
        each.close()


@pytest.fixture
def opsdash() -> list[str]:
    """The program under test."""
    return [sys.executable, "-m", "opsdash"]
