"""Whatever stands in a file: it parses without raising, and every line that is named exists."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from opsdash.config.runbook_source import is_hostile
from opsdash.config.runbooks import lint, parse, render_text
from opsdash.model.runbook import Severity

PIECES = st.sampled_from([
    "---\n", "title: x\n", "params:\n  a: {ask: b}\n", "reviewed: 2026-01-01\n", "rto: 5m\n", "...\n", "key: [",
    "&a *a", "# T\n", "## Steps\n", "### A\n", "### \n", "#### B\n", "> ", "- ", "1. ", "    ", "\t", "\n", "\n\n",
    "\r\n", "\r",
    "```", "````", "~~~", "```sh {run}\n", '```sh {check expect="x" rc=2}\n', "```opsdash {run}\nfailover a\n```\n",
    "{run", "}", '{"run": true', "timeout=5s", "\\", '"', "'", "a", " ", "**Time:** 2 min\n", "**Expect:** x\n", "**",
    "**If this fails:** [x](#a)\n", "[x](b.md#c)", "[x]: #a\n", "- [ ] t\n", "- [x] t\n", "[ ]",
    "<details>\n", "<!--", "-->",
    "<pre>\n", "> [!CAUTION]\n> x\n", "\u202e", "\u200b", "\x1b[2J", "\x00", "\ufeff", "\ud800",
    "&#x202e;", "&lrm;", "|a|\n",
    "===\n", "\x0c", "\x85", "\u2028", "%00", "é", "障",
])  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=40).map("".join))
WRITTEN = st.lists(PIECES, max_size=30).map(lambda pieces: "---\ntitle: x\n---\n## Steps\n### A\n" + "".join(pieces))


def examine(source: bytes | str) -> None:
    runbook, findings = parse("x", source, "runbooks/x.md")
    lines = runbook.text.split("\n")
    last = max(len(lines) - (lines[-1] == ""), 1)
    nothing: set[str] = set()
    linted = lint(
        {"x": runbook},
        components=nothing,
        failure_modes=nothing,
        checks=nothing,
        today=date(2026, 1, 1),
        root=Path("/nowhere"),
    )
    everything = (*findings, *linted)
    assert all(1 <= finding.line <= max(last, len(lines)) for finding in everything)
    assert all(finding.line <= last for finding in findings)
    assert runbook.executable == (
        bool(runbook.steps) and all(finding.severity is Severity.WARNING for finding in findings)
    )
    shown = [runbook.text, runbook.title, *(str(finding) for finding in everything), render_text(runbook, 40)]
    before = 0
    for step in runbook.steps:
        assert before < step.line <= step.end_line <= last
        assert step.text == "\n".join(lines[step.line - 1 : step.end_line])
        before = step.end_line
        for block in step.blocks:
            assert step.line < block.line < block.end_line <= step.end_line
            assert len(block.code.split("\n")) == block.end_line - block.line - 1
            assert all(step.line < command.line < step.end_line for command in block.commands)
        assert all(step.line < tick.line <= step.end_line for tick in step.ticks)
        shown += [step.title, *(tick.text for tick in step.ticks)]
    assert all(1 <= link.line <= last for link in runbook.links)
    assert len({step.id for step in runbook.steps}) == len(runbook.steps)
    assert not [text for text in shown if is_hostile(text)]


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_any_text_is_read(text: str) -> None:
    examine(text)


@settings(max_examples=250, deadline=None)
@given(WRITTEN)
def test_anything_below_a_step_is_read(text: str) -> None:
    examine(text)


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.binary(), st.binary().map(lambda raw: b"---\n" + raw + b"\n---\n## Steps\n### A\n")))
def test_any_bytes_are_read(raw: bytes) -> None:
    examine(raw)
