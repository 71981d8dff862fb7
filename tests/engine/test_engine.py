"""A whole engine in this process, over a real workspace, real targets, and a journal that can fail."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.engine import engine as engine_module
from opsdash.engine import preflights as preflights_module
from opsdash.engine import runner as runner_module
from opsdash.engine.clock import system_clock
from opsdash.engine.commands import Commands
from opsdash.errors import EngineError, JournalError
from opsdash.model import inputs as i
from opsdash.model.run import BlockState, Decision
from opsdash.model.switch import SwitchKind, SwitchState
from opsdash.storage.codec import encode_world
from tests.engine.support import (
    GatedJournal,
    Mailer,
    Target,
    eventually,
    hang,
    http,
    loaded_from,
    mail,
    reason,
    running,
    serving,
    status,
    turn_loop,
    web,
    write_workspace,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from opsdash.engine.engine import Engine


@asynccontextmanager
async def mailing(folder: Path, **settings: Any) -> AsyncIterator[tuple[Engine, Mailer, Target, GatedJournal]]:
    """An engine over a mailer whose two providers are well."""
    journal = GatedJournal()
    async with serving() as target:
        mailer = Mailer(target)
        write_workspace(folder, email=mail(target.url, **settings))
        async with running(folder, journal=journal) as engine:
            await ready(engine)
            yield engine, mailer, target, journal


async def ready(engine: Engine) -> None:
    """Both providers are well, and it is known who serves."""
    for check in engine.loaded.operation.checks:
        engine.poller.poll(check)
    await eventually(lambda: status(engine, "email") == "ok", hint=lambda: reason(engine, "email"))
    await eventually(lambda: engine.runner.live.get("components", "email").redundancy == "ready")


def confirmed(engine: Engine, target: str = "ses") -> i.SwitchIntent:
    state = engine.runner.world.get("components", "email")
    return i.SwitchIntent("email", SwitchKind.FAILOVER, state.generation, state.active, target, "test")


def switches(engine: Engine) -> list[Any]:
    return list(engine.runner.world.tables["switches"].values())


# --- a start, and the next one -----------------------------------------------------------------------------------


async def test_an_engine_that_cannot_record_its_start_does_not_start(tmp_path: Path) -> None:
    journal = GatedJournal()
    async with serving() as target:
        folder = write_workspace(tmp_path, web=web(f"{target.url}/home", every="100ms"))
        async with running(folder, journal=journal) as engine:
            await eventually(lambda: status(engine, "web") == "ok")
        journal.full = True
        hits = sum(target.hits.values())
        with pytest.raises(JournalError, match="full"):
            async with running(folder, journal=journal):
                pass
        assert sum(target.hits.values()) == hits


async def test_the_next_engine_knows_what_the_last_one_knew(tmp_path: Path) -> None:
    journal = GatedJournal()
    async with serving(home=http(status=500)) as target:
        folder = write_workspace(tmp_path, web=web(f"{target.url}/home"), shop=web(f"{target.url}/shop"))
        async with running(folder, journal=journal) as engine:
            await eventually(lambda: engine.runner.world.tables["incidents"])
            await engine.submit("k", "maria", i.PauseIntent("shop", 3600.0, "works"))
            before = {name: dict(rows) for name, rows in engine.runner.world.tables.items() if name != "engine"}
        target.routes["/home"] = hang
        async with running(folder, journal=journal) as engine:
            assert {name: rows for name, rows in engine.runner.world.tables.items() if name != "engine"} == before
            assert status(engine, "shop") == "paused"
            assert (status(engine, "web"), reason(engine, "web")) == ("unknown", "starting")
            assert target.hits["GET /shop"] == 1


async def test_a_start_from_a_checkpoint_is_a_start_from_everything_before(tmp_path: Path) -> None:
    journal = GatedJournal()
    async with serving() as target:
        folder = write_workspace(tmp_path, web=web(f"{target.url}/home"))
        async with running(folder, journal=journal) as engine:
            await engine.submit("k", "maria", i.PauseIntent("web", 3600.0, "works"))
            async with engine.runner.between_batches():
                state = encode_world(engine.runner.world)
        journal.checkpoint(state, datetime.fromtimestamp(system_clock().wall, UTC))
        assert journal.replay().entries == ()
        async with running(folder, journal=journal) as engine:
            assert status(engine, "web") == "paused"


async def test_who_did_what_before_an_upgrade_is_read_from_the_journal_and_then_kept(tmp_path: Path) -> None:
    async with mailing(tmp_path) as (engine, _, _, journal):
        worked, said = await engine.switch_now(SwitchKind.FAILOVER, "email", None, "maria", "test")
        assert worked, said
        async with engine.runner.between_batches():
            state = encode_world(engine.runner.world)
        known = dict(engine.runner.world.tables["practice"])
        assert known
    del state["practice"]
    journal.checkpoint(state, datetime.fromtimestamp(system_clock().wall, UTC))
    async with running(tmp_path, journal=journal) as engine:
        assert engine.runner.world.tables["practice"] == known


# --- a switch ----------------------------------------------------------------------------------------------------


async def test_a_failover_is_carried_out_once_and_verified(tmp_path: Path) -> None:
    async with mailing(tmp_path) as (engine, mailer, _, journal):
        worked, said = await engine.switch_now(SwitchKind.FAILOVER, "email", None, "maria", "test")
        assert worked, said
        assert (mailer.provider, mailer.puts) == ("ses-eu", 1)
        assert engine.runner.world.get("components", "email").active == "ses"
        order = [entry.type for entry in journal.entries() if entry.type.startswith("switch")]
        assert order[0] == "switch_intended"
        assert order[-1] == "switch_ended"


async def test_two_who_press_at_once_make_one_switch(tmp_path: Path) -> None:
    async with mailing(tmp_path) as (engine, mailer, _, _):
        intent = confirmed(engine)
        verdicts = await asyncio.gather(*(engine.submit(f"key-{n}", "maria", intent) for n in range(5)))
        assert sum(verdict["accepted"] for verdict in verdicts) == 1
        rules = {verdict["refused"]["rule"] for verdict in verdicts if verdict["refused"]}
        assert rules <= {"changed", "live_switch"}
        await eventually(lambda: switches(engine)[0].state is SwitchState.COMMITTED)
        assert mailer.puts == 1


async def test_the_same_request_again_gets_the_same_answer_and_does_nothing(tmp_path: Path) -> None:
    async with mailing(tmp_path) as (engine, mailer, _, _):
        intent = confirmed(engine)
        first, second = await asyncio.gather(*(engine.submit("one", "maria", intent) for _ in range(2)))
        assert first == second
        assert first["accepted"]
        await eventually(lambda: switches(engine)[0].state is SwitchState.COMMITTED)
        assert await engine.submit("one", "maria", intent) == first
        assert mailer.puts == 1


async def test_an_action_without_effect_is_no_success(tmp_path: Path) -> None:
    async with mailing(tmp_path) as (engine, mailer, _, _):
        mailer.effective = False
        component = engine.loaded.operation.components["email"]
        assert component.switch is not None
        object.__setattr__(component.switch, "deadline", 0.5)
        worked, said = await engine.switch_now(SwitchKind.FAILOVER, "email", None, "maria")
        assert worked is False
        assert "no_effect" in said
        assert mailer.puts == 1


async def test_what_was_refused_once_may_be_wanted_again(tmp_path: Path) -> None:
    async with mailing(tmp_path) as (engine, mailer, target, _):
        target.routes["/ses"] = http(status=503)
        await eventually(lambda: engine.runner.live.get("components", "email").redundancy == "lost")
        worked, said = await engine.switch_now(SwitchKind.FAILOVER, "email", "ses", "maria")
        assert (worked, mailer.puts) == (False, 0), said
        del target.routes["/ses"]
        await eventually(lambda: engine.runner.live.get("components", "email").redundancy == "ready")
        worked, said = await engine.switch_now(SwitchKind.FAILOVER, "email", "ses", "maria")
        assert worked, said


async def test_a_plan_has_a_fresh_preflight_and_a_manual_command(tmp_path: Path) -> None:
    async with mailing(tmp_path) as (engine, mailer, target, _):
        view = await engine.plan("email", SwitchKind.FAILOVER, None)
        (guard,) = [guard for guard in view["guards"] if guard["rule"] == "preflight"]
        assert guard["result"] == "pass"
        assert "curl" in view["manual"]
        assert "ses-eu" in view["manual"]
        assert "pm-prod" in view["undo"]
        assert mailer.puts == 0
        assert (await engine.plan("nobody", SwitchKind.FAILOVER, None))["refused"] is not None
        assert target.hits["PUT /provider"] == 0


async def test_the_ways_out_are_tried_all_year_but_not_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "WATCH_EVERY", 0.01)
    async with mailing(tmp_path) as (engine, _, __, ___):
        await eventually(lambda: engine.runner.live.get("preflights", "email/ses"))
        await engine.runner.settled()
        first = engine.runner.live.get("preflights", "email/ses").at
        await asyncio.sleep(0.1)
        assert engine.runner.live.get("preflights", "email/ses").at == first
        served = engine.runner.live.get("preflights", "email/postmark")  # once, if nobody knew yet that it serves
        monkeypatch.setattr(preflights_module, "EVERY", 0.01)
        await eventually(lambda: engine.runner.live.get("preflights", "email/ses").at > first)
        assert engine.runner.live.get("preflights", "email/postmark") == served


# --- an end in good order ----------------------------------------------------------------------------------------


async def test_the_end_waits_for_a_running_action_and_records_what_came_of_it(tmp_path: Path) -> None:
    journal = GatedJournal()
    async with serving() as target:
        mailer = Mailer(target)
        write_workspace(tmp_path, email=mail(target.url, settle="30s"))
        async with running(tmp_path, journal=journal, stop=False) as engine:
            await ready(engine)
            mailer.gate.clear()
            verdict = await engine.submit("k", "maria", confirmed(engine))
            await mailer.arrived.wait()
            assert engine.in_flight == [verdict["subject"]]
            stopping = asyncio.ensure_future(engine.stop("test"))
            await turn_loop(20)
            refused = await engine.submit("late", "maria", i.PauseIntent("email", 5.0))
            assert refused["refused"] is not None
            assert refused["refused"]["rule"] == "stopping"
            assert not stopping.done()
            mailer.gate.set()
            await stopping
        states = [entry.data["state"] for entry in journal.of("switch_advanced")]
        assert states == ["acting", "settling"]
        assert journal.of("engine_stopped")


async def test_an_action_that_has_not_begun_is_not_begun_by_an_engine_that_ends(tmp_path: Path) -> None:
    journal = GatedJournal()
    async with serving() as target:
        mailer = Mailer(target)
        write_workspace(tmp_path, email=mail(target.url))
        async with running(tmp_path, journal=journal, stop=False) as engine:
            await ready(engine)
            mailer.reads_gate.clear()
            await engine.submit("k", "maria", confirmed(engine))
            assert [switch.state for switch in switches(engine)] == [SwitchState.INTENT]
            engine.stopping = True
            mailer.reads_gate.set()
            await eventually(lambda: switches(engine)[0].state is SwitchState.ABORTED)
            await engine.stop("test")
        assert mailer.puts == 0


async def test_an_action_that_does_not_end_holds_up_the_end_for_its_grace_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine_module, "GRACE", 0.1)
    async with serving() as target:
        mailer = Mailer(target)
        write_workspace(tmp_path, email=mail(target.url))
        async with running(tmp_path, stop=False) as engine:
            await ready(engine)
            mailer.gate.clear()
            await engine.submit("k", "maria", confirmed(engine))
            await mailer.arrived.wait()
            async with asyncio.timeout(3):
                await engine.stop("test")
        assert "in doubt" in caplog.text
        mailer.gate.set()


async def test_a_disk_that_hangs_does_not_keep_an_engine_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "STORE_WITHIN", 0.2)
    journal = GatedJournal()
    async with serving() as target:
        folder = write_workspace(tmp_path, web=web(f"{target.url}/home"))
        async with running(folder, journal=journal, stop=False) as engine:
            await eventually(lambda: status(engine, "web") == "ok")
            journal.gate.clear()
            async with asyncio.timeout(3):
                await engine.stop("test")
            journal.gate.set()


async def test_whoever_waits_for_a_result_at_the_end_is_told(tmp_path: Path) -> None:
    async with serving(home=hang) as target:
        folder = write_workspace(tmp_path, web=web(f"{target.url}/home", timeout="20s"))
        async with running(folder, stop=False) as engine:
            waiting = asyncio.ensure_future(engine.observe("web/home"))
            await eventually(lambda: target.hits)
            await engine.stop("test")
            with pytest.raises(EngineError, match="ending"):
                await waiting


# --- a journal that hangs ----------------------------------------------------------------------------------------


async def test_while_the_disk_hangs_clients_hear_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "STUCK", 0.2)
    journal = GatedJournal()
    async with serving() as target:
        folder = write_workspace(tmp_path, web=web(f"{target.url}/home"))
        async with running(folder, journal=journal) as engine:
            await eventually(lambda: status(engine, "web") == "ok")
            client = engine.hub.subscribe()
            journal.gate.clear()
            asking = asyncio.ensure_future(engine.submit("k", "maria", i.PauseIntent("web", 60.0)))
            await asyncio.sleep(0.4)
            while not client.queue.empty():
                client.queue.get_nowait()
            await asyncio.sleep(1.2)
            assert client.queue.empty()
            journal.gate.set()
            assert (await asking)["accepted"]
            async with asyncio.timeout(2):
                await client.queue.get()


async def test_looking_back_does_not_hold_up_what_is_written(tmp_path: Path) -> None:
    release = threading.Event()
    async with serving() as target:
        folder = write_workspace(tmp_path, web=web(f"{target.url}/home"))
        async with running(folder) as engine:
            looking = asyncio.ensure_future(engine.remembered.journal(lambda _: release.wait(5)))
            async with asyncio.timeout(2):
                assert (await engine.submit("k", "maria", i.PauseIntent("web", 60.0)))["accepted"]
            release.set()
            assert await looking


# --- checks ------------------------------------------------------------------------------------------------------


async def test_a_result_that_is_waited_for_was_requested_after_the_question(tmp_path: Path) -> None:
    async with serving() as target:
        folder = write_workspace(tmp_path, web=web(f"{target.url}/home", every="60s"))
        async with running(folder) as engine:
            for _ in range(3):
                asked = system_clock().mono
                seen = await engine.observe("web/home")
                assert seen.requested >= asked


async def test_a_check_that_cannot_be_run_now_says_why_at_once(tmp_path: Path) -> None:
    busy = http(status=429, headers="Retry-After: 600")
    async with serving(busy=busy) as target:
        folder = write_workspace(tmp_path, web=web(f"{target.url}/home"), api=web(f"{target.url}/busy"))
        async with running(folder) as engine:
            await engine.submit("k", "maria", i.PauseIntent("web", 60.0))
            with pytest.raises(EngineError, match="web is paused"):
                await engine.observe("web/home")
            await engine.observe("api/home")
            with pytest.raises(EngineError, match="asked not to be called again"):
                await engine.observe("api/home")
            with pytest.raises(EngineError, match="no check"):
                await engine.observe("nobody/home")


async def test_a_check_of_which_nothing_is_heard_turns_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "WATCH_EVERY", 0.05)
    async with serving() as target:
        folder = write_workspace(tmp_path, web=web(f"{target.url}/home", every="200ms", timeout="30s"))
        async with running(folder) as engine:
            await eventually(lambda: status(engine, "web") == "ok")
            target.routes["/home"] = hang
            await eventually(lambda: status(engine, "web") == "unknown")
            assert reason(engine, "web") == "stale"


async def test_a_heartbeat_is_awaited_from_the_start_and_judged_when_it_comes(tmp_path: Path) -> None:
    text = "defaults: {down_after: 1, up_after: 1}\nchecks:\n  nightly: {kind: heartbeat, every: 1h, grace: 5m}\n"
    folder = write_workspace(tmp_path, backup=text)
    async with running(folder) as engine:
        await eventually(lambda: engine.runner.world.get("heartbeats", "backup/nightly"))
        assert engine.runner.world.get("heartbeats", "backup/nightly").due > system_clock().wall + 3500
        assert engine.beat("backup/nightly", "ok", "42 files")
        await eventually(lambda: status(engine, "backup") == "ok", hint=lambda: reason(engine, "backup"))
        assert engine.beat("backup/nightly", "fail", "disk full")
        await eventually(lambda: status(engine, "backup") == "down")
        assert not engine.beat("backup/weekly", "ok")


# --- other files -------------------------------------------------------------------------------------------------


async def test_other_files_change_only_what_they_change(tmp_path: Path) -> None:
    async with serving(home=http(status=500)) as target:
        folder = write_workspace(
            tmp_path, web=web(f"{target.url}/home", every="60s"), shop=web(f"{target.url}/shop", every="60s")
        )
        async with running(folder) as engine:
            await eventually(lambda: status(engine, "web") == "down" and status(engine, "shop") == "ok")
            since = engine.runner.live.get("checks", "web/home").since
            (folder / "checks" / "shop.yaml").unlink()
            write_workspace(tmp_path, api=web(f"{target.url}/api", every="60s"))
            engine.reload(loaded_from(folder))
            await eventually(lambda: engine.viewer().row("shop") is None and status(engine, "api") == "ok")
            assert engine.runner.live.get("checks", "web/home").since == since
            assert target.hits["GET /shop"] == 1
            assert {row["id"] for row in engine.hub.snapshot()["rows"]} == {"web", "api"}


async def test_a_component_with_an_open_incident_survives_its_removal_from_the_files(tmp_path: Path) -> None:
    async with serving(home=http(status=500)) as target:
        folder = write_workspace(tmp_path, web=web(f"{target.url}/home"), shop=web(f"{target.url}/shop"))
        async with running(folder) as engine:
            await eventually(lambda: engine.runner.world.tables["incidents"])
            (folder / "checks" / "web.yaml").unlink()
            engine.reload(loaded_from(folder))
            await engine.runner.settled()
            row = engine.viewer().row("web")
            assert row is not None
            assert row["removed"]


# --- runbooks ----------------------------------------------------------------------------------------------------

RUNBOOK = """---
title: Email is down
component: email
owner: maria
---

## Steps

### Look

```sh {check timeout=20s}
%s
```

### Switch

```opsdash {run}
failover email --to ses --reason "the runbook said so"
```
"""


def with_runbook(folder: Path, code: str = "echo fine") -> None:
    (folder / "runbooks").mkdir(exist_ok=True)
    (folder / "runbooks" / "email-down.md").write_text(RUNBOOK % code)
    (folder / "opsdash.yaml").write_text("title: Test\npeople: {maria: {name: Maria}}\n")


async def start_block(engine: Engine, step: str, text: str) -> str:
    runbook = engine.loaded.runbooks["email-down"]
    assert runbook.executable, engine.loaded.problems
    run = await engine.submit(f"open-{step}", "maria", i.OpenRunIntent("email-down", "email", runbook.sha256))
    verdict = await engine.submit(f"run-{step}", "maria", i.RunBlockIntent(run["subject"], step, 0, text))
    assert verdict["accepted"], verdict
    return run["subject"]


def block_state(engine: Engine, run: str, step: str) -> BlockState:
    blocks = engine.runner.world.get("runs", run).blocks
    state: BlockState = next(block.state for block in blocks if block.step == step)
    return state


async def test_a_block_of_opsdash_commands_switches_by_the_path_of_a_key(tmp_path: Path) -> None:
    async with mailing(tmp_path) as (engine, mailer, _, journal):
        with_runbook(tmp_path)
        engine.reload(loaded_from(tmp_path))
        run = await start_block(engine, "switch", "failover email --to ses")
        await eventually(lambda: block_state(engine, run, "switch") is not BlockState.STARTED)
        assert block_state(engine, run, "switch") is BlockState.PASSED
        assert mailer.puts == 1
        (intended,) = journal.of("switch_intended")
        assert intended.data["switch"]["reason"] == "the runbook said so"
        assert intended.data["switch"]["who"] == "maria"


async def test_a_block_that_runs_when_the_engine_ends_is_ended_and_recorded_as_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "GRACE", 0.1)
    journal = GatedJournal()
    async with serving() as target:
        Mailer(target)
        write_workspace(tmp_path, email=mail(target.url))
        with_runbook(tmp_path, "touch begun; sleep 30")
        async with running(tmp_path, journal=journal, stop=False) as engine:
            await start_block(engine, "look", "touch begun; sleep 30")
            await eventually((tmp_path / "begun").exists)
            assert engine.in_flight == ["RUN-1 look"]
            await engine.stop("test")
        (finished,) = journal.of("block_finished")
        assert finished.data["result"]["state"] == "unknown"


async def test_a_block_that_fails_in_a_way_nobody_foresaw_is_unknown_and_can_be_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mailing(tmp_path) as (engine, _, __, ___):
        with_runbook(tmp_path)
        engine.reload(loaded_from(tmp_path))

        async def crash(*_: Any) -> Any:
            raise ZeroDivisionError("unforeseen")

        with monkeypatch.context() as patch:
            patch.setattr(engine.runs._blocks, "execute", crash)
            run = await start_block(engine, "look", "echo fine")
            await eventually(lambda: block_state(engine, run, "look") is BlockState.UNKNOWN)
        again = i.RunBlockIntent(run, "look", 0, "echo fine")
        refused = (await engine.submit("at once", "maria", again))["refused"]
        assert refused is not None
        assert refused["rule"] == "unknown"
        await engine.submit("decided", "maria", i.DecideBlockIntent(run, "look", 0, Decision.REPEAT))
        await engine.submit("again", "maria", again)
        await eventually(lambda: block_state(engine, run, "look") is BlockState.PASSED)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("failover email --force", "there is no option --force"),
        ("failover email --to", "--to needs a value"),
        ("failover email --to=nobody", "no provider 'nobody'"),
        ("failover nobody", "no component 'nobody'"),
        ("pause email", "not possible"),
        ("check email/nothing", "no check"),
        ("degrade email nothing", "no degraded mode"),
    ],
)
async def test_a_command_that_cannot_be_meant_does_nothing(tmp_path: Path, line: str, said: str) -> None:
    async with mailing(tmp_path) as (engine, mailer, _, __):
        worked, text = await Commands(engine).carry_out(tuple(line.split()), "maria")
        assert worked is False
        assert said in text
        assert mailer.puts == 0


async def test_a_check_command_says_what_the_check_says(tmp_path: Path) -> None:
    async with mailing(tmp_path) as (engine, _, target, __):
        assert (await Commands(engine).carry_out(("check", "email/delivery"), "maria"))[0] is True
        target.routes["/ses"] = http(status=503)
        assert (await Commands(engine).carry_out(("check", "email/ses/api"), "maria"))[0] is False
        await engine.submit("k", "maria", i.PauseIntent("email", 60.0))
        worked, said = await Commands(engine).carry_out(("check", "email/delivery"), "maria")
        assert worked is None
        assert "paused" in said
