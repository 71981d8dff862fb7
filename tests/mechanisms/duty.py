"""Somebody on duty in front of an engine at work: plans, confirms, and looks what has become of it."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opsdash.core.mechanisms import PROVIDER
from opsdash.model import inputs as i
from opsdash.model.effects import Read
from opsdash.model.switch import SwitchKind
from tests.engine.support import eventually, reason, running, status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from opsdash.engine.engine import Engine
    from opsdash.model.views import PlanView, SwitchView


@dataclass(frozen=True)
class Duty:
    """An engine, and the one component that its workspace has."""

    engine: Engine
    component: str

    @property
    def active(self) -> str | None:
        """The provider that serves, as far as is known."""
        return self._state().active  # type: ignore[no-any-return]

    @property
    def mode(self) -> str | None:
        """The degraded mode in force."""
        return self._state().mode  # type: ignore[no-any-return]

    def _state(self) -> Any:
        return self.engine.runner.world.get("components", self.component)

    async def plan(self, kind: SwitchKind, target: str | None = None) -> PlanView:
        return await self.engine.plan(self.component, kind, target)

    async def carry_out(self, kind: SwitchKind, target: str | None = None) -> SwitchView:
        """Confirm the plan, and wait until the switch has ended."""
        plan = await self.plan(kind, target)
        assert plan["refused"] is None, plan["refused"]
        assert plan["failed"] == [], plan["guards"]
        generation, source, wanted = plan["generation"], plan["source"], plan["target"]
        intent = i.SwitchIntent(self.component, SwitchKind(plan["kind"]), generation, source, wanted, "test")
        verdict = await self.engine.submit(os.urandom(8).hex(), "maria", intent)
        assert verdict["accepted"], verdict
        await self.engine.wait_for_switch(verdict["subject"])
        return self.engine.viewer().switch(self.engine.runner.world.get("switches", verdict["subject"]))

    async def look_again(self) -> None:
        """Read the mechanisms now, as the engine does every 30 s."""
        component = self.engine.loaded.operation.components[self.component]
        reads = [(PROVIDER, component.switch.read)] if component.switch else []
        reads += [(mode.id, mode.read) for mode in component.modes.values()]
        for what, call in reads:
            if call is not None:
                await self.engine.executor.read(Read(self.component, what, call))
        await self.engine.runner.settled()


@asynccontextmanager
async def on_duty(folder: Path, component: str) -> AsyncIterator[Duty]:
    """The operation of a workspace without problems, once its component is well."""
    async with running(folder) as engine:
        assert not engine.loaded.problems, engine.loaded.problems
        for check in engine.loaded.operation.checks:
            engine.poller.poll(check)
        await eventually(lambda: status(engine, component) == "ok", hint=lambda: reason(engine, component))
        duty = Duty(engine, component)
        await duty.look_again()
        yield duty


def truths(switch: SwitchView) -> dict[str, str]:
    """What was verified, by the letter of the fact: A mechanism, B front door, C old one out, D essential features."""
    return {fact["name"]: fact["truth"] for fact in switch["facts"]}
