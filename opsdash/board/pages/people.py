"""People: who is away, who has left, what they own, and what therefore nobody covers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from opsdash.board.dialogs import AskDialog, ChoiceDialog
from opsdash.board.keymap import Scope, bindings
from opsdash.board.lines import CURSOR, Line, Role, Row, cut, left, wrap
from opsdash.board.page import Page
from opsdash.board.words import day

if TYPE_CHECKING:
    from textual.binding import BindingType

    from opsdash.board.state import Changes
    from opsdash.model.views import PersonView

DAY = 86400.0
UNTIL = {"1": "1 day", "3": "3 days", "7": "1 week", "14": "2 weeks", "28": "4 weeks", "": "until further notice"}


class PeoplePage(Page):
    """Everybody of `opsdash.yaml`."""

    scopes = (Scope.PEOPLE,)
    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.PEOPLE))

    def __init__(self) -> None:
        super().__init__()
        self.people: list[PersonView] = []

    async def load(self) -> None:
        self.people = await self.board.session.people()

    def heard(self, changes: Changes) -> None:
        if changes.summary:
            self.reload()

    def place(self) -> Line:
        away = sum(person["away"] or person["left"] for person in self.people)
        return [("wall › ", Role.DIM), ("people", Role.STRONG), (f"   {away} of {len(self.people)} not here", Role.DIM)]

    def body(self, cells: int) -> list[Row]:
        rows = self._uncovered(cells)
        if not self.people:
            return [*rows, Row([("   Nobody is declared in opsdash.yaml.", Role.DIM)])]
        name, contact = (22, 24) if cells >= 100 else (14, 0)
        owned = cells - 3 - name - 24 - contact
        head = left("   PERSON", name + 3) + left("NOW", 24) + left("CONTACT" if contact else "", contact) + "OWNS"
        rows.append(Row([(head, Role.DIM)]))
        for person in self.people:
            now, role = self._now(person)
            owns = wrap(", ".join(person["owns"]) or "nothing", max(10, owned))
            rows.append(Row([
                CURSOR, ("  ", Role.TEXT), (left(cut(person["name"], name - 1), name), Role.STRONG),
                (left(now, 24), role), (left(cut(person["contact"] or "—", contact - 1), contact), Role.DIM),
                (owns[0], Role.TEXT),
            ], person["id"]))  # fmt: skip
            rows += [Row([(" " * (cells - owned), Role.TEXT), (line, Role.TEXT)], person["id"]) for line in owns[1:]]
        return rows

    def _uncovered(self, cells: int) -> list[Row]:
        uncovered = self.state.summary["uncovered"] if self.state.summary else []
        if not uncovered:
            return [Row([]), Row([("   ✓ every component has somebody who is here", Role.OK)]), Row([])]
        titles = [self.state.rows[one]["title"] if one in self.state.rows else one for one in uncovered]
        return [
            Row([]),
            *(Row([("   " + line, Role.DOWN)]) for line in wrap("✗ NOBODY COVERS: " + ", ".join(titles), cells - 6)),
            Row([]),
        ]

    def _now(self, person: PersonView) -> tuple[str, Role]:
        if person["left"]:
            return "has left", Role.DEGRADED
        if person["away"]:
            return ("away until " + day(person["until"], self.board.tz) if person["until"] else "away"), Role.DEGRADED
        return "✓ here", Role.OK

    def _selected(self) -> PersonView | None:
        return next((person for person in self.people if person["id"] == self.paper.cursor), None)

    def action_away(self) -> None:
        person = self._selected()
        if person is None:
            return

        def chosen(days: str | None) -> None:
            if days is None:
                return
            until = self.state.now(self.board.clock()) + float(days) * DAY if days else None
            self.board.want(
                "away", {"person": person["id"], "until": until, "start": None, "back": False},
                done=f"{person['name']} is away.",
            )  # fmt: skip

        self.board.push_screen(
            ChoiceDialog(
                f"For how long is {person['name']} away?", {key or "0": label for key, label in UNTIL.items()}
            ),
            lambda days: chosen("" if days == "0" else days),
        )

    def action_back(self) -> None:
        person = self._selected()
        if person is None:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                arguments = {"person": person["id"], "until": None, "start": None, "back": True}
                self.board.want("away", arguments, done=f"{person['name']} is back.")

        self.board.push_screen(AskDialog(f"Is {person['name']} back?", "back"), answered)
