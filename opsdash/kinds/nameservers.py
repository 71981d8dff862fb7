"""Name servers: how they are written in a workspace, asked a question, and sent a message over TCP.

What comes back is a parsed message, or an exception of `opsdash.kinds.failures.FAILURES` or of dnspython's tree; none
of it is judged here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import dns.asyncquery
import dns.exception
import dns.message
import dns.rdatatype

from opsdash.kinds.failures import FAILURES, ProtocolError
from opsdash.kinds.streams import connected

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.kinds.resolver import Resolver
    from opsdash.kinds.transport import Caller

PORT: Final = 53
TRIES: Final = 3
NO_DNS: Final = (*FAILURES, dns.exception.DNSException)
"""What asking a name server may raise."""


def split_server(server: str) -> tuple[str, int]:
    """Host and port of `ns1.example`, `198.51.100.53:5353`, `[2001:db8::53]:5353` or `2001:db8::53`."""
    host, separator, port = server.rpartition(":")
    if server.startswith("["):
        host, _, rest = server[1:].partition("]")
        port = rest.removeprefix(":")
    elif not separator or ":" in host:
        host, port = server, ""
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{server!r} has no valid port; write it as 198.51.100.53:53")
    if not host:
        raise ValueError(f"{server!r} names no server; write it as 198.51.100.53 or ns1.example:53")
    return host, int(port) if port else PORT


def spell(record: Any) -> str:
    """A record as people write it: no final dot, no quotes around text."""
    if record.rdtype == dns.rdatatype.TXT:
        return b"".join(record.strings).decode("utf-8", "replace")
    words = str(record.to_text()).split(" ")
    return " ".join(word.removesuffix(".") if len(word) > 1 else word for word in words)


async def ask(server: str, query: dns.message.Message, resolver: Resolver) -> dns.message.Message:
    """Its answer, over TCP where that is too long for a datagram. What others send is ignored. Raises NO_DNS."""
    host, port = split_server(server)
    address = (await resolver.resolve(host, port))[0][1][0]
    try:
        answer, _ = await dns.asyncquery.udp_with_fallback(query, address, port=port, ignore_unexpected=True)
    except EOFError:
        raise ProtocolError("closed the connection instead of answering") from None
    return answer


async def ask_patiently(
    server: str, query: dns.message.Message, resolver: Resolver, each: float
) -> dns.message.Message | Exception:
    """Ask a few times for `each` seconds, as datagrams get lost. A silent server is a result (TimeoutError)."""
    heard: dns.message.Message | Exception = TimeoutError()
    for _ in range(TRIES):
        try:
            async with asyncio.timeout(each):
                return await ask(server, query, resolver)
        except NO_DNS as error:
            heard = error
            if not isinstance(error, TimeoutError):
                break
    return heard


async def send(server: str, wire: bytes, caller: Caller, before: Callable[[], None] = lambda: None) -> bytes:
    """What it answers over TCP to the message `wire`, unparsed. `before` is called when only sending is left to do.

    A message over TCP is 64 KiB long at most (RFC 1035, section 4.2.2), so nobody can send for ever.
    """
    async with connected(*split_server(server), caller) as stream:
        before()
        await stream.write(len(wire).to_bytes(2, "big") + wire)
        received = b""
        while len(received) < 2 or len(received) < 2 + int.from_bytes(received[:2], "big"):
            data = await stream.read_some()
            if not data:
                raise ProtocolError("closed the connection instead of answering")
            received += data
    return received[2 : 2 + int.from_bytes(received[:2], "big")]
