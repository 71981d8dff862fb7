"""The runner: decide, append, evolve; one input after the other.

It owns the world. Inputs come in by `put`; the records that follow from them are written to the journal and fsynced
before anything else happens: effects, answers and what clients see all wait for it. While one batch is being written,
inputs gather, and the next batch commits them together.

When the journal cannot be written, nothing of the batch has happened: the changes are taken back, no effect runs, and
whoever waits for an answer is told why. Then every input of the batch is decided on its own. What needs no record goes
on; what was measured is shown, since a full disk must not keep the wall green; what happens once and never again (an
action has ended, a timer has fired) is kept and decided again every second, until it can be recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from opsdash.core.decide import decide
from opsdash.core.evolve import evolve
from opsdash.errors import JournalError
from opsdash.model.effects import Answer, Effect, Poll
from opsdash.model.inputs import (
    Beat,
    ClockJumped,
    Input,
    JournalState,
    Loaded,
    Observed,
    Overdue,
    ReadDone,
    Stopping,
    TimerFired,
    Wanted,
    WindowsOpen,
)
from opsdash.model.switch import Refused
from opsdash.storage.codec import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

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

RETRY = 1.0
"""Seconds after which what could not be recorded is decided again."""

STUCK = 2.0
"""Seconds after which a write of the journal counts as hanging: what is shown no longer follows what happens."""

SEEN: tuple[type, ...] = (Observed, Overdue, ClockJumped)
"""Inputs that say what was measured. They come again by themselves, and are shown even when they cannot be recorded."""

SHOWN = frozenset({"checks", "components"})
"""The tables of `live` that may run ahead of the journal."""


@dataclass(slots=True)
class Committed:
    """What one batch came to: journal entries with their records, and the components that look different now."""

    entries: list[tuple[Entry, Record]] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Batch:
    inputs: list[Input] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    encoded: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
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
        self._turn = asyncio.Lock()
        self._held: dict[Hashable, Input] = {}
        self._writing_since: float | None = None
        self.journal_error = ""
        self.decisions = 0
        self.decided_at = clock().mono
        """When the last decision was made, in monotonic seconds."""

    def put(self, event: Input) -> None:
        """Decide about `event` as soon as its turn comes."""
        if not self._inputs:
            self.decided_at = self._clock().mono  # what comes now has waited for nothing yet
        self._inputs.append(event)
        self._idle.clear()
        self._wake.set()

    async def settled(self) -> None:
        """Wait until everything that was put in has been decided and written."""
        await self._idle.wait()

    @property
    def waiting(self) -> int:
        """How many inputs wait to be decided about."""
        return len(self._inputs)

    @property
    def stuck(self) -> bool:
        """Whether the journal has been hanging for so long that nobody may believe what is shown."""
        return self._writing_since is not None and self._clock().mono - self._writing_since > STUCK

    def between_batches(self) -> asyncio.Lock:
        """To be held by whoever needs a world in which everything is written: a checkpoint."""
        return self._turn

    async def written(self) -> None:
        """Wait until the world holds nothing but what is in the journal; not for one that hangs, see `stuck`."""
        if self._writing_since is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STUCK), self._turn:
                pass

    async def run(self) -> None:
        """Decide, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._inputs:
                async with self._turn:
                    await self.step()
            self._idle.set()

    async def step(self) -> None:
        """Decide about what has come in, write it down, then let it happen."""
        batch = self._decide_some()
        if batch.records and not await self._commit(batch):
            return
        self._let_happen(batch.effects)

    def _decide_some(self) -> _Batch:
        batch = _Batch()
        for _ in range(min(BATCH, len(self._inputs))):
            event = self._inputs.popleft()
            decided = self._decide(event)
            if decided is not None:
                self._take(batch, event, *decided)
        if not batch.records and batch.touched:
            self._tell(Committed(touched=batch.touched))
        return batch

    def _decide(self, event: Input) -> tuple[Decision, list[tuple[str, dict[str, Any]]]] | None:
        """What follows from an input, and its records as they will be written.

        An error in the core, or a record that is no JSON, costs that input alone; whoever asked is told.
        """
        self.decisions += 1
        now = self._clock()
        self.decided_at = now.mono
        try:
            decision = decide(self.world, self.live, event, now)
            encoded = [encode(record) for record in decision.records]
            if encoded:
                json.dumps(encoded, allow_nan=False)
        except Exception as error:
            log.exception("no decision about %s: this is a bug", type(event).__name__)
            if isinstance(event, Wanted):
                why = f"nothing was done, because of a bug in opsdash: {type(error).__name__}; see engine.log"
                self._let_happen([Answer(event.id, refused=Refused("bug", why))])
            return None
        return decision, encoded

    def _let_happen(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            try:
                self._perform(effect)
            except Exception:
                log.exception("the effect %s could not begin: this is a bug", type(effect).__name__)

    def _tell(self, committed: Committed) -> None:
        try:
            self._publish(committed)
        except Exception:
            log.exception("clients could not be told: this is a bug")

    def _take(self, batch: _Batch, event: Input, decision: Decision, encoded: list[tuple[str, dict[str, Any]]]) -> None:
        batch.inputs.append(event)
        if isinstance(event, Loaded):
            before = self.world.operation
            batch.undo.append(lambda: setattr(self.world, "operation", before))
            self.world.operation = event.operation
        for record in decision.records:
            self._apply(batch, self.world.tables, evolve(self.world, record))
        self._apply(batch, self.live.tables, decision.live_patch)
        batch.records += decision.records
        batch.encoded += encoded
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
        now = self._clock()
        self._writing_since = now.mono
        try:
            at = datetime.fromtimestamp(now.wall, UTC)
            entries = await self._worker.call(self._journal.append, batch.encoded, at)
        except JournalError as error:
            self._failed(batch, str(error))
            return False
        except Exception as error:
            log.exception("the journal did not take what was decided: this is a bug")
            self._failed(batch, f"{type(error).__name__}: {error}")
            return False
        finally:
            self._writing_since = None
        if self.journal_error:
            self._recovered()
        self._tell(Committed(list(zip(entries, batch.records, strict=True)), batch.touched))
        return True

    def _recovered(self) -> None:
        """The journal takes entries again. All is judged anew: what changed meanwhile was shown, and not recorded."""
        log.info("the journal can be written again")
        self.journal_error = ""
        self.put(JournalState(""))
        self.put(Loaded(self.world.operation))

    def _failed(self, batch: _Batch, error: str) -> None:
        """Nothing of the batch has happened."""
        for undo in reversed(batch.undo):
            undo()
        if error != self.journal_error:
            log.error("the journal cannot be written: %s", error)
            self.journal_error = error
            self.put(JournalState(error))
        touched: set[str] = set()
        for event in batch.inputs:
            decided = self._decide(event)
            if decided is not None:
                touched |= self._without_journal(event, decided[0], error)
        if touched:
            self._tell(Committed(touched=touched))

    def _without_journal(self, event: Input, decision: Decision, error: str) -> set[str]:
        """What can be done about an input while nothing can be recorded. Returns components that look different."""
        if not decision.records:
            if isinstance(event, Loaded):
                self.world.operation = event.operation
            self.live.apply(decision.live_patch)
            self._let_happen(decision.effects)
            return decision.touched
        if isinstance(event, SEEN):
            self.live.apply([change for change in decision.live_patch if change[0] in SHOWN])
            self._let_happen([effect for effect in decision.effects if isinstance(effect, Poll)])
            return decision.touched
        if isinstance(event, Wanted):
            why = f"nothing was done, because the journal cannot be written: {error}"
            self._let_happen([Answer(event.id, refused=Refused("journal", why))])
        elif not isinstance(event, Stopping):
            self._hold(event)
        return set()

    def _hold(self, event: Input) -> None:
        if not self._held:
            asyncio.get_running_loop().call_later(RETRY, self._release)
        self._held[_once(event)] = event

    def _release(self) -> None:
        """Decide again about what could not be recorded, before anything that has come in since."""
        held, self._held = self._held, {}
        self._inputs.extendleft(reversed(held.values()))
        self._idle.clear()
        self._wake.set()

    def replay(self, records: Sequence[Record]) -> None:
        """Bring the world up to date with records from the journal; nothing else happens."""
        for record in records:
            self.world.apply(evolve(self.world, record))


def _once(event: Input) -> Hashable:
    """What an input is about, where a later one of the same kind says all that an earlier one did."""
    match event:
        case ReadDone():
            return "read", event.component, event.what
        case TimerFired():
            return "timer", event.key
        case Beat():
            return "beat", event.check, event.signal
        case Loaded():
            return "loaded"
        case WindowsOpen():
            return "windows"
    return id(event)


def _restore(rows: dict[str, Any], key: str, before: Any) -> Callable[[], None]:
    def restore() -> None:
        if before is None:
            rows.pop(key, None)
        else:
            rows[key] = before

    return restore
