"""Incidents: what is open, who is on it, and the timeline of the one under the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from opsdash.board.dialogs import ChoiceDialog, PromptDialog
from opsdash.board.editor import compose
from opsdash.board.keymap import Scope, bindings
from opsdash.board.lines import CURSOR, Line, Role, Row, box, cut, left, width, wrap
from opsdash.board.page import Page
from opsdash.board.state import text_filter
from opsdash.board.words import DRILL_MARK, INCIDENT, ago, date_time, sign
from opsdash.core.severity import WORDS as SEVERITY
from opsdash.model.units import format_duration

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
        kind = "in all" if self.closed else "not closed"
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
            words = "No incident is open, none is to be closed." if self.asked else "asking the engine …"
            return [Row([]), Row([(f"   {words}", Role.DIM)])]
        rows = [Row([(left("    ID", 14) + left("STATE", 15) + left("SINCE", 8) + "WHAT", Role.DIM)])]
        rows += [Row(incident_line(one, now, cells), one["id"]) for one in shown]
        selected = next((one for one in shown if one["id"] == self.paper.cursor), None)
        if selected is not None:
            rows += [
                Row([]),
                *box(
                    [(f"timeline of {selected['id']}", Role.DIM)],
                    [*about_rows(selected, now, cells - 4), *timeline_rows(selected, now, cells - 4, self.board.tz)],
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

    def action_write(self) -> None:
        if (incident := self._needs()) is None:
            return

        async def job() -> None:
            remark = f"A note for {incident['id']}. Lines that begin with # are left out; an empty note is none."
            try:
                text = await compose(self.board, remark)
            except OSError as error:
                self.board.say(f"Nothing was noted: {error}. n takes a line.", severity="warning")
                return
            if text:
                await self.board.ask("note", {"incident": incident["id"], "text": text})
                self.reload()
            else:
                self.board.say("Nothing was written, so nothing was noted.")

        self.run_worker(job(), exit_on_error=False)

    def action_resolve(self) -> None:
        if (incident := self._needs()) is None:
            return
        if incident["state"] == "resolved":
            question = f"Close {incident['id']}. Anything to add? (may be empty)"
        else:
            question = f"Resolve and close {incident['id']}: what proves that it is over?"
        self._with_words(incident, question, "resolve", "text", may_be_empty=incident["state"] == "resolved")

    def _with_words(
        self, incident: IncidentView, question: str, intent: str, name: str, *, may_be_empty: bool = False
    ) -> None:
        """Ask for a line, and want something with it."""

        def written(text: str | None) -> None:
            if text is not None:
                self.board.want(intent, {"incident": incident["id"], name: text}, done=f"{incident['id']}: noted.")

        self.board.push_screen(PromptDialog(question, may_be_empty=may_be_empty), written)

    def action_cancel(self) -> None:
        if (incident := self._needs()) is not None:
            self._with_words(incident, f"{incident['id']} was none. Why not?", "cancel_incident", "reason")

    def action_reopen(self) -> None:
        if (incident := self._needs()) is not None:
            self._with_words(incident, f"Reopen {incident['id']}. What is wrong again?", "reopen", "reason")

    def action_hand_over(self) -> None:
        if (incident := self._needs()) is not None:
            question = f"Hand over {incident['id']}. What is needed that opsdash cannot know? (may be empty)"
            self._with_words(incident, question, "offer_handover", "text", may_be_empty=True)

    def action_accept(self) -> None:
        if (incident := self._needs()) is not None:
            done = f"{incident['id']} is yours: you lead it from now on."
            self.board.want("accept_handover", {"incident": incident["id"]}, done=done)

    def action_mitigated(self) -> None:
        if (incident := self._needs()) is not None:
            given = {"incident": incident["id"], "what": "mitigated"}
            self.board.want("incident_time", given, done=f"{incident['id']}: users are served again.")

    def action_severity(self) -> None:
        if (incident := self._needs()) is None:
            return

        def chosen(number: str | None) -> None:
            if number:
                self.board.want("rate", {"incident": incident["id"], "severity": int(number)})

        choices = {str(number): f"{number}  {word}" for number, word in SEVERITY.items()}
        self.board.push_screen(ChoiceDialog(f"How bad is {incident['id']}?", choices), chosen)

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


def about_rows(incident: IncidentView, now: float, cells: int) -> list[Row]:
    """How bad it is, who leads it and until when, how long it has run without a backup, and what waits for somebody."""
    severity = incident["severity"]
    said = [f"severity {severity} ({SEVERITY.get(severity, '')})"] if severity else []
    if len(incident["components"]) > 1:
        said.append(f"with {', '.join(incident['components'][1:])}")
    said.append(f"lead {incident['lead']}" if incident["lead"] else "nobody leads it")
    if incident["state"] == "acknowledged" and incident["ack_until"] is not None:
        said.append(f"asked again in {format_duration(max(0.0, incident['ack_until'] - now))}")
    if incident["mitigated_at"] is not None:
        end = now if incident["resolved_at"] is None else incident["resolved_at"]
        said.append(f"without a backup for {format_duration(max(0.0, end - incident['mitigated_at']))}")
    rows = [Row([(cut("   ".join(said), cells), Role.TEXT)])]
    offered = incident["handover"]
    if offered is not None and not offered["accepted_by"]:
        to = offered["to"] or "whoever comes next"
        rows.append(Row([("t", Role.KEY), (f" {offered['who']} hands it over to {to}", Role.DEGRADED)]))
    return [*rows, Row([])]


def incident_line(incident: IncidentView, now: float, cells: int) -> Line:
    """One incident in the list."""
    state = sign(INCIDENT, incident["state"])
    mine = f"   {incident['acknowledged_by']} is on it" if incident["acknowledged_by"] else ""
    if incident["state"] == "open":
        mine = "   nobody is on it"
    drill: Line = [DRILL_MARK] if incident["kind"] == "drill" else []
    title = f"{incident['component']}: {incident['title'].removeprefix(DRILL_MARK[0])}"
    return [
        CURSOR, (" ", Role.TEXT), (f"{state.mark} ", state.role), (left(incident["id"], 9) + " ", Role.STRONG),
        (left(state.word, 15), state.role), (left(ago(incident["opened_at"], now), 8), Role.TEXT),
        *drill, (cut(title, max(10, cells - 56 - width(drill))), Role.TEXT),
        (mine, Role.DEGRADED if incident["state"] == "open" else Role.DIM),
    ]  # fmt: skip


def timeline_rows(incident: IncidentView, now: float, cells: int, tz: tzinfo | None) -> list[Row]:
    """What happened, oldest first; what was written later than it happened says so."""
    rows = []
    for entry in sorted(incident["entries"], key=lambda entry: entry["at"]):
        late = f" (written {date_time(entry['recorded'], tz, now)})" if entry["recorded"] - entry["at"] > 60 else ""
        edited = " (edited)" if entry["edits"] else ""
        lines = [part for line in entry["text"].split("\n") for part in wrap(line, max(10, cells - 37)) or [""]]
        lines[-1:] = wrap(lines[-1] + late + edited, max(10, cells - 37))
        for number, line in enumerate(lines):
            first = number == 0
            rows.append(Row([
                (left(date_time(entry["at"], tz, now) if first else "", 13), Role.DIM),
                (left(entry["kind"].replace("_", " ") if first else "", 13), Role.HEADING),
                (left(entry["who"] if first else "", 11), Role.DIM), (line, Role.TEXT),
            ]))  # fmt: skip
    return rows or [Row([("nothing was written yet", Role.DIM)])]
