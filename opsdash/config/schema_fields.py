"""What the models of the files are made of: strict models, and the types of their fields.

Most types take what people write (`3 of 5`, `30s`, one text for a list of one) and say what would be right of what they
do not take.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from opsdash.config.listening import Address, parse_address
from opsdash.config.places import LONGEST_PATH, checked_path
from opsdash.kinds.fields import Duration
from opsdash.model.operation import ResponseKind, Threshold, Tier

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Ids are parts of references (`provider/check#reason`), of file names and of metrics: plain characters
only.
"""

_THRESHOLD = re.compile(r"\s*(\d{1,3})\s*(?:of\s*(\d{1,3}))?\s*")
_MAX_THRESHOLD = 60


class Strict(BaseModel):
    """No unknown keys, no changes, docstrings are documentation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class Open(Strict):
    """Keys beyond those named here belong to a kind, or are values of a provider."""

    model_config = ConfigDict(extra="allow")

    @property
    def others(self) -> dict[str, Any]:
        """The keys beyond."""
        return dict(self.model_extra or {})


def _threshold(value: Any) -> Threshold:
    """`3`, or `3 of 5`."""
    match = _THRESHOLD.fullmatch(str(value)) if isinstance(value, str | int) else None
    if match is None or isinstance(value, bool):
        raise ValueError(f"{value!r} is no threshold; write 3, or 3 of 5")
    hits = int(match[1])
    of = int(match[2]) if match[2] else hits
    if not 1 <= hits <= of <= _MAX_THRESHOLD:
        raise ValueError(f"{value!r} is no threshold; write 3, or 3 of 5 (1 to {_MAX_THRESHOLD}, the smaller first)")
    return Threshold(hits, of)


def _listed(value: Any) -> Any:
    """A single text stands for a list of one."""
    return [value] if isinstance(value, str) else value


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError(f"a value must be a text or a number, not {kind_of(value)}")


def kind_of(value: Any) -> str:
    """What a value is, for a message about one that is of the wrong kind."""
    return {dict: "a mapping", list: "a list", type(None): "empty"}.get(type(value), repr(value)[:40])


_FORMS = "write a list of checks, {all: […]}, {at_least: 2, of: […]} or {away: owners}"


class DetectionText(Strict):
    """`detected_by` as written: references, how many of them, or all owners away."""

    references: tuple[str, ...] = ()
    at_least: int = 1
    away: bool = False
    under: str = ""
    """The key under which the references stand."""
    flaw: str = ""
    """What is wrong with `at_least`; the references are judged all the same."""


def _detection(value: Any) -> DetectionText:
    """The four forms of `detected_by`."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list):
        return DetectionText(references=_references(value), at_least=1)
    if not isinstance(value, dict):
        raise ValueError(f"{_FORMS}, not {kind_of(value)}")  # noqa: TRY004 - pydantic collects ValueErrors
    keys = set(value)
    if keys == {"away"}:
        if value["away"] != "owners":
            raise ValueError("away: owners is the only form; it means that all of them are away or have left")
        return DetectionText(away=True)
    if keys == {"all"}:
        references = _references(value["all"])
        return DetectionText(references=references, at_least=len(references), under="all")
    if keys == {"at_least", "of"}:
        references = _references(value["of"])
        at_least = value["at_least"]
        if not isinstance(at_least, int) or isinstance(at_least, bool) or not 1 <= at_least <= len(references):
            said = f"at_least must be a number from 1 to {len(references)}, the number of checks in `of`"
            return DetectionText(references=references, under="of", flaw=said)
        return DetectionText(references=references, at_least=at_least, under="of")
    raise ValueError(f"unknown form with {', '.join(sorted(keys)) or 'no key'}; {_FORMS}")


def _references(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise ValueError("a list of one check or more is needed, such as [active/api, delivery]")
    return tuple(value)


class ResponseText(Strict):
    """`response` as written."""

    kind: ResponseKind
    mode: str | None = None


def _response(value: Any) -> ResponseText:
    if isinstance(value, dict) and set(value) == {"degrade"} and isinstance(value["degrade"], str):
        return ResponseText(kind=ResponseKind.DEGRADE, mode=value["degrade"])
    if value in ("switch", "runbook"):
        return ResponseText(kind=ResponseKind(value))
    shown = f"{value!r:.60} is no response" if value is not None else "a response is missing"
    raise ValueError(f"{shown}; write switch, runbook or {{degrade: MODE}}")


def _listen(value: Any) -> Address:
    if not isinstance(value, str):
        raise ValueError(f"an address is needed, not {kind_of(value)}; write 127.0.0.1:9180, or [::1]:9180")  # noqa: TRY004 - pydantic collects ValueErrors
    return parse_address(value)


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("must be longer than 0")
    return value


_REFERENCE_LIST = {"type": "array", "items": {"type": "string"}, "minItems": 1}

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Scalar = Annotated[str, BeforeValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})]
Span = Annotated[Duration, AfterValidator(_positive)]
Interval = Annotated[Duration, Field(ge=0.1)]
References = Annotated[
    tuple[str, ...],
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Tiers = Annotated[
    tuple[Tier, ...],
    BeforeValidator(_listed),
    WithJsonSchema({"type": "array", "items": {"enum": [tier.value for tier in Tier]}}),
]
Place = Annotated[
    str,
    BeforeValidator(checked_path),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": LONGEST_PATH}),
]
Listen = Annotated[
    Address,
    BeforeValidator(_listen),
    WithJsonSchema({"type": "string", "examples": ["127.0.0.1:9180", "[::1]:9180"]}),
]
DownAfter = Annotated[
    Threshold,
    BeforeValidator(_threshold),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}], "examples": [3, "3 of 5"]}),
]
DetectedBy = Annotated[
    DetectionText,
    BeforeValidator(_detection),
    WithJsonSchema(
        {
            "anyOf": [
                _REFERENCE_LIST,
                {
                    "type": "object",
                    "properties": {"all": _REFERENCE_LIST},
                    "required": ["all"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "properties": {"at_least": {"type": "integer", "minimum": 1}, "of": _REFERENCE_LIST},
                    "required": ["at_least", "of"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "properties": {"away": {"const": "owners"}},
                    "required": ["away"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
ResponseField = Annotated[
    ResponseText,
    BeforeValidator(_response),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["switch", "runbook"]},
                {
                    "type": "object",
                    "properties": {"degrade": {"type": "string"}},
                    "required": ["degrade"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
