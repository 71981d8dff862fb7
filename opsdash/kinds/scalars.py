"""Values of mechanisms as text: what `read` finds is compared with names, whatever type it has in its file."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator

Scalar = str | int | float | bool


def scalar_text(value: Any) -> str:
    """`true` for True, `3` for 3, a text as it is. Raises ValueError, with words, for what names nothing."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str) and value.strip():
        return value
    raise ValueError(f"is {_kind_of(value)}, which names nothing")


def one_line(value: Scalar) -> Scalar:
    """A value to write that will be read back as it is. Raises ValueError, with words, for any other."""
    text = scalar_text(value)
    if any(character < " " for character in text):
        raise ValueError("the value contains a line break or another control character")
    if text != text.strip():
        raise ValueError("the value begins or ends with a space, which would not be read back")
    return value


def _kind_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return "an empty text"
    return "a list" if isinstance(value, list | tuple) else "an object"


OneLine = Annotated[Scalar, AfterValidator(one_line)]
"""An option that is such a value."""
