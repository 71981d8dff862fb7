"""Changes: what was different before something failed. The first question in an incident is what has changed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ChangeKind(StrEnum):
    """How it is known: the files were edited, a check reports another version, or somebody has marked it."""

    CONFIGURATION = "configuration"
    VERSION = "version"
    MARK = "mark"


@dataclass(frozen=True, slots=True)
class Change:
    """Something was changed. component: "" for the whole operation. at: seconds since 1970 UTC."""

    at: float
    kind: ChangeKind
    component: str
    text: str
    who: str
    version: str = ""
    link: str = ""
