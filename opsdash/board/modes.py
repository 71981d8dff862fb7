"""Degraded modes of a component: choose one that was decided in advance, or leave the one in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from opsdash.board.keymap import Scope, bindings
from opsdash.board.lines import CURSOR, Line, Role, Row, paragraphs, wrap
from opsdash.board.page import Dialog
from opsdash.board.words import ago, proof

if TYPE_CHECKING:
    from textual.binding import BindingType

    from opsdash.model.views import ComponentDetail, ModeView


class ModeDialog(Dialog[None]):
    """Choosing opens a plan; nothing is entered or left here."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.CHOICE))
    cells = 96

    def __init__(self, component: str) -> None:
        super().__init__()
        self.component = component
        self.detail: ComponentDetail | None = None
        self._pointed = False

    async def load(self) -> None:
        self.detail = await self.board.session.component(self.component)

    @property
    def in_force(self) -> ModeView | None:
        """The mode that is in force."""
        modes = self.detail["modes"] if self.detail else []
        return next((mode for mode in modes if mode["in_force"]), None)

    def title_line(self, cells: int) -> Line:  # noqa: ARG002
        title = self.detail["row"]["title"] if self.detail else self.component
        return [("Degraded modes", Role.HEADING), (f"  {title}", Role.STRONG)]

    def rows(self, cells: int) -> list[Row]:
        if self.trouble:
            return paragraphs(self.trouble, cells, Role.ALERT)
        if self.detail is None:
            return [Row([("asking the engine …", Role.DIM)])]
        if not self.detail["modes"]:
            return paragraphs("No degraded mode was decided for this component. Its file may declare `modes`.", cells)
        now = self.state.now(self.board.clock())
        rows: list[Row] = []
        for mode in [self.in_force] if self.in_force else self.detail["modes"]:
            rows += [*mode_rows(mode, now, cells), Row([])]
        return rows[:-1]

    def draw(self) -> None:
        super().draw()
        if self.detail is not None and not self._pointed and self.drawable:
            self._pointed = True
            advised = [failure["mode"] for failure in self.detail["failures"] if failure["active"] and failure["mode"]]
            if advised:
                self.paper.select(str(advised[0]))
                super().draw()

    def hints(self) -> Line:
        if not self.paper.cursor:
            return self.keys_line()
        return self.keys_line("choose", instead={"choose": "plan to leave it" if self.in_force else "plan to enter it"})

    def action_choose(self) -> None:
        from opsdash.board.plan import PlanDialog

        mode = self.paper.cursor
        if not mode:
            return
        kind, target = ("restore", None) if self.in_force else ("degrade", mode)
        self.dismiss(None)
        self.board.open_dialog(PlanDialog(self.component, kind, target))

    def action_yes(self) -> None:
        """The plan asks; here is nothing to say yes to."""


def mode_rows(mode: ModeView, now: float, cells: int) -> list[Row]:
    """A mode: what is kept, what is dropped."""
    item = "" if mode["off"] else mode["id"]
    state: Line = [("   in force for " + ago(mode["since"], now), Role.DEGRADED)] if mode["in_force"] else []
    proven, role = proof(mode["proof"], mode["proof_at"], now)
    rows = [Row([CURSOR, (" " + mode["title"], Role.STRONG), *state, ("   " + proven, role)], item)]
    for name, things, thing_role in (("keeps", mode["keeps"], Role.OK), ("drops", mode["drops"], Role.DEGRADED)):
        for number, line in enumerate(wrap(", ".join(things) or "nothing", cells - 12)):
            rows.append(Row([(f"    {name if number == 0 else '':<7}", Role.DIM), (line, thing_role)], item))
    if mode["off"]:
        rows += paragraphs(f"    switched off: {mode['off']}", cells, Role.DIM)
    return rows
