"""One HTTP request that changes something: sent once, never repeated, never over a connection of before.

The action `http` and the injection `http` send such requests; here is what both need: the options, what a status is
worth, and the same request for a person's shell.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import field_validator, model_validator

from opsdash.kinds.base import ActionContext, Applied
from opsdash.kinds.fetching import RequestOptions
from opsdash.kinds.sending import curl_tls, told
from opsdash.kinds.shellwords import shell_command
from opsdash.kinds.transport import Request, Response, build_request, parse_url

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

IDEMPOTENT: Final = frozenset({"PUT", "DELETE", "GET", "HEAD", "OPTIONS"})
OWN_HEADERS: Final = frozenset({"idempotency-key", "if-match"})
_OF_A_BODY: Final = frozenset({"content-type"})


class OneRequest(RequestOptions):
    """Options of a request after which nothing else is sent."""

    redirects: Literal[0] = 0
    """None are followed: where a redirect leads is not what the plan showed."""
    connection: Literal["new"] = "new"
    """Always a new one: a kept connection goes on talking to the old server after a switch."""

    @field_validator("connection", mode="before")
    @classmethod
    def _connection_is_new(cls, connection: object) -> object:
        if connection == "keep":
            raise ValueError("a kept connection goes on talking to the old server after a switch; write new")
        return connection

    @model_validator(mode="after")
    def _login_needs_no_second_request(self) -> Self:
        if self.auth is not None and self.auth.digest is not None:
            raise ValueError("`digest` sends a request twice; an action's request is sent once")
        return self


def applied_by(ok: tuple[int, ...], status: int) -> Applied:
    """What a status is worth. ok: those that mean "applied", instead of 200 to 299."""
    if status in ok or (not ok and 200 <= status < 300):
        return Applied.APPLIED
    # A gateway that ran out of patience says so with 408, too: what is behind it may have acted.
    if 400 <= status < 500 and status != HTTPStatus.REQUEST_TIMEOUT:
        return Applied.REFUSED
    return Applied.UNKNOWN


def with_headers(options: OneRequest, context: ActionContext, headers: Mapping[str, str]) -> Request:
    """The request with further headers."""
    made = options.request(context.workspace)
    return build_request(
        made.method,
        made.target,
        headers=[*made.headers, *headers.items()],
        body=made.body,
        max_body=made.max_body,
        tls=made.tls,
    )


def question(options: OneRequest, url: str, context: ActionContext) -> Request:
    """GET `url` as who the action is."""
    made = options.request(context.workspace)
    return build_request(
        "GET",
        parse_url(url),
        headers=[(name, value) for name, value in made.headers if name.lower() not in _OF_A_BODY],
        max_body=made.max_body,
        tls=made.tls,
    )


def evidence(options: OneRequest, response: Response) -> str:
    """Request and answer on one line."""
    return f"{options.method} {options.target.authority}: {told(response)}"


def curl(raw: Mapping[str, Any]) -> str:
    """The same request with curl, to be given in the workspace's folder."""
    method = str(raw.get("method", "POST"))
    words = ["curl", "--silent", "--show-error", "--fail", "--globoff"]
    words += ["--head"] if method == "HEAD" else ["--request", method]
    for name, value in raw.get("headers", {}).items():
        words += ["--header", f"{name}: {value}" if str(value) else f"{name};"]
    words += [*_curl_login(raw), *_curl_way(raw), *curl_tls(raw), *_curl_body(raw), str(raw["url"])]
    return shell_command(words)


def _curl_login(raw: Mapping[str, Any]) -> list[str]:
    auth = raw.get("auth") or {}
    if "bearer" in auth:
        return ["--header", f"Authorization: Bearer {auth['bearer']}"]
    if "basic" in auth:
        return ["--user", f"{auth['basic']['user']}:{auth['basic']['password']}"]
    return []


def _curl_way(raw: Mapping[str, Any]) -> list[str]:
    words = ["--proxy", str(raw["proxy"])] if raw.get("proxy") is not None else []
    return [*words, "--http2"] if raw.get("http2") is True else words


def _curl_body(raw: Mapping[str, Any]) -> list[str]:
    if raw.get("json") is not None:
        text = json.dumps(raw["json"], ensure_ascii=False)
        return ["--header", "Content-Type: application/json", "--data-raw", text]
    if raw.get("body") is not None:
        return ["--data-raw", str(raw["body"])]
    return [word for name, value in (raw.get("form") or {}).items() for word in ("--data-urlencode", f"{name}={value}")]
