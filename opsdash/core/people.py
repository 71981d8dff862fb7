"""People are dependencies too: who is there, and which component nobody covers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from opsdash.core.rota import on_duty
from opsdash.model.effects import SetTimer
from opsdash.model.records import AwaySet
from opsdash.model.switch import Refused

if TYPE_CHECKING:
    from typing import Any

    from opsdash.core.draft import Draft
    from opsdash.model.inputs import AwayIntent
    from opsdash.model.now import Now
    from opsdash.model.operation import Component, Operation, Person

LOOK_EVERY = 60.0
"""Seconds between two looks at who is away: absences begin and end by the clock."""


class Reader(Protocol):
    """What is needed of a world or draft."""

    operation: Operation

    def get(self, table: str, key: str) -> Any: ...


def same_person(one: str, other: str) -> bool:
    """Whether two names are of the same person, who may have said on a shared account who they are."""
    return one.partition(" (")[0] == other.partition(" (")[0]


def is_away(person: Person, recorded: Any, wall: float) -> bool:
    """Whether a person is away at `wall`, by the files or by a record of `opsdash people away`."""
    if has_left(person, wall):
        return True
    if recorded is not None and recorded.covers(wall):
        return True
    return any(absence.covers(wall) for absence in person.away)


def has_left(person: Person, wall: float) -> bool:
    """Whether a person has left for good."""
    return person.left is not None and person.left <= wall


def is_there(reader: Reader, person: str, wall: float) -> bool:
    """Whether somebody is a person of the operation who is neither away nor has left."""
    found = reader.operation.people.get(person)
    return found is not None and not is_away(found, reader.get("absences", person), wall)


def owners_at(reader: Reader, component: Component, wall: float) -> list[str]:
    """Ids of the owners at `wall`: those whom the file names, then whoever is on duty by its rotas."""
    rotas = (reader.operation.rotas.get(name) for name in component.rotas)
    duty = (person for rota in rotas if rota is not None for person in on_duty(rota, wall))
    return list(dict.fromkeys((*component.owners, *duty)))


def present_owners(reader: Reader, component: Component, wall: float) -> list[str]:
    """Ids of the owners who are there."""
    return [owner for owner in owners_at(reader, component, wall) if is_there(reader, owner, wall)]


def covered(reader: Reader, component: Component, wall: float) -> bool:
    """Whether an owner is there; a component without owners is not covered by anybody."""
    return bool(present_owners(reader, component, wall))


def nobody_covers(draft: Draft, component: Component) -> bool:
    """Whether a component has owners, and all of them are away or have left."""
    return bool(component.owners or component.rotas) and not covered(draft, component, draft.now.wall)


def set_away(draft: Draft, who: str, intent: AwayIntent) -> Refused | None:
    """Record that somebody is away, or back."""
    from opsdash.core import alarms, failures, grouping

    if intent.person not in draft.operation.people:
        known = ", ".join(sorted(draft.operation.people)) or "nobody"
        return Refused("unknown_person", f"there is no person {intent.person!r}; opsdash.yaml knows {known}")
    if intent.until is not None and intent.until <= draft.now.wall and not intent.back:
        return Refused("past", "the absence would already be over; name a later date")
    if intent.until is not None and intent.start is not None and intent.until <= intent.start and not intent.back:
        return Refused("past", "the absence would end before it begins; name a later end")
    draft.emit(AwaySet(draft.now.wall, intent.person, intent.until, who, intent.start, intent.back))
    for component in draft.operation.components.values():
        if intent.person in component.owners or component.rotas:
            failures.refresh(draft, component.id)
            draft.touch(component.id)
        alarms.refresh_cover(draft, component.id)
    alarms.refresh_rotas(draft)
    grouping.look(draft)
    return None


def look(draft: Draft) -> None:
    """Compare every component's owners with the clock, and come back in a minute."""
    from opsdash.core import alarms, failures

    for component in draft.operation.components.values():
        if any(f.detected_by is not None and f.detected_by.away for f in component.failures.values()):
            failures.refresh(draft, component.id)
        if component.owners or component.rotas:
            draft.touch(component.id)
        alarms.refresh_cover(draft, component.id)
    alarms.refresh_rotas(draft)
    schedule(draft, draft.now)


def schedule(draft: Draft, now: Now) -> None:
    """Ask to be called again."""
    draft.effect(SetTimer(("people",), now.mono + LOOK_EVERY))
