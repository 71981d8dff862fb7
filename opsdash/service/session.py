"""Session: a client's view of an engine. Board and CLI share it, and know nothing else of the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from opsdash.model.views import (
        AlarmsView,
        ComponentDetail,
        CoverageView,
        Delta,
        DrillPlanView,
        DrillsView,
        DrillView,
        FailureView,
        IncidentView,
        JournalLine,
        PersonView,
        PlanView,
        ProblemView,
        ReadinessView,
        RunbookLine,
        RunLine,
        RunView,
        Snapshot,
        SwitchView,
        Verdict,
        WindowView,
    )
    from opsdash.model.whatif_views import WhatIfLine, WhatIfView


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection to the engine broke, or it said goodbye (`bye`). The stream tries again by itself.

    `why` is for people. After the connection is back a `Snapshot` follows, never a delta.
    """

    why: str
    bye: bool = False


@dataclass(frozen=True, slots=True)
class SnapshotEvent:
    """The whole state: at the beginning, after a loss, and after falling behind."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class DeltaEvent:
    """What changed. One comes at least every second, empty if nothing did: silence for 3 s means stale."""

    delta: Delta


@dataclass(frozen=True, slots=True)
class RingEvent:
    """Somebody is to hear it now: `text` says why. Only for sessions that ring."""

    text: str


Event = SnapshotEvent | DeltaEvent | RingEvent | Lost


class SessionError(Exception):
    """The engine cannot be asked, or refused to answer; the text says why and what to do."""


class Session(Protocol):
    """What a client can ask of an engine. All methods raise SessionError."""

    @property
    def read_only(self) -> bool:
        """Whether intents are refused (asked for by the user, or another API version)."""

    def events(self) -> AsyncIterator[Event]:
        """Snapshot first, then deltas; reconnects by itself, for ever."""

    async def snapshot(self) -> Snapshot:
        """The wall as it is now."""

    async def component(self, component: str) -> ComponentDetail:
        """Everything about one component."""

    async def plan(self, component: str, kind: str, target: str | None = None) -> PlanView:
        """What a switch would do, with its guards. kind: failover | failback | degrade | restore. Changes nothing."""

    async def submit(self, intent: str, arguments: Mapping[str, Any], key: str | None = None) -> Verdict:
        """Ask for something to be done. With the same `key` it is begun once, also by another engine.

        intent and arguments, by name: failover, failback, degrade, restore (component, generation, source, target,
        reason, overrides, typed), undo (component, reason), settle (component, state, reason), take_over (component,
        reason), ack (incident), note (incident, text), resolve (incident, text), open_incident (component, title),
        pause (component, seconds, reason), resume (component), maintenance (target, seconds, reason), end_maintenance
        (target), test_alarm (channel), tell (incident, text, channels),
        poll away (person, until, start, back),
        open_run (runbook, component, mode), tick (run, step, tick, done), mark_step (run, step, mark), run_block (run,
        step, block, typed), run_checks (run), cancel_block (run, step, block), decide_block (run, step, block,
        decision), set_parameter (run, name, value), take_run (run, reason), accept_run (run, sha256),
        end_run (run), approve_runbook (runbook, sha256), start_drill (drill, latest, due, reason, overrides, typed),
        stop_drill (run, reason), finish_drill (run, text), halt_drills (reason), allow_drills (reason),
        fault_gone (run, reason).
        """

    async def switch(self, component: str) -> SwitchView | None:
        """The live or last switch of a component."""

    async def register(self) -> list[FailureView]:
        """Every failure mode of the operation."""

    async def readiness(self, component: str | None = None, limit: int | None = None) -> ReadinessView:
        """Scores, and gaps with what closes them, worst first: of the operation, or of one component."""

    async def whatif_ranking(self) -> list[WhatIfLine]:
        """What comes of each single loss, the worst first."""

    async def whatif(self, subjects: Sequence[str]) -> WhatIfView:
        """What comes of losing all of `subjects` at once."""

    async def couplings(self, hours: float = 2160.0) -> dict[str, Any]:
        """Components that failed within the same minute more often than by chance (see `opsdash couplings`)."""

    async def incidents(self, *, closed: bool = False) -> list[IncidentView]:
        """Open incidents, newest first; with `closed` the resolved ones too."""

    async def journal(
        self, *, before: int | None = None, limit: int = 200, component: str | None = None
    ) -> list[JournalLine]:
        """Records, newest first, those with a smaller `seq` than `before`."""

    async def runbooks(self) -> list[RunbookLine]:
        """All runbooks."""

    async def runbook(self, runbook: str, component: str | None = None, mode: str | None = None) -> RunView:
        """A runbook, with its open run for that component if there is one. mode: step | rehearse, None for either."""

    async def runs(self, limit: int = 100) -> list[RunLine]:
        """Open runs and the latest that were closed, newest first."""

    async def drills(self) -> DrillsView:
        """All drills, overdue ones first; faults that may still be in place; and the lever."""

    async def drill(self, drill: str) -> DrillView | None:
        """A drill with its open or latest run, by its id or that of the run; None if there is no such thing."""

    async def drill_plan(self, drill: str) -> DrillPlanView:
        """What a drill would do now, and what speaks against it. Changes nothing."""

    async def people(self) -> list[PersonView]:
        """All people."""

    async def cover(self) -> CoverageView:
        """Who stands behind which component, what nobody covers now or soon, and the rotas."""

    async def windows(self) -> list[WindowView]:
        """Maintenance and freezes that are open now, with the alarms that they hold."""

    async def alarms(self) -> AlarmsView:
        """Alarms, raised or held, the outbox, and channels."""

    async def problems(self) -> list[ProblemView]:
        """Problems of the workspace's files."""

    async def history(self, component: str, hours: float = 24.0) -> dict[str, Any]:
        """Uptime, latency percentiles and changes per check (see `opsdash history`)."""

    async def demo(self) -> dict[str, Any]:
        """In a demo: services, their faults, and where to inject them; else {}.

        {"services": {name: [{"fault": word, "description": text}]}, ...}
        """

    async def inject(self, service: str, fault: str) -> None:
        """In a demo: break a service in the way that `fault` names, or heal it (`ok`)."""

    async def close(self) -> None:
        """Let go of the connection."""
