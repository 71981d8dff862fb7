"""A real etcd, and what an operator would have prepared in it. Also for use outside of pytest."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.mechanisms.support import Server, binary, free_port, started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROOT_PASSWORD = "root-secret"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def decoded(text: str) -> str:
    return base64.b64decode(text).decode()


@dataclass
class Etcd:
    """A member, or several of one cluster."""

    ports: list[int]
    members: list[Server]
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def endpoints(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    def ask(self, path: str, asked: dict[str, Any], *, member: int = 0) -> dict[str, Any]:
        """The answer of the JSON interface. Raises RuntimeError for an error."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[member], timeout=10)
        with contextlib.closing(connection):
            connection.request("POST", path, json.dumps(asked), self.headers)
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        if response.status != 200:
            raise RuntimeError(f"{path}: {answer}")
        return answer

    def put(self, key: str, value: str, **more: Any) -> None:
        self.ask("/v3/kv/put", {"key": encoded(key), "value": encoded(value), **more})

    def row(self, key: str) -> dict[str, Any] | None:
        """All that it has of a key; None where there is no such key."""
        rows = self.ask("/v3/kv/range", {"key": encoded(key)}).get("kvs")
        return rows[0] if rows else None

    def get(self, key: str) -> str | None:
        row = self.row(key)
        return None if row is None else decoded(row.get("value", ""))

    def revision(self) -> str:
        """How often anything was written."""
        revision: str = self.ask("/v3/kv/range", {"key": encoded("-")})["header"]["revision"]
        return revision

    def switch_on_users(self, **users: tuple[str, str, list[str]]) -> None:
        """Ask for a login from now on. users: by name, password, READ or READWRITE, and the keys."""
        self._user("root", ROOT_PASSWORD, "root")
        for name, (password, permission, keys) in users.items():
            self.ask("/v3/auth/role/add", {"name": name})
            for key in keys:
                granted = {"permType": permission, "key": encoded(key)}
                self.ask("/v3/auth/role/grant", {"name": name, "perm": granted})
            self._user(name, password, name)
        self.ask("/v3/auth/enable", {})
        token = self.ask("/v3/auth/authenticate", {"name": "root", "password": ROOT_PASSWORD})["token"]
        self.headers["Authorization"] = token

    def _user(self, name: str, password: str, role: str) -> None:
        self.ask("/v3/auth/user/add", {"name": name, "password": password})
        self.ask("/v3/auth/user/grant", {"user": name, "role": role})


@contextlib.contextmanager
def etcd(folder: Path, *, members: int = 1) -> Iterator[Etcd]:
    """A cluster of so many members, which have elected a leader."""
    program = binary("etcd", "etcd-server")
    clients = [free_port() for _ in range(members)]
    peers = [free_port() for _ in range(members)]
    cluster = ",".join(f"m{number}=http://127.0.0.1:{port}" for number, port in enumerate(peers))
    with contextlib.ExitStack() as stack:
        servers = []
        for number, (client, peer) in enumerate(zip(clients, peers, strict=True)):
            words: list[str | Path] = [
                program,
                "--name",
                f"m{number}",
                "--data-dir",
                folder / f"etcd-{number}",
                "--log-level",
                "error",
            ]
            words += ["--listen-client-urls", f"http://127.0.0.1:{client}", "--initial-cluster", cluster]
            words += ["--advertise-client-urls", f"http://127.0.0.1:{client}", "--quota-backend-bytes", str(1 << 26)]
            words += ["--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-cluster-state", "new"]
            words += ["--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}", "--logger", "zap"]
            words += ["--heartbeat-interval", "20", "--election-timeout", "200"]
            last = number == members - 1
            ready = (lambda: all(is_well(port) for port in clients)) if last else (lambda: True)
            servers.append(stack.enter_context(started(words, log=folder / f"etcd-{number}.log", ready=ready)))
        yield Etcd(clients, servers)


def is_well(port: int) -> bool:
    """Whether a member answers, and knows a leader."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    with contextlib.closing(connection):
        connection.request("GET", "/health")
        return b'"true"' in connection.getresponse().read()
