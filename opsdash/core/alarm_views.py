"""What a client sees of alarms and of what became of their messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core import acknowledging, grouping, outbox, routing, topics
from opsdash.core.evolve_outbox import channel_state
from opsdash.model.alarm import hold_words, parts_of
from opsdash.model.channel import Channel
from opsdash.model.message import MessageState, known_key
from opsdash.model.text import clean

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.alarm import Alarm
    from opsdash.model.incident import Incident
    from opsdash.model.message import KnownAlarm, Outgoing
    from opsdash.model.views import AlarmLine, AlarmsView, ChannelView, MessageView


SAID_LIMIT = 40
"""Characters of an error that the head of a screen quotes; `opsdash alarms` has all of it."""


def alarms_view(draft: Draft) -> AlarmsView:
    """Alarms, the outbox, channels."""
    lines = [_line(draft, key) for key in draft.keys("alarms")]
    items = [draft.get("messages", key) for key in draft.keys("messages")]
    open_incidents: list[Incident] = [
        each for key in draft.keys("incidents") if (each := draft.get("incidents", key)).is_open
    ]
    ready = {each.id: outbox.ready_text(draft, each) for each in open_incidents}
    return {
        "alarms": sorted(lines, key=lambda each: (each["state"] != "raised", each["severity"], each["due"])),
        "outbox": [_message(each) for each in sorted(items, key=_order)],
        "channels": [_channel(draft, each) for each in grouping.all_channels(draft)],
        "texts": {incident: text for incident, text in ready.items() if text},
    }


def undelivered(draft: Draft) -> str:
    """What of alarms does not arrive, in a few words; "" while all does."""
    broken = [each for each in grouping.all_channels(draft) if _state(draft, each) in ("broken", "failing")]
    if not broken:
        return ""
    first = channel_state(draft, broken[0])
    others = f", and over {len(broken) - 1} more" if len(broken) > 1 else ""
    waits = f"{len(first.waiting)} waiting" if first.waiting else "given up"
    said = clean(first.said, SAID_LIMIT) or "no answer"
    return f"alarms do not arrive over {broken[0]} ({waits}: {said}){others}"


def _order(item: Outgoing) -> tuple[bool, float]:
    return item.is_over, item.message.created_at if not item.is_over else -item.since


def _line(draft: Draft, key: str) -> AlarmLine:
    alarm: Alarm = draft.get("alarms", key)
    component_id, topic = parts_of(key)
    component = draft.component(component_id) if component_id else None
    incident: Incident | None = draft.get("incidents", alarm.incident) if alarm.incident else None
    known = [(each, draft.get("known", known_key(each, key))) for each in grouping.all_channels(draft)]
    return {
        "key": key,
        "component": component_id or None,
        "topic": topic,
        "state": "raised" if alarm.is_raised else "held",
        "title": alarm.title,
        "incident": alarm.incident or None,
        "severity": routing.severity_of(component, incident, topic),
        "words": "" if alarm.hold is None else hold_words(alarm.hold),
        "due": alarm.due,
        "since": alarm.raised or alarm.held or alarm.due,
        "until": None if alarm.hold is None else alarm.hold.until,
        "drill": incident is not None and incident.drill,
        "acknowledged_by": acknowledging.looked_after_by(incident, draft.now.wall),
        "told": [channel for channel, each in known if each is not None and each.told and _has_arrived(draft, each)],
        "undelivered": [
            channel for channel, each in known if each is not None and each.told and not _has_arrived(draft, each)
        ],
        "later": [channel for channel, each in known if each is not None and not each.told],
    }


def _has_arrived(draft: Draft, known: KnownAlarm) -> bool:
    """Whether a channel was really told: its message was delivered, and not only made. A reminder comes after that."""
    message: Outgoing | None = draft.get("messages", known.message)
    return known.last > known.at or message is None or message.state is MessageState.DELIVERED


def _message(item: Outgoing) -> MessageView:
    message = item.message
    return {
        "id": message.id,
        "key": message.key,
        "channel": message.channel,
        "kind": message.kind.value,
        "state": item.state.value,
        "title": message.title,
        "body": message.body,
        "severity": message.severity,
        "drill": message.drill,
        "created_at": message.created_at,
        "since": item.since,
        "next_at": item.due if item.state is MessageState.WAITING else None,
        "tries": item.tries,
        "why": item.why,
        "about": list(message.about),
        "incidents": list(message.incidents),
        "attempts": [
            {"at": each.at, "outcome": each.outcome.value, "detail": each.detail, "took": each.took}
            for each in message.attempts
        ],
    }


def _channel(draft: Draft, channel: str) -> ChannelView:
    spec, state = draft.operation.alarms.channels.get(channel) or Channel(channel, ""), channel_state(draft, channel)
    return {
        "id": channel,
        "kind": spec.kind,
        "audience": spec.audience.value,
        "state": _state(draft, channel),
        "delivered_at": state.delivered_at,
        "failing_since": state.failing_since,
        "said": state.said,
        "waiting": len(state.waiting),
        "outcomes": dict(state.outcomes),
    }


def _state(draft: Draft, channel: str) -> str:
    state = channel_state(draft, channel)
    if channel not in draft.operation.alarms.channels:
        return "removed"
    if topics.broken_channel(draft, channel):
        return "broken"
    if state.failing_since is not None:
        return "failing"
    return "unused" if state.delivered_at is None else "ok"
