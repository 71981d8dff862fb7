"""What Patroni's REST API says, as values: `GET /cluster`, a member's own state, the answers to a switch.

Written from Patroni 4.1.5 (patroni/api.py, utils.py), and tried on it; older versions since 1.6 say the same in the
places that are read here. Nothing in here is I/O.

Two documents tell who leads, and they may part. `/cluster` is what the store (etcd, Consul, …) says, whichever member
is asked: who holds the leader's lock. A member's own answer to `/primary` is what its PostgreSQL does at this moment:
200 with the lock, 503 without it, and in both cases `role`, which comes from `pg_is_in_recovery()`. So a member that
says 503 and `primary` accepts writes without holding the lock, as happens in maintenance mode.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Any, Final

from opsdash.kinds.base import Applied

MAX_MEMBERS: Final = 64
"""Members that a cluster may have; a document that names more is not believed."""

_LEADING: Final = frozenset({"leader", "standby_leader"})
_SYNCHRONOUS: Final = "sync_standby"
_WRITING: Final = frozenset({"primary", "master"})
_NAME_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class Member:
    """A member as `/cluster` shows it.

    lag: bytes of the write-ahead log that it has not replayed; None where Patroni says "unknown".
    nofailover: its tags forbid that it is promoted.
    """

    name: str
    role: str
    state: str = ""
    api_url: str = ""
    timeline: int | None = None
    lag: int | None = None
    nofailover: bool = False

    @property
    def leads(self) -> bool:
        return self.role in _LEADING


@dataclass(frozen=True, slots=True)
class Cluster:
    """`GET /cluster`. scheduled: the switchover that waits for its time, in words; "" where none does."""

    members: tuple[Member, ...]
    scope: str = ""
    paused: bool = False
    scheduled: str = ""

    @property
    def leader(self) -> Member | None:
        """Who holds the lock."""
        return next((member for member in self.members if member.leads), None)

    @property
    def standby(self) -> bool:
        """Whether all of it follows another cluster, so that none of its members accepts writes."""
        return any(member.role == "standby_leader" for member in self.members)

    @property
    def synchronous(self) -> tuple[str, ...]:
        """Names of the standbys without which nothing is committed; those of a quorum are not among them."""
        return tuple(member.name for member in self.members if member.role == _SYNCHRONOUS)

    def member(self, name: str) -> Member | None:
        return next((member for member in self.members if member.name == name), None)


class Serves(Enum):
    """Whether a member accepts writes, as far as it can be told."""

    YES = "yes"
    NO = "no"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Node:
    """What a member says of itself. name: None before Patroni 4, which did not tell."""

    serves: Serves
    name: str | None = None
    role: str = ""
    state: str = ""
    watchdog_failed: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """What of `GET /config` a switch depends on."""

    loop_wait: float | None = None
    ttl: float | None = None
    largest_lag: int | None = None
    strictly_synchronous: bool = False


# --- documents ---------------------------------------------------------------------------------------------------


def parse_cluster(document: Any) -> Cluster:
    """Raises ValueError, with the end of a sentence about the document, where it is not Patroni's."""
    listed = document.get("members") if isinstance(document, Mapping) else None
    if not isinstance(listed, list):
        raise ValueError("is not what Patroni says of a cluster")  # noqa: TRY004 - one error for whatever is wrong
    if len(listed) > MAX_MEMBERS:
        raise ValueError(f"names {len(listed)} members")
    members = tuple(_member(each) for each in listed)
    names = {member.name for member in members}
    if len(names) < len(members):
        raise ValueError("names a member twice")
    leaders = [member.name for member in members if member.leads]
    if len(leaders) > 1:
        raise ValueError(f"names several leaders: {', '.join(leaders)}")
    return Cluster(
        members=members,
        scope=_text(document.get("scope")),
        paused=document.get("pause") is True,
        scheduled=_scheduled(document.get("scheduled_switchover")),
    )


def _member(said: Any) -> Member:
    name = said.get("name") if isinstance(said, Mapping) else None
    if not isinstance(name, str) or not name.strip() or len(name) > _NAME_LENGTH:
        raise ValueError("has a member without a name")
    return Member(
        name=name,
        role=_text(said.get("role")),
        state=_text(said.get("state")),
        api_url=_text(said.get("api_url")),
        timeline=_count(said.get("timeline")),
        lag=_count(said.get("lag")),
        nofailover=_forbids_failover(said.get("tags")),
    )


def _forbids_failover(tags: Any) -> bool:
    """As Patroni reads them: `nofailover` counts where it is there, else a `failover_priority` of 0 or less."""
    if not isinstance(tags, Mapping):
        return False
    if tags.get("nofailover") is not None:
        return bool(tags["nofailover"])
    try:
        return int(str(tags["failover_priority"])) <= 0
    except (KeyError, ValueError):
        return False


def _scheduled(said: Any) -> str:
    if not isinstance(said, Mapping):
        return ""
    ends = f"from {_text(said.get('from')) or 'the leader'} to {_text(said.get('to')) or 'any member'}"
    return f"{ends} at {_text(said.get('at')) or 'a time that is not told'}"


def parse_node(status: int, document: Any) -> Node:
    """What a member's answer to `GET /primary` says. Raises ValueError where that is no answer of Patroni's."""
    if status not in {HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE} or not isinstance(document, Mapping):
        raise ValueError("is not what Patroni says of a member")
    role, state = _text(document.get("role")), _text(document.get("state"))
    about = document.get("patroni")
    name = _text(about.get("name")) if isinstance(about, Mapping) else ""
    if not role:
        raise ValueError("is not what Patroni says of a member")
    return Node(
        serves=_serves(status, role, state),
        name=name or None,
        role=role,
        state=state,
        watchdog_failed=document.get("watchdog_failed") is True,
    )


def _serves(status: int, role: str, state: str) -> Serves:
    if status == HTTPStatus.OK:
        return Serves.YES
    if role not in _WRITING:
        return Serves.NO
    # Without the lock, and yet a primary. "unknown": Patroni holds it for running, and could not ask it.
    return {"running": Serves.YES, "unknown": Serves.UNCLEAR}.get(state, Serves.NO)


def parse_settings(document: Any) -> Settings:
    """Raises ValueError where it is not Patroni's configuration."""
    if not isinstance(document, Mapping):
        raise ValueError("is not Patroni's configuration")  # noqa: TRY004 - one error for whatever is wrong
    mode = document.get("synchronous_mode")
    # Any of a quorum may be promoted; the other mode wants the very standby that is written to.
    strict = mode is True or (isinstance(mode, str) and mode.lower() in {"on", "true", "yes", "1"})
    return Settings(
        loop_wait=_seconds(document.get("loop_wait")),
        ttl=_seconds(document.get("ttl")),
        largest_lag=_count(document.get("maximum_lag_on_failover")),
        strictly_synchronous=strict,
    )


def _text(value: Any) -> str:
    return value[: 2 * _NAME_LENGTH] if isinstance(value, str) else ""


def _seconds(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


# --- answers to POST /switchover and POST /failover --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer is worth. words: what it means, where its own text does not say so."""

    applied: Applied
    words: str = ""


_DONE: Final = re.compile(r'Successfully (?:switch|fail)ed over to "(?P<name>.+)"')
_ELSEWHERE: Final = re.compile(r'(?:Switch|Fail)ed over to "(?P<name>.+)" instead of "(?P<wanted>.+)"')

_REFUSALS: Final = {
    HTTPStatus.BAD_REQUEST: "",
    HTTPStatus.UNAUTHORIZED: "it wants another login",
    HTTPStatus.FORBIDDEN: "it does not admit us",
    HTTPStatus.LENGTH_REQUIRED: "",
    HTTPStatus.PRECONDITION_FAILED: "",
    HTTPStatus.NOT_IMPLEMENTED: "there is no such request there",
}
"""What Patroni says before it has written anything."""

_IN_DOUBT: Final = (
    (HTTPStatus.ACCEPTED, r".*", "it was put off to a time, which nobody asked for; `patronictl flush` drops it"),
    (
        HTTPStatus.SERVICE_UNAVAILABLE,
        r"(Switchover|Failover) status unknown.*",
        "Patroni has stopped waiting, and it may go on",
    ),
    (
        HTTPStatus.SERVICE_UNAVAILABLE,
        r"(Switchover|Failover) failed",
        "Patroni has dropped it, maybe after the leader had stepped down",
    ),
    (
        HTTPStatus.SERVICE_UNAVAILABLE,
        r"failed to write failover key into DCS",
        "it may have been written all the same",
    ),
)


def judge(status: int, text: str, candidate: str) -> Answer:
    """What is known after this answer to a request to promote `candidate`. What is not foreseen is unknown."""
    text = text.strip()
    if status == HTTPStatus.OK:
        return _judge_done(text, candidate)
    if status in _REFUSALS:
        return Answer(Applied.REFUSED, _REFUSALS[HTTPStatus(status)])
    for known, pattern, words in _IN_DOUBT:
        if status == known and re.fullmatch(pattern, text, re.DOTALL):
            return Answer(Applied.UNKNOWN, words)
    return Answer(Applied.UNKNOWN, "which says nothing of what was done")


def _judge_done(text: str, candidate: str) -> Answer:
    elsewhere = _ELSEWHERE.fullmatch(text)
    if elsewhere is not None:
        return Answer(Applied.APPLIED, f"it went to {elsewhere['name']}, not to {candidate}")
    done = _DONE.fullmatch(text)
    if done is not None and done["name"] == candidate:
        return Answer(Applied.APPLIED)
    return Answer(Applied.UNKNOWN, "which says nothing of what was done")
