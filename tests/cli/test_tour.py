"""The demo as a newcomer meets it: real services, a real engine, and nothing left behind."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from opsdash.cli import exits
from opsdash.cli.example import ENDED_BY_FORCE, running
from opsdash.config.starter import write_starter
from opsdash.demo.example import example as example_files
from tests.cli.conftest import OPSDASH, Terminal, environment, process

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of our own, so that whatever is left behind is seen. Its path is short, for the sockets."""
    with tempfile.TemporaryDirectory(prefix="opsdash-t-") as folder:
        monkeypatch.setattr("tempfile.tempdir", folder)
        yield Path(folder)


def _left_behind(folder: Path) -> list[str]:
    """Files, and processes whose command line names the folder."""
    listed = subprocess.run(["ps", "-axo", "command"], capture_output=True, text=True, check=True).stdout
    demos = [each.name for each in folder.iterdir() if each.name.startswith("opsdash-demo-")]
    return demos + [line for line in listed.splitlines() if f"{folder}/" in line]


def test_the_tour_shows_the_main_job_and_leaves_nothing_behind(temporary: Path) -> None:
    ended = process("demo", "--tour", TMPDIR=str(temporary), USER="nobody-said-so")
    assert ended.code == exits.OK, ended.out + ended.err
    for step in (
        "email is ok on postmark",
        "failure mode: Our mail provider does not answer (provider-unreachable); decided: switch",
        "Failover of email: Postmark → Amazon SES  ✓ done and verified",
        "by maria: Our mail provider does not answer",
        "accepted by ses-eu",
        "Our mail provider does not answer (RUN-1",
        "2. Send through the other provider",
        "ok on ses, redundancy ready",
        "Failback of email: Amazon SES → Postmark  ✓ done and verified",
        "accepted by pm-prod",
    ):
        assert step in ended.out
    assert len(re.findall(r"^✓ \d\. .* \d+\.\d s$", ended.out, re.MULTILINE)) == 8
    assert _left_behind(temporary) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_tour_leaves_nothing_behind(temporary: Path, number: signal.Signals) -> None:
    tour = subprocess.Popen(
        [*OPSDASH, "demo", "--tour"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(TMPDIR=str(temporary)),
    )
    assert tour.stdout is not None
    for line in tour.stdout:
        if "injected: postmark" in line:
            break
    assert _left_behind(temporary) != []
    tour.send_signal(number)
    tour.communicate()
    assert tour.returncode == exits.INTERRUPTED
    assert _left_behind(temporary) == []


@pytest.mark.parametrize("numbers", [(signal.SIGTERM,), (signal.SIGHUP, signal.SIGCONT)])
def test_a_demo_whose_terminal_is_closed_leaves_nothing_behind(
    temporary: Path, numbers: tuple[signal.Signals, ...]
) -> None:
    with Terminal("demo", more={"TMPDIR": str(temporary)}) as terminal:
        terminal.sees(str(temporary))
        terminal.sees("DEMO")
        terminal.signal(*numbers)
        # a board that hangs on its vanished terminal, or is slow to go, is ended by force
        assert terminal.code() in {exits.INTERRUPTED, ENDED_BY_FORCE}, terminal.screen
    assert _left_behind(temporary) == []


def test_a_demo_is_found_broken_and_healed_from_another_terminal(temporary: Path) -> None:
    there = {"TMPDIR": str(temporary)}
    with running() as example:
        broken = process("demo", "inject", "crm", "500", **there)
        assert (broken.code, broken.out.split()) == (exits.OK, ["crm", "500"])
        seen = process("check", "crm/api", "-w", example.workspace)
        assert "500" in seen.out, seen
        healed = process("demo", "inject", "all", "ok", OPSDASH_WORKSPACE=str(example.workspace))
        assert (healed.code, healed.out) == (exits.OK, "all services work\n")
        assert process("demo", "inject", "crm", "tired", **there).code == exits.USAGE
    assert process("demo", "inject", "crm", "500", **there).code == exits.FAILED


def test_a_command_that_names_no_workspace_is_about_the_demo_that_runs(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running() as example:
        example.start_engine()
        asyncio.run(example.attach())
        for folder in (example_files(), tmp_path):
            monkeypatch.chdir(folder)
            ended = process("engine", "status", "--json", TMPDIR=str(temporary))
            assert ended.json["workspace"] == str(example.workspace)
            assert f"the running demo (-w {example.workspace})" in ended.err
        write_starter(tmp_path / "own")
        monkeypatch.chdir(tmp_path / "own")
        assert "the running demo" not in process("validate", TMPDIR=str(temporary)).err
    monkeypatch.chdir(tmp_path)
    assert process("engine", "status", TMPDIR=str(temporary)).code == exits.USAGE


def test_what_a_service_sends_cannot_command_the_terminal(temporary: Path) -> None:
    with running() as example:
        example.services.inject("postmark", "hostile")
        for line in (("check", "email/postmark/api"), ("status", "email", "--poll"), ("validate", "--run")):
            ended = process(*line, "-w", example.workspace)
            said = ended.out + ended.err
            assert [char for char in said if (ord(char) < 0x20 and char != "\n") or 0x7F <= ord(char) < 0xA0] == []
            assert "\u202e" not in said


def test_a_copy_of_the_example_carries_its_ports(temporary: Path) -> None:
    with running() as example:
        ended = process("status", "--poll", "-w", example.workspace)
        assert ended.code == exits.OK, ended.out
