"""Whether somebody looks after an incident: an acknowledgement counts until it expires."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opsdash.model.incident import Incident


def looked_after_by(incident: Incident | None, wall: float) -> str | None:
    """Who has acknowledged an incident, None if nobody has, or the acknowledgement has expired."""
    if incident is None or incident.acknowledged_by is None or has_expired(incident, wall):
        return None
    return incident.acknowledged_by


def until_lately(incident: Incident | None) -> str:
    """Who had acknowledged an incident that nobody looks after any more, "" if nobody had."""
    return "" if incident is None else incident.ack_was or incident.acknowledged_by or ""


def has_expired(incident: Incident | None, wall: float) -> bool:
    """Whether it was acknowledged, and no longer is."""
    return incident is not None and incident.ack_until is not None and incident.ack_until <= wall
