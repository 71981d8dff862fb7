"""Emergency sheets, kept fresh: written when the engine starts, every day, and after the files have changed.

They are for the day on which this machine is what failed, so their folder may lie on a share that hangs or is full.
That disturbs nobody: what they are made of is copied on the event loop, all else happens in a thread that nothing waits
for, and an error is logged and shown as a problem of opsdash.yaml until it is over.
"""

from __future__ import annotations

import asyncio
import logging
import shlex
import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from opsdash.core.sheet import MARK, Sheets
from opsdash.engine.executor import manual
from opsdash.engine.tasks import cancel, spawn
from opsdash.engine.threads import Worker
from opsdash.errors import SheetsError
from opsdash.model.units import format_duration
from opsdash.model.world import World
from opsdash.storage.sheets import write_sheets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from opsdash.config.loader import Loaded
    from opsdash.model.operation import ActionCall

log = logging.getLogger(__name__)

HOUR, MINUTE = 2, 40
"""When they are written every day, in UTC."""

PATH: Final = ("sheets",)
"""The key of opsdash.yaml at which trouble with writing them is shown."""

PATIENCE: Final = 600.0
"""Seconds after which sheets that are still being written are told of."""

STAND_BACK: Final = 0.002
"""Seconds in which others run between two pages."""

STILL: Final = "still being written: their folder does not answer"

_ADDRESSES: Final = ("url", "file", "path", "dsn", "socket", "unit", "name", "service", "query")
"""Options that say where a check or an action leads, the first that is there counts."""


def sheets_of(loaded: Loaded, world: World, as_of: float) -> Sheets:
    """What the sheets of a workspace are made of. world: with its operation; nobody else may change it meanwhile."""
    zone = ZoneInfo(loaded.operation.timezone)

    def by_hand(call: ActionCall | None, prior: str | None) -> str:
        return manual(call and replace(call, raw=loaded.with_settings(call.raw)), prior)

    def moment(at: float) -> str:
        return datetime.fromtimestamp(at, UTC).astimezone(zone).strftime("%Y-%m-%d %H:%M %Z")

    def address(raw: Mapping[str, Any]) -> str:
        return address_in(loaded.with_settings(raw))

    def filled(value: str) -> str:
        return str(loaded.with_settings({"": value})[""])

    return Sheets(world, as_of, loaded.runbooks, by_hand, address, filled, moment, str(loaded.workspace))


def address_in(raw: Mapping[str, Any]) -> str:
    """Where the options of a check or an action lead, in a few words; "" where they do not say."""
    if "host" in raw:
        return ":".join(str(raw[key]) for key in ("host", "port") if key in raw)
    if isinstance(raw.get("argv"), list | tuple):
        return shlex.join(str(word) for word in raw["argv"])
    return next((str(raw[key]) for key in _ADDRESSES if isinstance(raw.get(key), str)), "")


def rendered(loaded: Loaded, world: World, as_of: float, after_each: Callable[[], object] = int) -> dict[str, str]:
    """Every file of the sheets by its path, without secrets. `after_each` is called after each of them."""
    files = {}
    for name, text in sheets_of(loaded, world, as_of).all():
        files[name] = loaded.secrets.mask(text)
        after_each()
    return files


def noting(loaded: Loaded, trouble: str) -> Loaded:
    """The same workspace, with what is wrong with writing its sheets among its problems; "": nothing is."""
    others = tuple(each for each in loaded.problems if each.path != PATH)
    if not trouble:
        return loaded if len(others) == len(loaded.problems) else replace(loaded, problems=others)
    hint = "name a folder that can be written as sheets.folder; `opsdash sheet` writes them by hand"
    return replace(loaded, problems=others).noting([loaded.problem(PATH, trouble, hint)])


class SheetWriter:
    """Writes them for an engine. default: their folder where opsdash.yaml names none; None: then nowhere.

    now: seconds since 1970 UTC.  tell: takes what is wrong with writing them, "" when nothing is any more.
    """

    def __init__(
        self,
        *,
        default: Path | None,
        loaded: Callable[[], Loaded],
        world: World,
        now: Callable[[], float],
        tell: Callable[[str], None],
    ) -> None:
        self._default = default
        self._loaded = loaded
        self._world = world
        self._now = now
        self._tell = tell
        self._worker = Worker("sheets")
        self._task: asyncio.Task[None] | None = None
        self._since = 0.0
        self._again = False

    def due(self) -> None:
        """Write them soon; while that goes on already, once more after it."""
        if self._task is None or self._task.done():
            self._since = self._now()
            self._task = spawn(self._write_all(), "sheets")
            return
        self._again = True
        if self._now() - self._since > PATIENCE:
            self._tell(f"the emergency sheets of {format_duration(self._now() - self._since)} ago are {STILL}")

    async def write(self) -> None:
        """Have them written; the calendar does not wait for it."""
        self.due()

    async def written(self) -> None:
        """Wait until nothing is being written."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Give up: a file that is being written stays the old one or becomes the new one."""
        await cancel(self._task)
        self._worker.dismiss()

    async def _write_all(self) -> None:
        await self._write()
        while self._again:
            self._again = False
            await self._write()

    async def _write(self) -> None:
        loaded = self._loaded()
        folder = loaded.settings.sheets or self._default
        if folder is None:
            return
        tables = {name: dict(table) for name, table in self._world.tables.items()}
        world = World(self._world.operation, tables)
        try:
            await self._worker.call(_written, folder, loaded, world, self._now())
        except SheetsError as error:
            log.error("%s", error)  # noqa: TRY400 - it says all
            self._tell(str(error))
        except Exception as error:
            log.exception("emergency sheets could not be made: this is a bug")
            self._tell(f"emergency sheets could not be made: {type(error).__name__}")
        else:
            self._tell("")


def _written(folder: Path, loaded: Loaded, world: World, as_of: float) -> None:
    """In a thread. It stands back after each page: Python runs one thread at a time, and checks come first."""
    never = threading.Event()
    files = rendered(loaded, world, as_of, lambda: never.wait(STAND_BACK))
    write_sheets(folder, files, MARK)
