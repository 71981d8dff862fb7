"""Several addresses of one service: whichever answers is asked, and a change goes to one of them, once.

A question harms nobody, so an endpoint that is dead, or talks nonsense, is passed over for the next. A change goes on
to the next endpoint only as long as nothing of it has been sent. Each endpoint gets its share of the time that is
left, so that one which accepts connections and then says nothing leaves something for the others; once a change is on
its way, all of the rest is its.
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

from pydantic import AfterValidator, Field, model_validator

from opsdash.errors import OpsdashError
from opsdash.kinds.base import ActionResult, Applied, StrictOptions
from opsdash.kinds.failures import FAILURES, RejectedError, explain
from opsdash.kinds.sending import Sender
from opsdash.kinds.tls import TlsSettings
from opsdash.kinds.transport import build_request, fetch, parse_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from typing import Self

    from opsdash.kinds.base import ActionContext
    from opsdash.kinds.transport import Caller, Request, Response

T = TypeVar("T")

MAX_ANSWER: Final = 64 * 1024
"""Bytes of an answer that are read."""


class NobodyAnsweredError(OpsdashError):
    """None of several endpoints gave an answer that can be used; the words say why for each."""


def _endpoint(url: str) -> str:
    parse_url(url)
    if "?" in url or "#" in url:
        raise ValueError(f"{url!r} has a query or a fragment; an endpoint is https://host:port")
    return url.rstrip("/")


class EndpointOptions(StrictOptions):
    """Where a service is, and how to meet it."""

    endpoints: Annotated[tuple[Annotated[str, AfterValidator(_endpoint)], ...], Field(min_length=1, max_length=16)]
    """URLs of the service's members, such as `https://host:port`, tried in this order."""
    verify_tls: bool = True
    """Whether a member's certificate must be trusted and carry its name."""
    ca: Path | None = None
    """File with the certificate authorities to trust instead of the system's, relative to the workspace."""
    client_cert: Path | None = None
    """File with our own certificate, where the service asks for one."""
    client_key: Path | None = None
    """File with its key, where that is not in the same file."""

    @model_validator(mode="after")
    def _a_key_belongs_to_a_certificate(self) -> Self:
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("`client_key` without `client_cert`")
        return self

    def tls(self, workspace: Path) -> TlsSettings:
        """How to meet a member."""
        ca, certificate, key = (
            None if path is None else str(workspace / path) for path in (self.ca, self.client_cert, self.client_key)
        )
        return TlsSettings(verify=self.verify_tls, ca=ca, certificate=certificate, key=key)


def request_to(
    endpoint: str,
    path: str,
    *,
    method: str,
    tls: TlsSettings,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
) -> Request:
    """A request to a member, whose answer is small."""
    target = parse_url(endpoint + path)
    return build_request(method, target, headers=headers, body=body, max_body=MAX_ANSWER, tls=tls)


def authority(endpoint: str) -> str:
    """Host and port, as they are shown."""
    return parse_url(endpoint).authority


async def ask_in_turn(
    endpoints: Sequence[str], until: float, caller: Caller, question: Callable[[str], Awaitable[T]]
) -> T:
    """What the first endpoint says that answers `question`. until: of the loop's clock, for all of them.

    Raises RejectedError, since another member of the service would say the same, and NobodyAnsweredError.
    """
    failures: list[str] = []
    for number, endpoint in enumerate(endpoints):
        try:
            async with asyncio.timeout(_share(until, len(endpoints) - number)) as limit:
                return await question(endpoint)
        except RejectedError as error:
            raise RejectedError(f"{authority(endpoint)}: {error}") from error
        except FAILURES as error:
            failures.append(f"{authority(endpoint)}: {_words(error, caller, late=limit.expired())}")
    raise NobodyAnsweredError("; ".join(failures))


async def ask_all(
    endpoints: Sequence[str], until: float, caller: Caller, question: Callable[[str], Awaitable[None]]
) -> dict[str, str]:
    """For each endpoint, asked at the same time, why it is of no use; empty for one that is."""

    async def ask(endpoint: str) -> str:
        try:
            async with asyncio.timeout(_share(until, 1)) as limit:
                await question(endpoint)
        except FAILURES as error:
            return f"{authority(endpoint)}: {_words(error, caller, late=limit.expired(), with_stage=False)}"
        return ""

    return dict(zip(endpoints, await asyncio.gather(*map(ask, endpoints)), strict=True))


async def send_once(
    endpoints: Sequence[str], until: float, context: ActionContext, change: Callable[[str], Request]
) -> tuple[str, Response] | ActionResult:
    """The endpoint that a change was sent to, and its answer; or what is known, where there is no answer."""
    failures: list[str] = []
    for number, endpoint in enumerate(endpoints):
        try:
            async with asyncio.timeout(_share(until, len(endpoints) - number)) as limit:
                # Rescheduling fails where the time was up in this very moment, and then nothing is sent.
                sender = Sender(context, before=partial(limit.reschedule, until))
                return endpoint, await fetch(change(endpoint), sender)
        except FAILURES as error:
            if sender.sent:
                words = "no answer in time" if limit.expired() else explain(error)[2]
                return sender.unanswered(authority(endpoint), words)
            failures.append(f"{authority(endpoint)}: {_words(error, context, late=limit.expired())}")
    return ActionResult(Applied.NOT_STARTED, f"{'; '.join(failures)}; nothing was sent")


def _share(until: float, count: int) -> float:
    return max(0.0, until - asyncio.get_running_loop().time()) / count


def _words(error: BaseException, caller: Caller, *, late: bool, with_stage: bool = True) -> str:
    if not late:
        return explain(error)[2]
    return f"no answer in time ({caller.stage})" if with_stage else "no answer in time"
