"""The mechanisms of the crash matrix: each started by itself, with a way to ask it who serves. All but Patroni, whose
switches take seconds, are real ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Protocol

from tests.mechanisms.consul_server import consul
from tests.mechanisms.dns_update_server import APP, BLUE, GREEN, SECRETS, ZONE, knot
from tests.mechanisms.etcd_server import etcd
from tests.mechanisms.haproxy_server import haproxy
from tests.mechanisms.kubernetes_server import kubernetes
from tests.mechanisms.patroni_server import LOGIN as PATRONI_LOGIN
from tests.mechanisms.patroni_server import ask, patroni
from tests.mechanisms.redis_server import GROUP as REDIS_GROUP
from tests.mechanisms.redis_server import redis_group, sentinels
from tests.mechanisms.support import binary, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.mechanisms.dns_update_server import NameServer
    from tests.mechanisms.haproxy_server import HAProxy
    from tests.mechanisms.kubernetes_server import Cluster
    from tests.mechanisms.matrix import Mechanism
    from tests.mechanisms.patroni_server import StandinServer
    from tests.mechanisms.redis_server import Group, Watch

SIDES = ("one", "two")


@dataclass
class Pointer:
    """A key of a JSON file."""

    file: Path
    settles: float = 0.0

    def switch(self) -> str:
        place = f"kind: pointer, file: '{self.file}', key: provider"
        return f'  read: {{{place}}}\n  action: {{{place}, value: "{{to.as}}", stamp: by}}\n'

    def names(self) -> tuple[str, str]:
        return SIDES

    def serves(self) -> str | None:
        found: str = json.loads(self.file.read_text(encoding="utf-8"))["provider"]
        return found

    def lead(self, side: str) -> None:
        beside = self.file.with_suffix(".new")
        beside.write_text(json.dumps({"provider": side}), encoding="utf-8")
        beside.replace(self.file)


@contextlib.contextmanager
def pointer(folder: Path) -> Iterator[Pointer]:
    found = Pointer(folder / "provider.json")
    found.lead("one")
    yield found


TOGGLE = """#!/bin/sh
# Moves to the side that is named, slowly: there is a moment in which it is known to nobody whether it was done.
set -e
printf '%s\\n' "$1" > "$2.new.$$"
sleep 0.1
mv "$2.new.$$" "$2"
sleep 0.1
"""


@dataclass
class Command:
    """A script of somebody's own."""

    script: Path
    file: Path
    settles: float = 0.0

    def switch(self) -> str:
        read = f'  read: {{kind: command, argv: [cat, "{self.file}"]}}\n'
        return read + f'  action: {{kind: command, argv: ["{self.script}", "{{to.as}}", "{self.file}"]}}\n'

    def names(self) -> tuple[str, str]:
        return SIDES

    def serves(self) -> str | None:
        return self.file.read_text(encoding="utf-8").strip()

    def lead(self, side: str) -> None:
        beside = self.file.with_suffix(".new")
        beside.write_text(side + "\n", encoding="utf-8")
        beside.replace(self.file)


@contextlib.contextmanager
def command(folder: Path) -> Iterator[Command]:
    script = folder / "move"
    script.write_text(TOGGLE, encoding="utf-8")
    os.chmod(script, 0o700)  # noqa: PTH101 - as a shell would
    found = Command(script, folder / "side")
    found.lead("one")
    yield found


class Settings:
    """An application that keeps its provider behind GET and PUT, with an ETag, on a thread of this process."""

    settles = 0.0

    def __init__(self) -> None:
        settings = self
        self.provider, self.version = "one", 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                settings.answer(self, 200)

            def do_PUT(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.headers.get("If-Match") not in {None, settings.etag}:
                    settings.answer(self, 412)
                    return
                settings.lead(body["provider"])
                settings.answer(self, 200)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def etag(self) -> str:
        return f'"{self.version}"'

    def answer(self, handler: BaseHTTPRequestHandler, status: int) -> None:
        body = json.dumps({"provider": self.provider}).encode()
        handler.send_response(status)
        handler.send_header("ETag", self.etag)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def switch(self) -> str:
        place = f'kind: http, url: "http://127.0.0.1:{self.server.server_port}/provider"'
        action = f'{{{place}, method: PUT, json: {{provider: "{{to.as}}"}}, if_match: true}}'
        return f"  read: {{{place}, value: json.provider}}\n  action: {action}\n"

    def names(self) -> tuple[str, str]:
        return SIDES

    def serves(self) -> str | None:
        return self.provider

    def lead(self, side: str) -> None:
        self.provider, self.version = side, self.version + 1


@contextlib.contextmanager
def http(_: Path) -> Iterator[Settings]:
    settings = Settings()
    yield settings
    settings.server.shutdown()
    settings.server.server_close()


class Keys(Protocol):
    """A store's keys."""

    def get(self, key: str) -> str | None: ...
    def put(self, key: str, value: str) -> None: ...


@dataclass
class KeyOfAStore:
    """A key of etcd or Consul. call: kind and addresses, as every use of the store begins."""

    keys: Keys
    call: dict[str, Any]
    settles: float = 0.0

    def switch(self) -> str:
        use = {**self.call, "key": "shop/provider", "marker": "shop/by"}
        return f"  read: {json.dumps(use)}\n  action: {json.dumps({**use, 'value': '{to.as}'})}\n"

    def names(self) -> tuple[str, str]:
        return SIDES

    def serves(self) -> str | None:
        return self.keys.get("shop/provider")

    def lead(self, side: str) -> None:
        self.keys.put("shop/provider", side)


@contextlib.contextmanager
def of_etcd(folder: Path) -> Iterator[KeyOfAStore]:
    with etcd(folder) as store:
        found = KeyOfAStore(store, {"kind": "etcd", "endpoints": store.endpoints})
        found.lead("one")
        yield found


@contextlib.contextmanager
def of_consul(folder: Path) -> Iterator[KeyOfAStore]:
    with consul(folder) as store:
        found = KeyOfAStore(store, {"kind": "consul", "endpoints": [store.endpoint]})
        found.lead("one")
        yield found


@dataclass
class ServersOfHAProxy:
    """Two servers of a backend, one of them in maint."""

    proxy: HAProxy
    settles: float = 0.0

    def switch(self) -> str:
        place = f"kind: haproxy, socket: '{self.proxy.socket}', backend: shop"
        return f'  read: {{{place}}}\n  action: {{{place}, server: "{{to.as}}", out: "{{from.as}}"}}\n'

    def names(self) -> tuple[str, str]:
        return ("primary", "standby")

    def serves(self) -> str | None:
        serving = [name for name in self.names() if self.proxy.state(name).startswith("UP")]
        if len(serving) == 2:
            return "both"
        return dict(zip(self.names(), SIDES, strict=True))[serving[0]] if serving else None

    def lead(self, side: str) -> None:
        wanted = self.names() if side == "both" else (dict(zip(SIDES, self.names(), strict=True))[side],)
        states = {name: "ready" if name in wanted else "maint" for name in self.names()}
        self.proxy.ask("; ".join(f"set server shop/{name} state {state}" for name, state in states.items()))


@contextlib.contextmanager
def of_haproxy(folder: Path) -> Iterator[ServersOfHAProxy]:
    with haproxy(folder / "haproxy") as proxy:
        yield ServersOfHAProxy(proxy)


@dataclass
class Record:
    """A record of a name server."""

    server: NameServer
    settles: float = 0.0

    def switch(self) -> str:
        use = {"kind": "dns_update", "server": self.server.address, "servers": [self.server.address]}
        use |= {"zone": ZONE, "name": APP}
        key = {"name": "opsdash", "secret": SECRETS["opsdash"]}
        action = {**use, "value": "{to.as}", "ttl": "1s", "key": key}
        return f"  read: {json.dumps(use)}\n  action: {json.dumps(action)}\n"

    def names(self) -> tuple[str, str]:
        return BLUE, GREEN

    def serves(self) -> str | None:
        return dict(zip(self.names(), SIDES, strict=True)).get(", ".join(self.server.ask()))

    def lead(self, side: str) -> None:
        self.server.by_hand(dict(zip(SIDES, self.names(), strict=True))[side])


@contextlib.contextmanager
def record(_: Path) -> Iterator[Record]:
    with knot() as server:
        yield Record(server)


@dataclass
class Flag:
    """A flag of a flag file, whose variants are the sides."""

    file: Path
    settles: float = 0.0

    def switch(self) -> str:
        place = f"kind: flagd, file: '{self.file}'"
        action = f"{{{place}, mode: '{{to.as}}', flags: {{provider: '{{to.as}}'}}}}"
        return f"  read: {{{place}, flags: [provider]}}\n  action: {action}\n"

    def names(self) -> tuple[str, str]:
        return SIDES

    def serves(self) -> str | None:
        found: str = json.loads(self.file.read_text(encoding="utf-8"))["flags"]["provider"]["defaultVariant"]
        return found

    def lead(self, side: str) -> None:
        flag = {"state": "ENABLED", "variants": {name: name for name in SIDES}, "defaultVariant": side}
        beside = self.file.with_suffix(".new")
        beside.write_text(json.dumps({"flags": {"provider": flag}}), encoding="utf-8")
        beside.replace(self.file)


@contextlib.contextmanager
def of_flagd(folder: Path) -> Iterator[Flag]:
    found = Flag(folder / "flags.json")
    found.lead("one")
    yield found


@dataclass
class ServiceInKubernetes:
    """The selector of a service, by the real kubectl."""

    cluster: Cluster
    settles: float = 0.0

    def switch(self) -> str:
        folder = self.cluster.folder
        use = {"kind": "kubernetes", "kubeconfig": f"{folder}/kubeconfig", "env": {"HOME": str(folder)}}
        use |= {"service": "shop", "key": "side"}
        return f"  read: {json.dumps(use)}\n  action: {json.dumps({**use, 'value': '{to.as}'})}\n"

    def names(self) -> tuple[str, str]:
        return SIDES

    def serves(self) -> str | None:
        found: str = self.cluster.of("services", "shop")["spec"]["selector"]["side"]
        return found

    def lead(self, side: str) -> None:
        self.cluster.edit("services", "shop", lambda found: found["spec"]["selector"].update({"side": side}))


@contextlib.contextmanager
def of_kubernetes(folder: Path) -> Iterator[ServiceInKubernetes]:
    binary("kubectl", "kubernetes-client")
    with kubernetes(folder) as cluster:
        cluster.service("shop", {"side": "one"})
        for side in SIDES:
            cluster.pod(side, {"side": side})
        yield ServiceInKubernetes(cluster)


@dataclass
class MembersOfPatroni:
    """Two members of a cluster: the stand-in, which is switched in a fraction of a second."""

    cluster: StandinServer
    settles: float = 0.0

    def switch(self) -> str:
        use: dict[str, Any] = {"kind": "patroni", "urls": self.cluster.urls}
        login = {"user": PATRONI_LOGIN[0], "password": PATRONI_LOGIN[1]}
        action = {**use, "auth": {"basic": login}, "candidate": "{to.as}", "loop_wait": "0s", "ttl": "0s"}
        return f"  read: {json.dumps(use)}\n  action: {json.dumps(action)}\n"

    def names(self) -> tuple[str, str]:
        return ("pg0", "pg1")

    def serves(self) -> str | None:
        return dict(zip(self.names(), SIDES, strict=True)).get(self.cluster.leader or "")

    def lead(self, side: str) -> None:
        candidate = dict(zip(SIDES, self.names(), strict=True))[side]
        leader = until(lambda: self.cluster.leader, what="a leader")
        if leader != candidate:
            wanted = {"leader": leader, "candidate": candidate}
            assert ask("POST", f"{self.cluster.urls[0]}/switchover", wanted, login=PATRONI_LOGIN)[0] == 200


@contextlib.contextmanager
def of_patroni(folder: Path) -> Iterator[MembersOfPatroni]:
    with patroni(folder, members=("pg0", "pg1")) as cluster:
        yield MembersOfPatroni(cluster)


@dataclass
class NodesOfRedis:
    """A primary and a replica; with sentinels, by those."""

    group: Group
    watch: Watch | None = None
    settles: float = 0.0

    def switch(self) -> str:
        if self.watch is None:
            use: dict[str, Any] = {"kind": "redis_failover", "nodes": self.group.names}
        else:
            use = {"kind": "redis_sentinel", "sentinels": self.watch.names, "master": REDIS_GROUP}
        quick = {} if self.watch is None else {"failover_timeout": "2s"}
        action = {**use, "target": "{to.as}", **quick}
        return f"  read: {json.dumps(use)}\n  action: {json.dumps(action)}\n"

    def names(self) -> tuple[str, str]:
        one, two = self.group.names
        return one, two

    def serves(self) -> str | None:
        primaries = self.group.primaries()
        known = set(primaries) if self.watch is None else self.watch.says()
        if len(primaries) != 1 or known != set(primaries):
            return None
        return dict(zip(self.names(), SIDES, strict=True))[primaries[0]]

    def lead(self, side: str) -> None:
        until(lambda: self.watch is None or self.watch.at_rest(), within=60, what="sentinels at rest")
        to, out = self.group.nodes if side == "one" else reversed(self.group.nodes)
        if to.role != "master":
            until(lambda: to.follows(out), what="a replica that follows")
            out("FAILOVER", "TO", "127.0.0.1", to.port, "TIMEOUT", 2000)
        until(lambda: self.group.moved_to(to) and self.serves() == side, within=60, what=f"{to.name} being the primary")


@contextlib.contextmanager
def of_redis(folder: Path) -> Iterator[NodesOfRedis]:
    with redis_group(folder, replicas=1) as group:
        yield NodesOfRedis(group)


@contextlib.contextmanager
def of_sentinels(folder: Path) -> Iterator[NodesOfRedis]:
    with redis_group(folder, replicas=1) as group, sentinels(group, folder, failover_timeout=2000) as watch:
        yield NodesOfRedis(group, watch)


MECHANISMS: dict[str, Callable[[Path], AbstractContextManager[Mechanism]]] = {
    "pointer": pointer,
    "command": command,
    "http": http,
    "etcd": of_etcd,
    "consul": of_consul,
    "haproxy": of_haproxy,
    "dns_update": record,
    "flagd": of_flagd,
    "kubernetes": of_kubernetes,
    "patroni": of_patroni,
    "redis_failover": of_redis,
    "redis_sentinel": of_sentinels,
}
"""By the name of the action kind."""
