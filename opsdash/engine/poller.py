"""The poller: runs every check in its slots, and keeps the slow from harming the rest.

Slots come from a heap on the monotonic clock, with a phase hashed from the check's id, and are released in ticks of
100 ms: a jump of the wall clock or a busy second neither drops nor bunches them, and one wake-up serves many checks. A
slot that has passed is skipped and counted, never made up for.

Bulkheads: each component has a lane with its own limit, and a check has at most one run in flight; a run that is still
going at its next slot skips it. What somebody waits for (a switch that is being verified, a person) finds room in a
lane that hanging checks have filled. A hard deadline lies around every run, since the time limits of libraries are per
operation, and a server that drips one byte at a time never trips them. Whatever a kind did not foresee becomes
`unknown` (`probe_error`), never `down`.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
import zlib
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opsdash.engine import tasks
from opsdash.engine.isolation import Isolation
from opsdash.engine.loopwatch import running_check
from opsdash.engine.measuring import measure, probe_error
from opsdash.kinds.base import CheckContext, HeartbeatState, Sample
from opsdash.kinds.expectations import Verdict
from opsdash.kinds.keeping import Keep
from opsdash.model.observation import Observation
from opsdash.model.text import clean
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from opsdash.config.loader import Binding
    from opsdash.engine.clock import Clock
    from opsdash.engine.loopwatch import Held
    from opsdash.kinds.expectations import Judge
    from opsdash.kinds.resolver import Resolver
    from opsdash.model.now import Now
    from opsdash.model.operation import CheckSpec

log = logging.getLogger(__name__)

TICK = 0.1
LANE = 4
"""Runs of one component that may be in flight at the same time."""

RESERVED = 2
"""More of them, for runs that somebody waits for."""

SOON = 1.0
"""Somebody waits for a run that is wanted within this many seconds; a retry is wanted later."""

START_WITHIN = 2.0
START_WITHIN_MANY = 10.0
MANY = 500
"""At a start every check runs once within 2 s, or within 10 s if there are more than this many."""

LARGE = 64 * 1024
"""Bodies above this many bytes are judged in a thread."""

DETAIL_LIMIT = 300


@dataclass(slots=True, eq=False)
class Job:
    """One check, its next slot and what is in flight.

    slot: that of the run which has been released and has not begun.  aligned: first of its regular slots, until the
    first run has been released.  queued: waits for a place in its lane.
    stale: the definition has changed since the run in flight began.  problem: of the probe itself, as logged last.
    keep: the connection that the check keeps from run to run, if its author wants that.
    """

    spec: CheckSpec
    binding: Binding
    lane: Lane
    due: float
    slot: float | None = None
    aligned: float | None = None
    task: asyncio.Task[None] | None = None
    queued: bool = False
    again: bool = False
    gone: bool = False
    stale: bool = False
    problem: str = ""
    not_before: float = 0.0
    previous: Sample | None = None
    keep: Keep = field(default_factory=Keep)
    skipped: int = 0


@dataclass(slots=True, eq=False)
class Lane:
    """The bulkhead of one component."""

    free: int = LANE
    waiting: deque[Job] = field(default_factory=deque)
    suspended: bool = False


@dataclass(slots=True)
class PollerStats:
    """Counters for `doctor` and the benchmarks. lateness: seconds from slot to start of the latest runs, the wait for
    a place in the lane included.
    """

    runs: int = 0
    skipped: int = 0
    lateness: deque[float] = field(default_factory=lambda: deque(maxlen=20_000))


class Poller:
    """Runs the checks of an operation until it is closed. `report` gets every observation, on the loop."""

    def __init__(
        self,
        *,
        clock: Clock,
        report: Callable[[Observation], None],
        resolver: Resolver,
        workspace: Path,
        heartbeat: Callable[[str], HeartbeatState | None],
        mask: Callable[[str], str],
    ) -> None:
        self._clock = clock
        self._report = report
        self._resolver = resolver
        self._workspace = workspace
        self._heartbeat = heartbeat
        self.mask = mask
        self._jobs: dict[str, Job] = {}
        self._lanes: dict[str, Lane] = {}
        self._heap: list[tuple[float, int, Job]] = []
        self._sequence = 0
        self._closing: set[asyncio.Task[None]] = set()
        self.stats = PollerStats()
        self.isolation = Isolation(workspace)
        self.turned = 0.0
        """When the loop last came round to the slots, by its own clock."""

    # --- what is polled ----------------------------------------------------------------------------------------

    def configure(self, checks: Mapping[str, CheckSpec], bindings: Mapping[str, Binding]) -> None:
        """Poll exactly these checks from now on. One whose definition stands keeps its slots and its streaks."""
        wanted = {check: spec for check, spec in checks.items() if check in bindings}
        for check in self._jobs.keys() - wanted.keys():
            self._drop(self._jobs.pop(check))
            self.isolation.forget(check)
        now = self._clock().mono
        within = START_WITHIN if len(wanted) <= MANY else START_WITHIN_MANY
        for check, spec in wanted.items():
            job = self._jobs.get(check)
            if job is not None and job.spec != spec:
                self.isolation.forget(check)
            if job is None:
                self._add(check, spec, bindings[check], now, within)
            elif job.spec.every != spec.every:
                self._drop(job)
                self._add(check, spec, bindings[check], now, within)
            else:
                if job.spec != spec:
                    job.previous, job.not_before, job.stale = None, 0.0, job.task is not None
                if not job.binding.options.asks_the_same(bindings[check].options):
                    self._let_go(job)
                job.spec, job.binding = spec, bindings[check]

    def _add(self, check: str, spec: CheckSpec, binding: Binding, now: float, within: float) -> None:
        lane = self._lanes.setdefault(spec.component, Lane())
        share = phase(check)
        due = now + share * min(within, spec.every)
        job = Job(spec, binding, lane, due, aligned=now + share * spec.every)
        self._jobs[check] = job
        self._push(job, due)

    def _drop(self, job: Job) -> None:
        job.gone = True
        if job.task is not None:
            job.task.cancel()
        self._let_go(job)

    def _let_go(self, job: Job) -> None:
        """Close what the check keeps. A run in flight has taken it, and will not be able to put it back."""
        kept, job.keep = job.keep.close(), Keep()
        if kept is not None:
            closing = tasks.spawn(kept.aclose(), f"close {job.spec.id}")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _push(self, job: Job, due: float) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (due, self._sequence, job))

    def suspend(self, component: str, *, suspended: bool) -> None:
        """Stop or resume the slots of a component; what is in flight ends by itself."""
        self._lanes.setdefault(component, Lane()).suspended = suspended

    def poll(self, check: str, after: float = 0.0) -> None:
        """Run a check `after` seconds from now, in addition to its slots."""
        job = self._jobs.get(check)
        if job is None:
            return
        if after > 0:
            asyncio.get_running_loop().call_later(after, self._extra, job, after < SOON)
        else:
            self._extra(job, waited_for=True)

    def hindrance(self, check: str) -> str:
        """Why a check cannot be run now, "" if it can."""
        job = self._jobs.get(check)
        if job is None:
            return f"there is no check {check!r}"
        if job.lane.suspended:
            return f"{job.spec.component} is paused"
        wait = job.not_before - self._clock().mono
        if wait > 0:
            return f"the target of {check} asked not to be called again for {format_duration(wait)}"
        return ""

    def _extra(self, job: Job, waited_for: bool = False) -> None:
        if job.gone or job.lane.suspended or self._clock().mono < job.not_before:
            return
        if job.task is not None:
            job.again = True
        elif not job.queued or (waited_for and self._leave_queue(job)):
            self._start(job, RESERVED if waited_for else 0)

    def _leave_queue(self, job: Job) -> bool:
        """Take a run that waits for its lane out of the line, if there is reserved room for it."""
        if job.lane.free <= -RESERVED:
            return False
        job.lane.waiting.remove(job)
        job.queued = False
        return True

    def held(self, held: Held) -> None:
        """A check held up the loop."""
        if held.check in self._jobs:
            self.isolation.note(held)

    def in_flight(self) -> int:
        """How many runs are going on."""
        return sum(job.task is not None for job in self._jobs.values())

    # --- slots -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Release slots, tick by tick, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            self.release(self._clock().mono)
            self.turned = now = loop.time()
            await asyncio.sleep(TICK - math.fmod(now, TICK) + 0.0005)

    def release(self, now: float) -> None:
        """Start everything that is due."""
        while self._heap and self._heap[0][0] <= now:
            due, _, job = heapq.heappop(self._heap)
            if job.gone:
                continue
            every = job.spec.every
            missed = int((now - due) // every)
            following = due + every * (missed + 1)
            if job.aligned is not None:
                following, job.aligned = self._first_regular(job, now), None
            job.due = following
            self._push(job, following)
            if job.lane.suspended or now < job.not_before:
                continue
            self.stats.skipped += missed
            if job.task is not None or job.queued:
                job.skipped += 1
                self.stats.skipped += 1
                continue
            job.slot = due + missed * every
            self._start(job)

    @staticmethod
    def _first_regular(job: Job, now: float) -> float:
        """From the slot of the start, which all checks share, to the check's own in its interval."""
        assert job.aligned is not None  # noqa: S101 - asked once, by the caller
        every = job.spec.every
        slots = math.ceil((now + every / 4 - job.aligned) / every)
        return job.aligned + max(0, slots) * every

    def _start(self, job: Job, reserved: int = 0) -> None:
        if job.lane.free <= -reserved:
            job.queued = True
            job.lane.waiting.append(job)
            return
        job.lane.free -= 1
        job.task = asyncio.get_running_loop().create_task(self._run(job))

    def _ended(self, job: Job) -> None:
        job.task = None
        job.lane.free += 1
        while job.lane.waiting and job.lane.free > 0:
            following = job.lane.waiting.popleft()
            following.queued = False
            if not following.gone and not following.lane.suspended:
                self._start(following)
        if job.again and not job.gone:
            job.again = False
            self._extra(job, waited_for=True)

    # --- one run -----------------------------------------------------------------------------------------------

    async def _run(self, job: Job) -> None:
        try:
            await self._measure(job)
        except asyncio.CancelledError:
            if not job.gone:
                raise
        except Exception:
            log.exception("the result of %s could not be reported", job.spec.id)
        finally:
            self._ended(job)

    async def _measure(self, job: Job) -> None:
        spec, binding = job.spec, job.binding
        begun = self._clock()
        if job.slot is not None:
            self.stats.lateness.append(begun.mono - job.slot)
            job.slot = None
        context = CheckContext(
            check=spec.id,
            deadline=spec.timeout,
            wall=begun.wall,
            workspace=self._workspace,
            resolver=self._resolver,
            previous=job.previous,
            heartbeat=self._heartbeat(spec.id) if spec.passive else None,
            keep=job.keep,
            wants_json=binding.judge.wants_json,
        )
        job.stale = False
        sample = await self._sample(job, binding, context)
        ended = self._clock()
        try:
            verdict, facts = await _judged(binding.judge, sample, ended.wall)
        except Exception as error:  # noqa: BLE001 - the kind's values were not what the author's expressions expect
            self._probe_failed(job, error)
            sample = probe_error(error)
            verdict, facts = Verdict(sample.status, sample.reason, sample.detail), {}
        self.stats.runs += 1
        if job.stale:
            job.again = True
        elif not job.gone:
            job.previous = sample.without_values()
            self._report(self._observation(job, sample, verdict, facts, requested=begun.mono, ended=ended))

    async def _sample(self, job: Job, binding: Binding, context: CheckContext) -> Sample:
        """One run of the kind, in the check's own process if it has one."""
        elsewhere = await self.isolation.measure(binding, context, lambda told: self._probe_failed_there(job, told))
        if elsewhere is not None:
            return elsewhere
        token = running_check.set(context.check)
        try:
            return await measure(binding.kind, binding.options, context, lambda error: self._probe_failed(job, error))
        finally:
            running_check.reset(token)

    def _probe_failed(self, job: Job, error: Exception) -> None:
        """Log what a kind did not foresee, once until it is something else."""
        problem = f"{type(error).__name__}: {error}"
        if problem != job.problem:
            job.problem = problem
            log.warning("check %s: the probe itself failed", job.spec.id, exc_info=error)

    def _probe_failed_there(self, job: Job, told: str) -> None:
        """The same, of a process of its own, which tells it in words."""
        if told != job.problem and not job.stale and not job.gone:
            job.problem = told
            log.warning("check %s: the probe itself failed, in its own process: %s", job.spec.id, told)

    def _observation(
        self, job: Job, sample: Sample, verdict: Verdict, facts: Mapping[str, Any], *, requested: float, ended: Now
    ) -> Observation:
        due = job.due
        if sample.retry_after is not None:
            wait = min(max(sample.retry_after, 0.0), max(job.spec.every, 3600.0))
            job.not_before = ended.mono + wait
            due = max(due, job.not_before)
        return Observation(
            check=job.spec.id,
            status=verdict.status,
            reason=verdict.reason,
            detail=shown(verdict.detail, self.mask, DETAIL_LIMIT),
            latency=sample.latency,
            requested=requested,
            finished=ended.mono,
            at=ended.wall,
            due=due,
            facts={name: _safe(value, self.mask) for name, value in facts.items()} if facts else {},
            phases=sample.phases,
            retry_after=sample.retry_after,
        )

    async def close(self) -> None:
        """End every run and every slot."""
        runs = [job.task for job in self._jobs.values() if job.task is not None]
        for job in self._jobs.values():
            self._drop(job)
        self._jobs.clear()
        self._heap.clear()
        await asyncio.gather(*runs, *self._closing, return_exceptions=True)
        await self.isolation.close()


async def _judged(judge: Judge, sample: Sample, wall: float) -> tuple[Verdict, Mapping[str, Any]]:
    """The author's expectations applied to a sample, and the facts in it; in a thread where that may take long."""
    if judge.wants_json and sample.values.get("size", 0) > LARGE:
        return await asyncio.to_thread(lambda: (judge(sample, wall), judge.extract(sample.values)))
    return judge(sample, wall), judge.extract(sample.values) if judge.facts else {}


def phase(check: str) -> float:
    """A number from 0 to 1 that spreads the checks, the same at every start."""
    return zlib.crc32(check.encode()) / 2**32


def _safe(value: object, mask: Callable[[str], str]) -> object:
    """A fact as it may be shown, stored and compared: text is cleaned and capped, structures are text."""
    if isinstance(value, bool | int) or value is None or (isinstance(value, float) and math.isfinite(value)):
        return value
    return shown(str(value), mask, DETAIL_LIMIT)


def shown(text: str, mask: Callable[[str], str], limit: int) -> str:
    """Text from outside, without secrets, made harmless, and capped.

    It is masked before it is cleaned and cut, since half a secret is no longer found, and once more after it, since
    cleaning may put one together again that came with a control sequence in its middle.
    """
    return mask(clean(mask(text), limit)) if text else ""
