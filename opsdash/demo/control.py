"""The control endpoint: which fault is on, and setting one. It has none itself.

`GET /faults` gives every service's fault, `PUT /faults/SERVICE` with `{"fault": NAME}` sets one; `all`
heals.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from opsdash.demo import web
from opsdash.demo.catalog import CONTROL, UnknownFaultError, resolve
from opsdash.demo.server import Channel, Service

if TYPE_CHECKING:
    from collections.abc import Sequence

_FAULTS = "/faults"


class Control(Service):
    def __init__(self, services: Sequence[Service]) -> None:
        super().__init__("control")
        self._services = {service.name: service for service in services}
        self.http = self.listen(CONTROL, self._talk)

    async def _talk(self, channel: Channel) -> None:
        await web.answer(channel.reader, channel.send, self._respond)

    async def _respond(self, request: web.Request) -> web.Response:
        if request.path == _FAULTS and request.method == "GET":
            return self._faults()
        if request.path.startswith(f"{_FAULTS}/") and request.method == "PUT":
            return await self._inject(request.path.removeprefix(f"{_FAULTS}/"), request.body)
        return web.refusal(404, f"there are GET {_FAULTS} and PUT {_FAULTS}/SERVICE")

    def _faults(self) -> web.Response:
        return web.json_response({name: str(service.fault) for name, service in self._services.items()})

    async def _inject(self, service: str, body: bytes) -> web.Response:
        try:
            content = json.loads(body)
            wanted = content["fault"]
        except (ValueError, TypeError, KeyError):
            return web.refusal(400, 'send {"fault": NAME}')
        try:
            entries, fault = resolve(service, str(wanted))
        except UnknownFaultError as problem:
            return web.refusal(422, str(problem))
        for entry in entries:
            await self._services[entry.name].inject(fault)
        return self._faults()
