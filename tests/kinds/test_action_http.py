"""Action kind `http`: servers that obey, refuse, hang, break, and say yes without doing anything."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from opsdash.kinds.actions.http import KIND, Options, ReadOptions, apply, manual, preflight, read
from opsdash.kinds.base import ActionContext, ActionResult, Applied
from opsdash.kinds.processes import run_program
from opsdash.kinds.resolver import Resolver
from tests.kinds.conftest import LoopbackServer
from tests.kinds.wayside import HttpProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@dataclass
class Mailer:
    """A mechanism that keeps its provider behind GET and PUT /provider, and misbehaves as told by `mood`."""

    provider: str = "postmark"
    version: int = 1
    mood: str = "obedient"
    port: int = 0
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    seen: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/provider"

    @property
    def methods(self) -> list[str]:
        return [method for method, _, _ in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method = head.split()[0]
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append((method, headers, body))
        if method == "GET":
            await self._reply(writer, *self._state())
            return
        if self.mood.isdigit():
            await self._reply(writer, int(self.mood), '{"error": "no"}')
            return
        if headers.get("if-match", self._etag) != self._etag:
            await self._reply(writer, 412, '{"error": "somebody else was faster"}')
            return
        if self.mood != "liar":
            self.provider = json.loads(body)["provider"]
            self.version += 1
        self.seen.set()
        if self.mood == "hangs after applying":
            await reader.read()
        elif self.mood == "breaks after applying":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()
        else:
            await self._reply(writer, 200, '{"ok": true}')

    @property
    def _etag(self) -> str:
        return f'"v{self.version}"'

    def _state(self) -> tuple[int, str]:
        match self.mood:
            case "no state":
                return 404, "nothing here"
            case "locked":
                return 401, "who are you?"
            case "broken":
                return 500, "oops"
            case "garbage":
                return 200, "<html>"
            case _:
                return 200, json.dumps({"provider": self.provider, "since": None})

    async def _reply(self, writer: asyncio.StreamWriter, status: int, body: str) -> None:
        etag = "" if self.mood == "no etag" else f"ETag: {self._etag}\r\n"
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{etag}Location: /elsewhere\r\n\r\n{body}".encode()
        )
        await writer.drain()


@pytest.fixture
async def mailer() -> AsyncIterator[Mailer]:
    mailer = Mailer()
    server = await asyncio.start_server(mailer.serve, "127.0.0.1", 0)
    mailer.port = server.sockets[0].getsockname()[1]
    yield mailer
    server.close()


def a_context(folder: Path, **keys: Any) -> ActionContext:
    return ActionContext("email:failover:7", keys.pop("deadline", 10.0), folder, Resolver(), 0.0, **keys)


async def put(mailer: Mailer, folder: Path, *, context: ActionContext | None = None, **keys: Any) -> ActionResult:
    options = Options.model_validate({"method": "PUT", "url": mailer.url, "json": {"provider": "ses"}, **keys})
    return await apply(options, context or a_context(folder))


async def test_an_obedient_server_applies_and_gets_the_action_id_once(mailer: Mailer, tmp_path: Path) -> None:
    result = await put(mailer, tmp_path)
    assert result.applied is Applied.APPLIED
    assert "200" in result.detail
    assert mailer.provider == "ses"
    ((method, headers, body),) = mailer.requests
    assert (method, json.loads(body)) == ("PUT", {"provider": "ses"})
    assert headers["idempotency-key"] == "email:failover:7"
    assert headers["content-type"] == "application/json"
    assert "if-match" not in headers


async def test_a_yes_without_effect_is_applied_and_the_next_read_tells_the_truth(
    mailer: Mailer, tmp_path: Path
) -> None:
    mailer.mood = "liar"
    assert (await put(mailer, tmp_path)).applied is Applied.APPLIED
    options = ReadOptions.model_validate({"url": mailer.url, "value": "json.provider"})
    assert (await read(options, a_context(tmp_path))).value == "postmark"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("201", Applied.APPLIED),
        ("204", Applied.APPLIED),
        ("302", Applied.UNKNOWN),
        ("307", Applied.UNKNOWN),
        ("400", Applied.REFUSED),
        ("401", Applied.REFUSED),
        ("404", Applied.REFUSED),
        ("408", Applied.UNKNOWN),
        ("409", Applied.REFUSED),
        ("412", Applied.REFUSED),
        ("422", Applied.REFUSED),
        ("429", Applied.REFUSED),
        ("500", Applied.UNKNOWN),
        ("503", Applied.UNKNOWN),
        ("504", Applied.UNKNOWN),
    ],
)
async def test_what_a_status_is_worth(mailer: Mailer, tmp_path: Path, status: str, outcome: Applied) -> None:
    mailer.mood = status
    result = await put(mailer, tmp_path)
    assert result.applied is outcome
    assert status in result.detail
    assert mailer.methods == ["PUT"], "sent once, whatever the answer"


async def test_own_statuses_replace_the_usual_ones(mailer: Mailer, tmp_path: Path) -> None:
    mailer.mood = "404"
    assert (await put(mailer, tmp_path, ok=[204, 404])).applied is Applied.APPLIED
    mailer.mood = "202"
    assert (await put(mailer, tmp_path, ok=[204, 404])).applied is Applied.UNKNOWN


async def test_a_server_that_applies_and_then_hangs_leaves_it_unknown(mailer: Mailer, tmp_path: Path) -> None:
    mailer.mood = "hangs after applying"
    sent: list[str] = []
    context = a_context(tmp_path, deadline=0.6, on_sent=lambda: sent.append("sent"))
    result = await put(mailer, tmp_path, context=context)
    assert result.applied is Applied.UNKNOWN
    assert "after the request had been sent" in result.detail
    assert sent == ["sent"]
    assert mailer.provider == "ses"
    assert mailer.methods == ["PUT"]


async def test_a_connection_that_breaks_after_sending_leaves_it_unknown(mailer: Mailer, tmp_path: Path) -> None:
    mailer.mood = "breaks after applying"
    result = await put(mailer, tmp_path)
    assert result.applied is Applied.UNKNOWN
    assert mailer.methods == ["PUT"]


async def test_a_refused_connection_means_that_nothing_was_sent(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        nobody = Mailer(port=taken.getsockname()[1])
        sent: list[str] = []
        result = await put(nobody, tmp_path, context=a_context(tmp_path, on_sent=lambda: sent.append("sent")))
    assert result.applied is Applied.NOT_STARTED
    assert "connection refused" in result.detail
    assert sent == []


async def test_a_server_that_never_accepts_means_that_nothing_was_sent(tmp_path: Path) -> None:
    with socket.socket() as deaf, contextlib.ExitStack() as waiting:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(3):  # fills the queue of connections, so that the kernel answers no more
            other = waiting.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(deaf.getsockname())
        nobody = Mailer(port=deaf.getsockname()[1])
        result = await put(nobody, tmp_path, context=a_context(tmp_path, deadline=0.5))
    assert result.applied is Applied.NOT_STARTED
    assert "no answer in time (connect)" in result.detail


async def test_a_name_that_does_not_exist_and_tls_that_fails_mean_that_nothing_was_sent(
    mailer: Mailer, tmp_path: Path
) -> None:
    def nowhere(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    context = a_context(tmp_path)
    context.resolver = Resolver(nowhere)
    result = await put(mailer, tmp_path, context=context, url="http://mailer.invalid/provider")
    assert result.applied is Applied.NOT_STARTED
    https = mailer.url.replace("http:", "https:")
    result = await put(mailer, tmp_path, context=a_context(tmp_path, deadline=0.5), url=https)
    assert result.applied is Applied.NOT_STARTED
    assert "(tls)" in result.detail
    assert mailer.provider == "postmark"


async def test_a_version_that_still_holds_lets_it_pass_and_an_old_one_is_refused(
    mailer: Mailer, tmp_path: Path
) -> None:
    options = ReadOptions.model_validate({"url": mailer.url, "value": "json.provider"})
    reading = await read(options, a_context(tmp_path))
    assert (reading.value, reading.version) == ("postmark", '"v1"')
    first = a_context(tmp_path, expected_version=reading.version)
    second = a_context(tmp_path, expected_version=reading.version)
    assert (await put(mailer, tmp_path, context=first, if_match=True)).applied is Applied.APPLIED
    late = await put(mailer, tmp_path, context=second, if_match=True, json={"provider": "mailgun"})
    assert late.applied is Applied.REFUSED
    assert "412" in late.detail
    assert mailer.provider == "ses"


async def test_without_a_version_the_present_one_is_asked_for_first(mailer: Mailer, tmp_path: Path) -> None:
    assert (await put(mailer, tmp_path, if_match=True)).applied is Applied.APPLIED
    assert mailer.methods == ["GET", "PUT"]
    assert mailer.requests[1][1]["if-match"] == '"v1"'


async def test_a_server_without_versions_cannot_be_asked_to_compare_them(mailer: Mailer, tmp_path: Path) -> None:
    mailer.mood = "no etag"
    sent: list[str] = []
    context = a_context(tmp_path, on_sent=lambda: sent.append("sent"))
    result = await put(mailer, tmp_path, context=context, if_match=True)
    assert result.applied is Applied.REFUSED
    assert "gives no ETag" in result.detail
    assert sent == []
    assert mailer.methods == ["GET"]


async def test_a_version_that_cannot_be_a_header_is_refused(mailer: Mailer, tmp_path: Path) -> None:
    context = a_context(tmp_path, expected_version='"v1"\r\nX-Evil: 1')
    assert (await put(mailer, tmp_path, context=context, if_match=True)).applied is Applied.REFUSED
    assert mailer.requests == []


async def test_cancelling_after_the_request_was_sent_has_told_so_before(mailer: Mailer, tmp_path: Path) -> None:
    mailer.mood = "hangs after applying"
    sent: list[str] = []
    task = asyncio.ensure_future(
        put(mailer, tmp_path, context=a_context(tmp_path, on_sent=lambda: sent.append("sent")))
    )
    await mailer.seen.wait()
    assert sent == ["sent"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("mood", "words"),
    [
        ("no state", "404"),
        ("locked", "401"),
        ("broken", "500"),
        ("garbage", "has no json"),
    ],
)
async def test_what_cannot_be_read_names_nobody_and_says_why(
    mailer: Mailer, tmp_path: Path, mood: str, words: str
) -> None:
    mailer.mood = mood
    options = ReadOptions.model_validate({"url": mailer.url, "value": "json.provider"})
    reading = await read(options, a_context(tmp_path))
    assert reading.value is None
    assert words in reading.detail


async def test_a_value_that_names_nothing_is_none(mailer: Mailer, tmp_path: Path) -> None:
    options = ReadOptions.model_validate({"url": mailer.url, "value": "json.since"})
    reading = await read(options, a_context(tmp_path))
    assert reading.value is None
    assert "null" in reading.detail
    missing = ReadOptions.model_validate({"url": mailer.url, "value": "json.nobody.here"})
    assert "no json.nobody" in (await read(missing, a_context(tmp_path))).detail


@pytest.mark.parametrize(
    ("mood", "passed", "asked_for_passed"),
    [("obedient", True, True), ("locked", False, False), ("broken", False, False), ("no state", None, False)],
)
async def test_the_preflight_only_looks(
    mailer: Mailer, tmp_path: Path, mood: str, passed: bool | None, asked_for_passed: bool | None
) -> None:
    mailer.mood = mood
    options = Options.model_validate({"method": "PUT", "url": mailer.url, "auth": {"bearer": "s3cret-token"}})
    assert (await preflight(options, a_context(tmp_path))).passed is passed
    options = Options.model_validate({"method": "PUT", "url": mailer.url, "check_url": mailer.url})
    assert (await preflight(options, a_context(tmp_path))).passed is asked_for_passed
    assert mailer.methods == ["GET", "GET"]
    assert mailer.requests[0][1]["authorization"] == "bearer s3cret-token"


async def test_the_preflight_of_a_place_where_nobody_listens_fails(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        result = await preflight(Options.model_validate({"url": url}), a_context(tmp_path))
    assert result.passed is False


def test_the_manual_command_shows_references_and_no_secret() -> None:
    command = manual(
        {
            "kind": "http",
            "method": "PUT",
            "url": "https://mailer.internal/provider?x=[1]",
            "headers": {"X-Key": "${file:/etc/o'brien key}", "X-Empty": ""},
            "auth": {"bearer": "${MAILER_TOKEN}"},
            "json": {"provider": "it's $HOME"},
            "ca": "ca.pem",
        }
    )
    assert '"$MAILER_TOKEN"' in command
    assert shlex.split(command.replace('"$(cat ', "").replace(')"', "").replace("'\"'\"'", ""))[:1] == ["curl"]
    assert "--cacert ca.pem" in command
    assert "'X-Empty;'" in command


async def test_the_manual_command_does_the_same_as_the_action(mailer: Mailer, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k3y with 'quotes'")
    raw = {
        "method": "PUT",
        "url": mailer.url,
        "headers": {"X-Key": "${file:key}", "X-Region": '${REGION:-eu "west"}'},
        "auth": {"basic": {"user": "ops", "password": "${cmd:printf %s pass word}"}},
        "json": {"provider": "ses"},
    }
    finished = await run_program(["bash", "-c", manual(raw)], cwd=tmp_path, timeout=20)
    assert finished.exit_code == 0, finished.stderr
    assert mailer.provider == "ses"
    headers = mailer.requests[0][1]
    assert headers["x-key"] == "k3y with 'quotes'"
    assert headers["x-region"] == 'eu "west"'
    assert headers["authorization"] == "basic b3bzonbhc3n3b3jk", "ops:password, in lower case"


def test_abilities_follow_the_options() -> None:
    put_if = Options.model_validate({"method": "PUT", "url": "http://x/", "if_match": True})
    post = Options.model_validate({"url": "http://x/"})
    assert KIND.abilities_with(put_if).cas
    assert KIND.abilities_with(put_if).idempotent
    assert not KIND.abilities_with(post).cas
    assert not KIND.abilities_with(post).idempotent


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"url": "ftp://x/"}, "http:// or https://"),
        ({"headers": {"If-Match": "*"}}, "set by opsdash itself"),
        ({"headers": {"idempotency-key": "1"}}, "set by opsdash itself"),
        ({"redirects": 3}, "Input should be 0"),
        ({"json": {}, "body": "x"}, "at most one"),
        ({"auth": {"digest": {"user": "a", "password": "b"}}}, "sent once"),
        ({"ok": [42]}, "greater than or equal to 200"),
        ({"check_url": "nowhere"}, "http:// or https://"),
    ],
)
def test_options_that_cannot_work_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Options.model_validate({"url": "http://x/", **keys})


# --- through a proxy -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "login", "applied"),
    [
        (b"", None, Applied.APPLIED),
        (b"", "ops:right", Applied.REFUSED),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", None, Applied.UNKNOWN),
    ],
    ids=["lets through", "wants to know who", "says that it failed"],
)
async def test_an_action_goes_through_its_proxy_once(
    mailer: Mailer, tmp_path: Path, answer: bytes, login: str | None, applied: Applied
) -> None:
    proxy = LoopbackServer(HttpProxy(login=login, answer=answer))
    listener = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    proxy.port, proxy.listener = listener.sockets[0].getsockname()[1], listener
    try:
        result = await put(mailer, tmp_path, proxy=f"http://{proxy.origin}")
        assert result.applied is applied
        assert len(proxy.requests) == 1
        assert mailer.methods == (["PUT"] if applied is Applied.APPLIED else [])
        read_options = ReadOptions.model_validate(
            {"url": mailer.url, "value": "json.provider", "proxy": f"http://{proxy.origin}"}
        )
        assert (await read(read_options, a_context(tmp_path))).value == ("ses" if applied is Applied.APPLIED else None)
    finally:
        await proxy.stop()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_where_the_proxy_did_not_get_as_far_nothing_was_sent(tmp_path: Path, scheme: str) -> None:
    refusing = LoopbackServer(HttpProxy(answer=b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"))
    listener = await asyncio.start_server(refusing.handle, "127.0.0.1", 0)
    refusing.port, refusing.listener = listener.sockets[0].getsockname()[1], listener
    nobody = f"127.0.0.1:{refusing.port}" if scheme == "https" else "127.0.0.1:1"
    options = Options.model_validate({"url": f"{scheme}://mailer.example/provider", "proxy": f"http://{nobody}"})
    try:
        sent: list[bool] = []
        result = await apply(options, a_context(tmp_path, on_sent=lambda: sent.append(True)))
        assert result.applied is Applied.NOT_STARTED
        assert f"the proxy {nobody}" in result.detail
        assert sent == []
        assert (await preflight(options, a_context(tmp_path))).passed is False
    finally:
        await refusing.stop()


def test_the_manual_command_takes_the_same_way() -> None:
    raw = {"url": "https://m.example/", "proxy": "http://ops:${file:secret}@p.example:3128", "http2": True}
    command = manual(raw)
    assert "--http2" in command
    assert '--proxy http://ops:"$(cat secret)"@p.example:3128' in command
