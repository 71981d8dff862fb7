"""What history takes and gives: samples, sums of samples, and the answers made from them.

All times are seconds since 1970 UTC, all latencies milliseconds; in sums and on disk they are whole
microseconds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from opsdash.model.status import Status
from opsdash.storage.histogram import Histogram, bucket_of, pack, percentile, unpack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MINUTE: Final = 60
HOUR: Final = 3600

STATUSES: Final = (Status.OK, Status.DEGRADED, Status.DOWN, Status.UNKNOWN, Status.PAUSED)
"""In the order of their codes on disk; new ones go to the end."""
CODES: Final = {status: code for code, status in enumerate(STATUSES)}


@dataclass(frozen=True, slots=True)
class Sample:
    """One result of one check. `at` in seconds since 1970 UTC; `reason` is a reason code, empty where there
    is none.
    """

    check: str
    at: float
    status: Status
    latency_ms: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Retention:
    """For how many seconds samples, minutes and hours (and with them changes) are kept."""

    samples: float = 48 * 3600.0
    minutes: float = 14 * 86400.0
    hours: float = 400 * 86400.0

    def __post_init__(self) -> None:
        if not HOUR * 2 <= self.samples <= self.minutes <= self.hours:
            raise ValueError("retention: samples at least 2h, minutes as long as samples, hours as long as minutes")


@dataclass(frozen=True, slots=True)
class Counts:
    """How many samples had each status."""

    ok: int = 0
    degraded: int = 0
    down: int = 0
    unknown: int = 0
    paused: int = 0

    @property
    def total(self) -> int:
        """All samples."""
        return self.ok + self.degraded + self.down + self.unknown + self.paused


@dataclass(frozen=True, slots=True)
class Uptime:
    """A share (0 to 1) with what it was made of. None: nothing was measured that counts.

    missing: samples that should be there by the check's interval, and are not; None where no interval was
    given.
    """

    counts: Counts
    missing: int | None
    share: float | None
    definition: str


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Latencies in ms by percentile (empty without any), and how many latencies they come from."""

    count: int
    values: Mapping[float, float]


@dataclass(frozen=True, slots=True)
class Point:
    """One step of a chart. Without samples it is a gap: `counts.total` is 0 and every latency None."""

    at: float
    counts: Counts
    mean: float | None = None
    least: float | None = None
    most: float | None = None
    p50: float | None = None
    p95: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A status that became another. `subject` is a check's or a component's id; `before` is None for the
    first one.
    """

    subject: str
    at: float
    before: Status | None
    after: Status
    reason: str


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which nothing was measured, in seconds since 1970 UTC."""

    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Maintained:
    """What one `maintain` did. `behind`: there is more to do than it does at once; call again."""

    minutes: int
    hours: int
    deleted: int
    behind: bool


@dataclass(slots=True)
class Sum:
    """Samples added up."""

    counts: list[int] = field(default_factory=lambda: [0] * len(STATUSES))
    sum_us: int = 0
    min_us: int | None = None
    max_us: int | None = None
    histogram: Histogram = field(default_factory=Counter)

    def add_sample(self, status: int, latency_us: int | None) -> None:
        self.counts[status] += 1
        if latency_us is not None:
            self.histogram[bucket_of(latency_us / 1000)] += 1
            self._add_latency(latency_us, latency_us, latency_us)

    def add(self, other: Sum) -> None:
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        for bucket, count in other.histogram.items():
            self.histogram[bucket] += count
        if other.min_us is not None and other.max_us is not None:
            self._add_latency(other.sum_us, other.min_us, other.max_us)

    def _add_latency(self, sum_us: int, min_us: int, max_us: int) -> None:
        self.sum_us += sum_us
        self.min_us = min_us if self.min_us is None else min(self.min_us, min_us)
        self.max_us = max_us if self.max_us is None else max(self.max_us, max_us)

    def row(self) -> tuple[Any, ...]:
        return (*self.counts, self.sum_us, self.min_us, self.max_us, pack(self.histogram))

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> Sum:
        *counts, sum_us, min_us, max_us, histogram = row
        return cls(counts, sum_us, min_us, max_us, unpack(histogram))

    def percentile(self, share: float) -> float | None:
        """In ms; never outside of what was measured, which a bucket's middle may be."""
        value = percentile(self.histogram, share)
        if value is None or self.min_us is None or self.max_us is None:
            return None
        return min(max(value, self.min_us / 1000), self.max_us / 1000)

    def point(self, at: float) -> Point:
        count = self.histogram.total()
        if not count or self.min_us is None or self.max_us is None:
            return Point(at, Counts(*self.counts))
        return Point(
            at,
            Counts(*self.counts),
            self.sum_us / count / 1000,
            self.min_us / 1000,
            self.max_us / 1000,
            self.percentile(0.5),
            self.percentile(0.95),
        )
