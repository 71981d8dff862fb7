"""The command line: finds the command that is meant, imports it alone, and turns what happens into an exit code.

The commands are the table `COMMANDS`. Listing them imports none, so `opsdash status` pays for `opsdash status`.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from opsdash import __version__
from opsdash.cli import exits
from opsdash.cli.base import UsageError, add_as, add_workspace
from opsdash.cli.terminal import never_fail_on_a_character, say
from opsdash.errors import OpsdashError
from opsdash.service.session import SessionError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COMMANDS", "main", "parse"]


class Entry(NamedTuple):
    """A command: the module that holds it, and what it does."""

    module: str
    summary: str


COMMANDS: dict[str, Entry] = {
    "demo": Entry("demo", "the example operation, its services started locally (--tour: without a terminal)"),
    "init": Entry("init", "a new, commented workspace"),
    "validate": Entry("validate", "read every file, report every problem; --run runs each check once"),
    "engine": Entry("engine", "the engine in the foreground; engine status, stop, restart"),
    "status": Entry("status", "one look at the engine: what is up, what is not"),
    "register": Entry("register", "every failure mode: detection, response, runbook, owner, proof"),
    "readiness": Entry("readiness", "would it survive? the gaps, worst first, each with what closes it; --min for CI"),
    "whatif": Entry("whatif", "take anything away: what fails, what answers it, what nobody answers"),
    "check": Entry("check", "run one check now, show what it saw"),
    "failover": Entry("failover", "switch a component to a backup, verified"),
    "failback": Entry("failback", "switch a component back to its primary, verified"),
    "switch": Entry("switch", "the live or last switch, and the ways out of an unknown one"),
    "evidence": Entry("evidence", "what was known, decided, done and seen in a switch; works without an engine"),
    "auto": Entry("auto", "switching without a person: where, what stood in the way; let it go on"),
    "degrade": Entry("degrade", "enter a degraded mode, verified"),
    "restore": Entry("restore", "leave a degraded mode, verified"),
    "mark": Entry("mark", "mark that something was changed"),
    "maintenance": Entry("maintenance", "mute alarms for a while, and see what would have been alarmed"),
    "alarms": Entry("alarms", "alarms, the outbox with every attempt, channels; send a test, tell customers"),
    "runbook": Entry("runbook", "runbooks: list, show, lint, test their checks, and follow one step by step"),
    "sheet": Entry(
        "sheet", "emergency sheets: a page for each component, for the day on which this host is what failed"
    ),
    "incident": Entry("incident", "incidents: look after one, write, hand over, resolve; the report"),
    "drill": Entry("drill", "planned failures: what is due, run one, halt them all, evidence, calendar"),
    "history": Entry("history", "uptime, latency percentiles, changes of a component"),
    "couplings": Entry("couplings", "components that failed within the same minute more often than by chance"),
    "people": Entry("people", "who owns what and can run it, who is on duty or away"),
    "journal": Entry("journal", "everything that happened: tail, verify, export; works without an engine"),
    "schema": Entry("schema", "the JSON Schema of opsdash.yaml, checks/*.yaml and drills/*.yaml, for editors"),
    "kinds": Entry("kinds", "kinds of checks, actions, injections and notifiers, and their options"),
    "faultproxy": Entry("faultproxy", "a proxy for drills: passes traffic until it is told to be a bad network"),
    "doctor": Entry("doctor", "is everything in place for opsdash itself?"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code."""
    never_fail_on_a_character()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(words)
    except SystemExit as ended:  # argparse: usage errors, --help, --version
        return ended.code if isinstance(ended.code, int) else exits.OK
    except UsageError as error:
        say(f"opsdash: {error}")
        return exits.USAGE
    except (OpsdashError, SessionError) as error:
        say(f"opsdash: {error}")
        return exits.FAILED
    except KeyboardInterrupt:
        say("interrupted")
        return exits.INTERRUPTED
    except BrokenPipeError:
        # what is still buffered would raise again when the interpreter ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the last net; the traceback is kept in a file
        return _bug(error)


def _dispatch(words: list[str]) -> int:
    before, name, after = _split(words)
    if name is None:
        from opsdash.cli import board

        return board.run(parse(words))
    module = _module(name)
    arguments = _parser(name, module).parse_args([*after, *before])
    arguments.command = name
    code: int = module.run(arguments)
    return code


def parse(words: Sequence[str]) -> argparse.Namespace:
    """A command line's arguments; nothing is carried out. Raises UsageError, and argparse's SystemExit."""
    before, name, after = _split(list(words))
    parser = _top_parser() if name is None else _parser(name, _module(name))
    return parser.parse_args([*after, *before])


def _module(name: str) -> Any:
    entry = COMMANDS.get(name)
    if entry is None:
        raise UsageError(f"there is no command {name!r}. {_nearest(name)}")
    return import_module(f"opsdash.cli.{entry.module}")


def _parser(name: str, module: Any) -> argparse.ArgumentParser:
    summary = COMMANDS[name].summary
    parser = argparse.ArgumentParser(
        prog=f"opsdash {name}",
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"example:\n  {module.EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.configure(parser)
    return parser


def _split(words: list[str]) -> tuple[list[str], str | None, list[str]]:
    """Options before the command, the command, and the rest. Only `-w` and `--as` may stand before it."""
    index = 0
    while index < len(words):
        word = words[index]
        if word in {"-w", "--workspace", "--as"}:
            index += 2
        elif word.startswith("-") and word != "-":
            index += 1
        else:
            return words[:index], word, words[index + 1 :]
    return words, None, []


def _nearest(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
    if near:
        return f"Did you mean `opsdash {near[0]}`?"
    return f"There are: {', '.join(COMMANDS)}"


def _top_parser() -> argparse.ArgumentParser:
    """Without a command: the board."""
    listed = "\n".join(f"  {name:<10} {entry.summary}" for name, entry in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="opsdash",
        usage="opsdash [-w DIR] [--read-only] [--as ID]\n       opsdash COMMAND [...]",
        description="The board: live status per component, one key to the backup, one key to the runbook.\n"
        "It attaches to the workspace's engine, and starts one if none runs.",
        epilog=f"commands:\n{listed}\n\n`opsdash COMMAND --help` tells more.\n\nexample:\n  opsdash demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"opsdash {__version__}")
    add_workspace(parser)
    parser.add_argument("--read-only", action="store_true", help="refuse every key that changes something")
    parser.add_argument("--ephemeral", action="store_true", help="an engine started for this ends with its last client")
    add_as(parser)
    return parser


def _bug(error: Exception) -> int:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="opsdash-bug-", suffix=".log", delete=False) as log:
        log.write(f"opsdash {__version__}, Python {sys.version}\n{sys.argv}\n\n")
        traceback.print_exception(error, file=log)
    say(f"opsdash: this is a bug: {type(error).__name__}: {error}")
    say(f"the traceback is in {log.name}; please report it")
    return exits.BUG
