"""`opsdash drill run` as people and scripts meet it: a real engine, a real guard, a file that is really taken away."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.cli import exits
from opsdash.cli.base import runs
from opsdash.service.places import places
from tests.cli.conftest import OPSDASH, PATIENCE, Ended, Terminal, environment, eventually, process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(180)

SHELF = """
title: Shelf
tier: essential
owners: [ana, ben]
defaults: {every: 200ms, timeout: 5s, down_after: 2, up_after: 1}
checks: {there: {kind: file, path: served.txt}}
failures: {gone: {title: Nothing is served, detected_by: [there], response: runbook, runbook: shelf-empty, rto: 2m}}
"""
TILL = "title: Till\nchecks: {paper: {kind: file, path: paper.txt}}\n"
RUNBOOK = "---\ntitle: Empty\nowner: ana\nreviewed: 2026-11-01\n---\n# Empty\n\n## Steps\n\n### Fill it\n\nFill it.\n"
DRILL = """
title: The shelf is emptied
failure_mode: shelf/gone
level: LEVEL
owner: ana
expect: {detect: 60s, unaffected: [till]}
inject: {command: {argv: [mv, served.txt, taken.txt]}}
undo: {command: {argv: [sh, -c, "mv taken.txt served.txt || test -e served.txt"]}}
verify_undone: [there]
limit: 2h
hold: HOLD
schedule: {every: 90d, windows: [mon-sun 0:00-24:00]}
"""


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Path]:
    """A workspace with one file that is served, and drills that take it away. Its engine is stopped at the end."""
    folder = tmp_path / "shelf"
    drills = {"brief": ("contained", "0s"), "long": ("contained", "1h"), "for-real": ("real", "1h")}
    files = {
        "opsdash.yaml": "title: A shelf\npeople: {ana: {}, ben: {}}\n",
        "checks/shelf.yaml": SHELF,
        "checks/till.yaml": TILL,
        "runbooks/shelf-empty.md": RUNBOOK,
        "served.txt": "bread\n",
        "paper.txt": "paper\n",
    }
    files["drills/for-two.yaml"] = DRILL.replace("LEVEL", "contained").replace("HOLD", "0s") + "approvals: 2\n"
    for name, (level, hold) in drills.items():
        files[f"drills/{name}.yaml"] = DRILL.replace("LEVEL", level).replace("HOLD", hold)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    yield folder
    stopped = process("engine", "stop", "-w", folder) if runs(places(folder)) else None
    kill(folder, guards(folder))
    assert stopped is None or stopped.code == exits.OK, stopped.err


def drill(folder: Path, *words: str) -> Ended:
    """A command, in a process without a terminal."""
    return process("drill", words[0], "-w", folder, *words[1:])


def running(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(drill(folder, "list", "--json").out)
    return found


def is_away(folder: Path) -> bool:
    return not (folder / "served.txt").exists()


def edited(path: Path, old: str, new: str) -> int:
    """Edit the last place in a file. Returns its line."""
    text = path.read_text()
    before, found, after = text.rpartition(old)
    assert found, f"{old!r} is not in {path}"
    path.write_text(before + new + after)
    return before.count("\n") + 1


def test_of_two_who_begin_it_at_once_one_runs_it_and_the_other_is_told_what_to_watch(shelf: Path) -> None:
    both = [
        subprocess.Popen(
            [*OPSDASH, "drill", "run", "long", "--yes", "--as", who, "-w", str(shelf)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
        )
        for who in ("ana", "ben")
    ]  # fmt: skip
    try:
        eventually(lambda: any(each.poll() is not None for each in both))
        second = next(each for each in both if each.poll() is not None)
        first = next(each for each in both if each is not second)
        _, told = second.communicate(timeout=PATIENCE)
        assert second.returncode == exits.REFUSED, told
        assert "DRILL-1 is running; `opsdash drill watch DRILL-1` follows it" in told
        assert first.poll() is None

        with Terminal("drill", "watch", "-w", shelf) as other:
            other.sees("detected: the incident is open")
            other.signal(signal.SIGINT)
            other.sees("DRILL-1 goes on without this window")
            assert other.code() == exits.FAULT_LEFT
        assert is_away(shelf), "whoever only watches stops nothing"
        assert drill(shelf, "watch", "DRILL-7").code == exits.USAGE

        assert drill(shelf, "finish", "--text", "enough").code == exits.OK
        told = first.communicate(timeout=PATIENCE)[1]
        assert first.returncode == exits.OK, told
        assert not is_away(shelf)
    finally:
        for each in both:
            each.kill()
            each.wait()


def test_evidence_that_somebody_edits_is_found_in_the_journal_and_in_what_was_exported(
    shelf: Path, run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert drill(shelf, "run", "brief", "--yes").code == exits.OK
    assert process("engine", "stop", "-w", shelf).code == exits.OK
    as_json, as_text = shelf.parent / "e.json", shelf.parent / "e.md"
    as_json.write_text(run("drill", "evidence", "-w", shelf, "DRILL-1", "--json").out)
    as_text.write_text(run("drill", "evidence", "-w", shelf, "brief").out)
    for file in (as_json, as_text):
        assert run("drill", "verify", "-w", shelf, str(file)).code == exits.OK
    monkeypatch.chdir(shelf.parent)
    alone = run("drill", "verify", as_json)
    assert (alone.code, "no journal is here" in alone.err) == (exits.OK, True), "a third party can check it"

    for old, new, said in (
        (
            '"expected":{"detect":60.0',
            '"expected":{"detect":90.0',
            "e.json: expected.detect: 90.0, and by its entries 60.0",
        ),
        ('"type":"drill_ended"', '"type":"drill_endet"', "drill_endet): expected hash"),
        ('"verdict":"passed","who"', '"verdict":"failed","who"', "drill_ended): expected hash"),
    ):
        copy = shelf.parent / "copy" / "e.json"
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(as_json.read_text())
        edited(copy, old, new)
        found = run("drill", "verify", "-w", shelf, str(copy))
        assert (found.code, said in found.out) == (exits.FAILED, True), found.out
    left_out = json.loads(as_json.read_text())
    gone = left_out["journal"].pop(2)
    (shelf.parent / "copy" / "e.json").write_text(json.dumps(left_out))
    assert f"entry {gone['seq']} of this run was left out" in run("drill", "verify", "-w", shelf, str(copy)).out

    line = edited(as_text, "**passed**", "**PASSED**")
    assert f"e.md: line {line}: '**PASSED**" in run("drill", "verify", "-w", shelf, str(as_text)).out

    [segment] = places(shelf).journal.glob("*.jsonl")
    line = edited(segment, '"verdict":"passed"', '"verdict":"failed"')
    [problem] = json.loads(run("journal", "verify", "--json", "-w", shelf).out)["problems"]
    seq = json.loads(segment.read_text().splitlines()[line - 1])["seq"]
    assert problem.startswith(f"{segment.name}, line {line} (entry {seq}): expected hash ")
    missing = run("drill", "evidence", "-w", shelf, "DRILL-1")
    assert (missing.code, missing.out) == (exits.FAILED, "")
    assert f"the journal is not what was written: {problem}" in missing.err
    again = run("drill", "list", "-w", shelf, "--json")
    assert json.loads(again.out)["drills"][0]["standing"] == "never", "what was edited proves nothing"


def test_ctrl_c_asks_and_the_lever_in_another_terminal_undoes_and_blocks_until_it_is_allowed_again(shelf: Path) -> None:
    with Terminal("drill", "run", "long", "-w", shelf) as terminal:
        terminal.sees("Begin?")
        terminal.types("")
        terminal.sees("Nothing was done.")
        assert terminal.code() == exits.NOT_DONE
    with Terminal("drill", "run", "long", "-w", shelf) as terminal:
        terminal.sees("Begin?")
        terminal.types("y")
        terminal.sees("detected: the incident is open")
        terminal.signal(signal.SIGINT)
        terminal.sees("Stop it and undo")
        terminal.types("c")
        terminal.signal(signal.SIGINT)
        terminal.sees("Stop it and undo")
        terminal.types("")
        terminal.sees("- aborted")
        terminal.sees("stopped by")
        assert terminal.code() == exits.NOT_PASSED
    assert not is_away(shelf)

    with Terminal("drill", "run", "long", "-w", shelf) as terminal:
        terminal.sees("Begin?")
        terminal.types("y")
        terminal.sees("detected: the incident is open")
        assert "[DRILL]" in process("status", "-w", shelf).out
        assert "shelf down [DRILL]" in process("status", "--nagios", "-w", shelf).out
        assert drill(shelf, "halt", "customers call", "--as", "ben").code == exits.OK
        terminal.sees("- aborted")
        terminal.sees("halted by ben")
        assert terminal.code() == exits.NOT_PASSED
    assert not is_away(shelf)
    assert "drills are halted; `opsdash drill allow`" in process("status", "-w", shelf).out
    refused = drill(shelf, "run", "brief", "--yes", "--json")
    assert refused.code == exits.REFUSED
    assert "customers call" in refused.json["reason"]
    assert drill(shelf, "allow").code == exits.REFUSED, "why?"
    assert drill(shelf, "allow", "--reason", "it was something else").code == exits.OK
    begun = drill(shelf, "run", "brief", "--yes", "--no-wait", "--json")
    assert (begun.code, begun.json["run"]) == (exits.OK, "DRILL-3")
    eventually(lambda: not running(shelf)["running"])
    assert drill(shelf, "history", "brief", "--json").json["status"] == "passed"


def test_without_a_terminal_nobody_is_asked_and_a_real_drill_wants_its_components_name(shelf: Path) -> None:
    asked = drill(shelf, "run", "brief")
    assert asked.code == exits.REFUSED
    assert "nobody can be asked here" in asked.err
    line = ("drill", "run", "for-real", "--override", "below", "--reason", "all agreed", "-w", shelf)
    with Terminal(*line) as terminal:
        terminal.sees("Type shelf to begin:")
        terminal.types("y")
        terminal.sees("Nothing was done.")
        assert terminal.code() == exits.NOT_DONE
    assert running(shelf)["running"] == ""
    for_two = drill(shelf, "run", "for-two", "--yes", "--as", "ana")
    assert (for_two.code, "this takes two people" in for_two.err) == (exits.REFUSED, True)
    assert drill(shelf, "run", "for-two", "--yes", "--as", "ana").code == exits.REFUSED, "the same one is no second one"
    together = drill(shelf, "run", "for-two", "--yes", "--as", "ben", "--json")
    assert (together.code, together.json["run"]["approved_by"][:3]) == (exits.OK, "ben")
    with Terminal(*line) as terminal:
        terminal.sees("Type shelf to begin:")
        terminal.types("shelf")
        terminal.sees("detected: the incident is open")
        terminal.signal(signal.SIGINT)
        terminal.sees("Stop it and undo")
        terminal.signal(signal.SIGINT)
        terminal.sees("- aborted")
        assert terminal.code() == exits.NOT_PASSED
    assert not is_away(shelf)


def guards(folder: Path) -> list[int]:
    """The guards that were armed here."""
    logs = (places(folder).state / "drills").glob("*/guard.jsonl")
    lines = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    return [entry["pid"] for entry in lines if entry["event"] == "armed"]


def kill(folder: Path, pids: list[int]) -> None:
    """`kill -9` for processes that work in this folder, all at once; another one that has got such a number stays."""
    found = [pid for pid in pids if str(folder) in _argv(pid)]
    for number in (signal.SIGSTOP, signal.SIGKILL):  # else one of them notices the death of the other, and undoes
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _argv(pid: int) -> str:
    return subprocess.run(
        ["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout


def left_behind(folder: Path) -> None:
    """Kill engine and guard while a fault is in place."""
    assert drill(folder, "run", "long", "--yes", "--no-wait").code == exits.OK
    eventually(lambda: is_away(folder) and running(folder)["running"])
    engine = json.loads((places(folder).state / "engine.json").read_text())["pid"]
    kill(folder, [*guards(folder), engine])
    eventually(lambda: not runs(places(folder)))
    assert is_away(folder)


def test_a_fault_that_was_left_and_cannot_be_undone_is_said_by_every_command_until_a_person_states_that_it_is_gone(
    shelf: Path,
) -> None:
    file = shelf / "drills" / "long.yaml"
    file.write_text(re.sub("(?m)^undo: .*", "undo: {command: {argv: ['false']}}", file.read_text()))
    left_behind(shelf)
    assert "A FAULT MAY STILL BE IN PLACE: shelf, DRILL-1" in drill(shelf, "list").out, "also without an engine"
    plan = drill(shelf, "plan", "brief")
    assert plan.code == exits.REFUSED
    assert "DRILL-1 of shelf may have left a fault in place" in plan.out
    for words in (("status",), ("status", "--nagios"), ("drill", "list")):
        assert "A FAULT MAY STILL BE IN PLACE: shelf, DRILL-1 of drill long" in process(*words, "-w", shelf).out
    assert "undo by hand:  false" in drill(shelf, "list").out
    (shelf / "taken.txt").rename(shelf / "served.txt")
    assert drill(shelf, "gone", "DRILL-1").code == exits.REFUSED, "how do you know?"
    assert drill(shelf, "gone", "DRILL-1", "--reason", "I see bread").code == exits.OK
    assert "FAULT" not in process("status", "-w", shelf).out


def test_a_fault_that_was_left_is_taken_back_by_whatever_command_starts_an_engine(shelf: Path) -> None:
    left_behind(shelf)
    drill(shelf, "plan", "brief")
    eventually(lambda: not is_away(shelf))
    eventually(lambda: not running(shelf)["faults"])
    assert "FAULT" not in process("status", "-w", shelf).out


def test_a_terminal_that_is_gone_takes_no_drill_with_it(shelf: Path) -> None:
    for number in (signal.SIGHUP, signal.SIGKILL):
        with Terminal("drill", "run", "long", "--yes", "-w", shelf) as terminal:
            terminal.sees("detected: the incident is open")
            terminal.signal(number)
        assert is_away(shelf)
        run = running(shelf)["running"]
        assert drill(shelf, "finish").code == exits.OK
        eventually(lambda: not running(shelf)["running"])
        assert json.loads(drill(shelf, "show", run, "--json").out)["status"] == "passed"
        assert not is_away(shelf)
