"""The tables by which the core finds the neighbours of a component."""

from __future__ import annotations

from opsdash.core.index import index
from opsdash.model.operation import ACTIVE, Component, Detection, FailureMode, Operation, Response, ResponseKind, Signal

RUNBOOK = Response(ResponseKind.RUNBOOK)


def watching(component: str, *signals: Signal, depends_on: tuple[str, ...] = ()) -> Component:
    failure = FailureMode("x", "x", Detection(signals), RUNBOOK)
    return Component(component, component, failures={"x": failure}, depends_on=depends_on)


def test_a_check_is_watched_by_the_components_whose_failure_modes_name_it() -> None:
    operation = index(
        Operation(
            components={
                "a": watching("a", Signal("a", None, "front"), Signal("b", "p", "api")),
                "b": watching("b", Signal("b", "p", "api"), Signal("b", ACTIVE, "api"), depends_on=("a",)),
                "c": watching("c", Signal("b", ACTIVE, "quota"), depends_on=("b", "a")),
                "d": Component("d", "d", failures={"away": FailureMode("away", "", Detection(away=True), RUNBOOK)}),
            }
        )
    )
    assert operation.watchers == {"a/front": ("a",), "b/p/api": ("a", "b"), "b/*": ("b", "c")}
    assert operation.dependents == {"a": ("b", "c"), "b": ("c",)}


def test_indexing_again_changes_nothing() -> None:
    once = index(Operation(components={"a": watching("a", Signal("a", None, "x"))}))
    assert index(once) == once
