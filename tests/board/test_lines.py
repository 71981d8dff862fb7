"""Lines keep their width, whatever they hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from opsdash.board.lines import Role, Row, beside, box, clip, cut, fit, left, plain, prose, right, spread, width, wrap
from opsdash.board.words import ago, latency, spark
from opsdash.model.text import clean

TEXT = st.text(max_size=60).map(clean)
LINES = st.lists(st.tuples(TEXT, st.sampled_from(Role)), max_size=5)
CELLS = st.integers(0, 60)


@given(TEXT, CELLS)
def test_cut_never_exceeds_its_cells(text: str, cells: int) -> None:
    assert cell_len(cut(text, cells)) <= cells
    assert cell_len(left(text, cells)) == cells
    assert cell_len(right(text, cells)) == cells


@given(LINES, LINES, CELLS)
def test_lines_are_clipped_and_filled_to_the_cell(
    one: list[tuple[str, Role]], two: list[tuple[str, Role]], cells: int
) -> None:
    assert width(clip(one, cells)) <= cells
    assert width(fit(one, cells)) == cells
    assert width(spread(one, two, cells)) <= cells


@given(TEXT, st.integers(2, 60))
def test_wrapped_lines_fit_and_lose_nothing_but_spaces(text: str, cells: int) -> None:
    lines = wrap(text, cells)
    assert all(cell_len(line) <= cells for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


@given(st.text(max_size=300), st.integers(0, 60))
def test_prose_of_anything_ends_and_fits(text: str, cells: int) -> None:
    assert all(width(line) <= max(cells, 2) for line in prose(clean(text), cells))


def test_links_are_read_as_their_titles_and_addresses_stay() -> None:
    text = "If this fails: [Switch by hand](#switch-by-hand), see [the vendor](https://vendor.example) or `[a](b)`."
    assert "".join(plain(line) for line in prose(text, 200)) == (
        "If this fails: Switch by hand, see the vendor (https://vendor.example) or [a](b)."
    )


@given(st.lists(LINES, max_size=4), st.integers(1, 60))
def test_a_box_is_a_rectangle(lines: list[list[tuple[str, Role]]], cells: int) -> None:
    framed = box([("title", Role.DIM)], [Row(line) for line in lines], cells)
    if cells >= 8:
        assert {width(row.line) for row in framed} == {cells}


def test_beside_keeps_the_items_of_the_left_side() -> None:
    joined = beside([Row([("a", Role.TEXT)], "one")], [Row([("b", Role.TEXT)]), Row([("c", Role.TEXT)])], 3)
    assert [plain(row.line) for row in joined] == ["a  b", "   c"]
    assert [row.item for row in joined] == ["one", ""]
    assert joined[0].reach == 2


@pytest.mark.parametrize(
    ("values", "bars"),
    [([30.0, 30.0, 30.0], "▃▃▃"), ([30.0, 30.0, 300.0], "▃▃█"), ([None, 30.0], "×▃"), ([], ""), ([0.0], "▁")],
)
def test_a_steady_line_is_low_a_spike_is_high_and_a_failure_is_marked(values: list[float | None], bars: str) -> None:
    assert plain(spark(values, len(values))) == bars


def test_a_short_history_stands_at_the_right() -> None:
    assert plain(spark([30.0], 4)) == "   ▃"


def test_latencies_and_ages() -> None:
    assert [latency(value) for value in (None, 0.0312, 1.26, 120.0)] == ["—", "31ms", "1.3s", "120s"]
    assert ago(None, 10.0) == "—"
    assert ago(10.0, 9.0) == "0ms"
    assert ago(10.0, 262.0) == "4m12s"
