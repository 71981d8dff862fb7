"""`opsdash readiness`: with an engine and without, for people and for scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from opsdash.cli import exits
from opsdash.core.readiness_rules import BY_ID
from tests.cli.conftest import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Ended, Running


@pytest.fixture
def opsdash(run: Callable[..., Ended], running: Running) -> Callable[..., Ended]:
    """A command about the workspace whose engine runs, once every check has a first result."""

    def ask(*words: str) -> Ended:
        return run(*words, "-w", running.workspace)

    eventually(lambda: ask("status").code == exits.OK, lambda: ask("status").out)
    return ask


def _rules(found: Any) -> set[str]:
    return {gap["rule"] for gap in found["gaps"]}


def test_it_is_there_without_an_engine_and_says_what_nobody_knows_then(
    run: Callable[..., Ended], workspace: Path
) -> None:
    ended = run("readiness", "-w", workspace)
    assert ended.code == exits.OK
    assert ended.out.startswith("Readiness of the operation: ")
    assert "Second file has never been shown to work" in ended.out
    assert "opsdash failover greeting --to second" in ended.out
    assert "no engine runs" in ended.err


def test_a_script_gets_one_object(run: Callable[..., Ended], workspace: Path) -> None:
    given = run("readiness", "--json", "-w", workspace).json
    assert (given["component"], given["status"]) == (None, "gaps")
    found = given["readiness"]
    assert 0 < found["score"] < 100
    assert found["total"] == len(found["gaps"])
    assert {"backup-unproven", "no-anchors"} <= _rules(found)
    assert found["measured"] is False


def test_a_score_that_is_too_low_ends_with_1(run: Callable[..., Ended], workspace: Path) -> None:
    score = run("readiness", "--json", "-w", workspace).json["readiness"]["score"]
    assert run("readiness", "--min", str(score), "-w", workspace).code == exits.OK
    ended = run("readiness", "--min", str(score + 1), "-w", workspace)
    assert ended.code == exits.NOT_OK
    assert f"readiness is {score}, below {score + 1}" in ended.err


@pytest.mark.parametrize("number", ["101", "-1", "much", "7.5"])
def test_what_is_no_score_is_refused(run: Callable[..., Ended], workspace: Path, number: str) -> None:
    ended = run("readiness", f"--min={number}", "-w", workspace)
    assert ended.code == exits.USAGE
    assert "write a number from 0 to 100" in ended.err


def test_one_component_has_a_score_and_gaps_of_its_own(run: Callable[..., Ended], workspace: Path) -> None:
    given = run("readiness", "greeting", "--json", "-w", workspace).json
    assert given["component"] == "greeting"
    assert {gap["component"] for gap in given["readiness"]["gaps"]} == {"greeting"}
    assert "Readiness of greeting: " in run("readiness", "greeting", "-w", workspace).out


def test_a_component_that_does_not_exist_is_named_with_its_neighbour(
    run: Callable[..., Ended], workspace: Path
) -> None:
    ended = run("readiness", "greting", "-w", workspace)
    assert ended.code == exits.USAGE
    assert "greeting" in ended.err


def test_the_rules_are_listed_without_a_workspace(run: Callable[..., Ended], tmp_path: Path) -> None:
    ended = run("readiness", "--rules", "-w", tmp_path)
    assert ended.code == exits.OK
    assert all(rule in ended.out for rule in BY_ID)
    assert {rule["id"] for rule in run("readiness", "--rules", "--json", "-w", tmp_path).json["rules"]} == set(BY_ID)


def test_a_mended_file_raises_the_score(run: Callable[..., Ended], workspace: Path) -> None:
    before = run("readiness", "--json", "-w", workspace).json["readiness"]
    settings = workspace / "opsdash.yaml"
    settings.write_text(settings.read_text() + "\ndead_man: {url: 'http://127.0.0.1:9/ping'}\n")
    after = run("readiness", "--json", "-w", workspace).json["readiness"]
    assert after["score"] > before["score"]
    assert after["total"] == before["total"] - 1


def test_a_switch_raises_the_score_and_an_edit_of_the_file_lowers_it_again(
    opsdash: Callable[..., Ended], running: Running
) -> None:
    def seen() -> Any:
        return opsdash("readiness", "greeting", "--json").json["readiness"]

    before = seen()
    assert before["measured"] is True
    assert "backup-unproven" in _rules(before)
    assert opsdash("failover", "greeting", "--yes", "--reason", "to see whether it works").code == exits.OK
    proved = seen()
    assert "backup-unproven" not in _rules(proved)
    assert proved["score"] > before["score"]

    file = running.workspace / "checks/greeting.yaml"
    file.write_text(file.read_text().replace('{file}", contains: hello', '{file}", contains: hell'))
    eventually(lambda: "backup-changed" in _rules(seen()))
    assert seen()["score"] < proved["score"]


def test_the_first_score_of_the_day_is_in_the_journal(opsdash: Callable[..., Ended], running: Running) -> None:
    del running

    def noted() -> bool:
        return "readiness is" in opsdash("journal", "tail").out

    eventually(noted)
    trend = opsdash("readiness", "--json").json["readiness"]["trend"]
    assert len(trend) == 1
