"""What all commands share: their options, the workspace they are about, and how they talk to its engine.

A command is a module of this package with three names: `EXAMPLE` (shown by `--help`), `configure(parser)` which adds
its arguments, and `run(arguments)` which does it and returns an exit code. It is imported only when it is meant, and
imports only what it needs: `opsdash status` has to answer within a sixth of a second.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from opsdash.cli.terminal import dim, say
from opsdash.errors import EngineError
from opsdash.service.places import Places, account, connects, find_workspace, is_locked, places

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable, Iterable

    from opsdash.service.client import EngineSession

T = TypeVar("T")

WORKSPACE_FILE = "opsdash.yaml"
WORKSPACE_VARIABLE = "OPSDASH_WORKSPACE"
FIRST_RESULTS_WITHIN = 10.0
"""Seconds that a command waits for the first results of an engine that it had to start."""


class UsageError(Exception):
    """The command line makes no sense as it stands; the text says what would."""


class NoWorkspaceError(UsageError):
    """There is no workspace to be about."""


def add_workspace(parser: argparse.ArgumentParser) -> None:
    """`-w`, which every command takes."""
    parser.add_argument(
        "-w",
        "--workspace",
        metavar="DIR",
        help=f"the workspace (default: ${WORKSPACE_VARIABLE}, else the nearest parent folder with {WORKSPACE_FILE})",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`, for commands that print data."""
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def add_as(parser: argparse.ArgumentParser) -> None:
    """`--as`, for commands that change something."""
    parser.add_argument("--as", dest="claim", metavar="ID", help="who you are, on an account that several people share")


def workspace_of(arguments: argparse.Namespace) -> Path:
    """The workspace that is meant. Raises NoWorkspaceError.

    Where nobody names one, and there is none but the example's own files, whose services run only in a demo, it is the
    demo that runs.
    """
    named = arguments.workspace or os.environ.get(WORKSPACE_VARIABLE)
    found = find_workspace(here(), named)
    demo = None if named else _demo_beside(found)
    if demo is not None:
        say(dim(f"the running demo (-w {demo})"))
        arguments.workspace = str(demo)
        return demo
    if found is None:
        raise NoWorkspaceError(
            f"there is no workspace here: neither {here()} nor a folder above it has an {WORKSPACE_FILE}. Name one "
            "with -w DIR, make one with `opsdash init DIR`, or look at the example with `opsdash demo`"
        )
    if not (found / WORKSPACE_FILE).is_file():
        raise NoWorkspaceError(f"{found} is no workspace: it has no {WORKSPACE_FILE}. `opsdash init {found}` makes one")
    return found.resolve()


def _demo_beside(found: Path | None) -> Path | None:
    from opsdash.demo.example import is_example

    if found is not None and (not is_example(found) or is_locked(places(found.resolve()))):
        return None
    from opsdash.cli.example import running_demo

    return running_demo()


def here() -> Path:
    """The present folder, or the root where that was deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")


def places_of(arguments: argparse.Namespace) -> Places:
    """Where the engine of the workspace lives that is meant."""
    return places(workspace_of(arguments))


def with_engine(
    arguments: argparse.Namespace, work: Callable[[EngineSession], Awaitable[int]], *, terminal: bool = False
) -> int:
    """Do `work` with the workspace's engine, which is started if none runs. Raises EngineError, SessionError.

    terminal: this is a terminal of its own, of which one person may have several.
    """
    workspace = workspace_of(arguments)

    async def go() -> int:
        from opsdash.service.attach import attach

        name = os.urandom(8).hex() if terminal else ""
        session = await attach(workspace, claim=getattr(arguments, "claim", None), name=name)
        try:
            return await work(session)
        finally:
            await session.close()

    return asyncio.run(go())


def with_files_or_engine(
    arguments: argparse.Namespace,
    ask_engine: Callable[[EngineSession], Awaitable[T]],
    ask_files: Callable[[Path], T],
) -> T:
    """Ask the engine if one runs, else the files and the journal: a question alone starts no engine."""
    workspace = workspace_of(arguments)
    where = places(workspace)

    async def go() -> T:
        from opsdash.service.client import EngineSession

        session = EngineSession(where)
        try:
            return await ask_engine(session)
        finally:
            await session.close()

    if runs(where):
        return asyncio.run(go())
    return ask_files(workspace)


def runs(where: Places) -> bool:
    """Whether somebody listens on the engine's socket. Raises EngineError where this account may not ask."""
    found = connects(where)
    if found is False:
        raise EngineError(
            f"the engine of {where.workspace} is {account(where.owner)}'s, and this account may not talk to it; its "
            f"owner can name a group of yours as engine.group in {WORKSPACE_FILE}"
        )
    return found is True


async def first_results(session: EngineSession, component: str) -> None:
    """Wait until every check of a component has a first result, if its engine has just begun."""
    loop = asyncio.get_running_loop()
    until = loop.time() + FIRST_RESULTS_WITHIN
    asked = False
    while loop.time() < until:
        detail = await session.component(component)
        checks = [*detail["checks"], *(check for provider in detail["providers"] for check in provider["checks"])]
        if not any(check["reason"] == "starting" for check in checks):
            return
        if not asked:
            await session.submit("poll", {"target": component})
            asked = True
        await asyncio.sleep(0.1)


def unknown_runbook(name: str, known: Iterable[str]) -> UsageError:
    """There is no such runbook; names the nearest that is."""
    import difflib

    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names) or 'none'}"
    return UsageError(f"there is no runbook {name!r}; {hint}")


def refusal(refused: Any) -> str:
    """A refusal in a sentence, with the way around it where there is one."""
    way = f" ({refused['override']})" if refused["override"] else ""
    return f"{refused['reason']} [{refused['rule']}]{way}"
