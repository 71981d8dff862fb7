"""A message as its receivers read it: as JSON, and as text.

The JSON is a contract: fields may be added, none changes its meaning. `type` and `timestamp` are where receivers that
follow the Standard Webhooks look for them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opsdash.model.message import Message


def as_json(message: Message, operation: str) -> dict[str, Any]:
    """All that a receiver may want to know. operation: the title of the operation that the message comes from."""
    return {
        "type": f"opsdash.{message.kind.value}",
        "timestamp": moment(message.created_at),
        "id": message.id,
        "key": message.key,
        "channel": message.channel,
        "operation": operation,
        "kind": message.kind.value,
        "severity": message.severity,
        "drill": message.drill,
        "title": message.title,
        "body": message.body,
        "link": message.link,
        "about": list(message.about),
        "incidents": list(message.incidents),
        "at": message.created_at,
    }


def as_text(message: Message) -> str:
    """Title, body and link, as somebody would write them below each other."""
    return "\n\n".join(part for part in (message.title, message.body.strip(), message.link) if part)


def below_title(message: Message) -> str:
    """What stands below the title, for whoever shows that in a place of its own; never empty."""
    return "\n\n".join(part for part in (message.body.strip(), message.link) if part) or message.title


def moment(seconds: float) -> str:
    """Seconds since 1970 UTC as RFC 3339 has them."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
