"""What the sentinels of a group know: whom they name, whom they miss, which replica they would choose.

All of them are asked, because each has a view of its own: for a moment after every failover they differ, and one that
was cut off goes on naming the old primary. What counts is what all who answer agree on, and that most of them answer.

Their word is compared with what the nodes say themselves (`redis_nodes`): a sentinel names one primary, while an old
one may go on taking writes until somebody tells it.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from opsdash.kinds.failures import FAILURES, ProtocolError, RejectedError
from opsdash.kinds.redis_nodes import (
    MAX_NODES,
    REJECTIONS,
    Allowed,
    Aside,
    Directory,
    Group,
    addresses_in,
    allowed,
    judge,
    look,
    why,
)
from opsdash.kinds.resp import ErrorReply, Place, conversation, parse_place, place_name, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opsdash.kinds.resolver import Resolver
    from opsdash.kinds.resp import Conversation, Reply, Way

MAX_REPLICAS: Final = 256 * 1024
"""Bytes of SENTINEL REPLICAS: about one KiB for each."""
MISSED_AFTER: Final = 3000
"""Milliseconds without an answer to a sentinel's PING, sent every second, from which on it misses a node."""
IN_PROGRESS: Final = "failover_in_progress"
HESITATES_FOR: Final = 10_000
"""Milliseconds after which a sentinel that finds a primary down, and does nothing, is kept from it: by the last
failover (it waits for twice `failover-timeout`), or because the others do not agree."""
_FOUND_DOWN: Final = frozenset({"s_down", "o_down"})
_DOWN: Final = _FOUND_DOWN | {"disconnected"}


# --- one sentinel ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Known:
    """A primary or a replica as a sentinel knows it."""

    host: str
    port: int
    facts: Mapping[str, str]

    @property
    def address(self) -> tuple[str, int]:
        return (self.host, self.port)

    @property
    def flags(self) -> frozenset[str]:
        return frozenset(self.facts.get("flags", "").split(","))

    @property
    def is_missed(self) -> bool:
        """Whether the sentinel gets no answer from it, be it officially down yet or not."""
        return bool(self.flags & _DOWN) or self.number("last-ok-ping-reply") > MISSED_AFTER

    @property
    def replaced_in(self) -> float:
        """Seconds until the sentinel may begin to replace it by itself, as a primary; infinite where it does not think
        of it, or has thought of it for so long that something keeps it from doing so.
        """
        if self.flags & _FOUND_DOWN:
            since = max(self.number("s-down-time"), self.number("o-down-time"))
            return 0.0 if since < HESITATES_FOR else math.inf
        remaining = self.number("down-after-milliseconds") - self.number("last-ok-ping-reply")
        return max(0, remaining) / 1000 if self.is_missed else math.inf

    @property
    def priority(self) -> int:
        """The smallest is chosen first; with 0 it never is."""
        return self.number("slave-priority", 100)

    def number(self, key: str, default: int = 0) -> int:
        """A number among the facts."""
        text = self.facts.get(key, "")
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else default


def read_known(reply: Reply) -> Known:
    """A row of SENTINEL MASTER or REPLICAS: names and values in turn. Raises ProtocolError for what is none."""
    row = reply if isinstance(reply, list) else []
    words = [word for word in row if isinstance(word, str)]
    facts = dict(zip(words[::2], words[1::2], strict=False))
    host, port = facts.get("ip", ""), facts.get("port", "")
    if len(words) != len(row) or len(words) % 2 or not host:
        raise ProtocolError(f"describes a server as {shown(reply)}")
    return Known(host, _port(port), facts)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 5):
        raise ProtocolError(f"tells a port {shown(text)}")
    return int(text)


def _answer(reply: Reply) -> Reply:
    """The reply, if it is no error."""
    if isinstance(reply, ErrorReply):
        if reply.code in REJECTIONS:
            raise RejectedError(shown(reply))
        raise ProtocolError(shown(reply))
    return reply


async def address_of(talk: Conversation, master: str) -> tuple[str, int]:
    """Whom a sentinel names to clients. Raises one of FAILURES where it names nobody."""
    match _answer(await talk.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", master)):
        case [str(host), str(port)] if host:
            return (host, _port(port))
        case None:
            raise ProtocolError(f"knows no group {master!r}")
        case reply:
            raise ProtocolError(f"names the primary as {shown(reply)}")


async def primary_of(talk: Conversation, master: str) -> Known:
    """What a sentinel knows of the primary. Raises one of FAILURES."""
    return read_known(_answer(await talk.ask("SENTINEL", "MASTER", master)))


@dataclass(frozen=True, slots=True)
class View:
    """What one sentinel says. primary None where it did not say; `problem` then says why.

    address: whom it names to clients.  quorum: what is wrong with it; empty when there is one.
    allowed: whether we may have it fail over; None where that was not asked.
    """

    place: Place
    primary: Known | None = None
    address: tuple[str, int] = ("", 0)
    replicas: tuple[Known, ...] = ()
    quorum: str = ""
    problem: str = ""
    rejected: bool = False
    allowed: Allowed | None = None

    @property
    def known(self) -> tuple[Known, ...]:
        """All nodes that it knows."""
        return self.replicas if self.primary is None else (self.primary, *self.replicas)


@dataclass(frozen=True, slots=True)
class Asking:
    """Whom to ask about, and how. within: seconds for all sentinels, and as many for all nodes."""

    master: str
    sentinel_way: Way
    node_way: Way
    resolver: Resolver
    within: float


async def ask_sentinel(asking: Asking, place: Place, *, audit: bool) -> View:
    """Ask one sentinel all that it knows; whatever goes wrong is part of the answer."""
    master, aside = asking.master, Aside(asking.resolver)
    try:
        async with asyncio.timeout(asking.within), conversation(place, asking.sentinel_way, aside) as talk:
            address = await address_of(talk, master)
            primary = await primary_of(talk, master)
            rows = _answer(await talk.ask("SENTINEL", "REPLICAS", master, most=MAX_REPLICAS))
            replicas = tuple(read_known(row) for row in (rows if isinstance(rows, list) else [rows]))
            quorum = await talk.ask("SENTINEL", "CKQUORUM", master)
            may = await allowed(talk, ("SENTINEL", "FAILOVER", master)) if audit else None
    except FAILURES as error:
        return View(place, problem=why(error), rejected=isinstance(error, RejectedError))
    is_fine = isinstance(quorum, str) and quorum.startswith("OK")
    return View(place, primary, address, replicas, "" if is_fine else shown(quorum), allowed=may)


# --- all of them, and the nodes ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Choice:
    """Whether Sentinel would choose the target.

    problem: why it cannot.  before: replicas that it would choose rather.  beside: such that it may choose as well.
    later: likewise, if they were reachable.
    """

    problem: str = ""
    before: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    later: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Survey:
    """What sentinels and nodes say.

    present: whom all sentinels that answer name, if most of them answer; None otherwise.
    """

    views: Sequence[View]
    directory: Directory
    group: Group
    present: str | None = field(init=False)

    def __post_init__(self) -> None:
        named = {self.directory.name(*view.address) for view in self.answering}
        enough = 2 * len(self.answering) > len(self.views)
        object.__setattr__(self, "present", named.pop() if enough and len(named) == 1 else None)

    @property
    def answering(self) -> list[View]:
        """The sentinels that say something."""
        return [view for view in self.views if view.primary is not None]

    @property
    def ready(self) -> list[View]:
        """Those that have the others to fail over with."""
        return [view for view in self.answering if not view.quorum]

    @property
    def told(self) -> str:
        """Which sentinel says what."""
        return "; ".join(
            f"{view.place.name}: {view.problem}"
            if view.primary is None
            else f"{view.place.name} names {self.directory.name(*view.address)}"
            for view in self.views
        )

    @property
    def in_progress(self) -> list[str]:
        """Sentinels that are failing over at this moment."""
        return [view.place.name for view in self.answering if view.primary and IN_PROGRESS in view.primary.flags]

    @property
    def serving(self) -> tuple[str, ...] | None:
        """All nodes that say they are a primary; None where one that says nothing may be one, too.

        A node that is silent to us and to most sentinels is out, as far as anybody can see.
        """
        unclear = [name for name in self.group.hidden if not self.is_missed(name)]
        return None if unclear else self.group.primaries

    def is_missed(self, name: str) -> bool:
        """Whether most sentinels that answer get no answer from that node themselves, and we do not either."""
        seen = self.group.seen.get(name)
        missing = [view for view in self.answering if any(each.is_missed for each in self._named(view.known, name))]
        return (seen is None or seen.silent) and 2 * len(missing) > len(self.answering)

    def _named(self, known: Iterable[Known], name: str) -> list[Known]:
        return [each for each in known if self.directory.name(*each.address) == name]

    def choice(self, target: str) -> Choice:
        """Whether each sentinel that answers would choose the target (sentinel.c, sentinelSelectSlave)."""
        before: set[str] = set()
        beside: set[str] = set()
        later: set[str] = set()
        for view in self.answering:
            found = self._named(view.replicas, target)
            if not found:
                names = [self.directory.name(*each.address) for each in view.replicas]
                knows = ", ".join(names) or "none"
                return Choice(f"{view.place.name} does not know {target} as a replica (it knows: {knows})")
            own = found[0]
            if own.is_missed:
                return Choice(f"{view.place.name} gets no answer from {target}")
            if own.priority == 0:
                return Choice(f"{target} has replica-priority 0, so that no sentinel ever chooses it")
            for other in view.replicas:
                name = self.directory.name(*other.address)
                if name in {target, self.present} or other.priority == 0 or other.priority > own.priority:
                    continue
                (later if other.is_missed else before if other.priority < own.priority else beside).add(name)
        return Choice("", tuple(sorted(before)), tuple(sorted(beside)), tuple(sorted(later)))

    @property
    def doubting(self) -> list[str]:
        """Sentinels that miss the primary, and may begin to replace it at any moment."""
        return [view.place.name for view in self.answering if view.primary and view.primary.is_missed]

    @property
    def replaced_in(self) -> float:
        """Seconds until the first sentinel may begin to replace the primary by itself."""
        return min((view.primary.replaced_in for view in self.answering if view.primary), default=math.inf)

    @property
    def failover_timeout(self) -> float:
        """The longest one that a sentinel has, in seconds."""
        return max(self._settings("failover-timeout"), default=0) / 1000

    @property
    def longest_pause(self) -> float:
        """Seconds for which writes may be held without a sentinel taking the primary for dead: half of `down-after`.

        While a primary holds writes it holds the sentinels' own PUBLISH, and behind that their PING is not answered.
        """
        return min(self._settings("down-after-milliseconds"), default=0) / 2000

    def _settings(self, key: str) -> list[int]:
        return [view.primary.number(key) for view in self.answering if view.primary]


async def survey(asking: Asking, sentinels: Iterable[str], nodes: Sequence[str], *, audit: bool = False) -> Survey:
    """Ask all sentinels, then all nodes: those that are named, or else those that the sentinels know."""
    views = await asyncio.gather(*(ask_sentinel(asking, parse_place(name), audit=audit) for name in sentinels))
    known = dict.fromkeys(address for view in views if view.primary for address in _addresses(view))
    found = [parse_place(name) for name in nodes] or [Place(place_name(*each), *each) for each in known]
    seen = await look(found[:MAX_NODES], asking.node_way, asking.resolver, asking.within)
    directory = Directory(found, asking.resolver, asking.within)
    await directory.learn({*known, *addresses_in(seen)})
    return Survey(views, directory, judge(seen, directory))


def _addresses(view: View) -> list[tuple[str, int]]:
    return [view.address, *(each.address for each in view.known)]
