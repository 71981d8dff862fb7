"""Stores on loopback that behave like etcd and Consul until they are told to misbehave."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

Answer = tuple[int, str, bytes]

HTML = b"<html><head><title>Welcome</title></head>\n<body>Please sign in</body></html>"
ESCAPES = b"\x1b]52;c;ZXZpbA==\x07\x1b[2J no\n"

ANSWERS: dict[str, Answer] = {
    "html": (200, "text/html", HTML),
    "gateway": (502, "text/html", HTML),
    "forbidden by a gateway": (403, "text/html", HTML),
    "not found by a gateway": (404, "text/html", HTML),
    "conflict of a gateway": (409, "text/html", HTML),
    "redirect": (307, "text/plain", b""),
    "no json": (200, "application/json", b'{"header": {"revi'),
    "a list": (200, "application/json", b"[1, 2]"),
    "a number": (200, "application/json", b"7"),
    "an empty object": (200, "application/json", b"{}"),
    "nothing": (200, "application/json", b""),
    "deep": (200, "application/json", b"[" * 5000),
    "huge": (200, "application/json", b'{"header": "' + b"x" * (1 << 20) + b'"}'),
    "bytes": (200, "application/json", bytes(range(256))),
    "escapes": (500, "text/plain", ESCAPES),
    "gave up": (504, "text/plain", b"upstream request timeout"),
    "strange status": (299, "application/json", b"{}"),
}
"""What a store may say instead of its answer, by mood."""

SLOW = 0.6
"""Seconds after which a store answers that is in the mood `slow`."""

SILENT = ("hangs", "breaks", "closes", "drips")


@dataclass
class Row:
    value: bytes
    version: int
    flags: int = 0


@dataclass
class FakeStore:
    """A store that counts what it is asked.

    mood: of changes; question_mood: of all else; answers: more moods.  refusals: what questions to a path are answered.
    """

    mood: str = "obedient"
    question_mood: str = "obedient"
    rows: dict[str, Row] = field(default_factory=dict)
    version: int = 7
    port: int = 0
    elsewhere: str = "http://127.0.0.1:1"
    questions: list[str] = field(default_factory=list)
    changes: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    answers: dict[str, Answer] = field(default_factory=dict)
    refusals: dict[str, Answer] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, **values: str) -> None:
        """Write all of them at one time, as a transaction would."""
        self.version += 1
        for key, value in values.items():
            self.rows[self.key(key)] = Row(value.encode(), self.version)

    def get(self, key: str) -> str | None:
        row = self.rows.get(self.key(key))
        return None if row is None else row.value.decode()

    def key(self, name: str) -> str:
        """The key as this store's users write it."""
        return f"mailer/{name}"

    # --- what a store of this kind does

    def is_change(self, path: str, asked: Any) -> bool:
        raise NotImplementedError

    def answer(self, path: str, asked: Any) -> Answer:
        raise NotImplementedError

    # --- how it is served

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
            writer.close()
            await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split("\r\n")[0].split(" ")
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = await reader.readexactly(int(headers.get("Content-Length", 0)))
        asked = json.loads(body) if body else None
        self.headers.append(headers)
        change = self.is_change(path, asked)
        answer = self.answer(path, asked)
        if change:
            self.changes.append(asked)
            self.changed.set()
        else:
            self.questions.append(f"{method} {path}")
        mood = self.mood if change else self.question_mood
        if mood in SILENT:
            await self._fall_silent(mood, reader, writer)
            return
        if mood == "slow":
            await asyncio.sleep(SLOW)
        answer = {**ANSWERS, **self.answers}.get(mood, answer)
        status, kind, said = answer if change else self.refusals.get(urlsplit(path).path, answer)
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(said)}\r\n"
            f"X-Consul-Index: {self.version}\r\nLocation: {self.elsewhere}\r\n\r\n".encode()
        )
        writer.write(said)
        await writer.drain()

    @staticmethod
    async def _fall_silent(mood: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if mood == "hangs":
            await reader.read()
        elif mood == "drips":
            while True:
                writer.write(b"H" if writer.transport.get_write_buffer_size() else b"HTTP/1.1 200 OK\r\nX-Slow: ")
                await writer.drain()
                await asyncio.sleep(0.02)
        elif mood == "breaks":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()


class FakeEtcd(FakeStore):
    """etcd's JSON interface, as measured with 3.4."""

    etcd_version = "3.4.23"
    spells_out = False
    carries_out_anything = False

    def key(self, name: str) -> str:
        return f"/mailer/{name}"

    def is_change(self, path: str, asked: Any) -> bool:
        if path != "/v3/kv/txn":
            return False
        puts = [each["request_put"] for each in asked.get("success", []) if "request_put" in each]
        return any("value" in put for put in puts)

    def answer(self, path: str, asked: Any) -> Answer:
        if path == "/health":
            return 200, "text/plain", b'{"health":"true"}'
        if path == "/version":
            return _json({"etcdserver": self.etcd_version, "etcdcluster": "3.4.0"})
        if path == "/v3/auth/authenticate":
            return _json({"header": self._header(), "token": "secret-token.9"})
        holds = self.carries_out_anything or all(self._holds(each) for each in asked.get("compare", []))
        branch = asked.get("success" if holds else "failure", [])
        if any("request_put" in each for each in branch):
            self.version += 1
        answer = {"header": self._header(), "responses": [self._carry_out(each) for each in branch]}
        return _json({**answer, "succeeded": holds} if holds or self.spells_out else answer)

    def _holds(self, compare: dict[str, str]) -> bool:
        row = self.rows.get(base64.b64decode(compare["key"]).decode())
        if compare["target"] == "VERSION":
            return False
        return row is not None and str(row.version) == compare["mod_revision"]

    def _carry_out(self, operation: dict[str, Any]) -> dict[str, Any]:
        if "request_put" in operation:
            put = operation["request_put"]
            if put.get("ignore_value"):
                return {"response_put": {"header": self._header()}}
            self.rows[base64.b64decode(put["key"]).decode()] = Row(base64.b64decode(put["value"]), self.version)
            return {"response_put": {"header": self._header()}}
        key = operation["request_range"]["key"]
        row = self.rows.get(base64.b64decode(key).decode())
        if row is None:
            return {"response_range": {"header": self._header()}}
        found = {"key": key, "mod_revision": str(row.version), "value": base64.b64encode(row.value).decode()}
        if not row.value:
            del found["value"]
        return {"response_range": {"header": self._header(), "kvs": [found], "count": "1"}}

    def _header(self) -> dict[str, str]:
        return {"cluster_id": "1", "member_id": "2", "revision": str(self.version), "raft_term": "2"}


class FakeConsul(FakeStore):
    """Consul's interface, as documented."""

    leader = "127.0.0.1:8300"

    def is_change(self, path: str, asked: Any) -> bool:
        return path.startswith("/v1/txn") and all(each["KV"]["Index"] < 2**50 for each in asked)

    def answer(self, path: str, asked: Any) -> Answer:
        place = urlsplit(path)
        if place.path == "/v1/status/leader":
            return _json(self.leader)
        if place.path.startswith("/v1/kv/"):
            assert "consistent" in parse_qs(place.query, keep_blank_values=True)
            row = self._row(unquote(place.path).removeprefix("/v1/kv/"), with_value=True)
            return (404, "text/plain", b"") if row is None else _json([row])
        stale = [number for number, each in enumerate(asked) if not self._holds(each["KV"])]
        if stale:
            words = [f'failed to set key "{asked[number]["KV"]["Key"]}", index is stale' for number in stale]
            errors = [{"OpIndex": number, "What": what} for number, what in zip(stale, words, strict=True)]
            return 409, "application/json", json.dumps({"Results": None, "Errors": errors}).encode()
        self.version += 1
        for each in asked:
            row = each["KV"]
            self.rows[row["Key"]] = Row(base64.b64decode(row["Value"]), self.version, row.get("Flags", 0))
        results = [{"KV": self._row(each["KV"]["Key"], with_value=False)} for each in asked]
        return _json({"Results": results, "Errors": None})

    def _holds(self, operation: dict[str, Any]) -> bool:
        row = self.rows.get(operation["Key"])
        return bool(operation["Index"] == (0 if row is None else row.version))

    def _row(self, key: str, *, with_value: bool) -> dict[str, Any] | None:
        row = self.rows.get(key)
        if row is None:
            return None
        value = base64.b64encode(row.value).decode() if with_value and row.value else None
        return {"LockIndex": 0, "Key": key, "Flags": row.flags, "Value": value, "ModifyIndex": row.version}


def _json(value: Any) -> Answer:
    return 200, "application/json", json.dumps(value).encode()


@asynccontextmanager
async def serving_store(store: FakeStore, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[FakeStore]:
    """The store at work."""
    tasks: set[asyncio.Task[Any]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await store.serve(reader, writer)
        tasks.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    store.port = server.sockets[0].getsockname()[1]
    try:
        yield store
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def a_dead_endpoint(stack: contextlib.ExitStack) -> str:
    """A URL whose port is taken, and where nobody listens."""
    taken = stack.enter_context(socket.socket())
    taken.bind(("127.0.0.1", 0))
    return f"http://127.0.0.1:{taken.getsockname()[1]}"
