"""A drill as a person sees it, in a real terminal: a real fault by a real guard, seen, finished, and halted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.terminal.conftest import Terminal

pytestmark = [pytest.mark.terminal, pytest.mark.timeout(180)]

OPERATION = """
title: A shelf
people: {ana: {name: Ana}}
"""

COMPONENT = """
title: Shelf
tier: essential
owners: [ana]
defaults: {every: 1s, down_after: 2, up_after: 1}
checks:
  there: {kind: file, path: served.txt}
failures:
  gone: {title: Nothing is served, detected_by: [there], response: runbook, runbook: shelf-empty, rto: 2m}
"""

OTHER = """
title: Till
checks:
  paper: {kind: file, path: served.txt.copy, exists: false}
"""

DRILL = """
title: The shelf is emptied
failure_mode: shelf/gone
level: contained
owner: ana
expect: {detect: 60s, acknowledge: 60s, unaffected: [till]}
inject: {command: {argv: [mv, served.txt, taken.txt]}}
undo: {command: {argv: [mv, taken.txt, served.txt]}}
verify_undone: [there]
limit: 2m
"""


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A workspace with one file that is served, and a drill that takes it away."""
    workspace = tmp_path / "shelf"
    for name, text in {
        "opsdash.yaml": OPERATION,
        "checks/shelf.yaml": COMPONENT,
        "checks/till.yaml": OTHER,
        "runbooks/shelf-empty.md": "# The shelf is empty\n\n## Fill it\n\nFrom the store room.\n",
        "drills/shelf-empty.yaml": DRILL,
        "served.txt": "bread\n",
    }.items():
        path = workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return workspace


def test_a_drill_is_begun_answered_and_passed_and_the_next_one_is_halted_by_one_key(
    terminal: Callable[..., Terminal], opsdash: list[str], shelf: Path
) -> None:
    board = terminal(130, 45)
    board.run(*opsdash, "-w", str(shelf), "--ephemeral")
    board.wait_for("✓ ok +Shelf", "✓ ok +Till")

    board.press_until("7", "shelf-empty", "never run")
    board.press_until("D", "WHAT UNDOES IT", "Nothing has been done yet")
    board.press_until("y", r"UNDONE BY ITS GUARD IN \d", r"✓ +yes +detected +\d")
    assert (shelf / "taken.txt").exists()
    board.press("Escape")
    board.wait_for("wall › drills", gone="X stop")
    board.press_until("1", r"\[DRILL\] shelf-empty of shelf +undone in", r"DOWN +\[DRILL\] Shelf")

    board.press("a")
    board.wait_for("✓ ok +Shelf", "✓ ok +Till", gone=r"\[DRILL\] shelf-empty of shelf")
    assert (shelf / "served.txt").exists()
    board.press_until("7", "✓ passed")

    board.press_until("D", "Nothing has been done yet")
    board.press_until("y", r"UNDONE BY ITS GUARD IN \d")
    board.press_until("F9", "Halt all drills")
    board.press_until("y", "DRILLS HALTED", gone="Halt all drills")
    board.wait_for("It is over: aborted")
    assert (shelf / "served.txt").exists()
    board.press("Escape")
    board.wait_for("DRILLS HALTED +by .*halted on the board", "- aborted", gone="It is over")
