"""What all screens share: head, paper, key bar; loading from the session; and dialogs that cannot be hurried.

A page asks the session for its data when it opens, and again when the engine reports a change of what it shows. While
an answer is awaited what is known stays on the screen. A dialog drops keys that were pressed before it stood on the
screen for 300 ms, since they were meant for something else; and no dialog takes Enter for a yes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar, cast

from textual.containers import Vertical
from textual.screen import ModalScreen, Screen

from opsdash.board.head import head_lines
from opsdash.board.keymap import BY_ID, Scope, actions_of, bindings, keys_of
from opsdash.board.lines import Line, Role, Row, paragraphs
from opsdash.board.notices import notices
from opsdash.board.widgets import Field, KeyBar, Paper, Strips
from opsdash.service.session import SessionError

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.events import Key, Paste
    from textual.widget import Widget

    from opsdash.board.app import BoardApp
    from opsdash.board.state import BoardState, Changes

HOLD_BACK = 0.3
"""Seconds in which a new dialog takes no key."""


HEAD_ROWS = 3
"""Rows of the head on most days, without notices."""


class Reloading:
    """Loads again on request, one at a time: requests during a load lead to one more."""

    trouble = ""
    _busy = False
    _again = False

    @property
    def board(self) -> BoardApp:
        """The app."""
        return cast("BoardApp", cast("Screen[None]", self).app)

    @property
    def state(self) -> BoardState:
        """What the board knows."""
        return self.board.state

    @property
    def drawable(self) -> bool:
        """Whether there are widgets to draw on: not before mounting, and no more while the board closes."""
        screen = cast("Screen[None]", self)
        return screen.is_mounted and screen.is_running and bool(screen.children)

    async def load(self) -> None:
        """Ask the session for what is shown."""

    def draw(self) -> None:
        """Show what is known."""

    def reload(self) -> None:
        """Load, then draw."""
        if self._busy:
            self._again = True
            return
        self._busy = True
        cast("Screen[None]", self).run_worker(self._reload(), exit_on_error=False)

    async def _reload(self) -> None:
        try:
            while True:
                self._again = False
                try:
                    await self.load()
                    self.trouble = ""
                except SessionError as error:
                    self.trouble = str(error)
                self.draw()
                if not self._again:
                    return
        finally:
            self._busy = False

    def heard(self, changes: Changes) -> None:
        """The engine reported changes."""

    def tick(self) -> None:
        """Half a second has passed."""
        self.draw()

    def forget_colours(self) -> None:
        """The theme is another one."""
        for strips in cast("Screen[None]", self).query(Strips):
            strips.refresh()
        for paper in cast("Screen[None]", self).query(Paper):
            paper.forget_colours()
            paper.refresh()


class OnPaper:
    """The scrolling part of a screen, and the keys that move its cursor."""

    @property
    def paper(self) -> Paper:
        """The scrolling part."""
        return cast("Screen[None]", self).query_one(Paper)

    def action_up(self) -> None:
        self.paper.move(-1)

    def action_down(self) -> None:
        self.paper.move(1)

    def action_page_up(self) -> None:
        self.paper.page(-1)

    def action_page_down(self) -> None:
        self.paper.page(1)

    def action_first(self) -> None:
        self.paper.jump(end=False)

    def action_last(self) -> None:
        self.paper.jump(end=True)


class Page(OnPaper, Reloading, Screen[None]):
    """A screen with head, paper and key bar."""

    scopes: ClassVar[tuple[Scope, ...]] = ()
    has_filter: ClassVar[bool] = False
    hidden_hints: ClassVar[frozenset[str]] = frozenset()
    AUTO_FOCUS = "Paper"
    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.LIST))

    def __init__(self) -> None:
        super().__init__()
        self.filter = ""

    def compose(self) -> ComposeResult:
        yield Strips(id="head", role=Role.BAR)
        yield from self.middle()
        if self.has_filter:
            yield Field(id="filter", compact=True)
        yield KeyBar()

    def middle(self) -> ComposeResult:
        """What stands between head and key bar."""
        yield Paper(id="paper")

    def on_mount(self) -> None:
        self.reload()
        self.draw()

    def on_resize(self) -> None:
        self.call_after_refresh(self.draw)

    def on_screen_resume(self) -> None:
        self.reload()

    # --- drawing -------------------------------------------------------------------------------------------------

    def place(self) -> Line:
        """Where one is: the crumbs."""
        return [(type(self).__name__, Role.DIM)]

    def body(self, cells: int) -> list[Row]:
        """The rows of the paper."""
        raise NotImplementedError

    def draw(self) -> None:
        if not self.drawable:
            return
        self.draw_head()
        self.draw_keys()
        self.draw_body()

    def draw_body(self) -> None:
        """Show the rows."""
        cells = self.paper.scrollable_content_region.width
        if cells <= 0:
            return
        stale = self.state.stale(self.board.clock())
        rows = self.body(cells)
        if self.trouble:
            rows = [*paragraphs(f"This could not be loaded: {self.trouble}", cells, Role.ALERT), Row([]), *rows]
        self.paper.show(rows, stale=stale)

    def draw_head(self) -> None:
        """Show the head."""
        board = self.board
        size = board.size
        self.query_one("#head", Strips).show(
            head_lines(
                board.state, board.clock(), size.width, self.place(),
                read_only=board.read_only, tz=board.tz, height=size.height,
            )
        )  # fmt: skip

    def draw_keys(self) -> None:
        """Show the keys that make sense here."""
        hints = [
            (keys_of(action, self.board.keys)[0], action.label, self.works(action.id))
            for action in actions_of(*self.scopes)
            if action.hint and action.id not in self.hidden_hints and self.offers(action.id)
        ]
        ends = [
            (keys_of(BY_ID[name], self.board.keys)[0], BY_ID[name].label, True)
            for name in (("leave", "help") if len(self.board.screen_stack) > 1 else ("command", "help"))
        ]
        self.query_one(KeyBar).keys(hints, ends)

    def offers(self, action: str) -> bool:  # noqa: ARG002 - for subclasses
        """Whether the key bar names this action."""
        return True

    def works(self, action: str) -> bool:
        """Whether an action would do something now; it is dimmed if not."""
        return not (BY_ID[action].changes and self.board.read_only)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Textual's question whether a key may act: what changes something may not on a read-only board."""
        known = BY_ID.get(action)
        if known is not None and known.types and isinstance(self.focused, Field):
            return False
        return None if known is not None and known.changes and self.board.read_only else True

    def on_key(self, event: Key) -> None:
        """A refused key says why."""
        if self.board.read_only and any(
            action.changes and event.key in self.board.keys.get(action.id, action.keys).split(",")
            for action in actions_of(*self.scopes)
        ):
            self.board.say_read_only()

    # --- filter --------------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        field = self.query_one("#filter", Field)
        field.add_class("shown")
        field.value = self.filter
        self.set_focus(field)  # at once: keys that were typed behind it are already on their way

    def on_input_changed(self, event: Field.Changed) -> None:
        if event.input.id == "filter":
            event.stop()
            self.filter = event.value
            self.filtered()

    def on_input_submitted(self, event: Field.Submitted) -> None:
        if event.input.id == "filter":
            event.stop()
            self._close_filter()

    def filtered(self) -> None:
        """The filter has changed."""
        self.draw()

    def leave(self) -> bool:
        """Esc: whether there was something to leave on this screen; if not, the screen itself is left."""
        if not self.has_filter:
            return False
        field = self.query_one("#filter", Field)
        if not self.filter and not field.has_class("shown"):
            return False
        field.value = ""
        self.filter = ""
        self._close_filter()
        self.filtered()
        return True

    def _close_filter(self) -> None:
        self.query_one("#filter", Field).remove_class("shown")
        self.set_focus(self.resting_focus())

    def resting_focus(self) -> Widget | None:
        """What has the focus when nothing is typed."""
        return self.paper


Result = TypeVar("Result")


class Dialog(OnPaper, Reloading, ModalScreen[Result], Generic[Result]):
    """A question over the screen. Subclasses fill `rows`; `esc` leaves without effect."""

    heading: ClassVar[str] = ""
    cells: ClassVar[int] = 104
    field_id: ClassVar[str] = ""
    leaving: ClassVar[str] = "leave without effect"
    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.LIST, also=("leave",)))
    AUTO_FOCUS = "Paper"

    def __init__(self) -> None:
        super().__init__()
        self.opened: float | None = None

    def compose(self) -> ComposeResult:
        with Vertical(id="box") as outer:
            outer.styles.width = self.cells
            yield Strips(id="heading")
            yield Paper(id="paper")
            yield Strips(id="status")
            if self.field_id:
                yield Field(id=self.field_id, compact=True)
            yield Strips(id="hints")

    def on_mount(self) -> None:
        self.opened = self.board.clock()
        self.reload()
        self.draw()

    def on_resize(self) -> None:
        self.call_after_refresh(self.draw)

    def armed(self, event: Key | Paste) -> bool:
        """Whether a key was pressed late enough to be meant for this dialog."""
        return self.opened is not None and self.pressed_at(event) - self.opened >= HOLD_BACK

    def on_key(self, event: Key) -> None:
        """Drop what came too early, before any binding sees it. The way out is always open."""
        way_out = self.board.keys.get("leave", BY_ID["leave"].keys).split(",")
        if event.key not in way_out and not self.armed(event):
            event.stop()
            event.prevent_default()

    def pressed_at(self, event: Key | Paste) -> float:
        """When a key was pressed, on the board's clock. It may have waited while the board was busy."""
        return self.board.clock() - max(0.0, time.monotonic() - event.time)

    # --- drawing -------------------------------------------------------------------------------------------------

    def title_line(self, cells: int) -> Line:  # noqa: ARG002 - for subclasses
        """The first line."""
        return [(self.heading, Role.HEADING)]

    def rows(self, cells: int) -> list[Row]:
        """What is asked or shown."""
        raise NotImplementedError

    def status(self, cells: int) -> list[Row]:  # noqa: ARG002 - for subclasses
        """Lines between rows and keys, that never scroll away."""
        return []

    def notices(self, cells: int) -> list[Line]:
        """What no screen may hide, for when this one covers the head."""
        return notices(self.state, self.board.clock(), cells)

    def hints(self) -> Line:
        """The last line: keys."""
        return self.keys_line()

    def draw(self) -> None:
        if not self.drawable:
            return
        room = self.board.size
        cells = max(10, min(self.cells, room.width) - 5)
        rows = self.rows(cells)
        low = room.height < 24
        heading = [self.title_line(cells)] if low else [self.title_line(cells), []]
        status = [row.line for row in self.status(cells)]
        status = status if low or not status else [[], *status]
        ending = [self.hints()] if low else [[], self.hints()]
        told = self.notices(cells)
        free = room.height - 2 - len(rows) - len(heading) - len(status) - len(ending)
        if free < 2 * (HEAD_ROWS + len(told)):  # the box, in the middle, covers the head
            heading = [*told, *heading]
        self.query_one("#heading", Strips).show(heading)
        self.query_one("#status", Strips).show(status)
        self.query_one("#hints", Strips).show(ending)
        typing = 1 if self.field_id and self.query_one(Field).has_class("shown") else 0
        height = max(1, min(len(rows), room.height - 2 - len(heading) - len(status) - len(ending) - typing))
        if self.paper.styles.height is None or self.paper.styles.height.value != height:
            self.paper.styles.height = height
        self.paper.show(rows)

    def keys_line(self, *names: str, instead: dict[str, str] | None = None) -> Line:
        """Keys of actions with their labels; the way out comes second, so that no narrow terminal hides it."""
        leave: Line = [(keys_of(BY_ID["leave"], self.board.keys)[0], Role.KEY), (f" {self.leaves()}   ", Role.DIM)]
        line: Line = []
        for name in names:
            action = BY_ID[name]
            dim = not self.works(name)
            label = (instead or {}).get(name, action.label)
            line += [
                (keys_of(action, self.board.keys)[0], Role.DIM if dim else Role.KEY),
                (f" {label}   ", Role.DIM if dim else Role.TEXT if line else Role.STRONG),
            ]
            if name == names[0]:
                line += leave
        return line or leave

    def leaves(self) -> str:
        """What the way out does, for the line of keys."""
        return self.leaving

    def works(self, action: str) -> bool:
        """Whether a key would do something now; it is dimmed if not."""
        return not (BY_ID[action].changes and self.board.read_only)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """What changes something may not on a read-only board."""
        known = BY_ID.get(action)
        return None if known is not None and known.changes and self.board.read_only else True

    def action_leave(self) -> None:
        """Away, without effect."""
        self.dismiss(None)
