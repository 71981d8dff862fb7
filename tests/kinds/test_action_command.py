"""Action kinds `command` and `manual`: what a script's end is worth."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from opsdash.kinds.actions import manual as manual_kind
from opsdash.kinds.actions.command import KIND, Options, ReadOptions, apply, manual, preflight, read
from opsdash.kinds.base import ActionContext, ActionResult, Applied, Preflight, Reading
from opsdash.kinds.processes import run_program
from opsdash.kinds.resolver import Resolver

if TYPE_CHECKING:
    from pathlib import Path


def a_context(folder: Path, **keys: Any) -> ActionContext:
    return ActionContext("crm:failover:3", keys.pop("deadline", 20.0), folder, Resolver(), 0.0, **keys)


async def act(folder: Path, script: str, *, context: ActionContext | None = None, **keys: Any) -> ActionResult:
    return await apply(Options(argv=("/bin/sh", "-c", script), **keys), context or a_context(folder))


async def test_a_script_is_told_what_it_is_to_do(tmp_path: Path) -> None:
    context = a_context(tmp_path, expected="main", environment={"OPSDASH_TO": "standby"})
    script = 'echo "$OPSDASH_ACTION_ID $OPSDASH_FROM $OPSDASH_TO $REGION"'
    result = await act(tmp_path, script, context=context, env={"REGION": "eu", "OPSDASH_TO": "forged"})
    assert result.applied is Applied.APPLIED
    assert result.detail == "/bin/sh exited with 0: crm:failover:3 main standby eu"


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ("exit 0", Applied.APPLIED),
        ("exit 1", Applied.UNKNOWN),
        ("exit 9", Applied.REFUSED),
        ("exit 127", Applied.UNKNOWN),
        ("kill -9 $$", Applied.UNKNOWN),
    ],
)
async def test_only_what_the_script_says_by_contract_is_believed(tmp_path: Path, script: str, outcome: Applied) -> None:
    assert (await act(tmp_path, script, refused=(9, 10))).applied is outcome


async def test_a_program_that_cannot_be_started_changed_nothing(tmp_path: Path) -> None:
    result = await apply(Options(argv=("bin/switch",)), a_context(tmp_path))
    assert result.applied is Applied.NOT_STARTED
    assert "could not be started" in result.detail


async def test_at_the_deadline_the_outcome_is_unknown_and_what_it_said_is_evidence(tmp_path: Path) -> None:
    result = await act(tmp_path, "echo halfway; sleep 60", context=a_context(tmp_path, deadline=1.0))
    assert result.applied is Applied.UNKNOWN
    assert "was killed after" in result.detail
    assert "halfway" in result.detail


async def test_a_script_that_is_deaf_to_term_ends_at_the_deadline_all_the_same(tmp_path: Path) -> None:
    script = "trap '' TERM; echo $$ >pid; while :; do sleep 0.05; done"
    result = await act(tmp_path, script, context=a_context(tmp_path, deadline=2.0))
    assert result.applied is Applied.UNKNOWN
    assert "was killed after" in result.detail
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_of_fifty_megabytes_the_beginning_is_evidence(tmp_path: Path) -> None:
    result = await act(tmp_path, "head -c 50000000 /dev/zero | tr '\\0' x")
    assert result.applied is Applied.APPLIED
    assert result.detail == f"/bin/sh exited with 0: {'x' * 300}"
    reading = await look(tmp_path, "echo main; head -c 50000000 /dev/zero | tr '\\0' '\\n'; echo standby")
    assert reading.value is None, "what was cut off may be what counts"


async def test_a_script_that_leaves_a_daemon_has_applied_and_says_so(tmp_path: Path) -> None:
    result = await act(tmp_path, "sleep 60 & echo $! >pid")
    daemon = int((tmp_path / "pid").read_text())
    os.kill(daemon, signal.SIGKILL)  # it must still be there: this raises otherwise
    assert result.applied is Applied.APPLIED
    assert "go on running" in result.detail


async def test_on_sent_comes_before_the_script_does_anything(tmp_path: Path) -> None:
    there: list[bool] = []
    context = a_context(tmp_path, on_sent=lambda: there.append((tmp_path / "done").exists()))
    await act(tmp_path, "touch done", context=context)
    assert there == [False]


async def look(folder: Path, script: str) -> Reading:
    return await read(ReadOptions(argv=("/bin/sh", "-c", script)), a_context(folder))


async def test_reading_takes_one_line_and_nothing_else(tmp_path: Path) -> None:
    assert (await look(tmp_path, "echo; echo '  standby '")).value == "standby"
    for script, words in (
        ("true", "printed 0 lines"),
        ("echo a; echo b", "printed 2 lines"),
        ("echo standby; exit 1", "exited with 1: standby"),
        ("echo standby; kill -9 $$", "SIGKILL"),
    ):
        reading = await look(tmp_path, script)
        assert reading.value is None
        assert words in reading.detail


async def check(folder: Path, **keys: Any) -> Preflight:
    return await preflight(Options.model_validate(keys), a_context(folder))


async def test_the_preflight_looks_for_the_program_without_running_it(tmp_path: Path) -> None:
    script = tmp_path / "switch"
    script.write_text("#!/bin/sh\ntouch ran\n")
    assert (await check(tmp_path, argv=["./switch"])).detail == "./switch is not executable"
    script.chmod(0o755)
    assert (await check(tmp_path, argv=["./switch"])).passed is True
    assert (await check(tmp_path, argv=["sh"])).passed is True
    assert (await check(tmp_path, argv=["no-such-program"])).passed is False
    assert (await check(tmp_path, argv=["./gone"])).passed is False
    assert (await check(tmp_path, argv=["sh"], cwd="gone")).detail == "the folder gone does not exist"
    assert not (tmp_path / "ran").exists()


async def test_a_check_of_its_own_decides_the_preflight(tmp_path: Path) -> None:
    assert (await check(tmp_path, argv=["sh"], check=["true"])).passed is True
    failed = await check(tmp_path, argv=["sh"], check=["sh", "-c", "echo no credentials; exit 1"])
    assert failed.passed is False
    assert "no credentials" in failed.detail
    assert (await check(tmp_path, argv=["sh"], check=["./gone"])).passed is False


async def test_the_manual_command_runs_the_same_program(tmp_path: Path) -> None:
    (tmp_path / "my scripts").mkdir()
    raw = {
        "argv": ["sh", "-c", 'echo "$KEY $1 $2"', "sh", "it's; $(id)", 5],
        "env": {"KEY": "${file:../key}"},
        "cwd": "my scripts",
    }
    (tmp_path / "key").write_text("k 1\n")
    finished = await run_program(["bash", "-c", manual(raw)], cwd=tmp_path, timeout=20)
    assert finished.stdout == "k 1 it's; $(id) 5\n"
    assert manual({"argv": ["systemctl", "restart", "mailer"]}) == "systemctl restart mailer"


async def test_being_cancelled_ends_the_script(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alive")
    task = asyncio.ensure_future(act(tmp_path, "exec 3>alive; sleep 60 & wait"))
    # The other end of the pipe is closed when the last process of the group has ended.
    pipe = await asyncio.to_thread(lambda: (tmp_path / "alive").open("rb"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pipe:
        assert await asyncio.wait_for(asyncio.to_thread(pipe.read), 10) == b""


def test_options_that_cannot_work_are_refused() -> None:
    for keys in ({"argv": "systemctl restart mailer"}, {"argv": ["x"], "refused": [0]}, {"argv": ["x"], "check": []}):
        with pytest.raises(ValidationError):
            Options.model_validate(keys)
    assert KIND.abilities.read_back


async def test_a_person_is_told_what_to_do_and_for_how_long_the_facts_are_looked_at(tmp_path: Path) -> None:
    options = manual_kind.Options.model_validate({"instructions": "Press the red button.", "within": "15m"})
    sent: list[str] = []
    result = await manual_kind.apply(options, a_context(tmp_path, on_sent=lambda: sent.append("sent")))
    assert result.applied is Applied.APPLIED
    assert result.detail == "waiting for a person, 15m: Press the red button."
    assert sent == ["sent"]
    assert manual_kind.KIND.abilities_with(options).settle == 900
    assert (await manual_kind.preflight(options, a_context(tmp_path))).passed is True
    assert manual_kind.manual({"instructions": "One.\nrm -rf /"}) == "# One.\n# rm -rf /"
