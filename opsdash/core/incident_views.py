"""An incident for a client."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opsdash.model.incident import Incident
    from opsdash.model.views import IncidentView


def incident_view(incident: Incident) -> IncidentView:
    """An incident for a client."""
    handover = incident.handover
    return {
        "id": incident.id,
        "component": incident.component,
        "components": list(incident.components),
        "title": incident.title,
        "kind": incident.kind.value,
        "state": incident.state.value,
        "severity": incident.severity,
        "severity_by": incident.severity_by,
        "drill": incident.drill,
        "began": incident.began,
        "opened_at": incident.opened_at,
        "ack_until": incident.ack_until,
        "closed_by": incident.closed_by,
        "closed_at": incident.closed_at,
        "cancelled_by": incident.cancelled_by,
        "cancelled_at": incident.cancelled_at,
        "reopened": incident.reopened,
        "folded_into": incident.folded_into,
        "lead": incident.lead,
        "roles": [
            {"role": each.role.value, "person": each.person, "since": each.since, "until": each.until}
            for each in incident.roles
        ],
        "handover": None
        if handover is None
        else {
            "at": handover.at,
            "who": handover.who,
            "to": handover.to,
            "text": handover.text,
            "accepted_by": handover.accepted_by,
        },
        "acknowledged_by": incident.acknowledged_by,
        "acknowledged_at": incident.acknowledged_at,
        "mitigated_at": incident.recovered_at,
        "resolved_by": incident.resolved_by,
        "resolved_at": incident.resolved_at,
        "failures": list(incident.failures),
        "entries": [
            {
                "at": entry.at,
                "recorded": entry.recorded,
                "who": entry.who,
                "kind": entry.kind.value,
                "text": entry.text,
                "component": entry.component,
                "pinned": entry.pinned,
                "edits": [
                    {"at": each.at, "who": each.who, "text": each.text, "happened": each.happened}
                    for each in entry.edits
                ],
            }
            for entry in incident.entries
        ],
    }
