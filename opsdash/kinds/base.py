"""What a kind is: one file that teaches opsdash one more way to check, or to act.

`kinds/checks/http.py` implements `kind: http` of a check, `kinds/actions/http.py` that of an action. A check kind's
module holds, in this order:

* a docstring: its help, shown by `opsdash kinds http`;
* `class Options(CheckOptions)`: its keys. Strict, and each with an attribute docstring, from which the reference,
  the JSON Schema and the editor's hints are made;
* `async def run(options, context) -> Sample`: one measurement;
* `KIND = CheckKind(...)`: its registration, with a sample observation on which expectations are tried at load.

`run` answers for everything it can foresee with a `Sample` (`down` + reason for a refused connection, `unknown` for a
broken probe). What it cannot foresee it lets fly: the caller turns an unexpected exception into `unknown`
(`probe_error`), never into `down`. It never sleeps past its deadline, because the caller cancels it then, and cleans
up when it is cancelled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict

from opsdash.model.text import LONGEST_COMMAND, clean_lines

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from opsdash.kinds.keeping import Keep
    from opsdash.kinds.resolver import Resolver
    from opsdash.model.message import Delivery, Message
    from opsdash.model.operation import Abilities
    from opsdash.model.status import Reason, Status

NOTHING: Mapping[str, Any] = MappingProxyType({})


def _nothing() -> Mapping[str, Any]:
    """A default for dataclass fields, which refuse an unhashable one (before Python 3.12, NOTHING is that)."""
    return NOTHING


class StrictOptions(BaseModel):
    """Options of any kind: unknown keys are refused, attribute docstrings are the documentation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, arbitrary_types_allowed=True)

    def asks_the_same(self, other: StrictOptions | None) -> bool:
        """Whether both ask for the same, secrets included; what they have worked out for themselves does not count."""
        if self is other:
            return True
        return type(self) is type(other) and all(
            getattr(self, key) == getattr(other, key) for key in type(self).model_fields
        )


class CheckOptions(StrictOptions):
    """Options of a check kind. What every check has (`every`, `timeout`, `expect`, …) is not among them."""

    @property
    def keeps_connection(self) -> bool:
        """Whether a run may go over a connection of an earlier one, and so still reach what was replaced since.

        Such a check proves nothing about a switch.
        """
        return False


@dataclass(slots=True)
class Sample:
    """What one run of a check found, before the author's expectations are applied to it.

    status: `ok`, `degraded`, `down` or `unknown`; never `paused`.
    detail: one line for people. Raw text from outside is allowed here: the caller sanitises it.
    latency: seconds of the whole exchange; None where there was none.
    values: the names that `expect`, `facts` and `value` may use, as the kind's sample shows them. `json` belongs
        here too, or None in `json_source`'s favour for large bodies.
    phases: seconds by phase name (dns, connect, tls, first_byte, body).
    retry_after: seconds for which the target asked not to be called again (Retry-After, RFC 9110 section 10.2.3).
    state: whatever the kind wants to find in `context.previous.state` next time; never shown.
    soft: the verdict is only the kind's default; an expectation of the author's that names `status` replaces it.
    """

    status: Status
    reason: Reason | None = None
    detail: str = ""
    latency: float | None = None
    values: Mapping[str, Any] = field(default_factory=_nothing)
    phases: Mapping[str, float] = field(default_factory=_nothing)
    retry_after: float | None = None
    state: Any = None
    soft: bool = False

    def without_values(self) -> Sample:
        """What is worth keeping until the next run; values may hold a whole body."""
        return Sample(
            self.status,
            self.reason,
            self.detail,
            self.latency,
            NOTHING,
            self.phases,
            self.retry_after,
            self.state,
            self.soft,
        )


@dataclass(slots=True)
class CheckContext:
    """What a run may use besides its options.

    deadline: seconds that this run may take in all (the check's `timeout`); the caller enforces it by cancelling.
    wall: seconds since 1970 UTC, for ages and expiry dates; a measured span uses the loop's clock.
    previous: the Sample of the run before, without its values, if there was one since the engine started.
    workspace: folder against which relative paths are resolved.
    resolver: the one name lookup for all kinds; `getaddrinfo` on asyncio's own executor starves everybody else.
    heartbeat: what the engine knows of a heartbeat's sender (kind `heartbeat` alone reads it).
    keep: room for a connection that the check keeps from run to run; None where there will be no other run.
    wants_json: whether any expectation or fact names `json`, so that a body is parsed only for those who ask.
    stage: written by the run: what it is doing now (dns, connect, tls, send, first_byte, body; proxy, tunnel). Whoever
        cancels it at its deadline reads here what it was waiting for.
    """

    check: str
    deadline: float
    wall: float
    workspace: Path
    resolver: Resolver
    previous: Sample | None = None
    heartbeat: HeartbeatState | None = None
    keep: Keep | None = None
    wants_json: bool = True
    stage: str = ""


@dataclass(frozen=True, slots=True)
class HeartbeatState:
    """Last signals of a heartbeat's sender, in seconds since 1970 UTC.

    due: when the next success is expected, by the schedule alone; the kind adds its own grace.
    """

    last: float | None = None
    started: float | None = None
    failed: float | None = None
    due: float | None = None
    detail: str = ""


class CheckRun(Protocol):
    """`run` of a check kind."""

    def __call__(self, options: Any, context: CheckContext, /) -> Awaitable[Sample]: ...


@dataclass(frozen=True, slots=True)
class CheckKind:
    """Registration of a check kind.

    sample: the names and example values that `expect` may use; expectations without `json` are tried on it at load.
    extra: the extra of opsdash that brings the driver (`pip install opsdash[EXTRA]`), None where none is needed.
    """

    name: str
    summary: str
    options: type[CheckOptions]
    run: CheckRun
    sample: Mapping[str, Any]
    extra: str | None = None


# --- actions -----------------------------------------------------------------------------------------------------


class Applied(StrEnum):
    """What is known after an action was carried out.

    A reply of OK is `applied`, which says nothing yet about its effect. Refused and not started both mean: nothing
    was changed. A timeout after sending, or a 5xx, is `unknown`, never "failed".
    """

    APPLIED = "applied"
    REFUSED = "refused"
    NOT_STARTED = "not_started"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ActionResult:
    """Outcome of `apply`. `detail` is evidence for people (sanitised by the caller), `prior` what was there before."""

    applied: Applied
    detail: str = ""
    prior: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a mechanism says is in force. `value` None with a `detail`: it could not be read.

    version: of the value, for compare-and-swap.
    serving: the names of all that the mechanism sees serving (taking traffic, accepting writes) at this moment, where
        it can see more than the one in force; None where it cannot.
    by: id of the action that put the value there, where the mechanism remembers it.
    """

    value: str | None
    version: str | None = None
    detail: str = ""
    serving: tuple[str, ...] | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Preflight:
    """Whether the action could be carried out now: True, False, or None for "cannot tell". Nothing is changed.

    credentials: whether what it logs in with was tried and is allowed to do this; None where that cannot be told
        without acting, or where it needs none.
    """

    passed: bool | None
    detail: str
    credentials: bool | None = None


@dataclass(slots=True)
class ActionContext:
    """What an action may use besides its options.

    action_id: deterministic id of this action (component, kind, generation): the idempotency key.
    expected: the value that must be in force for the action to go ahead (compare-and-swap), None where unknown.
    expected_version: the version (ETag) that came with it.
    deadline: seconds; the caller cancels afterwards, which counts as `unknown` once anything was sent.
    on_sent: called at the moment from which on the outside world may have changed.
    stage: as in a check's context.
    """

    action_id: str
    deadline: float
    workspace: Path
    resolver: Resolver
    wall: float
    expected: str | None = None
    expected_version: str | None = None
    environment: Mapping[str, str] = field(default_factory=_nothing)
    on_sent: Callable[[], None] = field(default=lambda: None)
    stage: str = ""


class ActionRun(Protocol):
    """`apply` of an action kind."""

    def __call__(self, options: Any, context: ActionContext, /) -> Awaitable[ActionResult]: ...


class ActionRead(Protocol):
    """`read` of an action kind."""

    def __call__(self, options: Any, context: ActionContext, /) -> Awaitable[Reading]: ...


class ActionPreflight(Protocol):
    """`preflight` of an action kind."""

    def __call__(self, options: Any, context: ActionContext, /) -> Awaitable[Preflight]: ...


@dataclass(frozen=True, slots=True)
class ActionKind:
    """Registration of an action kind.

    options: keys of an `action`, `enter`, `leave`; read_options: keys of a `read`, None where it cannot read.
    manual: given *raw* options (secrets still as references), the equivalent command for a person's shell.
    undo: given raw options and the prior value, the raw options that put it back; None where `restores` is False.
    identity: the options that say on what it acts: two switches with the same ones act on the same thing.
    refine: given options, the abilities with exactly these, where they depend on them; see `abilities_with`.
    """

    name: str
    summary: str
    options: type[StrictOptions]
    abilities: Abilities
    apply: ActionRun
    preflight: ActionPreflight
    manual: Callable[[Mapping[str, Any]], str]
    read_options: type[StrictOptions] | None = None
    read: ActionRead | None = None
    undo: Callable[[Mapping[str, Any], str], Mapping[str, Any]] | None = None
    secrets: Sequence[str] = ()
    identity: Sequence[str] = ()
    extra: str | None = None
    refine: Callable[[Any], Abilities] | None = None

    def abilities_with(self, options: StrictOptions) -> Abilities:
        """What the action can do when it is given `options`."""
        return self.abilities if self.refine is None else self.refine(options)

    def manual_command(self, raw: Mapping[str, Any]) -> str:
        """The equivalent command as it may be shown: without controls, cut when endless; several lines stay several.

        Raises KeyError, TypeError or ValueError where the options are not what the kind expects.
        """
        return clean_lines(self.manual(raw), LONGEST_COMMAND)


# --- notifiers ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """What came of one attempt to deliver a message.

    detail: evidence for people (sanitised and masked by the caller).  retry_after: seconds for which the other side
    asked to be left alone.
    """

    delivery: Delivery
    detail: str = ""
    retry_after: float | None = None


@dataclass(slots=True)
class NotifierContext:
    """What a notifier may use besides its options.

    deadline: seconds that this attempt may take in all; the caller cancels afterwards, which counts as `unknown` once
        `on_sent` was called, else as `failed`.
    operation: title of the operation, for whoever receives messages of several.
    ring: makes every board that is attached ring (and show `text` on the desktop where its terminal can); returns how
        many there were.
    stage: as in a check's context.
    """

    deadline: float
    workspace: Path
    resolver: Resolver
    wall: float
    operation: str = ""
    on_sent: Callable[[], None] = field(default=lambda: None)
    ring: Callable[[str], int] = field(default=lambda _text: 0)
    stage: str = ""


class NotifierRun(Protocol):
    """`send` of a notifier kind."""

    def __call__(self, options: Any, message: Message, context: NotifierContext, /) -> Awaitable[Told]: ...


@dataclass(frozen=True, slots=True)
class NotifierKind:
    """Registration of a notifier kind.

    send: one attempt to deliver. Whatever it can foresee it answers with `Told`; what it lets fly is `unknown` once
        `on_sent` was called, else `failed`.
    hosts: given *raw* options (secrets still as references), the hosts through which a message goes, as far as they
        can be told: a channel must not depend on what it reports.
    problem: given raw options, why they cannot work although they are well formed (an unknown address scheme); None.
    extra: as of a check kind.
    """

    name: str
    summary: str
    options: type[StrictOptions]
    send: NotifierRun
    hosts: Callable[[Mapping[str, Any]], Sequence[str]] = field(default=lambda _raw: ())
    problem: Callable[[Mapping[str, Any]], str | None] = field(default=lambda _raw: None)
    extra: str | None = None
