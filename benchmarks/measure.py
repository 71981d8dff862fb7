"""Processes, percentiles, the machine; and what a part of the benchmarks has to say in the end."""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class BenchmarkError(Exception):
    """What was measured is not what was meant to be measured."""


# --- what comes out ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Table:
    """A table of figures."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Bar:
    """Something that is promised, and what came out."""

    what: str
    bar: str
    measured: str
    met: bool


@dataclass(slots=True)
class Result:
    """What a part has to say. `raw` holds the figures behind the tables."""

    part: str
    title: str
    tables: list[Table] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)


# --- figures -------------------------------------------------------------------------------------------------------


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed (nearest rank); nan for none."""
    if not values:
        return float("nan")
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def median(values: Sequence[float]) -> float:
    """The middle; nan for none."""
    return statistics.median(values) if values else float("nan")


def ms(seconds: float, digits: int = 0) -> str:
    """Seconds as milliseconds for a table."""
    return f"{seconds * 1000:.{digits}f} ms"


# --- processes -----------------------------------------------------------------------------------------------------


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{each}/task").iterdir():
                found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def cpu_of(pid: int) -> float:
    """Seconds of processor time of a process, its descendants, and those of them that have ended."""
    total = 0.0
    for each in family(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(ticks) for ticks in fields[11:15]) / TICKS
    return total


def memory_of(pid: int) -> float:
    """Resident memory of a process and its descendants in MB."""
    total = 0
    for each in family(pid):
        with contextlib.suppress(OSError, IndexError):
            total += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * PAGE
    return total / 1e6


class Window:
    """Processor time and memory of processes over a span of time.

    with Window(engine.pid) as window:
        time.sleep(30)
    """

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self._memory: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.seconds = 0.0
        self.cpu = 0.0

    def __enter__(self) -> Self:
        self._cpu = self._now()
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.monotonic() - self._began
        self.cpu = self._now() - self._cpu
        self._over.set()
        self._thread.join()

    def _now(self) -> float:
        return sum(cpu_of(pid) for pid in self._pids)

    def _sample(self) -> None:
        while True:
            self._memory.append(sum(memory_of(pid) for pid in self._pids))
            if self._over.wait(1.0):
                return

    @property
    def share(self) -> float:
        """Part of one core."""
        return self.cpu / self.seconds

    @property
    def memory(self) -> float:
        """MB, the median over the window."""
        return median(self._memory)


# --- the machine ---------------------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    model = "unknown"
    with contextlib.suppress(OSError):
        rows = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((row.partition(":")[2].strip() for row in rows if row.startswith("model name")), model)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": model,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
    }


class Bystanders:
    """How much of the machine others used meanwhile: everything that was busy, less ourselves and our children."""

    def __init__(self) -> None:
        self._began = (time.monotonic(), _busy(), _ours())

    def share(self) -> float:
        """Part of all cores that went to others since this was made."""
        began, busy, ours = self._began
        spent = (time.monotonic() - began) * (os.cpu_count() or 1)
        return max(0.0, ((_busy() - busy) - (_ours() - ours)) / spent)


def _busy() -> float:
    fields = [int(ticks) for ticks in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _wait, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq + steal) / TICKS


def _ours() -> float:
    return cpu_of(os.getpid())
