"""Where an engine lives: its state folder, its lock, its socket.

State lives in the workspace, so that everyone who opens it meets the same engine. The lock decides who that is: it is
held for life by `flock`, which the kernel releases however the holder dies, and only its holder unlinks and binds the
socket. Nobody ever has to guess whether a socket file is stale.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from opsdash.errors import EngineError

API = 1
"""Version of the engine's interface; a client of another one only reads."""

STATE = ".opsdash"
LOCK_TRIES = 3
LOCK_PAUSE = 0.05
"""Whoever asks whether an engine is alive shares the lock for a moment; that must not keep one from starting."""

LONGEST_SOCKET_PATH = 100
"""Bytes; Linux allows 107, macOS 103 (`sun_path`, unix(7))."""


@dataclass(frozen=True, slots=True)
class EngineFile:
    """What `engine.json` says of the engine that holds the lock."""

    pid: int
    version: str
    api: int
    socket: str
    started: float


@dataclass(frozen=True, slots=True)
class Places:
    """The files of one workspace's engine."""

    workspace: Path
    state: Path

    @property
    def lock(self) -> Path:
        """Locked by the engine for as long as it lives."""
        return self.state / "lock"

    @property
    def engine_file(self) -> Path:
        """Who the engine is."""
        return self.state / "engine.json"

    @property
    def journal(self) -> Path:
        """Folder of the journal."""
        return self.state / "journal"

    @property
    def documents(self) -> Path:
        """Folder of the documents."""
        return self.state / "documents"

    @property
    def history(self) -> Path:
        """The database of results."""
        return self.state / "history.sqlite"

    @property
    def last_good(self) -> Path:
        """The last good version of the workspace's files."""
        return self.state / "last-good.json"

    @property
    def log(self) -> Path:
        """What the engine had to say."""
        return self.state / "engine.log"

    @property
    def socket(self) -> Path:
        """The engine's socket; in a folder of this user's where the path would be too long for one.

        `/tmp` takes the place of a temporary folder whose own path is too long already.
        """
        near = self.state / "engine.sock"
        if len(os.fsencode(near)) <= LONGEST_SOCKET_PATH:
            return near
        name = hashlib.sha256(os.fsencode(self.state)).hexdigest()[:24]
        far = Path(tempfile.gettempdir()) / f"opsdash-{os.getuid()}" / f"{name}.sock"
        if len(os.fsencode(far)) <= LONGEST_SOCKET_PATH:
            return far
        return Path("/tmp") / far.parent.name / far.name  # noqa: S108 - private: its owner and mode are verified


def places(workspace: Path, state: Path | None = None) -> Places:
    """Where the engine of a workspace lives."""
    root = workspace.resolve()
    return Places(root, (state or root / STATE).absolute())


def make_state_folder(where: Places) -> None:
    """Create the state folder, private, and unknown to Git. Raises EngineError."""
    try:
        where.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(where.state)
        ignore = where.state / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        raise EngineError(
            f"the state folder {where.state} cannot be used: {error.strerror}. The engine keeps its journal there; "
            "see that the folder is there, is writable and has space"
        ) from error
    folder = where.socket.parent
    if folder == where.state:
        return
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        owner = folder.lstat()
    except OSError as error:
        raise EngineError(f"the folder {folder}, for the socket, cannot be created: {error.strerror}") from error
    if owner.st_uid != os.getuid() or not stat.S_ISDIR(owner.st_mode) or stat.S_IMODE(owner.st_mode) & 0o077:
        raise EngineError(f"{folder} is not a private folder of yours; remove it, it stands where the socket belongs")


def _make_private(folder: Path) -> None:
    """Take from others what an earlier umask, or a copy of the workspace, has given them."""
    there = folder.stat()
    if there.st_uid == os.getuid() and stat.S_IMODE(there.st_mode) & 0o077:
        folder.chmod(0o700)


class Lock:
    """The lock of a workspace's engine. Held until the process ends, however it ends."""

    def __init__(self, where: Places) -> None:
        self._where = where
        self._file: int | None = None

    def take(self) -> bool:
        """Take the lock; False if another engine holds it. Raises EngineError."""
        make_state_folder(self._where)
        descriptor = _open_lock(self._where)
        for _ in range(LOCK_TRIES):
            if _lock(descriptor, fcntl.LOCK_EX, self._where):
                self._file = descriptor
                return True
            threading.Event().wait(LOCK_PAUSE)
        os.close(descriptor)
        return False

    def release(self) -> None:
        """Let another engine take over."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def is_locked(where: Places) -> bool:
    """Whether an engine is alive."""
    if not where.lock.exists():
        return False
    descriptor = _open_lock(where)
    try:
        return not _lock(descriptor, fcntl.LOCK_SH, where)
    finally:
        os.close(descriptor)


def _open_lock(where: Places) -> int:
    try:
        return os.open(where.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EngineError(f"{where.lock} cannot be opened: {error.strerror}") from error


def _lock(descriptor: int, how: int, where: Places) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise EngineError(f"{where.lock} cannot be locked: {error.strerror}; is it on a network drive?") from error
    return True


def write_engine_file(where: Places, engine: EngineFile) -> None:
    """Say who the engine is. Called by the holder of the lock."""
    fresh = where.engine_file.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(engine)))
    fresh.replace(where.engine_file)


def read_engine_file(where: Places) -> EngineFile | None:
    """Who the engine is, None if nobody says."""
    try:
        return EngineFile(**json.loads(where.engine_file.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def find_workspace(start: Path, named: str | None = None) -> Path | None:
    """The workspace: the one that is named, else the nearest parent folder with an `opsdash.yaml`."""
    if named:
        return Path(named)
    for folder in (start, *start.parents):
        if (folder / "opsdash.yaml").is_file():
            return folder
    return None
