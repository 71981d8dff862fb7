"""A fault in opsdash's own proxy, which stands between a client and its server and passes traffic unchanged until then.

    opsdash faultproxy --listen 127.0.0.1:15432 --to db1:5432 --control /run/faults/db.sock      (runs all the time)

    inject: {fault_proxy: {control: /run/faults/db.sock, mode: hang}}

The fault ends in the proxy by itself after the drill's limit, whether opsdash, its guard or this host still run or not,
as long as the proxy does. The way back is to pass traffic again, so no `undo` has to be written. A proxy that has a
fault already is none of the drill's business: nothing is then armed or injected.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from pydantic import Field

from opsdash.kinds.base import ActionResult, Applied, Preflight, StrictOptions
from opsdash.kinds.failures import FAILURES, ProtocolError, explain
from opsdash.kinds.faultproxy import Mode
from opsdash.kinds.fields import Duration
from opsdash.kinds.injecting import Gone, InjectionContext, InjectionKind
from opsdash.kinds.sending import patience
from opsdash.kinds.shellwords import shell_command
from opsdash.kinds.streams import connected_to_path
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping


class Options(StrictOptions):
    control: str = Field(min_length=1)
    """The proxy's control socket; a relative path starts at the workspace."""

    mode: Mode = Mode.HANG
    """`refuse`, `reset`, `hang`, `delay`, `drip` or `garbage`."""

    delay: Duration = Field(default=1.0, gt=0, le=3600)
    """With `delay`: how long each piece is held back, in each direction. With `drip`: the time between two bytes."""


async def preflight(options: Options, context: InjectionContext) -> Preflight:
    """Whether the proxy answers and passes traffic."""
    try:
        state = await _ask(options, context, {})
    except FAILURES as error:
        return Preflight(passed=False, detail=f"{options.control}: {_why(error)}")
    if state["mode"] != Mode.PASS:
        return Preflight(False, f"the proxy has the fault {state['mode']} already; let it pass first")
    return Preflight(True, "the proxy passes traffic")


async def inject(options: Options, context: InjectionContext) -> ActionResult:
    request = {"mode": options.mode.value, "for": context.limit, "delay": options.delay}
    return await _tell(options, context, request)


async def undo(options: Options, context: InjectionContext) -> ActionResult:
    return await _tell(options, context, {"mode": Mode.PASS.value})


async def verify_undone(options: Options, context: InjectionContext) -> Gone:
    try:
        state = await _ask(options, context, {})
    except FAILURES as error:
        return None, f"{options.control}: {_why(error)}"
    return state["mode"] == Mode.PASS, _in_words(state)


async def _tell(options: Options, context: InjectionContext, request: Mapping[str, Any]) -> ActionResult:
    sent = False

    def about_to_send() -> None:
        nonlocal sent
        sent = True
        context.on_sent()

    try:
        async with asyncio.timeout(patience(context)) as limit:
            state = await _ask(options, context, request, about_to_send)
    except FAILURES as error:
        words = "no answer in time" if limit.expired() else _why(error)
        return ActionResult(Applied.UNKNOWN if sent else Applied.NOT_STARTED, f"{options.control}: {words}")
    done = state["mode"] == request["mode"]
    return ActionResult(Applied.APPLIED if done else Applied.REFUSED, _in_words(state))


async def _ask(
    options: Options, context: InjectionContext, request: Mapping[str, Any], about_to_send: Any = lambda: None
) -> Mapping[str, Any]:
    """One line to the proxy and its answer. Raises OSError or ProtocolError."""
    async with connected_to_path(str(context.workspace / options.control), context) as stream:
        about_to_send()
        await stream.write(json.dumps(request).encode() + b"\n")
        line = await stream.read_line()
    try:
        state = json.loads(line)
        mode = Mode(state["mode"])
    except (ValueError, KeyError, TypeError):
        raise ProtocolError("does not answer like a fault proxy of opsdash") from None
    if state.get("error"):
        raise ProtocolError(str(state["error"])[:200])
    return {**state, "mode": mode}


def _in_words(state: Mapping[str, Any]) -> str:
    if state["mode"] == Mode.PASS:
        return "the proxy passes traffic"
    left = state.get("left")
    return f"the proxy has the fault {state['mode']}" + (
        f", which ends by itself within {format_duration(left)}" if isinstance(left, int | float) else ""
    )


def _why(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such socket; is the proxy running (opsdash faultproxy)?"
    if isinstance(error, PermissionError):
        return "this account may not use the socket"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there; is the proxy running (opsdash faultproxy)?"
    return explain(error)[2]


def manual(raw: Mapping[str, Any]) -> str:
    """The undo by hand, to be given in the workspace's folder."""
    return shell_command(["opsdash", "faultproxy", "--control", str(raw["control"]), "--pass"])


def way_back(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Which proxy it is; what mode it had is of no matter."""
    return {"control": raw["control"]}


KIND = InjectionKind(
    name="fault_proxy",
    summary="a fault in opsdash's own proxy: refuse, reset, hang, delay, drip or garbage",
    options=Options,
    preflight=preflight,
    inject=inject,
    undo=undo,
    verify_undone=verify_undone,
    manual=manual,
    knows_way_back=True,
    expires_on_target=True,
    needs="`opsdash faultproxy` between the client and its server",
    way_back=way_back,
)
