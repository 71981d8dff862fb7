"""Drills as iCalendar: what calendars read, whatever the titles are."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from opsdash.core.drill_calendar import calendar, uid
from opsdash.model.drill import Schedule
from opsdash.testing import NEW_YEAR
from opsdash.testing_drills import drill

DAY = 86400.0
QUARTERLY = drill(title="Mail, really; \\o/", schedule=Schedule(every=90 * DAY))


def unfolded(text: str) -> list[str]:
    return text.replace("\r\n ", "").split("\r\n")


def test_an_event_says_what_when_and_reminds() -> None:
    text = calendar("Shop", [(QUARTERLY, NEW_YEAR + DAY)], NEW_YEAR)
    lines = unfolded(text)
    assert lines[0] == "BEGIN:VCALENDAR"
    assert lines[-2:] == ["END:VCALENDAR", ""]
    for line in (
        "UID:email-drill-20260102T000000Z@opsdash",
        "DTSTAMP:20260101T000000Z",
        "DTSTART:20260102T000000Z",
        "DTEND:20260102T010000Z",
        "SUMMARY:Drill: Mail\\, really\\; \\\\o/",
        "TRIGGER:-PT604800S",
        "TRIGGER:-PT86400S",
    ):
        assert line in lines, line
    assert lines.count("BEGIN:VALARM") == lines.count("END:VALARM") == 2


def test_the_same_date_has_the_same_name_and_another_one_another() -> None:
    assert uid(QUARTERLY, NEW_YEAR) == uid(QUARTERLY, NEW_YEAR)
    assert uid(QUARTERLY, NEW_YEAR) != uid(QUARTERLY, NEW_YEAR + DAY)


def test_a_surprise_says_within_how_long_and_not_when() -> None:
    text = calendar("Shop", [(drill(surprise=5 * DAY), NEW_YEAR)], NEW_YEAR)
    assert "at any time within 5d of this" in "".join(unfolded(text))


def test_without_drills_it_is_an_empty_calendar() -> None:
    assert "BEGIN:VEVENT" not in calendar("Shop", [], NEW_YEAR)


@given(st.text(max_size=200), st.text(max_size=200))
def test_whatever_a_title_is_every_line_is_short_whole_and_says_nothing_else(title: str, operation: str) -> None:
    text = calendar(operation, [(drill(title=title), NEW_YEAR)], NEW_YEAR)
    assert text.endswith("\r\n")
    for line in text.split("\r\n"):
        assert len(line.encode("utf-8")) <= 75
        assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", line)
    lines = unfolded(text)
    assert lines.count("BEGIN:VEVENT") == lines.count("END:VEVENT") == 1
    assert lines.count("BEGIN:VALARM") == 0
    assert all(re.match(r"[A-Z-]+:", line) for line in lines[:-1])
