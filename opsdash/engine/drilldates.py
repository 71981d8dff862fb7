"""Tells the core when drills are due and which of their windows are open, whenever that may have changed.

The core knows no calendar; what this one says is always all of it, so that nothing is missed: at the start, when the
files have changed, when a drill has begun or ended, when the clock has jumped, and once a minute besides. It is
reckoned in a thread: two thousand cron expressions take their time.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opsdash.core import drill_schedule
from opsdash.engine.calendar import next_cron, open_now
from opsdash.engine.tasks import spawn
from opsdash.kinds.offload import in_thread
from opsdash.model.inputs import DrillDates
from opsdash.model.week import parse_week_time
from opsdash.model.window import WindowKind, WindowSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opsdash.model.operation import Operation
    from opsdash.model.world import World

log = logging.getLogger(__name__)

EVERY = 60.0
"""Seconds after which it is told again: reminders, surprises and windows are no later than that."""


@dataclass(frozen=True, slots=True)
class DrillCalendar:
    """The port of `core.drill_schedule`. windows: those of opsdash.yaml; timezone: of times of the week."""

    windows: Mapping[str, WindowSpec]
    timezone: str

    def next_cron(self, expression: str, timezone: str, after: float) -> float | None:
        """When a cron expression fires next, after `after`; None for never, also where it makes no sense."""
        try:
            return next_cron(expression, timezone, after)
        except (ValueError, OverflowError, KeyError) as error:
            log.warning("the dates of %r are not known: %s", expression, error)
            return None

    def opens(self, windows: tuple[str, ...], at: float) -> tuple[float, float] | None:
        """The first span from `at` on in which one of the windows is open: (since, until); it may have begun before."""
        spans = [span for name in windows if (span := self._span(name, at)) is not None]
        return min(spans, default=None)

    def _span(self, name: str, at: float) -> tuple[float, float] | None:
        spec = self.windows.get(name) or self._of_the_week(name)
        if spec is None:
            return None
        try:
            now = open_now(spec, at)
        except (ValueError, OverflowError, KeyError):
            return None
        if now is not None:
            return now.since, now.until
        if not spec.cron:
            start = spec.start or 0.0
            return None if start < at else (start, spec.until or start)
        begins = self.next_cron(spec.cron, spec.timezone, at)
        return None if begins is None else (begins, begins + spec.length)

    def _of_the_week(self, text: str) -> WindowSpec | None:
        try:
            time = parse_week_time(text)
        except ValueError:
            return None
        return WindowSpec(
            text, WindowKind.MAINTENANCE, text, cron=time.cron, length=time.length, timezone=self.timezone
        )


@dataclass(slots=True)
class _Reader:
    """The world of one moment, as far as dates go by it."""

    operation: Operation
    tables: Mapping[str, Mapping[str, Any]]

    def get(self, table: str, key: str) -> Any:
        """A value, None where there is none."""
        return self.tables[table].get(key)


class DrillClock:
    """Tells the dates of one workspace's drills."""

    def __init__(self, put: Callable[[DrillDates], None], world: World) -> None:
        self._put = put
        self._world = world
        self._told = 0.0
        self._busy = False
        self._again = False

    def look(self, wall: float) -> None:
        """Tell if that is due, or the clock was set back."""
        drills = bool(self._world.operation.drills or self._world.tables["drill_dues"])
        if drills and not 0.0 <= wall - self._told < EVERY:
            self.tell(wall)

    def tell(self, wall: float) -> None:
        """Tell the dates as they are now; once more afterwards, where that is just being done."""
        self._told = wall
        if self._busy:
            self._again = True
            return
        self._busy = True
        spawn(self._tell(wall), "dates of drills")

    async def _tell(self, wall: float) -> None:
        try:
            operation, tables = self._world.operation, self._world.tables
            reader = _Reader(operation, {name: dict(tables[name]) for name in ("drill_past", "drill_dues")})
            calendar = DrillCalendar(operation.windows, operation.timezone)
            dates = await in_thread("dates of drills", lambda: drill_schedule.dates(reader, wall, calendar))
            self._put(DrillDates(dates))
        finally:
            self._busy = False
        if self._again:
            self._again = False
            self.tell(wall)
