"""Drills as an iCalendar file (RFC 5545), for the calendars in which people plan their days.

What has no date is not in it. The time at which a surprise begins is not told: the event begins when it is due, and
says within how long it may come.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from opsdash.model.text import clean
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opsdash.model.drill import Drill

LINE = 75
"""Octets that a line may have, its end left out."""

LASTS = 3600.0
"""Seconds that a drill takes up in a calendar."""

TEXT_LIMIT = 300


def calendar(title: str, planned: Iterable[tuple[Drill, float]], now: float) -> str:
    """The calendar of an operation of that title. planned: drills, and when each is due (seconds since 1970 UTC)."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//opsdash//drills//EN",
        "CALSCALE:GREGORIAN",
        "METHOD:PUBLISH",
        f"X-WR-CALNAME:{_text(f'{title}: drills')}",
    ]
    for drill, due in planned:
        lines += _event(drill, due, now)
    lines.append("END:VCALENDAR")
    return "".join(f"{_folded(each)}\r\n" for each in lines)


def _event(drill: Drill, due: float, now: float) -> list[str]:
    span = f"; it comes at any time within {format_duration(drill.surprise)} of this" if drill.surprise else ""
    body = f"level {drill.level.value} of {drill.component}{span}\nopsdash drill run {drill.id} --plan"
    lines = [
        "BEGIN:VEVENT",
        f"UID:{uid(drill, due)}",
        f"DTSTAMP:{_moment(now)}",
        f"DTSTART:{_moment(due)}",
        f"DTEND:{_moment(due + LASTS)}",
        f"SUMMARY:{_text(f'Drill: {drill.title}')}",
        f"DESCRIPTION:{_text(body)}",
        f"CATEGORIES:{_text('drill')}",
        "TRANSP:OPAQUE",
    ]
    for lead in () if drill.schedule is None else drill.schedule.remind:
        lines += [
            "BEGIN:VALARM",
            "ACTION:DISPLAY",
            f"DESCRIPTION:{_text(f'Drill {drill.id} is due in {format_duration(lead)}')}",
            f"TRIGGER:-PT{max(0, round(lead))}S",
            "END:VALARM",
        ]
    lines.append("END:VEVENT")
    return lines


def uid(drill: Drill, due: float) -> str:
    """The same for the same drill and date, so that reading the file again doubles nothing."""
    return f"{drill.id}-{_moment(due)}@opsdash"


def _moment(wall: float) -> str:
    return datetime.fromtimestamp(round(wall), UTC).strftime("%Y%m%dT%H%M%SZ")


def _text(text: str) -> str:
    """A TEXT value: no control characters, and what has a meaning there is escaped."""
    lines = (clean(each, TEXT_LIMIT) for each in text.splitlines())
    escaped = (line.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,") for line in lines)
    return "\\n".join(escaped)


def _folded(line: str) -> str:
    """A content line, folded so that no line has more than 75 octets and no character is cut."""
    parts, part, size = [], "", 0
    for character in unicodedata.normalize("NFC", line):
        octets = len(character.encode("utf-8"))
        if size + octets > LINE:
            parts.append(part)
            part, size = "", 1  # the space with which a folded line begins
        part, size = part + character, size + octets
    return "\r\n ".join([*parts, part])
