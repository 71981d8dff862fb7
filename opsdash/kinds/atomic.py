"""A file of somebody else's, changed at once or not at all.

The new content is written beside the file, flushed to the disk, and renamed into place: a reader sees the old one or
the new one, never half of one and never no file, whenever opsdash or the machine dies. Those who change files in this
way keep each other out by a lock on the folder; the file itself cannot be locked, since renaming would leave each with
a lock on a file of his own.

Programs that look for changes compare times, so a new content is always younger than the one whose place it takes,
also where that has a time in the future (a clock that was set, an archive that was unpacked).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from opsdash.kinds.base import ActionContext, ActionResult, Applied
from opsdash.kinds.offload import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    Put = Callable[[Callable[[Path], None]], str]

LARGEST: Final = 1024 * 1024
LOCK_PATIENCE: Final = 5.0
_ASK_EVERY: Final = 0.02
_NEW_FILE_MODE: Final = 0o644
_YOUNGER: Final = 1_000_000
"""Nanoseconds: readers compare times as floating-point seconds, which tell no microseconds apart."""


class Change:
    """One change of a file, which is either committed by its thread or abandoned by the one who waited for it."""

    def __init__(self, patience: float = LOCK_PATIENCE) -> None:
        self._decision = threading.Lock()
        self._abandoned = False
        self._committed = False
        self._patience = patience

    def abandon(self) -> bool:
        """Whether it was stopped before the file changed: from now on it will not change."""
        with self._decision:
            self._abandoned = not self._committed
            return self._abandoned

    def _commit(self) -> None:
        with self._decision:
            if self._abandoned:
                raise TimeoutError("given up before it was written")
            self._committed = True

    @contextlib.contextmanager
    def locked(self, file: Path) -> Iterator[Put]:
        """Have the file for oneself, and `put(write)` what `write` makes under the name it is given in its place.

        `put` returns words for a new content that is in force, but might be lost with the power; mostly none.
        """
        with _locked(file.parent, self._patience) as folder:
            _sweep(file)

            def put(write: Callable[[Path], None]) -> str:
                beside = file.with_name(f".{file.name}.opsdash-{secrets.token_hex(4)}")
                try:
                    write(beside)
                    self._commit()
                    beside.replace(file)
                except BaseException:
                    beside.unlink(missing_ok=True)
                    raise
                return _flushed(folder)

            yield put


async def carry_out(
    work: Callable[[Change], ActionResult], *, key: Hashable, shown: str, context: ActionContext
) -> ActionResult:
    """`work` in a thread. When this is cancelled, what has not been renamed by then is not renamed any more.

    As long as nothing has changed, `work` may raise ValueError with the end of a sentence on the file, or OSError.
    shown: the file as its author wrote it.
    """
    change = Change(min(LOCK_PATIENCE, context.deadline / 2))

    def in_words() -> ActionResult:
        try:
            return work(change)
        except ValueError as error:
            return ActionResult(Applied.REFUSED, f"{shown} {error}; it was left as it is")
        except OSError as error:
            return ActionResult(Applied.NOT_STARTED, trouble(shown, error))

    try:
        return await in_thread(key, in_words)
    finally:
        if not change.abandon():
            context.on_sent()


def trouble(shown: str, error: ValueError | OSError) -> str:
    """What is wrong with a file, as a sentence."""
    if isinstance(error, OSError):
        return f"{shown}: {error.strerror or error}"
    return f"{shown} {error}"


def content_of(file: Path) -> str:
    """The file's text, empty when it does not exist. Raises OSError, or ValueError for what cannot be meant."""
    try:
        opened = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    with open(opened, "rb") as stream:  # noqa: PTH123 - of a descriptor
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise ValueError("is no regular file")
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError("is larger than 1 MiB, which is more than opsdash changes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("is no UTF-8 text") from None


def check_place(file: Path) -> None:
    """Raise ValueError or OSError where another file could not take this one's place. Changes nothing."""
    folder = file.parent
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _try_lock(opened)  # raises where the file system has no locks; whether it is free now is no matter
    finally:
        os.close(opened)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError("is in a folder that cannot be written to")
    if _is_mounted(file):
        raise ValueError("is mounted by itself (as containers do), so no other file can take its place")


def write_like(model: Path, beside: Path, content: str) -> None:
    """Write `content` through to the disk, with the mode and, where permitted, the owner of `model`, and younger."""
    opened = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(opened, "wb") as file:  # noqa: PTH123 - of a descriptor
        file.write(content.encode("utf-8"))
        file.flush()
        try:
            about = model.stat()
        except FileNotFoundError:
            os.fchmod(opened, _NEW_FILE_MODE)
        else:
            _give_to(opened, about)
            os.fchmod(opened, stat.S_IMODE(about.st_mode))
            written = os.fstat(opened)
            if written.st_mtime_ns < about.st_mtime_ns + _YOUNGER:
                os.utime(opened, ns=(written.st_atime_ns, about.st_mtime_ns + _YOUNGER))
        os.fsync(opened)


@contextlib.contextmanager
def _locked(folder: Path, patience: float) -> Iterator[int]:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        until = time.monotonic() + patience
        while not _try_lock(opened):
            if time.monotonic() > until:
                raise TimeoutError(f"another process has had its folder locked for {patience:g} s")
            threading.Event().wait(_ASK_EVERY)
        yield opened
    finally:
        os.close(opened)


def _try_lock(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sweep(file: Path) -> None:
    """Remove what an opsdash that died left behind. We hold the lock, so nobody is writing one."""
    prefix = f".{file.name}.opsdash-"
    with contextlib.suppress(OSError), os.scandir(file.parent) as entries:
        for entry in entries:
            if entry.name.startswith(prefix):
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)  # noqa: PTH108 - a DirEntry


def _give_to(opened: int, about: os.stat_result) -> None:
    """Owner and group need root, the group alone may be one of ours; what is not permitted stays ours."""
    for owner in (about.st_uid, -1):
        with contextlib.suppress(PermissionError):
            os.fchown(opened, owner, about.st_gid)
            return


def _flushed(folder: int) -> str:
    try:
        os.fsync(folder)
    except OSError as error:
        return f" (its folder could not be flushed to the disk: {error.strerror})"
    return ""


def _is_mounted(file: Path) -> bool:
    try:
        if file.lstat().st_dev != file.parent.stat().st_dev:
            return True
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    points = (line.split()[4] for line in mounts.splitlines() if len(line.split()) > 4)
    return str(file) in {point.replace("\\040", " ") for point in points}
