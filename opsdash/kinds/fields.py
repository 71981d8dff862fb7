"""Field types for options: a duration, a size, a share, as people write them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from opsdash.model.units import parse_duration, parse_share, parse_size


def _duration(value: Any) -> float:
    if isinstance(value, str):
        return parse_duration(value)
    if value == 0 and not isinstance(value, bool):
        return 0.0
    raise ValueError(f"{value!r} is no duration; write a number with a unit, such as 15s, 5m or 90d")


def _size(value: Any) -> int:
    if isinstance(value, str):
        return parse_size(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError(f"{value!r} is no size; write a number with a unit, such as 64KiB or 1MB")


def _share(value: Any) -> float:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return parse_share(str(value))
    raise ValueError(f"{value!r} is no share; write 20% or 0.2")


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": r"^(0|(\d+(\.\d+)?(ms|s|m|h|d|w))+)$", "examples": ["15s"]}),
]
"""Seconds, written `15s`, `400ms`, `1h30m`."""

Size = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["64KiB"]}),
]
"""Bytes, written `64KiB`, `1MB`, or a plain number of bytes."""

Share = Annotated[
    float,
    BeforeValidator(_share),
    WithJsonSchema({"type": ["string", "number"], "examples": ["20%"]}),
]
"""A number between 0 and 1, written `20%` or `0.2`."""
