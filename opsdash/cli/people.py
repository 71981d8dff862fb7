"""People: who owns what and can run it, who is on duty or away, and what nobody covers then."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from opsdash.cli import exits
from opsdash.cli.base import (
    UsageError,
    add_as,
    add_json,
    add_workspace,
    refusal,
    with_engine,
    with_files_or_engine,
    workspace_of,
)
from opsdash.cli.terminal import Painted, Role, bold, dim, moment, out, out_json, say, table
from opsdash.engine.clock import system_clock

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from opsdash.model.views import CoverageView, CoverView, PersonView
    from opsdash.service.client import EngineSession

EXAMPLE = "opsdash people away lena --until 2027-01-10"

_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash people`."""
    parser.add_argument(
        "verb", nargs="?", choices=["away", "back"], help="say that somebody is not there, or is there again"
    )
    parser.add_argument("person", nargs="?", metavar="NAME", help="the id in opsdash.yaml")
    parser.add_argument("--from", dest="start", metavar="DATE", help="first day, as 2026-12-24; without it: now")
    parser.add_argument("--until", metavar="DATE", help="last day, as 2027-01-10; without it: until they are back")
    add_json(parser)
    add_as(parser)
    add_workspace(parser)


def run(arguments: argparse.Namespace) -> int:
    """List people, or record an absence."""
    if arguments.verb is None:
        return _list(arguments)
    if arguments.person is None:
        raise UsageError(f"who is {arguments.verb}? `opsdash people` lists everybody")
    given: dict[str, Any] = {
        "person": arguments.person,
        "start": None,
        "until": None,
        "back": arguments.verb == "back",
    }
    if arguments.verb == "away" and (arguments.until or arguments.start):
        from opsdash.cli.offline import read_files

        zone = read_files(workspace_of(arguments)).operation.timezone
        if arguments.until:
            given["until"] = end_of(arguments.until, zone)
        if arguments.start:
            given["start"] = beginning_of(arguments.start, zone)
    return with_engine(arguments, lambda session: _record(session, given, as_json=arguments.json))


def end_of(text: str, zone: str) -> float:
    """The end of a day, or a moment, in the operation's zone: seconds since 1970 UTC. Raises UsageError."""
    at = _moment(text, zone, days=1)
    if at <= system_clock().wall:
        raise UsageError(f"{text} has passed already")
    return at


def beginning_of(text: str, zone: str) -> float:
    """The beginning of a day, or a moment, likewise. Raises UsageError."""
    return _moment(text, zone, days=0)


def _moment(text: str, zone: str, days: int) -> float:
    clock = ZoneInfo(zone)
    try:
        given = datetime.fromisoformat(text)
        if _DAY.fullmatch(text):
            given += timedelta(days=days)
        return (given if given.tzinfo else given.replace(tzinfo=clock)).timestamp()
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is no date; write 2027-01-10, or 2027-01-10T12:00") from None


async def _record(session: EngineSession, given: dict[str, Any], *, as_json: bool) -> int:
    verdict = await session.submit("away", given)
    if verdict["refused"] is not None:
        say(Painted("refused: ", Role.DOWN), refusal(verdict["refused"]))
        return exits.REFUSED
    people = [each for each in await session.people() if each["id"] == given["person"]]
    coverage = await session.cover()
    if as_json:
        out_json({"component": None, "status": None, "reason": None, "people": people, "cover": coverage})
        return exits.OK
    _tell(people)
    for person in people:
        _tell_consequences(person, coverage)
    return exits.OK


def _list(arguments: argparse.Namespace) -> int:
    async def ask_engine(session: EngineSession) -> tuple[list[PersonView], CoverageView]:
        return await session.people(), await session.cover()

    def ask_files(workspace: Path) -> tuple[list[PersonView], CoverageView]:
        from opsdash.cli.offline import read_offline

        offline = read_offline(workspace)
        return offline.people(), offline.cover()

    people, coverage = with_files_or_engine(arguments, ask_engine, ask_files)
    if arguments.json:
        out_json({"component": None, "status": None, "reason": None, "people": people, "cover": coverage})
        return exits.OK
    _tell(people)
    _tell_practice(people)
    _tell_components(coverage)
    _tell_rotas(coverage)
    return exits.OK


# --- people -----------------------------------------------------------------------------------------------------------


def _tell(people: Sequence[PersonView]) -> None:
    table([[_state(each), each["id"], each["name"], _owns(each), dim(each["contact"] or "")] for each in people])
    if not people:
        say("opsdash.yaml names no people")


def _state(person: PersonView) -> Painted:
    if person["left"]:
        return Painted("- left", Role.DIM)
    if not person["away"]:
        duty = f", on duty ({', '.join(person['on_duty'])})" if person["on_duty"] else ""
        soon = f", away from {moment(person['away_from'])}" if person["away_from"] else ""
        return Painted(f"✓ here{duty}{soon}", Role.OK)
    until = f" until {moment(person['until'])}" if person["until"] else ""
    return Painted(f"! away{until}", Role.DEGRADED)


def _owns(person: PersonView) -> str:
    return f"owns {', '.join(person['owns'])}" if person["owns"] else "owns nothing"


def _tell_practice(people: Sequence[PersonView]) -> None:
    """What everybody has done in the last 180 days, the latest first."""
    rows: list[list[Any]] = [
        [person["id"], deed["component"], deed["words"], dim(moment(deed["at"])), dim(deed["by"])]
        for person in people
        for deed in person["did"]
    ]
    if people:
        out("")
        out(bold("who has done what"), dim("  in the last 180 days: switches, runbooks, drills"))
        table(rows, indent="  ")
        if not rows:
            out(dim("  nobody has done anything yet"))


# --- components -------------------------------------------------------------------------------------------------------


def _tell_components(coverage: CoverageView) -> None:
    """Who can run what: nobody is red, one person amber."""
    if not coverage["components"]:
        return
    out("")
    out(bold("who can run it"), dim("  by what they have done"))
    table([[_factor(each), each["component"], _runners(each), _beside(each)] for each in coverage["components"]],
          indent="  ")  # fmt: skip
    for gap in (gap for each in coverage["components"] for gap in each["gaps"]):
        out(Painted(f"  ! {gap['words']}", Role.DEGRADED))


def _factor(cover: CoverView) -> Painted:
    factor = cover["bus_factor"]
    if factor > 1:
        return Painted(f"✓ {factor} people", Role.OK)
    return Painted("! 1 person", Role.DEGRADED) if factor else Painted("✗ nobody", Role.DOWN)


def _runners(cover: CoverView) -> str:
    return ", ".join(f"{each['person']} ({each['words']}, {moment(each['at'])})" for each in cover["can_run"])


def _beside(cover: CoverView) -> Painted:
    duty = f"on duty: {', '.join(cover['on_duty'])}" if cover["on_duty"] else ""
    following = f"next drill: {cover['next_driver']}" if cover["next_driver"] else ""
    return dim("; ".join(part for part in (duty, following) if part))


def _tell_rotas(coverage: CoverageView) -> None:
    if not coverage["rotas"]:
        return
    out("")
    out(bold("rotas"))
    for rota in coverage["rotas"]:
        now = ", ".join(rota["on_duty"])
        until = f" until {moment(rota['until'])}" if rota["until"] else ""
        following = f", then {rota['next']} from {moment(rota['next_at'])}" if rota["next"] else ""
        shown = Painted(f"{now}{until}", Role.OK) if now else Painted("nobody is on duty", Role.DOWN)
        out(f"  {rota['id']}: ", shown, following, dim(f"  {rota['file']}"))
        for gap in rota["gaps"]:
            out(Painted(f"    ! {gap['words']}", Role.DEGRADED))


def _tell_consequences(person: PersonView, coverage: CoverageView) -> None:
    """What nobody else stands behind while somebody is away; and what nobody covers now."""
    if person["away"] or person["away_from"] is not None:
        for each in person["alone"]:
            out(Painted(f"! {each['component']}: {each['words']}", Role.DEGRADED))
    now = system_clock().wall
    uncovered = [
        each["component"]
        for each in coverage["components"]
        if any(gap["what"] == "owners" and gap["since"] <= now for gap in each["gaps"])
    ]
    if uncovered:
        out(Painted(f"nobody covers {', '.join(uncovered)}", Role.DEGRADED))
