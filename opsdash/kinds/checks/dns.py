"""What a name leads to: the system's own view of it, or the answer of the servers that you name.

    front-door: {kind: dns, name: www.example, answers: [203.0.113.7]}
    mail:       {kind: dns, name: example, type: MX, servers: [ns1.example, "198.51.100.53:5353"], at_least:
    2}

Without `servers`, addresses (A, AAAA) are looked up as every other check does it, hosts file included;
other types go to the name servers of the system. With `servers`, each is asked, and each has to answer:
none that does is down, some that do not is degraded. A name that does not exist is down (`dns`), and so are
a refusal and an empty answer.

`answers` must all be there and nothing else: names without the final dot, TXT without quotes, in any order
and case.
"""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
from pydantic import Field, field_validator

from opsdash.kinds.base import CheckContext, CheckKind, CheckOptions, Sample
from opsdash.kinds.failures import ProbeProblemError, explain, failed
from opsdash.kinds.nameservers import TRIES, ask_patiently, spell, split_server
from opsdash.model.status import Reason, Status

if TYPE_CHECKING:
    from opsdash.kinds.resolver import Resolver

ANSWERING_SHARE: Final = 0.9
"""Share of the deadline that name servers have to answer."""
_FAMILIES: Final = {"A": socket.AF_INET, "AAAA": socket.AF_INET6}
_WORST_FIRST: Final = (Status.DOWN, Status.UNKNOWN, Status.DEGRADED, Status.OK)


class Options(CheckOptions):
    """Keys of `kind: dns`."""

    name: str
    """The name to look up."""
    type: Literal["A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"] = "A"
    """The type of record."""
    servers: list[str] = Field(default=[], max_length=16)
    """Name servers to ask, each a name or address, with `:port` where it is not 53."""
    answers: list[str] | None = None
    """The exact set of answers."""
    at_least: int = Field(default=1, ge=0)
    """How many answers there must be at least; 0 allows a name without records of this type."""

    @field_validator("name")
    @classmethod
    def _name_is_possible(cls, name: str) -> str:
        try:
            dns.name.from_text(name)
        except dns.exception.DNSException as error:
            raise ValueError(f"{name!r} is no possible name: {error}") from None
        return name

    @field_validator("servers")
    @classmethod
    def _servers_can_be_asked(cls, servers: list[str]) -> list[str]:
        for server in servers:
            split_server(server)
        return servers


@dataclass(slots=True)
class Answer:
    """What one server said. rcode: its response code as a name (NOERROR, NXDOMAIN, …)."""

    rcode: str
    records: list[str] = field(default_factory=list)
    ttl: int | None = None
    authoritative: bool = False


Heard = Answer | Exception


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one answer, or on the failure to get one."""

    status: Status
    reason: Reason | None
    detail: str


async def run(options: Options, context: CheckContext) -> Sample:
    """Ask whom there is to ask, all at once."""
    started = time.monotonic()
    context.stage = "dns"
    if options.servers:
        asked = await _ask_each(options, context)
    elif options.type in _FAMILIES:
        asked = [("system", await _ask_system(options, context.resolver))]
    else:
        try:
            asked = [await _ask_until_answered(_system_servers(), options, context)]
        except ProbeProblemError as error:
            return failed(error)
    return _sum_up(options, asked, time.monotonic() - started)


async def _ask_each(options: Options, context: CheckContext) -> list[tuple[str, Heard]]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_ask_patiently(server, options, context, share=1.0)) for server in options.servers]
    return [(server, task.result()) for server, task in zip(options.servers, tasks, strict=True)]


async def _ask_until_answered(servers: list[str], options: Options, context: CheckContext) -> tuple[str, Heard]:
    """As a stub resolver does it: the next server when one does not answer."""
    for server in servers[:-1]:
        heard = await _ask_patiently(server, options, context, share=1 / len(servers))
        if isinstance(heard, Answer):
            return server, heard
    return servers[-1], await _ask_patiently(servers[-1], options, context, share=1 / len(servers))


async def _ask_patiently(server: str, options: Options, context: CheckContext, *, share: float) -> Heard:
    """Ask a few times, and be done before the deadline: a silent server is a result."""
    query = dns.message.make_query(options.name, options.type, use_edns=0)
    each = context.deadline * ANSWERING_SHARE * share / TRIES
    heard = await ask_patiently(server, query, context.resolver, each)
    return heard if isinstance(heard, Exception) else _answer(heard, options)


async def _ask_system(options: Options, resolver: Resolver) -> Heard:
    """Addresses as every other check finds them."""
    try:
        addresses = await resolver.resolve(options.name, 0)
    except socket.gaierror as error:
        return error
    family = _FAMILIES[options.type]
    records = sorted({place[0] for found, place in addresses if found == family})
    return Answer("NOERROR", records)


def _system_servers() -> list[str]:
    try:
        found = dns.resolver.Resolver().nameservers
    except dns.exception.DNSException as error:
        raise ProbeProblemError(f"the system names no name servers: {error}; name `servers`") from error
    return [f"[{server}]" if ":" in str(server) else str(server) for server in found]


def _answer(response: dns.message.Message, options: Options) -> Answer:
    records, ttl = _records(response, dns.rdatatype.from_text(options.type))
    return Answer(
        rcode=dns.rcode.to_text(response.rcode()),
        records=records,
        ttl=ttl,
        authoritative=bool(response.flags & dns.flags.AA),
    )


def _records(response: dns.message.Message, wanted: dns.rdatatype.RdataType) -> tuple[list[str], int | None]:
    found = [(spell(record), rows.ttl) for rows in response.answer if rows.rdtype == wanted for record in rows]
    return sorted(text for text, _ in found), min((ttl for _, ttl in found), default=None)


# --- judging -------------------------------------------------------------------------------------------------------


def _judge(heard: Heard, options: Options) -> Verdict:
    if isinstance(heard, TimeoutError):
        return Verdict(Status.DOWN, Reason.TIMEOUT, "no answer")
    if isinstance(heard, dns.exception.DNSException):
        return Verdict(Status.DOWN, Reason.PROTOCOL, f"no valid answer: {heard}")
    if isinstance(heard, Exception):
        return Verdict(*explain(heard))
    if heard.rcode != "NOERROR":
        return Verdict(Status.DOWN, Reason.DNS, f"{options.name} {options.type}: {heard.rcode}")
    if len(heard.records) < options.at_least:
        detail = f"{len(heard.records)} answers, fewer than {options.at_least}"
        return Verdict(Status.DOWN, Reason.EMPTY if not heard.records else Reason.EXPECTATION, detail)
    if options.answers is not None:
        expected = {answer.lower().removesuffix(".") for answer in options.answers}
        found = {record.lower() for record in heard.records}
        if expected != found:
            detail = f"answers {_listed(found)} instead of {_listed(expected)}"
            return Verdict(Status.DOWN, Reason.EXPECTATION, detail)
    return Verdict(Status.OK, None, _listed(heard.records) or "no records")


def _listed(records: list[str] | set[str]) -> str:
    return ", ".join(sorted(records)[:8]) + (f" and {len(records) - 8} more" if len(records) > 8 else "")


def _sum_up(options: Options, asked: list[tuple[str, Heard]], latency: float) -> Sample:
    verdicts = [(server, _judge(heard, options)) for server, heard in asked]
    good = [verdict for _, verdict in verdicts if verdict.status is Status.OK]
    bad = [(server, verdict) for server, verdict in verdicts if verdict.status is not Status.OK]
    answers = [heard for _, heard in asked if isinstance(heard, Answer)]
    values: dict[str, Any] = {"latency": latency, "servers": len(asked), "agreeing": len(good)}
    if answers:
        shown = answers[0]
        values |= {"answers": shown.records, "rcode": shown.rcode, "authoritative": shown.authoritative}
        if shown.ttl is not None:
            values["ttl"] = shown.ttl
    sample = Sample(Status.OK, latency=latency, values=values, phases={"dns": latency})
    if not bad:
        sample.detail = good[0].detail
        return sample
    server, worst = min(bad, key=lambda pair: _WORST_FIRST.index(pair[1].status))
    sample.status, sample.reason = (Status.DEGRADED if good else worst.status), worst.reason
    sample.detail = f"{server}: {worst.detail}" if options.servers else worst.detail
    if good:
        sample.detail += f" ({len(good)} of {len(asked)} servers answer as they should)"
    return sample


KIND = CheckKind(
    name="dns",
    summary="what a name leads to, as the system sees it or as name servers answer",
    options=Options,
    run=run,
    sample=MappingProxyType(
        {
            "answers": ["203.0.113.7"],
            "rcode": "NOERROR",
            "ttl": 300,
            "authoritative": False,
            "servers": 1,
            "agreeing": 1,
            "latency": 0.02,
        }
    ),
)
