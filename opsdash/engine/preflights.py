"""Preflights of all year: whether what could be switched to could be done, tried before anybody wants it.

One is tried at a time, so that none of them loads a mechanism; readiness shows what it said. A plan that somebody looks
at has its own tried again when the last answer is not fresh.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from opsdash.core.guards import preflight_key
from opsdash.core.planning import plan as make_plan
from opsdash.engine import tasks
from opsdash.model.switch import MOVES_PROVIDER, Plan, SwitchKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opsdash.core.draft import Draft
    from opsdash.engine.clock import Clock
    from opsdash.engine.executor import Executor
    from opsdash.engine.runner import Runner
    from opsdash.model.now import Now
    from opsdash.model.operation import Component

EVERY = 300.0
"""Seconds after which a preflight is tried again, all year."""

FRESH = 5.0
"""A plan that is asked for has its preflight tried again when the last answer is older than this many seconds."""

PATIENCE = 0.5
"""Seconds that a plan waits for its preflight; what is slower is shown by the next one."""


class Preflights:
    """Tries the preflights of one engine. draft: the present state, to plan with."""

    def __init__(self, *, clock: Clock, runner: Runner, executor: Executor, draft: Callable[[], Draft]) -> None:
        self._clock = clock
        self._runner = runner
        self._executor = executor
        self._draft = draft
        self._running: dict[str, tuple[Plan, asyncio.Task[None]]] = {}

    async def freshen(self, plan: Plan) -> None:
        """Try the preflight of a plan that somebody is to see, unless its last answer is fresh."""
        if plan.call is None:
            return
        what = plan.target if plan.kind in MOVES_PROVIDER else f"mode:{plan.target or plan.source}"
        key = preflight_key(plan.component, what)
        known = self._runner.live.get("preflights", key)
        if known is not None and self._clock().mono - known.at < FRESH:
            return
        await asyncio.wait([self._under_way(key, plan) or self._begin(key, plan)], timeout=PATIENCE)
        await self._runner.settled()

    def look(self, now: Now) -> None:
        """Try one preflight that has not been tried for five minutes."""
        for component in self._runner.world.operation.components.values():
            if component.switch is None and not component.modes:
                continue
            for key, kind, target in self._of(component):
                known = self._runner.live.get("preflights", key)
                if key in self._running or (known and now.mono - known.at <= EVERY):
                    continue
                plan = make_plan(self._draft(), component.id, kind, target)
                if isinstance(plan, Plan):
                    self._begin(key, plan)
                    return

    def _under_way(self, key: str, plan: Plan) -> asyncio.Task[None] | None:
        """The same, being tried: whoever looks at a plan makes it anew every second, and a mechanism may be slow."""
        other, task = self._running.get(key, (None, None))
        return task if other is not None and (other.call, other.expected) == (plan.call, plan.expected) else None

    def _begin(self, key: str, plan: Plan) -> asyncio.Task[None]:
        task = tasks.spawn(self._try(key, plan), f"preflight {key}")
        self._running[key] = plan, task
        return task

    async def _try(self, key: str, plan: Plan) -> None:
        try:
            if plan.call is not None:
                await self._executor.preflight(key, plan.call, plan.expected)
        finally:
            if self._running.get(key, (None,))[0] is plan:
                del self._running[key]

    def _of(self, component: Component) -> Iterator[tuple[str, SwitchKind, str]]:
        """What could be switched to: the key of its preflight, and how to plan it."""
        if component.switch is not None:
            state = self._runner.world.get("components", component.id)
            for provider in component.providers:
                if state is None or provider.id != state.active:
                    yield preflight_key(component.id, provider.id), SwitchKind.FAILOVER, provider.id
        for mode in component.modes:
            yield preflight_key(component.id, f"mode:{mode}"), SwitchKind.DEGRADE, mode
