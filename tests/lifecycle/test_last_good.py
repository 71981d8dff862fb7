"""Files that change while no engine runs: what is in use is still known to the next one, and what is broken goes on.

Real engines on real files. Between two of them the file is removed, edited or broken; the first one ends in good order
or is killed.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.service.places import places
from tests.engine.support import Mailer, Target, eventually_asked, http, mail, serving, web, write_workspace
from tests.lifecycle.support import EngineProcess, engine, of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BOTH_ENDS = pytest.mark.parametrize("end_by", ["stop", "kill"])
MODE = """
features: {orders: {checks: [delivery]}, news: {tier: droppable}}
modes:
  orders-only:
    keeps: [orders]
    drops: [news]
    read: {kind: pointer, file: mode.json, key: mode}
    enter: {kind: pointer, file: mode.json, key: mode, value: orders-only}
    verify: [delivery]
failures:
  mail-refused: {title: The mailer refuses, detected_by: [delivery], response: runbook, runbook: email-down}
"""
RUNBOOK = "---\ncomponent: email\nowner: maria\n---\n## Steps\n\n### Look\n\n```sh {check}\ntrue\n```\n"


@asynccontextmanager
async def operation(folder: Path) -> AsyncIterator[tuple[Target, Mailer]]:
    """A workspace with a component that can be switched, another one, and a runbook."""
    async with serving() as target:
        mailer = Mailer(target)
        write_workspace(folder, email=mail(target.url, deadline="2s", more=MODE), web=web(f"{target.url}/home"))
        (folder / "mode.json").write_text('{"mode": "normal"}')
        (folder / "runbooks").mkdir()
        (folder / "runbooks" / "email-down.md").write_text(RUNBOOK)
        yield target, mailer


async def end(process: EngineProcess, how: str) -> None:
    if how == "kill":
        await process.kill()
    else:
        process.signal(15)
        assert await process.ended() == 0


async def row(process: EngineProcess, component: str = "email") -> dict[str, Any] | None:
    rows: Any = {each["id"]: each for each in (await process.session.snapshot())["rows"]}
    found: dict[str, Any] | None = rows.get(component)
    return found


async def until(process: EngineProcess, component: str = "email", **wanted: Any) -> None:
    """Wait until the row of a component says all of this."""

    async def said() -> bool:
        found = await row(process, component)
        return found is not None and all(found[key] == value for key, value in wanted.items())

    await eventually_asked(said, hint=lambda: f"{wanted} {process.said}")


async def until_gone(process: EngineProcess, component: str) -> None:
    async def gone() -> bool:
        return await row(process, component) is None

    await eventually_asked(gone, hint=lambda: process.said)


async def off(process: EngineProcess, component: str = "email") -> dict[str, str]:
    detail = await process.session.component(component)
    assert detail is not None
    return dict(detail["off"])


async def errors(process: EngineProcess) -> list[str]:
    """What is wrong in the files, with what would be right."""
    return [f"{e['message']}; {e['hint']}" for e in await process.session.problems() if e["severity"] == "error"]


async def switch(process: EngineProcess, kind: str, component: str = "email", target: str | None = None) -> Any:
    """Carry out a switch whose plan stands; what it has come to, or why it was refused."""
    plan: Any = await process.session.plan(component, kind, target)
    if plan["refused"] is not None:
        return plan["refused"]["rule"]
    names = ("component", "generation", "source", "target")
    arguments = {name: plan[name] for name in names}
    arguments |= {"overrides": list(plan["failed"]), "reason": "test", "typed": component}
    verdict = await process.session.submit(kind, arguments)
    assert verdict["accepted"], (verdict, plan)

    async def ended() -> str:
        found = await process.session.switch(component)
        return found["state"] if found is not None and found["state"] in ENDS else ""

    return await eventually_asked(ended, within=20, hint=lambda: process.said)


ENDS = ("committed", "aborted", "no_effect", "split", "unknown", "undone", "needs_human")


@BOTH_ENDS
async def test_a_backup_that_serves_is_known_although_it_was_taken_out_while_no_engine_ran(
    tmp_path: Path, end_by: str
) -> None:
    folder = tmp_path / "w"
    async with operation(folder) as (_, mailer):
        text = (folder / "checks" / "email.yaml").read_text()
        async with engine(folder) as one:
            await until(one, active="postmark", status="ok")
            assert await switch(one, "failover") == "committed"
            await end(one, end_by)
        (folder / "checks" / "email.yaml").write_text(text.replace("  ses: {as: ses-eu}\n", ""))
        async with engine(folder) as two:
            await until(two, active="ses", on_backup=True)

            async def kept() -> str:
                return (await off(two)).get("providers/ses", "")

            assert await eventually_asked(kept) == "removed from the file, kept while it is in use"
            await two.kill()
        async with engine(folder) as three:
            await until(three, active="ses")
            assert await switch(three, "failback") == "committed"
            assert mailer.provider == "pm-prod"
            await until(three, active="postmark")
            assert "providers/ses" not in await off(three)


@BOTH_ENDS
async def test_a_component_on_its_backup_is_known_although_its_file_is_gone(tmp_path: Path, end_by: str) -> None:
    folder = tmp_path / "w"
    async with operation(folder) as (_, mailer):
        async with engine(folder) as one:
            await until(one, active="postmark", status="ok")
            assert await switch(one, "failover") == "committed"
            await end(one, end_by)
        (folder / "checks" / "email.yaml").unlink()
        async with engine(folder) as two:
            await until(two, removed=True, active="ses", status="unknown", reason="config")
            detail = await two.session.component("email")
            assert detail is not None
            assert "no longer run" in detail["row"]["cause"]
            await end(two, end_by)
        async with engine(folder) as three:
            await until(three, removed=True, active="ses")
            # its checks no longer run, so nobody can say that it worked: a person looks, and states it
            assert await switch(three, "failback") == "unknown"
            assert mailer.provider == "pm-prod"
            settled = {"component": "email", "state": "committed", "reason": "looked at it"}
            assert (await three.session.submit("settle", settled))["accepted"]
            await until_gone(three, "email")


@BOTH_ENDS
async def test_a_file_that_is_broken_at_a_start_goes_on_in_its_last_good_version(tmp_path: Path, end_by: str) -> None:
    folder = tmp_path / "w"
    async with operation(folder) as (_, mailer):
        async with engine(folder) as one:
            await until(one, active="postmark", status="ok")
            assert await switch(one, "failover") == "committed"
            await end(one, end_by)
        (folder / "checks" / "email.yaml").write_text("title: [\n")
        async with engine(folder) as two:
            await until(two, active="ses", status="ok")
            [problem] = await errors(two)
            assert problem.endswith("the last good version stays in use")
            assert await switch(two, "failback") == "committed"
            assert mailer.provider == "pm-prod"
            await end(two, end_by)
        async with engine(folder) as three:
            await until(three, active="postmark", status="ok")


async def test_a_part_that_is_broken_at_a_start_goes_on_and_the_rest_is_as_the_file_says(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    async with operation(folder):
        text = (folder / "checks" / "email.yaml").read_text()
        async with engine(folder) as one:
            await until(one, status="ok")
            # while it runs, one part is broken; then, while none runs, another one
            (folder / "checks" / "email.yaml").write_text(text.replace("verify: [delivery]", "verify: [delivry]", 1))

            async def told() -> bool:
                return bool(await errors(one))

            await eventually_asked(told)
            await until(one, problems=0)
            await end(one, "kill")
        broken = text.replace("verify: [delivery]", "verify: [delivry]", 1).replace("news: {tier", "news: {teer")
        (folder / "checks" / "email.yaml").write_text(f"title: Mail\n{broken}")
        async with engine(folder) as two:
            await until(two, title="Mail", status="ok", problems=0)
            assert all(each.endswith("the last good version stays in use") for each in await errors(two))
            assert len(await errors(two)) == 2
            assert await switch(two, "failover") == "committed"


@BOTH_ENDS
async def test_a_degraded_mode_that_is_in_force_can_be_left_although_it_was_taken_out(
    tmp_path: Path, end_by: str
) -> None:
    folder = tmp_path / "w"
    async with operation(folder):
        text = (folder / "checks" / "email.yaml").read_text()
        async with engine(folder) as one:
            await until(one, active="postmark", status="ok")
            assert await switch(one, "degrade", target="orders-only") == "committed"
            await end(one, end_by)
        start, stop = text.index("modes:"), text.index("failures:")
        (folder / "checks" / "email.yaml").write_text(text[:start] + text[stop:])
        async with engine(folder) as two:
            await until(two, mode="orders-only")
            assert await off(two) == {"modes/orders-only": "removed from the file, kept while it is in use"}
            assert await switch(two, "restore") == "committed"
            assert json.loads((folder / "mode.json").read_text()) == {"mode": "normal"}

            async def is_gone() -> bool:
                return await off(two) == {}

            await eventually_asked(is_gone)
            assert await switch(two, "degrade", target="orders-only") == "unknown_mode"


@BOTH_ENDS
async def test_what_was_decided_for_an_open_incident_holds_until_it_is_resolved(tmp_path: Path, end_by: str) -> None:
    folder = tmp_path / "w"
    async with operation(folder) as (target, _):
        text = (folder / "checks" / "email.yaml").read_text()
        works = target.routes["/delivery"]
        target.routes["/delivery"] = http(status=500)
        async with engine(folder) as one:
            await until(one, failure_id="mail-refused")
            await end(one, end_by)
        (folder / "checks" / "email.yaml").write_text(text[: text.index("failures:")])
        (folder / "checks" / "web.yaml").unlink()
        async with engine(folder) as two:
            await until(two, failure_id="mail-refused", hint="r email-down")
            assert await row(two, "web") is None, "nothing holds it"
            assert await off(two) == {"failures/mail-refused": "removed from the file, kept while it is in use"}
            target.routes["/delivery"] = works
            await until(two, status="ok", failure_id=None)
            [incident] = await two.session.incidents()
            assert (await two.session.submit("resolve", {"incident": incident["id"], "text": "it is over"}))["accepted"]

            async def is_gone() -> bool:
                return await off(two) == {}

            await eventually_asked(is_gone)


@BOTH_ENDS
async def test_a_component_with_an_open_incident_is_known_until_that_is_resolved(tmp_path: Path, end_by: str) -> None:
    folder = tmp_path / "w"
    async with operation(folder) as (target, _):
        target.routes["/home"] = http(status=500)
        async with engine(folder) as one:
            await until(one, "web", status="down", incident="INC-1")
            await end(one, end_by)
        (folder / "checks" / "web.yaml").unlink()
        async with engine(folder) as two:
            await until(two, "web", removed=True)
            assert (await two.session.submit("resolve", {"incident": "INC-1", "text": "it is no more"}))["accepted"]
            await until_gone(two, "web")


@BOTH_ENDS
async def test_a_runbook_that_somebody_follows_is_there_until_the_run_has_ended(tmp_path: Path, end_by: str) -> None:
    folder = tmp_path / "w"
    async with operation(folder):
        async with engine(folder) as one:
            run = (await one.session.submit("open_run", {"runbook": "email-down"}))["subject"]
            await end(one, end_by)
        (folder / "runbooks" / "email-down.md").unlink()
        for _ in range(2):
            async with engine(folder) as two:
                found = await two.session.runbook("email-down")
                assert found is not None
                assert "removed from the files" in " ".join(found["findings"])
                block = {"run": run, "step": "look", "block": 0}
                assert (await two.session.submit("run_block", block))["accepted"]
                await end(two, end_by)
        async with engine(folder) as three:
            assert (await three.session.submit("end_run", {"run": run}))["accepted"]

            async def is_gone() -> bool:
                return "email-down" not in {each["id"] for each in await three.session.runbooks()}

            await eventually_asked(is_gone)


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"version": 99}', b'{"version": 1, "sound": {"a": 1}, "used": {}}', b"[" * 100_000]
)
async def test_a_damaged_file_is_a_notice_and_never_a_failed_start(tmp_path: Path, damage: bytes) -> None:
    folder = tmp_path / "w"
    async with operation(folder):
        async with engine(folder) as one:
            await until(one, status="ok")
            await end(one, "kill")
        kept = places(folder).last_good
        good = kept.read_bytes()
        kept.write_bytes(damage)
        async with engine(folder) as two:
            await until(two, status="ok")
            assert "last-good.json cannot be read" in two.said
            assert kept.read_bytes() == good


async def test_a_file_that_everybody_could_write_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    async with operation(folder):
        async with engine(folder) as one:
            await end(one, "stop")
        kept = places(folder).last_good
        assert kept.stat().st_mode & 0o777 == 0o600
        kept.chmod(0o666)
        (folder / "checks" / "email.yaml").write_text("title: [\n")
        async with engine(folder) as two:
            assert "everybody may write to this file" in two.said
            await until(two, status="unknown", reason="config")


async def test_it_holds_references_and_no_secrets(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    async with operation(folder) as (target, _):
        (folder / "token").write_text("hunter2-from-a-file")
        (folder / "other").write_text("hunter2-from-a-program")
        more = ", headers: {X-A: '${MAIL_TOKEN}', X-B: '${file:token}', X-C: '${cmd:cat other}'}"
        write_workspace(folder, web=web(f"{target.url}/home", more=more))
        async with engine(folder, environment={"MAIL_TOKEN": "hunter2-from-outside"}) as one:
            await until(one, "web", status="ok")
            await end(one, "stop")
        written = [path for path in places(folder).state.rglob("*") if path.is_file()]
        assert places(folder).last_good in written
        assert "${MAIL_TOKEN}" in places(folder).last_good.read_text()
        assert [path for path in written if b"hunter2" in path.read_bytes()] == []


async def test_a_removed_component_that_nothing_holds_leaves_no_trace_in_the_journal(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    async with operation(folder):
        async with engine(folder) as one:
            await until(one, "web", status="ok")
            await end(one, "stop")
        (folder / "checks" / "web.yaml").unlink()
        before = len(of(folder, "component_changed"))
        async with engine(folder) as two:
            assert await row(two, "web") is None
            await end(two, "stop")
        said = of(folder, "component_changed")[before:]
        assert [each for each in said if each["component"] == "web"] == []
        assert "web.yaml" not in places(folder).last_good.read_text()
