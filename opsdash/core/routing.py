"""Who is to be told of an alarm: the route that fits, the people who are there, the channels that reach them.

The first route that fits counts. What none fits goes to every channel, as does everything where there are no routes: an
alarm that nobody thought of must not get lost; whoever wants nobody to be told writes a route with `to: []`.

People who are away are skipped. If nobody of a step of a route can be reached, all channels of those whom it names are
used, present or not; if these have none, all there are. The message says so. Channels for customers are never used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from opsdash.core import people
from opsdash.core.topics import CHANNEL, SPLIT
from opsdash.model.alarm import parts_of
from opsdash.model.channel import OWNER, OWNERS, ROLES, SECOND, Audience
from opsdash.model.operation import Tier

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opsdash.core.draft import Draft
    from opsdash.model.alarm import Alarm
    from opsdash.model.channel import Route
    from opsdash.model.incident import Incident
    from opsdash.model.operation import Component, Operation

BY_TIER: dict[Tier, int] = {Tier.ESSENTIAL: 1, Tier.IMPORTANT: 2, Tier.DROPPABLE: 3}
"""Severity of an alarm whose incident has none: 1 is the worst, 4 the mildest."""

MILD = 3
"""Severity of a topic: nobody has to get up for it."""

CHANNEL_SEVERITY = 2


class Reader(Protocol):
    """What is needed of a draft, or of an operation on its own."""

    operation: Operation

    def get(self, table: str, key: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class Subject:
    """A raised alarm, and all by which it is routed. component, incident: None where it has none; route: where none
    fits.
    """

    key: str
    alarm: Alarm
    component: Component | None
    incident: Incident | None
    topic: str
    severity: int
    route: Route | None

    @property
    def drill(self) -> bool:
        """Whether it is about a planned failure."""
        return self.incident is not None and self.incident.drill


@dataclass(frozen=True, slots=True)
class Targets:
    """The channels to be told, each with the step of the route by which (0: at once); and what has to be said of it."""

    channels: dict[str, int]
    note: str = ""


def subject(draft: Draft, key: str) -> Subject | None:
    """The raised alarm of that key; None where there is none."""
    alarm: Alarm | None = draft.get("alarms", key)
    if alarm is None or not alarm.is_raised:
        return None
    component_id, topic = parts_of(key)
    component = draft.component(component_id) if component_id else None
    incident: Incident | None = draft.get("incidents", alarm.incident) if alarm.incident else None
    severity = severity_of(component, incident, topic)
    route = route_of(draft.operation, component, severity)
    return Subject(key, alarm, component, incident, topic, severity, route)


def severity_of(component: Component | None, incident: Incident | None, topic: str) -> int:
    """How bad it is: the incident's severity, else by the component's tier; most topics are mild."""
    if topic.startswith(CHANNEL):
        return CHANNEL_SEVERITY
    if topic and topic != SPLIT:
        return MILD
    if incident is not None and incident.severity:
        return incident.severity
    return BY_TIER[component.tier] if component is not None else MILD


def route_of(operation: Operation, component: Component | None, severity: int) -> Route | None:
    """The first route that fits."""
    return next((route for route in operation.alarms.routes if fits(route, component, severity)), None)


def fits(route: Route, component: Component | None, severity: int) -> bool:
    """Whether a route is about an alarm. One with conditions on components is not about opsdash itself."""
    if route.severity is not None and severity > route.severity:
        return False
    if route.tiers and (component is None or component.tier not in route.tiers):
        return False
    if not route.components and not route.tags:
        return True
    if component is None:
        return False
    return component.id in route.components or any(tag in route.tags for tag in component.tags)


def targets(reader: Reader, about: Subject, steps: int, wall: float) -> Targets:
    """Who is to be told once `steps` steps of escalation are due."""
    return _Routing(reader, about.component, about.topic, wall).targets(about.route, steps)


def known_targets(reader: Reader, component: Component) -> set[str]:
    """The channels that are told of a component at once, whoever is there: what the files alone say."""
    routing = _Routing(reader, component, "", None)
    route = route_of(reader.operation, component, severity_of(component, None, ""))
    return set(routing.targets(route, 0).channels)


class _Routing:
    """The channels for one component. wall: None to reckon with everybody, present or not."""

    def __init__(self, reader: Reader, component: Component | None, topic: str, wall: float | None) -> None:
        self.reader = reader
        self.component = component
        self.wall = wall
        own = topic.removeprefix(CHANNEL) if topic.startswith(CHANNEL) else None
        self.team = [
            each.id
            for each in reader.operation.alarms.channels.values()
            if each.audience is Audience.TEAM and each.id != own
        ]

    def targets(self, route: Route | None, steps: int) -> Targets:
        """Who is to be told at once, and by the first `steps` steps of escalation."""
        if route is None:
            note = "no route fits, so everybody is told" if self.reader.operation.alarms.routes else ""
            return Targets(dict.fromkeys(self.team, 0), note)
        found: dict[str, int] = {}
        notes: list[str] = []
        for number, names in enumerate((route.to, *(step.to for step in route.escalate[:steps]))):
            if not names:
                continue
            reached = self._channels(names, self.wall)
            if not reached:
                notes.append(f"nobody of {', '.join(names)} can be reached")
                reached = [each for each in self._channels(names, None) if each not in found] or self.team
            for channel in reached:
                found.setdefault(channel, number)
        return Targets(found, "; ".join(notes))

    def _channels(self, names: Iterable[str], wall: float | None) -> list[str]:
        found: dict[str, None] = {}
        for name in names:
            if name in self.team:
                found[name] = None
            for person in self._people(name, wall):
                found.update(dict.fromkeys(self._of_person(person)))
        return list(found)

    def _people(self, name: str, wall: float | None) -> Sequence[str]:
        """The people whom a name of a route stands for; without `wall` everybody, also who is not there."""
        if name not in ROLES:
            return [name] if self._is_reachable(name, wall) else []
        owners = self._owners(wall)
        reachable = [owner for owner in owners if self._is_reachable(owner, wall)]
        if wall is None:
            return reachable
        return {OWNER: reachable[:1], SECOND: reachable[1:2], OWNERS: reachable}[name]

    def _owners(self, wall: float | None) -> Sequence[str]:
        """Those whom the file names, and at a certain time whoever is on duty then."""
        if self.component is None:
            return ()
        return self.component.owners if wall is None else people.owners_at(self.reader, self.component, wall)

    def _is_reachable(self, name: str, wall: float | None) -> bool:
        person = self.reader.operation.people.get(name)
        if person is None or not self._of_person(name):
            return False
        return wall is None or not people.is_away(person, self.reader.get("absences", name), wall)

    def _of_person(self, name: str) -> list[str]:
        return [channel for channel in self.reader.operation.people[name].alarms if channel in self.team]
