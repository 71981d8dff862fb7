"""The command line as scripts and people meet it: in this process where that says the same, else in one of its own."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import tempfile
import termios
import time
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import pytest

from opsdash.cli import main
from opsdash.cli.base import runs
from opsdash.config.starter import write_starter
from opsdash.service.places import places

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

PATIENCE = 20.0
NOTHING: Mapping[str, str] = MappingProxyType({})
OPSDASH = (sys.executable, "-m", "opsdash")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on standard output."""
        return json.loads(self.out)


def environment(**more: str) -> dict[str, str]:
    """A plain environment, in which nothing names a workspace."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPSDASH_")}
    return {**kept, "TERM": "xterm-256color", **more}


@pytest.fixture(scope="session")
def own_temporary() -> Iterator[str]:
    """A temporary folder in which no demo runs but the test's own. Its path is short, as sockets want it."""
    with tempfile.TemporaryDirectory(prefix="ot-") as folder:
        yield folder


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own_temporary: str) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TMPDIR", own_temporary)
    monkeypatch.setattr(tempfile, "tempdir", own_temporary)
    for name in [name for name in os.environ if name.startswith("OPSDASH_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run a command in this process."""

    def run_here(*words: str | Path) -> Ended:
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return run_here


def process(*words: str | Path, **more: str) -> Ended:
    """Run a command in a process of its own, without a terminal."""
    ended = subprocess.run(
        [*OPSDASH, *map(str, words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(**more),
        timeout=60,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A fresh workspace, whose only services are files, looked at every second."""
    folder = tmp_path / "shop"
    write_starter(folder)
    settings = folder / "opsdash.yaml"
    settings.write_text(settings.read_text().replace("every: 5s", "every: 1s"))
    return folder


@dataclass(frozen=True, slots=True)
class Running:
    """A workspace whose engine runs."""

    workspace: Path
    engine: subprocess.Popen[bytes]

    def break_primary(self) -> None:
        """The file that serves is gone."""
        (self.workspace / "example/first.txt").unlink(missing_ok=True)

    def heal_primary(self) -> None:
        """The file is back."""
        (self.workspace / "example/first.txt").write_text("hello from the first file\n")


@pytest.fixture
def running(workspace: Path) -> Iterator[Running]:
    """An engine in the foreground, in a process of its own."""
    log = workspace.parent / "engine.out"
    with log.open("wb") as output:
        engine = subprocess.Popen(
            [*OPSDASH, "engine", "-w", str(workspace)], stdout=output, stderr=output, env=environment()
        )
    try:
        eventually(lambda: runs(places(workspace)), lambda: f"the engine did not start: {log.read_text()}")
        yield Running(workspace, engine)
    finally:
        engine.terminate()
        try:
            engine.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            engine.kill()
            engine.wait()


def eventually(met: Callable[[], object], told: Callable[[], str] = lambda: "it did not happen") -> None:
    """Wait for something that another process does."""
    until = time.monotonic() + PATIENCE
    while not met():
        assert time.monotonic() < until, told()
        select.select([], [], [], 0.02)


class Terminal:
    """A command in a real pseudo-terminal, with a person at its keys."""

    def __init__(self, *words: str | Path, cwd: Path | None = None, more: Mapping[str, str] = NOTHING) -> None:
        self.screen = ""
        self._keys, tty = pty.openpty()
        termios.tcsetwinsize(tty, (30, 110))
        self._process = subprocess.Popen(
            [*OPSDASH, *map(str, words)],
            stdin=tty,
            stdout=tty,
            stderr=tty,
            env=environment(**more),
            cwd=cwd,
            start_new_session=True,
        )
        os.close(tty)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._keys)

    def sees(self, text: str) -> str:
        """Wait until the text is on the screen; what came before it is forgotten."""
        until = time.monotonic() + PATIENCE
        while text not in self.screen:
            ready, _, _ = select.select([self._keys], [], [], max(0.0, until - time.monotonic()))
            more = self._read() if ready else b""
            assert more, f"{text!r} never came; there is:\n{self.screen}"
            self.screen += more.decode("utf-8", "replace")
        before, _, self.screen = self.screen.partition(text)
        return before

    def _read(self) -> bytes:
        try:
            return os.read(self._keys, 65536)
        except OSError:  # Linux: the other end is closed
            return b""

    def types(self, text: str) -> None:
        """Type something, and press Enter."""
        os.write(self._keys, f"{text}\n".encode())

    def signal(self, *numbers: signal.Signals) -> None:
        """What a terminal that is closed, or an administrator, sends."""
        for number in numbers:
            self._process.send_signal(number)

    def kill(self) -> None:
        """`kill -9`: the command is gone when this returns."""
        self._process.kill()
        self._process.wait()

    def code(self) -> int:
        """The exit code, once it has ended."""
        while more := self._read():
            self.screen += more.decode("utf-8", "replace")
        return self._process.wait(PATIENCE)
