"""SMTP in the small: a provider's side that accepts mail, and the side of an application that sends it.

The reply to the end of DATA names the provider that took the mail (`250 2.0.0 queued as 17 by pm-prod`).
That is the only thing a sender can know about who really delivers, and it is what the mailer reports at its
front door.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from opsdash.demo.catalog import Fault
from opsdash.demo.faults import HOSTILE_BYTES
from opsdash.demo.web import LOOPBACK

if TYPE_CHECKING:
    from opsdash.demo.server import Channel

_PATIENCE = 30.0
_MOST_COMMANDS = 200
_MOST_DATA = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    sender: str
    recipients: tuple[str, ...]
    subject: str
    text: str = ""


class MailHost(Protocol):
    """What a conversation needs to know about the provider behind it."""

    known_as: str
    fault: Fault

    def admit(self) -> bool:
        """Whether the rate limit has room for one more recipient."""

    def take(self, mail: Mail) -> str:
        """Accept a mail; returns its queue id."""


# --- the provider's side ---


async def converse(channel: Channel, host: MailHost) -> None:
    """One SMTP session, from the greeting to QUIT, as the host's fault lets it be."""
    match host.fault:
        case Fault.EMPTY:
            return
        case Fault.GARBAGE:
            await channel.send(bytes(range(256)))
        case Fault.ERROR:
            await channel.send(b"421 4.3.0 internal error, try again later\r\n")
        case Fault.ENDLESS:
            await _greet_without_end(channel)
        case _:
            await _Session(channel, host).run()


async def _greet_without_end(channel: Channel) -> None:
    await channel.send(b"220 ")
    while True:
        await channel.send(b"welcome " * 1000)


class _Session:
    def __init__(self, channel: Channel, host: MailHost) -> None:
        self._channel = channel
        self._host = host
        self._sender: str | None = None
        self._recipients: list[str] = []

    async def run(self) -> None:
        await self._reply(220, self._greeting())
        for _ in range(_MOST_COMMANDS):
            async with asyncio.timeout(_PATIENCE):
                line = await self._channel.reader.readline()
            if not line:
                return
            verb, _, argument = line.decode("latin-1").strip().partition(" ")
            handler = _COMMANDS.get(verb.upper())
            if handler is None:
                await self._reply(502, b"5.5.2 command not known")
            elif not await handler(self, argument):
                return

    async def hello(self, _argument: str) -> bool:
        name = self._greeting()
        await self._channel.send(b"250-" + name + b"\r\n250-AUTH PLAIN LOGIN\r\n250 ENHANCEDSTATUSCODES\r\n")
        return True

    async def authenticate(self, argument: str) -> bool:
        mechanism, _, initial = argument.partition(" ")
        questions = {"PLAIN": (b"",), "LOGIN": (b"VXNlcm5hbWU6", b"UGFzc3dvcmQ6")}.get(mechanism.upper())
        if questions is None:
            await self._reply(504, b"5.5.4 mechanism not known")
            return True
        for question in questions[1 if initial else 0 :]:
            await self._reply(334, question)
            await self._channel.reader.readline()
        if self._host.fault is Fault.WRONG_CREDENTIALS:
            await self._reply(535, b"5.7.8 credentials invalid")
        else:
            await self._reply(235, b"2.7.0 authenticated")
        return True

    async def mail(self, argument: str) -> bool:
        if self._host.fault is Fault.WRONG_CREDENTIALS:
            await self._reply(530, b"5.7.0 authentication required")
        else:
            self._sender, self._recipients = argument, []
            await self._reply(250, b"2.1.0 ok")
        return True

    async def recipient(self, argument: str) -> bool:
        if self._sender is None:
            await self._reply(503, b"5.5.1 MAIL first")
        elif not self._host.admit():
            await self._reply(450, b"4.7.1 rate limit exceeded, slow down")
        else:
            self._recipients.append(argument)
            await self._reply(250, b"2.1.5 ok")
        return True

    async def data(self, _argument: str) -> bool:
        if self._sender is None or not self._recipients:
            await self._reply(503, b"5.5.1 RCPT first")
            return True
        await self._reply(354, b"end with a dot on a line of its own")
        text = await self._read_data()
        if text is None:
            await self._reply(552, b"5.3.4 message too big")
            return False
        subject = next((line[8:].strip() for line in text.splitlines() if line.startswith("Subject:")), "")
        mail = Mail(sender=self._sender, recipients=tuple(self._recipients), subject=subject)
        identity = self._host.take(mail)
        self._sender, self._recipients = None, []
        await self._reply(250, b"2.0.0 queued as " + identity.encode() + b" by " + self._greeting())
        return True

    async def reset(self, _argument: str) -> bool:
        self._sender, self._recipients = None, []
        await self._reply(250, b"2.0.0 ok")
        return True

    async def nothing(self, _argument: str) -> bool:
        await self._reply(250, b"2.0.0 ok")
        return True

    async def quit(self, _argument: str) -> bool:
        await self._reply(221, b"2.0.0 bye")
        return False

    async def _read_data(self) -> str | None:
        collected = bytearray()
        async with asyncio.timeout(_PATIENCE):
            while (line := await self._channel.reader.readline()) != b".\r\n":
                collected += line
                if not line or len(collected) > _MOST_DATA:
                    return None
        return collected.decode("latin-1")

    def _greeting(self) -> bytes:
        if self._host.fault is Fault.HOSTILE:
            return HOSTILE_BYTES.replace(b"\r", b"").replace(b"\n", b"")
        return self._host.known_as.encode()

    async def _reply(self, code: int, text: bytes) -> None:
        await self._channel.send(b"%d %s\r\n" % (code, text))


_Command = Callable[[_Session, str], Awaitable[bool]]
_COMMANDS: Mapping[str, _Command] = {
    "EHLO": _Session.hello,
    "HELO": _Session.nothing,
    "AUTH": _Session.authenticate,
    "MAIL": _Session.mail,
    "RCPT": _Session.recipient,
    "DATA": _Session.data,
    "RSET": _Session.reset,
    "NOOP": _Session.nothing,
    "QUIT": _Session.quit,
}


# --- the side of an application ---


class NotDelivered(Exception):  # noqa: N818  # what became of a mail, not an error of ours
    """The mail was not accepted; the text says by what answer."""


async def deliver(port: int, mail: Mail, *, within: float) -> str:
    """Send one mail with credentials; returns the name of the provider that accepted it."""
    try:
        async with asyncio.timeout(within):
            return await _deliver(port, mail)
    except TimeoutError:
        raise NotDelivered("no answer in time") from None
    except (OSError, ValueError, asyncio.IncompleteReadError) as problem:
        raise NotDelivered(f"connection failed ({type(problem).__name__})") from problem


async def _deliver(port: int, mail: Mail) -> str:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        await _expect(reader, 220)
        for command, code in _script(mail):
            writer.write(command.encode() + b"\r\n")
            await writer.drain()
            reply = await _expect(reader, code)
        writer.write(b"QUIT\r\n")
        return _accepted_by(reply)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _script(mail: Mail) -> list[tuple[str, int]]:
    """The commands of one delivery, each with the code that lets it go on."""
    text = f"From: {mail.sender}\r\nSubject: {mail.subject}\r\n\r\n{mail.text}\r\n."
    return [
        ("EHLO shop.example", 250),
        ("AUTH PLAIN AHNob3AAZGVtbw==", 235),
        (f"MAIL FROM:<{mail.sender}>", 250),
        *((f"RCPT TO:<{recipient}>", 250) for recipient in mail.recipients),
        ("DATA", 354),
        (text, 250),
    ]


async def _expect(reader: asyncio.StreamReader, code: int) -> str:
    line = await reader.readline()
    while line[3:4] == b"-":
        line = await reader.readline()
    text = line.decode("utf-8", "backslashreplace").strip()
    if not text.startswith(str(code)):
        raise NotDelivered(text or "the connection was closed")
    return text


def _accepted_by(reply: str) -> str:
    _, marker, name = reply.rpartition(" by ")
    if not marker or not name:
        raise NotDelivered(f"the answer names no provider: {reply}")
    return name
