r"""Entries of the journal, and the chain that binds them.

An entry is one line of JSON:

    {"at":"2026-11-03T10:00:00.000000Z","data":{…},"hash":"…","prev":"…","seq":7,"type":"…","v":1}

`hash` is the SHA-256 of the canonical JSON (sorted keys, no spaces, ASCII) of all other fields; `prev` is the
`hash` of the entry before. So a line that was edited no longer fits its own hash, and a line that was
removed, added or moved no longer fits its neighbours. The chain finds damage and careless edits; it is no
signature: somebody who rewrites everything from one entry on rewrites the hashes too.

All entries but the last of one batch carry `"more": true`. What one decision has recorded counts together or
not at all: a batch whose end never reached the disk was never acknowledged, and is dropped with the torn
line.

ASCII also means that control characters, bidi marks and the like stand in the file as `\u…`: `cat` is safe.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NoReturn

from opsdash.errors import JournalError, JournalTooNew

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 1
"""Of the entries that are written; a higher one stops the reading."""

GENESIS = "0" * 64
"""`prev` of the first entry of all."""

CHECKPOINT = "checkpoint"
"""Type of the entry that holds a whole state: `{"state": …}`, null for the state before anything happened."""

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, as it is on disk."""

    seq: int
    at: datetime
    type: str
    data: Json
    prev: str
    hash: str
    v: int = VERSION
    more: bool = False

    def line(self) -> bytes:
        """The entry as its line, newline included."""
        return (canonical(self._body() | {"hash": self.hash}) + "\n").encode("ascii")

    def _body(self) -> dict[str, Any]:
        body = {
            "seq": self.seq,
            "at": format_time(self.at),
            "v": self.v,
            "type": self.type,
            "data": self.data,
            "prev": self.prev,
        }
        return body | {"more": True} if self.more else body


class ProblemKind(StrEnum):
    """What is wrong with a line of the journal."""

    UNREADABLE = "unreadable"
    EDITED = "edited"
    CHAIN = "chain"
    TORN = "torn"
    TOO_NEW = "too_new"
    NO_CHECKPOINT = "no_checkpoint"


@dataclass(frozen=True, slots=True)
class Problem:
    """A place where the journal is not what was written. `seq` is the entry's, where it can be read."""

    file: Path
    line: int
    seq: int | None
    kind: ProblemKind
    expected: str
    found: str

    def __str__(self) -> str:
        entry = "" if self.seq is None else f" (entry {self.seq})"
        return f"{self.file.name}, line {self.line}{entry}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True, slots=True)
class Link:
    """What the next entry has to fit. `prev` is None after a line whose hash cannot be known."""

    seq: int = 1
    prev: str | None = GENESIS

    @staticmethod
    def after(entry: Entry) -> Link:
        """The link that `entry` offers to its successor."""
        return Link(entry.seq + 1, entry.hash)

    def skipping(self) -> Link:
        """The link after a line that cannot be read."""
        return Link(self.seq + 1, None)


class BadLineError(Exception):
    """A line that is not an intact entry; `entry` is what it claims to be, where that much can be read."""

    def __init__(self, kind: ProblemKind, expected: str, found: str, entry: Entry | None = None) -> None:
        super().__init__(found)
        self.kind = kind
        self.expected = expected
        self.found = found
        self.entry = entry


def canonical(value: Any) -> str:
    """The one JSON text of `value`. Raises ValueError for NaN and infinity, TypeError for what is no JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def format_time(at: datetime) -> str:
    """`at` as RFC 3339 in UTC with microseconds. Raises ValueError when it has no time zone."""
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} has no time zone")
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def chain(batch: Sequence[tuple[str, Json]], at: datetime, link: Link) -> list[Entry]:
    """The entries of `batch`, bound to `link` and to each other. Raises JournalError for what is no JSON."""
    entries: list[Entry] = []
    for position, (kind, data) in enumerate(batch):
        entry = _seal(link, at, kind, data, more=position < len(batch) - 1)
        entries.append(entry)
        link = Link.after(entry)
    return entries


def decode(raw: bytes) -> Entry:
    """The entry in `raw`. Raises BadLineError, JournalTooNew."""
    body = _mapping(raw)
    if type(body.get("v")) is int and body["v"] > VERSION:
        raise JournalTooNew(f"the entry has version {body['v']}, this opsdash reads up to version {VERSION}")
    claimed = body.pop("hash", None)
    entry = _entry(body, claimed)
    try:
        actual = _hash(body)
    except ValueError as error:  # 1e400 is read as infinity
        raise BadLineError(ProblemKind.UNREADABLE, "an entry", f"no JSON ({error})") from error
    if actual != claimed:
        raise BadLineError(ProblemKind.EDITED, f"hash {claimed}", f"content with hash {actual}", entry)
    return entry


def misfit(entry: Entry, link: Link) -> tuple[str, str] | None:
    """What `link` expected and what `entry` offers, where they do not fit."""
    if entry.seq != link.seq:
        return f"entry {link.seq}", f"entry {entry.seq}"
    if link.prev is not None and entry.prev != link.prev:
        return f"prev {link.prev}", f"prev {entry.prev}"
    return None


def state_of(checkpoint: Entry) -> dict[str, Any] | None:
    """The state that a checkpoint holds, None for the one before anything happened."""
    state = checkpoint.data.get("state")
    return dict(state) if isinstance(state, Mapping) else None


def _seal(link: Link, at: datetime, kind: str, data: Json, *, more: bool) -> Entry:
    try:
        # Through JSON and back: the entry in memory is the one that a later start will read, and keys are
        # strings before they are sorted (10 sorts after 9, "10" before "9").
        plain = json.loads(json.dumps(data, allow_nan=False))
        when = datetime.fromisoformat(format_time(at))
        draft = Entry(link.seq, when, kind, plain, link.prev or GENESIS, "", more=more)
        sealed = Entry(link.seq, when, kind, plain, draft.prev, _hash(draft._body()), more=more)  # noqa: SLF001
    except (TypeError, ValueError, RecursionError) as error:
        raise JournalError(f"a {kind!r} entry cannot be written as JSON: {error}") from error
    return sealed


def _hash(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(body).encode("ascii")).hexdigest()


def _mapping(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadLineError(ProblemKind.UNREADABLE, "an entry", f"no JSON ({error})") from error
    if not isinstance(value, dict):
        raise BadLineError(ProblemKind.UNREADABLE, "an entry", f"JSON of type {type(value).__name__}")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _entry(body: Mapping[str, Any], claimed: object) -> Entry:
    match body:
        case {
            "seq": int(seq),
            "at": str(at),
            "v": int(v),
            "type": str(kind),
            "data": dict(data),
            "prev": str(prev),
        }:
            try:
                when = datetime.fromisoformat(at)
            except ValueError as error:
                raise BadLineError(ProblemKind.UNREADABLE, "a time in `at`", str(error)) from error
            if when.tzinfo is None:
                raise BadLineError(ProblemKind.UNREADABLE, "a time with its zone in `at`", canonical(at[:40]))
            more = body.get("more") is True
            return Entry(seq, when, kind, data, prev, str(claimed), v, more)
        case _:
            fields = canonical(sorted(body))[:200]
            raise BadLineError(ProblemKind.UNREADABLE, "an entry", f"JSON with the fields {fields}")
