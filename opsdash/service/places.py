"""Where an engine lives: its state folder, its lock, its socket.

State lives in the workspace, so that everyone who opens it meets the same engine; `engine.state` of opsdash.yaml
moves it elsewhere (`opsdash.service.whereabouts` finds it). The lock decides who the engine is: it is held for life
by `flock`, which the kernel releases however the holder dies, and only its holder unlinks and binds the socket.
Nobody ever has to guess whether a socket file is stale.

An engine whose state is elsewhere also locks the workspace itself, so that a change of the setting cannot bring a
second one about: `.opsdash/lock` where it may, and the workspace's folder, which needs no permission to write.

The state folder is its owner's alone. With `engine.group` its members may pass through it to the socket, and read who
the engine is; whatever else lies in it stays closed to them, by its own permissions.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import pwd
import socket as sockets
import stat
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opsdash.errors import EngineError
from opsdash.service.whereabouts import NOTE, STATE, WORKSPACE_FILE, last_known, note_text, settle, wanted_state

if TYPE_CHECKING:
    from collections.abc import Iterator

API = 1
"""Version of the engine's interface; a client of another one only reads."""

LOCK_TRIES = 3
LOCK_PAUSE = 0.05
"""Whoever asks whether an engine is alive shares the lock for a moment; that must not keep one from starting."""

LONGEST_SOCKET_PATH = 100
"""Bytes; Linux allows 107, macOS 103 (`sun_path`, unix(7))."""

OURS = frozenset({"lock", "journal", "engine.log"})
"""What a state folder begins with. A folder that holds other things and none of these is there for something else."""

READ_BY_THE_GROUP = frozenset({"engine.json", NOTE})
"""What members of `engine.group` may read, besides using the socket."""

CONNECT_WITHIN = 2.0


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
    def usual(self) -> Path:
        """The folder in the workspace: the state folder, or what an engine elsewhere leaves here."""
        return self.workspace / STATE

    @property
    def is_elsewhere(self) -> bool:
        """Whether the state folder is another one than the usual."""
        return self.state != self.usual

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
    def sheets(self) -> Path:
        """Folder of the emergency sheets, where opsdash.yaml names no other."""
        return self.state / "sheets"

    @property
    def texts(self) -> Path:
        """Folder of the runbooks' texts that runs were started with."""
        return self.state / "texts"

    @property
    def log(self) -> Path:
        """What the engine had to say."""
        return self.state / "engine.log"

    @property
    def token(self) -> Path:
        """What whoever asks over TCP has to know."""
        return self.state / "token"

    @property
    def owner(self) -> int:
        """The account whose engine this is or will be, as a uid. Raises EngineError where this one may not look."""
        try:
            return self.state.stat().st_uid
        except FileNotFoundError:
            return os.getuid()
        except OSError as error:
            raise EngineError(f"the state folder {self.state} cannot be looked at: {error.strerror}") from error

    @property
    def socket(self) -> Path:
        """The engine's socket; in a folder of its owner's where the path would be too long for one.

        `/tmp` takes the place of a temporary folder whose own path is too long already.
        """
        near = self.state / "engine.sock"
        if len(os.fsencode(near)) <= LONGEST_SOCKET_PATH:
            return near
        owner = _owner_or_me(self)
        if owner != os.getuid() and (engine := read_engine_file(self)) is not None:
            return Path(engine.socket)  # another account may have another temporary folder
        name = hashlib.sha256(os.fsencode(self.state)).hexdigest()[:24]
        far = Path(tempfile.gettempdir()) / f"opsdash-{owner}" / f"{name}.sock"
        if len(os.fsencode(far)) <= LONGEST_SOCKET_PATH:
            return far
        return Path("/tmp") / far.parent.name / far.name  # noqa: S108 - private: its owner and mode are verified


def _owner_or_me(where: Places) -> int:
    try:
        return where.owner
    except EngineError:
        return os.getuid()


def places(workspace: Path) -> Places:
    """Where the engine of a workspace lives: the one that runs, else the next one.

    Raises EngineError where opsdash.yaml cannot tell, and nobody else can.
    """
    root = workspace.resolve()
    wanted = Places(root, settle(root, wanted_state(root)))
    known = last_known(root)
    if known is None or known == wanted.state:
        return wanted
    before = Places(root, known)
    return before if is_locked(before) else wanted


# --- the state folder --------------------------------------------------------------------------------------------


def make_state_folder(where: Places) -> None:
    """Create the state folder, private, and unknown to Git. Raises EngineError."""
    if where.is_elsewhere:
        _check_elsewhere(where)
    try:
        there = where.owner
        if there != os.getuid():
            raise EngineError(_not_ours(where, there))
        _make_folder(where.state)
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
    # others may pass (0o011), once a group was let in: the sockets have permissions of their own
    if owner.st_uid != os.getuid() or not stat.S_ISDIR(owner.st_mode) or stat.S_IMODE(owner.st_mode) & 0o066:
        raise EngineError(f"{folder} is not a private folder of yours; remove it, it stands where the socket belongs")


def _make_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    there = folder.stat()
    if stat.S_IMODE(there.st_mode) & 0o067:  # what an earlier umask, or a copy of the workspace, has given away
        folder.chmod(0o700)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")


def _check_elsewhere(where: Places) -> None:
    """A folder that the setting names must be one of its own, named by a file that nobody else can change."""
    from opsdash.config.files import distrust

    with contextlib.suppress(OSError):
        refused, hint = distrust((where.workspace / WORKSPACE_FILE).stat(), os.environ)
        if refused:
            raise EngineError(
                f"{WORKSPACE_FILE} names the state folder {where.state}, and cannot be trusted: {refused}; {hint}"
            )
    try:
        found = {entry.name for entry in where.state.iterdir()} - {".gitignore"}
    except OSError:
        return  # not there yet, or told by whoever uses it
    if found and not found & OURS:
        raise EngineError(
            f"{where.state} is no state folder: other things are in it. Name a folder of its own as engine.state of "
            f"{WORKSPACE_FILE}; it is created"
        )


def _not_ours(where: Places, owner: int) -> str:
    """Why this account can start no engine in a state folder of another one."""
    name = account(owner)
    if connects(where) is False:
        return (
            f"{where.state} is {name}'s, and this account may neither use an engine there nor start one; {name} can "
            f"name a group of yours as engine.group in {WORKSPACE_FILE}"
        )
    return f"no engine is running for {where.workspace}, and only {name} can start one: {where.state} is {name}'s"


def account(uid: int) -> str:
    """The name of an account."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def is_ours(where: Places) -> bool:
    """Whether an engine of this account can live there."""
    try:
        return where.owner == os.getuid()
    except EngineError:
        return False


# --- the group ---------------------------------------------------------------------------------------------------


def open_to_group(where: Places, gid: int) -> None:
    """Let the members of a group through to the socket, and close everything else to them. Raises OSError.

    Called by the holder of the lock, once its files and the socket are there; the folders come last.
    """
    folders = [where.state, *([where.usual] if where.is_elsewhere and _is_mine(where.usual) else [])]
    for folder in folders:
        for entry in os.scandir(folder):
            if not entry.is_symlink() and Path(entry.path) != where.socket:
                with contextlib.suppress(FileNotFoundError):  # what SQLite keeps beside its file comes and goes
                    _give(Path(entry.path), gid if entry.name in READ_BY_THE_GROUP else None)
    os.chown(where.socket, -1, gid)
    where.socket.chmod(0o660)
    if where.socket.parent != where.state:
        where.socket.parent.chmod(0o711)
    for folder in folders:
        os.chown(folder, -1, gid)
        folder.chmod(0o710)


def _give(path: Path, gid: int | None) -> None:
    """Let a group read a file, or take away whatever group and others may do with it."""
    if gid is None:
        path.chmod(stat.S_IMODE(path.lstat().st_mode) & 0o700)
    else:
        os.chown(path, -1, gid)
        path.chmod(0o640)


def close_to_group(where: Places) -> None:
    """Take back what an earlier `engine.group` gave. Called by the holder of the lock."""
    for folder in (where.state, where.usual):
        if _is_mine(folder):
            with contextlib.suppress(OSError):  # a workspace that became read-only; nothing is in there but a note
                folder.chmod(0o700)


def _is_mine(folder: Path) -> bool:
    try:
        return folder.stat().st_uid == os.getuid()
    except OSError:
        return False


def barred_folder(where: Places, gid: int) -> Path | None:
    """The first folder on the way to workspace and socket through which the group cannot pass; None where it can."""
    way = [*reversed(where.workspace.parents), where.workspace, *reversed(where.socket.parent.parents)]
    for folder in way:
        found = folder.stat()
        if not found.st_mode & (stat.S_IXGRP if found.st_gid == gid else stat.S_IXOTH):
            return folder
    return None


# --- the lock ----------------------------------------------------------------------------------------------------


class Lock:
    """The lock of a workspace's engine. Held until the process ends, however it ends."""

    def __init__(self, where: Places) -> None:
        self._where = where
        self._files: list[int] = []

    def take(self) -> bool:
        """Take the lock; False if another engine holds it.

        Raises EngineError where that is not possible, or the other engine has another state folder.
        """
        make_state_folder(self._where)
        if not self._take(_open_lock(self._where.lock), self._where.lock):
            return False
        if self._where.is_elsewhere:
            self._take_workspace()
        else:
            with contextlib.suppress(FileNotFoundError):
                (self._where.usual / NOTE).unlink()
        return True

    def release(self) -> None:
        """Let another engine take over."""
        while self._files:
            os.close(self._files.pop())

    def _take_workspace(self) -> None:
        """Lock the workspace itself, too, as far as this account can, and leave a note there."""
        where = self._where
        for path, descriptor in _workspace_locks(where):
            if not self._take(descriptor, path, needed=path != where.workspace):
                self.release()
                raise EngineError(
                    f"another engine is at work in {where.workspace}, with another state folder than {where.state} "
                    f"({path} is locked). End it first: `opsdash engine stop`, or systemctl stop"
                )
        with contextlib.suppress(OSError):
            fresh = where.usual / f"{NOTE}.new"
            write_private(fresh, note_text(where.state))
            fresh.replace(where.usual / NOTE)

    def _take(self, descriptor: int, path: Path, *, needed: bool = True) -> bool:
        try:
            for _ in range(LOCK_TRIES):
                if _lock(descriptor, fcntl.LOCK_EX, path):
                    self._files.append(descriptor)
                    return True
                threading.Event().wait(LOCK_PAUSE)
        except EngineError:
            os.close(descriptor)
            if needed:
                self.release()
                raise
            return True  # a file system that locks no folders
        os.close(descriptor)
        return False


def _workspace_locks(where: Places) -> Iterator[tuple[Path, int]]:
    """What can be locked of the workspace: what may not be written, or read, is left out."""
    with contextlib.suppress(OSError):
        _make_folder(where.usual)
        path = where.usual / "lock"
        yield path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with contextlib.suppress(OSError):
        yield where.workspace, os.open(where.workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def is_locked(where: Places) -> bool:
    """Whether an engine is alive. An account that may not look at the lock asks the socket instead."""
    try:
        descriptor = os.open(where.lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return connects(where) is not None
        raise EngineError(f"{where.lock} cannot be opened: {error.strerror}") from error
    try:
        return not _lock(descriptor, fcntl.LOCK_SH, where.lock)
    finally:
        os.close(descriptor)


def connects(where: Places) -> bool | None:
    """Whether somebody listens on the socket: True; False: this account may not ask; None: nobody."""
    with sockets.socket(sockets.AF_UNIX) as probe:
        probe.settimeout(CONNECT_WITHIN)
        try:
            probe.connect(str(where.socket))
        except PermissionError:
            return False
        except OSError:
            return None
    return True


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EngineError(f"{path} cannot be opened: {error.strerror}") from error


def _lock(descriptor: int, how: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise EngineError(f"{path} cannot be locked: {error.strerror}; is it on a network drive?") from error
    return True


# --- who the engine is -------------------------------------------------------------------------------------------


def write_engine_file(where: Places, engine: EngineFile) -> None:
    """Say who the engine is. Called by the holder of the lock."""
    fresh = where.engine_file.with_suffix(".new")
    write_private(fresh, json.dumps(asdict(engine)))
    fresh.replace(where.engine_file)


def write_private(path: Path, text: str) -> None:
    """Write a file of the state folder for its owner alone: a group may be able to pass through the folder."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(text)


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
        if (folder / WORKSPACE_FILE).is_file():
            return folder
    return None
