"""Whatever comes from outside leaves `clean` harmless."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.model.text import clean, clean_lines

FORBIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
NASTY = st.text(
    st.one_of(
        st.characters(codec=None),
        st.sampled_from("\x1b]P[52;c\x07\x9c\x9d\x90\\\u202e\u200b\ufeff\ud800\n\r\t"),
    )
)


@given(NASTY, st.integers(0, 200))
def test_no_control_and_no_invisible_character_survives(text: str, limit: int) -> None:
    cleaned = clean(text, limit)
    assert not [character for character in cleaned if unicodedata.category(character) in FORBIDDEN]
    assert len(cleaned) <= limit


@given(NASTY)
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    assert clean(clean(text)) == clean(text)
    assert clean_lines(clean_lines(text)) == clean_lines(text)


@given(NASTY)
def test_of_many_lines_only_the_line_ends_are_kept(text: str) -> None:
    cleaned = clean_lines(text)
    assert not [
        character for character in cleaned if character != "\n" and unicodedata.category(character) in FORBIDDEN
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain, äöü 日本語 ✓", "plain, äöü 日本語 ✓"),
        ("a\x1b]52;c;ZXZpbA==\x07b", "ab"),
        ("a\x1b]0;title\x1b\\b", "ab"),
        ("a\x9d52;c;ZXZpbA==\x9cb", "ab"),
        ("a\x1bPpayload\x1b\\b", "ab"),
        ("\x1b]52;c;never ended", "␛]52;c;never ended"),
        ("\x1b[31mred", "␛[31mred"),
        ("bell\x07 del\x7f", "bell␇ del␡"),
        ("\x9b2J", "<9B>2J"),
        ("user\u202etxt.exe", "user<U+202E>txt.exe"),
        ("zero\u200bwidth", "zero<U+200B>width"),
        ("a\nb", "a␊b"),
        ("\ud800", "\ufffd"),
        ("[bold]no markup[/]", "[bold]no markup[/]"),
    ],
)
def test_what_a_person_then_sees(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_a_long_text_is_cut_and_says_so() -> None:
    assert clean("x" * 5000, 10) == "xxxxxxxxx…"
    assert clean_lines("x\n" * 5000, 10) == "x\nx\nx\nx\nx…"


def test_a_megabyte_of_unfinished_sequences_is_cleaned_in_linear_time() -> None:
    # Anything worse than linear is over the time limit of a test by far.
    assert len(clean("\x1b]" * 500_000, 1_000_000)) == 1_000_000
    assert len(clean("\x9d" * 1_000_000, 1_000_000)) == 1_000_000
