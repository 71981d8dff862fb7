"""The keys of a component, the same on the wall and on its page: f F g D r a i w R P M."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.board.dialogs import AskDialog, ChoiceDialog, MaintenanceDialog, PauseDialog, PromptDialog
from opsdash.board.page import Reloading
from opsdash.model.window import COMPONENT_KEY
from opsdash.service.session import SessionError

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from opsdash.model.views import ComponentDetail, WallRow


class ComponentKeys(Reloading):
    """Mixed into screens that are about one component at a time."""

    @property
    def component(self) -> str | None:
        """The component's id, None when there is none."""
        raise NotImplementedError

    @property
    def row(self) -> WallRow | None:
        """Its line on the wall."""
        return self.state.rows.get(self.component or "")

    def _background(self, job: Coroutine[Any, Any, None]) -> None:
        self.board.run_worker(job, exit_on_error=False)

    async def _detail(self) -> ComponentDetail | None:
        try:
            return await self.board.session.component(self.component or "")
        except SessionError as error:
            self.board.say(str(error), severity="error")
            return None

    def action_failover(self) -> None:
        self._plan("failover")

    def action_failback(self) -> None:
        self._plan("failback")

    def _plan(self, kind: str) -> None:
        from opsdash.board.plan import PlanDialog
        from opsdash.board.progress import ProgressDialog

        row = self.row
        if row is None:
            return
        if row["switch"] is not None:
            self.board.open_dialog(ProgressDialog(row["id"]))
        else:
            self.board.open_dialog(PlanDialog(row["id"], kind))

    def action_switch(self) -> None:
        from opsdash.board.progress import ProgressDialog

        if self.component is not None:
            self.board.open_dialog(ProgressDialog(self.component))

    def action_degrade(self) -> None:
        from opsdash.board.modes import ModeDialog

        if self.component is not None:
            self.board.open_dialog(ModeDialog(self.component))

    def action_drill(self) -> None:
        if self.component is not None:
            self._background(self._open_drill(self.component))

    async def _open_drill(self, component: str) -> None:
        """The run that is going on there, else the plan of its drill; where it has several, one is chosen."""
        from opsdash.board.drill import DrillDialog

        try:
            found = await self.board.session.drills()
        except SessionError as error:
            self.board.say(str(error), severity="error")
            return
        mine = [each for each in found["drills"] if each["component"] == component]
        running = [each for each in mine if each["running"]]
        if running or len(mine) == 1:
            chosen = (running or mine)[0]
            self.board.open_dialog(DrillDialog(chosen["id"], chosen["running"]))
        elif mine:
            choices = {each["id"]: f"{each['id']}  {each['level']}: {each['title']}" for each in mine}
            self.board.push_screen(
                ChoiceDialog("It has several drills. Which plan?", choices),
                lambda drill: self.board.open_dialog(DrillDialog(drill)) if drill else None,
            )
        else:
            words = f"No drill of {component} is declared: a file in drills/ holds one (docs/reference/drill.md)."
            self.board.say(words, severity="warning")

    def action_runbook(self) -> None:
        self._background(self._open_runbook())

    async def _open_runbook(self) -> None:
        detail = await self._detail()
        if detail is None:
            return
        active = [failure["runbook"] for failure in detail["failures"] if failure["active"] and failure["runbook"]]
        runbook = active[0] if active else detail["runbook"]
        if runbook is None:
            self.board.say("No runbook is declared for this component, nor for what failed.", severity="warning")
            return
        self.board.open_runbook(runbook, detail["row"]["id"])

    def action_ack(self) -> None:
        row = self.row
        if row is None or row["incident"] is None:
            self.board.say("There is no open incident to acknowledge.", severity="warning")
            return
        self.board.want("ack", {"incident": row["incident"]}, done=f"{row['incident']} acknowledged.")

    def action_incident(self) -> None:
        row = self.row
        if row is None:
            return
        if row["incident"] is not None:
            self.board.open_incident(row["id"])
        elif self.board.read_only:
            self.board.say("There is no open incident.")
        else:
            self._ask_for_incident(row["id"])

    def _ask_for_incident(self, component: str) -> None:
        def opened(title: str | None) -> None:
            if title:
                self.board.want(
                    "open_incident", {"component": component, "title": title}, done="An incident was opened."
                )

        self.board.push_screen(PromptDialog("There is no open incident. Open one: what is wrong?"), opened)

    def action_poll(self) -> None:
        if self.component is not None:
            self.board.want("poll", {"target": self.component}, done="Its checks run now.")

    def action_suspend(self) -> None:
        row = self.row
        if row is None:
            return
        if row["status"] == "paused":
            self._ask_to_resume(row)
        else:
            self._ask_to_pause(row)

    def _ask_to_resume(self, row: WallRow) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self.board.want("resume", {"component": row["id"]}, done="It is polled again.")

        self.board.push_screen(AskDialog(f"Poll {row['title']} again?", "poll again"), answered)

    def _ask_to_pause(self, row: WallRow) -> None:
        def answered(seconds: float | None) -> None:
            if seconds:
                arguments = {"component": row["id"], "seconds": seconds, "reason": "paused on the board"}
                self.board.want("pause", arguments, done="It is not polled for now.")

        self.board.push_screen(PauseDialog(row["title"]), answered)

    def action_maintenance(self) -> None:
        row = self.row
        if row is None:
            return
        if any(window["id"] == COMPONENT_KEY + row["id"] for window in row["windows"]):
            self._ask_to_end_maintenance(row)
        else:
            self._ask_for_maintenance(row)

    def _ask_to_end_maintenance(self, row: WallRow) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self.board.want("end_maintenance", {"target": row["id"]}, done="Its alarms are no longer muted.")

        self.board.push_screen(AskDialog(f"End the maintenance of {row['title']}?", "end it"), answered)

    def _ask_for_maintenance(self, row: WallRow) -> None:
        def answered(seconds: float | None) -> None:
            if seconds:
                arguments = {"target": row["id"], "seconds": seconds, "reason": "set on the board"}
                self.board.want("maintenance", arguments, done="Its alarms are muted for now; its checks go on.")

        self.board.push_screen(MaintenanceDialog(row["title"]), answered)
