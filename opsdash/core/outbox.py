"""The outbox: messages in order, one attempt at a time for each channel, none lost and none told twice without a mark.

A message is a record before anything is sent, and so is the beginning of each attempt. So whatever is killed when: what
was queued is still there, and an attempt that had begun without an end *may* have arrived. It is sent again, under the
same key, by which whoever receives it twice can tell (at least once).

A channel is a queue. Its first message is tried until it is delivered or given up; the others wait behind it, so that
an end never arrives before its beginning. An attempt that did not work is repeated after 5 s, 10 s, … 10 min; later
where the other side asked for it. What it refuses for good (a wrong key) is tried again seldom. After 24 hours of
trying a message is given up. Only trying counts: not the time in which no engine ran, and not a clock that was set.

A test goes ahead of what waits, is tried once, and when it arrives all that waits is tried at once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from opsdash.core import wording
from opsdash.core.evolve_outbox import channel_state
from opsdash.model.channel import Audience
from opsdash.model.effects import CancelTimer, Send, SetTimer
from opsdash.model.incident import EntryKind
from opsdash.model.message import Attempt, Delivery, Message, MessageKind, MessageState
from opsdash.model.records import IncidentNoted, MessageGivenUp, MessageQueued, MessageTried, MessageTrying
from opsdash.model.switch import Refused
from opsdash.model.text import clean
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opsdash.core.draft import Draft
    from opsdash.core.wording import Text
    from opsdash.model.incident import Incident
    from opsdash.model.inputs import AlarmTestIntent, SendDone, TellIntent
    from opsdash.model.message import Outgoing
    from opsdash.model.operation import Operation
    from opsdash.model.world import World

FIRST_RETRY = 5.0
LAST_RETRY = 600.0
"""Seconds between two attempts: the first distance, which doubles up to the last."""

LONGEST_RETRY = 3600.0
"""Seconds for which the other side may ask to be left alone; it can ask again after that."""

GIVE_UP_AFTER = 86400.0
"""Seconds of trying after which a message is given up."""

NEVER = -math.inf

BY_HAND = frozenset({MessageKind.TEST, MessageKind.STATUS})
"""Messages that a person sends; all others follow from alarms."""


# --- queueing --------------------------------------------------------------------------------------------------------


def queue(
    draft: Draft,
    channel: str,
    kind: MessageKind,
    text: Text,
    *,
    severity: int = 4,
    about: Sequence[str] = (),
    over: Sequence[str] = (),
    incidents: Iterable[str] = (),
    drill: bool = False,
) -> str:
    """Put a message into the outbox, send it if its turn has come, and return its id."""
    number = draft.life().messages + 1
    text = wording.marked(text, drill=drill)
    message = Message(
        id=f"MSG-{number}",
        key=f"opsdash-{number}-{int(draft.now.wall * 1000):x}",
        channel=channel,
        kind=kind,
        title=text.title,
        body=text.body,
        created_at=draft.now.wall,
        severity=severity,
        about=tuple(about),
        incidents=tuple(dict.fromkeys(each for each in incidents if each)),
        drill=drill,
        link=text.link,
    )
    draft.emit(MessageQueued(draft.now.wall, message, tuple(over)))
    pump(draft, channel)
    return message.id


def is_busy(draft: Draft, channel: str) -> bool:
    """Whether a message about alarms still waits there: what comes next is told once it has been delivered."""
    items = (draft.get("messages", each) for each in channel_state(draft, channel).waiting)
    return any(item is not None and item.message.kind not in BY_HAND for item in items)


def overdue(world: World, wall: float) -> float | None:
    """Seconds for which the oldest message that should be tried has not been; None where none waits for its turn.

    An attempt in flight counts from its beginning: the sender ends each one long before that is worth a word.
    """
    late = []
    for channel, state in world.tables["channels"].items():
        if channel not in world.operation.alarms.channels or not state.waiting:
            continue
        item: Outgoing | None = world.get("messages", state.sending or state.waiting[0])
        if item is not None:
            late.append(wall - max(item.due, item.since, item.message.created_at))
    return max((each for each in late if each > 0), default=None)


# --- sending ---------------------------------------------------------------------------------------------------------


def pump(draft: Draft, channel: str) -> None:
    """Try the next message of a channel, if none is being sent and its time has come."""
    state, spec = channel_state(draft, channel), draft.operation.alarms.channels.get(channel)
    item = _next(draft, state.waiting)
    if state.sending is not None or item is None or spec is None:
        return
    due: float = draft.live("sends", channel) or NEVER
    if item.message.kind is not MessageKind.TEST and due > draft.now.mono:
        draft.effect(SetTimer(("send", channel), due))
        return
    draft.emit(MessageTrying(draft.now.wall, item.message.id, channel))
    draft.effect(CancelTimer(("send", channel)))
    draft.effect(Send(item.message, spec))


def _next(draft: Draft, waiting: Sequence[str]) -> Outgoing | None:
    items = [item for each in waiting if (item := draft.get("messages", each)) is not None]
    tests = (item for item in items if item.message.kind is MessageKind.TEST)
    return next(tests, items[0] if items else None)


def done(draft: Draft, event: SendDone) -> Outgoing | None:
    """An attempt has ended. Returns the message as it is now, None if nobody waited for that."""
    item: Outgoing | None = draft.get("messages", event.message)
    if item is None or item.state is not MessageState.SENDING:
        return None
    took = event.took if math.isfinite(event.took) else 0.0
    _ended(draft, item, Attempt(draft.now.wall, event.delivery, event.detail, took), event.retry_after)
    if event.delivery is Delivery.DELIVERED:
        draft.set_live("sends", item.message.channel, None)
    pump(draft, item.message.channel)
    after: Outgoing | None = draft.get("messages", event.message)
    return after


def _ended(draft: Draft, item: Outgoing, attempt: Attempt, retry_after: float | None) -> None:
    message, now = item.message, draft.now
    if attempt.outcome is Delivery.DELIVERED:
        draft.emit(MessageTried(now.wall, message.id, message.channel, attempt))
        return
    if message.kind is MessageKind.TEST:
        draft.emit(MessageTried(now.wall, message.id, message.channel, attempt))
        _give_up(draft, message, "a test is tried once")
        return
    wait = retry_in(item.tries, attempt.outcome, retry_after)
    draft.emit(MessageTried(now.wall, message.id, message.channel, attempt, now.wall + wait, wait))
    draft.set_live("sends", message.channel, now.mono + wait)
    if item.waited + attempt.took + wait > GIVE_UP_AFTER:
        draft.set_live("sends", message.channel, None)
        tried = f"{item.tries} attempts in {format_duration(GIVE_UP_AFTER)}"
        _give_up(draft, message, f"{tried}; the last one said: {attempt.detail or attempt.outcome.value}")


def retry_in(tries: int, outcome: Delivery, retry_after: float | None) -> float:
    """Seconds until the next attempt, after `tries` of them."""
    wait = min(LAST_RETRY, FIRST_RETRY * 2.0 ** min(tries - 1, 20))
    if outcome is Delivery.REFUSED:
        wait = LAST_RETRY
    if retry_after is not None and math.isfinite(retry_after):
        wait = max(wait, min(retry_after, LONGEST_RETRY))
    return wait


def _give_up(draft: Draft, message: Message, why: str) -> None:
    draft.emit(MessageGivenUp(draft.now.wall, message.id, message.channel, clean(why)))


def drop_orphans(draft: Draft) -> None:
    """A channel that was taken out of the files may come back; what waits for it does so for as long as others do."""
    for channel in draft.keys("channels"):
        if channel in draft.operation.alarms.channels:
            continue
        for key in channel_state(draft, channel).waiting:
            item: Outgoing | None = draft.get("messages", key)
            if item is not None and draft.now.wall - item.message.created_at > GIVE_UP_AFTER:
                draft.emit(MessageGivenUp(draft.now.wall, key, channel, "the channel is no longer in opsdash.yaml"))


# --- a start, new files ----------------------------------------------------------------------------------------------


def recover(draft: Draft) -> None:
    """After a start: whatever was being sent may have arrived."""
    for channel in draft.keys("channels"):
        sending = channel_state(draft, channel).sending
        item: Outgoing | None = draft.get("messages", sending) if sending else None
        if item is not None and item.state is MessageState.SENDING:
            detail = "the engine ended while it was being sent; it may have arrived"
            attempt, now = Attempt(item.since, Delivery.UNKNOWN, detail), draft.now.wall
            draft.emit(MessageTried(now, item.message.id, channel, attempt, now))
            if item.message.kind is MessageKind.TEST:
                _give_up(draft, item.message, "a test is tried once")


def loaded(draft: Draft, before: Operation) -> None:
    """The files were read: a channel that is there again, or is another one now, is tried at once."""
    for channel, spec in draft.operation.alarms.channels.items():
        if before.alarms.channels.get(channel) != spec:
            draft.set_live("sends", channel, None)
        pump(draft, channel)


# --- what people send ------------------------------------------------------------------------------------------------


def send_test(draft: Draft, who: str, intent: AlarmTestIntent) -> Refused | str:
    """A test message over one channel, or all. Returns their ids."""
    channels = draft.operation.alarms.channels
    if not channels:
        return Refused("no_channels", "opsdash.yaml declares no channel; write alarms: {channels: {NAME: {kind: …}}}")
    if intent.channel and intent.channel not in channels:
        return _unknown_channel(draft, intent.channel)
    chosen = [intent.channel] if intent.channel else list(channels)
    return " ".join(queue(draft, name, MessageKind.TEST, wording.test(name, who)) for name in chosen)


def _unknown_channel(draft: Draft, name: str) -> Refused:
    known = ", ".join(sorted(draft.operation.alarms.channels)) or "none"
    return Refused("unknown_channel", f"there is no channel {name!r}; opsdash.yaml has: {known}")


def tell(draft: Draft, who: str, intent: TellIntent) -> Refused | str:
    """Tell customers of an incident, in the words of the person or in those that its failure mode has ready."""
    incident: Incident | None = draft.get("incidents", intent.incident)
    if incident is None:
        return Refused("unknown_incident", f"there is no incident {intent.incident!r}")
    if incident.drill:
        return Refused("drill", f"{incident.id} is a drill; customers are not told of it")
    text = intent.text.strip() or ready_text(draft, incident)
    if not text:
        reason = "say what customers are to be told; its failure modes have no `status_text`"
        return Refused("empty", reason)
    chosen = intent.channels or tuple(
        each.id for each in draft.operation.alarms.channels.values() if each.audience is Audience.CUSTOMERS
    )
    if not chosen:
        return Refused("no_channels", "no channel has `audience: customers`; name the channels, or declare one")
    for name in chosen:
        if name not in draft.operation.alarms.channels:
            return _unknown_channel(draft, name)
    said = wording.status(draft.operation.title, text)
    ids = [queue(draft, name, MessageKind.STATUS, said, incidents=(incident.id,)) for name in dict.fromkeys(chosen)]
    entry = f"told customers over {', '.join(chosen)}: {text}"
    draft.emit(IncidentNoted(draft.now.wall, incident.id, who, EntryKind.MESSAGE, entry))
    draft.touch(incident.component)
    return " ".join(ids)


def ready_text(draft: Draft, incident: Incident) -> str:
    """What the failure modes of an incident have ready for customers, "" where none has anything."""
    for name in incident.failures:
        component_id, _, failure = name.rpartition("/")
        component = draft.component(component_id or incident.component)
        known = component.failures.get(failure) if component is not None else None
        if known is not None and known.status_text:
            return known.status_text
    return ""
