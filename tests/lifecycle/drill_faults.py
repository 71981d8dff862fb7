"""For each kind of injection: something that it can break, a component that watches it, and who says if it is broken.

What says so is the target itself, asked by other means than opsdash's: its front door, its memory, its files.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.engine.drills import RUNBOOK, shop
from tests.engine.faults import Thing
from tests.engine.support import http, serving, write_workspace
from tests.mechanisms.chaos_stand_in import CHAOS
from tests.mechanisms.haproxy_server import ACTIVE_AND_BACKUP, haproxy
from tests.mechanisms.systemd_server import systemd
from tests.mechanisms.toxiproxy_server import toxiproxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.engine.support import Request

PATIENCE: Final = 5.0
"""Seconds that a front door has to answer before it counts as broken."""

COMPONENT: Final = """
tier: essential
owners: [maria]
defaults: {{every: 400ms, timeout: 5s, down_after: 2, up_after: 1}}
checks: {{front: {check}}}
failures: {{broken: {{title: It does not serve, detected_by: [front], response: runbook, runbook: shop-down}}}}
runbook: shop-down
"""

DRILL: Final = """
title: It is broken on purpose
owner: maria
component: shop
failure_mode: broken
level: {level}
expect: {{detect: 5m}}
inject: {inject}
{undo}
verify_undone: [front]
limit: 2h
hold: 700ms
"""


@dataclass(frozen=True)
class Fault:
    """What a kind can break in a workspace. is_broken: asks the target.

    check: of the component.  inject: options of the kind.  undo: those of its undo, where it has to be written.
    """

    kind: str
    is_broken: Callable[[], Awaitable[bool]]
    check: Mapping[str, Any]
    inject: Mapping[str, Any]
    undo: Mapping[str, Any] | None = None

    def write(self, folder: Path) -> None:
        """The workspace with its component `shop`, and the drill `breaks`."""
        settings = "people: {maria: {}, ken: {}}\n"
        write_workspace(folder, settings=settings, shop=COMPONENT.format(check=json.dumps(self.check)))
        for name in ("runbooks", "drills"):
            (folder / name).mkdir(exist_ok=True)
        (folder / "runbooks" / "shop-down.md").write_text(RUNBOOK)
        text = DRILL.format(
            level="synthetic" if self.kind == "pretend" else "contained",
            inject=json.dumps({self.kind: self.inject}),
            undo="" if self.undo is None else f"undo: {json.dumps({self.kind: self.undo})}",
        )
        (folder / "drills" / "breaks.yaml").write_text(text)


async def _answers(port: int) -> str:
    """The whole answer of a server on loopback; "" where there is none."""
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /status HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
                return (await reader.read()).decode("latin-1")
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return ""


@asynccontextmanager
async def _pretend(_folder: Path) -> AsyncIterator[Fault]:
    async with serving() as server:

        async def is_broken() -> bool:
            return "200" not in await _answers(server.port)

        check = {"kind": "http", "url": f"{server.url}/status"}
        yield Fault("pretend", is_broken, check, {"status": "down", "target": "front"})


@asynccontextmanager
async def _fault_proxy(folder: Path) -> AsyncIterator[Fault]:
    async with shop(folder) as made:
        port = int(made.url.rpartition(":")[2])

        async def is_broken() -> bool:
            return "200" not in await _answers(port)

        check = {"kind": "http", "url": f"{made.url}/status"}
        (folder / "drills" / "refuses.yaml").unlink()
        yield Fault("fault_proxy", is_broken, check, {"control": str(made.control), "mode": "refuse"})


@asynccontextmanager
async def _haproxy(folder: Path) -> AsyncIterator[Fault]:
    with haproxy(folder.parent / f"{folder.name}-haproxy", servers=ACTIVE_AND_BACKUP) as proxy:

        async def is_broken() -> bool:
            return '"primary"' not in await _answers(proxy.front)

        check = {"kind": "http", "url": f"http://127.0.0.1:{proxy.front}/", "expect": ['json.server == "primary"']}
        yield Fault("haproxy", is_broken, check, {"socket": str(proxy.socket), "backend": "shop", "server": "primary"})


@asynccontextmanager
async def _toxiproxy(_folder: Path) -> AsyncIterator[Fault]:
    with toxiproxy() as toxic:

        async def is_broken() -> bool:
            return not toxic.proxies["db"]["enabled"] or bool(toxic.proxies["db"]["toxics"])

        check = {"kind": "http", "url": f"{toxic.url}/proxies/db", "expect": ["size(json.toxics) == 0"]}
        yield Fault("toxiproxy", is_broken, check, {"api": toxic.url, "proxy": "db", "toxic": "timeout"})


@asynccontextmanager
async def _command(folder: Path) -> AsyncIterator[Fault]:
    thing = Thing(folder)
    thing.misbehave("slow")

    async def is_broken() -> bool:
        return thing.is_broken

    injection = thing.injection()
    check = {"kind": "file", "path": "thing/broken", "exists": False}
    yield Fault("command", is_broken, check, injection.raw, injection.undo)


@asynccontextmanager
async def _http(_folder: Path) -> AsyncIterator[Fault]:
    broken = False

    async def told(request: Request) -> bytes:
        nonlocal broken
        if request.method == "PUT":
            broken = json.loads(request.body)["broken"]
        return http(status=503 if broken and request.method == "GET" else 200)

    async def gone(_: Request) -> bytes:
        return http(status=409 if broken else 200)

    async def is_broken() -> bool:
        return broken

    async with serving(fault=told, gone=gone) as server:
        url = f"{server.url}/fault"
        yield Fault(
            "http",
            is_broken,
            {"kind": "http", "url": url},
            {"method": "PUT", "url": url, "json": {"broken": True}},
            {"method": "PUT", "url": url, "json": {"broken": False}, "gone_url": f"{server.url}/gone"},
        )


@asynccontextmanager
async def _systemd(folder: Path) -> AsyncIterator[Fault]:
    place = folder / "systemd"
    place.mkdir(parents=True)
    with systemd(place) as manager:

        async def is_broken() -> bool:
            return manager.state("mailer-a") != "active"

        argv = ["systemd/systemctl", "is-active", "mailer-a"]
        check = {"kind": "command", "output": "plain", "argv": argv}
        programs = {"program": ["systemd/systemctl"], "timer": ["systemd/systemd-run"]}
        yield Fault("systemd", is_broken, check, {"unit": "mailer-a", **programs})


@asynccontextmanager
async def _chaostoolkit(folder: Path) -> AsyncIterator[Fault]:
    folder.mkdir()
    (folder / "chaos.py").write_text(CHAOS)
    rolled_back = {"activity": {"name": "mend", "type": "action"}, "status": "succeeded"}
    experiment = {"hold": True, "breaks": "broken", "rollbacks": [rolled_back]}
    (folder / "breaks.json").write_text(json.dumps(experiment))

    async def is_broken() -> bool:
        return await asyncio.to_thread((folder / "broken").exists)

    check = {"kind": "file", "path": "broken", "exists": False}
    inject = {"experiment": "breaks.json", "program": [sys.executable, "chaos.py"], "watch_for": "1s"}
    yield Fault("chaostoolkit", is_broken, check, inject)


FAULTS: Final[Mapping[str, Callable[[Path], AbstractAsyncContextManager[Fault]]]] = {
    "pretend": _pretend,
    "fault_proxy": _fault_proxy,
    "haproxy": _haproxy,
    "toxiproxy": _toxiproxy,
    "command": _command,
    "http": _http,
    "systemd": _systemd,
    "chaostoolkit": _chaostoolkit,
}
"""By the name of the kind. Each gets the folder of a workspace that is not written yet."""
