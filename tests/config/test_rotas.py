"""Rotas of a workspace: their files are read again when they change, and go on in their last good version."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from opsdash.config.rotas import MADE_ANEW

from .conftest import WALL

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Workspace

DAY = 86400.0
SETTINGS = "people: {maria: {name: Maria}, ken: {name: Ken}}\nrota: {front: {file: front.ics}}\n"
COMPONENT = "owners: [front]\nchecks: {api: {kind: tcp, host: 127.0.0.1, port: 9}}\n"


def calendar(who: str, start: str = "20261101", rule: str = "FREQ=WEEKLY") -> str:
    event = f"SUMMARY:{who}\nDTSTART;VALUE=DATE:{start}\nDURATION:P7D\nRRULE:{rule}\n"
    return f"BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\n{event}END:VEVENT\nEND:VCALENDAR\n"


@pytest.fixture
def rota(workspace: Workspace) -> Workspace:
    workspace.write("opsdash.yaml", SETTINGS)
    workspace.component(COMPONENT)
    workspace.write("front.ics", calendar("maria"))
    return workspace


def on_duty(workspace: Workspace) -> set[str]:
    assert workspace.loaded is not None
    found = workspace.loaded.operation.rotas["front"]
    return {shift.person for shift in found.shifts if shift.start <= WALL < shift.end}


def test_a_team_among_the_owners_is_whoever_is_on_duty(rota: Workspace) -> None:
    assert rota.problems() == []
    assert rota.loaded is not None
    component = rota.loaded.operation.components["email"]
    assert (component.owners, component.rotas) == ((), ("front",))
    assert on_duty(rota) == {"maria"}


def test_a_file_that_changes_is_read_again(rota: Workspace) -> None:
    before = rota.load()
    assert not before.changed()
    rota.write("front.ics", calendar("ken"))
    assert before.changed()
    after = rota.reload()
    assert after.digest != before.digest
    assert on_duty(rota) == {"ken"}
    assert not after.changed()


def test_a_file_that_is_broken_goes_on_in_its_last_good_version(rota: Workspace) -> None:
    rota.load()
    rota.write("front.ics", calendar("ken")[:-40])
    loaded = rota.reload()
    [problem] = loaded.problems
    assert str(problem).startswith("front.ics:2: the file ends within the VEVENT that begins here: it was cut short")
    assert "the last good version stays in use" in problem.hint
    assert on_duty(rota) == {"maria"}
    (rota.folder / "front.ics").unlink()
    assert loaded.changed()
    [problem] = rota.reload().problems
    assert "the file cannot be read: No such file or directory" in problem.message
    assert on_duty(rota) == {"maria"}


def test_a_file_that_was_never_good_leaves_it_open_who_is_on_duty(rota: Workspace) -> None:
    (rota.folder / "front.ics").unlink()
    [problem] = rota.load().problems
    assert problem.file == "front.ics"
    assert rota.loaded is not None
    assert rota.loaded.operation.rotas["front"].until == 0.0, "nothing is known, so there is no gap either"
    assert not rota.loaded.changed()


def test_a_file_that_others_may_write_is_refused(rota: Workspace) -> None:
    (rota.folder / "front.ics").chmod(0o666)
    [problem] = rota.problems()
    assert problem.startswith("front.ics: everybody may write to this file")


def test_a_pipe_in_the_place_of_a_file_holds_nobody_up(rota: Workspace) -> None:
    (rota.folder / "front.ics").unlink()
    os.mkfifo(rota.folder / "front.ics", 0o600)
    [problem] = rota.problems()
    assert "this is no file" in problem


@pytest.mark.parametrize("name", ["/etc/passwd", "../front.ics", "a/../../front.ics"])
def test_a_file_outside_of_the_workspace_is_none(rota: Workspace, name: str) -> None:
    rota.write("opsdash.yaml", SETTINGS.replace("front.ics", name))
    [problem] = rota.problems()
    assert "is not in the workspace" in problem
    assert problem.startswith("opsdash.yaml:2")


def test_a_team_cannot_be_called_like_a_person(rota: Workspace) -> None:
    rota.write("opsdash.yaml", SETTINGS.replace("front:", "ken:"))
    rota.component(COMPONENT.replace("front", "ken"))
    [problem] = rota.problems()
    assert "there is a person 'ken', too" in problem


def test_an_owner_who_is_neither_is_told_with_the_nearest_name(rota: Workspace) -> None:
    rota.component(COMPONENT.replace("front", "frnt"))
    [problem] = rota.problems()
    assert "there is no person 'frnt'" in problem
    assert 'did you mean "front"?' in problem


def test_a_flaw_in_one_event_is_told_with_file_and_line(rota: Workspace) -> None:
    rota.write("front.ics", calendar("mario", start="20261101"))
    [problem] = rota.problems()
    assert problem.startswith("front.ics:2: nobody of opsdash.yaml is meant by 'mario'")


def test_shifts_are_made_anew_in_time(rota: Workspace) -> None:
    loaded = rota.load()
    assert loaded.made_until == WALL + MADE_ANEW
    assert loaded.operation.rotas["front"].until > WALL + 365 * DAY
    rota.write("opsdash.yaml", SETTINGS.splitlines()[0])
    rota.component(COMPONENT.replace("front", "ken"))
    assert rota.reload().made_until == math.inf


def test_settings_say_how_long_before_people_are_told(rota: Workspace) -> None:
    rota.write("opsdash.yaml", SETTINGS.replace("front.ics", "front.ics, gaps: ignore") + "cover: {warn_before: 7d}\n")
    operation = rota.load().operation
    assert operation.cover.warn_before == 7 * DAY
    assert operation.cover.rota_ahead == 14 * DAY
    assert not operation.rotas["front"].warn


def test_a_component_of_a_team_has_somebody_who_can_be_away(rota: Workspace) -> None:
    away = "failures: {alone: {detected_by: {away: owners}}}\n"
    rota.component(COMPONENT + away)
    assert [each for each in rota.problems() if "nobody owns" in each] == []


def test_runbooks_know_their_families(rota: Workspace) -> None:
    before = rota.load().operation.families["email-down"]
    path: Path = rota.folder / "runbooks/email-down.md"
    rota.write("runbooks/email-down.md", path.read_text().replace("Look at it.", "Look at it closely."))
    assert rota.reload().operation.families["email-down"] == before
    rota.write("runbooks/email-down.md", path.read_text().replace("### Look", "### Listen"))
    assert rota.reload().operation.families["email-down"] != before
    assert replace(rota.load().operation, families={}).families == {}
