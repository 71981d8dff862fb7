"""Records of times in which something is otherwise: a pause, a maintenance, an open window, an absence."""

from __future__ import annotations

from dataclasses import dataclass

from opsdash.model.window import WindowKind


@dataclass(frozen=True, slots=True)
class Paused:
    """An operator stopped the polling of a component until `until`, when it resumes by itself and says so."""

    at: float
    component: str
    until: float
    who: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Resumed:
    """Polling goes on."""

    at: float
    component: str
    who: str


@dataclass(frozen=True, slots=True)
class MaintenanceSet:
    """A person mutes the alarms of `target`, `component:NAME` or `tag:NAME`, until `until`. Set again, it replaces."""

    at: float
    target: str
    until: float
    who: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MaintenanceEnded:
    """The alarms of `target` are no longer muted: its time has passed (`who` is "opsdash"), or a person ended it."""

    at: float
    target: str
    who: str


@dataclass(frozen=True, slots=True)
class WindowBegan:
    """A window of opsdash.yaml is open, until `until`. Again, when it has changed."""

    at: float
    window: str
    kind: WindowKind
    title: str
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class WindowEnded:
    """A window of opsdash.yaml is no longer open."""

    at: float
    window: str
    kind: WindowKind


@dataclass(frozen=True, slots=True)
class AwaySet:
    """A person is away until `until` (None: open end); with `back` the absence is taken back."""

    at: float
    person: str
    until: float | None
    who: str
    start: float | None = None
    back: bool = False


WindowRecord = Paused | Resumed | MaintenanceSet | MaintenanceEnded | WindowBegan | WindowEnded | AwaySet
