"""One HTTP request that breaks something, and one that takes it back.

    inject: {http: {method: PUT, url: "https://faults.internal/mail", json: {broken: true}}}
    undo:
      http: {method: PUT, url: "https://faults.internal/mail", json: {broken: false}, gone_url: "https://…/mail/healthy"}

What an answer is worth is as with the action `http`: 2xx (or a status listed under `ok`) is done, 4xx changed nothing,
all else leaves it open. The undo is sent again until it works, so it must accept that; each of its requests carries the
same `Idempotency-Key`.

`gone_url` belongs to the undo: it is asked with GET, and answers with 2xx when the fault is gone, with 4xx when it is
still there. Without it nobody knows but the drill's own checks. The undo lives in the guard process: when this host
loses its power, the fault stays.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator

from opsdash.kinds.base import ActionResult, Preflight
from opsdash.kinds.failures import FAILURES, explain
from opsdash.kinds.fetching import Method
from opsdash.kinds.injecting import Gone, InjectionContext, InjectionKind
from opsdash.kinds.onerequest import OneRequest, applied_by, curl, evidence, question, with_headers
from opsdash.kinds.sending import Sender, patience, phrase
from opsdash.kinds.transport import parse_url

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Options(OneRequest):
    method: Method = "POST"
    """The HTTP method."""

    ok: tuple[Annotated[int, Field(ge=200, le=599)], ...] = ()
    """Statuses that mean "done", instead of 200 to 299."""

    gone_url: str | None = None
    """Of an undo: what is asked with GET, and answers with 2xx when the fault is gone, with 4xx when it is not."""

    @field_validator("gone_url")
    @classmethod
    def _gone_url_is_one(cls, url: str | None) -> str | None:
        if url is not None:
            parse_url(url)
        return url


async def preflight(options: Options, context: InjectionContext) -> Preflight:
    """Whether somebody answers there; what the answer to a GET means for a PUT or POST, nobody knows."""
    try:
        response = await options.way().send(question(options, options.url, context), context)
    except FAILURES as error:
        return Preflight(passed=False, detail=f"{options.target.authority}: {explain(error)[2]}")
    words = f"GET {options.target.authority}: {response.status} {phrase(response.status)}"
    return Preflight(passed=response.status not in {401, 403, 407}, detail=words)


async def inject(options: Options, context: InjectionContext) -> ActionResult:
    return await _send(options, context, f"{context.action_id}:inject")


async def undo(options: Options, context: InjectionContext) -> ActionResult:
    return await _send(options, context, f"{context.action_id}:undo")


async def verify_undone(options: Options, context: InjectionContext) -> Gone:
    if options.gone_url is None:
        return None, "no `gone_url` is written, so only the drill's checks can tell"
    where = parse_url(options.gone_url).authority
    try:
        response = await options.way().send(question(options, options.gone_url, context), context)
    except FAILURES as error:
        return None, f"{where}: {explain(error)[2]}"
    gone = True if 200 <= response.status < 300 else False if 400 <= response.status < 500 else None
    return gone, f"GET {where}: {response.status} {phrase(response.status)}"


async def _send(options: Options, context: InjectionContext, key: str) -> ActionResult:
    sender = Sender(context)
    try:
        async with asyncio.timeout(patience(context)) as limit:
            headers = {"Idempotency-Key": key}
            response = await options.way().send(with_headers(options, context, headers), sender)
    except FAILURES as error:
        words = "no answer in time" if limit.expired() else explain(error)[2]
        return sender.unanswered(options.target.authority, words)
    return ActionResult(applied_by(options.ok, response.status), evidence(options, response))


def manual(raw: Mapping[str, Any]) -> str:
    """The same request with curl, to be given in the workspace's folder."""
    return curl(raw)


KIND = InjectionKind(
    name="http",
    summary="an HTTP request that breaks something, and one that takes it back",
    options=Options,
    preflight=preflight,
    inject=inject,
    undo=undo,
    verify_undone=verify_undone,
    manual=manual,
)
