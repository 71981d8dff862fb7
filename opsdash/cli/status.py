"""One look at the engine. Starts none: whoever wants to know whether somebody watches must be told that nobody does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from opsdash.cli import exits
from opsdash.cli.base import UsageError, add_json, add_workspace, places_of, workspace_of
from opsdash.cli.terminal import (
    STATUS,
    Painted,
    Role,
    ago,
    dim,
    latency,
    out,
    out_json,
    say,
    short_moment,
    sign,
    table,
)
from opsdash.errors import EngineError
from opsdash.service.session import Lost, RingEvent, SessionError, SnapshotEvent

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from opsdash.model.views import Snapshot, Summary, WallRow
    from opsdash.service.client import EngineSession

EXAMPLE = "opsdash status email --nagios"

ANSWER_WITHIN = 5.0
NAGIOS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
DRILL = "[DRILL]"
FINE = frozenset({"ok", "paused"})
_SEVERITY = {"ok": 0, "paused": 0, "degraded": 1, "unknown": 2, "down": 3}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash status`."""
    parser.add_argument("component", nargs="?", metavar="COMPONENT", help="only this one")
    parser.add_argument("--watch", action="store_true", help="go on, a line for every change")
    parser.add_argument("--nagios", action="store_true", help="one line with performance data, and Nagios exit codes")
    parser.add_argument("--poll", action="store_true", help="without an engine: run every check once, in this process")
    add_json(parser)
    add_workspace(parser)


def run(arguments: argparse.Namespace) -> int:
    """Look, tell, and answer with an exit code."""
    if arguments.watch and (arguments.nagios or arguments.poll):
        raise UsageError("--watch goes with neither --nagios nor --poll")
    if arguments.poll:
        from opsdash.cli.oneshot import poll_once

        snapshot: Snapshot = poll_once(workspace_of(arguments), arguments.component)
        return _tell(arguments, snapshot)
    return asyncio.run(_look(arguments))


async def _look(arguments: argparse.Namespace) -> int:
    from opsdash.service.client import EngineSession

    try:
        session = EngineSession(places_of(arguments))
    except EngineError as error:
        return _nobody(arguments, str(error))
    if arguments.watch:
        return await _watch(arguments, session)
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            snapshot = await session.snapshot()
    except SessionError as error:
        return _nobody(arguments, str(error))
    except TimeoutError:
        return _nobody(arguments, f"the engine does not answer within {ANSWER_WITHIN:.0f} s")
    return _tell(arguments, snapshot)


def _nobody(arguments: argparse.Namespace, why: str) -> int:
    """No engine answers: nothing is known, which is not fine."""
    if arguments.nagios:
        out(f"OPSDASH UNKNOWN - {why}")
    elif arguments.json:
        out_json({"component": arguments.component, "status": "unknown", "reason": why})
    else:
        say(f"opsdash: {why}. Nothing is known: `opsdash engine` or `opsdash` starts one, --poll looks once without")
    return exits.NOT_KNOWN


def _tell(arguments: argparse.Namespace, snapshot: Snapshot) -> int:
    rows = _chosen(snapshot["rows"], arguments.component)
    if arguments.nagios:
        return _nagios(arguments.component, rows, snapshot["summary"])
    if arguments.json:
        out_json(_object(rows[0]) if arguments.component else _overview(snapshot, rows))
    elif arguments.component:
        _text_of_one(rows[0], snapshot["at"])
    else:
        _text(snapshot, rows)
    return exit_code(rows)


def _chosen(rows: Sequence[WallRow], component: str | None) -> list[WallRow]:
    if component is None:
        return _worst_first(rows)
    found = [row for row in rows if row["id"] == component]
    if not found:
        raise unknown_component(component, (row["id"] for row in rows))
    return found


def unknown_component(component: str, known: Iterable[str]) -> UsageError:
    """There is no such component; names the nearest that is."""
    import difflib

    names = sorted(known)
    near = difflib.get_close_matches(component, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names) or 'none'}"
    return UsageError(f"there is no component {component!r}; {hint}")


def _worst_first(rows: Iterable[WallRow]) -> list[WallRow]:
    return sorted(rows, key=lambda row: (-_SEVERITY.get(row["status"], 2), row["id"]))


def exit_code(rows: Iterable[WallRow]) -> int:
    """1 if anything is down or degraded, else 3 if anything is unknown, else 0."""
    statuses = {row["status"] for row in rows}
    if statuses & {"down", "degraded"}:
        return exits.NOT_OK
    return exits.OK if statuses <= FINE else exits.NOT_KNOWN


# --- as text -----------------------------------------------------------------------------------------------------


def _text(snapshot: Snapshot, rows: Sequence[WallRow]) -> None:
    summary = snapshot["summary"]
    for warning in _warnings(summary):
        out(Painted(warning, Role.DOWN))
    table([_row(row, snapshot["at"], planned=row["id"] in _planned(summary)) for row in rows])
    if not rows:
        out(dim("no components: checks/ has no file"))
    broken = [each["title"] for each in summary["features"] if each["works"] != "yes"]
    out()
    works = "; every essential feature works" if summary["features"] else ""
    out(
        f"{summary['title']}: {_counts(summary['counts'])}",
        f"; not working: {', '.join(broken)}" if broken else works,
        *_rest(summary),
    )


def _counts(counts: dict[str, int]) -> str:
    words = {name.replace("_", " ").replace("in mode", "in a degraded mode"): count for name, count in counts.items()}
    return ", ".join(f"{count} {name}" for name, count in words.items() if count) or "no components"


def _rest(summary: Summary) -> Iterable[Painted]:
    if summary["incidents"]:
        yield Painted(f"; {summary['incidents']} open incident(s)", Role.DEGRADED)
    if summary["problems"]:
        yield Painted(f"; {summary['problems']} problem(s) in the files (`opsdash validate`)", Role.DEGRADED)
    if summary["uncovered"]:
        yield Painted(f"; nobody covers {', '.join(summary['uncovered'])}", Role.DEGRADED)


def _warnings(summary: Summary) -> Iterable[str]:
    if summary["offline"]:
        yield "opsdash itself is offline: most anchors do not answer, so nothing new is called down"
    if summary["journal_error"]:
        yield f"the journal cannot be written: {summary['journal_error']}; nothing can be switched"
    if summary["undelivered"]:
        yield f"{summary['undelivered']}; `opsdash alarms` shows every attempt"
    yield from _of_drills(summary)


def _of_drills(summary: Summary) -> Iterable[str]:
    """A fault that may still be in place, and halted drills."""
    for fault in _faults_left(summary):
        yield f"{fault}; `opsdash drill list` shows how to undo it by hand"
    if summary["drills"] is not None and summary["drills"]["halted"]:
        yield "drills are halted; `opsdash drill allow` lets them begin again"


def _faults_left(summary: Summary) -> Iterable[str]:
    for fault in () if summary["drills"] is None else summary["drills"]["faults"]:
        yield f"A FAULT MAY STILL BE IN PLACE: {fault['component']}, {fault['run']} of drill {fault['drill']}"


def _planned(summary: Summary) -> list[str]:
    """The components of which a failure right now is a drill's."""
    return [] if summary["drills"] is None else summary["drills"]["marked"]


def _row(row: WallRow, now: float, *, planned: bool) -> list[str | Painted]:
    return [
        status_sign(row),
        row["id"],
        latency(row["latency"]),
        dim(ago(row["since"], now)),
        _provider(row),
        " · ".join(part for part in (DRILL if planned else "", _words(row, now)) if part),
    ]


def status_sign(row: WallRow) -> Painted:
    """Mark and word of a component; being on the backup is never plain ok."""
    if row["status"] == "ok" and row["on_backup"]:
        return Painted("~ ON BACKUP", Role.BUSY)
    return sign(STATUS, row["status"])


def _provider(row: WallRow) -> str | Painted:
    if row["primary"] is None:
        return dim("—")
    if row["active"] is None:
        return Painted("provider not known", Role.UNKNOWN)
    return f"on {row['active']}"


def _words(row: WallRow, now: float) -> str:
    """Why, and what to do, in a line."""
    parts = [row["failure"] or "", row["cause"] if row["status"] != "ok" else ""]
    if row["mode"]:
        parts.append(_mode(row))
    if row["switch"]:
        parts.append(f"switch {row['switch']}")
    if row["redundancy"] in {"lost", "unknown"}:
        parts.append(f"redundancy {row['redundancy']}")
    elif row["badge"] == "not ready":
        parts.append("backup NOT READY")
    if row["explained_by"]:
        parts.append(f"explained by {', '.join(row['explained_by'])}")
    if row["held"]:
        parts.append(f"alarm held: {row['held']}")
    if row["flapping"] is not None:
        parts.append(f"flapping {row['flapping']} %")
    parts += [f"{each['kind']} until {short_moment(each['until'], now)}" for each in row["windows"]]
    if row["incident"]:
        parts.append(row["incident"])
    parts += [f"overdue: {each}" for each in row["overdue"]]
    return " · ".join(part for part in parts if part)


def _mode(row: WallRow, *, name: bool = True) -> str:
    """The degraded mode that is in force, and what users do without meanwhile."""
    without = f", without {', '.join(row['dropped'])}" if row["dropped"] else ""
    return f"{'degraded mode ' if name else ''}{row['mode']}{without}"


def _text_of_one(row: WallRow, now: float) -> None:
    out(status_sign(row), f"  {row['title']} ({row['id']}, {row['tier']}) for {ago(row['since'], now)}")
    facts = {
        "why": f"{row['reason']}: {row['cause']}" if row["reason"] and row["status"] != "ok" else "",
        "failure mode": f"{row['failure']} ({row['failure_id']})" if row["failure"] else "",
        "response": row["response"] or "",
        "provider": f"{row['active'] or 'not known'}; redundancy {row['redundancy']}" if row["primary"] else "",
        "degraded mode": _mode(row, name=False) if row["mode"] else "",
        "switch": row["switch"] or "",
        "incident": f"{row['incident']}{', acknowledged' if row['acknowledged'] else ''}" if row["incident"] else "",
        "explained by": ", ".join(row["explained_by"]),
        "alarm": f"held: {row['held']}" if row["held"] else row["alarm"],
        "flapping": f"{row['flapping']} % of its results" if row["flapping"] is not None else "",
        "windows": "; ".join(
            f"{each['kind']} until {short_moment(each['until'], now)} ({each['title']})" for each in row["windows"]
        ),
        "owners": ", ".join(row["owners"]) + ("" if row["covered"] else " (nobody is there)"),
        "overdue": ", ".join(row["overdue"]),
    }
    table([[dim(name), text] for name, text in facts.items() if text.strip()], indent="  ")


# --- as JSON -----------------------------------------------------------------------------------------------------


def _object(row: WallRow) -> dict[str, Any]:
    return {"component": row["id"], **{key: value for key, value in row.items() if key != "id"}}


def _overview(snapshot: Snapshot, rows: Sequence[WallRow]) -> dict[str, Any]:
    worst = rows[0] if rows else None
    return {
        "component": None,
        "status": worst["status"] if worst else "unknown",
        "reason": worst["reason"] if worst else "no components",
        "at": snapshot["at"],
        "summary": snapshot["summary"],
        "components": [_object(row) for row in rows],
    }


# --- for Nagios and its heirs ------------------------------------------------------------------------------------


def _nagios(component: str | None, rows: Sequence[WallRow], summary: Summary) -> int:
    statuses = {row["status"] for row in rows}
    code = next((level for status, level in (("down", 2), ("degraded", 1), ("unknown", 3)) if status in statuses), 0)
    if not rows:
        code = 3
    if component:
        row = rows[0]
        text = f"{component} {row['status']}" + (f" ({row['cause']})" if row["cause"] and code else "")
        perf = f"latency={row['latency'] or 0:.6f}s;;;0"
    else:
        planned = _planned(summary)
        marks = {row["id"]: f" {DRILL}" if row["id"] in planned else "" for row in rows}
        bad = [f"{row['id']} {row['status']}{marks[row['id']]}" for row in rows if row["status"] not in FINE]
        left = list(_faults_left(summary))
        code = max(code, 1) if left else code
        text = ", ".join([*left, *bad]) or f"{len(rows)} components ok"
        counts = {word: sum(row["status"] == word for row in rows) for word in STATUS}
        perf = " ".join(f"{word}={count};;;0;{len(rows)}" for word, count in counts.items())
        perf += f" incidents={summary['incidents']};;;0"
    out(f"OPSDASH {NAGIOS[code]} - {text.replace('|', '/')} | {perf}")
    return code


# --- going on ----------------------------------------------------------------------------------------------------


async def _watch(arguments: argparse.Namespace, session: EngineSession) -> int:
    """A line for every change, until Ctrl-C."""
    shown: dict[str, tuple[Any, ...]] = {}
    async for event in session.events():
        if isinstance(event, Lost):
            say(f"opsdash: {event.why}; everything is stale until it is back")
            shown.clear()
            continue
        if isinstance(event, RingEvent):
            continue
        rows: Sequence[WallRow]
        if isinstance(event, SnapshotEvent):
            rows, at = _chosen(event.snapshot["rows"], arguments.component), event.snapshot["at"]
        else:
            rows, at = event.delta["rows"], event.delta["at"]
        for row in rows:
            if arguments.component in {None, row["id"]} and _news(row) != shown.get(row["id"]):
                shown[row["id"]] = _news(row)
                if arguments.json:
                    out_json({"at": at, **_object(row)})
                else:
                    _line(row, at)
    return exits.OK


def _news(row: WallRow) -> tuple[Any, ...]:
    """What makes a line worth printing; latencies do not."""
    keys = ("status", "reason", "failure_id", "active", "mode", "switch", "redundancy", "incident", "acknowledged")
    return tuple(row.get(key) for key in (*keys, "alarm", "held", "windows"))


def _line(row: WallRow, at: float) -> None:
    from opsdash.cli.terminal import moment

    out(dim(moment(at)), "  ", status_sign(row), f"  {row['id']}  ", _provider(row), f"  {_words(row, at)}")
