"""The live status of what a runbook is about, beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opsdash.board.lines import Line, Role, Row, box, cut, left, paragraphs, right, spread
from opsdash.board.words import INCIDENT, STALE, STATUS, ago, latency, sign, spark
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from opsdash.model.views import ComponentDetail, PersonView


def brief_rows(details: list[ComponentDetail], cells: int, *, stale: bool) -> list[Row]:
    """One line for each component, where there is no room for more."""
    rows = []
    for detail in details:
        row = detail["row"]
        shown = STALE if stale else sign(STATUS, row["status"])
        line: Line = [(f" {row['title']}  ", Role.STRONG), shown.span, (f"  {row['cause']}", Role.TEXT)]
        rows.append(Row(line if len(details) == 1 else spread(line, [], cells)))
    return rows


def other_rows(details: list[ComponentDetail], now: float, cells: int, *, stale: bool) -> list[Row]:
    """The other components that the runbook's steps and checks name."""
    rows = []
    for detail in details:
        row = detail["row"]
        shown = STALE if stale else sign(STATUS, row["status"])
        since: Line = [shown.span, (f"  {ago(row['since'], now)}", Role.DIM)]
        rows.append(Row(spread([(row["title"], Role.STRONG)], since, cells - 4)))
        rows += paragraphs(f"  {row['cause']}", cells - 4) if row["cause"] else []
    return box([("its steps act on", Role.DIM)], rows, cells) if rows else []


def live_rows(detail: ComponentDetail, now: float, cells: int, *, stale: bool) -> list[Row]:
    """The live status of what a runbook is about."""
    row = detail["row"]
    inner = cells - 4
    shown = STALE if stale else sign(STATUS, row["status"])
    rows = [Row(spread([(row["title"], Role.STRONG)], [shown.span, (f"  {ago(row['since'], now)}", Role.DIM)], inner))]
    rows += paragraphs(f"  {row['cause']}", inner) if row["cause"] else []
    for provider in detail["providers"]:
        status = STALE if stale else sign(STATUS, provider["status"])
        worst = next((check for check in provider["checks"] if check["status"] != "ok"), None)
        first = worst or (provider["checks"][0] if provider["checks"] else None)
        rows.append(
            Row(_live_line(f"  {provider['title']}" + (", serves" if provider["active"] else ""), status, first, inner))
        )
    for check in detail["checks"]:
        status = STALE if stale else sign(STATUS, check["status"])
        rows.append(Row(_live_line("  " + check["name"], status, check, inner)))
    for feature in detail["features"]:
        works = {"yes": ("✓ works", Role.OK), "no": ("✗ DOES NOT WORK", Role.DOWN)}.get(
            feature["works"], ("? " + feature["works"], Role.UNKNOWN)
        )
        rows.append(Row(spread([(f"  {feature['title']}", Role.TEXT)], [works if not stale else STALE.span], inner)))
    page = box([("live", Role.DIM)], rows, cells)
    page += box([("what else concerns it", Role.DIM)], _around(detail, inner, stale=stale), cells)
    worse = _if_it_gets_worse(detail, now, inner)
    return page + (box([("the register", Role.DIM)], worse, cells) if worse else [])


def _live_line(name: str, status: Any, check: Any, cells: int) -> Line:
    name_cells = max(10, cells - 11 - 7 - 8)
    graph = spark(check["spark"], 8) if check else []
    speed = latency(check["latency"]) if check else ""
    return [
        (left(cut(name, name_cells - 1), name_cells), Role.TEXT),
        (left(f"{status.mark} {status.word}", 11), status.role),
        (right(speed, 6), Role.TEXT),
        (" ", Role.TEXT),
        *graph,
    ]


def _around(detail: ComponentDetail, cells: int, *, stale: bool) -> list[Row]:
    rows = []
    for name, others in (("needs", detail["needs"]), ("needed by", detail["needed_by"])):
        for other, status in others:
            shown = STALE if stale else sign(STATUS, status)
            rows.append(Row(spread([(left(name, 11), Role.DIM), (other, Role.TEXT)], [shown.span], cells)))
            name = ""  # noqa: PLW2901 - named once
    incident = detail["incident"]
    if incident is not None:
        state = sign(INCIDENT, incident["state"])
        rows.append(Row([(left("incident", 11), Role.DIM), (f"{incident['id']}  ", Role.TEXT), state.span]))
    people = ", ".join(person["name"] + _whereabouts(person) for person in detail["owners"])
    rows.append(
        Row([(left("owners", 11), Role.DIM), (people or "nobody", Role.DOWN if detail["uncovered"] else Role.TEXT)])
    )
    return rows


def _whereabouts(person: PersonView) -> str:
    if person["away"]:
        return " (away)"
    return " (on duty)" if person["on_duty"] else ""


def _if_it_gets_worse(detail: ComponentDetail, now: float, cells: int) -> list[Row]:
    rows = []
    for failure in detail["failures"]:
        role = Role.STRONG if failure["active"] else Role.DIM
        since = (
            f"✗ {ago(failure['since'], now)} of {format_duration(failure['rto'])}"
            if failure["active"] and failure["rto"]
            else "✗ now"
            if failure["active"]
            else ""
        )
        rows.append(Row(spread([(failure["title"], role)], [(since, Role.DOWN)], cells)))
        rows.append(Row([("  → ", Role.DIM), (failure["response"], role)]))
    return rows
