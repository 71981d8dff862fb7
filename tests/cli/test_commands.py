"""Finding the command, saying what is wrong with the line, and ending with the right code."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from opsdash import __version__
from opsdash.cli import COMMANDS, Entry, exits
from tests.cli.conftest import OPSDASH, Terminal, environment, process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Ended


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(run: Callable[..., Ended], name: str) -> None:
    ended = run(name, "--help")
    assert ended.code == exits.OK
    assert f"opsdash {name}" in ended.out
    assert "example:\n  opsdash" in ended.out


def test_the_overview_names_every_command(run: Callable[..., Ended]) -> None:
    ended = run("--help")
    assert ended.code == exits.OK
    assert [name for name in COMMANDS if f"\n  {name} " not in ended.out] == []


def test_a_typo_is_answered_with_the_nearest_command(run: Callable[..., Ended]) -> None:
    ended = run("failovr", "email")
    assert ended.code == exits.USAGE
    assert "Did you mean `opsdash failover`?" in ended.err
    assert ended.out == ""


def test_the_version_is_printed(run: Callable[..., Ended]) -> None:
    assert run("--version").out.strip() == f"opsdash {__version__}"


def test_an_unknown_option_is_a_usage_error(run: Callable[..., Ended]) -> None:
    assert run("status", "--colour").code == exits.USAGE


@pytest.mark.parametrize("line", [("status",), ("failover", "email"), ("validate",), ("journal", "tail"), ("people",)])
def test_without_a_workspace_a_command_says_how_to_get_one(
    run: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = run(*line)
    assert ended.code == exits.USAGE
    for way in ("-w DIR", "opsdash init", "opsdash demo"):
        assert way in ended.err


def test_a_folder_that_is_no_workspace_is_named(run: Callable[..., Ended], tmp_path: Path) -> None:
    ended = run("status", "-w", tmp_path)
    assert ended.code == exits.USAGE
    assert f"{tmp_path} is no workspace" in ended.err


def test_the_workspace_is_found_from_a_folder_within_it(
    run: Callable[..., Ended], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace / "checks")
    assert run("validate").code == exits.OK


def test_the_workspace_may_be_named_before_the_command_or_by_the_environment(
    run: Callable[..., Ended], workspace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("-w", workspace, "validate").code == exits.OK
    assert run("-w", workspace, "journal", "tail").code == exits.OK
    monkeypatch.setenv("OPSDASH_WORKSPACE", str(workspace))
    assert run("validate").code == exits.OK


def test_a_bug_ends_with_70_and_says_where_its_traceback_is(
    run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setitem(COMMANDS, "broken", Entry("no_such_module", "cannot be imported"))
    ended = run("broken")
    assert ended.code == exits.BUG
    assert "this is a bug: ModuleNotFoundError" in ended.err
    [log] = tmp_path.glob("opsdash-bug-*.log")
    assert str(log) in ended.err
    assert "Traceback" in log.read_text()


def test_status_imports_neither_textual_nor_pydantic_nor_any_http_library(workspace: Path) -> None:
    code = (
        "import sys; from opsdash.cli import main; main(['status', '-w', sys.argv[1]]); "
        "print(' '.join(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    ended = subprocess.run(
        [OPSDASH[0], "-c", code, str(workspace)], capture_output=True, text=True, check=True, env=environment()
    )
    imported = set(ended.stdout.split())
    assert "opsdash" in imported
    heavy = {"textual", "rich", "httpx", "httptools", "pydantic", "yaml", "starlette", "uvicorn", "tinydb", "cel"}
    assert imported & heavy == set()


def test_a_reader_that_goes_away_is_no_bug(workspace: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        ended = subprocess.run(
            [*OPSDASH, "schema", "component"], stdout=closed, stderr=subprocess.PIPE, text=True, check=False,
            cwd=workspace, env=environment(),
        )  # fmt: skip
    assert ended.returncode == exits.BROKEN_PIPE
    assert ended.stderr == ""


def test_a_terminal_that_knows_only_ascii_gets_question_marks_and_no_traceback(workspace: Path) -> None:
    ended = process("status", "--poll", "-w", workspace, PYTHONIOENCODING="ascii")
    assert ended.code == exits.OK
    assert "? ok" in ended.out


def test_without_a_command_and_a_workspace_a_person_is_offered_ways_to_get_one(tmp_path: Path) -> None:
    with Terminal(cwd=tmp_path) as terminal:
        offer = terminal.sees("d, i, o or q?")
        for way in ("opsdash demo", "opsdash init", "open a workspace"):
            assert way in offer
        terminal.types("i")
        terminal.sees("opsdash validate --run")
        assert terminal.code() == exits.OK
    assert (tmp_path / "opsdash.yaml").is_file()


def test_whoever_takes_no_offer_gets_a_usage_error(tmp_path: Path) -> None:
    with Terminal(cwd=tmp_path) as terminal:
        terminal.sees("d, i, o or q?")
        terminal.types("q")
        assert terminal.code() == exits.USAGE
    assert list(tmp_path.iterdir()) == []
