"""A stand-in for a Consul agent, as a program: keys and values, transactions and tokens, answered as documented.

    python consul_stand_in.py PORT [MANAGEMENT-TOKEN]

For machines that have no Consul, which Debian does not package. What it answers is taken from Consul's documentation
and source (agent/kvs_endpoint.go, agent/txn_endpoint.go, agent/consul/state/kvs.go), and the tests that use it run on a
real agent as well where there is one. With a management token, everybody else needs a token with a policy.
"""

from __future__ import annotations

import base64
import json
import re
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

RULE = re.compile(r'key\s+"([^"]+)"\s*\{\s*policy\s*=\s*"(read|write)"\s*\}')
WRITES = frozenset({"set", "cas", "delete", "delete-cas"})


class DeniedError(Exception):
    """Not with this token."""


@dataclass
class State:
    """What a cluster of one server would agree on."""

    management: str | None
    index: int = 10
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    policies: dict[str, dict[str, str]] = field(default_factory=dict)
    tokens: dict[str, list[str]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def permit(self, token: str, key: str, access: str) -> None:
        if self.management is None or token == self.management:
            return
        if token and token not in self.tokens:
            raise DeniedError("ACL not found")
        granted = [self.policies.get(name, {}).get(key) for name in self.tokens.get(token, [])]
        if "write" not in granted and (access == "write" or "read" not in granted):
            who = "anonymous token" if not token else "token with AccessorID '6f1b2c1e-0000-0000-0000-000000000000'"
            raise DeniedError(f"Permission denied: {who} lacks permission 'key:{access}' on \"{key}\"")

    def put(self, key: str, value: str | None, flags: int, index: int) -> None:
        """Write an entry. One that is left as it was keeps its ModifyIndex."""
        found = self.entries.get(key)
        if found is not None and (found["Value"], found["Flags"]) == (value, flags):
            return
        created = index if found is None else found["CreateIndex"]
        row = {"LockIndex": 0, "Key": key, "Flags": flags, "Value": value}
        self.entries[key] = {**row, "CreateIndex": created, "ModifyIndex": index}

    def holds(self, key: str, index: int) -> bool:
        found = self.entries.get(key)
        return index == (0 if found is None else found["ModifyIndex"])


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    state: State

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        place = urlsplit(self.path)
        query = parse_qs(place.query, keep_blank_values=True)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        token = self.headers.get("X-Consul-Token", "")
        with self.state.lock:
            try:
                status, said = self._route(place.path, query, body, token)
            except DeniedError as denied:
                status, said = 403, str(denied).encode()
            index = self.state.index
        kind = "application/json" if status in {200, 409} else "text/plain; charset=utf-8"
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(said))), ("X-Consul-Index", str(index))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(said)

    def _route(self, path: str, query: dict[str, list[str]], body: bytes, token: str) -> tuple[int, bytes]:
        if path == "/v1/status/leader":
            return 200, b'"127.0.0.1:8300"'
        if path == "/v1/txn":
            return self._transaction(body, token)
        if path.startswith("/v1/kv/"):
            return self._entry(unquote(path.removeprefix("/v1/kv/")), query, body, token)
        if path in {"/v1/acl/policy", "/v1/acl/token"}:
            if token != self.state.management:
                raise DeniedError("Permission denied")
            asked = json.loads(body)
            if path == "/v1/acl/policy":
                self.state.policies[asked["Name"]] = dict(RULE.findall(asked["Rules"]))
            else:
                self.state.tokens[asked["SecretID"]] = [each["Name"] for each in asked["Policies"]]
            return 200, json.dumps(asked).encode()
        return 404, b""

    def _entry(self, key: str, query: dict[str, list[str]], body: bytes, token: str) -> tuple[int, bytes]:
        self.state.permit(token, key, "read" if self.command == "GET" else "write")
        if self.command == "GET":
            found = self.state.entries.get(key)
            return (404, b"") if found is None else (200, json.dumps([found]).encode())
        if "cas" in query and not self.state.holds(key, int(query["cas"][0])):
            return 200, b"false"
        self.state.index += 1
        if self.command == "DELETE":
            self.state.entries.pop(key, None)
        else:
            value = base64.b64encode(body).decode() if body else None
            self.state.put(key, value, int(query.get("flags", ["0"])[0]), self.state.index)
        return 200, b"true"

    def _transaction(self, body: bytes, token: str) -> tuple[int, bytes]:
        try:
            asked = [each["KV"] for each in json.loads(body)]
        except (ValueError, KeyError, TypeError) as error:
            return 400, f"Failed to parse body: {error}".encode()
        state = self.state
        errors = []
        for number, each in enumerate(asked):
            try:
                state.permit(token, each["Key"], "write" if each["Verb"] in WRITES else "read")
            except DeniedError as denied:
                if str(denied) == "ACL not found":
                    raise
                errors.append({"OpIndex": number, "What": str(denied)})
        if not errors:
            errors = [
                {"OpIndex": number, "What": f'failed to set key "{each["Key"]}", index is stale'}
                for number, each in enumerate(asked)
                if each["Verb"] == "cas" and not state.holds(each["Key"], each["Index"])
            ]
        if errors:
            return 409, json.dumps({"Results": None, "Errors": errors}).encode()
        state.index += 1
        results = []
        for each in asked:
            if each["Verb"] in {"set", "cas"}:
                state.put(each["Key"], each.get("Value") or None, each.get("Flags", 0), state.index)
            found = state.entries[each["Key"]]
            results.append({"KV": found if each["Verb"] == "get" else {**found, "Value": None}})
        return 200, json.dumps({"Results": results, "Errors": None}).encode()


def main() -> None:
    """Serve until told to end."""
    Handler.state = State(sys.argv[2] if len(sys.argv) > 2 else None)
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()


if __name__ == "__main__":
    main()
