"""Problems of the workspace's files: where, what is wrong, and what would be right."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from opsdash.board.keymap import Scope
from opsdash.board.lines import Line, Role, Row, paragraphs
from opsdash.board.page import Page

if TYPE_CHECKING:
    from textual.binding import BindingType

    from opsdash.board.state import Changes
    from opsdash.model.views import ProblemView


class ProblemsPage(Page):
    """As `opsdash validate` reports them, from the engine that runs."""

    scopes = (Scope.PROBLEMS,)
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self) -> None:
        super().__init__()
        self.problems: list[ProblemView] = []
        self.asked = False

    async def load(self) -> None:
        self.problems = await self.board.session.problems()
        self.asked = True

    def heard(self, changes: Changes) -> None:
        if changes.summary:
            self.reload()

    def place(self) -> Line:
        return [("wall › ", Role.DIM), ("problems of the files", Role.STRONG), (f"   {len(self.problems)}", Role.DIM)]

    def body(self, cells: int) -> list[Row]:
        if not self.problems:
            words = "   ✓ no problem in the files" if self.asked else "   asking the engine …"
            return [Row([]), Row([(words, Role.OK if self.asked else Role.DIM)])]
        rows: list[Row] = [
            Row([]),
            *paragraphs("A problem switches off the smallest part that encloses it; the rest runs.", cells, Role.DIM),
            Row([]),
        ]
        for problem in self.problems:
            error = problem["severity"] == "error"
            mark, role = ("✗ ", Role.DOWN) if error else ("! ", Role.DEGRADED)
            rows.append(
                Row(
                    [
                        (f" {mark}", role),
                        (f"{problem['file']}:{problem['line']}", Role.STRONG),
                        (f"  {problem['path']}", Role.HEADING),
                    ],
                    f"{problem['file']}:{problem['line']}:{problem['path']}",
                )
            )
            rows += [Row([("   ", Role.TEXT), *row.line]) for row in paragraphs(problem["message"], cells - 4)]
            if problem["hint"]:
                rows += [
                    Row([("   ", Role.TEXT), *row.line])
                    for row in paragraphs("→ " + problem["hint"], cells - 4, Role.DIM)
                ]
            rows.append(Row([]))
        return rows
