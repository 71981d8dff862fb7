"""`proxy: URL`: what goes through, and whose fault it is when nothing does."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from opsdash.engine.measuring import measure
from opsdash.engine.tasks import cancel
from opsdash.kinds import ways
from opsdash.kinds.checks import http
from opsdash.kinds.resolver import Resolver
from opsdash.kinds.ways import parse_proxy
from opsdash.model.status import Reason, Status
from tests.engine.support import eventually
from tests.kinds.conftest import read_request
from tests.kinds.wayside import HttpProxy, SocksProxy

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

    from opsdash.kinds.base import CheckContext, Sample
    from opsdash.kinds.keeping import Keep

Serve = Callable[..., Awaitable[Any]]
MakeContext = Callable[..., "CheckContext"]
Answer = Callable[..., bytes]
Check = Callable[..., Awaitable[Any]]

REFUSES = "HTTP/1.1 {} Sorry\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def check(authority: Any) -> Check:
    """Run a check of `server` through `proxy`."""

    async def run(server: Any, proxy: Any, context: CheckContext, **keys: Any) -> Sample:
        async with asyncio.timeout(10):
            return await http.run(options(server, proxy, authority, **keys), context)

    return run


def options(server: Any, proxy: Any, authority: Any, *, scheme: str = "https", **keys: Any) -> http.Options:
    proxy = proxy if isinstance(proxy, str) else f"http://{proxy.origin}"
    origin = server if isinstance(server, str) else server.origin
    return http.Options.model_validate(
        {"url": f"{scheme}://{origin}/path", "ca": str(authority.file), "proxy": proxy, **keys}
    )


def verdict(sample: Sample) -> tuple[Status, Reason | None]:
    return sample.status, sample.reason


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def https(serve: Serve, http_answer: Answer, authority: Any) -> Callable[..., Awaitable[Any]]:
    async def start(behaviour: Any = None, **certificate: Any) -> Any:
        behaviour = http_answer("hello") if behaviour is None else behaviour
        return await serve(behaviour, tls=authority.server(**{"days": 45, **certificate}))

    return start


# --- what goes through -----------------------------------------------------------------------------------------------


async def test_https_goes_through_a_tunnel_and_the_certificate_is_the_targets(
    serve: Serve, https: Serve, context: MakeContext, check: Check
) -> None:
    proxy, server = await serve(HttpProxy()), await https()
    sample = await check(server, proxy, context())
    assert verdict(sample) == (Status.OK, None)
    assert sample.values["body"] == "hello"
    assert 40 < sample.values["certificate"]["days_left"] < 200
    assert all(sample.phases[name] > 0 for name in ("connect", "tls", "first_byte"))
    assert sum(sample.phases.values()) <= sample.latency
    [tunnel] = proxy.requests
    assert tunnel.startswith(f"CONNECT {server.origin} HTTP/1.1\r\n".encode())
    assert b"authorization" not in tunnel.lower()
    [request] = server.requests
    assert request.startswith(b"GET /path HTTP/1.1\r\n")
    await server.until_open(0)
    await proxy.until_open(0)


async def test_http_is_passed_on_with_the_whole_url(
    serve: Serve, context: MakeContext, check: Check, http_answer: Answer
) -> None:
    proxy, server = await serve(HttpProxy()), await serve(http_answer("hello"))
    sample = await check(server, proxy, context(), scheme="http", headers={"X-Key": " k: ä "}, method="POST", body="b")
    assert (verdict(sample), sample.values["body"]) == ((Status.OK, None), "hello")
    assert proxy.requests[0].startswith(f"POST http://{server.origin}/path HTTP/1.1\r\n".encode())
    assert "X-Key: k: ä\r\n".encode() in server.requests[0]
    assert server.requests[0].endswith(b"\r\n\r\nb")
    await proxy.until_open(0)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_wants_to_know_who_we_are_is_told_and_the_target_is_not(
    serve: Serve, https: Serve, context: MakeContext, check: Check, *, http_answer: Answer, scheme: str
) -> None:
    proxy = await serve(HttpProxy(login="ops:p@ss/wörd"))
    server = await (https() if scheme == "https" else serve(http_answer("hello")))
    sample = await check(server, f"http://ops:p%40ss%2Fw%C3%B6rd@{proxy.origin}", context(), scheme=scheme)
    assert verdict(sample) == (Status.OK, None)
    assert b"authorization" not in server.requests[0].lower()


async def test_the_environment_is_not_asked(
    serve: Serve, https: Serve, context: MakeContext, check: Check, *, authority: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, other, server = await serve(HttpProxy()), await serve(HttpProxy()), await https()
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://{other.origin}")
        monkeypatch.setenv(name.upper(), f"http://{other.origin}")
    monkeypatch.setenv("no_proxy", "*")
    assert (await check(server, proxy, context())).status is Status.OK
    plain = http.Options.model_validate({"url": f"https://{server.origin}/", "ca": str(authority.file)})
    for keys in ({}, {"http2": True}, {"redirects": 1}):
        assert (await http.run(plain.model_copy(update=keys), context())).status is Status.OK
    assert (len(proxy.requests), len(other.requests)) == (1, 0)


async def test_names_are_looked_up_by_the_resolver_of_all_kinds_and_by_nobody_else(
    serve: Serve, https: Serve, context: MakeContext, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def lookup(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, 1, 6, "", ("127.0.0.1", 0))]

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("a name was looked up behind the resolver's back")

    resolver = Resolver(lookup)
    monkeypatch.setattr(socket, "getaddrinfo", never)
    proxy, server = await serve(HttpProxy()), await https()
    url = f"http://proxy.example:{proxy.port}"
    sample = await check(f"localhost:{server.port}", url, context(resolver=resolver))
    assert verdict(sample) == (Status.OK, None)
    assert asked == ["proxy.example"]  # the target's name is the proxy's business
    resolver.close()


async def test_redirects_and_challenges_go_through_it_too(
    serve: Serve, https: Serve, context: MakeContext, check: Check, http_answer: Answer
) -> None:
    proxy = await serve(HttpProxy())
    target = await serve(http_answer("there"))
    moved = http_answer(status=302, headers=f"Location: http://{target.origin}/x")
    challenge = http_answer(status=401, headers='WWW-Authenticate: Digest realm="r", nonce="n", algorithm=MD5')
    server = await https([challenge, moved])
    login = {"digest": {"user": "u", "password": "p"}}
    sample = await check(server, proxy, context(), auth=login, redirects=1)
    assert (verdict(sample), sample.values["body"]) == ((Status.OK, None), "there")
    assert len(proxy.requests) == 3


async def test_two_runs_go_through_one_tunnel_where_the_connection_is_kept(
    serve: Serve, https: Serve, context: MakeContext, check: Check, keep: Keep
) -> None:
    async def staying(server: Any, reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            server.requests.append(await read_request(reader))
            writer.write(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")
            if len(server.requests) == 3:
                await writer.drain()
                writer.transport.abort()
                return

    proxy, server = await serve(HttpProxy()), await https(staying)
    samples = [await check(server, proxy, context(keep=keep), connection="keep") for _ in range(3)]
    assert [verdict(sample) for sample in samples] == [(Status.OK, None)] * 3
    assert len(proxy.requests) == 1
    assert [samples[1].phases[name] for name in ("dns", "connect", "tls")] == [0, 0, 0]
    assert samples[1].values["certificate"] == samples[0].values["certificate"]
    await proxy.until_open(0)
    assert (await check(server, proxy, context(keep=keep), connection="keep")).status is Status.OK
    assert len(proxy.requests) == 2
    assert not any(b"cookie" in request.lower() for request in server.requests)


# --- whose fault it is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_is_not_there_says_nothing_of_the_target(
    context: MakeContext, check: Check, scheme: str
) -> None:
    port = free_port()
    sample = await check("api.example", f"http://127.0.0.1:{port}", context(), scheme=scheme)
    assert verdict(sample) == (Status.UNKNOWN, Reason.REFUSED)
    assert sample.detail == f"api.example: the proxy 127.0.0.1:{port}: connection refused"


async def test_a_proxy_whose_name_is_unknown_says_nothing_of_the_target(context: MakeContext, check: Check) -> None:
    def lookup(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    resolver = Resolver(lookup)
    sample = await check("api.example", "http://proxy.example:3128", context(resolver=resolver))
    assert verdict(sample) == (Status.UNKNOWN, Reason.DNS)
    assert "the proxy proxy.example:3128: the name cannot be looked up" in sample.detail
    resolver.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("login", ["", "ops:wrong@"])
async def test_a_proxy_that_does_not_let_us_in_is_named(
    serve: Serve, context: MakeContext, check: Check, scheme: str, login: str
) -> None:
    proxy = await serve(HttpProxy(login="ops:right"))
    sample = await check("api.example", f"http://{login}{proxy.origin}", context(), scheme=scheme)
    assert verdict(sample) == (Status.UNKNOWN, Reason.AUTH)
    assert f"the proxy {proxy.origin}: 407" in sample.detail
    assert "wrong" not in sample.detail
    await proxy.until_open(0)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (502, (Status.DOWN, Reason.REFUSED)),
        (503, (Status.DOWN, Reason.REFUSED)),
        (504, (Status.DOWN, Reason.TIMEOUT)),
        (403, (Status.UNKNOWN, Reason.AUTH)),
        (429, (Status.UNKNOWN, Reason.PROTOCOL)),
        (500, (Status.UNKNOWN, Reason.PROTOCOL)),
        (302, (Status.UNKNOWN, Reason.PROTOCOL)),
    ],
)
async def test_what_a_proxy_says_to_a_tunnel_tells_its_own_trouble_from_the_targets(
    serve: Serve, context: MakeContext, check: Check, status: int, expected: tuple[Status, Reason]
) -> None:
    proxy = await serve(HttpProxy(answer=REFUSES.format(status).encode()))
    sample = await check("api.example", proxy, context())
    assert verdict(sample) == expected
    assert f"the proxy {proxy.origin}" in sample.detail
    assert f"{status} Sorry" in sample.detail
    await proxy.until_open(0)


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000])
async def test_a_proxy_that_is_none_is_named(serve: Serve, context: MakeContext, check: Check, said: bytes) -> None:
    async def behave(_: Any, reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)

    proxy = await serve(behave)
    sample = await check("api.example", proxy, context())
    assert verdict(sample) == (Status.UNKNOWN, Reason.PROTOCOL)
    assert f"the proxy {proxy.origin}: " in sample.detail
    await proxy.until_open(0)


async def test_what_goes_wrong_behind_the_tunnel_is_the_targets_trouble(
    serve: Serve, https: Serve, context: MakeContext, check: Check, http_answer: Answer
) -> None:
    async def speaks_no_tls(_: Any, reader: StreamReader, writer: StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    proxy = await serve(HttpProxy())
    for server, expected in [
        (await https(days=-1), (Status.DOWN, Reason.EXPIRED)),
        (await https(name="other.example"), (Status.DOWN, Reason.TLS)),
        (await serve(speaks_no_tls), (Status.DOWN, Reason.TLS)),
        (await https(b""), (Status.DOWN, Reason.PROTOCOL)),
        (await https(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"), (Status.DOWN, Reason.PROTOCOL)),
        (await https(http_answer(b"no gzip", headers="Content-Encoding: gzip")), (Status.DOWN, Reason.PROTOCOL)),
        (await https(http_answer(status=503)), (Status.DOWN, Reason.STATUS)),
    ]:
        sample = await check(server, proxy, context())
        assert verdict(sample) == expected, sample.detail
        assert "the proxy" not in sample.detail
    await proxy.until_open(0)


# --- limits and deadlines ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_gzip_bomb_never_unfolds(
    serve: Serve, https: Serve, context: MakeContext, check: Check, *, http_answer: Answer, scheme: str
) -> None:
    bomb = http_answer(gzip.compress(b"\0" * 50_000_000), headers="Content-Encoding: gzip")
    proxy, server = await serve(HttpProxy()), await (https(bomb) if scheme == "https" else serve(bomb))
    await check(server, proxy, context(wants_json=False), scheme=scheme)
    tracemalloc.start()
    try:
        sample = await check(server, proxy, context(wants_json=False), scheme=scheme)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (sample.values["size"], sample.values["truncated"]) == (1 << 20, True)
    assert peak < 8_000_000
    await proxy.until_open(0)


@pytest.mark.parametrize(
    ("head", "endless"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"y" * 4000 + b"\r\nx\r\n"),
    ],
    ids=["body", "chunks-of-one-byte"],
)
async def test_an_answer_without_end_is_cut(
    serve: Serve, context: MakeContext, check: Check, head: bytes, endless: bytes
) -> None:
    async def pour(_: Any, reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        while True:
            writer.write(endless)
            await writer.drain()

    proxy, server = await serve(HttpProxy()), await serve(pour)
    sample = await check(server, proxy, context(wants_json=False), scheme="http", max_body="20KiB")
    assert sample.values["truncated"]
    assert sample.values["size"] <= 20 * 1024
    await proxy.until_open(0)
    await server.until_open(0)


@pytest.mark.parametrize("endless", [b"X-Line: " + b"y" * 500 + b"\r\n", b"HTTP/1.1 100 Go on\r\n\r\n"])
async def test_headers_without_end_are_an_error(
    serve: Serve, context: MakeContext, check: Check, endless: bytes
) -> None:
    async def pour(_: Any, reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"" if endless.startswith(b"HTTP") else b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(endless)
            await writer.drain()

    proxy, server = await serve(HttpProxy()), await serve(pour)
    sample = await check(server, proxy, context(), scheme="http", max_body="20KiB")
    assert sample.status is Status.DOWN
    assert sample.reason in {Reason.TOO_LARGE, Reason.PROTOCOL}
    await proxy.until_open(0)


async def drip(_: Any, reader: StreamReader, writer: StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Slow: y\r\n" * 100_000:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.01)


async def hang(_: Any, reader: StreamReader, __: StreamWriter) -> None:
    await reader.read()


async def timed_out(options: http.Options, context: CheckContext) -> Sample:
    """A run that is cut off at its deadline, as the engine does it."""
    context.deadline = 0.5
    return await measure(http.KIND, options, context)


@pytest.mark.parametrize("behaviour", [hang, drip])
async def test_a_tunnel_that_never_comes_about_ends_with_the_deadline(
    serve: Serve, context: MakeContext, authority: Any, behaviour: Any
) -> None:
    proxy = await serve(behaviour)
    runs = [timed_out(options("api.example", proxy, authority), context()) for _ in range(3)]
    for sample in await asyncio.gather(*runs):
        assert verdict(sample) == (Status.DOWN, Reason.TIMEOUT)
        assert sample.detail == "no answer within 500ms, while waiting for tunnel"
    await proxy.until_open(0)


async def test_a_proxy_that_cannot_be_reached_in_time_says_nothing_of_the_target(
    context: MakeContext, authority: Any
) -> None:
    done = threading.Event()
    resolver = Resolver(lambda *_, **__: [done.wait(10)])
    sample = await timed_out(options("a.example", "http://p.example", authority), context(resolver=resolver))
    assert verdict(sample) == (Status.UNKNOWN, Reason.TIMEOUT)
    assert "while waiting for proxy" in sample.detail
    done.set()
    resolver.close()


@pytest.mark.parametrize("moment", ["tls", "first_byte", "body"])
async def test_a_run_that_is_cut_off_behind_the_tunnel_leaves_no_connection(
    serve: Serve, https: Serve, context: MakeContext, check: Check, moment: str
) -> None:
    async def slow_body(_: Any, reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        await reader.read()

    proxy = await serve(HttpProxy())
    server = await (serve(hang) if moment == "tls" else https(hang if moment == "first_byte" else slow_body))
    callers = [context() for _ in range(10)]
    runs = [asyncio.ensure_future(check(server, proxy, caller)) for caller in callers]
    await eventually(lambda: {caller.stage for caller in callers} == {moment})
    await server.until_open(10)
    await cancel(*runs)
    await proxy.until_open(0)
    await server.until_open(0)


# --- SOCKS ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("login", [None, (b"ops", b"secret")])
async def test_a_socks_proxy_serves_both_and_looks_names_up_itself(
    serve: Serve,
    https: Serve,
    context: MakeContext,
    check: Check,
    *,
    http_answer: Answer,
    scheme: str,
    login: tuple[bytes, bytes] | None,
) -> None:
    proxy = await serve(SocksProxy(login))
    server = await (https() if scheme == "https" else serve(http_answer("hello")))
    url = f"socks5://{'ops:secret@' if login else ''}{proxy.origin}"
    sample = await check(f"localhost:{server.port}", url, context(), scheme=scheme)
    assert (verdict(sample), sample.values["body"]) == ((Status.OK, None), "hello")
    assert proxy.requests == [b"localhost"]


@pytest.mark.parametrize(
    ("proxy", "expected"),
    [
        (SocksProxy(reply=5), (Status.DOWN, Reason.REFUSED)),
        (SocksProxy(reply=4), (Status.DOWN, Reason.REFUSED)),
        (SocksProxy(reply=6), (Status.DOWN, Reason.TIMEOUT)),
        (SocksProxy(reply=1), (Status.UNKNOWN, Reason.PROTOCOL)),
        (SocksProxy(reply=2), (Status.UNKNOWN, Reason.AUTH)),
        (SocksProxy(login=(b"a", b"b")), (Status.UNKNOWN, Reason.AUTH)),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", (Status.UNKNOWN, Reason.PROTOCOL)),
    ],
)
async def test_what_a_socks_proxy_says_tells_its_own_trouble_from_the_targets(
    serve: Serve, context: MakeContext, check: Check, proxy: Any, expected: tuple[Status, Reason]
) -> None:
    async def no_socks(_: Any, reader: StreamReader, writer: StreamWriter) -> None:
        await reader.read(100)
        writer.write(proxy)

    started = await serve(no_socks if isinstance(proxy, bytes) else proxy)
    sample = await check("api.example", f"socks5://{started.origin}", context())
    assert verdict(sample) == expected, sample.detail
    assert started.origin in sample.detail
    await started.until_open(0)


# --- keys that cannot be ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://proxy.example", "write http://host:port"),
        ("proxy.example:3128", "write http://host:port"),
        ("http://", "no proxy is named"),
        ("http://user:s3cret@", "no proxy is named"),
        ("http://proxy.example:port", "no proxy is named"),
        ("http://proxy.example/path", "no proxy is named"),
        ("http://user:s3cret@proxy.example/?a=b", "no proxy is named"),
        ("http://user:s3cret@pro xy", "no proxy is named"),
    ],
)
def test_a_proxy_that_cannot_be_says_what_would_be_right_and_keeps_its_secret(url: str, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        http.Options.model_validate({"url": "https://a.example/", "proxy": url})
    said = str(caught.value.errors(include_input=False)[0]["msg"])
    assert words in said
    assert "s3cret" not in said


def test_a_secret_may_hold_what_usually_ends_it() -> None:
    proxy = parse_proxy("http://ops:a@b:c/d%25@proxy.example:3128/")
    assert proxy.login == (b"ops", b"a@b:c/d%")
    assert str(proxy) == "proxy.example:3128"
    assert "c/d" not in repr(proxy)
    assert str(parse_proxy("http://[::1]")) == "[::1]:80"


def test_options_do_not_show_the_password() -> None:
    made = http.Options.model_validate({"url": "https://a.example/", "proxy": "http://ops:s3cret@p.example"})
    made.way()
    assert "s3cret" not in repr(made)


def test_without_its_package_socks_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "find_spec", lambda _: None)
    with pytest.raises(ValidationError, match=r"pip install 'opsdash\[socks\]'"):
        http.Options.model_validate({"url": "https://a.example/", "proxy": "socks5://p.example"})
