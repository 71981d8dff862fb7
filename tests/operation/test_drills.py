"""The drills of the example: each essential component's drill of the quarter really breaks something, and proves it.

They run in two operations beside each other, since one operation has one drill at a time.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from opsdash.cli.example import Example, _write_ports, running
from opsdash.service.attach import attach, spawn_engine
from opsdash.storage.trust import VARIABLE
from tests.operation.desk import Desk, on_duty
from tests.operation.walks import served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from opsdash.demo.process import DemoServices
    from opsdash.model.views import DrillRunView
    from opsdash.service.client import EngineSession

LONG = 90.0
"""Seconds in which any of these drills has ended; each takes about fifteen."""

SHORTER = re.compile(r"(?m)^(hold): \w+")
PATIENT = re.compile(r"\b(slow_after|max_latency): \w+")

BY_A_MODE = ("crm-quarterly", "automation-quarterly", "pricing-api-quarterly")
"""Drills that opsdash answers itself, by a degraded mode that really has to serve."""


def shortened(workspace: Path, services: DemoServices) -> Mapping[str, str]:
    """The guard of a drill is told the ports by opsdash.yaml, as in the demo. No backup serves for long, and a machine
    that is busy with other tests is no failure.
    """
    _write_ports(Example(workspace.parent, workspace, services))
    for folder in (workspace / "drills", workspace / "checks"):
        for file in folder.iterdir():
            file.write_text(SHORTER.sub(r"\1: 1s", PATIENT.sub(r"\1: 5s", file.read_text())))
    settings = workspace / "opsdash.yaml"
    settings.write_text(settings.read_text().replace("timeout: 1s", "timeout: 4s"))
    return {}


async def begun(desk: Desk, session: EngineSession, drill: str) -> str:
    """Begin a drill as soon as nothing speaks against it; its run."""

    def obstacles() -> list[str]:
        plan = desk.engine.drilling.viewer().plan(drill, "maria")
        return [plan["refused"]["reason"]] if plan["refused"] else plan["failed"]

    await desk.until(f"{drill} can begin", lambda: not obstacles(), within=LONG)
    plan = await session.drill_plan(drill)
    verdict = await session.submit("start_drill", {"drill": drill, "latest": plan["latest"], "due": plan["due"]})
    assert verdict["refused"] is None, verdict["refused"]
    return verdict["subject"]


async def ended(desk: Desk, run: str) -> DrillRunView:
    """The run, once it has a verdict."""

    def over() -> DrillRunView | None:
        view = desk.engine.drilling.viewer().drill(run)
        return view["run"] if view is not None and view["run"] is not None and not view["run"]["live"] else None

    return await desk.until(f"{run} has ended", over, within=LONG)


async def answered_by_opsdash(folder: Path) -> None:
    async with on_duty(folder, shortened) as desk, served(desk, "maria") as sessions:
        for drill in BY_A_MODE:
            found = await ended(desk, await begun(desk, sessions["maria"], drill))
            assert found["verdict"] == "passed", (found["why"], found["expectations"], found["waits"])
            assert (found["undone"], found["undo_by"]) == (True, "guard")
            assert {each["holds"] for each in found["expectations"]} == {"true"}
            assert "mode" in {each["name"] for each in found["expectations"]}
            assert desk.row(found["component"])["mode"] is None


async def answered_by_a_person(folder: Path) -> None:
    async with on_duty(folder, shortened) as desk, served(desk, "maria") as sessions:
        session = sessions["maria"]
        run = await begun(desk, session, "lead-routing-quarterly")
        await desk.recognised("lead-routing", "leads-held-back", within=LONG)
        incident = desk.incident("lead-routing")
        assert incident["drill"]
        await submitted(session, "ack", incident=incident["id"])
        await gone_through(desk, session, "lead-routing-down", "lead-routing")
        found = await ended(desk, run)
        assert found["verdict"] == "passed", (found["why"], found["expectations"], found["waits"])
        assert found["times"]["acknowledged"] >= found["times"]["opened"]


async def submitted(session: EngineSession, intent: str, **given: object) -> str:
    verdict = await session.submit(intent, given)
    assert verdict["refused"] is None, f"{intent}: {verdict['refused']}"
    return verdict["subject"]


async def gone_through(desk: Desk, session: EngineSession, runbook: str, component: str) -> None:
    """Every step is read, ticked and marked; what it would execute is left to the tests of runbooks."""
    run = await submitted(session, "open_run", runbook=runbook, component=component)
    for step in desk.engine.loaded.runbooks[runbook].steps:
        for number in range(len(step.ticks)):
            await submitted(session, "tick", run=run, step=step.id, tick=number, done=True)
        await submitted(session, "mark_step", run=run, step=step.id, mark="done")
    await submitted(session, "end_run", run=run)


async def test_the_drill_of_the_quarter_of_every_other_essential_component_passes(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(answered_by_opsdash(tmp_path / "a"))
        group.create_task(answered_by_a_person(tmp_path / "b"))


# --- as a newcomer, with real processes ----------------------------------------------------------------------------


@asynccontextmanager
async def demo() -> AsyncIterator[tuple[Example, EngineSession]]:
    """`opsdash demo` without its board: services and an engine, each a process of its own."""
    with running() as example:
        shortened(example.workspace, example.services)
        example._engine = spawn_engine(  # no board listens, so it must not end with the last one
            example.workspace, environment={**example.environment, VARIABLE: "1"}, ephemeral=False
        )
        await example.attach()
        session = await attach(example.workspace, spawn=False)
        try:
            yield example, session
        finally:
            await session.close()


async def opsdash(example: Example, *words: str) -> tuple[int, Any, str]:
    """A command in another terminal: its exit code, its JSON, and what it told meanwhile."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "opsdash", *words, "--json", "-w", str(example.workspace)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **example.environment},
    )
    out, told = await asyncio.wait_for(process.communicate(), LONG)
    assert process.returncode is not None
    return process.returncode, json.loads(out or b"null"), told.decode()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask the engine again until it holds."""
    async with asyncio.timeout(LONG):
        while not await holds():  # noqa: ASYNC110 - a change of the evidence is told to nobody
            await asyncio.sleep(0.1)


async def can_begin(session: EngineSession, drill: str) -> bool:
    plan = await session.drill_plan(drill)
    return not (plan["refused"] or plan["failed"])


async def looked_at(session: EngineSession, drill: str) -> tuple[str, DrillRunView | None]:
    """Whether the evidence of a drill counts, and its latest run."""
    view = await session.drill(drill)
    assert view is not None
    return view["line"]["standing"], view["run"]


async def score(example: Example) -> float:
    _, found, told = await opsdash(example, "readiness", "email")
    assert found is not None, told
    return float(found["readiness"]["score"])


def mails_of(example: Example, provider: str) -> int:
    """How many mails a provider has accepted, by its own books."""
    connection = http.client.HTTPConnection("127.0.0.1", example.services.ports[provider], timeout=5)
    try:
        connection.request("GET", "/messages")
        return int(json.loads(connection.getresponse().read())["count"])
    finally:
        connection.close()


async def test_a_newcomer_sees_mail_break_and_come_back_and_the_score_rise_until_the_file_is_changed() -> None:
    async with demo() as (example, session):
        await until(lambda: can_begin(session, "email-quarterly"))
        before = await score(example)
        carried = mails_of(example, "SES_HTTP")

        code, found, told = await opsdash(example, "drill", "run", "email-quarterly", "--yes")

        assert code == 0, told
        for seen in ("detected: the incident is open", "service is verified", "the fault is verified to be gone"):
            assert seen in told
        assert found["status"] == "passed"
        standing, run = await looked_at(session, "email-quarterly")
        assert standing == "fresh"
        assert run is not None
        assert (run["load"], run["load_failed"]) == (20, 0)
        assert mails_of(example, "SES_HTTP") - carried >= 20, "the backup has carried the declared load"
        assert (await session.component("email"))["row"]["active"] == "postmark"

        proved = await score(example)
        assert proved > before

        file = example.workspace / "checks" / "email.yaml"
        file.write_text(file.read_text().replace("max_latency: 5s", "max_latency: 6s"))

        async def changed() -> bool:
            return (await looked_at(session, "email-quarterly"))[0] == "changed"

        await until(changed)
        assert await score(example) < proved
