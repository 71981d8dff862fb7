"""The engine, killed at one point of a drill, or its guard, or both: `opsdash engine` with a trap in it.

    python -m tests.lifecycle.dying_engine POINT WHOM FILE engine -w WORKSPACE

POINT: one of `POINTS`.  WHOM: `engine`, `guard` or `both`.  FILE: gets the names of those that are killed.

A record is a point once it is on the disk, before anything that follows from it; a line of the guard, as soon as the
engine has heard of it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opsdash.cli import main as opsdash
from opsdash.engine import guards
from opsdash.engine.undoing import inject
from opsdash.model.drill import DrillState, Sight
from opsdash.storage.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from opsdash.engine.undoing import Ready
    from opsdash.kinds.base import ActionResult
    from opsdash.kinds.injecting import InjectionContext
    from opsdash.storage.entries import Entry, Json

RECORDS: Final = {
    "arming": ("drill_started", ""),
    "injecting": ("drill_advanced", DrillState.INJECTING.value),
    "running": ("drill_advanced", DrillState.RUNNING.value),
    "seen": ("drill_saw", Sight.FIRST_BAD.value),
    "detected": ("drill_saw", Sight.OPENED.value),
    "undoing": ("drill_advanced", DrillState.UNDOING.value),
    "taken back": ("drill_undone", ""),
    "restoring": ("drill_advanced", DrillState.RESTORING.value),
    "ended": ("drill_ended", ""),
}
"""Points of the journal, in their order: the type of a record, and what its `state` or `what` says."""

MAKING: Final = "making"
"""While the fault is being made: `MAKING_FOR` seconds after the engine began to."""

MAKING_FOR: Final = 0.15

LINES: Final = ("armed", "injecting", "undoing", "tried", "undone", "settled")
"""Lines of `guard.jsonl`; as points they are written `guard: armed`, …"""

POINTS: Final = (*RECORDS, MAKING, *(f"guard: {line}" for line in LINES))


class Trap:
    """Kills once, when the point has come."""

    def __init__(self, point: str, whom: str, told: Path) -> None:
        self._point = point
        self._whom = whom
        self._told = told
        self._sprung = False

    def spring(self) -> None:
        """Kill whoever is to be killed and lives."""
        if self._sprung:
            return
        self._sprung = True
        guard = next((each for each in guards._alive if each.poll() is None), None)
        killed = [name for name in ("guard", "engine") if self._whom in (name, "both")]
        if guard is None:
            killed = [name for name in killed if name != "guard"]
        beside = self._told.with_suffix(".new")
        beside.write_text(" ".join(killed))
        beside.replace(self._told)
        if guard is not None and "guard" in killed:
            guard.send_signal(signal.SIGKILL)
        if "engine" in killed:
            os.kill(os.getpid(), signal.SIGKILL)

    def set(self) -> None:
        """Have the engine come by."""
        if self._point == MAKING:
            self._wait_for_the_fault()
        elif self._point in RECORDS:
            self._wait_for_the_record(*RECORDS[self._point])
        else:
            self._wait_for_the_line(self._point.removeprefix("guard: "))

    def _wait_for_the_record(self, kind: str, said: str) -> None:
        append = Journal.append

        def append_and_look(journal: Journal, batch: Sequence[tuple[str, Json]], at: datetime) -> list[Entry]:
            entries = append(journal, batch, at)
            for entry in entries:
                if entry.type == kind and said in ("", entry.data.get("state"), entry.data.get("what")):
                    self.spring()
            return entries

        replace(Journal, "append", append_and_look)

    def _wait_for_the_fault(self) -> None:
        async def inject_and_die(ready: Ready, context: InjectionContext) -> ActionResult:
            asyncio.get_running_loop().call_later(MAKING_FOR, self.spring)
            return await inject(ready, context)

        replace(guards, "inject", inject_and_die)

    def _wait_for_the_line(self, line: str) -> None:
        heard, settle = guards.Guard._heard, guards.settle

        def hear_and_look(guard: guards.Guard, entry: dict[str, Any]) -> None:
            if entry.get("event") == {"armed": "ready"}.get(line, line):
                self.spring()
            heard(guard, entry)

        def settle_and_look(*words: Any) -> None:
            settle(*words)
            if line == "settled":
                self.spring()

        replace(guards.Guard, "_heard", hear_and_look)
        replace(guards, "settle", settle_and_look)


def replace(owner: Any, name: str, function: Any) -> None:
    """What a plain assignment does, which mypy lets no method have."""
    setattr(owner, name, function)


def main() -> int:
    """See above."""
    point, whom, told, *words = sys.argv[1:]
    if point not in POINTS:
        sys.exit(f"no such point: {point}")
    Trap(point, whom, Path(told)).set()
    return opsdash(words)


if __name__ == "__main__":
    sys.exit(main())
