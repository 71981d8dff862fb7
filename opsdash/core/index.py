"""What can be looked up instead of searched for: who depends on a component, who watches a check, what is at a host.

A decision looks at one component and its neighbours. These tables say who the neighbours are, so that its cost
does not grow with the number of components.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from opsdash.core.hosts import hosts_in
from opsdash.model.operation import ACTIVE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opsdash.model.operation import Component, Operation, Signal


def index(operation: Operation) -> Operation:
    """`operation` with its tables `dependents` and `watchers` filled in."""
    dependents: defaultdict[str, dict[str, None]] = defaultdict(dict)
    watchers: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for component in operation.components.values():
        for parent in component.depends_on:
            dependents[parent][component.id] = None
        for signal in _signals(component):
            watchers[watched(signal)][component.id] = None
    hosts: defaultdict[str, list[str]] = defaultdict(list)
    if any(component.switch is not None for component in operation.components.values()):
        for check in operation.checks.values():
            for host in hosts_in(check.raw):
                hosts[host].append(check.id)
    return replace(
        operation,
        hosts={host: tuple(checks) for host, checks in hosts.items()},
        dependents={parent: tuple(sorted(children)) for parent, children in dependents.items()},
        watchers={check: tuple(sorted(components)) for check, components in watchers.items()},
    )


def watched(signal: Signal) -> str:
    """What a signal waits for: a check's id, or `component/*` where it is whoever serves at the time."""
    if signal.provider == ACTIVE:
        return f"{signal.component}/*"
    return "/".join(part for part in (signal.component, signal.provider, signal.check) if part)


def _signals(component: Component) -> Iterator[Signal]:
    for failure in component.failures.values():
        if failure.detected_by is not None:
            yield from failure.detected_by.signals
