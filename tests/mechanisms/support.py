"""Real servers as children of a test: found or skipped with a reason, on free ports, ended by their pid.

A server that a test needs and that is not installed skips the test, and says which Debian package brings it. Where
CI=true it fails instead for the servers that `.ci/run` installs: a test that nobody runs proves nothing.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

INSTALLED_IN_CI = frozenset(
    {"haproxy", "socat", "redis-server", "redis-sentinel", "knotd", "knsupdate", "etcd", "etcdctl", "postgres"}
)
PLACES = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))
STARTS_WITHIN = 20.0
ENDS_WITHIN = 5.0
ASK_EVERY = 0.02


def binary(name: str, package: str) -> str:
    """The path of a server's program; skips (in CI: fails) the test where it is not installed."""
    found = shutil.which(name, path=PLACES)
    if found is not None:
        return found
    why = f"{name} is not installed; apt-get install {package}"
    if os.environ.get("CI") == "true" and name in INSTALLED_IN_CI:
        pytest.fail(why)
    pytest.skip(why)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(holds: Callable[[], Any], *, within: float = STARTS_WITHIN, what: str = "the condition") -> Any:
    """Ask `holds` until what it gives is true, and return that. An OSError counts as "not yet"."""
    deadline = time.monotonic() + within
    while True:
        with contextlib.suppress(OSError):
            found = holds()
            if found:
                return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come about within {within:g} s")
        select.select([], [], [], ASK_EVERY)


def freeze(pid: int) -> None:
    """Stop a process; every thread of it stands still when this returns. A signal alone is only on its way then."""
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")

    def stands_still() -> bool:
        return all((each / "stat").read_text().rpartition(")")[2].split()[0] == "T" for each in threads.iterdir())

    until(stands_still, what=f"process {pid} standing still")


@dataclass
class Server:
    """A process of our own. `log` is the file that has what it printed."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(ENDS_WITHIN)

    def end(self) -> None:
        """End it, by force where it does not obey."""
        if self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()


@contextlib.contextmanager
def started(
    argv: Sequence[str | Path],
    *,
    log: Path,
    ready: Callable[[], Any],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[Server]:
    """A server from the moment in which `ready` says something true until the end of the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else {**os.environ, **env},
            cwd=cwd,
        )
    server = Server(process, log)

    def is_ready() -> Any:
        if process.poll() is not None:
            raise RuntimeError(f"{argv[0]} ended with {process.returncode}: {server.said()[-2000:]}")
        return ready()

    try:
        until(is_ready, what=f"{argv[0]} being ready")
        yield server
    finally:
        server.end()


def answers(port: int) -> bool:
    """Whether somebody accepts connections on that port of 127.0.0.1."""
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
