"""Behaviours for `serve`: proxies of HTTP and SOCKS, and a server of HTTP/2."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import h2.config
import h2.connection
import h2.errors
import h2.events

if TYPE_CHECKING:
    import ssl
    from asyncio import StreamReader, StreamWriter
    from collections.abc import Callable


async def _pump(reader: StreamReader, writer: StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.close()


async def _join(reader: StreamReader, writer: StreamWriter, host: str, port: int, first: bytes = b"") -> None:
    """Pass on whatever comes from either side to the other."""
    far_reader, far_writer = await asyncio.open_connection(host, port)
    far_writer.write(first)
    try:
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
    finally:
        far_writer.transport.abort()


@dataclass
class HttpProxy:
    """CONNECT for https, absolute URLs for http. Whatever host is named, it goes to 127.0.0.1.

    login: who is let in.  answer: what CONNECT and GET get instead of being served.
    """

    login: str | None = None
    answer: bytes = b""

    async def __call__(self, server: Any, reader: StreamReader, writer: StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        server.requests.append(head)
        lines = head.decode("latin-1").split("\r\n")
        method, url, _ = lines[0].split(" ")
        if self.login is not None:
            wanted = "Proxy-Authorization: Basic " + base64.b64encode(self.login.encode()).decode()
            if wanted not in lines:
                writer.write(
                    b'HTTP/1.1 407 Who Are You\r\nProxy-Authenticate: Basic realm="p"\r\nContent-Length: 0\r\n\r\n'
                )
                return
        if self.answer:
            writer.write(self.answer)
            return
        place, _, path = url.removeprefix("http://").partition("/")
        port = int(place.rpartition(":")[2])
        if method == "CONNECT":
            try:
                joined = _join(reader, writer, "127.0.0.1", port)
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await joined
            except ConnectionRefusedError:
                writer.transport.abort()
            return
        passed = [line for line in lines[1:] if not line.lower().startswith("proxy-")]
        first = "\r\n".join([f"{method} /{path} HTTP/1.1", *passed]).encode("latin-1")
        await _join(reader, writer, "127.0.0.1", port, first)


@dataclass
class SocksProxy:
    """SOCKS 5 (RFC 1928), with user and password (RFC 1929) where `login` says so. reply: its answer to CONNECT."""

    login: tuple[bytes, bytes] | None = None
    reply: int = 0

    async def __call__(self, server: Any, reader: StreamReader, writer: StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        offered = await reader.readexactly(count)
        method = 2 if self.login else 0
        if method not in offered:
            writer.write(b"\x05\xff")
            return
        writer.write(bytes([5, method]))
        if self.login:
            _, length = await reader.readexactly(2)
            user = await reader.readexactly(length)
            password = await reader.readexactly((await reader.readexactly(1))[0])
            right = (user, password) == self.login
            writer.write(b"\x01\x00" if right else b"\x01\x01")
            if not right:
                return
        _, _, _, sort = await reader.readexactly(4)
        length = {1: 4, 4: 16}.get(sort) or (await reader.readexactly(1))[0]
        host = await reader.readexactly(length)
        (port,) = struct.unpack("!H", await reader.readexactly(2))
        server.requests.append(host)
        writer.write(bytes([5, self.reply, 0, 1]) + b"\0" * 6)
        if not self.reply:
            await _join(reader, writer, "127.0.0.1", port)


@dataclass
class Http2Server:
    """Speaks HTTP/2 where it is agreed upon. `react` is called with connection and stream for each whole request.

    requests: the headers of each, and its body.
    """

    react: Callable[[h2.connection.H2Connection, int], None]
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def __call__(self, server: Any, reader: StreamReader, writer: StreamWriter) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8", validate_outbound_headers=False)
        connection = h2.connection.H2Connection(config)
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        asked: dict[int, tuple[dict[str, str], bytes]] = {}
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    asked[event.stream_id] = ({str(name): str(value) for name, value in event.headers}, b"")
                elif isinstance(event, h2.events.DataReceived):
                    headers, body = asked[event.stream_id]
                    asked[event.stream_id] = (headers, body + event.data)
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    self.requests.append(asked[event.stream_id])
                    server.requests.append(b"")
                    self.react(connection, event.stream_id)
                if isinstance(event, h2.events.ConnectionTerminated):
                    return
            writer.write(connection.data_to_send())
            await writer.drain()
            if connection.state_machine.state is h2.connection.ConnectionState.CLOSED:
                return


def replying(
    body: bytes = b"ok", *, status: int = 200, headers: tuple[tuple[str, str], ...] = ()
) -> Callable[[h2.connection.H2Connection, int], None]:
    """The same answer for each request."""

    def react(connection: h2.connection.H2Connection, stream: int) -> None:
        connection.send_headers(stream, [(":status", str(status)), *headers])
        for start in range(0, len(body), 16384):
            connection.send_data(stream, body[start : start + 16384])
        connection.end_stream(stream)

    return react


def speaking_http2(context: ssl.SSLContext) -> ssl.SSLContext:
    """A server's context that prefers HTTP/2."""
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context
