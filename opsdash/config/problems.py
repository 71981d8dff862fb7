"""What is wrong in a file: where exactly, and what to do about it.

Problems are collected and shown all at once, because a file that is repaired one message at a time is
repaired at 3 a.m. The nearest valid name is named wherever a name was misspelt.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsdash.model.runbook import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opsdash.model.views import ProblemView

KeyPath = tuple[str | int, ...]
"""Where in a file: the keys and list indexes that lead to a value."""

NEAR = 0.6
"""Similarity (difflib) from which on a name counts as a misspelling of another one."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    file: relative to the workspace. line: from 1; 0 where none can be named. path: the keys that lead there.
    hint: what would be right. severity: an error switches something off, a warning does not. part: what is
    switched off by it, as a path in the file or in words; None: nothing is. code: the rule of a runbook that is broken.
    column, end_column: from where in the line up to where, from 1, the last one excluded; 0: not known.
    """

    file: str
    line: int
    path: KeyPath
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR
    part: str | None = None
    code: str = ""
    column: int = 0
    end_column: int = 0

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        key = f"{dotted(self.path)}: " if self.path else ""
        hint = f"; {self.hint}" if self.hint else ""
        warning = "warning: " if self.severity is Severity.WARNING else ""
        return f"{where}: {warning}{key}{self.message}{hint}"

    def view(self) -> ProblemView:
        """The problem for a client."""
        return {
            "file": self.file,
            "line": self.line,
            "path": dotted(self.path),
            "message": self.message,
            "hint": self.hint,
            "severity": self.severity.value,
        }

    @property
    def reason(self) -> str:
        """The problem in one line, without its file: what a dimmed key shows."""
        hint = f"; {self.hint}" if self.hint else ""
        return f"line {self.line}: {self.message}{hint}" if self.line else f"{self.message}{hint}"


def ordered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Problems by file and line, each once."""
    unique = {(each.file, each.line, each.path, each.message): each for each in problems}
    return tuple(sorted(unique.values(), key=lambda each: (each.file, each.line, dotted(each.path), each.message)))


def dotted(path: KeyPath) -> str:
    """A key path as people read it: `providers.ses.host`, `expect[1]`."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """A hint that names the nearest of `names`, or all of them when they are few, or nothing."""
    known = list(dict.fromkeys(names))
    near = nearest(word, known)
    if near is not None:
        return f'did you mean "{near}"?'
    return f"there are: {', '.join(known)}" if 0 < len(known) <= 12 else ""


def nearest(word: str, names: Sequence[str]) -> str | None:
    """The one of `names` that `word` probably was meant to be."""
    found = difflib.get_close_matches(word, names, n=1, cutoff=NEAR)
    return found[0] if found else None
