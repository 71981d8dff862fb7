"""A DNS record that leads to the one who serves, changed at the primary by a signed dynamic update (RFC 2136, TSIG).

    read:   {kind: dns_update, server: 10.0.0.53, zone: example.net, name: app.example.net}
    action:
      kind: dns_update
      server: 10.0.0.53
      zone: example.net
      name: app.example.net
      value: "{to.as}"                # the providers' `as` are addresses: as: 203.0.113.10
      ttl: 30s
      key: {name: opsdash, secret: "${file:/etc/opsdash/tsig.secret}"}

The update goes to the primary once, over TCP, with the present records as its prerequisite: when somebody else was
faster the server refuses it, and nothing is changed. A TXT record (`marker`) is written by the same update; it holds
the id of the action and the value, so that it is known whose a value is. Everything else in the zone stays.

`read` asks every authoritative server of the zone itself, no resolver: a value counts when all of them, the primary
too, say the same. Resolvers may give the old answer until its TTL has passed, and connections outlive it.

`as` has to be written as the records are read back: `203.0.113.10`, `2001:db8::10`, `lb-b.example.net` without a final
dot, and several as `203.0.113.9, 203.0.113.10`. The key has to be allowed to change `name` and `marker`, no more;
the preflight tries it with an update that changes nothing.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.update
from dns.rdtypes.ANY.TXT import TXT
from pydantic import Field, field_validator, model_validator

from opsdash.kinds.base import ActionContext, ActionKind, ActionResult, Applied, Preflight, Reading, StrictOptions
from opsdash.kinds.dnsupdates import EXCERPT, PREREQUISITE, Key, Said, send_update, shown, whole_name
from opsdash.kinds.failures import explain
from opsdash.kinds.fields import Duration
from opsdash.kinds.nameservers import TRIES, ask_patiently, spell, split_server
from opsdash.kinds.shellwords import shell_word
from opsdash.model.operation import Abilities
from opsdash.model.units import format_duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Self

MOST_SERVERS: Final = 16
MOST_RECORDS: Final = 8
MOST_READ: Final = 64
LONGEST: Final = 200
"""Characters of a value; no more of one is ever compared."""
MARK: Final = "opsdash-switch="
MARKER_LABEL: Final = "_opsdash"
SLOW_TTL: Final = 60
DEFAULT_TTL: Final = 60.0
SETTLE_AFTER_TTL: Final = 5.0
_ID: Final = re.compile(r"[\x21-\x7e]{1,200}")
_HOST: Final = re.compile(r"[a-z0-9_.-]+")
_IN: Final = dns.rdataclass.IN


class ReadOptions(StrictOptions):
    server: str
    """The primary, which takes updates: a name or address, with `:port` where it is not 53."""

    zone: str
    """The zone, such as `example.net`."""

    name: str
    """The whole name of the record, such as `app.example.net`."""

    type: Literal["A", "AAAA", "CNAME"] = "A"
    """The type of the record."""

    servers: tuple[str, ...] = Field(default=(), max_length=MOST_SERVERS)
    """The servers that answer the public, besides the primary. Without any, the zone's NS records say it."""

    marker: str | bool = True
    """Name of the TXT record that holds the action's id. true: `_opsdash.` before `name`; false: there is none."""

    @field_validator("server", "servers")
    @classmethod
    def _servers_can_be_asked(cls, servers: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for server in (servers,) if isinstance(servers, str) else servers:
            split_server(server)
        return servers

    @model_validator(mode="after")
    def _names_are_in_the_zone(self) -> Self:
        zone = whole_name(self.zone)
        for name in (self.owner, self.marker_owner):
            if name is not None and not name.is_subdomain(zone):
                raise ValueError(f"{shown(name)} is not in the zone {shown(zone)}")
        if self.owner == self.marker_owner:
            raise ValueError("`marker` needs a name of its own: all TXT records there are replaced")
        return self

    @property
    def owner(self) -> dns.name.Name:
        """The name of the record."""
        return whole_name(self.name)

    @property
    def marker_owner(self) -> dns.name.Name | None:
        """The name of the marker; None where there is none."""
        if isinstance(self.marker, str):
            return whole_name(self.marker)
        return whole_name(f"{MARKER_LABEL}.{self.name}") if self.marker else None

    @property
    def rdtype(self) -> dns.rdatatype.RdataType:
        """The type as dnspython has it."""
        return dns.rdatatype.from_text(self.type)

    @property
    def what(self) -> str:
        """The record, for people."""
        return f"{shown(self.owner)} {self.type}"


class Options(ReadOptions):
    value: str | Annotated[tuple[str, ...], Field(min_length=1)]
    """What the record is to lead to, usually `{to.as}`; several as a list, or in one text with commas."""

    ttl: Duration = Field(default=DEFAULT_TTL, ge=1, le=86400)
    """How long resolvers may keep it, in whole seconds. It is also how long a switch may take to be seen everywhere."""

    key: Key
    """What the update is signed with."""

    @field_validator("ttl")
    @classmethod
    def _ttl_is_whole(cls, ttl: float) -> float:
        if ttl != int(ttl):
            raise ValueError("a TTL has whole seconds")
        return ttl

    @model_validator(mode="after")
    def _value_is_read_back_as_it_is_written(self) -> Self:
        records = self.records
        if self.type == "CNAME" and len(records) != 1:
            raise ValueError("a CNAME leads to one name")
        if len(records) > MOST_RECORDS or len(self.text) > LONGEST:
            raise ValueError(f"at most {MOST_RECORDS} records, and {LONGEST} characters")
        if isinstance(self.value, str) and self.value != self.text:
            raise ValueError(f"{self.value!r} would be read back as {self.text!r}; write it so")
        return self

    @property
    def records(self) -> tuple[dns.rdata.Rdata, ...]:
        """The records to be there. Raises ValueError where they cannot be."""
        texts = self.value.split(",") if isinstance(self.value, str) else self.value
        return _sorted(_record(self.type, text.strip()) for text in texts)

    @property
    def text(self) -> str:
        """What `read` gives afterwards."""
        return _text(self.records)


def _record(rdtype: str, text: str) -> dns.rdata.Rdata:
    try:
        return dns.rdata.from_text(_IN, rdtype, whole_name(text).to_text() if rdtype == "CNAME" else text)
    except dns.exception.DNSException as error:
        raise ValueError(f"{text!r} cannot be the value of {rdtype}: {error}") from None


def _sorted(records: Iterable[dns.rdata.Rdata]) -> tuple[dns.rdata.Rdata, ...]:
    return tuple(sorted(set(records)))


def _text(records: Iterable[dns.rdata.Rdata]) -> str:
    return ", ".join(spell(record).lower() for record in records)


# --- looking -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """What one server says. problem: why that does not count; marked: id of an action, and the value it put there."""

    server: str
    problem: str = ""
    records: tuple[dns.rdata.Rdata, ...] = ()
    ttl: int = 0
    serial: int = 0
    marked: tuple[str, str] | None = None

    @property
    def value(self) -> str | None:
        """The records as one text; None where there are none."""
        return _text(self.records) or None

    @property
    def shown(self) -> str:
        """The value for people."""
        return self.value[:EXCERPT] if self.value else "not there"

    @property
    def by(self) -> str | None:
        """Whose the value is. A marker that is about another value tells that somebody was there without one."""
        return self.marked[0] if self.marked is not None and self.marked[1] == self.value else None

    @property
    def words(self) -> str:
        """For people."""
        if self.problem:
            return f"{self.server} {self.problem}"
        return f"{self.server} says it is {self.shown} (serial {self.serial})"


async def read(options: ReadOptions, context: ActionContext) -> Reading:
    """What all authoritative servers say, if they agree."""
    context.stage = "read"
    each = _patience(context) / (2 * TRIES + 1)
    servers = await _servers(options, context, each)
    if isinstance(servers, str):
        return Reading(value=None, detail=servers)
    return _reading(options, await _look_at_all(servers, options, context, each))


def _reading(options: ReadOptions, seen: list[Seen]) -> Reading:
    answers = [each for each in seen if not each.problem]
    version = str(seen[0].serial) if not seen[0].problem else None
    serving = _serving(answers, complete=len(answers) == len(seen))
    said = {each.value for each in answers}
    if len(answers) < len(seen) or len(said) > 1:
        told = _listed(each.words for each in sorted(seen, key=lambda each: not each.problem))
        return Reading(value=None, version=version, detail=f"{options.what}: {told}", serving=serving)
    value = seen[0].value
    if value is None:
        return Reading(value=None, version=version, detail=f"there is no {options.what}", serving=serving)
    authors = {each.by for each in seen}
    agree = f"{len(seen)} servers agree" if len(seen) > 1 else seen[0].server
    return Reading(
        value=value,
        version=version,
        detail=f"{agree}, TTL {format_duration(seen[0].ttl)}",
        serving=serving,
        by=authors.pop() if len(authors) == 1 else None,
    )


def _serving(answers: list[Seen], *, complete: bool) -> tuple[str, ...] | None:
    """All that somebody is led to. Where a server keeps silent, one value alone is not all that there may be."""
    values = tuple(dict.fromkeys(each.value for each in answers if each.value is not None))
    return values if complete or len(values) > 1 else None


def _listed(words: Iterable[str]) -> str:
    told = list(words)
    return "; ".join(told[:4]) + (f"; and {len(told) - 4} more" if len(told) > 4 else "")


async def _servers(options: ReadOptions, context: ActionContext, each: float) -> list[str] | str:
    """Whom to ask, the primary first; or why that is not known."""
    if options.servers:
        return _without_doubles([options.server, *options.servers])
    zone = whole_name(options.zone)
    answer = await _answer(options.server, zone, dns.rdatatype.NS, context, each)
    if isinstance(answer, str):
        return f"{options.server} {answer}"
    names = sorted(spell(record).lower() for record in _rows(answer, zone, dns.rdatatype.NS))
    if not names:
        return f"{options.server} knows no name servers of {options.zone}; name `servers`"
    strange = next((name for name in names if not _HOST.fullmatch(name)), None)
    if strange is not None:
        return f"{options.server} names {strange[:EXCERPT]!r} as a name server; name `servers`"
    return _without_doubles([options.server, *names[:MOST_SERVERS]])


def _without_doubles(servers: list[str]) -> list[str]:
    places: dict[tuple[str, int], str] = {}
    for server in servers:
        host, port = split_server(server)
        places.setdefault((host.lower().removesuffix("."), port), server)
    return list(places.values())


async def _look_at_all(servers: list[str], options: ReadOptions, context: ActionContext, each: float) -> list[Seen]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_look(server, options, context, each)) for server in servers]
    return [task.result() for task in tasks]


async def _look(server: str, options: ReadOptions, context: ActionContext, each: float) -> Seen:
    """Ask one server for the zone's serial, the record and the marker, without recursion."""
    zone, owner, marker = whole_name(options.zone), options.owner, options.marker_owner
    asked = [(zone, dns.rdatatype.SOA), (owner, options.rdtype)]
    if marker is not None:
        asked.append((marker, dns.rdatatype.TXT))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_answer(server, name, rdtype, context, each)) for name, rdtype in asked]
    answers: list[dns.message.Message] = []
    for task in tasks:
        answer = task.result()
        if isinstance(answer, str):
            return Seen(server, answer)
        answers.append(answer)
    serials = [record.serial for record in _rows(answers[0], zone, dns.rdatatype.SOA)]
    if len(serials) != 1:
        return Seen(server, f"has no zone {options.zone}")
    if options.type != "CNAME" and _rows(answers[1], owner, dns.rdatatype.CNAME):
        return Seen(server, f"has a CNAME at {shown(owner)}, no {options.type}")
    rows = _rows(answers[1], owner, options.rdtype)
    if len(rows) > MOST_READ:
        return Seen(server, f"has {len(rows)} records at {shown(owner)}, more than are ever compared")
    marks = _rows(answers[2], marker, dns.rdatatype.TXT) if marker is not None else []
    ttls = [rrset.ttl for rrset in answers[1].answer if rrset.name == owner and rrset.rdtype == options.rdtype]
    return Seen(server, "", _sorted(rows), min(ttls, default=0), serials[0], _marked(marks))


async def _answer(
    server: str, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, context: ActionContext, each: float
) -> dns.message.Message | str:
    """What a server that is an authority for `name` answers; or why there is no such answer."""
    query = dns.message.make_query(name, rdtype, use_edns=0)
    query.flags &= ~dns.flags.RD
    heard = await ask_patiently(server, query, context.resolver, each)
    if isinstance(heard, TimeoutError):
        return "does not answer"
    if isinstance(heard, dns.exception.DNSException):
        return f"answers something that is no DNS message: {str(heard)[:EXCERPT]}"
    if isinstance(heard, Exception):
        return f"cannot be asked: {explain(heard)[2]}"
    if heard.rcode() not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
        return f"answers {dns.rcode.to_text(heard.rcode())} when asked for {shown(name)}"
    return heard if heard.flags & dns.flags.AA else f"is no authority for {shown(name)}"


def _rows(answer: dns.message.Message, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> list[Any]:
    return [
        record
        for rrset in answer.answer
        if rrset.name == name and rrset.rdclass == _IN and rrset.rdtype == rdtype
        for record in rrset
    ]


def _marked(marks: list[Any]) -> tuple[str, str] | None:
    """What the one marker says. Anything else at its name is not ours, and says nothing."""
    if len(marks) != 1 or len(marks[0].strings) != 2:
        return None
    mark, value = (text.decode("utf-8", "replace") for text in marks[0].strings)
    action_id = mark.removeprefix(MARK)
    return (action_id, value) if mark != action_id and _ID.fullmatch(action_id) else None


# --- acting ------------------------------------------------------------------------------------------------------


async def apply(options: Options, context: ActionContext) -> ActionResult:
    """Compare, then send the update once. The server compares again, and swaps in the same step."""
    each = _patience(context) / (3 * TRIES)
    until = time.monotonic() + _patience(context) * 2 / 3  # the rest is for a look after a refusal
    context.stage = "read"
    seen = await _look(options.server, options, context, each)
    if seen.problem:
        return ActionResult(Applied.NOT_STARTED, f"{seen.words}; nothing was sent")
    if seen.value == options.text:
        prior = context.expected if seen.by == context.action_id else seen.value
        return ActionResult(Applied.APPLIED, f"{options.what} is {seen.shown} already", prior, str(seen.serial))
    if context.expected is not None and seen.value != context.expected:
        detail = f"{options.what} is {seen.shown}, where {context.expected} was expected; nothing was sent"
        return ActionResult(Applied.REFUSED, detail)
    change = _change(options, seen, context.action_id)
    left = until - time.monotonic()
    said = await send_update(options.server, options.key, change, context, left, on_sent=context.on_sent)
    if said.applied is Applied.REFUSED:
        return await _after_refusal(options, context, said, each)
    return ActionResult(said.applied, f"{options.server} {said.words}", seen.value)


async def _after_refusal(options: Options, context: ActionContext, said: Said, each: float) -> ActionResult:
    """A refusal changes nothing; look what is there instead. One that is not signed counts only with what is seen."""
    context.stage = "read"
    now = await _look(options.server, options, context, each)
    words = f"{options.server} {said.words}"
    if now.problem:
        applied = Applied.REFUSED if said.signed else Applied.UNKNOWN
        return ActionResult(applied, f"{words}; then it {now.problem}")
    if now.value == options.text and now.by == context.action_id:
        detail = f"{options.what} is {now.shown} already, by this very action; {words}"
        return ActionResult(Applied.APPLIED, detail, context.expected, str(now.serial))
    whose = f", by {now.by}" if now.by is not None else ""
    is_certain = said.signed or now.value != options.text
    applied = Applied.REFUSED if is_certain else Applied.UNKNOWN
    return ActionResult(applied, f"{words}; {options.what} is {now.shown}{whose}")


def _update(options: Options, seen: Seen) -> dns.update.UpdateMessage:
    """An update that the server carries out only while the records are exactly those that were seen."""
    update = dns.update.UpdateMessage(whole_name(options.zone))
    if seen.records:
        update.present(options.owner, dns.rdataset.from_rdata_list(0, seen.records))
    else:
        update.absent(options.owner, options.rdtype)
    return update


def _change(options: Options, seen: Seen, action_id: str) -> dns.update.UpdateMessage:
    ttl = int(options.ttl)
    update = _update(options, seen)
    update.replace(options.owner, dns.rdataset.from_rdata_list(ttl, options.records))
    if options.marker_owner is not None:
        update.replace(options.marker_owner, ttl, _marker(action_id, options.text))
    return update


def _marker(action_id: str, value: str) -> dns.rdata.Rdata:
    return TXT(_IN, dns.rdatatype.TXT, [f"{MARK}{action_id}".encode(), value.encode()])


def _patience(context: ActionContext) -> float:
    """A little less than the deadline: what was found out is worth more than being cut off."""
    return max(context.deadline - 0.5, context.deadline * 0.8)


# --- before ------------------------------------------------------------------------------------------------------


async def preflight(options: Options, context: ActionContext) -> Preflight:
    """Every server is there and up to date, the record is as expected, and the key may change it."""
    until = time.monotonic() + _patience(context)
    each = _patience(context) / (3 * TRIES)
    context.stage = "read"
    servers = await _servers(options, context, each)
    if isinstance(servers, str):
        return Preflight(passed=False, detail=servers)
    seen = await _look_at_all(servers, options, context, each)
    wrong = _wrong(options, context, seen)
    primary = seen[0]
    if primary.problem:
        return Preflight(passed=False, detail=_listed(wrong))
    tried, allowed, words = await _tried_out(options, context, primary, until)
    told = [*wrong, words] if wrong or not tried else [_ready(options, seen), words]
    if primary.ttl > SLOW_TTL:
        told.append(f"resolvers may keep the present answer for {format_duration(primary.ttl)}")
    return Preflight(passed=False if wrong else tried, detail="; ".join(told), credentials=allowed)


def _wrong(options: Options, context: ActionContext, seen: list[Seen]) -> list[str]:
    wrong = [each.words for each in seen if each.problem]
    answers = [each for each in seen if not each.problem]
    if len({(each.serial, each.value) for each in answers}) > 1:
        wrong.append(f"the servers are not equally up to date: {_listed(each.words for each in answers)}")
    primary = seen[0]
    if not primary.problem and primary.value is None:
        wrong.append(f"there is no {options.what} yet; create it first")
    elif not primary.problem and context.expected is not None and primary.value != context.expected:
        wrong.append(f"{options.what} is {primary.shown}, where {context.expected} was expected")
    return wrong


def _ready(options: Options, seen: list[Seen]) -> str:
    where = f"{len(seen)} servers" if len(seen) > 1 else seen[0].server
    return f"{options.what} is {seen[0].shown} on {where}, serial {seen[0].serial}, TTL {format_duration(seen[0].ttl)}"


async def _tried_out(
    options: Options, context: ActionContext, seen: Seen, until: float
) -> tuple[bool | None, bool | None, str]:
    """Try updates that change nothing: whether the action could be carried out, whether the key may do so, and words.

    Both Knot and BIND look at the key and its permissions before they look at prerequisites, and both count removing
    what is not there as no change: the serial stays.
    """
    key = options.key.name
    marker = options.marker_owner

    async def tried(*names: dns.name.Name | None) -> Said:
        update = _no_change(options, seen, names)
        return await send_update(options.server, options.key, update, context, until - time.monotonic())

    said = await tried(options.owner, marker)
    words = f"{options.server} {said.words}"
    if said.applied is Applied.APPLIED:
        return True, True, f"the key {key} may change it"
    if said.applied is Applied.NOT_STARTED:
        return False, None, words
    if said.applied is Applied.UNKNOWN or said.rcode in PREREQUISITE:
        return None, None, words
    if marker is not None and (await tried(options.owner)).applied is Applied.APPLIED:
        what = f"{shown(marker)} TXT"
        words = f"the key {key} may change {options.what} but not {what}: allow it, or set `marker: false`"
    elif (await tried()).applied is Applied.APPLIED:
        words = f"{options.server} knows the key {key}, which may not change {options.what}"
    return False, False, words


def _no_change(options: Options, seen: Seen, names: tuple[dns.name.Name | None, ...]) -> dns.update.UpdateMessage:
    """Removes from `names` what is not there, while the records are those that were seen."""
    update = _update(options, seen)
    for name in names:
        if name == options.owner:
            update.delete(name, _absent(options, seen))
        elif name is not None:
            update.delete(name, _marker("preflight", ""))
    return update


def _absent(options: Options, seen: Seen) -> dns.rdata.Rdata:
    """A record of the type that is not among those that were seen."""
    forms = {"A": "0.0.0.{}", "AAAA": "::{}", "CNAME": "opsdash-{}.invalid"}
    tries = (_record(options.type, forms[options.type].format(number)) for number in range(len(seen.records) + 1))
    return next(record for record in tries if record not in seen.records)


# --- for people --------------------------------------------------------------------------------------------------


def manual(raw: Mapping[str, Any]) -> str:
    """The update for nsupdate (BIND) or knsupdate (Knot), with the key as a reference. It removes the marker."""
    options = ReadOptions.model_validate({name: raw[name] for name in ReadOptions.model_fields if name in raw})
    value, key = raw["value"], raw["key"]
    texts = value.split(",") if isinstance(value, str) else value
    ttl = int(parse_duration(str(raw["ttl"]))) if "ttl" in raw else int(DEFAULT_TTL)
    host, port = split_server(options.server)
    owner = options.owner.to_text()
    lines = [
        f"server {host} {port}",
        f"zone {whole_name(options.zone).to_text()}",
        f"key {key.get('algorithm', 'hmac-sha256')}:{key['name']} {key['secret']}",
        f"update delete {owner} {options.type}",
    ]
    lines += [f"update add {owner} {ttl} {options.type} {_record(options.type, text.strip())}" for text in texts]
    if options.marker_owner is not None:
        lines.append(f"update delete {options.marker_owner.to_text()} TXT")
    return f"printf '%s\\n' {' '.join(shell_word(line) for line in [*lines, 'send'])} | nsupdate -v"


def undo(raw: Mapping[str, Any], prior: str) -> Mapping[str, Any]:
    return {**raw, "value": prior}


_ABILITIES: Final = Abilities(
    cas=True, idempotent=True, read_back=True, restores=True, marks=True, settle=DEFAULT_TTL + SETTLE_AFTER_TTL
)


def refine(options: Options) -> Abilities:
    return replace(_ABILITIES, marks=options.marker_owner is not None, settle=options.ttl + SETTLE_AFTER_TTL)


KIND = ActionKind(
    name="dns_update",
    summary="a DNS record, changed at the primary by a signed dynamic update",
    options=Options,
    identity=("zone", "name", "type"),
    abilities=_ABILITIES,
    apply=apply,
    preflight=preflight,
    manual=manual,
    read_options=ReadOptions,
    read=read,
    undo=undo,
    refine=refine,
)
