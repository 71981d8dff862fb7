"""The engine's interface on TCP, for those who cannot reach its Unix socket: jobs that report, Prometheus, scripts.

It is there only when asked for. Everything needs the bearer token, except `GET /v1/healthz`, which tells nothing, and a
heartbeat's own URL. An answer to anybody else is always the same, and ends the connection; there is no delay, since 256
bits are not guessed, and whoever waits holds a connection.

Strangers must not slow down polling, nor the clients of the Unix socket. So connections are accepted one in a turn of
the event loop and a few hundred in a second; there are so many of them at most, in which a TLS handshake counts, and
the oldest that has not shown the token makes room for the next. The accepting is our own, since asyncio's servers
take whatever comes, and tell nobody of a connection before its handshake is over.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import ssl
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.server import ServerState

from opsdash.config.listening import Address
from opsdash.engine.tasks import cancel, spawn
from opsdash.errors import EngineError
from opsdash.service.protocol import NetworkProtocol
from opsdash.service.tokens import bearer_token, is_bearer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from pathlib import Path

    from opsdash.service.places import Places

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger(__name__)

MOST_GUESTS = 256
"""Connections at once, those in a TLS handshake among them."""

HANDSHAKE_WITHIN = 5.0
ACCEPT_PAUSE = 0.004
"""Seconds between two connections: a TLS handshake costs one millisecond or two, and this leaves time for the rest."""

WAITING = 128
"""Connections that wait in the kernel meanwhile."""

NO_DESCRIPTORS_PAUSE = 1.0
CERTIFICATE_EVERY = 60.0
"""Seconds between two looks whether the certificate was renewed."""

CLOSES_WITHIN = 1.0
GOODBYE_WITHIN = 2.0
"""Seconds for the other end to answer the end of TLS."""

OPEN_PATH = "/v1/healthz"
HEARTBEATS = "/v1/heartbeats/"
_BODY = b'{"error":"this needs the token of the engine, as Authorization: Bearer TOKEN"}'


@dataclass(frozen=True, slots=True)
class Listening:
    """Where to listen on TCP, and with which TLS. by_flag: the command line said so, not the file."""

    address: Address
    certificate: Path | None = None
    key: Path | None = None
    by_flag: bool = False


class Door:
    """A listening TCP socket, the token that it asks for, and whoever came in.

    Everything that can be wrong with it raises EngineError when it is made; nobody is let in before `serve`.
    """

    def __init__(self, listening: Listening, where: Places) -> None:
        self.listening = listening
        self.token_file = where.token
        self.token = bearer_token(where.token)
        self._context = None if listening.certificate is None else server_context(listening)
        self._files = _stamps(listening)
        self._socket = _bound(listening.address)
        host, port = self._socket.getsockname()[:2]
        self.address = Address(host, port)
        self._handshakes: dict[asyncio.Task[None], float] = {}
        self._strangers: dict[NetworkProtocol, float] = {}
        self._known: set[NetworkProtocol] = set()
        self._state = ServerState()
        self._tasks: list[asyncio.Task[None]] = []
        self._protocol: Callable[[], NetworkProtocol] | None = None

    @property
    def url(self) -> str:
        """Its address as a URL."""
        return f"{'http' if self._context is None else 'https'}://{self.address}"

    def about(self) -> dict[str, Any]:
        """What `opsdash engine status` tells of it. Nothing of it is secret."""
        certificate, key = self.listening.certificate, self.listening.key
        return {
            "url": self.url,
            "address": str(self.listening.address),
            "by_flag": self.listening.by_flag,
            "tls_certificate": None if certificate is None else str(certificate),
            "tls_key": None if key is None else str(key),
            "token_file": str(self.token_file),
            "connections": len(self._handshakes) + len(self._strangers) + len(self._known),
        }

    # --- serving -----------------------------------------------------------------------------------------------

    def serve(self, app: App, is_heartbeat: Callable[[str], bool]) -> None:
        """Let in whoever comes. is_heartbeat: whether what follows `/v1/heartbeats/` is one's own URL."""
        config = uvicorn.Config(
            gate(app, self.token, is_heartbeat),
            http=NetworkProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=5,
            server_header=False,
            date_header=False,
        )
        config.load()
        self._protocol = lambda: NetworkProtocol(self, config, self._state)
        self._tasks = [spawn(self._accept(), "network")]
        if self._context is not None:
            self._tasks.append(spawn(self._renew(self._context), "certificate"))

    async def close(self) -> None:
        """Let nobody in any more; end those who are there, who were told before."""
        await cancel(*self._tasks, *self._handshakes)
        self._socket.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=CLOSES_WITHIN)
        for guest in (*self._strangers, *self._known):
            guest.abort()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self._somebody_knocks()
                connection, _ = self._socket.accept()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    log.warning("nobody more can be let in on %s: %s", self.url, error.strerror)
                    await asyncio.sleep(NO_DESCRIPTORS_PAUSE)
                continue
            connection.setblocking(False)
            if self._make_room():
                task = spawn(self._welcome(connection), "guest")
                self._handshakes[task] = loop.time()
                task.add_done_callback(partial(self._welcomed, connection))
            else:
                connection.close()
            await asyncio.sleep(ACCEPT_PAUSE)

    async def _somebody_knocks(self) -> None:
        """Wait for a connection. It is accepted afterwards: `sock_accept` loses the one at which it is cancelled."""
        loop = asyncio.get_running_loop()
        knocked = asyncio.Event()
        loop.add_reader(self._socket, knocked.set)
        try:
            await knocked.wait()
        finally:
            loop.remove_reader(self._socket)

    def _welcomed(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        """Whoever was sent away before the handshake had even begun is still on the line."""
        self._handshakes.pop(task)
        if task.cancelled():
            connection.close()

    def _make_room(self) -> bool:
        """Whether there is room for one more, if need be in the place of the oldest who has not shown the token."""
        if len(self._handshakes) + len(self._strangers) + len(self._known) < MOST_GUESTS:
            return True
        oldest: list[tuple[float, Callable[[], object]]] = []
        for task, since in self._handshakes.items():
            oldest.append((since, task.cancel))
            break
        for guest, since in self._strangers.items():
            oldest.append((since, guest.abort))
            break
        if oldest:
            min(oldest, key=lambda each: each[0])[1]()
        return bool(oldest)

    async def _welcome(self, connection: socket.socket) -> None:
        """The handshake, if there is one; from then on the protocol serves."""
        if self._protocol is None:
            raise RuntimeError("nobody is let in before serve")
        tls: dict[str, Any] = {}
        if self._context is not None:
            tls = {"ssl_handshake_timeout": HANDSHAKE_WITHIN, "ssl_shutdown_timeout": GOODBYE_WITHIN}
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol, connection, ssl=self._context, **tls
            )
        except OSError:
            connection.close()

    async def _renew(self, context: ssl.SSLContext) -> None:
        """A certificate that was renewed is used from the next connection on; a broken one is told once."""
        while True:
            await asyncio.sleep(CERTIFICATE_EVERY)
            stamps = await asyncio.to_thread(_stamps, self.listening)
            if stamps == self._files:
                continue
            self._files = stamps
            try:
                await asyncio.to_thread(server_context, self.listening)  # whether certificate and key fit
                context.load_cert_chain(str(self.listening.certificate), str(self.listening.key), password=_none)
            except (EngineError, OSError) as error:
                log.warning("the certificate was not renewed, the former one stays in use: %s", error)
            else:
                log.info("the certificate %s was read again", self.listening.certificate)

    # --- who is there ------------------------------------------------------------------------------------------

    def came(self, guest: NetworkProtocol) -> None:
        """A connection was made."""
        self._strangers[guest] = asyncio.get_running_loop().time()

    def showed_token(self, guest: NetworkProtocol) -> None:
        """A request on it had the token."""
        if self._strangers.pop(guest, None) is not None:
            self._known.add(guest)

    def left(self, guest: NetworkProtocol) -> None:
        """It is gone."""
        self._strangers.pop(guest, None)
        self._known.discard(guest)


def gate(app: App, token: str, is_heartbeat: Callable[[str], bool]) -> App:
    """`app` for those who may: with the token everything, without it what needs none."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if is_bearer([value for name, value in scope["headers"] if name == b"authorization"], token):
            scope["state"]["guest"].showed_token()
            await app(scope, receive, send)
        elif _needs_no_token(scope, is_heartbeat):
            await app(scope, receive, _closing(send))
        else:
            await _refuse(send)

    return guarded


def _needs_no_token(scope: Scope, is_heartbeat: Callable[[str], bool]) -> bool:
    path: str = scope["path"]
    if path == OPEN_PATH:
        return scope["method"] in ("GET", "HEAD")
    return scope["method"] == "POST" and path.startswith(HEARTBEATS) and is_heartbeat(path.removeprefix(HEARTBEATS))


def _closing(send: Send) -> Send:
    """One request a connection: whoever has no token does not hold one."""

    async def closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
        await send(message)

    return closing


async def _refuse(send: Send) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(_BODY)).encode()),
        (b"www-authenticate", b'Bearer realm="opsdash"'),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": _BODY})


# --- what it is made of ------------------------------------------------------------------------------------------


def _bound(address: Address) -> socket.socket:
    """A listening socket. Raises EngineError."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        where = socket.getaddrinfo(address.host, address.port, family, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
        listening = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise EngineError(f"nobody can listen on {address}: {error.strerror}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where[0][4])
        listening.listen(WAITING)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise EngineError(f"nobody can listen on {address}: {_why(error)}") from error
    return listening


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use, by another engine or another program; free it, or choose another one"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address; `ip addr` lists those that it has"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "this account may not use that port; choose one above 1023"
    return error.strerror or str(error)


def server_context(listening: Listening) -> ssl.SSLContext:
    """TLS 1.2 or newer with our certificate. Raises EngineError, which names the file that is at fault."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    for file in (listening.certificate, listening.key):
        try:
            with open(str(file), "rb"):  # noqa: PTH123 - OpenSSL would not say which of the two it could not read
                pass
        except OSError as error:
            raise EngineError(f"TLS: {file} cannot be read: {error.strerror}") from error
    try:
        ssl.create_default_context(cafile=str(listening.certificate))
    except (ssl.SSLError, OSError) as error:
        raise EngineError(f"TLS: {listening.certificate} holds no certificate in PEM form") from error
    try:
        context.load_cert_chain(str(listening.certificate), str(listening.key), password=_none)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            text = f"TLS: the key in {listening.key} is not that of the certificate in {listening.certificate}"
        else:
            text = f"TLS: {listening.key} holds no usable key in PEM form; it must not be encrypted"
        raise EngineError(text) from error
    return context


def _none() -> str:
    """The password of an encrypted key: OpenSSL would otherwise ask for it on the terminal."""
    return ""


def _stamps(listening: Listening) -> tuple[tuple[int, int, int] | None, ...]:
    """What tells whether certificate and key have changed."""

    def stamp(file: Path | None) -> tuple[int, int, int] | None:
        try:
            found = os.stat(str(file))  # noqa: PTH116 - may be None, which is no file either
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_size, found.st_ino)

    return stamp(listening.certificate), stamp(listening.key)
