"""Notifier kind `apprise`, with the real library against real servers on loopback: HTTP and SMTP."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from opsdash.kinds.notifiers.apprise import KIND, Options, problem, send
from opsdash.model.message import Delivery, MessageKind
from tests.kinds.conftest import read_request
from tests.kinds.mailhost import MailHost
from tests.kinds.notices import message, never

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tests.kinds.conftest import LoopbackServer
    from tests.kinds.notices import Desk

    Serve = Callable[..., Awaitable[LoopbackServer]]
    Answer = Callable[..., bytes]

SECRETS = ("us3rname", "pa55word", "pathT0ken", "h3aderKey", "qu3ryToken")


def address(server: LoopbackServer) -> str:
    """An address with a secret in every place that has room for one."""
    return f"json://us3rname:pa55word@{server.origin}/pathT0ken/?+X-Api-Key=h3aderKey&:token=qu3ryToken"


def mail_address(server: LoopbackServer) -> str:
    return f"mailto://127.0.0.1:{server.port}?from=ops@shop.example&to=maria@shop.example&mode=insecure"


def dead_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


async def test_a_message_arrives_over_http(serve: Serve, http_answer: Answer, desk: Desk) -> None:
    server = await serve(http_answer("ok"))
    told = await send(Options(urls=[address(server)]), message(), desk.context())
    assert (told.delivery, told.detail) == (Delivery.DELIVERED, "json: took it")
    assert desk.sent == 1
    body = json.loads(server.requests[0].partition(b"\r\n\r\n")[2])
    assert body["title"] == "Email is down: our mail provider does not answer"
    assert body["message"] == "postmark/api: connection refused\nRunbook: email-down"
    assert body["type"] == "failure"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"kind": MessageKind.RESOLVED}, "success"), ({"kind": MessageKind.TEST}, "info"), ({"severity": 3}, "warning")],
)
async def test_what_it_is_about_shows_in_its_colour(
    serve: Serve, http_answer: Answer, desk: Desk, changes: dict[str, Any], expected: str
) -> None:
    server = await serve(http_answer())
    await send(Options(urls=address(server)), message(**changes), desk.context())
    assert json.loads(server.requests[0].partition(b"\r\n\r\n")[2])["type"] == expected


async def test_a_message_without_a_body_arrives_too(serve: Serve, http_answer: Answer, desk: Desk) -> None:
    server = await serve(http_answer())
    told = await send(Options(urls=address(server)), message(body=" "), desk.context())
    assert told.delivery is Delivery.DELIVERED


async def test_a_message_arrives_as_mail(serve: Serve, desk: Desk) -> None:
    host = MailHost()
    server = await serve(host)
    told = await send(Options(urls=mail_address(server)), message(), desk.context())
    assert (told.delivery, told.detail) == (Delivery.DELIVERED, "mailto: took it")
    (mail,) = host.mails
    assert "Subject: Email is down: our mail provider does not answer" in mail
    assert "maria@shop.example" in mail


@pytest.mark.parametrize(
    ("answers", "expected", "said"),
    [
        ({"RCPT": b"550 5.1.1 no such user\r\n"}, Delivery.REFUSED, "mailto: the mail server said 550"),
        ({"RCPT": b"451 4.7.1 greylisted\r\n"}, Delivery.FAILED, "mailto: the mail server said 451"),
        ({"MAIL": b"552 5.2.2 too much\r\n"}, Delivery.REFUSED, "mailto: the mail server said 552"),
        ({"END": b"452 4.3.1 the disk is full\r\n"}, Delivery.FAILED, "mailto: the mail server said 452"),
    ],
)
async def test_a_mail_server_that_says_no_is_told_by_its_number(
    serve: Serve, desk: Desk, answers: dict[str, bytes | None], expected: Delivery, said: str
) -> None:
    server = await serve(MailHost(answers))
    told = await send(Options(urls=mail_address(server)), message(), desk.context())
    assert (told.delivery, told.detail) == (expected, said)


async def test_a_mail_server_that_says_nothing_after_it_got_the_mail_is_unknown(serve: Serve, desk: Desk) -> None:
    host = MailHost({"END": None})
    server = await serve(host)
    told = await send(Options(urls=mail_address(server)), message(), desk.context(deadline=1.5))
    assert told.delivery is Delivery.UNKNOWN
    assert len(host.mails) == 1


@pytest.mark.parametrize("scheme", ["json://127.0.0.1:{}", "mailto://127.0.0.1:{}?from=a@b.example&mode=insecure"])
async def test_where_nobody_listens_it_failed(desk: Desk, scheme: str) -> None:
    told = await send(Options(urls=scheme.format(dead_port())), message(), desk.context())
    assert told.delivery is Delivery.FAILED
    assert told.detail.endswith(": connection refused")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, Delivery.REFUSED),
        (401, Delivery.REFUSED),
        (404, Delivery.REFUSED),
        (408, Delivery.UNKNOWN),
        (429, Delivery.FAILED),
        (500, Delivery.UNKNOWN),
        (503, Delivery.FAILED),
    ],
)
async def test_what_a_status_says_about_the_message(
    serve: Serve, http_answer: Answer, desk: Desk, status: int, expected: Delivery
) -> None:
    server = await serve(http_answer(status=status, headers="Retry-After: 3"))
    told = await send(Options(urls=address(server)), message(), desk.context())
    assert (told.delivery, told.detail) == (expected, f"json: HTTP status {status}")


async def test_a_redirect_is_not_followed_to_where_nobody_meant(serve: Serve, http_answer: Answer, desk: Desk) -> None:
    other = await serve(http_answer())
    server = await serve(http_answer(status=307, headers=f"Location: http://{other.origin}/"))
    told = await send(Options(urls=address(server)), message(), desk.context())
    if not other.requests:  # Apprise 1 follows, and has no way to be told not to
        assert (told.delivery, told.detail) == (Delivery.REFUSED, "json: HTTP status 307")


async def test_no_answer_is_unknown_and_a_second_attempt_waits_for_what_is_still_under_way(
    serve: Serve, http_answer: Answer, desk: Desk
) -> None:
    answer = asyncio.Event()

    async def slow(server: LoopbackServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.requests.append(await read_request(reader))
        await answer.wait()
        writer.write(http_answer())

    server = await serve(slow)
    options = Options(urls=f"json://{server.origin}/?rto=30")
    told = await send(options, message(key="slow"), desk.context(deadline=1.0))
    assert told.delivery is Delivery.UNKNOWN
    answer.set()
    told = await send(options, message(key="slow"), desk.context())
    assert told.delivery is Delivery.DELIVERED
    assert 1 <= len(server.requests) <= 2


async def test_those_that_took_it_do_not_get_it_again_when_another_did_not(
    serve: Serve, http_answer: Answer, desk: Desk
) -> None:
    good = await serve(http_answer())
    bad = await serve([http_answer(status=503), http_answer(status=503), http_answer()])
    options = Options(urls=[f"json://{good.origin}/", f"json://{bad.origin}/"])
    sent = message(key="shared")
    first = await send(options, sent, desk.context())
    assert (first.delivery, first.detail) == (Delivery.FAILED, "json (1): took it; json (2): HTTP status 503")
    second = await send(options, sent, desk.context())
    assert second.detail == "json (1): has it since an earlier attempt; json (2): HTTP status 503"
    third = await send(options, sent, desk.context())
    assert third.delivery is Delivery.DELIVERED
    assert (len(good.requests), len(bad.requests)) == (1, 3)
    await send(options, message(key="another"), desk.context())
    assert len(good.requests) == 2


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((200, 404), Delivery.REFUSED),
        ((503, 404), Delivery.FAILED),
        ((500, 404), Delivery.UNKNOWN),
        ((500, 503), Delivery.FAILED),
        ((200, 500), Delivery.UNKNOWN),
    ],
)
async def test_whoever_may_still_take_it_decides_when_it_is_tried_again(
    serve: Serve, http_answer: Answer, desk: Desk, statuses: tuple[int, ...], expected: Delivery
) -> None:
    servers = [await serve(http_answer(status=status)) for status in statuses]
    options = Options(urls=[f"json://{server.origin}/" for server in servers])
    assert (await send(options, message(), desk.context())).delivery is expected


@pytest.fixture
def printed(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """All that has reached the log of the process, of any level, and its terminal."""
    root, handler = logging.getLogger(), logging.StreamHandler(io.StringIO())
    before = root.level
    root.addHandler(handler)
    root.setLevel(1)

    def everything() -> str:
        terminal = capfd.readouterr()
        return handler.stream.getvalue() + terminal.out + terminal.err

    yield everything
    root.removeHandler(handler)
    root.setLevel(before)


@pytest.mark.parametrize("mood", ["says no", "is silent", "is gone", "breaks off"])
async def test_nothing_that_apprise_says_about_an_address_leaves_with_its_secrets(
    serve: Serve, http_answer: Answer, desk: Desk, mood: str, printed: Callable[[], str]
) -> None:
    echo = http_answer(" ".join(SECRETS), status=401)
    server = await serve({"says no": echo, "breaks off": b"HTTP/1.1 2"}.get(mood, never))
    if mood == "is gone":
        await server.stop()
    told = await send(Options(urls=[address(server)]), message(), desk.context(deadline=3.0))
    assert told.delivery is not Delivery.DELIVERED
    everything = told.detail + printed()
    assert not [secret for secret in SECRETS if secret in everything]


def test_neither_does_its_repr_nor_what_is_wrong_with_it() -> None:
    assert "pathT0ken" not in repr(Options(urls=["json://x/pathT0ken"]))
    with pytest.raises(ValidationError) as raised:
        Options(urls=["dbus://pathT0ken"])
    assert "pathT0ken" not in str(raised.value.errors(include_input=False))


async def test_an_address_that_apprise_does_not_understand_is_refused(desk: Desk) -> None:
    for url in ("nosuchservice://x", "tgram://"):
        told = await send(Options(urls=f"{url}/"), message(), desk.context())
        assert told.delivery is Delivery.REFUSED


@pytest.mark.parametrize(
    ("urls", "said"),
    [
        ([], "at least 1 item"),
        (["maria@shop.example"], "address 1: it has no scheme"),
        (["json://x", "dbus://"], "address 2: it has no scheme"),
        (["json://x", "gnome://x"], "address 2: gnome:// is a service of this machine"),
        (["WINDOWS://x"], "windows:// is a service of this machine"),
        (["file:///etc/passwd"], "file:// is a service of this machine"),
        (["syslog://x"], "never tells whether anything arrived"),
        (["json://x", "json://x"], "named twice"),
        ([f"json://{number}" for number in range(21)], "at most 20 items"),
    ],
)
def test_addresses_that_cannot_work_are_refused(urls: list[str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Options(urls=urls)


@pytest.mark.parametrize(
    ("urls", "said"),
    [
        (["json://x/", "${HOOK}"], None),
        ("jsn://x/", "address 1: Apprise .* knows no jsn://"),
        (["json://x/", "tgram://notatoken/"], "address 2: Apprise does not understand what follows tgram://"),
        (["tgram://${TOKEN}/1"], None),
        (["tgrm://${TOKEN}/1"], "knows no tgrm://"),
        (["kde://x"], "service of this machine"),
        ([5], None),
        (None, None),
    ],
)
def test_what_is_wrong_is_found_at_load_while_secrets_are_references(urls: Any, said: str | None) -> None:
    found = problem({"urls": urls})
    if said is None:
        assert found is None
    else:
        assert found is not None
        assert re.search(said, found)
    assert "notatoken" not in (found or "")


def test_hosts_are_told_and_keys_that_stand_in_their_place_are_not() -> None:
    raw = {
        "urls": [
            "mailtos://ops:pw@mail.shop.example?smtp=smtp.shop.example&to=a@b.example",
            "slack://TokenA/TokenB/TokenC",
            "pushdeer://aKey",
            "ntfys://${HOST}/topic",
            "postmark://key:from@b.example/",
        ]
    }
    assert KIND.hosts(raw) == ("mail.shop.example", "smtp.shop.example", "hooks.slack.com", "api.postmarkapp.com")


def test_the_library_is_not_imported_before_a_message_is_sent() -> None:
    program = """
import sys
from opsdash.kinds.registry import notifier_kind
kind = notifier_kind("apprise")
kind.options(urls=["json://x/"])
assert "apprise" not in sys.modules and "requests" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_where_the_library_is_missing_it_is_said_how_to_get_it() -> None:
    program = """
import importlib.util
there = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "apprise" else there(name, *rest)
from opsdash.kinds.registry import KindUnavailableError, notifier_kind
try:
    notifier_kind("apprise")
except KindUnavailableError as error:
    print(error)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert "pip install 'opsdash[apprise]'" in ended.stdout
