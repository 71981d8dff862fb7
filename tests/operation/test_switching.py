"""Switches that go wrong: a reply of OK is no proof, unknown is not failed, nothing is fired twice."""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections import Counter
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from opsdash.model import inputs as i
from opsdash.model.switch import SwitchKind
from tests.operation.desk import Desk, on_duty

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from opsdash.demo.process import DemoServices
    from opsdash.model.views import SwitchView

pytestmark = pytest.mark.asyncio(loop_scope="package")

LATE = 10.0
"""Seconds within which a switch without effect has to be called that: the deadline of the example, and some."""


def truths(switch: SwitchView) -> dict[str, str]:
    return {fact["name"]: fact["truth"] for fact in switch["facts"]}


# --- says yes, and goes on as before -------------------------------------------------------------------------------


async def test_a_switch_that_is_answered_with_ok_and_ignored_is_never_committed(desk: Desk) -> None:
    deaf = {"email": "mailer", "market-data": "market-reader", "lead-scoring": "lead-router"}
    with desk.nobody_else_than(*deaf):
        for service in deaf.values():
            desk.inject(service, "deaf")

        email, market, leads = await asyncio.wait_for(
            asyncio.gather(
                desk.carry_out(SwitchKind.FAILOVER, "email"),
                desk.carry_out(SwitchKind.FAILOVER, "market-data"),
                desk.carry_out(SwitchKind.DEGRADE, "lead-scoring"),
            ),
            LATE,
        )

        assert [each["state"] for each in (email, market, leads)] == ["no_effect"] * 3
        assert truths(email) == {"A": "true", "B": "false", "C": "stateless", "D": "true"}
        assert truths(market) == {"A": "true", "B": "false", "C": "stateless", "D": "true"}
        assert truths(leads)["A"] == "false", "it is asked in which mode it works, not what it was told"
        assert "pm-prod" in fact(email, "B")
        assert desk.row("lead-scoring")["mode"] is None

        await desk.heal("mailer")
        taken_over = await desk.submit(i.TakeOverIntent("email", "the mailer listens again"))
        assert (await desk.ended(taken_over))["state"] == "committed"
        assert [step for _, step in desk.last_switch("email")["steps"]].count("acting") == 1
        await desk.heal("lead-router")
        undone = await desk.submit(i.UndoIntent("lead-scoring", "before it takes effect late"))
        assert (await desk.ended(undone))["state"] == "undone"
        assert desk.row("lead-scoring")["mode"] is None


def fact(switch: SwitchView, name: str) -> str:
    return next(each["evidence"] for each in switch["facts"] if each["name"] == name)


# --- two at once, and out of date ----------------------------------------------------------------------------------


async def test_two_who_press_at_once_make_one_switch(desk: Desk) -> None:
    plan = await desk.plan(SwitchKind.FAILOVER, "email")

    verdicts = await asyncio.gather(desk.confirm(plan, "maria"), desk.confirm(plan, "ken"))

    accepted = [verdict for verdict in verdicts if verdict["accepted"]]
    refused = [verdict["refused"] for verdict in verdicts if verdict["refused"] is not None]
    assert len(accepted) == 1
    assert [each["rule"] for each in refused] == ["changed"]
    assert (await desk.ended(accepted[0]))["state"] == "committed"
    assert desk.row("email")["active"] == "ses"
    assert desk.last_switch("email")["id"] == accepted[0]["subject"]


async def test_a_second_press_does_not_switch_back(desk: Desk) -> None:
    plan = await desk.plan(SwitchKind.FAILOVER, "market-data")
    assert (await desk.ended(await desk.confirm(plan)))["state"] == "committed"

    again = await desk.confirm(plan)

    assert again["refused"] is not None
    assert again["refused"]["rule"] == "changed"
    assert desk.row("market-data")["active"] == "feed-b"


async def test_the_same_request_twice_is_carried_out_once(desk: Desk) -> None:
    plan = await desk.plan(SwitchKind.FAILOVER, "email")
    intent = i.SwitchIntent("email", SwitchKind.FAILOVER, plan["generation"], plan["source"], plan["target"])

    first, second = await asyncio.gather(*(desk.engine.submit("one-key", "maria", intent) for _ in range(2)))

    assert first == second
    assert (await desk.ended(first))["state"] == "committed"


async def test_what_somebody_else_has_moved_is_not_moved_again(desk: Desk) -> None:
    plan = await desk.plan(SwitchKind.FAILOVER, "email")
    put_provider(desk, "ses-eu")

    switch = await desk.ended(await desk.confirm(plan))

    assert switch["state"] == "refused"
    assert "already" in switch["detail"]
    await desk.until("it is seen who serves", lambda: desk.row("email")["active"] == "ses")


def put_provider(desk: Desk, name: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", desk.services.ports["MAILER_HTTP"], timeout=5)
    connection.request("PUT", "/provider", f'{{"provider": "{name}"}}')
    assert connection.getresponse().status == 200
    connection.close()


# --- no answer -----------------------------------------------------------------------------------------------------


class Line(ThreadingHTTPServer):
    """What lies between opsdash and the mailer. It counts what passes, and can break at a PUT.

    fate: what becomes of a PUT: "answered", "forwarded" (it arrives, its answer does not), "swallowed" (it does not
    arrive, nobody answers), "dead" (likewise, and from then on nothing passes any more).
    """

    daemon_threads = True

    def __init__(self, fate: str) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.fate = fate
        self.leads_to = 0
        self.dead = threading.Event()
        self.ended = threading.Event()
        self.passed: Counter[str] = Counter()

    def mend(self) -> None:
        """From now on everything is answered."""
        self.fate = "answered"
        self.dead.clear()


class _Passing(BaseHTTPRequestHandler):
    server: Line

    def do_GET(self) -> None:
        self._pass()

    def do_PUT(self) -> None:
        line = self.server
        if line.fate == "dead":
            line.dead.set()
        self._pass()

    def _pass(self) -> None:
        line = self.server
        line.passed[self.command] += 1
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fate = line.fate if self.command == "PUT" else "answered"
        if line.dead.is_set() or fate == "swallowed":
            self._silence()
            return
        connection = http.client.HTTPConnection("127.0.0.1", line.leads_to, timeout=5)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if fate == "forwarded":
            self._silence()
            return
        self.send_response(answer.status)
        for name in ("ETag", "Content-Type"):
            if value := answer.headers.get(name):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _silence(self) -> None:
        self.server.ended.wait(60)
        self.close_connection = True

    def log_message(self, *_arguments: object) -> None:
        """Nobody reads it."""


@asynccontextmanager
async def behind_a_line(folder: Path, fate: str) -> AsyncIterator[tuple[Desk, Line]]:
    """The example operation, with such a line before its mailer, and a deadline that a test can wait for."""
    line = Line(fate)

    def rewire(workspace: Path, services: DemoServices) -> dict[str, str]:
        email = workspace / "checks" / "email.yaml"
        email.write_text(email.read_text().replace("deadline: 5s", "deadline: 2s"))
        line.leads_to = services.ports["MAILER_HTTP"]
        return {"MAILER_HTTP": str(line.server_port)}

    threading.Thread(target=line.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        async with on_duty(folder, rewire) as desk:
            yield desk, line
    finally:
        line.ended.set()
        line.shutdown()
        line.server_close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An action is waited for as long as a test can wait, instead of half a minute."""
    monkeypatch.setattr("opsdash.engine.executor.APPLY_DEADLINE", 2.0)


@pytest.mark.usefixtures("impatient")
async def test_an_action_whose_answer_is_lost_is_observed_and_not_fired_again(tmp_path: Path) -> None:
    async with behind_a_line(tmp_path, "forwarded") as (desk, line):
        switch = await desk.carry_out(SwitchKind.FAILOVER, "email")

        assert switch["state"] == "committed", "it did take effect, as the front door shows"
        assert truths(switch) == {"A": "true", "B": "true", "C": "stateless", "D": "true"}
        assert "after the request had been sent" in switch["detail"]
        assert line.passed["PUT"] == 1


@pytest.mark.usefixtures("impatient")
async def test_an_action_that_was_swallowed_had_no_effect_and_is_not_fired_again(tmp_path: Path) -> None:
    async with behind_a_line(tmp_path, "swallowed") as (desk, line):
        switch = await desk.carry_out(SwitchKind.FAILOVER, "email")

        assert switch["state"] == "no_effect"
        assert desk.row("email")["active"] == "postmark"
        assert line.passed["PUT"] == 1


@pytest.mark.usefixtures("impatient")
async def test_a_mailer_that_hangs_during_the_action_leaves_it_unknown_until_a_person_leads_out(tmp_path: Path) -> None:
    async with behind_a_line(tmp_path, "dead") as (desk, line):
        switch = await desk.carry_out(SwitchKind.FAILOVER, "email")

        assert switch["state"] == "unknown"
        assert switch["ways_out"] == ["undo", "settle", "take_over"]
        assert line.passed["PUT"] == 1
        assert desk.row("email")["switch"] == "unknown"
        again = await desk.plan(SwitchKind.FAILOVER, "email", "ses")
        assert "live_switch" in again["failed"]

        line.mend()
        seen_again = await desk.submit(i.TakeOverIntent("email", "the line is mended"))
        assert (await desk.ended(seen_again))["state"] == "no_effect", "it is only observed"
        assert line.passed["PUT"] == 1
        await desk.until("who serves is known", lambda: desk.row("email")["active"] == "postmark")
        assert (await desk.carry_out(SwitchKind.FAILOVER, "email"))["state"] == "committed"
        assert line.passed["PUT"] == 2
