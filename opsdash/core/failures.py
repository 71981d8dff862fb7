"""Recognising failure modes: which entries of the register apply right now.

A signal is true, false or not known. A failure mode becomes active when enough signals are true, and is cleared only
when so many are *known* to be false that it cannot apply: while opsdash is blind, or has just started, what was
recognised stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core import people
from opsdash.model.operation import ACTIVE, FailureMode, Signal
from opsdash.model.records import FailureActive, FailureCleared
from opsdash.model.status import Status

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.operation import Component
    from opsdash.model.status import Reason
    from opsdash.model.world import CheckLive


TWICE = 2
"""Unknown results in a row after which unknown is shown, and counts for a failure mode that names its reason."""


def refresh(draft: Draft, component_id: str) -> None:
    """Compare every failure mode of a component with what is shown."""
    component = draft.component(component_id)
    if component is None:
        return
    was = {failure for failure, _ in draft.state(component_id).failures}
    for failure in component.failures.values():
        applies, evidence = recognise(draft, component, failure)
        if applies and failure.id not in was:
            draft.emit(FailureActive(draft.now.wall, component_id, failure.id, failure.title, evidence))
            draft.touch(component_id)
        elif applies is False and failure.id in was:
            draft.emit(FailureCleared(draft.now.wall, component_id, failure.id))
            draft.touch(component_id)
    for gone in sorted(was - component.failures.keys()):
        draft.emit(FailureCleared(draft.now.wall, component_id, gone))


def recognise(draft: Draft, component: Component, failure: FailureMode) -> tuple[bool | None, str]:
    """Whether a failure mode applies (None: cannot be told), and by which evidence."""
    detection = failure.detected_by
    if detection is None or draft.get("pauses", component.id) is not None:
        return False, ""
    if detection.away:
        nobody = people.nobody_covers(draft, component)
        return nobody, "all owners are away" if nobody else ""
    seen = [(signal, signalled(draft, signal)) for signal in detection.signals]
    hits = [f"{signal}" for signal, truth in seen if truth]
    if len(hits) >= detection.at_least:
        return True, ", ".join(hits)
    possible = sum(truth is not False for _, truth in seen)
    return (None if possible >= detection.at_least else False), ""


def signalled(draft: Draft, signal: Signal) -> bool | None:
    """Whether one signal is given: confirmed down, or with a reason: not ok for that reason."""
    if draft.get("pauses", signal.component) is not None:
        return False
    check = check_of(draft, signal)
    if check is None:
        return None
    shown = draft.check(check)
    if shown.status is Status.UNKNOWN:
        return True if _unknown_twice_for(shown, signal.reason) else None
    if signal.reason is not None and shown.reason is signal.reason:
        return shown.status in (Status.DEGRADED, Status.DOWN)
    return signal.reason is None and shown.status is Status.DOWN


def _unknown_twice_for(shown: CheckLive, reason: Reason | None) -> bool:
    """Whether two results in a row were unknown for that reason; that no result came at all does not count."""
    return reason is not None and shown.unknowns >= TWICE and shown.raw_reason is reason is shown.reason


def check_of(draft: Draft, signal: Signal) -> str | None:
    """Id of the check that a signal means now; None while the active provider is not known."""
    provider = signal.provider
    if provider == ACTIVE:
        provider = draft.state(signal.component).active
        if provider is None:
            return None
    parts = (signal.component, provider, signal.check)
    return "/".join(part for part in parts if part)
