"""The samples of a drill's steady checks: how many results came in while it lasted, and how many slots had none.

A result is missing when none that says anything has come within the check's own time limit after it was due, or within
its interval where that is longer: a check of once a minute that came seconds late has missed nothing. What a check
really says counts, not what is pretended of it; `unknown` is no sample.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opsdash.core.drill_marks import open_run
from opsdash.model.status import Status

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.drill import DrillRun
    from opsdash.model.observation import Observation
    from opsdash.model.operation import CheckSpec
    from opsdash.model.world import DrillLive


def first_due(draft: Draft, check: str) -> float:
    """By when the first sample of a check has to be there, in monotonic seconds."""
    spec = draft.operation.checks.get(check)
    every = 0.0 if spec is None else spec.every
    return max(draft.check(check).due, draft.now.mono + every)


def sampled(draft: Draft, seen: Observation) -> None:
    """A check has run: it may be a sample."""
    run = open_run(draft)
    live: DrillLive | None = None if run is None else draft.live("drills", run.id)
    spec = draft.operation.checks.get(seen.check)
    if run is None or live is None or spec is None or seen.check not in live.dues or seen.status is Status.UNKNOWN:
        return
    draft.set_live(
        "drills",
        run.id,
        replace(
            live,
            samples={**live.samples, seen.check: live.samples.get(seen.check, 0) + 1},
            dues={**live.dues, seen.check: max(seen.due, seen.finished)},
            missing=live.missing + _slots(spec, live.dues[seen.check], seen.finished),
        ),
    )


def _slots(spec: CheckSpec, due: float, at: float) -> int:
    """How many results should have come between `due` and `at`, with the time that the last one may take."""
    late = at - due - max(spec.timeout, spec.every)
    return 0 if late <= 0 else 1 + int(late // max(spec.every, 0.1))


def missing(draft: Draft, run: DrillRun, live: DrillLive) -> int:
    """All slots without a sample so far; a check that is no longer in the files is missing by one."""
    found = live.missing
    for check in run.drill.steady:
        spec = draft.operation.checks.get(check)
        if check in live.dues:
            found += 1 if spec is None else _slots(spec, live.dues[check], draft.now.mono)
    return found
