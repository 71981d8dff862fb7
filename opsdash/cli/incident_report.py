"""The report of an incident, out of the journal, and the figures of all incidents of a period.

It works without an engine, and beside one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opsdash.cli import exits
from opsdash.cli.base import UsageError, add_json, add_workspace, places_of, workspace_of
from opsdash.cli.terminal import Painted, Role, dim, out, out_json, out_lines, say, table
from opsdash.core.figures import DEFINITIONS, Period, figures, over
from opsdash.core.incident_views import incident_view
from opsdash.engine.clock import system_clock
from opsdash.model.units import format_duration, parse_duration

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from opsdash.model.incident import Incident
    from opsdash.model.operation import Operation
    from opsdash.model.records import Record
    from opsdash.model.views import IncidentView
    from opsdash.model.world import World


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash incident report`."""
    parser.add_argument("incident", metavar="ID", nargs="?", help="without it: the figures of all of a period")
    parser.add_argument("--since", default="90d", metavar="DURATION", help="the period, back from now (default: 90d)")
    parser.add_argument("-o", "--output", metavar="FILE", help="write it there, and not over a file that is there")
    add_json(parser)
    add_workspace(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print a report or figures."""
    return _report(arguments) if arguments.incident else _period(arguments)


# --- one -----------------------------------------------------------------------------------------------------------


def _report(arguments: argparse.Namespace) -> int:
    from opsdash.cli.offline import read_files
    from opsdash.core.report import report
    from opsdash.core.story import gather

    loaded = read_files(workspace_of(arguments))
    world, records = read_records(places_of(arguments).journal)
    story = gather(records, arguments.incident, world)
    if story is None:
        raise UsageError(
            f"no incident {arguments.incident!r} was opened in this journal; `opsdash incident list --closed`"
        )
    now = system_clock().wall
    if arguments.json:
        found = incident_view(story.incident)
        times = figures(found, now)
        out_json({**found, "status": found["state"], "reason": found["title"],
                  "figures": {name: times[name] for name in DEFINITIONS}})  # fmt: skip
        return exits.OK
    text = report(story, loaded.operation, loaded.runbooks, now)
    if arguments.output is None:
        out_lines(text)
    else:
        _write_new(arguments.output, text)
        say(f"written to {arguments.output}; fill in what is marked")
    return exits.OK


def _write_new(name: str, text: str) -> None:
    """A report that somebody has filled in already is never overwritten."""
    try:
        with open(name, "x", encoding="utf-8") as file:  # noqa: PTH123 - as it was typed
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{name} is there already, and may have been filled in; name another file") from None
    except OSError as error:
        raise UsageError(f"{name} cannot be written: {error.strerror}") from None


def read_records(folder: Path) -> tuple[World, Iterator[Record]]:
    """The world before the first record of a journal, and all its records, oldest first. Raises JournalError."""
    from opsdash.model.world import World
    from opsdash.storage import segments
    from opsdash.storage.codec import decode, decode_world
    from opsdash.storage.entries import CHECKPOINT

    entries = segments.read_entries(folder)
    first = next(entries, None)
    world = World()
    if first is not None and first.type == CHECKPOINT:
        state = first.data.get("state", first.data)
        world = decode_world(state) if state else world

    def records() -> Iterator[Record]:
        if first is not None and first.type != CHECKPOINT:
            yield decode(first.type, first.data)
        for entry in entries:
            if entry.type != CHECKPOINT:
                yield decode(entry.type, entry.data)

    return world, records()


# --- all of a period -----------------------------------------------------------------------------------------------


def _period(arguments: argparse.Namespace) -> int:
    from opsdash.cli.offline import read_files

    if arguments.output is not None:
        raise UsageError("-o writes the report of one incident; name it")
    try:
        since = parse_duration(arguments.since)
    except ValueError as error:
        raise UsageError(str(error)) from None
    operation = read_files(workspace_of(arguments)).operation
    now = system_clock().wall
    found = over(all_incidents(places_of(arguments).journal), now - since, now, rto_of(operation))
    if arguments.json:
        out_json(_object(found))
    else:
        _print(found, arguments.since)
    return exits.OK


def all_incidents(folder: Path) -> list[IncidentView]:
    """Every incident of a journal, as it stands at its end; also those that the world has forgotten."""
    from opsdash.core.evolve import evolve
    from opsdash.model.records import IncidentOpened

    world, records = read_records(folder)
    known: dict[str, Incident] = dict(world.tables["incidents"])
    for record in records:
        world.apply(evolve(world, record))
        name = getattr(record, "incident", None)
        if isinstance(record, IncidentOpened) or name in known:
            known[str(name)] = world.get("incidents", str(name)) or known[str(name)]
    known |= world.tables["incidents"]
    return [incident_view(each) for each in known.values()]


def rto_of(operation: Operation) -> Callable[[IncidentView], float | None]:
    """The shortest time that was promised for any failure mode of an incident, as the register has it now."""

    def promised(incident: IncidentView) -> float | None:
        limits = []
        for name in incident["failures"]:
            component_id, _, failure_id = name.rpartition("/")
            component = operation.components.get(component_id or incident["component"])
            failure = component.failures.get(failure_id) if component else None
            if failure is not None and failure.rto is not None:
                limits.append(failure.rto)
        return min(limits, default=None)

    return promised


def _object(found: Period) -> dict[str, Any]:
    return {
        "component": None, "status": None, "reason": None, "start": found.start, "end": found.end,
        "incidents": found.incidents, "drills": found.drills, "cancelled": found.cancelled,
        "found_by_check": found.found_by_check, "with_rto": found.with_rto, "within_rto": found.within_rto,
        "times": {
            name: {"n": each.n, "median": each.median, "p90": each.p90, "definition": DEFINITIONS[name]}
            for name, each in found.times.items()
        },
    }  # fmt: skip


def _print(found: Period, since: str) -> None:
    left_out = ", ".join(
        f"{count} {what}" for count, what in ((found.drills, "drill(s)"), (found.cancelled, "cancelled")) if count
    )
    out(f"{found.incidents} incident(s) in the last {since}" + (f"; left out: {left_out}" if left_out else ""))
    if not found.incidents:
        return
    head = [dim(each) for each in ("time to", "n", "median", "90 %", "definition")]
    rows: list[list[Any]] = [head]
    for name, each in found.times.items():
        values = [format_duration(each.median), format_duration(each.p90)] if each.median is not None and each.p90 is not None else ["–", "–"]  # fmt: skip # noqa: E501
        rows.append([name, str(each.n), *values, dim(DEFINITIONS[name])])
    table(rows)
    out(f"found by a check before a person: {found.found_by_check} of {found.incidents}")
    if found.with_rto:
        role = Role.OK if found.within_rto == found.with_rto else Role.DEGRADED
        out("mitigated within what was promised: ", Painted(f"{found.within_rto} of {found.with_rto}", role))
