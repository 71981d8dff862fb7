"""etcd's API v3 as JSON over HTTP (its gRPC gateway, etcd 3.4 and newer): reads, transactions, logging in.

What has to be known of it, measured with 3.4:

* keys and values are base64, 64-bit numbers are texts, and what has its zero value is left out: a transaction whose
  condition did not hold has no `succeeded` at all, a missing key no `kvs`, an empty value no `value`;
* an error is an object with a `code` (gRPC's) and a `message`; the HTTP status varies between versions;
* permissions are looked up for both branches of a transaction, whichever is taken: one whose condition can never hold
  asks whether we may write, and writes nothing;
* a token goes bare into `Authorization`. The name in a client certificate counts for nothing here: behind the gateway
  it is the server's own;
* a read is linearizable unless asked otherwise: a member that has lost the others does not answer it.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

from opsdash.kinds.base import ActionResult, Applied
from opsdash.kinds.bodies import parse_json
from opsdash.kinds.endpoints import ask_in_turn, authority, request_to, send_once
from opsdash.kinds.failures import ProtocolError, RejectedError
from opsdash.kinds.keyvalue import Held, marker_text
from opsdash.kinds.sending import told
from opsdash.kinds.transport import fetch

if TYPE_CHECKING:
    from opsdash.kinds.base import ActionContext
    from opsdash.kinds.credentials import Login
    from opsdash.kinds.keyvalue import KeyOptions
    from opsdash.kinds.transport import Request, Response

NEEDS: Final = (3, 4)

# gRPC's codes (https://grpc.github.io/grpc/core/md_doc_statuscodes.html)
_INVALID_ARGUMENT: Final = 3
_PERMISSION_DENIED: Final = 7
_RESOURCE_EXHAUSTED: Final = 8
_FAILED_PRECONDITION: Final = 9
_UNAUTHENTICATED: Final = 16

_NOBODY: Final = "user name is empty"
_NO_ADMITTANCE: Final = (_NOBODY, "authentication failed")
"""What `invalid argument` says to those who did not log in, or could not."""
_NOTHING_WRITTEN: Final = ("mvcc: database space exceeded", "etcdserver: too many requests")
"""What `resource exhausted` says before anything is written."""


class EtcdError(ProtocolError):
    """etcd answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def is_no_admittance(self) -> bool:
        """Whether it is about who we are: another member would say the same."""
        if self.code == _INVALID_ARGUMENT:
            return any(words in self.message for words in _NO_ADMITTANCE)
        return self.code in {_PERMISSION_DENIED, _UNAUTHENTICATED}

    @property
    def is_refusal(self) -> bool:
        """Whether it says that nothing was written. What it does not say so of, may have been."""
        if self.code == _RESOURCE_EXHAUSTED:
            return any(words in self.message for words in _NOTHING_WRITTEN)
        return self.code in {_INVALID_ARGUMENT, _PERMISSION_DENIED, _UNAUTHENTICATED}


class EtcdStore:
    """See `keyvalue.Store`. One for each action: it remembers which member answered, what it said, and the token."""

    def __init__(self, options: KeyOptions, login: Login | None, context: ActionContext) -> None:
        self._login = login
        self._context = context
        self._endpoints = options.endpoints
        self._tls = options.tls(context.workspace)
        self._keys = [_encoded(place.encode()) for place in options.places]
        self._place = options.place
        self._certified = options.client_cert is not None
        self._token: str | None = None
        self._revision = ""

    @property
    def logs_in(self) -> bool:
        return self._token is not None or self._certified

    # --- questions

    async def check(self, endpoint: str) -> None:
        health = await self._get(endpoint, "/health")
        if _object(health).get("health") != "true":
            raise ProtocolError(f"is not well: {told(health)}")
        version = await self._get(endpoint, "/version")
        text = str(_object(version).get("etcdserver"))
        if _version(text) < NEEDS:
            raise ProtocolError(f"is etcd {text[:20]}; what is asked of it came with 3.4")

    async def look(self, endpoints: tuple[str, ...], until: float) -> Held:
        async def question(endpoint: str) -> Held:
            self._token = await self._log_in(endpoint)
            branches = _responses(await self._ask(endpoint, _txn(success=self._ranges())), len(self._keys))
            held = self._held(branches)
            self._endpoints = (endpoint, *(other for other in self._endpoints if other != endpoint))
            self._revision = held.version
            return held

        return await ask_in_turn(endpoints, until, self._context, question)

    async def rehearse(self, endpoints: tuple[str, ...], until: float) -> None:
        # No version is below zero. And if one were: the values would be written as they are.
        never = {"key": self._keys[0], "target": "VERSION", "result": "LESS", "version": "0"}
        puts = [{"request_put": {"key": key, "ignore_value": True, "ignore_lease": True}} for key in self._keys]

        async def question(endpoint: str) -> None:
            self._token = await self._log_in(endpoint)
            answer = await self._ask(endpoint, _txn(compare=[never], success=puts, failure=self._ranges()))
            if answer.get("succeeded"):
                raise ProtocolError("carried out what was asked for on a condition that cannot hold")

        await ask_in_turn(endpoints, until, self._context, question)

    async def _log_in(self, endpoint: str) -> str | None:
        if self._login is None:
            return None
        asked = {"name": self._login.user, "password": self._login.password.get_secret_value()}
        try:
            answer = await self._ask(endpoint, asked, "/v3/auth/authenticate")
        except EtcdError as error:
            # As etcd's own clients do: where logging in is switched off, everybody is let in.
            if error.code == _FAILED_PRECONDITION and "not enabled" in error.message:
                return None
            raise
        token = answer.get("token")
        if not isinstance(token, str) or not token.isprintable():
            raise ProtocolError("let us in without giving a token")
        return token

    async def _ask(self, endpoint: str, asked: dict[str, Any], path: str = "/v3/kv/txn") -> dict[str, Any]:
        try:
            return _answer(await fetch(self._request(endpoint, path, asked), self._context))
        except EtcdError as error:
            if error.is_no_admittance:
                hint = "; it wants a login, see `auth`" if _NOBODY in error.message else ""
                raise RejectedError(f"{error}{hint}") from error
            raise

    async def _get(self, endpoint: str, path: str) -> Response:
        return await fetch(request_to(endpoint, path, method="GET", tls=self._tls), self._context)

    def _request(self, endpoint: str, path: str, asked: dict[str, Any]) -> Request:
        headers = [("Content-Type", "application/json")]
        if self._token is not None:
            headers.append(("Authorization", self._token))
        body = json.dumps(asked).encode()
        return request_to(endpoint, path, method="POST", tls=self._tls, headers=headers, body=body)

    # --- the change

    async def swap(self, value: bytes, until: float) -> ActionResult | Held:
        asked = _txn(
            compare=[{"key": self._keys[0], "target": "MOD", "result": "EQUAL", "mod_revision": self._revision}],
            success=self._puts(value),
            failure=self._ranges(),
        )
        sent = await send_once(
            self._endpoints, until, self._context, lambda endpoint: self._request(endpoint, "/v3/kv/txn", asked)
        )
        if isinstance(sent, ActionResult):
            return sent
        endpoint, response = sent
        where = authority(endpoint)
        try:
            return self._outcome(where, _answer(response))
        except EtcdError as error:
            if error.is_refusal:
                return ActionResult(Applied.REFUSED, f"{where}: {error}; nothing was written")
            return ActionResult(Applied.UNKNOWN, f"{where}: {error}, after the transaction had been sent")
        except ProtocolError as error:
            return ActionResult(Applied.UNKNOWN, f"{where}: {error}, after the transaction had been sent")

    def _puts(self, value: bytes) -> list[dict[str, Any]]:
        # A lease that the key has stays with it, as it would not otherwise.
        puts = [{"key": self._keys[0], "value": _encoded(value), "ignore_lease": True}]
        puts += [{"key": key, "value": _encoded(self._context.action_id.encode())} for key in self._keys[1:]]
        return [{"request_put": put} for put in puts]

    def _ranges(self) -> list[dict[str, Any]]:
        return [{"request_range": {"key": key}} for key in self._keys]

    def _outcome(self, where: str, answer: dict[str, Any]) -> ActionResult | Held:
        branches = _responses(answer, len(self._keys))
        if answer.get("succeeded") is not True:
            return self._held(branches)
        if not all("response_put" in branch for branch in branches):
            raise ProtocolError(f"says that it succeeded, and not in what: {_shown(answer)}")
        revision = _revision(answer)
        return ActionResult(Applied.APPLIED, f"{where}: {self._place} written in revision {revision}", None, revision)

    def _held(self, branches: list[dict[str, Any]]) -> Held:
        entries = [_entry(branch, key) for branch, key in zip(branches, self._keys, strict=True)]
        value, version = entries[0]
        marker, marked_version = entries[1] if len(entries) > 1 else (None, "")
        return Held(value, version, marker_text(marker) if marked_version == version else None)


# --- what an answer has to look like -----------------------------------------------------------------------------


def _object(response: Response) -> dict[str, Any]:
    if response.truncated:
        raise ProtocolError(f"sent more than can be an answer: {told(response)}")
    try:
        value = parse_json(response.body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ProtocolError(f"gave no answer of etcd's: {told(response)}")
    return value


def _answer(response: Response) -> dict[str, Any]:
    """The answer of the API. Raises EtcdError for an error of it, ProtocolError for what is none of its answers."""
    answer = _object(response)
    if response.status == 200:
        _revision(answer)
        return answer
    code, message = answer.get("code"), answer.get("message", answer.get("error"))
    if response.status < 400 or not isinstance(code, int) or not isinstance(message, str):
        raise ProtocolError(f"gave no answer of etcd's: {told(response)}")
    raise EtcdError(code, " ".join(message.split())[:200])


def _revision(answer: dict[str, Any]) -> str:
    header = answer.get("header")
    revision = header.get("revision") if isinstance(header, dict) else None
    if not isinstance(revision, str) or not _is_number(revision):
        raise ProtocolError(f"gave an answer without a revision: {_shown(answer)}")
    return revision


def _responses(answer: dict[str, Any], count: int) -> list[dict[str, Any]]:
    branches = answer.get("responses")
    if not isinstance(branches, list) or len(branches) != count or not all(isinstance(each, dict) for each in branches):
        raise ProtocolError(f"gave no answer to this transaction: {_shown(answer)}")
    return branches


def _entry(branch: dict[str, Any], key: str) -> tuple[bytes | None, str]:
    """Value and version of a key; no value where there is no such key."""
    found = branch.get("response_range")
    rows = found.get("kvs", []) if isinstance(found, dict) else None
    if rows == []:
        return None, ""
    row = rows[0] if isinstance(rows, list) and len(rows) == 1 else None
    if not isinstance(row, dict) or row.get("key") != key:
        raise ProtocolError(f"gave no answer about this key: {_shown(branch)}")
    version, value = row.get("mod_revision"), row.get("value", "")
    if not isinstance(version, str) or not _is_number(version) or not isinstance(value, str):
        raise ProtocolError(f"gave no value and version: {_shown(row)}")
    try:
        return base64.b64decode(value, validate=True), version
    except ValueError:
        raise ProtocolError(f"gave a value that is no base64: {_shown(row)}") from None


def _txn(**branches: list[dict[str, Any]]) -> dict[str, Any]:
    return branches


def _version(text: str) -> tuple[int, ...]:
    numbers = text.split(".")[:2]
    if not all(_is_number(number) for number in numbers):
        raise ProtocolError(f"does not say which version it is, but {text[:40]!r}")
    return tuple(int(number) for number in numbers)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def _encoded(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _shown(answer: dict[str, Any]) -> str:
    return json.dumps(answer)[:200]
