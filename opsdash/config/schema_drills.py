"""The keys of drills/*.yaml. See `config.schema`.

What must be there is asked for in `config.drills`, not here: whether a drill needs a limit depends on its level, and a
key that is missing must not hide what is wrong with the others.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema

from opsdash.config.schema_fields import Name, Open, References, Span, Strict, Text
from opsdash.kinds.fields import Duration
from opsdash.model.drill import DAY, VALID_FOR, Level, Responder

MOST_RUNS = 10_000
"""How often a load may be run in all."""

MOST_A_SECOND = 100.0
"""How often a second: a load shows that a backup carries what it has to, and is no attack on it."""

MOST_FAULTS = 20
"""How many faults one drill may inject."""


def _several(value: Any) -> Any:
    """A single mapping or duration stands for a list of one."""
    return [value] if isinstance(value, dict | str) else value


def _one_kind(value: dict[str, Any]) -> dict[str, Any]:
    if len(value) != 1:
        said = f"{len(value)} kinds are named: {', '.join(value)}" if value else "no kind is named"
        raise ValueError(f"{said}; write one kind and its options, and a list for several: [{{KIND: {{…}}}}, …]")
    return value


def _options(value: Any) -> Any:
    """A kind of which nothing is said (`pretend:`) has no options."""
    return {} if value is None else value


class FaultModel(Open):
    """A fault. The keys beyond these are the options of its kind."""

    target: str | None = None
    """What fails: a component, a provider or a check, such as `active`, `postmark`, `active/api`, `crm/port`; `active`
    is who serves when the drill begins. The values of a provider that is named fill templates such as `{host}`. Where
    only opsdash pretends: without it, the checks by which the failure mode is detected.
    """


class UndoModel(Open):
    """What takes a fault back: options of the same kind."""


Faults = Annotated[
    tuple[
        Annotated[dict[str, Annotated[FaultModel, BeforeValidator(_options)]], AfterValidator(_one_kind)],
        ...,
    ],
    BeforeValidator(_several),
    Field(max_length=MOST_FAULTS),
]
Undos = Annotated[
    tuple[
        Annotated[dict[str, Annotated[UndoModel, BeforeValidator(_options)]], AfterValidator(_one_kind)],
        ...,
    ],
    BeforeValidator(_several),
    Field(max_length=MOST_FAULTS),
]
Durations = Annotated[
    tuple[Span, ...],
    BeforeValidator(_several),
    WithJsonSchema({"type": "array", "items": {"type": "string", "examples": ["15s"]}}),
]


class LoadModel(Strict):
    """Work that has to be carried while the failure lasts, and not only a probe: a program or an HTTP request, again
    and again.
    """

    model_config = ConfigDict(json_schema_extra={"required": ["times", "over"]})

    command: dict[str, Any] | None = None
    """A program: the options of the action `command`."""
    http: dict[str, Any] | None = None
    """A request: the options of the action `http`."""
    times: Annotated[int, Field(ge=1, le=MOST_RUNS)] | None = None
    """How often in all."""
    over: Annotated[Span, Field(le=3600)] | None = None
    """Within how long; at most 100 a second."""
    failures: Annotated[int, Field(ge=0)] = 0
    """How many of them may fail."""


class ExpectModel(Strict):
    """What has to come true for a drill to pass. What is not named is measured, and not judged."""

    detect: Span | None = None
    """How long it may take from the fault to the incident."""
    acknowledge: Span | None = None
    """How long from there until a person acknowledges it."""
    recover: Span | None = None
    """How long from the fault until service is verified. Without it: the failure mode's `rto`."""
    unaffected: References = ()
    """Other components; the drill fails if the status of one of them changes."""
    mode: str | None = None
    """The degraded mode that has to serve: `mode`, or `component/mode`."""
    alarm: bool = False
    """Whether a message about it has to be delivered to people."""
    runbook: bool = False
    """Whether its runbook has to be followed to the end, every step marked."""
    load: LoadModel | None = None
    """What has to be carried meanwhile."""


class ScheduleModel(Strict):
    """When a drill is due, in the time zone of the workspace. With `windows` alone it is begun by hand."""

    cron: str | None = None
    """By the calendar: minute, hour, day of month, month, day of week (0 and 7 are Sunday)."""
    every: Span | None = None
    """So long after its latest evidence, for example `90d`."""
    windows: References = ()
    """When it may be begun: windows of opsdash.yaml by their names, or times such as `tue-thu 10:00-15:00`. Without
    any: at any time.
    """
    remind: Annotated[Durations, Field(json_schema_extra={"default": ["7d", "1d"]})] = (7 * DAY, DAY)
    """How long before it is due its owner is reminded. `[]`: never."""


class DrillModel(Strict):
    """A planned failure: one file, whose name is its id. A mistake anywhere in it switches the drill off, since half of
    what was said about breaking something is not what was meant.
    """

    model_config = ConfigDict(json_schema_extra={"required": ["level", "owner"]})

    title: Text | None = None
    """What people call it. Without it, the id."""
    component: Name | None = None
    """What fails. It may be left out where `failure_mode` names it."""
    failure_mode: str | None = None
    """The entry of the register that is drilled: `unreachable`, or `email/unreachable`. A planned switch needs none."""
    level: Level | None = None
    """What it touches. `tabletop`: nothing, the runbook is gone through with a clock. `synthetic`: opsdash alone, which
    pretends. `switch`: who serves, by a planned switch and back. `contained`: one component, by a proxy, a maintenance
    state or in staging. `real`: production, within `schedule: {windows: …}`.
    """
    owner: str | None = None
    """Who sees to it that it happens: a person of opsdash.yaml."""
    runbook: str | None = None
    """The runbook that is followed. Without it, the failure mode's, or the component's."""
    to: str | None = None
    """The provider or degraded mode that it leads to. Without it: as the response of the failure mode says."""
    respond: Responder = Responder.PEOPLE
    """Who gives the response: `people`, or `opsdash` in their place."""
    schedule: ScheduleModel | None = None
    """When it is due. Without it, it is begun by hand."""
    surprise: Span | None = None
    """It comes at any time within so long after it is due, and only its owner knows."""
    absent: References = ()
    """People who may not help."""
    approvals: Annotated[int, Field(ge=1, le=2)] = 1
    """How many people it takes to begin it: 1, or 2."""
    expect: ExpectModel = ExpectModel()
    """What has to come true."""
    steady: References = ()
    """Checks that must be ok before it begins, and are sampled while it lasts. Name those of which the fault leaves a
    result, ok or not: where one is missing, the drill shows nothing.
    """
    inject: Faults = ()
    """What is broken, or pretended: `{KIND: {…}}`, or a list of these. `opsdash kinds` lists them."""
    undo: Undos = ()
    """What takes it back: for each fault of a kind that does not know its own way back, `{KIND: {…}}` of the same kind,
    in the same order.
    """
    verify_undone: References = ()
    """Checks that must be ok after the fault was taken back."""
    limit: Span | None = None
    """How long after the fault it is taken back, whatever happens."""
    hold: Duration = 0.0
    """How long the backup serves before it is gone back."""
    stop_if: References = ()
    """What ends it at once: a component or check, a status and how long, such as `shop/checkout down for 2m`. A real
    incident always does.
    """
    valid_for: Span = VALID_FOR
    """How long its evidence counts."""
