"""What was: uptime, latency percentiles and changes of a component, out of history."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from opsdash.storage.gaps import of_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opsdash.model.operation import CheckSpec
    from opsdash.storage.history import History

PERCENTILES = (50, 95, 99)


def past(history: History, component: str, checks: Sequence[CheckSpec], since: float, until: float) -> dict[str, Any]:
    """Figures per check, and the component's changes, from `since` to `until` (seconds since 1970 UTC).

    gaps: when a check was not measured, and when none of the component's was: its status was not known then.
    """
    gaps = {spec.id: history.gaps(spec.id, since, until, spec.every) for spec in checks}
    return {
        "component": component,
        "since": since,
        "until": until,
        "checks": [
            {
                "check": spec.id,
                "uptime": asdict(history.uptime(spec.id, since, until, spec.every)),
                "latency_ms": _percentiles(history, spec, since, until),
                "changes": [_change(each) for each in history.changes(spec.id, since, until, 50)],
                "gaps": [asdict(gap) for gap in gaps[spec.id]],
            }
            for spec in checks
        ],
        "changes": [_change(each) for each in history.component_changes(component, since, until, 200)],
        "gaps": [asdict(gap) for gap in of_all(list(gaps.values()))],
    }


def _percentiles(history: History, spec: CheckSpec, since: float, until: float) -> dict[str, float | None]:
    found = history.percentiles(spec.id, since, until, PERCENTILES).values
    return {f"p{each}": found.get(each) for each in PERCENTILES}


def _change(change: Any) -> dict[str, Any]:
    plain = asdict(change)
    return {key: getattr(value, "value", value) for key, value in plain.items()}
