"""Options as words of a shell command that a person can paste, with secrets as references.

The equivalent manual command is printed on plans, into the journal and into evidence, so it must not contain a
secret; masked it would be of no use at 3 a.m. A reference is therefore printed as what a shell makes of it:
`${file:PATH}` as `$(cat PATH)`, `${cmd:ARGV}` as `$(ARGV)`, `${NAME}` as itself. All else is quoted.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_REFERENCE: Final = re.compile(
    r"""\$\{(?: file:(?P<file>[^}]*)
             | cmd:(?P<command>[^}]*)
             | (?P<name>[A-Za-z_][A-Za-z0-9_]*)(?: :-(?P<default>[^}]*))? )\}""",
    re.VERBOSE,
)
_SPECIAL: Final = re.compile(r'([\\"$`])')


def shell_word(text: str) -> str:
    """`text` as one word of a POSIX shell."""
    parts: list[str] = []
    place = 0
    for match in _REFERENCE.finditer(text):
        parts += [_quoted(text[place : match.start()]), f'"{_expansion(match)}"']
        place = match.end()
    parts.append(_quoted(text[place:]))
    return "".join(parts) or "''"


def shell_command(words: Iterable[str]) -> str:
    """`words` as one command line."""
    return " ".join(shell_word(word) for word in words)


def _quoted(text: str) -> str:
    return shlex.quote(text) if text else ""


def _expansion(match: re.Match[str]) -> str:
    if match["file"] is not None:
        return f"$(cat {shlex.quote(match['file'])})"
    if match["command"] is not None:
        return f"$({_requoted(match['command'])})"
    if match["default"] is not None:
        default = _SPECIAL.sub(r"\\\1", match["default"])
        return f"${{{match['name']}:-{default}}}"
    return f"${match['name']}"


def _requoted(command: str) -> str:
    try:
        return shlex.join(shlex.split(command))
    except ValueError:  # an open quote
        return shlex.quote(command)
