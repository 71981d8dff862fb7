"""One line for each message at the end of a file: for a log collector, a terminal with `tail -f`, a record of one's
own.

    {kind: file, path: alarms.log}
    {kind: file, path: /var/log/opsdash/alarms.jsonl, format: json}

Each line is written at once and flushed to the disk, and lines of several writers do not mix. After a crash in that
very moment a message may be there twice, with the same key. A file that does not exist is created for its owner
alone; it is never made smaller: logrotate with `copytruncate` or a plain rename both work, since it is opened for
each line.

What is no plain file (a folder, a device, a pipe, a symbolic link) is refused: a link could lead a writer of alarms to
any file of its account.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import threading
from typing import TYPE_CHECKING, Final, Literal

from pydantic import field_validator

from opsdash.kinds.base import NotifierContext, NotifierKind, StrictOptions, Told
from opsdash.kinds.messages import as_json, moment
from opsdash.kinds.offload import in_thread
from opsdash.model.message import Delivery
from opsdash.model.text import clean

if TYPE_CHECKING:
    from pathlib import Path

    from opsdash.model.message import Message

LONGEST: Final = 4000
"""Characters of a line of text."""

_FOR_A_PERSON: Final = frozenset(
    {
        errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO,
        errno.ENAMETOOLONG, errno.EMLINK,
    }
)  # fmt: skip
"""What goes on until somebody corrects the path or the rights."""


class Options(StrictOptions):
    """Keys of `kind: file`."""

    path: str
    """The file; a relative path starts at the workspace. Its folder has to exist."""
    format: Literal["text", "json"] = "text"
    """`text`: time, id, kind, severity, title and body on one line. `json`: what a webhook would be sent."""

    @field_validator("path")
    @classmethod
    def _names_a_file(cls, path: str) -> str:
        if "\0" in path or not path.strip():
            raise ValueError("name a file, such as alarms.log")
        if path.endswith("/"):
            raise ValueError(f"{path!r} is a folder; name a file in it, such as {path}alarms.log")
        return path


class _Line:
    """A line that is written by its thread, or given up by whoever waits for it."""

    def __init__(self, file: Path, text: str) -> None:
        self._file = file
        self._text = text
        self._decision = threading.Lock()
        self._given_up = False
        self.begun = False

    def give_up(self) -> None:
        with self._decision:
            self._given_up = True

    def write(self) -> Told:
        shown = self._file.name
        try:
            opened = _open(self._file)
        except OSError as error:
            outcome = Delivery.REFUSED if error.errno in _FOR_A_PERSON else Delivery.FAILED
            return Told(outcome, f"{shown}: {_why(error)}")
        try:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                return Told(Delivery.REFUSED, f"{shown} is no regular file; name one that is, or none yet")
            with contextlib.suppress(OSError):  # a file system without locks: one write is one line there as well
                fcntl.flock(opened, fcntl.LOCK_EX)
            with self._decision:
                if self._given_up:
                    return Told(Delivery.FAILED, f"{shown}: given up before it was written")
                self.begun = True
            return self._append(opened, shown)
        finally:
            os.close(opened)

    def _append(self, opened: int, shown: str) -> Told:
        data = f"{self._text}\n".encode()
        if not _ends_a_line(opened):  # what a full disk has cut short
            data = b"\n" + data
        try:
            written = os.write(opened, data)
        except OSError as error:
            return Told(Delivery.FAILED, f"{shown}: {_why(error)}")
        if written < len(data):
            return Told(Delivery.FAILED, f"{shown}: only {written} of {len(data)} bytes had room; is the disk full?")
        try:
            os.fsync(opened)
            _flush_folder(self._file)
        except OSError as error:
            return Told(Delivery.UNKNOWN, f"{shown}: written, and perhaps not on the disk: {error.strerror}")
        return Told(Delivery.DELIVERED, f"a line in {shown}")


def _open(file: Path) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return os.open(file, flags, 0o600)


def _ends_a_line(opened: int) -> bool:
    size = os.fstat(opened).st_size
    return size == 0 or os.pread(opened, 1, size - 1) == b"\n"


def _flush_folder(file: Path) -> None:
    """The name of a new file has to survive, too."""
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _why(error: OSError) -> str:
    match error.errno:
        case errno.ENOENT:
            return "its folder does not exist; create it"
        case errno.ELOOP | errno.EMLINK:
            return "it is a symbolic link, which is not followed; name the file that it leads to"
        case errno.EISDIR:
            return "it is a folder; name a file in it"
    return error.strerror or str(error)


async def send(options: Options, message: Message, context: NotifierContext) -> Told:
    """One line, in a thread of its own: a dead mount hangs nobody else."""
    file = context.workspace / options.path
    line = _Line(file, _text(options, message, context))
    context.stage = "write"
    try:
        return await in_thread(("alarm file", file), line.write)
    finally:
        line.give_up()
        if line.begun:
            context.on_sent()


def _text(options: Options, message: Message, context: NotifierContext) -> str:
    if options.format == "json":
        return json.dumps(as_json(message, context.operation), ensure_ascii=False, separators=(",", ":"))
    words = [moment(message.created_at), message.id, message.kind.value, f"severity {message.severity}", message.title]
    lines = (line.strip() for line in message.body.splitlines())
    return clean("  ".join([*words, *(line for line in lines if line)]), LONGEST)


KIND = NotifierKind(
    name="file",
    summary="a line at the end of a file",
    options=Options,
    send=send,
)
