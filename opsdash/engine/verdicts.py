"""Verdicts on what people want, remembered for a while: a request that is repeated is answered, not done again.

What was refused is forgotten: it has changed nothing, and may be possible the next time.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from opsdash.core.switch_views import refused_view

if TYPE_CHECKING:
    from opsdash.model.effects import Answer
    from opsdash.model.switch import Refused
    from opsdash.model.views import Verdict

REMEMBERED = 1000
"""Verdicts that are remembered; one that is still to come is not forgotten."""


class Verdicts:
    """Those that were given, and those that are to come, by the key of the request."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, asyncio.Future[Verdict]] = OrderedDict()

    def get(self, key: str) -> asyncio.Future[Verdict] | None:
        """What a request with this key came to, or will."""
        return self._known.get(key)

    def expect(self, key: str) -> asyncio.Future[Verdict]:
        """There is going to be a verdict on a new request."""
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._known[key] = future
        while len(self._known) > REMEMBERED and next(iter(self._known.values())).done():
            self._known.popitem(last=False)
        return future

    def give(self, answer: Answer) -> None:
        """The core has answered."""
        future = self._known.get(answer.id)
        if future is not None and not future.done():
            future.set_result(
                {
                    "id": answer.id,
                    "accepted": answer.refused is None,
                    "refused": refused_view(answer.refused),
                    "subject": answer.subject,
                }
            )
            if answer.refused is not None:
                del self._known[answer.id]


def refusal(key: str, why: Refused) -> Verdict:
    """The verdict on what is not even begun."""
    return {"id": key, "accepted": False, "refused": refused_view(why), "subject": ""}
