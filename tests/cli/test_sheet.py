"""`opsdash sheet`: made from files and journal while nothing runs, and never half a file."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from opsdash.cli import exits
from opsdash.core.sheet import INDEX, MARK
from opsdash.demo.example import copy_example
from opsdash.storage.sheets import write_sheets
from tests.cli.conftest import environment, eventually, process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Ended, Running


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The example operation, in which nothing has ever run."""
    copy_example(tmp_path / "tea")
    return tmp_path / "tea"


def test_the_sheet_of_a_component_is_printed_without_an_engine(run: Callable[..., Ended], shop: Path) -> None:
    ended = run("sheet", "email", "-w", shop)
    assert ended.code == exits.OK
    for part in (
        "# Transactional email",
        "1. Maria Ortiz: maria@shop.example, +49 30 5550 101",
        "2. Ken Adeyemi: ken@shop.example, +49 30 5550 102",
        "- Customers get their order confirmed (essential), shown by `delivery`",
        "  - `ses/smtp`: smtp `127.0.0.1:18104`",
        "Nobody could tell on",
        "### Failover: from Postmark to Amazon SES",
        "### Failback: from Amazon SES to Postmark",
        "### Degrade: Order mail only",
        "### Restore: out of Order mail only",
        "- **Our mail provider limits us** (`rate-limited`)",
        "  - then: degrade: Order mail only, within 15m",
        "- Amazon SES: was never shown to work",
        "## Runbook: No mail provider works",
        "Order confirmations arrive late since 14:20.",
        "```opsdash {check every=10s for=30m}",
    ):
        assert part in ended.out, part
    assert """--data-raw '{"provider": "ses-eu"}' http://127.0.0.1:18105/provider""" in ended.out
    assert not (shop / ".opsdash").exists()


def test_every_component_of_the_example_has_a_sheet_with_all_that_a_person_needs(
    run: Callable[..., Ended], shop: Path
) -> None:
    found = run("sheet", "--json", "-w", shop).json["sheets"]
    assert [each["component"] for each in found] == sorted(path.stem for path in (shop / "checks").iterdir())
    for each in found:
        for heading in ("Whom to ask", "What users get", "Where it runs", "What was decided", "Runbook: "):
            assert f"\n## {heading}" in each["text"], (each["component"], heading)
        assert "could not be read" not in each["text"]
        assert "No command is known" not in each["text"]
        assert "${" not in each["text"].split("## Runbook: ")[0], "ports of the example are settings"


def test_all_of_them_are_written_with_links_that_lead_somewhere(
    run: Callable[..., Ended], shop: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "share" / "sheets"
    ended = run("sheet", "-o", folder, "-w", shop)
    assert ended.code == exits.OK
    written = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert {INDEX, "email.md", "social.md", "runbooks/email-down.md"} <= written
    assert {str(folder / name) for name in written} == set(ended.out.splitlines())
    for page in folder.glob("*.md"):
        for target in _links(page.read_text()):
            assert (folder / target.partition("#")[0]).is_file(), (page.name, target)


def _links(source: str) -> list[str]:
    from markdown_it import MarkdownIt

    spans = [span for token in MarkdownIt("commonmark").parse(source) for span in token.children or ()]
    targets = [str(span.attrs["href"]) for span in spans if span.type == "link_open"]
    return [target for target in targets if "://" not in target and not target.startswith("#")]


def test_without_a_folder_they_go_where_the_engine_writes_them(run: Callable[..., Ended], shop: Path) -> None:
    assert run("sheet", "-w", shop).code == exits.OK
    assert (shop / ".opsdash/sheets/email.md").is_file()
    settings = shop / "opsdash.yaml"
    settings.write_text(f"{settings.read_text()}\nsheets: {{folder: ../share}}\n")
    assert run("validate", "-w", shop).code in {exits.OK, exits.WARNINGS}
    assert run("sheet", "-w", shop).code == exits.OK
    assert (shop.parent / "share/email.md").is_file()


def test_one_sheet_in_a_folder_leaves_the_others_alone(run: Callable[..., Ended], shop: Path, tmp_path: Path) -> None:
    run("sheet", "-o", tmp_path / "sheets", "-w", shop)
    run("sheet", "email", "-o", tmp_path / "sheets", "-w", shop)
    assert (tmp_path / "sheets/crm.md").is_file()


def test_everything_can_be_printed(run: Callable[..., Ended], shop: Path) -> None:
    ended = run("sheet", "-o", "-", "-w", shop)
    assert ended.out.count(MARK) == 10
    assert ended.out.startswith(f"{MARK}\n# The tea shop: emergency sheets\n")


def test_a_component_that_does_not_exist_is_a_usage_error(run: Callable[..., Ended], shop: Path) -> None:
    ended = run("sheet", "emial", "-w", shop)
    assert ended.code == exits.USAGE
    assert "did you mean email?" in ended.err


def test_a_folder_that_cannot_be_written_is_an_error_that_says_so(
    run: Callable[..., Ended], shop: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    ended = run("sheet", "-o", tmp_path / "file", "-w", shop)
    assert ended.code == exits.FAILED
    assert "cannot be written" in ended.err


def test_secrets_are_references_in_commands_and_masked_elsewhere(
    run: Callable[..., Ended], shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shop / "key").write_text("hunter2-in-file\n")
    (shop / "key").chmod(0o600)
    monkeypatch.setenv("MAILER_TOKEN", "hunter2-in-env")
    email = shop / "checks/email.yaml"
    text = email.read_text().replace(
        "    if_match: true\n",
        '    if_match: true\n    headers: {X-Key: "${file:key}", X-Token: "${MAILER_TOKEN}"}\n',
        1,
    )
    email.write_text(text)
    book = shop / "runbooks/email-down.md"
    book.write_text(book.read_text().replace("Customers get no", "The key is hunter2-in-file. Customers get no"))
    assert run("validate", "-w", shop).code != exits.ERRORS
    ended = run("sheet", "email", "-w", shop)
    command = next(line for line in ended.out.splitlines() if line.startswith("curl"))
    assert '"$(cat key)"' in command
    assert '"$MAILER_TOKEN"' in command
    assert "The key is ***." in ended.out
    assert "hunter2" not in ended.out


# --- beside an engine, and after it ------------------------------------------------------------------------------


def test_what_the_journal_knows_is_in_the_sheet_after_the_engine_was_killed(running: Running) -> None:
    folder = running.workspace / ".opsdash/sheets"
    eventually((folder / "greeting.md").exists)
    ended = process("failover", "greeting", "--yes", "--reason", "a test", "-w", running.workspace)
    assert ended.code == exits.COMMITTED
    running.engine.kill()
    running.engine.wait()
    sheet = process("sheet", "greeting", "-w", running.workspace)
    assert sheet.code == exits.OK
    assert "**Second file** served on" in sheet.out
    assert "- Second file: worked on" in sheet.out
    assert process("sheet", "greeting", "-w", running.workspace).out == sheet.out


# --- killed while writing ----------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from opsdash.core.sheet import MARK
from opsdash.storage.sheets import write_sheets

pages = [f"{MARK}\\n{word * 40_000}\\nend\\n" for word in ("old ", "new ")]
files = [{f"part-{number}.md": page for number in range(4)} for page in pages]
print("writing", flush=True)
while True:
    for each in files:
        write_sheets(Path(sys.argv[1]), each, MARK)
"""


def test_a_sheet_is_whole_whenever_its_writer_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "sheets"
    for _ in range(12):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True, env=environment()
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        eventually(lambda: len(list(folder.glob("*.md"))) == 4)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        for file in folder.glob("*.md"):
            text = file.read_text()
            assert text.startswith(MARK)
            assert text.endswith("\nend\n")
            assert len({word for word in text.split() if word in {"old", "new"}}) == 1


def test_what_a_killed_writer_left_is_swept_once_nobody_can_be_writing_it(tmp_path: Path) -> None:
    old, young = tmp_path / ".a.md.1.tmp", tmp_path / ".b.md.2.tmp"
    for each in (old, young):
        each.write_text("half")
    os.utime(old, (1.0, 1.0))
    write_sheets(tmp_path, {"a.md": f"{MARK}\n"}, MARK)
    assert sorted(file.name for file in tmp_path.iterdir()) == [".b.md.2.tmp", "a.md"]


def test_a_full_disk_leaves_the_sheets_of_the_day_before(tmp_path: Path) -> None:
    from opsdash.errors import SheetsError

    def full(_fd: int, _data: bytes | memoryview) -> int:
        raise OSError(28, os.strerror(28))

    write_sheets(tmp_path, {"a.md": f"{MARK}\nold\n"}, MARK)
    with pytest.raises(SheetsError, match="No space left"):
        write_sheets(tmp_path, {"a.md": f"{MARK}\nnew\n"}, MARK, full)
    assert (tmp_path / "a.md").read_text() == f"{MARK}\nold\n"
    assert [file.name for file in tmp_path.iterdir()] == ["a.md"]


def test_the_example_is_left_as_it_was(run: Callable[..., Ended], shop: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in shop.rglob("*") if path.is_file()}
    run("sheet", "-o", tmp_path / "sheets", "-w", shop)
    assert {path: path.read_bytes() for path in shop.rglob("*") if path.is_file()} == before
    shutil.rmtree(tmp_path / "sheets")
