"""Taking faults back: one try for one fault, and the account of what is left after several.

The guard process does this, and the engine in its place where the guard died.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opsdash.engine.unusable import unusable
from opsdash.errors import OpsdashError
from opsdash.kinds.base import ActionResult, Applied, Preflight
from opsdash.kinds.injecting import InjectionContext
from opsdash.kinds.making import end_all
from opsdash.kinds.registry import injection_kind
from opsdash.model.text import clean, clean_lines
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from opsdash.engine.guardfiles import Arming
    from opsdash.kinds.base import StrictOptions
    from opsdash.kinds.injecting import InjectionKind
    from opsdash.kinds.resolver import Resolver
    from opsdash.model.drill import Injection

DETAIL_LIMIT = 500


class UnusableError(OpsdashError):
    """An injection cannot be used as it is written."""


@dataclass(frozen=True, slots=True)
class Ready:
    """An injection of which all is there that it takes: the kind is loaded, secrets are filled in.

    own_undo: whether its undo was written, and does not just follow from it.
    """

    kind: InjectionKind
    options: StrictOptions
    undo: StrictOptions
    own_undo: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """What one try to take a fault back came to. verified: whether it is gone, None where that cannot be told."""

    applied: Applied
    verified: bool | None
    detail: str

    @property
    def is_over(self) -> bool:
        """Whether another try would be of no use."""
        return self.verified is True or (self.verified is None and self.applied is Applied.APPLIED)


def make_ready(injection: Injection, resolve: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Ready:
    """Load the kind and fill in the secrets; it may read files and run programs. Raises UnusableError."""
    try:
        kind = injection_kind(injection.kind)
        undo = kind.undo_options(injection.raw, injection.undo)
        return Ready(
            kind=kind,
            options=kind.options.model_validate(resolve(injection.raw)),
            undo=kind.options.model_validate(resolve(undo)),
            own_undo=injection.undo is not None,
        )
    except Exception as error:  # noqa: BLE001 - whatever it was: such an injection is not made
        raise UnusableError(f"{injection.kind}: {unusable(injection.kind, error)}") from None


def manual_undo(injection: Injection) -> str:
    """What undoes it by hand, with secrets as references."""
    try:
        kind = injection_kind(injection.kind)
        return kind.manual_command(kind.undo_options(injection.raw, injection.undo))
    except Exception as error:  # noqa: BLE001 - what cannot be told is said so
        return clean_lines(f"# {injection.kind}: {unusable(injection.kind, error)}")


async def preflight(ready: Ready, context: InjectionContext) -> Preflight:
    """Whether it can be injected and undone, and is not there already. Never raises."""
    try:
        async with asyncio.timeout(context.deadline):
            found = await ready.kind.preflight(ready.options, context)
            if found.passed is not False and ready.own_undo:
                undo = await ready.kind.preflight(ready.undo, context)
                return undo if undo.passed is False else found
            return found
    except TimeoutError:
        return Preflight(None, f"no answer within {format_duration(context.deadline)}")
    except Exception as error:  # noqa: BLE001 - a kind's own bug is no reason to break anything
        return Preflight(False, f"{type(error).__name__}: {error}")


async def inject(ready: Ready, context: InjectionContext) -> ActionResult:
    """Make the fault, once. Never raises."""
    sent = False

    def on_sent() -> None:
        nonlocal sent
        sent = True

    context.on_sent = on_sent
    return await _answered(ready.kind.inject(ready.options, context), context, lambda: sent)


async def take_back(ready: Ready, context: InjectionContext) -> Tried:
    """One try: end what is still making it, undo, then look whether it is gone. Never raises."""
    ended = ""
    if context.folder is not None:
        try:
            ended = await end_all(context.folder)
        except Exception as error:  # noqa: BLE001 - as above
            ended = f"whether a program is still making it is not known: {type(error).__name__}: {error}"
    done = await _answered(ready.kind.undo(ready.undo, context), context, lambda: True)
    try:
        async with asyncio.timeout(context.deadline):
            gone, words = await ready.kind.verify_undone(ready.undo, context)
    except TimeoutError:
        gone, words = None, f"no answer to whether it is gone within {format_duration(context.deadline)}"
    except Exception as error:  # noqa: BLE001 - as above
        gone, words = None, f"{type(error).__name__}: {error}"
    return Tried(done.applied, gone, "; ".join(part for part in (ended, done.detail, words) if part))


async def flaws(ready: Ready, context: InjectionContext) -> str:
    """What of a fault turned out not to have come about, "" where nothing is known of that. Never raises."""
    if ready.kind.flaws is None:
        return ""
    try:
        async with asyncio.timeout(context.deadline):
            return await ready.kind.flaws(ready.options, context)
    except Exception as error:  # noqa: BLE001 - whether it is gone is known all the same
        return f"{type(error).__name__}: {error}"


async def _answered(work: Any, context: InjectionContext, sent: Callable[[], bool]) -> ActionResult:
    try:
        async with asyncio.timeout(context.deadline):
            result: ActionResult = await work
            return result
    except TimeoutError:
        words = f"no answer within {format_duration(context.deadline)}"
        return ActionResult(Applied.UNKNOWN if sent() else Applied.NOT_STARTED, words)
    except Exception as error:  # noqa: BLE001 - as above
        return ActionResult(Applied.UNKNOWN, f"{type(error).__name__}: {error}")


def context_for(arming: Arming, folder: Path, resolver: Resolver, wall: float) -> InjectionContext:
    """What a kind is given in a run."""
    return InjectionContext(
        action_id=arming.run,
        deadline=arming.try_deadline,
        workspace=arming.workspace,
        resolver=resolver,
        wall=wall,
        limit=arming.limit,
        folder=folder,
    )


def said(mask: Callable[[str], str], text: str) -> str:
    """What came from outside, as it may be written down."""
    return clean(mask(text), DETAIL_LIMIT)


@dataclass(slots=True)
class Account:
    """Which faults are still to be taken back, in the reverse order in which they were made."""

    kinds: tuple[str, ...]
    left: list[int] = field(init=False)
    results: dict[int, Tried] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.left = list(reversed(range(len(self.kinds))))

    def to_try(self) -> Iterable[int]:
        """Those to try now; one that cannot be taken back does not keep the others waiting."""
        return tuple(self.left)

    def took(self, index: int, tried: Tried) -> None:
        """A try came to this."""
        self.results[index] = tried
        if tried.is_over:
            self.left.remove(index)

    @property
    def verified(self) -> bool | None:
        """Whether all are gone; False as soon as one is known not to be, None where it cannot be told of one."""
        verdicts = [tried.verified for tried in self.results.values()]
        if len(verdicts) < len(self.kinds) or False in verdicts:
            return False
        return None if None in verdicts else True

    @property
    def detail(self) -> str:
        """What the latest tries said."""
        return "; ".join(f"{self.kinds[index]}: {tried.detail}" for index, tried in sorted(self.results.items()))
