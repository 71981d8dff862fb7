"""The hub: what clients see, as numbered deltas.

A change of status goes out at once; what only moves (latencies, ages) is gathered for a tenth of a second. Each delta
is encoded once, however many clients read it, and at least one goes out every second, so that silence means something.
While the engine is stuck none goes out: what it would say is no longer so. While nobody has listened for a while none
is made, which saves a sixth of what a check costs. The last thousand are kept for clients that were away for a moment;
numbers begin at the engine's start in milliseconds, so that those of an earlier engine are known to be none of this
one's.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from opsdash.core.telling import NO_NEWS, component_of, tell, who_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opsdash.core.views import Viewer
    from opsdash.engine.clock import Clock
    from opsdash.engine.runner import Committed
    from opsdash.model.records import Record
    from opsdash.model.views import Delta, JournalLine, Snapshot, Summary, WallRow
    from opsdash.storage.entries import Entry

log = logging.getLogger(__name__)

COALESCE = 0.1
HEARTBEAT = 1.0
AWAY = 30.0
"""Seconds for which deltas are made after the last client has left, so that one who comes back has missed none."""

KEPT = 1000
QUEUED = 256
"""Deltas that may wait for one slow client; beyond that it is told to take a new snapshot."""

LARGE = frozenset({"switch", "removed", "message", "about", "over", "alarms"})
"""Fields of records that clients are not sent."""

RESET = "reset"
BYE = "bye"
RING = "ring"


class Subscriber:
    """One client's queue of encoded events, oldest first. rings: somebody sits in front of it, who hears a bell."""

    def __init__(self, *, rings: bool = False) -> None:
        self.rings = rings
        self.queue: asyncio.Queue[tuple[str, int, str]] = asyncio.Queue()

    def put(self, event: str, seq: int, data: str) -> None:
        """Append an event; a client that cannot keep up is reset instead."""
        if self.queue.qsize() >= QUEUED:
            while not self.queue.empty():
                self.queue.get_nowait()
            event, data = RESET, "{}"
        self.queue.put_nowait((event, seq, data))


class Hub:
    """Gathers changes and sends deltas. `viewer` reads the present state, `summary` adds what the engine knows.

    served: how many clients have listened so far.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        viewer: Callable[[], Viewer],
        summary: Callable[[Viewer], Summary],
        stuck: Callable[[], bool] = lambda: False,
    ) -> None:
        self._clock = clock
        self._stuck = stuck
        self._viewer = viewer
        self._summarise = summary
        self._rows: dict[str, WallRow] = {}
        self._summary: Summary | None = None
        self._dirty: set[str] = set()
        self._records: list[JournalLine] = []
        self._kept: deque[tuple[int, str]] = deque(maxlen=KEPT)
        self._subscribers: set[Subscriber] = set()
        self._urgent = asyncio.Event()
        self._listened = asyncio.Event()
        self._left = 0.0
        self._seq = int(clock().wall * 1000)
        self._bye: str | None = None
        self.served = 0

    def publish(self, committed: Committed) -> None:
        """Take note of what has changed."""
        self._dirty |= committed.touched
        if not committed.entries:
            return
        if self._listened.is_set():
            self._records += [line(entry, record) for entry, record in committed.entries if entry.type not in NO_NEWS]
            self._urgent.set()
        else:
            # Components stay noted, records are not kept: a client of long ago takes a new snapshot.
            self._seq += 1
            self._kept.clear()

    def refresh_all(self) -> None:
        """Look at every component again, after a reload or a jump of the clock."""
        self._dirty.update(self._rows)
        self._dirty.update(self._viewer().components())
        self._urgent.set()

    async def run(self) -> None:
        """Send what has changed, for ever."""
        last = 0.0
        while True:
            await self._listened.wait()
            if not self._subscribers and self._clock().mono - self._left >= AWAY:
                self._listened.clear()
                continue
            try:
                async with asyncio.timeout(COALESCE):
                    await self._urgent.wait()
            except TimeoutError:
                pass
            urgent = self._urgent.is_set()
            self._urgent.clear()
            if self._stuck():
                continue
            now = self._clock().mono
            beat = now - last >= HEARTBEAT - COALESCE
            if urgent or self._dirty or beat:
                before = self._seq
                self._flush_guarded(full=urgent or beat)
                # Rows that were looked at and had not changed are no sign of life: nothing has gone out.
                last = now if self._seq != before or beat else last
            if urgent:
                await asyncio.sleep(0.01)

    def _flush_guarded(self, *, full: bool) -> None:
        """A view that cannot be made is a bug, and shows as silence: clients draw everything as stale."""
        try:
            self.flush(full=full)
        except Exception:
            log.exception("clients could not be told what has changed: this is a bug")

    def flush(self, *, full: bool = True) -> None:
        """Send one delta now. `full` recomputes the summary as well."""
        viewer = self._viewer()
        rows, gone = self._changed(viewer)
        summary = None
        if full:
            fresh = self._summarise(viewer)
            if fresh != self._summary:
                self._summary = summary = fresh
        if not (rows or gone or summary or self._records or full):
            return
        self._seq += 1
        delta: Delta = {
            "seq": self._seq,
            "at": viewer.now.wall,
            "rows": rows,
            "gone": gone,
            "summary": summary,
            "records": self._records,
        }
        self._records = []
        self._send("delta", json.dumps(delta, separators=(",", ":")))

    def _changed(self, viewer: Viewer) -> tuple[list[WallRow], list[str]]:
        rows: list[WallRow] = []
        gone: list[str] = []
        dirty, self._dirty = self._dirty, set()
        for component in dirty:
            row = viewer.row(component)
            if row is None:
                if self._rows.pop(component, None) is not None:
                    gone.append(component)
            elif row != self._rows.get(component):
                self._rows[component] = row
                rows.append(row)
        return rows, gone

    def _send(self, event: str, data: str) -> None:
        self._kept.append((self._seq, data))
        for subscriber in self._subscribers:
            subscriber.put(event, self._seq, data)

    def snapshot(self) -> Snapshot:
        """The whole wall, as of the last delta and everything since."""
        self.flush()
        viewer = self._viewer()
        if self._summary is None:
            self._summary = self._summarise(viewer)
        return {
            "seq": self._seq,
            "at": viewer.now.wall,
            "summary": self._summary,
            "rows": list(self._rows.values()),
        }

    def ring(self, text: str) -> int:
        """Ring where somebody hears it; returns at how many boards. Whoever comes later does not hear it."""
        boards = [subscriber for subscriber in self._subscribers if subscriber.rings]
        data = json.dumps({"text": text}, separators=(",", ":"))
        for board in boards:
            board.put(RING, self._seq, data)
        return len(boards)

    def subscribe(self, since: int | None = None, *, rings: bool = False) -> Subscriber:
        """Receive deltas from now on, those after `since` first, or a reset where they are no longer kept."""
        subscriber = Subscriber(rings=rings)
        if self._bye is not None:
            subscriber.queue.put_nowait((BYE, self._seq, self._bye))
        elif since is not None and since != self._seq:
            missed = [(seq, data) for seq, data in self._kept if seq > since]
            if not missed or missed[0][0] != since + 1:
                subscriber.put(RESET, self._seq, "{}")
            else:
                for seq, data in missed:
                    subscriber.queue.put_nowait(("delta", seq, data))
        self._subscribers.add(subscriber)
        self._listened.set()
        self.served += 1
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Let a client go."""
        self._subscribers.discard(subscriber)
        self._left = self._clock().mono

    @property
    def subscribers(self) -> int:
        """How many clients listen."""
        return len(self._subscribers)

    def bye(self, why: str) -> None:
        """Tell every client that the engine ends, those that come until then included."""
        self._bye = json.dumps({"why": why})
        for subscriber in self._subscribers:
            subscriber.queue.put_nowait((BYE, self._seq, self._bye))


def line(entry: Entry, record: Record) -> JournalLine:
    """A journal entry for a client."""
    return {
        "seq": entry.seq,
        "at": record.at,
        "type": entry.type,
        "component": component_of(record),
        "who": who_of(record),
        "text": tell(record),
        "data": _brief(entry.data),
    }


def lines(pairs: Iterable[tuple[Entry, Record]]) -> list[JournalLine]:
    """Journal entries for a client."""
    return [line(entry, record) for entry, record in pairs]


def _brief(data: Any) -> dict[str, Any]:
    """The data of an entry; a switch's whole plan and a message's text are left to `opsdash journal`."""
    return {key: value for key, value in data.items() if key not in LARGE or isinstance(value, str)}
