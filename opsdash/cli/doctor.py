"""Is everything in place for opsdash itself? Each line is a finding, with what to do about it."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import stat
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opsdash import __version__
from opsdash.cli import exits
from opsdash.cli.base import NoWorkspaceError, add_json, add_workspace, runs, workspace_of
from opsdash.cli.terminal import RESULT, bold, latency, out, out_json, sign, table, why_no_board
from opsdash.errors import EngineError, OpsdashError
from opsdash.service.places import account, is_locked, is_ours, places, read_engine_file

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from opsdash.service.places import Places

EXAMPLE = "opsdash doctor"

SPARE_DESCRIPTORS = 100
"""For journal, history, clients, and programs that checks run."""

SPARE_DISK = 100 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """result: pass | warn | fail; text says what was found, and what to do where it is not good."""

    what: str
    result: str
    text: str


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash doctor`."""
    add_json(parser)
    add_workspace(parser)


def run(arguments: argparse.Namespace) -> int:
    """Look at everything; 1 if something fails."""
    findings = list(_findings(arguments))
    worst = next((word for word in ("fail", "warn") if any(each.result == word for each in findings)), "pass")
    if arguments.json:
        listed = [{"what": each.what, "result": each.result, "text": each.text} for each in findings]
        out_json({"component": None, "status": worst, "reason": None, "findings": listed})
    else:
        out(bold(f"opsdash {__version__}, Python {sys.version.split()[0]}"))
        table([[sign(RESULT, each.result), each.what, each.text] for each in findings], indent="  ")
    return exits.FAILED if worst == "fail" else exits.OK


def _findings(arguments: argparse.Namespace) -> Iterator[Finding]:
    yield _terminal()
    try:
        workspace = workspace_of(arguments)
    except NoWorkspaceError as error:
        yield Finding("workspace", "warn", str(error))
        return
    yield Finding("workspace", "pass", str(workspace))
    yield from _files(workspace)
    try:
        where = places(workspace)
    except EngineError as error:
        yield Finding("state", "fail", str(error))
        return
    if not is_ours(where):
        yield _of_another_account(where)
        return
    yield _state_folder(where)
    yield _disk(where)
    yield from _journal(where)
    yield _engine(where)
    if runs(where):
        yield from _event_loop(where)


def _terminal() -> Finding:
    why = why_no_board()
    if not why:
        return Finding("terminal", "pass", f"the board can be drawn (TERM={os.environ.get('TERM')})")
    detail = f"no board can be drawn here: {why}; `opsdash status` and all commands work without"
    return Finding("terminal", "warn", detail)


def _files(workspace: Path) -> Iterator[Finding]:
    from opsdash.cli.offline import read_files

    loaded = read_files(workspace)
    if loaded.errors:
        yield Finding("files", "fail", f"{len(loaded.errors)} errors; `opsdash validate` lists them")
    elif loaded.problems:
        yield Finding("files", "warn", f"{len(loaded.problems)} warnings; `opsdash validate` lists them")
    else:
        yield Finding("files", "pass", f"{len(loaded.operation.components)} components, no problems")
    if not loaded.operation.anchors:
        text = "none: opsdash cannot tell whether it is itself that is offline; add `anchors` to opsdash.yaml"
        yield Finding("anchors", "warn", text)
    yield _descriptors(len(loaded.bindings))


def _descriptors(checks: int) -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = checks + SPARE_DESCRIPTORS
    if hard != resource.RLIM_INFINITY and hard < wanted:
        return Finding(
            "descriptors", "fail", f"{checks} checks may need {wanted}, the hard limit is {hard}: ulimit -Hn"
        )
    return Finding("descriptors", "pass", f"enough for {checks} checks")


def _of_another_account(where: Places) -> Finding:
    """What can be said to a member of `engine.group`, and to a stranger."""
    try:
        name = account(where.owner)
        if runs(where):
            return Finding("engine", "pass", f"running; it is {name}'s, who lets this account in")
    except EngineError as error:
        return Finding("engine", "fail", str(error))
    return Finding("engine", "warn", f"none is running, so nobody watches: only {name} can start one")


def _state_folder(where: Places) -> Finding:
    if not where.state.exists():
        return Finding("state", "pass", f"{where.state} will be created by the first engine")
    if stat.S_IMODE(where.state.stat().st_mode) & 0o067:  # the group's 0o010 is engine.group
        return Finding("state", "fail", f"others may read {where.state}: chmod 700 it")
    near = "" if where.socket.parent == where.state else f"; the path is long, so the socket is {where.socket}"
    return Finding("state", "pass", f"{where.state}{near}")


def _disk(where: Places) -> Finding:
    free = shutil.disk_usage(where.state if where.state.exists() else where.workspace).free
    if free < SPARE_DISK:
        return Finding("disk", "warn", f"{free // 2**20} MiB are free; without space nothing can be switched")
    return Finding("disk", "pass", f"{free // 2**30} GiB are free")


def _journal(where: Places) -> Iterator[Finding]:

    from opsdash.storage import segments

    folder = where.journal
    if not segments.segment_paths(folder):
        return
    try:
        problems = segments.verify(folder)
    except OpsdashError as error:
        yield Finding("journal", "fail", str(error))
        return
    if problems:
        yield Finding("journal", "fail", f"{len(problems)} places are not what was written; `opsdash journal verify`")
    else:
        yield Finding("journal", "pass", "one unbroken chain")


def _engine(where: Places) -> Finding:
    file = read_engine_file(where)
    if runs(where):
        if file is not None and file.version != __version__:
            text = f"version {file.version} is running, this is {__version__}: `opsdash engine restart`"
            return Finding("engine", "warn", text)
        return Finding("engine", "pass", f"running, pid {file.pid}" if file else "running")
    if is_locked(where):
        return Finding("engine", "fail", f"it holds the lock and does not answer; see {where.log}")
    return Finding("engine", "warn", "none is running, so nobody watches: `opsdash` or `opsdash engine` starts one")


def _at_work(about: dict[str, Any]) -> Iterator[Finding]:
    """Whether the engine makes progress, and whether somebody elsewhere would notice if it did not."""
    if "dead_man" not in about:
        return
    from opsdash.cli.engine import in_words
    from opsdash.engine.clock import system_clock

    if about["hindrances"]:
        yield Finding("progress", "fail", f"the engine {'; it '.join(about['hindrances'])}")
    else:
        yield Finding("progress", "pass", "the engine is at work")
    switch = about["dead_man"]
    fine = switch["configured"] and not switch["trouble"] and not switch["withheld"]
    yield Finding("dead man's switch", "pass" if fine else "warn", in_words(switch, system_clock().wall))


def _event_loop(where: Places) -> Iterator[Finding]:
    """Whether anything holds up the running engine. One that does not say so is of another version."""
    from opsdash.service.client import EngineSession
    from opsdash.service.session import SessionError

    try:
        about = asyncio.run(EngineSession(where).about())
    except SessionError as error:
        yield Finding("event loop", "warn", f"the engine could not be asked: {error}")
        return
    yield from _at_work(about)
    for held in about.get("held_loop", ()):
        longest = f"{held['check']} held up all other checks for {latency(held['longest'])}, at {held['place']}"
        if held["own_process"]:
            yield Finding("event loop", "warn", f"{longest}; it runs in a process of its own now")
        else:
            yield Finding("event loop", "warn", f"{longest}; mend its kind{held['stays'] and ': ' + held['stays']}")
    others = about.get("held_by_others", {"times": 0})
    if others["times"]:
        longest = f"held up for {latency(others['longest'])} by no check, at {others['place']}"
        yield Finding("event loop", "warn", f"{longest}; {others['times']} times in all")
    if "held_loop" in about and not about["held_loop"] and not others["times"]:
        yield Finding("event loop", "pass", "nothing holds it up")
