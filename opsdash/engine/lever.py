"""The lever: a file that halts all drills, `<state>/drills/halt`, which guards look for; it works without an engine."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from opsdash.engine import guardfiles as files
from opsdash.model.text import clean

if TYPE_CHECKING:
    from pathlib import Path


def halt(state: Path, who: str, reason: str) -> None:
    """Have every guard undo at once, and none armed until `allow`. Raises OSError."""
    folder = state / files.DRILLS
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = json.dumps(
        {"who": clean(who, files.REASON_LIMIT), "reason": clean(reason, files.REASON_LIMIT)}, ensure_ascii=False
    )
    beside = folder / f"{files.HALT}.new"
    with open(beside, "wb", opener=files.owner_only) as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    beside.replace(folder / files.HALT)
    files.flush_folder(folder)


def allow(state: Path) -> None:
    """Take the lever back. Raises OSError."""
    (state / files.DRILLS / files.HALT).unlink(missing_ok=True)


def halted(state: Path) -> str | None:
    """Why drills are halted, and by whom; None: they are not. A lever that cannot be read counts."""
    found = halted_by(state)
    return None if found is None else f"{found[1]} ({found[0]})" if found[0] else found[1]


def halted_by(state: Path) -> tuple[str, str] | None:
    """Who has halted drills, "" where that is not known, and why; None: they are not halted."""
    try:
        text = (state / files.DRILLS / files.HALT).read_bytes()[: 8 * 1024]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return "", f"the lever cannot be read: {error.strerror or error}"
    try:
        told = json.loads(text)
        return clean(str(told["who"]), files.REASON_LIMIT), clean(str(told["reason"]), files.REASON_LIMIT)
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", f"{files.HALT} is there"
