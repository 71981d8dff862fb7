"""HTTP/1.1 in the small: enough for JSON services and their clients, and nothing that hides a byte.

Own code instead of a server library because the faults act on bytes: a response must be able to drip, to
carry a header no library would send, and to be cut off anywhere. One request per connection (`Connection:
close`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

LOOPBACK = "127.0.0.1"
_HEAD_LIMIT = 16 * 1024
_BODY_LIMIT = 64 * 1024
_ANSWER_LIMIT = 1024 * 1024
_PATIENCE = 10.0
_ENDLESS_PART = b", 0" * 20_000

Headers = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> object:
        """The body's value, or None when it is no JSON: every caller refuses both alike."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """`payload` is what `body` was made from, so that a fault can reshape the value instead of the bytes."""

    status: int = 200
    headers: Headers = ()
    body: bytes = b""
    content_type: str | bytes = "application/json"
    payload: Any = None

    def header(self, name: str) -> str | None:
        for key, value in self.headers:
            if key.lower() == name.lower():
                return value.decode("latin-1") if isinstance(value, bytes) else value
        return None


Handler = Callable[[Request], Response]
Routes = Mapping[tuple[str, str], Handler]


class Unusable(Exception):  # noqa: N818  # it is an answer, not an error of ours
    """What came back cannot be used; the text says why, in words that fit a log line."""


def json_response(payload: Any, *, status: int = 200, headers: Headers = ()) -> Response:
    body = json.dumps(payload).encode()
    return Response(status=status, headers=headers, body=body, payload=payload)


def refusal(status: int, reason: str, *, headers: Headers = ()) -> Response:
    return json_response({"error": reason}, status=status, headers=headers)


def dispatch(routes: Routes, request: Request) -> Response:
    """The handler's response; 404 and 405 are told apart because an operator mistypes both."""
    method = "GET" if request.method == "HEAD" else request.method
    handler = routes.get((method, request.path))
    if handler is not None:
        return handler(request)
    allowed = sorted(known for known, path in routes if path == request.path)
    if allowed:
        return refusal(405, f"{request.path} takes {', '.join(allowed)}", headers=(("Allow", ", ".join(allowed)),))
    return refusal(404, f"there is nothing at {request.path}")


# --- the server's side of the wire ---


async def answer(
    reader: asyncio.StreamReader,
    send: Callable[[bytes], Awaitable[None]],
    respond: Callable[[Request], Awaitable[Response]],
) -> None:
    """Read one request, send one response. Nonsense gets 400, silence gets nothing."""
    try:
        async with asyncio.timeout(_PATIENCE):
            request = await read_request(reader)
    except ValueError as problem:
        await send(encode(refusal(400, str(problem))))
        return
    except (TimeoutError, asyncio.IncompleteReadError):
        return
    await send(encode(await respond(request), without_body=request.method == "HEAD"))


async def answer_without_end(reader: asyncio.StreamReader, send: Callable[[bytes], Awaitable[None]]) -> None:
    """Read one request, and send numbers until the client has had enough and leaves."""
    await reader.readuntil(b"\r\n\r\n")
    await send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n[0")
    while True:
        await send(_ENDLESS_PART)


async def read_request(reader: asyncio.StreamReader) -> Request:
    line, headers = await _read_head(reader)
    try:
        method, target, _version = line.split(" ")
        length = int(headers.get("content-length", "0"))
    except ValueError:
        raise ValueError("this is no HTTP/1.1 request") from None
    if not 0 <= length <= _BODY_LIMIT:
        raise ValueError(f"the body must have at most {_BODY_LIMIT} bytes")
    url = urlsplit(target)
    return Request(
        method=method,
        path=url.path,
        query=dict(parse_qsl(url.query)),
        headers=headers,
        body=await reader.readexactly(length),
    )


def encode(response: Response, *, without_body: bool = False) -> bytes:
    """The response as bytes, written as they are: a fault may put anything into a header."""
    length = len(response.body)
    fields: Headers = (
        ("Content-Type", response.content_type),
        *response.headers,
        ("Content-Length", str(length)),
        ("Connection", "close"),
    )
    lines = [f"HTTP/1.1 {response.status} {_phrase(response.status)}".encode("ascii")]
    lines += [name.encode("ascii") + b": " + _raw(value) for name, value in fields]
    head = b"\r\n".join(lines) + b"\r\n\r\n"
    return head if without_body else head + response.body


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _raw(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")


async def _read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise ValueError("the headers are too long") from None
    if len(head) > _HEAD_LIMIT:
        raise ValueError("the headers are too long")
    first, *rest = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in rest if line)
    return first, {name.strip().lower(): value.strip() for name, _, value in pairs}


# --- the client's side, for services that use each other ---


async def fetch(
    port: int,
    path: str,
    *,
    method: str = "GET",
    payload: object = None,
    within: float = 1.0,
) -> Response:
    """One exchange with a neighbour. Raises `Unusable` for everything but a complete response."""
    try:
        async with asyncio.timeout(within):
            return await _exchange(port, method, path, payload)
    except TimeoutError:
        raise Unusable("no answer in time") from None
    except (OSError, ValueError, asyncio.IncompleteReadError) as problem:
        raise Unusable(f"no usable answer ({type(problem).__name__})") from problem


async def fetch_json(port: int, path: str, *, method: str = "GET", payload: object = None) -> Any:
    """The value of a 2xx response. Its shape is the caller's to judge."""
    response = await fetch(port, path, method=method, payload=payload)
    if not 200 <= response.status < 300:
        raise Unusable(f"status {response.status}")
    try:
        return json.loads(response.body)
    except ValueError:
        raise Unusable("the answer is no JSON") from None


async def _exchange(port: int, method: str, path: str, payload: object) -> Response:
    reader, writer = await asyncio.open_connection(LOOPBACK, port, limit=_HEAD_LIMIT)
    try:
        body = b"" if payload is None else json.dumps(payload).encode()
        writer.write(_request_head(port, method, path, body) + body)
        await writer.drain()
        return await _read_response(reader)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _request_head(port: int, method: str, path: str, body: bytes) -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


async def _read_response(reader: asyncio.StreamReader) -> Response:
    line, headers = await _read_head(reader)
    status = int(line.split(" ")[1]) if line.startswith("HTTP/1.1 ") else 0
    length = int(headers.get("content-length", "0"))
    if not 100 <= status <= 599 or not 0 <= length <= _ANSWER_LIMIT or "content-encoding" in headers:
        raise ValueError("this is no response that a small client understands")
    body = await reader.readexactly(length)
    return Response(status=status, headers=tuple(headers.items()), body=body)


def with_headers(response: Response, *headers: tuple[str, str | bytes]) -> Response:
    return replace(response, headers=(*response.headers, *headers))
