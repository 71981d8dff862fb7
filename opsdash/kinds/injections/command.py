"""Run a program that breaks something, and one that takes it back.

    inject: {command: {argv: [bin/firewall, block, db1]}}
    undo:   {command: {argv: [bin/firewall, open, db1], verify: [bin/firewall, is-open, db1]}}

The undo is run again until it works, and perhaps although nothing was broken, so it must accept both. `verify` belongs
to the undo: it exits with 0 when the fault is gone, with 1 when it is still there, and with anything else when it
cannot tell. Without it nobody knows whether the fault is gone but the drill's own checks.

A program that is still at it when the fault is to be taken back is ended first, with its process group.

Both are given the id of the drill's run as OPSDASH_DRILL. Exit code 0 is done; a program that cannot be started
changed nothing; any other code leaves open what it did. The undo lives in the guard process: when this host loses its
power, the fault stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from opsdash.kinds.base import ActionResult, Applied, Preflight, StrictOptions
from opsdash.kinds.injecting import Gone, InjectionContext, InjectionKind
from opsdash.kinds.making import Recorded
from opsdash.kinds.processes import Argv, Finished, Record, run_program, time_to_run, why_missing
from opsdash.kinds.shellwords import shell_command


class Options(StrictOptions):
    argv: Argv
    """The program and its arguments, as a list; it never sees a shell."""

    verify: Argv | None = None
    """Of an undo: a program that changes nothing and exits with 0 when the fault is gone, with 1 when it is not."""

    cwd: str = "."
    """Folder in which it runs, relative to the workspace."""

    env: Mapping[str, str] = Field(default_factory=dict, repr=False)
    """Environment variables besides PATH, HOME, the locale and OPSDASH_DRILL."""


async def preflight(options: Options, context: InjectionContext) -> Preflight:
    """Whether the programs are there; of an undo that is its own and the one that verifies."""
    for argv in (options.argv, options.verify):
        if argv is None:
            continue
        missing = await why_missing(argv[0], context.workspace / options.cwd, options.env, options.cwd)
        if missing:
            return Preflight(passed=False, detail=missing)
    return Preflight(passed=True, detail=f"{options.argv[0]} is there")


async def inject(options: Options, context: InjectionContext) -> ActionResult:
    record = None if context.folder is None else Recorded(context.folder)
    return await _done(options, context, record)


async def undo(options: Options, context: InjectionContext) -> ActionResult:
    return await _done(options, context)


async def verify_undone(options: Options, context: InjectionContext) -> Gone:
    if options.verify is None:
        return None, "no `verify` is written, so only the drill's checks can tell"
    context.stage = "verify"
    finished = await _run(options.verify, options, context)
    words = finished.evidence(options.verify[0])
    if not finished.started or finished.timed_out:
        return None, words
    return {0: True, 1: False}.get(-1 if finished.exit_code is None else finished.exit_code), words


async def _done(options: Options, context: InjectionContext, record: Record | None = None) -> ActionResult:
    context.stage = "run"
    context.on_sent()
    finished = await _run(options.argv, options, context, record)
    return ActionResult(_applied(finished), finished.evidence(options.argv[0]))


def _applied(finished: Finished) -> Applied:
    if not finished.started:
        return Applied.NOT_STARTED
    return Applied.APPLIED if finished.exit_code == 0 and not finished.timed_out else Applied.UNKNOWN


async def _run(argv: Argv, options: Options, context: InjectionContext, record: Record | None = None) -> Finished:
    return await run_program(
        argv,
        cwd=context.workspace / options.cwd,
        env={**options.env, "OPSDASH_DRILL": context.action_id},
        timeout=time_to_run(context.deadline),
        record=record,
    )


def manual(raw: Mapping[str, Any]) -> str:
    """The command line, to be given in the workspace's folder."""
    assignments = [f"{name}={value}" for name, value in raw.get("env", {}).items()]
    line = shell_command([*(["env", *assignments] if assignments else []), *map(str, raw["argv"])])
    folder = raw.get("cwd", ".")
    return line if folder == "." else f"cd {shell_command([folder])} && {line}"


KIND = InjectionKind(
    name="command",
    summary="a program that breaks something, and one that takes it back",
    options=Options,
    preflight=preflight,
    inject=inject,
    undo=undo,
    verify_undone=verify_undone,
    manual=manual,
)
