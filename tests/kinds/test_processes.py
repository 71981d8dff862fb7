"""Real programs: well-behaved, hanging, deaf, talkative, fertile."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from opsdash.kinds.processes import OUTPUT_LIMIT, Argv, Finished, _wait_by_asking, run_program


async def sh(script: str, folder: Path, *, timeout: float | None = 20.0, **env: str) -> Finished:
    return await run_program(["/bin/sh", "-c", script], cwd=folder, env=env, timeout=timeout)


async def appears(path: Path) -> str:
    """The content of a file that another process is about to write."""
    async with asyncio.timeout(10):
        while not (path.exists() and path.read_text().strip()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return path.read_text().strip()


async def ends(pid: int) -> None:
    """Return once the process is gone, or a zombie that its parent has not looked after yet."""
    async with asyncio.timeout(10):
        while is_alive(pid):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def test_a_program_that_ends_reports_its_output_and_exit_code(tmp_path: Path) -> None:
    finished = await sh("echo out; echo err >&2; exit 3", tmp_path)
    assert finished.started
    assert finished.exit_code == 3
    assert finished.signal is None
    assert (finished.stdout, finished.stderr) == ("out\n", "err\n")
    assert not finished.truncated
    assert not finished.leftover
    assert finished.ending == "exited with 3"


async def test_a_program_sees_a_minimal_environment_and_its_extras(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter22")
    finished = await run_program(["env"], cwd=tmp_path, env={"OPSDASH_TO": "ses"}, timeout=20)
    names = {line.partition("=")[0] for line in finished.stdout.splitlines()}
    assert names == {"PATH", "HOME", "LC_ALL", "LC_NUMERIC", "OPSDASH_TO"}


async def test_a_program_reads_nothing_and_is_no_child_of_a_shell(tmp_path: Path) -> None:
    assert (await run_program(["cat"], cwd=tmp_path, timeout=20)).exit_code == 0
    hostile = await run_program(["echo", "$(touch owned); touch owned"], cwd=tmp_path, timeout=20)
    assert hostile.stdout == "$(touch owned); touch owned\n"
    assert not (tmp_path / "owned").exists()


async def test_a_missing_program_was_not_started(tmp_path: Path) -> None:
    finished = await run_program(["/nowhere/check_http"], cwd=tmp_path)
    assert not finished.started
    assert finished.ending == "could not be started: /nowhere/check_http: No such file or directory"


async def test_a_file_without_the_right_to_execute_was_not_started(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    finished = await run_program(["./script"], cwd=tmp_path)
    assert not finished.started
    assert "Permission denied" in finished.problem


async def test_a_missing_folder_is_named_instead_of_the_program(tmp_path: Path) -> None:
    finished = await run_program(["true"], cwd=tmp_path / "gone")
    assert not finished.started
    assert str(tmp_path / "gone") in finished.problem


async def test_a_file_in_no_executable_format_was_not_started(tmp_path: Path) -> None:
    (tmp_path / "script").write_bytes(b"\x00\x01")
    (tmp_path / "script").chmod(0o755)
    assert not (await run_program(["./script"], cwd=tmp_path)).started


async def test_a_script_that_starts_a_daemon_ends_when_the_script_ends(tmp_path: Path) -> None:
    finished = await sh("sleep 60 & echo $! >pid; echo switched", tmp_path)
    daemon = int(await appears(tmp_path / "pid"))
    try:
        assert finished.exit_code == 0
        assert finished.stdout == "switched\n"
        assert finished.duration < 10
        assert finished.leftover
        assert is_alive(daemon)
    finally:
        os.kill(daemon, signal.SIGKILL)


async def test_at_the_deadline_the_whole_group_is_ended(tmp_path: Path) -> None:
    finished = await sh("sleep 60 & echo $! >pid; echo begun; wait", tmp_path, timeout=0.5)
    assert finished.timed_out
    assert finished.signal == signal.SIGTERM
    assert finished.stdout == "begun\n"
    assert not finished.leftover
    await ends(int(await appears(tmp_path / "pid")))


async def test_a_program_deaf_to_term_is_killed_half_a_second_later(tmp_path: Path) -> None:
    finished = await sh("trap '' TERM; while :; do sleep 0.05; done", tmp_path, timeout=0.3)
    assert finished.timed_out
    assert finished.signal == signal.SIGKILL
    assert 0.7 < finished.duration < 5
    assert finished.ending.startswith("was killed after")


async def test_a_deaf_grandchild_is_killed_although_its_parent_obeyed(tmp_path: Path) -> None:
    (tmp_path / "deaf").write_text("trap '' TERM; echo 1 >up; while :; do sleep 0.02; done")
    task = asyncio.ensure_future(sh("sh deaf & echo $! >pid; wait", tmp_path, timeout=None))
    pid = int(await appears(tmp_path / "pid"))
    await appears(tmp_path / "up")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ends(pid)


async def test_a_grandchild_gets_its_half_second_to_clean_up(tmp_path: Path) -> None:
    tidy = "trap 'sleep 0.2; echo tidied >done; exit 0' TERM; echo 1 >up; while :; do sleep 0.02; done"
    (tmp_path / "tidy").write_text(tidy)
    task = asyncio.ensure_future(sh("sh tidy & trap 'exit 1' TERM; wait", tmp_path, timeout=None))
    await appears(tmp_path / "up")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (tmp_path / "done").read_text() == "tidied\n"


async def test_a_second_cancellation_does_not_wait(tmp_path: Path) -> None:
    script = "trap '' TERM; echo $$ >pid; while :; do sleep 0.05; done"
    task = asyncio.ensure_future(sh(script, tmp_path, timeout=None))
    pid = int(await appears(tmp_path / "pid"))
    task.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ends(pid)


async def test_being_cancelled_before_it_starts_leaves_nothing_running(tmp_path: Path) -> None:
    task = asyncio.ensure_future(sh("echo $$ >pid; exec sleep 60", tmp_path, timeout=None))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    if (tmp_path / "pid").exists() and (pid := (tmp_path / "pid").read_text().strip()):
        await ends(int(pid))


async def test_fifty_megabytes_of_output_are_cut_and_say_so(tmp_path: Path) -> None:
    finished = await sh("head -c 50000000 /dev/zero | tr '\\0' x; echo tail >&2", tmp_path)
    assert finished.exit_code == 0
    assert finished.stdout == "x" * OUTPUT_LIMIT
    assert finished.truncated
    assert finished.stderr == "tail\n"


async def test_a_program_that_prints_for_ever_fills_no_disk(tmp_path: Path) -> None:
    # Its standard output is the file in question, so the program itself can tell how large that ever became.
    script = """
import os, time
largest = written = 0
end = time.monotonic() + 1.5
while time.monotonic() < end:
    written += os.write(1, b"x" * 10_000)
    time.sleep(0.001)
    largest = max(largest, os.fstat(1).st_size)
os.write(2, f"{written} {largest}".encode())
"""
    finished = await run_program([sys.executable, "-c", script], cwd=tmp_path, timeout=20)
    written, largest = map(int, finished.stderr.split())
    assert finished.truncated
    assert largest < written / 2


async def test_a_signal_is_told_by_name(tmp_path: Path) -> None:
    finished = await sh("kill -SEGV $$", tmp_path)
    assert finished.exit_code is None
    assert finished.ending == "was ended by SIGSEGV"


def test_where_no_descriptor_of_a_process_can_be_had_its_end_is_asked_for_without_reaping_it() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 0.1; exit 5"]) as process:
        asked: list[int] = []
        _wait_by_asking(process.pid, lambda: asked.append(1))
        assert asked
        assert os.waitpid(process.pid, 0)[1] == 5 << 8, "it can still be reaped"
        process.returncode = 5


async def test_output_that_is_no_text_is_read_all_the_same(tmp_path: Path) -> None:
    assert (await sh("printf 'a\\377b'", tmp_path)).stdout == "a\N{REPLACEMENT CHARACTER}b"


async def test_the_event_loop_goes_on_while_many_programs_run(tmp_path: Path) -> None:
    late = 0.0

    async def tick() -> None:
        nonlocal late
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0.01)
            late = max(late, loop.time() - before - 0.01)

    ticking = asyncio.ensure_future(tick())
    results = await asyncio.gather(*(sh("sleep 0.2; exit 4", tmp_path) for _ in range(30)))
    ticking.cancel()
    assert [finished.exit_code for finished in results] == [4] * 30
    assert late < 0.5


def test_an_argument_list_takes_whole_numbers_and_refuses_what_a_shell_would_split() -> None:
    argv = TypeAdapter(Argv)
    assert argv.validate_python(["check_load", "-w", 5]) == ("check_load", "-w", "5")
    for wrong, message in (
        ("check_load -w 5", "as a list"),
        ([], "at least the program"),
        ([None], "no text"),
        ([True], "in quotes"),
        (["a\0b"], "zero byte"),
    ):
        with pytest.raises(ValidationError, match=message):
            argv.validate_python(wrong)
