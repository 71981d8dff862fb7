"""JSON Schema of the workspace's files, for editors: `opsdash schema component`, `opsdash schema workspace` and
`opsdash schema drill`.

It is made from the models and from the options of every kind, so it cannot be out of date. A check is told
apart by its `kind`: each kind has a schema of its own, with the keys that every check has and those of the
kind. A drill names the kind of a fault as a key.

Options may be written as templates (`{port}`) or references (`${PORT}`) whatever their type is, so such a
text is allowed beside every other type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter

from opsdash.config.schema import ActionModel, CheckModel, ComponentModel, WorkspaceModel
from opsdash.config.schema_alarms import ChannelModel
from opsdash.config.schema_drills import DrillModel, FaultModel, UndoModel
from opsdash.errors import KindError
from opsdash.kinds.fields import Duration
from opsdash.kinds.registry import (
    action_kind,
    action_kind_names,
    check_kind,
    check_kind_names,
    injection_kind,
    injection_kind_names,
    notifier_kind,
    notifier_kind_names,
)
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pydantic import BaseModel

Schema = dict[str, Any]
Which = Literal["component", "workspace", "drill"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_MODELS: dict[Which, type[BaseModel]] = {
    "component": ComponentModel,
    "workspace": WorkspaceModel,
    "drill": DrillModel,
}
_TEMPLATE: Schema = {"type": "string", "pattern": r"\{.+\}"}
_DURATION = TypeAdapter(Duration).json_schema()["pattern"]
_CHECK, _ACTION, _READ, _CHANNEL = "CheckModel", "ActionModel", "ReadModel", "ChannelModel"
_FAULTS: dict[str, tuple[str, type[BaseModel]]] = {
    "inject": ("FaultModel", FaultModel),
    "undo": ("UndoModel", UndoModel),
}


def json_schema(which: Which) -> Schema:
    """The schema of checks/*.yaml (`component`), opsdash.yaml (`workspace`) or drills/*.yaml (`drill`)."""
    schema = _MODELS[which].model_json_schema()
    definitions: Schema = schema.setdefault("$defs", {})
    if which == "drill":
        _faults(schema, definitions)
        _load(definitions)
    else:
        _kinds(definitions, _CHECK, check_kind_names(), _check_options, CheckModel)
    if which == "workspace" and notifier_kind_names():
        _kinds(definitions, _CHANNEL, notifier_kind_names(), _channel_options, ChannelModel)
    if which == "component":
        _kinds(definitions, _ACTION, action_kind_names(), _action_options, ActionModel)
        _kinds(definitions, _READ, action_kind_names(), _read_options, ActionModel)
        for model in ("SwitchModel", "ModeModel"):
            definitions[model]["properties"]["read"] = {
                "$ref": f"#/$defs/{_READ}",
                "description": definitions[model]["properties"]["read"]["description"],
            }
    cleaned: Schema = _tidied(schema)
    return {"$schema": DIALECT, "title": f"opsdash {which}", **cleaned}


def _faults(schema: Schema, definitions: Schema) -> None:
    """The faults of a drill and what takes them back: a mapping with the kind as its key, or a list of such."""
    for key, (name, common) in _FAULTS.items():
        usable = _of_each_kind(definitions, name, injection_kind_names(), _injection_options, common)
        definitions[name] = {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "properties": {kind: {"$ref": f"#/$defs/{_of(name, kind)}"} for kind in usable},
            "additionalProperties": False,
        }
        one = {"$ref": f"#/$defs/{name}"}
        schema["properties"][key] = {
            "anyOf": [one, {"type": "array", "items": one}],
            "description": schema["properties"][key]["description"],
        }


def _load(definitions: Schema) -> None:
    """A load is a program or a request: the options of these actions."""
    kinds = ("command", "http")
    _of_each_kind(definitions, _ACTION, kinds, _action_options, None)
    for kind in kinds:
        keys = definitions["LoadModel"]["properties"]
        keys[kind] = {"$ref": f"#/$defs/{_of(_ACTION, kind)}", "description": keys[kind]["description"]}


def _injection_options(name: str) -> tuple[type[BaseModel] | None, str]:
    kind = injection_kind(name)
    return kind.options, kind.summary


def _check_options(name: str) -> tuple[type[BaseModel] | None, str]:
    kind = check_kind(name)
    return kind.options, kind.summary


def _channel_options(name: str) -> tuple[type[BaseModel] | None, str]:
    kind = notifier_kind(name)
    return kind.options, kind.summary


def _action_options(name: str) -> tuple[type[BaseModel] | None, str]:
    kind = action_kind(name)
    return kind.options, kind.summary


def _read_options(name: str) -> tuple[type[BaseModel] | None, str]:
    kind = action_kind(name)
    return kind.read_options, kind.summary


def _kinds(
    definitions: Schema,
    name: str,
    kinds: Iterable[str],
    options_of: Callable[[str], tuple[type[BaseModel] | None, str]],
    common: type[BaseModel],
) -> None:
    """Put a schema for each kind into `definitions`, and under `name` the choice among them."""
    usable = _of_each_kind(definitions, name, kinds, options_of, common)
    for kind in usable:
        own = definitions[_of(name, kind)]
        own["properties"]["kind"] = {"const": kind}
        own["required"].insert(0, "kind")
    definitions[name] = {
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": usable, "description": "What is measured, acts, or sends."}},
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
                "then": {"$ref": f"#/$defs/{_of(name, kind)}"},
            }
            for kind in usable
        ],
    }


def _of_each_kind(
    definitions: Schema,
    name: str,
    kinds: Iterable[str],
    options_of: Callable[[str], tuple[type[BaseModel] | None, str]],
    common: type[BaseModel] | None,
) -> list[str]:
    """Put a schema for each kind into `definitions`; returns the kinds that can be used."""
    usable = []
    for kind in kinds:
        try:
            options, summary = options_of(kind)
        except KindError:
            continue  # its driver is not installed, so its options are not known
        if options is not None:
            usable.append(kind)
            definitions[_of(name, kind)] = _kind(definitions, _of(name, kind), options, common) | {
                "title": kind,
                "description": summary,
            }
    return usable


def _of(name: str, kind: str) -> str:
    return f"{name}.{kind}"


def _kind(definitions: Schema, name: str, options: type[BaseModel], common: type[BaseModel] | None) -> Schema:
    """The schema of one kind: what all have, and its own keys."""
    shared = {} if common is None else common.model_json_schema(ref_template="#/$defs/{model}").get("properties", {})
    own = options.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
    for model, definition in own.get("$defs", {}).items():
        definitions[f"{name}.{model}"] = _or_template_below(definition)
    properties = {key: _or_template(value) for key, value in own.get("properties", {}).items()}
    return {
        "type": "object",
        "properties": {**shared, **properties},
        "required": [*own.get("required", [])],
        "additionalProperties": False,
    }


def _or_template_below(schema: Schema) -> Schema:
    if "properties" not in schema:
        return schema
    return {**schema, "properties": {key: _or_template(value) for key, value in schema["properties"].items()}}


def _or_template(schema: Schema) -> Schema:
    """The schema of an option, or a text with braces in it."""
    if schema.get("type") == "string" and "pattern" not in schema and "format" not in schema:
        return schema
    described: Schema = {key: schema[key] for key in ("description", "default", "title") if key in schema}
    rest = {key: value for key, value in schema.items() if key not in described}
    return {**described, "anyOf": [rest, _TEMPLATE]} if rest else schema


def _tidied(value: Any) -> Any:
    """For people: no `null`, which nobody writes for a key that may be left away; durations as they are
    written.
    """
    if isinstance(value, list):
        return [_tidied(each) for each in value]
    if not isinstance(value, dict):
        return value
    cleaned = {key: _tidied(each) for key, each in value.items() if not (key == "default" and each is None)}
    if cleaned.get("pattern") == _DURATION and isinstance(cleaned.get("default"), float):
        cleaned["default"] = format_duration(cleaned["default"])
    choices = cleaned.get("anyOf")
    if isinstance(choices, list):
        left = [choice for choice in choices if choice != {"type": "null"}]
        if len(left) == 1:
            del cleaned["anyOf"]
            return {**left[0], **cleaned}
        cleaned["anyOf"] = left
    return cleaned
