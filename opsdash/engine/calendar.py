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

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


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

    Raises ValueError for an expression or a zone that does not exist.
    """
    trigger = CronTrigger.from_crontab(expression, timezone=ZoneInfo(timezone))
    following = trigger.get_next_fire_time(None, datetime.fromtimestamp(after + 1e-3, UTC))
    return None if following is None else float(following.timestamp())
