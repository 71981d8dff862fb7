"""Run a program that switches: a script of your own, `systemctl`, `kubectl`, a vendor's command line.

    action: {kind: command, argv: [bin/use-mailer, "{to.as}"], check: [bin/use-mailer, --dry-run, "{to.as}"]}
    read:   {kind: command, argv: [bin/current-mailer]}

It is given OPSDASH_ACTION_ID, and in OPSDASH_FROM and OPSDASH_TO the ids of the two providers (not their `as`; the
first is empty when nobody knows who serves). It must accept being run twice with one action id: a person may repeat it
by hand. Exit code 0 is `applied`, a program that cannot be started changed nothing, a code
listed under `refused` means that it changed nothing, and any other code is `unknown`: a script that failed halfway
looks exactly like one that failed at once. `read` prints what is in force as one line.

A program that leaves a daemon behind has ended when it ends itself; what it leaves running is recorded, not
killed. At the deadline its whole process group is ended, and the outcome is `unknown`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from opsdash.kinds.base import (
    ActionContext,
    ActionKind,
    ActionResult,
    Applied,
    Preflight,
    Reading,
    StrictOptions,
)
from opsdash.kinds.processes import Argv, Finished, run_program, time_to_run, why_missing
from opsdash.kinds.shellwords import shell_command
from opsdash.model.operation import Abilities


class ReadOptions(StrictOptions):
    argv: Argv
    """The program that prints what is in force, and its arguments, as a list."""

    cwd: str = "."
    """Folder in which it runs, relative to the workspace."""

    env: Mapping[str, str] = Field(default_factory=dict, repr=False)
    """Environment variables besides PATH, HOME, the locale and OPSDASH_…."""


class Options(StrictOptions):
    argv: Argv
    """The program and its arguments, as a list; it never sees a shell."""

    check: Argv | None = None
    """A program that changes nothing and exits with 0 when the action could be carried out."""

    refused: tuple[Annotated[int, Field(ge=1, le=255)], ...] = ()
    """Exit codes by which the program says that it changed nothing."""

    cwd: str = "."
    """Folder in which it runs, relative to the workspace."""

    env: Mapping[str, str] = Field(default_factory=dict, repr=False)
    """Environment variables besides PATH, HOME, the locale and OPSDASH_…."""


async def apply(options: Options, context: ActionContext) -> ActionResult:
    context.stage = "run"
    context.on_sent()
    finished = await _run(options.argv, options, context)
    return ActionResult(applied=_applied(options, finished), detail=finished.evidence(options.argv[0]))


def _applied(options: Options, finished: Finished) -> Applied:
    if not finished.started:
        return Applied.NOT_STARTED
    if finished.timed_out or finished.exit_code is None:
        return Applied.UNKNOWN
    if finished.exit_code == 0:
        return Applied.APPLIED
    return Applied.REFUSED if finished.exit_code in options.refused else Applied.UNKNOWN


async def read(options: ReadOptions, context: ActionContext) -> Reading:
    context.stage = "run"
    finished = await _run(options.argv, options, context)
    if finished.exit_code != 0 or finished.timed_out:
        return Reading(value=None, detail=finished.evidence(options.argv[0]))
    lines = [line.strip() for line in finished.stdout.splitlines() if line.strip()]
    if finished.truncated:
        return Reading(value=None, detail=f"{options.argv[0]} printed more than one line that names what is in force")
    if len(lines) != 1:
        detail = f"{options.argv[0]} printed {len(lines)} lines where one names what is in force"
        return Reading(value=None, detail=detail)
    return Reading(value=lines[0])


async def preflight(options: Options, context: ActionContext) -> Preflight:
    missing = await why_missing(options.argv[0], context.workspace / options.cwd, options.env, options.cwd)
    if missing:
        return Preflight(passed=False, detail=missing)
    if options.check is None:
        return Preflight(passed=True, detail=f"{options.argv[0]} is there; without `check` more cannot be told")
    context.stage = "check"
    finished = await _run(options.check, options, context)
    passed = None if finished.timed_out else finished.exit_code == 0
    return Preflight(passed=passed, detail=finished.evidence(options.check[0]))


async def _run(argv: Argv, options: Options | ReadOptions, context: ActionContext) -> Finished:
    return await run_program(
        argv,
        cwd=context.workspace / options.cwd,
        env={**options.env, **_told(context)},
        timeout=time_to_run(context.deadline),
    )


def _told(context: ActionContext) -> dict[str, str]:
    told = {"OPSDASH_ACTION_ID": context.action_id}
    if context.expected is not None:
        told["OPSDASH_FROM"] = context.expected
    return {**told, **context.environment}


def manual(raw: Mapping[str, Any]) -> str:
    """The command line, to be given in the workspace's folder."""
    assignments = [f"{name}={value}" for name, value in raw.get("env", {}).items()]
    line = shell_command([*(["env", *assignments] if assignments else []), *map(str, raw["argv"])])
    folder = raw.get("cwd", ".")
    return line if folder == "." else f"cd {shell_command([folder])} && {line}"


KIND = ActionKind(
    name="command",
    summary="run a program",
    options=Options,
    identity=("argv",),
    abilities=Abilities(read_back=True),
    apply=apply,
    preflight=preflight,
    manual=manual,
    read_options=ReadOptions,
    read=read,
)
