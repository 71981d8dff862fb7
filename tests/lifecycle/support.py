"""Engines as real processes: started, watched, killed by their pid."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opsdash.errors import JournalError
from opsdash.service.client import EngineSession
from opsdash.service.places import places
from opsdash.service.session import SessionError
from opsdash.storage.segments import read_entries
from tests.engine.support import eventually_asked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from opsdash.service.places import Places
    from opsdash.storage.entries import Entry

START_WITHIN = 20.0


@dataclass
class EngineProcess:
    """An engine with a process of its own; `log` is what it says on its standard error."""

    process: asyncio.subprocess.Process
    where: Places
    log: Path
    killed: bool = False

    @property
    def session(self) -> EngineSession:
        return EngineSession(self.where)

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    async def until_it_answers(self, within: float = START_WITHIN) -> None:
        await eventually_asked(self._answers, within=within, hint=lambda: self.said)

    async def _answers(self) -> bool:
        assert self.process.returncode is None, self.said
        try:
            about = await self.session.about()
        except SessionError:
            return False
        pid: int = about["pid"]
        return pid == self.process.pid

    async def status(self, component: str) -> str:
        rows = {row["id"]: row["status"] for row in (await self.session.snapshot())["rows"]}
        return rows.get(component, "")

    async def until_status(self, component: str, wanted: str) -> None:
        async def shown() -> bool:
            return await self.status(component) == wanted

        await eventually_asked(shown, hint=lambda: self.said)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def ended(self, within: float = 10.0) -> int:
        async with asyncio.timeout(within):
            return await self.process.wait()

    async def kill(self) -> None:
        """`kill -9`: no goodbye, no flush."""
        self.signal(signal.SIGKILL)
        await self.ended()


OPSDASH = (sys.executable, "-P", "-m", "opsdash")


def command(folder: Path, *more: str, program: Sequence[str] = OPSDASH) -> list[str]:
    """The engine's command line."""
    return [*program, "engine", "-w", str(folder), *more]


@asynccontextmanager
async def engine(
    folder: Path,
    *more: str,
    wait: bool = True,
    environment: dict[str, str] | None = None,
    program: Sequence[str] = OPSDASH,
    **settings: Any,
) -> AsyncIterator[EngineProcess]:
    """An engine in the foreground of a session of its own. It is killed at the end if it still runs."""
    log = folder.parent / f"{folder.name}-{os.urandom(3).hex()}.log"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command(folder, *more, program=program),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            env={**os.environ, "OPSDASH_TRUST_RUNBOOKS": "1", **(environment or {})},
            **{"start_new_session": True, **settings},
        )
    started = EngineProcess(process, places(folder), log)
    try:
        if wait:
            await started.until_it_answers()
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def journal(folder: Path) -> list[Entry]:
    """What is in the journal on disk, whether an engine runs or not."""
    try:
        return list(read_entries(places(folder).state / "journal"))
    except JournalError:
        return []


def of(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The data of all entries of a type."""
    return [dict(entry.data) for entry in journal(folder) if entry.type == kind]


# --- the drills of tests.engine.drills ---------------------------------------------------------------------------


async def works(one: EngineProcess) -> bool:
    """Whether what is drilled is well."""
    return await one.status("shop") == "ok"


async def begin(session: EngineSession, drill: str) -> None:
    """Begin a drill."""
    verdict = await session.submit("start_drill", {"drill": drill})
    assert verdict["accepted"], verdict["refused"]


async def is_over(session: EngineSession) -> bool:
    """Whether no drill runs, and no fault of one may still be in place."""
    found = await session.drills()
    return not found["running"] and not found["faults"]
