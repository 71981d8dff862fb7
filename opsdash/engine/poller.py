"""The poller: runs every check in its slots, and keeps the slow from harming the rest.

Slots come from a heap on the monotonic clock, with a phase hashed from the check's id, and are released in ticks of
100 ms: a jump of the wall clock or a busy second neither drops nor bunches them, and one wake-up serves many checks. A
slot that has passed is skipped and counted, never made up for.

Bulkheads: each component has a lane with its own limit, and a check has at most one run in flight; a run that is still
going at its next slot skips it. A hard deadline lies around every run, since the time limits of libraries are per
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
from typing import TYPE_CHECKING

from opsdash.kinds.base import CheckContext, HeartbeatState, Sample
from opsdash.model.observation import Observation
from opsdash.model.status import Reason, Status
from opsdash.model.text import clean
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from opsdash.config.loader import Binding
    from opsdash.engine.clock import Clock
    from opsdash.kinds.resolver import Resolver
    from opsdash.model.operation import CheckSpec

log = logging.getLogger(__name__)

TICK = 0.1
LANE = 4
"""Runs of one component that may be in flight at the same time."""

START_WITHIN = 2.0
START_WITHIN_MANY = 10.0
MANY = 500
"""At a start every check runs once within 2 s, or within 10 s if there are more than this many."""

LARGE = 64 * 1024
"""Bodies above this many bytes are judged in a thread."""

DETAIL_LIMIT = 300


@dataclass(slots=True, eq=False)
class Job:
    """One check, its next slot and what is in flight. `queued`: waits for a place in its lane."""

    spec: CheckSpec
    binding: Binding
    lane: Lane
    due: float
    task: asyncio.Task[None] | None = None
    queued: bool = False
    again: bool = False
    gone: bool = False
    not_before: float = 0.0
    previous: Sample | None = None
    skipped: int = 0


@dataclass(slots=True, eq=False)
class Lane:
    """The bulkhead of one component."""

    free: int = LANE
    waiting: deque[Job] = field(default_factory=deque)
    suspended: bool = False


@dataclass(slots=True)
class PollerStats:
    """Counters for `doctor` and the benchmarks. lateness: seconds from slot to start, of the latest runs."""

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
        self.stats = PollerStats()

    # --- what is polled ----------------------------------------------------------------------------------------

    def configure(self, checks: Mapping[str, CheckSpec], bindings: Mapping[str, Binding]) -> None:
        """Poll exactly these checks from now on. One whose definition stands keeps its slots and its streaks."""
        wanted = {check: spec for check, spec in checks.items() if check in bindings}
        for check in self._jobs.keys() - wanted.keys():
            self._drop(self._jobs.pop(check))
        now = self._clock().mono
        within = START_WITHIN if len(wanted) <= MANY else START_WITHIN_MANY
        for check, spec in wanted.items():
            job = self._jobs.get(check)
            if job is None:
                self._add(check, spec, bindings[check], now, within)
            elif job.spec.every != spec.every:
                self._drop(job)
                self._add(check, spec, bindings[check], now, within)
            else:
                job.spec, job.binding = spec, bindings[check]

    def _add(self, check: str, spec: CheckSpec, binding: Binding, now: float, within: float) -> None:
        lane = self._lanes.setdefault(spec.component, Lane())
        due = now + phase(check) * min(within, spec.every)
        job = Job(spec, binding, lane, due)
        self._jobs[check] = job
        self._push(job, due)

    def _drop(self, job: Job) -> None:
        job.gone = True
        if job.task is not None:
            job.task.cancel()

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
            asyncio.get_running_loop().call_later(after, self._extra, job)
        else:
            self._extra(job)

    def _extra(self, job: Job) -> None:
        if job.gone or job.lane.suspended or self._clock().mono < job.not_before:
            return
        if job.task is not None or job.queued:
            job.again = True
        else:
            self._start(job)

    def in_flight(self) -> int:
        """How many runs are going on."""
        return sum(job.task is not None for job in self._jobs.values())

    # --- slots -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Release slots, tick by tick, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            self.release(self._clock().mono)
            now = loop.time()
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
            job.due = following
            self._push(job, following)
            if job.lane.suspended or now < job.not_before:
                continue
            self.stats.skipped += missed
            if job.task is not None or job.queued:
                job.skipped += 1
                self.stats.skipped += 1
                continue
            self.stats.lateness.append(now - due - missed * every)
            self._start(job)

    def _start(self, job: Job) -> None:
        if job.lane.free <= 0:
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
            if not following.gone:
                self._start(following)
        if job.again and not job.gone:
            job.again = False
            self._extra(job)

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
        context = CheckContext(
            check=spec.id,
            deadline=spec.timeout,
            wall=begun.wall,
            workspace=self._workspace,
            resolver=self._resolver,
            previous=job.previous,
            heartbeat=self._heartbeat(spec.id) if spec.passive else None,
            wants_json=binding.judge.wants_json,
        )
        sample = await measure(spec, binding, context)
        job.previous = sample
        observation = await self._observation(job, sample, begun.mono)
        self.stats.runs += 1
        if not job.gone:
            self._report(observation)

    async def _observation(self, job: Job, sample: Sample, requested: float) -> Observation:
        ended = self._clock()
        judge = job.binding.judge
        if sample.values.get("size", 0) > LARGE and judge.wants_json:
            verdict, facts = await asyncio.to_thread(lambda: (judge(sample, ended.wall), judge.extract(sample.values)))
        else:
            verdict, facts = judge(sample, ended.wall), judge.extract(sample.values) if judge.facts else {}
        due = job.due
        if sample.retry_after is not None:
            wait = min(max(sample.retry_after, 0.0), max(job.spec.every, 3600.0))
            job.not_before = ended.mono + wait
            due = max(due, job.not_before)
        return Observation(
            check=job.spec.id,
            status=verdict.status,
            reason=verdict.reason,
            detail=self.mask(clean(verdict.detail, DETAIL_LIMIT)) if verdict.detail else "",
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
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        for job in self._jobs.values():
            self._drop(job)
        self._jobs.clear()
        self._heap.clear()
        await asyncio.gather(*tasks, return_exceptions=True)


async def measure(spec: CheckSpec, binding: Binding, context: CheckContext) -> Sample:
    """One run of a check under its deadline. Never raises anything but a cancellation."""
    try:
        async with asyncio.timeout(spec.timeout):
            return await binding.kind.run(binding.options, context)
    except TimeoutError:
        waiting = f", while waiting for {context.stage.replace('_', ' ')}" if context.stage else ""
        reason = Reason.DNS if context.stage == "dns" else Reason.TIMEOUT
        return Sample(Status.DOWN, reason, f"no answer within {format_duration(spec.timeout)}{waiting}")
    except Exception as error:
        log.warning("check %s: the probe itself failed", spec.id, exc_info=error)
        return Sample(Status.UNKNOWN, Reason.PROBE_ERROR, f"the probe itself failed: {type(error).__name__}: {error}")


def phase(check: str) -> float:
    """A number from 0 to 1 that spreads the checks, the same at every start."""
    return zlib.crc32(check.encode()) / 2**32


def _safe(value: object, mask: Callable[[str], str]) -> object:
    """A fact as it may be shown, stored and compared: text is cleaned and capped, structures are text."""
    if isinstance(value, bool | int | float) or value is None:
        return value
    return mask(clean(str(value), DETAIL_LIMIT))
