"""Couplings: components that failed within the same minute more often than chance. Works without an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opsdash.cli import exits
from opsdash.cli.base import UsageError, add_json, add_workspace, with_files_or_engine
from opsdash.cli.terminal import Painted, Role, bold, dim, moment, out, out_json, table
from opsdash.model.units import format_duration, parse_duration

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from pathlib import Path

    from opsdash.service.client import EngineSession

EXAMPLE = "opsdash couplings --last 30d"

HOUR = 3600.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash couplings`."""
    parser.add_argument("--last", default="90d", metavar="DURATION", help="how far to look back (default: 90d)")
    add_json(parser)
    add_workspace(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show the pairs, those that should be isolated first."""
    try:
        hours = parse_duration(arguments.last) / HOUR
    except ValueError as error:
        raise UsageError(str(error)) from None

    async def ask_engine(session: EngineSession) -> dict[str, Any]:
        return await session.couplings(hours)

    def ask_files(workspace: Path) -> dict[str, Any]:
        return _from_files(workspace, hours)

    found = with_files_or_engine(arguments, ask_engine, ask_files)
    if arguments.json:
        out_json({"component": None, "status": None, "reason": None, **found})
    else:
        _text(found)
    return exits.OK


def _from_files(workspace: Path, hours: float) -> dict[str, Any]:
    from opsdash.cli.offline import read_files
    from opsdash.engine.clock import system_clock
    from opsdash.engine.coupled import coupled, drill_times
    from opsdash.errors import HistoryError
    from opsdash.service.places import places
    from opsdash.storage.history import History
    from opsdash.storage.segments import read_entries

    where = places(workspace)
    if not where.history.exists():
        raise HistoryError(f"there is no history yet ({where.history}): no engine has ever run here")
    until = system_clock().wall
    drilled = drill_times(lambda types: read_entries(where.journal, types=types))
    history = History(where.history, read_only=True)
    try:
        return coupled(history, read_files(workspace).operation.components, until - hours * HOUR, until, drilled)
    finally:
        history.close()


def _text(found: Mapping[str, Any]) -> None:
    watched = format_duration(found["seconds"])
    out(
        bold("failed within the same minute"),
        dim(f"  {moment(found['since'])} to {moment(found['until'])}, of which {watched} were watched"),
    )
    unexplained = [each for each in found["couplings"] if not each["explained"]]
    explained = [each for each in found["couplings"] if each["explained"]]
    _pairs("should be isolated, and fail together", unexplained, Role.DEGRADED)
    _pairs("explained by what the files say", explained, Role.DIM)
    if not found["couplings"]:
        out("  no pair fails together more often than by chance")
    tested = f"{found['tested']} pairs of {found['components']} components with 3 failures or more"
    out(dim(f"  {tested}; binomial test, p at most {found['alpha']} after Bonferroni's correction"))
    if found["widespread"]:
        out(dim(f"  {found['widespread']} minutes in which very many failed at once are left out"))


def _pairs(title: str, pairs: list[Mapping[str, Any]], role: Role) -> None:
    if not pairs:
        return
    out(Painted(f"  {title}", role))
    rows: list[list[Any]] = [[dim(word) for word in ("pair", "together", "by chance", "ratio", "p", "last", "")]]
    rows += [
        [
            f"{each['one']} + {each['other']}",
            f"{each['together']} of {each['failures'][0]} and {each['failures'][1]}",
            f"{each['expected']:.2g}",
            f"{each['ratio']:.0f}×",
            f"{each['p_value']:.1g}",
            dim(moment(each["times"][-1])),
            dim(each["explained"]),
        ]
        for each in pairs
    ]
    table(rows, indent="    ")
