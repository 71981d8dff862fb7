"""All runbooks: what they answer, who owns them, and whether they still hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from opsdash.board.keymap import Scope, bindings
from opsdash.board.lines import CURSOR, Line, Role, Row, left
from opsdash.board.page import Page
from opsdash.board.state import text_filter
from opsdash.board.words import count_of

if TYPE_CHECKING:
    from textual.binding import BindingType

    from opsdash.model.views import RunbookLine


class RunbooksPage(Page):
    """The list; enter or `r` opens one."""

    scopes = (Scope.RUNBOOKS,)
    has_filter = True
    hidden_hints = frozenset({"runbook"})
    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.RUNBOOKS))

    def __init__(self) -> None:
        super().__init__()
        self.runbooks: list[RunbookLine] = []

    async def load(self) -> None:
        self.runbooks = await self.board.session.runbooks()

    def place(self) -> Line:
        return [("wall › ", Role.DIM), ("runbooks", Role.STRONG), (f"   {len(self.runbooks)}", Role.DIM)]

    def body(self, cells: int) -> list[Row]:
        test = text_filter(self.filter)
        title = max(20, (cells - 26) * 45 // 100)
        rows = [Row([(left("   RUNBOOK", title + 3) + left("OWNER", 11) + left("REVIEWED", 12) + "ANSWERS", Role.DIM)])]
        for runbook in self.runbooks:
            if not test(f"{runbook['id']} {runbook['title']} {runbook['component']} {' '.join(runbook['failures'])}"):
                continue
            answers = ", ".join(runbook["failures"]) or runbook["component"] or "nothing: no failure mode names it"
            trouble = f"  {count_of(runbook['findings'], 'finding')}" if runbook["findings"] else ""
            if runbook["executable"] and not runbook["approved"]:
                trouble += "  waits for approval"
            rows.append(Row([
                CURSOR, ("  ", Role.TEXT), (left(runbook["title"], title - 1) + " ", Role.STRONG),
                (left(runbook["owner"] or "nobody", 11), Role.TEXT if runbook["owner"] else Role.DEGRADED),
                (left(runbook["reviewed"] or "never", 12), Role.TEXT if runbook["reviewed"] else Role.DEGRADED),
                (answers, Role.TEXT if runbook["failures"] else Role.DIM), (trouble, Role.DEGRADED),
                ("" if runbook["executable"] else "  can only be read", Role.DIM),
            ], runbook["id"]))  # fmt: skip
        return rows if len(rows) > 1 else [Row([]), Row([("   No runbook.", Role.DIM)])]

    def action_open(self) -> None:
        chosen = next((one for one in self.runbooks if one["id"] == self.paper.cursor), None)
        if chosen is not None:
            self.board.open_runbook(chosen["id"], chosen["component"])

    def action_runbook(self) -> None:
        self.action_open()
