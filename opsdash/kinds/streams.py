"""A connection for kinds with a protocol of their own: opened through the one resolver, closed for sure.

Like `opsdash.kinds.transport`, it tries the next address when one refuses, or keeps silent for a second.
What is read is limited, because the other side may send for ever.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from opsdash.kinds.failures import ProtocolError, TooLargeError
from opsdash.kinds.transport import NEXT_ADDRESS_AFTER, Caller

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from opsdash.kinds.resolver import Address

MAX_LINE: Final = 8 * 1024


class Stream:
    """An open connection. `phases` has the seconds that each stage took, `address` where it leads."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        address: str,
        caller: Caller,
        phases: dict[str, float],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._caller = caller
        self._unread = b""
        self.address = address
        self.phases = phases

    async def start_tls(self, context: ssl.SSLContext, server_name: str) -> None:
        """Talk TLS from now on. Raises ssl.SSLError."""
        if self._unread:
            # Whoever sits in between could have put it there, to be taken for an answer under TLS.
            raise ProtocolError("sent more than its answer before the TLS handshake")
        self._caller.stage = "tls"
        started = time.monotonic()
        await self._writer.start_tls(context, server_hostname=server_name)
        self.phases["tls"] = time.monotonic() - started

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS session, for its certificate; None in plain text."""
        found: ssl.SSLObject | None = self._writer.get_extra_info("ssl_object")
        return found

    async def write(self, data: bytes) -> None:
        """Send `data`."""
        self._caller.stage = "send"
        self._writer.write(data)
        await self._writer.drain()
        self._caller.stage = "first_byte"

    async def read_some(self) -> bytes:
        """What there is, and at least one byte, except at the end."""
        if self._unread:
            data, self._unread = self._unread, b""
            return data
        return await self._reader.read(MAX_LINE)

    async def read_line(self) -> bytes:
        """One line, without its end. Raises ProtocolError when the connection ends before it does."""
        while b"\n" not in self._unread:
            if len(self._unread) > MAX_LINE:
                raise TooLargeError(f"sent a line of more than {MAX_LINE // 1024} KiB")
            data = await self._reader.read(MAX_LINE)
            if not data:
                raise ProtocolError("closed the connection instead of answering")
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line.rstrip(b"\r")

    def close(self) -> None:
        """At once, without waiting for the other side."""
        self._writer.transport.abort()


@asynccontextmanager
async def connected(
    host: str,
    port: int,
    caller: Caller,
    *,
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
) -> AsyncIterator[Stream]:
    """A connection to `host`, closed afterwards whatever happens. With `tls`, the handshake has been done."""
    started = time.monotonic()
    caller.stage = "dns"
    addresses = await caller.resolver.resolve(host, port)
    resolved = time.monotonic()
    caller.stage = "connect"
    sock, address = await _connect(addresses)
    reached = time.monotonic()
    phases = {"dns": resolved - started, "connect": reached - resolved}
    try:
        if tls is not None:
            caller.stage = "tls"
        reader, writer = await asyncio.open_connection(
            sock=sock, ssl=tls, server_hostname=(server_name or host) if tls is not None else None
        )
    except BaseException:
        sock.close()
        raise
    if tls is not None:
        phases["tls"] = time.monotonic() - reached
    stream = Stream(reader, writer, address, caller, phases)
    try:
        yield stream
    finally:
        stream.close()


@asynccontextmanager
async def connected_to_path(path: str, caller: Caller) -> AsyncIterator[Stream]:
    """A connection to the Unix socket `path`, closed afterwards whatever happens."""
    started = time.monotonic()
    caller.stage = "connect"
    reader, writer = await asyncio.open_unix_connection(path)
    stream = Stream(reader, writer, path, caller, {"connect": time.monotonic() - started})
    try:
        _refuse_unconnected(writer)
        yield stream
    finally:
        stream.close()


def _refuse_unconnected(writer: asyncio.StreamWriter) -> None:
    """A Unix socket whose queue is full says "try again", which asyncio takes for a connection that came about."""
    try:
        writer.get_extra_info("socket").getpeername()
    except OSError:
        raise BlockingIOError(errno.EAGAIN, "it takes no more connections") from None


async def _connect(addresses: list[Address]) -> tuple[socket.socket, str]:
    error: OSError | None = None
    for number, (family, place) in enumerate(addresses, start=1):
        is_last = number == len(addresses)
        try:
            async with asyncio.timeout(None if is_last else NEXT_ADDRESS_AFTER):
                return await _connect_to(family, place), place[0]
        except OSError as failure:  # TimeoutError is one
            error = failure
    raise error or OSError("the name has no address")


async def _connect_to(family: int, place: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, place)
    except BaseException:
        sock.close()
        raise
    return sock
