"""Latency histograms that can be merged: percentiles of any period from the roll-ups of its minutes and
hours.

Percentiles cannot be averaged, counts can be added. Buckets grow by 2^(1/8), so that a value read back lies
within 4.5 % of the one measured, from 0.01 ms to hours. Only buckets that were hit are kept: a minute of one
check takes a few bytes, an hour some dozen. On disk: for each bucket the distance to the one before and its
count, as LEB128.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FLOOR_MS = 0.01
PER_OCTAVE = 8
_LAST = 255

Histogram = Counter[int]
"""Bucket number to count."""


def bucket_of(latency_ms: float) -> int:
    """The bucket of a latency; 0 holds all up to FLOOR_MS, the last one all from ten hours on."""
    if latency_ms <= FLOOR_MS:
        return 0
    return min(1 + math.floor(math.log2(latency_ms / FLOOR_MS) * PER_OCTAVE), _LAST)


def middle_of(bucket: int) -> float:
    """The latency in ms that stands for a bucket: the geometric middle of its bounds."""
    if bucket == 0:
        return FLOOR_MS
    return float(FLOOR_MS * 2 ** ((bucket - 0.5) / PER_OCTAVE))


def percentile(histogram: Mapping[int, int], share: float) -> float | None:
    """The latency in ms below or at which `share` (0 to 1) of the values lie; None without values."""
    total = sum(histogram.values())
    if not total:
        return None
    rank = max(1, math.ceil(share * total))
    seen = 0
    for bucket in sorted(histogram):
        seen += histogram[bucket]
        if seen >= rank:
            return middle_of(bucket)
    raise AssertionError("the counts of a histogram add up to its total")


def pack(histogram: Mapping[int, int]) -> bytes:
    """The histogram as it is kept."""
    numbers: list[int] = []
    before = 0
    for bucket in sorted(histogram):
        numbers += (bucket - before, histogram[bucket])
        before = bucket
    return b"".join(_varint(number) for number in numbers)


def unpack(blob: bytes) -> Histogram:
    """The histogram in `blob`."""
    numbers = iter(list(_numbers(blob)))
    histogram: Histogram = Counter()
    bucket = 0
    for distance, count in zip(numbers, numbers, strict=True):
        bucket += distance
        histogram[bucket] = count
    return histogram


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _numbers(blob: bytes) -> Iterable[int]:
    number = shift = 0
    for byte in blob:
        number |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            yield number
            number = shift = 0
