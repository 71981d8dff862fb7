"""Colours. A role becomes a style here and nowhere else, from whatever theme is chosen.

Two own themes, calm on purpose: on a screen where all is well nothing glows, so that the failed thing is seen first.
Every theme of Textual works as well; `ansi-dark` and `ansi-light` use only the terminal's own sixteen colours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.style import Style
from textual.color import Color
from textual.theme import Theme

from opsdash.board.lines import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

DARK = Theme(
    name="opsdash-dark",
    primary="#6cb6ff",
    secondary="#8b9bb0",
    accent="#7dcfff",
    warning="#e3b341",
    error="#ff6b6b",
    success="#5fbf83",
    foreground="#cfd6df",
    background="#10141a",
    surface="#161c24",
    panel="#1f2731",
    dark=True,
)
LIGHT = Theme(
    name="opsdash-light",
    primary="#0a5fb4",
    secondary="#5b6775",
    accent="#0b6bb0",
    warning="#8a5a00",
    error="#c0202f",
    success="#1d7a43",
    foreground="#20262e",
    background="#fafbfc",
    surface="#f0f2f5",
    panel="#e2e6eb",
    dark=False,
)


class Palette:
    """Styles of a theme, by role; `selected` for the row under the cursor."""

    def __init__(self, theme: Theme, variables: Mapping[str, str]) -> None:
        self._styles: dict[tuple[Role, bool], Style] = {}
        if theme.ansi:
            table, self._selected, self._dimmed = _ansi(), Style(bold=True, underline=True), Style(dim=True)
        else:
            table, self._selected, self._dimmed = _truecolor(theme, variables)
        for role, style in table.items():
            self._styles[role, False] = style
            self._styles[role, True] = style if role is Role.ALERT else style + self._selected

    def style(self, role: Role, *, selected: bool = False, stale: bool = False) -> Style:
        """How a role looks; stale things keep their words and lose their colour."""
        if stale and role not in _STANDS_OUT_WHEN_STALE:
            return self._dimmed + self._selected if selected else self._dimmed
        return self._styles[role, selected]


_STANDS_OUT_WHEN_STALE = {Role.BAR, Role.BAR_DIM, Role.BAR_KEY, Role.ALERT, Role.KEY, Role.CURSOR, Role.BORDER}


def _truecolor(theme: Theme, variables: Mapping[str, str]) -> tuple[dict[Role, Style], Style, Style]:
    def colour(name: str, fallback: str) -> Color:
        try:
            return Color.parse(variables.get(name, fallback))
        except ValueError:
            return Color.parse(fallback)

    text = colour("foreground", "#cfd6df")
    back = colour("background", "#10141a")
    panel = colour("panel", "#1f2731")
    error = colour("error", "#ff6b6b")
    unknown = Color.parse("#c39af0" if theme.dark else "#7a2fb8")
    alert_back = error.blend(Color.parse("#7a0000"), 0.35) if theme.dark else error

    def style(front: Color, on: Color | None = None, *, bold: bool = False) -> Style:
        return Style(color=front.rich_color, bgcolor=(on or back).rich_color, bold=bold)

    dim = back.blend(text, 0.55)
    table = {
        Role.TEXT: style(text),
        Role.DIM: style(dim),
        Role.STRONG: style(text, bold=True),
        Role.HEADING: style(colour("primary", "#6cb6ff"), bold=True),
        Role.BORDER: style(back.blend(text, 0.28)),
        Role.KEY: style(colour("accent", "#7dcfff"), bold=True),
        Role.CODE: style(colour("accent", "#7dcfff"), panel),
        Role.BAR: style(text, panel),
        Role.BAR_DIM: style(panel.blend(text, 0.6), panel),
        Role.BAR_KEY: style(colour("accent", "#7dcfff"), panel, bold=True),
        Role.CURSOR: style(colour("accent", "#7dcfff"), bold=True),
        Role.OK: style(colour("success", "#5fbf83")),
        Role.DEGRADED: style(colour("warning", "#e3b341"), bold=True),
        Role.DOWN: style(error, bold=True),
        Role.ALERT: style(Color.parse("#ffffff"), alert_back, bold=True),
        Role.UNKNOWN: style(unknown, bold=True),
        Role.BACKUP: style(colour("accent", "#7dcfff"), bold=True),
        Role.STALE: style(dim, bold=True),
    }
    return table, Style(bgcolor=back.blend(colour("primary", "#6cb6ff"), 0.2).rich_color), style(dim)


def _ansi() -> dict[Role, Style]:
    return {
        Role.TEXT: Style(),
        Role.DIM: Style(dim=True),
        Role.STRONG: Style(bold=True),
        Role.HEADING: Style(color="blue", bold=True),
        Role.BORDER: Style(dim=True),
        Role.KEY: Style(color="cyan", bold=True),
        Role.CODE: Style(color="cyan"),
        Role.BAR: Style(bold=True),
        Role.BAR_DIM: Style(dim=True),
        Role.BAR_KEY: Style(color="cyan", bold=True),
        Role.CURSOR: Style(bold=True),
        Role.OK: Style(color="green"),
        Role.DEGRADED: Style(color="yellow", bold=True),
        Role.DOWN: Style(color="red", bold=True),
        Role.ALERT: Style(color="red", bold=True, reverse=True),
        Role.UNKNOWN: Style(color="magenta", bold=True),
        Role.BACKUP: Style(color="cyan", bold=True),
        Role.STALE: Style(dim=True, bold=True),
    }
