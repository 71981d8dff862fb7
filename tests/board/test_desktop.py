"""The bell and the notice on the desktop: what is written to which terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from opsdash.board.desktop import BELL, ring

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.board.conftest import Stage

    Board = Callable[..., AbstractAsyncContextManager[Stage]]

TEXT = "Email is down"
OSC9, OSC777, OSC99 = "\x1b]9;opsdash: {}\x07", "\x1b]777;notify;opsdash;{}\x07", "\x1b]99;;opsdash: {}\x1b\\"


@pytest.mark.parametrize(
    ("environment", "escape"),
    [
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, OSC9),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, OSC9),
        ({"TERM": "xterm-256color", "WT_SESSION": "1a2b"}, OSC9),
        ({"TERM": "rxvt-unicode-256color"}, OSC777),
        ({"TERM": "foot"}, OSC777),
        ({"TERM": "xterm-ghostty", "TERM_PROGRAM": "ghostty"}, OSC777),
        ({"TERM": "xterm-kitty"}, OSC99),
        ({"TERM": "xterm-256color", "OPSDASH_DESKTOP": "OSC99"}, OSC99),
    ],
)
def test_a_terminal_gets_the_escape_that_it_knows(environment: dict[str, str], escape: str) -> None:
    assert ring(environment, TEXT) == BELL + escape.format(TEXT)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"TERM": "xterm-256color"},
        {"TERM": "linux"},
        {"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"},
        {"TERM": "xterm-256color", "TERM_PROGRAM": "vscode"},
        {"TERM": "xterm-kitty", "OPSDASH_DESKTOP": "off"},
        {"TERM": "xterm-kitty", "OPSDASH_DESKTOP": "rot13"},
        {"TERM": "tmux-256color", "TMUX": "/tmp/tmux,1,0", "TERM_PROGRAM": "tmux", "WT_SESSION": "1a2b"},
        {"TERM": "xterm-kitty", "STY": "1.pts"},
        {"TERM": "xterm-kitty", "ZELLIJ": "0"},
    ],
)
def test_every_other_one_gets_the_bell_alone(environment: dict[str, str]) -> None:
    assert ring(environment, TEXT) == BELL


def test_whoever_wants_no_notice_gets_the_bell_alone() -> None:
    assert ring({"TERM": "xterm-kitty"}, TEXT, desktop=False) == BELL


def test_tmux_hands_on_what_somebody_asked_for() -> None:
    written = ring({"TERM": "tmux-256color", "TMUX": "/tmp/tmux,1,0", "OPSDASH_DESKTOP": "osc99"}, TEXT)
    assert written == BELL + "\x1bPtmux;\x1b\x1b]99;;opsdash: Email is down\x1b\x1b\\\x1b\\"


@pytest.mark.parametrize("escape", ["osc9", "osc777", "osc99"])
@pytest.mark.parametrize("tmux", ["", "/tmp/tmux,1,0"])
@pytest.mark.parametrize(
    "text",
    ["a\x07b", "a\x1b\\b", "\x1b]52;c;aGk=\x07", "\x9d52;c;aGk=\x9c", "4;1;100", "x;y", "\u202ea", "a\nb", "z" * 9999],
)
def test_no_text_ends_the_escape_or_begins_another(escape: str, tmux: str, text: str) -> None:
    written = ring({"OPSDASH_DESKTOP": escape, "TMUX": tmux}, text)
    harmless = ring({"OPSDASH_DESKTOP": escape, "TMUX": tmux}, "")
    controls = re.compile("[\x00-\x1f\x7f-\x9f;\u202e]")
    assert controls.findall(written) == controls.findall(harmless)
    assert len(written) < 300


async def test_an_alarm_rings_at_the_board_and_is_shown(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSDASH_DESKTOP", "osc9")
    async with board() as stage:
        written: list[str] = []
        monkeypatch.setattr(stage.app, "to_terminal", written.append)
        stage.session.ring("[DRILL] Email\x1b is [b]down")
        await stage.settle()
        assert written == ["\x07\x1b]9;opsdash: [DRILL] Email␛ is [b]down\x07"]
        assert stage.said == ["[DRILL] Email␛ is [b]down"]
        assert "stale" not in stage.screen


async def test_a_flood_of_alarms_rings_once(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    async with board() as stage:
        written: list[str] = []
        monkeypatch.setattr(stage.app, "to_terminal", written.append)
        for number in range(500):
            stage.session.ring(f"{number} is down")
        await stage.settle()
        assert len(written) < 10
        assert stage.said[-1].startswith("499 is down")
