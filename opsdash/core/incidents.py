"""Incidents: one open per component; failure modes join it; people close it.

One is opened when an essential or important component turns down or one of its failure modes becomes active, and when
it has been unknown for five minutes ("we are blind"). A droppable component opens a note, which alarms nobody. A
failure mode that only says that people are away opens none: it is a flag, with a response. What was opened as a note or
because we were blind becomes a failure when the component really fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core import alarms
from opsdash.model.incident import EntryKind, Incident, IncidentKind
from opsdash.model.operation import Tier
from opsdash.model.records import (
    IncidentAcknowledged,
    IncidentJoined,
    IncidentNoted,
    IncidentOpened,
    IncidentRecovered,
    IncidentResolved,
)
from opsdash.model.status import Status
from opsdash.model.switch import Refused

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.inputs import AckIntent, NoteIntent, OpenIncidentIntent, ResolveIntent
    from opsdash.model.operation import Component, FailureMode
    from opsdash.model.world import ComponentLive

OPSDASH = "opsdash"


def refresh(draft: Draft, component_id: str) -> None:
    """Open, join or mark as recovered, as a component's status and failure modes now are; and alarm accordingly."""
    component = draft.component(component_id)
    if component is None:
        return
    _refresh(draft, component)
    alarms.refresh(draft, component_id)


def _refresh(draft: Draft, component: Component) -> None:
    component_id = component.id
    failing = _failing(draft, component)
    down = draft.health(component_id).status is Status.DOWN
    incident = draft.incident(component_id)
    if incident is None:
        if failing:
            _open(draft, component, failing[0].title, failing[0].id)
            incident = draft.incident(component_id)
        elif down:
            _open(draft, component, _down_title(draft, component), None)
    if incident is None:
        return
    for failure in failing:
        if failure.id not in incident.failures:
            kind = _worse_kind(component, incident)
            draft.emit(IncidentJoined(draft.now.wall, incident.id, failure.id, failure.title, kind))
            incident = draft.incident(component_id) or incident
    kind = _worse_kind(component, incident)
    if (down or failing) and kind is not None:
        title = _down_title(draft, component) if down else failing[0].title
        draft.emit(IncidentJoined(draft.now.wall, incident.id, "", title, kind))
        incident = draft.incident(component_id) or incident
    _mark_recovery(draft, component_id, incident, failing=bool(failing), down=down)


def _worse_kind(component: Component, incident: Incident) -> IncidentKind | None:
    """What an incident becomes when its component fails; None if it stays what it is."""
    mild = incident.kind in (IncidentKind.NOTE, IncidentKind.BLIND) and component.tier is not Tier.DROPPABLE
    return IncidentKind.FAILURE if mild else None


def _mark_recovery(draft: Draft, component: str, incident: Incident, *, failing: bool, down: bool) -> None:
    status = draft.health(component).status
    forgotten = incident.kind is IncidentKind.NOTE and bool(draft.state(component).overdue)
    well = not failing and not forgotten and status in (Status.OK, Status.DEGRADED)
    if well and incident.recovered_at is None and incident.kind is not IncidentKind.MANUAL:
        draft.emit(IncidentRecovered(draft.now.wall, incident.id))
    elif (failing or down) and incident.recovered_at is not None:
        draft.emit(IncidentRecovered(draft.now.wall, incident.id, again=True))


def _failing(draft: Draft, component: Component) -> list[FailureMode]:
    active = {failure for failure, _ in draft.state(component.id).failures}
    return [
        failure
        for failure in component.failures.values()
        if failure.id in active and not (failure.detected_by is not None and failure.detected_by.away)
    ]


def _down_title(draft: Draft, component: Component) -> str:
    health = draft.health(component.id)
    detail = draft.check(health.cause).detail
    return f"{component.title} is down: {detail}" if detail else f"{component.title} is down"


def _open(draft: Draft, component: Component, title: str, failure: str | None) -> None:
    kind = IncidentKind.NOTE if component.tier is Tier.DROPPABLE else IncidentKind.FAILURE
    open_incident(draft, component.id, kind, title, failure=failure)


def open_incident(
    draft: Draft, component: str, kind: IncidentKind, title: str, *, who: str = OPSDASH, failure: str | None = None
) -> str:
    """Open an incident, alarm if it is more than a note, and return its id."""
    number = draft.life().incidents + 1
    incident = f"INC-{number}"
    draft.emit(IncidentOpened(draft.now.wall, incident, component, kind, title, who, failure))
    alarms.refresh(draft, component)
    draft.touch(component)
    return incident


def blind(draft: Draft, component: Component, health: ComponentLive) -> None:
    """A component has been unknown for too long: nobody can say whether it works."""
    if draft.incident(component.id) is None:
        why = health.reason.value if health.reason else "unknown"
        title = f"{component.title}: we are blind, it cannot be measured ({why})"
        open_incident(draft, component.id, IncidentKind.BLIND, title)


def note(draft: Draft, component: str, kind: EntryKind, text: str, who: str = OPSDASH) -> None:
    """Write a line into the open incident of a component, if there is one."""
    incident = draft.incident(component)
    if incident is not None:
        draft.emit(IncidentNoted(draft.now.wall, incident.id, who, kind, text))


def note_or_open(draft: Draft, component: Component, kind: EntryKind, text: str) -> None:
    """Something that must not be forgotten: a line in the open incident, or a note of its own."""
    if draft.incident(component.id) is not None:
        note(draft, component.id, kind, text)
    else:
        open_incident(draft, component.id, IncidentKind.NOTE, f"{component.title}: {text}")


# --- intents -------------------------------------------------------------------------------------------------------


def _find(draft: Draft, incident: str) -> Incident | Refused:
    found: Incident | None = draft.get("incidents", incident)
    if found is None:
        return Refused("unknown_incident", f"there is no incident {incident!r}")
    if not found.is_open:
        return Refused("resolved", f"{incident} has already been resolved by {found.resolved_by}")
    return found


def acknowledge(draft: Draft, who: str, intent: AckIntent) -> Refused | None:
    """Somebody looks after it."""
    found = _find(draft, intent.incident)
    if isinstance(found, Refused):
        return found
    if found.acknowledged_by is not None:
        return Refused("acknowledged", f"{found.id} has already been acknowledged by {found.acknowledged_by}")
    draft.emit(IncidentAcknowledged(draft.now.wall, found.id, who))
    draft.touch(found.component)
    return None


def write_note(draft: Draft, who: str, intent: NoteIntent) -> Refused | None:
    """A line for the timeline."""
    found = _find(draft, intent.incident)
    if isinstance(found, Refused):
        return found
    if not intent.text.strip():
        return Refused("empty", "a note needs some text")
    draft.emit(IncidentNoted(draft.now.wall, found.id, who, EntryKind.NOTE, intent.text.strip()))
    draft.touch(found.component)
    return None


def resolve(draft: Draft, who: str, intent: ResolveIntent) -> Refused | None:
    """Close it. Refused while its failure is still there: closing would open the next one at once."""
    found = _find(draft, intent.incident)
    if isinstance(found, Refused):
        return found
    component = draft.component(found.component)
    if component is not None and not component.removed:
        failing = _failing(draft, component)
        if failing or draft.health(component.id).status is Status.DOWN:
            what = failing[0].title if failing else f"{component.title} is down"
            return Refused("still_failing", f"{found.id} cannot be resolved yet: {what}")
    draft.emit(IncidentResolved(draft.now.wall, found.id, who, intent.text.strip()))
    alarms.refresh(draft, found.component)
    draft.touch(found.component)
    return None


def open_by_hand(draft: Draft, who: str, intent: OpenIncidentIntent) -> Refused | str:
    """Open an incident that no check has noticed. Returns its id."""
    component = draft.component(intent.component)
    if component is None:
        return Refused("unknown_component", f"there is no component {intent.component!r}")
    present = draft.incident(intent.component)
    if present is not None:
        return Refused("open", f"{component.title} already has {present.id}; write a note there")
    if not intent.title.strip():
        return Refused("empty", "an incident needs a title: what do users notice?")
    return open_incident(draft, component.id, IncidentKind.MANUAL, intent.title.strip(), who=who)
