"""What the board knows: the session's events folded into rows, and how old that knowledge is.

*Missing is not fine*: the engine sends an event at least every second. After three seconds without one, or at once
when the stream says that it broke, `stale` holds, whatever the cause, and everything is drawn as stale.

The board has no wall clock of its own. Events carry the engine's time; between two events the monotonic clock goes on
from there, so that "since 4m12s" is right even where the clocks of two machines are not.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from opsdash.model.status import SEVERITY, Status
from opsdash.service.session import DeltaEvent, Lost, RingEvent, SnapshotEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opsdash.model.views import JournalLine, Summary, WallRow
    from opsdash.service.session import Event

STALE_AFTER = 3.0
RECENT = 50


class Sort(Enum):
    """Orders of the wall. The first is for an incident: what needs a person is on top."""

    ATTENTION = "attention"
    NAME = "name"
    TIER = "tier"
    LATENCY = "latency"
    SINCE = "since"


@dataclass(slots=True)
class Changes:
    """What some events changed: rows by id, whether rows came or went, and whether there was anything new at all."""

    rows: set[str] = field(default_factory=set)
    structure: bool = False
    summary: bool = False

    def add(self, other: Changes) -> None:
        """Take in another set of changes."""
        self.rows |= other.rows
        self.structure |= other.structure
        self.summary |= other.summary


class BoardState:
    """Rows, summary, the latest records, and when the engine was last heard of (monotonic seconds)."""

    def __init__(self) -> None:
        self.rows: dict[str, WallRow] = {}
        self.versions: dict[str, int] = {}
        self.summary: Summary | None = None
        self.recent: deque[JournalLine] = deque(maxlen=RECENT)
        self.heard: float | None = None
        self.wall = 0.0
        self.lost = ""
        self._version = 0

    def apply(self, event: Event, mono: float) -> Changes:
        """Fold one event that arrived at `mono`."""
        if isinstance(event, Lost):
            self.lost = event.why or "the engine has ended"
            return Changes(summary=True)
        self.lost = ""
        self.heard = mono
        if isinstance(event, SnapshotEvent):
            return self._snapshot(event)
        return Changes() if isinstance(event, RingEvent) else self._delta(event)

    def _snapshot(self, event: SnapshotEvent) -> Changes:
        snapshot = event.snapshot
        self.wall = snapshot["at"]
        self.summary = snapshot["summary"]
        gone = set(self.rows) - {row["id"] for row in snapshot["rows"]}
        self._drop(gone)
        self._put(snapshot["rows"])
        return Changes(rows=set(self.rows) | gone, structure=True, summary=True)

    def _delta(self, event: DeltaEvent) -> Changes:
        delta = event.delta
        self.wall = delta["at"]
        changes = Changes(rows={row["id"] for row in delta["rows"]})
        changes.structure = bool(delta["gone"]) or any(row["id"] not in self.rows for row in delta["rows"])
        self._drop(delta["gone"])
        self._put(delta["rows"])
        changes.rows.update(delta["gone"])
        if delta["summary"] is not None:
            self.summary = delta["summary"]
            changes.summary = True
        if delta["records"]:
            self.remember(delta["records"])
            changes.summary = True
        return changes

    def remember(self, records: Iterable[JournalLine]) -> None:
        """Take in journal records, in whatever order and however often they come."""
        known = {record["seq"]: record for record in (*self.recent, *records)}
        self.recent = deque((known[seq] for seq in sorted(known)), maxlen=RECENT)

    def _put(self, rows: Iterable[WallRow]) -> None:
        for row in rows:
            self._version += 1
            self.rows[row["id"]] = row
            self.versions[row["id"]] = self._version

    def _drop(self, gone: Iterable[str]) -> None:
        for component in gone:
            self.rows.pop(component, None)
            self.versions.pop(component, None)

    def now(self, mono: float) -> float:
        """The engine's wall clock, carried on since its last event."""
        return self.wall if self.heard is None else self.wall + (mono - self.heard)

    def silence(self, mono: float) -> float | None:
        """Seconds since the last event, None before the first."""
        return None if self.heard is None else max(0.0, mono - self.heard)

    def stale(self, mono: float) -> bool:
        """Whether what is known may no longer be so."""
        silence = self.silence(mono)
        return bool(self.lost) or silence is None or silence > STALE_AFTER

    def order(self, sort: Sort, test: Callable[[WallRow], bool]) -> list[str]:
        """Ids of the rows that pass `test`, in order."""
        chosen = [row for row in self.rows.values() if test(row)]
        chosen.sort(key=SORT_KEYS[sort])
        return [row["id"] for row in chosen]


TIERS = {"essential": 0, "important": 1, "droppable": 2}
_RANK = {status.value: -severity for status, severity in SEVERITY.items()}


def needs_attention(row: WallRow) -> bool:
    """Whether a row is anything but fine: not ok, on a backup, in a degraded mode, or without what it should have."""
    return (
        row["status"] != Status.OK.value
        or row["on_backup"]
        or row["mode"] is not None
        or row["redundancy"] in {"lost", "unknown"}
        or row["failure"] is not None
        or row["switch"] is not None
        or row["flapping"] is not None
        or bool(row["overdue"])
        or bool(row["problems"])
        or not row["covered"]
    )


def _attention(row: WallRow) -> tuple[int, int, int, float, str]:
    return (
        _RANK.get(row["status"], _RANK["unknown"]),
        0 if needs_attention(row) else 1,
        TIERS.get(row["tier"], 1),
        -row["since"] if needs_attention(row) else 0.0,
        row["title"].casefold(),
    )


def _by_tier(row: WallRow) -> tuple[int, str]:
    return TIERS.get(row["tier"], 1), row["title"].casefold()


def _by_latency(row: WallRow) -> tuple[float, str]:
    return -(row["latency"] or 0.0), row["title"].casefold()


def _by_since(row: WallRow) -> tuple[float, str]:
    return -row["since"], row["title"].casefold()


def _by_name(row: WallRow) -> str:
    return row["title"].casefold()


SORT_KEYS: dict[Sort, Callable[[WallRow], Any]] = {
    Sort.ATTENTION: _attention,
    Sort.NAME: _by_name,
    Sort.TIER: _by_tier,
    Sort.LATENCY: _by_latency,
    Sort.SINCE: _by_since,
}


FILTER_HELP = "text  !not  status:down  tier:essential  owner:maria"


def row_filter(text: str) -> Callable[[WallRow], bool]:
    """The test that a filter stands for: words that must all hold, `!` turns one round, `key:` looks at one field."""
    words = text.casefold().split()

    def test(row: WallRow) -> bool:
        return all(_holds(word, row) for word in words)

    return test


def _holds(word: str, row: WallRow) -> bool:
    if word.startswith("!"):
        return len(word) == 1 or not _holds(word[1:], row)
    key, colon, wanted = word.partition(":")
    if colon and key in _FIELDS:
        return any(value.casefold().startswith(wanted) for value in _FIELDS[key](row))
    everything = (
        row["id"],
        row["title"],
        row["cause"],
        row["failure"] or "",
        row["active"] or "",
        row["mode"] or "",
    )
    return any(word in value.casefold() for value in everything)


_FIELDS: dict[str, Callable[[WallRow], list[str]]] = {
    "status": lambda row: [row["status"]],
    "tier": lambda row: [row["tier"]],
    "owner": lambda row: row["owners"],
    "active": lambda row: [row["active"] or ""],
    "mode": lambda row: [row["mode"] or ""],
    "proof": lambda row: [row["proof"]],
    "redundancy": lambda row: [row["redundancy"]],
}


def text_filter(text: str) -> Callable[[str], bool]:
    """The same for lists of other things: all words must occur, `!` turns one round."""
    words = text.casefold().split()

    def test(haystack: str) -> bool:
        folded = haystack.casefold()
        return all(
            (word[1:] not in folded or len(word) == 1) if word.startswith("!") else word in folded for word in words
        )

    return test
