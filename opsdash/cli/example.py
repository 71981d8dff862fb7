"""The example operation while it runs: a fresh folder, its services, and an engine; all of it ends with us.

    with running() as example:
        example.workspace             # for -w, in this process and in other terminals
        example.services.inject("postmark", "down")

The services die with this process whatever happens to it (see `opsdash.demo.process`), the engine is ephemeral and
ends when nobody listens any more; what is left to do here is to end both at once, and to remove the folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opsdash.demo.example import copy_example
from opsdash.demo.process import DemoError, DemoServices, ports_of, start
from opsdash.errors import EngineError
from opsdash.service.attach import attach, spawn_engine
from opsdash.service.places import Places, account, is_locked, places, read_engine_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opsdash.service.client import EngineSession
    from opsdash.storage.trust import Trust

PREFIX = "opsdash-demo-"
WORKSPACE = "shop"
SERVICES = "services"
ENGINE_ENDS_WITHIN = 5.0

ENDED_BY_FORCE = 129
"""Exit code of an example that did not end by itself in time; everything of it is gone all the same."""

_END_WITHIN = 8.0
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class Example:
    """A running example operation."""

    root: Path
    workspace: Path
    services: DemoServices
    _engine: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What the engine has to know: ports, where the applications keep their pointer files, and whose login it is.

        A container or a service often has no USER; without it, nobody of the example's people would be at the keys.
        """
        return {"USER": account(os.getuid()), **self.services.environment()}

    def start_engine(self) -> None:
        """Start an engine that ends with its last client; `attach` to it."""
        self._engine = spawn_engine(self.workspace, environment=self.environment, ephemeral=True)

    async def attach(self) -> EngineSession:
        """A session with the engine, once it answers. Raises EngineError."""
        while self._engine is not None and self._engine.poll() is None:
            with contextlib.suppress(EngineError):
                return await attach(self.workspace, spawn=False)
            await asyncio.sleep(0.02)
        raise EngineError(f"the engine did not start: {self.last_words(1)}")

    def last_words(self, count: int) -> str:
        """What the engine said last."""
        try:
            said = places(self.workspace).log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            said = []
        return "\n".join(said[-count:]) or "it left no word"

    def end_engine(self) -> None:
        """End the engine, also one that was started again after ours was gone."""
        if self._engine is not None and self._engine.poll() is None:
            self._engine.terminate()
            try:
                self._engine.wait(ENGINE_ENDS_WITHIN)
            except subprocess.TimeoutExpired:
                self._engine.kill()
                self._engine.wait()
        end_engine(self.workspace)


@contextlib.contextmanager
def running() -> Iterator[Example]:
    """The example operation in a fresh folder, with its services; everything is gone afterwards."""
    root = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
    stack = contextlib.ExitStack()
    with _tidy_when_signalled(stack.close), stack:
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        workspace = root / WORKSPACE
        copy_example(workspace)
        example = Example(root, workspace, stack.enter_context(start(root / SERVICES)))
        _write_ports(example)
        stack.callback(_approve_runbooks(workspace).forget)
        stack.callback(example.end_engine)
        stack.callback(_deaf)
        yield example


@contextlib.contextmanager
def _tidy_when_signalled(tidy: Callable[[], None]) -> Iterator[None]:
    """TERM and a hang-up interrupt us as Ctrl-C does, so that there is time to tidy up.

    A board whose terminal has vanished may hang for ever: the thread that writes to it has died, and the queue in front
    of that thread is full. So whoever has not ended by itself after a while is tidied up after, and ended.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def give_up() -> None:
        tidy()
        os._exit(ENDED_BY_FORCE)

    def interrupt(*_: Any) -> None:
        last_resort = threading.Timer(_END_WITHIN, give_up)
        last_resort.daemon = True
        last_resort.start()
        # whoever closes a terminal sends CONT behind HUP, and the board would try to draw again while it ends
        signal.signal(signal.SIGCONT, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in _ENDING}
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _deaf() -> None:
    """From now on, tidying up takes a few seconds at most, and no second Ctrl-C cuts it short."""
    if threading.current_thread() is threading.main_thread():
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)


def _write_ports(example: Example) -> None:
    """Put the ports into the copy's `vars`, so that commands in other terminals see the same as the engine does."""
    path = example.workspace / "opsdash.yaml"
    text = path.read_text(encoding="utf-8")
    for name, value in example.environment.items():
        text = re.sub(rf"(?m)^(  {re.escape(name)}:) +\S+", rf"\g<1> {value}", text)
    path.write_text(text, encoding="utf-8")


def _approve_runbooks(workspace: Path) -> Trust:
    """The runbooks of the example are the package's own: whoever runs opsdash has decided to execute them."""
    from opsdash.cli.offline import read_files
    from opsdash.engine.clock import system_clock
    from opsdash.storage.trust import Approval, Trust

    trust, now = Trust.of(os.environ, workspace), system_clock().wall
    for runbook in read_files(workspace).runbooks.values():
        trust.approve(Approval(runbook.id, runbook.sha256, runbook.text, "opsdash demo", now))
    return trust


def end_engine(workspace: Path) -> None:
    """End the engine of a workspace, if it has one; by force where it does not listen."""
    where = places(workspace)
    file = read_engine_file(where)
    for number in (signal.SIGTERM, signal.SIGKILL):
        if file is None or not is_locked(where):
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(file.pid, number)
        asyncio.run(_until_unlocked(where))


async def _until_unlocked(where: Places) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ENGINE_ENDS_WITHIN):
            while is_locked(where):  # noqa: ASYNC110 - another process's lock tells nobody
                await asyncio.sleep(0.02)


def services_of(workspace: Path | None) -> Path:
    """Where the services of a demo keep their ports: of the one that is named, else of the newest. Raises DemoError."""
    if workspace is not None:
        return workspace.resolve().parent / SERVICES
    demo = running_demo()
    if demo is None:
        raise DemoError("no demo is running: start one with `opsdash demo`")
    return demo.parent / SERVICES


def running_demo() -> Path | None:
    """The workspace of the demo of this account that runs, the newest one of several; None where none does."""
    mine = {}
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{SERVICES}"):
        with contextlib.suppress(FileNotFoundError):  # a demo that is just ending
            if _is_mine(folder):
                mine[folder] = folder.stat().st_mtime
    for folder in sorted(mine, key=lambda folder: mine[folder], reverse=True):
        with contextlib.suppress(DemoError):
            ports_of(folder)
            return folder.resolve().parent / WORKSPACE
    return None


def _is_mine(folder: Path) -> bool:
    """The temporary folder is everybody's; a stranger's demo is none of our business."""
    found = folder.lstat()
    return found.st_uid == os.getuid() and folder.parent.lstat().st_uid == os.getuid()
