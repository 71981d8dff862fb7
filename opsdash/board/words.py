"""How things are called and marked on the screen: one table each, so that a thing looks the same everywhere.

Every status is a mark, a word and a role: nobody has to see a colour.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, NamedTuple

from opsdash.board.lines import Line, Role, Span
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opsdash.model.views import WallRow


class Sign(NamedTuple):
    """A mark, a word, and the role of both."""

    mark: str
    word: str
    role: Role

    @property
    def span(self) -> Span:
        """Mark and word."""
        return f"{self.mark} {self.word}", self.role


STATUS: dict[str, Sign] = {
    "ok": Sign("✓", "ok", Role.OK),
    "degraded": Sign("!", "DEGRADED", Role.DEGRADED),
    "down": Sign("✗", "DOWN", Role.DOWN),
    "unknown": Sign("?", "UNKNOWN", Role.UNKNOWN),
    "paused": Sign("‖", "PAUSED", Role.DIM),
}
STALE = Sign("·", "STALE", Role.STALE)
ON_BACKUP = Sign("~", "ON BACKUP", Role.BACKUP)
REMOVED = Sign("-", "REMOVED", Role.DIM)

GUARD: dict[str, Sign] = {
    "pass": Sign("✓", "pass", Role.OK),
    "warn": Sign("!", "warn", Role.DEGRADED),
    "fail": Sign("✗", "FAIL", Role.DOWN),
    "unknown": Sign("?", "not known", Role.UNKNOWN),
}

TRUTH: dict[str, Sign] = {
    "true": Sign("✓", "true", Role.OK),
    "false": Sign("✗", "FALSE", Role.DOWN),
    "unknown": Sign("?", "not known", Role.UNKNOWN),
    "not declared": Sign("-", "not declared", Role.DIM),
    "stateless": Sign("-", "stateless", Role.DIM),
}

WORKS: dict[str, Sign] = {
    "yes": Sign("✓", "works", Role.OK),
    "no": Sign("✗", "DOES NOT WORK", Role.DOWN),
    "unknown": Sign("?", "NOT KNOWN", Role.UNKNOWN),
    "dropped": Sign("-", "dropped", Role.DEGRADED),
}

MARK: dict[str, Sign] = {
    "done": Sign("✓", "done", Role.OK),
    "failed": Sign("✗", "failed", Role.DOWN),
    "skipped": Sign("-", "skipped", Role.DIM),
    "": Sign(" ", "", Role.TEXT),
}

BLOCK: dict[str, Sign] = {
    "": Sign(" ", "not run", Role.DIM),
    "started": Sign("▸", "running", Role.BACKUP),
    "passed": Sign("✓", "passed", Role.OK),
    "failed": Sign("✗", "FAILED", Role.DOWN),
    "unknown": Sign("?", "NOT KNOWN what it did", Role.UNKNOWN),
}

INCIDENT: dict[str, Sign] = {
    "open": Sign("✗", "OPEN", Role.DOWN),
    "acknowledged": Sign("!", "acknowledged", Role.DEGRADED),
    "mitigated": Sign("~", "mitigated", Role.BACKUP),
    "resolved": Sign("✓", "resolved", Role.OK),
    "closed": Sign("✓", "closed", Role.DIM),
    "cancelled": Sign("-", "cancelled", Role.DIM),
}

KIND: dict[str, str] = {
    "failover": "Failover",
    "failback": "Failback",
    "degrade": "Enter degraded mode",
    "restore": "Leave degraded mode",
}

OUTCOME: dict[str, Sign] = {
    "intent": Sign("▸", "about to act", Role.BACKUP),
    "fencing": Sign("▸", "at the steps before it", Role.BACKUP),
    "acting": Sign("▸", "acting", Role.BACKUP),
    "settling": Sign("▸", "waiting for it to settle", Role.BACKUP),
    "verifying": Sign("▸", "verifying through the front door", Role.BACKUP),
    "undoing": Sign("▸", "undoing", Role.BACKUP),
    "committed": Sign("✓", "DONE AND VERIFIED", Role.OK),
    "aborted": Sign("-", "NOT STARTED: nothing was changed", Role.DEGRADED),
    "refused": Sign("-", "REFUSED: nothing was done", Role.DEGRADED),
    "reverted": Sign("✗", "REVERTED by somebody else after it was done", Role.DOWN),
    "no_effect": Sign("✗", "NO EFFECT: it was carried out, and does not show", Role.DOWN),
    "split": Sign("✗", "SPLIT: both sides may be serving", Role.DOWN),
    "unknown": Sign("?", "NOT KNOWN: look before you do anything again", Role.UNKNOWN),
    "undone": Sign("✓", "UNDONE: back to where it was", Role.DEGRADED),
    "needs_human": Sign("✗", "NEEDS A PERSON", Role.DOWN),
}

VERDICT: dict[str, Sign] = {
    "passed": Sign("✓", "PASSED", Role.OK),
    "late": Sign("!", "LATE: it works, not in time", Role.DEGRADED),
    "failed": Sign("✗", "FAILED", Role.DOWN),
    "aborted": Sign("-", "ABORTED: it shows nothing", Role.DEGRADED),
    "interrupted": Sign("-", "INTERRUPTED by a real failure: it shows nothing", Role.DEGRADED),
    "inconclusive": Sign("?", "INCONCLUSIVE: nobody knows", Role.UNKNOWN),
}

DRILL_STATE: dict[str, str] = {
    "arming": "the guard writes down the way back",
    "injecting": "the fault is being made",
    "running": "watching what follows",
    "undoing": "the fault is being taken back",
    "restoring": "going back to normal",
    "ended": "ended",
}

HOLDS: dict[str, Sign] = {
    "true": Sign("✓", "yes", Role.OK),
    "false": Sign("✗", "NO", Role.DOWN),
    "waiting": Sign("…", "waiting", Role.BACKUP),
}

DRILL_MARK: Span = ("[DRILL] ", Role.BACKUP)
"""Stands before everything that is a drill, so that nobody takes it for real."""

TIER_SHORT = {"essential": "ess", "important": "imp", "droppable": "drop"}


def sign(table: dict[str, Sign], key: str) -> Sign:
    """The sign of `key`; a word that this version does not know is shown as it is, and never as good."""
    return table.get(key) or Sign("?", key, Role.UNKNOWN)


def row_sign(row: WallRow, *, stale: bool) -> Sign:
    """What the wall says of a component."""
    if stale:
        return STALE
    if row["removed"]:
        return REMOVED
    if row["status"] == "ok" and row["on_backup"]:
        return ON_BACKUP
    return sign(STATUS, row["status"])


def ago(then: float | None, now: float) -> str:
    """How long ago something was, "—" if that is not known."""
    return "—" if not then else format_duration(max(0.0, now - then))


def count_of(number: int, thing: str) -> str:
    """A number of things, in words."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def latency(seconds: float | None) -> str:
    """A latency for a narrow column."""
    if seconds is None:
        return "—"
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    return f"{seconds:.1f}s" if seconds < 100 else f"{seconds:.0f}s"


def proof(state: str, at: float | None, now: float) -> Span:
    """Whether a backup or degraded mode was shown to work."""
    if state == "fresh":
        return f"tested {ago(at, now)}", Role.OK
    if state in _PROOF:
        return _PROOF[state], Role.DEGRADED
    return "no backup" if state == "none" else state, Role.DIM


_PROOF = {"old": "proof old", "changed": "changed since proof", "never": "never tested", "failed": "drill failed"}
_PROOF_BRIEF = {"changed": "changed", "never": "never", "failed": "failed"}


def proof_cell(state: str, at: float | None, now: float, cells: int) -> Span:
    """The same for a column that is headed PROOF: in fewer words where they do not fit."""
    text, role = proof(state, at, now)
    if state == "never" or len(text) > cells:
        text = _PROOF_BRIEF.get(state, text)
    return text, role


GOOD_SCORE, FAIR_SCORE = 90, 60


def score_role(score: int) -> Role:
    """How good a readiness is; the number stands beside it."""
    return Role.OK if score >= GOOD_SCORE else Role.DEGRADED if score >= FAIR_SCORE else Role.DOWN


def score_bars(scores: Sequence[int]) -> str:
    """Scores from 0 to 100 as bars."""
    return "".join(_BARS[max(0, min(7, score * 8 // 100))] for score in scores)


def badge(state: str) -> Span | None:
    """That one key would not work, where that is so."""
    return ("NOT READY", Role.DOWN) if state == "not ready" else None


_BARS = "▁▂▃▄▅▆▇█"


def spark(values: Sequence[float | None], cells: int, *, role: Role = Role.DIM) -> Line:
    """The last latencies as bars against their median: a steady line is low, a spike is high, × is a failure."""
    shown = list(values)[-cells:]
    good = sorted(value for value in shown if value is not None)
    scale = 3 * good[len(good) // 2] if good else 1.0
    line: Line = [(" " * (cells - len(shown)), role)] if len(shown) < cells else []
    for value in shown:
        if value is None:
            piece: Span = ("×", Role.DOWN)
        else:
            level = int(8 * value / scale) if scale > 0 else 0
            piece = (_BARS[max(0, min(7, level))], role)
        if line and line[-1][1] is piece[1]:
            line[-1] = (line[-1][0] + piece[0], piece[1])
        else:
            line.append(piece)
    return line


def clock_time(at: float, tz: tzinfo | None) -> str:
    """Time of day, of the operator's zone."""
    return _local(at, tz).strftime("%H:%M:%S")


def date_time(at: float, tz: tzinfo | None, now: float) -> str:
    """Time of day if it was within 20 hours, else with the date."""
    return _local(at, tz).strftime("%H:%M:%S" if abs(now - at) < 20 * 3600 else "%m-%d %H:%M")


def hour(at: float, tz: tzinfo | None, now: float) -> str:
    """The same to the minute, for when something ends."""
    return _local(at, tz).strftime("%H:%M" if abs(now - at) < 20 * 3600 else "%m-%d %H:%M")


def day(at: float, tz: tzinfo | None) -> str:
    """A date."""
    return _local(at, tz).strftime("%Y-%m-%d")


def remaining(until: float, now: float) -> str:
    """How long it is until then; nothing less than none."""
    return format_duration(max(0.0, until - now))


def _local(at: float, tz: tzinfo | None) -> datetime:
    try:
        return datetime.fromtimestamp(at, UTC).astimezone(tz)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC)
