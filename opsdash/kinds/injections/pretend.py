"""Nothing is broken: opsdash takes a check, provider or component for as bad as it is told to.

    inject: {pretend: {target: postmark/api, status: down, detail: "pretended: connection refused"}}

The real check goes on, and what it really says is kept. What is pretended ends by itself at the drill's limit and with
the engine, so nothing has to be undone. Detection, alarms, people and runbooks are tried out; the backup is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from opsdash.kinds.base import ActionResult, Applied, Preflight, StrictOptions
from opsdash.kinds.injecting import Gone, InjectionContext, InjectionKind

if TYPE_CHECKING:
    from collections.abc import Mapping

NOTHING_TOUCHED = "nothing is touched; opsdash pretends"


class Options(StrictOptions):
    status: Literal["down", "degraded", "unknown"] = "down"
    """What opsdash takes it for."""

    detail: str = "pretended by a drill"
    """What is shown as the reason."""


async def preflight(_options: Options, _context: InjectionContext) -> Preflight:
    return Preflight(passed=True, detail=NOTHING_TOUCHED)


async def inject(_options: Options, _context: InjectionContext) -> ActionResult:
    return ActionResult(Applied.APPLIED, NOTHING_TOUCHED)


async def undo(_options: Options, _context: InjectionContext) -> ActionResult:
    return ActionResult(Applied.APPLIED, NOTHING_TOUCHED)


async def verify_undone(_options: Options, _context: InjectionContext) -> Gone:
    return True, NOTHING_TOUCHED


def manual(_raw: Mapping[str, Any]) -> str:
    """What a person does: nothing."""
    return "# nothing to do: it was only pretended"


KIND = InjectionKind(
    name="pretend",
    summary="nothing is broken; opsdash takes a check for down, degraded or unknown",
    options=Options,
    preflight=preflight,
    inject=inject,
    undo=undo,
    verify_undone=verify_undone,
    manual=manual,
    knows_way_back=True,
    expires_on_target=True,
    self_undoing=True,
)
