"""Text from outside, made harmless: the one boundary function for whatever a monitored system says.

A terminal obeys what it is sent. A response body may hold sequences that write the clipboard (OSC 52), set the
title, clear the screen, or reverse the reading order of a line. So nothing from outside is stored or shown before
`clean`: strings that terminals interpret (OSC, DCS, SOS, PM, APC) go away together with their payload, since a
payload is meant for a machine; every other control becomes visible, since a person should see that it was there.
"""

from __future__ import annotations

import re

LIMIT = 2048
"""Characters kept by default: enough for a diagnosis, small enough for a screen."""

LONGEST_COMMAND = 4096
"""Characters kept of a command that a person is to type."""

CUT = "…"
"""Stands where a text was cut short, which tells whoever masks it that a secret may have been cut, too."""

_STRINGS = re.compile(
    r"(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])"  # OSC, DCS, SOS, PM or APC begins, as two bytes or as one
    r"[^\x07\x1b\x90\x98\x9c\x9d\x9e\x9f]*"  # payload: another introducer ends it, which keeps this linear
    r"(?:\x07|\x9c|\x1b\\)"
)

_INVISIBLE = (
    "\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Format characters: bidi overrides, zero width, soft hyphen, tags, fillers. All of them are unseen and deceive."""

_CONTROLS = re.compile(f"[\x00-\x1f\x7f-\x9f\ud800-\udfff{_INVISIBLE}]")


def _visible(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if code < 0xA0:
        return f"<{code:02X}>"
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return f"<U+{code:04X}>"


def clean(text: str, limit: int = LIMIT) -> str:
    """`text` as one line without any control or invisible character, at most `limit` characters long.

    A cut is marked by an ellipsis. Cleaning what is clean changes nothing.
    """
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    visible = _CONTROLS.sub(_visible, _STRINGS.sub("", text[: 4 * limit + 64]))
    if len(visible) <= limit:
        return visible
    return visible[: max(0, limit - 1)] + CUT[:limit]


def clean_lines(text: str, limit: int = LIMIT) -> str:
    """Like `clean`, but line ends stay, and tabs become spaces: for output and runbooks."""
    lines = re.split(r"\r\n|\n|\r", text[: 4 * limit + 64])
    joined = "\n".join(clean(line.expandtabs(4), limit) for line in lines)
    if len(joined) <= limit:
        return joined
    return joined[: max(0, limit - 1)] + CUT[:limit]
