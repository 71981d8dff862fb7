"""Drills in the engine: the guard, what it injects and undoes, the load, the dates, the lever; effects in, inputs out.

Nothing is decided here. What a record of a drill asks for is done through `engine.guards`, and what came of it is told
to the core. Whatever a guard does without being asked (its limit has come, the lever, its own death) is told, too.

A fault that nobody has verified to be gone outlives everything: it stands in the guard's folder. So undoing always has
an answer, also for a run of long ago: through the guard that is there, through a new one that is set on what the last
has left, or by saying that nothing is known.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from opsdash.core import drill_marks
from opsdash.core.drill_views import DrillViewer
from opsdash.core.reader import OPSDASH
from opsdash.engine import guardfiles, guards
from opsdash.engine.drilldates import DrillClock
from opsdash.engine.guards import ArmingError, GuardEvent, Leftover, Outcome
from opsdash.engine.lever import allow, halt, halted_by
from opsdash.engine.loads import Loads
from opsdash.engine.tasks import spawn
from opsdash.engine.undoing import manual_undo
from opsdash.kinds.base import Applied
from opsdash.kinds.offload import in_thread
from opsdash.model import inputs as i
from opsdash.model import records as r
from opsdash.model.drill import DrillState, Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from opsdash.config.loader import Loaded
    from opsdash.core.draft import Draft
    from opsdash.engine.executor import Executor
    from opsdash.engine.guards import Guard, Hands
    from opsdash.engine.runner import Runner
    from opsdash.model.drill import Drill, DrillRun, FaultLeft, Lever
    from opsdash.model.effects import ArmGuard, Inject, StartLoad, StopLoad, UndoFaults
    from opsdash.model.now import Now
    from opsdash.model.records import Record
    from opsdash.model.world import World

log = logging.getLogger(__name__)

ENDING = "the engine is ending"
GOES_ON = frozenset({DrillState.ARMING, DrillState.INJECTING, DrillState.RUNNING})
"""States in which an engine that ends has a drill stopped first."""

CHECKED = "the drill's own checks pass"
RECORDED = "the journal says that it was verified to be gone"
NO_JOURNAL = "the journal cannot be written"


class Drilling:
    """All that the engine has to do with drills.

    state: the state folder.  hands: what is injected and undone with, as the files are now.
    """

    def __init__(
        self,
        *,
        state: Path,
        hands: Callable[[], Hands],
        loaded: Callable[[], Loaded],
        runner: Runner,
        executor: Executor,
        draft: Callable[[], Draft],
    ) -> None:
        self._state = state
        self._hands = hands
        self._loaded = loaded
        self._runner = runner
        self._draft = draft
        self._guards: dict[str, Guard] = {}
        self._undoing: dict[str, asyncio.Task[None]] = {}
        self._asked: set[str] = set()
        self._left: Mapping[str, tuple[tuple[str, ...], bool]] = {}
        self._at_start: tuple[Leftover, ...] = ()
        self._changed = asyncio.Event()
        self._lever_lock = asyncio.Lock()
        self._lever_pending = 0
        self._lever_moves = 0
        self._looking_at_lever = False
        self.loads = Loads(executor, runner.put)
        self.dates = DrillClock(runner.put, runner.world)

    @property
    def _world(self) -> World:
        return self._runner.world

    # --- what clients see ------------------------------------------------------------------------------------------

    def viewer(self, draft: Draft | None = None) -> DrillViewer:
        """Drills as they are now, or in that draft."""
        runbooks = {name: runbook.sha256 for name, runbook in self._loaded().runbooks.items()}
        return DrillViewer(draft or self._draft(), by_hand, self._left, runbooks)

    @property
    def in_flight(self) -> list[str]:
        """The run that would be cut short by stopping now; what people do at a table would not be."""
        run = drill_marks.open_run(self._world)
        return [] if run is None or run.drill.level is Level.TABLETOP else [run.id]

    def guard(self, run: str) -> Guard:
        """The guard of a run. Raises KeyError where it has none (any more)."""
        return self._guards[run]

    # --- life ------------------------------------------------------------------------------------------------------

    async def look_back(self) -> None:
        """See what an earlier engine has left behind, before anything is begun: so no news of it is older than that.

        What the drill's own checks have shown to be gone is so, also where that engine did not come to write it down.
        """
        for left in await self._look_for_leftovers():
            run: DrillRun | None = self._world.get("drills", left.run)
            if run is not None and run.undone is True:
                await self._settle_now(left.run, run.undo_by, RECORDED)
        self._at_start = await self._look_for_leftovers()

    def tell_what_is_left(self) -> None:
        """Have it shown in red from the first answer on, also where its run is known and about to be undone."""
        for left in self._at_start:
            known: FaultLeft | None = self._world.get("drill_faults", left.run)
            if known is None or not known.detail:
                self._runner.put(i.FaultFound(left.run, left.drill, self._component_of(left), _found(left)))

    async def start(self) -> None:
        """Take back what was left behind, and compare the lever."""
        await self._compare_lever(starting=True)
        for left in self._at_start:
            self._undo(left.run, "it was found at the engine's start")

    def _component_of(self, left: Leftover) -> str:
        run: DrillRun | None = self._world.get("drills", left.run)
        drill = self._loaded().operation.drills.get(left.drill)
        return run.component if run is not None else "" if drill is None else drill.component

    async def close(self, within: float) -> None:
        """Have the open drill stopped and undone, for at most so many seconds; what is not undone by then its guard
        takes back by itself.
        """
        run = drill_marks.open_run(self._world)
        if run is not None and run.drill.level is not Level.TABLETOP:
            if run.state in GOES_ON:
                intent = i.StopDrillIntent(run.id, ENDING)
                self._runner.put(i.Wanted(f"{run.id}-ends", OPSDASH, intent))
            try:
                async with asyncio.timeout(within):
                    await self._until_undone(run.id)
            except TimeoutError:
                log.warning("%s is not undone after %.0f s; its guard goes on with that", run.id, within)
        self.loads.close()
        for task in list(self._undoing.values()):
            task.cancel()
        for guard in self._guards.values():
            guard.let_go()

    async def _until_undone(self, run_id: str) -> None:
        while True:
            self._changed.clear()
            run: DrillRun | None = self._world.get("drills", run_id)
            over = run is None or run.state in (DrillState.RESTORING, DrillState.ENDED)
            if over and run_id not in self._undoing:
                return
            await self._changed.wait()

    # --- effects ---------------------------------------------------------------------------------------------------

    def arm(self, effect: ArmGuard) -> None:
        """Have a guard armed; answered by `GuardArmed`."""
        spawn(self._arm(effect), f"arm the guard of {effect.run}")

    async def _arm(self, effect: ArmGuard) -> None:
        drill = effect.drill
        injections = tuple(each for each in drill.injections if each.kind != drill_marks.PRETEND)
        hands = self._hands()
        arming = guards.Arming(effect.run, drill.id, injections, drill.limit, hands.workspace)
        try:
            guard = await guards.arm(arming, self._state, hands, self._told)
        except ArmingError as error:
            self._runner.put(i.GuardArmed(effect.run, str(error)))
            return
        self._guards[effect.run] = guard
        spawn(self._watch(effect.run, guard), f"watch the guard of {effect.run}")
        self._runner.put(i.GuardArmed(effect.run))

    async def _watch(self, run: str, guard: Guard) -> None:
        """Tell what a guard did without being asked."""
        outcome = await guard.ended()
        if run not in self._asked:
            await self._answer(run, outcome)

    def _told(self, event: GuardEvent) -> None:
        log.info("guard of %s: %s%s", event.run, event.event, f": {event.detail}" if event.detail else "")
        if event.event == "gone":
            self._runner.put(i.GuardGone(event.run, event.detail))

    def inject(self, effect: Inject, *, ending: bool) -> None:
        """Have the faults made; answered by `Injected`."""
        guard = self._guards.get(effect.run)
        if guard is None or ending:
            why = ENDING if ending else "its guard is not there"
            self._runner.put(i.Injected(effect.run, f"{why}; nothing was injected"))
            return
        spawn(self._inject(effect, guard), f"inject {effect.run}")

    async def _inject(self, effect: Inject, guard: Guard) -> None:
        results = await guard.inject()
        bad = [each for each in results if each.applied is not Applied.APPLIED]
        self._runner.put(i.Injected(effect.run, (bad[-1].detail or bad[-1].applied.value) if bad else ""))

    def start_load(self, effect: StartLoad) -> None:
        """Have the load carried; answered by `LoadDone`."""
        self.loads.start(effect)

    def stop_load(self, effect: StopLoad) -> None:
        """End it."""
        self.loads.stop(effect.run)

    def undo(self, effect: UndoFaults) -> None:
        """Have whatever a run may have broken taken back; answered by `Undone`."""
        self._undo(effect.run, effect.why)

    def _undo(self, run: str, why: str) -> None:
        if run not in self._undoing:
            self._asked.add(run)
            self._undoing[run] = spawn(self._undo_now(run, why), f"undo {run}")

    async def _undo_now(self, run: str, why: str) -> None:
        try:
            await self._answer(run, await self._outcome(run, why))
        except ArmingError as error:
            await self._answer(run, Outcome(None, "engine", str(error)))
        finally:
            self._undoing.pop(run, None)
            self._changed.set()

    async def _outcome(self, run: str, why: str) -> Outcome:
        """Undo through the guard that is there; else through one that is set on what was left."""
        guard = self._guards.get(run)
        if guard is not None and not guard.is_over:
            return await guard.undo(why or "the drill is over")
        before = None if guard is None else await guard.ended()
        if before is not None and before.verified is True:
            return before
        left = next((each for each in await self._look_for_leftovers() if each.run == run), None)
        return await self._by_what_is_written(run) if left is None else await self._take_back(left, why)

    async def _take_back(self, left: Leftover, why: str) -> Outcome:
        if left.problem:
            return Outcome(None, "engine", left.problem)
        guard = await guards.take_back(left, self._hands(), self._told)
        self._guards[left.run] = guard
        await guard.ready()
        return await guard.undo(why)

    async def _by_what_is_written(self, run: str) -> Outcome:
        """What is known of a run whose guard is not there, and that has left nothing that may be broken."""
        folder = self._state / guardfiles.DRILLS / run
        written = await in_thread(("guard", folder), lambda: guardfiles.read_log(folder))
        if written:
            return Outcome(True, "guard", "by what its guard has written, nothing is broken")
        if self._world.get("drill_faults", run) is None:
            return Outcome(True, "engine", "no guard was armed, and nothing injected")
        return Outcome(None, "engine", f"what its guard has written is not there any more ({folder})")

    async def _answer(self, run: str, outcome: Outcome) -> None:
        await self._look_for_leftovers()
        by = "engine" if outcome.by == "engine" else "guard"
        known: DrillRun | None = self._world.get("drills", run)
        guard = self._guards.get(run)
        flaw = "" if guard is None or not guard.broken else await guard.flaws()
        if outcome.verified is True and (known is None or not known.is_open):
            self._guards.pop(run, None)
        self._runner.put(i.Undone(run, outcome.verified, by, outcome.detail, flaw))

    async def _look_for_leftovers(self) -> tuple[Leftover, ...]:
        found = await in_thread(("guards", self._state), lambda: guards.leftovers(self._state))
        self._left = {each.run: (each.by_hand, each.guarded) for each in found}
        return found

    # --- what is recorded ------------------------------------------------------------------------------------------

    def committed(self, records: Iterable[Record], wall: float) -> None:
        """Follow what was recorded: dates, the lever, and what is verified or stated to be gone."""
        for record in records:
            match record:
                case r.DrillStarted() | r.DrillEnded():
                    self.dates.tell(wall)
                case r.DrillAdvanced():
                    pass
                case r.DrillUndone(verified=True):
                    self._settle(record.run, record.by, record.detail or CHECKED)
                case r.DrillFaultGone():
                    self._settle(record.run, record.who, record.reason)
                case r.DrillsHalted() | r.DrillsAllowed():
                    self._move_lever()
                case _:
                    continue
            self._changed.set()

    def _settle(self, run: str, who: str, reason: str) -> None:
        spawn(self._settle_now(run, who, reason), f"settle {run}")

    async def _settle_now(self, run: str, who: str, reason: str) -> None:
        """Have it written where the next start looks, unless it says so already."""
        if any(left.run == run for left in await self._look_for_leftovers()):
            folder = self._state / guardfiles.DRILLS / run
            try:
                await in_thread(("guard", folder), lambda: guards.settle(self._state, run, who, reason))
            except OSError as error:
                log.error("%s: that the fault is gone could not be written: %s", folder, error)  # noqa: TRY400
            await self._look_for_leftovers()

    # --- the lever -------------------------------------------------------------------------------------------------

    def _move_lever(self) -> None:
        self._lever_moves += 1
        self._lever_pending += 1
        spawn(self._write_lever(), "lever")

    async def _write_lever(self) -> None:
        async with self._lever_lock:
            lever: Lever | None = self._world.get("lever", "lever")
            try:
                if lever is None:
                    await in_thread(("lever", self._state), lambda: allow(self._state))
                else:
                    await in_thread(("lever", self._state), lambda: halt(self._state, lever.who, lever.reason))
            except OSError as error:
                log.error("the lever of drills could not be moved: %s", error.strerror or error)  # noqa: TRY400
            finally:
                self._lever_pending -= 1

    async def _compare_lever(self, *, starting: bool = False) -> None:
        """Whoever halts drills without the engine leaves a file; the record follows here."""
        moves = self._lever_moves
        found = await in_thread(("lever", self._state), lambda: halted_by(self._state))
        await self._runner.written()
        if self._lever_pending or moves != self._lever_moves:
            return
        lever: Lever | None = self._world.get("lever", "lever")
        if found is not None and lever is None:
            who, reason = found
            self._runner.put(i.Wanted("lever-found", who, i.HaltDrillsIntent(reason)))
        elif found is None and lever is not None and starting:
            self._move_lever()

    # --- every second ----------------------------------------------------------------------------------------------

    def look(self, now: Now) -> None:
        """Dates, the lever, and whether what is done can still be recorded."""
        self.dates.look(now.wall)
        if self._runner.journal_error:
            for run in list(self._guards):
                self._undo_unrecorded(run)
        if self._world.operation.drills and not self._looking_at_lever:
            self._looking_at_lever = True
            spawn(self._look_at_lever(), "look at the lever")

    async def _look_at_lever(self) -> None:
        try:
            await self._compare_lever()
        finally:
            self._looking_at_lever = False

    def _undo_unrecorded(self, run: str) -> None:
        """Nothing stays broken while nothing can be recorded."""
        guard = self._guards[run]
        if guard.broken and not guard.is_over:
            self._undo(run, NO_JOURNAL)


def by_hand(drill: Drill) -> list[str]:
    """What undoes a drill's faults by hand, in the order in which that should be done."""
    return [manual_undo(each) for each in reversed(drill.injections) if each.kind != drill_marks.PRETEND]


def _found(left: Leftover) -> str:
    said = left.problem or "found at the engine's start"
    return f"{said}; by hand: {'; '.join(left.by_hand)}" if left.by_hand else said
