"""Times in which a check was not measured: the engine was off or killed, the machine was suspended, polling was paused.

Nothing is written while nobody watches, so a gap is what lies between two results that are too far apart. That holds
however the engine ended, and needs no goodbye of it. Where single results are no longer kept, their sums by minute or
by hour tell as much, to the minute or hour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opsdash.storage.samples import HOUR, MINUTE, Gap

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

INTERVALS: Final = 3
"""Intervals without a result that make a gap: a result counts until two of them after the next one was due."""

SLACK: Final = 5.0
"""Seconds that a run may take beside."""

_EARLIER: Final = """SELECT EXISTS(SELECT 1 FROM sample WHERE check_id = :check AND at_ms < :since * 1000)
    OR EXISTS(SELECT 1 FROM rollup WHERE check_id = :check AND step IN (60, 3600) AND start < :since)"""
_FIRST_SAMPLE: Final = "SELECT min(at_ms) / 1000.0 FROM sample WHERE check_id = ?"
_FIRST_MINUTE: Final = "SELECT min(start) FROM rollup WHERE check_id = ? AND step = 60"
_ENDS: Final = """SELECT min(at), max(at) FROM
    (SELECT {at} AS at FROM {table} WHERE check_id = :check{step} AND {at} >= :since AND {at} < :until)"""
_FAR_APART: Final = """SELECT before, at FROM
    (SELECT {at} AS at, lag({at}) OVER (ORDER BY {at}) AS before FROM {table}
     WHERE check_id = :check{step} AND {at} >= :since AND {at} < :until)
    WHERE at - before > :limit ORDER BY at"""
_SAMPLES: Final = {"at": "at_ms / 1000.0", "table": "sample", "step": ""}
_SUMS: Final = {"at": "start", "table": "rollup", "step": " AND step = :step"}


def limit_of(every: float) -> float:
    """Seconds between two results from which on nothing was known in between."""
    return INTERVALS * every + SLACK


def gaps(db: sqlite3.Connection, check_id: int, since: float, until: float, every: float) -> list[Gap]:
    """The gaps of a check in a period, oldest first. What was before its first result of all is none.

    since, until: seconds since 1970 UTC.  every: seconds between two results.
    """
    limit = limit_of(every)
    known = since if db.execute(_EARLIER, {"check": check_id, "since": since}).fetchone()[0] else None
    found: list[Gap] = []
    for first, last, inside in _covered(db, check_id, since, until, limit):
        if known is not None and first - known > limit:
            found.append(Gap(known, first))
        found += inside
        known = last if known is None else max(known, last)
    if known is not None and until - known > limit:
        found.append(Gap(known, until))
    return found


def _covered(
    db: sqlite3.Connection, check_id: int, since: float, until: float, limit: float
) -> Iterator[tuple[float, float, list[Gap]]]:
    """What is known in hours, in minutes and in single results, each where there is nothing finer: from when to when,
    and the gaps in between.
    """
    samples = _or_never(db.execute(_FIRST_SAMPLE, (check_id,)).fetchone()[0])
    minutes = min(_or_never(db.execute(_FIRST_MINUTE, (check_id,)).fetchone()[0]), samples)
    for parts, step, start, end in (
        (_SUMS, HOUR, since - HOUR, min(minutes, until)),
        (_SUMS, MINUTE, max(since, minutes) - MINUTE, min(samples, until)),
        (_SAMPLES, 0, max(since, samples), until),
    ):
        asked = {"check": check_id, "step": step, "since": start, "until": end, "limit": limit + step}
        first, last = db.execute(_ENDS.format(**parts), asked).fetchone()
        if first is not None:
            rows = db.execute(_FAR_APART.format(**parts), asked)
            yield max(first, since), last + step, [Gap(before + step, at) for before, at in rows]


def _or_never(at: float | None) -> float:
    return float("inf") if at is None else at


def of_all(gaps_of: Sequence[Iterable[Gap]]) -> list[Gap]:
    """The times in which none of several checks was measured, oldest first; none where there are no checks."""
    if not gaps_of:
        return []
    common = list(gaps_of[0])
    for others in gaps_of[1:]:
        common = [
            Gap(max(one.since, other.since), min(one.until, other.until))
            for one in common
            for other in others
            if max(one.since, other.since) < min(one.until, other.until)
        ]
    return common
