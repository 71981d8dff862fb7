"""Who has to do with whom, so that a what-if computes again only what is connected with what is gone.

What becomes of a component follows from itself and its *company*: what it depends on, whose checks its failure modes,
its switch and its degraded modes look at, and what is watched at the hosts that its switch goes by. What is taken away
*concerns* the components of which something fails, those whose failure modes look at these, and those that a person
covers. Concerned components that are in each other's company form a *group*, and groups know nothing of each other:
what becomes of two that are hit at once is what becomes of each. One lost zone may hit a hundred groups; taking a
component of one of them away besides is a question about that one.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from opsdash.core import routing
from opsdash.core.hosts import hosts_in
from opsdash.core.index import index
from opsdash.core.traces import LOOKUP_KINDS
from opsdash.model.channel import ROLES
from opsdash.model.status import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opsdash.core.whatif_subjects import Loss
    from opsdash.model.operation import Component, Operation, Signal, SwitchSpec

Group = tuple[str, ...]

SEVERITIES = (1, 2, 3, 4)


class Reach:
    """Who has to do with whom in an operation. `index` has been applied to it.

    company, kin: by component; kin is the company whose loss besides can make things worse.  people: those whose
    absence makes a difference to who is told of a component, and to who covers it.
    """

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self._lookups = {check.component for check in operation.checks.values() if check.kind in LOOKUP_KINDS}
        self.company = {component.id: self._company(component) for component in operation.components.values()}
        self._watchers: defaultdict[str, set[str]] = defaultdict(set)
        self._owned: defaultdict[str, set[str]] = defaultdict(set)
        self._asked: defaultdict[str, set[Reason]] = defaultdict(set)
        self.people: dict[str, frozenset[str]] = {}
        self.kin: dict[str, frozenset[str]] = {}
        for component in operation.components.values():
            for watched in _watched(component):
                self._watchers[watched].add(component.id)
            for owner in component.owners:
                self._owned[owner].add(component.id)
            for signal in _signals(component):
                self._asked[signal.component].update((signal.reason,) if signal.reason is not None else ())
            self.people[component.id] = frozenset(self._people(component))
            self.kin[component.id] = frozenset(self._kin(component) & operation.components.keys())

    def concerned(self, loss: Loss) -> frozenset[str]:
        """The components of which a loss may change anything, as far as it does so by what they are made of."""
        owned = (self._owned.get(person, ()) for person in loss.people)
        found = set(loss.direct()).union(*owned) & self.operation.components.keys()
        queue = list(found)
        for each in queue:
            for watcher in self._watchers.get(each, ()):
                if watcher not in found:
                    found.add(watcher)
                    queue.append(watcher)
        return frozenset(found)

    def groups(self, concerned: Iterable[str]) -> list[Group]:
        """Components that a loss concerns, together with those that are in each other's company."""
        todo = sorted(concerned)
        whose: dict[str, str] = {each: each for each in todo}

        def first(each: str) -> str:
            while whose[each] != each:
                whose[each] = whose[whose[each]]
                each = whose[each]
            return each

        for each in todo:
            for other in self.company[each]:
                if other in whose:
                    whose[first(other)] = first(each)
        found: defaultdict[str, list[str]] = defaultdict(list)
        for each in todo:
            found[first(each)].append(each)
        return [tuple(group) for group in found.values()]

    def part(self, group: Iterable[str]) -> Operation:
        """The operation as far as it matters to a group: the group and its company, in the order of the files."""
        wanted = {each for member in group for each in (member, *self.company[member])}
        components = {key: each for key, each in self.operation.components.items() if key in wanted}
        checks = {
            check: self.operation.checks[check]
            for component in components.values()
            for check in (*component.checks, *(check for each in component.providers for check in each.checks))
            if check in self.operation.checks
        }
        return index(replace(self.operation, components=components, checks=checks, anchors=(), windows={}, drills={}))

    def plain(self, loss: Loss) -> Loss:
        """The same, with one reason for all checks whose reasons no failure mode asks for: those come to the same."""
        checks = {
            check: why if {why, Reason.TIMEOUT} & self._asked[check.partition("/")[0]] else Reason.TIMEOUT
            for check, why in loss.checks.items()
        }
        return replace(loss, checks=checks)

    # --- company -----------------------------------------------------------------------------------------------

    def _company(self, component: Component) -> frozenset[str]:
        found = self._kin(component).union(self._ancestors(component))
        return frozenset(found & self.operation.components.keys())

    def _kin(self, component: Component) -> set[str]:
        """Its company without what it only depends on. That fails besides holds its alarms back, and nothing else."""
        found = _watched(component) | set(_looked_at(component))
        found |= {failure.response.component for failure in component.failures.values()}
        if component.switch is not None:
            found |= set(component.switch.needs) | set(self._at_hosts(component.switch))
        return found - {component.id}

    def _ancestors(self, component: Component) -> Iterator[str]:
        seen = {component.id}
        queue = list(component.depends_on)
        for each in queue:
            if each in seen:
                continue
            seen.add(each)
            yield each
            parent = self.operation.components.get(each)
            queue += parent.depends_on if parent is not None else ()

    def _at_hosts(self, spec: SwitchSpec) -> Iterator[str]:
        """Whoever is watched where a switch goes, and whoever is asked for the names of those places."""
        raws = [spec.action.raw, *(step.action.raw for step in (*spec.before, *spec.after))]
        yield from self._lookups
        for raw in raws:
            templated = any("{" in host for host in hosts_in(raw))
            hosts = self.operation.hosts if templated else hosts_in(raw)
            for host in hosts:
                yield from (check.partition("/")[0] for check in self.operation.hosts.get(host, ()))

    def _people(self, component: Component) -> Iterator[str]:
        """Everybody whose absence makes a difference to who is told of a component, and to who covers it."""
        yield from component.owners
        for severity in SEVERITIES:
            route = routing.route_of(self.operation, component, severity)
            if route is not None:
                names = (*route.to, *(name for step in route.escalate for name in step.to))
                yield from (name for name in names if name not in ROLES)


def _watched(component: Component) -> set[str]:
    """The components whose checks its failure modes look at."""
    return {signal.component for signal in _signals(component)} - {component.id}


def _signals(component: Component) -> Iterator[Signal]:
    for failure in component.failures.values():
        if failure.detected_by is not None:
            yield from failure.detected_by.signals


def _looked_at(component: Component) -> Iterator[str]:
    """The components whose checks or features its switch and its degraded modes name."""
    spec = component.switch
    checks = [*spec.verify] if spec is not None else []
    if spec is not None:
        checks += [check for step in (*spec.before, *spec.after) for check in (*step.verify, *step.down)]
        checks += [spec.served_by.check] if spec.served_by is not None else []
        checks += [spec.old_out.check] if spec.old_out is not None else []
        checks += [spec.lag.check] if spec.lag is not None else []
    for mode in component.modes.values():
        checks += [*mode.verify, *(name for name in mode.keeps if "/" in name)]
    yield from (check.partition("/")[0] for check in checks)
