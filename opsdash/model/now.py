"""The one value that answers "when?": taken once per input by the engine, and passed on."""

from __future__ import annotations

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
