"""Printing: one door for everything that leaves, so that nothing from outside commands a terminal.

Standard output is data, standard error is narration. A line is made of parts, each a text or a `Painted` one; texts are
cleaned on their way out and only then coloured, so an escape sequence in an error message of a monitored server cannot
get through, whoever forgot about it. Colour is for terminals, and never with `NO_COLOR` (no-color.org).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, TextIO

from opsdash.model.text import clean
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDEST = 16 * 1024
"""Characters of one line at most."""


class Role(Enum):
    """What a text means; its colour follows from that (SGR parameters)."""

    PLAIN = ""
    OK = "32"
    DOWN = "1;31"
    DEGRADED = "33"
    UNKNOWN = "35"
    BUSY = "36"
    DIM = "2"
    BOLD = "1"


@dataclass(frozen=True, slots=True)
class Painted:
    """A text with a role."""

    text: str
    role: Role

    def __len__(self) -> int:
        return len(self.text)


Part = str | Painted
Cell = Part

STATUS: dict[str, Painted] = {
    "ok": Painted("✓ ok", Role.OK),
    "degraded": Painted("! DEGRADED", Role.DEGRADED),
    "down": Painted("✗ DOWN", Role.DOWN),
    "unknown": Painted("? UNKNOWN", Role.UNKNOWN),
    "paused": Painted("‖ PAUSED", Role.DIM),
}
RESULT: dict[str, Painted] = {
    "pass": Painted("✓ pass", Role.OK),
    "warn": Painted("! warn", Role.DEGRADED),
    "fail": Painted("✗ FAIL", Role.DOWN),
    "unknown": Painted("? not known", Role.UNKNOWN),
}
TRUTH: dict[str, Painted] = {
    "true": Painted("✓ true", Role.OK),
    "false": Painted("✗ FALSE", Role.DOWN),
    "unknown": Painted("? not known", Role.UNKNOWN),
    "not declared": Painted("- not declared", Role.DIM),
    "stateless": Painted("- stateless", Role.DIM),
}


def sign(table: dict[str, Painted], word: str) -> Painted:
    """How a word of a view is shown; one that this version does not know is never shown as good."""
    return table.get(word) or Painted(f"? {word}", Role.UNKNOWN)


def dim(text: str) -> Painted:
    """A text that matters less."""
    return Painted(text, Role.DIM)


def bold(text: str) -> Painted:
    """A heading."""
    return Painted(text, Role.BOLD)


def out(*parts: Part) -> None:
    """A line of data, on standard output."""
    print(render(parts, coloured(sys.stdout)), flush=True)


def say(*parts: Part) -> None:
    """A line of narration, on standard error. Where nobody hears it any more, that is no error."""
    with contextlib.suppress(OSError):
        print(render(parts, coloured(sys.stderr)), file=sys.stderr, flush=True)


def out_lines(text: str) -> None:
    """A text of several lines, on standard output."""
    for line in text.splitlines():
        out(line.expandtabs(4))


def out_json(value: Any) -> None:
    """An object on one line, on standard output. ASCII: what comes from outside stands as an escape."""
    print(json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace("\x7f", "\\u007f"), flush=True)


def table(rows: Iterable[Sequence[Cell]], *, to_stderr: bool = False, indent: str = "") -> None:
    """Rows with their cells below each other."""
    lines = [list(row) for row in rows]
    columns = max((len(row) for row in lines), default=0)
    widths = [max((len(row[index]) for row in lines if index < len(row)), default=0) for index in range(columns)]
    for row in lines:
        parts: list[Part] = [indent]
        for index, cell in enumerate(row):
            padding = "" if index == len(row) - 1 else " " * (widths[index] - len(cell) + 2)
            parts += [cell, padding]
        (say if to_stderr else out)(*parts)


def render(parts: Iterable[Part], colour: bool) -> str:
    """The line as it is written."""
    return "".join(_part(part, colour) for part in parts).rstrip(" ")


def _part(part: Part, colour: bool) -> str:
    if isinstance(part, str):
        return clean(part, WIDEST)
    text = clean(part.text, WIDEST)
    return f"\x1b[{part.role.value}m{text}\x1b[0m" if colour and part.role.value else text


def coloured(stream: TextIO) -> bool:
    """Whether what is written to `stream` may carry colour."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") not in {"", "dumb"}


def can_ask() -> bool:
    """Whether a person can be asked: answers come from standard input, questions go to standard error."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def why_no_board() -> str:
    """Why no board can be drawn here, "" where one can. It is drawn on standard error, and reads standard input."""
    streams = {"standard input": sys.stdin, "standard output": sys.stdout, "standard error": sys.stderr}
    for name, stream in streams.items():
        if stream is None or not stream.isatty():
            return f"{name} is no terminal"
    kind = os.environ.get("TERM", "")
    return f"TERM={kind} is a terminal that moves no cursor" if kind in {"", "dumb"} else ""


def ask(*question: Part) -> str:
    """What a person answers, "" for nothing or the end of the input. What was typed before the question is dropped."""
    import termios

    termios.tcflush(sys.stdin, termios.TCIFLUSH)
    print(render(question, coloured(sys.stderr)) + " ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def width() -> int:
    """Columns of the terminal, a readable number where there is none."""
    import shutil

    return min(shutil.get_terminal_size((100, 24)).columns, 120)


def never_fail_on_a_character() -> None:
    """A terminal that cannot show `✓` shows `?` instead of a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


# --- values in words ---------------------------------------------------------------------------------------------


def ago(then: float | None, now: float) -> str:
    """How long ago something was."""
    return "—" if not then else format_duration(max(0.0, now - then))


def moment(at: float | None) -> str:
    """A time of this machine's zone."""
    if at is None:
        return "—"
    try:
        return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return "—"


def short_moment(at: float, now: float) -> str:
    """The same to the minute, and without the date where it is that of `now`."""
    text, today = moment(at)[:-3], moment(now)[:10]
    return text.removeprefix(f"{today} ") or "—"


def latency(seconds: float | None) -> str:
    """A latency."""
    if seconds is None:
        return "—"
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.1f}s"
