"""A switch, running or past: where it is, the four facts with their evidence, its outcome, and the ways out.

A switch that is not known to have worked is never called done. From `unknown`, `split` and `needs a person` a person
leads out: `undo`, `settle` (state the outcome, with a reason), `take over` (observe again, fire nothing).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from opsdash.board.dialogs import AskDialog, ChoiceDialog, PromptDialog
from opsdash.board.keymap import Scope, bindings
from opsdash.board.lines import Line, Role, Row, left, paragraphs, spread, wrap
from opsdash.board.page import Dialog
from opsdash.board.words import KIND, OUTCOME, TRUTH, date_time, sign

if TYPE_CHECKING:
    from datetime import tzinfo

    from textual.binding import BindingType

    from opsdash.board.state import Changes
    from opsdash.model.views import FactView, SwitchView

PHASES = ("decide", "act", "settle", "verify")
PHASE_OF = {"intent": "act", "fencing": "act", "acting": "act", "settling": "settle", "verifying": "verify"}
SETTLED = {
    "committed": "committed: the new side serves",
    "aborted": "aborted: nothing was changed",
    "undone": "undone: the old side serves again",
}


class ProgressDialog(Dialog[None]):
    """The live or last switch of a component; `awaited`: the one that was just asked for."""

    leaving = "close, it goes on"

    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.PROGRESS))

    def __init__(self, component: str, awaited: str = "") -> None:
        super().__init__()
        self.component, self.awaited = component, awaited
        self.switch: SwitchView | None = None
        self.loaded = False

    async def load(self) -> None:
        switch = await self.board.session.switch(self.component)
        self.loaded = True
        if switch is None or not self.awaited or switch["id"] == self.awaited or not switch["live"]:
            self.switch = switch

    def heard(self, changes: Changes) -> None:
        if self.component in changes.rows or changes.summary:
            self.reload()

    def tick(self) -> None:
        if self.switch is None or self.switch["live"] or self.switch["ways_out"]:
            self.reload()
        self.draw()

    def title_line(self, cells: int) -> Line:
        row = self.state.rows.get(self.component)
        title = row["title"] if row else self.component
        kind = KIND.get(self.switch["kind"], self.switch["kind"]) if self.switch else "Switch"
        end: Line = [(self.switch["id"], Role.DIM)] if self.switch else []
        return spread([(kind, Role.HEADING), (f"  {title}", Role.STRONG)], end, cells)

    def rows(self, cells: int) -> list[Row]:
        rows: list[Row] = []
        if self.state.stale(self.board.clock()) or self.trouble:
            why = self.trouble or "the engine is not heard"
            rows += [*paragraphs(f"STALE: {why}. The switch goes on without this board.", cells, Role.ALERT), Row([])]
        if self.switch is None:
            words = "No switch was ever made here." if self.loaded else "asking the engine …"
            return [*rows, Row([(words, Role.DIM)])]
        return [*rows, *switch_rows(self.switch, self.state.now(self.board.clock()), cells, self.board.tz)]

    def hints(self) -> Line:
        ways = self.switch["ways_out"] if self.switch else []
        return self.keys_line(*(way for way in ("abort", "undo", "settle", "take_over") if way in ways))

    def leaves(self) -> str:
        return self.leaving if self.switch is None or self.switch["live"] else "close"

    def _offered(self, way: str) -> bool:
        if self.switch is not None and way in self.switch["ways_out"]:
            return True
        self.board.say("There is nothing to lead out of: this way is not open now.", severity="warning")
        return False

    def action_undo(self) -> None:
        switch = self.switch
        if switch is None or not self._offered("undo"):
            return
        back = switch["source_title"] or "normal operation"

        def answered(yes: bool | None) -> None:
            if yes:
                self.board.want("undo", {"component": self.component, "reason": "undone on the board"})

        self.board.push_screen(AskDialog(f"Undo: lead it back to {back}?", "undo"), answered)

    def action_take_over(self) -> None:
        if not self._offered("take_over"):
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.board.want("take_over", {"component": self.component, "reason": "taken over on the board"})

        self.board.push_screen(AskDialog("Take over: observe it again? Nothing is fired.", "observe"), answered)

    def action_abort(self) -> None:
        switch = self.switch
        if switch is None or not self._offered("abort"):
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.board.want("abort", {"component": self.component, "reason": "called off on the board"})

        whose = (
            "opsdash began it by itself."
            if switch["cause"] == "auto"
            else f"It is {switch['who']}'s: if you are somebody else, you only ask for it."
        )
        question = f"Call it off? What was begun is taken back. {whose}"
        self.board.push_screen(AskDialog(question, "call off"), answered)

    def action_settle(self) -> None:
        if not self._offered("settle"):
            return

        def chosen(state: str | None) -> None:
            if state:
                self.board.push_screen(
                    PromptDialog(f"{SETTLED[state]}. How do you know?"), lambda reason: self._settle(state, reason)
                )

        self.board.push_screen(ChoiceDialog("You have looked. What is the outcome?", SETTLED), chosen)

    def _settle(self, state: str, reason: str | None) -> None:
        if not reason:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.board.want("settle", {"component": self.component, "state": state, "reason": reason})

        self.board.push_screen(AskDialog(f"State that it is {SETTLED[state]}?", "state it", about=reason), answered)


def switch_rows(switch: SwitchView, now: float, cells: int, tz: tzinfo | None) -> list[Row]:
    """A switch as a page."""
    source = switch["source_title"] or switch["source"] or "normal operation"
    target = switch["target_title"] or switch["target"] or "normal operation"
    outcome = sign(OUTCOME, switch["state"])
    rows = [
        Row([("FROM ", Role.DIM), (source, Role.STRONG), ("   TO ", Role.DIM), (target, Role.BACKUP)]),
        Row(
            [
                (f"by {switch['who']} at {date_time(switch['intended_at'], tz, now)}", Role.DIM),
                (f"  {switch['reason']}", Role.TEXT),
            ]
        ),
    ]
    if switch["approved_by"]:
        rows.append(Row([(f"with {switch['approved_by']} as the second person", Role.TEXT)]))
    if switch["cause"] == "auto":
        rows.append(Row([("opsdash did this by itself", Role.DEGRADED)]))
    if switch["abort_asked"] and switch["live"]:
        rows.append(Row(_asked_line(switch)))
    if switch["live"] and "take_over" in switch["ways_out"]:
        rows += paragraphs("Nothing has come of it for too long: it can be taken over (t).", cells, Role.ALERT)
    if switch["overrides"]:
        rows.append(Row([("overridden: " + ", ".join(switch["overrides"]), Role.DEGRADED)]))
    rows += [Row([]), Row(times_line(switch))]
    if (late := switch["times"].get("detect")) is not None:
        rows.append(Row([(f"it was noticed {late:.1f}s after the first bad result", Role.DIM)]))
    rows.append(Row([]))
    if len(switch["sequence"]) > 1:
        rows += [Row(_steps_line(switch)), Row([])]
    rows.append(Row([("FOUR FACTS", Role.HEADING)]))
    for fact in switch["facts"]:
        rows += _fact(fact, cells, live=switch["live"])
    alert = outcome.role is Role.DOWN
    if switch["stated_by"]:
        words = f" - {switch['state'].replace('_', ' ')}, as {switch['stated_by']} states "
        rows += [Row([]), Row([(words, Role.DEGRADED)])]
    else:
        rows += [Row([]), Row([(f" {outcome.mark} {outcome.word} ", Role.ALERT if alert else outcome.role)])]
    if switch["in_doubt"]:
        rows += paragraphs(
            "The engine ended while this was in flight. Since then it was only observed.", cells, Role.DEGRADED
        )
    rows += paragraphs(switch["detail"], cells) if switch["detail"] else []
    if switch["steps"]:
        rows.append(Row([]))
        rows += [
            Row([(date_time(at, tz, now), Role.DIM), (f"  {text}", Role.TEXT)]) for at, text in switch["steps"][-6:]
        ]
    return rows


def _asked_line(switch: SwitchView) -> Line:
    """Who wants it to be called off, and what becomes of that."""
    if switch["called_off"]:
        words = " after this step, what was begun is taken back"
        return [(f" called off by {switch['abort_asked']} ", Role.ALERT), (words, Role.TEXT)]
    how: Line = [(f"  {switch['who']} can do that: ", Role.TEXT), ("a", Role.KEY)] if switch["live"] else []
    return [(f" {switch['abort_asked']} asks for it to be called off ", Role.ALERT), *how]


def _steps_line(switch: SwitchView) -> Line:
    """All steps in order: those whose action may have been carried out, the one that it is at, and those to come."""
    line: Line = [("STEPS  ", Role.HEADING)]
    back = switch["state"] == "undoing"
    for name in switch["sequence"]:
        if switch["live"] and name in switch["begun"] and name == (switch["step"] or "switch"):
            line.append((f"{'◂' if back else '▸'} {name}   ", Role.BACKUP))
        elif name in switch["begun"]:
            line.append((f"• {name}   ", Role.TEXT))
        else:
            line.append((f"· {name} not begun   ", Role.DIM))
    return line


def times_line(switch: SwitchView) -> Line:
    """The phases from noticed to verified with their times, and the total since the key."""
    line: Line = []
    running = PHASE_OF.get(switch["state"]) if switch["live"] else None
    for phase in PHASES:
        seconds = switch["times"].get(phase)
        if line:
            line.append(("  ─  ", Role.BORDER))
        if phase == running:
            line.append((f"▸ {phase}" + (f" {seconds:.1f}s" if seconds is not None else " …"), Role.BACKUP))
        elif seconds is not None:
            line.append((f"✓ {phase} {seconds:.1f}s", Role.TEXT))
        else:
            line.append((f"· {phase}", Role.DIM))
    total = switch["times"].get("total")
    if total is not None:
        line.append((f"     total {total:.1f}s", Role.STRONG))
    return line


def _fact(fact: FactView, cells: int, *, live: bool) -> list[Row]:
    truth = sign(TRUTH, fact["truth"])
    waiting = live and fact["truth"] in {"unknown", "false"} and fact["hits"] < fact["needed"]
    mark, word, role = ("…", "waiting", Role.BACKUP) if waiting else truth
    count = f"{fact['hits']} of {fact['needed']}" if fact["truth"] in {"true", "false", "unknown"} else ""
    evidence = wrap(fact["evidence"], max(10, cells - 62)) or [""]
    rows = [
        Row([
            (f" {mark}  ", role), (left(word, 13), role), (left(fact["title"], 40), Role.TEXT),
            (left(count, 8), Role.DIM), (evidence[0], Role.DIM),
        ])
    ]  # fmt: skip
    return [*rows, *(Row([(" " * 65, Role.DIM), (line, Role.DIM)]) for line in evidence[1:])]
