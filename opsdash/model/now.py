"""The one value that answers "when?": taken once per input by the engine, and passed on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Now:
    """One reading of three clocks.

    wall: seconds since 1970-01-01 UTC; what people and records use; may jump.
    mono: seconds on the monotonic clock of this boot; stands still while the machine is suspended (Linux).
    boot: seconds since boot, suspension included; where a platform lacks it, the same as `mono`.
    """

    wall: float
    mono: float
    boot: float


def timestamp(wall: float) -> str:
    """`wall` as RFC 3339 in UTC with milliseconds, as journal and interfaces print it."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


MILLISECONDS_FROM = 1e11
"""A number from here on (the year 5138 in seconds) counts milliseconds since 1970."""


def parse_moment(value: object) -> float:
    """Seconds since 1970 UTC of a time as programs write it: RFC 3339 with an offset, seconds, milliseconds.

    Raises ValueError for anything else. A text without an offset is refused: nobody can tell which time it means.
    """
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value / 1000 if value > MILLISECONDS_FROM else float(value)
    if not isinstance(value, str):
        raise ValueError(f"{json.dumps(value, default=str)[:60]} is no time")  # noqa: TRY004 - for whoever reads the text, the type is no matter
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f'"{value:.60}" is no time; 2026-01-31T12:00:00Z is one') from None
    if parsed.tzinfo is None:
        raise ValueError(f'"{value:.60}" names no time zone; 2026-01-31T12:00:00Z does')
    return parsed.timestamp()
