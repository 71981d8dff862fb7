"""Action kind `haproxy`: sockets that hang, lie, break off and talk nonsense; the real one is in tests/mechanisms."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from opsdash.kinds import haproxy as runtime_api
from opsdash.kinds.actions.haproxy import KIND, Options, ReadOptions, apply, manual, preflight, read
from opsdash.kinds.base import ActionContext, ActionResult, Applied
from opsdash.kinds.failures import ProtocolError
from opsdash.kinds.haproxy import parse_backend, parse_map, parse_place
from opsdash.kinds.resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

STATE_NAMES = (
    "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
    "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state"
)
STAT_NAMES = "# pxname,svname,scur,status,weight,act,bck,check_status,last_chk,check_rise,check_fall,check_health,"


@dataclass
class Row:
    """A server as the tables show it."""

    admin: int = 0
    operation: int = 2
    weight: int = 1
    backup: bool = False
    sessions: int = 0
    checked: bool = True

    def state(self, name: str) -> str:
        return f"3 app 1 {name} - {self.operation} {self.admin} {self.weight} 1 9 15 3 3 {6 if self.checked else 0}"

    def stat(self, name: str) -> str:
        status = "MAINT" if self.admin & 1 else "DRAIN" if self.admin & 8 else "UP" if self.operation else "DOWN"
        check = "2,2,3" if self.checked and not self.admin & 1 else ",,"
        kind = "0,1" if self.backup else "1,0"
        return f'app,{name},{self.sessions},{status},{self.weight},{kind},L7OK,"it says, ""well""",{check},'


@dataclass
class Impostor:
    """Answers on a Unix socket as HAProxy does; `behave` may do otherwise, and says whether it has."""

    path: Path
    rows: dict[str, Row] = field(default_factory=lambda: {"primary": Row(), "standby": Row(admin=1, operation=0)})
    entries: list[str] = field(default_factory=lambda: ["0x55 shop blue"])
    commands: list[str] = field(default_factory=list)
    level: str = "admin"
    behave: Any = None
    server: asyncio.Server | None = None
    tasks: set[asyncio.Task[None] | None] = field(default_factory=set)

    @property
    def changes(self) -> list[str]:
        """The commands that change something."""
        return [command for command in self.commands if not command.startswith("show")]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            command = (await reader.readline()).decode().strip()
            self.commands.append(command)
            if self.behave is None or not await self.behave(command, writer):
                writer.write(self.answer(command).encode())
                await writer.drain()
        writer.close()

    def answer(self, command: str) -> str:
        """What HAProxy answers, and does."""
        if command.startswith("show servers state"):
            rows = "".join(f"{row.state(name)}\n" for name, row in self.rows.items())
            return f"1\n# {STATE_NAMES}\n{rows}\n"
        if command.startswith("show stat"):
            rows = "".join(f"{row.stat(name)}\n" for name, row in self.rows.items())
            return f"{STAT_NAMES}\n{rows}app,BACKEND,0,UP,1,1,0,,,,,,\n\n"
        if command.startswith("show map"):
            return "".join(f"{entry}\n" for entry in self.entries) + "\n"
        if command == "show cli level":
            return f"{self.level}\n\n"
        if command == "set map":
            return "'set map' expects three parameters: map identifier, key and value.\n\n"
        words = command.split()
        if words[0] == "shutdown":
            self.rows[words[3].partition("/")[2]].sessions = 0
            return "\n"
        if words[1] == "map":
            self.entries = [f"0x55 {words[3]} {words[4]}"]
        elif words[3] == "state":
            row = self.rows[words[2].partition("/")[2]]
            row.admin = {"ready": 0, "drain": 8, "maint": 1}[words[4]]
            row.operation = 0 if row.admin == 1 else 2
        elif words[3] == "weight":
            self.rows[words[2].partition("/")[2]].weight = int(words[4].removesuffix("%")) // 100  # all are of weight 1
        return "\n"


@pytest.fixture
async def impostor() -> AsyncIterator[Impostor]:
    with tempfile.TemporaryDirectory(prefix="hap-") as short:
        impostor = Impostor(Path(short, "admin.sock"))
        impostor.server = await asyncio.start_unix_server(impostor.serve, impostor.path)
        yield impostor
        impostor.server.close()
        for task in impostor.tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*filter(None, impostor.tasks), return_exceptions=True)


def a_context(**keys: Any) -> ActionContext:
    return ActionContext("app:failover:7", keys.pop("deadline", 10.0), Path("/"), Resolver(), 0.0, **keys)


def a_move(impostor: Impostor, **keys: Any) -> Options:
    raw = {"socket": str(impostor.path), "backend": "app", "server": "standby", "out": "primary", **keys}
    return Options.model_validate(raw)


def an_entry(impostor: Impostor, **keys: Any) -> Options:
    return Options.model_validate({"socket": str(impostor.path), "map": "m", "key": "shop", "value": "green", **keys})


async def move(impostor: Impostor, *, deadline: float = 10.0, **keys: Any) -> ActionResult:
    return await apply(a_move(impostor, **keys), a_context(deadline=deadline))


MOVE = [
    "set server app/standby state drain",
    "set server app/standby state ready",
    "set server app/primary state maint",
]


def instead(of: str, then: Callable[[asyncio.StreamWriter], Awaitable[None] | None]) -> Any:
    """Behave otherwise for the commands that begin like this."""

    async def behave(command: str, writer: asyncio.StreamWriter) -> bool:
        if not command.startswith(of):
            return False
        done = then(writer)
        if done is not None:
            await done
        return True

    return behave


def say(text: str | bytes) -> Callable[[asyncio.StreamWriter], None]:
    return lambda writer: writer.write(text.encode() if isinstance(text, str) else text)


async def hang(_: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def drip(writer: asyncio.StreamWriter) -> None:
    while not writer.is_closing():
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


async def flood(writer: asyncio.StreamWriter) -> None:
    while not writer.is_closing():
        writer.write(b"x" * 65536)
        await writer.drain()


async def test_the_impostor_is_as_good_as_the_real_one(impostor: Impostor) -> None:
    sent: list[list[str]] = []
    context = a_context(expected="primary", on_sent=lambda: sent.append(impostor.changes))
    result = await apply(a_move(impostor), context)
    assert (result.applied, result.prior) == (Applied.APPLIED, "primary"), result.detail
    assert impostor.changes == MOVE
    assert sent == [[]], "said before the first command that changes anything arrives"


# --- yes, without effect -----------------------------------------------------------------------------------------


async def test_a_server_that_is_still_in_maint_after_every_yes_leaves_the_old_one_in(impostor: Impostor) -> None:
    impostor.behave = instead("set server app/standby", say("\n"))
    result = await move(impostor, trial_for="200ms")
    assert result.applied is Applied.REFUSED
    assert "standby passed no check within 200ms: MAINT" in result.detail
    assert impostor.changes == MOVE[:1]


async def test_a_weight_that_is_accepted_and_is_zero_nevertheless_is_put_back_and_refused(impostor: Impostor) -> None:
    impostor.rows["standby"] = Row(weight=0)
    impostor.behave = instead("set server app/standby weight 100%", say("\n"))
    result = await move(impostor, by="weight")
    assert result.applied is Applied.REFUSED
    assert 'told to bring standby in, and it is UP (L7OK, it says, "well") with weight 0' in result.detail
    assert impostor.changes == ["set server app/standby weight 100%"]


async def test_a_weight_is_put_back_as_well_when_the_server_does_not_come_in(impostor: Impostor) -> None:
    impostor.rows["standby"] = Row(admin=8, weight=0)
    impostor.behave = instead("set server app/standby state ready", say("\n"))
    result = await move(impostor, by="weight")
    assert result.applied is Applied.REFUSED
    assert impostor.changes == [
        "set server app/standby weight 100%",
        "set server app/standby state ready",
        "set server app/standby weight 0",
    ]
    assert (impostor.rows["standby"].weight, impostor.rows["primary"]) == (0, Row())


async def test_an_old_server_that_stays_in_leaves_it_unknown(impostor: Impostor) -> None:
    impostor.behave = instead("set server app/primary", say("\n"))
    result = await move(impostor)
    assert result.applied is Applied.UNKNOWN
    assert f"done: {', '.join(MOVE)}" in result.detail
    assert "primary is still in: is UP" in result.detail


async def test_a_map_that_says_yes_and_stays_leaves_it_unknown(impostor: Impostor) -> None:
    impostor.behave = instead("set map m", say("\n"))
    result = await apply(an_entry(impostor), a_context(expected="blue"))
    assert result.applied is Applied.UNKNOWN
    assert "shop of the map m is blue, although it was told to be green" in result.detail


# --- breaks off, at every command --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(len(MOVE)))
@pytest.mark.parametrize(
    ("then", "words"),
    [
        (lambda _: None, "closed the connection instead of answering"),
        (lambda writer: writer.transport.abort(), "c"),
        (say("Segmentation fault\n"), "was answered by: Segmentation fault"),
    ],
    ids=["closes", "resets", "says something odd"],
)
async def test_what_breaks_off_at_a_command_is_unknown_and_says_how_far_it_came(
    impostor: Impostor, number: int, then: Any, words: str
) -> None:
    impostor.behave = instead(MOVE[number], then)
    sent: list[str] = []
    result = await apply(a_move(impostor), a_context(on_sent=lambda: sent.append("sent")))
    assert result.applied is Applied.UNKNOWN
    assert words in result.detail
    assert f"sent, and not known whether done: {MOVE[number]}" in result.detail
    assert all(f"{command}" in result.detail for command in MOVE[:number])
    assert impostor.changes == MOVE[: number + 1], "nothing is sent twice, and nothing after it"
    assert sent == ["sent"]


@pytest.mark.parametrize("number", range(len(MOVE)))
async def test_a_socket_that_hangs_at_a_command_is_unknown_when_time_is_up(impostor: Impostor, number: int) -> None:
    impostor.behave = instead(MOVE[number], hang)
    result = await move(impostor, deadline=0.6)
    assert result.applied is Applied.UNKNOWN
    assert "no answer in time" in result.detail
    assert impostor.changes == MOVE[: number + 1]


async def test_a_socket_that_vanishes_between_two_commands_leaves_the_move_half_done(impostor: Impostor) -> None:
    def vanish(writer: asyncio.StreamWriter) -> None:
        assert impostor.server is not None
        impostor.server.close()
        impostor.path.unlink(missing_ok=True)  # from Python 3.13 on, closing does it
        writer.write(impostor.answer(MOVE[1]).encode())

    impostor.behave = instead(MOVE[1], vanish)
    result = await move(impostor)
    assert result.applied is Applied.UNKNOWN
    assert result.detail == f"done: {', '.join(MOVE[:2])}; then {impostor.path}: there is no such socket"


async def test_a_server_that_vanishes_from_the_configuration_between_two_commands_leaves_it_unknown(
    impostor: Impostor,
) -> None:
    def forget(writer: asyncio.StreamWriter) -> None:
        writer.write(impostor.answer(MOVE[1]).encode())
        del impostor.rows["standby"]

    impostor.behave = instead(MOVE[1], forget)
    result = await move(impostor)
    assert result.applied is Applied.UNKNOWN
    assert f"done: {', '.join(MOVE[:2])}; " in result.detail
    assert "the backend app has no server standby; it has: primary" in result.detail


async def test_sessions_that_a_first_attempt_left_are_ended_by_the_second(impostor: Impostor) -> None:
    impostor.rows = {"primary": Row(admin=1, operation=0, sessions=2), "standby": Row()}
    assert (await move(impostor)).detail.startswith("already so: standby takes the traffic of app, primary is MAINT")
    assert impostor.changes == []
    assert (await move(impostor, end_sessions=True)).applied is Applied.APPLIED
    assert impostor.changes == ["shutdown sessions server app/primary"]
    assert impostor.rows["primary"].sessions == 0


async def test_a_refusal_of_the_last_command_is_no_refusal_of_the_whole(impostor: Impostor) -> None:
    impostor.behave = instead(MOVE[2], say("Permission denied\n\n"))
    result = await move(impostor)
    assert result.applied is Applied.UNKNOWN
    assert f"done: {', '.join(MOVE[:2])}" in result.detail
    assert "Permission denied" in result.detail


async def test_a_server_that_cannot_be_put_back_leaves_it_unknown(impostor: Impostor) -> None:
    impostor.rows["standby"].checked = False
    impostor.behave = instead("set server app/standby state maint", lambda _: None)
    original = impostor.answer

    def never_ready(command: str) -> str:
        answer = original(command)
        if command == MOVE[1]:
            impostor.rows["standby"].operation = 0
        return answer

    impostor.answer = never_ready  # type: ignore[method-assign]
    result = await move(impostor)
    assert result.applied is Applied.UNKNOWN
    assert "before that: HAProxy was told to bring standby in, and it is DOWN" in result.detail


async def test_a_new_server_that_falls_over_while_the_old_one_goes_out_leaves_it_unknown(impostor: Impostor) -> None:
    def fall(writer: asyncio.StreamWriter) -> None:
        writer.write(impostor.answer(MOVE[2]).encode())
        impostor.rows["standby"].operation = 0

    impostor.behave = instead(MOVE[2], fall)
    result = await move(impostor)
    assert result.applied is Applied.UNKNOWN
    assert "and yet: nobody takes traffic of app" in result.detail


# --- does not talk like HAProxy ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("then", "words"),
    [
        (
            say("HTTP/1.1 400 Bad Request\r\n\r\n<html>"),
            "does not answer like HAProxy: HTTP/1.1 400 Bad Request <html>",
        ),
        (say(b"\x00\xff\x1b]52;c;aGk=\x07" * 20), "does not answer like HAProxy"),
        (say("1\n# be_id be_name\n3 app\n"), "does not answer like HAProxy"),
        (say(f"1\n# {STATE_NAMES}\n"), "the backend app has no servers"),
        (say("Unknown command, but maybe\n"), "does not answer like HAProxy: Unknown command"),
        (say("Permission denied\n\n"), "the socket does not permit `show servers state`"),
        (say("Can't find backend.\n\n"), "there is no backend app"),
        (lambda _: None, "closed the connection instead of answering"),
        (flood, "sent more than 1 MiB"),
        (drip, "no answer in time"),
        (hang, "no answer in time"),
    ],
)
async def test_whoever_does_not_talk_like_haproxy_is_told_nothing(impostor: Impostor, then: Any, words: str) -> None:
    impostor.behave = instead("show", then)
    deadline = 0.3 if words == "no answer in time" else 10.0
    result = await move(impostor, deadline=deadline)
    assert result.applied in {Applied.NOT_STARTED, Applied.REFUSED}
    assert impostor.changes == []
    assert words in result.detail
    reading = await read(
        ReadOptions.model_validate({"socket": str(impostor.path), "backend": "app"}), a_context(deadline=deadline)
    )
    assert reading.value is None
    assert words in reading.detail
    found = await preflight(a_move(impostor), a_context(deadline=deadline))
    assert found.passed is False
    assert words in found.detail
    assert impostor.changes == []


async def test_a_map_of_nonsense_is_not_read_and_not_changed(impostor: Impostor) -> None:
    impostor.entries = ["<html>"]
    options = an_entry(impostor)
    assert (await apply(options, a_context())).applied is Applied.NOT_STARTED
    assert (await preflight(options, a_context())).passed is False
    asked = ReadOptions.model_validate({"socket": str(impostor.path), "map": "m", "key": "shop"})
    assert "does not answer like HAProxy" in (await read(asked, a_context())).detail
    assert set(impostor.changes) <= {"set map"}


async def test_who_waits_longer_than_haproxy_ever_needs_is_told_so(
    impostor: Impostor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_api, "ANSWER_WITHIN", 0.2)
    impostor.behave = instead(MOVE[0], hang)
    result = await move(impostor)
    assert result.applied is Applied.UNKNOWN
    assert "no answer within 0.2 s" in result.detail


async def test_a_socket_that_is_not_there_not_ours_or_full_means_that_nothing_was_sent(impostor: Impostor) -> None:
    for path, words in (
        (impostor.path.with_name("gone.sock"), "there is no such socket"),
        (impostor.path.with_name("x" * 120), "AF_UNIX path too long"),
    ):
        result = await apply(a_move(impostor, socket=str(path)), a_context())
        assert (result.applied, result.detail) == (Applied.NOT_STARTED, f"{path}: {words}; nothing was sent")
    with socket.socket(socket.AF_UNIX) as deaf, contextlib.ExitStack() as waiting:
        path = impostor.path.with_name("deaf.sock")
        deaf.bind(str(path))
        found = await preflight(a_move(impostor, socket=str(path)), a_context())
        assert (found.passed, found.detail) == (False, f"{path}: nobody listens there")
        deaf.listen(0)
        for _ in range(3):  # fills the queue of connections
            other = waiting.enter_context(socket.socket(socket.AF_UNIX))
            other.setblocking(False)
            other.connect_ex(str(path))
        result = await apply(a_move(impostor, socket=str(path)), a_context(deadline=0.5))
        assert (result.applied, result.detail) == (
            Applied.NOT_STARTED,
            f"{path}: it takes no more connections; nothing was sent",
        )


async def test_a_host_that_cannot_be_found_or_reached_means_that_nothing_was_sent(impostor: Impostor) -> None:
    def nowhere(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    context = a_context()
    context.resolver = Resolver(nowhere)
    result = await apply(a_move(impostor, socket="proxy.invalid:9999"), context)
    assert result.applied is Applied.NOT_STARTED
    assert "the name cannot be looked up" in result.detail
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        assert "nobody listens there" in (await apply(a_move(impostor, socket=place), a_context())).detail


async def test_cancelling_in_the_middle_has_told_before_that_something_was_sent(impostor: Impostor) -> None:
    arrived = asyncio.Event()

    async def hang_and_tell(writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await hang(writer)

    impostor.behave = instead(MOVE[1], hang_and_tell)
    sent: list[str] = []
    task = asyncio.ensure_future(apply(a_move(impostor), a_context(on_sent=lambda: sent.append("sent"))))
    await arrived.wait()
    assert sent == ["sent"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# --- what may be asked of a socket of another level --------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "passed", "credentials"),
    [("admin", True, True), ("operator", False, False), ("user", False, False), ("Unknown command", True, None)],
)
async def test_the_preflight_asks_for_the_level_and_changes_nothing(
    impostor: Impostor, level: str, passed: bool, credentials: bool | None
) -> None:
    impostor.level = level
    found = await preflight(a_move(impostor), a_context())
    assert (found.passed, found.credentials) == (passed, credentials)
    assert impostor.changes == []


@pytest.mark.parametrize(
    ("answer", "passed", "credentials"),
    [
        ("'set map' expects three parameters: map identifier, key and value.\n\n", True, True),
        ("Permission denied\n\n", False, False),
        ("what?\n", True, None),
    ],
)
async def test_the_preflight_of_a_map_asks_in_a_way_that_changes_nothing(
    impostor: Impostor, answer: str, passed: bool, credentials: bool | None
) -> None:
    impostor.behave = instead("set map", say(answer))
    found = await preflight(an_entry(impostor), a_context())
    assert (found.passed, found.credentials) == (passed, credentials)
    assert impostor.changes == ["set map"]


# --- the tables --------------------------------------------------------------------------------------------------


def tables(backend_weight: int = 1, **rows: Row) -> tuple[str, str]:
    impostor = Impostor(Path("/"), rows)
    stats = impostor.answer("show stat").replace("BACKEND,0,UP,1", f"BACKEND,0,UP,{backend_weight}")
    return impostor.answer("show servers state"), stats


@pytest.mark.parametrize(
    ("rows", "weight", "takers", "in_force", "serving"),
    [
        ({"a": Row(), "b": Row(admin=1)}, 1, "a", "a", "a"),
        ({"a": Row(), "b": Row()}, 2, "a b", "a b", "a b"),
        ({"a": Row(), "b": Row(backup=True)}, 1, "a", "a", "a"),
        ({"a": Row(operation=0), "b": Row(backup=True)}, 1, "b", "b", "b"),
        ({"a": Row(operation=0), "b": Row(backup=True), "c": Row(backup=True)}, 1, "b", "b", "b"),
        ({"a": Row(operation=0), "b": Row(backup=True), "c": Row(backup=True)}, 2, "b c", "b c", "b c"),
        ({"a": Row(admin=8, sessions=3), "b": Row()}, 1, "b", "b", "a b"),
        ({"a": Row(weight=0), "b": Row()}, 1, "b", "b", "b"),
        ({"a": Row(operation=3), "b": Row()}, 1, "b", "b", "b"),
        ({"a": Row(operation=1), "b": Row(admin=0x20)}, 1, "a", "a", "a"),
        ({"a": Row(admin=0x04), "b": Row(admin=0x02)}, 1, "a", "a", "a"),
        ({"a": Row(operation=0), "b": Row(admin=1)}, 0, "", "a", ""),
        ({"a": Row(admin=1), "b": Row(admin=8)}, 0, "", "", ""),
        ({"a": Row(admin=1), "b": Row(backup=True, operation=0), "c": Row(backup=True, operation=0)}, 0, "", "b", ""),
    ],
)
def test_who_takes_the_traffic(rows: dict[str, Row], weight: int, takers: str, in_force: str, serving: str) -> None:
    backend = parse_backend("app", *tables(weight, **rows))
    assert backend.takers() == tuple(takers.split())
    assert backend.in_force() == tuple(in_force.split())
    assert backend.serving() == tuple(serving.split())


async def test_maint_that_was_not_ordered_cannot_be_ended_by_order(impostor: Impostor) -> None:
    impostor.rows["standby"].admin = 0x02
    result = await move(impostor)
    assert result.applied is Applied.REFUSED
    assert "standby is in maint, and `set server` cannot lift that" in result.detail
    assert impostor.changes == []


@pytest.mark.parametrize("cut", range(0, 700, 23))
def test_a_table_that_ends_early_is_no_table(cut: int) -> None:
    states, stats = tables(a=Row(), b=Row(admin=1))
    with contextlib.suppress(ProtocolError):
        parse_backend("app", states[:cut], stats)
    with contextlib.suppress(ProtocolError):
        parse_backend("app", states, stats[:cut])


def test_a_key_that_is_in_a_map_twice_has_two_values() -> None:
    assert parse_map("m", "0x1 shop blue\n0x2 other x y\n0x3 shop green\n\n", "shop") == ("blue", "green")
    assert parse_map("m", "0x2 other x y\n\n", "other") == ("x y",)
    assert parse_map("m", "\n", "other") == ()


async def test_a_map_with_two_values_for_a_key_names_neither(impostor: Impostor) -> None:
    impostor.entries = ["0x1 shop blue", "0x2 shop green"]
    asked = ReadOptions.model_validate({"socket": str(impostor.path), "map": "m", "key": "shop"})
    reading = await read(asked, a_context())
    assert (reading.value, reading.detail) == (None, "the map m has 2 different values for shop")
    refused = await apply(an_entry(impostor), a_context(expected="blue"))
    assert refused.applied is Applied.REFUSED
    assert "shop of the map m is blue and green, where blue was expected" in refused.detail


# --- options -----------------------------------------------------------------------------------------------------

MINIMAL = {"socket": "/run/haproxy/admin.sock", "backend": "app", "server": "b", "out": "a"}
MAP = {"socket": "/run/haproxy/admin.sock", "map": "/etc/live.map", "key": "shop", "value": "green"}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({**MINIMAL, "socket": ""}, "neither the path of a socket nor HOST:PORT"),
        ({**MINIMAL, "socket": "unix@/run/haproxy/admin.sock"}, "neither the path of a socket nor HOST:PORT"),
        ({**MINIMAL, "socket": "localhost:0"}, "is no port"),
        ({**MINIMAL, "backend": "app; shutdown"}, "should match pattern"),
        ({**MINIMAL, "server": "b state maint"}, "should match pattern"),
        ({**MINIMAL, "server": "b\nset"}, "should match pattern"),
        ({**MINIMAL, "server": "b\n"}, "should match pattern"),
        ({**MINIMAL, "out": ["a", "c;d"]}, "should match pattern"),
        ({**MINIMAL, "out": []}, "which is taken `out`"),
        ({**MINIMAL, "by": "force"}, "'maint', 'drain' or 'weight'"),
        ({**MINIMAL, "weight": "50%"}, "`weight` belongs to `by: weight`"),
        ({**MINIMAL, "by": "weight", "weight": "0%"}, "is no weight"),
        ({**MINIMAL, "by": "weight", "weight": "101%"}, "is no weight"),
        ({**MINIMAL, "by": "weight", "weight": 257}, "is no weight"),
        ({**MINIMAL, "trial_for": "0s"}, "greater than 0"),
        ({**MINIMAL, "value": "green"}, "`value` belongs to a `map`"),
        ({**MINIMAL, "key": "shop"}, "`key` belongs to a `map`"),
        ({"socket": "/s"}, "say which `backend` or `map` is meant"),
        ({**MAP, "out": "a"}, "`out` is about servers"),
        ({**MAP, "value": None}, "say which `value`"),
        ({**MAP, "key": None}, "say which `key`"),
        ({**MAP, "value": "green\nshutdown frontend shop"}, "cannot be a word of HAProxy's"),
        ({**MAP, "value": "green;shutdown"}, "cannot be a word of HAProxy's"),
        ({**MAP, "key": "#1"}, "taken for the number of an entry"),
        ({**MAP, "value": "<<"}, "cannot be a word of HAProxy's"),
        ({**MAP, "map": "a b"}, "cannot be a word of HAProxy's"),
        ({**MAP, "nonsense": 1}, "Extra inputs are not permitted"),
    ],
)
def test_options_that_cannot_work_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Options.model_validate(keys)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("/run/haproxy/admin.sock", "/run/haproxy/admin.sock", None),
        ("admin.sock", "admin.sock", None),
        ("./a:1/b.sock", "./a:1/b.sock", None),
        ("127.0.0.1:9999", "127.0.0.1", 9999),
        ("proxy.internal:9999", "proxy.internal", 9999),
        ("[::1]:9999", "::1", 9999),
    ],
)
def test_a_place_is_a_path_or_a_host_with_a_port(text: str, host: str, port: int | None) -> None:
    place = parse_place(text)
    assert (place.host, place.port) == (host, port)


def test_what_it_can_do_follows_from_what_it_moves() -> None:
    servers = KIND.abilities_with(Options.model_validate(MINIMAL))
    entries = KIND.abilities_with(Options.model_validate(MAP))
    assert servers == KIND.abilities
    assert (servers.cas, servers.idempotent, servers.read_back, servers.trial) == (False, True, True, True)
    assert (entries.trial, entries.restores, servers.restores) == (False, True, False)
    assert "reload" in servers.self_reverts
    assert "reload" in entries.self_reverts


def test_the_manual_command_keeps_references_and_quotes_what_needs_it() -> None:
    line = manual({**MINIMAL, "kind": "haproxy", "socket": "${SOCKET}", "out": ["a", "b", "c"], "by": "drain"})
    assert line == (
        "echo 'show servers state app' | socat - UNIX-CONNECT:\"$SOCKET\" | grep ' b [^ ]* [12] ' && "
        "echo 'set server app/b state ready; set server app/a state drain; set server app/c state drain' | "
        'socat - UNIX-CONNECT:"$SOCKET"'
    )
    assert (
        manual({**MAP, "socket": "[::1]:9999"}) == "echo 'set map /etc/live.map shop green' | socat - 'TCP:[::1]:9999'"
    )
