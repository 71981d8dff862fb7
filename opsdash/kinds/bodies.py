"""What arrives as a body: text in some encoding, JSON of any shape. Nothing about it can be relied upon.

JSON is read strictly (RFC 8259): `NaN` and `Infinity`, which Python's parser lets pass, are refused, and so
is nesting deeper than `MAX_DEPTH`, which would overflow the stack of those who walk over it afterwards.
Integers beyond 64 bits become floats, as they do in most languages; lone surrogates become U+FFFD.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import math
from typing import Any, Final

MAX_DEPTH: Final = 100
IN_LOOP: Final = 64 * 1024
"""Bytes up to which a body is parsed on the event loop, which takes about a millisecond."""

_SURELY_64_BITS: Final = 19
_MAX_DIGITS: Final = 300  # what a float can hold, and quick to convert


def decode_text(body: bytes, content_type: str | None = None) -> str:
    """`body` as text, in the encoding that `content_type` names, else UTF-8. Never fails."""
    charset = "utf-8"
    if content_type and "charset=" in content_type.lower():
        named = content_type.lower().split("charset=", 1)[1].split(";")[0].strip().strip("\"'")
        try:
            # Only encodings of text: others (`zlib`, `hex`) are codecs too, and one of them unpacks.
            charset = named if codecs.lookup(named)._is_text_encoding else charset  # noqa: SLF001
        except (LookupError, ValueError):
            charset = "utf-8"
    return body.decode(charset, "replace")


def parse_json(body: bytes | str) -> Any:
    """The value of a JSON text. Raises ValueError with a sentence on what is wrong with it."""
    try:
        text = body if isinstance(body, str) else body.decode(json.detect_encoding(body))
        value = _DECODER.decode(text.removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not {error.encoding} at byte {error.start + 1}") from None
    _check_depth(value)
    return _without_surrogates(value) if _may_hold_surrogates(body) else value


async def load_json(body: bytes) -> Any:
    """`parse_json`, in a thread where it would hold up the loop."""
    if len(body) <= IN_LOOP:
        return parse_json(body)
    return await asyncio.to_thread(parse_json, body)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON value")


def _integer(digits: str) -> int | float:
    if len(digits) < _SURELY_64_BITS:
        return int(digits)
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits is out of range")
    value = int(digits)
    return value if -(2**63) <= value < 2**63 else float(value)


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:20]} is out of range")
    return value


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse, parse_int=_integer, parse_float=_number)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return
    raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")


def _children(value: Any) -> list[Any]:
    """Those children that can have children themselves."""
    if type(value) is dict:
        return [child for child in value.values() if type(child) in _CONTAINERS]
    if type(value) is list:
        return [child for child in value if type(child) in _CONTAINERS]
    return []


_CONTAINERS: Final = (dict, list)


def _may_hold_surrogates(body: bytes | str) -> bool:
    """A surrogate can only come from an escape, in whichever case."""
    return any((mark in body) if isinstance(body, bytes) else (mark.decode() in body) for mark in _ESCAPES)


_ESCAPES: Final = (b"\\ud", b"\\uD")


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    return value
