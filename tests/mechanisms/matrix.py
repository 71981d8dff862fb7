"""The crash matrix: an engine dies at every boundary of a switch, and the next one never fires again nor lies about it.

Two forms. *By journal prefix*: a switch is carried out once, and then, for every record of it, a new engine starts from
the journal as it was up to there, once with the mechanism as it was before the action, and once as it was after. *By
kill -9*: a real engine is killed at a random moment of a switch, and the next one at a random moment of its recovery.

What counts as a wrong end: a second action was fired; or the engine says that a side serves which does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from opsdash.core.outcomes import LIVE_STATES, UNDECIDED
from opsdash.model.switch import SwitchKind, SwitchState
from opsdash.service.session import SessionError
from opsdash.storage.memory import MemoryJournal
from tests.engine.support import eventually, eventually_asked, running, write_workspace
from tests.lifecycle.support import engine, of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from opsdash.engine.engine import Engine
    from opsdash.storage.entries import Entry
    from tests.lifecycle.support import EngineProcess

COMPONENT = "shop"
PATIENCE = 40.0
SOONEST, LATEST = 0.002, 0.6
"""Seconds after a confirmation within which the first engine is killed; the sooner, the more often."""

FIRES = frozenset({"acting", "fencing", "undoing"})
"""States whose record comes before an action."""

EFFECT = {"two": "with effect", "one": "without effect", "both": "with half of the effect"}
"""What an action came to, by who serves after it."""

DONE = frozenset({SwitchState.COMMITTED.value})
NOT_DONE = frozenset({"never begun", SwitchState.ABORTED.value, SwitchState.REFUSED.value, SwitchState.NO_EFFECT.value})


class Mechanism(Protocol):
    """Something that says which of two sides serves, `one` at first, and `two`.

    settles: seconds within which a change by its action is visible.
    """

    settles: float

    def switch(self) -> str:
        """The keys `read` and `action` of a switch, as YAML with an indent of two."""

    def names(self) -> tuple[str, str]:
        """What it calls the two sides."""

    def serves(self) -> str | None:
        """Who serves, asked of the mechanism itself; `one`, `two`, `both`, or None where it is neither."""

    def lead(self, side: str) -> None:
        """Make a side serve, by other means than opsdash; `both` where the mechanism knows such a state."""


def component(mechanism: Mechanism, *, settle: str = "100ms") -> str:
    """A component that goes by a mechanism alone: no front door, so that nothing but the mechanism tells."""
    one, two = mechanism.names()
    return f"""
tier: essential
defaults: {{every: 2s, timeout: 1s, down_after: 1, up_after: 1}}
providers:
  one: {{as: {one!r}}}
  two: {{as: {two!r}}}
each:
  there: {{kind: file, path: opsdash.yaml}}
switch:
{mechanism.switch().rstrip()}
  old_out: stateless
  settle: {settle}
  deadline: {max(5.0, mechanism.settles):g}s
"""


@dataclass(frozen=True)
class End:
    """How a case ended: where it was cut, what the switch is called, whether another action was fired, who serves."""

    cut: str
    state: str
    fired: int
    active: str | None
    serves: str | None

    @property
    def wrong(self) -> str:
        """What is wrong about it, "" if nothing is."""
        if self.fired > 1:
            return f"{self.fired} actions were fired"
        if self.state in DONE and self.serves != "two":
            return f"called {self.state}, and {self.serves} serves"
        if self.state in NOT_DONE and self.serves != "one":
            return f"called {self.state}, and {self.serves} serves"
        if self.active is not None and self.active != self.serves:
            return f"{self.active} is said to serve, and {self.serves} does"
        return ""

    def __str__(self) -> str:
        found = f"cut {self.cut}: {self.state}, {self.active} is said to serve, {self.serves} serves"
        return f"{found}: {self.wrong}" if self.wrong else found


# --- by journal prefix ----------------------------------------------------------------------------------------------


async def by_prefix(folder: Path, mechanism: Mechanism, sides: Sequence[str] = ("two", "one")) -> list[End]:
    """Every boundary of one switch, with each of `sides` serving after its action: with and without its effect."""
    workspace = write_workspace(folder / "whole", **{COMPONENT: component(mechanism)})
    entries = await _carried_out(workspace, mechanism)
    first = next(n for n, entry in enumerate(entries) if entry.type == "switch_intended")
    last = next(n for n, entry in enumerate(entries) if entry.type == "switch_ended")
    cuts = [n + 1 for n in range(first, last) if not entries[n].more]
    acting = next(n for n, entry in enumerate(entries) if entry.data.get("state") == "acting")
    ends: list[End] = []
    for side in sides:
        await _led(mechanism, side)
        wanted = [cut for cut in cuts if side == "one" or cut > acting]
        ends += await asyncio.gather(*(_after_cut(folder, mechanism, entries, cut, side) for cut in wanted))
    return ends


async def _led(mechanism: Mechanism, side: str) -> None:
    await asyncio.to_thread(mechanism.lead, side)

    async def there() -> bool:
        return await asyncio.to_thread(mechanism.serves) == side

    await eventually_asked(there, within=PATIENCE, hint=lambda: f"{side} does not serve")


async def _carried_out(workspace: Path, mechanism: Mechanism) -> list[Entry]:
    """The journal of a switch that worked."""
    journal = MemoryJournal()
    await _led(mechanism, "one")
    async with running(workspace, journal=journal) as one:
        await _ready(one)
        done, told = await one.switch_now(SwitchKind.FAILOVER, COMPONENT, "two", "maria", "the matrix")
        assert done, told
    return list(journal.entries())


async def _ready(running_engine: Engine) -> None:
    """Everything is known of the component, and its action could be carried out."""

    def ready() -> bool:
        row = running_engine.viewer().row(COMPONENT)
        return row is not None and row["active"] == "one" and row["redundancy"] == "ready"

    await eventually(ready, within=PATIENCE, hint=lambda: running_engine.viewer().row(COMPONENT))


async def _after_cut(folder: Path, mechanism: Mechanism, entries: Sequence[Entry], cut: int, side: str) -> End:
    """A new engine goes on from a journal that ends at `cut`."""
    workspace = write_workspace(folder / f"{side}-{cut}", **{COMPONENT: component(mechanism)})
    journal = MemoryJournal(entries[:cut])
    last = entries[cut - 1]
    advanced = [entry.data["state"] for entry in entries[:cut] if entry.type == "switch_advanced"]
    place = advanced[-1] if advanced else "intent"
    async with running(workspace, journal=journal) as two:
        switch_id = next(entry.data["switch"]["id"] for entry in entries if entry.type == "switch_intended")

        def ended() -> Any:
            switch = two.runner.world.get("switches", switch_id)
            state = two.runner.world.get("components", COMPONENT)
            known = state is not None and (state.active is not None or switch.state in UNDECIDED)
            return switch if switch is not None and switch.state not in LIVE_STATES and known else None

        switch = await eventually(ended, within=PATIENCE, hint=lambda: two.runner.world.tables["switches"])
        active = two.runner.world.get("components", COMPONENT).active
        later = [entry for entry in journal.entries(last.seq) if entry.type == "switch_advanced"]
    fired = sum(entry.data["state"] in FIRES for entry in (*entries[:cut], *later) if entry.type == "switch_advanced")
    serves = await asyncio.to_thread(mechanism.serves)
    return End(f"after {place}, {EFFECT[side]}", switch.state.value, fired, active, serves)


# --- by kill -9 -----------------------------------------------------------------------------------------------------


async def by_kill(folder: Path, mechanism: Mechanism, pairs: int, seed: int) -> list[End]:
    """Engines that are killed twice: during a switch, and during the recovery from that."""
    chance = random.Random(seed)  # noqa: S311 - moments, no secrets
    return [await _killed_twice(folder / f"pair-{number}", mechanism, chance) for number in range(pairs)]


async def _killed_twice(folder: Path, mechanism: Mechanism, chance: random.Random) -> End:
    workspace = write_workspace(folder, **{COMPONENT: component(mechanism)})
    await _led(mechanism, "one")
    first, second = SOONEST * (LATEST / SOONEST) ** chance.random(), chance.uniform(0.0, 2.5)
    async with engine(workspace) as one:
        plan = await _planned(one)
        asked = asyncio.ensure_future(_submit(one, plan))
        await asyncio.sleep(first)
        await one.kill()
        await asyncio.wait([asked])
    cut = of(workspace, "switch_advanced")
    at = cut[-1]["state"] if cut else "intent"
    if not of(workspace, "switch_intended"):
        serves = await asyncio.to_thread(mechanism.serves)
        return End(f"before its intent, {first:.3f} s", "never begun", 0, "one", serves)
    async with engine(workspace) as two:
        await asyncio.sleep(second)
        await two.kill()
    async with engine(workspace) as three:
        switch, active = await _resting(three)
    fired = sum(entry["state"] in FIRES for entry in of(workspace, "switch_advanced"))
    serves = await asyncio.to_thread(mechanism.serves)
    return End(f"at {at}, {first:.3f} s and {second:.2f} s", switch["state"], fired, active, serves)


async def _submit(process: EngineProcess, plan: Any) -> None:
    """Confirm a plan. Whether the answer comes before the engine dies is nobody's concern here."""
    names = ("component", "generation", "source", "target")
    with contextlib.suppress(SessionError):
        await process.session.submit("failover", {name: plan[name] for name in names})


async def _planned(process: EngineProcess) -> Any:
    """The plan of a failover, as soon as nothing stands in its way."""
    session = process.session

    async def planned() -> Any:
        plan: Any = await session.plan(COMPONENT, "failover", "two")
        return plan if plan["refused"] is None and not plan["failed"] and plan["source"] == "one" else None

    return await eventually_asked(planned, within=PATIENCE)


async def _resting(process: EngineProcess) -> tuple[Any, str | None]:
    """The switch when nothing more comes of it, and who is said to serve."""
    session = process.session
    last: dict[str, Any] = {}

    async def resting() -> Any:
        try:
            switch = await session.switch(COMPONENT)
            row = (await session.component(COMPONENT))["row"]
        except SessionError as error:
            last["error"] = str(error)
            return None
        last.update(switch=switch, row=row)
        if switch is None or switch["live"]:
            return None
        known = row["active"] is not None or SwitchState(switch["state"]) in UNDECIDED
        return (switch, row["active"]) if known else None

    def hint() -> str:
        return f"{last} {process.said}"

    found: tuple[Any, str | None] = await eventually_asked(resting, within=PATIENCE, hint=hint)
    return found
