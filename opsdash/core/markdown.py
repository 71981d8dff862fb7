"""Text of other people's making inside the Markdown that opsdash writes: it stays text."""

from __future__ import annotations


def line(text: str) -> str:
    """`text` as one line that is no Markdown and no HTML."""
    return " ".join(text.split()).replace("<", "&lt;").replace("`", "'").replace("[", "\\[")


def cell(text: str) -> str:
    """`text` as a cell of a table."""
    return line(text).replace("|", "\\|")


def fence(text: str, language: str = "") -> list[str]:
    """`text` as a code block whose fence is longer than any in it."""
    longest = max((len(run) for run in _runs_of_ticks(text)), default=0)
    marker = "`" * max(3, longest + 1)
    return [f"{marker}{language}", *text.rstrip("\n").split("\n"), marker]


def _runs_of_ticks(text: str) -> list[str]:
    return "".join(each if each == "`" else " " for each in text).split()
