"""Writes the part of the documentation that follows from the code: docs/reference/ and docs/schema/.

    python -m tools.docs            write it
    python -m tools.docs --check    fail when what is written there is not what the code says

Each page is a function that returns its text; `PAGES` is the list of them.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import dataclasses
import difflib
import io
import json
import pkgutil
import sys
from inspect import cleandoc, getdoc
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import opsdash.cli
import opsdash.cli.exits
import opsdash.kinds.actions
import opsdash.kinds.checks
import opsdash.kinds.injections
import opsdash.kinds.notifiers
from opsdash.board.keymap import keymap_markdown
from opsdash.config import runbook_rules as runbook_rules_module
from opsdash.config.schema import CheckModel, ComponentModel, WorkspaceModel
from opsdash.config.schema_drills import DrillModel
from opsdash.core import (
    automatic,
    badges,
    drill_evidence,
    drill_guards,
    drill_overlay,
    drill_schedule,
    drill_states,
    drill_verdicts,
    guards,
    outcomes,
    traces,
)
from opsdash.kinds.registry import action_kind, check_kind, injection_kind, notifier_kind
from opsdash.model.records import Record
from opsdash.model.status import Reason
from opsdash.model.switch import FACT_TITLES
from opsdash.storage.codec import record_name
from tools.keytables import KeyTables

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from pydantic import BaseModel

    from opsdash.kinds.base import ActionKind, CheckKind, NotifierKind
    from opsdash.kinds.injecting import InjectionKind
    from opsdash.model.operation import Abilities

DOCS = Path(__file__).parents[1] / "docs"

_MADE = "<!-- Made from the code by `make docs`; not to be edited. -->"


# --- kinds -------------------------------------------------------------------------------------------------------


def checks() -> str:
    """docs/reference/checks.md"""
    kinds = [check_kind(name) for name in _module_names(opsdash.kinds.checks)]
    parts = [
        "# Kinds of checks",
        _MADE,
        (
            "A check is one measurement, repeated. `kind` says which; each kind has keys of its own, below. These "
            "keys every check has:"
        ),
        KeyTables(CheckModel).own(),
        (
            "`expect` and `degraded_when` are CEL expressions on the names that the kind offers; each kind lists "
            "them with an example of their values."
        ),
        _contents(kinds),
    ]
    for kind in kinds:
        parts += [f"## {kind.name}", _kind_doc(kind), _keys(kind.options), _names(kind)]
    parts += [
        "## Reason codes",
        "Every status but `ok` carries one. Scripts and the register (`check#reason`) match on them.",
        ", ".join(f"`{reason.value}`" for reason in Reason),
    ]
    return _page(parts)


def actions() -> str:
    """docs/reference/actions.md"""
    kinds = [action_kind(name) for name in _module_names(opsdash.kinds.actions)]
    parts = [
        "# Kinds of actions",
        _MADE,
        (
            "An action changes the world: for a switch (`action`), for a degraded mode (`enter`, `leave`). Its "
            "`read` says what is in force."
        ),
        _contents(kinds),
        (
            "What they can do, which the guards of a plan go by. Where it depends on the keys, the table shows "
            "what holds without any."
        ),
        _abilities(kinds),
    ]
    for kind in kinds:
        parts += [f"## {kind.name}", _kind_doc(kind), _keys(kind.options)]
        if kind.read_options is not None:
            parts += [f"As `read: {{kind: {kind.name}, …}}`:", _keys(kind.read_options)]
    return _page(parts)


def injections() -> str:
    """docs/reference/injections.md"""
    kinds = [injection_kind(name) for name in _module_names(opsdash.kinds.injections)]
    parts = [
        "# Kinds of injections",
        _MADE,
        (
            "An injection is what a drill breaks on purpose. Its undo is armed in a process of its own before anything "
            "is broken (docs/howto-drills-faults.md)."
        ),
        _contents(kinds),
        _ways_back(kinds),
    ]
    for kind in kinds:
        parts += [f"## {kind.name}", _kind_doc(kind), _keys(kind.options)]
    return _page(parts)


def _ways_back(kinds: list[InjectionKind]) -> str:
    rows = [
        f"| [`{kind.name}`](#{kind.name}) | {_yes(not kind.knows_way_back)} | {_yes(kind.expires_on_target)} | "
        f"{kind.needs or '-'} |"
        for kind in kinds
    ]
    head = ["| kind | `undo` has to be written | can end by itself on the target | needs |", "|---|---|---|---|"]
    return "\n".join([*head, *rows])


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def notifiers() -> str:
    """docs/reference/notifiers.md"""
    kinds = [notifier_kind(name) for name in _module_names(opsdash.kinds.notifiers)]
    parts = [
        "# Kinds of notifiers",
        _MADE,
        (
            "A notifier delivers messages to people. After each attempt a message is *delivered* (the other side took "
            "it), *failed* (it did not, and is tried again), *unknown* (it may have arrived, and is tried again under "
            "the same key) or *refused* (it will not take it as it is: somebody has to look)."
        ),
        _contents(kinds),
    ]
    for kind in kinds:
        parts += [f"## {kind.name}", _kind_doc(kind), _keys(kind.options)]
    return _page(parts)


def _module_names(package: ModuleType) -> list[str]:
    """The kinds of opsdash itself: other packages' kinds, which may be installed here, have docs of their own."""
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))


def _contents(kinds: list[CheckKind] | list[ActionKind] | list[InjectionKind] | list[NotifierKind]) -> str:
    return "\n".join(f"- [`{kind.name}`](#{kind.name}): {kind.summary}" for kind in kinds)


def _kind_doc(kind: CheckKind | ActionKind | InjectionKind | NotifierKind) -> str:
    return cleandoc(sys.modules[kind.options.__module__].__doc__ or "")


def _keys(options: type[BaseModel]) -> str:
    tables = KeyTables(options)
    parts = [tables.own() or "No keys of its own."]
    for paths, description, rows in tables.inner():
        parts += [f"{_all_of(paths)}: {description}", rows]
    return "\n\n".join(parts)


def _names(kind: CheckKind) -> str:
    lines = ["| name in expressions | for example |", "|---|---|"]
    lines += [
        f"| `{name}` | `{json.dumps(value, ensure_ascii=False)}` |".replace("\\|", "|")
        for name, value in kind.sample.items()
    ]
    return "\n".join(lines)


def _abilities(kinds: list[ActionKind]) -> str:
    names = ("cas", "idempotent", "read_back", "restores")
    words = ("compares and swaps", "may be applied twice", "reads back", "restores what was there")
    lines = ["| kind | " + " | ".join(words) + " |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| `{kind.name}` | {_yes_or_no(kind.abilities, names)} |" for kind in kinds]
    return "\n".join(lines)


def _yes_or_no(abilities: Abilities, names: tuple[str, ...]) -> str:
    return " | ".join("yes" if getattr(abilities, name) else "no" for name in names)


# --- the workspace's files ---------------------------------------------------------------------------------------


def workspace() -> str:
    """docs/reference/workspace.md"""
    return _file_reference("opsdash.yaml", WorkspaceModel, "workspace")


def component() -> str:
    """docs/reference/component.md"""
    return _file_reference("checks/COMPONENT.yaml", ComponentModel, "component")


def drill() -> str:
    """docs/reference/drill.md"""
    return _file_reference("drills/DRILL.yaml", DrillModel, "drill")


def _file_reference(title: str, model: type[BaseModel], schema: str) -> str:
    tables = KeyTables(model)
    parts = [
        f"# {title}",
        _MADE,
        cleandoc(model.__doc__ or ""),
        (
            "Durations are written `400ms`, `15s`, `5m`, `1h30m` or `90d`. Editors use "
            f"[schema/{schema}.json](../schema/{schema}.json), which `opsdash schema {schema}` prints, too."
        ),
        tables.own(),
    ]
    for paths, description, rows in tables.inner():
        parts += [f"## {_all_of(paths)}", description, rows]
    return _page(parts)


def _all_of(paths: list[str]) -> str:
    return ", ".join(f"`{path}`" for path in paths)


# --- the board, the journal, switches, the command line ----------------------------------------------------------


def keys() -> str:
    """docs/reference/keys.md"""
    return _page(["# Keys of the board", _MADE, keymap_markdown()])


def records() -> str:
    """docs/reference/records.md"""
    types = get_args(Record)
    parts = [
        "# Records of the journal",
        _MADE,
        (
            "The journal is one JSON object a line. `at` is in seconds since 1970 UTC. A field may be added with "
            "a default by a later version; none changes its meaning."
        ),
    ]
    for kind in types:
        rows = [f"| `{each.name}` | `{_type_text(each.type)}` |" for each in dataclasses.fields(kind)]
        parts += [f"## {record_name(kind)}", getdoc(kind) or "", "\n".join(["| field | type |", "|---|---|", *rows])]
    return _page(parts)


def _type_text(annotation: Any) -> str:
    return str(annotation).replace("|", "\\|")


def switch_states() -> str:
    """docs/reference/switch-states.md"""
    rows = [
        f"| `{state.value}` | {event.value} | `{after.value}` |"
        for state, events in outcomes.TRANSITIONS.items()
        for event, after in events.items()
    ]
    facts = [f"- **{name.value}**: {title}" for name, title in FACT_TITLES.items()]
    return _page(
        [
            "# States of a switch",
            _MADE,
            cleandoc(outcomes.__doc__ or ""),
            f"```mermaid\n{outcomes.mermaid()}```",
            "\n".join(["| state | what happens | next state |", "|---|---|---|", *rows]),
            (
                f"Out of {_states(outcomes.UNDECIDED)} only a person leads. In flight are "
                f"{_states(outcomes.LIVE_STATES)}."
            ),
            "## The four facts",
            (
                "After the action each is true, false or unknown, with evidence. What a component does not declare, "
                "and what is stateless, is left out."
            ),
            "\n".join(facts),
        ]
    )


def switch_guards() -> str:
    """docs/reference/switch-guards.md"""
    rows = [
        f"| `{rule}` | {each.asks} | {'yes' if each.overridable else '**never**'} |"
        for rule, each in guards.RULES.items()
    ]
    return _page(
        [
            "# Guards of a switch",
            _MADE,
            cleandoc(guards.__doc__ or ""),
            "\n".join(["| rule | what it asks for | may be overridden |", "|---|---|---|", *rows]),
            "## The badge of a backup",
            cleandoc(badges.__doc__ or ""),
            f"Left out are: {', '.join(f'`{rule}`' for rule in sorted(badges.OF_THE_MOMENT))}.",
            "## What the switch itself needs",
            cleandoc(traces.__doc__ or ""),
            "## Without a person",
            cleandoc(automatic.__doc__ or ""),
        ]
    )


def drill_runs() -> str:
    """docs/reference/drill-runs.md"""
    rows = [
        f"| `{state.value}` | {event.value} | `{following.value}` |"
        for state, events in drill_states.TRANSITIONS.items()
        for event, following in events.items()
    ]
    rules = [
        f"| `{rule}` | {each.asks} | {'yes' if each.overridable else '**never**'} |"
        for rule, each in drill_guards.RULES.items()
    ]
    verdicts = [f"| {each.asks} | {each.verdict.value} |" for each in drill_verdicts.RULES]
    return _page(
        [
            "# Runs of a drill",
            _MADE,
            cleandoc(drill_states.__doc__ or ""),
            f"```mermaid\n{drill_states.mermaid()}```",
            "\n".join(["| state | what happens | next state |", "|---|---|---|", *rows]),
            "## Before it begins",
            cleandoc(drill_guards.__doc__ or ""),
            "\n".join(["| rule | what it asks for | may be overridden |", "|---|---|---|", *rules]),
            "## The verdict",
            cleandoc(drill_verdicts.__doc__ or ""),
            "\n".join(["| first that applies | verdict |", "|---|---|", *verdicts, "| none of these | passed |"]),
            "## Evidence",
            cleandoc(drill_evidence.__doc__ or ""),
            "## Pretending",
            cleandoc(drill_overlay.__doc__ or ""),
            "## Dates",
            cleandoc(drill_schedule.__doc__ or ""),
        ]
    )


def runbook_rules() -> str:
    """docs/reference/runbook-rules.md"""
    groups = _rule_groups(Path(runbook_rules_module.__file__).read_text(encoding="utf-8"))
    parts = [
        "# Rules of runbooks",
        _MADE,
        (
            "What `opsdash runbook lint` and `opsdash validate` look for. Codes are stable: they are the rule ids of "
            "the SARIF output, and scripts may match on them. An error takes the execution from the runbook, or leads "
            "nowhere when it matters; its text stays readable in any case. A note is advice, and counts as a warning "
            "where there are only two levels. Of one rule at most "
            f"{runbook_rules_module.MOST_TOLD} findings are told for each file; the others are counted."
        ),
    ]
    for heading, codes in groups.items():
        rows = [
            f"| `{code}` | {rule.level} | {_cell(rule.about)} | {_cell(rule.remedy)} |"
            for code, rule in ((code, runbook_rules_module.RULES[code]) for code in codes)
        ]
        parts += [f"## {heading}", "\n".join(["| rule | level | why | what to do |", "|---|---|---|---|", *rows])]
    return _page(parts)


def _rule_groups(source: str) -> dict[str, list[str]]:
    """The rules under each `# --- heading` of their table."""
    groups: dict[str, list[str]] = {}
    for line in source.splitlines():
        if line.startswith("    # --- "):
            groups[line.removeprefix("    # --- ").capitalize()] = []
        code = line.strip().partition('"')[2].partition('"')[0]
        if groups and line.startswith('    "') and code in runbook_rules_module.RULES:
            groups[list(groups)[-1]].append(code)
    return groups


def _cell(text: str) -> str:
    """A text in a table: neither its bars nor its backticks are markup."""
    return text.replace("|", "\\|").replace("```", "\\`\\`\\`").replace("<", "&lt;").replace("**", "\\*\\*")


def _states(states: frozenset[Any]) -> str:
    return ", ".join(f"`{state.value}`" for state in outcomes.TRANSITIONS if state in states)


def exit_codes() -> str:
    """docs/reference/exit-codes.md"""
    source = Path(opsdash.cli.exits.__file__)
    parts = ["# Exit codes", _MADE, cleandoc(opsdash.cli.exits.__doc__ or "")]
    for heading, codes in _code_groups(source.read_text(encoding="utf-8")):
        rows = [f"| {code} | {name} | {meaning} |" for code, name, meaning in codes]
        parts += [f"## {heading}", "\n".join(["| code | | |", "|---|---|---|", *rows])]
    parts += [
        "## Commands",
        "\n".join(f"- `opsdash {name}`: {entry.summary}" for name, entry in opsdash.cli.COMMANDS.items()),
    ]
    return _page(parts)


def _code_groups(source: str) -> list[tuple[str, list[tuple[int, str, str]]]]:
    """The constants under each `# --- heading`, with their docstrings."""
    lines = source.splitlines()
    headings = [(number, line.removeprefix("# ---").strip()) for number, line in enumerate(lines, 1) if "# ---" in line]
    groups: dict[str, list[tuple[int, str, str]]] = {"Every command": []}
    body = ast.parse(source).body
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.value, ast.Constant):
            continue
        name, code = ast.unparse(statement.target).lower().replace("_", " "), int(str(statement.value.value))
        heading = next((text for number, text in reversed(headings) if number < statement.lineno), "Every command")
        groups.setdefault(heading, []).append((code, name, _docstring(following)))
    return [(heading, sorted(codes)) for heading, codes in groups.items()]


def _docstring(statement: ast.stmt | None) -> str:
    """The text of an attribute docstring, if that is what `statement` is."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return " ".join(str(statement.value.value).split())
    return ""


# --- schemas -----------------------------------------------------------------------------------------------------


def component_schema() -> str:
    """docs/schema/component.json"""
    return _printed("schema", "component")


def drill_schema() -> str:
    """docs/schema/drill.json"""
    return _printed("schema", "drill")


def workspace_schema() -> str:
    """docs/schema/workspace.json"""
    return _printed("schema", "workspace")


def _printed(*words: str) -> str:
    """What a command prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = opsdash.cli.main(words)
    if code:
        raise SystemExit(f"`opsdash {' '.join(words)}` ended with {code}")
    return printed.getvalue()


# --- all of it ---------------------------------------------------------------------------------------------------

PAGES: dict[str, Callable[[], str]] = {
    "reference/checks.md": checks,
    "reference/actions.md": actions,
    "reference/injections.md": injections,
    "reference/notifiers.md": notifiers,
    "reference/workspace.md": workspace,
    "reference/component.md": component,
    "reference/drill.md": drill,
    "reference/keys.md": keys,
    "reference/records.md": records,
    "reference/switch-states.md": switch_states,
    "reference/switch-guards.md": switch_guards,
    "reference/drill-runs.md": drill_runs,
    "reference/exit-codes.md": exit_codes,
    "reference/runbook-rules.md": runbook_rules,
    "schema/component.json": component_schema,
    "schema/drill.json": drill_schema,
    "schema/workspace.json": workspace_schema,
}


def _page(parts: list[str]) -> str:
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def write() -> int:
    """Write every page that has changed, and remove what no page writes any more."""
    for name, page in PAGES.items():
        path = DOCS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(), encoding="utf-8")
    for path in _strangers():
        path.unlink()
    print(f"{len(PAGES)} pages written below {DOCS}")
    return 0


def check() -> int:
    """Compare; prints the difference of what is stale. Returns 1 when anything is."""
    stale = False
    for name, page in PAGES.items():
        path = DOCS / name
        written = path.read_text(encoding="utf-8") if path.is_file() else ""
        wanted = page()
        if written != wanted:
            stale = True
            difference = difflib.unified_diff(
                written.splitlines(), wanted.splitlines(), f"docs/{name}", "the code", lineterm="", n=1
            )
            print("\n".join(list(difference)[:40]))
    for path in _strangers():
        stale = True
        print(f"docs/{path.relative_to(DOCS)}: nothing writes it any more")
    print("docs/ is stale: run `make docs`, and commit what it writes." if stale else "docs/ is what the code says.")
    return int(stale)


def _strangers() -> list[Path]:
    pages = {DOCS / name for name in PAGES}
    return [path for folder in ("reference", "schema") for path in (DOCS / folder).glob("*.*") if path not in pages]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.docs", description=cleandoc(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    return check() if parser.parse_args().check else write()


if __name__ == "__main__":
    sys.exit(main())
