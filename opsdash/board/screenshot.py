"""Pictures of the board for the docs: a session, some keys, and out comes an SVG that is the same every time."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from opsdash.board.app import BoardApp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import tzinfo

    from opsdash.service.session import Session


async def screenshot(
    session: Session,
    *,
    keys: Sequence[str] = (),
    size: tuple[int, int] = (120, 36),
    theme: str | None = None,
    clock: Callable[[], float] = lambda: 0.0,
    after_open: Callable[[], None] = lambda: None,
    tz: tzinfo = UTC,
) -> str:
    """The board over `session` after `keys` were pressed, as SVG.

    `clock` stands still, so that no age moves; dialogs take no key in their first 300 ms, so a caller that presses
    keys within dialogs moves its clock on in `after_open`, which is called after each key.
    """
    app = BoardApp(session, theme=theme, clock=clock, tz=tz)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
            await pilot.pause()
            after_open()
        app.tick()
        await pilot.pause()
        return app.export_screenshot(title=app.TITLE)
