"""From a tree to its valid parts: what is wrong is told, taken out, and the rest is validated again.

pydantic says everything that is wrong at once. Each error lies in a *part* of the file (a check, a
provider, the switch, a degraded mode, …): that part is switched off, and nothing else. So the rest of the
file always validates in the end, and a misspelt check never takes its component with it.

What is taken out is the wrong key alone. The part stays, without it: it will not be used, but whoever reads
the parts goes on to look at its other keys, so that all that is wrong with it is told in one round. Where a
key was, there is a *hole*, and nothing more is said of a hole: a check whose `kind` is a list has one
problem, and not a second one because there is no such kind. Some mistakes hide more than a hole (a section
that is misspelt, or stands there twice): what is *hidden* may be there, so a reference to it is no problem
either.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from opsdash.config.problems import KeyPath, Problem, did_you_mean, nearest
from opsdash.config.yaml import Flaw, Marks
from opsdash.model.runbook import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from pydantic_core import ErrorDetails

NAMED_SECTIONS = frozenset({"features", "providers", "each", "checks", "modes", "failures"})
"""Sections of a component whose entries are parts of their own."""

_NAMED_IN_WORKSPACE = frozenset({"people", "windows", "anchors", "vars", "defaults", "engine", "alarms", "rota"})
_OF_ALARMS = frozenset({"channels", "routes"})
_READ_ON = NAMED_SECTIONS | {"switch", "windows", "anchors"}
"""Sections whose parts are read on when something in them is wrong; whoever reads them knows that they are off."""

_SECTIONS = (NAMED_SECTIONS | _NAMED_IN_WORKSPACE) - {"providers", "defaults", "engine", "alarms"}
"""Sections whose entries are referred to by their names alone."""

DRILL = "this drill"
"""The one part of a drill's file."""

_LISTS = frozenset({"owners", "depends_on", "tags"})
_NOTHING_LATER: Mapping[KeyPath, frozenset[str]] = MappingProxyType({})

MAX_TOLD = 200
"""Wrong keys of a file that are told one by one: whoever pours a foreign file in here will not read more."""

ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Judged:
    """What is known to be wrong with a file on its own.

    off: parts that are switched off, with the reason. holes: places of which everything has been said.
    hidden: parts and whole sections that a mistake elsewhere hides, with the reason. incomplete: mappings of which
    not every key could be seen.
    """

    problems: tuple[Problem, ...] = ()
    off: Mapping[str, str] = field(default_factory=dict)
    holes: frozenset[KeyPath] = frozenset()
    hidden: Mapping[str, str] = field(default_factory=dict)
    incomplete: frozenset[KeyPath] = frozenset()


class Report:
    """Collects the problems of one file, with the lines that belong to them. It goes on from `judged`."""

    def __init__(self, file: str, data: bytes, judged: Judged | None = None) -> None:
        known = judged or Judged()
        self.file = file
        self.problems: list[Problem] = list(known.problems)
        self.off: dict[str, str] = dict(known.off)
        self.hidden: dict[str, str] = dict(known.hidden)
        self.incomplete: set[KeyPath] = set(known.incomplete)
        self._holes: set[KeyPath] = set(known.holes)
        self._marks = Marks(data)

    @property
    def judged(self) -> Judged:
        """What is known so far."""
        return Judged(tuple(self.problems), self.off, frozenset(self._holes), self.hidden, frozenset(self.incomplete))

    def error(self, path: KeyPath, message: str, hint: str = "", part: str | None = None) -> None:
        """Something is wrong; `part` is switched off by it. Of a hole nothing more is said."""
        if not self.is_hole(path):
            self.add(Problem(self.file, self._marks.line(path), path, message, hint, Severity.ERROR, part))

    def warning(self, path: KeyPath, message: str, hint: str = "") -> None:
        """Something is surely a mistake, and switches nothing off."""
        if not self.is_hole(path):
            self.add(Problem(self.file, self._marks.line(path), path, message, hint, Severity.WARNING))

    def add(self, problem: Problem) -> None:
        """Keep a problem, and the first reason for which its part is off."""
        self.problems.append(problem)
        if problem.part is not None:
            self.off.setdefault(problem.part, problem.reason)

    def hole(self, path: KeyPath) -> None:
        """All that can be said of this place, and of what is below it, has been said."""
        self._holes.add(path)

    def is_hole(self, path: KeyPath) -> bool:
        """Whether nothing more can be said of a place."""
        return bool(self._holes) and any(path[:length] in self._holes for length in range(1, len(path) + 1))

    def holes_below(self, path: KeyPath) -> Iterator[KeyPath]:
        """The places below `path` of which everything has been said."""
        return (hole for hole in self._holes if hole[: len(path)] == path and len(hole) > len(path))

    def missing(self, part: str) -> str | None:
        """Why a part may not be there although nobody took it out: it is off or hidden, or its section is."""
        section = part.partition("/")[0]
        for reasons, name in ((self.off, part), (self.hidden, part), (self.hidden, section), (self.hidden, "")):
            if name in reasons:
                return reasons[name]
        return None

    def line(self, path: KeyPath) -> int:
        """Line of a key."""
        return self._marks.line(path)


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a file to which problems belong, and the part that they switch off."""

    report: Report
    path: KeyPath
    part: str | None

    @property
    def is_hole(self) -> bool:
        """Whether nothing more can be said of it."""
        return self.report.is_hole(self.path)

    def at(self, *keys: str | int) -> Spot:
        """A place below."""
        return Spot(self.report, (*self.path, *keys), self.part)

    def error(self, message: str, hint: str = "") -> None:
        """Something is wrong here."""
        self.report.error(self.path, message, hint, self.part)

    def warning(self, message: str, hint: str = "") -> None:
        """Something here is surely a mistake."""
        self.report.warning(self.path, message, hint)

    def switch_off(self, reason: str) -> None:
        """What cannot do without something that is off is off too; the problem itself is told where it is."""
        if self.part is not None:
            self.report.off.setdefault(self.part, reason)


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
    if head == "people" and len(path) > 2:
        return path[:3], f"people/{path[1]}/{path[2]}"
    if head == "alarms" and len(path) > 2 and path[1] in _OF_ALARMS:
        return path[:3], f"{head}/{path[1]}/{path[2]}"
    if head in _NAMED_IN_WORKSPACE and len(path) > 1:
        return path[:2], f"{head}/{path[1]}"
    return path[:1], head


def drill_part(path: KeyPath) -> tuple[KeyPath, str | None]:
    """The same for a drill: it is one part, which a mistake anywhere in it switches off."""
    return path[:1], DRILL


_NO_SUCH_FORM = re.compile(r"_type$|^literal_error$|^enum$")

PartOf = typing.Callable[[KeyPath], tuple[KeyPath, "str | None"]]


# --- validation ---------------------------------------------------------------------------------------------


def valid_parts(
    model: type[ModelT],
    value: Mapping[str, Any],
    report: Report,
    part_of: PartOf,
    *,
    flaws: Iterable[Flaw] = (),
    later: Mapping[KeyPath, frozenset[str]] = _NOTHING_LATER,
) -> ModelT:
    """What of `value` is valid; everything else is reported and left out. `later`: keys of later versions, by
    the place where they would stand.
    """
    return _Sieve(model, _without_empty(value), report, part_of, later).run(flaws)


class _Sieve(Generic[ModelT]):
    """One run of `valid_parts`. `_rest` is what has not been taken out."""

    def __init__(
        self,
        model: type[ModelT],
        rest: dict[str, Any],
        report: Report,
        part_of: PartOf,
        later: Mapping[KeyPath, frozenset[str]],
    ) -> None:
        self._model = model
        self._rest = rest
        self._report = report
        self._part_of = part_of
        self._later = later
        self._mended: set[KeyPath] = set()

    def run(self, flaws: Iterable[Flaw]) -> ModelT:
        """The valid parts."""
        for flaw in flaws:
            self._take_flaw(flaw)
        while True:
            try:
                return self._model.model_validate(self._rest)
            except ValidationError as error:
                errors = without_echoes([(path_of(details, self._rest), details) for details in error.errors()])
            if not self._mended:
                self._rest = _copied(self._rest)  # an alias may stand for the same mapping in two places
            for path, details in errors[:MAX_TOLD]:
                self._tell(path, details)
            if len(errors) > MAX_TOLD:
                self._report.error((), f"{len(errors) - MAX_TOLD} more keys of this file are wrong")
            for path, details in reversed(errors):
                self._mend(path, details)

    def _take_flaw(self, flaw: Flaw) -> None:
        """Tell a mistake in the YAML, and what cannot be seen because of it."""
        prune, part = self._part_of(flaw.path) if flaw.path else ((), None)
        problem = Problem(self._report.file, flaw.line, flaw.path, flaw.message, flaw.hint, part=part)
        self._report.add(problem)
        if len(prune) > 1 and prune[0] not in _READ_ON:
            self._take_out(prune)
        elif flaw.hides is not None and not isinstance(_value_at(self._rest, flaw.hides), dict):
            self._take_out(flaw.hides)
        elif flaw.hides is not None:
            self._report.incomplete.add(flaw.hides)
            if len(flaw.hides) < 2:
                self._report.hidden.setdefault("".join(map(str, flaw.hides)), problem.reason)

    def _tell(self, path: KeyPath, details: ErrorDetails) -> None:
        """Report one error, unless it only follows from another one."""
        kind, above = details["type"], path[:-1]
        if kind == "missing" and (above in self._report.incomplete or is_misspelt(path, details, self._model)):
            return
        if self._report.is_hole(path) or any(self._report.holes_below(path)):
            return
        _, part = self._part_of(path) if path else ((), None)
        if kind == "extra_forbidden" and path[-1] in self._later.get(above, ()):
            message, hint = "this is not in this version", "remove the key: nothing would happen by it"
        else:
            message, hint = describe(details, path, self._model)
        is_unknown = kind == "extra_forbidden" and len(path) == 1
        self._report.error(path, message, hint, None if is_unknown else part)
        if is_unknown:
            self._hide(str(path[0]), self._report.problems[-1].reason)
        elif len(path) == 1:
            self._report.hidden.setdefault(str(path[0]), self._report.problems[-1].reason)

    def _hide(self, misspelt: str, reason: str) -> None:
        """An unknown key at the top of a file switches nothing off, but what stands there was meant for something."""
        meant = nearest(misspelt, keys_of(self._model))
        content = self._rest.get(misspelt)
        if meant is None:
            return
        names = [meant] if not isinstance(content, dict) or meant not in _SECTIONS else list(content)
        for name in names:
            self._report.hidden.setdefault(meant if name == meant else f"{meant}/{name}", reason)

    def _mend(self, path: KeyPath, details: ErrorDetails) -> None:
        """Take the wrong key out. What must be there is replaced by something that is valid and says nothing."""
        while path and path in self._mended:  # no better for it: then what is around it
            path = path[:-1]
        self._mended.add(path)
        self._take_out(path, needed=details["type"] != "extra_forbidden")

    def _take_out(self, path: KeyPath, *, needed: bool = True) -> None:
        if not path:
            self._rest.clear()
            return
        self._report.hole(path)
        around = _value_at(self._rest, path[:-1])
        slot = _slot(self._model, path)
        is_entry = isinstance(around, list) and isinstance(path[-1], int) and path[-1] < len(around)
        if isinstance(around, dict) and not (needed and slot.required):
            around.pop(path[-1], None)
        elif isinstance(around, dict) or is_entry:  # a list keeps its length, so that indexes stay right
            around[path[-1]] = _stand_in(slot.annotation)


def without_echoes(errors: Sequence[tuple[KeyPath, ErrorDetails]]) -> list[tuple[KeyPath, ErrorDetails]]:
    """Errors, without those of forms that were not meant: where one of several forms fits but for an error further
    down, pydantic also says that it is none of the others.
    """
    return [
        (path, details)
        for path, details in errors
        if not _NO_SUCH_FORM.search(details["type"])
        or not any(len(other) > len(path) and other[: len(path)] == path for other, _ in errors)
    ]


def is_misspelt(path: KeyPath, details: ErrorDetails, model: type[BaseModel]) -> bool:
    """Whether a missing key is there, misspelt, and told as an unknown key."""
    written = details["input"]
    around = model_at(model, path[:-1])
    if around is None or not isinstance(written, dict) or around.model_config.get("extra") != "forbid":
        return False
    known = keys_of(around)
    return any(nearest(str(key), known) == path[-1] for key in written if key not in known)


def _without_empty(value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy that may be pruned. A section with nothing in it is as good as none; so is a provider without
    values.
    """
    copy = {key: section for key, section in value.items() if section is not None}
    providers = copy.get("providers")
    if isinstance(providers, dict):
        copy["providers"] = {name: {} if entry is None else entry for name, entry in providers.items()}
    return copy


def _copied(value: Any) -> Any:
    """A deep copy in which nothing is shared. The tree is finite and no larger than the reader allows."""
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value


def _value_at(node: Any, path: KeyPath) -> Any:
    for key in path:
        try:
            node = node[key]
        except (KeyError, IndexError, TypeError):
            return None
    return node


def options_problems(
    error: ValidationError,
    value: Mapping[str, Any],
    model: type[BaseModel],
    *,
    more_keys: Iterable[str] = (),
    holes: Collection[str] = (),
    is_incomplete: Callable[[KeyPath], bool] = lambda _: False,
) -> list[tuple[KeyPath, str, str]]:
    """Errors of a kind's options as (path, message, hint).

    more_keys: the keys that every check has. holes: keys that could not be read, so that nothing can be said of
    them, nor of what they say together with others. is_incomplete: whether not every key of a mapping could be seen.
    """
    errors = [(path_of(details, value), details) for details in error.errors()]
    return [
        (path, *describe(details, path, model, more_keys))
        for path, details in without_echoes(errors)
        if not (holes and (not path or path[0] in holes))
        and not (details["type"] == "missing" and (is_incomplete(path[:-1]) or is_misspelt(path, details, model)))
    ]


def unknown_keys(error: ValidationError, value: Mapping[str, Any]) -> list[str]:
    """The keys of `value` that are all that is wrong with it: nobody knows them. Empty, if anything else is wrong."""
    found = [(details["type"], path_of(details, value)) for details in error.errors()]
    if any(kind != "extra_forbidden" or len(path) != 1 for kind, path in found):
        return []
    return [str(path[0]) for _, path in found]


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
        near = nearest(str(path[-1]), [str(key) for key in details["input"]]) if path else None
        return "the key is missing", f'is "{near}" meant for it?' if near else ""
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


@dataclass(frozen=True, slots=True)
class _Slot:
    """What may stand at a place, and whether something has to."""

    annotation: Any
    required: bool = False


def _slot(model: type[BaseModel], path: KeyPath) -> _Slot:
    """What `model` says of the place at `path`."""
    slot = _Slot(model)
    for key in path:
        slot = _slot_in(slot.annotation, key)
    return slot


def _slot_in(annotation: Any, key: str | int) -> _Slot:
    for form in _forms(annotation):
        if isinstance(form, type) and issubclass(form, BaseModel):
            for name, known in form.model_fields.items():
                if (known.alias or name) == key:
                    return _Slot(known.annotation, known.is_required())
        elif typing.get_origin(form) in (dict, Mapping) and isinstance(key, str):
            return _Slot(typing.get_args(form)[1])
        elif typing.get_origin(form) in (tuple, list) and isinstance(key, int):
            return _Slot(typing.get_args(form)[0])
    return _Slot(None)


def _forms(annotation: Any) -> list[Any]:
    """The forms that a value may have: the members of `X | None`, what is in `Annotated[X, …]`."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _forms(typing.get_args(annotation)[0])
    if origin in (types.UnionType, typing.Union):
        return [form for each in typing.get_args(annotation) for form in _forms(each)]
    return [annotation]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    forms = (form for form in _forms(annotation) if isinstance(form, type) and issubclass(form, BaseModel))
    return next(forms, None)


def _stand_in(annotation: Any) -> Any:
    """Something valid that says nothing, for a place that cannot be left empty."""
    model = _model_in(annotation)
    if model is None:
        return ""
    return {
        known.alias or name: _stand_in(known.annotation)
        for name, known in model.model_fields.items()
        if known.is_required()
    }


def model_at(model: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    """The model that describes what is at `path`."""
    return _model_in(_slot(model, path).annotation)


def keys_of(model: type[BaseModel] | None) -> list[str]:
    """The keys that a model has, as they are written."""
    return [] if model is None else [field.alias or name for name, field in model.model_fields.items()]
