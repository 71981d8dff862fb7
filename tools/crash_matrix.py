"""The crash matrix in its long form: `make crash-matrix` writes docs/crash-matrix.md.

For every mechanism that has a server on this machine: each boundary of a switch by journal prefix, with and without the
effect of its action, and thirty pairs of `kill -9`. For every kind of injection: each point of a drill, and guards at
random moments (`tools.drill_matrix`). ARGS="pointer drill:haproxy" does some of it, ARGS=drills all of the second; the
rows of these are replaced. What was found is kept in tests/mechanisms/crash-matrix*.json, from which the page is made.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import pytest

from opsdash.engine.clock import system_clock
from tests.mechanisms.matrix import End, by_kill, by_prefix
from tests.mechanisms.mechanisms import MECHANISMS
from tools import drill_matrix
from tools.commit import commit
from tools.drill_matrix import DrillRow

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "crash-matrix.md"
RESULTS = ROOT / "tests" / "mechanisms" / "crash-matrix.json"
PAIRS = 30

INTRODUCTION = """# Crash matrix

<!-- Made by `make crash-matrix`; not to be edited. -->

## Switches

An engine dies in the middle of a switch, and the next one has to find out what became of it: without firing anything
again, and without calling a side the serving one that is not.

*By journal prefix*: a switch is carried out once against the real mechanism; then, for each of its records, a new
engine starts from the journal as it was up to there, once with the mechanism as it was before the action and once as
after it. *By kill -9*: an engine is killed at a random moment of a switch (2 to 600 ms after it was confirmed, the
sooner the more often), the next one at a random moment of its recovery (0 to 2.5 s after its start), and a third one is
asked.

A wrong end is a second action, or a side that is said to serve and does not. What ends `unknown` is not wrong: it says
so, and a person leads out of it."""


@dataclass
class Row:
    """What came of one mechanism. ends: how the pairs of `kill -9` ended, by state. wrong: in words."""

    kind: str
    date: str
    commit: str
    prefix: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    skipped: str = ""

    def add(self, prefix: list[End], killed: list[End]) -> None:
        """Count what was found."""
        self.prefix = len(prefix)
        self.ends = dict(sorted(Counter(end.state for end in killed).items()))
        self.wrong = [str(end) for end in (*prefix, *killed) if end.wrong]

    def line(self) -> str:
        """A row of the table."""
        if self.skipped:
            return f"| `{self.kind}` | not run: {self.skipped} | | | {self.date} | |"
        states = ", ".join(f"{count} {state}" for state, count in self.ends.items())
        pairs = f"{sum(self.ends.values())}: {states}"
        return f"| `{self.kind}` | {self.prefix} | {pairs} | **{len(self.wrong)}** | {self.date} | `{self.commit}` |"


async def tried(row: Row, pairs: int, seed: int) -> Row:
    """The matrix of one mechanism."""
    with tempfile.TemporaryDirectory(prefix="crash-") as name:
        folder = Path(name)
        try:
            with MECHANISMS[row.kind](folder) as mechanism:
                prefix = await by_prefix(folder, mechanism)
                row.add(prefix, await by_kill(folder, mechanism, pairs=pairs, seed=seed))
        except pytest.skip.Exception as why:
            row.skipped = str(why)
    print(row.line(), *(f"\n  {end}" for end in row.wrong), flush=True)
    return row


def alone(row: Row, pairs: int, seed: int) -> Row:
    """The same in a process of its own."""
    return asyncio.run(tried(row, pairs, seed))


def page() -> str:
    """The whole page, of all that is kept."""
    rows = list(kept().values())
    table = [
        "| mechanism | boundaries by prefix | pairs of kill -9, and how they ended | wrong ends | tried | commit |"
    ]
    table.append("|---|---|---|---|---|---|")
    ran = [row for row in rows if not row.skipped]
    total = sum(row.prefix + sum(row.ends.values()) for row in ran)
    about = f"{total} cases, **wrong ends: {sum(len(row.wrong) for row in rows)}**."
    switches = [INTRODUCTION, "", about, "", *table, *(row.line() for row in rows), ""]
    return "\n".join([*switches, drill_matrix.section(drill_matrix.kept())])


def kept() -> dict[str, Row]:
    """What was found before of switches, by mechanism."""
    if not RESULTS.exists():
        return {}
    return {row["kind"]: Row(**row) for row in json.loads(RESULTS.read_text(encoding="utf-8"))}


def keep(rows: list[Row]) -> None:
    """Write what was found of switches; what was known of the same mechanisms is replaced."""
    found = kept() | {row.kind: row for row in rows}
    ordered = [found[kind] for kind in MECHANISMS if kind in found]
    RESULTS.write_text(json.dumps([asdict(row) for row in ordered], indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Try them, and write the page."""
    parser = argparse.ArgumentParser(prog="make crash-matrix", description=__doc__)
    names = (*MECHANISMS, *drill_matrix.NAMES)
    parser.add_argument("kinds", nargs="*", choices=[*names, "drills", []], metavar="KIND", help=", ".join(names))
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of kills of a switch")
    parser.add_argument("--kills", type=int, default=drill_matrix.RANDOM_KILLS, help="at random moments of a guard")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="mechanisms, or cases of drills, at a time")
    arguments = parser.parse_args()
    wanted = set(arguments.kinds or names)
    wanted |= set(drill_matrix.NAMES) if "drills" in wanted else set()
    date = f"{datetime.fromtimestamp(system_clock().wall, UTC):%Y-%m-%d}"
    switches = [Row(kind, date, commit()) for kind in MECHANISMS if kind in wanted]
    drills = [DrillRow(name.partition(":")[2], date, commit()) for name in drill_matrix.NAMES if name in wanted]
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        rows = list(pool.map(alone, switches, repeat(arguments.pairs), repeat(arguments.seed)))
    keep(rows)
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        for drill in drills:
            drill_matrix.try_row(drill, pool, arguments.kills)
            drill_matrix.keep(drill)
            PAGE.write_text(page(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
    print(f"written: {PAGE}")
    return 1 if any(row.wrong for row in rows) or any(row.wrong for row in drills) else 0


if __name__ == "__main__":
    sys.exit(main())
