"""Which kinds there are, and how to get one.

One kind is one module: `opsdash/kinds/checks/http.py` is the check kind `http`. Listing names looks at the
folder and imports nothing; asking for a kind imports its module alone, so that a workspace pays for what it
uses. Other packages add kinds through the entry points `opsdash.checks`, `opsdash.actions`, `opsdash.injections`
and `opsdash.notifiers`: the entry's name is the kind's name, its value a module with a `KIND`, or the registration
itself.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import pkgutil
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from opsdash.errors import KindError
from opsdash.kinds.base import ActionKind, CheckKind, NotifierKind
from opsdash.kinds.injecting import InjectionKind

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = [
    "KindError",
    "KindUnavailableError",
    "UnknownKindError",
    "action_kind",
    "action_kind_names",
    "check_kind",
    "check_kind_names",
    "injection_kind",
    "injection_kind_names",
    "notifier_kind",
    "notifier_kind_names",
]

_CHECKS = "checks"
_ACTIONS = "actions"
_INJECTIONS = "injections"
_NOTIFIERS = "notifiers"


class UnknownKindError(KindError):
    """There is no kind of that name."""


class KindUnavailableError(KindError):
    """The kind is there, and what it needs is not installed, or it is broken."""


def check_kind_names() -> tuple[str, ...]:
    """Names of all check kinds, sorted; imports none of them."""
    return _names(_CHECKS)


def action_kind_names() -> tuple[str, ...]:
    """Names of all action kinds, sorted; imports none of them."""
    return _names(_ACTIONS)


def injection_kind_names() -> tuple[str, ...]:
    """Names of all injection kinds, sorted; imports none of them."""
    return _names(_INJECTIONS)


def notifier_kind_names() -> tuple[str, ...]:
    """Names of all notifier kinds, sorted; imports none of them."""
    return _names(_NOTIFIERS)


@functools.cache
def check_kind(name: str) -> CheckKind:
    """The check kind of that name. Raises UnknownKindError or KindUnavailableError."""
    kind = _load(_CHECKS, name)
    if not isinstance(kind, CheckKind):
        raise KindUnavailableError(f"the check kind {name!r} registers no CheckKind as KIND")
    return kind


@functools.cache
def action_kind(name: str) -> ActionKind:
    """The action kind of that name. Raises UnknownKindError or KindUnavailableError."""
    kind = _load(_ACTIONS, name)
    if not isinstance(kind, ActionKind):
        raise KindUnavailableError(f"the action kind {name!r} registers no ActionKind as KIND")
    return kind


@functools.cache
def injection_kind(name: str) -> InjectionKind:
    """The injection kind of that name. Raises UnknownKindError or KindUnavailableError."""
    kind = _load(_INJECTIONS, name)
    if not isinstance(kind, InjectionKind):
        raise KindUnavailableError(f"the injection kind {name!r} registers no InjectionKind as KIND")
    return kind


@functools.cache
def notifier_kind(name: str) -> NotifierKind:
    """The notifier kind of that name. Raises UnknownKindError or KindUnavailableError."""
    kind = _load(_NOTIFIERS, name)
    if not isinstance(kind, NotifierKind):
        raise KindUnavailableError(f"the notifier kind {name!r} registers no NotifierKind as KIND")
    return kind


@functools.cache
def _names(group: str) -> tuple[str, ...]:
    return tuple(sorted({*_own(group), *_entry_points(group)}))


@functools.cache
def _own(group: str) -> frozenset[str]:
    folder = Path(__file__).parent / group
    return frozenset(module.name for module in pkgutil.iter_modules([str(folder)]) if not module.name.startswith("_"))


@functools.cache
def _entry_points(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=f"opsdash.{group}")}


def _load(group: str, name: str) -> Any:
    what = f"{group.removesuffix('s')} kind {name!r}"
    if name in _own(group):
        return _import_module(f"opsdash.kinds.{group}.{name}", what)
    entry = _entry_points(group).get(name)
    if entry is None:
        raise UnknownKindError(f"there is no {what}")
    try:
        loaded = entry.load()
    except Exception as error:  # code of other packages; whatever it raises, the rest of the workspace runs
        raise KindUnavailableError(f"the {what} of {entry.value} cannot be loaded: {error}") from error
    return loaded.KIND if isinstance(loaded, ModuleType) and hasattr(loaded, "KIND") else loaded


def _import_module(module: str, what: str) -> Any:
    """The `KIND` of a module; where its driver is missing, the error says what to install."""
    try:
        return importlib.import_module(module).KIND
    except ImportError as error:
        extra = _extra_of(module)
        remedy = f"install it with: pip install 'opsdash[{extra}]'" if extra else "install it with pip"
        missing = error.name or str(error)
        raise KindUnavailableError(f"the {what} needs {missing}, which is not installed; {remedy}") from error


def _extra_of(module_name: str) -> str | None:
    """The `extra` that a module's registration names, read from its source because it could not be
    imported.
    """
    spec = importlib.util.find_spec(module_name)
    if spec is None or spec.origin is None:
        return None
    for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "extra" and isinstance(node.value, ast.Constant):
            return None if node.value.value is None else str(node.value.value)
    return None
