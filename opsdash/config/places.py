"""Paths of `engine:` in opsdash.yaml: files and folders that every client must understand alike.

Whoever asks must arrive at the same folder, else two people would meet two engines. So nothing of the environment
counts: `~` is the home of the account that owns opsdash.yaml and not of whoever looks, and `${NAME}` is refused.
A relative path starts at the workspace.

Read by `opsdash status`, too, so this module is the standard library alone.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

LONGEST_PATH = 1000


def checked_path(value: object) -> str:
    """A path as it may be written. Raises ValueError, whose text says after a semicolon what would be right."""
    if not isinstance(value, str) or not value:
        raise ValueError("a path is needed, as a text")
    if "${" in value:
        raise ValueError("a path that every client has to find holds no ${…}; write the path itself, or ~")
    if len(value) > LONGEST_PATH or not value.isprintable():
        raise ValueError(f"this is no path; write at most {LONGEST_PATH} printable characters")
    return value


def full_path(workspace: Path, text: str, owner: int | None) -> Path:
    """The absolute path that `text` means in a workspace. owner: uid of its opsdash.yaml, None where nobody knows it.

    Raises ValueError when a home is meant that does not exist.
    """
    if not text.startswith("~"):
        return Path(os.path.normpath(workspace / text))
    name, _, rest = text[1:].partition("/")
    try:
        account = pwd.getpwnam(name) if name else pwd.getpwuid(-1 if owner is None else owner)
    except (KeyError, OverflowError):
        whose = f"there is no account {name!r:.60}" if name else "nobody knows the account that owns opsdash.yaml"
        raise ValueError(f"{whose}, so ~{name} is no folder; write the path from / on") from None
    return Path(os.path.normpath(Path(account.pw_dir) / rest))
