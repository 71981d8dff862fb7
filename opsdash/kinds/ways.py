"""By which way a request reaches its target: straight, over a kept connection, through a proxy, by HTTP/2.

The straight way with a new connection for each request is the default, and the only one that sees what a
new user would see. Nothing chooses another one but the author: no environment variable is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from opsdash.kinds.keeping import Keep, fetch_kept
from opsdash.kinds.tls import client_context
from opsdash.kinds.transport import Caller, Request, Response, fetch

if TYPE_CHECKING:
    from opsdash.kinds.keeping import Connection

_SOCKS: Final = frozenset({"socks5", "socks5h"})
_SOCKS_PORT: Final = 1080
_HTTP_PORT: Final = 80


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy. scheme: http or socks5. login: name and password, in UTF-8."""

    scheme: str
    host: str
    port: int
    login: tuple[bytes, bytes] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_proxy(url: str) -> Proxy:
    """Raises ValueError, with a sentence for the author that does not repeat the password."""
    scheme, _, rest = url.partition("://")
    if scheme not in {"http", *_SOCKS}:
        raise ValueError("no proxy opsdash can use; write http://host:port, or socks5://host:port")
    userinfo, _, place = rest.rpartition("@")
    try:
        parts = urlsplit(f"//{place}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or place.rstrip("/") != parts.netloc or any(character <= " " for character in place):
        raise ValueError("no proxy is named there; write http://host:port, or http://user:password@host:port")
    if scheme in _SOCKS and find_spec("socksio") is None:
        raise ValueError(
            "SOCKS needs the package socksio, which is not installed; install it with: pip install 'opsdash[socks]'"
        )
    user, _, password = userinfo.partition(":")
    return Proxy(
        scheme="socks5" if scheme in _SOCKS else "http",
        host=host,
        port=port or (_SOCKS_PORT if scheme in _SOCKS else _HTTP_PORT),
        login=(unquote(user).encode(), unquote(password).encode()) if userinfo else None,
    )


def check_http2() -> None:
    """Raises ValueError, with a sentence for the author, where HTTP/2 cannot be spoken."""
    if find_spec("h2") is None:
        raise ValueError(
            "HTTP/2 needs the package h2, which is not installed; install it with: pip install 'opsdash[http2]'"
        )


@dataclass(frozen=True, slots=True)
class Way:
    """keep: where connections are kept from run to run.  lasting: whether the author wants them to be."""

    proxy: Proxy | None = None
    http2: bool = False
    lasting: bool = False
    keep: Keep | None = None

    async def send(self, request: Request, caller: Caller) -> Response:
        """One exchange. Raises one of `failures.FAILURES`."""
        through = self.proxy is not None or self.http2
        if not through and not self.lasting:
            return await fetch(request, caller)
        target = request.target
        alpn = (("http/1.1", "h2") if self.http2 else ("http/1.1",)) if through else ()
        context = client_context(request.tls, alpn=alpn) if target.tls else None
        key = (context, target.host, target.port)

        def connect() -> Connection:
            if through:
                from opsdash.kinds.transport_httpcore import PooledConnection

                return PooledConnection(key, context, self.proxy, http2=self.http2)
            from opsdash.kinds.transport_kept import KeptConnection

            return KeptConnection(key, context)

        return await fetch_kept(request, caller, self.keep, key, connect)

    def elsewhere(self) -> Way:
        """The way to another origin, which is not what the author wanted kept."""
        return replace(self, lasting=False, keep=None)


STRAIGHT: Final = Way()
