"""Channels, and routes to them: who is told of which alarm, as the files say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from opsdash.model.empty import nothing

OWNER = "owner"
SECOND = "second"
OWNERS = "owners"

ROLES = (OWNER, SECOND, OWNERS)
"""Words of a route that stand for people: the first owner who is there and has a channel, the next one, all of them."""

GROUP_WAIT = 5.0
"""Seconds for which a channel's first message waits for what belongs to the same outage."""

SEND_TIMEOUT = 15.0
"""Seconds that one attempt to deliver a message may take, where a channel does not say otherwise."""


class Audience(StrEnum):
    """Who reads a channel. `customers` get the status texts that a person sends, and nothing else."""

    TEAM = "team"
    CUSTOMERS = "customers"


@dataclass(frozen=True, slots=True)
class Channel:
    """One way to tell people something: a kind of notifier, with its options as written (secrets are references).

    depends_on: components without which nothing goes through it.  timeout: seconds that one attempt may take.
    hosts: through which it goes, as far as the files say.
    """

    id: str
    kind: str
    raw: Mapping[str, Any] = field(default_factory=nothing)
    depends_on: tuple[str, ...] = ()
    timeout: float = SEND_TIMEOUT
    audience: Audience = Audience.TEAM
    hosts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Escalation:
    """Who is told besides, when nobody has acknowledged `after` seconds after the first were told."""

    after: float
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """Which alarms go where. Without conditions it is about all.

    tiers, severity: both have to fit; severity is the mildest that does (1 is the worst).  components, tags: one of
    them has to, as with windows.  to: channels, people, and the words of `ROLES`; empty: nobody.  remind: seconds
    between two reminders, None: none.
    """

    tiers: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    severity: int | None = None
    to: tuple[str, ...] = ()
    escalate: tuple[Escalation, ...] = ()
    remind: float | None = None


@dataclass(frozen=True, slots=True)
class Alarming:
    """All channels, the routes (the first that fits counts), and for how long a first message waits (seconds).

    runbooks_at: the URL below which runbooks can be read, "" where they cannot.
    """

    channels: Mapping[str, Channel] = field(default_factory=nothing)
    routes: tuple[Route, ...] = ()
    group_wait: float = GROUP_WAIT
    runbooks_at: str = ""
