"""Whether a file with the evidence of a drill is what was written: every place that somebody has edited.

A JSON file carries the journal's entries that it was made from. So it can be checked anywhere: each entry has to fit
its own hash, and all that the file says has to follow from its entries. Beside the workspace's journal it can be seen
as well that the entries are those, and that none was left out. Markdown has the hashes alone; it is made anew out of
the journal and compared line by line.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, Any, Final

from opsdash.cli import exits
from opsdash.cli.base import UsageError, places_of
from opsdash.cli.drill_records import document_of, records_of_drills, with_the_usual
from opsdash.cli.terminal import Painted, Role, out, out_json, say
from opsdash.core import drill_evidence
from opsdash.core.report_runs import moment
from opsdash.errors import JournalTooNew
from opsdash.model.text import clean
from opsdash.storage import codec, segments
from opsdash.storage.entries import BadLineError, canonical, decode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from opsdash.model.records import Record
    from opsdash.storage.entries import Entry

LARGEST = 4 * 1024 * 1024
"""Bytes of a file that is read."""

RUN = re.compile(r"`(DRILL-\d+)`")
OF_THE_COMMAND = frozenset({"journal_problems"})
"""Keys that say how the journal was when the file was written."""

WORDS_SHOWN = 80
NOTHING: Final = object()
"""What stands where a key or an item is missing."""


def run(arguments: argparse.Namespace) -> int:
    """List every place where a file with evidence is not what was written. Returns the exit code."""
    text = _read(arguments.file)
    here = _journal(arguments)
    if text.lstrip().startswith("{"):
        found, problems = _of_json(text, here)
    else:
        found, problems = _of_markdown(text, here)
    problems = [f"{arguments.file.name}: {problem}" for problem in problems]
    if arguments.json:
        status = "edited" if problems else "intact"
        out_json({"component": None, "status": status, "reason": problems[0] if problems else None, "run": found,
                  "problems": problems, "with_journal": here is not None})  # fmt: skip
    for problem in problems if not arguments.json else ():
        out(Painted(f"edited: {problem}", Role.DOWN))
    if here is None:
        say("no journal is here, so nobody can see whether entries were left out, or made anew with their hashes")
    say(f"{len(problems)} places are not what was written" if problems else f"{arguments.file.name}: intact, {found}")
    return exits.FAILED if problems else exits.OK


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(LARGEST).decode("utf-8", "replace")
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}") from error


def _journal(arguments: argparse.Namespace) -> list[tuple[Entry, Record]] | None:
    """The entries about drills of the workspace's journal; None where there is none here."""
    try:
        folder = places_of(arguments).journal
    except UsageError:
        return None
    if not segments.segment_paths(folder):
        return None
    for problem in segments.verify(folder):
        say(Painted("the journal is not what was written: ", Role.DOWN), str(problem))
    return list(records_of_drills(folder))


# --- JSON ----------------------------------------------------------------------------------------------------------


def _of_json(text: str, here: list[tuple[Entry, Record]] | None) -> tuple[str, list[str]]:
    try:
        told = json.loads(text)
        entries, name = list(told["journal"]), str(told["run"])
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise UsageError("this is no evidence of a drill, as `opsdash drill evidence RUN --json` writes it") from error
    intact, problems = _entries(entries)
    problems += _broken_links(entries)
    if not problems:
        problems += _does_not_follow(told, document_of(name, intact))
    if here is not None:
        problems += _not_in_the_journal(name, entries, here)
    return clean(name, WORDS_SHOWN), problems


def _entries(entries: list[Any]) -> tuple[list[tuple[Entry, Record]], list[str]]:
    """Those that fit their own hash, and what is wrong with the others."""
    intact, problems = [], []
    for number, each in enumerate(entries):
        try:
            entry = decode(canonical(each).encode())
            intact.append((entry, codec.decode(entry.type, entry.data)))
        except BadLineError as bad:
            said = f"expected {bad.expected}, found {bad.found}"
            problems.append(f"{_place(number, each)}: {clean(said, 300)}")
        except (JournalTooNew, ValueError, RecursionError) as error:
            problems.append(f"{_place(number, each)}: {clean(str(error), 300)}")
    return intact, problems


def _place(number: int, entry: Any) -> str:
    """`journal[3] (entry 28, drill_ended)`."""
    about = entry if isinstance(entry, dict) else {}
    return clean(f"journal[{number}] (entry {about.get('seq')}, {about.get('type')})", WORDS_SHOWN)


def _broken_links(entries: list[Any]) -> Iterator[str]:
    """Where one of two entries that follow each other does not name the hash of the other; a moved one."""
    read = [(number, each) for number, each in enumerate(entries) if isinstance(each, dict)]
    for (_, before), (number, after) in pairwise(read):
        first, second = _number(before), _number(after)
        if first is None or second is None:
            continue
        if second <= first:
            yield f"{_place(number, after)}: it stands behind entry {first}"
        elif second == first + 1 and after.get("prev") != before.get("hash"):
            yield f"{_place(number, after)}: it does not name the hash of entry {first}"


def _does_not_follow(told: Mapping[str, Any], document: dict[str, Any] | None) -> Iterator[str]:
    """What the file says beside its entries, and does not follow from them."""
    if document is None:
        yield "journal: the end of the run is not among its entries"
        return
    expected = json.loads(json.dumps(with_the_usual(document)))
    yield from _differences("", {key: value for key, value in told.items() if key not in OF_THE_COMMAND}, expected)


def _differences(where: str, told: Any, expected: Any) -> Iterator[str]:
    """Each value that differs, with the path of keys that leads to it."""
    if isinstance(told, dict) and isinstance(expected, dict):
        for key in sorted(told.keys() | expected.keys()):
            place = clean(f"{where}.{key}" if where else key, WORDS_SHOWN)
            yield from _differences(place, told.get(key, NOTHING), expected.get(key, NOTHING))
    elif isinstance(told, list) and isinstance(expected, list):
        for number, (one, other) in enumerate(zip_longest(told, expected, fillvalue=NOTHING)):
            yield from _differences(f"{where}[{number}]", one, other)
    elif told != expected:
        yield f"{where}: {_shown(told)}, and by its entries {_shown(expected)}"


def _shown(value: Any) -> str:
    return "nothing" if value is NOTHING else clean(json.dumps(value, ensure_ascii=True), WORDS_SHOWN)


def _not_in_the_journal(name: str, entries: list[Any], here: list[tuple[Entry, Record]]) -> Iterator[str]:
    """What is in the file and not in the journal, and the other way round."""
    known: dict[Any, str] = {entry.seq: entry.hash for entry, record in here if drill_evidence.is_about(record, name)}
    told = {_number(each) for each in entries}
    for number, each in enumerate(entries):
        seq, sha256 = _number(each), each.get("hash") if isinstance(each, dict) else None
        if known.get(seq) != sha256:
            yield f"{_place(number, each)}: the journal has {known.get(seq, 'no such entry of this run')}"
    for seq in sorted(known.keys() - told):
        yield f"journal: entry {seq} of this run was left out"


def _number(entry: Any) -> int | None:
    found = entry.get("seq") if isinstance(entry, dict) else None
    return found if isinstance(found, int) else None


# --- Markdown ------------------------------------------------------------------------------------------------------


def _of_markdown(text: str, here: list[tuple[Entry, Record]] | None) -> tuple[str, list[str]]:
    named = RUN.search(text)
    if named is None:
        raise UsageError("this is no evidence of a drill, as `opsdash drill evidence RUN` writes it")
    name = named.group(1)
    if here is None:
        raise UsageError("Markdown is compared with the journal: give its workspace with -w, or check a JSON file")
    document = document_of(name, here)
    if document is None:
        return name, [f"line 1: no run {name} has ended, by the journal"]
    expected = drill_evidence.markdown(document, moment).splitlines()
    lines = enumerate(zip_longest(text.splitlines(), expected), start=1)
    return name, [f"line {number}: {_words(told)}, and by the journal {_words(line)}"
                  for number, (told, line) in lines if told != line]  # fmt: skip


def _words(line: str | None) -> str:
    return "nothing" if line is None else f"'{clean(line, WORDS_SHOWN)}'"
