"""A unit of systemd stopped (or started), and its undo laid down on the target before.

    inject: {systemd: {unit: mailer-a.service}}

Where the target has `systemd-run`, a timer is armed there first that starts the unit again after the drill's limit. It
lives in the target's own systemd, so it works when opsdash, its guard and its whole host are gone. Where it cannot be
had, nothing is injected; `timer: null` does without, and then the fault stays when this host loses its power.

For a unit of another host the programs are put behind ssh:

    inject:
      systemd: {unit: db, program: [ssh, db1, systemctl], timer: [ssh, db1, systemd-run], sudo: false}

The way back is known, so no `undo` has to be written. A unit that is stopped already is none of the drill's business:
nothing is then armed or injected.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import model_validator

from opsdash.kinds.base import ActionContext, ActionResult, Applied, Preflight
from opsdash.kinds.injecting import Gone, InjectionContext, InjectionKind
from opsdash.kinds.making import Recorded
from opsdash.kinds.processes import Argv, Tool, ToolError
from opsdash.kinds.shellwords import shell_command
from opsdash.kinds.systemd import ENDED, NO_JOB, SERVING, Unit, UnitPlace, full_name, show_units

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from opsdash.kinds.systemd import UnitState

_SUDO: Final = ("sudo", "-n")
_BACK: Final = {"stop": "start", "start": "stop"}


class Options(UnitPlace):
    unit: Unit
    """The unit."""

    do: Literal["stop", "start"] = "stop"
    """What breaks it; the other one is the way back."""

    timer: Argv | None = ("systemd-run",)
    """The program that lays the undo down on the target, with its first arguments; null: it is not laid down there."""

    sudo: bool = False
    """Whether the jobs are given by `sudo -n systemctl …`, and the timer is armed by `sudo -n systemd-run …`."""

    @model_validator(mode="after")
    def _sudo_is_for_the_machine(self) -> Self:
        if self.sudo and self.scope == "user":
            raise ValueError("units of the account itself need no `sudo`")
        return self

    @property
    def timer_unit(self) -> str:
        """The name of the timer that undoes it: one for each unit."""
        return f"opsdash-drill-{full_name(self.unit)}".replace("@", "-at-")[:200]

    def jobs(self, context: ActionContext) -> Tool:
        """Systemctl for what changes something."""
        tool = self.tool(context)
        return tool.behind(*_SUDO) if self.sudo else tool

    def alarm_clock(self, context: ActionContext) -> Tool | None:
        """systemd-run, where the undo is to live on the target."""
        if self.timer is None:
            return None
        tool = self.tool(context)
        user = ["--user"] if self.scope == "user" else []
        tool.argv = (*(_SUDO if self.sudo else ()), *self.timer, *user)
        return tool


async def preflight(options: Options, context: InjectionContext) -> Preflight:
    """Whether the unit is as it should be before it is broken, and the programs are there."""
    context.stage = "preflight"
    clock = options.alarm_clock(context)
    missing = await options.jobs(context).why_missing()
    if not missing and clock is not None and (missing := await clock.why_missing()):
        missing += "; write `timer: null` to do without, and the fault stays when this host loses its power"
    if missing:
        return Preflight(passed=False, detail=missing)
    try:
        state = await _look(options, context)
    except ToolError as error:
        return Preflight(passed=False, detail=str(error))
    if state.flaw:
        return Preflight(passed=False, detail=state.flaw)
    if _is_gone(options, state):
        return Preflight(passed=True, detail=str(state))
    return Preflight(passed=False, detail=f"{state}, which is not the drill's to take back")


async def inject(options: Options, context: InjectionContext) -> ActionResult:
    """Lay the undo down on the target, then break it."""
    clock, jobs = options.alarm_clock(context), options.jobs(context)
    jobs.record = None if context.folder is None else Recorded(context.folder)
    words = ""
    if clock is not None:
        context.stage = "timer"
        wrong = await _arm_timer(options, clock, context)
        if wrong:
            return ActionResult(Applied.NOT_STARTED, f"the undo could not be laid down on the target: {wrong}")
        words = f"; the target undoes it by itself after {math.ceil(context.limit)} s ({options.timer_unit})"
    context.on_sent()
    result = await _do(options, context, options.do, jobs)
    return ActionResult(result.applied, f"{result.detail}{words}")


async def undo(options: Options, context: InjectionContext) -> ActionResult:
    """Do the opposite; the timer on the target goes once that has worked."""
    context.on_sent()
    result = await _do(options, context, _BACK[options.do], options.jobs(context))
    if result.applied is Applied.APPLIED and options.timer is not None:
        context.stage = "timer"
        await options.jobs(context).run("stop", f"{options.timer_unit}.timer")
    return result


async def verify_undone(options: Options, context: InjectionContext) -> Gone:
    try:
        state = await _look(options, context)
    except ToolError as error:
        return None, str(error)
    return _is_gone(options, state), str(state)


async def _arm_timer(options: Options, clock: Tool, context: InjectionContext) -> str:
    """Why the timer could not be armed; mostly nothing. One of an earlier drill is taken away before."""
    await options.jobs(context).run("stop", f"{options.timer_unit}.timer")
    finished = await clock.run(
        f"--on-active={math.ceil(context.limit)}s",
        f"--unit={options.timer_unit}",
        "--collect",
        "systemctl",
        *(["--user"] if options.scope == "user" else []),
        _BACK[options.do],
        options.unit,
    )
    return "" if finished.exit_code == 0 else finished.evidence(clock.argv[0])


async def _do(options: Options, context: InjectionContext, job: str, jobs: Tool) -> ActionResult:
    context.stage = job
    finished = await jobs.run(job, options.unit)
    evidence = f"{job} {options.unit}: {finished.evidence(jobs.argv[0])}"
    if finished.exit_code == 0:
        return ActionResult(Applied.APPLIED, evidence)
    if not finished.started:
        return ActionResult(Applied.NOT_STARTED, evidence)
    return ActionResult(Applied.REFUSED if finished.exit_code in NO_JOB else Applied.UNKNOWN, evidence)


async def _look(options: Options, context: InjectionContext) -> UnitState:
    [state] = await show_units(options.tool(context), [options.unit])
    return state


def _is_gone(options: Options, state: UnitState) -> bool:
    """Whether the unit is as it is without the fault. One that is still starting or stopping is not there yet."""
    return state.active in SERVING - {"deactivating"} if options.do == "stop" else state.active in ENDED


def manual(raw: Mapping[str, Any]) -> str:
    """The opposite job, and the timer taken away."""
    user = ["--user"] if raw.get("scope") == "user" else []
    systemctl = [*(_SUDO[:1] if raw.get("sudo") is True else ()), *map(str, raw.get("program", ["systemctl"])), *user]
    return shell_command([*systemctl, _BACK[str(raw.get("do", "stop"))], str(raw["unit"])])


KIND = InjectionKind(
    name="systemd",
    summary="a unit of systemd stopped or started, with the undo laid down on the target",
    options=Options,
    preflight=preflight,
    inject=inject,
    undo=undo,
    verify_undone=verify_undone,
    manual=manual,
    knows_way_back=True,
    expires_on_target=True,
    needs="systemd, and systemd-run where the undo is to live on the target",
)
