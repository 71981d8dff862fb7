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


class IncidentState(StrEnum):
    """Where an incident stands.

    open: nobody looks after it.  acknowledged: somebody does.  mitigated: users are served again, by whatever means.
    resolved: redundancy is back as well, nothing is out of the ordinary.  closed: a person has no more to add.
    cancelled: it was none.
    """

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    MITIGATED = "mitigated"
    RESOLVED = "resolved"
    CLOSED = "closed"
    CANCELLED = "cancelled"


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
    SEVERITY = "severity"
    ROLE = "role"
    HANDOVER = "handover"
    MESSAGE = "message"
    CHANGE = "change"


class IncidentRole(StrEnum):
    """What somebody does in an incident. Where nobody else was named, whoever acknowledged it leads."""

    LEAD = "lead"
    SCRIBE = "scribe"
    COMMS = "comms"


@dataclass(frozen=True, slots=True)
class Edit:
    """How a line of the timeline read before somebody changed it, at `at`."""

    at: float
    who: str
    text: str
    happened: float


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """`at` is when it happened, `recorded` when it was written, both in seconds since 1970 UTC.

    `at` and the text can be changed by a person, `recorded` never; `edits` says what they were, oldest first.
    pinned: it belongs to the story; the others are folded away in a report.  component: which one it is about, "" for
    all of them.
    """

    at: float
    recorded: float
    who: str
    kind: EntryKind
    text: str
    pinned: bool = False
    edits: tuple[Edit, ...] = ()
    component: str = ""


@dataclass(frozen=True, slots=True)
class RoleInterval:
    """Somebody has, or had, a role. until: None while it lasts."""

    role: IncidentRole
    person: str
    since: float
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Handover:
    """A note for whoever takes over. It is theirs once they have accepted it."""

    at: float
    who: str
    to: str
    text: str
    accepted_at: float | None = None
    accepted_by: str = ""


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident.

    component: in which it began.  folded: others that fail because of it, oldest first.  well: those of all of them
    that work again.
    failures: the failure modes that joined it, in order, of another component as `component/failure`.
    severity: 1 (worst) to 4; severity_by: who set it, "" while it follows from tier and failure mode.
    drill: it is about a planned failure.
    began: when the first result came in that was not good, or what a person has said.
    recovered_at: mitigated, that is users are served again, since.  resolved_at: redundancy is back since.
    ack_until: when the acknowledgement expires.  reopened: how often.
    ack_was: by whom it was acknowledged until that expired, at `ack_until`.
    folded_into: the incident of which it has become a part, or "".
    """

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
    folded: tuple[str, ...] = ()
    well: tuple[str, ...] = ()
    severity: int = 0
    severity_by: str = ""
    drill: bool = False
    began: float | None = None
    ack_until: float | None = None
    closed_by: str | None = None
    closed_at: float | None = None
    cancelled_by: str | None = None
    cancelled_at: float | None = None
    reopened: int = 0
    roles: tuple[RoleInterval, ...] = ()
    handover: Handover | None = None
    ack_was: str = ""
    folded_into: str = ""

    @property
    def is_open(self) -> bool:
        """Whether there is still something to do but to close it."""
        return self.resolved_at is None and self.cancelled_at is None and self.closed_at is None

    @property
    def state(self) -> IncidentState:
        """Where it stands; the first that applies."""
        if self.cancelled_at is not None:
            return IncidentState.CANCELLED
        if self.closed_at is not None:
            return IncidentState.CLOSED
        if self.resolved_at is not None:
            return IncidentState.RESOLVED
        if self.recovered_at is not None:
            return IncidentState.MITIGATED
        return IncidentState.OPEN if self.acknowledged_by is None else IncidentState.ACKNOWLEDGED

    @property
    def components(self) -> tuple[str, ...]:
        """All components that it is about."""
        return (self.component, *self.folded)

    @property
    def lead(self) -> str | None:
        """Who leads it now."""
        return self.holder(IncidentRole.LEAD) or self.acknowledged_by

    def holder(self, role: IncidentRole) -> str | None:
        """Who has a role now."""
        held = (each.person for each in self.roles if each.role is role and each.until is None)
        return next(held, None)
