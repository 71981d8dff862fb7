"""A drill from its plan to its verdict, in one dialog.

First the plan: what will happen, what undoes it, what is expected, and what speaks against it, planned again every
second; `y` begins. Then the same dialog follows the run: where it is, what has come true with measured times, what must
not change, and when the guard undoes the fault at the latest. The run goes on without the dialog, and without a board.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.board.considered import Considered
from opsdash.board.dialogs import AskDialog, PromptDialog
from opsdash.board.drill_rows import plan_rows, run_rows
from opsdash.board.keymap import Scope, bindings
from opsdash.board.lines import Line, Role, Row, paragraphs, spread
from opsdash.board.notices import notices
from opsdash.board.plan import PLAN_AGAIN, PLAN_GOOD_FOR
from opsdash.board.words import DRILL_MARK, VERDICT, remaining, sign
from opsdash.model.text import LONGEST_COMMAND, clean_lines
from opsdash.service.session import SessionError

if TYPE_CHECKING:
    from textual.binding import BindingType

    from opsdash.board.state import Changes
    from opsdash.model.views import DrillPlanView, DrillRunView

APPROVAL = "approval"
"""The guard that is asked for by beginning: a second person then begins the same drill."""


class DrillDialog(Considered):
    """The plan of a drill, or the run that is going on. `run`: the one to be shown, "" for the plan."""

    leaving = "close, it goes on"
    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.DRILL))

    def __init__(self, drill: str, run: str = "") -> None:
        super().__init__()
        self.drill, self.awaited = drill, run
        self.plan: DrillPlanView | None = None
        self.run: DrillRunView | None = None
        self.planned_at = float("-inf")

    # --- what is known -------------------------------------------------------------------------------------------

    async def load(self) -> None:
        session = self.board.session
        if not self.awaited:
            view = await session.drill(self.drill)
            if view is not None and view["line"]["running"]:
                self.awaited = view["line"]["running"]
                self.changed(self.board.clock())
        if self.awaited:
            view = await session.drill(self.awaited)
            if view is not None and view["run"] is not None and view["run"]["id"] == self.awaited:
                self.run = view["run"]
                self.show_field()
            return
        self.take(await session.drill_plan(self.drill))

    def take(self, plan: DrillPlanView) -> None:
        """A newer plan is here."""
        now = self.board.clock()
        if self.plan is None:
            self.calm_since = now
        elif identity(plan) != identity(self.plan):
            self.changed(now)
        self.plan, self.planned_at = plan, now
        self.show_field()

    def heard(self, changes: Changes) -> None:
        if changes.summary:
            self.reload()

    def tick(self) -> None:
        follows = self.awaited and (self.run is None or self.run["live"])
        if follows or (not self.awaited and self.board.clock() - self.planned_at >= PLAN_AGAIN):
            self.reload()
        self.draw()

    # --- the plan ------------------------------------------------------------------------------------------------

    @property
    def suggested(self) -> str:
        return ""

    @property
    def name_wanted(self) -> str:
        plan = self.plan
        if self.awaited or plan is None or plan["refused"] is not None or plan["needs"] == "y" or self._blocking(plan):
            return ""
        return plan["component"]

    @property
    def may_be_edited(self) -> bool:
        return self.plan is not None and not self.awaited

    @staticmethod
    def _blocking(plan: DrillPlanView) -> list[str]:
        """What cannot be overridden, so that nothing that is typed helps."""
        return [
            f"{guard['title']}: {guard['evidence']}"
            for guard in plan["guards"]
            if guard["rule"] in plan["failed"] and not guard["overridable"] and guard["rule"] != APPROVAL
        ]

    def _overrides(self, plan: DrillPlanView) -> list[str]:
        return [guard["rule"] for guard in plan["guards"] if guard["rule"] in plan["failed"] and guard["overridable"]]

    def obstacle(self) -> str:
        plan, now = self.plan, self.board.clock()
        if self.board.read_only:
            return "This board is read-only."
        if self.awaited:
            return "The drill has begun."
        if plan is None:
            return self.trouble or "There is no plan yet."
        if plan["refused"] is not None:
            return plan["refused"]["reason"]
        if self.trouble or now - self.planned_at > PLAN_GOOD_FOR:
            return f"The plan is not up to date: {self.trouble or 'the engine does not answer'}."
        if self.state.stale(now):
            return "The engine is not heard, so what is shown may be wrong."
        if blocking := self._blocking(plan):
            return f"In the way, and not to be overridden: {'; '.join(blocking)}."
        if self.asks_name:
            return f"Type {plan['component']} first."
        if self._overrides(plan) and not self.reason_given:
            return "Overriding a guard needs a reason: e."
        return ""

    def send(self) -> None:
        if not self.sending and self.plan is not None:
            self.sending = True
            self.board.run_worker(self._send(self.plan, self.request), exit_on_error=False)

    async def _send(self, plan: DrillPlanView, request: str) -> None:
        arguments: dict[str, Any] = {
            "drill": plan["drill"],
            "latest": plan["latest"],
            "due": plan["due"],
            "reason": self.reason_given,
            "overrides": self._overrides(plan),
            "typed": plan["component"] if self.name_typed else "",
        }
        try:
            verdict = await self.board.session.submit("start_drill", arguments, request)
        except SessionError as error:
            self.message = f"Not known whether it arrived: {error}. Look at the drills (7) before you press again."
        else:
            refused = verdict["refused"]
            if verdict["accepted"]:
                self.awaited, self.message = verdict["subject"], ""
                if not self.is_current:
                    self.board.say("The drill had been begun before you left its plan; 7 shows it.", severity="warning")
            else:
                self.request = self.new_request()  # what is asked next is another one: this has its verdict
                self.message = f"Refused: {refused['reason']}" if refused else "Refused."
        self.sending = False
        if self.drawable:
            self.reload()

    # --- the run -------------------------------------------------------------------------------------------------

    def _going(self) -> DrillRunView | None:
        """The run, where there is something to end."""
        if self.run is not None and self.run["live"]:
            return self.run
        self.board.say("No run of this drill goes on.", severity="warning")
        return None

    def action_stop(self) -> None:
        if (run := self._going()) is None:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.board.want("stop_drill", {"run": run["id"], "reason": "stopped on the board"})

        question = f"Stop {run['id']}? What was broken is undone at once; the verdict is `aborted`, and proves nothing."
        self.board.push_screen(AskDialog(question, "stop it"), answered)

    def action_finish(self) -> None:
        if (run := self._going()) is None:
            return

        def written(text: str | None) -> None:
            if text is not None:
                self.board.want("finish_drill", {"run": run["id"], "text": text})

        question = f"Finish {run['id']}: it is undone, and judged by what came true. What did you see? (may be empty)"
        self.board.push_screen(PromptDialog(question, may_be_empty=True), written)

    def action_copy(self) -> None:
        by_hand = self.run["by_hand"] if self.run is not None else self.plan["by_hand"] if self.plan is not None else []
        if not by_hand:
            self.message = "Nothing is broken outside of opsdash, so no command undoes it."
        else:
            self.board.copy_to_clipboard(clean_lines("\n".join(by_hand), LONGEST_COMMAND))
            self.message = "What undoes it by hand is in the clipboard."
        self.draw()

    # --- drawing -------------------------------------------------------------------------------------------------

    def title_line(self, cells: int) -> Line:
        known = self.run or self.plan
        title = known["title"] if known is not None else self.drill
        end: Line = [(f"{known['level']}  ", Role.TEXT), (known["component"], Role.DIM)] if known is not None else []
        name = self.run["id"] if self.run is not None else "Drill"
        return spread([DRILL_MARK, (name, Role.HEADING), (f"  {title}", Role.STRONG)], end, cells)

    def rows(self, cells: int) -> list[Row]:
        clock = self.board.clock()
        stale = self.state.stale(clock)
        if self.awaited:
            rows: list[Row] = []
            if stale or self.trouble:
                why = self.trouble or "the engine is not heard"
                words = (
                    f"STALE: {why}. The drill goes on without this board, and its guard undoes it without an engine."
                )
                rows += [*paragraphs(words, cells, Role.ALERT), Row([])]
            if self.run is None:
                return [*rows, Row([("asking the engine …", Role.DIM)])]
            now, tz = self.state.now(clock), self.board.tz
            return [*rows, *run_rows(self.run, now, cells, tz, self.state.rows, stale=stale)]
        if self.plan is None:
            return [Row([(self.trouble or "planning …", Role.ALERT if self.trouble else Role.DIM)])]
        return plan_rows(self.plan, clock - self.planned_at, cells, self.reason_given)

    def notices(self, cells: int) -> list[Line]:
        return notices(self.state, self.board.clock(), cells, running=not self.awaited)

    def status(self, cells: int) -> list[Row]:
        run = self.run
        if not self.awaited:
            return [*self.asking(), *self.told(cells)]
        if run is None:
            return self.told(cells)
        if not run["live"]:
            verdict = sign(VERDICT, run["verdict"] or "")
            return [Row([(f"It is over: {verdict.word.partition(':')[0].lower()}.", verdict.role)]), *self.told(cells)]
        if run["until"] is None:
            going: Line = [(f"It goes on: {run['state']}.", Role.BACKUP)]
        else:
            left = remaining(run["until"], self.state.now(self.board.clock()))
            going = [(f" UNDONE BY ITS GUARD IN {left} AT THE LATEST ", Role.ALERT)]
        return [Row([*going, ("   f9", Role.KEY), (" halts all drills", Role.DIM)]), *self.told(cells)]

    def hints(self) -> Line:
        if not self.awaited:
            return self.keys_line("confirm", "reason", "copy", instead={"confirm": "begin the drill"})
        if self.run is not None and self.run["live"]:
            return self.keys_line("stop", "finish", "copy", instead={"stop": "stop, undo now"})
        return self.keys_line()

    def leaves(self) -> str:
        if not self.awaited:
            return "leave without effect"
        return self.leaving if self.run is None or self.run["live"] else "close"


def identity(plan: DrillPlanView) -> tuple[object, ...]:
    """What a person has read of a plan: when it changes, a key that was on its way meant something else."""
    return (
        plan["drill"], plan["latest"], plan["needs"], plan["refused"] is None,
        tuple(plan["steps"]), tuple((guard["rule"], guard["result"]) for guard in plan["guards"]),
    )  # fmt: skip
