"""Runbooks: from a Markdown file to values, with every line known and every doubt reported.

The document is walked once, token by token. A `##` heading `Steps` opens the part that matters, each `###` heading
in it opens a step, and the next heading of the same or a higher level closes it. Everything in between belongs to the
step: its blocks, ticks, labels and links.

What Markdown does silently is what hurts at 3 a.m., so that is what is looked for: a fence left open swallows the
next step and still looks valid; a label without a blank line above melts into the paragraph; a block in a quote or
inside HTML looks executable and is not. `parse` takes any input and never raises: a broken runbook stays readable,
it only loses its execution.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING

from opsdash.config.runbook_blocks import Fence, read_block, wants_to_run
from opsdash.config.runbook_front import positive_duration, read_front
from opsdash.config.runbook_lint import lint
from opsdash.config.runbook_markdown import (
    MAX_PARAGRAPH,
    Document,
    first_line,
    heading_anchors,
    html_anchors,
    is_address,
    links_of,
    plain,
    read_document,
    slugify,
)
from opsdash.config.runbook_rules import MOST_COMPARED, NOWHERE, Findings, Span
from opsdash.config.runbook_source import Source, one_line, read_source
from opsdash.config.runbook_text import render_text
from opsdash.model.runbook import MOST_STEPS, Block, Finding, Link, Param, Runbook, Step, Tick, used_names

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from markdown_it.token import Token

    from opsdash.config.runbook_front import Front

__all__ = ["lint", "parse", "render_text"]

_LABELS = ("Expect", "Time", "Who", "Wait", "If this fails", "Then")
_LABEL_OF = {label.lower(): label for label in _LABELS}

_CAUTION = re.compile(r"\[!(?:CAUTION|WARNING)\]", re.IGNORECASE)
_TICK = re.compile(r"\[([ xX])\]\s+(?=\S)")
_NEARLY_TICK = re.compile(r"\[ ?\](?!\()|\[[xX]\](?![(\s\[:])|\[(?: {2,}| ?[xX] ?)\] ")
_FENCE_MARK = re.compile(r"(?m)^ *(?:`{3,}|~{3,})")
_FENCE_IN_QUOTES = re.compile(r"(?m)^[ \t>]*(?:`{3,}|~{3,})")
_STEP_HEADING = re.compile(r" {0,3}(?:###[ \t]+\S|##[ \t]+steps[ \t#]*$)", re.IGNORECASE)
_BROKEN_HEADING = re.compile(r"(?m)^###(?![#\s])\S|^(?: {4,}|\t)### ")
_PROSE_LANGUAGES = {"markdown", "md", "gfm"}
_PART = r"\d+(?:\.\d+)?\s*(?:s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)(?![a-z])"
_AMOUNT = re.compile(
    rf"(?:about\s+|ca\.?\s*|~\s*)?(?P<parts>{_PART}(?:(?:\s*,\s*|\s+and\s+|\s*){_PART})*)\.?",
    re.IGNORECASE | re.ASCII,
)
_AMOUNT_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z])[a-z]*", re.IGNORECASE | re.ASCII)
_HTML_ENDS = {
    "<!--": "-->",
    "<?": "?>",
    "<![cdata[": "]]>",
    "<pre": "</pre>",
    "<script": "</script>",
    "<style": "</style>",
}
"""HTML that ends only at its closing mark, however many headings come before it."""


def parse(runbook_id: str, source: bytes | str, path: str) -> tuple[Runbook, tuple[Finding, ...]]:
    """Read a runbook. Takes any input; what is wrong with it comes back as findings, in the order of the lines."""
    text = read_source(source)
    findings = Findings(runbook_id, path, text.last_line)
    for note in text.notes:
        span = Span(note.column, note.column + 1) if note.column else NOWHERE
        findings.add(note.code, note.line, note.message, span=span)
    unread = Runbook(id=runbook_id, title=runbook_id, path=path, text=text.text, sha256=text.sha256)
    if any(note.code == "too-large" for note in text.notes):
        return unread, findings.in_order()
    front = read_front(text.lines, findings)
    body = "\n" * front.body + "\n".join(text.lines[front.body :]) + "\n"
    try:
        document = read_document(body)
    except ValueError as error:
        findings.add("unreadable", 1, str(error))
        return unread, findings.in_order()
    if document.lost is not None:
        message = "lists or quotes are nested so deeply here that what is in them, and all that follows, is not read"
        findings.add("too-deep", document.lost, message)
    reader = _Reader(document, text, findings)
    reader.read()
    _check_whole(front, reader, findings)
    runbook = Runbook(
        id=runbook_id,
        title=front.title or reader.title or runbook_id,
        path=path,
        text=text.text,
        sha256=text.sha256,
        executable=bool(reader.steps) and not findings.has_error,
        component=front.component,
        failure_modes=front.failure_modes,
        owner=front.owner,
        reviewed=front.reviewed,
        review_every=front.review_every,
        rto=front.rto,
        params=front.params,
        steps=tuple(reader.steps),
        anchors=tuple(dict.fromkeys([*reader.anchors.values(), *sorted(html_anchors(document))])),
        links=tuple(reader.links),
    )
    return runbook, findings.in_order()


def _check_whole(front: Front, reader: _Reader, findings: Findings) -> None:
    """What only the whole file shows. A page without front matter and steps is just a page."""
    if not reader.steps and (front.present or reader.steps_line):
        findings.add("no-steps", reader.steps_line or 1, "the runbook has no steps, so there is nothing to execute")
    if len(reader.steps) > MOST_STEPS:
        line = reader.steps[MOST_STEPS].line
        findings.add("too-many-steps", line, f"the runbook has {len(reader.steps)} steps; it may have {MOST_STEPS}")
    if reader.steps and not front.present:
        findings.add("no-front-matter", 1, "the runbook says neither its component nor its owner")
    _check_branches(reader.steps, reader.branches, findings)
    _check_params(front.params, reader.steps, findings)


def _check_branches(steps: Sequence[Step], lines: Mapping[tuple[int, str], int], findings: Findings) -> None:
    ids = {step.id: None for step in steps}
    for step in steps:
        for label, target in (("If this fails", step.if_fails), ("Then", step.then)):
            if target:
                _check_branch(step, target, ids, lines[step.line, label], findings)
        if step.if_fails == "":
            _check_branch(step, "", ids, lines[step.line, "If this fails"], findings)


def _check_branch(step: Step, target: str, ids: Collection[str], line: int, findings: Findings) -> None:
    if is_address(target) or target in ("", "#"):
        findings.add("bad-branch", line, f"{step.title!r} branches to {one_line(target, 60)!r}, which is no step")
    elif target == f"#{step.id}":
        findings.add("branch-to-itself", line, f"{step.title!r} branches to itself")
    elif target.startswith("#") and target[1:] not in ids:
        is_worth_it = findings.told_in_full("bad-branch") and len(ids) <= MOST_COMPARED
        close = get_close_matches(target[1:], ids, n=1) if is_worth_it else []
        hint = f"; did you mean #{close[0]}?" if close else ""
        message = f"{step.title!r} branches to {one_line(target, 60)!r}, but no step has this anchor{hint}"
        findings.add("bad-branch", line, message)


def _check_params(params: Sequence[Param], steps: Sequence[Step], findings: Findings) -> None:
    if not params:
        return
    blocks = [block for step in steps for block in step.blocks]
    used = {name for block in blocks for name in used_names(block)}
    captured = {block.as_: block for block in blocks if block.as_}
    for param in params:
        if param.name not in used and param.secret is None:  # programs find a password by its name alone
            findings.add("params-not-used", param.line, f"no block uses the parameter {param.name}")
        if param.name in captured:
            line = captured[param.name].line
            findings.add("bad-parameter", line, f"as={param.name} would replace the parameter of that name")


@dataclass(slots=True)
class _Draft:
    """A step while it is read."""

    id: str
    title: str
    line: int
    ticks: list[Tick] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)
    if_fails: str | None = None
    then: str | None = None
    caution: bool = False


class _Reader:
    """Walks the tokens of one document."""

    def __init__(self, document: Document, source: Source, findings: Findings) -> None:
        self.title: str | None = None
        self.steps: list[Step] = []
        self.steps_line: int | None = None
        self.links: list[Link] = []
        self.branches: dict[tuple[int, str], int] = {}
        self.anchors = heading_anchors(document)
        self._document = document
        self._lines = source.lines
        self._findings = findings
        self._step: _Draft | None = None
        self._in_steps = False
        self._stray: tuple[str, int] | None = None
        self._quotes = 0

    def read(self) -> None:
        """Read all; the results are in the attributes."""
        tokens = self._document.tokens
        for index, token in enumerate(tokens):
            if token.type == "blockquote_open":
                self._quotes += 1
            elif token.type == "blockquote_close":
                self._quotes -= 1
            elif token.type == "heading_open":
                self._read_heading(token, tokens[index + 1])
            elif token.type == "inline":
                self._read_inline(token, tokens[max(index - 2, 0) : index])
            elif token.type == "fence":
                self._read_fence(token)
            elif token.type == "html_block":
                self._read_html(token)
            elif token.type == "code_block":
                self._look_for_broken_heading(token, first_line(token))
        self._close_step(len(self._lines) + 1)

    def _read_heading(self, token: Token, inline: Token) -> None:
        line = first_line(token)
        level = int(token.tag[1:])
        if token.level > 0:
            if self._in_steps and level <= 3:
                self._findings.add("nested-heading", line, "a heading in a list or quote is not a step")
            return
        if not token.markup.startswith("#"):
            self._findings.add("setext-heading", line, f"{one_line(inline.content, 60)!r} is underlined as a heading")
            return
        title = one_line(plain(self._document.spans(inline)))
        if level <= 3:
            self._close_step(line)
            self._stray = (title, line) if level == 3 and not self._in_steps else None
        if level == 1:
            self.title = self.title or title
        if level <= 2:
            self._open_section(level, title, line)
        elif level == 3 and self._in_steps:
            self._open_step(title, line)

    def _open_section(self, level: int, title: str, line: int) -> None:
        self._in_steps = level == 2 and title.lower() == "steps"
        if self._in_steps and self.steps_line is not None:
            self._findings.add("steps-twice", line, f"there is a heading 'Steps' already, on line {self.steps_line}")
        elif self._in_steps:
            self.steps_line = line

    def _open_step(self, title: str, line: int) -> None:
        anchor = self.anchors[line]
        if not anchor or not slugify(title):
            self._findings.add("step-without-name", line, "this step has no title")
        self._step = _Draft(anchor or f"line-{line}", title, line)

    def _close_step(self, next_line: int) -> None:
        draft = self._step
        if draft is None:
            return
        self._step = None
        lines = list(self._lines[draft.line - 1 : next_line - 1])
        while not lines[-1].strip():
            lines.pop()
        text = "\n".join(lines)
        self.steps.append(
            Step(
                id=draft.id,
                title=draft.title,
                line=draft.line,
                end_line=draft.line + len(lines) - 1,
                text=text,
                sha256=hashlib.sha256(text.encode()).hexdigest(),
                ticks=tuple(draft.ticks),
                blocks=tuple(draft.blocks),
                expect=draft.labels.get("Expect"),
                time=draft.times.get("Time"),
                who=draft.labels.get("Who"),
                wait=draft.labels.get("Wait"),
                wait_for=draft.times.get("Wait"),
                if_fails=draft.if_fails,
                danger=draft.caution or any(block.danger for block in draft.blocks),
                then=draft.then,
            )
        )

    def _read_fence(self, token: Token) -> None:
        begin, end = token.map or [0, 0]
        line = begin + 1
        info = token.info.strip()
        if end - begin - 2 != token.content.count("\n"):
            self._findings.add("open-fence", line, "the fence that begins here is never closed")
            return
        if self._swallows(token, info, line):
            return
        if self._quotes:
            if wants_to_run(info):
                self._findings.add("block-in-quote", line, "a block in a quote is not executed")
            return
        if self._step is None:
            if wants_to_run(info):
                self._findings.add(
                    "block-outside-step", line, "this block belongs to no step, so nobody can execute it"
                )
            return
        block = read_block(Fence(info, token.content.removesuffix("\n"), line, end), self._findings)
        if block is not None:
            self._step.blocks.append(block)

    def _swallows(self, token: Token, info: str, line: int) -> bool:
        """A fence left open closes at the next bare fence, and all between has become its text."""
        if (info.split() or [""])[0].lower() in _PROSE_LANGUAGES:
            return False
        opener = re.compile(rf" {{0,3}}{re.escape(token.markup)}[ \t]*\S")
        for number, text in enumerate(token.content.split("\n"), line + 1):
            what = "a step heading" if _STEP_HEADING.match(text) else "another fence" if opener.match(text) else ""
            if what:
                message = f"the fence of line {line} holds {what}, so it was probably not closed before"
                self._findings.add("swallowed-step", number, message)
                return True
        return False

    def _read_html(self, token: Token) -> None:
        line = first_line(token)
        self._look_for_open_html(token.content, line)
        mark = _FENCE_IN_QUOTES.search(token.content)
        if mark:
            line += token.content.count("\n", 0, mark.end())
            self._findings.add("block-in-html", line, "a fence inside HTML is not a fence")

    def _look_for_open_html(self, content: str, line: int) -> None:
        lowered = content.lstrip().lower()
        end = next((end for begin, end in _HTML_ENDS.items() if lowered.startswith(begin)), "")
        swallowed = any(_STEP_HEADING.match(text) for text in content.split("\n"))
        if end not in lowered and swallowed:
            self._findings.add("swallowed-step", line, f"HTML begins here and holds a step heading; {end} is missing")

    def _read_inline(self, token: Token, before: Sequence[Token]) -> None:
        line = first_line(token)
        content = token.content
        if len(content) > MAX_PARAGRAPH:
            self._findings.add("long-paragraph", line, f"the paragraph has {len(content)} characters")
            return
        spans = self._document.spans(token)
        self.links.extend(links_of(spans, line))
        if not before or before[-1].type != "paragraph_open":
            return
        self._look_for_broken_fence(content, line)
        self._look_for_broken_heading(token, line)
        if self._step is None:
            self._look_for_stray_step(content, spans)
            return
        if self._quotes:
            self._step.caution = self._step.caution or _CAUTION.match(content) is not None
            return
        if before[0].type == "list_item_open" and self._read_tick(content, line):
            return
        self._read_labels(spans, line, self._step)

    def _look_for_broken_fence(self, content: str, line: int) -> None:
        mark = _FENCE_MARK.search(content)
        if mark:
            message = "this looks like a fence, but a backtick behind the marker makes it a paragraph"
            self._findings.add("not-a-fence", line + content.count("\n", 0, mark.end()), message)

    def _look_for_broken_heading(self, token: Token, line: int) -> None:
        source = "\n".join(self._lines[slice(*token.map)]) if token.map and "###" in token.content else ""
        mark = _BROKEN_HEADING.search(source)
        if self._in_steps and mark:
            number = line + source.count("\n", 0, mark.start())
            self._findings.add("broken-heading", number, "this looks like a step heading, but is text")

    def _look_for_stray_step(self, content: str, spans: Sequence[Token]) -> None:
        """Ticks and labels below a `###` that is not below `## Steps`: nobody who follows the runbook comes there."""
        if self._stray is None or self._quotes:
            return
        first = next((index for index, span in enumerate(spans) if span.type != "text" or span.content.strip()), 0)
        label = _label_at(spans, first)[0] if spans and spans[first].type == "strong_open" else None
        if _TICK.match(content) or label in _LABEL_OF:
            title, line = self._stray
            self._stray = None
            self._findings.add(
                "step-outside-steps", line, f"{title!r} looks like a step, but stands outside '## Steps'"
            )

    def _read_tick(self, content: str, line: int) -> bool:
        match = _TICK.match(content)
        if match is None:
            if _NEARLY_TICK.match(content):
                self._findings.add("not-a-tick", line, f"{one_line(content, 40)!r} looks like a tick, but is none")
            return False
        if match[1] != " ":
            self._findings.add("ticked-in-file", line, "this tick is set in the file")
        text = one_line(plain(self._document.parse_spans(content[match.end() :])))
        if self._step is not None:
            self._step.ticks.append(Tick(text, line))
        return True

    def _read_labels(self, spans: Sequence[Token], line: int, step: _Draft) -> None:
        begun = False
        for index, span in enumerate(spans):
            if span.type in {"softbreak", "hardbreak"}:
                line += 1
            elif span.type == "strong_open":
                name, after = _label_at(spans, index)
                if begun and name in _LABEL_OF:
                    self._findings.add("joined-label", line, f"**{_LABEL_OF[name]}:** stands inside a paragraph")
                elif not begun and name is not None:
                    self._read_label(name, spans[after:], line, step)
            begun = begun or span.type != "text" or bool(span.content.strip())

    def _read_label(self, name: str, rest: Sequence[Token], line: int, step: _Draft) -> None:
        label = _LABEL_OF.get(name)
        if label is None:
            close = get_close_matches(name[:40], _LABEL_OF, n=1, cutoff=0.75)
            if close:
                message = f"**{one_line(name, 40)}:** is no label; did you mean **{_LABEL_OF[close[0]]}:**?"
                self._findings.add("unknown-label", line, message)
            return
        if label in step.labels:
            self._findings.add("repeated-label", line, f"the step has **{label}:** twice")
            return
        text = one_line(plain(rest).removeprefix(":").strip(), 2000)
        step.labels[label] = text
        if label in {"If this fails", "Then"}:
            self._read_branch(label, rest, line, step)
        elif label in {"Time", "Wait"}:
            self._read_amount(label, text, line, step)

    def _read_branch(self, label: str, rest: Sequence[Token], line: int, step: _Draft) -> None:
        link = next(links_of(rest, line), None)
        if link is not None or label == "Then":
            self.branches[step.line, label] = line
        if label == "Then":
            step.then = link.target if link is not None else ""
        elif link is None:
            self._findings.add("branch-without-link", line, "**If this fails:** names no step to go to")
        else:
            step.if_fails = link.target

    def _read_amount(self, label: str, text: str, line: int, step: _Draft) -> None:
        seconds = spoken_duration(text)
        if seconds is not None:
            step.times[label] = seconds
        elif label == "Time":
            self._findings.add("unclear-duration", line, f"**Time:** {one_line(text, 40)!r} is no plain duration")


def _label_at(spans: Sequence[Token], index: int) -> tuple[str | None, int]:
    """The label that the emphasis at `index` is, in lower case, and where its text begins; None if it is none."""
    end = next((i for i in range(index, len(spans)) if spans[i].type == "strong_close"), len(spans))
    name = plain(spans[index:end])
    follows = spans[end + 1].content if end + 1 < len(spans) else ""
    if name.endswith(":") or follows.startswith(":"):
        return name.removesuffix(":").strip().lower(), end + 1
    return None, end + 1


def spoken_duration(text: str) -> float | None:
    """Seconds of a duration as people write it in a sentence: `2 min`, `1 h 30 min`, `90s`."""
    match = _AMOUNT.fullmatch(text[:80])
    if match is None:
        return None
    compact = "".join(number + unit.lower() for number, unit in _AMOUNT_PART.findall(match["parts"]))
    try:
        return positive_duration(compact)
    except ValueError:
        return None
