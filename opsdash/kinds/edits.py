"""One value in a small text: read it, or replace it and leave every other byte as it was.

Three forms: the text is the value; a JSON document has it under a path; a file of NAME=value lines has it under a
name. Other people's comments, order, indentation and number formats stay, because the files are under version
control or are read by people, and because what is not understood must not be rewritten.

All functions raise ValueError with the end of a sentence that begins with the file's name ("holds 3 lines, …").
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from opsdash.kinds.bodies import parse_json
from opsdash.kinds.scalars import scalar_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opsdash.kinds.scalars import Scalar

# --- the text is the value ---------------------------------------------------------------------------------------


def read_text(content: str) -> str | None:
    """The only line of `content`; None when it is empty."""
    value = content.strip()
    if "\n" in value or "\r" in value:
        raise ValueError(f"holds {len(value.splitlines())} lines where one names what is in force")
    _refuse_controls(value)
    return value or None


def edit_text(content: str, value: str) -> str:
    """`value`, with the line end that was there; a new file gets one."""
    read_text(content)
    return value + (content[len(content.rstrip()) :] if content else "\n")


def _refuse_controls(text: str) -> None:
    if any(character < " " and character != "\t" for character in text):
        raise ValueError("holds control characters, so it is no text")


# --- JSON --------------------------------------------------------------------------------------------------------

_SPACES: Final = " \t\r\n"
_SPACE: Final = re.compile(rf"[{_SPACES}]*")
_DECODER: Final = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class _Member:
    key: str
    start: int
    value_start: int
    value_end: int


def read_json(content: str, path: Sequence[str]) -> str | None:
    """The scalar under `path`, as text; None when there is none, or null, or an empty text."""
    if not content.strip():
        return None
    found = _find(content, path)
    if found is None:
        return None
    value = _DECODER.raw_decode(content, found.value_start)[0]
    if value is None or value == "":
        return None
    try:
        return scalar_text(value)
    except ValueError as error:
        raise ValueError(f"has a value under {'.'.join(path)} that {error}") from None


def edit_json(content: str, path: Sequence[str], value: Scalar) -> str:
    """`content` with `value` under `path`. A number or a boolean keeps its type, so that it can be put back."""
    if not content.strip():
        return json.dumps(_nested(path, value), indent=2, ensure_ascii=False) + "\n"
    found = _find(content, path)
    if found is None:
        return _insert(content, path, json.dumps(value, ensure_ascii=False))
    present = _DECODER.raw_decode(content, found.value_start)[0]
    written = json.dumps(_of_same_type(present, value, ".".join(path)), ensure_ascii=False)
    return content[: found.value_start] + written + content[found.value_end :]


def remove_json(content: str, path: Sequence[str]) -> str:
    """`content` without the member under `path`, and without the comma that it no longer needs."""
    found = _find(content, path)
    if found is None:
        return content
    others = [member for member in _members(content, _object_start(content, path[:-1])) if member != found]
    before = [member for member in others if member.start < found.start]
    if before:
        return content[: before[-1].value_end] + content[found.value_end :]
    if others:
        return content[: found.start] + content[others[0].start :]
    return content[: found.start].rstrip(_SPACES) + content[_skip(content, found.value_end) :]


def with_object(content: str, key: str) -> str:
    """`content` with an empty object under `key` of its top, where there is none yet."""
    return content if _find(content, [key]) is not None else _insert(content, [key], "{}")


def _nested(path: Sequence[str], value: Scalar) -> object:
    nested: object = value
    for key in reversed(path):
        nested = {key: nested}
    return nested


def _find(content: str, path: Sequence[str]) -> _Member | None:
    """Where the value under `path` stands. None: its parent is there, it is not."""
    _refuse_what_is_no_json(content)
    start = _skip(content, 0)
    found: _Member | None = None
    for depth, key in enumerate(path):
        if content[start] != "{":
            where = f"under {'.'.join(path[:depth])}" if depth else "at its top"
            raise ValueError(f"has no object {where} in which {key!r} could be")
        same = [member for member in _members(content, start) if member.key == key]
        if len(same) > 1:
            raise ValueError(f"has {key!r} {len(same)} times in one object")
        if not same:
            if depth < len(path) - 1:
                raise ValueError(f"has no object under {'.'.join(path[: depth + 1])}")
            return None
        found = same[0]
        start = found.value_start
    return found


def _refuse_what_is_no_json(content: str) -> None:
    if content.startswith("\ufeff"):
        raise ValueError("begins with a byte order mark, which JSON does not allow")
    try:
        parse_json(content)
    except ValueError as error:
        raise ValueError(f"is no JSON: {error}") from None


def _members(content: str, start: int) -> Iterator[_Member]:
    """The members of the object that opens at `start` of valid JSON."""
    place = _skip(content, start + 1)
    while content[place] != "}":
        key, key_end = _DECODER.raw_decode(content, place)
        value_start = _skip(content, _skip(content, key_end) + 1)
        value_end = _DECODER.raw_decode(content, value_start)[1]
        yield _Member(key, place, value_start, value_end)
        place = _skip(content, value_end)
        if content[place] == ",":
            place = _skip(content, place + 1)


def _insert(content: str, path: Sequence[str], written: str) -> str:
    """A new member behind the last one of its object, indented as the first one is."""
    start = _object_start(content, path[:-1])
    member = f"{json.dumps(path[-1], ensure_ascii=False)}: {written}"
    others = list(_members(content, start))
    if not others:
        return f"{content[: start + 1]}{member}{content[_skip(content, start + 1) :]}"
    space = content[start + 1 : others[0].start] or " "
    place = others[-1].value_end
    return f"{content[:place]},{space}{member}{content[place:]}"


def _object_start(content: str, path: Sequence[str]) -> int:
    """Where the object under `path` opens; with an empty one, that at the top."""
    found = _find(content, path) if path else None
    return _skip(content, 0) if found is None else found.value_start


def _of_same_type(present: object, value: Scalar, where: str) -> Scalar:
    if isinstance(present, str):
        return scalar_text(value)
    if present is None:
        return value
    if not isinstance(present, bool | int | float):
        raise ValueError(  # noqa: TRY004 - it is the content that is wrong
            f"has no single value under {where}, so nothing is put there"
        )
    wanted = json.loads(value) if isinstance(value, str) and _is_json_scalar(value) else value
    if isinstance(wanted, str) or isinstance(wanted, bool) is not isinstance(present, bool):
        kind = "a boolean" if isinstance(present, bool) else "a number"
        raise ValueError(f"has {kind} under {where}, and {value!r} is none")
    return wanted


def _is_json_scalar(text: str) -> bool:
    try:
        return isinstance(parse_json(text), bool | int | float)
    except ValueError:
        return False


def _skip(content: str, place: int) -> int:
    match = _SPACE.match(content, place)
    return place if match is None else match.end()


# --- NAME=value lines --------------------------------------------------------------------------------------------

ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ENV_HEAD: Final = re.compile(r"[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*")
_NEEDS_NO_QUOTES: Final = re.compile(r"[A-Za-z0-9_./:@%+,=-]+")
_ESCAPED: Final = re.compile(r'\\([\\"$`])')
_TO_ESCAPE: Final = re.compile(r'([\\"$`])')


@dataclass(frozen=True, slots=True)
class _Assignment:
    """One NAME=value line, cut in three: `head` with the equal sign, the value as written, `tail` with a comment."""

    name: str
    head: str
    written: str
    tail: str

    @property
    def quote(self) -> str:
        return self.written[:1] if self.written[:1] in {"'", '"'} else ""

    @property
    def value(self) -> str:
        if self.quote == '"':
            return _ESCAPED.sub(r"\1", self.written[1:-1])
        return self.written[1:-1] if self.quote else self.written


def read_env(content: str, name: str) -> str | None:
    """The value of `name`, of the last line that sets it; None when none does, or sets it to nothing."""
    found = [each for each in _assignments(content) if each is not None and each.name == name]
    return (found[-1].value or None) if found else None


def edit_env(content: str, name: str, value: str) -> str:
    """`content` with the last line that sets `name` changed, or with a line more."""
    lines = content.split("\n")
    numbers = [number for number, each in enumerate(_assignments(content)) if each is not None and each.name == name]
    if not numbers:
        separator = "" if not content or content.endswith("\n") else "\n"
        return f"{content}{separator}{name}={_quoted(value, '')}\n"
    number = numbers[-1]
    ending = "\r" if lines[number].endswith("\r") else ""
    old = _assignment(lines[number].removesuffix("\r"), number)
    if old is not None:
        lines[number] = f"{old.head}{_quoted(value, old.quote)}{old.tail}{ending}"
    return "\n".join(lines)


def _assignments(content: str) -> list[_Assignment | None]:
    """One for each line; None for blank lines and comments."""
    return [_assignment(line.removesuffix("\r"), number) for number, line in enumerate(content.split("\n"))]


def _assignment(line: str, number: int) -> _Assignment | None:
    if not line.strip() or line.lstrip().startswith("#"):
        return None
    head = _ENV_HEAD.match(line)
    if head is None:
        raise ValueError(f"has a line {number + 1} that is no NAME=value")
    rest = line[head.end() :]
    end = _value_end(rest)
    tail = rest[end:] if end is not None else ""
    if end is None or (tail.strip() and not (tail[0] in " \t" and tail.lstrip().startswith("#"))):
        raise ValueError(f"has a line {number + 1} whose quotes do not close, or not at its end")
    return _Assignment(head["name"], head.group(), rest[:end], tail)


def _value_end(rest: str) -> int | None:
    """Where the value ends; None when that cannot be told."""
    if rest.startswith("'"):
        closing = rest.find("'", 1)
        return closing + 1 if closing > 0 else None
    if rest.startswith('"'):
        place = 1
        while place < len(rest) and rest[place] != '"':
            place += 2 if rest[place] == "\\" else 1
        return place + 1 if place < len(rest) else None
    comments = [place for place in (rest.find(" #"), rest.find("\t#")) if place >= 0]
    bare = rest[: min(comments)] if comments else rest
    return None if "'" in bare or '"' in bare else len(bare.rstrip())


def _quoted(value: str, quote: str) -> str:
    """`value` in the quotes that were there, where it can stand in them; with none, only where it needs some."""
    if not quote and _NEEDS_NO_QUOTES.fullmatch(value):
        return value
    if quote != '"' and "'" not in value:
        return f"'{value}'"
    return '"' + _TO_ESCAPE.sub(r"\\\1", value) + '"'
