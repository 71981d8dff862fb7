"""The executor: carries out actions, reads mechanisms, tries preflights; each with a deadline, each answered once.

What a kind does not answer itself is answered here: once anything may have left, it is `unknown`; before that it was
`not_started`. Secrets are resolved at the last moment, and masked in whatever comes back.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from opsdash.errors import ConfigError, KindError
from opsdash.kinds.base import ActionContext, ActionKind, ActionResult, Applied, Preflight, Reading
from opsdash.kinds.offload import in_thread
from opsdash.kinds.registry import action_kind
from opsdash.model.inputs import ApplyDone, PreflightDone, ReadDone
from opsdash.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from opsdash.engine.clock import Clock
    from opsdash.kinds.resolver import Resolver
    from opsdash.model.effects import Apply, Read
    from opsdash.model.operation import ActionCall

log = logging.getLogger(__name__)

APPLY_DEADLINE = 30.0
READ_DEADLINE = 10.0
PREFLIGHT_DEADLINE = 5.0
DETAIL_LIMIT = 500
VALUE_LIMIT = 200


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
        self._applying: set[str] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    async def idle_within(self, seconds: float) -> bool:
        """Wait until no action is being carried out; False if one still is after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def apply(self, effect: Apply) -> None:
        """Carry out an action, once."""
        self._applying.add(effect.switch)
        self._idle.clear()
        try:
            result = await self._apply(effect)
        finally:
            self._applying.discard(effect.switch)
            if not self._applying:
                self._idle.set()
        self._put(ApplyDone(effect.switch, result.applied.value, self._said(result.detail), result.prior))

    async def _apply(self, effect: Apply) -> ActionResult:
        sent = False

        def on_sent() -> None:
            nonlocal sent
            sent = True

        try:
            kind = action_kind(effect.call.kind)
            raw = self._raw(kind, effect)
            options = kind.options.model_validate(await self._resolved(raw))
            context = self._context(effect.action_id, APPLY_DEADLINE, on_sent)
            context.expected = effect.expected
            context.expected_version = effect.version
            context.environment = {"OPSDASH_FROM": effect.source, "OPSDASH_TO": effect.target}
        except (ConfigError, KindError, ValidationError) as error:
            return ActionResult(Applied.NOT_STARTED, f"its options cannot be used: {error}")
        try:
            async with asyncio.timeout(APPLY_DEADLINE):
                return await kind.apply(options, context)
        except TimeoutError:
            applied = Applied.UNKNOWN if sent else Applied.NOT_STARTED
            return ActionResult(applied, f"no answer within {APPLY_DEADLINE:.0f} s")
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
        value = None if reading.value is None else clean(reading.value, VALUE_LIMIT)
        self._put(
            ReadDone(effect.component, effect.what, value, self._said(reading.detail), reading.version, requested)
        )

    async def read_call(self, call: ActionCall) -> Reading:
        """What a mechanism says is in force."""
        try:
            kind = action_kind(call.kind)
            if kind.read is None or kind.read_options is None:
                return Reading(None, detail=f"{kind.name} cannot read back")
            options = kind.read_options.model_validate(await self._resolved(call.raw))
            async with asyncio.timeout(READ_DEADLINE):
                return await kind.read(options, self._context("read", READ_DEADLINE))
        except TimeoutError:
            return Reading(None, detail=f"no answer within {READ_DEADLINE:.0f} s")
        except (ConfigError, KindError, ValidationError) as error:
            return Reading(None, detail=f"its options cannot be used: {error}")
        except Exception as error:
            log.exception("reading by %s failed in a way that it did not foresee", call.kind)
            return Reading(None, detail=f"{type(error).__name__}: {error}")

    async def preflight(self, key: str, call: ActionCall) -> None:
        """Find out whether an action could be carried out; nothing is changed."""
        try:
            kind = action_kind(call.kind)
            options = kind.options.model_validate(await self._resolved(call.raw))
            async with asyncio.timeout(PREFLIGHT_DEADLINE):
                found = await kind.preflight(options, self._context("preflight", PREFLIGHT_DEADLINE))
        except TimeoutError:
            found = Preflight(None, f"no answer within {PREFLIGHT_DEADLINE:.0f} s")
        except (ConfigError, KindError, ValidationError) as error:
            found = Preflight(False, f"its options cannot be used: {error}")
        except Exception as error:
            log.exception("the preflight of %s failed in a way that it did not foresee", call.kind)
            found = Preflight(None, f"{type(error).__name__}: {error}")
        self._put(PreflightDone(key, found.passed, self._said(found.detail)))

    def manual(self, call: ActionCall | None) -> str:
        """The equivalent command for a person's shell, with secrets as references."""
        if call is None:
            return ""
        try:
            return clean(action_kind(call.kind).manual(call.raw), 4096)
        except (KindError, ConfigError) as error:
            return f"# {error}"

    def _context(self, action_id: str, deadline: float, on_sent: Callable[[], None] = lambda: None) -> ActionContext:
        return ActionContext(
            action_id=action_id,
            deadline=deadline,
            workspace=self._workspace,
            resolver=self._resolver,
            wall=self._clock().wall,
            on_sent=on_sent,
        )

    async def _resolved(self, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """Options with their secrets, which may come from a file or a command and so are read off the loop."""
        return await in_thread("secrets", lambda: self._resolve(raw))

    def _said(self, text: str) -> str:
        return self.mask(clean(text, DETAIL_LIMIT))
