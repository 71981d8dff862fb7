"""iCalendar files (RFC 5545), as far as a rota needs them: who is meant, from when to when, how often again.

Read are the VEVENTs with DTSTART, DTEND or DURATION, RRULE, EXDATE, RECURRENCE-ID, STATUS, SUMMARY and ATTENDEE; time
zones by their IANA names, whatever a VTIMEZONE says of them. What cannot be read loses its event and nothing else; what
would have to be guessed (RDATE, rules by the hour) is refused. Everything here is bounded: a file comes from elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfo

from opsdash.config.recurrence import Rule, RuleError, parse_rule
from opsdash.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MAX_BYTES: Final = 1024 * 1024
MAX_EVENTS: Final = 5000
MAX_FLAWS: Final = 50
MAX_EXCEPTIONS: Final = 2000
LONGEST: Final = timedelta(days=366)
YEARS: Final = range(1971, 2200)

_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
_PARAMETER = re.compile(r';([A-Za-z0-9-]{1,64})=("[^"]*"|[^";:,]*)((?:,(?:"[^"]*"|[^";:,]*))*)')
_MOMENT = re.compile(r"(\d{4})(\d{2})(\d{2})(?:T(\d{2})(\d{2})(\d{2})(Z?))?")
_DURATION = re.compile(r"\+?P(?:(\d{1,4})W|(?:(\d{1,4})D)?(?:T(?:(\d{1,5})H)?(?:(\d{1,6})M)?(?:(\d{1,7})S)?)?)")
_ESCAPE = re.compile(r"\\(.)")


class Flaw(NamedTuple):
    """What is wrong with a file, and where."""

    line: int
    message: str
    hint: str = ""


class When(NamedTuple):
    """A time as written: local, with its zone; `whole_day`: a date alone."""

    local: datetime
    zone: ZoneInfo
    whole_day: bool

    @property
    def timestamp(self) -> float:
        """Seconds since 1970 UTC. A time that a clock skips is as much later; of two equal ones it is the first."""
        return self.local.replace(tzinfo=self.zone).timestamp()


@dataclass(frozen=True, slots=True)
class Attendee:
    """Somebody who was invited: an address, without `mailto:`, and a name."""

    address: str
    name: str


@dataclass(frozen=True, slots=True)
class Event:
    """One VEVENT. length: between its local beginning and end.

    without: beginnings that do not take place, as timestamps; without_days: the same as dates.
    replaces: of the event with the same `uid`, the beginning in whose place this one stands.
    """

    line: int
    start: When
    length: timedelta
    rule: Rule | None = None
    without: frozenset[float] = frozenset()
    without_days: frozenset[date] = frozenset()
    uid: str = ""
    replaces: When | None = None
    cancelled: bool = False
    summary: str = ""
    attendees: tuple[Attendee, ...] = ()


@dataclass(frozen=True, slots=True)
class Calendar:
    """What a file says. broken: nothing of it can be relied on, and the first flaw says why."""

    events: tuple[Event, ...] = ()
    flaws: tuple[Flaw, ...] = ()
    broken: bool = False


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    name: str
    parameters: dict[str, str]
    value: str


class _FlawError(Exception):
    """One thing is wrong, at a line."""

    def __init__(self, line: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.flaw = Flaw(line, message, hint)


def read_calendar(data: bytes, zone: str) -> Calendar:
    """What a file says. zone: of dates, and of times that name none. Never raises, whatever is in the file."""
    if len(data) > MAX_BYTES:
        return _broken(Flaw(0, f"the file has more than {MAX_BYTES // 1024} KiB", "leave out what is long over"))
    reading = _Reading(ZoneInfo(zone))
    try:
        reading.read(_unfolded(data))
    except _FlawError as error:
        return _broken(error.flaw)
    return Calendar(tuple(reading.events), tuple(reading.flaws[:MAX_FLAWS]))


def _broken(flaw: Flaw) -> Calendar:
    return Calendar(flaws=(flaw,), broken=True)


# --- lines -----------------------------------------------------------------------------------------------------------


def _unfolded(data: bytes) -> Iterator[tuple[int, str]]:
    """Logical lines with the number of their first one: a line that begins with a blank goes on with the one before."""
    text = data.decode("utf-8-sig", "replace")
    number, parts = 0, [""]
    for count, line in enumerate(re.split(r"\r?\n", text), start=1):
        if line[:1] in (" ", "\t") and number:
            parts.append(line[1:])
            continue
        if number:
            yield number, "".join(parts)
        number, parts = count, [line]
    yield number, "".join(parts)


def _line(number: int, text: str) -> _Line:
    """`NAME;PARAMETER=VALUE:VALUE`."""
    name = _NAME.match(text)
    if name is None:
        raise _FlawError(number, f"{clean(text, 40)!r} is no line of a calendar", "write NAME:VALUE")
    place = name.end()
    parameters: dict[str, str] = {}
    while found := _PARAMETER.match(text, place):
        parameters[found[1].upper()] = found[2].strip('"')
        place = found.end()
    if text[place : place + 1] != ":":
        raise _FlawError(number, f"{name[0]} has no value", "write NAME:VALUE")
    return _Line(number, name[0].upper(), parameters, text[place + 1 :])


def _text(value: str, limit: int = 200) -> str:
    """A text without its escapes, safe to show."""
    return clean(_ESCAPE.sub(lambda found: "\n" if found[1] in "nN" else found[1], value[: 4 * limit]), limit)


# --- events ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Draft:
    """A VEVENT that is being read. flaw: the first thing that is wrong with it."""

    line: int
    start: When | None = None
    end: When | None = None
    length: timedelta | None = None
    rule: _Line | None = None
    without: set[float] = field(default_factory=set)
    without_days: set[date] = field(default_factory=set)
    uid: str = ""
    replaces: When | None = None
    cancelled: bool = False
    summary: str = ""
    attendees: list[Attendee] = field(default_factory=list)
    flaw: Flaw | None = None


class _Reading:
    """One file on the way to its events. zone: of what names none."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone
        self.events: list[Event] = []
        self.flaws: list[Flaw] = []
        self._inside: list[tuple[str, int]] = []
        self._draft: _Draft | None = None
        self._take: dict[str, Callable[[_Draft, _Line], None]] = {
            "DTSTART": self._take_start,
            "DTEND": self._take_end,
            "DURATION": self._take_duration,
            "RRULE": self._take_rule,
            "EXDATE": self._take_exceptions,
            "RECURRENCE-ID": self._take_replaces,
            "RDATE": self._refuse,
            "EXRULE": self._refuse,
            "STATUS": self._take_status,
            "UID": self._take_uid,
            "SUMMARY": self._take_summary,
            "ATTENDEE": self._take_attendee,
        }

    def read(self, lines: Iterator[tuple[int, str]]) -> None:
        """Every line; raises _FlawError where the file as a whole is none."""
        begun = False
        for number, text in lines:
            if not text.strip():
                continue
            if not begun and text.strip().upper() != "BEGIN:VCALENDAR":
                raise _FlawError(number, "this is no calendar: it does not begin with BEGIN:VCALENDAR")
            begun = True
            self._read(number, text)
        if not begun:
            raise _FlawError(1, "the file is empty", "export the rota anew")
        if self._inside:
            name, since = self._inside[-1]
            message = f"the file ends within the {name} that begins here: it was cut short"
            raise _FlawError(since, message, "export the rota anew")

    def _read(self, number: int, text: str) -> None:
        draft = self._draft
        try:
            line = _line(number, text)
        except _FlawError as error:
            if draft is None or draft.flaw is None:
                self._note(draft, error.flaw)
            return
        if line.name == "BEGIN":
            self._begin(line)
        elif line.name == "END":
            self._end(line)
        elif draft is not None and draft.flaw is None and self._inside[-1][0] == "VEVENT" and line.name in self._take:
            try:
                self._take[line.name](draft, line)
            except _FlawError as error:
                self._note(draft, error.flaw)

    def _note(self, draft: _Draft | None, flaw: Flaw) -> None:
        if draft is not None:
            draft.flaw = flaw
        self.flaws.append(flaw)

    def _begin(self, line: _Line) -> None:
        name = line.value.strip().upper()[:40]
        if len(self._inside) > 8:
            raise _FlawError(line.number, "components lie too deep within each other")
        if name == "VEVENT" and len(self._inside) == 1:
            if len(self.events) >= MAX_EVENTS:
                raise _FlawError(line.number, f"there are more than {MAX_EVENTS} events", "leave out what is long over")
            self._draft = _Draft(line.number)
        self._inside.append((clean(name, 40), line.number))

    def _end(self, line: _Line) -> None:
        name = clean(line.value.strip().upper(), 40)
        if not self._inside or self._inside[-1][0] != name:
            inside = self._inside[-1][0] if self._inside else "nothing"
            raise _FlawError(line.number, f"END:{name} ends what has not begun; {inside} is open here")
        self._inside.pop()
        if name == "VEVENT" and len(self._inside) == 1 and self._draft is not None:
            draft, self._draft = self._draft, None
            if draft.flaw is None:
                try:
                    self.events.append(self._event(draft))
                except _FlawError as error:
                    self._note(None, error.flaw)

    def _event(self, draft: _Draft) -> Event:
        if draft.start is None:
            raise _FlawError(draft.line, "an event without DTSTART", "say when it begins")
        length = draft.length
        if draft.end is not None:
            local = datetime.fromtimestamp(draft.end.timestamp, draft.start.zone).replace(tzinfo=None)
            length = (draft.end.local if draft.end.zone == draft.start.zone else local) - draft.start.local
        if length is None:
            if not draft.start.whole_day:
                raise _FlawError(draft.line, "an event that has no end", "write DTEND or DURATION")
            length = timedelta(days=1)
        if not timedelta() < length <= LONGEST:
            why = "ends before it begins" if length <= timedelta() else f"lasts longer than {LONGEST.days} days"
            raise _FlawError(draft.line, f"an event that {why}", "correct DTEND or DURATION")
        return Event(
            line=draft.line,
            start=draft.start,
            length=length,
            rule=None if draft.rule is None else self._rule(draft.rule, draft.start),
            without=frozenset(draft.without),
            without_days=frozenset(draft.without_days),
            uid=draft.uid,
            replaces=draft.replaces,
            cancelled=draft.cancelled,
            summary=draft.summary,
            attendees=tuple(draft.attendees),
        )

    def _rule(self, line: _Line, start: When) -> Rule:
        def until(text: str) -> float:
            when = self._when(text, _Line(line.number, line.name, {}, text), start.zone)
            day = timedelta(days=1) if when.whole_day else timedelta()
            return When(when.local + day, when.zone, whole_day=False).timestamp - (1 if when.whole_day else 0)

        try:
            return parse_rule(line.value.strip(), until)
        except RuleError as error:
            message, _, hint = str(error).partition("; ")
            raise _FlawError(line.number, message, hint) from None

    # --- properties --------------------------------------------------------------------------------------------------

    def _take_start(self, draft: _Draft, line: _Line) -> None:
        draft.start = self._when(line.value, line)

    def _take_end(self, draft: _Draft, line: _Line) -> None:
        draft.end = self._when(line.value, line)

    def _take_duration(self, draft: _Draft, line: _Line) -> None:
        found = _DURATION.fullmatch(line.value.strip().upper())
        if found is None or not any(found.groups()):
            raise _FlawError(line.number, f"{clean(line.value, 40)!r} is no duration", "write it as PT12H or P7D")
        weeks, days, hours, minutes, seconds = (int(each or 0) for each in found.groups())
        draft.length = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)

    def _take_rule(self, draft: _Draft, line: _Line) -> None:
        if draft.rule is not None:
            raise _FlawError(line.number, "an event with two rules", "write an event for each")
        draft.rule = line

    def _take_exceptions(self, draft: _Draft, line: _Line) -> None:
        for text in line.value.split(",", MAX_EXCEPTIONS)[:MAX_EXCEPTIONS]:
            when = self._when(text, line)
            if when.whole_day:
                draft.without_days.add(when.local.date())
            else:
                draft.without.add(when.timestamp)
        if len(draft.without) + len(draft.without_days) > MAX_EXCEPTIONS:
            raise _FlawError(line.number, f"an event with more than {MAX_EXCEPTIONS} exceptions", "begin a new one")

    def _take_replaces(self, draft: _Draft, line: _Line) -> None:
        if "RANGE" in line.parameters:
            hint = "export the rota with single events"
            raise _FlawError(line.number, "RECURRENCE-ID with a RANGE is not read", hint)
        draft.replaces = self._when(line.value, line)

    @staticmethod
    def _refuse(_draft: _Draft, line: _Line) -> None:
        raise _FlawError(line.number, f"{line.name} is not read", "write an event for each of these times")

    @staticmethod
    def _take_status(draft: _Draft, line: _Line) -> None:
        draft.cancelled = line.value.strip().upper() == "CANCELLED"

    @staticmethod
    def _take_uid(draft: _Draft, line: _Line) -> None:
        draft.uid = line.value[:256]

    @staticmethod
    def _take_summary(draft: _Draft, line: _Line) -> None:
        draft.summary = _text(line.value)

    @staticmethod
    def _take_attendee(draft: _Draft, line: _Line) -> None:
        address = line.value.strip()
        address = address[7:] if address[:7].lower() == "mailto:" else address
        if len(draft.attendees) < 20:
            draft.attendees.append(Attendee(clean(address, 200), _text(line.parameters.get("CN", ""))))

    # --- times -------------------------------------------------------------------------------------------------------

    def _when(self, text: str, line: _Line, zone: ZoneInfo | None = None) -> When:
        """A date or time as written. zone: where the line names none, in place of the file's."""
        found = _MOMENT.fullmatch(text.strip())
        local = None if found is None else _local(found)
        if found is None or local is None:
            message = f"{clean(text, 40)!r} is no date"
            raise _FlawError(line.number, message, "write it as 20261224 or 20261224T080000Z")
        if local.year not in YEARS:
            raise _FlawError(line.number, f"the year {local.year} is not from 1971 to 2199", "correct the date")
        named = line.parameters.get("TZID")
        where = ZoneInfo("UTC") if found[7] else self._named(named, line) if named else (zone or self.zone)
        return When(local, where, whole_day=found[4] is None)

    def _named(self, name: str, line: _Line) -> ZoneInfo:
        """A zone by its IANA name, also where a program has put its own before it (`/example.org/Europe/Berlin`)."""
        parts = name.strip("/").split("/")
        for text in (name, "/".join(parts[-2:]), "/".join(parts[-3:])):
            try:
                return ZoneInfo(text)
            except (KeyError, ValueError, OSError):
                continue
        message = f"there is no time zone {clean(name, 60)!r}"
        raise _FlawError(line.number, message, "export it with names such as Europe/Berlin")


def _local(found: re.Match[str]) -> datetime | None:
    """The local time that was written, None where there is no such day or hour. A leap second is the one before."""
    try:
        day = date(int(found[1]), int(found[2]), int(found[3]))
        at = time(int(found[4]), int(found[5]), int(found[6]) if found[6] != "60" else 59) if found[4] else time()
    except ValueError:
        return None
    return datetime.combine(day, at)


def replaced(events: Sequence[Event]) -> dict[str, tuple[frozenset[float], frozenset[date]]]:
    """By uid, the beginnings in whose place another event stands, as timestamps and as dates."""
    found: dict[str, tuple[set[float], set[date]]] = {}
    for event in events:
        if event.replaces is None or not event.uid:
            continue
        moments, days = found.setdefault(event.uid, (set(), set()))
        if event.replaces.whole_day:
            days.add(event.replaces.local.date())
        else:
            moments.add(event.replaces.timestamp)
    return {uid: (frozenset(moments), frozenset(days)) for uid, (moments, days) in found.items()}


def timestamp(local: datetime, zone: ZoneInfo) -> float:
    """Seconds since 1970 UTC of a local time."""
    return local.replace(tzinfo=zone).astimezone(UTC).timestamp()
