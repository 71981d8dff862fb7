"""One run of a check's kind under its deadline, wherever that happens: in the engine, in a process of the check's own,
or on the command line.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from opsdash.kinds.base import Sample
from opsdash.model.status import Reason, Status
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.kinds.base import CheckContext, CheckKind, CheckOptions


async def measure(
    kind: CheckKind, options: CheckOptions, context: CheckContext, failed: Callable[[Exception], None] | None = None
) -> Sample:
    """One run of a check within `context.deadline` seconds. Never raises anything but a cancellation.

    failed: is told of an exception that the kind did not foresee.
    """
    try:
        async with asyncio.timeout(context.deadline) as limit:
            return await kind.run(options, context)
    except Exception as error:  # noqa: BLE001 - kinds are extensions: whatever one raises, it says nothing of the target
        if isinstance(error, TimeoutError) and limit.expired():
            return no_answer(context)
        if failed is not None:
            failed(error)
        return probe_error(error)


def no_answer(context: CheckContext) -> Sample:
    """What a run is that has reached its deadline."""
    waiting = f", while waiting for {context.stage.replace('_', ' ')}" if context.stage else ""
    reason = Reason.DNS if context.stage == "dns" else Reason.TIMEOUT
    # What a proxy does before it has heard of the target says nothing of the target.
    status = Status.UNKNOWN if context.stage == "proxy" else Status.DOWN
    return Sample(status, reason, f"no answer within {format_duration(context.deadline)}{waiting}")


def probe_error(error: Exception | str) -> Sample:
    """What is known when a kind failed in a way that it did not foresee: nothing."""
    told = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return Sample(Status.UNKNOWN, Reason.PROBE_ERROR, f"the probe itself failed: {told}")
