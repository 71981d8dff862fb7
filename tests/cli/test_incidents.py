"""`opsdash incident` and `opsdash mark`, with a real engine, from the failure to the report."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from opsdash.board.editor import draft_file, editor_command, in_a_pane, written
from opsdash.cli import exits
from opsdash.cli.base import UsageError
from opsdash.cli.times import parse_moment
from tests.cli.conftest import Terminal, eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Ended, Running

NOON = 1767268800.0  # 2026-01-01 12:00 UTC


@pytest.fixture
def opsdash(run: Callable[..., Ended], running: Running) -> Callable[..., Ended]:
    """A command about a workspace whose engine runs, after its primary has failed: INC-1 is open."""

    def ask(*words: str) -> Ended:
        return run(*words, "-w", running.workspace)

    eventually(lambda: ask("status").code == exits.OK, lambda: ask("status").out)
    running.break_primary()

    def opened() -> bool:
        ask("check", "greeting/first/text")
        return bool(ask("incident", "list", "--json").json["incidents"])

    eventually(opened)
    return ask


def test_an_incident_is_followed_from_its_opening_to_its_report(
    opsdash: Callable[..., Ended], running: Running, tmp_path: Path
) -> None:
    def show() -> dict[str, object]:
        found: dict[str, object] = opsdash("incident", "show", "INC-1", "--json").json
        return found

    assert opsdash("mark", "new shelves", "--component", "greeting", "--version", "2").code == exits.OK
    assert opsdash("incident", "ack", "INC-1", "--for", "2h", "--as", "maria").code == exits.OK
    assert opsdash("incident", "note", "INC-1", "the disk, again", "--at", "1m ago", "--pin").code == exits.OK
    entries = opsdash("incident", "show", "INC-1", "--json").json["entries"]
    line = next(number for number, entry in enumerate(entries) if entry["text"] == "the disk, again")
    assert entries[line]["pinned"]
    assert entries[line]["at"] < entries[line]["recorded"] - 50
    assert opsdash("incident", "edit", "INC-1", str(line), "--text", "the disk, at last").code == exits.OK
    assert opsdash("incident", "severity", "INC-1", "1", "--reason", "the shop is full").code == exits.OK
    assert opsdash("incident", "role", "INC-1", "scribe", "lena").code == exits.OK
    handed = opsdash("incident", "handover", "INC-1", "call the vendor", "--to", "ken", "--as", "maria")
    assert "call the vendor" in handed.out
    assert opsdash("incident", "accept", "INC-1", "--as", "lena").code == exits.REFUSED
    assert opsdash("incident", "accept", "INC-1", "--as", "ken").code == exits.OK
    assert opsdash("incident", "cancel", "INC-1", "it was none").code == exits.REFUSED

    running.heal_primary()

    def over() -> bool:
        opsdash("check", "greeting/first/text")
        return show()["state"] == "resolved"

    eventually(over)
    assert opsdash("incident", "resolve", "INC-1", "put back").code == exits.OK
    assert (show()["state"], show()["closed_by"] is not None) == ("closed", True)
    assert opsdash("incident", "reopen", "INC-1", "they complain again").code == exits.OK
    assert opsdash("incident", "time", "INC-1", "mitigated").code == exits.OK
    assert opsdash("incident", "resolve", "INC-1", "they were wrong").code == exits.OK

    report = tmp_path / "INC-1.md"
    assert opsdash("incident", "report", "INC-1", "-o", str(report)).code == exits.OK
    text = report.read_text()
    assert "changed: greeting: new shelves (2)" in text
    assert "the disk, at last (written" in text
    assert "reopened 1 ×" in text
    again = opsdash("incident", "report", "INC-1", "-o", str(report))
    assert again.code == exits.USAGE
    assert "may have been filled in" in again.err
    assert opsdash("incident", "report", "INC-1", "--json").json["figures"]["mitigate"] > 0
    period = opsdash("incident", "report", "--since", "1d", "--json").json
    acknowledged = period["times"]["acknowledge"]
    assert (period["incidents"], acknowledged["n"]) == (1, 1)
    assert acknowledged["median"] == acknowledged["p90"] > 0, "of one"
    told = opsdash("incident", "report").out
    assert all(word in told for word in ("median", "90 %", acknowledged["definition"][:40])), told


def test_what_cannot_be_is_said_with_what_can(opsdash: Callable[..., Ended]) -> None:
    for words, said in (
        (("note", "INC-1", "x", "--at", "soon"), "write 10:05, '12m ago'"),
        (("edit", "INC-1", "0"), "--text, --at, --pin or --unpin"),
        (("ack", "INC-1", "--for", "long"), "write a number with a unit"),
        (("report", "INC-9"), "`opsdash incident list --closed`"),
        (("report", "--since", "ever"), "write a number with a unit"),
        (("note", "INC-1"), "set $EDITOR"),
    ):
        ended = opsdash("incident", *words)
        assert (ended.code, said in ended.err) == (exits.USAGE, True), ended.err
    refused = opsdash("mark", "new shelves", "--component", "greting")
    assert refused.code == exits.REFUSED


@pytest.mark.usefixtures("opsdash")
def test_a_note_is_written_in_ones_own_editor(running: Running, tmp_path: Path) -> None:
    editor = tmp_path / "my editor"
    editor.write_text("#!/bin/sh\nprintf 'one line\\nanother\\n' >> \"$1\"\n")
    editor.chmod(0o700)
    with Terminal("incident", "note", "INC-1", "-w", running.workspace, more={"EDITOR": f"'{editor}'"}) as terminal:
        terminal.sees("another")
        assert terminal.code() == exits.OK


@pytest.mark.usefixtures("opsdash")
def test_an_editor_in_which_nothing_was_written_makes_no_note(running: Running) -> None:
    with Terminal("incident", "note", "INC-1", "-w", running.workspace, more={"EDITOR": "true"}) as terminal:
        terminal.sees("nothing was written")
        assert terminal.code() == exits.USAGE


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("now", NOON),
        ("12m ago", NOON - 720),
        ("1h 5m ago", NOON - 3900),
        ("10:05", NOON - 6900),
        ("12:30", NOON + 1800 - 86400),
        ("2025-12-31 10:00", NOON - 93600),
        ("2025-12-31T10:00+02:00", NOON - 93600 - 7200),
    ],
)
def test_times_are_read_as_people_say_them(text: str, at: float) -> None:
    assert parse_moment(text, NOON, "UTC") == at


def test_a_time_without_a_zone_is_one_of_the_operations_zone() -> None:
    assert parse_moment("2025-07-01 12:00", NOON, "Europe/Berlin") == parse_moment("2025-07-01T10:00Z", NOON, "UTC")


@pytest.mark.parametrize("text", ["", "soon", "25:00", "ago", "12 ago"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no time"):
        parse_moment(text, NOON, "UTC")


# --- the editor ----------------------------------------------------------------------------------------------------


def test_a_draft_is_nobodys_else_and_is_gone_afterwards() -> None:
    with draft_file("About INC-1.\nBe kind.", "begun") as path:
        assert path.stat().st_mode & 0o077 == 0
        assert path.read_text() == "begun\n\n# About INC-1.\n# Be kind.\n"
        assert written(path) == "begun"
    assert not path.exists()


def test_bytes_that_are_no_text_do_not_stop_it(tmp_path: Path) -> None:
    path = tmp_path / "note.md"
    path.write_bytes(b"caf\xe9\n# remark\n" + b"x" * 200_000)
    assert written(path).startswith("caf�\nx")


def test_the_editor_is_the_one_that_the_account_names() -> None:
    assert editor_command({"EDITOR": "vi -n", "VISUAL": "code --wait"}) == ["code", "--wait"]
    assert editor_command({"EDITOR": "'"}) == []


def test_outside_of_tmux_there_is_no_pane() -> None:
    assert in_a_pane(["vi"], {}) == []
    assert in_a_pane(["vi"], {"TMUX": "/tmp/x"}) == []
    inside = in_a_pane(["vi", "a file"], {**os.environ, "TMUX": "/tmp/x,1,0", "TMUX_PANE": "%3"})
    assert inside[:2] == ["sh", "-c"]
    assert "-t %3" in inside[2]
