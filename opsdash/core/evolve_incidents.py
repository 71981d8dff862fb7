"""What the records of incidents, near misses and changes change in the world. `evolve` is the way in."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from opsdash.core.reader import OPSDASH, Reader, component_state, engine_state
from opsdash.model import records as r
from opsdash.model.change import Change, ChangeKind
from opsdash.model.incident import Edit, EntryKind, Handover, Incident, IncidentRole, RoleInterval, TimelineEntry
from opsdash.model.world import NearMisses

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.model.alarm import Alarm
    from opsdash.model.world import Patch

KEEP_ENDED = 7 * 86400.0
"""Seconds for which an incident that has ended stays in the world, for "what happened lately"; documents keep it."""

CHANGES_KEPT = 200
"""The latest changes, of which some may explain the next failure."""


def _with(world: Reader, incident_id: str, change: Callable[[Incident], Incident]) -> Patch:
    incident: Incident | None = world.get("incidents", incident_id)
    return [] if incident is None else [("incidents", incident_id, change(incident))]


def _line(
    incident: Incident,
    record: Any,
    kind: EntryKind,
    text: str,
    who: str = OPSDASH,
    *,
    pinned: bool = False,
    component: str = "",
) -> Incident:
    happened = getattr(record, "happened", None)
    at = record.at if happened is None else happened
    entry = TimelineEntry(at, record.at, who, kind, text, pinned=pinned, component=component)
    return replace(incident, entries=(*incident.entries, entry))


# --- begin ---------------------------------------------------------------------------------------------------------


def _opened(world: Reader, record: r.IncidentOpened) -> Patch:
    engine = engine_state(world)
    incident = Incident(
        id=record.incident,
        component=record.component,
        kind=record.kind,
        title=record.title,
        opened_at=record.at,
        failures=(record.failure,) if record.failure else (),
        severity=record.severity,
        began=record.began,
        drill=record.drill,
    )
    incident = _line(incident, record, EntryKind.DETECTED, record.title, record.who, component=record.component)
    state = replace(component_state(world, record.component), incident=record.incident)
    return [
        ("incidents", record.incident, incident),
        ("components", record.component, state),
        ("engine", "engine", replace(engine, incidents=engine.incidents + 1)),
    ]


def _joined(world: Reader, record: r.IncidentJoined) -> Patch:
    def change(incident: Incident) -> Incident:
        component = record.component or incident.component
        name = f"{record.component}/{record.failure}" if record.component else record.failure
        failures = (*incident.failures, name) if record.failure else incident.failures
        incident = replace(
            incident,
            failures=failures,
            kind=record.kind or incident.kind,
            severity=record.severity or incident.severity,
            recovered_at=None,
            well=tuple(each for each in incident.well if each != component),
            title=record.title if record.renames else incident.title,
        )
        return _line(incident, record, EntryKind.FAILURE_MODE, record.title, component=component)

    return [*_with(world, record.incident, change), *(_renamed_alarm(world, record) if record.renames else ())]


def _renamed_alarm(world: Reader, record: r.IncidentJoined) -> Patch:
    """The alarm of an incident that is called otherwise from now on; whoever was told already was told what it was."""
    incident: Incident | None = world.get("incidents", record.incident)
    alarm: Alarm | None = None if incident is None else world.get("alarms", incident.component)
    if incident is None or alarm is None or alarm.incident != incident.id:
        return []
    return [("alarms", incident.component, replace(alarm, title=record.title))]


def _folded(world: Reader, record: r.IncidentFolded) -> Patch:
    def change(incident: Incident) -> Incident:
        others = tuple(each for each in incident.folded if each != record.component)
        failures = incident.failures
        if record.failure:
            failures = (*failures, f"{record.component}/{record.failure}")
        incident = replace(incident, folded=(*others, record.component), failures=failures, recovered_at=None)
        return _line(incident, record, EntryKind.FAILURE_MODE, record.title, component=record.component)

    def ends(incident: Incident) -> Incident:
        incident = replace(incident, folded_into=record.incident, cancelled_by=OPSDASH, cancelled_at=record.at)
        return _line(incident, record, EntryKind.STATUS, f"part of {record.incident}, which explains it")

    patch = _with(world, record.incident, change)
    if patch and record.was:
        patch += _with(world, record.was, ends)
    if patch:
        state = replace(component_state(world, record.component), incident=record.incident)
        patch.append(("components", record.component, state))
    return patch


# --- timeline ------------------------------------------------------------------------------------------------------


def _noted(world: Reader, record: r.IncidentNoted) -> Patch:
    return _with(
        world,
        record.incident,
        lambda incident: _line(incident, record, record.kind, record.text, record.who, pinned=record.pinned),
    )


def _edited(world: Reader, record: r.EntryEdited) -> Patch:
    def change(incident: Incident) -> Incident:
        if not 0 <= record.entry < len(incident.entries):
            return incident
        before = incident.entries[record.entry]
        text = before.text if record.text is None else record.text
        at = before.at if record.happened is None else record.happened
        edits = before.edits
        if (text, at) != (before.text, before.at):
            edits = (*edits, Edit(record.at, record.who, before.text, before.at))
        pinned = before.pinned if record.pinned is None else record.pinned
        entry = replace(before, text=text, at=at, pinned=pinned, edits=edits)
        return replace(
            incident, entries=(*incident.entries[: record.entry], entry, *incident.entries[record.entry + 1 :])
        )

    return _with(world, record.incident, change)


# --- states --------------------------------------------------------------------------------------------------------


def _recovered(world: Reader, record: r.IncidentRecovered) -> Patch:
    def change(incident: Incident) -> Incident:
        component = record.component or incident.component
        others = tuple(each for each in incident.well if each != component)
        well = others if record.again else (*others, component)
        whole = not record.again and set(incident.components) <= set(well)
        incident = replace(incident, well=well, recovered_at=record.at if whole else None)
        return _line(incident, record, EntryKind.STATUS, _recovery(incident, record, component), component=component)

    return _with(world, record.incident, change)


def _recovery(incident: Incident, record: r.IncidentRecovered, component: str) -> str:
    name = f"{component}: " if incident.folded else ""
    if record.again:
        return f"{name}it fails again"
    if incident.recovered_at is None:
        return f"{name}it works again"
    return "mitigated: users are served again"


def set_back(world: Reader, record: r.ClockMoved) -> Patch:
    """A clock that was set back makes no acknowledgement longer; one that was set forward makes it shorter."""
    if record.seconds >= 0:
        return []
    found: list[Incident] = [world.get("incidents", key) for key in world.keys("incidents")]
    return [
        ("incidents", each.id, replace(each, ack_until=each.ack_until + record.seconds))
        for each in found
        if each.ack_until is not None and each.acknowledged_by is not None
    ]


def _acknowledged(world: Reader, record: r.IncidentAcknowledged) -> Patch:
    def change(incident: Incident) -> Incident:
        first = incident.acknowledged_at is None or incident.acknowledged_by != record.who
        at = record.at if incident.acknowledged_at is None else incident.acknowledged_at
        incident = replace(incident, acknowledged_by=record.who, acknowledged_at=at, ack_until=record.until, ack_was="")
        text = "acknowledged" if first else "still looks after it"
        return _line(incident, record, EntryKind.ACK, text, record.who)

    return _with(world, record.incident, change)


def _unacknowledged(world: Reader, record: r.IncidentUnacknowledged) -> Patch:
    def change(incident: Incident) -> Incident:
        by_itself = record.who == OPSDASH
        until = incident.ack_until if by_itself else None
        incident = replace(incident, acknowledged_by=None, ack_until=until, ack_was=record.was if by_itself else "")
        expired = f"nobody is known to look after it any more: the acknowledgement by {record.was} has expired"
        text = expired if record.who == OPSDASH else "no longer looks after it"
        return _line(incident, record, EntryKind.ACK, text, record.who)

    return _with(world, record.incident, change)


def _resolved(world: Reader, record: r.IncidentResolved) -> Patch:
    def change(incident: Incident) -> Incident:
        by_itself = "resolved: redundancy is back" if record.who == OPSDASH else "resolved"
        text = f"resolved: {record.text}" if record.text else by_itself
        incident = replace(
            incident,
            resolved_by=record.who,
            resolved_at=record.at,
            recovered_at=incident.recovered_at or record.at,
            closed_by=record.who if record.closed else None,
            closed_at=record.at if record.closed else None,
        )
        return _line(incident, record, EntryKind.RESOLVED, text, record.who)

    patch = _with(world, record.incident, change)
    return [*patch, *_let_go(world, record.incident)] if record.closed else patch


def _closed(world: Reader, record: r.IncidentClosed) -> Patch:
    def change(incident: Incident) -> Incident:
        incident = replace(incident, closed_by=record.who, closed_at=record.at)
        text = f"closed: {record.text}" if record.text else "closed"
        return _line(incident, record, EntryKind.STATUS, text, record.who)

    return [*_with(world, record.incident, change), *_let_go(world, record.incident)]


def _cancelled(world: Reader, record: r.IncidentCancelled) -> Patch:
    def change(incident: Incident) -> Incident:
        incident = replace(incident, cancelled_by=record.who, cancelled_at=record.at)
        return _line(incident, record, EntryKind.STATUS, f"cancelled, it was none: {record.reason}", record.who)

    return [*_with(world, record.incident, change), *_let_go(world, record.incident)]


def _let_go(world: Reader, incident_id: str) -> Patch:
    """The components of an incident that has ended have none any more."""
    incident: Incident | None = world.get("incidents", incident_id)
    found = [] if incident is None else [(each, component_state(world, each)) for each in incident.components]
    return [
        ("components", component, replace(state, incident=None))
        for component, state in found
        if state.incident == incident_id
    ]


def _reopened(world: Reader, record: r.IncidentReopened) -> Patch:
    incident: Incident | None = world.get("incidents", record.incident)
    if incident is None:
        return []
    after = replace(
        incident,
        kind=record.kind or incident.kind,
        well=(),
        recovered_at=None,
        resolved_by=None,
        resolved_at=None,
        closed_by=None,
        closed_at=None,
        cancelled_by=None,
        cancelled_at=None,
        acknowledged_by=None,
        ack_until=None,
        ack_was="",
        folded=(),
        folded_into="",
        reopened=incident.reopened + 1,
    )
    after = _line(
        after, record, EntryKind.DETECTED, f"reopened: {record.title}", record.who, component=incident.component
    )
    state = replace(component_state(world, incident.component), incident=incident.id)
    return [("incidents", incident.id, after), ("components", incident.component, state)]


# --- what people say of it -----------------------------------------------------------------------------------------


def _rated(world: Reader, record: r.IncidentRated) -> Patch:
    def change(incident: Incident) -> Incident:
        why = f": {record.reason}" if record.reason else ""
        text = f"severity {record.severity}, was {incident.severity or 'not set'}{why}"
        incident = replace(incident, severity=record.severity, severity_by=record.who)
        return _line(incident, record, EntryKind.SEVERITY, text, record.who)

    return _with(world, record.incident, change)


def _timed(world: Reader, record: r.IncidentTimed) -> Patch:
    def change(incident: Incident) -> Incident:
        name = {"began": "began", "mitigated": "recovered_at", "resolved": "resolved_at"}[record.what]
        changes: dict[str, Any] = {name: record.moment}
        if record.what == "mitigated":
            changes["well"] = incident.components
        incident = replace(incident, **changes)
        return _line(incident, record, EntryKind.STATUS, f"{record.what} at another time than recorded", record.who)

    return _with(world, record.incident, change)


def _role_given(world: Reader, record: r.RoleGiven) -> Patch:
    def change(incident: Incident) -> Incident:
        text = f"{record.person} is {record.role.value}" if record.person else f"nobody is {record.role.value} any more"
        return _line(_with_role(incident, record), record, EntryKind.ROLE, text, record.who)

    return _with(world, record.incident, change)


def _with_role(incident: Incident, record: r.RoleGiven) -> Incident:
    roles = tuple(
        replace(each, until=record.at) if each.role is record.role and each.until is None else each
        for each in incident.roles
    )
    if record.person:
        roles = (*roles, RoleInterval(record.role, record.person, record.at))
    return replace(incident, roles=roles)


def _handover_offered(world: Reader, record: r.HandoverOffered) -> Patch:
    def change(incident: Incident) -> Incident:
        incident = replace(incident, handover=Handover(record.at, record.who, record.to, record.text))
        text = f"hands over to {record.to or 'whoever comes next'}\n{record.text}"
        return _line(incident, record, EntryKind.HANDOVER, text, record.who)

    return _with(world, record.incident, change)


def _handover_accepted(world: Reader, record: r.HandoverAccepted) -> Patch:
    def change(incident: Incident) -> Incident:
        if incident.handover is None:
            return incident
        handover = replace(incident.handover, accepted_at=record.at, accepted_by=record.who)
        lead = r.RoleGiven(record.at, incident.id, IncidentRole.LEAD, record.who, record.who)
        incident = _with_role(replace(incident, handover=handover), lead)
        taken = handover.who != record.who
        text = f"has taken over from {handover.who}" if taken else "keeps it: nobody has taken over"
        return _line(incident, record, EntryKind.HANDOVER, text, record.who)

    return _with(world, record.incident, change)


# --- near misses, changes ------------------------------------------------------------------------------------------


def _near_missed(world: Reader, record: r.NearMissed) -> Patch:
    key = f"{record.component}/{record.failure}"
    before: NearMisses = world.get("near_misses", key) or NearMisses()
    return [("near_misses", key, NearMisses(before.count + 1, record.at, record.check, record.at - record.since))]


def _marked(world: Reader, record: r.Marked) -> Patch:
    change = Change(record.at, ChangeKind.MARK, record.component, record.text, record.who, record.version, record.link)
    return with_change(world, change)


def _version_changed(world: Reader, record: r.VersionChanged) -> Patch:
    patch: Patch = [("versions", record.check, record.version)]
    if record.was:
        component = record.check.partition("/")[0]
        text = f"{record.check} reports version {record.version}, was {record.was}"
        patch += with_change(world, Change(record.at, ChangeKind.VERSION, component, text, OPSDASH, record.version))
    return patch


def with_change(world: Reader, *changes: Change) -> Patch:
    """The world remembers changes, the latest ones."""
    engine = engine_state(world)
    patch: Patch = []
    number = engine.changes
    for change in changes:
        number += 1
        patch.append(("changes", str(number), change))
    known = sorted(world.keys("changes"), key=int)
    patch += [("changes", key, None) for key in known[: max(0, len(known) + len(changes) - CHANGES_KEPT)]]
    patch.append(("engine", "engine", replace(engine, changes=number)))
    return patch


EVOLVE_INCIDENTS: dict[type, Callable[[Reader, Any], Patch]] = {
    r.IncidentOpened: _opened,
    r.IncidentJoined: _joined,
    r.IncidentFolded: _folded,
    r.IncidentNoted: _noted,
    r.EntryEdited: _edited,
    r.IncidentRecovered: _recovered,
    r.IncidentAcknowledged: _acknowledged,
    r.IncidentUnacknowledged: _unacknowledged,
    r.IncidentResolved: _resolved,
    r.IncidentClosed: _closed,
    r.IncidentCancelled: _cancelled,
    r.IncidentReopened: _reopened,
    r.IncidentRated: _rated,
    r.IncidentTimed: _timed,
    r.RoleGiven: _role_given,
    r.HandoverOffered: _handover_offered,
    r.HandoverAccepted: _handover_accepted,
    r.NearMissed: _near_missed,
    r.Marked: _marked,
    r.VersionChanged: _version_changed,
}
"""One function per record type."""


def forgotten(world: Reader, wall: float) -> Patch:
    """Incidents that ended long ago leave the world."""
    patch: Patch = []
    for key in world.keys("incidents"):
        incident: Incident = world.get("incidents", key)
        ended = max((at for at in (incident.closed_at, incident.cancelled_at) if at is not None), default=None)
        if ended is not None and ended < wall - KEEP_ENDED:
            patch.append(("incidents", key, None))
    return patch
