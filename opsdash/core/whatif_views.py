"""What-if for people: results as clients see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core.redundancy import LOST
from opsdash.core.whatif_results import AT_RISK, is_lost
from opsdash.model.operation import ResponseKind
from opsdash.model.status import Status

if TYPE_CHECKING:
    from opsdash.core.whatif_results import Answered, Fate, FeatureFate, Result, Together
    from opsdash.model.whatif_views import WhatIfAnswer, WhatIfFate, WhatIfFeature, WhatIfLine, WhatIfPair, WhatIfView


def whatif_line(result: Result) -> WhatIfLine:
    """A loss in a ranking."""
    features = result.features
    return {
        "subjects": [str(each) for each in result.subjects],
        "critical": result.is_critical,
        "lost": [_feature(each) for each in features if is_lost(each)],
        "at_risk": [_feature(each) for each in features if each.after == AT_RISK],
        "down": list(result.with_status(Status.DOWN)),
        "degraded": list(result.with_status(Status.DEGRADED)),
        "unknown": list(result.with_status(Status.UNKNOWN)),
        "switched": [_moved(each.answered) for each in result.fates if each.answered and each.answered.worked],
        "redundancy_lost": [each.component for each in result.fates if each.redundancy == LOST],
        "stays_down": list(result.stays_down()),
        "unanswered": list(result.unanswered),
    }


def whatif_view(result: Result) -> WhatIfView:
    """All that comes of a loss."""
    return {
        **whatif_line(result),
        "fates": [_fate(each) for each in result.fates],
        "features": [_feature(each) for each in result.features],
    }


def whatif_pair(pair: Together) -> WhatIfPair:
    """What two losses take only together."""
    return {
        "subjects": [str(each) for each in pair.subjects],
        "lost": [{"id": feature, "tier": tier.value} for feature, tier in pair.lost],
        "at_risk": [{"id": feature, "tier": tier.value} for feature, tier in pair.at_risk],
        "stays_down": list(pair.down),
        "unanswered": list(pair.unanswered),
    }


def _moved(answered: Answered) -> str:
    if answered.kind is ResponseKind.DEGRADE:
        return f"{answered.component} in {answered.target}"
    return f"{answered.component} to {answered.target}"


def _feature(feature: FeatureFate) -> WhatIfFeature:
    return {
        "id": feature.id,
        "title": feature.title,
        "tier": feature.tier.value,
        "before": feature.before,
        "after": feature.after,
    }


def _fate(fate: Fate) -> WhatIfFate:
    return {
        "component": fate.component,
        "title": fate.title,
        "tier": fate.tier.value,
        "was": fate.was.value,
        "status": fate.status.value,
        "reason": fate.reason.value if fate.reason else None,
        "cause": fate.cause,
        "after": fate.after.value,
        "redundancy": fate.redundancy,
        "failures": [
            {
                "id": each.id,
                "title": each.title,
                "response": each.response,
                "runbook": each.runbook,
                "offered": each.offered,
            }
            for each in fate.failures
        ],
        "answer": _answer(fate.answered) if fate.answered else None,
        "runbook": fate.runbook,
        "features": [_feature(each) for each in fate.features],
        "alarms": [
            {
                "topic": each.topic,
                "title": each.title,
                "held": each.held,
                "at_once": list(each.at_once),
                "later": list(each.later),
                "silent": list(each.silent),
                "note": each.note,
            }
            for each in fate.alarms
        ],
        "present": list(fate.present),
        "unanswered": list(fate.unanswered),
    }


def _answer(answered: Answered) -> WhatIfAnswer:
    return {
        "kind": answered.kind.value,
        "component": answered.component,
        "target": answered.target,
        "rule": answered.rule,
        "refused": answered.refused,
        "guards": [
            {"rule": each.rule, "result": each.result.value, "evidence": each.evidence} for each in answered.objections
        ],
        "outcome": answered.outcome.value if answered.outcome else None,
        "detail": answered.detail,
        "by_itself": answered.by_itself,
    }
