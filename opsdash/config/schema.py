"""The keys of `opsdash.yaml` and `checks/*.yaml`, with their documentation.

These models only say what a file may contain. They are strict (an unknown key is a problem), everything has a
default, and each attribute's docstring is its entry in the reference, in the JSON Schema and in the editor's
hints. What the options of a kind are is written in the kind's own file; here they are whatever is left of a
check or action.

Values are validated in Python's "lax" mode, so that `"25"`, which a variable gave, is a number where one is
wanted.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from opsdash.config.listening import Address, parse_address
from opsdash.config.places import LONGEST_PATH, checked_path
from opsdash.kinds.fields import Duration
from opsdash.model.channel import GROUP_WAIT, SEND_TIMEOUT, Audience
from opsdash.model.operation import Auto, Confirm, ResponseKind, Severity, Threshold, Tier
from opsdash.model.status import Status
from opsdash.model.window import WindowKind

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Ids are parts of references (`provider/check#reason`), of file names and of metrics: plain characters
only.
"""

LATER: dict[str, dict[tuple[str | int, ...], frozenset[str]]] = {
    "workspace": {
        (): frozenset({"drills", "calendars"}),
        ("engine",): frozenset({"state", "state_folder", "group", "listen"}),
    },
    "component": {
        (): frozenset({"windows", "drills", "drill", "injections"}),
        ("switch",): frozenset({"canary", "schedule"}),
    },
}
"""Keys whose function is not built: they are refused by name, so that nobody relies on what does not
happen.
"""

_THRESHOLD = re.compile(r"\s*(\d{1,3})\s*(?:of\s*(\d{1,3}))?\s*")
_MAX_THRESHOLD = 60


class Strict(BaseModel):
    """No unknown keys, no changes, docstrings are documentation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class Open(Strict):
    """Keys beyond those named here belong to a kind, or are values of a provider."""

    model_config = ConfigDict(extra="allow")

    @property
    def others(self) -> dict[str, Any]:
        """The keys beyond."""
        return dict(self.model_extra or {})


# --- field types --------------------------------------------------------------------------------------------


def _threshold(value: Any) -> Threshold:
    """`3`, or `3 of 5`."""
    match = _THRESHOLD.fullmatch(str(value)) if isinstance(value, str | int) else None
    if match is None or isinstance(value, bool):
        raise ValueError(f"{value!r} is no threshold; write 3, or 3 of 5")
    hits = int(match[1])
    of = int(match[2]) if match[2] else hits
    if not 1 <= hits <= of <= _MAX_THRESHOLD:
        raise ValueError(f"{value!r} is no threshold; write 3, or 3 of 5 (1 to {_MAX_THRESHOLD}, the smaller first)")
    return Threshold(hits, of)


def _listed(value: Any) -> Any:
    """A single text stands for a list of one."""
    return [value] if isinstance(value, str) else value


def _several(value: Any) -> Any:
    """A single mapping stands for a list of one."""
    return [value] if isinstance(value, dict) else value


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError(f"a value must be a text or a number, not {_kind_of(value)}")


def _kind_of(value: Any) -> str:
    return {dict: "a mapping", list: "a list", type(None): "empty"}.get(type(value), repr(value)[:40])


def _old_out(value: Any) -> Any:
    if value is not None and value not in ("stateless", "mechanism") and not isinstance(value, dict):
        hint = 'write stateless, mechanism, or {check: "{from}/NAME", is: down}'
        raise ValueError(f"{_kind_of(value)} is not possible; {hint}")
    return value


def _undo(value: Any) -> Any:
    if value is not None and value != "again" and not isinstance(value, dict):
        raise ValueError(f"{_kind_of(value)} is not possible; write an action, or again")
    return value


_FORMS = "write a list of checks, {all: […]}, {at_least: 2, of: […]} or {away: owners}"


class DetectionText(Strict):
    """`detected_by` as written: references, how many of them, or all owners away."""

    references: tuple[str, ...] = ()
    at_least: int = 1
    away: bool = False
    under: str = ""
    """The key under which the references stand."""
    flaw: str = ""
    """What is wrong with `at_least`; the references are judged all the same."""


def _detection(value: Any) -> DetectionText:
    """The four forms of `detected_by`."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list):
        return DetectionText(references=_references(value), at_least=1)
    if not isinstance(value, dict):
        raise ValueError(f"{_FORMS}, not {_kind_of(value)}")  # noqa: TRY004 - pydantic collects ValueErrors
    keys = set(value)
    if keys == {"away"}:
        if value["away"] != "owners":
            raise ValueError("away: owners is the only form; it means that all of them are away or have left")
        return DetectionText(away=True)
    if keys == {"all"}:
        references = _references(value["all"])
        return DetectionText(references=references, at_least=len(references), under="all")
    if keys == {"at_least", "of"}:
        references = _references(value["of"])
        at_least = value["at_least"]
        if not isinstance(at_least, int) or isinstance(at_least, bool) or not 1 <= at_least <= len(references):
            said = f"at_least must be a number from 1 to {len(references)}, the number of checks in `of`"
            return DetectionText(references=references, under="of", flaw=said)
        return DetectionText(references=references, at_least=at_least, under="of")
    raise ValueError(f"unknown form with {', '.join(sorted(keys)) or 'no key'}; {_FORMS}")


def _references(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise ValueError("a list of one check or more is needed, such as [active/api, delivery]")
    return tuple(value)


class ResponseText(Strict):
    """`response` as written."""

    kind: ResponseKind
    mode: str | None = None


def _response(value: Any) -> ResponseText:
    if isinstance(value, dict) and set(value) == {"degrade"} and isinstance(value["degrade"], str):
        return ResponseText(kind=ResponseKind.DEGRADE, mode=value["degrade"])
    if value in ("switch", "runbook"):
        return ResponseText(kind=ResponseKind(value))
    shown = f"{value!r:.60} is no response" if value is not None else "a response is missing"
    raise ValueError(f"{shown}; write switch, runbook or {{degrade: MODE}}")


def _listen(value: Any) -> Address:
    if not isinstance(value, str):
        raise ValueError(f"an address is needed, not {_kind_of(value)}; write 127.0.0.1:9180, or [::1]:9180")  # noqa: TRY004 - pydantic collects ValueErrors
    return parse_address(value)


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("must be longer than 0")
    return value


_REFERENCE_LIST = {"type": "array", "items": {"type": "string"}, "minItems": 1}

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Scalar = Annotated[str, BeforeValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})]
Span = Annotated[Duration, AfterValidator(_positive)]
Interval = Annotated[Duration, Field(ge=0.1)]
References = Annotated[
    tuple[str, ...],
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Tiers = Annotated[
    tuple[Tier, ...],
    BeforeValidator(_listed),
    WithJsonSchema({"type": "array", "items": {"enum": [tier.value for tier in Tier]}}),
]
Place = Annotated[
    str,
    BeforeValidator(checked_path),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": LONGEST_PATH}),
]
Listen = Annotated[
    Address,
    BeforeValidator(_listen),
    WithJsonSchema({"type": "string", "examples": ["127.0.0.1:9180", "[::1]:9180"]}),
]
DownAfter = Annotated[
    Threshold,
    BeforeValidator(_threshold),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}], "examples": [3, "3 of 5"]}),
]
DetectedBy = Annotated[
    DetectionText,
    BeforeValidator(_detection),
    WithJsonSchema(
        {
            "anyOf": [
                _REFERENCE_LIST,
                {
                    "type": "object",
                    "properties": {"all": _REFERENCE_LIST},
                    "required": ["all"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "properties": {"at_least": {"type": "integer", "minimum": 1}, "of": _REFERENCE_LIST},
                    "required": ["at_least", "of"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "properties": {"away": {"const": "owners"}},
                    "required": ["away"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
ResponseField = Annotated[
    ResponseText,
    BeforeValidator(_response),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["switch", "runbook"]},
                {
                    "type": "object",
                    "properties": {"degrade": {"type": "string"}},
                    "required": ["degrade"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


# --- a check, an action -------------------------------------------------------------------------------------


class DefaultsModel(Strict):
    """What holds for every check that does not say otherwise."""

    every: Interval | None = None
    """How often a check runs. Undecided checks are tried again after a quarter of it, at least 1 s."""
    timeout: Span | None = None
    """How long one run may take in all. Without it: 10 s, or `every` where that is shorter."""
    down_after: DownAfter | None = None
    """How many failures in a row confirm a failure: `3`, or `3 of 5` of the last results."""
    up_after: Annotated[int, Field(ge=1, le=60)] | None = None
    """How many good results in a row confirm a recovery."""
    slow_after: Span | None = None
    """A good answer that takes longer makes the check `degraded` (slow)."""
    max_latency: Span | None = None
    """A good answer that takes longer counts as a failure."""


class CheckModel(DefaultsModel, Open):
    """One measurement, repeated. The keys beyond these are the options of its kind."""

    kind: str
    """What is measured, for example `http`, `tcp`, `command`. `opsdash kinds` lists them."""
    expect: References = ()
    """CEL expressions that must all be true, for example `status == 200` or `json.healthy`."""
    degraded_when: References = ()
    """CEL expressions of which any makes a good answer `degraded`."""
    facts: dict[Name, str] = {}
    """Values to keep and show with each result: a name, and a dotted path such as `json.provider`."""


class ActionModel(Open):
    """Something that changes the world, or reads what is in force. The keys beyond `kind` are the kind's
    options.
    """

    kind: str
    """What acts, for example `http`, `pointer`, `command`. `opsdash kinds` lists them."""
    timeout: Span | None = None
    """How long it may take to act (without it: 30 s) or to be read (10 s). What then has no answer is unknown."""


# --- a component --------------------------------------------------------------------------------------------


class FeatureModel(Strict):
    """What users get from the component."""

    title: Text | None = None
    """What people call it."""
    tier: Tier | None = None
    """How much depends on it: `essential`, `important` or `droppable`. Without it, the component's."""
    checks: References = ()
    """The checks that prove it works. Without any it follows its component."""


class ProviderModel(Open):
    """One way to get the component's job done. The keys beyond these are values for templates such as
    `{host}`.
    """

    title: Text | None = None
    """What people call it."""
    as_: Annotated[str | None, Field(alias="as", min_length=1)] = None
    """The mechanism's name for it, which `read` and `served_by` return. Without it, the id."""
    checks: dict[Name, CheckModel] = {}
    """Checks of this provider alone, besides those of `each`."""


class ServedByModel(Strict):
    """How the front door says who answered."""

    check: str
    """The check whose result says it."""
    value: str
    """Dotted path to the provider's name in that result, for example `facts.provider`."""
    at: str | None = None
    """Dotted path to the time of what was measured; when that is older than the action, the sample does not
    count.
    """
    times: Annotated[int, Field(ge=1, le=20)] = 3
    """How many samples in a row have to agree."""


class OldOutModel(Strict):
    """How it is known that the old provider no longer serves."""

    check: str
    """A check, by template: `{from}/accepts-writes` is that of the old provider."""
    is_: Annotated[Literal[Status.OK, Status.DOWN, Status.DEGRADED], Field(alias="is")] = Status.DOWN
    """The status it then has."""


class StepModel(Strict):
    """Something that is done before or after the switch itself."""

    action: ActionModel
    """What does it. `{to.as}`, `{from.as}` and other values of the two providers are filled in."""
    undo: Annotated[Literal["again"] | ActionModel | None, BeforeValidator(_undo)] = None
    """What takes it back, or `again`: it is done once more after the switch itself was taken back (a reload)."""
    verify: References = ()
    """Checks that must pass before the next step begins; by template, as `{from}/replication`."""
    verify_down: References = ()
    """Checks that must be down before the next step begins, as `{from}/accepts-writes` after a fence."""
    settle: Duration = 0.0
    """How long to wait before verifying."""
    deadline: Span = 30.0
    """How long the verification may take."""
    point_of_no_return: bool = False
    """Once this has begun there is no way back; the component's name has to be typed."""


class LimitModel(Strict):
    """A number that a check measures, and the most it may be."""

    check: str
    """The check, by template: `{to}/replica`."""
    value: str
    """Dotted path to the number in its result, for example `facts.seconds_behind`."""
    most: Annotated[float, Field(ge=0)]
    """The most it may be, in its own unit."""


class SwitchModel(Strict):
    """How the component is moved from one provider to another."""

    action: ActionModel
    """What moves it. `{to.as}`, `{from.as}` and other values of the two providers are filled in."""
    read: ActionModel | None = None
    """How to ask the mechanism which provider is in force. What it says wins over memory."""
    served_by: ServedByModel | None = None
    """How the front door says who answered."""
    old_out: Annotated[
        Literal["stateless", "mechanism"] | OldOutModel | None,
        BeforeValidator(_old_out),
    ] = None
    """`stateless` where both may be up, `mechanism` where `read` sees who serves, else the check that shows that the
    old one is out.
    """
    verify: References = ()
    """Checks that must pass after a switch."""
    settle: Duration = 0.0
    """How long to wait before verifying."""
    deadline: Span = 30.0
    """How long the verification may take."""
    confirm: Confirm = Confirm.KEY
    """`key`: `y` confirms. `countdown`: it acts by itself after 3 s, while the backup's proof is fresh."""
    review_after: Span = 72 * 3600.0
    """After how long on a backup somebody is reminded."""
    before: dict[Name, StepModel] = {}
    """Steps before the switch itself, in order, each verified before the next: quiesce, fence."""
    after: dict[Name, StepModel] = {}
    """Steps after the switch itself, in order: reload, warm-up."""
    lag: LimitModel | None = None
    """How far the data of the new side may be behind."""
    load: Annotated[float, Field(gt=0)] | None = None
    """What the new side has to carry, in the unit of the providers' own value `capacity`."""
    needs: References = ()
    """Components without which the switch itself cannot work: name resolution, the identity provider, a proxy."""
    guards: dict[str, Severity] = {}
    """Whether a guard that does not pass warns or blocks here: `{proof: block}`."""
    approve: Annotated[int, Field(ge=1, le=2)] = 1
    """How many people it takes: 1, or 2."""
    blockade: Span = 3600.0
    """For how long after a switch another one is warned of, and opsdash does none by itself. At least ten times as
    long as that switch took.
    """
    steady: Duration = 600.0
    """For how long the primary has to be well, unused, before it is gone back to without a warning."""
    auto: Auto = Auto.NEVER
    """Whether opsdash switches by itself: `never`, `shadow` (it records when it would have), or `always`."""
    hold: Span = 30.0
    """How long the active provider has to be down before opsdash switches by itself."""


class ModeModel(Strict):
    """A degraded mode: doing less on purpose, decided in advance."""

    title: Text | None = None
    """What people call it."""
    as_: Annotated[str | None, Field(alias="as", min_length=1)] = None
    """What `read` gives while it is in force. Without it, the id."""
    keeps: References = ()
    """Features that go on: `feature`, or `component/feature`."""
    drops: References = ()
    """Features that are given up. Checks used only by them do not count meanwhile."""
    read: ActionModel | None = None
    """How to ask the mechanism which mode is in force."""
    enter: ActionModel
    """What brings it into force."""
    leave: ActionModel | None = None
    """What ends it. Without it, what was there before is restored, where the kind can."""
    verify: References = ()
    """Checks that must pass after entering and leaving."""
    settle: Duration = 0.0
    """How long to wait before verifying."""
    deadline: Span = 30.0
    """How long the verification may take."""
    review_after: Span = 24 * 3600.0
    """After how long in this mode somebody is reminded."""


class FailureModel(Strict):
    """An entry of the register: one way to fail, how it is noticed, and what was decided for it."""

    title: Text | None = None
    """What people call it; the operator reads this when it happens."""
    detected_by: DetectedBy | None = None
    """Checks: a list (any of), `{all: […]}`, `{at_least: 2, of: […]}`, or `{away: owners}`. `check#reason`
    narrows.
    """
    response: ResponseField = ResponseText(kind=ResponseKind.RUNBOOK)
    """What was decided: `switch`, `{degrade: MODE}` or `runbook`."""
    runbook: str | None = None
    """The runbook to follow. Without it, the component's."""
    rto: Span | None = None
    """In what time it has to be over."""
    severity: Annotated[int, Field(ge=1, le=4)] | None = None
    """How bad it is, 1 (worst) to 4. Without it, it follows from the component's tier and from whether it is down."""
    status_text: Annotated[str, StringConstraints(min_length=1, max_length=2000)] | None = None
    """What customers are told when it happens; a person sends it, with `opsdash alarms tell`."""


class ComponentModel(Strict):
    """A part that can fail on its own: one file, whose name is its id."""

    title: Text | None = None
    """What people call it."""
    tier: Tier = Tier.IMPORTANT
    """How much depends on it: `essential`, `important` or `droppable`."""
    owners: References = ()
    """People of opsdash.yaml who can handle it."""
    depends_on: References = ()
    """Other components; when one of those is down, it explains this one, whose alarm waits for it."""
    tags: References = ()
    """Names for groups of components, by which a window is about several of them."""
    features: dict[Name, FeatureModel] = {}
    """What users get, what proves it, what may be dropped."""
    runbook: str | None = None
    """The runbook for every failure mode that names no other: `email-down` is runbooks/email-down.md."""
    defaults: DefaultsModel = DefaultsModel()
    """What holds for every check of this file that does not say otherwise."""
    providers: dict[Name, ProviderModel] = {}
    """Ways to get the job done. The first is the primary, the others are backups."""
    each: dict[Name, CheckModel] = {}
    """Checks that every provider gets, with its values in place of `{host}` and the like."""
    checks: dict[Name, CheckModel] = {}
    """Checks of the component itself: does the job get done, whoever does it?"""
    switch: SwitchModel | None = None
    """How to move it from one provider to another."""
    modes: dict[Name, ModeModel] = {}
    """Degraded modes."""
    failures: dict[Name, FailureModel] = {}
    """The register. Of those that apply the first is offered on the key, so the most specific come first."""


# --- the workspace ------------------------------------------------------------------------------------------


class AbsenceModel(Strict):
    """A time in which somebody is not there. Both days are included."""

    from_: Annotated[str | None, Field(alias="from")] = None
    """First day, as 2026-12-24, or a moment, as 2026-12-24T12:00. Without it: already now."""
    until: str | None = None
    """Last day, or a moment. Without it: open end."""


class PersonModel(Strict):
    """Somebody who owns components."""

    name: Text | None = None
    """Full name. Without it, the id."""
    login: str | None = None
    """The account from which the person uses opsdash."""
    contact: str | None = None
    """How to reach the person."""
    away: tuple[AbsenceModel, ...] = ()
    """When the person is away."""
    left: str | None = None
    """The first day on which the person is no longer there."""
    alarms: References = ()
    """The channels of `alarms` that reach the person."""


class WindowModel(Strict):
    """A time in which alarms are muted, their messages wait, or nothing is to be switched. Without components and tags:
    for all of them.

    It comes once (`from`, `until`), or again and again (`cron`, `for`).
    """

    kind: WindowKind
    """`maintenance` mutes alarms: checks go on, and what would have been alarmed is shown. `freeze` warns before every
    switch. `quiet`: what is raised is told when it is over; not for what is essential, unless that is named.
    """
    title: Text | None = None
    """What people call it."""
    components: References = ()
    """The components that it is about."""
    tags: References = ()
    """It is about the components that have one of these tags, too."""
    tiers: Tiers = ()
    """Of these it is only about those of these tiers."""
    from_: Annotated[str | None, Field(alias="from")] = None
    """First day, as 2026-12-24, or a moment, as 2026-12-24T12:00. Without it: already now."""
    until: str | None = None
    """Last day, which belongs to it, or a moment."""
    cron: str | None = None
    """When it begins, again and again: minute, hour, day of month, month, day of week (0 and 7 are Sunday)."""
    for_: Annotated[Span | None, Field(alias="for")] = None
    """How long it lasts each time, at most 31d."""
    timezone: str | None = None
    """For its dates and its `cron`, such as Europe/Berlin. Without it, the operation's."""


class ChannelModel(Open):
    """A way to tell people something. The keys beyond these are the options of its kind."""

    kind: str
    """What sends, for example `webhook`, `apprise`, `file`. `opsdash kinds` lists them."""
    depends_on: References = ()
    """Components without which nothing arrives over it, such as the one that sends mail."""
    timeout: Span = SEND_TIMEOUT
    """How long one attempt may take."""
    audience: Audience = Audience.TEAM
    """`customers`: it gets the status texts that a person sends, and no alarms."""


class EscalationModel(Strict):
    """Who is told besides, when nobody acknowledges."""

    after: Span
    """How long after the first were told, or after an acknowledgement has expired."""
    to: References
    """Channels, people, and `owner`, `second` or `owners`."""


Escalations = Annotated[tuple[EscalationModel, ...], BeforeValidator(_several)]


class RouteModel(Strict):
    """Which alarms go where. The first route that fits counts; without conditions it fits all."""

    tiers: Tiers = ()
    """Only alarms of components of these tiers."""
    components: References = ()
    """Only alarms of these components."""
    tags: References = ()
    """Alarms of components that have one of these tags, too."""
    severity: Annotated[int, Field(ge=1, le=4)] | None = None
    """Only alarms that are at least as bad: `2` is about severity 1, which is the worst, and 2."""
    to: References
    """Channels, people, and `owner` (the first who is there), `second` (the next one) or `owners`. `[]`: nobody."""
    escalate: Escalations = ()
    """Who is told besides, when nobody acknowledges: `{after: 10m, to: [second]}`, or several of them."""
    remind: Annotated[Duration, Field(ge=60)] | None = None
    """How often who was told is reminded, as long as nobody acknowledges. Without it: never."""


class AlarmsModel(Strict):
    """How people are told. With channels and no routes, everything goes to every channel."""

    channels: dict[Name, ChannelModel] = {}
    """Ways to tell people something, by a name for each."""
    routes: tuple[RouteModel, ...] = ()
    """Which alarms go where: the first that fits. What none fits goes to every channel."""
    group_wait: Annotated[Duration, Field(ge=0.1, le=300)] = GROUP_WAIT
    """How long a first message waits for what belongs to the same outage. Later ones of the same storm come at
    distances that double up to 5m.
    """


class RetentionModel(Strict):
    """How long history is kept."""

    samples: Span = 2 * 86400.0
    """Single results; at least 2h."""
    minutes: Span = 14 * 86400.0
    """Summaries by the minute; at least as long as `samples`."""
    hours: Span = 400 * 86400.0
    """Summaries by the hour; at least as long as `minutes`."""

    @model_validator(mode="after")
    def _is_ordered(self) -> RetentionModel:
        if not 2 * 3600.0 <= self.samples <= self.minutes <= self.hours:
            raise ValueError("keep samples for at least 2h, minutes as long as samples, hours as long as minutes")
        return self


class EngineModel(Strict):
    """Settings of the engine. They are read when it starts: `opsdash engine restart` applies a change."""

    state: Place | None = None
    """The state folder: journal, history, lock and socket. A relative path starts at the workspace, `~` is the home of
    the account that owns opsdash.yaml. Without it, `.opsdash`. What a former folder holds does not move by itself.
    """
    group: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    """A Unix group whose members may use the engine: look, switch, and everything else. Only the owner starts it."""
    listen: Listen | None = None
    """An address for the same interface on TCP, such as `127.0.0.1:9180`, for heartbeats of jobs and for Prometheus.
    Whoever asks needs the bearer token in the state folder. `opsdash engine --listen` overrides it.
    """
    tls_certificate: Place | None = None
    """PEM file with the certificate for `listen`, and those that lead to its authority. Read again when it changes."""
    tls_key: Place | None = None
    """PEM file with its key, which is not encrypted."""
    retention: RetentionModel = RetentionModel()
    """How long results and their summaries are kept."""


class DeadManModel(Strict):
    """The dead man's switch: somebody elsewhere expects a sign of life, and alarms when it does not come.

    Any service with the URLs of healthchecks.io will do, and so will another opsdash (see docs/howto-dead-man.md).
    """

    url: Text
    """What is asked with POST while opsdash is at work. Whoever knows it can forge a sign of life: better `${NAME}`."""
    every: Annotated[Duration, Field(ge=1.0, le=86400.0)] = 60.0
    """How often. Tell the other side to wait for two of them."""
    timeout: Span = 10.0
    """How long one may take."""
    grace: Duration = 30.0
    """For how long opsdash may find itself unable to work before it says so (`/fail`). It is silent at once."""
    signals: bool = True
    """Whether the other side knows `/start` and `/fail` after the URL. Without it only the URL itself is asked."""


class SheetsModel(Strict):
    """Emergency sheets: a page for each component, written anew every day and after a change of the files."""

    folder: Place | None = None
    """Where they are written. A folder on another machine's share is there when this one is not. A relative path starts
    at the workspace, `~` is the home of the account that owns opsdash.yaml. Without it, `sheets` in the state folder.
    """


class WorkspaceModel(Strict):
    """opsdash.yaml: what holds for the whole operation."""

    title: Text = "operation"
    """What people call it."""
    timezone: str = "UTC"
    """For dates in these files and times on screen, for example Europe/Berlin."""
    people: dict[Name, PersonModel] = {}
    """Who can be asked, by the id that `owners` uses."""
    defaults: DefaultsModel = DefaultsModel()
    """What holds for every check of the operation that does not say otherwise."""
    windows: dict[Name, WindowModel] = {}
    """Times of maintenance, in which alarms are muted, and of freeze, in which nothing is to be switched."""
    alarms: AlarmsModel = AlarmsModel()
    """How people are told of alarms. Without channels nobody is: what is raised is recorded and shown."""
    anchors: dict[Name, CheckModel] = {}
    """Checks of outside targets that tell whether opsdash itself is connected; three are a good number."""
    dead_man: DeadManModel | None = None
    """Whom opsdash tells that it is at work, so that somebody notices when it is not."""
    vars: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], Scalar] = {}
    """Values for `${NAME}` where the environment has none."""
    engine: EngineModel = EngineModel()
    """Where the engine lives, who reaches it, and for how long it keeps what it measures."""
    sheets: SheetsModel = SheetsModel()
    """Emergency sheets, for the day on which the host of opsdash is what failed."""
