"""One HTTP exchange against servers that are slow, broken or hostile."""

from __future__ import annotations

import asyncio
import gzip
import resource
import socket
import ssl
import struct
import sys
import threading
import tracemalloc
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from opsdash.kinds.base import CheckContext
from opsdash.kinds.failures import TooLargeError, explain
from opsdash.kinds.resolver import Resolver
from opsdash.kinds.tls import TlsSettings
from opsdash.kinds.transport import Response, build_request, fetch, parse_url
from opsdash.model.status import Reason

Serve = Callable[..., Awaitable[Any]]
MakeContext = Callable[..., CheckContext]
Answer = Callable[..., bytes]


async def get(url: str, context: CheckContext, method: str = "GET", **keys: Any) -> Response:
    async with asyncio.timeout(10):
        return await fetch(build_request(method, parse_url(url), **keys), context)


async def reason_of(exchange: Awaitable[Response]) -> tuple[Reason | None, str]:
    try:
        await exchange
    except Exception as error:  # noqa: BLE001
        _, reason, words = explain(error)
        return reason, words
    return None, ""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


# --- plain answers -------------------------------------------------------------------------------------------------


async def test_an_answer_arrives_with_its_times_and_where_it_came_from(
    serve: Serve, context: MakeContext, http_answer: Answer
) -> None:
    server = await serve(http_answer("hello", headers="X-One: 1\r\nx-one: 2"))
    response = await get(f"http://{server.origin}/path?q=ä b".replace(" ", "%20"), context())
    assert (response.status, response.body, response.truncated) == (200, b"hello", False)
    assert response.header("X-ONE") == "1, 2" == response.header_map()["x-one"]
    assert response.address == "127.0.0.1"
    assert list(response.phases) == ["dns", "connect", "tls", "first_byte", "body"]
    assert all(0 <= seconds < 5 for seconds in response.phases.values())
    assert sum(response.phases.values()) <= response.latency
    [request] = server.requests
    assert request.startswith(b"GET /path?q=%C3%A4%20b HTTP/1.1\r\nHost: " + server.origin.encode())
    assert b"\r\nConnection: close\r\n" in request


async def test_each_request_opens_a_connection_of_its_own_and_leaves_none(
    serve: Serve, context: MakeContext, http_answer: Answer
) -> None:
    server = await serve(http_answer("x"))
    for _ in range(3):
        await get(f"http://{server.origin}/", context())
    assert len(server.requests) == 3
    await server.until_open(0)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nabcde",
        b"HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 103 Hi\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-length: 5\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcdeHTTP/1.1 500 smuggled\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
        + gzip.compress(b"abc", mtime=0)
        + gzip.compress(b"de", mtime=0),
        b"HTTP/1.1 200 OK\r\nContent-Encoding: x-gzip\r\n\r\n" + gzip.compress(b"abcde", mtime=0) + b"\0\0",
    ],
    ids=["chunked", "until-close", "interim-answers", "more-than-one-answer", "gzip-members", "gzip-padding"],
)
async def test_every_framing_gives_the_same_body(serve: Serve, context: MakeContext, raw: bytes) -> None:
    server = await serve(raw)
    response = await get(f"http://{server.origin}/", context())
    assert (response.status, response.body, response.truncated) == (200, b"abcde", False)


async def test_a_head_request_has_no_body_whatever_its_headers_promise(serve: Serve, context: MakeContext) -> None:
    server = await serve(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\nContent-Encoding: gzip\r\n\r\n")
    response = await get(f"http://{server.origin}/", context(), "HEAD")
    assert (response.status, response.body) == (200, b"")


async def test_answers_without_a_body_are_complete_at_their_headers(serve: Serve, context: MakeContext) -> None:
    server = await serve(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (await get(f"http://{server.origin}/", context())).status == 204


async def test_a_large_request_body_arrives_whole(serve: Serve, context: MakeContext, http_answer: Answer) -> None:
    server = await serve(http_answer())
    body = bytes(range(256)) * 8192
    response = await get(f"http://{server.origin}/", context(), "PUT", body=body)
    assert response.status == 200
    assert server.requests[0].endswith(body)


async def test_an_answer_counts_even_when_the_server_did_not_want_the_whole_request(
    serve: Serve, context: MakeContext
) -> None:
    async def refuse(_: Any, reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await reader.read(-1)

    server = await serve(refuse)
    response = await get(f"http://{server.origin}/", context(), "POST", body=b"x" * 300_000)
    assert response.status == 413


async def test_an_encoding_that_nobody_asked_for_is_named_and_left_alone(
    serve: Serve, context: MakeContext, http_answer: Answer
) -> None:
    server = await serve(http_answer(b"\x0b\x02", headers="Content-Encoding: br"))
    response = await get(f"http://{server.origin}/", context())
    assert (response.encoding, response.body) == ("br", b"\x0b\x02")


async def test_what_is_quoted_from_an_answer_has_lost_its_escapes(serve: Serve, context: MakeContext) -> None:
    server = await serve(b"\x1b]52;c;aGk=\x07\r\n")
    _, said = await reason_of(get(f"http://{server.origin}/", context()))
    assert "\\x1b]52" in said
    assert "\x1b" not in said


async def test_escapes_and_wrong_encodings_in_headers_are_only_bytes(serve: Serve, context: MakeContext) -> None:
    server = await serve(b"HTTP/1.1 200 \xff\r\nX-Evil: \x9b31m\xe2\x80\xae\xff\r\nContent-Length: 2\r\n\r\n\xff\xfe")
    response = await get(f"http://{server.origin}/", context())
    assert response.header("x-evil") == "\x9b31m\xe2\x80\xae\xff"
    assert response.body == b"\xff\xfe"


# --- broken and hostile servers --------------------------------------------------------------------------------------


async def test_nobody_listening_is_refused(context: MakeContext) -> None:
    assert await reason_of(get(f"http://127.0.0.1:{free_port()}/", context())) == (
        Reason.REFUSED,
        "connection refused",
    )


async def test_a_reset_is_a_reset(serve: Serve, context: MakeContext) -> None:
    async def reset(_: Any, reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    server = await serve(reset)
    assert (await reason_of(get(f"http://{server.origin}/", context())))[0] is Reason.RESET


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "without an answer"),
        (b"HTTP/1.1 200 OK\r\nX: 1\r\n", "middle of the headers"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "middle of the body"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "middle of the body"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "no valid HTTP"),
        (b"HTTP/1.1 two OK\r\n\r\n", "no valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "no valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "no valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "no valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Encoding: gzip\r\n\r\nabc", "no valid gzip"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"x" * 99, mtime=0)[:20], "ends early"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", "switched to another protocol"),
    ],
)
async def test_what_is_no_http_is_named_as_such(serve: Serve, context: MakeContext, raw: bytes, words: str) -> None:
    server = await serve(raw)
    reason, said = await reason_of(get(f"http://{server.origin}/", context()))
    assert reason is Reason.PROTOCOL
    assert words in said
    await server.until_open(0)


async def test_a_body_without_end_is_cut_at_the_limit(serve: Serve, context: MakeContext) -> None:
    async def pour(_: Any, reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    server = await serve(pour)
    response = await get(f"http://{server.origin}/", context(), max_body=100_000)
    assert (len(response.body), response.truncated) == (100_000, True)
    await server.until_open(0)


@pytest.mark.parametrize("endless", [b"X-Line: " + b"y" * 500 + b"\r\n", b"y" * 500, b"HTTP/1.1 100 Go on\r\n\r\n"])
async def test_headers_without_end_are_an_error(serve: Serve, context: MakeContext, endless: bytes) -> None:
    async def pour(_: Any, reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"" if endless.startswith(b"HTTP") else b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(endless)
            await writer.drain()

    server = await serve(pour)
    with pytest.raises(TooLargeError, match="headers"):
        await get(f"http://{server.origin}/", context())
    await server.until_open(0)


async def test_chunks_that_never_carry_anything_come_to_an_end(serve: Serve, context: MakeContext) -> None:
    async def pour(_: Any, reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n")
        empty_block = b"\x00\x00\x00\xff\xff"
        writer.write(b"a\r\n\x1f\x8b\x08\0\0\0\0\0\0\x03\r\n")
        while True:
            writer.write((b"5\r\n" + empty_block + b"\r\n") * 1000)
            await writer.drain()

    server = await serve(pour)
    response = await get(f"http://{server.origin}/", context(), max_body=10_000)
    assert (response.body, response.truncated) == (b"", True)


async def test_a_gzip_bomb_never_unfolds(serve: Serve, context: MakeContext, http_answer: Answer) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) < 60_000
    server = await serve(http_answer(bomb, headers="Content-Encoding: gzip"))
    tracemalloc.start()
    try:
        response = await get(f"http://{server.origin}/", context())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(response.body), response.truncated) == (1 << 20, True)
    assert peak < 5_000_000


# --- cancellation ----------------------------------------------------------------------------------------------------


async def hang(_: Any, reader: StreamReader, __: StreamWriter) -> None:
    await reader.read()


async def drip(_: Any, reader: StreamReader, writer: StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not reader.at_eof():
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(("behaviour", "stage"), [(hang, "first_byte"), (drip, "body")])
async def test_the_deadline_of_the_caller_ends_everything_and_leaves_no_connection(
    serve: Serve, context: MakeContext, behaviour: Any, stage: str
) -> None:
    server = await serve(behaviour)
    callers = [context() for _ in range(30)]

    async def check(caller: CheckContext) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await get(f"http://{server.origin}/", caller)

    checks = [asyncio.ensure_future(check(caller)) for caller in callers]
    await server.until_open(30)
    await asyncio.gather(*checks)
    await server.until_open(0)
    assert {caller.stage for caller in callers} == {stage}


async def test_a_cancelled_lookup_or_connect_says_where_it_stood(context: MakeContext) -> None:
    def never(*_: Any, **__: Any) -> list[Any]:
        event.wait(5)
        return []

    event = threading.Event()
    resolver = Resolver(never)
    caller = context(resolver=resolver)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await get("http://hang.example/", caller)
    assert caller.stage == "dns"
    event.set()
    resolver.close()


# --- addresses -------------------------------------------------------------------------------------------------------


needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux answers on all of 127.0.0.0/8")


def resolving_to(*places: str) -> Resolver:
    rows = [
        (socket.AF_INET6, 1, 6, "", (place, 0, 0, 0)) if ":" in place else (socket.AF_INET, 1, 6, "", (place, 0))
        for place in places
    ]
    return Resolver(lambda *_, **__: rows)


@needs_linux
async def test_when_one_address_refuses_the_next_one_is_asked(
    serve: Serve, context: MakeContext, http_answer: Answer
) -> None:
    server = await serve(http_answer("x"))
    caller = context(resolver=resolving_to("127.0.0.2", "127.0.0.3", "127.0.0.1"))
    response = await get(f"http://two.example:{server.port}/", caller)
    assert response.address == "127.0.0.1"


@needs_linux
async def test_when_one_address_keeps_silent_the_next_one_is_asked(
    serve: Serve, context: MakeContext, http_answer: Answer
) -> None:
    # A listener whose queue is full does not answer a connection attempt at all.
    with socket.socket() as silent:
        silent.bind(("127.0.0.2", 0))
        silent.listen(0)
        port = silent.getsockname()[1]
        fillers = [socket.socket() for _ in range(3)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.2", port))
            await serve(http_answer("x"), port=port)
            caller = context(resolver=resolving_to("127.0.0.2", "127.0.0.1"))
            response = await get(f"http://two.example:{port}/", caller)
        finally:
            for filler in fillers:
                filler.close()
    assert response.address == "127.0.0.1"
    assert response.phases["connect"] >= 1.0


@needs_linux
async def test_when_all_addresses_refuse_that_is_the_error(context: MakeContext) -> None:
    caller = context(resolver=resolving_to("127.0.0.2", "127.0.0.3"))
    assert (await reason_of(get(f"http://two.example:{free_port()}/", caller)))[0] is Reason.REFUSED


async def test_running_out_of_descriptors_is_our_problem_and_not_the_targets(context: MakeContext) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    request = build_request("GET", parse_url("http://127.0.0.1:9/"))
    with socket.socket() as probe:
        resource.setrlimit(resource.RLIMIT_NOFILE, (probe.fileno(), hard))
        try:
            with pytest.raises(OSError, match="Too many open files") as caught:
                await fetch(request, context())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert explain(caught.value)[1] is Reason.PROBE_ERROR


# --- TLS -------------------------------------------------------------------------------------------------------------


async def test_tls_is_timed_and_the_certificate_kept(
    serve: Serve, context: MakeContext, http_answer: Answer, authority: Any
) -> None:
    server = await serve(http_answer("x" * 200_000), tls=authority.server())
    settings = TlsSettings(ca=str(authority.file))
    response = await get(f"https://{server.origin}/", context(), tls=settings)
    assert len(response.body) == 200_000
    assert response.phases["tls"] > 0
    assert response.tls_version == "TLSv1.3"
    assert response.certificate is not None
    await server.until_open(0)


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        ({"trusted": False}, (Reason.TLS, "unable to get local issuer")),
        ({"name": "other.example"}, (Reason.TLS, "not valid for")),
        ({"days": -1}, (Reason.EXPIRED, "expired")),
    ],
    ids=["unknown-authority", "wrong-name", "expired"],
)
async def test_a_certificate_that_is_not_accepted_says_why(
    serve: Serve,
    context: MakeContext,
    authority: Any,
    certificate: dict[str, Any],
    expected: tuple[Reason, str],
) -> None:
    tls = authority.server(name=certificate.get("name", "localhost"), days=certificate.get("days", 90))
    server = await serve(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", tls=tls)
    settings = TlsSettings(ca=str(authority.file) if certificate.get("trusted", True) else None)
    found, said = await reason_of(get(f"https://{server.origin}/", context(), tls=settings))
    assert found is expected[0]
    assert expected[1] in said
    assert (await get(f"https://{server.origin}/", context(), tls=TlsSettings(verify=False))).status == 200


async def test_plain_http_where_tls_was_expected_is_named(serve: Serve, context: MakeContext) -> None:
    async def answer(_: Any, reader: StreamReader, writer: StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = await serve(answer)
    assert await reason_of(get(f"https://{server.origin}/", context())) == (
        Reason.TLS,
        "TLS failed: what answers there does not speak TLS",
    )


async def test_a_handshake_that_hangs_ends_with_the_deadline(serve: Serve, context: MakeContext) -> None:
    server = await serve(hang)
    caller = context()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await get(f"https://{server.origin}/", caller)
    assert caller.stage == "tls"
    await server.until_open(0)


async def test_a_file_of_certificates_that_is_none_is_a_problem_of_the_workspace(
    context: MakeContext, authority: Any
) -> None:
    broken = authority.folder / "broken.pem"
    broken.write_text("not a certificate")
    for path in (broken, authority.folder / "missing.pem"):
        reason, said = await reason_of(get("https://127.0.0.1:9/", context(), tls=TlsSettings(ca=str(path))))
        assert reason is Reason.CONFIG
        assert str(path) in said


async def test_a_renewed_client_certificate_is_used_without_a_restart(
    serve: Serve, context: MakeContext, http_answer: Answer, authority: Any
) -> None:
    tls = authority.server()
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(authority.file)
    server = await serve(http_answer(), tls=tls)
    own = authority.folder / "own.pem"
    settings = TlsSettings(ca=str(authority.file), certificate=str(own))

    own.write_bytes((authority.folder / "ca.pem").read_bytes())  # no key in it
    assert (await reason_of(get(f"https://{server.origin}/", context(), tls=settings)))[0] is Reason.CONFIG
    authority.server(days=91)
    own.write_bytes((authority.folder / "localhost-91.pem").read_bytes())
    assert (await get(f"https://{server.origin}/", context(), tls=settings)).status == 200


# --- requests that cannot be sent ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://example/", "must begin with http"),
        ("http://", "names no host"),
        ("http:///path", "names no host"),
        ("http://user:secret@example/", "under `auth`"),
        ("http://example/a b", "space or control"),
        ("http://example/\r\nX: y", "space or control"),
        ("http://example:99999/", "[Pp]ort"),
        ("http://.example/", "begins with a dot"),
    ],
)
def test_a_url_that_cannot_be_fetched_is_refused_with_the_reason(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        parse_url(url)
    assert "secret" not in str(caught.value)


def test_a_url_of_any_script_becomes_what_goes_over_the_wire() -> None:
    target = parse_url("https://bücher.example:8443/ä?q=ü#part")
    assert (target.host, target.port) == ("xn--bcher-kva.example", 8443)
    assert target.authority == "xn--bcher-kva.example:8443"
    assert target.path == "/%C3%A4?q=%C3%BC"
    assert parse_url("http://[::1]:80/").authority == "[::1]"


@pytest.mark.parametrize(("name", "value"), [("X", "a\r\nY: b"), ("X Y", "a"), ("Content-Length", "5"), ("X", "\0")])
def test_a_header_that_would_change_the_request_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="header"):
        build_request("GET", parse_url("http://example/"), headers=[(name, value)])


def test_a_request_does_not_show_its_credentials() -> None:
    request = build_request("GET", parse_url("http://example/"), headers=[("Authorization", "Bearer s3cret")])
    assert "s3cret" not in repr(request)
    assert b"s3cret" in request.wire
