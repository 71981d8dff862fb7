"""Values of mechanisms as text: what `read` finds is compared with names, whatever type it has in its file."""

from __future__ import annotations

from typing import Any


def scalar_text(value: Any) -> str:
    """`true` for True, `3` for 3, a text as it is. Raises ValueError, with words, for what names nothing."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str) and value.strip():
        return value
    raise ValueError(f"is {_kind_of(value)}, which names nothing")


def _kind_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return "an empty text"
    return "a list" if isinstance(value, list | tuple) else "an object"
