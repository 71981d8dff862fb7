"""Incidents: what is open, who is on it, and the timeline of the one under the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from opsdash.board.dialogs import PromptDialog
from opsdash.board.keymap import Scope, bindings
from opsdash.board.lines import CURSOR, Line, Role, Row, box, cut, left, wrap
from opsdash.board.page import Page
from opsdash.board.state import text_filter
from opsdash.board.words import INCIDENT, ago, date_time, sign

if TYPE_CHECKING:
    from datetime import tzinfo

    from textual.binding import BindingType

    from opsdash.board.state import Changes
    from opsdash.model.views import IncidentView


class IncidentsPage(Page):
    """List above, timeline below."""

    scopes = (Scope.INCIDENTS,)
    has_filter = True
    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.INCIDENTS))

    def __init__(self, component: str | None = None) -> None:
        super().__init__()
        self.wanted = component
        self.incidents: list[IncidentView] = []
        self.closed = False
        self.asked = False

    async def load(self) -> None:
        self.incidents = await self.board.session.incidents(closed=self.closed)
        self.asked = True

    def heard(self, changes: Changes) -> None:
        if changes.rows or changes.summary:
            self.reload()

    def place(self) -> Line:
        kind = "open and resolved" if self.closed else "open"
        return [("wall › ", Role.DIM), ("incidents", Role.STRONG), (f"   {len(self.incidents)} {kind}", Role.DIM)]

    def on_paper_moved(self) -> None:
        self.draw()

    def draw_body(self) -> None:
        super().draw_body()
        if self.wanted is not None and self.paper.items:
            mine = [incident["id"] for incident in self.incidents if incident["component"] == self.wanted]
            self.wanted = None
            if mine:
                self.paper.select(mine[0])
        if self.paper.cursor and not any("timeline" in span[0] for row in self.paper.rows for span in row.line):
            super().draw_body()

    @property
    def selected(self) -> IncidentView | None:
        """The incident under the cursor."""
        return next((one for one in self.incidents if one["id"] == self.paper.cursor), None)

    def body(self, cells: int) -> list[Row]:
        test = text_filter(self.filter)
        now = self.state.now(self.board.clock())
        shown = [one for one in self.incidents if test(f"{one['id']} {one['title']} {one['component']} {one['state']}")]
        if not shown:
            words = "No incident is open." if self.asked else "asking the engine …"
            return [Row([]), Row([(f"   {words}", Role.DIM)])]
        rows = [Row([(left("    ID", 14) + left("STATE", 15) + left("SINCE", 8) + "WHAT", Role.DIM)])]
        rows += [Row(incident_line(one, now, cells), one["id"]) for one in shown]
        selected = next((one for one in shown if one["id"] == self.paper.cursor), None)
        if selected is not None:
            rows += [
                Row([]),
                *box(
                    [(f"timeline of {selected['id']}", Role.DIM)],
                    timeline_rows(selected, now, cells - 4, self.board.tz),
                    cells,
                ),
            ]
        return rows

    def _needs(self) -> IncidentView | None:
        if self.selected is None:
            self.board.say("No incident is chosen.")
        return self.selected

    def action_ack(self) -> None:
        if (incident := self._needs()) is not None:
            self.board.want("ack", {"incident": incident["id"]}, done=f"{incident['id']} acknowledged.")

    def action_note(self) -> None:
        if (incident := self._needs()) is None:
            return

        def written(text: str | None) -> None:
            if text:
                self.board.want("note", {"incident": incident["id"], "text": text})

        self.board.push_screen(PromptDialog(f"Note for {incident['id']}:"), written)

    def action_resolve(self) -> None:
        if (incident := self._needs()) is None:
            return

        def written(text: str | None) -> None:
            if text:
                self.board.want(
                    "resolve", {"incident": incident["id"], "text": text}, done=f"{incident['id']} resolved."
                )

        self.board.push_screen(PromptDialog(f"Resolve {incident['id']}: what proves that it is over?"), written)

    def action_open(self) -> None:
        if (incident := self._needs()) is not None:
            self.board.open_component(incident["component"])

    def action_runbook(self) -> None:
        if (incident := self._needs()) is None:
            return

        async def job() -> None:
            detail = await self.board.session.component(incident["component"])
            active = [one["runbook"] for one in detail["failures"] if one["active"] and one["runbook"]]
            runbook = active[0] if active else detail["runbook"]
            if runbook is None:
                self.board.say("No runbook is declared for it.", severity="warning")
            else:
                self.board.open_runbook(runbook, incident["component"])

        self.run_worker(job(), exit_on_error=False)

    def action_closed(self) -> None:
        self.closed = not self.closed
        self.reload()


def incident_line(incident: IncidentView, now: float, cells: int) -> Line:
    """One incident in the list."""
    state = sign(INCIDENT, incident["state"])
    mine = f"   {incident['acknowledged_by']} is on it" if incident["acknowledged_by"] else ""
    if incident["state"] == "open":
        mine = "   nobody is on it"
    return [
        CURSOR, (" ", Role.TEXT), (f"{state.mark} ", state.role), (left(incident["id"], 9) + " ", Role.STRONG),
        (left(state.word, 15), state.role), (left(ago(incident["opened_at"], now), 8), Role.TEXT),
        (cut(f"{incident['component']}: {incident['title']}", max(10, cells - 56)), Role.TEXT),
        (mine, Role.DEGRADED if incident["state"] == "open" else Role.DIM),
    ]  # fmt: skip


def timeline_rows(incident: IncidentView, now: float, cells: int, tz: tzinfo | None) -> list[Row]:
    """What happened, oldest first; what was written later than it happened says so."""
    rows = []
    for entry in sorted(incident["entries"], key=lambda entry: entry["at"]):
        late = f" (written {date_time(entry['recorded'], tz, now)})" if entry["recorded"] - entry["at"] > 60 else ""
        for number, line in enumerate(wrap(entry["text"] + late, max(10, cells - 37))):
            first = number == 0
            rows.append(Row([
                (left(date_time(entry["at"], tz, now) if first else "", 13), Role.DIM),
                (left(entry["kind"].replace("_", " ") if first else "", 13), Role.HEADING),
                (left(entry["who"] if first else "", 11), Role.DIM), (line, Role.TEXT),
            ]))  # fmt: skip
    return rows or [Row([("nothing was written yet", Role.DIM)])]
