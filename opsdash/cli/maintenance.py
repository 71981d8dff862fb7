"""Maintenance: alarms of a component or tag are muted for a while, its checks go on, and what was muted is listed.

What comes again and again stands in opsdash.yaml under `windows`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opsdash.cli import exits
from opsdash.cli.base import UsageError, add_as, add_json, add_workspace, refusal, with_engine, with_files_or_engine
from opsdash.cli.terminal import Painted, Role, dim, moment, out, out_json, say, short_moment, table
from opsdash.engine.clock import system_clock
from opsdash.model.units import parse_duration

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from opsdash.model.views import WindowView
    from opsdash.service.client import EngineSession

EXAMPLE = "opsdash maintenance crm --for 2h --reason 'new release'"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash maintenance`."""
    parser.add_argument(
        "target", nargs="?", metavar="COMPONENT|tag:NAME", help="whose alarms; without it: what is muted now"
    )
    parser.add_argument("--for", dest="span", metavar="DURATION", help="how long, as 30m or 2h; at most 31d")
    parser.add_argument("--reason", metavar="TEXT", default="", help="what is being done")
    parser.add_argument("--end", action="store_true", help="end it before its time")
    add_json(parser)
    add_as(parser)
    add_workspace(parser)


def run(arguments: argparse.Namespace) -> int:
    """List what is open, begin a maintenance, or end one."""
    if arguments.target is None:
        if arguments.span or arguments.end or arguments.reason:
            raise UsageError("whose alarms? Name a component, or tag:NAME")
        return _list(arguments)
    if arguments.end:
        if arguments.span or arguments.reason:
            raise UsageError("--end goes with neither --for nor --reason")
        return _submit(arguments, "end_maintenance", {"target": arguments.target})
    if not arguments.span:
        raise UsageError("for how long? Write --for 2h, or --end to end it")
    try:
        seconds = parse_duration(arguments.span)
    except ValueError as error:
        raise UsageError(f"--for: {error}") from None
    given = {"target": arguments.target, "seconds": seconds, "reason": arguments.reason}
    return _submit(arguments, "maintenance", given)


def _submit(arguments: argparse.Namespace, intent: str, given: dict[str, Any]) -> int:
    async def work(session: EngineSession) -> int:
        verdict = await session.submit(intent, given)
        if verdict["refused"] is not None:
            if arguments.json:
                out_json({"component": given["target"], "status": "refused", "reason": verdict["refused"]["reason"]})
            say(Painted("refused: ", Role.DOWN), refusal(verdict["refused"]))
            return exits.REFUSED
        _tell(arguments, await session.windows())
        return exits.OK

    return with_engine(arguments, work)


def _list(arguments: argparse.Namespace) -> int:
    async def ask_engine(session: EngineSession) -> list[WindowView]:
        return await session.windows()

    def ask_files(workspace: Path) -> list[WindowView]:
        from opsdash.cli.offline import read_offline

        return read_offline(workspace).viewer.windows()

    _tell(arguments, with_files_or_engine(arguments, ask_engine, ask_files))
    return exits.OK


def _tell(arguments: argparse.Namespace, windows: Sequence[WindowView]) -> None:
    if arguments.json:
        out_json({"component": arguments.target, "status": None, "reason": None, "windows": windows})
        return
    now = system_clock().wall
    for window in windows:
        table([[_kind(window), _about(window), f"until {short_moment(window['until'], now)}", dim(_why(window))]])
        for muted in window["muted"]:
            out(f"    would have alarmed {moment(muted['at'])}: {muted['component']}: {muted['title']}")
    if not windows:
        say("no maintenance and no freeze is open")


def _kind(window: WindowView) -> Painted:
    return Painted(f"~ {window['kind']}", Role.BUSY)


def _about(window: WindowView) -> str:
    if window["target"] is not None:
        return window["target"]
    return f"{window['title']} ({', '.join(window['components']) or 'no component'})"


def _why(window: WindowView) -> str:
    return window["who"] + (f": {window['reason']}" if window["reason"] else "")
