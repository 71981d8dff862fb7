"""Which windows are open over a component: maintenance mutes its alarms, a freeze speaks against switching it.

Only what is asked is answered here; how windows open and end is in `maintenance.py`. A window counts until its time has
passed, also while nobody has yet told that it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.model.window import COMPONENT_KEY, TAG_KEY, Window, WindowKind, WindowState

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.operation import Component


def maintenance(draft: Draft, component_id: str) -> Window | None:
    """The maintenance of a component, if it has one now; of several the one that ends last."""
    return _last(draft, component_id, WindowKind.MAINTENANCE)


def freeze(draft: Draft, component_id: str) -> Window | None:
    """The freeze over a component, if there is one now; of several the one that ends last."""
    return _last(draft, component_id, WindowKind.FREEZE)


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
        as_window(key, state) for key, state in found if draft.now.wall < state.until and covers(draft, key, component)
    ]


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
