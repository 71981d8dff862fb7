"""Where an engine remembers, each store in a thread of its own, and looking back into what it has remembered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from opsdash.engine.coupled import coupled, drill_times
from opsdash.engine.past import past
from opsdash.engine.threads import Worker
from opsdash.storage.texts import Texts
from opsdash.storage.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opsdash.engine.clock import Clock
    from opsdash.engine.recorder import Recorder
    from opsdash.model.operation import CheckSpec, Component
    from opsdash.storage.documents import Documents
    from opsdash.storage.history import History
    from opsdash.storage.ports import JournalPort

T = TypeVar("T")

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Stores:
    """Where an engine remembers: the journal, documents derived from it, history, and the texts that records name.

    trust: what of the workspace may be executed, kept outside of it.
    """

    journal: JournalPort
    documents: Documents
    history: History
    texts: Texts = field(default_factory=Texts)
    trust: Trust = field(default_factory=Trust)


class Threads:
    """The threads in which the stores are used: what is slow on a disk holds up nothing else.

    journal: writes it.  reader: looks back into it, and does not hold up what is written.
    """

    def __init__(self) -> None:
        self.journal = Worker("journal")
        self.reader = Worker("journal-reader")
        self.history = Worker("history")
        self.documents = Worker("documents")

    async def close(self, stores: Stores) -> None:
        """Close the stores, and end the threads."""
        await self.journal.call(stores.journal.close)
        await self.history.call(stores.history.close)
        for worker in (self.journal, self.reader, self.history, self.documents):
            await worker.close()


class Remembered:
    """What has been: documents, the journal, history. All of it includes what is known by the time it is asked for."""

    def __init__(self, stores: Stores, threads: Threads, recorder: Recorder, clock: Clock) -> None:
        self._stores = stores
        self._threads = threads
        self._recorder = recorder
        self._clock = clock

    async def documents(self, ask: Callable[[Documents], T]) -> T:
        """Ask the documents something."""
        await self._recorder.flush()
        return await self._threads.documents.call(ask, self._stores.documents)

    async def journal(self, ask: Callable[[JournalPort], T]) -> T:
        """Ask the journal something."""
        return await self._threads.reader.call(ask, self._stores.journal)

    async def history(self, component: str, checks: Sequence[CheckSpec], hours: float) -> dict[str, Any]:
        """Uptime, latency percentiles and changes over the last `hours`."""
        since, until = await self._span(hours)
        return await self._threads.history.call(past, self._stores.history, component, checks, since, until)

    async def couplings(self, components: Mapping[str, Component], hours: float) -> dict[str, Any]:
        """Components that failed within the same minute over the last `hours`, where that is no chance."""
        drilled = await self.journal(lambda journal: drill_times(lambda types: journal.entries(types=types)))
        since, until = await self._span(hours)
        return await self._threads.history.call(coupled, self._stores.history, components, since, until, drilled)

    async def _span(self, hours: float) -> tuple[float, float]:
        """The last `hours` in seconds since 1970 UTC, all that is known of them written."""
        until = self._clock().wall + 0.001  # history counts in milliseconds, and the present one belongs to it
        await self._recorder.flush()
        return until - hours * HOUR, until
