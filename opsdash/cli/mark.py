"""Mark that something was changed: the first question in an incident is what has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.cli import exits
from opsdash.cli.base import add_as, add_json, add_workspace, refusal, with_engine
from opsdash.cli.terminal import Painted, Role, out_json, say

if TYPE_CHECKING:
    import argparse

    from opsdash.service.client import EngineSession

EXAMPLE = "opsdash mark 'deploy of the shop' --component email --version 4.2.0"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash mark`."""
    parser.add_argument("text", metavar="TEXT", help="what was changed")
    parser.add_argument("--component", default="", metavar="COMPONENT", help="default: the whole operation")
    parser.add_argument("--version", default="", metavar="VERSION", help="what it is now")
    parser.add_argument("--link", default="", metavar="URL", help="where to read more")
    add_as(parser)
    add_json(parser)
    add_workspace(parser)


def run(arguments: argparse.Namespace) -> int:
    """Mark it; whatever fails in the next hours shows it."""
    given = {name: getattr(arguments, name) for name in ("text", "component", "version", "link")}

    async def mark(session: EngineSession) -> int:
        verdict = await session.submit("mark", given)
        why = refusal(verdict["refused"]) if verdict["refused"] is not None else None
        if arguments.json:
            status = "marked" if why is None else "refused"
            out_json({"component": arguments.component or None, "status": status, "reason": why})
        elif why is None:
            say("marked: what fails in the next hours will show it")
        if why is not None:
            say(Painted("refused: ", Role.DOWN), why)
        return exits.OK if why is None else exits.REFUSED

    return with_engine(arguments, mark)
