"""Incidents: what was opened, by whom it is looked after, what was written down about it, and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opsdash.cli import exits
from opsdash.cli.base import (
    UsageError,
    add_as,
    add_json,
    add_workspace,
    refusal,
    with_engine,
    with_files_or_engine,
    workspace_of,
)
from opsdash.cli.terminal import Painted, Role, bold, dim, moment, out, out_json, say, sign, table
from opsdash.model.units import format_duration, parse_duration

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from opsdash.model.views import IncidentView
    from opsdash.service.client import EngineSession

EXAMPLE = "opsdash incident note INC-3 'ticket 4711 at the provider, they see it too' --at 10:05"

STATES: dict[str, Painted] = {
    "open": Painted("✗ OPEN", Role.DOWN),
    "acknowledged": Painted("! acknowledged", Role.DEGRADED),
    "mitigated": Painted("~ mitigated", Role.BUSY),
    "resolved": Painted("✓ resolved", Role.OK),
    "closed": Painted("✓ closed", Role.DIM),
    "cancelled": Painted("- cancelled", Role.DIM),
}

ENDED = frozenset({"closed", "cancelled"})


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash incident`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="incidents that are not closed, newest first")
    listing.add_argument("--closed", action="store_true", help="closed ones too")
    _read_only(listing)
    _read_only(_about(verbs.add_parser("show", help="one incident with its timeline")))
    begin = verbs.add_parser("open", help="open one that no check has noticed")
    begin.add_argument("component", metavar="COMPONENT")
    begin.add_argument("title", metavar="TITLE", help="what users notice")
    ack = _about(verbs.add_parser("ack", help="say that you look after it, for half an hour"))
    ack.add_argument("--for", dest="seconds", metavar="DURATION", help="for longer, such as 2h")
    ack.add_argument("--back", action="store_true", help="no longer look after it")
    note = _about(verbs.add_parser("note", help="write a line into its timeline"))
    note.add_argument("text", metavar="TEXT", nargs="?", help="without it, $EDITOR opens")
    note.add_argument("--at", metavar="TIME", help="when it happened: 10:05, '12m ago', '2026-11-23 10:05'")
    note.add_argument("--pin", action="store_true", help="it belongs to the story")
    edit = _about(verbs.add_parser("edit", help="change a line of its timeline; what it was is kept"))
    edit.add_argument("line", metavar="LINE", type=int, help="its number in `opsdash incident show`")
    edit.add_argument("--text", metavar="TEXT")
    edit.add_argument("--at", metavar="TIME", help="when it happened")
    edit.add_argument("--pin", action="store_true", default=None)
    edit.add_argument("--unpin", dest="pin", action="store_false")
    rate = _about(verbs.add_parser("severity", help="set how bad it is: 1 (worst) to 4"))
    rate.add_argument("severity", metavar="N", type=int)
    rate.add_argument("--reason", default="", metavar="TEXT")
    when = _about(verbs.add_parser("time", help="say when it really began, was mitigated or resolved"))
    when.add_argument("what", choices=["began", "mitigated", "resolved"])
    when.add_argument("at", metavar="TIME", nargs="?", help="default: now")
    role = _about(verbs.add_parser("role", help="give somebody a role in it"))
    role.add_argument("role", choices=["lead", "scribe", "comms"])
    role.add_argument("person", metavar="PERSON", help="'-': nobody")
    hand = _about(verbs.add_parser("handover", help="write the note with which somebody else takes over"))
    hand.add_argument("text", metavar="NEEDS", nargs="?", default="", help="what is needed, and opsdash cannot know")
    hand.add_argument("--to", default="", metavar="PERSON", help="default: whoever comes")
    _about(verbs.add_parser("accept", help="take it over as its handover note says"))
    resolve = _about(verbs.add_parser("resolve", help="say that it is over, and close it"))
    resolve.add_argument("text", metavar="TEXT", nargs="?", default="", help="what it was")
    cancel = _about(verbs.add_parser("cancel", help="say that it was none"))
    reopen = _about(verbs.add_parser("reopen", help="say that it is not over after all"))
    for each in (cancel, reopen):
        each.add_argument("reason", metavar="REASON")
    from opsdash.cli.incident_report import configure as configure_report

    configure_report(verbs.add_parser("report", help="the report of one, or the figures of a period"))
    for name, each in verbs.choices.items():
        if name not in {"list", "show", "report"}:
            add_as(each)
            _read_only(each)


def _about(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("incident", metavar="ID")
    return parser


def _read_only(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    add_workspace(parser)


def run(arguments: argparse.Namespace) -> int:
    """List, show, or change an incident."""
    if arguments.verb == "report":
        from opsdash.cli.incident_report import run as run_report

        return run_report(arguments)
    if arguments.verb in {"list", "show"}:
        incidents = _ask(arguments, closed=arguments.verb == "show" or arguments.closed)
        return _list(arguments, incidents) if arguments.verb == "list" else _show(arguments, incidents)
    intent, given = CHANGES[arguments.verb](arguments)
    return with_engine(arguments, lambda session: _change(session, arguments, intent, given))


# --- reading -------------------------------------------------------------------------------------------------------


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
        [sign(STATES, each["state"]), each["id"], f"sev {each['severity'] or '–'}", each["component"],
         dim(moment(each["opened_at"])), each["title"]]
        for each in incidents
    )  # fmt: skip
    if not incidents:
        say("no incident is open" if not arguments.closed else "there was no incident")
    return exits.OK


def _show(arguments: argparse.Namespace, incidents: Sequence[IncidentView]) -> int:
    found = next((each for each in incidents if each["id"] == arguments.incident), None)
    if found is None:
        known = ", ".join(each["id"] for each in incidents[:10]) or "none"
        raise UsageError(f"there is no incident {arguments.incident!r}; the latest are: {known}")
    if arguments.json:
        out_json({**found, "status": found["state"], "reason": found["title"]})
    else:
        show_incident(found)
    return exits.OK


def show_incident(incident: IncidentView) -> None:
    """An incident with its timeline; the numbers before its lines are those that `edit` takes."""
    out(sign(STATES, incident["state"]), "  ", bold(f"{incident['id']} {incident['title']}"))
    ended = incident["mitigated_at"]
    lasted = f", users were served again after {format_duration(ended - incident['opened_at'])}" if ended else ""
    failures = f"; failure modes: {', '.join(incident['failures'])}" if incident["failures"] else ""
    severity = f"severity {incident['severity']}, " if incident["severity"] else ""
    out(
        dim(f"  {severity}{', '.join(incident['components'])}, since {moment(incident['opened_at'])}{lasted}{failures}")
    )
    for role in incident["roles"]:
        if role["until"] is None:
            out(dim(f"  {role['role']}: {role['person']}"))
    offered = incident["handover"]
    if offered is not None and not offered["accepted_by"]:
        out(Painted(f"  {offered['who']} hands it over to {offered['to'] or 'whoever accepts'}:", Role.DEGRADED))
    rows: list[list[Any]] = []
    for number, entry in enumerate(incident["entries"]):
        marks = ("*" if entry["pinned"] else "") + ("(edited)" if entry["edits"] else "")
        first, *others = entry["text"].split("\n")
        rows.append([dim(str(number)), dim(moment(entry["at"])), entry["who"], f"{first} {marks}".rstrip()])
        rows += [["", "", "", line] for line in others]
    table(rows, indent="  ")


# --- changing ------------------------------------------------------------------------------------------------------


async def _change(session: EngineSession, arguments: argparse.Namespace, intent: str, given: dict[str, Any]) -> int:
    verdict = await session.submit(intent, given)
    if verdict["refused"] is not None:
        why = refusal(verdict["refused"])
        if arguments.json:
            out_json({"component": None, "status": "refused", "reason": why, "id": given.get("incident")})
        say(Painted("refused: ", Role.DOWN), why)
        return exits.REFUSED
    if intent == "open_incident":
        arguments.incident = verdict["subject"]
    return _show(arguments, await session.incidents(closed=True))


def _open(arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    return "open_incident", {"component": arguments.component, "title": arguments.title}


def _ack(arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    given: dict[str, Any] = {"incident": arguments.incident, "back": arguments.back}
    if arguments.seconds:
        try:
            given["seconds"] = parse_duration(arguments.seconds)
        except ValueError as error:
            raise UsageError(str(error)) from None
    return "ack", given


def _note(arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    text = arguments.text if arguments.text is not None else _from_editor(f"A note for {arguments.incident}.")
    return "note", {"incident": arguments.incident, "text": text, "pinned": arguments.pin, "happened": _at(arguments)}


def _edit(arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    if (arguments.text, arguments.at, arguments.pin) == (None, None, None):
        raise UsageError("say what is to be different: --text, --at, --pin or --unpin")
    given = {"entry": arguments.line, "text": arguments.text, "happened": _at(arguments), "pinned": arguments.pin}
    return "edit_entry", {"incident": arguments.incident, **given}


def _time(arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    return "incident_time", {"incident": arguments.incident, "what": arguments.what, "moment": _at(arguments)}


def _role(arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    person = "" if arguments.person == "-" else arguments.person
    return "role", {"incident": arguments.incident, "role": arguments.role, "person": person}


def _plain(intent: str, *names: str) -> Callable[[argparse.Namespace], tuple[str, dict[str, Any]]]:
    """A change whose arguments are those of the command."""
    return lambda arguments: (intent, {name: getattr(arguments, name) for name in ("incident", *names)})


CHANGES: dict[str, Callable[[argparse.Namespace], tuple[str, dict[str, Any]]]] = {
    "open": _open,
    "ack": _ack,
    "note": _note,
    "edit": _edit,
    "severity": _plain("rate", "severity", "reason"),
    "time": _time,
    "role": _role,
    "handover": _plain("offer_handover", "to", "text"),
    "accept": _plain("accept_handover"),
    "resolve": _plain("resolve", "text"),
    "cancel": _plain("cancel_incident", "reason"),
    "reopen": _plain("reopen", "reason"),
}
"""What each verb wants from the engine."""


def _at(arguments: argparse.Namespace) -> float | None:
    if arguments.at is None:
        return None
    from opsdash.cli.offline import read_files
    from opsdash.cli.times import parse_moment
    from opsdash.engine.clock import system_clock

    return parse_moment(arguments.at, system_clock().wall, read_files(workspace_of(arguments)).operation.timezone)


def _from_editor(remark: str) -> str:
    import os
    import subprocess

    from opsdash.board.editor import draft_file, editor_command, written
    from opsdash.cli.terminal import can_ask

    command = editor_command(os.environ)
    if not command or not can_ask():
        raise UsageError("say the text on the command line, or set $EDITOR and run it in a terminal")
    with draft_file(f"{remark} Lines that begin with # are left out; an empty note is none.") as path:
        try:
            ended = subprocess.run([*command, str(path)], check=False)
            text = written(path)
        except OSError as error:
            raise UsageError(f"{command[0]} cannot be used: {error.strerror}") from None
    if ended.returncode != 0 or not text:
        raise UsageError("nothing was written, so nothing was noted")
    return text
