"""Times as people type them: `10:05`, `12m ago`, `2026-11-23 10:05`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from opsdash.cli.base import UsageError
from opsdash.model.units import parse_duration

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")


def parse_moment(text: str, now: float, zone: str) -> float:
    """Seconds since 1970 UTC of a time in the past: a time of today or, where that is still to come, of yesterday; so
    long ago; or a date and time, in `zone` where it names none. Raises UsageError.
    """
    stripped = text.strip()
    if stripped == "now":
        return now
    try:
        if stripped.endswith("ago"):
            return now - parse_duration(stripped.removesuffix("ago").strip().replace(" ", ""))
        here = datetime.fromtimestamp(now, _zone(zone))
        clock = _CLOCK.fullmatch(stripped)
        if clock:
            hour, minute, second = (int(part or 0) for part in clock.groups())
            then = here.replace(hour=hour, minute=minute, second=second, microsecond=0)
            return (then if then <= here else then - timedelta(days=1)).timestamp()
        given = datetime.fromisoformat(stripped)
    except ValueError:
        hint = "write 10:05, '12m ago', or '2026-11-23 10:05'"
        raise UsageError(f"{text!r} is no time; {hint}") from None
    return (given if given.tzinfo else given.replace(tzinfo=here.tzinfo)).timestamp()


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def utc(at: float) -> str:
    """A time for a file name or a machine."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
