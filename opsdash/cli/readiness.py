"""Readiness: would the operation survive each of its failures today? The gaps, worst first, with what closes each."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from opsdash.cli import exits
from opsdash.cli.base import add_json, add_workspace, with_files_or_engine
from opsdash.cli.terminal import Painted, Role, bold, dim, out, out_json, say, table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from opsdash.cli.terminal import Part
    from opsdash.model.views import GapView, ReadinessView, ScoreView
    from opsdash.service.client import EngineSession

EXAMPLE = "opsdash readiness --min 70"

FEW = 15
"""Gaps that are shown of the operation, where nobody asks for all."""

GOOD, FAIR = 90, 60
_BARS = "▁▂▃▄▅▆▇█"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash readiness`."""
    parser.add_argument("component", nargs="?", metavar="COMPONENT", help="only this one's")
    parser.add_argument("--min", type=_score, metavar="SCORE", help="end with 1 when the score is below, 0 to 100")
    parser.add_argument("--all", action="store_true", help=f"every gap, and not only the worst {FEW}")
    parser.add_argument("--rules", action="store_true", help="the table of rules: what is looked for, and why")
    add_json(parser)
    add_workspace(parser)


def _score(text: str) -> int:
    if not text.isdecimal() or int(text) > 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no score; write a number from 0 to 100")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Show the score and the gaps. With --min: whether it is enough."""
    if arguments.rules:
        return _rules(as_json=arguments.json)
    found = _ask(arguments)
    if arguments.json:
        out_json({"component": arguments.component, "status": _status(found), "reason": None, "readiness": found})
    else:
        _text(found, everything=arguments.all or arguments.component is not None)
    if arguments.min is not None and found["score"] < arguments.min:
        say(f"readiness is {found['score']}, below {arguments.min}")
        return exits.NOT_OK
    return exits.OK


def _status(found: ReadinessView) -> str:
    return "gaps" if found["total"] else "ready"


def _ask(arguments: argparse.Namespace) -> ReadinessView:
    component: str | None = arguments.component

    async def ask_engine(session: EngineSession) -> ReadinessView:
        if component is not None:
            known = {row["id"] for row in (await session.snapshot())["rows"] if not row["removed"]}
            _has_to_be_known(component, known)
        return await session.readiness(component)

    def ask_files(workspace: Path) -> ReadinessView:
        from opsdash.cli.offline import read_offline

        offline = read_offline(workspace)
        if component is not None:
            _has_to_be_known(component, set(offline.loaded.operation.components))
        return offline.readiness(component)

    return with_files_or_engine(arguments, ask_engine, ask_files)


def _has_to_be_known(component: str, known: set[str]) -> None:
    if component not in known:
        from opsdash.cli.status import unknown_component

        raise unknown_component(component, known)


# --- text --------------------------------------------------------------------------------------------------------


def _text(found: ReadinessView, *, everything: bool) -> None:
    name = found["component"] or "the operation"
    out(bold(f"Readiness of {name}: "), _painted(found["score"]), dim(" of 100"), *_trend(found))
    if not found["measured"]:
        say("no engine runs: this is what files and journal say; nobody knows whether backups are ready now")
    if found["component"] is None and found["components"]:
        out()
        _components(found["components"])
    shown = found["gaps"] if everything else found["gaps"][:FEW]
    for gap in shown:
        _gap(gap, alone=found["component"] is not None)
    if found["total"] > len(shown):
        _more(found, len(shown))
    elif not found["total"]:
        out(Painted("✓ no gap", Role.OK))


def _more(found: ReadinessView, shown: int) -> None:
    left = found["total"] - shown
    how = "name a component to see its own" if shown == len(found["gaps"]) else "--all shows them"
    say(f"{left} more {'gap' if left == 1 else 'gaps'}; {how}")


def _painted(score: int) -> Painted:
    return Painted(str(score), Role.OK if score >= GOOD else Role.DEGRADED if score >= FAIR else Role.DOWN)


def _trend(found: ReadinessView) -> list[Part]:
    """The last days as bars, and the difference to former ones; nothing where nothing is known."""
    if found["component"] is not None:
        return []
    bars = "".join(_BARS[min(7, score * 8 // 100)] for _, score in found["trend"][-30:])
    told = [f"{number:+d} in {days} d" for days, number in found["differences"].items() if number is not None]
    parts: list[Part] = [dim(f"   {bars}")] if len(found["trend"]) > 1 else []
    return [*parts, dim(f"   {', '.join(told)}")] if told else parts


def _components(scores: Sequence[ScoreView]) -> None:
    rows: list[list[Part]] = [
        [_painted(each["score"]), each["component"], dim(each["tier"]), dim(_gaps(each["gaps"]))]
        for each in scores[:FEW]
    ]
    table(rows, indent="  ")
    if len(scores) > FEW:
        out(dim(f"  and {len(scores) - FEW} more with higher scores"))


def _gaps(number: int) -> str:
    return f"{number} gap" if number == 1 else f"{number} gaps"


def _gap(gap: GapView, *, alone: bool) -> None:
    where = "" if alone or gap["component"] is None else f"{gap['component']}  "
    figure = f"{gap['points']:g}" if alone else f"{gap['weight']:.1f}"
    out()
    out(Painted(f"{figure:>5} ", Role.DEGRADED), bold(where), gap["text"], dim(f"  [{gap['rule']}]"))
    command: list[Part] = ["  ", bold(gap["command"])] if gap["command"] else []
    out(dim("      close it: "), gap["close"], *command)
    if gap["file"]:
        out(dim(f"      in:       {gap['file']}"))


# --- rules -------------------------------------------------------------------------------------------------------


def _rules(*, as_json: bool) -> int:
    from opsdash.core.readiness_rules import RULES, WHOLE_RULES

    if as_json:
        listed = [
            {"id": each.id, "aspect": each.aspect.value, "title": each.title, "why": each.why, "close": each.close}
            | {"points": list(each.points)}
            for each in RULES
        ]
        listed += [
            {"id": each.id, "aspect": "the operation", "title": each.title, "why": each.why, "close": each.close}
            | {"points": [each.points]}
            for each in WHOLE_RULES
        ]
        out_json({"component": None, "status": None, "reason": None, "rules": listed})
        return exits.OK
    for rule in RULES:
        points = "/".join(str(each) for each in rule.points)
        out(bold(rule.id), dim(f"  {rule.aspect.value}, {points} points"))
        out(f"  {rule.title}")
        out(dim(f"  {rule.why} Close it: {rule.close}"))
    for whole in WHOLE_RULES:
        out(bold(whole.id), dim(f"  the operation, {whole.points} points"))
        out(f"  {whole.title}")
        out(dim(f"  {whole.why} Close it: {whole.close}"))
    say("points: of an essential, an important, a droppable component")
    return exits.OK
