"""A check kind of another package, installed as pip would, whose runs do what no kind should."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from opsdash.kinds import registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

MODULE = "opsdash_blocker"

SOURCE = '''\
"""A kind that blocks."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import subprocess
import time
from datetime import datetime, timedelta, timezone
from enum import StrEnum

from pydantic import PrivateAttr

from opsdash.kinds.base import CheckContext, CheckKind, CheckOptions, Sample
from opsdash.model.status import Reason, Status


class Colour(StrEnum):
    RED = "red"


class Options(CheckOptions):
    """Keys of `kind: blocker`."""

    does: str = "sleep"
    """What a run does."""
    seconds: float = 0.5
    """How long it blocks."""
    word: str = ""
    """Something to say."""

    _cannot_be_pickled: object = PrivateAttr(default_factory=lambda: (lambda: None))


async def run(options: Options, context: CheckContext) -> Sample:
    """One run."""
    context.stage = "first_byte"
    (context.workspace / "begun").write_text(str(os.getpid()))
    before = context.previous.state if context.previous is not None else 0
    values = {
        "pid": os.getpid(),
        "runs": (before or 0) + 1,
        "json": {"wanted": context.wants_json},
        "moment": datetime(2026, 11, 25, 12, tzinfo=timezone(timedelta(hours=1))),
        "colour": Colour.RED,
        "pair": (1, 2.5),
        "odd": object(),
    }
    await DOES[options.does](options, context)
    sample = Sample(Status.OK, None, "as well as can be", 0.25, values, {"connect": 0.125}, state=values["runs"])
    if options.does == "refuse":
        sample.status, sample.reason, sample.retry_after, sample.soft = Status.DOWN, Reason.REFUSED, 7.0, True
    return sample


async def sleep(options, context):
    other = context.workspace / "instead"
    instead = other.read_text() if other.exists() else ""
    if instead:
        (context.workspace / "heeded").write_text(str(os.getpid()))
    if instead == "keep the lock":
        re.match(r"(a+)+$", "a" * 100 + "b")  # it takes longer than the universe has existed
    time.sleep(float(instead or options.seconds))  # it blocks here


async def sleep_in_a_task(options, context):
    await asyncio.wait_for(sleep(options, context), 60)


async def wait(options, context):
    await asyncio.sleep(options.seconds)


async def raise_it(options, context):
    raise ZeroDivisionError(options.word)


async def nothing(options, context):
    pass


async def say(options, context):
    print(options.word)


async def leave(options, context):
    os._exit(3)


async def crash(options, context):
    ctypes.string_at(0)


async def block_with_a_child(options, context):
    child = subprocess.Popen(["sleep", "600"])
    (context.workspace / "grandchild").write_text(str(child.pid))
    time.sleep(options.seconds)


DOES = {
    "sleep": sleep,
    "sleep_in_a_task": sleep_in_a_task,
    "wait": wait,
    "raise": raise_it,
    "refuse": nothing,
    "nothing": nothing,
    "say": say,
    "leave": leave,
    "crash": crash,
    "block_with_a_child": block_with_a_child,
}

KIND = CheckKind(
    name="blocker", summary="blocks", options=Options, run=run, sample={"pid": 1, "runs": 1, "moment": None, "json": {}}
)
'''

LINE_THAT_BLOCKS = next(n for n, line in enumerate(SOURCE.splitlines(), 1) if "it blocks here" in line)


def install(folder: Path) -> Path:
    """The package in a folder that Python looks through when it is in PYTHONPATH."""
    about = folder / "opsdash_blocker-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: opsdash-blocker\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[opsdash.checks]\nblocker = {MODULE}\n")
    (folder / f"{MODULE}.py").write_text(SOURCE)
    return folder


@contextmanager
def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same, for this process and those that it starts."""
    install(folder)
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.syspath_prepend(folder)
    _forget_kinds()
    try:
        yield folder / f"{MODULE}.py"
    finally:
        import sys

        sys.modules.pop(MODULE, None)
        _forget_kinds()


def _forget_kinds() -> None:
    for known in (registry.check_kind, registry._names, registry._entry_points):
        known.cache_clear()


def component(
    does: str = "sleep", *, every: str = "1s", timeout: str = "20s", more: str = "", **options: object
) -> str:
    """A component with one check of that kind, `block`."""
    keys = "".join(f", {name}: {value}" for name, value in options.items())
    return (
        f"defaults: {{every: {every}, timeout: {timeout}, down_after: 1, up_after: 1}}\n"
        f"checks: {{block: {{kind: blocker, does: {does}{keys}{more}, facts: {{pid: pid, runs: runs}}}}}}\n"
    )


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has reaped yet has."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return not _exists(pid)
    return stat.rpartition(")")[2].split()[0] in {"Z", "X"}


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
