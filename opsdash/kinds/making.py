"""Programs by which a fault is being made: none of them goes on when that fault is taken back.

A program outlives whoever started it. When the engine is killed while a program is about to break something, and the
guard undoes at once, the fault would come after its undo, and nobody would take it back. So such a program begins only
when its number stands in the run's folder (`Recorded`), and before anything is taken back those that still run are
ended (`end_all`), with their process groups.

What such a program has left behind itself, in a session of its own or on another machine, is beyond reach.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from opsdash.kinds.identity import identity_of, still_runs
from opsdash.kinds.offload import in_thread
from opsdash.kinds.processes import GRACE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_RECORD: Final = "program-{}.run"
_LOOK_EVERY: Final = 0.02
_KILLED_WITHIN: Final = 5.0


@dataclass(frozen=True, slots=True)
class Recorded:
    """Writes down a program that is about to begin. folder: of the drill's run. Raises OSError; then it must not."""

    folder: Path

    def __call__(self, pid: int) -> None:
        with open(self.folder / _RECORD.format(pid), "wb", opener=_private) as file:
            file.write(json.dumps({"pid": pid, "identity": identity_of(pid)}).encode())
            file.flush()
            os.fsync(file.fileno())


async def end_all(folder: Path) -> str:
    """End what still runs; what came of that, "" if there was nothing. A stranger of that number is let be."""
    running = await _still_running(folder)
    if not running:
        return ""
    groups = tuple(running)
    for number, within in ((signal.SIGTERM, GRACE), (signal.SIGKILL, _KILLED_WITHIN)):
        for group in groups:  # one whose leader has ended by the first signal may have members that did not hear it
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, number)
        until = asyncio.get_running_loop().time() + within
        while running and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(_LOOK_EVERY)  # nothing tells of the end of somebody else's child
            running = await _still_running(folder)
    if running:
        return f"process {running[0]}, which makes the fault, could not be ended"
    return "what was still making the fault was ended"


async def _still_running(folder: Path) -> list[int]:
    return await in_thread(("making", folder), lambda: list(_recorded(folder)))


def _recorded(folder: Path) -> Iterator[int]:
    """The numbers of recorded programs that still run."""
    for record in folder.glob(_RECORD.format("*")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads(record.read_bytes())
            pid = int(told["pid"])
            if still_runs(pid, str(told["identity"])):
                yield pid


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
