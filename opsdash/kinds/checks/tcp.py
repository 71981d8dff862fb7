r"""A TCP connection can be opened; optionally, what the server says must match.

    database: {kind: tcp, host: db.internal, port: 5432}
    ssh:      {kind: tcp, host: bastion.internal, port: 22, reply: '^SSH-2\.0-'}
    cache:    {kind: tcp, host: cache.internal, port: 6379, send: "PING\r\n", reply: '^\+PONG'}

`reply` is a regular expression that is searched in what the server sends, up to 4 KiB of it. Without
`reply` a connection that opens is ok, and nothing is read: an accepting socket says little about the
service behind it.
"""

from __future__ import annotations

import asyncio
import codecs
import re
import time
from types import MappingProxyType
from typing import Any, Final

from pydantic import Field, field_validator

from opsdash.kinds.base import CheckContext, CheckKind, CheckOptions, Sample
from opsdash.kinds.failures import FAILURES, failed
from opsdash.kinds.streams import Stream, connected
from opsdash.model.status import Reason, Status

MAX_REPLY: Final = 4 * 1024
READING_SHARE: Final = 0.9
"""Share of the deadline after which a wrong answer is reported as such, and no longer hoped to go on."""


class Options(CheckOptions):
    """Keys of `kind: tcp`."""

    host: str
    """Name or address of the server."""
    port: int = Field(ge=1, le=65535)
    """Its port."""
    send: str | None = None
    """Text to send once connected. In YAML, double quotes are needed for `\\r\\n`."""
    reply: str | None = None
    """Regular expression that the answer, or the greeting, must contain."""

    @field_validator("reply")
    @classmethod
    def _reply_is_a_pattern(cls, reply: str | None) -> str | None:
        try:
            re.compile(reply or "")
        except re.error as error:
            raise ValueError(f"{reply!r} is no regular expression: {error}") from None
        return reply


async def run(options: Options, context: CheckContext) -> Sample:
    """Connect, and look at the answer if there is one to look at."""
    started = time.monotonic()
    reply = None
    try:
        async with connected(options.host, options.port, context) as stream:
            if options.send is not None:
                await stream.write(options.send.encode())
            if options.reply is not None:
                until = started + context.deadline * READING_SHARE
                reply = await _read_reply(stream, options.reply, until)
    except FAILURES as error:
        return failed(error, where=f"{options.host}:{options.port}")
    latency = time.monotonic() - started
    values: dict[str, Any] = {"address": stream.address, "latency": latency}
    sample = Sample(Status.OK, detail="connected", latency=latency, values=values, phases=stream.phases)
    if reply is not None and options.reply is not None:
        values["reply"] = reply
        _judge(sample, reply, options.reply)
    return sample


async def _read_reply(stream: Stream, pattern: str, until: float) -> str:
    """What the server says until that matches, ends, is too much, or has taken too long."""
    received = ""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    try:
        async with asyncio.timeout(until - time.monotonic()):
            while len(received) < MAX_REPLY and (data := await stream.read_some()):
                received = (received + decoder.decode(data))[:MAX_REPLY]
                if re.search(pattern, received):
                    break
    except TimeoutError:
        if not received:
            raise
    return received


def _judge(sample: Sample, reply: str, pattern: str) -> None:
    if re.search(pattern, reply):
        sample.detail = f"answered {reply[:80]!r}"
        return
    sample.status, sample.reason = Status.DOWN, Reason.EXPECTATION
    sample.detail = f"{reply[:80]!r} does not match {pattern!r}" if reply else "closed without a word"


KIND = CheckKind(
    name="tcp",
    summary="a TCP connection, and what the server says",
    options=Options,
    run=run,
    sample=MappingProxyType({"reply": "SSH-2.0-OpenSSH_9.6", "latency": 0.01, "address": "203.0.113.7"}),
)
