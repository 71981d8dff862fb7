"""A proxy for TCP that passes traffic unchanged, and can be told to be a bad network for a while.

    client ──► listen ══ faultproxy ══► to            control: a Unix socket, one JSON object a line

It runs in a process of its own, all the time, so that a drill changes nothing about how the client is set up. What it
is told holds for at most so many seconds; then it passes again by itself, whoever has died meanwhile. That is the point
of it: the undo lives where the fault is.

Both directions are passed on piece by piece, and the next piece is read only once the one before has been written, so a
slow reader slows the other side down and nothing piles up here. The end of one direction is passed on as such (half
close); an error on one side is an abort on the other.

The modes: **refuse** (nobody listens; what is open is reset), **reset** (accepted, then reset), **hang** (accepted, and
then silence in both directions), **delay** (each piece is held back in each direction), **drip** (the answer comes byte
by byte), **garbage** (the answer has the right length and the wrong bytes).

Control: `{}` asks, `{"mode": "hang", "for": 30}` makes a fault (`delay`: seconds, for delay and drip),
`{"mode": "pass"}` ends it. The answer has `mode`, `left` (seconds), `connections`; `error` where it was not understood.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import resource
import signal
import socket
import struct
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from opsdash.errors import OpsdashError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PIECE: Final = 64 * 1024
"""Bytes that are passed on at a time, and so the most that is held back."""

LONGEST: Final = 24 * 3600.0
"""Seconds that a fault may last."""

MAX_LINE: Final = 8 * 1024
BACKLOG: Final = 1024
CONNECT_WITHIN: Final = 10.0
AGAIN_AFTER: Final = 0.1
"""Seconds until the port is tried again that somebody else took while it was refused here."""

_NO_LINGER: Final = struct.pack("ii", 1, 0)
_SPOIL: Final = bytes(each ^ 0xA5 for each in range(256))


class FaultProxyError(OpsdashError):
    """The proxy cannot be started or reached."""


class Mode(StrEnum):
    """What the proxy does with traffic."""

    PASS = "pass"  # noqa: S105 - to let pass
    REFUSE = "refuse"
    RESET = "reset"
    HANG = "hang"
    DELAY = "delay"
    DRIP = "drip"
    GARBAGE = "garbage"


CUTS: Final = frozenset({Mode.REFUSE, Mode.RESET})
"""Modes that end what is open."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is going on now. delay: seconds. over: is set when something else has come."""

    mode: Mode = Mode.PASS
    until: float = math.inf
    delay: float = 1.0
    over: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Address:
    """HOST:PORT."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`127.0.0.1:8080`, `[::1]:8080`, `db1:5432`. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{text!r} is no address; write HOST:PORT, such as 127.0.0.1:15432")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"{text!r} is no address; write an IPv6 address in brackets, such as [::1]:15432")
    return Address(host.strip("[]"), int(port))


class FaultProxy:
    """One proxy. `serve` runs until `end` is called."""

    def __init__(self, listen: Address, to: Address, control: Path) -> None:
        self._listen = listen
        self._to = to
        self._control = control
        self._fault = Fault()
        self._listener: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = 0
        self._timer: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()
        self._door = asyncio.Lock()

    async def serve(self, ready: Callable[[Address], None]) -> None:
        """Listen, call `ready` with the address that it became, and pass traffic until the end.

        Raises FaultProxyError where an address or the control socket cannot be had.
        """
        control: asyncio.Server | None = None
        try:
            control = await self._open_control()
            await self._open_door()
            ready(self._listen)
            await self._ended.wait()
        except OSError as error:
            raise FaultProxyError(f"{self._listen} cannot be listened on: {error.strerror or error}") from error
        finally:
            if control is not None:
                control.close()
                self._control.unlink(missing_ok=True)
            if self._timer is not None:
                self._timer.cancel()
            self._close_door()
            self._cut()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def end(self) -> None:
        """End it, and all connections with it."""
        self._ended.set()

    # --- the door ------------------------------------------------------------------------------------------------

    async def _open_door(self) -> None:
        server = await asyncio.start_server(
            self._arrived, self._listen.host, self._listen.port, limit=PIECE, backlog=BACKLOG
        )
        self._listener = server
        port = server.sockets[0].getsockname()[1]
        self._listen = Address(self._listen.host, port)

    def _close_door(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _match_door(self) -> None:
        """Have the port open or closed, as the present mode wants it."""
        async with self._door:
            while not self._ended.is_set() and (self._listener is None) != (self._fault.mode is Mode.REFUSE):
                if self._listener is not None:
                    self._close_door()
                    return
                try:
                    await self._open_door()
                except OSError:  # somebody took the port meanwhile
                    await asyncio.sleep(AGAIN_AFTER)

    # --- the fault -----------------------------------------------------------------------------------------------

    def set_fault(self, mode: Mode, lasts: float, delay: float) -> None:
        """Have a mode for so many seconds, then pass again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        before, self._fault = self._fault, Fault(mode, loop.time() + lasts, delay)
        before.over.set()
        if mode is not Mode.PASS:
            self._timer = loop.call_later(lasts, self.set_fault, Mode.PASS, math.inf, delay)
        if mode in CUTS:
            self._cut()
        if (self._listener is None) != (mode is Mode.REFUSE):
            self._spawn(self._match_door())

    def state(self) -> dict[str, Any]:
        """What the control socket tells."""
        told: dict[str, Any] = {"mode": self._fault.mode.value, "connections": self._connections}
        if self._fault.mode is not Mode.PASS:
            told["left"] = max(0.0, round(self._fault.until - asyncio.get_running_loop().time(), 3))
        return told

    # --- connections ---------------------------------------------------------------------------------------------

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _cut(self) -> None:
        for writer in tuple(self._open):
            _reset(writer)

    def _arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._spawn(self._connection(reader, writer))

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        self._open.add(writer)
        onward: asyncio.StreamWriter | None = None
        whole = False
        try:
            await self._through_silence()
            if self._fault.mode in CUTS or writer.is_closing():
                return
            async with asyncio.timeout(CONNECT_WITHIN):
                from_there, onward = await asyncio.open_connection(self._to.host, self._to.port, limit=PIECE)
            self._open.add(onward)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, onward, answer=False))
                both.create_task(self._pump(from_there, writer, answer=True))
            whole = True
        except* (OSError, asyncio.CancelledError):  # what happens to connections is no news to a proxy
            pass
        finally:
            self._connections -= 1
            for each in (writer, onward):
                if each is not None:
                    self._open.discard(each)
                    each.close() if whole else _reset(each)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answer: bool) -> None:
        """Pass one direction on to its end. Raises OSError when either side breaks."""
        while piece := await reader.read(PIECE):
            await self._pass_on(piece, writer, answer=answer)
        await self._through_silence()
        if writer.can_write_eof():
            writer.write_eof()

    async def _pass_on(self, piece: bytes, writer: asyncio.StreamWriter, *, answer: bool) -> None:
        while piece:
            await self._through_silence()
            fault = self._fault
            if fault.mode in CUTS:
                raise ConnectionResetError
            part, piece = piece, b""
            if fault.mode is Mode.DELAY:
                await _unless(fault.over, fault.delay)
            elif fault.mode is Mode.DRIP and answer:
                part, piece = part[:1], part[1:]
                await _unless(fault.over, fault.delay)
            elif fault.mode is Mode.GARBAGE and answer:
                part = part.translate(_SPOIL)
            writer.write(part)
            await writer.drain()

    async def _through_silence(self) -> None:
        while (fault := self._fault).mode is Mode.HANG:
            await fault.over.wait()

    # --- control -------------------------------------------------------------------------------------------------

    async def _open_control(self) -> asyncio.Server:
        await _clear_place(self._control)
        line = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            line.bind(str(self._control))
        except OSError as error:
            line.close()
            words = error.strerror or error  # a path that is too long has no strerror
            raise FaultProxyError(f"the control socket {self._control} cannot be made: {words}") from error
        finally:
            os.umask(before)
        return await asyncio.start_unix_server(self._controlled, sock=line, limit=MAX_LINE)

    async def _controlled(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError):  # ValueError: a line that does not end
            while line := await reader.readline():
                writer.write(json.dumps(self._told(line)).encode() + b"\n")
                await writer.drain()
        writer.transport.abort()

    def _told(self, line: bytes) -> dict[str, Any]:
        try:
            order = _order(line)
        except ValueError as error:
            return {**self.state(), "error": str(error)}
        if order is not None:
            self.set_fault(*order)
        return self.state()


def _order(line: bytes) -> tuple[Mode, float, float] | None:
    """Mode, seconds it lasts, delay; None for a question. Raises ValueError with what would be right."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise ValueError('one JSON object a line, such as {"mode": "hang", "for": 30}')  # noqa: TRY004 - one kind of answer
    if not said:
        return None
    strange = sorted(set(said) - {"mode", "for", "delay"})
    if strange:
        raise ValueError(f"{strange[0]!r:.40} is no key; there are: mode, for, delay")
    try:
        mode = Mode(str(said.get("mode")))
    except ValueError:
        raise ValueError(f"mode is one of: {', '.join(Mode)}") from None
    if mode is Mode.PASS:
        return mode, math.inf, 1.0
    return mode, _seconds(said, "for", LONGEST), _seconds({"delay": 1.0, **said}, "delay", 3600.0)


def _seconds(said: dict[str, Any], key: str, most: float) -> float:
    value = said.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
        raise ValueError(f"`{key}` is a number of seconds, more than 0 and at most {most:g}")
    return float(value)


async def _unless(over: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until the fault is over."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await over.wait()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST instead of FIN."""
    if not writer.transport.is_closing():
        with contextlib.suppress(OSError):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()


async def _clear_place(control: Path) -> None:
    """Remove the socket of a proxy that died. Raises FaultProxyError where one lives, or something else is there."""
    if not control.is_socket():
        if control.exists():
            raise FaultProxyError(f"{control} is no socket; name another path, or remove it")
        return
    try:
        _, writer = await asyncio.open_unix_connection(str(control))
    except OSError:
        control.unlink(missing_ok=True)
        return
    writer.transport.abort()
    raise FaultProxyError(f"another fault proxy answers on {control}; end it, or name another socket")


async def run(listen: Address, to: Address, control: Path, ready: Callable[[Address], None]) -> None:
    """Run a proxy until SIGTERM or SIGINT. Raises FaultProxyError."""
    _raise_descriptor_limit()
    proxy = FaultProxy(listen, to, control)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, proxy.end)
    await proxy.serve(ready)


def _raise_descriptor_limit() -> None:
    """Each connection has two descriptors, and the usual limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def tell(control: Path, request: dict[str, Any]) -> dict[str, Any]:
    """What a proxy answers on its control socket. Raises FaultProxyError."""
    try:
        async with asyncio.timeout(CONNECT_WITHIN):
            reader, writer = await asyncio.open_unix_connection(str(control))
            try:
                writer.write(json.dumps(request).encode() + b"\n")
                state = json.loads(await reader.readline())
            finally:
                writer.transport.abort()
    except TimeoutError:
        raise FaultProxyError(f"{control} does not answer") from None
    except OSError as error:
        raise FaultProxyError(f"no fault proxy answers on {control}: {error.strerror or error}") from error
    except ValueError:
        raise FaultProxyError(f"what answers on {control} is no fault proxy") from None
    if not isinstance(state, dict) or "mode" not in state:
        raise FaultProxyError(f"what answers on {control} is no fault proxy")
    if state.get("error"):
        raise FaultProxyError(str(state["error"])[:200])
    return state
