"""A thread that notices when the event loop has not turned, and says who held it.

Everything in the engine shares one event loop. A kind of another package that computes, or waits in a call that blocks
(`time.sleep`, a driver without `await`), holds up every other check, and nothing on the loop can say so meanwhile. This
thread can: it compares the time with when the loop last came round, and when that is too long ago it looks whose run
the loop is in, and at which line.

**Who.** A run of a check carries its name in a context variable, which the tasks and callbacks that the run starts
inherit. From another thread the context is read from the task that is current on the loop (Python 3.12), or from the
handle that the loop is running (3.11, where a task does not tell its context). A run pays for setting a variable alone.

**Who is not to blame.** A loop that has not turned may be a process that was not run: stopped, suspended, on a machine
too busy. Only time in which the loop's thread is known to have been at it counts: time in which this thread woke up
when it wanted to while the other one slept (a blocking call; its time in the scheduler's queue is taken off), or else
the CPU time that the loop's thread used. The second covers code that keeps the interpreter's lock, such as a regular
expression, behind which this thread has to wait as well: it comes to its turn when that call returns, which is still in
the run that made it. Garbage collection is nobody's and is taken off.

It costs five wake-ups a second, forty while the loop is being held. A hold of less than half a second may therefore be
missed once; one that repeats is not.
"""

from __future__ import annotations

import asyncio
import asyncio.events
import contextlib
import gc
import logging
import sys
import sysconfig
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context
    from types import FrameType

log = logging.getLogger(__name__)

HOLD: Final = 0.25
"""Seconds for which nobody may hold the loop."""

LOOK: Final = 0.2
LOOK_CLOSELY: Final = 0.025
"""Seconds between two looks, and between two while the loop has not turned."""

UNSEEN: Final = HOLD / 2
"""Seconds before the first look for which whoever is seen then is held to have been there already, at most."""

OVERDUE: Final = 0.02
"""Seconds beyond its time after which a turn of the loop is awaited closely."""

LATE: Final = 0.05
"""Seconds by which this thread may wake up late and still be a witness of what the other one did meanwhile."""

STILL: Final = 5.0
"""Seconds after which a hold is told while it lasts: it may never end."""

SAY_EVERY: Final = 60.0
"""Seconds for which the same thing is not said again."""

running_check: ContextVar[str] = ContextVar("running_check", default="")
"""The check whose kind is at work, "" outside of it."""

_HANDLE_RUN: Final = asyncio.events.Handle._run.__code__  # noqa: SLF001 - see `_context`
_STANDARD_LIBRARY: Final = str(Path(sysconfig.get_paths()["stdlib"]))


@dataclass(frozen=True, slots=True)
class Held:
    """Somebody held the loop. check: "" if it was no check.  place: the line of code.  seconds: for how long."""

    check: str
    seconds: float
    place: str


@dataclass(slots=True)
class Holds:
    """What is known of all holds by one of them. place: of the longest."""

    times: int = 0
    longest: float = 0.0
    place: str = ""

    def add(self, held: Held) -> None:
        """One more."""
        self.times += 1
        if held.seconds >= self.longest:
            self.longest, self.place = held.seconds, held.place


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the clocks show: monotonic time, CPU time of the loop's thread, time in garbage collection on it."""

    mono: float
    cpu: float
    collecting: float


@dataclass(slots=True)
class _Stall:
    """A loop that does not turn. turned: when it last did.  queued: time of its thread in the scheduler's queue."""

    turned: float
    check: str
    seconds: float = 0.0
    place: str = ""
    queued: float | None = None
    told: bool = False


@dataclass(slots=True)
class _Said:
    """What has been said when, so that what goes on fills no log."""

    last: dict[str, float] = field(default_factory=dict)

    def anew(self, what: str, now: float) -> bool:
        if now - self.last.get(what, -SAY_EVERY) < SAY_EVERY:
            return False
        if len(self.last) > 1000:
            self.last.clear()
        self.last[what] = now
        return True


class LoopWatch:
    """Watches the loop on which it is started.

    turned: when the loop last came round, in seconds of the monotonic clock; asked from another thread.  every: seconds
    within which it comes round again.  held: is told on the loop when a check held it, after it has.
    """

    def __init__(self, *, turned: Callable[[], float], every: float, held: Callable[[Held], None]) -> None:
        self._turned = turned
        self._every = every
        self._held = held
        self.others = Holds()
        self._over = threading.Lock()
        """Taken while it watches: waiting for it costs less than for an event."""
        self._said = _Said()
        self._collecting = 0.0
        self._collecting_since: float | None = None
        self._stall: _Stall | None = None
        self._loop: asyncio.AbstractEventLoop
        self._thread: int
        self._task_folder: Path
        self._cpu: Callable[[], float]

    def start(self) -> None:
        """Begin to watch the loop that is running here."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._task_folder = Path(f"/proc/self/task/{threading.get_native_id()}")
        self._cpu = _cpu_clock(self._thread)
        self._over.acquire()  # noqa: SIM115, RUF100 - `stop` releases it
        gc.callbacks.insert(0, self._collection_begins)  # what others do in between is part of it
        gc.callbacks.append(self._collection_ends)
        threading.Thread(target=self._run, name="loop-watch", daemon=True).start()

    def stop(self) -> None:
        """Watch no more."""
        if self._over.locked():
            self._over.release()
        for callback in (self._collection_begins, self._collection_ends):
            with contextlib.suppress(ValueError):
                gc.callbacks.remove(callback)

    def _collection_begins(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start" and threading.get_ident() == self._thread:
            self._collecting_since = time.monotonic()

    def _collection_ends(self, phase: str, _: dict[str, int]) -> None:
        if phase == "stop" and threading.get_ident() == self._thread:
            since, self._collecting_since = self._collecting_since, None
            self._collecting += 0.0 if since is None else time.monotonic() - since

    # --- in the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        before, wait = self._reading(), LOOK
        while not self._over.acquire(timeout=wait):
            now = self._reading()
            try:
                self._look(before, now, wait)
            except Exception:
                log.exception("the event loop could not be watched: this is a bug")
                self._stall = None
            before, wait = now, LOOK if self._stall is None else LOOK_CLOSELY

    def _reading(self) -> _Reading:
        """Where it is now. A collection that is going on counts as far as it has come: it may be a long one."""
        now, since = time.monotonic(), self._collecting_since
        return _Reading(now, self._cpu(), self._collecting + (0.0 if since is None else now - since))

    def _look(self, before: _Reading, now: _Reading, wait: float) -> None:
        turned = self._turned()
        overdue = now.mono - turned - self._every
        self._tell_of_a_pause(before, now, wait)
        stall = self._stall
        if stall is not None and stall.turned != turned:
            stall.seconds += max(0.0, min(_used(before, now), turned - before.mono))
            self._end(stall)
            stall = None
        if overdue < OVERDUE:
            self._stall = None
            return
        who = self._who()
        if who is None:  # it is about to turn: what it was at before cannot be seen any more
            if stall is not None:
                self._end(stall)
            return
        check, name, place = who
        if stall is None or stall.check != check:
            following = _Stall(turned, check, queued=None if stall is None else self._queued())
            if stall is not None:
                self._end(stall)
            self._stall = stall = following
            overdue = overdue if stall.queued is None else now.mono - before.mono
        stall.seconds += min(self._at_it(stall, before, now, wait), overdue)
        if not stall.place or stall.seconds < HOLD:
            stall.place = place if check or not name else f"{place} (task {name})"
        if stall.seconds >= STILL and not stall.told:
            stall.told = True
            log.warning("%s holds up the event loop, for %.0f s so far, at %s", _named(check), STILL, stall.place)

    def _tell_of_a_pause(self, before: _Reading, now: _Reading, wait: float) -> None:
        late = now.mono - before.mono - wait
        if late > HOLD and now.cpu - before.cpu < late / 2 and self._said.anew("pause", now.mono):
            why = "stopped, suspended, on a machine that is too busy, or another thread kept the interpreter"
            log.warning("the engine did not run for %s: %s", format_duration(round(late, 1)), why)

    def _at_it(self, stall: _Stall, before: _Reading, now: _Reading, wait: float) -> float:
        """Seconds between two looks in which the loop's thread surely was at what it is at."""
        passed = now.mono - before.mono
        if passed > wait + LATE:
            stall.queued = None  # nothing is read, since that would mean to wait for the interpreter's lock again
            return max(0.0, min(_used(before, now), passed))
        queued_before, stall.queued = stall.queued, self._queued()
        if not self._asleep():
            return max(0.0, min(_used(before, now), passed))
        if queued_before is None:
            return min(passed, UNSEEN)
        return max(0.0, passed - (stall.queued - queued_before) - (now.collecting - before.collecting))

    def _asleep(self) -> bool:
        """Whether the loop's thread waits for something: a blocking call, or the interpreter's lock, which we have.

        One that could run and does not, or was stopped, is not. Where this cannot be seen (macOS) it is assumed.
        """
        try:
            stat = (self._task_folder / "stat").read_bytes()
        except OSError:
            return True
        return stat.rpartition(b")")[2].split()[0] in (b"S", b"D")

    def _queued(self) -> float:
        """Seconds that the loop's thread has waited for a processor in its life, 0 where this is not known."""
        try:
            return int((self._task_folder / "schedstat").read_bytes().split()[1]) / 1e9
        except (OSError, IndexError, ValueError):
            return 0.0

    def _who(self) -> tuple[str, str, str] | None:
        """The check that the loop is in, "" for none; the name of the task, "" for none; the line of code.

        None when it is in nothing but itself.
        """
        task = asyncio.current_task(self._loop)
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - the documented way to another thread's stack
        try:
            context = _context(task, frame)
            if context is None:
                return None
            return context.get(running_check, ""), "" if task is None else task.get_name(), _place(frame)
        finally:
            del frame  # a frame that is kept keeps everything that it knows

    def _end(self, stall: _Stall) -> None:
        """Tell of a hold that is over."""
        self._stall = None
        if stall.seconds < HOLD:
            return
        held = Held(stall.check, stall.seconds, stall.place)
        if held.check:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is held up any more
                self._loop.call_soon_threadsafe(self._held, held)
            return
        self.others.add(held)
        if self._said.anew(held.place, time.monotonic()):
            log.warning("the event loop was held up for %.2f s, by no check, at %s", held.seconds, held.place)


def _used(before: _Reading, now: _Reading) -> float:
    """CPU time of the loop's thread without garbage collection."""
    return (now.cpu - before.cpu) - (now.collecting - before.collecting)


def _named(check: str) -> str:
    return f"check {check}" if check else "something that is no check"


def _cpu_clock(thread: int) -> Callable[[], float]:
    """The CPU time of a thread; of the whole process where there is no such clock (macOS)."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.process_time
    clock = time.pthread_getcpuclockid(thread)
    return lambda: time.clock_gettime(clock)


def _context(task: asyncio.Task[Any] | None, frame: FrameType | None) -> Context | None:
    """The context in which a loop is running something, found from outside.

    Python 3.12 has `Task.get_context`. Before that, and for callbacks without a task, the handle that the loop runs
    knows it: `self` of the outermost frame but the loop's own. Reading a frame of another thread is safe while the
    interpreter's lock is ours; at worst it has gone on meanwhile, and another look follows.
    """
    if task is not None and sys.version_info >= (3, 12):
        return task.get_context()
    while frame is not None:
        if frame.f_code is _HANDLE_RUN:
            handle = frame.f_locals.get("self")
            return getattr(handle, "_context", None)
        frame = frame.f_back
    return None


def _place(frame: FrameType | None) -> str:
    """The innermost line outside of the standard library, since `socket.py` says nothing of who called it."""
    innermost = frame
    while frame is not None and _of_python_itself(frame.f_code.co_filename):
        frame = frame.f_back
    found = frame or innermost
    if found is None:
        return "a place that cannot be seen"
    return f"{found.f_code.co_filename}:{found.f_lineno} in {found.f_code.co_name}"


def _of_python_itself(file: str) -> bool:
    return file.startswith("<frozen") or (
        file.startswith(_STANDARD_LIBRARY) and "site-packages" not in file and "dist-packages" not in file
    )
