"""Incidents, as far as opsdash itself opens, joins, folds and ends them; what people do with one is `incident_work`.

One is opened when an essential or important component turns down or one of its failure modes becomes active, and when
it has been unknown for five minutes ("we are blind"). A droppable component opens a note, which alarms nobody. A
failure mode that only says that people are away opens none: it is a flag, with a response. What was opened as a note or
because we were blind becomes a failure when the component really fails.

There is one open incident for each component, and failure modes join it. A component that fails because one that it
depends on fails is folded into that one's incident, in whichever order the two were noticed. An incident is *mitigated*
when all of its components work again, and *resolved* when nothing is out of the ordinary either: no degraded mode is in
force and a backup could take over where there is one. It is reopened when the failure comes back within an hour.
Closing it is left to people; a note, and what a person has opened, they resolve as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core import alarms, changes, drill_marks, severity
from opsdash.core.reader import OPSDASH
from opsdash.core.redundancy import REDUNDANT
from opsdash.core.severity import How
from opsdash.model.effects import SetTimer
from opsdash.model.incident import EntryKind, Incident, IncidentKind, IncidentState
from opsdash.model.operation import Tier
from opsdash.model.records import (
    IncidentClosed,
    IncidentFolded,
    IncidentJoined,
    IncidentNoted,
    IncidentOpened,
    IncidentRecovered,
    IncidentReopened,
    IncidentResolved,
)
from opsdash.model.status import Status

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.operation import Component, FailureMode
    from opsdash.model.world import ComponentLive

REOPEN_WITHIN = 3600.0
"""Seconds after an incident was resolved in which the same failure is the same incident."""

FOLD_WITHIN = 300.0
"""Seconds by which a child's failure may have been noticed before its parent's, and still be explained by it."""

CLOSED_BY_ITSELF = 30 * 86400.0
"""Seconds after which a resolved incident that nobody has closed is closed, and says so."""

ENDED_BY_ITSELF = frozenset({IncidentKind.FAILURE, IncidentKind.BLIND})
"""Kinds that are resolved when what they are about is over. A note is there to be seen by a person, who ends it."""


def refresh(draft: Draft, component_id: str) -> None:
    """Open, join or mark as recovered, as a component's status and failure modes now are; and alarm accordingly."""
    component = draft.component(component_id)
    if component is None:
        return
    _refresh(draft, component)
    alarms.refresh(draft, component_id)


def _refresh(draft: Draft, component: Component) -> None:
    failing = failing_modes(draft, component)
    down = draft.health(component.id).status is Status.DOWN
    incident = draft.incident(component.id)
    if incident is None:
        if failing or down:
            _begin(draft, component, failing, down=down)
            incident = draft.incident(component.id)
        if incident is None:
            return
    for failure in failing:
        _join(draft, component, incident, failure, down=down)
        incident = draft.incident(component.id) or incident
    kind = _worse_kind(component, incident)
    if (down or failing) and kind is not None:
        title = _down_title(draft, component) if down else failing[0].title
        rated = severity.worse(incident, _severity(component, failing, down=down))
        draft.emit(IncidentJoined(draft.now.wall, incident.id, "", title, kind, rated, _other(incident, component)))
        incident = draft.incident(component.id) or incident
    elif down:
        _rate(draft, component, incident, failing)
    _mark_recovery(draft, component.id, incident, failing=bool(failing), down=down)
    _mark_resolution(draft, component.id)


def failing_modes(draft: Draft, component: Component) -> list[FailureMode]:
    """The active failure modes of a component that say that something fails."""
    active = {failure for failure, _ in draft.state(component.id).failures}
    return [
        failure
        for failure in component.failures.values()
        if failure.id in active and not (failure.detected_by is not None and failure.detected_by.away)
    ]


def is_failing(draft: Draft, component: Component) -> bool:
    """Whether there is something about a component that an incident is about."""
    return bool(failing_modes(draft, component)) or draft.health(component.id).status is Status.DOWN


def _down_title(draft: Draft, component: Component) -> str:
    health = draft.health(component.id)
    detail = draft.check(health.cause).detail
    return f"{component.title} is down: {detail}" if detail else f"{component.title} is down"


def _severity(component: Component, failing: list[FailureMode], *, down: bool) -> int:
    how = How.DOWN if down else How.FAILING
    if not failing:
        return severity.of(component.tier, how)
    return min(severity.of(component.tier, how, failure) for failure in failing)


def _other(incident: Incident, component: Component) -> str:
    """How a component is named in the records of an incident: not at all, where it is the one in which it began."""
    return "" if component.id == incident.component else component.id


# --- begin ---------------------------------------------------------------------------------------------------------


def _begin(draft: Draft, component: Component, failing: list[FailureMode], *, down: bool) -> None:
    """A component fails and has no open incident: it is part of one, it is the last one again, or it is a new one."""
    title = failing[0].title if failing else _down_title(draft, component)
    failure = failing[0].id if failing else None
    explained = _explaining(draft, component)
    if explained is not None:
        draft.emit(IncidentFolded(draft.now.wall, explained.id, component.id, title, failure or ""))
        draft.touch(component.id)
        return
    before: Incident | None = draft.get("incidents", draft.state(component.id).incident or "")
    if before is not None and _is_the_same_again(draft, before, component):
        draft.emit(IncidentReopened(draft.now.wall, before.id, OPSDASH, title, kind=_worse_kind(component, before)))
        draft.touch(component.id)
        return
    kind = IncidentKind.NOTE if component.tier is Tier.DROPPABLE else IncidentKind.FAILURE
    rated = _severity(component, failing, down=down)
    drill = drill_marks.is_drill(draft, component.id)
    open_incident(draft, component.id, kind, title, failure=failure, rated=rated, drill=drill)
    _fold_children(draft, component)


def _is_the_same_again(draft: Draft, incident: Incident, component: Component) -> bool:
    return (
        incident.state is IncidentState.RESOLVED
        and incident.component == component.id
        and incident.drill == drill_marks.is_drill(draft, component.id)
        and incident.resolved_at is not None
        and draft.now.wall - incident.resolved_at < REOPEN_WITHIN
    )


def _explaining(draft: Draft, component: Component) -> Incident | None:
    """The open incident of something that fails and that the component depends on, directly or not; the nearest."""
    for parent_id in alarms.ancestors(draft, component.id):
        incident, parent = draft.incident(parent_id), draft.component(parent_id)
        if incident is not None and incident.drill and not drill_marks.is_drill(draft, component.id):
            continue
        if incident is None or parent is None or not is_failing(draft, parent):
            continue
        if incident.kind is not IncidentKind.NOTE or component.tier is Tier.DROPPABLE:
            return incident
    return None


def _fold_children(draft: Draft, component: Component) -> None:
    """What depends on the component and was noticed just before it is explained by it."""
    mine = draft.incident(component.id)
    if mine is None or mine.kind is IncidentKind.NOTE:
        return
    for child_id in alarms.descendants(draft, component.id):
        child, own = draft.component(child_id), draft.incident(child_id)
        if child is None or own is None or own.component != child_id or own.folded or not is_failing(draft, child):
            continue
        if mine.drill and not own.drill:
            continue  # a drill explains no more than it was to bring about
        if own.kind is not IncidentKind.MANUAL and draft.now.wall - own.opened_at <= FOLD_WITHIN:
            failing = failing_modes(draft, child)
            failure = failing[0].id if failing else ""
            draft.emit(IncidentFolded(draft.now.wall, mine.id, child_id, own.title, failure, was=own.id))
            for each in failing[1:]:
                _join(draft, child, draft.get("incidents", mine.id), each, down=False)
            draft.touch(child_id)


def open_incident(
    draft: Draft,
    component: str,
    kind: IncidentKind,
    title: str,
    *,
    who: str = OPSDASH,
    failure: str | None = None,
    rated: int = severity.MILDEST,
    drill: bool = False,
) -> str:
    """Open an incident, alarm if it is more than a note, and return its id."""
    number = draft.life().incidents + 1
    incident = f"INC-{number}"
    began = _began(draft, component) if who == OPSDASH else None
    draft.emit(
        IncidentOpened(draft.now.wall, incident, component, kind, title, who, failure, began, rated, drill=drill)
    )
    for change in changes.before(draft, component, draft.now.wall if began is None else began):
        text = changes.tell(change)
        draft.emit(IncidentNoted(draft.now.wall, incident, change.who, EntryKind.CHANGE, text, change.at, pinned=True))
    alarms.refresh(draft, component)
    draft.touch(component)
    return incident


def _began(draft: Draft, component_id: str) -> float | None:
    """When the first result came in that was not good, of the checks that say that a component fails."""
    component = draft.component(component_id)
    if component is None:
        return None
    found = (draft.check(check).bad_since for check in alarms.speaking(draft, component))
    return min((at for at in found if at is not None), default=None)


def blind(draft: Draft, component: Component, health: ComponentLive) -> None:
    """A component has been unknown for too long: nobody can say whether it works."""
    if draft.incident(component.id) is None:
        why = health.reason.value if health.reason else "unknown"
        title = f"{component.title}: we are blind, it cannot be measured ({why})"
        rated = severity.of(component.tier, How.BLIND)
        open_incident(draft, component.id, IncidentKind.BLIND, title, rated=rated)


# --- go on ---------------------------------------------------------------------------------------------------------


def _join(draft: Draft, component: Component, incident: Incident, failure: FailureMode, *, down: bool) -> None:
    other = _other(incident, component)
    name = f"{other}/{failure.id}" if other else failure.id
    if name in incident.failures:
        return
    rated = severity.worse(incident, _severity(component, [failure], down=down))
    kind = _worse_kind(component, incident)
    renames = not other and _says_more(component, incident, failure, kind or incident.kind)
    draft.emit(IncidentJoined(draft.now.wall, incident.id, failure.id, failure.title, kind, rated, other, renames))


def _says_more(component: Component, incident: Incident, failure: FailureMode, kind: IncidentKind) -> bool:
    """Whether an incident is better called by this failure mode: the register has the most specific ones first.

    What fails for one reason is seen by several checks, and the first to be confirmed need not be the one that tells
    most. Once somebody has acknowledged an incident it keeps the name by which that person knows it.
    """
    if incident.acknowledged_at is not None or kind is not IncidentKind.FAILURE:
        return False
    order = list(component.failures)
    known = [order.index(each) for each in incident.failures if each in order]
    return order.index(failure.id) < min(known, default=len(order))


def _rate(draft: Draft, component: Component, incident: Incident, failing: list[FailureMode]) -> None:
    """A component that was only failing is down now: the incident may be worse by that, and says so once."""
    rated = severity.worse(incident, _severity(component, failing, down=True))
    if rated:
        title = _down_title(draft, component)
        draft.emit(IncidentJoined(draft.now.wall, incident.id, "", title, None, rated, _other(incident, component)))


def _worse_kind(component: Component, incident: Incident) -> IncidentKind | None:
    """What an incident becomes when its component fails; None if it stays what it is."""
    mild = incident.kind in (IncidentKind.NOTE, IncidentKind.BLIND) and component.tier is not Tier.DROPPABLE
    return IncidentKind.FAILURE if mild else None


def _mark_recovery(draft: Draft, component_id: str, incident: Incident, *, failing: bool, down: bool) -> None:
    if incident.kind is IncidentKind.MANUAL and component_id == incident.component:
        return
    status = draft.health(component_id).status
    forgotten = incident.kind is IncidentKind.NOTE and bool(draft.state(component_id).overdue)
    well = not failing and not forgotten and status in (Status.OK, Status.DEGRADED)
    known = component_id in incident.well
    named = "" if component_id == incident.component else component_id
    if well and not known:
        draft.emit(IncidentRecovered(draft.now.wall, incident.id, component=named))
    elif (failing or down) and known:
        draft.emit(IncidentRecovered(draft.now.wall, incident.id, again=True, component=named))


def _mark_resolution(draft: Draft, component_id: str) -> None:
    """A mitigated incident is resolved once nothing is out of the ordinary any more."""
    incident = draft.incident(component_id)
    if incident is None or incident.recovered_at is None or incident.kind not in ENDED_BY_ITSELF:
        return
    if all(_is_ordinary(draft, each) for each in incident.components):
        parts = [component for each in incident.components if (component := draft.component(each)) is not None]
        had_backups = any(len(each.providers) > 1 for each in parts)
        text = "" if had_backups else "everything is as it was"
        draft.emit(IncidentResolved(draft.now.wall, incident.id, OPSDASH, text, closed=False))
        for each in incident.components:
            draft.touch(each)


def _is_ordinary(draft: Draft, component_id: str) -> bool:
    component, state = draft.component(component_id), draft.state(component_id)
    if component is None or component.removed:
        return True
    health = draft.health(component_id)
    return health.redundancy in REDUNDANT and state.mode is None and not state.overdue


def close_forgotten(draft: Draft) -> None:
    """Resolved incidents that nobody has closed for a month are closed."""
    for key in draft.keys("incidents"):
        incident: Incident = draft.get("incidents", key)
        since = draft.now.wall if incident.resolved_at is None else incident.resolved_at
        if incident.state is IncidentState.RESOLVED and draft.now.wall - since > CLOSED_BY_ITSELF:
            draft.emit(IncidentClosed(draft.now.wall, key, OPSDASH, "nobody has closed it for 30 days"))


def started(draft: Draft) -> None:
    """After a start: acknowledgements go on to run out."""
    close_forgotten(draft)
    for key in draft.keys("incidents"):
        await_ack(draft, draft.get("incidents", key))


def await_ack(draft: Draft, incident: Incident) -> None:
    """Come back when an acknowledgement runs out."""
    if incident.is_open and incident.ack_until is not None and incident.acknowledged_by is not None:
        remaining = max(0.0, incident.ack_until - draft.now.wall)
        draft.effect(SetTimer(("ack", incident.id), draft.now.mono + remaining))


# --- lines ---------------------------------------------------------------------------------------------------------


def note(draft: Draft, component: str, kind: EntryKind, text: str, who: str = OPSDASH) -> None:
    """Write a line into the latest incident of a component, unless that has been closed."""
    incident: Incident | None = draft.get("incidents", draft.state(component).incident or "")
    if incident is not None and incident.closed_at is None and incident.cancelled_at is None:
        draft.emit(IncidentNoted(draft.now.wall, incident.id, who, kind, text))


def note_or_open(draft: Draft, component: Component, kind: EntryKind, text: str) -> None:
    """Something that must not be forgotten: a line in the open incident, or a note of its own."""
    if draft.incident(component.id) is not None:
        note(draft, component.id, kind, text)
    else:
        open_incident(draft, component.id, IncidentKind.NOTE, f"{component.title}: {text}")
