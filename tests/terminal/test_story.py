"""The main job as a person does it, in a real terminal: see it fail, switch, verify, follow the runbook, go back."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

import pytest

from opsdash.cli import main
from opsdash.service.places import places, read_engine_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.terminal.conftest import Terminal

pytestmark = [pytest.mark.terminal, pytest.mark.timeout(180)]


def test_a_newcomer_breaks_email_fails_over_reads_the_runbook_and_fails_back(
    terminal: Callable[..., Terminal], opsdash: list[str]
) -> None:
    board = terminal()
    board.run(*opsdash, "demo")
    board.wait_for("Essential: 5 of 5 work", "9 ok")

    board.press_until("x", "Break something", "postmark")
    board.press_until("Enter", "▸ ok", "refuses connections")
    board.press_until("Down", "▸ down")
    board.press("Enter")
    board.wait_for(r"▸▌. (DEGRADED|DOWN) +Transactional em", "f fail over · Our mail", gone="Break something")

    board.press("f")
    board.wait_for("Failover  Transactional em", "FROM Postmark   TO Amazon SES", "Amazon SES works")
    board.press("Enter")
    board.wait_for("Nothing has been done yet")
    board.press_until("y", "DONE AND VERIFIED", "the front door is served by it +3 of 3 +answered by 'ses-eu'")
    board.press("Escape")
    board.wait_for("ON BACKUP +Transactional em", gone="DONE AND VERIFIED")

    board.press("r")
    board.wait_for("0 of 6 steps", "See which provider is meant")
    board.press_until("y", "1 of 6 steps")
    board.press("Escape")
    board.wait_for("ON BACKUP +Transactional em", gone="of 6 steps")

    board.press_until("x", "Break something")
    board.press_until("Enter", "▸ ok", "refuses connections")
    board.press("Enter")
    board.wait_for(r"ON BACKUP +Transactional email +ess +~ses \+ok")
    board.press("F")
    board.wait_for("FROM Amazon SES   TO Postmark", "Postmark works")
    board.press_until("y", "DONE AND VERIFIED", "answered by 'pm-prod'")
    board.press("Escape")
    board.wait_for(r"ok +Transactional email +ess +postmark \+ok", gone="DONE AND VERIFIED")


def test_escape_and_enter_switch_nothing(terminal: Callable[..., Terminal], opsdash: list[str]) -> None:
    board = terminal()
    board.run(*opsdash, "demo")
    board.wait_for("9 ok")
    board.press("/")
    board.press("e", "m", "a", "i", "l", "Enter")
    board.wait_for("showing 1 of 9", "▸.*Transactional em")
    board.press("f")
    board.wait_for("Nothing has been done yet")
    board.press("Enter", "Escape")
    board.wait_for(r"postmark \+ok", gone="Nothing has been done yet")


def test_sixty_by_fifteen_is_usable(terminal: Callable[..., Terminal], opsdash: list[str]) -> None:
    board = terminal(60, 15)
    board.run(*opsdash, "demo")
    screen = board.wait_for("Essential: 5 of 5 work", "Transactional em")
    assert all(len(row) <= 60 for row in screen.splitlines())
    board.press("?")
    board.wait_for("failover")
    board.press("Escape")
    board.resize(20, 5)
    board.resize(120, 36)
    board.wait_for("Essential: 5 of 5 work", "Transactional em")
    assert not board.has_ended()


def test_a_terminal_that_cannot_draw_gets_plain_text(
    terminal: Callable[..., Terminal], opsdash: list[str], tmp_path: Path
) -> None:
    assert main(["init", str(tmp_path / "ops")]) == 0
    dumb = terminal()
    dumb.run(*opsdash, "-w", str(tmp_path / "ops"), environment={"TERM": "dumb"})
    dumb.wait_for("no engine is running")


def test_leaving_asks_once_what_becomes_of_the_engine_and_remembers_it(
    terminal: Callable[..., Terminal], opsdash: list[str], tmp_path: Path
) -> None:
    workspace = tmp_path / "ops"
    assert main(["init", str(workspace)]) == 0
    board = terminal()
    board.run(*opsdash, "-w", str(workspace))
    board.wait_for("engine ok", "2 ok")
    board.press_until("q", "keep watching", "stop")
    board.press_until("Down", "▸ stop")
    engine = read_engine_file(places(workspace))
    assert engine is not None
    process = os.pidfd_open(engine.pid)
    board.press("y")
    board.wait_until_ended()
    assert (workspace / ".opsdash/on-leaving").read_text() == "stop\n"
    ended, _, _ = select.select([process], [], [], 20)
    os.close(process)
    assert ended


def test_a_demo_whose_terminal_vanishes_ends_and_leaves_nothing_behind(
    terminal: Callable[..., Terminal], opsdash: list[str], tmp_path: Path
) -> None:
    board = terminal()
    board.run(*opsdash, "demo", environment={"TMPDIR": str(tmp_path)})
    board.wait_for("9 ok")
    process = os.pidfd_open(board.pid())

    board.close()

    ended, _, _ = select.select([process], [], [], 20)
    os.close(process)
    assert ended
    assert not list(tmp_path.glob("opsdash-demo-*"))


@pytest.mark.parametrize("in_tmux", [True, False])
def test_a_note_is_written_in_ones_own_editor_while_the_board_goes_on(
    terminal: Callable[..., Terminal], opsdash: list[str], tmp_path: Path, *, in_tmux: bool
) -> None:
    """In tmux in a pane of its own; elsewhere in front of the board, which draws nothing over it."""
    workspace = tmp_path / "ops"
    assert main(["init", str(workspace)]) == 0
    assert main(["incident", "open", "greeting", "it is dark", "-w", str(workspace)]) == 0
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    editor = tmp_path / "editor"
    editor.write_text(f'#!/bin/sh\nclear\necho WRITING NOW\ncat {gate} >> "$1"\n')
    editor.chmod(0o700)
    board = terminal()
    outside = [] if in_tmux else ["env", "-u", "TMUX", "-u", "TMUX_PANE"]
    board.run(*outside, *opsdash, "-w", str(workspace), environment={"EDITOR": str(editor)})
    board.wait_for("engine ok", "1 incident")
    board.press_until("2", "timeline of INC-1", "nobody leads it")
    board.press("e")
    board.wait_for("WRITING NOW")
    assert main(["incident", "ack", "INC-1", "-w", str(workspace)]) == 0
    if not in_tmux:
        assert "acknowledged" not in board.screen(), "nothing is drawn over the editor"
    gate.write_text("the lights are out\n")
    if in_tmux:
        board.close_other_panes()
    board.wait_for("the lights are out", "acknowledged")
    assert main(["engine", "stop", "-w", str(workspace)]) == 0
