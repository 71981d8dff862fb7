"""Writing that is on disk when it says so.

Four habits, each of which lost data somewhere else:

- `os.write` may write less than it was given (a full disk, a file size limit). Whoever ignores the return
  value keeps a torn file and believes it whole, so every write here goes on until all is written or an error
  is raised.
- A file that is replaced is written under another name, fsynced, and renamed over the old one: a reader, and
  a process killed at any moment, see the old content or the new one.
- A rename is only durable once its folder is fsynced.
- On macOS `fsync` stops at the drive's cache; `F_FULLFSYNC` goes through it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

Write = Callable[[int, bytes | memoryview], int]
"""`os.write`, or something with its manners: returns how much it took."""

_FULLFSYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)


class NoticeCode(StrEnum):
    """What storage found and survived."""

    TORN_LINE = "torn_line"
    TORN_CHECKPOINT = "torn_checkpoint"
    BROKEN_CHAIN = "broken_chain"
    INCOMPLETE = "incomplete"
    SET_ASIDE = "set_aside"
    LOW_SPACE = "low_space"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a person should know. `file` is the path it is about."""

    code: NoticeCode
    message: str
    file: Path


def write_all(fd: int, data: bytes, write: Write = os.write) -> None:
    """Write all of `data`, or raise OSError. What was written until then stays in the file."""
    rest = memoryview(data)
    while rest:
        written = write(fd, rest)
        if written <= 0:
            raise OSError(f"the system took {written} of {len(rest)} bytes")
        rest = rest[written:]


def sync(fd: int) -> None:
    """Return when the content of `fd` would survive a power cut."""
    if _FULLFSYNC is not None:
        with contextlib.suppress(OSError):  # network and foreign file systems do not have it
            fcntl.fcntl(fd, _FULLFSYNC)
            return
    os.fsync(fd)


def sync_folder(folder: Path) -> None:
    """Make renames, creations and removals in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(folder: Path) -> None:
    """Create `folder`, for its owner alone, and its parents."""
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(folder.parent)


def replace_file(path: Path, data: bytes, write: Write = os.write) -> None:
    """Put `data` at `path` at once and durably, or raise OSError and leave what was there.

    The temporary name is fixed, because one process writes here: what a killed one left is overwritten.
    """
    put_file(path, path.with_name(f".{path.name}.tmp"), data, write)
    sync_folder(path.parent)


def put_file(path: Path, temporary: Path, data: bytes, write: Write = os.write, mode: int = 0o600) -> None:
    """Write `data` to `temporary`, then put that at `path`; or raise OSError and leave what was there.

    Durable once the folder is synced, which may be done for several files at once.
    """
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        try:
            write_all(fd, data, write)
            sync(fd)
        finally:
            os.close(fd)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def set_aside(path: Path, suffix: str = ".broken") -> Path:
    """Rename `path` out of the way, over an earlier one set aside, and return the new name."""
    aside = path.with_name(path.name + suffix)
    path.replace(aside)
    return aside
