"""Plugin output: what the guidelines say, what real plugins print, and what nobody should."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.kinds.nagios import Performance, Range, parse, parse_range


def test_a_line_without_performance_data_is_text() -> None:
    found = parse("connect to address 127.0.0.1 and port 1: Connection refused\n")
    assert found.text == "connect to address 127.0.0.1 and port 1: Connection refused"
    assert (found.long_text, found.performance, found.complaints) == ("", (), ())


def test_text_long_text_and_performance_data_on_several_lines_are_told_apart() -> None:
    found = parse("DISK OK | /=2643MB;5948;5958;0;5968\n/ 15272 MB\n/boot 68 MB | /boot=68MB;88\n/home=69357MB\n")
    assert found.text == "DISK OK"
    assert found.long_text == "/ 15272 MB\n/boot 68 MB"
    assert [(item.label, item.value) for item in found.performance] == [
        ("/", 2643),
        ("/boot", 68),
        ("/home", 69357),
    ]
    assert found.complaints == ()


def test_output_of_real_plugins_is_read() -> None:
    found = parse(
        "TCP OK - 0.000 second response time on localhost port 22|time=0.000068s;0.500000;1.000000;0.000000;10.000000\n"
    )
    assert found.performance == (Performance("time", 0.000068, "s", Range(0, 0.5), Range(0, 1.0), 0.0, 10.0),)
    found = parse("PROCS OK: 0 processes with command name 'x' | procs=0;;1:10;0;")
    assert found.performance == (Performance("procs", 0, "", None, Range(1, 10), 0.0, None),)
    assert parse("OK - all well;|").performance == ()
    assert parse("USERS OK|\r\nmore\r\n").long_text == "more"


def test_labels_in_quotes_keep_spaces_equal_signs_and_quotes() -> None:
    found = parse("ok | 'free space'=3GB 'a=b'=1 'it''s'=2;~:5 ''''=4")
    assert [(item.label, item.value) for item in found.performance] == [
        ("free space", 3), ("a=b", 1), ("it's", 2), ("'", 4),
    ]  # fmt: skip
    assert found.complaints == ()


def test_an_unknown_value_is_no_number_and_no_complaint() -> None:
    (item,) = parse("x | load=U;5;10").performance
    assert item.value is None
    assert item.crit == Range(0, 10)


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("time=0,5s", "'0,5s' of 'time' is no number"),
        ("time=", "'' of 'time' is no number"),
        ("time", "'time' is no label=value"),
        ("=5", "'=5' is no label=value"),
        ("'open=5", None),
        ("a=1e999", "no number"),
        ("a=nan", "no number"),
        ("a=1;ten", "'ten' is no number"),
        ("a=1;20:10", "start lies above its end"),
        ("a=1;;;low", "'low' is no number"),
        ("a=1;2;3;4;5;6", "more than value;warn;crit;min;max"),
        ("a=1 a=2", "comes twice"),
    ],
)
def test_garbage_in_one_item_is_told_and_spares_the_others(written: str, complaint: str | None) -> None:
    found = parse(f"ok | good=1 {written} fine=2")
    labels = [item.label for item in found.performance]
    assert labels[0] == "good"
    assert labels[-1] == "fine"
    if complaint is not None:
        assert any(complaint in told for told in found.complaints), found.complaints


def test_of_two_items_with_one_label_the_first_counts() -> None:
    assert [item.value for item in parse("ok | a=1 a=2").performance] == [1]


@pytest.mark.parametrize(
    ("written", "fine", "alerting"),
    [
        ("10", [0, 10], [-1, 10.1]),
        ("10:", [10, 1e9], [9.9, -1]),
        ("~:10", [-1e9, 10], [10.1]),
        ("10:20", [10, 20], [9.9, 20.1]),
        ("@10:20", [9.9, 20.1], [10, 15, 20]),
        (":5", [0, 5], [-1]),
        ("@5", [-1, 6], [0, 5]),
        ("-5:-1", [-5, -1], [0]),
        ("1e2:2.5e2", [100, 250], [99]),
    ],
)
def test_a_range_alerts_as_the_guidelines_say(written: str, fine: list[float], alerting: list[float]) -> None:
    found = parse_range(written)
    assert [found.alerts(value) for value in fine] == [False] * len(fine)
    assert [found.alerts(value) for value in alerting] == [True] * len(alerting)


@pytest.mark.parametrize("written", ["", "@", "ten", "1:2:3", "5:~", "20:10", "1_000", "٣", "0x10", "inf", " 5"])
def test_what_is_no_range_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="is no range"):
        parse_range(written)


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9), st.floats(-2e9, 2e9))
def test_an_inside_range_alerts_exactly_where_the_plain_one_does_not(one: float, two: float, value: float) -> None:
    start, end = sorted((one, two))
    plain, inside = parse_range(f"{start!r}:{end!r}"), parse_range(f"@{start!r}:{end!r}")
    assert plain.alerts(value) is not inside.alerts(value)
    assert plain.alerts(value) is (value < start or value > end)


_labels = st.text(
    st.characters(exclude_characters="\r\n|", exclude_categories=("Cs", "Zs", "Zl", "Zp", "Cc")),
    min_size=1,
    max_size=40,
)
_values = st.one_of(
    st.none(), st.integers(-(10**12), 10**12).map(float), st.floats(allow_nan=False, allow_infinity=False)
)


@given(st.dictionaries(_labels, st.tuples(_values, st.sampled_from(["", "s", "%", "KB", "c", "us"])), max_size=8))
def test_what_a_correct_plugin_prints_is_read_back(items: dict[str, tuple[float | None, str]]) -> None:
    written = " ".join(
        "'" + label.replace("'", "''") + "'=" + ("U" if value is None else f"{value!r}{unit}")
        for label, (value, unit) in items.items()
    )
    found = parse(f"TEXT | {written}")
    assert found.complaints == ()
    assert {item.label: item.value for item in found.performance} == {label: v for label, (v, _) in items.items()}


@given(st.text())
def test_no_text_raises(text: str) -> None:
    found = parse(text)
    assert all(item.value is None or math.isfinite(item.value) for item in found.performance)


@given(st.text(alphabet="'=;|:@~U.e1 \n\t,%-", max_size=300))
def test_no_heap_of_special_characters_raises(text: str) -> None:
    parse("x|" + text)


@pytest.mark.parametrize("unit", ["''' ", "'", "' '", "=", "a=1;", "a=@", "| ", "1e", "''"])
def test_sixty_four_kilobytes_of_garbage_are_read_and_few_complaints_made(unit: str) -> None:
    found = parse("x|" + unit * (65536 // len(unit)))
    assert len(found.complaints) <= 21
