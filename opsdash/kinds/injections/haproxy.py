"""A server of a HAProxy backend put into maint (or drain), as a person would do it on the runtime socket.

    inject: {haproxy: {socket: /run/haproxy/admin.sock, backend: shop, server: primary}}

New requests go to the other servers at once. The way back is `state ready`, so no `undo` has to be written. A server
that is in maint already is none of the drill's business: nothing is then armed or injected.

An empty answer only means that the command was understood, so the state is read back each time. HAProxy forgets maint
when it is restarted or reloaded (unless the state of its servers is kept), and never by itself: when this host loses
its power, the fault stays until somebody puts the server to ready. The socket needs level admin.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import StringConstraints, field_validator

from opsdash.kinds.base import ActionResult, Applied, Preflight, StrictOptions
from opsdash.kinds.failures import FAILURES, RejectedError
from opsdash.kinds.haproxy import NAME, Place, ask, excerpt, look, parse_place, why
from opsdash.kinds.injecting import Gone, InjectionContext, InjectionKind
from opsdash.kinds.sending import patience
from opsdash.kinds.shellwords import shell_command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opsdash.kinds.haproxy import Server

Name = Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")]


class Options(StrictOptions):
    socket: str
    """HAProxy's stats socket: a path (a relative one starts at the workspace), or HOST:PORT."""

    backend: Name
    """The backend."""

    server: Name
    """The server of it that gets no traffic any more."""

    state: Literal["maint", "drain", "ready"] = "maint"
    """`maint` (no traffic, no checks) or `drain` (no new traffic, its check goes on); `ready` is the way back."""

    @field_validator("socket")
    @classmethod
    def _socket_is_a_place(cls, socket: str) -> str:
        parse_place(socket)
        return socket

    @property
    def place(self) -> Place:
        """Where to connect to."""
        return parse_place(self.socket)


async def preflight(options: Options, context: InjectionContext) -> Preflight:
    """Whether the socket permits it, and the server is ready now. For an undo: whether it permits it."""
    try:
        async with asyncio.timeout(patience(context)) as limit:
            server = await _server(options, context)
            level = (await ask(options.place, "show cli level", context, context.workspace)).strip()
    except FAILURES as error:
        words = "no answer in time" if limit.expired() else why(error)
        credentials = False if isinstance(error, PermissionError | RejectedError) else None
        return Preflight(passed=False, detail=f"{options.socket}: {words}", credentials=credentials)
    if level in {"operator", "user"}:
        return Preflight(False, f"{options.socket} is of level {level}; this needs level admin", credentials=False)
    if options.state != "ready" and not server.is_ready:
        return Preflight(False, f"{server.name} is in {server.state} already, which is not the drill's to take back")
    return Preflight(True, f"{server.name} is {server}", credentials=True if level == "admin" else None)


async def inject(options: Options, context: InjectionContext) -> ActionResult:
    return await _put(options, context)


async def undo(options: Options, context: InjectionContext) -> ActionResult:
    return await _put(options, context)


async def verify_undone(options: Options, context: InjectionContext) -> Gone:
    try:
        server = await _server(options, context)
    except FAILURES as error:
        return None, f"{options.socket}: {why(error)}"
    return server.state == options.state, f"{server.name} is {server}"


async def _put(options: Options, context: InjectionContext) -> ActionResult:
    """Set the state and read it back. What HAProxy answers is only worth being told."""
    sent = False

    def about_to_send() -> None:
        nonlocal sent
        sent = True
        context.on_sent()

    command = f"set server {options.backend}/{options.server} state {options.state}"
    try:
        async with asyncio.timeout(patience(context)) as limit:
            if (await _server(options, context)).state == options.state:
                return ActionResult(Applied.APPLIED, f"{options.server} is in {options.state} already")
            answer = await ask(options.place, command, context, context.workspace, about_to_send=about_to_send)
            server = await _server(options, context)
    except FAILURES as error:
        words = "no answer in time" if limit.expired() else why(error)
        applied = Applied.UNKNOWN if sent else Applied.NOT_STARTED
        return ActionResult(applied, f"{options.socket}: {words}{'' if sent else '; nothing was sent'}")
    if server.state == options.state:
        return ActionResult(Applied.APPLIED, f"{server.name} is {server}")
    said = f"`{command}` was answered by: {excerpt(answer)}" if answer.strip() else f"`{command}` had no effect"
    return ActionResult(Applied.REFUSED, f"{said}; {server.name} is {server}")


async def _server(options: Options, context: InjectionContext) -> Server:
    return (await look(options.place, options.backend, context, context.workspace))[options.server]


def way_back(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same server, ready."""
    return {**raw, "state": "ready"}


def manual(raw: Mapping[str, Any]) -> str:
    """The same with socat, to be given in the workspace's folder."""
    place = parse_place(str(raw["socket"]))
    to = f"UNIX-CONNECT:{place.host}" if place.port is None else f"TCP:{place.shown}"
    command = f"set server {raw['backend']}/{raw['server']} state {raw.get('state', 'maint')}"
    return f"{shell_command(['echo', command])} | {shell_command(['socat', '-', to])}"


KIND = InjectionKind(
    name="haproxy",
    summary="a server of a HAProxy backend put into maint or drain",
    options=Options,
    preflight=preflight,
    inject=inject,
    undo=undo,
    verify_undone=verify_undone,
    manual=manual,
    knows_way_back=True,
    needs="HAProxy's stats socket with level admin",
    way_back=way_back,
)
