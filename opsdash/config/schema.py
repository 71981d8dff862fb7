"""The keys of `opsdash.yaml` and `checks/*.yaml`, with their documentation.

These models only say what a file may contain. They are strict (an unknown key is a problem), everything has a
default, and each attribute's docstring is its entry in the reference, in the JSON Schema and in the editor's
hints. What the options of a kind are is written in the kind's own file; here they are whatever is left of a
check or action. Keys of opsdash.yaml that are no checks have modules of their own, and so have the types of fields.

Values are validated in Python's "lax" mode, so that `"25"`, which a variable gave, is a number where one is
wanted.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from opsdash.config.schema_alarms import AlarmsModel
from opsdash.config.schema_engine import DeadManModel, EngineModel, SheetsModel
from opsdash.config.schema_fields import (
    DetectedBy,
    DownAfter,
    Interval,
    Name,
    Open,
    References,
    ResponseField,
    ResponseText,
    Scalar,
    Span,
    Strict,
    Text,
    kind_of,
)
from opsdash.config.schema_windows import WindowModel
from opsdash.kinds.fields import Duration
from opsdash.model.operation import Auto, Confirm, ResponseKind, Severity, Tier
from opsdash.model.status import Status

LATER: dict[str, dict[tuple[str | int, ...], frozenset[str]]] = {
    "workspace": {
        (): frozenset({"calendars"}),
    },
    "component": {
        (): frozenset({"windows"}),
        ("switch",): frozenset({"canary", "schedule"}),
    },
}
"""Keys whose function is not built: they are refused by name, so that nobody relies on what does not
happen.
"""

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


def _undo(value: Any) -> Any:
    if value is not None and value != "again" and not isinstance(value, dict):
        raise ValueError(f"{kind_of(value)} is not possible; write an action, or again")
    return value


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


def _old_out(value: Any) -> Any:
    if value is not None and value not in ("stateless", "mechanism") and not isinstance(value, dict):
        hint = 'write stateless, mechanism, or {check: "{from}/NAME", is: down}'
        raise ValueError(f"{kind_of(value)} is not possible; {hint}")
    return value


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
    """People of opsdash.yaml who can handle it; or teams of its `rota`, for whoever is on duty."""
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


class RotaModel(Strict):
    """Who is on duty when, out of an iCalendar file."""

    file: Text
    """The file, in the workspace: `rota.ics`, or `rotas/front.ics`. It is read again when it changes."""
    gaps: Literal["warn", "ignore"] = "warn"
    """Whether times with nobody on duty are warned of: `ignore` where duty is by day only."""


class CoverModel(Strict):
    """How long before nobody is there people are told of it."""

    warn_before: Span = 3 * 86400.0
    """How long before a component has no owner who is there, or nobody who can run it."""
    rota_ahead: Span = 14 * 86400.0
    """How far ahead the gaps of rotas are looked for."""


class WorkspaceModel(Strict):
    """opsdash.yaml: what holds for the whole operation."""

    title: Text = "operation"
    """What people call it."""
    timezone: str = "UTC"
    """For dates in these files and times on screen, for example Europe/Berlin."""
    people: dict[Name, PersonModel] = {}
    """Who can be asked, by the id that `owners` uses."""
    rota: dict[Name, RotaModel] = {}
    """Who is on duty when, by teams. Whoever is on duty owns what names the team among its `owners`."""
    cover: CoverModel = CoverModel()
    """When people are warned that a component or a rota will have nobody."""
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
