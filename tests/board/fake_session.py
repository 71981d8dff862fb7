"""An engine in memory, as the board sees it: a small operation, with switches that advance when a test says so.

It keeps the contract of `opsdash.service.session.Session`: a snapshot first, then numbered deltas; intents are answered
at once, and their outcome comes as an event; an intent whose plan has changed is refused.
"""

# ruff: noqa: ARG002 - this engine takes all arguments of the protocol, and needs few

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any, cast

from opsdash.core.incident_views import incident_view
from opsdash.model.incident import EntryKind, Incident, IncidentKind, TimelineEntry
from opsdash.service.session import DeltaEvent, Event, Lost, RingEvent, SessionError, SnapshotEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from opsdash.model.views import (
        AlarmsView,
        AlarmView,
        BlockView,
        CheckView,
        ComponentDetail,
        CoverageView,
        CoverView,
        DrillLine,
        DrillPlanView,
        DrillRunView,
        DrillSummary,
        DrillsView,
        DrillView,
        EntryView,
        FactView,
        FailureView,
        FaultView,
        FeatureView,
        GapView,
        GuardView,
        HandoverView,
        IncidentView,
        JournalLine,
        LeverView,
        ModeView,
        PersonView,
        PlanView,
        ProblemView,
        ProviderView,
        ReadinessView,
        RefusedView,
        RunbookLine,
        RunLine,
        RunView,
        Snapshot,
        StepView,
        Summary,
        SwitchView,
        Verdict,
        WallRow,
        WindowView,
    )
    from opsdash.model.whatif_views import (
        WhatIfAlarm,
        WhatIfAnswer,
        WhatIfFailure,
        WhatIfFate,
        WhatIfFeature,
        WhatIfLine,
        WhatIfView,
    )

START = 1_767_863_647.0  # 2026-01-08 09:14:07 UTC
DAY = 86400.0
STEADY: list[float | None] = [31, 30, 33, 31, 29, 30, 32, 31, 30, 30, 31, 31]
FAILING: list[float | None] = [88, 91, 90, 93, 89, 130, 240, 300, None, None, None, None]
SLOWING: list[float | None] = [110, 112, 111, 130, 150, 160, 210, 260, 330, 390, 410, 440]


def gap(text: str, component: str | None = None, **changes: Any) -> GapView:
    """A gap of readiness."""
    made: dict[str, Any] = {
        "rule": "backup-unproven",
        "aspect": "backup",
        "component": component,
        "tier": "essential",
        "subject": "",
        "text": text,
        "why": "A backup that was never tested is a hope.",
        "close": "switch to it and back",
        "command": None,
        "file": None,
        "points": 20.0,
        "weight": 2.5,
    }
    return cast("GapView", made | changes)


def readiness(score: int, gaps: list[GapView], **changes: Any) -> ReadinessView:
    """The readiness of an operation with these gaps; its components are those that have any."""
    names = dict.fromkeys(each["component"] for each in gaps if each["component"])
    made: dict[str, Any] = {
        "at": START,
        "component": None,
        "score": score,
        "total": len(gaps),
        "gaps": gaps,
        "components": [
            {"component": name, "title": name, "tier": "essential", "score": score, "gaps": 1} for name in names
        ],
        "trend": [],
        "differences": {"7": None, "30": None, "90": None},
        "measured": True,
    }
    return cast("ReadinessView", made | changes)


def row(component: str, title: str, **changes: Any) -> WallRow:
    """A component on the wall; all is well unless `changes` says otherwise."""
    made: dict[str, Any] = {
        "id": component,
        "title": title,
        "tier": "important",
        "status": "ok",
        "reason": None,
        "cause": "",
        "since": START - 6 * DAY,
        "latency": 0.031,
        "spark": list(STEADY),
        "active": None,
        "primary": None,
        "on_backup": False,
        "mode": None,
        "dropped": [],
        "redundancy": "none",
        "proof": "none",
        "proof_at": None,
        "badge": "none",
        "failure": None,
        "failure_id": None,
        "response": None,
        "hint": "",
        "incident": None,
        "acknowledged": False,
        "owners": ["maria", "ken"],
        "covered": True,
        "switch": None,
        "overdue": [],
        "explained_by": [],
        "alarm": "",
        "held": "",
        "windows": [],
        "flapping": None,
        "problems": 0,
        "removed": False,
    }
    made.update(changes)
    return made  # type: ignore[return-value] # built from the keys of WallRow


def check(name: str, provider: str | None, component: str, status: str = "ok", **changes: Any) -> CheckView:
    """A check with its last observation."""
    owner = f"{component}/{provider}/{name}" if provider else f"{component}/{name}"
    made: dict[str, Any] = {
        "id": owner,
        "name": name,
        "provider": provider,
        "kind": "http",
        "status": status,
        "reason": None,
        "detail": "",
        "since": START - 3600,
        "at": START - 2,
        "latency": 0.031,
        "every": 15.0,
        "raw_status": status,
        "raw_reason": None,
        "raw_detail": "200, 0.9 kB",
        "streak": "",
        "facts": {},
        "phases": {"connect": 0.008, "first byte": 0.02},
        "spark": list(STEADY),
        "flapping": None,
    }
    made.update(changes)
    return made  # type: ignore[return-value] # built from the keys of CheckView


def provider(
    component: str, name: str, title: str, status: str, *, active: bool, primary: bool, **changes: Any
) -> ProviderView:
    """A provider with one check."""
    down = status == "down"
    return {
        "id": name,
        "title": title,
        "name": name,
        "status": status,
        "active": active,
        "primary": primary,
        "proof": changes.get("proof", "fresh"),
        "proof_at": changes.get("proof_at", START - 12 * DAY),
        "badge": changes.get("badge", "ready"),
        "badge_why": changes.get("badge_why", ""),
        "checks": [
            check(
                "api",
                name,
                component,
                status,
                latency=None if down else 0.098,
                reason="timeout" if down else None,
                detail="no answer within 5s, 3 of 3" if down else "",
                raw_detail="no answer within 5s" if down else '200, {"healthy": true}',
                spark=list(FAILING if down else STEADY),
            )
        ],
    }


def failure(component: str, name: str, title: str, response: str, **changes: Any) -> FailureView:
    """An entry of the register."""
    made: dict[str, Any] = {
        "component": component,
        "id": name,
        "title": title,
        "detected_by": f"{component}/active/api",
        "response": response,
        "response_kind": response.split(maxsplit=1)[0],
        "mode": None,
        "runbook": f"{component}-down",
        "rto": 300.0,
        "active": False,
        "since": None,
        "owners": ["maria", "ken"],
        "proof": "fresh",
        "proof_at": START - 12 * DAY,
        "gaps": [],
        "near_misses": 0,
        "near_at": None,
    }
    made.update(changes)
    return made  # type: ignore[return-value] # built from the keys of FailureView


def guard(
    rule: str,
    title: str,
    result: str = "pass",
    evidence: str = "",
    *,
    overridable: bool = True,
    age: float | None = 2.0,
) -> GuardView:
    """A guard of a plan."""
    return {
        "rule": rule,
        "title": title,
        "result": result,
        "evidence": evidence,
        "age": age,
        "overridable": overridable,
    }


def guards() -> list[GuardView]:
    """What is checked before a failover of the example; all pass."""
    return [
        guard("failing", "the primary is really failing", evidence="postmark/api down, 3 of 3 timed out"),
        guard("ready", "the backup answers", evidence="ses/api ok, 98 ms"),
        guard("proof", "the backup was tested", evidence="12d ago by drill email-quarterly, limit 100d", age=None),
        guard("idle", "nobody else is switching", evidence="no switch in flight", age=None),
        guard("way_back", "there is a way back", evidence="the primary is kept, failback is declared", age=None),
    ]


def drill_line(name: str, component: str, **changes: Any) -> DrillLine:
    """A drill in the list, that passed two weeks ago."""
    made: dict[str, Any] = {
        "id": name,
        "title": f"{component} fails on purpose",
        "component": component,
        "failure_mode": "provider-unreachable",
        "level": "contained",
        "owner": "maria",
        "driver": "ken",
        "due": START + 75 * DAY,
        "overdue": False,
        "surprise": False,
        "missed": "",
        "standing": "fresh",
        "proved_at": START - 14 * DAY,
        "void_at": START + 86 * DAY,
        "verdict": "passed",
        "verdict_at": START - 14 * DAY,
        "verdict_run": "DRILL-0",
        "running": "",
        "off": "",
        "file": f"drills/{name}.yaml",
    }
    return cast("DrillLine", made | changes)


def drill_run(line: DrillLine, name: str, at: float, **changes: Any) -> DrillRunView:
    """A run whose fault is in place, and of which nothing was noticed yet."""
    made: dict[str, Any] = {
        "id": name,
        "drill": line["id"],
        "title": line["title"],
        "component": line["component"],
        "level": line["level"],
        "state": "running",
        "live": True,
        "who": "maria",
        "approved_by": None,
        "cause": "person",
        "reason": "",
        "overrides": [],
        "started_at": at,
        "ended_at": None,
        "steps": [{"at": at, "state": "arming"}, {"at": at, "state": "injecting"}, {"at": at, "state": "running"}],
        "times": {"injected": at},
        "measured": {},
        "expectations": [
            {"name": "detect", "title": "detected", "took": None, "allowed": 30.0, "holds": "waiting"},
            {"name": "recover", "title": "service verified", "took": None, "allowed": 300.0, "holds": "waiting"},
        ],
        "unaffected": ["crm"],
        "affected": [],
        "samples": 12,
        "missing": 0,
        "load": 0,
        "load_failed": 0,
        "load_wanted": 0,
        "faulty": True,
        "until": at + 600,
        "undone": None,
        "undo_by": "",
        "by_hand": ["opsdash faultproxy heal 9101"],
        "waits": "",
        "stopped": "",
        "incident": "INC-40",
        "switches": [],
        "runbook": "email-down",
        "runbook_run": None,
        "verdict": None,
        "why": [],
        "note": "",
        "valid_until": None,
    }
    return cast("DrillRunView", made | changes)


def fault_left(run: str = "DRILL-3", **changes: Any) -> FaultView:
    """A fault of which nobody knows whether it is gone."""
    made: dict[str, Any] = {
        "run": run,
        "drill": "email-quarterly",
        "component": "email",
        "since": START - 720,
        "detail": "the proxy did not answer when it was to be healed",
        "by_hand": ["opsdash faultproxy heal 9101", "systemctl restart mail-relay"],
        "guarded": False,
    }
    return cast("FaultView", made | changes)


def _rows() -> list[WallRow]:
    return [
        row(
            "email",
            "Transactional email",
            tier="essential",
            status="down",
            reason="timeout",
            cause="postmark/api: no answer within 5s (3 of 3)",
            since=START - 252,
            latency=None,
            spark=list(FAILING),
            active="postmark",
            primary="postmark",
            redundancy="ready",
            proof="fresh",
            proof_at=START - 12 * DAY,
            failure="Our mail provider does not answer",
            failure_id="provider-unreachable",
            response="switch to a backup",
            hint="f fail over",
            incident="INC-31",
        ),
        row(
            "automation",
            "Marketing automation",
            status="degraded",
            reason="rate_limited",
            cause="quota: 429, retry after 60s",
            since=START - 65,
            latency=0.44,
            spark=list(SLOWING),
            failure="The platform limits us",
            failure_id="rate-limited",
            response="degrade automation to essential-flows",
            hint="g degrade",
            incident="INC-30",
            acknowledged=True,
        ),
        row(
            "scoring",
            "Lead scoring",
            status="unknown",
            reason="expectation_error",
            cause="answers: no field `score` in the answer",
            since=START - 420,
            latency=0.12,
            failure=None,
            hint="r runbook",
            active="model",
            primary="model",
            redundancy="unknown",
            proof="never",
        ),
        row(
            "reporting",
            "Reporting",
            tier="droppable",
            active="simple",
            primary="warehouse",
            on_backup=True,
            redundancy="lost",
            proof="old",
            proof_at=START - 130 * DAY,
            since=START - 1560,
            hint="F fail back",
        ),
        row("social", "Social media", tier="droppable", owners=["ana"], covered=False, hint=""),
        row(
            "crm",
            "CRM",
            tier="essential",
            active="main",
            primary="main",
            redundancy="ready",
            proof="fresh",
            proof_at=START - 30 * DAY,
            latency=0.112,
        ),
        row("leads", "Lead intake", tier="essential", latency=0.009, since=START - 41 * DAY),
        row(
            "source",
            "Main data source",
            mode="last-good",
            dropped=["Lead export"],
            status="degraded",
            reason="mode",
            cause="mode last-good",
            since=START - 7200,
            overdue=["mode last-good"],
            hint="g restore",
        ),
        row(
            "website",
            "Web site",
            tier="essential",
            active="eu",
            primary="eu",
            redundancy="ready",
            proof="fresh",
            proof_at=START - 8 * DAY,
            latency=0.133,
            since=START - 19 * DAY,
        ),
        row("printer", "Label printer", tier="droppable", status="paused", latency=None, spark=[], since=START - 900),
    ]


def _features() -> list[FeatureView]:
    def feature(component: str, name: str, title: str, works: str, tier: str = "essential") -> FeatureView:
        return {"id": f"{component}/{name}", "title": title, "tier": tier, "component": component, "works": works}

    return [
        feature("email", "order-confirmations", "Order confirmations", "no"),
        feature("email", "newsletters", "Newsletters", "no", "droppable"),
        feature("crm", "customers", "Customer records", "yes"),
        feature("leads", "leads-arrive", "Leads arrive", "yes"),
        feature("scoring", "routing", "Leads reach sales", "unknown"),
        feature("website", "shop", "Web shop", "yes"),
    ]


def whatif_loss(*subjects: str, lost: bool = False) -> WhatIfView:
    """What comes of a loss: `email` goes down, and comes back by a switch unless it is `lost`."""
    after = "no" if lost else "yes"
    feature: WhatIfFeature = {
        "id": "email/order-confirmations", "title": "Orders are confirmed", "tier": "essential", "before": "no",
        "after": after,
    }  # fmt: skip
    unanswered = ["no entry of the register says what to do"] if lost else []
    failures: list[WhatIfFailure] = [
        {
            "id": "unreachable", "title": "It does not answer", "response": "switch", "runbook": "email-down",
            "offered": True,
        }
    ]  # fmt: skip
    answer: WhatIfAnswer = {
        "kind": "switch", "component": "email", "target": "ses", "rule": "", "refused": "",
        "guards": [{"rule": "proof", "result": "warn", "evidence": "never proved"}], "outcome": "committed",
        "detail": "", "by_itself": False,
    }  # fmt: skip
    alarm: WhatIfAlarm = {
        "topic": "", "title": "It does not answer", "held": "", "at_once": ["phone"], "later": ["mail"], "silent": [],
        "note": "",
    }  # fmt: skip
    fate: WhatIfFate = {
        "component": "email", "title": "Transactional email", "tier": "essential", "was": "ok", "status": "down",
        "reason": "timeout", "cause": "email/delivery", "after": "down" if lost else "ok", "redundancy": "",
        "failures": [] if lost else failures, "answer": None if lost else answer, "runbook": "email-down",
        "features": [feature], "alarms": [alarm], "present": ["maria"], "unanswered": unanswered,
    }  # fmt: skip
    return {
        "subjects": list(subjects), "critical": lost, "lost": [feature] if lost else [], "at_risk": [],
        "down": ["email"], "degraded": [], "unknown": [], "switched": [] if lost else ["email to ses"],
        "redundancy_lost": [], "stays_down": ["email"] if lost else [],
        "unanswered": [f"email: {each}" for each in unanswered], "fates": [fate], "features": [feature],
    }  # fmt: skip


class FakeSession:
    """A session whose engine lives in the test. `clock` gives monotonic seconds, the same as the board's."""

    def __init__(self, clock: Callable[[], float] = lambda: 0.0, *, read_only: bool = False, demo: bool = True) -> None:
        self.clock = clock
        self._began = clock()
        self._read_only = read_only
        self.is_demo = demo
        self.rows = {one["id"]: one for one in _rows()}
        self.features = _features()
        self.submitted: list[tuple[str, dict[str, Any], str | None]] = []
        self.injected: list[tuple[str, str]] = []
        self.planned = 0
        self.guards = guards()
        self.plan_changes: dict[str, Any] = {}
        self.detail_changes: dict[str, Any] = {}
        self.backup_changes: dict[str, Any] = {}
        self.switches: dict[str, SwitchView] = {}
        self.generations: dict[str, int] = {}
        self.unreachable = ""
        self.refuse: RefusedView | None = None
        self.closed = False
        self.problem_list: list[ProblemView] = [
            {
                "file": "checks/social.yaml",
                "line": 7,
                "path": "checks.posts.evry",
                "message": "unknown key `evry`",
                "hint": "did you mean `every`?",
                "severity": "error",
            }
        ]
        self.person_list: list[PersonView] = [
            self._person("maria", "Maria", ["email", "crm"]),
            self._person("ken", "Ken", ["email", "website"]),
            {**self._person("ana", "Ana", ["social"]), "away": True, "until": START + 5 * DAY},
        ]
        self.coverage: CoverageView = {
            "components": [self._cover("email", "Mail", ["maria", "ken"]), self._cover("crm", "CRM", [])],
            "rotas": [
                {
                    "id": "front", "file": "front.ics", "on_duty": ["ken"], "until": START + DAY, "next": "maria",
                    "next_at": START + DAY, "known_until": START + 400 * DAY,
                    "gaps": [
                        {
                            "what": "front", "since": START + 5 * DAY, "until": START + 6 * DAY, "people": [],
                            "words": "nobody is on duty from Mon until Tue",
                        },
                    ],
                },
            ],
            "warn_before": 3 * DAY,
            "rota_ahead": 14 * DAY,
        }  # fmt: skip
        self.incident_list: list[IncidentView] = [
            self._incident("INC-31", "email", "Our mail provider does not answer", START - 252),
            {
                **self._incident("INC-30", "automation", "The platform limits us", START - 65),
                "state": "acknowledged",
                "acknowledged_by": "maria",
                "acknowledged_at": START - 40,
            },
        ]
        self.undelivered = ""
        self.alarm_of: dict[str, AlarmView] = {}
        self.windows_of: dict[str, list[WindowView]] = {}
        self.records: list[JournalLine] = []
        self.run = self._runbook()
        self.readiness_found: ReadinessView | None = None
        self.drill_lines: list[DrillLine] = []
        self.drill_runs: dict[str, DrillRunView] = {}
        self.drill_plan_changes: dict[str, Any] = {}
        self.drills_planned = 0
        self.faults_left: list[FaultView] = []
        self.lever: LeverView | None = None
        self.marked: list[str] = []
        self.coupled: list[dict[str, Any]] = []
        self.texts: dict[str, str] = {}
        self._seq = 0
        self._queue: asyncio.Queue[Event] = asyncio.Queue()
        self._runs = 0
        self.unreported: list[JournalLine] = []
        for text in ("engine started", "email is down: postmark/api timed out", "INC-31 opened"):
            self._record(text, "email" if "email" in text or "INC" in text else None)
        self.unreported = []

    # --- the engine's side, driven by tests ----------------------------------------------------------------------

    @property
    def now(self) -> float:
        """The engine's wall clock."""
        return START + self.clock() - self._began

    def summary(self) -> Summary:
        """What the head shows."""
        counts: dict[str, int] = {}
        for one in self.rows.values():
            counts[one["status"]] = counts.get(one["status"], 0) + 1
        return {
            "title": "example operation",
            "counts": counts,
            "features": copy.deepcopy(self.features),
            "offline": False,
            "journal_error": "",
            "undelivered": self.undelivered,
            "readiness": None if self.readiness_found is None else self.readiness_found["score"],
            "incidents": sum(one["resolved_at"] is None for one in self.incident_list),
            "drills": self.drills_summary(),
            "problems": len(self.problem_list),
            "uncovered": [one["id"] for one in self.rows.values() if not one["covered"]],
            "engine_since": START - 3600,
            "version": "0.1.0",
            "read_only": self._read_only,
            "workspace": "/srv/ops",
            "demo": self.is_demo,
        }

    @property
    def open_drill(self) -> DrillRunView | None:
        """The run that goes on."""
        return next((run for run in self.drill_runs.values() if run["live"]), None)

    def drills_summary(self) -> DrillSummary | None:
        """What the head says of drills."""
        run = self.open_drill
        if not (self.drill_lines or self.faults_left or self.lever):
            return None
        return {
            "running": run["id"] if run else "",
            "drill": run["drill"] if run else "",
            "component": run["component"] if run else "",
            "state": run["state"] if run else "",
            "until": run["until"] if run else None,
            "marked": list(self.marked),
            "faults": copy.deepcopy(self.faults_left),
            "halted": self.lever is not None,
            "overdue": sum(line["overdue"] for line in self.drill_lines),
        }

    def run_drill(self, state: str, **changes: Any) -> None:
        """Let the open run come to `state`, and report it."""
        run = self.open_drill
        assert run is not None
        run["state"] = state
        run["steps"].append({"at": self.now, "state": state})
        if state == "ended":
            run["live"], run["ended_at"], run["until"] = False, self.now, None
            self.marked = []
            for line in self.drill_lines:
                line["running"] = ""
        run.update(changes)  # type: ignore[typeddict-item] # keys of DrillRunView
        self.report(run["component"])

    def change(self, component: str, **changes: Any) -> None:
        """Change a row and report it."""
        self.rows[component].update(changes)  # type: ignore[typeddict-item] # keys of WallRow
        self.report(component)

    def report(self, *components: str, gone: tuple[str, ...] = ()) -> None:
        """Send a delta; without components it is the sign of life that comes every second."""
        self._seq += 1
        records, self.unreported = self.unreported, []
        self._queue.put_nowait(
            DeltaEvent(
                {
                    "seq": self._seq,
                    "at": self.now,
                    "rows": [copy.deepcopy(self.rows[one]) for one in components],
                    "gone": list(gone),
                    "summary": self.summary() if components or gone or records else None,
                    "records": records,
                }
            )
        )

    @property
    def unheard(self) -> bool:
        """Whether something was sent that the board has not taken yet."""
        return not self._queue.empty()

    def lose(self, why: str) -> None:
        """Break the connection."""
        self._queue.put_nowait(Lost(why))

    def ring(self, text: str) -> None:
        """Somebody is to hear it."""
        self._queue.put_nowait(RingEvent(text))

    def resume(self) -> None:
        """The connection is back."""
        self._queue.put_nowait(SnapshotEvent(self._snapshot()))

    def _record(self, text: str, component: str | None = None, who: str = "opsdash") -> None:
        line: JournalLine = {
            "seq": len(self.records) + 1,
            "at": self.now,
            "type": "note",
            "component": component,
            "who": who,
            "text": text,
            "data": {"text": text},
        }
        self.records.append(line)
        self.unreported = [*self.unreported, line]

    @staticmethod
    def _cover(name: str, title: str, runners: list[str]) -> CoverView:
        return {
            "component": name, "title": title, "tier": "essential", "owners": ["maria"], "present": ["maria"],
            "on_duty": [], "bus_factor": len(runners), "gaps": [], "next_driver": None,
            "can_run": [
                {
                    "person": each, "component": name, "what": "ses", "words": "switch to ses",
                    "at": START - 5 * DAY, "by": "email-failover-3",
                }
                for each in runners
            ],
        }  # fmt: skip

    @staticmethod
    def _person(name: str, title: str, owns: list[str]) -> PersonView:
        return {
            "id": name,
            "name": title,
            "contact": f"{name}@example.com",
            "away": False,
            "until": None,
            "left": False,
            "owns": owns,
            "on_duty": ["front"] if name == "ken" else [],
            "did": [],
            "away_from": None,
            "alone": [],
        }

    @staticmethod
    def _incident(name: str, component: str, title: str, at: float) -> IncidentView:
        entries = (
            TimelineEntry(at, at, "opsdash", EntryKind.DETECTED, f"{component} is down"),
            TimelineEntry(at + 1, at + 1, "opsdash", EntryKind.FAILURE_MODE, title),
        )
        incident = Incident(
            name, component, IncidentKind.FAILURE, title, at, (title,), entries=entries, severity=2, began=at - 6
        )
        return incident_view(incident)

    @staticmethod
    def _runbook() -> RunView:
        def block(index: int, role: str, code: str, *, danger: bool = False) -> BlockView:
            return {
                "index": index,
                "role": role,
                "language": "sh",
                "code": code,
                "danger": danger,
                "once": False,
                "host": "",
                "keeps_as": "",
                "typed": "this step is dangerous" if danger else "",
                "needs": [],
                "state": "",
                "detail": "",
                "output": "",
                "at": None,
                "started_at": None,
                "who": "",
                "in_doubt": False,
                "decision": None,
                "process": "",
                "live": [],
            }

        def step(name: str, title: str, text: str, **changes: Any) -> StepView:
            made: dict[str, Any] = {
                "id": name,
                "title": title,
                "text": text,
                "ticks": [],
                "blocks": [],
                "expect": "",
                "time": "1m",
                "who": "",
                "if_fails": None,
                "goes_to": None,
                "then": None,
                "then_to": None,
                "danger": False,
                "mark": "",
                "usual": None,
                "since": None,
            }
            made.update(changes)
            return made  # type: ignore[return-value] # built from the keys of StepView

        return {
            "id": "",
            "runbook": "email-down",
            "title": "Mail does not leave",
            "component": "email",
            "owner": "maria",
            "executable": True,
            "components": ["email"],
            "mode": "step",
            "changed": False,
            "differences": [],
            "note": "",
            "approved": True,
            "approved_by": "maria",
            "approved_at": START - 86400,
            "unapproved": [],
            "sha256": "sha of the text",
            "findings": [],
            "current": "us-or-them",
            "params": [],
            "text": "",
            "who": "",
            "driver": "",
            "driver_gone": False,
            "active_at": None,
            "yours": False,
            "started_at": None,
            "ended_at": None,
            "steps": [
                step(
                    "us-or-them",
                    "Is it us or them?",
                    "Look at **postmark/api** beside this.\nIf other providers fail too, it is `us`.",
                    blocks=[block(0, "check", "curl -fsS https://status.postmark.example/api")],
                    expect="an answer within 2 s",
                    if_fails="#queue",
                    goes_to=("email-down", "queue"),
                ),
                step(
                    "fail-over",
                    "Fail over to Amazon SES",
                    "Press f on the wall, read the plan, press y.",
                    ticks=[("the plan shows no failed guard", False), ("the four facts are true", False)],
                ),
                step(
                    "queue",
                    "Let the queue drain",
                    "It takes about four minutes.",
                    blocks=[block(0, "run", "mailq --flush"), block(1, "undo", "mailq --hold")],
                ),
                step(
                    "purge",
                    "Last resort: drop what is queued",
                    "Nobody gets those mails.",
                    danger=True,
                    blocks=[block(0, "run", "mailq --purge --yes", danger=True)],
                    who="maria",
                ),
                step(
                    "tell",
                    "Tell the front desk",
                    "- call 201\n- say when it is over",
                    ticks=[("front desk knows", False)],
                ),
            ],
        }

    def _snapshot(self) -> Snapshot:
        self._seq += 1
        return {
            "seq": self._seq,
            "at": self.now,
            "summary": self.summary(),
            "rows": copy.deepcopy(list(self.rows.values())),
        }

    def _reachable(self) -> None:
        if self.unreachable:
            raise SessionError(self.unreachable)

    # --- Session -------------------------------------------------------------------------------------------------

    @property
    def read_only(self) -> bool:
        return self._read_only

    async def events(self) -> AsyncIterator[Event]:
        yield SnapshotEvent(self._snapshot())
        while True:
            yield await self._queue.get()

    async def snapshot(self) -> Snapshot:
        self._reachable()
        return self._snapshot()

    async def component(self, component: str) -> ComponentDetail:
        self._reachable()
        if component not in self.rows:
            raise SessionError(f"there is no component {component!r}")
        found = self.rows[component]
        made: dict[str, Any] = {
            "row": copy.deepcopy(found),
            "providers": self._providers(component),
            "checks": [
                check(
                    "delivery",
                    None,
                    component,
                    found["status"],
                    detail=self.texts.get("detail", ""),
                    raw_detail=self.texts.get("raw", "last delivery 2 s ago"),
                )
            ],
            "features": [copy.deepcopy(one) for one in self.features if one["component"] == component],
            "failures": self._failures(component),
            "modes": self._modes(component),
            "owners": [one for one in self.person_list if one["id"] in found["owners"]],
            "uncovered": not found["covered"],
            "needs": [("crm", "ok")] if component == "email" else [],
            "needed_by": [("website", "ok"), ("leads", "ok")],
            "switch": copy.deepcopy(self.switches.get(component)),
            "incident": next(
                (
                    copy.deepcopy(one)
                    for one in self.incident_list
                    if one["component"] == component and one["resolved_at"] is None
                ),
                None,
            ),
            "alarm": copy.deepcopy(self.alarm_of.get(component)),
            "windows": copy.deepcopy(self.windows_of.get(component, [])),
            "flapping": found["flapping"],
            "runbook": f"{component}-down",
            "off": {},
            "paused_until": None,
            "paused_by": None,
            "auto": None,
            "blocked": None,
            "file": f"checks/{component}.yaml",
            "keys": {
                "failover": None if found["active"] else "it has one provider only",
                "failback": None if found["on_backup"] else "the primary serves already",
                "degrade": None,
                "restore": None,
                "runbook": None,
            },
        }
        made.update(copy.deepcopy(self.detail_changes))
        return made  # type: ignore[return-value] # built from the keys of ComponentDetail

    def _providers(self, component: str) -> list[ProviderView]:
        found = self.rows[component]
        if component != "email":
            return []
        on_backup = found["active"] == "ses"
        return [
            provider(component, "postmark", "Postmark", "down", active=not on_backup, primary=True),
            provider(component, "ses", "Amazon SES", "ok", active=on_backup, primary=False, **self.backup_changes),
        ]

    def _failures(self, component: str) -> list[FailureView]:
        if component != "email":
            return []
        active = self.rows["email"]["failure"] is not None
        return [
            failure(
                "email",
                "provider-unreachable",
                self.texts.get("failure", "Our mail provider does not answer"),
                "switch to a backup",
                active=active,
                since=START - 252 if active else None,
            ),
            failure(
                "email",
                "rate-limited",
                "Our mail provider limits us",
                "degrade email to transactional-only",
                mode="transactional-only",
                proof="old",
                rto=900.0,
            ),
            failure(
                "email",
                "nobody-delivers",
                "No provider works",
                "runbook",
                runbook="email-all-down",
                proof="never",
                proof_at=None,
                rto=3600.0,
                gaps=["its runbook was never followed to the end"],
            ),
        ]

    def _modes(self, component: str) -> list[ModeView]:
        if component == "email":
            mode: ModeView = {
                "id": "transactional-only",
                "title": "Order mail only",
                "keeps": ["email/order-confirmations"],
                "drops": ["email/newsletters"],
                "in_force": self.rows["email"]["mode"] == "transactional-only",
                "since": None,
                "review_at": None,
                "proof": "fresh",
                "proof_at": START - 40 * DAY,
                "off": None,
            }
            other: ModeView = {
                **mode,
                "id": "queue-only",
                "title": "Keep everything in the queue",
                "in_force": False,
                "keeps": [],
                "drops": ["email/order-confirmations", "email/newsletters"],
                "proof": "never",
            }
            return [mode, other]
        if component == "source":
            return [
                {
                    "id": "last-good",
                    "title": "Data of yesterday",
                    "keeps": [],
                    "drops": [],
                    "in_force": self.rows["source"]["mode"] is not None,
                    "since": START - 7200,
                    "review_at": START - 60,
                    "proof": "fresh",
                    "proof_at": START - DAY,
                    "off": None,
                }
            ]
        return []

    async def plan(self, component: str, kind: str, target: str | None = None) -> PlanView:
        self._reachable()
        self.planned += 1
        found = self.rows[component]
        ends = {
            "failover": (found["active"] or "", target or "ses"),
            "failback": (found["active"] or "", found["primary"] or ""),
            "degrade": ("", target or "transactional-only"),
            "restore": (found["mode"] or "", ""),
        }
        titles = {"postmark": "Postmark", "ses": "Amazon SES", "transactional-only": "Order mail only"}
        source, to = ends[kind]
        made: dict[str, Any] = {
            "component": component,
            "title": found["title"],
            "kind": kind,
            "source": source,
            "source_title": titles.get(source, source),
            "target": to,
            "target_title": titles.get(to, to),
            "generation": self.generations.get(component, 0),
            "guards": copy.deepcopy(self.guards),
            "failed": [one["rule"] for one in self.guards if one["result"] == "fail"],
            "warnings": [one["rule"] for one in self.guards if one["result"] == "warn"],
            "needs": "y",
            "countdown": None,
            "reason": found["failure"] or "",
            "drops": [],
            "keeps": [],
            "state": "ready",
            "steps": [],
            "steps_before": 0,
            "notes": [],
            "settle": 2.0,
            "deadline": 30.0,
            "manual": f'curl -X PUT https://mailer.internal/provider -d \'{{"provider": "{to}"}}\'',
            "undo": f'curl -X PUT https://mailer.internal/provider -d \'{{"provider": "{source}"}}\'',
            "last": "2.8 s, 12 days ago, by maria",
            "refused": None,
        }
        made.update(copy.deepcopy(self.plan_changes))
        return made  # type: ignore[return-value] # built from the keys of PlanView

    async def submit(self, intent: str, arguments: Mapping[str, Any], key: str | None = None) -> Verdict:
        self._reachable()
        self.submitted.append((intent, dict(arguments), key))
        refused = self._refusal(intent, arguments)
        if refused is not None:
            return {"id": key or "", "accepted": False, "refused": refused, "subject": ""}
        subject = getattr(self, f"_do_{intent}", self._do_nothing)(arguments) or ""
        return {"id": key or "", "accepted": True, "refused": None, "subject": subject}

    def _refusal(self, intent: str, arguments: Mapping[str, Any]) -> RefusedView | None:
        if self._read_only:
            return {"rule": "read_only", "reason": "this session is read-only", "override": None}
        if self.refuse is not None:
            return self.refuse
        if intent in {"failover", "failback", "degrade", "restore"}:
            component = str(arguments["component"])
            if arguments["generation"] != self.generations.get(component, 0):
                return {"rule": "changed", "reason": "the plan has changed meanwhile", "override": None}
        return None

    def _do_nothing(self, arguments: Mapping[str, Any]) -> str:
        self._record(f"asked for {dict(arguments)}")
        return ""

    def _begin(self, kind: str, arguments: Mapping[str, Any]) -> str:
        component = str(arguments["component"])
        self.generations[component] = self.generations.get(component, 0) + 1
        titles = {"postmark": "Postmark", "ses": "Amazon SES", "transactional-only": "Order mail only"}
        source, target = str(arguments["source"]), str(arguments["target"])
        made: SwitchView = {
            "id": f"{component}-{kind}-{self.generations[component]}",
            "component": component,
            "kind": kind,
            "state": "acting",
            "live": True,
            "source": source,
            "source_title": titles.get(source, source),
            "target": target,
            "target_title": titles.get(target, target),
            "who": "maria",
            "reason": str(arguments["reason"]),
            "overrides": list(arguments["overrides"]),
            "intended_at": self.now,
            "ended_at": None,
            "times": {"detect": 3.4, "decide": 1.2},
            "facts": self.facts("unknown", "unknown", 0),
            "detail": "",
            "in_doubt": False,
            "ways_out": [],
            "sequence": ["switch"],
            "step": "",
            "begun": ["switch"],
            "cause": "person",
            "approved_by": None,
            "abort_asked": None,
            "stated_by": None,
            "called_off": False,
            "steps": [(self.now, "intent written")],
            "incident": "INC-31",
        }
        self.switches[component] = made
        self._record(f"{kind} {component}: {source} to {target}", component, "maria")
        self.change(component, switch="acting")
        return made["id"]

    def _do_failover(self, arguments: Mapping[str, Any]) -> str:
        return self._begin("failover", arguments)

    def _do_failback(self, arguments: Mapping[str, Any]) -> str:
        return self._begin("failback", arguments)

    def _do_degrade(self, arguments: Mapping[str, Any]) -> str:
        return self._begin("degrade", arguments)

    def _do_restore(self, arguments: Mapping[str, Any]) -> str:
        return self._begin("restore", arguments)

    @staticmethod
    def facts(first: str, second: str, hits: int) -> list[FactView]:
        """The four facts; `first` is the mechanism's, `second` the front door's."""

        def fact(name: str, title: str, truth: str, evidence: str, count: int = 0, *, needed: int = 1) -> FactView:
            return {"name": name, "title": title, "truth": truth, "evidence": evidence, "hits": count, "needed": needed}

        return [
            fact(
                "A",
                "the mechanism reads back the new side",
                first,
                'reads "ses-eu"' if first == "true" else "",
                int(first == "true"),
            ),
            fact("B", "the front door is served by it", second, "delivery says ses-eu" if hits else "", hits, needed=3),
            fact("C", "the old side no longer serves", "stateless", ""),
            fact(
                "D", "essential features pass", second, "order-confirmations: delivery ok" if hits else "", min(hits, 1)
            ),
        ]

    def advance(self, component: str, state: str) -> None:
        """Let the switch of a component go on to `state`."""
        switch = self.switches[component]
        switch["state"] = state
        switch["steps"].append((self.now, state.replace("_", " ")))
        if state == "verifying":
            switch["times"] = {"detect": 3.4, "decide": 1.2, "act": 0.3, "settle": 2.0}
            switch["facts"] = self.facts("true", "unknown", 2)
        if state == "committed":
            switch["facts"] = self.facts("true", "true", 3)
        if state in {"committed", "aborted", "no_effect", "split", "unknown", "undone"}:
            switch["live"], switch["ended_at"] = False, self.now
            switch["times"] = {"detect": 3.4, "decide": 1.2, "act": 0.3, "settle": 2.0, "verify": 0.5, "total": 4.0}
            switch["ways_out"] = ["undo", "settle", "take_over"] if state in {"unknown", "split", "no_effect"} else []
        over = not switch["live"]
        changes: dict[str, Any] = {"switch": None if over else state}
        if state == "committed" and switch["kind"] == "failover":
            changes |= {
                "active": switch["target"],
                "on_backup": True,
                "status": "ok",
                "failure": None,
                "hint": "F fail back",
                "cause": "",
            }
        self.change(component, **changes)

    def _incident_by(self, arguments: Mapping[str, Any]) -> IncidentView:
        return next(one for one in self.incident_list if one["id"] == arguments["incident"])

    def _write(self, incident: IncidentView, kind: str, text: str) -> None:
        entry: EntryView = {
            "at": self.now, "recorded": self.now, "who": "maria", "kind": kind, "text": text, "component": "",
            "pinned": False, "edits": [],
        }  # fmt: skip
        incident["entries"].append(entry)
        self._record(f"{incident['id']}: {text}", incident["component"], "maria")

    def _do_ack(self, arguments: Mapping[str, Any]) -> str:
        incident = self._incident_by(arguments)
        incident["state"], incident["acknowledged_by"], incident["acknowledged_at"] = "acknowledged", "maria", self.now
        self._write(incident, "ack", "acknowledged")
        self.change(incident["component"], acknowledged=True)
        return incident["id"]

    def _do_note(self, arguments: Mapping[str, Any]) -> str:
        incident = self._incident_by(arguments)
        self._write(incident, "note", str(arguments["text"]))
        self.report()
        return incident["id"]

    def _do_resolve(self, arguments: Mapping[str, Any]) -> str:
        incident = self._incident_by(arguments)
        incident["state"], incident["closed_by"], incident["closed_at"] = "closed", "maria", self.now
        incident["resolved_at"] = incident["resolved_at"] or self.now
        self._write(incident, "resolved", str(arguments["text"]))
        self.change(incident["component"], incident=None)
        return incident["id"]

    def _do_rate(self, arguments: Mapping[str, Any]) -> str:
        incident = self._incident_by(arguments)
        incident["severity"] = arguments["severity"]
        self._write(incident, "severity", f"severity {arguments['severity']}")
        self.report()
        return incident["id"]

    def _do_offer_handover(self, arguments: Mapping[str, Any]) -> str:
        incident = self._incident_by(arguments)
        offered: HandoverView = {
            "at": self.now, "who": "maria", "to": "", "text": str(arguments["text"]), "accepted_by": "",
        }  # fmt: skip
        incident["handover"] = offered
        self._write(incident, "handover", f"hands over to whoever comes next\n{offered['text']}")
        self.report()
        return incident["id"]

    def _do_accept_handover(self, arguments: Mapping[str, Any]) -> str:
        incident = self._incident_by(arguments)
        if incident["handover"] is not None:
            incident["handover"] = {**incident["handover"], "accepted_by": "maria"}
        incident["lead"] = "maria"
        self._write(incident, "handover", "has taken over")
        self.report()
        return incident["id"]

    def _do_open_incident(self, arguments: Mapping[str, Any]) -> str:
        name = f"INC-{31 + len(self.incident_list)}"
        self.incident_list.insert(
            0, self._incident(name, str(arguments["component"]), str(arguments["title"]), self.now)
        )
        self.change(str(arguments["component"]), incident=name)
        return name

    def _do_pause(self, arguments: Mapping[str, Any]) -> str:
        self.change(str(arguments["component"]), status="paused")
        return ""

    def _do_maintenance(self, arguments: Mapping[str, Any]) -> str:
        component = str(arguments["target"])
        until = self.now + float(arguments["seconds"])
        line = {"id": f"component:{component}", "kind": "maintenance", "title": "Maintenance", "until": until}
        self.change(component, windows=[line])
        return ""

    def _do_end_maintenance(self, arguments: Mapping[str, Any]) -> str:
        self.change(str(arguments["target"]), windows=[])
        return ""

    def _do_resume(self, arguments: Mapping[str, Any]) -> str:
        self.change(str(arguments["component"]), status="unknown", reason="starting")
        return ""

    def _do_away(self, arguments: Mapping[str, Any]) -> str:
        person = next(one for one in self.person_list if one["id"] == arguments["person"])
        person["away"], person["until"] = not arguments["back"], arguments["until"]
        self._record(f"{person['name']} is {'back' if arguments['back'] else 'away'}", None, "maria")
        self.report()
        return ""

    def _do_open_run(self, arguments: Mapping[str, Any]) -> str:
        if self.run["id"]:
            return self.run["id"]
        self._runs += 1
        self.run["id"], self.run["who"], self.run["started_at"] = f"RUN-{self._runs}", "maria", self.now
        self.run["driver"], self.run["yours"], self.run["active_at"] = "maria", True, self.now
        return self.run["id"]

    def _step(self, arguments: Mapping[str, Any]) -> StepView:
        assert arguments["run"] == self.run["id"]
        return next(one for one in self.run["steps"] if one["id"] == arguments["step"])

    def _do_tick(self, arguments: Mapping[str, Any]) -> str:
        ticks = self._step(arguments)["ticks"]
        ticks[arguments["tick"]] = (ticks[arguments["tick"]][0], bool(arguments["done"]))
        return self.run["id"]

    def _do_mark_step(self, arguments: Mapping[str, Any]) -> str:
        step = self._step(arguments)
        step["mark"] = "" if arguments["mark"] == "open" else str(arguments["mark"])
        steps = self.run["steps"]
        if step["mark"] == "failed" and step["goes_to"]:
            self.run["current"] = step["goes_to"][1]
        elif self.run["current"] == step["id"]:
            later = [*steps[steps.index(step) + 1 :], *steps]
            self.run["current"] = next((one["id"] for one in later if not one["mark"]), "")
        return self.run["id"]

    def _do_run_block(self, arguments: Mapping[str, Any]) -> str:
        block = self._step(arguments)["blocks"][arguments["block"]]
        block["state"], block["detail"] = "passed", "exit 0 in 0.2 s"
        block["output"] = self.texts.get("output", "All systems operational\n2 mails in the queue\n")
        return self.run["id"]

    def _do_run_checks(self, arguments: Mapping[str, Any]) -> str:
        return str(arguments["run"])

    def _do_cancel_block(self, arguments: Mapping[str, Any]) -> str:
        block = self._step(arguments)["blocks"][arguments["block"]]
        block["state"], block["detail"], block["in_doubt"] = "unknown", "cancelled by maria after 2s", True
        return ""

    def _do_decide_block(self, arguments: Mapping[str, Any]) -> str:
        block = self._step(arguments)["blocks"][arguments["block"]]
        block["decision"], block["in_doubt"] = str(arguments["decision"]), False
        return ""

    def _do_set_parameter(self, arguments: Mapping[str, Any]) -> str:
        for step in self.run["steps"]:
            for block in step["blocks"]:
                block["needs"] = [name for name in block["needs"] if name != arguments["name"]]
        return ""

    def _do_take_run(self, arguments: Mapping[str, Any]) -> str:
        self.run["driver"], self.run["yours"], self.run["driver_gone"] = "maria", True, False
        return str(arguments["run"])

    def _do_accept_run(self, arguments: Mapping[str, Any]) -> str:
        self.run["changed"] = False
        return str(arguments["run"])

    def _do_approve_runbook(self, arguments: Mapping[str, Any]) -> str:
        self.run["approved"] = arguments["sha256"] == self.run["sha256"]
        return ""

    def _do_start_drill(self, arguments: Mapping[str, Any]) -> str:
        line = next(each for each in self.drill_lines if each["id"] == arguments["drill"])
        run = drill_run(line, f"DRILL-{len(self.drill_runs) + 1}", self.now, reason=arguments["reason"])
        self.drill_runs[run["id"]], line["running"] = run, run["id"]
        self.marked = [line["component"]]
        self.report(line["component"])
        return run["id"]

    def _do_stop_drill(self, arguments: Mapping[str, Any]) -> str:
        self.run_drill("undoing", stopped=f"maria: {arguments['reason']}")
        return str(arguments["run"])

    def _do_halt_drills(self, arguments: Mapping[str, Any]) -> str:
        self.lever = {"at": self.now, "who": "maria", "reason": str(arguments["reason"])}
        if self.open_drill is not None:
            self.run_drill("undoing", stopped=f"halted: {arguments['reason']}")
        self.report("email")
        return ""

    def _do_allow_drills(self, arguments: Mapping[str, Any]) -> str:
        self.lever = None
        self.report("email")
        return ""

    def _do_fault_gone(self, arguments: Mapping[str, Any]) -> str:
        self.faults_left = [each for each in self.faults_left if each["run"] != arguments["run"]]
        self.report("email")
        return ""

    def _do_end_run(self, arguments: Mapping[str, Any]) -> str:
        self.run["id"] = ""
        return ""

    async def switch(self, component: str) -> SwitchView | None:
        self._reachable()
        return copy.deepcopy(self.switches.get(component))

    async def register(self) -> list[FailureView]:
        self._reachable()
        crm = failure(
            "crm", "crm-unreachable", "The CRM cannot be reached", "runbook",
            gaps=["no backup"], near_misses=3, near_at=START - 7200,
        )  # fmt: skip
        return [*self._failures("email"), crm]

    async def readiness(self, component: str | None = None, limit: int | None = None) -> ReadinessView:
        self._reachable()
        found = copy.deepcopy(self.readiness_found or readiness(0, []))
        if component is None:
            return found
        gaps = [gap for gap in found["gaps"] if gap["component"] == component]
        scores = [each for each in found["components"] if each["component"] == component]
        score = scores[0]["score"]
        return {**found, "component": component, "gaps": gaps, "total": len(gaps), "components": scores, "score": score}

    async def whatif_ranking(self) -> list[WhatIfLine]:
        self._reachable()
        return [whatif_loss("host:mailer.example", lost=True), whatif_loss("email/postmark")]

    async def whatif(self, subjects: Sequence[str]) -> WhatIfView:
        self._reachable()
        return whatif_loss(*subjects, lost=subjects[0].startswith("host:"))

    async def couplings(self, hours: float = 2160.0) -> dict[str, Any]:
        self._reachable()
        return {"couplings": copy.deepcopy(self.coupled), "tested": 10, "components": 5}

    async def incidents(self, *, closed: bool = False) -> list[IncidentView]:
        self._reachable()
        return copy.deepcopy([one for one in self.incident_list if closed or one["resolved_at"] is None])

    async def journal(
        self, *, before: int | None = None, limit: int = 200, component: str | None = None
    ) -> list[JournalLine]:
        self._reachable()
        found = [
            one
            for one in reversed(self.records)
            if (before is None or one["seq"] < before) and (component is None or one["component"] == component)
        ]
        return copy.deepcopy(found[:limit])

    async def runbooks(self) -> list[RunbookLine]:
        self._reachable()
        return [
            {
                "id": "email-down",
                "title": self.run["title"],
                "component": "email",
                "failures": ["email/provider-unreachable"],
                "owner": "maria",
                "reviewed": "2026-01-02",
                "executable": True,
                "findings": 0,
                "approved": True,
            },
            {
                "id": "email-all-down",
                "title": "No mail provider works",
                "component": "email",
                "failures": [],
                "owner": None,
                "reviewed": None,
                "executable": False,
                "findings": 2,
                "approved": False,
            },
            {
                "id": "email-stuck",
                "title": "Mail is accepted and not sent",
                "component": "email",
                "failures": [],
                "owner": "ken",
                "reviewed": "2026-01-03",
                "executable": True,
                "findings": 0,
                "approved": False,
            },
        ]

    async def runbook(self, runbook: str, component: str | None = None, mode: str | None = None) -> RunView:
        self._reachable()
        return {**copy.deepcopy(self.run), "mode": mode or "step"}

    async def runs(self, limit: int = 100) -> list[RunLine]:
        self._reachable()
        return []

    async def drills(self) -> DrillsView:
        self._reachable()
        run = self.open_drill
        return {
            "drills": copy.deepcopy(self.drill_lines),
            "running": run["id"] if run else "",
            "faults": copy.deepcopy(self.faults_left),
            "lever": copy.deepcopy(self.lever),
            "at": self.now,
        }

    async def drill(self, drill: str) -> DrillView | None:
        self._reachable()
        run = self.drill_runs.get(drill)
        name = run["drill"] if run else drill
        line = next((each for each in self.drill_lines if each["id"] == name), None)
        if line is None:
            return None
        if run is None:
            run = next((each for each in reversed(self.drill_runs.values()) if each["drill"] == name), None)
        view: DrillView = {
            "line": line, "run": run, "fault": None, "absent": ["ken"], "steady": ["email/delivery"],
            "unaffected": ["crm"], "limit": 600.0, "windows": ["tue 10:00-16:00"], "runbook": "email-down",
        }  # fmt: skip
        return copy.deepcopy(view)

    async def drill_plan(self, drill: str) -> DrillPlanView:
        self._reachable()
        self.drills_planned += 1
        line = next(each for each in self.drill_lines if each["id"] == drill)
        made: dict[str, Any] = {
            "drill": drill,
            "title": line["title"],
            "component": line["component"],
            "level": line["level"],
            "latest": line["verdict_run"],
            "due": line["due"],
            "steps": ["arm a guard, which undoes everything after 10m at the latest", "inject fault_proxy"],
            "undo": ["fault_proxy: by its own way back", "verified by email/postmark/api"],
            "by_hand": ["opsdash faultproxy heal 9101"],
            "expects": ["detected within 30s", "service verified within 5m", "not affected: crm"],
            "touches": ["users of email", "the routing of email"],
            "limit": 600.0,
            "guards": [guard("running", "no other drill is running", evidence="none is", overridable=False)],
            "failed": [],
            "warnings": [],
            "needs": "y",
            "refused": None,
        }
        made.update(copy.deepcopy(self.drill_plan_changes))
        return made  # type: ignore[return-value] # built from the keys of DrillPlanView

    async def people(self) -> list[PersonView]:
        self._reachable()
        return copy.deepcopy(self.person_list)

    async def cover(self) -> CoverageView:
        self._reachable()
        return copy.deepcopy(self.coverage)

    async def windows(self) -> list[WindowView]:
        self._reachable()
        return [copy.deepcopy(each) for found in self.windows_of.values() for each in found]

    async def alarms(self) -> AlarmsView:
        self._reachable()
        return {"alarms": [], "outbox": [], "channels": [], "texts": {}}

    async def problems(self) -> list[ProblemView]:
        self._reachable()
        return copy.deepcopy(self.problem_list)

    async def history(self, component: str, hours: float = 24.0) -> dict[str, Any]:
        self._reachable()
        return {}

    async def demo(self) -> dict[str, Any]:
        self._reachable()
        if not self.is_demo:
            return {}
        faults = [
            {"fault": "ok", "description": "works; heals whatever was injected"},
            {"fault": "down", "description": "refuses connections"},
        ]
        return {"services": {"postmark": faults, "crm": faults}}

    async def inject(self, service: str, fault: str) -> None:
        self._reachable()
        self.injected.append((service, fault))

    async def close(self) -> None:
        self.closed = True
