"""Times of the week, at which something may be begun: `tue-thu 10:00-15:00`, `mon,fri 8:00-9:30`, `22:00-24:00`.

Days are `mon` to `sun`, one by one or from one to another; without any: every day. Such a time ends on the day on which
it begins.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from opsdash.model.cron import WEEKDAYS

_FORM = re.compile(
    r"(?:(?P<days>[a-z][a-z,-]*)\s+)?(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})", re.IGNORECASE | re.ASCII
)
_FROM_MONDAY = (*WEEKDAYS[1:], WEEKDAYS[0])
_DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class WeekTime:
    """Days by their names, Monday first, and minutes of the day: `start` belongs to it, `end` does not."""

    days: tuple[str, ...]
    start: int
    end: int

    @property
    def cron(self) -> str:
        """When it begins, as a window that comes again says it."""
        days = "*" if len(self.days) == len(_FROM_MONDAY) else ",".join(self.days)
        return f"{self.start % 60} {self.start // 60} * * {days}"

    @property
    def length(self) -> float:
        """How long it lasts, in seconds."""
        return (self.end - self.start) * 60.0


def parse_week_time(text: str) -> WeekTime:
    """Raises ValueError, which says what would be right behind a semicolon."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r:.60} is no time of the week; write it as tue-thu 10:00-15:00")
    hour, minute, last_hour, last_minute = (int(number) for number in match.groups()[1:])
    start, end = hour * 60 + minute, last_hour * 60 + last_minute
    if max(minute, last_minute) > 59 or start >= _DAY or end > _DAY:
        raise ValueError(f"{text!r:.60} names a time that no day has; write 0:00 to 24:00")
    if start >= end:
        raise ValueError(f"{text!r:.60} ends before it begins; write two for a night: 22:00-24:00 and 0:00-4:00")
    return WeekTime(_days(match["days"], text), start, end)


def _days(written: str | None, text: str) -> tuple[str, ...]:
    if written is None:
        return _FROM_MONDAY
    found: set[str] = set()
    for part in written.lower().split(","):
        first, dash, last = part.partition("-")
        if first not in _FROM_MONDAY or (dash and last not in _FROM_MONDAY):
            raise ValueError(f"{part!r:.40} in {text!r:.60} is no day; write {', '.join(_FROM_MONDAY)}, or tue-thu")
        start = _FROM_MONDAY.index(first)
        length = (_FROM_MONDAY.index(last) - start) % len(_FROM_MONDAY) if dash else 0
        found.update(_FROM_MONDAY[(start + each) % len(_FROM_MONDAY)] for each in range(length + 1))
    return tuple(day for day in _FROM_MONDAY if day in found)
