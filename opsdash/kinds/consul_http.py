"""Consul's HTTP API for keys and values: reads, transactions, tokens.

What has to be known of it (https://developer.hashicorp.com/consul/api-docs/txn, and its source):

* a value is base64, or null where it is empty; the indexes are numbers. All that one transaction writes gets one
  ModifyIndex, except an entry that it leaves as it was;
* a transaction that was rolled back is answered by 409 with what was wrong with each operation. So is one that our
  token does not permit: permissions are looked up for all operations before any is tried. A transaction in which each
  operation has an impossible index asks whether we may write, and writes nothing;
* a token that Consul does not know is answered by 403, in plain text, as all other errors are;
* a read with `?consistent` is answered by the leader, once a majority has confirmed that it still is;
* writing an entry without its flags resets them.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from opsdash.kinds.base import ActionResult, Applied
from opsdash.kinds.bodies import parse_json
from opsdash.kinds.endpoints import ask_in_turn, authority, request_to, send_once
from opsdash.kinds.failures import FAILURES, ProtocolError, RejectedError
from opsdash.kinds.keyvalue import Held, marker_text
from opsdash.kinds.sending import excerpt, told
from opsdash.kinds.transport import fetch

if TYPE_CHECKING:
    from opsdash.kinds.base import ActionContext
    from opsdash.kinds.keyvalue import KeyOptions
    from opsdash.kinds.transport import Request, Response

IMPOSSIBLE: Final = 2**53 - 1
"""An index that nothing will ever have, and that is exact in every language's numbers."""

_OK: Final = 200
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
_DENIED: Final = "Permission denied"
_STRANGER: Final = "ACL not found"
_NOTHING_WRITTEN: Final = (
    (400, "Failed to parse body"),
    (_FORBIDDEN, _DENIED),
    (_FORBIDDEN, _STRANGER),
    (413, "too large"),
)
"""Status and words of the errors that come before anything is written."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry; index 0 where there is none, which is also what a transaction calls it."""

    value: bytes | None = None
    index: int = 0
    flags: int = 0


class ConsulStore:
    """See `keyvalue.Store`. One for each action: it remembers which agent answered, and what it said."""

    def __init__(self, options: KeyOptions, token: str | None, datacenter: str | None, context: ActionContext) -> None:
        self._context = context
        self._endpoints = options.endpoints
        self._tls = options.tls(context.workspace)
        self._places = options.places
        self._headers = [] if token is None else [("X-Consul-Token", token)]
        self._certified = options.client_cert is not None
        self._datacenter = {} if datacenter is None else {"dc": datacenter}
        self._entries: list[_Entry] = []

    @property
    def logs_in(self) -> bool:
        return bool(self._headers) or self._certified

    # --- questions

    async def check(self, endpoint: str) -> None:
        response = await fetch(self._get(endpoint, "/v1/status/leader"), self._context)
        leader = _json(response) if response.status == _OK else None
        if not isinstance(leader, str):
            raise ProtocolError(f"gave no answer of Consul's: {told(response)}")
        if not leader:
            raise ProtocolError("knows no cluster leader")

    async def look(self, endpoints: tuple[str, ...], until: float) -> Held:
        async def question(endpoint: str) -> Held:
            self._entries = [await self._entry(endpoint, place) for place in self._places]
            self._endpoints = (endpoint, *(other for other in self._endpoints if other != endpoint))
            key, *markers = self._entries
            by = marker_text(markers[0].value) if markers and markers[0].index == key.index else None
            return Held(None if key.index == 0 else key.value or b"", str(key.index), by)

        return await ask_in_turn(endpoints, until, self._context, question)

    async def _entry(self, endpoint: str, place: str) -> _Entry:
        response = await fetch(self._get(endpoint, f"/v1/kv/{quote(place)}", consistent=""), self._context)
        if response.status == _NOT_FOUND and not response.body and response.header("x-consul-index") is not None:
            return _Entry()
        _refuse_strangers(response)
        if response.status != _OK:
            raise ProtocolError(told(response))
        rows = _json(response)
        row = rows[0] if isinstance(rows, list) and len(rows) == 1 else None
        if not isinstance(row, dict) or row.get("Key") != place:
            raise ProtocolError(f"gave no answer about {place}: {told(response)}")
        return _entry(row)

    async def rehearse(self, endpoints: tuple[str, ...], until: float) -> None:
        operations = [
            self._cas(place, entry.value or b"", IMPOSSIBLE, entry.flags)
            for place, entry in zip(self._places, self._entries, strict=True)
        ]

        async def question(endpoint: str) -> None:
            response = await fetch(self._transaction(endpoint, operations), self._context)
            _refuse_strangers(response)
            errors = _errors(response) if response.status == _CONFLICT else []
            denied = [what for what in errors if _DENIED in what]
            if denied:
                raise RejectedError(denied[0])
            if len(errors) != len(operations) or not all("index is stale" in what for what in errors):
                raise ProtocolError(f"would not say whether this could be written: {told(response)}")

        await ask_in_turn(endpoints, until, self._context, question)

    # --- the change

    async def swap(self, value: bytes, until: float) -> ActionResult | Held:
        marker = self._context.action_id.encode()
        operations = [
            self._cas(place, new, entry.index, entry.flags)
            for place, new, entry in zip(self._places, (value, marker), self._entries, strict=False)
        ]
        sent = await send_once(
            self._endpoints, until, self._context, lambda endpoint: self._transaction(endpoint, operations)
        )
        if isinstance(sent, ActionResult):
            return sent
        endpoint, response = sent
        where = authority(endpoint)
        try:
            if response.status == _OK:
                index = self._written(response)
                return ActionResult(Applied.APPLIED, f"{where}: {self._places[0]} written at {index}", None, index)
            if response.status == _CONFLICT:
                return await self._rolled_back(where, _errors(response), until)
        except ProtocolError as error:
            return ActionResult(Applied.UNKNOWN, f"{where}: {error}, after the transaction had been sent")
        said = excerpt(response)
        if any(response.status == status and words in said for status, words in _NOTHING_WRITTEN):
            return ActionResult(Applied.REFUSED, f"{where}: {told(response)}; nothing was written")
        return ActionResult(Applied.UNKNOWN, f"{where}: {told(response)}, after the transaction had been sent")

    def _written(self, response: Response) -> str:
        """The index at which it was."""
        answer = _json(response)
        results = answer.get("Results") if isinstance(answer, dict) and not answer.get("Errors") else None
        rows = [each.get("KV") if isinstance(each, dict) else None for each in results or []]
        written = [row for row in rows if isinstance(row, dict)]
        if [row.get("Key") for row in written] != list(self._places):
            raise ProtocolError(f"says that it succeeded, and not in what: {told(response)}")
        return str(_entry(written[0]).index)

    async def _rolled_back(self, where: str, errors: list[str], until: float) -> ActionResult | Held:
        if not all("index is stale" in what for what in errors):
            return ActionResult(Applied.REFUSED, f"{where}: {'; '.join(errors)[:200]}; nothing was written")
        try:
            return await self.look(self._endpoints, until)
        except FAILURES as error:
            detail = f"{where}: {self._places[0]} was written by somebody else at this very moment, and cannot be read"
            return ActionResult(Applied.REFUSED, f"{detail} ({error}); nothing was written")

    @staticmethod
    def _cas(place: str, value: bytes, index: int, flags: int) -> dict[str, Any]:
        encoded = base64.b64encode(value).decode("ascii")
        return {"KV": {"Verb": "cas", "Key": place, "Value": encoded, "Index": index, "Flags": flags}}

    # --- requests

    def _get(self, endpoint: str, path: str, **query: str) -> Request:
        return request_to(endpoint, path + self._query(query), method="GET", tls=self._tls, headers=self._headers)

    def _transaction(self, endpoint: str, operations: list[dict[str, Any]]) -> Request:
        return request_to(
            endpoint,
            "/v1/txn" + self._query({}),
            method="PUT",
            tls=self._tls,
            headers=[*self._headers, ("Content-Type", "application/json")],
            body=json.dumps(operations).encode(),
        )

    def _query(self, query: dict[str, str]) -> str:
        query = {**query, **self._datacenter}
        return f"?{urlencode(query)}" if query else ""


# --- what an answer has to look like -----------------------------------------------------------------------------


def _refuse_strangers(response: Response) -> None:
    """Raises RejectedError where Consul says that our token may not, or that it knows no such token."""
    said = excerpt(response)
    if response.status == _FORBIDDEN and (_DENIED in said or _STRANGER in said):
        raise RejectedError(said)


def _json(response: Response) -> Any:
    if response.truncated:
        raise ProtocolError(f"sent more than can be an answer: {told(response)}")
    try:
        return parse_json(response.body)
    except ValueError:
        raise ProtocolError(f"gave no answer of Consul's: {told(response)}") from None


def _entry(row: dict[str, Any]) -> _Entry:
    value, index, flags = row.get("Value"), row.get("ModifyIndex"), row.get("Flags", 0)
    if type(index) is not int or index <= 0 or type(flags) is not int or not isinstance(value, str | None):
        raise ProtocolError(f"gave no value and index: {json.dumps(row)[:200]}")
    try:
        return _Entry(b"" if value is None else base64.b64decode(value, validate=True), index, flags)
    except ValueError:
        raise ProtocolError(f"gave a value that is no base64: {json.dumps(row)[:200]}") from None


def _errors(response: Response) -> list[str]:
    """What was wrong with the operations of a transaction that was rolled back."""
    answer = _json(response)
    errors = answer.get("Errors") if isinstance(answer, dict) else None
    found = [each.get("What") if isinstance(each, dict) else None for each in errors or []]
    words = [" ".join(what.split()) for what in found if isinstance(what, str)]
    if not words or len(words) != len(found):
        raise ProtocolError(f"gave no answer of Consul's: {told(response)}")
    return words
