"""A Consul agent in development mode, or its stand-in, and what an operator would have prepared in it.

Also for use outside of pytest.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.mechanisms.support import PLACES, Server, binary, free_port, started

if TYPE_CHECKING:
    from collections.abc import Iterator

MANAGEMENT = "0b3e6c1c-56a8-4a1c-8d5e-7d6ad1a0f001"
STAND_IN = Path(__file__).with_name("consul_stand_in.py")


@dataclass
class Consul:
    """An agent. token: with which we ask it for everything."""

    port: int
    server: Server
    token: str | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: bytes = b"", *, token: str | None = None) -> tuple[int, bytes]:
        """Status and body of its answer."""
        token = token or self.token
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path, body, {} if token is None else {"X-Consul-Token": token})
            response = connection.getresponse()
            return response.status, response.read()

    def _done(self, method: str, path: str, body: bytes) -> None:
        status, said = self.ask(method, path, body)
        if status != 200:
            raise RuntimeError(f"{method} {path}: {status} {said.decode()}")

    def put(self, key: str, value: str, *, flags: int = 0) -> None:
        self._done("PUT", f"/v1/kv/{key}?flags={flags}", value.encode())

    def row(self, key: str) -> dict[str, Any] | None:
        """All that it has of a key; None where there is no such key."""
        status, said = self.ask("GET", f"/v1/kv/{key}?consistent")
        if status == 404:
            return None
        row: dict[str, Any] = json.loads(said)[0]
        return row

    def get(self, key: str) -> str | None:
        row = self.row(key)
        return None if row is None else base64.b64decode(row["Value"] or "").decode()

    def allow(self, token: str, policy: str, *keys: str) -> None:
        """Make a token with `read` or `write` on these keys."""
        name = f"{policy}-{token[:8]}"
        rules = "\n".join(f'key "{key}" {{ policy = "{policy}" }}' for key in keys)
        self._done("PUT", "/v1/acl/policy", json.dumps({"Name": name, "Rules": rules}).encode())
        made = {"SecretID": token, "Policies": [{"Name": name}]}
        self._done("PUT", "/v1/acl/token", json.dumps(made).encode())

    def has_leader(self) -> bool:
        status, said = self.ask("GET", "/v1/status/leader")
        return status == 200 and said.strip() not in {b'""', b""}


def is_installed() -> bool:
    """Whether this machine has a real one."""
    return shutil.which("consul", path=PLACES) is not None


@contextlib.contextmanager
def consul(folder: Path, *, real: bool | None = None, tokens: bool = False) -> Iterator[Consul]:
    """An agent that knows a leader. real: None for whatever there is; tokens: whether everybody needs one."""
    port = free_port()
    if is_installed() if real is None else real:
        words = _real(folder, port, tokens=tokens)
    else:
        words = [sys.executable, STAND_IN, str(port), *([MANAGEMENT] if tokens else [])]
    agent = Consul(port, None, MANAGEMENT if tokens else None)  # type: ignore[arg-type]
    with started(words, log=folder / "consul.log", ready=agent.has_leader) as server:
        agent.server = server
        yield agent


def _real(folder: Path, port: int, *, tokens: bool) -> list[str | Path]:
    program = binary("consul", "consul (of HashiCorp's repository)")
    lan, server = free_port(), free_port()
    ports = {"http": port, "dns": -1, "grpc": -1, "grpc_tls": -1, "serf_lan": lan, "serf_wan": -1, "server": server}
    settings: dict[str, Any] = {"ports": ports, "bind_addr": "127.0.0.1", "connect": {"enabled": False}}
    if tokens:
        made = {"initial_management": MANAGEMENT}
        settings["acl"] = {"enabled": True, "default_policy": "deny", "tokens": made}
    file = folder / "consul.json"
    file.write_text(json.dumps(settings))
    return [program, "agent", "-dev", "-log-level", "warn", "-config-file", file]
