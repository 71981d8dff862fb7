"""The journal: everything that happened, newest first. Enter shows a record as it was written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

from opsdash.board.keymap import Scope, bindings
from opsdash.board.lines import CURSOR, Line, Role, Row, cut, left, wrap
from opsdash.board.page import Page
from opsdash.board.state import text_filter
from opsdash.board.words import date_time

if TYPE_CHECKING:
    from textual.binding import BindingType

    from opsdash.board.state import Changes
    from opsdash.model.views import JournalLine

PAGE = 200
"""Records that are asked for at once."""

MOST = 2000
"""Records that are kept on the page. Older ones are for `opsdash journal`."""


class JournalPage(Page):
    """Records with a filter; going down beyond the last one loads older ones."""

    scopes = (Scope.JOURNAL,)
    has_filter = True
    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.JOURNAL))

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[int, JournalLine] = {}
        self.opened: int | None = None
        self.older = False
        self.complete = False

    async def load(self) -> None:
        session = self.board.session
        if self.older and self.records and not self.complete:
            lines = await session.journal(before=min(self.records), limit=PAGE)
            self.complete = not lines or len(self.records) >= MOST
        else:
            lines = await session.journal(limit=PAGE)
        self.older = False
        self.records.update((line["seq"], line) for line in lines)

    def heard(self, changes: Changes) -> None:
        if changes.summary or changes.rows:
            self.reload()

    def tick(self) -> None:
        self.draw_head()

    def place(self) -> Line:
        line: Line = [
            ("wall › ", Role.DIM),
            ("journal", Role.STRONG),
            (f"   {len(self.records)} records, newest first", Role.DIM),
        ]
        return [*line, (f"   filter: {self.filter}", Role.DEGRADED)] if self.filter else line

    def body(self, cells: int) -> list[Row]:
        test = text_filter(self.filter)
        now = self.state.now(self.board.clock())
        name = 16 if cells >= 80 else 0
        rows: list[Row] = []
        for seq in sorted(self.records, reverse=True):
            record = self.records[seq]
            if not test(f"{record['type']} {record['component'] or ''} {record['who']} {record['text']}"):
                continue
            rows.append(Row([
                CURSOR, (left(date_time(record["at"], self.board.tz, now), 12), Role.DIM),
                (left(record["who"], 9) + " ", Role.DIM),
                (left(record["component"] or "", name) + (" " if name else ""), Role.HEADING),
                (cut(record["text"], max(5, cells - 25 - name)), Role.TEXT),
            ], str(seq)))  # fmt: skip
            if seq == self.opened:
                data = json.dumps(record["data"], indent=1, ensure_ascii=True, default=str)
                about = f"record {seq}, {record['type']}"
                rows += [Row([(" " * 13, Role.DIM), (line, Role.CODE)]) for line in [about, *wrap(data, cells - 14)]]
        return rows or [Row([]), Row([("   Nothing matches.", Role.DIM)])]

    def action_open(self) -> None:
        seq = int(self.paper.cursor or 0)
        self.opened = None if self.opened == seq else seq
        self.draw()

    def action_down(self) -> None:
        items = self.paper.items
        if items and self.paper.cursor == items[-1]:
            self._load_older()
        super().action_down()

    def action_page_down(self) -> None:
        super().action_page_down()
        items = self.paper.items
        if items and self.paper.cursor == items[-1]:
            self._load_older()

    def action_last(self) -> None:
        super().action_last()
        self._load_older()

    def _load_older(self) -> None:
        self.older = True
        self.reload()
