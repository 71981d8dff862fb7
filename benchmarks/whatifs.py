"""What-if over a whole operation: every single loss, and every pair; beside the naive way: all of it for each.

Processor time of this process, in the same run: a ratio says the same on a machine on which others work.
"""

from __future__ import annotations

import gc
import time
from itertools import combinations
from typing import TYPE_CHECKING

from benchmarks.measure import Bar, BenchmarkError, Result, Table, median
from opsdash.core.index import index
from opsdash.core.whatif import WhatIf
from opsdash.core.whatif_pairs import Pairs
from opsdash.model.channel import Alarming, Channel, Route
from opsdash.model.operation import (
    ACTIVE,
    ActionCall,
    CheckSpec,
    Component,
    Detection,
    FailureMode,
    Feature,
    OldOut,
    Operation,
    Person,
    Provider,
    Response,
    ResponseKind,
    ServedBy,
    Signal,
    SwitchSpec,
    Tier,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.scale import Scale

TITLE = "What-if"
SIZES = (20, 200)
FAMILY = 5
"""Components that depend on the same one, that one included."""

PEOPLE = 20
ZONES = 3
SAMPLES = 3
"""Losses that are computed in the naive way as well."""

FASTER_BAR = 100.0
"""All pairs have to be so many times cheaper than the naive way, with the most components."""

SECONDS_BAR = 60.0


def run(scale: Scale) -> Result:
    result = Result("whatif", TITLE)
    figures = [_measured(size, scale) for size in SIZES]
    columns = ("components", "things", "singles", "pairs", "that meet", "all pairs", "naive way, estimated")
    rows = [
        [f"{size:,}", f"{things:,}", f"{singles:.1f} s", f"{pairs:,}", f"{meeting:,}", f"{took:.1f} s", _long(naive)]
        for size, things, singles, pairs, meeting, took, naive in figures
    ]
    result.tables.append(Table("Everything taken away, alone and in pairs", columns, rows))
    size, _, singles, _, _, took, naive = figures[-1]
    ratio = naive / took
    what = f"all pairs of {size} components beside the naive way"
    result.bars.append(Bar(what, f"at least {FASTER_BAR:.0f} times faster", f"{ratio:,.0f} times", ratio >= FASTER_BAR))
    what = f"all singles and pairs of {size} components"
    within = singles + took
    result.bars.append(Bar(what, f"within {SECONDS_BAR:.0f} s", f"{within:.1f} s", within <= SECONDS_BAR))
    result.raw = {"figures": figures}
    result.notes.append(
        "Processor time. Each component has two providers in other zones, a front door, credentials and hosts of "
        f"its own, two owners of {PEOPLE}; {FAMILY} depend on one. The naive way runs all of it for each pair; it is "
        f"estimated from {SAMPLES} pairs, of which each also has to come to the same as the fast way."
    )
    return result


def _long(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 3600:,.1f} h"


def _measured(size: int, scale: Scale) -> tuple[int, int, float, int, int, float, float]:
    """Components, things to take away, seconds for singles, pairs, those that meet, seconds, and the naive way's."""
    whatif = WhatIf(operation(size), 1e9)
    gc.collect()
    gc.disable()
    try:
        singles = _cost(whatif.singles)
        pairs = _cost(whatif.pairs)
        naive = _naive(whatif, scale)
    finally:
        gc.enable()
    things = len(whatif.subjects)
    count = things * (things - 1) // 2
    meeting = len(Pairs(whatif, whatif.reach).connected())
    return size, things, singles, count, meeting, pairs, naive * count


def _cost(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _naive(whatif: WhatIf, scale: Scale) -> float:
    """Seconds for a pair when everything is computed together. Raises BenchmarkError where that ends otherwise."""
    everything = list(combinations(whatif.subjects.values(), 2))
    chosen = everything[:: max(1, len(everything) // scale.times(SAMPLES))]
    whatif.at_once(chosen[0][0])  # the world in which all works is made once, in this way too
    costs = []
    for one, other in chosen:
        both = one.with_also(other)
        began = time.process_time()
        found = whatif.at_once(both)
        costs.append(time.process_time() - began)
        if found != whatif.without(both):
            raise BenchmarkError(f"without {' and '.join(map(str, both.subjects))}: two ways, two answers")
    return median(costs)


# --- an operation ----------------------------------------------------------------------------------------------------


def operation(size: int) -> Operation:
    """An operation of `size` components as described above."""
    found = [_component(number) for number in range(size)]
    routes = (Route(severity=2, to=("owners",)), Route(to=("mail",)))
    return index(
        Operation(
            components={each.id: each for each, _ in found},
            checks={spec.id: spec for _, specs in found for spec in specs},
            people={f"p{number}": Person(f"p{number}", f"P{number}", alarms=("phone",)) for number in range(PEOPLE)},
            alarms=Alarming({name: Channel(name, "file") for name in ("phone", "mail")}, routes),
        )
    )


def _component(number: int) -> tuple[Component, list[CheckSpec]]:
    name = f"c{number:03}"
    door = f"{name}/door"
    front = number - number % FAMILY
    providers = tuple(
        Provider(each, each, each, {"zone": f"zone-{(number + place) % ZONES}"}, (f"{name}/{each}/api",))
        for place, each in enumerate(("one", "two"))
    )
    checks = [CheckSpec(door, name, None, "door", "http", {"url": f"https://door-{number}.example/"})]
    for each in providers:
        raw = {"url": f"https://{each.id}-{number}.example/", "token": f"${{TOKEN_{each.id}_{number}}}"}
        checks.append(CheckSpec(f"{name}/{each.id}/api", name, each.id, "api", "http", raw))
    component = Component(
        name,
        name,
        tier=list(Tier)[number % len(Tier)],
        owners=(f"p{number % PEOPLE}", f"p{(number + 7) % PEOPLE}"),
        depends_on=(f"c{front:03}",) if number != front else (),
        features={"job": Feature("job", "Job", Tier.ESSENTIAL, (door,))},
        runbook="repair",
        providers=providers,
        checks=(door,),
        switch=SwitchSpec(
            action=ActionCall("pointer", {"file": f"/srv/{name}", "value": "{to.as}"}),
            read=ActionCall("pointer", {"file": f"/srv/{name}"}),
            served_by=ServedBy(door, "facts.provider", at="json.at"),
            old_out=OldOut(stateless=True),
            verify=(door,),
        ),
        failures={each.id: each for each in _failures(name)},
        sha256=name,
    )
    return component, checks


def _failures(name: str) -> tuple[FailureMode, ...]:
    api = [Signal(name, provider, "api") for provider in ("one", "two")]
    return (
        FailureMode("none", "None works", Detection(tuple(api), 2), Response(ResponseKind.RUNBOOK), "repair"),
        FailureMode(
            "gone", "It is gone", Detection((Signal(name, ACTIVE, "api"),)), Response(ResponseKind.SWITCH), "repair"
        ),
        FailureMode(
            "stuck", "It is stuck", Detection((Signal(name, None, "door"),)), Response(ResponseKind.RUNBOOK), "repair"
        ),
    )
