"""Whether opsdash itself is at work: what its dead man's switch and systemd's watchdog go by.

A program that runs is not yet one that watches. The event loop may hang, the poller may be stuck while the loop turns,
results may come in about which nobody decides, the journal may not be writable, an alarm may lie about unsent. Whoever
waits for a sign of life must not get one then, so it is given only while none of this is so.

Each obstacle says whether to begin anew may help, which is all that systemd's watchdog can do: a hung program is cured
by that, a full disk is not, and a board that still shows the operation would be lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from opsdash.model.now import Now
    from opsdash.model.world import Live, World

LOOP = 5.0
"""Seconds within which the poller comes round to its slots, which it does ten times a second."""

DECISIONS = 10.0
"""Seconds that something may wait to be decided about."""

OUTBOX = 300.0
"""Seconds that a message may be due without an attempt to send it."""

LATE_SHARE = 0.5
"""Share of the checks that have to be late. A few hang for reasons of their own; half of them do not."""

FIRST_RUN = 60.0
"""Seconds after the start within which every check has run, however seldom it does."""


class Hindrance(StrEnum):
    """What keeps opsdash from its work."""

    LOOP = "loop"
    DECISIONS = "decisions"
    CHECKS = "checks"
    JOURNAL = "journal"
    OUTBOX = "outbox"


HELPED_BY_RESTART = frozenset({Hindrance.LOOP, Hindrance.DECISIONS, Hindrance.CHECKS, Hindrance.OUTBOX})


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why there is no progress; `text` is the end of a sentence that begins with opsdash."""

    what: Hindrance
    text: str


@dataclass(frozen=True, slots=True)
class Signs:
    """What is seen of the engine at one moment; all times in monotonic seconds.

    turned: when the poller last came round.  decided: when the last decision was made.  waiting: whether anything waits
    to be decided about.  late, checks: how many checks have not come to their turn, of how many (see `lateness`).
    journal_error: why the journal cannot be written, "" if it can.  journal_hangs: a write of it does not come to its
    end.  outbox_waits: for how long the oldest message has been due without an attempt; None where that is not known.
    """

    now: float
    turned: float
    decided: float
    waiting: bool
    late: int
    checks: int
    journal_error: str = ""
    journal_hangs: bool = False
    outbox_waits: float | None = None


def obstacles(signs: Signs) -> tuple[Obstacle, ...]:
    """What stands in the way of progress; nothing while opsdash is at work."""
    found: list[Obstacle] = []
    turned = signs.now - signs.turned
    if turned > LOOP:
        found.append(Obstacle(Hindrance.LOOP, f"has started no check for {format_duration(turned)}"))
    undecided = signs.now - signs.decided
    if signs.waiting and undecided > DECISIONS:
        text = f"has decided nothing for {format_duration(undecided)}, and something waits"
        found.append(Obstacle(Hindrance.DECISIONS, text))
    if signs.checks and signs.late / signs.checks >= LATE_SHARE:
        text = f"has no result in time of {signs.late} of {signs.checks} checks"
        found.append(Obstacle(Hindrance.CHECKS, text))
    if signs.journal_error:
        found.append(Obstacle(Hindrance.JOURNAL, f"cannot write its journal: {signs.journal_error}"))
    elif signs.journal_hangs:
        found.append(Obstacle(Hindrance.JOURNAL, "waits for its journal to be written: is the disk dead?"))
    if signs.outbox_waits is not None and signs.outbox_waits > OUTBOX:
        text = f"has an alarm that nobody has tried to send for {format_duration(signs.outbox_waits)}"
        found.append(Obstacle(Hindrance.OUTBOX, text))
    return tuple(found)


def lateness(world: World, live: Live, now: Now, started: float) -> tuple[int, int]:
    """How many checks have not come to their turn, and how many there are that should.

    A result is late two intervals after it was due; a check that has not run yet, a minute after the start, or after
    three of its intervals. What others report, and what is paused, is left out.  started: monotonic seconds.
    """
    late = of = 0
    shown = live.tables["checks"]
    paused = world.tables["pauses"]
    for check, spec in world.operation.checks.items():
        if spec.passive or spec.component in paused:
            continue
        of += 1
        state = shown.get(check)
        if state is None or not state.runs:
            late += now.mono - started > max(FIRST_RUN, 3 * spec.every)
        else:
            late += now.mono > state.due + 2 * spec.every
    return late, of
