"""Vendors of a small business, and the applications that depend on them: CRM, automation platform, social
media.
"""

from __future__ import annotations

import itertools
import json
from collections import deque
from typing import TYPE_CHECKING, Any

from opsdash.demo.allowance import LimitedService
from opsdash.demo.server import Port, Service
from opsdash.demo.web import Request, Response, Unusable, fetch_json, json_response, refusal
from opsdash.demo.world import Pointer, every, stamp

if TYPE_CHECKING:
    from pathlib import Path

OUTBOX = "outbox"
ESSENTIAL_FLOWS_ONLY = "essential-flows-only"
_RHYTHM = 0.3
_FLOW_RHYTHM = 0.25
_BATCH = 50


class Crm(Service):
    """The vendor's system: keeps contacts that it is sent."""

    def __init__(self) -> None:
        super().__init__("crm")
        self._contacts: deque[dict[str, Any]] = deque(maxlen=_BATCH)
        self._total = 0
        self.http: Port = self.listen_http(
            "CRM_HTTP",
            {
                ("GET", "/health"): self._health,
                ("GET", "/contacts"): self._list,
                ("POST", "/contacts"): self._add,
            },
        )

    def _health(self, _request: Request) -> Response:
        return json_response({"healthy": True, "version": "2026.4"})

    def _list(self, _request: Request) -> Response:
        return json_response({"total": self._total, "contacts": list(self._contacts)})

    def _add(self, request: Request) -> Response:
        match request.json():
            case {"contacts": list(contacts)} if all(isinstance(contact, dict) for contact in contacts):
                self._contacts.extend(contacts)
                self._total += len(contacts)
                return json_response({"total": self._total}, status=201)
            case _:
                return refusal(422, 'send {"contacts": [{…}]}')


class CrmIntake(Service):
    """Files each new contact in the CRM; in the mode `outbox` in a local file, emptied afterwards."""

    def __init__(self, state: Path, crm: Crm) -> None:
        super().__init__("crm-intake")
        self._crm = crm.http
        self._outbox = state / "crm-outbox.jsonl"
        self._mode = Pointer(state / "crm-mode.json", "mode", default="normal")
        self._numbers = itertools.count(1)
        self._unfiled: list[dict[str, Any]] = []
        self._kept = self._read_outbox()
        self._last: dict[str, Any] = {"at": None, "to": None}
        self._error: str | None = None
        self.listen_http("CRM_INTAKE_HTTP", {("GET", "/last-contact"): self._last_contact})

    async def run(self) -> None:
        await every(_RHYTHM, self._round)

    async def _round(self) -> None:
        if self.stopped:
            return
        number = next(self._numbers)
        self._unfiled.append({"id": number, "name": f"Contact {number}", "at": stamp()})
        if self._mode_in_force() == OUTBOX:
            self._keep()
        else:
            await self._file()

    def _keep(self) -> None:
        with self._outbox.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(contact) + "\n" for contact in self._unfiled)
        self._kept += self._unfiled
        self._unfiled = []
        self._last = {"at": stamp(), "to": OUTBOX}

    async def _file(self) -> None:
        """What is in the outbox goes first, so that the CRM gets the contacts in the order they came."""
        batch = (self._kept + self._unfiled)[:_BATCH]
        try:
            await fetch_json(self._crm.number, "/contacts", method="POST", payload={"contacts": batch})
        except Unusable as problem:
            self._error = str(problem)
            return
        from_outbox = min(len(batch), len(self._kept))
        self._unfiled = self._unfiled[len(batch) - from_outbox :]
        if from_outbox:
            self._kept = self._kept[from_outbox:]
            self._outbox.write_text("".join(json.dumps(contact) + "\n" for contact in self._kept))
        self._error = None
        self._last = {"at": stamp(), "to": "crm"}

    def _read_outbox(self) -> list[dict[str, Any]]:
        try:
            return [json.loads(line) for line in self._outbox.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError):
            return []

    def _mode_in_force(self) -> str:
        return OUTBOX if self._mode.read() == OUTBOX else "normal"

    def _last_contact(self, _request: Request) -> Response:
        facts = {"waiting": len(self._unfiled), "outbox": len(self._kept), "error": self._error}
        return json_response({**self._last, "mode": self._mode_in_force(), **facts})


class Automation(LimitedService):
    """The vendor's platform: runs flows, and limits how many operations they may take."""

    def __init__(self) -> None:
        super().__init__("automation")
        self._runs: deque[dict[str, Any]] = deque(maxlen=10)
        self.http: Port = self.listen_http(
            "AUTOMATION_HTTP",
            {
                ("GET", "/status"): self._status,
                ("GET", "/runs"): self._list,
                ("POST", "/runs"): self._start,
            },
        )

    def _status(self, _request: Request) -> Response:
        return json_response({"healthy": True, "at": stamp()})

    def _list(self, _request: Request) -> Response:
        if self.allowance.exceeded:
            return self._too_many()
        return json_response({"runs": list(self._runs)}, headers=self.allowance.headers())

    def _start(self, request: Request) -> Response:
        match request.json():
            case {"flow": str(flow), "operations": int(operations)} if 1 <= operations <= 10:
                if not self.allowance.admit(operations):
                    return self._too_many()
                run = {"flow": flow, "operations": operations, "at": stamp()}
                self._runs.append(run)
                return json_response(run, status=201, headers=self.allowance.headers())
            case _:
                return refusal(422, 'send {"flow": NAME, "operations": 1 to 10}')

    def _too_many(self) -> Response:
        return refusal(429, "too many operations, slow down", headers=self.allowance.headers())


class FlowRunner(Service):
    """Starts an essential flow and a convenient one in turn; in `essential-flows-only` just the former."""

    def __init__(self, state: Path, automation: Automation) -> None:
        super().__init__("flow-runner")
        self._automation = automation.http
        self._mode = Pointer(state / "automation-mode.json", "mode", default="normal")
        self._numbers = itertools.count(1)
        self._waiting = 0
        self._last: dict[str, str | None] = {"essential": None, "convenient": None}
        self._error: str | None = None
        self.listen_http(
            "FLOW_RUNNER_HTTP",
            {
                ("GET", "/last-run"): self._last_essential,
                ("GET", "/last-convenient-run"): self._last_convenient,
            },
        )

    async def run(self) -> None:
        await every(_FLOW_RHYTHM, self._round)

    async def _round(self) -> None:
        if self.stopped:
            return
        if next(self._numbers) % 2:
            self._waiting += 1
            while self._waiting and await self._start("order-to-invoice", 1, kind="essential"):
                self._waiting -= 1
        elif self._mode_in_force() != ESSENTIAL_FLOWS_ONLY:
            await self._start("weekly-digest", 3, kind="convenient")

    async def _start(self, flow: str, operations: int, *, kind: str) -> bool:
        payload = {"flow": flow, "operations": operations}
        try:
            await fetch_json(self._automation.number, "/runs", method="POST", payload=payload)
        except Unusable as problem:
            self._error = str(problem)
            return False
        self._error = None
        self._last[kind] = stamp()
        return True

    def _mode_in_force(self) -> str:
        return ESSENTIAL_FLOWS_ONLY if self._mode.read() == ESSENTIAL_FLOWS_ONLY else "normal"

    def _last_essential(self, _request: Request) -> Response:
        facts = {"mode": self._mode_in_force(), "waiting": self._waiting, "error": self._error}
        return json_response({"at": self._last["essential"], **facts})

    def _last_convenient(self, _request: Request) -> Response:
        return json_response({"at": self._last["convenient"], "mode": self._mode_in_force()})


class Social(Service):
    """The scheduler of posts. Nobody else needs it: when it breaks, nothing else may."""

    _POST_RHYTHM = 0.5

    def __init__(self) -> None:
        super().__init__("social")
        self._numbers = itertools.count(1)
        self._last: dict[str, Any] = {"at": None, "post": None}
        self.listen_http("SOCIAL_HTTP", {("GET", "/status"): self._status, ("GET", "/last-post"): self._last_post})

    async def run(self) -> None:
        await every(self._POST_RHYTHM, self._round)

    async def _round(self) -> None:
        if not self.stopped:
            self._last = {"at": stamp(), "post": next(self._numbers)}

    def _status(self, _request: Request) -> Response:
        return json_response({"healthy": True})

    def _last_post(self, _request: Request) -> Response:
        return json_response(self._last)
