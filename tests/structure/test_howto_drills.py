"""The pages about drills: their files are good ones in the example operation, their commands are taken."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest

from opsdash.cli import parse
from opsdash.cli.base import UsageError
from opsdash.config.loader import load
from opsdash.demo.example import copy_example
from tests.structure.test_howto import SHELL, alternatives, command_lines

if TYPE_CHECKING:
    from pathlib import Path

WHOLE_FILE = re.compile(r"^```yaml\n(# drills/(\S+)\.yaml\n.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = ("drills", "howto-drills")


def test_every_drill_that_is_shown_can_be_run_in_the_example(root: Path, tmp_path: Path) -> None:
    shown = WHOLE_FILE.findall((root / "docs" / "howto-drills.md").read_text(encoding="utf-8"))
    assert len(shown) == 5
    copy_example(tmp_path / "shop")
    for text, name in shown:
        (tmp_path / "shop" / "drills" / f"{name}.yaml").write_text(text)
    loaded = load(tmp_path / "shop", {"USER": "maria"}, 1_795_600_000.0)
    assert [str(problem) for problem in loaded.problems] == []
    assert {loaded.operation.drills[name].off for _, name in shown} == {""}


@pytest.mark.parametrize("page", PAGES)
def test_every_command_line_of_a_page_is_one_that_opsdash_takes(
    root: Path, page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = command_lines(root / "docs" / f"{page}.md")
    refused = []
    for line in (choice for each in lines for choice in alternatives(SHELL.sub("", each))):
        try:
            parse(shlex.split(line)[1:])
        except (SystemExit, UsageError) as error:
            refused.append(f"{line}: {error} {capsys.readouterr().err}")
    assert lines
    assert refused == []


def test_what_the_page_says_of_the_example_stands_in_its_file(root: Path) -> None:
    page = (root / "docs" / "drills.md").read_text(encoding="utf-8")
    loaded = load(root, {"USER": "maria"}, 1_795_600_000.0)
    drill = loaded.operation.drills["email-quarterly"]
    assert f"Drill of email: {drill.title}  level {drill.level.value}" in page
    assert drill.expect.load is not None
    assert f"http, {drill.expect.load.times} times within {drill.expect.load.over:.0f}s" in page
    assert f"not affected: {', '.join(drill.expect.unaffected)}" in page
