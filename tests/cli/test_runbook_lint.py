"""`opsdash runbook lint` as CI and code hosts read it, and what a broken runbook costs whom."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.cli import exits
from opsdash.config.runbook_rules import RULES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Ended

BROKEN = """\
---
title: The greeting fails
component: greeting
owner: you
reviewed: 2026-01-01
---
# The greeting fails

## Steps

### Look
```sh {check}
cat /etc/hostname
```

### Mend
Call ken [here](nowhere.md), then:

```sh {rnu}
true
```
"""


@pytest.fixture
def broken(workspace: Path) -> Path:
    """A workspace in which the answer to two failures has an error, and a dead link."""
    (workspace / "runbooks/greeting.md").write_text(BROKEN)
    component = workspace / "checks/greeting.yaml"
    text = component.read_text()
    assert "runbook: getting-started" in text
    component.write_text(text.replace("runbook: getting-started", "runbook: greeting"))
    return workspace


# --- what a broken runbook costs ---------------------------------------------------------------------------------


def test_a_broken_runbook_is_told_at_load_with_the_failures_that_it_answers(
    run: Callable[..., Ended], broken: Path
) -> None:
    ended = run("validate", "-w", broken)
    assert ended.code == exits.ERRORS
    assert "runbooks/greeting.md:19" in ended.out
    (line,) = [line for line in ended.out.splitlines() if "switched off by it" in line]
    assert "greeting/both-gone" in line
    assert "its text stays readable" in line


def test_the_text_of_a_broken_runbook_stays_readable_and_its_execution_is_off(
    run: Callable[..., Ended], broken: Path
) -> None:
    shown = run("runbook", "show", "greeting", "-w", broken)
    assert shown.code == exits.OK
    assert "Call ken" in shown.out
    assert "to read only" in shown.out
    assert run("runbook", "show", "greeting", "--json", "-w", broken).json["executable"] is False


def test_a_runbook_that_is_missing_is_told_where_it_was_named(run: Callable[..., Ended], broken: Path) -> None:
    (broken / "runbooks/greeting.md").unlink()
    ended = run("validate", "-w", broken)
    assert ended.code == exits.ERRORS
    assert "checks/greeting.yaml:" in ended.out
    assert "there is no runbooks/greeting.md" in ended.out
    register = run("register", "greeting", "--json", "-w", broken).json["register"]
    assert all("no runbook" in entry["gaps"] for entry in register)


def test_a_runbook_that_everybody_may_write_is_told_by_lint_and_never_read(
    run: Callable[..., Ended], broken: Path
) -> None:
    (broken / "runbooks/greeting.md").chmod(0o666)
    ended = run("runbook", "lint", "--json", "-w", broken)
    assert ended.code == exits.ERRORS
    assert [(each["code"], each["file"]) for each in ended.json["findings"]] == [("refused", "runbooks/greeting.md")]
    assert run("runbook", "lint", "--format", "sarif", "-w", broken).json["runs"][0]["results"]


# --- formats -----------------------------------------------------------------------------------------------------


def test_text_is_what_a_compiler_would_say(run: Callable[..., Ended], broken: Path) -> None:
    ended = run("runbook", "lint", "greeting", "--format", "text", "-w", broken)
    assert ended.code == exits.ERRORS
    assert [line.split(": ")[0] for line in ended.out.splitlines()] == [
        "runbooks/greeting.md:17",
        "runbooks/greeting.md:19",
    ]
    assert "1 runbook(s), 2 finding(s)" in ended.err


def test_json_is_the_same_by_either_option(run: Callable[..., Ended], broken: Path) -> None:
    ended = run("runbook", "lint", "--format", "json", "-w", broken)
    assert ended.json == run("runbook", "lint", "--json", "-w", broken).json
    assert ended.json["status"] == "errors"
    found = [(each["code"], each["line"], each["column"]) for each in ended.json["findings"]]
    assert found == [("dead-link", 17, 17), ("not-one-role", 19, None)]


def test_sarif_names_rule_level_file_and_region(run: Callable[..., Ended], broken: Path) -> None:
    ended = run("runbook", "lint", "--format", "sarif", "-w", broken)
    assert ended.code == exits.ERRORS
    check_structure(ended.json)
    link, role = ended.json["runs"][0]["results"]
    assert (link["ruleId"], link["level"]) == ("dead-link", "warning")
    place = link["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "runbooks/greeting.md"
    assert place["region"] == {"startLine": 17, "startColumn": 17, "endColumn": 27}
    assert (role["ruleId"], role["level"]) == ("not-one-role", "error")
    assert role["locations"][0]["physicalLocation"]["region"] == {"startLine": 19}


def test_sarif_without_a_finding_is_a_log_all_the_same(run: Callable[..., Ended], workspace: Path) -> None:
    ended = run("runbook", "lint", "--format", "sarif", "-w", workspace)
    assert ended.code == exits.OK
    check_structure(ended.json)
    assert ended.json["runs"][0]["results"] == []


def test_sarif_names_files_from_where_it_was_asked_for(
    run: Callable[..., Ended], broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(broken.parent)
    results = run("runbook", "lint", "--format", "sarif", "-w", broken).json["runs"][0]["results"]
    uris = {each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for each in results}
    assert uris == {f"{broken.name}/runbooks/greeting.md"}


def test_sarif_is_the_same_twice_and_a_line_more_moves_only_what_is_below(
    run: Callable[..., Ended], broken: Path
) -> None:
    first = run("runbook", "lint", "--format", "sarif", "-w", broken)
    assert first.out == run("runbook", "lint", "--format", "sarif", "-w", broken).out
    (broken / "runbooks/greeting.md").write_text(BROKEN.replace("# The greeting fails\n", "# The greeting fails\n\n"))
    second = run("runbook", "lint", "--format", "sarif", "-w", broken)
    before, after = (each.json["runs"][0]["results"] for each in (first, second))
    assert [each["partialFingerprints"] for each in before] == [each["partialFingerprints"] for each in after]
    changed = [one for one, other in zip(first.out.splitlines(), second.out.splitlines(), strict=True) if one != other]
    assert len(changed) == 2
    assert all("startLine" in line for line in changed)


def test_two_findings_on_lines_that_read_the_same_are_told_apart(run: Callable[..., Ended], broken: Path) -> None:
    (broken / "runbooks/greeting.md").write_text(BROKEN + "\n```sh {rnu}\ntrue\n```\n")
    results = run("runbook", "lint", "--format", "sarif", "-w", broken).json["runs"][0]["results"]
    prints = [each["partialFingerprints"]["opsdashFinding/v1"] for each in results]
    assert len(prints) == len(set(prints)) == 3


def test_a_hostile_runbook_writes_nothing_that_a_terminal_obeys(run: Callable[..., Ended], broken: Path) -> None:
    evil = "\x1b]52;c;cHduZWQ=\x07\u202e\x9b31m"
    (broken / "runbooks/greeting.md").write_text(BROKEN.replace("Call ken", f"Call {evil} [{evil}]({evil}.md)"))
    for form in ("text", "json", "sarif"):
        ended = run("runbook", "lint", "--format", form, "-w", broken)
        assert ended.code == exits.ERRORS
        assert [char for char in ended.out if char != "\n" and not char.isprintable()] == []


def test_advice_is_a_note_in_sarif_and_a_warning_elsewhere(run: Callable[..., Ended], workspace: Path) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=2)).date()
    text = BROKEN.replace("2026-01-01", str(tomorrow)).replace("rnu", "show").replace("nowhere", "getting-started")
    (workspace / "runbooks/greeting.md").write_text(text)
    ended = run("runbook", "lint", "greeting", "--format", "sarif", "-w", workspace)
    assert ended.code == exits.WARNINGS
    assert [(each["ruleId"], each["level"]) for each in ended.json["runs"][0]["results"]] == [
        ("reviewed-in-future", "note")
    ]
    assert run("runbook", "lint", "greeting", "--json", "-w", workspace).json["findings"][0]["severity"] == "warning"


# --- the structure of SARIF 2.1.0 --------------------------------------------------------------------------------

LEVELS = {"none", "note", "warning", "error"}


def check_structure(log: Any) -> None:
    """What the schema of SARIF 2.1.0 says of the objects that are used here: keys, types, and what must be unique.

    No package on PyPI carries the official schema, so its definitions of these objects stand here as code.
    """
    assert log.keys() == {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("/sarif-schema-2.1.0.json")
    (run,) = log["runs"]
    assert run.keys() == {"tool", "columnKind", "originalUriBaseIds", "results"}
    assert run["columnKind"] in {"utf16CodeUnits", "unicodeCodePoints"}
    driver = run["tool"]["driver"]
    assert driver.keys() == {"name", "version", "rules"}
    assert [rule["id"] for rule in driver["rules"]] == list(RULES)
    for rule in driver["rules"]:
        assert rule.keys() == {"id", "shortDescription", "fullDescription", "help", "defaultConfiguration"}
        assert rule["defaultConfiguration"].keys() == {"level"}
        assert rule["defaultConfiguration"]["level"] in LEVELS
        for key in ("shortDescription", "fullDescription", "help"):
            assert rule[key].keys() == {"text"}
            assert isinstance(rule[key]["text"], str)
            assert rule[key]["text"]
    for result in run["results"]:
        assert result.keys() == {"ruleId", "ruleIndex", "level", "message", "locations", "partialFingerprints"}
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in LEVELS
        assert result["message"].keys() == {"text"}
        assert all(isinstance(each, str) for each in result["partialFingerprints"].values())
        (location,) = result["locations"]
        physical = location["physicalLocation"]
        assert physical["artifactLocation"].keys() == {"uri", "uriBaseId"}
        assert physical["artifactLocation"]["uriBaseId"] in run["originalUriBaseIds"]
        assert not physical["artifactLocation"]["uri"].startswith("/")
        region = physical.get("region", {"startLine": 1})
        assert region.keys() <= {"startLine", "startColumn", "endColumn"}
        assert all(isinstance(number, int) and number >= 1 for number in region.values())
        assert region.get("endColumn", 2) > region.get("startColumn", 1)
    json.dumps(log)
