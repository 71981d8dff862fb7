"""Alarms: which are raised or held and why, who was told over which channel, and whether that arrived."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from opsdash.cli import exits
from opsdash.cli.base import UsageError, add_as, add_json, add_workspace, refusal, with_engine, with_files_or_engine
from opsdash.cli.terminal import (
    Painted,
    Role,
    ago,
    ask,
    can_ask,
    dim,
    latency,
    moment,
    out,
    out_json,
    say,
    short_moment,
    sign,
    table,
)
from opsdash.engine.clock import system_clock

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from opsdash.model.views import AlarmLine, AlarmsView, ChannelView, MessageView
    from opsdash.service.client import EngineSession

EXAMPLE = "opsdash alarms test pager"

LOOK_EVERY = 0.1
PATIENCE = 60.0
"""Seconds after which a test whose outcome is still open counts as not delivered."""

ALARMS: dict[str, Painted] = {"raised": Painted("✗ RAISED", Role.DOWN), "held": Painted("~ held", Role.BUSY)}
MESSAGES: dict[str, Painted] = {
    "waiting": Painted("! waiting", Role.DEGRADED),
    "sending": Painted("~ sending", Role.BUSY),
    "delivered": Painted("✓ delivered", Role.OK),
    "given_up": Painted("✗ GIVEN UP", Role.DOWN),
}
OUTCOMES: dict[str, Painted] = {
    "delivered": Painted("✓ delivered", Role.OK),
    "failed": Painted("✗ failed", Role.DOWN),
    "refused": Painted("✗ REFUSED", Role.DOWN),
    "unknown": Painted("? not known", Role.UNKNOWN),
}
CHANNELS: dict[str, Painted] = {
    "ok": Painted("✓ works", Role.OK),
    "unused": Painted("? never used", Role.UNKNOWN),
    "failing": Painted("! failing", Role.DEGRADED),
    "broken": Painted("✗ BROKEN", Role.DOWN),
    "removed": Painted("- removed", Role.DIM),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash alarms`."""
    verbs = parser.add_subparsers(dest="verb", metavar="list|outbox|test|tell")
    listing = verbs.add_parser("list", help="alarms and channels (the default)")
    outbox = verbs.add_parser("outbox", help="messages, with every attempt to deliver them")
    outbox.add_argument("message", nargs="?", metavar="ID", help="one message, as it was sent")
    test = verbs.add_parser("test", help="send a test message, and wait until it has arrived")
    test.add_argument("channel", nargs="?", metavar="CHANNEL", default="", help="without it: over all of them")
    tell = verbs.add_parser("tell", help="tell customers of an incident")
    tell.add_argument("incident", metavar="INCIDENT")
    tell.add_argument("text", nargs="?", metavar="TEXT", default="", help="without it: what its failure mode has ready")
    tell.add_argument("--channel", action="append", default=[], metavar="CHANNEL", help="instead of all for customers")
    tell.add_argument("--yes", action="store_true", help="send it without asking")
    for each in (test, tell):
        add_as(each)
    for each in (listing, outbox, test, tell):
        add_json(each)
        add_workspace(each)
    add_json(parser)
    add_workspace(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show alarms or messages, or send one."""
    if arguments.verb == "test":
        return with_engine(arguments, lambda session: _test(session, arguments))
    if arguments.verb == "tell":
        return with_engine(arguments, lambda session: _tell(session, arguments))
    view = _ask(arguments)
    if arguments.verb == "outbox":
        return _outbox(arguments, view["outbox"])
    return _list(arguments, view)


def _ask(arguments: argparse.Namespace) -> AlarmsView:
    async def ask_engine(session: EngineSession) -> AlarmsView:
        return await session.alarms()

    def ask_files(workspace: Path) -> AlarmsView:
        from opsdash.cli.offline import read_offline
        from opsdash.core.alarm_views import alarms_view

        return alarms_view(read_offline(workspace).viewer.draft)

    return with_files_or_engine(arguments, ask_engine, ask_files)


# --- alarms and channels -----------------------------------------------------------------------------------------


def _list(arguments: argparse.Namespace, view: AlarmsView) -> int:
    if arguments.json:
        worst = view["alarms"][0]["state"] if view["alarms"] else None
        channels = {"channels": view["channels"], "texts": view["texts"]}
        out_json({"component": None, "status": worst, "reason": None, "alarms": view["alarms"], **channels})
        return exits.OK
    now = system_clock().wall
    table(_alarm(each, now) for each in view["alarms"])
    if not view["alarms"]:
        say("no alarm is raised or held")
    table(_channel(each, now) for each in view["channels"])
    if not view["channels"]:
        say("nobody is told of alarms: opsdash.yaml declares no channel (alarms: {channels: …})")
    return exits.OK


def _alarm(alarm: AlarmLine, now: float) -> list[str | Painted]:
    drill = "[DRILL] " if alarm["drill"] else ""
    return [
        sign(ALARMS, alarm["state"]),
        alarm["key"],
        dim(ago(alarm["since"], now)),
        f"{drill}{alarm['title']}",
        dim(_about(alarm)),
    ]


def _about(alarm: AlarmLine) -> str:
    parts = [alarm["incident"] or "", f"severity {alarm['severity']}"]
    if alarm["state"] == "held":
        parts.append(f"held: {alarm['words']}")
    if alarm["acknowledged_by"]:
        parts.append(f"acknowledged by {alarm['acknowledged_by']}")
    if alarm["told"]:
        parts.append(f"told: {', '.join(alarm['told'])}")
    if alarm["undelivered"]:
        parts.append(f"not delivered: {', '.join(alarm['undelivered'])}")
    if alarm["later"]:
        parts.append(f"told later: {', '.join(alarm['later'])}")
    if alarm["state"] == "raised" and not (alarm["told"] or alarm["undelivered"] or alarm["later"]):
        parts.append("nobody was told yet")
    return " · ".join(part for part in parts if part)


def _channel(channel: ChannelView, now: float) -> list[str | Painted]:
    last = f"last delivered {ago(channel['delivered_at'], now)} ago" if channel["delivered_at"] else "nothing delivered"
    parts = [last]
    if channel["waiting"]:
        parts.append(f"{channel['waiting']} waiting")
    if channel["failing_since"]:
        parts.append(f"failing for {ago(channel['failing_since'], now)}: {channel['said'] or 'no answer'}")
    if channel["audience"] != "team":
        parts.append("for customers")
    return [sign(CHANNELS, channel["state"]), channel["id"], channel["kind"], dim(" · ".join(parts))]


# --- the outbox --------------------------------------------------------------------------------------------------


def _outbox(arguments: argparse.Namespace, messages: Sequence[MessageView]) -> int:
    chosen = list(messages)
    if arguments.message:
        chosen = [each for each in messages if each["id"] == arguments.message]
        if not chosen:
            known = ", ".join(each["id"] for each in messages[:10]) or "none"
            raise UsageError(f"there is no message {arguments.message!r} in the outbox; the latest are: {known}")
    if arguments.json:
        waits = any(each["next_at"] is not None for each in chosen)
        status = "waiting" if waits else None
        out_json({"component": None, "status": status, "reason": None, "outbox": chosen})
        return exits.OK
    now = system_clock().wall
    for each in chosen:
        _message(each, now, whole=bool(arguments.message))
    if not chosen:
        say("no message was sent yet")
    return exits.OK


def _message(message: MessageView, now: float, *, whole: bool) -> None:
    out(
        sign(MESSAGES, message["state"]),
        f"  {message['id']}  {message['channel']}  {message['kind']}  ",
        dim(moment(message["created_at"])),
        f"  {message['title']}",
    )
    if whole:
        for line in message["body"].splitlines():
            out("    ", line)
        out(
            dim(f"    key {message['key']}, severity {message['severity']}, about {', '.join(message['about']) or '—'}")
        )
    hidden = message["tries"] - len(message["attempts"])
    if hidden > 0 and message["state"] != "sending":
        out(dim(f"    {hidden} earlier attempts: `opsdash journal`"))
    for attempt in message["attempts"]:
        out(
            dim(f"    {moment(attempt['at'])}  "),
            sign(OUTCOMES, attempt["outcome"]),
            dim(f"  in {latency(attempt['took'])}"),
            f"  {attempt['detail']}",
        )
    if message["next_at"] is not None:
        out(dim(f"    tried next {short_moment(message['next_at'], now)}"))
    if message["why"]:
        out(dim(f"    given up: {message['why']}"))


# --- a test ------------------------------------------------------------------------------------------------------


async def _test(session: EngineSession, arguments: argparse.Namespace) -> int:
    verdict = await session.submit("test_alarm", {"channel": arguments.channel})
    if verdict["refused"] is not None:
        return _refused(arguments, refusal(verdict["refused"]))
    messages = await _ended(session, verdict["subject"].split(), say_so=not arguments.json)
    delivered = bool(messages) and all(each["state"] == "delivered" for each in messages)
    if arguments.json:
        why = next((_outcome(each) for each in messages if each["state"] != "delivered"), None)
        status = "delivered" if delivered else "not delivered"
        out_json({"component": None, "status": status, "reason": why, "outbox": messages})
    for each in () if arguments.json else messages:
        mark = sign(MESSAGES, "delivered") if each["state"] == "delivered" else Painted("✗ NOT DELIVERED", Role.DOWN)
        table([[mark, each["channel"], each["id"], dim(_outcome(each))]])
    return exits.OK if delivered else exits.FAILED


async def _ended(session: EngineSession, ids: list[str], *, say_so: bool) -> list[MessageView]:
    """The messages as they are once all have ended, or when nobody waits any longer."""
    loop = asyncio.get_running_loop()
    until = loop.time() + PATIENCE
    if say_so:
        say(f"waiting for {', '.join(ids)} …")
    while True:
        found = [each for each in (await session.alarms())["outbox"] if each["id"] in ids]
        if all(each["state"] in {"delivered", "given_up"} for each in found) or loop.time() > until:
            return found
        await asyncio.sleep(LOOK_EVERY)


def _outcome(message: MessageView) -> str:
    if not message["attempts"]:
        return "it was not tried yet"
    last = message["attempts"][-1]
    return f"{last['outcome']} in {latency(last['took'])}: {last['detail'] or 'no answer'}"


# --- customers ---------------------------------------------------------------------------------------------------


async def _tell(session: EngineSession, arguments: argparse.Namespace) -> int:
    text = arguments.text
    if not text:
        text = (await session.alarms())["texts"].get(arguments.incident, "")
    if text and not arguments.yes:
        say("customers will read:")
        for line in text.splitlines():
            say("    ", line)
        if not can_ask():
            raise UsageError("nobody can be asked here; add --yes to send it")
        if ask("send it? [y/N]") not in {"y", "Y", "yes"}:
            say("nothing was sent")
            return exits.FAILED
    given: dict[str, Any] = {
        "incident": arguments.incident,
        "text": arguments.text,
        "channels": arguments.channel,
    }
    verdict = await session.submit("tell", given)
    if verdict["refused"] is not None:
        return _refused(arguments, refusal(verdict["refused"]))
    ids = verdict["subject"].split()
    if arguments.json:
        out_json({"component": None, "status": "queued", "reason": None, "incident": arguments.incident, "queued": ids})
    else:
        out(f"queued: {', '.join(ids)}; `opsdash alarms outbox` shows whether they arrive")
    return exits.OK


def _refused(arguments: argparse.Namespace, why: str) -> int:
    if arguments.json:
        out_json({"component": None, "status": "refused", "reason": why})
    say(Painted("refused: ", Role.DOWN), why)
    return exits.REFUSED
