"""The plan of a switch: what would happen, whether it may, and one key that does it.

Nothing has happened yet while it is open. The engine plans again every second, so the guards are live. `y` switches;
where a failed guard is overridden or something essential is lost, the component's name has to be typed first. Enter
never confirms, `esc` leaves without effect, and keys pressed in the first 300 ms, or just when a guard changed, are
dropped: nobody has read the plan by then.

With `countdown` the plan acts by itself when all guards pass. Any key stops it, and so does a guard that changes, or
an engine that is no longer heard: what has stopped once does not start again.
"""

from __future__ import annotations

from enum import Enum
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.board.considered import Considered
from opsdash.board.keymap import BY_ID, Scope, bindings
from opsdash.board.lines import Line, Role, Row, cut, left, paragraphs, right, spread, wrap
from opsdash.board.words import GUARD, KIND, sign
from opsdash.core.switch_views import commands_back
from opsdash.model.text import LONGEST_COMMAND, clean_lines
from opsdash.model.units import format_duration
from opsdash.service.session import SessionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.binding import BindingType
    from textual.events import Key

    from opsdash.board.state import Changes
    from opsdash.model.views import GuardView, PlanView, StepPlanView

PLAN_AGAIN = 1.0
PLAN_GOOD_FOR = 3.0
COUNT_EVERY = 0.1
NO_COMMAND = "no equivalent command"


class Count(Enum):
    """The countdown's life. What has stopped does not start again."""

    IDLE = "idle"
    RUNNING = "running"
    CANCELLED = "cancelled: a key was pressed"
    CHANGED = "stopped: a guard changed"
    LOST = "stopped: the engine is not heard"
    DONE = "done"


class PlanDialog(Considered):
    """Plan, guards, and the key."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.PLAN))

    def __init__(self, component: str, kind: str, target: str | None = None) -> None:
        super().__init__()
        self.component, self.kind, self.target = component, kind, target
        self.plan: PlanView | None = None
        self.planned_at = float("-inf")
        self.count = Count.IDLE
        self.count_began = 0.0

    @property
    def suggested(self) -> str:
        return self.plan["reason"] if self.plan is not None else ""

    @property
    def name_wanted(self) -> str:
        plan = self.plan
        return plan["component"] if plan is not None and plan["needs"] != "y" and plan["refused"] is None else ""

    @property
    def may_be_edited(self) -> bool:
        return self.plan is not None

    def on_mount(self) -> None:
        self.set_interval(COUNT_EVERY, self.count_down)

    # --- the plan, live ------------------------------------------------------------------------------------------

    async def load(self) -> None:
        plan = await self.board.session.plan(self.component, self.kind, self.target)
        self.take(plan)

    def take(self, plan: PlanView) -> None:
        """A newer plan is here."""
        now = self.board.clock()
        if self.plan is not None and identity(plan) != identity(self.plan):
            self.changed(now)
            if self.count is Count.RUNNING:
                self.count = Count.CHANGED
        elif self.plan is None:
            self.calm_since = now
        self.plan, self.planned_at = plan, now
        if self.count is Count.IDLE and plan["countdown"] is not None and self._all_pass() and not self.obstacle():
            self.count, self.count_began = Count.RUNNING, now
        self.show_field()

    def _all_pass(self) -> bool:
        plan = self.plan
        return plan is not None and plan["needs"] == "y" and all(g["result"] == "pass" for g in plan["guards"])

    def heard(self, changes: Changes) -> None:
        if self.component in changes.rows:
            self.reload()

    def tick(self) -> None:
        if self.board.clock() - self.planned_at >= PLAN_AGAIN:
            self.reload()
        self.draw()

    def count_down(self) -> None:
        """Act when the time is over and nothing has changed."""
        if self.count is not Count.RUNNING or self.plan is None:
            return
        if self.obstacle() or not self.is_current:
            self.count = Count.LOST
        elif self.remaining() <= 0:
            self.count = Count.DONE
            self.send()
        self.draw()

    def remaining(self) -> float:
        """Seconds until it acts."""
        seconds = self.plan["countdown"] if self.plan is not None else None
        return max(0.0, self.count_began + (seconds or 0.0) - self.board.clock())

    def obstacle(self) -> str:
        """Why `y` does nothing, "" if it does."""
        plan = self.plan
        if self.board.read_only:
            return "This board is read-only."
        if plan is None:
            return self.trouble or "There is no plan yet."
        if plan["refused"] is not None:
            return plan["refused"]["reason"]
        if self.trouble or self.board.clock() - self.planned_at > PLAN_GOOD_FOR:
            return f"The plan is not up to date: {self.trouble or 'the engine does not answer'}."
        if self.state.stale(self.board.clock()):
            return "The engine is not heard, so what is shown may be wrong."
        blocking = [g["title"] for g in plan["guards"] if g["rule"] in plan["failed"] and not g["overridable"]]
        if blocking:
            return f"In the way, and not to be overridden: {'; '.join(blocking)}."
        if plan["needs"] != "y" and not self.name_typed:
            return f"Type {plan['component']} first."
        if plan["failed"] and not self.reason_given:
            return "Overriding a guard needs a reason: e."
        return ""

    # --- keys ----------------------------------------------------------------------------------------------------

    def on_key(self, event: Key) -> None:
        """Any key but the confirming one stops a countdown."""
        if self.count is not Count.RUNNING or not self.armed(event):
            return
        if event.key in self._keys("confirm"):
            return
        self.count = Count.CANCELLED
        self.draw()
        if event.key not in self._keys("leave"):
            event.stop()
            event.prevent_default()

    def _keys(self, action: str) -> list[str]:
        return self.board.keys.get(action, BY_ID[action].keys).split(",")

    def send(self) -> None:
        """Submit the plan as it is shown."""
        if not self.sending and self.plan is not None:
            self.sending = True
            self.board.run_worker(self._send(self.plan, self.request), exit_on_error=False)

    async def _send(self, plan: PlanView, request: str) -> None:
        from opsdash.board.progress import ProgressDialog

        arguments: dict[str, Any] = {
            "component": plan["component"],
            "generation": plan["generation"],
            "source": plan["source"],
            "target": plan["target"],
            "reason": self.reason_given,
            "overrides": list(plan["failed"]),
            "typed": plan["component"] if self.name_typed else "",
        }
        try:
            verdict = await self.board.session.submit(plan["kind"], arguments, request)
        except SessionError as error:
            self.message = f"Not known whether it arrived: {error}. Look at the switch (w) before you press again."
        else:
            if verdict["accepted"]:
                if self.is_current:
                    self.dismiss(None)
                    self.board.open_dialog(ProgressDialog(plan["component"], verdict["subject"]))
                else:
                    self.board.say(
                        "The switch had been asked for before you left the plan; w shows it.", severity="warning"
                    )
                return
            refused = verdict["refused"]
            self.request = self.new_request()  # what is asked next is another request: this one has its verdict
            self.message = f"Refused: {refused['reason']}" if refused else "Refused."
            if refused and refused["override"] and refused["rule"] == "approval":
                self.message += f"\n{self._on_the_command_line(plan, refused['override'])}"
        self.sending = False
        if self.drawable:
            self.reload()

    @staticmethod
    def _on_the_command_line(plan: PlanView, override: str) -> str:
        """How somebody who is alone goes on: a command, so that it is not done by a habit of the fingers."""
        ends = f"--to {plan['target']} " if plan["kind"] == "failover" else ""
        end = f" {plan['target'] or plan['source']}" if plan["kind"] == "degrade" else ""
        return f"Alone: opsdash {plan['kind']} {plan['component']}{end} {ends}{override}"

    def action_target(self) -> None:
        self.board.run_worker(self._next_target(), exit_on_error=False)

    async def _next_target(self) -> None:
        try:
            detail = await self.board.session.component(self.component)
        except SessionError as error:
            self.message = str(error)
            self.draw()
            return
        candidates = [provider["id"] for provider in detail["providers"] if not provider["active"]]
        if self.kind in {"degrade", "restore"} or not candidates:
            self.message = "There is no other target."
        else:
            now = self.target or (self.plan["target"] if self.plan else "")
            place = candidates.index(now) + 1 if now in candidates else 0
            self.target = candidates[place % len(candidates)]
            self.reload()
        self.draw()

    def action_copy(self) -> None:
        if self.plan is not None:
            self.board.copy_to_clipboard(clean_lines(self.plan["manual"], LONGEST_COMMAND))
            self.message = "The manual command is in the clipboard."
            self.draw()

    # --- drawing -------------------------------------------------------------------------------------------------

    def title_line(self, cells: int) -> Line:
        row = self.state.rows.get(self.component)
        title = self.plan["title"] if self.plan else row["title"] if row else self.component
        start: Line = [(KIND.get(self.kind, self.kind), Role.HEADING), ("  ", Role.TEXT), (title, Role.STRONG)]
        failure = row["failure"] if row else None
        return spread(start, [(cut(failure, 40), Role.DIM)] if failure and cells >= 72 else [], cells)

    def rows(self, cells: int) -> list[Row]:
        if self.plan is None:
            return [Row([(self.trouble or "planning …", Role.ALERT if self.trouble else Role.DIM)])]
        age = self.board.clock() - self.planned_at
        return plan_rows(self.plan, age, cells, self.reason_given)

    def status(self, cells: int) -> list[Row]:
        if self.editing_reason:
            rows = self.asking()
        elif self.count is Count.RUNNING:
            going: Line = [(f" SWITCHES BY ITSELF IN {self.remaining():.1f} s ", Role.ALERT)]
            rows = [Row([*going, ("  any key stops it", Role.TEXT)])]
        elif self.count in {Count.CANCELLED, Count.CHANGED, Count.LOST}:
            over: Line = [(f"Countdown {self.count.value}. ", Role.DEGRADED)]
            rows = [Row([*over, ("Nothing has been done.", Role.TEXT)])]
        else:
            rows = self.asking()
        return [*rows, *self.told(cells)]

    def hints(self) -> Line:
        label = {"failover": "switch", "failback": "switch back", "degrade": "enter it", "restore": "leave it"}
        moves = ("target",) if self.kind in {"failover", "failback"} else ()
        return self.keys_line("confirm", *moves, "reason", "copy", instead={"confirm": label.get(self.kind, "do it")})


def identity(plan: PlanView) -> tuple[object, ...]:
    """What a person has read of a plan: when it changes, a key that was on its way meant something else."""
    return (
        plan["kind"], plan["source"], plan["target"], plan["generation"], plan["needs"],
        plan["refused"] is None, tuple((guard["rule"], guard["result"]) for guard in plan["guards"]),
    )  # fmt: skip


def plan_rows(plan: PlanView, age: float, cells: int, reason: str) -> list[Row]:
    """A plan that was made `age` seconds ago, as a page."""
    rows = [Row(_ends(plan)), Row([])]
    if plan["refused"] is not None:
        rows += paragraphs(plan["refused"]["reason"], cells, Role.DOWN)
        if plan["refused"]["override"]:
            rows += paragraphs(plan["refused"]["override"], cells, Role.DIM)
        rows.append(Row([]))
    if plan["guards"]:
        rows += [*guard_rows(plan["guards"], age, cells), Row([])]
    rows += _after(plan, cells)
    rows.append(Row([("Reason  ", Role.DIM), (reason or "none given", Role.TEXT if reason else Role.DIM)]))
    return rows


def _ends(plan: PlanView) -> Line:
    source = plan["source_title"] or plan["source"] or "normal operation"
    target = plan["target_title"] or plan["target"] or "normal operation"
    return [("FROM ", Role.DIM), (source, Role.STRONG), ("   TO ", Role.DIM), (target, Role.BACKUP)]


def guard_rows(guards: list[GuardView], age: float, cells: int) -> list[Row]:
    """The guards of a plan that was made `age` seconds ago, those that stand in the way first."""
    fresh = f"checked again every second, {max(0.0, age):.0f}s ago"
    rows = [Row(spread([("BEFORE", Role.HEADING)], [(fresh, Role.DIM)], cells))]
    for guard in sorted(guards, key=_worst_first):
        rows += _guard(guard, age, cells)
    return rows


def _worst_first(guard: GuardView) -> int:
    return ("fail", "unknown", "warn", "pass").index(guard["result"]) if guard["result"] in GUARD else 0


def _guard(guard: GuardView, age: float, cells: int) -> list[Row]:
    what = sign(GUARD, guard["result"])
    title_cells = max(18, min(36, (cells - 12) * 4 // 10))
    evidence_cells = max(8, cells - title_cells - 12)
    old = "" if guard["age"] is None else format_duration(guard["age"] + max(0.0, age))
    words = guard["evidence"]
    if guard["result"] in {"fail", "unknown"} and not guard["overridable"]:
        words += " (cannot be overridden)"
    elif guard["result"] == "fail":
        words += " (can be overridden)"
    bad = guard["result"] != "pass"
    columns = zip_longest(wrap(guard["title"], title_cells), wrap(words, evidence_cells), fillvalue="")
    return [
        Row([
            (f" {what.mark if number == 0 else ' '}  ", what.role),
            (left(title, title_cells), Role.STRONG if bad else Role.TEXT),
            ("  ", Role.TEXT),
            (left(evidence, evidence_cells), Role.TEXT if bad else Role.DIM),
            (right(old if number == 0 else "", 6), Role.DIM),
        ])
        for number, (title, evidence) in enumerate(columns)
    ]  # fmt: skip


def _step(entry: Callable[[str, str, Role], None], step: StepPlanView) -> None:
    entry(cut(step["name"], 9), step["manual"] or NO_COMMAND, _code(step["manual"]))
    if step["no_return"]:
        entry("", "there is no way back after this", Role.DOWN)
    if step["verify"]:
        entry("", f"go on when {' and '.join(step['verify'])}", Role.TEXT)


def _code(command: str) -> Role:
    return Role.CODE if command else Role.DIM


def _undo(entry: Callable[[str, str, Role], None], plan: PlanView) -> None:
    """The way back; of a switch with steps in the order in which they are taken back."""
    if not plan["undo"]:
        entry("undo", "no way back is known", Role.DEGRADED)
    elif not plan["steps"]:
        entry("undo", plan["undo"], Role.CODE)
    else:
        for number, (name, command) in enumerate(commands_back(plan)):
            entry("" if number else "undo", f"{name}: {command or 'nothing takes it back'}", _code(command))


def _after(plan: PlanView, cells: int) -> list[Row]:
    rows = [Row([("WHAT WILL HAPPEN", Role.HEADING)])]

    def entry(name: str, text: str, role: Role = Role.TEXT) -> None:
        lines = wrap(text, cells - 11)
        rows.extend(
            Row([(left(f" {name}" if number == 0 else "", 11), Role.DIM), (line, role)])
            for number, line in enumerate(lines)
        )

    for step in plan["steps"][: plan["steps_before"]]:
        _step(entry, step)
    entry("switch" if plan["steps"] else "act", plan["manual"] or NO_COMMAND, _code(plan["manual"]))
    for step in plan["steps"][plan["steps_before"] :]:
        _step(entry, step)
    settle = f"wait {format_duration(plan['settle'])}, then " if plan["settle"] else ""
    entry("verify", f"{settle}four facts through the front door, for {format_duration(plan['deadline'])} at most")
    if plan["keeps"]:
        entry("keeps", ", ".join(plan["keeps"]), Role.OK)
    if plan["drops"]:
        entry("drops", ", ".join(plan["drops"]), Role.DEGRADED)
    _undo(entry, plan)
    for note in plan["notes"]:
        entry("note", note, Role.DEGRADED)
    if plan["last"]:
        entry("last time", plan["last"], Role.DIM)
    return [*rows, Row([])]
