"""Reminders, escalation, acknowledgements: whoever does not react is not left alone, whoever does is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from opsdash.core.grouping import LOOK_EVERY, SELDOM
from opsdash.model import inputs as i
from opsdash.model.channel import GROUP_WAIT, Escalation, Route
from opsdash.model.message import Delivery, Message
from opsdash.model.operation import Person
from opsdash.model.switch import Refused
from opsdash.model.window import Occurrence, WindowKind, WindowSpec
from opsdash.testing import Inbox, Timeline, alarming, component, email, operation

SOON = GROUP_WAIT + LOOK_EVERY + 1
PEOPLE = [
    Person("maria", "Maria", alarms=("maria-sms",)),
    Person("ken", "Ken", alarms=("ken-sms",)),
    Person("boss", "Boss", alarms=("boss-sms",)),
]
TO_SECOND = Route(
    to=("owner",),
    escalate=(Escalation(600.0, ("second",)), Escalation(1800.0, ("boss",))),
    remind=900.0,
)


def shop(route: Route = TO_SECOND, owners: tuple[str, ...] = ("maria", "ken"), **settings: Any) -> Timeline:
    crm = component("crm", checks=["api"], owners=owners)
    channels = alarming("maria-sms", "ken-sms", "boss-sms", routes=[route])
    timeline = Timeline(operation(crm, people=PEOPLE, alarms=channels, **settings), inbox=Inbox())
    timeline.all_ok()
    timeline.down("crm/api", times=3)
    timeline.advance(SOON)
    return timeline


def got(timeline: Timeline, person: str) -> list[str]:
    return [message.kind.value for message in messages(timeline, person)]


def messages(timeline: Timeline, person: str) -> list[Message]:
    assert timeline.inbox is not None
    return [message for message in timeline.inbox.arrived if message.channel == f"{person}-sms"]


def acknowledge(timeline: Timeline, seconds: float | None) -> None:
    """As a person does, for a while or for good."""
    timeline.want(i.AckIntent("INC-1"))
    incident = timeline.world.get("incidents", "INC-1")
    until = None if seconds is None else timeline.clock.wall + seconds
    timeline.world.apply([("incidents", "INC-1", replace(incident, ack_until=until))])


def test_what_nobody_acknowledges_reaches_the_second_person_and_then_the_next() -> None:
    timeline = shop()
    assert (got(timeline, "maria"), got(timeline, "ken")) == (["problem"], [])
    timeline.advance(600 + 2 * LOOK_EVERY)
    assert got(timeline, "ken") == ["escalation"]
    assert messages(timeline, "ken")[0].title == "not acknowledged: crm is down: no answer"
    assert got(timeline, "boss") == []
    timeline.advance(1200 + LOOK_EVERY)
    assert got(timeline, "boss") == ["escalation"]
    timeline.ok("crm/api", times=2)
    timeline.advance(60)
    assert [got(timeline, each)[-1] for each in ("maria", "ken", "boss")] == ["resolved"] * 3


def test_reminders_come_again_until_somebody_acknowledges() -> None:
    timeline = shop()
    timeline.advance(900)
    assert got(timeline, "maria") == ["problem", "reminder"]
    reminder = messages(timeline, "maria")[-1]
    assert reminder.title == "still: crm is down: no answer"
    assert "nobody has acknowledged it" in reminder.body
    timeline.advance(900 + LOOK_EVERY)
    assert got(timeline, "maria") == ["problem", "reminder", "reminder"]
    acknowledge(timeline, None)
    timeline.advance(7200)
    assert got(timeline, "maria") == ["problem", "reminder", "reminder"]


def test_an_acknowledgement_stops_escalation() -> None:
    timeline = shop()
    acknowledge(timeline, None)
    timeline.advance(7200)
    assert (got(timeline, "maria"), got(timeline, "ken"), got(timeline, "boss")) == (["problem"], [], [])
    timeline.ok("crm/api", times=2)
    timeline.advance(60)
    assert got(timeline, "maria") == ["problem", "resolved"]


def test_when_an_acknowledgement_expires_that_is_told_and_everything_begins_anew() -> None:
    timeline = shop()
    acknowledge(timeline, 3600.0)
    timeline.advance(3590)
    assert (got(timeline, "maria"), got(timeline, "ken")) == (["problem"], [])
    timeline.advance(30)
    assert got(timeline, "maria") == ["problem", "reminder"]
    assert "the acknowledgement of maria has expired" in messages(timeline, "maria")[-1].body
    assert got(timeline, "ken") == []
    timeline.advance(600)
    assert (got(timeline, "ken"), got(timeline, "boss")) == (["escalation"], [])
    timeline.advance(1200 + LOOK_EVERY)
    assert got(timeline, "boss") == ["escalation"]


def test_an_expiry_is_told_also_where_nobody_asked_to_be_reminded() -> None:
    timeline = shop(Route(to=("owner",)))
    acknowledge(timeline, 3600.0)
    timeline.advance(7200)
    assert got(timeline, "maria") == ["problem", "reminder"]


def test_of_two_who_acknowledge_at_once_the_first_one_counts() -> None:
    timeline = shop()
    assert timeline.want(i.AckIntent("INC-1"), "maria") == ""
    refused = timeline.want(i.AckIntent("INC-1"), "ken")
    assert isinstance(refused, Refused)
    assert "maria" in refused.reason
    timeline.advance(1700)
    assert got(timeline, "ken") == []


def test_where_there_is_no_second_person_everybody_hears_of_it() -> None:
    timeline = shop(Route(to=("owner",), escalate=(Escalation(600.0, ("second",)),)), owners=("maria",))
    timeline.advance(600 + 2 * LOOK_EVERY)
    assert (got(timeline, "ken"), got(timeline, "boss")) == (["escalation"], ["escalation"])
    assert "nobody of second can be reached" in messages(timeline, "boss")[0].body


def test_an_escalation_skips_who_is_away() -> None:
    timeline = shop(owners=("maria", "ken", "boss"))
    timeline.want(i.AwayIntent("ken", None))
    timeline.advance(600 + 2 * LOOK_EVERY)
    assert (got(timeline, "ken"), got(timeline, "boss")) == ([], ["escalation"])


def test_reminders_do_not_pile_up_where_nothing_arrives() -> None:
    timeline = shop()
    assert timeline.inbox is not None
    timeline.inbox.outcome["maria-sms"] = Delivery.FAILED
    timeline.advance(10 * 3600)
    timeline.inbox.outcome.clear()
    timeline.advance(700)
    assert got(timeline, "maria") == ["problem", "reminder"]


def test_a_restart_reminds_nobody_early_and_forgets_nobody() -> None:
    timeline = shop()
    timeline.advance(300)
    later = timeline.crash()
    later.advance(240)
    assert (got(later, "maria"), got(later, "ken")) == (["problem"], [])
    later.advance(120)
    assert got(later, "ken") == ["escalation"]
    later.advance(300)
    assert got(later, "maria") == ["problem", "reminder"]


def test_a_clock_that_is_set_changes_nothing() -> None:
    for seconds in (-86400.0, 86400.0):
        timeline = shop()
        timeline.clock.jump(seconds)
        timeline.feed(i.ClockJumped(seconds))
        timeline.down("crm/api")
        timeline.advance(300)
        assert (got(timeline, "maria"), got(timeline, "ken")) == (["problem"], [])
        timeline.advance(360)
        assert got(timeline, "ken") == ["escalation"]


def test_in_quiet_hours_nobody_is_reminded() -> None:
    night = WindowSpec("night", WindowKind.QUIET, "Night", cron="0 22 * * *", length=28800.0)
    timeline = shop(windows={"night": night})
    timeline.feed(i.WindowsOpen((Occurrence("night", timeline.clock.wall, timeline.clock.wall + 28800),)))
    timeline.advance(7200)
    assert (got(timeline, "maria"), got(timeline, "ken")) == (["problem"], [])
    timeline.feed(i.WindowsOpen(()))
    timeline.advance(SOON)
    assert (got(timeline, "maria"), got(timeline, "ken")) == (["problem", "reminder"], ["escalation"])


def test_of_what_nobody_can_acknowledge_there_is_a_reminder_a_day_and_nobody_is_woken_for_it() -> None:
    everything = Route(to=("maria",), escalate=(Escalation(600.0, ("boss",)),), remind=900.0)
    channels = alarming("maria-sms", "boss-sms", routes=[everything])
    timeline = Timeline(operation(email(), people=PEOPLE, alarms=channels), inbox=Inbox())
    timeline.read("email", "pm-prod")
    timeline.all_ok()
    timeline.down("email/ses/api", times=3)
    timeline.advance(SELDOM - 60)
    assert got(timeline, "maria") == ["problem"]
    timeline.advance(120)
    assert (got(timeline, "maria"), got(timeline, "boss")) == (["problem", "reminder"], [])


def test_drills_are_marked_and_a_real_failure_among_them_takes_the_mark_away() -> None:
    parts = [component(name, checks=["api"]) for name in ("a", "b")]
    timeline = Timeline(operation(*parts, alarms=alarming("maria-sms")), inbox=Inbox())
    timeline.all_ok()
    timeline.down("a/api", times=3)
    incident = timeline.world.get("incidents", "INC-1")
    timeline.world.apply([("incidents", "INC-1", replace(incident, drill=True))])
    timeline.advance(SOON)
    assert messages(timeline, "maria")[0].title == "[DRILL] a is down: no answer"
    timeline.down("b/api", times=3)
    timeline.advance(60)
    timeline.ok("a/api", "b/api", times=2)
    timeline.advance(60)
    problem, end = messages(timeline, "maria")[1:]
    assert (problem.title, problem.drill) == ("b is down: no answer", False)
    assert (end.title, end.drill) == ("all 2 alarms are over: a, b", False)
    assert "[DRILL] a is down" in end.body
    refused = timeline.want(i.TellIntent("INC-1", "Nothing works."))
    assert isinstance(refused, Refused)
    assert refused.rule == "drill"
