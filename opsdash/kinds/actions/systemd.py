"""Units of systemd on this machine: start one, wait until it is active and stays so, stop the other.

    read:   {kind: systemd, units: [mailer-a.service, mailer-b.service]}
    action: {kind: systemd, unit: "{to.as}", out: [mailer-a.service, mailer-b.service]}

That `systemctl start` ends well means little: a service that fails a moment later is reported as started, and one
that is restarted again and again is never down for long. So the old unit is stopped only once the new one has been
active for `steady`, without a restart; when it is not, the old one goes on. With `first: stop` it is the other way
round, for what must not run twice: then nothing is started as long as the old one has not really ended.

In force is the unit that is active. Where none is, the one that has failed, the last one if several have; so a primary
that crashed can be left. None of them, or several at once, are told as `none` and `a, b`, which are nobody's names.

`out` may be `"{from.as}"`, or all units of the component: the one that is started is left out. Only the list works
when nobody knows who serves. Without `enable`, a reboot starts whatever is enabled, whoever served before.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from opsdash.kinds.base import ActionContext, ActionKind, ActionResult, Applied, Preflight, Reading
from opsdash.kinds.fields import Duration
from opsdash.kinds.processes import ToolError
from opsdash.kinds.shellwords import shell_command
from opsdash.kinds.systemd import (
    ENDED,
    NO_JOB,
    SERVING,
    Unit,
    UnitPlace,
    Units,
    UnitState,
    full_name,
    show_units,
    told_of,
    units_of,
)
from opsdash.model.operation import Abilities

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from opsdash.kinds.processes import Tool

NONE: Final = "none"
"""What is said to be in force where no unit is."""
REBOOT: Final = "when the machine boots, it starts the units that are enabled"

_CANNOT_BE_ENABLED: Final = frozenset({"static", "generated", "transient", "indirect"})
_SUDO: Final = ("sudo", "-n")
_LOOK_EVERY: Final = 0.1


class ReadOptions(UnitPlace):
    units: Annotated[tuple[Unit, ...], Field(min_length=1)]
    """The units of which one is to be active, as the providers' `as` names them."""


class Options(UnitPlace):
    unit: Unit
    """The unit to start, such as `{to.as}`."""

    out: Units = ()
    """The unit to stop, such as `{from.as}`, or all that might have to be; `unit` itself is left out."""

    first: Literal["start", "stop"] = "start"
    """What comes first: to start the new one, or to stop the old one (for what must never run twice)."""

    steady: Duration = 1.0
    """For how long the new unit has to be active, without a restart, before it is relied upon."""

    sudo: bool = False
    """Whether units are started and stopped by `sudo -n systemctl start UNIT`. Looking at them needs no right."""

    enable: bool = False
    """Whether to enable the new unit and to disable the old one as well, so that a reboot does not undo the switch."""

    @model_validator(mode="after")
    def _sudo_is_for_the_machine(self) -> Self:
        if self.sudo and self.scope == "user":
            raise ValueError("units of the account itself need no `sudo`")
        return self

    @property
    def old(self) -> tuple[str, ...]:
        """The units to stop."""
        return tuple(name for name in self.out if full_name(name) != full_name(self.unit))


def _names(text: str) -> set[str]:
    """The units that a text names, `a, b`."""
    return {full_name(name) for name in text.split(", ")}


def _in_force(states: Sequence[UnitState]) -> str:
    """Who serves by systemd's word: a unit, or a text that is nobody's name."""
    for active in ([each for each in states if each.is_active], [each for each in states if each.active not in ENDED]):
        if active:
            return ", ".join(state.name for state in active)
    last = max(states, key=lambda state: state.last_ran)
    return last.name if last.active == "failed" else NONE


async def read(options: ReadOptions, context: ActionContext) -> Reading:
    context.stage = "run"
    try:
        states = await show_units(options.tool(context), options.units)
    except ToolError as error:
        return Reading(None, detail=str(error))
    serving = tuple(state.name for state in states if state.active in SERVING)
    return Reading(_in_force(states), detail=told_of(states), serving=serving)


# --- acting ------------------------------------------------------------------------------------------------------


async def apply(options: Options, context: ActionContext) -> ActionResult:
    """Look, then one job after the other, each only when the one before has had its effect."""
    context.stage = "look"
    tool = options.tool(context)
    try:
        states = await show_units(tool, [options.unit, *options.old])
    except ToolError as error:
        return ActionResult(Applied.NOT_STARTED, str(error))
    hindrance = _hindrance(options, states, context.expected)
    if hindrance:
        return ActionResult(Applied.REFUSED, f"{hindrance}; nothing was done")
    if _is_done(options, states):
        return ActionResult(Applied.APPLIED, f"so it is already: {told_of(states)}")
    return await _Jobs(options, tool, context).carry_out()


def _hindrance(options: Options, states: Sequence[UnitState], expected: str | None) -> str:
    new = states[0]
    if new.flaw:
        return new.flaw
    if options.enable and new.file in _CANNOT_BE_ENABLED:
        return f"{new.name} cannot be enabled: its unit file is {new.file}, without a section [Install]"
    found = _in_force(states)
    if expected is None or _names(found) in (_names(expected), _names(new.name)):
        return ""
    return f"in force is {found}, where {expected} was expected ({told_of(states)})"


def _is_done(options: Options, states: Sequence[UnitState]) -> bool:
    new, *old = states
    settled = not options.enable or (new.file == "enabled" and all(each.file != "enabled" for each in old))
    return settled and new.is_active and not any(each.active in SERVING | {"activating"} for each in old)


class _Jobs:
    """What an action has systemd do. A job without its effect ends it, and what was not begun is not begun."""

    def __init__(self, options: Options, tool: Tool, context: ActionContext) -> None:
        self._options = options
        self._tool = tool
        self._jobs = tool.behind(*_SUDO) if options.sudo else tool
        self._context = context
        self._done: list[str] = []
        self._begun = False

    async def carry_out(self) -> ActionResult:
        jobs = [self._start, self._stop] if self._options.first == "start" else [self._stop, self._start]
        self._context.on_sent()
        for job in (*jobs, self._enable):
            result = await job()
            if result is not None:
                return result
        return ActionResult(Applied.APPLIED, "; ".join(self._done))

    async def _call(self, *words: str) -> ActionResult | None:
        """One call of systemctl; what to answer when it did not end well."""
        self._context.stage = words[0]
        finished = await self._jobs.run(*words)
        if finished.exit_code == 0:
            self._begun = True
            return None
        evidence = f"{' '.join(words)}: {finished.evidence(self._jobs.argv[0])}"
        if self._begun or (finished.started and finished.exit_code not in NO_JOB):
            return self._unknown(evidence)
        return ActionResult(Applied.REFUSED if finished.started else Applied.NOT_STARTED, evidence)

    def _unknown(self, words: str) -> ActionResult:
        return ActionResult(Applied.UNKNOWN, "; ".join([*self._done, words]))

    def _unreadable(self, error: ToolError) -> ActionResult:
        return self._unknown(str(error)) if self._begun else ActionResult(Applied.NOT_STARTED, str(error))

    async def _start(self) -> ActionResult | None:
        unit = self._options.unit
        failed = await self._call("start", unit)
        if failed is not None:
            return failed
        self._context.stage = "wait until it is active"
        try:
            wrong = await self._until_steady()
        except ToolError as error:
            wrong = str(error)
        if wrong:
            left = "" if self._options.first == "stop" else f"; {_them(self._options.old)} left as it was"
            return self._unknown(f"{unit} was started, but {wrong}{left if self._options.old else ''}")
        self._done.append(f"{unit} is active")
        return None

    async def _until_steady(self) -> str:
        """Wait until the new unit has been active long enough. Returns what speaks against it, mostly nothing."""
        began: UnitState | None = None
        since = now = asyncio.get_running_loop().time()
        while began is None or now - since < self._options.steady:
            [state] = await show_units(self._tool, [self._options.unit])
            now = asyncio.get_running_loop().time()
            if state.active in {"failed", "inactive"} or state.sub == "auto-restart":
                return f"then it is {state.active} ({state.sub})"
            if began is not None and _was_restarted(began, state):
                return "then it was restarted"
            if began is None and state.is_active:
                began, since = state, now
            if self._tool.left < _LOOK_EVERY:
                return f"no time was left to wait for it: it is {state.active} ({state.sub})"
            await asyncio.sleep(_LOOK_EVERY)  # systemctl tells of no change but by being asked again
        return ""

    async def _stop(self) -> ActionResult | None:
        old = self._options.old
        if not old:
            return None
        try:
            for state in await show_units(self._tool, old):
                failed = await self._call("stop", state.name) if state.active not in ENDED else None
                if failed is not None:
                    return failed
            left = [state for state in await show_units(self._tool, old) if state.active not in ENDED]
        except ToolError as error:
            return self._unreadable(error)
        if left:
            return self._unknown(f"{_them(old)} stopped, but {told_of(left)}")
        self._done.append(f"{_them(old)} stopped")
        return None

    async def _enable(self) -> ActionResult | None:
        if not self._options.enable:
            return None
        for words in (("enable", self._options.unit), *(("disable", unit) for unit in self._options.old)):
            failed = await self._call(*words)
            if failed is not None:
                return failed
        self._done.append(f"{self._options.unit} is enabled")
        return None


def _was_restarted(before: UnitState, after: UnitState) -> bool:
    return (before.invocation, before.restarts) != (after.invocation, after.restarts)


def _them(units: Sequence[str]) -> str:
    return f"{', '.join(units)} {'was' if len(units) == 1 else 'were'}"


# --- before ------------------------------------------------------------------------------------------------------


async def preflight(options: Options, context: ActionContext) -> Preflight:
    context.stage = "preflight"
    tool = options.tool(context)
    missing = await tool.why_missing()
    if missing:
        return Preflight(passed=False, detail=missing)
    try:
        states = await show_units(tool, [options.unit, *options.old])
    except ToolError as error:
        return Preflight(passed=False, detail=str(error))
    wrong = _hindrance(options, states, None)
    if wrong:
        return Preflight(passed=False, detail=wrong)
    allowed, words = await _allowed(options, tool)
    return Preflight(passed=allowed is not False, detail=f"{told_of(states)}; {words}", credentials=allowed)


async def _allowed(options: Options, tool: Tool) -> tuple[bool | None, str]:
    """Whether units may be started and stopped. polkit decides that only when it is tried; sudo can be asked."""
    if options.sudo:
        asking = tool.behind(*_SUDO, "-l")
        for job in (("start", options.unit), *(("stop", unit) for unit in options.old)):
            finished = await asking.run(*job)
            if finished.exit_code != 0:
                return False, f"{' '.join(job)} is not permitted: {finished.evidence(_SUDO[0])}"
        return True, "sudo permits it"
    if options.scope == "user":
        return True, "the units are our own"
    if os.geteuid() == 0:
        return True, "we are root"
    return None, "whether we may is known only when it is tried"


# --- for people --------------------------------------------------------------------------------------------------


def manual(raw: Mapping[str, Any]) -> str:
    """The lines of systemctl, in their order."""
    unit = str(raw["unit"])
    old = [str(name) for name in units_of(raw.get("out", ())) if full_name(str(name)) != full_name(unit)]
    systemctl = [*map(str, raw.get("program", ["systemctl"])), *(["--user"] if raw.get("scope") == "user" else [])]
    job = [*_SUDO[:1], *systemctl] if raw.get("sudo") is True else systemctl
    start = [[*job, "start", unit], [*systemctl, "is-active", unit]]
    stop = [[*job, "stop", *old]] if old else []
    lines = [*stop, *start] if raw.get("first") == "stop" else [*start, *stop]
    if raw.get("enable") is True:
        lines.append([*job, "enable", unit])
        lines += [[*job, "disable", *old]] if old else []
    return " && ".join(shell_command(line) for line in lines)


def refine(options: Options) -> Abilities:
    return Abilities(idempotent=True, read_back=True, self_reverts="" if options.enable else REBOOT)


KIND = ActionKind(
    name="systemd",
    summary="a unit of systemd started and another one stopped",
    options=Options,
    abilities=Abilities(idempotent=True, read_back=True, self_reverts=REBOOT),
    apply=apply,
    preflight=preflight,
    manual=manual,
    read_options=ReadOptions,
    read=read,
    refine=refine,
)
