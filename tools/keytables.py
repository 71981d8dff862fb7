"""The keys of a pydantic model as Markdown tables, from its JSON Schema.

A model is a table of its own keys, and a further one for each mapping inside it, under the path by which a file
reaches it: `switch.served_by`, `providers.ID.checks.ID`. A mapping that is reached by several paths is told once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from inspect import cleandoc
from typing import TYPE_CHECKING, Any

from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

Schema = dict[str, Any]

_MARKS = {"15s": "duration", "64KiB": "size", "20%": "share"}
"""`opsdash.kinds.fields` gives each of its types an example, by which it is known here."""


@dataclass(slots=True)
class Table:
    """The keys of one mapping, and the paths by which it is reached."""

    schema: Schema
    paths: list[str] = field(default_factory=list)


class KeyTables:
    """All tables of one model."""

    def __init__(self, model: type[BaseModel]) -> None:
        schema = model.model_json_schema(by_alias=True)
        self._definitions: Schema = schema.get("$defs", {})
        self._root = Table(schema)
        self._inner: dict[str, Table] = {}
        self._walk(schema, "")

    def own(self) -> str:
        """The model's own keys; empty where it has none."""
        return self._rows(self._root.schema)

    def inner(self) -> Iterator[tuple[list[str], str, str]]:
        """Paths, description and rows of each mapping inside the model, in the order of the file."""
        for table in self._inner.values():
            yield table.paths, _prose(table.schema.get("description", "")), self._rows(table.schema)

    def _walk(self, schema: Schema, path: str) -> None:
        """Depth first, so that what belongs together stands together."""
        for name, key in schema.get("properties", {}).items():
            for suffix, definition in self._mappings(key):
                inner = f"{path}{name}{suffix}"
                known = self._inner.get(definition)
                if known is not None:
                    known.paths.append(inner)
                    continue
                self._inner[definition] = Table(self._definitions[definition], [inner])
                self._walk(self._definitions[definition], f"{inner}.")

    def _mappings(self, key: Schema, suffix: str = "") -> Iterator[tuple[str, str]]:
        """What leads from a key into mappings with keys of their own: `.ID` into a dictionary of them."""
        reference = key.get("$ref")
        if reference is not None:
            definition = reference.rpartition("/")[2]
            if "properties" in self._definitions[definition]:
                yield suffix, definition
        for option in key.get("anyOf", ()):
            yield from self._mappings(option, suffix)
        if "items" in key:
            yield from self._mappings(key["items"], suffix + "[]")
        for value in _values(key):
            yield from self._mappings(value, suffix + ".ID")

    def _rows(self, schema: Schema) -> str:
        keys: Schema = schema.get("properties", {})
        if not keys:
            return ""
        required = schema.get("required", ())
        lines = ["| key | what it takes | default | |", "|---|---|---|---|"]
        for name, key in keys.items():
            takes = self._type(key)
            default = "required" if name in required else _default(key, takes)
            cells = (f"`{name}`", takes, default, self._description(key))
            lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
        return "\n".join(lines)

    def _description(self, key: Schema) -> str:
        """What is written at the key; pydantic leaves it out where the model inside says the same."""
        inside = self._definitions.get(key.get("$ref", "").rpartition("/")[2], {})
        return _prose(key.get("description") or inside.get("description", ""))

    def _type(self, key: Schema) -> str:
        """What a key takes, in words."""
        for example in key.get("examples", ()):
            if example in _MARKS:
                return _MARKS[example]
        if "$ref" in key:
            return self._type(self._definitions[key["$ref"].rpartition("/")[2]])
        if "anyOf" in key:
            options = [self._type(option) for option in key["anyOf"] if option.get("type") != "null"]
            return " or ".join(dict.fromkeys(options))
        if "enum" in key:
            return ", ".join(f"`{value}`" for value in key["enum"])
        if "const" in key:
            return f"`{key['const']}`"
        return self._plain_type(key)

    def _plain_type(self, key: Schema) -> str:
        kind = key.get("type")
        if kind == "array":
            of = self._type(key["items"]) if key.get("items") else "anything"
            return f"list of {of}" if " or " not in of else f"list, each {of}"
        if kind == "object":
            types = {self._type(value) for value in _values(key)}
            return f"mapping, each {types.pop()}" if len(types) == 1 else "mapping"
        if isinstance(kind, list):
            return " or ".join(_WORDS[each] for each in kind)
        return _WORDS.get(kind or "", "anything")


_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true`, `false`",
    "null": "nothing",
    "object": "mapping",
    "array": "list",
}


def _values(key: Schema) -> Iterator[Schema]:
    """Schemas of a dictionary's values, whatever its keys are called."""
    if isinstance(key.get("additionalProperties"), dict):
        yield key["additionalProperties"]
    yield from key.get("patternProperties", {}).values()


def _default(key: Schema, kind: str) -> str:
    """A default as a file would write it; empty where leaving the key out means that there is none."""
    value = key.get("default")
    if value is None or value in ({}, [], ""):
        return ""
    if kind == "duration":
        return f"`{format_duration(value) if value else 0}`"
    if kind == "size":
        return f"`{_size(value)}`"
    if kind == "share":
        return f"`{value:.0%}`"
    if isinstance(value, dict):  # what its keys are by default, their own table says
        return next((f"`{each}`" for each in value.values() if f"`{each}`" in kind), "")
    return f"`{_written(value)}`"


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _size(value: int) -> str:
    for unit, factor in (("MiB", 1024**2), ("KiB", 1024)):
        if value and value % factor == 0:
            return f"{value // factor}{unit}"
    return str(value)


def _prose(text: str) -> str:
    return " ".join(cleandoc(text).split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
