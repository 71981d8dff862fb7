"""The page of readiness: scores, gaps with what closes them, and what fails together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.board.fake_session import START, FakeSession, gap, readiness

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.board.conftest import Stage

    Board = Callable[..., AbstractAsyncContextManager[Stage]]


def coupling(one: str, other: str, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "one": one, "other": other, "failures": [5, 9], "together": 4, "expected": 0.02, "ratio": 200.0,
        "p_value": 2e-6, "explained": "", "times": [START - 7200],
    }  # fmt: skip
    return made | changes


def unready(session: FakeSession) -> None:
    """Two gaps, and three components that fail together."""
    session.readiness_found = readiness(
        74, [gap("the backup ses was never tested", "email"), gap("nobody owns it", "crm", rule="no-owner")]
    )
    session.coupled = [
        coupling("email", "website"),
        coupling("crm", "leads"),
        coupling("crm", "email", explained="crm depends on email"),
    ]


async def test_what_fails_together_and_should_be_isolated_stands_above_the_gaps(board: Board) -> None:
    async with board(unready) as stage:
        await stage.press("8")
        page = stage.page
        assert "email + website" in page
        assert "4 of 5 and 9 failures within the same minute; 0.02 by chance, p 2e-06, last 2h ago" in page
        assert "crm + email" not in page, "that is explained by the files"
        assert page.index("crm + leads") < page.index("the backup ses was never tested")


async def test_a_component_shows_only_what_fails_together_with_it(board: Board) -> None:
    async with board(unready) as stage:
        await stage.press("8", "down", "home", "enter")
        assert "email + website" in stage.page
        assert "crm + leads" not in stage.page
        await stage.press("escape")
        assert "crm + leads" in stage.page


async def test_where_nothing_fails_together_nothing_is_said(board: Board) -> None:
    def before(session: FakeSession) -> None:
        unready(session)
        session.coupled = session.coupled[2:]

    async with board(before) as stage:
        await stage.press("8")
        assert "FAIL TOGETHER" not in stage.page
        assert "nobody owns it" in stage.page
