"""The engine's HTTP interface, on its Unix socket and, when asked for, on TCP (`opsdash.service.network`).

Starlette on uvicorn, with three things done otherwise than uvicorn does them: the socket is bound here under a private
umask (uvicorn makes it world-writable), signals are handled by the engine (uvicorn waits for open streams for ever and
then dies by the signal), and who is asking is the peer's uid, read from the socket when it connects.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from opsdash.core.alarm_views import alarms_view
from opsdash.core.readiness_views import MOST_GAPS
from opsdash.engine.hub import BYE
from opsdash.errors import EngineError, OpsdashError
from opsdash.model.inputs import ApproveRunbookIntent
from opsdash.model.run import RunMode
from opsdash.model.switch import Refused, SwitchKind
from opsdash.service import asking, intents
from opsdash.service.metrics import openmetrics
from opsdash.service.network import HEARTBEATS
from opsdash.service.places import API, account
from opsdash.service.protocol import LocalProtocol
from opsdash.service.tokens import Heartbeats

if TYPE_CHECKING:
    from starlette.requests import Request

    from opsdash.config.loader import Loaded
    from opsdash.engine.engine import Engine
    from opsdash.service.network import Door
    from opsdash.service.places import Places

log = logging.getLogger(__name__)

Stop = Callable[[str], None]
LONGEST_BODY = 256 * 1024
"""Bytes of a request; what a heartbeat's sender has to say beyond the first thousand is dropped."""

LONGEST_ID = 18
"""Digits of an event's number."""

TOKEN = "token"  # noqa: S105 - who it was that asked over TCP, as the journal has it
"""Who asks over TCP: an account is not known, only that it had the token."""

_API = {"opsdash-api": str(API)}


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self._over = asyncio.Event()

    async def main_loop(self) -> None:
        """Wait for the end. Uvicorn looks ten times a second whether it has come, which costs as much as checks do."""
        await self.on_tick(0)  # sets the headers of every answer
        await self._over.wait()

    def end(self) -> None:
        """Serve no more."""
        self.should_exit = True
        self._over.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say when the first request can be answered."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The engine handles signals itself."""
        yield


class Service:
    """Serves an engine until it is closed. `stop` is called when a client asks the engine to end. door: for TCP."""

    def __init__(
        self,
        engine: Engine,
        where: Places,
        stop: Stop,
        environment: Mapping[str, str] = MappingProxyType({}),
        door: Door | None = None,
    ) -> None:
        self._engine = engine
        self._where = where
        self._stop = stop
        self._door = door
        self._signed: tuple[Loaded, Heartbeats] | None = None
        self._demo_control = environment.get("DEMO_CONTROL")
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bind the socket and serve. The caller holds the lock."""
        from opsdash.engine.tasks import spawn

        listening = _bind(self._where)
        app = self._app()
        config = uvicorn.Config(
            app,
            http=LocalProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=1,
            server_header=False,
            date_header=False,
        )
        self._server = _Server(config)
        self._task = spawn(self._server.serve(sockets=[listening]), "service")
        ready = spawn(self._server.listening.wait(), "service starts")
        await asyncio.wait({self._task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            raise EngineError(f"nobody can be served on {self._where.socket}; see the log for the reason")
        if self._door is not None:
            self._door.serve(app, lambda name: self._check_of(name, signed_only=True) is not None)

    async def close(self) -> None:
        """Serve no more; streams were told before. The socket file goes too."""
        if self._server is not None and self._task is not None:
            self._server.end()
            closing = [] if self._door is None else [asyncio.ensure_future(self._door.close())]
            await asyncio.wait([self._task, *closing], timeout=2)
        with contextlib.suppress(FileNotFoundError):
            self._where.socket.unlink()

    def _app(self) -> Starlette:
        routes = [
            Route("/v1/healthz", self._healthz),
            Route("/v1/metrics", self._metrics),
            Route("/v1/snapshot", self._snapshot),
            Route("/v1/events", self._events),
            Route("/v1/components/{component}", self._component),
            Route("/v1/switches/{component}", self._switch),
            Route("/v1/plans", self._plan, methods=["POST"]),
            Route("/v1/intents", self._intent, methods=["POST"]),
            Route("/v1/observations", self._observe, methods=["POST"]),
            Route("/v1/register", self._register),
            Route("/v1/readiness", self._readiness),
            Route("/v1/incidents", self._incidents),
            Route("/v1/journal", self._journal),
            Route("/v1/runbooks", self._runbooks),
            Route("/v1/runbooks/{runbook}", self._runbook),
            Route("/v1/runs", self._runs),
            Route("/v1/runs/{run}", self._run),
            Route("/v1/runs/{run}/output", self._output),
            Route("/v1/drills", self._drills),
            Route("/v1/drills/{drill}", self._drill),
            Route("/v1/drills/{drill}/plan", self._drill_plan),
            Route("/v1/people", self._people),
            Route("/v1/cover", self._cover),
            Route("/v1/windows", self._windows),
            Route("/v1/alarms", self._alarms),
            Route("/v1/auto", self._auto),
            Route("/v1/problems", self._problems),
            Route("/v1/history/{component}", self._history),
            Route("/v1/couplings", self._couplings),
            Route("/v1/engine", self._about),
            Route("/v1/engine/stop", self._stop_engine, methods=["POST"]),
            Route("/v1/demo", self._demo, methods=["GET", "POST"]),
            Route("/v1/marks", self._mark, methods=["POST"]),
            Route("/v1/heartbeats", self._heartbeats),
            Route("/v1/heartbeats/{check:path}", self._heartbeat, methods=["POST"]),
        ]
        return Starlette(
            routes=routes,
            exception_handlers={HTTPException: _refused, OpsdashError: _unable, Exception: _bug},
        )

    # --- reading -----------------------------------------------------------------------------------------------

    async def _healthz(self, _: Request) -> Response:
        return PlainTextResponse("ok\n", headers=_API)

    async def _metrics(self, _: Request) -> Response:
        kind = "application/openmetrics-text; version=1.0.0; charset=utf-8"
        return Response(openmetrics(self._engine), media_type=kind, headers=_API)

    async def _snapshot(self, _: Request) -> Response:
        return _json(self._engine.hub.snapshot())

    async def _events(self, request: Request) -> Response:
        since = request.headers.get("last-event-id") or request.query_params.get("since")
        known = since is not None and since.isdecimal() and len(since) <= LONGEST_ID
        rings = request.query_params.get("rings") == "1"
        begin = int(since) if since is not None and known else None
        stream = self._stream(begin, _session(request), rings=rings)
        return StreamingResponse(stream, media_type="text/event-stream", headers=_API)

    async def _stream(self, since: int | None, session: str, *, rings: bool) -> AsyncIterator[str]:
        subscriber = self._engine.hub.subscribe(since, rings=rings)
        if session:
            self._engine.runs.session_opened(session)
        try:
            if since is None:
                snapshot = self._engine.hub.snapshot()
                yield _event("snapshot", snapshot["seq"], json.dumps(snapshot, separators=(",", ":")))
            while True:
                name, seq, data = await subscriber.queue.get()
                yield _event(name, seq, data)
                if name == BYE:
                    return
        finally:
            self._engine.hub.unsubscribe(subscriber)
            if session:
                self._engine.runs.session_closed(session)

    async def _component(self, request: Request) -> Response:
        name = request.path_params["component"]
        found = (await self._engine.written()).component(name)
        return _json(found) if found is not None else _problem(404, f"there is no component {name!r}")

    async def _switch(self, request: Request) -> Response:
        viewer = await self._engine.written()
        switch = viewer.draft.switch(request.path_params["component"])
        return _json(viewer.switch(switch) if switch else None)

    async def _register(self, _: Request) -> Response:
        return _json((await self._engine.written()).register())

    async def _readiness(self, request: Request) -> Response:
        name, limit = request.query_params.get("component"), request.query_params.get("limit", str(MOST_GAPS))
        if not limit.isdecimal() or len(limit) > LONGEST_ID:
            return _problem(400, "limit is a number")
        await self._engine.written()
        found = await self._engine.readiness.view(name, min(int(limit), MOST_GAPS))
        return _json(found) if found is not None else _problem(404, f"there is no component {name!r}")

    async def _incidents(self, request: Request) -> Response:
        closed = request.query_params.get("closed") == "1"
        return _json(await asking.incidents(self._engine, closed=closed))

    async def _journal(self, request: Request) -> Response:
        query = request.query_params
        try:
            before = int(query["before"]) if "before" in query else None
            limit = min(int(query.get("limit", "200")), 5000)
        except ValueError:
            return _problem(400, "before and limit are numbers")
        return _json(await asking.journal(self._engine, before, limit, query.get("component")))

    async def _runbooks(self, _: Request) -> Response:
        return _json(asking.runbooks(self._engine))

    async def _runbook(self, request: Request) -> Response:
        name, query = request.path_params["runbook"], request.query_params
        modes = {mode.value: mode for mode in RunMode}
        who, session = self._who(request), _session(request)
        await self._engine.written()
        found = await self._engine.runs.view(
            name, query.get("component"), modes.get(query.get("mode", "")), who, session
        )
        return _json(found) if found is not None else _problem(404, f"there is no runbook {name!r}")

    async def _alarms(self, _: Request) -> Response:
        return _json(alarms_view((await self._engine.written()).draft))

    async def _runs(self, request: Request) -> Response:
        limit = request.query_params.get("limit", "100")
        if not limit.isdecimal() or len(limit) > LONGEST_ID:
            return _problem(400, "limit is a number")
        return _json(await asking.runs(self._engine, min(int(limit), 1000)))

    async def _run(self, request: Request) -> Response:
        name = request.path_params["run"]
        found = await asking.run(self._engine, name)
        return _json(found) if found is not None else _problem(404, f"there is no run {name!r}")

    async def _output(self, request: Request) -> Response:
        name, query = request.path_params["run"], request.query_params
        numbers = [query.get("block", "0"), query.get("since", "0")]
        if not all(each.isdecimal() and len(each) <= LONGEST_ID for each in numbers):
            return _problem(400, "block and since are numbers")
        await self._engine.written()
        run = self._engine.runner.world.get("runs", name)
        block, since = map(int, numbers)
        found = None if run is None else self._engine.runs.output(run, query.get("step", ""), block, since)
        return _json(found) if found is not None else _problem(404, f"no such block of {name!r} was executed")

    async def _auto(self, _: Request) -> Response:
        return _json((await self._engine.written()).auto())

    async def _drills(self, _: Request) -> Response:
        await self._engine.written()
        return _json(self._engine.drilling.viewer().drills())

    async def _drill(self, request: Request) -> Response:
        await self._engine.written()
        return _json(self._engine.drilling.viewer().drill(request.path_params["drill"]))

    async def _drill_plan(self, request: Request) -> Response:
        await self._engine.written()
        return _json(self._engine.drilling.viewer().plan(request.path_params["drill"], self._who(request)))

    async def _people(self, _: Request) -> Response:
        return _json((await self._engine.written()).people())

    async def _cover(self, _: Request) -> Response:
        return _json((await self._engine.written()).coverage())

    async def _windows(self, _: Request) -> Response:
        return _json((await self._engine.written()).windows())

    async def _problems(self, _: Request) -> Response:
        return _json(asking.problems(self._engine))

    async def _history(self, request: Request) -> Response:
        hours = _hours(request, "24")
        if hours is None:
            return _problem(400, "hours is a number")
        name = request.path_params["component"]
        if name not in self._engine.loaded.operation.components:
            return _problem(404, f"there is no component {name!r}")
        return _json(await asking.history(self._engine, name, hours))

    async def _couplings(self, request: Request) -> Response:
        hours = _hours(request, "2160")
        if hours is None:
            return _problem(400, "hours is a number")
        return _json(await asking.couplings(self._engine, hours))

    async def _about(self, _: Request) -> Response:
        listen = None if self._door is None else self._door.about()
        return _json({**asking.about(self._engine), "state": str(self._where.state), "listen": listen})

    async def _heartbeats(self, _: Request) -> Response:
        """Every heartbeat with the path to which its sender posts, from here and from other machines."""
        signed = self._urls()
        checks = sorted(name for name, spec in self._engine.loaded.operation.checks.items() if spec.passive)
        listed = [{"check": each, "path": HEARTBEATS + (signed.tokens[each] if signed else each)} for each in checks]
        return _json({"url": None if self._door is None else self._door.url, "heartbeats": listed})

    # --- changing ----------------------------------------------------------------------------------------------

    async def _plan(self, request: Request) -> Response:
        wanted = await _body(request)
        try:
            kind = SwitchKind(str(wanted.get("kind")))
        except ValueError:
            return _problem(400, f"kind is one of {', '.join(each.value for each in SwitchKind)}")
        target = wanted.get("target")
        view = await self._engine.plan(str(wanted.get("component")), kind, None if target is None else str(target))
        return _json(view)

    async def _intent(self, request: Request) -> Response:
        wanted = await _body(request)
        given = str(wanted.get("key") or "")
        key = asking.cleaned(given or os.urandom(12).hex())
        arguments = wanted.get("arguments")
        if not isinstance(arguments, dict):
            return _problem(400, "arguments is a mapping")
        parsed = intents.parse(self._engine, str(wanted.get("intent")), arguments)
        if isinstance(parsed, Refused) and parsed.rule in intents.MEANINGLESS:
            return _problem(400, parsed.reason)
        if isinstance(parsed, ApproveRunbookIntent) and hasattr(request.state, "guest"):
            parsed = Refused("approval", "an approval is a person's word; give it on the engine's own machine")
        who, session = self._who(request), _session(request)
        verdict = await asking.submit(self._engine, key, who, parsed, session, repeatable=bool(given))
        return _json(verdict)

    async def _mark(self, request: Request) -> Response:
        """A change, as a pipeline reports it: `{"text": …}`, and component, version, link where they are known."""
        parsed = intents.parse(self._engine, "mark", await _body(request))
        if isinstance(parsed, Refused):
            return _problem(400, parsed.reason)
        verdict = await asking.submit(self._engine, os.urandom(12).hex(), self._who(request), parsed)
        refused = verdict["refused"]
        return _json(verdict) if refused is None else _problem(400, refused["reason"])

    async def _observe(self, request: Request) -> Response:
        wanted = await _body(request)
        check = str(wanted.get("check"))
        if check not in self._engine.loaded.bindings:
            return _problem(404, f"there is no check {check!r}")
        try:
            await self._engine.observe(check)
        except EngineError as error:
            return _problem(409, str(error))
        return _json(self._engine.viewer().check(check))

    async def _heartbeat(self, request: Request) -> Response:
        name: str = request.path_params["check"]
        found = self._check_of(name)
        detail = (await _raw_body(request))[:1000].decode("utf-8", "replace")
        if found is None or not self._engine.beat(*found, asking.cleaned(detail)):
            return _problem(404, f"there is no heartbeat {name!r}; `opsdash engine heartbeats` lists them")
        return PlainTextResponse("OK\n", headers=_API)

    def _check_of(self, name: str, *, signed_only: bool = False) -> tuple[str, str] | None:
        """Check and signal of what follows `/v1/heartbeats/`: the check's name, or what stands for it in a URL."""
        known = self._engine.loaded.bindings
        signal = "ok"
        for ending in ("start", "fail"):
            if name.endswith(f"/{ending}") and name not in known:
                name, signal = name.removesuffix(f"/{ending}"), ending
        signed = self._urls()
        check = None if signed is None else signed.check(name)
        if check is None and not signed_only and name in known:
            check = name
        return None if check is None else (check, signal)

    def _urls(self) -> Heartbeats | None:
        """What the heartbeats' URLs hold; None where nothing listens on TCP."""
        if self._door is None:
            return None
        loaded = self._engine.loaded
        if self._signed is None or self._signed[0] is not loaded:
            passive = (name for name, spec in loaded.operation.checks.items() if spec.passive)
            self._signed = (loaded, Heartbeats(self._door.token, passive))
        return self._signed[1]

    async def _demo(self, request: Request) -> Response:
        if self._demo_control is None:
            return _json({}) if request.method == "GET" else _problem(404, "this is no demo")
        from opsdash.demo import process

        control = int(self._demo_control)
        if request.method == "GET":
            return _json(await asyncio.to_thread(asking.demo, control))
        wanted = await _body(request)
        try:
            await asyncio.to_thread(process.inject, control, str(wanted.get("service")), str(wanted.get("fault")))
        except process.DemoError as error:
            return _problem(400, str(error))
        return _json({})

    async def _stop_engine(self, request: Request) -> Response:
        wanted = await _body(request)
        in_flight = self._engine.in_flight
        if in_flight and not wanted.get("force"):
            return _problem(409, f"not while something is in flight: {', '.join(in_flight)}")
        self._stop(f"asked by {self._who(request)}")
        return _json({"stopping": True})

    def _who(self, request: Request) -> str:
        """The person behind the peer's account; on a shared account, or over TCP, somebody may claim to be one."""
        claimed = request.headers.get("opsdash-as")
        if hasattr(request.state, "guest"):
            return f"{asking.cleaned(claimed)[:40]} (claimed, {TOKEN})" if claimed else TOKEN
        uid = getattr(request.state, "uid", None)
        login = "unknown" if uid is None else account(uid)
        people = self._engine.loaded.operation.people.values()
        person = next((each.id for each in people if each.login == login), login)
        if claimed and claimed != person:
            return f"{asking.cleaned(claimed)[:40]} (claimed, {login})"
        return person


def _hours(request: Request, usual: str) -> float | None:
    """How far to look back; None where that is no number."""
    try:
        hours = float(request.query_params.get("hours", usual))
    except ValueError:
        return None
    return hours if math.isfinite(hours) else None


def _bind(where: Places) -> socket.socket:
    """The listening socket, which only its owner may use. The caller holds the lock, so what is there is stale."""
    before = os.umask(0o177)
    try:
        with contextlib.suppress(FileNotFoundError):
            where.socket.unlink()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(where.socket))
    except OSError as error:
        raise EngineError(f"the socket {where.socket} cannot be made: {error.strerror or error}") from error
    finally:
        os.umask(before)
    listening.listen(128)
    listening.setblocking(False)
    return listening


def _session(request: Request) -> str:
    """The terminal that asks, "" where the client names none."""
    return asking.cleaned(request.headers.get("opsdash-session", ""))[:40]


def _event(name: str, seq: int, data: str) -> str:
    return f"event: {name}\nid: {seq}\ndata: {data}\n\n"


class _Json(JSONResponse):
    def render(self, content: Any) -> bytes:
        """Names that clients make up come back in answers; half a character among them is no reason to fail."""
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")


def _json(value: Any) -> Response:
    return _Json(value, headers=_API)


def _problem(status: int, text: str) -> Response:
    return _Json({"error": text}, status_code=status, headers=_API)


async def _refused(_: Request, error: Exception) -> Response:
    """What the routes have no answer for, and what `_body` refuses."""
    status = error.status_code if isinstance(error, HTTPException) else 400
    return _problem(status, error.detail if isinstance(error, HTTPException) else str(error))


async def _unable(_: Request, error: Exception) -> Response:
    """A store or a part of the engine cannot answer; the rest can."""
    return _problem(503, str(error))


async def _bug(request: Request, error: Exception) -> Response:
    path = request.url.path
    shown = (
        f"{HEARTBEATS}…" if path.startswith(HEARTBEATS) else path
    )  # what follows may be all that is needed to report
    log.error("%s %s failed", request.method, shown, exc_info=error)
    return _problem(500, f"a bug in opsdash: {type(error).__name__}; see engine.log")


async def _raw_body(request: Request) -> bytes:
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > LONGEST_BODY:
            raise HTTPException(413, f"a request has at most {LONGEST_BODY >> 10} KiB")
    return bytes(found)


async def _body(request: Request) -> dict[str, Any]:
    raw = await _raw_body(request)
    try:
        found = json.loads(raw) if raw.strip() else {}
    except (ValueError, RecursionError):
        raise HTTPException(400, "the request is no JSON") from None
    if not isinstance(found, dict):
        raise HTTPException(400, "the request is no JSON object")
    return found
