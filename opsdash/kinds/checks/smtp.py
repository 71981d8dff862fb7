"""A mail server that greets, can be logged in to, and would take a message, which is never sent.

    submission:
      kind: smtp
      host: smtp.postmark.example
      port: 587
      starttls: required
      login: {user: ops, password: "${SMTP_PASSWORD}"}
      mail_from: ops@example.org
      rcpt_to: probe@example.org

The conversation is EHLO, STARTTLS, login, MAIL FROM, RCPT TO, RSET (or NOOP), QUIT, as far as the keys ask
for it, and ends before DATA. A temporary refusal (4xx: greylisting, too busy) is degraded, a permanent one
(5xx) is down, and one of the login is down (`auth`). Passwords are only sent over TLS, unless `starttls` is
`never`.
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from opsdash.errors import OpsdashError
from opsdash.kinds.base import CheckContext, CheckKind, CheckOptions, Sample
from opsdash.kinds.credentials import Login
from opsdash.kinds.failures import FAILURES, ProtocolError, RejectedError, failed
from opsdash.kinds.streams import Stream, connected
from opsdash.kinds.tls import TlsSettings, client_context, parse_certificate
from opsdash.model.status import Reason, Status

if TYPE_CHECKING:
    import ssl

MAX_LINES: Final = 100
_STANDARD_PORTS: Final = {False: 25, True: 465}


class Options(CheckOptions):
    """Keys of `kind: smtp`."""

    host: str
    """Name or address of the server."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """Its port; 25, or 465 with `tls`."""
    tls: bool = False
    """Whether TLS is spoken from the first byte."""
    starttls: Literal["never", "opportunistic", "required"] = "opportunistic"
    """Whether to change to TLS: not at all, if the server offers it, or else fail."""
    verify_tls: bool = True
    """Whether the server's certificate must be trusted and carry its name."""
    ca: Path | None = None
    """File with the certificate authorities to trust instead of the system's, relative to the workspace."""
    login: Login | None = None
    """Log in with this name and password."""
    mail_from: str | None = None
    """Sender to propose with MAIL FROM."""
    rcpt_to: str | None = None
    """Recipient to propose with RCPT TO; needs `mail_from`."""
    helo: str = "opsdash.invalid"
    """The name to introduce ourselves by."""

    @field_validator("mail_from", "rcpt_to", "helo")
    @classmethod
    def _fits_into_a_command(cls, text: str | None) -> str | None:
        if text is not None and (any(letter <= " " or letter in "<>\x7f" for letter in text) or not text):
            raise ValueError(f"{text!r} contains what an address cannot; write it as name@example.org")
        return text

    @model_validator(mode="after")
    def _keys_agree(self) -> Options:
        if self.rcpt_to is not None and self.mail_from is None:
            raise ValueError("`rcpt_to` without `mail_from`")
        return self


class RefusedError(OpsdashError):
    """The server answered a command with a code that means no."""

    def __init__(self, command: str, reply: Reply) -> None:
        super().__init__(f"{command}: {reply.code} {reply.text}")
        self.temporary = 400 <= reply.code < 500


@dataclass(frozen=True, slots=True)
class Reply:
    """The code, and the text of all lines."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(self.lines)[:200]


async def run(options: Options, context: CheckContext) -> Sample:
    """Have the conversation."""
    started = time.monotonic()
    port = options.port or _STANDARD_PORTS[options.tls]
    values: dict[str, Any] = {}
    phases: dict[str, float] = {}
    try:
        tls = client_context(_tls_settings(options, context))
        async with connected(options.host, port, context, tls=tls if options.tls else None) as stream:
            phases = stream.phases
            values["address"] = stream.address
            context.stage = "greeting"  # the server speaks first
            await _converse(stream, options, tls, values, context.wall)
    except RefusedError as error:
        status = Status.DEGRADED if error.temporary else Status.DOWN
        sample = Sample(status, Reason.STATUS, str(error), phases=phases)
    except FAILURES as error:
        sample = failed(error, where=f"{options.host}:{port}", phases=phases)
    else:
        sample = Sample(Status.OK, detail=values["greeting"], phases=phases)
        sample.latency = values["latency"] = time.monotonic() - started
    sample.values = values
    return sample


def _tls_settings(options: Options, context: CheckContext) -> TlsSettings:
    ca = str(context.workspace / options.ca) if options.ca is not None else None
    return TlsSettings(verify=options.verify_tls, ca=ca)


async def _converse(stream: Stream, options: Options, tls: ssl.SSLContext, values: dict[str, Any], wall: float) -> None:
    asked = time.monotonic()
    greeting = _demand(await _read_reply(stream), "greeting", 220)
    stream.phases["first_byte"] = time.monotonic() - asked
    values["greeting"] = greeting.text
    extensions = await _introduce(stream, options)
    if not options.tls and options.starttls != "never":
        extensions = await _secure(stream, options, tls, extensions)
    values["extensions"] = sorted(extensions)
    values["tls"] = stream.tls is not None
    if stream.tls is not None and (der := stream.tls.getpeercert(binary_form=True)) is not None:
        values["days_left"] = parse_certificate(der).days_left(wall)
    if options.login is not None:
        if stream.tls is None and options.starttls != "never":
            raise RejectedError("the server offers no TLS, so the password was not sent")
        await _log_in(stream, options.login, extensions)
    await _propose_mail(stream, options)
    await _command(stream, "QUIT")


async def _introduce(stream: Stream, options: Options) -> dict[str, str]:
    """The extensions that the server offers, by name."""
    reply = _demand(await _command(stream, f"EHLO {options.helo}"), "EHLO", 250)
    words = [line.split(" ", 1) for line in reply.lines[1:]]
    return {word[0].upper(): word[1] if len(word) > 1 else "" for word in words if word[0]}


async def _secure(stream: Stream, options: Options, tls: ssl.SSLContext, extensions: dict[str, str]) -> dict[str, str]:
    if "STARTTLS" not in extensions:
        if options.starttls == "required":
            raise ProtocolError("the server does not offer STARTTLS")
        return extensions
    _demand(await _command(stream, "STARTTLS"), "STARTTLS", 220)
    await stream.start_tls(tls, options.host)
    return await _introduce(stream, options)  # what was said before TLS does not count (RFC 3207)


async def _log_in(stream: Stream, login: Login, extensions: dict[str, str]) -> None:
    offered = extensions.get("AUTH", "").upper().split()
    password = login.password.get_secret_value()
    if "PLAIN" in offered or not offered:
        identity = f"\0{login.user}\0{password}"
        reply = await _command(stream, f"AUTH PLAIN {_base64(identity)}")
    elif "LOGIN" in offered:
        reply = await _command(stream, "AUTH LOGIN")
        for word in (login.user, password):
            if reply.code != 334:
                break
            reply = await _command(stream, _base64(word))
    else:
        raise ProtocolError(f"the server offers no way to log in that opsdash knows, only {' '.join(offered)}")
    if reply.code != 235:
        # The reply alone: it may repeat what was sent, but never holds our command.
        if 400 <= reply.code < 500:
            raise RefusedError("login", reply)
        raise RejectedError(f"login: {reply.code} {reply.text}")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


async def _propose_mail(stream: Stream, options: Options) -> None:
    if options.mail_from is None:
        _demand(await _command(stream, "NOOP"), "NOOP", 250)
        return
    _demand(await _command(stream, f"MAIL FROM:<{options.mail_from}>"), "MAIL FROM", 250)
    if options.rcpt_to is not None:
        reply = await _command(stream, f"RCPT TO:<{options.rcpt_to}>")
        _demand(reply, "RCPT TO", 250, 251)
    _demand(await _command(stream, "RSET"), "RSET", 250)


async def _command(stream: Stream, line: str) -> Reply:
    await stream.write(line.encode() + b"\r\n")
    return await _read_reply(stream)


def _demand(reply: Reply, command: str, *codes: int) -> Reply:
    if reply.code not in codes:
        raise RefusedError(command, reply)
    return reply


async def _read_reply(stream: Stream) -> Reply:
    """One reply, which may have several lines: `250-…` until `250 …` (RFC 5321 section 4.2)."""
    lines: list[str] = []
    for _ in range(MAX_LINES):
        line = (await stream.read_line()).decode("utf-8", "replace")
        code, separator, text = line[:3], line[3:4], line[4:]
        if not (code.isascii() and code.isdigit() and separator in {"", " ", "-"}):
            raise ProtocolError(f"not a mail server's answer: {line[:60]!r}")
        lines.append(text)
        if separator != "-":
            return Reply(int(code), tuple(lines))
    raise ProtocolError(f"an answer of more than {MAX_LINES} lines")


KIND = CheckKind(
    name="smtp",
    summary="a mail server: greeting, TLS, login, and whether it would take a message",
    options=Options,
    run=run,
    sample=MappingProxyType(
        {
            "greeting": "smtp.example ESMTP",
            "extensions": ["8BITMIME", "STARTTLS"],
            "tls": True,
            "days_left": 61.5,
            "latency": 0.2,
            "address": "203.0.113.7",
        }
    ),
)
