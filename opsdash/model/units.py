"""Durations, sizes and shares as people write them: `15s`, `1h30m`, `64KiB`, `20%`."""

from __future__ import annotations

import re

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
BYTES = {
    "B": 1, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4,
    "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4,
}  # fmt: skip

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)")


def parse_duration(text: str) -> float:
    """Seconds of `text`, for example `15s`, `400ms`, `1h30m`, `90d`.

    Raises ValueError for anything else, a bare number included (except 0), since nobody can tell its unit.
    """
    stripped = text.strip()
    if stripped == "0":
        return 0.0
    if not _DURATION.fullmatch(stripped):
        raise ValueError(f"{text!r} is no duration; write a number with a unit, such as 15s, 5m, 1h30m or 90d")
    return sum(float(number) * SECONDS[unit] for number, unit in _DURATION_PART.findall(stripped))


def parse_size(text: str) -> int:
    """Bytes of `text`, for example `64KiB` or `1.5MB`. Raises ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or match[2] not in BYTES:
        raise ValueError(f"{text!r} is no size; write a number with a unit, such as 64KiB or 1MB")
    return int(float(match[1]) * BYTES[match[2]])


def parse_share(text: str) -> float:
    """`20%` or `0.2` as a number between 0 and 1. Raises ValueError."""
    stripped = text.strip()
    try:
        share = float(stripped[:-1]) / 100 if stripped.endswith("%") else float(stripped)
    except ValueError:
        raise ValueError(f"{text!r} is no share; write 20% or 0.2") from None
    if not 0 <= share <= 1:
        raise ValueError(f"{text!r} is no share; it must lie between 0% and 100%")
    return share


def format_duration(seconds: float) -> str:
    """`seconds` for a narrow column: `340ms`, `12s`, `4m12s`, `26m`, `3h`, `41d`."""
    if seconds < 0:
        return "0s"
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10:
        return f"{minutes}m{rest:02d}s" if rest else f"{minutes}m"
    if minutes < 60:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h{minutes:02d}m" if hours < 10 and minutes else f"{hours}h"
    return f"{hours // 24}d"
