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

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

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
from opsdash.kinds.offload import in_thread
from opsdash.kinds.processes import Argv, Finished, minimal_environment, run_program
from opsdash.kinds.shellwords import shell_command
from opsdash.model.operation import Abilities

EXCERPT: Final = 300
ENDING_TIME: Final = 1.0
"""Seconds of the deadline that are kept for ending the process group and reading what it said."""


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
    return ActionResult(applied=_applied(options, finished), detail=_evidence(options.argv, finished))


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
        return Reading(value=None, detail=_evidence(options.argv, finished))
    lines = [line.strip() for line in finished.stdout.splitlines() if line.strip()]
    if len(lines) != 1:
        detail = f"{options.argv[0]} printed {len(lines)} lines where one names what is in force"
        return Reading(value=None, detail=detail)
    return Reading(value=lines[0])


async def preflight(options: Options, context: ActionContext) -> Preflight:
    missing = await _missing(options, context)
    if missing:
        return Preflight(passed=False, detail=missing)
    if options.check is None:
        return Preflight(passed=True, detail=f"{options.argv[0]} is there; without `check` more cannot be told")
    context.stage = "check"
    finished = await _run(options.check, options, context)
    passed = None if finished.timed_out else finished.exit_code == 0
    return Preflight(passed=passed, detail=_evidence(options.check, finished))


async def _missing(options: Options, context: ActionContext) -> str:
    """Why the program could not be started; empty when it is there."""
    program = options.argv[0]
    folder = context.workspace / options.cwd
    path = minimal_environment(options.env)["PATH"]

    def look() -> str:
        if not folder.is_dir():
            return f"the folder {options.cwd} does not exist"
        found = str(folder / program) if "/" in program else shutil.which(program, path=path)
        if found is None:
            return f"{program} is not on the path"
        if not Path(found).is_file():
            return f"{program} does not exist"
        return "" if os.access(found, os.X_OK) else f"{program} is not executable"

    return await in_thread(("command", folder, program), look)


async def _run(argv: Argv, options: Options | ReadOptions, context: ActionContext) -> Finished:
    return await run_program(
        argv,
        cwd=context.workspace / options.cwd,
        env={**options.env, **_told(context)},
        timeout=max(context.deadline - ENDING_TIME, context.deadline / 2),
    )


def _told(context: ActionContext) -> dict[str, str]:
    told = {"OPSDASH_ACTION_ID": context.action_id}
    if context.expected is not None:
        told["OPSDASH_FROM"] = context.expected
    return {**told, **context.environment}


def _evidence(argv: Argv, finished: Finished) -> str:
    said = " ".join((finished.stdout.strip() or finished.stderr.strip()).split())
    parts = [f"{argv[0]} {finished.ending}"]
    if finished.leftover:
        parts.append("processes of its own go on running")
    words = "; ".join(parts)
    return f"{words}: {said[:EXCERPT]}" if said else words


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
