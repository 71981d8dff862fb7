"""From an alarm to a message that arrived: one outage, one message; nothing lost; an end after each beginning."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.core.alarm_views import alarms_view
from opsdash.core.draft import Draft
from opsdash.core.grouping import FURTHEST, LOOK_EVERY
from opsdash.core.outbox import FIRST_RETRY, GIVE_UP_AFTER, LAST_RETRY, LONGEST_RETRY, retry_in
from opsdash.core.topics import BROKEN_AFTER
from opsdash.model import inputs as i
from opsdash.model.channel import GROUP_WAIT, Audience, Channel, Route
from opsdash.model.effects import Send
from opsdash.model.message import Delivery, Message, MessageKind, MessageState
from opsdash.model.operation import Person, Tier
from opsdash.model.records import AlarmsDeferred, MessageGivenUp, MessageQueued, MessageTried
from opsdash.model.switch import Refused
from opsdash.model.window import Occurrence, WindowKind, WindowSpec
from opsdash.testing import Inbox, Timeline, alarming, component, email, failure, operation

if TYPE_CHECKING:
    from opsdash.model.alarm_views import AlarmLine

SOON = GROUP_WAIT + 1
OVER = 2 * GROUP_WAIT + 1
"""Seconds after a message in which nothing has changed, so that the next change begins a group of its own."""


def small(*names: str, channels: tuple[Channel | str, ...] = ("pager",), **settings: Any) -> Timeline:
    """An operation of components with a check each, all well, whose alarms go to an inbox."""
    parts = [component(name, checks=["api"]) for name in names or ("crm",)]
    timeline = Timeline(operation(*parts, alarms=alarming(*channels), **settings), inbox=Inbox())
    timeline.all_ok()
    timeline.advance(1)
    return timeline


def fails(timeline: Timeline, *names: str) -> None:
    for name in names:
        timeline.down(f"{name}/api", times=3)


def works(timeline: Timeline, *names: str) -> None:
    for name in names:
        timeline.ok(f"{name}/api", times=2)


def arrived(timeline: Timeline, channel: str = "pager") -> list[Message]:
    assert timeline.inbox is not None
    return [message for message in timeline.inbox.arrived if message.channel == channel]


def kinds(timeline: Timeline, channel: str = "pager") -> list[str]:
    return [message.kind.value for message in arrived(timeline, channel)]


def inbox(timeline: Timeline) -> Inbox:
    assert timeline.inbox is not None
    return timeline.inbox


# --- one outage, one message -----------------------------------------------------------------------------------------


def test_a_failure_is_told_once_after_a_short_wait_and_so_is_its_end() -> None:
    timeline = small()
    fails(timeline, "crm")
    timeline.advance(GROUP_WAIT - 0.1)
    assert arrived(timeline) == []
    timeline.advance(0.5)
    (problem,) = arrived(timeline)
    assert (problem.kind, problem.title, problem.severity) == (MessageKind.PROBLEM, "crm is down: no answer", 2)
    assert (problem.about, problem.incidents) == (("crm",), ("INC-1",))
    assert "opsdash incident ack INC-1" in problem.body
    timeline.advance(OVER)
    works(timeline, "crm")
    timeline.advance(SOON)
    end = arrived(timeline)[-1]
    assert (end.kind, end.title) == (MessageKind.RESOLVED, "over: crm is down: no answer")
    timeline.advance(3600)
    assert kinds(timeline) == ["problem", "resolved"]
    assert timeline.world.tables["known"] == {}
    timeline.check_replay()


def test_500_failures_in_one_second_are_one_message_for_each_channel() -> None:
    names = [f"part-{number:03}" for number in range(500)]
    timeline = small(*names, channels=("pager", "mail"))
    for name in names:
        timeline.advance(0.002)
        fails(timeline, name)
    timeline.advance(60)
    assert kinds(timeline, "pager") == kinds(timeline, "mail") == ["problem"]
    (message,) = arrived(timeline, "pager")
    assert message.title == "500 alarms: part-000, part-001, part-002 and 497 others"
    assert "and 490 more" in message.body
    assert message.body.count("is down") == 10
    assert len(message.about) == 500
    works(timeline, *names)
    timeline.advance(60)
    assert inbox(timeline).titles("mail")[1:] == [
        "all 500 alarms are over: part-000, part-001, part-002 and 497 others"
    ]


def test_the_worst_is_told_first() -> None:
    mild, bad = component("fax", checks=["api"]), component("shop", checks=["api"], tier="essential")
    timeline = Timeline(operation(mild, bad, alarms=alarming("pager")), inbox=Inbox())
    timeline.all_ok()
    fails(timeline, "fax", "shop")
    timeline.advance(SOON)
    (message,) = arrived(timeline)
    assert message.severity == 1
    assert message.body.index("shop is down") < message.body.index("fax is down")


def test_messages_of_a_storm_keep_distances_that_double_up_to_five_minutes_and_a_calm_ends_it() -> None:
    names = [f"part-{number}" for number in range(200)]
    timeline = small(*names)
    for name in names:
        fails(timeline, name)
        timeline.advance(8)
    times = [record.at for record in timeline.of(MessageQueued)]
    gaps = [round(later - earlier) for earlier, later in itertools.pairwise(times)]
    assert gaps == [10, 20, 40, 80, 160, FURTHEST, FURTHEST, FURTHEST, FURTHEST]
    timeline.advance(3 * FURTHEST)
    count = len(timeline.of(MessageQueued))
    began = timeline.clock.wall
    works(timeline, "part-0")
    timeline.advance(SOON)
    assert len(timeline.of(MessageQueued)) == count + 1
    assert timeline.of(MessageQueued)[-1].at - began == pytest.approx(GROUP_WAIT, abs=0.1)


def test_partial_recoveries_are_told_in_the_next_message() -> None:
    timeline = small("a", "b", "c")
    fails(timeline, "a", "b")
    timeline.advance(SOON)
    works(timeline, "a")
    fails(timeline, "c")
    timeline.advance(60)
    first, second = arrived(timeline)
    assert (first.about, second.about) == (("a", "b"), ("c", "a"))
    assert second.kind is MessageKind.PROBLEM
    assert "works again:" in second.body
    assert "1 of which you were told before still fails" in second.body


def test_what_is_over_before_its_message_was_made_is_not_told() -> None:
    timeline = small()
    fails(timeline, "crm")
    timeline.advance(GROUP_WAIT / 2)
    works(timeline, "crm")
    timeline.advance(3600)
    assert arrived(timeline) == []


def test_what_fails_again_before_its_end_was_told_is_still_the_same() -> None:
    timeline = small()
    fails(timeline, "crm")
    timeline.advance(SOON)
    works(timeline, "crm")
    timeline.advance(1)
    fails(timeline, "crm")
    timeline.advance(600)
    assert kinds(timeline) == ["problem"]
    works(timeline, "crm")
    timeline.advance(60)
    assert kinds(timeline) == ["problem", "resolved"]


def test_without_channels_nobody_is_told_and_nothing_is_recorded_of_messages() -> None:
    timeline = small(channels=())
    fails(timeline, "crm")
    timeline.advance(600)
    assert timeline.of(MessageQueued) == []
    assert timeline.world.tables["known"] == {}


def test_the_message_says_what_was_decided_in_advance() -> None:
    modes = {"gone": failure("gone", "crm/api", title="The CRM is gone", runbook="crm-down")}
    crm = component("crm", checks=["api"], failures=modes)
    timeline = Timeline(operation(crm, alarms=alarming("pager")), inbox=Inbox())
    timeline.all_ok()
    fails(timeline, "crm")
    timeline.advance(SOON)
    assert "decided in advance: runbook crm-down" in arrived(timeline)[0].body
    assert arrived(timeline)[0].link == "", "nobody has said where runbooks can be read"


@pytest.mark.parametrize(("runbook", "name"), [("crm-gone", "crm-gone"), (None, "crm-down")])
def test_the_message_links_to_the_runbook_of_the_worst_where_that_can_be_read(runbook: str | None, name: str) -> None:
    modes = {"gone": failure("gone", "crm/api", runbook=runbook)}
    crm = component("crm", checks=["api"], failures=modes, runbook="crm-down", tier=Tier.ESSENTIAL)
    fax = component("fax", checks=["api"], runbook="fax-down")
    alarms = replace(alarming("pager"), runbooks_at="https://git.example/ops/runbooks")
    timeline = Timeline(operation(fax, crm, alarms=alarms), inbox=Inbox())
    timeline.all_ok()
    fails(timeline, "fax", "crm")
    timeline.advance(SOON)
    works(timeline, "fax", "crm")
    timeline.advance(OVER)
    began, over = arrived(timeline)
    assert (began.link, over.link) == (f"https://git.example/ops/runbooks/{name}.md", "")


# --- the end is always told ------------------------------------------------------------------------------------------


def test_the_end_goes_to_those_who_were_told_whatever_the_routes_are_by_then() -> None:
    timeline = small(channels=("pager", "mail"))
    fails(timeline, "crm")
    timeline.advance(SOON)
    now = timeline.world.operation
    elsewhere = alarming("pager", "mail", "chat", routes=[Route(to=("chat",))])
    crm = component("crm", checks=["api"])
    timeline.reload(operation(crm, alarms=elsewhere, sha256="other routes"))
    assert now is not timeline.world.operation
    timeline.advance(60)
    works(timeline, "crm")
    timeline.advance(60)
    assert kinds(timeline, "pager") == kinds(timeline, "mail") == ["problem", "resolved"]
    assert kinds(timeline, "chat") == ["problem", "resolved"], "who is to know of it is told of it"


def test_the_end_is_told_in_maintenance_and_in_quiet_hours() -> None:
    quiet = WindowSpec("night", WindowKind.QUIET, "Night", cron="0 22 * * *", length=3600.0)
    timeline = small(windows={"night": quiet})
    fails(timeline, "crm")
    timeline.advance(SOON)
    timeline.want(i.MaintenanceIntent("crm", 7200.0))
    timeline.feed(i.WindowsOpen((Occurrence("night", timeline.clock.wall, timeline.clock.wall + 3600),)))
    works(timeline, "crm")
    timeline.advance(60)
    assert kinds(timeline) == ["problem", "resolved"]


def test_what_waits_for_a_channel_that_was_taken_out_of_the_files_is_sent_when_it_is_back() -> None:
    timeline = small()
    fails(timeline, "crm")
    timeline.advance(SOON)
    crm = component("crm", checks=["api"])
    timeline.reload(operation(crm, alarms=alarming("other"), sha256="without"))
    works(timeline, "crm")
    timeline.advance(600)
    assert kinds(timeline) == ["problem"]
    timeline.reload(operation(crm, alarms=alarming("pager"), sha256="with"))
    timeline.advance(1)
    assert kinds(timeline) == ["problem", "resolved"]


def test_a_channel_that_does_not_come_back_is_given_up_after_a_day() -> None:
    timeline = small()
    fails(timeline, "crm")
    timeline.advance(SOON)
    timeline.reload(operation(component("crm", checks=["api"]), alarms=alarming("other"), sha256="without"))
    works(timeline, "crm")
    timeline.advance(GIVE_UP_AFTER + 120)
    (given_up,) = timeline.of(MessageGivenUp)
    assert (given_up.channel, given_up.why) == ("pager", "the channel is no longer in opsdash.yaml")


# --- a channel that does not work ------------------------------------------------------------------------------------


def test_attempts_keep_distances_that_double_and_bear_the_same_key() -> None:
    timeline = small()
    inbox(timeline).outcome["pager"] = Delivery.FAILED
    fails(timeline, "crm")
    timeline.advance(3600)
    waits = [record.waits for record in timeline.of(MessageTried)]
    assert waits[:9] == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    assert len({message.key for message in inbox(timeline).tried}) == 1
    assert len(timeline.of(MessageQueued)) == 1
    inbox(timeline).outcome.clear()
    timeline.advance(LAST_RETRY)
    assert kinds(timeline) == ["problem"]


def test_a_channel_counts_as_told_only_when_the_message_has_arrived() -> None:
    timeline = small(channels=("pager", "mail"))

    def line() -> AlarmLine:
        (found,) = alarms_view(Draft(timeline.world, timeline.live, timeline.clock()))["alarms"]
        return found

    inbox(timeline).outcome["pager"] = Delivery.FAILED
    fails(timeline, "crm")
    timeline.advance(SOON)
    assert (line()["told"], line()["undelivered"], line()["later"]) == (["mail"], ["pager"], [])
    inbox(timeline).outcome.clear()
    timeline.advance(LAST_RETRY)
    assert (line()["told"], line()["undelivered"]) == (["pager", "mail"], [])


def test_a_channel_that_is_down_for_an_hour_loses_nothing_and_gets_no_flood() -> None:
    timeline = small("a", "b", "c")
    inbox(timeline).outcome["pager"] = Delivery.FAILED
    fails(timeline, "a")
    timeline.advance(SOON)
    fails(timeline, "b")
    timeline.advance(900)
    works(timeline, "a")
    works(timeline, "b")
    fails(timeline, "c")
    timeline.advance(2700)
    inbox(timeline).outcome.clear()
    timeline.advance(LAST_RETRY + 60)
    first, second = arrived(timeline)
    assert (first.kind, first.about) == (MessageKind.PROBLEM, ("a",)), "what was queued is told as it was"
    assert second.about == ("c", "a", "b"), "then all that has happened since, in one"
    assert "works again:" in second.body, "its end"
    assert "was held back, and is over:" in second.body, "b began and ended meanwhile"
    assert "b is down" in second.body
    works(timeline, "c")
    timeline.advance(60)
    assert kinds(timeline) == ["problem", "problem", "resolved"]
    timeline.check_replay()


def test_the_other_side_is_left_alone_for_as_long_as_it_asks_but_not_for_ever() -> None:
    timeline = small()
    inbox(timeline).outcome["pager"] = Delivery.FAILED
    inbox(timeline).retry_after["pager"] = 120.0
    fails(timeline, "crm")
    timeline.advance(SOON + 110)
    assert len(inbox(timeline).tried) == 1
    timeline.advance(15)
    assert len(inbox(timeline).tried) == 2
    assert retry_in(1, Delivery.FAILED, 1e9) == LONGEST_RETRY
    assert retry_in(1, Delivery.FAILED, -5.0) == FIRST_RETRY
    assert retry_in(1, Delivery.FAILED, float("nan")) == FIRST_RETRY
    assert retry_in(10_000, Delivery.FAILED, None) == LAST_RETRY
    assert retry_in(1, Delivery.REFUSED, None) == LAST_RETRY


def test_a_message_is_given_up_after_a_day_of_trying_and_what_still_fails_is_told_anew() -> None:
    timeline = small()
    inbox(timeline).outcome["pager"] = Delivery.FAILED
    fails(timeline, "crm")
    timeline.advance(GIVE_UP_AFTER + 60)
    (given_up,) = timeline.of(MessageGivenUp)
    assert given_up.message == "MSG-1"
    assert "no answer" in given_up.why
    inbox(timeline).outcome.clear()
    timeline.advance(60)
    assert [message.id for message in arrived(timeline)] == ["MSG-2"]
    works(timeline, "crm")
    timeline.advance(60)
    assert kinds(timeline) == ["problem", "resolved"]


def test_an_end_that_cannot_be_told_is_given_up_too() -> None:
    timeline = small()
    fails(timeline, "crm")
    timeline.advance(SOON)
    inbox(timeline).outcome["pager"] = Delivery.FAILED
    works(timeline, "crm")
    timeline.advance(GIVE_UP_AFTER + 700)
    assert [record.message for record in timeline.of(MessageGivenUp)] == ["MSG-2"]
    inbox(timeline).outcome.clear()
    timeline.advance(3600)
    assert kinds(timeline) == ["problem"]


def test_of_what_surely_never_arrived_no_end_is_told() -> None:
    timeline = small()
    inbox(timeline).outcome["pager"] = Delivery.FAILED
    fails(timeline, "crm")
    timeline.advance(SOON)
    works(timeline, "crm")
    timeline.advance(GIVE_UP_AFTER + 60)
    inbox(timeline).outcome.clear()
    timeline.advance(3600)
    assert arrived(timeline) == []


def test_what_may_have_arrived_is_sent_again_and_gets_its_end_even_if_it_was_given_up() -> None:
    timeline = small()
    inbox(timeline).outcome["pager"] = Delivery.UNKNOWN
    fails(timeline, "crm")
    timeline.advance(GIVE_UP_AFTER + 60)
    assert [record.message for record in timeline.of(MessageGivenUp)] == ["MSG-1"]
    inbox(timeline).outcome.clear()
    works(timeline, "crm")
    timeline.advance(60)
    assert kinds(timeline)[-1] == "resolved"


def test_time_without_an_engine_and_a_clock_that_is_set_use_up_nothing_of_the_day() -> None:
    timeline = small()
    inbox(timeline).outcome["pager"] = Delivery.FAILED
    fails(timeline, "crm")
    timeline.advance(60)
    timeline.clock.jump(3 * GIVE_UP_AFTER)
    timeline.feed(i.ClockJumped(3 * GIVE_UP_AFTER))
    timeline.advance(600)
    later = timeline.crash(seconds=5 * GIVE_UP_AFTER)
    later.advance(600)
    assert later.of(MessageGivenUp) == []
    inbox(later).outcome.clear()
    later.advance(LAST_RETRY)
    assert kinds(later)[-1:] == ["problem"]


def test_a_clock_that_is_set_back_does_not_make_a_message_wait_longer() -> None:
    timeline = small()
    inbox(timeline).outcome["pager"] = Delivery.FAILED
    fails(timeline, "crm")
    timeline.advance(SOON)
    timeline.clock.jump(-86400)
    timeline.feed(i.ClockJumped(-86400))
    inbox(timeline).outcome.clear()
    timeline.advance(FIRST_RETRY)
    assert kinds(timeline) == ["problem"]


def test_a_channel_that_stays_broken_is_told_over_the_others_and_so_is_its_end() -> None:
    timeline = small(channels=("pager", "mail"))
    inbox(timeline).outcome["pager"] = Delivery.FAILED
    fails(timeline, "crm")
    timeline.advance(BROKEN_AFTER + 60)
    assert inbox(timeline).titles("mail") == ["crm is down: no answer", "alarms do not arrive over pager: no answer"]
    inbox(timeline).outcome.clear()
    timeline.advance(LAST_RETRY + 60)
    assert inbox(timeline).titles("mail")[-1] == "over: alarms do not arrive over pager: no answer"
    assert inbox(timeline).titles("pager") == ["crm is down: no answer"], "a channel is not told of itself"


def test_a_channel_that_refuses_is_told_at_once() -> None:
    timeline = small(channels=("pager", "mail"))
    inbox(timeline).outcome["pager"] = Delivery.REFUSED
    fails(timeline, "crm")
    timeline.advance(30)
    assert inbox(timeline).titles("mail")[-1] == "alarms do not arrive over pager: no answer"
    assert len([message for message in inbox(timeline).tried if message.channel == "pager"]) == 1


def test_a_channel_that_was_corrected_in_the_files_is_tried_at_once() -> None:
    timeline = small()
    inbox(timeline).outcome["pager"] = Delivery.REFUSED
    fails(timeline, "crm")
    timeline.advance(30)
    inbox(timeline).outcome.clear()
    mended = alarming(Channel("pager", "file", {"path": "elsewhere"}))
    timeline.reload(operation(component("crm", checks=["api"]), alarms=mended, sha256="mended"))
    timeline.advance(1)
    assert kinds(timeline) == ["problem"]


def test_one_channel_that_hangs_holds_up_no_other() -> None:
    timeline = small("a", "b", channels=("pager", "mail"))
    timeline.inbox = None
    fails(timeline, "a")
    timeline.advance(SOON)
    for send in timeline.take(Send):
        if send.message.channel == "mail":
            timeline.feed(i.SendDone(send.message.id, Delivery.DELIVERED))
    fails(timeline, "b")
    timeline.advance(60)
    assert [send.message.channel for send in timeline.take(Send)] == ["mail"], "one attempt in flight for each channel"


def test_an_answer_that_comes_twice_counts_once() -> None:
    timeline = small()
    timeline.inbox = None
    fails(timeline, "crm")
    timeline.advance(SOON)
    (send,) = timeline.take(Send)
    timeline.feed(i.SendDone(send.message.id, Delivery.FAILED, "no"))
    timeline.feed(i.SendDone(send.message.id, Delivery.DELIVERED, "late"))
    timeline.feed(i.SendDone("MSG-99", Delivery.DELIVERED, "never sent"))
    assert timeline.world.get("messages", send.message.id).state is MessageState.WAITING


# --- quiet hours -----------------------------------------------------------------------------------------------------


def at_night(*names: str, **settings: Any) -> Timeline:
    night = WindowSpec("night", WindowKind.QUIET, "Night", cron="0 22 * * *", length=28800.0, **settings)
    timeline = small(*names, windows={"night": night})
    timeline.feed(i.WindowsOpen((Occurrence("night", timeline.clock.wall, timeline.clock.wall + 28800),)))
    return timeline


def test_in_quiet_hours_messages_wait_for_the_morning_and_what_is_over_by_then_is_only_listed() -> None:
    timeline = at_night("a", "b")
    fails(timeline, "a", "b")
    timeline.advance(3600)
    assert arrived(timeline) == []
    (deferred,) = timeline.of(AlarmsDeferred)
    assert (deferred.alarms, deferred.window) == (("a", "b"), "night")
    works(timeline, "a")
    timeline.advance(600)
    assert arrived(timeline) == []
    timeline.feed(i.WindowsOpen(()))
    timeline.advance(60)
    (message,) = arrived(timeline)
    assert message.title == "b is down: no answer"
    assert "was held back, and is over:\na is down: no answer" in message.body
    works(timeline, "b")
    timeline.advance(60)
    assert kinds(timeline) == ["problem", "resolved"]
    timeline.check_replay()


def test_what_is_essential_is_never_quiet_unless_it_is_named() -> None:
    named: list[tuple[dict[str, Any], bool]] = [
        ({}, False),
        ({"tiers": ("essential",)}, True),
        ({"components": ("shop",)}, True),
    ]
    for settings, quiet in named:
        night = WindowSpec("night", WindowKind.QUIET, "Night", cron="0 22 * * *", length=28800.0, **settings)
        shop = component("shop", checks=["api"], tier="essential")
        timeline = Timeline(operation(shop, alarms=alarming("pager"), windows={"night": night}), inbox=Inbox())
        timeline.all_ok()
        timeline.feed(i.WindowsOpen((Occurrence("night", timeline.clock.wall, timeline.clock.wall + 28800),)))
        fails(timeline, "shop")
        timeline.advance(60)
        assert bool(arrived(timeline)) is not quiet, settings


def test_quiet_hours_of_some_tiers_hold_no_other() -> None:
    timeline = at_night("a", tiers=("droppable",))
    fails(timeline, "a")
    timeline.advance(60)
    assert kinds(timeline) == ["problem"]


def test_quiet_hours_outlive_an_engine() -> None:
    timeline = at_night()
    fails(timeline, "crm")
    timeline.advance(60)
    later = timeline.crash()
    later.advance(60)
    assert arrived(later) == []
    works(later, "crm")
    later.feed(i.WindowsOpen(()))
    later.advance(60)
    assert [message.title for message in arrived(later)] == ["was held back, and is over: crm is down: no answer"]


# --- tests, and what customers are told ------------------------------------------------------------------------------


def test_a_test_goes_ahead_of_what_waits_is_tried_once_and_lets_the_rest_go_on_when_it_arrives() -> None:
    timeline = small()
    inbox(timeline).outcome["pager"] = Delivery.FAILED
    fails(timeline, "crm")
    timeline.advance(3600)
    tried = len(inbox(timeline).tried)
    assert timeline.want(i.AlarmTestIntent("pager")) == "MSG-2"
    timeline.advance(1)
    assert inbox(timeline).tried[tried:] == [timeline.of(MessageQueued)[-1].message]
    assert timeline.world.get("messages", "MSG-2").state is MessageState.GIVEN_UP
    inbox(timeline).outcome.clear()
    timeline.want(i.AlarmTestIntent("pager"))
    timeline.advance(1)
    assert kinds(timeline) == ["test", "problem"]


def test_a_test_of_all_channels_says_which_messages_it_sent() -> None:
    timeline = small(channels=("pager", "mail"))
    assert timeline.want(i.AlarmTestIntent()) == "MSG-1 MSG-2"
    timeline.advance(1)
    assert (kinds(timeline, "pager"), kinds(timeline, "mail")) == (["test"], ["test"])


def test_a_test_of_a_channel_that_does_not_exist_names_those_that_do() -> None:
    refused = small().want(i.AlarmTestIntent("pagr"))
    assert isinstance(refused, Refused)
    assert "opsdash.yaml has: pager" in refused.reason
    refused = small(channels=()).want(i.AlarmTestIntent())
    assert isinstance(refused, Refused)
    assert refused.rule == "no_channels"


def with_customers(status_text: str = "Orders may be late.") -> Timeline:
    gone = failure("gone", "crm/api", status_text=status_text)
    crm = component("crm", checks=["api"], failures={"gone": gone})
    page = Channel("page", "file", audience=Audience.CUSTOMERS)
    timeline = Timeline(operation(crm, alarms=alarming("pager", page)), inbox=Inbox())
    timeline.all_ok()
    fails(timeline, "crm")
    timeline.advance(60)
    return timeline


def test_customers_are_told_only_by_a_person_and_in_the_words_that_are_ready() -> None:
    timeline = with_customers()
    assert kinds(timeline, "page") == []
    assert timeline.want(i.TellIntent("INC-1")) == "MSG-2"
    timeline.advance(1)
    (message,) = arrived(timeline, "page")
    assert (message.kind, message.body, message.title) == (MessageKind.STATUS, "Orders may be late.", "operation")
    incident = timeline.incident("crm")
    assert incident is not None
    assert (incident.entries[-1].who, incident.entries[-1].text) == (
        "maria",
        "told customers over page: Orders may be late.",
    )
    works(timeline, "crm")
    timeline.advance(60)
    assert (kinds(timeline, "page"), kinds(timeline)) == (["status"], ["problem", "resolved"])


def test_a_text_for_customers_can_be_written_and_the_channels_named() -> None:
    timeline = with_customers("")
    assert isinstance(timeline.want(i.TellIntent("INC-1")), Refused)
    assert isinstance(timeline.want(i.TellIntent("INC-9", "x")), Refused)
    assert isinstance(timeline.want(i.TellIntent("INC-1", "x", ("nowhere",))), Refused)
    timeline.want(i.TellIntent("INC-1", "We are on it.", ("page", "pager", "page")))
    timeline.advance(1)
    assert (kinds(timeline, "page"), kinds(timeline)) == (["status"], ["problem", "status"])


# --- topics ----------------------------------------------------------------------------------------------------------


def test_redundancy_that_is_lost_is_told_while_users_notice_nothing_and_so_is_its_return() -> None:
    timeline = Timeline(operation(email(), alarms=alarming("pager")), inbox=Inbox())
    timeline.read("email", "pm-prod")
    timeline.all_ok()
    timeline.down("email/ses/api", times=3)
    timeline.advance(SOON)
    (message,) = arrived(timeline)
    assert message.title == "Transactional email: redundancy lost, no backup could take over"
    assert message.severity == 3
    timeline.unknown("email/ses/api", times=3)
    timeline.advance(60)
    assert kinds(timeline) == ["problem"], "what cannot be seen is not over"
    timeline.ok("email/ses/api", times=2)
    timeline.advance(60)
    assert kinds(timeline) == ["problem", "resolved"]


def test_a_topic_is_held_in_maintenance_and_while_it_is_paused() -> None:
    timeline = Timeline(operation(email(), alarms=alarming("pager")), inbox=Inbox())
    timeline.read("email", "pm-prod")
    timeline.all_ok()
    timeline.want(i.MaintenanceIntent("email", 600.0))
    timeline.down("email/ses/api", times=3)
    timeline.advance(60)
    assert arrived(timeline) == []
    timeline.want(i.EndMaintenanceIntent("email"))
    timeline.advance(SOON)
    assert kinds(timeline) == ["problem"]


def test_a_topic_of_a_component_that_was_taken_out_of_the_files_is_over() -> None:
    timeline = Timeline(operation(email(), component("crm", checks=["api"]), alarms=alarming("pager")), inbox=Inbox())
    timeline.read("email", "pm-prod")
    timeline.all_ok()
    timeline.down("email/ses/api", times=3)
    timeline.advance(OVER + SOON)
    timeline.reload(operation(component("crm", checks=["api"]), alarms=alarming("pager"), sha256="without"))
    timeline.advance(60)
    assert kinds(timeline) == ["problem", "resolved"]


def test_records_of_alarms_that_know_no_topic_are_read_as_before() -> None:
    from opsdash.storage.codec import decode

    raised = decode("alarm_raised", {"at": 1.0, "component": "crm", "incident": "INC-1", "title": "x", "due": 1.0})
    timeline = Timeline(operation(component("crm", checks=["api"])))
    timeline.world.apply(_evolved(timeline, raised))
    assert list(timeline.world.tables["alarms"]) == ["crm"]


def _evolved(timeline: Timeline, record: Any) -> Any:
    from opsdash.core.evolve import evolve

    return evolve(timeline.world, record)


# --- people ----------------------------------------------------------------------------------------------------------

assert LOOK_EVERY < 60, "the tests below take a minute for soon enough"


def staffed(*routes: Route, **absences: Any) -> Timeline:
    people = [
        Person("maria", "Maria", alarms=("maria-sms",), **absences.get("maria", {})),
        Person("ken", "Ken", alarms=("ken-sms", "chat"), **absences.get("ken", {})),
        Person("lena", "Lena"),
    ]
    crm = component("crm", checks=["api"], owners=("lena", "maria", "ken"))
    channels = alarming("maria-sms", "ken-sms", "chat", "board", routes=routes)
    timeline = Timeline(operation(crm, people=people, alarms=channels), inbox=Inbox())
    timeline.all_ok()
    return timeline


def everything(timeline: Timeline) -> dict[str, list[str]]:
    names = timeline.world.operation.alarms.channels
    return {name: found for name in names if (found := kinds(timeline, name))}


def test_the_first_owner_who_is_there_and_has_a_channel_is_told() -> None:
    timeline = staffed(Route(to=("owner",)))
    fails(timeline, "crm")
    timeline.advance(SOON)
    assert everything(timeline) == {"maria-sms": ["problem"]}


def test_who_is_away_is_skipped() -> None:
    timeline = staffed(Route(to=("owner",)))
    timeline.want(i.AwayIntent("maria", None))
    fails(timeline, "crm")
    timeline.advance(SOON)
    assert everything(timeline) == {"ken-sms": ["problem"], "chat": ["problem"]}


def test_when_somebody_goes_the_next_one_is_told_of_what_still_fails() -> None:
    timeline = staffed(Route(to=("owner",)))
    fails(timeline, "crm")
    timeline.advance(60)
    timeline.want(i.AwayIntent("maria", None))
    timeline.advance(SOON)
    assert everything(timeline) == {"maria-sms": ["problem"], "ken-sms": ["problem"], "chat": ["problem"]}


def test_when_nobody_of_a_route_is_there_all_its_channels_are_told_and_it_says_so() -> None:
    timeline = staffed(Route(to=("owner",)))
    timeline.want(i.AwayIntent("maria", None))
    timeline.want(i.AwayIntent("ken", None))
    fails(timeline, "crm")
    timeline.advance(SOON)
    assert everything(timeline) == {"maria-sms": ["problem"], "ken-sms": ["problem"], "chat": ["problem"]}
    assert "nobody of owner can be reached" in arrived(timeline, "chat")[0].body


def test_when_a_route_names_nobody_who_has_a_channel_everybody_is_told() -> None:
    timeline = staffed(Route(to=("lena",)))
    fails(timeline, "crm")
    timeline.advance(SOON)
    assert set(everything(timeline)) == {"maria-sms", "ken-sms", "chat", "board"}


def test_the_first_route_that_fits_counts_and_what_none_fits_goes_to_everybody() -> None:
    mild = Route(severity=1, to=("board",))
    named = Route(components=("crm",), to=("chat",))
    timeline = staffed(mild, named, Route(to=("maria",)))
    fails(timeline, "crm")
    timeline.advance(SOON)
    assert everything(timeline) == {"chat": ["problem"]}
    timeline = staffed(mild)
    fails(timeline, "crm")
    timeline.advance(SOON)
    assert set(everything(timeline)) == {"maria-sms", "ken-sms", "chat", "board"}
    assert "no route fits, so everybody is told" in arrived(timeline, "board")[0].body
    timeline = staffed(Route(to=()))
    fails(timeline, "crm")
    timeline.advance(SOON)
    assert everything(timeline) == {}, "nobody is to be told: that was written down"
