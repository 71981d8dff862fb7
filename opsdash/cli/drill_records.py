"""What drills have shown, and when they are due, read from files and journal alone: it works without an engine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from opsdash.cli import exits
from opsdash.cli.base import UsageError, places_of, workspace_of
from opsdash.cli.drill import VERDICT
from opsdash.cli.terminal import Painted, Role, dim, moment, out_json, out_lines, say, sign, table
from opsdash.core import drill_calendar, drill_evidence
from opsdash.core.report_runs import moment as moment_in_utc
from opsdash.errors import EngineError, JournalTooNew
from opsdash.model import records as r
from opsdash.storage import segments
from opsdash.storage.codec import RECORD_TYPES, decode
from opsdash.storage.entries import CHECKPOINT

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from opsdash.cli.terminal import Part
    from opsdash.model.drill import DrillRun
    from opsdash.model.records import Record
    from opsdash.storage.entries import Entry

OF_DRILLS = frozenset({name for name in RECORD_TYPES if name.startswith("drill_")} | {"proved"})


def run(arguments: argparse.Namespace) -> int:
    """History, evidence, whether that was edited, or the calendar."""
    if arguments.verb == "calendar":
        return _calendar(arguments)
    if arguments.verb == "verify":
        from opsdash.cli import drill_verify

        return drill_verify.run(arguments)
    folder = places_of(arguments).journal
    found = list(records_of_drills(folder))
    problems = [str(problem) for problem in segments.verify(folder)]
    if arguments.verb == "history":
        _history(arguments, _ended(found))
    else:
        _evidence(arguments, found, problems)
    for problem in problems:
        say(Painted("the journal is not what was written: ", Role.DOWN), problem)
    return exits.FAILED if problems else exits.OK


def records_of_drills(folder: Path) -> Iterator[tuple[Entry, Record]]:
    """The journal's entries about drills, oldest first. Raises JournalError where it cannot be read."""
    for entry in segments.read_entries(folder):
        if entry.type == CHECKPOINT or entry.type not in OF_DRILLS:
            continue
        try:
            yield entry, decode(entry.type, entry.data)
        except JournalTooNew:
            continue


def _ended(found: list[tuple[Entry, Record]]) -> list[DrillRun]:
    return [record.run for _, record in found if isinstance(record, r.DrillEnded)]


def _history(arguments: argparse.Namespace, ended: list[DrillRun]) -> None:
    shown = [each for each in reversed(ended) if arguments.drill in (None, each.drill.id)]
    if arguments.json:
        for each in shown:
            verdict = None if each.verdict is None else each.verdict.value
            line = {"component": each.component, "status": verdict, "reason": "; ".join(each.why) or None}
            about = {"run": each.id, "drill": each.drill.id, "level": each.drill.level.value, "who": each.who}
            times = {"at": each.started_at, "ended_at": each.ended_at, "measured": drill_evidence.measured(each)}
            out_json({**line, **about, **times})
        return
    if not shown:
        say("no drill has ended" if arguments.drill is None else f"drill {arguments.drill} was never run to its end")
    table([_row(each) for each in shown])


def _row(each: DrillRun) -> list[Part]:
    measured = drill_evidence.measured(each)
    took = f"recovered in {measured['recovery']:.1f} s" if "recovery" in measured else ""
    verdict = sign(VERDICT, "" if each.verdict is None else each.verdict.value)
    return [each.id, dim(moment(each.started_at)), each.drill.id, each.drill.level.value, verdict, took, dim(each.who)]


def _evidence(arguments: argparse.Namespace, found: list[tuple[Entry, Record]], problems: list[str]) -> None:
    name = _meant(arguments.run, _ended(found), problems)
    if name is None:
        return
    document = document_of(name, found)
    assert document is not None  # noqa: S101 - it is among those that have ended
    if arguments.json:
        out_json({**with_the_usual(document), "journal_problems": problems})
    else:
        out_lines(drill_evidence.markdown(document, moment_in_utc))


def document_of(run: str, found: list[tuple[Entry, Record]]) -> dict[str, Any] | None:
    """The evidence of a run out of the journal's entries about drills; None where its end is not among them."""
    about = [(entry, record) for entry, record in found if drill_evidence.is_about(record, run)]
    records = [record for _, record in about]
    ended = drill_evidence.gather(records)
    if ended is None:
        return None
    return drill_evidence.document(ended, records, [json.loads(entry.line()) for entry, _ in about])


def with_the_usual(document: dict[str, Any]) -> dict[str, Any]:
    """The evidence with `status` and `reason`, which every command has at the top of its JSON."""
    reason = "; ".join(document["why"]) or None
    return {**document, "status": document["verdict"], "reason_given": document["reason"], "reason": reason}


def _meant(name: str, ended: list[DrillRun], problems: list[str]) -> str | None:
    """The id of a run, by its id or that of its drill. None: it may be what is not as it was written."""
    of_drill = [each.id for each in ended if each.drill.id == name]
    if any(each.id == name for each in ended):
        return name
    if of_drill:
        return of_drill[-1]
    missing = f"no run {name!r} has ended, by the journal; `opsdash drill history` lists them"
    if not problems:
        raise UsageError(missing)
    say(missing)
    return None


def _calendar(arguments: argparse.Namespace) -> int:
    from opsdash.cli.offline import read_offline
    from opsdash.engine.clock import system_clock

    offline = read_offline(workspace_of(arguments))
    lines = offline.drills().drills()["drills"]
    operation = offline.loaded.operation
    planned = [(operation.drills[line["id"]], line["due"]) for line in lines if line["due"] is not None]
    text = drill_calendar.calendar(operation.title, planned, system_clock().wall)
    if arguments.output is None:
        print(text, end="")
        return exits.OK
    try:
        arguments.output.write_bytes(text.encode())
    except OSError as error:
        raise EngineError(f"{arguments.output} cannot be written: {error.strerror or error}") from error
    say(f"{len(planned)} drills with a date, in {arguments.output}")
    return exits.OK
