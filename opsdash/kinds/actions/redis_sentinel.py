"""Sentinel moves the role of the primary; one that still answers hands it over first, so that no write is lost.

    read:   {kind: redis_sentinel, sentinels: ["s1:26379", "s2:26379", "s3:26379"], master: orders}
    action:
      kind: redis_sentinel
      sentinels: ["s1:26379", "s2:26379", "s3:26379"]
      master: orders
      target: "{to.as}"
      auth: {user: opsdash, password: "${REDIS}"}
      sentinel_auth: {user: opsdash, password: "${SENTINEL}"}

`SENTINEL FAILOVER` by itself leaves two primaries that both accept writes. Measured with Redis 7.0: the new one is
announced after 1.1 s, the old one told after 11 s (whatever `failover-timeout` is: 10, 60 and 180 s were tried), and of
1,094 writes acknowledged after the command 1,077 were gone. Until then `read` has both as `serving`, and a switch is
split.

Therefore `coordinated`: a primary that answers is sent `FAILOVER TO target`, then one sentinel `SENTINEL FAILOVER`, by
which all take notice. Measured: no write lost, never two primaries, all sentinels agree after 2.0 s. (Without the
second step they name the old one for 28 s longer than their `down-after-milliseconds`, then fail over themselves, with
equal priorities to another replica.)
While writes are held, so is what the sentinels publish, and a pause longer than their `down-after-milliseconds` made
them replace the primary meanwhile: it is kept to half of that. A primary that does not answer, and that most sentinels
miss as well, is replaced by `SENTINEL FAILOVER` alone, unless they are about to do that by themselves: then nothing is
sent, because two failovers at once chose two different winners.

Sentinel takes no target. It chooses the replica with the smallest `replica-priority`, among equals the one with the
most data. Give the nodes 10, 20, 30 in the order of the providers, in their files and by CONFIG SET. Where another one
could be chosen, `coordinated` refuses to begin, and the preflight says so; whom they chose is looked at and told.

Whom the sentinels name is compared just before, but there is no compare-and-swap: the command takes no expectation. It
is sent to one sentinel, once; sent again, or to another one, it is a second failover.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Final

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
    PlaceNames,
    allowed,
    at,
    failover_words,
    hand_over,
    lacking,
    patience,
    redis_cli,
    says_no,
    too_late,
    unfit,
    why,
)
from opsdash.kinds.redis_sentinels import IN_PROGRESS, Asking, Choice, Survey, address_of, primary_of, survey
from opsdash.kinds.resp import Credentials, PlaceName, ServerOptions, conversation, parse_place, shown
from opsdash.kinds.shellwords import shell_word
from opsdash.model.operation import Abilities
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from opsdash.kinds.resp import Place, Way

FAILOVER_TIMEOUT: Final = 180.0
MARGIN: Final = 5.0
MAX_PAUSE: Final = 5.0
MANUAL_PAUSE: Final = 2
ANNOUNCED_WITHIN: Final = 10.0
HANDS_OFF: Final = 5.0
"""Seconds in which a failover that one sentinel was told to make gets known to the others. If they began with one of
their own meanwhile, there would be two, with different winners: seen with Redis 7.0."""
SHORT_PAUSE: Final = 1.5
"""Seconds that a hand-over under writes needs: a replica says once a second how far it is."""
_LOOK_EVERY: Final = 0.1
_STEPS: Final = 5
_REVERTS: Final = "the sentinels move the role again when they find the new primary down"
_SAYS_NO: Final = ("No such master with that name", "unknown command", "unknown subcommand", "Unknown sentinel")


class ReadOptions(ServerOptions):
    sentinels: Annotated[PlaceNames, Field(min_length=1)]
    """All sentinels, as `host:port`; more than half of them have to answer."""

    master: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=200)]
    """What the sentinels call the group: the name in their `sentinel monitor`."""

    nodes: PlaceNames = ()
    """All servers of the group, as `host:port`. Sentinels tell IP addresses; with this, a node has the name that it has
    here (and as `as`), and no server that does not stand here is talked to."""

    sentinel_auth: Credentials | None = None
    """How to log in to the sentinels; `auth` is for the nodes."""

    def ways(self, context: ActionContext) -> tuple[Way, Way]:
        """How to talk to the sentinels, and to the nodes."""
        way = self.way(context.workspace)
        return replace(way, login=self.sentinel_auth), way

    async def survey(self, context: ActionContext, within: float, *, audit: bool = False) -> Survey:
        """What sentinels and nodes say."""
        context.stage = "look"
        asking = Asking(self.master, *self.ways(context), context.resolver, within)
        return await survey(asking, self.sentinels, self.nodes, audit=audit)


class Options(ReadOptions):
    target: PlaceName
    """The node that is to be the primary: `{to.as}`."""

    coordinated: bool = True
    """Whether a primary that answers has to hand over before the sentinels are told. Without it, it goes on taking
    writes for about ten seconds after its successor does; they are lost."""

    max_lag: Size = 1024 * 1024
    """How many bytes the target may be behind."""

    max_pause: Annotated[Duration, Field(ge=0.1, le=60)] = MAX_PAUSE
    """How long writes may wait for the target to catch up (`coordinated`); then the primary gives up, and goes on.
    It is never more than half of the sentinels' `down-after-milliseconds`: they would take the primary for dead."""

    failover_timeout: Annotated[Duration, Field(ge=1)] = FAILOVER_TIMEOUT
    """The `failover-timeout` that the sentinels have: so long, and 5 s, the effect is awaited."""

    @model_validator(mode="after")
    def _target_is_a_node(self) -> Self:
        if self.nodes and self.target not in self.nodes:
            raise ValueError(f"the target {self.target} is none of the `nodes`; write both alike, and so `as`")
        return self


# --- applying ----------------------------------------------------------------------------------------------------


async def apply(options: Options, context: ActionContext) -> ActionResult:
    """Look, compare, hand over where that is possible, then tell one sentinel, once."""
    until = asyncio.get_running_loop().time() + context.deadline
    found = await options.survey(context, patience(context.deadline, _STEPS))
    result = _compared(options, context, found)
    if result is not None:
        return result
    coordinated = options.coordinated and found.group.is_primary(found.present)
    obstacle = _unready(found) or unfit_for(options, found, coordinated=coordinated)
    if obstacle:
        return ActionResult(Applied.REFUSED, _unchanged(obstacle))
    switch = _Switch(options, context, found, until)
    return await (switch.hand_over_and_tell() if coordinated else switch.fail_over())


def _unchanged(words: str) -> str:
    return f"{words}; nothing was changed"


def _compared(options: Options, context: ActionContext, found: Survey) -> ActionResult | None:
    """The result where nothing is to be done, None where the target may get the role."""
    present = found.present
    if present is None:
        nobody = not found.answering
        words = "no sentinel says who is the primary" if nobody else "not enough sentinels agree on a primary"
        return ActionResult(Applied.NOT_STARTED if nobody else Applied.REFUSED, _unchanged(f"{words} ({found.told})"))
    if context.expected is not None and present not in {context.expected, options.target}:
        words = f"the sentinels name {present}, where {context.expected} was expected"
        return ActionResult(Applied.REFUSED, _unchanged(words))
    if present != options.target:
        return None
    role = found.group.role(present)
    if role is not None and role.is_primary:
        return ActionResult(Applied.APPLIED, f"{present} is the primary already", prior=present)
    words = f"the sentinels name {present}, which is not a working primary ({found.group.told})"
    return ActionResult(Applied.REFUSED, _unchanged(words))


def _unready(found: Survey) -> str:
    """Why nothing must be begun at this moment; empty when the sentinels are ready."""
    if found.in_progress:
        return f"a failover is in progress (says {', '.join(found.in_progress)})"
    without = [f"{view.place.name}: {view.quorum}" for view in found.answering if view.quorum]
    return "" if 2 * len(found.ready) > len(found.views) else "; ".join(without)


def unfit_for(options: Options, found: Survey, *, coordinated: bool) -> str:
    """Why the target cannot get the role in this way; empty when it can."""
    choice = found.choice(options.target)
    if choice.problem:
        return choice.problem
    if choice.before:
        return f"the sentinels would choose {', '.join(choice.before)}. {_prefer(options.target)}"
    if coordinated:
        return _unfit_to_receive(options, found, choice)
    obstacle = _not_to_be_replaced(options, found)
    if obstacle or found.group.role(options.target) is None:
        return obstacle or f"{options.target} cannot take over: {found.group.problem(options.target)}"
    return too_late(options.target, found.group.lag(options.target), options.max_lag)


def _prefer(target: str) -> str:
    return f"Give {target} the smallest replica-priority of all replicas, in its file and by CONFIG SET"


def _unfit_to_receive(options: Options, found: Survey, choice: Choice) -> str:
    """Why the primary, which answers, must not hand over to the target: the sentinels have to follow it afterwards."""
    if found.group.present != found.present:
        return f"the sentinels name {found.present}, and the nodes do not agree with them ({found.group.told})"
    if found.doubting:
        return f"{', '.join(found.doubting)} gets no answer from {found.present}, and may replace it at any moment"
    rivals = choice.beside + choice.later
    if rivals:
        return f"the sentinels could choose {', '.join(rivals)} as well. {_prefer(options.target)}"
    return unfit(found.group, options.target, options.max_lag)


def _not_to_be_replaced(options: Options, found: Survey) -> str:
    """Why the present primary must not be replaced without handing over; empty where it may."""
    present = found.present or ""
    role = found.group.role(present)
    if role is not None and not role.is_primary:
        return f"the sentinels name {present}, which says that it is a replica ({found.group.told})"
    if role is None and found.replaced_in < HANDS_OFF:
        words = (
            f"{present} does not answer ({found.group.problem(present)}), and the sentinels replace it by themselves"
        )
        return f"{words} within {found.replaced_in:.0f} s or so: a command now would be a second failover"
    if not options.coordinated or found.is_missed(present):
        return ""
    silent = found.group.seen.get(present)
    doubt = "and the sentinels reach it" if silent is None or silent.silent else "which does not mean that it is dead"
    words = f"{present} cannot hand over ({found.group.problem(present)}), {doubt}"
    return f"{words}. If you know better: `coordinated: false`, or by hand SENTINEL FAILOVER {options.master}"


@dataclass(slots=True)
class _Switch:
    """One switch, whose present primary is known and is not the target."""

    options: Options
    context: ActionContext
    found: Survey
    until: float
    moved: str = ""
    ways: tuple[Way, Way] = field(init=False)
    sent: bool = False

    def __post_init__(self) -> None:
        self.ways = self.options.ways(self.context)

    @property
    def present(self) -> str:
        return self.found.present or ""

    async def hand_over_and_tell(self) -> ActionResult:
        """The primary hands over; then the sentinels are told, or follow by themselves after a while."""
        options = self.options
        pause, until = min(options.max_pause, self.found.longest_pause), self.until - RESERVE
        result = await hand_over(
            self.found.group, options.target, self.ways[1], self.context, max_pause=pause, until=until
        )
        if result.applied is not Applied.APPLIED:
            return result
        self.moved = result.detail
        return await self.fail_over()

    def _sending(self) -> None:
        self.sent = True
        if not self.moved:
            self.context.on_sent()

    def _refused(self, words: str) -> ActionResult:
        """Nothing was changed, or no more than what the primary has done itself."""
        if self.moved:
            told = f"{self.moved}, but the sentinels were not told ({words}) and follow by themselves"
            return ActionResult(Applied.APPLIED, f"{told} in half a minute or more", prior=self.present)
        return ActionResult(Applied.REFUSED, _unchanged(words))

    async def fail_over(self) -> ActionResult:
        """SENTINEL FAILOVER to one sentinel, once; then wait until all of them name somebody else."""
        place = self.found.ready[0].place
        try:
            async with (
                asyncio.timeout_at(self.until - RESERVE),
                conversation(place, self.ways[0], self.context) as talk,
            ):
                named = await self._name(await address_of(talk, self.options.master))
                if named != self.present:
                    return await self._announced() if self.moved else self._refused(f"{place.name} names {named} now")
                if IN_PROGRESS in (await primary_of(talk, self.options.master)).flags:
                    return self._refused("a failover is in progress")
                reply = await talk.ask("SENTINEL", "FAILOVER", self.options.master, sending=self._sending)
        except FAILURES as error:
            return self._broken(place, why(error))
        if says_no(reply, _SAYS_NO):
            return self._refused(f"{place.name} refuses: {shown(reply)}")
        if reply != "OK":
            return self._broken(place, f"it answers SENTINEL FAILOVER with {shown(reply)}")
        return await self._announced()

    def _broken(self, place: Place, words: str) -> ActionResult:
        if self.sent:
            told = f"{place.name}: {words}, after SENTINEL FAILOVER had been sent"
            return ActionResult(Applied.UNKNOWN, f"{self.moved}; {told}" if self.moved else told, prior=self.present)
        if self.moved:
            return self._refused(f"{place.name}: {words}")
        return ActionResult(Applied.NOT_STARTED, _unchanged(f"{place.name}: {words} ({self.context.stage})"))

    async def _name(self, address: tuple[str, int]) -> str:
        await self.found.directory.learn([address])
        return self.found.directory.name(*address)

    async def _announced(self) -> ActionResult:
        """Wait until all sentinels that answered before name one other than before, and say whom."""
        self.context.stage = "announce"
        loop = asyncio.get_running_loop()
        started = loop.time()
        end = min(started + ANNOUNCED_WITHIN, self.until - RESERVE)
        named: dict[str, str] = {}
        try:
            async with asyncio.timeout_at(end):
                while len(set(named.values())) != 1 or self.present in named.values():
                    await asyncio.sleep(_LOOK_EVERY)
                    named = await self._whom_all_name()
        except TimeoutError:
            says = "; ".join(f"{sentinel} names {name}" for sentinel, name in named.items()) or "none of them answers"
            return self._result(f"the sentinels do not agree yet on another primary: {says}")
        (chosen,) = set(named.values())
        words = f"all sentinels name {chosen} ({format_duration(loop.time() - started)})"
        if chosen != self.options.target:
            return self._result(f"the sentinels chose {chosen} instead of {self.options.target}; {words}")
        if not self.moved and self.found.group.is_primary(self.present):
            words += f"; {self.present} goes on taking writes until they demote it, about 10 s, and these are lost"
        return self._result(words)

    def _result(self, words: str) -> ActionResult:
        return ActionResult(Applied.APPLIED, f"{self.moved}; {words}" if self.moved else words, prior=self.present)

    async def _whom_all_name(self) -> dict[str, str]:
        places = [view.place for view in self.found.answering]
        return dict(zip([place.name for place in places], await asyncio.gather(*map(self._whom, places)), strict=True))

    async def _whom(self, place: Place) -> str:
        """Whom a sentinel names; the one before, where it does not answer."""
        try:
            async with (
                asyncio.timeout(patience(self.context.deadline, _STEPS)),
                conversation(place, self.ways[0], Aside(self.context.resolver)) as talk,
            ):
                return await self._name(await address_of(talk, self.options.master))
        except FAILURES:
            return self.present


# --- reading -----------------------------------------------------------------------------------------------------


async def read(options: ReadOptions, context: ActionContext) -> Reading:
    """Whom all sentinels that answer name; whoever says that it is a primary serves."""
    found = await options.survey(context, patience(context.deadline, 3))
    serving = found.serving
    plain = found.present is not None and len(found.answering) == len(found.views) and serving == (found.present,)
    told = "; ".join(part for part in (found.told, found.group.told) if part)
    return Reading(value=found.present, detail="" if plain else told, serving=serving)


async def preflight(options: Options, context: ActionContext) -> Preflight:
    """Whether the target could get the role now, and whether we may give it; nothing is changed."""
    within = patience(context.deadline, 4)
    found = await options.survey(context, within, audit=True)
    rejected = [f"{view.place.name}: {view.problem}" for view in found.views if view.rejected]
    rejected += [f"{name}: {each.problem}" for name, each in found.group.seen.items() if each.rejected]
    if rejected:
        return Preflight(passed=False, detail="; ".join(rejected), credentials=False)
    permissions = {view.place.name: view.allowed for view in found.answering if view.allowed is not None}
    if options.coordinated:
        permissions |= await _node_permissions(options, context, found, within)
    lacks = lacking(permissions)
    if lacks:
        return Preflight(passed=False, detail=lacks, credentials=False)
    passed, words = _fitness(options, found)
    told = bool(found.answering) and all(each.answer for each in permissions.values())
    remarks = [] if found.present is None else _remarks(found, told=told)
    detail = "; ".join((*words, *remarks))
    return Preflight(passed=passed, detail=detail, credentials=True if told else None)


async def _node_permissions(
    options: Options, context: ActionContext, found: Survey, within: float
) -> dict[str, Allowed]:
    """Whether we may have each node hand over."""
    place = parse_place(options.target)
    way = options.way(context.workspace)

    async def ask(name: str) -> Allowed:
        node = found.group.seen[name].place
        try:
            async with asyncio.timeout(within), conversation(node, way, Aside(context.resolver)) as talk:
                return await allowed(talk, ("FAILOVER", "TO", place.host, str(place.port)))
        except FAILURES:
            return UNTOLD

    names = [name for name, each in found.group.seen.items() if each.role is not None]
    return dict(zip(names, await asyncio.gather(*map(ask, names)), strict=True))


def _fitness(options: Options, found: Survey) -> tuple[bool | None, list[str]]:
    """Whether it could be done now; None: it could, and something about it has to be known before."""
    if found.present is None:
        return False, [f"not enough sentinels agree on a primary: {found.told}"]
    obstacle = _unready(found)
    if obstacle:
        return False, [obstacle]
    alive = found.group.is_primary(found.present)
    if found.present == options.target:
        return (True, [f"{options.target} is the primary"]) if alive else (False, [found.group.told])
    coordinated = options.coordinated and alive
    obstacle = unfit_for(options, found, coordinated=coordinated)
    if obstacle:
        return False, [obstacle]
    behind = f"{options.target} is {found.group.lag(options.target) or 0} bytes behind {found.present}"
    warnings = []
    choice = found.choice(options.target)
    if choice.beside:
        words = f"the sentinels could choose {', '.join(choice.beside)} as well"
        warnings.append(f"{words}. {_prefer(options.target)}")
    if not coordinated:
        state = "goes on taking writes for about 10 s, which are lost" if alive else "answers neither us nor them"
        warnings.append(f"{found.present} {state}")
    if coordinated and found.longest_pause < SHORT_PAUSE:
        words = f"so short is `down-after-milliseconds` that writes may be held for {found.longest_pause:g} s only"
        warnings.append(f"{words}; under writes {found.present} may give up, and nothing is changed then")
    if found.failover_timeout > options.failover_timeout:
        actual = format_duration(found.failover_timeout)
        warnings.append(f"the sentinels' failover-timeout is {actual}: write `failover_timeout: {actual}`")
    return (None if warnings else True), [behind, *warnings]


def _remarks(found: Survey, *, told: bool) -> list[str]:
    remarks = [f"{view.place.name}: {view.problem}" for view in found.views if view.primary is None]
    return remarks if told else [*remarks, UNTOLD_WORDS]


# --- for people --------------------------------------------------------------------------------------------------


def manual(raw: Mapping[str, Any]) -> str:
    """Have the primary hand over, which it does if it is alive; then tell one sentinel."""
    sentinel = f"{redis_cli(raw, login='sentinel_auth')} {at(str(raw['sentinels'][0]))} SENTINEL"
    master = shell_word(str(raw["master"]))
    tell = f"{sentinel} FAILOVER {master}"
    if raw.get("coordinated") is False:
        return tell
    find = f"set -- $({sentinel} GET-MASTER-ADDR-BY-NAME {master})"
    hand_over = f"{redis_cli(raw)} -h $1 -p $2 {failover_words(raw, MANUAL_PAUSE)}"
    return f"{find}; {hand_over}; sleep {MANUAL_PAUSE + 1}; {tell}"


def refine(options: Options) -> Abilities:
    return Abilities(read_back=True, self_reverts=_REVERTS, settle=options.failover_timeout + MARGIN)


KIND = ActionKind(
    name="redis_sentinel",
    summary="the role of a Redis primary, moved by its sentinels, without two primaries where that can be",
    options=Options,
    identity=("sentinels", "master"),
    abilities=Abilities(read_back=True, self_reverts=_REVERTS, settle=FAILOVER_TIMEOUT + MARGIN),
    apply=apply,
    preflight=preflight,
    manual=manual,
    read_options=ReadOptions,
    read=read,
    refine=refine,
)
