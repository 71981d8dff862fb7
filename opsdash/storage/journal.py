"""The journal: the append-only record from which everything else can be derived.

An append writes all lines of its batch with one fsync; only then it returns, and only then may an effect run.
When it cannot, the file is cut back to its last good length and JournalError is raised: a record is on disk
and known, or neither. What a start reads back, and what it makes of damage, is in `segments`; the entries and
their chain in `entries`.

A full disk must not stop an operator from switching, so a mebibyte is set apart in `reserve`. When an append
finds no space, the reserve is removed and the append tried once more; `low_space` is then true until there is
room again.

The engine holds the workspace's lock, so nobody else writes here. Should something else do so all the same
(an editor that replaces the file, a restored backup), the next append notices before it writes into a file
that nobody reads.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from opsdash.errors import JournalError
from opsdash.storage.disk import (
    Notice,
    NoticeCode,
    Write,
    make_folder,
    replace_file,
    sync,
    sync_folder,
    write_all,
)
from opsdash.storage.entries import CHECKPOINT, Entry, Json, Link, chain
from opsdash.storage.segments import Loaded, Replay, Segment, load, read_entries, read_tail

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

RESERVE: Final = "reserve"
RESERVE_SIZE: Final = 1 << 20
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class Journal:
    """The journal of one workspace, open for appending. Every time is an argument; one thread at a time."""

    def __init__(self, folder: Path, *, write: Write = os.write) -> None:
        """`write` is the system's; tests hand in one that is short of breath or space. See `open`."""
        self.folder = folder
        self._write = write
        loaded = _load(folder)
        self._replay: Replay | None = loaded.replay
        self._notices = list(loaded.replay.notices)
        self._link = loaded.link
        self._path: Path | None = None
        self._fd = -1
        self._length = 0
        self._sound = loaded.segment is not None and loaded.segment.has_checkpoint and not loaded.replay.problems
        self._cut_needed = False
        self._reserved = False
        if loaded.segment:
            self._continue(loaded.segment)
        self._keep_reserve()
        if not self._reserved:
            message = f"there is no room for the reserve of {RESERVE_SIZE >> 10} KiB; free some space on this disk"
            self._notices.append(Notice(NoticeCode.LOW_SPACE, message, folder / RESERVE))

    @classmethod
    def open(cls, folder: Path, *, write: Write = os.write) -> Journal:
        """Open the journal in `folder`, created if there is none; a torn end is cut off.

        Raises JournalError, JournalTooNew, JournalCorrupt.
        """
        return cls(folder, write=write)

    @property
    def low_space(self) -> bool:
        """The disk was full, and only the space of the reserve keeps the journal going."""
        return not self._reserved

    def replay(self) -> Replay:
        """The newest state that can be trusted, what followed it, and what was found wrong when opening."""
        replay = self._replay or load(self.folder).replay
        return Replay(replay.checkpoint, replay.entries, tuple(self._notices), replay.problems)

    def append(self, batch: Sequence[tuple[str, Json]], at: datetime) -> list[Entry]:
        """Record all of `batch` (type, data) durably, in the segment at hand.

        Raises JournalError when it cannot; then nothing of it is recorded.
        """
        if not batch:
            return []
        if self._path is None:
            self._begin_segment(chain([(CHECKPOINT, {"state": None})], at, self._link)[0])
        entries = chain(batch, at, self._link)
        self._commit(b"".join(entry.line() for entry in entries), Link.after(entries[-1]))
        return entries

    def needs_checkpoint(self, at: datetime) -> bool:
        """Whether a month has begun, there is no journal yet, or a start would depend on a damaged part."""
        return not self._sound or self._path is None or _segment_name(at) > self._path.name

    def checkpoint(self, state: Json, at: datetime) -> Entry:
        """Record the whole state, from which starts go on. In a new month this begins its segment.

        A clock set back never goes back to an earlier segment. Raises JournalError.
        """
        entry = chain([(CHECKPOINT, {"state": state})], at, self._link)[0]
        if self._path is None or _segment_name(at) > self._path.name:
            self._begin_segment(entry)
        else:
            self._commit(entry.line(), Link.after(entry))
        self._sound = True
        return entry

    def entries(self, since_seq: int = 0, types: Collection[str] | None = None) -> Iterator[Entry]:
        """Intact entries with a number above `since_seq`, oldest first, of the given types (all, checkpoints
        included).
        """
        return read_entries(self.folder, since_seq, types)

    def tail(self, count: int) -> list[Entry]:
        """The last `count` intact entries, oldest first."""
        return read_tail(self.folder, count)

    def close(self) -> None:
        """Let go of the file. Everything acknowledged is on disk already."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _commit(self, data: bytes, link: Link) -> None:
        self._replay = None
        self._keep_reserve()
        self._durably(lambda: self._append(data))
        self._length += len(data)
        self._link = link

    def _append(self, data: bytes) -> None:
        self._cut_back_if_needed()
        self._check_ownership()
        try:
            write_all(self._fd, data, self._write)
            sync(self._fd)
        except OSError:
            self._cut_needed = True
            self._cut_back_if_needed()
            raise

    def _cut_back_if_needed(self) -> None:
        if self._cut_needed:
            os.ftruncate(self._fd, self._length)
            sync(self._fd)
            self._cut_needed = False

    def _check_ownership(self) -> None:
        assert self._path is not None  # noqa: S101 - only called with a segment at hand
        ours = os.fstat(self._fd)
        try:
            there = self._path.stat()
        except FileNotFoundError:
            there = None
        if there is None or there.st_ino != ours.st_ino or there.st_size != self._length:
            raise JournalError(
                f"{self._path} was changed by something other than this engine; nothing more is recorded. "
                "Restart the engine, which reads and verifies it"
            )

    def _begin_segment(self, entry: Entry) -> None:
        path = self.folder / _segment_name(entry.at)
        line = entry.line()
        self._replay = None
        self._keep_reserve()
        self._durably(lambda: replace_file(path, line, self._write))
        self.close()
        self._open_for_append(path, len(line))
        self._link = Link.after(entry)

    def _continue(self, segment: Segment) -> None:
        """Go on in `segment`, without its torn end, and with the last newline if only that is missing."""
        self._open_for_append(segment.path, min(segment.length, segment.size))
        try:
            if segment.size > self._length:
                os.ftruncate(self._fd, self._length)
                sync(self._fd)
            if segment.length > segment.size:
                write_all(self._fd, b"\n", self._write)
                sync(self._fd)
                self._length = segment.length
        except OSError as error:
            self.close()
            raise JournalError(f"{segment.path} cannot be repaired: {error.strerror}") from error

    def _open_for_append(self, path: Path, length: int) -> None:
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise JournalError(f"{path} cannot be opened for writing: {error.strerror}") from error
        self._path = path
        self._length = length

    def _durably(self, write: Callable[[], None]) -> None:
        """Run `write`, once more with the space of the reserve if the disk is full."""
        try:
            try:
                write()
            except OSError as error:
                if error.errno not in _FULL or not self._release_reserve():
                    raise
                write()
        except OSError as error:
            raise JournalError(
                f"the journal in {self.folder} takes no entry: {error.strerror or error}; nothing was "
                "recorded. See that the disk is there, is writable and has space"
            ) from error

    def _release_reserve(self) -> bool:
        released = self._reserved
        self._reserved = False
        try:
            (self.folder / RESERVE).unlink()
            sync_folder(self.folder)
        except OSError:
            return False
        return released

    def _keep_reserve(self) -> None:
        """Set the reserve apart (again), unless that would take the very space that the journal needs."""
        if self._reserved:
            return
        path = self.folder / RESERVE
        with contextlib.suppress(OSError):
            if path.is_file() and path.stat().st_size == RESERVE_SIZE:
                self._reserved = True
            elif shutil.disk_usage(self.folder).free >= 4 * RESERVE_SIZE:
                # Random, because file systems that compress would set zeros apart in no space at all.
                replace_file(path, os.urandom(RESERVE_SIZE))
                self._reserved = True


def _load(folder: Path) -> Loaded:
    try:
        make_folder(folder)
    except OSError as error:
        raise JournalError(f"the folder {folder} cannot be created: {error.strerror}") from error
    return load(folder)


def _segment_name(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m}.jsonl"
