"""Review times: what is not normal is not forgotten. Being on a backup and a degraded mode in force carry one each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core import incidents
from opsdash.model.effects import SetTimer
from opsdash.model.incident import EntryKind
from opsdash.model.records import ReviewPassed

if TYPE_CHECKING:
    from opsdash.core.draft import Draft


def schedule_review(draft: Draft, component_id: str) -> None:
    """Come back when the review time of what is not normal passes: being on a backup, a degraded mode in force."""
    component = draft.component(component_id)
    state = draft.state(component_id)
    if component is None:
        return
    if state.on_backup_since is not None and component.switch is not None:
        due = state.on_backup_since + component.switch.review_after
        _review_timer(draft, component_id, "backup", due)
    mode = component.modes.get(state.mode or "")
    if mode is not None and state.mode_since is not None:
        _review_timer(draft, component_id, "mode", state.mode_since + mode.review_after)


def _review_timer(draft: Draft, component: str, what: str, due: float) -> None:
    remaining = max(0.0, due - draft.now.wall)
    draft.effect(SetTimer(("review", component, what), draft.now.mono + remaining))


def review(draft: Draft, component_id: str, what: str) -> None:
    """A review time has passed: say so, once."""
    state = draft.state(component_id)
    component = draft.component(component_id)
    since = state.on_backup_since if what == "backup" else state.mode_since
    if component is None or since is None or what in state.overdue:
        return
    mode = component.modes.get(state.mode or "")
    after = component.switch.review_after if what == "backup" and component.switch else None
    if what == "mode" and mode is not None:
        after = mode.review_after
    if after is None:
        return
    if draft.now.wall < since + after:
        _review_timer(draft, component_id, what, since + after)
        return
    draft.emit(ReviewPassed(draft.now.wall, component_id, what, since))
    words = "it is still on its backup" if what == "backup" else f"degraded mode {state.mode} is still in force"
    incidents.note_or_open(draft, component, EntryKind.STATUS, f"review time passed, {words}")
    draft.touch(component_id)
