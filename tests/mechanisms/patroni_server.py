"""PostgreSQL clusters under Patroni as children of a test: the stand-in as a process, and the real thing.

The real one needs `patroni` (`OPSDASH_PATRONI`, or on the path; `make test-servers` installs it), etcd and PostgreSQL,
which refuses to run as root: there it runs in a user namespace, where it is somebody else, or as `postgres`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.mechanisms.support import Server, answers, binary, free_port, started, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
MEMBERS = ("pg0", "pg1", "pg2")
LOGIN = ("opsdash", "sesame")
WELL_WITHIN = 120.0


def ask(
    method: str, url: str, said: Any = None, *, login: tuple[str, str] | None = None, within: float = 60.0
) -> tuple[int, str]:
    """One request; status and body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=within)
    headers = {"Authorization": f"Basic {b64encode(':'.join(login).encode()).decode()}"} if login else {}
    try:
        connection.request(method, parts.path or "/", None if said is None else json.dumps(said), headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


# --- the stand-in --------------------------------------------------------------------------------------------------


@dataclass
class StandinServer:
    """The stand-in as a process. `front_door` answers as a proxy would that sends writes to the primary."""

    server: Server
    urls: list[str]
    control: str

    @property
    def front_door(self) -> str:
        return f"{self.control}/writes"

    def change(self, **knobs: Any) -> dict[str, Any]:
        """See `patroni_standin.Standin.change`."""
        status, said = ask("PATCH", self.control, knobs)
        assert status == 200, said
        changed: dict[str, Any] = json.loads(said)
        return changed

    def told(self) -> dict[str, Any]:
        """What it is in."""
        told: dict[str, Any] = json.loads(ask("GET", self.control)[1])
        return told

    @property
    def leader(self) -> str | None:
        leader: str | None = self.told()["leader"]
        return leader


@contextlib.contextmanager
def patroni(
    folder: Path, *, members: Sequence[str] = MEMBERS, login: tuple[str, str] | None = LOGIN
) -> Iterator[StandinServer]:
    """The stand-in; the first of `members` leads."""
    log = folder / "standin.log"
    words = [sys.executable, "-m", "tests.mechanisms.patroni_standin", "--members", ",".join(members)]
    if login is not None:
        words += ["--login", ":".join(login)]
    with started(words, log=log, ready=lambda: log.read_text().endswith("\n"), cwd=ROOT) as server:
        told = json.loads(server.said())
        yield StandinServer(server, told["urls"], told["control"])


# --- the real one --------------------------------------------------------------------------------------------------


@dataclass
class RealMember:
    """A Patroni and its PostgreSQL. It can be killed, and started again."""

    name: str
    folder: Path
    port: int
    postgres: int
    argv: list[str]
    running: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    server: Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until its REST API answers."""
        log = self.folder / "patroni.log"
        ready = lambda: answers(self.port)  # noqa: E731
        self.server = self.running.enter_context(
            started(self.argv, log=log, ready=ready, cwd=Path("/"), env={"LC_ALL": "C.UTF-8"})
        )

    def said(self) -> str:
        """What both have printed since the last start."""
        return (self.folder / "patroni.log").read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """End both as a power cut would."""
        assert self.server is not None
        self.server.kill()
        self._end_postgres(signal.SIGKILL)

    def end(self) -> None:
        """Stop it in good order."""
        self.running.close()
        self._end_postgres(signal.SIGQUIT)

    def _end_postgres(self, number: int) -> None:
        """What Patroni has started is no child of ours: it is known by its data folder."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int((self.folder / "data/postmaster.pid").read_text().split()[0])
            if str(self.folder) in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, number)
                until(lambda: not Path(f"/proc/{pid}").exists(), within=10, what="the end of PostgreSQL")


@dataclass
class RealCluster:
    """Three members, and etcd as their store."""

    members: dict[str, RealMember]
    etcd: Server

    @property
    def urls(self) -> list[str]:
        return [member.url for member in self.members.values()]

    def cluster(self) -> dict[str, Any]:
        """What the first member says that answers."""
        for url in self.urls:
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                said: dict[str, Any] = json.loads(ask("GET", f"{url}/cluster", within=5)[1])
                return said
        raise OSError("no member answers")

    def leader(self) -> str | None:
        """Who holds the lock."""
        return next((each["name"] for each in self.cluster()["members"] if each["role"] == "leader"), None)

    def until_well(self, *, members: int = 3) -> str:
        """Wait until somebody leads and so many members are there, the others streaming from it. Its name.

        Each is asked itself as well: what the store says of a member is as old as the member's last loop.
        """

        def well() -> str | None:
            listed = self.cluster()["members"]
            timelines = {each.get("timeline") for each in listed}
            streaming = sum(each["state"] == "streaming" for each in listed)
            if len(listed) != members or streaming != members - 1 or len(timelines) != 1:
                return None
            own = [json.loads(ask("GET", self.members[each["name"]].url)[1]) for each in listed]
            roles = sorted(each["role"] for each in own if each["state"] == "running")
            return self.leader() if roles == ["primary", *["replica"] * (members - 1)] else None

        try:
            name: str = until(well, within=WELL_WITHIN, what=f"a cluster of {members}")
        except TimeoutError as error:
            logs = [f"--- {name}\n{member.said()[-2000:]}" for name, member in self.members.items()]
            raise TimeoutError("\n".join([str(error), *logs])) from error
        return name

    def configure(self, **keys: Any) -> None:
        """Change Patroni's configuration."""
        url = f"http://127.0.0.1:{next(iter(self.members.values())).port}/config"
        status, said = ask("PATCH", url, keys, login=LOGIN)
        assert status == 200, said


def patroni_binary() -> str:
    """The path of Patroni; skips the test where there is none."""
    named = os.environ.get("OPSDASH_PATRONI")
    if named:
        return named
    found = shutil.which("patroni")
    if found is None:
        pytest.skip("patroni is not installed; `make test-servers` installs it, and runs these tests")
    return found


def postgres_folder() -> Path:
    """Where PostgreSQL's programs are; skips (in CI: fails) the test where there are none."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return debian[-1].parent if debian else Path(binary("postgres", "postgresql")).resolve().parent


def as_somebody_else() -> tuple[list[str], int | None]:
    """How a program is started that refuses to run as root, and to whom its files then have to belong.

    In a user namespace we are somebody else in our own eyes, and the same in the eyes of the file system.
    """
    if os.geteuid() != 0:
        return [], None
    python = patroni_binary().replace("/patroni", "/python")
    again = "import subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)"
    namespace = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    users = [user for user in ("postgres", "nobody") if user in {each.pw_name for each in pwd.getpwall()}]
    ways: list[tuple[list[str], int | None]] = [(namespace, None)]
    ways += [(["setpriv", "--reuid", user, "--clear-groups"], pwd.getpwnam(user).pw_uid) for user in users]
    for way, owner in ways:
        with contextlib.suppress(OSError):
            if subprocess.run([*way, python, "-c", again], cwd="/", capture_output=True, check=False).returncode == 0:
                return way, owner
    pytest.skip("PostgreSQL refuses to run as root, and there is no way to be somebody else; run the tests as a user")


@contextlib.contextmanager
def real_patroni() -> Iterator[RealCluster]:
    """A real cluster, in a short-named folder of its own: PostgreSQL's socket is in it."""
    patroni_program, programs = patroni_binary(), postgres_folder()
    etcd_program = binary("etcd", "etcd-server")
    prefix, owner = as_somebody_else()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="opsdash-pg-")))
        folder.chmod(0o755)
        store, port = stack.enter_context(_etcd(etcd_program, folder))
        members = {}
        for name in MEMBERS:
            member = members[name] = _member(name, folder / name, port, programs)
            member.argv = [*prefix, patroni_program, str(member.folder / "patroni.yml")]
            if owner is not None:
                for path in (member.folder, *member.folder.iterdir()):
                    os.chown(path, owner, -1)
            stack.callback(member.end)
        for member in members.values():
            member.start()
        cluster = RealCluster(members, store)
        cluster.until_well()
        yield cluster


@contextlib.contextmanager
def _etcd(program: str, folder: Path) -> Iterator[tuple[Server, int]]:
    port, peer = free_port(), free_port()
    client_url, peer_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
    argv = [program, "--data-dir", str(folder / "etcd"), "--initial-cluster", f"default={peer_url}"]
    argv += ["--listen-client-urls", client_url, "--advertise-client-urls", client_url]
    argv += ["--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url]
    with started(argv, log=folder / "etcd.log", ready=lambda: answers(port)) as server:
        yield server, port


def _member(name: str, folder: Path, store: int, programs: Path) -> RealMember:
    folder.mkdir(mode=0o700)
    port, postgres = free_port(), free_port()
    settings = {
        "scope": "demo",
        "name": name,
        "restapi": {
            "listen": f"127.0.0.1:{port}",
            "connect_address": f"127.0.0.1:{port}",
            "authentication": {"username": LOGIN[0], "password": LOGIN[1]},
        },
        "etcd3": {"hosts": f"127.0.0.1:{store}"},
        "bootstrap": {
            "dcs": {
                "ttl": 20,
                "loop_wait": 1,
                "retry_timeout": 3,
                "maximum_lag_on_failover": 1048576,
                "postgresql": {
                    "use_pg_rewind": True,
                    "parameters": {"fsync": "off", "shared_buffers": "16MB", "max_connections": 25},
                },
            },
            "initdb": [{"encoding": "UTF8"}, "data-checksums"],
        },
        "postgresql": {
            "listen": f"127.0.0.1:{postgres}",
            "connect_address": f"127.0.0.1:{postgres}",
            "data_dir": str(folder / "data"),
            "bin_dir": str(programs),
            "pgpass": str(folder / "pgpass"),
            "authentication": {
                "superuser": {"username": "postgres", "password": "x"},
                "replication": {"username": "replicator", "password": "x"},
                "rewind": {"username": "rewinder", "password": "x"},
            },
            "parameters": {"unix_socket_directories": str(folder), "opsdash.member": name},
            "pg_hba": [
                "local all all trust",
                "host all all 127.0.0.1/32 trust",
                "host replication all 127.0.0.1/32 trust",
            ],
        },
    }
    (folder / "patroni.yml").write_text(json.dumps(settings))
    return RealMember(name, folder, port, postgres, [])
