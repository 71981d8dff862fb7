"""What a plan asks before it acts, whatever it is a plan of: a reason, a typed name, and a look at what has changed.

`y` acts on what somebody has read: keys that were pressed just when the plan changed are dropped, as are those of the
first 300 ms. A failed guard that is overridden, or harm that cannot be taken back, asks for a name to be typed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from opsdash.board.lines import Role, Row, paragraphs
from opsdash.board.page import HOLD_BACK, Dialog
from opsdash.board.widgets import Field
from opsdash.model.text import clean

if TYPE_CHECKING:
    from textual.events import Key

LONGEST_REASON = 400


class Considered(Dialog[None]):
    """A plan that waits for `y`. Subclasses say what speaks against it, and submit it."""

    field_id = "field"

    def __init__(self) -> None:
        super().__init__()
        self.calm_since = float("-inf")
        self.reason: str | None = None
        self.editing_reason = False
        self.name_typed = False
        self.message = ""
        self.sending = False
        self.key_time = float("-inf")
        self.request = self.new_request()

    @staticmethod
    def new_request() -> str:
        """A name for what is asked next, by which the engine begins it once."""
        return uuid4().hex

    # --- said by subclasses --------------------------------------------------------------------------------------

    @property
    def suggested(self) -> str:
        """The reason that is written to the journal when nobody edits it."""
        return ""

    @property
    def name_wanted(self) -> str:
        """What has to be typed before `y` acts, "" for nothing."""
        return ""

    def obstacle(self) -> str:
        """Why `y` does nothing, "" if it does."""
        raise NotImplementedError

    def send(self) -> None:
        """Submit the plan as it is shown."""
        raise NotImplementedError

    @property
    def may_be_edited(self) -> bool:
        """Whether there is a plan to give a reason for."""
        raise NotImplementedError

    # --- keys ----------------------------------------------------------------------------------------------------

    @property
    def reason_given(self) -> str:
        """The reason as it would be sent now."""
        return self.suggested if self.reason is None else self.reason

    def on_key(self, event: Key) -> None:
        """When the key was pressed that is handled next."""
        self.key_time = self.pressed_at(event)

    def changed(self, now: float) -> None:
        """What is shown is no longer what was read: what is sent from now on is another request."""
        self.calm_since = now
        self.request = self.new_request()

    def action_confirm(self) -> None:
        if self.key_time - self.calm_since < HOLD_BACK:
            self.message = "That was just when the plan changed. Look again."
        elif obstacle := self.obstacle():
            self.message = obstacle
        else:
            self.send()
        self.draw()

    def works(self, action: str) -> bool:
        return super().works(action) and (action != "confirm" or not (self.obstacle() or self.sending))

    # --- typing --------------------------------------------------------------------------------------------------

    def action_reason(self) -> None:
        if not self.may_be_edited:
            return
        self.editing_reason = True
        self.query_one(Field).value = self.reason_given
        self.show_field()
        self.draw()

    @property
    def asks_name(self) -> bool:
        """Whether a name is still to be typed."""
        return bool(self.name_wanted) and not self.name_typed

    def show_field(self) -> None:
        """Show the line to type into while there is something to type."""
        if not self.drawable:
            return
        field = self.query_one(Field)
        shown = self.editing_reason or (self.asks_name and not self.board.read_only)
        field.set_class(shown, "shown")
        if shown and self.focused is not field:
            self.set_focus(field)
        elif not shown and self.focused is not self.paper:
            self.set_focus(self.paper)

    def on_input_changed(self, event: Field.Changed) -> None:
        if not self.editing_reason and self.asks_name and event.value == self.name_wanted:
            self.name_typed = True
            event.input.value = ""
            self.show_field()
            self.draw()

    def on_input_submitted(self, event: Field.Submitted) -> None:
        if self.editing_reason:
            self.reason = clean(event.value.strip(), LONGEST_REASON)
            self.editing_reason = False
            self.message = ""
            event.input.value = ""
            self.show_field()
            self.draw()

    # --- drawing -------------------------------------------------------------------------------------------------

    def asking(self) -> list[Row]:
        """What is waited for: a reason, a name, the engine; else that nothing has been done."""
        if self.editing_reason:
            return [Row([("Reason for the journal, then enter:", Role.TEXT)])]
        if self.asks_name:
            wanted: list[tuple[str, Role]] = [(self.name_wanted, Role.DEGRADED), (", then ", Role.TEXT)]
            return [Row([("To go on in spite of this, type ", Role.TEXT), *wanted, ("y", Role.KEY), (":", Role.TEXT)])]
        if self.sending:
            return [Row([("asking the engine …", Role.BACKUP)])]
        return [Row([("Nothing has been done yet.", Role.DIM)])]

    def told(self, cells: int) -> list[Row]:
        """What came of the latest key."""
        return paragraphs(self.message, cells, Role.DEGRADED) if self.message else []
