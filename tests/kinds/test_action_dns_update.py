"""Action kind `dns_update`: name servers that refuse, hang, lie, lag behind and talk nonsense.

What real servers do is in tests/mechanisms/test_dns_update.py; the one in here does what those never would.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.update
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from opsdash.kinds import nameservers
from opsdash.kinds.actions.dns_update import KIND, Options, ReadOptions, apply, manual, preflight, read
from opsdash.kinds.base import ActionContext, ActionResult, Applied, Reading
from opsdash.kinds.dnsupdates import judged
from opsdash.kinds.resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

ZONE = "example.net."
APP = "app.example.net."
MARKER = "_opsdash.app.example.net."
BLUE = "203.0.113.10"
GREEN = "203.0.113.20"
SECRET = base64.b64encode(b"the secret of opsdash, of 32 byte").decode()
OTHER_SECRET = base64.b64encode(b"the secret of somebody else......").decode()
TSIG = dns.tsig.Key("opsdash.", SECRET)
ID = "shop-failover-7"

Record = tuple[str, str]


@dataclass
class NameServer:
    """A primary that looks at prerequisites and policy as it should, and misbehaves as told.

    mood: what it does with a question. fate: what becomes of an update. meanwhile: called before an update is looked
    at. updates: those that it got, other than those that change nothing.
    """

    records: dict[Record, list[str]] = field(
        default_factory=lambda: {
            (ZONE, "SOA"): ["ns1.example.net. hostmaster.example.net. 1 3600 600 86400 30"],
            (ZONE, "NS"): ["ns1.example.net."],
            (APP, "A"): [BLUE],
        }
    )
    ttl: int = 30
    mood: str = "answers"
    fate: str = "obeys"
    meanwhile: Callable[[], None] = lambda: None
    port: int = 0
    updates: list[dns.update.UpdateMessage] = field(default_factory=list)
    questions: list[Record] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def serial(self) -> int:
        return int(self.records[ZONE, "SOA"][0].split()[2])

    @serial.setter
    def serial(self, serial: int) -> None:
        self.records[ZONE, "SOA"] = [f"ns1.example.net. hostmaster.example.net. {serial} 3600 600 86400 30"]

    def mark(self, action_id: str, value: str) -> None:
        self.records[MARKER, "TXT"] = [f'"opsdash-switch={action_id}" "{value}"']

    # --- questions ---------------------------------------------------------------------------------------------

    def answer(self, wire: bytes, *, tcp: bool) -> bytes | None:
        query = dns.message.from_wire(wire)
        name, rdtype = query.question[0].name.to_text().lower(), dns.rdatatype.to_text(query.question[0].rdtype)
        self.questions.append((name, rdtype))
        assert not query.flags & dns.flags.RD
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.AA
        for owner, kind in ((name, rdtype), (name, "CNAME")):
            if (owner, kind) in self.records and not reply.answer:
                reply.answer.append(dns.rrset.from_text(owner, self.ttl, "IN", kind, *self.records[owner, kind]))
        match self.mood:
            case "silent":
                return None
            case "garbage":
                return b"\x1b]0;pwned\x07 garbage"
            case "other id":
                reply.id ^= 1
            case "no authority":
                reply.flags &= ~dns.flags.AA
            case "truncates" | "truncates, then closes" if not tcp:
                reply.answer.clear()
                reply.flags |= dns.flags.TC
            case "truncates, then closes":
                return None
            case "SERVFAIL" | "REFUSED" | "NXDOMAIN":
                reply.answer.clear()
                reply.set_rcode(dns.rcode.from_text(self.mood))
        return reply.to_wire(max_size=65535)

    # --- updates -----------------------------------------------------------------------------------------------

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        if (wire[2] >> 3) & 15 == 0:
            reply = self.answer(wire, tcp=True)
            if reply is not None:
                writer.write(len(reply).to_bytes(2, "big") + reply)
        else:
            await self._update(wire, reader, writer)

    async def _update(self, wire: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        update = dns.message.from_wire(wire, keyring={TSIG.name: TSIG})
        assert isinstance(update, dns.update.UpdateMessage)
        self.meanwhile()
        rcode = self._carry_out(update) if self.fate not in {"ignores", "hangs", "lies", *NOES} else dns.rcode.NOERROR
        self.arrived.set()
        reply = dns.message.make_response(update)
        reply.set_rcode(dns.rcode.from_text(NOES[self.fate]) if self.fate in NOES else rcode)
        match self.fate:
            case "hangs" | "obeys and hangs":
                await reader.read()
            case "closes":
                return
            case "breaks":
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                writer.transport.abort()
                return
            case "other id":
                reply.id ^= 1
            case "no signature" | "refuses without a signature" | "obeys and refuses without a signature":
                reply.tsig = None
                if self.fate.endswith("refuses without a signature"):
                    reply.set_rcode(dns.rcode.REFUSED)
            case "another signature":
                reply.keyring = dns.tsig.Key(TSIG.name, OTHER_SECRET)
            case "a query's answer":
                reply.flags &= ~dns.opcode.to_flags(dns.opcode.UPDATE)
            case "truncates":
                reply.flags |= dns.flags.TC
        answer = b"\0" * 40 if self.fate == "garbage" else reply.to_wire()
        framed = len(answer).to_bytes(2, "big") + answer
        if self.fate == "half":
            writer.write(framed[: len(framed) // 2])
        elif self.fate == "drips":
            with contextlib.suppress(ConnectionError):
                for byte in framed:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0.1)
        elif self.fate == "nothing":
            writer.write(b"\0\0")
        else:
            writer.write(framed)

    def _carry_out(self, update: dns.update.UpdateMessage) -> dns.rcode.Rcode:
        wanted: dict[Record, set[str]] = {}
        for rrset in update.prerequisite:
            key = (rrset.name.to_text(), dns.rdatatype.to_text(rrset.rdtype))
            if rrset.deleting == dns.rdataclass.NONE:
                if key in self.records:
                    return dns.rcode.YXRRSET
            else:
                wanted.setdefault(key, set()).add(rrset[0].to_text())
        if any(set(self.records.get(key, ())) != records for key, records in wanted.items()):
            return dns.rcode.NXRRSET
        before = {key: list(records) for key, records in self.records.items()}
        for rrset in update.update:
            key = (rrset.name.to_text(), dns.rdatatype.to_text(rrset.rdtype))
            text = [record.to_text() for record in rrset]
            if rrset.deleting == dns.rdataclass.ANY:
                self.records.pop(key, None)
            elif rrset.deleting == dns.rdataclass.NONE:
                self.records[key] = [each for each in self.records.get(key, []) if each not in text]
            else:
                self.records[key] = [*self.records.get(key, []), *text]
        self.records = {key: records for key, records in self.records.items() if records}
        if self.records != before:
            self.serial += 1
            self.updates.append(update)
        return dns.rcode.NOERROR


NOES = {
    f"answers {code}": code
    for code in ("FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH")
} | {"answers NOTZONE": "NOTZONE", "answers BADVERS": "BADVERS"}


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self.server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        reply = self.server.answer(data, tcp=False)
        if reply is not None:
            self.transport.sendto(reply, addr)


@asynccontextmanager
async def serving(server: NameServer, *, tcp: bool = True) -> AsyncIterator[NameServer]:
    """On one free port for datagrams and connections."""
    loop = asyncio.get_running_loop()
    while True:
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        server.port = listener.sockets[0].getsockname()[1]
        try:
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(server), local_addr=("127.0.0.1", server.port)
            )
        except OSError:  # somebody has it for datagrams
            listener.close()
            continue
        break
    if not tcp:
        listener.close()
    try:
        yield server
    finally:
        listener.close()
        transport.close()
        for task in tuple(server.tasks):
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    async with serving(NameServer()) as server:
        yield server


def a_context(folder: Path, **keys: Any) -> ActionContext:
    return ActionContext(keys.pop("action_id", ID), keys.pop("deadline", 20.0), folder, Resolver(), 0.0, **keys)


def place(server: NameServer, **keys: Any) -> dict[str, Any]:
    return {
        "server": server.address,
        "zone": "example.net",
        "name": "app.example.net",
        "servers": [server.address],
        **keys,
    }


def an_update(at: NameServer, **keys: Any) -> Options:
    key = {"name": "opsdash", "secret": SECRET}
    return Options.model_validate({"value": GREEN, "ttl": "30s", "key": key, **place(at), **keys})


async def update(server: NameServer, context: ActionContext, **keys: Any) -> ActionResult:
    return await apply(an_update(server, **keys), context)


async def reading(server: NameServer, folder: Path, *, deadline: float = 20.0, **keys: Any) -> Reading:
    return await read(ReadOptions.model_validate(place(server, **keys)), a_context(folder, deadline=deadline))


# --- acting ------------------------------------------------------------------------------------------------------


async def test_the_update_replaces_what_was_expected_and_leaves_the_actions_id(
    server: NameServer, tmp_path: Path
) -> None:
    server.records["_opsdash.app.example.net.", "TXT"] = ['"opsdash-switch=shop-failback-6" "203.0.113.10"']
    server.records["other.example.net.", "A"] = ["192.0.2.9"]
    sent: list[int] = []
    context = a_context(tmp_path, expected=BLUE, on_sent=lambda: sent.append(len(server.updates)))
    result = await update(server, context)
    assert (result.applied, result.prior) == (Applied.APPLIED, BLUE)
    assert server.records[APP, "A"] == [GREEN]
    assert server.records[MARKER, "TXT"] == [f'"opsdash-switch={ID}" "{GREEN}"']
    assert server.records["other.example.net.", "A"] == ["192.0.2.9"]
    assert sent == [0], "told once, before it was sent"
    (asked,) = server.updates
    assert asked.had_tsig
    assert [rrset.to_text() for rrset in asked.prerequisite] == [f"{APP} 0 IN A {BLUE}"]


async def test_no_marker_is_written_where_none_is_wanted(server: NameServer, tmp_path: Path) -> None:
    assert (await update(server, a_context(tmp_path), marker=False)).applied is Applied.APPLIED
    assert (MARKER, "TXT") not in server.records
    assert (MARKER, "TXT") not in server.questions


async def test_a_yes_without_effect_is_applied_and_the_next_read_tells_the_truth(
    server: NameServer, tmp_path: Path
) -> None:
    server.fate = "lies"
    assert (await update(server, a_context(tmp_path, expected=BLUE))).applied is Applied.APPLIED
    assert (await reading(server, tmp_path)).value == BLUE


@pytest.mark.parametrize(
    ("fate", "outcome", "words"),
    [
        ("answers FORMERR", Applied.REFUSED, "does not understand"),
        ("answers NOTIMP", Applied.REFUSED, "takes no updates"),
        ("answers REFUSED", Applied.REFUSED, "REFUSED"),
        ("answers NOTAUTH", Applied.REFUSED, "NOTAUTH"),
        ("answers NOTZONE", Applied.REFUSED, "NOTZONE"),
        ("answers NXDOMAIN", Applied.REFUSED, "NXDOMAIN"),
        ("answers YXDOMAIN", Applied.REFUSED, "YXDOMAIN"),
        ("answers YXRRSET", Applied.REFUSED, "YXRRSET"),
        ("answers NXRRSET", Applied.REFUSED, f"NXRRSET); app.example.net A is {BLUE}"),
        ("answers SERVFAIL", Applied.UNKNOWN, "SERVFAIL"),
        ("answers BADVERS", Applied.UNKNOWN, "does not tell"),
        ("closes", Applied.UNKNOWN, "closed the connection"),
        ("breaks", Applied.UNKNOWN, "connection reset"),
        ("half", Applied.UNKNOWN, "closed the connection"),
        ("nothing", Applied.UNKNOWN, "no DNS message"),
        ("garbage", Applied.UNKNOWN, "no DNS message"),
        ("other id", Applied.UNKNOWN, "something else than the update"),
        ("a query's answer", Applied.UNKNOWN, "something else than the update"),
        ("no signature", Applied.UNKNOWN, "without a signature"),
        ("another signature", Applied.UNKNOWN, "not the key's"),
        ("truncates", Applied.APPLIED, "has taken the update"),
        ("obeys and refuses without a signature", Applied.APPLIED, "by this very action"),
        ("hangs", Applied.UNKNOWN, "after the update had been sent"),
        ("obeys and hangs", Applied.UNKNOWN, "no answer in time (first_byte)"),
        ("drips", Applied.UNKNOWN, "no answer in time (first_byte)"),
    ],
)
async def test_what_an_answer_is_worth(
    server: NameServer, tmp_path: Path, fate: str, outcome: Applied, words: str
) -> None:
    server.fate = fate
    sent: list[bool] = []
    waits = fate in {"hangs", "obeys and hangs", "drips"}
    context = a_context(tmp_path, expected=BLUE, deadline=2.0 if waits else 20.0, on_sent=lambda: sent.append(True))
    async with asyncio.timeout(context.deadline):
        result = await update(server, context)
    assert result.applied is outcome
    assert words in result.detail
    assert sent == [True], "sent once, whatever the answer"


async def test_a_refusal_without_a_signature_counts_only_with_what_is_seen(server: NameServer, tmp_path: Path) -> None:
    server.fate = "refuses without a signature"
    server.meanwhile = lambda: server.records.update({(APP, "A"): ["203.0.113.30"]})
    assert (await update(server, a_context(tmp_path, expected=BLUE))).applied is Applied.REFUSED

    server.records[APP, "A"] = [BLUE]
    server.meanwhile = lambda: server.records.update({(APP, "A"): [GREEN]})
    unmarked = await update(server, a_context(tmp_path, expected=BLUE))
    assert unmarked.applied is Applied.UNKNOWN, (
        "it may have been this update, in spite of what somebody on the way says"
    )

    def falls_silent() -> None:
        server.mood = "silent"

    server.records[APP, "A"] = [BLUE]
    server.meanwhile = falls_silent
    blind = await update(server, a_context(tmp_path, expected=BLUE, deadline=2.0))
    assert blind.applied is Applied.UNKNOWN
    assert "then it does not answer" in blind.detail


async def test_a_signed_refusal_counts_even_if_nothing_can_be_seen_any_more(server: NameServer, tmp_path: Path) -> None:
    def falls_silent() -> None:
        server.mood = "silent"

    server.meanwhile, server.fate = falls_silent, "answers REFUSED"
    result = await update(server, a_context(tmp_path, expected=BLUE, deadline=2.0))
    assert result.applied is Applied.REFUSED


async def test_what_is_there_already_is_left_alone(server: NameServer, tmp_path: Path) -> None:
    server.records[APP, "A"] = [GREEN]
    sent: list[bool] = []
    context = a_context(tmp_path, expected=BLUE, on_sent=lambda: sent.append(True))
    somebody_elses = await update(server, context)
    assert (somebody_elses.applied, somebody_elses.prior) == (Applied.APPLIED, GREEN)
    assert "already" in somebody_elses.detail
    server.mark(ID, GREEN)
    ours = await update(server, context)
    assert (ours.applied, ours.prior) == (Applied.APPLIED, BLUE)
    assert (sent, server.updates) == ([], [])


async def test_another_value_than_expected_is_not_replaced(server: NameServer, tmp_path: Path) -> None:
    server.records[APP, "A"] = ["203.0.113.30"]
    sent: list[bool] = []
    result = await update(server, a_context(tmp_path, expected=BLUE, on_sent=lambda: sent.append(True)))
    assert result.applied is Applied.REFUSED
    assert f"is 203.0.113.30, where {BLUE} was expected" in result.detail
    del server.records[APP, "A"]
    assert (await update(server, a_context(tmp_path, expected=BLUE))).applied is Applied.REFUSED
    assert (sent, server.updates) == ([], [])


@pytest.mark.parametrize("expected", [BLUE, None], ids=["expected", "as found"])
async def test_whoever_is_faster_wins(server: NameServer, tmp_path: Path, expected: str | None) -> None:
    server.meanwhile = lambda: server.records.update({(APP, "A"): ["203.0.113.30"]})
    result = await update(server, a_context(tmp_path, expected=expected))
    assert result.applied is Applied.REFUSED
    assert "NXRRSET" in result.detail
    assert "is 203.0.113.30" in result.detail
    assert server.records[APP, "A"] == ["203.0.113.30"]


async def test_the_marker_tells_whether_the_faster_one_was_this_very_action(server: NameServer, tmp_path: Path) -> None:
    def faster(action_id: str) -> None:
        server.records[APP, "A"] = [GREEN]
        server.mark(action_id, GREEN)

    server.meanwhile = lambda: faster(ID)
    mine = await update(server, a_context(tmp_path, expected=BLUE))
    assert (mine.applied, mine.prior) == (Applied.APPLIED, BLUE)
    assert "already, by this very action" in mine.detail

    server.records[APP, "A"] = [BLUE]
    server.meanwhile = lambda: faster("shop-failover-8")
    other = await update(server, a_context(tmp_path, expected=BLUE))
    assert other.applied is Applied.REFUSED
    assert f"is {GREEN}, by shop-failover-8" in other.detail


async def test_a_record_that_does_not_exist_is_made_unless_somebody_makes_it_first(
    server: NameServer, tmp_path: Path
) -> None:
    del server.records[APP, "A"]
    server.meanwhile = lambda: server.records.update({(APP, "A"): [BLUE]})
    late = await update(server, a_context(tmp_path))
    assert late.applied is Applied.REFUSED
    assert "YXRRSET" in late.detail
    del server.records[APP, "A"]
    server.meanwhile = lambda: None
    assert (await update(server, a_context(tmp_path))).applied is Applied.APPLIED
    assert server.records[APP, "A"] == [GREEN]


@pytest.mark.parametrize(
    ("mood", "words"),
    [
        ("silent", "does not answer"),
        ("garbage", "no DNS message"),
        ("other id", "no DNS message"),
        ("SERVFAIL", "answers SERVFAIL"),
        ("REFUSED", "answers REFUSED"),
        ("no authority", "is no authority"),
        ("truncates, then closes", "closed the connection"),
    ],
)
async def test_without_a_look_at_the_primary_nothing_is_sent(
    server: NameServer, tmp_path: Path, mood: str, words: str
) -> None:
    server.mood = mood
    sent: list[bool] = []
    result = await update(
        server, a_context(tmp_path, deadline=1.0 if mood == "silent" else 20.0, on_sent=lambda: sent.append(True))
    )
    assert result.applied is Applied.NOT_STARTED
    assert words in result.detail
    assert "\x1b" not in result.detail
    assert (sent, server.updates) == ([], [])


async def test_where_no_connection_comes_about_nothing_was_sent(tmp_path: Path) -> None:
    async with serving(NameServer(), tcp=False) as server:
        sent: list[bool] = []
        result = await update(server, a_context(tmp_path, on_sent=lambda: sent.append(True)))
        assert (result.applied, sent) == (Applied.NOT_STARTED, [])
        assert "connection refused; nothing was sent" in result.detail
        assert (await preflight(an_update(server), a_context(tmp_path))).passed is False


async def test_cancelling_after_the_update_was_sent_has_told_so_before(server: NameServer, tmp_path: Path) -> None:
    server.fate = "hangs"
    sent: list[bool] = []
    task = asyncio.ensure_future(update(server, a_context(tmp_path, on_sent=lambda: sent.append(True))))
    await server.arrived.wait()
    assert sent == [True]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def _signed_update() -> dns.update.UpdateMessage:
    update = dns.update.UpdateMessage(ZONE, id=4711)
    update.replace(APP, 30, "A", GREEN)
    update.use_tsig(TSIG)
    update.to_wire()
    return update


SIGNED = _signed_update()
ANSWER = dns.message.make_response(dns.message.from_wire(SIGNED.to_wire(), keyring=TSIG)).to_wire()


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda tail: ANSWER[:12] + tail))
def test_no_answer_is_taken_for_a_yes_unless_it_is_signed(answer: bytes) -> None:
    assert judged(SIGNED, TSIG, answer).applied is not Applied.APPLIED


@given(st.sampled_from([*range(29), *range(len(ANSWER) - 38, len(ANSWER) - 6)]), st.integers(1, 255))
def test_an_answer_that_somebody_has_changed_on_the_way_is_never_a_yes(position: int, difference: int) -> None:
    """The places are header, zone and signature. A name may change its case: that says the same."""
    changed = bytearray(ANSWER)
    changed[position] ^= difference
    if bytes(changed).lower() != ANSWER.lower():
        assert judged(SIGNED, TSIG, bytes(changed)).applied is not Applied.APPLIED


# --- reading -----------------------------------------------------------------------------------------------------


async def test_a_value_counts_when_all_servers_agree(server: NameServer, tmp_path: Path) -> None:
    server.serial = 12
    server.mark(ID, BLUE)
    async with serving(NameServer(records=dict(server.records))) as second:
        found = await reading(server, tmp_path, servers=[second.address])
        assert (found.value, found.version, found.by, found.serving) == (BLUE, "12", ID, (BLUE,))
        assert found.detail == "2 servers agree, TTL 30s"
        second.records[APP, "A"] = [GREEN]
        second.serial = 11
        found = await reading(server, tmp_path, servers=[second.address])
        assert (found.value, found.by, found.serving) == (None, None, (BLUE, GREEN))
        assert (
            f"{server.address} says it is {BLUE} (serial 12); {second.address} says it is {GREEN} (serial 11)"
            in found.detail
        )


async def test_a_server_that_keeps_silent_leaves_it_open_who_serves(server: NameServer, tmp_path: Path) -> None:
    async with serving(NameServer(mood="silent")) as mute, serving(NameServer()) as third:
        found = await reading(server, tmp_path, servers=[mute.address, third.address], deadline=2.0)
        assert (found.value, found.serving) == (None, None)
        assert found.detail.startswith(f"app.example.net A: {mute.address} does not answer; ")
        third.records[APP, "A"] = [GREEN]
        found = await reading(server, tmp_path, servers=[mute.address, third.address], deadline=2.0)
        assert (found.value, found.serving) == (None, (BLUE, GREEN)), "two at least are known to serve"


@pytest.mark.parametrize(
    ("mood", "words"),
    [
        ("silent", "does not answer"),
        ("garbage", "no DNS message"),
        ("other id", "no DNS message"),
        ("SERVFAIL", "answers SERVFAIL when asked for example.net"),
        ("NXDOMAIN", "has no zone example.net"),
        ("no authority", "is no authority for example.net"),
        ("truncates, then closes", "closed the connection"),
    ],
)
async def test_what_is_no_answer_is_told(server: NameServer, tmp_path: Path, mood: str, words: str) -> None:
    server.mood = mood
    found = await reading(server, tmp_path, deadline=1.0 if mood == "silent" else 20.0)
    assert (found.value, found.version, found.serving) == (None, None, None)
    assert words in found.detail


async def test_a_truncated_answer_is_asked_for_again_over_tcp(server: NameServer, tmp_path: Path) -> None:
    server.mood = "truncates"
    assert (await reading(server, tmp_path)).value == BLUE


async def test_who_put_it_there_is_known_only_where_the_marker_is_about_that_value(
    server: NameServer, tmp_path: Path
) -> None:
    server.mark(ID, BLUE)
    assert (await reading(server, tmp_path)).by == ID
    assert (await reading(server, tmp_path, marker=False)).by is None
    server.records[APP, "A"] = [GREEN]
    found = await reading(server, tmp_path)
    assert (found.value, found.by) == (GREEN, None), "somebody has changed it without a marker"
    for strange in (
        '"v=spf1 -all"',
        f'"opsdash-switch=\\027[2J" "{GREEN}"',
        f'"opsdash-switch=" "{GREEN}"',
        f'"{GREEN}"',
    ):
        server.records[MARKER, "TXT"] = [strange]
        assert (await reading(server, tmp_path)).by is None
    server.records[MARKER, "TXT"] = [f'"opsdash-switch=a" "{GREEN}"', f'"opsdash-switch=b" "{GREEN}"']
    assert (await reading(server, tmp_path)).by is None


async def test_the_servers_of_the_zone_are_found_by_its_ns_records(
    server: NameServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nameservers, "PORT", server.port)
    server.records[ZONE, "NS"] = ["ns1.example.net.", "NS2.example.net."]
    looked_up: list[str] = []

    def lookup(host: str, *_: Any, **__: Any) -> list[Any]:
        looked_up.append(host)
        if host == "ns2.example.net":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, 1, 6, "", ("127.0.0.1", 0))]

    context = a_context(tmp_path)
    context.resolver = Resolver(lookup)
    found = await read(ReadOptions.model_validate(place(server, servers=[])), context)
    assert sorted(set(looked_up)) == ["ns1.example.net", "ns2.example.net"]
    assert found.value is None
    assert "ns2.example.net cannot be asked: the name cannot be looked up" in found.detail
    server.records[ZONE, "NS"] = ["ns1.example.net."]
    assert (await read(ReadOptions.model_validate(place(server, servers=[])), context)).detail.startswith("2 servers")
    del server.records[ZONE, "NS"]
    found = await read(ReadOptions.model_validate(place(server, servers=[])), context)
    assert "knows no name servers of example.net" in found.detail
    server.mood = "REFUSED"
    found = await read(ReadOptions.model_validate(place(server, servers=[])), context)
    assert found.detail == f"{server.address} answers REFUSED when asked for example.net"


@pytest.mark.parametrize("strange", ["127.0.0.1:99.", "[x.", "a\\032b.example.net."])
async def test_a_name_server_that_cannot_be_one_is_not_asked(server: NameServer, tmp_path: Path, strange: str) -> None:
    server.records[ZONE, "NS"] = ["ns1.example.net.", strange]
    found = await reading(server, tmp_path, servers=[])
    assert found.value is None
    assert "as a name server; name `servers`" in found.detail
    assert server.questions == [(ZONE, "NS")]


async def test_records_are_named_as_people_write_them(server: NameServer, tmp_path: Path) -> None:
    server.records[APP, "A"] = ["203.0.113.10", "203.0.113.9"]
    assert (await reading(server, tmp_path)).value == "203.0.113.9, 203.0.113.10"
    server.records[APP, "AAAA"] = ["2001:db8:0::10"]
    assert (await reading(server, tmp_path, type="AAAA")).value == "2001:db8::10"
    server.records["www.example.net.", "CNAME"] = ["LB-B.example.NET."]
    assert (await reading(server, tmp_path, name="www.example.net", type="CNAME")).value == "lb-b.example.net"


async def test_no_record_and_an_alias_in_its_place_are_no_value(server: NameServer, tmp_path: Path) -> None:
    server.records["www.example.net.", "CNAME"] = ["app.example.net."]
    found = await reading(server, tmp_path, name="www.example.net")
    assert (found.value, found.serving) == (None, None)
    assert "has a CNAME at www.example.net, no A" in found.detail
    found = await reading(server, tmp_path, name="nobody.example.net")
    assert (found.value, found.serving, found.detail) == (None, (), "there is no nobody.example.net A")


async def test_a_flood_of_records_is_no_value(server: NameServer, tmp_path: Path) -> None:
    server.records[APP, "A"] = [f"10.0.{number // 256}.{number % 256}" for number in range(1000)]
    server.mood = "truncates"
    found = await reading(server, tmp_path)
    assert found.value is None
    assert "has 1000 records" in found.detail
    assert (await update(server, a_context(tmp_path))).applied is Applied.NOT_STARTED
    server.records[APP, "A"] = server.records[APP, "A"][:60]
    result = await update(server, a_context(tmp_path, expected=BLUE))
    assert result.applied is Applied.REFUSED
    assert len(result.detail) < 400


# --- before ------------------------------------------------------------------------------------------------------


async def test_the_preflight_tries_everything_and_changes_nothing(server: NameServer, tmp_path: Path) -> None:
    before = dict(server.records)
    sent: list[bool] = []
    found = await preflight(an_update(server), a_context(tmp_path, on_sent=lambda: sent.append(True)))
    assert (found.passed, found.credentials) == (True, True)
    assert found.detail == (
        f"app.example.net A is {BLUE} on {server.address}, serial 1, TTL 30s; the key opsdash may change it"
    )
    assert (server.records, server.updates, sent) == (before, [], [])


@pytest.mark.parametrize(("rdtype", "present"), [("A", ["0.0.0.0", "0.0.0.1"]), ("CNAME", ["opsdash-0.invalid."])])
async def test_the_preflight_removes_nothing_that_is_there(
    server: NameServer, tmp_path: Path, rdtype: str, present: list[str]
) -> None:
    server.records["odd.example.net.", rdtype] = present
    value = "app.example.net" if rdtype == "CNAME" else GREEN
    options = an_update(server, name="odd.example.net", type=rdtype, value=value)
    assert (await preflight(options, a_context(tmp_path))).passed is True
    assert server.records["odd.example.net.", rdtype] == present
    assert server.updates == []


async def test_a_secondary_that_lags_behind_fails_the_preflight(server: NameServer, tmp_path: Path) -> None:
    server.serial = 8
    async with serving(NameServer()) as second:
        found = await preflight(an_update(server, servers=[second.address]), a_context(tmp_path))
        assert (found.passed, found.credentials) == (False, True)
        assert "the servers are not equally up to date" in found.detail
        assert "(serial 8)" in found.detail
        assert "(serial 1)" in found.detail
        second.mood = "silent"
        found = await preflight(an_update(server, servers=[second.address]), a_context(tmp_path, deadline=2.0))
        assert (found.passed, found.credentials) == (False, True)
        assert f"{second.address} does not answer" in found.detail


async def test_a_primary_that_does_not_answer_fails_the_preflight(server: NameServer, tmp_path: Path) -> None:
    server.mood = "silent"
    found = await preflight(an_update(server), a_context(tmp_path, deadline=1.0))
    assert (found.passed, found.credentials) == (False, None)
    found = await preflight(an_update(server, servers=[]), a_context(tmp_path, deadline=1.0))
    assert (found.passed, found.credentials) == (False, None)


async def test_a_record_that_is_not_as_expected_fails_the_preflight(server: NameServer, tmp_path: Path) -> None:
    found = await preflight(an_update(server), a_context(tmp_path, expected="203.0.113.30"))
    assert found.passed is False
    assert f"is {BLUE}, where 203.0.113.30 was expected" in found.detail
    found = await preflight(an_update(server, name="new.example.net"), a_context(tmp_path))
    assert found.passed is False
    assert "there is no new.example.net A yet" in found.detail


@pytest.mark.parametrize(
    ("fate", "passed", "credentials"),
    [
        ("answers REFUSED", False, False),
        ("answers NOTAUTH", False, False),
        ("answers NXRRSET", None, None),
        ("answers SERVFAIL", None, None),
        ("no signature", None, None),
        ("garbage", None, None),
        ("closes", None, None),
        ("hangs", None, None),
        ("drips", None, None),
    ],
)
async def test_what_the_preflight_makes_of_an_answer(
    server: NameServer, tmp_path: Path, fate: str, passed: bool | None, credentials: bool | None
) -> None:
    server.fate = fate
    found = await preflight(
        an_update(server), a_context(tmp_path, deadline=2.0 if fate in {"hangs", "drips"} else 20.0)
    )
    assert (found.passed, found.credentials) == (passed, credentials)


async def test_a_long_ttl_is_told(server: NameServer, tmp_path: Path) -> None:
    server.ttl = 3600
    found = await preflight(an_update(server), a_context(tmp_path))
    assert found.passed is True
    assert found.detail.endswith("resolvers may keep the present answer for 1h")


# --- options -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"name": "app.example.com"}, "app.example.com is not in the zone example.net"),
        ({"marker": "mark.example.com"}, "mark.example.com is not in the zone"),
        ({"marker": "App.example.net."}, "`marker` needs a name of its own"),
        ({"name": "a..b"}, "no possible name"),
        ({"zone": "."}, "no possible name"),
        ({"server": "ns1:port"}, "no valid port"),
        ({"servers": [":53"]}, "names no server"),
        ({"type": "TXT"}, "Input should be"),
        ({"value": "blue"}, "'blue' cannot be the value of A"),
        ({"value": "203.0.113.20 "}, "would be read back as '203.0.113.20'; write it so"),
        ({"value": "203.0.113.10,203.0.113.9"}, "'203.0.113.9, 203.0.113.10'; write it so"),
        ({"value": "2001:DB8::1", "type": "AAAA"}, "'2001:db8::1'; write it so"),
        ({"value": "LB.example.net.", "type": "CNAME"}, "'lb.example.net'; write it so"),
        ({"value": ["a.example", "b.example"], "type": "CNAME"}, "a CNAME leads to one name"),
        ({"value": []}, "at least 1 item"),
        ({"value": [f"10.0.0.{number}" for number in range(9)]}, "at most 8 records"),
        ({"ttl": "0"}, "greater than or equal to 1"),
        ({"ttl": "1500ms"}, "whole seconds"),
        ({"ttl": "2d"}, "less than or equal to 86400"),
        ({"key": {"name": "opsdash", "secret": "not base64!"}}, "the secret is no base64"),
        ({"key": {"name": "opsdash", "secret": ""}}, "the secret is no base64"),
        ({"key": {"name": "a..b", "secret": SECRET}}, "no possible name"),
        ({"key": {"name": "a", "secret": SECRET, "algorithm": "hmac-md5"}}, "Input should be"),
    ],
)
def test_keys_that_make_no_sense_are_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        an_update(NameServer(port=53), **keys)
    assert words in str(caught.value)


def test_the_secret_is_not_shown() -> None:
    options = an_update(NameServer(port=53))
    assert SECRET not in repr(options)
    assert SECRET not in str(options)


def test_what_it_can_do_follows_from_the_options() -> None:
    found = KIND.abilities_with(an_update(NameServer(port=53), ttl="2m"))
    assert found.cas
    assert found.idempotent
    assert found.read_back
    assert found.restores
    assert found.marks
    assert found.settle == 125
    assert not KIND.abilities_with(an_update(NameServer(port=53), marker=False)).marks


async def test_several_records_are_put_back_as_they_were(server: NameServer, tmp_path: Path) -> None:
    server.records[APP, "A"] = ["203.0.113.10", "203.0.113.9"]
    raw = place(server, value=GREEN, ttl="30s", key={"name": "opsdash", "secret": SECRET})
    result = await apply(Options.model_validate(raw), a_context(tmp_path))
    assert result.prior == "203.0.113.9, 203.0.113.10"
    assert KIND.undo is not None
    undone = await apply(Options.model_validate(KIND.undo(raw, result.prior)), a_context(tmp_path, action_id="undo-1"))
    assert undone.applied is Applied.APPLIED
    assert sorted(server.records[APP, "A"]) == ["203.0.113.10", "203.0.113.9"]


def test_the_manual_command_shows_references_and_no_secret() -> None:
    raw = place(NameServer(port=53), value=f"{BLUE}, {GREEN}", key={"name": "opsdash", "secret": "${file:/etc/o'k}"})
    assert manual(raw) == (
        "printf '%s\\n' 'server 127.0.0.1 53' 'zone example.net.' "
        "'key hmac-sha256:opsdash '\"$(cat '/etc/o'\"'\"'k')\" "
        "'update delete app.example.net. A' "
        f"'update add app.example.net. 60 A {BLUE}' 'update add app.example.net. 60 A {GREEN}' "
        "'update delete _opsdash.app.example.net. TXT' send | nsupdate -v"
    )
