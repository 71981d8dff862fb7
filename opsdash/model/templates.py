"""Templates in options: `{host}`, `{to.as}`, `{from}`.

A name in braces is replaced once, by a plain string, and never again: a value that itself contains braces stays as it
is. `{{` is a brace; a closing one needs no doubling, so that JSON can be written as it is. References to the
environment and to secrets (`${NAME}`) are no templates: they pass through.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_TOKEN = re.compile(r"\$\{[^}]*\}|\{\{|\{([A-Za-z_][\w.-]*)\}")


def fill(text: str, names: Mapping[str, str]) -> str:
    """`text` with its templates replaced. A name that is not in `names` is left as it stands."""

    def replacement(match: re.Match[str]) -> str:
        found = match[0]
        if found == "{{":
            return "{"
        if found.startswith("$"):
            return found
        return names.get(match[1], found)

    return _TOKEN.sub(replacement, text) if "{" in text else text


def fill_all(value: Any, names: Mapping[str, str]) -> Any:
    """`fill` for every string in a structure of mappings and lists, keys excepted."""
    if isinstance(value, str):
        return fill(value, names)
    if isinstance(value, Mapping):
        return {key: fill_all(each, names) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [fill_all(each, names) for each in value]
    return value


def names_in(value: Any) -> set[str]:
    """All template names that occur in a structure."""
    if isinstance(value, str):
        return {match[1] for match in _TOKEN.finditer(value) if match[1]}
    if isinstance(value, Mapping):
        return set().union(*(names_in(each) for each in value.values())) if value else set()
    if isinstance(value, list | tuple):
        return set().union(*(names_in(each) for each in value)) if value else set()
    return set()
