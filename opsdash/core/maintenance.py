"""How windows open and end: those of the files by the calendar, one-off maintenances by people.

The core knows no cron: the engine says which windows of the files are open (`WindowsOpen`), each time all of them, at
every edge, after a start, after new files and after a jump of the clock. A one-off maintenance is a record, outlives
the engine, and ends by a timer, which says so. When a window ends, alarms that it held are looked at again at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core import alarms, grouping, windows
from opsdash.core.reader import OPSDASH
from opsdash.model.effects import CancelTimer, SetTimer
from opsdash.model.records import MaintenanceEnded, MaintenanceSet, WindowBegan, WindowEnded
from opsdash.model.switch import Refused
from opsdash.model.units import format_duration
from opsdash.model.window import COMPONENT_KEY, TAG_KEY, is_one_off

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opsdash.core.draft import Draft
    from opsdash.model.inputs import EndMaintenanceIntent, MaintenanceIntent, WindowsOpen

LONGEST = 31 * 86400.0
"""Seconds that a one-off maintenance lasts at most: what is muted must not be forgotten."""


def begin(draft: Draft, who: str, intent: MaintenanceIntent) -> Refused | None:
    """Mute the alarms of a component or tag for a while. Set again, it lasts as long as was said last."""
    key = _key(draft, intent.target)
    if isinstance(key, Refused):
        return key
    if intent.seconds <= 0:
        return Refused("duration", "a maintenance needs a duration, such as 2h")
    if intent.seconds > LONGEST:
        longest = format_duration(LONGEST)
        return Refused("duration", f"a one-off maintenance lasts {longest} at most; write a window into opsdash.yaml")
    until = draft.now.wall + intent.seconds
    draft.emit(MaintenanceSet(draft.now.wall, key, until, who, intent.reason.strip()))
    draft.effect(SetTimer(("maintenance", key), draft.now.mono + intent.seconds))
    _look_again(draft, [key])
    return None


def end(draft: Draft, who: str, intent: EndMaintenanceIntent) -> Refused | None:
    """End a one-off maintenance before its time."""
    key = _key(draft, intent.target)
    if isinstance(key, Refused):
        key = intent.target if intent.target.startswith(TAG_KEY) else COMPONENT_KEY + intent.target
    if draft.get("windows", key) is None:
        return Refused("no_maintenance", f"{intent.target} has no maintenance that a person set")
    _end(draft, key, who)
    return None


def _key(draft: Draft, target: str) -> str | Refused:
    if not target.startswith(TAG_KEY):
        if draft.component(target) is None:
            return Refused("unknown_component", f"there is no component {target!r}")
        return COMPONENT_KEY + target
    tags = {tag for component in draft.operation.components.values() for tag in component.tags}
    if target.removeprefix(TAG_KEY) not in tags:
        known = ", ".join(sorted(tags)) or "none"
        return Refused("unknown_tag", f"no component has the tag {target.removeprefix(TAG_KEY)!r}; there are: {known}")
    return target


def over(draft: Draft, key: str) -> None:
    """The time of a one-off maintenance has come."""
    state = draft.get("windows", key)
    if state is not None and state.until <= draft.now.wall + 1:
        _end(draft, key, OPSDASH)
    elif state is not None:
        draft.effect(SetTimer(("maintenance", key), draft.now.mono + state.until - draft.now.wall))


def _end(draft: Draft, key: str, who: str) -> None:
    covered = _covered(draft, [key])
    draft.emit(MaintenanceEnded(draft.now.wall, key, who))
    draft.effect(CancelTimer(("maintenance", key)))
    _look(draft, covered)


def started(draft: Draft) -> None:
    """One-off maintenances outlive the engine; those whose time has passed meanwhile end at once."""
    for key in draft.keys("windows"):
        if is_one_off(key):
            remaining = max(0.0, draft.get("windows", key).until - draft.now.wall)
            draft.effect(SetTimer(("maintenance", key), draft.now.mono + remaining))


def opened(draft: Draft, event: WindowsOpen) -> None:
    """The windows of the files that are open now are these."""
    now, specs = draft.now.wall, draft.operation.windows
    current = {each.window: each for each in event.occurrences if each.window in specs and each.until > now}
    known = [key for key in draft.keys("windows") if not is_one_off(key)]
    changed: list[str] = []
    covered: set[str] = set()
    for key in known:
        if key not in current:
            covered |= _covered(draft, [key])
            state = draft.get("windows", key)
            draft.emit(WindowEnded(now, key, state.kind))
            changed.append(key)
    for key, each in current.items():
        spec, state = specs[key], draft.get("windows", key)
        same = state is not None and (state.kind, state.title, state.until) == (spec.kind, spec.title, each.until)
        if not same:
            draft.emit(WindowBegan(now, key, spec.kind, spec.title, each.since, each.until))
            changed.append(key)
    if changed:
        # one that is no longer in the files was about nobody knows whom: everybody is looked at
        gone = any(key not in specs for key in changed)
        _look(draft, set(draft.operation.components) if gone else covered | _covered(draft, changed))


def _look_again(draft: Draft, keys: Iterable[str]) -> None:
    _look(draft, _covered(draft, keys))


def _look(draft: Draft, components: Iterable[str]) -> None:
    for component in sorted(components):
        draft.touch(component)
        alarms.refresh(draft, component)
    grouping.look(draft)


def _covered(draft: Draft, keys: Iterable[str]) -> set[str]:
    """The components that any of these windows is about."""
    wanted = tuple(keys)
    names = [*draft.operation.components, *draft.keys("removed")]
    found = (draft.component(name) for name in dict.fromkeys(names))
    return {each.id for each in found if each is not None and any(windows.covers(draft, key, each) for key in wanted)}
