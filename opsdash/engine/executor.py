"""The executor: carries out actions, reads mechanisms, tries preflights; each with a deadline, each answered once.

What a kind does not answer itself is answered here: once anything may have left, it is `unknown`; before that it was
`not_started`. Secrets are resolved at the last moment, in a thread since that may read files and run programs, and they
are masked in whatever comes back.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from opsdash.engine.poller import shown
from opsdash.engine.tasks import UnderWay
from opsdash.engine.unusable import RESOLVE_DEADLINE, unusable
from opsdash.errors import KindError
from opsdash.kinds.base import ActionContext, ActionKind, ActionResult, Applied, Preflight, Reading, StrictOptions
from opsdash.kinds.offload import in_thread
from opsdash.kinds.registry import action_kind
from opsdash.model.effects import Apply
from opsdash.model.inputs import ApplyDone, PreflightDone, ReadDone
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from opsdash.engine.clock import Clock
    from opsdash.kinds.resolver import Resolver
    from opsdash.model.effects import Read
    from opsdash.model.operation import ActionCall

log = logging.getLogger(__name__)

APPLY_DEADLINE = 30.0
READ_DEADLINE = 10.0
PREFLIGHT_DEADLINE = 5.0
DETAIL_LIMIT = 500
VALUE_LIMIT = 200
MOST_SERVING = 100


class Executor:
    """Runs actions for the core; `put` takes what came of it. `resolve` fills the secrets into raw options."""

    def __init__(
        self,
        *,
        clock: Clock,
        put: Callable[[ApplyDone | ReadDone | PreflightDone], None],
        resolver: Resolver,
        workspace: Path,
        resolve: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        mask: Callable[[str], str],
    ) -> None:
        self._clock = clock
        self._put = put
        self._resolver = resolver
        self._workspace = workspace
        self._resolve = resolve
        self.mask = mask
        self._applying = UnderWay()

    async def idle_within(self, seconds: float) -> bool:
        """Wait until no action is being carried out; False if one still is after `seconds`."""
        return await self._applying.idle_within(seconds)

    async def apply(self, effect: Apply) -> None:
        """Carry out an action, once."""
        with self._applying.carrying_out(effect.switch):
            result = await self._apply(effect)
            said = self._said(result.detail)
            self._put(ApplyDone(effect.switch, result.applied.value, said, result.prior, effect.action_id))

    async def carry(self, call: ActionCall, action_id: str) -> ActionResult:
        """Carry out an action that belongs to no switch, once; what it says is masked."""
        result = await self._apply(Apply(action_id, "", call, action_id, None, "", ""))
        return replace(result, detail=self._said(result.detail))

    async def _apply(self, effect: Apply) -> ActionResult:
        sent = False

        def on_sent() -> None:
            nonlocal sent
            sent = True

        try:
            kind = action_kind(effect.call.kind)
            options = await self._options(kind.options, self._raw(kind, effect))
            deadline = effect.call.timeout or APPLY_DEADLINE
            context = self._context(effect.action_id, deadline, on_sent)
            context.expected = effect.expected
            context.expected_version = effect.version
            context.environment = {"OPSDASH_FROM": effect.source, "OPSDASH_TO": effect.target}
        except Exception as error:  # noqa: BLE001 - whatever it was, nothing has been sent, and that has to be answered
            return ActionResult(Applied.NOT_STARTED, unusable(effect.call.kind, error))
        try:
            async with asyncio.timeout(deadline):
                return await kind.apply(options, context)
        except TimeoutError:
            applied = Applied.UNKNOWN if sent else Applied.NOT_STARTED
            return ActionResult(applied, f"no answer within {format_duration(deadline)}")
        except Exception as error:
            log.exception("action %s of %s failed in a way that it did not foresee", effect.call.kind, effect.switch)
            return ActionResult(Applied.UNKNOWN, f"{type(error).__name__}: {error}")

    @staticmethod
    def _raw(kind: ActionKind, effect: Apply) -> Mapping[str, Any]:
        if effect.prior is None:
            return effect.call.raw
        if kind.undo is None:
            raise KindError(f"{kind.name} cannot put back what was there before; declare `leave`")
        return kind.undo(effect.call.raw, effect.prior)

    async def read(self, effect: Read) -> None:
        """Ask a mechanism what is in force."""
        if effect.after:
            await asyncio.sleep(effect.after)
        requested = self._clock().mono
        reading = await self.read_call(effect.call)
        value = None if reading.value is None else self._named(reading.value)
        detail, by = self._said(reading.detail), None if reading.by is None else self._named(reading.by)
        serving = (
            None if reading.serving is None else tuple(self._named(each) for each in reading.serving[:MOST_SERVING])
        )
        self._put(
            ReadDone(effect.component, effect.what, value, detail, reading.version, requested, serving=serving, by=by)
        )

    def _named(self, name: str) -> str:
        return shown(name, self.mask, VALUE_LIMIT)

    async def read_call(self, call: ActionCall) -> Reading:
        """What a mechanism says is in force."""
        try:
            kind = action_kind(call.kind)
            if kind.read is None or kind.read_options is None:
                return Reading(None, detail=f"{kind.name} cannot read back")
            options = await self._options(kind.read_options, call.raw)
        except Exception as error:  # noqa: BLE001 - whatever it was has to be answered
            return Reading(None, detail=unusable(call.kind, error))
        deadline = call.timeout or READ_DEADLINE
        try:
            async with asyncio.timeout(deadline):
                return await kind.read(options, self._context("read", deadline))
        except TimeoutError:
            return Reading(None, detail=f"no answer within {format_duration(deadline)}")
        except Exception as error:
            log.exception("reading by %s failed in a way that it did not foresee", call.kind)
            return Reading(None, detail=f"{type(error).__name__}: {error}")

    async def preflight(self, key: str, call: ActionCall, expected: str | None = None) -> None:
        """Find out whether an action could be carried out; nothing is changed. expected: as in `Apply`."""
        found = await self._preflight(call, expected)
        self._put(PreflightDone(key, found.passed, self._said(found.detail), found.credentials))

    async def _preflight(self, call: ActionCall, expected: str | None) -> Preflight:
        try:
            kind = action_kind(call.kind)
            options = await self._options(kind.options, call.raw)
        except Exception as error:  # noqa: BLE001 - whatever it was has to be answered
            return Preflight(False, unusable(call.kind, error))
        try:
            context = self._context("preflight", PREFLIGHT_DEADLINE)
            context.expected = expected
            async with asyncio.timeout(PREFLIGHT_DEADLINE):
                return await kind.preflight(options, context)
        except TimeoutError:
            return Preflight(None, f"no answer within {PREFLIGHT_DEADLINE:.0f} s")
        except Exception as error:
            log.exception("the preflight of %s failed in a way that it did not foresee", call.kind)
            return Preflight(None, f"{type(error).__name__}: {error}")

    def manual(self, call: ActionCall | None, prior: str | None = None) -> str:
        """The equivalent command for a person's shell, with secrets as references; `prior`: to put that back."""
        return manual(call, prior)

    async def _options(self, kind: type[StrictOptions], raw: Mapping[str, Any]) -> StrictOptions:
        text = repr(raw)
        if "${" not in text:
            return kind.model_validate(self._resolve(raw))
        async with asyncio.timeout(RESOLVE_DEADLINE):
            return kind.model_validate(await in_thread(("secrets", text), lambda: self._resolve(raw)))

    def _context(self, action_id: str, deadline: float, on_sent: Callable[[], None] = lambda: None) -> ActionContext:
        return ActionContext(
            action_id=action_id,
            deadline=deadline,
            workspace=self._workspace,
            resolver=self._resolver,
            wall=self._clock().wall,
            on_sent=on_sent,
        )

    def _said(self, text: str) -> str:
        return shown(text, self.mask, DETAIL_LIMIT)


def manual(call: ActionCall | None, prior: str | None = None) -> str:
    """The equivalent command for a person's shell, with secrets as references; `prior`: to put that back."""
    if call is None:
        return ""
    try:
        kind = action_kind(call.kind)
        raw = call.raw if prior is None or kind.undo is None else kind.undo(call.raw, prior)
        return kind.manual_command(raw)
    except Exception as error:  # noqa: BLE001 - a plan without its manual command is still a plan
        return f"# {unusable(call.kind, error)}"
