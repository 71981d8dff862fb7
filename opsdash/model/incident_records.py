"""Records of incidents, of near misses, and of changes that may have to do with either."""

from __future__ import annotations

from dataclasses import dataclass

from opsdash.model.incident import EntryKind, IncidentKind, IncidentRole


@dataclass(frozen=True, slots=True)
class IncidentOpened:
    """An incident was opened, by opsdash (`who` is "opsdash") or by a person.

    began: when the first result came in that was not good.  severity: 1 (worst) to 4; 0 in journals that had none.
    """

    at: float
    incident: str
    component: str
    kind: IncidentKind
    title: str
    who: str
    failure: str | None = None
    began: float | None = None
    severity: int = 0
    drill: bool = False


@dataclass(frozen=True, slots=True)
class IncidentJoined:
    """A failure mode (or, with `failure` "", the plain fact of being down) joined the open incident of its component.

    kind, severity: what the incident has become by it, where that changes.  component: whose failure it is, "" for the
    one in which the incident began.  renames: it is what the incident, and its alarm, are called from now on.
    """

    at: float
    incident: str
    failure: str
    title: str
    kind: IncidentKind | None = None
    severity: int = 0
    component: str = ""
    renames: bool = False


@dataclass(frozen=True, slots=True)
class IncidentFolded:
    """Another component fails because of what an open incident is about: it becomes part of that one.

    failure: the failure mode by which it fails, "" if it is plainly down.  was: the incident that it had of its own,
    which ends by it; "" if it had none.
    """

    at: float
    incident: str
    component: str
    title: str
    failure: str = ""
    was: str = ""


@dataclass(frozen=True, slots=True)
class IncidentNoted:
    """A line for the timeline. happened: when it was, where that is not now. pinned: it belongs to the story."""

    at: float
    incident: str
    who: str
    kind: EntryKind
    text: str
    happened: float | None = None
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class EntryEdited:
    """A line of the timeline was changed: number `entry`, from 0. What is None stays; what it was is kept with it."""

    at: float
    incident: str
    entry: int
    who: str
    text: str | None = None
    happened: float | None = None
    pinned: bool | None = None


@dataclass(frozen=True, slots=True)
class IncidentRecovered:
    """A component of it works again (or, with `again`, does not after all). When all of them do, it is mitigated.

    component: "" for the one in which it began.
    """

    at: float
    incident: str
    again: bool = False
    component: str = ""


@dataclass(frozen=True, slots=True)
class IncidentAcknowledged:
    """Somebody looks after it, and is asked again at `until`."""

    at: float
    incident: str
    who: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class IncidentUnacknowledged:
    """The acknowledgement by `was` has expired (`who` is "opsdash"), or was taken back."""

    at: float
    incident: str
    was: str
    who: str


@dataclass(frozen=True, slots=True)
class IncidentResolved:
    """Redundancy is back (`who` is "opsdash"), or a person says that nothing is out of the ordinary any more.

    text: what the person says; of opsdash: what it is where there was no redundancy to come back.
    closed: in journals from before there was `IncidentClosed`, a person closed it by that.
    """

    at: float
    incident: str
    who: str
    text: str = ""
    closed: bool = True


@dataclass(frozen=True, slots=True)
class IncidentClosed:
    """A person has no more to add to it."""

    at: float
    incident: str
    who: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class IncidentCancelled:
    """It was none."""

    at: float
    incident: str
    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class IncidentReopened:
    """It is not over after all. title: what is wrong now."""

    at: float
    incident: str
    who: str
    title: str
    kind: IncidentKind | None = None


@dataclass(frozen=True, slots=True)
class IncidentRated:
    """A person set its severity, 1 (worst) to 4; from then on it no longer follows from tier and failure mode."""

    at: float
    incident: str
    severity: int
    who: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class IncidentTimed:
    """A person says when it really `began`, was `mitigated` or `resolved`."""

    at: float
    incident: str
    what: str
    moment: float
    who: str


@dataclass(frozen=True, slots=True)
class RoleGiven:
    """`person` has a role from now on; "" gives it up. Whoever had it before no longer has it."""

    at: float
    incident: str
    role: IncidentRole
    person: str
    who: str


@dataclass(frozen=True, slots=True)
class HandoverOffered:
    """A note was written for `to` ("": for whoever comes), who takes over by accepting it."""

    at: float
    incident: str
    who: str
    to: str
    text: str


@dataclass(frozen=True, slots=True)
class HandoverAccepted:
    """The note was accepted: `who` leads from now on."""

    at: float
    incident: str
    who: str


@dataclass(frozen=True, slots=True)
class NearMissed:
    """A check failed and recovered before its threshold confirmed it: the failure mode was near, and did not happen.

    since: when the first result came in that was not good.  results: how many there were.
    """

    at: float
    component: str
    failure: str
    check: str
    since: float
    results: int


@dataclass(frozen=True, slots=True)
class Marked:
    """Somebody, or a pipeline, says that something was changed. component: "" for the whole operation."""

    at: float
    who: str
    text: str
    component: str = ""
    version: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class VersionChanged:
    """A check reports another `version` than before; `was` is "" the first time."""

    at: float
    check: str
    version: str
    was: str = ""


IncidentRecord = (
    IncidentOpened
    | IncidentJoined
    | IncidentFolded
    | IncidentNoted
    | EntryEdited
    | IncidentRecovered
    | IncidentAcknowledged
    | IncidentUnacknowledged
    | IncidentResolved
    | IncidentClosed
    | IncidentCancelled
    | IncidentReopened
    | IncidentRated
    | IncidentTimed
    | RoleGiven
    | HandoverOffered
    | HandoverAccepted
    | NearMissed
    | Marked
    | VersionChanged
)
