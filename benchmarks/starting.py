"""How long everything takes to start: the board's first rows, `opsdash status`, imports."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.engines import PATH, Web, engine, wait_until, write_workspace
from benchmarks.measure import Bar, BenchmarkError, Result, Table, median, ms, percentile
from benchmarks.targets import ADDRESS, Targets
from benchmarks.terminal import Terminal
from opsdash.service.places import is_locked, places, read_engine_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.scale import Scale

TITLE = "Starting"
COMPONENTS = 100
ATTACH_BAR = 0.5
SPAWN_BAR = 1.0
STATUS_BAR = 0.15
FIRST_ROW = r"Web 00\d\d"
IMPORTS = {
    "python alone": "pass",
    "what `opsdash status` imports": "import opsdash.cli, opsdash.cli.status",
    "the board": "import opsdash.cli, opsdash.app, opsdash.board.app, opsdash.service.client",
    "the engine": "import opsdash.app, opsdash.config.loader, opsdash.engine.engine, opsdash.service.server",
}


def run(scale: Scale) -> Result:
    result = Result("starting", TITLE)
    with tempfile.TemporaryDirectory(prefix="opsdash-bench-") as temporary, Targets(COMPONENTS) as targets:
        workspace = Path(temporary) / "workspace"
        components = [
            Web(f"web-{number:04}", f"Web {number:04}", f"http://{ADDRESS}:{port}{PATH}")
            for number, port in enumerate(targets.ports)
        ]
        write_workspace(workspace, components, "every: 10s")
        spawning = [_first_rows(workspace, spawned=True) for _ in range(scale.times(4))]
        with engine(workspace) as running:
            running.await_statuses({each.id: "ok" for each in components}, within=30)
            attaching = [_first_rows(workspace) for _ in range(scale.times(8))]
            answering = [_status(workspace) for _ in range(scale.times(15))]
    rows: list[tuple[str, Sequence[float], float | None]] = [
        ("first rows of the board, attached to an engine", attaching, ATTACH_BAR),
        ("first rows of the board, which starts an engine", spawning, SPAWN_BAR),
        ("`opsdash status`", answering, STATUS_BAR),
    ]
    rows += [
        (f"import: {name}", [_python(code) for _ in range(scale.times(7))], None) for name, code in IMPORTS.items()
    ]
    columns = ("from the command to", "times", "median", "slowest")
    cells = [[name, str(len(found)), ms(median(found)), ms(percentile(found, 1))] for name, found, _ in rows]
    result.tables.append(Table(f"{COMPONENTS} components", columns, cells))
    for name, found, bar in rows:
        if bar is not None:
            middle = median(found)
            result.bars.append(Bar(f"{name}, median", f"within {ms(bar)}", ms(middle), middle <= bar))
    result.raw = {name: list(found) for name, found, _ in rows}
    return result


def _first_rows(workspace: Path, *, spawned: bool = False) -> float:
    """Seconds from the command to the first component on the terminal."""
    command = [sys.executable, "-m", "opsdash", "-w", str(workspace)]
    if spawned:
        command.append("--ephemeral")
        if is_locked(places(workspace)):
            raise BenchmarkError("an engine runs already")
    with Terminal(command, {}) as terminal:
        _, seen = terminal.wait_for(FIRST_ROW, 0, 30)
        took = seen - terminal.began
    if spawned:
        _end_engine(workspace)
    return took


def _end_engine(workspace: Path) -> None:
    where = places(workspace)
    wait_until(lambda: read_engine_file(where) is not None, 10, "the engine did not say who it is")
    found = read_engine_file(where)
    assert found is not None
    with contextlib.suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGTERM)
    wait_until(lambda: not is_locked(where), 20, "the engine did not end")


def _status(workspace: Path) -> float:
    began = time.monotonic()
    command = [sys.executable, "-m", "opsdash", "status", "-w", str(workspace)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    took = time.monotonic() - began
    if done.returncode != 0 or "web-0099" not in done.stdout:
        raise BenchmarkError(f"`opsdash status` ended with {done.returncode}: {done.stdout[-300:]}{done.stderr[-300:]}")
    return took


def _python(code: str) -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.monotonic() - began
