"""An application that goes by feature flags, with the OpenFeature SDK as anybody uses it: PORT FLAGS.

`/health` tells the values of the flags, and what the file says of them: the mode in force and whose action that was.
It is run as a program of its own, and knows nothing of opsdash.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType


def health() -> dict[str, Any]:
    """What the application goes by at this moment."""
    client = api.get_client()
    found = {flag: client.get_string_details(flag, "coded") for flag in ("recommendations", "search", "mail-provider")}
    metadata = found["search"].flag_metadata
    notes = {"mode": metadata.get("opsdash.mode", "normal"), "action": metadata.get("opsdash.action")}
    return {**{flag: details.value for flag, details in found.items()}, **notes}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(health()).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name for it
        """Say nothing."""


if __name__ == "__main__":
    port, flags = sys.argv[1:]
    api.set_provider(FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=flags))
    ThreadingHTTPServer(("127.0.0.1", int(port)), _Handler).serve_forever()
