"""Incidents: what was opened, by whom it is looked at, and what was written down about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opsdash.cli import exits
from opsdash.cli.base import UsageError, add_as, add_json, add_workspace, refusal, with_engine, with_files_or_engine
from opsdash.cli.terminal import Painted, Role, bold, dim, moment, out, out_json, say, sign, table
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from opsdash.model.views import IncidentView
    from opsdash.service.client import EngineSession

EXAMPLE = "opsdash incident note INC-3 'ticket 4711 at the provider, they see it too'"

STATES: dict[str, Painted] = {
    "open": Painted("✗ OPEN", Role.DOWN),
    "acknowledged": Painted("! acknowledged", Role.DEGRADED),
    "mitigated": Painted("~ mitigated", Role.BUSY),
    "resolved": Painted("✓ resolved", Role.OK),
    "closed": Painted("✓ closed", Role.DIM),
    "cancelled": Painted("- cancelled", Role.DIM),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash incident`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|show|ack|note|resolve")
    listing = verbs.add_parser("list", help="open incidents, newest first")
    listing.add_argument("--closed", action="store_true", help="resolved ones too")
    show = verbs.add_parser("show", help="one incident with its timeline")
    ack = verbs.add_parser("ack", help="say that you look at it")
    note = verbs.add_parser("note", help="write a line into its timeline")
    resolve = verbs.add_parser("resolve", help="close it")
    for each in (show, ack, note, resolve):
        each.add_argument("incident", metavar="ID")
    note.add_argument("text", metavar="TEXT")
    resolve.add_argument("text", metavar="TEXT", nargs="?", default="", help="what it was")
    for each in (ack, note, resolve):
        add_as(each)
    for each in (listing, show, ack, note, resolve):
        add_json(each)
        add_workspace(each)


def run(arguments: argparse.Namespace) -> int:
    """List, show, or change an incident."""
    if arguments.verb in {"list", "show"}:
        incidents = _ask(arguments, closed=arguments.verb == "show" or arguments.closed)
        return _list(arguments, incidents) if arguments.verb == "list" else _show(arguments, incidents)
    given = {"incident": arguments.incident}
    if arguments.verb in {"note", "resolve"}:
        given["text"] = arguments.text
    return with_engine(arguments, lambda session: _change(session, arguments, given))


def _ask(arguments: argparse.Namespace, *, closed: bool) -> list[IncidentView]:
    async def ask_engine(session: EngineSession) -> list[IncidentView]:
        return await session.incidents(closed=closed)

    def ask_files(workspace: Path) -> list[IncidentView]:
        from opsdash.cli.offline import read_offline

        return read_offline(workspace).incidents(closed=closed)

    return with_files_or_engine(arguments, ask_engine, ask_files)


def _list(arguments: argparse.Namespace, incidents: Sequence[IncidentView]) -> int:
    if arguments.json:
        worst = incidents[0]["state"] if incidents else None
        out_json({"component": None, "status": worst, "reason": None, "incidents": incidents})
        return exits.OK
    table(
        [sign(STATES, each["state"]), each["id"], each["component"], dim(moment(each["opened_at"])), each["title"]]
        for each in incidents
    )
    if not incidents:
        say("no incident is open" if not arguments.closed else "there was no incident")
    return exits.OK


def _show(arguments: argparse.Namespace, incidents: Sequence[IncidentView]) -> int:
    found = next((each for each in incidents if each["id"] == arguments.incident), None)
    if found is None:
        known = ", ".join(each["id"] for each in incidents[:10]) or "none"
        raise UsageError(f"there is no incident {arguments.incident!r}; the latest are: {known}")
    if arguments.json:
        out_json(_object(found))
    else:
        show_incident(found)
    return exits.OK


def _object(incident: IncidentView) -> dict[str, Any]:
    return {**incident, "status": incident["state"], "reason": incident["title"]}


def show_incident(incident: IncidentView) -> None:
    """An incident with its timeline."""
    out(sign(STATES, incident["state"]), "  ", bold(f"{incident['id']} {incident['title']}"))
    ended = incident["resolved_at"] or incident["mitigated_at"]
    lasted = f", lasted {format_duration(ended - incident['opened_at'])}" if ended else ""
    failures = f"; failure modes: {', '.join(incident['failures'])}" if incident["failures"] else ""
    out(dim(f"  {incident['component']}, since {moment(incident['opened_at'])}{lasted}{failures}"))
    table([[dim(moment(each["at"])), each["who"], each["text"]] for each in incident["entries"]], indent="  ")


async def _change(session: EngineSession, arguments: argparse.Namespace, given: dict[str, Any]) -> int:
    verdict = await session.submit(arguments.verb, given)
    if verdict["refused"] is not None:
        why = refusal(verdict["refused"])
        if arguments.json:
            out_json({"component": None, "status": "refused", "reason": why, "id": arguments.incident})
        say(Painted("refused: ", Role.DOWN), why)
        return exits.REFUSED
    incidents = await session.incidents(closed=True)
    return _show(arguments, incidents)
