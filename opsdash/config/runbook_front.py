"""The front matter of a runbook: a few YAML keys between two lines `---`, read strictly.

The YAML is read as a stream of events, not composed by PyYAML: the C composer recurses on the C stack, and a file of a
hundred thousand brackets kills the process. An own composer of four levels needs no more than what is written here,
keeps the line of every value, and leaves every scalar the text that the author wrote (`no` is a word, `2026-09-14` is
text until a date is wanted). Aliases and tags are refused: nothing in a runbook needs them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from opsdash.config.runbook_rules import NOWHERE, Span, nearest
from opsdash.config.runbook_source import is_hostile, one_line, visible
from opsdash.model.runbook import Param
from opsdash.model.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from opsdash.config.runbook_rules import Findings

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST = 4
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_PARAM_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FENCE = re.compile(r"---[ \t]*")
_FENCE_END = re.compile(r"(?:---|\.\.\.)[ \t]*")


@dataclass(frozen=True, slots=True)
class _Scalar:
    value: str
    line: int
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class _Sequence:
    items: tuple[_Node, ...]
    line: int
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class _Mapping:
    items: tuple[tuple[_Scalar, _Node], ...]
    line: int
    span: Span = NOWHERE


_Node: TypeAlias = _Scalar | _Sequence | _Mapping


@dataclass(slots=True)
class Front:
    """What the front matter says. `body` is the number of lines before the Markdown begins."""

    present: bool = False
    body: int = 0
    title: str | None = None
    component: str | None = None
    failure_modes: tuple[str, ...] = ()
    owner: str | None = None
    reviewed: date | None = None
    review_every: float | None = None
    rto: float | None = None
    params: tuple[Param, ...] = ()


def read_front(lines: Sequence[str], findings: Findings) -> Front:
    """Read the front matter, if the file has one; what is wrong with it goes to `findings`."""
    if not lines or not _FENCE.fullmatch(lines[0]):
        _report_late_start(lines, findings)
        return Front()
    end = next((index for index, line in enumerate(lines[1:], 1) if _FENCE_END.fullmatch(line)), None)
    if end is None:
        findings.add("open-front-matter", 1, "the front matter that begins here never ends")
        return Front(present=True)
    front = Front(present=True, body=end + 1)
    try:
        root = _compose("\n".join(lines[1:end]) + "\n")
    except _BadYamlError as error:
        findings.add("bad-yaml", error.line, f"the front matter is no valid YAML: {error}")
        return front
    if isinstance(root, _Mapping):
        _fill(front, root, findings)
    elif root is not None:
        findings.add(
            "bad-yaml", root.line, "the front matter is no list of keys and values, such as title: …", span=root.span
        )
    return front


def _report_late_start(lines: Sequence[str], findings: Findings) -> None:
    first = next((index for index, line in enumerate(lines) if line.strip()), None)
    if first is None or not _FENCE.fullmatch(lines[first].strip()):
        return
    if any(_FENCE_END.fullmatch(line.strip()) for line in lines[first + 1 : first + 50]):
        findings.add("late-front-matter", first + 1, "there is something before the front matter, so nobody reads it")


class _BadYamlError(Exception):
    """The front matter cannot be used. `line` is the line in the file."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def _compose(text: str) -> _Node | None:
    events = _events(text)
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            root = _node(next(events), events, 0)
            next(events)  # the end of the document
            after = next(events)
            if not isinstance(after, yaml.StreamEndEvent):
                raise _BadYamlError("it holds a second document", _line(after))
            return root
    return None


def _events(text: str) -> Iterator[Any]:
    try:
        yield from yaml.parse(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
        raise _BadYamlError(one_line(str(problem)), 2 if mark is None else mark.line + 2) from None


def _node(event: Any, events: Iterator[Any], depth: int) -> _Node:
    line = _line(event)
    if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
        raise _BadYamlError("anchors (&) and aliases (*) are not used in runbooks; put the text between quotes", line)
    if event.tag is not None:
        raise _BadYamlError("tags (!) are not used in runbooks; put the text between quotes", line)
    if isinstance(event, yaml.ScalarEvent):
        return _Scalar(event.value, line, _span(event))
    if depth == _DEEPEST:
        raise _BadYamlError("it is nested too deeply", line)
    if isinstance(event, yaml.SequenceStartEvent):
        return _Sequence(tuple(_items(yaml.SequenceEndEvent, events, depth)), line, _span(event))
    return _Mapping(tuple(_pairs(events, depth)), line, _span(event))


def _items(end: type[Any], events: Iterator[Any], depth: int) -> Iterator[_Node]:
    for event in events:
        if isinstance(event, end):
            return
        yield _node(event, events, depth + 1)


def _pairs(events: Iterator[Any], depth: int) -> Iterator[tuple[_Scalar, _Node]]:
    for event in events:
        if isinstance(event, yaml.MappingEndEvent):
            return
        key = _node(event, events, depth + 1)
        if not isinstance(key, _Scalar):
            raise _BadYamlError("a key is a list or a mapping; is a value like {x} missing its quotes?", key.line)
        yield key, _node(next(events), events, depth + 1)


def _line(event: Any) -> int:
    """The line in the file: YAML counts from 0, and begins on the second line."""
    return int(event.start_mark.line) + 2


def _span(event: Any) -> Span:
    """Where a scalar stands in its line, and where anything else begins; YAML counts columns from 0."""
    begin, end = event.start_mark, event.end_mark
    is_short = isinstance(event, yaml.ScalarEvent) and end.line == begin.line
    return Span(int(begin.column) + 1, int(end.column) + 1 if is_short else 0)


def _fill(front: Front, root: _Mapping, findings: Findings) -> None:
    for key, node in _known(root, _READERS, "front matter", findings):
        _READERS[key](front, node, findings)
    if front.component:
        front.failure_modes = tuple(
            mode if "/" in mode else f"{front.component}/{mode}" for mode in front.failure_modes
        )


def _known(mapping: _Mapping, valid: Collection[str], where: str, findings: Findings) -> Iterator[tuple[str, _Node]]:
    """The pairs of `mapping` whose key is valid and new; the others are reported."""
    seen: set[str] = set()
    for key, node in mapping.items:
        name = key.value
        if name not in valid:
            hint = nearest(name, valid) if findings.told_in_full("unknown-key") else ""
            findings.add("unknown-key", key.line, f"unknown key {one_line(name)!r} in {where}{hint}", span=key.span)
        elif name in seen:
            findings.add(
                "duplicate-key", key.line, f"{name!r} stands in {where} twice; the first counts", span=key.span
            )
        else:
            seen.add(name)
            yield name, node


def _text(node: _Node, what: str, findings: Findings, *, flat: bool = True) -> str | None:
    if not isinstance(node, _Scalar):
        findings.add("bad-value", node.line, f"{what} must be text, not a list or mapping", span=node.span)
        return None
    if is_hostile(node.value):
        findings.add(
            "invisible-character", node.line, f"{what} contains {one_line(visible(node.value))!r}", span=node.span
        )
    value = " ".join(visible(node.value).split()) if flat else visible(node.value)
    if value in ("", "~", "null"):
        findings.add("bad-value", node.line, f"{what} has no value", span=node.span)
        return None
    return value


def _read_title(front: Front, node: _Node, findings: Findings) -> None:
    front.title = _text(node, "title", findings)


def _read_component(front: Front, node: _Node, findings: Findings) -> None:
    front.component = _text(node, "component", findings)


def _read_owner(front: Front, node: _Node, findings: Findings) -> None:
    front.owner = _text(node, "owner", findings)


def _read_failure_modes(front: Front, node: _Node, findings: Findings) -> None:
    if not isinstance(node, _Sequence):
        findings.add(
            "bad-value", node.line, "failure_modes must be a list, such as [orders-db/unreachable]", span=node.span
        )
        return
    texts = [_text(item, "an entry of failure_modes", findings) for item in node.items]
    front.failure_modes = tuple(dict.fromkeys(text for text in texts if text is not None))


def _read_reviewed(front: Front, node: _Node, findings: Findings) -> None:
    value = _text(node, "reviewed", findings)
    if value is None:
        return
    front.reviewed = _date(value)
    if front.reviewed is None:
        message = f"reviewed: {one_line(value, 40)!r} is no date"
        findings.add("bad-value", node.line, message, "write the day as YYYY-MM-DD", span=node.span)


def _date(text: str) -> date | None:
    if not _DATE.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _read_review_every(front: Front, node: _Node, findings: Findings) -> None:
    front.review_every = _duration(node, "review_every", findings)


def _read_rto(front: Front, node: _Node, findings: Findings) -> None:
    front.rto = _duration(node, "rto", findings)


def _duration(node: _Node, key: str, findings: Findings) -> float | None:
    value = _text(node, key, findings)
    if value is None:
        return None
    try:
        return positive_duration(value)
    except ValueError as error:
        findings.add("bad-value", node.line, f"{key}: {error}", span=node.span)
        return None


def positive_duration(text: str) -> float:
    """Seconds of `text`, more than 0 and less than ten years. Raises ValueError."""
    if len(text) > 40:
        raise ValueError(f"{one_line(text, 40)!r} is no duration")
    seconds = parse_duration(text)
    if not (0 < seconds < 3650 * 86400 and math.isfinite(seconds)):
        raise ValueError(f"{text!r} must be more than 0 and less than ten years")
    return seconds


_PARAM_KEYS = ("default", "ask", "secret", "pattern")
_SECRET = re.compile(r"env|env:[A-Za-z_][A-Za-z0-9_]*|file:[^{}]+|cmd:[^{}]+")
RESERVED = frozenset({"PATH", "HOME", "IFS", "ENV", "BASH_ENV", "LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH"})
"""Variables by which programs are found and loaded; no parameter may be one of them."""


def _read_params(front: Front, node: _Node, findings: Findings) -> None:
    if not isinstance(node, _Mapping):
        findings.add(
            "bad-value", node.line, "params must be a mapping, such as standby: {default: db2.internal}", span=node.span
        )
        return
    names = {key.value for key, _ in node.items}
    params = [
        _param(name, value, findings)
        for name, value in _known(node, names, "params", findings)
        if _is_param_name(name, value.line, findings)
    ]
    front.params = tuple(param for param in params if param is not None)


def _is_param_name(name: str, line: int, findings: Findings) -> bool:
    if _PARAM_NAME.fullmatch(name):
        return True
    message = f"{one_line(name, 40)!r} is no name for a parameter"
    findings.add("bad-value", line, message, "use letters, digits and _, since it becomes an environment variable")
    return False


def _param(name: str, node: _Node, findings: Findings) -> Param | None:
    where = f"parameter {name}"
    if not isinstance(node, _Mapping):
        findings.add(
            "bad-value", node.line, f"{where} must be a mapping, such as {{default: db2.internal}}", span=node.span
        )
        return None
    values: dict[str, str] = {}
    for key, value in _known(node, _PARAM_KEYS, where, findings):
        text = _text(value, f"{key} of {where}", findings, flat=False)
        if text is not None:
            values[key] = text
    param = Param(name, node.line, **values)
    problem = _param_problem(param)
    if problem:
        findings.add("bad-parameter", node.line, f"{where}: {problem}")
    return param


def is_reserved(name: str) -> bool:
    """Whether a variable of this name means something to programs or to opsdash."""
    return name.startswith("OPSDASH_") or name in RESERVED


def _param_problem(param: Param) -> str | None:
    if is_reserved(param.name):
        return "programs are found and opsdash speaks by this variable; choose another name"
    if param.secret is not None:
        others = [key for key in ("default", "ask", "pattern") if getattr(param, key) is not None]
        if others:
            return f"a secret is never asked for, so {', '.join(others)} means nothing"
        if not _SECRET.fullmatch(param.secret):
            return "secret is env, env:NAME, file:PATH or cmd:PROGRAM ARGS"
    if param.pattern is None:
        return None
    try:
        pattern = re.compile(param.pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"{one_line(param.pattern, 60)!r} is no regular expression: {error}"
    if param.default is not None and not pattern.fullmatch(param.default):
        return "the default does not match the pattern"
    return None


_READERS: dict[str, Callable[[Front, _Node, Findings], None]] = {
    "title": _read_title,
    "component": _read_component,
    "failure_modes": _read_failure_modes,
    "owner": _read_owner,
    "reviewed": _read_reviewed,
    "review_every": _read_review_every,
    "rto": _read_rto,
    "params": _read_params,
}
