"""The engine on TCP: the token opens everything, nothing else opens more than it must, strangers slow nobody down."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import ssl
import stat
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.config.listening import Address
from opsdash.errors import EngineError
from opsdash.service import network, protocol
from opsdash.service.network import Door, Listening
from opsdash.service.places import make_state_folder, places
from opsdash.service.tokens import Heartbeats, bearer_token, is_bearer
from opsdash.storage.trust import Trust
from tests.engine.support import eventually, eventually_asked, web, write_workspace
from tests.service.support import Served, self_signed, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HERE = Listening(Address("127.0.0.1", 0))
JOB = "checks: {nightly: {kind: heartbeat, every: 1h}, weekly: {kind: heartbeat, every: 7d}}\n"

REFUSED = (401, {"error": "this needs the token of the engine, as Authorization: Bearer TOKEN"})


def small(folder: Path) -> Path:
    return write_workspace(folder, web=web("http://127.0.0.1:9/", every="60s"), backup=JOB)


def door(s: Served) -> Door:
    assert s.door is not None
    return s.door


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(s: Served, tls: ssl.SSLContext | None = None) -> Connection:
    return await asyncio.open_connection(door(s).address.host, door(s).address.port, ssl=tls)


async def hears(connection: Connection, sent: bytes = b"") -> bytes:
    """All that comes until the other side hangs up."""
    reader, writer = connection
    try:
        writer.write(sent)
        await writer.drain()
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def head(method: str, path: str, *headers: str, close: bool = True) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *(["Connection: close"] if close else []), *headers, "", ""]
    return "\r\n".join(lines).encode()


async def ask(
    s: Served, method: str, path: str, *headers: str, body: Any = None, tls: ssl.SSLContext | None = None
) -> tuple[int, Any]:
    """Status and content of one answer."""
    payload = b"" if body is None else json.dumps(body).encode()
    sent = head(method, path, f"Content-Length: {len(payload)}", *headers) + payload
    return answer(await hears(await connect(s, tls), sent))


def answer(raw: bytes) -> tuple[int, Any]:
    first, _, rest = raw.partition(b"\r\n")
    content = rest.partition(b"\r\n\r\n")[2]
    try:
        return int(first.split()[1]), json.loads(content)
    except ValueError:
        return int(first.split()[1]), content.decode()


def with_token(s: Served) -> str:
    return f"Authorization: Bearer {door(s).token}"


# --- the token ---------------------------------------------------------------------------------------------------


def test_the_token_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "token"
    first = bearer_token(path)
    assert len(first) > 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert bearer_token(path) == first
    path.unlink()
    assert bearer_token(path) != first


def test_a_token_that_was_half_written_when_the_machine_died_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "token.new").write_text("hal")
    assert len(bearer_token(tmp_path / "token")) > 40


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 501, b"two words " * 5, b"\xff" * 40, b"a\x00" * 30])
def test_a_file_that_holds_no_token_is_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(EngineError, match="holds no token") as refused:
        bearer_token(path)
    assert content == b"" or repr(content)[2:-1] not in str(refused.value)


def test_a_token_that_others_may_read_is_refused(tmp_path: Path) -> None:
    bearer_token(tmp_path / "token")
    (tmp_path / "token").chmod(0o640)
    with pytest.raises(EngineError, match="others may read the token"):
        bearer_token(tmp_path / "token")


def test_a_token_that_cannot_be_made_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=f"the token {tmp_path}/nowhere/token cannot be used: No such file"):
        bearer_token(tmp_path / "nowhere" / "token")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([b"Bearer secret"], True),
        ([b"bearer  secret "], True),
        ([b"Bearer secre"], False),
        ([b"Bearer secrets"], False),
        ([b"Bearer"], False),
        ([b"secret"], False),
        ([b"Basic secret"], False),
        ([b"Bearer \xff\xfe"], False),
        ([b"Bearer secret", b"Bearer secret"], False),
        ([], False),
    ],
)
def test_only_the_whole_token_in_one_header_opens(headers: list[bytes], expected: bool) -> None:
    assert is_bearer(headers, "secret") is expected


def test_a_heartbeats_url_is_its_own_and_tells_nothing_of_the_token() -> None:
    one, other = Heartbeats("t" * 40, ["a/x", "a/y"]), Heartbeats("u" * 40, ["a/x"])
    assert one.check(one.tokens["a/x"]) == "a/x"
    assert one.tokens["a/x"] != one.tokens["a/y"]
    assert one.tokens["a/x"] != other.tokens["a/x"]
    assert one.check("a/x") is None
    assert re.fullmatch(r"[0-9a-f]{32}", one.tokens["a/x"])


# --- who may ask -------------------------------------------------------------------------------------------------


async def test_with_the_token_everything_is_answered(tmp_path: Path) -> None:
    async with served(small(tmp_path), listening=HERE) as s:
        status, snapshot = await ask(s, "GET", "/v1/snapshot", with_token(s))
        assert status == 200
        assert {row["id"] for row in snapshot["rows"]} == {"web", "backup"}
        status, metrics = await ask(s, "GET", "/v1/metrics", with_token(s))
        assert status == 200
        assert metrics.endswith("# EOF\n")


EVERY_PATH = [
    ("GET", "/v1/snapshot"), ("GET", "/v1/metrics"), ("GET", "/v1/events"), ("GET", "/v1/journal"),
    ("GET", "/v1/engine"), ("POST", "/v1/engine/stop"), ("POST", "/v1/intents"), ("GET", "/v1/heartbeats"),
    ("POST", "/v1/heartbeats/backup/nightly"), ("POST", f"/v1/heartbeats/{'0' * 32}"), ("GET", "/"),
    ("GET", "/nowhere"), ("POST", "/v1/healthz"), ("GET", "/v1/healthz/"), ("GET", "/v1/../v1/snapshot"),
    ("GET", "//v1/healthz"), ("OPTIONS", "*"),
]  # fmt: skip


@pytest.mark.parametrize(
    "header", [None, "Authorization: Bearer wrong", "Authorization: Basic dG9rZW46", "Cookie: a=b"]
)
async def test_without_it_every_path_has_the_same_answer(tmp_path: Path, header: str | None) -> None:
    async with served(small(tmp_path), listening=HERE) as s:
        headers = [header] if header else []
        answers = {await hears(await connect(s), head(*each, *headers, close=False)) for each in EVERY_PATH}
        (only,) = answers
        assert answer(only) == REFUSED
        assert b'www-authenticate: Bearer realm="opsdash"' in only
        assert door(s).token.encode() not in only
        assert s.stopped == []


async def test_health_needs_no_token_and_tells_nothing(tmp_path: Path) -> None:
    async with served(small(tmp_path), listening=HERE) as s:
        raw = await hears(await connect(s), head("GET", "/v1/healthz", close=False))
        assert answer(raw) == (200, "ok\n")
        assert str(tmp_path).encode() not in raw


def beaten(s: Served, check: str = "backup/nightly") -> Any:
    return s.engine.runner.world.get("heartbeats", check)


def reported(s: Served, signal: str) -> bool:
    return beaten(s) is not None and getattr(beaten(s), signal) is not None


async def test_a_job_reports_by_the_url_of_its_own_and_by_nothing_else(tmp_path: Path) -> None:
    async with served(small(tmp_path), listening=HERE) as s:
        found = await s.session().heartbeats()
        assert found["url"] == door(s).url
        paths = {each["check"]: each["path"] for each in found["heartbeats"]}
        assert set(paths) == {"backup/nightly", "backup/weekly"}
        path = paths["backup/nightly"]
        for ending, signal in (("/start", "started"), ("/fail", "failed"), ("", "last")):
            assert await ask(s, "POST", f"{path}{ending}") == (200, "OK\n")
            await eventually(partial(reported, s, signal))
        assert beaten(s, "backup/weekly").last is None
        for method, other in (
            ("GET", path),
            ("POST", path[:-1]),
            ("POST", f"{path}/stop"),
            ("POST", f"{path}/start/x"),
        ):
            assert await ask(s, method, other) == REFUSED


async def test_on_the_socket_both_the_name_and_the_url_report(tmp_path: Path) -> None:
    async with served(small(tmp_path), listening=HERE) as s:
        path = (await s.session().heartbeats())["heartbeats"][0]["path"]
        for each in (path, "/v1/heartbeats/backup/nightly"):
            assert (await s.raw(head("POST", each, "Content-Length: 0"))).endswith(b"OK\n")
    async with served(small(tmp_path)) as s:
        found = await s.session().heartbeats()
        assert found["url"] is None
        assert found["heartbeats"][0]["path"] == "/v1/heartbeats/backup/nightly"


async def test_who_asked_over_tcp_is_recorded_as_the_token_or_as_claimed(tmp_path: Path) -> None:
    async with served(small(tmp_path), listening=HERE) as s:
        body = {"intent": "pause", "arguments": {"component": "web", "seconds": 60}}
        for claim, who in (([], "token"), (["opsdash-as: ken"], "ken (claimed, token)")):
            status, verdict = await ask(s, "POST", "/v1/intents", with_token(s), *claim, body=body)
            assert (status, verdict["accepted"]) == (200, True)
            assert s.engine.runner.world.get("pauses", "web").who == who


async def test_nobody_approves_a_runbook_with_a_token(tmp_path: Path) -> None:
    folder = small(tmp_path)
    (folder / "runbooks").mkdir()
    book = "---\ntitle: x\ncomponent: web\n---\n## Steps\n### A\n```sh {check}\ntrue\n```\n"
    (folder / "runbooks" / "x.md").write_text(book)
    async with served(folder, listening=HERE, trust=Trust()) as s:
        body = {"intent": "approve_runbook", "arguments": {"runbook": "x"}}
        _, verdict = await ask(s, "POST", "/v1/intents", with_token(s), body=body)
        assert verdict["refused"]["rule"] == "approval"
        assert not s.engine.runs.trust.trusts("x", s.engine.loaded.runbooks["x"].sha256)
        assert (await s.session().submit("approve_runbook", {"runbook": "x"}))["accepted"]


# --- TLS ---------------------------------------------------------------------------------------------------------


async def test_with_a_certificate_it_speaks_tls_and_nothing_else(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    async with served(small(tmp_path / "w"), listening=Listening(Address("127.0.0.1", 0), certificate, key)) as s:
        assert door(s).url.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=certificate)
        status, _ = await ask(s, "GET", "/v1/snapshot", with_token(s), tls=trusting)
        assert status == 200
        assert await hears(await connect(s), head("GET", "/v1/healthz")) == b""
        old = ssl.create_default_context(cafile=certificate)
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(OSError, match=r"(?i)ssl|protocol|reset"):
            await connect(s, old)


async def test_a_certificate_that_was_renewed_is_used_and_a_broken_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(network, "CERTIFICATE_EVERY", 0.02)
    certificate, key = self_signed(tmp_path)
    new_certificate, new_key = self_signed(tmp_path, "renewed")
    async with served(small(tmp_path / "w"), listening=Listening(Address("127.0.0.1", 0), certificate, key)) as s:
        shutil.copy(new_certificate, certificate)
        await eventually(lambda: "the former one stays in use" in caplog.text)
        assert await presented(s) != new_certificate.read_text()
        shutil.copy(new_key, key)

        async def renewed() -> bool:
            return await presented(s) == new_certificate.read_text()

        await eventually_asked(renewed)


async def presented(s: Served) -> str:
    """The certificate that it shows, as PEM."""
    blind = ssl.create_default_context()
    blind.check_hostname = False
    blind.verify_mode = ssl.CERT_NONE
    _, writer = await connect(s, blind)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return ssl.DER_cert_to_PEM_cert(der)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no certificate", r"localhost\.crt cannot be read: No such file"),
        ("no key", r"localhost\.key cannot be read: No such file"),
        ("certificate is a folder", r"localhost\.crt cannot be read: Is a directory"),
        ("certificate is garbage", r"localhost\.crt holds no certificate in PEM form"),
        ("key is garbage", r"localhost\.key holds no usable key"),
        ("another key", r"the key in .*localhost\.key is not that of the certificate in .*localhost\.crt"),
    ],
)
def test_tls_that_cannot_work_is_an_error_that_names_the_file(tmp_path: Path, how: str, message: str) -> None:
    certificate, key = self_signed(tmp_path)
    if how.startswith("no "):
        (certificate if how == "no certificate" else key).unlink()
    elif how == "certificate is a folder":
        certificate.unlink()
        certificate.mkdir()
    elif how == "another key":
        shutil.copy(self_signed(tmp_path, "other")[1], key)
    else:
        (certificate if how == "certificate is garbage" else key).write_text("garbage")
    with pytest.raises(EngineError, match=message):
        door_in(tmp_path / "w", Listening(Address("127.0.0.1", 0), certificate, key))


def door_in(folder: Path, listening: Listening) -> Door:
    folder.mkdir(exist_ok=True)
    where = places(folder)
    make_state_folder(where)
    return Door(listening, where)


async def test_an_address_that_cannot_be_had_is_an_error_that_says_why(tmp_path: Path) -> None:
    first = door_in(tmp_path / "one", HERE)
    with pytest.raises(EngineError, match=rf"nobody can listen on {first.address}: the port is in use"):
        door_in(tmp_path / "two", Listening(first.address))
    with pytest.raises(EngineError, match="no such address"):
        door_in(tmp_path / "three", Listening(Address("192.0.2.1", 0)))
    await first.close()
    again = door_in(tmp_path / "two", Listening(first.address))
    await again.close()


# --- strangers ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def crowd(s: Served, number: int) -> AsyncIterator[list[Connection]]:
    """Connections that say nothing."""
    there = [await connect(s) for _ in range(number)]
    try:
        yield there
    finally:
        for _, writer in there:
            writer.close()


@pytest.mark.parametrize("tls", [False, True])
async def test_a_crowd_of_idle_connections_keeps_nobody_out_and_stays_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: bool
) -> None:
    monkeypatch.setattr(network, "MOST_GUESTS", 20)
    monkeypatch.setattr(network, "ACCEPT_PAUSE", 0.0)
    files = self_signed(tmp_path) if tls else (None, None)
    trusting = ssl.create_default_context(cafile=files[0]) if tls else None
    listening = Listening(Address("127.0.0.1", 0), *files)
    async with served(small(tmp_path / "w"), listening=listening) as s, crowd(s, 60) as there:
        assert (await ask(s, "GET", "/v1/snapshot", with_token(s), tls=trusting))[0] == 200
        assert (await s.session().about())["listen"]["connections"] <= 20
        gone = [await hears(each) for each in there[:40]]
        assert gone == [b""] * 40


async def test_those_who_showed_the_token_are_not_sent_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "MOST_GUESTS", 3)
    async with served(small(tmp_path), listening=HERE) as s:
        reader, writer = await connect(s)
        writer.write(head("GET", "/v1/events", with_token(s), close=False))
        assert b"200 OK" in await reader.readuntil(b"\r\n")
        await reader.readuntil(b"event: snapshot")
        async with crowd(s, 10):
            assert await ask(s, "GET", "/v1/healthz") == (200, "ok\n")
            s.engine.hub.bye("told")
            assert b"event: bye" in await reader.read()
        writer.close()


@pytest.mark.parametrize(
    "sent", [b"", b"GET /v1/healthz HTTP/1.1\r\nX: ", b"\r\n\r\n", head("POST", "/v1/intents")[:-2]]
)
async def test_a_request_that_does_not_come_to_its_end_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_WITHIN", 0.05)
    async with served(small(tmp_path), listening=HERE) as s:
        assert await hears(await connect(s), sent) == b""
        await eventually(lambda: door(s).about()["connections"] == 0)


async def test_a_body_that_does_not_come_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "REQUEST_WITHIN", 0.05)
    async with served(small(tmp_path), listening=HERE) as s:
        path = (await s.session().heartbeats())["heartbeats"][0]["path"]
        assert await hears(await connect(s), head("POST", path, "Content-Length: 100", close=False) + b"x") == b""


async def test_a_connection_that_is_kept_and_then_drips_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(small(tmp_path), listening=HERE) as s:
        reader, writer = await connect(s)
        writer.write(head("GET", "/v1/engine", with_token(s), close=False))
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        monkeypatch.setattr(protocol, "REQUEST_WITHIN", 0.05)
        await hears((reader, writer), b"\r\n")
        await eventually(lambda: door(s).about()["connections"] == 0)


@pytest.mark.parametrize("endless", [b"GET /" + b"a" * 200_000, b"GET / HTTP/1.1\r\n" + b"X-Y: zzzzzzz\r\n" * 20_000])
async def test_an_endless_head_is_cut_off_on_tcp_and_on_the_socket(tmp_path: Path, endless: bytes) -> None:
    async with served(small(tmp_path), listening=HERE) as s:
        for raw in (await hears(await connect(s), endless), await s.raw(endless)):
            assert raw == b"" or raw.startswith(b"HTTP/1.1 400")
        assert (await s.get("/v1/engine")).status == 200
        assert door(s).about()["connections"] == 0


async def test_what_strangers_send_fills_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with served(small(tmp_path), listening=HERE) as s:
        caplog.clear()
        for sent in (b"\x16\x03\x01\x02\x00\x01\x00", b"no http\r\n\r\n", head("GET", "/", "Upgrade: websocket")):
            await hears(await connect(s), sent)
        assert caplog.text == ""


async def test_the_token_is_in_no_answer_of_the_engine(tmp_path: Path) -> None:
    async with served(small(tmp_path), listening=HERE) as s:
        for path in (
            "/v1/snapshot",
            "/v1/engine",
            "/v1/heartbeats",
            "/v1/journal",
            "/v1/problems",
            "/v1/components/web",
        ):
            status, body = await ask(s, "GET", path, with_token(s))
            assert status == 200
            assert door(s).token not in json.dumps(body)


async def test_every_stream_over_tcp_hears_goodbye(tmp_path: Path) -> None:
    async with served(small(tmp_path), listening=HERE) as s:
        reader, writer = await connect(s)
        writer.write(head("GET", "/v1/events", with_token(s), close=False))
        await reader.readuntil(b"event: snapshot")
    async with asyncio.timeout(5):
        assert b"event: bye" in await reader.read()
    writer.close()
