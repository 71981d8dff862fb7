"""A runbook beside the live status of what it is about.

The cursor goes over steps, their ticks and their blocks. The first tick, mark or block begins a run, so that everything
is resumable and journaled; until then the runbook is only read. A block that looks (`check`) runs at once, one that
changes something asks first, and a dangerous one wants the component's name typed. A step that failed leads to the
step it names for that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.board.dialogs import AskDialog
from opsdash.board.keymap import Scope, bindings
from opsdash.board.lines import CURSOR, Line, Role, Row, beside, box, cut, left, paragraphs, prose, right, spread, wrap
from opsdash.board.page import Page
from opsdash.board.words import BLOCK, INCIDENT, MARK, STALE, STATUS, ago, latency, sign, spark
from opsdash.model.text import clean
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from textual.binding import BindingType

    from opsdash.board.state import Changes
    from opsdash.model.views import BlockView, ComponentDetail, RunView, StepView

TWO_COLUMNS_FROM = 100
OUTPUT_LINES = 10


class RunbookPage(Page):
    """One runbook, for one component if one is concerned."""

    scopes = (Scope.RUNBOOK,)
    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.RUNBOOK, also=("open",)))

    def __init__(self, runbook: str, component: str | None = None) -> None:
        super().__init__()
        self.runbook, self.component = runbook, component
        self.run: RunView | None = None
        self.detail: ComponentDetail | None = None
        self.wide = False
        self._loaded_at = float("-inf")

    async def load(self) -> None:
        self.run = await self.board.session.runbook(self.runbook, self.component)
        self.component = self.component or self.run["component"] or None
        if self.component:
            self.detail = await self.board.session.component(self.component)
        self._loaded_at = self.board.clock()

    def heard(self, changes: Changes) -> None:
        if self.component in changes.rows or changes.summary:
            self.reload()
        self.draw_head()

    def tick(self) -> None:
        if self.board.clock() - self._loaded_at >= 1.0:
            self.reload()
        self.draw()

    # --- drawing -------------------------------------------------------------------------------------------------

    def place(self) -> Line:
        line: Line = [("wall › ", Role.DIM)]
        if self.detail:
            line += [(self.detail["row"]["title"], Role.TEXT), (" › ", Role.DIM)]
        line.append((self.run["title"] if self.run else self.runbook, Role.STRONG))
        if self.run and self.run["id"]:
            began = self.run["started_at"]
            elapsed = f", {ago(began, self.state.now(self.board.clock()))}" if began else ""
            line.append((f"   {self.run['id']} by {self.run['who']}{elapsed}", Role.DIM))
        return line

    def body(self, cells: int) -> list[Row]:
        if self.run is None:
            return [Row([(" asking the engine …", Role.DIM)])]
        clock = self.board.clock()
        now, stale = self.state.now(clock), self.state.stale(clock)
        if self.detail is None:
            return self._steps(cells)
        if cells < TWO_COLUMNS_FROM or self.wide:
            row = self.detail["row"]
            shown = STALE if stale else sign(STATUS, row["status"])
            return [
                Row([(f" {row['title']}  ", Role.STRONG), shown.span, (f"  {row['cause']}", Role.TEXT)]),
                *self._steps(cells),
            ]
        half = cells * 58 // 100
        beside_it = live_rows(self.detail, now, cells - half, stale=stale)
        return beside(self._steps(half), beside_it, half)

    def _steps(self, cells: int) -> list[Row]:
        assert self.run is not None  # noqa: S101 - drawn only when it is there
        return box(self._title(), run_rows(self.run, cells - 4, self.board.clock), cells, role=Role.BORDER)

    def _title(self) -> Line:
        assert self.run is not None  # noqa: S101 - drawn only when it is there
        steps = self.run["steps"]
        done = sum(1 for step in steps if step["mark"])
        return [(self.run["title"], Role.HEADING), (f"   {done} of {len(steps)} steps", Role.DIM)]

    def draw_body(self) -> None:
        first = self.run is not None and not self.paper.items
        super().draw_body()
        if first and self.run is not None:
            current = next((step for step in self.run["steps"] if not step["mark"]), None)
            if current is not None:
                self.paper.select(step_item(current))

    # --- what the cursor stands on -------------------------------------------------------------------------------

    def _under_cursor(self) -> tuple[StepView | None, str, int]:
        """Step, "tick" or "block" or "", and its number."""
        step_id, _, rest = self.paper.cursor.partition("\n")
        what, _, number = rest.partition(":")
        step = next((step for step in (self.run or {"steps": []})["steps"] if step["id"] == step_id), None)
        return step, what, int(number or 0)

    async def _run_id(self) -> str | None:
        """The open run; one is begun if there is none."""
        if self.run is None:
            return None
        if self.run["id"]:
            return self.run["id"]
        arguments = {"runbook": self.run["runbook"], "component": self.component or ""}
        verdict = await self.board.ask("open_run", arguments)
        return verdict["subject"] if verdict else None

    def _submit(self, intent: str, arguments: dict[str, Any]) -> None:
        async def job() -> None:
            run = await self._run_id()
            if run is not None:
                await self.board.ask(intent, {"run": run, **arguments})
            self.reload()

        self.run_worker(job(), exit_on_error=False)

    # --- keys ----------------------------------------------------------------------------------------------------

    def action_open(self) -> None:
        _, what, _ = self._under_cursor()
        if what == "block":
            self.action_execute()
        elif what == "tick":
            self.action_tick()

    def action_tick(self) -> None:
        step, what, number = self._under_cursor()
        if step is None:
            return
        if what != "tick":
            open_ticks = [index for index, (_, done) in enumerate(step["ticks"]) if not done]
            if not open_ticks:
                self.board.say("There is nothing to tick here; y says that the step is done.")
                return
            number = open_ticks[0]
        self._submit("tick", {"step": step["id"], "tick": number, "done": not step["ticks"][number][1]})

    def action_step_done(self) -> None:
        self._mark("done")

    def action_step_skipped(self) -> None:
        self._mark("skipped")

    def action_step_failed(self) -> None:
        step = self._mark("failed")
        if step is not None and step["if_fails"]:
            target = (
                next((other for other in self.run["steps"] if other["id"] == step["if_fails"]), None)
                if self.run
                else None
            )
            if target is not None:
                self.paper.select(step_item(target))
            else:
                self.board.say(f"If this fails: {step['if_fails']}", severity="warning")

    def _mark(self, mark: str) -> StepView | None:
        step, _, _ = self._under_cursor()
        if step is None or self.run is None:
            return None
        wanted = "open" if step["mark"] == mark else mark
        self._submit("mark_step", {"step": step["id"], "mark": wanted})
        if wanted == "open":
            return None
        steps = self.run["steps"]
        place = steps.index(step)
        if wanted != "failed" and place + 1 < len(steps):
            self.paper.select(step_item(steps[place + 1]))
        return step

    def _block(self) -> tuple[StepView, BlockView] | None:
        step, what, number = self._under_cursor()
        if step is None or not step["blocks"]:
            return None
        if what == "block":
            return step, step["blocks"][number]
        return step, step["blocks"][0]

    def action_execute(self) -> None:
        found = self._block()
        if found is None or self.run is None:
            self.board.say("There is no block to run here.")
            return
        if not self.run["executable"]:
            self.board.say("This runbook can only be read: see its findings.", severity="warning")
            return
        step, block = found
        if block["role"] not in {"check", "run", "undo"}:
            self.board.say("This block is only shown, it is not for running. c copies it.")
        elif block["role"] == "check" and not self._dangerous(step, block):
            self._execute(step, block)
        else:
            self._ask(step, block)

    @staticmethod
    def _dangerous(step: StepView, block: BlockView) -> bool:
        return block["danger"] or (step["danger"] and block["role"] != "check")

    def _ask(self, step: StepView, block: BlockView) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self._execute(step, block)

        typed = (self.component or self.runbook) if self._dangerous(step, block) else ""
        again = " It may have run already: look first." if block["state"] in {"started", "unknown"} else ""
        self.board.push_screen(
            AskDialog(f"Run this block of “{step['title']}”?{again}", "run it", about=block["code"], typed=typed),
            answered,
        )

    def _execute(self, step: StepView, block: BlockView) -> None:
        self._submit("run_block", {"step": step["id"], "block": block["index"]})

    def action_copy(self) -> None:
        found = self._block()
        if found is not None:
            self.board.copy_to_clipboard("\n".join(clean(line) for line in found[1]["code"].split("\n")))
            self.board.say("The block is in the clipboard.")

    def action_more(self) -> None:
        self.wide = not self.wide
        self.draw()

    def action_poll(self) -> None:
        if self.component:
            self.board.want("poll", {"target": self.component}, done="Its checks run now.")

    def action_end_run(self) -> None:
        if self.run is None or not self.run["id"]:
            self.board.say("No run is open.")
            return
        run = self.run["id"]

        def answered(yes: bool | None) -> None:
            if yes:
                self.board.want("end_run", {"run": run}, done=f"{run} is closed.")

        self.board.push_screen(AskDialog(f"Close {run}?", "close it"), answered)


def step_item(step: StepView) -> str:
    """What the cursor stands on at a step's title."""
    return f"{step['id']}\nstep:0"


_NOT_PROSE = re.compile(r"^\s*(?:```.*?^\s*```\s*$|[-*] \[[ xX]\].*?$)", re.MULTILINE | re.DOTALL)


def run_rows(run: RunView, cells: int, clock: object = None) -> list[Row]:  # noqa: ARG001
    """The runbook with its ticks, marks and outputs."""
    rows: list[Row] = []
    if run["changed"]:
        rows += paragraphs(
            "The file was edited since this run began: its text may differ from what was done.", cells, Role.DEGRADED
        )
    for finding in run["findings"]:
        rows += paragraphs(f"! {finding}", cells, Role.DEGRADED)
    if not run["executable"]:
        rows += paragraphs("It can be read, not executed.", cells, Role.DIM)
    if run["id"] == "":
        rows.append(Row([("Only read so far: the first tick or block begins a run.", Role.DIM)]))
    current = next((step["id"] for step in run["steps"] if not step["mark"]), None)
    for number, step in enumerate(run["steps"], 1):
        rows += [Row([]), *step_rows(step, number, cells, current=step["id"] == current)]
    if not run["steps"]:
        rows += [Row([]), *(Row(line) for line in prose(run["text"], cells))]
    return rows


def step_rows(step: StepView, number: int, cells: int, *, current: bool) -> list[Row]:
    """One step."""
    mark = sign(MARK, step["mark"])
    about = "  ".join(part for part in (step["who"], step["time"], "DANGER" if step["danger"] else "") if part)
    title: Line = [
        CURSOR,
        (f"{'●' if current else mark.mark} ", Role.BACKUP if current else mark.role),
        (f"{number}  ", Role.DIM),
        (step["title"], Role.STRONG if current or not step["mark"] else Role.DIM),
        (f"  {mark.word}" if mark.word else "", mark.role),
    ]
    rows = [Row(spread(title, [(about, Role.DEGRADED if step["danger"] else Role.DIM)], cells), step_item(step))]
    if step["mark"] and not current and step["mark"] != "failed":
        return rows
    pad = (" " * 6, Role.TEXT)
    rows += [Row([pad, *line]) for line in prose(_NOT_PROSE.sub("", step["text"]).strip("\n"), cells - 6) if line]
    for index, (text, done) in enumerate(step["ticks"]):
        for place, line in enumerate(wrap(text, cells - 10)):
            box_mark = ("[x] " if done else "[ ] ") if place == 0 else "    "
            spans: Line = [
                CURSOR,
                (" " * 5, Role.TEXT),
                (box_mark, Role.OK if done else Role.KEY),
                (line, Role.DIM if done else Role.TEXT),
            ]
            rows.append(Row(spans if place == 0 else [(" ", Role.TEXT), *spans[1:]], f"{step['id']}\ntick:{index}"))
    for index, block in enumerate(step["blocks"]):
        rows += block_rows(block, f"{step['id']}\nblock:{index}", cells)
    if step["expect"]:
        rows += [
            Row([pad, (left("expect", 9) if place == 0 else " " * 9, Role.DIM), (line, Role.TEXT)])
            for place, line in enumerate(wrap(step["expect"], cells - 15))
        ]
    if step["if_fails"] and current:
        rows.append(Row([pad, ("n", Role.KEY), (f" if it fails: go to {step['if_fails']}", Role.DIM)]))
    return rows


def block_rows(block: BlockView, item: str, cells: int) -> list[Row]:
    """An executable block and what came of it."""
    state = sign(BLOCK, block["state"])
    role = block["role"] + (" danger" if block["danger"] else "")
    rows = []
    for place, line in enumerate(wrap(block["code"].rstrip("\n"), cells - 18) or [""]):
        head: Line = [CURSOR, (" " * 5, Role.TEXT)] if place == 0 else [(" " * 6, Role.TEXT)]
        rows.append(
            Row(
                [
                    *head,
                    (left(role if place == 0 else "", 11), Role.DEGRADED if block["danger"] else Role.DIM),
                    (line, Role.CODE),
                ],
                item,
            )
        )
    if block["state"]:
        when = [
            (" " * 6, Role.TEXT),
            (left("", 11), Role.DIM),
            (f"{state.mark} {state.word}", state.role),
            (f"  {block['detail']}", Role.TEXT),
        ]
        rows.append(Row(when, item))
    if block["output"]:
        lines = [piece for line in block["output"].rstrip("\n").split("\n") for piece in wrap(clean(line), cells - 20)]
        hidden = len(lines) - OUTPUT_LINES
        if hidden > 0:
            rows.append(Row([(" " * 17, Role.TEXT), (f"│ … {hidden} lines before", Role.DIM)]))
        rows += [Row([(" " * 17, Role.TEXT), ("│ ", Role.BORDER), (line, Role.DIM)]) for line in lines[-OUTPUT_LINES:]]
    return rows


def live_rows(detail: ComponentDetail, now: float, cells: int, *, stale: bool) -> list[Row]:
    """The live status of what a runbook is about."""
    row = detail["row"]
    inner = cells - 4
    shown = STALE if stale else sign(STATUS, row["status"])
    rows = [Row(spread([(row["title"], Role.STRONG)], [shown.span, (f"  {ago(row['since'], now)}", Role.DIM)], inner))]
    rows += paragraphs(f"  {row['cause']}", inner) if row["cause"] else []
    for provider in detail["providers"]:
        status = STALE if stale else sign(STATUS, provider["status"])
        worst = next((check for check in provider["checks"] if check["status"] != "ok"), None)
        first = worst or (provider["checks"][0] if provider["checks"] else None)
        rows.append(
            Row(_live_line(f"  {provider['title']}" + (", serves" if provider["active"] else ""), status, first, inner))
        )
    for check in detail["checks"]:
        status = STALE if stale else sign(STATUS, check["status"])
        rows.append(Row(_live_line("  " + check["name"], status, check, inner)))
    for feature in detail["features"]:
        works = {"yes": ("✓ works", Role.OK), "no": ("✗ DOES NOT WORK", Role.DOWN)}.get(
            feature["works"], ("? " + feature["works"], Role.UNKNOWN)
        )
        rows.append(Row(spread([(f"  {feature['title']}", Role.TEXT)], [works if not stale else STALE.span], inner)))
    page = box([("live", Role.DIM)], rows, cells)
    page += box([("what else concerns it", Role.DIM)], _around(detail, inner, stale=stale), cells)
    worse = _if_it_gets_worse(detail, now, inner)
    return page + (box([("the register", Role.DIM)], worse, cells) if worse else [])


def _live_line(name: str, status: Any, check: Any, cells: int) -> Line:
    name_cells = max(10, cells - 11 - 7 - 8)
    graph = spark(check["spark"], 8) if check else []
    speed = latency(check["latency"]) if check else ""
    return [
        (left(cut(name, name_cells - 1), name_cells), Role.TEXT),
        (left(f"{status.mark} {status.word}", 11), status.role),
        (right(speed, 6), Role.TEXT),
        (" ", Role.TEXT),
        *graph,
    ]


def _around(detail: ComponentDetail, cells: int, *, stale: bool) -> list[Row]:
    rows = []
    for name, others in (("needs", detail["needs"]), ("needed by", detail["needed_by"])):
        for other, status in others:
            shown = STALE if stale else sign(STATUS, status)
            rows.append(Row(spread([(left(name, 11), Role.DIM), (other, Role.TEXT)], [shown.span], cells)))
            name = ""  # noqa: PLW2901 - named once
    incident = detail["incident"]
    if incident is not None:
        state = sign(INCIDENT, incident["state"])
        rows.append(Row([(left("incident", 11), Role.DIM), (f"{incident['id']}  ", Role.TEXT), state.span]))
    people = ", ".join(person["name"] + (" (away)" if person["away"] else "") for person in detail["owners"])
    rows.append(
        Row([(left("owners", 11), Role.DIM), (people or "nobody", Role.DOWN if detail["uncovered"] else Role.TEXT)])
    )
    return rows


def _if_it_gets_worse(detail: ComponentDetail, now: float, cells: int) -> list[Row]:
    rows = []
    for failure in detail["failures"]:
        role = Role.STRONG if failure["active"] else Role.DIM
        since = (
            f"✗ {ago(failure['since'], now)} of {format_duration(failure['rto'])}"
            if failure["active"] and failure["rto"]
            else "✗ now"
            if failure["active"]
            else ""
        )
        rows.append(Row(spread([(failure["title"], role)], [(since, Role.DOWN)], cells)))
        rows.append(Row([("  → ", Role.DIM), (failure["response"], role)]))
    return rows
