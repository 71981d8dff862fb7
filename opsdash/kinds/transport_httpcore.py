"""Through a proxy, or by HTTP/2: exchanges that httpcore makes, the library below httpx.

It is given what our own transport does by itself, so that a check sees no difference:

* names are looked up by the one resolver of all kinds, and it connects to addresses only. Its own lookup would
  run on asyncio's default executor, where a few names that hang starve all others;
* the raw body, unpacked with a limit, and a limit for all that is read, whatever it unpacks to;
* times, from its trace events. It tells nothing of the name lookup, which is ours anyway;
* errors: those of the system, dug out of what it wraps around them. What it lets fly besides is what h11, h2 or
  socksio did not expect of the other side.

It sends a request a second time by itself in one case alone: a server of HTTP/2 that ends a kept connection says
that it has not looked at it (RFC 9113 section 6.8).

The times of a proxy's name and of connecting to it, and of the tunnel that it opens, are `dns` and `connect`.
"""

from __future__ import annotations

import ssl
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, NoReturn

import httpcore

from opsdash.errors import OpsdashError
from opsdash.kinds.failures import (
    ProtocolError,
    ProxyFailedError,
    RejectedError,
    TooLargeError,
    UnansweredError,
    UnreachedError,
)
from opsdash.kinds.transport import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    NEXT_ADDRESS_AFTER,
    TOO_MANY_HEADERS,
    Caller,
    Request,
    Response,
)
from opsdash.kinds.unpacking import Unpacker

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opsdash.kinds.ways import Proxy

_NOT_ADMITTED: Final = frozenset({"401", "403", "407"})
_UNREACHED: Final = frozenset({"502", "503"})
_SOCKS_UNREACHED: Final = ("Connection refused", "Host unreachable", "Network unreachable")
_STAGES_OF_THE_PROXY: Final = frozenset({"proxy", "tunnel"})
_NO_ERRORS: Final = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


class PooledConnection:
    """See `keeping.Connection`. A pool of httpcore's that never holds more than one connection."""

    __slots__ = ("_backend", "_pool", "_proxy", "heard", "key", "lasting")

    def __init__(self, key: object, context: ssl.SSLContext | None, proxy: Proxy | None, *, http2: bool) -> None:
        self.key = key
        self.heard = self.lasting = False
        self._proxy = proxy
        self._backend = _Backend()
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            proxy=_proxy_of(proxy),
            max_connections=1,
            http2=http2,
            network_backend=self._backend,
        )

    def is_quiet(self) -> bool:
        return self._backend.is_quiet()

    async def exchange(self, request: Request, caller: Caller, started: float) -> Response:
        course = self._backend.course = _Course(request, caller, self._proxy, started)
        self.lasting = False
        body = Unpacker(request.max_body)
        try:
            answer = await self._pool.handle_async_request(_asked(request, course))
            try:
                self._read_head(answer, body)
                await self._read_body(answer, body)
            finally:
                await answer.aclose()
        except Exception as error:  # noqa: BLE001 - the last point of the module's docstring
            course.fail(error)
        finally:
            self.heard = course.heard
        response = _response(request, course, answer, body, self._backend.address)
        self.lasting = not body.truncated
        return response

    @staticmethod
    def _read_head(answer: httpcore.Response, body: Unpacker) -> None:
        size = sum(len(name) + len(value) + 4 for name, value in answer.headers)
        if len(answer.headers) > MAX_HEADERS or size > MAX_HEADER_BYTES:
            raise TooLargeError(TOO_MANY_HEADERS)
        for name, value in answer.headers:
            if name.lower() == b"content-encoding":
                body.choose_decoder(value.strip().lower())

    @staticmethod
    async def _read_body(answer: httpcore.Response, body: Unpacker) -> None:
        stream: Any = answer.stream
        try:
            async with aclosing(aiter(stream)) as pieces:
                async for piece in pieces:
                    body.take(piece)
                    if body.truncated:
                        return
        except TooLargeError:
            body.cut()

    async def aclose(self) -> None:
        try:
            await self._pool.aclose()
        finally:
            await self._backend.aclose()


def _proxy_of(proxy: Proxy | None) -> httpcore.Proxy | None:
    if proxy is None:
        return None
    url = httpcore.URL(scheme=proxy.scheme, host=proxy.host, port=proxy.port, target="")
    return httpcore.Proxy(url, auth=proxy.login)


def _asked(request: Request, course: _Course) -> httpcore.Request:
    target = request.target
    head = request.wire[: len(request.wire) - len(request.body)].split(b"\r\n")
    headers = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in head[1:]) if name]
    return httpcore.Request(
        request.method,
        httpcore.URL(scheme="https" if target.tls else "http", host=target.host, port=target.port, target=target.path),
        # What becomes of the connection is not the request's business, and HTTP/2 has no such header.
        headers=[pair for pair in headers if pair[0] != b"Connection"],
        content=request.body,
        extensions={"trace": course.trace},
    )


def _response(request: Request, course: _Course, answer: httpcore.Response, body: Unpacker, address: str) -> Response:
    stream = answer.extensions["network_stream"]
    tls = stream.get_extra_info("ssl_object")
    ended = time.monotonic()
    return Response(
        url=request.target.url,
        status=answer.status,
        headers=answer.headers,
        body=body.whole(),
        truncated=body.truncated,
        encoding=body.encoding,
        http_version=answer.extensions["http_version"].decode("ascii", "replace").removeprefix("HTTP/"),
        phases=course.phases(ended),
        latency=ended - course.started,
        address=address,
        certificate=None if tls is None else tls.getpeercert(binary_form=True),
        tls_version=None if tls is None else tls.version(),
    )


# --- one exchange --------------------------------------------------------------------------------------------------


class _Course:
    """What happens in one exchange, and when. Told by `trace` and by the backend."""

    def __init__(self, request: Request, caller: Caller, proxy: Proxy | None, started: float) -> None:
        self.caller = caller
        self.proxy = proxy
        self.heard = False
        # As in `transport`: whatever never counts as body counts here.
        self._wire_room = 8 * request.max_body + 2 * MAX_HEADER_BYTES
        self._connected = self._is_tunnel = self._is_http2 = False
        self.started = started
        self._resolved = self._tls_from = self._secured = self._ready = self._sent = self._first = 0.0

    # --- told by the backend

    async def resolve(self, host: str, port: int) -> list[str]:
        """Addresses to connect to."""
        self._connected = True
        self.caller.stage = "dns" if self.proxy is None else "proxy"
        found = await self.caller.resolver.resolve(host, port)
        self._resolved = time.monotonic()
        if self.proxy is None:
            self.caller.stage = "connect"
        return [place[0] for _, place in found]

    def received(self, count: int) -> None:
        """Raises TooLargeError when it was more than an answer can be worth."""
        # What comes by HTTP/2 before an answer may be about the connection alone.
        if count and self._sent and not self._is_http2:
            self.heard = True
        self._wire_room -= count
        if self._wire_room < 0:
            raise TooLargeError("sent much more than its answer needs")

    # --- told by httpcore

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """One of httpcore's trace events (https://www.encode.io/httpcore/extensions/)."""
        layer, _, step = event.partition(".")
        now = time.monotonic()
        if step == "send_request_headers.started":
            self._is_tunnel = info["request"].method == b"CONNECT"
            self._is_http2 = layer == "http2"
            if self._is_tunnel:
                self.caller.stage = "tunnel"
            else:
                self._ready = now
                self.caller.stage = "send"
        elif step == "setup_socks5_connection.started":
            self.caller.stage = "tunnel"
        elif step == "start_tls.started":
            self._tls_from = now
            self.caller.stage = "tls"
        elif step == "start_tls.complete":
            self._secured = now
        elif self._is_tunnel:
            return
        elif step == "receive_response_headers.started":
            self._sent = now
            self.caller.stage = "first_byte"
        elif step == "receive_response_headers.complete":
            self.heard = True
            self._first = now
            self.caller.stage = "body"

    def phases(self, ended: float) -> dict[str, float]:
        """Seconds by phase; there were no lookup, connecting and handshake on a connection that was kept."""
        connecting = (self._tls_from or self._ready) - self._resolved
        return {
            "dns": self._resolved - self.started if self._connected else 0.0,
            "connect": connecting if self._connected else 0.0,
            "tls": self._secured - self._tls_from,
            "first_byte": self._first - self._sent,
            "body": ended - self._first,
        }

    # --- what went wrong

    def fail(self, error: Exception) -> NoReturn:
        """Raises what `error` means."""
        if isinstance(error, httpcore.ProxyError):
            self._proxy_declined(str(error))
        native = _native(error)
        if self.proxy is not None and self.caller.stage in _STAGES_OF_THE_PROXY:
            raise ProxyFailedError(f"the proxy {self.proxy}") from native
        raise native from error

    def _proxy_declined(self, said: str) -> NoReturn:
        """A proxy that says no either cannot reach the target, or does not want to."""
        status = said[:3]
        if status == "504" or "TTL expired" in said:
            raise UnansweredError(f"the proxy {self.proxy} got no answer from it: {said}")
        if status in _UNREACHED or any(words in said for words in _SOCKS_UNREACHED):
            raise UnreachedError(f"the proxy {self.proxy} cannot reach it: {said}")
        admitted = status.isdigit() and status not in _NOT_ADMITTED
        native = ProtocolError(said) if admitted or "could not connect: General" in said else RejectedError(said)
        raise ProxyFailedError(f"the proxy {self.proxy}") from native


def _native(error: BaseException) -> Exception:
    """The error of the system in what was wrapped around it, else a ProtocolError."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OpsdashError):
            return inner
        if isinstance(inner, OSError) and inner.errno is not None and not isinstance(inner, _NO_ERRORS):
            return inner
        inner = inner.__cause__ or inner.__context__
    told = error.args[0] if error.args else None
    code = getattr(told, "error_code", None)
    if code is not None:  # an event of h2
        return ProtocolError(f"broke off the exchange: {type(told).__name__}, error code {code}")
    if "disconnected" in str(error):
        return ProtocolError("closed the connection without an answer")
    return ProtocolError(f"no valid HTTP: {type(error).__name__}: {str(error)[:200]}")


# --- the network ---------------------------------------------------------------------------------------------------


class _Backend(httpcore.AsyncNetworkBackend):
    """Connects to addresses that our resolver has found, and remembers the connection, to close it for certain:
    one that is given up during the TLS handshake is forgotten by httpcore.
    """

    def __init__(self) -> None:
        self.course: _Course
        self._under = httpcore.AnyIOBackend()
        self._connection: httpcore.AsyncNetworkStream | None = None
        self.address = ""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - of the interface, as what follows; we ask for neither
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self.course.resolve(host, port)
        for address in addresses[:-1]:
            try:
                return await self._connect(address, port, NEXT_ADDRESS_AFTER)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._connect(addresses[-1], port, timeout)

    async def _connect(self, address: str, port: int, timeout: float | None) -> httpcore.AsyncNetworkStream:
        self._connection = await self._under.connect_tcp(address, port, timeout)
        self.address = address
        return _Stream(self._connection, self)

    def is_quiet(self) -> bool:
        """Whether there is a connection, and nothing to be read from it."""
        return self._connection is not None and not self._connection.get_extra_info("is_readable")

    async def aclose(self) -> None:
        if self._connection is not None:
            await self._connection.aclose()


class _Stream(httpcore.AsyncNetworkStream):
    """A connection that counts what it receives."""

    def __init__(self, under: httpcore.AsyncNetworkStream, backend: _Backend) -> None:
        self._under = under
        self._backend = backend

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = await self._under.read(max_bytes, timeout)
        self._backend.course.received(len(data))
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._under.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._under.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._under.start_tls(ssl_context, server_hostname, timeout), self._backend)

    def get_extra_info(self, info: str) -> Any:
        return self._under.get_extra_info(info)
