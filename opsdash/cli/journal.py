"""The journal, read straight from its files: it works without an engine, and beside one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from opsdash.cli import exits
from opsdash.cli.base import add_json, add_workspace, places_of
from opsdash.cli.terminal import Painted, Role, dim, moment, out, out_json, say
from opsdash.core.telling import NO_NEWS, component_of, tell, who_of
from opsdash.errors import JournalTooNew
from opsdash.storage import segments
from opsdash.storage.codec import decode
from opsdash.storage.entries import CHECKPOINT

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from opsdash.storage.entries import Entry

EXAMPLE = "opsdash journal tail email -n 50"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash journal`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="tail|verify|export|rebuild")
    tail = verbs.add_parser("tail", help="the latest records, in sentences")
    tail.add_argument("component", nargs="?", metavar="COMPONENT", help="only this one's")
    tail.add_argument("-n", type=int, default=30, metavar="COUNT", help="how many (default: 30)")
    add_json(tail)
    verify = verbs.add_parser("verify", help="is it what was written? lists every place where it is not")
    add_json(verify)
    export = verbs.add_parser("export", help="every entry as it was written, one JSON object a line")
    export.add_argument("--since", type=int, default=0, metavar="SEQ", help="only entries after this number")
    rebuild = verbs.add_parser("rebuild", help="make the documents (past switches, incidents, evidence) anew from it")
    for each in (tail, verify, export, rebuild):
        add_workspace(each)


def run(arguments: argparse.Namespace) -> int:
    """Read the journal."""
    folder = places_of(arguments).journal
    if not segments.segment_paths(folder):
        say(f"there is no journal in {folder}: no engine has ever run here")
    if arguments.verb == "tail":
        return _tail(arguments, folder)
    if arguments.verb == "verify":
        return _verify(arguments, folder)
    if arguments.verb == "rebuild":
        return _rebuild(arguments, folder)
    return _export(arguments, folder)


def _tail(arguments: argparse.Namespace, folder: Path) -> int:
    told = _newest(folder, max(arguments.n, 0), arguments.component)
    for line in told:
        if arguments.json:
            out_json(line)
        else:
            who = "" if line["who"] in {"", "opsdash"} else f"{line['who']}: "
            out(dim(f"{line['seq']:>6}  {moment(line['at'])}  "), who, line["text"])
    return exits.OK


def _newest(folder: Path, count: int, component: str | None) -> list[dict[str, Any]]:
    """The last lines, oldest first."""
    if component is None:
        latest = (entry for entry in segments.read_tail(folder, 2 * count) if _is_news(entry))
        return [_line(entry) for entry in latest][-count:] if count else []
    of_component = [line for line in map(_line, _records(folder)) if line["component"] == component]
    return of_component[-count:] if count else []


def _records(folder: Path) -> Iterator[Entry]:
    return (entry for entry in segments.read_entries(folder) if _is_news(entry))


def _is_news(entry: Entry) -> bool:
    return entry.type != CHECKPOINT and entry.type not in NO_NEWS


def _line(entry: Entry) -> dict[str, Any]:
    """An entry in a sentence; one that this version does not know is shown by its name."""
    line: dict[str, Any] = {"seq": entry.seq, "at": entry.at.timestamp(), "type": entry.type}
    try:
        record = decode(entry.type, entry.data)
    except JournalTooNew:
        return {**line, "component": None, "who": "", "text": f"{entry.type} (of a newer version)", "status": None}
    return {
        **line,
        "component": component_of(record),
        "status": getattr(getattr(record, "status", None), "value", None),
        "reason": getattr(getattr(record, "reason", None), "value", None) or getattr(record, "reason", None),
        "who": who_of(record),
        "text": tell(record),
        "data": dict(entry.data),
    }


def _verify(arguments: argparse.Namespace, folder: Path) -> int:
    problems = segments.verify(folder)
    if arguments.json:
        out_json(
            {
                "component": None,
                "status": "broken" if problems else "intact",
                "reason": str(problems[0]) if problems else None,
                "problems": [str(problem) for problem in problems],
            }
        )
    for problem in problems if not arguments.json else ():
        out(Painted(f"{problem.kind.value}: {problem}", Role.DOWN))
    count = sum(1 for _ in segments.read_entries(folder)) if not problems else 0
    say(f"{len(problems)} places are not what was written" if problems else f"intact: {count} entries, one chain")
    return exits.FAILED if problems else exits.OK


def _export(arguments: argparse.Namespace, folder: Path) -> int:
    for entry in segments.read_entries(folder, arguments.since):
        sys.stdout.write(entry.line().decode("ascii"))
    return exits.OK


def _rebuild(arguments: argparse.Namespace, folder: Path) -> int:
    """The documents belong to whoever holds the lock, so this is for when no engine runs."""
    from opsdash.service.places import Lock
    from opsdash.storage.derived import rebuild
    from opsdash.storage.documents import Documents

    where = places_of(arguments)
    lock = Lock(where)
    if not lock.take():
        say("an engine is running, and writes the documents itself; stop it first: `opsdash engine stop`")
        return exits.FAILED
    try:
        collections = rebuild(segments.read_entries(folder))
        Documents(where.documents).rebuild(collections)
    finally:
        lock.release()
    counts = ", ".join(f"{len(documents)} {name}" for name, documents in collections.items())
    say(f"rebuilt from the journal: {counts}")
    return exits.OK
