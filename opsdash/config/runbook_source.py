"""The bytes of a runbook, made into text that is safe to read and to show.

Three things make a file look other than it is: a byte order mark (it hides the front matter from every parser), line
ends (a lone CR), and characters that a reader cannot see but a shell or a terminal obeys ("Trojan Source"). The
first two are normalised. The third are replaced by a visible name and reported, so that whatever is derived from the
text is safe, whoever shows it. Entities are looked at too, since Markdown would turn `&#x202e;` into the character.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from html import unescape
from typing import NamedTuple

MAX_BYTES = 256 * 1024

_HOSTILE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters except tab and line feed
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"  # soft hyphen, joiners, fillers
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164"  # zero width, bidi, line separators, blanks
    "\ud800-\udfff\ufeff\uffa0\ufff0-\ufffc\ufffe\uffff"  # surrogates, marks, interlinear, no characters
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"  # shorthand, music, tags
    # a variation selector is honest only behind a symbol (⚠️) or in a keycap (1️⃣)
    "|(?<![\u00a9\u00ae\u203c-\u3299\U0001f000-\U0001faff])[\ufe00-\ufe0f](?!\u20e3)"
)
_NAME = re.compile(r"⟨U\+[0-9A-F]+⟩")
_ENTITY = re.compile(r"&(?:#[xX][0-9a-fA-F]{1,6}|#[0-9]{1,7}|[A-Za-z][A-Za-z0-9]{1,31});")


class Note(NamedTuple):
    """A finding that reading the bytes gave. column: where in the line as it is shown, from 1; 0 where not known."""

    code: str
    line: int
    message: str
    column: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """A runbook's text. `notes` are the findings that reading it gave."""

    text: str
    sha256: str
    lines: tuple[str, ...]
    notes: tuple[Note, ...]

    @property
    def last_line(self) -> int:
        """Number of the last line, at least 1."""
        return max(len(self.lines), 1)


def read_source(source: bytes | str) -> Source:
    """Decode, normalise, make visible. The hash is that of the bytes as they are."""
    raw = source if isinstance(source, bytes) else source.encode("utf-8", "surrogatepass")
    notes: list[Note] = []
    if len(raw) > MAX_BYTES:
        notes.append(Note("too-large", 1, f"the file has {len(raw)} bytes; a runbook may have {MAX_BYTES}"))
    text = _decode(raw[:MAX_BYTES], notes) if isinstance(source, bytes) else source[:MAX_BYTES]
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    lines = _visible_lines(text, notes)
    return Source("\n".join(lines), hashlib.sha256(raw).hexdigest(), _without_last_empty(lines), tuple(notes))


def visible(text: str) -> str:
    """`text` with everything invisible replaced by its name."""
    return _HOSTILE.sub(_name, text)


def is_hostile(text: str) -> bool:
    """Whether `text` contains something that is invisible or commands a terminal."""
    return _HOSTILE.search(text) is not None


def one_line(text: str, limit: int = 200) -> str:
    """`text` for a title or a message: visible, on one line, not long."""
    flat = " ".join(visible(text).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def _decode(raw: bytes, notes: list[Note]) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        if error.start < MAX_BYTES - 3:  # else a character was cut at the limit, which is reported already
            notes.append(Note("not-utf8", line, f"byte {raw[error.start]:#04x} is no UTF-8"))
        return raw.decode("utf-8", "replace")


def _visible_lines(text: str, notes: list[Note]) -> list[str]:
    lines = text.split("\n")
    if _HOSTILE.search(text) is None and "&" not in text:
        return lines
    for number, line in enumerate(lines, 1):
        shown = _ENTITY.sub(_visible_entity, visible(line))
        if shown == line:
            continue
        lines[number - 1] = shown
        names = sorted(set(_NAME.findall(shown)))
        column = next((at for at, (one, other) in enumerate(zip(line, shown, strict=False), 1) if one != other), 0)
        message = f"invisible or control character {', '.join(names[:5])}"
        notes.append(Note("invisible-character", number, message, column))
    return lines


def _visible_entity(match: re.Match[str]) -> str:
    character = unescape(match[0])
    return visible(character) if is_hostile(character) else match[0]


def _name(match: re.Match[str]) -> str:
    return "".join(f"⟨U+{ord(character):04X}⟩" for character in match[0])


def _without_last_empty(lines: list[str]) -> tuple[str, ...]:
    return tuple(lines[:-1] if lines and not lines[-1] else lines)
