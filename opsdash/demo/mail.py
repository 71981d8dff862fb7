"""Mail: two providers, and the application that sends an order mail or a newsletter every quarter of a
second.

The mailer is what a switch has to convince. It sends through the provider it was told to use (a register,
changed by HTTP with compare-and-swap), and reports at its front door who *really* accepted the last mail. Whoever
posts to `/mails` gives it one more to send, as the shop does.
In the mode `transactional-only` (a pointer file) it drops newsletters, which are most of the load.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from opsdash.demo import smtp
from opsdash.demo.allowance import LimitedService
from opsdash.demo.catalog import Fault
from opsdash.demo.register import Register
from opsdash.demo.server import Channel, Port, Service
from opsdash.demo.web import Request, Response, json_response, refusal
from opsdash.demo.world import Pointer, every, stamp

if TYPE_CHECKING:
    from pathlib import Path

_RHYTHM = 0.25
_SEND_WITHIN = 0.8
_ORDERS_PER_ROUND = 3
TRANSACTIONAL_ONLY = "transactional-only"

_READERS = ("ann@readers.example", "bo@readers.example", "cy@readers.example")


class MailProvider(LimitedService):
    """A vendor that accepts mail by SMTP and tells about the account by HTTP."""

    def __init__(self, name: str, *, known_as: str) -> None:
        super().__init__(name)
        self.known_as = known_as
        self._count = 0
        self._last: dict[str, Any] | None = None
        variable = name.upper()
        routes = {
            ("GET", "/status"): self._status,
            ("GET", "/account"): self._account,
            ("GET", "/messages"): self._messages,
        }
        self.listen_http(f"{variable}_HTTP", routes)
        self.smtp: Port = self.listen(f"{variable}_SMTP", self._converse)

    def admit(self) -> bool:
        return self.allowance.admit(1)

    def take(self, mail: smtp.Mail) -> str:
        self._count += 1
        self._last = {
            "id": self._count,
            "at": stamp(),
            "subject": mail.subject,
            "recipients": len(mail.recipients),
        }
        return str(self._count)

    async def _converse(self, channel: Channel) -> None:
        await smtp.converse(channel, self)

    def _status(self, _request: Request) -> Response:
        return json_response({"healthy": True, "provider": self.known_as, "at": stamp()})

    def _account(self, _request: Request) -> Response:
        headers = self.allowance.headers()
        if self.allowance.exceeded:
            return refusal(429, "too many recipients, slow down", headers=headers)
        return json_response({"plan": "demo", "provider": self.known_as}, headers=headers)

    def _messages(self, _request: Request) -> Response:
        return json_response({"count": self._count, "last": self._last})


class Mailer(Service):
    """The application. An order mail that was not accepted waits and is sent again, a newsletter is not."""

    def __init__(self, state: Path, providers: tuple[MailProvider, ...]) -> None:
        super().__init__("mailer")
        self._ports = {provider.known_as: provider.smtp for provider in providers}
        self._provider = Register(state / "mailer.json", "provider", allowed=tuple(self._ports))
        self._sending_by = self._provider.value
        self._mode = Pointer(state / "mailer-mode.json", "mode", default="normal")
        self._numbers = itertools.count(1)
        self._waiting = 0
        self._count = 0
        self._last: dict[str, Any] = {"at": None, "provider": None}
        self._last_newsletter: str | None = None
        self._error: str | None = None
        self.http = self.listen_http(
            "MAILER_HTTP",
            {
                ("GET", "/provider"): self._provider.get,
                ("PUT", "/provider"): self._provider.put,
                ("GET", "/last-delivery"): self._last_delivery,
                ("GET", "/last-newsletter"): self._last_newsletter_sent,
                ("POST", "/mails"): self._take_order,
            },
        )

    async def run(self) -> None:
        await every(_RHYTHM, self._round)

    async def _round(self) -> None:
        if self.stopped:
            return
        if self.fault is not Fault.DEAF:
            self._sending_by = self._provider.value
        if next(self._numbers) % 2:
            self._waiting += 1
            await self._send_orders()
        elif self._mode_in_force() != TRANSACTIONAL_ONLY:
            await self._send_newsletter()

    async def _send_orders(self) -> None:
        for _ in range(min(self._waiting, _ORDERS_PER_ROUND)):
            mail = smtp.Mail(
                sender="orders@shop.example",
                recipients=("customer@mail.example",),
                subject=f"Order {self._count + 1} confirmed",
            )
            if not await self._send(mail):
                return
            self._waiting -= 1

    async def _send_newsletter(self) -> None:
        mail = smtp.Mail(sender="news@shop.example", recipients=_READERS, subject="This week in the shop")
        if await self._send(mail):
            self._last_newsletter = stamp()

    async def _send(self, mail: smtp.Mail) -> bool:
        port = self._ports[self._sending_by].number
        try:
            accepted_by = await smtp.deliver(port, mail, within=_SEND_WITHIN)
        except smtp.NotDelivered as problem:
            self._error = str(problem)
            return False
        self._count += 1
        self._error = None
        self._last = {"at": stamp(), "provider": accepted_by}
        return True

    def _take_order(self, _request: Request) -> Response:
        """One more order mail, which is sent in the next round; none while no provider takes the mail we have."""
        if self._error is not None:
            return refusal(503, f"the mail that waits is not accepted: {self._error}")
        self._waiting += 1
        return json_response({"provider": self._sending_by, "waiting": self._waiting}, status=202)

    def _mode_in_force(self) -> str:
        return TRANSACTIONAL_ONLY if self._mode.read() == TRANSACTIONAL_ONLY else "normal"

    def _last_delivery(self, _request: Request) -> Response:
        facts = {"count": self._count, "waiting": self._waiting, "error": self._error}
        return json_response({**self._last, "mode": self._mode_in_force(), **facts})

    def _last_newsletter_sent(self, _request: Request) -> Response:
        return json_response({"at": self._last_newsletter, "mode": self._mode_in_force()})
