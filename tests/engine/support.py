"""What the tests of engine, service and lifecycle share: real targets on loopback, workspaces, engines in process."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from opsdash.config.loader import load
from opsdash.engine.clock import system_clock
from opsdash.engine.engine import Engine
from opsdash.engine.stores import Stores
from opsdash.model.now import Now
from opsdash.storage.documents import Documents
from opsdash.storage.history import History
from opsdash.storage.memory import MemoryJournal
from opsdash.storage.texts import Texts
from opsdash.storage.trust import Trust

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from opsdash.config.loader import Loaded
    from opsdash.engine.clock import Clock
    from opsdash.storage.entries import Entry, Json
    from opsdash.storage.ports import JournalPort

T = TypeVar("T")

PATIENCE = 8.0
LOOK_EVERY = 0.005


async def eventually(what: Callable[[], T], *, within: float = PATIENCE, hint: Callable[[], object] = lambda: "") -> T:
    """The first truthy answer of `what`; the test fails when there is none in time."""
    until = asyncio.get_running_loop().time() + within
    while True:
        found = what()
        if found:
            return found
        assert asyncio.get_running_loop().time() < until, f"it did not come about within {within} s {hint()}"
        await asyncio.sleep(LOOK_EVERY)


async def eventually_asked(
    what: Callable[[], Awaitable[T]], *, within: float = PATIENCE, hint: Callable[[], object] = lambda: ""
) -> T:
    """Like `eventually`, for a question that has to be awaited."""
    until = asyncio.get_running_loop().time() + within
    while True:
        found = await what()
        if found:
            return found
        assert asyncio.get_running_loop().time() < until, f"it did not come about within {within} s {hint()}"
        await asyncio.sleep(LOOK_EVERY * 4)


async def turn_loop(times: int = 5) -> None:
    """Let everything that is ready happen."""
    for _ in range(times):
        await asyncio.sleep(0)


# --- targets -----------------------------------------------------------------------------------------------------


@dataclass
class Request:
    """What a target was asked."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


def http(body: bytes | str = b"{}", *, status: int = 200, headers: str = "") -> bytes:
    """An HTTP answer."""
    raw = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(raw)}", "Connection: close", *headers.splitlines()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + raw


@dataclass
class Target:
    """An HTTP server on loopback. `routes`: by path, bytes or a coroutine function of a request; else 200 and `{}`."""

    port: int = 0
    routes: dict[str, Any] = field(default_factory=dict)
    hits: Counter[str] = field(default_factory=Counter)
    requests: list[Request] = field(default_factory=list)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            request = await self._read(reader, writer)
            self.requests.append(request)
            self.hits[f"{request.method} {request.path}"] += 1
            answer = self.routes.get(request.path, http())
            if not isinstance(answer, bytes):
                answer = await answer(request)
            if answer is not None:
                writer.write(answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self.tasks.discard(task)

    @staticmethod
    async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *rows = head.split("\r\n")
        headers = {row.partition(":")[0].lower(): row.partition(":")[2].strip() for row in rows if row}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        method, path, _ = first.split(" ", 2)
        return Request(method, path, headers, body, reader, writer)


async def hang(request: Request) -> None:
    """Accept, and never answer."""
    await request.reader.read()


async def drip(request: Request) -> None:
    """Answer one byte at a time, for ever: it never trips a time limit of a single operation."""
    request.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not request.writer.is_closing():
        request.writer.write(b"x")
        await request.writer.drain()
        await asyncio.sleep(0.05)


@asynccontextmanager
async def serving(**routes: Any) -> AsyncIterator[Target]:
    """A target; `status=…` is what it answers on `/status`."""
    target = Target(routes={f"/{name}": answer for name, answer in routes.items()})
    server = await asyncio.start_server(target.handle, "127.0.0.1", 0, backlog=1000)
    target.port = server.sockets[0].getsockname()[1]
    try:
        yield target
    finally:
        server.close()
        for task in tuple(target.tasks):
            task.cancel()
        await asyncio.gather(*target.tasks, return_exceptions=True)


class Mailer:
    """The application behind the target that is switched: `/provider` is read and put, `/delivery` is the front door.

    prefix: of the paths, so that one target holds several.  arrived: set when a PUT has come in.  gate: it is answered
    when this is set.  effective: whether it takes effect.  reads_gate, front_gate: the others are answered when set.
    """

    def __init__(self, target: Target, prefix: str = "", provider: str = "pm-prod") -> None:
        self.provider = provider
        self.arrived = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.effective = True
        self.puts = 0
        self.reads_gate = asyncio.Event()
        self.reads_gate.set()
        self.front_gate = asyncio.Event()
        self.front_gate.set()
        target.routes |= {f"{prefix}/provider": self._provider, f"{prefix}/delivery": self._delivery}

    async def _provider(self, request: Request) -> bytes:
        if request.method == "PUT":
            self.puts += 1
            if self.effective:
                self.provider = json.loads(request.body)["provider"]
            self.arrived.set()
            await self.gate.wait()
            return http("{}")
        await self.reads_gate.wait()
        return http(json.dumps({"provider": self.provider}))

    async def _delivery(self, _: Request) -> bytes:
        await self.front_gate.wait()
        return http(json.dumps({"provider": self.provider, "at": system_clock().wall}))


# --- workspaces --------------------------------------------------------------------------------------------------


def write_workspace(folder: Path, *, settings: str = "", **components: str) -> Path:
    """A workspace; a component's name with `_` becomes one with `-`."""
    (folder / "checks").mkdir(parents=True, exist_ok=True)
    (folder / "opsdash.yaml").write_text(f"title: Test\n{settings}")
    for name, text in components.items():
        (folder / "checks" / f"{name.replace('_', '-')}.yaml").write_text(text)
    return folder


def web(url: str, *, every: str = "1s", timeout: str = "500ms", more: str = "") -> str:
    """A component with one check."""
    return (
        f"defaults: {{every: {every}, timeout: {timeout}, down_after: 1, up_after: 1}}\n"
        f"checks: {{home: {{kind: http, url: '{url}'{more}}}}}\n"
    )


def mail(url: str, *, settle: str = "0s", every: str = "1s", deadline: str = "30s", more: str = "") -> str:
    """A component with two providers, which is switched over HTTP and verified through its front door."""
    return f"""
tier: essential
defaults: {{every: {every}, timeout: 500ms, down_after: 1, up_after: 1}}
providers:
  postmark: {{as: pm-prod}}
  ses: {{as: ses-eu}}
each:
  api: {{kind: http, url: "{url}/{{id}}"}}
checks:
  delivery: {{kind: http, url: "{url}/delivery", facts: {{provider: json.provider}}}}
switch:
  read: {{kind: http, url: "{url}/provider", value: json.provider}}
  action: {{kind: http, method: PUT, url: "{url}/provider", json: {{provider: "{{to.as}}"}}}}
  served_by: {{check: delivery, value: facts.provider, at: json.at, times: 1}}
  old_out: stateless
  verify: [delivery]
  settle: {settle}
  deadline: {deadline}
{more}
"""


def loaded_from(folder: Path, **environment: str) -> Loaded:
    """The workspace as the engine loads it; a test's workspace has no problems unless it says so."""
    return load(folder, environment, system_clock().wall)


# --- engines -----------------------------------------------------------------------------------------------------


class GatedJournal(MemoryJournal):
    """A journal in memory on a disk that can hang (`gate`) and be full (`full`). `batches`: what it was given."""

    def __init__(self, entries: Sequence[Entry] = ()) -> None:
        super().__init__(entries)
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.batches: list[list[str]] = []

    def append(self, batch: Sequence[tuple[str, Json]], at: datetime) -> list[Entry]:
        self.entered.set()
        self.gate.wait(PATIENCE)
        self.batches.append([name for name, _ in batch])
        return super().append(batch, at)

    def of(self, kind: str) -> list[Entry]:
        """All entries of a type."""
        return [entry for entry in self.entries() if entry.type == kind]


class ShiftedClock:
    """The machine's clocks, which somebody sets, or which stood still while it was suspended."""

    def __init__(self) -> None:
        self.wall = 0.0
        self.boot = 0.0

    def __call__(self) -> Now:
        now = system_clock()
        return Now(now.wall + self.wall, now.mono, now.boot + self.boot)


@asynccontextmanager
async def running(
    folder: Path,
    *,
    journal: JournalPort | None = None,
    clock: Clock = system_clock,
    loaded: Loaded | None = None,
    stop: bool = True,
    trust: Trust | None = None,
    texts: Texts | None = None,
    **environment: str,
) -> AsyncIterator[Engine]:
    """An engine at work in this process. trust: without it, every runbook counts as approved."""
    state = folder / ".opsdash"
    stores = Stores(
        GatedJournal() if journal is None else journal,
        Documents(state / "documents"),
        History(state / "history.sqlite"),
        texts or Texts(),
        trust or Trust(everything=True),
    )
    engine = Engine(workspace=folder, loaded=loaded or loaded_from(folder, **environment), stores=stores, clock=clock)
    await engine.start()
    try:
        yield engine
    finally:
        if stop:
            await engine.stop("the test is over")


def status(engine: Engine, component: str) -> str:
    """The status of a component as clients see it."""
    row = engine.viewer().row(component)
    assert row is not None
    return row["status"]


def reason(engine: Engine, component: str) -> str | None:
    """The reason of a component's status as clients see it."""
    row = engine.viewer().row(component)
    assert row is not None
    return row["reason"]
