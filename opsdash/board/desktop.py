"""The bell, and a notice on the desktop of whoever sits at the terminal, as far as that can show one.

There are three escapes for it, and a terminal that does not know one may show it as garbage. So one is written only
where the terminal has said by its environment that it knows it:

| escape | written for |
|---|---|
| OSC 9 | iTerm2, WezTerm, Windows Terminal |
| OSC 777 | urxvt, foot, Ghostty, Warp |
| OSC 99 | kitty |

Inside of tmux nobody can tell which terminal is outside. Whoever knows says so by OPSDASH_DESKTOP=osc9 (osc777, osc99),
and lets tmux pass it on (`set -g allow-passthrough on`); without either the bell alone rings, which tmux hands on by
itself. OPSDASH_DESKTOP=off, or `"desktop": false` in board.json, writes none anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opsdash.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

BELL: Final = "\x07"
LONGEST: Final = 200
"""Characters of a notice."""

VARIABLE: Final = "OPSDASH_DESKTOP"

_BY_PROGRAM: Final[Mapping[str, str]] = {
    "iTerm.app": "osc9",
    "WezTerm": "osc9",
    "ghostty": "osc777",
    "WarpTerminal": "osc777",
}
_BY_TERM: Final[Mapping[str, str]] = {
    "xterm-kitty": "osc99",
    "xterm-ghostty": "osc777",
    "foot": "osc777",
    "foot-extra": "osc777",
    "wezterm": "osc9",
}
_INNER: Final = ("STY", "ZELLIJ")
"""Set inside of multiplexers that pass nothing on."""

_ESCAPES: Final[Mapping[str, str]] = {
    # A number after OSC 9 would be a command of Windows Terminal's: the name stands first.
    "osc9": "\x1b]9;opsdash: {text}\x07",
    "osc777": "\x1b]777;notify;opsdash;{text}\x07",
    "osc99": "\x1b]99;;opsdash: {text}\x1b\\",
}


def ring(environment: Mapping[str, str], text: str, *, desktop: bool = True) -> str:
    """What to write to the terminal: the bell, and the notice where it can be shown.

    text: what happened, from wherever; no control of it gets through.  desktop: whether a notice is wanted.
    """
    escape = _escape(environment) if desktop else ""
    if not escape:
        return BELL
    # `clean` makes controls visible; a semicolon would end a field of the escape.
    notice = _ESCAPES[escape].format(text=clean(text, LONGEST).replace(";", ","))
    return BELL + (_through_tmux(notice) if environment.get("TMUX") else notice)


def _escape(environment: Mapping[str, str]) -> str:
    """Which escape the terminal knows, "" for none that we know of."""
    wanted = environment.get(VARIABLE, "").lower()
    if wanted:
        return wanted if wanted in _ESCAPES else ""
    if environment.get("TMUX") or any(environment.get(name) for name in _INNER):
        return ""
    term = environment.get("TERM", "")
    if term.startswith("rxvt-unicode"):
        return "osc777"
    if environment.get("WT_SESSION"):
        return "osc9"
    return _BY_TERM.get(term) or _BY_PROGRAM.get(environment.get("TERM_PROGRAM", ""), "")


def _through_tmux(sequence: str) -> str:
    """Wrapped so that tmux hands it to the terminal outside, where that is allowed; else tmux drops it."""
    return f"\x1bPtmux;{sequence.replace(chr(27), chr(27) * 2)}\x1b\\"
