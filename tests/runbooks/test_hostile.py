"""Files that were made to hurt: reading and linting them takes work and memory in proportion to their size, not more.

Nothing is timed. Calls of functions are counted, Python's and C's: twice the file may take twice the calls, and some.
"""

from __future__ import annotations

import sys
import tracemalloc
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from opsdash.config.runbook_rules import MOST_TOLD, RULES
from opsdash.config.runbook_source import MAX_BYTES, is_hostile
from opsdash.config.runbooks import lint, parse, render_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.model.runbook import Finding, Runbook

HEAD = "---\ntitle: x\nowner: m\nreviewed: 2026-01-01\nrto: 5m\n---\n## Steps\n### A\n"
SMALL = 10_000
MANY = 60_000
CALLS_A_BYTE = 150
MEMORY_A_BYTE = 500


def front(keys: str) -> str:
    return f"---\n{keys}\n---\n## Steps\n### A\nx\n"


GROWING: dict[str, Callable[[int], str]] = {
    "one line without end": lambda size: HEAD + "x" * size,
    "one line of words": lambda size: HEAD + "a " * (size // 2),
    "brackets that never close": lambda size: HEAD + ("[" * 1000 + "\n\n") * (size // 1000),
    "emphasis that never closes": lambda size: HEAD + ("*a_ " * 250 + "\n\n") * (size // 1000),
    "thousands of steps": lambda size: HEAD + "### a\n" * (size // 6),
    "thousands of branches to nowhere": lambda size: (
        HEAD + "".join(f"### a\n**If this fails:** [x](#n{number})\n" for number in range(size // 38))
    ),
    "thousands of ways on": lambda size: (
        HEAD + "".join(f"### a\n**Then:** [x](#n{number})\n" for number in range(size // 28))
    ),
    "thousands of links to nowhere": lambda size: (
        HEAD + "".join(f"[a](#b{number})\n\n### a\n" for number in range(size // 20))
    ),
    "thousands of files that are not there": lambda size: (
        HEAD + "".join(f"[a](b{number}.md#x)\n\n" for number in range(size // 16))
    ),
    "lists in lists in lists": lambda size: HEAD + "- " * (size // 2) + "x\n",
    "lists in lists, a line each": lambda size: (
        HEAD + ("".join(" " * deep + "- x\n" for deep in range(0, 400, 2)) * (size // 40_000 + 1))[:size]
    ),
    "quotes in quotes": lambda size: HEAD + ("> " * 500 + "x\n") * (size // 1000),
    "brackets in the front matter": lambda size: front("a: " + "[" * size),
    "braces in the front matter": lambda size: front("a: " + "{a: " * (size // 4)),
    "dashes in the front matter": lambda size: front("- " * (size // 2)),
    "thousands of keys": lambda size: front("\n".join(f"k{number}: x" for number in range(size // 9))),
    "one key thousands of times": lambda size: front("title: x\n" * (size // 9)),
    "thousands of parameters": lambda size: front(
        "params:\n" + "\n".join(f"  k{number}: {{ask: x}}" for number in range(size // 18))
    ),
    "thousands of failure modes": lambda size: front(
        "failure_modes: [" + ", ".join(f"a/k{number}" for number in range(size // 9)) + "]"
    ),
    "fences that never close": lambda size: HEAD + "```sh {run}\n" * (size // 11),
    "thousands of blocks": lambda size: HEAD + "```sh {run}\na\n```\n\n" * (size // 18),
    "thousands of blocks with a typo": lambda size: HEAD + "```sh {runn}\na\n```\n\n" * (size // 19),
    "thousands of commands": lambda size: HEAD + "```opsdash {run}\n" + "failover a\n" * (size // 11) + "```\n",
    "thousands of attributes": lambda size: HEAD + "```sh {run " + "a=b " * (size // 4) + "}\na\n```\n",
    "JSON without end": lambda size: HEAD + '```sh {"run": ' + "[" * size + "}\na\n```\n",
    "NUL bytes": lambda size: HEAD + "\0" * size,
    "lines of NUL bytes": lambda size: HEAD + "\0\n" * (size // 2),
    "entities": lambda size: HEAD + "&lrm;" * (size // 5),
    "bytes that are no UTF-8": lambda size: HEAD + "\udcff\n" * (size // 2),
    "thousands of ticks": lambda size: HEAD + "- [x] a\n" * (size // 8),
    "thousands of labels": lambda size: HEAD + "**Time:** x\n\n" * (size // 13),
    "comments that never close": lambda size: HEAD + "<!--" * (size // 4),
    "underlined headings": lambda size: HEAD + "a\n=\n" * (size // 4),
    "backticks": lambda size: HEAD + " ".join("`" * length for length in range(int((2 * size) ** 0.5))),
    "references": lambda size: HEAD + "[a]: #x\n" * (size // 8),
}


def source(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def read(raw: bytes) -> tuple[Runbook, list[Finding]]:
    runbook, findings = parse("x", raw, "runbooks/x.md")
    nothing: frozenset[str] = frozenset()
    linted = lint(
        {"x": runbook},
        components=nothing,
        failure_modes=nothing,
        checks=nothing,
        modes=nothing,
        today=date(2026, 1, 2),
        root=Path("/nowhere"),
    )
    return runbook, [*findings, *linted]


def calls_of(raw: bytes) -> int:
    """How many functions are called to read and lint it."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        read(raw)
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize("make", GROWING.values(), ids=GROWING)
def test_twice_the_file_is_twice_the_work(make: Callable[[int], str]) -> None:
    once, twice = source(make(SMALL)), source(make(2 * SMALL))
    few, many = calls_of(once), calls_of(twice)
    assert many <= 2.4 * few + 5000, f"{few} calls for {len(once)} bytes, {many} for {len(twice)}"
    assert many <= CALLS_A_BYTE * len(twice) + 100_000


@pytest.mark.parametrize("make", GROWING.values(), ids=GROWING)
def test_a_file_takes_memory_in_proportion(make: Callable[[int], str]) -> None:
    raw = source(make(SMALL))
    read(raw)  # what is only made once is made
    tracemalloc.start()
    try:
        read(raw)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= MEMORY_A_BYTE * len(raw) + 2_000_000, f"{peak} bytes of memory for {len(raw)} bytes of runbook"


@pytest.mark.parametrize("make", GROWING.values(), ids=GROWING)
def test_a_file_with_thousands_of_flaws_is_told_shortly_and_shown_safely(make: Callable[[int], str]) -> None:
    runbook, findings = read(source(make(MANY)))
    assert len(findings) <= (MOST_TOLD + 1) * len(RULES)
    assert max((sum(each.code == code for each in findings) for code in RULES), default=0) <= 2 * (MOST_TOLD + 1)
    assert not is_hostile(runbook.text)
    assert len(render_text(runbook, 80)) <= 20 * MANY


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"x" * 1_000_000, id="a line of a megabyte"),
        pytest.param(source(HEAD) + b"### a\nx\n" * 200_000, id="two hundred thousand steps"),
        pytest.param(b"---\na: " + b"[" * 1_000_000 + b"\n---\n", id="a million brackets"),
        pytest.param(b"\xff" * 1_000_000, id="a megabyte of no text"),
        pytest.param(b"\0" * 1_000_000, id="a megabyte of nothing"),
    ],
)
def test_what_is_too_large_is_cut_and_never_parsed(raw: bytes) -> None:
    runbook, findings = read(raw)
    assert "too-large" in {finding.code for finding in findings}
    assert not runbook.executable
    assert runbook.steps == ()
    assert len(runbook.text) <= 9 * MAX_BYTES, "an invisible character is shown by its name"


def test_ten_thousand_steps_are_read_and_not_executed() -> None:
    steps = "".join(f"### S{number}\nx\n\n" for number in range(10_000))
    runbook, findings = read(source(HEAD + steps))
    assert len(runbook.steps) == 10_001
    assert not runbook.executable
    assert "too-many-steps" in {finding.code for finding in findings}
    assert runbook.steps[-1].text == "### S9999\nx"


@pytest.mark.parametrize("deep", [9, 10, 11, 1000])
def test_a_step_behind_a_deep_list_is_never_lost_in_silence(deep: int) -> None:
    text = (
        HEAD + "".join("  " * level + f"- level {level}\n" for level in range(deep))[:200_000] + "\n### B\nafter it\n"
    )
    runbook, findings = read(source(text))
    is_whole = [step.id for step in runbook.steps] == ["a", "b"]
    assert is_whole == runbook.executable == ("too-deep" not in {finding.code for finding in findings})
    assert "after it" in runbook.text
