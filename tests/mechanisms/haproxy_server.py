"""A real HAProxy in front of small HTTP servers that answer who they are.

    with haproxy(folder) as proxy:
        proxy.ask("set server shop/primary state maint")
        assert proxy.answered_by() == {"standby"}

It runs as a master with a worker, as Debian's service does, so that `reload` is what `systemctl reload` is. The servers
behind it are threads of this process: each can die, come back on its port, be unhealthy, and hold a request back.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from tests.mechanisms.support import binary, free_port, started, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.mechanisms.support import Server

NAMES = ("primary", "standby", "third")
ANSWERS_WITHIN = 5.0

ACTIVE_AND_DISABLED = """
  server primary {primary} check
  server standby {standby} check disabled
"""
"""One server takes the traffic, the other is in maint: two sides that nobody but opsdash moves between."""

ACTIVE_AND_BACKUP = """
  server primary {primary} check
  server standby {standby} check backup
"""
"""HAProxy fails over by itself, and back."""

CONFIGURATION = """
global
  stats socket {socket} mode 600 level admin
  stats socket {operator} mode 600 level operator
  stats socket ipv4@127.0.0.1:{tcp} level admin
  {global_lines}
defaults
  mode http
  timeout connect 1s
  timeout client 30s
  timeout server 30s
  timeout check 2s
  default-server inter {inter} fastinter {inter} downinter {inter} {default_server}
  {default_lines}
frontend shop
  bind 127.0.0.1:{front}
  use_backend %[str(shop),map({map})] if {{ path_beg /by-map }}
  default_backend shop
backend shop
  {backend_lines}
{servers}
backend blue
  server primary {primary} check
backend green
  server standby {standby} check
backend nobody
  server dead 127.0.0.1:{dead} check
"""


class Identity:
    """A server that says who it is: `{"server": NAME, "at": SECONDS}`. What begins with /slow waits for `gate`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.healthy = True
        self.gate = threading.Event()
        self.arrived = threading.Event()
        self.asked = 0
        self._server: ThreadingHTTPServer | None = None

    def live(self) -> None:
        """Listen; the second time on the port of the first."""
        identity = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                identity.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: object) -> None:
                """A client that went away, as health checks do."""

        self._server = Quiet(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def die(self) -> None:
        """Nobody listens any more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """One request."""
        if handler.path == "/health":
            status = 200 if self.healthy else 503
        else:
            self.asked += 1
            status = 200
        if handler.path.startswith("/slow"):
            self.arrived.set()
            self.gate.wait(ANSWERS_WITHIN * 2)
        body = json.dumps({"server": self.name, "at": time.time()}).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@dataclass
class HAProxy:
    """A running HAProxy. socket, operator: paths of its stats sockets, master: of its master's; tcp: the port of one
    more; front: that of its front door.
    """

    server: Server
    folder: Path
    socket: Path
    operator: Path
    master: Path
    tcp: int
    front: int
    map: Path
    state_file: Path
    identities: dict[str, Identity] = field(default_factory=dict)

    def ask(self, command: str, place: Path | None = None) -> str:
        """A command of a person's, and its answer."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(ANSWERS_WITHIN)
            line.connect(str(place or self.socket))
            line.sendall(command.encode() + b"\n")
            answer = b""
            while data := line.recv(65536):
                answer += data
        return answer.decode()

    def state(self, name: str, backend: str = "shop") -> str:
        """What `show stat` has as the status of a server: `UP`, `MAINT`, `DRAIN`, `no check`, …"""
        return self._row(name, backend)["status"]

    def last_check(self, name: str, backend: str = "shop") -> str:
        """How the latest check of a server ended: `L7OK`, `L4CON` (refused), `SOCKERR`, …"""
        return self._row(name, backend)["check_status"].removeprefix("* ")  # `* ` while the next one is under way

    def _row(self, name: str, backend: str) -> dict[str, str]:
        header, *rows = self.ask(f"show stat {self._number(backend)} 4 -1").splitlines()
        names = header.removeprefix("# ").split(",")
        for row in rows:
            columns = dict(zip(names, row.split(","), strict=False))
            if (columns.get("pxname"), columns.get("svname")) == (backend, name):
                return columns
        raise LookupError(name)

    def _number(self, backend: str) -> str:
        return self.ask(f"show servers state {backend}").splitlines()[2].split()[0]

    def until_state(self, name: str, state: str, backend: str = "shop") -> None:
        """Wait until a server has that status."""
        until(lambda: self.state(name, backend) == state, within=ANSWERS_WITHIN, what=f"{name} being {state}")

    @property
    def worker(self) -> int:
        """The process that does the work."""
        answer = dict(line.split(": ", 1) for line in self.ask("show info").splitlines() if ": " in line)
        return int(answer["Pid"])

    def reload(self) -> None:
        """What `systemctl reload haproxy` does: a new worker, with what the files say.

        The master is told so on its own socket, which refuses while it is not ready for it; a signal would be lost.
        """
        before = self.worker
        until(lambda: (self.ask("reload", self.master),), within=ANSWERS_WITHIN, what="a master that can reload")
        until(lambda: self.worker != before, within=ANSWERS_WITHIN, what="a new worker")

    def save_states(self) -> None:
        """What has to be done before a reload, so that it forgets nothing."""
        self.state_file.write_text(self.ask("show servers state"), encoding="utf-8")

    def get(self, path: str = "/") -> tuple[int, str]:
        """Status, and who answered, through the front door."""
        connection = http.client.HTTPConnection("127.0.0.1", self.front, timeout=ANSWERS_WITHIN * 2)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            return answer.status, json.loads(body)["server"] if answer.status == 200 else ""

    def answered_by(self, times: int = 6, path: str = "/") -> set[str]:
        """Who answers at the front door; its status where nobody does."""
        return {name or str(status) for status, name in (self.get(path) for _ in range(times))}


@contextlib.contextmanager
def haproxy(
    folder: Path,
    *,
    servers: str = ACTIVE_AND_DISABLED,
    backend_lines: str = "option httpchk GET /health",
    default_server: str = "rise 2 fall 2",
    inter: str = "50ms",
    keep_states: bool = False,
) -> Iterator[HAProxy]:
    """HAProxy with the backend `shop` of these servers, `blue`, `green` and `nobody`, and a map that picks one."""
    program = binary("haproxy", "haproxy")
    folder.mkdir(parents=True, exist_ok=True)
    identities = {name: Identity(name) for name in NAMES}
    # The path of a Unix socket is short, and HAProxy appends to it while it binds.
    with tempfile.TemporaryDirectory(prefix="hap-") as short, contextlib.ExitStack() as ending:
        for identity in identities.values():
            identity.live()
            ending.callback(identity.die)
            ending.callback(identity.gate.set)
        places = {
            "socket": Path(short, "admin.sock"),
            "operator": Path(short, "operator.sock"),
            "master": Path(short, "master.sock"),
        }
        ports = {"tcp": free_port(), "front": free_port(), "dead": free_port()}
        entries, state_file = folder / "live.map", folder / "states"
        entries.write_text("shop blue\n", encoding="utf-8")
        addresses = {name: f"127.0.0.1:{identity.port}" for name, identity in identities.items()}
        text = CONFIGURATION.format(
            **places,
            **ports,
            **addresses,
            map=entries,
            inter=inter,
            default_server=default_server,
            backend_lines=backend_lines,
            servers=servers.format(**addresses),
            global_lines=f"server-state-file {state_file}" if keep_states else "",
            default_lines="load-server-state-from-file global" if keep_states else "",
        )
        (folder / "haproxy.cfg").write_text(text, encoding="utf-8")
        argv: list[str | Path] = [program, "-W", "-db", "-S", places["master"], "-f", folder / "haproxy.cfg"]

        def is_ready() -> bool:
            with socket.socket(socket.AF_UNIX) as line:
                line.connect(str(places["socket"]))
                return True

        with started(argv, log=folder / "haproxy.log", ready=is_ready) as server:
            proxy = HAProxy(
                server,
                folder,
                **places,
                tcp=ports["tcp"],
                front=ports["front"],
                map=entries,
                state_file=state_file,
                identities=identities,
            )
            until(lambda: proxy.state("standby", "green") == "UP", what="the checks of HAProxy")
            yield proxy
