"""What the engine needs of a journal. `Journal` keeps it on disk, `MemoryJournal` in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime

    from opsdash.storage.entries import Entry, Json
    from opsdash.storage.segments import Replay


class JournalPort(Protocol):
    """An append-only record of what happened. One thread at a time."""

    @property
    def low_space(self) -> bool:
        """The disk was full, and only the reserve keeps the journal going."""
        ...

    def replay(self) -> Replay:
        """The newest state, what followed it, and what is wrong."""
        ...

    def append(self, batch: Sequence[tuple[str, Json]], at: datetime) -> list[Entry]:
        """Record all of `batch` (type, data) durably, or raise JournalError and record nothing of it."""
        ...

    def needs_checkpoint(self, at: datetime) -> bool:
        """Whether a new month has begun, or the segment at hand has no usable checkpoint."""
        ...

    def checkpoint(self, state: Json, at: datetime) -> Entry:
        """Record the whole state; in a new month this begins its segment. Raises JournalError."""
        ...

    def entries(self, since_seq: int = 0, types: Collection[str] | None = None) -> Iterator[Entry]:
        """Entries with a number above `since_seq`, oldest first, of the given types (all, checkpoints
        included).
        """
        ...

    def tail(self, count: int) -> list[Entry]:
        """The last `count` entries, oldest first."""
        ...

    def close(self) -> None:
        """Let go of the files."""
        ...
