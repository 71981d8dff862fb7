"""Drills: faults that may still be in place, the lever, and every drill, overdue ones first, with the latest evidence.

`enter` or `D` opens the plan of the drill under the cursor, or follows it where it is running. On a fault, `x` states
that it is gone; `A` lets drills begin again after they were halted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from opsdash.board.dialogs import AskDialog, PromptDialog
from opsdash.board.drill import DrillDialog
from opsdash.board.drill_rows import detail_rows, labelled
from opsdash.board.keymap import Scope, bindings
from opsdash.board.lines import CURSOR, Line, Role, Row, clip, cut, left, paragraphs
from opsdash.board.notices import FAULT, HALTED
from opsdash.board.page import Page
from opsdash.board.state import text_filter
from opsdash.board.widgets import Paper, Strips
from opsdash.board.words import VERDICT, ago, day, proof_cell, sign
from opsdash.model.text import LONGEST_COMMAND, clean_lines
from opsdash.service.session import SessionError

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.binding import BindingType

    from opsdash.board.state import Changes
    from opsdash.model.views import DrillLine, DrillsView, DrillView, FaultView, LeverView

DETAIL_ROWS = 8
ROOM_FOR_DETAIL = 22
"""Rows of a terminal from which on there is room for more than the list."""

_FAULT = "fault:"


class DrillsPage(Page):
    """All drills of the operation."""

    scopes = (Scope.DRILLS,)
    has_filter = True
    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.DRILLS))

    def __init__(self) -> None:
        super().__init__()
        self.found: DrillsView | None = None
        self.detail: DrillView | None = None

    def middle(self) -> ComposeResult:
        yield Paper(id="paper")
        yield Strips(id="detail")

    async def load(self) -> None:
        self.found = await self.board.session.drills()
        self.draw()
        await self._load_detail()

    async def _load_detail(self) -> None:
        line = self.selected
        if line is None:
            self.detail = None
            return
        try:
            self.detail = await self.board.session.drill(line["id"])
        except SessionError:
            self.detail = None  # the list says what is known of it

    def heard(self, changes: Changes) -> None:
        if changes.summary:
            self.reload()

    def tick(self) -> None:
        if self.found is not None and self.found["running"]:
            self.reload()
        self.draw()

    def on_paper_moved(self) -> None:
        self.detail = None
        self.reload()
        self.draw()

    # --- drawing -------------------------------------------------------------------------------------------------

    @property
    def selected(self) -> DrillLine | None:
        """The drill under the cursor."""
        drills = self.found["drills"] if self.found is not None else []
        return next((each for each in drills if each["id"] == self.paper.cursor), None)

    @property
    def fault(self) -> FaultView | None:
        """The fault under the cursor; where the cursor is elsewhere and there is one only, that."""
        faults = self.found["faults"] if self.found is not None else []
        there = next((each for each in faults if _FAULT + each["run"] == self.paper.cursor), None)
        return there if there is not None or len(faults) != 1 else faults[0]

    def place(self) -> Line:
        line: Line = [("wall › ", Role.DIM), ("drills", Role.STRONG)]
        if self.found is not None:
            overdue = sum(each["overdue"] for each in self.found["drills"])
            line.append((f"   {len(self.found['drills'])}", Role.DIM))
            line += [(f"   {overdue} overdue", Role.DEGRADED)] if overdue else []
        return line

    def body(self, cells: int) -> list[Row]:
        found = self.found
        if found is None:
            return [Row([]), Row([("   asking the engine …", Role.DIM)])]
        now = self.state.now(self.board.clock())
        rows: list[Row] = []
        for fault in found["faults"]:
            rows += [*fault_rows(fault, now, cells), Row([])]
        if found["lever"] is not None:
            rows += [*lever_rows(found["lever"], now, cells), Row([])]
        if not found["drills"]:
            words = "No drill is declared. Files in drills/ hold them; docs/reference/drill.md says what goes in there."
            return [*rows, Row([]), *paragraphs("   " + words, cells, Role.DIM)]
        test = text_filter(self.filter)
        shown = [each for each in found["drills"] if test(_haystack(each))]
        rows.append(Row(_heading(cells)))
        rows += [Row(drill_line(each, now, cells), each["id"]) for each in shown]
        return rows if shown else [*rows, Row([("   no drill matches", Role.DIM)])]

    def draw(self) -> None:
        super().draw()
        if self.drawable:
            self._draw_detail()

    def _draw_detail(self) -> None:
        size, line, detail = self.board.size, self.selected, self.detail
        clock = self.board.clock()
        lines: list[Line] = []
        if size.height >= ROOM_FOR_DETAIL and line is not None:
            lines = [[("─" * size.width, Role.BORDER)], [(f" {cut(line['title'], size.width - 2)}", Role.HEADING)]]
            if detail is not None and detail["line"]["id"] == line["id"]:
                rows = detail_rows(detail, self.state.now(clock), size.width - 2, self.board.tz)
                lines += [[(" ", Role.TEXT), *clip(row.line, size.width - 2)] for row in rows[:DETAIL_ROWS]]
            lines += [[]] * (DETAIL_ROWS + 2 - len(lines))
        self.query_one("#detail", Strips).show(lines, stale=self.state.stale(clock))

    # --- keys ----------------------------------------------------------------------------------------------------

    def offers(self, action: str) -> bool:
        if action == "gone":
            return bool(self.found and self.found["faults"])
        return action != "allow" or bool(self.found and self.found["lever"])

    def action_open(self) -> None:
        self.action_drill()

    def action_drill(self) -> None:
        if (line := self.selected) is not None:
            self.board.open_dialog(DrillDialog(line["id"], line["running"]))

    def action_copy(self) -> None:
        fault, line = self.fault, self.selected
        text = "\n".join(fault["by_hand"]) if fault is not None else f"opsdash drill run {line['id']}" if line else ""
        if not text:
            self.board.say("Nothing to copy here.", severity="warning")
            return
        self.board.copy_to_clipboard(clean_lines(text, LONGEST_COMMAND))
        self.board.say("What undoes it by hand is in the clipboard." if fault else "The command is in the clipboard.")

    def action_gone(self) -> None:
        if (fault := self.fault) is None:
            self.board.say("No fault is chosen that may still be in place.", severity="warning")
            return
        run, where = fault["run"], fault["component"]

        def written(reason: str | None) -> None:
            if reason:
                question = (
                    f"State that the fault of {run} in {where} is gone? The red bar goes, and drills may begin again."
                )
                ask = AskDialog(question, "it is gone", about=reason)
                self.board.push_screen(ask, lambda yes: self._gone(run, reason) if yes else None)

        self.board.push_screen(PromptDialog(f"The fault of {run} in {where} is gone: how do you know?"), written)

    def _gone(self, run: str, reason: str) -> None:
        self.board.want("fault_gone", {"run": run, "reason": reason}, done=f"{run}: you state that its fault is gone.")

    def action_allow(self) -> None:
        if self.found is None or self.found["lever"] is None:
            self.board.say("Drills are not halted.")
            return

        def written(reason: str | None) -> None:
            if reason:
                self.board.want("allow_drills", {"reason": reason}, done="Drills may begin again.")

        self.board.push_screen(PromptDialog("Let drills begin again: why may they?"), written)


def _haystack(line: DrillLine) -> str:
    verdict = line["verdict"] or "never run"
    late = "overdue" if line["overdue"] else ""
    parts = (
        line["id"],
        line["title"],
        line["component"],
        line["level"],
        line["owner"],
        line["standing"],
        verdict,
        late,
    )
    return " ".join(parts)


def fault_rows(fault: FaultView, now: float, cells: int) -> list[Row]:
    """Everything that is known of a fault that may still be in place."""
    item = _FAULT + fault["run"]
    words = (
        f" {FAULT}: {fault['component']}, by {fault['run']} of drill {fault['drill']}, for {ago(fault['since'], now)} "
    )
    rows = [Row([CURSOR, *row.line], item) for row in paragraphs(words, cells - 1, Role.ALERT)]
    told = labelled("known", [fault["detail"]], cells - 2)
    told += labelled("by hand", fault["by_hand"] or ["as the drill's file says under `undo`"], cells - 2, Role.CODE)
    if fault["guarded"]:
        told += labelled("guard", ["a guard is still at work on it"], cells - 2, Role.DEGRADED)
    rows += [Row([("  ", Role.TEXT), *row.line], item) for row in told]
    how: Line = [("  when it is gone: ", Role.TEXT), ("x", Role.KEY), (" says so, with a reason", Role.TEXT)]
    return [*rows, Row(how, item)]


def lever_rows(lever: LeverView, now: float, cells: int) -> list[Row]:
    """Who halted drills, and what lets them begin again."""
    words = f"  by {lever['who']} {ago(lever['at'], now)} ago: {lever['reason']}"
    end: Line = [("  ", Role.TEXT), ("A", Role.KEY), (" lets them begin again", Role.DIM)]
    head: Line = [(" ", Role.TEXT), (f" {HALTED} ", Role.ALERT)]
    return [Row([*head, (cut(words, max(10, cells - 42)), Role.TEXT), *end])]


_ROOMY = 70


def _widths(cells: int) -> tuple[int, int, int, int]:
    """Cells for drill, component, level and owner; narrow ones lose the last of these first."""
    level = 10 if cells >= 90 else 0
    owner = 10 if cells >= 96 else 0
    latest = 21 if cells >= _ROOMY else 14
    rest = max(14, cells - 3 - 13 - 14 - latest - level - owner)
    component = min(22, rest * 2 // 5) if cells >= _ROOMY else 0
    return rest - component, component, level, owner


def _heading(cells: int) -> Line:
    drill, component, level, owner = _widths(cells)
    words = left("   DUE", 16) + left("DRILL", drill) + left("COMPONENT", component) + left("LEVEL", level)
    return [(cut(words + left("OWNER", owner) + left("PROOF", 14) + "LATEST", cells), Role.DIM)]


def _due(line: DrillLine, now: float) -> tuple[str, Role]:
    """When it is due, or that it should have been begun."""
    due = line["due"]
    if line["running"]:
        return "RUNNING", Role.BACKUP
    if line["off"]:
        return "off", Role.DOWN
    if due is None:
        return "by hand", Role.DIM
    if line["overdue"]:
        return f"! late {ago(due, now)}", Role.DEGRADED
    if line["surprise"]:
        return "a surprise", Role.DIM
    if due <= now:
        return "due now", Role.STRONG
    return (f"in {ago(now, due)}" if due - now < _SOON else day(due, None)), Role.TEXT


_SOON = 14 * 86400.0


def drill_line(line: DrillLine, now: float, cells: int) -> Line:
    """One drill in the list."""
    drill, component, level, owner = _widths(cells)
    due, due_role = _due(line, now)
    standing, role = proof_cell(line["standing"], line["proved_at"], now, 13)
    if line["verdict"] is None:
        latest: Line = [("never run", Role.DEGRADED)]
    else:
        verdict = sign(VERDICT, line["verdict"])
        word = verdict.word.partition(":")[0].split()[0].lower()
        latest = [(f"{verdict.mark} {word}", verdict.role), (f" {ago(line['verdict_at'], now)}", Role.DIM)]
    return [
        CURSOR, ("  ", Role.TEXT), (left(due, 13), due_role), (left(cut(line["id"], drill - 1), drill), Role.STRONG),
        (left(cut(line["component"], component - 1), component), Role.TEXT), (left(line["level"], level), Role.DIM),
        (left(cut(line["owner"], owner - 1), owner), Role.DIM),
        (left(standing, 14), role if role is not Role.OK else Role.DIM), *latest,
    ]  # fmt: skip
