"""`:` and the palette: every view, component, runbook and theme by typing a part of its name."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from opsdash.board.keymap import ACTIONS, Scope
from opsdash.service.session import SessionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from textual.app import App

    from opsdash.board.app import BoardApp

Command = tuple[str, str, "Callable[[], Any]"]


class BoardCommands(Provider):
    """What can be typed. Names come from files and engines, so they are shown as text, never as markup."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._runbooks: list[Command] = []

    @property
    def board(self) -> BoardApp:
        """The app."""
        return cast("BoardApp", self.app)

    async def startup(self) -> None:
        try:
            runbooks = await self.board.session.runbooks()
        except SessionError:
            return  # the palette works without them
        self._runbooks = [
            (f"runbook {one['id']}", one["title"], partial(self.board.open_runbook, one["id"], one["component"]))
            for one in runbooks
        ]

    def _commands(self) -> Iterator[Command]:
        board = self.board
        for action in ACTIONS:
            if Scope.EVERYWHERE in action.scopes and action.id.startswith("view_"):
                yield action.label, action.tooltip, partial(board.view, action.id.removeprefix("view_"))
        yield "help", "all keys", board.action_help
        yield "quit", "leave the board", board.action_close
        for row in board.state.rows.values():
            yield row["id"], row["title"], partial(board.open_component, row["id"])
        yield from self._runbooks
        for theme in sorted(board.available_themes):
            yield f"theme {theme}", "colours", partial(setattr, board, "theme", theme)

    async def discover(self) -> Hits:
        for name, about, run in self._commands():
            if not name.startswith("theme "):
                yield DiscoveryHit(Content(name), run, text=name, help=Content(about))  # type: ignore[arg-type] # Content is a visual

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for name, about, run in self._commands():
            score = max(matcher.match(name), matcher.match(f"{name} {about}"))
            if score > 0:
                yield Hit(score, Content(name), run, text=name, help=Content(about))  # type: ignore[arg-type] # Content is a visual


def open_palette(board: BoardApp) -> None:
    """Open the palette over the present screen."""
    if not CommandPalette.is_open(cast("App[object]", board)):
        board.push_screen(
            CommandPalette(providers=[BoardCommands], placeholder="a view, a component, a runbook, a theme …")
        )
