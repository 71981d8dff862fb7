"""Blocks of a runbook: programs and commands of opsdash, each with an end, and nothing unsafe in what they said."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.config.secrets import Masker
from opsdash.engine.blocks import Blocks, Execution
from opsdash.engine.output import KEPT
from opsdash.kinds.identity import still_runs
from opsdash.model.effects import RunBlock
from opsdash.model.run import BlockState
from opsdash.model.runbook import Block, Command, Language, Role
from tests.engine.support import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from opsdash.model.run import BlockResult

SECRET = "hunter2-hunter2"
EFFECT = RunBlock("RUN-1", "email-down", "email", "look", 2, "maria")


def block(code: str, language: Language = Language.SH, **settings: Any) -> Block:
    return Block(Role.CHECK, language, code, 1, 3, **settings)


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands: list[tuple[tuple[str, ...], str]] = []
        self.answers: list[tuple[bool | None, str]] = []
        self.mask = Masker([SECRET]).mask
        self.blocks = Blocks(workspace=folder, command=self._command, mask=self.mask)

    async def _command(self, argv: tuple[str, ...], who: str) -> tuple[bool | None, str]:
        self.commands.append((argv, who))
        return self.answers[min(len(self.commands), len(self.answers)) - 1]

    async def run(self, code: str, language: Language = Language.SH, **settings: Any) -> BlockResult:
        return await self.blocks.execute(self.execution(code, language, **settings))

    def execution(self, code: str, language: Language = Language.SH, **settings: Any) -> Execution:
        return Execution(EFFECT, block(code, language, **settings), self.mask)

    async def opsdash(self, *lines: str, **settings: Any) -> BlockResult:
        commands = tuple(Command(tuple(line.split()), number) for number, line in enumerate(lines))
        return await self.run("\n".join(lines), Language.OPSDASH, commands=commands, **settings)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# --- programs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "code"),
    [
        (Language.SH, "echo hello; echo there >&2"),
        (Language.BASH, "set -- a b; [[ $2 == b ]] && echo hello; echo there >&2"),
        (Language.PYTHON, "import sys; print('hello'); print('there', file=sys.stderr)"),
    ],
)
async def test_a_program_that_ends_well_has_passed(bench: Bench, language: Language, code: str) -> None:
    result = await bench.run(code, language)
    assert result.state is BlockState.PASSED, result
    assert sorted(result.output.split()) == ["hello", "there"]
    assert (result.step, result.block, result.who) == ("look", 2, "maria")


@pytest.mark.parametrize(
    ("language", "code"),
    [
        (Language.SH, "false; echo unreached"),
        (Language.SH, "echo $NOT_SET_AT_ALL"),
        (Language.BASH, "false | true; echo unreached"),
        (Language.PYTHON, "raise SystemExit(3)"),
    ],
)
async def test_a_program_that_ends_badly_has_failed_at_the_first_error(
    bench: Bench, language: Language, code: str
) -> None:
    result = await bench.run(code, language)
    assert result.state is BlockState.FAILED
    assert result.detail.startswith("exit status")
    assert "unreached" not in result.output


async def test_another_exit_status_may_mean_success(bench: Bench) -> None:
    assert (await bench.run("exit 3", rc=3)).state is BlockState.PASSED
    assert (await bench.run("exit 0", rc=3)).state is BlockState.FAILED


async def test_the_output_has_to_match_what_is_expected(bench: Bench) -> None:
    assert (await bench.run("echo one; echo ready", expect="^ready$")).state is BlockState.PASSED
    result = await bench.run("echo not ready", expect="^ready$")
    assert result.state is BlockState.FAILED
    assert "'^ready$'" in result.detail


async def test_a_program_that_was_killed_is_unknown(bench: Bench) -> None:
    result = await bench.run("kill -9 $$")
    assert result.state is BlockState.UNKNOWN
    assert "signal 9" in result.detail


async def test_a_program_that_cannot_be_started_has_changed_nothing(bench: Bench) -> None:
    result = await bench.run("true", cwd="no/such/folder")
    assert result.state is BlockState.FAILED
    assert "could not be started" in result.detail


async def test_a_program_knows_where_and_for_whom_it_runs(bench: Bench) -> None:
    (bench.folder / "sub").mkdir()
    result = await bench.run('echo "$PWD $OPSDASH_WORKSPACE $OPSDASH_RUN $OPSDASH_COMPONENT"', cwd="sub")
    assert result.output == f"{bench.folder}/sub {bench.folder} RUN-1 email"


async def test_a_program_does_not_inherit_the_engines_environment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_TOKEN", "t0p-s3cret")
    assert "t0p-s3cret" not in (await bench.run("env")).output


async def test_a_program_that_does_not_end_is_ended_with_its_children_and_is_unknown(bench: Bench) -> None:
    pids = bench.folder / "pids"
    code = f"sleep 60 & echo $! >> {pids}; echo $$ >> {pids}; echo begun; wait"
    result = await bench.run(code, timeout=0.4)
    assert result.state is BlockState.UNKNOWN
    assert result.output == "begun"
    assert "still running" in result.detail
    for pid in pids.read_text().split():
        await eventually(lambda pid=pid: not _alive(int(pid)))  # type: ignore[misc]


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:  # noqa: PTH123 - no path of a workspace
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
    except OSError:
        os.kill(pid, 0)
        return True


# --- again and again ---------------------------------------------------------------------------------------------


async def test_a_check_with_for_is_tried_until_it_passes(bench: Bench) -> None:
    code = "echo x >> tries; [ $(wc -l < tries) -ge 3 ]"
    result = await bench.run(code, for_=5.0, every=0.02)
    assert result.state is BlockState.PASSED
    assert (bench.folder / "tries").read_text().count("x") == 3


async def test_a_check_with_for_fails_after_that_time_and_not_after_its_timeout(bench: Bench) -> None:
    result = await bench.run("echo tried; exit 7", for_=2.0, every=0.5)
    assert result.state is BlockState.FAILED
    assert result.detail == "exit status 7, expected 0"
    assert result.output == "tried"


async def test_a_check_that_never_came_to_an_end_within_its_time_is_unknown(bench: Bench) -> None:
    result = await bench.run("sleep 30", for_=0.2, every=0.05)
    assert result.state is BlockState.UNKNOWN
    assert result.detail == "not within 200ms"


async def test_a_block_without_for_is_executed_once(bench: Bench) -> None:
    await bench.run("echo x >> tries; false", every=0.01)
    assert (bench.folder / "tries").read_text().count("x") == 1


# --- what they said ----------------------------------------------------------------------------------------------


async def test_output_is_made_harmless_line_by_line(bench: Bench) -> None:
    result = await bench.run(r"printf 'one\033]52;c;ZXZpbA==\007\ntwo\033[2J\n'")
    lines = result.output.split("\n")
    assert [line[:3] for line in lines] == ["one", "two"]
    assert "ZXZpbA" not in result.output
    assert all(line.isprintable() for line in lines)


async def test_no_secret_is_in_the_output_or_the_detail(bench: Bench) -> None:
    filler = KEPT - 5
    result = await bench.run(f"echo {SECRET}; head -c {filler} /dev/zero | tr '\\0' 'x'; echo {SECRET}; exit 1")
    assert "***" in result.output
    assert SECRET[:5] not in result.output
    result = await bench.run("true", expect=SECRET)
    assert SECRET not in result.detail


async def test_output_is_capped(bench: Bench) -> None:
    result = await bench.run("yes | head -c 1000000")
    assert len(result.output) <= KEPT + 100
    assert "bytes dropped" in result.output


# --- commands of opsdash -----------------------------------------------------------------------------------------


async def test_commands_go_the_audited_path_in_order_until_one_does_not_work(bench: Bench) -> None:
    bench.answers = [(True, "fine"), (False, "refused: nobody is ready"), (True, "never")]
    result = await bench.opsdash("check email/delivery", "failover email --to ses", "check email/delivery")
    assert bench.commands == [
        (("check", "email/delivery"), "maria"),
        (("failover", "email", "--to", "ses"), "maria"),
    ]
    assert result.state is BlockState.FAILED
    assert result.detail == "refused: nobody is ready"
    assert "check email/delivery: fine" in result.output


async def test_an_outcome_that_nobody_knows_is_unknown(bench: Bench) -> None:
    bench.answers = [(None, "unknown")]
    assert (await bench.opsdash("failover email")).state is BlockState.UNKNOWN
    assert len(bench.commands) == 1


async def test_a_check_command_is_tried_again_with_for(bench: Bench) -> None:
    bench.answers = [(False, "down"), (None, "unknown"), (True, "ok")]
    result = await bench.opsdash("check email/delivery", for_=5.0, every=0.01)
    assert result.state is BlockState.PASSED
    assert len(bench.commands) == 3


# --- while it runs -----------------------------------------------------------------------------------------------


async def test_what_a_program_says_is_there_while_it_runs(bench: Bench) -> None:
    running = bench.execution("echo one; while [ ! -e go ]; do sleep 0.02; done; echo two")
    task = asyncio.ensure_future(bench.blocks.execute(running))
    await eventually(lambda: running.output.since(0)[1] == ["one"])
    (bench.folder / "go").touch()
    assert (await task).output == "one\ntwo"
    assert running.output.since(1) == (2, ["two"])


async def test_a_secret_that_comes_in_two_pieces_is_never_seen(bench: Bench) -> None:
    half = len(SECRET) // 2
    code = f"printf {SECRET[:half]}; touch half; while [ ! -e go ]; do sleep 0.02; done; echo {SECRET[half:]} end"
    running = bench.execution(code)
    task = asyncio.ensure_future(bench.blocks.execute(running))
    await eventually((bench.folder / "half").exists)
    await asyncio.sleep(0.15)  # three looks at what has been said so far
    assert running.output.since(0) == (0, [])
    (bench.folder / "go").touch()
    assert (await task).output == "*** end"


async def test_a_program_that_floods_grows_nothing_and_holds_nobody_up(bench: Bench) -> None:
    running = bench.execution("yes | head -c 200000000; echo the end")
    looks = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    task = asyncio.ensure_future(bench.blocks.execute(running))
    while not task.done():
        await asyncio.sleep(0.01)
        looks += 1
    result = await task
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert result.state is BlockState.PASSED, result.detail
    assert result.output.startswith("y\ny\n")
    assert result.output.endswith("the end")
    assert "bytes dropped" in result.output
    assert len(result.output) <= KEPT + 100
    assert looks > 3, "the loop went on meanwhile"
    assert grown * (1 if sys.platform == "darwin" else 1024) < 64 * 1024 * 1024


async def test_a_line_that_never_ends_is_cut(bench: Bench) -> None:
    result = await bench.run("head -c 300000 /dev/zero | tr '\\0' x; echo; echo after")
    assert result.state is BlockState.PASSED
    first, *_, last = result.output.split("\n")
    assert set(first) == {"x", "…"}
    assert last == "after"
    assert len(result.output) < 3000


@pytest.mark.parametrize(
    "how", ["sleep 60 & echo $! > pid", "(setsid sh -c 'echo $$ > pid; exec sleep 60' &) & sleep 0.2"]
)
async def test_a_grandchild_that_holds_the_output_keeps_nobody_waiting(bench: Bench, how: str) -> None:
    result = await bench.run(f"{how}; echo begun")
    assert result.state is BlockState.PASSED, result.detail
    assert result.output == "begun"
    pid = await eventually(lambda: (bench.folder / "pid").read_text().strip())
    os.kill(int(pid), signal.SIGKILL)


async def test_a_cancelled_program_is_ended_with_its_children(bench: Bench) -> None:
    pids = bench.folder / "pids"
    running = bench.execution(f"trap '' TERM; sleep 60 & echo $! >> {pids}; echo $$ >> {pids}; echo begun; wait")
    task = asyncio.ensure_future(bench.blocks.execute(running))
    await eventually(lambda: running.output.since(0)[1] == ["begun"])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert running.output.text() == "begun"
    for pid in pids.read_text().split():
        await eventually(lambda pid=pid: not _alive(int(pid)))  # type: ignore[misc]


# --- the gate ------------------------------------------------------------------------------------------------------


async def test_a_program_waits_until_its_number_is_written_down(bench: Bench) -> None:
    ups: list[tuple[int, str]] = []
    running = bench.execution("touch begun; echo fine")
    running.up = lambda pid, identity: ups.append((pid, identity))
    task = asyncio.ensure_future(bench.blocks.execute(running))
    await eventually(lambda: ups)
    ((pid, identity),) = ups
    assert await asyncio.to_thread(still_runs, pid, identity)
    assert not await asyncio.to_thread(still_runs, pid, "another boot:1")
    assert not (bench.folder / "begun").exists()
    running.released.set()
    result = await task
    assert (result.state, result.output) == (BlockState.PASSED, "fine")
    assert not await asyncio.to_thread(still_runs, pid, identity)


async def test_what_could_not_be_written_down_in_time_is_never_executed(bench: Bench) -> None:
    running = bench.execution("touch begun", timeout=0.3)
    running.up = lambda _pid, _identity: None
    result = await bench.blocks.execute(running)
    assert result.state is BlockState.FAILED
    assert "nothing was executed" in result.detail
    assert not (bench.folder / "begun").exists()


# --- parameters and hosts ------------------------------------------------------------------------------------------

NASTY = 'x\'; touch hacked; echo "$(touch hacked)" `touch hacked` #'


async def test_a_parameter_is_a_variable_and_never_a_part_of_the_text(bench: Bench) -> None:
    running = bench.execution('printf "%s" "$standby"')
    running.variables = {"standby": NASTY}
    assert (await bench.blocks.execute(running)).output == NASTY
    assert not (bench.folder / "hacked").exists()


async def test_output_that_is_kept_is_what_the_program_said_and_not_what_it_complained_about(bench: Bench) -> None:
    running = bench.execution("echo complaint >&2; echo; echo ' db2 '", as_="standby")
    result = await bench.blocks.execute(running)
    assert running.parameter == ("standby", "db2")
    assert "complaint" in result.output


SSH = """#!/bin/sh
# As ssh does it: hands the command line to a shell on the other side.
printf '%s\\n' "$@" > "{log}"
while [ "$1" != "--" ]; do shift; done
[ "$2" != unreachable ] || {{ echo 'ssh: connect: no route' >&2; exit 255; }}
cd "{there}" && exec env -i PATH="$PATH" sh -c "$3"
"""


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another host, and a stand-in for the ssh that leads there."""
    there = tmp_path / "there"
    there.mkdir()
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(SSH.format(log=tmp_path / "ssh.log", there=there))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return there


@pytest.mark.parametrize(
    ("language", "code"),
    [
        (Language.SH, 'pwd; printf "%s\\n" "$standby"; cat'),
        (Language.BASH, 'pwd; [[ -n $standby ]]; printf "%s\\n" "$standby"; cat'),
        (Language.PYTHON, "import os,sys; print(os.getcwd()); print(os.environ['standby']); sys.stdin.read()"),
    ],
)
async def test_a_block_runs_on_another_host_with_its_variables_behind_ssh(
    bench: Bench, ssh: Path, language: Language, code: str
) -> None:
    running = bench.execution(code, language, host="db2.internal")
    running.variables = {"standby": NASTY}
    result = await bench.blocks.execute(running)
    assert result.state is BlockState.PASSED, result
    assert result.output == f"{ssh}\n{NASTY}"
    said = (bench.folder / "ssh.log").read_text()
    assert "BatchMode=yes" in said
    assert "hacked" not in said, "no value stands in anybody's list of processes"


async def test_a_failure_on_another_host_is_a_failure_and_a_broken_connection_is_unknown(
    bench: Bench, ssh: Path
) -> None:
    assert ssh.is_dir()
    result = await bench.run("exit 3", host="db2.internal")
    assert (result.state, result.detail) == (BlockState.FAILED, "exit status 3, expected 0")
    result = await bench.run("true", host="unreachable")
    assert result.state is BlockState.UNKNOWN
    assert "could not be reached" in result.detail
    assert "no route" in result.output
