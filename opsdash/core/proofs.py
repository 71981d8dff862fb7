"""Proof: evidence that still counts.

A committed, verified switch is evidence that the provider or degraded mode it led to works, and so is a drill that
passed. It counts for 100 days (so that a quarterly drill is never late by design) or as long as the drill says, and
only while the definition that it proved still stands. What a drill has shown as a whole is in `core.drill_evidence`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from opsdash.model import drill

if TYPE_CHECKING:
    from opsdash.model.operation import Component
    from opsdash.model.world import Proof

VALID_FOR = drill.VALID_FOR
REMIND_AFTER = 0.75 * VALID_FOR

FRESH = "fresh"
OLD = "old"
CHANGED = "changed"
NEVER = "never"
NO_BACKUP = "none"
FAILED = "failed"


class Reader(Protocol):
    """What is needed of a world or draft."""

    def get(self, table: str, key: str) -> Any: ...


def proof_of(reader: Reader, component: Component, what: str, wall: float) -> tuple[str, float | None]:
    """Whether `what` (a provider or degraded mode) is proved: fresh, old, changed or never; and since when."""
    proof: Proof | None = reader.get("proofs", f"{component.id}/{what}")
    if proof is None:
        return NEVER, None
    if proof.sha256 != component.sha256:
        return CHANGED, proof.at
    return (FRESH if wall - proof.at < proof.valid_for else OLD), proof.at


def best_backup(reader: Reader, component: Component, wall: float) -> tuple[str, float | None]:
    """The best proof among a component's backups; "none" where it has none."""
    backups = [proof_of(reader, component, provider.id, wall) for provider in component.providers[1:]]
    if not backups:
        return NO_BACKUP, None
    order = (FRESH, OLD, CHANGED, NEVER)
    return min(backups, key=lambda each: (order.index(each[0]), -(each[1] or 0)))
