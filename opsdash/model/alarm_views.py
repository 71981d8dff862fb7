"""What a client sees of alarms: which there are, what was told of them over which channel, and what came of it."""

from __future__ import annotations

from typing import TypedDict


class AlarmView(TypedDict):
    """The alarm of a component. state: raised | held.

    reason: why it is held (parent | asked | recheck | maintenance | flapping | offline | paused), `by` what, until
    when, and in words.  since: of this state; due: since when there has been something to alarm about.
    """

    state: str
    title: str
    incident: str
    reason: str | None
    by: str
    words: str
    since: float
    until: float | None
    due: float


class AlarmLine(TypedDict):
    """An alarm. state: raised | held; words: why it is held.

    topic: "" where it is that the component fails.  component: None where it is about opsdash itself.
    told: the channels over which it was delivered; undelivered: those whose message has not arrived (yet).
    later: those that will be told, once they can be, or quiet hours are over.
    """

    key: str
    component: str | None
    topic: str
    state: str
    title: str
    incident: str | None
    severity: int
    words: str
    due: float
    since: float
    until: float | None
    drill: bool
    acknowledged_by: str | None
    told: list[str]
    undelivered: list[str]
    later: list[str]


class AttemptView(TypedDict):
    """One try to deliver a message. outcome: delivered | failed | unknown | refused; took: seconds."""

    at: float
    outcome: str
    detail: str
    took: float


class MessageView(TypedDict):
    """A message of the outbox. state: waiting | sending | delivered | given_up; next_at: when it is tried again.

    attempts: the latest ones; tries counts all.  since: of this state.
    """

    id: str
    key: str
    channel: str
    kind: str
    state: str
    title: str
    body: str
    severity: int
    drill: bool
    created_at: float
    since: float
    next_at: float | None
    tries: int
    why: str
    about: list[str]
    incidents: list[str]
    attempts: list[AttemptView]


class ChannelView(TypedDict):
    """A channel. state: ok | unused | failing | broken | removed; outcomes: how many attempts ended how.

    said: of the latest failure.  waiting: messages that are not delivered.
    """

    id: str
    kind: str
    audience: str
    state: str
    delivered_at: float | None
    failing_since: float | None
    said: str
    waiting: int
    outcomes: dict[str, int]


class AlarmsView(TypedDict):
    """All of it. outbox: what waits first, then the latest.  texts: what customers can be told, by open incident."""

    alarms: list[AlarmLine]
    outbox: list[MessageView]
    channels: list[ChannelView]
    texts: dict[str, str]
