"""Messages: what is told to whom over which channel, and every attempt to do so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from opsdash.model.empty import nothing


class MessageKind(StrEnum):
    """Why a message is sent. A `status` is for customers and is sent only by a person; a `test` says that it is one."""

    PROBLEM = "problem"
    REMINDER = "reminder"
    ESCALATION = "escalation"
    RESOLVED = "resolved"
    STATUS = "status"
    TEST = "test"


class Delivery(StrEnum):
    """What is known after an attempt.

    delivered: the other side took it.  failed: it did not, or cannot have; it is tried again.  unknown: it may have
    arrived (no answer after it was sent); it is tried again under the same key.  refused: the other side will never
    take it as it is (a wrong address, a key that is no longer valid); tried again seldom, and shown at once.
    """

    DELIVERED = "delivered"
    FAILED = "failed"
    UNKNOWN = "unknown"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to deliver a message. took: seconds; detail: what the other side said, sanitised and masked."""

    at: float
    outcome: Delivery
    detail: str = ""
    took: float = 0.0


@dataclass(frozen=True, slots=True)
class Message:
    """A message for one channel, in the outbox until it is delivered or given up.

    id: `MSG-n`.  key: the same for every attempt, so that whoever receives it twice can tell.
    about: keys of the alarms that it tells of.  severity: 1 (worst) to 4.
    drill: it is about a planned failure; its title begins with [DRILL] then.
    title: one line; body: several, plain text.  link: to the runbook of the worst of what fails, "" where it
    cannot be read without opsdash.
    created_at: seconds since 1970 UTC.
    """

    id: str
    key: str
    channel: str
    kind: MessageKind
    title: str
    body: str
    created_at: float
    severity: int = 1
    about: tuple[str, ...] = ()
    incidents: tuple[str, ...] = ()
    drill: bool = False
    link: str = ""
    attempts: tuple[Attempt, ...] = ()


class MessageState(StrEnum):
    """Where a message is. sending: an attempt is in flight."""

    WAITING = "waiting"
    SENDING = "sending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message in the outbox; its latest attempts are in it. `tries` counts all.

    due: when it is tried next, waited: seconds for which it has been tried so far; since: of this state; why: it was
    given up.
    """

    message: Message
    state: MessageState = MessageState.WAITING
    tries: int = 0
    due: float = 0.0
    waited: float = 0.0
    since: float = 0.0
    why: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in (MessageState.DELIVERED, MessageState.GIVEN_UP)


@dataclass(frozen=True, slots=True)
class ChannelState:
    """What is recorded of a channel.

    waiting: ids of its messages that are not over, oldest first.  sending: the one of which an attempt is in flight.
    outcomes: how many attempts ended how, and messages given up.
    delivered_at: the latest success.  failing_since: the first failure after it.  said: of the latest failure.
    refused: that will not get better by itself.  gave_up_at: since then a message was given up.
    """

    waiting: tuple[str, ...] = ()
    sending: str | None = None
    outcomes: Mapping[str, int] = field(default_factory=nothing)
    delivered_at: float | None = None
    failing_since: float | None = None
    said: str = ""
    refused: bool = False
    gave_up_at: float | None = None


@dataclass(frozen=True, slots=True)
class KnownAlarm:
    """What a channel knows of an alarm.

    told: it was in a message.  Else that was deferred: by the quiet hours `window`, or ("") because an earlier message
    still waits; it will be told even if it is over by then.
    incident: of the alarm at that time.  at: when it was first told or deferred; last: told or reminded.
    message: the latest one that told of it.
    """

    channel: str
    alarm: str
    incident: str
    title: str
    severity: int
    at: float
    last: float
    told: bool = True
    drill: bool = False
    message: str = ""
    window: str = ""


def known_key(channel: str, alarm: str) -> str:
    """The key under which the world has what a channel knows of an alarm; no name contains a space."""
    return f"{channel} {alarm}"
