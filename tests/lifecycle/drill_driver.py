"""A small engine that makes one drill's fault and undoes it, and kills itself (and the guard) on the way.

    python -m tests.lifecycle.drill_driver WORKSPACE STEP WHOM [LIMIT]

STEP: after which of `STEPS` it is killed; `never`. WHOM: `engine`, or `both`. LIMIT: bytes that any file may have, as
if the disk were full then. It prints each step that it has come to.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from opsdash.engine import guards
from tests.engine.faults import Desk, Thing

if TYPE_CHECKING:
    from opsdash.engine.guards import Guard

STEPS = ("written", "started", "armed", "injecting", "injected", "undoing", "tried", "undone")


class Driver:
    """Comes to steps, and dies at one of them."""

    def __init__(self, dies_at: str, whom: str) -> None:
        self._dies_at = dies_at
        self._whom = whom
        self.guard: Guard | None = None

    def step(self, name: str) -> None:
        """Come to a step."""
        print(name, flush=True)
        if name != self._dies_at:
            return
        if self._whom == "both" and self.guard is not None:
            os.kill(self.guard.pid, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    async def drive(self, desk: Desk, thing: Thing) -> None:
        """The whole way."""
        start = guards.Guard.start

        async def start_in_steps(guard: Guard) -> None:
            self.step("written")
            await start(guard)
            self.guard = guard
            self.step("started")

        setattr(guards.Guard, "start", start_in_steps)  # noqa: B010 - mypy lets no method be replaced
        try:
            guard = await guards.arm(
                desk.arming(thing.injection()), desk.state, desk.hands(), lambda event: self.step(event.event)
            )
        except guards.ArmingError as error:
            print(f"refused: {error}", flush=True)
            return
        self.step("armed")
        await guard.inject()
        self.step("injected")
        await guard.undo("over")


def main() -> None:
    """See above."""
    workspace, dies_at, whom, *limit = sys.argv[1:]
    thing = Thing.__new__(Thing)  # it is there already
    thing.workspace, thing.name = Path(workspace), "thing"
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit[0]), int(limit[0])))
    asyncio.run(Driver(dies_at, whom).drive(Desk(Path(workspace)), thing))


if __name__ == "__main__":
    main()
