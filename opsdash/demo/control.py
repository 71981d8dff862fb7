"""The control endpoint: which fault is on, and setting one. It has none itself.

`GET /faults` gives every service's fault, `PUT /faults/SERVICE` with `{"fault": NAME}` sets one; `all`
heals. With `"for": SECONDS` the service heals by itself after that, unless something else was set meanwhile.
`GET /healthy/SERVICE` is 200 when it has no fault, 409 when it has one: what the guard of a drill asks.
"""

from __future__ import annotations

import asyncio
import json
import math
from typing import TYPE_CHECKING

from opsdash.demo import web
from opsdash.demo.catalog import CONTROL, Fault, UnknownFaultError, resolve
from opsdash.demo.server import Channel, Service

if TYPE_CHECKING:
    from collections.abc import Sequence

_FAULTS = "/faults"
_HEALTHY = "/healthy/"
_LONGEST = 24 * 3600.0


class Control(Service):
    def __init__(self, services: Sequence[Service]) -> None:
        super().__init__("control")
        self._services = {service.name: service for service in services}
        self._healing: dict[str, asyncio.Task[None]] = {}
        self.http = self.listen(CONTROL, self._talk)

    def close(self) -> None:
        for name in tuple(self._healing):
            self._stays(name)
        super().close()

    async def _talk(self, channel: Channel) -> None:
        await web.answer(channel.reader, channel.send, self._respond)

    async def _respond(self, request: web.Request) -> web.Response:
        if request.path == _FAULTS and request.method == "GET":
            return self._faults()
        if request.path.startswith(_HEALTHY) and request.method == "GET":
            return self._healthy(request.path.removeprefix(_HEALTHY))
        if request.path.startswith(f"{_FAULTS}/") and request.method == "PUT":
            return await self._inject(request.path.removeprefix(f"{_FAULTS}/"), request.body)
        return web.refusal(404, f"there are GET {_FAULTS}, PUT {_FAULTS}/SERVICE and GET {_HEALTHY}SERVICE")

    def _faults(self) -> web.Response:
        return web.json_response({name: str(service.fault) for name, service in self._services.items()})

    def _healthy(self, name: str) -> web.Response:
        service = self._services.get(name)
        if service is None:
            return web.refusal(404, "there is no such service")
        if service.fault is not Fault.OK:
            return web.refusal(409, f"{name} has the fault {service.fault}")
        return web.json_response({name: str(Fault.OK)})

    async def _inject(self, service: str, body: bytes) -> web.Response:
        try:
            content = json.loads(body)
            wanted = content["fault"]
            lasts = float(content.get("for", math.inf))
        except (ValueError, TypeError, KeyError, AttributeError):
            return web.refusal(400, 'send {"fault": NAME}, or {"fault": NAME, "for": SECONDS}')
        if not 0 < lasts <= _LONGEST and lasts != math.inf:
            return web.refusal(422, f"a fault lasts more than 0 and at most {_LONGEST:.0f} seconds")
        try:
            entries, fault = resolve(service, str(wanted))
        except UnknownFaultError as problem:
            return web.refusal(422, str(problem))
        for entry in entries:
            self._stays(entry.name)
            await self._services[entry.name].inject(fault)
            if fault is not Fault.OK and lasts != math.inf:
                self._healing[entry.name] = asyncio.create_task(self._heal(entry.name, lasts))  # noqa: TID251
        return self._faults()

    def _stays(self, name: str) -> None:
        """Whatever was to end a service's fault no longer does."""
        task = self._healing.pop(name, None)
        if task is not None:
            task.cancel()

    async def _heal(self, name: str, after: float) -> None:
        await asyncio.sleep(after)
        del self._healing[name]
        await self._services[name].inject(Fault.OK)
