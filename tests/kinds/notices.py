"""What the tests of notifiers send, and to whom it is addressed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opsdash.kinds.base import NotifierContext
from opsdash.kinds.resolver import Resolver
from opsdash.model.message import Message, MessageKind

if TYPE_CHECKING:
    from pathlib import Path

NOON = 1_780_000_000.0


def message(**changes: Any) -> Message:
    """A problem of severity 1."""
    return Message(
        **{
            "id": "MSG-7",
            "key": "incident-12-opened",
            "channel": "pager",
            "kind": MessageKind.PROBLEM,
            "title": "Email is down: our mail provider does not answer",
            "body": "postmark/api: connection refused\nRunbook: email-down",
            "created_at": NOON,
            "severity": 1,
            "about": ("email",),
            "incidents": ("INC-12",),
            **changes,
        }
    )


@dataclass
class Desk:
    """Makes contexts, and notes what a notifier tells its caller."""

    workspace: Path
    resolver: Resolver = field(default_factory=Resolver)
    sent: int = 0
    rung: list[str] = field(default_factory=list)
    boards: int = 0
    something_sent: asyncio.Event = field(default_factory=asyncio.Event)

    def context(self, deadline: float = 20.0) -> NotifierContext:
        return NotifierContext(
            deadline=deadline,
            workspace=self.workspace,
            resolver=self.resolver,
            wall=NOON + 5,
            operation="The tea shop",
            on_sent=self._note_sent,
            ring=self._ring,
        )

    def _note_sent(self) -> None:
        self.sent += 1
        self.something_sent.set()

    async def until_sent(self) -> None:
        """Wait until something may have left."""
        async with asyncio.timeout(10):
            await self.something_sent.wait()

    def _ring(self, text: str) -> int:
        self.rung.append(text)
        return self.boards


async def never(_: Any, reader: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """A server that reads, and says nothing, until the other side goes."""
    while await reader.read(65536):
        pass
