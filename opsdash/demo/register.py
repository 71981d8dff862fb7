"""A word that is changed over HTTP with compare-and-swap: which provider sends, which mode is on.

GET gives the word and an ETag; PUT takes `If-Match` and answers 412 when somebody else was faster, 422 when
the word means nothing, 400 when it cannot be read. The ETag counts changes, so that going there and back is
seen too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.demo.web import Headers, Request, Response, json_response, refusal
from opsdash.demo.world import read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path


class Register:
    def __init__(self, path: Path, key: str, *, allowed: tuple[str, ...]) -> None:
        """The first allowed word is in force until another one was put. What was put survives a restart."""
        self._path = path
        self._key = key
        self._allowed = allowed
        self.value, self._version = self._restore()

    def get(self, _request: Request) -> Response:
        return json_response({self._key: self.value}, headers=self.etag())

    def put(self, request: Request) -> Response:
        wanted = self._wanted(request)
        if wanted is None:
            return refusal(400, f'send {{"{self._key}": NAME}}')
        if wanted not in self._allowed:
            return refusal(422, f"{self._key} must be one of {', '.join(self._allowed)}")
        if not self._matches(request.headers.get("if-match")):
            return refusal(412, f"{self._key} is {self.value} by now", headers=self.etag())
        if wanted != self.value:
            self.value, self._version = wanted, self._version + 1
            write_json(self._path, {self._key: self.value, "version": self._version})
        return self.get(request)

    def _wanted(self, request: Request) -> str | None:
        content = request.json()
        word = content.get(self._key) if isinstance(content, dict) else None
        return word if isinstance(word, str) else None

    def _matches(self, condition: str | None) -> bool:
        if condition is None or condition.strip() == "*":
            return True
        return f'"{self._version}"' in (tag.strip() for tag in condition.split(","))

    def etag(self) -> Headers:
        return (("ETag", f'"{self._version}"'),)

    def _restore(self) -> tuple[str, int]:
        match read_json(self._path):
            case {"version": int(version), **rest} if rest.get(self._key) in self._allowed:
                return str(rest[self._key]), version
            case _:
                return self._allowed[0], 1
