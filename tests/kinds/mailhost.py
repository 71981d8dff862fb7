"""An SMTP server on loopback that takes mail, or is as bad as it is told to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from tests.kinds.conftest import LoopbackServer


@dataclass
class MailHost:
    """Behaviour for `serve`. answers: what it says to a command instead of yes; None: it says nothing any more."""

    answers: dict[str, bytes | None] = field(default_factory=dict)
    mails: list[str] = field(default_factory=list)

    async def __call__(self, _: LoopbackServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One session."""
        writer.write(b"220 mail.example ESMTP\r\n")
        while line := await reader.readline():
            verb = line.split()[0].decode().upper()
            if verb == "DATA" and "DATA" not in self.answers:
                writer.write(b"354 go on\r\n")
                self.mails.append((await reader.readuntil(b"\r\n.\r\n")).decode())
                verb = "END"
            answer = self.answers.get(verb, b"221 bye\r\n" if verb == "QUIT" else b"250 yes\r\n")
            if answer is None:
                await reader.read()
                return
            writer.write(answer)
            await writer.drain()
            if verb == "QUIT":
                return
