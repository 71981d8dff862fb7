"""What-if: something is taken away; what fails, what answers, what users are left with, and what nobody answers.

It is computed on the core from the files alone, so it needs no engine and disturbs none. With `--now` it begins with
the world as it is recorded: who serves, what is down, which mode is in force, who is away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.cli import exits
from opsdash.cli.base import UsageError, add_json, add_workspace, workspace_of
from opsdash.cli.terminal import STATUS, Painted, Role, bold, dim, out, out_json, say, sign

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from opsdash.core.whatif import WhatIf
    from opsdash.model.whatif_views import (
        WhatIfAlarm,
        WhatIfAnswer,
        WhatIfFate,
        WhatIfFeature,
        WhatIfLine,
        WhatIfPair,
        WhatIfView,
    )

EXAMPLE = "opsdash whatif email/postmark\n  opsdash whatif zone:eu-west person:ken\n  opsdash whatif --all --pairs"

CRITICAL = Painted("✗ ", Role.DOWN)
HARMLESS = Painted("· ", Role.DIM)


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
        "--fail-on", choices=("spof",), help="spof: exit with 1 where one of what was asked is a single point of failure"
    )  # fmt: skip
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
    for fate in view["fates"]:
        _fate(fate)
    _at_risk(view)
    _unheard(view)
    if not (view["fates"] or view["features"] or view["unanswered"]):
        out("  nothing changes")
    say(_summary(view))


def _fate(fate: WhatIfFate) -> None:
    out()
    out("  ", bold(fate["title"]), dim(f" ({fate['component']}, {fate['tier']})"))
    why = f" ({fate['reason']}: {fate['cause']})" if fate["reason"] and fate["cause"] else ""
    parts = [_label("status"), sign(STATUS, fate["status"]), dim(why)]
    if fate["after"] != fate["status"]:
        parts += [dim(", after the response "), sign(STATUS, fate["after"])]
    out(*parts)
    if fate["redundancy"]:
        role = Role.DEGRADED if fate["redundancy"] != "ready" else Role.PLAIN
        out(_label("redundancy"), Painted(fate["redundancy"], role))
    for failure in fate["failures"]:
        offered = "" if failure["offered"] else dim(", not offered first")
        out(_label("recognised"), f"{failure['title']}: {failure['response']}", offered)
    if fate["answer"] is not None:
        _answer(fate["answer"])
    for feature in fate["features"]:
        _feature(feature)
    for alarm in fate["alarms"]:
        _alarm(alarm)
    if fate["failures"] or fate["status"] in ("down", "unknown"):
        there = ", ".join(fate["present"]) or "nobody"
        out(_label("people"), f"{there}; ", f"runbook {fate['runbook']}" if fate["runbook"] else "no runbook")
    for each in fate["unanswered"]:
        out(_label("unanswered"), Painted(each, Role.DOWN))


def _label(word: str) -> Painted:
    return dim(f"    {word:<12}")


def _answer(answer: WhatIfAnswer) -> None:
    if answer["kind"] == "runbook":
        out(_label("response"), f"people follow runbook {answer['target'] or '(none)'}")
        return
    where = f"{answer['kind']} {answer['component']}" + (f" to {answer['target']}" if answer["target"] else "")
    if answer["refused"]:
        out(_label("response"), f"{where}: ", Painted("not begun", Role.DOWN), f", {answer['refused']}")
    else:
        role = Role.OK if answer["outcome"] == "committed" else Role.DOWN
        by_itself = dim(", by itself") if answer["by_itself"] else ""
        out(_label("response"), f"{where}: ", Painted(answer["outcome"] or "unknown", role), by_itself)
    for guard in answer["guards"]:
        out(_label(""), dim(f"guard {guard['rule']}: {guard['evidence']}"))


def _feature(feature: WhatIfFeature) -> None:
    after = feature["after"]
    role = {"yes": Role.OK, "dropped": Role.DEGRADED, "at risk": Role.DEGRADED}.get(after, Role.DOWN)
    title = f"{feature['title']} ({feature['tier']}): "
    before = "" if feature["before"] == after else f"{feature['before']}, then "
    out(_label("users"), title, before, Painted(after, role))


def _alarm(alarm: WhatIfAlarm) -> None:
    title = f"“{alarm['title']}” "
    if alarm["held"]:
        out(_label("alarm"), title, dim(f"held: {alarm['held']}"))
        return
    later = f", later {', '.join(alarm['later'])}" if alarm["later"] else ""
    silent = f"; nothing arrives over {', '.join(alarm['silent'])}" if alarm["silent"] else ""
    out(_label("alarm"), title, f"to {', '.join(alarm['at_once']) or 'no channel'}{later}", Painted(silent, Role.DOWN))


def _at_risk(view: WhatIfView) -> None:
    owned = {feature["id"] for fate in view["fates"] for feature in fate["features"]}
    at_risk = [feature for feature in view["features"] if feature["id"] not in owned]
    if at_risk:
        out()
        out("  ", bold("Depends on what is down"), dim(" (only its own checks could tell whether it still works)"))
    for feature in at_risk:
        _feature(feature)


def _unheard(view: WhatIfView) -> None:
    own = {f"{fate['component']}: {each}" for fate in view["fates"] for each in fate["unanswered"]}
    others = [each for each in view["unanswered"] if each not in own]
    if others:
        out()
        out("  ", bold("Nobody answers"))
    for each in others:
        out("    ", Painted(each, Role.DOWN))


def _summary(view: WhatIfLine) -> str:
    return "; ".join(_losses(view)) or "users lose nothing, and everything is answered"


def _losses(line: WhatIfLine) -> Iterator[str]:
    """What is left undone, in words."""
    if line["lost"]:
        yield "lost: " + ", ".join(f"{each['id']} ({each['tier']})" for each in line["lost"])
    if line["at_risk"]:
        yield "at risk: " + ", ".join(each["id"] for each in line["at_risk"])
    if line["stays_down"]:
        yield "for people to repair: " + ", ".join(line["stays_down"])
    if line["unanswered"]:
        more = f", and {len(line['unanswered']) - 1} more" if len(line["unanswered"]) > 1 else ""
        yield f"unanswered: {line['unanswered'][0]}{more}"


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
        found = list(_losses(line))
        answered = ", ".join(line["switched"])
        said = "; ".join(found) or (f"answered: {answered}" if answered else "nothing is lost")
        name = " ".join(line["subjects"])
        out(CRITICAL if line["critical"] else HARMLESS, bold(f"{name:<{cells}}"), f"  {said}")
    say(f"{len(lines)} things can be taken away; {critical} of them are single points of failure (✗)")


def _pairs(pairs: list[WhatIfPair]) -> None:
    out()
    out(bold("Lost only when two are gone"))
    for pair in pairs:
        words = []
        if pair["lost"]:
            words.append("lost: " + ", ".join(f"{feature} ({tier})" for feature, tier in pair["lost"]))
        if pair["at_risk"]:
            words.append("at risk: " + ", ".join(feature for feature, _ in pair["at_risk"]))
        if pair["stays_down"]:
            words.append("for people to repair: " + ", ".join(pair["stays_down"]))
        if pair["unanswered"]:
            words.append("unanswered: " + "; ".join(pair["unanswered"]))
        out("  ", bold(" + ".join(pair["subjects"])), f"  {'; '.join(words)}")
    say(f"{len(pairs)} pairs take more together than one at a time")
