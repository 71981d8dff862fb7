"""Checks that held up the event loop, and the processes of their own in which those run that did it again.

The first time a check is named; from the second time on its runs go to a process of its own, for as long as its
definition stands. Nothing else changes: the same slots and lane, the same sample, expectations judged in the engine.
The process is kept from run to run, since starting a Python costs more than most checks. `child.py` is what runs in it.

How a run ends there:

* **In time**: with the sample, as in the engine.
* **At its deadline**: the run is cancelled in the process, which cleans up and says what it was waiting for. If nothing
  is heard of it, it is blocked, and it is killed with its process group. Either way it is `no answer within …`.
* **With the process** (a segmentation fault, `os._exit`, somebody's `kill -9`): `unknown` (`probe_error`) with how it
  ended, never `down`, since this says nothing of the target. The next run gets a new process, and its start counts for
  no deadline.

Such processes are few. When there are as many as may be, or a kind cannot be brought there, the check stays in the
engine, and that is said: a check that holds things up is better than none.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final

from opsdash.engine import childwire as wire
from opsdash.engine import tasks
from opsdash.engine.loopwatch import Held, Holds
from opsdash.engine.measuring import no_answer, probe_error
from opsdash.errors import EngineError
from opsdash.kinds.processes import output_file, signal_name, wait_for_exit
from opsdash.model.text import clean_lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from opsdash.config.loader import Binding
    from opsdash.kinds.base import CheckContext, CheckOptions, Sample

log = logging.getLogger(__name__)

MOVES_AT: Final = 2
"""The hold from which on a check has a process of its own."""

MOST: Final = 8
"""Checks that may have one: each takes the memory of a Python with its kind (30 to 60 MB)."""

FULL: Final = f"{MOST} checks have a process of their own already, and no more may have one"

STARTS_WITHIN: Final = 30.0
"""Seconds that a process may take to be ready; a Python and its kind are imported, on a machine that may be busy."""

SIGN_OF_LIFE: Final = 0.25
"""Seconds beyond a deadline within which a process that is not blocked has said that the deadline has come."""

CLEAN_UP: Final = 3.0
"""Seconds that a run which was cancelled at its deadline may take to end what it started."""

ENDS_WITHIN: Final = 1.5
"""Seconds that a process may take to end when it is needed no more; it allows itself one."""

LISTEN_EVERY: Final = 1.0
LONGEST_SAYING: Final = 8 * 1024
"""What a kind prints is logged once a second, so many characters of it."""

LARGE: Final = 64 * 1024
"""Replies above this many bytes are read in a thread."""


class _CannotMoveError(EngineError):
    """This check cannot run in a process of its own."""


@dataclass(slots=True, eq=False)
class _Record:
    """A check that held the loop.

    stays: why it has no process of its own, though it should.  movable: it could have one if there were room.
    """

    holds: Holds = field(default_factory=Holds)
    process: OwnProcess | None = None
    stays: str = ""
    movable: bool = True


class Isolation:
    """What is known of checks that held the loop, until their definition changes. Everything on the loop."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._records: dict[str, _Record] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def note(self, held: Held) -> None:
        """A check held the loop. The second time it is moved, for its next run."""
        record = self._records.setdefault(held.check, _Record())
        record.holds.add(held)
        said = ""
        if record.holds.times >= MOVES_AT and record.process is None and record.movable:
            said = self._move(held.check, record)
        if said or record.holds.times < MOVES_AT or record.holds.times % 100 == 0:
            log.warning(
                "check %s held up the event loop for %.2f s, at %s%s", held.check, held.seconds, held.place, said
            )

    def _move(self, check: str, record: _Record) -> str:
        moved = sum(each.process is not None for each in self._records.values())
        if moved >= MOST:
            known, record.stays = record.stays, FULL
            return "" if known else f"; it goes on in the engine: {FULL}"
        record.stays = ""
        record.process = OwnProcess(check, self._workspace)
        return "; from now on it runs in a process of its own"

    async def measure(self, binding: Binding, context: CheckContext, failed: Callable[[str], None]) -> Sample | None:
        """One run in the check's own process; None if it has none. Never raises anything but a cancellation.

        failed: is told the traceback of an exception that the kind did not foresee.
        """
        record = self._records.get(context.check)
        if record is None or record.process is None:
            return None
        try:
            return await record.process.measure(binding, context, failed)
        except _CannotMoveError as error:
            self._end(record)
            record.stays, record.movable = str(error), False
            log.warning("check %s goes on in the engine: %s", context.check, error)
            return None

    def forget(self, check: str) -> None:
        """A check is gone, or is another one now."""
        record = self._records.pop(check, None)
        if record is not None:
            self._end(record)

    def _end(self, record: _Record) -> None:
        if record.process is not None:
            ending = tasks.spawn(record.process.end(), "end of a check's process")
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
            record.process = None

    def listing(self) -> list[dict[str, Any]]:
        """For clients: the checks that held the loop, the longest first."""
        found = [
            {
                "check": check,
                "times": record.holds.times,
                "longest": record.holds.longest,
                "place": record.holds.place,
                "own_process": record.process is not None,
                "pid": None if record.process is None else record.process.pid,
                "stays": record.stays,
            }
            for check, record in self._records.items()
        ]
        return sorted(found, key=lambda each: -each["longest"])

    async def close(self) -> None:
        """End all processes, and wait for it."""
        for check in list(self._records):
            self.forget(check)
        await asyncio.gather(*self._ending, return_exceptions=True)


class OwnProcess:
    """The process of one check: started when a run needs it, and again when it has ended."""

    def __init__(self, check: str, workspace: Path) -> None:
        self._check = check
        self._workspace = workspace
        self._child: _Child | None = None
        self._options: CheckOptions | None = None

    @property
    def pid(self) -> int | None:
        """Its number, None while there is none."""
        return None if self._child is None or self._child.ended.done() else self._child.pid

    async def measure(self, binding: Binding, context: CheckContext, failed: Callable[[str], None]) -> Sample:
        """One run. Raises _CannotMoveError when the kind cannot be used there."""
        try:
            child, previous = await self._ready(binding, context)
            reply = await child.ask(_request(context, previous), context.deadline)
        except _EndedError as error:
            failed(str(error))
            return probe_error(str(error))
        if reply is None:
            return no_answer(context)
        sample, unforeseen = reply
        if unforeseen:
            failed(unforeseen)
        return sample

    async def _ready(self, binding: Binding, context: CheckContext) -> tuple[_Child, Sample | None]:
        """A child, and the last sample if the child does not know it already.

        Options that are others now (a secret was changed) want another child; the one there is has no run.
        """
        if self._child is not None and not self._child.over and binding.options.asks_the_same(self._options):
            return self._child, None
        try:
            hello = wire.pack((binding.kind.name, wire.pack_options(binding.options), self._workspace, self._check))
        except ValueError as error:
            raise _CannotMoveError(str(error)) from error
        if self._child is not None:
            self._child.kill()
        self._child = child = _Child(self._check)
        self._options = binding.options
        await child.start(hello)
        return child, context.previous

    async def end(self) -> None:
        """End it, with what it started."""
        child, self._child = self._child, None
        if child is not None:
            await child.end()


def _request(context: CheckContext, previous: Sample | None) -> bytes:
    asked = (context.deadline, context.wall, context.heartbeat, context.wants_json)
    try:
        return wire.pack((*asked, previous))
    except Exception:  # noqa: BLE001 - the last sample of the engine holds something that cannot go there
        return wire.pack((*asked, None))


class _EndedError(EngineError):
    """The process has ended, or could not be started."""


class _Child:
    """One process. Its thread starts it, logs what it prints, and reaps it; the loop asks and kills."""

    def __init__(self, check: str) -> None:
        self._check = check
        self._loop = asyncio.get_running_loop()
        self._launched: asyncio.Future[str] = self._loop.create_future()
        self.ended: asyncio.Future[str] = self._loop.create_future()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._reaped = False
        self._unwanted = False
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def pid(self) -> int | None:
        """Its number."""
        return None if self._process is None else self._process.pid

    @property
    def over(self) -> bool:
        """Whether it cannot be asked any more."""
        return self._unwanted or self.ended.done()

    async def start(self, hello: bytes) -> None:
        """Start it, and wait until it can be asked. Raises _EndedError, _CannotMoveError."""
        try:
            async with asyncio.timeout(STARTS_WITHIN):
                problem = await self._started() or await self._greeted(hello)
        except (TimeoutError, OSError, RuntimeError, ValueError) as error:
            self.kill()
            why = f"it was not ready within {STARTS_WITHIN:.0f} s" if isinstance(error, TimeoutError) else str(error)
            raise _EndedError(f"its process could not be started: {why}") from error
        except BaseException:
            self.kill()
            raise
        if problem:
            self.kill()
            raise _EndedError(f"its process could not be started: {problem}")

    async def _started(self) -> str:
        """What stood in the way, "" if nothing did."""
        ours, theirs = socket.socketpair()
        threading.Thread(target=self._serve, args=(theirs,), name="own-process", daemon=True).start()
        self._streams = await asyncio.open_connection(sock=ours)
        return await asyncio.shield(self._launched)

    async def _greeted(self, hello: bytes) -> str:
        """The same, once it has been told which check it is for. Raises _CannotMoveError."""
        self._send(hello)
        name, *more = await self._reply()
        if name == wire.REFUSED:
            raise _CannotMoveError(str(more[0]) if more else "its kind cannot be loaded there")
        return "" if name == wire.READY else f"it said {name!r:.40}"

    async def ask(self, request: bytes, deadline: float) -> tuple[Sample, str] | None:
        """The sample of one run, and what its kind did not foresee; None at its deadline. Raises _EndedError."""
        try:
            return await self._asked(request, deadline)
        except TimeoutError:
            self.kill()
            return None
        except ValueError as error:
            self.kill()
            raise _EndedError(f"its process said what cannot be understood: {error}") from error
        except asyncio.CancelledError:
            self._hang_up()  # it cleans up by itself; whoever cancelled this ends it
            raise

    async def _asked(self, request: bytes, deadline: float) -> tuple[Sample, str]:
        """Raises TimeoutError, _EndedError, and ValueError for a reply that is none."""
        self._send(request)
        async with asyncio.timeout(deadline + SIGN_OF_LIFE):
            reply = await self._reply()
        if reply[0] == wire.OVERDUE:
            async with asyncio.timeout(CLEAN_UP):
                reply = await self._reply()
        if reply[0] != wire.MEASURED or len(reply) != 3:
            raise ValueError(f"{reply[0]!r:.40} was not asked for")
        return wire.sample_from(reply[1]), clean_lines(str(reply[2]), LONGEST_SAYING)

    def _send(self, payload: bytes) -> None:
        assert self._streams is not None  # noqa: S101 - nobody is asked before `start`
        self._streams[1].write(wire.frame(payload))

    async def _reply(self) -> tuple[Any, ...]:
        """What it says next. Raises _EndedError when it has ended instead, ValueError for nonsense."""
        assert self._streams is not None  # noqa: S101 - as above
        reader = self._streams[0]
        try:
            (size,) = wire.HEADER.unpack(await reader.readexactly(wire.HEADER.size))
            if size > wire.LARGEST:
                raise ValueError(f"a reply of {size} bytes")
            payload = await reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            self.kill()
            raise _EndedError(await self._how_it_ended()) from error
        return await asyncio.to_thread(wire.unpack_plain, payload) if size > LARGE else wire.unpack_plain(payload)

    async def _how_it_ended(self) -> str:
        await asyncio.wait({self.ended}, timeout=ENDS_WITHIN)
        return f"its process {self.ended.result() if self.ended.done() else 'closed its side'}"

    def _hang_up(self) -> None:
        self._unwanted = True
        if self._streams is not None:
            self._streams[1].close()

    def kill(self) -> None:
        """End it and its process group at once."""
        self._hang_up()
        with self._lock:
            self._signal_group()

    async def end(self) -> None:
        """Let it end by itself what it started, and itself; kill it when it takes its time."""
        self._hang_up()
        await asyncio.wait({self.ended}, timeout=ENDS_WITHIN)
        self.kill()
        await asyncio.wait({self.ended}, timeout=ENDS_WITHIN)

    def _signal_group(self) -> None:
        """The lock is held, so that its number is its own still."""
        if self._process is not None and not self._reaped:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: nothing but zombies
                os.killpg(self._process.pid, signal.SIGKILL)

    # --- in the thread -----------------------------------------------------------------------------------------

    def _serve(self, theirs: socket.socket) -> None:
        try:
            with theirs, output_file() as said:
                process = self._launch(theirs, said)
                theirs.close()
                _post(self._loop, self._launched, "")
                wait_for_exit(process.pid, lambda: self._tell(said), LISTEN_EVERY)
                with self._lock:
                    self._signal_group()  # whatever it left running
                    code = process.wait()
                    self._reaped = True
                self._tell(said)
            _post(self._loop, self.ended, _ending(code))
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            _post(self._loop, self._launched, str(error))
            _post(self._loop, self.ended, f"was lost: {error}")

    def _launch(self, theirs: socket.socket, said: IO[bytes]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-P", "-u", "-m", "opsdash.engine.child", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
        with self._lock:
            self._process = process
            if self._unwanted:
                self._signal_group()
        return process

    def _tell(self, said: IO[bytes]) -> None:
        """Log what it has printed, by the engine's own log, which hides secrets; and make room for more."""
        with contextlib.suppress(OSError):
            if os.fstat(said.fileno()).st_size:
                text = os.pread(said.fileno(), LONGEST_SAYING, 0).decode("utf-8", "replace").rstrip()
                os.ftruncate(said.fileno(), 0)
                log.warning("check %s, in its own process, said: %s", self._check, text)


def _ending(code: int) -> str:
    return f"was ended by {signal_name(-code)}" if code < 0 else f"exited with {code}"


def _post(loop: asyncio.AbstractEventLoop, future: asyncio.Future[str], text: str) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(_finish, future, text)


def _finish(future: asyncio.Future[str], text: str) -> None:
    if not future.done():
        future.set_result(text)
