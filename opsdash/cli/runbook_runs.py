"""Verbs of `opsdash runbook` that are about executing: which runs there are, approving a text, cancelling a block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opsdash.cli import exits
from opsdash.cli.base import UsageError, add_as, add_json, add_workspace, refusal, with_engine, with_files_or_engine
from opsdash.cli.step_lines import show_blocks, show_differences
from opsdash.cli.terminal import Painted, Role, ask, bold, can_ask, dim, moment, out, out_json, say, table
from opsdash.service.session import SessionError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

    from opsdash.model.views import RunLine
    from opsdash.service.client import EngineSession


def configure(verbs: Any) -> None:
    """Arguments of the verbs."""
    runs = verbs.add_parser("runs", help="open runs and the latest that were closed")
    runs.add_argument("run", nargs="?", metavar="RUN", help="one of them, with its steps")
    approve = verbs.add_parser("approve", help="allow that a runbook is executed as it is now; shows what would be")
    approve.add_argument("runbook", metavar="RUNBOOK")
    approve.add_argument("--yes", action="store_true", help="approve without being asked")
    cancel = verbs.add_parser("cancel", help="end what a run is executing")
    cancel.add_argument("run", metavar="RUN")
    add_json(runs)
    for each in (approve, cancel):
        add_as(each)
    for each in (runs, approve, cancel):
        add_workspace(each)


# --- runs ----------------------------------------------------------------------------------------------------------


def _runs(arguments: argparse.Namespace) -> int:
    if arguments.run:
        return with_engine(arguments, lambda session: _one(session, arguments.run, as_json=arguments.json))
    lines = with_files_or_engine(arguments, lambda session: session.runs(), _offline)
    if arguments.json:
        out_json({"component": None, "status": None, "reason": None, "runs": lines})
        return exits.OK
    table([_row(line) for line in lines])
    if not lines:
        out("nobody has followed a runbook yet")
    return exits.OK


def _offline(workspace: Path) -> list[RunLine]:
    from opsdash.cli.offline import read_offline

    say(dim("no engine is running: these are the open runs as the journal has them"))
    return read_offline(workspace).runs()


def _row(line: RunLine) -> list[Any]:
    steps = [f"{line[word]} {word}" for word in ("done", "failed", "skipped", "open") if line[word]]
    state = (
        Painted("? in doubt", Role.UNKNOWN)
        if line["in_doubt"]
        else Painted("▸ running", Role.BUSY)
        if line["running"]
        else Painted("  open", Role.BOLD)
        if line["ended_at"] is None
        else dim("  closed")
    )
    what = line["runbook"] + (" (rehearsal)" if line["mode"] == "rehearse" else "")
    return [
        bold(line["id"]),
        state,
        what,
        line["component"],
        line["driver"],
        moment(line["started_at"]),
        ", ".join(steps),
    ]


async def _one(session: EngineSession, run: str, *, as_json: bool) -> int:
    try:
        found = await session.run(run)
    except SessionError as error:
        raise UsageError(f"{error}; `opsdash runbook runs` lists them") from error
    if as_json:
        out_json({"component": found["component"], "status": None, "reason": None, "run": found})
        return exits.OK
    out(bold(found["id"]), f"  {found['runbook']} for {found['component']}, by {', '.join(found['drivers'])}")
    out(dim(f"  {moment(found['started_at'])} – {moment(found['ended_at']) if found['ended_at'] else 'open'}"))
    rows = []
    for step in found["steps"]:
        took = f"{step['seconds']:.0f} s" if step["seconds"] is not None else ""
        name = step.get("title") or step["id"]
        rows.append(["", name, step["mark"] or dim("open"), moment(step["at"]), step["who"] or "", took])
    table(rows)
    return exits.OK


# --- approve and cancel --------------------------------------------------------------------------------------------


def _approve(arguments: argparse.Namespace) -> int:
    async def approve(session: EngineSession) -> int:
        view = await session.runbook(arguments.runbook)
        if view["approved"]:
            say(f"{arguments.runbook} is approved as it is")
            return exits.OK
        if view["unapproved"]:
            say(f"how it differs from what {view['approved_by']} approved:")
            show_differences(view["unapproved"])
        else:
            show_blocks(view)
        if not arguments.yes:
            if not can_ask():
                raise UsageError("an approval is somebody's word and needs a terminal; --yes gives it without")
            if ask(f"approve {arguments.runbook}? (y)") != "y":
                say("nothing was approved")
                return exits.FAILED
        given = {"runbook": arguments.runbook, "sha256": view["sha256"]}
        return _told(await session.submit("approve_runbook", given), f"{arguments.runbook} is approved")

    return with_engine(arguments, approve)


def _cancel(arguments: argparse.Namespace) -> int:
    async def cancel(session: EngineSession) -> int:
        found = await session.run(arguments.run)
        running = [block for block in found["blocks"] if block["state"] == "started"]
        if not running:
            say(f"nothing of {arguments.run} is running")
            return exits.FAILED
        code = exits.OK
        for block in running:
            given = {"run": arguments.run, "step": block["step"], "block": block["block"]}
            code = max(code, _told(await session.submit("cancel_block", given), f"{block['step']} is being ended"))
        return code

    return with_engine(arguments, cancel)


def _told(verdict: Any, done: str) -> int:
    if verdict["refused"] is not None:
        say(Painted("refused: ", Role.DOWN), refusal(verdict["refused"]))
        return exits.REFUSED
    say(done)
    return exits.OK


VERBS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "runs": _runs,
    "approve": _approve,
    "cancel": _cancel,
}
