"""The crash matrix in its long form: `make crash-matrix` writes docs/crash-matrix.md.

For every mechanism that has a server on this machine: each boundary of a switch by journal prefix, with and without the
effect of its action, and thirty pairs of `kill -9`. ARGS="pointer haproxy --pairs 5" does some of it, and only prints.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import pytest

from opsdash.engine.clock import system_clock
from tests.mechanisms.matrix import End, by_kill, by_prefix
from tests.mechanisms.mechanisms import MECHANISMS

PAGE = Path(__file__).parents[1] / "docs" / "crash-matrix.md"
PAIRS = 30

INTRODUCTION = """# Crash matrix

<!-- Made by `make crash-matrix`; not to be edited. -->

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
    """What came of one mechanism."""

    kind: str
    prefix: list[End] = field(default_factory=list)
    killed: list[End] = field(default_factory=list)
    skipped: str = ""

    @property
    def wrong(self) -> list[End]:
        """The ends that should not be."""
        return [end for end in (*self.prefix, *self.killed) if end.wrong]

    def line(self) -> str:
        """A row of the table."""
        if self.skipped:
            return f"| `{self.kind}` | not run: {self.skipped} | | |"
        states = ", ".join(f"{count} {state}" for state, count in sorted(Counter(e.state for e in self.killed).items()))
        return f"| `{self.kind}` | {len(self.prefix)} | {len(self.killed)}: {states} | **{len(self.wrong)}** |"


async def tried(kind: str, pairs: int, seed: int) -> Row:
    """The matrix of one mechanism."""
    row = Row(kind)
    with tempfile.TemporaryDirectory(prefix="crash-") as name:
        folder = Path(name)
        try:
            with MECHANISMS[kind](folder) as mechanism:
                row.prefix = await by_prefix(folder, mechanism)
                row.killed = await by_kill(folder, mechanism, pairs=pairs, seed=seed)
        except pytest.skip.Exception as why:
            row.skipped = str(why)
    print(row.line(), *(f"\n  {end}" for end in row.wrong), flush=True)
    return row


def alone(kind: str, pairs: int, seed: int) -> Row:
    """The same in a process of its own."""
    return asyncio.run(tried(kind, pairs, seed))


def commit() -> str:
    """The commit that was tried, with a mark where the tree was not that."""
    words = ["git", "-C", str(PAGE.parents[1]), "describe", "--always", "--dirty"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def page(rows: list[Row], now: datetime, pairs: int) -> str:
    """The whole page."""
    table = [
        "| mechanism | boundaries by prefix | pairs of kill -9, and how they ended | wrong ends |",
        "|---|---|---|---|",
    ]
    wrong = sum(len(row.wrong) for row in rows)
    ran = [row for row in rows if not row.skipped]
    total = sum(len(row.prefix) + len(row.killed) for row in ran)
    about = (
        f"{now:%Y-%m-%d}, commit `{commit()}`, {platform.system()}, Python {platform.python_version()}: "
        f"{total} cases, {pairs} pairs for each mechanism, **wrong ends: {wrong}**."
    )
    return "\n".join([INTRODUCTION, "", about, "", *table, *(row.line() for row in rows), ""])


def main() -> int:
    """Try them all, and write the page if it was all of them."""
    parser = argparse.ArgumentParser(prog="make crash-matrix", description=__doc__)
    parser.add_argument(
        "kinds", nargs="*", choices=[*MECHANISMS, []], help="some of them; then the page stays as it is"
    )
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="mechanisms at a time")
    arguments = parser.parse_args()
    kinds = arguments.kinds or list(MECHANISMS)
    now = datetime.fromtimestamp(system_clock().wall, UTC)
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        rows = list(pool.map(alone, kinds, repeat(arguments.pairs), repeat(arguments.seed)))
    if not arguments.kinds:
        PAGE.write_text(page(rows, now, arguments.pairs), encoding="utf-8")
        print(f"written: {PAGE}")
    return 1 if any(row.wrong for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
