"""The engine: one per workspace. It polls, decides through the core, acts, remembers, and tells its clients.

This module wires the parts and translates between them: observations and answers become inputs, effects become calls.
It decides nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from opsdash import __version__
from opsdash.core import outbox, views
from opsdash.core.alarm_views import undelivered
from opsdash.core.held import keep_held
from opsdash.core.outcomes import LIVE_STATES
from opsdash.core.planning import plan as make_plan
from opsdash.core.progress import Signs, lateness
from opsdash.engine import tasks
from opsdash.engine.calendar import Calendar
from opsdash.engine.clock import JumpDetector, system_clock
from opsdash.engine.commands import Commands
from opsdash.engine.deadman import DeadManSwitch
from opsdash.engine.drilling import Drilling
from opsdash.engine.executor import Executor
from opsdash.engine.guards import Hands
from opsdash.engine.heartbeats import heartbeat_state, next_due
from opsdash.engine.held import frees, held_runbooks, with_held_runbooks, without_held_runbooks
from opsdash.engine.hub import Hub
from opsdash.engine.loopwatch import LoopWatch
from opsdash.engine.poller import TICK, Poller
from opsdash.engine.preflights import Preflights
from opsdash.engine.readiness import ReadinessKeeper
from opsdash.engine.recorder import Recorder
from opsdash.engine.runner import Committed, Runner
from opsdash.engine.running import Runs
from opsdash.engine.sender import Sender
from opsdash.engine.sheets import HOUR, MINUTE, SheetWriter, noting
from opsdash.engine.sparks import Sparks
from opsdash.engine.stores import Remembered, Threads
from opsdash.engine.timers import Timers
from opsdash.engine.verdicts import Verdicts, refusal
from opsdash.engine.waiting import Waiting
from opsdash.engine.windows import Windows
from opsdash.errors import EngineError, JournalError
from opsdash.kinds.resolver import Resolver
from opsdash.model import inputs as i
from opsdash.model.effects import (
    Answer,
    Apply,
    ArmGuard,
    CancelBlock,
    CancelTimer,
    Effect,
    Inject,
    Poll,
    Read,
    ReleaseBlock,
    RunBlock,
    Send,
    SetTimer,
    StartLoad,
    StopLoad,
    SuspendPolling,
    UndoFaults,
)
from opsdash.model.message import Delivery
from opsdash.model.records import EngineStopped
from opsdash.model.run import BlockState
from opsdash.model.status import Status
from opsdash.model.switch import Plan, Refused, SwitchKind, SwitchState
from opsdash.model.text import clean
from opsdash.model.world import Live, World
from opsdash.storage.codec import decode, decode_world, encode_world, record_name
from opsdash.storage.derived import practice_of

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence
    from pathlib import Path

    from opsdash.config.loader import Loaded
    from opsdash.engine.clock import Clock
    from opsdash.engine.stores import Stores
    from opsdash.model.now import Now
    from opsdash.model.observation import Observation
    from opsdash.model.views import PlanView, Summary, Verdict
    from opsdash.storage.entries import Entry

log = logging.getLogger(__name__)

T = TypeVar("T")

WATCH_EVERY = 1.0
"""Seconds between two looks at the clock and at checks that have gone silent."""

GRACE = 30.0
"""Seconds that a running action or block may take to end before the engine goes."""

UNDO_GRACE = 25.0
"""Seconds that a drill gets to be stopped and undone before its guard is left alone with that."""

SEND_GRACE = 2.0
"""Seconds that messages which are being sent get for that; whatever is not delivered stays in the outbox."""

STORE_WITHIN = 5.0
"""Seconds that a store may take to be closed: a dead disk holds up nobody's end."""

OBSERVE_GRACE = 10.0
"""Seconds beyond its own time limit within which a run that somebody waits for has to have come about."""

RING_LIMIT = 300
"""Characters of what a board shows when it rings."""


class Engine:
    """An engine over a workspace that has been loaded. `start`, then `stop`; both on one event loop.

    before: the workspace as the engine before had it, where the files may have changed since.  sheets: the folder of
    emergency sheets where opsdash.yaml names none; None: then they are not written.  state: the state folder, in which
    drills are armed; None: the usual one of the workspace.
    """

    def __init__(
        self,
        *,
        workspace: Path,
        loaded: Loaded,
        stores: Stores,
        before: Loaded | None = None,
        clock: Clock = system_clock,
        demo: bool = False,
        sheets: Path | None = None,
        calendar: Calendar | None = None,
        state: Path | None = None,
    ) -> None:
        self.workspace = workspace
        self.loaded = loaded
        self._known_before = before or loaded
        self.stores = stores
        self.demo = demo
        self._clock = clock
        self._threads = Threads()
        self._resolver = Resolver()
        self._calendar = calendar or Calendar()
        self._verdicts = Verdicts()
        self._sparks = Sparks()
        self._background: list[asyncio.Task[Any]] = []
        self._signs_of_life: asyncio.Task[Any] | None = None
        self._jump = JumpDetector(clock())
        self._started_at = clock().wall
        self._began = clock().mono
        self.stopping = False
        self.runner = Runner(
            world=World(),
            live=Live(),
            clock=clock,
            journal=stores.journal,
            worker=self._threads.journal,
            perform=self._perform,
            publish=self._publish,
        )
        self.poller = Poller(
            clock=clock,
            report=self._observed,
            resolver=self._resolver,
            workspace=workspace,
            heartbeat=lambda check: heartbeat_state(self.runner.world, check),
            mask=self._mask,
        )
        self.loop_watch = LoopWatch(turned=lambda: self.poller.turned, every=TICK, held=self.poller.held)
        self.dead_man = DeadManSwitch(
            clock=clock,
            settings=lambda: self.loaded.settings.dead_man,
            signs=self.signs,
            resolver=self._resolver,
            mask=self._mask,
        )
        self.executor = Executor(
            clock=clock,
            put=self.runner.put,
            resolver=self._resolver,
            workspace=workspace,
            resolve=self._resolve,
            mask=self._mask,
        )
        self.sender = Sender(
            clock=clock,
            put=self.runner.put,
            resolver=self._resolver,
            workspace=workspace,
            resolve=self._resolve,
            mask=self._mask,
            ring=self.ring,
            operation=lambda: self.runner.world.operation.title,
        )
        self._preflights = Preflights(
            clock=clock, runner=self.runner, executor=self.executor, draft=lambda: self.viewer().draft
        )
        self.drilling = Drilling(
            state=state or workspace / ".opsdash",
            hands=self._hands,
            loaded=lambda: self.loaded,
            runner=self.runner,
            executor=self.executor,
            draft=lambda: self.viewer().draft,
        )
        self._waiting = Waiting(lambda: self.runner.world)
        self._commands = Commands(self)
        self.runs = Runs(
            workspace=workspace,
            loaded=lambda: self.loaded,
            world=lambda: self.runner.world,
            put=self.runner.put,
            command=self._commands.carry_out,
            mask=self._mask,
            trust=stores.trust,
            texts=stores.texts,
            wall=lambda: self._clock().wall,
            check=lambda check: self.viewer().check(check),
        )
        self.recorder = Recorder(
            history=stores.history,
            history_worker=self._threads.history,
            documents=stores.documents,
            documents_worker=self._threads.documents,
        )
        self.remembered = Remembered(stores, self._threads, self.recorder, clock)
        self.sheets = SheetWriter(
            default=sheets,
            loaded=lambda: self.loaded,
            world=self.runner.world,
            now=lambda: clock().wall,
            tell=self._tell_of_sheets,
        )
        self.readiness = ReadinessKeeper(
            clock=clock,
            loaded=lambda: self.loaded,
            world=self.runner.world,
            live=self.runner.live,
            trust=stores.trust,
            put=self.runner.put,
        )
        self.timers = Timers(clock, self.runner.put)
        self.windows = Windows(self.runner.put)
        self.hub = Hub(clock=clock, viewer=self.viewer, summary=self._summary, stuck=lambda: self.runner.stuck)

    # --- life --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Replay the journal, take over what was in flight, and begin to poll. Raises JournalError."""
        replay = await self._threads.journal.call(self.stores.journal.replay)
        for notice in (*replay.notices, *replay.problems):
            log.warning("journal: %s", notice)
        if replay.checkpoint is not None:
            self.runner.world.tables = decode_world(replay.checkpoint).tables
        self._replay(replay.entries)
        await self._learn_practice(replay.checkpoint)
        self.runner.world.operation = replace(self._known_before.operation, sha256="")
        await self.runs.start()
        await self.drilling.look_back()
        await self._checkpoint_if_due()
        self._background = [
            tasks.spawn(self.runner.run(), "runner"),
            tasks.spawn(self.hub.run(), "hub"),
            tasks.spawn(self.recorder.run(), "recorder"),
        ]
        self.runner.put(i.Started(__version__, os.getpid()))
        self._configure(self.loaded, self._known_before)
        self.drilling.tell_what_is_left()
        self._known_before = self.loaded
        await self.runner.settled()
        if self.runner.journal_error:
            await tasks.cancel(*self._background)
            raise JournalError(self.runner.journal_error)
        await self.drilling.start()
        self.hub.refresh_all()
        self._background += [tasks.spawn(self.poller.run(), "poller"), tasks.spawn(self._watch(), "watch")]
        self._background.append(tasks.spawn(self.readiness.run(), "readiness"))
        self._signs_of_life = tasks.spawn(self.dead_man.run(), "dead man's switch")
        self.loop_watch.start()
        self._calendar.every_minute("roll-ups", self._maintain)
        self._calendar.every_day("checkpoint", self._checkpoint_if_due, hour=0, minute=0)
        self._calendar.every_day("sheets", self.sheets.write, hour=HOUR, minute=MINUTE)
        self._calendar.start()
        self.sheets.due()

    def _replay(self, entries: Sequence[Entry]) -> None:
        """Bring the world up to date, and documents where the engine before did not end in good order."""
        killed = bool(entries) and entries[-1].type != record_name(EngineStopped)
        for entry in entries:
            record = decode(entry.type, entry.data)
            self.runner.replay([record])
            if killed:
                self.recorder.replayed(record, self.runner.world)

    async def _learn_practice(self, checkpoint: Mapping[str, Any] | None) -> None:
        """After an upgrade from a version that did not keep who has done what: it still stands in the journal."""
        if checkpoint is None or "practice" in checkpoint:
            return
        journal = self.stores.journal
        learned = await self._threads.journal.call(practice_of, lambda types: journal.entries(types=types))
        self.runner.world.tables["practice"] = learned

    def reload(self, loaded: Loaded) -> None:
        """Go on with other files."""
        self._configure(loaded, self.loaded)
        self.hub.refresh_all()
        self.readiness.changed()
        self.sheets.due()

    def _tell_of_sheets(self, trouble: str) -> None:
        self.loaded = noting(self.loaded, trouble)

    def _configure(self, loaded: Loaded, before: Loaded) -> None:
        self.runs.files_change(before)
        self.loaded = with_held_runbooks(loaded, before, self.runner.world)
        operation = keep_held(self.runner.world, loaded.operation)
        self.runner.put(i.Loaded(operation, len(loaded.problems)))
        self.windows.configure(operation.windows, self._clock().wall)
        self.drilling.dates.tell(self._clock().wall)
        self.poller.configure(loaded.operation.checks, loaded.bindings)
        self._sparks.keep(loaded.operation.checks)
        for check, spec in loaded.operation.checks.items():
            if spec.passive and self.runner.world.get("heartbeats", check) is None:
                self.beat(check, "awaited")

    @property
    def held_runbooks(self) -> set[str]:
        """Runbooks that are no longer in the files, and that somebody still follows."""
        return held_runbooks(self.loaded)

    def _let_go(self, committed: Committed) -> None:
        """What was held only because it was in use goes when it is no longer."""
        free = frees(record for _, record in committed.entries)
        if free and (self.runner.world.tables["removed"] or self.held_runbooks):
            self._configure(without_held_runbooks(self.loaded), self.loaded)

    async def stop(self, why: str) -> None:
        """End in good order: no new action, a while for a running one, everything written."""
        self.stopping = True
        await tasks.cancel(self._signs_of_life)
        self._calendar.close()
        self.loop_watch.stop()
        self._waiting.give_up()
        ending = tasks.spawn(self._let_end(), "what is under way")
        await self.drilling.close(UNDO_GRACE)  # whether a fault is gone is shown by checks, so they still run
        await self.poller.close()
        await ending
        if not await self.sender.idle_within(SEND_GRACE):
            log.warning("a message was still being sent; the next start sends it again")
        self.runner.put(i.Stopping(why))
        await _within(STORE_WITHIN, self.runner.settled(), "the last records")
        self.hub.bye(why)
        self.timers.close()
        await self.sheets.close()
        await self.readiness.close()
        await _within(STORE_WITHIN, self.recorder.flush(), "the last samples and documents")
        await tasks.cancel(*self._background)
        self._resolver.close()
        await _within(STORE_WITHIN, self._threads.close(self.stores), "the end of the stores")

    async def _let_end(self) -> None:
        """Give running actions and blocks their time. A block is ended after it, with its whole process group."""
        actions = tasks.spawn(self.executor.idle_within(GRACE), "running actions")
        await asyncio.wait({actions, *self.runs.running}, timeout=GRACE + 1)
        if not actions.done() or not actions.result():
            log.warning("an action was still running after %.0f s; the next start finds it in doubt", GRACE)
        await tasks.cancel(*self.runs.running)

    async def _watch(self) -> None:
        """Look at the clock, at silent checks, and keep the preflights of all year fresh."""
        while True:
            await asyncio.sleep(WATCH_EVERY)
            try:
                self._look(self._clock())
            except Exception:
                log.exception("the clock and silent checks could not be looked at: this is a bug")

    def _look(self, now: Now) -> None:
        jump = self._jump.moved(now)
        if jump is not None:
            log.warning("the clock moved by %+.0f s", jump)
            self._sparks.clear()
            self.runner.put(i.ClockJumped(jump))
            self.timers.clock_jumped()
            self.drilling.dates.tell(now.wall)
        self.windows.look(now.wall)
        self.drilling.look(now)
        for check in views.overdue_checks(self.runner.world, self.runner.live, now):
            self.runner.put(i.Overdue(check))
        self._preflights.look(now)

    def signs(self) -> Signs:
        """What is seen of the engine at this moment, for whoever has to know whether it is at work."""
        now = self._clock()
        late, checks = lateness(self.runner.world, self.runner.live, now, self._began)
        return Signs(
            now=now.mono,
            turned=now.mono - (asyncio.get_running_loop().time() - self.poller.turned),
            decided=self.runner.decided_at,
            waiting=self.runner.waiting > 0,
            late=late,
            checks=checks,
            journal_error=self.runner.journal_error,
            journal_hangs=self.runner.stuck,
            outbox_waits=outbox.overdue(self.runner.world, now.wall),
        )

    async def _maintain(self) -> None:
        await self.recorder.maintain(self._clock().wall)

    async def _checkpoint_if_due(self) -> None:
        from datetime import UTC, datetime

        at = datetime.fromtimestamp(self._clock().wall, UTC)
        if await self._threads.journal.call(self.stores.journal.needs_checkpoint, at):
            async with self.runner.between_batches():
                state = encode_world(self.runner.world)
                await self._threads.journal.call(self.stores.journal.checkpoint, state, at)

    # --- from the world outside to inputs ------------------------------------------------------------------------

    def _observed(self, seen: Observation) -> None:
        failed = seen.status is Status.DOWN or seen.status is Status.UNKNOWN
        latency = None if seen.latency is None or failed else seen.latency * 1e3
        spec = self.loaded.operation.checks.get(seen.check)
        late = seen.due if spec is None else seen.due + 2 * spec.every
        self._sparks.add(seen.check, latency, at=seen.requested, good_until=late)
        self.recorder.observed(seen)
        self.runner.put(i.Observed(seen))
        self._waiting.observed(seen)

    def beat(self, check: str, signal: str, detail: str = "") -> bool:
        """A heartbeat's sender reports. False if there is no such heartbeat."""
        binding = self.loaded.bindings.get(check)
        spec = self.loaded.operation.checks.get(check)
        if binding is None or spec is None or not spec.passive:
            return False
        wall = self._clock().wall
        due = next_due(binding.options, self.loaded.operation.timezone, wall)
        self.runner.put(i.Beat(check, signal, due, detail))
        return True

    # --- effects -------------------------------------------------------------------------------------------------

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Poll():
                self.poller.poll(effect.check, effect.after)
            case SetTimer():
                self.timers.set(effect.key, effect.at)
            case CancelTimer():
                self.timers.cancel(effect.key)
            case Read():
                tasks.spawn(self.executor.read(effect), f"read {effect.component}")
            case Apply() if self.stopping:
                why = "the engine was ending; nothing was sent"
                self.runner.put(i.ApplyDone(effect.switch, "not_started", why, action_id=effect.action_id))
            case Apply():
                tasks.spawn(self.executor.apply(effect), f"apply {effect.switch}")
            case RunBlock():
                self.runs.begin(effect)
            case ReleaseBlock():
                self.runs.release(effect)
            case CancelBlock():
                self.runs.cancel(effect)
            case Send() if self.stopping:
                why = "the engine was ending; nothing was sent"
                self.runner.put(i.SendDone(effect.message.id, Delivery.FAILED, why))
            case Send():
                tasks.spawn(self.sender.send(effect), f"deliver {effect.message.id}")
            case SuspendPolling():
                self.poller.suspend(effect.component, suspended=effect.suspended)
            case ArmGuard():
                self.drilling.arm(effect)
            case Inject():
                self.drilling.inject(effect, ending=self.stopping)
            case UndoFaults():
                self.drilling.undo(effect)
            case StartLoad():
                self.drilling.start_load(effect)
            case StopLoad():
                self.drilling.stop_load(effect)
            case Answer():
                self._verdicts.give(effect)

    def _publish(self, committed: Committed) -> None:
        if committed.entries:
            self.recorder.committed((record for _, record in committed.entries), self.runner.world)
            self._waiting.look()
            self.drilling.committed([record for _, record in committed.entries], self._clock().wall)
            self.readiness.changed()
            self._let_go(committed)
        self.hub.publish(committed)

    # --- what clients ask ----------------------------------------------------------------------------------------

    def now(self) -> Now:
        """The engine's clocks."""
        return self._clock()

    def viewer(self) -> views.Viewer:
        """The present state for a client."""
        return views.Viewer(self.runner.world, self.runner.live, self._clock(), self._sparks)

    async def written(self) -> views.Viewer:
        """The present state for a client that may act on it: what it shows is in the journal, and outlives a kill."""
        await self.runner.written()
        return self.viewer()

    def _summary(self, viewer: views.Viewer) -> Summary:
        engine = viewer.draft.engine()
        open_incidents = sum(incident.is_open for incident in self.runner.world.tables["incidents"].values())
        return {
            "title": viewer.operation.title,
            "counts": viewer.counts(),
            "features": viewer.features(essential_only=True),
            "offline": engine.offline,
            "journal_error": engine.journal_error,
            "undelivered": undelivered(viewer.draft),
            "readiness": self.readiness.score,
            "incidents": open_incidents,
            "drills": self.drilling.viewer(viewer.draft).summary() if self._has_drills() else None,
            "problems": len(self.loaded.problems),
            "uncovered": viewer.uncovered(),
            "engine_since": self._started_at,
            "version": __version__,
            "read_only": False,
            "workspace": str(self.workspace),
            "demo": self.demo,
        }

    def _has_drills(self) -> bool:
        tables = self.runner.world.tables
        return bool(self.loaded.operation.drills or tables["drills"] or tables["drill_faults"] or tables["lever"])

    def ring(self, text: str) -> int:
        """Ring on every board that is attached; returns how many there are."""
        return self.hub.ring(self._mask(clean(text, RING_LIMIT)))

    async def submit(
        self, key: str, who: str, intent: i.Intent, session: str = "", *, repeatable: bool = False
    ) -> Verdict:
        """Carry out an intent once; the same key again gets the same verdict. What was refused may be wanted again.

        session: the terminal it comes from.  repeatable: the next engine remembers the key, too.
        """
        remembered = await self.again(key)
        if remembered is not None:
            return remembered
        if self.stopping:
            return refusal(key, Refused("stopping", "the engine is ending; nothing new is begun"))
        future = self._verdicts.expect(key)
        self.runner.put(i.Wanted(key, who, intent, session, repeatable))
        return await asyncio.shield(future)

    async def again(self, key: str) -> Verdict | None:
        """The verdict on a request that was made before, of this engine or of one before it; None if it was not."""
        future = self._verdicts.get(key)
        if future is not None:
            return await asyncio.shield(future)
        known = self.runner.world.get("requests", key)
        return None if known is None else {"id": key, "accepted": True, "refused": None, "subject": known.subject}

    async def plan(self, component: str, kind: SwitchKind, target: str | None) -> PlanView:
        """What a switch would do; its preflight is tried again when the last answer is not fresh."""
        plan = make_plan(self.viewer().draft, component, kind, target)
        if isinstance(plan, Plan):
            await self._preflights.freshen(plan)
        return self.viewer().plan(component, kind, target, self.executor.manual)

    async def wait_for_switch(self, switch_id: str) -> SwitchState:
        """Wait until a switch has ended, or only a person can lead it on."""
        return await self._waiting.for_switch(switch_id)

    async def observe(self, check: str) -> Observation:
        """Run a check now, and wait for a result that was requested after this call. Raises EngineError."""
        hindrance = self.poller.hindrance(check)
        if hindrance or self.stopping:
            raise EngineError(hindrance or "the engine is ending")
        within = self.loaded.operation.checks[check].timeout + OBSERVE_GRACE
        try:
            async with asyncio.timeout(within):
                seen = await self._waiting.for_result(check, self.poller.poll, self._clock().mono)
                await self.runner.settled()
                return seen
        except TimeoutError:
            raise EngineError(f"{check} did not come to its turn within {within:.0f} s") from None

    @property
    def in_flight(self) -> list[str]:
        """What would be cut short by stopping now."""
        world = self.runner.world
        switches = [s.id for s in world.tables["switches"].values() if s.state in LIVE_STATES]
        blocks = [
            f"{run.id} {block.step}"
            for run in world.tables["runs"].values()
            for block in run.blocks
            if block.state is BlockState.STARTED
        ]
        return switches + blocks + self.drilling.in_flight

    def _hands(self) -> Hands:
        """What drills inject and undo with."""
        return Hands(
            workspace=self.workspace,
            resolver=self._resolver,
            clock=self._clock,
            resolve=self._resolve,
            mask=self._mask,
            variables=self.loaded.settings.variables,
        )

    def _resolve(self, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """By the files as they are now: they may be read again at any time."""
        return self.loaded.resolve(raw)

    def _mask(self, text: str) -> str:
        return self.loaded.secrets.mask(text)

    async def switch_now(
        self, kind: SwitchKind, component: str, target: str | None, who: str, reason: str = ""
    ) -> tuple[bool | None, str]:
        """Plan and carry out a switch whose guards all pass, and wait for its outcome."""
        return await self._commands.switch(kind, component, target, who, reason)


async def _within(seconds: float, what: Coroutine[Any, Any, Any], name: str) -> None:
    try:
        async with asyncio.timeout(seconds):
            await what
    except TimeoutError:
        log.error("%s took longer than %.0f s; the engine ends without", name, seconds)  # noqa: TRY400 - it says all
