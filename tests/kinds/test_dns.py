"""Check kind `dns`: against name servers on loopback that answer, refuse, lie or keep silent."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
import pytest_asyncio
from pydantic import ValidationError

from opsdash.kinds.base import CheckContext, Sample
from opsdash.kinds.checks import dns as kind
from opsdash.kinds.nameservers import split_server
from opsdash.kinds.resolver import Resolver
from opsdash.model.status import Reason, Status

MakeContext = Callable[..., CheckContext]
Respond = Callable[[dns.message.Message], bytes | None]
StartServer = Callable[[Respond], Awaitable[str]]


class NameServer(asyncio.DatagramProtocol):
    def __init__(self, respond: Respond) -> None:
        self.respond = respond

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        reply = self.respond(dns.message.from_wire(data))
        if reply is not None:
            self.transport.sendto(reply, addr)


@pytest_asyncio.fixture
async def name_server() -> AsyncIterator[StartServer]:
    transports = []

    async def start(respond: Respond) -> str:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: NameServer(respond), ("127.0.0.1", 0))
        transports.append(transport)
        return f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"

    yield start
    for transport in transports:
        transport.close()


def records(*rows: str, rcode: int = dns.rcode.NOERROR) -> Respond:
    """Rows as in a zone file: `www.example. 300 IN A 192.0.2.1`."""

    def respond(query: dns.message.Message) -> bytes:
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.AA
        reply.set_rcode(dns.rcode.Rcode(rcode))
        for row in rows:
            name, ttl, cls, kind_of, text = row.split(" ", 4)
            reply.answer.append(dns.rrset.from_text(name, int(ttl), cls, kind_of, text))
        return reply.to_wire()

    return respond


def silent(_: dns.message.Message) -> None:
    return None


async def check(context: CheckContext, **keys: Any) -> Sample:
    return await kind.run(kind.Options.model_validate({"name": "www.example", **keys}), context)


async def test_the_answers_of_a_name_server_are_compared_as_a_set(
    name_server: StartServer, context: MakeContext
) -> None:
    server = await name_server(records("www.example. 300 IN A 192.0.2.1", "www.example. 60 IN A 192.0.2.2"))
    sample = await check(context(), servers=[server], answers=["192.0.2.2", "192.0.2.1"])
    assert sample.status is Status.OK
    assert sample.values["answers"] == ["192.0.2.1", "192.0.2.2"]
    assert (sample.values["rcode"], sample.values["authoritative"]) == ("NOERROR", True)
    sample = await check(context(), servers=[server], answers=["192.0.2.2"])
    assert (sample.status, sample.reason) == (Status.DOWN, Reason.EXPECTATION)
    assert "192.0.2.1, 192.0.2.2 instead of 192.0.2.2" in sample.detail


async def test_records_are_spelled_as_people_write_them(name_server: StartServer, context: MakeContext) -> None:
    server = await name_server(records("www.example. 300 IN MX 10 Mail.example."))
    sample = await check(context(), type="MX", servers=[server], answers=["10 mail.example"])
    assert sample.status is Status.OK
    server = await name_server(records('www.example. 300 IN TXT "v=spf1 " "-all"'))
    assert (await check(context(), type="TXT", servers=[server])).values["answers"] == ["v=spf1 -all"]


@pytest.mark.parametrize(
    ("respond", "reason", "words"),
    [
        (records(rcode=dns.rcode.NXDOMAIN), Reason.DNS, "NXDOMAIN"),
        (records(rcode=dns.rcode.SERVFAIL), Reason.DNS, "SERVFAIL"),
        (records(rcode=dns.rcode.REFUSED), Reason.DNS, "REFUSED"),
        (records(), Reason.EMPTY, "0 answers"),
        (lambda _: b"\0\1garbage", Reason.PROTOCOL, "no valid answer"),
        (silent, Reason.TIMEOUT, "no answer"),
    ],
    ids=["no-such-name", "server-fails", "refuses", "empty", "garbage", "silent"],
)
async def test_each_way_of_not_answering_has_its_reason(
    name_server: StartServer, context: MakeContext, respond: Respond, reason: Reason, words: str
) -> None:
    server = await name_server(respond)
    sample = await check(context(deadline=0.5), servers=[server])
    assert (sample.status, sample.reason) == (Status.DOWN, reason)
    assert words in sample.detail


async def test_a_lost_datagram_is_asked_for_again(name_server: StartServer, context: MakeContext) -> None:
    queries: list[dns.message.Message] = []

    def lose_the_first(query: dns.message.Message) -> bytes | None:
        queries.append(query)
        return None if len(queries) == 1 else records("www.example. 300 IN A 192.0.2.1")(query)

    server = await name_server(lose_the_first)
    assert (await check(context(deadline=0.6), servers=[server])).status is Status.OK
    assert len(queries) == 2


async def test_one_silent_server_of_two_is_degraded_and_named(name_server: StartServer, context: MakeContext) -> None:
    good = await name_server(records("www.example. 300 IN A 192.0.2.1"))
    mute = await name_server(silent)
    sample = await check(context(deadline=0.5), servers=[good, mute])
    assert (sample.status, sample.reason) == (Status.DEGRADED, Reason.TIMEOUT)
    assert mute in sample.detail
    assert (sample.values["servers"], sample.values["agreeing"]) == (2, 1)
    sample = await check(context(deadline=0.5), servers=[mute, mute])
    assert sample.status is Status.DOWN


async def test_without_a_server_the_system_is_asked_like_for_every_other_check(context: MakeContext) -> None:
    rows = [
        (socket.AF_INET, 1, 6, "", ("192.0.2.1", 0)),
        (socket.AF_INET6, 1, 6, "", ("2001:db8::1", 0, 0, 0)),
    ]
    resolver = Resolver(lambda *_, **__: rows)
    assert (await check(context(resolver=resolver))).values["answers"] == ["192.0.2.1"]
    assert (await check(context(resolver=resolver), type="AAAA")).values["answers"] == ["2001:db8::1"]

    def no_such_name(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    sample = await check(context(resolver=Resolver(no_such_name)))
    assert (sample.status, sample.reason) == (Status.DOWN, Reason.DNS)


async def test_a_name_server_whose_own_name_is_unknown_is_down_for_that(context: MakeContext) -> None:
    def no_such_name(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    sample = await check(context(resolver=Resolver(no_such_name)), servers=["ns.example"])
    assert (sample.status, sample.reason) == (Status.DOWN, Reason.DNS)


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("ns1.example:5353", ("ns1.example", 5353)),
        ("2001:db8::53", ("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
        ("[2001:db8::53]", ("2001:db8::53", 53)),
    ],
)
def test_a_server_is_an_address_or_name_with_or_without_port(server: str, expected: tuple[str, int]) -> None:
    assert split_server(server) == expected


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"servers": ["ns1:port"]}, "no valid port"),
        ({"servers": [":53"]}, "names no server"),
        ({"name": "a..b"}, "no possible name"),
        ({"type": "ANY"}, "Input should be"),
    ],
)
def test_keys_that_make_no_sense_are_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        kind.Options.model_validate({"name": "www.example", **keys})
