"""Readiness: what is missing, worst first, and a score of it. Pure, and reckoned from nothing but values.

**A component** begins with a hundred points, divided over six aspects (`ASPECTS`): register, backup, degraded modes,
drills, people, isolation. Each gap takes points off its aspect: the points of its rule for the component's tier; where
the rule is about one of several things (one of five failure modes, one of two backups), that share of them. An aspect
never loses more than it has. What is left of all six is the score, rounded down: a hundred means that there is no gap.

**The operation** has the mean of its components' scores, in which an essential component counts 5, an important one 3
and a droppable one 1. Gaps of the operation as a whole (no alarm channel, nobody who expects its signs of life) then
take their points off as percentages of it, up to 30.

Closing a gap never lowers a score. Where something has to be added for that, it may have gaps of its own: a new backup
was never tested. So a rule about what is not there takes at least as much as everything that can be wrong with it once
it is; where that leaves a second aspect empty (no failure modes: nothing to drill), it takes the points of that, too.

The **weight** of a gap is by how much closing it alone can raise the operation's score, at most; gaps are ordered by
it.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING

from opsdash.core.readiness_look import Look
from opsdash.core.readiness_rules import ASPECTS, RULES, UNREADABLE, WEIGHTS, WHOLE, WHOLE_RULES
from opsdash.model.operation import TIER_ORDER
from opsdash.model.readiness import Aspect, Gap, Readiness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from opsdash.core.draft import Draft
    from opsdash.core.readiness_look import Found
    from opsdash.core.readiness_rules import Rule, WholeRule
    from opsdash.model.operation import Component, Operation
    from opsdash.model.readiness import Facts

FULL = 100.0
ALMOST = 1e-9
"""Sums of shares are a little off: a third, three times, is all of it."""


def readiness(draft: Draft, facts: Facts, after_each: Callable[[], object] = int) -> Readiness:
    """All gaps of an operation, and its scores. `after_each` is called after each component."""
    look = Look(draft, facts)
    by_component: dict[str, tuple[Gap, ...]] = {}
    shares = _shares(look.operation)
    for component in look.operation.components.values():
        by_component[component.id] = tuple(_of_component(look, component, shares[component.id]))
        after_each()
    whole = tuple(_of_operation(look))
    scores = {name: score(gaps) for name, gaps in by_component.items()}
    found = chain(whole, *by_component.values())
    return Readiness(draft.now.wall, _together(look.operation, scores, whole), scores, tuple(sorted(found, key=_worst)))


def gaps(draft: Draft, facts: Facts) -> tuple[Gap, ...]:
    """All gaps, worst first."""
    return readiness(draft, facts).gaps


def score(gaps_of_component: Iterable[Gap]) -> int:
    """The score of a component with these gaps, from 0 to 100."""
    lost: defaultdict[Aspect, float] = defaultdict(float)
    for gap in gaps_of_component:
        for aspect, points in gap.costs.items():
            lost[aspect] += points
    return _rounded(FULL - sum(min(lost[aspect], points) for aspect, points in ASPECTS.items()))


def operation_score(operation: Operation, found: Iterable[Gap]) -> int:
    """The score of an operation with these gaps, from 0 to 100."""
    by_component: dict[str, list[Gap]] = {name: [] for name in operation.components}
    whole: list[Gap] = []
    for gap in found:
        by_component.get(gap.component, whole).append(gap)
    return _together(operation, {name: score(each) for name, each in by_component.items()}, whole)


def _together(operation: Operation, scores: Mapping[str, int], whole: Iterable[Gap]) -> int:
    weights = {each.id: WEIGHTS[each.tier] for each in operation.components.values()}
    total = sum(weights.values())
    mean = sum(weights[name] * scores[name] for name in weights) / total if total else 0.0
    lost = min(float(WHOLE), sum(gap.points for gap in whole))
    return _rounded(mean * (FULL - lost) / FULL)


def _rounded(points: float) -> int:
    return max(0, min(100, int(points + ALMOST)))


def _shares(operation: Operation) -> dict[str, float]:
    """What part of the operation's score is each component's."""
    total = sum(WEIGHTS[each.tier] for each in operation.components.values())
    return {each.id: WEIGHTS[each.tier] / total for each in operation.components.values()}


def _of_component(look: Look, component: Component, part: float) -> Iterator[Gap]:
    rules = (UNREADABLE,) if component.problem is not None else RULES
    for rule in rules:
        if rule.costs(component.tier, 1.0):
            for found in rule.find(look, component):
                yield _gap(rule, component, found, part)


def _gap(rule: Rule, component: Component, found: Found, part: float) -> Gap:
    costs = rule.costs(component.tier, found.share)
    return Gap(
        rule=rule.id,
        component=component.id,
        subject=found.subject,
        text=found.text,
        close=found.close,
        command=found.command,
        file=component.file if found.file is None else found.file,
        tier=component.tier,
        costs=costs,
        weight=sum(min(points, ASPECTS[aspect]) for aspect, points in costs.items()) * part,
    )


def _of_operation(look: Look) -> Iterator[Gap]:
    for rule in WHOLE_RULES:
        for found in rule.find(look):
            yield _whole_gap(rule, found)


def _whole_gap(rule: WholeRule, found: Found) -> Gap:
    return Gap(
        rule=rule.id,
        component="",
        subject=found.subject,
        text=found.text,
        close=found.close,
        command=found.command,
        file=found.file or "",
        costs={Aspect.OPERATION: float(rule.points)},
        weight=float(rule.points),
    )


def _worst(gap: Gap) -> tuple[float, int, str, str, str]:
    tier = -1 if gap.tier is None else TIER_ORDER[gap.tier]
    return -round(gap.weight, 6), tier, gap.component, gap.rule, gap.subject
