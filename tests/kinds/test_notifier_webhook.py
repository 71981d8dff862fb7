"""Notifier kind `webhook`: receivers that take a message, put it off, refuse it, lose it, and do not answer."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from opsdash.kinds.notifiers.webhook import KIND, Options, send
from opsdash.kinds.signing import LEAST
from opsdash.model.message import Delivery, MessageKind
from tests.kinds.conftest import read_request
from tests.kinds.notices import NOON, message, never

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.kinds.conftest import Authority, LoopbackServer
    from tests.kinds.notices import Desk

    Serve = Callable[..., Awaitable[LoopbackServer]]
    Answer = Callable[..., bytes]

SECRET = "whsec_" + base64.b64encode(b"a secret that nobody else has!!!").decode()
OLD_SECRET = "the secret that was there before it"


def received(request: bytes) -> tuple[dict[str, str], bytes]:
    """Headers by lower-case name, and the body."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, body


async def test_a_message_arrives_as_json_with_all_that_is_known_of_it(
    serve: Serve, http_answer: Answer, desk: Desk
) -> None:
    server = await serve(http_answer("thanks", status=202))
    sent = message(drill=True, link="https://ops.example/INC-12")
    told = await send(Options(url=f"http://{server.origin}/hook"), sent, desk.context())
    assert told.delivery is Delivery.DELIVERED
    assert "202 Accepted: thanks" in told.detail
    assert desk.sent == 1
    headers, body = received(server.requests[0])
    assert server.requests[0].startswith(b"POST /hook HTTP/1.1")
    assert headers["content-type"] == "application/json"
    assert headers["idempotency-key"] == "incident-12-opened"
    assert "webhook-signature" not in headers
    assert json.loads(body) == {
        "type": "opsdash.problem",
        "timestamp": "2026-05-28T20:26:40Z",
        "id": "MSG-7",
        "key": "incident-12-opened",
        "channel": "pager",
        "operation": "The tea shop",
        "kind": "problem",
        "severity": 1,
        "drill": True,
        "title": "Email is down: our mail provider does not answer",
        "body": "postmark/api: connection refused\nRunbook: email-down",
        "link": "https://ops.example/INC-12",
        "about": ["email"],
        "incidents": ["INC-12"],
        "at": NOON,
    }


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
async def test_it_is_signed_so_that_the_receiver_can_tell_who_sent_it_and_when(
    serve: Serve, http_answer: Answer, desk: Desk, secret: str
) -> None:
    server = await serve(http_answer())
    await send(Options(url=f"http://{server.origin}/", secret=secret), message(), desk.context())
    headers, body = received(server.requests[0])
    assert headers["webhook-id"] == "incident-12-opened"
    assert headers["webhook-timestamp"] == str(int(NOON) + 5)
    key = base64.b64decode(secret[6:]) if secret == SECRET else secret.encode()
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"


async def test_while_a_secret_is_replaced_both_sign(serve: Serve, http_answer: Answer, desk: Desk) -> None:
    server = await serve(http_answer())
    url = f"http://{server.origin}/"
    await send(Options(url=url, secret=SECRET, previous_secret=OLD_SECRET), message(), desk.context())
    await send(Options(url=url, secret=OLD_SECRET), message(), desk.context())
    both, old = (received(request)[0]["webhook-signature"].split(" ") for request in server.requests)
    assert len(both) == 2
    assert both[1] == old[0]


async def test_every_attempt_carries_the_same_key_and_a_key_with_full_stops_shifts_nothing(
    serve: Serve, http_answer: Answer, desk: Desk
) -> None:
    server = await serve(http_answer())
    options = Options(url=f"http://{server.origin}/", secret=SECRET)
    for key in ("a.b", "a.b", "a.c"):
        await send(options, message(key=key), desk.context())
    first, second, third = (received(request)[0] for request in server.requests)
    assert first["webhook-id"] == second["webhook-id"] == second["idempotency-key"] != third["webhook-id"]
    assert "." not in first["webhook-id"]


async def test_slack_gets_its_text_and_nothing_in_it_calls_a_whole_channel(
    serve: Serve, http_answer: Answer, desk: Desk
) -> None:
    server = await serve(http_answer("ok"))
    sent = message(title="A & B are down", body="they said <!channel>")
    told = await send(Options(url=f"http://{server.origin}/", template="slack"), sent, desk.context())
    assert told.delivery is Delivery.DELIVERED
    _, body = received(server.requests[0])
    assert json.loads(body) == {"text": "*A &amp; B are down*\nthey said &lt;!channel&gt;"}


async def test_plain_text_is_title_and_body(serve: Serve, http_answer: Answer, desk: Desk) -> None:
    server = await serve(http_answer())
    sent = message(title="Röstung fällt aus", body="", link="https://ops.example/1", kind=MessageKind.REMINDER)
    await send(Options(url=f"http://{server.origin}/", template="plain"), sent, desk.context())
    headers, body = received(server.requests[0])
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert body.decode() == "Röstung fällt aus\n\nhttps://ops.example/1"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, Delivery.DELIVERED),
        (204, Delivery.DELIVERED),
        (302, Delivery.REFUSED),
        (308, Delivery.REFUSED),
        (400, Delivery.REFUSED),
        (401, Delivery.REFUSED),
        (404, Delivery.REFUSED),
        (408, Delivery.UNKNOWN),
        (409, Delivery.UNKNOWN),
        (410, Delivery.REFUSED),
        (413, Delivery.REFUSED),
        (429, Delivery.FAILED),
        (500, Delivery.UNKNOWN),
        (501, Delivery.REFUSED),
        (502, Delivery.UNKNOWN),
        (503, Delivery.FAILED),
        (504, Delivery.UNKNOWN),
    ],
)
async def test_what_a_status_says_about_the_message(
    serve: Serve, http_answer: Answer, desk: Desk, status: int, expected: Delivery
) -> None:
    server = await serve(http_answer(status=status))
    told = await send(Options(url=f"http://{server.origin}/"), message(), desk.context())
    assert told.delivery is expected
    assert str(status) in told.detail


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "case",
    [
        ("Retry-After: 120", 120.0),
        ("Retry-After: Thu, 28 May 2026 20:27:45 GMT\nDate: Thu, 28 May 2026 20:26:45 GMT", 60.0),
        ("Retry-After: soon", None),
        ("", None),
    ],
)
async def test_whoever_is_too_busy_says_when_to_come_again(
    serve: Serve, http_answer: Answer, desk: Desk, status: int, case: tuple[str, float | None]
) -> None:
    headers, expected = case
    server = await serve(http_answer(status=status, headers=headers))
    told = await send(Options(url=f"http://{server.origin}/"), message(), desk.context())
    assert (told.delivery, told.retry_after) == (Delivery.FAILED, expected)


@pytest.mark.parametrize(
    ("answer", "missing"),
    [
        ('{"id": "abc"}', None),
        ("{}", "it has no json.id"),
        ('{"id": null}', "its json.id is null"),
        ('{"id": false}', "its json.id is false"),
        ("<html>welcome to the hotel", "no json.id in it"),
        ("", "no json.id in it: the body is empty"),
    ],
)
async def test_a_receiver_that_says_yes_and_loses_it_is_found_out(
    serve: Serve, http_answer: Answer, desk: Desk, answer: str, missing: str | None
) -> None:
    server = await serve(http_answer(answer))
    told = await send(Options(url=f"http://{server.origin}/", confirm="json.id"), message(), desk.context())
    assert told.delivery is (Delivery.DELIVERED if missing is None else Delivery.UNKNOWN)
    assert (missing or "200 OK") in told.detail


async def test_a_header_can_confirm_too(serve: Serve, http_answer: Answer, desk: Desk) -> None:
    server = await serve(http_answer("not json", headers="X-Id: 5"))
    told = await send(Options(url=f"http://{server.origin}/", confirm="headers.x-id"), message(), desk.context())
    assert told.delivery is Delivery.DELIVERED


async def test_a_redirect_is_not_followed_and_its_secret_path_is_not_shown(
    serve: Serve, http_answer: Answer, desk: Desk
) -> None:
    server = await serve(http_answer(status=301, headers="Location: https://new.example/hooks/T0PSECRET"))
    told = await send(Options(url=f"http://{server.origin}/hooks/0LDSECRET"), message(), desk.context())
    assert told.delivery is Delivery.REFUSED
    assert "new.example" in told.detail
    assert "SECRET" not in told.detail
    assert len(server.requests) == 1


async def test_nothing_was_sent_where_nobody_listens(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    told = await send(Options(url=f"http://127.0.0.1:{port}/"), message(), desk.context())
    assert told.delivery is Delivery.FAILED
    assert "connection refused" in told.detail
    assert desk.sent == 0


async def test_no_answer_in_time_is_unknown(serve: Serve, desk: Desk) -> None:
    server = await serve(never)
    told = await send(Options(url=f"http://{server.origin}/"), message(), desk.context(deadline=1.0))
    assert told.delivery is Delivery.UNKNOWN
    assert "no answer in time" in told.detail
    assert desk.sent == 1


async def test_a_connection_that_breaks_after_sending_is_unknown(serve: Serve, desk: Desk) -> None:
    async def breaks(_: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.transport.abort()

    server = await serve(breaks)
    told = await send(Options(url=f"http://{server.origin}/"), message(), desk.context())
    assert told.delivery is Delivery.UNKNOWN
    assert desk.sent == 1


async def test_a_certificate_that_nobody_vouches_for_stops_it_before_anything_is_sent(
    serve: Serve, http_answer: Answer, desk: Desk, authority: Authority
) -> None:
    server = await serve(http_answer(), tls=authority.server())
    url = f"https://localhost:{server.port}/"
    told = await send(Options(url=url), message(), desk.context())
    assert told.delivery is Delivery.FAILED
    assert "certificate" in told.detail
    trusting = Options(url=url, ca=authority.file)
    assert (await send(trusting, message(), desk.context())).delivery is Delivery.DELIVERED


async def test_whoever_is_cancelled_has_said_whether_it_was_sent(serve: Serve, desk: Desk) -> None:
    server = await serve(never)
    task = asyncio.ensure_future(send(Options(url=f"http://{server.origin}/"), message(), desk.context()))
    await server.until_open(1)
    await desk.until_sent()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await server.until_open(0)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"url": "ftp://x"}, "must begin with http:// or https://"),
        ({"url": "https://u:p@x/"}, "carries credentials"),
        ({"secret": "short"}, f"at least {LEAST} bytes, this one 5; make one with"),
        ({"secret": "whsec_no base64 at all, is it"}, "no base64"),
        ({"previous_secret": SECRET}, "without `secret`"),
        ({"headers": {"Webhook-Id": "1"}}, "set by opsdash itself"),
        ({"headers": {"Content-Length": "1"}}, "set by opsdash itself"),
        ({"headers": {"Authorization": "x"}, "auth": {"bearer": "y"}}, "both `auth` and"),
        ({"auth": {"digest": {"user": "a", "password": "b"}}}, "sends a request twice"),
        ({"client_key": "k.pem"}, "without `client_cert`"),
        ({"confirm": "json..id"}, "is no path"),
        ({"template": "teams"}, "'json', 'slack' or 'plain'"),
        ({"method": "PUT"}, "Extra inputs"),
    ],
)
def test_keys_that_cannot_work_are_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said.replace(".", r"\.")):
        Options(**{"url": "https://pager.example/", **keys})


def test_neither_secrets_nor_headers_are_in_its_repr() -> None:
    options = Options(url="https://x.example/", secret=SECRET, headers={"X-Key": "abc123"}, auth={"bearer": "tok3n"})
    assert not {SECRET, "abc123", "tok3n"} & set(repr(options).replace("'", " ").split())
    assert SECRET[6:] not in repr(options)


def test_the_hosts_that_it_depends_on_are_told_unless_a_reference_hides_them() -> None:
    assert KIND.hosts({"url": "https://pager.example/x", "proxy": "http://proxy.example:3128"}) == (
        "pager.example",
        "proxy.example",
    )
    assert KIND.hosts({"url": "${HOOK}"}) == ()
    assert KIND.hosts({"url": "https://${HOST}/x"}) == ()
