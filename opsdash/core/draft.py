"""A decision in the making: reads see what was decided so far, and nothing real is touched.

A decision may take several steps that build on each other (a check turns down, hence its component, hence a failure
mode, hence an incident). The draft folds each record with `evolve` into an overlay as it is emitted, so that the next
step reads the world as it will be. What comes out is a `Decision`; the runner journals its records first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opsdash.core.evolve import evolve
from opsdash.model.world import CheckLive, CheckState, ComponentLive, ComponentState, EngineLive, EngineState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opsdash.model.effects import Effect
    from opsdash.model.incident import Incident
    from opsdash.model.now import Now
    from opsdash.model.operation import Component, Operation
    from opsdash.model.records import Record
    from opsdash.model.switch import Switch
    from opsdash.model.world import Live, Patch, World

_GONE = object()

NEW_CHECK = CheckLive()
NEW_COMPONENT = ComponentLive()
NEW_STATE = ComponentState()
NEW_ENGINE = EngineLive()


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from one input: records for the journal, effects to run after it, and changes of `live`.

    touched: components that a client may have to draw again.
    """

    records: list[Record]
    effects: list[Effect]
    live_patch: Patch
    touched: set[str]


class Draft:
    """Overlay over world and live for the length of one decision."""

    __slots__ = (
        "_live", "_live_over", "_over", "_world", "effects", "now", "operation", "records", "session",
        "touched",
    )  # fmt: skip

    def __init__(self, world: World, live: Live, now: Now) -> None:
        self._world = world
        self._live = live
        self._over: dict[tuple[str, str], Any] = {}
        self._live_over: dict[tuple[str, str], Any] = {}
        self.now = now
        self.operation: Operation = world.operation
        self.records: list[Record] = []
        self.effects: list[Effect] = []
        self.touched: set[str] = set()
        self.session = ""

    # --- reading -----------------------------------------------------------------------------------------------

    def get(self, table: str, key: str) -> Any:
        """A value of the world as it will be."""
        if self._over:
            value = self._over.get((table, key), _GONE)
            if value is not _GONE:
                return value
        return self._world.tables[table].get(key)

    def keys(self, table: str) -> list[str]:
        """The keys of a table of the world as it will be."""
        return _keys(self._world.tables[table], self._over, table)

    def live(self, table: str, key: str) -> Any:
        """A value of `live` as it will be."""
        if self._live_over:
            value = self._live_over.get((table, key), _GONE)
            if value is not _GONE:
                return value
        return self._live.tables[table].get(key)

    def live_keys(self, table: str) -> list[str]:
        """The keys of a table of `live` as it will be."""
        return _keys(self._live.tables[table], self._live_over, table)

    def check(self, check: str) -> CheckLive:
        """What is shown of a check."""
        found: CheckLive | None = self.live("checks", check)
        return found or NEW_CHECK

    def confirmed(self, check: str) -> CheckState | None:
        """A check's last confirmed status."""
        found: CheckState | None = self.get("checks", check)
        return found

    def component(self, component: str) -> Component | None:
        """A component's definition, also after its removal from the files while something still holds it."""
        found = self.operation.components.get(component)
        if found is None:
            found = self.get("removed", component)
        return found

    def state(self, component: str) -> ComponentState:
        """What is recorded of a component."""
        found: ComponentState | None = self.get("components", component)
        return found or NEW_STATE

    def health(self, component: str) -> ComponentLive:
        """A component's health right now."""
        found: ComponentLive | None = self.live("components", component)
        return found or NEW_COMPONENT

    def engine(self) -> EngineLive:
        """What the engine knows of itself."""
        found: EngineLive | None = self.live("engine", "engine")
        return found or NEW_ENGINE

    def life(self) -> EngineState:
        """The engine's recorded life."""
        found: EngineState | None = self.get("engine", "engine")
        return found or EngineState()

    def switch(self, component: str) -> Switch | None:
        """The live or last switch of a component."""
        switch = self.state(component).switch
        found: Switch | None = self.get("switches", switch) if switch else None
        return found

    def incident(self, component: str) -> Incident | None:
        """The open incident of a component."""
        incident = self.state(component).incident
        found: Incident | None = self.get("incidents", incident) if incident else None
        return found if found is not None and found.is_open else None

    # --- writing -----------------------------------------------------------------------------------------------

    def emit(self, record: Record) -> None:
        """Add a record, and see the world as it is after it from now on."""
        self.records.append(record)
        for table, key, value in evolve(self, record):
            self._over[table, key] = value

    def effect(self, effect: Effect) -> None:
        """Add something to be done once the records are safe."""
        self.effects.append(effect)

    def set_live(self, table: str, key: str, value: Any) -> None:
        """Change `live`; None removes."""
        self._live_over[table, key] = value

    def touch(self, component: str) -> None:
        """Note that the component looks different now."""
        self.touched.add(component)

    def decision(self) -> Decision:
        """What was decided."""
        patch = [(table, key, value) for (table, key), value in self._live_over.items()]
        return Decision(self.records, self.effects, patch, self.touched)


def _keys(rows: Mapping[str, Any], over: Mapping[tuple[str, str], Any], table: str) -> list[str]:
    """The keys of a table, with what was put over it."""
    keys = dict.fromkeys(rows)
    for (name, key), value in over.items():
        if name == table:
            if value is None:
                keys.pop(key, None)
            else:
                keys[key] = None
    return list(keys)
