"""Messages: what is told to whom over which channel, and every attempt to do so."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
    title: one line; body: several, plain text.  link: where there is more to see, "" where that is nowhere.
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
