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
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from opsdash.kinds.base import ActionContext, ActionKind, ActionResult, Applied, Preflight, Reading
from opsdash.kinds.failures import FAILURES, explain
from opsdash.kinds.fetching import Method, json_of, response_values
from opsdash.kinds.onerequest import (
    IDEMPOTENT,
    OWN_HEADERS,
    OneRequest,
    applied_by,
    curl,
    evidence,
    question,
    with_headers,
)
from opsdash.kinds.paths import DottedPath, lookup
from opsdash.kinds.scalars import scalar_text
from opsdash.kinds.sending import Sender, excerpt, patience, phrase
from opsdash.kinds.transport import Response, parse_url
from opsdash.model.operation import Abilities

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self


class ReadOptions(OneRequest):
    method: Literal["GET"] = "GET"
    """Reading changes nothing."""

    value: DottedPath
    """Where in the answer the name of what is in force stands, such as `json.provider`."""


class Options(OneRequest):
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
        taken = sorted(name for name in self.headers if name.lower() in OWN_HEADERS)
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
            response = await options.way().send(with_headers(options, context, headers), sender)
    except FAILURES as error:
        words = "no answer in time" if limit.expired() else explain(error)[2]
        return sender.unanswered(options.target.authority, words)
    except ValueError as error:  # the version cannot be a header
        return ActionResult(Applied.REFUSED, f"nothing was sent: {error}")
    return ActionResult(
        applied_by(options.ok, response.status), evidence(options, response), None, response.header("etag")
    )


async def _present_version(options: Options, context: ActionContext) -> str | None:
    """The ETag now: it guards from here on, not from the plan on, which only `read` can."""
    response = await options.way().send(question(options, options.url, context), context)
    return response.header("etag") if response.status < HTTPStatus.MULTIPLE_CHOICES else None


async def read(options: ReadOptions, context: ActionContext) -> Reading:
    try:
        response = await options.way().send(options.request(context.workspace), context)
    except FAILURES as error:
        return Reading(value=None, detail=f"{options.target.authority}: {explain(error)[2]}")
    version = response.header("etag")
    if not 200 <= response.status < 300:
        return Reading(value=None, detail=evidence(options, response))
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
        response = await options.way().send(question(options, url, context), context)
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


# --- for people --------------------------------------------------------------------------------------------------


def manual(raw: Mapping[str, Any]) -> str:
    """The same request with curl, to be given in the workspace's folder."""
    return curl(raw)


def refine(options: Options) -> Abilities:
    return Abilities(cas=options.if_match, idempotent=options.method in IDEMPOTENT, read_back=True)


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
