"""Markdown as runbooks need it: tokens with their lines, the plain text of a span, links, and anchors.

Blocks are parsed for the whole file, spans (emphasis, links, code) only where something asks for them: that is two
thirds of the time of a parse. The preset is CommonMark, so what opsdash reads is what GitHub shows.

Anchors follow GitHub's rule: lower case, everything but letters, marks, digits, `_`, `-` and spaces dropped, spaces
turned into hyphens, and `-1`, `-2` behind a title that was there before.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

from opsdash.config.runbook_source import one_line, visible
from opsdash.model.runbook import Link

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_PARAGRAPH = 16 * 1024
"""A longer one is not searched for links and emphasis: unclosed brackets cost quadratic time."""

_SPECIAL = re.compile(r"[\\`*_\[\]<>&!]")
_HTML_ANCHOR = re.compile(r"""\s(?:id|name)\s*=\s*["']?([\w:.-]+)""")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//")
_BREAKS = ("softbreak", "hardbreak")
_CONTAINERS = ("list_item_open", "blockquote_open")
_LITERAL = ("text", "text_special", "code_inline")


@dataclass(frozen=True, slots=True)
class Document:
    """The block tokens of a text, and what link references in it resolve to."""

    tokens: tuple[Token, ...]
    references: dict[str, Any] = field(repr=False)

    @property
    def lost(self) -> int | None:
        """From which line on nothing was read since it is nested too deeply, which the parser does not say."""
        deepest = _markdown().options["maxNesting"] - 1
        return next(
            (first_line(token) for token in self.tokens if token.level >= deepest and token.type in _CONTAINERS), None
        )

    def spans(self, inline: Token) -> list[Token]:
        """The spans of a paragraph, heading or list item."""
        content = inline.content
        if not _SPECIAL.search(content) or len(content) > MAX_PARAGRAPH:
            return [Token("text", "", 0, content=content)]
        return self.parse_spans(content)

    def parse_spans(self, content: str) -> list[Token]:
        """The spans of `content`."""
        spans: list[Token] = []
        _markdown().inline.parse(content, _markdown(), self.references, spans)
        return spans


@cache
def _markdown() -> MarkdownIt:
    return MarkdownIt("commonmark").disable("inline")


def read_document(text: str) -> Document:
    """Parse the blocks of `text`. Whatever goes wrong inside the Markdown library comes out as ValueError."""
    references: dict[str, Any] = {}
    try:
        tokens = _markdown().parse(text, references)
    except Exception as error:  # a bug there must not take down more than this file
        raise ValueError(f"the Markdown cannot be parsed ({type(error).__name__})") from error
    return Document(tuple(tokens), references)


def first_line(token: Token) -> int:
    """The line on which a token begins, from 1."""
    return token.map[0] + 1 if token.map else 1


def plain(spans: Sequence[Token], *, html: bool = True) -> str:
    """What a reader sees of `spans`, on one line."""
    return " ".join("".join(readable(span, html=html) for span in spans).split())


def readable(span: Token, *, html: bool = True) -> str:
    """What a reader sees of one span; HTML is shown as it stands unless `html` is false, as on GitHub."""
    if span.type in _LITERAL or (html and span.type == "html_inline"):
        return span.content
    if span.type == "image":
        return span.content
    return " " if span.type in _BREAKS else ""


def links_of(spans: Sequence[Token], line: int) -> Iterator[Link]:
    """The links and images among `spans`, whose first one stands at `line`."""
    for index, span in enumerate(spans):
        if span.type in _BREAKS:
            line += 1
        elif span.type == "link_open":
            yield Link(target_of(span.attrGet("href")), one_line(_link_text(spans, index), 80), line)
        elif span.type == "image":
            yield Link(target_of(span.attrGet("src")), one_line(span.content, 80), line)


def target_of(href: str | float | None) -> str:
    """A web address stays as the parser encoded it; a path or anchor is decoded, since it is compared with names."""
    target = str(href or "")
    return target if is_address(target) else visible(unquote(target))


def is_address(target: str) -> bool:
    """Whether a link leaves the workspace: it has a scheme or a host."""
    return _ADDRESS.match(target) is not None


def _link_text(spans: Sequence[Token], opening: int) -> str:
    closing = next((index for index in range(opening, len(spans)) if spans[index].type == "link_close"), len(spans))
    return plain(spans[opening + 1 : closing])


class Anchors:
    """The anchors of one document: gives each title its own."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def take(self, title: str) -> str:
        """The anchor of the next heading that reads `title`."""
        wanted = slug = slugify(title)
        while slug in self._seen:
            self._seen[wanted] += 1
            slug = f"{wanted}-{self._seen[wanted]}"
        self._seen[slug] = 0
        return slug


def slugify(title: str) -> str:
    """GitHub's anchor of a title that is the only one of its name."""
    return "".join(_slug_character(character) for character in title.lower())


def _slug_character(character: str) -> str:
    if character == " ":
        return "-"
    if character in "-_":
        return character
    category = unicodedata.category(character)
    return character if category[0] in "LM" or category in {"Nd", "Pc"} else ""


def heading_anchors(document: Document) -> dict[int, str]:
    """The anchor of each heading, by its line, those in quotes and lists included, as on GitHub."""
    anchors = Anchors()
    found: dict[int, str] = {}
    for token, inline in zip(document.tokens, document.tokens[1:], strict=False):
        if token.type == "heading_open":
            found[first_line(token)] = anchors.take(plain(document.spans(inline), html=False))
    return found


def html_anchors(document: Document) -> set[str]:
    """Anchors that HTML in the text declares: `<a id="dba">`."""
    return {
        anchor
        for token in document.tokens
        if token.type in {"html_block", "inline"} and "<" in token.content
        for anchor in _HTML_ANCHOR.findall(token.content)
    }
