"""One HTTP/1.1 exchange over a new connection: name, connect, TLS, first byte and body, each of them timed.

A new connection each time, because a kept one hides changes of name, certificate and load balancer, and
goes on talking to the old server after a switch. Nothing is shared between exchanges but the TLS context:
no pool, no cookies, no settings from the environment.

An exchange works on a non-blocking socket with the loop's `add_reader` and `add_writer`, and needs one
future and no task. That is half the processor time of an asyncio transport with protocol (0.08 against 0.16
ms, most of the rest being system calls), and keeps in one place what has to be released when a check is
cancelled at its deadline. HTTP itself is parsed by httptools (llhttp), which is strict.

The peer is hostile until proven otherwise. Whatever it does, an exchange holds at most `max_body` bytes of
decoded body (a gzip stream is unpacked by `zlib` with a limit, never whole), `MAX_HEADERS` lines and
`MAX_HEADER_BYTES` of headers. More body than that is cut and flagged; more headers are an error. How long
it may take is the caller's decision alone: it cancels, and everything is closed. There is no time limit in
here that could be dripped past.

Errors are those of the system (`ConnectionRefusedError`, `socket.gaierror`, `ssl.SSLError`, …) and
`ProtocolError`; `opsdash.kinds.failures` says what they mean.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import ssl
import time
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote, urlsplit

import httptools

from opsdash import __version__
from opsdash.kinds.failures import ProtocolError, TooLargeError
from opsdash.kinds.tls import VERIFIED, TlsSettings, client_context
from opsdash.kinds.unpacking import Unpacker

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opsdash.kinds.resolver import Address, Resolver

MAX_BODY: Final = 1 << 20
MAX_HEADERS: Final = 200
MAX_HEADER_BYTES: Final = 64 * 1024
NEXT_ADDRESS_AFTER: Final = 1.0
"""Seconds after which the next address is tried, if there is one. A refusal leads there at once."""

TOO_MANY_HEADERS: Final = f"sent more than {MAX_HEADERS} headers, or {MAX_HEADER_BYTES // 1024} KiB of them"
_CHUNK: Final = 64 * 1024
_CONNECTING: Final = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR, errno.EALREADY})

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
OWN_HEADERS: Final = frozenset({"content-length", "transfer-encoding", "connection", "accept-encoding", "te"})
"""Headers that the transport sets by itself, and nobody else."""
USER_AGENT: Final = f"opsdash/{__version__}"


class Caller(Protocol):
    """Who asks for an exchange: the context of a check or of an action."""

    stage: str

    @property
    def resolver(self) -> Resolver: ...


# --- request -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """A URL, taken apart. `authority` is what the Host header says, `path` includes the query."""

    url: str
    tls: bool
    host: str
    port: int
    authority: str
    path: str


def parse_url(url: str) -> Target:
    """Raises ValueError, with a sentence for the author, for what is no http or https URL."""
    if any(character <= " " or character == "\x7f" for character in url):
        raise ValueError(f"{url!r} contains a space or control character; write it as %20 or the like")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        raise ValueError(f"{url!r} is no URL opsdash can fetch; it must begin with http:// or https://")
    if not parts.hostname:
        raise ValueError(f"{url!r} names no host")
    if parts.hostname.startswith("."):
        raise ValueError(f"{url!r} names a host that begins with a dot")
    if "@" in parts.netloc:
        raise ValueError("the URL carries credentials; put them under `auth`, where they are masked")
    tls = parts.scheme == "https"
    standard = 443 if tls else 80
    port = standard if parts.port is None else parts.port
    host = _ascii_host(parts.hostname)
    shown = f"[{host}]" if ":" in host else host
    path = quote(parts.path or "/", safe="/%:=&~+!$,;'@()*")
    if parts.query:
        path += "?" + quote(parts.query, safe="/%:=&?~+!$,;'@()*[]|")
    authority = shown if port == standard else f"{shown}:{port}"
    return Target(url=url, tls=tls, host=host, port=port, authority=authority, path=path)


def _ascii_host(host: str) -> str:
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"{host!r} is no possible host name: {error}") from None


@dataclass(frozen=True, slots=True)
class Request:
    """A request, and how it goes over the wire. Made once by `build_request`, sent any number of times."""

    target: Target
    method: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)  # the author's; credentials are in them
    body: bytes = field(repr=False)
    wire: bytes = field(repr=False)
    max_body: int = MAX_BODY
    tls: TlsSettings = VERIFIED


def build_request(
    method: str,
    target: Target,
    *,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    max_body: int = MAX_BODY,
    tls: TlsSettings = VERIFIED,
    keep: bool = False,
) -> Request:
    """Put a request together. Raises ValueError for a method or header that HTTP does not allow.

    keep: whether to ask the server to leave the connection open.
    """
    if not _TOKEN.fullmatch(method):
        raise ValueError(f"{method!r} is no HTTP method")
    lines = {
        "host": ("Host", target.authority),
        "user-agent": ("User-Agent", USER_AGENT),
        "accept": ("Accept", "*/*"),
    }
    headers = tuple(headers)
    for name, value in headers:
        check_header(name, value)
        lines[name.lower()] = (name, value)
    if body or method in {"POST", "PUT", "PATCH"}:
        lines["content-length"] = ("Content-Length", str(len(body)))
    lines["accept-encoding"] = ("Accept-Encoding", "gzip")
    lines["connection"] = ("Connection", "keep-alive" if keep else "close")
    head = [f"{method} {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.values())]
    wire = "\r\n".join([*head, "", ""]).encode("utf-8") + body
    return Request(target=target, method=method, headers=headers, body=body, wire=wire, max_body=max_body, tls=tls)


def check_header(name: str, value: str) -> None:
    """Raises ValueError for a header that cannot be sent, or that is the transport's own business."""
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is no possible name of a header")
    if name.lower() in OWN_HEADERS:
        raise ValueError(f"the header {name} is set by opsdash itself; remove it")
    if any(character in "\r\n\0" for character in value):
        raise ValueError(f"the value of header {name} contains a line break or a null character")


# --- response ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Response:
    """What came back.

    headers: as sent, in order. Use `header` and `header_map`.
    body: decoded, and no longer than the request's `max_body`; `truncated` says that there was more.
    encoding: a content encoding that was sent although nobody asked for it; `body` is then still encoded.
    phases: seconds for dns, connect, tls, first_byte (of waiting for it) and body; latency: the whole.
    certificate: of the peer, in DER; None without TLS. address: where the connection went.
    url: what answered, which after redirects is not what was asked.
    """

    url: str
    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    truncated: bool
    encoding: str | None
    http_version: str
    phases: dict[str, float]
    latency: float
    address: str
    certificate: bytes | None = None
    tls_version: str | None = None

    def header(self, name: str) -> str | None:
        """The value of header `name`; of several lines, joined with commas as RFC 9110 section 5.3 allows."""
        wanted = name.lower().encode("ascii")
        found = [value for key, value in self.headers if key.lower() == wanted]
        return b", ".join(found).decode("latin-1") if found else None

    def header_map(self) -> dict[str, str]:
        """All headers, with names in lower case."""
        found: dict[str, str] = {}
        for key, value in self.headers:
            name, text = key.decode("latin-1").lower(), value.decode("latin-1")
            found[name] = f"{found[name]}, {text}" if name in found else text
        return found


async def fetch(request: Request, caller: Caller) -> Response:
    """Send `request` over a new connection and read the whole answer."""
    started = time.monotonic()
    target = request.target
    caller.stage = "dns"
    context = client_context(request.tls) if target.tls else None
    addresses = await caller.resolver.resolve(target.host, target.port)
    exchange = Exchange(request, addresses, context, caller, started)
    try:
        exchange.connect()
        await exchange.done
    finally:
        exchange.close()
    return exchange.response()


class _Step(IntEnum):
    CONNECT = 0
    HANDSHAKE = 1
    SEND = 2
    RECEIVE = 3
    CLOSED = 4


class Exchange(Unpacker):
    """The state of one exchange. `_on_ready` is its only way in from the loop, and `close` its only end."""

    __slots__ = (
        "_addresses",
        "_caller",
        "_certificate",
        "_context",
        "_fd",
        "_framed",
        "_give_up",
        "_head_room",
        "_header_bytes",
        "_headers",
        "_headers_done",
        "_http_version",
        "_informational",
        "_loop",
        "_parser",
        "_pending",
        "_place",
        "_reading",
        "_request",
        "_sock",
        "_status",
        "_step",
        "_t_connected",
        "_t_end",
        "_t_first",
        "_t_resolved",
        "_t_secured",
        "_t_sent",
        "_t_started",
        "_tls_version",
        "_wire_room",
        "_writing",
        "complete",
        "done",
    )

    def __init__(
        self,
        request: Request,
        addresses: list[Address],
        context: ssl.SSLContext | None,
        caller: Caller,
        started: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._request = request
        self._addresses = addresses
        self._context = context
        self._caller = caller
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._step = _Step.CONNECT
        self._sock: Any = None
        self._fd = -1
        self._reading = self._writing = False
        self._give_up: asyncio.TimerHandle | None = None
        self._place = 0
        self._pending: memoryview | bytes = request.wire
        self._parser: Any = None
        self._certificate: bytes | None = None
        self._tls_version: str | None = None
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._header_bytes = 0
        self._headers_done = self._informational = self._framed = self.complete = self._truncated = False
        self._encoding: str | None = None
        self._decoder: Any = None
        self._parts: list[bytes] = []
        self._room = request.max_body
        self._head_room = MAX_HEADER_BYTES
        self._http_version = ""
        # Chunk framing and compressed data that unpacks to nothing never count as body: this stops them.
        self._wire_room = 8 * request.max_body + MAX_HEADER_BYTES
        self._t_started = started
        self._t_resolved = time.monotonic()
        self._t_connected = self._t_secured = self._t_sent = self._t_first = self._t_end = 0.0

    # --- connecting

    def connect(self) -> None:
        """Start with the first address, or go on with the next."""
        error = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        while self._place < len(self._addresses):
            family, place = self._addresses[self._place]
            self._place += 1
            try:
                connected = self._start_connecting(family, place)
            except OSError as failure:
                self._release()
                error = failure
                continue
            if connected:
                self._connected()
            else:
                self._await_connection()
            return
        raise error

    def _start_connecting(self, family: int, place: Any) -> bool:
        self._caller.stage = "connect"
        self._step = _Step.CONNECT
        sock = self._sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        self._fd = sock.fileno()
        code = sock.connect_ex(place)
        if code and code not in _CONNECTING:
            raise OSError(code, os.strerror(code))
        return not code or _is_connected(sock)

    def _await_connection(self) -> None:
        self._want_write()
        if self._place < len(self._addresses):
            self._give_up = self._loop.call_later(NEXT_ADDRESS_AFTER, self._on_too_slow)

    def _finish_connecting(self) -> None:
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not code:
            self._connected()
        elif self._place < len(self._addresses):
            self._try_next_address()
        else:
            raise OSError(code, os.strerror(code))

    def _try_next_address(self) -> None:
        self._release()
        self.connect()

    def _connected(self) -> None:
        if self._give_up is not None:
            self._give_up.cancel()
            self._give_up = None
        self._t_connected = self._t_secured = time.monotonic()
        if self._context is None:
            self._start_sending()
            return
        self._caller.stage = "tls"
        self._step = _Step.HANDSHAKE
        self._want_nothing()
        self._sock = self._context.wrap_socket(
            self._sock, server_hostname=self._request.target.host, do_handshake_on_connect=False
        )
        self._fd = self._sock.fileno()
        self._advance()

    def _shake_hands(self) -> None:
        self._sock.do_handshake()
        self._certificate = self._sock.getpeercert(binary_form=True)
        self._tls_version = self._sock.version()
        self._t_secured = time.monotonic()
        self._start_sending()

    # --- talking

    def _start_sending(self) -> None:
        self._caller.stage = "send"
        self._step = _Step.SEND
        self._send()

    def _send(self) -> None:
        try:
            sent = self._sock.send(self._pending)
        except BlockingIOError:
            self._want_write()
            return
        except (BrokenPipeError, ConnectionResetError):
            # It may have answered before it had read everything ("413"): its answer counts, if there is one.
            sent = len(self._pending)
        if sent < len(self._pending):
            self._pending = memoryview(self._pending)[sent:]
            self._want_write()
            return
        self._pending = b""
        self._t_sent = time.monotonic()
        self._caller.stage = "first_byte"
        self._step = _Step.RECEIVE
        self._parser = httptools.HttpResponseParser(self)
        self._want_read()

    def _receive(self) -> None:
        try:
            data = self._sock.recv(_CHUNK)
        except BlockingIOError:
            self._want_read()
            return
        if not data:
            self._at_end()
            return
        if not self._t_first:
            self._t_first = time.monotonic()
            self._caller.stage = "body"
        if not self._headers_done:
            self._head_room -= len(data)
        self._wire_room -= len(data)
        self._feed(data)
        if self._wire_room < 0:
            self._truncated = True
        elif self._head_room < 0 and not self._headers_done:
            # A header without an end never reaches `on_header`, nor do endless interim answers count there.
            raise TooLargeError(TOO_MANY_HEADERS)
        if self.complete or self._truncated:
            self._finish(None)

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None
        except httptools.HttpParserUpgrade:
            raise ProtocolError("switched to another protocol without being asked") from None
        except httptools.HttpParserError as error:
            if not self.complete:  # what follows a complete answer concerns nobody
                raise ProtocolError(f"no valid HTTP: {error}, in {_excerpt(data)}") from None

    def _at_end(self) -> None:
        if self._headers_done and not self._framed:
            self.complete = True
            self._finish(None)
        elif self._headers_done:
            raise ProtocolError("closed the connection in the middle of the body")
        elif self._t_first:
            raise ProtocolError("closed the connection in the middle of the headers")
        else:
            raise ProtocolError("closed the connection without an answer")

    # --- called by the parser, which goes on to whatever follows a complete answer

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.complete:
            return
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > MAX_HEADER_BYTES or len(self._headers) >= MAX_HEADERS:
            raise TooLargeError(TOO_MANY_HEADERS)
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        status = self._status = self._parser.get_status_code()
        self._informational = 100 <= status < 200
        if self._informational:
            return
        self._headers_done = True
        self._http_version = self._parser.get_http_version()
        for name, value in self._headers:
            key = name.lower()
            if key == b"content-length":
                self._framed = True
            elif key == b"transfer-encoding":
                self._framed = value.lower().endswith(b"chunked")
            elif key == b"content-encoding":
                self.choose_decoder(value.strip().lower())
        if self._request.method == "HEAD":
            self.complete = True

    def on_body(self, data: bytes) -> None:
        if self.complete or self._truncated:
            return
        if self._decoder is None:
            self._keep(data)
        else:
            self._decode(data)

    def on_message_complete(self) -> None:
        if self._informational:
            self._informational = False
            self._headers.clear()
        else:
            self.complete = True

    # --- the loop

    # An exception would be lost in the loop, and the caller left waiting: whoever awaits `done` gets it
    # instead.

    def _on_ready(self) -> None:
        try:
            self._advance()
        except Exception as error:  # noqa: BLE001
            self._finish(error)

    def _on_too_slow(self) -> None:
        try:
            self._try_next_address()
        except Exception as error:  # noqa: BLE001
            self._finish(error)

    def _advance(self) -> None:
        try:
            if self._step is _Step.RECEIVE:
                self._receive()
            elif self._step is _Step.CONNECT:
                self._finish_connecting()
            elif self._step is _Step.HANDSHAKE:
                self._shake_hands()
            elif self._step is _Step.SEND:
                self._send()
        except ssl.SSLWantReadError:
            self._want_read()
        except ssl.SSLWantWriteError:
            self._want_write()

    def _want_read(self) -> None:
        if self._writing:
            self._loop.remove_writer(self._fd)
            self._writing = False
        if not self._reading:
            self._loop.add_reader(self._fd, self._on_ready)
            self._reading = True

    def _want_write(self) -> None:
        if self._reading:
            self._loop.remove_reader(self._fd)
            self._reading = False
        if not self._writing:
            self._loop.add_writer(self._fd, self._on_ready)
            self._writing = True

    def _want_nothing(self) -> None:
        if self._reading:
            self._loop.remove_reader(self._fd)
        if self._writing:
            self._loop.remove_writer(self._fd)
        self._reading = self._writing = False

    def _finish(self, error: BaseException | None) -> None:
        self._t_end = time.monotonic()
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)

    def _release(self) -> None:
        """Let go of the socket, if there is one."""
        self._want_nothing()
        if self._give_up is not None:
            self._give_up.cancel()
            self._give_up = None
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def close(self) -> None:
        self._release()
        self._step = _Step.CLOSED
        self._parser = None  # it holds our methods, and would keep us until the next garbage collection

    def response(self) -> Response:
        """What was received; after `done`. Raises ProtocolError when compressed data is incomplete."""
        body = self.whole()
        phases = {
            "dns": self._t_resolved - self._t_started,
            "connect": self._t_connected - self._t_resolved,
            "tls": self._t_secured - self._t_connected,
            "first_byte": self._t_first - self._t_sent,
            "body": self._t_end - self._t_first,
        }
        return Response(
            url=self._request.target.url,
            status=self._status,
            headers=self._headers,
            body=body,
            truncated=self._truncated,
            encoding=self._encoding,
            http_version=self._http_version,
            phases=phases,
            latency=self._t_end - self._t_started,
            address=self._addresses[self._place - 1][1][0],
            certificate=self._certificate,
            tls_version=self._tls_version,
        )


def _is_connected(sock: socket.socket) -> bool:
    """A server on this machine has often accepted by now, which saves a round through the loop."""
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _excerpt(data: bytes) -> str:
    return ascii(data[:60].decode("latin-1"))
