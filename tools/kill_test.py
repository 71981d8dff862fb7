"""The kill tests in their long form: `make kill-test` kills engines 200 times and writes docs/kill-test.md.

The kills are spread over several operations, each with a workspace, an engine and a seed of its own; ARGS="--kills 40"
does fewer, "--seed 7" others.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
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
from typing import TYPE_CHECKING

from opsdash.engine.clock import system_clock
from tests.lifecycle.kills import COMPONENTS, LATEST, SOONEST, besieged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.lifecycle.kills import Siege

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "kill-test.md"
KILLS = 200
SIEGES = 4

INTRODUCTION = f"""# Kill tests

<!-- Made by `make kill-test`; not to be edited. -->

An engine is killed in the middle of whatever it does, again and again, and nothing that it had said yes to is lost.

Two people do all that can be done with incidents and runbooks, as fast as they are answered: notes, corrections,
acknowledgements, severities, handovers, marks of changes, maintenance, ticks and marks of steps, parameters, blocks
that run programs, decisions about blocks in doubt, and taking a run over from each other. {len(COMPONENTS)} components
fail until every channel was told, and recover. One channel is a file; the other is a server that is sometimes slow,
sometimes busy (503), loses the connection after it has read, or says 200 and has lost the message.

`kill -9` comes {SOONEST * 1000:.0f} ms to {LATEST:.0f} s after something was sent, the sooner the more often; or while
a message is being sent; or during the start. In some turns no file can grow for a while before it: what is wanted then
has to be refused in words, with nothing of it done, and is accepted under the same key when there is room. A request
whose answer was lost is mostly asked again of the next engine, under its key."""

CHECKED = """After each kill and before the next one, in the journal:

* every request that was accepted is there exactly once, with what followed from it, also one that was asked twice; one
  that was refused is not; one that was never answered is there once or not at all; what was there before is as it was
* every program of a block that ran was on record before, ran once, and not again without somebody's decision

In what the next engine shows: every note with its corrections, acknowledgements, ticks, marks, parameters, who drives a
run, maintenance, and every run, open or closed.

And when all is well again: every message that was queued has arrived, in order, under one key and with one text; every
alarm that lasted was told over both channels, no beginning twice, each end after its beginning; nothing waits in the
outbox; `opsdash journal verify` finds nothing; the documents that the engines wrote are those that `opsdash journal
rebuild` makes; every incident has its report; no engine has said that there is a bug."""


@dataclass
class Found:
    """What came of one operation. kills: by what went on; figures: how much there was of what; wrong: in words."""

    kills: Counter[str] = field(default_factory=Counter)
    figures: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, siege: Siege) -> Found:
        """As it was when all was over."""
        records = Counter(entry.type for entry in siege.chronicle.entries)
        ledger, arrived = siege.ledger, siege.arrived()
        figures = Counter(
            {
                "requests that were accepted": len(ledger.accepted),
                "requests that were refused": ledger.refused.total(),
                "requests that were never answered": len(ledger.lost),
                "requests that were asked again after a kill": ledger.repeated,
                "journal entries": len(siege.chronicle.entries),
                "ticks and marks of steps": records["run_ticked"] + records["step_marked"],
                "blocks that were started": records["block_started"],
                "blocks in doubt after a kill": records["block_decided"],
                "times that somebody took a run over": records["run_taken"],
                "alarms that were raised": records["alarm_raised"],
                "messages that were queued": records["message_queued"],
                "messages that arrived, with those that came twice": sum(map(len, arrived.values())),
                "turns with a full disk": siege.tally.full,
                **{f"comparisons: {name}": count for name, count in siege.tally.checks.items()},
            }
        )
        return cls(Counter(siege.tally.kills), figures, siege.wrong)


def alone(kills: int, seed: int) -> Found:
    """One operation, in a process of its own."""

    def told(number: int, siege: Siege) -> None:
        if (number + 1) % 10 == 0:
            print(f"seed {seed}: {number + 1} of {kills} kills, {len(siege.wrong)} wrong", flush=True)

    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    found = Found.of(asyncio.run(besieged(folder / "w", kills, seed, told)))
    if found.wrong:
        print(f"seed {seed}, kept in {folder}:", *found.wrong, sep="\n  ", flush=True)
    else:
        shutil.rmtree(folder)
    return found


def commit() -> str:
    """The commit that is tried, with a mark where the tree is not that."""
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def page(found: Sequence[Found], date: str, tried: str) -> str:
    """The whole page."""
    kills, figures = Counter[str](), Counter[str]()
    for each in found:
        kills.update(each.kills)
        figures.update(each.figures)
    wrong = [text for each in found for text in each.wrong]
    words = {
        "request": "while people worked",
        "message": "while a message was being sent",
        "start": "during a start",
        "full disk": "after a disk that was full",
    }
    rows = [f"| killed {words[how]} | {kills[how]:,} |" for how in words]
    rows += [f"| {name} | {count:,} |" for name, count in figures.items()]
    verdict = f"{kills.total()} kills of {len(found)} operations on {date}, commit `{tried}`: **{len(wrong)} wrong**."
    listed = ["", *(f"* {each}" for each in wrong)] if wrong else []
    table = ["| what there was | how often |", "|---|---|", *rows]
    return "\n".join([INTRODUCTION, "", verdict, *listed, "", *table, "", "## What is checked", "", CHECKED, ""])


def main() -> int:
    """Kill them, and write the page."""
    parser = argparse.ArgumentParser(prog="make kill-test", description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="operations at a time")
    arguments = parser.parse_args()
    date, tried = f"{datetime.fromtimestamp(system_clock().wall, UTC):%Y-%m-%d}", commit()
    share = -(-arguments.kills // SIEGES)
    seeds = range(arguments.seed, arguments.seed + SIEGES)
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        found = list(pool.map(alone, repeat(share), seeds))
    PAGE.write_text(page(found, date, tried), encoding="utf-8")
    print(f"written: {PAGE}")
    return 1 if any(each.wrong for each in found) else 0


if __name__ == "__main__":
    sys.exit(main())
