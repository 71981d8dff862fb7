"""What a Nagios plugin prints, read as the guidelines say, and as forgiving as thousands of plugins demand.

    TEXT | 'label'=value[UOM];[warn];[crit];[min];[max] ...
    LONG TEXT, any number of lines | more performance data
    and more of it

The status is the exit code's alone; a text may say CRITICAL or nothing at all. Labels with spaces stand in
single quotes, in which `''` is a quote. A value may be `U`: not known. Trailing `;` may be dropped.

`warn` and `crit` are ranges, `[@]start:end`: alert outside of start to end (both included), with `@` inside.
`10` means `0:10`, `10:` has no upper end, `~` is minus infinity.

Nothing that a plugin can print raises: what cannot be understood is left out, and told in `complaints`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBER: Final = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_VALUE: Final = re.compile(rf"({_NUMBER})([^\d\s;'\"=.,+-]*)", re.ASCII)
_PLAIN_NUMBER: Final = re.compile(_NUMBER, re.ASCII)
_COMPLAINTS_KEPT: Final = 20
_EXCERPT: Final = 60


@dataclass(frozen=True, slots=True)
class Range:
    """Values between `start` and `end`, both included, are fine; with `inside`, they are what is alerted."""

    start: float = 0.0
    end: float = math.inf
    inside: bool = False

    def alerts(self, value: float) -> bool:
        return (self.start <= value <= self.end) is self.inside


@dataclass(frozen=True, slots=True)
class Performance:
    """One item of performance data. `value` None: the plugin could not measure it (`U`)."""

    label: str
    value: float | None
    unit: str = ""
    warn: Range | None = None
    crit: Range | None = None
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class PluginOutput:
    """What could be read, and what could not."""

    text: str
    long_text: str = ""
    performance: tuple[Performance, ...] = ()
    complaints: tuple[str, ...] = ()


def parse_range(text: str) -> Range:
    """The range that `text` spells. Raises ValueError with what would be right."""
    inside = text.startswith("@")
    start_text, colon, end_text = text.removeprefix("@").rpartition(":")
    if not colon and not end_text:
        raise ValueError(f"{_excerpt(text)} is no range; write one such as 10, 10:, ~:10, 10:20 or @10:20")
    start = -math.inf if start_text == "~" else _bound(text, start_text, 0.0)
    end = _bound(text, end_text, math.inf)
    if start > end:
        raise ValueError(f"{_excerpt(text)} is no range: its start lies above its end")
    return Range(start, end, inside)


def parse(output: str) -> PluginOutput:
    """Read the standard output of a plugin. Never raises."""
    first, _, rest = output.replace("\r\n", "\n").partition("\n")
    text, _, performance = first.partition("|")
    long_text, _, more = rest.partition("|")
    complaints: list[str] = []
    found: dict[str, Performance] = {}
    for item in _items(f"{performance} {more}", complaints):
        if item.label in found:
            complaints.append(f"the label {_excerpt(item.label)} comes twice; the first counts")
        else:
            found[item.label] = item
    kept = complaints[:_COMPLAINTS_KEPT]
    if len(complaints) > len(kept):
        kept.append(f"and {len(complaints) - len(kept)} more")
    return PluginOutput(text.strip(), long_text.strip(), tuple(found.values()), tuple(kept))


def _bound(whole: str, text: str, default: float) -> float:
    if not text:
        return default
    if not _PLAIN_NUMBER.fullmatch(text):
        raise ValueError(f"{_excerpt(whole)} is no range: {_excerpt(text)} is no number")
    return float(text)


def _items(text: str, complaints: list[str]) -> Iterator[Performance]:
    position = 0
    while (position := _skip_space(text, position)) < len(text):
        end = _label_end(text, position)
        word_end = _word_end(text, end)
        if not text.startswith("=", end) or end == position:
            complaints.append(f"{_excerpt(text[position:word_end])} is no label=value")
        else:
            item = _item(_label(text[position:end]), text[end + 1 : word_end], complaints)
            if item is not None:
                yield item
        position = max(word_end, position + 1)


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _label_end(text: str, position: int) -> int:
    """Where the `=` after the label is; where the label ends when there is none."""
    if text[position] == "'":
        end = position + 1
        while (end := text.find("'", end)) >= 0:
            if not text.startswith("''", end):
                return end + 1
            end += 2
        # An open quote would swallow all that follows: take it for a letter.
    while position < len(text) and text[position] != "=" and not text[position].isspace():
        position += 1
    return position


def _word_end(text: str, position: int) -> int:
    while position < len(text) and not text[position].isspace():
        position += 1
    return position


def _label(written: str) -> str:
    if len(written) > 1 and written[0] == written[-1] == "'":
        return written[1:-1].replace("''", "'")
    return written


def _item(label: str, written: str, complaints: list[str]) -> Performance | None:
    value_text, *more = written.split(";")
    value, unit = None, ""
    if value_text != "U":
        match = _VALUE.fullmatch(value_text)
        if match is None or not math.isfinite(float(match[1])):
            complaints.append(f"the value {_excerpt(value_text)} of {_excerpt(label)} is no number with a unit")
            return None
        value, unit = float(match[1]), match[2]
    if len(more) > 4:
        complaints.append(f"{_excerpt(label)} has more than value;warn;crit;min;max")
    warn, crit, minimum, maximum = [*more, "", "", "", ""][:4]
    return Performance(
        label,
        value,
        unit,
        _threshold(label, warn, complaints),
        _threshold(label, crit, complaints),
        _limit(label, minimum, complaints),
        _limit(label, maximum, complaints),
    )


def _threshold(label: str, text: str, complaints: list[str]) -> Range | None:
    if not text:
        return None
    try:
        return parse_range(text)
    except ValueError as error:
        complaints.append(f"{_excerpt(label)}: {error}")
        return None


def _limit(label: str, text: str, complaints: list[str]) -> float | None:
    if not text:
        return None
    if _PLAIN_NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    complaints.append(f"{_excerpt(label)}: {_excerpt(text)} is no number")
    return None


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= _EXCERPT else text[:_EXCERPT] + "…")
