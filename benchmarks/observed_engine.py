"""The engine of a workspace, as `opsdash engine` runs it, which writes down how late its checks start when asked to.

    python -m benchmarks.observed_engine WORKSPACE REPORT

On SIGUSR1 it replaces REPORT by what happened since the signal before: runs, skipped slots, and by how much the start
of a run came after its slot. Names that end in `.hangs.test` take half a minute to look up, as with a name server that
does not answer; the lookup blocks a thread, as the system's does.
"""

from __future__ import annotations

import functools
import json
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import opsdash.engine.engine
from benchmarks.measure import percentile
from opsdash.app import run_engine
from opsdash.engine.engine import Engine
from opsdash.kinds.resolver import Resolver

HANGS = ".hangs.test"
HANGS_FOR = 30.0


class ObservedEngine(Engine):
    """An engine that leaves its figures in a file."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._before = (0, 0)
        signal.signal(signal.SIGUSR1, lambda *_: self._report(Path(sys.argv[2])))

    def _report(self, into: Path) -> None:
        stats = self.poller.stats
        late = list(stats.lateness)
        stats.lateness.clear()
        runs, skipped = self._before
        self._before = (stats.runs, stats.skipped)
        report = {
            "runs": stats.runs - runs,
            "skipped": stats.skipped - skipped,
            "late_p50": percentile(late, 0.5),
            "late_p99": percentile(late, 0.99),
            "late_max": max(late, default=0.0),
            "starts": len(late),
        }
        fresh = into.with_suffix(".new")
        fresh.write_text(json.dumps(report))
        fresh.replace(into)


def lookup(host: str, *arguments: Any, **options: Any) -> Any:
    """`getaddrinfo`, but for names that hang."""
    if host.endswith(HANGS):
        threading.Event().wait(HANGS_FOR)
        raise socket.gaierror(socket.EAI_AGAIN, "the name server did not answer")
    return socket.getaddrinfo(host, *arguments, **options)


if __name__ == "__main__":
    setattr(opsdash.engine.engine, "Engine", ObservedEngine)  # noqa: B010 - mypy forbids the plain form
    setattr(opsdash.engine.engine, "Resolver", functools.partial(Resolver, lookup))  # noqa: B010
    sys.exit(run_engine(Path(sys.argv[1])))
