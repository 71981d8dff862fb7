"""What is in use survives its removal from the files: active, in force, an end of a switch, part of an open incident.

Somebody edits a file while the component runs on its backup, and takes that backup out. The world does not change by an
edit: the backup still serves, and there has to be a way back from it. So the part is kept with its last good
definition, without its checks (which are no longer run), and marked as held. Whole components that are gone are kept by
a record of their own (`opsdash.core.life`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from opsdash.core.index import index
from opsdash.core.outcomes import NOT_OVER
from opsdash.model.switch import MOVES_MODE, MOVES_PROVIDER

if TYPE_CHECKING:
    from collections.abc import Container

    from opsdash.model.incident import Incident
    from opsdash.model.operation import Component, Operation
    from opsdash.model.switch import Switch, SwitchKind
    from opsdash.model.world import ComponentState


class Reader(Protocol):
    """What is needed of a world: the operation as it was, and its tables."""

    operation: Operation

    def get(self, table: str, key: str) -> Any: ...


def keep_held(world: Reader, after: Operation) -> Operation:
    """`after`, with the parts that are still in use and no longer in the files."""
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
            for provider in (state.active, *_ends(world, state, MOVES_PROVIDER)):
                component = _keep_provider(component, before, provider)
            for mode in (state.mode, *_ends(world, state, MOVES_MODE)):
                component = _keep_mode(component, before, mode)
            component = _keep_failures(component, before, world.get("incidents", state.incident or ""))
    return component


def _ends(world: Reader, state: ComponentState, kinds: Container[SwitchKind]) -> tuple[str, ...]:
    """What a switch of one of these kinds leads from and to, while it is in flight or waits for a person."""
    switch: Switch | None = world.get("switches", state.switch or "")
    if switch is None or switch.plan.kind not in kinds or switch.state not in NOT_OVER:
        return ()
    return (switch.plan.source, switch.plan.target)


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
