"""Engines that are killed: the next one shows the same world, doubts what was in flight, and fires nothing twice."""

from __future__ import annotations

import asyncio
import os
import random
from functools import partial
from typing import TYPE_CHECKING, Any

from opsdash.model.switch import SwitchKind, SwitchState
from opsdash.storage.memory import MemoryJournal
from tests.engine.support import (
    GatedJournal,
    Mailer,
    ShiftedClock,
    Target,
    eventually,
    eventually_asked,
    hang,
    http,
    mail,
    running,
    serving,
    web,
    write_workspace,
)
from tests.lifecycle.support import engine, journal, of

if TYPE_CHECKING:
    from pathlib import Path

    from opsdash.engine.engine import Engine
    from opsdash.model.views import IncidentView
    from opsdash.service.client import EngineSession

RUNBOOK = """---
title: Web is down
component: web
---

## Steps

### Look

```sh {run timeout=60s}
echo begun >> %s
sleep 60
```
"""


class Fleet:
    """Several mailers on one target, each the application behind a component of its own."""

    def __init__(self, target: Target, *names: str) -> None:
        self.target = target
        self.mailers = {name: Mailer(target, f"/{name}") for name in names}

    def __getitem__(self, name: str) -> Mailer:
        return self.mailers[name]

    def component(self, name: str, **settings: str) -> str:
        return mail(f"{self.target.url}/{name}", **settings)

    @property
    def puts(self) -> dict[str, int]:
        return {name: mailer.puts for name, mailer in self.mailers.items()}

    def heal(self) -> None:
        """Everything answers again."""
        for mailer in self.mailers.values():
            for gate in (mailer.gate, mailer.reads_gate, mailer.front_gate):
                gate.set()


async def until_state(session: EngineSession, component: str, *states: str, within: float = 10.0) -> Any:
    async def there() -> Any:
        found = await session.switch(component)
        return found if found is not None and found["state"] in states else None

    return await eventually_asked(there, within=within, hint=lambda: (component, states))


async def begin(session: EngineSession, component: str) -> None:
    plan: Any = await session.plan(component, "failover")
    names = ("component", "generation", "source", "target")
    verdict = await session.submit("failover", {name: plan[name] for name in names})
    assert verdict["accepted"], verdict


async def ready(session: EngineSession, *components: str) -> None:
    async def all_ready() -> bool:
        rows = {row["id"]: row for row in (await session.snapshot())["rows"]}
        return all(rows[name]["redundancy"] == "ready" and rows[name]["status"] == "ok" for name in components)

    for name in components:
        await session.submit("poll", {"target": name})
    await eventually_asked(all_ready)


async def incident_of(session: EngineSession, component: str) -> IncidentView:
    """The one incident of a component. A switch that stands half-way may have opened one of its own."""
    (found,) = [each for each in await session.incidents() if each["component"] == component]
    return found


async def test_killed_in_every_state_of_a_switch_the_next_engine_observes_and_fires_nothing_twice(
    tmp_path: Path,
) -> None:
    """Six switches, a block, a pause and an incident are in flight when the engine is killed."""
    names = ("intent", "acting", "lost", "settling", "verifying", "undoing")
    begun = tmp_path / "begun"
    async with serving() as target:
        fleet = Fleet(target, *names)
        folder = tmp_path / "w"
        write_workspace(
            folder,
            web=web(f"{target.url}/web"),
            shop=web(f"{target.url}/shop"),
            intent=fleet.component("intent"),
            acting=fleet.component("acting"),
            lost=fleet.component("lost", deadline="1s"),
            settling=fleet.component("settling", settle="2s"),
            verifying=fleet.component("verifying"),
            undoing=fleet.component("undoing", deadline="500ms"),
        )
        (folder / "runbooks").mkdir()
        (folder / "runbooks" / "web-down.md").write_text(RUNBOOK % begun)
        target.routes["/web"] = http(status=500)
        async with engine(folder) as one:
            session = one.session
            await ready(session, *names)
            await one.until_status("web", "down")
            # a switch without effect, which is being undone
            fleet["undoing"].effective = False
            await begin(session, "undoing")
            await until_state(session, "undoing", "no_effect", "unknown")
            fleet["undoing"].arrived.clear()
            fleet["undoing"].gate.clear()
            assert (await session.submit("undo", {"component": "undoing", "reason": "test"}))["accepted"]
            await fleet["undoing"].arrived.wait()
            # the others, each stopped where its name says
            fleet["intent"].reads_gate.clear()
            fleet["acting"].gate.clear()
            fleet["lost"].gate.clear()
            fleet["lost"].effective = False
            fleet["verifying"].front_gate.clear()
            for name in names[:-1]:
                await begin(session, name)
            await asyncio.gather(fleet["acting"].arrived.wait(), fleet["lost"].arrived.wait())
            # a block, a pause and an incident
            run = (await session.submit("open_run", {"runbook": "web-down"}))["subject"]
            assert (await session.submit("run_block", {"run": run, "step": "look", "block": 0}))["accepted"]
            await eventually(begun.exists)
            assert (await session.submit("pause", {"component": "shop", "seconds": 600}))["accepted"]
            incident = await incident_of(session, "web")
            for name in names:
                wanted = {"lost": "acting"}.get(name, name)
                await until_state(session, name, wanted)
            await one.kill()
        before = journal(folder)
        puts = fleet.puts
        assert puts == {"intent": 0, "acting": 1, "lost": 1, "settling": 1, "verifying": 1, "undoing": 2}
        fleet.heal()

        async with engine(folder) as two:
            session = two.session
            assert journal(folder)[: len(before)] == before
            ended = {
                "intent": await until_state(session, "intent", "aborted"),
                "acting": await until_state(session, "acting", "committed"),
                "lost": await until_state(session, "lost", "no_effect"),
                "settling": await until_state(session, "settling", "committed"),
                "verifying": await until_state(session, "verifying", "committed"),
                "undoing": await until_state(session, "undoing", "undone", "needs_human"),
            }
            assert "nothing was done" in ended["intent"]["detail"]
            assert all(ended[name]["in_doubt"] for name in names if name != "intent")
            assert fleet.puts == puts
            assert (await incident_of(session, "web"))["id"] == incident["id"]
            assert await two.status("shop") == "paused"
            (step,) = (await session.runbook("web-down"))["steps"]
            (block,) = step["blocks"]
            assert block["state"] == "unknown"
            assert "engine ended" in block["detail"]
            assert begun.read_text() == "begun\n"


def polled(target: Target, hits: int) -> bool:
    return sum(target.hits.values()) >= hits


async def test_killed_at_any_moment_while_polling_the_next_engine_shows_the_same_world(tmp_path: Path) -> None:
    chance = random.Random(7)  # noqa: S311 - nothing secret about a moment
    async with serving(bad=http(status=500)) as target:
        folder = tmp_path / "w"
        good = {f"c{n}": web(f"{target.url}/ok", every="100ms") for n in range(6)}
        write_workspace(folder, bad=web(f"{target.url}/bad", every="100ms"), **good)
        shown: dict[str, tuple[str, str | None]] = {}
        for turn in range(3):
            async with engine(folder) as one:
                await one.until_status("bad", "down")
                await one.until_status("c5", "ok")
                rows = (await one.session.snapshot())["rows"]
                now = {row["id"]: (row["status"], row["incident"]) for row in rows}
                if turn:
                    assert now["bad"] == shown["bad"]
                shown = now
                hits = sum(target.hits.values()) + chance.randrange(40)
                await eventually(partial(polled, target, hits))
                await one.kill()
        assert len(of(folder, "incident_opened")) == 1
        assert len(of(folder, "engine_started")) == 3
        assert of(folder, "engine_stopped") == []


async def test_a_torn_last_line_is_dropped_with_a_notice(tmp_path: Path) -> None:
    async with serving() as target:
        folder = write_workspace(tmp_path / "w", web=web(f"{target.url}/home"))
        async with engine(folder) as one:
            await one.until_status("web", "ok")
            await one.session.submit("pause", {"component": "web", "seconds": 600})
            await one.kill()
        segment = next((one.where.state / "journal").glob("*.jsonl"))
        whole = segment.read_bytes()
        with segment.open("ab") as file:
            file.write(whole.splitlines()[-1][:57])
        async with engine(folder) as two:
            assert await two.status("web") == "paused"
            assert "never acknowledged" in two.said


async def test_from_every_prefix_of_the_journal_nothing_is_fired_again(tmp_path: Path) -> None:
    """The short form of the crash matrix: an engine begins at each boundary of a whole switch."""
    whole = GatedJournal()
    async with serving() as target:
        mailer = Mailer(target)
        folder = write_workspace(tmp_path, email=mail(target.url, deadline="1s"))
        async with running(folder, journal=whole) as first:
            for check in first.loaded.operation.checks:
                first.poller.poll(check)
            await eventually(lambda: first.runner.live.get("components", "email").redundancy == "ready")
            worked, said = await first.switch_now(SwitchKind.FAILOVER, "email", None, "maria")
            assert worked, said
        entries = list(whole.entries())
        begins = next(number for number, entry in enumerate(entries) if entry.type == "switch_intended")
        assert mailer.puts == 1
        target.routes["/delivery"] = hang
        for count in range(begins, len(entries) + 1):
            taken = MemoryJournal(entries[:count])
            async with running(folder, journal=taken) as again:
                switches = list(again.runner.world.tables["switches"].values())
                assert bool(switches) == (count > begins)
                for switch_ in switches:
                    assert switch_.state is not SwitchState.ACTING, count
                    ended = (SwitchState.ABORTED, SwitchState.COMMITTED)
                    assert switch_.in_doubt or switch_.state in ended, count
        assert mailer.puts == 1


async def test_a_switch_in_doubt_blocks_the_next_one_until_it_is_settled(tmp_path: Path) -> None:
    async with serving() as target:
        mailer = Mailer(target)
        folder = write_workspace(tmp_path / "w", email=mail(target.url, deadline="500ms"))
        async with engine(folder) as one:
            await ready(one.session, "email")
            mailer.gate.clear()
            await begin(one.session, "email")
            await mailer.arrived.wait()
            await one.kill()
        mailer.gate.set()
        target.routes["/provider"] = http(status=503)
        async with engine(folder) as two:
            plan: Any = await two.session.plan("email", "failover", "ses")
            assert "live_switch" in plan["failed"]
            await until_state(two.session, "email", "unknown")
            plan = await two.session.plan("email", "failover", "ses")
            assert "live_switch" in plan["failed"]
            arguments = {"component": "email", "state": "committed", "reason": "the vendor says so"}
            assert (await two.session.submit("settle", arguments))["accepted"]
            found = await two.session.switch("email")
            assert found is not None
            assert found["state"] == "committed"
        assert mailer.puts == 1


async def test_a_killed_engine_leaves_no_child_in_charge_of_its_lock(tmp_path: Path) -> None:
    """A program of the engine's inherits neither lock nor socket: the next engine can start while it goes on."""
    pid_file = tmp_path / "pid"
    probe = f"{{kind: command, argv: [sh, -c, 'echo $$ > {pid_file}; exec sleep 30'], timeout: 60s, every: 60s}}"
    folder = write_workspace(tmp_path / "w", probe=f"checks: {{probe: {probe}}}\n")
    async with engine(folder) as one:
        await eventually(lambda: pid_file.exists() and pid_file.read_text().strip())
        child = int(pid_file.read_text())
        await one.kill()
        try:
            async with engine(folder) as two:
                assert await two.status("probe")
        finally:
            os.kill(child, 9)


async def test_an_intent_that_was_acknowledged_is_there_after_the_kill(tmp_path: Path) -> None:
    async with serving() as target:
        folder = write_workspace(tmp_path / "w", web=web(f"{target.url}/home"))
        async with engine(folder) as one:
            taken = [
                (await one.session.submit("pause", {"component": "web", "seconds": 600 + n}))["accepted"]
                for n in range(20)
            ]
            await one.kill()
        assert all(taken)
        assert len(of(folder, "paused")) == 20


async def test_a_request_that_comes_again_after_the_kill_is_answered_and_not_carried_out_again(tmp_path: Path) -> None:
    """Whoever got no answer asks again with the same key, also where what was asked for would be refused by now."""
    async with serving() as target:
        folder = write_workspace(tmp_path / "w", web=web(f"{target.url}/home"))
        (folder / "runbooks").mkdir()
        (folder / "runbooks" / "web-down.md").write_text(RUNBOOK % (tmp_path / "begun"))
        async with engine(folder) as one:
            opened = await one.session.submit("open_run", {"runbook": "web-down"}, "k-open")
            incident = await one.session.submit("open_incident", {"component": "web", "title": "slow"}, "k-incident")
            asked: list[tuple[str, dict[str, Any], str]] = [
                ("note", {"incident": incident["subject"], "text": "looking"}, "k-note"),
                ("mark_step", {"run": opened["subject"], "step": "look", "mark": "done"}, "k-mark"),
                ("end_run", {"run": opened["subject"]}, "k-end"),
            ]
            for name, arguments, key in asked:
                assert (await one.session.submit(name, arguments, key))["accepted"]
            await one.kill()
        async with engine(folder) as two:
            again = await two.session.submit("open_incident", {"component": "web", "title": "slow"}, "k-incident")
            assert (again["accepted"], again["subject"]) == (True, incident["subject"])
            for name, arguments, key in asked:
                assert (await two.session.submit(name, arguments, key))["accepted"], name
            refused = (await two.session.submit("end_run", asked[2][1], "k-other"))["refused"]
            assert refused is not None
            shown = {line["type"] for line in await two.session.journal()}
            assert "incident_noted" in shown
            assert "request_accepted" not in shown
        assert [each["text"] for each in of(folder, "incident_noted")].count("looking") == 1
        assert [len(of(folder, kind)) for kind in ("incident_opened", "step_marked", "run_ended")] == [1, 1, 1]


FENCED = """  before:
    fence:
      action: {{kind: command, argv: [sh, -c, "echo fence >> {log}; test -e {go} || sleep 60"]}}
      undo: {{kind: command, argv: [sh, -c, "echo unfence >> {log}"]}}
"""


async def test_killed_at_the_fence_a_person_leads_back_and_it_is_really_undone(tmp_path: Path) -> None:
    log, go = tmp_path / "log", tmp_path / "go"
    async with serving() as target:
        mailer = Mailer(target)
        text = mail(target.url, deadline="1s", more=FENCED.format(log=log, go=go))
        folder = write_workspace(tmp_path / "w", email=text)
        async with engine(folder) as one:
            await ready(one.session, "email")
            await begin(one.session, "email")
            await eventually(log.exists)
            assert (await until_state(one.session, "email", "fencing"))["step"] == "fence"
            await one.kill()
        go.touch()
        async with engine(folder) as two:
            found = await until_state(two.session, "email", "needs_human")
            assert found["in_doubt"]
            assert "interrupted at fence" in found["detail"]
            assert "undo" in found["ways_out"]
            assert log.read_text().split() == ["fence"]
            plan: Any = await two.session.plan("email", "failover", "ses")
            assert "live_switch" in plan["failed"]
            assert (await two.session.submit("undo", {"component": "email", "reason": "a test"}))["accepted"]
            undone = await until_state(two.session, "email", "undone", "needs_human")
            assert undone["state"] == "undone", undone["detail"]
        assert log.read_text().split() == ["fence", "unfence"]
        assert (mailer.puts, mailer.provider) == (0, "pm-prod")


def is_known(one: Engine) -> bool:
    """Whether it is known of email who serves, and that a backup could."""
    state, health = (table.get("components", "email") for table in (one.runner.world, one.runner.live))
    return state is not None and state.active is not None and health is not None and health.redundancy == "ready"


async def test_on_a_full_disk_nothing_is_done_and_the_manual_command_is_named(tmp_path: Path) -> None:
    log = tmp_path / "log"
    whole = GatedJournal()
    async with serving() as target:
        mailer = Mailer(target)
        folder = write_workspace(tmp_path, email=mail(target.url, more=FENCED.format(log=log, go=tmp_path)))
        async with running(folder, journal=whole) as one:
            for check in one.loaded.operation.checks:
                one.poller.poll(check)
            await eventually(lambda: is_known(one))
            await one.runner.settled()  # what made it known is in the journal, and will not be taken back
            whole.full = True
            worked, said = await one.switch_now(SwitchKind.FAILOVER, "email", None, "maria")
            assert not worked, said
            assert whole.of("switch_intended") == []

            last: dict[str, Any] = {}

            async def refused() -> Any:
                shown = await one.plan("email", SwitchKind.FAILOVER, None)
                last.update(shown)
                return shown if "journal" in shown["failed"] else None

            plan = await eventually_asked(refused, hint=lambda: (said, last, one.runner.live.tables["engine"]))
            assert "/provider" in plan["manual"]
            assert plan["steps"][0]["manual"].startswith("sh -c")
            assert not log.exists()
            assert mailer.puts == 0
            whole.full = False


async def test_a_clock_that_jumps_an_hour_changes_nothing_about_a_switch_in_flight(tmp_path: Path) -> None:
    clock = ShiftedClock()
    async with serving() as target:
        mailer = Mailer(target)
        mailer.gate.clear()
        folder = write_workspace(tmp_path, email=mail(target.url, deadline="5s"))
        async with running(folder, clock=clock) as one:
            for check in one.loaded.operation.checks:
                one.poller.poll(check)
            await eventually(lambda: is_known(one))
            pressed = asyncio.ensure_future(one.switch_now(SwitchKind.FAILOVER, "email", None, "maria"))
            await mailer.arrived.wait()
            clock.wall -= 3600
            mailer.gate.set()
            worked, said = await pressed
            assert worked, said
            switch = one.viewer().draft.switch("email")
            assert switch is not None
            assert switch.state is SwitchState.COMMITTED
        assert mailer.puts == 1
