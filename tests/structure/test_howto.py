"""The how-to pages about switching: what they show is something that opsdash takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from opsdash.cli import parse
from opsdash.cli.base import UsageError
from opsdash.config.loader import load
from opsdash.config.runbooks import parse as parse_runbook

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.glob("howto-switch*.md"))

FENCE = re.compile(r"^[ ]*```(?P<kind>[^\n]*)\n(?P<text>.*?)^[ ]*```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(opsdash [^`]+)`")
TYPED_OR_OFFERED = re.compile(r"^(?:\$ |  way out: )(opsdash .*)$", re.MULTILINE)
IN_A_SCRIPT = re.compile(r"^(opsdash .*)$", re.MULTILINE)
SHELL = re.compile(r"\s(?:\||>|&&|#)\s.*")
"""What follows a command line in a shell: where its output goes, a comment."""

OPSDASH_YAML = "people:\n  maria: {name: Maria}\n  ken: {name: Ken}\n"
ONE_STEP = "---\ntitle: A procedure\nowner: maria\nreviewed: 2026-11-01\n---\n\n## Steps\n\n### Look {#look}\n\nLook.\n"
ANYTHING = "checks: {it: {kind: tcp, host: 127.0.0.1, port: 9}}\n"


def blocks(page: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page: what stands behind the fence, and the text."""
    return [(found["kind"], found["text"]) for found in FENCE.finditer(page.read_text(encoding="utf-8"))]


def component_files(page: Path) -> list[str]:
    """Its YAML blocks that are a whole component file, each with what the page adds to it."""
    files: list[str] = []
    for kind, text in blocks(page):
        if kind.startswith("yaml") and re.search(r"^title:", text, re.MULTILINE):
            files.append(text)
        elif "part of the same file" in kind:
            files[-1] += text
    return files


def command_lines(page: Path) -> list[str]:
    """Every `opsdash …` of a page, in its blocks and between its words."""
    text = page.read_text(encoding="utf-8")
    shown = [
        found
        for kind, block in blocks(page)
        for found in (IN_A_SCRIPT if kind.startswith("sh") else TYPED_OR_OFFERED).findall(block)
    ]
    return [*shown, *INLINE.findall(FENCE.sub("", text).replace("\n", " "))]


def problems_of(text: str, folder: Path) -> list[str]:
    """What is wrong with a component file, in a workspace that has whatever the file refers to."""
    (folder / "checks").mkdir(parents=True)
    (folder / "runbooks").mkdir()
    (folder / "opsdash.yaml").write_text(OPSDASH_YAML)
    named = re.search(r"#\s*checks/([\w-]+)\.yaml", text)
    (folder / "checks" / f"{named[1] if named else 'component'}.yaml").write_text(text)
    for runbook in re.findall(r"runbook: ([\w-]+)", text):
        (folder / "runbooks" / f"{runbook}.md").write_text(ONE_STEP)
    for needed in re.findall(r"needs: \[([\w-]+)\]", text):
        (folder / "checks" / f"{needed}.yaml").write_text(ANYTHING)
    for secret in re.findall(r"\$\{file:([^}]+)\}", text):
        (folder / secret).write_text("bG9uZyBlbm91Z2ggdG8gYmUgYSBzZWNyZXQ=")
        (folder / secret).chmod(0o600)
    loaded = load(folder, {}, 1_795_600_000.0)
    return [str(problem) for problem in loaded.problems]


def alternatives(line: str) -> list[str]:
    """A command line as a person would type it, once for each of `a|b|c`."""
    found = re.search(r"\b\w+(?:\|\w+)+\b", line)
    if found is None:
        return [line]
    return [line.replace(found[0], choice) for choice in found[0].split("|")]


PARAMETERS = [pytest.param(page, id=page.stem) for page in PAGES]


@pytest.mark.parametrize("page", PARAMETERS)
def test_every_component_file_of_a_page_is_a_good_one(page: Path, tmp_path: Path) -> None:
    files = component_files(page)
    assert files, "a page about switching shows a whole component"
    for number, text in enumerate(files):
        assert problems_of(text, tmp_path / str(number)) == []


@pytest.mark.parametrize("page", PARAMETERS)
def test_every_command_line_of_a_page_is_one_that_opsdash_takes(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [choice for line in command_lines(page) for choice in alternatives(SHELL.sub("", line))]
    assert lines
    refused = []
    for line in lines:
        try:
            parse(shlex.split(line)[1:])
        except (SystemExit, UsageError) as error:
            refused.append(f"{line}: {error} {capsys.readouterr().err}")
    assert refused == []


def test_every_page_about_a_mechanism_is_linked_from_what_they_have_in_common() -> None:
    common = (DOCS / "howto-switching.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if page.stem != "howto-switching" and page.name not in common] == []


def test_the_runbook_that_is_shown_can_be_executed_as_it_stands() -> None:
    text = (DOCS / "howto-runbooks.md").read_text(encoding="utf-8")
    shown = re.search(r"^````markdown [^\n]*\n(.*?)^````$", text, re.MULTILINE | re.DOTALL)
    assert shown is not None
    runbook, findings = parse_runbook("orders-db-down", shown[1], "runbooks/orders-db-down.md")
    assert findings == ()
    assert runbook.executable
    assert [step.id for step in runbook.steps][-1] == "stand-down"
