"""Proof: evidence that still counts, while it is young enough and what it proved still stands."""

from __future__ import annotations

import pytest

from opsdash.core import proofs
from opsdash.model.world import Proof, World
from opsdash.testing import component, provider

SHOP = component("shop", providers=[provider("main"), provider("one"), provider("two")])
NOW = 1_000_000_000.0
DAY = 86400.0


def best(**proved: tuple[float, str]) -> tuple[str, float | None]:
    """The best proof of a backup, of those proved so many days ago, by that definition."""
    world = World()
    for name, (days, sha256) in proved.items():
        world.apply([("proofs", f"shop/{name}", Proof(NOW - days * DAY, "a drill", sha256))])
    return proofs.best_backup(world, SHOP, NOW)


@pytest.mark.parametrize(
    ("days", "sha256", "expected"),
    [(99.9, "sha of shop", proofs.FRESH), (100.0, "sha of shop", proofs.OLD), (1.0, "another", proofs.CHANGED)],
)
def test_it_counts_for_a_hundred_days_and_for_what_it_proved(days: float, sha256: str, expected: str) -> None:
    assert best(one=(days, sha256)) == (expected, NOW - days * DAY)


def test_the_best_of_several_backups_counts_and_of_equals_the_latest() -> None:
    assert best(one=(1.0, "another"), two=(200.0, "sha of shop"))[0] == proofs.OLD
    assert best(one=(50.0, "sha of shop"), two=(10.0, "sha of shop")) == (proofs.FRESH, NOW - 10 * DAY)
    assert best(one=(10.0, "sha of shop"), two=(50.0, "sha of shop")) == (proofs.FRESH, NOW - 10 * DAY)


def test_that_the_primary_works_proves_nothing_about_a_backup() -> None:
    assert best(main=(1.0, "sha of shop")) == (proofs.NEVER, None)


def test_without_a_backup_there_is_nothing_to_prove() -> None:
    lonely = component("shop", providers=[provider("main")])
    assert proofs.best_backup(World(), lonely, NOW) == (proofs.NO_BACKUP, None)
