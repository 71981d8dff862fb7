"""Times as programs write them."""

from __future__ import annotations

import pytest

from opsdash.model.now import parse_moment

NEW_YEAR = 1_767_225_600.0


@pytest.mark.parametrize(
    "value",
    ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", 1_767_225_600, 1_767_225_600.0, 1_767_225_600_000],
)
def test_a_moment_is_read_from_texts_with_an_offset_and_from_numbers(value: object) -> None:
    assert parse_moment(value) == NEW_YEAR


@pytest.mark.parametrize("value", ["yesterday", "", True, None, ["2026"], {"at": 1}])
def test_anything_else_is_no_time(value: object) -> None:
    with pytest.raises(ValueError, match="is no time"):
        parse_moment(value)


def test_a_time_without_an_offset_is_refused_since_nobody_can_tell_which_it_means() -> None:
    with pytest.raises(ValueError, match="names no time zone"):
        parse_moment("2026-01-01T00:00:00")
