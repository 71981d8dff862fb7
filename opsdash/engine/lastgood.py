"""The last good version of the workspace's files, from one engine to the next.

What is in use survives its removal from the files, and what no longer loads keeps its last good version; both hold
over a stop and a start as well, since somebody who edits files while no engine runs must not lose a switch that is on
its backup. So an engine keeps the texts it goes by beside its journal, and the next one loads them first.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from opsdash.config.files import RUNBOOKS
from opsdash.config.lastgood import LastGood, last_good, load_last_good
from opsdash.config.loader import load
from opsdash.errors import StorageError
from opsdash.storage.lastgood import read_last_good, write_last_good

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from opsdash.config.loader import Loaded
    from opsdash.engine.engine import Engine

log = logging.getLogger(__name__)


class LastGoodFiles:
    """The files of `workspace`, and what is kept of them in the file `kept`."""

    def __init__(self, workspace: Path, kept: Path, environment: Mapping[str, str]) -> None:
        self._workspace = workspace
        self._file = kept
        self._environment = environment
        self._kept: LastGood | None = None

    def load(self, wall: float) -> tuple[Loaded, Loaded | None]:
        """The workspace; and as the engine before had it, where the files may have changed since."""
        try:
            self._kept = read_last_good(self._file, self._environment)
        except StorageError as error:
            log.warning("%s; what was removed from the files since the last start may not be known any more", error)
        before = None
        if self._kept is not None and not self._kept.is_on_disk(self._workspace, self._environment):
            try:
                before = load_last_good(self._kept, self._workspace, self._environment, wall)
            except Exception:
                log.exception("the last good version of the files could not be used: this is a bug")
        return load(self._workspace, self._environment, wall, before), before

    async def keep(self, engine: Engine) -> None:
        """Keep what the engine has now. Not before its journal holds what was removed from the files and is in use."""
        await engine.runner.settled()
        kept = last_good(engine.loaded)
        held = {f"{RUNBOOKS}/{name}.md" for name in engine.held_runbooks}
        kept = kept.keeping(self._kept or LastGood(), held)
        if kept == self._kept or engine.runner.journal_error:
            return
        try:
            await asyncio.to_thread(write_last_good, self._file, kept)
        except StorageError as error:
            log.warning("%s; what is removed from the files while no engine runs will not be known", error)
        else:
            self._kept = kept
