"""Couplings in histories of which the truth is known."""

from __future__ import annotations

import random

import pytest

from opsdash.core.couplings import APART, WIDESPREAD, Found, couplings, upper_tail, worsened
from opsdash.model.status import Status

DAY = 86400.0
SPAN = 90 * DAY


def by_chance(seed: int, names: int, failures: int) -> dict[str, list[float]]:
    """Components that fail independently, at any time alike."""
    dice = random.Random(seed)  # noqa: S311 - a simulation
    return {f"c{number:03}": [dice.uniform(0, SPAN) for _ in range(failures)] for number in range(names)}


def pairs(found: Found) -> list[tuple[str, str]]:
    return [(each.one, each.other) for each in found.couplings]


@pytest.mark.parametrize("seed", range(5))
def test_what_fails_independently_is_not_called_coupled(seed: int) -> None:
    found = couplings(by_chance(seed, names=60, failures=60), SPAN, {})
    assert found.tested == 60 * 59 // 2
    assert found.couplings == ()


@pytest.mark.parametrize("seed", range(5))
def test_a_hidden_cause_of_some_failures_is_found_among_many_components(seed: int) -> None:
    histories = by_chance(seed, names=60, failures=30)
    dice = random.Random(seed + 100)  # noqa: S311 - a simulation
    cause = [dice.uniform(0, SPAN) for _ in range(6)]
    histories["crm"] = [*histories["c000"], *(at + dice.uniform(0, 20) for at in cause)]
    histories["email"] = [*histories["c001"], *(at + dice.uniform(0, 20) for at in cause)]
    del histories["c000"], histories["c001"]
    found = couplings(histories, SPAN, {})
    assert pairs(found) == [("crm", "email")]
    [coupling] = found.couplings
    assert coupling.together >= 5  # one may come close after another failure of the same component
    assert coupling.expected < 1
    assert coupling.ratio > 10
    assert coupling.explained == ""


COMMON = [DAY * number for number in range(1, 8)]


def test_what_depends_on_each_other_is_explained_and_comes_last() -> None:
    histories = dict.fromkeys(("db", "shop", "mail", "crm"), COMMON)
    found = couplings(histories, SPAN, {"shop": ["db"], "mail": ["db"], "db": [], "crm": []})
    explained = {(each.one, each.other): each.explained for each in found.couplings}
    assert explained == {
        ("crm", "db"): "",
        ("crm", "mail"): "",
        ("crm", "shop"): "",
        ("db", "mail"): "mail depends on db",
        ("db", "shop"): "shop depends on db",
        ("mail", "shop"): "both depend on db",
    }
    assert [bool(each.explained) for each in found.couplings] == [False] * 3 + [True] * 3


def test_a_circle_of_dependencies_does_no_harm() -> None:
    found = couplings({"a": COMMON, "b": COMMON}, SPAN, {"a": ["b"], "b": ["a"]})
    assert [each.explained for each in found.couplings] == ["a depends on b"]


def test_two_common_failures_are_an_accident() -> None:
    assert couplings({"a": [*COMMON[:2], 50 * DAY], "b": [*COMMON[:2], 60 * DAY]}, SPAN, {}).couplings == ()


def test_a_bad_hour_is_one_failure() -> None:
    flapping = [DAY + 30 * number for number in range(100)]
    found = couplings({"a": flapping, "b": flapping}, SPAN, {})
    assert (found.components, found.couplings) == (0, ())
    assert APART > 60


def test_the_minute_counts_across_the_edge_of_a_clocks_minute() -> None:
    later = [at + 59 for at in COMMON]
    assert pairs(couplings({"a": COMMON, "b": later}, SPAN, {})) == [("a", "b")]
    assert pairs(couplings({"a": COMMON, "b": [at + 61 for at in COMMON]}, SPAN, {})) == []


def test_failures_that_were_made_on_purpose_are_left_out() -> None:
    drills = [(at - 5, at + 5) for at in COMMON]
    assert couplings({"a": COMMON, "b": COMMON}, SPAN, {}, drills).couplings == ()


def test_where_very_many_fail_at_once_it_says_nothing_of_pairs() -> None:
    histories = {f"c{number}": COMMON for number in range(WIDESPREAD + 10)}
    found = couplings(histories, SPAN, {})
    assert (found.widespread, found.couplings) == (len(COMMON), ())


def test_nothing_was_watched() -> None:
    assert couplings({"a": COMMON, "b": COMMON}, 0, {}).couplings == ()
    assert couplings({}, SPAN, {}).tested == 0


@pytest.mark.parametrize(
    ("least", "trials", "share", "expected"),
    [(0, 10, 0.1, 1.0), (1, 10, 0.1, 1 - 0.9**10), (10, 10, 0.5, 0.5**10), (3, 2, 0.5, 0.0), (1, 5, 0.0, 0.0)],
)
def test_the_upper_tail_of_the_binomial_distribution(least: int, trials: int, share: float, expected: float) -> None:
    assert upper_tail(least, trials, share) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (Status.OK, Status.DOWN, True),
        (Status.OK, Status.DEGRADED, True),
        (Status.DEGRADED, Status.DOWN, True),
        (Status.DOWN, Status.DEGRADED, False),
        (Status.DOWN, Status.OK, False),
        (Status.UNKNOWN, Status.DOWN, False),
        (Status.OK, Status.UNKNOWN, False),
        (Status.PAUSED, Status.DOWN, False),
        (None, Status.DOWN, False),
    ],
)
def test_only_what_was_seen_to_get_worse_counts(before: Status | None, after: Status, expected: bool) -> None:
    assert worsened(before, after) is expected
