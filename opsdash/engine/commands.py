"""The `opsdash` commands that a runbook may hold, carried out by the same audited path as a key."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from opsdash.errors import EngineError
from opsdash.model.inputs import SwitchIntent
from opsdash.model.switch import SwitchKind, SwitchState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opsdash.engine.engine import Engine

NAMED_OPTIONS = frozenset({"--to", "--reason"})
"""Options of the `opsdash` commands that a runbook may hold; both take a value."""


class Commands:
    """Carries out one line at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def carry_out(self, argv: tuple[str, ...], who: str) -> tuple[bool | None, str]:
        """Whether it worked (None: unknown), and what it said. who: on whose behalf."""
        verb, *words = argv
        names, options, wrong = _split_options(words)
        if verb == "check":
            return await self._check(names)
        kinds = {each.value: each for each in SwitchKind}
        if verb not in kinds or not names or wrong:
            return False, f"{shlex.join(argv)} is not possible in a runbook{wrong and f': {wrong}'}"
        target = options.get("--to") or (names[1] if len(names) > 1 else None)
        return await self.switch(kinds[verb], names[0], target, who, options.get("--reason", ""))

    async def switch(
        self, kind: SwitchKind, component: str, target: str | None, who: str, reason: str = ""
    ) -> tuple[bool | None, str]:
        """Plan and carry out a switch whose guards all pass, and wait for its outcome."""
        view = await self._engine.plan(component, kind, target)
        if view["refused"] is not None:
            return False, view["refused"]["reason"]
        intent = SwitchIntent(
            component, SwitchKind(view["kind"]), view["generation"], view["source"], view["target"], reason
        )
        verdict = await self._engine.submit(os.urandom(12).hex(), who, intent)
        if verdict["refused"] is not None:
            return False, verdict["refused"]["reason"]
        try:
            state = await self._engine.wait_for_switch(verdict["subject"])
        except EngineError as error:
            return None, str(error)
        outcomes: Mapping[SwitchState, bool | None] = {
            SwitchState.COMMITTED: True,
            SwitchState.UNKNOWN: None,
            SwitchState.SPLIT: False,
        }
        switch = self._engine.runner.world.get("switches", verdict["subject"])
        detail = f": {switch.detail}" if switch is not None and switch.detail else ""
        return outcomes.get(state, False), f"{state.value}{detail}"

    async def _check(self, names: list[str]) -> tuple[bool | None, str]:
        check = names[0] if names else ""
        if check not in self._engine.loaded.bindings:
            return False, f"there is no check {check!r}"
        try:
            seen = await self._engine.observe(check)
        except EngineError as error:
            return None, str(error)
        verdicts: Mapping[str, bool | None] = {"ok": True, "degraded": True, "unknown": None}
        said = f"{seen.status.value}, {seen.detail}" if seen.detail else seen.status.value
        return verdicts.get(seen.status.value, False), said


def _split_options(words: Sequence[str]) -> tuple[list[str], dict[str, str], str]:
    """Names, options with their values, and what is wrong with them ("" if nothing is)."""
    names: list[str] = []
    options: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        option, equals, value = word.partition("=")
        if not word.startswith("-"):
            names.append(word)
        elif option not in NAMED_OPTIONS:
            return names, options, f"there is no option {option}"
        else:
            options[option] = value if equals else next(rest, "")
    return names, options, next((f"{option} needs a value" for option, value in options.items() if not value), "")
