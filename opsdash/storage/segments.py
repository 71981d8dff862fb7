"""Reading the journal: its monthly segments, what a start replays, and where the chain is broken.

A folder of segments `2026-10.jsonl`, `2026-11.jsonl`, … is one chain. Each segment begins with a checkpoint,
so that a start reads the newest segment alone. Everything in this module only reads: it works beside a
running engine (the half-written line of an append in progress is simply not there yet) and without one.

What cannot be trusted:

- *A torn last line*, or the beginning of a batch whose end is missing: never acknowledged. Left out, with a
  notice.
- *A line that is no entry, or does not fit its own hash*: left out, reported with file and line. Entries
  around it stand: dropping a switch in flight because a line before it was edited would be the greater harm.
- *An entry that fits its hash but not its neighbours* (lines are missing, added, moved): it stands, the place
  is reported.
- *A checkpoint that is one of these*: the one before is taken, and all entries since.
- *An entry of a newer version*: reading stops, since a guess could be acted on.

Entries cut off cleanly at the end leave no trace in the chain; nor do whole months taken away at its
beginning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from opsdash.errors import JournalCorrupt, JournalError, JournalTooNew
from opsdash.storage.disk import Notice, NoticeCode
from opsdash.storage.entries import (
    CHECKPOINT,
    BadLineError,
    Entry,
    Link,
    Problem,
    ProblemKind,
    decode,
    misfit,
    state_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

_SEGMENT = re.compile(r"\d{4}-\d{2}\.jsonl")


@dataclass(frozen=True, slots=True)
class Replay:
    """What a start works with: a state, what happened since, and what is wrong with the files.

    checkpoint: the newest state that can be trusted; None before anything happened. at: its time, in seconds since
    1970 UTC. entries: what followed it, oldest first, without checkpoints. problems: broken places in the segments
    that were read. An engine that finds any writes a checkpoint once it has told its operator, so that the next start
    does not depend on the damaged part.
    """

    checkpoint: dict[str, Any] | None
    entries: tuple[Entry, ...]
    notices: tuple[Notice, ...] = ()
    problems: tuple[Problem, ...] = ()
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """One file, read.

    lines: the intact entries of complete batches.
    problems: broken places, apart from an end that is `torn`.
    length: up to where the file counts; one more than its size where only the last newline is missing.
    link: what the next entry has to fit; None when no entry could be read.
    """

    path: Path
    size: int
    lines: tuple[Line, ...]
    problems: tuple[Problem, ...]
    torn: Problem | None
    length: int
    link: Link | None

    @property
    def has_checkpoint(self) -> bool:
        """Whether a start may begin in here."""
        return any(line.entry.type == CHECKPOINT for line in self.lines)


@dataclass(frozen=True, slots=True)
class Line:
    """An intact entry and its place: line number, offset of its first byte, what it had to fit."""

    number: int
    start: int
    entry: Entry
    before: Link | None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A replay, and where the next entry goes. `segment` is None when there is no journal yet."""

    replay: Replay
    segment: Segment | None
    link: Link


def segment_paths(folder: Path) -> list[Path]:
    """The segments in `folder`, oldest first. Raises JournalError when this account may not look."""
    try:
        if not folder.is_dir():
            return []
        return sorted(path for path in folder.iterdir() if _SEGMENT.fullmatch(path.name))
    except OSError as error:
        raise JournalError(f"the journal in {folder} cannot be read: {error.strerror}") from error


def load(folder: Path) -> Loaded:
    """What a start works with. Raises JournalError when a segment cannot be read, JournalTooNew, and
    JournalCorrupt when there are segments but not one entry can be read.
    """
    segments = _segments_from_newest_checkpoint(folder)
    if not segments:
        return Loaded(Replay(None, ()), None, Link())
    entries = [line.entry for segment in segments for line in segment.lines]
    problems = tuple(_problems(segments))
    if not entries and problems:
        raise JournalCorrupt(
            f"no entry of the journal can be read ({problems[0]}); restore {folder} from a backup, or move "
            "it away to start with an empty one"
        )
    start = max((index for index, entry in enumerate(entries) if entry.type == CHECKPOINT), default=-1)
    replay = Replay(
        checkpoint=None if start < 0 else state_of(entries[start]),
        entries=tuple(entries[start + 1 :]),
        notices=tuple(_notices(segments, problems, begins_at=entries[max(start, 0)] if entries else None)),
        problems=problems,
        at=None if start < 0 else entries[start].at.timestamp(),
    )
    link = next((segment.link for segment in reversed(segments) if segment.link), Link())
    return Loaded(replay, segments[-1], link)


def read_entries(folder: Path, since_seq: int = 0, types: Collection[str] | None = None) -> Iterator[Entry]:
    """Intact entries with a number above `since_seq`, oldest first, of the given types (all, checkpoints
    included).
    """
    for path in _paths_after(folder, since_seq):
        for line in read_segment(path).lines:
            if line.entry.seq > since_seq and (types is None or line.entry.type in types):
                yield line.entry


def read_tail(folder: Path, count: int) -> list[Entry]:
    """The last `count` intact entries, oldest first."""
    newest: list[Entry] = []
    for path in reversed(segment_paths(folder)):
        if len(newest) >= count:
            break
        newest = [line.entry for line in read_segment(path).lines] + newest
    return newest[-count:] if count > 0 else []


def verify(folder: Path) -> list[Problem]:
    """Every place where the journal is not what was written, oldest first; none when the chain holds.

    The torn end of the newest segment is none: it was never acknowledged, and may be an append in progress.
    """
    segments: list[Segment] = []
    for path in segment_paths(folder):
        try:
            segments.append(read_segment(path))
        except JournalTooNew as error:
            too_new = Problem(path, 1, None, ProblemKind.TOO_NEW, "a version that can be read", str(error))
            return [*_problems(segments), too_new]
    return _problems(segments)


def read_segment(path: Path) -> Segment:
    """Read one segment; its first entry is taken as it is. Raises JournalError, JournalTooNew."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise JournalError(f"{path} cannot be read ({error.strerror}); see that it is a file of yours") from error
    lines: list[Line] = []
    problems: list[Problem] = []
    torn: Problem | None = None
    link: Link | None = None
    length = 0
    for number, start, raw in _split(content):
        try:
            entry = _decode(raw, path, number)
        except BadLineError as bad:
            if start + len(raw) == len(content):
                found = f"{len(raw)} bytes without an end"
                torn = Problem(path, number, None, ProblemKind.TORN, "a whole line", found)
                break
            seq = bad.entry.seq if bad.entry else None
            problems.append(Problem(path, number, seq, bad.kind, bad.expected, bad.found))
            link = _link_after(bad, link)
        else:
            wrong = misfit(entry, link) if link else None
            if wrong:
                problems.append(Problem(path, number, entry.seq, ProblemKind.CHAIN, *wrong))
            lines.append(Line(number, start, entry, link))
            link = Link.after(entry)
        length = start + len(raw) + 1
    unfinished = _unfinished_batch(lines, problems)
    if unfinished:
        first = unfinished[0]
        found = f"the beginning of a batch ({len(unfinished)} entries) without its end"
        torn = Problem(path, first.number, first.entry.seq, ProblemKind.TORN, "a whole batch", found)
        problems = [problem for problem in problems if problem.line < first.number]
        lines, link, length = lines[: -len(unfinished)], first.before, first.start
    if not any(place.line == 1 for place in problems) and (not lines or lines[0].entry.type != CHECKPOINT):
        found = lines[0].entry.type if lines else "nothing"
        missing = Problem(path, 1, None, ProblemKind.NO_CHECKPOINT, "a checkpoint at the beginning", found)
        problems.insert(0, missing)
    return Segment(path, len(content), tuple(lines), tuple(problems), torn, length, link)


def _split(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Number, first offset and content of each line; the last one may lack its newline."""
    start = 0
    for number, raw in enumerate(content.split(b"\n"), start=1):
        if raw or start < len(content):
            yield number, start, raw
        start += len(raw) + 1


def _decode(raw: bytes, path: Path, number: int) -> Entry:
    try:
        return decode(raw)
    except JournalTooNew as error:
        raise JournalTooNew(
            f"{path}, line {number}: {error}; start the version of opsdash that wrote it, or a newer one"
        ) from error


def _link_after(bad: BadLineError, link: Link | None) -> Link | None:
    """What follows a bad line. The hash that an edited entry still carries is what its successor was bound
    to.
    """
    if bad.entry:
        return Link.after(bad.entry)
    return link.skipping() if link else None


def _unfinished_batch(lines: Sequence[Line], problems: Sequence[Problem]) -> list[Line]:
    """The entries at the very end that announce more, with no damaged line behind that might be the rest."""
    unfinished: list[Line] = []
    damaged = problems[-1].line if problems else 0
    for line in reversed(lines):
        if not line.entry.more or line.number < damaged:
            break
        unfinished.insert(0, line)
    return unfinished


def _segments_from_newest_checkpoint(folder: Path) -> list[Segment]:
    segments: list[Segment] = []
    for path in reversed(segment_paths(folder)):
        segments.insert(0, read_segment(path))
        if segments[0].has_checkpoint:
            break
    return segments


def _problems(segments: Sequence[Segment]) -> list[Problem]:
    """The problems of consecutive segments and of the seams between them."""
    found = list(segments[0].problems) if segments else []
    for earlier, later in pairwise(segments):
        if earlier.torn:
            found.append(earlier.torn)
        first = later.lines[0] if later.lines else None
        wrong = misfit(first.entry, earlier.link) if first and first.number == 1 and earlier.link else None
        if first and wrong:
            found.append(Problem(later.path, 1, first.entry.seq, ProblemKind.CHAIN, *wrong))
        found.extend(later.problems)
    return found


def _notices(segments: Sequence[Segment], problems: Sequence[Problem], begins_at: Entry | None) -> Iterator[Notice]:
    newest = segments[-1]
    if newest.torn:
        message = f"{newest.torn}; it was never acknowledged and is dropped"
        yield Notice(NoticeCode.TORN_LINE, message, newest.path)
    if problems:
        message = (
            f"the journal is not what was written, in {len(problems)} places: {problems[0]}. Lines that "
            "cannot be trusted were left out; `opsdash journal verify` lists them all"
        )
        yield Notice(NoticeCode.BROKEN_CHAIN, message, problems[0].file)
    if not newest.has_checkpoint and len(segments) > 1:
        message = f"{newest.path.name} has no usable checkpoint; went on from that of {segments[0].path.name}"
        yield Notice(NoticeCode.TORN_CHECKPOINT, message, newest.path)
    if begins_at and begins_at.type != CHECKPOINT and begins_at.seq > 2:
        message = (
            f"no checkpoint can be used, and entries before {begins_at.seq} are missing: what they said is "
            "not known any more. Compare every component with what is really active"
        )
        yield Notice(NoticeCode.INCOMPLETE, message, segments[0].path)


def _paths_after(folder: Path, since_seq: int) -> list[Path]:
    """The segments that may hold entries above `since_seq`, by the number that each one begins with."""
    paths = segment_paths(folder)
    for index in range(len(paths) - 1, 0, -1):
        first = _first_seq(paths[index])
        if first is not None and first <= since_seq + 1:
            return paths[index:]
    return paths


def _first_seq(path: Path) -> int | None:
    try:
        with path.open("rb") as file:
            return _decode(file.readline().rstrip(b"\n"), path, 1).seq
    except (OSError, BadLineError):
        return None
