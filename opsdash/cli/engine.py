"""The engine in the foreground, and how to see, stop and restart the one that runs."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opsdash.cli import exits
from opsdash.cli.base import UsageError, add_json, add_workspace, places_of, runs, workspace_of
from opsdash.cli.terminal import ago, dim, latency, out, out_json, say, table
from opsdash.errors import EngineError
from opsdash.model.units import format_duration
from opsdash.service.places import account, is_locked, is_ours, places, read_engine_file

if TYPE_CHECKING:
    import argparse

    from opsdash.config.listening import Flags
    from opsdash.service.client import EngineSession
    from opsdash.service.places import Places

EXAMPLE = "opsdash engine --print-unit > ~/.config/systemd/user/opsdash.service"

STOPS_WITHIN = 40.0
"""Seconds: the engine gives a running action 30 to end."""

UNIT = """\
# systemd unit for the opsdash engine of one workspace. As a user's service:
#   opsdash engine --print-unit > ~/.config/systemd/user/opsdash.service
#   systemctl --user enable --now opsdash
#   loginctl enable-linger            (so that it runs while nobody is logged in)
[Unit]
Description=opsdash engine for {workspace}
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
NotifyAccess=main
WatchdogSec=30
ExecStart={command} engine --workspace {workspace}{flags}
Restart=always
RestartSec=2
TimeoutStopSec=40
KillMode=mixed
LimitNOFILE=65536
NoNewPrivileges=yes

[Install]
WantedBy=default.target
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash engine`."""
    parser.add_argument(
        "verb",
        nargs="?",
        choices=["run", "status", "stop", "restart", "heartbeats"],
        default="run",
        help="run (the default): in the foreground; heartbeats: where jobs report, also from other machines",
    )
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        help="serve TCP, too, for whoever has the token; for example 127.0.0.1:9180 (overrides engine.listen)",
    )
    parser.add_argument("--tls-certificate", metavar="FILE", help="PEM file: TLS on TCP; with --tls-key")
    parser.add_argument("--tls-key", metavar="FILE", help="PEM file: the key of the certificate")
    parser.add_argument("--foreground", action="store_true", help="the default; there for scripts that say so")
    parser.add_argument("--ephemeral", action="store_true", help="end with the last client")
    parser.add_argument("--force", action="store_true", help="stop: also while a switch or a runbook step is in flight")
    parser.add_argument("--print-unit", action="store_true", help="print a systemd unit, and do nothing")
    add_json(parser)
    add_workspace(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run, see, stop or restart an engine."""
    flags = _flags(arguments)
    workspace = workspace_of(arguments)
    if arguments.print_unit:
        written = "".join(f" {_for_unit(word)}" for word in _words(flags))
        print(UNIT.format(workspace=_for_unit(str(workspace)), command=_for_unit(_command()), flags=written), end="")
        return exits.OK
    if arguments.verb == "run":
        from opsdash.app import run_engine

        return run_engine(workspace, ephemeral=arguments.ephemeral, flags=flags)
    if arguments.verb == "status":
        return asyncio.run(_status(arguments))
    if arguments.verb == "heartbeats":
        return asyncio.run(_heartbeats(arguments))
    return asyncio.run(_stop(arguments, workspace, again=arguments.verb == "restart"))


def _flags(arguments: argparse.Namespace) -> Flags:
    """What is said of TCP. Raises UsageError."""
    from opsdash.config.listening import Flags, parse_address

    given = (arguments.listen, arguments.tls_certificate, arguments.tls_key)
    if any(given) and arguments.verb not in ("run", "restart"):
        raise UsageError(f"--listen and TLS are for an engine that starts, not for `opsdash engine {arguments.verb}`")
    if bool(arguments.tls_certificate) != bool(arguments.tls_key):
        raise UsageError("--tls-certificate and --tls-key belong together: name both, or neither")
    try:
        address = None if arguments.listen is None else parse_address(arguments.listen)
    except ValueError as error:
        raise UsageError(f"--listen: {error}") from None
    certificate, key = (None if name is None else Path(name).absolute() for name in given[1:])
    return Flags(address, certificate, key)


def _words(flags: Flags) -> list[str]:
    """The same as words of a command line."""
    named = (("--listen", flags.listen), ("--tls-certificate", flags.certificate), ("--tls-key", flags.key))
    return [word for name, value in named if value is not None for word in (name, str(value))]


def _command() -> str:
    return shutil.which("opsdash") or f"{sys.executable} -m opsdash"


def _for_unit(text: str) -> str:
    """In a unit file `%` begins a specifier, and a space ends a word."""
    escaped = text.replace("%", "%%")
    return f'"{escaped}"' if " " in escaped and not escaped.endswith("-m opsdash") else escaped


async def _status(arguments: argparse.Namespace) -> int:
    from opsdash.engine.clock import system_clock
    from opsdash.service.client import EngineSession

    where = places_of(arguments)
    if not runs(where):
        return _not_there(arguments, where)
    about = await EngineSession(where).about()
    file = read_engine_file(where)
    if arguments.json:
        out_json({"component": None, "status": "ok", "reason": None, **about})
        return exits.OK
    shown: dict[str, Any] = {
        "version": about["version"],
        "pid": about["pid"],
        "since": ago(file.started if file else None, system_clock().wall),
        "workspace": about["workspace"],
        "state": where.state,
        "socket": where.socket,
        **_listens(about["listen"]),
        "checks": f"{about['checks']}, {about['runs']} runs, {about['skipped']} skipped",
        "lateness": f"{latency(about['lateness_p99'])} (p99)",
        "clients": about["clients"],
        "in flight": ", ".join(about["busy"]) or "nothing",
        **_at_work(about, system_clock().wall),
        "log": where.log,
    }
    table([[dim(name), str(value)] for name, value in shown.items()])
    if about.get("held_loop"):
        out()
        out("Checks that held up the engine's event loop, and with it all others:")
        table([_held(each) for each in about["held_loop"]], indent="  ")
    return exits.OK


def _at_work(about: dict[str, Any], now: float) -> dict[str, Any]:
    """Whether it makes progress, and whom it tells. An engine of another version does not say."""
    if "dead_man" not in about:
        return {}
    at_work = "yes" if not about["hindrances"] else f"NO: it {'; it '.join(about['hindrances'])}"
    return {"at work": at_work, "dead man's switch": in_words(about["dead_man"], now)}


def in_words(switch: dict[str, Any], now: float) -> str:
    """The dead man's switch of an engine, as `about` has it."""
    if not switch["configured"]:
        return "none: nobody else notices when this engine dies (dead_man of opsdash.yaml)"
    last = "none yet" if switch["last_sign"] is None else f"the last sign of life {ago(switch['last_sign'], now)} ago"
    said = f"every {format_duration(switch['every'])} to {switch['to']}, {last}"
    if switch["withheld"]:
        return f"{said}; none goes out now"
    return f"{said}; not taken: {switch['trouble']}" if switch["trouble"] else said


def _held(held: dict[str, Any]) -> list[str]:
    """A check that held the loop, as a row."""
    where = (
        f"in a process of its own (pid {held['pid'] or 'none at present'})" if held["own_process"] else "in the engine"
    )
    often = f"{held['times']} times" if held["times"] > 1 else "once"
    more = f": {held['stays']}" if held["stays"] else ""
    return [held["check"], f"{often}, {latency(held['longest'])} at {held['place']}", f"runs {where}{more}"]


def _listens(door: dict[str, Any] | None) -> dict[str, Any]:
    if door is None:
        return {"tcp": "not listening"}
    return {"tcp": f"{door['url']}, {door['connections']} connections", "token": door["token_file"]}


async def _heartbeats(arguments: argparse.Namespace) -> int:
    from opsdash.service.client import EngineSession

    where = places_of(arguments)
    if not runs(where):
        return _not_there(arguments, where)
    found = await EngineSession(where).heartbeats()
    if arguments.json:
        out_json({"component": None, "status": "ok", "reason": None, **found})
        return exits.OK
    base = found["url"] or f"curl --unix-socket {where.socket} http://localhost"
    table([[each["check"], f"{base}{each['path']}"] for each in found["heartbeats"]])
    if not found["heartbeats"]:
        say("no check is a heartbeat")
    elif found["url"] is None:
        say("the engine listens on no TCP address, so this machine alone can report (engine.listen of opsdash.yaml)")
    return exits.OK


def _not_there(arguments: argparse.Namespace, where: Places) -> int:
    why = f"no engine is running for {where.workspace}"
    if is_locked(where):
        why = f"an engine is at work in {where.workspace}, but does not answer (see {where.log})"
    if arguments.json:
        out_json({"component": None, "status": "unknown", "reason": why})
    say(why)
    return exits.NOT_KNOWN


async def _stop(arguments: argparse.Namespace, workspace: Path, *, again: bool) -> int:
    from opsdash.service.attach import attach
    from opsdash.service.client import EngineSession

    where = places(workspace)
    flags = _words(_flags(arguments))
    if runs(where):
        session = EngineSession(where)
        if again:
            if not is_ours(where):
                name = account(where.owner)
                raise EngineError(f"only {name} can start the engine again, so it was not stopped: {where.state}")
            flags = flags or _words_of((await session.about())["listen"])
        await _end(session, where, force=arguments.force)
        say("the engine has ended")
    elif not again:
        say(f"no engine is running for {where.workspace}")
        return exits.OK
    if again:
        session = await attach(workspace, flags=flags)
        about = await session.about()
        out(f"engine {about['version']} started, pid {about['pid']}")
    return exits.OK


def _words_of(door: dict[str, Any] | None) -> list[str]:
    """The flags with which an engine was started, so that the next one does the same; what its file says it reads."""
    if door is None or not door["by_flag"]:
        return []
    words = ["--listen", door["address"]]
    if door["tls_certificate"] is not None:
        words += ["--tls-certificate", door["tls_certificate"], "--tls-key", door["tls_key"]]
    return words


async def _end(session: EngineSession, where: Places, *, force: bool) -> None:
    """Ask it to end, and wait until its lock is free."""
    await session.stop(force=force)
    loop = asyncio.get_running_loop()
    until = loop.time() + STOPS_WITHIN
    while is_locked(where):
        if loop.time() > until:
            raise EngineError(f"the engine did not end within {STOPS_WITHIN:.0f} s; see {where.log}")
        await asyncio.sleep(0.05)
