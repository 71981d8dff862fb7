"""The outbox over crashes: at every prefix of the journal nothing is lost, and no end comes without its beginning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsdash.core.grouping import FURTHEST
from opsdash.core.outbox import LAST_RETRY
from opsdash.model import inputs as i
from opsdash.model.alarm import parts_of
from opsdash.model.channel import Channel, Route
from opsdash.model.effects import Send
from opsdash.model.message import Delivery, Message, MessageKind, MessageState
from opsdash.model.records import MessageGivenUp, MessageQueued, MessageTried, MessageTrying
from opsdash.model.window import Occurrence, WindowKind, WindowSpec
from opsdash.testing import Inbox, Timeline, alarming, component, operation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opsdash.model.operation import Operation
    from opsdash.model.records import Record

NAMES = ("a", "b", "c")
NIGHT = WindowSpec("night", WindowKind.QUIET, "Night", tags=("web",), cron="0 22 * * *", length=28800.0)
LONG = 3 * FURTHEST + 2 * LAST_RETRY


def parts(*names: str, sha256: str = "first", routes: Iterable[Route] = ()) -> Operation:
    components = [component(name, checks=["api"], tags=("web",) if name == "b" else ()) for name in names]
    return operation(
        *components,
        alarms=alarming("pager", Channel("mail", "file"), routes=routes),
        windows={"night": NIGHT},
        sha256=sha256,
    )


@dataclass
class Reader:
    """Somebody who reads a channel, and knows by the key what has come twice. failing: what they believe to fail."""

    keys: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)

    def read(self, message: Message, over: tuple[str, ...]) -> None:
        if message.key in self.keys:
            return
        self.keys.add(message.key)
        if message.kind is MessageKind.TEST:
            return
        self.failing |= {key for key in message.about if key not in over and not key.startswith("#")}
        self.failing -= set(over)


def read_all(timeline: Timeline) -> dict[str, Reader]:
    """What the readers of each channel believe, by what has arrived, in its order."""
    assert timeline.inbox is not None
    over = {record.message.id: record.over for record in timeline.records if isinstance(record, MessageQueued)}
    readers = {"pager": Reader(), "mail": Reader()}
    for message in timeline.inbox.arrived:
        readers[message.channel].read(message, over[message.id])
    return readers


def truth(timeline: Timeline) -> set[str]:
    return {key for key, alarm in timeline.world.tables["alarms"].items() if alarm.is_raised and not parts_of(key)[1]}


def check(timeline: Timeline) -> None:
    """What must hold whatever happened."""
    queued: dict[str, Message] = {}
    begun: set[str] = set()
    told: set[tuple[str, str]] = set()
    for record in timeline.records:
        match record:
            case MessageQueued(message=message, over=over):
                queued[message.id] = message
                if message.kind is MessageKind.RESOLVED:
                    deferred = set(message.about) - {key for channel, key in told if channel == message.channel}
                    assert "was held back" in message.body or not deferred, "no end without its beginning"
                told |= {(message.channel, key) for key in message.about if key not in over}
                told -= {(message.channel, key) for key in over}
            case MessageTrying(message=message_id, channel=channel):
                assert message_id in queued
                assert channel not in begun, "one attempt in flight for each channel"
                begun.add(channel)
            case MessageTried(channel=channel):
                begun.discard(channel)
            case _:
                pass
    over_with = {
        record.message
        for record in timeline.records
        if (isinstance(record, MessageTried) and record.attempt.outcome is Delivery.DELIVERED)
        or isinstance(record, MessageGivenUp)
    }
    waiting = {key for state in timeline.world.tables["channels"].values() for key in state.waiting}
    assert waiting == queued.keys() - over_with, "what was queued is delivered, given up, or still there"
    in_order(timeline.records)


def in_order(records: list[Record]) -> None:
    """A channel delivers its messages about alarms in the order in which they were queued."""
    order = [record.message.id for record in records if isinstance(record, MessageQueued)]
    kinds = {record.message.id: record.message.kind for record in records if isinstance(record, MessageQueued)}
    last: dict[str, int] = {}
    for record in records:
        if isinstance(record, MessageTried) and record.attempt.outcome is Delivery.DELIVERED:
            if kinds[record.message] is MessageKind.TEST:
                continue
            assert order.index(record.message) > last.get(record.channel, -1)
            last[record.channel] = order.index(record.message)


STORY = [
    "a fails", "moment", "b fails", "wait", "pager breaks", "c fails", "a works", "wait", "night", "b works", "b fails",
    "wait", "test", "b works", "day", "pager mends", "wait", "a fails", "a works", "other routes", "wait",
]  # fmt: skip


def act(timeline: Timeline, move: str) -> None:
    assert timeline.inbox is not None
    name, _, what = move.partition(" ")
    match what:
        case "fails":
            timeline.down(f"{name}/api", times=3)
        case "works":
            timeline.ok(f"{name}/api", times=2)
        case "breaks":
            timeline.inbox.outcome[name] = Delivery.FAILED
        case "loses answers":
            timeline.inbox.outcome[name] = Delivery.UNKNOWN
        case "mends":
            timeline.inbox.outcome.pop(name, None)
        case "routes":
            timeline.reload(parts(*NAMES, sha256="others", routes=[Route(to=("mail",))]))
        case _:
            _time(timeline, move)


def _time(timeline: Timeline, move: str) -> None:
    now = timeline.clock.wall
    match move:
        case "moment":
            timeline.advance(1)
        case "wait":
            timeline.advance(60)
        case "hour":
            timeline.advance(3600)
        case "night":
            timeline.feed(i.WindowsOpen((Occurrence("night", now, now + 28800),)))
        case "day":
            timeline.feed(i.WindowsOpen(()))
        case "test":
            timeline.want(i.AlarmTestIntent())
        case _:
            raise AssertionError(move)


def settle(timeline: Timeline) -> None:
    """All channels work, the night is over, and time passes."""
    assert timeline.inbox is not None
    timeline.inbox.outcome.clear()
    timeline.feed(i.WindowsOpen(()))
    timeline.advance(LONG)


def begin() -> Timeline:
    timeline = Timeline(parts(*NAMES), inbox=Inbox())
    timeline.all_ok()
    return timeline


def test_killed_after_any_record_nothing_is_lost_and_in_the_end_everybody_knows_the_truth() -> None:
    timeline = begin()
    for move in STORY:
        act(timeline, move)
    first = next(number for number, record in enumerate(timeline.records) if isinstance(record, MessageQueued))
    assert len(timeline.records) - first > 40
    for number in range(first, len(timeline.records) + 1):
        later = timeline.crash(after=number)
        later.inbox = Inbox()
        _let_arrive(later, timeline.records[:number])
        check(later)
        later.ok("a/api", "b/api", "c/api", times=2)
        settle(later)
        check(later)
        readers = read_all(later)
        assert all(reader.failing == set() == truth(later) for reader in readers.values()), number
        assert all(not state.waiting for state in later.world.tables["channels"].values())


def _let_arrive(later: Timeline, records: list[Record]) -> None:
    """What had arrived before the kill; what was in flight has (the worse case). What the start sends, comes next."""
    assert later.inbox is not None
    messages = {record.message.id: record.message for record in records if isinstance(record, MessageQueued)}
    in_flight: dict[str, str] = {}
    for record in records:
        if isinstance(record, MessageTrying):
            in_flight[record.channel] = record.message
        elif isinstance(record, MessageTried):
            in_flight.pop(record.channel, None)
            if record.attempt.outcome is Delivery.DELIVERED:
                later.inbox.arrived.append(messages[record.message])
    later.inbox.arrived += [messages[message] for message in in_flight.values()]
    for send in later.take(Send):
        later.feed(later.inbox.take(send.message))


MOVES = st.sampled_from(
    [
        *(f"{name} {what}" for name in NAMES for what in ("fails", "works")),
        *(f"{channel} {what}" for channel in ("pager", "mail") for what in ("breaks", "loses answers", "mends")),
        *("moment", "wait", "wait", "hour", "night", "day", "test", "other routes", "kill", "kill before the last"),
    ]
)


@settings(max_examples=80, deadline=None)
@given(st.lists(MOVES, min_size=5, max_size=40))
def test_whatever_happens_in_whatever_order_in_the_end_everybody_who_was_told_knows_the_truth(moves: list[str]) -> None:
    timeline = begin()
    for move in moves:
        if move.startswith("kill"):
            records = timeline.records
            inbox = timeline.inbox
            timeline = timeline.crash(after=len(records) - 1 if move.endswith("last") else None, seconds=3.0)
            assert inbox is timeline.inbox
        else:
            act(timeline, move)
        check(timeline)
    settle(timeline)
    check(timeline)
    timeline.check_replay()
    readers = read_all(timeline)
    wanted = truth(timeline)
    other_routes = bool(timeline.world.operation.alarms.routes)
    assert readers["mail"].failing == wanted
    assert readers["pager"].failing == wanted or (other_routes and readers["pager"].failing <= wanted)


def test_what_was_in_flight_when_the_engine_was_killed_is_sent_again_under_the_same_key_and_said_to_be_unknown() -> (
    None
):
    timeline = begin()
    timeline.inbox = None
    timeline.down("a/api", times=3)
    timeline.advance(30)
    sent = {send.message.channel: send.message for send in timeline.take(Send)}
    later = timeline.crash()
    again = {send.message.channel: send.message for send in later.take(Send)}
    assert {channel: message.key for channel, message in again.items()} == {
        channel: message.key for channel, message in sent.items()
    }
    attempts = again["pager"].attempts
    assert [(each.outcome, each.detail) for each in attempts] == [
        (Delivery.UNKNOWN, "the engine ended while it was being sent; it may have arrived")
    ]
    assert later.world.get("messages", again["pager"].id).state is MessageState.SENDING


@pytest.mark.parametrize("count", [150])
def test_what_is_over_is_forgotten_in_the_end_the_journal_keeps_it(count: int) -> None:
    timeline = begin()
    for _ in range(count):
        timeline.want(i.AlarmTestIntent("pager"))
        timeline.advance(1)
    assert len(timeline.world.tables["messages"]) == 100
    assert len(timeline.of(MessageQueued)) == count
    timeline.check_replay()


def test_an_engine_that_is_killed_again_and_again_uses_up_nothing_of_the_day() -> None:
    timeline = begin()
    timeline.inbox = None
    timeline.down("a/api", times=3)
    timeline.advance(30)
    for _ in range(300):
        timeline = timeline.crash(seconds=30.0)
    assert timeline.of(MessageGivenUp) == []
    assert [send.message.id for send in timeline.take(Send)] == ["MSG-1", "MSG-2"]
