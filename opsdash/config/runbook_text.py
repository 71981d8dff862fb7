"""A runbook as plain text, for `opsdash runbook show`, a pipe, or a terminal in which nothing else works.

Steps are numbered, ticks keep their brackets, executable blocks carry their role in front. Prose is wrapped; code
never is, since a wrapped command is another command when somebody copies it.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsdash.config.runbook_markdown import first_line, read_document, readable, target_of
from opsdash.config.runbook_source import visible
from opsdash.model.runbook import DEFAULT_TIMEOUT
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from markdown_it.token import Token

    from opsdash.config.runbook_markdown import Document
    from opsdash.model.runbook import Block, Runbook, Step

_NARROWEST = 20
_STEP_INDENT = "    "
_FRONT_ENDS = ("---", "...")


def render_text(runbook: Runbook, width: int) -> str:
    """`runbook` for people, in lines of at most `width` cells except where code is longer. Ends with a line feed."""
    width = max(width, _NARROWEST)
    lines = _head(runbook, width)
    try:
        document = read_document(_without_front(runbook.text))
    except ValueError:
        return "\n".join([*lines, "", runbook.text.rstrip("\n"), ""])
    lines += _Renderer(runbook, document, width).render()
    return visible("\n".join(lines).rstrip("\n") + "\n")


def _head(runbook: Runbook, width: int) -> list[str]:
    facts = [
        runbook.component,
        *runbook.failure_modes,
        f"owner {runbook.owner}" if runbook.owner else None,
        f"reviewed {runbook.reviewed}" if runbook.reviewed else None,
        f"RTO {format_duration(runbook.rto)}" if runbook.rto else None,
        None if runbook.executable or not runbook.steps else "to read only: it has errors, see `opsdash runbook lint`",
    ]
    known = " · ".join(fact for fact in facts if fact)
    return [*wrap(runbook.title, width), *(wrap(known, width) if known else [])]


def _without_front(text: str) -> str:
    """The Markdown behind the front matter, every line where it was."""
    lines = text.split("\n")
    if lines[0].rstrip() != "---":
        return text
    end = next((index for index, line in enumerate(lines[1:], 1) if line.rstrip() in _FRONT_ENDS), None)
    return text if end is None else "\n" * (end + 1) + "\n".join(lines[end + 1 :])


@dataclass(slots=True)
class _Prefix:
    """What lines inside a list item or quote begin with: its bullet once, then blanks."""

    first: str
    rest: str

    def take(self) -> str:
        text, self.first = self.first, self.rest
        return text


class _Renderer:
    """Walks the tokens once."""

    def __init__(self, runbook: Runbook, document: Document, width: int) -> None:
        self._runbook = runbook
        self._document = document
        self._width = width
        self._steps = {step.line: (number, step) for number, step in enumerate(runbook.steps, 1)}
        self._numbers = {f"#{step.id}": number for number, step in enumerate(runbook.steps, 1)}
        self._blocks = {block.line: block for step in runbook.steps for block in step.blocks}
        self._out: list[str] = []
        self._base = ""
        self._prefixes: list[_Prefix] = []
        self._counters: list[int | None] = []

    def render(self) -> list[str]:
        """The lines of the document."""
        tokens = self._document.tokens
        for index, token in enumerate(tokens):
            self._render_token(token, tokens[index + 1] if index + 1 < len(tokens) else None)
        return self._out

    def _render_token(self, token: Token, following: Token | None) -> None:
        match token.type:
            case "heading_open" if following is not None:
                self._heading(token, following)
            case "paragraph_open" if following is not None:
                if not token.hidden:
                    self._gap()
                self._write(self._spoken(following))
            case "fence" | "code_block" | "html_block":
                self._gap()
                self._code(token)
            case "hr":
                self._gap()
                self._write("-" * 10)
            case "blockquote_open":
                self._gap()
                self._prefixes.append(_Prefix("> ", "> "))
            case "bullet_list_open" | "ordered_list_open":
                if not self._counters:
                    self._gap()
                is_bullet = token.type == "bullet_list_open"
                self._counters.append(None if is_bullet else int(token.attrGet("start") or 1))
            case "list_item_open":
                self._prefixes.append(self._next_bullet())
            case "blockquote_close" | "list_item_close":
                self._prefixes.pop()
            case "bullet_list_close" | "ordered_list_close":
                self._counters.pop()

    def _next_bullet(self) -> _Prefix:
        number = self._counters[-1]
        if number is None:
            return _Prefix("- ", "  ")
        self._counters[-1] = number + 1
        bullet = f"{number}. "
        return _Prefix(bullet, " " * len(bullet))

    def _heading(self, token: Token, inline: Token) -> None:
        numbered = self._steps.get(first_line(token))
        if numbered:
            self._base = _STEP_INDENT
            self._gap()
            self._out += _step_heading(*numbered, self._width)
            return
        title = self._spoken(inline)
        if token.level == 0 and token.tag in {"h1", "h2"}:
            self._base = ""
        if token.tag == "h1" and title == self._runbook.title:
            return
        self._gap()
        self._write(title.upper() if token.tag == "h2" else title)

    def _code(self, token: Token) -> None:
        block = self._blocks.get(first_line(token))
        if block is not None:
            self._write(_block_heading(block))
        elif token.type == "fence":
            self._write(f"[copy] {token.info.strip()}".strip())
        for line in token.content.removesuffix("\n").split("\n"):
            self._out.append(f"{self._base}{self._lead()}  {line}".rstrip())

    def _spoken(self, inline: Token) -> str:
        """The text of a paragraph, each link followed by where it leads."""
        parts: list[str] = []
        target = ""
        for span in self._document.spans(inline):
            if span.type == "link_open":
                target = target_of(span.attrGet("href"))
            elif span.type == "link_close":
                parts.append(self._where(target, parts[-1]))
            elif span.type == "code_inline":
                parts.append(f"`{span.content}`")
            else:
                parts.append(readable(span))
        return " ".join("".join(parts).split())

    def _where(self, target: str, text: str) -> str:
        number = self._numbers.get(target)
        if number is not None:
            return f" (step {number})"
        return "" if target in {text, f"mailto:{text}"} else f" ({target})"

    def _write(self, text: str) -> None:
        room = max(self._width - cells(self._base), _NARROWEST)
        lead = self._lead()
        rest = "".join(prefix.rest for prefix in self._prefixes)
        self._out += [f"{self._base}{line}" for line in wrap(text, room, lead, rest)]

    def _lead(self) -> str:
        return "".join(prefix.take() for prefix in self._prefixes)

    def _gap(self) -> None:
        if not self._out or self._out[-1]:
            self._out.append("")


def _step_heading(number: int, step: Step, width: int) -> list[str]:
    notes = [format_duration(step.time)] if step.time else []
    notes += ["DANGER"] if step.danger else []
    title = f"{step.title}  [{', '.join(notes)}]" if notes else step.title
    return wrap(title, width, f"{number:2d}. ", _STEP_INDENT)


def _block_heading(block: Block) -> str:
    facts = [block.language.value]
    facts += [f"on {block.host}"] if block.host else []
    facts += [f"in {block.cwd}"] if block.cwd else []
    facts += [f"exit status {block.rc}"] if block.rc else []
    facts += [f"expects /{block.expect}/"] if block.expect else []
    facts += [f"every {format_duration(block.every)}"] if block.every else []
    facts += [f"for {format_duration(block.for_)}"] if block.for_ else []
    facts += [f"timeout {format_duration(block.timeout)}"] if block.timeout != DEFAULT_TIMEOUT else []
    facts += [f"kept as {block.as_}"] if block.as_ else []
    facts += ["once"] if block.once else []
    facts += ["DANGER"] if block.danger else []
    return f"[{block.role.value}] {' · '.join(facts)}"


def wrap(text: str, width: int, first: str = "", rest: str = "") -> list[str]:
    """`text` in lines of at most `width` cells; a word that is longer keeps a line of its own."""
    lines: list[str] = []
    line, used = first, cells(first)
    is_empty = True
    for word in text.split():
        size = cells(word)
        if not is_empty and used + 1 + size > width:
            lines.append(line)
            line, used, is_empty = rest, cells(rest), True
        line, used = (line + word, used + size) if is_empty else (f"{line} {word}", used + 1 + size)
        is_empty = False
    return [*lines, line.rstrip()]


def cells(text: str) -> int:
    """The number of terminal cells that `text` takes."""
    if text.isascii():
        return len(text)
    return sum(_cell(character) for character in text)


def _cell(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
