"""Dotted paths, and the bodies that they lead into."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.kinds.bodies import decode_text, parse_json
from opsdash.kinds.paths import lookup, parse_path, spell

VALUES = {"json": {"data": [{"id": 7, "x-y": None}, {"a.b": [1]}], "7": "seven"}, "headers": {"x-id": "1"}}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("json.data[0].id", 7),
        ("json.data[-1]['a.b'][0]", 1),
        ("json.data[0].x-y", None),
        ('headers["x-id"]', "1"),
        ("json[7]", "seven"),
        ("json.7", "seven"),
    ],
)
def test_a_path_leads_to_its_value(path: str, value: Any) -> None:
    assert lookup(VALUES, path) == value


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        ("json.date[0].id", "json.date"),
        ("json.data[9].id", "json.data[9]"),
        ("json.data.id", "json.data.id"),
        ("json.data[0].id.more", "json.data[0].id.more"),
        ("headers['x y']", 'headers["x y"]'),
        ("json.data[0].id[0]", "json.data[0].id[0]"),
    ],
)
def test_where_a_path_breaks_off_is_told(path: str, missing: str) -> None:
    with pytest.raises(KeyError) as caught:
        lookup(VALUES, path)
    assert caught.value.args == (missing,)


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "a[", "a[x]", "a[0", " a", "a.[0]", "a[0]b", "a['b"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        parse_path(path)


@given(
    st.lists(st.integers(0, 99) | st.text(st.characters(exclude_characters='"', exclude_categories=["Cs"]), min_size=1))
)
def test_a_spelled_path_is_read_as_the_same(steps: list[str | int]) -> None:
    steps = ["start", *steps]
    spelled = spell(steps)
    if "\n" not in spelled and all(str(step).strip() for step in steps):
        assert [str(step) for step in parse_path(spelled)] == [str(step) for step in steps]


def test_json_of_strange_numbers_and_letters_is_tamed() -> None:
    parsed = parse_json('{"big": 123456789012345678901234567890, "edge": 9223372036854775807, "half": "\\ud800x"}')
    assert parsed["big"] == 1.2345678901234568e29
    assert isinstance(parsed["big"], float)
    assert parsed["edge"] == 9223372036854775807
    assert parsed["half"] == "\ufffdx"
    assert parse_json(b'\xef\xbb\xbf{"a": "\\ud83d\\ude00"}') == {"a": "\U0001f600"}


@given(st.binary(max_size=100))
def test_json_is_read_or_refused_and_never_anything_else(body: bytes) -> None:
    try:
        parse_json(body)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("content_type", "text"),
    [
        ("text/plain; charset=ISO-8859-1", "ä"),
        ("text/plain; charset='latin1'; x=y", "ä"),
        ("text/plain; charset=zlib", "\ufffd"),
        ("text/plain; charset=nonsense", "\ufffd"),
        (None, "\ufffd"),
    ],
)
def test_text_is_decoded_as_named_and_never_fails(content_type: str | None, text: str) -> None:
    assert decode_text(b"\xe4", content_type) == text
