"""The net below the rule: no control byte of a text reaches the terminal, even where somebody forgot `clean`.

Textual passes raw control bytes on. The rule is that text is cleaned when it enters opsdash; this filter sees every
line just before it is written, and drops what should not have come so far.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.filter import LineFilter

if TYPE_CHECKING:
    from textual.color import Color

_DANGEROUS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e0fff]"
)


class ControlFilter(LineFilter):
    """Replaces controls by a middle dot, cell by cell, so that columns stay where they are."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002 - the interface
        return [
            Segment(_DANGEROUS.sub("·", segment.text), segment.style)
            if segment.control is None and _DANGEROUS.search(segment.text)
            else segment
            for segment in segments
        ]
