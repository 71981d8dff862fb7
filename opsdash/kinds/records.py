"""Is this data any good? Rules for a list of records, whatever they were fetched from.

A source that delivers rubbish looks healthy from outside: it answers in time, with status 200. What gives it away is
in the data: none of it, too little or too much of it, nothing new for a day, dates in the future, fields that are
suddenly empty, numbers that cannot be, an error page where rows should be, or the very same bytes as yesterday.

Everything here is a function of the bytes, the rules and the time, and may run in a thread.
"""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, Final, Literal

from opsdash.kinds.bodies import decode_text, parse_json
from opsdash.kinds.paths import lookup
from opsdash.model.now import timestamp
from opsdash.model.status import Reason, Status
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

NOTHING_TEXTS: Final = frozenset(
    {"", "-", "--", "null", "none", "nil", "nan", "n/a", "#n/a", "#ref!", "#value!", "undefined"}
)
"""Texts that stand for a missing value, in lower case."""

_MILLISECONDS_FROM: Final = 1e11
_LATEST: Final = 253402300799.0  # the end of the year 9999


class GarbageError(ValueError):
    """The bytes are not the data that they should be."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What good data looks like. Times are seconds; paths beginning with `json.` start at the document, not a row."""

    layout: Literal["json", "csv"] = "json"
    delimiter: str = ","
    rows: str = "json"
    at: str | None = None
    zone: tzinfo | None = None
    warn_after: float | None = None
    stale_after: float | None = None
    future_tolerance: float = 300.0
    min_rows: int = 1
    max_rows: int | None = None
    not_null: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that does not hold. The order of reasons is that of what to look at first."""

    status: Status
    reason: Reason
    detail: str


@dataclass(slots=True)
class Findings:
    """What was found in the data. `broken` is in the order of the rules, not of importance: see `most_telling`."""

    digest: str
    document: Any = None
    rows: int | None = None
    newest: float | None = None
    nulls: dict[str, float] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)

    def add(self, status: Status, reason: Reason, detail: str) -> None:
        """Note a broken rule."""
        self.broken.append(Broken(status, reason, detail))


_TELLING: Final = (Reason.EMPTY, Reason.STALE, Reason.UNCHANGED, Reason.GARBAGE)


def most_telling(broken: list[Broken]) -> Broken | None:
    """What to report of several broken rules: down before degraded, then empty, stale, unchanged, garbage."""
    return min(broken, key=lambda rule: (rule.status is not Status.DOWN, _TELLING.index(rule.reason)), default=None)


def examine(body: bytes, rules: Rules, wall: float, content_type: str | None = None) -> Findings:
    """Hold `body` against `rules`; never raises."""
    findings = Findings(hashlib.sha256(body).hexdigest())
    if not body.strip():
        findings.add(Status.DOWN, Reason.EMPTY, "there is no data at all")
        return findings
    try:
        findings.document = _read(body, rules, content_type)
        rows = _find_rows(findings.document, rules)
        findings.rows = len(rows)
        _check_volume(findings, rules)
        if rows:
            _check_freshness(findings, rows, rules, wall)
            _check_fields(findings, rows, rules)
    except GarbageError as error:
        findings.add(Status.DOWN, Reason.GARBAGE, str(error))
    return findings


# --- reading -------------------------------------------------------------------------------------------------------


def _read(body: bytes, rules: Rules, content_type: str | None) -> Any:
    start = body.lstrip()[:64].lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        raise GarbageError("an HTML page instead of data")
    if rules.layout == "json":
        try:
            return parse_json(body)
        except ValueError as error:
            raise GarbageError(f"no JSON: {error}") from None
    return _read_csv(decode_text(body, content_type).removeprefix("\ufeff"), rules.delimiter)


def _read_csv(text: str, delimiter: str) -> list[dict[str, str]]:
    rows = []
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        names = next(reader, [])
        for values in reader:
            if not values:
                continue
            if len(values) != len(names):
                raise GarbageError(f"line {reader.line_num} has {len(values)} columns, the first has {len(names)}")
            rows.append(dict(zip(names, values, strict=True)))
    except csv.Error as error:
        raise GarbageError(f"no CSV: {error}") from None
    return rows


def _find_rows(document: Any, rules: Rules) -> list[Any]:
    if rules.layout == "csv":
        found = document
    else:
        try:
            found = lookup({"json": document}, rules.rows)
        except KeyError as error:
            raise GarbageError(f"there is no {error.args[0]} where the rows should be") from None
    if not isinstance(found, list):
        raise GarbageError(f"{rules.rows} is no list of rows")
    return found


# --- rules ---------------------------------------------------------------------------------------------------------


def _check_volume(findings: Findings, rules: Rules) -> None:
    count = findings.rows or 0
    if count < rules.min_rows:
        detail = f"{count} rows, fewer than {rules.min_rows}" if count else "no rows"
        findings.add(Status.DOWN, Reason.EMPTY, detail)
    elif rules.max_rows is not None and count > rules.max_rows:
        findings.add(Status.DOWN, Reason.GARBAGE, f"{count} rows, more than {rules.max_rows}")


def _check_freshness(findings: Findings, rows: list[Any], rules: Rules, wall: float) -> None:
    if rules.at is None:
        return
    times = _times(findings.document, rows, rules)
    ahead = [moment for moment in times if moment > wall + rules.future_tolerance]
    past = [moment for moment in times if moment <= wall + rules.future_tolerance]
    if ahead:
        detail = f"{rules.at} lies {format_duration(max(ahead) - wall)} in the future"
        findings.add(Status.DOWN, Reason.GARBAGE, detail)
    if not past:
        if not ahead:
            findings.add(Status.DOWN, Reason.GARBAGE, f"no row has a time in {rules.at}")
        return
    findings.newest = max(past)
    age = wall - findings.newest
    words = f"the newest data is {format_duration(age)} old, of {timestamp(findings.newest)}"
    if rules.stale_after is not None and age > rules.stale_after:
        findings.add(Status.DOWN, Reason.STALE, words)
    elif rules.warn_after is not None and age > rules.warn_after:
        findings.add(Status.DEGRADED, Reason.STALE, words)


def _times(document: Any, rows: list[Any], rules: Rules) -> list[float]:
    path = rules.at or ""
    if path.startswith("json.") and rules.layout == "json":
        values = [_value({"json": document}, path)]
    else:
        values = [_value(row, path) for row in rows]
    return [parse_time(value, rules.zone) for value in values if not is_nothing(value)]


def parse_time(value: Any, zone: tzinfo | None) -> float:
    """Seconds since 1970 UTC of an ISO 8601 text or a number of (milli)seconds. Raises GarbageError."""
    try:
        return _parse_number(value) if _is_number(value) else _parse_text(value, zone)
    except (ValueError, TypeError, OverflowError):
        raise GarbageError(f"{_excerpt(value)} is no time") from None


def _parse_number(value: Any) -> float:
    number = float(value)
    seconds = number / 1000 if abs(number) > _MILLISECONDS_FROM else number
    if not 0 <= seconds <= _LATEST:
        raise ValueError
    return seconds


def _parse_text(value: Any, zone: tzinfo | None) -> float:
    if not isinstance(value, str):
        raise TypeError
    moment = datetime.fromisoformat(value.strip())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return moment.timestamp()


def _is_number(value: Any) -> bool:
    if isinstance(value, int | float):
        return not isinstance(value, bool)
    # In CSV numbers are texts. Eight digits are a date (20260131), ten or more are seconds.
    return isinstance(value, str) and value.isascii() and value.strip().isdigit() and len(value.strip()) >= 9


def _check_fields(findings: Findings, rows: list[Any], rules: Rules) -> None:
    for path in {*rules.not_null, *rules.bounds}:
        values = [_value(row, path) for row in rows]
        there = [value for value in values if not is_nothing(value)]
        ratio = findings.nulls[path] = 1 - len(there) / len(values)
        if path in rules.not_null and ratio > rules.not_null[path]:
            allowed = f"more than {rules.not_null[path]:.0%}" if rules.not_null[path] else "which it never may be"
            findings.add(Status.DOWN, Reason.GARBAGE, f"{path} is missing in {ratio:.0%} of the rows, {allowed}")
        if path in rules.bounds:
            _check_bounds(findings, path, there, rules.bounds[path])


def _check_bounds(findings: Findings, path: str, values: list[Any], bounds: tuple[float, float]) -> None:
    low, high = bounds
    outside = [value for value in values if not _is_within(value, low, high)]
    if outside:
        detail = f"{path} is {_excerpt(outside[0])}, not between {low:g} and {high:g}, in {len(outside)} rows"
        findings.add(Status.DOWN, Reason.GARBAGE, detail)


def _is_within(value: Any, low: float, high: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        return low <= float(value) <= high
    except (ValueError, OverflowError):
        return False


def _value(row: Any, path: str) -> Any:
    try:
        return lookup(row, path)
    except KeyError:
        return None


def is_nothing(value: Any) -> bool:
    """Whether `value` stands for a missing one."""
    if isinstance(value, str):
        return value.strip().lower() in NOTHING_TEXTS
    return value is None or value in ([], {})


def _excerpt(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"
