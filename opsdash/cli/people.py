"""People: who owns what, who is away, and what nobody covers then."""

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
from opsdash.cli.terminal import Painted, Role, dim, moment, out, out_json, say, table
from opsdash.engine.clock import system_clock

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from opsdash.model.views import PersonView
    from opsdash.service.client import EngineSession

EXAMPLE = "opsdash people away lena --until 2027-01-10"

_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash people`."""
    parser.add_argument(
        "verb", nargs="?", choices=["away", "back"], help="say that somebody is not there, or is there again"
    )
    parser.add_argument("person", nargs="?", metavar="NAME", help="the id in opsdash.yaml")
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
    given: dict[str, Any] = {"person": arguments.person, "until": None, "back": arguments.verb == "back"}
    if arguments.verb == "away" and arguments.until:
        from opsdash.cli.offline import read_files

        given["until"] = end_of(arguments.until, read_files(workspace_of(arguments)).operation.timezone)
    return with_engine(arguments, lambda session: _record(session, given))


def end_of(text: str, zone: str) -> float:
    """The end of a day, or a moment, in the operation's zone: seconds since 1970 UTC. Raises UsageError."""
    clock = ZoneInfo(zone)
    try:
        given = datetime.fromisoformat(text)
        if _DAY.fullmatch(text):
            given += timedelta(days=1)
        at = (given if given.tzinfo else given.replace(tzinfo=clock)).timestamp()
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is no date; write 2027-01-10, or 2027-01-10T12:00") from None
    if at <= system_clock().wall:
        raise UsageError(f"{text} has passed already")
    return at


async def _record(session: EngineSession, given: dict[str, Any]) -> int:
    verdict = await session.submit("away", given)
    if verdict["refused"] is not None:
        say(Painted("refused: ", Role.DOWN), refusal(verdict["refused"]))
        return exits.REFUSED
    _tell([each for each in await session.people() if each["id"] == given["person"]])
    uncovered = (await session.snapshot())["summary"]["uncovered"]
    if uncovered:
        out(Painted(f"nobody covers {', '.join(uncovered)}", Role.DEGRADED))
    return exits.OK


def _list(arguments: argparse.Namespace) -> int:
    async def ask_engine(session: EngineSession) -> list[PersonView]:
        return await session.people()

    def ask_files(workspace: Path) -> list[PersonView]:
        from opsdash.cli.offline import read_offline

        return read_offline(workspace).people()

    people = with_files_or_engine(arguments, ask_engine, ask_files)
    if arguments.json:
        out_json({"component": None, "status": None, "reason": None, "people": people})
    else:
        _tell(people)
    return exits.OK


def _tell(people: Sequence[PersonView]) -> None:
    table([[_state(each), each["id"], each["name"], _owns(each), dim(each["contact"] or "")] for each in people])
    if not people:
        say("opsdash.yaml names no people")


def _state(person: PersonView) -> Painted:
    if person["left"]:
        return Painted("- left", Role.DIM)
    if not person["away"]:
        return Painted("✓ here", Role.OK)
    until = f" until {moment(person['until'])}" if person["until"] else ""
    return Painted(f"! away{until}", Role.DEGRADED)


def _owns(person: PersonView) -> str:
    return f"owns {', '.join(person['owns'])}" if person["owns"] else "owns nothing"
