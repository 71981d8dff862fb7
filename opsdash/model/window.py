"""Windows: times in which alarms are muted (maintenance), nothing is to be switched (freeze), or messages wait (quiet).

A window of opsdash.yaml comes again by the calendar, or stands there with its dates. A one-off maintenance is set by a
person, for a component or a tag, and ends by itself. Neither stops a check: polling goes on, and what is shown is true.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

COMPONENT_KEY = "component:"
TAG_KEY = "tag:"
"""How the keys of one-off maintenances begin; no name in a file contains a colon."""


def is_one_off(key: str) -> bool:
    """Whether the key of a window is that of a one-off maintenance."""
    return key.startswith((COMPONENT_KEY, TAG_KEY))


ESSENTIAL = "essential"
"""The tier that is never quiet by accident."""

FILES = "opsdash.yaml"
"""Who declared a window that stands in the files."""


class WindowKind(StrEnum):
    """Maintenance mutes alarms; a freeze says that nothing should be switched; while it is quiet, alarms are raised and
    their messages wait.
    """

    MAINTENANCE = "maintenance"
    FREEZE = "freeze"
    QUIET = "quiet"


class Covered(Protocol):
    """What is needed of a component to tell whether a window is about it."""

    @property
    def id(self) -> str: ...

    @property
    def tags(self) -> tuple[str, ...]: ...

    @property
    def tier(self) -> str: ...


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """A window of opsdash.yaml. Without components and tags it is about everything; with `tiers`, of that only about
    components of these. Quiet hours without tiers leave out what is essential, unless it is named itself.

    start, until: seconds since 1970 UTC, of a window that comes once.  cron, length, timezone: of one that comes again:
    when it begins, for how many seconds, and in which zone.
    """

    id: str
    kind: WindowKind
    title: str
    components: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    start: float | None = None
    until: float | None = None
    cron: str = ""
    length: float = 0.0
    timezone: str = "UTC"
    tiers: tuple[str, ...] = ()

    def covers(self, component: Covered) -> bool:
        """Whether it is about a component."""
        if self.tiers and component.tier not in self.tiers:
            return False
        if component.id in self.components:
            return True
        if self.kind is WindowKind.QUIET and not self.tiers and component.tier == ESSENTIAL:
            return False
        if not self.components and not self.tags:
            return True
        return any(tag in self.tags for tag in component.tags)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A window of opsdash.yaml that is open now: since when, and until when. Seconds since 1970 UTC."""

    window: str
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Muted:
    """An alarm that would have been raised, had there been no maintenance."""

    component: str
    title: str
    at: float


@dataclass(frozen=True, slots=True)
class WindowState:
    """A window that is open, as the world keeps it. muted: the latest alarms that it held."""

    kind: WindowKind
    title: str
    since: float
    until: float
    who: str
    reason: str = ""
    muted: tuple[Muted, ...] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """A window that is open over a component, for whoever has to take it into account.

    id: its name in opsdash.yaml; of a one-off maintenance `component:NAME` or `tag:NAME`.  until: seconds since 1970
    UTC.  who: a person, or opsdash.yaml.
    """

    id: str
    kind: WindowKind
    title: str
    since: float
    until: float
    who: str
    reason: str = ""
