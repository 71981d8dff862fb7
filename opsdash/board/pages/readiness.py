"""Readiness: would the operation survive each of its failures today? Scores, and gaps with what closes each.

The lowest scores come first, then what fails together and should be isolated, then the gaps, worst first. `enter` on a
score shows that component's gaps alone, `esc` goes back to all; `enter` on a gap opens its component.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.board.keymap import Scope, bindings
from opsdash.board.lines import CURSOR, Line, Role, Row, cut, left, right, wrap
from opsdash.board.page import Page
from opsdash.board.state import text_filter
from opsdash.board.words import TIER_SHORT, ago, count_of, score_bars, score_role
from opsdash.model.text import clean
from opsdash.service.session import SessionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from textual.binding import BindingType

    from opsdash.board.state import Changes
    from opsdash.model.views import GapView, ReadinessView, ScoreView

MOST_GAPS = 300
"""Gaps that the page asks for; a component has its own page of them."""

MOST_SCORES = 12
MOST_COUPLINGS = 5
COUPLINGS_EVERY = 60.0
"""Seconds after which it is asked again what fails together: the engine reads three months of history for that."""

TREND_CELLS = 30
_ALL, _GAP, _SCORE = "", "gap:", "score:"


class ReadinessPage(Page):
    """The gaps of the operation, or of one component."""

    scopes = (Scope.READINESS,)
    has_filter = True
    BINDINGS: ClassVar[list[BindingType]] = list(bindings(Scope.READINESS))

    def __init__(self) -> None:
        super().__init__()
        self.found: ReadinessView | None = None
        self.component: str | None = None
        self.together: Mapping[str, Any] | None = None
        self._together_at = float("-inf")

    async def load(self) -> None:
        wanted = self.component
        found = await self.board.session.readiness(wanted, MOST_GAPS)
        if wanted == self.component:
            self.found = found
        await self._load_couplings()

    async def _load_couplings(self) -> None:
        """What fails together. Without history the page has everything else."""
        now = self.board.clock()
        if now - self._together_at < COUPLINGS_EVERY:
            return
        self._together_at = now
        self.draw()
        try:
            self.together = await self.board.session.couplings()
        except SessionError:
            self.together = None

    def heard(self, changes: Changes) -> None:
        if changes.summary:
            self.reload()

    def place(self) -> Line:
        line: Line = [("wall › ", Role.DIM), ("readiness", Role.DIM if self.component else Role.STRONG)]
        if self.component:
            line += [(" › ", Role.DIM), (self.component, Role.STRONG)]
        if self.found is not None:
            line += [(f"   {count_of(self.found['total'], 'gap')}", Role.DIM)]
        return line

    def leave(self) -> bool:
        """From one component back to all of them, once the filter is empty."""
        if super().leave():
            return True
        if self.component is None:
            return False
        self.component, self.found = None, None
        self.reload()
        self.draw()
        return True

    # --- drawing -------------------------------------------------------------------------------------------------

    def body(self, cells: int) -> list[Row]:
        found = self.found
        if found is None:
            return [Row([]), Row([("   Asking the engine …", Role.DIM)])]
        rows = [Row([]), Row(score_line(found)), Row([])]
        test = text_filter(self.filter)
        if self.component is None and not self.filter:
            rows += [score_row(each, cells) for each in found["components"][:MOST_SCORES]]
            more = len(found["components"]) - MOST_SCORES
            rows += [Row([(f"   and {more} with higher scores", Role.DIM)])] if more > 0 else []
            rows.append(Row([]))
        if not self.filter:
            now = self.state.now(self.board.clock())
            rows += coupling_rows(self.together, self.component, now, cells)
        shown = [gap for gap in found["gaps"] if test(_haystack(gap))]
        for gap in shown:
            rows += gap_rows(gap, cells, alone=self.component is not None)
        if not shown:
            words = "no gap matches" if found["total"] else "✓ no gap"
            rows.append(Row([(f"   {words}", Role.DIM if found["total"] else Role.OK)]))
        left_out = found["total"] - len(found["gaps"])
        if left_out:
            rows.append(Row([(f"   {left_out} smaller ones are not shown; enter on a score shows its own", Role.DIM)]))
        return rows

    # --- keys ----------------------------------------------------------------------------------------------------

    def _gap(self) -> GapView | None:
        gaps = self.found["gaps"] if self.found is not None else []
        return next((gap for gap in gaps if _item(gap) == self.paper.cursor), None)

    def action_open(self) -> None:
        cursor = self.paper.cursor
        if cursor.startswith(_SCORE):
            self.component, self.found = cursor.removeprefix(_SCORE), None
            self.reload()
            self.draw()
            return
        gap = self._gap()
        if gap is not None and gap["component"] is not None:
            self.board.open_component(gap["component"])
        elif gap is not None:
            self.board.say(f"This gap is closed in {gap['file'] or 'opsdash.yaml'}.")

    def action_copy(self) -> None:
        gap = self._gap()
        if gap is None or gap["command"] is None:
            self.board.say("No command closes this; the line says what does.", severity="warning")
            return
        self.board.copy_to_clipboard(clean(gap["command"]))
        self.board.say("The command that closes it is in the clipboard.")


def _item(gap: GapView) -> str:
    return f"{_GAP}{gap['component'] or _ALL}/{gap['rule']}/{gap['subject']}"


def _haystack(gap: GapView) -> str:
    return " ".join((gap["component"] or "", gap["rule"], gap["aspect"], gap["text"], gap["close"], gap["tier"] or ""))


def score_line(found: ReadinessView) -> Line:
    """The score, how it went, and by how much it has changed."""
    score = found["score"]
    line: Line = [("   ", Role.TEXT), (f"{score}", score_role(score)), (" of 100", Role.DIM)]
    if found["component"] is not None:
        return line
    trend = [each for _, each in found["trend"]][-TREND_CELLS:]
    if len(trend) > 1:
        line += [("   ", Role.TEXT), (score_bars(trend), Role.DIM)]
    for days, difference in found["differences"].items():
        if difference is not None:
            line.append((f"   {difference:+d} in {days} days", Role.DEGRADED if difference < 0 else Role.DIM))
    return line


def score_row(each: ScoreView, cells: int) -> Row:
    """A component with its score."""
    title = max(10, cells - 3 - 4 - 2 - 6 - 10)
    return Row([
        CURSOR, ("  ", Role.TEXT), (right(str(each["score"]), 3), score_role(each["score"])), ("  ", Role.TEXT),
        (left(cut(each["title"], title - 1), title), Role.TEXT),
        (left(TIER_SHORT.get(each["tier"], each["tier"]), 6), Role.DIM), (count_of(each["gaps"], "gap"), Role.DIM),
    ], f"{_SCORE}{each['component']}")  # fmt: skip


def gap_rows(gap: GapView, cells: int, *, alone: bool) -> list[Row]:
    """A gap: what is missing, and below it what closes it. alone: in the list of one component."""
    item = _item(gap)
    figure = f"{gap['points']:g}" if alone else f"{gap['weight']:.1f}"
    where = "" if alone or gap["component"] is None else f"{gap['component']}: "
    rows = [
        Row([CURSOR, ("  " if number else " !", Role.DEGRADED), (right("" if number else figure, 5), Role.DEGRADED),
             ("  ", Role.TEXT), (line, Role.TEXT)], item)
        for number, line in enumerate(wrap(where + gap["text"], max(20, cells - 12)))
    ]  # fmt: skip
    way = gap["close"] + (f" · {gap['command']}" if gap["command"] else f" · {gap['file']}" if gap["file"] else "")
    rows += [
        Row([(" " * 10, Role.TEXT), ("→ " if number == 0 else "  ", Role.DIM), (line, Role.DIM)], item)
        for number, line in enumerate(wrap(way, max(20, cells - 14)))
    ]
    return rows


def coupling_rows(found: Mapping[str, Any] | None, component: str | None, now: float, cells: int) -> list[Row]:
    """Pairs that should be isolated and fail together, most certain first; of one component, or of all."""
    if found is None:
        return []
    pairs = [
        each for each in found["couplings"] if not each["explained"] and component in {None, each["one"], each["other"]}
    ]
    if not pairs:
        return []
    more = f" {len(pairs)}, the first {MOST_COUPLINGS} shown;" if len(pairs) > MOST_COUPLINGS else ""
    heading = f"   FAIL TOGETHER, and should be isolated:{more} opsdash couplings has all, with times"
    rows = [Row([(cut(heading, cells), Role.HEADING)])]
    for each in pairs[:MOST_COUPLINGS]:
        first, second = each["failures"]
        words = (
            f"{each['together']} of {first} and {second} failures within the same minute; "
            f"{each['expected']:.2g} by chance, p {each['p_value']:.1g}, last {ago(each['times'][-1], now)} ago"
        )
        rows.append(Row([("    ! ", Role.DEGRADED), (f"{each['one']} + {each['other']}", Role.STRONG)]))
        rows += [Row([(" " * 8 + line, Role.DIM)]) for line in wrap(words, max(20, cells - 10))]
    return [*rows, Row([])]
