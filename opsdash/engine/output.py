"""What a program says while it runs: taken line by line, masked, made harmless, and never more than fits.

A line is shown when it is whole. A secret that comes in two pieces is therefore never looked at in pieces; a line that
does not end is cut where `…` follows, which the mask knows; and where bytes were lost, the rest of their line goes,
too, since the end of a secret is as secret as its beginning.

The first three quarters of what is kept is the beginning, the last quarter the end, where errors stand; with the first
gap the end begins. What came in between is counted and dropped. A program that floods is not read to the end: its file
is cut, at most 64 KiB of it are looked at in one go, and then only its last lines.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import IO, TYPE_CHECKING

from opsdash.model.text import CUT, clean

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT = 64 * 1024
"""Characters of a block's output that are kept, the note about what was dropped not counted."""

HEAD = KEPT * 3 // 4
TAIL = KEPT - HEAD
LONGEST_LINE = 1000
PENDING = 16 * 1024
"""Bytes of a line that has not ended; then it is cut."""

AT_ONCE = 64 * 1024
FLOOD = 4 * 1024
FILE_LIMIT = 1024 * 1024
"""Bytes that a program's file may have before it is emptied."""


class Output:
    """The lines of one program. Fed by the thread of its run, read by the event loop."""

    def __init__(self, mask: Callable[[str], str]) -> None:
        self._mask = mask
        self._lock = threading.Lock()
        self._head: list[str] = []
        self._head_size = 0
        self._tail: deque[str] = deque()
        self._tail_size = 0
        self._count = 0
        self._pending: dict[int, bytearray] = {}
        self._skipping: set[int] = set()
        self._raw = bytearray()
        self.dropped = 0

    def feed(self, stream: int, data: bytes, lost: int = 0) -> None:
        """Take what came on a stream; `lost`: so many bytes before it are not there any more."""
        with self._lock:
            pending = self._pending.setdefault(stream, bytearray())
            if lost:
                self.dropped += lost + len(pending)
                pending.clear()
                self._skipping.add(stream)
            if len(self._raw) < KEPT:
                self._raw += data[: KEPT - len(self._raw)]
            pending += data
            *lines, rest = bytes(pending).split(b"\n")
            pending[:] = rest
            for line in lines:
                if stream in self._skipping:
                    self._skipping.discard(stream)
                    self.dropped += len(line) + 1
                else:
                    self._add(line)
            if len(pending) > PENDING:
                self._cut(stream, pending)

    def _cut(self, stream: int, pending: bytearray) -> None:
        """A line that does not end: its beginning is enough."""
        if stream in self._skipping:
            self.dropped += len(pending)
        else:
            self._add(bytes(pending[: 4 * LONGEST_LINE]) + CUT.encode())
            self.dropped += len(pending) - 4 * LONGEST_LINE
            self._skipping.add(stream)
        pending.clear()

    def finish(self) -> None:
        """The program has ended: what came without a line's end is a line, too."""
        with self._lock:
            for stream, pending in self._pending.items():
                if pending and stream not in self._skipping:
                    self._add(bytes(pending))
                pending.clear()

    def _add(self, line: bytes) -> None:
        text = self._mask(line.decode("utf-8", "replace")).rstrip("\r")
        text = text.rpartition("\r")[2]  # as on a terminal: what was written over is gone
        shown = self._mask(clean(text.expandtabs(4), LONGEST_LINE))
        self._count += 1
        if not self.dropped and not self._tail and self._head_size + len(shown) < HEAD:
            self._head.append(shown)
            self._head_size += len(shown) + 1
            return
        self._tail.append(shown)
        self._tail_size += len(shown) + 1
        while self._tail_size > TAIL:
            gone = len(self._tail.popleft()) + 1
            self._tail_size -= gone
            self.dropped += gone

    def text(self) -> str:
        """All that is kept."""
        with self._lock:
            note = [f"{CUT} at least {self.dropped} bytes dropped {CUT}"] if self.dropped else []
            lines = [*self._head, *note, *self._tail]
        return self._mask("\n".join(lines)).strip("\n")

    def since(self, number: int) -> tuple[int, list[str]]:
        """The lines from `number` on that are kept, and the number of the next one."""
        with self._lock:
            first = self._count - len(self._tail)
            head = self._head[number:] if number < len(self._head) else []
            tail = list(self._tail)[max(0, number - first) :]
            return self._count, [*head, *tail]

    def raw(self) -> str:
        """The first 64 KiB as they came, to be compared with what is expected and never to be shown."""
        with self._lock:
            return bytes(self._raw).decode("utf-8", "replace")


class Reader:
    """Takes from the file into which a program writes, and keeps it short."""

    def __init__(self, stream: int, *outputs: Output) -> None:
        self._stream = stream
        self._outputs = outputs
        self._seen = 0
        self._lost = 0

    def look(self, file: IO[bytes], *, last: bool) -> None:
        """Hand on what is new."""
        size = os.fstat(file.fileno()).st_size
        new = size - self._seen
        if new > AT_ONCE:
            if self._seen == 0 and self._lost == 0:
                self._hand_on(os.pread(file.fileno(), AT_ONCE, 0))
                self._seen = AT_ONCE
            start = max(self._seen, size - (AT_ONCE if last else FLOOD))
            self._lost += start - self._seen
            self._seen = start
        data = os.pread(file.fileno(), size - self._seen, self._seen) if size > self._seen else b""
        self._hand_on(data)
        self._seen += len(data)
        if size > FILE_LIMIT and not last:
            os.ftruncate(file.fileno(), 0)
            self._seen = 0
            self._lost += 1  # whatever was written in this very moment

    def _hand_on(self, data: bytes) -> None:
        if data or self._lost:
            for output in self._outputs:
                output.feed(self._stream, data, self._lost)
            self._lost = 0
