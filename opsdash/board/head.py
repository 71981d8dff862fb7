"""The head of every screen: does what matters work, how many parts don't, and is the engine still there.

The first line is for people who don't know the parts. *Unknown is not "works"*, and a stale board claims nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.board.lines import Line, Role, clip, cut, fit, spread, width
from opsdash.board.notices import notices
from opsdash.board.words import STATUS, clock_time, count_of
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from opsdash.board.state import BoardState
    from opsdash.model.views import FeatureView, Summary


def essential_line(state: BoardState, mono: float, cells: int) -> Line:
    """Which essential features work right now, and which don't."""
    summary = state.summary
    if summary is None:
        return fit([(" Waiting for the engine …", Role.BAR)], cells, Role.BAR)
    features = [feature for feature in summary["features"] if feature["tier"] == "essential"]
    if not features:
        return fit([(" No feature is declared essential in the files", Role.BAR_DIM)], cells, Role.BAR)
    if state.stale(mono):
        return fit([(" Essential: NOT KNOWN", Role.BAR_KEY), (_before(features), Role.BAR_DIM)], cells, Role.BAR)
    works = [feature for feature in features if feature["works"] == "yes"]
    line: Line = [(f" Essential: {len(works)} of {len(features)} work ", Role.BAR)]
    line += _named("NOT WORKING", features, "no", Role.ALERT)
    line += _named("NOT KNOWN", features, "unknown", Role.BAR_KEY)
    if len(works) == len(features):
        line.append(("✓", Role.BAR))
    line += _dropped(state)
    return fit(clip(line, cells), cells, Role.BAR)


def _before(features: Sequence[FeatureView]) -> str:
    works = sum(feature["works"] == "yes" for feature in features)
    return f" · {works} of {len(features)} worked when the engine was last heard"


def _named(title: str, features: Sequence[FeatureView], works: str, role: Role) -> Line:
    named = [f"{feature['title']} ({feature['component']})" for feature in features if feature["works"] == works]
    return [(" ", Role.BAR), (f" {title}: {', '.join(named)} ", role)] if named else []


def _dropped(state: BoardState) -> Line:
    """What users do without, of whatever tier: it was given up on purpose, and is easily forgotten."""
    named = [f"{title} ({row['id']})" for row in state.rows.values() for title in row["dropped"]]
    return [("  ", Role.BAR), (f"Dropped on purpose: {', '.join(named)} ", Role.BAR_KEY)] if named else []


def counts_line(state: BoardState, mono: float, cells: int, *, read_only: bool, tz: tzinfo | None) -> Line:
    """The operation, counts per status, and the engine's pulse."""
    summary = state.summary
    end = [
        *engine_words(state, mono),
        (f"  {clock_time(state.now(mono), tz)} " if state.heard is not None else " ", Role.BAR_DIM),
    ]
    if summary is None:
        return spread([(" opsdash", Role.BAR_KEY)], end, cells, Role.BAR)
    stale = state.stale(mono)
    alarms: Line = []
    if summary["journal_error"]:
        alarms.append((f" JOURNAL: {summary['journal_error']} ", Role.ALERT))
    if summary["undelivered"]:
        alarms.append((f" {summary['undelivered']} ", Role.ALERT))
    if summary["offline"]:
        alarms.append((" OFFLINE: opsdash itself has no connection ", Role.ALERT))
    access = "[R] " if read_only else "[RW] "
    demo = "DEMO " if summary["demo"] else ""
    start: Line = []
    for name, flags, words in (
        (f" {summary['title']} ", access + demo, 2),
        (f" {summary['title']} ", access + demo, 1),
        (f" {summary['title']} ", access, 1),
        (f" {summary['title']} ", access + demo, 0),
        (f" {summary['title']} ", access, 0),
        (f" {cut(summary['title'], 12)} ", access, 0),
        (" ", access if read_only else "", 0),
    ):
        start = [
            (name, Role.BAR_KEY),
            (flags, Role.BAR_DIM),
            *alarms,
            *_counts(state, summary, stale=stale, words=words),
        ]
        if width(start) + width(end) < cells:
            break
    return spread(start, end, cells, Role.BAR)


def _counts(state: BoardState, summary: Summary, *, stale: bool, words: int) -> Line:
    """How many are how: all with words (2), only what is wrong (1), or with marks alone (0)."""
    if stale:
        return [(f" all {len(state.rows)} components STALE ", Role.BAR)]
    line: Line = []
    for status in ("down", "degraded", "unknown", "ok", "paused"):
        count = summary["counts"].get(status, 0)
        if not count and status not in {"down", "ok"}:
            continue
        spelled = words == 2 or (words == 1 and status in {"down", "degraded", "unknown"})
        text = f"{STATUS[status].mark} {count} {status}" if spelled else f"{STATUS[status].mark}{count}"
        if status == "down" and count:
            line += [(" ", Role.BAR), (f" {text} ", Role.ALERT)]
        else:
            line.append((f"  {text}", Role.BAR if count else Role.BAR_DIM))
    on_backup = sum(row["on_backup"] for row in state.rows.values())
    if on_backup:
        line.append((f"  ~ {on_backup} on backup" if words == 2 else f"  ~{on_backup}", Role.BAR))
    if summary["incidents"]:
        line.append((f"  · {count_of(summary['incidents'], 'incident')}", Role.BAR))
    return line


def engine_words(state: BoardState, mono: float) -> Line:
    """Whether the engine is there: "engine ok 0.4s", "engine lost 5s: why"."""
    silence = state.silence(mono)
    if silence is None:
        return [(f" {state.lost or 'connecting to the engine'} ", Role.ALERT if state.lost else Role.BAR_DIM)]
    if state.stale(mono):
        why = f": {state.lost}" if state.lost else ": no event"
        return [(f" engine lost {format_duration(silence)}{why} ", Role.ALERT)]
    return [(f"engine ok {silence:.1f}s", Role.BAR_DIM)]


def place_line(place: Line, state: BoardState, cells: int) -> Line:
    """Where one is; and at the right what should not be forgotten."""
    summary = state.summary
    end: Line = []
    if summary is not None and summary["uncovered"]:
        end.append((f"nobody covers: {', '.join(summary['uncovered'])} ", Role.DEGRADED))
    if summary is not None and summary["drills"] is not None and summary["drills"]["overdue"]:
        late = count_of(summary["drills"]["overdue"], "drill")
        end += [(f"· {late} overdue ", Role.DEGRADED), ("7", Role.KEY), (" ", Role.DIM)]
    if summary is not None and summary["readiness"] is not None:
        end += [(f"· readiness {summary['readiness']} ", Role.DIM), ("8", Role.KEY), (" ", Role.DIM)]
    if summary is not None and summary["problems"]:
        end += [
            (f"· {count_of(summary['problems'], 'problem')} in files ", Role.DEGRADED),
            ("!", Role.KEY),
            (" ", Role.DIM),
        ]
    start: Line = [(" ", Role.DIM), *place]
    room = cells - width(start) - 2
    return spread(start, clip(end, max(0, room)), cells)


def head_lines(
    state: BoardState, mono: float, cells: int, place: Line, *, read_only: bool, tz: tzinfo | None, height: int
) -> list[Line]:
    """The head, as much of it as the height allows. What no screen may hide is cut last."""
    lines = [essential_line(state, mono, cells)]
    if height >= 7:
        lines.append(counts_line(state, mono, cells, read_only=read_only, tz=tz))
    told = notices(state, mono, cells)
    lines += told if height >= 7 else told[:1] if height >= 4 else []
    if height >= 12:
        lines.append(place_line(place, state, cells))
    return lines
