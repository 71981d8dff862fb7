"""What readiness costs for an operation of many components, and that it grows with the files, not with their pairs.

The peer is the same question about shared hosts asked naively: every component compared with every other one. Both have
to find the same, else nothing was measured.
"""

from __future__ import annotations

import time
from itertools import combinations
from typing import TYPE_CHECKING

from benchmarks.measure import Bar, BenchmarkError, Result, Table, median
from opsdash.core.draft import Draft
from opsdash.core.gaps_around import hidden_coupling
from opsdash.core.index import index
from opsdash.core.readiness import readiness
from opsdash.core.readiness_look import Look
from opsdash.model.now import Now
from opsdash.model.operation import CheckSpec, Component, Detection, FailureMode, Operation, Response, ResponseKind
from opsdash.model.readiness import Facts
from opsdash.model.world import Live, World

if TYPE_CHECKING:
    from benchmarks.scale import Scale

TITLE = "Readiness of a large operation"
SIZES = (200, 1_000, 2_000)
FAILURES = 5
ON_ONE_HOST = 4
"""So many components share each host."""

GROWS_BAR = 2.0
"""A component of the largest operation may cost so many times one of the smallest: caches get colder."""

NOW = Now(1e9, 1e3, 1e3)


def _operation(size: int) -> Operation:
    """Components in chains of ten, of which each looks at a host of its own and at one that others look at, too."""
    names = [f"c{number}" for number in range(size)]
    checks = {}
    components = {}
    for number, name in enumerate(names):
        hosts = (f"{name}.own{number}.example", f"shared{number // ON_ONE_HOST}.farm{number // ON_ONE_HOST}.example")
        own = tuple(f"{name}/check{each}" for each in range(len(hosts)))
        for check, host in zip(own, hosts, strict=True):
            checks[check] = CheckSpec(check, name, None, check.partition("/")[2], "http", {"url": f"https://{host}/"})
        failures = {
            f"f{each}": FailureMode(f"f{each}", f"f{each}", Detection(), Response(ResponseKind.RUNBOOK))
            for each in range(FAILURES)
        }
        parents = (names[number - 1],) if number % 10 else ()
        components[name] = Component(name, name, checks=own, failures=failures, depends_on=parents)
    return index(Operation(components=components, checks=checks))


def run(scale: Scale) -> Result:
    result = Result("readiness", TITLE)
    figures = {size: _measured(size, scale) for size in SIZES}
    columns = ("components", "failure modes", "all rules", "for each component", "shared hosts", "the same by pairs")
    rows = [
        [
            f"{size:,}",
            f"{size * FAILURES:,}",
            f"{whole * 1000.0:.0f} ms",
            f"{whole / size * 1000000.0:.0f} µs",
            f"{shared * 1000.0:.0f} ms",
            f"{pairs * 1000.0:.0f} ms",
        ]
        for size, (whole, shared, pairs) in figures.items()
    ]
    result.tables.append(Table("", columns, rows))
    each = {size: figures[size][0] / size for size in SIZES}
    grows = each[SIZES[-1]] / each[SIZES[0]]
    what = f"cost of a component in an operation of {SIZES[-1]:,} instead of {SIZES[0]:,}"
    result.bars.append(Bar(what, f"at most {GROWS_BAR} times", f"{grows:.2f} times", grows <= GROWS_BAR))
    _, shared, pairs = figures[SIZES[-1]]
    bar = Bar("shared hosts, compared with every pair", "less", f"{pairs / shared:.1f} times less", shared < pairs)
    result.bars.append(bar)
    result.raw = {"seconds": figures}
    result.notes.append(
        "Processor time. An engine reckons it in a thread, from a copy, standing back after every few components; here "
        "it is reckoned in one go. By pairs: each component's hosts are compared with every other one's, and what "
        "depends on each other is left out, as the rule `hidden-coupling` does it."
    )
    return result


def _measured(size: int, scale: Scale) -> tuple[float, float, float]:
    """Processor seconds for all rules, for shared hosts alone, and for shared hosts by pairs."""
    operation = _operation(size)
    wholes, shares, pairs = [], [], []
    for _ in range(scale.times(3)):
        draft = Draft(World(operation), Live(), NOW)
        began = time.process_time()
        readiness(draft, Facts())
        wholes.append(time.process_time() - began)
        look = Look(draft, Facts())
        for component in operation.components.values():
            look.ground(component)
        began = time.process_time()
        found = {gap.subject for each in operation.components.values() for gap in hidden_coupling(look, each)}
        shares.append(time.process_time() - began)
        began = time.process_time()
        by_pairs = _by_pairs(look)
        pairs.append(time.process_time() - began)
        if by_pairs != found or not found:
            raise BenchmarkError("comparing all pairs does not find the same shared hosts")
    return median(wholes), median(shares), median(pairs)


def _by_pairs(look: Look) -> set[str]:
    """Hosts that are shared by components which have nothing to do with each other: every pair is looked at."""
    found: set[str] = set()
    for one, other in combinations(look.operation.components.values(), 2):
        shared = look.ground(one).hosts & look.ground(other).hosts
        apart = one.id not in look.ancestors(other.id) and other.id not in look.ancestors(one.id)
        if apart:
            found |= shared
    return found
