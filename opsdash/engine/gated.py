"""A program that waits at a gate: it is there, its number is written down, and only then it begins.

What is started is a small shell that reads one line and then becomes the program. When the engine dies in between, the
line never comes, the shell reads the end of its input and goes, and nothing was executed. Behind the line the program's
own input may follow, which is how a script gets to another host without standing in anybody's list of processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from typing import IO, TYPE_CHECKING

from opsdash.engine.output import Reader
from opsdash.kinds.identity import identity_of
from opsdash.kinds.offload import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opsdash.engine.output import Output

_GATE = 'IFS= read -r _ || exit 127; exec "$@"'


class GatedProgram:
    """Watches one program, as `opsdash.kinds.processes.Watch`; also its gate.

    output: takes what it says.  captured: takes what it says on its standard output alone, if that is wanted.
    up: is called in the event loop with its process id and identity, once it waits at the gate.
    """

    def __init__(self, output: Output, captured: Output | None, payload: bytes, up: Callable[[int, str], None]) -> None:
        self.stdin, self._gate = os.pipe()
        self.merged = captured is None
        self.begun = False
        self._payload = payload
        self._up = up
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._open = {self.stdin, self._gate}
        self._stdout = Reader(1, output) if captured is None else Reader(1, output, captured)
        self._stderr = Reader(2, output)

    @staticmethod
    def behind(argv: Sequence[str]) -> list[str]:
        """What is to be started instead of a program that is to wait."""
        return ["/bin/sh", "-c", _GATE, "gate", *argv]

    def spawned(self, pid: int) -> None:
        self._close(self.stdin)
        identity = identity_of(pid)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody opens the gate any more
            self._loop.call_soon_threadsafe(self._up, pid, identity)

    def look(self, stdout: IO[bytes], stderr: IO[bytes], *, last: bool) -> None:
        with contextlib.suppress(OSError):
            self._stdout.look(stdout, last=last)
            if not self.merged:
                self._stderr.look(stderr, last=last)

    async def open_gate(self) -> None:
        """Let it begin."""
        self.begun = True
        await in_thread(("gate", id(self)), self._write)

    def _write(self) -> None:
        with self._lock:
            if self._gate not in self._open:
                return
            own = os.dup(self._gate)  # whoever closes the other one meanwhile must not let us write into a stranger's
        rest = memoryview(b"\n" + self._payload)
        try:
            with contextlib.suppress(OSError):  # it has ended already, or was never there
                while rest:
                    rest = rest[os.write(own, rest) :]
        finally:
            os.close(own)
        self._close(self._gate)

    def close(self) -> None:
        """Leave no descriptor behind. What still waits at the gate goes away."""
        for descriptor in (self.stdin, self._gate):
            self._close(descriptor)

    def _close(self, descriptor: int) -> None:
        with self._lock:
            if descriptor in self._open:
                self._open.discard(descriptor)
                os.close(descriptor)
