"""Alarms: messages to a person, as far as it is decided whether they are due, held, raised or over."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

TOPIC = "#"
"""Stands between a component and a topic in the key of an alarm; no name in a file contains it."""


def alarm_key(component: str, topic: str = "") -> str:
    """The key of an alarm: `component` when it fails, else `component#topic`; `#topic` is about opsdash itself."""
    return f"{component}{TOPIC}{topic}" if topic else component


def parts_of(key: str) -> tuple[str, str]:
    """Component and topic of an alarm's key, either "" where it has none."""
    component, _, topic = key.partition(TOPIC)
    return component, topic


class HoldReason(StrEnum):
    """Why an alarm that is due is not raised yet. `core/alarms.py` has the rules."""

    PARENT = "parent"
    ASKED = "asked"
    RECHECK = "recheck"
    MAINTENANCE = "maintenance"
    FLAPPING = "flapping"
    OFFLINE = "offline"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Hold:
    """What holds an alarm. what: the parent, window or check; until: when that ends, where it is known."""

    reason: HoldReason
    what: str = ""
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm, of a component or a topic. Either `raised` (since then), or held by `hold` (`held` since then).

    incident: "" where a topic has none.  due: since when there has been something to alarm about.  note: what could not
    be found out before it was raised.  All times in seconds since 1970 UTC.
    """

    incident: str
    title: str
    due: float
    raised: float | None = None
    hold: Hold | None = None
    held: float | None = None
    note: str = ""

    @property
    def is_raised(self) -> bool:
        """Whether people have been told."""
        return self.raised is not None


HOLD_WORDS: dict[HoldReason, str] = {
    HoldReason.PARENT: "{what} is down",
    HoldReason.ASKED: "{what} is checked first",
    HoldReason.RECHECK: "it is checked once more",
    HoldReason.MAINTENANCE: "maintenance",
    HoldReason.FLAPPING: "it is flapping",
    HoldReason.OFFLINE: "opsdash is offline",
    HoldReason.PAUSED: "it is paused",
}


def hold_words(hold: Hold) -> str:
    """Why an alarm is held, as the end of "alarm held: …"."""
    return HOLD_WORDS[hold.reason].format(what=hold.what)
