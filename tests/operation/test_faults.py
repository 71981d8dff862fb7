"""Every fault that can be injected is told for what it is, in time, and by nobody whom it does not concern."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from opsdash.demo.catalog import Fault, catalog
from opsdash.model.status import Reason, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opsdash.demo.catalog import ServiceEntry
    from opsdash.model.observation import Observation
    from tests.operation.desk import Desk

pytestmark = pytest.mark.asyncio(loop_scope="package")

Said = tuple[Status, Reason | None]

OK: Said = (Status.OK, None)
CANNOT_BE_TOLD: Said = (Status.UNKNOWN, Reason.EXPECTATION_ERROR)
IS_FALSE: Said = (Status.DOWN, Reason.EXPECTATION)
NO_HTTP: Said = (Status.DOWN, Reason.PROTOCOL)
NO_LIMIT_TOLD: Said = (Status.UNKNOWN, Reason.MISSING)
TOO_LARGE: Said = (Status.UNKNOWN, Reason.TOO_LARGE)


def down(reason: Reason) -> set[Said]:
    return {(Status.DOWN, reason)}


# What a check of each kind may say. "" stands for every kind that is not named.
EXPECTED: Mapping[Fault, Mapping[str, set[Said]]] = {
    Fault.OK: {"": {OK}},
    Fault.DOWN: {"": down(Reason.REFUSED)},
    Fault.HANG: {"": down(Reason.TIMEOUT), "tcp": {OK}},  # a port that is open is open
    Fault.DRIP: {"": down(Reason.TIMEOUT), "tcp": {OK}},
    Fault.RESET: {"": down(Reason.RESET), "tcp": {OK, *down(Reason.RESET)}},  # by which of the two comes first
    Fault.RATE_LIMITED: {"": {OK}, "quota": {(Status.DEGRADED, Reason.RATE_LIMITED)}},
    Fault.ERROR: {"": down(Reason.STATUS), "tcp": {OK}, "smtp": {(Status.DEGRADED, Reason.STATUS)}},
    Fault.WRONG_SCHEMA: {
        "http": {CANNOT_BE_TOLD},
        "contract": down(Reason.SCHEMA_CHANGED),
        "dataset": down(Reason.GARBAGE),
        "": {OK},
    },
    Fault.STALE: {"http": {IS_FALSE}, "dataset": down(Reason.STALE), "contract": {OK}},
    Fault.GARBAGE: {
        "http": {CANNOT_BE_TOLD},
        "quota": {NO_LIMIT_TOLD},
        "smtp": {NO_HTTP},
        "contract": down(Reason.GARBAGE),
        "dataset": down(Reason.GARBAGE),
        "tcp": {OK},
    },
    Fault.EMPTY: {
        "http": {CANNOT_BE_TOLD},
        "quota": {OK},  # it goes by headers
        "smtp": {NO_HTTP},
        "contract": down(Reason.EMPTY),
        "dataset": down(Reason.EMPTY),
        "tcp": {OK},
    },
    Fault.WRONG_CREDENTIALS: {"": down(Reason.AUTH), "tcp": {OK}, "smtp": {OK}},  # neither of them logs in
    Fault.HOSTILE: {
        "http": {CANNOT_BE_TOLD, NO_HTTP},
        "quota": {NO_LIMIT_TOLD, NO_HTTP},
        "contract": {*down(Reason.SCHEMA_CHANGED), NO_HTTP},
        "dataset": {*down(Reason.GARBAGE), NO_HTTP},
        "": {OK},
    },
    Fault.GZIP_BOMB: {"": {TOO_LARGE}, "quota": {OK}, "tcp": {OK}, "smtp": {OK}},
    Fault.ENDLESS: {"": {TOO_LARGE}, "quota": {NO_LIMIT_TOLD}, "tcp": {OK}, "smtp": down(Reason.TOO_LARGE)},
    Fault.DEAF: {"": {OK}},  # nothing is wrong until somebody switches, see test_switching
}

# What a single check says that looks at less, or at more, than others of its kind.
IN_PARTICULAR: Mapping[tuple[str, Fault], set[Said]] = {
    ("social/scheduler", Fault.STALE): {OK},  # it runs; that nothing is posted is seen at the front door
    ("market-data/feed-a/up", Fault.STALE): {OK},
    ("market-data/feed-b/up", Fault.STALE): {OK},
    ("market-data/feed-a/up", Fault.EMPTY): {OK},  # these feeds are up, and have no rows
    ("market-data/feed-b/up", Fault.EMPTY): {OK},
    ("market-data/feed-a/up", Fault.GARBAGE): {OK},
    ("market-data/feed-b/up", Fault.GARBAGE): {OK},
    ("lead-scoring/model", Fault.GARBAGE): {OK},  # it is healthy, and talks nonsense
    ("lead-scoring/score", Fault.GARBAGE): {IS_FALSE},
    ("lead-scoring/score", Fault.HOSTILE): {OK, NO_HTTP},  # texts are poisoned, its number is none
    ("crm/contacts", Fault.HOSTILE): {OK, NO_HTTP},
}


def in_order(service: ServiceEntry) -> list[Fault]:
    """Its faults, those last after which it asks not to be called for a while."""
    return sorted((entry.fault for entry in service.faults), key=lambda fault: fault is Fault.RATE_LIMITED)


def expected(check: str, kind: str, fault: Fault) -> set[Said]:
    by_kind = EXPECTED[fault]
    return IN_PARTICULAR.get((check, fault)) or by_kind[kind if kind in by_kind else ""]


def pairs() -> list[tuple[ServiceEntry, ...]]:
    """All services, two at a time, which saves half of the waiting for those that hang. No two of one component."""
    services = catalog()
    half = len(services) // 2
    return [*zip(services[:half], services[half : 2 * half], strict=True), services[2 * half :]]


@pytest.mark.parametrize("services", pairs(), ids=lambda pair: "-and-".join(service.name for service in pair))
async def test_every_fault_is_told_for_what_it_is(desk: Desk, services: tuple[ServiceEntry, ...]) -> None:
    concerned = [{check.component for check in desk.checks_of(service.variables)} for service in services]
    assert not set.intersection(*concerned) or len(concerned) == 1
    dependents = desk.engine.loaded.operation.dependents
    touched = {each for component in set.union(*concerned) for each in (component, *dependents.get(component, ()))}
    with desk.nobody_else_than(*touched):
        await asyncio.gather(*(each_fault(desk, service) for service in services))


async def each_fault(desk: Desk, service: ServiceEntry) -> None:
    """Inject the faults of a service one after the other, and compare what its checks say."""
    checks = desk.checks_of(service.variables)
    for fault in in_order(service):
        desk.inject(service.name, fault)
        begun = asyncio.get_running_loop().time()
        seen = await asyncio.gather(*(looked_at(desk, check.id) for check in checks))
        took = asyncio.get_running_loop().time() - begun

        for check, observation in zip(checks, seen, strict=True):
            wanted = expected(check.id, check.kind, fault)
            if observation.reason is Reason.TIMEOUT and saying(observation) not in wanted:
                observation = await looked_at(desk, check.id)  # noqa: PLW2901 - it may be the machine that was slow
            assert saying(observation) in wanted, told(fault, observation)
            assert observation.status is Status.OK or observation.detail, told(fault, observation)
        # Each may have found a run of its own under way, and waited for it.
        assert took < 2 * max(check.timeout for check in checks) + 1.0


async def looked_at(desk: Desk, check: str) -> Observation:
    """The first result that was asked for from now on: one that was under way saw the end of the fault before."""
    now = desk.engine.now().mono
    while True:
        seen = await desk.engine.observe(check)
        if seen.requested >= now:
            return seen


def saying(seen: Observation) -> Said:
    return (seen.status, seen.reason)


def told(fault: Fault, seen: Observation) -> str:
    return f"{seen.check} under {fault}: {seen.status}, {seen.reason}, {seen.detail}"


async def test_every_service_is_looked_at_by_some_check(desk: Desk) -> None:
    for service in catalog():
        assert desk.checks_of(service.variables), service.name
