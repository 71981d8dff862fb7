"""The register: every way the operation can fail, how it is noticed, what was decided for it, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.cli import exits
from opsdash.cli.base import add_json, add_workspace, with_files_or_engine
from opsdash.cli.terminal import Painted, Role, bold, dim, moment, out, out_json, say
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from opsdash.model.views import FailureView
    from opsdash.service.client import EngineSession

EXAMPLE = "opsdash register --gaps"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash register`."""
    parser.add_argument("component", nargs="?", metavar="COMPONENT", help="only this one's")
    parser.add_argument("--gaps", action="store_true", help="only entries that lack something")
    add_json(parser)
    add_workspace(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show the register, file by file."""

    async def ask_engine(session: EngineSession) -> list[FailureView]:
        return await session.register()

    def ask_files(workspace: Path) -> list[FailureView]:
        from opsdash.cli.offline import read_offline

        return read_offline(workspace).register()

    entries = with_files_or_engine(arguments, ask_engine, ask_files)
    if arguments.component:
        if arguments.component not in {entry["component"] for entry in entries}:
            from opsdash.cli.status import unknown_component

            raise unknown_component(arguments.component, {entry["component"] for entry in entries})
        entries = [entry for entry in entries if entry["component"] == arguments.component]
    if arguments.gaps:
        entries = [entry for entry in entries if entry["gaps"]]
    if arguments.json:
        out_json({"component": arguments.component, "status": _status(entries), "reason": None, "register": entries})
    else:
        _text(entries)
    return exits.OK


def _status(entries: Sequence[FailureView]) -> str:
    return "active" if any(entry["active"] for entry in entries) else "quiet"


def _text(entries: Sequence[FailureView]) -> None:
    component = ""
    for entry in entries:
        if entry["component"] != component:
            component = entry["component"]
            out(bold(component))
        _entry(entry)
    gaps = sum(bool(entry["gaps"]) for entry in entries)
    active = sum(entry["active"] for entry in entries)
    say(f"{len(entries)} failure modes, {active} active, {gaps} that lack something")


def _entry(entry: FailureView) -> None:
    mark = Painted("✗ NOW  ", Role.DOWN) if entry["active"] else Painted("       ", Role.DIM)
    out("  ", mark, f"{entry['title']} ", dim(f"({entry['id']})"))
    runbook = f"runbook {entry['runbook']}" if entry["runbook"] else "no runbook"
    rto = f", within {format_duration(entry['rto'])}" if entry["rto"] else ""
    answer = runbook if entry["response_kind"] == "runbook" else f"{entry['response']}, {runbook}"
    out(dim("         noticed by "), entry["detected_by"] or Painted("nothing", Role.DEGRADED))
    out(dim("         then       "), answer, rto, dim(f"  owners {', '.join(entry['owners']) or 'none'}"))
    if entry["near_misses"]:
        times = "once" if entry["near_misses"] == 1 else f"{entry['near_misses']} times"
        out(dim("         was near   "), f"{times}, last {moment(entry['near_at'])}")
    if entry["gaps"]:
        out(dim("         lacks      "), Painted(", ".join(entry["gaps"]), Role.DEGRADED))
