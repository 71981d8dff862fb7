"""Many things at once, in engines with a process of their own: a storm of failures, two people at one runbook, a disk
that fills up in the middle of a step.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.support import eventually, eventually_asked, http, serving, web, write_workspace
from tests.lifecycle.kill_checks import lines_of
from tests.lifecycle.support import engine, of

if TYPE_CHECKING:
    from pathlib import Path

    from opsdash.service.client import EngineSession
    from tests.engine.support import Request

MANY = 500

CHECK = """
defaults: {every: 1s, timeout: 30s, down_after: 1, up_after: 1}
checks: {there: {kind: file, path: up/NAME}}
"""


@pytest.mark.timeout(240)
async def test_500_components_that_fail_in_one_second_are_one_message_for_each_channel(tmp_path: Path) -> None:
    """A folder goes away in which each of them has a file. Another engine says in one message that all are over."""
    posted: list[dict[str, Any]] = []

    async def take(request: Request) -> bytes:
        posted.append(json.loads(request.body))
        return http()

    def came() -> list[list[dict[str, Any]]]:
        """What has come over each channel; what came twice is one message."""
        return [list({each["id"]: each for each in sent}.values()) for sent in (posted, lines_of(log))]

    log = tmp_path / "w" / "alarms.jsonl"
    names = [f"part-{number:03}" for number in range(MANY)]
    async with serving(hook=take) as target:
        settings = f"""
alarms:
  group_wait: 12s
  channels:
    log: {{kind: file, path: alarms.jsonl, format: json}}
    hook: {{kind: webhook, url: "{target.url}/hook"}}
"""
        folder = write_workspace(
            tmp_path / "w", settings=settings, **{name: CHECK.replace("NAME", name) for name in names}
        )
        (folder / "up").mkdir()
        for name in names:
            (folder / "up" / name).touch()
        async with engine(folder, wait=False) as one:
            await one.until_it_answers(60.0)
            await eventually_asked(lambda: all_are(one.session, "ok"), within=60.0)
            (folder / "up").rename(folder / "away")
            await eventually(lambda: all(came()), within=60.0)
            assert len(of(folder, "alarm_raised")) == MANY, "they failed within the time for which a message waits"
            await one.kill()
        (folder / "away").rename(folder / "up")
        async with engine(folder, wait=False) as two:
            await two.until_it_answers(60.0)
            await eventually(lambda: all(len(each) > 1 for each in came()), within=60.0)
            await eventually_asked(lambda: all_is_delivered(two.session), within=60.0)
            await two.kill()
    for each in came():
        assert [message["kind"] for message in each] == ["problem", "resolved"]
        assert [len(message["about"]) for message in each] == [MANY, MANY]
        assert re.fullmatch(rf"{MANY} alarms: part-\d+, part-\d+, part-\d+ and {MANY - 3} others", each[0]["title"])
    assert len(of(folder, "message_queued")) == 4


async def all_is_delivered(session: EngineSession) -> bool:
    await asyncio.sleep(0.3)
    return {each["state"] for each in (await session.alarms())["outbox"]} == {"delivered"}


async def all_are(session: EngineSession, status: str) -> bool:
    await asyncio.sleep(0.3)  # 500 rows are work for the engine, too
    return Counter(row["status"] for row in (await session.snapshot())["rows"]) == {status: MANY}


# --- two at one runbook ----------------------------------------------------------------------------------------------

BOOK = """---
title: Web is down
component: web
---

## Steps

### Restart

- [ ] told the others

```sh {run}
echo $$ >> ran
```
"""

DRIVER = """
import asyncio, json, os, sys
from pathlib import Path
from opsdash.service.client import EngineSession
from opsdash.service.places import places
from opsdash.service.session import SessionError

async def main():
    folder, name, rounds, prefix = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), os.urandom(4).hex()
    session = EngineSession(places(folder), claim=name)
    accepted, rules = [], set()
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(rounds):
        moves = [
            ("open_run", {"runbook": "web-down"}),
            ("tick", {"run": "RUN-1", "step": "restart", "tick": 0, "done": number % 2 == 0}),
            ("run_block", {"run": "RUN-1", "step": "restart", "block": 0}),
        ]
        for intent, arguments in moves:
            try:
                verdict = await session.submit(intent, arguments, f"{prefix}-{number}-{intent}")
            except SessionError:
                print(json.dumps({"accepted": accepted, "rules": sorted(rules)}))
                return
            if verdict["accepted"]:
                accepted.append([intent, verdict["subject"]])
            else:
                rules.add(verdict["refused"]["rule"])
    print(json.dumps({"accepted": accepted, "rules": sorted(rules)}))

asyncio.run(main())
"""


async def test_of_two_who_press_at_once_one_drives_and_each_block_runs_as_often_as_it_was_begun(
    tmp_path: Path,
) -> None:
    """Both in a process of their own; the engine is killed in the middle, and they go on with the next one."""
    names = ("maria", "ken")
    async with serving() as target:
        folder = write_workspace(tmp_path / "w", web=web(f"{target.url}/home"))
        (folder / "runbooks").mkdir()
        (folder / "runbooks" / "web-down.md").write_text(BOOK)
        async with engine(folder) as one:
            first = await drive(folder, names, rounds=10_000, kill=one)
        async with engine(folder) as two:
            await eventually_asked(lambda: nothing_runs(two.session))
            run: Any = await two.session.runbook("web-down")
            (driver,) = {each["who"] for each in of(folder, "run_started")}
            assert run["driver"] == driver
            if run["steps"][0]["blocks"][0]["in_doubt"]:
                as_driver = type(two.session)(two.where, claim=driver.partition(" ")[0])
                decided = {"run": "RUN-1", "step": "restart", "block": 0, "decision": "repeat"}
                assert (await as_driver.submit("decide_block", decided))["accepted"]
            second = await drive(folder, names, rounds=20)
            await eventually_asked(lambda: nothing_runs(two.session))
        for said in (first, second):
            winner, other = sorted(names, key=lambda name: not driver.startswith(f"{name} "))
            assert said[winner]["rules"] in ([], ["running"])
            assert said[other]["rules"] == ["driver"]
            assert {tuple(each) for each in said[other]["accepted"]} <= {("open_run", "RUN-1")}
        assert len(of(folder, "run_started")) == 1
        assert {each["who"] for each in of(folder, "run_ticked")} == {driver}
        spawned = [str(each["pid"]) for each in of(folder, "block_spawned")]
        ran = (folder / "ran").read_text().split()
        assert len(set(ran)) == len(ran)
        assert set(ran) <= set(spawned)
        passed = sum(each["result"]["state"] == "passed" for each in of(folder, "block_finished"))
        assert passed <= len(ran) <= len(of(folder, "block_started"))
        accepted = sum(each == ["run_block", ""] for said in (first, second) for each in said[winner]["accepted"])
        assert 0 <= len(of(folder, "block_started")) - accepted <= 1, "one may not have been answered any more"


async def drive(folder: Path, names: tuple[str, str], rounds: int, kill: Any = None) -> dict[str, Any]:
    """Two processes that press at once. Returns what each was told."""
    processes = {}
    for name in names:
        processes[name] = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-c", DRIVER, str(folder), name, str(rounds),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
    try:
        for process in processes.values():
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        if kill is None:
            return await told(processes)
        both = asyncio.ensure_future(told(processes))
        await eventually(lambda: len(of(folder, "block_finished")) > 3, within=20.0)
        await kill.kill()
        return await both
    finally:
        for process in processes.values():
            if process.returncode is None:
                process.kill()
            await process.wait()


async def told(processes: dict[str, asyncio.subprocess.Process]) -> dict[str, Any]:
    said = await asyncio.gather(*(process.communicate(b"go\n") for process in processes.values()))
    return {name: json.loads(out) for name, (out, _) in zip(processes, said, strict=True)}


async def nothing_runs(session: EngineSession) -> bool:
    run: Any = await session.runbook("web-down")
    return all(block["state"] != "started" for step in run["steps"] for block in step["blocks"])


# --- a disk that fills up while a step is executed -------------------------------------------------------------------

SLOW = """---
title: Web is down
component: web
---

## Steps

### Restart

```sh {run}
echo begun >> ran
while [ ! -e go ]; do sleep 0.02; done
echo done >> ran
```

### Verify

```sh {run}
echo verified >> ran
```
"""


@pytest.mark.parametrize("end", ["room again", "killed"])
async def test_a_disk_that_fills_up_while_a_block_runs_loses_none_of_it_and_begins_no_other(
    tmp_path: Path, end: str
) -> None:
    async with serving() as target:
        folder = write_workspace(tmp_path / "w", web=web(f"{target.url}/home"))
        (folder / "runbooks").mkdir()
        (folder / "runbooks" / "web-down.md").write_text(SLOW)
        async with engine(folder) as one:
            session = one.session
            run = (await session.submit("open_run", {"runbook": "web-down"}))["subject"]
            restart, verify = ({"run": run, "step": step, "block": 0} for step in ("restart", "verify"))
            assert (await session.submit("run_block", restart))["accepted"]
            await eventually((folder / "ran").exists)
            segment = next((one.where.state / "journal").glob("*.jsonl"))
            limit(one.process.pid, segment.stat().st_size)
            for intent, arguments in (
                ("run_block", verify),
                ("mark_step", {"run": run, "step": "restart", "mark": "done"}),
                ("cancel_block", restart),
            ):
                refused = (await session.submit(intent, arguments))["refused"]
                assert refused is not None, intent
                assert refused["rule"] == "journal"
                assert "nothing was done" in refused["reason"]
            (folder / "go").touch()
            await eventually(lambda: (folder / "ran").read_text().split() == ["begun", "done"])
            assert (await state(session, "restart"))[0] == "started", "its end is not recorded, so it is not shown"
            if end == "killed":
                await one.kill()
            else:
                limit(one.process.pid, resource.RLIM_INFINITY)
                await until(session, "restart", "passed")
        if end == "killed":
            async with engine(folder) as two:
                assert await state(two.session, "restart") == ("unknown", True)
                decided = {**restart, "decision": "done"}
                assert (await two.session.submit("decide_block", decided))["accepted"]
                assert (await two.session.submit("run_block", verify))["accepted"]
                await until(two.session, "verify", "passed")
        assert (folder / "ran").read_text().split()[:2] == ["begun", "done"]
        assert (folder / "ran").read_text().count("verified") == (1 if end == "killed" else 0)
        assert len(of(folder, "step_marked")) == 0


async def state(session: EngineSession, step: str) -> tuple[str, bool]:
    run: Any = await session.runbook("web-down")
    (block,) = next(each for each in run["steps"] if each["id"] == step)["blocks"]
    return block["state"], block["in_doubt"]


async def until(session: EngineSession, step: str, wanted: str) -> None:
    async def there() -> bool:
        return (await state(session, step))[0] == wanted

    await eventually_asked(there, within=20.0)


def limit(pid: int, size: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
