"""The main job without a terminal: `opsdash demo --tour`.

It starts the example operation, breaks the email primary, waits until opsdash names what is wrong, fails over, sees at
the front door and in the backup's own books that mail really leaves by it, opens the runbook, heals the primary and
fails back. Every step prints its measured time. The exit code is 0 only if all of it happened.

The tour uses what everybody uses, a `Session`, and beside it asks the example's services themselves: that opsdash says
so is no proof.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from opsdash.cli import exits
from opsdash.cli.base import refusal
from opsdash.cli.example import Example, running
from opsdash.cli.switching import show_plan, show_switch
from opsdash.cli.terminal import Painted, Role, bold, dim, out, say
from opsdash.engine.clock import system_clock
from opsdash.engine.tasks import cancel, spawn
from opsdash.errors import OpsdashError
from opsdash.service.session import SessionError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from opsdash.model.views import ComponentDetail, SwitchView
    from opsdash.service.client import EngineSession

COMPONENT = "email"
LOOK_EVERY = 0.05
LONGEST = 55.0
"""Seconds that the whole tour may take."""

STEP_WITHIN = 20.0
ASK_WITHIN = 3.0


@dataclass(frozen=True, slots=True)
class Way:
    """A mail provider: its id in the workspace, the mailer's name for it, and the service that plays it."""

    provider: str
    known_as: str
    variable: str


PRIMARY = Way("postmark", "pm-prod", "POSTMARK_HTTP")
BACKUP = Way("ses", "ses-eu", "SES_HTTP")


class TourError(OpsdashError):
    """Something of the tour did not happen."""


def take() -> int:
    """Take the tour."""
    say("starting the example operation …")
    with running() as example:
        try:
            asyncio.run(_tour(example))
        except (OpsdashError, SessionError, TimeoutError) as error:
            why = str(error) or f"it took longer than {LONGEST:.0f} s"
            out(Painted("✗ the tour failed: ", Role.DOWN), why)
            for line in example.last_words(5).splitlines():
                say(dim(f"  engine: {line}"))
            return exits.FAILED
    return exits.OK


async def _tour(example: Example) -> None:
    async with asyncio.timeout(LONGEST):
        example.start_engine()
        session = await example.attach()
        listener = spawn(_listen(session), "listener")  # an ephemeral engine lives as long as somebody listens
        try:
            await _Tour(example, session).go()
        finally:
            await cancel(listener)


async def _listen(session: EngineSession) -> None:
    async for _ in session.events():
        pass


class _Tour:
    """One tour, step by step."""

    def __init__(self, example: Example, session: EngineSession) -> None:
        self._example = example
        self._session = session
        self._steps: list[tuple[str, float]] = []

    async def go(self) -> None:
        await self._step("the example operation runs, and email is ok", self._healthy)
        await self._step("the mail provider is broken, and opsdash says so", self._break)
        await self._step("email is switched to the backup, verified", self._fail_over)
        await self._step("mail really leaves by the backup", self._see_mail_leave, BACKUP)
        await self._step("the runbook is open", self._open_runbook)
        await self._step("the mail provider works again, and redundancy is back", self._heal)
        await self._step("email is switched back to the primary, verified", self._fail_back)
        await self._step("mail really leaves by the primary", self._see_mail_leave, PRIMARY)
        self._summary()

    async def _step(self, title: str, do: Callable[..., Awaitable[None]], *given: Any) -> None:
        since = time.monotonic()
        out()
        out(bold(f"{len(self._steps) + 1}. {title}"))
        await do(*given)
        took = time.monotonic() - since
        self._steps.append((title, took))
        out(Painted("   ✓ ", Role.OK), f"{took:.1f} s")

    def _summary(self) -> None:
        out()
        for number, (title, took) in enumerate(self._steps, 1):
            out(Painted("✓ ", Role.OK), f"{number}. {title}", dim(f"  {took:.1f} s"))

    # --- the steps -----------------------------------------------------------------------------------------------

    async def _healthy(self) -> None:
        detail = await self._until("email is ok on its primary, with a backup that is ready", _is_healthy)
        row = detail["row"]
        checks = sum(len(provider["checks"]) for provider in detail["providers"]) + len(detail["checks"])
        _tell(f"{row['title']} is {row['status']} on {row['active']}, redundancy {row['redundancy']}; {checks} checks")

    async def _break(self) -> None:
        broken = time.monotonic()
        await asyncio.to_thread(self._example.services.inject, PRIMARY.provider, "down")
        _tell(f"injected: {PRIMARY.provider} refuses connections")
        detail = await self._until("a failure mode of email is active", lambda it: it["row"]["failure_id"] is not None)
        row = detail["row"]
        _tell(f"noticed after {time.monotonic() - broken:.1f} s: {row['status']}, {_why(detail)}")
        runbook = f"runbook {detail['runbook']}"
        _tell(f"failure mode: {row['failure']} ({row['failure_id']}); decided: {row['response']}, {runbook}")
        _tell(f"incident {row['incident']}; the key for it: {row['hint']}")
        if row["failure_id"] != "provider-unreachable" or row["response"] != "switch" or row["incident"] is None:
            raise TourError(f"it was not recognised as what it is: {row['failure_id']}, {row['response']}")

    async def _fail_over(self) -> None:
        await self._switch("failover", BACKUP)

    async def _fail_back(self) -> None:
        await self._switch("failback", PRIMARY)

    async def _see_mail_leave(self, way: Way) -> None:
        """Three witnesses: the mailer's front door, the provider's own count, and the time of the mail."""
        since = system_clock().wall
        before = (await self._get(way.variable, "/messages"))["count"]
        loop = asyncio.get_running_loop()
        until = loop.time() + STEP_WITHIN
        while True:
            delivery = await self._get("MAILER_HTTP", "/last-delivery")
            count = (await self._get(way.variable, "/messages"))["count"]
            if delivery["provider"] == way.known_as and _seconds(delivery["at"]) > since and count > before:
                _tell(f"the mailer says: accepted by {delivery['provider']} at {delivery['at']}")
                _tell(f"{way.provider} itself counts {count - before} mails since then ({before} → {count})")
                return
            if loop.time() > until:
                raise TourError(f"no mail left by {way.provider}: the mailer says {delivery}, the provider {count}")
            await asyncio.sleep(LOOK_EVERY)

    async def _open_runbook(self) -> None:
        detail = await self._session.component(COMPONENT)
        name = detail["runbook"]
        if name is None:
            raise TourError(f"{COMPONENT} has no runbook")
        await self._submit("open_run", {"runbook": name, "component": COMPONENT})
        view = await self._session.runbook(name, COMPONENT)
        _tell(f"{view['title']} ({view['id']}, owner {view['owner']})")
        for number, step in enumerate(view["steps"], 1):
            _tell(f"  {number}. {step['title']}", step["time"])
        if not view["steps"] or not view["executable"]:
            raise TourError(f"the runbook {name} cannot be followed: {view['findings']}")
        await self._submit("end_run", {"run": view["id"]})

    async def _heal(self) -> None:
        await asyncio.to_thread(self._example.services.inject, PRIMARY.provider, "ok")
        _tell(f"healed: {PRIMARY.provider}")
        detail = await self._until("email is ok on the backup, and its primary is ready", _is_healed)
        _tell(f"{detail['row']['status']} on {detail['row']['active']}, redundancy {detail['row']['redundancy']}")

    # --- what steps are made of ----------------------------------------------------------------------------------

    async def _switch(self, kind: str, to: Way) -> None:
        plan = await self._session.plan(COMPONENT, kind)
        if plan["refused"] is not None:
            raise TourError(f"there is no plan for {kind}: {refusal(plan['refused'])}")
        show_plan(plan, to_stderr=False)
        if plan["failed"] or plan["target"] != to.provider:
            raise TourError(f"the plan for {kind} does not hold: to {plan['target']}, failed {plan['failed']}")
        ends = {key: plan[key] for key in ("component", "generation", "source", "target")}
        subject = await self._submit(kind, {**ends, "reason": plan["reason"] or "the tour"})
        switch = await self._ended(subject)
        show_switch(switch)
        if switch["state"] != "committed":
            raise TourError(f"{kind} ended {switch['state']}: {switch['detail']}")

    async def _submit(self, intent: str, given: dict[str, Any]) -> str:
        verdict = await self._session.submit(intent, given)
        if verdict["refused"] is not None:
            raise TourError(f"{intent} was refused: {refusal(verdict['refused'])}")
        return verdict["subject"]

    async def _ended(self, subject: str) -> SwitchView:
        while True:
            switch = await self._session.switch(COMPONENT)
            if switch is not None and switch["id"] == subject and not switch["live"]:
                return switch
            await asyncio.sleep(LOOK_EVERY)

    async def _until(self, what: str, met: Callable[[ComponentDetail], bool]) -> ComponentDetail:
        loop = asyncio.get_running_loop()
        until = loop.time() + STEP_WITHIN
        while True:
            detail = await self._session.component(COMPONENT)
            if met(detail):
                return detail
            if loop.time() > until:
                row = detail["row"]
                raise TourError(
                    f"not within {STEP_WITHIN:.0f} s: {what}. It is {row['status']} ({row['cause'] or row['reason']}) "
                    f"on {row['active']}, redundancy {row['redundancy']}"
                )
            await asyncio.sleep(LOOK_EVERY)

    async def _get(self, variable: str, path: str) -> Any:
        return await asyncio.to_thread(_get, self._example.services.ports[variable], path)


def _is_healthy(detail: ComponentDetail) -> bool:
    row = detail["row"]
    return row["status"] == "ok" and row["active"] == PRIMARY.provider and row["redundancy"] == "ready"


def _is_healed(detail: ComponentDetail) -> bool:
    row = detail["row"]
    return row["status"] == "ok" and row["active"] == BACKUP.provider and row["redundancy"] == "ready"


def _why(detail: ComponentDetail) -> str:
    """The check that is the cause, and what it saw."""
    cause = detail["row"]["cause"]
    checks = [*detail["checks"], *(check for provider in detail["providers"] for check in provider["checks"])]
    seen = next((check["detail"] for check in checks if check["id"] == cause), "")
    return f"{cause}: {seen}" if seen else cause


def _tell(*parts: str) -> None:
    out("   ", "  ".join(part for part in parts if part))


def _seconds(at: str | None) -> float:
    """An RFC 3339 time in seconds since 1970 UTC; long ago where there is none."""
    return datetime.fromisoformat(at).timestamp() if at else 0.0


def _get(port: int, path: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ASK_WITHIN)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise TourError(f"the service at port {port} did not answer {path}: {error}") from error
    finally:
        connection.close()
