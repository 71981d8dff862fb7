"""Check kind `smtp`: conversations with mail servers, written as what each side says."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from opsdash.kinds.base import CheckContext, Sample
from opsdash.kinds.checks import smtp
from opsdash.model.status import Reason, Status

if TYPE_CHECKING:
    import ssl
    from asyncio import StreamReader, StreamWriter

Serve = Callable[..., Awaitable[Any]]
MakeContext = Callable[..., CheckContext]

LOGIN = {"user": "ops", "password": "s3cret"}
PLAIN = base64.b64encode(b"\0ops\0s3cret").decode()


def mail_server(
    *conversation: tuple[str, str], greeting: str = "220 mx ESMTP", tls: ssl.SSLContext | None = None
) -> Any:
    """A server that expects each first line, and answers with the second. `!tls` changes to TLS after it."""

    async def behave(server: Any, reader: StreamReader, writer: StreamWriter) -> None:
        writer.write(greeting.encode() + b"\r\n")
        for expected, answer in conversation:
            line = (await reader.readline()).decode().rstrip("\r\n")
            server.requests.append(line)
            if line != expected:
                writer.write(b"503 unexpected\r\n")
                return
            writer.write(answer.removesuffix("!tls").encode() + b"\r\n")
            await writer.drain()
            if answer.endswith("!tls"):
                assert tls is not None
                await writer.start_tls(tls)

    return behave


EHLO = ("EHLO opsdash.invalid", "250-mx\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN")
EHLO_TLS = ("EHLO opsdash.invalid", "250-mx\r\n250 STARTTLS")
NOOP = ("NOOP", "250 fine")
QUIT = ("QUIT", "221 bye")


async def check(server: Any, context: CheckContext, **keys: Any) -> Sample:
    options = {"host": "localhost", "port": server.port, "ca": None, **keys}
    return await smtp.run(smtp.Options.model_validate(options), context)


async def test_a_server_that_greets_and_listens_is_ok(serve: Serve, context: MakeContext) -> None:
    server = await serve(mail_server(EHLO, NOOP, QUIT, greeting="220-mx\r\n220 welcome"))
    sample = await check(server, context())
    assert (sample.status, sample.detail) == (Status.OK, "mx welcome")
    assert sample.values["extensions"] == ["8BITMIME", "AUTH"]
    assert sample.values["tls"] is False
    assert server.requests == ["EHLO opsdash.invalid", "NOOP", "QUIT"]
    await server.until_open(0)


async def test_starttls_is_used_where_it_is_offered_and_what_was_said_before_is_forgotten(
    serve: Serve, context: MakeContext, authority: Any
) -> None:
    server = await serve(
        mail_server(EHLO_TLS, ("STARTTLS", "220 go!tls"), EHLO, NOOP, QUIT, tls=authority.server(days=40))
    )
    sample = await check(server, context(), ca="ca.pem")
    assert (sample.status, sample.values["tls"]) == (Status.OK, True)
    assert "STARTTLS" not in sample.values["extensions"]
    assert "days_left" in sample.values
    assert sample.phases["tls"] > 0


async def test_an_untrusted_certificate_is_down(serve: Serve, context: MakeContext, authority: Any) -> None:
    conversation = (EHLO_TLS, ("STARTTLS", "220 go!tls"), EHLO, NOOP, QUIT)
    server = await serve(mail_server(*conversation, tls=authority.server()))
    assert (await check(server, context())).reason is Reason.TLS
    assert (await check(server, context(), verify_tls=False)).status is Status.OK


async def test_tls_from_the_first_byte(serve: Serve, context: MakeContext, authority: Any) -> None:
    server = await serve(mail_server(EHLO, NOOP, QUIT), tls=authority.server())
    sample = await check(server, context(), tls=True, ca="ca.pem")
    assert (sample.status, sample.values["tls"]) == (Status.OK, True)


async def test_tls_that_is_required_and_not_offered_is_down(serve: Serve, context: MakeContext) -> None:
    server = await serve(mail_server(EHLO))
    sample = await check(server, context(), starttls="required")
    assert (sample.status, sample.reason) == (Status.DOWN, Reason.PROTOCOL)
    assert "STARTTLS" in sample.detail


async def test_what_was_slipped_in_before_the_handshake_is_not_taken_for_an_answer(
    serve: Serve, context: MakeContext
) -> None:
    server = await serve(mail_server(EHLO_TLS, ("STARTTLS", "220 go\r\n250 injected")))
    sample = await check(server, context())
    assert (sample.status, sample.reason) == (Status.DOWN, Reason.PROTOCOL)


async def test_a_password_is_not_sent_in_the_clear_unless_that_is_said(serve: Serve, context: MakeContext) -> None:
    server = await serve(mail_server(EHLO, (f"AUTH PLAIN {PLAIN}", "235 in"), NOOP, QUIT))
    sample = await check(server, context(), login=LOGIN)
    assert (sample.status, sample.reason) == (Status.DOWN, Reason.AUTH)
    assert server.requests == ["EHLO opsdash.invalid"]
    assert (await check(server, context(), login=LOGIN, starttls="never")).status is Status.OK


async def test_login_in_two_steps(serve: Serve, context: MakeContext) -> None:
    server = await serve(
        mail_server(
            ("EHLO opsdash.invalid", "250-mx\r\n250 AUTH LOGIN"),
            ("AUTH LOGIN", "334 VXNlcm5hbWU6"),
            ("b3Bz", "334 UGFzc3dvcmQ6"),
            ("czNjcmV0", "235 in"),
            NOOP,
            QUIT,
        )
    )
    assert (await check(server, context(), login=LOGIN, starttls="never")).status is Status.OK


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        ("535 5.7.8 wrong", Status.DOWN, Reason.AUTH),
        ("530 need more", Status.DOWN, Reason.AUTH),
        ("454 try later", Status.DEGRADED, Reason.STATUS),
    ],
)
async def test_a_login_that_fails(
    serve: Serve, context: MakeContext, answer: str, status: Status, reason: Reason
) -> None:
    server = await serve(mail_server(EHLO, (f"AUTH PLAIN {PLAIN}", answer)))
    sample = await check(server, context(), login=LOGIN, starttls="never")
    assert (sample.status, sample.reason) == (status, reason)
    assert answer in sample.detail
    assert PLAIN not in sample.detail


async def test_a_message_is_proposed_and_never_sent(serve: Serve, context: MakeContext) -> None:
    server = await serve(
        mail_server(
            EHLO,
            ("MAIL FROM:<ops@example.org>", "250 ok"),
            ("RCPT TO:<you@example.org>", "250 ok"),
            ("RSET", "250 ok"),
            QUIT,
        )
    )
    keys = {"mail_from": "ops@example.org", "rcpt_to": "you@example.org"}
    assert (await check(server, context(), **keys)).status is Status.OK
    assert not any("DATA" in line for line in server.requests)


@pytest.mark.parametrize(("answer", "status"), [("450 greylisted", Status.DEGRADED), ("550 no such user", Status.DOWN)])
async def test_a_recipient_refused_for_now_is_degraded_and_for_good_is_down(
    serve: Serve, context: MakeContext, answer: str, status: Status
) -> None:
    server = await serve(
        mail_server(EHLO, ("MAIL FROM:<a@example.org>", "250 ok"), ("RCPT TO:<b@example.org>", answer))
    )
    sample = await check(server, context(), mail_from="a@example.org", rcpt_to="b@example.org")
    assert (sample.status, sample.reason, sample.detail) == (status, Reason.STATUS, f"RCPT TO: {answer}")


@pytest.mark.parametrize(
    ("greeting", "status", "reason"),
    [
        ("421 too busy", Status.DEGRADED, Reason.STATUS),
        ("554 go away", Status.DOWN, Reason.STATUS),
        ("SSH-2.0-OpenSSH", Status.DOWN, Reason.PROTOCOL),
        ("220-" + "x" * 30_000, Status.DOWN, Reason.TOO_LARGE),
        ("\r\n".join(["220-more"] * 200), Status.DOWN, Reason.PROTOCOL),
        ("\xb2\xb2\xb0 digits", Status.DOWN, Reason.PROTOCOL),
    ],
    ids=["busy", "refusing", "ssh", "long-line", "many-lines", "strange-digits"],
)
async def test_a_greeting_that_is_none(
    serve: Serve, context: MakeContext, greeting: str, status: Status, reason: Reason
) -> None:
    server = await serve(mail_server(greeting=greeting))
    sample = await check(server, context())
    assert (sample.status, sample.reason) == (status, reason)
    await server.until_open(0)


async def test_a_server_that_is_not_there_is_refused(context: MakeContext) -> None:
    options = smtp.Options(host="127.0.0.1", port=1)
    assert (await smtp.run(options, context())).reason is Reason.REFUSED


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"rcpt_to": "a@b"}, "without `mail_from`"),
        ({"mail_from": "a@b>\r\nDATA"}, "what an address cannot"),
        ({"helo": "a b"}, "what an address cannot"),
        ({"starttls": "maybe"}, "Input should be"),
    ],
)
def test_keys_that_make_no_sense_are_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        smtp.Options.model_validate({"host": "mx.example", **keys})
