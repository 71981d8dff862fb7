"""The live or last switch of a component, and the ways in which a person leads out of one that is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.cli import exits
from opsdash.cli.base import add_as, add_json, add_workspace, refusal, with_engine, with_files_or_engine
from opsdash.cli.switching import follow, show_switch
from opsdash.cli.terminal import Painted, Role, out_json, say

if TYPE_CHECKING:
    import argparse
    from pathlib import Path
    from typing import Any

    from opsdash.model.views import SwitchView
    from opsdash.service.client import EngineSession

EXAMPLE = "opsdash switch settle email committed --reason 'mail leaves by SES, I looked'"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash switch`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    show = verbs.add_parser("show", help="states, facts, times and outcome")
    undo = verbs.add_parser("undo", help="lead it back to where it came from")
    settle = verbs.add_parser("settle", help="state how it ended, after looking")
    take_over = verbs.add_parser("take-over", help="observe it again; nothing is fired")
    abort = verbs.add_parser("abort", help="call it off before it has done anything, or ask whoever began it to")
    unblock = verbs.add_parser("unblock", help="end the blockade after it, so that opsdash may switch by itself again")
    for each in (show, undo, settle, take_over, abort, unblock):
        each.add_argument("component", metavar="COMPONENT")
        add_json(each)
        add_workspace(each)
    settle.add_argument("outcome", choices=["committed", "aborted", "undone"])
    for each in (undo, settle, take_over, abort, unblock):
        each.add_argument("--reason", required=each in (settle, unblock), default="", metavar="TEXT")
        add_as(each)


def run(arguments: argparse.Namespace) -> int:
    """Show the switch, or lead out of it."""
    if arguments.verb == "show":
        return _show(arguments)
    return with_engine(arguments, lambda session: _lead_out(session, arguments))


def _show(arguments: argparse.Namespace) -> int:
    component = arguments.component

    async def ask_engine(session: EngineSession) -> SwitchView | None:
        await session.component(component)  # says which components there are, if this is none
        return await session.switch(component)

    def ask_files(workspace: Path) -> SwitchView | None:
        from opsdash.cli.offline import read_offline

        return read_offline(workspace).switch(component)

    switch = with_files_or_engine(arguments, ask_engine, ask_files)
    if arguments.json:
        status = switch["state"] if switch else None
        reason = (switch["detail"] or None) if switch else "never switched"
        out_json({"component": component, "status": status, "reason": reason, "switch": switch})
    elif switch is None:
        say(f"{component} was never switched")
    else:
        show_switch(switch)
    return exits.OK


async def _lead_out(session: EngineSession, arguments: argparse.Namespace) -> int:
    given: dict[str, Any] = {"component": arguments.component, "reason": arguments.reason}
    if arguments.verb == "settle":
        given["state"] = arguments.outcome
    intent = "lift_blockade" if arguments.verb == "unblock" else arguments.verb.replace("-", "_")
    verdict = await session.submit(intent, given)
    if verdict["refused"] is not None:
        why = refusal(verdict["refused"])
        if arguments.json:
            out_json({"component": arguments.component, "status": "refused", "reason": why})
        say(Painted("refused: ", Role.DOWN), why)
        return exits.REFUSED
    if arguments.verb == "unblock":
        if arguments.json:
            out_json({"component": arguments.component, "status": "unblocked", "reason": arguments.reason})
        say(f"the blockade of {arguments.component} is over")
        return exits.OK
    if arguments.verb == "abort":
        return await _called_off(session, arguments, verdict["subject"])
    code = await follow(session, arguments.component, verdict["subject"], json=arguments.json)
    led_back = arguments.verb == "undo" or getattr(arguments, "outcome", "") in {"undone", "aborted"}
    return exits.OK if led_back and code == exits.NOT_DONE else code


async def _called_off(session: EngineSession, arguments: argparse.Namespace, switch_id: str) -> int:
    """Watch how it is taken back; where it is somebody else's, it was only asked for."""
    switch = await session.switch(arguments.component)
    if switch is not None and switch["live"] and not switch["called_off"]:
        if arguments.json:
            out_json({"component": arguments.component, "status": "asked", "reason": f"it is {switch['who']}'s"})
        say(f"asked for: it is {switch['who']}'s; `opsdash switch show {arguments.component}` shows what becomes of it")
        return exits.OK
    code = await follow(session, arguments.component, switch_id, json=arguments.json)
    return exits.OK if code == exits.NOT_DONE else code
