"""Redundancy: whether a backup could take over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.model.status import Status

if TYPE_CHECKING:
    from opsdash.model.operation import Component

READY = "ready"
LOST = "lost"
UNCERTAIN = "unknown"
NO_BACKUP = "none"

REDUNDANT = frozenset({READY, NO_BACKUP})
"""With which nothing is missing: a backup could take over, or there was never one."""


def redundancy_of(component: Component, active: str | None, providers: dict[str, Status]) -> str:
    """Whether a backup could take over: the best that is known of any provider that does not serve now."""
    standbys = [status for provider, status in providers.items() if provider != active]
    if len(component.providers) < 2:
        return NO_BACKUP
    if any(status in (Status.OK, Status.DEGRADED) for status in standbys):
        return READY
    if all(status is Status.DOWN for status in standbys):
        return LOST
    return UNCERTAIN
