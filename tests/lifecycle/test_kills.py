"""The short form of the kill tests; `make kill-test` is the long one, and writes docs/kill-test.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lifecycle.kills import besieged

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 8
SEED = 11


@pytest.mark.timeout(300)
async def test_nothing_that_was_accepted_is_lost_however_often_the_engine_is_killed(tmp_path: Path) -> None:
    found = await besieged(tmp_path / "w", KILLS, SEED)
    assert not found.wrong, "\n".join(found.wrong)
    assert sum(found.tally.kills.values()) == KILLS
    assert found.ledger.accepted
    assert found.weather.failures
