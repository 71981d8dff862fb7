"""A key of a distributed store says who serves: what the kinds `etcd` and `consul` have in common.

A store keeps a version with each value, so a change can be made to depend on nobody having written since we looked.
That is how every change is made here: look, judge what was found, and write on condition that it still holds. The
answer to a write that never came is looked at by whoever asked, not by us: nothing is written twice.

The marker is a second key, written in the same transaction as the value, with the id of the action. It tells our own
write from somebody else's who wanted the same. Two keys of one transaction have one version, so a marker of another
version than the value's is from an earlier time, and says nothing about it.

What cannot be understood is never overwritten: no key, an empty one, bytes that are no text.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Final, Protocol

from pydantic import AfterValidator, Field, model_validator

from opsdash.kinds.base import ActionContext, ActionResult, Applied, Preflight, Reading, StrictOptions
from opsdash.kinds.endpoints import EndpointOptions, ask_all
from opsdash.kinds.failures import FAILURES, RejectedError, explain
from opsdash.kinds.scalars import OneLine, scalar_text
from opsdash.kinds.sending import patience

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Self

LONGEST: Final = 200
"""Characters of a value that can be a name."""
_FOR_HEALTH: Final = 0.4
"""Share of a preflight's time in which the endpoints say how they are; what follows needs one that is well."""


def _key(text: str) -> str:
    if any(character < " " or character == "\x7f" for character in text):
        raise ValueError("the key contains a line break or another control character")
    return text


Key = Annotated[str, Field(min_length=1), AfterValidator(_key)]


class KeyOptions(EndpointOptions):
    """Which key."""

    key: Key
    """The key that says who serves."""
    marker: Key | None = None
    """A second key, which gets the id of the action in the same transaction, so that it is known whose it was."""
    prefix: Annotated[str, AfterValidator(_key)] = ""
    """What both keys begin with, where it is easier to write once. Nothing is put in between."""

    @model_validator(mode="after")
    def _two_keys_are_two(self) -> Self:
        if self.marker == self.key:
            raise ValueError("`marker` and `key` name the same place")
        return self

    @property
    def place(self) -> str:
        """The whole key."""
        return self.prefix + self.key

    @property
    def marker_place(self) -> str | None:
        """The whole key of the marker."""
        return None if self.marker is None else self.prefix + self.marker

    @property
    def places(self) -> tuple[str, ...]:
        """The key, and the marker's where there is one."""
        return (self.place,) if self.marker_place is None else (self.place, self.marker_place)


class ValueOptions(StrictOptions):
    """What to put there."""

    value: OneLine
    """What to put there."""
    replaces: OneLine | None = None
    """The only value that is replaced; whatever else is there stays."""


class WriteOptions(Protocol):
    """Options of a kind's action."""

    @property
    def value(self) -> str | float | bool: ...
    @property
    def replaces(self) -> str | float | bool | None: ...
    @property
    def place(self) -> str: ...
    @property
    def endpoints(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Held:
    """What a store has under the key.

    value: None where there is no such key.  by: the marker, where it was written together with this very value.
    """

    value: bytes | None
    version: str = ""
    by: str | None = None

    def name(self) -> str:
        """The value as a name. Raises ValueError with the end of a sentence that begins with the key."""
        if self.value is None:
            raise ValueError("does not exist")
        try:
            text = self.value.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError("holds no text in UTF-8") from None
        if not text:
            raise ValueError("is empty")
        if len(text) > LONGEST:
            raise ValueError(f"holds {len(text)} characters, which name nobody")
        if text != text.strip() or any(character < " " or character == "\x7f" for character in text):
            raise ValueError(f"holds {text!r}; a name has no line break, and no space around it")
        return text


def marker_text(value: bytes | None) -> str | None:
    """The id that a marker holds; None for what opsdash would not have written."""
    try:
        return Held(value).name()
    except ValueError:
        return None


class Store(Protocol):
    """A store, as its kind knows to speak with it, for one action. `until` is of the loop's clock.

    logs_in: whether it is met with credentials.
    """

    @property
    def logs_in(self) -> bool: ...

    async def check(self, endpoint: str) -> None:
        """Raises one of FAILURES for an endpoint that is of no use."""

    async def look(self, endpoints: tuple[str, ...], until: float) -> Held:
        """What is there now, by the word of a majority. Raises RejectedError, or another of FAILURES."""

    async def swap(self, value: bytes, until: float) -> ActionResult | Held:
        """Write `value` and the marker if nobody has written since we looked; sent once. What is there, if one has."""

    async def rehearse(self, endpoints: tuple[str, ...], until: float) -> None:
        """Ask for a change on a condition that never holds, after a look. Raises as that does."""


async def carry_out(store: Store, options: WriteOptions, context: ActionContext) -> ActionResult:
    """Compare and swap."""
    until = _now() + patience(context)
    context.stage = "look"
    try:
        held = await store.look(options.endpoints, until)
    except RejectedError as error:
        return ActionResult(Applied.REFUSED, f"{error}; nothing was sent")
    except FAILURES as error:
        return ActionResult(Applied.NOT_STARTED, f"{explain(error)[2]}; nothing was sent")
    settled = _settled(held, options, context)
    if settled is not None:
        return settled
    answer = await store.swap(scalar_text(options.value).encode(), until)
    if isinstance(answer, ActionResult):
        return replace(answer, prior=held.name()) if answer.applied is Applied.APPLIED else answer
    return _settled(answer, options, context) or _refused(options, "was written again at this very moment")


def _settled(held: Held, options: WriteOptions, context: ActionContext) -> ActionResult | None:
    """The outcome, where what is there leaves nothing to do, or nothing that may be done."""
    wanted = scalar_text(options.value)
    try:
        name = held.name()
    except ValueError as error:
        return _refused(options, str(error))
    if name == wanted:
        return _already(held, name, options, context)
    for expected in (context.expected, None if options.replaces is None else scalar_text(options.replaces)):
        if expected is not None and name != expected:
            return _refused(options, f"says {name}{_by(held)}, where {expected} was expected")
    if context.expected_version is not None and context.expected_version != held.version:
        seen, now = context.expected_version, held.version
        return _refused(options, f"says {name} as expected, but was written again since (version {now}, not {seen})")
    return None


def _already(held: Held, name: str, options: WriteOptions, context: ActionContext) -> ActionResult:
    """If it was this very action that wrote the value, what was there before is what it was to replace."""
    ours = held.by == context.action_id
    whose = " (by this very action)" if ours else _by(held)
    prior = context.expected if ours else name
    return ActionResult(Applied.APPLIED, f"{options.place} says {name} already{whose}", prior, held.version)


def _refused(options: WriteOptions, why: str) -> ActionResult:
    return ActionResult(Applied.REFUSED, f"{options.place} {why}; it was left as it is")


def _by(held: Held) -> str:
    return "" if held.by is None else f" (by {held.by})"


async def look_up(store: Store, options: KeyOptions, context: ActionContext) -> Reading:
    """What is in force."""
    context.stage = "look"
    try:
        held = await store.look(options.endpoints, _now() + patience(context))
    except FAILURES as error:
        return Reading(value=None, detail=explain(error)[2])
    try:
        return Reading(value=held.name(), version=held.version, by=held.by)
    except ValueError as error:
        return Reading(value=None, detail=f"{options.place} {error}")


async def try_out(store: Store, options: WriteOptions, context: ActionContext) -> Preflight:
    """Everything but the change: members are well, the key is there, and we would be allowed to write both keys."""
    context.stage = "health"
    started, most = _now(), patience(context)
    found = await ask_all(options.endpoints, started + most * _FOR_HEALTH, context, store.check)
    ill = [words for words in found.values() if words]
    well = tuple(endpoint for endpoint, words in found.items() if not words)
    if not well:
        return Preflight(passed=False, detail="; ".join(ill))
    try:
        held = await store.look(well, started + most)
        name = held.name()
        await store.rehearse(well, started + most)
    except RejectedError as error:
        return Preflight(passed=False, detail=str(error), credentials=False)
    except FAILURES as error:
        return Preflight(passed=False, detail=explain(error)[2])
    except ValueError as error:
        return Preflight(passed=False, detail=f"{options.place} {error}")
    members = f"; {len(well)} of {len(found)} endpoints are well ({'; '.join(ill)})" if ill else ""
    detail = f"{options.place} can be written; it says {name}{members}"
    return Preflight(passed=True, detail=detail, credentials=True if store.logs_in else None)


def undo(raw: Mapping[str, Any], prior: str) -> Mapping[str, Any]:
    """Raw options that put `prior` back, if what we wrote is still there."""
    return {**raw, "value": prior, "replaces": raw["value"]}


def _now() -> float:
    return asyncio.get_running_loop().time()
