"""Running somebody else's program: a plugin, a failover script, a one-liner of the workspace.

What can go wrong, and what is done about it:

* **A shell** would turn a host name into a command. Programs are argument lists, never strings.
* **A pipe that stays open.** A script that starts a daemon and exits leaves the daemon holding the script's
  standard output; whoever reads that pipe to its end waits for the daemon, and reports a good script as
  hanging. Output therefore goes to unlinked temporary files, and a run ends when the program itself has
  ended. The files are cut while the program runs, so that one that prints for ever fills no disk.
* **Children of children.** Each program gets a session of its own, and what is ended is its whole process
  group: SIGTERM, half a second, SIGKILL. What a *successful* program leaves running may be the daemon it was
  meant to start: it is recorded, never killed.
* **A process id used again.** The group is signalled only while its leader has not been reaped, or while a
  member of it was seen alive a moment before, so the number cannot belong to a stranger.
* **A blocked event loop.** fork and exec of a program on a dead mount block, so both, and the wait for the
  end, happen in a daemonic thread of the run. Nothing depends on asyncio's child watchers.

"Could not be started" is a fact of its own: such a program has changed nothing.

An action that calls one tool several times (`systemctl`, `kubectl`) has a `Tool`, whose calls share one deadline.
Whoever wants to see what a program says while it runs gives a `Watch`.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Final, Protocol

from pydantic import BeforeValidator, WithJsonSchema

from opsdash.kinds.base import NOTHING
from opsdash.kinds.offload import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

OUTPUT_LIMIT: Final = 64 * 1024
EXCERPT: Final = 300
GRACE: Final = 0.5
"""Seconds between SIGTERM and SIGKILL."""
ENDING_TIME: Final = 1.0
"""Seconds of a deadline that are kept for ending the process group and reading what it said."""

GATE: Final = 'IFS= read -r _ || exit 127; exec "$@" </dev/null'
"""A program behind it begins once its number was written down; if whoever started it dies before, it never does."""

_LOOK_EVERY: Final = 0.2
_WATCH_EVERY: Final = 0.05
_REAP_WITHIN: Final = 2.0


def _argv(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        raise ValueError("write the program and its arguments as a list, such as [systemctl, start, mailer]")  # noqa: TRY004 - pydantic reports ValueError alone
    if not isinstance(value, list | tuple) or not value:
        raise ValueError("write a list with at least the program's name")
    return tuple(_word(word) for word in value)


def _word(word: Any) -> str:
    if isinstance(word, int) and not isinstance(word, bool):
        return str(word)
    if not isinstance(word, str):
        raise ValueError(f"the argument {word!r} is no text; put it in quotes")  # noqa: TRY004 - as above
    if "\0" in word:
        raise ValueError("an argument cannot contain a zero byte")
    return word


Argv = Annotated[
    tuple[str, ...],
    BeforeValidator(_argv),
    WithJsonSchema({"type": "array", "items": {"type": ["string", "integer"]}, "minItems": 1}),
]
"""A program and its arguments; whole numbers may go without quotes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What is known of a program after its run.

    started: False when it could not be started at all; `problem` then says why.
    exit_code: None when it was ended by `signal`, or has not ended although it was killed (`timed_out`).
    stdout, stderr: the first 64 KiB of each, or as much as was asked for; `truncated` when there was more of either.
    timed_out: it was still running at the deadline and its group was killed.
    leftover: processes of its group were still running after it had ended by itself.
    """

    started: bool
    problem: str = ""
    exit_code: int | None = None
    signal: int | None = None
    stdout: str = ""
    stderr: str = ""
    truncated: bool = False
    duration: float = 0.0
    timed_out: bool = False
    leftover: bool = False

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        if not self.started:
            return f"could not be started: {self.problem}"
        if self.timed_out:
            return f"was killed after {self.duration:.1f} s, still running"
        if self.signal is not None:
            return f"was ended by {signal_name(self.signal)}"
        return f"exited with {self.exit_code}"

    def evidence(self, name: str, said: str | None = None) -> str:
        """How it ended and what it said (or the part of it that is worth telling), on one line."""
        said = " ".join((self.stdout.strip() or self.stderr.strip() if said is None else said).split())
        words = f"{name} {self.ending}"
        if self.leftover:
            words += "; processes of its own go on running"
        return f"{words}: {said[:EXCERPT]}" if said else words


def signal_name(number: int) -> str:
    """`SIGKILL` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def minimal_environment(extras: Mapping[str, str] = NOTHING) -> dict[str, str]:
    """What every program gets: enough to find others and to print numbers with a point, no secrets."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", "/"),
        "LC_ALL": "C.UTF-8",
        "LC_NUMERIC": "C",
        **extras,
    }


class Record(Protocol):
    """Writes down the number of a program that is about to begin. Called in the thread of the run."""

    def __call__(self, pid: int, /) -> None: ...


class Watch(Protocol):
    """Looks at a program while it runs. Its methods are called in the thread of the run, `look` once more at the end.

    stdin: a descriptor that it reads from.  merged: its error output goes where its output goes.
    """

    stdin: int
    merged: bool

    def spawned(self, pid: int) -> None:
        """It has been started; `pid` is that of its process group, too."""

    def look(self, stdout: IO[bytes], stderr: IO[bytes], *, last: bool) -> None:
        """Take what it has said since, and cut the files where they grow too large."""


async def run_program(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str] = NOTHING,
    timeout: float | None = None,  # the program's, not ours: afterwards its group is killed
    limit: int = OUTPUT_LIMIT,
    watch: Watch | None = None,
    record: Record | None = None,
) -> Finished:
    """Run `argv` and say how it ended. When cancelled, it kills the process group before it goes along.

    limit: bytes of its output, and of its error output, that are kept.  watch: takes them instead; none are kept.
    record: is told its number before it begins; where that raises OSError, or we are killed before, it never does.
    """
    began = time.monotonic()
    if record is not None and (missing := await why_missing(argv[0], cwd, env)):
        return Finished(started=False, problem=missing)
    program = _Run(argv, cwd, minimal_environment(env), limit=limit, watch=watch, record=record)
    try:
        program.start()
        ended = await program.wait(timeout)
        if not ended:
            await program.kill_group()
        return program.result(time.monotonic() - began, timed_out=not ended)
    except asyncio.CancelledError:
        await program.kill_group()
        raise
    finally:
        program.let_go()


def time_to_run(deadline: float) -> float:
    """Seconds that the programs of an action may take, so that its outcome can be told within `deadline`."""
    return max(deadline - ENDING_TIME, deadline / 2)


async def why_missing(program: str, folder: Path, env: Mapping[str, str] = NOTHING, shown: str = "") -> str:
    """Why a program could not be started in `folder`; empty when it is there. Nothing is run.

    shown: the folder as its author wrote it.
    """
    path = minimal_environment(env)["PATH"]

    def look() -> str:
        if not folder.is_dir():
            return f"the folder {shown or folder} does not exist"
        found = str(folder / program) if "/" in program else shutil.which(program, path=path)
        if found is None:
            return f"{program} is not on the path"
        if not Path(found).is_file():
            return f"{program} does not exist"
        return "" if os.access(found, os.X_OK) else f"{program} is not executable"

    return await in_thread(("program", folder, program), look)


class ToolError(Exception):
    """A tool did not say what it was asked for; the text is for people."""


class Tool:
    """A command line tool that an action calls several times. All its calls together have one deadline."""

    def __init__(self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], deadline: float) -> None:
        self.argv = tuple(argv)
        self.record: Record | None = None
        self._cwd = cwd
        self._env = env
        self._until = time.monotonic() + time_to_run(deadline)

    def behind(self, *words: str) -> Tool:
        """The same tool called by another program, within the same deadline: `sudo -n TOOL`."""
        other = copy.copy(self)
        other.argv = (*words, *self.argv)
        return other

    @property
    def left(self) -> float:
        """Seconds that are left for calls."""
        return max(0.0, self._until - time.monotonic())

    async def run(self, *words: str, limit: int = OUTPUT_LIMIT) -> Finished:
        """Call it with these arguments."""
        if not self.left:
            return Finished(started=False, problem="no time was left for it")
        return await run_program(
            [*self.argv, *words], cwd=self._cwd, env=self._env, timeout=self.left, limit=limit, record=self.record
        )

    async def why_missing(self) -> str:
        """Why it could not be started; empty when it is there."""
        return await why_missing(self.argv[0], self._cwd, self._env)


@dataclass(frozen=True, slots=True)
class _Ended:
    stdout: bytes
    stderr: bytes
    truncated: bool


class _Run:
    """One program. Its thread starts it and waits for its end; the event loop decides, kills and reaps."""

    def __init__(
        self,
        argv: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        *,
        limit: int,
        watch: Watch | None,
        record: Record | None,
    ) -> None:
        self._watch = watch
        self._record = record
        self._argv = argv
        self._cwd = cwd
        self._env = env
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._launched: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[_Ended] = self._loop.create_future()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread_over = False
        self._let_go = False
        self._problem = ""

    def start(self) -> None:
        try:
            threading.Thread(target=self._serve, name="opsdash-run", daemon=True).start()
        except RuntimeError as error:  # the system has no thread left
            self._problem = str(error)
            self._ended.set_result(_Ended(b"", b"", truncated=False))

    async def wait(self, timeout: float | None) -> bool:
        """Whether it ended, or could not be started, within `timeout` seconds."""
        await asyncio.wait({self._ended}, timeout=timeout)
        return self._ended.done()

    async def kill_group(self) -> None:
        """SIGTERM to the group, SIGKILL half a second later to what is left, or when cancelled again."""
        gone = False
        try:
            started_or_not: set[asyncio.Future[Any]] = {self._launched, self._ended}
            await asyncio.wait(started_or_not, timeout=GRACE, return_when=asyncio.FIRST_COMPLETED)
            gone = not self._signal(signal.SIGTERM) or await self._group_gone(GRACE)
        finally:
            if not gone:
                self._signal(signal.SIGKILL)
        await asyncio.wait({self._ended}, timeout=_REAP_WITHIN)

    def result(self, duration: float, *, timed_out: bool) -> Finished:
        if self._problem:
            return Finished(started=False, problem=self._problem, duration=duration)
        ended = self._ended.result() if self._ended.done() else _Ended(b"", b"", truncated=False)
        code = self._reap()
        return Finished(
            started=True,
            exit_code=code if code is not None and code >= 0 else None,
            signal=-code if code is not None and code < 0 else None,
            stdout=ended.stdout.decode("utf-8", "replace"),
            stderr=ended.stderr.decode("utf-8", "replace"),
            truncated=ended.truncated,
            duration=duration,
            timed_out=timed_out,
            leftover=not timed_out and self._signal(0),
        )

    def let_go(self) -> None:
        """Reap it; if it has not ended (or is only being started), kill it and leave that to its thread."""
        with self._lock:
            self._let_go = True
            if not self._thread_over:
                self._signal(signal.SIGKILL)
                return
        self._reap()

    async def _group_gone(self, within: float) -> bool:
        """Whether no process of the group is left, as soon as that is so or `within` seconds have passed."""
        until = time.monotonic() + within
        await asyncio.wait({self._ended}, timeout=within)
        if not self._ended.done():
            return False
        self._reap()
        while self._signal(0):
            left = until - time.monotonic()
            if left <= 0:
                return False
            await asyncio.sleep(min(left, 0.02))  # nothing tells of the end of a grandchild
        return True

    def _signal(self, number: int) -> bool:
        """Whether a member of the group was there to be signalled."""
        process = self._process
        if process is None:
            return False
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:  # a member runs as another user; macOS says so of a zombie, too
            return process.returncode is None or number == 0
        return True

    def _reap(self) -> int | None:
        return None if self._process is None else self._process.poll()

    # --- in the thread ------------------------------------------------------------

    def _serve(self) -> None:
        ended = _Ended(b"", b"", truncated=False)
        try:
            with output_file() as stdout, output_file() as stderr:
                process = self._launch(stdout, stderr)
                ended = self._until_it_ends(process.pid, stdout, stderr)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            if self._process is None:
                self._problem = _words(error)
        finally:
            with self._lock:
                self._thread_over = True
                abandoned = self._let_go
            if abandoned:
                self._reap()
            self._post(self._ended, ended)

    def _until_it_ends(self, pid: int, stdout: IO[bytes], stderr: IO[bytes]) -> _Ended:
        watch = self._watch
        if watch is None:
            wait_for_exit(pid, lambda: _cut(self._limit, stdout, stderr))
            with contextlib.suppress(OSError):
                return _read(self._limit, stdout, stderr)
            return _Ended(b"", b"", truncated=False)
        watch.spawned(pid)
        wait_for_exit(pid, lambda: watch.look(stdout, stderr, last=False), _WATCH_EVERY)
        watch.look(stdout, stderr, last=True)
        return _Ended(b"", b"", truncated=False)

    def _launch(self, stdout: IO[bytes], stderr: IO[bytes]) -> subprocess.Popen[bytes]:
        if self._record is None:
            stdin = subprocess.DEVNULL if self._watch is None else self._watch.stdin
            merged = self._watch is not None and self._watch.merged
            process = self._popen(self._argv, stdin, stdout, subprocess.STDOUT if merged else stderr)
        else:
            process = self._popen(["/bin/sh", "-c", GATE, "gate", *self._argv], subprocess.PIPE, stdout, stderr)
            _open_gate(process, self._record)
        with self._lock:
            self._process = process
            if self._let_go:
                self._signal(signal.SIGKILL)
        self._post(self._launched, None)
        return process

    def _popen(
        self, argv: Sequence[str], stdin: int, stdout: IO[bytes], stderr: IO[bytes] | int
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            list(argv),
            cwd=self._cwd,
            env=dict(self._env),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )

    def _post(self, future: asyncio.Future[Any], value: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(_finish, future, value)


def _open_gate(process: subprocess.Popen[bytes], record: Record) -> None:
    """Let a program that waits behind its gate begin, once its number is written down. Raises OSError."""
    assert process.stdin is not None  # noqa: S101 - it was asked for
    try:
        with process.stdin as gate:
            record(process.pid)
            gate.write(b"\n")
    except OSError:
        process.wait()  # the gate is closed, so it ends at once
        raise


def _finish(future: asyncio.Future[Any], value: object) -> None:
    if not future.done():
        future.set_result(value)


def output_file() -> IO[bytes]:
    """An unlinked file to which everything is appended, so that cutting it leaves no hole behind the cut."""
    file = tempfile.TemporaryFile(prefix="opsdash-")  # noqa: SIM115 - the caller closes it
    fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_APPEND)
    return file


def _cut(limit: int, *files: IO[bytes]) -> None:
    """Keep the beginning and the fact that there was more; what is appended later is cut next time."""
    for file in files:
        with contextlib.suppress(OSError):
            if os.fstat(file.fileno()).st_size > limit + 1:
                os.ftruncate(file.fileno(), limit + 1)


def _read(limit: int, stdout: IO[bytes], stderr: IO[bytes]) -> _Ended:
    out, err = (os.pread(file.fileno(), limit + 1, 0) for file in (stdout, stderr))
    truncated = len(out) > limit or len(err) > limit
    return _Ended(out[:limit], err[:limit], truncated)


def wait_for_exit(pid: int, meanwhile: Callable[[], None], every: float = _LOOK_EVERY) -> None:
    """Return when the process has ended, without reaping it, so that its number stays its own.

    meanwhile: is called every `every` seconds. For a thread that has nothing else to do.
    """
    if sys.platform == "darwin":
        _wait_on_kqueue(pid, meanwhile, every)
        return
    try:
        watch = os.pidfd_open(pid)
    except OSError:  # a kernel before 5.3, or a sandbox that forbids it
        _wait_by_asking(pid, meanwhile)
        return
    try:
        poll = select.poll()
        poll.register(watch, select.POLLIN)
        while not poll.poll(every * 1000):
            meanwhile()
    finally:
        os.close(watch)


def _wait_by_asking(pid: int, meanwhile: Callable[[], None]) -> None:
    never = threading.Event()
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        never.wait(0.02)
        meanwhile()


if sys.platform == "darwin":

    def _wait_on_kqueue(pid: int, meanwhile: Callable[[], None], every: float) -> None:
        queue = select.kqueue()
        try:
            watch = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                queue.control([watch], 0)
                while not queue.control(None, 1, every):
                    meanwhile()
        finally:
            queue.close()


def _words(error: BaseException) -> str:
    """`/usr/bin/nope: No such file or directory`, whether it was the program or the folder."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
