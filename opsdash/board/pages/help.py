"""All keys, from the same table as the keys themselves; those of the screen below come first."""

from __future__ import annotations

from typing import ClassVar

from opsdash.board.keymap import Scope, actions_of, keys_of
from opsdash.board.lines import Line, Role, Row, left, wrap
from opsdash.board.page import Page

SIGNS = (
    ("✓ ok", Role.OK, "the job gets done"),
    (
        "! DEGRADED",
        Role.DEGRADED,
        "it gets done, but not as it should: slow, on a weak provider, or in a degraded mode",
    ),
    ("✗ DOWN", Role.DOWN, "it does not get done, confirmed by repeated checks"),
    ("? UNKNOWN", Role.UNKNOWN, "nobody can tell: never taken for good, never for down"),
    ("~ ON BACKUP", Role.BACKUP, "ok, but served by a backup"),
    ("‖ PAUSED", Role.DIM, "somebody stopped the checks for a while"),
    ("· STALE", Role.STALE, "the engine has not been heard for 3 s: what is shown may no longer be so"),
)


class HelpPage(Page):
    """Keys and signs."""

    BINDINGS: ClassVar[list[object]] = []  # type: ignore[assignment] # only those of a page

    def __init__(self, here: tuple[Scope, ...]) -> None:
        super().__init__()
        self.here = here

    def place(self) -> Line:
        return [("help", Role.STRONG), ("   keys marked * change something; a read-only board refuses them", Role.DIM)]

    def tick(self) -> None:
        self.draw_head()

    def body(self, cells: int) -> list[Row]:
        rows: list[Row] = []
        for scope in (*self.here, *(scope for scope in Scope if scope not in self.here)):
            rows += [
                Row([]),
                Row([(f" {scope.value}", Role.HEADING), ("   here" if scope in self.here else "", Role.DIM)]),
            ]
            for action in actions_of(scope):
                keys = " ".join(keys_of(action, self.board.keys))
                for number, line in enumerate(wrap(action.tooltip, max(10, cells - 34))):
                    first = number == 0
                    rows.append(Row([
                        (left(f"   {keys}" if first else "", 13), Role.KEY),
                        (left(action.label + ("*" if action.changes else "") if first else "", 20), Role.STRONG),
                        (line, Role.TEXT),
                    ]))  # fmt: skip
        rows += [Row([]), Row([(" Signs", Role.HEADING)])]
        rows += [Row([(left(f"   {word}", 20), role), (text, Role.TEXT)]) for word, role, text in SIGNS]
        return rows
