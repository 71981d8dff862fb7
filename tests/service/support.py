"""An engine with its service in this process, and clients that speak to its socket."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opsdash.service.client import EngineSession
from opsdash.service.places import Lock, places
from opsdash.service.server import Service
from opsdash.service.wire import request
from tests.engine.support import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from opsdash.engine.engine import Engine
    from opsdash.service.places import Places
    from opsdash.service.wire import Reply


@dataclass
class Served:
    """An engine that is served. `stopped`: what it was asked to stop for."""

    engine: Engine
    service: Service
    where: Places
    stopped: list[str] = field(default_factory=list)

    def session(self, **settings: Any) -> EngineSession:
        return EngineSession(self.where, **settings)

    async def get(self, path: str, **headers: str) -> Reply:
        return await self.ask("GET", path, headers=headers)

    async def post(self, path: str, body: Any = None, **headers: str) -> Reply:
        return await self.ask("POST", path, body, headers)

    async def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        return await request(self.where.socket, method, path, body, headers=headers, timeout=5)

    async def raw(self, sent: bytes) -> bytes:
        """Everything that comes back for these bytes, until the server closes or falls silent."""
        reader, writer = await asyncio.open_unix_connection(str(self.where.socket))
        try:
            writer.write(sent)
            await writer.drain()
            async with asyncio.timeout(5):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def post_raw(self, path: str, body: bytes, kind: str = "application/json") -> tuple[int, Any]:
        """Status and decoded JSON of the answer to a body that no honest client would send."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        answer = await self.raw(head.encode() + body)
        first, _, rest = answer.partition(b"\r\n")
        return int(first.split()[1]), json.loads(rest.partition(b"\r\n\r\n")[2])


@asynccontextmanager
async def served(folder: Path, environment: Mapping[str, str] | None = None, **settings: Any) -> AsyncIterator[Served]:
    """An engine over a workspace, with its service on the workspace's socket."""
    where = places(folder)
    lock = Lock(where)
    assert lock.take()
    try:
        async with running(folder, **settings) as engine:
            stopped: list[str] = []
            service = Service(engine, where, stopped.append, environment or {})
            await service.start()
            try:
                yield Served(engine, service, where, stopped)
            finally:
                engine.hub.bye("the test is over")
                await service.close()
    finally:
        lock.release()


def this_login() -> str:
    """The account that runs the tests."""
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name
