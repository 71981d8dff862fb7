"""Signs of life of real engines: to a dead man's switch, to systemd, and to each other."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.engine.blocker import component, install
from tests.engine.support import eventually, eventually_asked, serving, web, write_workspace
from tests.lifecycle.support import engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import Self

    from tests.engine.support import Target
    from tests.lifecycle.support import EngineProcess

UUID = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"
WITHIN = 40.0


def watched(target: Target, key: str = UUID) -> str:
    """Settings of a workspace whose engine tells `target` every second."""
    return f'dead_man: {{url: "{target.url}/ping/{key}", every: 1s}}\n'


def signs(target: Target, key: str = UUID) -> int:
    return target.hits[f"POST /ping/{key}"]


async def until_signs(target: Target, count: int, key: str = UUID) -> None:
    wanted = signs(target, key) + count
    await eventually(lambda: signs(target, key) >= wanted, within=WITHIN)


@asynccontextmanager
async def metronome(folder: Path, target: Target) -> AsyncIterator[None]:
    """Another engine that tells the same target: what it says is how long the one under test has been silent."""
    settings = watched(target, "metronome")
    async with engine(write_workspace(folder, settings=settings, web=web(target.url))):
        await until_signs(target, 1, "metronome")
        yield


async def test_an_engine_at_work_says_that_it_has_started_and_then_that_it_is(tmp_path: Path) -> None:
    async with serving() as target:
        folder = write_workspace(tmp_path / "w", settings=watched(target), web=web(target.url))
        async with engine(folder) as running:
            await until_signs(target, 2)
            first = next(request for request in target.requests if request.path.startswith("/ping"))
            assert first.path == f"/ping/{UUID}/start"
            assert target.hits[f"POST /ping/{UUID}/start"] == 1
            assert not target.hits[f"POST /ping/{UUID}/fail"]
            about = (await running.session.about())["dead_man"]
            assert about["configured"]
            assert about["last_sign"] is not None
            assert (about["trouble"], about["withheld"]) == ("", [])
            assert "dead man's switch" in await opsdash("engine", folder, "status")
            assert f"to 127.0.0.1:{target.port}, the last sign of life" in await opsdash("doctor", folder)
            assert UUID not in running.said + str(about)


async def test_an_engine_that_is_stopped_is_silent_and_goes_on_afterwards(tmp_path: Path) -> None:
    async with serving() as target:
        folder = write_workspace(tmp_path / "w", settings=watched(target), web=web(target.url))
        async with engine(folder) as running, metronome(tmp_path / "m", target):
            await until_signs(target, 1)
            running.signal(signal.SIGSTOP)
            await until_signs(target, 1, "metronome")
            before = signs(target)
            await until_signs(target, 3, "metronome")
            assert signs(target) == before
            running.signal(signal.SIGCONT)
            await until_signs(target, 2)


async def test_an_engine_whose_loop_hangs_is_silent(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(install(tmp_path / "site"))}
    async with serving() as target, Notified(str(tmp_path / "notify")) as systemd:
        folder = write_workspace(
            tmp_path / "w", settings=watched(target), slow=component(seconds=0.01, every="1s", timeout="300s")
        )
        told = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "1000000"}
        async with engine(folder, environment=environment | told), metronome(tmp_path / "m", target):
            await until_signs(target, 1)
            await systemd.until("WATCHDOG=1", 2)
            (folder / "instead").write_text("600")
            await eventually((folder / "heeded").exists, within=WITHIN)
            before, alive = signs(target), systemd.count("WATCHDOG=1")
            await until_signs(target, 3, "metronome")
            assert signs(target) - before <= 1  # one may have been under way
            assert systemd.count("WATCHDOG=1") - alive <= 1
            assert not target.hits[f"POST /ping/{UUID}/fail"]


async def test_a_receiver_that_is_down_disturbs_nobody_and_is_told_once(tmp_path: Path) -> None:
    async with serving() as target:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        settings = f'dead_man: {{url: "http://127.0.0.1:{port}/{UUID}", every: 1s}}\n'
        folder = write_workspace(tmp_path / "w", settings=settings, web=web(target.url))
        async with engine(folder) as running:
            await running.until_status("web", "ok")

            async def trouble() -> str:
                found: str = (await running.session.about())["dead_man"]["trouble"]
                return found

            assert await eventually_asked(trouble) == f"127.0.0.1:{port}: connection refused"
            assert "not taken: 127.0.0.1" in await opsdash("doctor", folder)
            before = target.hits["GET /"]
            await eventually(lambda: target.hits["GET /"] >= before + 3, within=WITHIN)
            assert running.said.count("a sign of life was not taken") == 1
            assert UUID not in running.said


async def test_the_address_is_read_again_with_the_files(tmp_path: Path) -> None:
    async with serving() as target:
        folder = write_workspace(tmp_path / "w", web=web(target.url))
        async with engine(folder) as running:
            assert not (await running.session.about())["dead_man"]["configured"]
            write_workspace(folder, settings=watched(target))
            await until_signs(target, 1)
            write_workspace(folder, settings=watched(target, "another"))
            await until_signs(target, 1, "another")
            write_workspace(folder, settings='dead_man: {url: "${NOT_SET}"}\n')
            await eventually(lambda: "NOT_SET is not set" in running.said)
            assert "the last good version stays in use" in running.said
            await until_signs(target, 1, "another")


# --- systemd -----------------------------------------------------------------------------------------------------


@dataclass
class Notified:
    """The end of sd_notify that systemd has: a datagram socket, in the abstract namespace or at a path."""

    path: str
    lines: list[str] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{self.path[1:]}" if self.path.startswith("@") else self.path)
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket, self._take)
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _take(self) -> None:
        self.lines += self._socket.recv(65536).decode().splitlines()

    @property
    def address(self) -> str:
        return self.path

    def count(self, line: str) -> int:
        return self.lines.count(line)

    async def until(self, line: str, more: int = 0) -> None:
        """Wait until it has come, so many times more."""
        wanted = max(1, self.count(line) + more)
        await eventually(lambda: self.count(line) >= wanted, within=WITHIN, hint=lambda: self.lines)


@pytest.fixture(params=["abstract", "path"])
def notify_path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "path":
        return str(tmp_path / "notify")
    if sys.platform != "linux":
        pytest.skip("abstract sockets are Linux's")
    return f"@opsdash-test-{os.urandom(8).hex()}"


async def test_systemd_hears_that_it_is_ready_at_work_and_ending(tmp_path: Path, notify_path: str) -> None:
    async with serving() as target, Notified(notify_path) as systemd:
        folder = write_workspace(tmp_path / "w", web=web(target.url))
        told = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "1000000"}
        async with engine(folder, environment=told) as running:
            await systemd.until("WATCHDOG=1", 3)
            assert systemd.lines[0] == "READY=1"
            assert "STATUS=at work" in systemd.lines
            running.signal(signal.SIGTERM)
            assert await running.ended() == 0
            await systemd.until("STOPPING=1")
            assert "STATUS=ending: signal SIGTERM" in systemd.lines


async def test_systemd_hears_nothing_of_an_engine_that_is_stopped(tmp_path: Path) -> None:
    async with serving() as target, Notified(str(tmp_path / "notify")) as systemd:
        folder = write_workspace(tmp_path / "w", web=web(target.url))
        told = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "1000000"}
        async with engine(folder, environment=told) as running, metronome(tmp_path / "m", target):
            await systemd.until("WATCHDOG=1")
            running.signal(signal.SIGSTOP)
            await until_signs(target, 1, "metronome")
            before = systemd.count("WATCHDOG=1")
            await until_signs(target, 3, "metronome")
            assert systemd.count("WATCHDOG=1") == before
            running.signal(signal.SIGCONT)
            await systemd.until("WATCHDOG=1", 2)


@pytest.mark.parametrize("told", [{"WATCHDOG_PID": "1", "WATCHDOG_USEC": "200000"}, {"WATCHDOG_USEC": "soon"}, {}])
async def test_no_watchdog_is_fed_that_nobody_asked_for(tmp_path: Path, told: dict[str, str]) -> None:
    async with serving() as target, Notified(str(tmp_path / "notify")) as systemd:
        folder = write_workspace(tmp_path / "w", web=web(target.url))
        async with engine(folder, environment={"NOTIFY_SOCKET": systemd.address, **told}) as running:
            await systemd.until("STATUS=at work")
            await running.until_status("web", "ok")
            running.signal(signal.SIGTERM)
            await running.ended()
            await systemd.until("STOPPING=1")
            assert not systemd.count("WATCHDOG=1")


@pytest.mark.parametrize("address", ["", "nonsense", "/nowhere/at/all", "@nobody-listens-here"])
async def test_an_engine_that_cannot_reach_systemd_works_all_the_same(tmp_path: Path, address: str) -> None:
    async with serving() as target:
        folder = write_workspace(tmp_path / "w", web=web(target.url))
        async with engine(folder, environment={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"}) as running:
            await running.until_status("web", "ok")


async def test_programs_of_the_engine_cannot_answer_for_it(tmp_path: Path) -> None:
    async with Notified(str(tmp_path / "notify")) as systemd:
        folder = write_workspace(
            tmp_path / "w",
            settings="vars: {TOKEN: '${cmd:sh -c \"env > seen; echo a-secret-word\"}'}\n",
            web="checks: {home: {kind: command, argv: [sh, -c, 'env >> seen; echo ok'], every: 1s}}\n",
        )
        async with engine(folder, environment={"NOTIFY_SOCKET": systemd.address}) as running:
            await running.until_status("web", "ok")
        assert "PATH=" in (folder / "seen").read_text()
        assert "NOTIFY_SOCKET" not in (folder / "seen").read_text()


def test_the_unit_that_is_printed_expects_all_of_this(tmp_path: Path) -> None:
    folder = write_workspace(tmp_path / "w")
    command = [sys.executable, "-P", "-m", "opsdash", "engine", "--print-unit", "-w", str(folder)]
    unit = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert {"Type=notify", "NotifyAccess=main", "WatchdogSec=30", "Restart=always"} <= set(unit.splitlines())


# --- two that watch each other -----------------------------------------------------------------------------------

LISTENING = 'engine: {listen: "127.0.0.1:0"}\n'
PEER = "checks: {alive: {kind: heartbeat, every: 1s, grace: 3s}}\ndefaults: {every: 1s, down_after: 1, up_after: 1}\n"


async def heartbeat_url(running: EngineProcess) -> str:
    found = await running.session.heartbeats()
    return f"{found['url']}{found['heartbeats'][0]['path']}"


async def test_two_engines_notice_each_others_death(tmp_path: Path) -> None:
    one = write_workspace(tmp_path / "one", settings=LISTENING, peer=PEER)
    two = write_workspace(tmp_path / "two", settings=LISTENING, peer=PEER)
    async with engine(one) as first, engine(two) as second:
        for folder, other in ((one, second), (two, first)):
            settings = f'{LISTENING}dead_man: {{url: "{await heartbeat_url(other)}", every: 1s}}\n'
            write_workspace(folder, settings=settings)
        await asyncio.gather(first.until_status("peer", "ok"), second.until_status("peer", "ok"))
        await second.kill()
        await first.until_status("peer", "down")
        detail = await first.session.component("peer")
        assert "missed" in str(detail)


async def opsdash(command: str, folder: Path, *more: str) -> str:
    """What a command prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "opsdash", command, *more, "-w", str(folder)),
        stdout=asyncio.subprocess.PIPE,
    )
    return (await process.communicate())[0].decode()
