"""Whoever waits for something to come about: the end of a switch, or a result that is newer than the question."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from opsdash.core.outcomes import LIVE_STATES
from opsdash.errors import EngineError
from opsdash.model.switch import SwitchState

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.model.observation import Observation
    from opsdash.model.world import World


class Waiting:
    """Those who wait. world: what holds now."""

    def __init__(self, world: Callable[[], World]) -> None:
        self._world = world
        self._switches: dict[str, list[asyncio.Future[SwitchState]]] = {}
        self._results: dict[str, list[asyncio.Future[Observation]]] = {}

    async def for_switch(self, switch_id: str) -> SwitchState:
        """Wait until a switch has ended, or only a person can lead it on. Raises EngineError."""
        switch = self._world().get("switches", switch_id)
        if switch is not None and switch.state not in LIVE_STATES:
            state: SwitchState = switch.state
            return state
        waiter: asyncio.Future[SwitchState] = asyncio.get_running_loop().create_future()
        self._switches.setdefault(switch_id, []).append(waiter)
        return await waiter

    async def for_result(self, check: str, poll: Callable[[str], None], asked: float) -> Observation:
        """Poll a check until there is a result that was requested after `asked` (monotonic). Raises EngineError."""
        while True:
            waiter: asyncio.Future[Observation] = asyncio.get_running_loop().create_future()
            self._results.setdefault(check, []).append(waiter)
            poll(check)
            seen = await waiter
            if seen.requested >= asked:
                return seen

    def observed(self, seen: Observation) -> None:
        """A check has run."""
        for waiter in self._results.pop(seen.check, ()):
            if not waiter.done():
                waiter.set_result(seen)

    def look(self) -> None:
        """Something was recorded: a switch may have ended by it."""
        for switch_id in list(self._switches):
            switch = self._world().get("switches", switch_id)
            if switch is None or switch.state not in LIVE_STATES:
                for waiter in self._switches.pop(switch_id):
                    if not waiter.done():
                        waiter.set_result(switch.state if switch else SwitchState.UNKNOWN)

    def give_up(self) -> None:
        """What is waited for will not come any more: the engine is ending."""
        waiting: list[asyncio.Future[Any]] = []
        for observed in self._results.values():
            waiting += observed
        for switched in self._switches.values():
            waiting += switched
        for waiter in waiting:
            if not waiter.done():
                waiter.set_exception(EngineError("the engine is ending"))
        self._results.clear()
        self._switches.clear()
