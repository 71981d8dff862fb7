"""A service: its ports on loopback, its current fault, and what the fault does below HTTP and SMTP.

A port keeps its number for life. While the service is `down` it is bound by a socket that does not listen,
so the kernel refuses connections and nobody else can take the number in the meantime.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from opsdash.demo import web
from opsdash.demo.catalog import Fault
from opsdash.demo.faults import spoil

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_ON_THE_WIRE = frozenset({Fault.DOWN, Fault.HANG, Fault.DRIP, Fault.RESET, Fault.ENDLESS})
_STOPPED = frozenset({Fault.DOWN, Fault.HANG})
_DRIP_SECONDS = 0.2
_NO_LINGER = struct.pack("ii", 1, 0)


class Channel:
    """One connection: a reader, and a way to send that drips when the fault says so."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Callable[[], Fault]) -> None:
        self.reader = reader
        self._writer = writer
        self._fault = fault

    async def send(self, data: bytes) -> None:
        if self._fault() is not Fault.DRIP:
            self._writer.write(data)
            await self._writer.drain()
            return
        for position in range(len(data)):
            self._writer.write(data[position : position + 1])
            await self._writer.drain()
            await asyncio.sleep(_DRIP_SECONDS)


class Port:
    """A listening port of a service. `number` is known once it was opened."""

    def __init__(self, fault: Callable[[], Fault], talk: Callable[[Channel], Awaitable[None]]) -> None:
        self.number = 0
        self._fault = fault
        self._talk = talk
        self._listener: asyncio.Server | None = None
        self._holder: socket.socket | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        listening = socket.create_server((web.LOOPBACK, self.number))
        self.number = listening.getsockname()[1]
        self._listener = await asyncio.start_server(self._connected, sock=listening)

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._holder is not None:
            self._holder.close()
            self._holder = None
        self._abort_connections()

    async def fault_changed(self, before: Fault, after: Fault) -> None:
        """Bring the port into the state that the fault asks for. Connections stuck in the old one are cut."""
        if after is Fault.DOWN:
            self._refuse()
        elif self._listener is None:
            self.close()
            await self.open()
        elif before in _ON_THE_WIRE:
            self._abort_connections()

    def _refuse(self) -> None:
        self.close()
        holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((web.LOOPBACK, self.number))
        self._holder = holder

    def _abort_connections(self) -> None:
        for writer in tuple(self._connections):
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client left; that is its own affair
        finally:
            self._connections.discard(writer)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match self._fault():
            case Fault.RESET:
                _reset(writer)
            case Fault.HANG:
                while await reader.read(4096):
                    pass
            case _:
                await self._talk(Channel(reader, writer, self._fault))


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN, so that the client sees a reset and not an empty answer."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()


class Service:
    """Base of all services: a name, ports by variable name, one fault at a time, and a background rhythm."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fault = Fault.OK
        self.ports: dict[str, Port] = {}
        self._responses = 0

    @property
    def stopped(self) -> bool:
        """Whether the process that this service plays is gone or stuck: then it does no background work."""
        return self.fault in _STOPPED

    def listen(self, variable: str, talk: Callable[[Channel], Awaitable[None]]) -> Port:
        port = self.ports[variable] = Port(lambda: self.fault, talk)
        return port

    def listen_http(self, variable: str, routes: web.Routes, *, shows: frozenset[Fault] = frozenset()) -> Port:
        """Serve the routes. `shows` are the faults that the handlers themselves bring to light."""

        async def respond(request: web.Request) -> web.Response:
            self._responses += 1
            response = web.dispatch(routes, request)
            return response if self.fault in shows else spoil(self.fault, response, turn=self._responses)

        async def talk(channel: Channel) -> None:
            if self.fault is Fault.ENDLESS:
                await web.answer_without_end(channel.reader, channel.send)
            else:
                await web.answer(channel.reader, channel.send, respond)

        return self.listen(variable, talk)

    async def open(self) -> None:
        for port in self.ports.values():
            await port.open()

    def close(self) -> None:
        for port in self.ports.values():
            port.close()

    async def inject(self, fault: Fault) -> None:
        before, self.fault = self.fault, fault
        for port in self.ports.values():
            await port.fault_changed(before, fault)

    async def run(self) -> None:
        """The work in the background, if there is any."""
