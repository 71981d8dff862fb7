"""What-if in an engine: computed in a thread that stands back, since checks come first; the ranking is remembered until
the files change.

It begins with a world in which all works, so what is asked is answered by the files alone, and nobody's world is read
from another thread.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from opsdash.core.whatif import WhatIf
from opsdash.core.whatif_subjects import find
from opsdash.core.whatif_views import whatif_line, whatif_view
from opsdash.engine.threads import Worker
from opsdash.model.switch import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opsdash.config.loader import Loaded
    from opsdash.model.whatif_views import WhatIfLine, WhatIfView

STAND_BACK: Final = 0.002
"""Seconds in which others run between two losses."""

FRESH: Final = 3600.0
"""Seconds for which an answer stands: people go away and come back by the files' own dates."""

MOST: Final = 20
"""How many things may be taken away at once."""


class WhatIfs:
    """Answers what-ifs about the files of an engine. now: seconds since 1970 UTC."""

    def __init__(self, loaded: Callable[[], Loaded], now: Callable[[], float]) -> None:
        self._loaded = loaded
        self._now = now
        self._worker: Worker | None = None
        self._known: tuple[str, float, list[WhatIfLine]] | None = None

    async def ranking(self) -> list[WhatIfLine]:
        """Every single loss, the worst first."""
        return await self._thread().call(self._ranked, self._loaded(), self._now())

    async def without(self, names: Sequence[str]) -> WhatIfView | Refused:
        """What comes of a loss; refused where nothing is called so."""
        if len(names) > MOST:
            return Refused("too_many", f"{len(names)} things are taken away at once; {MOST} are the most")
        return await self._thread().call(_view, self._loaded(), self._now(), names)

    def close(self) -> None:
        """Wait for nothing: whoever asked has gone."""
        if self._worker is not None:
            self._worker.dismiss()

    def _thread(self) -> Worker:
        if self._worker is None:
            self._worker = Worker("what-if")
        return self._worker

    # --- in the thread -----------------------------------------------------------------------------------------

    def _ranked(self, loaded: Loaded, now: float) -> list[WhatIfLine]:
        known = self._known
        if known is None or known[0] != loaded.digest or not 0.0 <= now - known[1] < FRESH:
            never = threading.Event()
            results = _whatif(loaded, now).singles(lambda: never.wait(STAND_BACK))
            known = self._known = (loaded.digest, now, [whatif_line(each) for each in results])
        return known[2]


def _view(loaded: Loaded, now: float, names: Sequence[str]) -> WhatIfView | Refused:
    whatif = _whatif(loaded, now)
    loss = find(whatif.subjects, names)
    return loss if isinstance(loss, Refused) else whatif_view(whatif.without(loss))


def _whatif(loaded: Loaded, now: float) -> WhatIf:
    """Made anew for each question: its trials hold worlds, of which none has to stay."""
    return WhatIf(loaded.operation, now, filled=loaded.with_settings)
