"""People: who is away, who has left, what they own and have done; what nobody covers, and who can run what."""

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
    from opsdash.model.views import CoverageView, PersonView

DAY = 86400.0
MOST_TOLD = 3
UNTIL = {"1": "1 day", "3": "3 days", "7": "1 week", "14": "2 weeks", "28": "4 weeks", "": "until further notice"}


class PeoplePage(Page):
    """Everybody of `opsdash.yaml`."""

    scopes = (Scope.PEOPLE,)
    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.PEOPLE))

    def __init__(self) -> None:
        super().__init__()
        self.people: list[PersonView] = []
        self.cover: CoverageView | None = None

    async def load(self) -> None:
        self.people = await self.board.session.people()
        self.cover = await self.board.session.cover()

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
            rows += [Row([("      " + line, Role.DIM)], person["id"]) for line in self._did(person, cells - 8)]
        return [*rows, *self._covered(cells), *self._rotas(cells)]

    def _did(self, person: PersonView, cells: int) -> list[str]:
        """The latest things that somebody has done, in a line; nothing for who has done nothing."""
        latest = person["did"][:MOST_TOLD]
        told = [f"{deed['component']}: {deed['words']} {day(deed['at'], self.board.tz)}" for deed in latest]
        more = len(person["did"]) - len(told)
        return [cut("did " + "; ".join(told) + (f" and {more} more" if more > 0 else ""), cells)] if told else []

    def _covered(self, cells: int) -> list[Row]:
        """Who can run each component, by what they have done: nobody is red, one person amber."""
        if self.cover is None or not self.cover["components"]:
            return []
        name = 22 if cells >= 100 else 14
        head = left("   COMPONENT", name + 3) + left("CAN RUN IT", 14) + "BY WHAT THEY HAVE DONE"
        rows = [Row([]), Row([(head, Role.DIM)])]
        for each in self.cover["components"]:
            factor = each["bus_factor"]
            said, role = self._factor(factor)
            duty = f"on duty: {', '.join(each['on_duty'])}; " if each["on_duty"] else ""
            who = ", ".join(
                f"{deed['person']} ({deed['words']}, {day(deed['at'], self.board.tz)})" for deed in each["can_run"]
            )
            told = cut(duty + (who or "nobody has done it in 180 days"), cells - name - 20)
            rows.append(Row([
                ("   ", Role.TEXT), (left(cut(each["title"], name - 1), name), Role.STRONG), (left(said, 14), role),
                (told, Role.TEXT if who else Role.DIM),
            ]))  # fmt: skip
            for gap in each["gaps"]:
                rows += [Row([("     ! " + line, Role.DEGRADED)]) for line in wrap(gap["words"], cells - 10)]
        return rows

    @staticmethod
    def _factor(factor: int) -> tuple[str, Role]:
        if factor > 1:
            return f"✓ {factor} people", Role.OK
        return ("! 1 person", Role.DEGRADED) if factor else ("✗ nobody", Role.DOWN)

    def _rotas(self, cells: int) -> list[Row]:
        """Who is on duty by which rota, who comes next, and when nobody does."""
        rows: list[Row] = []
        for rota in self.cover["rotas"] if self.cover is not None else []:
            now = ", ".join(rota["on_duty"])
            until = f" until {day(rota['until'], self.board.tz)}" if rota["until"] else ""
            following = f", then {rota['next']} from {day(rota['next_at'], self.board.tz)}" if rota["next_at"] else ""
            shown = now + until if now else "nobody is on duty"
            rows += [Row([]), Row([
                ("   rota ", Role.DIM), (rota["id"] + "  ", Role.STRONG), (shown, Role.OK if now else Role.DOWN),
                (cut(following, max(0, cells - 12 - len(rota["id"]) - len(shown))), Role.TEXT),
            ])]  # fmt: skip
            for gap in rota["gaps"]:
                rows += [Row([("     ! " + line, Role.DEGRADED)]) for line in wrap(gap["words"], cells - 10)]
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
        if person["away_from"] is not None:
            return "✓ here, away " + day(person["away_from"], self.board.tz), Role.OK
        return "✓ on duty" if person["on_duty"] else "✓ here", Role.OK

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
