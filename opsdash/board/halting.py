"""The lever: one key and a yes undo what any drill has broken, and let none begin until somebody allows it.

It opens on every screen, over every question and while something is typed. Enter confirms nothing here either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from opsdash.board.keymap import Scope, bindings
from opsdash.board.lines import Line, Role, Row, paragraphs
from opsdash.board.page import Dialog

if TYPE_CHECKING:
    from textual.binding import BindingType

REASON = "halted on the board"
WITHOUT_ENGINE = "`opsdash drill halt` does the same without an engine."


class HaltDialog(Dialog[None]):
    """Whether to halt all drills."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.CHOICE))
    heading = "Halt all drills"
    cells = 84

    def rows(self, cells: int) -> list[Row]:
        drills = self.state.summary["drills"] if self.state.summary is not None else None
        rows = paragraphs(
            "What any drill has broken is undone now, and none begins until somebody allows it again.",
            cells, Role.STRONG,
        )  # fmt: skip
        if drills is not None and drills["halted"]:
            rows += paragraphs("Drills are halted already. This undoes again whatever may be left.", cells)
        if drills is not None and drills["running"]:
            rows += paragraphs(f"{drills['running']} ends: drill {drills['drill']} of {drills['component']}.", cells)
        else:
            rows += paragraphs("No drill is running.", cells, Role.DIM)
        if self.state.stale(self.board.clock()):
            rows += [Row([]), *paragraphs(f"The engine is not heard. {WITHOUT_ENGINE}", cells, Role.ALERT)]
        return rows

    def hints(self) -> Line:
        return self.keys_line("yes", instead={"yes": "halt them"})

    def action_yes(self) -> None:
        board = self.board
        self.dismiss(None)

        async def halt() -> None:
            if await board.ask("halt_drills", {"reason": REASON}) is None:
                board.say(f"Drills are not halted. {WITHOUT_ENGINE}", severity="error")
            else:
                board.say("Drills are halted: what was broken is being undone.")

        board.run_worker(halt(), exit_on_error=False)

    def action_choose(self) -> None:
        """Enter confirms nothing."""
