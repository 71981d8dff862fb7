"""Tells the core which windows of the files are open, whenever that changes.

The calendar says when the next one begins or ends; that moment is compared with the wall clock once a second, which
needs no timer and stands any jump of the clock. What the core is told is always all of it, so that nothing is missed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from opsdash.engine.calendar import next_edge, open_now
from opsdash.model.inputs import WindowsOpen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opsdash.model.window import WindowSpec

log = logging.getLogger(__name__)


class Windows:
    """The windows of one workspace."""

    def __init__(self, put: Callable[[WindowsOpen], None]) -> None:
        self._put = put
        self._specs: Mapping[str, WindowSpec] = {}
        self._looked = 0.0
        self._edge: float | None = None

    def configure(self, specs: Mapping[str, WindowSpec], wall: float) -> None:
        """Go by these windows from now on."""
        self._specs = specs
        self.tell(wall)

    def look(self, wall: float) -> None:
        """Tell what is open, if a window may have begun or ended since the last time, or the clock was set back."""
        if not self._specs:
            return
        if wall < self._looked or (self._edge is not None and wall >= self._edge):
            self.tell(wall)
        self._looked = wall

    def tell(self, wall: float) -> None:
        """Tell what is open now."""
        self._looked, edges, occurrences = wall, [], []
        for spec in self._specs.values():
            try:
                occurrence, edge = open_now(spec, wall), next_edge(spec, wall)
            except (ValueError, OverflowError) as error:
                log.warning("window %s never opens: %s", spec.id, error)
                continue
            if occurrence is not None:
                occurrences.append(occurrence)
            if edge is not None:
                edges.append(edge)
        self._edge = min(edges, default=None)
        self._put(WindowsOpen(tuple(occurrences)))
