"""Real Redis servers and sentinels on free ports, each a child of the test that is ended by its pid.

    with redis_group(tmp_path) as group: ...            # a primary and two replicas, caught up
    with sentinels(group, tmp_path) as watch: ...       # three of them, which know each other and all replicas

What a test says to them goes over a client of its own: opsdash's must not be its own witness.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.mechanisms.support import Server, binary, free_port, freeze, started, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

GROUP: Final = "orders"
"""What the sentinels call the group."""

QUICK: Final = {"info-period": 300, "publish-period": 200, "ping-period": 200}
"""Sentinel's own periods, in ms, a test's size (10 s, 2 s and 1 s otherwise): `SENTINEL DEBUG`."""


class RedisError(Exception):
    """An error reply, as it came."""


class Client:
    """A blocking conversation with one server."""

    def __init__(self, port: int, *, timeout: float = 5.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self._file = self._socket.makefile("rb")

    def __call__(self, *words: str | int) -> Any:
        """Say one command; its reply."""
        self.send(*words)
        return self._reply()

    def send(self, *words: str | int) -> None:
        """Say one command, and do not wait."""
        encoded = [str(word).encode() for word in words]
        parts = [b"*%d\r\n" % len(encoded), *(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)]
        self._socket.sendall(b"".join(parts))

    def _reply(self) -> Any:
        line = self._file.readline()
        if not line:
            raise ConnectionError("closed")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RedisError(rest.decode())
        if kind == b"*":
            return [self._reply() for _ in range(int(rest))]
        if kind == b"$":
            return None if int(rest) < 0 else self._file.read(int(rest) + 2)[:-2].decode()
        return int(rest) if kind == b":" else rest.decode()

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def say(port: int, *words: str | int, login: Sequence[str] = (), timeout: float = 5.0) -> Any:
    """One command over a connection of its own."""
    with contextlib.closing(Client(port, timeout=timeout)) as client:
        if login:
            client("AUTH", *login)
        return client(*words)


@dataclass
class Node:
    """One server."""

    port: int
    server: Server
    login: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __call__(self, *words: str | int) -> Any:
        return say(self.port, *words, login=self.login)

    def error(self, *words: str | int) -> str:
        """The error that a command gives; empty when it gives none."""
        try:
            self(*words)
        except RedisError as error:
            return str(error)
        return ""

    @property
    def role(self) -> str:
        role: str = self("ROLE")[0]
        return role

    @property
    def offset(self) -> int:
        """How far its data goes, of a replica."""
        lines: list[str] = self("INFO", "replication").splitlines()
        return next(int(line.partition(":")[2]) for line in lines if line.startswith("slave_repl_offset:"))

    def follows(self, other: Node) -> bool:
        """Whether it is a replica of the other, as both say: a primary counts one only when it has caught up."""
        role, leader = self("ROLE"), other("ROLE")
        if role[:1] != ["slave"] or role[2:4] != [other.port, "connected"] or leader[0] != "master":
            return False
        return str(self.port) in [row[1] for row in leader[2]]

    def freeze(self) -> None:
        """From now on it accepts connections, and answers nothing: the kernel does the former."""
        freeze(self.server.pid)

    def thaw(self) -> None:
        self.server.process.send_signal(signal.SIGCONT)


@dataclass
class Group:
    """A primary and its replicas, in the order in which they were started; the first one began as the primary."""

    nodes: list[Node]
    settings: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, index: int) -> Node:
        return self.nodes[index]

    @property
    def names(self) -> list[str]:
        return [node.name for node in self.nodes]

    def primaries(self) -> list[str]:
        """All that say that they are the primary."""
        return [node.name for node in self.nodes if node.server.process.poll() is None and node.role == "master"]

    def moved_to(self, node: Node) -> bool:
        """Whether that one is the primary and all others follow it."""
        return node.role == "master" and all(other.follows(node) for other in self.nodes if other is not node)


@contextlib.contextmanager
def redis_node(
    folder: Path, *, port: int | None = None, settings: Mapping[str, str] | None = None, login: tuple[str, ...] = ()
) -> Iterator[Node]:
    """One server; with a port that it had before, it has the file that it had written.

    login: the words after AUTH with which the test itself talks to it.
    """
    program = binary("redis-server", "redis-server")
    port = port or free_port()
    place = folder / f"redis-{port}"
    place.mkdir(parents=True, exist_ok=True)
    config = place / "redis.conf"
    if not config.exists():
        lines = {
            "port": str(port),
            "bind": "127.0.0.1",
            "dir": str(place),
            "save": '""',
            "repl-diskless-sync-delay": "0",
            "repl-ping-replica-period": "1",
            **(settings or {}),
        }
        config.write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
    ready = functools.partial(say, port, "PING", login=login)
    with started([program, config], log=place / "log", ready=ready) as server:
        yield Node(port, server, login)


@contextlib.contextmanager
def redis_group(
    folder: Path,
    *,
    replicas: int = 2,
    settings: Mapping[str, str] | None = None,
    login: tuple[str, ...] = (),
) -> Iterator[Group]:
    """A primary and its replicas, caught up."""
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(redis_node(folder, settings=settings, login=login))
        nodes = [primary]
        for _ in range(replicas):
            extra = {"replicaof": f"127.0.0.1 {primary.port}", **(settings or {})}
            nodes.append(stack.enter_context(redis_node(folder, settings=extra, login=login)))
        for node in nodes[1:]:
            until(functools.partial(node.follows, primary), what=f"{node.name} following {primary.name}")
        yield Group(nodes, settings or {})


@dataclass
class Watch:
    """Sentinels that watch a group."""

    nodes: list[Node]

    def __getitem__(self, index: int) -> Node:
        return self.nodes[index]

    @property
    def names(self) -> list[str]:
        return [node.name for node in self.nodes]

    def says(self) -> set[str]:
        """Which primary they name, all of them."""
        return {":".join(node("SENTINEL", "GET-MASTER-ADDR-BY-NAME", GROUP)) for node in self.nodes}

    def at_rest(self) -> bool:
        """Whether none of them is failing over; that lasts for some time after all name the new primary."""
        return not any("failover_in_progress" in self.about(each)["flags"] for each in range(len(self.nodes)))

    def about(self, sentinel: int = 0) -> dict[str, str]:
        """What one of them knows of the primary."""
        row = self.nodes[sentinel]("SENTINEL", "MASTER", GROUP)
        return dict(zip(row[::2], row[1::2], strict=True))

    def replicas(self, sentinel: int = 0) -> dict[str, dict[str, str]]:
        """What one of them knows of the replicas."""
        rows = self.nodes[sentinel]("SENTINEL", "REPLICAS", GROUP)
        told = (dict(zip(row[::2], row[1::2], strict=True)) for row in rows)
        return {f"{each['ip']}:{each['port']}": each for each in told}


@contextlib.contextmanager
def sentinels(
    group: Group,
    folder: Path,
    *,
    number: int = 3,
    quorum: int = 2,
    down_after: int = 5000,
    failover_timeout: int = 10_000,
    periods: Mapping[str, int] | None = None,
    lines: Sequence[str] = (),
    login: tuple[str, ...] = (),
) -> Iterator[Watch]:
    """Sentinels that know each other and every replica. `periods`: QUICK by default, {} for the real ones."""
    program = binary("redis-sentinel", "redis-sentinel")
    periods = QUICK if periods is None else periods
    with contextlib.ExitStack() as stack:
        nodes = []
        for _ in range(number):
            port = free_port()
            place = folder / f"sentinel-{port}"
            place.mkdir(parents=True, exist_ok=True)
            config = place / "sentinel.conf"
            config.write_text(
                "\n".join(
                    [
                        f"port {port}",
                        "bind 127.0.0.1",
                        f"dir {place}",
                        f"sentinel monitor {GROUP} 127.0.0.1 {group[0].port} {quorum}",
                        f"sentinel down-after-milliseconds {GROUP} {down_after}",
                        f"sentinel failover-timeout {GROUP} {failover_timeout}",
                        *lines,
                        "",
                    ]
                )
            )
            ready = functools.partial(say, port, "PING", login=login)
            node = Node(port, stack.enter_context(started([program, config], log=place / "log", ready=ready)), login)
            for name, value in periods.items():
                node("SENTINEL", "DEBUG", name, value)
            nodes.append(node)
        watch = Watch(nodes)

        def all_known() -> bool:
            return all(
                int(watch.about(each).get("num-other-sentinels", 0)) == number - 1
                and len(watch.replicas(each)) == len(group.nodes) - 1
                and all(row["flags"] == "slave" and row["runid"] for row in watch.replicas(each).values())
                for each in range(number)
            )

        until(all_known, what="the sentinels knowing each other and the replicas", within=40)
        yield watch
