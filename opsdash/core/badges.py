"""Whether one key would work, all year: the guards of a switch to each backup, judged without anybody wanting one.

So the day on which the credentials expired, or the standby's data fell behind, is the day on which it is noticed.
What only counts in the moment of a switch (somebody is at it, the primary is fine, a second person has to agree) is
left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsdash.core import guards, planning
from opsdash.core.guards import APPROVAL
from opsdash.model.switch import GuardResult

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.operation import Component
    from opsdash.model.switch import Guard

READY = "ready"
STALE = "stale"
NOT_READY = "not ready"
UNKNOWN = "unknown"
NONE = "none"

ORDER = (READY, STALE, UNKNOWN, NOT_READY)

OF_THE_MOMENT = frozenset({
    "live_switch", "needed", "blockade", "steady", "online", "observer", "freeze", "maintenance", APPROVAL,
})  # fmt: skip
"""Guards that say nothing about whether the backup would work."""


@dataclass(frozen=True, slots=True)
class Badge:
    """`ready`, `stale` (it works, and nobody has shown it lately), `not ready`, `unknown` or `none`; and why."""

    state: str
    why: str = ""


def badge_of(draft: Draft, component: Component, provider: str) -> Badge:
    """The badge of one provider that does not serve."""
    target = component.provider(provider)
    if component.switch is None or target is None:
        return Badge(NONE, "there is no switch")
    source = component.provider(draft.state(component.id).active)
    if source is None and planning.needs_source(component.switch):
        return Badge(NOT_READY, planning.SOURCE_UNKNOWN)
    names = planning.template_names(component, source, target)
    found = guards.of_provider_switch(draft, component, source, target, names, observed=False)
    lasting = [guard for guard in found if guard.rule not in OF_THE_MOMENT]
    failed = _first(lasting, GuardResult.FAIL)
    if failed is not None:
        return Badge(NOT_READY, _words(failed))
    unknown = _first(lasting, GuardResult.UNKNOWN)
    if unknown is not None:
        return Badge(UNKNOWN, _words(unknown))
    warned = _first(lasting, GuardResult.WARN)
    return Badge(READY) if warned is None else Badge(STALE, _words(warned))


def best_badge(draft: Draft, component: Component) -> Badge:
    """The best badge among the providers that do not serve; `none` where there is nothing to switch to."""
    active = draft.state(component.id).active
    badges = [badge_of(draft, component, provider.id) for provider in component.providers if provider.id != active]
    if component.switch is None or not badges:
        return Badge(NONE)
    return min(badges, key=lambda each: ORDER.index(each.state))


def _first(found: list[Guard], result: GuardResult) -> Guard | None:
    return next((guard for guard in found if guard.result is result), None)


def _words(guard: Guard) -> str:
    return f"{guard.title}: {guard.evidence}"
