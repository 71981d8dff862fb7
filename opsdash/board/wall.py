"""The wall: one line per component, drawn on Textual's line API.

Measured: a table widget repaints everything visible for one changed cell (39 to 48 ms at 120x40); drawing only the
changed line keeps 1,000 updates a second on 5,000 rows at 8 % of a core. So the rows live outside the widget, a strip
is kept per row and thrown away when the row's version, the width, the selection or its age's text changes, and a
flush refreshes only those changed lines that can be seen. The order is recomputed at most every 1.5 s, and not while
somebody moves the cursor: a row must not jump away under the finger that is about to press `f`. The cursor follows the
first row until somebody uses it, then it stays on its component, and a minute after the last key it follows again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from opsdash.board.lines import CURSOR, Line, Role, clip, cut, fit, left, right
from opsdash.board.notices import marked
from opsdash.board.state import Sort, needs_attention
from opsdash.board.widgets import board_of, draw
from opsdash.board.words import (
    DRILL_MARK,
    TIER_SHORT,
    ago,
    badge,
    count_of,
    hour,
    latency,
    proof_cell,
    row_sign,
    spark,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo

    from textual.events import Click

    from opsdash.board.state import BoardState
    from opsdash.model.views import WallRow

SORT_EVERY = 1.5
CALM_AFTER_MOVE = 2.0
RELEASE_AFTER = 60.0
SPARK_CELLS = 12


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns a width has room for, and how wide the elastic ones are. 0: left out."""

    status: int
    title: int
    tier: int
    provider: int
    latency: int
    spark: int
    since: int
    proof: int
    next: int


_DROP_IN_THIS_ORDER = ("spark", "tier", "latency", "provider", "proof", "since", "next")
_FIXED = {"tier": 4, "latency": 6, "spark": SPARK_CELLS, "since": 6, "proof": 12}
_LEAST = {"provider": 13, "title": 16, "next": 16}
_PROOF_IN_FULL = 7
"""Cells that the column PROOF needs for all its words; a wall that has so many to spare gives them."""
_WIDE = 40
_MARKS = 4  # cursor, bar, mark, and a gap


def columns(cells: int) -> Columns:
    """The columns for a wall of `cells` cells: narrow ones lose some in a fixed order, wide ones get longer names."""
    kept = {**_FIXED, "provider": _LEAST["provider"], "next": _LEAST["next"]}
    status = 9 if cells >= 40 else 4

    def rest() -> int:
        return cells - _MARKS - status - 1 - sum(size + 1 for size in kept.values()) - _LEAST["title"]

    for name in _DROP_IN_THIS_ORDER:
        if rest() >= 0:
            break
        del kept[name]
    spare = max(0, rest())
    title = _LEAST["title"] + min(18, spare * 3 // 10)
    if "next" not in kept:
        title = max(1, _LEAST["title"] + rest())
    elif "provider" in kept:
        kept["provider"] += min(10, spare * 2 // 10)
        kept["proof"] += _PROOF_IN_FULL if spare >= _WIDE else 0
    if "next" in kept:
        used = sum(size + 1 for size in kept.values()) - kept["next"] - 1
        kept["next"] = cells - _MARKS - status - 1 - title - used - 1
    return Columns(status=status, title=title, **{name: kept.get(name, 0) for name in (*_FIXED, "provider", "next")})


def heading(shape: Columns, sort: Sort) -> Line:
    """The line above the wall; the column that orders it is marked."""
    marks = {
        Sort.NAME: "COMPONENT",
        Sort.TIER: "TIER",
        Sort.LATENCY: "LAT",
        Sort.SINCE: "SINCE",
        Sort.ATTENTION: "STATUS",
    }

    def name(text: str) -> tuple[str, Role]:
        return text, Role.HEADING if marks[sort] == text.strip() else Role.DIM

    line: Line = [
        (" " * _MARKS, Role.DIM),
        name(left("STATUS", shape.status)),
        (" ", Role.DIM),
        name(left("COMPONENT", shape.title)),
    ]
    for label, size, place in (
        ("TIER", shape.tier, left),
        ("ACTIVE +BACKUP", shape.provider, left),
        ("LAT", shape.latency, right),
        ("LAST 12", shape.spark, left),
        ("SINCE", shape.since, right),
        ("PROOF", shape.proof, left),
        ("NEXT", shape.next, left),
    ):
        if size:
            line += [(" ", Role.DIM), name(place(label, size))]
    return line


def row_line(
    row: WallRow, shape: Columns, now: float, *, stale: bool, tz: tzinfo | None = None, drilled: bool = False
) -> Line:
    """One component. drilled: what it shows may be the work of the drill that is running."""
    sign = row_sign(row, stale=stale)
    trouble = needs_attention(row) and not stale
    alert = row["status"] == "down" and not stale
    line: Line = [
        CURSOR,
        ("▌" if trouble else " ", sign.role if sign.role is not Role.OK else Role.DEGRADED),
        (f"{sign.mark} ", sign.role),
        (left(sign.word, shape.status), Role.ALERT if alert else sign.role),
        (" ", Role.TEXT),
    ]
    line += [DRILL_MARK] if drilled else []
    title = shape.title - (len(DRILL_MARK[0]) if drilled else 0)
    line.append((left(row["title"], title), Role.STRONG if trouble else Role.TEXT))
    if shape.tier:
        tier = TIER_SHORT.get(row["tier"], row["tier"])
        line += [(" ", Role.DIM), (left(tier, shape.tier), Role.TEXT if row["tier"] == "essential" else Role.DIM)]
    if shape.provider:
        line += [(" ", Role.DIM), *fit(_provider(row, shape.provider), shape.provider)]
    if shape.latency:
        line += [(" ", Role.DIM), (right(latency(row["latency"]), shape.latency), Role.TEXT)]
    if shape.spark:
        line += [(" ", Role.DIM), *fit(spark(row["spark"], shape.spark), shape.spark)]
    if shape.since:
        line += [(" ", Role.DIM), (right(ago(row["since"], now), shape.since), Role.TEXT if trouble else Role.DIM)]
    if shape.proof:
        text, role = badge(row["badge"]) or proof_cell(row["proof"], row["proof_at"], now, shape.proof)
        line += [(" ", Role.DIM), (left(text, shape.proof), Role.DIM if role is Role.OK else role)]
    if shape.next:
        words = next_words(row, now, tz)
        if not shape.proof and (warning := badge(row["badge"])):
            words = [warning, (" · " if words else "", Role.DIM), *words]
        line += [(" ", Role.DIM), *clip(words, shape.next)]
    return line


_REDUNDANCY: dict[str, tuple[str, Role]] = {
    "ready": (" +ok", Role.DIM),
    "lost": (" +LOST", Role.DEGRADED),
    "unknown": (" +?", Role.UNKNOWN),
}


def _provider(row: WallRow, cells: int) -> Line:
    """Who serves, and whether somebody else could."""
    after, role = _REDUNDANCY.get(row["redundancy"], ("", Role.DIM))
    if row["active"] is None:
        return [("—", Role.DIM)] if row["primary"] is None else [("not known", Role.UNKNOWN), (after, role)]
    name = ("~" if row["on_backup"] else "") + row["active"]
    return [(cut(name, cells - len(after)), Role.BACKUP if row["on_backup"] else Role.TEXT), (after, role)]


def hint(row: WallRow) -> Line:
    """The key for the response, and what it does."""
    key, _, words = row["hint"].partition(" ")
    if len(key) == 1:
        return [(key, Role.KEY), (f" {words}" if words else "", Role.STRONG)]
    return [(row["hint"], Role.STRONG)] if row["hint"] else []


def without(row: WallRow) -> Line:
    """What users do without while a degraded mode is in force."""
    mode = f"mode {row['mode']}"
    if not row["dropped"]:
        return [(mode, Role.DEGRADED)]
    return [(f"without {', '.join(row['dropped'])}", Role.DEGRADED), (f" ({mode})", Role.DIM)]


def next_words(row: WallRow, now: float, tz: tzinfo | None = None) -> Line:
    """What to do next, and about what: the most urgent first."""
    parts: list[Line] = []
    if row["switch"] is not None:
        parts.append([(f"switch {row['switch'].replace('_', ' ')}", Role.BACKUP), (" · ", Role.DIM), ("w", Role.KEY)])
    elif row["failure"]:
        parts.append([*hint(row), (" · " if row["hint"] else "", Role.DIM), (row["failure"], Role.TEXT)])
    elif row["hint"]:
        parts.append(hint(row))
    if not row["covered"]:
        parts.append([("nobody covers", Role.DOWN)])
    if row["mode"]:
        parts.append(without(row))
    parts.extend([(f"review overdue: {thing}", Role.DEGRADED)] for thing in row["overdue"])
    if row["explained_by"] and not row["held"]:
        parts.append([("because of " + ", ".join(row["explained_by"]), Role.DIM)])
    if row["held"]:
        parts.append([(f"alarm held: {row['held']}", Role.DIM)])
    if row["flapping"] is not None:
        parts.append([(f"flapping {row['flapping']} %", Role.DEGRADED)])
    parts.extend([(f"{each['kind']} until {hour(each['until'], tz, now)}", Role.BACKUP)] for each in row["windows"])
    if row["redundancy"] == "lost" and not row["failure"]:
        parts.append([("no backup ready", Role.DEGRADED)])
    if row["problems"]:
        parts.append([(count_of(row["problems"], "problem") + " in its file", Role.DEGRADED)])
    line: Line = []
    for part in parts:
        line += [(" · ", Role.DIM), *part] if line else part
    return line


class Wall(ScrollView, can_focus=True, inherit_bindings=False):
    """The rows of a `BoardState`, in an order that does not run away."""

    class Moved(Message):
        """Another row is under the cursor."""

    class Opened(Message):
        """A row was clicked a second time."""

    def __init__(self, state: BoardState, clock: Callable[[], float]) -> None:
        super().__init__(id="wall")
        self.state = state
        self.clock = clock
        self.order: list[str] = []
        self.selected: str | None = None
        self.sort = Sort.ATTENTION
        self.test: Callable[[WallRow], bool] = lambda _: True
        self.shape = columns(80)
        self._places: dict[str, int] = {}
        self._touched: float | None = None
        self._sorted_at = float("-inf")
        self._unsorted = True
        self._stale = True
        self._drilled: frozenset[str] = frozenset()
        self._strips: dict[str, tuple[tuple[Any, ...], Strip]] = {}

    # --- order ---------------------------------------------------------------------------------------------------

    def flush(self, changed: set[str], *, structure: bool = False) -> None:
        """Show what has changed: sort if it is time, refresh the changed lines that can be seen."""
        stale = self.state.stale(self.clock())
        drilled = marked(self.state)
        changed, self._drilled = changed | (drilled ^ self._drilled), drilled
        self._unsorted = self._unsorted or bool(changed)
        if structure or (self._unsorted and self._may_sort()):
            self.resort()
        elif stale != self._stale:
            self.refresh()
        else:
            self._refresh_rows(changed)
        self._stale = stale

    def _may_sort(self) -> bool:
        now = self.clock()
        calm = self._touched is None or now - self._touched >= CALM_AFTER_MOVE
        return calm and now - self._sorted_at >= SORT_EVERY

    def resort(self) -> None:
        """Put the rows in order now. The cursor stays on its component; untouched, it stays on the first row."""
        if self._touched is not None and self.clock() - self._touched > RELEASE_AFTER:
            self._touched = None
        order = self.state.order(self.sort, self.test)
        self._sorted_at, self._unsorted = self.clock(), False
        self._stale = self.state.stale(self._sorted_at)
        place = self._places.get(self.selected or "", 0)
        moved = order != self.order
        self.order = order
        self._places = {component: number for number, component in enumerate(order)}
        before = self.selected
        if not order:
            self.selected = None
        elif self.selected not in self._places:
            self.selected = order[min(place, len(order) - 1)]
        if self._touched is None and order:
            self.selected = order[0]
        if moved:
            self.virtual_size = Size(self.scrollable_content_region.width, len(order))
            self._keep_in_sight()
        for gone in set(self._strips) - set(self.state.rows):
            del self._strips[gone]
        self.refresh()
        if self.selected != before:
            self.post_message(self.Moved())

    def _refresh_rows(self, changed: set[str]) -> None:
        top = self.scroll_offset.y
        for number in range(top, min(len(self.order), top + self.size.height)):
            if self.order[number] in changed:
                self.refresh_line(number)

    def tick(self) -> None:
        """Once a second: ages have grown, and it may be time to sort."""
        if self._unsorted and self._may_sort():
            self.resort()
            return
        now, stale = self.state.now(self.clock()), self.state.stale(self.clock())
        if stale != self._stale:
            self._stale = stale
            self.refresh()
            return
        top = self.scroll_offset.y
        for number in range(top, min(len(self.order), top + self.size.height)):
            component = self.order[number]
            kept, row = self._strips.get(component), self.state.rows.get(component)
            if kept is None or row is None or kept[0][-1] != ago(row["since"], now):
                self.refresh_line(number)

    # --- cursor --------------------------------------------------------------------------------------------------

    def move(self, by: int) -> None:
        """Move the cursor by so many rows."""
        if self.order:
            place = self._places.get(self.selected or "", 0) + by
            self.select(self.order[max(0, min(len(self.order) - 1, place))])

    def select(self, component: str) -> None:
        """Put the cursor on a component; from now on it stays there, whatever comes first."""
        self._touched = self.clock()
        if component not in self._places:
            return
        before, self.selected = self.selected, component
        for row in (before, component):
            if row in self._places:
                self.refresh_line(self._places[row])
        self._keep_in_sight()
        self.post_message(self.Moved())

    def hold(self) -> None:
        """Somebody is about to do something with the row under the cursor: it is not to change by itself."""
        self._touched = self.clock()

    def release(self) -> None:
        """Let the cursor go to the first row, and follow it again."""
        self._touched = None
        self.resort()
        self._keep_in_sight()

    def _keep_in_sight(self) -> None:
        place = self._places.get(self.selected or "")
        height = self.size.height
        if place is None or not height:
            return
        top = self.scroll_offset.y
        if place < top:
            self.scroll_to(y=place, animate=False, immediate=True)
        elif place >= top + height:
            self.scroll_to(y=place - height + 1, animate=False, immediate=True)

    def on_click(self, event: Click) -> None:
        """A click selects, a click on the selected row opens."""
        number = event.y + self.scroll_offset.y
        if number < len(self.order):
            if self.order[number] == self.selected:
                self.post_message(self.Opened())
            self.select(self.order[number])

    # --- drawing -------------------------------------------------------------------------------------------------

    def forget_colours(self) -> None:
        """Draw everything again."""
        self._strips.clear()
        self.refresh()

    def on_resize(self) -> None:
        self.shape = columns(self.scrollable_content_region.width)
        self.virtual_size = Size(self.scrollable_content_region.width, len(self.order))
        self._strips.clear()
        self._keep_in_sight()

    def render_line(self, y: int) -> Strip:
        palette = board_of(self).palette
        cells = self.scrollable_content_region.width
        number = y + self.scroll_offset.y
        row = self.state.rows.get(self.order[number]) if number < len(self.order) else None
        if row is None:
            return Strip.blank(cells, palette.style(Role.TEXT))
        mono = self.clock()
        now, stale = self.state.now(mono), self.state.stale(mono)
        component = row["id"]
        chosen, drilled = component == self.selected, component in marked(self.state)
        key = (self.state.versions[component], cells, chosen, stale, drilled, ago(row["since"], now))
        kept = self._strips.get(component)
        if kept is not None and kept[0] == key:
            return kept[1]
        line = row_line(row, self.shape, now, stale=stale, tz=board_of(self).tz, drilled=drilled)
        strip = draw(fit(clip(line, cells), cells), palette, selected=chosen, stale=stale)
        self._strips[component] = (key, strip)
        return strip
