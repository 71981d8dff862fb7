"""What tests of drills share: a server behind the built-in fault proxy, and a workspace with a drill that breaks it."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opsdash.kinds.faultproxy import Address, FaultProxy, tell
from opsdash.model.inputs import StartDrillIntent
from tests.engine.support import eventually, eventually_asked, serving, write_workspace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from opsdash.engine.engine import Engine
    from opsdash.model.drill import DrillRun

PATIENCE = 90.0
"""Seconds: a guard is a process of its own, and has to be started on a busy machine."""

SHOP = """
tier: essential
owners: [maria]
defaults: {{every: 200ms, timeout: 5s, down_after: 2, up_after: 1}}
checks: {{front: {{kind: http, url: "{url}/status"}}}}
failures: {{broken: {{title: The shop does not answer, detected_by: [front], response: runbook, runbook: shop-down}}}}
runbook: shop-down
"""
RUNBOOK = "---\ntitle: The shop is down\ncomponent: shop\n---\n\n# Shop\n\n## Steps\n\n### Look\n\nLook.\n"
DRILL = """
title: The shop refuses
owner: maria
component: shop
failure_mode: broken
level: contained
expect: {{detect: 5m{expects}}}
inject: {{fault_proxy: {{control: {control}, mode: {mode}}}}}
verify_undone: [front]
limit: {limit}
hold: {hold}
"""


@dataclass
class Shop:
    """A server behind a fault proxy, and the workspace of an operation that watches it through that."""

    folder: Path
    control: Path
    url: str

    async def mode(self) -> str:
        """What the proxy does with traffic."""
        state: dict[str, Any] = await tell(self.control, {})
        return str(state["mode"])

    async def tell(self, mode: str) -> None:
        """Break it, other than by a drill."""
        await tell(self.control, {"mode": mode, "for": 600})

    async def until_passing(self) -> None:
        """Wait until nothing is broken any more."""

        async def passes() -> bool:
            return await self.mode() == "pass"

        await eventually_asked(passes, within=PATIENCE)

    def write_drill(
        self, *, hold: str = "0s", limit: str = "5m", mode: str = "refuse", expects: str = "", more: str = ""
    ) -> None:
        """The drill `refuses`."""
        drills = self.folder / "drills"
        drills.mkdir(exist_ok=True)
        text = DRILL.format(control=self.control, hold=hold, limit=limit, mode=mode, expects=expects)
        (drills / "refuses.yaml").write_text(text + more)


@asynccontextmanager
async def shop(folder: Path, *, settings: str = "", **drill: str) -> AsyncIterator[Shop]:
    """The server, the proxy before it, and the workspace."""
    with tempfile.TemporaryDirectory(prefix="fp-") as short:
        async with serving() as target:
            ready: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
            control = Path(short, "control")
            proxy = FaultProxy(Address("127.0.0.1", 0), Address("127.0.0.1", target.port), control)
            task = asyncio.ensure_future(proxy.serve(ready.set_result))
            address = await ready
            try:
                url = f"http://{address}"
                people = "people: {maria: {}, ken: {}}\n"
                write_workspace(folder, settings=people + settings, shop=SHOP.format(url=url))
                (folder / "runbooks").mkdir(exist_ok=True)
                (folder / "runbooks" / "shop-down.md").write_text(RUNBOOK)
                made = Shop(folder, control, url)
                made.write_drill(**drill)
                yield made
            finally:
                proxy.end()
                await task


async def begin(engine: Engine, who: str = "maria", key: str = "k") -> str:
    """Begin the drill as soon as its component is known to work; returns the run's id."""
    await eventually(lambda: is_ok(engine), within=PATIENCE)
    verdict = await engine.submit(key, who, StartDrillIntent("refuses"))
    assert verdict["accepted"], verdict["refused"]
    return verdict["subject"]


def is_ok(engine: Engine) -> bool:
    """Whether the shop works."""
    row = engine.viewer().row("shop")
    return row is not None and row["status"] == "ok"


def run_of(engine: Engine, run: str = "DRILL-1") -> DrillRun:
    """The run as it is now."""
    found: DrillRun = engine.runner.world.get("drills", run)
    return found


async def until_state(engine: Engine, state: str, run: str = "DRILL-1") -> DrillRun:
    """Wait until a run is in that state, and that is written."""
    await eventually(
        lambda: run_of(engine, run).state.value == state, within=PATIENCE, hint=lambda: run_of(engine, run)
    )
    await engine.runner.written()
    return run_of(engine, run)
