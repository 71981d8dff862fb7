"""The child process: `python -m opsdash.demo.services --state DIR`.

Binds a free port for every service, prints one line of JSON with all of them by variable name, and serves
until its standard input ends. Whoever starts it keeps the other end of that pipe: when the starter dies, by
whatever death, the kernel closes the pipe and nothing is left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from opsdash.demo.business import Automation, Crm, CrmIntake, FlowRunner, Social
from opsdash.demo.catalog import STATE
from opsdash.demo.control import Control
from opsdash.demo.data import (
    Feed,
    MarketReader,
    PricingApi,
    PricingCache,
    Reporting,
    Warehouse,
    as_csv,
    as_json,
)
from opsdash.demo.leads import LeadRouter, Scoring
from opsdash.demo.mail import Mailer, MailProvider
from opsdash.demo.world import write_json

if TYPE_CHECKING:
    from opsdash.demo.server import Service

PORTS_FILE = "ports.json"
_GOODBYE = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m opsdash.demo.services", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="folder for everything that is kept on disk")
    state: Path = parser.parse_args().state
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    asyncio.run(_serve(state.resolve()))


def build(state: Path) -> tuple[Service, ...]:
    """All services, wired to each other."""
    postmark = MailProvider("postmark", known_as="pm-prod")
    ses = MailProvider("ses", known_as="ses-eu")
    mailer = Mailer(state, (postmark, ses))
    crm = Crm()
    automation = Automation()
    pricing = PricingApi()
    feed_a, feed_b = Feed("feed-a", as_json), Feed("feed-b", as_csv)
    reader = MarketReader(state, (feed_a, feed_b))
    scoring = Scoring()
    router = LeadRouter(state, scoring)
    warehouse = Warehouse()
    sections = {
        "market": (reader.http, "/quotes"),
        "mail": (mailer.http, "/last-delivery"),
        "leads": (router.http, "/last-lead"),
    }
    return (
        *(postmark, ses, mailer),
        *(crm, CrmIntake(state, crm)),
        *(automation, FlowRunner(state, automation)),
        *(pricing, PricingCache(state, pricing)),
        *(feed_a, feed_b, reader),
        *(scoring, router),
        *(warehouse, Reporting(state, warehouse, sections)),
        Social(),
    )


async def _serve(state: Path) -> None:
    services = build(state)
    control = Control(services)
    everything: tuple[Service, ...] = (*services, control)
    stop = asyncio.Event()
    _stop_when_told(stop)
    try:
        for service in everything:
            await service.open()
        _announce(state, everything)
        await _run_until(stop, services)
    finally:
        for service in everything:
            service.close()
        await _let_conversations_end()


async def _let_conversations_end() -> None:
    """Their connections are cut, so they end by themselves; a cancelled one would leave a traceback (3.11)."""
    conversations = asyncio.all_tasks() - {asyncio.current_task()}
    if conversations:
        await asyncio.wait(conversations, timeout=_GOODBYE)


async def _run_until(stop: asyncio.Event, services: tuple[Service, ...]) -> None:
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(service.run(), name=service.name) for service in services]
        await stop.wait()
        for task in running:
            task.cancel()


def _announce(state: Path, services: tuple[Service, ...]) -> None:
    ports = {variable: port.number for service in services for variable, port in service.ports.items()}
    write_json(state / PORTS_FILE, {**ports, STATE: str(state)})
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()


def _stop_when_told(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def wait_for_the_parents_end() -> None:
        # `os.read` and not `sys.stdin`: a thread inside the latter's lock aborts the interpreter's shutdown.
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=wait_for_the_parents_end, name="parent", daemon=True).start()


if __name__ == "__main__":
    main()
