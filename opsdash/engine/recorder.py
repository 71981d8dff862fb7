"""What is kept beside the journal: samples in history, once a second; documents, derived from records.

Losing history costs charts, and documents can be rebuilt from the journal; so an error here is logged and shown, and
never stops a poll or a switch.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from opsdash.errors import StorageError
from opsdash.model import records as r
from opsdash.storage.derived import Document, documents_of
from opsdash.storage.samples import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opsdash.engine.threads import Worker
    from opsdash.model.observation import Observation
    from opsdash.model.records import Record
    from opsdash.model.world import World
    from opsdash.storage.documents import Documents
    from opsdash.storage.history import History

log = logging.getLogger(__name__)

FLUSH_EVERY = 1.0
MOST_PENDING = 200_000
"""Samples that wait for a slow disk at most; then the oldest are given up."""


class Recorder:
    """Writes history and documents, each in its own thread."""

    def __init__(
        self, *, history: History, history_worker: Worker, documents: Documents, documents_worker: Worker
    ) -> None:
        self._history = history
        self._history_worker = history_worker
        self._documents = documents
        self._documents_worker = documents_worker
        self._samples: list[Sample] = []
        self._changes: list[r.ComponentChanged] = []
        self._puts: list[Document] = []
        self._again: dict[tuple[str, str, str], Document] = {}
        self._behind = False
        self.error = ""

    def observed(self, seen: Observation) -> None:
        """Keep a result."""
        latency = None if seen.latency is None else seen.latency * 1000
        reason = seen.reason.value if seen.reason else ""
        self._samples.append(Sample(seen.check, seen.at, seen.status, latency, reason))
        if len(self._samples) > MOST_PENDING:
            del self._samples[: MOST_PENDING // 10]

    def committed(self, records: Iterable[Record], world: World) -> None:
        """Keep what screens and reports will ask for."""
        for record in records:
            if isinstance(record, r.ComponentChanged):
                self._changes.append(record)
            self._puts += documents_of(record, world)

    def replayed(self, record: Record, world: World) -> None:
        """Keep what an engine that was killed may not have written any more."""
        for each in documents_of(record, world):
            self._again[each.collection, each.id, each.period] = each

    async def run(self) -> None:
        """Write once a second, for ever."""
        while True:
            await asyncio.sleep(FLUSH_EVERY)
            try:
                await self.flush()
            except Exception:
                log.exception("history or documents could not be written: this is a bug")

    async def flush(self) -> None:
        """Write what has gathered."""
        samples, self._samples = self._samples, []
        changes, self._changes = self._changes, []
        puts, self._puts = [*self._again.values(), *self._puts], []
        self._again = {}
        errors: list[str] = []
        if samples or changes:
            errors += await self._attempt(self._history_worker, self._write_history, samples, changes)
        if puts or self._behind:  # what failed is in memory, and does not wait for the next document
            failed = await self._attempt(self._documents_worker, self._write_documents, puts)
            self._behind = bool(failed)
            errors += failed
        error = "; ".join(errors)
        if error and error != self.error:
            log.error("history or documents could not be written: %s", error)
        self.error = error

    @staticmethod
    async def _attempt(worker: Worker, write: Callable[..., None], *what: Any) -> list[str]:
        """Write one of the two; the other does not suffer from what is wrong with it."""
        try:
            await worker.call(write, *what)
        except StorageError as error:
            return [str(error)]
        return []

    def _write_history(self, samples: list[Sample], changes: list[r.ComponentChanged]) -> None:
        self._history.write(samples)
        for change in changes:
            reason = change.reason.value if change.reason else ""
            self._history.component_change(change.component, change.at, change.was, change.status, reason)

    def _write_documents(self, puts: list[Document]) -> None:
        for collection, name, document, period in puts:
            self._documents.put(collection, name, document, period)
        self._documents.flush()

    async def maintain(self, wall: float) -> None:
        """Roll up and forget what has had its time."""
        try:
            await self._history_worker.call(self._history.maintain, wall)
        except StorageError as error:
            log.error("history could not be rolled up: %s", error)  # noqa: TRY400 - it says all
