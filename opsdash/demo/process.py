"""The parent's side of the example services: start them, break them, end them.

    with start(state) as services:
        environment = services.environment()      # for the workspace: POSTMARK_HTTP=40123, …
        services.inject("postmark", "down")

They die with us: their standard input is a pipe whose other end only we hold, so the kernel ends them even
when we are killed. `inject` works from any other process too, over the control port that `ports_of` finds
in the folder. Standard library only: the board's menu and the command line both use this.
"""

from __future__ import annotations

import http.client
import json
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from opsdash.demo.catalog import CONTROL, STATE, UnknownFaultError, catalog
from opsdash.errors import DemoError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

__all__ = [
    "DemoError",
    "DemoServices",
    "UnknownFaultError",
    "catalog",
    "current_faults",
    "inject",
    "ports_of",
    "start",
]

_PACKAGES = Path(__file__).resolve().parents[2]
_LOG = "services.log"
_PORTS_FILE = "ports.json"
_START_WITHIN = 10.0
_END_WITHIN = 2.0
_CONTROL_WITHIN = 5.0


def start(state: Path) -> DemoServices:
    """Start the services with everything they keep under `state`, and wait until all of them listen."""
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    state = state.resolve()
    with (state / _LOG).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "opsdash.demo.services", "--state", str(state)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONPATH": _search_path()},
            start_new_session=True,
        )
    services = DemoServices(process, state)
    try:
        services.ports.update(_read_ports(process, state))
    except BaseException:
        services.close()
        raise
    return services


class DemoServices:
    """The running services. `ports` holds every port by the name of its variable."""

    def __init__(self, process: subprocess.Popen[bytes], state: Path) -> None:
        self.ports: dict[str, int] = {}
        self.state = state
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def environment(self) -> dict[str, str]:
        """The variables that the files of the workspace refer to."""
        return {**{name: str(port) for name, port in self.ports.items()}, STATE: str(self.state)}

    def inject(self, service: str, fault: str) -> None:
        inject(self.ports[CONTROL], service, fault)

    def close(self) -> None:
        """End them by closing the pipe; by signal if they don't listen to that. May be called twice."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        for harder in (self._process.terminate, self._process.kill):
            try:
                self._process.wait(_END_WITHIN)
            except subprocess.TimeoutExpired:
                harder()
            else:
                return
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def ports_of(state: Path) -> dict[str, int]:
    """The ports of services that another process started with this folder."""
    try:
        content = json.loads((state / _PORTS_FILE).read_bytes())
    except (OSError, ValueError) as problem:
        raise DemoError(f"no example services run in {state}: start them with `opsdash demo`") from problem
    return {name: port for name, port in content.items() if isinstance(port, int)}


def inject(control_port: int, service: str, fault: str) -> dict[str, str]:
    """Set a service's fault, `ok` to heal it, `all ok` to heal everything. Returns every service's fault.

    Raises `UnknownFaultError`, naming the nearest names, and `DemoError` when nobody answers at the port.
    """
    return _control(control_port, "PUT", f"/faults/{quote(service, safe='')}", {"fault": fault})


def current_faults(control_port: int) -> dict[str, str]:
    """Every service's fault, by name."""
    return _control(control_port, "GET", "/faults", None)


def _control(port: int, method: str, path: str, payload: Mapping[str, str] | None) -> dict[str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_CONTROL_WITHIN)
    try:
        body = None if payload is None else json.dumps(payload)
        connection.request(method, path, body)
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as problem:
        raise DemoError(f"the example services don't answer at control port {port}: {problem}") from problem
    finally:
        connection.close()
    if response.status != 200:
        raise UnknownFaultError(answer["error"])
    return {str(name): str(fault) for name, fault in answer.items()}


def _search_path() -> str:
    """The child finds the same opsdash as we did, also from a source tree that is not installed."""
    inherited = os.environ.get("PYTHONPATH")
    return f"{_PACKAGES}{os.pathsep}{inherited}" if inherited else str(_PACKAGES)


def _read_ports(process: subprocess.Popen[bytes], state: Path) -> dict[str, int]:
    line = _read_line(process)
    try:
        ports = json.loads(line)
    except ValueError:
        log = (state / _LOG).read_text(encoding="utf-8", errors="replace").strip()
        last = log.splitlines()[-1] if log else "it said nothing"
        raise DemoError(f"the example services did not start: {last} (all of it: {state / _LOG})") from None
    return {str(name): int(port) for name, port in ports.items()}


def _read_line(process: subprocess.Popen[bytes]) -> bytes:
    """The first line of the child's output; what there is of it when the child ends or takes too long."""
    if process.stdout is None:
        return b""
    deadline = time.monotonic() + _START_WITHIN
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n") and selector.select(deadline - time.monotonic()):
            part = os.read(process.stdout.fileno(), 4096)
            if not part:
                break
            line += part
    return line
