"""Small questions: yes or no, one line of text, a choice, and typing a name before something dangerous."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from opsdash.board.keymap import Scope, bindings
from opsdash.board.lines import CURSOR, Line, Role, Row, left, paragraphs
from opsdash.board.page import Dialog
from opsdash.board.widgets import Field
from opsdash.model.text import clean
from opsdash.model.units import format_duration
from opsdash.service.session import SessionError

if TYPE_CHECKING:
    from textual.binding import BindingType


class AskDialog(Dialog[bool]):
    """Yes (`y`) or away (`esc`). `typed`: what has to be typed first; when it matches, `y` works."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.CHOICE))
    field_id = "typed"
    cells = 84

    def __init__(self, question: str, yes: str, *, about: str = "", typed: str = "") -> None:
        super().__init__()
        self.question, self.yes, self.about, self.typed = question, yes, about, typed
        self.matched = not typed

    def on_mount(self) -> None:
        if self.typed:
            field = self.query_one(Field)
            field.add_class("shown")
            field.focus()

    def title_line(self, cells: int) -> Line:  # noqa: ARG002
        return [("Question", Role.HEADING)]

    def rows(self, cells: int) -> list[Row]:
        rows = paragraphs(self.question, cells, Role.STRONG)
        if self.about:
            rows += [Row([]), *(Row([(row.line[0][0], Role.CODE)]) for row in paragraphs(self.about, cells))]
        if self.typed and not self.matched:
            rows += [
                Row([]),
                Row([("This can do harm. Type ", Role.TEXT), (self.typed, Role.DEGRADED), (" to go on:", Role.TEXT)]),
            ]
        return rows

    def hints(self) -> Line:
        if not self.matched:
            return self.keys_line()
        return self.keys_line("yes", instead={"yes": self.yes})

    def on_input_changed(self, event: Field.Changed) -> None:
        if self.typed and not self.matched and event.value == self.typed:
            self.matched = True
            event.input.remove_class("shown")
            self.set_focus(self.paper)
            self.draw()

    def action_yes(self) -> None:
        if self.matched:
            self.dismiss(True)

    def action_choose(self) -> None:
        """Enter confirms nothing."""


class PromptDialog(Dialog[str]):
    """One line of text. Enter takes it: it is a text, not a yes."""

    field_id = "text"
    cells = 84

    def __init__(self, question: str, text: str = "", *, may_be_empty: bool = False) -> None:
        super().__init__()
        self.question, self.text, self.may_be_empty = question, text, may_be_empty

    def on_mount(self) -> None:
        field = self.query_one(Field)
        field.add_class("shown")
        field.value = self.text
        field.focus()

    def rows(self, cells: int) -> list[Row]:
        return paragraphs(self.question, cells, Role.STRONG)

    def title_line(self, cells: int) -> Line:  # noqa: ARG002
        return [("In your words", Role.HEADING)]

    def hints(self) -> Line:
        return [("enter", Role.KEY), (" take it   ", Role.DIM), *self.keys_line()]

    def on_input_submitted(self, event: Field.Submitted) -> None:
        text = clean(event.value.strip(), 400)
        if text or self.may_be_empty:
            self.dismiss(text)


class ChoiceDialog(Dialog[str]):
    """One of several; choosing is not confirming, what follows asks again where it matters."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.CHOICE))
    cells = 84

    def __init__(self, question: str, choices: dict[str, str]) -> None:
        super().__init__()
        self.question, self.choices = question, choices

    def title_line(self, cells: int) -> Line:  # noqa: ARG002
        return [("Choose", Role.HEADING)]

    def rows(self, cells: int) -> list[Row]:
        return [
            *paragraphs(self.question, cells, Role.STRONG),
            Row([]),
            *(Row([CURSOR, (" " + label, Role.TEXT)], choice) for choice, label in self.choices.items()),
        ]

    def hints(self) -> Line:
        return self.keys_line("choose")

    def action_choose(self) -> None:
        if self.paper.cursor:
            self.dismiss(self.paper.cursor)

    def action_yes(self) -> None:
        """A choice is made with the cursor."""


class SpanDialog(Dialog[float]):
    """For how long something is to be, in seconds."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.CHOICE))
    cells = 84
    CHOICES: ClassVar[tuple[float, ...]]
    heading: ClassVar[str]
    yes: ClassVar[str]
    question: ClassVar[str]

    def __init__(self, title: str) -> None:
        super().__init__()
        self.about = title

    def title_line(self, cells: int) -> Line:  # noqa: ARG002
        return [(self.heading, Role.HEADING)]

    def rows(self, cells: int) -> list[Row]:
        return [
            *paragraphs(f"{self.question.format(title=self.about)} For how long?", cells),
            Row([]),
            *(Row([CURSOR, (f" {format_duration(seconds)}", Role.TEXT)], str(seconds)) for seconds in self.CHOICES),
        ]

    def hints(self) -> Line:
        return self.keys_line("yes", instead={"yes": self.yes})

    def action_yes(self) -> None:
        self.dismiss(float(self.paper.cursor))

    def action_choose(self) -> None:
        """Enter confirms nothing."""


class PauseDialog(SpanDialog):
    """For how long a component is not polled."""

    CHOICES = (900.0, 3600.0, 4 * 3600.0, 24 * 3600.0)
    heading = "Pause polling"
    yes = "pause"
    question = "Stop polling {title}? It shows PAUSED meanwhile, and no incident opens."


class MaintenanceDialog(SpanDialog):
    """For how long the alarms of a component are muted."""

    CHOICES = (1800.0, 2 * 3600.0, 4 * 3600.0, 8 * 3600.0, 24 * 3600.0)
    heading = "Maintenance"
    yes = "mute its alarms"
    question = "Mute the alarms of {title}? Its checks go on, and what would have been alarmed is shown."


class QuitDialog(Dialog[Literal["keep", "stop"]]):
    """Whether the engine goes on watching when the board is gone."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.CHOICE))
    cells = 84

    def title_line(self, cells: int) -> Line:  # noqa: ARG002
        return [("Leave the board", Role.HEADING)]

    @property
    def in_flight(self) -> list[str]:
        """What has not ended: switches, and the drill that is running."""
        found = [f"a switch of {row['title']}" for row in self.state.rows.values() if row["switch"] is not None]
        drills = self.state.summary["drills"] if self.state.summary is not None else None
        return [*found, f"drill {drills['drill']}"] if drills is not None and drills["running"] else found

    def rows(self, cells: int) -> list[Row]:
        rows = [
            *paragraphs(
                "The engine can go on watching: checks run and incidents open while no board is. You are asked once.",
                cells,
            ),
            Row([]),
            Row([CURSOR, (" keep watching", Role.STRONG), ("   the engine goes on", Role.DIM)], "keep"),
        ]
        if self.in_flight:
            return [
                *rows,
                Row([]),
                *paragraphs(
                    f"It cannot be stopped now: {', '.join(self.in_flight)} is in flight.",
                    cells,
                    Role.DEGRADED,
                ),
            ]
        return [
            *rows,
            Row(
                [CURSOR, (" stop", Role.STRONG), ("            nothing is watched, nothing is noticed", Role.DIM)],
                "stop",
            ),
        ]

    def hints(self) -> Line:
        return self.keys_line("yes", instead={"yes": "leave the board"})

    def action_yes(self) -> None:
        self.dismiss("stop" if self.paper.cursor == "stop" and not self.in_flight else "keep")

    def action_choose(self) -> None:
        """Enter confirms nothing."""


class FaultDialog(Dialog[None]):
    """The demo's menu: a service of the example operation, and a way to break it."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.CHOICE))
    cells = 100

    def __init__(self) -> None:
        super().__init__()
        self.services: dict[str, list[dict[str, Any]]] = {}
        self.service = ""

    async def load(self) -> None:
        self.services = (await self.board.session.demo()).get("services", {})

    def title_line(self, cells: int) -> Line:  # noqa: ARG002
        if self.service:
            return [("Break something  ", Role.HEADING), (self.service, Role.STRONG)]
        return [("Break something", Role.HEADING)]

    def rows(self, cells: int) -> list[Row]:
        if self.trouble:
            return paragraphs(self.trouble, cells, Role.ALERT)
        if not self.services:
            return [Row([("This is not the demo, or it offers nothing to break.", Role.DIM)])]
        if not self.service:
            return [
                Row([CURSOR, (f" {left(name, 20)}", Role.STRONG), (f" {len(faults)} faults", Role.DIM)], name)
                for name, faults in self.services.items()
            ]
        return [
            Row(
                [CURSOR, (f" {left(entry['fault'], 18)} ", Role.STRONG), (entry["description"], Role.TEXT)],
                entry["fault"],
            )
            for entry in self.services[self.service]
        ]

    def hints(self) -> Line:
        return self.keys_line("choose", instead={"choose": "inject it" if self.service else "choose the service"})

    def action_choose(self) -> None:
        if not self.paper.cursor:
            return
        if not self.service:
            self.service = self.paper.cursor
            self.paper.show([])  # of what it can be broken by, the first stands at the cursor
            self.draw()
        else:
            self.board.run_worker(self._inject(self.service, self.paper.cursor), exit_on_error=False)
            self.dismiss(None)

    async def _inject(self, service: str, fault: str) -> None:
        try:
            await self.board.session.inject(service, fault)
        except SessionError as error:
            self.board.say(str(error), severity="error")
        else:
            self.board.say(f"{service}: {fault}. Watch the wall.")

    def action_leave(self) -> None:
        if self.service:
            self.service = ""
            self.draw()
        else:
            self.dismiss(None)

    def action_yes(self) -> None:
        """A fault is chosen with the cursor."""
