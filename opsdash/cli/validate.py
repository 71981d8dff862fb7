"""Read every file of the workspace and report every problem at once, with file, line, and what would be right."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from opsdash.cli import exits
from opsdash.cli.base import add_json, add_workspace, workspace_of
from opsdash.cli.terminal import STATUS, Painted, Role, dim, latency, out, out_json, say, sign
from opsdash.model.runbook import Severity
from opsdash.model.status import Status

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from opsdash.cli.oneshot import Result
    from opsdash.config.loader import Loaded

EXAMPLE = "opsdash validate --run"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash validate`."""
    parser.add_argument("--run", action="store_true", help="also run each check once, and show what it saw")
    add_json(parser)
    add_workspace(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read, report, and answer 0 (clean), 1 (warnings, or a check is not ok) or 2 (errors)."""
    from opsdash.cli.offline import read_files

    workspace = workspace_of(arguments)
    loaded = read_files(workspace)
    results = _run_all(workspace, loaded) if arguments.run else []
    if arguments.json:
        out_json(_object(loaded, results))
    else:
        _text(loaded, results)
    return _code(loaded, results)


def _run_all(workspace: Path, loaded: Loaded) -> list[Result]:
    from opsdash.cli.oneshot import run_checks

    return asyncio.run(run_checks(workspace, loaded, loaded.operation.checks))


def _code(loaded: Loaded, results: Sequence[Result]) -> int:
    if any(problem.severity is Severity.ERROR for problem in loaded.problems):
        return exits.ERRORS
    not_ok = any(result.verdict.status is not Status.OK for result in results)
    return exits.WARNINGS if loaded.problems or not_ok else exits.OK


def _text(loaded: Loaded, results: Sequence[Result]) -> None:
    for problem in loaded.problems:
        out(Painted(str(problem), Role.DOWN if problem.severity is Severity.ERROR else Role.DEGRADED))
        if problem.part:
            out(dim(f"    switched off by it: {problem.part}"))
    for result in results:
        show_result(result)
    say(_summary(loaded, results))


def _summary(loaded: Loaded, results: Sequence[Result]) -> str:
    errors = sum(problem.severity is Severity.ERROR for problem in loaded.problems)
    warnings = len(loaded.problems) - errors
    operation = loaded.operation
    counts = [f"{len(operation.components)} components", f"{len(loaded.bindings)} checks"]
    counts += [f"{len(loaded.runbooks)} runbooks"]
    counts += [f"{len(operation.drills)} drills"] if operation.drills else []
    parts = [
        ", ".join(counts),
        f"{errors} errors, {warnings} warnings" if loaded.problems else "no problems",
    ]
    if results:
        parts.append(f"{sum(result.verdict.status is Status.OK for result in results)} of {len(results)} checks ok")
    return "; ".join(parts)


def show_result(result: Result) -> None:
    """What a check saw, with the values that its expectations may use."""
    reason = f" ({result.verdict.reason.value})" if result.verdict.reason else ""
    out(
        sign(STATUS, result.verdict.status.value),
        f"{reason}  {result.spec.id}  ",
        dim(latency(result.latency)),
        f"  {result.detail}" if result.detail else "",
    )
    for name, value in {**result.values, **{f"facts.{name}": value for name, value in result.facts.items()}}.items():
        out(dim(f"    {name} = "), str(value))


def _object(loaded: Loaded, results: Sequence[Result]) -> dict[str, object]:
    code = _code(loaded, results)
    return {
        "component": None,
        "status": ("clean", "warnings", "errors")[code],
        "reason": _summary(loaded, results),
        "problems": [problem.view() for problem in loaded.problems],
        "results": [result_object(result) for result in results],
    }


def result_object(result: Result) -> dict[str, object]:
    """A result as JSON."""
    return {
        "component": result.spec.component,
        "status": result.verdict.status.value,
        "reason": result.verdict.reason.value if result.verdict.reason else None,
        "check": result.spec.id,
        "detail": result.detail,
        "latency": result.latency,
        "phases": dict(result.phases),
        "values": dict(result.values),
        "facts": dict(result.facts),
    }
