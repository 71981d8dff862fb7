"""What records of messages change: the outbox, what is recorded of channels, and what these know of alarms."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from opsdash.model import records as r
from opsdash.model.message import (
    Attempt,
    ChannelState,
    Delivery,
    KnownAlarm,
    Message,
    MessageKind,
    MessageState,
    Outgoing,
    known_key,
)
from opsdash.model.world import EngineState

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.model.alarm import Alarm
    from opsdash.model.incident import Incident
    from opsdash.model.world import Patch

KEPT_OVER = 100
"""Messages that are over and stay in the world, the latest ones; the journal keeps them all."""

KEPT_ATTEMPTS = 20
"""Attempts that a message remembers, the latest ones."""

GIVEN_UP = "given_up"


class Reader(Protocol):
    """The part of a world that is read here."""

    def get(self, table: str, key: str) -> Any: ...

    def keys(self, table: str) -> list[str]: ...


def channel_state(world: Reader, channel: str) -> ChannelState:
    """What is recorded of a channel."""
    found: ChannelState | None = world.get("channels", channel)
    return found or ChannelState()


def _queued(world: Reader, record: r.MessageQueued) -> Patch:
    message = record.message
    engine: EngineState = world.get("engine", "engine") or EngineState()
    state = channel_state(world, message.channel)
    patch: Patch = [
        ("messages", message.id, Outgoing(message, due=record.at, since=record.at)),
        ("channels", message.channel, replace(state, waiting=(*state.waiting, message.id))),
        ("engine", "engine", replace(engine, messages=engine.messages + 1)),
    ]
    over = set(record.over)
    if message.kind not in (MessageKind.STATUS, MessageKind.TEST):
        patch += [_told(world, message, key, record.at, over=key in over) for key in message.about]
    return patch


def _told(world: Reader, message: Message, alarm: str, at: float, *, over: bool) -> tuple[str, str, Any]:
    key = known_key(message.channel, alarm)
    if over:
        return "known", key, None
    before: KnownAlarm | None = world.get("known", key)
    raised: Alarm | None = world.get("alarms", alarm)
    incident, title = (raised.incident, raised.title) if raised is not None else ("", alarm)
    same = before is not None and before.told and before.incident == incident
    known = KnownAlarm(
        channel=message.channel,
        alarm=alarm,
        incident=incident,
        title=title,
        severity=message.severity,
        at=before.at if same and before is not None else at,
        last=at,
        drill=_is_drill(world, incident),
        message=message.id,
    )
    return "known", key, known


def _is_drill(world: Reader, incident: str) -> bool:
    found: Incident | None = world.get("incidents", incident)
    return found is not None and found.drill


def _trying(world: Reader, record: r.MessageTrying) -> Patch:
    item: Outgoing | None = world.get("messages", record.message)
    if item is None:
        return []
    state = replace(channel_state(world, record.channel), sending=record.message)
    sending = replace(item, state=MessageState.SENDING, tries=item.tries + 1, since=record.at)
    return [("messages", record.message, sending), ("channels", record.channel, state)]


def _tried(world: Reader, record: r.MessageTried) -> Patch:
    item: Outgoing | None = world.get("messages", record.message)
    if item is None:
        return []
    attempt, state = record.attempt, channel_state(world, record.channel)
    message = replace(item.message, attempts=(*item.message.attempts, attempt)[-KEPT_ATTEMPTS:])
    counts = {**state.outcomes, attempt.outcome.value: state.outcomes.get(attempt.outcome.value, 0) + 1}
    state = replace(state, sending=None, outcomes=counts)
    if attempt.outcome is Delivery.DELIVERED:
        after = replace(item, message=message, state=MessageState.DELIVERED, since=record.at)
        waiting = tuple(each for each in state.waiting if each != message.id)
        state = replace(
            state,
            waiting=waiting,
            delivered_at=record.at,
            failing_since=None,
            said="",
            refused=False,
            gave_up_at=None,
        )
        return [
            ("messages", message.id, after),
            ("channels", record.channel, state),
            *_forgotten(world, message.id),
        ]
    after = replace(
        item,
        message=message,
        state=MessageState.WAITING,
        due=record.at if record.due is None else record.due,
        waited=item.waited + attempt.took + record.waits,
        since=record.at,
    )
    return [("messages", message.id, after), ("channels", record.channel, _failing(state, record.at, attempt))]


def _failing(state: ChannelState, at: float, attempt: Attempt) -> ChannelState:
    since = at if state.failing_since is None else state.failing_since
    refused = attempt.outcome is Delivery.REFUSED
    return replace(state, failing_since=since, said=attempt.detail, refused=refused)


def _given_up(world: Reader, record: r.MessageGivenUp) -> Patch:
    item: Outgoing | None = world.get("messages", record.message)
    if item is None:
        return []
    state = channel_state(world, record.channel)
    counts = {**state.outcomes, GIVEN_UP: state.outcomes.get(GIVEN_UP, 0) + 1}
    waiting = tuple(each for each in state.waiting if each != record.message)
    sending = None if state.sending == record.message else state.sending
    lost = item.message.kind is not MessageKind.TEST
    gave_up_at = record.at if lost else state.gave_up_at
    state = replace(state, waiting=waiting, sending=sending, outcomes=counts, gave_up_at=gave_up_at)
    after = replace(item, state=MessageState.GIVEN_UP, since=record.at, why=record.why)
    patch: Patch = [("messages", record.message, after), ("channels", record.channel, state)]
    if all(each.outcome in (Delivery.FAILED, Delivery.REFUSED) for each in item.message.attempts):
        patch += _unknown_again(world, item.message)
    return [*patch, *_forgotten(world, record.message)]


def _unknown_again(world: Reader, message: Message) -> Patch:
    """What a message that surely never arrived has told is not known to its channel."""
    keys = (known_key(message.channel, alarm) for alarm in message.about)
    found = ((key, world.get("known", key)) for key in keys)
    return [("known", key, None) for key, known in found if known is not None and known.message == message.id]


def _forgotten(world: Reader, latest: str) -> Patch:
    """The oldest messages that are over make room for the latest one."""
    items = ((key, world.get("messages", key)) for key in world.keys("messages"))
    over = sorted((item.since, key) for key, item in items if item.is_over and key != latest)
    return [("messages", key, None) for _, key in over[: max(0, len(over) + 1 - KEPT_OVER)]]


def _deferred(world: Reader, record: r.AlarmsDeferred) -> Patch:
    patch: Patch = []
    for alarm in record.alarms:
        raised: Alarm | None = world.get("alarms", alarm)
        if raised is not None:
            known = KnownAlarm(
                channel=record.channel,
                alarm=alarm,
                incident=raised.incident,
                title=raised.title,
                severity=0,
                at=record.at,
                last=record.at,
                told=False,
                drill=_is_drill(world, raised.incident),
                window=record.window,
            )
            patch.append(("known", known_key(record.channel, alarm), known))
    return patch


OUTBOX: dict[type, Callable[[Reader, Any], Patch]] = {
    r.MessageQueued: _queued,
    r.MessageTrying: _trying,
    r.MessageTried: _tried,
    r.MessageGivenUp: _given_up,
    r.AlarmsDeferred: _deferred,
}
"""One function per record type, for `opsdash.core.evolve`."""
