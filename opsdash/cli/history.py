"""What was: uptime, latency percentiles and changes of a component. Works without an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opsdash.cli import exits
from opsdash.cli.base import UsageError, add_json, add_workspace, with_files_or_engine
from opsdash.cli.terminal import STATUS, bold, dim, moment, out, out_json, sign, table
from opsdash.model.units import format_duration, parse_duration

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from pathlib import Path

    from opsdash.service.client import EngineSession

EXAMPLE = "opsdash history email --last 7d"

CHANGES_SHOWN = 20
HOUR = 3600.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash history`."""
    parser.add_argument("component", metavar="COMPONENT")
    parser.add_argument("--last", default="24h", metavar="DURATION", help="how far to look back (default: 24h)")
    add_json(parser)
    add_workspace(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show the figures."""
    try:
        hours = parse_duration(arguments.last) / HOUR
    except ValueError as error:
        raise UsageError(str(error)) from None

    async def ask_engine(session: EngineSession) -> dict[str, Any]:
        known = [row["id"] for row in (await session.snapshot())["rows"]]
        _check_known(arguments.component, known)
        return await session.history(arguments.component, hours)

    def ask_files(workspace: Path) -> dict[str, Any]:
        return _from_files(workspace, arguments.component, hours)

    found = with_files_or_engine(arguments, ask_engine, ask_files)
    if arguments.json:
        out_json({"status": None, "reason": None, **found})
    else:
        _text(found)
    return exits.OK


def _check_known(component: str, known: list[str]) -> None:
    if component not in known:
        from opsdash.cli.status import unknown_component

        raise unknown_component(component, known)


def _from_files(workspace: Path, component: str, hours: float) -> dict[str, Any]:
    from opsdash.cli.offline import read_files
    from opsdash.engine.clock import system_clock
    from opsdash.engine.past import past
    from opsdash.errors import HistoryError
    from opsdash.service.places import places
    from opsdash.storage.history import History

    operation = read_files(workspace).operation
    _check_known(component, list(operation.components))
    path = places(workspace).history
    if not path.exists():
        raise HistoryError(f"there is no history yet ({path}): no engine has ever run here")
    until = system_clock().wall
    checks = [spec for spec in operation.checks.values() if spec.component == component]
    history = History(path, read_only=True)
    try:
        return past(history, component, checks, until - hours * HOUR, until)
    finally:
        history.close()


def _text(found: Mapping[str, Any]) -> None:
    out(bold(found["component"]), dim(f"  {moment(found['since'])} to {moment(found['until'])}"))
    rows: list[list[Any]] = [[dim(word) for word in ("check", "up", "p50", "p95", "p99", "samples", "missing")]]
    for check in found["checks"]:
        uptime, latencies = check["uptime"], check["latency_ms"]
        samples = sum(value for value in uptime["counts"].values() if isinstance(value, int))
        rows.append(
            [
                check["check"],
                "—" if uptime["share"] is None else f"{uptime['share']:.2%}",
                *(_ms(latencies.get(name)) for name in ("p50", "p95", "p99")),
                str(samples),
                "—" if uptime["missing"] is None else str(uptime["missing"]),
            ]
        )
    table(rows, indent="  ")
    if found["checks"]:
        out(dim(f"  up: {found['checks'][0]['uptime']['definition']}"))
    changes = _with_gaps(found)[:CHANGES_SHOWN]
    table([[dim(moment(each["at"])), sign(STATUS, each["after"]), _why(each)] for each in changes], indent="  ")
    if not changes:
        out(dim("  no changes in this time"))


def _ms(value: float | None) -> str:
    return "—" if value is None else f"{value:.0f}ms"


def _with_gaps(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Changes, and the times in which nothing was measured: what had been known before did not hold on through them."""
    gaps = [
        {"at": gap["since"], "after": "unknown", "before": None, "reason": f"not measured for {_length(gap)}"}
        for gap in found.get("gaps", ())
    ]
    return sorted([*found["changes"], *gaps], key=lambda change: -change["at"])


def _length(gap: Mapping[str, Any]) -> str:
    return f"{format_duration(gap['until'] - gap['since'])}, until {moment(gap['until'])}"


def _why(change: Mapping[str, Any]) -> str:
    before = f"was {change['before']}" if change["before"] else ""
    return ", ".join(part for part in (change["reason"], before) if part)
