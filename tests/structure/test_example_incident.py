"""docs/example-incident.md, which is made by hand: that it is whole, says how it is made, and nothing of a machine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.core.test_report import SECTIONS

if TYPE_CHECKING:
    from pathlib import Path

MACHINES = re.compile(
    r"(?:^|[\s'\"(=])/(?:tmp|root|home|Users|var/folders|private|work|opt|usr)/|opsdash-demo-|127\.0\.0\.1:\d|pid \d"
)
SECRETS = re.compile(r"whsec_|(?i:password|token|bearer)\W{1,3}\w{6,}|BEGIN [A-Z ]*PRIVATE KEY")


@pytest.fixture(scope="module")
def text(root: Path) -> str:
    return (root / "docs" / "example-incident.md").read_text(encoding="utf-8")


def test_it_says_how_and_from_what_it_was_made(text: str) -> None:
    assert "<!-- Made by `make example-incident`; not to be edited. -->" in text
    made = re.search(r"Made on (20\d\d-\d\d-\d\d \d\d:\d\d) UTC with version \S+, commit\s`(?!\S*-dirty)\S+`\.", text)
    assert made is not None, "made from a commit, without changes of one's own"


def test_the_report_in_it_is_whole(text: str) -> None:
    report = text.partition("\n## The report\n")[2]
    assert re.findall(r"(?m)^## (.*)$", report) == ["INC-1: Our main data source delivers bad data"]
    assert tuple(re.findall(r"(?m)^### (.*)$", report)) == SECTIONS


def test_it_shows_what_was_typed_what_arrived_and_what_was_handed_over(text: str) -> None:
    for part in ("## What was done", "## The alarms as they arrived", "## The handover note"):
        assert f"\n{part}\n" in text
    for typed in ("opsdash runbook run market-data-bad", "opsdash incident handover INC-1 ", "opsdash incident report"):
        assert f"\n$ {typed}" in text
    assert "NOT KNOWN what it did" in text


def test_it_says_nothing_of_the_machine_on_which_it_was_made_and_no_secret(text: str) -> None:
    assert [line for line in text.splitlines() if MACHINES.search(line) or SECRETS.search(line)] == []
    assert set(re.findall(r"\(claimed, (\w+)\)", text)) == {"shop"}
