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

import contextlib
import fcntl
import os
import secrets
import shlex
import stat
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field, model_validator

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
    from collections.abc import Iterator, Mapping
    from typing import Self

    from opsdash.kinds.scalars import Scalar

LARGEST: Final = 1024 * 1024
LOCK_PATIENCE: Final = 5.0
_ASK_EVERY: Final = 0.02
_NEW_FILE_MODE: Final = 0o644


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
    change = _Change(
        place=_Place.of(options, context.workspace),
        value=options.value,
        stamp=options.stamp,
        action_id=context.action_id,
        expected=context.expected,
        patience=min(LOCK_PATIENCE, context.deadline / 2),
    )
    try:
        return await in_thread(("pointer", change.place.file), change.carry_out)
    finally:
        if not change.abandon():
            context.on_sent()


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
            return self.value_in(self.content())
        try:
            return os.readlink(self.file)  # noqa: PTH115 - a Path would not keep the text as it is
        except FileNotFoundError:
            return None
        except OSError:
            if self.file.exists():
                raise ValueError("is no symbolic link") from None
            raise

    def content(self) -> str:
        """The file's text, empty when it does not exist."""
        try:
            opened = os.open(self.file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return ""
        with open(opened, "rb") as file:  # noqa: PTH123 - of a descriptor
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise ValueError("is no regular file")
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError("is larger than 1 MiB, so it is no pointer")
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError("is no UTF-8 text") from None

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
    except ValueError as error:
        return Reading(value=None, detail=f"{place.shown} {error}")
    except OSError as error:
        return Reading(value=None, detail=f"{place.shown}: {error.strerror or error}")
    if value is None:
        where = f"{place.key} in {place.shown}" if place.key else place.shown
        return Reading(value=None, detail=f"{where} is empty or does not exist")
    return Reading(value=value)


class _Change:
    """One compare-and-swap, which is either committed by its thread or abandoned by the one who waited for it."""

    def __init__(
        self,
        *,
        place: _Place,
        value: Scalar,
        stamp: str | None,
        action_id: str,
        expected: str | None,
        patience: float,
    ) -> None:
        self.place = place
        self._decision = threading.Lock()
        self._abandoned = False
        self._committed = False
        self._value = value
        self._wanted = scalar_text(value)
        self._stamp = stamp
        self._action_id = action_id
        self._expected = expected
        self._patience = patience

    def carry_out(self) -> ActionResult:
        place = self.place.real()
        try:
            with _locked(place.file.parent, self._patience) as folder:
                return self._swap(place, folder)
        except ValueError as error:
            return ActionResult(Applied.REFUSED, f"{place.shown} {error}; it was left as it is")
        except OSError as error:
            return ActionResult(Applied.NOT_STARTED, f"{place.shown}: {error.strerror or error}")

    def abandon(self) -> bool:
        """Whether it was stopped before the file changed: from now on it will not change."""
        with self._decision:
            self._abandoned = not self._committed
            return self._abandoned

    def _commit(self) -> None:
        with self._decision:
            if self._abandoned:
                raise TimeoutError("given up before it was written")
            self._committed = True

    def _swap(self, place: _Place, folder: int) -> ActionResult:
        """Under the lock. Raises ValueError or OSError as long as nothing has changed."""
        _sweep(place.file)
        present = place.present()
        if present == self._wanted:
            return ActionResult(Applied.APPLIED, f"{place.shown} says {present} already", self._prior(place, present))
        if self._expected is not None and present != self._expected:
            says = "says nothing" if present is None else f"says {present}"
            raise ValueError(f"{says}, where {self._expected} was expected")
        beside = _beside(place.file)
        try:
            self._write(place, beside)
            self._commit()
            beside.replace(place.file)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        return ActionResult(Applied.APPLIED, f"{place.shown} says {self._wanted}{_flushed(folder)}", present)

    def _prior(self, place: _Place, present: str) -> str | None:
        """What was there before. If it was this very action that wrote the value, what it was to replace."""
        if self._stamp is None or place.value_in(place.content(), self._stamp) != self._action_id:
            return present
        return self._expected

    def _write(self, place: _Place, beside: Path) -> None:
        if place.format is Format.SYMLINK:
            _refuse_dangling(place.file, self._wanted)
            beside.symlink_to(self._wanted)
            return
        content = place.edited(place.content(), place.key, self._value)
        if self._stamp is not None:
            content = place.edited(content, self._stamp, self._action_id)
        _write_like(place.file, beside, content.encode("utf-8"))


@contextlib.contextmanager
def _locked(folder: Path, patience: float) -> Iterator[int]:
    """The folder, locked. The file itself cannot be: renaming would leave each with a lock on a file of his own."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        until = time.monotonic() + patience
        while not _try_lock(opened):
            if time.monotonic() > until:
                raise TimeoutError(f"another process has had its folder locked for {patience:g} s")
            threading.Event().wait(_ASK_EVERY)
        yield opened
    finally:
        os.close(opened)


def _try_lock(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _beside(file: Path) -> Path:
    return file.with_name(f".{file.name}.opsdash-{secrets.token_hex(4)}")


def _sweep(file: Path) -> None:
    """Remove what an opsdash that died left behind. We hold the lock, so nobody is writing one."""
    prefix = f".{file.name}.opsdash-"
    with contextlib.suppress(OSError), os.scandir(file.parent) as entries:
        for entry in entries:
            if entry.name.startswith(prefix):
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)  # noqa: PTH108 - a DirEntry


def _write_like(model: Path, beside: Path, content: bytes) -> None:
    """Write `content`, with the mode and, where permitted, the owner of `model`, through to the disk."""
    opened = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(opened, "wb") as file:  # noqa: PTH123 - of a descriptor
        file.write(content)
        file.flush()
        try:
            about = model.stat()
        except FileNotFoundError:
            os.fchmod(opened, _NEW_FILE_MODE)
        else:
            _give_to(opened, about)
            os.fchmod(opened, stat.S_IMODE(about.st_mode))
        os.fsync(opened)


def _give_to(opened: int, about: os.stat_result) -> None:
    """Owner and group need root, the group alone may be one of ours; what is not permitted stays ours."""
    for owner in (about.st_uid, -1):
        with contextlib.suppress(PermissionError):
            os.fchown(opened, owner, about.st_gid)
            return


def _flushed(folder: int) -> str:
    """Words for a value that is in force, but might be lost with the power."""
    try:
        os.fsync(folder)
    except OSError as error:
        return f" (its folder could not be flushed to the disk: {error.strerror})"
    return ""


def _refuse_dangling(link: Path, target: str) -> None:
    if not (link.parent / target).exists():
        raise ValueError(f"would point to {target}, which does not exist")


def _preflight(options: Options, place: _Place) -> Preflight:
    try:
        detail = _try_out(options, place.real())
    except ValueError as error:
        return Preflight(passed=False, detail=f"{place.shown} {error}")
    except OSError as error:
        return Preflight(passed=False, detail=f"{place.shown}: {error.strerror or error}")
    return Preflight(passed=True, detail=detail)


def _try_out(options: Options, place: _Place) -> str:
    folder = place.file.parent
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _try_lock(opened)  # raises where the file system has no locks; whether it is free now is no matter
    finally:
        os.close(opened)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError("is in a folder that cannot be written to")
    if _is_mounted(place.file):
        raise ValueError("is mounted by itself (as containers do), so no other file can take its place")
    present = place.present()
    if place.format is Format.SYMLINK:
        _refuse_dangling(place.file, scalar_text(options.value))
    else:
        content = place.edited(place.content(), place.key, options.value)
        if options.stamp is not None:
            place.edited(content, options.stamp, "preflight")
    return f"{place.shown} can be written; it says {present or 'nothing yet'}"


def _is_mounted(file: Path) -> bool:
    try:
        if file.lstat().st_dev != file.parent.stat().st_dev:
            return True
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    points = (line.split()[4] for line in mounts.splitlines() if len(line.split()) > 4)
    return str(file) in {point.replace("\\040", " ") for point in points}


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
