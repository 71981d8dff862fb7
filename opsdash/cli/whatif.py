"""What-if: something is taken away; what fails, what answers, what users are left with, and what nobody answers.

It is computed on the core from the files alone, so it needs no engine and disturbs none. With `--now` it begins with
the world as it is recorded: who serves, what is down, which mode is in force, who is away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.cli import exits
from opsdash.cli.base import UsageError, add_json, add_workspace, workspace_of
from opsdash.cli.terminal import Painted, Role, bold, dim, out, out_json, say
from opsdash.core.whatif_words import Tone, account, in_short, losses

if TYPE_CHECKING:
    import argparse

    from opsdash.core.whatif import WhatIf
    from opsdash.model.whatif_views import WhatIfLine, WhatIfPair, WhatIfView

EXAMPLE = "opsdash whatif email/postmark\n  opsdash whatif zone:eu-west person:ken\n  opsdash whatif --all --pairs"

CRITICAL = Painted("✗ ", Role.DOWN)
HARMLESS = Painted("· ", Role.DIM)


ROLES = {
    Tone.PLAIN: Role.PLAIN,
    Tone.DIM: Role.DIM,
    Tone.GOOD: Role.OK,
    Tone.WARN: Role.DEGRADED,
    Tone.BAD: Role.DOWN,
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash whatif`."""
    parser.add_argument(
        "subjects",
        nargs="*",
        metavar="SUBJECT",
        help="what is taken away, several for all at once: COMPONENT, COMPONENT/PROVIDER, host:NAME, credential:NAME, "
        "zone:NAME, person:ID, channel:NAME",
    )
    parser.add_argument("--all", action="store_true", help="everything, one at a time, the worst first")
    parser.add_argument("--pairs", action="store_true", help="with --all: also what is lost only when two are gone")
    parser.add_argument("--now", action="store_true", help="begin with what is recorded, not with all that works")
    parser.add_argument("--list", action="store_true", help="only name all that can be taken away")
    parser.add_argument(
        "--fail-on",
        choices=("spof",),
        help="spof: exit with 1 where one of what was asked about is a single point of failure",
    )
    add_json(parser)
    add_workspace(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show what would become of it. Raises UsageError for a name that nobody has."""
    wanted = bool(arguments.subjects) + arguments.all + arguments.list
    if wanted != 1:
        raise UsageError("name what is taken away, or say --all, or --list: `opsdash whatif email/postmark`")
    if arguments.pairs and not arguments.all:
        raise UsageError("--pairs goes with --all; two subjects are named one after the other")
    whatif = _whatif(arguments)
    if arguments.list:
        return _list(whatif, as_json=arguments.json)
    return _all(whatif, arguments) if arguments.all else _one(whatif, arguments)


def _whatif(arguments: argparse.Namespace) -> WhatIf:
    from opsdash.cli.offline import read_files, read_offline
    from opsdash.core.whatif import WhatIf
    from opsdash.engine.clock import system_clock

    workspace = workspace_of(arguments)
    wall = system_clock().wall
    if not arguments.now:
        loaded = read_files(workspace)
        return WhatIf(loaded.operation, wall, filled=loaded.with_settings)
    known = read_offline(workspace)
    tables = known.world.tables
    return WhatIf(known.loaded.operation, wall, tables=tables, filled=known.loaded.with_settings)


def _list(whatif: WhatIf, *, as_json: bool) -> int:
    if as_json:
        out_json({"component": None, "status": None, "reason": None, "subjects": list(whatif.subjects)})
    else:
        for name in whatif.subjects:
            out(name)
    return exits.OK


# --- one loss --------------------------------------------------------------------------------------------------------


def _one(whatif: WhatIf, arguments: argparse.Namespace) -> int:
    from opsdash.core.whatif_subjects import find
    from opsdash.core.whatif_views import whatif_view
    from opsdash.model.switch import Refused

    loss = find(whatif.subjects, arguments.subjects)
    if isinstance(loss, Refused):
        raise UsageError(loss.reason)
    view = whatif_view(whatif.without(loss))
    if arguments.json:
        out_json({"component": None, "status": _verdict(view), "reason": None, **view})
    else:
        _text(view)
    return _exit(arguments, critical=view["critical"])


def _exit(arguments: argparse.Namespace, *, critical: bool) -> int:
    return exits.FAILED if arguments.fail_on and critical else exits.OK


def _verdict(view: WhatIfLine) -> str:
    return "critical" if view["critical"] else "covered"


def _text(view: WhatIfView) -> None:
    out("without ", bold(" and ".join(view["subjects"])))
    for label, text, tone in account(view):
        if tone is Tone.HEADING:
            out()
            out("  ", bold(text))
        else:
            out(dim(f"    {label:<12}"), Painted(text, ROLES[tone]))
    say("; ".join(losses(view)) or "users lose nothing, and everything is answered")


# --- everything ------------------------------------------------------------------------------------------------------


def _all(whatif: WhatIf, arguments: argparse.Namespace) -> int:
    from opsdash.core.whatif_views import whatif_line, whatif_pair

    lines = [whatif_line(each) for each in whatif.singles()]
    pairs = [whatif_pair(each) for each in whatif.pairs()] if arguments.pairs else []
    critical = [line for line in lines if line["critical"]]
    if arguments.json:
        verdict = "critical" if critical else "covered"
        data = {"component": None, "status": verdict, "reason": None, "singles": lines}
        out_json({**data, "pairs": pairs} if arguments.pairs else data)
    else:
        _ranking(lines, len(critical))
        if arguments.pairs:
            _pairs(pairs)
    return _exit(arguments, critical=bool(critical))


def _ranking(lines: list[WhatIfLine], critical: int) -> None:
    cells = max((len(" ".join(line["subjects"])) for line in lines), default=0)
    for line in lines:
        name = " ".join(line["subjects"])
        out(CRITICAL if line["critical"] else HARMLESS, bold(f"{name:<{cells}}"), f"  {in_short(line)}")
    say(f"{len(lines)} things can be taken away; {critical} of them are single points of failure (✗)")


def _pairs(pairs: list[WhatIfPair]) -> None:
    out()
    out(bold("Lost only when two are gone"))
    for pair in pairs:
        out("  ", bold(" + ".join(pair["subjects"])), f"  {'; '.join(losses(pair))}")
    say(f"{len(pairs)} pairs take more together than one at a time")
