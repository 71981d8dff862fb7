"""Calendar files: what a rota needs of them is read, and whatever else is in there does no harm."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsdash.config.files import Source
from opsdash.config.icalendar import MAX_EVENTS, MAX_FLAWS, read_calendar
from opsdash.config.rotas import MAX_SHIFTS, ReadRota, rota
from opsdash.model.operation import Person

if TYPE_CHECKING:
    from opsdash.config.icalendar import Calendar

BERLIN = "Europe/Berlin"
WALL = datetime(2026, 3, 20, 12, tzinfo=UTC).timestamp()
PEOPLE = {
    "maria": Person("maria", "Maria Rossi", contact="m.rossi@shop.example"),
    "ken": Person("ken", "Ken", login="kx"),
}


def calendar(*lines: str, events: int = 1) -> bytes:
    event = ["BEGIN:VEVENT", "UID:1", *lines, "END:VEVENT"]
    return "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", *event * events, "END:VCALENDAR", ""]).encode()


def read(*lines: str, zone: str = BERLIN) -> Calendar:
    return read_calendar(calendar("SUMMARY:maria", *lines), zone)


def shifts(*lines: str, days: int = 14, data: bytes | None = None, zone: str = BERLIN) -> list[str]:
    """Who is on duty when, in local time, for the days from the 20th of March 2026 on."""
    found = read_calendar(calendar("SUMMARY:maria", *lines) if data is None else data, zone)
    assert found.flaws == ()
    made = rota("front", ReadRota(Source("rota.ics", None), zone, found), PEOPLE, WALL, warn=True).rota
    until = WALL + days * 86400
    clock = ZoneInfo(zone)

    def told(at: float) -> str:
        return datetime.fromtimestamp(at, clock).strftime("%d.%m. %H:%M")

    shown = (each for each in made.shifts if each.end > WALL and each.start < until)
    return [f"{each.person} {told(each.start)}–{told(each.end)}" for each in shown]


def flaws(*lines: str) -> list[str]:
    found = read(*lines)
    assert not found.broken
    return [f"{each.line}: {each.message}" for each in found.flaws]


# --- times -----------------------------------------------------------------------------------------------------------


def test_an_event_is_a_shift() -> None:
    assert shifts("DTSTART:20260321T080000Z", "DTEND:20260321T200000Z") == ["maria 21.03. 09:00–21.03. 21:00"]
    assert shifts("DTSTART;TZID=America/New_York:20260321T080000", "DURATION:PT90M") == [
        "maria 21.03. 13:00–21.03. 14:30"
    ]
    assert shifts("DTSTART:20260321T080000", "DURATION:P1DT2H") == ["maria 21.03. 08:00–22.03. 10:00"]


def test_a_whole_day_is_one_of_the_operations_zone() -> None:
    assert shifts("DTSTART;VALUE=DATE:20260321") == ["maria 21.03. 00:00–22.03. 00:00"]
    assert shifts("DTSTART;VALUE=DATE:20260321", "DTEND;VALUE=DATE:20260324") == ["maria 21.03. 00:00–24.03. 00:00"]
    assert shifts("DTSTART;VALUE=DATE:20260329") == ["maria 29.03. 00:00–30.03. 00:00"], "it has 23 hours"


def test_a_shift_begins_at_eight_before_and_after_the_clocks_change() -> None:
    rule = "DTSTART;TZID=Europe/Berlin:20260327T080000", "DURATION:P1D", "RRULE:FREQ=DAILY;INTERVAL=2;COUNT=3"
    assert shifts(*rule) == [
        "maria 27.03. 08:00–28.03. 08:00",
        "maria 29.03. 08:00–30.03. 08:00",
        "maria 31.03. 08:00–01.04. 08:00",
    ]


def test_an_hour_that_the_clock_skips_or_shows_twice_still_has_a_beginning() -> None:
    assert shifts("DTSTART;TZID=Europe/Berlin:20260329T023000", "DURATION:PT4H") == ["maria 29.03. 03:30–29.03. 06:30"]
    autumn = read("DTSTART;TZID=Europe/Berlin:20261025T023000", "DURATION:PT4H")
    assert autumn.events[0].start.timestamp == datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()


def test_an_end_in_another_zone_is_the_same_moment() -> None:
    end = "DTEND;TZID=America/New_York:20260321T080000"
    assert shifts("DTSTART;TZID=Europe/Berlin:20260321T080000", end) == ["maria 21.03. 08:00–21.03. 13:00"]


def test_a_zone_with_a_programs_own_name_before_it_is_known() -> None:
    zone = "/freeassociation.sourceforge.net/Europe/Berlin"
    assert shifts(f'DTSTART;TZID="{zone}":20260321T080000', "DURATION:PT1H") == ["maria 21.03. 08:00–21.03. 09:00"]


# --- rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "rule", "expected"),
    [
        ("20260101", "FREQ=WEEKLY;BYDAY=MO,FR", ["20.", "23.", "27.", "30."]),
        ("20260102", "FREQ=WEEKLY;INTERVAL=2", ["27."]),
        ("20260102", "FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=SU,FR", ["22.", "27."]),
        ("20200101", "FREQ=DAILY;INTERVAL=7;UNTIL=20260326", ["25."]),
        ("20260101", "FREQ=DAILY;BYDAY=SA,SU", ["21.", "22.", "28.", "29."]),
        ("20260101", "FREQ=MONTHLY;BYDAY=4SA", ["28."]),
        ("20260101", "FREQ=MONTHLY;BYDAY=-1FR", ["27."]),
        ("20260101", "FREQ=MONTHLY;BYDAY=TU", ["24.", "31."]),
        ("20260131", "FREQ=MONTHLY", ["31."]),
        ("20251130", "FREQ=MONTHLY", ["30."]),
        ("20260310", "FREQ=DAILY;COUNT=14", ["20.", "21.", "22.", "23."]),
        ("20260310", "FREQ=DAILY;UNTIL=20260322", ["20.", "21.", "22."]),
        ("20260320", "FREQ=WEEKLY;COUNT=1", ["20."]),
    ],
)
def test_rules_come_again(start: str, rule: str, expected: list[str]) -> None:
    lines = f"DTSTART;TZID=Europe/Berlin:{start}T180000", "DURATION:PT1H", f"RRULE:{rule}"
    assert [each.split()[1][:3] for each in shifts(*lines, days=12)] == expected


def test_until_in_utc_is_a_moment_and_counts_itself() -> None:
    lines = "DTSTART;TZID=Europe/Berlin:20260321T080000", "DURATION:PT1H"
    assert len(shifts(*lines, "RRULE:FREQ=DAILY;UNTIL=20260323T070000Z")) == 3
    assert len(shifts(*lines, "RRULE:FREQ=DAILY;UNTIL=20260323T065959Z")) == 2


def test_a_shift_that_began_long_ago_and_lasts_is_there() -> None:
    lines = "DTSTART;VALUE=DATE:20260301", "DURATION:P28D", "RRULE:FREQ=DAILY;INTERVAL=100"
    assert shifts(*lines) == ["maria 01.03. 00:00–29.03. 00:00"]


def test_exceptions_do_not_take_place() -> None:
    lines = "DTSTART;TZID=Europe/Berlin:20260320T180000", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=4"
    without = "EXDATE;TZID=Europe/Berlin:20260321T180000", "EXDATE:20260322T170000Z"
    assert shifts(*lines, *without) == ["maria 20.03. 18:00–20.03. 19:00", "maria 23.03. 18:00–23.03. 19:00"]
    assert len(shifts(*lines, "EXDATE;VALUE=DATE:20260321,20260322,20260323")) == 1


def test_an_event_in_the_place_of_another_replaces_it_and_a_cancelled_one_takes_it_away() -> None:
    series = ["UID:7", "SUMMARY:maria", "DTSTART:20260321T080000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=3"]
    swapped = ["UID:7", "SUMMARY:ken", "DTSTART:20260322T080000Z", "DURATION:PT2H", "RECURRENCE-ID:20260322T080000Z"]
    dropped = [*swapped[:-1], "RECURRENCE-ID:20260323T080000Z", "STATUS:CANCELLED"]
    events = (["BEGIN:VEVENT", *each, "END:VEVENT"] for each in (series, swapped, dropped))
    lines = ["BEGIN:VCALENDAR", *(line for event in events for line in event), "END:VCALENDAR"]
    assert shifts(data="\n".join(lines).encode(), zone="UTC") == [
        "maria 21.03. 08:00–21.03. 09:00",
        "ken 22.03. 08:00–22.03. 10:00",
    ]


def test_shifts_of_one_person_that_follow_each_other_are_one() -> None:
    lines = "DTSTART;VALUE=DATE:20260321", "RRULE:FREQ=DAILY;COUNT=7"
    assert shifts(*lines) == ["maria 21.03. 00:00–28.03. 00:00"]


# --- people ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "who"),
    [
        (["SUMMARY:maria"], ["maria"]),
        (["SUMMARY:On call: Maria Rossi (front)"], ["maria"]),
        (["SUMMARY:KX"], ["ken"]),
        (["SUMMARY:front", "ATTENDEE;CN=Ken:mailto:nobody@shop.example"], ["ken"]),
        (["SUMMARY:maria", "ATTENDEE:mailto:ken@shop.example"], ["ken"]),
        (["SUMMARY:duty", "ATTENDEE:MAILTO:M.Rossi@shop.example", "ATTENDEE:mailto:kx@x.example"], ["ken", "maria"]),
        (["SUMMARY:maria\\, or so", "ATTENDEE:mailto:who@x.example"], ["maria"]),
        (["SUMM", " ARY:mar", "\tia"], ["maria"]),
    ],
)
def test_who_is_meant(lines: list[str], who: list[str]) -> None:
    data = calendar(*lines, "DTSTART:20260321T080000Z", "DURATION:PT1H")
    assert sorted(each.split()[0] for each in shifts(data=data)) == who


@pytest.mark.parametrize("summary", ["Kem", "kenneth", "", "mariana is on duty"])
def test_an_event_that_means_nobody_is_told_with_its_line(summary: str) -> None:
    data = calendar(f"SUMMARY:{summary}", "DTSTART:20260321T080000Z", "DURATION:PT1H")
    found = read_calendar(data, BERLIN)
    made = rota("front", ReadRota(Source("rota.ics", None), BERLIN, found), PEOPLE, WALL, warn=True)
    assert made.rota.shifts == ()
    assert [each.line for each in made.flaws] == [3]
    if summary == "Kem":
        assert made.flaws[0].hint == 'did you mean "ken"?'


# --- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("DTSTART:20261301T080000Z", "'20261301T080000Z' is no date"),
        ("DTSTART:99991231T080000Z", "the year 9999 is not from 1971 to 2199"),
        ("DTSTART;TZID=Nowhere/Land:20260321T080000", "there is no time zone 'Nowhere/Land'"),
        ("DTSTART;TZID=../../etc/passwd:20260321T080000", "there is no time zone '../../etc/passwd'"),
        ("DTSTART 20260321", "DTSTART has no value"),
    ],
)
def test_a_beginning_that_is_none_takes_its_event_away(line: str, expected: str) -> None:
    assert flaws(line, "DURATION:PT1H") == [f"6: {expected}"]


@pytest.mark.parametrize(
    ("line", "at", "expected"),
    [
        ("DTEND:20200101T000000Z", 3, "an event that ends before it begins"),
        ("DURATION:P9999D", 3, "an event that lasts longer than 366 days"),
        ("DURATION:tomorrow", 7, "'tomorrow' is no duration"),
        ("DURATION:P", 7, "'P' is no duration"),
        ("RDATE:20260322T080000Z", 7, "RDATE is not read"),
    ],
)
def test_a_length_that_is_none_takes_its_event_away(line: str, at: int, expected: str) -> None:
    assert flaws("DTSTART:20260321T080000Z", line) == [f"{at}: {expected}"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("FREQ=SECONDLY", "FREQ=SECONDLY is not followed"),
        ("FREQ=YEARLY", "FREQ=YEARLY is not followed"),
        ("INTERVAL=2", "FREQ= is not followed"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL=0 is not possible"),
        ("FREQ=DAILY;COUNT=99999999999", "COUNT=99999999999 is not possible"),
        ("FREQ=DAILY;COUNT=2;UNTIL=20270101", "a rule has COUNT or UNTIL, not both"),
        ("FREQ=DAILY;UNTIL=never", "'NEVER' is no date"),
        ("FREQ=WEEKLY;BYDAY=2MO", "BYDAY=2MO is not possible"),
        ("FREQ=MONTHLY;BYDAY=6MO", "BYDAY=6MO is not possible"),
        ("FREQ=MONTHLY;BYDAY=XX", "BYDAY=XX is not possible"),
        ("FREQ=MONTHLY;BYMONTHDAY=1", "'BYMONTHDAY' is not followed in a rule"),
        ("FREQ=DAILY;FREQ=DAILY", "'FREQ=DAILY' is no part of a rule"),
        ("nonsense", "'NONSENSE' is no part of a rule"),
    ],
)
def test_a_rule_that_is_not_followed_takes_its_event_away(rule: str, expected: str) -> None:
    assert flaws("DTSTART:20260321T080000Z", "DURATION:PT1H", f"RRULE:{rule}") == [f"8: {expected}"]


def test_one_bad_event_does_not_take_the_others_along() -> None:
    good = ["BEGIN:VEVENT", "SUMMARY:ken", "DTSTART:20260321T080000Z", "DURATION:PT1H", "END:VEVENT"]
    bad = ["BEGIN:VEVENT", "SUMMARY:ken", "DTSTART:soon", "END:VEVENT", "nonsense"]
    found = read_calendar("\n".join(["BEGIN:VCALENDAR", *bad, *good, "END:VCALENDAR"]).encode(), BERLIN)
    assert len(found.events) == 1
    assert [each.line for each in found.flaws] == [4, 6]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "the file is empty"),
        (b"<html>Please log in</html>", "this is no calendar: it does not begin with BEGIN:VCALENDAR"),
        (calendar("DTSTART:20260321T080000Z")[:-30], "the file ends within the VEVENT that begins here"),
        (b"BEGIN:VCALENDAR\nEND:VEVENT", "END:VEVENT ends what has not begun; VCALENDAR is open here"),
        (b"BEGIN:VCALENDAR\n" * 20, "components lie too deep within each other"),
        (calendar(events=MAX_EVENTS + 1) + b" " * 0, f"there are more than {MAX_EVENTS} events"),
        (b"BEGIN:VCALENDAR\n" + b"x" * 1_100_000, "the file has more than 1024 KiB"),
    ],
)
def test_a_file_that_is_no_calendar_or_half_of_one_is_broken_as_a_whole(data: bytes, expected: str) -> None:
    found = read_calendar(data.replace(b"UID:1", b"DTSTART:20260321\r\nDTEND:20260322"), BERLIN)
    assert found.broken
    assert found.events == ()
    assert found.flaws[0].message.startswith(expected)


def test_what_belongs_to_an_alarm_or_a_zone_is_not_the_events() -> None:
    alarm = ["BEGIN:VALARM", "SUMMARY:ken", "DURATION:PT9H", "END:VALARM"]
    assert shifts("DTSTART:20260321T080000Z", "DURATION:PT1H", *alarm) == ["maria 21.03. 09:00–21.03. 10:00"]


def test_nothing_of_a_file_reaches_a_terminal_as_it_is() -> None:
    data = calendar("SUMMARY:\x1b]0;owned\x07 \x1b[31mkim", "DTSTART:20260321T080000Z", "DURATION:PT1H")
    found = read_calendar(data, BERLIN)
    made = rota("front", ReadRota(Source("rota.ics", None), BERLIN, found), PEOPLE, WALL, warn=True)
    assert all("\x1b" not in each.message + each.hint for each in made.flaws)
    assert made.flaws


def test_rules_without_an_end_from_long_ago_are_bounded() -> None:
    lines = ["SUMMARY:maria", "DTSTART:19710101T000000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=10000"]
    found = read_calendar(calendar(*lines, events=200), BERLIN)
    made = rota("front", ReadRota(Source("rota.ics", None), BERLIN, found), PEOPLE, WALL, warn=True)
    assert [each.message for each in made.flaws] == ["the rules of this file go on for too long"]
    never = read_calendar(calendar(*lines[:-1], "RRULE:FREQ=DAILY;INTERVAL=7;BYDAY=MO"), BERLIN)
    assert rota("front", ReadRota(Source("r", None), BERLIN, never), PEOPLE, WALL, warn=True).rota.shifts == ()


LINES = st.one_of(
    st.sampled_from([
        "BEGIN:VEVENT", "END:VEVENT", "BEGIN:VCALENDAR", "END:VCALENDAR", "SUMMARY:ken", "RRULE:FREQ=DAILY",
        "DTSTART:20260321T080000Z", "DURATION:PT1H", "DTEND;VALUE=DATE:20260322", "RRULE:FREQ=MONTHLY;BYDAY=-5FR",
        "RRULE:FREQ=WEEKLY;INTERVAL=1000;COUNT=10000;BYDAY=MO,TU", "EXDATE:20260321,20260322T080000Z",
        "RECURRENCE-ID:20260322", "DTSTART;TZID=Asia/Kathmandu:20991231T235960", " folded", "UID:1", "STATUS:CANCELLED",
    ]),
    st.builds("{}{}{}".format, st.sampled_from(["DTSTART", "RRULE", "DURATION", "EXDATE", "ATTENDEE"]),
              st.sampled_from([":", ";TZID=", ';CN="', ""]), st.text(max_size=30)),
    st.text(max_size=60),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(LINES, max_size=25), st.booleans())
def test_whatever_is_in_a_file_it_is_read_in_bounded_time_and_without_an_exception(
    lines: list[str], framed: bool
) -> None:
    framing = ["BEGIN:VCALENDAR", *lines, "END:VCALENDAR"] if framed else lines
    found = read_calendar("\n".join(framing).encode("utf-8", "replace"), BERLIN)
    made = rota("front", ReadRota(Source("rota.ics", None), BERLIN, found), PEOPLE, WALL, warn=True)
    assert len(made.flaws) <= MAX_FLAWS
    assert len(made.rota.shifts) <= MAX_SHIFTS
    assert all(each.start < each.end for each in made.rota.shifts)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_do_any_harm(data: bytes) -> None:
    assert read_calendar(data, BERLIN).events == ()
