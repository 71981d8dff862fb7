"""The register: every way to fail, how it is noticed, what was decided, and whether that was ever shown to work."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from opsdash.board.keymap import Scope, bindings
from opsdash.board.lines import CURSOR, Line, Role, Row, cut, left
from opsdash.board.page import Page
from opsdash.board.state import text_filter
from opsdash.board.words import ago, count_of, proof_cell
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from textual.binding import BindingType

    from opsdash.board.state import Changes
    from opsdash.model.views import FailureView


class RegisterPage(Page):
    """All failure modes, by component; those that are active first."""

    scopes = (Scope.REGISTER,)
    has_filter = True
    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.REGISTER))

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[FailureView] = []

    async def load(self) -> None:
        self.failures = await self.board.session.register()

    def heard(self, changes: Changes) -> None:
        if changes.rows:
            self.reload()

    def place(self) -> Line:
        active = sum(failure["active"] for failure in self.failures)
        gaps = sum(bool(failure["gaps"]) for failure in self.failures)
        line: Line = [
            ("wall › ", Role.DIM),
            ("register", Role.STRONG),
            (f"   {len(self.failures)} failure modes", Role.DIM),
        ]
        if active:
            line.append((f"   {active} active", Role.DOWN))
        if gaps:
            line.append((f"   {gaps} with gaps", Role.DEGRADED))
        return line

    def body(self, cells: int) -> list[Row]:
        test = text_filter(self.filter)
        now = self.state.now(self.board.clock())
        shown = [
            one
            for one in self.failures
            if test(
                " ".join((one["component"], one["id"], one["title"], one["response"], one["detected_by"], *one["gaps"]))
            )
        ]
        shown.sort(key=lambda one: (not one["active"], one["component"]))
        rows = [Row(_heading(cells))]
        for failure in shown:
            rows += failure_rows(failure, now, cells)
        return rows if shown else [Row([]), Row([("   No failure mode.", Role.DIM)])]

    def _selected(self) -> FailureView | None:
        return next((one for one in self.failures if _item(one) == self.paper.cursor), None)

    def action_open(self) -> None:
        if (failure := self._selected()) is not None:
            self.board.open_component(failure["component"])

    def action_runbook(self) -> None:
        failure = self._selected()
        if failure is None or failure["runbook"] is None:
            self.board.say("This failure mode names no runbook.", severity="warning")
            return
        self.board.open_runbook(failure["runbook"], failure["component"])


def _item(failure: FailureView) -> str:
    return f"{failure['component']}/{failure['id']}"


def _widths(cells: int) -> tuple[int, int, int]:
    rest = max(30, cells - 3 - 9 - 8 - 13)
    return rest * 22 // 100, rest * 43 // 100, rest - rest * 22 // 100 - rest * 43 // 100


def _heading(cells: int) -> Line:
    component, when, then = _widths(cells)
    words = (
        left("   NOW", 12) + left("COMPONENT", component) + left("WHEN THIS HAPPENS", when) + left("WE DO THAT", then)
    )
    return [(words + left("WITHIN", 8) + "PROOF", Role.DIM)]


def failure_rows(failure: FailureView, now: float, cells: int) -> list[Row]:
    """One entry: the decision, below it how it is noticed, and what is missing."""
    component, when, then = _widths(cells)
    active = failure["active"]
    text, role = proof_cell(failure["proof"], failure["proof_at"], now, 12)
    strong = Role.STRONG if active else Role.TEXT
    rows = [
        Row([
            CURSOR, (" ", Role.TEXT), (left(f"✗ {ago(failure['since'], now)}" if active else "", 10), Role.DOWN),
            (left(cut(failure["component"], component - 1), component), strong),
            (left(cut(failure["title"], when - 1), when), strong),
            (left(cut(failure["response"], then - 1), then), strong),
            (left(format_duration(failure["rto"]) if failure["rto"] else "—", 8), Role.DIM),
            (text, role if role is not Role.OK else Role.DIM),
        ], _item(failure))
    ]  # fmt: skip
    noticed = failure["detected_by"] or "nothing: a person has to see it"
    below = f"noticed by {noticed} · runbook {failure['runbook'] or 'none'}"
    rows.append(
        Row([(" " * (12 + component), Role.DIM), (cut(below, cells - 12 - component), Role.DIM)], _item(failure))
    )
    if failure["near_misses"]:
        near = f"was near {count_of(failure['near_misses'], 'time')}, last {ago(failure['near_at'], now)} ago"
        rows.append(Row([(" " * (12 + component), Role.DIM), (near, Role.DIM)], _item(failure)))
    rows += [
        Row([(" " * (12 + component), Role.DIM), (f"! {gap}", Role.DEGRADED)], _item(failure))
        for gap in failure["gaps"]
    ]
    return rows
