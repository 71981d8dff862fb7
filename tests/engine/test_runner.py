"""The runner: nothing happens before it is written, and what cannot be written has not happened."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from opsdash.core.evolve import evolve
from opsdash.engine import runner as runner_module
from opsdash.engine.runner import Committed, Runner
from opsdash.engine.tasks import cancel, spawn
from opsdash.engine.threads import Worker
from opsdash.model import effects as e
from opsdash.model import inputs as i
from opsdash.model.observation import Observation
from opsdash.model.status import Reason, Status
from opsdash.model.switch import SwitchKind, SwitchState
from opsdash.model.world import Live, World
from opsdash.storage.codec import decode
from opsdash.testing import FakeClock, component, email, operation, provider
from tests.engine.support import GatedJournal, eventually, turn_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from opsdash.model.effects import Effect
    from opsdash.model.operation import Operation

OPERATION = operation(component("web", checks=("home",)), component("shop", checks=("home",)))


class Bench:
    """A runner, and everything that it lets happen."""

    def __init__(self, files: Operation) -> None:
        self.files = files
        self.journal = GatedJournal()
        self.clock = FakeClock()
        self.worker = Worker("journal")
        self.effects: list[Effect] = []
        self.told: list[Committed] = []
        self.fail_on: type | None = None
        self.deaf = False
        self.runner = Runner(
            world=World(),
            live=Live(),
            clock=self.clock,
            journal=self.journal,
            worker=self.worker,
            perform=self._perform,
            publish=self._publish,
        )

    def _perform(self, effect: Effect) -> None:
        if self.fail_on is not None and isinstance(effect, self.fail_on):
            raise OSError("the effect cannot begin")
        self.effects.append(effect)

    def _publish(self, committed: Committed) -> None:
        if self.deaf:
            raise OSError("nobody can be told")
        self.told.append(committed)

    async def settle(self, *events: i.Input) -> None:
        for event in events:
            self.runner.put(event)
        await self.runner.settled()
        await turn_loop()

    def answer(self, request: str) -> e.Answer:
        return next(effect for effect in self.effects if isinstance(effect, e.Answer) and effect.id == request)

    def answered(self, request: str) -> bool:
        return any(isinstance(effect, e.Answer) and effect.id == request for effect in self.effects)

    def status_of(self, name: str) -> str:
        health = self.runner.live.get("components", name)
        return str(health.status.value) if health else "unknown"

    def seen(self, check: str, status: Status | str = Status.OK) -> i.Observed:
        """A check has run just now."""
        now = self.clock()
        wrong = Reason.TIMEOUT if status == Status.DOWN else None
        due = now.mono + self.files.checks[check].every
        return i.Observed(Observation(check, Status(status), wrong, "", 0.01, now.mono, now.mono, now.wall, due))


@asynccontextmanager
async def bench(files: Operation = OPERATION) -> AsyncIterator[Bench]:
    made = Bench(files)
    task = spawn(made.runner.run(), "runner")
    try:
        await made.settle(i.Started("test", 1), i.Loaded(files))
        yield made
    finally:
        made.journal.gate.set()
        await cancel(task)
        await made.worker.close()


def pause(request: str, name: str = "web", seconds: float = 60.0) -> i.Wanted:
    return i.Wanted(request, "maria", i.PauseIntent(name, seconds, "looking"))


# --- intent first ------------------------------------------------------------------------------------------------


async def test_nothing_happens_before_its_records_are_in_the_journal() -> None:
    async with bench() as b:
        b.effects.clear()
        b.journal.gate.clear()
        b.journal.entered.clear()
        b.runner.put(pause("p1"))
        await eventually(b.journal.entered.is_set)
        await turn_loop(20)
        assert b.effects == []
        b.journal.gate.set()
        await b.runner.settled()
        assert [entry.type for entry in b.journal.of("paused")] == ["paused"]
        kinds = {type(effect) for effect in b.effects}
        assert {e.SuspendPolling, e.SetTimer, e.Answer} <= kinds
        assert b.answer("p1").refused is None


async def test_clients_hear_of_a_change_after_it_is_written() -> None:
    async with bench() as b:
        b.told.clear()
        b.journal.gate.clear()
        b.journal.entered.clear()
        b.runner.put(pause("p1"))
        await eventually(b.journal.entered.is_set)
        assert b.told == []
        b.journal.gate.set()
        await b.runner.settled()
        assert [record for committed in b.told for _, record in committed.entries]
        assert "web" in b.told[0].touched


async def test_what_comes_in_while_the_disk_works_is_committed_together() -> None:
    async with bench() as b:
        b.journal.batches.clear()
        b.journal.gate.clear()
        b.journal.entered.clear()
        b.runner.put(pause("first"))
        await eventually(b.journal.entered.is_set)
        for number in range(50):
            b.runner.put(pause(f"p{number}", "shop"))
        b.journal.gate.set()
        await b.runner.settled()
        assert len(b.journal.batches) == 2
        assert b.journal.batches[1].count("paused") == 50
        assert all(b.answered(f"p{number}") for number in range(50))


# --- a disk that is full -----------------------------------------------------------------------------------------


async def test_a_journal_that_takes_nothing_takes_everything_back_and_says_why() -> None:
    async with bench() as b:
        before = {table: dict(rows) for table, rows in b.runner.world.tables.items()}
        b.effects.clear()
        b.journal.full = True
        await b.settle(pause("p1"))
        assert {table: dict(rows) for table, rows in b.runner.world.tables.items()} == before
        refused = b.answer("p1").refused
        assert refused is not None
        assert refused.rule == "journal"
        assert "full" in refused.reason
        assert [effect for effect in b.effects if not isinstance(effect, e.Answer)] == []
        assert "full" in b.runner.live.get("engine", "engine").journal_error


async def test_it_recovers_as_soon_as_the_disk_does() -> None:
    async with bench() as b:
        b.journal.full = True
        await b.settle(pause("p1"))
        b.journal.full = False
        await b.settle(pause("p2"))
        assert b.answer("p2").refused is None
        assert b.runner.live.get("engine", "engine").journal_error == ""
        assert b.runner.world.get("pauses", "web") is not None
        assert len(b.journal.of("paused")) == 1


async def test_an_outage_is_shown_while_it_cannot_be_recorded_and_recorded_when_it_can() -> None:
    async with bench() as b:
        await b.settle(b.seen("web/home"))
        assert b.status_of("web") == "ok"
        b.journal.full = True
        for _ in range(3):
            b.clock.advance(1)
            await b.settle(b.seen("web/home", Status.DOWN))
        assert b.status_of("web") == "down"
        assert b.runner.world.get("components", "web").status is Status.OK
        assert b.runner.world.tables["incidents"] == {}
        b.journal.full = False
        b.clock.advance(1)
        await b.settle(b.seen("web/home", Status.DOWN))
        assert b.runner.world.get("components", "web").status is Status.DOWN
        assert [entry.data["component"] for entry in b.journal.of("incident_opened")] == ["web"]


async def test_what_happens_once_is_not_lost_with_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "RETRY", 0.02)
    async with bench(operation(email())) as b:
        await b.settle(*(b.seen(check) for check in b.files.checks))
        await b.settle(i.ReadDone("email", "switch", "pm-prod", "", None, b.clock.mono))
        intent = i.SwitchIntent("email", SwitchKind.FAILOVER, 0, "postmark", "ses")
        b.clock.advance(1)
        await b.settle(i.Wanted("w", "maria", intent))
        b.clock.advance(1)
        await b.settle(i.ReadDone("email", "switch", "pm-prod", "", None, b.clock.mono))
        (switch,) = b.runner.world.tables["switches"].values()
        assert switch.state is SwitchState.ACTING
        b.journal.full = True
        await b.settle(i.ApplyDone(switch.id, "applied", action_id=switch.id))
        assert b.runner.world.get("switches", switch.id).state is SwitchState.ACTING
        b.journal.full = False
        await eventually(lambda: b.runner.world.get("switches", switch.id).state is SwitchState.SETTLING)


async def test_a_timer_without_records_goes_on_although_its_batch_failed() -> None:
    async with bench() as b:
        b.journal.gate.clear()
        b.journal.entered.clear()
        b.runner.put(pause("first"))
        await eventually(b.journal.entered.is_set)
        b.effects.clear()
        b.runner.put(pause("p1", "shop"))
        b.runner.put(i.TimerFired(("people",)))
        b.journal.full = True
        b.journal.gate.set()
        await b.settle()
        again = [effect.key for effect in b.effects if isinstance(effect, e.SetTimer)]
        assert ("people",) in again


async def test_a_disk_that_hangs_is_noticed() -> None:
    async with bench() as b:
        b.journal.gate.clear()
        b.journal.entered.clear()
        b.runner.put(pause("p1"))
        await eventually(b.journal.entered.is_set)
        assert not b.runner.stuck
        b.clock.advance(runner_module.STUCK + 0.1)
        assert b.runner.stuck
        b.journal.gate.set()
        await b.runner.settled()
        assert not b.runner.stuck


# --- bugs --------------------------------------------------------------------------------------------------------


async def test_an_error_in_the_core_loses_only_its_own_input(caplog: pytest.LogCaptureFixture) -> None:
    async with bench() as b:
        b.runner.put(i.TimerFired(("nonsense",)))
        await b.settle(pause("p1"))
        assert b.answer("p1").refused is None
        assert "this is a bug" in caplog.text


async def test_whoever_asked_for_what_the_core_cannot_decide_is_told() -> None:
    async with bench() as b:
        await b.settle(i.Wanted("odd", "maria", "no intent at all"), pause("p1"))  # type: ignore[arg-type]
        refused = b.answer("odd").refused
        assert refused is not None
        assert refused.rule == "bug"
        assert b.answer("p1").refused is None


async def test_a_record_that_is_no_json_costs_neither_the_journal_nor_the_others() -> None:
    async with bench() as b:
        b.runner.put(pause("endless", "web", float("inf")))
        await b.settle(pause("p1", "shop"))
        refused = b.answer("endless").refused
        assert refused is not None
        assert refused.rule == "bug"
        assert b.runner.journal_error == ""
        assert b.runner.world.get("pauses", "web") is None
        assert b.runner.world.get("pauses", "shop") is not None


async def test_an_effect_that_cannot_begin_stops_nothing_else() -> None:
    async with bench() as b:
        b.fail_on = e.SuspendPolling
        await b.settle(pause("p1"))
        assert b.answer("p1").refused is None
        b.fail_on = None
        await b.settle(pause("p2", "shop"))
        assert b.answer("p2").refused is None


async def test_clients_that_cannot_be_told_stop_nothing() -> None:
    async with bench() as b:
        b.deaf = True
        await b.settle(pause("p1"))
        assert b.answer("p1").refused is None
        b.deaf = False
        await b.settle(pause("p2", "shop"))
        assert b.told[-1].touched == {"shop"}


async def test_a_checkpoint_waits_for_the_batch_at_hand() -> None:
    async with bench() as b:
        b.journal.gate.clear()
        b.journal.entered.clear()
        b.runner.put(pause("p1"))
        await eventually(b.journal.entered.is_set)
        b.journal.full = True
        seen: list[object] = []

        async def checkpoint() -> None:
            async with b.runner.between_batches():
                seen.append(b.runner.world.get("pauses", "web"))

        waiting = asyncio.ensure_future(checkpoint())
        await turn_loop()
        assert seen == []
        b.journal.gate.set()
        await waiting
        assert seen == [None]


async def test_what_a_client_is_shown_is_in_the_journal() -> None:
    async with bench() as b:
        b.journal.gate.clear()
        b.journal.entered.clear()
        b.runner.put(pause("p1"))
        await eventually(b.journal.entered.is_set)
        b.journal.full = True
        shown: list[object] = []

        async def ask() -> None:
            await b.runner.written()
            shown.append(b.runner.world.get("pauses", "web"))

        asked = asyncio.ensure_future(ask())
        await turn_loop()
        assert shown == []
        b.journal.gate.set()
        await asked
        assert shown == [None]


async def test_a_client_does_not_wait_for_a_journal_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "STUCK", 0.05)
    async with bench() as b:
        b.journal.gate.clear()
        b.journal.entered.clear()
        b.runner.put(pause("p1"))
        await eventually(b.journal.entered.is_set)
        await b.runner.written()
        assert not b.answered("p1"), "nothing is written, and nobody was kept waiting for it"
        b.journal.gate.set()


async def test_replaying_the_journal_gives_the_same_world() -> None:
    async with bench(operation(email(), component("db", providers=(provider("one", "up"),)))) as b:
        await b.settle(*(b.seen(check, Status.DOWN) for check in b.files.checks for _ in range(3)), pause("p1", "db"))
        again = World()
        for entry in b.journal.entries():
            if entry.type != "checkpoint":
                again.apply(evolve(again, decode(entry.type, entry.data)))
        assert again.tables == b.runner.world.tables
