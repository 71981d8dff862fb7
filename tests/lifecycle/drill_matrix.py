"""The crash matrix of drills: whoever dies at whatever point of a drill, its fault does not stay, and nothing lies.

A real engine with a real guard runs a drill that really breaks something. The engine, the guard, both, or the client
from which it was begun (a command in a terminal, or the board) gets `kill -9` at one point of it. When the engine is
dead and its guard lives, nobody starts another one before the target itself says that the fault is gone. Then the next
engine is started, and asked.

What counts as a wrong end: the fault is in place when all is over; it is in place, and opsdash does not show that in
red; a run is called `passed` that was cut short; a run is changed by the death of its client; or it never ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opsdash.model.drill import Verdict
from opsdash.service.session import SessionError
from tests.cli.conftest import Terminal as Command
from tests.lifecycle.drill_faults import FAULTS
from tests.lifecycle.dying_engine import LINES, MAKING, RECORDS
from tests.lifecycle.support import OPSDASH, engine, of
from tests.terminal.conftest import Terminal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from opsdash.service.client import EngineSession
    from tests.lifecycle.drill_faults import Fault
    from tests.lifecycle.support import EngineProcess

ROOT: Final = Path(__file__).parents[2]
PATIENCE: Final = 60.0
"""Seconds for each thing that has to come about: a guard is a process that has to be started on a busy machine."""

LOOK_EVERY: Final = 0.02
RUN: Final = "DRILL-1"

BREAKS_NOTHING: Final = "pretend"
CANNOT_TELL: Final = "chaostoolkit"
"""A kind that cannot verify that its fault is gone, so that the drill's own checks have to state it: `settled`."""

NOBODY_YET: Final = frozenset({"arming"})
"""Points at which no guard has been started."""

NOBODY_ANY_MORE: Final = frozenset({"taken back", "restoring", "ended", "guard: undone", "guard: settled"})
"""Points at which the guard has done its work, and ended or is about to."""

CLIENT_DIES_AT: Final = ("arming", "injecting", "running", "undoing", "restoring")
"""Its death matters to nobody, so that the states are enough; so does the board's."""


@dataclass(frozen=True)
class Cell:
    """One case: a kind of injection, who is killed (`engine`, `guard`, `both`, `client`, `board`), and when."""

    kind: str
    whom: str
    point: str

    def __str__(self) -> str:
        return f"{self.kind}, {self.whom} at {self.point}"


def cells(kind: str) -> list[Cell]:
    """All cases of a kind."""
    if kind == BREAKS_NOTHING:
        points = [point for point in RECORDS if point != "taken back"]
        guarded = []
    else:
        lines = [line for line in LINES if line != "settled" or kind == CANNOT_TELL]
        points = [*RECORDS, MAKING, *(f"guard: {line}" for line in lines)]
        guarded = [point for point in points if point not in NOBODY_YET | NOBODY_ANY_MORE]
    return [
        *(Cell(kind, "engine", point) for point in points),
        *(Cell(kind, whom, point) for whom in ("both", "guard") for point in guarded),
        *(Cell(kind, "client", state) for state in CLIENT_DIES_AT),
        *(Cell(kind, "board", state) for state in CLIENT_DIES_AT),
    ]


def trap(cell: Cell, told: Path) -> tuple[str, ...]:
    """The program of an engine in which somebody dies. told: gets the names of those who do."""
    return (sys.executable, "-m", "tests.lifecycle.dying_engine", cell.point, cell.whom, str(told))


@dataclass(frozen=True)
class End:
    """How a case ended. killed: who really was.  broken: whether the fault was in place then.

    verdict: of the run, "" if it never began for anybody.  wrong: what is wrong about it, "" if nothing is.
    """

    cell: Cell
    killed: str
    broken: bool
    verdict: str
    wrong: str

    def __str__(self) -> str:
        found = f"{self.cell}: {self.killed or 'nobody'} killed, {'broken' if self.broken else 'whole'} then"
        return f"{found}, {self.verdict}" + (f": {self.wrong}" if self.wrong else "")


class _WrongError(Exception):
    """The end is a wrong one; the text says why."""


async def tried(folder: Path, cell: Cell) -> End:
    """How a case ends. folder: of a workspace that is not there yet, with room for files beside it."""
    async with FAULTS[cell.kind](folder) as fault:
        fault.write(folder)
        case = _Case(folder, cell, fault)
        try:
            await case.play()
        except (_WrongError, AssertionError, SessionError) as error:
            case.wrong = str(error)
        return End(cell, case.killed, case.broken, case.verdict, case.wrong)


class _Case:
    """One case as it is played."""

    def __init__(self, folder: Path, cell: Cell, fault: Fault) -> None:
        self._folder = folder
        self._cell = cell
        self._fault = fault
        self._told = folder.parent / f"{folder.name}.killed"
        self.killed = ""
        self.broken = False
        self.verdict = ""
        self.wrong = ""

    async def play(self) -> None:
        """From the start of the first engine to the answers of the last. Raises _WrongError."""
        if self._cell.whom in ("client", "board"):
            await self._lose_the_client()
            return
        async with engine(self._folder, wait=False, program=trap(self._cell, self._told), cwd=ROOT) as one:
            await self._until_it_serves(one)
            with contextlib.suppress(SessionError):  # it may die before it has answered
                await one.session.submit("start_drill", {"drill": "breaks"})
            await self._until(self._was_sprung, f"the drill did not come to {self._cell.point}", one)
            self.killed = await asyncio.to_thread(self._told.read_text)
            if "engine" not in self.killed:
                self.broken = await self._fault.is_broken()
                await self._until_over(one, cut=self._cell.point not in ("undoing", "guard: undoing", "guard: tried"))
                return
            await one.ended()
        self.broken = await self._fault.is_broken()
        over = bool(of(self._folder, "drill_ended"))
        if "guard" not in self.killed:
            await self._until(self._is_whole, "the guard alone has not taken the fault back")
        async with engine(self._folder, wait=False) as two:
            await two.until_it_answers(PATIENCE)
            await self._until_over(two, cut=not over, after_a_kill=True)

    async def _was_sprung(self) -> bool:
        return await asyncio.to_thread(self._told.exists)

    async def _is_whole(self) -> bool:
        return not await self._fault.is_broken()

    async def _until_it_serves(self, one: EngineProcess) -> None:
        await one.until_it_answers(PATIENCE)
        await self._until(lambda: _serves(one), "the component did not become ok", one)

    async def _lose_the_client(self) -> None:
        """The client is killed as soon as the journal has the record; the engine and its guard go on as if it lived."""
        kind, said = RECORDS[self._cell.point]

        async def came() -> bool:
            found = await asyncio.to_thread(of, self._folder, kind)
            return any(said in ("", entry.get("state"), entry.get("what")) for entry in found)

        async with engine(self._folder, wait=False) as one:
            await self._until_it_serves(one)
            opened = _a_board if self._cell.whom == "board" else _a_command
            async with opened(self._folder) as kill:
                await self._until(came, f"the drill did not come to {self._cell.point}", one)
                await asyncio.to_thread(kill)
                self.killed = self._cell.whom
                self.broken = await self._fault.is_broken()
            await self._until_over(one, cut=False)
            if self.verdict != Verdict.PASSED:
                raise _WrongError(f"its client died, and so it is {self.verdict}")

    async def _until_over(self, one: EngineProcess, *, cut: bool, after_a_kill: bool = False) -> None:
        """Look on until the drill has ended, and its fault is gone for opsdash and in truth. cut: it may not pass.

        after_a_kill: of the engine before, so that the fault has to be shown in red, whatever the run itself shows.
        """
        session = one.session

        async def over() -> bool:
            before = await self._fault.is_broken()
            try:
                found, serves = await session.drills(), await _serves(one)
            except SessionError:
                return False
            shown = bool(found["faults"]) or bool(found["running"] and not after_a_kill)
            after = await self._fault.is_broken()
            if before and after and not shown:
                raise _WrongError("the fault is in place, and opsdash shows nothing in red")
            return not shown and not found["running"] and not after and serves

        await self._until(over, "it never came to an end", one)
        seen = await session.drill(RUN)
        run = None if seen is None else seen["run"]
        self.verdict = "" if run is None else str(run["verdict"])
        if run is not None and run["live"]:
            raise _WrongError(f"{RUN} is still {run['state']}")
        if cut and self.verdict == Verdict.PASSED:
            raise _WrongError("it was cut short, and is called passed")

    async def _until(
        self, what: Callable[[], Awaitable[bool]], else_wrong: str, one: EngineProcess | None = None
    ) -> None:
        """Wait until something is so. Raises _WrongError with what it means when it never is."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not await what():  # noqa: ASYNC110 - other processes
                    await asyncio.sleep(LOOK_EVERY)
        except TimeoutError:
            state = "broken" if await self._fault.is_broken() else "whole"
            said = "" if one is None else f"; {await _shown(one.session)}; {one.said[-600:]}"
            raise _WrongError(f"{else_wrong} (the target is {state}{said})") from None


@asynccontextmanager
async def _a_command(folder: Path) -> AsyncIterator[Callable[[], None]]:
    """`opsdash drill run` at work in a terminal; gives what kills it."""
    with await asyncio.to_thread(Command, "drill", "run", "breaks", "--yes", "-w", folder) as command:
        yield command.kill


@asynccontextmanager
async def _a_board(folder: Path) -> AsyncIterator[Callable[[], None]]:
    """A board on which the drill was begun by its keys; gives what kills it."""
    board = Terminal(folder.parent / "tmux", 130, 45)

    def begin() -> None:
        board.run(*OPSDASH, "-w", str(folder))
        board.press_until("7", "never run")
        board.press_until("D", "Nothing has been done yet")
        board.press_until("y", gone="Nothing has been done yet")

    def kill() -> None:
        os.kill(board.pid(), signal.SIGKILL)
        board.wait_until_ended()

    try:
        await asyncio.to_thread(begin)
        yield kill
    finally:
        await asyncio.to_thread(board.close)


async def _serves(one: EngineProcess) -> bool:
    return await one.status("shop") == "ok"


async def _shown(session: EngineSession) -> Any:
    """What opsdash says of drills, for a message."""
    with contextlib.suppress(SessionError):
        return await session.drills()
    return "it does not answer"
