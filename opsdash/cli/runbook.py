"""Runbooks: list, show, lint, test their checks, follow one in a plain terminal, approve one, see what runs came to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.cli import exits, runbook_runs, runbook_test
from opsdash.cli.base import (
    UsageError,
    add_as,
    add_json,
    add_workspace,
    unknown_runbook,
    with_engine,
    with_files_or_engine,
    workspace_of,
)
from opsdash.cli.terminal import Painted, Role, can_ask, dim, out, out_json, out_lines, say, table, width
from opsdash.model.runbook import Severity

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from opsdash.config.problems import Problem
    from opsdash.model.runbook import Runbook
    from opsdash.model.views import RunbookLine
    from opsdash.service.client import EngineSession

EXAMPLE = "opsdash runbook run email-down"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash runbook`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|show|lint|test|run|runs|approve|cancel")
    listing = verbs.add_parser("list", help="all runbooks")
    show = verbs.add_parser("show", help="one runbook as plain text")
    lint = verbs.add_parser("lint", help="what is wrong with runbooks")
    lint.add_argument(
        "--format", choices=["text", "json", "sarif"], help="sarif: for code hosts and editors (default: text)"
    )
    test = verbs.add_parser("test", help="execute the {check} blocks of runbooks, and nothing else")
    runbook_test.configure(test)
    follow = verbs.add_parser("run", help="follow one step by step; it can be left and resumed, here or on the board")
    for each in (show, follow):
        each.add_argument("runbook", metavar="RUNBOOK")
    lint.add_argument("runbook", nargs="?", metavar="RUNBOOK")
    follow.add_argument("component", nargs="?", metavar="COMPONENT", help="default: the one the runbook names")
    follow.add_argument("--rehearse", action="store_true", help="run checks only, and show what would be changed")
    runbook_runs.configure(verbs)
    add_as(follow)
    for each in (listing, show, lint, test):
        add_json(each)
    for each in (listing, show, lint, test, follow):
        add_workspace(each)


def run(arguments: argparse.Namespace) -> int:
    """Do what is asked with a runbook."""
    if arguments.verb == "list":
        return _list(arguments)
    if arguments.verb == "show":
        return _show(arguments)
    if arguments.verb == "lint":
        return _lint(arguments)
    if arguments.verb == "test":
        return runbook_test.run(arguments)
    if arguments.verb in runbook_runs.VERBS:
        return runbook_runs.VERBS[arguments.verb](arguments)
    return _follow(arguments)


def _list(arguments: argparse.Namespace) -> int:
    async def ask_engine(session: EngineSession) -> list[RunbookLine]:
        return await session.runbooks()

    def ask_files(workspace: Path) -> list[RunbookLine]:
        from opsdash.cli.offline import read_offline

        return read_offline(workspace).runbooks()

    found = with_files_or_engine(arguments, ask_engine, ask_files)
    if arguments.json:
        out_json({"component": None, "status": None, "reason": None, "runbooks": found})
        return exits.OK
    table([each["id"], each["component"] or "", each["title"], _remark(each)] for each in found)
    if not found:
        say("there are no runbooks: runbooks/ has no file")
    return exits.OK


def _remark(line: RunbookLine) -> Painted:
    if line["findings"]:
        return Painted(f"{line['findings']} finding(s): opsdash runbook lint {line['id']}", Role.DEGRADED)
    if line["executable"] and not line["approved"]:
        return Painted(f"waits for approval: opsdash runbook approve {line['id']}", Role.DEGRADED)
    return dim(f"reviewed {line['reviewed']}" if line["reviewed"] else "")


def _show(arguments: argparse.Namespace) -> int:
    from opsdash.cli.offline import read_files
    from opsdash.config.runbook_text import render_text

    loaded = read_files(workspace_of(arguments))
    found = loaded.runbooks.get(arguments.runbook)
    if found is None:
        raise unknown_runbook(arguments.runbook, loaded.runbooks)
    if arguments.json:
        out_json({"component": found.component, "status": None, "reason": None, "id": found.id, "title": found.title,
                  "executable": found.executable, "steps": [step.title for step in found.steps],
                  "text": found.text})  # fmt: skip
    else:
        out_lines(render_text(found, width()))
    return exits.OK


def _lint(arguments: argparse.Namespace) -> int:
    """0: nothing, 1: warnings, 2: errors, as `validate` says it."""
    from opsdash.cli.offline import read_files

    loaded = read_files(workspace_of(arguments))
    if arguments.runbook and arguments.runbook not in loaded.runbooks:
        raise unknown_runbook(arguments.runbook, loaded.runbooks)
    chosen = [loaded.runbooks[arguments.runbook]] if arguments.runbook else list(loaded.runbooks.values())
    paths = {runbook.path for runbook in chosen}
    problems = [each for each in loaded.problems if each.code and (each.file in paths or not arguments.runbook)]
    errors = any(problem.severity is Severity.ERROR for problem in problems)
    code = exits.ERRORS if errors else exits.WARNINGS if problems else exits.OK
    form = arguments.format or ("json" if arguments.json else "text")
    if form == "json":
        status = ("clean", "warnings", "errors")[code]
        out_json({"component": None, "status": status, "reason": None, "findings": [_finding(p) for p in problems]})
    elif form == "sarif":
        _out_sarif(problems, chosen, loaded.workspace)
    else:
        for problem in problems:
            out(Painted(str(problem), Role.DOWN if problem.severity is Severity.ERROR else Role.DEGRADED))
    say(f"{len(paths)} runbook(s), {len(problems) or 'no'} finding(s)")
    return code


def _finding(problem: Problem) -> dict[str, object]:
    return {**problem.view(), "code": problem.code, "column": problem.column or None}


def _out_sarif(problems: Sequence[Problem], runbooks: Iterable[Runbook], workspace: Path) -> None:
    """One object on several lines, so that two outputs can be compared line by line."""
    import json

    from opsdash.cli.base import here
    from opsdash.config.runbook_sarif import sarif

    root = here().resolve()
    below = f"{workspace.relative_to(root).as_posix()}/" if workspace.is_relative_to(root) else ""
    lines = {runbook.path: runbook.text.split("\n") for runbook in runbooks}
    log = sarif(problems, lines, "" if below == "./" else below)
    print(json.dumps(log, ensure_ascii=True, indent=1).replace("\x7f", "\\u007f"), flush=True)


def _follow(arguments: argparse.Namespace) -> int:
    if not can_ask():
        raise UsageError(
            f"following a runbook is a conversation and needs a terminal; `opsdash runbook show {arguments.runbook}` "
            "prints it"
        )
    from opsdash.cli.following import follow

    return with_engine(
        arguments,
        lambda session: follow(session, arguments.runbook, arguments.component, rehearse=arguments.rehearse),
        terminal=True,
    )
