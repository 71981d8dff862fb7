"""`http2: true`: servers that speak it, that do not, and that speak it badly."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import h2.connection
import h2.errors
import pytest
from pydantic import ValidationError

from opsdash.engine.tasks import cancel
from opsdash.kinds import ways
from opsdash.kinds.checks import http
from opsdash.model.status import Reason, Status
from tests.engine.support import eventually
from tests.kinds.wayside import Http2Server, HttpProxy, replying, speaking_http2

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

    from opsdash.kinds.base import CheckContext, Sample
    from opsdash.kinds.keeping import Keep

Serve = Callable[..., Awaitable[Any]]
MakeContext = Callable[..., "CheckContext"]
React = Callable[["h2.connection.H2Connection", int], None]


@pytest.fixture
def serve_http2(serve: Serve, authority: Any) -> Callable[[Any], Awaitable[Any]]:
    """Start a server of HTTP/2 over TLS; `behaviour` reacts to each request, or speaks for itself."""

    async def start(behaviour: Any, **keys: Any) -> Any:
        return await serve(behaviour, tls=speaking_http2(authority.server(days=45)), **keys)

    return start


@pytest.fixture
def check(authority: Any) -> Callable[..., Awaitable[Any]]:
    async def run(server: Any, context: CheckContext, **keys: Any) -> Sample:
        keys = {"url": f"https://{server.origin}/path?q=1", "ca": str(authority.file), "http2": True, **keys}
        async with asyncio.timeout(10):
            return await http.run(http.Options.model_validate(keys), context)

    return run


Check = Callable[..., Awaitable[Any]]


def verdict(sample: Sample) -> tuple[Status, Reason | None]:
    return sample.status, sample.reason


async def test_an_answer_has_all_that_one_by_http_1_has(serve_http2: Serve, context: MakeContext, check: Check) -> None:
    speaker = Http2Server(replying(b'{"healthy": true}', headers=(("content-type", "application/json"),)))
    server = await serve_http2(speaker)
    sample = await check(server, context(), headers={"X-Key": "k"})
    assert verdict(sample) == (Status.OK, None)
    assert sample.values["json"] == {"healthy": True}
    assert sample.values["http_version"] == "2"
    assert sample.values["address"] == "127.0.0.1"
    assert 40 < sample.values["certificate"]["days_left"] < 200
    assert sample.values["certificate"]["protocol"] == "TLSv1.3"
    assert all(sample.phases[name] > 0 for name in ("connect", "tls", "first_byte"))
    assert sum(sample.phases.values()) <= sample.latency
    [(headers, body)] = speaker.requests
    assert headers[":authority"] == server.origin
    assert (headers[":path"], headers["x-key"], headers["accept-encoding"], body) == ("/path?q=1", "k", "gzip", b"")
    assert "connection" not in headers
    await server.until_open(0)


async def test_a_body_is_sent_and_a_status_judged(serve_http2: Serve, context: MakeContext, check: Check) -> None:
    speaker = Http2Server(replying(status=503))
    server = await serve_http2(speaker)
    sample = await check(server, context(), method="POST", body="x" * 200_000)
    assert verdict(sample) == (Status.DOWN, Reason.STATUS)
    assert len(speaker.requests[0][1]) == 200_000


async def test_a_server_that_does_not_speak_it_is_spoken_to_by_http_1(
    serve: Serve, context: MakeContext, check: Check, http_answer: Any, authority: Any
) -> None:
    server = await serve(http_answer("x"), tls=authority.server())
    sample = await check(server, context())
    assert (verdict(sample), sample.values["http_version"]) == ((Status.OK, None), "1.1")


async def test_those_who_do_not_ask_for_it_go_on_by_http_1(
    serve: Serve, context: MakeContext, check: Check, authority: Any
) -> None:
    chosen: list[str | None] = []

    async def behave(_: Any, reader: StreamReader, writer: StreamWriter) -> None:
        chosen.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        if chosen[-1] == "h2":
            await Http2Server(replying())(server, reader, writer)
        else:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = await serve(behave, tls=speaking_http2(authority.server()))
    for wanted in (True, False, True, False):
        assert verdict(await check(server, context(), http2=wanted)) == (Status.OK, None)
    assert chosen == ["h2", None, "h2", None]


async def test_redirects_and_challenges_are_answered_by_http_2_too(
    serve_http2: Serve, context: MakeContext, check: Check
) -> None:
    def react(connection: h2.connection.H2Connection, stream: int) -> None:
        number = len(speaker.requests)
        replying(status=302 if number == 1 else 200, headers=(("location", "/there"), ("set-cookie", "a=b")))(
            connection, stream
        )

    speaker = Http2Server(react)
    server = await serve_http2(speaker)
    sample = await check(server, context(), redirects=2)
    assert verdict(sample) == (Status.OK, None)
    assert sample.values["url"].endswith("/there")
    assert sample.values["http_version"] == "2"


async def test_no_cookie_is_carried_to_the_next_run(
    serve_http2: Serve, context: MakeContext, check: Check, keep: Keep
) -> None:
    speaker = Http2Server(replying(headers=(("set-cookie", "session=1"),)))
    server = await serve_http2(speaker)
    for _ in range(2):
        await check(server, context(keep=keep), connection="keep")
    assert [("cookie" in headers) for headers, _ in speaker.requests] == [False, False]


# --- hostile servers -------------------------------------------------------------------------------------------------


async def test_a_gzip_bomb_never_unfolds(serve_http2: Serve, context: MakeContext, check: Check) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    server = await serve_http2(Http2Server(replying(bomb, headers=(("content-encoding", "gzip"),))))
    await check(server, context(wants_json=False))
    tracemalloc.start()
    try:
        sample = await check(server, context(wants_json=False))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (sample.values["size"], sample.values["truncated"]) == (1 << 20, True)
    assert peak < 8_000_000
    await server.until_open(0)


async def test_a_body_far_beyond_the_limit_is_cut_there(serve_http2: Serve, context: MakeContext, check: Check) -> None:
    def react(connection: h2.connection.H2Connection, stream: int) -> None:
        connection.send_headers(stream, [(":status", "200")])
        while connection.local_flow_control_window(stream) > 16384:
            connection.send_data(stream, b"x" * 16384)

    server = await serve_http2(Http2Server(react))
    sample = await check(server, context(wants_json=False), max_body="100KiB")
    assert (sample.values["size"], sample.values["truncated"]) == (100 * 1024, True)
    await server.until_open(0)


async def test_frames_that_never_carry_anything_come_to_an_end(
    serve_http2: Serve, context: MakeContext, check: Check
) -> None:
    async def pings(server: Any, reader: StreamReader, writer: StreamWriter) -> None:
        await reader.read(65536)
        writer.write(b"\0\0\0\x04\0\0\0\0\0")  # settings
        while True:
            writer.write(b"\0\0\x08\x06\x01\0\0\0\0pingpong" * 1000)
            await writer.drain()

    server = await serve_http2(pings)
    sample = await check(server, context(), max_body="1KiB")
    assert verdict(sample) == (Status.DOWN, Reason.TOO_LARGE)
    await server.until_open(0)


async def test_too_many_headers_are_an_error(serve_http2: Serve, context: MakeContext, check: Check) -> None:
    many = tuple((f"x-{number}", "y") for number in range(300))
    server = await serve_http2(Http2Server(replying(headers=many)))
    sample = await check(server, context())
    assert verdict(sample) == (Status.DOWN, Reason.TOO_LARGE)


def reset(connection: h2.connection.H2Connection, stream: int) -> None:
    connection.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)


def go_away(connection: h2.connection.H2Connection, _: int) -> None:
    connection.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)


def not_even_looked_at(connection: h2.connection.H2Connection, _: int) -> None:
    connection.close_connection(h2.errors.ErrorCodes.NO_ERROR, last_stream_id=0)


@pytest.mark.parametrize(
    ("react", "words"),
    [(reset, "error code 2"), (go_away, "error code 11"), (not_even_looked_at, "error code 0")],
)
async def test_a_server_that_breaks_off_is_down(
    serve_http2: Serve, context: MakeContext, check: Check, react: React, words: str
) -> None:
    server = await serve_http2(Http2Server(react))
    sample = await check(server, context())
    assert verdict(sample) == (Status.DOWN, Reason.PROTOCOL)
    assert words in sample.detail
    assert server.accepted == 1
    await server.until_open(0)


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"\xff" * 200,
        b"",
        b"\0\0\0\x04\0\0\0\0\0" + b"\0\0\x03\x01\x04\0\0\0\x01\x88\xff\xff",
        b"\0\0\0\x04\0\0\0\0\0" + b"\0\0\x04\x01\x04\0\0\0\x01\x08\x02xx",
    ],
    ids=["http-1.1", "noise", "nothing", "broken-hpack", "no-status"],
)
async def test_what_is_no_http_2_is_named_as_such(
    serve_http2: Serve, context: MakeContext, check: Check, said: bytes
) -> None:
    async def behave(server: Any, reader: StreamReader, writer: StreamWriter) -> None:
        await reader.read(65536)
        writer.write(said)

    server = await serve_http2(behave)
    sample = await check(server, context())
    assert verdict(sample) == (Status.DOWN, Reason.PROTOCOL)
    await server.until_open(0)


@pytest.mark.parametrize("moment", ["tls", "first_byte", "body"])
async def test_a_run_that_is_cut_off_leaves_no_connection(
    serve: Serve, serve_http2: Serve, context: MakeContext, check: Check, moment: str
) -> None:
    def headers_only(connection: h2.connection.H2Connection, stream: int) -> None:
        connection.send_headers(stream, [(":status", "200")])

    async def hang(_: Any, reader: StreamReader, __: StreamWriter) -> None:
        await reader.read()

    if moment == "tls":
        server = await serve(hang)
    else:
        server = await serve_http2(Http2Server(headers_only if moment == "body" else lambda *_: None))
    callers = [context() for _ in range(10)]
    runs = [asyncio.ensure_future(check(server, caller)) for caller in callers]
    await eventually(lambda: {caller.stage for caller in callers} == {moment})
    await server.until_open(10)
    await cancel(*runs)
    await server.until_open(0)


# --- kept, and through a proxy ---------------------------------------------------------------------------------------


async def test_a_kept_connection_serves_run_after_run(
    serve_http2: Serve, context: MakeContext, check: Check, keep: Keep
) -> None:
    server = await serve_http2(Http2Server(replying()))
    samples = [await check(server, context(keep=keep), connection="keep") for _ in range(3)]
    assert [verdict(sample) for sample in samples] == [(Status.OK, None)] * 3
    assert server.accepted == 1
    assert [samples[2].phases[name] for name in ("dns", "connect", "tls")] == [0, 0, 0]
    assert samples[2].values["certificate"] == samples[0].values["certificate"]


async def test_a_kept_connection_that_the_server_ended_is_opened_anew(
    serve_http2: Serve, context: MakeContext, check: Check, keep: Keep
) -> None:
    def react(connection: h2.connection.H2Connection, stream: int) -> None:
        replying()(connection, stream)
        connection.close_connection(last_stream_id=stream)

    server = await serve_http2(Http2Server(react))
    for run in (1, 2, 3):
        sample = await check(server, context(keep=keep), connection="keep", method="POST")
        assert verdict(sample) == (Status.OK, None)
        assert server.accepted == run


async def test_a_kept_connection_that_is_gone_is_noticed_before_anything_is_sent(
    serve_http2: Serve, context: MakeContext, check: Check, keep: Keep
) -> None:
    server = await serve_http2(Http2Server(replying()))
    for run in (1, 2):
        assert verdict(await check(server, context(keep=keep), connection="keep", method="POST")) == (Status.OK, None)
        assert server.accepted == run
        await cancel(*server.tasks)
        await server.until_open(0)


async def test_a_kept_connection_that_ends_under_the_request_is_opened_anew_once(
    serve_http2: Serve, context: MakeContext, check: Check, keep: Keep
) -> None:
    def react(connection: h2.connection.H2Connection, stream: int) -> None:
        if len(speaker.requests) == 2:
            go_away(connection, stream)
        else:
            replying()(connection, stream)

    speaker = Http2Server(react)
    server = await serve_http2(speaker)
    samples = [await check(server, context(keep=keep), connection="keep") for _ in range(2)]
    assert [verdict(sample) for sample in samples] == [(Status.OK, None)] * 2
    assert (server.accepted, len(speaker.requests)) == (2, 3)


async def test_what_the_server_says_it_has_not_looked_at_is_sent_again_whatever_it_is(
    serve_http2: Serve, context: MakeContext, check: Check, keep: Keep
) -> None:
    def react(connection: h2.connection.H2Connection, stream: int) -> None:
        if len(speaker.requests) == 2:
            connection.close_connection(last_stream_id=stream - 2)
        else:
            replying()(connection, stream)

    speaker = Http2Server(react)
    server = await serve_http2(speaker)
    samples = [await check(server, context(keep=keep), connection="keep", method="POST") for _ in range(2)]
    assert [verdict(sample) for sample in samples] == [(Status.OK, None)] * 2
    assert (server.accepted, len(speaker.requests)) == (2, 3)


async def test_what_was_cut_off_is_not_gone_on_with(
    serve_http2: Serve, context: MakeContext, check: Check, keep: Keep
) -> None:
    server = await serve_http2(Http2Server(replying(b"x" * 300_000)))
    for _ in range(2):
        sample = await check(server, context(keep=keep, wants_json=False), connection="keep", max_body="1KiB")
        assert sample.values["body"] == "x" * 1024
    assert server.accepted == 2
    await server.until_open(0)


async def test_it_goes_through_a_proxy_as_well(
    serve: Serve, serve_http2: Serve, context: MakeContext, check: Check
) -> None:
    proxy = await serve(HttpProxy())
    server = await serve_http2(Http2Server(replying()))
    sample = await check(server, context(), proxy=f"http://{proxy.origin}")
    assert (verdict(sample), sample.values["http_version"]) == ((Status.OK, None), "2")
    assert proxy.requests[0].startswith(f"CONNECT {server.origin} ".encode())


# --- what cannot be --------------------------------------------------------------------------------------------------


def test_without_its_package_the_key_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "find_spec", lambda _: None)
    with pytest.raises(ValidationError, match=r"pip install 'opsdash\[http2\]'"):
        http.Options.model_validate({"url": "https://a.example/", "http2": True})


def test_without_tls_nobody_agrees_to_it() -> None:
    with pytest.raises(ValidationError, match="write an https:// URL, or remove `http2`"):
        http.Options.model_validate({"url": "http://a.example/", "http2": True})
