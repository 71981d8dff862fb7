"""Run one check now and show what it saw: by the engine if one runs, since it knows the environment, else in here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from opsdash.cli import exits
from opsdash.cli.base import UsageError, add_json, add_workspace, with_files_or_engine
from opsdash.cli.terminal import STATUS, bold, dim, latency, out, out_json, say, sign, table
from opsdash.service.session import SessionError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from opsdash.model.views import CheckView
    from opsdash.service.client import EngineSession

EXAMPLE = "opsdash check email/postmark/api"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash check`."""
    parser.add_argument("check", metavar="COMPONENT[/PROVIDER]/CHECK")
    add_json(parser)
    add_workspace(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run it. 0: ok, 1: down or degraded, 3: unknown."""

    async def ask_engine(session: EngineSession) -> str:
        return await _by_engine(session, arguments)

    def ask_files(workspace: Path) -> str:
        return _in_here(workspace, arguments)

    status = with_files_or_engine(arguments, ask_engine, ask_files)
    return {"ok": exits.OK, "down": exits.NOT_OK, "degraded": exits.NOT_OK}.get(status, exits.NOT_KNOWN)


async def _by_engine(session: EngineSession, arguments: argparse.Namespace) -> str:
    component = arguments.check.partition("/")[0]
    known_components = [row["id"] for row in (await session.snapshot())["rows"]]
    if component not in known_components:
        raise _unknown(arguments.check, known_components)
    detail = await session.component(component)
    checks = [*detail["checks"], *(check for provider in detail["providers"] for check in provider["checks"])]
    if arguments.check not in {check["id"] for check in checks}:
        raise _unknown(arguments.check, (check["id"] for check in checks))
    try:
        seen = await session.observe(arguments.check)
    except SessionError as error:  # paused, held back by Retry-After, or the engine is ending
        say(f"opsdash: {arguments.check} was not run: {error}")
        return "unknown"
    if arguments.json:
        out_json(
            {
                **seen,
                "component": component,
                "status": seen["raw_status"],
                "reason": seen["raw_reason"],
                "confirmed": {"status": seen["status"], "reason": seen["reason"], "streak": seen["streak"]},
            }
        )
    else:
        _text(seen)
    return seen["raw_status"]


def _text(seen: CheckView) -> None:
    reason = f" ({seen['raw_reason']})" if seen["raw_reason"] else ""
    out(sign(STATUS, seen["raw_status"]), f"{reason}  ", bold(seen["id"]), f"  {seen['raw_detail']}")
    streak = f", {seen['streak']}" if seen["streak"] else ""
    confirmed = f"{seen['status']}{streak}"
    shown = {"kind": seen["kind"], "confirmed": confirmed, **_timings(seen["latency"], seen["phases"])}
    shown |= {f"facts.{name}": str(value) for name, value in seen["facts"].items()}
    table([[dim(name), value] for name, value in shown.items()], indent="  ")


def _timings(took: float | None, phases: Mapping[str, float]) -> dict[str, str]:
    parts = ", ".join(f"{name} {latency(seconds)}" for name, seconds in phases.items())
    return {"latency": latency(took) + (f" ({parts})" if parts else "")}


def _in_here(workspace: Path, arguments: argparse.Namespace) -> str:
    from opsdash.cli.offline import read_files
    from opsdash.cli.oneshot import run_checks
    from opsdash.cli.validate import result_object, show_result

    loaded = read_files(workspace)
    if arguments.check not in loaded.bindings:
        raise _unknown(arguments.check, loaded.bindings)
    results = asyncio.run(run_checks(workspace, loaded, [arguments.check]))
    if not results:
        raise UsageError(f"{arguments.check} sends nothing: it waits for a report, which only an engine receives")
    if arguments.json:
        out_json(result_object(results[0]))
    else:
        show_result(results[0])
        out(dim(f"    latency = {_timings(results[0].latency, results[0].phases)['latency']}"))
    return results[0].verdict.status.value


def _unknown(check: str, known: Iterable[str]) -> UsageError:
    import difflib

    names = sorted(known)
    near = difflib.get_close_matches(check, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names) or 'none'}"
    return UsageError(f"there is no check {check!r}; {hint}")
