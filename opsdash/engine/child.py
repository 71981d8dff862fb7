"""A process that runs one check and nothing else, for a check that held up the engine's event loop.

    python -P -m opsdash.engine.child FD        started by `isolation.py`, with its end of a socket pair

It lives from run to run, looks up names by itself, and remembers its last sample, so that `context.previous` is what it
would be in the engine. A thread reads the socket, so that the end of the engine is noticed while a run blocks: when the
socket closes, the run is cancelled (a program that it started is ended with it), and shortly after that the process and
its group are killed. Against code that keeps the interpreter's lock even then, the kernel holds an alarm during each
run: without it such a process would outlive an engine that was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import socket
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, Final

from opsdash.engine import childwire as wire
from opsdash.engine.measuring import measure, probe_error
from opsdash.errors import KindError
from opsdash.kinds.base import CheckContext, Sample
from opsdash.kinds.registry import check_kind
from opsdash.kinds.resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from opsdash.kinds.base import CheckKind, CheckOptions

CLEAN_UP: Final = 1.0
"""Seconds that a cancelled run may take to end what it started."""

ALARM: Final = 4.0
"""Seconds beyond the deadline of a run after which the kernel ends the process, should nobody have done it before."""

LONGEST_TRACEBACK: Final = 8 * 1024


def main() -> None:
    """Serve the engine until it closes the socket."""
    faulthandler.enable()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.INFO)
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        channel.setblocking(True)
        with contextlib.suppress(asyncio.CancelledError, OSError):
            asyncio.run(_serve(channel))


async def _serve(channel: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    serving = asyncio.current_task()
    assert serving is not None  # noqa: S101 - this is a coroutine of a task
    inbox: asyncio.Queue[bytes] = asyncio.Queue()

    def over() -> None:
        loop.call_soon_threadsafe(serving.cancel)

    def arrived(payload: bytes) -> None:
        loop.call_soon_threadsafe(inbox.put_nowait, payload)

    threading.Thread(target=_receive, args=(channel, arrived, over), name="engine", daemon=True).start()

    def reply(*message: Any) -> None:
        payload = wire.pack(message)
        if len(payload) > wire.LARGEST:
            raise ValueError(f"a result of {len(payload)} bytes, of which at most {wire.LARGEST} are passed on")
        channel.sendall(wire.frame(payload))

    kind_name, options, workspace, check = wire.unpack(await inbox.get())
    try:
        runs = _Runs(check_kind(kind_name), wire.unpack_options(options), workspace, check, reply)
    except KindError as error:
        reply(wire.REFUSED, str(error))
    except Exception as error:  # noqa: BLE001 - whatever the classes of other packages raise
        reply(wire.REFUSED, f"its options cannot be taken over: {type(error).__name__}: {error}")
    else:
        reply(wire.READY)
        while True:
            await runs.run(wire.unpack(await inbox.get()))


def _receive(channel: socket.socket, arrived: Callable[[bytes], None], over: Callable[[], None]) -> None:
    """In a thread: hand on what the engine says, until it says no more. Then this process ends, whatever it is at."""
    with contextlib.suppress(OSError, RuntimeError):
        while (head := _exactly(channel, wire.HEADER.size)) is not None:
            payload = _exactly(channel, wire.HEADER.unpack(head)[0])
            if payload is None:
                break
            arrived(payload)
    with contextlib.suppress(RuntimeError):  # the loop has ended already
        over()
    threading.Event().wait(CLEAN_UP)
    os.killpg(0, signal.SIGKILL)


def _exactly(channel: socket.socket, count: int) -> bytes | None:
    """So many bytes, None at the end of the stream."""
    found = bytearray()
    while len(found) < count:
        chunk = channel.recv(count - len(found))
        if not chunk:
            return None
        found += chunk
    return bytes(found)


class _Runs:
    """The runs of one check, one after the other."""

    def __init__(
        self, kind: CheckKind, options: CheckOptions, workspace: Path, check: str, reply: Callable[..., None]
    ) -> None:
        self._kind = kind
        self._options = options
        self._workspace = workspace
        self._check = check
        self._reply = reply
        self._resolver = Resolver()
        self._previous: Sample | None = None

    async def run(self, request: tuple[Any, ...]) -> None:
        """One run, as the engine asks for it, and the reply.

        When the deadline has come, that is said at once: an engine that hears nothing knows that this loop is blocked.
        """
        deadline, wall, heartbeat, wants_json, previous = request
        context = CheckContext(
            check=self._check,
            deadline=deadline,
            wall=wall,
            workspace=self._workspace,
            resolver=self._resolver,
            previous=self._previous or previous,
            heartbeat=heartbeat,
            wants_json=wants_json,
        )
        unforeseen: list[str] = []
        signal.setitimer(signal.ITIMER_REAL, deadline + ALARM)
        overdue = asyncio.get_running_loop().call_later(deadline, self._reply, wire.OVERDUE)
        try:
            sample = await measure(self._kind, self._options, context, lambda error: unforeseen.append(_told(error)))
        finally:
            overdue.cancel()
            signal.setitimer(signal.ITIMER_REAL, 0)
        self._previous = sample
        try:
            self._reply(wire.MEASURED, wire.sample_fields(sample), "".join(unforeseen))
        except (AttributeError, TypeError, ValueError) as error:  # what the kind returned is no sample
            self._previous = failed = probe_error(error)
            self._reply(wire.MEASURED, wire.sample_fields(failed), _told(error))


def _told(error: Exception) -> str:
    return "".join(traceback.format_exception(error))[-LONGEST_TRACEBACK:]


if __name__ == "__main__":
    main()
    os._exit(0)  # threads that hang hold up nobody
