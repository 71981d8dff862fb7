"""The board on a real terminal: keys, changes on the screen, and what boards cost the engine.

The operation below it is polled five hundred times a second, and each result changes a row: far more than an operation
does, since nothing is known to be quick that was not asked to be quick while busy.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.engines import PATH, RunningEngine, Web, engine, write_workspace
from benchmarks.measure import Bar, BenchmarkError, Result, Table, Window, median, ms, percentile
from benchmarks.targets import ADDRESS, Targets
from benchmarks.terminal import Terminal, read_stamps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.scale import Scale

TITLE = "The board"
SIZES = (1_000, 5_000)
PER_SECOND = 500
KEYS_PER_SECOND = 20
AT_ONCE = 10
"""So many of the visible components fail together, each noticed at its own time."""

HANDLED_BAR = 0.020
PAINTED_BAR = 0.050
CHANGE_BAR = 0.150
BOARDS = 10
BOARDS_BAR = 0.02
CURSOR = r"▸[^▸]{0,24}(Web \d{4})"


def run(scale: Scale) -> Result:
    result = Result("board", TITLE)
    rows = []
    for size in SIZES:
        figures = _keys_and_changes(size, scale, changes=size == SIZES[0])
        result.raw[f"{size} components"] = figures
        rows.append(_row(size, figures))
        result.bars += _bars(size, figures)
    columns = (
        "components", "key handled p50 / p99", "painted p50 / p99", "a change on the screen p50 / p99", "board",
        "memory", "engine", "to the terminal",
    )  # fmt: skip
    result.tables.append(Table(f"{PER_SECOND} results and {KEYS_PER_SECOND} keys a second", columns, rows))
    boards = _many_boards(scale)
    result.raw["boards"] = boards
    rows = [[str(number), f"{share:.1%}"] for number, share in boards.items()]
    result.tables.append(Table("1,000 checks every 10 s", ("boards attached", "engine, of a core"), rows))
    cost = boards[BOARDS] - boards[0]
    result.bars.append(
        Bar(
            f"{BOARDS} boards cost the engine",
            f"less than {BOARDS_BAR:.0%} of a core",
            f"{cost:.1%}",
            cost < BOARDS_BAR,
        )
    )
    result.notes.append(
        "A terminal of 120x40. A key is handled when the cursor's row has changed inside the board, and painted when "
        "the terminal has received the row under the cursor; both counted from the moment the key was typed. A change "
        "is counted from the target's first bad answer to the row that says DOWN."
    )
    return result


def _row(size: int, figures: dict[str, Any]) -> list[str]:
    changes = figures["changes"]
    return [
        f"{size:,}",
        f"{ms(median(figures['handled']), 1)} / {ms(percentile(figures['handled'], 0.99), 1)}",
        f"{ms(median(figures['painted']), 1)} / {ms(percentile(figures['painted'], 0.99), 1)}",
        f"{ms(median(changes))} / {ms(percentile(changes, 0.99))}" if changes else "",
        f"{figures['board']:.0%} of a core",
        f"{figures['memory']:.0f} MB",
        f"{figures['engine']:.0%} of a core",
        f"{figures['bytes'] / 1000:.0f} kB/s",
    ]


def _bars(size: int, figures: dict[str, Any]) -> list[Bar]:
    found = []
    for what, name, bar in (
        ("a key is handled", "handled", HANDLED_BAR),
        ("a key is painted", "painted", PAINTED_BAR),
        ("a change of status is on the screen", "changes", CHANGE_BAR),
    ):
        if figures[name]:
            worst = percentile(figures[name], 0.99)
            title = f"{what}, p99 with {size:,} components ({len(figures[name])} times)"
            found.append(Bar(title, f"within {ms(bar)}", ms(worst), worst <= bar))
    return found


@contextmanager
def _operation(size: int, every: float) -> Iterator[tuple[RunningEngine, Targets, Path]]:
    """So many components, each of them ok, and their engine."""
    with tempfile.TemporaryDirectory(prefix="opsdash-bench-") as temporary, Targets(size) as targets:
        workspace = Path(temporary) / "workspace"
        components = [
            Web(f"web-{number:04}", f"Web {number:04}", f"http://{ADDRESS}:{port}{PATH}")
            for number, port in enumerate(targets.ports)
        ]
        write_workspace(workspace, components, f"every: {every:g}s, timeout: 1s, down_after: 1, up_after: 1")
        with engine(workspace) as running:
            running.await_statuses({each.id: "ok" for each in components}, within=60)
            yield running, targets, workspace


def _keys_and_changes(size: int, scale: Scale, *, changes: bool) -> dict[str, Any]:
    with _operation(size, size / PER_SECOND) as (running, targets, workspace):
        stamps = workspace / "stamps"
        command = [sys.executable, "-m", "benchmarks.observed_board", str(stamps), "-w", str(workspace)]
        with Terminal(command, {}) as terminal:
            terminal.wait_for(CURSOR, 0, 20)
            time.sleep(2)
            changed = _changes(terminal, targets, scale) if changes else []
            before = terminal.bytes
            with Window(terminal.pid) as board, Window(running.pid) as engine_window:
                pressed, painted = _press(terminal, int(scale.window(8) * KEYS_PER_SECOND))
            written = (terminal.bytes - before) / board.seconds
        handled = [done - at for at, done in zip(pressed, read_stamps(stamps), strict=True)]
        if wrong := running.wrong({f"web-{number:04}": "ok" for number in range(size)}):
            raise BenchmarkError(wrong)
        return {
            "handled": handled,
            "painted": painted,
            "changes": changed,
            "board": board.share,
            "memory": board.memory,
            "engine": engine_window.share,
            "bytes": written,
        }


def _press(terminal: Terminal, keys: int) -> tuple[list[float], list[float]]:
    """Move the cursor down, key by key. Returns when each was typed, and how long it took to be painted."""
    pressed, painted = [], []
    under = ""
    for _ in range(keys):
        since = terminal.here
        at = terminal.press("j")
        found, seen = terminal.wait_for(rf"▸[^▸]{{0,24}}(?!{under or 'nothing'})(Web \d{{4}})", since, 5)
        under = found[1]
        pressed.append(at)
        painted.append(seen - at)
        time.sleep(max(0.0, at + 1 / KEYS_PER_SECOND - time.monotonic()))
    return pressed, painted


def _changes(terminal: Terminal, targets: Targets, scale: Scale) -> list[float]:
    """Let visible components fail. Returns the time from each bad answer to the row that says so."""
    found = []
    wall_to_mono = time.monotonic() - time.time()
    for _ in range(scale.times(6)):
        since = terminal.here
        targets.set("fail", range(AT_ONCE))
        seen = {number: terminal.wait_for(rf"DOWN\s+Web {number:04}", since, 10)[1] for number in range(AT_ONCE)}
        failed = targets.failed()
        found += [seen[number] - (failed[number] + wall_to_mono) for number in range(AT_ONCE)]
        since = terminal.here
        targets.set("ok", range(AT_ONCE))
        for number in range(AT_ONCE):
            terminal.wait_for(rf"ok\s+Web {number:04}", since, 10)
    return found


def _many_boards(scale: Scale) -> dict[int, float]:
    """The engine's share of a core by the number of boards, in turns."""
    shares: dict[int, list[float]] = {0: [], 1: [], BOARDS: []}
    with _operation(1000, 10) as (running, _, workspace):
        for _ in range(scale.times(1)):
            for number, found in shares.items():
                with ExitStack() as stack:
                    if number:
                        stack.enter_context(_listeners(workspace, number))
                    with Window(running.pid) as window:
                        time.sleep(10)
                found.append(window.share)
    return {number: median(found) for number, found in shares.items()}


@contextmanager
def _listeners(workspace: Path, number: int) -> Iterator[None]:
    """So many clients that read along, as a board does, in a process of their own."""
    command = [sys.executable, "-m", "benchmarks.listeners", str(workspace), str(number)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise BenchmarkError("the listeners did not come up")
        yield
    finally:
        process.terminate()
        process.communicate()
