"""An engine with its service in this process, and clients that speak to its socket."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from opsdash.service.client import EngineSession
from opsdash.service.network import Door
from opsdash.service.places import Lock, places
from opsdash.service.server import Service
from opsdash.service.wire import request
from tests.engine.support import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from opsdash.engine.engine import Engine
    from opsdash.service.network import Listening
    from opsdash.service.places import Places
    from opsdash.service.wire import Reply


@dataclass
class Served:
    """An engine that is served. `stopped`: what it was asked to stop for."""

    engine: Engine
    service: Service
    where: Places
    stopped: list[str] = field(default_factory=list)
    door: Door | None = None

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
async def served(
    folder: Path,
    environment: Mapping[str, str] | None = None,
    listening: Listening | None = None,
    **settings: Any,
) -> AsyncIterator[Served]:
    """An engine over a workspace, with its service on the workspace's socket, and on TCP where that is asked for."""
    where = places(folder)
    lock = Lock(where)
    assert lock.take()
    try:
        async with running(folder, **settings) as engine:
            stopped: list[str] = []
            door = None if listening is None else Door(listening, where)
            service = Service(engine, where, stopped.append, environment or {}, door)
            await service.start()
            try:
                yield Served(engine, service, where, stopped, door)
            finally:
                engine.hub.bye("the test is over")
                await service.close()
    finally:
        lock.release()


def self_signed(folder: Path, name: str = "localhost") -> tuple[Path, Path]:
    """Files with a certificate for `name` and 127.0.0.1, which is its own authority, and with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)  # a real one: OpenSSL asks nobody for the time
    names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / f"{name}.crt", folder / f"{name}.key"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


def this_login() -> str:
    """The account that runs the tests."""
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name
