"""Views: what a client sees of an engine, as plain JSON shapes.

Made by `opsdash.core.views` from world and live; the board, the CLI and scripts read the same ones. Times are seconds
since 1970 UTC, durations are seconds, `None` means "not known" or "does not apply". All text is sanitised.

What belongs to one part is in a module of its own; everybody imports from here.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from opsdash.model.alarm_views import AlarmLine, AlarmsView, AlarmView, AttemptView, ChannelView, MessageView
from opsdash.model.component_views import (
    CheckView,
    ComponentDetail,
    FailureView,
    FeatureView,
    ModeView,
    PersonView,
    ProviderView,
    WallRow,
)
from opsdash.model.cover_views import AloneView, CoverageView, CoverGapView, CoverView, DeedView, RotaView
from opsdash.model.drill_views import (
    DrillLine,
    DrillPlanView,
    DrillRunView,
    DrillStepView,
    DrillSummary,
    DrillsView,
    DrillView,
    ExpectationView,
    FaultView,
    LeverView,
)
from opsdash.model.incident_views import EditView, EntryView, HandoverView, IncidentView, RoleView
from opsdash.model.readiness_views import GapView, ReadinessView, ScoreView
from opsdash.model.run_views import (
    BlockView,
    LiveCheck,
    OutputView,
    ParameterView,
    RunbookLine,
    RunLine,
    RunView,
    StepDifference,
    StepView,
    UsualView,
)
from opsdash.model.switch_views import (
    AutoState,
    AutoView,
    FactView,
    GuardView,
    PlanView,
    RefusedView,
    StepPlanView,
    SwitchView,
)
from opsdash.model.window_views import MutedView, WindowLine, WindowView

__all__ = [
    "AlarmLine",
    "AlarmView",
    "AlarmsView",
    "AloneView",
    "AttemptView",
    "AutoState",
    "AutoView",
    "BlockView",
    "ChannelView",
    "CheckView",
    "ComponentDetail",
    "CoverGapView",
    "CoverView",
    "CoverageView",
    "DeedView",
    "Delta",
    "DrillLine",
    "DrillPlanView",
    "DrillRunView",
    "DrillStepView",
    "DrillSummary",
    "DrillView",
    "DrillsView",
    "EditView",
    "EntryView",
    "EventKind",
    "ExpectationView",
    "FactView",
    "FailureView",
    "FaultView",
    "FeatureView",
    "GapView",
    "GuardView",
    "HandoverView",
    "IncidentView",
    "JournalLine",
    "LeverView",
    "LiveCheck",
    "MessageView",
    "ModeView",
    "MutedView",
    "OutputView",
    "ParameterView",
    "PersonView",
    "PlanView",
    "ProblemView",
    "ProviderView",
    "ReadinessView",
    "RefusedView",
    "RoleView",
    "RotaView",
    "RunLine",
    "RunView",
    "RunbookLine",
    "ScoreView",
    "Snapshot",
    "StepDifference",
    "StepPlanView",
    "StepView",
    "Summary",
    "SwitchView",
    "UsualView",
    "Verdict",
    "WallRow",
    "WindowLine",
    "WindowView",
]


class Summary(TypedDict):
    """The line that answers for people who don't know the parts, and the engine's own state.

    undelivered: what of alarms does not arrive, and why; "" while all does.
    readiness: the operation's score, None as long as it was not reckoned.
    drills: None where the operation has none, and never had.
    """

    title: str
    counts: dict[str, int]
    features: list[FeatureView]
    offline: bool
    journal_error: str
    undelivered: str
    readiness: int | None
    incidents: int
    drills: DrillSummary | None
    problems: int
    uncovered: list[str]
    engine_since: float
    version: str
    read_only: bool
    workspace: str
    demo: bool


class JournalLine(TypedDict):
    """One record, told in a sentence."""

    seq: int
    at: float
    type: str
    component: str | None
    who: str
    text: str
    data: dict[str, Any]


class ProblemView(TypedDict):
    """A problem of the workspace's files."""

    file: str
    line: int
    path: str
    message: str
    hint: str
    severity: str


class Snapshot(TypedDict):
    """All that the wall needs. seq: number of the last event that is contained."""

    seq: int
    at: float
    summary: Summary
    rows: list[WallRow]


class Delta(TypedDict):
    """What changed since the event before. summary is present only when it changed; `records` are new journal lines."""

    seq: int
    at: float
    rows: list[WallRow]
    gone: list[str]
    summary: Summary | None
    records: list[JournalLine]


class Verdict(TypedDict):
    """Answer to an intent. `subject`: what was begun (id of a switch, run, incident). The outcome comes as an event."""

    id: str
    accepted: bool
    refused: RefusedView | None
    subject: str


EventKind = Literal["snapshot", "delta", "lost", "bye"]
