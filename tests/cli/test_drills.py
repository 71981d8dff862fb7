"""`opsdash drill`: from the list to the evidence, with a real engine; and what works without one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from opsdash.cli import exits, main
from opsdash.cli.drill import show_faults
from opsdash.engine.lever import halted_by
from tests.engine.support import write_workspace

if TYPE_CHECKING:
    from pathlib import Path

    from opsdash.model.views import FaultView

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


HOSTILE = [
    ("", exits.USAGE),
    ("{", exits.USAGE),
    ("{}", exits.USAGE),
    ('{"journal": 7, "run": "DRILL-1"}', exits.USAGE),
    ('{"journal": [], "run": "DRILL-1"}', exits.FAILED),
    ('{"journal": [7, {"seq": []}, {"seq": {}, "hash": 1}, {"seq": true}], "run": "DRILL-1"}', exits.FAILED),
    ('{"journal": [{"seq": 1, "data": NaN}], "run": "\\u001b]52;c;aGk=\\u0007"}', exits.FAILED),
    ('{"journal": [' + '{"data":' * 900 + "1" + "}" * 900 + '], "run": "DRILL-1"}', exits.FAILED),
    ("[" * 100_000, exits.USAGE),
    ("# Drill of shop: `DRILL-1`\n", exits.USAGE),
]


@pytest.mark.parametrize(("text", "code"), HOSTILE)
def test_a_file_that_is_no_evidence_is_said_to_be_none_and_harms_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, code: int
) -> None:
    file = folder.parent / "evidence.json"
    file.write_text(text)
    assert drill(folder, "verify", str(file)) == code
    said = capsys.readouterr()
    assert said.err
    assert "\x1b" not in said.out + said.err
    assert drill(folder, "verify", str(folder / "nowhere.json")) == exits.USAGE


def test_a_fault_whose_guard_is_at_work_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    left: FaultView = {
        "run": "DRILL-1", "drill": "talk", "component": "shop", "since": 0.0, "detail": "it was found",
        "by_hand": ["mend it"], "guarded": True,
    }  # fmt: skip
    show_faults([left])
    told = capsys.readouterr().out
    assert "it was found; its guard is at work on it" in told
    assert "undo by hand:  mend it" in told


def test_the_calendar_is_a_file_for_other_programs(folder: Path, tmp_path: Path) -> None:
    written = tmp_path / "drills.ics"
    assert drill(folder, "calendar", "-o", str(written)) == exits.OK
    assert written.read_bytes().startswith(b"BEGIN:VCALENDAR\r\n")
    assert drill(folder, "calendar", "-o", str(tmp_path / "nowhere" / "drills.ics")) == exits.FAILED
