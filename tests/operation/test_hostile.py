"""Every service attacks at once: nothing of it is shown or kept as it came, and nothing of it eats the memory.

The engine runs in a process of its own, as it does for people; it is asked over its socket and by commands.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.demo.catalog import Fault, catalog
from opsdash.demo.example import copy_example
from opsdash.demo.process import start
from opsdash.service.client import EngineSession
from opsdash.service.places import places
from opsdash.service.session import DeltaEvent, SnapshotEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from opsdash.demo.process import DemoServices
    from opsdash.model.views import CheckView

pytestmark = pytest.mark.asyncio(loop_scope="package")

PATIENCE = 20.0
ROOM_TO_GROW = 48 * 1024
"""KiB by which the engine's peak may rise under attack; a single bomb, unpacked, is as large."""

# Everything a terminal obeys, and what makes a line read other than it is. Line ends and tabs may stand in a runbook.
DANGEROUS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
DANGEROUS_BYTES = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")


class Attacked:
    """The example operation, with an engine in a process of its own."""

    def __init__(self, workspace: Path, services: DemoServices, engine: subprocess.Popen[bytes]) -> None:
        self.workspace = workspace
        self.services = services
        self.engine = engine
        self.session = EngineSession(places(workspace))
        self.checks: list[str] = []
        self.components: list[str] = []

    async def all_ok(self) -> None:
        """Wait until every component is ok."""
        status: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE):
            async for event in self.session.events():
                if isinstance(event, SnapshotEvent):
                    status = {row["id"]: row["status"] for row in event.snapshot["rows"]}
                elif isinstance(event, DeltaEvent):
                    status |= {row["id"]: row["status"] for row in event.delta["rows"]}
                if status and set(status.values()) == {"ok"}:
                    break
        self.components = sorted(status)

    async def look(self) -> list[CheckView]:
        """Run every check once, all at the same time."""
        details = [await self.session.component(component) for component in self.components]
        checks = [check["id"] for detail in details for check in _checks(detail)]
        return await asyncio.gather(*(self.session.observe(check) for check in checks))

    def inject_everywhere(self, fault: Fault) -> None:
        """Give each service this fault that has it."""
        for service in catalog():
            if service.offers(fault):
                self.services.inject(service.name, fault)

    async def everything_it_says(self) -> dict[str, Any]:
        """What a client can ask for, by what was asked."""
        session = self.session
        said: dict[str, Any] = {
            "snapshot": await session.snapshot(),
            "register": await session.register(),
            "incidents": await session.incidents(closed=True),
            "journal": await session.journal(limit=1000),
            "people": await session.people(),
            "problems": await session.problems(),
            "about": await session.about(),
            "runbook": await session.runbook("email-down", "email"),
        }
        for component in self.components:
            said[f"component {component}"] = await session.component(component)
            said[f"history {component}"] = await session.history(component)
            said[f"switch {component}"] = await session.switch(component)
        return said

    async def run(self, *words: str) -> bytes:
        """What a command says, byte by byte."""
        ended = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-m", "opsdash", *words, "-w", str(self.workspace)],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False,
        )  # fmt: skip
        assert ended.returncode != 70, ended.stderr.decode()
        return ended.stdout + ended.stderr

    def peak(self) -> int:
        """The most memory that the engine has had so far, in KiB; where the system does not tell, what it has now."""
        status = Path(f"/proc/{self.engine.pid}/status")
        if status.exists():
            return int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0])
        asked = subprocess.run(["ps", "-o", "rss=", "-p", str(self.engine.pid)], capture_output=True, check=True)
        return int(asked.stdout)

    async def end(self) -> None:
        """Let the engine go in good order, so that everything is written."""
        self.engine.terminate()
        assert await asyncio.to_thread(self.engine.wait, PATIENCE) == 0


def _checks(detail: Any) -> Iterator[CheckView]:
    yield from detail["checks"]
    for provider in detail["providers"]:
        yield from provider["checks"]


@asynccontextmanager
async def attacked(folder: Path) -> AsyncIterator[Attacked]:
    workspace = folder / "operation"
    copy_example(workspace)
    with start(folder / "services") as services, (folder / "engine.out").open("wb") as output:
        engine = subprocess.Popen(  # noqa: ASYNC220 - nothing else goes on yet
            [sys.executable, "-m", "opsdash", "engine", "-w", str(workspace)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env={**_environment(), **services.environment()},
        )  # fmt: skip
        try:
            operation = Attacked(workspace, services, engine)
            await operation.all_ok()
            yield operation
        finally:
            engine.kill()
            engine.wait()
    assert (services.state / "services.log").read_text() == ""


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("OPSDASH_")}


def dangerous(value: object, where: str) -> list[str]:
    """Every text in a JSON value that a terminal would obey, with the way to it."""
    match value:
        case str():
            return [f"{where}: {value!r}"] if DANGEROUS.search(value) else []
        case dict():
            keys = [found for key in value for found in dangerous(key, f"{where}, a key")]
            return keys + [found for key, each in value.items() for found in dangerous(each, f"{where}.{key}")]
        case list() | tuple():
            return [found for number, each in enumerate(value) for found in dangerous(each, f"{where}[{number}]")]
    return []


def kept(folder: Path) -> Iterator[tuple[str, object]]:
    """Everything of the state folder that can be read, file by file."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix in {".jsonl", ".json"}:
            data = path.read_bytes()
            assert not DANGEROUS_BYTES.search(data), name
            for line in data.splitlines() if path.suffix == ".jsonl" else [data]:
                yield name, json.loads(line)
        elif path.suffix in {".db", ".sqlite", ".sqlite3"}:
            with closing(sqlite3.connect(path)) as history:
                for (table,) in history.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                    for row in history.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - its own
                        yield f"{name} {table}", [each for each in row if isinstance(each, str)]


async def test_nothing_hostile_is_shown_or_kept_as_it_came(tmp_path: Path) -> None:
    async with attacked(tmp_path) as operation:
        operation.inject_everywhere(Fault.HOSTILE)

        for _ in range(3):  # attacks have two faces, which take turns
            seen = await operation.look()
        assert any("<U+202E>" in check["raw_detail"] for check in seen), "no attack has reached a check"
        for component, kind, target in (("email", "failover", "ses"), ("lead-scoring", "degrade", "all-to-sales")):
            plan = await operation.session.plan(component, kind, target)
            assert dangerous(plan, "plan") == []
            ends = {"generation": plan["generation"], "source": plan["source"], "target": plan["target"]}
            verdict = await operation.session.submit(kind, {"component": component, **ends})
            assert dangerous(verdict, "verdict") == []
        await operation.look()

        for asked, answer in (await operation.everything_it_says()).items():
            assert dangerous(answer, asked) == []
        for words in (["status"], ["status", "email"], ["journal", "tail"], ["incident", "list"], ["register"]):
            said = await operation.run(*words)
            assert dangerous(said.decode(), " ".join(words)) == []
            assert said

        await operation.end()
        found = list(kept(operation.workspace / ".opsdash"))
        assert {"journal", "history"} <= {re.split("[^a-z]", name)[0] for name, _ in found}
        for name, content in found:
            assert dangerous(content, name) == []
        log = (tmp_path / "engine.out").read_bytes()
        assert dangerous(log.decode("utf-8", "surrogateescape"), "log") == []


async def test_floods_of_all_services_at_once_take_little_memory_and_pass(tmp_path: Path) -> None:
    async with attacked(tmp_path) as operation:
        await operation.look()
        before = operation.peak()

        for fault in (Fault.GZIP_BOMB, Fault.ENDLESS):
            operation.inject_everywhere(fault)
            seen = await operation.look()
            assert any(check["raw_reason"] == "too_large" for check in seen)
        operation.inject_everywhere(Fault.DRIP)
        seen = await operation.look()
        assert sum(check["raw_reason"] == "timeout" for check in seen) > len(seen) / 2

        assert operation.peak() - before < ROOM_TO_GROW
        operation.services.inject("all", "ok")
        await operation.all_ok()
