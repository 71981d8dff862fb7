"""A stand-in for Toxiproxy: its HTTP interface, as far as drills use it, with the answers of version 2.12.

There is no real one in the tests: no package index that they use has it. Proxies carry no traffic here.
"""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Toxiproxy:
    """Its proxies by name. trouble: answer everything with this status instead."""

    url: str = ""
    proxies: dict[str, dict[str, Any]] = field(default_factory=dict)
    trouble: int = 0
    asked: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """One request."""
        self.asked.append(f"{method} {path}")
        if self.trouble:
            return self.trouble, {"error": "trouble"}
        match method, path.strip("/").split("/"):
            case "GET", ["proxies", name] if name in self.proxies:
                return 200, self.proxies[name]
            case "POST", ["proxies", name] if name in self.proxies:
                self.proxies[name]["enabled"] = body["enabled"]
                return 200, self.proxies[name]
            case "POST", ["proxies", name, "toxics"] if name in self.proxies:
                if body["name"] in [toxic["name"] for toxic in self.proxies[name]["toxics"]]:
                    return 409, {"error": "toxic already exists", "status": 409}
                self.proxies[name]["toxics"].append(body)
                return 200, body
            case "DELETE", ["proxies", name, "toxics", toxic] if name in self.proxies:
                left = [each for each in self.proxies[name]["toxics"] if each["name"] != toxic]
                if len(left) == len(self.proxies[name]["toxics"]):
                    return 404, {"error": "toxic not found", "status": 404}
                self.proxies[name]["toxics"] = left
                return 204, None
        return 404, {"error": "proxy not found", "status": 404}


@contextlib.contextmanager
def toxiproxy() -> Iterator[Toxiproxy]:
    """One with the proxy `db`."""
    found = Toxiproxy(proxies={"db": {"name": "db", "enabled": True, "toxics": []}})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, said = found.answer(self.command, self.path, json.loads(body) if body else None)
            told = b"" if said is None else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        do_POST = do_DELETE = do_GET  # noqa: N815 - names of http.server

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
