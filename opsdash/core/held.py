"""What is active, in force or part of an open incident survives its removal from the files, until it is no longer so.

Somebody edits a file while the component runs on its backup, and takes that backup out. The world does not change by an
edit: the backup still serves, and there has to be a way back from it. So the part is kept with its last good
definition, without its checks (which are no longer run), and marked as held. Whole components that are gone are kept by
a record of their own (`opsdash.core.life`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from opsdash.core.index import index

if TYPE_CHECKING:
    from opsdash.model.incident import Incident
    from opsdash.model.operation import Component, Operation
    from opsdash.model.world import ComponentState


class Reader(Protocol):
    """What is needed of a world: the operation as it was, and its tables."""

    operation: Operation

    def get(self, table: str, key: str) -> Any: ...


def keep_held(world: Reader, after: Operation) -> Operation:
    """`after`, with the parts that are still active or in force and no longer in the files."""
    kept = {key: _keep(world, component) for key, component in after.components.items()}
    if all(kept[key] is component for key, component in after.components.items()):
        return after
    return index(replace(after, components=kept))


def _keep(world: Reader, component: Component) -> Component:
    state: ComponentState | None = world.get("components", component.id)
    if state is None:
        return component
    for before in (world.get("removed", component.id), world.operation.components.get(component.id)):
        if before is not None:
            component = _keep_provider(component, before, state.active)
            component = _keep_mode(component, before, state.mode)
            component = _keep_failures(component, before, world.get("incidents", state.incident or ""))
    return component


def _keep_provider(component: Component, before: Component, active: str | None) -> Component:
    old = before.provider(active)
    if old is None or component.switch is None or component.provider(active) is not None:
        return component
    held = (*component.held, f"providers/{old.id}")
    return replace(component, providers=(*component.providers, replace(old, checks=())), held=held)


def _keep_mode(component: Component, before: Component, mode: str | None) -> Component:
    old = before.modes.get(mode or "")
    if old is None or old.id in component.modes:
        return component
    kept = replace(old, verify=tuple(check for check in old.verify if check in component.checks))
    modes = {**component.modes, old.id: kept}
    return replace(component, modes=modes, held=(*component.held, f"modes/{old.id}"))


def _keep_failures(component: Component, before: Component, incident: Incident | None) -> Component:
    """Failure modes that have joined the open incident: what was decided for them holds as long as it is open."""
    joined = incident.failures if incident is not None else ()
    old = {name: before.failures[name] for name in joined if name in before.failures and name not in component.failures}
    if not old:
        return component
    held = (*component.held, *(f"failures/{name}" for name in old))
    return replace(component, failures={**component.failures, **old}, held=held)
