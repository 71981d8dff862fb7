"""A journal in memory: the same entries, chain and replay, without a disk. For tests and for looking back.

`MemoryJournal(entries[:n])` is a journal as it was after its n-th entry; a crash matrix starts from each of
them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from opsdash.errors import JournalError
from opsdash.storage.entries import CHECKPOINT, Entry, Json, Link, chain, state_of
from opsdash.storage.segments import Replay

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence


class MemoryJournal:
    """A JournalPort. While `full` is true it refuses every entry, as a disk without space does."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries = list(entries)
        while self._entries and self._entries[-1].more:  # a batch counts whole or not at all
            self._entries.pop()
        self.full = False

    @property
    def low_space(self) -> bool:
        """Whether entries are refused."""
        return self.full

    def replay(self) -> Replay:
        """The newest checkpoint's state and the entries since."""
        start = max((i for i, entry in enumerate(self._entries) if entry.type == CHECKPOINT), default=-1)
        state = None if start < 0 else state_of(self._entries[start])
        return Replay(state, tuple(self._entries[start + 1 :]))

    def append(self, batch: Sequence[tuple[str, Json]], at: datetime) -> list[Entry]:
        """Record all of `batch`, or raise JournalError and record nothing of it."""
        if not batch:
            return []
        genesis = [] if self._entries else chain([(CHECKPOINT, {"state": None})], at, Link())
        entries = chain(batch, at, self._link(genesis))
        self._take([*genesis, *entries])
        return entries

    def needs_checkpoint(self, at: datetime) -> bool:
        """Whether a new month has begun since the last checkpoint, or there is none."""
        months = (_month(entry.at) for entry in reversed(self._entries) if entry.type == CHECKPOINT)
        return _month(at) > next(months, "")

    def checkpoint(self, state: Json, at: datetime) -> Entry:
        """Record the whole state."""
        entries = chain([(CHECKPOINT, {"state": state})], at, self._link())
        self._take(entries)
        return entries[0]

    def entries(self, since_seq: int = 0, types: Collection[str] | None = None) -> Iterator[Entry]:
        """Entries with a number above `since_seq`, oldest first, of the given types."""
        chosen = [entry for entry in self._entries if entry.seq > since_seq and (types is None or entry.type in types)]
        return iter(chosen)

    def tail(self, count: int) -> list[Entry]:
        """The last `count` entries, oldest first."""
        return self._entries[-count:] if count > 0 else []

    def close(self) -> None:
        """Nothing to let go of."""

    def _link(self, more: Sequence[Entry] = ()) -> Link:
        entries = more or self._entries
        return Link.after(entries[-1]) if entries else Link()

    def _take(self, entries: Sequence[Entry]) -> None:
        if self.full:
            raise JournalError("the journal in memory takes no entry: it is full; nothing was recorded")
        self._entries.extend(entries)


def _month(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m}"
