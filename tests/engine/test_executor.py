"""The executor: every action is carried out once and answered once, and a timeout after sending is no failure."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.engine import executor as executor_module
from opsdash.engine.clock import system_clock
from opsdash.engine.executor import Executor
from opsdash.kinds.base import ActionContext, ActionKind, ActionResult, Applied, Preflight, StrictOptions
from opsdash.kinds.resolver import Resolver
from opsdash.model.effects import Apply, Read
from opsdash.model.inputs import ApplyDone, PreflightDone, ReadDone
from opsdash.model.operation import Abilities, ActionCall
from tests.engine.support import eventually, hang, http, loaded_from, serving, turn_loop, write_workspace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.engine.support import Request

TOKEN = "s3cr3t-t0ken-of-the-mailer"


class Bench:
    """An executor with a workspace's secrets, and what it has put in."""

    def __init__(self, folder: Path, resolver: Resolver) -> None:
        self.answers: list[ApplyDone | ReadDone | PreflightDone] = []
        loaded = loaded_from(write_workspace(folder), MAILER_TOKEN=TOKEN)
        self.executor = Executor(
            clock=system_clock,
            put=self.answers.append,
            resolver=resolver,
            workspace=folder,
            resolve=loaded.resolve,
            mask=loaded.secrets.mask,
        )

    async def apply(self, kind: str, **raw: Any) -> ApplyDone:
        await self.executor.apply(action(kind, **raw))
        (answer,) = self.answers
        assert isinstance(answer, ApplyDone)
        assert answer.switch == "email-failover-1"
        return answer


def action(kind: str, *, prior: str | None = None, **raw: Any) -> Apply:
    return Apply(
        switch="email-failover-1",
        component="email",
        call=ActionCall(kind, raw),
        action_id="email-failover-1",
        expected=None,
        source="postmark",
        target="ses",
        prior=prior,
    )


@asynccontextmanager
async def bench(folder: Path) -> AsyncIterator[Bench]:
    resolver = Resolver()
    try:
        yield Bench(folder, resolver)
    finally:
        resolver.close()


def scripted(monkeypatch: pytest.MonkeyPatch, apply: Callable[[Any, ActionContext], Awaitable[ActionResult]]) -> None:
    """Let the kind `scripted` do what the test says; there is no kind that fails in ways it does not foresee."""

    async def preflight(_: Any, __: ActionContext) -> Preflight:
        raise ZeroDivisionError("unforeseen")

    def manual(_: Any) -> str:
        raise KeyError("unforeseen")

    kind = ActionKind("scripted", "", StrictOptions, Abilities(), apply, preflight, manual)
    monkeypatch.setattr(executor_module, "action_kind", lambda _: kind)


# --- once --------------------------------------------------------------------------------------------------------


async def test_an_action_is_sent_once_and_answered_once(tmp_path: Path) -> None:
    async with serving() as target, bench(tmp_path) as b:
        answer = await b.apply("http", method="PUT", url=f"{target.url}/provider", json={"provider": "ses"})
        assert answer.result == "applied"
        assert target.hits == {"PUT /provider": 1}
        assert target.requests[0].headers["idempotency-key"] == "email-failover-1"


async def test_an_action_that_fails_on_the_other_side_is_unknown_and_not_repeated(tmp_path: Path) -> None:
    async with serving(provider=http("oops", status=502)) as target, bench(tmp_path) as b:
        answer = await b.apply("http", method="PUT", url=f"{target.url}/provider")
        assert answer.result == "unknown"
        assert "502" in answer.detail
        assert target.hits == {"PUT /provider": 1}


async def test_a_timeout_after_sending_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor_module, "APPLY_DEADLINE", 0.3)
    async with serving(provider=hang) as target, bench(tmp_path) as b:
        answer = await b.apply("http", method="PUT", url=f"{target.url}/provider")
        assert answer.result == "unknown"
        assert target.hits == {"PUT /provider": 1}


async def test_a_kind_that_ignores_its_deadline_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor_module, "APPLY_DEADLINE", 0.05)

    async def sends_and_hangs(_: Any, context: ActionContext) -> ActionResult:
        context.on_sent()
        await asyncio.Event().wait()
        raise AssertionError

    scripted(monkeypatch, sends_and_hangs)
    async with bench(tmp_path) as b:
        assert (await b.apply("scripted")).result == "unknown"


async def test_a_timeout_before_anything_was_sent_means_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor_module, "APPLY_DEADLINE", 0.05)

    async def hangs(_: Any, __: ActionContext) -> ActionResult:
        await asyncio.Event().wait()
        raise AssertionError

    scripted(monkeypatch, hangs)
    async with bench(tmp_path) as b:
        assert (await b.apply("scripted")).result == "not_started"


async def test_an_error_that_nobody_foresaw_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def crashes(_: Any, __: ActionContext) -> ActionResult:
        raise ZeroDivisionError(f"with {TOKEN} in it")

    scripted(monkeypatch, crashes)
    async with bench(tmp_path) as b:
        answer = await b.apply("scripted")
        assert answer.result == "unknown"
        assert "ZeroDivisionError" in answer.detail


@pytest.mark.parametrize(
    ("kind", "raw", "said"),
    [
        ("no-such-kind", {}, "no-such-kind"),
        ("http", {"method": "PUT"}, "url"),
        ("http", {"url": "http://127.0.0.1:1/", "headers": {"X": "${NOT_SET}"}}, "NOT_SET"),
        ("http", {"url": "http://127.0.0.1:1/", "headers": {"X": "${file:no/such/file}"}}, "no/such/file"),
    ],
    ids=["unknown kind", "missing option", "unset variable", "missing file"],
)
async def test_options_that_cannot_be_used_mean_not_started(
    tmp_path: Path, kind: str, raw: dict[str, Any], said: str
) -> None:
    async with bench(tmp_path) as b:
        answer = await b.apply(kind, **raw)
        assert answer.result == "not_started"
        assert said in answer.detail


async def test_what_cannot_put_back_is_not_started(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.executor.apply(action("http", prior="before", url="http://127.0.0.1:1/"))
        (answer,) = b.answers
        assert isinstance(answer, ApplyDone)
        assert answer.result == "not_started"
        assert "leave" in answer.detail


async def test_the_engine_waits_for_a_running_action_and_not_for_ever(tmp_path: Path) -> None:
    async with serving(provider=hang) as target, bench(tmp_path) as b:
        assert await b.executor.idle_within(0.01)
        running = asyncio.ensure_future(b.executor.apply(action("http", url=f"{target.url}/provider")))
        await eventually(lambda: target.hits)
        assert not await b.executor.idle_within(0.05)
        for task in tuple(target.tasks):
            task.cancel()
        assert await b.executor.idle_within(5)
        await running
        assert len(b.answers) == 1


# --- secrets -----------------------------------------------------------------------------------------------------


async def echo(request: Request) -> bytes:
    """Somebody who repeats in a refusal what they were sent."""
    return http(f"not with {request.headers['authorization']}", status=400)


async def test_a_secret_is_sent_and_never_told(tmp_path: Path) -> None:
    async with serving(provider=echo) as target, bench(tmp_path) as b:
        answer = await b.apply("http", url=f"{target.url}/provider", auth={"bearer": "${MAILER_TOKEN}"})
        assert target.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
        assert answer.result == "refused"
        assert TOKEN not in answer.detail
        assert "***" in answer.detail


async def test_options_that_are_refused_show_nothing_of_a_secret(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        answer = await b.apply("http", url="${MAILER_TOKEN}", timeout="${MAILER_TOKEN}")
        assert answer.result == "not_started"
        for length in range(8, len(TOKEN) + 1):
            assert TOKEN[:length] not in answer.detail


async def test_what_a_mechanism_says_is_masked_too(tmp_path: Path) -> None:
    async with serving(provider=http(json.dumps({"provider": TOKEN}))) as target, bench(tmp_path) as b:
        raw = {"url": f"{target.url}/provider", "value": "json.provider", "headers": {"X": "${MAILER_TOKEN}"}}
        await b.executor.read(Read("email", "switch", ActionCall("http", raw)))
        (answer,) = b.answers
        assert isinstance(answer, ReadDone)
        assert answer.value == "***"


async def test_a_secret_that_takes_its_time_does_not_hold_up_the_loop(tmp_path: Path) -> None:
    fifo = tmp_path / "secret"
    os.mkfifo(fifo)
    async with serving() as target, bench(tmp_path) as b:
        raw: dict[str, Any] = {"url": f"{target.url}/provider", "headers": {"X": "${file:secret}"}}
        running = asyncio.ensure_future(b.executor.apply(action("http", **raw)))
        await turn_loop(50)
        assert not running.done()
        await asyncio.to_thread(fifo.write_text, "from-a-vault\n")
        await running
        assert target.requests[0].headers["x"] == "from-a-vault"


def test_the_manual_command_names_a_secret_by_its_reference(tmp_path: Path) -> None:
    b = Bench(tmp_path, Resolver())
    raw = {"method": "PUT", "url": "http://127.0.0.1:8025/provider", "auth": {"bearer": "${MAILER_TOKEN}"}}
    told = b.executor.manual(ActionCall("http", raw))
    assert told.startswith("curl ")
    assert "$MAILER_TOKEN" in told or "${MAILER_TOKEN}" in told
    assert TOKEN not in told


def test_a_manual_command_of_several_lines_stays_one(tmp_path: Path) -> None:
    b = Bench(tmp_path, Resolver())
    told = b.executor.manual(ActionCall("manual", {"instructions": "call the desk\nname the ticket\x07"}))
    assert told == "# call the desk\n# name the ticket␇"


def test_a_plan_without_a_manual_command_is_still_a_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    b = Bench(tmp_path, Resolver())
    assert b.executor.manual(None) == ""
    assert b.executor.manual(ActionCall("no-such-kind", {})).startswith("# ")

    async def never(_: Any, __: ActionContext) -> ActionResult:
        return ActionResult(Applied.APPLIED)

    scripted(monkeypatch, never)
    assert b.executor.manual(ActionCall("scripted", {})).startswith("# ")


# --- reading and trying ------------------------------------------------------------------------------------------


async def test_a_reading_that_does_not_come_about_is_no_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor_module, "READ_DEADLINE", 0.2)
    async with serving(hang=hang, odd=http("[]")) as target, bench(tmp_path) as b:
        for raw in (
            {"url": f"{target.url}/hang", "value": "json.provider"},
            {"url": f"{target.url}/odd", "value": "json.provider"},
            {"url": "http://127.0.0.1:1/", "value": "json.provider"},
            {"url": "${NOT_SET}", "value": "json.provider"},
            {"value": "json.provider"},
        ):
            await b.executor.read(Read("email", "switch", ActionCall("http", raw)))
        await b.executor.read(Read("email", "switch", ActionCall("no-such-kind", {})))
        assert len(b.answers) == 6
        for answer in b.answers:
            assert isinstance(answer, ReadDone)
            assert answer.value is None
            assert answer.detail


async def test_a_reading_is_dated_before_it_begins(tmp_path: Path) -> None:
    async with serving(provider=http('{"provider": "ses"}')) as target, bench(tmp_path) as b:
        call = ActionCall("http", {"url": f"{target.url}/provider", "value": "json.provider"})
        asked = system_clock().mono
        await b.executor.read(Read("email", "switch", call, 0.05))
        (answer,) = b.answers
        assert isinstance(answer, ReadDone)
        assert answer.value == "ses"
        assert asked + 0.05 <= answer.requested <= system_clock().mono


async def test_a_preflight_changes_nothing_and_is_answered_whatever_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor_module, "PREFLIGHT_DEADLINE", 0.2)
    async with serving(hang=hang) as target, bench(tmp_path) as b:
        for raw in ({"url": f"{target.url}/provider", "method": "PUT"}, {"url": f"{target.url}/hang"}, {"url": "x"}):
            await b.executor.preflight("email/ses", ActionCall("http", raw))
        found = [answer.passed for answer in b.answers if isinstance(answer, PreflightDone)]
        assert found == [True, None, False]
        assert not any(hit.startswith(("PUT", "POST")) for hit in target.hits)

        async def never(_: Any, __: ActionContext) -> ActionResult:
            return ActionResult(Applied.APPLIED)

        scripted(monkeypatch, never)
        await b.executor.preflight("email/ses", ActionCall("scripted", {}))
        last = b.answers[-1]
        assert isinstance(last, PreflightDone)
        assert last.passed is None
