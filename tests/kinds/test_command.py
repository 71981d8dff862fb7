"""Check kind `command`: real plugins and scripts, and what their exit codes mean."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from opsdash.kinds.base import CheckContext, Sample
from opsdash.kinds.checks.command import KIND, Options, run
from opsdash.kinds.resolver import Resolver
from opsdash.model.status import Reason, Status


async def check(folder: Path, script: str, *, wants_json: bool = True, **keys: Any) -> Sample:
    context = CheckContext("db/probe", 10.0, 0.0, folder, Resolver(), wants_json=wants_json)
    return await run(Options(argv=("/bin/sh", "-c", script), **keys), context)


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        (0, Status.OK, None),
        (1, Status.DEGRADED, Reason.WARNING),
        (2, Status.DOWN, Reason.EXIT),
        (3, Status.UNKNOWN, Reason.PROBE_ERROR),
        (4, Status.UNKNOWN, Reason.PROBE_ERROR),
        (126, Status.UNKNOWN, Reason.PROBE_ERROR),
        (127, Status.UNKNOWN, Reason.PROBE_ERROR),
        (255, Status.UNKNOWN, Reason.PROBE_ERROR),
    ],
)
async def test_the_exit_code_of_a_plugin_decides_whatever_its_text_says(
    tmp_path: Path, code: int, status: Status, reason: Reason | None
) -> None:
    sample = await check(tmp_path, f"echo 'CRITICAL OK WARNING | a=1'; exit {code}")
    assert (sample.status, sample.reason) == (status, reason)


@pytest.mark.parametrize(("code", "status"), [(0, Status.OK), (1, Status.DOWN), (3, Status.DOWN), (9, Status.DOWN)])
async def test_a_plain_script_is_ok_or_down(tmp_path: Path, code: int, status: Status) -> None:
    sample = await check(tmp_path, f"echo no rows left; exit {code}", output="plain")
    assert sample.status is status
    assert "no rows left" in sample.detail
    assert sample.values["exit_code"] == code


@pytest.mark.parametrize("output", ["nagios", "plain"])
async def test_a_broken_probe_says_nothing_of_the_service(tmp_path: Path, output: str) -> None:
    killed = await check(tmp_path, "kill -9 $$", output=output)
    assert (killed.status, killed.reason) == (Status.UNKNOWN, Reason.PROBE_ERROR)
    assert "SIGKILL" in killed.detail
    not_found = await check(tmp_path, "/nowhere/plugin", output=output)
    assert (not_found.status, not_found.reason) == (Status.UNKNOWN, Reason.PROBE_ERROR)
    assert "was not found" in not_found.detail
    context = CheckContext("db/probe", 10.0, 0.0, tmp_path, Resolver())
    missing = await run(Options(argv=("/nowhere/plugin",), output=output), context)
    assert (missing.status, missing.reason) == (Status.UNKNOWN, Reason.PROBE_ERROR)
    assert "could not be started" in missing.detail
    assert missing.latency is None


async def test_performance_data_are_values_for_expectations(tmp_path: Path) -> None:
    sample = await check(tmp_path, "echo \"DISK OK | /=2643MB;5948 'a b'=U bad=x\"; echo more; echo hint >&2")
    assert sample.detail == "DISK OK"
    assert sample.values["output"] == "DISK OK"
    assert sample.values["long_output"] == "more"
    assert sample.values["perf"] == {"/": 2643.0}
    assert sample.values["stderr"] == "hint\n"
    assert len(sample.values["complaints"]) == 1
    assert sample.latency is not None


async def test_every_name_of_the_sample_is_there_in_a_real_run(tmp_path: Path) -> None:
    sample = await check(tmp_path, "echo ok")
    assert set(sample.values) == set(KIND.sample)


async def test_a_plugin_that_writes_only_to_standard_error_is_quoted(tmp_path: Path) -> None:
    assert (await check(tmp_path, "echo 'no such host' >&2; exit 2")).detail == "no such host"
    assert (await check(tmp_path, "exit 2")).detail == "exited with 2"


@pytest.mark.parametrize(
    ("load", "code", "status", "reason"),
    [
        ("3", 0, Status.OK, None),
        ("6", 0, Status.DEGRADED, Reason.WARNING),
        ("11", 0, Status.DOWN, Reason.EXPECTATION),
        ("11", 1, Status.DOWN, Reason.EXPECTATION),
        ("3", 2, Status.DOWN, Reason.EXIT),
        ("6", 2, Status.DOWN, Reason.EXIT),
        ("6", 3, Status.UNKNOWN, Reason.PROBE_ERROR),
        ("U", 0, Status.UNKNOWN, Reason.EXPECTATION_ERROR),
    ],
)
async def test_own_ranges_make_a_verdict_worse_and_never_better(
    tmp_path: Path, load: str, code: int, status: Status, reason: Reason | None
) -> None:
    sample = await check(
        tmp_path, f"echo 'LOAD | load1={load}'; exit {code}", warn={"load1": 5}, crit={"load1": "0:10"}
    )
    assert (sample.status, sample.reason) == (status, reason)


async def test_a_range_on_a_value_that_is_not_reported_is_no_pass(tmp_path: Path) -> None:
    sample = await check(tmp_path, "echo LOAD OK", crit={"load1": 10})
    assert (sample.status, sample.reason) == (Status.UNKNOWN, Reason.EXPECTATION_ERROR)
    assert "no value for 'load1'" in sample.detail


async def test_json_of_a_plain_script_is_there_for_those_who_ask_and_only_if_it_is_some(tmp_path: Path) -> None:
    assert (await check(tmp_path, "echo '{\"lag\": 3}'", output="plain")).values["json"] == {"lag": 3}
    assert "json" not in (await check(tmp_path, "echo '{\"lag\": 3}'", output="plain", wants_json=False)).values
    assert "json" not in (await check(tmp_path, "echo '{\"lag\":'", output="plain")).values


async def test_it_runs_in_the_workspace_with_the_variables_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    sample = await check(tmp_path, 'echo "$PWD $REGION"', output="plain", cwd="sub", env={"REGION": "eu"})
    assert sample.values["output"] == f"{tmp_path}/sub eu\n"


async def test_whoever_cancels_at_the_deadline_ends_the_process_group(tmp_path: Path) -> None:
    context = CheckContext("db/probe", 0.3, 0.0, tmp_path, Resolver())
    options = Options(argv=("/bin/sh", "-c", "sleep 60 & echo $! >pid; wait"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await run(options, context)
    assert context.stage == "run"
    pid = int((tmp_path / "pid").read_text())
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        assert ") Z " in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8"), "gone, or a zombie nobody reaps"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"argv": "check_load -w 5"}, "as a list"),
        ({"argv": []}, "at least the program's name"),
        ({"argv": ["x"], "warn": {"a": "ten"}}, "no range"),
        ({"argv": ["x"], "crit": {"a": True}}, "no range"),
        ({"argv": ["x"], "crit": {"a": 5}, "output": "plain"}, "does not read"),
        ({"argv": ["x"], "shell": True}, "Extra inputs"),
    ],
)
def test_options_that_cannot_work_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Options(**keys)
