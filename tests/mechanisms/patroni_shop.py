"""An operation whose database is a cluster under Patroni, and an engine that watches and switches it."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opsdash.core.mechanisms import PROVIDER
from opsdash.model import inputs as i
from opsdash.model.effects import Read
from opsdash.model.switch import SwitchKind
from tests.engine.support import eventually, running, status, write_workspace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from opsdash.engine.engine import Engine
    from opsdash.model.views import PlanView, SwitchView


def component(
    urls: Mapping[str, str], front_door: str, *, login: tuple[str, str], ttl: str = "0s", more: str = ""
) -> str:
    """A database with three members; `front_door` is the check that writes, and tells which member did."""
    providers = "\n".join(f"  {name}: {{rest: '{url}'}}" for name, url in urls.items())
    members = ", ".join(f"'{url}'" for url in urls.values())
    return f"""
tier: essential
defaults: {{every: 1s, timeout: 2s, down_after: 1, up_after: 1}}
providers:
{providers}
each:
  postgres: {{kind: http, url: "{{rest}}/health"}}
checks:
  writes: {front_door}
switch:
  read: {{kind: patroni, urls: [{members}]}}
  action:
    kind: patroni
    urls: [{members}]
    auth: {{basic: {{user: {login[0]}, password: {login[1]}}}}}
    candidate: "{{to.as}}"
    loop_wait: 1s
    ttl: {ttl}
{more}
  served_by: {{check: writes, value: facts.member, times: 2}}
  old_out: mechanism
  verify: [writes]
  deadline: 5s
"""


@dataclass
class Shop:
    """The engine at work."""

    engine: Engine

    @property
    def active(self) -> str | None:
        active: str | None = self.engine.runner.world.get("components", "db").active
        return active

    async def plan(self, kind: SwitchKind, target: str | None = None) -> PlanView:
        """What `f` and `F` show, with a preflight of this moment."""
        wanted = target or ("pg0" if kind is SwitchKind.FAILBACK else "pg1")
        plan = await self.engine.plan("db", kind, wanted)
        await eventually(lambda: self.engine.runner.live.get("preflights", f"db/{wanted}") is not None)
        return await self.engine.plan("db", kind, wanted) if plan["refused"] is None else plan

    async def carry_out(
        self, kind: SwitchKind, target: str | None = None, *, overrides: Sequence[str] = (), within: float = 8.0
    ) -> SwitchView:
        """Confirm the plan, and wait until the switch has ended."""
        plan = await self.plan(kind, target)
        verdict = await self.confirm(plan, overrides=overrides)
        assert verdict["accepted"], verdict
        return await self.ended(verdict["subject"], within=within)

    async def confirm(self, plan: PlanView, *, overrides: Sequence[str] = ()) -> Any:
        """Press `y`."""
        intent = i.SwitchIntent(
            "db",
            SwitchKind(plan["kind"]),
            plan["generation"],
            plan["source"],
            plan["target"],
            "test",
            overrides=tuple(overrides),
            typed="db" if overrides else "",
        )
        return await self.engine.submit(os.urandom(8).hex(), "maria", intent)

    async def ended(self, switch_id: str, *, within: float = 8.0) -> SwitchView:
        """The switch, once it has ended."""
        await eventually(lambda: not self.switch(switch_id)["live"], within=within)
        return self.switch(switch_id)

    def switch(self, switch_id: str) -> SwitchView:
        return self.engine.viewer().switch(self.engine.runner.world.get("switches", switch_id))

    async def look_again(self) -> None:
        """Read the mechanism now, as the engine does every 30 s."""
        spec = self.engine.loaded.operation.components["db"].switch
        assert spec is not None
        assert spec.read is not None
        await self.engine.executor.read(Read("db", PROVIDER, spec.read))
        await self.engine.runner.settled()


@asynccontextmanager
async def shop(folder: Path, text: str, *, active: str = "pg0") -> AsyncIterator[Shop]:
    """The operation in good order."""
    write_workspace(folder, db=text)
    async with running(folder) as engine:
        assert not engine.loaded.problems, engine.loaded.problems
        for check in engine.loaded.operation.checks:
            engine.poller.poll(check)
        made = Shop(engine)
        await eventually(lambda: status(engine, "db") == "ok")
        await eventually(lambda: engine.runner.live.get("components", "db").redundancy == "ready")
        await eventually(lambda: made.active == active)
        yield made


def truths(switch: SwitchView) -> dict[str, str]:
    """The four facts of a switch."""
    return {fact["name"]: fact["truth"] for fact in switch["facts"]}
