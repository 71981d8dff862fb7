"""The guard: a process of its own that takes a drill's faults back, also when opsdash dies.

    python -P -m opsdash.engine.guardian FOLDER        started by `guards.py`, with a pipe to the engine on its input

Before it says READY it has everything that it will need: kinds are imported, secrets are filled in, `guard.jsonl` is
open and its first line on the disk. A package that is removed later, a secret store that is gone, a disk that is full
then keep it from nothing. It undoes when the engine tells it to, when the limit has come (by the monotonic or the wall
clock, whichever is first: either may stand still or jump), when the pipe closes because the engine is gone, on SIGTERM
or SIGINT, and when the lever `drills/halt` is there.

It has no event loop and no thread of its own, so nothing can hold it up: each try runs in a fork of it, which is killed
when it hangs. A fork needs no disk and no package either. What it does not do: signal anybody by a number that it read
somewhere, and stop trying because a line could not be written.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import json
import os
import select
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opsdash.config.secrets import Masker, References
from opsdash.engine import guardfiles as files
from opsdash.engine.clock import system_clock
from opsdash.engine.undoing import Account, Tried, UnusableError, context_for, make_ready, preflight, said, take_back
from opsdash.kinds.base import Applied
from opsdash.kinds.identity import identity_of
from opsdash.kinds.resolver import Resolver
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import FrameType

    from opsdash.engine.undoing import Ready

LOOK_EVERY: Final = 0.2
"""Seconds between two looks at clocks, lever and signals."""

HARD_LIMIT: Final = 3.0
"""Seconds beyond its own deadlines after which a try is killed from outside."""

FIRST_LINE_WITHIN: Final = 15.0
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - not for names that somebody could guess, but for a disk that is full

GONE: Final = "the engine is gone"


class _Refusal(Exception):  # noqa: N818 - no error: it will not be armed
    """Why this guard cannot be armed."""


def main() -> int:
    """Guard a run until its faults are taken back. 0: they are, or there were none; 1: not."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    faulthandler.enable()
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK):
        tempfile.tempdir = str(MEMORY)  # what programs print goes there, also when the disk is full
    os.set_blocking(1, False)  # an engine that stands still and reads nothing must not hold up the undo
    guardian = Guardian(Path(sys.argv[1]))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, guardian.signalled)
    try:
        guardian.arm()
    except _Refusal as refusal:
        guardian.tell({"event": "refused", "detail": str(refusal)})
        return 1
    return guardian.watch()


class Guardian:
    """One guard. Its methods block, which is what it is there for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._halt = folder.parent / files.HALT
        self._masker = Masker()
        self._input = b""
        self._input_ended = False
        self._cause = ""
        self._broken = False
        self._ready: list[Ready] = []

    def signalled(self, number: int, _frame: FrameType | None) -> None:
        """SIGTERM, SIGINT: the machine goes down, or a person ends us. Then nothing may stay broken."""
        self._because(f"the guard was told to end ({signal.Signals(number).name})")

    def _because(self, why: str) -> None:
        """Undo, for this reason; the first one counts."""
        self._cause = self._cause or why

    def tell(self, entry: dict[str, Any]) -> None:
        """A line to the engine, if it lives and listens. What it misses is in `guard.jsonl`."""
        with contextlib.suppress(OSError):
            os.write(1, json.dumps(entry, ensure_ascii=True).encode() + b"\n")

    # --- arming --------------------------------------------------------------------------------------------------

    def arm(self) -> None:
        """Have everything that is needed later. Raises _Refusal."""
        self._lock()
        try:
            self._arming = files.read_arming(self._folder)
        except files.ArmingError as error:
            raise _Refusal(str(error)) from error
        before = files.read_log(self._folder)
        self._broken = files.may_be_broken(before)
        variables = self._variables()
        references = References(os.environ, self._arming.workspace, self._masker, variables)
        try:
            self._ready = [make_ready(each, references.resolve) for each in self._arming.injections]
        except UnusableError as error:
            raise _Refusal(said(self._masker.mask, str(error))) from error
        if not self._broken:
            self._try_first()
        try:
            self._log = files.GuardLog(self._folder)
            self._log.write("armed", pid=os.getpid(), identity=identity_of(os.getpid()), limit=self._arming.limit)
        except OSError as error:
            raise _Refusal(f"{self._folder / files.LOG} cannot be written: {error.strerror or error}") from error
        self.tell({"event": "ready"})

    def _lock(self) -> None:
        """Be the only one. Where a guard of before is still at work, this one waits for its end."""
        try:
            self._locked = files.open_lock(self._folder)
        except OSError as error:
            raise _Refusal(f"{self._folder / files.LOCK} cannot be opened: {error.strerror or error}") from error
        while not files.try_lock(self._locked):
            self._hear(LOOK_EVERY)
            if self._input_ended or self._cause:
                raise _Refusal("another guard is at work on this drill")

    def _variables(self) -> dict[str, str]:
        """The first line from the engine: `vars` of opsdash.yaml, which may hold secrets and so stand in no file."""
        until = time.monotonic() + FIRST_LINE_WITHIN
        while b"\n" not in self._input:
            if self._input_ended or time.monotonic() > until:
                raise _Refusal("the engine did not say what it has to say first")
            self._hear(LOOK_EVERY)
        line, _, self._input = self._input.partition(b"\n")
        told = json.loads(line)
        return {str(name): str(value) for name, value in told.get("variables", {}).items()}

    def _try_first(self) -> None:
        """Ask each injection whether it can be made and undone. Raises _Refusal."""
        for injection, ready in zip(self._arming.injections, self._ready, strict=True):

            async def look(ready: Ready = ready) -> dict[str, Any]:
                found = await preflight(ready, self._context())
                return {"passed": found.passed, "detail": found.detail}

            found = self._in_fork(look, self._arming.try_deadline)
            if found is None:
                raise _Refusal(f"{injection.kind}: nothing was heard of whether it can be made")
            if found["passed"] is not True:
                raise _Refusal(said(self._masker.mask, f"{injection.kind}: {found['detail']}"))

    # --- watching ------------------------------------------------------------------------------------------------

    def watch(self) -> int:
        """Wait until the faults have to be taken back, and do that."""
        if self._broken:
            self._cause = "a fault of before was still in place"
        self._start_limit()
        while not self._cause:
            self._hear(LOOK_EVERY)
            self._obey()
            if why := self._reason():
                self._because(why)
        return self._undo()

    def _start_limit(self) -> None:
        now = system_clock()
        self._ends_mono, self._ends_wall = now.mono + self._arming.limit, now.wall + self._arming.limit

    def _reason(self) -> str:
        """Why the faults have to be taken back now; mostly nothing."""
        if self._input_ended:
            return GONE
        if self._halt.exists():
            return "drills are halted"
        now = system_clock()
        if now.mono >= self._ends_mono or now.wall >= self._ends_wall:
            return f"the limit of {format_duration(self._arming.limit)} has come"
        return ""

    def _hear(self, within: float) -> None:
        """Take what the engine says, for at most so many seconds."""
        if self._input_ended:
            time.sleep(within)  # noqa: TID251 - nothing else happens in this process
            return
        readable, _, _ = select.select([0], [], [], within)
        if readable:
            data = os.read(0, 65536)
            self._input += data
            self._input_ended = not data

    def _obey(self) -> None:
        *lines, self._input = self._input.split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError, AttributeError):
                order = json.loads(line)
                if order.get("do") == "injecting" and not self._cause:
                    self._injecting()
                elif order.get("do") == "undo":
                    self._because(said(self._masker.mask, str(order.get("why") or "the engine says so")))

    def _injecting(self) -> None:
        """The engine asks whether it may. Only what is on the disk is a yes; and the limit counts from here."""
        if self._reason():
            return
        self._broken = True
        try:
            self._log.write("injecting")
        except OSError as error:
            self._broken = False
            self.tell({"event": "not_injecting", "detail": f"{files.LOG}: {error.strerror or error}"})
            return
        self._start_limit()
        self.tell({"event": "injecting"})

    # --- undoing -------------------------------------------------------------------------------------------------

    def _undo(self) -> int:
        self._note("undoing", why=self._cause, by="guard")
        if not self._broken:
            self._note("undone", verified=True, detail="nothing had been injected", by="guard")
            return 0
        account = Account(tuple(each.kind for each in self._arming.injections))
        for number, pause in enumerate(self._arming.pauses, start=1):
            if not self._is_worth_a_try_after(pause):
                self._note("undone", verified=True, detail=files.SETTLED, by="guard")
                return 0
            for index in account.to_try():
                tried = self._try(index)
                account.took(index, tried)
                self._note(
                    "tried",
                    number=number,
                    kind=account.kinds[index],
                    applied=tried.applied.value,
                    verified=tried.verified,
                    detail=tried.detail,
                )
            if not account.left:
                self._note("undone", verified=account.verified, detail=account.detail, by="guard")
                return 0
        self._note("given_up", detail=account.detail, by_hand=[self._arming.manual[index] for index in account.left])
        return 1

    def _is_worth_a_try_after(self, pause: float) -> bool:
        """Wait before the next try. Whoever has said meanwhile that the fault is gone may have begun something else."""
        until = time.monotonic() + pause
        while not files.is_settled(files.read_log(self._folder)):
            left = until - time.monotonic()
            if left <= 0:
                return True
            time.sleep(min(left, LOOK_EVERY))  # noqa: TID251 - as above
        return False

    def _try(self, index: int) -> Tried:
        async def attempt() -> dict[str, Any]:
            tried = await take_back(self._ready[index], self._context())
            return {"applied": tried.applied.value, "verified": tried.verified, "detail": tried.detail}

        found = self._in_fork(attempt, 2 * self._arming.try_deadline)
        if found is None:
            return Tried(Applied.UNKNOWN, None, "the try hung or broke, and was ended")
        return Tried(Applied(found["applied"]), found["verified"], said(self._masker.mask, str(found["detail"])))

    def _note(self, event: str, **more: Any) -> None:
        self.tell(self._log.write_if_possible(event, **more))

    def _context(self) -> Any:
        return context_for(self._arming, self._folder, Resolver(), system_clock().wall)

    def _in_fork(self, work: Callable[[], Awaitable[dict[str, Any]]], deadline: float) -> dict[str, Any] | None:
        """What `work` returns, done in a fork that lives no longer than `deadline` and a little; None if it broke."""
        reading, writing = os.pipe()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _in_the_fork(work, writing, deadline + HARD_LIMIT)
        os.close(writing)
        try:
            answer = _read_to_end(reading, time.monotonic() + deadline + HARD_LIMIT)
        finally:
            os.close(reading)
            for signal_it in (os.killpg, os.kill):  # before it has a group of its own, it is in ours
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    signal_it(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        with contextlib.suppress(ValueError):
            found = json.loads(answer)
            return found if isinstance(found, dict) else None
        return None


def _in_the_fork(work: Callable[[], Awaitable[dict[str, Any]]], writing: int, alive_for: float) -> None:
    """Do the work, write what it returned, and go. Never returns."""
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for inherited in (0, 1):  # the engine must see the guard's end, not that of its fork
            os.dup2(nothing, inherited)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, alive_for)  # also when the guard is killed meanwhile

        async def work_and_go() -> None:
            os.write(writing, json.dumps(await work()).encode())
            os._exit(0)

        asyncio.run(work_and_go())
    except BaseException:  # noqa: BLE001 - whatever it was, this is no second guard
        sys.excepthook(*sys.exc_info())
    os._exit(1)


def _read_to_end(descriptor: int, until: float) -> bytes:
    answer = b""
    while (left := until - time.monotonic()) > 0:
        readable, _, _ = select.select([descriptor], [], [], left)
        if readable:
            data = os.read(descriptor, 65536)
            if not data:
                return answer
            answer += data
    return b""


if __name__ == "__main__":
    code = main()
    os._exit(code)
