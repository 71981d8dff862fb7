"""Practice: who has really done what, as far as it still counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    """The latest time that somebody did `what`. at: in seconds since 1970 UTC.  by: the switch, run or drill.

    who: as recorded, without the account on which a name was claimed.  family: of the runbook that was followed, ""
    where it was none, or where the journal does not say.
    """

    who: str
    what: str
    at: float
    by: str
    family: str = ""


@dataclass(frozen=True, slots=True)
class Practice:
    """Who has done what with a component, the latest last."""

    done: tuple[Done, ...] = ()
