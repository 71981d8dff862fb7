"""The few widgets that draw lines: `Strips` (fixed), `Paper` (scrolls, has a cursor), `KeyBar`, and `Field` (typing).

All of them draw through Textual's line API. None of them takes a string that Textual would read as markup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from rich.segment import Segment
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input

from opsdash.board.lines import Line, Role, Row, clip, fit, width
from opsdash.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.events import Click, Key, Paste

    from opsdash.board.app import BoardApp
    from opsdash.board.theme import Palette


def board_of(node: Widget) -> BoardApp:
    """The app that a widget or screen belongs to."""
    return cast("BoardApp", node.app)


def draw(
    line: Line, palette: Palette, *, selected: bool = False, stale: bool = False, reach: int | None = None
) -> Strip:
    """A line as Textual draws it. `reach`: how many spans show that it is selected, None for all."""
    return Strip(
        [
            Segment(
                "▸" if selected and role is Role.CURSOR else text,
                palette.style(role, selected=selected and (reach is None or number < reach), stale=stale),
            )
            for number, (text, role) in enumerate(line)
        ]
    )


class Strips(Widget):
    """Some lines that do not scroll. As high as there are lines."""

    def __init__(self, *, id: str | None = None, role: Role = Role.TEXT) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._lines: list[Line] = []
        self._role = role
        self._stale = False

    def show(self, lines: Sequence[Line], *, stale: bool = False) -> None:
        """Show these lines."""
        taller = len(lines) != len(self._lines)
        if not taller and stale == self._stale and list(lines) == self._lines:
            return
        self._lines, self._stale = list(lines), stale
        self.refresh(layout=taller)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002 - the interface
        return len(self._lines)

    def render_line(self, y: int) -> Strip:
        palette = board_of(self).palette
        line = self._lines[y] if y < len(self._lines) else []
        cells = self.size.width
        return draw(fit(clip(line, cells), cells, self._role), palette, stale=self._stale)


class KeyBar(Strips):
    """The last line of a screen: what can be pressed now. What is refused stays visible, dimmed."""

    def __init__(self) -> None:
        super().__init__(role=Role.BAR)

    def keys(self, hints: Sequence[tuple[str, str, bool]], end: Sequence[tuple[str, str, bool]] = ()) -> None:
        """Show (key, label, works) triples; `end` keeps its place at the right edge."""
        last = _keys(end)
        room = max(0, self.size.width - width(last))
        line: Line = []
        for hint in hints:
            piece = _keys([hint])
            if width(line) + width(piece) > room:
                break
            line += piece
        self.show([[*fit(line, room, Role.BAR), *last]])


def _keys(hints: Sequence[tuple[str, str, bool]]) -> Line:
    line: Line = []
    for key, label, works in hints:
        line.append((f" {key}", Role.BAR_KEY if works else Role.BAR_DIM))
        line.append((f" {label} ", Role.BAR if works else Role.BAR_DIM))
    return line


class Paper(ScrollView, can_focus=True, inherit_bindings=False):
    """Rows that scroll. The cursor goes over the rows that have an item; without any, the page scrolls."""

    class Moved(Message):
        """The cursor stands on another item."""

        def __init__(self, item: str) -> None:
            super().__init__()
            self.item = item

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._rows: list[Row] = []
        self._strips: list[Strip | None] = []
        self._stale = False
        self.cursor = ""

    @property
    def rows(self) -> list[Row]:
        """What is shown."""
        return self._rows

    @property
    def items(self) -> list[str]:
        """What the cursor can stand on, in order."""
        return list(dict.fromkeys(row.item for row in self._rows if row.item))

    def show(self, rows: Sequence[Row], *, stale: bool = False) -> None:
        """Show these rows. The cursor stays on its item, or goes to the nearest place if that is gone."""
        before = self.items
        resized = len(rows) != len(self._rows)
        self._rows, self._stale = list(rows), stale
        self.forget_colours()
        items = self.items
        if self.cursor not in items:
            place = before.index(self.cursor) if self.cursor in before else 0
            self.cursor = items[min(place, len(items) - 1)] if items else ""
        self.virtual_size = Size(self.scrollable_content_region.width, len(rows))
        self.refresh(layout=resized)

    def on_click(self, event: Click) -> None:
        """A click puts the cursor there."""
        number = event.y + self.scroll_offset.y
        if number < len(self._rows) and self._rows[number].item:
            self.select(self._rows[number].item)

    def forget_colours(self) -> None:
        """Draw everything again: the theme or the content is another one."""
        self._strips = [None] * len(self._rows)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002 - the interface
        return len(self._rows)

    def on_resize(self) -> None:
        self.forget_colours()
        self.virtual_size = Size(self.scrollable_content_region.width, len(self._rows))

    def render_line(self, y: int) -> Strip:
        number = y + self.scroll_offset.y
        palette = board_of(self).palette
        cells = self.scrollable_content_region.width
        if number >= len(self._rows):
            return Strip.blank(cells, palette.style(Role.TEXT))
        strip = self._strips[number]
        if strip is None:
            row = self._rows[number]
            selected = bool(row.item) and row.item == self.cursor and self.has_cursor
            strip = draw(
                fit(clip(row.line, cells), cells), palette, selected=selected, stale=self._stale, reach=row.reach
            )
            self._strips[number] = strip
        return strip

    @property
    def has_cursor(self) -> bool:
        """Whether there is something to choose from."""
        return bool(self.cursor)

    def select(self, item: str) -> None:
        """Put the cursor on `item`."""
        if item != self.cursor and item in self.items:
            self.cursor = item
            self.forget_colours()
            self.refresh()
            self.post_message(self.Moved(item))
        self._keep_in_sight()

    def _keep_in_sight(self) -> None:
        places = [number for number, row in enumerate(self._rows) if row.item and row.item == self.cursor]
        if not places:
            return
        top, height = self.scroll_offset.y, max(1, self.size.height)
        if places[0] - 1 < top:
            self.scroll_to(y=max(0, places[0] - 1), animate=False, immediate=True)
        elif places[-1] + 2 > top + height:
            self.scroll_to(y=min(places[0], places[-1] + 2 - height), animate=False, immediate=True)

    def move(self, by: int) -> None:
        """Move the cursor by so many items; without items, scroll by so many rows."""
        items = self.items
        if not items:
            self.scroll_to(y=self.scroll_offset.y + by, animate=False, immediate=True)
            return
        place = items.index(self.cursor) if self.cursor in items else 0
        target = place + by
        if (target < 0 or target >= len(items)) and abs(by) == 1:
            self.scroll_to(y=self.scroll_offset.y + 3 * by, animate=False, immediate=True)
            return
        self.select(items[max(0, min(len(items) - 1, target))])

    def page(self, by: int) -> None:
        """Scroll by pages."""
        rows = by * max(1, self.size.height - 2)
        if not self.items:
            self.move(rows)
            return
        self.scroll_to(y=self.scroll_offset.y + rows, animate=False, immediate=True)
        top, height = self.scroll_offset.y, self.size.height
        seen = [row.item for row in self._rows[top : top + height] if row.item]
        if seen and self.cursor not in seen:
            self.cursor = seen[0] if by > 0 else seen[-1]
            self.forget_colours()
            self.refresh()
            self.post_message(self.Moved(self.cursor))

    def jump(self, *, end: bool) -> None:
        """Go to the first or the last item and row."""
        if self.items:
            self.select(self.items[-1 if end else 0])
        self.scroll_to(y=len(self._rows) if end else 0, animate=False, immediate=True)


class Field(Input):
    """A line to type into. On a dialog it drops what is typed before anybody could have read the question."""

    def _dropped(self, event: Key | Paste) -> bool:
        armed = getattr(self.screen, "armed", None)
        return armed is not None and not armed(event)

    def _on_key(self, event: Key) -> None:  # type: ignore[override] # Textual calls this and then Input's own
        if self._dropped(event):
            event.stop()
            event.prevent_default()

    def _on_paste(self, event: Paste) -> None:
        if self._dropped(event):
            event.stop()
            event.prevent_default()
        event.text = clean(event.text.split("\n", 1)[0], 400)
