"""Services as they are on a bad day, behind a whole engine: a webhook, one of Apprise, a mail server.

Each is down, or slow, or busy, or loses what it took, and is well again later. What was queued arrives, at least once,
with the same text and where there is one under the same key, and the outbox says what every attempt came to.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from opsdash.core import outbox
from opsdash.core.alarm_views import alarms_view
from opsdash.engine import engine as engine_module
from opsdash.model.channel import Route
from tests.engine.support import (
    GatedJournal,
    ShiftedClock,
    Target,
    eventually,
    http,
    loaded_from,
    running,
    serving,
    web,
    write_workspace,
)
from tests.kinds.mailhost import MailHost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from opsdash.engine.engine import Engine
    from opsdash.model.alarm_views import MessageView
    from tests.engine.support import Request

pytest.importorskip("apprise")

SOON = 0.2
"""Seconds after which a message is tried again in these tests."""


BUSY_FOR = 3
"""Seconds after which a service that is busy wants to be asked again."""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "FIRST_RETRY", SOON)


@dataclass
class Service:
    """A service at a port of its own. bad: what is wrong with it, "" while it is well.

    texts: of what it took, as it came; keys: by which a receiver could tell that it has it already.
    """

    kind: str
    bad: str = ""
    port: int = 0
    texts: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    tried: int = 0

    @property
    def channel(self) -> str:
        """How it is declared."""
        where = f"127.0.0.1:{self.port}"
        return {
            "webhook": f'{{kind: webhook, url: "http://{where}/", confirm: json.id, timeout: 1s}}',
            "apprise": f'{{kind: apprise, urls: ["json://{where}/?cto=1&rto=1"], timeout: 2s}}',
            "mail": (
                f'{{kind: apprise, urls: ["mailto://{where}?from=ops@shop.example&to=maria@shop.example'
                '&mode=insecure&cto=1&rto=1"], timeout: 2s}'
            ),
        }[self.kind]

    @asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        """It listens."""
        target = Target(routes={"/": self._http})
        mail = target.handle if self.kind != "mail" else self._mail
        server = await asyncio.start_server(mail, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for task in tuple(target.tasks):
                task.cancel()

    async def _http(self, request: Request) -> bytes | None:
        self.tried += 1
        body = json.loads(request.body)
        if self.bad == "busy":
            return http(status=429, headers=f"Retry-After: {BUSY_FOR}")
        if self.bad == "loses":
            return http("{}")
        self.texts.append(f"{body.get('title')}\n{body.get('body', body.get('message'))}")
        self.keys.append(request.headers.get("idempotency-key", ""))
        if self.bad == "slow":
            await request.reader.read()
        return None if self.bad else http(json.dumps({"id": body.get("id")}))

    async def _mail(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tried += 1
        answers: dict[str, dict[str, bytes | None]] = {
            "slow": {"END": None},
            "busy": {"RCPT": b"451 4.7.1 try again later\r\n"},
        }
        host = MailHost(answers.get(self.bad, {}))
        try:
            await host(None, reader, writer)  # type: ignore[arg-type] # it does not look at its server
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
        if self.bad != "loses":
            self.texts += [mail.partition("\r\n\r\n")[2] for mail in host.mails]


@asynccontextmanager
async def watched(
    folder: Path, service: Service, *, remind: float | None = None, **settings: Any
) -> AsyncIterator[tuple[Engine, Target]]:
    """An engine that is about to tell a service that `site` fails. remind: sooner than the files would allow."""
    async with serving(status=http(status=500)) as site:
        text = f"\nalarms:\n  group_wait: 100ms\n  channels:\n    pager: {service.channel}\n"
        write_workspace(folder, settings=text, site=web(f"{site.url}/status", every="200ms"))
        loaded = loaded_from(folder)
        assert loaded.problems == ()
        if remind is not None:
            alarms = replace(loaded.operation.alarms, routes=(Route(to=("pager",), remind=remind),))
            loaded = replace(loaded, operation=replace(loaded.operation, alarms=alarms))
        async with running(folder, loaded=loaded, **settings) as engine:
            yield engine, site


def problem(engine: Engine) -> MessageView | None:
    messages = alarms_view(engine.viewer().draft)["outbox"]
    return next((each for each in messages if each["kind"] == "problem"), None)


async def attempted(engine: Engine) -> list[str]:
    """How the attempts ended, as soon as one has."""

    def ended() -> list[str]:
        found = problem(engine)
        return [] if found is None else [each["outcome"] for each in found["attempts"]]

    return await eventually(ended, within=20.0)


async def delivered(engine: Engine) -> MessageView:
    """The message, once it has arrived."""

    def there() -> MessageView | None:
        found = problem(engine)
        return found if found is not None and found["state"] == "delivered" else None

    found = await eventually(there, within=20.0)
    assert found is not None
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


KINDS = ("webhook", "apprise", "mail")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_service_that_is_down_gets_its_message_when_it_is_back(tmp_path: Path, kind: str) -> None:
    service = Service(kind, port=free_port())
    async with watched(tmp_path, service) as (engine, _):
        assert await attempted(engine) == ["failed"]
        async with service.up():
            found = await delivered(engine)
    assert found["attempts"][-1]["outcome"] == "delivered"
    assert {each["outcome"] for each in found["attempts"][:-1]} == {"failed"}
    assert len(service.texts) == 1, "what was never sent comes once"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_service_that_does_not_answer_gets_it_again_as_it_was(tmp_path: Path, kind: str) -> None:
    service = Service(kind, bad="slow")
    async with service.up(), watched(tmp_path, service) as (engine, _):
        assert "unknown" in await attempted(engine)
        service.bad = ""
        await delivered(engine)
        assert len(service.texts) > 1
        assert len(set(service.texts)) == 1
        assert len(set(service.keys)) <= 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_service_that_is_busy_gets_it_later(tmp_path: Path, kind: str) -> None:
    service = Service(kind, bad="busy")
    async with service.up(), watched(tmp_path, service) as (engine, _):
        assert (await attempted(engine))[0] == "failed"
        found = problem(engine)
        assert found is not None
        if kind == "webhook":  # Apprise does not pass on when the other side wants to be asked again
            assert found["next_at"] == pytest.approx(found["attempts"][-1]["at"] + BUSY_FOR, abs=0.5)
        service.bad = ""
        await delivered(engine)
        assert len(service.texts) == 1


async def test_a_webhook_that_says_yes_and_loses_it_is_found_out_and_gets_it_again(tmp_path: Path) -> None:
    service = Service("webhook", bad="loses")
    async with service.up(), watched(tmp_path, service) as (engine, _):
        assert await attempted(engine) == ["unknown"]
        assert service.texts == []
        service.bad = ""
        found = await delivered(engine)
        assert service.keys == [found["key"]]


@pytest.mark.parametrize("kind", ["apprise", "mail"])
async def test_what_a_service_said_yes_to_and_lost_comes_again_as_a_reminder_until_somebody_acknowledges(
    tmp_path: Path, kind: str
) -> None:
    """Nobody can find out about it, so what was delivered stands; but nobody acknowledges what has never arrived."""
    service = Service(kind, bad="loses")
    async with service.up(), watched(tmp_path, service, remind=1.0) as (engine, _):
        await delivered(engine)
        assert service.texts == []
        service.bad = ""
        await eventually(lambda: service.texts, within=20.0)
        assert "site" in service.texts[0]
        messages = alarms_view(engine.viewer().draft)["outbox"]
        assert {each["kind"] for each in messages} == {"problem", "reminder"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [3600.0, -86400.0], ids=["an hour of sleep", "set back by a day"])
async def test_a_jump_of_the_clock_while_a_message_waits_neither_loses_nor_delays_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, seconds: float
) -> None:
    """The service is down for an hour, which the machine sleeps through; or somebody sets the clock meanwhile."""
    monkeypatch.setattr(engine_module, "WATCH_EVERY", 0.02)
    clock, journal, service = ShiftedClock(), GatedJournal(), Service(kind, port=free_port())
    async with watched(tmp_path, service, clock=clock, journal=journal) as (engine, site):
        await attempted(engine)
        clock.wall += seconds
        clock.boot += max(seconds, 0.0)
        await eventually(
            lambda: [each for each in journal.of("component_changed") if each.data.get("reason") == "clock"]
        )
        async with service.up():
            await delivered(engine)
            site.routes["/status"] = http()
            await eventually(lambda: len(service.texts) == 2, within=20.0)
            await eventually(lambda: not alarms_view(engine.viewer().draft)["alarms"])
    kinds = Counter(each.data["message"]["kind"] for each in journal.of("message_queued"))
    assert kinds == {"problem": 1, "resolved": 1}
    assert journal.of("message_given_up") == []
