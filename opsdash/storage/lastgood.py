"""The file in which the last good version of the workspace's files is kept: `last-good.json` in the state folder.

Written after each load and read at the next start. It is a help and no truth: without it, what was removed from the
files while no engine ran is not known any more, and nothing else suffers. So whatever is wrong with it is a notice. It
names commands as the workspace does, hence it has to be as trustworthy as the workspace.
"""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

from opsdash.config.files import distrust
from opsdash.config.lastgood import LastGood
from opsdash.errors import StorageError
from opsdash.storage.disk import replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VERSION = 1
MAX_BYTES = 256 * 1024 * 1024


def read_last_good(path: Path, environment: Mapping[str, str]) -> LastGood | None:
    """What was kept; None where nothing was. Raises StorageError where it cannot be used."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path.name} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        refused, _ = distrust(found, environment)
        if refused or not stat.S_ISREG(found.st_mode):
            raise StorageError(f"{path.name} is not used: {refused}")
        if found.st_size > MAX_BYTES:
            raise StorageError(f"{path.name} is not used: it has {found.st_size:,} bytes")
        try:
            return _decoded(json.load(file))
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise StorageError(f"{path.name} cannot be read: {type(error).__name__}") from error


def write_last_good(path: Path, kept: LastGood) -> None:
    """Keep this from now on, at once and durably. Raises StorageError, and leaves what was there."""
    content = {"version": VERSION, "sound": _texts(kept.sound), "used": _texts(kept.used)}
    try:
        replace_file(path, json.dumps(content, indent=1).encode("ascii"))
    except OSError as error:
        raise StorageError(f"{path.name} cannot be written: {error.strerror}") from error


def _texts(contents: Mapping[str, bytes]) -> dict[str, str]:
    return {name: data.decode("utf-8", "surrogateescape") for name, data in contents.items()}


def _decoded(content: Any) -> LastGood:
    if content["version"] != VERSION:
        raise ValueError("another version")
    return LastGood(_contents(content["sound"]), _contents(content["used"]))


def _contents(texts: Mapping[str, str]) -> dict[str, bytes]:
    return {name: text.encode("utf-8", "surrogateescape") for name, text in texts.items()}
