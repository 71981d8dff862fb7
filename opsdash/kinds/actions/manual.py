"""A person does it, and opsdash verifies: for what no interface reaches.

    action: {kind: manual, instructions: "In the vendor's console: Routing, then {to.as}, then Save.", within: 15m}

opsdash shows the instructions and takes the person's "go" for the action: from then on the world may change, so
the outcome is judged by the facts alone, for as long as `within`. What nobody did shows as no effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from opsdash.kinds.base import (
    ActionContext,
    ActionKind,
    ActionResult,
    Applied,
    Preflight,
    StrictOptions,
)
from opsdash.kinds.fields import Duration
from opsdash.model.operation import Abilities
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping


class Options(StrictOptions):
    instructions: str = Field(min_length=1)
    """What the person has to do, in a sentence or a few lines."""

    within: Duration = 600.0
    """How long the person may take; the facts are looked at all that time."""


async def apply(options: Options, context: ActionContext) -> ActionResult:
    context.stage = "person"
    context.on_sent()
    within = format_duration(options.within)
    return ActionResult(applied=Applied.APPLIED, detail=f"waiting for a person, {within}: {options.instructions}")


async def preflight(options: Options, _context: ActionContext) -> Preflight:
    return Preflight(passed=True, detail=f"a person carries it out within {format_duration(options.within)}")


def refine(options: Options) -> Abilities:
    return Abilities(idempotent=True, settle=options.within)


def manual(raw: Mapping[str, Any]) -> str:
    """The instructions, as lines that a shell takes for comments."""
    return "\n".join(f"# {line}" for line in str(raw["instructions"]).splitlines())


KIND = ActionKind(
    name="manual",
    summary="a person does it; opsdash verifies",
    options=Options,
    abilities=Abilities(idempotent=True, settle=600.0),
    apply=apply,
    preflight=preflight,
    manual=manual,
    refine=refine,
)
