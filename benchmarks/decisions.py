"""What a decision costs, and what it costs to remember one: the core and the journal alone, in this process.

The point of the first table is its rows: they must not grow with the number of components.
"""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Bar, Result, Table, median
from opsdash.core.decide import decide
from opsdash.core.evolve import evolve
from opsdash.core.index import index
from opsdash.model.inputs import Observed
from opsdash.model.now import Now
from opsdash.model.observation import Observation
from opsdash.model.operation import CheckSpec, Component, Operation, Threshold
from opsdash.model.records import CheckChanged
from opsdash.model.status import Reason, Status
from opsdash.model.world import Live, World
from opsdash.storage.codec import encode
from opsdash.storage.journal import Journal

if TYPE_CHECKING:
    from benchmarks.scale import Scale
    from opsdash.core.draft import Decision

TITLE = "Decisions and the journal"
SIZES = (100, 1_000, 10_000)
GROWS_BAR = 1.5
"""The largest operation's decision may cost so many times the smallest one's: caches get colder."""

BATCH = 100
BATCHES = (1, 100)
ONCE = Threshold(1, 1)


class Shell:
    """What the runner does with a decision, without a loop and without a disk."""

    def __init__(self, size: int) -> None:
        names = [f"web-{number}" for number in range(size)]
        checks = {
            f"{name}/home": CheckSpec(f"{name}/home", name, None, "home", "http", {}, down_after=ONCE, up_after=1)
            for name in names
        }
        components = {name: Component(name, name, checks=(f"{name}/home",)) for name in names}
        self.world = World()
        self.world.operation = index(Operation(components=components, checks=checks, sha256=""))
        self.live = Live()
        self.checks = list(checks)
        self._mono = 0.0

    def observe(self, check: str, status: Status) -> None:
        """One result of one check, decided about and applied."""
        self._mono += 0.001
        now = Now(wall=1e9 + self._mono, mono=self._mono, boot=self._mono)
        reason = Reason.STATUS if status is Status.DOWN else None
        seen = Observation(
            check=check,
            status=status,
            reason=reason,
            detail="",
            latency=0.04,
            requested=now.mono,
            finished=now.mono,
            at=now.wall,
            due=now.mono + 10,
        )
        self._apply(decide(self.world, self.live, Observed(seen), now))

    def observe_all(self, status: Status) -> None:
        """One result of every check."""
        for check in self.checks:
            self.observe(check, status)

    def _apply(self, decision: Decision) -> None:
        for record in decision.records:
            self.world.apply(evolve(self.world, record))
        for table, key, value in decision.live_patch:
            rows = self.live.tables[table]
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value


def run(scale: Scale) -> Result:
    result = Result("decisions", TITLE)
    costs = {size: (_unchanged(size, scale), _changed(size, scale)) for size in SIZES}
    columns: tuple[str, ...] = ("components", "nothing changed", "status changed")
    rows = [[f"{size:,}", _us(same), _us(changed)] for size, (same, changed) in costs.items()]
    result.tables.append(Table("One observation, decided about and applied", columns, rows))
    journal = [(size, *_journal(size, scale)) for size in BATCHES]
    columns = ("records at once", "encode, each", "append with fsync, each", "CPU of that, each")
    result.tables.append(Table("Journal", columns, [[str(n), *map(_us, figures)] for n, *figures in journal]))
    grows = costs[SIZES[-1]][0] / costs[SIZES[0]][0]
    what = f"cost of a decision with {SIZES[-1]:,} components instead of {SIZES[0]:,}"
    result.bars.append(Bar(what, f"at most {GROWS_BAR} times", f"{grows:.2f} times", grows <= GROWS_BAR))
    result.raw = {"decisions": costs, "journal": journal}
    result.notes.append(
        "A changed status is confirmed at once here, opens or ends an incident, and gives three records or more. "
        "Medians of many rounds; the journal lies in the system's temporary folder, whose disk decides about fsync."
    )
    return result


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} µs"


def _unchanged(size: int, scale: Scale) -> float:
    """Seconds per observation that agrees with what is known."""
    shell = Shell(size)
    shell.observe_all(Status.OK)
    return _cost(shell, [Status.OK] * scale.times(max(1, 20_000 // size)))


def _changed(size: int, scale: Scale) -> float:
    """Seconds per observation that confirms another status."""
    shell = Shell(size)
    shell.observe_all(Status.OK)
    flaps = [Status.DOWN, Status.OK] * scale.times(2)
    return _cost(shell, flaps, most=2_000)


def _cost(shell: Shell, statuses: list[Status], most: int | None = None) -> float:
    """Median over batches of neighbours. most: how many components take part."""
    checks = shell.checks[:most]
    found = []
    for status in statuses:
        for first in range(0, len(checks), BATCH):
            batch = checks[first : first + BATCH]
            began = time.perf_counter()
            for check in batch:
                shell.observe(check, status)
            found.append((time.perf_counter() - began) / len(batch))
    return median(found)


def _journal(size: int, scale: Scale) -> tuple[float, float, float]:
    """Seconds per record: to encode it, to append it durably, and processor time of appending."""
    records = [
        CheckChanged(
            1e9 + number, f"web-{number}/home", Status.DOWN, Status.OK, Reason.STATUS, "503 Service Unavailable"
        )
        for number in range(size)
    ]
    at = datetime(2020, 1, 1, tzinfo=UTC)
    encoding, appending, working = [], [], []
    with tempfile.TemporaryDirectory(prefix="opsdash-bench-") as folder:
        journal = Journal.open(Path(folder) / "journal")
        for _ in range(scale.times(100)):
            began = time.perf_counter()
            encoded = [encode(record) for record in records]
            encoding.append(time.perf_counter() - began)
            began, worked = time.perf_counter(), time.process_time()
            journal.append(encoded, at)
            appending.append(time.perf_counter() - began)
            working.append(time.process_time() - worked)
        journal.close()
    return median(encoding) / size, median(appending) / size, median(working) / size
