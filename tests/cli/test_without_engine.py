"""What works while no engine runs: files, journal, schema, kinds, and one look without an engine."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from opsdash.cli import exits
from opsdash.engine.clock import system_clock
from opsdash.model.records import NearMissed
from opsdash.model.status import Status
from opsdash.service.places import places
from opsdash.storage.codec import encode
from opsdash.storage.history import History
from opsdash.storage.journal import Journal
from opsdash.storage.samples import Sample

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Ended

HOSTILE = "\x1b]52;c;cHduZWQ=\x07\x1b[2J\u202eevil\x9b31m"


def _forbidden(text: str) -> list[str]:
    """Characters in `text` that a terminal would obey, or that deceive."""
    return [
        char for char in text if (ord(char) < 0x20 and char != "\n") or 0x7F <= ord(char) < 0xA0 or char == "\u202e"
    ]


# --- init and validate -------------------------------------------------------------------------------------------


def test_init_makes_a_workspace_that_is_clean_and_whose_checks_pass(run: Callable[..., Ended], tmp_path: Path) -> None:
    made = run("init", tmp_path / "new")
    assert made.code == exits.OK
    assert str(tmp_path / "new" / "opsdash.yaml") in made.out
    assert run("validate", "--run", "-w", tmp_path / "new").code == exits.OK


def test_init_touches_no_workspace_that_is_there(run: Callable[..., Ended], workspace: Path) -> None:
    ended = run("init", workspace)
    assert ended.code == exits.USAGE
    assert "is a workspace already" in ended.err


def test_validate_reports_every_error_with_file_line_and_the_nearest_name(
    run: Callable[..., Ended], workspace: Path
) -> None:
    (workspace / "checks/one.yaml").write_text("titel: One\nchecks: {up: {kind: tpc, host: localhost, port: 1}}\n")
    (workspace / "checks/two.yaml").write_text("checks: {up: {kind: tcp, host: localhost}}\n")
    ended = run("validate", "-w", workspace)
    assert ended.code == exits.ERRORS
    assert "checks/one.yaml:1:" in ended.out
    assert "title" in ended.out
    assert "tcp" in ended.out
    assert "checks/two.yaml:1:" in ended.out
    assert "3 errors" in ended.err


def test_validate_answers_1_for_warnings_alone(run: Callable[..., Ended], workspace: Path) -> None:
    (workspace / "drills").mkdir()
    drill = "component: greeting\nlevel: switch\nowner: me\nschedule: {every: 120d}\n"  # its evidence counts for 100
    (workspace / "drills/quarterly.yaml").write_text(drill)
    ended = run("validate", "-w", workspace, "--json")
    assert ended.code == exits.WARNINGS
    assert ended.json["status"] == "warnings"
    assert ended.json["reason"].partition("; ")[0].endswith(", 1 runbooks, 1 drills")
    assert [problem["file"] for problem in ended.json["problems"]] == ["drills/quarterly.yaml"]


def test_validate_run_answers_1_when_a_check_is_not_ok(run: Callable[..., Ended], workspace: Path) -> None:
    (workspace / "example/second.txt").unlink()
    assert run("validate", "-w", workspace).code == exits.OK
    ended = run("validate", "--run", "-w", workspace)
    assert ended.code == exits.WARNINGS
    assert "DOWN" in ended.out
    assert "greeting/second/text" in ended.out


def test_a_file_cannot_command_the_terminal(run: Callable[..., Ended], workspace: Path) -> None:
    (workspace / "checks/evil.yaml").write_text(f"title: {json.dumps(HOSTILE)}\n{json.dumps(HOSTILE)}: 1\n")
    for line in (("validate",), ("status", "--poll"), ("register",)):
        ended = run(*line, "-w", workspace)
        assert _forbidden(ended.out) == []
        assert _forbidden(ended.err) == []


# --- status ------------------------------------------------------------------------------------------------------


def test_status_without_an_engine_is_not_fine(run: Callable[..., Ended], workspace: Path) -> None:
    ended = run("status", "-w", workspace)
    assert ended.code == exits.NOT_KNOWN
    assert "no engine is running" in ended.err
    assert ended.out == ""
    assert not (workspace / ".opsdash").exists()


def test_status_for_nagios_without_an_engine_is_unknown_in_one_line(run: Callable[..., Ended], workspace: Path) -> None:
    ended = run("status", "--nagios", "-w", workspace)
    assert (ended.code, ended.out) == (3, "OPSDASH UNKNOWN - no engine is running\n")


def test_status_as_json_without_an_engine_says_unknown(run: Callable[..., Ended], workspace: Path) -> None:
    ended = run("status", "greeting", "--json", "-w", workspace)
    assert ended.code == exits.NOT_KNOWN
    assert ended.json == {"component": "greeting", "status": "unknown", "reason": "no engine is running"}


def test_poll_looks_once_without_an_engine(run: Callable[..., Ended], workspace: Path) -> None:
    assert run("status", "--poll", "-w", workspace).code == exits.OK
    (workspace / "example/first.txt").unlink()
    ended = run("status", "greeting", "--poll", "--json", "-w", workspace)
    assert ended.code == exits.NOT_OK
    assert (ended.json["component"], ended.json["status"]) == ("greeting", "down")
    assert run("status", "this-machine", "--poll", "-w", workspace).code == exits.OK


def test_no_command_and_no_terminal_is_a_plain_status(run: Callable[..., Ended], workspace: Path) -> None:
    ended = run("-w", workspace)
    assert ended.code == exits.NOT_KNOWN
    assert "`opsdash status`" in ended.err


def test_a_component_that_does_not_exist_is_a_usage_error(run: Callable[..., Ended], workspace: Path) -> None:
    ended = run("status", "greetign", "--poll", "-w", workspace)
    assert ended.code == exits.USAGE
    assert "did you mean greeting?" in ended.err


# --- check -------------------------------------------------------------------------------------------------------


def test_check_shows_what_it_saw_and_answers_by_the_result(run: Callable[..., Ended], workspace: Path) -> None:
    ended = run("check", "greeting/first/text", "-w", workspace)
    assert ended.code == exits.OK
    assert "size = " in ended.out
    (workspace / "example/first.txt").unlink()
    broken = run("check", "greeting/first/text", "--json", "-w", workspace)
    assert broken.code == exits.NOT_OK
    assert (broken.json["component"], broken.json["status"]) == ("greeting", "down")


def test_a_check_that_does_not_exist_is_answered_with_the_nearest(run: Callable[..., Ended], workspace: Path) -> None:
    ended = run("check", "greeting/frist/text", "-w", workspace)
    assert ended.code == exits.USAGE
    assert "did you mean greeting/first/text?" in ended.err


# --- what the files and the journal tell -------------------------------------------------------------------------


def test_the_register_is_there_without_an_engine(run: Callable[..., Ended], workspace: Path) -> None:
    ended = run("register", "--json", "-w", workspace)
    assert ended.code == exits.OK
    assert {entry["id"] for entry in ended.json["register"]} == {"no-commands", "both-gone", "in-use-gone"}
    assert not any(entry["active"] for entry in ended.json["register"])
    text = run("register", "greeting", "-w", workspace)
    assert "The file in use does not say hello" in text.out
    assert "one owner only" in text.out
    assert "this-machine" not in text.out


def test_people_runbooks_and_incidents_are_there_without_an_engine(run: Callable[..., Ended], workspace: Path) -> None:
    assert "owns greeting" in run("people", "-w", workspace).out
    assert "getting-started" in run("runbook", "list", "-w", workspace).out
    assert run("incident", "list", "-w", workspace).code == exits.OK
    assert run("switch", "show", "greeting", "-w", workspace).code == exits.OK
    assert not (workspace / ".opsdash/engine.sock").exists()


def test_a_runbook_that_nobody_has_approved_is_marked_in_the_list(
    run: Callable[..., Ended], workspace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("OPSDASH_TRUST_RUNBOOKS", raising=False)
    waits = "waits for approval: opsdash runbook approve getting-started"
    assert waits in run("runbook", "list", "-w", workspace).out
    monkeypatch.setenv("OPSDASH_TRUST_RUNBOOKS", "1")
    assert "waits for approval" not in run("runbook", "list", "-w", workspace).out


def test_near_misses_stand_in_the_register(run: Callable[..., Ended], workspace: Path) -> None:
    assert "was near" not in run("register", "greeting", "-w", workspace).out
    at = 1_780_000_000.0
    missed = NearMissed(at, "greeting", "both-gone", "greeting/first/text", at - 10, 2)
    with closing(Journal.open(workspace / ".opsdash/journal")) as journal:
        journal.append([encode(missed)], datetime.fromtimestamp(at, UTC))
    assert "was near   once, last 2026-05-28" in run("register", "greeting", "-w", workspace).out


def test_a_runbook_is_shown_as_plain_text(run: Callable[..., Ended], workspace: Path) -> None:
    ended = run("runbook", "show", "getting-started", "-w", workspace)
    assert ended.code == exits.OK
    assert "See what is wrong" in ended.out
    missing = run("runbook", "show", "geting-started", "-w", workspace)
    assert missing.code == exits.USAGE
    assert "did you mean getting-started?" in missing.err


def test_lint_answers_by_the_worst_finding(run: Callable[..., Ended], workspace: Path) -> None:
    assert run("runbook", "lint", "-w", workspace).code == exits.OK
    (workspace / "runbooks/bad.md").write_text("# Bad\n\n## Steps\n\n### One\n\n```sh {run everi=2s}\ntrue\n```\n")
    ended = run("runbook", "lint", "bad", "-w", workspace)
    assert ended.code == exits.ERRORS
    assert "runbooks/bad.md:7" in ended.out
    assert run("runbook", "lint", "getting-started", "-w", workspace).code == exits.OK


def test_following_a_runbook_needs_a_terminal(run: Callable[..., Ended], workspace: Path) -> None:
    ended = run("runbook", "run", "getting-started", "-w", workspace)
    assert ended.code == exits.USAGE
    assert "opsdash runbook show getting-started" in ended.err


def test_history_before_the_first_engine_says_so(run: Callable[..., Ended], workspace: Path) -> None:
    ended = run("history", "greeting", "-w", workspace)
    assert ended.code == exits.FAILED
    assert "no engine has ever run here" in ended.err
    assert run("history", "greeting", "--last", "yesterday", "-w", workspace).code == exits.USAGE


def test_couplings_of_a_history_are_told_with_their_numbers(run: Callable[..., Ended], workspace: Path) -> None:
    ended = run("couplings", "-w", workspace)
    assert ended.code == exits.FAILED
    assert "no engine has ever run here" in ended.err
    assert run("couplings", "--last", "often", "-w", workspace).code == exits.USAGE
    _fail_together(workspace, ("greeting", "this-machine"), times=5)
    found = run("couplings", "--json", "-w", workspace).json
    [pair] = found["couplings"]
    assert (pair["one"], pair["other"], pair["together"]) == ("greeting", "this-machine", 5)
    assert pair["ratio"] > 10
    assert pair["p_value"] < 0.01
    assert pair["explained"] == ""
    told = run("couplings", "-w", workspace).out
    assert "should be isolated, and fail together" in told
    assert "greeting + this-machine  5 of 5 and 5" in told


def _fail_together(workspace: Path, components: tuple[str, ...], times: int) -> None:
    """A history in which components failed within the same minute, once a day."""
    where = places(workspace).history
    where.parent.mkdir(mode=0o700, exist_ok=True)
    history = History(where)
    now = system_clock().wall
    try:
        for days in range(1, times + 1):
            at = now - days * 86400
            samples = [Sample("greeting/first/text", at + 60 * each, Status.OK, 1.0, "") for each in range(600)]
            history.write(samples)
            for offset, component in enumerate(components):
                history.component_change(component, at + 5 * offset, Status.OK, Status.DOWN, "refused")
                history.component_change(component, at + 300, Status.DOWN, Status.OK, "")
        while history.maintain(now).behind:
            pass
    finally:
        history.close()


def test_the_engine_is_reported_absent(run: Callable[..., Ended], workspace: Path) -> None:
    ended = run("engine", "status", "--json", "-w", workspace)
    assert ended.code == exits.NOT_KNOWN
    assert ended.json["status"] == "unknown"
    assert run("engine", "stop", "-w", workspace).code == exits.OK


def test_the_unit_names_the_workspace(run: Callable[..., Ended], workspace: Path) -> None:
    ended = run("engine", "--print-unit", "-w", workspace)
    assert ended.code == exits.OK
    assert f"engine --workspace {workspace}\n" in ended.out
    assert "Restart=always" in ended.out


@pytest.mark.parametrize("which", ["component", "workspace", "drill"])
def test_the_schema_is_json(run: Callable[..., Ended], which: str) -> None:
    assert run("schema", which).json["$schema"].startswith("https://json-schema.org/")


def test_kinds_are_listed_and_explained(run: Callable[..., Ended]) -> None:
    listed = {(each["group"], each["name"]) for each in run("kinds", "--json").json["kinds"]}
    assert {("check", "http"), ("action", "http"), ("check", "tcp"), ("action", "pointer")} <= listed
    assert {("notifier", name) for name in ("apprise", "bell", "file", "webhook")} <= listed
    assert "notifiers\n" in run("kinds").out
    assert "Signs every message" in run("kinds", "webhook").out
    both = run("kinds", "file").out
    assert both.index("check file") < both.index("notifier file")
    explained = run("kinds", "tcp")
    assert "Name or address of the server." in explained.out
    assert "did you mean tcp?" in run("kinds", "tpc").err


def test_doctor_says_that_nobody_watches(run: Callable[..., Ended], workspace: Path) -> None:
    ended = run("doctor", "--json", "-w", workspace)
    assert ended.code == exits.OK
    engine = next(each for each in ended.json["findings"] if each["what"] == "engine")
    assert engine["result"] == "warn"
    (workspace / "checks/bad.yaml").write_text("nonsense: true\n")
    assert run("doctor", "-w", workspace).code == exits.FAILED


# --- the demo's menu ---------------------------------------------------------------------------------------------


def test_faults_are_listed_without_a_demo(run: Callable[..., Ended]) -> None:
    assert "postmark" in run("demo", "inject").out
    assert "refuses connections" in run("demo", "inject", "postmark").out
    assert "there is no service" in run("demo", "inject", "postmrk").err


def test_injecting_into_no_demo_says_how_to_start_one(
    run: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = run("demo", "inject", "postmark", "down")
    assert ended.code == exits.FAILED
    assert "`opsdash demo`" in ended.err


def test_the_demo_without_a_terminal_points_to_the_tour(run: Callable[..., Ended]) -> None:
    ended = run("demo")
    assert ended.code == exits.USAGE
    assert "--tour" in ended.err
