"""The example operation: the board on it, a tour without a terminal, and breaking things from another terminal."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from opsdash.cli import exits
from opsdash.cli.base import WORKSPACE_VARIABLE, UsageError, add_json, add_workspace
from opsdash.cli.terminal import bold, dim, out, out_json, say, table, why_no_board

if TYPE_CHECKING:
    import argparse

EXAMPLE = "opsdash demo --tour\n  opsdash demo inject postmark down      (in another terminal)"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash demo`."""
    parser.add_argument(
        "verb", nargs="?", choices=["inject"], help="inject: break a service of the demo that runs, or heal it (ok)"
    )
    parser.add_argument("service", nargs="?", metavar="SERVICE", help="without it: list services and their faults")
    parser.add_argument("fault", nargs="?", metavar="FAULT", help="without it: list this service's faults")
    parser.add_argument("--tour", action="store_true", help="break the mail provider, fail over, verify, fail back")
    add_json(parser)
    add_workspace(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show the demo, take the tour, or inject a fault."""
    if arguments.verb == "inject":
        return _inject(arguments)
    if arguments.tour:
        from opsdash.cli.tour import take

        return take()
    return show()


def show() -> int:
    """The board on the example operation, which ends with it."""
    if why := why_no_board():
        raise UsageError(f"no board can be drawn here: {why}; `opsdash demo --tour` works without")
    from opsdash.cli.example import running

    say("starting the example operation …")
    with running() as example:
        example.start_engine()
        from opsdash.app import run_board

        asyncio.run(example.attach())
        out("In another terminal:")
        out("  opsdash demo inject postmark down      breaks the mail provider; `ok` heals it")
        out("  opsdash drill run email-quarterly      breaks it on purpose, and keeps the proof")
        out("  opsdash status --watch")
        out(f"  export {WORKSPACE_VARIABLE}={example.workspace}      where another workspace is nearer")
        return run_board(example.workspace, environment=example.environment, ephemeral=True)


def _inject(arguments: argparse.Namespace) -> int:
    from opsdash.demo.catalog import CONTROL, UnknownFaultError

    if arguments.service is None:
        return _services(arguments)
    if arguments.fault is None:
        return _faults(arguments)
    from opsdash.cli.example import services_of
    from opsdash.demo.process import inject, ports_of

    named = arguments.workspace or os.environ.get(WORKSPACE_VARIABLE)
    ports = ports_of(services_of(Path(named) if named else None))
    try:
        faults = inject(ports[CONTROL], arguments.service, arguments.fault)
    except UnknownFaultError as error:
        raise UsageError(str(error)) from error
    if arguments.json:
        fault = faults.get(arguments.service, arguments.fault)
        out_json({"component": None, "status": fault, "reason": None, "services": faults})
        return exits.OK
    broken = {service: fault for service, fault in faults.items() if fault != "ok"}
    table([["", service, bold(fault)] for service, fault in broken.items()])
    if not broken:
        out("all services work")
    return exits.OK


def _services(arguments: argparse.Namespace) -> int:
    from opsdash.demo.catalog import catalog

    entries = catalog()
    if arguments.json:
        listed = {entry.name: [str(fault.fault) for fault in entry.faults] for entry in entries}
        out_json({"component": None, "status": None, "reason": None, "services": listed})
        return exits.OK
    table([[entry.name, entry.title, dim(", ".join(str(each.fault) for each in entry.faults))] for entry in entries])
    return exits.OK


def _faults(arguments: argparse.Namespace) -> int:
    from opsdash.demo.catalog import catalog

    entry = next((each for each in catalog() if each.name == arguments.service), None)
    if entry is None:
        raise UsageError(f"there is no service {arguments.service!r}; `opsdash demo inject` lists them")
    table([[str(each.fault), each.description] for each in entry.faults])
    return exits.OK
