"""The hub while nobody listens: it makes no deltas, and nobody who comes later is told less for that."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from opsdash.engine import hub as hub_module
from opsdash.engine.hub import RESET
from opsdash.model.status import Status
from tests.engine.support import eventually, turn_loop
from tests.engine.test_hub import sending

if TYPE_CHECKING:
    import pytest


async def test_an_engine_that_nobody_watches_makes_no_deltas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "COALESCE", 0.0)
    async with sending() as bench:
        before = bench.hub.snapshot()["seq"]

        bench.change("c1", status=Status.OK)
        await turn_loop(1000)

        after = bench.hub.snapshot()
        assert after["seq"] == before + 1  # that one look
        assert next(row for row in after["rows"] if row["id"] == "c1")["latency"] is not None


async def test_the_first_who_listens_gets_what_changed_meanwhile_and_what_changes_then() -> None:
    async with sending() as bench:
        bench.change("c1")
        subscriber = bench.hub.subscribe()
        bench.change("c2")

        _, _, data = await subscriber.queue.get()

        assert {row["id"] for row in json.loads(data)["rows"]} == {"c1", "c2"}


async def test_a_client_who_was_away_for_long_takes_a_new_snapshot_since_records_were_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_module, "AWAY", 0.0)
    async with sending() as bench:
        subscriber = bench.hub.subscribe()
        bench.change("c1")
        _, seen, _ = await subscriber.queue.get()
        bench.hub.unsubscribe(subscriber)
        await eventually(lambda: not bench.hub._listened.is_set())

        bench.record("c2")
        again = bench.hub.subscribe(seen)

        assert (await again.queue.get())[0] == RESET
