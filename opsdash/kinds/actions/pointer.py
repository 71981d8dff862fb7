"""A small file says who serves: a line, a key of a JSON or .env file, or where a symbolic link points.

    read:   {kind: pointer, file: /srv/mailer/provider.json, key: provider}
    action: {kind: pointer, file: /srv/mailer/provider.json, key: provider, value: "{to.as}", stamp: switched_by}

The new file is written beside the old one, flushed to the disk, and renamed into place: a reader sees the old value
or the new one, never half of one and never no file, whenever opsdash or the machine dies. Everything else in the
file stays as it was, its mode and (where permitted) owner too. Under a lock of the folder the present value is
compared with the one that the plan was made for; if it is another one, nothing is written.

What cannot be understood is never overwritten: a file that is no JSON, a text of several lines, a link's place
taken by a folder. A program that reads its file only when it starts needs a reload besides (kind `command`).
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field, model_validator

from opsdash.kinds.atomic import Change, carry_out, check_place, content_of, trouble, write_like
from opsdash.kinds.base import (
    ActionContext,
    ActionKind,
    ActionResult,
    Applied,
    Preflight,
    Reading,
    StrictOptions,
)
from opsdash.kinds.edits import (
    ENV_NAME,
    edit_env,
    edit_json,
    edit_text,
    read_env,
    read_json,
    read_text,
)
from opsdash.kinds.offload import in_thread
from opsdash.kinds.paths import parse_path
from opsdash.kinds.scalars import OneLine, scalar_text
from opsdash.kinds.shellwords import shell_command, shell_word
from opsdash.model.operation import Abilities

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from opsdash.kinds.atomic import Put
    from opsdash.kinds.scalars import Scalar


class Format(StrEnum):
    """How the file holds its value."""

    TEXT = "text"
    JSON = "json"
    ENV = "env"
    SYMLINK = "symlink"


class ReadOptions(StrictOptions):
    file: str = Field(min_length=1)
    """The file; a relative path starts at the workspace."""

    format: Format | None = None
    """`text`, `json`, `env` or `symlink`. By default what the name ends in says it (.json, .env), else `text`."""

    key: str | None = None
    """Where in the file: a dotted path in JSON, a name in .env; not for `text` and `symlink`."""

    @model_validator(mode="after")
    def _key_fits_the_format(self) -> Self:
        _check_key("key", self.key, self.effective_format, needed=True)
        return self

    @property
    def effective_format(self) -> Format:
        """The format, as given or as the file's name says."""
        if self.format is not None:
            return self.format
        name = self.file.rpartition("/")[2]
        if name.endswith(".json"):
            return Format.JSON
        return Format.ENV if name.endswith(".env") or name.startswith(".env.") else Format.TEXT


class Options(ReadOptions):
    value: OneLine
    """What to put there."""

    stamp: str | None = None
    """Another key of the same file (JSON, .env) that gets the id of the action, so that it is known whose it was."""

    @model_validator(mode="after")
    def _stamp_fits_the_format(self) -> Self:
        if self.stamp is not None:
            _check_key("stamp", self.stamp, self.effective_format, needed=False)
            if self.stamp == self.key:
                raise ValueError("`stamp` and `key` name the same place")
        return self


def _check_key(name: str, key: str | None, kind: Format, *, needed: bool) -> None:
    if kind in {Format.TEXT, Format.SYMLINK}:
        if key is not None:
            raise ValueError(f"`{name}` belongs to json and env; the file is read as {kind.value}")
    elif key is None:
        if needed:
            raise ValueError(f"the file is read as {kind.value}, so say which `{name}` is meant")
    elif kind is Format.ENV:
        if not ENV_NAME.fullmatch(key):
            raise ValueError(f"{key!r} is no possible name of a variable")
    elif not all(isinstance(step, str) for step in parse_path(key)):
        raise ValueError(f"{key!r} leads through a list; a pointer is a key of an object")


async def apply(options: Options, context: ActionContext) -> ActionResult:
    """Compare and swap. When cancelled, what its thread has not renamed yet is not renamed any more."""
    context.stage = "write"
    place = _Place.of(options, context.workspace)
    swap = _Swap(place, options.value, options.stamp, context.action_id, context.expected)
    return await carry_out(swap.carry_out, key=("pointer", place.file), shown=place.shown, context=context)


async def read(options: ReadOptions, context: ActionContext) -> Reading:
    context.stage = "read"
    place = _Place.of(options, context.workspace)
    return await in_thread(("pointer", place.file), lambda: _read(place))


async def preflight(options: Options, context: ActionContext) -> Preflight:
    """Everything but the renaming: the folder can be written and locked, the new content can be made."""
    context.stage = "preflight"
    place = _Place.of(options, context.workspace)
    return await in_thread(("pointer", place.file), lambda: _preflight(options, place))


# --- in the thread -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    """A value in a file. `shown` is the file as the author wrote it."""

    file: Path
    shown: str
    format: Format
    key: str | None

    @classmethod
    def of(cls, options: ReadOptions, workspace: Path) -> _Place:
        return cls(workspace / options.file, options.file, options.effective_format, options.key)

    def real(self) -> _Place:
        """The same with links followed: renaming over a link would replace the link. A link's own place stays."""
        if self.format is Format.SYMLINK:
            return self
        return _Place(Path(os.path.realpath(self.file)), self.shown, self.format, self.key)

    def present(self) -> str | None:
        """The value in force, None when there is none yet. Raises OSError, or ValueError for what is no pointer."""
        if self.format is not Format.SYMLINK:
            return self.value_in(content_of(self.file))
        try:
            return os.readlink(self.file)  # noqa: PTH115 - a Path would not keep the text as it is
        except FileNotFoundError:
            return None
        except OSError:
            if self.file.exists():
                raise ValueError("is no symbolic link") from None
            raise

    def value_in(self, content: str, key: str | None = None) -> str | None:
        key = key or self.key or ""
        if self.format is Format.JSON:
            return read_json(content, _steps(key))
        return read_env(content, key) if self.format is Format.ENV else read_text(content)

    def edited(self, content: str, key: str | None, value: Scalar) -> str:
        if self.format is Format.JSON:
            return edit_json(content, _steps(key or ""), value)
        if self.format is Format.ENV:
            return edit_env(content, key or "", scalar_text(value))
        return edit_text(content, scalar_text(value))


def _steps(key: str) -> list[str]:
    return [str(step) for step in parse_path(key)]


def _read(place: _Place) -> Reading:
    try:
        value = place.present()
    except (ValueError, OSError) as error:
        return Reading(value=None, detail=trouble(place.shown, error))
    if value is None:
        where = f"{place.key} in {place.shown}" if place.key else place.shown
        return Reading(value=None, detail=f"{where} is empty or does not exist")
    return Reading(value=value)


@dataclass(frozen=True, slots=True)
class _Swap:
    """One compare-and-swap. It raises ValueError or OSError as long as nothing has changed."""

    place: _Place
    value: Scalar
    stamp: str | None
    action_id: str
    expected: str | None

    def carry_out(self, change: Change) -> ActionResult:
        place = self.place.real()
        with change.locked(place.file) as put:
            return self._swap(place, put)

    def _swap(self, place: _Place, put: Put) -> ActionResult:
        present = place.present()
        wanted = scalar_text(self.value)
        if present == wanted:
            return ActionResult(Applied.APPLIED, f"{place.shown} says {present} already", self._prior(place, present))
        if self.expected is not None and present != self.expected:
            says = "says nothing" if present is None else f"says {present}"
            raise ValueError(f"{says}, where {self.expected} was expected")
        remark = put(lambda beside: self._write(place, beside))
        return ActionResult(Applied.APPLIED, f"{place.shown} says {wanted}{remark}", present)

    def _prior(self, place: _Place, present: str) -> str | None:
        """What was there before. If it was this very action that wrote the value, what it was to replace."""
        if self.stamp is None or place.value_in(content_of(place.file), self.stamp) != self.action_id:
            return present
        return self.expected

    def _write(self, place: _Place, beside: Path) -> None:
        if place.format is Format.SYMLINK:
            _refuse_dangling(place.file, scalar_text(self.value))
            beside.symlink_to(scalar_text(self.value))
            return
        content = place.edited(content_of(place.file), place.key, self.value)
        if self.stamp is not None:
            content = place.edited(content, self.stamp, self.action_id)
        write_like(place.file, beside, content)


def _refuse_dangling(link: Path, target: str) -> None:
    if not (link.parent / target).exists():
        raise ValueError(f"would point to {target}, which does not exist")


def _preflight(options: Options, place: _Place) -> Preflight:
    try:
        return Preflight(passed=True, detail=_try_out(options, place.real()))
    except (ValueError, OSError) as error:
        return Preflight(passed=False, detail=trouble(place.shown, error))


def _try_out(options: Options, place: _Place) -> str:
    check_place(place.file)
    present = place.present()
    if place.format is Format.SYMLINK:
        _refuse_dangling(place.file, scalar_text(options.value))
    else:
        content = place.edited(content_of(place.file), place.key, options.value)
        if options.stamp is not None:
            place.edited(content, options.stamp, "preflight")
    return f"{place.shown} can be written; it says {present or 'nothing yet'}"


# --- for people --------------------------------------------------------------------------------------------------

_SET_JSON: Final = (
    "import json, os, shutil, sys; file, value, *path, last = sys.argv[1:]; top = node = json.load(open(file)); "
    "[node := node[key] for key in path]; node[last] = {value}; "
    'json.dump(top, open(file + ".new", "w"), indent=2); shutil.copymode(file, file + ".new"); '
    'os.replace(file + ".new", file)'
)


def manual(raw: Mapping[str, Any]) -> str:
    """The commands, to be given in the workspace's folder."""
    place = ReadOptions.model_validate({key: raw[key] for key in ("file", "format", "key") if key in raw})
    value = raw["value"]
    text = scalar_text(value)
    file, beside = shell_word(place.file), shell_word(f"{place.file}.new")
    match place.effective_format:
        case Format.SYMLINK:
            return shell_command(["ln", "-sfn", text, place.file])
        case Format.JSON:
            program = _SET_JSON.replace("{value}", "value" if isinstance(value, str) else "json.loads(value)")
            words = shell_command([place.file, text, *_steps(place.key or "")])
            return f"python3 -c {shlex.quote(program)} {words}"
        case Format.ENV:
            pattern = shlex.quote(rf"^\(export \)*{place.key}=")
            line = shell_word(f"{place.key}={_env_text(text)}")
            return (
                f"cp -p {file} {beside} && {{ grep -v {pattern} {file}; printf '%s\\n' {line}; }} > {beside} "
                f"&& mv {beside} {file}"
            )
        case Format.TEXT:
            return f"cp -p {file} {beside} && printf '%s\\n' {shell_word(text)} > {beside} && mv {beside} {file}"


def _env_text(text: str) -> str:
    """As the action would write it; a reference stays bare, so that the shell fills it in."""
    return text if "${" in text else edit_env("", "x", text).removeprefix("x=").rstrip("\n")


def undo(raw: Mapping[str, Any], prior: str) -> Mapping[str, Any]:
    return {**raw, "value": prior}


KIND = ActionKind(
    name="pointer",
    summary="a line, a key of a JSON or .env file, or a symbolic link, changed atomically",
    options=Options,
    identity=("file", "key"),
    abilities=Abilities(cas=True, idempotent=True, read_back=True, restores=True),
    apply=apply,
    preflight=preflight,
    manual=manual,
    read_options=ReadOptions,
    read=read,
    undo=undo,
)
