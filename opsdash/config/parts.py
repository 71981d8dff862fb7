"""From a tree to its valid parts: what is wrong is told, taken out, and the rest is validated again.

pydantic says everything that is wrong at once. Each error lies in a *part* of the file (a check, a
provider, the switch, a degraded mode, …): that part is taken out, and nothing else. So the rest of the file
always validates in the end, and a misspelt check never takes its component with it.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from opsdash.config.problems import KeyPath, Problem, did_you_mean
from opsdash.config.yaml import Flaw, Marks
from opsdash.model.runbook import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pydantic_core import ErrorDetails

NAMED_SECTIONS = frozenset({"features", "providers", "each", "checks", "modes", "failures"})
"""Sections of a component whose entries are parts of their own."""

_NAMED_IN_WORKSPACE = frozenset({"people", "anchors", "vars", "defaults", "engine"})
_LISTS = frozenset({"owners", "depends_on"})

ModelT = TypeVar("ModelT", bound=BaseModel)


class Report:
    """Collects the problems of one file, with the lines that belong to them."""

    def __init__(self, file: str, data: bytes) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.off: dict[str, str] = {}
        self._marks = Marks(data)

    def error(self, path: KeyPath, message: str, hint: str = "", part: str | None = None) -> Problem:
        """Something is wrong; `part` is switched off by it."""
        problem = Problem(self.file, self._marks.line(path), path, message, hint, Severity.ERROR, part)
        self.add(problem)
        return problem

    def warning(self, path: KeyPath, message: str, hint: str = "") -> None:
        """Something is surely a mistake, and switches nothing off."""
        self.add(Problem(self.file, self._marks.line(path), path, message, hint, Severity.WARNING))

    def add(self, problem: Problem) -> None:
        """Keep a problem, and the first reason for which its part is off."""
        self.problems.append(problem)
        if problem.part is not None:
            self.off.setdefault(problem.part, problem.reason)

    def line(self, path: KeyPath) -> int:
        """Line of a key."""
        return self._marks.line(path)


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a file to which problems belong, and the part that they switch off."""

    report: Report
    path: KeyPath
    part: str | None

    def at(self, *keys: str | int) -> Spot:
        """A place below."""
        return Spot(self.report, (*self.path, *keys), self.part)

    def error(self, message: str, hint: str = "") -> None:
        """Something is wrong here."""
        self.report.error(self.path, message, hint, self.part)

    def warning(self, message: str, hint: str = "") -> None:
        """Something here is surely a mistake."""
        self.report.warning(self.path, message, hint)


# --- which part encloses a key ------------------------------------------------------------------------------


def component_part(path: KeyPath) -> tuple[KeyPath, str | None]:
    """The smallest part of a component that encloses `path`: where it is, and its name in `Component.off`."""
    head = str(path[0])
    if head == "providers" and len(path) > 3 and path[2] == "checks":
        return path[:4], f"checks/{path[1]}/{path[3]}"
    if (head in NAMED_SECTIONS or head == "defaults") and len(path) > 1:
        return path[:2], f"{head}/{path[1]}"
    if head in _LISTS and len(path) > 1:
        return path[:2], None
    return path[:1], head


def workspace_part(path: KeyPath) -> tuple[KeyPath, str | None]:
    """The same for opsdash.yaml."""
    head = str(path[0])
    if head == "people" and len(path) > 3 and path[2] == "away":
        return path[:4], None
    if head in _NAMED_IN_WORKSPACE and len(path) > 1:
        return path[:2], f"{head}/{path[1]}"
    return path[:1], head


PartOf = typing.Callable[[KeyPath], tuple[KeyPath, "str | None"]]


# --- validation ---------------------------------------------------------------------------------------------


def valid_parts(
    model: type[ModelT],
    value: Mapping[str, Any],
    report: Report,
    part_of: PartOf,
    *,
    flaws: Iterable[Flaw] = (),
    later: frozenset[str] = frozenset(),
) -> ModelT:
    """What of `value` is valid; everything else is reported and left out. `later`: keys of later versions."""
    rest = _without_empty(value)
    for flaw in flaws:
        prune, part = part_of(flaw.path) if flaw.path else ((), None)
        report.add(Problem(report.file, flaw.line, flaw.path, flaw.message, flaw.hint, part=part))
        if len(prune) > 1 or prune == ("switch",):
            _take_out(rest, [prune])
    while True:
        try:
            return model.model_validate(rest)
        except ValidationError as error:
            prunes = []
            for details in error.errors():
                path = path_of(details, rest)
                prune, part = part_of(path) if path else ((), None)
                prunes.append(prune)
                _tell(details, Spot(report, path, part), model, later)
            _take_out(rest, [prune for prune in prunes if prune] or [(key,) for key in rest])


def _tell(details: ErrorDetails, spot: Spot, model: type[BaseModel], later: frozenset[str]) -> None:
    """Report one error. An unknown key at the top of a file switches nothing off."""
    if details["type"] == "extra_forbidden" and len(spot.path) == 1:
        spot = Spot(spot.report, spot.path, None)
        if str(spot.path[0]) in later:
            spot.error("this is not in this version", "remove the key: nothing would happen by it")
            return
    spot.error(*describe(details, spot.path, model))


def _without_empty(value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy that may be pruned. A section with nothing in it is as good as none; so is a provider without
    values.
    """
    copy: dict[str, Any] = {}
    for key, section in value.items():
        if section is None:
            continue
        if key == "providers" and isinstance(section, dict):
            copy[key] = {name: _provider(entry) for name, entry in section.items()}
        elif isinstance(section, dict):
            copy[key] = dict(section)
        else:
            copy[key] = list(section) if isinstance(section, list) else section
    return copy


def _provider(entry: Any) -> Any:
    if entry is None:
        return {}
    if isinstance(entry, dict) and isinstance(entry.get("checks"), dict):
        return {**entry, "checks": dict(entry["checks"])}
    return entry


def _take_out(value: dict[str, Any], paths: Iterable[KeyPath]) -> None:
    """Remove what is at `paths`; of a list the last entries first, so that indexes stay right."""
    for path in sorted(set(paths), key=lambda each: tuple((isinstance(key, int), key) for key in each), reverse=True):
        node: Any = value
        for key in path[:-1]:
            node = _at(node, key)
        if isinstance(node, dict):
            node.pop(path[-1], None)
        elif isinstance(node, list) and isinstance(path[-1], int) and path[-1] < len(node):
            del node[path[-1]]


def _at(node: Any, key: str | int) -> Any:
    try:
        return node[key]
    except (KeyError, IndexError, TypeError):
        return None


def options_problems(
    error: ValidationError,
    value: Mapping[str, Any],
    model: type[BaseModel],
    more_keys: Iterable[str] = (),
) -> list[tuple[KeyPath, str, str]]:
    """Errors of a kind's options as (path, message, hint); `more_keys` are the keys that every check has."""
    found = []
    for details in error.errors():
        path = path_of(details, value)
        message, hint = describe(details, path, model, more_keys)
        found.append((path, message, hint))
    return found


# --- words --------------------------------------------------------------------------------------------------


def path_of(details: ErrorDetails, value: Any) -> KeyPath:
    """Where an error is. What pydantic adds to a location (`[key]`, names of union members) is left out."""
    path: list[str | int] = []
    node = value
    last = len(details["loc"]) - 1
    for number, key in enumerate(details["loc"]):
        if (isinstance(node, dict) and key in node) or (
            isinstance(node, list) and isinstance(key, int) and key < len(node)
        ):
            path.append(key)
            node = node[key]  # type: ignore[index]
        elif number == last and details["type"] == "missing":
            path.append(key)
    return tuple(path)


def describe(
    details: ErrorDetails, path: KeyPath, model: type[BaseModel], more_keys: Iterable[str] = ()
) -> tuple[str, str]:
    """An error in words, and what would be right."""
    kind = details["type"]
    if kind == "extra_forbidden":
        known = keys_of(model_at(model, path[:-1]))
        more = more_keys if len(path) == 1 else ()
        return "unknown key", did_you_mean(str(path[-1]), [*known, *more])
    if kind == "missing":
        return "the key is missing", ""
    if details["loc"] and details["loc"][-1] == "[key]":
        hint = "use letters, digits, dots, dashes and underscores, at most 64, beginning with a letter or digit"
        return f"{details['input']!r:.60} is no name", hint
    for pattern, describer in _DESCRIBERS:
        if pattern.match(kind):
            return describer(details)
    return _reworded(details["msg"]), ""


def _choice(details: ErrorDetails) -> tuple[str, str]:
    expected = re.findall(r"'([^']*)'", str(details.get("ctx", {}).get("expected", "")))
    return f"{_shown(details['input'])} is not possible", did_you_mean(str(details["input"]), expected)


def _value_error(details: ErrorDetails) -> tuple[str, str]:
    said, _, hint = str(details.get("ctx", {}).get("error", details["msg"])).partition("; ")
    return said, hint


def _needed(what: str, hint: str = "") -> Callable[[ErrorDetails], tuple[str, str]]:
    return lambda details: (f"{what} is needed, not {_shown(details['input'])}", hint)


_DESCRIBERS: tuple[tuple[re.Pattern[str], Callable[[ErrorDetails], tuple[str, str]]], ...] = (
    (re.compile(r"enum|literal_error"), _choice),
    (re.compile(r"value_error"), _value_error),
    (re.compile(r"string_type"), _needed("a text", "put it in quotes")),
    (re.compile(r"dict_type|model_type|model_attributes_type|mapping_type"), _needed("a mapping of keys")),
    (re.compile(r"tuple_type|list_type|iterable_type|set_type"), _needed("a list", "write it as [a, b]")),
    (re.compile(r"int_"), _needed("a whole number")),
    (re.compile(r"float_"), _needed("a number")),
    (re.compile(r"bool_"), _needed("true or false")),
)


def _reworded(message: str) -> str:
    message = message.removeprefix("Value error, ").replace("Input should be", "must be")
    return message.replace("Input should", "must")[:300]


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return "nothing" if value is None else f"{value!r:.60}"


def model_at(model: type[BaseModel] | None, path: KeyPath) -> type[BaseModel] | None:
    """The model that describes what is at `path`."""
    for key in path:
        if model is None:
            return None
        field = next((each for name, each in model.model_fields.items() if (each.alias or name) == key), None)
        if field is not None:  # else an entry of a mapping or list, which `_model_in` has looked through
            model = _model_in(field.annotation)
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in `X | None`, `dict[str, X]`, `tuple[X, ...]` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (types.UnionType, typing.Union, dict, tuple, list, typing.Annotated, Mapping):
        found = (_model_in(argument) for argument in typing.get_args(annotation))
        return next((each for each in found if each is not None), None)
    return None


def keys_of(model: type[BaseModel] | None) -> list[str]:
    """The keys that a model has, as they are written."""
    return [] if model is None else [field.alias or name for name, field in model.model_fields.items()]
