"""Engines that are killed while a runbook is followed: nothing acknowledged is lost, nothing is repeated by itself."""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.model.run import BlockState
from opsdash.storage.memory import MemoryJournal
from opsdash.storage.texts import Texts
from tests.engine.support import (
    GatedJournal,
    eventually,
    eventually_asked,
    loaded_from,
    running,
    serving,
    web,
    write_workspace,
)
from tests.lifecycle.support import engine, of
from tests.service.support import served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opsdash.service.client import EngineSession

BOOK = """---
title: Web is down
component: web
---

## Steps

### Look

- [ ] one
- [ ] two

### Restart

```sh {run once}
echo $$ >> pids
%s
```

```sh {check}
echo checked >> looked
```

### Verify

```sh {check}
true
```
"""

RESTART = {"step": "restart", "block": 0}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where the workspace is; what its blocks have left running is ended at the end."""
    yield tmp_path / "w"
    for pid in pids(tmp_path / "w"):
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def pids(folder: Path) -> list[int]:
    """The shells that have run the block."""
    file = folder / "pids"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def write_book(folder: Path, code: str = "sleep 60") -> None:
    (folder / "runbooks").mkdir(exist_ok=True)
    (folder / "runbooks" / "web-down.md").write_text(BOOK % code)


async def wants(session: EngineSession, intent: str, **arguments: Any) -> str:
    verdict = await session.submit(intent, arguments)
    assert verdict["accepted"], verdict["refused"]
    return verdict["subject"]


async def block(session: EngineSession, step: str = "restart", number: int = 0) -> Any:
    steps = {each["id"]: each for each in (await session.runbook("web-down"))["steps"]}
    return steps[step]["blocks"][number]


async def is_over(session: EngineSession, number: int) -> bool:
    return (await block(session, number=number))["state"] not in ("", "started")


async def test_a_program_that_outlives_the_engine_is_found_again_and_never_started_twice(folder: Path) -> None:
    async with serving() as target:
        write_workspace(folder, web=web(f"{target.url}/home"))
        write_book(folder)
        async with engine(folder) as one:
            run = await wants(one.session, "open_run", runbook="web-down")
            await wants(one.session, "tick", run=run, step="look", tick=1)
            await wants(one.session, "mark_step", run=run, step="look", mark="done")
            await wants(one.session, "run_block", run=run, **RESTART)
            await eventually(lambda: pids(folder))
            await one.kill()
        (pid,) = pids(folder)
        async with engine(folder) as two:
            view = await two.session.runbook("web-down")
            assert (view["id"], view["current"]) == (run, "restart")
            assert [done for _, done in view["steps"][0]["ticks"]] == [False, True]
            found = await block(two.session)
            assert (found["state"], found["in_doubt"]) == ("unknown", True)
            assert f"it is still running, process group {pid}" in found["process"]
            os.killpg(pid, signal.SIGKILL)
            await eventually_asked(lambda: _is_gone(two.session))
            assert not (folder / "looked").exists(), "reading it does nothing"
            assert await wants(two.session, "open_run", runbook="web-down") == run
            await eventually_asked(partial(is_over, two.session, 1))
            await wants(two.session, "open_run", runbook="web-down")
            assert (folder / "looked").read_text() == "checked\n", "its check ran by itself, once"
            verdict = await two.session.submit("run_block", {"run": run, **RESTART})
            assert verdict["refused"] is not None
            assert verdict["refused"]["rule"] == "unknown"
            await wants(two.session, "decide_block", run=run, decision="done", **RESTART)
            await two.kill()
        async with engine(folder) as three:
            found = await block(three.session)
            assert (found["decision"], found["in_doubt"]) == ("done", False)
        assert pids(folder) == [pid]


async def _is_gone(session: EngineSession) -> bool:
    return "it is gone" in (await block(session))["process"]


async def test_what_was_edited_while_no_engine_ran_is_shown_when_the_run_is_resumed(folder: Path) -> None:
    async with serving() as target:
        write_workspace(folder, web=web(f"{target.url}/home"))
        write_book(folder, "true")
        async with engine(folder) as one:
            run = await wants(one.session, "open_run", runbook="web-down")
            await one.kill()
        write_book(folder, "echo edited")
        async with engine(folder) as two:
            view = await two.session.runbook("web-down")
            assert view["changed"]
            assert [each["step"] for each in view["differences"]] == ["restart"]
            assert "+echo edited" in view["differences"][0]["lines"]
            verdict = await two.session.submit("run_block", {"run": run, **RESTART})
            assert verdict["refused"] is not None
            assert verdict["refused"]["rule"] == "changed"
            await wants(two.session, "accept_run", run=run, sha256=view["sha256"])
            await two.kill()
        async with engine(folder) as three:
            assert not (await three.session.runbook("web-down"))["changed"]
            await wants(three.session, "run_block", run=run, **RESTART)
            await eventually_asked(partial(is_over, three.session, 0))
            assert (await block(three.session))["output"] == "edited"


async def test_killed_after_any_intent_what_was_acknowledged_is_there(folder: Path) -> None:
    moves: list[tuple[str, dict[str, Any]]] = [
        ("tick", {"step": "look", "tick": 0}),
        ("mark_step", {"step": "look", "mark": "done"}),
        ("run_block", RESTART),
        ("cancel_block", RESTART),
        ("decide_block", {"decision": "skip", **RESTART}),
        ("take_run", {"reason": "a test"}),
        ("end_run", {}),
    ]
    async with serving() as target:
        write_workspace(folder, web=web(f"{target.url}/home"))
        write_book(folder)
        run, said = "", []
        for name, arguments in moves:
            async with engine(folder) as one:
                session = one.session
                run = run or await wants(session, "open_run", runbook="web-down")
                if name == "take_run":
                    session._claim = "ken"
                if name == "end_run":
                    session._claim = "ken"
                if name == "cancel_block":
                    await wants(session, "decide_block", run=run, decision="repeat", **RESTART)
                    await wants(session, "run_block", run=run, typed="web", **RESTART)
                await wants(session, name, run=run, **arguments)
                await one.kill()
            said.append(name)
            for kind, count in (("run_started", 1), ("run_ticked", 1), ("step_marked", "mark_step" in said)):
                assert len(of(folder, kind)) == count, (said, kind)
        kinds = ("block_started", "block_cancel_asked", "block_decided", "run_taken", "run_ended")
        assert [len(of(folder, kind)) for kind in kinds] == [2, 1, 2, 1, 1]


async def test_a_run_that_was_closed_right_before_the_kill_is_listed_with_all_its_steps(folder: Path) -> None:
    """Its document was not written yet: it follows from the journal, without anybody asking for a rebuild."""
    async with serving() as target:
        write_workspace(folder, web=web(f"{target.url}/home"))
        write_book(folder)
        async with engine(folder) as one:
            run = await wants(one.session, "open_run", runbook="web-down")
            await wants(one.session, "mark_step", run=run, step="look", mark="done")
            await wants(one.session, "end_run", run=run)
            await one.kill()
        async with engine(folder) as two:
            assert [each["id"] for each in await two.session.runs()] == [run]
            assert [each["mark"] for each in (await two.session.run(run))["steps"]] == ["done", "", ""]


SECRET = "hunter2-of-the-database"

SPILLING = """---
title: Web is down
component: web
params:
  DB_PASSWORD: {secret: "file:../password"}
---

## Steps

### Restart

```sh {run as=kept}
echo "log in with $DB_PASSWORD"
echo "log in with $DB_PASSWORD" >&2
```

### Verify

```sh {check}
echo "again $kept and $DB_PASSWORD" && exit 3
```
"""


async def test_nothing_that_an_engine_leaves_behind_holds_a_secret_that_a_block_printed(folder: Path) -> None:
    async with serving() as target:
        write_workspace(folder, web=web(f"{target.url}/home"))
        (folder.parent / "password").write_text(SECRET)
        (folder.parent / "password").chmod(0o600)
        write_book(folder, "true")
        (folder / "runbooks" / "web-down.md").write_text(SPILLING)
        async with engine(folder) as one:
            run = await wants(one.session, "open_run", runbook="web-down")
            await wants(one.session, "run_block", run=run, **RESTART)
            await eventually_asked(partial(is_over, one.session, 0))
            assert (await block(one.session))["output"] == "log in with ***\nlog in with ***"
            await wants(one.session, "run_block", run=run, step="verify", block=0)
            await eventually(lambda: len(of(folder, "block_finished")) == 2)
            await wants(one.session, "end_run", run=run)
            await one.kill()
        async with engine(folder) as two:
            await two.session.run(run)
            await two.kill()
        left = [path for path in folder.rglob("*") if path.is_file()]
        assert [path for path in left if SECRET.encode() in path.read_bytes()] == []
        assert any(b"again log in with" in path.read_bytes() for path in left), "what was said is there, masked"


async def test_from_every_prefix_of_the_journal_a_run_goes_on_and_no_block_begins_by_itself(folder: Path) -> None:
    """The short form: an engine begins at each boundary of a whole run, with a block that runs in it."""
    whole, texts = GatedJournal(), Texts()
    async with serving() as target:
        write_workspace(folder, web=web(f"{target.url}/home"))
        write_book(folder, "true")
        async with served(folder, journal=whole, texts=texts) as s:
            session = s.session()
            run = await wants(session, "open_run", runbook="web-down")
            await wants(session, "tick", run=run, step="look", tick=0)
            await wants(session, "mark_step", run=run, step="look", mark="done")
            await wants(session, "run_block", run=run, **RESTART)
            await eventually_asked(partial(is_over, session, 0))
            await wants(session, "mark_step", run=run, step="restart", mark="done")
            await wants(session, "run_checks", run=run)
            await eventually(lambda: whole.of("step_marked")[2:])
            await wants(session, "end_run", run=run)
        entries = list(whole.entries())
        first = next(number for number, entry in enumerate(entries) if entry.type == "run_started")
        last = next(number for number, entry in enumerate(entries) if entry.type == "run_ended")
        assert len(pids(folder)) == 1
        for count in range(first + 1, last + 1):
            kinds = [entry.type for entry in entries[:count]]
            taken = MemoryJournal(entries[:count])
            async with running(folder, journal=taken, texts=texts, loaded=loaded_from(folder)) as again:
                (found,) = again.runner.world.tables["runs"].values()
                assert kinds.count("step_marked") - len(found.marks) in (0, 1), "a batch that is cut is none"
                assert len(found.ticks) == kinds.count("run_ticked")
                states = {each.state for each in found.blocks}
                assert BlockState.STARTED not in states, kinds
                cut_short = kinds.count("block_started") > kinds.count("block_finished")
                assert BlockState.UNKNOWN in states or not cut_short, kinds
                assert again.runs.running == set()
        assert len(pids(folder)) == 1
