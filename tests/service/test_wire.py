"""The client's side of the wire, against servers that are none of ours: it gives up in words, and never hangs."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.service import wire
from opsdash.service.wire import ServerEvent, WireError, events, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

Behaviour = bytes | list[bytes]


@asynccontextmanager
async def answering(
    folder: Path, behaviour: Behaviour | Callable[[asyncio.StreamWriter], Awaitable[None]]
) -> AsyncIterator[tuple[Path, list[bytes]]]:
    """Somebody on a Unix socket who answers every request with these bytes, and closes."""
    heads: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            if callable(behaviour):
                await behaviour(writer)
            else:
                for piece in [behaviour] if isinstance(behaviour, bytes) else behaviour:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    path = folder / "s.sock"
    server = await asyncio.start_unix_server(handle, path)
    try:
        yield path, heads
    finally:
        server.close()
        path.unlink(missing_ok=True)  # Python 3.13 has removed it


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        OK + b'Content-Length: 8\r\n\r\n{"a": 1}',
        OK + b'CONTENT-LENGTH:8\r\nX: y\r\n\r\n{"a": 1}',
        CHUNKED + chunked(b'{"a"', b": ", b"1}"),
        CHUNKED + b'4;ext=1\r\n{"a"\r\n4\r\n: 1}\r\n0\r\n\r\n',
        OK + b'\r\n{"a": 1}',
    ],
    ids=["length", "odd headers", "chunks", "chunk extensions", "until it closes"],
)
async def test_an_answer_is_read_however_it_is_framed_and_cut(tmp_path: Path, answer: bytes) -> None:
    for pieces in (answer, [bytes([byte]) for byte in answer]):
        async with answering(tmp_path, pieces) as (path, heads):
            reply = await request(path, "POST", "/v1/x", {"k": 1}, headers={"opsdash-as": "ken"}, timeout=5)
            assert (reply.status, reply.body) == (200, {"a": 1})
            assert heads[0].startswith(b"POST /v1/x HTTP/1.1\r\n")
            assert b"opsdash-as: ken\r\n" in heads[0]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\r\n",
        b"garbage\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        OK,
        OK + b"Content-Length: 10\r\n\r\nshort",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: abc\r\n\r\n",
        OK + b"Content-Length: 99999999999999\r\n\r\n",
        OK + b"Content-Length: 3\r\n\r\n{]}",
        OK + b"Content-Length: 2\r\n\r\n\xff\xff",
        OK + b"Content-Length: 100000\r\n\r\n" + b"[" * 100_000,
        CHUNKED + b"zz\r\n\r\n",
        CHUNKED + b"-5\r\n\r\n",
        CHUNKED + b"ffffffffff\r\n\r\n",
        CHUNKED + b"5\r\nab",
        OK + b"X: y\r\n" * 1000 + b"\r\n",
    ],
)
async def test_what_is_no_answer_of_an_engine_is_an_error_in_words(tmp_path: Path, answer: bytes) -> None:
    async with answering(tmp_path, answer) as (path, _):
        with pytest.raises(WireError) as caught:
            await request(path, "GET", "/v1/x", timeout=5)
        assert str(caught.value).isprintable()
        with suppress(WireError):
            assert await collect(path) == []


async def test_an_endless_line_or_answer_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LIMIT", 256 * 1024)

    async def endless(writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b"x" * 65536)
            await writer.drain()

    async def endless_body(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"\r\n")
        await endless(writer)

    async def endless_chunks(writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        while not writer.is_closing():
            writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
            await writer.drain()

    for behaviour in (endless, endless_body, endless_chunks):
        async with answering(tmp_path, behaviour) as (path, _):
            with pytest.raises(WireError):
                await request(path, "GET", "/v1/x", timeout=5)
            with pytest.raises(WireError):
                await collect(path)


async def test_a_server_that_says_nothing_is_given_up_after_the_time_limit(tmp_path: Path) -> None:
    async def silent(writer: asyncio.StreamWriter) -> None:
        await writer.wait_closed()

    async with answering(tmp_path, silent) as (path, _):
        with pytest.raises(WireError, match="did not answer within"):
            await request(path, "GET", "/v1/x", timeout=0.1)


async def test_that_no_engine_runs_and_that_one_may_not_ask_it_are_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(WireError, match="no engine is running"):
        await request(tmp_path / "nothing.sock", "GET", "/")
    async with answering(tmp_path, b"") as (path, _):
        pass
    stale = tmp_path / "stale.sock"
    stale.write_text("")
    with pytest.raises(WireError, match="no engine is running"):
        await request(stale, "GET", "/")
    assert not path.exists()


async def collect(path: Path) -> list[ServerEvent]:
    return [event async for event in events(path, "/v1/events")]


STREAM = (
    b'event: snapshot\nid: 7\ndata: {"a": 1}\n\n: a comment\n\nretry: 5\n\n'
    b'event:delta\nid: 8\ndata: {"b":\ndata:  2}\n\nid: 9\r\nevent: bye\r\ndata: {}\r\n\r\nevent: cut\ndata: {"c'
)


@pytest.mark.parametrize("framing", ["plain", "chunked", "byte by byte"])
async def test_a_stream_is_read_as_the_standard_has_it(tmp_path: Path, framing: str) -> None:
    answer: Behaviour = OK + b"\r\n" + STREAM
    if framing == "chunked":
        answer = CHUNKED + chunked(STREAM[:30], STREAM[30:31], STREAM[31:])
    elif framing == "byte by byte":
        answer = [CHUNKED, *(b"1\r\n%c\r\n" % byte for byte in STREAM), b"0\r\n\r\n"]
    async with answering(tmp_path, answer) as (path, _):
        assert await collect(path) == [
            ServerEvent("snapshot", 7, {"a": 1}),
            ServerEvent("delta", 8, {"b": 2}),
            ServerEvent("bye", 9, {}),
        ]


@pytest.mark.parametrize(
    "stream",
    [b"data: {]\n\n", b"data: [1]\n\n", b"data: 7\n\n", b"id: x\ndata: {}\n\n", b"data: " + b"[" * 90_000 + b"\n\n"],
)
async def test_an_event_that_is_none_of_ours_breaks_the_stream(tmp_path: Path, stream: bytes) -> None:
    async with answering(tmp_path, OK + b"\r\n" + stream) as (path, _):
        with pytest.raises(WireError):
            await collect(path)


async def test_a_stream_that_is_refused_is_an_error(tmp_path: Path) -> None:
    async with answering(tmp_path, b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n") as (path, _):
        with pytest.raises(WireError, match="503"):
            await collect(path)


async def test_headers_of_a_stream_are_handed_on(tmp_path: Path) -> None:
    seen: list[Any] = []
    async with answering(tmp_path, OK + b"OpsDash-API: 2\r\n\r\n") as (path, _):
        assert [event async for event in events(path, "/v1/events", None, seen.append)] == []
    assert seen[0]["opsdash-api"] == "2"
