"""What a fault does to a response that was fine.

Faults of the wire (down, hang, drip, reset) act in `server`, before or below HTTP. Those here replace or
reshape a complete response, in the ways in which vendors really break: an HTML page with status 200, a
renamed field, data an hour old, a body that is an attack on whoever displays it.
"""

from __future__ import annotations

import functools
import gzip
import json
import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from opsdash.demo.catalog import Fault
from opsdash.demo.web import Response, refusal, with_headers
from opsdash.demo.world import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STALE_BY = timedelta(hours=1)

# Clipboard write, window title, colours and clear, an 8-bit control sequence, right-to-left override,
# zero-width space, console markup, and a click handler as markup.
HOSTILE_TEXT = (
    "\x1b]52;c;b3duZWQ=\x07\x1b]0;owned\x07\x1b[2J\x1b[31mred\x9b31m"
    "\u202egnp.exe\u200b[/nope][bold red][@click=app.quit]press[/]"
)
HOSTILE_BYTES = HOSTILE_TEXT.encode() + b"\xff\xfe\xc3\x28"
_HOSTILE_VALUE = HOSTILE_BYTES.replace(b"\r", b"").replace(b"\n", b"")

_BOMB_SIZE = 48 * 1024 * 1024
_ERROR_PAGE = b"<!doctype html><html><head><title>Sorry</title></head><body><h1>We will be back soon</h1></body></html>"
_TIMESTAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


def spoil(fault: Fault, response: Response, *, turn: int) -> Response:
    """The response as the fault leaves it; `turn` counts responses, for faults that have two faces."""
    if fault is Fault.HOSTILE:
        return _hostile(response, raw=turn % 2 == 0)
    change = _CHANGES.get(fault)
    return response if change is None else change(response)


def _error(_response: Response) -> Response:
    return refusal(500, "internal error")


def _unauthorised(_response: Response) -> Response:
    return refusal(401, "invalid credentials", headers=(("WWW-Authenticate", 'Bearer realm="demo"'),))


def _error_page(_response: Response) -> Response:
    return Response(status=200, content_type="text/html; charset=utf-8", body=_ERROR_PAGE)


def _nothing(response: Response) -> Response:
    return replace(response, status=200, body=b"", payload=None)


def _an_hour_old(response: Response) -> Response:
    return replace(response, body=_TIMESTAMP.sub(_shift, response.body))


def _shift(match: re.Match[bytes]) -> bytes:
    moment = datetime.fromisoformat(match.group().decode())
    return rfc3339(moment - STALE_BY).encode()


def _another_shape(response: Response) -> Response:
    """JSON: a new envelope, and numbers became strings. CSV: another separator and other column names."""
    if response.payload is None:
        head, _, rows = response.body.partition(b"\n")
        renamed = b";".join(b"col_" + name.strip() for name in head.split(b","))
        return replace(response, body=renamed + b"\n" + rows.replace(b",", b";"))
    payload = {"apiVersion": 2, "data": _numbers_to_text(response.payload)}
    return replace(response, payload=payload, body=json.dumps(payload).encode())


def _numbers_to_text(value: Any) -> Any:
    match value:
        case dict():
            return {key: _numbers_to_text(each) for key, each in value.items()}
        case list():
            return [_numbers_to_text(each) for each in value]
        case bool() | None | str():
            return value
        case _:
            return str(value)


def _bomb(response: Response) -> Response:
    return with_headers(replace(response, body=_bomb_body()), ("Content-Encoding", "gzip"))


@functools.cache
def _bomb_body() -> bytes:
    return gzip.compress(bytes(_BOMB_SIZE), compresslevel=9, mtime=0)


def _hostile(response: Response, *, raw: bool) -> Response:
    """Either bytes that are no text at all, or valid JSON whose every word is an attack on the screen."""
    if raw or response.payload is None:
        body, content_type = HOSTILE_BYTES, b"text/plain; charset=" + _HOSTILE_VALUE
        note = _HOSTILE_VALUE
    else:
        body, content_type = json.dumps(_poisoned(response.payload)).encode(), b"application/json"
        note = "\u202e[/nope]".encode() + b"\xff\xfe"
    return with_headers(Response(status=200, content_type=content_type, body=body), ("X-Note", note))


def _poisoned(value: Any) -> Any:
    match value:
        case dict():
            return {key: _poisoned(each) for key, each in value.items()}
        case list():
            return [_poisoned(each) for each in value]
        case bool() | str():
            return HOSTILE_TEXT
        case _:
            return value


_CHANGES: Mapping[Fault, Callable[[Response], Response]] = {
    Fault.ERROR: _error,
    Fault.WRONG_CREDENTIALS: _unauthorised,
    Fault.GARBAGE: _error_page,
    Fault.EMPTY: _nothing,
    Fault.STALE: _an_hour_old,
    Fault.WRONG_SCHEMA: _another_shape,
    Fault.GZIP_BOMB: _bomb,
}
