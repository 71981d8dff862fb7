"""HAProxy's Runtime API: one line is sent, one text comes back; and what its tables say about a backend.

Every command has a connection of its own. HAProxy then closes it after the answer, so that it is certain where the
answer ends; and after a reload a new connection reaches the new process, while an old one stays with the old.

What a server does is in two tables, and neither has all of it. `show servers state` has the administrative state, which
`show stat` mixes with the health into one text. `show stat` has the effective weight, the sessions, and which servers
are `backup` ones. Two things in them mislead, both seen with HAProxy 2.6:

* A server that leaves maint is up for now, and its check still shows the result from before: L7OK, although nobody has
  looked yet. Only its health tells: it begins at `rise`, and a check that passes makes it `rise + fall - 1`.
* Of several `backup` servers the first that is up takes everything, unless the backend has `option allbackups`. The
  option is shown nowhere; but the weight of the backend is that of the first one then, not the sum.
"""

from __future__ import annotations

import asyncio
import csv
import io
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from opsdash.errors import OpsdashError
from opsdash.kinds.failures import ProtocolError, RejectedError, TooLargeError, explain
from opsdash.kinds.streams import connected, connected_to_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from opsdash.kinds.streams import Stream
    from opsdash.kinds.transport import Caller

MAX_ANSWER: Final = 1 << 20
"""Bytes. A line of `show stat` has a hundred columns: half a KiB for each server of a backend."""

ANSWER_WITHIN: Final = 5.0
"""Seconds. It answers within a millisecond; who waits longer waits for a process that is stopped or overloaded."""

EXCERPT: Final = 160

NAME: Final = re.compile(r"[A-Za-z0-9_.:-]+")
"""What HAProxy accepts as the name of a backend or server."""

_PREFIXED: Final = re.compile(r"(unix|abns|ipv4|ipv6|fd)@")
_HOST_AND_PORT: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s/:\[\]]+):(?P<port>\d{1,5})")


class NotDoneError(OpsdashError):
    """HAProxy did not do what it was told, or does not have what it was asked about, and says so."""


# --- asking ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where HAProxy's stats socket is: the path of a Unix socket, or (with a port) a host. `shown`: as written."""

    shown: str
    host: str
    port: int | None = None

    def open(self, caller: Caller, folder: Path) -> AbstractAsyncContextManager[Stream]:
        """A new connection; a relative path starts at `folder`."""
        if self.port is None:
            return connected_to_path(str(folder / self.host), caller)
        return connected(self.host, self.port, caller)


def parse_place(text: str) -> Place:
    """`/run/haproxy/admin.sock` or `127.0.0.1:9999`. Raises ValueError."""
    found = _HOST_AND_PORT.fullmatch(text)
    if found is None:
        if not text or text != text.strip() or _PREFIXED.match(text):
            raise ValueError(f"{text!r} is neither the path of a socket nor HOST:PORT")
        return Place(text, text)
    port = int(found["port"])
    if not 1 <= port <= 65535:
        raise ValueError(f"{port} is no port; there are 1 to 65535")
    return Place(text, found["host"].strip("[]"), port)


async def ask(
    place: Place, command: str, caller: Caller, folder: Path, *, about_to_send: Callable[[], None] = lambda: None
) -> str:
    """HAProxy's answer to a command. Raises OSError or OpsdashError; `why` has words for them."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN), place.open(caller, folder) as stream:
            about_to_send()
            await stream.write(f"{command}\n".encode())
            answer = await _to_the_end(stream)
    except TimeoutError:
        raise TimeoutError(f"no answer within {ANSWER_WITHIN:g} s") from None
    if not answer:
        raise ProtocolError("closed the connection instead of answering")
    return answer.decode("utf-8", "replace")


async def _to_the_end(stream: Stream) -> bytes:
    answer = bytearray()
    while data := await stream.read_some():
        answer += data
        if len(answer) > MAX_ANSWER:
            raise TooLargeError(f"sent more than {MAX_ANSWER >> 20} MiB")
    return bytes(answer)


def why(error: BaseException) -> str:
    """Words for what `ask` raises."""
    if isinstance(error, FileNotFoundError):
        return "there is no such socket"
    if isinstance(error, PermissionError):
        return "this account may not use the socket"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(error, OSError) and not isinstance(error, ConnectionError | socket.gaierror):
        return error.strerror or str(error)
    return explain(error)[2]


def excerpt(answer: str) -> str:
    """An answer for people: one line, short."""
    return " ".join(answer[: 4 * EXCERPT].split())[:EXCERPT]


# --- backends and their servers ----------------------------------------------------------------------------------


_IN_MAINT: Final = 0x01 | 0x02 | 0x20
"""Forced, inherited from a tracked server, and for want of an address. 0x04 only says that it once began so."""
_FORCED_MAINT: Final = 0x01
_IN_DRAIN: Final = 0x08 | 0x10
_CHECKED: Final = 0x02 | 0x04
"""A check is configured, and enabled."""
_STARTING, _RUNNING = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server of a backend, as HAProxy sees it at one moment.

    operation, admin, check_state: as in `show servers state`, numbers and bits.
    weight: as set, initial: as configured, effective: as used for balancing now.
    status, check, check_says: as shown by `show stat`: `UP 1/2`, `L7OK`, `Layer7 check passed`.
    health, rise, fall: of its check, None where there is none or it is not made (maint).
    sessions: open now.
    """

    name: str
    operation: int
    admin: int
    check_state: int
    weight: int
    initial: int
    effective: int
    backup: bool
    status: str
    sessions: int
    check: str = ""
    check_says: str = ""
    health: int | None = None
    rise: int | None = None
    fall: int | None = None

    @property
    def in_maint(self) -> bool:
        return bool(self.admin & _IN_MAINT)

    @property
    def can_leave_maint(self) -> bool:
        """Whether it is in maint because somebody said so, and for no other reason."""
        return self.admin & _IN_MAINT == _FORCED_MAINT

    @property
    def in_drain(self) -> bool:
        return bool(self.admin & _IN_DRAIN)

    @property
    def is_ready(self) -> bool:
        return not self.in_maint and not self.in_drain

    @property
    def state(self) -> str:
        """Its administrative state by the word of `set server … state`."""
        return "maint" if self.in_maint else "drain" if self.in_drain else "ready"

    @property
    def is_up(self) -> bool:
        return self.operation in (_STARTING, _RUNNING)

    @property
    def is_checked(self) -> bool:
        """Whether HAProxy checks it, or would, were it not in maint."""
        return self.check_state & _CHECKED == _CHECKED

    @property
    def is_in_rotation(self) -> bool:
        """Whether it would be given traffic if it were up."""
        return self.is_ready and self.effective > 0

    @property
    def is_usable(self) -> bool:
        """Whether it is given traffic; a `backup` one when there is need."""
        return self.is_in_rotation and self.is_up

    def __str__(self) -> str:
        says = f", {self.check_says}" if self.check_says else ""
        check = f" ({self.check}{says})" if self.check else ""
        return f"{self.status}{check}"


@dataclass(frozen=True, slots=True)
class Backend:
    """A backend and its servers, in the order of HAProxy's configuration. weight: of all that take its traffic."""

    name: str
    servers: tuple[Server, ...]
    weight: int

    def __getitem__(self, name: str) -> Server:
        """A server. Raises NotDoneError where there is none of that name (any more)."""
        self.expect([name])
        return next(server for server in self.servers if server.name == name)

    def expect(self, names: Sequence[str]) -> None:
        """Raise NotDoneError unless it has all these servers."""
        known = [server.name for server in self.servers]
        missing = [name for name in names if name not in known]
        if missing:
            words = f"has no server {' and no '.join(missing)}; it has: {', '.join(known)}"
            raise NotDoneError(f"the backend {self.name} {words}")

    def takers(self) -> tuple[str, ...]:
        """The servers that new traffic goes to."""
        usable = [server for server in self.servers if server.is_usable]
        active = [server for server in usable if not server.backup]
        if not active and self.weight < sum(server.effective for server in usable):
            active = usable[:1]
        return _names(active or usable)

    def in_force(self) -> tuple[str, ...]:
        """The servers that new traffic goes to, or would if any of them were up."""
        meant = [server for server in self.servers if server.is_in_rotation]
        active = [server for server in meant if not server.backup]
        return self.takers() or _names(active or meant[:1])

    def serving(self) -> tuple[str, ...]:
        """The servers that new traffic goes to, and those that still have sessions of before."""
        takers = self.takers()
        return _names(server for server in self.servers if server.name in takers or server.sessions > 0)


def _names(servers: Iterable[Server]) -> tuple[str, ...]:
    return tuple(server.name for server in servers)


async def look(place: Place, backend: str, caller: Caller, folder: Path) -> Backend:
    """What HAProxy says of a backend. Raises OSError or OpsdashError: NotDoneError, RejectedError, …"""
    states = await ask(place, f"show servers state {backend}", caller, folder)
    identity = backend_id(backend, states)
    return parse_backend(backend, states, await ask(place, f"show stat {identity} 6 -1", caller, folder))


def backend_id(name: str, states: str) -> int:
    """Its number by `show servers state NAME`: `show stat NAME` may give a frontend that has the same name."""
    if states.startswith("Permission denied"):
        raise RejectedError("the socket does not permit `show servers state`")
    if states.startswith("Can't find backend"):
        raise NotDoneError(f"there is no backend {name}")
    try:
        rows = _state_rows(states)
        if not rows:
            raise NotDoneError(f"the backend {name} has no servers")
        return int(rows[0]["be_id"])
    except (KeyError, ValueError):
        raise ProtocolError(f"does not answer like HAProxy: {excerpt(states)}") from None


def parse_backend(name: str, states: str, stats: str) -> Backend:
    """A backend by the answers to `show servers state` and `show stat`. Raises ProtocolError."""
    try:
        rows = {row["svname"]: row for row in _stat_rows(stats) if row["pxname"] == name}
        whole = rows.pop("BACKEND")
        servers = tuple(_server(state, rows[state["srv_name"]]) for state in _state_rows(states))
        return Backend(name, servers, _number(whole["weight"]))
    except (KeyError, ValueError, csv.Error):
        raise ProtocolError(f"does not answer like HAProxy: {excerpt(stats)}") from None


def _state_rows(text: str) -> list[dict[str, str]]:
    """Rows of `show servers state`: a version, a line of names that begins with `#`, and lines of words."""
    _version, head, *rows = text.strip().split("\n")
    names = head.removeprefix("#").split()
    return [dict(zip(names, row.split(), strict=False)) for row in rows]


def _stat_rows(text: str) -> list[dict[str, str]]:
    """Rows of `show stat`: CSV with a line of names that begins with `#`."""
    head, *rows = csv.reader(io.StringIO(text.strip(), newline=""))
    names = [head[0].removeprefix("#").strip(), *head[1:]]
    return [dict(zip(names, row, strict=False)) for row in rows]


def _server(state: Mapping[str, str], stat: Mapping[str, str]) -> Server:
    return Server(
        name=state["srv_name"],
        operation=int(state["srv_op_state"]),
        admin=int(state["srv_admin_state"]),
        check_state=int(state["srv_check_state"]),
        weight=int(state["srv_uweight"]),
        initial=int(state["srv_iweight"]),
        effective=_number(stat["weight"]),
        backup=_number(stat["bck"]) > 0,
        status=stat["status"],
        sessions=_number(stat["scur"]),
        check=stat.get("check_status", "").removeprefix("* "),
        check_says=stat.get("last_chk", ""),
        health=_number_or_none(stat.get("check_health", "")),
        rise=_number_or_none(stat.get("check_rise", "")),
        fall=_number_or_none(stat.get("check_fall", "")),
    )


def _number(text: str) -> int:
    """A number of `show stat`, which leaves out what does not apply."""
    return int(text) if text else 0


def _number_or_none(text: str) -> int | None:
    return int(text) if text else None


# --- maps --------------------------------------------------------------------------------------------------------


def parse_map(name: str, answer: str, key: str) -> tuple[str, ...]:
    """The values of a key by the answer to `show map NAME`; one that is there twice has two.

    Raises NotDoneError, RejectedError, ProtocolError.
    """
    if answer.startswith("Unknown map identifier"):
        raise NotDoneError(f"HAProxy uses no map {name}")
    if answer.startswith("Permission denied"):
        raise RejectedError("the socket does not permit `show map`")
    values = []
    for line in answer.split("\n"):
        reference, _, entry = line.partition(" ")
        if line and not reference.startswith("0x"):
            raise ProtocolError(f"does not answer like HAProxy: {excerpt(answer)}")
        found, _, value = entry.partition(" ")
        if found == key:
            values.append(value)
    return tuple(values)
