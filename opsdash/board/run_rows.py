"""A runbook and its run as rows of a page: what is odd about it first, then step by step."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from opsdash.board.lines import CURSOR, Line, Role, Row, cut, left, paragraphs, prose, spread, wrap
from opsdash.board.words import BLOCK, MARK, STATUS, ago, sign
from opsdash.model.text import clean
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opsdash.model.views import BlockView, RunView, StepDifference, StepView

OUTPUT_LINES = 10
DECIDED = {"done": "it is done", "repeat": "to be repeated", "skip": "left out"}

_NOT_PROSE = re.compile(
    r"\A#[^\n]*$"  # the title
    r"|^\s*(?:```.*?^\s*```\s*$|[-*] \[[ xX]\].*?$)"  # fences and ticks
    r"|^\*\*(?:Time|Expect|Who):\*\*.*?(?:\n\s*\n|\Z)",  # labels that are shown in places of their own
    re.MULTILINE | re.DOTALL | re.IGNORECASE,
)


def step_item(step: StepView) -> str:
    """What the cursor stands on at a step's title."""
    return f"{step['id']}\nstep:0"


def run_rows(run: RunView, cells: int, now: float) -> list[Row]:
    """The runbook with its ticks, marks and outputs."""
    rows = _banners(run, cells, now)
    for finding in run["findings"]:
        rows += paragraphs(f"! {finding}", cells, Role.DEGRADED)
    if not run["executable"]:
        rows += paragraphs("It can be read, not executed.", cells, Role.DIM)
    if run["id"] == "":
        rows.append(Row([("Only read so far: the first tick or block begins a run.", Role.DIM)]))
    for number, step in enumerate(run["steps"], 1):
        rows += [Row([]), *step_rows(run, step, number, cells, now)]
    if not run["steps"]:
        rows += [Row([]), *(Row(line) for line in prose(run["text"], cells))]
    return rows


def _banners(run: RunView, cells: int, now: float) -> list[Row]:
    """What has to be known before anything is done."""
    rows: list[Row] = []
    if run["mode"] == "rehearse":
        rows += paragraphs("REHEARSAL: checks run, and what changes anything is only shown.", cells, Role.BACKUP)
    if run["id"] and not run["yours"]:
        idle = "" if run["active_at"] is None else f", last active {ago(run['active_at'], now)} ago"
        gone = " and is gone or silent" if run["driver_gone"] else ""
        rows += paragraphs(
            f"You are watching: {run['driver']} drives{idle}{gone}. t takes it over, with a reason.",
            cells,
            Role.DEGRADED if run["driver_gone"] else Role.BACKUP,
        )
    if run["changed"]:
        text = "The file was edited since this run began; blocks wait. d shows the difference, and accepts it."
        rows += paragraphs(text, cells, Role.DEGRADED)
    elif run["executable"] and not run["approved"] and any(step["blocks"] for step in run["steps"]):
        what = "as it is now" if run["unapproved"] else "yet"
        text = f"Nobody has approved this runbook {what}: it is read and ticked, not executed. "
        rows += paragraphs(f"{text}A shows what it would do, and approves it.", cells, Role.DEGRADED)
    doubts = [step for step in run["steps"] if any(block["in_doubt"] for block in step["blocks"])]
    for step in doubts:
        text = f"A block of “{step['title']}” was cut short: look at its check, then x decides what is true of it."
        rows += paragraphs(text, cells, Role.UNKNOWN)
    return rows


def step_rows(run: RunView, step: StepView, number: int, cells: int, now: float) -> list[Row]:
    """One step."""
    current = step["id"] == run["current"]
    mark = sign(MARK, step["mark"])
    facts = (step["who"], "DANGER" if step["danger"] else "", step["time"])
    about = "  ".join(part for part in facts if part)
    title: Line = [
        CURSOR,
        (f"{'●' if current else mark.mark} ", Role.BACKUP if current else mark.role),
        (f"{number}  ", Role.DIM),
        (step["title"], Role.STRONG if current or not step["mark"] else Role.DIM),
        (f"  {mark.word}" if mark.word else "", mark.role),
    ]
    rows = [Row(spread(title, [(about, Role.DEGRADED if step["danger"] else Role.DIM)], cells), step_item(step))]
    in_doubt = any(block["in_doubt"] or block["state"] == "started" for block in step["blocks"])
    if step["mark"] and not current and step["mark"] != "failed" and not in_doubt:
        return rows
    pad = (" " * 6, Role.TEXT)
    usual = _usual(step, now) if current else ""
    if usual:
        rows.append(Row([pad, (cut(usual, cells - 6), Role.DIM)]))
    rows += [Row([pad, *line]) for line in prose(_NOT_PROSE.sub("", step["text"]).strip("\n"), cells - 6) if line]
    rows += _tick_rows(step, cells)
    for index, block in enumerate(step["blocks"]):
        rows += block_rows(run, block, f"{step['id']}\nblock:{index}", cells, now)
    if step["expect"]:
        rows += [
            Row([pad, (left("expect", 9) if place == 0 else " " * 9, Role.DIM), (line, Role.TEXT)])
            for place, line in enumerate(wrap(step["expect"], cells - 15))
        ]
    if step["if_fails"] and current:
        rows.append(Row([pad, ("n", Role.KEY), (f" if it fails: go to {_goal(run, step)}", Role.DIM)]))
    if step["then"] is not None and current:
        rows.append(Row([pad, ("y", Role.KEY), (f" if it is done: {_then(run, step)}", Role.DIM)]))
    return rows


def _usual(step: StepView, now: float) -> str:
    """What is usual for a step, and how long it has been: `usually 40s, 90 % within 3m · now 1m10s`."""
    usual = step["usual"]
    parts = [
        f"usually {format_duration(usual['median'])}, 90 % within {format_duration(usual['p90'])}" if usual else "",
        f"now {format_duration(max(1.0, now - step['since']))}" if step["since"] is not None else "",
    ]
    return " · ".join(part for part in parts if part)


def _goal(run: RunView, step: StepView) -> str:
    """Where a step leads that fails."""
    if step["goes_to"] is None:
        return step["if_fails"] or ""
    return _named(run, step["goes_to"])


def _then(run: RunView, step: StepView) -> str:
    """Where a step leads that is done."""
    if step["then_to"] is None:
        return f"go on with {step['then']}" if step["then"] else "it is over, E closes the run"
    return f"go on with {_named(run, step['then_to'])}"


def _named(run: RunView, place: tuple[str, str]) -> str:
    """A step of this runbook by its title, or another runbook."""
    runbook, name = place
    title = next((each["title"] for each in run["steps"] if each["id"] == name), name)
    return title if runbook == run["runbook"] else f"runbook {runbook}" + (f", {name}" if name else "")


def _tick_rows(step: StepView, cells: int) -> list[Row]:
    rows = []
    for index, (text, done) in enumerate(step["ticks"]):
        for place, line in enumerate(wrap(text, cells - 10)):
            box_mark = ("[x] " if done else "[ ] ") if place == 0 else "    "
            spans: Line = [
                CURSOR,
                (" " * 5, Role.TEXT),
                (box_mark, Role.OK if done else Role.KEY),
                (line, Role.DIM if done else Role.TEXT),
            ]
            rows.append(Row(spans if place == 0 else [(" ", Role.TEXT), *spans[1:]], f"{step['id']}\ntick:{index}"))
    return rows


def block_rows(run: RunView, block: BlockView, item: str, cells: int, now: float) -> list[Row]:
    """An executable block and what came of it."""
    role = block["role"] + (" danger" if block["danger"] else "")
    rows = []
    code = block["code"].rstrip("\n") + (f"    on {block['host']}" if block["host"] else "")
    for place, line in enumerate(wrap(code, cells - 18) or [""]):
        head: Line = [CURSOR, (" " * 5, Role.TEXT)] if place == 0 else [(" " * 6, Role.TEXT)]
        label: Line = [(left(role if place == 0 else "", 11), Role.DEGRADED if block["danger"] else Role.DIM)]
        rows.append(Row([*head, *label, (line, Role.CODE)], item))
    rows += _live_check_rows(block, cells)
    needs = [name for name in block["needs"] if block["state"] in ("", "failed", "unknown")]
    if needs:
        rows.append(_told([(cut(f"asks for {', '.join(needs)}", cells - 17), Role.DIM)]))
    values = {each["name"]: each["value"] for each in run["params"]}
    if block["keeps_as"] and values.get(block["keeps_as"]) is not None:
        kept = f"${block['keeps_as']} is {clean(values[block['keeps_as']] or '', 200)}"
        rows.append(_told([(cut(kept, cells - 17), Role.DIM)]))
    if block["state"]:
        rows += _state_rows(block, item, cells, now)
    if block["output"]:
        rows += _output_rows(block, cells)
    return rows


def _told(line: Line) -> Row:
    return Row([(" " * 17, Role.TEXT), *line])


def _live_check_rows(block: BlockView, cells: int) -> list[Row]:
    """The checks of opsdash that a block asks for, as they are anyway."""
    rows = []
    for live in block["live"]:
        shown = sign(STATUS, live["status"])
        detail = cut(clean(live["detail"], 200), max(0, cells - 36 - len(live["check"])))
        rows.append(
            _told([("now  ", Role.DIM), (f"{live['check']}  ", Role.TEXT), shown.span, (f"  {detail}", Role.DIM)])
        )
    return rows


def _state_rows(block: BlockView, item: str, cells: int, now: float) -> list[Row]:
    state = sign(BLOCK, block["state"])
    detail = block["detail"]
    if block["state"] == "started" and block["started_at"] is not None:
        detail = f"for {format_duration(max(0.0, now - block['started_at']))}, X cancels it"
    word = [(f"{state.mark} {state.word}", state.role), (f"  {detail}", Role.TEXT)]
    rows = [Row([(" " * 6, Role.TEXT), (left("", 11), Role.DIM), *word], item)]
    if block["decision"]:
        by = DECIDED.get(block["decision"], block["decision"])
        rows.append(_told([(f"decided: {by}", Role.DIM)]))
    if block["process"]:
        rows += [_told([(line, Role.UNKNOWN)]) for line in wrap(block["process"], cells - 17)]
    return rows


def _output_rows(block: BlockView, cells: int) -> list[Row]:
    lines = [piece for line in block["output"].rstrip("\n").split("\n") for piece in wrap(clean(line), cells - 20)]
    hidden = len(lines) - OUTPUT_LINES
    rows = [_told([(f"│ … {hidden} lines before", Role.DIM)])] if hidden > 0 else []
    return rows + [_told([("│ ", Role.BORDER), (line, Role.DIM)]) for line in lines[-OUTPUT_LINES:]]


# --- what would be executed, and what has changed ------------------------------------------------------------------


def difference_rows(differences: Iterable[StepDifference], cells: int) -> list[Row]:
    """How steps became others."""
    roles = {"+": Role.OK, "-": Role.DOWN, "@": Role.DIM}
    rows: list[Row] = []
    for each in differences:
        rows.append(Row([(cut(clean(each["title"], 200), cells), Role.STRONG)]))
        for line in each["lines"]:
            role = roles.get(line[:1], Role.TEXT)
            rows += [Row([("  ", Role.TEXT), (piece, role)]) for piece in wrap(clean(line, 1000), cells - 2)]
    return rows


def code_rows(run: RunView, cells: int) -> list[Row]:
    """All that a runbook would execute, and where its secrets come from."""
    rows: list[Row] = []
    for step in run["steps"]:
        for block in step["blocks"]:
            where = f" on {block['host']}" if block["host"] else ""
            about = f"  {block['role']}, {block['language']}{where}"
            title = cut(clean(step["title"], 200), max(1, cells - len(about)))
            rows.append(Row([(title, Role.STRONG), (about, Role.DIM)]))
            for line in block["code"].rstrip("\n").split("\n"):
                rows += [Row([("  ", Role.TEXT), (piece, Role.CODE)]) for piece in wrap(clean(line, 1000), cells - 2)]
    for param in run["params"]:
        if param["secret"]:
            text = clean(f"{param['name']} from {param['secret']}", 300)
            rows += [Row([(piece, Role.CODE)]) for piece in wrap(text, cells)]
    return rows
