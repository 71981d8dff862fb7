"""The targets: one process that serves many origins on loopback, each on a port of its own, and can misbehave on order.

Why no nginx: the targets have to hang, to drip and to fail at a known moment, and to count who asked for what, so that
a monitor which asks less often than it should is found out.

    with Targets(1000) as targets:
        targets.ports[3]                            a port of 127.0.0.1
        targets.set("hang", range(100))             ok | fail | hang | drip
        targets.hits()                              {"/opsdash": 1234}: answers given so far, by path
        targets.failed()                            {3: 1718000000.123}: when an origin gave its first bad answer
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from benchmarks.certificates import Certificates

ADDRESS = "127.0.0.1"
DRIP_EVERY = 0.2
BODY = b'{"healthy": true}'
ANSWERS = {
    "ok": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
    % (len(BODY), BODY),
    "fail": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "drip": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n",
}


# --- our side of the pipe --------------------------------------------------------------------------------------------


class Targets:
    """The serving process; it ends with us, since its standard input is a pipe of ours."""

    def __init__(self, count: int, certificates: Certificates | None = None) -> None:
        command = [sys.executable, "-m", "benchmarks.targets", str(count)]
        if certificates is not None:
            command += [str(certificates.server), str(certificates.key)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ports: list[int] = self._read()

    def set(self, behaviour: str, origins: Iterable[int]) -> None:
        """How these origins behave from now on."""
        self._ask({"set": behaviour, "origins": list(origins)})

    def hits(self) -> dict[str, int]:
        """Requests so far, by path."""
        found: dict[str, int] = self._ask({"tell": "hits"})
        return found

    def failed(self) -> dict[int, float]:
        """Wall clock of the first bad answer of each origin since it was told to fail."""
        return {int(origin): at for origin, at in self._ask({"tell": "failed"}).items()}

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process.wait(10)


# --- the process -----------------------------------------------------------------------------------------------------


class World:
    """How each origin behaves, and what was asked."""

    def __init__(self, count: int) -> None:
        self.behaviour = ["ok"] * count
        self.hits: Counter[str] = Counter()
        self.failed: dict[int, float] = {}

    def set(self, behaviour: str, origins: Iterable[int]) -> None:
        for origin in origins:
            self.behaviour[origin] = behaviour
            self.failed.pop(origin, None)


class Connection(asyncio.Protocol):
    """One request, one answer."""

    def __init__(self, world: World, origin: int) -> None:
        self._world = world
        self._origin = origin
        self._seen = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._seen += data
        if b"\r\n\r\n" not in self._seen:
            return
        path = self._seen.split(b" ", 2)[1].decode()
        self._seen = b""
        world = self._world
        world.hits[path] += 1
        behaviour = world.behaviour[self._origin]
        if behaviour == "hang":
            return
        self._transport.write(ANSWERS[behaviour])
        if behaviour == "drip":
            self._drip()
            return
        if behaviour == "fail":
            world.failed.setdefault(self._origin, time.time())
        self._transport.close()

    def _drip(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b".")
            asyncio.get_running_loop().call_later(DRIP_EVERY, self._drip)


async def serve(count: int, context: ssl.SSLContext | None) -> None:
    world = World(count)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)  # a client that hangs up in mid-handshake is none of our business
    ports = []
    servers = []
    for origin in range(count):
        listening = socket.create_server((ADDRESS, 0), backlog=128)
        ports.append(listening.getsockname()[1])
        servers.append(
            await loop.create_server(lambda origin=origin: Connection(world, origin), sock=listening, ssl=context)
        )
    tell(ports)
    reader = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while row := await reader.readline():
        question = json.loads(row)
        if "set" in question:
            world.set(question["set"], question["origins"])
            tell(True)
        else:
            tell(getattr(world, question["tell"]))


def tell(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main() -> None:
    count, *certificate = sys.argv[1:]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    asyncio.run(serve(int(count), context))
    os._exit(0)  # dripping connections are still open, and nobody wants to hear of their end


if __name__ == "__main__":
    main()
