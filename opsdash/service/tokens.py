"""The bearer token of an engine that listens on TCP, and what jobs on other machines report with instead.

The token opens everything. It is made when it is first needed, lies in the state folder for its owner alone, and is
compared in constant time. A new one is had by removing the file and restarting the engine.

A job only has to say that it has run, and its crontab is no place for a key to the operation. So each heartbeat has a
URL of its own, which is all that it needs: the check's name, signed with the token. It tells nothing about the token
or about other checks, and a new token makes new URLs.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
from typing import TYPE_CHECKING

from opsdash.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

TOKEN_BYTES = 32
SHORTEST_TOKEN = 32
LONGEST_TOKEN = 500
HEARTBEAT_DIGITS = 32
"""Hexadecimal digits: 128 bits, more than anybody can try."""


def bearer_token(path: Path) -> str:
    """The token in `path`, which is made where there is none. Raises EngineError; no message holds the token."""
    try:
        with contextlib.suppress(FileExistsError):
            _make(path)
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(LONGEST_TOKEN + 1)
    except OSError as error:
        raise EngineError(f"the token {path} cannot be used: {error.strerror}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise EngineError(f"others may read the token {path}: remove it, and a new one is made")
    text = data.decode("ascii", "replace").strip()
    if not SHORTEST_TOKEN <= len(text) <= LONGEST_TOKEN or not text.isascii() or not text.isprintable() or " " in text:
        raise EngineError(
            f"{path} holds no token of {SHORTEST_TOKEN} to {LONGEST_TOKEN} printable characters: remove it, and a new "
            "one is made"
        )
    return text


def _make(path: Path) -> None:
    """A new token, all of it or nothing: whoever is killed in between leaves no half one."""
    fresh = path.with_name(f"{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    if path.exists():
        return
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(TOKEN_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def is_bearer(authorization: Iterable[bytes], token: str) -> bool:
    """Whether the one `Authorization` header of a request carries the token (RFC 6750, section 2.1)."""
    headers = list(authorization)
    scheme, _, given = headers[0].partition(b" ") if len(headers) == 1 else (b"", b"", b"")
    return hmac.compare_digest(given.strip(), token.encode()) and scheme.lower() == b"bearer"


class Heartbeats:
    """The heartbeats of an operation by what their URLs hold."""

    def __init__(self, token: str, checks: Iterable[str]) -> None:
        self.tokens = {check: _signed(token, check) for check in checks}
        self._checks = {signed: check for check, signed in self.tokens.items()}

    def check(self, signed: str) -> str | None:
        """The check that a URL is for.

        A plain look-up: how long it takes depends on a hash of what was sent, and tells nothing about the keys.
        """
        return self._checks.get(signed)


def _signed(token: str, check: str) -> str:
    return hmac.new(token.encode(), f"heartbeat {check}".encode(), hashlib.sha256).hexdigest()[:HEARTBEAT_DIGITS]
