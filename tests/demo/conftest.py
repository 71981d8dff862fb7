"""The example services as a real process, and clients that see every byte they send."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.demo.process import DemoServices, start

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Speaks HTTP and raw TCP to the services by the names of their variables."""

    def __init__(self, services: DemoServices) -> None:
        self.services = services

    def get(self, variable: str, path: str) -> Answer:
        return self.send("GET", variable, path)

    def send(self, method: str, variable: str, path: str, body: str | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.services.ports[variable], timeout=PATIENCE)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return Answer(response.status, dict(response.headers), response.read())
        finally:
            connection.close()

    def connect(self, variable: str, *, timeout: float = PATIENCE) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.services.ports[variable]), timeout=timeout)

    def raw(self, variable: str, path: str) -> bytes:
        """Everything that comes back for one GET, as bytes."""
        with self.connect(variable) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def until(self, variable: str, path: str, holds: Callable[[Any], bool]) -> Any:
        """Ask again until the JSON answer is as expected; in the end its last value fails the test."""
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self.get(variable, path)
            value = answer.json if answer.status == 200 else {"status": answer.status}
            if holds(value):
                return value
            assert time.monotonic() < deadline, f"{variable}{path} is still {value}"
            threading.Event().wait(0.02)

    def until_found(self, variable: str, path: str, pattern: re.Pattern[str]) -> list[str]:
        """Everything in the body that matches; asks again while a service that just started has nothing to tell."""
        deadline = time.monotonic() + PATIENCE
        while not (found := pattern.findall(body := self.get(variable, path).body.decode())):
            assert time.monotonic() < deadline, f"{variable}{path} has no {pattern.pattern}, it is {body}"
            threading.Event().wait(0.02)
        return found


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def services(state: Path) -> Iterator[DemoServices]:
    """Running services. Whatever is done to them, they must not have had anything to complain about."""
    with start(state) as running:
        yield running
    assert (state / "services.log").read_text() == ""


@pytest.fixture
def client(services: DemoServices) -> Client:
    return Client(services)


@pytest.fixture
def client_of() -> Callable[[DemoServices], Client]:
    return Client
