"""Injections that need no server of somebody else's: what they break, take back, and know of it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from opsdash.kinds.base import Applied
from opsdash.kinds.faultproxy import Address, FaultProxy, tell
from opsdash.kinds.injecting import InjectionContext
from opsdash.kinds.registry import injection_kind, injection_kind_names
from opsdash.kinds.resolver import Resolver
from tests.mechanisms.chaos_stand_in import CHAOS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from opsdash.kinds.injecting import InjectionKind
    from tests.kinds.conftest import LoopbackServer

    Serve = Callable[..., Awaitable[LoopbackServer]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
NO = b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture
def context(tmp_path: Path) -> Iterator[InjectionContext]:
    resolver = Resolver()
    (tmp_path / "run").mkdir()
    yield InjectionContext(
        action_id="run-1",
        deadline=10.0,
        workspace=tmp_path,
        resolver=resolver,
        wall=0.0,
        limit=60.0,
        folder=tmp_path / "run",
    )
    resolver.close()


def made(kind: InjectionKind, **options: Any) -> Any:
    """Its options."""
    return kind.options.model_validate(options)


def test_every_injection_knows_its_way_back_or_demands_one() -> None:
    found = {name: injection_kind(name) for name in injection_kind_names()}
    assert {name for name, kind in found.items() if kind.knows_way_back} == {
        "chaostoolkit", "fault_proxy", "haproxy", "pretend", "systemd", "toxiproxy",
    }  # fmt: skip
    assert {name for name, kind in found.items() if kind.expires_on_target} == {"fault_proxy", "pretend", "systemd"}
    assert [name for name, kind in found.items() if kind.self_undoing] == ["pretend"]
    with pytest.raises(ValueError, match="does not know its own way back; write `undo`"):
        found["command"].undo_options({"argv": ["x"]}, None)
    given = {"socket": "s", "backend": "b", "server": "a"}
    assert found["haproxy"].undo_options(given, None) == {**given, "state": "ready"}
    assert found["haproxy"].undo_options(given, {"mine": 1}) == {"mine": 1}


async def test_pretend_touches_nothing(context: InjectionContext) -> None:
    kind = injection_kind("pretend")
    options = made(kind, status="degraded", detail="slow")
    assert (await kind.preflight(options, context)).passed is True
    assert (await kind.inject(options, context)).applied is Applied.APPLIED
    assert (await kind.undo(options, context)).applied is Applied.APPLIED
    assert (await kind.verify_undone(options, context))[0] is True
    with pytest.raises(ValidationError, match="'down', 'degraded' or 'unknown'"):
        made(kind, status="ok")


# --- command -----------------------------------------------------------------------------------------------------


async def test_a_command_breaks_and_another_one_mends_and_verifies(context: InjectionContext) -> None:
    kind = injection_kind("command")
    run = made(kind, argv=["/bin/sh", "-c", 'echo "$OPSDASH_DRILL" >broken'])
    undo = made(kind, argv=["rm", "-f", "broken"], verify=["/bin/sh", "-c", "test ! -e broken"])
    assert (await kind.preflight(run, context)).passed is True
    assert (await kind.inject(run, context)).applied is Applied.APPLIED
    assert (context.workspace / "broken").read_text() == "run-1\n"
    assert (await kind.verify_undone(undo, context))[0] is False
    for _ in range(2):  # the second time there is nothing left to undo
        assert (await kind.undo(undo, context)).applied is Applied.APPLIED
        assert (await kind.verify_undone(undo, context))[0] is True


async def test_a_command_that_cannot_tell_says_so(context: InjectionContext) -> None:
    kind = injection_kind("command")
    for verify, words in ((None, "no `verify`"), (["/bin/sh", "-c", "exit 3"], "exited with 3")):
        gone, told = await kind.verify_undone(made(kind, argv=["true"], verify=verify), context)
        assert gone is None
        assert words in told
    missing = await kind.preflight(made(kind, argv=["true"], verify=["nowhere/look"]), context)
    assert (missing.passed, missing.detail) == (False, "nowhere/look does not exist")
    failed = await kind.inject(made(kind, argv=["/bin/sh", "-c", "exit 1"]), context)
    assert failed.applied is Applied.UNKNOWN
    assert (await kind.inject(made(kind, argv=["nowhere/x"]), context)).applied is Applied.NOT_STARTED


def test_a_command_by_hand_has_references_and_no_secret() -> None:
    manual = injection_kind("command").manual_command({"argv": ["bin/open", "db 1", "${file:token}"], "cwd": "tools"})
    assert manual == "cd tools && bin/open 'db 1' \"$(cat token)\""


# --- http --------------------------------------------------------------------------------------------------------


async def test_a_request_breaks_and_another_one_mends_under_one_key(context: InjectionContext, serve: Serve) -> None:
    server = await serve(OK)
    kind = injection_kind("http")
    url = f"http://{server.origin}/mail"
    options = made(kind, method="PUT", url=url, json={"broken": False}, gone_url=f"{url}/healthy")
    assert (await kind.preflight(options, context)).passed is True
    assert (await kind.inject(options, context)).applied is Applied.APPLIED
    for _ in range(2):
        assert (await kind.undo(options, context)).applied is Applied.APPLIED
    assert (await kind.verify_undone(options, context))[0] is True
    _, inject, first, second, verify = server.requests
    assert b"Idempotency-Key: run-1:inject" in inject
    assert b"Idempotency-Key: run-1:undo" in first
    assert b"Idempotency-Key: run-1:undo" in second
    assert verify.startswith(b"GET /mail/healthy")


async def test_what_a_request_was_answered_is_worth_what_it_is_for_an_action(
    context: InjectionContext, serve: Serve
) -> None:
    server = await serve(NO)
    kind = injection_kind("http")
    options = made(kind, url=f"http://{server.origin}/", gone_url=f"http://{server.origin}/gone")
    assert (await kind.inject(options, context)).applied is Applied.REFUSED
    assert (await kind.verify_undone(options, context))[0] is False
    await server.stop()
    assert (await kind.inject(options, context)).applied is Applied.NOT_STARTED
    assert (await kind.verify_undone(options, context))[0] is None
    assert (await kind.preflight(options, context)).passed is False
    assert (await kind.verify_undone(made(kind, url=f"http://{server.origin}/"), context))[0] is None


# --- fault_proxy -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def a_proxy() -> AsyncIterator[Path]:
    """The control socket of a proxy at work."""
    with tempfile.TemporaryDirectory(prefix="fp-") as short:
        ready: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
        control = Path(short, "control")
        proxy = FaultProxy(Address("127.0.0.1", 0), Address("127.0.0.1", 9), control)
        serving = asyncio.ensure_future(proxy.serve(ready.set_result))
        await ready
        yield control
        proxy.end()
        await serving


async def test_a_fault_of_the_proxy_ends_there_by_itself_and_when_it_is_undone(context: InjectionContext) -> None:
    kind = injection_kind("fault_proxy")
    async with a_proxy() as control:
        options = made(kind, control=str(control), mode="hang")
        assert (await kind.preflight(options, context)).passed is True
        done = await kind.inject(options, context)
        assert done.applied is Applied.APPLIED
        assert "ends by itself within" in done.detail
        assert 0 < (await tell(control, {}))["left"] <= context.limit
        assert (await kind.verify_undone(options, context))[0] is False
        found = await kind.preflight(options, context)
        assert (found.passed, found.detail) == (False, "the proxy has the fault hang already; let it pass first")
        undo = made(kind, **kind.undo_options({"control": str(control), "mode": "hang"}, None))
        for _ in range(2):
            assert (await kind.undo(undo, context)).applied is Applied.APPLIED
            assert await kind.verify_undone(undo, context) == (True, "the proxy passes traffic")
    assert (await kind.preflight(options, context)).detail.endswith("is the proxy running (opsdash faultproxy)?")
    assert (await kind.verify_undone(options, context))[0] is None
    assert (await kind.undo(options, context)).applied is Applied.NOT_STARTED


# --- chaostoolkit ------------------------------------------------------------------------------------------------


def action(name: str, *, status: str = "succeeded", exit_code: int = 0) -> dict[str, Any]:
    """An action of a journal, as chaostoolkit-lib 1.45 writes it."""
    activity = {"name": name, "type": "action", "provider": {"type": "process"}}
    return {"activity": activity, "status": status, "output": {"status": exit_code, "stdout": "", "stderr": ""}}


def experiment(context: InjectionContext, **says: Any) -> dict[str, Any]:
    """The options of an experiment that behaves like this."""
    (context.workspace / "chaos.py").write_text(CHAOS)
    (context.workspace / "kill.json").write_text(json.dumps(says))
    return {"experiment": "kill.json", "program": [sys.executable, "chaos.py"], "watch_for": "300ms"}


async def test_an_experiment_is_interrupted_to_be_undone(context: InjectionContext) -> None:
    kind = injection_kind("chaostoolkit")
    cut_off = {key: value for key, value in action("hold").items() if key != "status"}
    says = {"hold": True, "run": [action("kill"), cut_off], "rollbacks": [action("start")]}
    options = made(kind, **experiment(context, **says))
    assert (await kind.preflight(options, context)).passed is True
    assert (await kind.verify_undone(options, context)) == (True, "kill.json was never started")
    done = await kind.inject(options, context)
    assert (done.applied, done.detail) == (Applied.APPLIED, "kill.json is running")
    await begun(context)
    assert (await kind.verify_undone(options, context))[0] is False
    for _ in range(2):
        undone = await kind.undo(options, context)
        assert (undone.applied, undone.detail) == (Applied.APPLIED, "kill.json has ended")
    gone, words = await kind.verify_undone(options, context)
    assert gone is None
    assert "has rolled back, and does not check that" in words
    assert context.folder is not None
    assert len(list(context.folder.glob("chaos-*.json"))) == 1


async def test_an_action_whose_program_failed_is_a_failed_injection_whatever_the_exit_code(
    context: InjectionContext,
) -> None:
    kind = injection_kind("chaostoolkit")
    options = made(kind, **{**experiment(context, run=[action("kill", exit_code=1)]), "watch_for": "10s"})
    done = await kind.inject(options, context)
    assert (done.applied, done.detail) == (Applied.UNKNOWN, "kill.json ended with exit code 0; failed: kill")
    assert "a failed injection: kill" in (await kind.undo(options, context)).detail


async def test_a_rollback_that_failed_is_not_undone(context: InjectionContext) -> None:
    kind = injection_kind("chaostoolkit")
    options = made(kind, **experiment(context, hold=True, rollbacks=[action("start", status="failed")]))
    await kind.inject(options, context)
    await begun(context)
    await kind.undo(options, context)
    assert await kind.verify_undone(options, context) == (False, "rolling back failed: start")


async def test_an_experiment_that_does_not_hear_the_first_signal_hears_the_second(context: InjectionContext) -> None:
    kind = injection_kind("chaostoolkit")
    context.deadline = 10.0
    options = made(kind, **experiment(context, hold=True, deaf_to=["SIGUSR1"], dies=True))
    await kind.inject(options, context)
    await begun(context)
    assert (await kind.undo(options, context)).applied is Applied.APPLIED
    gone, words = await kind.verify_undone(options, context)
    assert gone is None
    assert "left no journal" in words


async def begun(context: InjectionContext) -> None:
    """Wait until the experiment has blocked its signals."""
    folder = context.folder or context.workspace
    async with asyncio.timeout(30):
        while not any("begun" in log.read_text() for log in folder.glob("chaos-*.log")):  # noqa: ASYNC110 - a program
            await asyncio.sleep(0.02)


async def test_a_stranger_with_the_number_of_an_experiment_is_not_signalled(context: InjectionContext) -> None:
    kind = injection_kind("chaostoolkit")
    options = made(kind, **{**experiment(context), "watch_for": "10s"})
    await kind.inject(options, context)
    assert context.folder is not None
    [record] = context.folder.glob("chaos-*.run")
    record.write_text(json.dumps({"pid": os.getpid(), "identity": "of another boot:1"}))
    assert (await kind.undo(options, context)).applied is Applied.APPLIED  # and this test goes on


async def test_without_chaos_toolkit_it_is_said_how_to_get_it(context: InjectionContext) -> None:
    kind = injection_kind("chaostoolkit")
    options = made(kind, experiment="kill.json", program=["no-such-chaos"])
    found = await kind.preflight(options, context)
    assert found.detail == "no-such-chaos is not on the path; install it with: pip install chaostoolkit"
    assert (await kind.preflight(made(kind, experiment="x.json", program=["true"]), context)).detail.startswith(
        "there is"
    )
