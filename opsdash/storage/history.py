"""History: what every check measured, as a time series in SQLite. Losing it costs charts, never operations.

Samples are written in one batch a second and kept for two days; `maintain` sums them up into minutes and
those into hours, which are kept longer and answer questions about long periods: counts per status and a
mergeable histogram of latencies (see `histogram`). A minute is summed up from its samples, all at once, so
doing it twice is the same as once; a sample that comes late, or a clock set back, only makes its minutes due
again.

A time without samples has no rows: a gap stays a gap, and is never drawn as fine. A share of uptime counts
unknown samples, and missing ones where the interval is known, as not up.

One process writes (the engine), in one thread at a time; others may read beside it (WAL). A database that is
damaged is set aside as `….broken`, and a new one begun, with a notice.
"""

from __future__ import annotations

import math
from collections import defaultdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from opsdash.errors import HistoryError
from opsdash.storage import gaps
from opsdash.storage.history_file import HistoryFile
from opsdash.storage.samples import (
    CODES,
    HOUR,
    MINUTE,
    STATUSES,
    Change,
    Counts,
    Gap,
    Maintained,
    Percentiles,
    Point,
    Retention,
    Sample,
    Sum,
    Uptime,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from opsdash.model.status import Status
    from opsdash.storage.disk import Notice

MOST_POINTS: Final = 20_000

_DELETED_AT_ONCE: Final = 100_000
_LATE: Final = 5


class History:
    """The time series of one workspace. Every time is an argument, in seconds since 1970 UTC."""

    def __init__(self, path: Path, *, retention: Retention | None = None, read_only: bool = False) -> None:
        """Open the database at `path`, created if there is none. `read_only`: beside or without an engine.

        Raises HistoryError when it cannot be opened at all; a damaged one is set aside.
        """
        self.path = path
        self.retention = retention or Retention()
        self._names: dict[str, dict[str, int]] = {}
        self._last: dict[int, tuple[int, int]] | None = None
        self._file = HistoryFile(path, read_only=read_only, forget=self._forget)

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What was found and survived since the start."""
        return tuple(self._file.notices)

    def close(self) -> None:
        """Let go of the database."""
        self._file.close()

    # --- writing ---

    def write(self, batch: Sequence[Sample]) -> None:
        """Record `batch` in one transaction. Raises HistoryError; then nothing of it is recorded."""
        if batch:
            self._file.transaction(lambda: self._write(batch))

    def component_change(self, component: str, at: float, before: Status | None, after: Status, reason: str) -> None:
        """Record that a component's status changed. Raises HistoryError."""

        def insert() -> None:
            row = (component, _ms(at), None if before is None else CODES[before], CODES[after])
            reason_id = self._id("reasons", reason)
            self._file.db.execute("INSERT OR REPLACE INTO component_change VALUES (?, ?, ?, ?, ?)", (*row, reason_id))

        self._file.transaction(insert)

    def maintain(self, now: float) -> Maintained:
        """Sum up minutes and hours that are complete, and delete what has had its time. To be called every
        minute.

        It does a bounded amount of work, so that it never holds up writing for long. Raises HistoryError.
        """
        return self._file.transaction(lambda: self._maintain(int(now)))

    # --- questions ---

    def uptime(self, check: str, since: float, until: float, every: float | None = None) -> Uptime:
        """Counts and the share of uptime. With `every`, the check's interval in seconds, missing samples
        count.
        """
        counts = Counts(*self._sum(check, since, until).counts)
        missing = None if every is None else self._missing(check, since, until, every, counts.total)
        measured = counts.total - counts.paused + (missing or 0)
        share = (counts.ok + counts.degraded) / measured if measured > 0 else None
        definition = "ok and degraded samples, of all but paused ones; unknown is not up"
        definition += "; missing samples are not known" if missing is None else ", and neither is missing"
        return Uptime(counts, missing, share, definition)

    def gaps(self, check: str, since: float, until: float, every: float) -> list[Gap]:
        """When a check was not measured although it should have been, `every` so many seconds; oldest first."""

        def find() -> list[Gap]:
            found = self._file.db.execute("SELECT id FROM checks WHERE name = ?", (check,)).fetchone()
            return [] if found is None else gaps.gaps(self._file.db, int(found[0]), since, until, every)

        return self._file.run(find)

    def percentiles(
        self, check: str, since: float, until: float, wanted: Sequence[float] = (50, 95, 99)
    ) -> Percentiles:
        """Latencies in ms by percentile, within 4.5 %, of every sample that has one."""
        total = self._sum(check, since, until)
        values = {percent: total.percentile(percent / 100) for percent in wanted}
        present = {percent: value for percent, value in values.items() if value is not None}
        return Percentiles(total.histogram.total(), MappingProxyType(present))

    def series(self, check: str, since: float, until: float, step: float) -> list[Point]:
        """A point for every `step` seconds, gaps included. Steps of whole minutes or hours are answered from
        sums, and then begin at a whole minute or hour; they reach back as far as those are kept.
        """
        unit = HOUR if step % HOUR == 0 else MINUTE if step % MINUTE == 0 else None
        if step <= 0 or (until - since) / step > MOST_POINTS:
            raise HistoryError(f"a chart has at most {MOST_POINTS} points: ask for a longer step or a shorter period")
        start = since if unit is None else since // unit * unit
        sums = [Sum() for _ in range(max(0, math.ceil((until - start) / step)))]

        def collect() -> None:
            for at_ms, part in self._parts(check, _ms(start), _ms(until), unit):
                sums[min(int((at_ms / 1000 - start) // step), len(sums) - 1)].add(part)

        self._file.run(collect)
        return [total.point(start + index * step) for index, total in enumerate(sums)]

    def changes(self, check: str, since: float, until: float, limit: int = 1000) -> list[Change]:
        """Changes from one sample of a check to the next, the newest first."""
        query = (
            "SELECT c.name, x.at_ms, x.before, x.after, r.name FROM check_change x "
            "JOIN checks c ON c.id = x.check_id JOIN reasons r ON r.id = x.reason_id "
            "WHERE c.name = ? AND x.at_ms >= ? AND x.at_ms < ? ORDER BY x.at_ms DESC LIMIT ?"
        )
        return self._changes(query, check, since, until, limit)

    def component_changes(self, component: str, since: float, until: float, limit: int = 1000) -> list[Change]:
        """Changes of a component's status, the newest first."""
        query = (
            "SELECT x.component, x.at_ms, x.before, x.after, r.name FROM component_change x "
            "JOIN reasons r ON r.id = x.reason_id "
            "WHERE x.component = ? AND x.at_ms >= ? AND x.at_ms < ? ORDER BY x.at_ms DESC LIMIT ?"
        )
        return self._changes(query, component, since, until, limit)

    def all_component_changes(self, since: float, until: float, limit: int = 200_000) -> list[Change]:
        """Changes of every component's status, the newest first."""
        query = (
            "SELECT x.component, x.at_ms, x.before, x.after, r.name FROM component_change x "
            "JOIN reasons r ON r.id = x.reason_id "
            "WHERE ? = '' AND x.at_ms >= ? AND x.at_ms < ? ORDER BY x.at_ms DESC LIMIT ?"
        )
        return self._changes(query, "", since, until, limit)

    def measured_hours(self, checks: Sequence[str], since: float, until: float) -> int:
        """In how many hours any of `checks` was measured, by what is summed up."""

        def collect() -> int:
            hours: set[int] = set()
            for check in checks:
                hours.update(
                    row[0] // HOUR
                    for row in self._file.db.execute(
                        "SELECT start FROM rollup WHERE check_id = (SELECT id FROM checks WHERE name = ?) "
                        "AND step IN (60, 3600) AND start >= ? AND start < ?",
                        (check, int(since), int(until)),
                    )
                )
            return len(hours)

        return self._file.run(collect)

    def _missing(self, check: str, since: float, until: float, every: float, measured: int) -> int:
        """Samples that are not there. While a check is undecided it runs more often, and what it ran too often does
        not make up for when it did not run at all.
        """
        expected = math.floor((until - since) / every)
        lengths = (gap.until - gap.since for gap in self.gaps(check, since, until, every))
        in_gaps = sum(math.ceil(length / every) - 1 for length in lengths)
        return max(0, expected - measured, in_gaps)

    # --- writing, inside ---

    def _write(self, batch: Sequence[Sample]) -> None:
        samples: list[tuple[int, int, int, int | None, int]] = []
        changes: list[tuple[int, int, int | None, int, int]] = []
        last = self._last_statuses()
        for sample in batch:
            check_id = self._id("checks", sample.check)
            reason_id = self._id("reasons", sample.reason)
            at_ms, status = _ms(sample.at), CODES[sample.status]
            samples.append((check_id, at_ms, status, _us(sample.latency_ms), reason_id))
            before_at, before = last.get(check_id, (at_ms, None))
            if at_ms >= before_at and status != before:
                changes.append((check_id, at_ms, before, status, reason_id))
                last[check_id] = (at_ms, status)
        self._file.db.executemany("INSERT OR REPLACE INTO sample VALUES (?, ?, ?, ?, ?)", samples)
        self._file.db.executemany("INSERT OR REPLACE INTO check_change VALUES (?, ?, ?, ?, ?)", changes)
        self._make_due(min(at_ms for _, at_ms, _, _, _ in samples) // 1000)

    def _make_due(self, at: int) -> None:
        """Minutes from `at` on are summed up again, unless some of their samples may be gone (or soon are)."""
        until = self._summed_up(MINUTE)
        if until - self.retention.samples + HOUR <= at < until:
            self._set_summed_up(MINUTE, _floor(at, MINUTE))

    def _maintain(self, now: int) -> Maintained:
        check_ids = [row[0] for row in self._file.db.execute("SELECT id FROM checks")]
        target = _floor(now - _LATE, MINUTE)
        since = self._summed_up(MINUTE)
        if since > target + self.retention.samples:  # the clock had been far ahead
            since = _floor(int(target - self.retention.samples), MINUTE)
        minutes, until = self._sum_up(MINUTE, check_ids, since, target)
        hours_since = _floor(min(self._summed_up(HOUR), since), HOUR)
        hours_target = _floor(until, HOUR)
        hours, hours_until = self._sum_up(HOUR, check_ids, hours_since, hours_target)
        deleted = self._delete(check_ids, now, until, hours_until)
        behind = until < target or hours_until < hours_target or deleted >= _DELETED_AT_ONCE
        return Maintained(minutes, hours, deleted, behind)

    def _sum_up(self, step: int, check_ids: Sequence[int], since: int, target: int) -> tuple[int, int]:
        """Sum up whole steps from `since` to `target`, skipping gaps, an hour's worth at most.

        Returns how many rows that made and up to where it came.
        """
        until = since
        rows: list[tuple[Any, ...]] = []
        if since < target:
            first = self._first(_FIRST[step], check_ids, since)
            start = target if first is None else min(_floor(first, step), target)
            until = min(target, start + HOUR)
            for check_id in check_ids:
                sums = self._sums(step, check_id, start, until)
                rows.extend((check_id, step, at, *total.row()) for at, total in sums.items())
            self._file.db.executemany(_INSERT_ROLLUP, rows)
        self._set_summed_up(step, until)
        return len(rows), until

    def _sums(self, step: int, check_id: int, since: int, until: int) -> dict[int, Sum]:
        """Minutes from samples, hours from minutes, by their beginnings."""
        sums: dict[int, Sum] = defaultdict(Sum)
        if step == MINUTE:
            for at_ms, status, latency_us in self._samples(check_id, since * 1000, until * 1000):
                sums[_floor(at_ms // 1000, MINUTE)].add_sample(status, latency_us)
        else:
            for at, part in self._rollups(check_id, MINUTE, since, until):
                sums[_floor(at, step)].add(part)
        return sums

    def _first(self, query: str, check_ids: Sequence[int], since: int) -> int | None:
        """The earliest second from `since` on that has something; by check, as the rows are sorted."""
        found = (self._file.db.execute(query, (check_id, since)).fetchone()[0] for check_id in check_ids)
        return min((at for at in found if at is not None), default=None)

    def _delete(self, check_ids: Sequence[int], now: int, minutes_until: int, hours_until: int) -> int:
        samples = min(now - self.retention.samples, minutes_until) * 1000
        minutes = min(now - self.retention.minutes, hours_until)
        hours = now - self.retention.hours
        deleted = 0
        for check_id in check_ids:
            if deleted >= _DELETED_AT_ONCE:
                break
            for query, before in zip(_DELETE, (samples, minutes, hours, hours * 1000), strict=True):
                deleted += self._file.db.execute(query, (check_id, int(before))).rowcount
        self._file.db.execute("DELETE FROM component_change WHERE at_ms < ?", (int(hours * 1000),))
        return deleted

    def _summed_up(self, step: int) -> int:
        row = self._file.db.execute("SELECT until FROM summed_up WHERE step = ?", (step,)).fetchone()
        return int(row[0])

    def _set_summed_up(self, step: int, until: int) -> None:
        self._file.db.execute("UPDATE summed_up SET until = ? WHERE step = ?", (until, step))

    def _forget(self) -> None:
        self._names, self._last = {}, None

    def _id(self, table: str, name: str) -> int:
        known = self._names.setdefault(table, {})
        if name not in known:
            insert, select = _INTERN[table]
            self._file.db.execute(insert, (name,))
            known[name] = int(self._file.db.execute(select, (name,)).fetchone()[0])
        return known[name]

    def _last_statuses(self) -> dict[int, tuple[int, int]]:
        if self._last is None:
            rows = self._file.db.execute("SELECT check_id, max(at_ms), after FROM check_change GROUP BY check_id")
            self._last = {check_id: (at_ms, status) for check_id, at_ms, status in rows}
        return self._last

    # --- reading, inside ---

    def _sum(self, check: str, since: float, until: float) -> Sum:
        def collect() -> Sum:
            total = Sum()
            for _, part in self._parts(check, _ms(since), _ms(until), HOUR):
                total.add(part)
            return total

        return self._file.run(collect)

    def _parts(self, check: str, since_ms: int, until_ms: int, unit: int | None) -> Iterator[tuple[int, Sum]]:
        """What was measured in a period, in the coarsest pieces that fit: hours (if `unit` allows) in the
        middle, minutes and single samples at its ends and where nothing is summed up yet.
        """
        found = self._file.db.execute("SELECT id FROM checks WHERE name = ?", (check,)).fetchone()
        if found is None:
            return
        check_id = int(found[0])
        minutes_until = self._summed_up(MINUTE)
        hours_until = min(self._summed_up(HOUR), _floor(minutes_until, HOUR))
        hours = _whole(HOUR, since_ms, until_ms, hours_until) if unit == HOUR else None
        if hours:
            yield from _in_ms(self._rollups(check_id, HOUR, *hours))
        ends = [(since_ms, until_ms)] if not hours else [(since_ms, hours[0] * 1000), (hours[1] * 1000, until_ms)]
        for start_ms, end_ms in ends:
            minutes = _whole(MINUTE, start_ms, end_ms, minutes_until) if unit else None
            if minutes:
                yield from self._single(check_id, start_ms, minutes[0] * 1000)
                yield from _in_ms(self._rollups(check_id, MINUTE, *minutes))
                yield from self._single(check_id, minutes[1] * 1000, end_ms)
            else:
                yield from self._single(check_id, start_ms, end_ms)

    def _single(self, check_id: int, since_ms: int, until_ms: int) -> Iterator[tuple[int, Sum]]:
        for at_ms, status, latency_us in self._samples(check_id, since_ms, until_ms):
            total = Sum()
            total.add_sample(status, latency_us)
            yield at_ms, total

    def _samples(self, check_id: int, since_ms: int, until_ms: int) -> Iterator[tuple[int, int, int | None]]:
        query = "SELECT at_ms, status, latency_us FROM sample WHERE check_id = ? AND at_ms >= ? AND at_ms < ?"
        return iter(self._file.db.execute(query, (check_id, since_ms, until_ms)))

    def _rollups(self, check_id: int, step: int, since: int, until: int) -> Iterator[tuple[int, Sum]]:
        query = (
            "SELECT start, ok, degraded, down, unknown, paused, sum_us, min_us, max_us, histogram "
            "FROM rollup WHERE check_id = ? AND step = ? AND start >= ? AND start < ?"
        )
        for at, *row in self._file.db.execute(query, (check_id, step, since, until)):
            yield at, Sum.of_row(row)

    def _changes(self, query: str, subject: str, since: float, until: float, limit: int) -> list[Change]:
        def collect() -> list[Change]:
            rows = self._file.db.execute(query, (subject, _ms(since), _ms(until), limit))
            return [
                Change(name, at_ms / 1000, None if before is None else STATUSES[before], STATUSES[after], reason)
                for name, at_ms, before, after, reason in rows
            ]

        return self._file.run(collect)


_INSERT_ROLLUP: Final = "INSERT OR REPLACE INTO rollup VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FIRST: Final = {
    MINUTE: "SELECT min(at_ms) / 1000 FROM sample WHERE check_id = ? AND at_ms >= ? * 1000",
    HOUR: "SELECT min(start) FROM rollup WHERE check_id = ? AND step = 60 AND start >= ?",
}
_DELETE: Final = (
    "DELETE FROM sample WHERE check_id = ? AND at_ms < ?",
    "DELETE FROM rollup WHERE check_id = ? AND step = 60 AND start < ?",
    "DELETE FROM rollup WHERE check_id = ? AND step = 3600 AND start < ?",
    # The newest change says what the status is, however old it may be.
    """DELETE FROM check_change AS old WHERE check_id = ?
    AND at_ms < min(?, (SELECT max(at_ms) FROM check_change WHERE check_id = old.check_id))""",
)
_INTERN: Final = {
    "checks": ("INSERT OR IGNORE INTO checks(name) VALUES (?)", "SELECT id FROM checks WHERE name = ?"),
    "reasons": ("INSERT OR IGNORE INTO reasons(name) VALUES (?)", "SELECT id FROM reasons WHERE name = ?"),
}


def _ms(at: float) -> int:
    return round(at * 1000)


def _us(latency_ms: float | None) -> int | None:
    return None if latency_ms is None or not math.isfinite(latency_ms) else max(0, round(latency_ms * 1000))


def _floor(at: int, step: int) -> int:
    return at // step * step


def _whole(step: int, since_ms: int, until_ms: int, limit: int) -> tuple[int, int] | None:
    """The whole steps, in seconds, within a period and below `limit`; None without any."""
    start = -(-since_ms // (step * 1000)) * step
    end = min(until_ms // (step * 1000) * step, limit)
    return (start, end) if start < end else None


def _in_ms(parts: Iterator[tuple[int, Sum]]) -> Iterator[tuple[int, Sum]]:
    return ((at * 1000, part) for at, part in parts)
