"""Cron expressions of five fields: minute, hour, day of month, month, day of week.

As cron has them: 0 and 7 are Sunday. Calendars disagree about that, so weekdays leave here as names.
"""

from __future__ import annotations

import re

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(MONTHS, 1)}),
    ("day of week", 0, 7, {name: number for number, name in enumerate(WEEKDAYS)}),
)
_PART = re.compile(r"(\*|(?P<first>\w+)(-(?P<last>\w+))?)(/(?P<step>\d+))?")


def cron_flaw(expression: str) -> str:
    """What is wrong with a cron expression, "" if nothing is."""
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        return f"{expression!r:.60} has {len(fields)} fields; write minute, hour, day of month, month, weekday"
    for text, (name, least, most, names) in zip(fields, _FIELDS, strict=True):
        for part in text.split(","):
            if _numbers(part, least, most, names) is None:
                return f"{part!r:.40} is no {name}; write {least} to {most}, *, a-b or */n"
    if fields[2] != "*" and fields[4] != "*":
        return "it names a day of the month and a weekday, of which calendars disagree; name one of them"
    return ""


def _numbers(part: str, least: int, most: int, names: dict[str, int]) -> list[int] | None:
    """What a part of a field stands for; None for what is no part of one."""
    match = _PART.fullmatch(part.lower())
    if match is None:
        return None
    first, last, step = match["first"], match["last"], int(match["step"] or 1)
    start = least if first is None else _number(first, names)
    end = most if first is None else start if last is None else _number(last, names)
    if first is not None and last is None and match["step"]:
        end = most
    if start is None or end is None or not least <= start <= end <= most or not step > 0:
        return None
    return list(range(start, end + 1, step))


def _number(text: str, names: dict[str, int]) -> int | None:
    return int(text) if text.isdecimal() else names.get(text)


def with_weekday_names(expression: str) -> str:
    """The same expression with weekdays as names, where they are numbers as cron counts them."""
    fields = expression.split()
    if len(fields) != len(_FIELDS) or not re.search(r"\d", fields[4]):
        return expression
    _, least, most, names = _FIELDS[4]
    days: dict[str, None] = {}
    for part in fields[4].split(","):
        for number in _numbers(part, least, most, names) or ():
            days[WEEKDAYS[number % 7]] = None
    return " ".join((*fields[:4], ",".join(days))) if days else expression
