"""An exchange of our own transport over a connection that stays open for the next one.

What an answer has to be for that: complete, framed by itself and not by the end of the connection, nothing
behind it, and the server content to go on (`Connection`, RFC 9112 section 9.3). llhttp knows the last.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opsdash.kinds.transport import Caller, Exchange, Request, Response

if TYPE_CHECKING:
    from opsdash.kinds.resolver import Address


@dataclass(frozen=True, slots=True)
class _Line:
    """An open connection, and what was learned when it was made."""

    sock: Any
    address: Address
    certificate: bytes | None
    tls_version: str | None


class KeptConnection:
    """See `keeping.Connection`."""

    __slots__ = ("_context", "_line", "heard", "key")

    def __init__(self, key: object, context: ssl.SSLContext | None) -> None:
        self.key = key
        self._context = context
        self._line: _Line | None = None
        self.heard = False

    @property
    def lasting(self) -> bool:
        return self._line is not None

    def is_quiet(self) -> bool:
        if self._line is None:
            return False
        try:
            self._line.sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    async def exchange(self, request: Request, caller: Caller, started: float) -> Response:
        line, self._line = self._line, None
        self.heard = False
        target = request.target
        if line is None:
            caller.stage = "dns"
            addresses = await caller.resolver.resolve(target.host, target.port)
        else:
            addresses = [line.address]
        exchange = _LastingExchange(request, addresses, self._context, caller, started)
        try:
            if line is None:
                exchange.connect()
            else:
                exchange.go_on(line)
            await exchange.done
            response = exchange.response()
            self._line = exchange.hand_over()
            return response
        finally:
            self.heard = exchange.heard
            exchange.close()

    async def aclose(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.sock.close()


class _LastingExchange(Exchange):
    __slots__ = ("_goes_on", "_more")

    def __init__(
        self,
        request: Request,
        addresses: list[Address],
        context: ssl.SSLContext | None,
        caller: Caller,
        started: float,
    ) -> None:
        super().__init__(request, addresses, context, caller, started)
        self._goes_on = self._more = False

    @property
    def heard(self) -> bool:
        return self._t_first > 0

    def go_on(self, line: _Line) -> None:
        """Begin on a connection that is there: no lookup, no connecting, no handshake."""
        self._place = 1
        self._sock = line.sock
        self._fd = line.sock.fileno()
        self._certificate = line.certificate
        self._tls_version = line.tls_version
        self._t_resolved = self._t_connected = self._t_secured = self._t_started
        try:
            self._start_sending()
        except ssl.SSLWantReadError:
            self._want_read()
        except ssl.SSLWantWriteError:
            self._want_write()

    def on_message_begin(self) -> None:
        """Called by the parser: for interim answers, the answer, and whatever comes behind it."""
        self._more = self.complete

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._ask_whether_it_goes_on()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._ask_whether_it_goes_on()

    def _ask_whether_it_goes_on(self) -> None:
        if self.complete and not self._more:
            self._goes_on = self._parser.should_keep_alive()

    def hand_over(self) -> _Line | None:
        """The connection, which is no longer ours then; None if no other exchange can follow on it."""
        if not (self.complete and self._goes_on) or self._more or self._truncated or self._sock is None:
            return None
        self._want_nothing()
        sock, self._sock = self._sock, None
        return _Line(sock, self._addresses[self._place - 1], self._certificate, self._tls_version)
