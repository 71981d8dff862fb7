"""`connection: keep`: one connection for run after run, and servers that have their own mind about it."""

from __future__ import annotations

import asyncio
import gzip
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.kinds.checks import http
from opsdash.model.status import Reason, Status
from tests.kinds.conftest import read_request

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

    from opsdash.kinds.base import CheckContext, Sample
    from opsdash.kinds.keeping import Keep

Serve = Callable[..., Awaitable[Any]]
MakeContext = Callable[..., "CheckContext"]
Answer = Callable[..., bytes]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NEW_CONNECTION_PHASES = ("dns", "connect", "tls")


async def check(server: Any, context: CheckContext, *, scheme: str = "http", path: str = "/", **keys: Any) -> Sample:
    keys = {"url": f"{scheme}://{server.origin}{path}", "connection": "keep", **keys}
    async with asyncio.timeout(10):
        return await http.run(http.Options.model_validate(keys), context)


def staying(*replies: bytes) -> Any:
    """Answers request after request on one connection; `replies` in turn, the last one from then on."""

    async def behave(server: Any, reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            server.requests.append(await read_request(reader))
            writer.write(replies[min(len(server.requests), len(replies)) - 1])
            await writer.drain()

    return behave


def closing_at(fatal: int, *, before: bytes = b"") -> Any:
    """Answers, but for request number `fatal`, after which it sends `before` and closes the connection."""

    async def behave(server: Any, reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            server.requests.append(await read_request(reader))
            if len(server.requests) == fatal:
                writer.write(before)
                return
            writer.write(OK)
            await writer.drain()

    return behave


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def verdict(sample: Sample) -> tuple[Status, Reason | None]:
    return sample.status, sample.reason


# --- one connection for many runs ----------------------------------------------------------------------------------


async def test_the_second_run_looks_up_and_connects_nothing(serve: Serve, context: MakeContext, keep: Keep) -> None:
    server = await serve(staying(OK))
    first, second, third = [await check(server, context(keep=keep)) for _ in range(3)]
    assert [verdict(sample) for sample in (first, second, third)] == [(Status.OK, None)] * 3
    assert server.accepted == 1
    assert first.phases["connect"] > 0
    for sample in (second, third):
        assert [sample.phases[name] for name in NEW_CONNECTION_PHASES] == [0, 0, 0]
        assert sample.phases["first_byte"] > 0
        assert sample.values["address"] == "127.0.0.1"
    assert b"\r\nConnection: keep-alive\r\n" in server.requests[0]


async def test_without_the_key_every_run_opens_its_own(serve: Serve, context: MakeContext, keep: Keep) -> None:
    server = await serve(staying(OK))
    for _ in range(2):
        await check(server, context(keep=keep), connection="new")
    assert server.accepted == 2
    assert b"\r\nConnection: close\r\n" in server.requests[0]
    await server.until_open(0)


async def test_over_tls_the_certificate_is_known_in_every_run(
    serve: Serve, context: MakeContext, keep: Keep, authority: Any
) -> None:
    server = await serve(staying(OK), tls=authority.server(days=30))
    samples = [await check(server, context(keep=keep), scheme="https", ca=str(authority.file)) for _ in range(3)]
    assert server.accepted == 1
    assert samples[0].phases["tls"] > 0 == samples[1].phases["tls"]
    assert samples[0].values["certificate"] == samples[2].values["certificate"]
    assert samples[2].values["certificate"]["protocol"] == "TLSv1.3"


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["chunked", "interim", "http-1.0-that-agrees", "no-body"],
)
async def test_an_answer_that_says_where_it_ends_can_be_followed_by_another(
    serve: Serve, context: MakeContext, keep: Keep, reply: bytes
) -> None:
    server = await serve(staying(reply))
    for _ in range(3):
        await check(server, context(keep=keep))
    assert (server.accepted, len(server.requests)) == (1, 3)


async def test_a_head_request_leaves_the_connection_usable(serve: Serve, context: MakeContext, keep: Keep) -> None:
    server = await serve(staying(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"))
    for _ in range(2):
        assert (await check(server, context(keep=keep), method="HEAD")).status is Status.OK
    assert server.accepted == 1


@pytest.mark.parametrize(
    ("reply", "keys"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", {}),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", {}),
        (OK + OK, {}),
        (OK + b"HTTP/1.1 5", {}),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000, {"max_body": "1KiB"}),
    ],
    ids=["server-says-close", "http-1.0", "a-second-answer", "part-of-a-second-answer", "cut-off"],
)
async def test_what_is_not_in_good_order_is_closed_and_not_kept(
    serve: Serve, context: MakeContext, keep: Keep, reply: bytes, keys: dict[str, Any]
) -> None:
    server = await serve(staying(reply))
    for _ in range(2):
        assert (await check(server, context(keep=keep, wants_json=False), **keys)).status is Status.OK
    assert server.accepted == 2
    await server.until_open(0)


async def test_a_challenge_is_answered_on_the_same_connection(serve: Serve, context: MakeContext, keep: Keep) -> None:
    challenge = (
        b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n"
        b'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256\r\n\r\n'
    )
    server = await serve(staying(challenge, OK, challenge, OK))
    login = {"digest": {"user": "u", "password": "p"}}
    for _ in range(2):
        assert (await check(server, context(keep=keep), auth=login)).status is Status.OK
    assert (server.accepted, len(server.requests)) == (1, 4)


async def test_a_redirect_that_leads_elsewhere_is_followed_over_a_connection_that_is_not_kept(
    serve: Serve, context: MakeContext, keep: Keep
) -> None:
    other = await serve(staying(OK))
    moved = f"HTTP/1.1 302 Found\r\nLocation: http://{other.origin}/\r\nContent-Length: 0\r\n\r\n".encode()
    home = await serve(staying(moved))
    for _ in range(2):
        assert (await check(home, context(keep=keep), redirects=1)).status is Status.OK
    assert (home.accepted, other.accepted) == (1, 2)
    assert b"\r\nConnection: close\r\n" in other.requests[0]
    await other.until_open(0)


# --- servers that close ----------------------------------------------------------------------------------------------


async def test_a_server_that_closed_between_the_runs_is_connected_to_again_and_nobody_notices(
    serve: Serve, context: MakeContext, keep: Keep
) -> None:
    async def once(server: Any, reader: StreamReader, writer: StreamWriter) -> None:
        server.requests.append(await read_request(reader))
        writer.write(OK)

    server = await serve(once)
    for run in range(1, 4):
        sample = await check(server, context(keep=keep), method="POST")
        assert verdict(sample) == (Status.OK, None)
        assert sample.phases["connect"] > 0
        assert (server.accepted, len(server.requests)) == (run, run)
        await server.until_open(0)  # its side: ours still has the connection


async def test_a_server_that_was_replaced_between_the_runs_is_found(
    serve: Serve, context: MakeContext, keep: Keep, authority: Any
) -> None:
    keys = {"scheme": "https", "ca": str(authority.file)}
    old = await serve(staying(OK), tls=authority.server(days=10))
    assert (await check(old, context(keep=keep), **keys)).values["certificate"]["days_left"] < 30
    await old.stop()
    new = await serve(
        staying(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew"), tls=authority.server(days=80), port=old.port
    )
    sample = await check(new, context(keep=keep), **keys)
    assert sample.values["body"] == "new"
    assert sample.values["certificate"]["days_left"] > 30


async def test_a_server_that_is_gone_is_down_in_the_next_run(serve: Serve, context: MakeContext, keep: Keep) -> None:
    server = await serve(staying(OK))
    await check(server, context(keep=keep))
    await server.stop()
    assert verdict(await check(server, context(keep=keep))) == (Status.DOWN, Reason.REFUSED)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_connection_that_closes_under_the_request_is_opened_anew_once(
    serve: Serve, context: MakeContext, keep: Keep, method: str
) -> None:
    server = await serve(closing_at(2))
    samples = [await check(server, context(keep=keep), method=method) for _ in range(2)]
    assert [verdict(sample) for sample in samples] == [(Status.OK, None)] * 2
    assert (server.accepted, len(server.requests)) == (2, 3)


async def test_a_new_connection_that_closes_too_is_down(serve: Serve, context: MakeContext, keep: Keep) -> None:
    async def only_first(server: Any, reader: StreamReader, writer: StreamWriter) -> None:
        server.requests.append(await read_request(reader))
        if len(server.requests) == 1:
            writer.write(OK)
            server.requests.append(await read_request(reader))

    server = await serve(only_first)
    await check(server, context(keep=keep))
    sample = await check(server, context(keep=keep))
    assert verdict(sample) == (Status.DOWN, Reason.PROTOCOL)
    assert "without an answer" in sample.detail
    assert (server.accepted, len(server.requests)) == (2, 3)


async def test_what_may_change_something_is_never_sent_twice(serve: Serve, context: MakeContext, keep: Keep) -> None:
    server = await serve(closing_at(2))
    samples = [await check(server, context(keep=keep), method="POST") for _ in range(2)]
    assert [verdict(sample) for sample in samples] == [(Status.OK, None), (Status.DOWN, Reason.PROTOCOL)]
    assert len(server.requests) == 2


async def test_half_an_answer_is_a_failure_and_not_asked_for_again(
    serve: Serve, context: MakeContext, keep: Keep
) -> None:
    server = await serve(closing_at(2, before=b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"))
    await check(server, context(keep=keep))
    sample = await check(server, context(keep=keep))
    assert verdict(sample) == (Status.DOWN, Reason.PROTOCOL)
    assert len(server.requests) == 2


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_what_a_server_sends_without_being_asked_is_no_answer_to_the_next_request(
    serve: Serve, context: MakeContext, keep: Keep, authority: Any, tls: bool
) -> None:
    smuggled = asyncio.Event()

    async def behave(server: Any, reader: StreamReader, writer: StreamWriter) -> None:
        server.requests.append(await read_request(reader))
        writer.write(OK)
        await writer.drain()
        if len(server.requests) == 1:
            await let_it.wait()
            writer.write(b"HTTP/1.1 500 Smuggled\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            smuggled.set()
        await reader.read()

    let_it = asyncio.Event()
    server = await serve(behave, tls=authority.server() if tls else None)
    keys = {"scheme": "https", "ca": str(authority.file)} if tls else {}
    await check(server, context(keep=keep), **keys)
    let_it.set()
    await smuggled.wait()
    assert verdict(await check(server, context(keep=keep), **keys)) == (Status.OK, None)
    assert server.accepted == 2


# --- limits, deadlines, and nothing left over ------------------------------------------------------------------------


async def test_a_gzip_bomb_on_a_kept_connection_never_unfolds(serve: Serve, context: MakeContext, keep: Keep) -> None:
    bomb = gzip.compress(b"\0" * 20_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    server = await serve(staying(OK, head + bomb, OK))
    samples = [await check(server, context(keep=keep, wants_json=False)) for _ in range(3)]
    assert [sample.values["size"] for sample in samples] == [2, 1 << 20, 2]
    assert server.accepted == 2


async def test_the_deadline_ends_a_run_on_a_kept_connection_and_leaves_nothing(
    serve: Serve, context: MakeContext, keep: Keep
) -> None:
    async def answers_once(server: Any, reader: StreamReader, writer: StreamWriter) -> None:
        server.requests.append(await read_request(reader))
        writer.write(OK)
        await reader.read()

    server = await serve(answers_once)
    await check(server, context(keep=keep))
    caller = context(keep=keep)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await check(server, caller)
    assert caller.stage == "first_byte"
    await server.until_open(0)
    assert keep.take() is None


async def test_a_run_that_ends_after_its_check_leaves_nothing(serve: Serve, context: MakeContext, keep: Keep) -> None:
    answer = asyncio.Event()

    async def slow(server: Any, reader: StreamReader, writer: StreamWriter) -> None:
        await read_request(reader)
        await answer.wait()
        writer.write(OK)
        await reader.read()

    server = await serve(slow)
    run = asyncio.ensure_future(check(server, context(keep=keep)))
    await server.until_open(1)
    assert keep.close() is None
    answer.set()
    assert (await run).status is Status.OK
    await server.until_open(0)


async def test_where_nothing_follows_nothing_is_kept(serve: Serve, context: MakeContext) -> None:
    server = await serve(staying(OK))
    assert (await check(server, context(keep=None))).status is Status.OK
    await server.until_open(0)


async def test_other_settings_of_tls_are_another_connection(
    serve: Serve, context: MakeContext, keep: Keep, authority: Any
) -> None:
    server = await serve(staying(OK), tls=authority.server())
    await check(server, context(keep=keep), scheme="https", ca=str(authority.file))
    await check(server, context(keep=keep), scheme="https", verify_tls=False)
    assert server.accepted == 2
    await server.until_open(1)


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
async def test_hundreds_of_runs_of_every_sort_cost_one_descriptor(
    serve: Serve, context: MakeContext, keep: Keep
) -> None:
    close = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"

    async def behave(server: Any, reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            server.requests.append(await read_request(reader))
            number = len(server.requests) % 7
            if number == 3:
                return
            writer.write(close if number == 5 else OK)
            await writer.drain()

    server = await serve(behave)
    await check(server, context(keep=keep))
    await server.until_open(1)
    before = descriptors()
    for _ in range(300):
        assert (await check(server, context(keep=keep))).status is Status.OK
    await server.until_open(1)
    assert descriptors() == before
