"""Drills: what is due, what one would do, run it, stop it, halt them all; what they have shown."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opsdash.cli import exits
from opsdash.cli.base import (
    UsageError,
    add_as,
    add_json,
    add_workspace,
    places_of,
    refusal,
    runs,
    with_engine,
    with_files_or_engine,
)
from opsdash.cli.terminal import (
    RESULT,
    Painted,
    Role,
    ago,
    bold,
    dim,
    moment,
    out,
    out_json,
    out_lines,
    say,
    sign,
    table,
)
from opsdash.model.units import format_duration
from opsdash.service.session import SessionError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from opsdash.cli.terminal import Part
    from opsdash.model.views import DrillLine, DrillPlanView, DrillRunView, DrillsView, DrillView, FaultView
    from opsdash.service.client import EngineSession
    from opsdash.service.places import Places

EXAMPLE = "opsdash drill run email-quarterly"

STANDING: dict[str, Painted] = {
    "fresh": Painted("✓ counts", Role.OK),
    "old": Painted("! too old", Role.DEGRADED),
    "changed": Painted("! changed since", Role.DEGRADED),
    "failed": Painted("✗ FAILED", Role.DOWN),
    "never": Painted("- never shown", Role.DIM),
}
VERDICT: dict[str, Painted] = {
    "passed": Painted("✓ passed", Role.OK),
    "late": Painted("! LATE", Role.DEGRADED),
    "failed": Painted("✗ FAILED", Role.DOWN),
    "aborted": Painted("- aborted", Role.DEGRADED),
    "interrupted": Painted("- interrupted", Role.DEGRADED),
    "inconclusive": Painted("? inconclusive", Role.UNKNOWN),
}
HOLDS: dict[str, Painted] = {
    "true": Painted("✓ yes", Role.OK),
    "false": Painted("✗ NO", Role.DOWN),
    "waiting": Painted("… not yet", Role.BUSY),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash drill`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    readers = [
        verbs.add_parser("list", help="all drills, overdue ones first, with what they have shown"),
        _about_a_drill(verbs.add_parser("show", help="one drill, or a run, with its times and verdict")),
        _about_a_drill(verbs.add_parser("plan", help="what it would do, what undoes it, what speaks against it")),
    ]
    run_it = _about_a_drill(verbs.add_parser("run", help="show the plan, ask, run it, and follow it to its verdict"))
    run_it.add_argument("--plan", action="store_true", help="only show the plan, as `opsdash drill plan`")
    run_it.add_argument("--yes", action="store_true", help="do not ask")
    run_it.add_argument("--no-wait", action="store_true", help="begin it, and do not follow")
    run_it.add_argument("--reason", default="", metavar="TEXT", help="why; it is recorded")
    run_it.add_argument(
        "--override", action="append", default=[], metavar="RULE", help="go ahead although this guard fails"
    )
    watch = verbs.add_parser("watch", help="follow the drill that runs to its verdict; Ctrl-C stops following alone")
    stop = verbs.add_parser("stop", help="stop the drill that runs: what it has broken is undone at once")
    finish = verbs.add_parser("finish", help="enough was seen of it: undo it, and judge it by what has come true")
    for each in (watch, stop, finish):
        each.add_argument("run", nargs="?", default="", metavar="RUN", help="default: the one that runs")
    stop.add_argument("--reason", default="", metavar="TEXT")
    finish.add_argument("--text", default="", metavar="TEXT", help="what was seen")
    halt = verbs.add_parser("halt", help="undo everything, and let no drill begin; works without an engine, too")
    halt.add_argument("reason", nargs="?", default="", metavar="REASON")
    allow = verbs.add_parser("allow", help="let drills begin again")
    gone = verbs.add_parser("gone", help="state that a fault which nobody could verify to be gone is gone")
    gone.add_argument("run", metavar="RUN")
    for each in (allow, gone):
        each.add_argument("--reason", default="", metavar="TEXT", help="why; how do you know?")
    for each in (run_it, stop, finish, halt, allow, gone):
        add_as(each)
        readers.append(each)
    history = verbs.add_parser("history", help="all runs with their verdicts, out of the journal")
    history.add_argument("drill", nargs="?", metavar="DRILL", help="only this one's")
    evidence = verbs.add_parser("evidence", help="what a run has shown, out of the journal, as Markdown")
    evidence.add_argument("run", metavar="RUN", help="id of a run, or a drill: its latest run")
    verify = verbs.add_parser("verify", help="is a file with evidence what the journal says? lists every other place")
    verify.add_argument("file", type=Path, metavar="FILE", help="as `opsdash drill evidence` has written it")
    calendar = verbs.add_parser("calendar", help="when drills are due, as iCalendar")
    calendar.add_argument("-o", "--output", type=Path, metavar="FILE", help="into this file")
    for each in (*readers, watch, history, evidence, verify):
        add_json(each)
    for each in verbs.choices.values():
        add_workspace(each)


def _about_a_drill(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("drill", metavar="DRILL")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Do what the verb says."""
    verb = arguments.verb
    if verb == "run" and not arguments.plan:
        from opsdash.cli.drill_run import run as run_drill

        return run_drill(arguments)
    if verb == "watch":
        from opsdash.cli.drill_run import watch

        return watch(arguments)
    if verb in ("history", "evidence", "verify", "calendar"):
        from opsdash.cli import drill_records

        return drill_records.run(arguments)
    return {
        "list": _list, "show": _show, "plan": _plan, "run": _plan, "stop": _stop, "finish": _finish, "halt": _halt,
        "allow": _allow, "gone": _gone,
    }[verb](arguments)  # fmt: skip


# --- reading -------------------------------------------------------------------------------------------------------


def _list(arguments: argparse.Namespace) -> int:
    async def ask_engine(session: EngineSession) -> DrillsView:
        return await session.drills()

    def ask_files(workspace: Path) -> DrillsView:
        from opsdash.cli.offline import read_offline

        return read_offline(workspace).drills().drills()

    found = with_files_or_engine(arguments, ask_engine, ask_files)
    if arguments.json:
        worst = "fault" if found["faults"] else "overdue" if any(each["overdue"] for each in found["drills"]) else "ok"
        out_json({"component": None, "status": worst, "reason": None, **found})
        return exits.OK
    show_faults(found["faults"])
    if found["lever"] is not None:
        lever = found["lever"]
        out(Painted(f"drills are halted by {lever['who']} since {moment(lever['at'])}: {lever['reason']}", Role.DOWN))
        say("`opsdash drill allow --reason TEXT` lets them begin again")
    table([_row(each, found["at"]) for each in found["drills"]])
    if not found["drills"]:
        say("there is no drill; write one in drills/, a tabletop one touches nothing")
    return exits.OK


def _row(line: DrillLine, now: float) -> list[Part]:
    latest: Part = dim("never run")
    if line["running"]:
        latest = Painted(f"▸ {line['running']} runs", Role.BUSY)
    elif line["verdict"] is not None:
        known = sign(VERDICT, line["verdict"])
        latest = Painted(f"{known.text} {ago(line['verdict_at'], now)} ago", known.role)
    last: Part = dim(f"next: {line['driver']}" if line["driver"] else f"owner: {line['owner']}")
    if line["off"]:
        last = Painted(line["off"], Role.DOWN)
    proof = sign(STANDING, line["standing"])
    return [line["id"], line["component"], line["level"], _due(line, now), proof, latest, last]


def _due(line: DrillLine, now: float) -> Part:
    if line["due"] is None:
        return dim("no date")
    if line["overdue"]:
        return Painted(f"OVERDUE {format_duration(now - line['due'])}", Role.DOWN)
    if line["due"] <= now:
        return Painted("due now", Role.DEGRADED)
    return f"in {format_duration(line['due'] - now)}"


def show_faults(faults: Sequence[FaultView]) -> None:
    """What may still be broken, and how to undo it by hand."""
    for fault in faults:
        since = moment(fault["since"])
        out(
            Painted("✗ A FAULT MAY STILL BE IN PLACE: ", Role.DOWN),
            f"{fault['component']}, {fault['run']} of drill {fault['drill']}, since {since}",
        )
        out("  ", fault["detail"], "; its guard is at work on it" if fault["guarded"] else "")
        for command in fault["by_hand"]:
            out(dim("  undo by hand:  "), bold(command))
        out(dim(f"  then: opsdash drill gone {fault['run']} --reason TEXT"))


def _show(arguments: argparse.Namespace) -> int:
    name: str = arguments.drill

    async def ask_engine(session: EngineSession) -> DrillView:
        found = await session.drill(name)
        if found is None:
            raise _missing(name, [each["id"] for each in (await session.drills())["drills"]])
        return found

    def ask_files(workspace: Path) -> DrillView:
        from opsdash.cli.offline import read_offline

        offline = read_offline(workspace)
        found = offline.drills().drill(name)
        if found is None:
            raise _missing(name, offline.loaded.operation.drills)
        return found

    view = with_files_or_engine(arguments, ask_engine, ask_files)
    if arguments.json:
        shown = view["run"]
        status = None if shown is None else shown["verdict"] or shown["state"]
        out_json({"component": view["line"]["component"], "status": status, "reason": None, **view})
        return exits.OK
    line = view["line"]
    out(bold(f"{line['id']}: {line['title']}"), dim(f"  {line['level']} of {line['component']}"))
    about: dict[str, Part] = {
        "evidence": sign(STANDING, line["standing"]),
        "due": "no date" if line["due"] is None else moment(line["due"]),
        "missed": line["missed"],
        "who next": line["driver"] or line["owner"],
        "absent": ", ".join(view["absent"]),
        "limit": format_duration(view["limit"]),
        "runbook": view["runbook"] or "",
        "off": line["off"],
    }
    table([[dim(label), value] for label, value in about.items() if len(value)], indent="  ")
    show_faults([view["fault"]] if view["fault"] is not None else [])
    if view["run"] is not None:
        show_run(view["run"])
    return exits.OK


def _missing(name: str, known: Iterable[str]) -> UsageError:
    """There is no such drill; names the nearest that is."""
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(known)) or 'none'}"
    return UsageError(f"there is no drill {name!r}; {hint}")


def show_run(view: DrillRunView) -> None:
    """A run with its times, what was expected, and its verdict, as data."""
    state = sign(VERDICT, view["verdict"]) if view["verdict"] else Painted(f"▸ {view['state']}", Role.BUSY)
    second = f" and {view['approved_by']}" if view["approved_by"] else ""
    out(bold(view["id"]), "  ", state, dim(f"  begun by {view['who']}{second}, {moment(view['started_at'])}"))
    for why in view["why"]:
        out("  ", why)
    if view["stopped"] and view["stopped"] not in view["why"]:
        out("  ", view["stopped"])
    if view["waits"]:
        out(Painted(f"  waits: {view['waits']}", Role.DEGRADED))
    table([_expected(each) for each in view["expectations"]], indent="  ")
    measured = ", ".join(f"{name} {took:.1f} s" for name, took in view["measured"].items())
    rows: list[list[Part]] = [[dim("measured"), measured]] if measured else []
    rows.append([dim("samples"), f"{view['samples']}, missing: {view['missing']}"])
    if view["load_wanted"]:
        rows.append([dim("load"), f"{view['load']} of {view['load_wanted']}, {view['load_failed']} failed"])
    if view["unaffected"]:
        changed = f"CHANGED: {', '.join(view['affected'])}" if view["affected"] else "none has changed"
        rows.append([dim("unaffected"), f"{', '.join(view['unaffected'])}: {changed}"])
    if view["faulty"]:
        gone = {True: "verified to be gone", False: "found NOT to be gone", None: "not verified to be gone"}
        rows.append([dim("the fault"), gone[view["undone"]] + (f", by {view['undo_by']}" if view["undo_by"] else "")])
    if view["incident"]:
        rows.append([dim("incident"), view["incident"]])
    if view["valid_until"] is not None:
        rows.append([dim("counts until"), moment(view["valid_until"])])
    table(rows, indent="  ")
    if not view["live"]:
        out(dim(f"  all of it: opsdash drill evidence {view['id']}"))


def _expected(each: Any) -> list[Part]:
    took = "" if each["took"] is None else f"{each['took']:.1f} s"
    allowed = "" if each["allowed"] is None else f"within {format_duration(each['allowed'])}"
    return [sign(HOLDS, each["holds"]), each["title"], took, dim(allowed)]


# --- a plan --------------------------------------------------------------------------------------------------------


def _plan(arguments: argparse.Namespace) -> int:
    async def work(session: EngineSession) -> int:
        plan = await plan_of(session, arguments.drill)
        if arguments.json:
            out_json({"component": plan["component"], "status": "refused" if plan["failed"] else "planned",
                      "reason": None, "plan": plan})  # fmt: skip
        else:
            show_plan(plan, to_stderr=False)
        return exits.REFUSED if plan["failed"] else exits.OK

    return with_engine(arguments, work)


async def plan_of(session: EngineSession, drill: str) -> DrillPlanView:
    """The plan of a drill, once all that it is judged by was looked at. Raises UsageError where there is none."""
    from opsdash.cli.base import first_results

    view = await session.drill(drill)
    if view is None or view["line"]["id"] != drill:
        raise _missing(drill, [each["id"] for each in (await session.drills())["drills"]])
    judged = (view["line"]["component"], *view["unaffected"], *(check.partition("/")[0] for check in view["steady"]))
    for component in dict.fromkeys(judged):
        with contextlib.suppress(SessionError):  # it is not in the files; the plan says so
            await first_results(session, component)
    return await session.drill_plan(drill)


def show_plan(plan: DrillPlanView, *, to_stderr: bool) -> None:
    """What would be done, what undoes it, and what speaks against it. Nothing has happened yet."""
    line = say if to_stderr else out
    line(bold(f"Drill of {plan['component']}: {plan['title']}"), dim(f"  level {plan['level']}"))
    for number, step in enumerate(plan["steps"], 1):
        line(f"  {number}. {step}")
    rows: list[list[Part]] = [[dim("expects"), text] for text in plan["expects"]]
    rows += [[dim("may fail"), text] for text in plan["touches"]]
    rows += [[dim("undo"), text] for text in plan["undo"]]
    rows += [[dim("undo by hand"), first] for text in plan["by_hand"] for first in text.splitlines()]
    table(rows, to_stderr=to_stderr, indent="  ")
    table(
        [[sign(RESULT, each["result"]), each["title"], each["evidence"], dim(each["rule"])] for each in plan["guards"]],
        to_stderr=to_stderr,
        indent="  ",
    )


# --- changing ------------------------------------------------------------------------------------------------------


def _stop(arguments: argparse.Namespace) -> int:
    return _about_the_run(arguments, "stop_drill", {"reason": arguments.reason}, "is stopped, and undone")


def _finish(arguments: argparse.Namespace) -> int:
    return _about_the_run(arguments, "finish_drill", {"text": arguments.text}, "is closed, and judged")


def _about_the_run(arguments: argparse.Namespace, intent: str, given: dict[str, Any], said: str) -> int:
    async def work(session: EngineSession) -> int:
        run_id = await run_meant(session, arguments)
        return await _submit(session, arguments, intent, {"run": run_id, **given}, f"{run_id} {said}")

    return with_engine(arguments, work)


async def run_meant(session: EngineSession, arguments: argparse.Namespace) -> str:
    """The run that the command line names, else the one that runs. Raises UsageError where none does."""
    found: str = arguments.run or (await session.drills())["running"]
    if not found:
        raise UsageError("no drill is running")
    return found


def _allow(arguments: argparse.Namespace) -> int:
    given = {"reason": arguments.reason}
    return with_engine(
        arguments, lambda session: _submit(session, arguments, "allow_drills", given, "drills may begin again")
    )


def _gone(arguments: argparse.Namespace) -> int:
    given = {"run": arguments.run, "reason": arguments.reason}
    said = f"it is recorded that the fault of {arguments.run} is gone"
    return with_engine(arguments, lambda session: _submit(session, arguments, "fault_gone", given, said))


async def _submit(
    session: EngineSession, arguments: argparse.Namespace, intent: str, given: dict[str, Any], said: str
) -> int:
    verdict = await session.submit(intent, given)
    why = None if verdict["refused"] is None else refusal(verdict["refused"])
    if arguments.json:
        status = "done" if why is None else "refused"
        out_json({"component": None, "status": status, "reason": why, "run": given.get("run")})
    if why is not None:
        say(Painted("refused: ", Role.DOWN), why)
        return exits.REFUSED
    say(said)
    return exits.OK


def _halt(arguments: argparse.Namespace) -> int:
    """Through the engine where one answers, so that it is recorded at once; else by the file that guards look at."""
    import asyncio

    reason = arguments.reason.strip()
    if not reason:
        raise UsageError("halting drills needs a reason: opsdash drill halt 'customers call'")
    where = places_of(arguments)
    said = "drills are halted: what any has broken is being undone, and none begins"
    why_not = "no engine runs"
    if runs(where):
        from opsdash.service.client import EngineSession

        session = EngineSession(where, claim=arguments.claim)
        try:
            return asyncio.run(_submit(session, arguments, "halt_drills", {"reason": reason}, said))
        except SessionError as error:
            why_not = str(error)
    _halt_without(where, arguments, reason)
    say(f"{said}; {why_not}, so the guards were told directly, and the next engine records it")
    if arguments.json:
        out_json({"component": None, "status": "done", "reason": None, "run": None})
    from opsdash.engine.guards import leftovers

    for left in leftovers(where.state):
        nobody = "nobody is at work on it: start an engine, or undo it by hand"
        at_work = "its guard undoes it" if left.guarded else nobody
        say(Painted(f"{left.run}: a fault may still be in place; {at_work}", Role.DOWN))
        for command in left.by_hand:
            out_lines(command)
    return exits.OK


def _halt_without(where: Places, arguments: argparse.Namespace, reason: str) -> None:
    import os

    from opsdash.engine.lever import halt
    from opsdash.errors import EngineError
    from opsdash.service.places import account

    login = account(os.getuid())
    who = f"{arguments.claim} (claimed, {login})" if arguments.claim else login
    try:
        halt(where.state, who, reason)
    except OSError as error:
        raise EngineError(
            f"{where.state}/drills/halt cannot be written: {error.strerror or error}; SIGTERM to a guard has it undo, "
            "too (`pgrep -f opsdash.engine.guardian`)"
        ) from error
