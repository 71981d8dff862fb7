"""Draws the pictures of the documentation: the board on the example operation, in an outage and in a drill.

    python -m tools.pictures

Nothing is staged: the example operation runs, the provider is really broken, the switch and the drill really happen. So
times and latencies differ from run to run, and the pictures are drawn by hand when the board has changed.
"""

from __future__ import annotations

import asyncio
import html
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from opsdash.board.app import BoardApp
from opsdash.cli.example import Example, running

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from textual.pilot import Pilot

    Scene = Callable[["Photographer", Example], Awaitable[None]]

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
SIZE = (124, 36)
RUNS_FOR = 25.0
"""Seconds before anything happens, so that there is a past to see."""

SEEN_WITHIN = 30.0
LOOK_EVERY = 0.1
READS_FOR = 0.5
"""A dialog that has just opened takes no key: nobody has read it yet."""

_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
"""Textual's pictures fetch their font from elsewhere; any monospaced one does."""


class Photographer:
    """A board, the keys pressed on it, and the pictures taken of it."""

    def __init__(self, app: BoardApp, pilot: Pilot[Any]) -> None:
        self._app = app
        self._pilot = pilot

    async def press(self, *keys: str) -> None:
        """Press keys, one after the other, after a look at the screen."""
        await self._pilot.pause(READS_FOR)
        for key in keys:
            await self._pilot.press(key)
            await self._pilot.pause()

    async def wait(self, seconds: float) -> None:
        """Let the operation run."""
        await self._pilot.pause(seconds)

    async def until_shown(self, *texts: str) -> None:
        """Wait until all of the texts are on the screen. Raises TimeoutError with the first that is not."""
        for text in texts:
            try:
                async with asyncio.timeout(SEEN_WITHIN):
                    while text not in self._text():
                        await self._pilot.pause(LOOK_EVERY)
            except TimeoutError:
                raise TimeoutError(f"{text!r} is not shown:\n{self._text()}") from None

    async def take(self, name: str) -> None:
        """Take a picture."""
        await self._pilot.pause(LOOK_EVERY)
        PICTURES.mkdir(parents=True, exist_ok=True)
        (PICTURES / f"{name}.svg").write_text(
            _FONT.sub("", self._app.export_screenshot(title="opsdash")), encoding="utf-8"
        )
        print(f"docs/pictures/{name}.svg")

    def _text(self) -> str:
        found = re.findall(r"<text[^>]*>([^<]*)</text>", self._app.export_screenshot())
        return html.unescape(" ".join(found)).replace("\u00a0", " ")


async def draw(example: Example, scenes: Sequence[Scene]) -> None:
    """The pictures of a story, in its order."""
    example.start_engine()
    session = await example.attach()
    app = BoardApp(session, tz=ZoneInfo("Europe/Berlin"))
    async with app.run_test(size=SIZE) as pilot:
        board = Photographer(app, pilot)
        await board.until_shown("Transactional email")
        await board.wait(RUNS_FOR)
        for scene in scenes:
            await scene(board, example)


# --- an outage: the operator looks, switches, opens the runbook, and looks after the incident -----------------------


async def the_wall(board: Photographer, example: Example) -> None:
    await asyncio.to_thread(example.services.inject, "postmark", "down")
    await board.until_shown("does not answer", "NOT WORKING")
    await board.take("wall")


async def the_component(board: Photographer, _example: Example) -> None:
    await board.press("home", "enter")
    await board.until_shown("providers and their checks")
    await board.take("component")


async def the_plan(board: Photographer, _example: Example) -> None:
    await board.press("f")
    await board.until_shown("curl")
    await board.take("plan")


async def the_switch(board: Photographer, _example: Example) -> None:
    await board.press("y")
    await board.until_shown("committed")
    await board.take("switch")


async def the_runbook(board: Photographer, _example: Example) -> None:
    await board.press("escape", "r")
    await board.until_shown("0 of 6 steps")
    await board.take("runbook")


async def the_incident(board: Photographer, _example: Example) -> None:
    await board.press("escape", "1", "2")
    await board.until_shown("nobody leads it")
    await board.press("a")
    await board.until_shown("is on it", "acknowledged")
    await board.take("incidents")


# --- a drill: the backup is tested on purpose, and what is still to be done is looked at ------------------------------


async def the_drill(board: Photographer, _example: Example) -> None:
    await board.press("7", "slash", *"email-quarterly", "enter", "D")
    await board.until_shown("WHAT UNDOES IT")
    await board.press("y")
    await board.until_shown("service verified", "switched")
    await board.take("drill")


async def the_verdict(board: Photographer, _example: Example) -> None:
    await board.until_shown("PASSED")
    await board.take("drill-passed")


async def the_readiness(board: Photographer, _example: Example) -> None:
    await board.press("escape", "escape", "escape", "8")
    await board.until_shown("of 100", "Transactional email")
    await board.take("readiness")


async def the_what_if(board: Photographer, _example: Example) -> None:
    await board.press("escape", "9")
    await board.until_shown("single points of failure")
    await board.take("what-if")


STORIES: tuple[tuple[Scene, ...], ...] = (
    (the_wall, the_component, the_plan, the_switch, the_runbook, the_incident),
    (the_drill, the_verdict, the_readiness, the_what_if),
)


def main() -> int:
    """The command line."""
    for scenes in STORIES:
        with running() as example:
            asyncio.run(draw(example, scenes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
