"""Redis's protocol (RESP2) as a client: one question, one answer, for whatever talks to Redis or a sentinel.

Not redis-py, because an action has to know the very moment in which a command leaves, and because that library sends
some commands again by itself when a connection breaks: to it a failover is one of them. What is left of the protocol
then is one page: commands go out as lists of byte strings, replies are lines, sized strings and lists of these.

What answers is not trusted. A reply is limited in bytes and in depth, sizes are believed only as far as that limit,
and anything that is no RESP2 is a ProtocolError. Time is limited by the caller (`asyncio.timeout` around it all): a
server that sends a byte now and then would outlive any limit on single steps.
"""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from pydantic import AfterValidator, Field, SecretStr, model_validator

from opsdash.kinds.base import StrictOptions
from opsdash.kinds.failures import ProtocolError, RejectedError, TooLargeError
from opsdash.kinds.streams import Stream, connected
from opsdash.kinds.tls import TlsSettings, client_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import Self

    from opsdash.kinds.transport import Caller

MAX_REPLY: Final = 64 * 1024
MAX_DEPTH: Final = 8
MAX_ELEMENTS: Final = 10_000
"""Of all lists of a reply together: reading them holds the event loop for as long as it takes, some 50 ms."""
SHOWN: Final = 200

_NUMBER: Final = re.compile(rb"[+-]?\d{1,19}")
_HOST: Final = re.compile(r"[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+(?:%\w+)?\]")
_SMALLEST_ELEMENT: Final = 3


# --- where to, and how -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server listens. `name` is how its author wrote it."""

    name: str
    host: str
    port: int


@lru_cache(maxsize=1024)
def parse_place(text: str) -> Place:
    """`host:port`, `[::1]:6379`. Raises ValueError with a sentence for the author."""
    host, colon, port = text.rpartition(":")
    if not colon or not _HOST.fullmatch(host) or not re.fullmatch(r"[0-9]{1,5}", port):
        raise ValueError(f"{text!r} is no address of a server; write host:port, such as redis-a:6379")
    if not 0 < int(port) < 65536:
        raise ValueError(f"there is no port {port}")
    return Place(text, host.strip("[]"), int(port))


def place_name(host: str, port: int) -> str:
    """The same the other way round."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_a_place(text: str) -> str:
    parse_place(text)
    return text


PlaceName = Annotated[str, AfterValidator(_is_a_place)]
"""An option that is the address of a server: `host:port`."""


class Credentials(StrictOptions):
    """What AUTH is given."""

    user: str | None = Field(default=None, min_length=1)
    """Name of the user; without it the password is that of the default user (`requirepass`)."""
    password: SecretStr
    """The password; better a reference: `${NAME}`, `${file:PATH}` or `${cmd:ARGV}`."""


class ServerOptions(StrictOptions):
    """The keys that say how to talk to a server of Redis."""

    auth: Credentials | None = None
    """How to log in: `{user, password}`, or `{password}` alone for the default user."""
    tls: bool = False
    """Whether TLS is spoken from the first byte."""
    verify_tls: bool = True
    """Whether the server's certificate must be trusted and carry its name."""
    ca: Path | None = None
    """File with the certificate authorities to trust instead of the system's, relative to the workspace."""
    client_cert: Path | None = None
    """File with our own certificate, for a server that asks for one."""
    client_key: Path | None = None
    """File with its key, where that is not in the same file."""

    @model_validator(mode="after")
    def _tls_keys_agree(self) -> Self:
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("`client_key` without `client_cert`")
        if not self.tls and (self.ca is not None or self.client_cert is not None or not self.verify_tls):
            raise ValueError("`ca`, `client_cert` and `verify_tls` belong to TLS; add `tls: true`, or remove them")
        return self

    def way(self, workspace: Path) -> Way:
        """How to talk to the servers that `auth` is for."""
        return Way(self.auth, self._settings(workspace) if self.tls else None)

    def _settings(self, workspace: Path) -> TlsSettings:
        ca, certificate, key = (
            None if path is None else str(workspace / path) for path in (self.ca, self.client_cert, self.client_key)
        )
        return TlsSettings(verify=self.verify_tls, ca=ca, certificate=certificate, key=key)


@dataclass(frozen=True, slots=True)
class Way:
    """How to talk to a server: as whom, and whether by TLS."""

    login: Credentials | None = None
    tls: TlsSettings | None = None


# --- replies -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """`-CODE words`: the server's own no."""

    text: str

    @property
    def code(self) -> str:
        """The first word: ERR, NOAUTH, LOADING, …"""
        return self.text.partition(" ")[0]


Reply: TypeAlias = "str | int | ErrorReply | list[Reply] | None"
"""Strings are text: what is no UTF-8 in them becomes the replacement character."""


def shown(reply: Reply) -> str:
    """A reply for people, on one line and cut to size."""
    text = reply.text if isinstance(reply, ErrorReply) else reply if isinstance(reply, str) else repr(reply)
    line = " ".join(text[: 4 * SHOWN].split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"


class Replies:
    """Replies, made of what `read_some` gives: what there is, at least one byte, none at the end."""

    def __init__(self, read_some: Callable[[], Awaitable[bytes]]) -> None:
        self._read_some = read_some
        self._unread = bytearray()
        self._room = 0
        self._elements = 0

    @property
    def has_more(self) -> bool:
        """Whether something came that nobody asked for."""
        return bool(self._unread)

    async def next(self, most: int = MAX_REPLY) -> Reply:
        """The next one, of `most` bytes. Raises ProtocolError for what is none."""
        self._room = most
        self._elements = MAX_ELEMENTS
        return await self._reply(0)

    async def _reply(self, depth: int) -> Reply:
        line = await self._line()
        kind, rest = line[:1], line[1:]
        match kind:
            case b"+":
                return rest.decode("utf-8", "replace")
            case b"-":
                return ErrorReply(rest.decode("utf-8", "replace"))
            case b":":
                return _number(rest)
            case b"$":
                return await self._string(_number(rest))
            case b"*":
                return await self._list(_number(rest), depth)
            case _:
                raise ProtocolError(f"does not speak Redis's protocol: {bytes(line[:40])!r}")

    async def _string(self, size: int) -> str | None:
        if size == -1:
            return None
        self._expect(size, size)
        data = await self._take(size + 2)
        if data[size:] != b"\r\n":
            raise ProtocolError("sent a string of another length than it said")
        return data[:size].decode("utf-8", "replace")

    async def _list(self, count: int, depth: int) -> list[Reply] | None:
        if count == -1:
            return None
        self._expect(count, count * _SMALLEST_ELEMENT)
        self._elements -= count
        if self._elements < 0:
            raise TooLargeError(f"sent a reply of more than {MAX_ELEMENTS} elements")
        if depth >= MAX_DEPTH:
            raise ProtocolError(f"sent lists within lists, more than {MAX_DEPTH} deep")
        return [await self._reply(depth + 1) for _ in range(count)]

    def _expect(self, number: int, size: int) -> None:
        if number < 0:
            raise ProtocolError(f"announced a length of {number}")
        if size > self._room:
            raise TooLargeError("sent a reply that is larger than the limit")

    async def _line(self) -> bytes:
        start = 0
        while (end := self._unread.find(b"\r\n", start)) < 0:
            if len(self._unread) > self._room:
                raise TooLargeError("sent a line that is longer than the limit")
            start = max(0, len(self._unread) - 1)
            await self._more()
        line = await self._take(end + 2)
        return line[:-2]

    async def _take(self, size: int) -> bytes:
        while len(self._unread) < size:
            await self._more()
        self._room -= size
        if self._room < 0:
            raise TooLargeError("sent a reply that is larger than the limit")
        taken = bytes(self._unread[:size])
        del self._unread[:size]
        return taken

    async def _more(self) -> None:
        data = await self._read_some()
        if not data:
            what = "in the middle of its reply" if self._unread else "instead of answering"
            raise ProtocolError(f"closed the connection {what}")
        self._unread += data


def _number(text: bytes) -> int:
    if not _NUMBER.fullmatch(text):
        raise ProtocolError(f"sent {bytes(text[:40])!r} where a number belongs")
    return int(text)


# --- the conversation --------------------------------------------------------------------------------------------


def command(*words: str | int) -> bytes:
    """A command as it is sent."""
    encoded = [str(word).encode() for word in words]
    return b"".join((b"*%d\r\n" % len(encoded), *(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)))


class Conversation:
    """An open connection to a server, logged in."""

    def __init__(self, place: Place, stream: Stream) -> None:
        self.place = place
        self._stream = stream
        self._replies = Replies(stream.read_some)

    async def ask(self, *words: str | int, most: int = MAX_REPLY, sending: Callable[[], None] = lambda: None) -> Reply:
        """Send one command, once; the reply. sending: called immediately before the first byte leaves."""
        if self._replies.has_more:
            raise ProtocolError("sent more than its answer")
        sending()
        await self._stream.write(command(*words))
        return await self._replies.next(most)

    async def log_in(self, login: Credentials) -> None:
        """AUTH. Raises RejectedError with the server's words, which do not repeat the password."""
        names = () if login.user is None else (login.user,)
        reply = await self.ask("AUTH", *names, login.password.get_secret_value())
        if isinstance(reply, ErrorReply) and reply.code in {"LOADING", "BUSY", "MASTERDOWN"}:
            raise ProtocolError(f"lets nobody in now: {shown(reply)}")
        if reply != "OK":
            raise RejectedError(f"the login was not accepted: {shown(reply)}")


@asynccontextmanager
async def conversation(place: Place, way: Way, caller: Caller) -> AsyncIterator[Conversation]:
    """A connection to `place`, logged in, and closed afterwards whatever happens. Raises one of FAILURES."""
    tls = None if way.tls is None else client_context(way.tls)
    async with connected(place.host, place.port, caller, tls=tls) as stream:
        talk = Conversation(place, stream)
        if way.login is not None:
            caller.stage = "login"
            await talk.log_in(way.login)
        yield talk
