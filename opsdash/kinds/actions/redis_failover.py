"""Redis hands the role of the primary over to a replica without losing a write, in a group without Sentinel.

    read:   {kind: redis_failover, nodes: ["redis-a:6379", "redis-b:6379"], auth: {user: opsdash, password: "${REDIS}"}}
    action:
      kind: redis_failover
      nodes: ["redis-a:6379", "redis-b:6379"]
      target: "{to.as}"
      auth: {user: opsdash, password: "${REDIS}"}

All nodes are asked who is the primary, and the one that they agree on is sent `FAILOVER TO target` (Redis 6.2 and
later), once. It keeps writes waiting until the target has everything (milliseconds at rest, up to a second under
writes, never more than `max_pause`), then both change places. A node that is not the primary any more refuses. The
other replicas are then pointed to the new primary, and all nodes write down what they are now (`persist`).

A primary that does not answer cannot hand over. With `promote: if_primary_dead` the target is then promoted alone,
but only if its replicas have lost the old primary, too. Writes that were not replicated are lost, and nobody keeps the
old primary from coming back as one. Without that key the action is refused, and says what to do by hand.

`read` gives the node whom all that answer call their primary, dead or alive. A group that sentinels watch is refused:
half a minute or more later they would move the role again, not always to the same node (kind `redis_sentinel`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from opsdash.kinds.base import ActionContext, ActionKind, ActionResult, Applied, Preflight, Reading
from opsdash.kinds.failures import FAILURES
from opsdash.kinds.fields import Duration, Size
from opsdash.kinds.redis_nodes import (
    RESERVE,
    UNTOLD,
    UNTOLD_WORDS,
    Allowed,
    Aside,
    Group,
    PlaceNames,
    allowed,
    failover_state,
    failover_words,
    hand_over,
    info_line,
    lacking,
    look_at,
    look_at_group,
    patience,
    read_role,
    redis_cli,
    says_no,
    too_late,
    unfit,
    why,
)
from opsdash.kinds.resp import PlaceName, ServerOptions, conversation, parse_place, shown
from opsdash.kinds.shellwords import shell_command
from opsdash.model.operation import Abilities

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from opsdash.kinds.resp import Conversation, Way

HELLO: Final = "__sentinel__:hello"
"""The channel by which sentinels find each other; each of them listens to it on every node."""
MAX_PAUSE: Final = 5.0
_FOLLOWS: Final = frozenset({"OK", "OK Already connected to specified master"})
_UNLINKED: Final = frozenset({"connect", "connecting", "handshake"})
_STEPS: Final = 4
"""Looks in a row, of which each may have to wait for a node that hangs, before anything is sent."""


class ReadOptions(ServerOptions):
    nodes: Annotated[PlaceNames, Field(min_length=2)]
    """All servers of the group, as `host:port`; what a provider is called (`as`) is one of these."""


class Options(ReadOptions):
    target: PlaceName
    """The node that is to be the primary: `{to.as}`."""

    max_lag: Size = 1024 * 1024
    """How many bytes the target may be behind at the beginning."""

    max_pause: Annotated[Duration, Field(ge=0.1, le=60)] = MAX_PAUSE
    """How long writes may wait for the target to catch up; then the primary gives up by itself, and goes on."""

    promote: Literal["never", "if_primary_dead"] = "never"
    """What to do when the primary does not answer: nothing, or promote the target alone if the replicas have lost the
    old primary, too."""

    persist: bool = True
    """Whether the nodes write what they are now into their own files (CONFIG REWRITE). Without it, one that restarts
    takes up the role that its file gives it, which undoes the switch."""

    @model_validator(mode="after")
    def _target_is_a_node(self) -> Self:
        if self.target not in self.nodes:
            raise ValueError(f"the target {self.target} is none of the `nodes`; write both alike, and so `as`")
        return self


# --- applying ----------------------------------------------------------------------------------------------------


async def apply(options: Options, context: ActionContext) -> ActionResult:
    """Look, compare, then one FAILOVER, or one REPLICAOF NO ONE where that is allowed."""
    until = asyncio.get_running_loop().time() + context.deadline
    within = patience(context.deadline, _STEPS)
    context.stage = "look"
    way = options.way(context.workspace)
    group = await look_at_group(options.nodes, way, context.resolver, within)
    result = _compared(options, context, group)
    if result is not None:
        return result
    alive = group.is_primary(group.present)
    obstacle = await _watchers((group.present or "") if alive else options.target, way, context, within)
    if obstacle is not None:
        return obstacle
    return await _Switch(options, context, group, until).carry_out(alive=alive, within=within)


def _compared(options: Options, context: ActionContext, group: Group) -> ActionResult | None:
    """The result where nothing is to be done, None where the target may get the role."""
    present = group.present
    if present is None:
        nobody = all(each.role is None for each in group.seen.values())
        words = "no node says who is the primary" if nobody else "the nodes do not agree on a primary"
        return ActionResult(Applied.NOT_STARTED if nobody else Applied.REFUSED, _unchanged(f"{words} ({group.told})"))
    if present == options.target and group.is_primary(group.present):
        return ActionResult(Applied.APPLIED, f"{present} is the primary already", prior=present)
    if context.expected is not None and present != context.expected:
        words = f"the primary is {present}, where {context.expected} was expected"
        return ActionResult(Applied.REFUSED, _unchanged(words))
    if present == options.target:
        words = f"{present} is the primary for all others, and does not answer ({group.problem(present)})"
        return ActionResult(Applied.REFUSED, _unchanged(words))
    return None


def _unchanged(words: str) -> str:
    return f"{words}; nothing was changed"


async def _watchers(node: str, way: Way, context: ActionContext, within: float) -> ActionResult | None:
    """The result where sentinels watch the group; None where none do, or where we may not ask."""
    try:
        async with asyncio.timeout(within), conversation(parse_place(node), way, Aside(context.resolver)) as talk:
            number = await _sentinels(talk)
    except FAILURES as error:
        return ActionResult(Applied.NOT_STARTED, _unchanged(f"{node}: {why(error)}"))
    return ActionResult(Applied.REFUSED, _unchanged(_watched(number))) if number else None


async def _sentinels(talk: Conversation) -> int:
    """How many sentinels listen on a node."""
    match await talk.ask("PUBSUB", "NUMSUB", HELLO):
        case [_, int(number)]:
            return number
        case _:
            return 0


def _watched(number: int) -> str:
    who = "a sentinel watches" if number == 1 else f"{number} sentinels watch"
    return f"{who} this group and would move the role again: use kind redis_sentinel"


@dataclass(slots=True)
class _Switch:
    """One switch of a group whose present primary is known, and is not the target."""

    options: Options
    context: ActionContext
    group: Group
    until: float
    way: Way = field(init=False)
    sent: bool = False

    def __post_init__(self) -> None:
        self.way = self.options.way(self.context.workspace)

    @property
    def present(self) -> str:
        return self.group.present or ""

    async def carry_out(self, *, alive: bool, within: float) -> ActionResult:
        obstacle = unfit(self.group, self.options.target, self.options.max_lag) if alive else await self._alone(within)
        if obstacle:
            return ActionResult(Applied.REFUSED, _unchanged(obstacle))
        result = await (self._hand_over() if alive else self._promote())
        if result.applied is not Applied.APPLIED:
            return result
        return replace(result, detail="; ".join((result.detail, *await self._tidy_up(alive=alive))))

    async def _hand_over(self) -> ActionResult:
        pause = self.options.max_pause
        return await hand_over(
            self.group, self.options.target, self.way, self.context, max_pause=pause, until=self.until
        )

    async def _alone(self, within: float) -> str:
        """Why the target is not promoted alone; empty when the old primary is silent for a second time."""
        obstacle = not_dead(self.options, self.group)
        if obstacle:
            return obstacle
        again = await look_at(parse_place(self.present), self.way, self.context.resolver, within)
        return "" if again.silent else f"{self.present} answers again"

    def _sending(self) -> None:
        self.sent = True
        self.context.on_sent()

    async def _promote(self) -> ActionResult:
        place = parse_place(self.options.target)
        try:
            async with (
                asyncio.timeout_at(self.until - 2 * RESERVE),
                conversation(place, self.way, self.context) as talk,
            ):
                reply = await talk.ask("REPLICAOF", "NO", "ONE", sending=self._sending)
                if says_no(reply, ("unknown command", "REPLICAOF not allowed in cluster mode")):
                    return ActionResult(Applied.REFUSED, _unchanged(f"{place.name} refuses: {shown(reply)}"))
                if reply != "OK" or not read_role(await talk.ask("ROLE")).is_primary:
                    return ActionResult(Applied.UNKNOWN, f"{place.name} answers REPLICAOF NO ONE with {shown(reply)}")
        except FAILURES as error:
            if self.sent:
                return ActionResult(
                    Applied.UNKNOWN, f"{place.name}: {why(error)}, after REPLICAOF NO ONE had been sent"
                )
            words = f"{place.name}: {why(error)} ({self.context.stage})"
            return ActionResult(Applied.NOT_STARTED, _unchanged(words))
        words = f"{place.name} was promoted alone; {self.present} must become its replica before it serves again"
        return ActionResult(Applied.APPLIED, words, prior=self.present)

    async def _tidy_up(self, *, alive: bool) -> list[str]:
        """Point the other replicas to the new primary, have all nodes write down what they are; what did not work."""
        self.context.stage = "tidy up"
        leader = parse_place(self.options.target)
        where = (leader.host, leader.port)
        if alive:  # they know each other by addresses that we may not know
            known = self.group.followers[self.present][self.options.target]
            where = (known.host, known.port)
        names = [name for name, each in self.group.seen.items() if each.role is not None]
        others = set(names) - {self.present, self.options.target}
        told = await asyncio.gather(*(self._settle(name, where if name in others else None) for name in names))
        failed: dict[str, list[str]] = {}
        for name, words in zip(names, told, strict=True):
            failed.setdefault(words, []).append(name)
        return [f"{words} (on {', '.join(those)})" for words, those in failed.items() if words]

    async def _settle(self, name: str, leader: tuple[str, int] | None) -> str:
        """One node; what did not work."""
        try:
            async with (
                asyncio.timeout_at(self.until - RESERVE),
                conversation(parse_place(name), self.way, Aside(self.context.resolver)) as talk,
            ):
                reply = "OK" if leader is None else await talk.ask("REPLICAOF", *leader)
                if reply not in _FOLLOWS:
                    return f"not pointed to the new primary: {shown(reply)}"
                reply = await talk.ask("CONFIG", "REWRITE") if self.options.persist else "OK"
                return "" if reply == "OK" else f"a restart undoes it: {shown(reply)}"
        except FAILURES as error:
            return f"perhaps not pointed to the new primary, or not for good: {why(error)}"


def not_dead(options: Options, group: Group) -> str:
    """Why the target must not be promoted alone; empty when it may: two witnesses have lost the old primary."""
    present = group.present or ""
    seen = group.seen.get(present)
    if seen is None:
        return f"the replicas follow {present}, which is none of the `nodes`, so nobody can tell whether it is dead"
    if not seen.silent:
        return f"{present} cannot hand over ({seen.problem}), which does not mean that it is dead"
    if options.promote == "never":
        return f"{present} does not answer ({seen.problem}), so it cannot hand over. {_by_hand(options, present)}"
    if group.role(options.target) is None:
        return f"{options.target} cannot take over: {group.problem(options.target)}"
    witnesses = {name: group.role(name) for name, leader in group.leaders.items() if leader == present}
    linked = [name for name, role in witnesses.items() if role is not None and role.link not in _UNLINKED]
    if linked:
        words = f"{present} does not answer us ({seen.problem}), but {', '.join(linked)} still has a connection to it"
        return f"{words}: it is not dead. {_by_hand(options, present)}"
    if not witnesses:
        return f"{present} does not answer us, and none of its replicas does"
    return too_late(options.target, group.lag(options.target), options.max_lag)


def _by_hand(options: Options, present: str) -> str:
    place = parse_place(options.target)
    follow = f"REPLICAOF {place.host} {place.port}"
    return (
        f"If you know that it is dead, by hand: REPLICAOF NO ONE on {options.target}, {follow} on the others, and on "
        f"{present} before it serves again"
    )


# --- reading -----------------------------------------------------------------------------------------------------


async def read(options: ReadOptions, context: ActionContext) -> Reading:
    """Whom all that answer call their primary; whoever says that it is one serves."""
    context.stage = "look"
    way = options.way(context.workspace)
    group = await look_at_group(options.nodes, way, context.resolver, patience(context.deadline, 2))
    everybody = all(each.role is not None for each in group.seen.values())
    told = "" if group.present is not None and everybody else group.told
    return Reading(value=group.present, detail=told, serving=group.serving)


@dataclass(frozen=True, slots=True)
class _Audit:
    """What a node says about itself and us besides its role."""

    allowed: Allowed = UNTOLD
    sentinels: int = 0
    state: str = ""
    has_file: bool = True


async def preflight(options: Options, context: ActionContext) -> Preflight:
    """Whether the target could take over now, and whether we may make it; nothing is changed."""
    context.stage = "look"
    way = options.way(context.workspace)
    within = patience(context.deadline, 3)
    group = await look_at_group(options.nodes, way, context.resolver, within)
    rejected = [f"{name}: {each.problem}" for name, each in group.seen.items() if each.rejected]
    if rejected:
        return Preflight(passed=False, detail="; ".join(rejected), credentials=False)
    if group.present is None:
        return Preflight(passed=False, detail=f"nobody can tell who is the primary: {group.told}")
    names = [name for name, each in group.seen.items() if each.role is not None]
    audits = await asyncio.gather(*(_audit(options, way, context, name, within) for name in names))
    found = dict(zip(names, audits, strict=True))
    lacks = lacking({name: each.allowed for name, each in found.items()})
    if lacks:
        return Preflight(passed=False, detail=lacks, credentials=False)
    passed, detail = _fitness(options, group, found)
    told = all(each.allowed.answer for each in found.values())
    words = "; ".join((detail, *_remarks(options, group, found)))
    return Preflight(passed=passed, detail=words, credentials=True if told else None)


async def _audit(options: Options, way: Way, context: ActionContext, name: str, within: float) -> _Audit:
    place = parse_place(options.target)
    commands = [("FAILOVER", "TO", place.host, str(place.port)), ("REPLICAOF", "NO", "ONE")]
    commands += [("CONFIG", "REWRITE")] if options.persist else []
    try:
        async with asyncio.timeout(within), conversation(parse_place(name), way, Aside(context.resolver)) as talk:
            info = await talk.ask("INFO", "server")
            return _Audit(
                allowed=await allowed(talk, *commands),
                sentinels=await _sentinels(talk),
                state=failover_state(await talk.ask("INFO", "replication")),
                has_file=info_line(info, "config_file") != "",
            )
    except FAILURES:
        return _Audit()


def _fitness(options: Options, group: Group, found: Mapping[str, _Audit]) -> tuple[bool | None, str]:
    present, target = group.present or "", options.target
    sentinels = max((each.sentinels for each in found.values()), default=0)
    if sentinels:
        return False, _watched(sentinels)
    if not group.is_primary(group.present):
        obstacle = not_dead(options, group)
        words = f"{present} does not answer; {target} would be promoted alone, and what it has not got is lost"
        return (False, obstacle) if obstacle else (None, words)
    if present == target:
        return True, f"{target} is the primary"
    if len(group.primaries) > 1:
        return False, group.told
    state = found[present].state if present in found else ""
    if state not in {"", "no-failover"}:
        return False, f"{present} is handing over already ({state})"
    obstacle = unfit(group, target, options.max_lag)
    return (False, obstacle) if obstacle else (True, f"{target} follows {present}, {group.lag(target)} bytes behind")


def _remarks(options: Options, group: Group, found: Mapping[str, _Audit]) -> list[str]:
    silent = [f"{name}: {each.problem}" for name, each in group.seen.items() if each.role is None]
    without = [name for name, each in found.items() if not each.has_file]
    remarks = silent if group.is_primary(group.present) else []
    if options.persist and without:
        remarks.append(f"without a configuration file, so that a restart undoes it: {', '.join(without)}")
    if any(each.allowed.answer is None for each in found.values()):
        remarks.append(UNTOLD_WORDS)
    return remarks


# --- for people --------------------------------------------------------------------------------------------------


def manual(raw: Mapping[str, Any]) -> str:
    """Find the primary, tell it to hand over."""
    places = [parse_place(str(name)) for name in raw["nodes"]]
    nodes = shell_command(f"{place.host} {place.port}" for place in places)
    cli = f"{redis_cli(raw)} -h $1 -p $2"
    failover = f"{cli} {failover_words(raw, MAX_PAUSE)}"
    is_primary = f'[ "$({cli} ROLE | head -n 1)" = master ]'
    return f"for node in {nodes}; do set -- $node; if {is_primary}; then {failover}; break; fi; done"


def undo(raw: Mapping[str, Any], prior: str) -> Mapping[str, Any]:
    return {**raw, "target": prior}


def refine(options: Options) -> Abilities:
    return Abilities(
        cas=options.promote == "never",  # REPLICAOF NO ONE compares nothing
        idempotent=True,
        read_back=True,
        restores=True,
        self_reverts="" if options.persist else "a node that restarts takes up the role that its file gives it",
        settle=options.max_pause + 1,
    )


KIND = ActionKind(
    name="redis_failover",
    summary="the role of a Redis primary, handed over to a replica (FAILOVER)",
    options=Options,
    identity=("nodes",),
    abilities=Abilities(cas=True, idempotent=True, read_back=True, restores=True, settle=MAX_PAUSE + 1),
    apply=apply,
    preflight=preflight,
    manual=manual,
    read_options=ReadOptions,
    read=read,
    undo=undo,
    refine=refine,
)
