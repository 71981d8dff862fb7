"""Structured fields (RFC 9651), as far as lists of items with parameters go: `"burst";q=100;w=60, "daily";q=1000`.

The parser is strict, as the standard demands: one mistake, and the whole field is to be ignored. So there is one
exception, `ValueError`, and no half result.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

BareItem = int | float | str | bytes | bool

_SPACES: Final = re.compile(r" *")
_OPTIONAL_SPACE: Final = re.compile(r"[ \t]*")
_KEY: Final = re.compile(r"[a-z*][a-z0-9_\-.*]*")
_DATE: Final = re.compile(r"@(-?\d{1,15})(?![\d.])")
_NUMBER: Final = re.compile(r"-?(?:\d{1,12}\.\d{1,3}|\d{1,15})(?![\d.])")
_STRING: Final = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_TOKEN: Final = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")
_BYTES: Final = re.compile(r":([A-Za-z0-9+/=]*):")
_BOOLEAN: Final = re.compile(r"\?([01])")


@dataclass(frozen=True, slots=True)
class Item:
    """A value with its parameters. Strings and tokens are both `str`, dates are seconds since 1970 UTC."""

    value: BareItem
    parameters: Mapping[str, BareItem]


def parse_list(text: str) -> list[Item]:
    """The items of a list. Raises ValueError where it is not exactly one; inner lists count as a mistake too."""
    scanner = _Scanner(text)
    scanner.take(_SPACES)
    items: list[Item] = []
    while not scanner.at_end():
        items.append(_item(scanner))
        scanner.take(_OPTIONAL_SPACE)
        if scanner.at_end():
            return items
        scanner.expect(",")
        scanner.take(_OPTIONAL_SPACE)
        if scanner.at_end():
            raise ValueError("a list ends with a comma")
    return items


class _Scanner:
    __slots__ = ("_at", "_text")

    def __init__(self, text: str) -> None:
        self._text = text.rstrip(" ")
        self._at = 0

    def at_end(self) -> bool:
        return self._at >= len(self._text)

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self._text, self._at)
        if match is not None:
            self._at = match.end()
        return match

    def follows(self, character: str) -> bool:
        found = self._text.startswith(character, self._at)
        self._at += found
        return found

    def expect(self, character: str) -> None:
        if not self.follows(character):
            raise ValueError(f"no {character!r} at character {self._at + 1} of a structured field")

    def fail(self) -> ValueError:
        return ValueError(f"no value at character {self._at + 1} of a structured field")


def _item(scanner: _Scanner) -> Item:
    value = _bare_item(scanner)
    parameters: dict[str, BareItem] = {}
    while scanner.follows(";"):
        scanner.take(_SPACES)
        key = scanner.take(_KEY)
        if key is None:
            raise scanner.fail()
        parameters[key[0]] = _bare_item(scanner) if scanner.follows("=") else True
    return Item(value, parameters)


def _bare_item(scanner: _Scanner) -> BareItem:
    if match := scanner.take(_STRING):
        return re.sub(r'\\(["\\])', r"\1", match[1])
    if match := scanner.take(_NUMBER):
        return float(match[0]) if "." in match[0] else int(match[0])
    if match := scanner.take(_DATE):
        return int(match[1])
    if match := scanner.take(_TOKEN):
        return match[0]
    if match := scanner.take(_BOOLEAN):
        return match[1] == "1"
    if match := scanner.take(_BYTES):
        try:
            return base64.b64decode(match[1], validate=True)
        except binascii.Error as error:
            raise ValueError(f"no valid base64 in a structured field: {error}") from None
    raise scanner.fail()
