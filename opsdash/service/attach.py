"""Attaching to a workspace's engine, and starting one if none runs.

The client connects first. Only if that fails it spawns an engine: in a session of its own, so that a terminal which
hangs up takes only the board with it, and with its streams on null and a log file, since a closed terminal would
otherwise break the first thing it says. Two who spawn at once get one engine: the second finds the lock taken and ends.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from opsdash.errors import EngineError
from opsdash.service.client import EngineSession
from opsdash.service.places import Places, make_state_folder, places
from opsdash.service.wire import WireError, request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

START_WITHIN = 15.0
LAST_WORDS = 5
LOG_LIMIT = 5 * 1024 * 1024

_started: list[subprocess.Popen[bytes]] = []
"""Engines that this process has started, so that one which ends is reaped."""


async def attach(
    workspace: Path,
    *,
    spawn: bool = True,
    environment: Mapping[str, str] | None = None,
    ephemeral: bool = False,
    claim: str | None = None,
    read_only: bool = False,
    flags: Sequence[str] = (),
    name: str = "",
) -> EngineSession:
    """A session with the engine of `workspace`, which is started if none runs and `spawn` is set.

    environment, flags: for an engine that has to be started.  ephemeral: such an engine ends with its last client.
    name: of this terminal, see EngineSession.
    Raises EngineError.
    """
    where = places(workspace)
    if not await answers(where):
        if not spawn:
            raise EngineError(f"no engine is running for {where.workspace}; start one with `opsdash engine`")
        child = spawn_engine(workspace, environment=environment, ephemeral=ephemeral, flags=flags)
        await _wait(where, child)

    def revive() -> None:
        spawn_engine(workspace, environment=environment, ephemeral=ephemeral)

    return EngineSession(where, claim=claim, read_only=read_only, revive=revive if spawn else None, name=name)


def spawn_engine(
    workspace: Path,
    *,
    environment: Mapping[str, str] | None = None,
    ephemeral: bool = False,
    flags: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    """Start an engine that outlives this process. Whether it came up is for the caller to see. Raises EngineError.

    flags: further options of `opsdash engine`.
    """
    where = places(workspace)
    make_state_folder(where)
    command = [sys.executable, "-P", "-m", "opsdash", "engine", "--workspace", str(where.workspace), *flags]
    if ephemeral:
        command.append("--ephemeral")
    _started[:] = [child for child in _started if child.poll() is None]
    try:
        _rotate(where.log)
        with open(where.log, "ab", opener=_private) as log:
            child = subprocess.Popen(
                command,
                cwd=where.workspace,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
                close_fds=True,
            )
    except OSError as error:
        raise EngineError(f"the engine cannot be started: {error.filename}: {error.strerror}") from error
    _started.append(child)
    return child


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))


async def answers(where: Places) -> bool:
    """Whether an engine answers on the socket."""
    try:
        await request(where.socket, "GET", "/v1/engine", timeout=3.0)
    except WireError:
        return False
    return True


async def _wait(where: Places, child: subprocess.Popen[bytes]) -> None:
    """Wait until an engine answers: the child, or another that was faster."""
    loop = asyncio.get_running_loop()
    until = loop.time() + START_WITHIN
    pause = 0.01
    while loop.time() < until:
        if where.socket.exists() and await answers(where):
            return
        if child.poll() not in (None, 0):
            raise EngineError(f"the engine did not start: {_last_words(where.log)} (see {where.log})")
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, 0.1)
    raise EngineError(f"the engine did not answer within {START_WITHIN:.0f} s; see {where.log}")


def _last_words(log: Path) -> str:
    try:
        said = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "it left no word"
    return said[-1] if said else "it left no word"
