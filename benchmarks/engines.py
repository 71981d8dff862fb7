"""A workspace on disk, and its engine as a process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.measure import BenchmarkError
from opsdash.service.places import places
from opsdash.service.wire import WireError, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

START_WITHIN = 60.0
PATH = "/opsdash"


@dataclass(frozen=True, slots=True)
class Web:
    """A component with one check of one URL, as `checks/ID.yaml` says it. `more`: further keys of the check."""

    id: str
    title: str
    url: str
    more: str = ""

    def yaml(self) -> str:
        return (
            f"title: {self.title}\n"
            "checks:\n"
            f'  home: {{kind: http, url: "{self.url}", expect: [status == 200]{self.more}}}\n'
        )


def write_workspace(folder: Path, components: Sequence[Web], defaults: str) -> None:
    """A workspace of these components. defaults: for its checks, as YAML."""
    (folder / "checks").mkdir(parents=True)
    (folder / "opsdash.yaml").write_text(f"title: Benchmark\ndefaults: {{{defaults}}}\n")
    for component in components:
        (folder / "checks" / f"{component.id}.yaml").write_text(component.yaml())


class RunningEngine:
    """The engine of a workspace."""

    def __init__(self, workspace: Path, process: subprocess.Popen[bytes]) -> None:
        self.where = places(workspace)
        self.pid = process.pid
        self._process = process
        self._report = workspace / "report.json"

    def ask(self, path: str) -> Any:
        """What the engine answers to a GET."""
        return asyncio.run(request(self.where.socket, "GET", path)).body

    def answers(self) -> bool:
        if self._process.poll() is not None:
            log = (self.where.workspace / "engine.log").read_text(errors="replace")[-2000:]
            raise BenchmarkError(f"the engine ended with {self._process.returncode}:\n{log}")
        try:
            self.ask("/v1/engine")
        except WireError:
            return False
        return True

    def rows(self) -> dict[str, dict[str, Any]]:
        """The wall, by component."""
        return {row["id"]: row for row in self.ask("/v1/snapshot")["rows"]}

    def await_statuses(self, expected: Mapping[str, str], within: float) -> None:
        """Wait until every component has its status. Raises BenchmarkError if they don't get there."""
        deadline = time.monotonic() + within
        while wrong := self.wrong(expected):
            if time.monotonic() > deadline:
                raise BenchmarkError(wrong)
            time.sleep(0.5)

    def wrong(self, expected: Mapping[str, str]) -> str:
        """How the components differ from what is expected, "" if they don't."""
        rows = self.rows()
        others = [
            f"{component} is {row['status']} ({row['reason']})" if (row := rows.get(component)) else f"no {component}"
            for component, status in expected.items()
            if component not in rows or rows[component]["status"] != status
        ]
        counts = Counter(row["status"] for row in rows.values())
        return (
            f"{len(others)} of {len(expected)} are not as expected: {', '.join(others[:3])}; {counts}" if others else ""
        )

    def report(self) -> dict[str, Any]:
        """What the engine counted since it was asked before; see `observed_engine`."""
        self._report.unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGUSR1)
        wait_until(self._report.exists, 10, "the engine did not report")
        found: dict[str, Any] = json.loads(self._report.read_text())
        return found

    def end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def engine(workspace: Path, environment: Mapping[str, str] | None = None) -> Iterator[RunningEngine]:
    """Start the engine of a workspace and wait until it answers; end it afterwards."""
    command = [sys.executable, "-m", "benchmarks.observed_engine", str(workspace), str(workspace / "report.json")]
    with (workspace / "engine.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **(environment or {})}
        )
    running = RunningEngine(workspace, process)
    try:
        wait_until(running.answers, START_WITHIN, "the engine did not answer")
        yield running
    finally:
        running.end()


def wait_until(done: Callable[[], bool], within: float, otherwise: str) -> None:
    """Look again and again. Raises BenchmarkError with `otherwise`."""
    deadline = time.monotonic() + within
    while not done():
        if time.monotonic() > deadline:
            raise BenchmarkError(otherwise)
        time.sleep(0.02)
