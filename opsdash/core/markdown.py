"""Other people's text inside the Markdown that opsdash writes: it stays text, and commands stay exact."""

from __future__ import annotations

import re

from opsdash.model.text import clean

LONGEST = 300
"""Characters of a title, a name or a contact that are shown."""

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!&$])")


def text(value: str) -> str:
    """Other people's text on one line, with all that Markdown would obey escaped."""
    return _SPECIAL.sub(r"\\\1", clean(" ".join(value.split()), LONGEST))


def code(value: str) -> str:
    """A name as it is written, in a code span that nothing in it can end."""
    shown = clean(" ".join(value.split()), LONGEST)
    ticks = "`" * (max((len(run) for run in re.findall(r"`+", shown)), default=0) + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}" if shown else ""


def fenced(block: str, language: str = "") -> list[str]:
    """Lines in a fence that nothing in them can close."""
    marks = "`" * max(3, max((len(run) for run in re.findall(r"`{3,}", block)), default=0) + 1)
    return [f"{marks}{language}", *block.rstrip("\n").split("\n"), marks]


def line(value: str) -> str:
    """A sentence on one line that holds no link, no HTML and no code, and reads well unrendered too."""
    return " ".join(value.split()).replace("<", "&lt;").replace("`", "'").replace("[", "\\[")


def cell(value: str) -> str:
    """The same as a cell of a table."""
    return line(value).replace("|", "\\|")
