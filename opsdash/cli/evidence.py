"""The evidence of switches, out of the journal: it works without an engine, and beside one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from opsdash.cli import exits
from opsdash.cli.base import UsageError, add_json, add_workspace, places_of
from opsdash.cli.terminal import Painted, Role, dim, moment, out_json, out_lines, say, table
from opsdash.core import evidence
from opsdash.core.steps import undo_call, undo_sequence
from opsdash.core.switch_views import detail_of, switch_times
from opsdash.errors import JournalTooNew, KindError
from opsdash.kinds.registry import action_kind
from opsdash.model import records as r
from opsdash.model.switch import MOVES_PROVIDER
from opsdash.storage import segments
from opsdash.storage.codec import decode
from opsdash.storage.entries import CHECKPOINT

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from opsdash.model.operation import ActionCall
    from opsdash.model.records import Record
    from opsdash.model.switch import Switch
    from opsdash.storage.entries import Entry

EXAMPLE = "opsdash evidence email-failover-3 --format markdown > email-failover-3.md"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash evidence`."""
    parser.add_argument("switch", nargs="?", metavar="SWITCH", help="id of a switch, or a component: its last switch")
    parser.add_argument("--format", choices=["markdown", "json"], default="markdown", help="default: markdown")
    add_json(parser)
    add_workspace(parser)


def run(arguments: argparse.Namespace) -> int:
    """List all switches, or print the evidence of one."""
    folder = places_of(arguments).journal
    found = list(_switch_records(folder))
    problems = [str(problem) for problem in segments.verify(folder)]
    if arguments.switch is None:
        _list(arguments, [record for _, record in found])
        return _judged(problems)
    wanted = _meant(arguments.switch, [record for _, record in found])
    about = [(entry, record) for entry, record in found if evidence.is_about(record, wanted)]
    document = _document(about)
    if arguments.json or arguments.format == "json":
        out_json({**document, "status": document["outcome"], "journal_problems": problems})
    else:
        out_lines(evidence.markdown(document, moment))
    return _judged(problems)


def _judged(problems: list[str]) -> int:
    """Evidence counts for nothing where the journal is not what was written: say where. Returns the exit code."""
    for problem in problems:
        say(Painted("the journal is not what was written: ", Role.DOWN), problem)
    return exits.FAILED if problems else exits.OK


def _switch_records(folder: Path) -> Iterator[tuple[Entry, Record]]:
    """The journal's entries about switches."""
    for entry in segments.read_entries(folder):
        if entry.type == CHECKPOINT:
            continue
        try:
            record = decode(entry.type, entry.data)
        except JournalTooNew:
            continue
        if isinstance(record, r.SwitchIntended | r.Proved) or hasattr(record, "switch"):
            yield entry, record


def _meant(name: str, records: list[Record]) -> str:
    """The id of a switch, by its id or its component."""
    begun = [record.switch for record in records if isinstance(record, r.SwitchIntended)]
    if any(switch.id == name for switch in begun):
        return name
    of_component = [switch.id for switch in begun if switch.plan.component == name]
    if not of_component:
        raise UsageError(f"no switch {name!r} is in the journal; `opsdash evidence` lists them")
    return of_component[-1]


def _document(about: list[tuple[Entry, Record]]) -> dict[str, Any]:
    records = [record for _, record in about]
    switch = evidence.gather(records)
    if switch is None:
        raise UsageError("the beginning of this switch is not in the journal")
    entries = [
        {"seq": entry.seq, "at": entry.at.timestamp(), "type": entry.type, "hash": entry.hash, "prev": entry.prev}
        for entry, _ in about
    ]
    plan = next(entry.data["switch"]["plan"] for entry, record in about if isinstance(record, r.SwitchIntended))
    return evidence.document(switch, records, entries, plan, _by_hand(switch))


def _by_hand(switch: Switch) -> dict[str, str]:
    """The equivalent commands there and back, each way in order, by what they do."""
    plan = switch.plan
    whole = replace(switch, begun=plan.sequence)
    calls: dict[str, ActionCall | None] = {}
    for name in plan.sequence:
        step = plan.step(name)
        calls[name] = plan.call if step is None else step.action
    calls |= {f"undo {name}": undo_call(whole, name) for name in undo_sequence(whole)}
    return {what: command for what, call in calls.items() if (command := _manual(call))}


def _manual(call: ActionCall | None) -> str:
    if call is None:
        return ""
    try:
        return action_kind(call.kind).manual_command(call.raw)
    except (KindError, KeyError, TypeError, ValueError) as error:
        return f"# no equivalent command: {error}"


def _list(arguments: argparse.Namespace, records: list[Record]) -> None:
    switches = evidence.gather_all(records)
    if arguments.json:
        for switch in switches:
            reason = detail_of(switch) or None
            line = {"component": switch.plan.component, "status": switch.state.value, "reason": reason}
            out_json({**line, "switch": switch.id, "who": switch.who, "at": switch.intended_at})
        return
    if not switches:
        say("no switch is in the journal")
    table([_row(switch) for switch in switches])


def _row(switch: Switch) -> list[Any]:
    plan = switch.plan
    ends = f"{plan.source or 'unknown'} → {plan.target}" if plan.kind in MOVES_PROVIDER else plan.target or plan.source
    took = switch_times(switch, switch.intended_at if switch.ended_at is None else switch.ended_at)["total"]
    return [switch.id, dim(moment(switch.intended_at)), switch.state.value, ends, f"{took:.1f} s", dim(switch.who)]
