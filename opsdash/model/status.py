"""The five statuses, the reason codes, and what "worst" means.

*Unknown is never green, and never counts as down.* It stands between degraded and down in severity, because
somebody who cannot see has to look; no rule that acts on "down" ever acts on it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Status(StrEnum):
    """What opsdash says of a check, a provider or a component."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"
    PAUSED = "paused"


class Reason(StrEnum):
    """Why a status is what it is. The codes are a contract: scripts and the register match on them."""

    STARTING = "starting"
    REFUSED = "refused"
    RESET = "reset"
    TIMEOUT = "timeout"
    DNS = "dns"
    TLS = "tls"
    AUTH = "auth"
    PROTOCOL = "protocol"
    STATUS = "status"
    EXPECTATION = "expectation"
    EXPECTATION_ERROR = "expectation_error"
    SCHEMA_CHANGED = "schema_changed"
    STALE = "stale"
    GARBAGE = "garbage"
    EMPTY = "empty"
    UNCHANGED = "unchanged"
    RATE_LIMITED = "rate_limited"
    QUOTA_LOW = "quota_low"
    SLOW = "slow"
    EXPIRED = "expired"
    EXPIRING = "expiring"
    MISSED = "missed"
    MISSING = "missing"
    TOO_LARGE = "too_large"
    EXIT = "exit"
    WARNING = "warning"
    FAILED = "failed"
    PROBE_ERROR = "probe_error"
    CONFIG = "config"
    OFFLINE = "offline"
    CLOCK = "clock"
    OVERDUE = "overdue"
    PAUSED = "paused"
    MODE = "mode"
    PROVIDER = "provider"
    PRETENDED = "pretended"


SEVERITY: dict[Status, int] = {
    Status.OK: 0,
    Status.PAUSED: 0,
    Status.DEGRADED: 1,
    Status.UNKNOWN: 2,
    Status.DOWN: 3,
}
"""down > unknown > degraded > ok. Paused takes no part in a comparison, see `worst`."""


def worst(statuses: Iterable[Status]) -> Status:
    """The worst of several statuses; paused ones count only when there is nothing else.

    Nothing at all is `unknown`: a part that nobody measures is not fine.
    """
    found: Status | None = None
    for status in statuses:
        if (
            found is None
            or (found is Status.PAUSED and status is not Status.PAUSED)
            or (status is not Status.PAUSED and SEVERITY[status] > SEVERITY[found])
        ):
            found = status
    return Status.UNKNOWN if found is None else found
