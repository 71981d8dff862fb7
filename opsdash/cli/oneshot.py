"""Running checks in this process, once, without an engine: `validate --run`, `status --poll`, `check`.

One result is no streak: thresholds (`down_after`) do not apply, and nobody asks which provider serves, so a component
without checks of its own is judged by its primary. An engine knows better; this is for the time before there is one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opsdash.cli.offline import read_files
from opsdash.engine.clock import system_clock
from opsdash.engine.measuring import measure
from opsdash.kinds.base import CheckContext, HeartbeatState
from opsdash.kinds.resolver import Resolver
from opsdash.model.status import Status, worst
from opsdash.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from opsdash.config.loader import Loaded
    from opsdash.kinds.base import Sample
    from opsdash.kinds.expectations import Verdict
    from opsdash.model.operation import CheckSpec, Component
    from opsdash.model.views import Snapshot, Summary, WallRow

AT_ONCE = 32
"""Checks that run at the same time; more would measure this machine instead of the targets."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one check saw. detail, values and facts are clean and without secrets."""

    spec: CheckSpec
    verdict: Verdict
    detail: str
    latency: float | None
    phases: Mapping[str, float]
    values: Mapping[str, str]
    facts: Mapping[str, Any]


async def run_checks(workspace: Path, loaded: Loaded, checks: Iterable[str]) -> list[Result]:
    """Run checks, each once. A heartbeat sends nothing and cannot be run; it is left out."""
    resolver = Resolver()
    places = asyncio.Semaphore(AT_ONCE)

    async def one(check: str) -> Result:
        async with places:
            return await _run(workspace, loaded, check, resolver)

    wanted = [check for check in checks if check in loaded.bindings and not loaded.operation.checks[check].passive]
    try:
        return list(await asyncio.gather(*(one(check) for check in wanted)))
    finally:
        resolver.close()


async def _run(workspace: Path, loaded: Loaded, check: str, resolver: Resolver) -> Result:
    spec, binding = loaded.operation.checks[check], loaded.bindings[check]
    context = CheckContext(
        check=check,
        deadline=spec.timeout,
        wall=system_clock().wall,
        workspace=workspace,
        resolver=resolver,
        heartbeat=HeartbeatState(),
        wants_json=True,
    )
    sample = await measure(binding.kind, binding.options, context)
    verdict = binding.judge(sample, system_clock().wall)

    def shown(value: Any) -> str:
        # masked before it is cut, or half a secret would be left over
        return clean(loaded.secrets.mask(clean(str(value), 4000)), 300)

    return Result(
        spec=spec,
        verdict=verdict,
        detail=shown(verdict.detail) if verdict.detail else "",
        latency=sample.latency,
        phases=sample.phases,
        values={name: shown(value) for name, value in _values(sample).items()},
        facts={name: shown(value) for name, value in binding.judge.extract(sample.values).items()},
    )


def _values(sample: Sample) -> Mapping[str, Any]:
    """The names that expectations may use, apart from long ones that say nothing on a screen."""
    return {name: value for name, value in sample.values.items() if value not in ("", None)}


# --- as a wall ---------------------------------------------------------------------------------------------------


def poll_once(workspace: Path, component: str | None) -> Snapshot:
    """Every check run once, as a snapshot of the wall."""
    loaded = read_files(workspace)
    specs = loaded.operation.checks
    wanted = [check for check in specs if component in (None, specs[check].component)]
    results = {each.spec.id: each for each in asyncio.run(run_checks(workspace, loaded, wanted))}
    rows = [_row(each, results) for each in loaded.operation.components.values()]
    return {"seq": 0, "at": system_clock().wall, "summary": _summary(workspace, loaded, rows), "rows": rows}


def _row(component: Component, results: Mapping[str, Result]) -> WallRow:
    primary = component.providers[0] if component.providers else None
    judged = component.checks or (primary.checks if primary else ())
    seen = [results[check] for check in judged if check in results]
    status = worst(each.verdict.status for each in seen) if seen and not component.problem else Status.UNKNOWN
    first = next((each for each in seen if each.verdict.status is status and status is not Status.OK), None)
    return {
        "id": component.id,
        "title": component.title,
        "tier": component.tier.value,
        "status": status.value,
        "reason": first.verdict.reason.value if first and first.verdict.reason else None,
        "cause": f"{first.spec.id}: {first.detail}" if first else component.problem or "",
        "since": 0.0,
        "latency": seen[0].latency if seen else None,
        "spark": [],
        "active": None,
        "primary": None,
        "on_backup": False,
        "mode": None,
        "dropped": [],
        "redundancy": "none",
        "proof": "none",
        "badge": "none",
        "proof_at": None,
        "failure": None,
        "failure_id": None,
        "response": None,
        "hint": "",
        "incident": None,
        "acknowledged": False,
        "owners": list(component.owners),
        "covered": True,
        "switch": None,
        "overdue": [],
        "explained_by": [],
        "alarm": "",
        "held": "",
        "windows": [],
        "flapping": None,
        "problems": len(component.off) + (component.problem is not None),
        "removed": False,
    }


def _summary(workspace: Path, loaded: Loaded, rows: list[WallRow]) -> Summary:
    from opsdash import __version__

    return {
        "title": loaded.operation.title,
        "counts": {status.value: sum(row["status"] == status.value for row in rows) for status in Status},
        "features": [],
        "offline": False,
        "journal_error": "",
        "undelivered": "",
        "readiness": None,
        "incidents": 0,
        "problems": len(loaded.problems),
        "drills": None,
        "uncovered": [],
        "engine_since": 0.0,
        "version": __version__,
        "read_only": True,
        "workspace": str(workspace),
        "demo": False,
    }
