"""The board's app: events in, intents out, and which screen is shown. It decides nothing about the operation.

A reader takes the session's events and leaves them in an inbox; one message at a time folds what has arrived into the
state, and screens are told at most ten times a second, however many events come. Half a second's tick redraws ages,
so that silence becomes visible: three seconds of it, and everything is drawn as stale.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from textual import events
from textual.app import App
from textual.filter import Monochrome, NoColor
from textual.message import Message
from textual.screen import ModalScreen

from opsdash.board.desktop import ring as rung
from opsdash.board.housekeeping import Housekeeping
from opsdash.board.keymap import BY_ID, Scope, bindings, key_problems
from opsdash.board.net import ControlFilter
from opsdash.board.page import Dialog, Page, Reloading
from opsdash.board.state import BoardState, Changes
from opsdash.board.theme import DARK, LIGHT, Palette
from opsdash.board.wallscreen import WallScreen
from opsdash.board.widgets import Field
from opsdash.model.text import clean
from opsdash.service.session import Lost, RingEvent, SessionError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import tzinfo

    from textual.binding import BindingType
    from textual.filter import LineFilter
    from textual.screen import Screen
    from textual.worker import Worker

    from opsdash.model.views import Verdict
    from opsdash.service.session import Event, Session

FLUSH_EVERY = 0.1
TICK_EVERY = 0.5
LOOK_AGAIN_AFTER = 1.0

NET = ControlFilter()
NO_COLOUR = NoColor()

Leave = Literal["keep", "stop"]


class BoardApp(App[Leave]):
    """The board over a session.

    ask_on_quit: `q` at the wall asks whether the engine goes on watching; without it, it does.
    keys: action ids to other keys (see `keymap.key_problems`).  clock: monotonic seconds.  tz: zone of times shown.
    housekeeping: decides when Python looks for cycles, for the whole process; without it Python does.
    desktop: whether an alarm may show a notice on the desktop, beside the bell.
    """

    TITLE = "opsdash"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.EVERYWHERE))
    CSS = """
    Screen { layout: vertical; background: $background; color: $foreground; }
    Strips { height: auto; width: 1fr; }
    Paper, Wall { height: 1fr; width: 1fr; scrollbar-size-vertical: 1; overflow-x: hidden; scrollbar-gutter: stable;
                  background: $background; scrollbar-background: $background; scrollbar-color: $panel; }
    Field { display: none; height: 1; border: none; padding: 0 1; background: $panel; }
    Field.shown { display: block; }
    Dialog { align: center middle; background: $background 60%; }
    #box { height: auto; max-width: 100%; max-height: 100%; border: round $primary; padding: 0 1;
           background: $background; }
    #box Paper { height: 1; }
    #desk { height: auto; }
    """

    class Arrived(Message):
        """Something is in the inbox."""

    def __init__(
        self,
        session: Session,
        *,
        read_only: bool = False,
        theme: str | None = None,
        keys: Mapping[str, str] | None = None,
        ask_on_quit: bool = False,
        clock: Callable[[], float] = time.monotonic,
        tz: tzinfo | None = None,
        housekeeping: Housekeeping | None = None,
        desktop: bool = True,
    ) -> None:
        super().__init__()
        self.session = session
        self.state = BoardState()
        self.clock = clock
        self.tz = tz
        self.keys = dict(keys or {})
        self.ask_on_quit = ask_on_quit
        self.look_again_after = LOOK_AGAIN_AFTER
        self._read_only = read_only
        self._housekeeping = housekeeping
        self._desktop = desktop
        self._inbox: list[Event] = []
        self._changes = Changes()
        self._flushed = float("-inf")
        self._flush_waits = False
        self._views: list[str] = ["wall", "wall"]
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = self._theme(theme)
        self.palette = Palette(self.current_theme, self.theme_variables)
        if problems := key_problems(self.keys):
            raise ValueError("; ".join(problems))
        self.set_keymap(self.keys)

    def _theme(self, wanted: str | None) -> str:
        if wanted is None:
            return "ansi-dark" if os.environ.get("NO_COLOR") else DARK.name
        if wanted not in self.available_themes:
            raise ValueError(f"there is no theme {wanted!r}; there are: {', '.join(sorted(self.available_themes))}")
        return wanted

    @property
    def read_only(self) -> bool:
        """Whether keys that change something are refused."""
        summary = self.state.summary
        return self._read_only or self.session.read_only or bool(summary and summary["read_only"])

    # --- life ----------------------------------------------------------------------------------------------------

    def get_default_screen(self) -> Screen[Any]:
        """The wall lies at the bottom of everything."""
        return WallScreen()

    def on_mount(self) -> None:
        self.theme_changed_signal.subscribe(self, self._recolour)
        self._recolour(None)
        self.run_worker(self._read(), name="reader", exit_on_error=False)
        self.set_interval(TICK_EVERY, self.tick)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """No control byte of a text reaches the terminal; and with NO_COLOR no colour does.

        Textual chooses its filter before the theme is set, and would send greys instead of none.
        """
        filters = super().get_line_filters()
        if self.native_ansi_color:
            filters = [NO_COLOUR if isinstance(one, Monochrome) else one for one in filters]
        return [*filters, NET]

    async def on_event(self, event: events.Event) -> None:
        """Whatever a person does comes by here first."""
        if self._housekeeping is not None and isinstance(event, events.InputEvent):
            self._housekeeping.typed(self.clock())
        await super().on_event(event)

    def _recolour(self, _: object) -> None:
        self.palette = Palette(self.current_theme, self.theme_variables)
        for screen in self.screen_stack:
            if isinstance(screen, Reloading) and screen.drawable:
                screen.forget_colours()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A worker that fails is a bug of the board; it is said, and the board goes on."""
        if event.worker.error is not None:
            error = event.worker.error
            self.say(f"A bug in the board: {type(error).__name__}: {error}", severity="error")

    # --- events --------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Take events for ever. The session reconnects by itself; should its stream end, it is asked for another."""
        while True:
            try:
                async for event in self.session.events():
                    self._take(event)
                why = "the stream of events ended"
            except SessionError as error:
                why = str(error)
            self._take(Lost(why))
            await asyncio.sleep(self.look_again_after)

    def _take(self, event: Event) -> None:
        self._inbox.append(event)
        if len(self._inbox) == 1:
            self.post_message(self.Arrived())

    def on_board_app_arrived(self) -> None:
        """Fold everything that has arrived; a flood is one message."""
        arrived, self._inbox = self._inbox, []
        mono = self.clock()
        for event in arrived:
            self._changes.add(self.state.apply(event, mono))
        self._ring([event.text for event in arrived if isinstance(event, RingEvent)])
        wait = self._flushed + FLUSH_EVERY - time.monotonic()
        if wait <= 0:
            self._tell_screens()
        elif not self._flush_waits:
            self._flush_waits = True
            self.set_timer(wait, self._tell_screens)

    def _ring(self, texts: Sequence[str]) -> None:
        """Make somebody look up; what arrived together rings once."""
        if not texts:
            return
        text = texts[-1] if len(texts) == 1 else f"{texts[-1]} (and {len(texts) - 1} more)"
        self.say(text, severity="warning")
        self.to_terminal(rung(os.environ, text, desktop=self._desktop))

    def to_terminal(self, sequence: str) -> None:
        """Write something that is not drawn: the bell, a notice. It goes the way of the frames, never into one."""
        if self._driver is not None and not self.is_headless:
            self._driver.write(sequence)

    def _tell_screens(self) -> None:
        self._flush_waits = False
        self._flushed = time.monotonic()
        changes, self._changes = self._changes, Changes()
        for screen in self.screen_stack:
            if isinstance(screen, Reloading) and screen.drawable:
                screen.heard(changes)

    def tick(self) -> None:
        """Ages grow, and silence is noticed."""
        if self._housekeeping is not None and self.state.heard is not None:
            self._housekeeping.tick(self.clock())
        for screen in self.screen_stack:
            if isinstance(screen, Reloading) and screen.drawable:
                screen.tick()

    # --- intents -------------------------------------------------------------------------------------------------

    async def ask(self, intent: str, arguments: Mapping[str, Any], *, key: str | None = None) -> Verdict | None:
        """Submit an intent. A refusal and a failure are shown; None means that nothing was accepted."""
        if self.read_only:
            self.say_read_only()
            return None
        try:
            verdict = await self.session.submit(intent, arguments, key)
        except SessionError as error:
            self.say(f"{intent}: {error}", severity="error")
            return None
        if not verdict["accepted"]:
            refused = verdict["refused"]
            self.say(
                f"Refused: {refused['reason']}" + (f" ({refused['override']})" if refused["override"] else "")
                if refused
                else "Refused",
                severity="warning",
            )
            return None
        return verdict

    def want(self, intent: str, arguments: Mapping[str, Any], *, done: str = "") -> None:
        """Submit an intent in the background, and say when it was accepted."""

        async def run() -> None:
            if await self.ask(intent, arguments) is not None:
                if done:
                    self.say(done)
                for screen in self.screen_stack:
                    if isinstance(screen, Reloading):
                        screen.reload()

        self.run_worker(run(), exit_on_error=False)

    def say(self, text: str, *, severity: Literal["information", "warning", "error"] = "information") -> None:
        """A short message, never read as markup."""
        self.notify(clean(text, 400), severity=severity, markup=False, timeout=8 if severity == "error" else 5)

    def say_read_only(self) -> None:
        """Why a key did nothing."""
        self.say("This board is read-only: keys that change something are off.", severity="warning")

    # --- where to go ---------------------------------------------------------------------------------------------

    def action_leave(self) -> None:
        """One step back."""
        screen = self.screen
        if isinstance(screen, Page) and screen.leave():
            return
        if len(self.screen_stack) > 1:
            self.pop_screen()

    def action_close(self) -> None:
        """One step back; at the wall, away."""
        if len(self.screen_stack) > 1:
            self.action_leave()
            return
        from opsdash.board.dialogs import QuitDialog

        if not self.ask_on_quit:
            self.exit()
            return
        self.push_screen(QuitDialog(), lambda choice: self.exit(choice) if choice else None)

    def action_view_wall(self) -> None:
        self.view("wall")

    def action_view_incidents(self) -> None:
        self.view("incidents")

    def action_view_runbooks(self) -> None:
        self.view("runbooks")

    def action_view_register(self) -> None:
        self.view("register")

    def action_view_journal(self) -> None:
        self.view("journal")

    def action_view_people(self) -> None:
        self.view("people")

    def action_view_drills(self) -> None:
        self.view("drills")

    def action_view_readiness(self) -> None:
        self.view("readiness")

    def action_view_whatif(self) -> None:
        self.view("whatif")

    def action_view_problems(self) -> None:
        self.view("problems")

    def action_last_view(self) -> None:
        self.view(self._views[-2])

    def view(self, name: str) -> None:
        """Go to one of the views; they lie directly on the wall."""
        from opsdash.board.pages import VIEWS

        while len(self.screen_stack) > 1:
            self.pop_screen()
        self._views = [self._views[-1], name]
        if name != "wall":
            self.push_screen(VIEWS[name]())

    def action_help(self) -> None:
        from opsdash.board.pages.help import HelpPage

        if not isinstance(self.screen, HelpPage):
            self.push_screen(HelpPage(self.screen.scopes if isinstance(self.screen, Page) else ()))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Textual's question whether a key may act: into a field, or over a question, it is typed."""
        known = BY_ID.get(action)
        typed = isinstance(self.focused, Field) or isinstance(self.screen, ModalScreen)
        return not (known is not None and known.types and typed)

    def action_halt(self) -> None:
        """Undo all drills and block new ones: asks, on whatever screen."""
        from opsdash.board.halting import HaltDialog

        if self.read_only:
            self.say_read_only()
        elif not isinstance(self.screen, HaltDialog):
            self.push_screen(HaltDialog())

    def action_command(self) -> None:
        from opsdash.board.commands import open_palette

        open_palette(self)

    def open_component(self, component: str) -> None:
        """The page of a component."""
        from opsdash.board.pages.component import ComponentPage

        self.push_screen(ComponentPage(component))

    def open_runbook(self, runbook: str, component: str | None) -> None:
        """A runbook, beside the live status of a component if one is concerned."""
        from opsdash.board.pages.runbook import RunbookPage

        self.push_screen(RunbookPage(runbook, component))

    def open_incident(self, component: str) -> None:
        """The incidents, with the one of a component under the cursor."""
        from opsdash.board.pages.incidents import IncidentsPage

        self.push_screen(IncidentsPage(component))

    def open_dialog(self, dialog: Dialog[Any]) -> None:
        """A dialog whose answer concerns only itself."""
        self.push_screen(dialog)


def unfit_terminal(environment: Mapping[str, str] = os.environ) -> str | None:
    """Why no board can be drawn here, None if one can. Textual writes to standard error."""
    if not (sys.__stdin__ and sys.__stdin__.isatty() and sys.__stderr__ and sys.__stderr__.isatty()):
        return "the board needs a terminal at its input and its error output; `opsdash status` works without"
    if environment.get("TERM", "") in {"", "dumb"}:
        return f"TERM={environment.get('TERM', '')!r} cannot move a cursor; `opsdash status` works without"
    return None


def run_board(
    session_factory: Callable[[], Session | Awaitable[Session]],
    *,
    read_only: bool = False,
    theme: str | None = None,
    keys: Mapping[str, str] | None = None,
    mouse: bool = True,
    desktop: bool = True,
    ask_on_quit: bool = False,
    on_leave: Callable[[Leave], None] | None = None,
) -> int:
    """Show the board until it is left. The factory runs inside the board's event loop.

    `on_leave` is told whether the engine shall go on watching ("keep") or "stop", if that was asked and answered.
    Returns an exit code. A theme or key that does not exist raises ValueError before anything is drawn.
    """

    async def run() -> tuple[Leave | None, int]:
        made = session_factory()
        session = await made if isawaitable(made) else made
        try:
            app = BoardApp(
                session,
                read_only=read_only,
                theme=theme,
                keys=keys,
                ask_on_quit=ask_on_quit,
                housekeeping=Housekeeping(),
                desktop=desktop,
            )
            choice = await app.run_async(mouse=mouse)
            return choice, app.return_code or 0
        finally:
            await session.close()

    choice, code = asyncio.run(run())
    if on_leave is not None and choice is not None:
        on_leave(choice)
    return code
