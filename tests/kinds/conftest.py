"""Real servers on loopback, and certificates for them."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from opsdash.kinds.base import CheckContext
from opsdash.kinds.keeping import Keep
from opsdash.kinds.resolver import Resolver
from tests.kinds.notices import Desk
from tests.nonblocking import nothing_of_ours_blocks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nothing_blocks() -> Iterator[None]:
    """No kind blocks the event loop."""
    with nothing_of_ours_blocks():
        yield


@dataclass
class LoopbackServer:
    """A server whose behaviour is a coroutine; knows what it was sent, and which connections are still open."""

    behave: Callable[[LoopbackServer, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    open: int = 0
    accepted: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    listener: asyncio.Server | None = None

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.accepted += 1
        await self._count(1)
        try:
            await self.behave(self, reader, writer)
            writer.close()
            await reader.read()
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self.tasks.discard(task)
            await self._count(-1)

    async def _count(self, difference: int) -> None:
        async with self.changed:
            self.open += difference
            self.changed.notify_all()

    async def until_open(self, count: int) -> None:
        """Wait until so many connections are open."""
        async with asyncio.timeout(5), self.changed:
            await self.changed.wait_for(lambda: self.open == count)

    async def stop(self) -> None:
        """Listen no more, and close what is open."""
        if self.listener is not None:
            self.listener.close()
        for task in tuple(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    @property
    def origin(self) -> str:
        return f"127.0.0.1:{self.port}"


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            head += await reader.readexactly(int(line.partition(b":")[2]))
    return head


@pytest_asyncio.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[LoopbackServer]]]:
    """Start servers: `behaviour` is the bytes of every answer, a list of them in turn, or a coroutine function."""
    listening: list[LoopbackServer] = []

    async def start(behaviour: Any, *, tls: ssl.SSLContext | None = None, port: int = 0) -> LoopbackServer:
        if not callable(behaviour):
            behaviour = answering(behaviour)
        loopback = LoopbackServer(behaviour)
        server = loopback.listener = await asyncio.start_server(
            loopback.handle, "127.0.0.1", port, ssl=tls, backlog=1000
        )
        loopback.port = server.sockets[0].getsockname()[1]
        listening.append(loopback)
        return loopback

    yield start
    for loopback in listening:
        await loopback.stop()


def answering(replies: bytes | list[bytes]) -> Any:
    async def behave(server: LoopbackServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.requests.append(await read_request(reader))
        number = len(server.requests) - 1
        writer.write(replies if isinstance(replies, bytes) else replies[min(number, len(replies) - 1)])
        await writer.drain()

    return behave


@pytest.fixture
def http_answer() -> Callable[..., bytes]:
    """An HTTP answer as bytes."""

    def build(body: bytes | str = b"", *, status: int = 200, headers: str = "") -> bytes:
        body = body.encode() if isinstance(body, str) else body
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers.splitlines()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    return build


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Callable[..., CheckContext]]:
    """`context()`: what the engine would hand to a run, at noon on 2026-11-23."""
    resolver = Resolver()

    def make(**changes: Any) -> CheckContext:
        return CheckContext(
            **{
                "check": "api/primary/check",
                "deadline": 5.0,
                "wall": NOW.timestamp(),
                "workspace": tmp_path,
                "resolver": resolver,
                **changes,
            }
        )

    yield make
    resolver.close()


class Authority:
    """A certificate authority, and the server certificates that it issues."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example CA"),
                x509.NameAttribute(NameOID.COMMON_NAME, "Example Root"),
            ]
        )
        self.file = folder / "ca.pem"
        certificate = self._build(self.name, self.key.public_key(), None, days=3650, is_authority=True)
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _build(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        alternative: x509.SubjectAlternativeName | None,
        *,
        days: float,
        is_authority: bool,
    ) -> x509.Certificate:
        # Real clocks decide about trust: OpenSSL asks nobody for the time.
        real_now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(real_now - timedelta(days=100))
            .not_valid_after(real_now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if alternative is not None:
            builder = builder.add_extension(alternative, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def server(self, *, name: str = "localhost", days: float = 90) -> ssl.SSLContext:
        """The TLS context of a server with a certificate for `name` and 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names: list[x509.GeneralName] = [x509.DNSName(name)]
        if name == "localhost":
            names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        certificate = self._build(
            subject, key.public_key(), x509.SubjectAlternativeName(names), days=days, is_authority=False
        )
        file = self.folder / f"{name}-{days}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(file)
        return tls


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest_asyncio.fixture
async def keep() -> AsyncIterator[Keep]:
    """What one check keeps; closed at the end, as the engine does."""
    made = Keep()
    yield made
    left = made.close()
    if left is not None:
        await left.aclose()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """What a notifier is called with."""
    made = Desk(tmp_path)
    yield made
    made.resolver.close()
