"""What a client sees of windows: maintenance and freezes, and the alarms that they mute."""

from __future__ import annotations

from typing import TypedDict


class WindowLine(TypedDict):
    """A window that is open over a component. kind: maintenance | freeze."""

    id: str
    kind: str
    title: str
    until: float


class MutedView(TypedDict):
    """An alarm that would have been raised without a maintenance."""

    component: str
    title: str
    at: float


class WindowView(TypedDict):
    """A window that is open. components: those that it is about; target: what a one-off maintenance was set for."""

    id: str
    kind: str
    title: str
    target: str | None
    components: list[str]
    since: float
    until: float
    who: str
    reason: str
    muted: list[MutedView]
