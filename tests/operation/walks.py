"""Following a runbook as a person does: through the engine's own interface, step by step, where each step leads.

A walk begins at the first step. A step that does not go as it should leads to where **If this fails:** points, any
other to where **Then:** points, or to the next one. What a person mends with their hands (a `systemctl restart`, a
vendor that has come back) is a fault that is healed at the step that says so.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opsdash.model.run import BlockState
from opsdash.model.runbook import Role
from opsdash.model.switch import SwitchKind
from opsdash.service.client import EngineSession
from opsdash.service.places import places
from opsdash.service.server import Service
from tests.operation.desk import ON_DUTY, PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from opsdash.model.runbook import Block, Runbook, Step
    from opsdash.model.views import BlockView, RunView
    from tests.operation.desk import Desk

LONG = 45.0
"""Seconds in which any block of the example comes to its end."""

PASSED, FAILED, UNKNOWN = BlockState.PASSED.value, BlockState.FAILED.value, BlockState.UNKNOWN.value


@dataclass(frozen=True)
class Walk:
    """One way through a runbook.

    faults: services and what is wrong with them, before anything else.  failure: as it is named then; away: who is.
    fails: steps that do not go as they should.  mended: the step at which a person has mended it, "" where nothing is
    mended before the end.  blocks: results by step and number, where they are others than usual: all pass, but an undo
    while the fault lasts is refused, since it would lead back into the failure.
    works: features that users have in the end.  mode, active: what is in force then, None for normal and the primary.
    who: follows it.
    """

    runbook: str
    failure: str
    works: tuple[str, ...]
    faults: tuple[tuple[str, str], ...] = ()
    away: str = ""
    fails: frozenset[str] = frozenset()
    mended: str = ""
    blocks: Mapping[tuple[str, int], str] = field(default_factory=dict)
    mode: str | None = None
    active: str | None = None
    who: str = ON_DUTY

    @property
    def component(self) -> str:
        """Whose failure it is."""
        return self.failure.partition("/")[0]


@asynccontextmanager
async def served(desk: Desk, *people: str) -> AsyncIterator[Mapping[str, EngineSession]]:
    """The desk's engine behind its socket, and a client of each of these people."""
    where = places(desk.engine.workspace)
    service = Service(desk.engine, where, lambda _why: None)
    await service.start()
    sessions = {person: EngineSession(where, claim=person) for person in people}
    try:
        yield sessions
    finally:
        for session in sessions.values():
            await session.close()
        await service.close()


def steps_of(runbook: Runbook, walk: Walk) -> list[Step]:
    """The steps that a walk comes to, in order."""
    found: list[Step] = []
    step: Step | None = runbook.steps[0]
    while step is not None and step not in found:
        found.append(step)
        step = _next(runbook, step, failed=step.id in walk.fails)
    return found


def _next(runbook: Runbook, step: Step, *, failed: bool) -> Step | None:
    """Where a step leads; None where that is the end, or another runbook."""
    target = step.if_fails if failed else step.then
    if failed and target is None:
        raise AssertionError(f"{runbook.id}: {step.id} does not say what to do when it fails")
    if target is not None:
        return runbook.step(target.removeprefix("#")) if target.startswith("#") else None
    following = runbook.steps.index(step) + 1
    return runbook.steps[following] if following < len(runbook.steps) else None


class Walker:
    """Somebody on a walk."""

    def __init__(self, desk: Desk, session: EngineSession, walk: Walk) -> None:
        self._desk = desk
        self._session = session
        self._walk = walk
        self._runbook = desk.engine.loaded.runbooks[walk.runbook]
        self._run = ""
        self.executed: set[tuple[str, str, int]] = set()

    async def go(self) -> None:
        """From the fault to the end: what the runbook promises has to hold then."""
        await self._recognise()
        opened = {"runbook": self._runbook.id, "component": self._walk.component}
        self._run = await self._submit("open_run", **opened)
        way = steps_of(self._runbook, self._walk)
        for step in way:
            if step.id == self._walk.mended:
                await self._mend()
            await self._do(step)
        await self._tick_what_is_left({step.id for step in way})
        await self._look_at_the_end()

    async def _recognise(self) -> None:
        component, failure = self._walk.failure.split("/")
        what = f"{self._walk.failure} is named"
        await self._desk.until(what, lambda: failure in self._desk.named(component), within=2 * PATIENCE)

    async def _mend(self) -> None:
        for service, _ in self._walk.faults:
            await self._desk.heal(service)
        failure = self._walk.failure.partition("/")[2]
        what = f"{self._walk.failure} is over"
        await self._desk.until(what, lambda: failure not in self._desk.named(self._walk.component), within=2 * PATIENCE)

    async def _do(self, step: Step) -> None:
        for number in range(len(step.ticks)):
            await self._submit("tick", step=step.id, tick=number, done=True)
        for number, block in enumerate(step.blocks):
            await self._execute(step, number, block)
            if block.role is Role.UNDO and self._wanted(step, number, block) == PASSED:
                await self._execute(step, number - 1, step.blocks[number - 1])  # what was undone, once more
        await self._submit("mark_step", step=step.id, mark="failed" if step.id in self._walk.fails else "done")

    async def _execute(self, step: Step, number: int, block: Block) -> None:
        for command in block.commands:
            if command.argv[0] in {SwitchKind.FAILBACK.value, SwitchKind.RESTORE.value} and self._is_mended(step):
                await self._desk.until_possible(SwitchKind(command.argv[0]), command.argv[1])
        typed = {"typed": self._walk.component} if block.danger or step.danger else {}
        await self._submit("run_block", step=step.id, block=number, **typed)
        found = await self._ended(step, number)
        wanted = self._wanted(step, number, block)
        where = f"{self._runbook.id}, {step.id}, block {number}"
        assert found["state"] == wanted, f"{where}: {found['state']}: {found['detail']}: {found['output']}"
        self.executed.add((self._runbook.id, step.id, number))

    def _wanted(self, step: Step, number: int, block: Block) -> str:
        lasts = bool(self._walk.faults) and not self._is_mended(step)
        return self._walk.blocks.get((step.id, number), FAILED if block.role is Role.UNDO and lasts else PASSED)

    def _is_mended(self, step: Step) -> bool:
        way = [each.id for each in steps_of(self._runbook, self._walk)]
        return self._walk.mended in way and way.index(step.id) >= way.index(self._walk.mended)

    async def _ended(self, step: Step, number: int) -> BlockView:
        def is_over() -> bool:
            run = self._desk.engine.runner.world.get("runs", self._run)
            states = {(each.step, each.block): each.state for each in run.blocks}
            return states.get((step.id, number), BlockState.STARTED) is not BlockState.STARTED

        await self._desk.until(f"{self._runbook.id}, step {step.id} has ended", is_over, within=LONG)
        view = await self._view()
        return next(each for each in view["steps"] if each["id"] == step.id)["blocks"][number]

    async def _tick_what_is_left(self, walked: set[str]) -> None:
        """Steps that were not needed are looked at, too, and the run is closed with every tick set."""
        for step in self._runbook.steps:
            if step.id not in walked:
                for number in range(len(step.ticks)):
                    await self._submit("tick", step=step.id, tick=number, done=True)
                await self._submit("mark_step", step=step.id, mark="skipped")
        view = await self._view()
        assert all(done for step in view["steps"] for _, done in step["ticks"])
        assert all(step["mark"] for step in view["steps"])
        await self._submit("end_run")

    async def _look_at_the_end(self) -> None:
        desk, walk = self._desk, self._walk

        def holds() -> bool:
            row = desk.row(walk.component)
            active = walk.active or row["primary"]
            served = (row["mode"], row["active"]) == (walk.mode, active)
            return served and all(desk.works(feature) == "yes" for feature in walk.works)

        await desk.until(f"what {self._runbook.id} promises holds", holds, within=2 * PATIENCE)

    async def _view(self) -> RunView:
        return await self._session.runbook(self._runbook.id, self._walk.component)

    async def _submit(self, intent: str, **given: object) -> str:
        arguments = given if intent == "open_run" else {"run": self._run, **given}
        verdict = await self._session.submit(intent, arguments)
        where = f"{self._runbook.id}, {given.get('step', '')}, {intent}"
        assert verdict["refused"] is None, f"{where}: {verdict['refused']}"
        return verdict["subject"]
