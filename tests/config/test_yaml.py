"""YAML 1.2 to plain values, whatever the bytes are."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.config import yaml
from opsdash.config.yaml import MAX_DEPTH, Marks, read


@pytest.mark.parametrize(
    "word", ["off", "on", "no", "yes", "Off", "y", "n", "1:30", "1_000", "2026-12-24", "0b11", "<"]
)
def test_what_yaml_1_1_took_for_something_else_is_a_word(word: str) -> None:
    assert read(f"key: {word}".encode()).value == {"key": word}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("False", False), ("NULL", None), ("~", None), ("", None),
        ("017", 17), ("0o17", 15), ("0x1F", 31), ("-12", -12), ("+3", 3),
        ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("-.inf", -math.inf),
        ("'true'", "true"), ('"12"', "12"),
    ],
)  # fmt: skip
def test_scalars_mean_what_the_core_schema_says(text: str, value: object) -> None:
    found = read(f"key: {text}".encode()).value["key"]
    assert found == value
    assert type(found) is type(value)


def test_keys_are_text_as_they_are_written() -> None:
    assert read(b"200: a\ntrue: b\n").value == {"200": "a", "true": "b"}


def test_a_duplicate_key_is_a_flaw_in_its_line_and_the_first_one_counts() -> None:
    tree = read(b"a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n")
    assert tree.value == {"a": 1, "b": {"c": 1, "d": 2}}
    assert [(flaw.line, flaw.path) for flaw in tree.flaws] == [(5, ("b", "c"))]
    assert "first is in line 3" in tree.flaws[0].message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a: 1\n---\nb: 2\n", "second document"),
        (b"a: b: c\n", "mapping values are not allowed"),
        (b"\ta: 1\n", "cannot start any token"),
        (b"a: [1\n", "quote a text"),
        (b"\xff\xfe\x00", "no UTF-8"),
        (b"a: *nobody\n", "undefined alias"),
        (b"a: \x07\n", "control characters"),
        (b"a: &x [*x]\n", "without end"),
        (b"[" * 200_000, f"more than {MAX_DEPTH} levels"),
        (b"- " * 200_000, f"more than {MAX_DEPTH} levels"),
        (b"a: " + b"x" * (yaml.MAX_BYTES + 1), "bytes"),
    ],
)
def test_what_cannot_be_read_is_a_fatal_flaw_and_no_exception(text: bytes, said: str) -> None:
    tree = read(text)
    assert tree.fatal
    assert said in f"{tree.flaws[0].message} {tree.flaws[0].hint}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a: !!python/object:os.system x\n", "tags"),
        (b"a: !mine {b: 1}\n", "tags"),
        (b"a: &x {b: 1}\nc:\n  <<: *x\n", "merge keys"),
        (b"? [a, b]\n: 1\n", "a key cannot be"),
        (b"a: " + b"9" * 5000 + b"\n", "too long"),
    ],
)
def test_what_constructs_or_merges_is_refused_where_it_stands(text: bytes, said: str) -> None:
    tree = read(text)
    assert not tree.fatal
    assert [said in flaw.message for flaw in tree.flaws] == [True]


def test_an_alias_repeats_a_value_but_not_without_bounds() -> None:
    assert read(b"a: &x [1, 2]\nb: *x\n").value == {"a": [1, 2], "b": [1, 2]}
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    tree = read("\n".join(lines).encode())
    assert tree.fatal
    assert "expands to more than" in tree.flaws[0].message


def test_marks_find_the_line_of_a_key_and_of_a_list_entry() -> None:
    marks = Marks(b"a:\n  b:\n    - x\n    - y\n  c: {d: 1}\n")
    assert marks.line(("a", "b")) == 2
    assert marks.line(("a", "b", 1)) == 4
    assert (marks.line(("a", "c", "d")), marks.column(("a", "c", "d"))) == (5, 7)
    assert marks.line(("a", "missing", "d")) == 1, "the nearest thing around it"


@given(st.binary(max_size=300))
def test_any_bytes_give_a_tree_or_flaws(data: bytes) -> None:
    tree = read(data)
    assert tree.value is None or not tree.fatal
    Marks(data).line(("a", 0))


@given(st.text(alphabet=":-{}[]&*!|>'\"#%@`,? \nabc01~<.\t\\", max_size=80))
def test_any_punctuation_gives_a_tree_or_flaws(text: str) -> None:
    tree = read(text.encode())
    assert tree.value is None or not tree.fatal
