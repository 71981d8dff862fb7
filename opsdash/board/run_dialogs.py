"""Questions about a run: a text that has to be read before it is executed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from opsdash.board.dialogs import AskDialog
from opsdash.board.lines import Line, Role, Row, paragraphs
from opsdash.board.run_rows import code_rows, difference_rows

if TYPE_CHECKING:
    from opsdash.model.views import RunView


class TextDialog(AskDialog):
    """A text of a runbook with a question above it; it scrolls, and `y` is the yes."""

    cells: ClassVar[int] = 110
    field_id = ""

    def __init__(self, heading: str, question: str, yes: str, run: RunView) -> None:
        super().__init__(question, yes)
        self.about_run = run
        self._heading = heading

    def title_line(self, cells: int) -> Line:  # noqa: ARG002 - of every dialog
        return [(self._heading, Role.HEADING)]

    def text(self, cells: int) -> list[Row]:
        """What is to be read."""
        raise NotImplementedError

    def rows(self, cells: int) -> list[Row]:
        return [*paragraphs(self.question, cells, Role.STRONG), Row([]), *self.text(cells)]


class ApproveDialog(TextDialog):
    """What a runbook would execute, or how it differs from what was approved."""

    def __init__(self, run: RunView) -> None:
        if run["unapproved"]:
            question = f"This is how it differs from what {run['approved_by']} approved. May it be executed?"
        else:
            question = "This is what it would execute, a block at a time, when somebody asks for it. May it?"
        super().__init__("Approve a runbook", question, "approve it", run)

    def text(self, cells: int) -> list[Row]:
        if self.about_run["unapproved"]:
            return difference_rows(self.about_run["unapproved"], cells)
        return code_rows(self.about_run, cells)


class AcceptDialog(TextDialog):
    """What has changed in the file since a run began."""

    def __init__(self, run: RunView) -> None:
        question = "The file was edited since this run began. What was done stays done. Go on by the new text?"
        super().__init__("What has changed", question, "go on by the new text", run)

    def text(self, cells: int) -> list[Row]:
        return difference_rows(self.about_run["differences"], cells)
