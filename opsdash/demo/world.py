"""Clock and disk of the example services.

They are the world outside: they have a wall clock of their own, and they never see that of opsdash. What
they keep is small JSON, replaced atomically (temporary file, rename), because an operator's tool reads and
writes the same files while they run. They don't fsync: a demonstration need not survive a power cut.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def utc_now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  # these servers have a clock of their own, like any vendor's


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stamp(*, ago: timedelta = timedelta(0)) -> str:
    """The time `ago` before now, the way every service writes it."""
    return rfc3339(utc_now() - ago)


def write_json(path: Path, value: object) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(value, file)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> object:
    """The value in the file, or None if there is none that can be read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


class Pointer:
    """A word in a JSON file that others may change at any time: which mode is on, which source is used.

    A missing or torn file leaves the last good word in force (fail static), as a careful application does.
    """

    def __init__(self, path: Path, key: str, *, default: str) -> None:
        self._path = path
        self._key = key
        self._last_good = default
        if not path.exists():
            write_json(path, {key: default})

    def read(self) -> str:
        content = read_json(self._path)
        if isinstance(content, dict) and isinstance(content.get(self._key), str):
            self._last_good = content[self._key]
        return self._last_good


async def every(seconds: float, job: Callable[[], Awaitable[None]]) -> None:
    """Run the job in a rhythm, as long as the service lives. A slow job shifts the rhythm, never overlaps."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + seconds
        await job()
        await asyncio.sleep(max(0.0, due - loop.time()))
