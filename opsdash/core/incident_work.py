"""What people do with an incident: look after it, write into it, hand it over, end it.

Which of these an incident takes depends on where it stands, and is one table, `TAKES`. An acknowledgement runs out:
somebody who fell asleep over an incident does not keep the others from being told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core import alarms, handover, incidents, runs, severity
from opsdash.core.people import same_person
from opsdash.core.reader import OPSDASH
from opsdash.core.redundancy import REDUNDANT
from opsdash.core.severity import How
from opsdash.model.effects import CancelTimer
from opsdash.model.incident import EntryKind, Incident, IncidentKind, IncidentState
from opsdash.model.records import (
    EntryEdited,
    HandoverAccepted,
    HandoverOffered,
    IncidentAcknowledged,
    IncidentCancelled,
    IncidentClosed,
    IncidentNoted,
    IncidentRated,
    IncidentReopened,
    IncidentResolved,
    IncidentTimed,
    IncidentUnacknowledged,
    RoleGiven,
)
from opsdash.model.status import Status
from opsdash.model.switch import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opsdash.core.draft import Draft
    from opsdash.model import inputs as i
    from opsdash.model.operation import Component
    from opsdash.model.run import Run

ACK_FOR = 1800.0
"""Seconds after which somebody who looks after an incident is asked whether that is still so."""

LONGEST_ACK = 86400.0

S = IncidentState

NOT_RESOLVED = frozenset({S.OPEN, S.ACKNOWLEDGED, S.MITIGATED})
NOT_ENDED = NOT_RESOLVED | {S.RESOLVED}
ANY_STATE = frozenset(S)

TAKES: Mapping[str, frozenset[IncidentState]] = {
    "acknowledge": NOT_RESOLVED,
    "hand over": NOT_RESOLVED,
    "take over": NOT_RESOLVED,
    "resolve": NOT_ENDED,
    "cancel": NOT_ENDED,
    "reopen": frozenset({S.RESOLVED, S.CLOSED, S.CANCELLED}),
    "write into": ANY_STATE,
    "change": ANY_STATE,
}
"""What can be done with an incident, by its state. Its record stays open to corrections for as long as it is known."""

INSTEAD: Mapping[IncidentState, str] = {
    S.OPEN: "it is open",
    S.ACKNOWLEDGED: "it is open",
    S.MITIGATED: "it is open",
    S.RESOLVED: "it was resolved by {resolved_by}; reopen it if it is not over",
    S.CLOSED: "it was closed by {closed_by}; reopen it if it is not over",
    S.CANCELLED: "it was cancelled by {cancelled_by}",
}

TIMES = ("began", "mitigated", "resolved")


def _find(draft: Draft, incident: str, to: str) -> Incident | Refused:
    found: Incident | None = draft.get("incidents", incident)
    if found is None:
        return Refused("unknown_incident", f"there is no incident {incident!r}")
    if found.folded_into and to != "write into":
        return Refused("folded", f"{found.id} has become a part of {found.folded_into}; go on there")
    if found.state not in TAKES[to]:
        who = {"resolved_by": found.resolved_by, "closed_by": found.closed_by, "cancelled_by": found.cancelled_by}
        return Refused(found.state.value, f"{found.id}: {INSTEAD[found.state].format(**who)}")
    return found


def _touch(draft: Draft, incident: Incident) -> None:
    for each in incident.components:
        draft.touch(each)


# --- look after it -------------------------------------------------------------------------------------------------


def acknowledge(draft: Draft, who: str, intent: i.AckIntent) -> Refused | None:
    """Somebody looks after it, or no longer does."""
    found = _find(draft, intent.incident, "acknowledge")
    if isinstance(found, Refused):
        return found
    if intent.back:
        return _take_back(draft, who, found)
    seconds = ACK_FOR if intent.seconds is None else intent.seconds
    if not 0 < seconds <= LONGEST_ACK:
        return Refused("duration", "an acknowledgement is good for up to 24 h; then you are asked again")
    if found.acknowledged_by is not None and not same_person(found.acknowledged_by, who):
        reason = f"{found.acknowledged_by} already looks after {found.id}; take it over by a handover, or as its lead"
        return Refused("acknowledged", reason)
    _acknowledge(draft, who, found, seconds)
    return None


def _acknowledge(draft: Draft, who: str, incident: Incident, seconds: float) -> None:
    draft.emit(IncidentAcknowledged(draft.now.wall, incident.id, who, draft.now.wall + seconds))
    after: Incident = draft.get("incidents", incident.id)
    incidents.await_ack(draft, after)
    _touch(draft, after)


def _take_back(draft: Draft, who: str, incident: Incident) -> Refused | None:
    if incident.acknowledged_by is None:
        return Refused("not_acknowledged", f"nobody has acknowledged {incident.id}")
    draft.emit(IncidentUnacknowledged(draft.now.wall, incident.id, incident.acknowledged_by, who))
    draft.effect(CancelTimer(("ack", incident.id)))
    _touch(draft, incident)
    return None


def ack_expired(draft: Draft, incident_id: str) -> None:
    """An acknowledgement has run out. While users are served there is no hurry, and it stands."""
    incident: Incident | None = draft.get("incidents", incident_id)
    if incident is None or incident.ack_until is None or incident.acknowledged_by is None or not incident.is_open:
        return
    if draft.now.wall < incident.ack_until:
        incidents.await_ack(draft, incident)
    elif incident.recovered_at is None:
        was = incident.acknowledged_by
        draft.emit(IncidentUnacknowledged(draft.now.wall, incident.id, was, OPSDASH))
        _touch(draft, incident)


def give_role(draft: Draft, who: str, intent: i.RoleIntent) -> Refused | None:
    """Somebody has a role from now on, or nobody."""
    found = _find(draft, intent.incident, "change")
    if isinstance(found, Refused):
        return found
    person = intent.person.strip()
    if found.holder(intent.role) == (person or None):
        return Refused("same", f"{person or 'nobody'} is {intent.role.value} of {found.id} already")
    draft.emit(RoleGiven(draft.now.wall, found.id, intent.role, person, who))
    _touch(draft, found)
    return None


def offer(draft: Draft, who: str, intent: i.OfferHandoverIntent) -> Refused | None:
    """Write a handover note: what is known, and what the one who goes adds."""
    found = _find(draft, intent.incident, "hand over")
    if isinstance(found, Refused):
        return found
    to = intent.to.strip()
    if same_person(to, who):
        return Refused("same", "an incident is handed over to somebody else")
    text = handover.note(draft, found, intent.text.strip())
    draft.emit(HandoverOffered(draft.now.wall, found.id, who, to, text))
    _touch(draft, found)
    return None


def accept(draft: Draft, who: str, intent: i.AcceptHandoverIntent) -> Refused | None:
    """Take over: whoever accepts leads from now on, and looks after it."""
    found = _find(draft, intent.incident, "take over")
    if isinstance(found, Refused):
        return found
    offered = found.handover
    if offered is None or offered.accepted_at is not None:
        return Refused("no_handover", f"nobody has offered to hand over {found.id}")
    if offered.to and not same_person(offered.to, who):
        return Refused("not_yours", f"{offered.who} hands {found.id} over to {offered.to}")
    draft.emit(HandoverAccepted(draft.now.wall, found.id, who))
    _acknowledge(draft, who, found, ACK_FOR)
    for key in draft.keys("runs"):
        run: Run = draft.get("runs", key)
        if run.incident == found.id and same_person(run.driven_by, offered.who):
            runs.hand_over(draft, run, who, f"{found.id} was handed over")
    return None


# --- write into it -------------------------------------------------------------------------------------------------


def write_note(draft: Draft, who: str, intent: i.NoteIntent) -> Refused | None:
    """A line for the timeline."""
    found = _find(draft, intent.incident, "write into")
    if isinstance(found, Refused):
        return found
    text = intent.text.strip()
    if not text:
        return Refused("empty", "a note needs some text")
    if intent.happened is not None and intent.happened > draft.now.wall:
        return Refused("future", "what is noted has happened already: its time cannot lie in the future")
    draft.emit(
        IncidentNoted(draft.now.wall, found.id, who, EntryKind.NOTE, text, intent.happened, pinned=intent.pinned)
    )
    _touch(draft, found)
    return None


def edit_entry(draft: Draft, who: str, intent: i.EditEntryIntent) -> Refused | None:
    """Change a line: people's own ones in text and time, opsdash's ones in time alone; what it was is kept."""
    found = _find(draft, intent.incident, "write into")
    if isinstance(found, Refused):
        return found
    if not 0 <= intent.entry < len(found.entries):
        return Refused("unknown_entry", f"{found.id} has lines 0 to {len(found.entries) - 1}")
    if intent.text is not None and not intent.text.strip():
        return Refused("empty", "a line needs some text")
    if intent.text is not None and found.entries[intent.entry].kind is not EntryKind.NOTE:
        return Refused("not_a_note", "what opsdash has recorded keeps its text; write a note beside it")
    if intent.happened is not None and intent.happened > draft.now.wall:
        return Refused("future", "what is noted has happened already: its time cannot lie in the future")
    text = None if intent.text is None else intent.text.strip()
    draft.emit(EntryEdited(draft.now.wall, found.id, intent.entry, who, text, intent.happened, intent.pinned))
    _touch(draft, found)
    return None


def rate(draft: Draft, who: str, intent: i.RateIntent) -> Refused | None:
    """Set the severity."""
    found = _find(draft, intent.incident, "change")
    if isinstance(found, Refused):
        return found
    if not severity.WORST <= intent.severity <= severity.MILDEST:
        return Refused("severity", "a severity is 1 (critical), 2 (major), 3 (minor) or 4 (note)")
    draft.emit(IncidentRated(draft.now.wall, found.id, intent.severity, who, intent.reason.strip()))
    _touch(draft, found)
    return None


def set_time(draft: Draft, who: str, intent: i.TimeIntent) -> Refused | None:
    """Say when it really began, was mitigated or resolved. These follow each other, and none lies in the future."""
    found = _find(draft, intent.incident, "change")
    if isinstance(found, Refused):
        return found
    if intent.what not in TIMES:
        return Refused("time", f"the times of an incident are {', '.join(TIMES)}; not {intent.what!r}")
    moment = draft.now.wall if intent.moment is None else intent.moment
    if moment > draft.now.wall:
        return Refused("future", "that time lies in the future")
    if intent.what == "resolved" and found.resolved_at is None:
        return Refused("not_resolved", f"{found.id} has not been resolved")
    if intent.what == "mitigated" and found.recovered_at is None and (still := _still_failing(draft, found)):
        return Refused("still_failing", f"{found.id} is not mitigated: {still}")
    times = {"began": found.began or found.opened_at, "mitigated": found.recovered_at, "resolved": found.resolved_at}
    times[intent.what] = moment
    known = [at for name in TIMES if (at := times[name]) is not None]
    if known != sorted(known):
        return Refused("order", "an incident begins, is mitigated and then resolved, in this order")
    draft.emit(IncidentTimed(draft.now.wall, found.id, intent.what, moment, who))
    _after_a_change(draft, found)
    return None


# --- end it --------------------------------------------------------------------------------------------------------


def resolve(draft: Draft, who: str, intent: i.ResolveIntent) -> Refused | None:
    """Close it, and resolve it before where that has not happened by itself.

    Refused while its failure is still there: closing would open the next one at once. Where redundancy is not back, a
    text has to say why it is over all the same.
    """
    found = _find(draft, intent.incident, "resolve")
    if isinstance(found, Refused):
        return found
    text = intent.text.strip()
    still = _still_failing(draft, found)
    if still and found.is_open:
        return Refused("still_failing", f"{found.id} cannot be resolved yet: {still}")
    if found.is_open:
        missing = _still_missing(draft, found)
        if missing and not text:
            why = f"{found.id}: users are served, but {missing}; say why it is over all the same"
            return Refused("not_redundant", why)
        draft.emit(IncidentResolved(draft.now.wall, found.id, who, text, closed=False))
    draft.emit(IncidentClosed(draft.now.wall, found.id, who, "" if found.is_open else text))
    _after_a_change(draft, found)
    return None


def cancel(draft: Draft, who: str, intent: i.CancelIncidentIntent) -> Refused | None:
    """It was none. Refused while opsdash itself sees the failure."""
    found = _find(draft, intent.incident, "cancel")
    if isinstance(found, Refused):
        return found
    if not intent.reason.strip():
        return Refused("empty", "say why it was none")
    still = _still_failing(draft, found)
    if still:
        return Refused("still_failing", f"{found.id} cannot be cancelled: {still}")
    draft.emit(IncidentCancelled(draft.now.wall, found.id, who, intent.reason.strip()))
    _after_a_change(draft, found)
    return None


def reopen(draft: Draft, who: str, intent: i.ReopenIntent) -> Refused | None:
    """It is not over after all."""
    found = _find(draft, intent.incident, "reopen")
    if isinstance(found, Refused):
        return found
    if not intent.reason.strip():
        return Refused("empty", "say what is wrong again")
    present = draft.incident(found.component)
    if present is not None:
        return Refused("open", f"{found.component} has {present.id} open; write a note there")
    kind = None if found.kind is IncidentKind.NOTE else IncidentKind.MANUAL
    draft.emit(IncidentReopened(draft.now.wall, found.id, who, intent.reason.strip(), kind))
    _after_a_change(draft, draft.get("incidents", found.id))
    return None


def open_by_hand(draft: Draft, who: str, intent: i.OpenIncidentIntent) -> Refused | str:
    """Open an incident that no check has noticed. Returns its id."""
    component = draft.component(intent.component)
    if component is None:
        return Refused("unknown_component", f"there is no component {intent.component!r}")
    present = draft.incident(intent.component)
    if present is not None:
        return Refused("open", f"{component.title} already has {present.id}; write a note there")
    if not intent.title.strip():
        return Refused("empty", "an incident needs a title: what do users notice?")
    rated = severity.of(component.tier, How.FAILING)
    title = intent.title.strip()
    return incidents.open_incident(draft, component.id, IncidentKind.MANUAL, title, who=who, rated=rated)


def _after_a_change(draft: Draft, incident: Incident) -> None:
    after: Incident = draft.get("incidents", incident.id)
    if not after.is_open:
        draft.effect(CancelTimer(("ack", incident.id)))
    for each in incident.components:
        alarms.refresh(draft, each)
    _touch(draft, incident)


def _members(draft: Draft, incident: Incident) -> list[Component]:
    found = (draft.component(each) for each in incident.components)
    return [component for component in found if component is not None and not component.removed]


def _still_failing(draft: Draft, incident: Incident) -> str:
    """What of an incident still fails, as opsdash sees it; "" if nothing."""
    for component in _members(draft, incident):
        failing = incidents.failing_modes(draft, component)
        if failing:
            return failing[0].title
        if draft.health(component.id).status is Status.DOWN:
            return f"{component.title} is down"
    return ""


def _still_missing(draft: Draft, incident: Incident) -> str:
    """What is still out of the ordinary, as the end of a sentence; "" if nothing."""
    for component in _members(draft, incident):
        state = draft.state(component.id)
        if state.mode is not None:
            return f"{component.title} is in its degraded mode {state.mode}"
        if draft.health(component.id).redundancy not in REDUNDANT:
            return f"{component.title} has no backup that could take over"
    return ""
