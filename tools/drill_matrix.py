"""The part of the crash matrix that is about drills, in its long form: see `tools.crash_matrix`.

Each kind of injection: every point of a drill, with whoever can be killed there. And `guard`: a guard whose engine is
killed at random moments. What was found is kept in tests/mechanisms/crash-matrix-drills.json.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lifecycle.drill_faults import FAULTS
from tests.lifecycle.drill_matrix import End, cells, tried
from tests.lifecycle.guard_kills import LATEST, RandomEnd, at_random

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Executor

    from tests.lifecycle.drill_matrix import Cell

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "tests" / "mechanisms" / "crash-matrix-drills.json"

GUARD = "guard"
RANDOM_KILLS = 200
NAMES = (*(f"drill:{kind}" for kind in FAULTS), f"drill:{GUARD}")
"""What can be tried, as the command line has it; `drills` is all of it."""

INTRODUCTION = f"""## Drills

A real engine with a real guard runs a drill that really breaks something, and somebody gets `kill -9`: at each record
of the drill in the journal once it is on the disk and before anything follows from it, at each line of the guard's log,
and 150 ms after the engine has begun to make the fault. *Engine*, *guard*, *both*; and the *client* from which it was
begun: `opsdash drill run` in a terminal, or the board. When the engine is dead and its guard lives, no other engine
is started before the target itself says that the fault is gone. Then the next engine is started, and asked, and so is
the target, by other means than opsdash's: its front door, its memory, its files. `pretend` breaks nothing; there the
component has to be ok again, in the eyes of the next engine.

A wrong end is: the fault is in place when all is over; it is in place, and opsdash shows nothing of it; a run that was
cut short is called `passed`; the death of a client changes anything at all; or a run never ends. HAProxy is a real one;
Toxiproxy, systemd and Chaos Toolkit are stand-ins that answer as the real ones do.

*Guards*: a small engine makes a fault with a real guard, and is killed at a random moment, up to {LATEST * 1000:.0f} ms
after one of its steps, each as likely as the others. The guard alone takes the fault back; what the next engine would
find is nothing."""


@dataclass
class DrillRow:
    """What came of one kind of injection, or of `guard`.

    killed: how often who was.  broken: how often the fault was in place then.  ends: how often which verdict came of
    it; of `guard` how often the engine had come to which step.  wrong: in words.
    """

    kind: str
    date: str
    commit: str
    killed: dict[str, int] = field(default_factory=dict)
    broken: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def cases(self) -> int:
        """How many were tried."""
        return sum(self.ends.values())

    def add(self, found: list[End]) -> None:
        """Count what came of the cells of a kind."""
        self.killed = _counted(end.killed.replace("guard engine", "both") or "nobody" for end in found)
        self.broken = sum(end.broken for end in found)
        self.ends = _counted(end.verdict or "no verdict" for end in found)
        self.wrong = [str(end) for end in found if end.wrong]

    def add_random(self, found: list[RandomEnd]) -> None:
        """Count what came of random moments."""
        self.ends = _counted(end.step for end in found)
        self.wrong = [end.wrong for end in found if end.wrong]

    def line(self) -> str:
        """A row of the table of its kind."""
        if self.skipped:
            return f"| `{self.kind}` | not run: {self.skipped} | | | | {self.date} | |"
        known = f"**{len(self.wrong)}** | {self.date} | `{self.commit}` |"
        if self.kind == GUARD:
            return f"| {self.cases} | {_listed(self.ends)} | {known}"
        return (
            f"| `{self.kind}` | {self.cases}: {_listed(self.killed)} | {self.broken} | {_listed(self.ends)} | {known}"
        )


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def section(rows: list[DrillRow]) -> str:
    """What the page says of drills."""
    kinds, guards = [row for row in rows if row.kind != GUARD], [row for row in rows if row.kind == GUARD]
    total, wrong = sum(row.cases for row in rows), sum(len(row.wrong) for row in rows)
    lines = [INTRODUCTION, "", f"{total} cases, **wrong ends: {wrong}**.", ""]
    lines.append(
        "| injection | cases, and who was killed | fault in place then | verdicts | wrong ends | tried | commit |"
    )
    lines += ["|---|---|---|---|---|---|---|", *(row.line() for row in kinds)]
    if guards:
        lines += ["", "| guards at random moments | where the engine was | wrong ends | tried | commit |"]
        lines += ["|---|---|---|---|---|", *(row.line() for row in guards)]
    return "\n".join([*lines, ""])


def kept() -> list[DrillRow]:
    """What was found before, in the order of the page."""
    if not RESULTS.exists():
        return []
    return [DrillRow(**row) for row in json.loads(RESULTS.read_text(encoding="utf-8"))]


def keep(row: DrillRow) -> None:
    """Write what was found; what was known of the same kind is replaced."""
    found = {each.kind: each for each in (*kept(), row)}
    ordered = [found[kind] for kind in (*FAULTS, GUARD) if kind in found]
    RESULTS.write_text(json.dumps([asdict(each) for each in ordered], indent=1) + "\n", encoding="utf-8")


def try_row(row: DrillRow, pool: Executor, kills: int) -> None:
    """Try all cases of a kind, in the processes of `pool`; each wrong end is told as it comes."""
    if row.kind == GUARD:
        row.add_random(list(pool.map(_random, range(kills))))
    else:
        ends = []
        for end in pool.map(_alone, cells(row.kind)):
            if isinstance(end, str):
                row.skipped = end
                break
            ends.append(end)
            if end.wrong:
                print(f"  {end}", flush=True)
        row.add(ends)
    print(row.line(), flush=True)


def _alone(cell: Cell) -> End | str:
    """One case; why it could not be tried, where a server is missing."""
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        try:
            return asyncio.run(tried(Path(folder, "w"), cell))
        except pytest.skip.Exception as why:
            return str(why)


def _random(seed: int) -> RandomEnd:
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        return asyncio.run(at_random(Path(folder), seed))
