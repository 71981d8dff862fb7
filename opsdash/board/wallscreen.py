"""The first screen: head, wall, what just happened, and one line on what to do about the row under the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from opsdash.board.component_keys import ComponentKeys
from opsdash.board.keymap import Scope, bindings
from opsdash.board.lines import Line, Role, Row, beside, box, clip, fit, plain
from opsdash.board.notices import notices
from opsdash.board.page import Page
from opsdash.board.state import FILTER_HELP, Sort, needs_attention, row_filter
from opsdash.board.wall import Wall, heading, hint, without
from opsdash.board.widgets import Strips
from opsdash.board.words import ago, clock_time, proof
from opsdash.model.text import clean

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.events import Key

    from opsdash.board.state import BoardState, Changes
    from opsdash.model.views import WallRow

DESK_ROWS = 7

UNTOLD = frozenset({"message_trying", "message_queued"})
"""Records that only begin what another one ends; the journal screen has them."""


class WallScreen(ComponentKeys, Page):
    """All components."""

    scopes = (Scope.WALL,)
    has_filter = True
    AUTO_FOCUS = "Wall"
    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.WALL))

    def __init__(self) -> None:
        super().__init__()
        self.faults_only = False
        self.held = False
        self._told = False

    def middle(self) -> ComposeResult:
        yield Strips(id="columns")
        yield Wall(self.board.state, self.board.clock)
        yield Strips(id="desk")
        yield Strips(id="note")

    @property
    def wall(self) -> Wall:
        """The rows."""
        return self.query_one(Wall)

    @property
    def component(self) -> str | None:
        """What the keys are about: the row under the cursor."""
        return self.wall.selected

    async def load(self) -> None:
        """What happened before the board was opened."""
        if not self._told:
            self.state.remember(await self.board.session.journal(limit=DESK_ROWS))
            self._told = True

    # --- drawing -------------------------------------------------------------------------------------------------

    def heard(self, changes: Changes) -> None:
        if not self.held:
            self.wall.flush(changes.rows, structure=changes.structure)
            if changes.summary or changes.rows:
                self.draw_frame()

    def tick(self) -> None:
        if not self.held:
            self.wall.tick()
        self.draw_frame()

    def draw(self) -> None:
        if self.drawable:
            self.wall.resort()
            self.draw_frame()

    def draw_frame(self) -> None:
        """Everything but the rows."""
        self.draw_head()
        self.draw_keys()
        size, stale = self.board.size, self.state.stale(self.board.clock())
        wall = self.wall
        self.query_one("#columns", Strips).show([heading(wall.shape, wall.sort)] if size.height >= 6 else [])
        room = size.height - 8 - len(notices(self.state, self.board.clock(), size.width)) - len(wall.order)
        roomy = size.width >= 80 and size.height >= 28 and room >= 0
        self.query_one("#desk", Strips).show(self._desk(size.width) if roomy else [], stale=stale)
        self.query_one("#note", Strips).show(self._note(size.width, size.height), stale=stale)

    def place(self) -> Line:
        line: Line = [("wall", Role.STRONG), (f"   order: {self.wall.sort.value}", Role.DIM)]
        shown, all_of = len(self.wall.order), len(self.state.rows)
        if self.faults_only:
            line.append(("   faults only", Role.DEGRADED))
        if self.filter:
            line += [("   filter: ", Role.DIM), (clean(self.filter, 60), Role.DEGRADED)]
        line.append((f"   showing {shown} of {all_of}", Role.DEGRADED if shown < all_of else Role.DIM))
        if self.held:
            line.append(("   HELD: p goes on", Role.ALERT))
        return line

    def _desk(self, cells: int) -> list[Line]:
        half = cells // 2
        now, tz = self.state.now(self.board.clock()), self.board.tz
        recent: list[Row] = [
            Row(
                [
                    (clock_time(record["at"], tz), Role.DIM),
                    (f" {record['who']}  ", Role.DIM),
                    (record["text"], Role.TEXT),
                ]
            )
            for record in [each for each in self.state.recent if each["type"] not in UNTOLD][-(DESK_ROWS - 2) :]
        ]
        recent.reverse()
        left = box([("needs a person", Role.DIM)], open_now(self.state, now)[: DESK_ROWS - 2], half, height=DESK_ROWS)
        right = box([("just happened", Role.DIM)], recent, cells - half, height=DESK_ROWS)
        return [row.line for row in beside(left, right, half)]

    def _note(self, cells: int, height: int) -> list[Line]:
        if self.query_one("#filter").has_class("shown"):
            return [[(f" filter: {FILTER_HELP}   enter keeps it, esc clears it", Role.DIM)]]
        row = self.state.rows.get(self.component or "")
        if row is None:
            return [[(" Nothing matches. esc shows everything again.", Role.DIM)]] if self.state.rows else [[]]
        if height < 9:
            return []
        first, second = note_lines(row, self.state.now(self.board.clock()))
        return [fit(first, cells), fit(second, cells)] if height >= 20 else [clip([*first, *second], cells)]

    def on_key(self, event: Key) -> None:  # noqa: ARG002 - Textual calls this, and that of a page
        """Whoever presses keys means the row under the cursor."""
        self.wall.hold()

    def on_wall_moved(self) -> None:
        self.draw_frame()

    def on_wall_opened(self) -> None:
        self.action_open()

    def resting_focus(self) -> Wall:
        return self.wall

    def forget_colours(self) -> None:
        super().forget_colours()
        self.wall.forget_colours()

    def offers(self, action: str) -> bool:
        summary = self.state.summary
        return action != "demo" or bool(summary and summary["demo"])

    # --- keys ----------------------------------------------------------------------------------------------------

    def action_open(self) -> None:
        if self.component is not None:
            self.board.open_component(self.component)

    def action_up(self) -> None:
        self.wall.move(-1)

    def action_down(self) -> None:
        self.wall.move(1)

    def action_page_up(self) -> None:
        self.wall.move(-max(1, self.wall.size.height - 1))

    def action_page_down(self) -> None:
        self.wall.move(max(1, self.wall.size.height - 1))

    def action_first(self) -> None:
        self.wall.release()
        self.draw_frame()

    def action_last(self) -> None:
        self.wall.move(len(self.wall.order))

    def action_faults(self) -> None:
        self.faults_only = not self.faults_only
        self.filtered()

    def action_sort(self) -> None:
        orders = list(Sort)
        self.wall.sort = orders[(orders.index(self.wall.sort) + 1) % len(orders)]
        self.draw()

    def action_hold(self) -> None:
        self.held = not self.held
        self.draw()

    def filtered(self) -> None:
        by_text = row_filter(self.filter)

        def test(row: WallRow) -> bool:
            return by_text(row) and (not self.faults_only or needs_attention(row))

        self.wall.test = test
        self.wall.release()
        self.draw()

    def leave(self) -> bool:
        if super().leave():
            return True
        if self.faults_only:
            self.action_faults()
            return True
        return False

    async def action_demo(self) -> None:
        from opsdash.board.dialogs import FaultDialog

        if self.offers("demo"):
            self.board.open_dialog(FaultDialog())
            self.wall.release()  # whoever breaks something wants to see it come to the top, under the cursor


def note_lines(row: WallRow, now: float) -> tuple[Line, Line]:
    """What is known of a row, and what the register says about it."""
    first: Line = [(" ↳ ", Role.DIM), (row["title"], Role.STRONG)]
    first.append((f" is {row['status']} for {ago(row['since'], now)}", Role.TEXT))
    if row["cause"]:
        first.append((f": {row['cause']}", Role.TEXT))
    if row["reason"]:
        first.append((f" ({row['reason']})", Role.DIM))
    if row["explained_by"]:
        first.append((f" · explained by {', '.join(row['explained_by'])}", Role.DIM))
    second: Line = [("   ", Role.DIM)]
    if row["mode"]:
        second += [*without(row), ("   ", Role.DIM)]
    if row["failure"]:
        second += [("The register says: ", Role.DIM), (row["failure"], Role.STRONG), (" → ", Role.DIM)]
        second += hint(row) or [(row["response"] or "no response", Role.TEXT)]
    elif row["status"] == "ok" and not row["hint"]:
        second.append(("Nothing to do.", Role.DIM))
    elif row["hint"]:
        second += hint(row)
    else:
        second += [("No failure mode of the register matches. ", Role.DIM), ("r", Role.KEY), (" runbook", Role.TEXT)]
    if row["incident"]:
        second.append((f"   {row['incident']}", Role.DIM))
        second += (
            [] if row["acknowledged"] else [(" nobody is on it: ", Role.DEGRADED), ("a", Role.KEY), (" ack", Role.TEXT)]
        )
    if not row["covered"]:
        second.append(("   nobody covers: " + ", ".join(row["owners"]) + " away", Role.DOWN))
    if row["proof"] in {"old", "never", "changed"}:
        second.append((f"   backup {proof(row['proof'], row['proof_at'], now)[0]}", Role.DEGRADED))
    return first, second


def open_now(state: BoardState, now: float) -> list[Row]:
    """Incidents that nobody acknowledged, then those somebody has, overdue reviews, and what nobody covers."""
    found: list[tuple[int, float, Line]] = []
    for row in state.rows.values():
        if row["incident"]:
            mine: Line = [("acknowledged", Role.DIM)] if row["acknowledged"] else [("nobody is on it", Role.DEGRADED)]
            found.append((int(row["acknowledged"]), -row["since"], [
                (f"{row['incident']}  ", Role.DIM), (row["title"], Role.STRONG),
                (f"  {ago(row['since'], now)}  ", Role.DIM), *mine,
            ]))  # fmt: skip
        found.extend(
            (2, -row["since"], [("review  ", Role.DIM), (row["title"], Role.TEXT), (f"  {what}", Role.DEGRADED)])
            for what in row["overdue"]
        )
        if not row["covered"]:
            found.append(
                (3, 0.0, [("people  ", Role.DIM), (row["title"], Role.TEXT), ("  nobody covers", Role.DEGRADED)])
            )
        if row["redundancy"] == "lost":
            found.append(
                (4, 0.0, [("backup  ", Role.DIM), (row["title"], Role.TEXT), ("  no backup ready", Role.DEGRADED)])
            )
    found.sort(key=lambda entry: (entry[0], entry[1], plain(entry[2])))
    return [Row(line) for _, _, line in found] or [Row([("nothing", Role.DIM)])]
