"""The proxy of drills: unchanged traffic, each of its faults as a client sees it, and how a fault ends by itself."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from opsdash.kinds.faultproxy import Address, FaultProxy, FaultProxyError, Mode, parse_address, tell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tests.kinds.conftest import LoopbackServer

    Serve = Callable[..., Awaitable[LoopbackServer]]

PATIENCE = 30.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"


@dataclass
class Running:
    """A proxy at work."""

    proxy: FaultProxy
    address: Address
    control: Path

    async def get(self, timeout: float = PATIENCE) -> httpx.Response:
        """One request through it."""
        async with httpx.AsyncClient(trust_env=False, timeout=timeout) as client:
            return await client.get(f"http://{self.address}/")

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection through it."""
        return await asyncio.open_connection(self.address.host, self.address.port)

    async def told(self, **order: Any) -> dict[str, Any]:
        """What it answers on its control socket."""
        return await tell(self.control, order)


@asynccontextmanager
async def running(port: int, control: Path) -> AsyncIterator[Running]:
    """A proxy in front of a port of this machine."""
    ready: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
    proxy = FaultProxy(Address("127.0.0.1", 0), Address("127.0.0.1", port), control)
    serving = asyncio.ensure_future(proxy.serve(ready.set_result))
    try:
        both: set[asyncio.Future[Any]] = {serving, ready}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        yield Running(proxy, await ready, control)
    finally:
        proxy.end()
        await asyncio.wait({serving})


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short name: the path of a Unix socket is."""
    with tempfile.TemporaryDirectory(prefix="fp-") as folder:
        yield Path(folder)


@pytest.fixture
async def proxy(serve: Serve, short: Path) -> AsyncIterator[Running]:
    """A proxy in front of a web server."""
    server = await serve(OK)
    async with running(server.port, short / "control") as found:
        yield found


async def test_traffic_passes_unchanged(proxy: Running) -> None:
    answer = await proxy.get()
    assert (answer.status_code, answer.text) == (200, "hi")
    assert await proxy.told() == {"mode": "pass", "connections": 0}


async def test_refuse_is_a_connection_that_is_refused(proxy: Running) -> None:
    await proxy.told(mode="refuse", **{"for": 60})
    with pytest.raises(httpx.ConnectError):
        await proxy.get()
    await proxy.told(mode="pass")
    assert await until_it_passes(proxy)


async def test_reset_is_a_connection_that_breaks(proxy: Running) -> None:
    reader, writer = await proxy.connect()
    await proxy.told(mode="reset", **{"for": 60})
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError, httpx.WriteError, httpx.ConnectError)):
        await proxy.get()
    with pytest.raises(ConnectionResetError):  # and so does what was open before
        await reader.read()
    writer.transport.abort()


async def test_hang_is_silence_and_what_waited_goes_on_afterwards(proxy: Running) -> None:
    await proxy.told(mode="hang", **{"for": 60})
    with pytest.raises(httpx.ReadTimeout):
        await proxy.get(timeout=0.3)
    waiting = asyncio.ensure_future(proxy.get())
    await proxy.told(mode="pass")
    assert (await waiting).text == "hi"


async def test_delay_holds_each_piece_back_in_each_direction(proxy: Running) -> None:
    await proxy.told(mode="delay", delay=0.2, **{"for": 60})
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert (await proxy.get()).text == "hi"
    assert loop.time() - began >= 0.4


async def test_drip_gives_the_answer_byte_by_byte(proxy: Running) -> None:
    await proxy.told(mode="drip", delay=0.01, **{"for": 60})
    reader, writer = await proxy.connect()
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    pieces = [await reader.read(100) for _ in range(3)]
    assert b"".join(pieces) == OK[: sum(map(len, pieces))]
    assert len(pieces[0]) == 1
    writer.transport.abort()


async def test_garbage_is_an_answer_that_is_no_http(proxy: Running) -> None:
    await proxy.told(mode="garbage", **{"for": 60})
    with pytest.raises(httpx.RemoteProtocolError):
        await proxy.get()


@pytest.mark.parametrize("mode", [mode for mode in Mode if mode is not Mode.PASS])
async def test_every_fault_ends_by_itself(proxy: Running, mode: Mode) -> None:
    assert (await proxy.told(mode=mode.value, **{"for": 0.2}))["left"] <= 0.2
    assert await until_it_passes(proxy)
    assert (await proxy.told())["mode"] == "pass"


async def until_it_passes(proxy: Running) -> bool:
    """Whether traffic passes, as soon as it does."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return (await proxy.get(timeout=PATIENCE)).text == "hi"
            except httpx.HTTPError:
                await asyncio.sleep(0.02)


async def test_what_is_ordered_wrongly_changes_nothing_and_says_what_would_be_right(proxy: Running) -> None:
    for order, words in (
        ({"mode": "explode", "for": 1}, "mode is one of: pass, refuse"),
        ({"mode": "hang"}, "`for` is a number of seconds"),
        ({"mode": "hang", "for": -1}, "`for` is a number of seconds"),
        ({"mode": "hang", "for": 1e9}, "at most 86400"),
        ({"mode": "hang", "for": True}, "`for` is a number of seconds"),
        ({"mode": "hang", "fur": 1}, "'fur' is no key"),
    ):
        with pytest.raises(FaultProxyError, match=re.escape(words)):
            await tell(proxy.control, order)
    reader, writer = await asyncio.open_unix_connection(str(proxy.control))
    for line in (b"nonsense", b"[1]", b"\xff\xfe", b"[" * 5000):
        writer.write(line + b"\n")
        assert "one JSON object a line" in json.loads(await reader.readline())["error"]
    writer.write(b"x" * 100_000)
    assert await reader.read() == b""
    writer.transport.abort()
    assert (await proxy.get()).text == "hi"


async def test_the_end_of_one_direction_is_passed_on_and_the_other_goes_on(serve: Serve, short: Path) -> None:
    async def answer_at_the_end(_server: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"all: " + await reader.read())

    server = await serve(answer_at_the_end)
    async with running(server.port, short / "control") as proxy:
        reader, writer = await proxy.connect()
        writer.write(b"one")
        writer.write_eof()
        assert await reader.read() == b"all: one"
        writer.close()


async def test_a_reader_that_does_not_read_slows_the_other_side_down(serve: Serve, short: Path) -> None:
    sent = 0

    async def flood(_server: Any, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while sent < 64 << 20:
            writer.write(bytes(1 << 16))
            await writer.drain()
            sent += 1 << 16

    server = await serve(flood)
    async with running(server.port, short / "control") as proxy:
        reader, writer = await asyncio.open_connection(proxy.address.host, proxy.address.port, limit=1024)
        assert await reader.readexactly(1) == b"\0"
        before = -1
        while before != sent:  # it stands still as soon as every buffer on the way is full
            before = sent
            await asyncio.sleep(0.3)
        assert sent < 32 << 20
        writer.transport.abort()


async def test_hundreds_of_connections_are_held_at_once(serve: Serve, short: Path) -> None:
    async def echo(_server: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(1))

    server = await serve(echo)
    async with running(server.port, short / "control") as proxy:
        lines = [await proxy.connect() for _ in range(200)]  # four descriptors each in this process
        async with asyncio.timeout(PATIENCE), server.changed:
            await server.changed.wait_for(lambda: server.open == 200)
        assert (await proxy.told())["connections"] == 200
        for _, writer in lines:
            writer.write(b"x")
        answers = [await reader.read(1) for reader, _ in lines]
        assert answers == [b"x"] * 200
        for _, writer in lines:
            writer.transport.abort()


async def test_where_nobody_listens_behind_it_the_client_is_reset(short: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free_port = probe.getsockname()[1]
    async with running(free_port, short / "control") as proxy:
        reader, writer = await proxy.connect()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.transport.abort()


async def test_the_control_socket_is_its_owners_alone_and_no_second_proxy_takes_it(
    proxy: Running, serve: Serve, short: Path
) -> None:
    assert proxy.control.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FaultProxyError, match="another fault proxy answers"):
        async with running(1, proxy.control):
            pass
    (short / "file").write_text("mine")
    with pytest.raises(FaultProxyError, match="is no socket"):
        async with running(1, short / "file"):
            pass
    assert (short / "file").read_text() == "mine"


def test_an_address_that_is_none_is_named() -> None:
    assert parse_address("[::1]:80") == Address("::1", 80)
    assert str(parse_address("[::1]:80")) == "[::1]:80"
    for text in ("80", ":80", "host:", "host:port", "::1:80", "host:70000"):
        with pytest.raises(ValueError, match="write"):
            parse_address(text)


async def test_as_a_command_it_says_where_it_listens_and_ends_cleanly(serve: Serve, short: Path) -> None:
    server = await serve(OK)
    control = short / "control"
    command = [sys.executable, "-m", "opsdash", "faultproxy", "--control", str(control)]
    process = await asyncio.create_subprocess_exec(
        *command, "--listen", "127.0.0.1:0", "--to", server.origin, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = (await process.stderr.readline()).decode()
    found = re.search(r"passing 127\.0\.0\.1:(\d+) on to", said)
    assert found, said
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        assert (await client.get(f"http://127.0.0.1:{found[1]}/")).text == "hi"
    told = await run(*command, "--fault", "hang", "--for", "30s", "--json")
    assert json.loads(told)["mode"] == "hang"
    assert "hang, for" in await run(*command)
    assert await run(*command, "--pass") == "pass; 0 connections\n"
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    assert not control.exists()


async def run(*command: str) -> str:
    """What a command prints."""
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    said, _ = await process.communicate()
    assert process.returncode == 0
    return said.decode()
