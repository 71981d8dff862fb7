"""A connection to the engine, beneath its HTTP: who is at the other end, and how long we wait for what it has to say.

uvicorn's protocol reads a request's head however long it is and for as long as it takes. On the Unix socket the
sender is an account of this machine, which the kernel names; there the head is capped. On TCP it may be anybody, so
that a request must be complete within a time, too, and nothing that a stranger sends becomes a line of the log.
"""

from __future__ import annotations

import logging
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

    from uvicorn.config import Config
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
    from uvicorn.server import ServerState

LONGEST_HEAD = 32 * 1024
"""Bytes of a request's first line and headers."""

REQUEST_WITHIN = 10.0
"""Seconds from the first byte of a request, or from the connection, to its last byte. A job has little to say."""

_SO_PEERCRED = getattr(socket, "SO_PEERCRED", None)
_LOCAL_PEERCRED = 0x001  # sys/un.h on macOS: a struct xucred at level 0

_quiet = logging.getLogger(f"{__name__}.strangers")
_quiet.setLevel(logging.ERROR)


class _Capped(HttpToolsProtocol):
    """A connection whose requests have heads of a limited length."""

    _head: int | None = 0
    """Bytes of the head so far; None while a body is read, or an answer is awaited."""

    def on_message_begin(self) -> None:
        self._head = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head = None
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head is not None and not self.transport.is_closing():
            self._head += len(data)
            if self._head > LONGEST_HEAD:
                self.send_400_response(f"The head of a request has at most {LONGEST_HEAD >> 10} KiB.")


class LocalProtocol(_Capped):
    """Notes the uid of whoever connects; uvicorn's scope has no client on a Unix socket."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        peer = transport.get_extra_info("socket")
        self.app_state = {**self.app_state, "uid": peer_uid(peer) if peer is not None else None}
        super().connection_made(transport)


def peer_uid(connection: Any) -> int | None:
    """The account at the other end of a Unix socket; None where the kernel does not tell."""
    try:
        if _SO_PEERCRED is not None:
            raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERCRED, struct.calcsize("3i"))
            return int(struct.unpack("3i", raw)[1])
        if sys.platform == "darwin":
            raw = connection.getsockopt(0, _LOCAL_PEERCRED, struct.calcsize("2I"))
            return int(struct.unpack("2I", raw)[1])
    except OSError:
        return None
    return None


class Guests(Protocol):
    """Whoever keeps count of the connections from the network."""

    def came(self, guest: NetworkProtocol) -> None:
        """A connection was made."""

    def showed_token(self, guest: NetworkProtocol) -> None:
        """A request on it had the token."""

    def left(self, guest: NetworkProtocol) -> None:
        """It is gone."""


class NetworkProtocol(_Capped):
    """A connection from the network. Requests find it in their state as `guest`."""

    def __init__(self, guests: Guests, config: Config, server_state: ServerState) -> None:
        super().__init__(config=config, server_state=server_state, app_state={"guest": self})
        self.logger = _quiet
        self._guests = guests
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._guests.came(self)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        self._guests.left(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # before the parser sees it: an empty line begins no message, and would be time for free
        cycle: RequestResponseCycle | None = self.cycle
        if self._deadline is None and (cycle is None or cycle.response_complete):
            self._expect()
        super().data_received(data)

    def on_message_complete(self) -> None:
        self._expect_nothing()
        super().on_message_complete()

    def showed_token(self) -> None:
        """A request on this connection had the token."""
        self._guests.showed_token(self)

    def abort(self) -> None:
        """End the connection without a word."""
        self.transport.abort()

    def _expect(self) -> None:
        self._deadline = self.loop.call_later(REQUEST_WITHIN, self.abort)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
