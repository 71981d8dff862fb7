"""Writing a longer text in the operator's own editor.

The text is in a file of its own that nobody else may read, while it is written. A line that begins with `#` is a remark
for the writer, and is left out. In tmux the editor gets a pane of its own, and the board stays in sight; elsewhere it
takes the terminal, and the board goes on behind it without drawing.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from textual.app import App

LARGEST = 64 * 1024
"""Bytes of a text that are read back."""

FALLBACKS = ("nano", "vi")


def editor_command(environment: Mapping[str, str]) -> list[str]:
    """The editor of this account: $VISUAL, $EDITOR, or what is there. Empty if there is none."""
    named = environment.get("VISUAL") or environment.get("EDITOR")
    if named:
        try:
            return shlex.split(named)
        except ValueError:
            return []
    found = next((each for each in FALLBACKS if shutil.which(each)), None)
    return [found] if found else []


@contextmanager
def draft_file(remark: str, text: str = "") -> Iterator[Path]:
    """A file to be edited: `text`, and a `remark` about what it is for. It is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="opsdash-") as folder:
        path = Path(folder) / "note.md"
        remarks = "".join(f"# {line}\n" for line in remark.splitlines())
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{text}\n\n{remarks}")
        yield path


def written(path: Path) -> str:
    """What was written, without the remarks. Raises OSError."""
    with path.open("rb") as file:
        content = file.read(LARGEST).decode("utf-8", errors="replace")
    return "\n".join(line for line in content.splitlines() if not line.startswith("#")).strip()


async def compose(app: App[Any], remark: str) -> str:
    """What the operator writes about `remark`; "" for nothing. Raises OSError where there is no editor to be had."""
    command = editor_command(os.environ)
    if not command:
        raise FileNotFoundError("no editor: set $EDITOR")
    with draft_file(remark) as path:
        argv = [*command, str(path)]
        pane = in_a_pane(argv, os.environ)
        if pane:
            code = await _run(pane)
        else:
            with app.batch_update(), app.suspend():
                code = await _run(argv)
        return written(path) if code == 0 else ""


def in_a_pane(argv: list[str], environment: Mapping[str, str]) -> list[str]:
    """The command that runs another in a tmux pane below this one, and ends with it; empty outside of tmux.

    tmux returns at once; so the pane signals its end, also when it is closed by force.
    """
    pane = environment.get("TMUX_PANE", "")
    if not environment.get("TMUX") or not pane or shutil.which("tmux") is None:
        return []
    done = f"opsdash-{os.urandom(6).hex()}"
    inner = f"trap 'tmux wait-for -S {done}' EXIT HUP TERM; {shlex.join(argv)}"
    split = shlex.join(["tmux", "split-window", "-t", pane, "-l", "60%", "sh", "-c", inner])
    return ["sh", "-c", f"{split} && exec tmux wait-for {done}"]


async def _run(argv: list[str]) -> int:
    process = await asyncio.create_subprocess_exec(*argv)
    try:
        return await process.wait()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
