"""Which windows are open over a component: maintenance mutes its alarms, a freeze speaks against switching it.

Only what is asked is answered here; how windows open and end is in `maintenance.py`. A window counts until its time has
passed, also if nobody tells that it has. One of the files counts a moment longer: the calendar is about to say that it
is over, or that the next one follows without a gap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.model.window import COMPONENT_KEY, TAG_KEY, Window, WindowKind, WindowState, is_one_off

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.operation import Component


CALENDAR_LAG = 3.0
"""Seconds within which the calendar tells that a window of the files is over; it looks every second."""


def maintenance(draft: Draft, component_id: str) -> Window | None:
    """The maintenance of a component, if it has one now; of several the one that ends last."""
    return _last(draft, component_id, WindowKind.MAINTENANCE)


def freeze(draft: Draft, component_id: str) -> Window | None:
    """The freeze over a component, if there is one now; of several the one that ends last."""
    return _last(draft, component_id, WindowKind.FREEZE)


def quiet(draft: Draft, component_id: str) -> Window | None:
    """The quiet hours of a component, if it has some now; of several those that end last."""
    return _last(draft, component_id, WindowKind.QUIET)


def _last(draft: Draft, component_id: str, kind: WindowKind) -> Window | None:
    found = (window for window in over(draft, component_id) if window.kind is kind)
    return max(found, key=lambda window: window.until, default=None)


def over(draft: Draft, component_id: str) -> list[Window]:
    """All windows that are open over a component."""
    component = draft.component(component_id)
    if component is None:
        return []
    found = ((key, draft.get("windows", key)) for key in draft.keys("windows"))
    return [
        as_window(key, state) for key, state in found if is_open(draft, key, state) and covers(draft, key, component)
    ]


def is_open(draft: Draft, key: str, state: WindowState) -> bool:
    """Whether a window still counts."""
    return draft.now.wall < state.until + (0.0 if is_one_off(key) else CALENDAR_LAG)


def covers(draft: Draft, key: str, component: Component) -> bool:
    """Whether the window with that key is about a component. One that is no longer in the files is about nobody."""
    if key.startswith(COMPONENT_KEY):
        return component.id == key.removeprefix(COMPONENT_KEY)
    if key.startswith(TAG_KEY):
        return key.removeprefix(TAG_KEY) in component.tags
    spec = draft.operation.windows.get(key)
    return spec is not None and spec.covers(component)


def as_window(key: str, state: WindowState) -> Window:
    """The window for whoever has to take it into account."""
    return Window(key, state.kind, state.title, state.since, state.until, state.who, state.reason)
