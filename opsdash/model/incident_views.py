"""What a client sees of an incident: its timeline, who does what in it, and its end."""

from __future__ import annotations

from typing import TypedDict


class EditView(TypedDict):
    """What a line of a timeline was before somebody changed it at `at`; happened: its time then."""

    at: float
    who: str
    text: str
    happened: float


class EntryView(TypedDict):
    """A line of an incident's timeline."""

    at: float
    recorded: float
    who: str
    kind: str
    text: str
    component: str
    pinned: bool
    edits: list[EditView]


class RoleView(TypedDict):
    """Who has or had a role in an incident; until None: has."""

    role: str
    person: str
    since: float
    until: float | None


class HandoverView(TypedDict):
    """The latest handover note of an incident; accepted_by "": nobody has taken over yet."""

    at: float
    who: str
    to: str
    text: str
    accepted_by: str


class IncidentView(TypedDict):
    """An incident. state: open | acknowledged | mitigated | resolved | closed | cancelled.

    severity: 1 (worst) to 4.  began, …_at, ack_until: seconds since 1970 UTC.  lead: who leads it now.
    """

    id: str
    component: str
    components: list[str]
    title: str
    kind: str
    state: str
    severity: int
    severity_by: str
    drill: bool
    began: float | None
    opened_at: float
    ack_until: float | None
    closed_by: str | None
    closed_at: float | None
    cancelled_by: str | None
    cancelled_at: float | None
    reopened: int
    folded_into: str
    lead: str | None
    roles: list[RoleView]
    handover: HandoverView | None
    acknowledged_by: str | None
    acknowledged_at: float | None
    mitigated_at: float | None
    resolved_by: str | None
    resolved_at: float | None
    failures: list[str]
    entries: list[EntryView]
