"""Switching without a person: where it is allowed, what stood in its way, how it compares with what people did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.cli import exits
from opsdash.cli.base import add_as, add_json, add_workspace, refusal, with_engine
from opsdash.cli.terminal import Painted, Role, dim, moment, out, out_json, say, table

if TYPE_CHECKING:
    import argparse

    from opsdash.model.views import AutoView
    from opsdash.service.client import EngineSession

EXAMPLE = "opsdash auto resume --reason 'the probe was broken, it is mended'"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash auto`."""
    parser.add_argument("verb", nargs="?", choices=["show", "resume"], default="show", help="default: show")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why it may go on (resume)")
    add_json(parser)
    add_as(parser)
    add_workspace(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show it, or let it go on."""
    verb = _resume if arguments.verb == "resume" else _show
    return with_engine(arguments, lambda session: verb(session, arguments))


async def _show(session: EngineSession, arguments: argparse.Namespace) -> int:
    found = await session.auto()
    if arguments.json:
        status = "stopped" if found["stopped"] else "on"
        out_json({"component": None, "status": status, "reason": found["stopped"] or None, "auto": found})
        return exits.OK
    if found["stopped"]:
        out(Painted(f"STOPPED: {found['stopped']}", Role.DOWN), "  opsdash auto resume --reason TEXT")
    if not found["components"]:
        say("no component says `auto: shadow` or `auto: always`: nothing is switched without a person")
    table([_row(each) for each in found["components"]])
    return exits.OK


def _row(found: AutoView) -> list[str | Painted]:
    blocked = found["blocked"]
    why = "" if blocked is None else f"blocked {moment(found['blocked_at'])}: {blocked}"
    return [found["component"], found["auto"], dim(f"after {found['hold']:g} s down"), found["score"], why]


async def _resume(session: EngineSession, arguments: argparse.Namespace) -> int:
    verdict = await session.submit("resume_auto", {"reason": arguments.reason})
    why = None if verdict["refused"] is None else refusal(verdict["refused"])
    if arguments.json:
        out_json({"component": None, "status": "on" if why is None else "refused", "reason": why})
    if why is not None:
        say(Painted("refused: ", Role.DOWN), why)
        return exits.REFUSED
    say("opsdash may switch by itself again")
    return exits.OK
