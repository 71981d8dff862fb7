"""What no screen may hide: a fault that may still be in place, halted drills, and the drill that is running.

Under the head of every screen, and at the top of a question that covers it. The bar about a fault is red, has what
undoes it by hand, and goes only when somebody states that the fault is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.board.lines import Line, Role, fit, spread
from opsdash.board.words import DRILL_STATE, ago, remaining

if TYPE_CHECKING:
    from opsdash.board.state import BoardState
    from opsdash.model.views import DrillSummary, FaultView

FAULT = "A FAULT MAY STILL BE IN PLACE"
HALTED = "DRILLS HALTED"


def notices(state: BoardState, mono: float, cells: int, *, running: bool = True) -> list[Line]:
    """The lines there are reasons for, the most urgent first; none on most days. running: with the drill that runs."""
    drills = state.summary["drills"] if state.summary is not None else None
    if drills is None:
        return []
    now = state.now(mono)
    lines = [_red_bar(drills["faults"], now, cells)] if drills["faults"] else []
    if drills["halted"]:
        words: Line = [(f" {HALTED} ", Role.ALERT), (" none begins until somebody allows it", Role.DEGRADED)]
        lines.append(spread(words, _where(" allows it"), cells))
    if running and drills["running"]:
        lines.append(_running(drills, now, cells, stale=state.stale(mono)))
    return lines


def marked(state: BoardState) -> frozenset[str]:
    """The components that may fail because of the drill that is running; what really fails is not among them."""
    drills = state.summary["drills"] if state.summary is not None else None
    return frozenset() if drills is None else frozenset(drills["marked"])


def _where(words: str = "") -> Line:
    return [("7", Role.KEY), (f"{words} ", Role.DIM)]


def _red_bar(faults: list[FaultView], now: float, cells: int) -> Line:
    first = faults[0]
    more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
    by_hand = first["by_hand"][0] if first["by_hand"] else f"see drill {first['drill']}"
    words = f" {FAULT}: {first['component']}, {first['run']}{more}, since {ago(first['since'], now)}"
    return fit(spread([(f"{words} · undo: {by_hand}", Role.ALERT)], [(" 7 ", Role.ALERT)], cells, Role.ALERT), cells)


def _running(drills: DrillSummary, now: float, cells: int, *, stale: bool) -> Line:
    doing = DRILL_STATE.get(drills["state"], drills["state"])
    if stale:
        doing = f"{doing}, when the engine was last heard"
    line: Line = [
        (" [DRILL] ", Role.BACKUP), (drills["drill"], Role.STRONG), (f" of {drills['component']}  ", Role.TEXT),
    ]  # fmt: skip
    if drills["until"] is not None:
        line.append((f"undone in {remaining(drills['until'], now)} at the latest  ", Role.DEGRADED))
    line.append((doing, Role.DIM))
    return spread(line, [("f9", Role.KEY), (" halts it  ", Role.DIM), *_where()], cells)
