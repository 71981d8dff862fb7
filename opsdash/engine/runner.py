"""The runner: decide, append, evolve; one input after the other.

It owns the world. Inputs come in by `put`; the records that follow from them are written to the journal and fsynced
before anything else happens: effects, answers and what clients see all wait for it. While one batch is being written,
inputs gather, and the next batch commits them together.

When the journal cannot be written, nothing of the batch has happened: the changes are taken back, no effect runs, and
whoever waits for an answer is told why.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from opsdash.core.decide import decide
from opsdash.core.evolve import evolve
from opsdash.errors import JournalError
from opsdash.model.effects import Answer, Effect
from opsdash.model.inputs import Input, JournalState, Loaded
from opsdash.model.switch import Refused
from opsdash.storage.codec import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opsdash.core.draft import Decision
    from opsdash.engine.clock import Clock
    from opsdash.engine.threads import Worker
    from opsdash.model.records import Record
    from opsdash.model.world import Live, Patch, World
    from opsdash.storage.entries import Entry
    from opsdash.storage.ports import JournalPort

log = logging.getLogger(__name__)

BATCH = 256
"""Inputs that are committed together at most."""


@dataclass(slots=True)
class Committed:
    """What one batch came to: journal entries with their records, and the components that look different now."""

    entries: list[tuple[Entry, Record]] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Batch:
    records: list[Record] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)
    undo: list[Callable[[], None]] = field(default_factory=list)


class Runner:
    """Owns world and live. `perform` carries out an effect, `publish` tells clients; both are called on the loop."""

    def __init__(
        self,
        *,
        world: World,
        live: Live,
        clock: Clock,
        journal: JournalPort,
        worker: Worker,
        perform: Callable[[Effect], None],
        publish: Callable[[Committed], None],
    ) -> None:
        self.world = world
        self.live = live
        self._clock = clock
        self._journal = journal
        self._worker = worker
        self._perform = perform
        self._publish = publish
        self._inputs: deque[Input] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._journal_error = ""
        self.decisions = 0

    def put(self, event: Input) -> None:
        """Decide about `event` as soon as its turn comes."""
        self._inputs.append(event)
        self._idle.clear()
        self._wake.set()

    async def settled(self) -> None:
        """Wait until everything that was put in has been decided and written."""
        await self._idle.wait()

    async def run(self) -> None:
        """Decide, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._inputs:
                await self.step()
            self._idle.set()

    async def step(self) -> None:
        """Decide about what has come in, write it down, then let it happen."""
        batch = self._decide_some()
        if batch.records and not await self._commit(batch):
            return
        for effect in batch.effects:
            self._perform(effect)

    def _decide_some(self) -> _Batch:
        batch = _Batch()
        for _ in range(min(BATCH, len(self._inputs))):
            event = self._inputs.popleft()
            try:
                decision = decide(self.world, self.live, event, self._clock())
            except Exception:
                log.exception("no decision about %s: this is a bug", type(event).__name__)
                continue
            self.decisions += 1
            self._take(batch, event, decision)
        if not batch.records and batch.touched:
            self._publish(Committed(touched=batch.touched))
        return batch

    def _take(self, batch: _Batch, event: Input, decision: Decision) -> None:
        if isinstance(event, Loaded):
            before = self.world.operation
            batch.undo.append(lambda: setattr(self.world, "operation", before))
            self.world.operation = event.operation
        for record in decision.records:
            self._apply(batch, self.world.tables, evolve(self.world, record))
        self._apply(batch, self.live.tables, decision.live_patch)
        batch.records += decision.records
        batch.effects += decision.effects
        batch.touched |= decision.touched

    @staticmethod
    def _apply(batch: _Batch, tables: dict[str, dict[str, Any]], patch: Patch) -> None:
        for table, key, value in patch:
            rows = tables[table]
            batch.undo.append(_restore(rows, key, rows.get(key)))
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value

    async def _commit(self, batch: _Batch) -> bool:
        encoded = [encode(record) for record in batch.records]
        at = datetime.fromtimestamp(self._clock().wall, UTC)
        try:
            entries = await self._worker.call(self._journal.append, encoded, at)
        except JournalError as error:
            self._failed(batch, error)
            return False
        if self._journal_error:
            self._journal_error = ""
            self.put(JournalState(""))
        self._publish(Committed(list(zip(entries, batch.records, strict=True)), batch.touched))
        return True

    def _failed(self, batch: _Batch, error: JournalError) -> None:
        """Nothing of the batch has happened."""
        for undo in reversed(batch.undo):
            undo()
        if str(error) != self._journal_error:
            log.error("the journal cannot be written: %s", error)
            self._journal_error = str(error)
            self.put(JournalState(str(error)))
        refused = Refused("journal", f"nothing was done, because the journal cannot be written: {error}")
        for effect in batch.effects:
            if isinstance(effect, Answer):
                self._perform(Answer(effect.id, refused=refused))

    def replay(self, records: Sequence[Record]) -> None:
        """Bring the world up to date with records from the journal; nothing else happens."""
        for record in records:
            self.world.apply(evolve(self.world, record))


def _restore(rows: dict[str, Any], key: str, before: Any) -> Callable[[], None]:
    def restore() -> None:
        if before is None:
            rows.pop(key, None)
        else:
            rows[key] = before

    return restore
