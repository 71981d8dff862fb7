"""Redis's protocol: replies whole, in pieces, endless, broken; and what a conversation makes of its server."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from opsdash.kinds.failures import FAILURES, ProtocolError, RejectedError, TooLargeError
from opsdash.kinds.resolver import Resolver
from opsdash.kinds.resp import (
    MAX_DEPTH,
    MAX_REPLY,
    Conversation,
    Credentials,
    ErrorReply,
    Place,
    Replies,
    ServerOptions,
    Way,
    command,
    conversation,
    parse_place,
    place_name,
    shown,
)
from tests.kinds.fake_redis import CLOSE, HANG, OK, Fake, No, Raw, encoded, started

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kinds.conftest import Authority


class Asker:
    """Who asks for an exchange."""

    def __init__(self) -> None:
        self.stage = ""
        self.resolver = Resolver()


def replies(*pieces: bytes) -> Replies:
    """Replies from a stream that comes in these pieces, and then ends."""
    waiting = [piece for piece in pieces if piece]

    async def read_some() -> bytes:
        return waiting.pop(0) if waiting else b""

    return Replies(read_some)


# --- replies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (b"+OK\r\n", "OK"),
        (b"+\r\n", ""),
        (b"-ERR no\r\n", ErrorReply("ERR no")),
        (b":-12\r\n", -12),
        (b"$3\r\na\r\n\r\n", "a\r\n"),
        (b"$0\r\n\r\n", ""),
        (b"$-1\r\n", None),
        (b"*-1\r\n", None),
        (b"*0\r\n", []),
        (b"*3\r\n:1\r\n*1\r\n$-1\r\n-E\r\n", [1, [None], ErrorReply("E")]),
        (b"$2\r\n\xff\xfe\r\n", "\ufffd\ufffd"),
    ],
)
async def test_what_replies_mean(sent: bytes, meant: Any) -> None:
    assert await replies(sent).next() == meant
    assert await replies(*(bytes([byte]) for byte in sent)).next() == meant, "one byte at a time is the same"


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "does not speak"),
        (b"\r\n", "does not speak"),
        (b"%1\r\n", "does not speak"),
        (b":12a\r\n", "where a number belongs"),
        (b":1_0\r\n", "where a number belongs"),
        (b"$ 3\r\nabc\r\n", "where a number belongs"),
        (b"$-2\r\n", "announced a length of -2"),
        (b"*-7\r\n", "announced a length of -7"),
        (b"$3\r\nabcd\r\n", "another length"),
        (b"*1\r\n" * (MAX_DEPTH + 2) + b":1\r\n", "lists within lists"),
        (b"+OK", "in the middle of its reply"),
        (b"$10\r\nabc", "in the middle of its reply"),
        (b"", "instead of answering"),
    ],
)
async def test_what_is_no_reply_is_an_error_that_says_so(sent: bytes, told: str) -> None:
    with pytest.raises(ProtocolError, match=told):
        await replies(sent).next()


@pytest.mark.parametrize(
    "sent", [b"$99999999999\r\n", b"*99999999999\r\n", b"*10001\r\n", b"*30000\r\n", b"+" + b"x" * 70_000]
)
async def test_sizes_are_believed_only_up_to_the_limit(sent: bytes) -> None:
    with pytest.raises(TooLargeError):
        await replies(sent).next()


async def test_many_small_things_are_too_large_together() -> None:
    lists = b"*9000\r\n" + b"$4\r\nxxxx\r\n" * 9000
    with pytest.raises(TooLargeError, match="larger than the limit"):
        await replies(lists).next()
    assert await replies(lists).next(most=len(lists)) == ["xxxx"] * 9000
    with pytest.raises(TooLargeError, match="10000 elements"):
        await replies(b"*2\r\n" + b"*6000\r\n" + b"+\r\n" * 6000 + b"*6000\r\n").next()


@given(st.binary(max_size=200), st.integers(1, 20))
def test_garbage_in_any_pieces_is_a_reply_or_an_error_of_ours(data: bytes, size: int) -> None:
    pieces = [data[start : start + size] for start in range(0, len(data), size)]

    async def read_all() -> None:
        found = replies(*pieces)
        for _ in range(50):
            await found.next()

    with pytest.raises(ProtocolError):
        asyncio.run(read_all())


VALUES = st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=10,
)


@given(VALUES, st.data())
def test_what_a_server_encodes_is_read_as_it_was(value: Any, data: st.DataObject) -> None:
    depth = str(encoded(value)).count("*")
    sent = encoded(value)
    cut = data.draw(st.integers(0, len(sent)))
    if depth <= MAX_DEPTH:
        assert asyncio.run(replies(sent[:cut], sent[cut:]).next()) == value


@given(VALUES, st.integers(0, 10_000), st.binary(min_size=1, max_size=3))
def test_a_reply_that_was_tampered_with_breaks_nothing(value: Any, place: int, bytes_in: bytes) -> None:
    sent = encoded(value)
    at = place % (len(sent) + 1)

    async def read() -> None:
        with contextlib.suppress(ProtocolError):
            await replies(sent[:at] + bytes_in + sent[at + 1 :]).next()

    asyncio.run(read())


def test_an_error_has_a_code_and_is_shown_on_one_line_cut_to_size() -> None:
    assert ErrorReply("NOAUTH Authentication required.").code == "NOAUTH"
    assert shown(ErrorReply("ERR a\n\tb " + "x" * 1000)).startswith("ERR a b xxx")
    assert len(shown("y" * 10_000)) == 200
    assert shown(["a", 1, None]) == "['a', 1, None]"


# --- addresses and options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("redis-a:6379", Place("redis-a:6379", "redis-a", 6379)),
        ("10.0.0.1:1", Place("10.0.0.1:1", "10.0.0.1", 1)),
        ("[::1]:26379", Place("[::1]:26379", "::1", 26379)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, place: Place) -> None:
    assert parse_place(text) == place
    assert place_name(place.host, place.port) == text


@pytest.mark.parametrize(
    "text", ["", "redis-a", ":6379", "a:", "a:0", "a:65536", "a:x", "a:٣", "a b:1", "::1:6379", "redis://a:1", "a\n:1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|port"):
        parse_place(text)


@pytest.mark.parametrize(
    "keys",
    [
        {"ca": "ca.pem"},
        {"verify_tls": False},
        {"client_cert": "c.pem"},
        {"tls": True, "client_key": "k.pem"},
        {"auth": {"user": "a"}},
        {"auth": {"user": "", "password": "x"}},
        {"auth": {"password": "x", "name": "y"}},
    ],
)
def test_keys_that_do_not_agree_are_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ServerOptions.model_validate(keys)


def test_the_password_is_in_no_repr() -> None:
    options = ServerOptions.model_validate({"auth": {"user": "ops", "password": "hunter2"}})
    assert "hunter2" not in repr(options)


# --- conversations -----------------------------------------------------------------------------------------------


LOGIN = Credentials(user="ops", password=SecretStr("s3cret"))


def talk_to(fake: Fake, way: Way | None = None) -> Any:
    return conversation(Place(fake.name, "127.0.0.1", fake.port), way or Way(), Asker())


async def test_a_command_arrives_word_by_word_and_its_moment_is_told(serve: Any) -> None:
    fake = await started(Fake({"SET": OK}), serve)
    told: list[int] = []
    async with talk_to(fake) as talk:
        assert await talk.ask("SET", "schlüssel", 7, sending=lambda: told.append(len(fake.heard))) == "OK"
    assert fake.heard == [["SET", "schlüssel", "7"]]
    assert told == [0], "before it left"
    assert command("A", 1) == b"*2\r\n$1\r\nA\r\n$1\r\n1\r\n"


@pytest.mark.parametrize(
    ("login", "words"),
    [
        (LOGIN, ["AUTH", "ops", "s3cret"]),
        (Credentials(password=SecretStr("s3cret")), ["AUTH", "s3cret"]),
    ],
)
async def test_it_logs_in_with_or_without_a_name(serve: Any, login: Credentials, words: list[str]) -> None:
    fake = await started(Fake({"AUTH": OK, "PING": "PONG"}), serve)
    async with talk_to(fake, Way(login)) as talk:
        assert await talk.ask("PING") == "PONG"
    assert fake.heard == [words, ["PING"]]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (No("WRONGPASS invalid username-password pair or user is disabled."), RejectedError),
        (No("ERR AUTH <password> called without any password configured"), RejectedError),
        (No("NOPERM no"), RejectedError),
        ("what?", RejectedError),
        (No("LOADING Redis is loading the dataset in memory"), ProtocolError),
        (CLOSE, ProtocolError),
        (Raw(b"+O", then=CLOSE), ProtocolError),
    ],
)
async def test_a_login_that_is_not_accepted_ends_it(serve: Any, reply: Any, error: type[Exception]) -> None:
    fake = await started(Fake({"AUTH": reply}), serve)
    with pytest.raises(error) as raised:
        async with talk_to(fake, Way(LOGIN)):
            pytest.fail("it went on")
    assert "s3cret" not in str(raised.value)


async def test_what_came_unasked_is_no_answer_to_the_next_question(serve: Any) -> None:
    fake = await started(Fake({"GET": Raw(b"$1\r\na\r\n+OK\r\n"), "FAILOVER": OK}), serve)
    async with talk_to(fake) as talk:
        assert await talk.ask("GET", "x") == "a"
        with pytest.raises(ProtocolError, match="more than its answer"):
            await talk.ask("FAILOVER", sending=lambda: pytest.fail("sent"))
    assert fake.heard == [["GET", "x"]]


@pytest.mark.parametrize("behaviour", [HANG, "drip"])
async def test_the_callers_time_limit_ends_whatever_it_is(serve: Any, behaviour: str) -> None:
    async def drip(_: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        while behaviour == "drip":
            writer.write(b"$9" if not writer.transport.get_write_buffer_size() else b"9")
            await writer.drain()
            await asyncio.sleep(0.01)
        await reader.read()

    server = await serve(drip)
    asker = Asker()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.15), conversation(Place("x", "127.0.0.1", server.port), Way(), asker) as talk:
            await talk.ask("PING")
    assert asker.stage == "first_byte"
    await server.until_open(0)


async def test_a_server_that_talks_nonsense_for_ever_is_cut_off(serve: Any) -> None:
    async def flood(_: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        while True:
            writer.write(b"+" + b"x" * 8192)
            await writer.drain()

    server = await serve(flood)
    async with asyncio.timeout(5):
        with pytest.raises(TooLargeError):
            async with conversation(Place("x", "127.0.0.1", server.port), Way(), Asker()) as talk:
                await talk.ask("PING")
    assert MAX_REPLY == 65536
    await server.until_open(0)


async def test_tls_is_spoken_and_verified(serve: Any, authority: Authority, tmp_path: Path) -> None:
    fake = await started(Fake({"AUTH": OK, "PING": "PONG"}), serve, tls=authority.server())
    place = Place(fake.name, "127.0.0.1", fake.port)
    trusting = ServerOptions(tls=True, ca=authority.file, auth=LOGIN).way(tmp_path)
    async with conversation(place, trusting, Asker()) as talk:
        assert await talk.ask("PING") == "PONG"
    async with conversation(place, ServerOptions(tls=True, verify_tls=False).way(tmp_path), Asker()) as talk:
        assert await talk.ask("PING") == "PONG"
    with pytest.raises(FAILURES):
        async with conversation(place, ServerOptions(tls=True, auth=LOGIN).way(tmp_path), Asker()):
            pytest.fail("it went on")
    assert fake.got("AUTH") == 1, "no password for a server that is not trusted"


async def test_the_wire_says_the_place_it_leads_to(serve: Any) -> None:
    fake = await started(Fake({"PING": "PONG"}), serve)
    async with talk_to(fake) as talk:
        assert isinstance(talk, Conversation)
        assert talk.place.name == fake.name
