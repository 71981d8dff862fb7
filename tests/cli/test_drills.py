"""`opsdash drill`: from the list to the evidence, with a real engine; and what works without one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from opsdash.cli import exits, main
from opsdash.engine.guards import halted_by
from tests.engine.support import write_workspace

if TYPE_CHECKING:
    from pathlib import Path

SHOP = """
tier: essential
checks: {front: {kind: file, path: front.txt}}
failures: {broken: {title: No front, detected_by: [front], response: runbook, runbook: shop-down}}
"""
TABLETOP = """
title: Talk about it
component: shop
failure_mode: broken
level: tabletop
owner: maria
schedule: {every: 90d}
"""
RUNBOOK = "---\ntitle: The shop is down\ncomponent: shop\n---\n\n# Shop\n\n## Steps\n\n### Look\n\nLook.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = write_workspace(tmp_path / "w", settings="people: {maria: {}}\n", shop=SHOP)
    (folder / "front.txt").write_text("here\n")
    (folder / "runbooks").mkdir()
    (folder / "runbooks" / "shop-down.md").write_text(RUNBOOK)
    (folder / "drills").mkdir()
    (folder / "drills" / "talk.yaml").write_text(TABLETOP)
    return folder


def drill(folder: Path, *words: str) -> int:
    return main(["drill", words[0], "-w", str(folder), *words[1:]])


def test_drills_are_listed_without_an_engine(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert drill(folder, "list", "--json") == exits.OK
    (found,) = json.loads(capsys.readouterr().out)["drills"]
    assert (found["id"], found["level"], found["standing"], found["verdict"]) == ("talk", "tabletop", "never", None)
    assert drill(folder, "list") == exits.OK
    said = capsys.readouterr().out
    assert "never run" in said
    assert "owner: maria" in said, "nobody owns the component, so it is not known whose turn it is"


def test_a_drill_that_does_not_exist_is_named_with_the_nearest(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert drill(folder, "show", "tall") == exits.USAGE
    assert "did you mean talk?" in capsys.readouterr().err


def test_halting_needs_a_reason_and_no_engine(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert drill(folder, "halt") == exits.USAGE
    assert halted_by(folder / ".opsdash") is None
    assert drill(folder, "halt", "customers call", "--as", "maria") == exits.OK
    found = halted_by(folder / ".opsdash")
    assert found is not None
    assert found[0].startswith("maria (claimed, ")
    assert found[1] == "customers call"
    assert "the guards were told directly" in capsys.readouterr().err


def test_history_and_evidence_say_that_nothing_has_ended(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert drill(folder, "history") == exits.OK
    assert "no drill has ended" in capsys.readouterr().err
    assert drill(folder, "evidence", "DRILL-1") == exits.USAGE
    assert "no run 'DRILL-1' has ended" in capsys.readouterr().err


def test_the_calendar_is_a_file_for_other_programs(folder: Path, tmp_path: Path) -> None:
    written = tmp_path / "drills.ics"
    assert drill(folder, "calendar", "-o", str(written)) == exits.OK
    assert written.read_bytes().startswith(b"BEGIN:VCALENDAR\r\n")
    assert drill(folder, "calendar", "-o", str(tmp_path / "nowhere" / "drills.ics")) == exits.FAILED
