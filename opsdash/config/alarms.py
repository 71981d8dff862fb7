"""Channels and routes of opsdash.yaml: how people are told of alarms.

A channel that is wrong loses only itself, and goes on in its last good version. A name in a route that is nobody's is
left out; a route of which nothing is left by that is off, since one that names nobody would tell nobody. What no route
fits goes to every channel.

A channel that goes through what it reports on does not report it. That is warned of where all channels that are told of
a component depend on it: because they say so, or because they go to a host at which one of its checks looks.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from opsdash.config.parts import Spot
from opsdash.config.problems import did_you_mean
from opsdash.core import circles
from opsdash.core.hosts import hosts_in, is_loopback
from opsdash.model.channel import ROLES, Alarming, Audience, Channel, Escalation, Route
from opsdash.model.operation import Operation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opsdash.config.build import Builder
    from opsdash.config.parts import Report
    from opsdash.config.schema_alarms import AlarmsModel, ChannelModel, RouteModel
    from opsdash.model.operation import CheckSpec, Component, Person


@dataclass(frozen=True, slots=True)
class Ground:
    """What channels and routes are judged by: the rest of the workspace."""

    builder: Builder
    report: Report
    components: Mapping[str, Component]
    checks: Mapping[str, CheckSpec]


@dataclass(frozen=True, slots=True)
class Found:
    """What can be used, the parts of the file that go on in their last good version, and people with their channels."""

    alarming: Alarming
    kept: set[str]
    people: dict[str, Person]


def alarming(model: AlarmsModel, ground: Ground, *, people: Mapping[str, Person], previous: Alarming | None) -> Found:
    """Channels, routes and who is reached by what; all that is wrong with them is reported."""
    reading = _Reading(ground, people, previous or Alarming())
    reading.channels(model.channels)
    reading.people_of_channels()
    routes = reading.routes(model.routes)
    wait = model.group_wait
    if ground.report.missing("alarms/group_wait") is not None and previous is not None:
        wait = previous.group_wait
    at = (model.runbooks_at or "").rstrip("/")
    if ground.report.missing("alarms/runbooks_at") is not None and previous is not None:
        at = previous.runbooks_at
    found = Alarming(channels=reading.found, routes=routes, group_wait=wait, runbooks_at=at)
    _warn_of_circles(found, reading, ground)
    return Found(found, reading.kept, reading.people)


@dataclass(slots=True)
class _Reading:
    """What has been read so far."""

    ground: Ground
    people: Any
    previous: Alarming
    found: dict[str, Channel] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)

    def channels(self, models: Mapping[str, ChannelModel]) -> None:
        """Every channel that can be used, possibly as it was last good."""
        report = self.ground.report
        self.written = set(models)
        for name, model in models.items():
            part = f"alarms/channels/{name}"
            spot = Spot(report, ("alarms", "channels", name), part)
            if name in ROLES or name in self.people:
                what = "a word of routes" if name in ROLES else "a person too"
                spot.error(f"{name!r} is {what}", "a route could mean either; rename the channel")
            kind = self.ground.builder.channel(model, spot)
            depends_on = tuple(self._components(model.depends_on, spot.at("depends_on")))
            if kind is None or part in report.off:
                continue
            raw = model.others
            hosts = frozenset(host.lower() for host in kind.hosts(raw) if not is_loopback(host.lower()))
            self.found[name] = Channel(name, model.kind, raw, depends_on, model.timeout, model.audience, hosts)
        for name, before in self.previous.channels.items():
            part = f"alarms/channels/{name}"
            missing = report.missing(part) or report.missing("alarms/channels")
            if name not in self.found and missing is not None:
                self.found[name] = before
                self.kept.add(part)

    def _components(self, names: Sequence[str], spot: Spot) -> Iterable[str]:
        known = self.ground.components
        for index, name in enumerate(names):
            if name in known:
                yield name
            else:
                _plain(spot.at(index)).error(f"there is no component {name!r:.80}", did_you_mean(name, known))

    def people_of_channels(self) -> None:
        """People with the channels that there are."""
        checked = {}
        for name, person in self.people.items():
            spot = Spot(self.ground.report, ("people", name, "alarms"), None)
            channels = tuple(
                channel
                for index, channel in enumerate(person.alarms)
                if self._is_channel(channel, spot.at(index), "a person")
            )
            checked[name] = replace(person, alarms=channels)
        self.people = checked

    def _is_channel(self, name: str, spot: Spot, who: str) -> bool:
        channel = self.found.get(name)
        if channel is not None and channel.audience is Audience.CUSTOMERS:
            spot.error(f"the channel {name!r} is for customers", f"{who} needs one without `audience`")
            return False
        if channel is None and not self._is_lost(name):
            hint = did_you_mean(name, self.found) or "declare it under alarms: {channels: …}"
            spot.error(f"there is no channel {name!r:.80}", hint)
        return channel is not None

    def _is_lost(self, name: str) -> bool:
        """Whether a channel is missing only because of a problem that is told where it is."""
        report = self.ground.report
        parts = (f"alarms/channels/{name}", "alarms/channels", "alarms")
        return name in self.written or any(report.missing(part) is not None for part in parts)

    def routes(self, models: Sequence[RouteModel]) -> tuple[Route, ...]:
        """The routes in their order; as they were last good, if one of them cannot be used."""
        report = self.ground.report
        read = [self._route(number, model) for number, model in enumerate(models)]
        lost = {part for part in report.off if part.startswith("alarms/routes")}
        if (lost or report.missing("alarms/routes") is not None) and self.previous.routes:
            self.kept |= lost
            return self.previous.routes
        return tuple(route for route in read if route is not None)

    def _route(self, number: int, model: RouteModel) -> Route | None:
        part = f"alarms/routes/{number}"
        spot = Spot(self.ground.report, ("alarms", "routes", number), part)
        if part in self.ground.report.off:
            return None
        components = tuple(self._components(model.components, spot.at("components")))
        self._tags(model.tags, spot.at("tags"))
        to = self._names(model.to, spot.at("to"))
        escalate = []
        for index, step in enumerate(model.escalate):
            at = ("escalate", index, "to") if len(model.escalate) > 1 else ("escalate", "to")
            names = self._names(step.to, spot.at(*at))
            if names:
                escalate.append(Escalation(step.after, names))
        if model.components and not components and not model.tags:
            spot.switch_off("none of the components that it names exists")
            return None
        if model.to and not to:
            spot.switch_off("nobody whom it names exists")
            return None
        ordered = tuple(sorted(escalate, key=lambda step: step.after))
        tiers = tuple(tier.value for tier in model.tiers)
        return Route(tiers, components, model.tags, model.severity, to, ordered, model.remind)

    def _tags(self, tags: Sequence[str], spot: Spot) -> None:
        known = sorted({tag for each in self.ground.components.values() for tag in each.tags})
        for index, tag in enumerate(tags):
            if tag not in known:
                hint = did_you_mean(tag, known) or "a component gets tags by `tags: […]` in its file"
                spot.at(index).warning(f"no component has the tag {tag!r:.80}", hint)

    def _names(self, names: Sequence[str], spot: Spot) -> tuple[str, ...]:
        """Those of the names that are somebody's."""
        found = []
        for index, name in enumerate(names):
            where = _plain(spot.at(index))
            if name in ROLES:
                found.append(name)
            elif name in self.people:
                found.append(name)
                if not self.people[name].alarms:
                    where.warning(f"{name} has no channel", f"write people: {{{name}: {{alarms: [CHANNEL]}}}}")
            elif name in self.found or self._is_lost(name):
                if name not in self.found or self._is_channel(name, where, "a route"):
                    found.append(name)
            else:
                known = [*self.found, *self.people, *ROLES]
                hint = did_you_mean(name, known) or "name a channel, a person, owner, second or owners"
                where.error(f"{name!r:.80} is no channel and no person", hint)
        return tuple(found)


def _plain(spot: Spot) -> Spot:
    """The same place, at which a mistake switches nothing off."""
    return Spot(spot.report, spot.path, None)


# --- circles ------------------------------------------------------------------------------------------------


class _Files:
    """What the files alone say, for whoever reads a world."""

    def __init__(self, operation: Operation) -> None:
        self.operation = operation

    def get(self, table: str, key: str) -> None:
        """Nothing is recorded."""


def _warn_of_circles(found: Alarming, reading: _Reading, ground: Ground) -> None:
    reader = _Files(Operation(components=ground.components, people=reading.people, alarms=found))
    at = _checked_at(ground) if any(channel.hosts for channel in found.channels.values()) else {}
    for component in ground.components.values():
        for name, reason in sorted(circles.circle(reader, component, at.get(component.id, set())).items()):
            hint = f"add a channel to its route that works without {component.id}"
            ground.report.warning(("alarms", "channels", name), f"it reports on {component.id}, and {reason}", hint)


def _checked_at(ground: Ground) -> dict[str, set[str]]:
    """The hosts at which the checks of each component look."""
    found: dict[str, set[str]] = {}
    for check in ground.checks.values():
        found.setdefault(check.component, set()).update(hosts_in(check.raw))
    return found
