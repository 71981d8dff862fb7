"""Near misses: a failure mode began to show, and was over before its check's threshold confirmed it.

They cost nobody any sleep, and they say where the next failure comes from. Each is counted for the failure mode that it
would have been.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core import failures
from opsdash.model.records import NearMissed
from opsdash.model.status import SEVERITY, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opsdash.core.draft import Draft
    from opsdash.model.operation import CheckSpec, FailureMode, Signal
    from opsdash.model.world import CheckLive, NearMisses

APART = 600.0
"""Seconds in which several near misses of the same failure mode are one: it flaps."""


def observed(draft: Draft, spec: CheckSpec, before: CheckLive, after: CheckLive) -> None:
    """A check has answered; count it if that ends what had begun to look like a failure."""
    ends = before.bad_since is not None and after.bad_since is None and after.raw is Status.OK
    confirmed = draft.confirmed(spec.id)
    if not ends or before.bad_since is None or (confirmed is not None and confirmed.status is not Status.OK):
        return
    bad = _bad_results(before)
    if not bad:
        return
    for component, failure in _watching(draft, spec):
        if not any(_would_have_been(draft, signal, spec, before) for signal in failure.detected_by.signals):  # type: ignore[union-attr] # those that are watched have one
            continue
        known: NearMisses | None = draft.get("near_misses", f"{component}/{failure.id}")
        if known is None or draft.now.wall - known.last >= APART:
            draft.emit(NearMissed(draft.now.wall, component, failure.id, spec.id, before.bad_since, bad))


def _bad_results(live: CheckLive) -> int:
    """How many results at the end of the window were not good."""
    count = 0
    while count < len(live.window) and live.window[-1 - count] > SEVERITY[Status.OK]:
        count += 1
    return count


def _watching(draft: Draft, spec: CheckSpec) -> Iterator[tuple[str, FailureMode]]:
    """The failure modes that a check can bring about, and that are not active."""
    watchers = draft.operation.watchers
    names = [spec.id] if spec.provider is None else [spec.id, f"{spec.component}/*"]
    found = dict.fromkeys((spec.component, *(each for name in names for each in watchers.get(name, ()))))
    for component_id in found:
        component = draft.component(component_id)
        if component is None:
            continue
        active = {failure for failure, _ in draft.state(component_id).failures}
        for failure in component.failures.values():
            if failure.detected_by is not None and failure.id not in active:
                yield component_id, failure


def _would_have_been(draft: Draft, signal: Signal, spec: CheckSpec, before: CheckLive) -> bool:
    if failures.check_of(draft, signal) != spec.id:
        return False
    if signal.reason is None:
        return before.raw is Status.DOWN
    return before.raw_reason is signal.reason
