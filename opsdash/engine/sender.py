"""The sender: one attempt to deliver a message, with a deadline, answered once.

Whatever a notifier does, raise, hang, or refuse to be cancelled, is answered here: once anything may have left, it is
`unknown`; before that it `failed`. Nobody waits for one that hangs: each attempt is a task of its own, and the outbox
tries a channel again only when it has been answered. Secrets are resolved at the last moment, in a thread, and masked
in whatever comes back.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from opsdash.engine import tasks
from opsdash.engine.poller import shown
from opsdash.engine.unusable import RESOLVE_DEADLINE, unusable
from opsdash.errors import KindError
from opsdash.kinds.base import NotifierContext, Told
from opsdash.kinds.offload import in_thread
from opsdash.kinds.registry import notifier_kind
from opsdash.model.inputs import SendDone
from opsdash.model.message import Delivery
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from opsdash.engine.clock import Clock
    from opsdash.kinds.base import NotifierKind
    from opsdash.kinds.resolver import Resolver
    from opsdash.model.channel import Channel
    from opsdash.model.effects import Send
    from opsdash.model.message import Message

log = logging.getLogger(__name__)

DETAIL_LIMIT = 500


class Sender:
    """Sends messages for the core; `put` takes what came of it.

    resolve: fills the secrets into raw options.  ring: rings on every board that is attached, and says how many there
    are.  operation: its title, for whoever receives messages of several.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        put: Callable[[SendDone], None],
        resolver: Resolver,
        workspace: Path,
        resolve: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        mask: Callable[[str], str],
        ring: Callable[[str], int],
        operation: Callable[[], str],
    ) -> None:
        self._clock = clock
        self._put = put
        self._resolver = resolver
        self._workspace = workspace
        self._resolve = resolve
        self._mask = mask
        self._ring = ring
        self._operation = operation
        self._sending = tasks.UnderWay()

    async def idle_within(self, seconds: float) -> bool:
        """Wait until nothing is being sent; False if something still is after `seconds`: it stays in the outbox."""
        return await self._sending.idle_within(seconds)

    async def send(self, effect: Send) -> None:
        """Try once."""
        message = effect.message
        began = self._clock().mono
        with self._sending.carrying_out(message.id):
            told = await self._attempt(effect.channel, message)
            took = self._clock().mono - began
            detail = shown(told.detail, self._mask, DETAIL_LIMIT)
            self._put(SendDone(message.id, told.delivery, detail, took, told.retry_after))

    async def _attempt(self, channel: Channel, message: Message) -> Told:
        try:
            kind = notifier_kind(channel.kind)
            options = await self._options(kind, channel.raw)
        except Exception as error:  # noqa: BLE001 - whatever it was, nothing has been sent, and that has to be answered
            hopeless = isinstance(error, ValidationError | KindError)
            return Told(Delivery.REFUSED if hopeless else Delivery.FAILED, unusable(channel.kind, error))
        sent = False

        def on_sent() -> None:
            nonlocal sent
            sent = True

        context = NotifierContext(
            deadline=channel.timeout,
            workspace=self._workspace,
            resolver=self._resolver,
            wall=self._clock().wall,
            operation=self._operation(),
            on_sent=on_sent,
            ring=self._ring,
        )
        safe = replace(message, title=self._mask(message.title), body=self._mask(message.body))
        attempt = tasks.spawn(_answered(kind, options, safe, context), f"send {message.id}")
        done, _ = await asyncio.wait({attempt}, timeout=channel.timeout)
        if done and not attempt.cancelled():
            found: Told = attempt.result()
        else:
            attempt.cancel()
            found = Told(Delivery.UNKNOWN, f"no answer within {format_duration(channel.timeout)}")
        return found if sent or found.delivery is not Delivery.UNKNOWN else replace(found, delivery=Delivery.FAILED)

    async def _options(self, kind: NotifierKind, raw: Mapping[str, Any]) -> Any:
        text = repr(raw)
        if "${" not in text:
            return kind.options.model_validate(self._resolve(raw))
        async with asyncio.timeout(RESOLVE_DEADLINE):
            return kind.options.model_validate(await in_thread(("secrets", text), lambda: self._resolve(raw)))


async def _answered(kind: NotifierKind, options: Any, message: Message, context: NotifierContext) -> Told:
    """What a notifier says; what it lets fly is `unknown`, which the caller knows to be `failed` where nothing left."""
    try:
        told: object = await kind.send(options, message, context)
    except Exception as error:
        log.exception("the notifier %s failed in a way that it did not foresee", kind.name)
        return Told(Delivery.UNKNOWN, f"{type(error).__name__}: {error}")
    return told if isinstance(told, Told) else Told(Delivery.UNKNOWN, "the notifier did not say what came of it")
