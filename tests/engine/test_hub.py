"""The hub: numbered deltas, soon and seldom, and silence only when there is nothing to be believed."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from opsdash.core.views import Viewer
from opsdash.engine import hub as hub_module
from opsdash.engine.clock import system_clock
from opsdash.engine.hub import BYE, RESET, Hub
from opsdash.engine.runner import Committed
from opsdash.engine.tasks import cancel, spawn
from opsdash.model.records import ComponentChanged
from opsdash.model.status import Status
from opsdash.storage.codec import encode
from opsdash.storage.memory import MemoryJournal
from opsdash.testing import Timeline, component, operation
from tests.engine.support import eventually, turn_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from opsdash.engine.hub import Subscriber
    from opsdash.model.views import Summary
    from opsdash.storage.entries import Entry

COMPONENTS = [f"c{n}" for n in range(20)]


class Bench:
    """A hub over a timeline's world."""

    def __init__(self) -> None:
        self.timeline = Timeline(operation(*(component(name, checks=("x",)) for name in COMPONENTS)))
        self.stuck = False
        self.broken = False
        self.hub = Hub(clock=system_clock, viewer=self._viewer, summary=self._summary, stuck=lambda: self.stuck)
        self.hub.refresh_all()
        self.hub.flush()

    def _viewer(self) -> Viewer:
        if self.broken:
            raise ZeroDivisionError("no view")
        return Viewer(self.timeline.world, self.timeline.live, self.timeline.clock())

    @staticmethod
    def _summary(viewer: Viewer) -> Summary:
        return cast("Summary", {"counts": viewer.counts()})

    def change(self, *names: str, status: Status = Status.OK) -> None:
        """A check of these components has run; what it says is published without a record."""
        for name in names:
            self.timeline.clock.advance(0.001)
            self.timeline.observe(f"{name}/x", status, latency=self.timeline.clock.mono / 1e6)
        self.hub.publish(Committed(touched=set(names)))

    def record(self, name: str) -> None:
        """A status has changed, and that is in the journal."""
        record = ComponentChanged(self.timeline.clock.wall, name, Status.DOWN, Status.OK)
        self.hub.publish(Committed([(entry_of(record), record)], {name}))


def entry_of(record: ComponentChanged) -> Entry:
    from datetime import UTC, datetime

    return MemoryJournal().append([encode(record)], datetime.fromtimestamp(record.at, UTC))[0]


@asynccontextmanager
async def sending() -> AsyncIterator[Bench]:
    made = Bench()
    task = spawn(made.hub.run(), "hub")
    try:
        yield made
    finally:
        await cancel(task)


def drained(subscriber: Subscriber) -> list[tuple[str, int, Any]]:
    found = []
    while not subscriber.queue.empty():
        name, seq, data = subscriber.queue.get_nowait()
        found.append((name, seq, json.loads(data)))
    return found


async def next_of(subscriber: Subscriber, within: float = 3.0) -> tuple[str, int, Any]:
    async with asyncio.timeout(within):
        name, seq, data = await subscriber.queue.get()
    return name, seq, json.loads(data)


async def test_deltas_are_numbered_without_gaps_and_hold_what_changed() -> None:
    b = Bench()
    snapshot = b.hub.snapshot()
    assert {row["id"] for row in snapshot["rows"]} == set(COMPONENTS)
    subscriber = b.hub.subscribe()
    for name in COMPONENTS[:3]:
        b.change(name, status=Status.DOWN)
        b.hub.flush()
    events = drained(subscriber)
    assert [seq for _, seq, _ in events] == [snapshot["seq"] + n for n in (1, 2, 3)]
    assert [[row["id"] for row in data["rows"]] for _, _, data in events] == [[name] for name in COMPONENTS[:3]]
    assert all(data["seq"] == seq for _, seq, data in events)


async def test_a_component_that_looks_as_before_is_not_sent() -> None:
    b = Bench()
    subscriber = b.hub.subscribe()
    b.hub.publish(Committed(touched={"c1"}))
    b.hub.flush(full=False)
    assert drained(subscriber) == []


async def test_a_component_that_is_gone_is_named() -> None:
    b = Bench()
    b.hub.snapshot()
    subscriber = b.hub.subscribe()
    components = {name: each for name, each in b.timeline.world.operation.components.items() if name != "c3"}
    from dataclasses import replace

    b.timeline.world.operation = replace(b.timeline.world.operation, components=components)
    b.hub.publish(Committed(touched={"c3"}))
    b.hub.flush(full=False)
    ((_, _, data),) = drained(subscriber)
    assert data["gone"] == ["c3"]
    assert "c3" not in {row["id"] for row in b.hub.snapshot()["rows"]}


async def test_what_only_moves_is_gathered_for_a_tenth_of_a_second() -> None:
    async with sending() as b:
        subscriber = b.hub.subscribe()
        await next_of(subscriber)
        loop = asyncio.get_running_loop()
        until = loop.time() + 0.35
        while loop.time() < until:
            b.change(*COMPONENTS)
            await asyncio.sleep(0.005)
        await asyncio.sleep(hub_module.COALESCE + 0.02)
        deltas = [data for _, _, data in drained(subscriber) if data["rows"]]
        assert 3 <= len(deltas) <= 6
        assert {row["id"] for row in deltas[-1]["rows"]} == set(COMPONENTS)


async def test_a_change_of_status_goes_out_at_once() -> None:
    async with sending() as b:
        subscriber = b.hub.subscribe()
        await next_of(subscriber)
        loop = asyncio.get_running_loop()
        began = loop.time()
        b.record("c1")
        _, _, data = await next_of(subscriber)
        assert loop.time() - began < hub_module.COALESCE / 2
        assert [line["component"] for line in data["records"]] == ["c1"]
        assert data["records"][0]["text"] == "c1 is down, was ok"


async def test_at_least_one_event_goes_out_every_second() -> None:
    async with sending() as b:
        subscriber = b.hub.subscribe()
        await next_of(subscriber)
        loop = asyncio.get_running_loop()
        for _ in range(2):
            began = loop.time()
            _, _, data = await next_of(subscriber)
            assert 0.5 < loop.time() - began <= 1.05
            assert data["rows"] == []


async def test_components_that_are_looked_at_and_have_not_changed_do_not_keep_it_silent() -> None:
    """Checks that say the same again and again, each at its own time, are news for nobody."""
    async with sending() as bench:
        subscriber = bench.hub.subscribe()
        await eventually(lambda: subscriber.queue.qsize() >= 1)
        before = subscriber.queue.qsize()

        def looked_at() -> bool:
            bench.hub.publish(Committed(touched={"c1"}))
            return subscriber.queue.qsize() > before

        await eventually(looked_at)


async def test_an_engine_that_is_stuck_falls_silent_and_speaks_again() -> None:
    async with sending() as b:
        subscriber = b.hub.subscribe()
        await next_of(subscriber)
        b.stuck = True
        await turn_loop()
        drained(subscriber)
        b.record("c1")
        await asyncio.sleep(1.2)
        assert drained(subscriber) == []
        b.stuck = False
        _, _, data = await next_of(subscriber)
        assert data["records"]


async def test_a_view_that_cannot_be_made_is_silence_and_not_the_end() -> None:
    async with sending() as b:
        subscriber = b.hub.subscribe()
        await next_of(subscriber)
        b.broken = True
        b.record("c1")
        await asyncio.sleep(0.15)
        assert drained(subscriber) == []
        b.broken = False
        b.record("c2")
        _, _, data = await next_of(subscriber)
        assert {line["component"] for line in data["records"]} == {"c1", "c2"}


async def test_a_client_that_was_away_gets_what_it_missed() -> None:
    b = Bench()
    seen = b.hub.snapshot()["seq"]
    for name in COMPONENTS[:4]:
        b.change(name, status=Status.DOWN)
        b.hub.flush()
    events = drained(b.hub.subscribe(seen + 1))
    assert [seq for _, seq, _ in events] == [seen + 2, seen + 3, seen + 4]
    assert drained(b.hub.subscribe(seen + 4)) == []


async def test_a_client_that_was_away_for_too_long_is_told_to_begin_anew() -> None:
    b = Bench()
    seen = b.hub.snapshot()["seq"]
    for _ in range(hub_module.KEPT + 2):
        b.hub.flush()
    for since in (0, seen, seen + 10**6):
        ((name, _, _),) = drained(b.hub.subscribe(since))
        assert name == RESET
    kept = drained(b.hub.subscribe(seen + 2))
    assert [seq for _, seq, _ in kept] == list(range(seen + 3, seen + 3 + hub_module.KEPT))


async def test_the_number_of_an_earlier_engine_is_known_to_be_none_of_this_one() -> None:
    earlier = Bench()
    number = earlier.hub.snapshot()["seq"]
    await asyncio.sleep(0.005)
    now = Bench()
    for _ in range(10):
        now.hub.flush()
    ((name, _, _),) = drained(now.hub.subscribe(number))
    assert name == RESET


async def test_a_client_that_does_not_keep_up_is_reset_and_costs_no_memory() -> None:
    b = Bench()
    slow, quick = b.hub.subscribe(), b.hub.subscribe()
    for _ in range(hub_module.QUEUED + 5):
        b.hub.flush()
        drained(quick)
    events = drained(slow)
    assert events[0][0] == RESET
    assert [name for name, _, _ in events[1:]] == ["delta"] * (len(events) - 1)
    assert len(events) < hub_module.QUEUED


async def test_everybody_hears_goodbye_and_so_does_who_comes_later() -> None:
    b = Bench()
    subscriber = b.hub.subscribe()
    gone = b.hub.subscribe()
    b.hub.unsubscribe(gone)
    b.hub.bye("signal SIGTERM")
    ((name, _, data),) = drained(subscriber)
    assert (name, data) == (BYE, {"why": "signal SIGTERM"})
    assert drained(gone) == []
    assert [name for name, _, _ in drained(b.hub.subscribe())] == [BYE]
    assert b.hub.subscribers == 2


async def test_a_recorded_change_is_seen_by_all_in_the_same_words() -> None:
    async with sending() as b:
        clients = [b.hub.subscribe() for _ in range(5)]
        b.record("c1")
        await eventually(lambda: all(not client.queue.empty() for client in clients))
        texts = {json.dumps([event for event in drained(client) if event[2]["records"]]) for client in clients}
        assert len(texts) == 1
