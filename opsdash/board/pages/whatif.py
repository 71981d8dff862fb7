"""What-if: everything that can be taken away, the worst first; and all that comes of the one that is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from opsdash.board.keymap import Scope, bindings
from opsdash.board.lines import CURSOR, Line, Role, Row, cut, left, wrap
from opsdash.board.page import Page
from opsdash.board.state import text_filter
from opsdash.core.whatif_words import Tone, account, in_short, losses

if TYPE_CHECKING:
    from textual.binding import BindingType

    from opsdash.model.whatif_views import WhatIfLine, WhatIfView

ASKING = "   asking the engine, which tries everything once …"

ROLES = {
    Tone.HEADING: Role.STRONG,
    Tone.PLAIN: Role.TEXT,
    Tone.DIM: Role.DIM,
    Tone.GOOD: Role.OK,
    Tone.WARN: Role.DEGRADED,
    Tone.BAD: Role.DOWN,
}
MARKS = {Tone.GOOD: "✓ ", Tone.WARN: "! ", Tone.BAD: "✗ "}
LABEL = 16


class WhatIfPage(Page):
    """All single losses, ranked. The files alone decide, so nothing is loaded again while it is open."""

    scopes = (Scope.WHATIF,)
    has_filter = True
    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.WHATIF))

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[WhatIfLine] | None = None

    async def load(self) -> None:
        self.lines = await self.board.session.whatif_ranking()

    def place(self) -> Line:
        lines = self.lines or []
        critical = sum(line["critical"] for line in lines)
        place: Line = [("wall › ", Role.DIM), ("what-if", Role.STRONG), (f"   {len(lines)} things", Role.DIM)]
        if critical:
            words = "single point of failure" if critical == 1 else "single points of failure"
            place.append((f"   {critical} {words}", Role.DEGRADED))
        return place

    def body(self, cells: int) -> list[Row]:
        if self.lines is None:
            return [Row([]), Row([(ASKING, Role.DIM)])]
        test = text_filter(self.filter)
        shown = [line for line in self.lines if test(f"{_name(line)} {in_short(line)}")]
        if not shown:
            return [Row([]), Row([("   Nothing can be taken away.", Role.DIM)])]
        name = min(max(len(_name(line)) for line in shown), cells // 3) + 2
        rows = [Row([(left("     WITHOUT", name + 5) + "WHAT IS LEFT", Role.DIM)])]
        for line in shown:
            bad = line["critical"]
            rows.append(Row([
                CURSOR, (" ✗ " if bad else " · ", Role.DOWN if bad else Role.DIM),
                (left(_name(line), name), Role.STRONG if bad else Role.TEXT),
                (cut(in_short(line), cells - name - 5), Role.TEXT if bad else Role.DIM),
            ], _name(line)))  # fmt: skip
        return rows

    def action_open(self) -> None:
        found = next((line for line in self.lines or [] if _name(line) == self.paper.cursor), None)
        if found is not None:
            self.app.push_screen(LossPage(found["subjects"]))


def _name(line: WhatIfLine) -> str:
    return " + ".join(line["subjects"])


class LossPage(Page):
    """All that comes of one loss."""

    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, subjects: list[str]) -> None:
        super().__init__()
        self.subjects = subjects
        self.found: WhatIfView | None = None

    async def load(self) -> None:
        self.found = await self.board.session.whatif(self.subjects)

    def place(self) -> Line:
        return [("wall › what-if › ", Role.DIM), (f"without {' and '.join(self.subjects)}", Role.STRONG)]

    def body(self, cells: int) -> list[Row]:
        if self.found is None:
            return [Row([]), Row([("   asking the engine …", Role.DIM)])]
        rows = []
        for label, text, tone in account(self.found):
            if tone is Tone.HEADING:
                rows += [Row([]), *(Row([(f"   {line}", Role.STRONG)]) for line in wrap(text, cells - 4))]
                continue
            lines = wrap(f"{MARKS.get(tone, '')}{text}", cells - LABEL - 1)
            rows += [
                Row([(left(f"   {label}" if number == 0 else "", LABEL), Role.DIM), (line, ROLES[tone])])
                for number, line in enumerate(lines)
            ]
        left_undone = "; ".join(losses(self.found)) or "users lose nothing, and everything is answered"
        role = Role.DOWN if self.found["critical"] else Role.OK
        mark = "✗ " if self.found["critical"] else "✓ "
        return [Row([]), *(Row([(f"   {line}", role)]) for line in wrap(mark + left_undone, cells - 4)), *rows]
