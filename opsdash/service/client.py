"""The engine's client: `Session` over the Unix socket, for the board and the command line alike."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlencode

from opsdash.errors import OpsdashError
from opsdash.service.places import API, Places, places
from opsdash.service.session import DeltaEvent, Event, Lost, RingEvent, SessionError, SnapshotEvent
from opsdash.service.wire import Reply, WireError, events, request

if TYPE_CHECKING:
    from opsdash.model.views import (
        AlarmsView,
        AutoState,
        CheckView,
        ComponentDetail,
        CoverageView,
        DrillPlanView,
        DrillsView,
        DrillView,
        FailureView,
        IncidentView,
        JournalLine,
        OutputView,
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

RETRY = 0.25
"""Seconds between two tries to get a lost stream back."""

SILENCE = 5.0
"""Seconds without any event after which a stream is given up: the engine sends one every second."""

PROMPTLY = 0.04
"""The same while an engine is starting: whoever opens the board waits for it."""

STARTING = 3.0
"""Seconds that an engine which was started gets to answer, before another one is started."""

REVIVE_AT_MOST = 3
REVIVE_WITHIN = 60.0

Revive = Callable[[], None]


class EngineSession:
    """A session with the engine that lives at `where`.

    claim: whom a person on a shared account says to be.  revive: starts an engine again when it is gone; called at most
    three times a minute.  spawned: one has just been started, and is given time to answer.  rings: somebody sits
    here who hears a bell.  name: of this terminal, where one person may have several and only one of them drives a
    run; it listens to `events` then.
    """

    def __init__(
        self,
        where: Places,
        *,
        claim: str | None = None,
        read_only: bool = False,
        revive: Revive | None = None,
        spawned: bool = False,
        rings: bool = False,
        name: str = "",
    ) -> None:
        self.where = where
        self._name = name
        self._started_at = time.monotonic() if spawned else -math.inf
        self._rings = rings
        self._claim = claim
        self._read_only = read_only
        self._revive = revive
        self._revived: list[float] = []
        self._other_api = False

    @property
    def read_only(self) -> bool:
        """Whether intents are refused."""
        return self._read_only or self._other_api

    # --- the stream --------------------------------------------------------------------------------------------

    async def events(self) -> AsyncIterator[Event]:
        """Snapshot first, then deltas; reconnects by itself, for ever."""
        while True:
            said_bye = False
            try:
                async for event in self._stream():
                    if isinstance(event, Lost):
                        said_bye = event.bye
                    yield event
                    if isinstance(event, Lost):
                        break
            except (WireError, SessionError) as error:
                yield Lost(str(error))
            await asyncio.sleep(PROMPTLY if self._is_starting() else RETRY)
            self._look_again()
            if not said_bye:
                trouble = self._start_again()
                if trouble:
                    yield Lost(trouble)

    async def _stream(self) -> AsyncIterator[Event]:
        """One connection's events; ends after a goodbye, a reset or silence."""
        path = "/v1/events?rings=1" if self._rings else "/v1/events"
        stream = events(self.where.socket, path, self._headers(), self._note_api)
        try:
            while True:
                try:
                    async with asyncio.timeout(SILENCE):
                        event = await anext(stream)
                except TimeoutError:
                    yield Lost(f"nothing was heard of the engine for {SILENCE:.0f} s")
                    return
                except StopAsyncIteration:
                    yield Lost("the engine ended the stream")
                    return
                if event.name == "snapshot":
                    yield SnapshotEvent(event.data)
                elif event.name == "delta":
                    yield DeltaEvent(event.data)
                elif event.name == "ring":
                    yield RingEvent(str(event.data.get("text", "")))
                elif event.name == "reset":
                    yield SnapshotEvent(await self.snapshot())
                elif event.name == "bye":
                    yield Lost(f"the engine ended: {event.data.get('why', '')}", bye=True)
                    return
        finally:
            await cast("Any", stream).aclose()

    def _is_starting(self) -> bool:
        return time.monotonic() - self._started_at < STARTING

    def _look_again(self) -> None:
        """The next engine may live elsewhere: `engine.state` of opsdash.yaml may have changed."""
        with contextlib.suppress(OpsdashError):  # the file is being edited; the place we know is as good as any
            self.where = places(self.where.workspace)

    def _start_again(self) -> str:
        """Start an engine, at most three times a minute. Returns what stood in the way, "" if nothing did."""
        if self._revive is None or self._is_starting():
            return ""
        now = time.monotonic()
        self._revived = [at for at in self._revived if now - at < REVIVE_WITHIN]
        if len(self._revived) < REVIVE_AT_MOST:
            self._revived.append(now)
            self._started_at = now
            try:
                self._revive()
            except OpsdashError as error:
                return str(error)
        return ""

    # --- questions ---------------------------------------------------------------------------------------------

    async def snapshot(self) -> Snapshot:
        """The wall as it is now."""
        return cast("Snapshot", await self._get("/v1/snapshot"))

    async def component(self, component: str) -> ComponentDetail:
        """Everything about one component."""
        return cast("ComponentDetail", await self._get(f"/v1/components/{quote(component, safe='')}"))

    async def plan(self, component: str, kind: str, target: str | None = None) -> PlanView:
        """What a switch would do; changes nothing."""
        body = {"component": component, "kind": kind, "target": target}
        return cast("PlanView", await self._post("/v1/plans", body))

    async def submit(self, intent: str, arguments: Mapping[str, Any], key: str | None = None) -> Verdict:
        """Ask for something to be done."""
        if self.read_only:
            why = "the engine is of another version; restart it with `opsdash engine restart`"
            reason = why if self._other_api else "this session only reads"
            return {
                "id": key or "",
                "accepted": False,
                "refused": {"rule": "read_only", "reason": reason, "override": None},
                "subject": "",
            }
        body = {"intent": intent, "arguments": dict(arguments), "key": key}
        return cast("Verdict", await self._post("/v1/intents", body))

    async def switch(self, component: str) -> SwitchView | None:
        """The live or last switch of a component."""
        return cast("SwitchView | None", await self._get(f"/v1/switches/{quote(component, safe='')}"))

    async def observe(self, check: str) -> CheckView:
        """Run a check now, and wait for its result."""
        return cast("CheckView", await self._post("/v1/observations", {"check": check}, timeout=120.0))

    async def register(self) -> list[FailureView]:
        """Every failure mode of the operation."""
        return cast("list[FailureView]", await self._get("/v1/register"))

    async def readiness(self, component: str | None = None, limit: int | None = None) -> ReadinessView:
        """Scores, and gaps with what closes them, worst first: of the operation, or of one component."""
        wanted = {"component": component, "limit": limit}
        text = urlencode({key: value for key, value in wanted.items() if value is not None})
        return cast("ReadinessView", await self._get(f"/v1/readiness?{text}"))

    async def incidents(self, *, closed: bool = False) -> list[IncidentView]:
        """Open incidents, newest first; with `closed` the resolved ones too."""
        return cast("list[IncidentView]", await self._get(f"/v1/incidents?closed={int(closed)}"))

    async def journal(
        self, *, before: int | None = None, limit: int = 200, component: str | None = None
    ) -> list[JournalLine]:
        """Records, newest first."""
        query = {"limit": limit, "before": before, "component": component}
        text = urlencode({name: value for name, value in query.items() if value is not None})
        return cast("list[JournalLine]", await self._get(f"/v1/journal?{text}"))

    async def runbooks(self) -> list[RunbookLine]:
        """All runbooks."""
        return cast("list[RunbookLine]", await self._get("/v1/runbooks"))

    async def runbook(self, runbook: str, component: str | None = None, mode: str | None = None) -> RunView:
        """A runbook, with its open run for that component if there is one."""
        query = {name: value for name, value in (("component", component), ("mode", mode)) if value}
        text = f"?{urlencode(query)}" if query else ""
        return cast("RunView", await self._get(f"/v1/runbooks/{quote(runbook, safe='')}{text}"))

    async def runs(self, limit: int = 100) -> list[RunLine]:
        """Open runs and the latest that were closed, newest first."""
        return cast("list[RunLine]", await self._get(f"/v1/runs?limit={limit}"))

    async def run(self, run: str) -> dict[str, Any]:
        """Everything about a run, open or closed."""
        return cast("dict[str, Any]", await self._get(f"/v1/runs/{quote(run, safe='')}"))

    async def output(self, run: str, step: str, block: int, since: int = 0) -> OutputView:
        """What a block of an open run has said, from the line `since` on."""
        query = urlencode({"step": step, "block": block, "since": since})
        return cast("OutputView", await self._get(f"/v1/runs/{quote(run, safe='')}/output?{query}"))

    async def auto(self) -> AutoState:
        """Switching without a person, over all components."""
        return cast("AutoState", await self._get("/v1/auto"))

    async def drills(self) -> DrillsView:
        """All drills, overdue ones first; faults that may still be in place; and the lever."""
        return cast("DrillsView", await self._get("/v1/drills"))

    async def drill(self, drill: str) -> DrillView | None:
        """A drill with its open or latest run, by its id or that of the run; None if there is no such thing."""
        return cast("DrillView | None", await self._get(f"/v1/drills/{quote(drill, safe='')}"))

    async def drill_plan(self, drill: str) -> DrillPlanView:
        """What a drill would do now; changes nothing."""
        return cast("DrillPlanView", await self._get(f"/v1/drills/{quote(drill, safe='')}/plan"))

    async def people(self) -> list[PersonView]:
        """All people."""
        return cast("list[PersonView]", await self._get("/v1/people"))

    async def cover(self) -> CoverageView:
        """Who stands behind which component, and the rotas."""
        return cast("CoverageView", await self._get("/v1/cover"))

    async def windows(self) -> list[WindowView]:
        """Maintenance and freezes that are open now."""
        return cast("list[WindowView]", await self._get("/v1/windows"))

    async def alarms(self) -> AlarmsView:
        """Alarms, the outbox, and channels."""
        return cast("AlarmsView", await self._get("/v1/alarms"))

    async def problems(self) -> list[ProblemView]:
        """Problems of the workspace's files."""
        return cast("list[ProblemView]", await self._get("/v1/problems"))

    async def history(self, component: str, hours: float = 24.0) -> dict[str, Any]:
        """Uptime, latency percentiles and changes per check."""
        return cast("dict[str, Any]", await self._get(f"/v1/history/{quote(component, safe='')}?hours={hours}"))

    async def couplings(self, hours: float = 2160.0) -> dict[str, Any]:
        """Components that failed within the same minute more often than by chance."""
        return cast("dict[str, Any]", await self._get(f"/v1/couplings?hours={hours}"))

    async def about(self) -> dict[str, Any]:
        """The engine itself: pid, version, counters."""
        return cast("dict[str, Any]", await self._get("/v1/engine"))

    async def demo(self) -> dict[str, Any]:
        """In a demo: its services and their faults; else {}."""
        return cast("dict[str, Any]", await self._get("/v1/demo"))

    async def inject(self, service: str, fault: str) -> None:
        """In a demo: give a service a fault (`ok` heals it)."""
        await self._post("/v1/demo", {"service": service, "fault": fault})

    async def heartbeats(self) -> dict[str, Any]:
        """Every heartbeat with the path to which its sender posts, and the URL that it belongs to, if there is one."""
        return cast("dict[str, Any]", await self._get("/v1/heartbeats"))

    async def stop(self, *, force: bool = False) -> None:
        """Ask the engine to end; refused while something is in flight."""
        await self._post("/v1/engine/stop", {"force": force})

    async def close(self) -> None:
        """Nothing is held between calls."""

    async def _get(self, path: str) -> Any:
        return self._read(await self._ask("GET", path))

    async def _post(self, path: str, body: Any, timeout: float = 30.0) -> Any:
        return self._read(await self._ask("POST", path, body, timeout))

    async def _ask(self, method: str, path: str, body: Any = None, timeout: float = 30.0) -> Reply:
        try:
            return await request(self.where.socket, method, path, body, headers=self._headers(), timeout=timeout)
        except WireError as error:
            raise SessionError(str(error)) from error

    def _read(self, reply: Reply) -> Any:
        self._note_api(reply.headers)
        if reply.status >= 400:
            text = reply.body.get("error") if isinstance(reply.body, dict) else None
            raise SessionError(text or f"the engine answered {reply.status}")
        return reply.body

    def _note_api(self, headers: Mapping[str, str]) -> None:
        self._other_api = headers.get("opsdash-api", str(API)) != str(API)

    def _headers(self) -> dict[str, str]:
        headers = {"opsdash-as": self._claim, "opsdash-session": self._name}
        return {name: value for name, value in headers.items() if value}
