"""A fault in Toxiproxy, through its HTTP interface: a toxic added to a proxy, or the proxy switched off.

    inject: {toxiproxy: {proxy: db, toxic: latency, attributes: {latency: 2000, jitter: 500}}}
    inject: {toxiproxy: {proxy: db, toxic: down}}

The traffic has to go through Toxiproxy already. Its interface knows no login, so it belongs on loopback. The toxic has
a name of its own, by which it is taken away again; so no `undo` has to be written, and other people's toxics stay.

A toxic never ends by itself: when this host loses its power and Toxiproxy runs on another, the fault stays until
somebody takes it away. When Toxiproxy is restarted, all toxics are gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import quote

from pydantic import Field, StringConstraints, field_validator

from opsdash.kinds.base import ActionResult, Applied, Preflight, StrictOptions
from opsdash.kinds.failures import FAILURES, ProtocolError, explain
from opsdash.kinds.injecting import Gone, InjectionContext, InjectionKind
from opsdash.kinds.sending import Sender, patience, told
from opsdash.kinds.shellwords import shell_command
from opsdash.kinds.transport import build_request, fetch, parse_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opsdash.kinds.transport import Caller, Response

TOXIC: Final = "opsdash-drill"
"""The name of the toxic that a drill adds."""

API: Final = "http://127.0.0.1:8474"
_JSON: Final = [("Content-Type", "application/json")]

Toxic = Literal[
    "down", "latency", "bandwidth", "slow_close", "timeout", "reset_peer", "slicer", "limit_data",
]  # fmt: skip


class Options(StrictOptions):
    api: str = API
    """Toxiproxy's HTTP interface."""

    proxy: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """The proxy, by the name it has in Toxiproxy."""

    toxic: Toxic = "timeout"
    """The type of the toxic; `down` switches the whole proxy off, so that connections are refused."""

    attributes: dict[str, int | float] = Field(default_factory=dict)
    """The toxic's own settings, such as `latency` in milliseconds, `rate` in KB/s."""

    stream: Literal["downstream", "upstream"] = "downstream"
    """Which way is concerned: from the server to the client, or from the client to the server."""

    toxicity: float = Field(default=1.0, gt=0, le=1)
    """The share of the connections that are concerned."""

    @field_validator("api")
    @classmethod
    def _api_is_an_address(cls, api: str) -> str:
        parse_url(api)
        return api.rstrip("/")


async def preflight(options: Options, context: InjectionContext) -> Preflight:
    """Whether the proxy is there, switched on, and without a toxic of ours."""
    try:
        proxy = await _look(options, context)
    except FAILURES as error:
        return Preflight(passed=False, detail=f"{_where(options)}: {explain(error)[2]}")
    if not proxy["enabled"]:
        return Preflight(False, f"the proxy {options.proxy} is switched off already, which is not the drill's to undo")
    if proxy["ours"]:
        return Preflight(False, f"the proxy {options.proxy} has a toxic {TOXIC} already; take it away first")
    return Preflight(True, f"the proxy {options.proxy} passes traffic")


async def inject(options: Options, context: InjectionContext) -> ActionResult:
    if options.toxic == "down":
        return await _send(options, context, "POST", "", {"enabled": False})
    toxic = {
        "name": TOXIC,
        "type": options.toxic,
        "stream": options.stream,
        "toxicity": options.toxicity,
        "attributes": options.attributes,
    }
    return await _send(options, context, "POST", "/toxics", toxic)


async def undo(options: Options, context: InjectionContext) -> ActionResult:
    if options.toxic == "down":
        return await _send(options, context, "POST", "", {"enabled": True})
    return await _send(options, context, "DELETE", f"/toxics/{TOXIC}", None)


async def verify_undone(options: Options, context: InjectionContext) -> Gone:
    try:
        proxy = await _look(options, context)
    except FAILURES as error:
        return None, f"{_where(options)}: {explain(error)[2]}"
    if options.toxic == "down":
        return proxy["enabled"], f"the proxy {options.proxy} is switched {'on' if proxy['enabled'] else 'off'}"
    has = proxy["ours"]
    return not has, f"the proxy {options.proxy} has {'still the' if has else 'no'} toxic {TOXIC}"


async def _look(options: Options, context: InjectionContext) -> Mapping[str, bool]:
    """Whether the proxy is `enabled`, and has the toxic of `ours`. Raises OSError or OpsdashError."""
    response = await _ask(options, context, "GET", "", None)
    if response.status == HTTPStatus.NOT_FOUND:
        raise ProtocolError(f"there is no proxy {options.proxy}")
    with contextlib.suppress(ValueError, KeyError, TypeError):
        proxy = json.loads(response.body)
        if response.status == HTTPStatus.OK and isinstance(proxy["enabled"], bool):
            return {"enabled": proxy["enabled"], "ours": any(toxic["name"] == TOXIC for toxic in proxy["toxics"])}
    raise ProtocolError(f"does not answer like Toxiproxy: {told(response)}")


async def _send(
    options: Options, context: InjectionContext, method: str, path: str, value: Mapping[str, Any] | None
) -> ActionResult:
    sender = Sender(context)
    try:
        async with asyncio.timeout(patience(context)) as limit:
            response = await _ask(options, sender, method, path, value)
    except FAILURES as error:
        words = "no answer in time" if limit.expired() else explain(error)[2]
        return sender.unanswered(_where(options), words)
    words = f"{method} {_where(options)}: {told(response)}"
    if 200 <= response.status < 300 or (method == "DELETE" and response.status == HTTPStatus.NOT_FOUND):
        return ActionResult(Applied.APPLIED, words)
    return ActionResult(Applied.REFUSED if response.status < 500 else Applied.UNKNOWN, words)


async def _ask(options: Options, caller: Caller, method: str, path: str, value: Mapping[str, Any] | None) -> Response:
    target = parse_url(f"{options.api}/proxies/{quote(options.proxy, safe='')}{path}")
    body = b"" if value is None else json.dumps(value).encode()
    return await fetch(build_request(method, target, headers=_JSON if body else [], body=body), caller)


def _where(options: Options) -> str:
    return parse_url(options.api).authority


def manual(raw: Mapping[str, Any]) -> str:
    """The undo with curl."""
    url = f"{str(raw.get('api', API)).rstrip('/')}/proxies/{quote(str(raw['proxy']), safe='')}"
    words = ["curl", "--silent", "--show-error", "--fail", "--request"]
    if raw.get("toxic") == "down":
        return shell_command([*words, "POST", "--data", '{"enabled": true}', url])
    return shell_command([*words, "DELETE", f"{url}/toxics/{TOXIC}"])


KIND = InjectionKind(
    name="toxiproxy",
    summary="a toxic in Toxiproxy, or one of its proxies switched off",
    options=Options,
    preflight=preflight,
    inject=inject,
    undo=undo,
    verify_undone=verify_undone,
    manual=manual,
    knows_way_back=True,
    needs="a running Toxiproxy through which the traffic goes",
)
