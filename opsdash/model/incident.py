"""Incidents: opened by opsdash or by hand, closed by people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class IncidentKind(StrEnum):
    """Why it was opened. A `note` (droppable component, passed review time) alarms nobody."""

    FAILURE = "failure"
    BLIND = "blind"
    NOTE = "note"
    MANUAL = "manual"


class EntryKind(StrEnum):
    """What a line of the timeline tells."""

    DETECTED = "detected"
    FAILURE_MODE = "failure_mode"
    STATUS = "status"
    SWITCH = "switch"
    RUNBOOK = "runbook"
    ACK = "ack"
    NOTE = "note"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """`at` is when it happened, `recorded` when it was written, both in seconds since 1970 UTC."""

    at: float
    recorded: float
    who: str
    kind: EntryKind
    text: str


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident. `failures`: the failure modes that joined it, in order; `recovered_at`: all is well again since."""

    id: str
    component: str
    kind: IncidentKind
    title: str
    opened_at: float
    failures: tuple[str, ...] = ()
    acknowledged_by: str | None = None
    acknowledged_at: float | None = None
    recovered_at: float | None = None
    resolved_by: str | None = None
    resolved_at: float | None = None
    entries: tuple[TimelineEntry, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether a person has yet to resolve it."""
        return self.resolved_at is None
