"""The short form of the crash matrix; the long one is `make crash-matrix`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.mechanisms.matrix import by_kill, by_prefix
from tests.mechanisms.mechanisms import MECHANISMS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", sorted(MECHANISMS))
async def test_from_every_record_of_a_switch_the_next_engine_finds_the_truth_and_fires_nothing(
    kind: str, tmp_path: Path
) -> None:
    with MECHANISMS[kind](tmp_path) as mechanism:
        ends = await by_prefix(tmp_path, mechanism)
    assert [str(end) for end in ends if end.wrong] == []
    assert {end.cut.split(",")[0] for end in ends} == {
        "after intent",
        "after acting",
        "after settling",
        "after verifying",
    }
    states = {end.cut: end.state for end in ends}
    assert states["after intent, without effect"] == "aborted"
    assert states["after acting, with effect"] == "committed"
    assert states["after acting, without effect"] == "no_effect"


async def test_an_action_that_was_cut_in_the_middle_is_neither_done_nor_without_effect(tmp_path: Path) -> None:
    with MECHANISMS["haproxy"](tmp_path) as mechanism:
        ends = await by_prefix(tmp_path, mechanism, sides=["both"])
    assert [str(end) for end in ends if end.wrong] == []
    assert {(end.state, end.active, end.serves) for end in ends} == {("split", None, "both")}


@pytest.mark.parametrize("kind", ["pointer", "haproxy"])
async def test_killed_at_any_moment_and_again_while_it_recovers_it_ends_where_the_mechanism_is(
    kind: str, tmp_path: Path
) -> None:
    with MECHANISMS[kind](tmp_path) as mechanism:
        ends = await by_kill(tmp_path, mechanism, pairs=3, seed=7)
    assert [str(end) for end in ends if end.wrong] == []
