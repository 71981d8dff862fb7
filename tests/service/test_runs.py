"""Runs as two terminals see them: who drives, what is asked, what is approved, and what an edit in between does."""

from __future__ import annotations

import asyncio
import json
import stat
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.service.session import SessionError
from opsdash.storage.trust import Trust, trust_folder
from tests.engine.support import eventually, eventually_asked, loaded_from, serving, web, write_workspace
from tests.service.support import served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from opsdash.service.client import EngineSession
    from tests.service.support import Served

BOOK = """---
title: Web is down
component: web
params:
  standby: {{default: db2.internal, pattern: '[a-z0-9.-]+', ask: Which host?}}
  DB_PASSWORD: {{secret: "file:password"}}
---

## Steps

### Look

**Time:** 2 min

```sh {{check}}
echo looked
```

**If this fails:** [Stand down](#stand-down)

### Restart

```sh {{run once timeout=20s}}
{restart}
```

```sh {{check}}
echo checked
```

### Use it

```sh {{run as=found}}
echo "$standby with $DB_PASSWORD"
```

```opsdash {{check}}
check web/home
```

**If this fails:** [Other](other.md)

### Stand down

- [ ] Tell everybody.
"""

OTHER = "---\ntitle: Other\ncomponent: web\n---\n\n## Steps\n\n### One\n\nDo it.\n"
SECRET = "hunter2-hunter2"
RESTART = {"step": "restart", "block": 0}


def write_book(folder: Path, restart: str = "echo restarted >> restarts", text: str | None = None) -> None:
    (folder / "runbooks").mkdir(exist_ok=True)
    (folder / "runbooks" / "web-down.md").write_text(BOOK.format(restart=restart) if text is None else text)


@asynccontextmanager
async def following(
    folder: Path, restart: str = "echo restarted >> restarts", **settings: Any
) -> AsyncIterator[Served]:
    """An engine with a runbook, served."""
    async with serving() as target:
        write_workspace(folder, web=web(f"{target.url}/home"))
        write_book(folder, restart)
        (folder / "runbooks" / "other.md").write_text(OTHER)
        (folder / "password").write_text(SECRET + "\n")
        async with served(folder, **settings) as s:
            yield s


@asynccontextmanager
async def terminal(s: Served, name: str, claim: str | None = None) -> AsyncIterator[EngineSession]:
    """A client that listens, as boards do."""
    session = s.session(name=name, claim=claim)

    async def listen() -> None:
        async for _ in session.events():
            pass

    task = asyncio.ensure_future(listen())
    await eventually(lambda: name in s.engine.runs._sessions)
    try:
        yield session
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await eventually(lambda: name not in s.engine.runs._sessions)


async def wants(session: EngineSession, intent: str, **arguments: Any) -> str:
    """What was begun; a refusal fails the test."""
    verdict = await session.submit(intent, arguments)
    assert verdict["accepted"], verdict["refused"]
    return verdict["subject"]


async def refused(session: EngineSession, intent: str, **arguments: Any) -> tuple[str, str]:
    """Rule and reason of a refusal."""
    verdict = await session.submit(intent, arguments)
    assert verdict["refused"] is not None, "it was accepted"
    return verdict["refused"]["rule"], verdict["refused"]["reason"]


async def block(session: EngineSession, step: str, number: int = 0) -> Any:
    steps = {each["id"]: each for each in (await session.runbook("web-down"))["steps"]}
    return steps[step]["blocks"][number]


async def ended(session: EngineSession, step: str, number: int = 0) -> Any:
    async def look() -> Any:
        found = await block(session, step, number)
        return found if found["state"] not in ("", "started") else None

    return await eventually_asked(look)


# --- driver and watchers -------------------------------------------------------------------------------------------


async def test_one_drives_and_the_other_watches_live_until_he_takes_over(tmp_path: Path) -> None:
    slow = "echo one; while [ ! -e go ]; do sleep 0.02; done; echo two"
    async with (
        following(tmp_path, slow) as s,
        terminal(s, "desk", "maria") as maria,
        terminal(s, "sofa", "ken") as ken,
    ):
        run = await wants(maria, "open_run", runbook="web-down")
        await wants(maria, "run_block", run=run, **RESTART)

        async def watched() -> bool:
            found = await block(ken, "restart")
            return bool(found["output"] == "one")

        await eventually_asked(watched)
        output = await ken.output(run, "restart", 0)
        assert (output["lines"], output["next"], output["state"]) == (["one"], 1, "started")
        view = await ken.runbook("web-down")
        assert (view["yours"], view["driver_gone"]) == (False, False)
        assert view["driver"].startswith("maria")
        rule, reason = await refused(ken, "cancel_block", run=run, **RESTART)
        assert rule == "driver"
        assert "maria" in reason
        assert (await refused(ken, "tick", run=run, step="stand-down", tick=0))[0] == "driver"
        await wants(ken, "take_run", run=run, reason="maria went home")
        assert (await ken.runbook("web-down"))["yours"]
        assert (await refused(maria, "mark_step", run=run, step="look", mark="done"))[0] == "driver"
        (tmp_path / "go").touch()
        assert (await ended(ken, "restart"))["output"] == "one\ntwo"
        assert (await ken.output(run, "restart", 0, 1))["lines"] == ["two"]


async def test_a_terminal_that_is_gone_is_seen_and_its_owner_goes_on_elsewhere(tmp_path: Path) -> None:
    async with following(tmp_path) as s:
        async with terminal(s, "desk") as desk:
            run = await wants(desk, "open_run", runbook="web-down")
        async with terminal(s, "other", "ken") as ken:
            assert (await ken.runbook("web-down"))["driver_gone"]
            assert (await refused(ken, "tick", run=run, step="stand-down", tick=0))[0] == "driver"
        async with terminal(s, "sofa") as sofa:
            await wants(sofa, "tick", run=run, step="stand-down", tick=0)
            assert (await sofa.runbook("web-down"))["yours"]


async def test_a_block_is_cancelled_and_then_decided_about(tmp_path: Path) -> None:
    async with following(tmp_path, "echo begun; sleep 60") as s:
        session = s.session()
        run = await wants(session, "open_run", runbook="web-down")
        await wants(session, "run_block", run=run, **RESTART)
        await eventually_asked(lambda: _says(session, "begun"))
        await wants(session, "cancel_block", run=run, **RESTART)
        found = await ended(session, "restart")
        assert found["state"] == "unknown"
        assert found["detail"].startswith("cancelled by ")
        assert found["output"] == "begun"
        assert found["in_doubt"]
        assert (await refused(session, "run_block", run=run, **RESTART))[0] == "unknown"
        await wants(session, "decide_block", run=run, decision="repeat", **RESTART)
        assert (await refused(session, "run_block", run=run, **RESTART))[0] == "once"
        assert (await block(session, "restart"))["typed"]
        with pytest.raises(SessionError, match="'done', 'repeat' or 'skip'"):
            await session.submit("decide_block", {"run": run, "decision": "maybe", **RESTART})


async def _says(session: EngineSession, text: str) -> bool:
    return bool((await block(session, "restart"))["output"] == text)


# --- parameters ----------------------------------------------------------------------------------------------------


async def test_a_parameter_is_asked_when_it_is_needed_and_checked_before_it_is_taken(tmp_path: Path) -> None:
    async with following(tmp_path) as s:
        session = s.session()
        run = await wants(session, "open_run", runbook="web-down")
        use = {"run": run, "step": "use-it", "block": 0}
        rule, reason = await refused(session, "run_block", **use)
        assert rule == "parameter"
        assert "standby" in reason
        assert (await block(session, "use-it"))["needs"] == ["standby"]
        bad = [("standby", "a b"), ("standby", "x\ny"), ("standby", "a" * 2000), ("nobody", "x"), ("DB_PASSWORD", "x")]
        for name, value in bad:
            assert (await refused(session, "set_parameter", run=run, name=name, value=value))[0] == "parameter"
        await wants(session, "set_parameter", run=run, name="standby", value="db3.internal")
        await wants(session, "run_block", **use)
        found = await ended(session, "use-it")
        assert (found["state"], found["output"]) == ("passed", "db3.internal with ***")
        view = await session.runbook("web-down")
        params = {each["name"]: each for each in view["params"]}
        assert (params["standby"]["value"], params["standby"]["source"]) == ("db3.internal", "asked")
        assert (params["found"]["value"], params["found"]["source"]) == ("db3.internal with ***", "captured")
        assert (params["DB_PASSWORD"]["value"], params["DB_PASSWORD"]["secret"]) == (None, "file:password")
        told = json.dumps([dict(entry.data) for entry in s.engine.stores.journal.entries()])
        assert "db3.internal" in told
        assert SECRET not in told


async def test_a_secret_that_cannot_be_read_starts_nothing_and_is_read_anew_each_time(tmp_path: Path) -> None:
    async with following(tmp_path) as s:
        session = s.session()
        run = await wants(session, "open_run", runbook="web-down")
        await wants(session, "set_parameter", run=run, name="standby", value="db3")
        (tmp_path / "password").unlink()
        await wants(session, "run_block", run=run, step="use-it", block=0)
        found = await ended(session, "use-it")
        assert found["state"] == "failed"
        assert "could not be started: the secret file 'password' cannot be read" in found["detail"]
        (tmp_path / "password").write_text("another-secret")
        await wants(session, "run_block", run=run, step="use-it", block=0)
        await eventually_asked(lambda: _passed(session))
        assert (await block(session, "use-it"))["output"] == "db3 with ***"


async def test_a_secret_reaches_programs_that_find_it_by_its_name_alone(tmp_path: Path) -> None:
    async with following(tmp_path, "env | grep PASSW") as s:
        session = s.session()
        run = await wants(session, "open_run", runbook="web-down")
        await wants(session, "run_block", run=run, **RESTART)
        found = await ended(session, "restart")
        assert (found["state"], found["output"]) == ("passed", "DB_PASSWORD=***")
        (tmp_path / "password").unlink()
        await wants(session, "run_block", run=run, step="look", block=0)
        assert (await ended(session, "look"))["state"] == "passed", "it needs no secret"
        await wants(session, "run_block", run=run, typed="web", **RESTART)
        found = await eventually_asked(lambda: _failed(session))
        assert "exit status 1" in found["detail"]
        assert "the secret file 'password' cannot be read" in found["detail"]


async def _failed(session: EngineSession) -> Any:
    found = await block(session, "restart")
    return found if found["state"] == "failed" else None


async def _passed(session: EngineSession) -> bool:
    return bool((await block(session, "use-it"))["state"] == "passed")


# --- what the view tells -------------------------------------------------------------------------------------------


async def test_a_runbook_tells_what_it_concerns_where_it_leads_and_how_it_is_there(tmp_path: Path) -> None:
    async with following(tmp_path) as s:
        session = s.session()
        await session.observe("web/home")
        view = await session.runbook("web-down")
        assert view["components"] == ["web"]
        steps = {each["id"]: each for each in view["steps"]}
        assert list(steps["look"]["goes_to"] or ()) == ["web-down", "stand-down"]
        assert list(steps["use-it"]["goes_to"] or ()) == ["other", ""]
        (live,) = steps["use-it"]["blocks"][1]["live"]
        assert (live["check"], live["status"]) == ("web/home", "ok")
        assert view["current"] == "look"
        run = await wants(session, "open_run", runbook="web-down")
        await wants(session, "mark_step", run=run, step="look", mark="failed")
        assert (await session.runbook("web-down"))["current"] == "stand-down"


async def test_runs_are_listed_while_they_are_open_and_kept_when_they_have_ended(tmp_path: Path) -> None:
    async with following(tmp_path) as s:
        session = s.session()
        run = await wants(session, "open_run", runbook="web-down")
        await wants(session, "mark_step", run=run, step="look", mark="skipped")
        (line,) = await session.runs()
        assert (line["id"], line["skipped"], line["open"], line["ended_at"]) == (run, 1, 3, None)
        await wants(session, "end_run", run=run)
        (line,) = await session.runs()
        assert line["ended_at"] is not None
        kept = await session.run(run)
        assert [step["mark"] for step in kept["steps"]] == ["skipped", "", "", ""]
        assert [step["title"] for step in kept["steps"]] == ["Look", "Restart", "Use it", "Stand down"]
        second = await wants(session, "open_run", runbook="web-down")
        assert [each["id"] for each in await session.runs()] == [second, run]
        assert (await session.run(run))["ended_at"], "the second run leaves the first one as it was"


async def test_what_a_step_usually_takes_is_told_after_three_runs(tmp_path: Path) -> None:
    async with following(tmp_path) as s:
        session = s.session()
        for count in range(3):
            assert (await session.runbook("web-down"))["steps"][0]["usual"] is None, f"after {count}"
            run = await wants(session, "open_run", runbook="web-down")
            await wants(session, "mark_step", run=run, step="look", mark="done")
            await wants(session, "end_run", run=run)
        look, restart = (await session.runbook("web-down"))["steps"][:2]
        assert look["usual"] is not None
        assert look["usual"]["runs"] == 3
        assert 0 <= look["usual"]["median"] <= look["usual"]["p90"]
        assert restart["usual"] is None


async def test_checks_run_one_after_another_up_to_what_is_for_a_person(tmp_path: Path) -> None:
    async with following(tmp_path) as s:
        session = s.session()
        run = await wants(session, "open_run", runbook="web-down")
        await wants(session, "run_checks", run=run)
        await eventually_asked(lambda: _marked(session))
        assert (await block(session, "restart"))["state"] == ""
        rule, reason = await refused(session, "run_checks", run=run)
        assert rule == "automatic"
        assert "block to run" in reason


async def _marked(session: EngineSession) -> bool:
    return bool((await session.runbook("web-down"))["steps"][0]["mark"] == "done")


async def test_in_a_rehearsal_checks_run_and_the_rest_is_shown(tmp_path: Path) -> None:
    async with following(tmp_path) as s:
        session = s.session()
        run = await wants(session, "open_run", runbook="web-down", mode="rehearse")
        assert (await refused(session, "run_block", run=run, **RESTART))[0] == "rehearsal"
        await wants(session, "run_block", run=run, step="look", block=0)
        assert (await ended(session, "look"))["output"] == "looked"
        assert (await session.runbook("web-down"))["mode"] == "rehearse"
        await wants(session, "end_run", run=run)
        assert (await session.run(run))["mode"] == "rehearse"
        assert not (tmp_path / "restarts").exists()


# --- approval ------------------------------------------------------------------------------------------------------


async def test_what_nobody_has_approved_is_read_ticked_and_not_executed(tmp_path: Path) -> None:
    folder, trust = tmp_path / "w", Trust(tmp_path / "trust")
    async with following(folder, trust=trust) as s:
        session = s.session()
        run = await wants(session, "open_run", runbook="web-down")
        await wants(session, "tick", run=run, step="stand-down", tick=0)
        for step in ("look", "restart"):
            assert (await refused(session, "run_block", run=run, step=step, block=0))[0] == "approval"
        assert (await refused(session, "run_checks", run=run))[0] == "approval"
        view = await session.runbook("web-down")
        assert (view["approved"], view["unapproved"]) == (False, [])
        assert (await refused(session, "approve_runbook", runbook="web-down", sha256="another"))[0] == "changed"
        await wants(session, "approve_runbook", runbook="web-down", sha256=view["sha256"])
        assert (await session.runbook("web-down"))["approved"]
        await wants(session, "run_block", run=run, **RESTART)
        assert (await ended(session, "restart"))["state"] == "passed"
    (kept,) = (tmp_path / "trust").glob("*.json")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    again = Trust(tmp_path / "trust")
    await asyncio.to_thread(again.load)
    assert again.trusts("web-down", view["sha256"])


async def test_a_changed_file_is_read_only_until_the_difference_was_approved(tmp_path: Path) -> None:
    folder, trust = tmp_path / "w", Trust(tmp_path / "trust")
    async with following(folder, trust=trust) as s:
        session = s.session()
        await wants(session, "approve_runbook", runbook="web-down")
        write_book(folder, "rm -rf everything")
        s.engine.reload(loaded_from(folder))
        run = await wants(session, "open_run", runbook="web-down")
        assert (await refused(session, "run_block", run=run, **RESTART))[0] == "approval"
        view = await session.runbook("web-down")
        (difference,) = view["unapproved"]
        assert difference["step"] == "restart"
        assert "-echo restarted >> restarts" in difference["lines"]
        assert "+rm -rf everything" in difference["lines"]
        write_book(folder, "echo restarted >> restarts")
        s.engine.reload(loaded_from(folder))
        assert (await session.runbook("web-down"))["approved"], "what was approved stays approved"


async def test_a_file_that_says_where_secrets_come_from_is_another_file(tmp_path: Path) -> None:
    folder, trust = tmp_path / "w", Trust(tmp_path / "trust")
    async with following(folder, trust=trust) as s:
        session = s.session()
        await wants(session, "approve_runbook", runbook="web-down")
        text = BOOK.format(restart="echo restarted >> restarts").replace("file:password", "cmd:curl evil.example")
        write_book(folder, text=text)
        s.engine.reload(loaded_from(folder))
        view = await session.runbook("web-down")
        assert not view["approved"]
        assert any("cmd:curl evil.example" in line for each in view["unapproved"] for line in each["lines"])


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_text("{"),
        lambda path: path.write_text(path.read_text().replace('"version": 1', '"version": 9')),
        lambda path: path.chmod(0o666),
        lambda path: path.rename(path.with_name("0" * 32 + ".json")),
    ],
)
async def test_an_approval_that_cannot_be_believed_is_none(tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    folder, trust = tmp_path / "w", Trust(tmp_path / "trust")
    async with following(folder, trust=trust) as s:
        await wants(s.session(), "approve_runbook", runbook="web-down")
    (kept,) = (tmp_path / "trust").glob("*.json")
    damage(kept)
    again = Trust(tmp_path / "trust")
    await asyncio.to_thread(again.load)
    assert again.approval("web-down") is None
    assert len(again.trouble) == 1


def test_approvals_belong_to_the_real_path_and_lie_outside_of_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "one")
    environment = {"XDG_STATE_HOME": str(tmp_path / "state")}
    one = trust_folder(environment, tmp_path / "one")
    assert one == trust_folder(environment, tmp_path / "link")
    assert one != trust_folder(environment, tmp_path / "two")
    assert one.is_relative_to(tmp_path / "state")
    assert trust_folder({"HOME": "/home/maria"}, tmp_path).is_relative_to("/home/maria/.local/state/opsdash/trust")
    assert trust_folder({"XDG_STATE_HOME": "not/absolute", "HOME": "/h"}, tmp_path).is_relative_to("/h/.local/state")
    assert Trust.of({"OPSDASH_TRUST_RUNBOOKS": "1", **environment}, tmp_path).trusts("any", "text")
    assert not Trust.of({"OPSDASH_TRUST_RUNBOOKS": "0", **environment}, tmp_path).trusts("any", "text")


# --- an edit in between --------------------------------------------------------------------------------------------


async def test_an_edit_during_a_run_is_shown_step_by_step_and_waits_for_acceptance(tmp_path: Path) -> None:
    async with following(tmp_path) as s:
        session = s.session()
        run = await wants(session, "open_run", runbook="web-down")
        await wants(session, "mark_step", run=run, step="look", mark="done")
        write_book(tmp_path, "echo something else")
        s.engine.reload(loaded_from(tmp_path))
        view = await session.runbook("web-down")
        assert view["changed"]
        (difference,) = view["differences"]
        assert (difference["step"], difference["title"]) == ("restart", "Restart")
        assert "+echo something else" in difference["lines"]
        assert view["steps"][1]["blocks"][0]["code"].startswith("echo restarted"), "it is followed as it was begun"
        assert (await refused(session, "run_block", run=run, **RESTART))[0] == "changed"
        await wants(session, "tick", run=run, step="stand-down", tick=0)
        assert (await refused(session, "accept_run", run=run, sha256="older"))[0] == "changed"
        await wants(session, "accept_run", run=run, sha256=view["sha256"])
        await wants(session, "run_block", run=run, **RESTART)
        assert (await ended(session, "restart"))["output"] == "something else"
        view = await session.runbook("web-down")
        assert (view["changed"], view["steps"][0]["mark"]) == (False, "done")


HOSTILE = {
    "deleted": None,
    "a fence that is never closed": BOOK.format(restart="true").replace("```\n\n```sh", "\n\n```sh"),
    "bidi": BOOK.format(restart="echo \u202egnp.exe"),
    "huge": "x" * 300_000,
    "ten thousand steps": "---\ntitle: x\ncomponent: web\n---\n## Steps\n" + "### A\nx\n" * 10_000,
    "nested lists": "---\ntitle: x\ncomponent: web\n---\n## Steps\n### A\n"
    + "".join(" " * n + "- x\n" for n in range(900)),
    "no text at all": "\x00\xff" * 50,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
async def test_a_file_that_is_gone_or_hostile_leaves_the_run_with_the_text_it_was_begun_with(
    tmp_path: Path, text: str | None
) -> None:
    async with following(tmp_path) as s:
        session = s.session()
        run = await wants(session, "open_run", runbook="web-down")
        if text is None:
            (tmp_path / "runbooks" / "web-down.md").unlink()
        else:
            write_book(tmp_path, text=text)
        s.engine.reload(loaded_from(tmp_path))
        view = await session.runbook("web-down")
        assert (view["id"], view["changed"], view["executable"]) == (run, False, True), view["findings"]
        assert view["note"]
        await wants(session, "run_block", run=run, **RESTART)
        assert (await ended(session, "restart"))["state"] == "passed"
        assert (tmp_path / "restarts").read_text() == "restarted\n"
        assert (await refused(session, "accept_run", run=run))[0] == "same"
        await wants(session, "end_run", run=run)
