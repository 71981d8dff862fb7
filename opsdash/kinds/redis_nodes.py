"""A group of Redis servers: who says that it is the primary, who follows whom, and the coordinated hand-over.

What `redis_failover` and `redis_sentinel` share. A group is looked at by asking each of its nodes for its ROLE, all at
once, each for a limited time: a node that hangs hides itself and no other. From the answers follows, by `judge`, which
node the group calls its primary, and which nodes accept writes at this moment. The two differ while a switch is under
way, and that difference is what has to be seen.

`hand_over` is the FAILOVER command (Redis 6.2 and later): the primary stops taking writes, waits until the target has
them all, gives it the role and follows it. Its OK means "begun", so both sides are asked until they say it is over.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import re
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AfterValidator, Field

from opsdash.kinds.base import ActionResult, Applied
from opsdash.kinds.failures import FAILURES, ProtocolError, RejectedError, explain
from opsdash.kinds.resp import ErrorReply, Place, PlaceName, conversation, parse_place, place_name, shown
from opsdash.kinds.shellwords import shell_command, shell_word
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opsdash.kinds.base import ActionContext
    from opsdash.kinds.resolver import Resolver
    from opsdash.kinds.resp import Conversation, Reply, Way

MAX_NODES: Final = 32
MAX_LOOKUPS: Final = 2 * MAX_NODES
"""Names that are looked up at a time: whoever answers could tell thousands."""
RESERVE: Final = 0.5
"""Seconds of a deadline that are kept for saying what was found."""
AFTERWARDS: Final = 1.0
"""Seconds of a deadline that are kept for what follows a hand-over."""
LONGEST_LOOK: Final = 2.0
PATIENCE: Final = 3.0
"""Seconds after the longest pause within which a hand-over has ended, or nobody knows what has become of it."""
_LOOK_EVERY: Final = 0.02
_LOOK_LATER: Final = 0.2
_SHORTEST_PAUSE: Final = 0.1


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    passed: set[tuple[str, int]] = set()
    for name in names:
        place = parse_place(name)
        key = (place.host.lower(), place.port)
        if key in passed:
            raise ValueError(f"{name} stands there twice")
        passed.add(key)
    return names


PlaceNames = Annotated[tuple[PlaceName, ...], Field(max_length=MAX_NODES), AfterValidator(_each_once)]
"""An option that lists servers: `[redis-a:6379, redis-b:6379]`."""


def why(error: BaseException) -> str:
    """What an exception means, in a few words; one of ours that ran out of time as well."""
    return "no answer in time" if isinstance(error, TimeoutError) else explain(error)[2]


# --- one node ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Follower:
    """A replica as its primary knows it; `offset` is what it has acknowledged, once a second."""

    host: str
    port: int
    offset: int


@dataclass(frozen=True, slots=True)
class Role:
    """What ROLE says. offset: how far its data goes; -1 where that is not told. leader, link: of a replica."""

    is_primary: bool
    offset: int
    followers: tuple[Follower, ...] = ()
    leader: tuple[str, int] | None = None
    link: str = ""


def read_role(reply: Reply) -> Role:
    """The reply to ROLE. Raises ProtocolError for what is none of a primary or a replica."""
    match reply:
        case ["master", int(offset), list(rows)]:
            return Role(is_primary=True, offset=offset, followers=tuple(map(_follower, rows)))
        case ["slave", str(host), int(port), str(link), int(offset)]:
            return Role(is_primary=False, offset=offset, leader=(host, port), link=link)
        case ["sentinel", *_]:
            raise ProtocolError("is a sentinel")
        case _:
            raise ProtocolError(f"answers ROLE with {shown(reply)}")


def _follower(row: Reply) -> Follower:
    match row:
        case [str(host), str(port), str(offset)] if port.isdecimal() and offset.removeprefix("-").isdecimal():
            return Follower(host, int(port), int(offset))
        case _:
            raise ProtocolError(f"answers ROLE with a replica {shown(row)}")


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of asking one node. role: None where it did not say; `problem` then says why.

    silent: nothing came back, so it may be dead.  out: nobody listens there, so it serves nobody.
    rejected: it did not let us in.
    """

    place: Place
    role: Role | None = None
    problem: str = ""
    silent: bool = False
    out: bool = False
    rejected: bool = False


_UNREACHED: Final = frozenset({errno.EHOSTUNREACH, errno.EHOSTDOWN})
_OFFSET: Final = re.compile(r"[0-9]{1,18}")
REJECTIONS: Final = frozenset({"NOAUTH", "NOPERM", "WRONGPASS"})


class Aside:
    """Who asks when several are asked at once: its stage is nobody's business."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.stage = ""


async def look_at(place: Place, way: Way, resolver: Resolver, within: float) -> Seen:
    """Ask one node for its role; whatever goes wrong is part of the answer."""
    aside = Aside(resolver)
    try:
        async with asyncio.timeout(within), conversation(place, way, aside) as talk:
            reply = await talk.ask("ROLE")
            if isinstance(reply, ErrorReply):
                return Seen(place, problem=shown(reply), rejected=reply.code in REJECTIONS)
            role = read_role(reply)
            if role.offset < 0:  # ROLE forgets it with the link; INFO does not
                offset = info_line(await talk.ask("INFO", "replication"), "slave_repl_offset") or ""
                role = replace(role, offset=int(offset) if _OFFSET.fullmatch(offset) else -1)
            return Seen(place, role)
    except TimeoutError:
        return Seen(place, problem=f"no answer within {format_duration(within)} ({aside.stage})", silent=True)
    except RejectedError as error:
        return Seen(place, problem=str(error), rejected=True)
    except FAILURES as error:
        out = isinstance(error, ConnectionRefusedError)
        return Seen(place, problem=explain(error)[2], silent=_is_silence(error), out=out)


def _is_silence(error: BaseException) -> bool:
    """Whether an error is the other side's silence. A name that is not found, a certificate that is not accepted and a
    network of ours that is gone are not.
    """
    return isinstance(error, ConnectionError) or getattr(error, "errno", None) in _UNREACHED


async def look(places: Iterable[Place], way: Way, resolver: Resolver, within: float) -> dict[str, Seen]:
    """Ask all of them at once, by name."""
    seen = await asyncio.gather(*(look_at(place, way, resolver, within) for place in places))
    return {each.place.name: each for each in seen}


# --- names -------------------------------------------------------------------------------------------------------


class Directory:
    """Whose address is that? Servers tell each other's addresses, while people write names of hosts.

    An address is a node's when it is written like it, or when both lead to one IP address and the ports agree.
    """

    def __init__(self, places: Iterable[Place], resolver: Resolver, within: float) -> None:
        self._places = tuple(places)
        self._resolver = resolver
        self._within = within
        self._known: dict[str, frozenset[str]] = {}

    async def learn(self, addresses: Iterable[tuple[str, int]]) -> None:
        """Look up what has to be known to name these."""
        told = dict.fromkeys(host for host, port in addresses if self._written(host, port) is None)
        hosts = [*(place.host for place in self._places), *told] if told else []
        new = [host for host in dict.fromkeys(hosts) if host not in self._known]
        await asyncio.gather(*(self._learn(host) for host in new[:MAX_LOOKUPS]))

    async def _learn(self, host: str) -> None:
        try:
            async with asyncio.timeout(self._within):
                found = await self._resolver.resolve(host, 0)
        except OSError:  # no such name, or no answer: then only the same spelling is the same
            found = []
        self._known[host] = frozenset(place[0] for _, place in found)

    def name(self, host: str, port: int) -> str:
        """The node's name as its author wrote it; the address itself where nobody has named it."""
        written = self._written(host, port)
        if written is not None:
            return written
        addresses = self._known.get(host, frozenset())
        for place in self._places:
            if place.port == port and addresses & self._known.get(place.host, frozenset()):
                return place.name
        return place_name(host, port)

    def _written(self, host: str, port: int) -> str | None:
        for place in self._places:
            if place.port == port and place.host.lower() == host.lower():
                return place.name
        return None


def addresses_in(seen: Mapping[str, Seen]) -> set[tuple[str, int]]:
    """All addresses that the nodes have told."""
    roles = [each.role for each in seen.values() if each.role is not None]
    leaders = {role.leader for role in roles if role.leader is not None}
    return leaders | {(follower.host, follower.port) for role in roles for follower in role.followers}


# --- the group ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Group:
    """What the answers of all nodes add up to.

    present: the primary that all who answer agree on, be it dead or alive; None where they do not.
    hidden: nodes that may accept writes, for all that is known: they do not say, and no primary has them as a replica.
    told: who says what.
    leaders: whom each replica follows.  followers: of each primary, its connected replicas by name.
    """

    seen: Mapping[str, Seen]
    present: str | None
    hidden: tuple[str, ...]
    told: str
    leaders: Mapping[str, str] = field(default_factory=dict)
    followers: Mapping[str, Mapping[str, Follower]] = field(default_factory=dict)

    def role(self, name: str | None) -> Role | None:
        """What that node said."""
        seen = self.seen.get(name or "")
        return None if seen is None else seen.role

    def problem(self, name: str) -> str:
        """Why there is no role of that node."""
        seen = self.seen.get(name)
        return "it is not among the nodes" if seen is None else seen.problem

    @property
    def serving(self) -> tuple[str, ...] | None:
        """All nodes that say they are a primary; None where one that says nothing may be one, too."""
        return None if self.hidden else self.primaries

    def is_primary(self, name: str | None) -> bool:
        """Whether that node answers, and says that it is a primary."""
        role = self.role(name)
        return role is not None and role.is_primary

    @property
    def primaries(self) -> tuple[str, ...]:
        """All that say they are one."""
        return tuple(name for name, each in self.seen.items() if each.role is not None and each.role.is_primary)

    def lag(self, target: str) -> int | None:
        """Bytes that the target is behind: its living primary, or else the one among the replicas that has most; None
        where that is not told.
        """
        role = self.role(self.present)
        if role is not None and self.present is not None:
            follower = self.followers.get(self.present, {}).get(target)
            return None if follower is None else max(0, role.offset - follower.offset)
        own = self.role(target)
        offsets = [each.role.offset for each in self.seen.values() if each.role is not None]
        return None if own is None or own.offset < 0 else max(offsets) - own.offset


def judge(seen: Mapping[str, Seen], directory: Directory) -> Group:
    """Add up what all nodes have said."""
    roles = {name: each.role for name, each in seen.items() if each.role is not None}
    leaders = {name: directory.name(*role.leader) for name, role in roles.items() if role.leader is not None}
    followers = {
        name: {directory.name(each.host, each.port): each for each in role.followers}
        for name, role in roles.items()
        if role.is_primary
    }
    roots = {_root(name, leaders) for name in roles}
    agreed = roots.pop() if len(roots) == 1 else None
    return Group(
        seen=seen,
        present=agreed,
        hidden=_hidden(seen, followers),
        told=_told(seen, leaders),
        leaders=leaders,
        followers=followers,
    )


def _root(name: str, leaders: Mapping[str, str]) -> str | None:
    """The end of the chain; None where it has none. A replica may follow a replica."""
    passed = set()
    while name in leaders:
        if name in passed:
            return None
        passed.add(name)
        name = leaders[name]
    return name


def _hidden(seen: Mapping[str, Seen], followers: Mapping[str, Mapping[str, Follower]]) -> tuple[str, ...]:
    replicas = {name for each in followers.values() for name in each}
    return tuple(name for name, each in seen.items() if each.role is None and not each.out and name not in replicas)


def _told(seen: Mapping[str, Seen], leaders: Mapping[str, str]) -> str:
    parts = []
    for name, each in seen.items():
        if each.role is None:
            parts.append(f"{name}: {each.problem}")
        elif each.role.is_primary:
            parts.append(f"{name} says it is the primary")
        else:
            link = "" if each.role.link == "connected" else f" (link: {each.role.link})"
            parts.append(f"{name} follows {leaders[name]}{link}")
    return "; ".join(parts)


async def look_at_group(names: Iterable[str], way: Way, resolver: Resolver, within: float) -> Group:
    """Ask all nodes, and add up what they say."""
    places = [parse_place(name) for name in names]
    seen = await look(places, way, resolver, within)
    directory = Directory(places, resolver, within)
    await directory.learn(addresses_in(seen))
    return judge(seen, directory)


def patience(deadline: float, steps: int) -> float:
    """Seconds that one of so many steps in a row may take; nothing that hangs is waited for longer than it is worth."""
    return min(LONGEST_LOOK, max(deadline - RESERVE, deadline / 2) / steps)


# --- whether the target can take over ----------------------------------------------------------------------------


def unfit(group: Group, target: str, max_lag: int) -> str:
    """Why the target cannot take over from the present primary, which answers; empty when it can."""
    present = group.present or ""
    role = group.role(target)
    if role is None:
        return f"{target} cannot take over: {group.problem(target)}"
    if role.is_primary or group.leaders.get(target) != present:
        whom = "is a primary itself" if role.is_primary else f"follows {group.leaders.get(target)}"
        return f"{target} cannot take over: it {whom}, and {present} is the primary"
    if role.link != "connected":
        return f"{target} cannot take over: its link to {present} is in state {role.link!r}"
    lag = group.lag(target)
    if lag is None:
        known = ", ".join(group.followers.get(present, {})) or "none"
        return f"{target} cannot take over: {present} does not know it as a connected replica (it has: {known})"
    return too_late(target, lag, max_lag)


def too_late(target: str, lag: int | None, max_lag: int) -> str:
    """Empty where the target lacks no more than it may."""
    if lag is None:
        return f"{target} does not tell how much of the data it has"
    return f"{target} is {lag} bytes behind, more than the {max_lag} of `max_lag`" if lag > max_lag else ""


# --- what a user may do ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Allowed:
    """Whether our user may give the commands: True, False with the rights that it lacks, or None: not to be told."""

    answer: bool | None
    user: str = ""
    lacks: tuple[str, ...] = ()


UNTOLD: Final = Allowed(None)
UNTOLD_WORDS: Final = "what we may do is not to be told without +acl|whoami +acl|dryrun (Redis 7)"
_LACKING: Final = re.compile(r"no permissions to run the '([a-z0-9|_-]{1,40})' command")


async def allowed(talk: Conversation, *commands: tuple[str, ...]) -> Allowed:
    """Ask the server what we may do, without doing it: ACL DRYRUN (Redis 7), where that itself is allowed."""
    user = await talk.ask("ACL", "WHOAMI")
    if not isinstance(user, str):
        return UNTOLD
    replies = [await talk.ask("ACL", "DRYRUN", user, *words) for words in commands]
    found = [_LACKING.search(reply) for reply in replies if isinstance(reply, str)]
    lacks = tuple(f"+{match[1]}" for match in found if match is not None)
    if lacks:
        return Allowed(False, user, lacks)
    return Allowed(True if all(reply == "OK" for reply in replies) else None, user)


def lacking(found: Mapping[str, Allowed]) -> str:
    """Which rights are lacking where; empty where none is. found: by server."""
    by_words: dict[str, list[str]] = {}
    for name, each in found.items():
        if each.answer is False:
            by_words.setdefault(f"{shown(each.user)} lacks {' '.join(each.lacks)}", []).append(name)
    return "; ".join(f"{words} on {', '.join(names)}" for words, names in by_words.items())


# --- the hand-over -----------------------------------------------------------------------------------------------

NO: Final = frozenset(
    (
        *("NOAUTH", "NOPERM", "WRONGPASS", "LOADING", "BUSY", "READONLY", "MASTERDOWN", "DENIED"),
        *("INPROG", "NOREPLICAS", "NOGOODSLAVE"),
    )
)
"""Codes with which a server says that it has not even begun with a command."""

_FAILOVER_SAYS_NO: Final = (
    "FAILOVER not allowed in cluster mode",
    "FAILOVER already in progress",
    "FAILOVER is not valid when server is a replica",
    "FAILOVER requires connected replicas",
    "FAILOVER target HOST and PORT is not a replica",
    "FAILOVER target replica is not online",
    "FAILOVER timeout must be greater than 0",
    "unknown command",
    "syntax error",
)


def says_no(reply: Reply, known: tuple[str, ...]) -> bool:
    """Whether an error reply is one that means: nothing was done."""
    if not isinstance(reply, ErrorReply):
        return False
    return reply.code in NO or (reply.code == "ERR" and reply.text[4:].startswith(known))


async def hand_over(
    group: Group, target: str, way: Way, context: ActionContext, *, max_pause: float, until: float
) -> ActionResult:
    """FAILOVER from the present primary, which answers, to the target; over when both sides say so.

    until: the loop's time at which the result has to be there. FAILOVER ABORT is never sent: it can undo what is
    about to be done, and only a person can know whether that is better.
    """
    present = group.present or ""
    known = group.followers[present][target]
    loop = asyncio.get_running_loop()
    pause = min(max_pause, until - loop.time() - AFTERWARDS)
    if pause < _SHORTEST_PAUSE:
        return ActionResult(Applied.NOT_STARTED, "there is not enough time left to hand over; nothing was changed")
    over = _HandOver(present, target, context, limit=pause)
    try:
        async with asyncio.timeout_at(min(until - RESERVE, loop.time() + pause + PATIENCE)), AsyncExitStack() as stack:
            old = await stack.enter_async_context(conversation(parse_place(present), way, context))
            new = await stack.enter_async_context(conversation(parse_place(target), way, Aside(context.resolver)))
            return await over.carry_out(old, new, known)
    except FAILURES as error:  # TimeoutError is one
        return over.broken(why(error))


class _HandOver:
    """One FAILOVER, from the moment before it is sent."""

    def __init__(self, present: str, target: str, context: ActionContext, *, limit: float) -> None:
        self._present = present
        self._target = target
        self._context = context
        self._limit = limit
        self._sent = False
        self._state = ""

    def _sending(self) -> None:
        self._sent = True
        self._context.on_sent()

    async def carry_out(self, old: Conversation, new: Conversation, known: Follower) -> ActionResult:
        milliseconds = max(1, round(self._limit * 1000))
        words = ("FAILOVER", "TO", known.host, known.port, "TIMEOUT", milliseconds)
        reply = await old.ask(*words, sending=self._sending)
        if says_no(reply, _FAILOVER_SAYS_NO):
            return ActionResult(Applied.REFUSED, f"{self._present} refuses: {shown(reply)}; nothing was changed")
        if reply != "OK":
            return ActionResult(Applied.UNKNOWN, f"{self._present} answers FAILOVER with {shown(reply)}")
        self._context.stage = "hand over"
        started = asyncio.get_running_loop().time()
        while True:
            result = await self._look(old, new, started)
            if result is not None:
                return result
            elapsed = asyncio.get_running_loop().time() - started
            await asyncio.sleep(_LOOK_EVERY if elapsed < 1 else _LOOK_LATER)

    async def _look(self, old: Conversation, new: Conversation, started: float) -> ActionResult | None:
        """What has become of it; None as long as it goes on."""
        if await self._is_still_primary(old):
            if self._state == "no-failover":
                words = f"{self._present} gave up by itself: {self._target} did not catch up within "
                words += f"{format_duration(self._limit)}; {self._present} is the primary as before"
                return ActionResult(Applied.REFUSED, words)
            return None
        after = read_role(await new.ask("ROLE"))
        self._state = f"{self._present} has given up the role, {self._target} has not taken it"
        if not after.is_primary:
            return None
        seconds = asyncio.get_running_loop().time() - started
        words = f"{self._target} is the primary, {self._present} follows it ({format_duration(seconds)})"
        return ActionResult(Applied.APPLIED, words, prior=self._present)

    async def _is_still_primary(self, old: Conversation) -> bool:
        """Role and state come from one reply: of two, one from before and one from after the end are the picture of a
        primary that has given up.
        """
        told = await old.ask("INFO", "replication")
        role = info_line(told, "role")
        self._state = failover_state(told) if role is not None else ""
        return role == "master" if role is not None else read_role(await old.ask("ROLE")).is_primary

    def broken(self, words: str) -> ActionResult:
        """What is known when the conversation does not go on."""
        if not self._sent:
            told = f"{self._present} or {self._target}: {words} ({self._context.stage}); FAILOVER was not sent"
            return ActionResult(Applied.NOT_STARTED, told)
        state = f"; last seen: {self._state}" if self._state else ""
        words = f"after FAILOVER had been sent to {self._present}: {words}{state}"
        return ActionResult(Applied.UNKNOWN, f"{words}. If it hangs, FAILOVER ABORT on {self._present} takes it back")


def failover_state(reply: Reply) -> str:
    """`no-failover`, `waiting-for-sync` or `failover-in-progress`, from INFO replication; else empty."""
    return info_line(reply, "master_failover_state") or ""


def info_line(reply: Reply, key: str) -> str | None:
    """A value of INFO; None where it is not there."""
    lines = reply.splitlines() if isinstance(reply, str) else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(f"{key}:")), None)


# --- for people --------------------------------------------------------------------------------------------------


def redis_cli(raw: Mapping[str, Any], *, login: str = "auth") -> str:
    """The command with which a person talks to a server, up to its address. login: the key that says who we are."""
    auth = raw.get(login) or {}
    words = ["redis-cli", *(["--user", str(auth["user"])] if auth.get("user") else [])]
    if raw.get("tls") is True:
        words.append("--tls")
        words += ["--insecure"] if raw.get("verify_tls") is False else []
        for key, option in (("ca", "--cacert"), ("client_cert", "--cert"), ("client_key", "--key")):
            words += [option, str(raw[key])] if raw.get(key) is not None else []
    # In the environment: arguments are seen by everybody on the machine.
    password = f"REDISCLI_AUTH={shell_word(str(auth['password']))} " if auth.get("password") is not None else ""
    return password + shell_command(words)


def at(name: str) -> str:
    """A server's address, for redis-cli."""
    place = parse_place(name)
    return shell_command(["-h", place.host, "-p", str(place.port)])


def failover_words(raw: Mapping[str, Any], max_pause: float) -> str:
    """The command that the primary is sent. It knows its replicas by their IP addresses."""
    target = parse_place(str(raw["target"]))
    return f"FAILOVER TO {_as_nodes_know_it(target.host)} {target.port} TIMEOUT {round(max_pause * 1000)}"


def _as_nodes_know_it(host: str) -> str:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return f'"$(getent ahostsv4 {shell_word(host)} | head -n 1 | cut -d " " -f 1)"'
    return shell_word(host)
