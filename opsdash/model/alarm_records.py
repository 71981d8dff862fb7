"""Records of alarms, and of the messages that tell people of them."""

from __future__ import annotations

from dataclasses import dataclass

from opsdash.model.alarm import Hold
from opsdash.model.message import Attempt, Message


@dataclass(frozen=True, slots=True)
class AlarmHeld:
    """An alarm is due, and held by something; again when that is something else. Nobody is told for now.

    topic: what it is about, where that is not simply that the component fails. `component` "": opsdash itself.
    """

    at: float
    component: str
    incident: str
    title: str
    hold: Hold
    topic: str = ""


@dataclass(frozen=True, slots=True)
class AlarmRaised:
    """People are to be told. `due`: since when there was something to tell; `after`: what had held it until now.

    note: what could not be found out before, such as a parent that did not answer.
    """

    at: float
    component: str
    incident: str
    title: str
    due: float
    after: Hold | None = None
    note: str = ""
    topic: str = ""


@dataclass(frozen=True, slots=True)
class AlarmDropped:
    """What a held alarm was about is over. It was never raised, and is not."""

    at: float
    component: str
    incident: str
    topic: str = ""


@dataclass(frozen=True, slots=True)
class AlarmCleared:
    """What a raised alarm was about is over: people are to be told, whatever is muted. `raised`: since when it was."""

    at: float
    component: str
    incident: str
    raised: float
    topic: str = ""


@dataclass(frozen=True, slots=True)
class MessageQueued:
    """A message is going to be sent over a channel, however long that takes.

    over: of the alarms that it is about, those that the channel need not be told of again, since it says that they are
    over.
    """

    at: float
    message: Message
    over: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MessageTrying:
    """An attempt to deliver a message begins. Without its end, it may have arrived, and is sent again."""

    at: float
    message: str
    channel: str


@dataclass(frozen=True, slots=True)
class MessageTried:
    """An attempt has ended. `due`: when the next one is, None after a delivery; `waits`: seconds until then."""

    at: float
    message: str
    channel: str
    attempt: Attempt
    due: float | None = None
    waits: float = 0.0


@dataclass(frozen=True, slots=True)
class MessageGivenUp:
    """A message is not tried any more."""

    at: float
    message: str
    channel: str
    why: str


@dataclass(frozen=True, slots=True)
class AlarmsDeferred:
    """A channel will be told of raised alarms later: after the quiet hours `window`, or ("") what it is sent now."""

    at: float
    channel: str
    alarms: tuple[str, ...]
    window: str = ""


AlarmRecord = (
    AlarmHeld
    | AlarmRaised
    | AlarmDropped
    | AlarmCleared
    | MessageQueued
    | MessageTrying
    | MessageTried
    | MessageGivenUp
    | AlarmsDeferred
)
