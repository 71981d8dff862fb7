"""The example operation as somebody on duty meets it: real services that break, an engine, keys to press.

Nothing here waits for a time to pass. The engine's stream of changes is read all the while, and whoever waits for
something looks again at each change.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import pytest

from opsdash.app import _stores
from opsdash.config.loader import load
from opsdash.core.incident_views import incident_view
from opsdash.demo.example import copy_example
from opsdash.demo.process import start
from opsdash.engine.engine import Engine
from opsdash.engine.tasks import cancel, spawn
from opsdash.errors import EngineError
from opsdash.model import inputs as i
from opsdash.model.run import BlockState
from opsdash.model.switch import SwitchKind
from opsdash.service.places import make_state_folder, places
from opsdash.storage.trust import VARIABLE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from pathlib import Path

    from opsdash.demo.process import DemoServices
    from opsdash.kinds.base import CheckOptions
    from opsdash.model.operation import CheckSpec
    from opsdash.model.run import BlockResult
    from opsdash.model.views import CheckView, IncidentView, PlanView, SwitchView, Verdict, WallRow

T = TypeVar("T")

PATIENCE = 12.0
"""Seconds in which anything in the example operation is known and told: two intervals, a retry, an old front door."""

ON_DUTY = "maria"


class Desk:
    """An engine on the example operation, its services, and what the wall has shown so far."""

    def __init__(self, engine: Engine, services: DemoServices) -> None:
        self.engine = engine
        self.services = services
        self._shown: list[WallRow] = []
        self._news = asyncio.Event()
        self._subscriber = engine.hub.subscribe()
        self._reading = spawn(self._read(), "desk")

    async def _read(self) -> None:
        while True:
            event, _, data = await self._subscriber.queue.get()
            assert event == "delta", f"the stream said {event}"
            self._shown += json.loads(data)["rows"]
            self._news.set()

    async def leave(self) -> None:
        """Stop reading the stream."""
        self.engine.hub.unsubscribe(self._subscriber)
        await cancel(self._reading)

    # --- looking -----------------------------------------------------------------------------------------------

    async def until(self, what: str, holds: Callable[[], T | None], *, within: float = PATIENCE) -> T:
        """Look again at each change until it holds; what it gave. In the end the wall as it is fails the test."""
        try:
            async with asyncio.timeout(within):
                while not (found := holds()):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pytest.fail(f"not within {within:.0f} s: {what}; what is not well: {self._not_well() or 'nothing'}")
        return found

    def row(self, component: str) -> WallRow:
        """A component on the wall."""
        row = self.engine.viewer().row(component)
        assert row is not None
        return row

    def rows(self) -> list[WallRow]:
        """The wall."""
        return [self.row(component) for component in self.engine.viewer().components()]

    def _not_well(self) -> list[dict[str, Any]]:
        return [_told(row) for row in self.rows() if not is_well(row)]

    def works(self, feature: str) -> str:
        """Whether users get a feature, named component/feature."""
        return {each["id"]: each["works"] for each in self.engine.viewer().features()}[feature]

    def check(self, check: str) -> CheckView:
        """A check."""
        return self.engine.viewer().check(check)

    def checks_of(self, variables: tuple[str, ...]) -> list[CheckSpec]:
        """The checks that look at one of these ports."""
        ports = {self.services.ports[variable] for variable in variables}
        return [each.check for each in self.engine.loaded.bindings.values() if _port(each.options) in ports]

    def age_of(self, time: Any) -> float:
        """Seconds since a time that a service has told."""
        return self.engine.now().wall - datetime.fromisoformat(time).timestamp()

    async def until_fact(self, check: str, name: str, value: str) -> None:
        """Wait until the front door says so."""
        await self.until(f"{name} of {check} is {value}", lambda: self.check(check)["facts"].get(name) == value)

    def flagged(self, component: str, failure: str) -> WallRow | None:
        """The row, if this failure mode is the one that is offered."""
        row = self.row(component)
        return row if row["failure_id"] == failure else None

    def named(self, component: str) -> list[str]:
        """The failure modes of a component that apply now."""
        register = self.engine.viewer().register()
        return [each["id"] for each in register if each["component"] == component and each["active"]]

    def incident(self, component: str) -> IncidentView:
        """The incident of a component that nobody has closed yet."""
        found = [view for view in self._not_closed() if component in view["components"]]
        assert found, f"{component} has no incident"
        return found[-1]

    def _not_closed(self) -> list[IncidentView]:
        views = map(incident_view, self.engine.runner.world.tables["incidents"].values())
        return [view for view in views if view["state"] not in ("closed", "cancelled")]

    async def recognised(self, component: str, failure: str, *, within: float = PATIENCE) -> WallRow:
        """Wait until the failure mode is named, is the one that is offered, and is in the incident."""
        what = f"{component}/{failure} is named"
        row = await self.until(what, lambda: self.flagged(component, failure), within=within)
        assert row["incident"] is not None
        incident = self.incident(component)
        named = failure if component == incident["component"] else f"{component}/{failure}"
        assert named in incident["failures"]
        return row

    @contextmanager
    def nobody_else_than(self, *components: str) -> Iterator[None]:
        """Fail if any other component changes meanwhile, for however short a time."""
        begun = len(self._shown)
        yield
        others = [row for row in self._shown[begun:] + self.rows() if row["id"] not in components]
        assert [_told(row) for row in others if not is_well(row)] == []

    # --- doing -------------------------------------------------------------------------------------------------

    def inject(self, service: str, fault: str) -> None:
        """Break a service."""
        self.services.inject(service, fault)

    async def heal(self, service: str = "all") -> None:
        """Heal a service, and look at once at what was not well: a person would press the key for that."""
        self.services.inject(service, "ok")
        for _ in range(2):
            viewer = self.engine.viewer()
            checks = (check for check in self.engine.loaded.bindings if viewer.check(check)["status"] != "ok")
            await asyncio.gather(*(self._look(check) for check in checks))

    async def _look(self, check: str) -> None:
        with suppress(EngineError):  # its target has asked not to be called for a moment
            await self.engine.observe(check)

    async def submit(self, intent: i.Intent, who: str = ON_DUTY) -> Verdict:
        """Ask the engine for something."""
        return await self.engine.submit(os.urandom(8).hex(), who, intent)

    async def plan(self, kind: SwitchKind, component: str, target: str | None = None) -> PlanView:
        """What `f`, `F` or `g` shows."""
        return await self.engine.plan(component, kind, target)

    async def until_possible(self, kind: SwitchKind, component: str) -> None:
        """Wait until no guard stands in the way."""

        def obstacles() -> list[str]:
            plan = self.engine.viewer().plan(component, kind, None, lambda *_: "")
            return [plan["refused"]["reason"]] if plan["refused"] else plan["failed"]

        await self.until(f"{kind} of {component} is possible", lambda: not obstacles())

    async def confirm(self, plan: PlanView, who: str = ON_DUTY) -> Verdict:
        """Press `y` on a plan."""
        intent = i.SwitchIntent(
            component=plan["component"],
            kind=SwitchKind(plan["kind"]),
            generation=plan["generation"],
            source=plan["source"],
            target=plan["target"],
            reason=plan["reason"],
        )
        return await self.submit(intent, who)

    async def ended(self, verdict: Verdict) -> SwitchView:
        """The switch that a verdict began, once it has ended or only a person can lead it on."""
        assert verdict["refused"] is None, verdict["refused"]
        await self.engine.wait_for_switch(verdict["subject"])
        return self.switch(verdict["subject"])

    def switch(self, switch_id: str) -> SwitchView:
        """A switch, live or past."""
        return self.engine.viewer().switch(self.engine.runner.world.get("switches", switch_id))

    def last_switch(self, component: str) -> SwitchView:
        """The last switch of a component."""
        switch = self.engine.viewer().draft.switch(component)
        assert switch is not None, f"{component} was never switched"
        return self.engine.viewer().switch(switch)

    async def carry_out(self, kind: SwitchKind, component: str, target: str | None = None) -> SwitchView:
        """A plan without obstacles, confirmed, and what became of it."""
        plan = await self.plan(kind, component, target)
        assert plan["refused"] is None, plan["refused"]
        assert plan["failed"] == [], plan["guards"]
        return await self.ended(await self.confirm(plan))

    async def lead_back(self, component: str) -> None:
        """To the primary, and out of a degraded mode."""
        row = self.row(component)
        for kind, needed in ((SwitchKind.FAILBACK, row["on_backup"]), (SwitchKind.RESTORE, row["mode"])):
            if needed:
                await self.until_possible(kind, component)
                await self.carry_out(kind, component)

    async def open_runbook(self, runbook: str, component: str, who: str = ON_DUTY) -> Follower:
        """Begin to follow a runbook."""
        sha256 = self.engine.loaded.runbooks[runbook].sha256
        verdict = await self.submit(i.OpenRunIntent(runbook, component, sha256), who)
        assert verdict["refused"] is None, verdict["refused"]
        return Follower(self, runbook, verdict["subject"], who)

    async def resolve(self, component: str) -> None:
        """Close the incident, once users are served again."""
        over = ("mitigated", "resolved")
        await self.until(f"{component} has recovered", lambda: self.incident(component)["state"] in over)
        verdict = await self.submit(i.ResolveIntent(self.incident(component)["id"], "it is over"))
        assert verdict["refused"] is None, verdict["refused"]

    async def all_is_well(self) -> None:
        """Wait until nothing is wrong anywhere."""
        await self.until("all is well", lambda: not self._not_well(), within=2 * PATIENCE)

    async def tidy_up(self) -> None:
        """Heal everything, lead back what was moved, close what was opened: for the next test."""
        await self.heal()
        for person in self.engine.viewer().people():
            if person["away"]:
                await self.submit(i.AwayIntent(person["id"], None, back=True))
        for row in self.rows():
            await self.lead_back(row["id"])
        await self.until("nothing fails", lambda: all(row["failure"] is None for row in self.rows()))
        for incident in self._not_closed():
            await self.resolve(incident["component"])
        await self.all_is_well()


class Follower:
    """Somebody who follows a runbook."""

    def __init__(self, desk: Desk, runbook: str, run: str, who: str) -> None:
        self._desk = desk
        self.who = who
        self.runbook = desk.engine.loaded.runbooks[runbook]
        self.run = run

    async def execute(self, step: str, block: int = 0, *, within: float = PATIENCE) -> BlockResult:
        """Execute a block of a step, and wait for its end."""
        found = self.runbook.step(step)
        assert found is not None, f"{self.runbook.id} has no step {step}"
        text = found.blocks[block].code
        verdict = await self._desk.submit(i.RunBlockIntent(self.run, step, block, text), self.who)
        assert verdict["refused"] is None, verdict["refused"]

        def result() -> BlockResult | None:
            run = self._desk.engine.runner.world.get("runs", self.run)
            states = {(each.step, each.block): each for each in run.blocks}
            done: BlockResult = states[step, block]
            return None if done.state is BlockState.STARTED else done

        return await self._desk.until(f"{self.runbook.id}, step {step} has ended", result, within=within)

    async def close(self) -> None:
        """Be through with it."""
        verdict = await self._desk.submit(i.EndRunIntent(self.run), self.who)
        assert verdict["refused"] is None, verdict["refused"]


def is_well(row: WallRow) -> bool:
    """Whether there is nothing to say about a component."""
    normal = not (row["failure"] or row["incident"] or row["mode"] or row["on_backup"] or row["switch"])
    return row["status"] == "ok" and row["redundancy"] in ("ready", "none") and normal


def _port(options: CheckOptions) -> int | None:
    """The port at which a check looks."""
    url = getattr(options, "url", "")
    return urlsplit(url).port if url else getattr(options, "port", None)


def _told(row: WallRow) -> dict[str, Any]:
    interesting = ("id", "status", "reason", "cause", "failure_id", "incident", "mode", "active", "redundancy")
    return {key: value for key, value in row.items() if key in interesting and value}


@asynccontextmanager
async def on_duty(
    folder: Path, prepare: Callable[[Path, DemoServices], Mapping[str, str]] | None = None
) -> AsyncIterator[Desk]:
    """Services and engine in a fresh folder, with everything well at the beginning.

    prepare: may change the workspace before it is read, and gives variables that are to be others.
    """
    workspace = folder / "operation"
    copy_example(workspace)
    with start(folder / "services") as services:
        others = prepare(workspace, services) if prepare is not None else {}
        loaded = load(workspace, {**os.environ, VARIABLE: "1", **services.environment(), **others}, time.time())
        assert loaded.errors == ()
        where = places(workspace)
        make_state_folder(where)
        engine = Engine(workspace=workspace, loaded=loaded, stores=_stores(where, loaded), demo=True)
        await engine.start()
        desk = Desk(engine, services)
        try:
            await desk.all_is_well()
            yield desk
        finally:
            await desk.leave()
            await engine.stop("the test is over")
    assert (services.state / "services.log").read_text() == ""
