"""An operation whose provider and degraded mode are keys of a store; an application goes by them, an engine watches."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from opsdash.core.mechanisms import PROVIDER
from opsdash.engine.clock import system_clock
from opsdash.model import inputs as i
from opsdash.model.effects import Read
from opsdash.model.switch import SwitchKind
from tests.engine.support import eventually, http, running, serving, status, write_workspace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from opsdash.engine.engine import Engine
    from opsdash.model.views import PlanView, SwitchView
    from tests.engine.support import Request


class Keys(Protocol):
    """A store's keys."""

    def get(self, key: str) -> str | None: ...
    def put(self, key: str, value: str) -> None: ...


def component(url: str, call: Mapping[str, Any], prefix: str) -> str:
    """Mail with two providers and a degraded mode. call: kind and endpoints, as every use of the store begins."""

    def use(**more: str) -> str:
        return json.dumps({**call, **more})

    provider = {"key": f"{prefix}provider", "marker": f"{prefix}switched-by"}
    mode = {"key": f"{prefix}mode", "marker": f"{prefix}mode-by"}
    return f"""
tier: essential
defaults: {{every: 1s, timeout: 500ms, down_after: 1, up_after: 1}}
providers:
  postmark: {{as: pm-prod}}
  ses: {{as: ses-eu}}
each:
  api: {{kind: http, url: "{url}/{{id}}"}}
checks:
  delivery: {{kind: http, url: "{url}/delivery", facts: {{provider: json.provider, mode: json.mode}}}}
switch:
  read: {use(**provider)}
  action: {use(**provider, value="{to.as}")}
  served_by: {{check: delivery, value: facts.provider, at: json.at, times: 1}}
  old_out: stateless
  verify: [delivery]
modes:
  orders-only:
    read: {use(**mode)}
    enter: {use(**mode, value="orders-only")}
    verify: [delivery]
"""


@dataclass
class Shop:
    """The engine at work. What the application delivers by, it has asked the store for."""

    engine: Engine
    keys: Keys
    prefix: str

    async def get(self, key: str) -> str | None:
        return await asyncio.to_thread(self.keys.get, self.prefix + key)

    async def put(self, key: str, value: str) -> None:
        await asyncio.to_thread(self.keys.put, self.prefix + key, value)

    @property
    def active(self) -> str | None:
        state = self.engine.runner.world.get("components", "email")
        active: str | None = state.active
        return active

    async def plan(self, kind: SwitchKind, target: str | None = None) -> PlanView:
        return await self.engine.plan("email", kind, target)

    async def carry_out(self, kind: SwitchKind, target: str | None = None) -> SwitchView:
        """Confirm the plan, and wait until the switch has ended."""
        return await self.confirm(await self.plan(kind, target))

    async def confirm(self, plan: PlanView) -> SwitchView:
        intent = i.SwitchIntent(
            "email", SwitchKind(plan["kind"]), plan["generation"], plan["source"], plan["target"], "test"
        )
        verdict = await self.engine.submit(os.urandom(8).hex(), "maria", intent)
        assert verdict["accepted"], verdict
        await eventually(lambda: not self._switch(verdict["subject"])["live"])
        return self._switch(verdict["subject"])

    def _switch(self, switch_id: str) -> SwitchView:
        return self.engine.viewer().switch(self.engine.runner.world.get("switches", switch_id))

    async def look_again(self) -> None:
        """Read the mechanism now, as the engine does every 30 s."""
        spec = self.engine.loaded.operation.components["email"].switch
        assert spec is not None
        assert spec.read is not None
        await self.engine.executor.read(Read("email", PROVIDER, spec.read))
        await self.engine.runner.settled()


@asynccontextmanager
async def shop(folder: Path, keys: Keys, call: Mapping[str, Any], prefix: str = "") -> AsyncIterator[Shop]:
    """The operation in good order, on postmark, and in no degraded mode."""

    async def delivery(_: Request) -> bytes:
        provider, mode = await asyncio.gather(
            *(asyncio.to_thread(keys.get, f"{prefix}{key}") for key in ("provider", "mode"))
        )
        return http(json.dumps({"provider": provider, "mode": mode, "at": system_clock().wall}))

    keys.put(f"{prefix}provider", "pm-prod")
    keys.put(f"{prefix}mode", "normal")
    async with serving(delivery=delivery) as target:
        write_workspace(folder, email=component(target.url, call, prefix))
        async with running(folder) as engine:
            assert not engine.loaded.problems, engine.loaded.problems
            for check in engine.loaded.operation.checks:
                engine.poller.poll(check)
            made = Shop(engine, keys, prefix)
            await eventually(lambda: status(engine, "email") == "ok")
            await eventually(lambda: engine.runner.live.get("components", "email").redundancy == "ready")
            await eventually(lambda: made.active == "postmark")
            yield made


def truths(switch: SwitchView) -> dict[str, str]:
    return {fact["name"]: fact["truth"] for fact in switch["facts"]}
