"""What the engine keeps of files that are gone: a runbook that somebody follows, until the run has ended.

Parts of components that are in use are kept by the core (`opsdash.core.held`). Both go when they are no longer in use.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opsdash.model import records as r

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opsdash.config.loader import Loaded
    from opsdash.model.world import World

FREES = (
    r.SwitchEnded,
    r.ActiveChanged,
    r.ModeSeen,
    r.IncidentResolved,
    r.IncidentClosed,
    r.IncidentCancelled,
    r.RunEnded,
)
"""Records after which something may no longer be in use."""


def frees(records: Iterable[r.Record]) -> bool:
    """Whether something may no longer be in use after these."""
    return any(isinstance(record, FREES) for record in records)


def with_held_runbooks(loaded: Loaded, before: Loaded, world: World) -> Loaded:
    """A runbook that somebody follows survives its removal from the files until the run has ended."""
    followed = {run.runbook for run in world.tables["runs"].values()}
    held = {
        name: runbook for name, runbook in before.runbooks.items() if name in followed and name not in loaded.runbooks
    }
    return replace(loaded, runbooks={**loaded.runbooks, **held}) if held else loaded


def held_runbooks(loaded: Loaded) -> set[str]:
    """Runbooks that are no longer in the files, and that somebody still follows."""
    return loaded.runbooks.keys() - loaded.cache.runbooks.keys()


def without_held_runbooks(loaded: Loaded) -> Loaded:
    """Only those that are in the files."""
    return replace(loaded, runbooks={name: loaded.runbooks[name] for name in loaded.cache.runbooks})
