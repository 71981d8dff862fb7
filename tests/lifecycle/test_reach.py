"""Who reaches an engine, and where it lives, with real processes: TCP, a state folder elsewhere, a Unix group."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import grp
import http.client
import json
import os
import pwd
import re
import shutil
import signal
import ssl
import stat
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.service.attach import attach
from opsdash.service.places import Places, is_locked, places
from opsdash.service.session import SnapshotEvent
from tests.engine.support import eventually, eventually_asked, web, write_workspace
from tests.lifecycle.support import EngineProcess, engine, of
from tests.service.support import self_signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

JOB = "checks: {nightly: {kind: heartbeat, every: 1h}}\n"


def small(folder: Path, settings: str = "") -> Path:
    return write_workspace(folder, settings=settings, web=web("http://127.0.0.1:9/", every="60s"), backup=JOB)


async def listen(one: EngineProcess) -> dict[str, Any]:
    found = (await one.session.about())["listen"]
    assert found is not None, one.said
    return dict(found)


async def problems(one: EngineProcess) -> list[dict[str, Any]]:
    return [dict(each) for each in await one.session.problems()]


def ask(url: str, path: str, token: str = "", method: str = "GET", ca: Path | None = None) -> tuple[int, str]:
    """Status and content of an answer, by a client that is none of ours."""
    address = url.partition("://")[2]
    if url.startswith("https:"):
        trusting = ssl.create_default_context(cafile=ca)
        client: http.client.HTTPConnection = http.client.HTTPSConnection(address, timeout=10, context=trusting)
    else:
        client = http.client.HTTPConnection(address, timeout=10)
    with contextlib.closing(client):
        client.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
        reply = client.getresponse()
        return reply.status, reply.read().decode()


async def asked(*arguments: Any, **more: Any) -> tuple[int, str]:
    return await asyncio.to_thread(ask, *arguments, **more)


def opsdash(folder: Path, *words: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    """A command on a workspace."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "opsdash", *map(str, words), "-w", str(folder)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **{"cwd": "/", **more},
    )


async def command(folder: Path, *words: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(opsdash, folder, *words, **more)


# --- TCP ---------------------------------------------------------------------------------------------------------


async def test_asked_to_it_listens_and_says_where_the_token_is_but_never_what(tmp_path: Path) -> None:
    folder = small(tmp_path / "w")
    async with engine(folder, "--listen", "127.0.0.1:0") as one:
        url = (await listen(one))["url"]
        token = places(folder).token.read_text().strip()
        assert f"listening on {url}; the bearer token is in {places(folder).token}" in one.said
        assert (await asked(url, "/v1/metrics"))[0] == 401
        status, metrics = await asked(url, "/v1/metrics", token)
        assert status == 200
        assert 'opsdash_component_state{component="web"' in metrics
        shown = await command(folder, "engine", "status")
        assert re.search(rf"tcp +{url}, \d connections\n", shown.stdout)
        assert json.loads((await command(folder, "engine", "status", "--json")).stdout)["listen"]["url"] == url
        listed = await command(folder, "engine", "heartbeats")
        (line,) = listed.stdout.splitlines()
        assert line.startswith("backup/nightly ")
        path = line.split()[1].removeprefix(url)
        assert await asked(url, path, method="POST") == (200, "OK\n")
        one.signal(signal.SIGTERM)
        assert await one.ended() == 0
        for file in (one.log, *places(folder).state.rglob("*")):
            if file.is_file() and file != places(folder).token:
                assert token.encode() not in file.read_bytes(), file
    async with engine(folder) as two:
        assert (await two.session.about())["listen"] is None
        assert "listening on" not in two.said


async def test_with_tls_it_speaks_tls(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    folder = small(tmp_path / "w")
    files = ("--tls-certificate", str(certificate), "--tls-key", str(key))
    async with engine(folder, "--listen", "127.0.0.1:0", *files) as one:
        url = (await listen(one))["url"]
        assert url.startswith("https://")
        token = places(folder).token.read_text().strip()
        assert (await asked(url, "/v1/snapshot", token, ca=certificate))[0] == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
async def test_the_network_without_tls_is_warned_about(tmp_path: Path, host: str) -> None:
    async with engine(small(tmp_path / "w"), "--listen", f"{host}:0") as one:
        assert "WARNING opsdash.app: on " in one.said
        assert "everybody along the way can read the token" in one.said


async def test_a_flag_that_cannot_be_followed_stops_the_start_and_frees_the_lock(tmp_path: Path) -> None:
    folder, other = small(tmp_path / "w"), small(tmp_path / "other")
    async with engine(folder, "--listen", "127.0.0.1:0") as one:
        address = (await listen(one))["url"].removeprefix("http://")
        refused = await command(other, "engine", "--listen", address)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr == (
            f"opsdash: nobody can listen on {address}: the port is in use, by another engine or another program; "
            "free it, or choose another one\n"
        )
        assert not is_locked(places(other))
        assert of(other, "engine_started") == []
        files = ("--tls-certificate", tmp_path / "no.crt", "--tls-key", tmp_path / "no.key")
        refused = await command(other, "engine", "--listen", "127.0.0.1:0", *files)
        assert (refused.returncode, refused.stderr) == (
            1, f"opsdash: TLS: {tmp_path}/no.crt cannot be read: No such file or directory\n",
        )  # fmt: skip
    async with engine(other, "--listen", "127.0.0.1:0") as two:
        assert await listen(two)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--listen", ":9180"), "--listen: ':9180' does not say on which address"),
        (("--listen", "monitor.example:9180"), "--listen: 'monitor.example:9180' holds no address"),
        (("--listen", "127.0.0.1:1", "--tls-key", "x"), "--tls-certificate and --tls-key belong together"),
        (("status", "--listen", "127.0.0.1:1"), "for an engine that starts, not for `opsdash engine status`"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_a_usage_error(tmp_path: Path, words: tuple[str, ...], why: str) -> None:
    refused = opsdash(small(tmp_path / "w"), "engine", *words)
    assert refused.returncode == 2
    assert why in refused.stderr
    assert not (tmp_path / "w/.opsdash").exists()


def test_a_certificate_for_no_address_is_an_error(tmp_path: Path) -> None:
    refused = opsdash(small(tmp_path / "w"), "engine", "--tls-certificate", "a", "--tls-key", "b")
    assert refused.returncode == 1
    assert "--tls-certificate is for --listen, or engine.listen" in refused.stderr


def test_flags_are_no_way_around_broken_tls_of_the_file(tmp_path: Path) -> None:
    folder = small(tmp_path / "w", "engine: {tls_certificate: a.crt}\n")
    refused = opsdash(folder, "engine", "--listen", "127.0.0.1:0")
    assert refused.returncode == 1
    assert "engine.tls_certificate and engine.tls_key of opsdash.yaml cannot be used" in refused.stderr


def test_the_unit_carries_the_same_options(tmp_path: Path) -> None:
    folder = small(tmp_path / "w")
    files = ("--tls-certificate", "a b.crt", "--tls-key", "50%.key")
    told = opsdash(folder, "engine", "--print-unit", "--listen", "[::1]:9180", *files, cwd=tmp_path)
    written = f'--listen [::1]:9180 --tls-certificate "{tmp_path}/a b.crt" --tls-key {tmp_path}/50%%.key\n'
    assert f"--workspace {folder} {written}" in told.stdout
    assert f"--workspace {folder}\n" in opsdash(folder, "engine", "--print-unit").stdout


async def test_an_engine_that_a_client_starts_listens_as_the_file_says(tmp_path: Path) -> None:
    folder = small(tmp_path / "w", 'engine: {listen: "127.0.0.1:0"}\n')
    session = await attach(folder)
    found = (await session.about())["listen"]
    assert found["by_flag"] is False
    assert (await asked(found["url"], "/v1/healthz")) == (200, "ok\n")
    await session.stop(force=True)
    await eventually(lambda: not is_locked(places(folder)))


async def test_a_port_of_the_file_that_is_in_use_is_a_problem_and_no_reason_not_to_start(tmp_path: Path) -> None:
    async with engine(small(tmp_path / "one"), "--listen", "127.0.0.1:0") as one:
        address = (await listen(one))["url"].removeprefix("http://")
        folder = small(tmp_path / "two", f'engine:\n  listen: "{address}"\n')
        async with engine(folder) as two:
            (found,) = await problems(two)
            assert (found["path"], found["severity"]) == ("engine.listen", "error")
            assert found["line"] > 1
            assert f"nobody can listen on {address}: the port is in use" in found["message"]
            assert (await two.session.about())["listen"] is None


async def test_flags_override_the_file(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    settings = f'engine: {{listen: "192.0.2.1:80", tls_certificate: {certificate}, tls_key: {key}}}\n'
    async with engine(small(tmp_path / "w", settings), "--listen", "127.0.0.1:0") as one:
        found = await listen(one)
        assert found["by_flag"]
        assert found["url"].startswith("https://127.0.0.1:")
        assert await problems(one) == []


async def test_a_changed_setting_waits_for_a_restart_and_says_so(tmp_path: Path) -> None:
    folder = small(tmp_path / "w", 'engine: {listen: "127.0.0.1:0"}\n')
    async with engine(folder) as one:
        before = await listen(one)
        small(folder, 'engine: {listen: "127.0.0.2:0"}\n')
        await eventually_asked(lambda: tells(one, "the engine that runs listens on 127.0.0.1:0"))
        assert (await listen(one))["url"] == before["url"]
        small(folder, 'engine: {listen: "127.0.0.1:0"}\n')
        await eventually_asked(lambda: tells(one))


async def tells(one: EngineProcess, *beginnings: str) -> bool:
    """Whether these, and no others, are the problems."""
    found = [each["message"] for each in await problems(one)]
    return len(found) == len(beginnings) and all(map(str.startswith, found, beginnings))


async def test_restart_keeps_the_flags_of_the_engine_that_it_ends(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    folder = small(tmp_path / "w")
    files = ("--tls-certificate", str(certificate), "--tls-key", str(key))
    async with engine(folder, "--listen", "127.0.0.1:0", *files) as one:
        assert (await command(folder, "engine", "restart")).returncode == 0
        await one.ended()
        session = await attach(folder, spawn=False)
        found = (await session.about())["listen"]
        assert (found["address"], found["by_flag"]) == ("127.0.0.1:0", True)
        assert found["url"].startswith("https://")
        assert (await command(folder, "engine", "restart", "--listen", "127.0.0.2:0")).returncode == 0
        assert (await session.about())["listen"]["url"].startswith("http://127.0.0.2:")
        await session.stop(force=True)
        await eventually(lambda: not is_locked(places(folder)))


async def test_strangers_hold_up_neither_the_socket_nor_polling(tmp_path: Path) -> None:
    """Two hundred connections that say nothing, and others that hang up at once, while the board asks on."""
    settings = "defaults: {every: 200ms}\n"
    folder = write_workspace(
        tmp_path / "w", settings=settings, web="checks: {self: {kind: file, path: opsdash.yaml}}\n"
    )
    async with engine(folder, "--listen", "127.0.0.1:0") as one:
        host, _, port = (await listen(one))["url"].removeprefix("http://").rpartition(":")
        idle = [await asyncio.open_connection(host, int(port)) for _ in range(200)]
        over = asyncio.Event()

        async def knock() -> None:
            while not over.is_set():
                try:
                    _, writer = await asyncio.open_connection(host, int(port))
                    writer.close()
                except OSError:
                    await asyncio.sleep(0)

        knocking = [asyncio.ensure_future(knock()) for _ in range(4)]
        runs = (await one.session.about())["runs"]

        async def polled_on() -> bool:
            found: int = (await one.session.about())["runs"] - runs
            return found > 5

        await eventually_asked(polled_on)
        assert (await one.session.about())["skipped"] == 0
        over.set()
        await asyncio.gather(*knocking)
        for _, writer in idle:
            writer.close()
        one.signal(signal.SIGTERM)
        assert await one.ended() == 0


# --- the state folder elsewhere ----------------------------------------------------------------------------------


async def test_state_elsewhere_is_found_by_everybody_and_leaves_little_behind(tmp_path: Path) -> None:
    folder = small(tmp_path / "w", "engine: {state: ../elsewhere}\n")
    async with engine(folder) as one:
        assert one.where.state == tmp_path / "elsewhere"
        assert (tmp_path / "elsewhere/journal").is_dir()
        assert {each.name for each in (folder / ".opsdash").iterdir()} == {".gitignore", "lock", "state"}
        assert (await command(folder, "status")).returncode in (1, 3)
        assert json.loads((await command(folder, "engine", "status", "--json")).stdout)["pid"] == one.process.pid
        one.signal(signal.SIGTERM)
        assert await one.ended() == 0
    assert "engine_started" in (await command(folder, "journal", "tail", "--json")).stdout


async def test_the_engine_stays_where_it_is_until_it_is_restarted(tmp_path: Path) -> None:
    folder = small(tmp_path / "w")
    async with engine(folder) as one:
        session = one.session
        events = session.events()
        assert isinstance(await anext(events), SnapshotEvent)
        small(folder, "engine: {state: ../elsewhere}\n")
        await eventually_asked(lambda: tells(one, f"the engine that runs keeps its state in {folder}/.opsdash"))
        assert (await (await attach(folder)).about())["pid"] == one.process.pid
        assert not (tmp_path / "elsewhere").exists()
        assert (await command(folder, "engine", "restart")).returncode == 0
        assert await one.ended() == 0
        again = await attach(folder, spawn=False)
        assert (await again.about())["state"] == str(tmp_path / "elsewhere")
        (found,) = await again.problems()
        assert found["message"] == f"the engine began anew: what it knew is in {folder}/.opsdash"
        async with asyncio.timeout(10):
            while not isinstance(await anext(events), SnapshotEvent):
                pass  # a board that was open finds it, too
        assert session.where.state == tmp_path / "elsewhere"
        await again.stop(force=True)
        await eventually(lambda: not is_locked(again.where))


async def test_a_second_engine_elsewhere_does_not_start(tmp_path: Path) -> None:
    """It looked for its place while the first was not there yet."""
    folder = small(tmp_path / "w")
    async with engine(folder) as one:
        small(folder, "engine: {state: ../elsewhere}\n")
        again = await command(folder, "engine")
        assert (again.returncode, "another engine is at work" in again.stderr) == (0, True)
        shutil.rmtree(folder / ".opsdash/journal")  # so that nothing leads there but the lock
        refused = await command(folder, "engine")
        assert refused.returncode == 1
        assert "another engine is at work in" in refused.stderr
        assert "with another state folder than" in refused.stderr
        assert not is_locked(Places(folder, tmp_path / "elsewhere"))
        assert (await one.session.about())["pid"] == one.process.pid


async def test_a_broken_file_is_told_and_starts_no_engine_elsewhere(tmp_path: Path) -> None:
    folder = small(tmp_path / "w")
    (folder / "opsdash.yaml").write_text("engine: {state: ../elsewhere\n")
    status = await command(folder, "status", "--nagios")
    assert (status.returncode, status.stdout[:15]) == (3, "OPSDASH UNKNOWN")
    for words in (("engine",), ("engine", "status"), ("register",)):
        refused = await command(folder, *words)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.startswith("opsdash: nobody can tell where the state folder of ")
    assert "nobody can tell" in (await command(folder, "doctor")).stdout
    assert not (folder / ".opsdash").exists()


async def test_a_workspace_that_cannot_be_written_has_its_engine_elsewhere(tmp_path: Path) -> None:
    folder = small(tmp_path / "w", "engine: {state: ../elsewhere}\n")
    script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
    words = [sys.executable, "-P", "-m", "opsdash", "engine", "-w", str(folder)]
    try:
        process = await asyncio.create_subprocess_exec(
            "unshare", "-rm", "sh", "-c", script, "sh", str(folder), *words,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd="/",
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("needs unshare (apt install util-linux)")
    assert process.stdout is not None
    said = ""
    async with asyncio.timeout(30):
        while "at work in" not in said and (line := await process.stdout.readline()):
            said += line.decode()
    if "mount:" in said or "unshare:" in said:
        pytest.skip(f"this machine allows no mount in a namespace of its own: {said.strip()}")
    assert "at work in" in said
    try:
        assert not (folder / ".opsdash").exists()
        small(folder, "engine: {state: ../another}\n")
        refused = await command(folder, "engine")
        assert refused.returncode == 1
        assert f"({folder} is locked)" in refused.stderr
    finally:
        process.terminate()
        await process.communicate()


# --- a group -----------------------------------------------------------------------------------------------------

NOBODY, DAEMON = "nobody", "daemon"


def member(*groups: str) -> dict[str, Any]:
    """A process as nobody, in these groups."""
    account = pwd.getpwnam(NOBODY)
    return {
        "user": account.pw_uid,
        "group": account.pw_gid,
        "extra_groups": [grp.getgrnam(each).gr_gid for each in groups],
        "env": {**os.environ, "HOME": "/", "PYTHONDONTWRITEBYTECODE": "1"},
        "executable": anybodys_python(),
    }


@functools.cache
def anybodys_python() -> str:
    """This interpreter, or the system's of the same version where this one lies in somebody's home."""
    system = f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
    words = [sys.executable, "-c", "import opsdash.cli, yaml, pydantic_core"]  # argv[0] says where the packages are
    for executable in (sys.executable, system):
        with contextlib.suppress(OSError):
            tried = subprocess.run(words, executable=executable, user=NOBODY, cwd="/", check=False, capture_output=True)
            if tried.returncode == 0:
                return executable
    pytest.skip(f"another account can run neither {sys.executable} nor {system}")


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that others can get to; pytest's own are closed to them."""
    if os.getuid() != 0:
        pytest.skip("needs root, to become somebody else")
    try:
        member(DAEMON)
    except KeyError as error:
        pytest.skip(f"this machine lacks an account or a group: {error}")
    folder = Path(tempfile.mkdtemp(prefix="opsdash-test-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@asynccontextmanager
async def for_the_group(shared: Path, more: str = "") -> AsyncIterator[EngineProcess]:
    folder = small(shared / "w", f"engine: {{group: {DAEMON}{more}}}\n")
    async with engine(folder) as one:
        await eventually(lambda: one.where.socket.stat().st_mode & 0o060, hint=lambda: one.said)
        await eventually(lambda: one.where.state.stat().st_mode & 0o010, hint=lambda: one.said)
        yield one


@pytest.mark.parametrize("more", ["", ", state: ../elsewhere", ", state: ../" + "long" * 25])
async def test_members_of_the_group_use_the_engine_and_are_known(shared: Path, more: str) -> None:
    async with for_the_group(shared, more) as one:
        folder = one.where.workspace
        status = await command(folder, "status", **member(DAEMON))
        assert "web" in status.stdout, status.stderr
        words = ("engine", "status", "--json")
        assert json.loads((await command(folder, *words, **member(DAEMON))).stdout)["pid"] == one.process.pid
        assert "running; it is root's" in (await command(folder, "doctor", **member(DAEMON))).stdout
        refused = await command(folder, "engine", "restart", **member(DAEMON))
        assert refused.returncode == 1
        assert "only root can start the engine again, so it was not stopped" in refused.stderr
        refused = await command(folder, "journal", "tail", **member(DAEMON))
        assert (refused.returncode, "Permission denied" in refused.stderr) == (1, True), refused
        stopped = await command(folder, "engine", "stop", **member(DAEMON))
        assert stopped.returncode == 0, stopped.stderr
        assert await one.ended() == 0
        assert of(folder, "engine_stopped")[-1]["why"] == f"asked by {NOBODY}"
        refused = await command(folder, "engine", **member(DAEMON))
        assert refused.returncode == 1
        assert f"no engine is running for {folder}, and only root can start one" in refused.stderr
        refused = await command(folder, "incident", "ack", "1", **member(DAEMON))
        assert (refused.returncode, "only root can start one" in refused.stderr) == (1, True), refused


async def test_everything_else_in_the_state_folder_stays_closed(shared: Path) -> None:
    async with for_the_group(shared, ', listen: "127.0.0.1:0"') as one:
        await one.session.submit("pause", {"component": "web", "seconds": 60})
        await eventually(lambda: (one.where.history).stat().st_size)
        await eventually((one.where.state / "sheets").exists)
        gid = grp.getgrnam(DAEMON).gr_gid
        found = {
            path.relative_to(one.where.state).as_posix(): (stat.S_IMODE(path.stat().st_mode), path.stat().st_gid)
            for path in (one.where.state, *one.where.state.iterdir())
        }
        sheets = found.pop("sheets")
        assert sheets[0] & 0o022 == 0, "emergency sheets are there to be read, as the umask allows, and not changed"
        opened = {name: each for name, each in found.items() if each[0] & 0o077}
        assert opened == {".": (0o710, gid), "engine.sock": (0o660, gid), "engine.json": (0o640, gid)}
        assert found["token"][0] == 0o600


async def test_others_are_told_that_they_may_not_and_what_to_ask_for(shared: Path) -> None:
    async with for_the_group(shared) as one:
        for words in (("engine", "status"), ("register",), ("check", "web/home"), ("engine", "stop"), ("engine",)):
            refused = await command(one.where.workspace, *words, **member())
            assert (refused.returncode, refused.stdout) == (1, ""), words
            assert "engine.group" in refused.stderr, words
        status = await command(one.where.workspace, "status", **member())
        assert (status.returncode, "may not talk to the engine" in status.stderr) == (3, True)
        assert (await one.session.about())["pid"] == one.process.pid


async def test_without_the_setting_the_next_engine_is_private_again(shared: Path) -> None:
    async with for_the_group(shared) as one:
        folder = one.where.workspace
        small(folder, "")
        await eventually_asked(lambda: tells(one, f"the engine that runs is for the group {DAEMON}"))
        one.signal(signal.SIGTERM)
        await one.ended()
    async with engine(folder) as two:
        assert stat.S_IMODE(two.where.state.stat().st_mode) == 0o700
        assert stat.S_IMODE(two.where.socket.stat().st_mode) == 0o600
        assert await problems(two) == []


async def test_a_folder_on_the_way_that_is_closed_to_the_group_is_named(shared: Path) -> None:
    (shared / "home").mkdir(mode=0o700)
    folder = small(shared / "home/w", f"engine:\n  group: {DAEMON}\n")
    async with engine(folder) as one:
        await eventually_asked(lambda: tells(one, f"members of {DAEMON} cannot pass through {shared}/home"))


async def test_a_group_that_does_not_exist_leaves_the_engine_private(tmp_path: Path) -> None:
    folder = small(tmp_path / "w", "engine:\n  group: no-such-group\n")
    async with engine(folder) as one:
        (found,) = await problems(one)
        assert (found["file"], found["path"]) == ("opsdash.yaml", "engine.group")
        assert found["line"] > 0
        assert stat.S_IMODE(one.where.socket.stat().st_mode) == 0o600


async def test_a_group_of_which_one_is_no_member_leaves_the_engine_private(shared: Path) -> None:
    folder = small(shared / "w", f"engine:\n  group: {DAEMON}\n")
    validated = await command(folder, "validate", **member())
    assert "this account is no member of daemon, so the engine stays private" in validated.stdout
    assert "no member" not in (await command(folder, "validate", **member(DAEMON))).stdout
