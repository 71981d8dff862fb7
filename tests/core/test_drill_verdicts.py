"""The verdict: rules in order, and nothing passes by what nobody saw."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.core.drill_verdicts import EXPECTATIONS, PASSED, RULES, verdict
from opsdash.model.drill import DrillRun, DrillState, DrillTimes, Expect, Goal, Level, Load, Verdict
from opsdash.testing_drills import drill

V = Verdict
TIMES = DrillTimes(
    injected=0.0, opened=10.0, acknowledged=30.0, switched=40.0, verified=50.0, undone=60.0, restored=70.0
)
LOAD = Load("http", {}, times=10, over=1.0)


def ended(**changes: Any) -> DrillRun:
    """A run in which all went well."""
    expect = changes.pop("expect", Expect(detect=60.0, acknowledge=60.0, recover=60.0, load=LOAD))
    run = DrillRun(
        "DRILL-1", drill(expect=expect), DrillState.ENDED, "maria", 0.0, times=TIMES, samples=100, load=(10, 0),
        load_at=55.0, faulty=True, undone=True, recovered=True, goal=Goal("email"),
    )  # fmt: skip
    return replace(run, **changes)


def times(**changes: Any) -> DrillTimes:
    return replace(TIMES, **changes)


CASES: list[tuple[dict[str, Any], Verdict, str]] = [
    ({}, V.PASSED, PASSED),
    ({"undone": None}, V.FAILED, "nobody has verified"),
    ({"undone": False}, V.FAILED, "not to be gone"),
    ({"undone": None, "faulty": False}, V.PASSED, PASSED),
    ({"times": DrillTimes(), "faulty": False, "stopped": "no guard"}, V.ABORTED, "nothing was broken: no guard"),
    ({"recovered": False}, V.FAILED, "not back to what it was"),
    ({"recovered": False, "stopped_as": V.ABORTED, "stopped": "x"}, V.FAILED, "not back"),
    ({"recovered": None, "real": True, "stopped_as": V.INTERRUPTED, "stopped": "it fails"}, V.INTERRUPTED, "it fails"),
    ({"affected": ("crm",)}, V.FAILED, "crm was to stay as it was"),
    ({"affected": ("crm",), "stopped_as": V.INTERRUPTED, "stopped": "x"}, V.FAILED, "crm"),
    ({"failed": ("it went down",)}, V.FAILED, "it went down"),
    ({"stopped_as": V.INTERRUPTED, "stopped": "INC-2 was opened"}, V.INTERRUPTED, "INC-2"),
    ({"stopped_as": V.ABORTED, "stopped": "by maria"}, V.ABORTED, "by maria"),
    ({"stopped_as": V.ABORTED, "stopped": "by maria", "missing": 3}, V.ABORTED, "by maria"),
    ({"missing": 1}, V.INCONCLUSIVE, "1 of 101 results"),
    ({"load": (9, 0)}, V.INCONCLUSIVE, "9 times only, of 10"),
    ({"missing": 1, "times": times(opened=None)}, V.INCONCLUSIVE, "missing"),
    ({"times": times(opened=None)}, V.FAILED, "not detected"),
    ({"times": times(acknowledged=None)}, V.FAILED, "nobody acknowledged"),
    ({"times": times(verified=None)}, V.FAILED, "not verified to be served"),
    ({"load": (10, 1)}, V.FAILED, "load was not carried"),
    ({"load_at": None}, V.FAILED, "load was not carried"),
    ({"times": times(opened=61.0, acknowledged=62.0)}, V.LATE, "detected after"),
    ({"times": times(verified=61.0)}, V.LATE, "service was verified after"),
    ({"times": times(acknowledged=80.0)}, V.LATE, "acknowledged after"),
    ({"expect": Expect(), "rto": 20.0}, V.LATE, "service was verified after"),
    ({"expect": Expect(recover=60.0), "rto": 20.0}, V.PASSED, PASSED),
    ({"expect": Expect(mode="x")}, V.FAILED, "degraded mode"),
    ({"expect": Expect(alarm=True)}, V.FAILED, "no message"),
    ({"expect": Expect(runbook=True)}, V.FAILED, "runbook"),
    ({"expect": Expect(alarm=True, runbook=True), "alarmed_at": 1.0, "runbook_at": 2.0}, V.PASSED, PASSED),
]


@pytest.mark.parametrize(("changes", "expected", "words"), CASES)
def test_the_first_rule_that_says_something_decides(changes: dict[str, Any], expected: Verdict, words: str) -> None:
    found, why = verdict(ended(**changes))
    assert found is expected, why
    assert any(words in each for each in why), why


def test_every_rule_decides_in_some_case() -> None:
    deciding = {
        next(rule.asks for rule in RULES if rule.says(ended(**changes)))
        for changes, found, _ in CASES
        if found is not V.PASSED
    }
    assert deciding == {rule.asks for rule in RULES}


def test_a_run_that_has_not_ended_has_no_verdict() -> None:
    with pytest.raises(ValueError, match="has not ended"):
        verdict(replace(ended(), state=DrillState.RUNNING))


def test_at_a_table_only_the_runbook_counts() -> None:
    each = replace(ended(), drill=drill(level=Level.TABLETOP, runbook="email-down"), goal=None, faulty=False)
    assert verdict(each)[0] is V.FAILED
    assert verdict(replace(each, runbook_at=1.0))[0] is V.PASSED


MAYBE = st.one_of(st.none(), st.floats(0.0, 1000.0))


@given(
    undone=st.sampled_from([True, False, None]),
    recovered=st.sampled_from([True, False, None]),
    missing=st.integers(0, 3),
    affected=st.sampled_from([(), ("crm",)]),
    stopped_as=st.sampled_from([None, V.ABORTED, V.INTERRUPTED]),
    moments=st.tuples(MAYBE, MAYBE, MAYBE),
    load=st.tuples(st.integers(0, 12), st.integers(0, 2)),
)
def test_nothing_passes_that_was_not_undone_recovered_and_fully_seen(
    *, undone: bool | None, recovered: bool | None, missing: int, affected: tuple[str, ...],
    stopped_as: Verdict | None, moments: tuple[float | None, float | None, float | None], load: tuple[int, int],
) -> None:  # fmt: skip
    opened, acknowledged, verified = moments
    run = ended(
        undone=undone, recovered=recovered, missing=missing, affected=affected, stopped_as=stopped_as,
        stopped="" if stopped_as is None else "so", load=load,
        times=times(opened=opened, acknowledged=acknowledged, verified=verified),
    )  # fmt: skip
    found, why = verdict(run)
    assert why
    if found in (V.PASSED, V.LATE):
        assert undone
        assert recovered is not False
        assert missing == 0
        assert not affected
        assert stopped_as is None
        assert None not in moments
        assert load[0] >= LOAD.times
        assert all(each.came(run) for each in EXPECTATIONS.values() if each.wanted(run))
