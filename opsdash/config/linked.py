"""What is known of a component while its parts are being put together with those of others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opsdash.model.operation import Tier

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from opsdash.config.built import Built
    from opsdash.model.operation import DegradedMode, FailureMode, Feature, SwitchSpec


@dataclass(slots=True)
class Linked:
    """What is known of a component so far. Each pass over all components adds to it."""

    built: Built
    features: dict[str, Feature] = field(default_factory=dict)
    depends_on: list[str] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)
    rotas: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    runbook: str | None = None
    switch: SwitchSpec | None = None
    modes: dict[str, DegradedMode] = field(default_factory=dict)
    failures: dict[str, FailureMode] = field(default_factory=dict)


def is_lost(built: Built, section: str, name: str, found: Collection[str]) -> bool:
    """Whether a part that was there before is not, for another reason than that somebody took it out."""
    return name not in found and built.missing(f"{section}/{name}") is not None


def essential_checks(linked: Linked) -> Iterator[tuple[str, str]]:
    """The essential features, each with a check that proves it: what a switch goes by when it names nothing."""
    for feature in linked.features.values():
        if feature.tier is Tier.ESSENTIAL:
            yield from ((feature.id, check) for check in feature.checks)
