"""Check kind `tcp`: ports that open, and what is said there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from opsdash.kinds.base import CheckContext, Sample
from opsdash.kinds.checks import tcp
from opsdash.model.status import Reason, Status

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

Serve = Callable[..., Awaitable[Any]]
MakeContext = Callable[..., CheckContext]


async def check(port: int, context: CheckContext, **keys: Any) -> Sample:
    return await tcp.run(tcp.Options.model_validate({"host": "127.0.0.1", "port": port, **keys}), context)


def greeting(*pieces: bytes, hang_up: bool = False) -> Any:
    async def behave(_: Any, reader: StreamReader, writer: StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if not hang_up:
            await reader.read()

    return behave


async def test_a_port_that_opens_is_ok_and_closed_again(serve: Serve, context: MakeContext) -> None:
    server = await serve(greeting())
    sample = await check(server.port, context())
    assert (sample.status, sample.detail) == (Status.OK, "connected")
    assert list(sample.phases) == ["dns", "connect"]
    await server.until_open(0)


async def test_a_port_that_refuses_is_down(context: MakeContext) -> None:
    sample = await check(1, context())
    assert (sample.status, sample.reason) == (Status.DOWN, Reason.REFUSED)


async def test_a_greeting_may_come_in_pieces(serve: Serve, context: MakeContext) -> None:
    server = await serve(greeting(b"SSH-", b"2.0-Op", b"enSSH\r\n"))
    sample = await check(server.port, context(), reply=r"^SSH-2\.0-\w+\r\n")
    assert (sample.status, sample.values["reply"]) == (Status.OK, "SSH-2.0-OpenSSH\r\n")


async def test_a_question_gets_its_answer(serve: Serve, context: MakeContext) -> None:
    async def pong(_: Any, reader: StreamReader, writer: StreamWriter) -> None:
        if await reader.readline() == b"PING\r\n":
            writer.write(b"+PONG\r\n")
        await reader.read()

    server = await serve(pong)
    assert (await check(server.port, context(), send="PING\r\n", reply=r"^\+PONG")).status is Status.OK


async def test_a_wrong_greeting_is_told_before_the_deadline(serve: Serve, context: MakeContext) -> None:
    server = await serve(greeting(b"220 mail\r\n"))
    sample = await check(server.port, context(deadline=0.2), reply="^SSH")
    assert (sample.status, sample.reason) == (Status.DOWN, Reason.EXPECTATION)
    assert "'220 mail" in sample.detail


async def test_silence_is_a_timeout(serve: Serve, context: MakeContext) -> None:
    server = await serve(greeting())
    sample = await check(server.port, context(deadline=0.2), reply="^SSH")
    assert (sample.status, sample.reason) == (Status.DOWN, Reason.TIMEOUT)
    await server.until_open(0)


async def test_hanging_up_without_a_word_does_not_match(serve: Serve, context: MakeContext) -> None:
    server = await serve(greeting(hang_up=True))
    sample = await check(server.port, context(), reply="^SSH")
    assert (sample.reason, sample.detail) == (Reason.EXPECTATION, "closed without a word")


async def test_a_flood_is_read_only_so_far(serve: Serve, context: MakeContext) -> None:
    async def pour(_: Any, __: StreamReader, writer: StreamWriter) -> None:
        while True:
            writer.write(b"\xff" * 4096)
            await writer.drain()

    server = await serve(pour)
    sample = await check(server.port, context(), reply="^SSH")
    assert sample.reason is Reason.EXPECTATION
    assert len(sample.values["reply"]) == tcp.MAX_REPLY
    await server.until_open(0)


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="no regular expression"):
        tcp.Options(host="a", port=1, reply="(")
