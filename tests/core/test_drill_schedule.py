"""When drills are due: the calendar's dates, reminders, misfires, surprises; each due time is claimed once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.core import drill_schedule
from opsdash.core.drill_schedule import PROOF, dates, driver, due, in_order, surprise_at
from opsdash.engine.calendar import next_cron
from opsdash.model import inputs as i
from opsdash.model.drill import Drill, DrillDue, DrillEvidence, DrillPast, Level, Responder, Schedule, Verdict
from opsdash.model.operation import Absence, Person
from opsdash.model.records import DrillDueSet, DrillMissed, DrillOverdue, DrillReminded, DrillStarted
from opsdash.model.status import Status
from opsdash.testing import NEW_YEAR, Inbox, alarming, email, mail_outside, operation
from opsdash.testing_drills import DrillTimeline, Faults, drill, with_drills
from tests.core.test_drill_runs import PRIMARY, D, rule

DAY, HOUR = 86400.0, 3600.0
MONTHLY = Schedule(cron="0 9 1 2-12 *")
QUARTERLY = Schedule(every=90 * DAY)


@dataclass
class Almanac:
    """A calendar: cron as it is, and windows that are open so many hours from so many hours on, each day."""

    windows: dict[str, tuple[float, float]] = field(default_factory=lambda: {"work": (10.0, 5.0)})

    def next_cron(self, expression: str, timezone: str, after: float) -> float | None:
        return next_cron(expression, timezone, after)

    def opens(self, windows: tuple[str, ...], at: float) -> tuple[float, float] | None:
        spans = []
        for name in windows:
            start, hours = self.windows[name]
            day = at - (at - NEW_YEAR) % DAY
            begins = [day + n * DAY + start * HOUR for n in (-1, 0, 1)]
            spans += [(since, since + hours * HOUR) for since in begins if since + hours * HOUR > at]
        return min(spans, default=None)


def timeline_of(*drills: Drill, **settings: Any) -> DrillTimeline:
    people = [Person("maria", "Maria", alarms=("ops",)), Person("ken", "Ken")]
    parts = operation(email(owners=("maria", "ken")), people=people, alarms=alarming("ops"), **settings)
    faults = Faults(breaks={PRIMARY: Status.DOWN})
    return DrillTimeline(with_drills(parts, *drills), outside=mail_outside(), inbox=Inbox(), faults=faults)


def skip(timeline: DrillTimeline, seconds: float) -> None:
    """A long time passes in which nobody looks; timers that came due meanwhile fire once, at its end."""
    timeline.clock.advance(seconds)
    timeline.live_on(15)


def told(timeline: DrillTimeline, calendar: Almanac | None = None) -> None:
    """The calendar is asked, and the core is told."""
    found = dates(timeline.world, timeline.clock.wall, calendar or Almanac())
    timeline.feed(i.DrillDates(found))


def known(timeline: DrillTimeline, name: str = D) -> DrillDue:
    found: DrillDue = timeline.world.get("drill_dues", name)
    return found


def past(verdict: Verdict = Verdict.PASSED, at: float = NEW_YEAR) -> DrillPast:
    each = DrillEvidence("DRILL-1", D, "email", Level.CONTAINED, at, verdict)
    return DrillPast(each, each if verdict is Verdict.PASSED else None, each if verdict is Verdict.FAILED else None)


# --- dates -----------------------------------------------------------------------------------------------------------


def when(each: Drill, found: DrillPast | None, before: DrillDue | None, days: float) -> float | None:
    """Days from new year to when a drill is due, asked `days` after it."""
    at = due(each, found, before, NEW_YEAR + days * DAY, Almanac())
    return None if at is None else (at - NEW_YEAR) / DAY


def test_by_the_calendar_it_is_due_at_the_next_date() -> None:
    assert when(drill(schedule=MONTHLY), None, None, 3) == 31 + 9 / 24


def test_a_date_that_nobody_has_claimed_stays_until_the_next_has_come() -> None:
    first = DrillDue(NEW_YEAR + (31 + 9 / 24) * DAY)
    assert when(drill(schedule=MONTHLY), None, first, 40) == 31 + 9 / 24
    assert when(drill(schedule=MONTHLY), None, first, 60) == 59 + 9 / 24
    claimed = replace(first, claimed="DRILL-1")
    assert when(drill(schedule=MONTHLY), None, claimed, 40) == 59 + 9 / 24
    assert when(drill(schedule=MONTHLY), None, claimed, 70) == 59 + 9 / 24, "the next one is due meanwhile"


def test_every_so_often_counts_from_the_latest_evidence_that_proves_something() -> None:
    assert when(drill(schedule=QUARTERLY), past(), None, 10) == 90
    assert when(drill(schedule=QUARTERLY), None, None, 10) == 10, "what was never run is due"
    assert when(drill(schedule=QUARTERLY), None, DrillDue(NEW_YEAR), 10) == 0, "and stays due"
    assert when(drill(schedule=QUARTERLY), past(Verdict.FAILED), None, 10) == 0, "what failed is due at once"


def test_a_due_time_is_moved_into_its_window() -> None:
    at = when(drill(schedule=replace(QUARTERLY, windows=("work",))), past(), None, 10)
    assert at == 90 + 10 / 24
    at = when(drill(schedule=Schedule(cron="0 20 1 * *", windows=("work",))), None, None, 3)
    assert at == 32 + 10 / 24


def test_without_a_schedule_it_is_due_when_its_evidence_runs_out() -> None:
    assert when(drill(), past(), None, 10) == 100
    assert when(drill(), None, None, 10) is None


def test_a_drill_that_is_off_has_no_date() -> None:
    timeline = timeline_of(drill(schedule=QUARTERLY, off="no undo"))
    assert dates(timeline.world, timeline.clock.wall, Almanac()) == ()


def test_a_date_that_cron_never_has_is_none() -> None:
    assert when(drill(schedule=Schedule(cron="0 0 30 2 *")), None, None, 3) is None


# --- said ------------------------------------------------------------------------------------------------------------


def test_its_owner_is_reminded_once_for_each_distance() -> None:
    timeline = timeline_of(drill(schedule=Schedule(cron="0 9 1 2 *")))
    for _ in range(31 * 4):
        told(timeline)
        timeline.clock.advance(6 * HOUR)
    assert [(each.name, each.who) for each in timeline.of(DrillReminded)] == [("7d", "maria"), ("24h", "maria")]
    timeline.advance(1.0)
    assert timeline.inbox is not None
    assert len(timeline.inbox.titles("ops")) == 2
    assert "is due in" in timeline.inbox.titles("ops")[0]


def test_after_a_time_without_an_engine_only_the_nearest_reminder_is_given() -> None:
    timeline = timeline_of(drill(schedule=Schedule(cron="0 9 1 2 *")))
    told(timeline)
    later = timeline.crash(seconds=31 * DAY - 6 * HOUR)
    told(later)
    told(later)
    assert [each.name for each in later.of(DrillReminded)] == ["24h"]


def test_evidence_is_reminded_of_after_three_quarters_of_its_time() -> None:
    timeline = timeline_of(drill())
    timeline.live_on(15)
    timeline.begin(D)
    timeline.until_ended(D)
    for days in (0, 74, 76, 90):
        timeline.clock.advance(max(0.0, NEW_YEAR + days * DAY - timeline.clock.wall))
        told(timeline)
    assert [(each.name, round((each.at - NEW_YEAR) / DAY)) for each in timeline.of(DrillReminded)] == [(PROOF, 76)]


def test_what_nobody_has_run_a_day_after_it_was_due_is_overdue_once() -> None:
    timeline = timeline_of(drill(schedule=QUARTERLY))
    for _ in range(60):
        told(timeline)
        timeline.clock.advance(HOUR)
    found = timeline.of(DrillOverdue)
    assert [each.why for each in found] == ["nobody has run it"]
    assert known(timeline).overdue


def test_what_was_due_while_no_engine_ran_is_said_at_once() -> None:
    timeline = timeline_of(drill(schedule=MONTHLY))
    told(timeline)
    later = timeline.crash(seconds=33 * DAY)
    told(later)
    assert [each.why for each in later.of(DrillOverdue)] == ["no engine ran at that time"]


def test_an_engine_that_is_started_again_on_the_day_makes_nothing_overdue() -> None:
    timeline = timeline_of(drill(schedule=QUARTERLY))
    told(timeline)
    later = timeline.crash(seconds=HOUR)
    told(later)
    assert later.of(DrillOverdue) == []
    later.clock.advance(DAY)
    told(later)
    assert [each.why for each in later.of(DrillOverdue)] == ["nobody has run it"]


def test_a_drill_that_is_new_is_due_and_not_overdue_from_the_first_moment() -> None:
    timeline = timeline_of(drill(schedule=QUARTERLY))
    found = dates(timeline.world, timeline.clock.wall - 0.2, Almanac())
    timeline.feed(i.Started("1", 1))
    timeline.feed(i.DrillDates(found))
    assert known(timeline).due < timeline.clock.wall
    later = timeline.crash(seconds=HOUR)
    told(later)
    assert (timeline.of(DrillOverdue), later.of(DrillOverdue)) == ([], [])


def test_an_engine_that_ran_at_a_date_and_was_started_again_since_does_not_say_that_none_ran() -> None:
    timeline = timeline_of(drill(schedule=MONTHLY))
    told(timeline)
    timeline.clock.advance(31 * DAY + 10 * HOUR)
    told(timeline)
    timeline.feed(i.Stopping("a new version"))
    later = timeline.crash(seconds=60.0)
    told(later)
    assert known(later).due < later.clock.wall
    assert later.of(DrillOverdue) == []
    later.clock.advance(DAY)
    told(later)
    assert [each.why for each in later.of(DrillOverdue)] == ["nobody has run it"]


def test_a_date_that_led_to_no_run_is_missed_when_the_next_one_comes() -> None:
    timeline = timeline_of(drill(schedule=MONTHLY))
    told(timeline)
    later = timeline.crash(seconds=70 * DAY)
    told(later)
    missed = later.of(DrillMissed)
    assert [round((each.due - NEW_YEAR) / DAY) for each in missed] == [31]
    assert missed[0].why.startswith("no engine ran")
    assert known(later).missed_at == missed[0].due
    later.check_replay()


def test_a_drill_that_leaves_the_files_has_no_date_any_more() -> None:
    timeline = timeline_of(drill(schedule=QUARTERLY))
    told(timeline)
    timeline.reload(with_drills(timeline.world.operation))
    told(timeline)
    assert timeline.world.get("drill_dues", D) is None
    assert [each.due is None for each in timeline.of(DrillDueSet)] == [False, True]


# --- claimed ---------------------------------------------------------------------------------------------------------


def test_a_due_time_is_claimed_by_one_run_only() -> None:
    timeline = timeline_of(drill(schedule=MONTHLY))
    told(timeline)
    skip(timeline, 32 * DAY)
    told(timeline)
    at = known(timeline).due
    assert timeline.begin(D, due=at) == "DRILL-1"
    run = timeline.until_ended(D)
    assert (run.verdict, run.due) == (Verdict.PASSED, at)
    assert known(timeline).claimed == "DRILL-1"
    assert rule(timeline.begin(D, "ken", due=at)) == "claimed"
    told(timeline)
    assert round((known(timeline).due - NEW_YEAR) / DAY) == 59


def test_a_run_before_its_date_claims_nothing() -> None:
    timeline = timeline_of(drill(schedule=MONTHLY))
    told(timeline)
    timeline.live_on(15)
    timeline.begin(D)
    assert timeline.until_ended(D).due is None
    assert known(timeline).claimed == ""


def test_a_run_that_says_nothing_gives_the_due_time_back() -> None:
    timeline = timeline_of(drill(schedule=QUARTERLY))
    timeline.live_on(15)
    told(timeline)
    timeline.begin(D)
    assert known(timeline).claimed == "DRILL-1"
    timeline.want(i.StopDrillIntent("DRILL-1"))
    timeline.until_ended(D)
    assert known(timeline).claimed == ""
    timeline.check_replay()


# --- surprise --------------------------------------------------------------------------------------------------------


SURPRISE = drill(level=Level.SYNTHETIC, schedule=Schedule(cron="0 9 1 2 *", remind=()), surprise=5 * DAY)


def test_a_surprise_begins_by_itself_once() -> None:
    timeline = timeline_of(SURPRISE)
    told(timeline)
    starts = known(timeline).starts
    assert starts is not None
    assert known(timeline).due <= starts <= known(timeline).due + 5 * DAY
    at = known(timeline).due
    skip(timeline, starts - timeline.clock.wall - 60.0)
    told(timeline)
    assert timeline.of(DrillStarted) == []
    for _ in range(5):
        timeline.live_on(30)
        told(timeline)
    run = timeline.until_ended(D)
    assert (run.cause, run.who, run.due) == ("schedule", "opsdash", at)
    for _ in range(100):
        told(timeline)
        timeline.clock.advance(HOUR)
    assert len(timeline.of(DrillStarted)) == 1


def test_a_surprise_that_cannot_begin_is_tried_for_an_hour_and_then_said_to_be_missed() -> None:
    timeline = timeline_of(SURPRISE)
    told(timeline)
    starts = known(timeline).starts
    assert starts is not None
    timeline.want(i.HaltDrillsIntent("sale"))
    skip(timeline, starts - timeline.clock.wall + 1.0)
    for _ in range(80):
        timeline.live_on(60)
        told(timeline)
    assert timeline.of(DrillStarted) == []
    assert ["sale" in each.why for each in timeline.of(DrillMissed)] == [True]
    timeline.want(i.AllowDrillsIntent("over"))
    told(timeline)
    assert timeline.of(DrillStarted) == [], "a person begins it from now on"
    assert timeline.begin(D) == "DRILL-1"


def test_a_surprise_begins_although_its_engine_was_just_started_again() -> None:
    timeline = timeline_of(SURPRISE)
    told(timeline)
    starts = known(timeline).starts
    assert starts is not None
    skip(timeline, starts - timeline.clock.wall - 60.0)
    told(timeline)
    later = timeline.crash(seconds=120)
    later.live_on(15)
    told(later)
    assert later.until_ended(D).cause == "schedule"


def test_a_surprise_whose_time_came_while_no_engine_ran_is_not_made_up_for() -> None:
    timeline = timeline_of(SURPRISE)
    told(timeline)
    later = timeline.crash(seconds=40 * DAY)
    later.live_on(15)
    told(later)
    told(later)
    assert later.of(DrillStarted) == []
    assert [each.why for each in later.of(DrillMissed)] == ["no engine ran when it was to begin by itself"]


def test_a_surprise_that_takes_two_people_is_begun_by_them() -> None:
    timeline = timeline_of(replace(SURPRISE, approvals=2))
    told(timeline)
    skip(timeline, 40 * DAY)
    told(timeline)
    assert timeline.of(DrillStarted) == []
    assert "two people" in timeline.of(DrillMissed)[0].why


@given(
    name=st.text("abcdef-", min_size=1, max_size=12),
    day=st.integers(0, 2000),
    span=st.floats(60.0, 30 * DAY),
    windowed=st.booleans(),
)
def test_a_surprise_comes_at_one_time_within_its_span_and_windows(
    *, name: str, day: int, span: float, windowed: bool
) -> None:
    schedule = replace(QUARTERLY, windows=("work",) if windowed else ())
    each = drill(name, schedule=schedule, surprise=span)
    at = NEW_YEAR + day * DAY + 10 * HOUR
    found = surprise_at(each, at, Almanac())
    assert found is not None
    assert found == surprise_at(each, at, Almanac())
    assert at <= found <= at + span
    if windowed:
        hours = (found - NEW_YEAR) % DAY / HOUR
        assert 10.0 <= hours <= 15.0
    assert surprise_at(drill(name), at, Almanac()) is None


# --- lists, people ---------------------------------------------------------------------------------------------------


def test_what_is_overdue_comes_first_and_what_has_no_date_last() -> None:
    none, later, now = drill("none"), drill("later", schedule=MONTHLY), drill("now", schedule=QUARTERLY)
    timeline = timeline_of(none, later, now)
    told(timeline)
    assert [each.id for each in in_order(timeline.world, timeline.clock.wall)] == ["now", "later", "none"]


@pytest.mark.parametrize(
    ("practised", "expected"),
    [({"maria": 5.0}, "ken"), ({"maria": 5.0, "ken": 9.0}, "maria"), ({}, "ken")],
)
def test_whoever_has_never_done_it_begins_the_next_one(practised: dict[str, float], expected: str) -> None:
    timeline = timeline_of(drill())

    def latest(who: str) -> float | None:
        return practised.get(who)

    assert driver(timeline.world, drill(), latest, timeline.clock.wall) == expected


def test_whoever_is_away_or_to_be_absent_does_not() -> None:
    people = [Person("maria", "Maria"), Person("ken", "Ken", away=(Absence(None, None),)), Person("li", "Li")]
    timeline = DrillTimeline(operation(email(owners=("ken", "li", "maria")), people=people))
    each = drill(absent=("li",), responder=Responder.PEOPLE)
    assert driver(timeline.world, each, lambda _who: None, timeline.clock.wall) == "maria"
    nobody = replace(each, absent=("li", "maria"))
    assert driver(timeline.world, nobody, lambda _who: None, timeline.clock.wall) is None


def test_a_calendar_of_every_minute_is_not_gone_through_minute_by_minute() -> None:
    each = drill(schedule=Schedule(cron="* * * * *"))
    at = due(each, None, DrillDue(NEW_YEAR), NEW_YEAR + 400 * DAY, Almanac())
    assert at is not None
    assert drill_schedule.MOST_DATES < 400 * DAY / 60
