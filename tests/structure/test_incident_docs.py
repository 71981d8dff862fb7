"""docs/incidents.md says what the code does: severities, definitions, states and numbers."""

from __future__ import annotations

from pathlib import Path

from opsdash.core import changes, incident_work, incidents, nearmisses
from opsdash.core.figures import DEFINITIONS
from opsdash.core.severity import SEVERITIES, WORDS, How
from opsdash.model.incident import IncidentState
from opsdash.model.operation import Tier

PAGE = (Path(__file__).parents[2] / "docs" / "incidents.md").read_text(encoding="utf-8")


def test_every_severity_stands_in_the_table() -> None:
    for tier in Tier:
        row = [f"{SEVERITIES[tier, how]} {WORDS[SEVERITIES[tier, how]]}" for how in How]
        assert f"| {tier.value} | {' | '.join(row)} |" in PAGE


def test_every_figure_has_its_definition() -> None:
    for name, definition in DEFINITIONS.items():
        title = name if name == "exposure" else f"time to {name}"
        assert f"| {title} | {definition} |" in PAGE


def test_every_state_is_explained() -> None:
    for state in IncidentState:
        assert f"| {state.value} |" in PAGE


def test_the_numbers_are_those_of_the_code() -> None:
    assert incidents.FOLD_WITHIN == 5 * 60
    assert "up to five minutes apart" in PAGE
    assert incidents.REOPEN_WITHIN == 3600
    assert "within\nan hour" in PAGE
    assert incidents.CLOSED_BY_ITSELF == 30 * 86400
    assert "thirty days" in PAGE
    assert incident_work.ACK_FOR == 30 * 60
    assert "for half an hour" in PAGE
    assert changes.BEFORE == 6 * 3600
    assert "in the six hours before" in PAGE
    assert nearmisses.APART == 600
    assert "once in ten minutes" in PAGE
