"""What a check keeps from one run to the next: a connection, where its author says `connection: keep`.

Each check has a `Keep` of its own, which lives as long as its definition: whoever drops or redefines the
check closes it. A run *takes* what is in there, and is alone with it; it puts it back when the exchange
ended in good order, and closes it otherwise. So a run that is cancelled, or ends after its check, leaves
nothing behind.

A server may close a kept connection whenever it likes, and that says nothing of its health. What was closed
before the run is noticed, and opened anew. What was closed while the request was on its way can be told
from a failure by nobody: such a request is sent once more, over a new connection, if nothing of an answer
had come and if asking twice is harmless (GET, HEAD).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

from opsdash.kinds.failures import FAILURES

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.kinds.transport import Caller, Request, Response

ASKED_TWICE: Final = frozenset({"GET", "HEAD"})
"""Methods that a server takes twice without harm (RFC 9110 section 9.2.1)."""


class Connection(Protocol):
    """What carries one exchange after another to one place. It connects when the first is asked of it.

    key: what it was made for; equal keys can stand in for each other.
    heard: whether anything of an answer came in the latest exchange.
    lasting: whether another exchange can follow the latest one.
    """

    @property
    def key(self) -> object: ...
    @property
    def heard(self) -> bool: ...
    @property
    def lasting(self) -> bool: ...

    def is_quiet(self) -> bool:
        """Whether nothing came since the last exchange, the end of the connection included."""

    async def exchange(self, request: Request, caller: Caller, started: float) -> Response:
        """Send `request` and read the whole answer. started: when the run began, for its times."""

    async def aclose(self) -> None: ...


class Keep:
    """Room for one connection. Whoever gets one out of it, by `take` or `close`, is the one to close it."""

    __slots__ = ("_closed", "_kept")

    def __init__(self) -> None:
        self._kept: Connection | None = None
        self._closed = False

    def take(self) -> Connection | None:
        """What the run before has left, if it has."""
        kept, self._kept = self._kept, None
        return kept

    def put(self, connection: Connection) -> bool:
        """Leave a connection for the next run. False if there will be none, or another is there already."""
        if self._closed or self._kept is not None:
            return False
        self._kept = connection
        return True

    def close(self) -> Connection | None:
        """Keep nothing any more; what was kept."""
        self._closed = True
        return self.take()


async def fetch_kept(
    request: Request, caller: Caller, keep: Keep | None, key: object, connect: Callable[[], Connection]
) -> Response:
    """One exchange over what is kept, or over what `connect` makes. keep: None leaves nothing for later."""
    started = time.monotonic()
    kept = keep.take() if keep is not None else None
    if kept is not None:
        if kept.key == key and kept.is_quiet():
            try:
                return await _over(kept, request, caller, keep, started)
            except FAILURES:
                if kept.heard or request.method not in ASKED_TWICE:
                    raise
        else:
            await kept.aclose()
    return await _over(connect(), request, caller, keep, started)


async def _over(
    connection: Connection, request: Request, caller: Caller, keep: Keep | None, started: float
) -> Response:
    kept = False
    try:
        response = await connection.exchange(request, caller, started)
        kept = keep is not None and connection.lasting and keep.put(connection)
        return response
    finally:
        if not kept:
            await connection.aclose()
