"""Which files a workspace has, whether they may be trusted, and whether they have changed.

A workspace is code: it names commands. So a file is refused when somebody else could have written it: when
everybody may write to it, when it belongs to neither us nor root, or when its group may write to it and has
another member. Who wants to share a workspace by group says so from outside of it (`OPSDASH_TRUST=group`).
What is asked is the opened file, not its name, so that nothing can be exchanged in between.
"""

from __future__ import annotations

import functools
import grp
import hashlib
import os
import pwd
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from opsdash.config.yaml import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

WORKSPACE_FILE = "opsdash.yaml"
CHECKS = "checks"
RUNBOOKS = "runbooks"
DRILLS = "drills"
SUFFIXES: Final = {CHECKS: (".yaml", ".yml"), RUNBOOKS: (".md",), DRILLS: (".yaml", ".yml")}

TRUST_VARIABLE = "OPSDASH_TRUST"
TRUST_GROUP = "group"


class Stamp(NamedTuple):
    """What tells whether a file has changed, without reading it."""

    mtime_ns: int
    size: int
    inode: int
    mode: int
    owner: int


@dataclass(frozen=True, slots=True)
class Source:
    """A file as it was read: `data`, or `refused`, why there is none. `name` is relative to the workspace."""

    name: str
    stamp: Stamp | None
    data: bytes = b""
    sha256: str = ""
    refused: str = ""
    hint: str = ""


class Files(Protocol):
    """The files of a workspace, wherever they are: on disk (`Folder`), or kept from before (`Kept`)."""

    def components(self) -> Iterable[Path]:
        """checks/*.yaml, sorted."""

    def runbooks(self) -> Iterable[Path]:
        """runbooks/*.md, sorted."""

    def drills(self) -> Iterable[Path]:
        """drills/*.yaml, sorted."""

    def read(self, path: Path, known: Source | None = None) -> Source:
        """A file, trusted or refused; `known` itself when it has not changed since."""

    def stamps(self) -> dict[str, Stamp | None]:
        """What tells by name whether any file has changed."""


class Folder:
    """The files of a workspace on disk. environment: says whom to trust."""

    def __init__(self, workspace: Path, environment: Mapping[str, str]) -> None:
        self._workspace = workspace
        self._environment = environment

    def components(self) -> Iterator[Path]:
        """checks/*.yaml, sorted."""
        return _visible(self._workspace, CHECKS)

    def runbooks(self) -> Iterator[Path]:
        """runbooks/*.md, sorted."""
        return _visible(self._workspace, RUNBOOKS)

    def drills(self) -> Iterator[Path]:
        """drills/*.yaml, sorted."""
        return _visible(self._workspace, DRILLS)

    def read(self, path: Path, known: Source | None = None) -> Source:
        """A file, trusted or refused; `known` itself when it has not changed since."""
        return read(self._workspace, path, self._environment, known)

    def stamps(self) -> dict[str, Stamp | None]:
        """What tells by name whether any file has changed, come or gone.

        Asked every second, so it keeps to the least that the system can do: a folder is read once, and a file is
        asked for nothing but its state.
        """
        found = {WORKSPACE_FILE: stamp_of(self._workspace / WORKSPACE_FILE)}
        for folder in SUFFIXES:
            for entry in _entries(self._workspace, folder):
                try:
                    stamp: Stamp | None = _stamp(entry.stat())
                except OSError:
                    stamp = None
                found[f"{folder}/{entry.name}"] = stamp
        return found


class Kept:
    """Files that were kept from before, by their names. They have no stamp: what is on disk is always read anew."""

    def __init__(self, workspace: Path, contents: Mapping[str, bytes]) -> None:
        self._workspace = workspace
        self._contents = contents

    def _in(self, folder: str) -> list[Path]:
        return [self._workspace / name for name in sorted(self._contents) if name.startswith(f"{folder}/")]

    def components(self) -> list[Path]:
        """Files of components."""
        return self._in(CHECKS)

    def runbooks(self) -> list[Path]:
        """Runbooks."""
        return self._in(RUNBOOKS)

    def drills(self) -> list[Path]:
        """Drills."""
        return self._in(DRILLS)

    def read(self, path: Path, known: Source | None = None) -> Source:
        """A file as it was; `known` itself where it is the same."""
        name = path.relative_to(self._workspace).as_posix()
        data = self._contents.get(name)
        if data is None:
            return Source(name, None, refused="the file was not kept")
        if known is not None and known.data == data:
            return known
        return Source(name, None, data, hashlib.sha256(data).hexdigest())

    def stamps(self) -> dict[str, Stamp | None]:
        """Nothing here changes."""
        return dict.fromkeys(self._contents)


def _visible(workspace: Path, folder: str) -> Iterator[Path]:
    return (workspace / folder / name for name in sorted(entry.name for entry in _entries(workspace, folder)))


def _entries(workspace: Path, folder: str) -> list[os.DirEntry[str]]:
    """Files whose names do not begin with a dot; editors keep their own beside them."""
    try:
        with os.scandir(workspace / folder) as entries:
            return [each for each in entries if each.name.endswith(SUFFIXES[folder]) and each.name[0] != "."]
    except OSError:
        return []


def stamp_of(path: Path) -> Stamp | None:
    """The stamp of a file, None where there is none."""
    try:
        return _stamp(path.stat())
    except (OSError, ValueError):
        return None


def _stamp(found: os.stat_result) -> Stamp:
    return Stamp(found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode, found.st_uid)


def read(workspace: Path, path: Path, environment: Mapping[str, str], known: Source | None = None) -> Source:
    """A file of the workspace, trusted or refused; `known` itself when it has not changed since."""
    name = path.relative_to(workspace).as_posix()
    if known is not None and known.stamp is not None and known.stamp == stamp_of(path):
        return known
    try:
        # O_NONBLOCK: a pipe in the place of a file must not hold up everybody
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return Source(name, None, refused=f"the file cannot be read: {reason}")
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        stamp = _stamp(found)
        refused, hint = distrust(found, environment)
        if refused:
            return Source(name, stamp, refused=refused, hint=hint)
        try:
            data = file.read(MAX_BYTES + 1)
        except OSError as error:
            return Source(name, stamp, refused=f"the file cannot be read: {error.strerror}")
    return Source(name, stamp, data, hashlib.sha256(data).hexdigest())


def distrust(found: os.stat_result, environment: Mapping[str, str]) -> tuple[str, str]:
    """Why a file may not be used, and what to do about it; two empty texts when it may."""
    if not stat.S_ISREG(found.st_mode):
        return "this is no file", "replace it by a plain file"
    if found.st_mode & stat.S_IWOTH:
        return "everybody may write to this file, and it names commands to run", "chmod o-w the file"
    if found.st_uid not in {os.geteuid(), 0}:
        owner = _user_name(found.st_uid)
        return f"this file belongs to {owner}, and it names commands to run", "it must belong to you or root"
    if found.st_mode & stat.S_IWGRP and environment.get(TRUST_VARIABLE) != TRUST_GROUP:
        others = _other_members(found.st_gid)
        if others:
            hint = f"chmod g-w the file, or set {TRUST_VARIABLE}={TRUST_GROUP} to trust the whole group"
            return f"{others} may write to this file by its group, and it names commands to run", hint
    return "", ""


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


@functools.lru_cache(maxsize=64)
def _other_members(gid: int) -> str:
    """Somebody else in a group, "" where there is nobody: by its list, or because it is their own first
    group.
    """
    mine = {_user_name(os.geteuid()), "root"}
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return f"group {gid}, of which nothing is known,"
    listed = [member for member in group.gr_mem if member not in mine]
    first = [user.pw_name for user in pwd.getpwall() if user.pw_gid == gid and user.pw_name not in mine]
    others = sorted({*listed, *first})
    return f"{others[0]} and {len(others) - 1} more" if len(others) > 1 else "".join(others)
