"""The verdict on a drill: rules in order, of which the first that has something to say decides.

A fault of which nobody knows that it is gone, and a component that is not as it was, fail any drill. Missing samples
are never passed: where nobody was looking nothing was shown. Only then does it count what was expected: what has not
come true fails the drill, what came too late makes it late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsdash.model.drill import INJECTS, DrillState, Level, Verdict
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.model.drill import DrillRun


@dataclass(frozen=True, slots=True)
class Expectation:
    """One thing that a drill may expect.

    wanted: whether this one does.  came: whether it has come true.  took, allowed: seconds, None where that is not
    measured or not limited.  never, late: what is said where it has not come, or came too late.
    """

    wanted: Callable[[DrillRun], bool]
    came: Callable[[DrillRun], bool]
    took: Callable[[DrillRun], float | None]
    allowed: Callable[[DrillRun], float | None]
    never: str
    late: str


def _span(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(0.0, end - start)


def wants_recovery(run: DrillRun) -> bool:
    """Whether service has to be verified again for the drill to pass."""
    return run.drill.level is not Level.TABLETOP and (run.goal is not None or run.drill.expect.recover is not None)


def _load_carried(run: DrillRun) -> bool:
    wanted = run.drill.expect.load
    return wanted is None or (run.load_at is not None and run.load[1] <= wanted.failures)


EXPECTATIONS: dict[str, Expectation] = {
    "detect": Expectation(
        lambda run: run.drill.level in INJECTS,
        lambda run: run.times.opened is not None,
        lambda run: _span(run.times.injected, run.times.opened),
        lambda run: run.drill.expect.detect,
        "it was not detected: no incident was opened",
        "it was detected",
    ),
    "acknowledge": Expectation(
        lambda run: run.drill.expect.acknowledge is not None,
        lambda run: run.times.acknowledged is not None,
        lambda run: _span(run.times.opened, run.times.acknowledged),
        lambda run: run.drill.expect.acknowledge,
        "nobody acknowledged the incident",
        "it was acknowledged",
    ),
    "recover": Expectation(
        wants_recovery,
        lambda run: run.times.verified is not None,
        lambda run: _span(run.times.injected, run.times.verified),
        lambda run: run.rto if run.drill.expect.recover is None else run.drill.expect.recover,
        "users were not verified to be served again",
        "service was verified",
    ),
    "mode": Expectation(
        lambda run: run.drill.expect.mode is not None,
        lambda run: run.mode_at is not None,
        lambda run: _span(run.times.injected, run.mode_at),
        lambda _run: None,
        "the degraded mode was not seen to serve",
        "the degraded mode served",
    ),
    "alarm": Expectation(
        lambda run: run.drill.expect.alarm,
        lambda run: run.alarmed_at is not None,
        lambda run: _span(run.times.injected, run.alarmed_at),
        lambda _run: None,
        "no message about it was delivered",
        "a message was delivered",
    ),
    "runbook": Expectation(
        lambda run: run.drill.expect.runbook or (run.drill.level is Level.TABLETOP and run.drill.runbook is not None),
        lambda run: run.runbook_at is not None,
        lambda run: _span(run.times.injected, run.runbook_at),
        lambda run: run.drill.expect.recover if run.drill.level is Level.TABLETOP else None,
        "its runbook was not gone through to the end, each step marked",
        "its runbook was gone through",
    ),
    "load": Expectation(
        lambda run: run.drill.expect.load is not None,
        _load_carried,
        lambda _run: None,
        lambda _run: None,
        "the declared load was not carried",
        "the declared load was carried",
    ),
}
"""What a drill can expect, by name."""


def awaited(run: DrillRun) -> list[str]:
    """The names of what a run expects and that has not come true yet."""
    return [name for name, each in EXPECTATIONS.items() if each.wanted(run) and not each.came(run)]


# --- rules ---------------------------------------------------------------------------------------------------------


def _never_begun(run: DrillRun) -> list[str]:
    if run.times.injected is not None:
        return []
    return [f"nothing was broken: {run.stopped or 'it was not begun'}"]


def _not_undone(run: DrillRun) -> list[str]:
    if not run.faulty or run.undone:
        return []
    said = "the fault was found not to be gone" if run.undone is False else "nobody has verified that the fault is gone"
    return [said]


def _not_recovered(run: DrillRun) -> list[str]:
    if run.real or run.recovered is not False:
        return []
    return [f"{run.component} was not back to what it was before when the drill ended"]


def _affected(run: DrillRun) -> list[str]:
    return [f"{component} was to stay as it was, and changed" for component in run.affected]


def _gone_wrong(run: DrillRun) -> list[str]:
    return list(run.failed) if run.stopped_as in (None, Verdict.FAILED) else []


def _stopped(verdict: Verdict) -> Callable[[DrillRun], list[str]]:
    return lambda run: [run.stopped] if run.stopped_as is verdict else []


def _missing(run: DrillRun) -> list[str]:
    found = []
    if run.missing:
        found.append(f"{run.missing} of {run.samples + run.missing} results of the steady checks are missing")
    load = run.drill.expect.load
    if load is not None and run.load_at is not None and run.load[0] < load.times:
        found.append(f"the load ran {run.load[0]} times only, of {load.times}")
    return found


def _unmet(run: DrillRun) -> list[str]:
    return [EXPECTATIONS[name].never for name in awaited(run)]


def _late(run: DrillRun) -> list[str]:
    found = []
    for each in EXPECTATIONS.values():
        took, allowed = each.took(run), each.allowed(run)
        if each.wanted(run) and took is not None and allowed is not None and took > allowed:
            found.append(f"{each.late} after {format_duration(took)}; {format_duration(allowed)} are allowed")
    return found


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the verdict: what it asks, the verdict, and what it has to say of a run (nothing: the next one)."""

    asks: str
    verdict: Verdict
    says: Callable[[DrillRun], list[str]]


RULES: tuple[Rule, ...] = (
    Rule("a fault was made, and is not verified to be gone", Verdict.FAILED, _not_undone),
    Rule("nothing was broken or switched", Verdict.ABORTED, _never_begun),
    Rule("the component is not what it was before", Verdict.FAILED, _not_recovered),
    Rule("a component that was to stay as it was has changed", Verdict.FAILED, _affected),
    Rule("the response went wrong", Verdict.FAILED, _gone_wrong),
    Rule("something really failed", Verdict.INTERRUPTED, _stopped(Verdict.INTERRUPTED)),
    Rule(
        "it was stopped by a person, a stop condition or the engine's end", Verdict.ABORTED, _stopped(Verdict.ABORTED)
    ),
    Rule("results are missing", Verdict.INCONCLUSIVE, _missing),
    Rule("something that was expected did not come", Verdict.FAILED, _unmet),
    Rule("something came too late", Verdict.LATE, _late),
)
"""The first that says something decides; a run of which none does has passed."""

PASSED = "everything that was expected came true in time"


def verdict(run: DrillRun) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict on a run that has come to its end, and what it rests on."""
    if run.state is not DrillState.ENDED:
        raise ValueError(f"{run.id} is {run.state.value}, it has not ended")
    for rule in RULES:
        why = rule.says(run)
        if why:
            return rule.verdict, tuple(why)
    return Verdict.PASSED, (PASSED,)
