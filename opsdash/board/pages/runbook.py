"""A runbook beside the live status of all that it acts on.

The cursor goes over steps, their ticks and their blocks. The first tick, mark or block begins a run, so that everything
is resumable and journaled; until then the runbook is only read. A block that looks (`check`) runs at once, one that
changes something asks first, and a dangerous one wants the component's name typed. A step that failed leads to the
step, or to the runbook, that it names for that.

When a run is opened again, or its engine was, the checks of what was cut short run by themselves. A check of the
current step that a person has run and that did not pass is tried again every ten seconds, for five minutes at most, as
long as the page is open; checks of opsdash are measured anyway and need none of that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.board.dialogs import AskDialog, ChoiceDialog, PromptDialog
from opsdash.board.keymap import Scope, bindings
from opsdash.board.lines import Line, Role, Row, beside, box
from opsdash.board.live_rows import brief_rows, live_rows, other_rows
from opsdash.board.page import Page
from opsdash.board.run_dialogs import AcceptDialog, ApproveDialog
from opsdash.board.run_rows import run_rows, step_item
from opsdash.board.words import ago
from opsdash.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from textual.binding import BindingType

    from opsdash.board.state import Changes
    from opsdash.model.views import BlockView, ComponentDetail, ParameterView, RunView, StepView

TWO_COLUMNS_FROM = 100
MOST_COMPONENTS = 5
"""Components that are shown beside a runbook."""

LOAD_EVERY = 1.0
AGAIN_EVERY = 10.0
"""Seconds after which a check of the current step that did not pass is tried again."""

MOST_TRIES = 30

DECISIONS = {
    "done": "it is done: what it was for has happened",
    "repeat": "it is to be repeated: nothing has happened, or it may happen twice",
    "skip": "it is left out",
}


class RunbookPage(Page):
    """One runbook, for one component if one is concerned. mode: `step` | `rehearse`."""

    scopes = (Scope.RUNBOOK,)
    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.RUNBOOK, also=("open",)))

    def __init__(self, runbook: str, component: str | None = None, mode: str = "step", step: str = "") -> None:
        super().__init__()
        self.runbook, self.component, self.mode = runbook, component, mode
        self.run: RunView | None = None
        self.details: list[ComponentDetail] = []
        self.wide = False
        self._first_step = step
        self._loaded_at = float("-inf")
        self._resumed: set[tuple[str, int, float | None]] = set()
        self._tries: dict[tuple[str, int], tuple[int, float]] = {}

    async def load(self) -> None:
        run = await self.board.session.runbook(self.runbook, self.component, self.mode)
        self.component = self.component or run["component"] or None
        named = [*([self.component] if self.component else []), *run["components"]]
        self.details = [await self._detail(each) for each in dict.fromkeys(named[:MOST_COMPONENTS])]
        self.run = run
        self._loaded_at = self.board.clock()
        await self._resume(run)

    async def _detail(self, component: str) -> ComponentDetail:
        return await self.board.session.component(component)

    async def _resume(self, run: RunView) -> None:
        """A run that is opened again begins with the checks of what is in doubt."""
        blocks = ((step["id"], block) for step in run["steps"] for block in step["blocks"])
        doubts = {(step, block["index"], block["at"]) for step, block in blocks if block["in_doubt"]}
        if run["yours"] and not self.board.read_only and doubts - self._resumed:
            self._resumed |= doubts
            await self.board.ask("open_run", self._opening())

    def _opening(self) -> dict[str, Any]:
        return {"runbook": self.runbook, "component": self.component or "", "mode": self.mode}

    def heard(self, changes: Changes) -> None:
        if changes.summary or any(detail["row"]["id"] in changes.rows for detail in self.details):
            self.reload()
        self.draw_head()

    def tick(self) -> None:
        every = 0.0 if self._is_running() else LOAD_EVERY
        if self.board.clock() - self._loaded_at >= every:
            self.reload()
        self._look_again()
        self.draw()

    def _is_running(self) -> bool:
        run = self.run
        return run is not None and any(b["state"] == "started" for step in run["steps"] for b in step["blocks"])

    def _look_again(self) -> None:
        """Try a check of the current step again that a person has run and that did not pass."""
        run = self.run
        if run is None or not run["id"] or not run["yours"] or run["changed"] or self.board.read_only:
            return
        now = self.state.now(self.board.clock())
        step = next((each for each in run["steps"] if each["id"] == run["current"]), None)
        for block in step["blocks"] if step is not None else ():
            ended = block["role"] == "check" and block["state"] in ("failed", "unknown") and block["at"] is not None
            key = (run["current"], block["index"])
            times, last = self._tries.get(key, (0, 0.0))
            due = now - max(block["at"] or now, last) >= AGAIN_EVERY and times < MOST_TRIES
            if ended and due and not block["needs"]:
                self._tries[key] = (times + 1, now)
                self._submit("run_block", {"step": run["current"], "block": block["index"]})

    # --- drawing -------------------------------------------------------------------------------------------------

    def place(self) -> Line:
        line: Line = [("wall › ", Role.DIM)]
        if self.details:
            line += [(self.details[0]["row"]["title"], Role.TEXT), (" › ", Role.DIM)]
        line.append((self.run["title"] if self.run else self.runbook, Role.STRONG))
        if self.run and self.run["id"]:
            began = self.run["started_at"]
            elapsed = f", {ago(began, self.state.now(self.board.clock()))}" if began else ""
            line.append((f"   {self.run['id']} by {self.run['driver']}{elapsed}", Role.DIM))
        return line

    def body(self, cells: int) -> list[Row]:
        if self.run is None:
            return [Row([(" asking the engine …", Role.DIM)])]
        clock = self.board.clock()
        now, stale = self.state.now(clock), self.state.stale(clock)
        if not self.details:
            return self._steps(self.run, cells, now)
        if cells < TWO_COLUMNS_FROM or self.wide:
            return [*brief_rows(self.details, cells, stale=stale), *self._steps(self.run, cells, now)]
        half = cells * 58 // 100
        others = other_rows(self.details[1:], now, cells - half, stale=stale)
        beside_it = [*others, *live_rows(self.details[0], now, cells - half, stale=stale)]
        return beside(self._steps(self.run, half, now), beside_it, half)

    def _steps(self, run: RunView, cells: int, now: float) -> list[Row]:
        return box(self._title(run), run_rows(run, cells - 4, now), cells, role=Role.BORDER)

    @staticmethod
    def _title(run: RunView) -> Line:
        done = sum(1 for step in run["steps"] if step["mark"])
        mode = " · rehearsal" if run["mode"] == "rehearse" else ""
        return [(run["title"], Role.HEADING), (f"   {done} of {len(run['steps'])} steps{mode}", Role.DIM)]

    def draw_body(self) -> None:
        first = self.run is not None and not self.paper.items
        super().draw_body()
        if first and self.run is not None:
            wanted = self._first_step or self.run["current"]
            current = next((step for step in self.run["steps"] if step["id"] == wanted), None)
            if current is not None:
                self.paper.select(step_item(current))

    # --- what the cursor stands on -------------------------------------------------------------------------------

    def _under_cursor(self) -> tuple[StepView | None, str, int]:
        """Step, "tick" or "block" or "", and its number."""
        step_id, _, rest = self.paper.cursor.partition("\n")
        what, _, number = rest.partition(":")
        step = next((step for step in (self.run or {"steps": []})["steps"] if step["id"] == step_id), None)
        return step, what, int(number or 0)

    def _block(self) -> tuple[StepView, BlockView] | None:
        step, what, number = self._under_cursor()
        if step is None or not step["blocks"]:
            return None
        return step, step["blocks"][number if what == "block" else 0]

    # --- intents -------------------------------------------------------------------------------------------------

    async def _run_id(self) -> str | None:
        """The open run; one is begun if there is none."""
        if self.run is None:
            return None
        if self.run["id"]:
            return self.run["id"]
        verdict = await self.board.ask("open_run", self._opening())
        return verdict["subject"] if verdict else None

    async def _ask_run(self, intent: str, arguments: dict[str, Any]) -> bool:
        run = await self._run_id()
        done = run is not None and await self.board.ask(intent, {"run": run, **arguments}) is not None
        self.reload()
        return done

    def _background(self, job: Coroutine[Any, Any, object]) -> None:
        self.run_worker(job, exit_on_error=False)

    def _submit(self, intent: str, arguments: dict[str, Any]) -> None:
        self._background(self._ask_run(intent, arguments))

    # --- keys: ticks and marks -----------------------------------------------------------------------------------

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
        if step is None or self.run is None or not step["if_fails"]:
            return
        if step["goes_to"] is None:
            self.board.say(f"If this fails: {step['if_fails']}", severity="warning")
            return
        runbook, name = step["goes_to"]
        target = next((other for other in self.run["steps"] if other["id"] == name), None)
        if runbook != self.run["runbook"]:
            self.board.say(f"This is {runbook}; esc leads back.")
            self.app.push_screen(RunbookPage(runbook, self.component, self.mode, name))
        elif target is not None:
            self.paper.select(step_item(target))

    def _mark(self, mark: str) -> StepView | None:
        step, _, _ = self._under_cursor()
        if step is None or self.run is None:
            return None
        wanted = "open" if step["mark"] == mark else mark
        self._submit("mark_step", {"step": step["id"], "mark": wanted})
        if wanted == "open":
            return None
        following = self._after(step, wanted)
        if following is not None:
            self.paper.select(step_item(following))
        return step

    def _after(self, step: StepView, mark: str) -> StepView | None:
        """The step to which a mark leads; None where the cursor stays."""
        steps = self.run["steps"] if self.run is not None else []
        if mark == "done" and step["then"] is not None:
            wanted = step["then_to"][1] if step["then_to"] is not None else ""
            return next((each for each in steps if each["id"] == wanted), None)
        place = steps.index(step)
        return steps[place + 1] if mark != "failed" and place + 1 < len(steps) else None

    # --- keys: blocks --------------------------------------------------------------------------------------------

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
        elif self.mode == "rehearse" and block["role"] != "check":
            self.board.say("A rehearsal: this would be run now, and is only shown.")
        else:
            self._execute(self.run, step, block)

    def _execute(self, run: RunView, step: StepView, block: BlockView) -> None:
        """Ask the next thing that has to be asked before a block may run; with nothing left to ask, run it.

        Each answer takes one obstacle away and comes back here with what is left.
        """
        given: dict[str, Any] = {"step": step["id"], "block": block["index"]}
        if run["changed"] or not run["approved"]:
            self._read_first(run, lambda: self._execute({**run, "approved": True}, step, block))
        elif block["in_doubt"]:
            self._decide(given, step, block, lambda: self._execute(run, step, {**block, "in_doubt": False}))
        elif block["needs"]:
            first, *others = block["needs"]
            self._ask_parameter(run, first, lambda: self._execute(run, step, {**block, "needs": others}))
        elif block["typed"] or block["role"] != "check":
            typed = (self.component or run["component"]) if block["typed"] else ""
            self._confirm(step, block, typed, {**given, "typed": typed} if typed else given)
        else:
            self._submit("run_block", given)

    def _read_first(self, run: RunView, then: Callable[[], None]) -> None:
        """Have the text accepted, or approved, whatever is lacking."""
        if run["changed"]:
            self._ask_dialog(AcceptDialog(run), lambda: self._ask_run("accept_run", {"sha256": run["sha256"]}))
        else:
            self._ask_dialog(ApproveDialog(run), lambda: self._approve(run, then))

    def _ask_dialog(self, dialog: AskDialog, yes: Callable[[], Coroutine[Any, Any, object]]) -> None:
        self.app.push_screen(dialog, lambda answer: self._background(yes()) if answer else None)

    async def _approve(self, run: RunView, then: Callable[[], None] = lambda: None) -> None:
        given = {"runbook": run["runbook"], "sha256": run["sha256"]}
        approved = await self.board.ask("approve_runbook", given) is not None
        self.reload()
        if approved:
            then()

    def _decide(self, given: dict[str, Any], step: StepView, block: BlockView, then: Callable[[], None]) -> None:
        async def decide(decision: str) -> None:
            if await self._ask_run("decide_block", {**given, "decision": decision}) and decision == "repeat":
                then()

        def chosen(decision: str | None) -> None:
            if decision:
                self._background(decide(decision))

        self.app.push_screen(ChoiceDialog(_doubt(step, block), DECISIONS), chosen)

    def _ask_parameter(self, run: RunView, name: str, then: Callable[[], None]) -> None:
        """Ask for a parameter, again and again until the value is one that it may have, or nothing is answered."""
        param = next((each for each in run["params"] if each["name"] == name), None)

        async def give(value: str) -> None:
            if await self._ask_run("set_parameter", {"name": name, "value": value}):
                then()
            else:
                self._ask_parameter(run, name, then)

        def answered(value: str | None) -> None:
            if value is not None:
                self._background(give(value))

        question, default = _parameter_question(name, param)
        self.app.push_screen(PromptDialog(question, default, may_be_empty=True), answered)

    def _confirm(self, step: StepView, block: BlockView, typed: str, given: dict[str, Any]) -> None:
        again = f" Mind: {block['typed']}." if block["once"] and block["typed"] else ""
        question = f"Run this block of “{step['title']}”?{again}"
        dialog = AskDialog(question, "run it", about=block["code"], typed=typed)
        self._ask_dialog(dialog, lambda: self._ask_run("run_block", given))

    def action_run_checks(self) -> None:
        run = self.run
        if run is None or not run["executable"]:
            self.board.say("This runbook can only be read: see its findings.", severity="warning")
            return
        if run["changed"] or not run["approved"]:
            self._read_first(run, lambda: self._submit("run_checks", {}))
        else:
            self._submit("run_checks", {})

    def action_cancel_block(self) -> None:
        run = self.run
        steps = run["steps"] if run is not None else []
        blocks = [(step, block) for step in steps for block in step["blocks"] if block["state"] == "started"]
        if not blocks:
            self.board.say("Nothing is running here.")
            return
        step, block = next((pair for pair in blocks if pair == self._block()), blocks[0])
        self._submit("cancel_block", {"step": step["id"], "block": block["index"]})

    def action_copy(self) -> None:
        found = self._block()
        if found is not None:
            self.board.copy_to_clipboard("\n".join(clean(line) for line in found[1]["code"].split("\n")))
            self.board.say("The block is in the clipboard.")

    # --- keys: the run and its text --------------------------------------------------------------------------------

    def action_approve(self) -> None:
        run = self.run
        if run is None or run["approved"]:
            self.board.say("It is approved as it is.")
        elif not run["executable"]:
            self.board.say("It has a problem that switches its execution off: see its findings.", severity="warning")
        else:
            self._read_first(run, lambda: None)

    def action_difference(self) -> None:
        run = self.run
        if run is None or not run["changed"]:
            self.board.say("The file is what this run began with." if run and run["id"] else "No run is open.")
        else:
            self._read_first(run, lambda: None)

    def action_take_run(self) -> None:
        run = self.run
        if run is None or not run["id"] or run["yours"]:
            self.board.say("You drive it already." if run and run["id"] else "No run is open.")
            return
        gone = f"{run['driver']} is gone or silent" if run["driver_gone"] else ""

        def answered(reason: str | None) -> None:
            if reason:
                self._submit("take_run", {"reason": reason})

        question = f"{run['driver']} drives {run['id']}. Why do you take it over?"
        self.app.push_screen(PromptDialog(question, gone), answered)

    def action_rehearse(self) -> None:
        if self.mode == "rehearse":
            self.board.say("This is the rehearsal; esc leads back.")
        else:
            self.app.push_screen(RunbookPage(self.runbook, self.component, "rehearse"))

    def action_more(self) -> None:
        self.wide = not self.wide
        self.draw()

    def action_poll(self) -> None:
        async def job() -> None:
            for detail in self.details:
                await self.board.ask("poll", {"target": detail["row"]["id"]})
            self.board.say("Its checks run now.")

        if self.details:
            self._background(job())

    def action_end_run(self) -> None:
        if self.run is None or not self.run["id"]:
            self.board.say("No run is open.")
            return
        run = self.run["id"]

        def answered(yes: bool | None) -> None:
            if yes:
                self.board.want("end_run", {"run": run}, done=f"{run} is closed.")

        self.board.push_screen(AskDialog(f"Close {run}?", "close it"), answered)


def _doubt(step: StepView, block: BlockView) -> str:
    """What is asked about a block that is in doubt."""
    checks = [each for each in step["blocks"] if each["role"] == "check" and each["state"]]
    said = "; ".join(f"its check {each['state']} {each['detail']}".strip() for each in checks)
    process = f" {block['process']}." if block["process"] else ""
    return f"Nobody knows what this block of “{step['title']}” did.{process} {said}".strip() + " What is true of it?"


def _parameter_question(name: str, param: ParameterView | None) -> tuple[str, str]:
    """What is asked for a parameter, and what stands there already."""
    if param is None:
        return f"{name}?", ""
    pattern = f"  It has to match {param['pattern']}" if param["pattern"] else ""
    return f"{param['ask'] or name}  (${name}){pattern}", param["default"] or ""
