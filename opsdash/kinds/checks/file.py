r"""Look at a file or folder: is it there, is it recent, is its size plausible, does it say what it should?

    backup: {kind: file, path: /srv/backup/latest.tar.gz, max_age: 26h, min_size: 100MB}
    no-lock: {kind: file, path: /srv/import/LOCK, exists: false}
    export: {kind: file, path: out/export.csv, contains: '^id;name;'}

`contains` is a regular expression (linear time, without look-around), searched in the first 64 KiB; `^` and
`$` are line ends. With an expectation on `json`, the file is parsed (1 MiB at most).

A folder on a mount whose server is gone hangs in this check alone, until the check's `timeout`.
"""

from __future__ import annotations

import functools
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field, field_validator, model_validator

from opsdash.kinds.base import CheckContext, CheckKind, CheckOptions, Sample
from opsdash.kinds.bodies import parse_json
from opsdash.kinds.fields import Duration, Size
from opsdash.kinds.offload import in_thread
from opsdash.model.status import Reason, Status
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

SEARCHED: Final = 64 * 1024
JSON_LIMIT: Final = 1024 * 1024
CLOCK_TOLERANCE: Final = 60.0
"""Seconds by which a file may seem to come from the future before its age means nothing."""


class Options(CheckOptions):
    path: str = Field(min_length=1)
    """The file or folder; a relative path starts at the workspace."""

    exists: bool = True
    """Whether it should be there. With `false`, its being there is `down`."""

    max_age: Duration | None = None
    """How long ago it may have been written last."""

    min_size: Size | None = None
    """Fewer bytes are `down` (`empty`)."""

    max_size: Size | None = None
    """More bytes are `down` (`too_large`)."""

    contains: str | None = None
    """Regular expression that must be found in its first 64 KiB."""

    @field_validator("contains")
    @classmethod
    def _is_an_expression(cls, contains: str | None) -> str | None:
        if contains is not None:
            _finder(contains)
        return contains

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        demands = (self.max_age, self.min_size, self.max_size, self.contains)
        if not self.exists and any(demand is not None for demand in demands):
            raise ValueError("with `exists: false` there is nothing whose age, size or content could be judged")
        if self.min_size is not None and self.max_size is not None and self.min_size > self.max_size:
            raise ValueError("`min_size` is larger than `max_size`")
        return self


@dataclass(frozen=True, slots=True)
class _Look:
    """What a look at the path found. `head` None: nobody asked for the content, or there is none (a folder)."""

    size: int
    modified: float
    regular: bool
    head: bytes | None = None
    json: tuple[Any, ...] = ()


async def run(options: Options, context: CheckContext) -> Sample:
    """One look, in a thread of its own; only one at a time at the same path."""
    path = context.workspace / options.path
    wants_json = context.wants_json and options.exists
    context.stage = "look"
    try:
        look = await in_thread(path, lambda: _look(path, options.contains is not None, wants_json))
    except (FileNotFoundError, NotADirectoryError):
        return _absent(options)
    except OSError as error:
        detail = f"{options.path} cannot be looked at: {error.strerror or error}"
        return Sample(status=Status.UNKNOWN, reason=Reason.PROBE_ERROR, detail=detail)
    return _judge(options, look, context.wall)


def _look(path: Path, wants_head: bool, wants_json: bool) -> _Look:
    about = path.stat()
    regular = stat.S_ISREG(about.st_mode)
    look = _Look(size=about.st_size, modified=about.st_mtime, regular=regular)
    if not regular or not (wants_head or wants_json):
        return look
    # Not blocking: the path may have become a pipe since, and opening one waits for its writer.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
        content = file.read(JSON_LIMIT + 1 if wants_json else SEARCHED)
    parsed = _parse(content) if wants_json and len(content) <= JSON_LIMIT else ()
    return _Look(look.size, look.modified, regular, content[:SEARCHED], parsed)


def _parse(content: bytes) -> tuple[Any, ...]:
    """The parsed value as a tuple of one; empty for what is no JSON."""
    try:
        return (parse_json(content),)
    except ValueError:
        return ()


def _absent(options: Options) -> Sample:
    if options.exists:
        return Sample(
            status=Status.DOWN,
            reason=Reason.MISSING,
            detail=f"{options.path} does not exist",
            values={"exists": False},
        )
    return Sample(status=Status.OK, detail=f"{options.path} does not exist", values={"exists": False})


def _judge(options: Options, look: _Look, wall: float) -> Sample:
    age = wall - look.modified
    values: dict[str, Any] = {
        "exists": True,
        "size": look.size,
        "age": max(0.0, age),
        "modified": look.modified,
    }
    if look.json:
        values["json"] = look.json[0]
    status, reason, detail = _verdict(options, look, age)
    return Sample(status=status, reason=reason, detail=detail, values=values)


def _verdict(options: Options, look: _Look, age: float) -> tuple[Status, Reason | None, str]:
    """Empty before stale before the rest, as everywhere."""
    if not options.exists:
        return Status.DOWN, Reason.EXPECTATION, f"{options.path} exists, and should not"
    if options.min_size is not None and look.size < options.min_size:
        return Status.DOWN, Reason.EMPTY, f"{look.size:,} bytes, at least {options.min_size:,} are expected"
    if options.max_age is not None:
        if age < -CLOCK_TOLERANCE:
            ahead = format_duration(-age)
            return Status.UNKNOWN, Reason.CLOCK, f"written {ahead} in the future, so its age says nothing"
        if age > options.max_age:
            allowed = format_duration(options.max_age)
            return Status.DOWN, Reason.STALE, f"written {format_duration(age)} ago, {allowed} are allowed"
    if options.max_size is not None and look.size > options.max_size:
        return (
            Status.DOWN,
            Reason.TOO_LARGE,
            f"{look.size:,} bytes, at most {options.max_size:,} are expected",
        )
    if options.contains is not None:
        if look.head is None:
            return (
                Status.UNKNOWN,
                Reason.PROBE_ERROR,
                f"{options.path} is no regular file to search",
            )
        if not _finder(options.contains)(look.head.decode("utf-8", "replace")):
            where = "its first 64 KiB" if look.size > SEARCHED else "it"
            return Status.DOWN, Reason.EXPECTATION, f"{options.contains!r} is not found in {where}"
    return Status.OK, None, f"{look.size:,} bytes, written {format_duration(age)} ago"


@functools.cache
def _finder(expression: str) -> Any:
    """A predicate "is found in this text", in linear time: Python's own `re` can be held up by a crafted file.

    The engine is that of the JSON Schema library (Rust's `regex`), whose keyword `pattern` searches.
    """
    import jsonschema_rs

    try:
        validator = jsonschema_rs.validator_for(
            {"pattern": f"(?m){expression}"}, pattern_options=jsonschema_rs.RegexOptions()
        )
    except jsonschema_rs.ValidationError:
        raise ValueError(
            f"{expression!r} is no regular expression in RE2's style (no look-around, no backreferences)"
        ) from None
    return validator.is_valid


KIND = CheckKind(
    name="file",
    summary="a file's existence, age, size and content",
    options=Options,
    run=run,
    sample={"exists": True, "size": 104_857_600, "age": 3600.0, "modified": 1_780_000_000.0, "json": {}},
)
