"""A proxy for drills: passes traffic unchanged, until it is told to be a bad network for a while."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opsdash.cli import exits
from opsdash.cli.base import UsageError, add_json
from opsdash.cli.terminal import out, out_json, say
from opsdash.errors import OpsdashError
from opsdash.kinds.faultproxy import Address, Mode, parse_address, tell
from opsdash.kinds.faultproxy import run as serve
from opsdash.model.units import format_duration, parse_duration

if TYPE_CHECKING:
    import argparse

EXAMPLE = (
    "opsdash faultproxy --listen 127.0.0.1:15432 --to db1:5432 --control /run/faults/db.sock\n"
    "  opsdash faultproxy --control /run/faults/db.sock --fault hang --for 30s"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash faultproxy`."""
    parser.add_argument("--control", required=True, type=Path, metavar="PATH", help="its control socket")
    parser.add_argument("--listen", metavar="HOST:PORT", help="run a proxy that listens here")
    parser.add_argument("--to", metavar="HOST:PORT", help="and passes on to there")
    faults = [mode.value for mode in Mode if mode is not Mode.PASS]
    parser.add_argument("--fault", choices=faults, help="tell a running one to have this fault")
    parser.add_argument("--for", dest="lasts", metavar="DURATION", help="for so long; then it passes again by itself")
    parser.add_argument("--delay", default="1s", metavar="DURATION", help="of delay and drip (default: 1s)")
    parser.add_argument("--pass", dest="passes", action="store_true", help="tell a running one to pass traffic again")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run a proxy, or talk to one that runs."""
    if arguments.listen or arguments.to:
        if not (arguments.listen and arguments.to) or arguments.fault or arguments.passes:
            raise UsageError("a proxy is run with --listen, --to and --control, and nothing else")
        return _serve(_address(arguments.listen), _address(arguments.to), arguments.control)
    try:
        state = asyncio.run(tell(arguments.control, _request(arguments)))
    except OpsdashError as error:
        say(f"opsdash: {error}")
        return exits.FAILED
    if arguments.json:
        out_json({"component": None, "status": None, "reason": None, **state})
    else:
        left = f", for {format_duration(state['left'])} more" if "left" in state else ""
        out(f"{state['mode']}{left}; {state['connections']} connections")
    return exits.OK


def _address(text: str) -> Address:
    try:
        return parse_address(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _request(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.passes and arguments.fault:
        raise UsageError("either --fault or --pass")
    if arguments.passes:
        return {"mode": Mode.PASS.value}
    if not arguments.fault:
        return {}
    if arguments.lasts is None:
        raise UsageError("say for how long: --for 30s")
    try:
        return {
            "mode": arguments.fault,
            "for": parse_duration(arguments.lasts),
            "delay": parse_duration(arguments.delay),
        }
    except ValueError as error:
        raise UsageError(str(error)) from None


def _serve(listen: Address, to: Address, control: Path) -> int:
    def ready(at: Address) -> None:
        say(f"passing {at} on to {to}; told otherwise on {control}")

    asyncio.run(serve(listen, to, control, ready))
    return exits.OK
