"""Lines: text with roles, laid out in terminal cells. Pure; a role becomes a colour only in `widgets.py`.

A `Line` is a list of (text, role). Widths are counted in cells, since a Japanese character is two of them. A `Row` is
a line of a page; rows with an `item` can be selected by the cursor.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len, set_cell_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Role(Enum):
    """What a piece of text is. Roles of status are always accompanied by a word and a mark, never alone."""

    TEXT = "text"
    DIM = "dim"
    STRONG = "strong"
    HEADING = "heading"
    BORDER = "border"
    KEY = "key"
    CODE = "code"
    BAR = "bar"
    BAR_DIM = "bar_dim"
    BAR_KEY = "bar_key"
    CURSOR = "cursor"
    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"
    ALERT = "alert"
    UNKNOWN = "unknown"
    BACKUP = "backup"
    STALE = "stale"


Span = tuple[str, Role]
Line = list[Span]

CURSOR: Span = (" ", Role.CURSOR)
"""A cell that shows the cursor when its row is selected."""


class Row(NamedTuple):
    """A line of a page.

    item: what is selected when the cursor stands on it, "" when it cannot stand there.  reach: how many of the spans
    show that it is selected, None for all.
    """

    line: Line
    item: str = ""
    reach: int | None = None


def width(line: Line) -> int:
    """Cells that a line takes."""
    return sum(cell_len(text) for text, _ in line)


def cut(text: str, cells: int) -> str:
    """`text` in at most `cells` cells, with an ellipsis when something is missing."""
    if cells <= 0:
        return ""
    if cell_len(text) <= cells:
        return text
    return set_cell_size(text, cells - 1).rstrip() + "…"


def left(text: str, cells: int) -> str:
    """`text` in exactly `cells` cells, filled on the right."""
    return set_cell_size(cut(text, cells), max(0, cells))


def right(text: str, cells: int) -> str:
    """`text` in exactly `cells` cells, filled on the left."""
    short = cut(text, cells)
    return " " * (cells - cell_len(short)) + short


def clip(line: Line, cells: int) -> Line:
    """The first `cells` cells of a line, with an ellipsis when something is missing."""
    if width(line) <= cells:
        return line
    clipped: Line = []
    rest = cells
    for text, role in line:
        size = cell_len(text)
        if size >= rest:
            clipped.append((cut(text, rest) if size > rest else cut(text + " ", rest), role))
            break
        clipped.append((text, role))
        rest -= size
    return clipped


def fit(line: Line, cells: int, role: Role = Role.TEXT) -> Line:
    """A line of exactly `cells` cells."""
    clipped = clip(line, cells)
    missing = cells - width(clipped)
    return [*clipped, (" " * missing, role)] if missing > 0 else clipped


def spread(start: Line, end: Line, cells: int, role: Role = Role.TEXT) -> Line:
    """`start` at the left edge, `end` at the right one; `start` gives way, and a gap stays between them."""
    room = max(0, cells - width(end))
    return clip([*fit(clip(start, max(0, room - 1)), room, role), *end], cells)


def wrap(text: str, cells: int) -> list[str]:
    """`text` in lines of at most `cells` cells, broken between words where possible; line ends are kept."""
    if cells <= 0:
        return []
    lines: list[str] = []
    for paragraph in text.split("\n"):
        indent = paragraph[: len(paragraph) - len(paragraph.lstrip())][: cells // 2]
        current = indent
        for word in re.findall(r"\S+\s*", paragraph):
            bare = word.rstrip()
            if current.strip() and cell_len(current + bare) > cells:
                lines.append(current.rstrip())
                current = indent
            while cell_len(current + bare) > cells:
                head = set_cell_size(current + bare, cells).rstrip() or (current + word)[:1]
                lines.append(head)
                word = (current + word)[len(head) :]  # noqa: PLW2901 - what is left of a word too long for a line
                bare = word.rstrip()
                current = ""
            current += word
        lines.append(current.rstrip())
    return lines


def paragraphs(text: str, cells: int, role: Role = Role.TEXT) -> list[Row]:
    """`text`, wrapped, as rows."""
    return [Row([(line, role)]) for line in wrap(text, cells)]


_INLINE = re.compile(r"(`[^`\n]+`|\*\*[^*\n]+\*\*)")
_LINK = re.compile(r"(?P<code>`[^`\n]+`)|\[(?P<title>[^\]\n]+)\]\((?P<target>[^()\s]+)\)")


def _read_link(found: re.Match[str]) -> str:
    """A link as one reads it: an address is worth typing, a place in the runbooks is its title."""
    if found["code"]:
        return found["code"]
    return f"{found['title']} ({found['target']})" if "://" in found["target"] else found["title"]


def prose(text: str, cells: int) -> list[Line]:
    """Markdown's prose, as much of it as a terminal needs: headings, bullets, bold, code and links; wrapped."""
    lines: list[Line] = []
    for raw in wrap(_LINK.sub(_read_link, text.strip("\n")), cells):
        if raw.lstrip().startswith("#"):
            lines.append([(raw.lstrip("# "), Role.STRONG)])
            continue
        bulleted = re.sub(r"^(\s*)[-*] ", r"\1• ", raw)
        line: Line = []
        for part in _INLINE.split(bulleted):
            if part.startswith("`") and part.endswith("`") and len(part) > 2:
                line.append((part[1:-1], Role.CODE))
            elif part.startswith("**") and len(part) > 4:
                line.append((part[2:-2], Role.STRONG))
            elif part:
                line.append((part, Role.TEXT))
        lines.append(line)
    return lines


def box(title: Line, rows: Sequence[Row], cells: int, *, role: Role = Role.BORDER, height: int = 0) -> list[Row]:
    """`rows` in a frame with a title, `cells` wide and at least `height` rows high."""
    inner = cells - 4
    if inner < 4:
        return list(rows)
    label = clip(title, inner - 2)
    dashes = cells - 5 - width(label)
    framed = [Row([("╭─ ", role), *label, (" " + "─" * dashes + "╮", role)])]
    padding = [Row([])] * max(0, height - 2 - len(rows))
    framed.extend(Row([("│ ", role), *fit(row.line, inner), (" │", role)], row.item) for row in [*rows, *padding])
    framed.append(Row([("╰" + "─" * (cells - 2) + "╯", role)]))
    return framed


def beside(first: Sequence[Row], second: Sequence[Row], cells: int) -> list[Row]:
    """Two columns; the first is `cells` wide and keeps its items, the second is only looked at."""
    joined: list[Row] = []
    for number in range(max(len(first), len(second))):
        one = first[number] if number < len(first) else Row([])
        two = second[number] if number < len(second) else Row([])
        start = fit(one.line, cells)
        joined.append(Row([*start, *two.line], one.item, len(start)))
    return joined


def rows(lines: Iterable[Line]) -> list[Row]:
    """Lines that cannot be selected."""
    return [Row(line) for line in lines]


def plain(line: Line) -> str:
    """The text of a line."""
    return "".join(text for text, _ in line)
