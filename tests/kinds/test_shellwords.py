"""Manual commands, given to a real shell."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsdash.kinds.shellwords import shell_command, shell_word

if TYPE_CHECKING:
    from pathlib import Path


def in_shell(word: str, **env: str) -> str:
    done = subprocess.run(
        ["sh", "-c", f"printf %s {word}"], env={"PATH": "/usr/bin:/bin", **env}, capture_output=True, check=True
    )
    return done.stdout.decode()


@pytest.mark.parametrize(
    "text", ["", "plain", "two words", "it's", "$(touch /tmp/x)", "`id`", '"', "\\", "a\nb", "*", "${", "$NAME", "-n"]
)
def test_what_is_no_reference_reaches_the_program_as_it_is(text: str) -> None:
    assert in_shell(shell_word(text) if text != "-n" else f"x{shell_word(text)}") in {text, f"x{text}"}


@settings(max_examples=50)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).filter(lambda text: "${" not in text))
def test_no_text_escapes_its_quotes(text: str) -> None:
    assert in_shell("x" + shell_word(text)) == "x" + text


def test_references_are_filled_in_by_the_shell(tmp_path: Path) -> None:
    secret = tmp_path / "o'brien's key"
    secret.write_text("s3cret *\n")
    assert in_shell(shell_word(f"Bearer ${{file:{secret}}}!")) == "Bearer s3cret *!"
    assert in_shell(shell_word("${TOKEN}-${TOKEN}"), TOKEN="a b") == "a b-a b"
    assert in_shell(shell_word('${REGION:-eu $(id) "x" `y` \\z}')) == 'eu $(id) "x" `y` \\z'
    assert in_shell(shell_word("${REGION:-eu}"), REGION="us") == "us"
    assert in_shell(shell_word("${cmd:printf %s 'a  b; id'}")) == "a  b; id"


def test_a_command_is_printed_without_its_secrets() -> None:
    assert shell_command(["curl", "-H", "X: ${file:/k}", "${NAME}"]) == 'curl -H \'X: \'"$(cat /k)" "$NAME"'
