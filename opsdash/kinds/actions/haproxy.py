"""Move the traffic of a HAProxy backend to another of its servers, or change the entry of a map.

    read:   {kind: haproxy, socket: /run/haproxy/admin.sock, backend: shop}
    action: {kind: haproxy, socket: /run/haproxy/admin.sock, backend: shop, server: "{to.as}", out: "{from.as}"}

`server` is brought in first. Only when HAProxy itself says that it would send it traffic (ready, up, weight above 0)
`out` is taken out: by `maint`, by `drain` (its check goes on, and so do the sessions of its users), or by `weight` 0.
A `backup` server is left in reserve when a server that is none takes the traffic.

A server in maint is tried first. Nobody checks it there, and put to ready it gets traffic before anybody looks. So it
is put to drain, in which HAProxy checks it and sends it nothing, until a check has passed that was made since (the
result from before maint stays on show, and does not count). If none passes within `trial_for`, it goes back to maint
and the action is refused. A server without a check cannot be tried; then the plan says so.

An empty answer only means that a command was understood, so after each one its effect is read back. The value that
is read is who takes the traffic: one server, or several joined by `+`; where nobody does, who would if he were up.

With `map` it is the entry of a map that says where the traffic goes:

    read:   {kind: haproxy, socket: /run/haproxy/admin.sock, map: /etc/haproxy/live.map, key: shop}
    action: {kind: haproxy, socket: /run/haproxy/admin.sock, map: /etc/haproxy/live.map, key: shop, value: "{to.as}"}

A reload of HAProxy forgets all of this, unless it is told to keep the state of its servers, or its map's file is
changed as well. `read` then shows it.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema, field_validator, model_validator

from opsdash.kinds.base import ActionContext, ActionKind, ActionResult, Applied, Preflight, Reading, StrictOptions
from opsdash.kinds.failures import FAILURES, ProtocolError, RejectedError
from opsdash.kinds.fields import Duration
from opsdash.kinds.haproxy import NAME, NotDoneError, Place, ask, excerpt, look, parse_map, parse_place, why
from opsdash.kinds.shellwords import shell_command
from opsdash.model.operation import Abilities
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from opsdash.kinds.haproxy import Backend, Server

LARGEST_WEIGHT: Final = 256
TRIAL_SHARE: Final = 0.7
"""Share of the time left that a trial may take: what comes after it needs some, and so does taking it back."""
LOOK_EVERY: Final = 0.05
SESSIONS_END_WITHIN: Final = 1.0

NOTHING_DONE: Final = (
    "Permission denied",
    "No such server.",
    "No such backend.",
    "'set server <srv> state' expects",
    "Absolute weight can only be",
    "Relative weight must be",
    "Backend is using a static LB algorithm",
    "cannot change health on a tracking server",
    "Unknown map identifier",
    "entry not found",
    "Unknown command",
)
"""How answers begin that say: it was not done. Done is answered by an empty line; all else leaves it unknown."""

_WORD: Final = re.compile(r"(?!<<)[^\s;\\\"'\x00-\x20\x7f]+")
"""A word of a command; what begins with << would be taken for something else, and so would what `;` separates."""
_WEIGHT: Final = re.compile(r"(\d{1,3})(%?)")


class By(StrEnum):
    """How a server is taken out."""

    MAINT = "maint"
    DRAIN = "drain"
    WEIGHT = "weight"


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Name = Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")]
Names = Annotated[
    tuple[Name, ...],
    BeforeValidator(_several),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}}),
]
Weight = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["100%"]}),
]


class ReadOptions(StrictOptions):
    socket: str
    """HAProxy's stats socket: a path (a relative one starts at the workspace), or HOST:PORT."""

    backend: Name | None = None
    """The backend whose servers take turns. With `map`: the backend that has to work for this value to make sense."""

    map: str | None = None
    """The map, as HAProxy's configuration names its file, or `#` and its number."""

    key: str | None = None
    """The key of the map's entry."""

    @field_validator("socket")
    @classmethod
    def _socket_is_a_place(cls, socket: str) -> str:
        parse_place(socket)
        return socket

    @field_validator("map", "key")
    @classmethod
    def _is_a_word(cls, word: str | None) -> str | None:
        return _checked_word(word)

    @field_validator("key")
    @classmethod
    def _key_is_no_reference(cls, key: str | None) -> str | None:
        if key is not None and key.startswith("#"):
            raise ValueError(f"{key!r} would be taken for the number of an entry")
        return key

    @model_validator(mode="after")
    def _means_one_thing(self) -> Self:
        if self.map is None and self.key is not None:
            raise ValueError("`key` belongs to a `map`")
        if self.map is not None and self.key is None:
            raise ValueError("say which `key` of the map is meant")
        if self.map is None and self.backend is None:
            raise ValueError("say which `backend` or `map` is meant")
        return self

    @property
    def place(self) -> Place:
        """Where to connect to."""
        return parse_place(self.socket)


class Options(ReadOptions):
    server: Name | None = None
    """The server that is to take the traffic, mostly `"{to.as}"`."""

    out: Names = ()
    """The server that is taken out, mostly `"{from.as}"`, or several. `server` may be among them; it is left in."""

    by: By = By.MAINT
    """How: `maint`, `drain` (its check and the sessions of its users go on) or `weight` (which is set to 0)."""

    weight: Weight = "100%"
    """With `by: weight`, what `server` gets: a share of its configured weight, or a number from 1 to 256."""

    trial_for: Duration = Field(default=10.0, gt=0, le=300)
    """How long a server in maint may take to pass a check; over 20s only with a longer `timeout` of the action."""

    end_sessions: bool = False
    """Whether to cut the sessions that the old server still has; for databases, whose clients stay connected."""

    value: str | None = None
    """The new value of the map's entry, mostly `"{to.as}"`."""

    @field_validator("weight")
    @classmethod
    def _weight_is_one(cls, weight: str) -> str:
        found = _WEIGHT.fullmatch(weight)
        most = 100 if weight.endswith("%") else LARGEST_WEIGHT
        if found is None or not 1 <= int(found[1]) <= most:
            raise ValueError(f"{weight!r} is no weight; write 1% to 100%, or 1 to {LARGEST_WEIGHT}")
        return weight

    @field_validator("value")
    @classmethod
    def _value_is_a_word(cls, value: str | None) -> str | None:
        return _checked_word(value)

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        of_servers = {"server", "out", "by", "weight", "trial_for", "end_sessions"} & self.model_fields_set
        if self.map is not None:
            if of_servers:
                raise ValueError(f"`{min(of_servers)}` is about servers; an entry of a `map` has a `value`")
            if self.value is None:
                raise ValueError("say which `value` the map's entry gets")
            return self
        if self.value is not None:
            raise ValueError("`value` belongs to a `map`")
        if self.server is None or not self.out:
            raise ValueError("say which `server` takes the traffic, and which is taken `out`")
        if "weight" in self.model_fields_set and self.by is not By.WEIGHT:
            raise ValueError("`weight` belongs to `by: weight`")
        return self

    def weight_of(self, server: Server) -> int:
        """The weight that a server is to have, as HAProxy reckons it."""
        number = int(self.weight.removesuffix("%"))
        return server.initial * number // 100 if self.weight.endswith("%") else number


def _checked_word(word: str | None) -> str | None:
    if word is not None and not _WORD.fullmatch(word):
        raise ValueError(f"{word!r} cannot be a word of HAProxy's: no spaces, quotes, semicolons or backslashes")
    return word


async def apply(options: Options, context: ActionContext) -> ActionResult:
    """Carry it out command by command, and tell how far it came when that breaks off."""
    line = _Line(options, context)
    try:
        async with asyncio.timeout(_patience(context)) as limit:
            if options.map is not None:
                return await _change_map(line)
            return await _Move(line).carry_out()
    except NotDoneError as error:
        return line.refused(str(error)) if not line.done else line.broken(str(error))
    except FAILURES as error:
        return line.broken("no answer in time" if limit.expired() else why(error))


async def read(options: ReadOptions, context: ActionContext) -> Reading:
    try:
        async with asyncio.timeout(_patience(context)) as limit:
            if options.map is not None:
                return await _read_map(options, context)
            return _in_force(await look(options.place, options.backend or "", context, context.workspace))
    except FAILURES as error:
        words = "no answer in time" if limit.expired() else why(error)
        return Reading(value=None, detail=f"{options.socket}: {words}")


async def preflight(options: Options, context: ActionContext) -> Preflight:
    """Whether the socket answers and permits it, and whether HAProxy would send traffic where it is to go."""
    line = _Line(options, context)
    try:
        async with asyncio.timeout(_patience(context)) as limit:
            if options.map is not None:
                return await _preflight_map(line)
            return await _preflight_servers(line)
    except FAILURES as error:
        words = "no answer in time" if limit.expired() else why(error)
        credentials = False if isinstance(error, PermissionError | RejectedError) else None
        return Preflight(passed=False, detail=f"{options.socket}: {words}", credentials=credentials)


# --- commands ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Line:
    """The commands of one action: what was done, and what was sent last without an answer."""

    options: Options
    context: ActionContext
    done: list[str] = field(default_factory=list)
    underway: str = ""
    sent: bool = False
    because: str = ""

    async def look(self) -> Backend:
        return await look(self.options.place, self.options.backend or "", self.context, self.context.workspace)

    async def ask(self, question: str) -> str:
        """An answer to what changes nothing."""
        return await ask(self.options.place, question, self.context, self.context.workspace)

    async def tell(self, command: str) -> None:
        """Have a command carried out. Raises NotDoneError or ProtocolError, or what `ask` raises."""
        answer = await ask(
            self.options.place,
            command,
            self.context,
            self.context.workspace,
            about_to_send=lambda: self._about_to_send(command),
        )
        if answer.strip():
            words = f"`{command}` was answered by: {excerpt(answer)}"
            if answer.startswith(NOTHING_DONE):
                self.underway = ""
                raise NotDoneError(words)
            raise ProtocolError(words)
        self.underway = ""
        self.done.append(command)

    def _about_to_send(self, command: str) -> None:
        self.underway = command
        if not self.sent:
            self.sent = True
            self.context.on_sent()

    def refused(self, words: str) -> ActionResult:
        return ActionResult(Applied.REFUSED, f"{words}; nothing was changed")

    def broken(self, words: str) -> ActionResult:
        """What is known after something went wrong that nobody expects."""
        if not self.sent:
            return ActionResult(Applied.NOT_STARTED, f"{self.options.socket}: {words}; nothing was sent")
        done = f"done: {', '.join(self.done)}; " if self.done else ""
        underway = f"sent, and not known whether done: {self.underway}; " if self.underway else ""
        because = f"; before that: {self.because}" if self.because else ""
        return ActionResult(Applied.UNKNOWN, f"{done}{underway}then {self.options.socket}: {words}{because}")


def _patience(context: ActionContext) -> float:
    """A little less than the deadline: what was found out is worth more than being cut off."""
    return max(context.deadline - 0.5, context.deadline * 0.8)


# --- servers -----------------------------------------------------------------------------------------------------


class _Move:
    """One move of a backend's traffic to one of its servers."""

    def __init__(self, line: _Line) -> None:
        self._line = line
        self._options = line.options
        self._name = line.options.server or ""
        self._out = _out(line.options)
        self._ends_at = asyncio.get_running_loop().time() + _patience(line.context)
        self._tried = ""

    async def carry_out(self) -> ActionResult:
        before = await self._line.look()
        before.expect([self._name, *self._out])
        prior = "+".join(before.in_force()) or None
        if before.takers() == (self._name,) and not self._is_left_to_do(before):
            return ActionResult(Applied.APPLIED, f"already so: {self._state_of(before)}", prior)
        objection = self._not_as_expected(before) or _obstacle(self._options, before)
        if objection:
            return self._line.refused(objection)
        try:
            now = await self._bring_in(before[self._name])
        except NotDoneError as error:
            return await self._put_back(before[self._name], str(error))
        now = await self._take_out(now)
        return self._outcome(now, prior)

    def _not_as_expected(self, before: Backend) -> str:
        """Why this is not what the plan was made for. Where both sides take traffic, it may be brought to its end."""
        expected = self._line.context.expected
        if expected is None:
            return ""
        found = before.in_force()
        if found and set(found) <= {*expected.split("+"), self._name}:
            return ""
        return f"{'+'.join(found) or 'nobody'} takes the traffic, where {expected} was expected"

    def _is_left_to_do(self, before: Backend) -> bool:
        """Whether anybody is still to be taken out, or to be cut off."""
        sessions = self._options.end_sessions and any(before[name].sessions for name in self._out)
        return sessions or not all(self._is_out(before, name) for name in self._out)

    # --- in ------------------------------------------------------------------------------------------------------

    async def _bring_in(self, target: Server) -> Backend:
        """Make HAProxy give it traffic. Raises NotDoneError when it would not."""
        if not target.is_ready:
            await self._try(target)
        if self._options.by is By.WEIGHT and self._options.weight_of(target) != target.weight:
            await self._set(f"weight {self._options.weight}")
        if not target.is_ready:
            await self._set("state ready")
        now = await self._line.look()
        found = now[self._name]
        if not found.is_usable or (self._options.by is By.WEIGHT and found.weight != self._options.weight_of(target)):
            raise NotDoneError(f"HAProxy was told to bring {self._name} in, and it {_described(found)}")
        return now

    async def _try(self, target: Server) -> None:
        """Have it checked before it gets traffic, where it has a check."""
        if not target.is_checked:
            self._tried = f"{self._name} has no check, so it could not be tried"
            return
        loop = asyncio.get_running_loop()
        begun = loop.time()
        patience = min(self._options.trial_for, TRIAL_SHARE * (self._ends_at - begun))
        if target.in_maint:
            await self._set("state drain")
        now = (await self._line.look())[self._name]
        if target.in_maint and now.fall == 1 and now.is_up:
            # It begins with the very health that a check which passes would give it. Called down, it is checked up.
            await self._set("health down")
            now = (await self._line.look())[self._name]
        while not _has_passed(now):
            if loop.time() - begun > patience:
                raise NotDoneError(f"{self._name} passed no check within {format_duration(patience)}: {now}")
            await asyncio.sleep(LOOK_EVERY)
            now = (await self._line.look())[self._name]
        self._tried = f"{self._name} passed a check first ({now.check})"

    async def _set(self, what: str) -> None:
        await self._line.tell(f"set server {self._options.backend}/{self._name} {what}")

    async def _put_back(self, target: Server, words: str) -> ActionResult:
        """Leave the server as it was found; nobody was taken out so far."""
        if not self._line.done:
            return self._line.refused(words)
        self._line.because = words
        now = (await self._line.look())[self._name]
        if now.weight != target.weight:
            await self._set(f"weight {target.weight}")
        if now.state != target.state:
            await self._set(f"state {target.state}")
        now = (await self._line.look())[self._name]
        if (now.state, now.weight) != (target.state, target.weight):
            return self._line.broken(f"{self._name} could not be put back, it {_described(now)}")
        return ActionResult(Applied.REFUSED, f"{words}; it was put back, and {_described(now)}")

    # --- out -----------------------------------------------------------------------------------------------------

    async def _take_out(self, now: Backend) -> Backend:
        for name in self._out:
            if self._is_out(now, name):
                continue
            await self._line.tell(_taking_out(self._options, name))
            now = await self._line.look()
            if not self._is_out(now, name):
                raise ProtocolError(f"{name} is still in: {_described(now[name])}")
        if self._options.end_sessions:
            now = await self._end_sessions(now)
        return now

    def _is_out(self, now: Backend, name: str) -> bool:
        server = now[name]
        if server.backup and not now[self._name].backup:
            return now[self._name].is_usable or not server.is_in_rotation
        if self._options.by is By.MAINT:
            return server.in_maint
        return not server.is_ready or (self._options.by is By.WEIGHT and server.weight == 0)

    async def _end_sessions(self, now: Backend) -> Backend:
        for name in self._out:
            if now[name].sessions:
                await self._line.tell(f"shutdown sessions server {self._options.backend}/{name}")
        until = asyncio.get_running_loop().time() + SESSIONS_END_WITHIN
        while any(now[name].sessions for name in self._out) and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(LOOK_EVERY)
            now = await self._line.look()
        return now

    # --- and then ------------------------------------------------------------------------------------------------

    def _outcome(self, now: Backend, prior: str | None) -> ActionResult:
        words = "; ".join(part for part in (self._state_of(now), self._tried) if part)
        takers = now.takers()
        if takers == (self._name,):
            return ActionResult(Applied.APPLIED, words, prior)
        return ActionResult(Applied.UNKNOWN, f"done: {', '.join(self._line.done)}; and yet: {words}", prior)

    def _state_of(self, now: Backend) -> str:
        """Who takes the traffic, and what the others do."""
        takers = " and ".join(now.takers())
        take = f"{takers} take{'s' if len(now.takers()) == 1 else ''} the traffic" if takers else "nobody takes traffic"
        others = [f"{name} {_described(now[name])}{_sessions(now[name])}" for name in self._out]
        return ", ".join([f"{take} of {now.name}", *others])


def _out(options: Options) -> tuple[str, ...]:
    return tuple(name for name in dict.fromkeys(options.out) if name != options.server)


def _taking_out(options: Options, name: str) -> str:
    what = "weight 0%" if options.by is By.WEIGHT else f"state {options.by.value}"
    return f"set server {options.backend}/{name} {what}"


def _has_passed(server: Server) -> bool:
    """Whether a check has passed since the server left maint, in which it has no health of its own."""
    if server.health is None or server.rise is None or server.fall is None or not server.is_up:
        return False
    return server.fall == 1 or server.health > server.rise


def _obstacle(options: Options, backend: Backend) -> str:
    """Why HAProxy would not give all traffic to the server, whatever it is told; empty when it would."""
    target = backend[options.server or ""]
    others = [each for each in backend.servers if each.is_usable and each.name not in (target.name, *options.out)]
    first = backend.servers.index(target)
    rivals = [each.name for each in others if not each.backup or (target.backup and each in backend.servers[:first])]
    if rivals:
        return f"{' and '.join(rivals)} would go on taking traffic; name it in `out` as well"
    if target.in_maint and not target.can_leave_maint:
        return f"{target.name} is in maint, and `set server` cannot lift that: {target}"
    if not target.in_maint and not target.is_up:
        return f"HAProxy gives {target.name} no traffic: it is {target}"
    weight = options.weight_of(target) if options.by is By.WEIGHT else target.weight
    if weight > 0:
        return ""
    if options.by is By.WEIGHT:
        return f"{options.weight} of the weight {target.initial} that {target.name} has in HAProxy's configuration is 0"
    return f"HAProxy gives {target.name} no traffic: its weight is 0"


def _described(server: Server) -> str:
    return f"is {server}" if server.weight else f"is {server} with weight 0"


def _sessions(server: Server) -> str:
    if not server.sessions:
        return ""
    return f" (with {server.sessions} session{'s' if server.sessions > 1 else ''} still open)"


def _in_force(backend: Backend) -> Reading:
    value = "+".join(backend.in_force())
    if value and backend.takers():
        return Reading(value, serving=backend.serving())
    states = ", ".join(f"{server.name} {_described(server)}" for server in backend.servers)
    return Reading(value or None, detail=f"nobody takes traffic: {states}", serving=backend.serving())


async def _preflight_servers(line: _Line) -> Preflight:
    options = line.options
    backend = await line.look()
    level = (await line.ask("show cli level")).strip()
    if level in {"operator", "user"}:
        detail = f"{options.socket} is of level {level}; moving servers needs level admin"
        return Preflight(passed=False, detail=detail, credentials=False)
    permitted = True if level == "admin" else None
    backend.expect([options.server or "", *options.out])
    wrong = _obstacle(options, backend)
    if wrong:
        return Preflight(passed=False, detail=wrong, credentials=permitted)
    passed, words = _prospect(options, backend[options.server or ""])
    return Preflight(passed=passed, detail=words, credentials=permitted)


def _prospect(options: Options, target: Server) -> tuple[bool | None, str]:
    """What is to be expected of a server that nothing speaks against."""
    if target.is_checked and target.in_maint:
        trial = format_duration(options.trial_for)
        return True, f"{target.name} is in maint, unchecked; it has {trial} to pass a check before traffic moves"
    if target.is_checked:
        return True, f"{target.name} is {target}"
    if target.in_maint or target.in_drain:
        return None, f"{target.name} {_described(target)} and has no check of its own, so it cannot be tried first"
    return True, f"{target.name} is {target}: HAProxy does not check it, and takes it for up"


# --- maps --------------------------------------------------------------------------------------------------------


async def _values(options: ReadOptions, context: ActionContext) -> tuple[str, ...]:
    answer = await ask(options.place, f"show map {options.map}", context, context.workspace)
    return parse_map(options.map or "", answer, options.key or "")


async def _read_map(options: ReadOptions, context: ActionContext) -> Reading:
    values = dict.fromkeys(await _values(options, context))
    if len(values) == 1 and all(values):
        return Reading(next(iter(values)))
    says = f"{len(values)} different values" if len(values) > 1 else "no value"
    return Reading(None, detail=f"the map {options.map} has {says} for {options.key}")


async def _change_map(line: _Line) -> ActionResult:
    options, context = line.options, line.context
    entry, wanted = f"{options.key} of the map {options.map}", options.value or ""
    present = tuple(dict.fromkeys(await _values(options, context)))
    prior = present[0] if len(present) == 1 else None
    if present == (wanted,):
        return ActionResult(Applied.APPLIED, f"{entry} is {wanted} already", prior)
    if context.expected is not None and present != (context.expected,):
        says = " and ".join(present) or "not there"
        return line.refused(f"{entry} is {says}, where {context.expected} was expected")
    if options.backend is not None:
        backend = await line.look()
        if not backend.takers():
            return line.refused(_nobody_there(backend))
    await line.tell(f"{'set' if present else 'add'} map {options.map} {options.key} {wanted}")
    now = tuple(dict.fromkeys(await _values(options, context)))
    if now != (wanted,):
        raise ProtocolError(f"{entry} is {' and '.join(now) or 'not there'}, although it was told to be {wanted}")
    return ActionResult(Applied.APPLIED, f"{entry} is {wanted}", prior)


async def _preflight_map(line: _Line) -> Preflight:
    options = line.options
    present = " and ".join(await _values(options, line.context)) or "not there yet"
    # Without its arguments it changes nothing, and is still refused to those who may not use it.
    answer = await line.ask("set map")
    if answer.startswith("Permission denied"):
        return Preflight(passed=False, detail=f"{options.socket} does not permit `set map`", credentials=False)
    permitted = True if answer.startswith("'set map' expects") else None
    words = f"{options.key} of the map {options.map} is {present}"
    if options.backend is None:
        return Preflight(True, f"{words}; what stands behind {options.value} is not known here", permitted)
    backend = await line.look()
    if not backend.takers():
        return Preflight(False, _nobody_there(backend), permitted)
    return Preflight(True, f"{words}; {' and '.join(backend.takers())} can take the traffic", permitted)


def _nobody_there(backend: Backend) -> str:
    states = ", ".join(f"{server.name} {_described(server)}" for server in backend.servers)
    return f"no server of the backend {backend.name} takes traffic: {states}"


# --- for people --------------------------------------------------------------------------------------------------


def manual(raw: Mapping[str, Any]) -> str:
    """The same with socat, to be given in the workspace's folder."""
    by, out = By(raw.get("by", By.MAINT)), _several(raw.get("out", ()))
    options = Options.model_construct(**{**raw, "by": by, "out": out})  # not validated: references are no names
    place = options.place
    to = f"UNIX-CONNECT:{place.host}" if place.port is None else f"TCP:{place.shown}"

    def told(*commands: str) -> str:
        return f"{shell_command(['echo', '; '.join(commands)])} | {shell_command(['socat', '-', to])}"

    if options.map is not None:
        entry = f"map {options.map} {options.key}"
        return told(f"set {entry} {options.value}")
    target = f"set server {options.backend}/{options.server}"
    is_up = shell_command(["grep", f" {options.server} [^ ]* [12] "])
    look_at = f"{told(f'show servers state {options.backend}')} | {is_up}"
    weight = [f"{target} weight {options.weight}"] if options.by is By.WEIGHT else []
    bring_in = [*weight, f"{target} state ready"]
    move = told(*bring_in, *(_taking_out(options, name) for name in _out(options)))
    # In maint it is not checked: it is, for three seconds, in drain.
    first = f"{told(f'{target} state drain')}; sleep 3; " if options.by is By.MAINT else ""
    return f"{first}{look_at} && {move}"


def undo(raw: Mapping[str, Any], prior: str) -> Mapping[str, Any]:
    return {**raw, "value": prior}


MOVES: Final = Abilities(
    idempotent=True,
    read_back=True,
    trial=True,
    self_reverts="a reload of HAProxy forgets it, unless the state of its servers is saved and loaded",
    settle=1.0,
)
MAPS: Final = Abilities(
    idempotent=True,
    read_back=True,
    restores=True,
    self_reverts="a reload of HAProxy reads the file of the map again",
    settle=1.0,
)


def refine(options: Options) -> Abilities:
    return MOVES if options.map is None else MAPS


KIND = ActionKind(
    name="haproxy",
    summary="the traffic of a HAProxy backend, moved to another server, or another value of a map",
    options=Options,
    identity=("socket", "backend", "map", "key"),
    abilities=MOVES,
    apply=apply,
    preflight=preflight,
    manual=manual,
    read_options=ReadOptions,
    read=read,
    undo=undo,
    refine=refine,
)
