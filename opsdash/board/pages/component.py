"""One component: what serves it and whether that works, what can fail and what was decided, who is concerned."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

from opsdash.board.component_keys import ComponentKeys
from opsdash.board.keymap import Scope, bindings
from opsdash.board.lines import Line, Role, Row, beside, box, clip, cut, left, right, wrap
from opsdash.board.notices import marked
from opsdash.board.page import Page
from opsdash.board.progress import times_line
from opsdash.board.words import (
    DRILL_MARK,
    OUTCOME,
    STALE,
    STATUS,
    WORKS,
    ago,
    date_time,
    day,
    hour,
    latency,
    proof,
    sign,
    spark,
)
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from datetime import tzinfo

    from textual.binding import BindingType

    from opsdash.board.state import Changes
    from opsdash.model.views import (
        AlarmView,
        CheckView,
        ComponentDetail,
        FailureView,
        JournalLine,
        PersonView,
        ProviderView,
    )

TWO_COLUMNS_FROM = 100
TIMELINE = 8


class ComponentPage(ComponentKeys, Page):
    """The page of a component."""

    scopes = (Scope.COMPONENT,)
    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.COMPONENT))

    def __init__(self, component: str) -> None:
        super().__init__()
        self._component = component
        self.detail: ComponentDetail | None = None
        self.timeline: list[JournalLine] = []
        self.more = False
        self._loaded_at = float("-inf")

    @property
    def component(self) -> str:
        """Its id."""
        return self._component

    async def load(self) -> None:
        component = self._component
        detail = await self.board.session.component(component)
        timeline = await self.board.session.journal(limit=TIMELINE * 3, component=component)
        if component == self._component:
            self.detail, self.timeline = detail, timeline
            self._loaded_at = self.board.clock()

    def heard(self, changes: Changes) -> None:
        if self._component in changes.rows:
            self.reload()
        self.draw_head()

    def tick(self) -> None:
        if self.board.clock() - self._loaded_at >= 2.0:
            self.reload()
        self.draw()

    def place(self) -> Line:
        title = self.detail["row"]["title"] if self.detail else self._component
        drilled = [DRILL_MARK] if self._component in marked(self.state) else []
        return [("wall › ", Role.DIM), *drilled, (title, Role.STRONG), (f"   {self._component}", Role.DIM)]

    def body(self, cells: int) -> list[Row]:
        if self.detail is None:
            return [Row([(" asking the engine …", Role.DIM)])]
        clock = self.board.clock()
        return component_rows(
            self.detail, self.timeline, self.state.now(clock), cells,
            tz=self.board.tz, stale=self.state.stale(clock), more=self.more,
        )  # fmt: skip

    def works(self, action: str) -> bool:
        reason = self.detail["keys"].get(action) if self.detail else None
        return reason is None and super().works(action)

    def _refused(self, action: str) -> bool:
        reason = self.detail["keys"].get(action) if self.detail else None
        if reason:
            self.board.say(f"{action}: {reason}", severity="warning")
        return bool(reason)

    def action_failover(self) -> None:
        if not self._refused("failover"):
            super().action_failover()

    def action_failback(self) -> None:
        if not self._refused("failback"):
            super().action_failback()

    def action_degrade(self) -> None:
        mode = self.detail["row"]["mode"] if self.detail else None
        if not self._refused("restore" if mode else "degrade"):
            super().action_degrade()

    def action_more(self) -> None:
        self.more = not self.more
        self.draw()

    def action_previous(self) -> None:
        self._go(-1)

    def action_next(self) -> None:
        self._go(1)

    def _go(self, by: int) -> None:
        from opsdash.board.wallscreen import WallScreen

        wall = self.board.screen_stack[0]
        order = wall.wall.order if isinstance(wall, WallScreen) else list(self.state.rows)
        if not order:
            return
        place = order.index(self._component) if self._component in order else 0
        self._component = order[(place + by) % len(order)]
        if isinstance(wall, WallScreen):
            wall.wall.select(self._component)
        self.detail, self.timeline = None, []
        self.reload()
        self.draw()


def component_rows(
    detail: ComponentDetail,
    timeline: list[JournalLine],
    now: float,
    cells: int,
    *,
    tz: tzinfo | None,
    stale: bool,
    more: bool,
) -> list[Row]:
    """Everything about a component, as a page."""
    page: list[Row] = []
    wide = cells >= TWO_COLUMNS_FROM
    half = cells // 2
    status_rows = _status(detail, now, (half if wide else cells) - 4, tz=tz, stale=stale)
    isolation_rows = _isolation(detail, (cells - half if wide else cells) - 4, stale=stale)
    height = max(len(status_rows), len(isolation_rows)) + 2
    if wide:
        page += beside(
            box([("status", Role.DIM)], status_rows, half, height=height),
            box([("who notices", Role.DIM)], isolation_rows, cells - half, height=height),
            half,
        )
    else:
        page += box([("status", Role.DIM)], status_rows, cells)
        page += box([("who notices", Role.DIM)], isolation_rows, cells)
    page += box(
        [("failure modes: when this happens, we do that", Role.DIM)],
        _failures(detail["failures"], now, cells - 4),
        cells,
    )
    page += box(
        [("providers and their checks", Role.DIM)], _providers(detail, now, cells - 4, stale=stale, more=more), cells
    )
    page += box([("timeline", Role.DIM)], _timeline(detail, timeline, now, cells - 4, tz), cells)
    page += box([("last answers, as they came (untrusted)", Role.DIM)], _raw(detail, cells - 4, more=more), cells)
    if detail["off"]:
        off = [Row([(f"{part}: ", Role.DEGRADED), (why, Role.TEXT)]) for part, why in detail["off"].items()]
        page += box([("switched off by a problem in its file", Role.DEGRADED)], off, cells)
    return page


def _field(name: str, *spans: tuple[str, Role]) -> Row:
    return Row([(left(name, 10), Role.DIM), *spans])


def _wrapped(name: str, text: str, cells: int, role: Role) -> list[Row]:
    lines = wrap(text, max(20, cells - 12))
    return [_field(name if number == 0 else "", (line, role)) for number, line in enumerate(lines)]


def _status(detail: ComponentDetail, now: float, cells: int, *, tz: tzinfo | None, stale: bool) -> list[Row]:
    row = detail["row"]
    shown = STALE if stale else sign(STATUS, row["status"])
    alert = row["status"] == "down" and not stale
    since = f"  since {date_time(row['since'], tz, now)} ({ago(row['since'], now)})" if row["since"] else ""
    rows = [
        _field(
            "status",
            (
                f" {shown.mark} {shown.word} " if alert else f"{shown.mark} {shown.word}",
                Role.ALERT if alert else shown.role,
            ),
            (since, Role.TEXT),
        )
    ]
    why = " ".join(part for part in (row["cause"], f"({row['reason']})" if row["reason"] else "") if part)
    rows += [
        _field("because" if number == 0 else "", (line, Role.TEXT))
        for number, line in enumerate(wrap(why, cells - 10))
        if why
    ]
    if row["explained_by"]:
        rows.append(_field("explained", ("by " + ", ".join(row["explained_by"]), Role.DEGRADED)))
    rows += _alarm(detail, now, tz=tz)
    if row["failure"]:
        key, _, words = row["hint"].partition(" ")
        rows.append(_field("it is", (row["failure"], Role.STRONG)))
        rows.append(_field("do this", (key, Role.KEY), (f" {words}", Role.STRONG)))
    rows.append(_field("tier", (row["tier"], Role.TEXT)))
    rows += _serving(detail, now, cells, stale=stale)
    rows.append(_field("owners", *_owners(detail["owners"], tz, uncovered=detail["uncovered"])))
    if row["mode"]:
        mode = next((mode for mode in detail["modes"] if mode["in_force"]), None)
        review = f", review {date_time(mode['review_at'], tz, now)}" if mode and mode["review_at"] else ""
        rows.append(_field("mode", (f"{mode['title'] if mode else row['mode']}{review}", Role.DEGRADED)))
        if row["dropped"]:
            rows += _wrapped("without", ", ".join(row["dropped"]), cells, Role.DEGRADED)
    if row["overdue"]:
        rows.append(_field("overdue", ("review of " + ", ".join(row["overdue"]), Role.DEGRADED)))
    if detail["paused_until"]:
        rows.append(
            _field(
                "paused",
                (f"by {detail['paused_by']} until {date_time(detail['paused_until'], tz, now)}", Role.DEGRADED),
            )
        )
    if detail["blocked"]:
        rows += _wrapped("blocked", detail["blocked"], cells, Role.DEGRADED)
    if detail["auto"] is not None:
        auto = detail["auto"]
        words = f"{auto['auto']}, after {auto['hold']:g} s down" + (f"; {auto['score']}" if auto["score"] else "")
        rows += _wrapped("auto", words, cells, Role.TEXT)
    incident = detail["incident"]
    if incident is not None:
        mine = f"  {incident['acknowledged_by']} is on it" if incident["acknowledged_by"] else "  nobody is on it"
        rows.append(
            _field(
                "incident",
                (incident["id"], Role.TEXT),
                (mine, Role.DIM if incident["acknowledged_by"] else Role.DEGRADED),
            )
        )
    rows.append(_field("file", (detail["file"], Role.DIM)))
    return rows


def _alarm(detail: ComponentDetail, now: float, *, tz: tzinfo | None) -> list[Row]:
    """Whether people are told of it, what keeps that from them for now, and what would have been told."""
    rows: list[Row] = []
    alarm = detail["alarm"]
    if alarm is not None and alarm["state"] == "held":
        until = f" until {hour(alarm['until'], tz, now)}" if alarm["until"] else ""
        rows.append(_field("alarm", (f"held: {alarm['words']}{until}", Role.DEGRADED), (_for(alarm, now), Role.DIM)))
    elif alarm is not None:
        rows.append(_field("alarm", ("raised", Role.TEXT), (_for(alarm, now), Role.DIM)))
    if detail["flapping"] is not None:
        rows.append(_field("flapping", (f"{detail['flapping']} %: it changes again and again", Role.DEGRADED)))
    for window in detail["windows"]:
        who = f"  {window['who']}" + (f": {window['reason']}" if window["reason"] else "")
        title = "" if window["target"] is not None else f"  {window['title']}"
        until = f"{window['kind']} until {hour(window['until'], tz, now)}"
        rows.append(_field("window", (until, Role.BACKUP), (title, Role.TEXT), (who, Role.DIM)))
        rows += [
            _field("", (f"would have alarmed {hour(muted['at'], tz, now)}: {muted['title']}", Role.TEXT))
            for muted in window["muted"]
            if muted["component"] == detail["row"]["id"]
        ]
    return rows


def _for(alarm: AlarmView, now: float) -> str:
    return f"  for {ago(alarm['since'], now)}"


def _serving(detail: ComponentDetail, now: float, cells: int, *, stale: bool) -> list[Row]:
    rows = []
    for provider in detail["providers"]:
        if provider["active"]:
            place = "primary" if provider["primary"] else "backup"
            rows.append(
                _field(
                    "serving",
                    (provider["title"], Role.BACKUP if not provider["primary"] else Role.STRONG),
                    (f"  {place}", Role.DIM),
                )
            )
    for provider in detail["providers"]:
        if not provider["active"]:
            status = STALE if stale else sign(STATUS, provider["status"])
            text, role = proof(provider["proof"], provider["proof_at"], now)
            name = "backup" if not provider["primary"] else "primary"
            rows.append(_field(name, (f"{provider['title']}  ", Role.TEXT), status.span, (f"  {text}", role)))
            rows += _badge(provider, cells)
    if detail["providers"] and detail["row"]["active"] is None:
        rows.insert(0, _field("serving", ("not known", Role.UNKNOWN)))
    return rows


def _badge(provider: ProviderView, cells: int) -> list[Row]:
    """Why one key would not lead there now, or not safely."""
    if provider["badge"] == "not ready":
        first, *others = wrap(provider["badge_why"], max(20, cells - 22)) or [""]
        rows = [_field("", ("NOT READY  ", Role.DOWN), (first, Role.TEXT))]
        return [*rows, *(_field("", (" " * 11, Role.TEXT), (line, Role.TEXT)) for line in others)]
    if provider["badge"] == "stale":
        return _wrapped("", provider["badge_why"], cells, Role.DIM)
    return []


def _owners(owners: list[PersonView], tz: tzinfo | None, *, uncovered: bool) -> Line:
    if not owners:
        return [("nobody is declared", Role.DEGRADED)]
    line: Line = []
    for person in owners:
        if line:
            line.append((", ", Role.DIM))
        if person["left"]:
            line.append((f"{person['name']} (left)", Role.DEGRADED))
        elif person["away"]:
            until = f" until {day(person['until'], tz)}" if person["until"] else ""
            line.append((f"{person['name']} (away{until})", Role.DEGRADED))
        else:
            line.append((person["name"], Role.TEXT))
    return [("NOBODY COVERS: ", Role.DOWN), *line] if uncovered else line


def _isolation(detail: ComponentDetail, cells: int, *, stale: bool) -> list[Row]:
    rows: list[Row] = []
    for feature in detail["features"]:
        works = STALE if stale else sign(WORKS, feature["works"])
        rows.append(
            Row(
                [
                    (f"{works.mark} ", works.role),
                    (feature["title"], Role.TEXT),
                    (f"  {feature['tier']}  ", Role.DIM),
                    (works.word, works.role),
                ]
            )
        )
    if not detail["features"]:
        rows.append(Row([("no feature is declared", Role.DIM)]))
    for name, others in (("needs", detail["needs"]), ("needed by", detail["needed_by"])):
        rows += _others(name, others, cells, stale=stale)
    switch = detail["switch"]
    if switch is not None:
        outcome = sign(OUTCOME, switch["state"])
        rows.append(
            _field(
                "switch",
                (cut(f"{switch['kind']} to {switch['target_title'] or 'normal operation'}", cells - 12), Role.TEXT),
            )
        )
        rows.append(
            _field(
                "",
                (f"{outcome.mark} {outcome.word.partition(':')[0].lower()}", outcome.role),
                ("  w shows it", Role.DIM),
            )
        )
        rows.append(_field("", *(span for span in clip(times_line(switch), cells - 10))))
    return rows


def _others(name: str, others: list[tuple[str, str]], cells: int, *, stale: bool) -> list[Row]:
    if not others:
        return [_field(name, ("nothing", Role.DIM))]
    rows: list[Row] = []
    line: Line = []
    size = 0
    for other, status in others:
        shown = STALE if stale else sign(STATUS, status)
        text = f"{shown.mark} {other}   "
        if line and size + len(text) > cells - 10:
            rows.append(_field(name if not rows else "", *line))
            line, size = [], 0
        line += [(f"{shown.mark} ", shown.role), (f"{other}   ", Role.TEXT)]
        size += len(text)
    return [*rows, _field(name if not rows else "", *line)]


def _failures(failures: list[FailureView], now: float, cells: int) -> list[Row]:
    if not failures:
        return [Row([("No failure mode is declared: nobody decided what to do when this fails.", Role.DEGRADED)])]
    flexible = cells - 12 - 8 - 14
    when, then = flexible * 55 // 100, flexible - flexible * 55 // 100
    rows = [
        Row(
            [
                (
                    left("NOW", 12)
                    + left("WHEN THIS HAPPENS", when)
                    + left("WE DO THAT", then)
                    + left("WITHIN", 8)
                    + "PROOF",
                    Role.DIM,
                )
            ]
        )
    ]
    for failure in failures:
        active = failure["active"]
        mark = f"✗ {ago(failure['since'], now)}" if active else "  no"
        text, role = proof(failure["proof"], failure["proof_at"], now)
        response = (
            failure["response"]
            if failure["response_kind"] == "runbook"
            else f"{failure['response']}, {failure['runbook'] or 'no runbook'}"
        )
        rows.append(Row([
            (left(mark, 12), Role.DOWN if active else Role.DIM),
            (left(cut(failure["title"], when - 1), when), Role.STRONG if active else Role.TEXT),
            (left(cut(response, then - 1), then), Role.STRONG if active else Role.TEXT),
            (left(format_duration(failure["rto"]) if failure["rto"] else "—", 8), Role.DIM),
            (text, role if active else Role.DIM),
        ]))  # fmt: skip
        rows += [Row([(" " * 12 + "! " + gap, Role.DEGRADED)]) for gap in failure["gaps"]]
    return rows


def _providers(detail: ComponentDetail, now: float, cells: int, *, stale: bool, more: bool) -> list[Row]:
    rows: list[Row] = []
    for provider in detail["providers"]:
        rows.append(Row(_provider_line(provider, now, stale=stale)))
        for check in provider["checks"]:
            rows += check_rows(check, now, cells, stale=stale, more=more)
    if detail["checks"]:
        rows.append(Row([("front door", Role.STRONG), ("  does the job get done, whoever does it?", Role.DIM)]))
        for check in detail["checks"]:
            rows += check_rows(check, now, cells, stale=stale, more=more)
    return rows or [Row([("no check is declared: nobody looks", Role.DEGRADED)])]


def _provider_line(provider: ProviderView, now: float, *, stale: bool) -> Line:
    shown = STALE if stale else sign(STATUS, provider["status"])
    text, role = proof(provider["proof"], provider["proof_at"], now)
    place = "primary" if provider["primary"] else "backup"
    line: Line = [(provider["title"], Role.STRONG), (f"  {place}", Role.DIM)]
    if provider["active"]:
        line.append(("  SERVES", Role.BACKUP))
    return [*line, ("  ", Role.TEXT), shown.span, *([(f"  {text}", role)] if not provider["primary"] else [])]


def check_rows(check: CheckView, now: float, cells: int, *, stale: bool, more: bool) -> list[Row]:
    """A check on one line; with `more` also its facts and phases."""
    shown = STALE if stale else sign(STATUS, check["status"])
    streak = f" ({check['streak']})" if check["streak"] else ""
    detail = check["detail"] or check["raw_detail"]
    name = max(14, min(26, cells // 5))
    graph = 14 if cells >= 90 else 0
    flaps = f" flapping {check['flapping']} %" if check["flapping"] is not None else ""
    words = cut(f"{check['reason'] or ''}{streak}{flaps} {detail}".strip(), max(0, cells - name - graph - 30))
    rows = [
        Row([
            ("  ", Role.TEXT), (left(check["name"], name), Role.TEXT), (f"{shown.mark} ", shown.role),
            (left(shown.word, 10), shown.role), (right(latency(check["latency"]), 6), Role.TEXT), ("  ", Role.TEXT),
            *(spark(check["spark"], 12) if graph else []), ("  " if graph else "", Role.TEXT),
            (left(ago(check["at"], now), 7), Role.DIM),
            (words, Role.DIM if check["status"] == "ok" else Role.TEXT),
        ])
    ]  # fmt: skip
    if more:
        about = f"{check['kind']}, every {format_duration(check['every'])}"
        if check["phases"]:
            about += "   " + "  ".join(f"{phase} {latency(seconds)}" for phase, seconds in check["phases"].items())
        if check["facts"]:
            about += "   " + json.dumps(check["facts"], ensure_ascii=True, default=str)
        rows += [Row([("    ", Role.TEXT), (line, Role.DIM)]) for line in wrap(about, cells - 4)]
    return rows


def _timeline(
    detail: ComponentDetail, timeline: list[JournalLine], now: float, cells: int, tz: tzinfo | None
) -> list[Row]:
    incident = detail["incident"]
    told = [(entry["at"], entry["who"], entry["text"]) for entry in incident["entries"]] if incident else []
    seen = {(round(at, 1), text) for at, _, text in told}
    told += [
        (line["at"], line["who"], line["text"]) for line in timeline if (round(line["at"], 1), line["text"]) not in seen
    ]
    told.sort(key=lambda entry: -entry[0])
    return [
        Row(
            [
                (f"{date_time(at, tz, now):<11}  ", Role.DIM),
                (left(who, 10), Role.DIM),
                (cut(text, cells - 23), Role.TEXT),
            ]
        )
        for at, who, text in told[:TIMELINE]
    ] or [Row([("nothing yet", Role.DIM)])]


def _raw(detail: ComponentDetail, cells: int, *, more: bool) -> list[Row]:
    checks = [check for provider in detail["providers"] for check in provider["checks"]] + detail["checks"]
    worst = sorted(checks, key=lambda check: check["raw_status"] == "ok")
    rows: list[Row] = []
    for check in worst if more else worst[:3]:
        name = f"{check['provider']}/{check['name']}" if check["provider"] else check["name"]
        lines = wrap(check["raw_detail"] or "nothing came", max(10, cells - 22))
        for number, line in enumerate(lines if more else lines[:2]):
            rows.append(Row([(left(name if number == 0 else "", 22), Role.DIM), (line, Role.TEXT)]))
    return rows or [Row([("nothing came yet", Role.DIM)])]
