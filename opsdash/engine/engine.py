"""The engine: one per workspace. It polls, decides through the core, acts, remembers, and tells its clients.

This module wires the parts and translates between them: observations and answers become inputs, effects become calls.
It decides nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from opsdash import __version__
from opsdash.core import views
from opsdash.core.outcomes import LIVE_STATES
from opsdash.core.planning import plan as make_plan
from opsdash.core.planning import preflight_key
from opsdash.engine import tasks
from opsdash.engine.blocks import Blocks
from opsdash.engine.calendar import Calendar, next_cron
from opsdash.engine.clock import JumpDetector, system_clock
from opsdash.engine.executor import Executor
from opsdash.engine.hub import Hub
from opsdash.engine.past import past
from opsdash.engine.poller import Poller
from opsdash.engine.recorder import Recorder
from opsdash.engine.runner import Committed, Runner
from opsdash.engine.threads import Worker
from opsdash.engine.timers import Timers
from opsdash.kinds.base import HeartbeatState
from opsdash.kinds.resolver import Resolver
from opsdash.model import inputs as i
from opsdash.model.effects import (
    Answer,
    Apply,
    CancelTimer,
    Effect,
    Poll,
    Read,
    RunBlock,
    SetTimer,
    SuspendPolling,
)
from opsdash.model.run import BlockResult, BlockState
from opsdash.model.switch import MOVES_PROVIDER, Plan, Refused, SwitchKind, SwitchState
from opsdash.model.world import Live, World
from opsdash.storage.codec import decode, decode_world, encode_world

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from opsdash.config.loader import Loaded
    from opsdash.engine.clock import Clock
    from opsdash.model.now import Now
    from opsdash.model.observation import Observation
    from opsdash.model.operation import CheckSpec, Component
    from opsdash.model.views import PlanView, Summary, Verdict
    from opsdash.storage.documents import Documents
    from opsdash.storage.history import History
    from opsdash.storage.ports import JournalPort

log = logging.getLogger(__name__)

T = TypeVar("T")

SPARK = 60
WATCH_EVERY = 1.0
"""Seconds between two looks at the clock and at checks that have gone silent."""

PREFLIGHT_EVERY = 300.0
PREFLIGHT_FRESH = 5.0
"""A plan that is asked for has its preflight tried again when the last answer is older than this many seconds."""

REMEMBERED = 1000
"""Verdicts that are remembered, so that a request which is repeated is answered and not carried out again."""

GRACE = 30.0
"""Seconds that a running action may take to end before the engine goes."""


@dataclass(frozen=True, slots=True)
class Stores:
    """Where an engine remembers: the journal, documents derived from it, and history."""

    journal: JournalPort
    documents: Documents
    history: History


class Engine:
    """An engine over a workspace that has been loaded. `start`, then `stop`; both on one event loop."""

    def __init__(
        self, *, workspace: Path, loaded: Loaded, stores: Stores, clock: Clock = system_clock, demo: bool = False
    ) -> None:
        self.workspace = workspace
        self.loaded = loaded
        self.stores = stores
        self.demo = demo
        self._clock = clock
        self._journal_worker = Worker("journal")
        self._history_worker = Worker("history")
        self._documents_worker = Worker("documents")
        self._resolver = Resolver()
        self._calendar = Calendar()
        self._answers: OrderedDict[str, asyncio.Future[Verdict]] = OrderedDict()
        self._sparks: dict[str, deque[float | None]] = {}
        self._background: list[asyncio.Task[Any]] = []
        self._switch_waiters: dict[str, list[asyncio.Future[SwitchState]]] = {}
        self._observed_waiters: dict[str, list[asyncio.Future[Observation]]] = {}
        self._jump = JumpDetector(clock())
        self._started_at = clock().wall
        self._preflights_running: set[str] = set()
        self.stopping = False
        self.runner = Runner(
            world=World(),
            live=Live(),
            clock=clock,
            journal=stores.journal,
            worker=self._journal_worker,
            perform=self._perform,
            publish=self._publish,
        )
        self.poller = Poller(
            clock=clock,
            report=self._observed,
            resolver=self._resolver,
            workspace=workspace,
            heartbeat=self._heartbeat,
            mask=self._mask,
        )
        self.executor = Executor(
            clock=clock,
            put=self.runner.put,
            resolver=self._resolver,
            workspace=workspace,
            resolve=lambda raw: self.loaded.resolve(raw),
            mask=self._mask,
        )
        self.blocks = Blocks(workspace=workspace, command=self._command, mask=self._mask)
        self.recorder = Recorder(
            history=stores.history,
            history_worker=self._history_worker,
            documents=stores.documents,
            documents_worker=self._documents_worker,
        )
        self.timers = Timers(clock, self.runner.put)
        self.hub = Hub(clock=clock, viewer=self.viewer, summary=self._summary)

    # --- life --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Replay the journal, take over what was in flight, and begin to poll. Raises JournalError."""
        replay = await self._journal_worker.call(self.stores.journal.replay)
        for notice in (*replay.notices, *replay.problems):
            log.warning("journal: %s", notice)
        if replay.checkpoint is not None:
            self.runner.world.tables = decode_world(replay.checkpoint).tables
        self.runner.replay([decode(entry.type, entry.data) for entry in replay.entries])
        self.runner.world.operation = replace(self.loaded.operation, sha256="")
        await self._checkpoint_if_due()
        self._background = [
            tasks.spawn(self.runner.run(), "runner"),
            tasks.spawn(self.hub.run(), "hub"),
            tasks.spawn(self.recorder.run(), "recorder"),
        ]
        self.runner.put(i.Started(__version__, os.getpid()))
        self._configure(self.loaded)
        await self.runner.settled()
        self.hub.refresh_all()
        self._background += [tasks.spawn(self.poller.run(), "poller"), tasks.spawn(self._watch(), "watch")]
        self._calendar.every_minute("roll-ups", self._maintain)
        self._calendar.every_day("checkpoint", self._checkpoint_if_due, hour=0, minute=0)
        self._calendar.start()

    def reload(self, loaded: Loaded) -> None:
        """Go on with other files."""
        self.loaded = loaded
        self._configure(loaded)
        self.hub.refresh_all()

    def _configure(self, loaded: Loaded) -> None:
        self.runner.put(i.Loaded(loaded.operation, len(loaded.problems)))
        self.poller.configure(loaded.operation.checks, loaded.bindings)
        for check, spec in loaded.operation.checks.items():
            if spec.passive and self.runner.world.get("heartbeats", check) is None:
                self.beat(check, "awaited")

    async def stop(self, why: str) -> None:
        """End in good order: no new action, a while for a running one, everything written."""
        self.stopping = True
        self._calendar.close()
        await self.poller.close()
        if not await self.executor.idle_within(GRACE):
            log.warning("an action was still running after %.0f s; the next start finds it in doubt", GRACE)
        self.runner.put(i.Stopping(why))
        await self.runner.settled()
        self.hub.bye(why)
        self.timers.close()
        await self.recorder.flush()
        await tasks.cancel(*self._background)
        self._resolver.close()
        await self._journal_worker.call(self.stores.journal.close)
        await self._history_worker.call(self.stores.history.close)
        for worker in (self._journal_worker, self._history_worker, self._documents_worker):
            await worker.close()

    async def _watch(self) -> None:
        """Look at the clock, at silent checks, and keep the preflights of all year fresh."""
        while True:
            await asyncio.sleep(WATCH_EVERY)
            now = self._clock()
            jump = self._jump.moved(now)
            if jump is not None:
                log.warning("the clock moved by %+.0f s", jump)
                self.runner.put(i.ClockJumped(jump))
                self.timers.clock_jumped()
            for check in views.overdue_checks(self.runner.world, self.runner.live, now):
                self.runner.put(i.Overdue(check))
            self._keep_preflights(now)

    async def _maintain(self) -> None:
        await self.recorder.maintain(self._clock().wall)

    async def _checkpoint_if_due(self) -> None:
        from datetime import UTC, datetime

        at = datetime.fromtimestamp(self._clock().wall, UTC)
        if await self._journal_worker.call(self.stores.journal.needs_checkpoint, at):
            state = encode_world(self.runner.world)
            await self._journal_worker.call(self.stores.journal.checkpoint, state, at)

    # --- from the world outside to inputs ------------------------------------------------------------------------

    def _observed(self, seen: Observation) -> None:
        spark = self._sparks.get(seen.check)
        if spark is None:
            spark = self._sparks[seen.check] = deque(maxlen=SPARK)
        spark.append(None if seen.latency is None or seen.status.value in ("down", "unknown") else seen.latency * 1e3)
        self.recorder.observed(seen)
        self.runner.put(i.Observed(seen))
        for waiter in self._observed_waiters.pop(seen.check, ()):
            if not waiter.done():
                waiter.set_result(seen)

    def _heartbeat(self, check: str) -> HeartbeatState | None:
        found = self.runner.world.get("heartbeats", check)
        if found is None:
            return None
        return HeartbeatState(found.last, found.started, found.failed, found.due, found.detail)

    def beat(self, check: str, signal: str, detail: str = "") -> bool:
        """A heartbeat's sender reports. False if there is no such heartbeat."""
        binding = self.loaded.bindings.get(check)
        spec = self.loaded.operation.checks.get(check)
        if binding is None or spec is None or not spec.passive:
            return False
        wall = self._clock().wall
        every, cron = getattr(binding.options, "every", None), getattr(binding.options, "cron", None)
        zone = getattr(binding.options, "timezone", None) or self.loaded.operation.timezone
        due = wall + every if every is not None else (next_cron(cron, zone, wall) if cron else None)
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
            case Apply():
                tasks.spawn(self.executor.apply(effect), f"apply {effect.switch}")
            case RunBlock():
                tasks.spawn(self._run_block(effect), f"run {effect.run}")
            case SuspendPolling():
                self.poller.suspend(effect.component, suspended=effect.suspended)
            case Answer():
                self._answer(effect)

    def _answer(self, answer: Answer) -> None:
        future = self._answers.get(answer.id)
        if future is not None and not future.done():
            future.set_result(
                {
                    "id": answer.id,
                    "accepted": answer.refused is None,
                    "refused": views.refused_view(answer.refused),
                    "subject": answer.subject,
                }
            )

    def _publish(self, committed: Committed) -> None:
        if committed.entries:
            self.recorder.committed((record for _, record in committed.entries), self.runner.world)
            self._wake_switch_waiters()
        self.hub.publish(committed)

    def _wake_switch_waiters(self) -> None:
        for switch_id in list(self._switch_waiters):
            switch = self.runner.world.get("switches", switch_id)
            if switch is None or switch.state not in LIVE_STATES:
                for waiter in self._switch_waiters.pop(switch_id):
                    if not waiter.done():
                        waiter.set_result(switch.state if switch else SwitchState.UNKNOWN)

    # --- what clients ask ----------------------------------------------------------------------------------------

    def now(self) -> Now:
        """The engine's clocks."""
        return self._clock()

    def viewer(self) -> views.Viewer:
        """The present state for a client."""
        return views.Viewer(self.runner.world, self.runner.live, self._clock(), self._sparks)

    def _summary(self, viewer: views.Viewer) -> Summary:
        engine = viewer.draft.engine()
        open_incidents = sum(incident.is_open for incident in self.runner.world.tables["incidents"].values())
        return {
            "title": viewer.operation.title,
            "counts": viewer.counts(),
            "features": viewer.features(essential_only=True),
            "offline": engine.offline,
            "journal_error": engine.journal_error,
            "incidents": open_incidents,
            "problems": len(self.loaded.problems),
            "uncovered": viewer.uncovered(),
            "engine_since": self._started_at,
            "version": __version__,
            "read_only": False,
            "workspace": str(self.workspace),
            "demo": self.demo,
        }

    async def submit(self, key: str, who: str, intent: i.Intent) -> Verdict:
        """Carry out an intent once; the same key again gets the same verdict."""
        future = self._answers.get(key)
        if future is None:
            if self.stopping:
                refused = Refused("stopping", "the engine is ending; nothing new is begun")
                return {"id": key, "accepted": False, "refused": views.refused_view(refused), "subject": ""}
            future = asyncio.get_running_loop().create_future()
            self._answers[key] = future
            while len(self._answers) > REMEMBERED:
                self._answers.popitem(last=False)
            self.runner.put(i.Wanted(key, who, intent))
        return await asyncio.shield(future)

    async def plan(self, component: str, kind: SwitchKind, target: str | None) -> PlanView:
        """What a switch would do; its preflight is tried again when the last answer is not fresh."""
        plan = make_plan(self.viewer().draft, component, kind, target)
        if isinstance(plan, Plan):
            await self._fresh_preflight(plan)
        return self.viewer().plan(component, kind, target, self._manual)

    def _manual(self, plan: Plan) -> tuple[str, str]:
        return self.executor.manual(plan.call), self.executor.manual(plan.undo_call)

    async def _fresh_preflight(self, plan: Plan) -> None:
        if plan.call is None:
            return
        what = plan.target if plan.kind in MOVES_PROVIDER else f"mode:{plan.target or plan.source}"
        key = preflight_key(plan.component, what)
        known = self.runner.live.get("preflights", key)
        if known is not None and self._clock().mono - known.at < PREFLIGHT_FRESH:
            return
        asked = tasks.spawn(self.executor.preflight(key, plan.call), f"preflight {key}")
        await asyncio.wait([asked], timeout=0.5)
        await self.runner.settled()

    def _keep_preflights(self, now: Now) -> None:
        """Try one preflight that has not been tried for five minutes; readiness shows what it said."""
        for component in self.runner.world.operation.components.values():
            for key, plan in self._plans_to_try(component):
                known = self.runner.live.get("preflights", key)
                if (known is None or now.mono - known.at > PREFLIGHT_EVERY) and key not in self._preflights_running:
                    self._preflights_running.add(key)
                    tasks.spawn(self._one_preflight(key, plan), f"preflight {key}")
                    return

    async def _one_preflight(self, key: str, plan: Plan) -> None:
        try:
            if plan.call is not None:
                await self.executor.preflight(key, plan.call)
        finally:
            self._preflights_running.discard(key)

    def _plans_to_try(self, component: Component) -> list[tuple[str, Plan]]:
        if component.switch is None and not component.modes:
            return []
        draft = self.viewer().draft
        wanted = [(SwitchKind.FAILOVER, each.id, each.id) for each in component.providers if component.switch]
        wanted += [(SwitchKind.DEGRADE, mode, f"mode:{mode}") for mode in component.modes]
        found = []
        for kind, target, what in wanted:
            plan = make_plan(draft, component.id, kind, target)
            if isinstance(plan, Plan):
                found.append((preflight_key(component.id, what), plan))
        return found

    async def wait_for_switch(self, switch_id: str) -> SwitchState:
        """Wait until a switch has ended, or only a person can lead it on."""
        switch = self.runner.world.get("switches", switch_id)
        if switch is not None and switch.state not in LIVE_STATES:
            state: SwitchState = switch.state
            return state
        waiter: asyncio.Future[SwitchState] = asyncio.get_running_loop().create_future()
        self._switch_waiters.setdefault(switch_id, []).append(waiter)
        return await waiter

    async def observe(self, check: str) -> Observation:
        """Run a check now, and wait for a result that was requested after this call."""
        asked = self._clock().mono
        while True:
            waiter: asyncio.Future[Observation] = asyncio.get_running_loop().create_future()
            self._observed_waiters.setdefault(check, []).append(waiter)
            self.poller.poll(check)
            seen = await waiter
            if seen.requested >= asked:
                await self.runner.settled()
                return seen

    async def journal(self, ask: Callable[[JournalPort], T]) -> T:
        """Ask the journal something, in its thread."""
        return await self._journal_worker.call(ask, self.stores.journal)

    async def history(self, component: str, checks: Sequence[CheckSpec], hours: float) -> dict[str, Any]:
        """Uptime, latency percentiles and changes over the last `hours`."""
        until = self._clock().wall
        await self.recorder.flush()
        return await self._history_worker.call(
            past, self.stores.history, component, checks, until - hours * 3600, until
        )

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
        return switches + blocks

    def _mask(self, text: str) -> str:
        return self.loaded.secrets.mask(text)

    # --- runbooks ------------------------------------------------------------------------------------------------

    async def _run_block(self, effect: RunBlock) -> None:
        runbook = self.loaded.runbooks.get(effect.runbook)
        step = runbook.step(effect.step) if runbook else None
        if runbook is None or step is None or effect.block >= len(step.blocks) or not runbook.executable:
            detail = "the runbook no longer has this block, or a problem has switched its execution off"
            result = BlockResult(effect.step, effect.block, BlockState.FAILED, 0.0, detail=detail, who=effect.who)
        else:
            result = await self.blocks.execute(effect, step.blocks[effect.block])
        self.runner.put(i.BlockDone(effect.run, result))

    async def _command(self, argv: tuple[str, ...], who: str) -> tuple[bool | None, str]:
        """One `opsdash` line of a runbook, by the same path as a key."""
        verb, *rest = argv
        options = [each for each in rest if each.startswith("-")]
        names = [each for each in rest if not each.startswith("-")]
        if verb == "check":
            return await self._command_check(names)
        kinds = {each.value: each for each in SwitchKind}
        if verb not in kinds or not names:
            return False, f"{shlex.join(argv)} is not possible in a runbook"
        target = names[1] if len(names) > 1 else None
        if "--to" in options and len(names) < 2:
            return False, "--to names a provider"
        return await self.switch_now(kinds[verb], names[0], target, who)

    async def _command_check(self, names: list[str]) -> tuple[bool | None, str]:
        check = names[0] if names else ""
        if check not in self.loaded.bindings:
            return False, f"there is no check {check!r}"
        seen = await self.observe(check)
        verdicts: Mapping[str, bool | None] = {"ok": True, "degraded": True, "unknown": None}
        return verdicts.get(seen.status.value, False), seen.detail or seen.status.value

    async def switch_now(
        self, kind: SwitchKind, component: str, target: str | None, who: str, reason: str = ""
    ) -> tuple[bool | None, str]:
        """Plan and carry out a switch whose guards all pass, and wait for its outcome."""
        view = await self.plan(component, kind, target)
        if view["refused"] is not None:
            return False, view["refused"]["reason"]
        intent = i.SwitchIntent(
            component, SwitchKind(view["kind"]), view["generation"], view["source"], view["target"], reason
        )
        verdict = await self.submit(f"{who}-{component}-{view['generation'] + 1}", who, intent)
        if verdict["refused"] is not None:
            return False, verdict["refused"]["reason"]
        state = await self.wait_for_switch(verdict["subject"])
        outcomes: Mapping[SwitchState, bool | None] = {
            SwitchState.COMMITTED: True,
            SwitchState.UNKNOWN: None,
            SwitchState.SPLIT: False,
        }
        switch = self.runner.world.get("switches", verdict["subject"])
        detail = f": {switch.detail}" if switch is not None and switch.detail else ""
        return outcomes.get(state, False), f"{state.value}{detail}"
