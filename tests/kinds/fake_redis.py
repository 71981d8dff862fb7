"""Servers that speak as much of Redis's protocol as a test wants them to, and misbehave as told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kinds.conftest import LoopbackServer

HANG = "hang"
CLOSE = "close"


@dataclass(frozen=True)
class Raw:
    """Bytes as they are, after which the connection is closed if told."""

    data: bytes
    then: str = ""


class No(str):
    """An error reply."""

    __slots__ = ()


class Word(str):
    """A simple string."""

    __slots__ = ()


OK = Word("OK")


def encoded(value: Any) -> bytes:
    if isinstance(value, No):
        return f"-{value}\r\n".encode()
    if isinstance(value, Word):
        return f"+{value}\r\n".encode()
    if isinstance(value, str):
        data = value.encode()
        return b"$%d\r\n%s\r\n" % (len(data), data)
    if isinstance(value, int):
        return b":%d\r\n" % value
    if value is None:
        return b"$-1\r\n"
    return b"*%d\r\n" % len(value) + b"".join(map(encoded, value))


async def read_command(reader: asyncio.StreamReader) -> list[str]:
    """One command as a client sends it."""
    count = int((await reader.readuntil(b"\r\n"))[1:])
    words = []
    for _ in range(count):
        size = int((await reader.readuntil(b"\r\n"))[1:])
        words.append((await reader.readexactly(size + 2))[:-2].decode())
    return words


@dataclass
class Fake:
    """A server whose replies are a table: the beginning of a command, and what it gives, or a function of its words.

    heard: every command.  hello: what it says before anybody asks.  offset: how far its data goes.
    """

    replies: dict[str, Any] = field(default_factory=dict)
    heard: list[list[str]] = field(default_factory=list)
    hello: bytes = b""
    offset: int = 1000
    port: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    def got(self, *words: str) -> int:
        """How often it was given a command that begins like this."""
        return sum(each[: len(words)] == list(words) for each in self.heard)

    @property
    def changes(self) -> list[str]:
        """The commands that change anything."""
        quiet = {"ROLE", "INFO", "AUTH", "ACL", "PUBSUB", "PING"}
        asked = (" ".join(words) for words in self.heard if words[0] not in quiet)
        return [line for line in asked if not line.startswith("SENTINEL ") or line.startswith("SENTINEL FAILOVER")]

    def _reply(self, words: list[str]) -> Any:
        line = " ".join(words)
        found = max((key for key in self.replies if line.startswith(key)), key=len, default=None)
        if found is None:
            return No(f"ERR unknown command '{words[0]}'")
        reply = self.replies[found]
        return reply(words) if callable(reply) else reply

    async def behave(self, _: LoopbackServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.hello)
        while True:
            words = await read_command(reader)
            self.heard.append(words)
            self.arrived.set()
            reply = self._reply(words)
            if reply == HANG:
                await reader.read()
                return
            if reply == CLOSE:
                return
            writer.write(reply.data if isinstance(reply, Raw) else encoded(reply))
            await writer.drain()
            if isinstance(reply, Raw) and reply.then == CLOSE:
                return


async def started(fake: Fake, serve: Callable[..., Any], **keys: Any) -> Fake:
    """The same, listening."""
    fake.port = (await serve(fake.behave, **keys)).port
    return fake


HELLO = "__sentinel__:hello"


def a_node(**replies: Any) -> Fake:
    """A server of Redis that allows everything, and that no sentinel watches."""
    fake = Fake(
        {
            "ACL WHOAMI": "default",
            "ACL DRYRUN": OK,
            "PUBSUB NUMSUB": [HELLO, 0],
            "INFO server": "config_file:/etc/redis.conf\r\n",
            "CONFIG REWRITE": OK,
            "REPLICAOF": OK,
            **{key.replace("_", " "): reply for key, reply in replies.items()},
        }
    )
    fake.replies["INFO replication"] = info_like_role(fake)
    return fake


def info(state: str, role: str = "master") -> str:
    """INFO replication."""
    return f"# Replication\r\nrole:{role}\r\nmaster_failover_state:{state}\r\n"


def info_like_role(fake: Fake) -> Any:
    """INFO replication that agrees with ROLE, and has the offset that ROLE does not tell while a link is down."""
    return lambda _: info("no-failover", fake.replies["ROLE"][0]) + f"slave_repl_offset:{fake.offset}\r\n"


def master(*replicas: Fake, offset: int = 1000, acknowledged: int = 1000) -> list[Any]:
    """ROLE of a primary."""
    return ["master", offset, [["127.0.0.1", str(each.port), str(acknowledged)] for each in replicas]]


def slave(of: Fake, link: str = "connected") -> list[Any]:
    """ROLE of a replica."""
    return ["slave", "127.0.0.1", of.port, link, 1000 if link == "connected" else -1]


GROUP = "orders"


def row(of: Fake, **facts: Any) -> list[str]:
    """A server as a sentinel describes it."""
    told = {
        "name": of.name,
        "ip": "127.0.0.1",
        "port": of.port,
        "runid": f"{of.port:040d}",
        "flags": "slave",
        "last-ok-ping-reply": 100,
        "slave-priority": 100,
        "slave-repl-offset": 1000,
        "failover-timeout": 180000,
        "down-after-milliseconds": 30000,
        **{key.replace("_", "-"): value for key, value in facts.items()},
    }
    return [str(word) for pair in told.items() for word in pair]


def a_sentinel(primary: Fake, *replicas: Fake | list[str], flags: str = "master", **replies: Any) -> Fake:
    """A sentinel that names this primary and knows these replicas."""
    return Fake(
        {
            "ACL WHOAMI": "default",
            "ACL DRYRUN": OK,
            "SENTINEL GET-MASTER-ADDR-BY-NAME": ["127.0.0.1", str(primary.port)],
            "SENTINEL MASTER": row(primary, flags=flags),
            "SENTINEL REPLICAS": [each if isinstance(each, list) else row(each) for each in replicas],
            "SENTINEL CKQUORUM": Word("OK 3 usable Sentinels. Quorum and failover authorization can be reached"),
            **{key.replace("_", " "): reply for key, reply in replies.items()},
        }
    )
