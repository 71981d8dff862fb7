"""Recurrence rules (RFC 5545, 3.3.10), as rotas use them: by day, week or month.

A rule is followed in local time, so that a shift that begins at eight begins at eight all year. Its periods before the
time asked for are jumped over, not walked; only a rule with a COUNT has to be walked from its beginning. Whoever
follows rules has a budget of steps, so that no file can hold anybody up.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DAYS: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
FREQUENCIES: Final = ("DAILY", "WEEKLY", "MONTHLY")
MAX_INTERVAL: Final = 1000
MAX_COUNT: Final = 10_000

_KEYS: Final = frozenset({"FREQ", "INTERVAL", "COUNT", "UNTIL", "BYDAY", "WKST"})
_BYDAY = re.compile(r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)")
_LAST: Final = date(2200, 1, 1)


class RuleError(Exception):
    """A rule that is none, or that is not followed here: what is wrong, then "; " and what would be right."""


class TooManyStepsError(Exception):
    """The rules of a file take more steps than they are given."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How an event comes again.

    until: the last moment at which it may begin, in seconds since 1970 UTC.  days: (place, weekday) with 0 for Monday;
    place 0 is every such day, 2 the second in its month, -1 the last.  week_start: the weekday that begins a week.
    """

    frequency: str
    interval: int = 1
    count: int | None = None
    until: float | None = None
    days: tuple[tuple[int, int], ...] = ()
    week_start: int = 0


class Budget:
    """Steps that may still be taken."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def spend(self) -> None:
        """Take one. Raises TooManyStepsError."""
        self.steps -= 1
        if self.steps < 0:
            raise TooManyStepsError


def parse_rule(text: str, until: Callable[[str], float]) -> Rule:
    """A rule as written. until: reads the value of UNTIL. Raises RuleError, and what `until` raises."""
    parts: dict[str, str] = {}
    for part in text.upper().split(";"):
        key, equals, value = part.partition("=")
        if not equals or key in parts:
            raise RuleError(f"{part[:40]!r} is no part of a rule; write it as FREQ=WEEKLY;INTERVAL=2")
        parts[key] = value
    unknown = sorted(parts.keys() - _KEYS)
    if unknown:
        raise RuleError(f"{unknown[0][:40]!r} is not followed in a rule; use {', '.join(sorted(_KEYS))}")
    frequency = parts.get("FREQ", "")
    if frequency not in FREQUENCIES:
        raise RuleError(f"FREQ={frequency[:40]} is not followed; use {', '.join(FREQUENCIES)}")
    if "COUNT" in parts and "UNTIL" in parts:
        raise RuleError("a rule has COUNT or UNTIL, not both; leave one out")
    first = parts.get("WKST", "MO")
    if first not in DAYS:
        raise RuleError(f"WKST={first[:40]} is no weekday; use one of {', '.join(DAYS)}")
    return Rule(
        frequency=frequency,
        interval=_number(parts, "INTERVAL", MAX_INTERVAL) or 1,
        count=_number(parts, "COUNT", MAX_COUNT),
        until=until(parts["UNTIL"]) if "UNTIL" in parts else None,
        days=_days(parts["BYDAY"], frequency) if "BYDAY" in parts else (),
        week_start=DAYS.index(first),
    )


def _number(parts: dict[str, str], key: str, most: int) -> int | None:
    text = parts.get(key)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= most:
        raise RuleError(f"{key}={text[:40]} is not possible; use a number from 1 to {most}")
    return int(text)


def _days(text: str, frequency: str) -> tuple[tuple[int, int], ...]:
    found = []
    for part in text.split(",", 60):
        match = _BYDAY.fullmatch(part)
        place = int(match[1] or 0) if match else 0
        if match is None or abs(place) > 5 or (match[1] and (place == 0 or frequency != "MONTHLY")):
            raise RuleError(f"BYDAY={part[:40]} is not possible; use MO or, in a monthly rule, 2MO or -1FR")
        found.append((place, DAYS.index(match[2])))
    return tuple(found)


def occurrences(rule: Rule, start: datetime, since: date, budget: Budget) -> Iterator[datetime]:
    """Local beginnings by a rule for an event that first begins at `start`, in order; those before `since` may be left
    out. Endless for most rules, up to the year 2199. Raises TooManyStepsError.
    """
    counted = 0
    period = 0 if rule.count is not None else _first_period(rule, start.date(), since)
    while True:
        budget.spend()
        days = _period(rule, start.date(), period)
        if days is None:
            return
        for day in days:
            if day < start.date():
                continue
            counted += 1
            if rule.count is not None and counted > rule.count:
                return
            budget.spend()
            yield datetime.combine(day, start.time())
        period += 1


def _first_period(rule: Rule, start: date, since: date) -> int:
    """A period that is over before `since`, as late as can be told without walking."""
    if since <= start:
        return 0
    if rule.frequency == "MONTHLY":
        passed = (since.year - start.year) * 12 + since.month - start.month
    else:
        passed = (since - start).days // (7 if rule.frequency == "WEEKLY" else 1)
    return max(0, passed // rule.interval - 1)


def _period(rule: Rule, start: date, period: int) -> list[date] | None:
    """The days of one period, in order; None beyond all years."""
    if rule.frequency == "DAILY":
        return _day(rule, start, period)
    if rule.frequency == "WEEKLY":
        return _week(rule, start, period)
    return _month(rule, start, period)


def _day(rule: Rule, start: date, period: int) -> list[date] | None:
    passed = period * rule.interval
    if passed > (_LAST - start).days:
        return None
    day = start + timedelta(days=passed)
    wanted = {weekday for _, weekday in rule.days}
    return [day] if not wanted or day.weekday() in wanted else []


def _week(rule: Rule, start: date, period: int) -> list[date] | None:
    monday = start - timedelta(days=(start.weekday() - rule.week_start) % 7)
    passed = 7 * period * rule.interval
    if passed > (_LAST - monday).days:
        return None
    week = monday + timedelta(days=passed)
    wanted = {weekday for _, weekday in rule.days} or {start.weekday()}
    return [day for day in (week + timedelta(days=each) for each in range(7)) if day.weekday() in wanted]


def _month(rule: Rule, start: date, period: int) -> list[date] | None:
    months = start.year * 12 + start.month - 1 + period * rule.interval
    year, month = months // 12, months % 12 + 1
    if year >= _LAST.year:
        return None
    length = calendar.monthrange(year, month)[1]
    if not rule.days:
        return [date(year, month, start.day)] if start.day <= length else []
    return [day for day in (date(year, month, each + 1) for each in range(length)) if _is_meant(rule, day, length)]


def _is_meant(rule: Rule, day: date, length: int) -> bool:
    """Whether a day of a month is one of BYDAY."""
    from_start, from_end = (day.day - 1) // 7 + 1, -((length - day.day) // 7 + 1)
    return any(day.weekday() == weekday and place in (0, from_start, from_end) for place, weekday in rule.days)
