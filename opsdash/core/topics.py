"""Topics: what people must be told of besides that a component fails.

    redundancy     no backup could take over
    review-backup  it has been on its backup for longer than its review time
    review-mode    so has a degraded mode
    reverted       a switch, or a degraded mode, is no longer in force by somebody else's doing
    split          two sides serve at once, by what the mechanism says on two reads in a row
    auto           opsdash no longer switches this component, nor any other, by itself
    cover          none of its owners is there, or nobody who can run it, or that will soon be so
    rota:NAME      nobody is on duty by a rota, or soon nobody will be; it belongs to no component
    channel:NAME   messages do not arrive over a channel; it belongs to no component

Each is a rule: given a component, what there is to tell, or nothing. A topic has an alarm of its own
(`component#topic`), which is raised once, held only while opsdash is offline, the component paused or in maintenance,
and cleared when the rule no longer says anything. What cannot be seen at the moment leaves an alarm as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core import cover
from opsdash.core.redundancy import LOST, UNCERTAIN
from opsdash.model.operation import Tier
from opsdash.model.switch import SwitchState
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.core.draft import Draft
    from opsdash.model.operation import Component

REDUNDANCY = "redundancy"
REVIEW_BACKUP = "review-backup"
REVIEW_MODE = "review-mode"
REVERTED = "reverted"
SPLIT = "split"
AUTO = "auto"
COVER = "cover"
ROTA = "rota:"
CHANNEL = "channel:"

SPLIT_AFTER = 2
"""Reads in a row that have to see two sides serving: during somebody's switch one may."""

BROKEN_AFTER = 900.0
"""Seconds of failing attempts after which a channel counts as broken."""


def due(draft: Draft, component: Component, topic: str, was: str) -> str:
    """What there is to tell of a topic, "" for nothing. was: what was told so far, "" if nothing was."""
    return RULES[topic](draft, component, was)


def _redundancy(draft: Draft, component: Component, was: str) -> str:
    redundancy = draft.state(component.id).redundancy
    if component.tier is Tier.DROPPABLE or component.removed:
        return ""
    if redundancy == LOST:
        return was or f"{component.title}: redundancy lost, no backup could take over"
    return was if redundancy == UNCERTAIN else ""


def _review_backup(draft: Draft, component: Component, was: str) -> str:
    state = draft.state(component.id)
    if "backup" not in state.overdue:
        return ""
    return (
        was or f"{component.title}: review time passed, it is still on its backup{_for(draft, state.on_backup_since)}"
    )


def _review_mode(draft: Draft, component: Component, was: str) -> str:
    state = draft.state(component.id)
    if "mode" not in state.overdue:
        return ""
    since = _for(draft, state.mode_since)
    return was or f"{component.title}: review time passed, degraded mode {state.mode} is still in force{since}"


def _for(draft: Draft, since: float | None) -> str:
    return "" if since is None else f" after {format_duration(draft.now.wall - since)}"


def _reverted(draft: Draft, component: Component, was: str) -> str:
    switch = draft.switch(component.id)
    if switch is None or switch.state is not SwitchState.REVERTED or draft.incident(component.id) is None:
        return ""
    return was or f"{component.title}: {switch.id} was reverted by somebody else: {switch.detail}"


def _split(draft: Draft, component: Component, was: str) -> str:
    health = draft.health(component.id)
    if health.both is None:
        return was
    if health.both and (was or health.both_reads >= SPLIT_AFTER):
        return was or f"{component.title}: {' and '.join(health.both)} serve at once"
    return ""


def _auto(draft: Draft, component: Component, was: str) -> str:
    life = draft.life()
    if not life.auto_stopped or life.auto_stopped_by != component.id:
        return ""
    return was or f"opsdash no longer switches by itself: {life.auto_stopped}"


def _cover(draft: Draft, component: Component, was: str) -> str:
    if component.tier is Tier.DROPPABLE or component.removed:
        return ""
    found = cover.warning(draft, component, draft.now.wall)
    return (was or found) if found else ""


RULES: dict[str, Callable[[Draft, Component, str], str]] = {
    REDUNDANCY: _redundancy,
    REVIEW_BACKUP: _review_backup,
    REVIEW_MODE: _review_mode,
    REVERTED: _reverted,
    SPLIT: _split,
    AUTO: _auto,
    COVER: _cover,
}
"""One rule for each topic of a component."""


def rota(draft: Draft, name: str, was: str) -> str:
    """What there is to tell of a rota: nobody is on duty, or will not be."""
    found = cover.rota_warning(draft, name, draft.now.wall)
    return (was or found) if found else ""


def broken_channel(draft: Draft, channel: str) -> str:
    """What there is to tell of a channel: messages do not arrive over it, and that will not pass by itself."""
    state = draft.get("channels", channel)
    if state is None or state.failing_since is None:
        return ""
    lasts = bool(state.waiting) and draft.now.wall - state.failing_since >= BROKEN_AFTER
    if not (state.refused or state.gave_up_at is not None or lasts):
        return ""
    return f"alarms do not arrive over {channel}: {state.said or 'no answer'}"
