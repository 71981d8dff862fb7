"""Heartbeats: when the next report of a sender is due, and what is known of the last one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opsdash.engine.calendar import next_cron
from opsdash.kinds.base import HeartbeatState

if TYPE_CHECKING:
    from opsdash.model.world import World


def next_due(options: Any, timezone: str, wall: float) -> float | None:
    """When a report that comes `every` so often, or by `cron`, is expected after `wall`; None: by neither.

    timezone: the operation's, where the heartbeat's own options have none.
    """
    every, cron = getattr(options, "every", None), getattr(options, "cron", None)
    if every is not None:
        return wall + float(every)
    return next_cron(cron, getattr(options, "timezone", None) or timezone, wall) if cron else None


def heartbeat_state(world: World, check: str) -> HeartbeatState | None:
    """What is known of a heartbeat, for its check. None: nothing has been heard, and nothing is awaited."""
    found = world.get("heartbeats", check)
    if found is None:
        return None
    return HeartbeatState(found.last, found.started, found.failed, found.due, found.detail)
