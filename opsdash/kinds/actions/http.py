"""One HTTP request that switches, sent once and never repeated.

    read:   {kind: http, url: "https://mailer.internal/provider", value: json.provider}
    action:
      {kind: http, method: PUT, url: "https://mailer.internal/provider", json: {provider: "{to.as}"}, if_match: true}

What the answer is worth: a 2xx (or a status listed under `ok`) is `applied`, which says nothing yet of the effect.
4xx is `refused`: nothing was changed. If no connection came about, nothing was sent. All else is `unknown`: no answer
in time, a connection that broke after sending, 5xx, a redirect. opsdash then looks at the facts; it does not try again.

Every request carries the id of the action as `Idempotency-Key`. With `if_match` it carries the ETag of what the
plan was made for, and a server that keeps its contract answers 412 when somebody else was faster.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from opsdash.kinds.base import ActionContext, ActionKind, ActionResult, Applied, Preflight, Reading
from opsdash.kinds.failures import FAILURES, explain
from opsdash.kinds.fetching import Method, RequestOptions, json_of, response_values
from opsdash.kinds.paths import DottedPath, lookup
from opsdash.kinds.scalars import scalar_text
from opsdash.kinds.sending import Sender, curl_tls, excerpt, patience, phrase, told
from opsdash.kinds.shellwords import shell_command
from opsdash.kinds.transport import Request, Response, build_request, parse_url
from opsdash.model.operation import Abilities

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

_IDEMPOTENT: Final = frozenset({"PUT", "DELETE", "GET", "HEAD", "OPTIONS"})
_OWN: Final = frozenset({"idempotency-key", "if-match"})
_OF_A_BODY: Final = frozenset({"content-type"})


class _OneRequest(RequestOptions):
    """A request after which nothing else is sent."""

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


class ReadOptions(_OneRequest):
    method: Literal["GET"] = "GET"
    """Reading changes nothing."""

    value: DottedPath
    """Where in the answer the name of what is in force stands, such as `json.provider`."""


class Options(_OneRequest):
    method: Method = "POST"
    """The HTTP method."""

    ok: tuple[Annotated[int, Field(ge=200, le=599)], ...] = ()
    """Statuses that mean "applied", instead of 200 to 299."""

    if_match: bool = False
    """Whether to send the ETag of what the plan was made for, so that the server refuses (412) if that has changed."""

    check_url: str | None = None
    """What the preflight asks with GET instead of `url`."""

    @field_validator("check_url")
    @classmethod
    def _check_url_is_one(cls, url: str | None) -> str | None:
        if url is not None:
            parse_url(url)
        return url

    @model_validator(mode="after")
    def _own_headers_are_free(self) -> Self:
        taken = sorted(name for name in self.headers if name.lower() in _OWN)
        if taken:
            raise ValueError(f"the header {taken[0]} is set by opsdash itself (see `if_match`); remove it")
        return self


async def apply(options: Options, context: ActionContext) -> ActionResult:
    """Send it once. What is known of a failure depends on whether anything had been sent."""
    sender = Sender(context)
    try:
        async with asyncio.timeout(patience(context)) as limit:
            headers = {"Idempotency-Key": context.action_id}
            if options.if_match:
                version = context.expected_version or await _present_version(options, context)
                if version is None:
                    detail = f"{options.target.authority} gives no ETag, so `if_match` cannot hold; nothing was sent"
                    return ActionResult(Applied.REFUSED, detail)
                headers["If-Match"] = version
            response = await options.way().send(_with_headers(options, context, headers), sender)
    except FAILURES as error:
        words = "no answer in time" if limit.expired() else explain(error)[2]
        return sender.unanswered(options.target.authority, words)
    except ValueError as error:  # the version cannot be a header
        return ActionResult(Applied.REFUSED, f"nothing was sent: {error}")
    return ActionResult(_applied(options, response.status), _evidence(options, response), None, response.header("etag"))


def _applied(options: Options, status: int) -> Applied:
    if status in options.ok or (not options.ok and 200 <= status < 300):
        return Applied.APPLIED
    # A gateway that ran out of patience says so with 408, too: what is behind it may have acted.
    if 400 <= status < 500 and status != HTTPStatus.REQUEST_TIMEOUT:
        return Applied.REFUSED
    return Applied.UNKNOWN


async def _present_version(options: Options, context: ActionContext) -> str | None:
    """The ETag now: it guards from here on, not from the plan on, which only `read` can."""
    response = await options.way().send(_question(options, options.url, context), context)
    return response.header("etag") if response.status < HTTPStatus.MULTIPLE_CHOICES else None


async def read(options: ReadOptions, context: ActionContext) -> Reading:
    try:
        response = await options.way().send(options.request(context.workspace), context)
    except FAILURES as error:
        return Reading(value=None, detail=f"{options.target.authority}: {explain(error)[2]}")
    version = response.header("etag")
    if not 200 <= response.status < 300:
        return Reading(value=None, detail=_evidence(options, response))
    try:
        value = scalar_text(lookup(await _values(response, context), options.value))
    except KeyError as error:
        return Reading(value=None, version=version, detail=f"the answer has no {error.args[0]}: {excerpt(response)}")
    except ValueError as error:
        return Reading(value=None, version=version, detail=f"{options.value} {error}: {excerpt(response)}")
    return Reading(value=value.strip(), version=version)


async def _values(response: Response, context: ActionContext) -> dict[str, Any]:
    values = response_values(response, context.wall)
    try:
        values["json"] = await json_of(response)
    except ValueError:
        return values  # a path that begins with `json` then leads nowhere, and says so
    return values


async def preflight(options: Options, context: ActionContext) -> Preflight:
    """Whether the place answers and lets us in. It is asked with GET, which many a place for PUT or POST is not for."""
    url = options.check_url or options.url
    try:
        response = await options.way().send(_question(options, url, context), context)
    except FAILURES as error:
        return Preflight(passed=False, detail=f"{parse_url(url).authority}: {explain(error)[2]}")
    return Preflight(
        passed=_admits(response.status, asked_for=options.check_url is not None),
        detail=f"GET {parse_url(url).authority}: {response.status} {phrase(response.status)}",
    )


def _admits(status: int, *, asked_for: bool) -> bool | None:
    """None: what answers GET like this may well take a PUT or POST, or may not."""
    if status in {401, 403, 407} or status >= 500:
        return False
    if status < 300:
        return True
    if status == HTTPStatus.METHOD_NOT_ALLOWED and not asked_for:
        return True
    return False if asked_for and status != HTTPStatus.TOO_MANY_REQUESTS else None


# --- requests ----------------------------------------------------------------------------------------------------


def _with_headers(options: Options, context: ActionContext, headers: Mapping[str, str]) -> Request:
    made = options.request(context.workspace)
    return build_request(
        made.method,
        made.target,
        headers=[*made.headers, *headers.items()],
        body=made.body,
        max_body=made.max_body,
        tls=made.tls,
    )


def _question(options: Options, url: str, context: ActionContext) -> Request:
    """GET `url` as who the action is."""
    made = options.request(context.workspace)
    return build_request(
        "GET",
        parse_url(url),
        headers=[(name, value) for name, value in made.headers if name.lower() not in _OF_A_BODY],
        max_body=made.max_body,
        tls=made.tls,
    )


def _evidence(options: RequestOptions, response: Response) -> str:
    return f"{options.method} {options.target.authority}: {told(response)}"


# --- for people --------------------------------------------------------------------------------------------------


def manual(raw: Mapping[str, Any]) -> str:
    """The same request with curl, to be given in the workspace's folder."""
    method = str(raw.get("method", "POST"))
    words = ["curl", "--silent", "--show-error", "--fail", "--globoff"]
    words += ["--head"] if method == "HEAD" else ["--request", method]
    for name, value in raw.get("headers", {}).items():
        words += ["--header", f"{name}: {value}" if str(value) else f"{name};"]
    words += [*_manual_login(raw), *_manual_way(raw), *curl_tls(raw), *_manual_body(raw), str(raw["url"])]
    return shell_command(words)


def _manual_login(raw: Mapping[str, Any]) -> list[str]:
    auth = raw.get("auth") or {}
    if "bearer" in auth:
        return ["--header", f"Authorization: Bearer {auth['bearer']}"]
    if "basic" in auth:
        return ["--user", f"{auth['basic']['user']}:{auth['basic']['password']}"]
    return []


def _manual_way(raw: Mapping[str, Any]) -> list[str]:
    words = ["--proxy", str(raw["proxy"])] if raw.get("proxy") is not None else []
    return [*words, "--http2"] if raw.get("http2") is True else words


def _manual_body(raw: Mapping[str, Any]) -> list[str]:
    if raw.get("json") is not None:
        text = json.dumps(raw["json"], ensure_ascii=False)
        return ["--header", "Content-Type: application/json", "--data-raw", text]
    if raw.get("body") is not None:
        return ["--data-raw", str(raw["body"])]
    return [word for name, value in (raw.get("form") or {}).items() for word in ("--data-urlencode", f"{name}={value}")]


def refine(options: Options) -> Abilities:
    return Abilities(cas=options.if_match, idempotent=options.method in _IDEMPOTENT, read_back=True)


KIND = ActionKind(
    name="http",
    summary="an HTTP request, sent once",
    options=Options,
    identity=("url",),
    abilities=Abilities(read_back=True),
    apply=apply,
    preflight=preflight,
    manual=manual,
    read_options=ReadOptions,
    read=read,
    refine=refine,
)
