"""Dotted paths: `json.data[0].id` names one value among those that a check found.

`value:`, `facts:`, `at:` and `rows:` are such paths. A step is a name, an index in brackets (negative from
the end), or a quoted name in brackets for what a name cannot say: `headers["x-request-id"]`. There are no
wildcards and no filters: what needs thought is an expectation's part.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import AfterValidator

Step = str | int

_STEP: Final = re.compile(
    r"""(?P<name>[^.\[\]"'\s][^.\[\]"']*)
      | \[(?P<index>-?\d{1,9})\]
      | \[(?P<quote>["'])(?P<key>.*?)(?P=quote)\]""",
    re.VERBOSE,
)


@lru_cache(maxsize=1024)
def parse_path(path: str) -> tuple[Step, ...]:
    """The steps of `path`. Raises ValueError, with a sentence for the author, where it is no path."""
    steps: list[Step] = []
    at = 0
    while at < len(path):
        if steps and path[at] == ".":
            at += 1
            bracket_allowed = False
        else:
            bracket_allowed = True
        match = _STEP.match(path, at)
        named = match is not None and match["name"] is not None
        if match is None or (named and steps and bracket_allowed) or (not named and not bracket_allowed):
            raise ValueError(f"{path!r} is no path at character {at + 1}; write it as json.data[0].id")
        steps.append(_step(match))
        at = match.end()
    if not steps:
        raise ValueError("an empty path names nothing; write it as json.data[0].id")
    return tuple(steps)


def _step(match: re.Match[str]) -> Step:
    if match["index"] is not None:
        return int(match["index"])
    return match["name"] or match["key"] or ""


def lookup(values: Any, path: str) -> Any:
    """The value that `path` names in `values`.

    Raises KeyError with the part of the path that was missing, from the start: `json.data[3]`.
    """
    found = values
    steps = parse_path(path)
    for number, step in enumerate(steps):
        try:
            found = _descend(found, step)
        except (KeyError, IndexError, TypeError):
            raise KeyError(spell(steps[: number + 1])) from None
    return found


def _descend(value: Any, step: Step) -> Any:
    if isinstance(value, Mapping):
        return value[step if isinstance(step, str) else str(step)]
    if isinstance(step, int) and isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return value[step]
    raise TypeError


def spell(steps: Sequence[Step]) -> str:
    """A path from its steps."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.fullmatch(r"""[^.\[\]"'\s]+""", step):
            text += f".{step}" if text else step
        else:
            text += f'["{step}"]'
    return text


def _checked(path: str) -> str:
    parse_path(path)
    return path


DottedPath = Annotated[str, AfterValidator(_checked)]
"""An option that is a path."""
