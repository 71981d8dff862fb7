"""Calendar things: "when next?", by APScheduler's triggers, and the engine's housekeeping.

The only module that imports APScheduler. Its scheduler fires the few jobs that go by the calendar (checkpoints,
roll-ups), with an explicit misfire policy: a missed one runs as soon as it can, once. Polls never go through it: by
default it drops what is a second late, and its clock is the wall clock.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

from opsdash.model.cron import with_weekday_names
from opsdash.model.window import Occurrence

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from opsdash.model.window import WindowSpec


class Calendar:
    """Answers "when next?" and runs housekeeping jobs on the event loop."""

    def __init__(self) -> None:
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )

    def start(self) -> None:
        """Begin to fire jobs."""
        self._scheduler.start()

    def every_day(self, name: str, job: Callable[[], Coroutine[Any, Any, None]], *, hour: int, minute: int) -> None:
        """Run `job` once a day, in UTC."""
        self._scheduler.add_job(job, CronTrigger(hour=hour, minute=minute, timezone=UTC), id=name)

    def every_minute(self, name: str, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `job` at the beginning of each minute."""
        self._scheduler.add_job(job, CronTrigger(second=2, timezone=UTC), id=name)

    def close(self) -> None:
        """Fire no more."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)


def next_cron(expression: str, timezone: str, after: float) -> float | None:
    """When a cron expression (five fields) next fires after `after`, in seconds since 1970 UTC; None if never.

    Raises ValueError for an expression or a zone that does not exist. Weekdays are those of cron: APScheduler counts
    from Monday, so it is given their names.
    """
    trigger = CronTrigger.from_crontab(with_weekday_names(expression), timezone=ZoneInfo(timezone))
    following = trigger.get_next_fire_time(None, datetime.fromtimestamp(after + 1e-3, UTC))
    return None if following is None else float(following.timestamp())


MINUTE = 60.0
"""A cron expression fires at most once in so many seconds."""

SUMMER_TIME = 2 * 3600.0
"""A window that begins in the hour that summer time takes away is only found by somebody who asks from before it."""


def open_now(spec: WindowSpec, wall: float) -> Occurrence | None:
    """The occurrence of a window in which `wall` lies; of one that comes again before it has ended, the latest."""
    if not spec.cron:
        since, until = spec.start or 0.0, spec.until or 0.0
        return Occurrence(spec.id, since, until) if since <= wall < until else None
    began = _latest(spec, wall)
    return None if began is None else Occurrence(spec.id, began, began + spec.length)


def next_edge(spec: WindowSpec, wall: float) -> float | None:
    """When a window next begins or ends after `wall`; None if never."""
    if not spec.cron:
        return min((edge for edge in (spec.start, spec.until) if edge is not None and edge > wall), default=None)
    begins = next_cron(spec.cron, spec.timezone, wall)
    current = open_now(spec, wall)
    edges = [edge for edge in (begins, None if current is None else current.until) if edge is not None]
    return min(edges, default=None)


def _latest(spec: WindowSpec, wall: float) -> float | None:
    """The last time at or before `wall` at which the window began, if it is still open then.

    A trigger only tells what comes next. So the time in which it can have begun is halved until nothing fits between.
    """
    latest = next_cron(spec.cron, spec.timezone, wall - spec.length - SUMMER_TIME)
    if latest is None or latest > wall:
        return None
    high = wall
    while high - latest >= MINUTE:
        middle = (latest + high) / 2
        found = next_cron(spec.cron, spec.timezone, middle)
        if found is not None and found <= wall:
            latest = max(latest, found)
        else:
            high = middle
    return latest if wall < latest + spec.length else None
