"""A drill as rows: its plan, its run with everything that is measured, and what its latest evidence says. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.board.lines import Line, Role, Row, left, paragraphs, right, wrap
from opsdash.board.plan import guard_rows
from opsdash.board.words import (
    DRILL_STATE,
    HOLDS,
    STALE,
    STATUS,
    VERDICT,
    ago,
    count_of,
    date_time,
    day,
    proof,
    remaining,
    sign,
)
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import tzinfo

    from opsdash.model.views import DrillPlanView, DrillRunView, DrillView, ExpectationView, WallRow

LABEL = 11
MEASURED = {
    "detect": "noticed",
    "acknowledge": "acknowledged",
    "decide": "decided",
    "switch": "switched",
    "verify": "verified",
    "recovery": "from the fault to verified service",
    "restore": "restored",
    "exposure": "without a ready backup",
}
"""What the spans of a run are called; those that are not known by name are shown as they are."""


def labelled(name: str, texts: Sequence[str], cells: int, role: Role = Role.TEXT) -> list[Row]:
    """A name, and beside it one paragraph for each text."""
    lines = [line for text in texts for line in wrap(text, max(20, cells - LABEL))]
    return [Row([(left(f" {name}" if not n else "", LABEL), Role.DIM), (line, role)]) for n, line in enumerate(lines)]


def numbered(texts: Sequence[str], cells: int) -> list[Row]:
    """Sentences in order, each with its number."""
    rows: list[Row] = []
    for number, text in enumerate(texts, 1):
        lines = wrap(text, max(20, cells - 5))
        rows += [
            Row([(right(str(number) if not n else "", 3) + "  ", Role.DIM), (line, Role.TEXT)])
            for n, line in enumerate(lines)
        ]
    return rows


# --- the plan ------------------------------------------------------------------------------------------------------


def plan_rows(plan: DrillPlanView, age: float, cells: int, reason: str) -> list[Row]:
    """A plan that was made `age` seconds ago."""
    if plan["refused"] is not None:
        return paragraphs(plan["refused"]["reason"], cells, Role.DOWN)
    rows = [*labelled("touches", ["; ".join(plan["touches"])], cells, Role.DEGRADED), Row([])]
    if plan["guards"]:
        rows += [*guard_rows(plan["guards"], age, cells), Row([])]
    rows += [Row([("WHAT WILL HAPPEN", Role.HEADING)]), *numbered(plan["steps"], cells), Row([])]
    rows += [Row([("WHAT UNDOES IT", Role.HEADING)])]
    if plan["undo"]:
        limit = f"by the guard after {format_duration(plan['limit'])} at the latest, also if opsdash dies"
        rows += [
            *labelled("undo", [*plan["undo"], limit], cells),
            *labelled("by hand", plan["by_hand"], cells, Role.CODE),
        ]
    else:
        rows += labelled("undo", ["nothing is broken, so there is nothing to undo"], cells, Role.DIM)
    rows += [Row([]), Row([("WHAT IS EXPECTED", Role.HEADING)])]
    rows += labelled("expects", plan["expects"] or ["nothing: it is measured and not judged"], cells)
    rows += [Row([]), Row([("Reason  ", Role.DIM), (reason or "none given", Role.TEXT if reason else Role.DIM)])]
    return rows


# --- a run ---------------------------------------------------------------------------------------------------------


def run_rows(
    run: DrillRunView, now: float, cells: int, tz: tzinfo | None, wall: Mapping[str, WallRow], *, stale: bool
) -> list[Row]:
    """A run, going on or over. wall: the rows of the wall, for the components that must not change."""
    rows = _alarming(run, cells)
    if run["verdict"] is not None:
        rows += [*verdict_rows(run, cells, tz), Row([])]
    begun = (
        f"begun by {'a date' if run['cause'] == 'schedule' else run['who']} at {date_time(run['started_at'], tz, now)}"
    )
    begun += f", with {run['approved_by']}" if run["approved_by"] else ""
    rows.append(Row([(begun, Role.DIM), (f"  {run['reason']}", Role.TEXT)]))
    if run["overrides"]:
        rows.append(Row([("overridden: " + ", ".join(run["overrides"]), Role.DEGRADED)]))
    rows += [Row([]), *steps_rows(run, now, cells), Row([])]
    if run["waits"]:
        rows += [*paragraphs(f"The response cannot be begun: {run['waits']}", cells, Role.DEGRADED), Row([])]
    rows += [Row([("EXPECTED", Role.HEADING)]), *_expected(run, cells)]
    rows += _unaffected(run, cells, wall, stale=stale)
    rows += [*_sampled(run), Row([])]
    if run["measured"]:
        rows.append(Row([("MEASURED", Role.HEADING)]))
        rows += labelled("", [measured_words(run["measured"])], cells)
        rows.append(Row([]))
    rows += _guarded(run, now, cells)
    where = [
        f"{name} {value}"
        for name, value in (
            ("incident", run["incident"]),
            ("runbook", run["runbook"]),
            ("", ", ".join(run["switches"])),
        )
        if value
    ]
    return [*rows, *labelled("see", ["   ".join(where).strip()], cells, Role.DIM)] if where else rows


def _alarming(run: DrillRunView, cells: int) -> list[Row]:
    """That a fault was not taken back, or that the run was ended before its time."""
    rows: list[Row] = []
    if run["undone"] is False:
        rows += [*paragraphs(" NOBODY COULD VERIFY THAT THE FAULT IS GONE: take it back by hand ", cells, Role.ALERT)]
        rows += [*labelled("by hand", run["by_hand"] or ["as the drill's file says"], cells, Role.CODE), Row([])]
    if run["stopped"]:
        rows += [*paragraphs(f"ended before its time: {run['stopped']}", cells, Role.DEGRADED), Row([])]
    return rows


def verdict_rows(run: DrillRunView, cells: int, tz: tzinfo | None) -> list[Row]:
    """How it ended, and why."""
    verdict = sign(VERDICT, run["verdict"] or "")
    line: Line = [(f" {verdict.mark} {verdict.word} ", Role.ALERT if verdict.role is Role.DOWN else verdict.role)]
    if run["valid_until"] is not None:
        line.append((f"  proof until {day(run['valid_until'], tz)}", Role.DIM))
    rows = [Row(line)]
    for why in run["why"]:
        rows += [Row([("   ", Role.TEXT), (line, Role.TEXT)]) for line in wrap(why, max(20, cells - 4))]
    return rows


def steps_rows(run: DrillRunView, now: float, cells: int) -> list[Row]:
    """The states it came to with the time each took, in as many lines as that needs; the present one counts on."""
    steps = run["steps"]
    pieces: list[Line] = []
    for number, step in enumerate(steps):
        last = number == len(steps) - 1
        if step["state"] == "ended":
            continue
        until = steps[number + 1]["at"] if not last else now
        took = (
            format_duration(max(0.0, until - step["at"]))
            if until - step["at"] >= 60
            else f"{max(0.0, until - step['at']):.1f}s"
        )
        role = Role.BACKUP if last and run["live"] else Role.TEXT
        pieces.append([(f"{'▸' if last and run['live'] else '✓'} {step['state']} {took}", role)])
    rows: list[Row] = []
    line: Line = []
    size = 0
    for piece in pieces:
        length = len(piece[0][0]) + 5
        if line and size + length > cells:
            rows.append(Row(line))
            line, size = [], 0
        line += ([("  ─  ", Role.BORDER)] if line else []) + piece
        size += length
    rows.append(Row(line))
    if run["live"]:
        rows.append(Row([(DRILL_STATE.get(run["state"], run["state"]), Role.DIM)]))
    return rows


def _expected(run: DrillRunView, cells: int) -> list[Row]:
    if not run["expectations"]:
        return [Row([(" nothing: it is measured and not judged", Role.DIM)])]
    return [Row(_expectation(each, cells)) for each in run["expectations"]]


def _expectation(each: ExpectationView, cells: int) -> Line:
    holds = sign(HOLDS, each["holds"])
    took = "" if each["took"] is None else f"{each['took']:.1f}s"
    allowed = "" if each["allowed"] is None else f"within {format_duration(each['allowed'])}"
    title = max(12, min(34, cells - 36))
    return [
        (f" {holds.mark}  ", holds.role), (left(holds.word, 8), holds.role), (left(each["title"], title), Role.TEXT),
        (right(took, 9), Role.STRONG), (f"  {allowed}", Role.DIM),
    ]  # fmt: skip


def _unaffected(run: DrillRunView, cells: int, wall: Mapping[str, WallRow], *, stale: bool) -> list[Row]:
    """Each component that must not change, with how it is now."""
    if not run["unaffected"]:
        return []
    rows = [Row([]), Row([("MUST NOT CHANGE", Role.HEADING)])]
    for component in run["unaffected"]:
        row = wall.get(component)
        shown = STALE if stale or row is None else sign(STATUS, row["status"])
        changed = component in run["affected"]
        title = row["title"] if row is not None else component
        word: Line = [("✗  CHANGED ", Role.DOWN)] if changed else [("✓  as before ", Role.OK)]
        rows.append(
            Row(
                [
                    (" ", Role.TEXT),
                    *word,
                    (left(title, max(10, cells - 32)), Role.TEXT),
                    ("  now ", Role.DIM),
                    shown.span,
                ]
            )
        )
    return rows


def _sampled(run: DrillRunView) -> list[Row]:
    """How much was looked at: what was not sampled is not known to have been well."""
    if not run["samples"] and not run["missing"] and not run["load_wanted"]:
        return []
    line: Line = [(f" {count_of(run['samples'], 'sample')}", Role.DIM)]
    if run["missing"]:
        line.append((f", {run['missing']} missing", Role.DEGRADED))
    if run["load_wanted"]:
        line.append((f"   load: {run['load']} of {run['load_wanted']}", Role.DIM))
        line.append((f", {run['load_failed']} failed", Role.DEGRADED if run["load_failed"] else Role.DIM))
    return [Row([]), Row(line)]


def measured_words(measured: Mapping[str, float]) -> str:
    """The spans of a run in one sentence."""
    return "   ".join(f"{MEASURED.get(name, name)} {took:.1f}s" for name, took in measured.items())


def _guarded(run: DrillRunView, now: float, cells: int) -> list[Row]:
    """What undoes the fault, when at the latest, and how a person does it."""
    if run["until"] is not None:
        words = f"armed in a process of its own: undoes it in {remaining(run['until'], now)} at the latest"
        rows = labelled("guard", [words], cells, Role.DEGRADED)
    elif run["undone"]:
        rows = labelled("guard", [f"the fault is verified to be gone, undone by {run['undo_by']}"], cells, Role.OK)
    else:
        return []
    return [*rows, *labelled("by hand", run["by_hand"], cells, Role.CODE)] if run["live"] else rows


# --- below the list ------------------------------------------------------------------------------------------------


def detail_rows(view: DrillView, now: float, cells: int, tz: tzinfo | None) -> list[Row]:
    """One drill with its latest evidence, for below the list: the first lines matter most."""
    line, run = view["line"], view["run"]
    text, role = proof(line["standing"], line["proved_at"], now)
    until = f", until {day(line['void_at'], tz)}" if line["void_at"] and line["standing"] == "fresh" else ""
    about: Line = [(f"{line['level']} drill of {line['component']}", Role.TEXT)]
    about += [(f" for {line['failure_mode']}", Role.DIM)] if line["failure_mode"] else []
    rows = [Row([*about, ("   proof: ", Role.DIM), (text + until, role)])]
    if line["off"]:
        rows += paragraphs(f"It cannot be run: {line['off']}", cells, Role.DOWN)
    if line["missed"]:
        rows += paragraphs(f"Its last date led to no run: {line['missed']}", cells, Role.DEGRADED)
    who = [f"owner {line['owner'] or 'nobody'}"]
    who += [f"next by {line['driver']}"] if line["driver"] else []
    who += [f"without {', '.join(view['absent'])}"] if view["absent"] else []
    who += [f"begun only {', '.join(view['windows'])}"] if view["windows"] else []
    rows.append(Row([("   ".join([*who, line["file"]]), Role.DIM)]))
    if run is None:
        return [*rows, Row([("It was never run.", Role.DEGRADED)])]
    if run["live"]:
        state = DRILL_STATE.get(run["state"], run["state"])
        return [*rows, Row([(f"{run['id']} is running for {ago(run['started_at'], now)}: {state}", Role.BACKUP)])]
    ended = date_time(run["ended_at"] or run["started_at"], tz, now)
    rows.append(Row([(f"{run['id']}, {ended}, by {run['who']}", Role.DIM)]))
    rows += verdict_rows(run, cells, tz)
    return rows + (paragraphs(measured_words(run["measured"]), cells, Role.DIM) if run["measured"] else [])
