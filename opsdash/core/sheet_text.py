"""Runbooks inside emergency sheets: their headings further down, their links to the copies beside the page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

RUNBOOKS = "runbooks"
"""The folder beside the sheets that holds every runbook as it is, so that links between them lead somewhere."""

_OPENING = re.compile(r"(?P<before>[ \t]*(?:(?:>|[-+*]|\d{1,9}[.)])[ \t]*)*)(?P<marks>`{3,}|~{3,})(?P<info>.*)")
_CLOSING = re.compile(r"(?P<before>[ \t>]*)(?P<marks>`{3,}|~{3,})[ \t]*")
_HEADING = re.compile(r" {0,3}(#{1,6})(?=[ \t]|$)")
_LINK = re.compile(r"\]\((?![A-Za-z][A-Za-z0-9+.-]*:|/)([^()\s#]*)(#[^()\s]*)?\)")


def file_name(name: str) -> str:
    """The name of a file for an id; ids are names already, and a runbook's is that of its file."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "_"


def without_front(source: str) -> str:
    """A runbook without its front matter."""
    lines = source.split("\n")
    if lines[0].rstrip() != "---":
        return source
    end = next((number for number, line in enumerate(lines[1:], 1) if line.rstrip() in {"---", "..."}), None)
    return source if end is None else "\n".join(lines[end + 1 :]).lstrip("\n")


class _Fence(NamedTuple):
    """A fence that is open. quoted: in a quote, whose end ends it; indent: how far in its closing marks may stand."""

    marks: str
    quoted: bool
    indent: int


def embedded(body: str, name: str, known: Iterable[str]) -> list[str]:
    """A runbook inside a page: its headings two levels further down, its links to the copies beside the page.

    Code stays as it is. That every fence closes was seen to when the runbook was read: an open one is an error.
    name: of its file; known: the names of all runbooks.
    """
    names = set(known)

    def link(match: re.Match[str]) -> str:
        target, anchor = match[1], match[2] or ""
        if not target:
            return f"]({RUNBOOKS}/{name}.md{anchor})"
        is_known = target.endswith(".md") and target.removesuffix(".md") in names
        return f"]({RUNBOOKS}/{target}{anchor})" if is_known else match[0]

    lines = []
    fence: _Fence | None = None
    for line in body.rstrip("\n").split("\n"):
        if fence is not None and fence.quoted and not line.lstrip().startswith(">"):
            fence = None
        if fence is not None:
            lines.append(line)
            fence = None if _closes(fence, line) else fence
            continue
        fence = _opened(line)
        lines.append(line if fence else _LINK.sub(link, _deeper(line)))
    return lines


def _opened(line: str) -> _Fence | None:
    match = _OPENING.match(line)
    if match is None or (match["marks"][0] == "`" and "`" in match["info"]):
        return None
    before = match["before"]
    is_plain = not before.strip() and len(before) <= 3
    return _Fence(match["marks"], ">" in before, 3 if is_plain else len(before) + 3)


def _closes(fence: _Fence, line: str) -> bool:
    match = _CLOSING.fullmatch(line)
    return match is not None and match["marks"].startswith(fence.marks) and len(match["before"]) <= fence.indent


def _deeper(line: str) -> str:
    match = _HEADING.match(line)
    return line if match is None else f"{'#' * min(6, len(match[1]) + 2)}{line[match.end() :]}"
