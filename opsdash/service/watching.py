"""The files of a workspace are read again when they change."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from opsdash.config.loader import load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opsdash.config.loader import Loaded
    from opsdash.engine.engine import Engine
    from opsdash.engine.lastgood import LastGoodFiles
    from opsdash.service.reach import Reach

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 1.0
LOOK_AT_LEAST_EVERY: Final = 10.0
FILES_A_SECOND: Final = 100
"""So many files are looked at every second. More of them are looked at less often: a look takes a `stat` of each, and
is not to cost as much as their checks do."""


async def watch_files(engine: Engine, reach: Reach, environment: Mapping[str, str], remembered: LastGoodFiles) -> None:
    """Look at the files for ever; what no longer loads keeps its last good version."""
    trouble = ""
    while True:
        files = len(engine.loaded.cache.stamps)
        await asyncio.sleep(min(max(files / FILES_A_SECOND, LOOK_EVERY), LOOK_AT_LEAST_EVERY))
        before = engine.loaded
        try:
            due = engine.now().wall > before.made_until
            if not due and not await asyncio.to_thread(before.changed):
                continue
            read = await asyncio.to_thread(load, reach.where.workspace, environment, engine.now().wall, before)
            after = reach.noted(read)
        except Exception as error:
            if str(error) != trouble:
                log.exception("the files could not be read again; the engine goes on with what it has")
            trouble = str(error)
            continue
        trouble = ""
        if after.digest == before.digest and not due:
            engine.loaded = after
            continue
        log.info("the shifts of the rotas are made anew" if due else "the files have changed")
        report_problems(after)
        engine.reload(after)
        await remembered.keep(engine)


def report_problems(loaded: Loaded) -> None:
    """Every problem of the files, in the log."""
    for problem in loaded.problems:
        log.warning("%s", problem)
