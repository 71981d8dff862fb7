"""Which kinds of checks, actions, injections and notifiers there are, what they need, and what their options mean."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any

from opsdash.cli import exits
from opsdash.cli.base import UsageError, add_json
from opsdash.cli.terminal import Painted, Role, bold, dim, out, out_json, out_lines, table
from opsdash.kinds import registry

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping

    from opsdash.kinds.base import ActionKind, CheckKind, NotifierKind
    from opsdash.kinds.injecting import InjectionKind

    Kind = CheckKind | ActionKind | InjectionKind | NotifierKind

EXAMPLE = "opsdash kinds http"

GROUPS: Mapping[str, tuple[Callable[[], tuple[str, ...]], Callable[[str], Kind]]] = {
    "check": (registry.check_kind_names, registry.check_kind),
    "action": (registry.action_kind_names, registry.action_kind),
    "injection": (registry.injection_kind_names, registry.injection_kind),
    "notifier": (registry.notifier_kind_names, registry.notifier_kind),
}
"""Names of all kinds of a group, and how to get one."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash kinds`."""
    parser.add_argument("kind", nargs="?", metavar="KIND", help="its help and its options")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """List kinds, or explain one."""
    if arguments.kind:
        return _explain(arguments.kind, json=arguments.json)
    found = [entry for group, (names, _) in GROUPS.items() for entry in _listed(group, names())]
    if arguments.json:
        out_json({"component": None, "status": None, "reason": None, "kinds": found})
        return exits.OK
    for group in GROUPS:
        out(bold(f"{group}s"))
        table(([each["name"], _words(each)] for each in found if each["group"] == group), indent="  ")
    return exits.OK


def _words(entry: dict[str, Any]) -> str | Painted:
    return Painted(entry["missing"], Role.DEGRADED) if entry["missing"] else str(entry["summary"])


def _listed(group: str, names: Iterable[str]) -> list[dict[str, Any]]:
    entries = []
    for name in names:
        kind = _load(group, name)
        missing = kind if isinstance(kind, str) else ""
        summary = "" if isinstance(kind, str) else kind.summary
        entries.append({"group": group, "name": name, "summary": summary, "missing": missing})
    return entries


def _load(group: str, name: str) -> Kind | str:
    """The kind, or why it cannot be used."""
    try:
        return GROUPS[group][1](name)
    except registry.KindError as error:
        return str(error)


def _explain(name: str, *, json: bool) -> int:
    groups = [group for group, (names, _) in GROUPS.items() if name in names()]
    if not groups:
        import difflib

        known = sorted({each for names, _ in GROUPS.values() for each in names()})
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
        raise UsageError(f"there is no kind {name!r}; {hint}")
    for group in groups:
        kind = _load(group, name)
        if isinstance(kind, str):
            out(bold(f"{group} {name}"), "  ", Painted(kind, Role.DEGRADED))
        elif json:
            schema = kind.options.model_json_schema()
            out_json({"component": None, "status": None, "reason": None, "group": group, "kind": name,
                      "summary": kind.summary, "options": schema})  # fmt: skip
        else:
            _help(group, kind)
    return exits.OK


def _help(group: str, kind: Kind) -> None:
    out(bold(f"{group} {kind.name}"))
    module = sys.modules.get(kind.options.__module__)
    out_lines(inspect.getdoc(module) or kind.summary if module else kind.summary)
    out()
    schema = kind.options.model_json_schema()
    required = set(schema.get("required", ()))
    table(
        ([name, _type(entry, name in required), dim(str(entry.get("description", "")).replace("\n", " "))]
         for name, entry in schema.get("properties", {}).items()),
        indent="  ",
    )  # fmt: skip


def _type(entry: dict[str, Any], required: bool) -> str:
    if required:
        return "required"
    default = entry.get("default")
    return "" if default in (None, "", [], {}) else f"default {default}"
