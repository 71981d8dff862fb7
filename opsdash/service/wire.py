"""HTTP/1.1 over a Unix socket, from the client's side: just what the engine's own server speaks.

`opsdash status` has to answer within a tenth of a second, and the board has to show its first rows within half of one.
Importing an HTTP library costs more than that, and this side talks to one server only, which is ours.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opsdash.model.text import clean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

LIMIT = 32 * 1024 * 1024
"""Bytes of one answer or event at most."""

MOST_HEADERS = 100

BROKEN = (OSError, EOFError, ValueError, RecursionError, asyncio.LimitOverrunError)
"""What a connection that breaks, or a server that is none of ours, comes to."""


class WireError(Exception):
    """The engine cannot be reached, or what came is no answer of it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: HTTP status, headers with lower-case names, and the decoded JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One server-sent event."""

    name: str
    id: int
    data: Any


async def request(
    socket: Path,
    method: str,
    path: str,
    body: Any = None,
    *,
    headers: Mapping[str, str] | None = None,
    timeout: float = 30.0,
) -> Reply:
    """One request on a connection of its own. Raises WireError."""
    try:
        async with asyncio.timeout(timeout), _connection(socket) as (reader, writer):
            await _send(writer, method, path, body, headers or {})
            status, answered = await _head(reader)
            raw = await _body(reader, answered)
    except TimeoutError:
        raise WireError(f"the engine did not answer within {timeout:.0f} s") from None
    except BROKEN as error:
        raise WireError(_why(error)) from error
    try:
        return Reply(status, answered, json.loads(raw) if raw else None)
    except (ValueError, RecursionError) as error:
        raise WireError(f"the engine's answer is no JSON: {raw[:80]!r}") from error


async def events(
    socket: Path,
    path: str,
    headers: Mapping[str, str] | None = None,
    opened: Callable[[Mapping[str, str]], None] = lambda _: None,
) -> AsyncIterator[ServerEvent]:
    """The events of one stream until it ends. Raises WireError when it cannot be opened or breaks.

    opened: is given the headers of the answer.
    """
    try:
        async with _connection(socket) as (reader, writer):
            await _send(writer, "GET", path, None, headers or {})
            status, answered = await _head(reader)
            if status != 200:
                raise WireError(f"the engine refused the stream ({status})")
            opened(answered)
            async for event in _parse(_lines(reader, answered)):
                yield event
    except BROKEN as error:
        raise WireError(_why(error)) from error


@asynccontextmanager
async def _connection(socket: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(str(socket), limit=LIMIT)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _send(writer: asyncio.StreamWriter, method: str, path: str, body: Any, headers: Mapping[str, str]) -> None:
    payload = b"" if body is None else json.dumps(body).encode()
    fields = {"host": "opsdash", "connection": "close", "content-length": str(len(payload)), **headers}
    if payload:
        fields["content-type"] = "application/json"
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + payload)
    await writer.drain()


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    version, _, rest = (await reader.readuntil(b"\r\n")).decode("latin-1").partition(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError("an answer that is no HTTP")
    headers: dict[str, str] = {}
    rows = 0
    while (row := await reader.readuntil(b"\r\n")) != b"\r\n":
        rows += 1
        if rows > MOST_HEADERS:
            raise ValueError(f"an answer with more than {MOST_HEADERS} headers")
        name, _, value = row.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(rest[:3]), headers


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if "content-length" in headers:
        length = int(headers["content-length"])
        if length > LIMIT:
            raise ValueError(f"an answer of {length} bytes")
        return await reader.readexactly(length)
    if headers.get("transfer-encoding") == "chunked":
        found = bytearray()
        async for chunk in _chunks(reader):
            found += chunk
            _check_length(found)
        return bytes(found)
    found = bytearray()
    while piece := await reader.read(65536):
        found += piece
        _check_length(found)
    return bytes(found)


def _check_length(found: bytes | bytearray | str) -> None:
    if len(found) > LIMIT:
        raise ValueError(f"an answer of more than {LIMIT >> 20} MiB")


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        length = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if length > LIMIT:
            raise ValueError(f"a chunk of {length} bytes")
        chunk = await reader.readexactly(length)
        await reader.readexactly(2)
        if not length:
            return
        yield chunk


async def _lines(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> AsyncIterator[str]:
    if headers.get("transfer-encoding") != "chunked":
        while row := await reader.readline():
            yield row.decode().rstrip("\r\n")
        return
    rest = b""
    async for chunk in _chunks(reader):
        *rows, rest = (rest + chunk).split(b"\n")
        _check_length(rest)
        for row in rows:
            yield row.decode().rstrip("\r")


async def _parse(rows: AsyncIterator[str]) -> AsyncIterator[ServerEvent]:
    """Server-sent events, as WHATWG HTML section 9.2.6 defines them, without `retry`."""
    name, number, data = "message", 0, ""
    async for row in rows:
        if not row:
            if data:
                yield ServerEvent(name, number, _mapping(data))
            name, data = "message", ""
            continue
        field, _, value = row.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "id":
            number = int(value)
        elif field == "data":
            data = f"{data}\n{value}" if data else value
            _check_length(data)


def _mapping(data: str) -> dict[str, Any]:
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError("an event that is no mapping")  # noqa: TRY004 - a server may send what it likes
    return found


def _why(error: Exception) -> str:
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return "no engine is running"
    if isinstance(error, PermissionError):
        return "this user may not talk to the engine; its owner can let a group in (engine.group of opsdash.yaml)"
    detail = str(error) if type(error) is ValueError else type(error).__name__
    return f"the connection to the engine broke ({clean(detail, 100)})"
