"""Readiness for a client: the shapes of `opsdash.model.readiness_views`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from opsdash.core import readiness_trend
from opsdash.core.readiness_rules import BY_ID, Rule
from opsdash.model.operation import TIER_ORDER
from opsdash.model.readiness import Aspect

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.operation import Operation
    from opsdash.model.readiness import Gap, Readiness
    from opsdash.model.readiness_views import GapView, ReadinessView, ScoreView

MOST_GAPS = 5000
"""Gaps in one answer; an operation of two thousand components may have ten times as many, and nobody reads them."""


def readiness_view(
    found: Readiness,
    draft: Draft,
    component: str | None = None,
    *,
    measured: bool,
    limit: int = MOST_GAPS,
) -> ReadinessView:
    """Everything, or what is about one component. The trend is the operation's in either case.

    The files may have been read again since it was reckoned: a component that is new has no score yet.
    """
    kept = readiness_trend.points(draft)
    wanted = [gap for gap in found.gaps if component in (None, gap.component)]
    days = readiness_trend.BACK
    return {
        "at": found.at,
        "component": component,
        "score": found.score if component is None else found.components[component],
        "total": len(wanted),
        "gaps": [gap_view(gap) for gap in wanted[:limit]],
        "components": _scores(found, draft.operation, component),
        "trend": [(point.at, point.score) for point in kept],
        "differences": {str(each): readiness_trend.difference(kept, found.at, found.score, each) for each in days},
        "measured": measured,
    }


def gap_view(gap: Gap) -> GapView:
    """One gap."""
    rule = BY_ID[gap.rule]
    return {
        "rule": gap.rule,
        "aspect": (rule.aspect if isinstance(rule, Rule) else Aspect.OPERATION).value,
        "component": gap.component or None,
        "tier": gap.tier.value if gap.tier else None,
        "subject": gap.subject,
        "text": gap.text,
        "why": rule.why,
        "close": gap.close,
        "command": gap.command or None,
        "file": gap.file or None,
        "points": round(gap.points, 1),
        "weight": round(gap.weight, 2),
    }


def _scores(found: Readiness, operation: Operation, component: str | None) -> list[ScoreView]:
    counted = Counter(gap.component for gap in found.gaps)
    known = (each for each in operation.components.values() if each.id in found.components)
    shown = [each for each in known if component in (None, each.id)]
    ordered = sorted(shown, key=lambda each: (found.components[each.id], TIER_ORDER[each.tier], each.id))
    return [
        {
            "component": each.id,
            "title": each.title,
            "tier": each.tier.value,
            "score": found.components[each.id],
            "gaps": counted[each.id],
        }
        for each in ordered
    ]
