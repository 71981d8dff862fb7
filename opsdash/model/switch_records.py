"""Records of switches: begun, blocked, ended, taken back; by a person or by opsdash itself; and what they prove."""

from __future__ import annotations

from dataclasses import dataclass

from opsdash.model.drill import VALID_FOR
from opsdash.model.switch import Fact, Switch, SwitchCause, SwitchKind, SwitchState


@dataclass(frozen=True, slots=True)
class SwitchIntended:
    """A switch is going to be carried out: its whole plan, before anything is touched."""

    at: float
    switch: Switch


@dataclass(frozen=True, slots=True)
class SwitchAdvanced:
    """A switch went on to `state`. `prior` and `detail` are evidence of the action.

    step: at which of its steps, "" for the switch itself and for the whole. dropped: a step that turned out not to have
    been carried out. halted: no further step is begun.
    """

    at: float
    switch: str
    component: str
    state: SwitchState
    detail: str = ""
    prior: str | None = None
    in_doubt: bool = False
    step: str = ""
    dropped: str = ""
    halted: bool = False


@dataclass(frozen=True, slots=True)
class SwitchAbortAsked:
    """Somebody asked for a switch to be called off before it has done anything that users notice."""

    at: float
    switch: str
    component: str
    who: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SwitchBlocked:
    """A switch was wanted (by a person, or with cause `auto` by opsdash itself) and a rule stood in its way."""

    at: float
    component: str
    kind: SwitchKind
    target: str
    who: str
    rule: str
    reason: str
    cause: SwitchCause = SwitchCause.PERSON


@dataclass(frozen=True, slots=True)
class SwitchReverted:
    """After a switch was committed its mechanism says the old side again, or a third one, by somebody else's doing."""

    at: float
    switch: str
    component: str
    seen: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class BlockadeLifted:
    """A person ended the blockade after a switch, with a reason: another one may follow at once."""

    at: float
    switch: str
    component: str
    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class WouldSwitch:
    """In shadow: opsdash would have switched by itself at this moment."""

    at: float
    component: str
    source: str
    target: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ShadowScored:
    """What became of it without opsdash: people did the same (`agreed`), went elsewhere (`differed`), or it was
    `not needed`.
    """

    at: float
    component: str
    verdict: str


@dataclass(frozen=True, slots=True)
class AutoStopped:
    """opsdash no longer switches by itself, since the outcome of one such switch was not good, or not known."""

    at: float
    component: str
    why: str


@dataclass(frozen=True, slots=True)
class AutoResumed:
    """A person lets opsdash switch by itself again."""

    at: float
    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class ApprovalAsked:
    """A person wants a switch that takes two; a second one who confirms the same plan until `until` lets it happen."""

    at: float
    component: str
    kind: SwitchKind
    generation: int
    source: str
    target: str
    who: str
    until: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SwitchEnded:
    """The outcome, with the four facts it follows from. `who`: set where a person stated it."""

    at: float
    switch: str
    component: str
    state: SwitchState
    facts: tuple[Fact, ...] = ()
    detail: str = ""
    who: str | None = None


@dataclass(frozen=True, slots=True)
class Proved:
    """A provider (or degraded mode) was shown to work, by the switch or drill `by`; true while `sha256` stands.

    who: whose switch it was. took: seconds from the key to the verified effect. valid_for: seconds for which it counts.
    """

    at: float
    component: str
    what: str
    by: str
    sha256: str
    who: str = ""
    took: float = 0.0
    valid_for: float = VALID_FOR


SwitchRecord = (
    SwitchIntended
    | SwitchAdvanced
    | SwitchAbortAsked
    | SwitchBlocked
    | SwitchReverted
    | BlockadeLifted
    | WouldSwitch
    | ShadowScored
    | AutoStopped
    | AutoResumed
    | ApprovalAsked
    | SwitchEnded
    | Proved
)
