"""What `evolve` reads of a world. A draft is one too: it folds its own records as it goes."""

from __future__ import annotations

from typing import Any, Protocol

from opsdash.model.world import ComponentState, EngineState

OPSDASH = "opsdash"
"""Who acts when nobody did."""


class Reader(Protocol):
    """The part of a world that evolve reads."""

    def get(self, table: str, key: str) -> Any: ...

    def keys(self, table: str) -> list[str]: ...


def component_state(world: Reader, component: str) -> ComponentState:
    """What is recorded of a component."""
    state: ComponentState | None = world.get("components", component)
    return state or ComponentState()


def engine_state(world: Reader) -> EngineState:
    """The engine's recorded life."""
    state: EngineState | None = world.get("engine", "engine")
    return state or EngineState()
