"""How readiness goes: one score a day is kept, and compared with the present one.

The first score of a day, in UTC, is that day's. A day on which no engine ran has none; the latest score before it is
then compared with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.model.readiness import ReadinessPoint
from opsdash.model.records import ReadinessNoted

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.core.reader import Reader
    from opsdash.model.inputs import ReadinessSeen
    from opsdash.model.world import Patch

DAY = 86400.0

TABLE = "readiness"

BACK = (7, 30, 90)
"""Days over which the score is compared."""

KEPT = 120
"""Days of which the score is remembered."""

STALE = 14
"""Days by which a score may be older than the day that is asked about, before it says nothing about it any more."""


def day_of(at: float) -> int:
    """The number of a day since 1970, in UTC."""
    return int(at // DAY)


def seen(draft: Draft, event: ReadinessSeen) -> None:
    """Keep the first score of a day."""
    at = draft.now.wall
    if draft.get(TABLE, str(day_of(at))) is None:
        draft.emit(ReadinessNoted(at, event.score, event.gaps))


def noted(world: Reader, record: ReadinessNoted) -> Patch:
    """What the record changes: its day has a score, and days that nobody asks about any more are let go."""
    day = day_of(record.at)
    patch: Patch = [(TABLE, key, None) for key in world.keys(TABLE) if int(key) <= day - KEPT]
    return [*patch, (TABLE, str(day), ReadinessPoint(record.at, record.score, record.gaps))]


def points(reader: Reader) -> list[ReadinessPoint]:
    """The scores that are kept, oldest first."""
    return [reader.get(TABLE, key) for key in sorted(reader.keys(TABLE), key=int)]


def difference(kept: list[ReadinessPoint], at: float, score: int, days: int) -> int | None:
    """By how much the score is higher than so many days ago; None where nobody knows."""
    then = day_of(at) - days
    before = [point for point in kept if then - STALE <= day_of(point.at) <= then]
    return score - before[-1].score if before else None
