"""An experiment of Chaos Toolkit, run by `chaos run` in a process of its own.

    inject: {chaostoolkit: {experiment: drills/experiments/kill-pod.json}}

Chaos Toolkit is no part of opsdash: `chaos` has to be on the path (`pip install chaostoolkit`, Python 3.12 or newer).
It is always run with `--rollback-strategy=always`, since by default it rolls nothing back when it is interrupted. The
way back is to interrupt it (SIGUSR1, then SIGTERM), so no `undo` has to be written; but the experiment should hold the
fault until then, with a pause at the end of its method.

Its exit code and its journal are kept beside the drill's evidence, and are never the verdict. Its journal calls an
action "succeeded" whose program exited with 1; here such an action is a failed injection, whatever the exit code. One
that fails at once aborts the drill; of one that failed later, the drill ends without having passed.
Whether a rollback had its effect it does not check, so the best that is known of it is "not known": the drill's own
checks tell. The undo lives in the guard process: when this host loses its power, the fault stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from opsdash.kinds.base import ActionResult, Applied, Preflight, StrictOptions
from opsdash.kinds.fields import Duration
from opsdash.kinds.identity import identity_of, still_runs
from opsdash.kinds.injecting import Gone, InjectionContext, InjectionKind
from opsdash.kinds.offload import in_thread
from opsdash.kinds.processes import GATE, Argv, minimal_environment, why_missing
from opsdash.kinds.shellwords import shell_command
from opsdash.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LARGEST: Final = 4 * 1024 * 1024
"""Bytes of a journal that are read."""

_LOOK_EVERY: Final = 0.05
_HINT: Final = "install it with: pip install chaostoolkit"

_started: list[subprocess.Popen[bytes]] = []
"""Our own children, so that they can be reaped."""


class Options(StrictOptions):
    experiment: str = Field(min_length=1)
    """The experiment's file, relative to the workspace."""

    program: Argv = ("chaos",)
    """Chaos Toolkit's program, with arguments that each call begins with."""

    env: dict[str, str] = Field(default_factory=dict, repr=False)
    """Environment variables besides PATH, HOME and the locale."""

    watch_for: Duration = Field(default=5.0, ge=0, le=60)
    """For how long it is watched whether an action fails at once; later ones show when it is undone."""


async def preflight(options: Options, context: InjectionContext) -> Preflight:
    missing = await why_missing(options.program[0], context.workspace, options.env)
    if missing:
        return Preflight(passed=False, detail=f"{missing}; {_HINT}")
    path = context.workspace / options.experiment
    if not await in_thread(("experiment", path), path.is_file):
        return Preflight(passed=False, detail=f"there is no experiment {options.experiment}")
    return Preflight(passed=True, detail=f"{options.program[0]} and {options.experiment} are there")


async def inject(options: Options, context: InjectionContext) -> ActionResult:
    """Start it, and watch whether it ends or fails at once."""
    run = _Run(options, context)
    context.stage = "run"
    try:
        process = await in_thread(("chaos", run.record), run.start)
    except OSError as error:
        return ActionResult(Applied.NOT_STARTED, f"it could not be started: {error.strerror or error}")
    context.on_sent()
    await run.ends(min(options.watch_for, context.deadline / 2))
    if process.poll() is None:
        return ActionResult(Applied.APPLIED, f"{options.experiment} is running")
    failed = await in_thread(("chaos", run.record), run.failed_actions)
    words = f"{options.experiment} ended with exit code {process.returncode}"
    if failed is None:
        return ActionResult(Applied.UNKNOWN, f"{words}, without a journal; see {run.log.name}")
    if failed:
        return ActionResult(Applied.UNKNOWN, f"{words}; failed: {failed}")
    return ActionResult(Applied.APPLIED, f"{words} and has rolled back: the fault is over already")


async def undo(options: Options, context: InjectionContext) -> ActionResult:
    """Interrupt it, which makes it roll back, and wait for its end."""
    run = _Run(options, context)
    half = context.deadline * 0.4
    for number in (signal.SIGUSR1, signal.SIGTERM):
        context.stage = number.name
        if await in_thread(("chaos", run.record), functools.partial(run.tell, number)) and not await run.ends(half):
            continue
        failed = await in_thread(("chaos", run.record), run.failed_actions)
        words = f"; a failed injection: {failed}" if failed else ""
        return ActionResult(Applied.APPLIED, f"{options.experiment} has ended{words}")
    return ActionResult(Applied.UNKNOWN, f"{options.experiment} goes on running, although it was told to end")


async def verify_undone(options: Options, context: InjectionContext) -> Gone:
    run = _Run(options, context)
    return await in_thread(("chaos", run.record), run.is_gone)


async def flaws(options: Options, context: InjectionContext) -> str:
    run = _Run(options, context)
    failed = await in_thread(("chaos", run.record), run.failed_actions)
    return f"{options.experiment}: {failed}" if failed else ""


class _Run:
    """One run of an experiment, by the files that it leaves in the drill's folder. Its methods block."""

    def __init__(self, options: Options, context: InjectionContext) -> None:
        self._options = options
        self._workspace = context.workspace
        folder = context.folder or context.workspace
        name = f"chaos-{hashlib.sha256(options.experiment.encode()).hexdigest()[:8]}"
        self.record, self.journal, self.log = (folder / f"{name}{end}" for end in (".run", ".json", ".log"))

    def start(self) -> subprocess.Popen[bytes]:
        """Start it behind a gate, write down which process it is, then let it go. Raises OSError."""
        argv = [
            *self._options.program,
            "--no-version-check",
            "--log-file",
            str(self.log),
            "run",
            "--rollback-strategy=always",
            f"--journal-path={self.journal}",
            str(self._workspace / self._options.experiment),
        ]
        with open(self.log, "ab", opener=_private) as log:
            process = subprocess.Popen(
                ["/bin/sh", "-c", GATE, "gate", *argv],
                cwd=self._workspace,
                env=minimal_environment(self._options.env),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _started[:] = [*(each for each in _started if each.poll() is None), process]
        assert process.stdin is not None  # noqa: S101 - it was asked for
        with process.stdin as gate:
            self._write_down(process.pid)
            gate.write(b"\n")
        return process

    def _write_down(self, pid: int) -> None:
        with open(self.record, "wb", opener=_private) as file:
            file.write(json.dumps({"pid": pid, "identity": identity_of(pid)}).encode())
            file.flush()
            os.fsync(file.fileno())

    def _process(self) -> int | None:
        """Its number while it runs; a stranger of that number is not taken for it."""
        try:
            found = json.loads(self.record.read_bytes())
            pid, identity = int(found["pid"]), str(found["identity"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        for child in _started:
            child.poll()
        return pid if still_runs(pid, identity) else None

    def tell(self, number: signal.Signals) -> bool:
        """Send a signal; whether somebody was there."""
        pid = self._process()
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        return True

    async def ends(self, within: float) -> bool:
        """Whether it ends within so many seconds."""
        until = asyncio.get_running_loop().time() + within
        while await in_thread(("chaos", self.record), self._process) is not None:
            if asyncio.get_running_loop().time() > until:
                return False
            await asyncio.sleep(_LOOK_EVERY)
        return True

    def _read(self) -> dict[str, Any] | None:
        try:
            with self.journal.open("rb") as file:
                found = json.loads(file.read(LARGEST))
        except (OSError, ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    def failed_actions(self) -> str | None:
        """The actions that failed, in words; None without a journal."""
        journal = self._read()
        return None if journal is None else ", ".join(_failed(journal.get("run"), cut_off=False))

    def is_gone(self) -> Gone:
        """What is known after its end."""
        if not self.record.exists():
            return True, f"{self._options.experiment} was never started"
        if self._process() is not None:
            return False, f"{self._options.experiment} is still running"
        journal = self._read()
        if journal is None:
            return None, f"{self._options.experiment} left no journal, so nobody knows whether it rolled back"
        failed = list(_failed(journal.get("rollbacks"), cut_off=True))
        if failed:
            return False, f"rolling back failed: {', '.join(failed)}"
        if not journal.get("rollbacks"):
            return None, f"{self._options.experiment} has rolled nothing back; only the drill's checks can tell"
        return None, "it has rolled back, and does not check that; only the drill's checks can tell"


def _failed(activities: Any, *, cut_off: bool) -> Iterator[str]:
    """Names of the actions that did not work. A program that exited with 1, or a status of 400, is a failure here.

    cut_off: whether one that was interrupted, which has no status then, counts as a failure.
    """
    for each in activities if isinstance(activities, list) else ():
        activity = each.get("activity") if isinstance(each, dict) else None
        if not isinstance(activity, dict) or activity.get("type") != "action":
            continue
        if "status" not in each and not cut_off:
            continue
        output, provider = each.get("output"), activity.get("provider")
        status = output.get("status") if isinstance(output, dict) else None
        kind = provider.get("type") if isinstance(provider, dict) else None
        bad = (kind == "process" and status not in (0, None)) or (
            kind == "http" and isinstance(status, int) and status >= 400
        )
        if bad or each.get("status") != "succeeded":
            yield clean(str(activity.get("name")), 80)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def manual(raw: Mapping[str, Any]) -> str:
    """How a person interrupts it, so that it rolls back."""
    return shell_command(["pkill", "-USR1", "-f", f"chaos .*{Path(str(raw['experiment'])).name}"])


KIND = InjectionKind(
    name="chaostoolkit",
    summary="an experiment of Chaos Toolkit",
    options=Options,
    preflight=preflight,
    inject=inject,
    undo=undo,
    verify_undone=verify_undone,
    manual=manual,
    knows_way_back=True,
    flaws=flaws,
    needs="chaos on the path (pip install chaostoolkit)",
)
