"""References to the environment and to secrets, and the mask that hides what they gave.

    ${NAME}              a variable; unset or empty is a problem, never an empty string
    ${NAME:-default}     the same with a default, which may be empty
    ${file:PATH}         the content of a file, relative to the workspace
    ${cmd:PROGRAM ARGS}  what a program prints; an argument list, never a shell
    $${…}                the characters `${…}`

They are replaced once, in options that are about to be used, and nowhere else: definitions, plans and the
journal keep the reference. What a value contains is never looked at again, so a secret with braces in it is
safe.

**What is masked.** All that `${file:}` and `${cmd:}` give, and every variable, except one that has a
default in the files and no name like a secret's: `${MAILER_PORT:-8025}` is a setting, and masking `8025`
everywhere would hide half of the screen. Masking is by value, wherever the value appears, also in the forms
in which programs repeat it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, urlsplit

from opsdash.errors import ConfigError
from opsdash.model.text import CUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from opsdash.config.problems import KeyPath

MASK = "***"
MIN_LENGTH = 6
"""Shorter values are not masked: they would be found in everything."""

MIN_ENCODED = 8
"""Shorter pieces of base64 are not masked, for the same reason."""

MAX_BYTES = 64 * 1024
COMMAND_SECONDS = 10.0

_REFERENCE = re.compile(r"\$?\$\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_NAME = re.compile(
    r"TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|APIKEY|API_KEY|PRIVATE|_KEY\b|_PAT\b|AUTH", re.IGNORECASE
)


class ReferenceProblem(ConfigError):  # noqa: N818 - it becomes a Problem
    """A reference that gives nothing. The message never contains a value."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.message = message
        self.hint = hint


class HiddenVariable(ReferenceProblem):
    """A variable that the files may well set, where a problem of their own hides it."""


class Masker:
    """Hides secret values in any text that leaves opsdash."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values: set[str] = set()
        self._longest_first: list[str] = []
        self._pattern: re.Pattern[str] | None = None
        self.add(*values)

    def add(self, *values: str) -> None:
        """Hide these values from now on, in every usual spelling. Values that are too short are left
        alone.
        """
        new = {value for value in values if len(value) >= MIN_LENGTH} - self._values
        if not new:
            return
        self._values |= new
        spellings = {spelling for value in self._values for spelling in _spellings(value)}
        self._longest_first = sorted(spellings, key=lambda each: (-len(each), each))
        self._pattern = re.compile("|".join(re.escape(each) for each in self._longest_first))

    def mask(self, text: str) -> str:
        """`text` with `***` in place of every secret, also of one that was cut short with an ellipsis."""
        if self._pattern is None:
            return text
        masked = self._pattern.sub(MASK, text)
        return self._mask_cut(masked) if CUT in masked else masked

    def _mask_cut(self, text: str) -> str:
        *parts, rest = text.split(CUT)
        return "".join(self._without_start(part) + CUT for part in parts) + rest

    def _without_start(self, part: str) -> str:
        """`part` without the beginning of a secret at its end."""
        for spelling in self._longest_first:
            for length in range(min(len(spelling) - 1, len(part)), MIN_LENGTH - 1, -1):
                if part.endswith(spelling[:length]):
                    return part[:-length] + MASK
        return part

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Masker({len(self._values)} values)"


def _spellings(value: str) -> Iterator[str]:
    """A value as programs repeat it: plain, stripped, escaped, in an address, in base64, line by line."""
    yield value
    escaped = (repr(value), json.dumps(value), json.dumps(value, ensure_ascii=False))
    for spelling in (
        value.strip(),
        *(text[1:-1] for text in escaped),
        quote(value, safe=""),
        quote_plus(value),
    ):
        if len(spelling) >= MIN_LENGTH:
            yield spelling
    lines = value.splitlines()
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= 2 * MIN_LENGTH)
    yield from _in_base64(value.encode("utf-8", "surrogateescape"))


def _in_base64(data: bytes) -> Iterator[str]:
    """The characters that `data` always leaves in base64, at each of three offsets: `user:SECRET` in a
    header.
    """
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + data).decode()
        first = (offset * 8 + 5) // 6
        last = (offset + len(data)) * 8 // 6
        piece = encoded[first:last]
        if len(piece) >= MIN_ENCODED:
            yield piece


class References:
    """Resolves references against one environment. A file or program is read once, however often it is named.

    variables: values for `${NAME}` where the environment has none (`vars` of opsdash.yaml). hidden: why a variable
    may be missing among them although the files set it, None if nothing speaks for that. short: references whose value
    is too short to be masked.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        workspace: Path,
        masker: Masker | None = None,
        variables: Mapping[str, str] | None = None,
        hidden: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._hidden = hidden
        self.masker = masker if masker is not None else Masker()
        self.short: dict[str, None] = {}
        self._environment = environment
        self.variables = variables or {}
        self._workspace = workspace
        self._read: dict[str, str | ReferenceProblem] = {}

    def resolve(self, value: Any) -> Any:
        """`value` with every reference in it replaced, in mappings and lists too. Raises ReferenceProblem."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            return {key: self.resolve(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.resolve(each) for each in value]
        return value

    def problems(self, value: Any) -> Iterator[tuple[KeyPath, ReferenceProblem]]:
        """All that is wrong with the references in `value`, with the place in it."""
        if isinstance(value, str):
            for match in _REFERENCE.finditer(value):
                try:
                    self._replacement(match)
                except ReferenceProblem as problem:
                    yield (), problem
        elif isinstance(value, Mapping | list | tuple):
            for key, each in value.items() if isinstance(value, Mapping) else enumerate(value):
                for path, found in self.problems(each):
                    yield (key, *path), found

    def _text(self, text: str) -> str:
        return _REFERENCE.sub(self._replacement, text) if "${" in text else text

    def _replacement(self, match: re.Match[str]) -> str:
        if match[0].startswith("$$"):
            return match[0][1:]
        return self._value(match[1])

    def _value(self, reference: str) -> str:
        if reference.startswith("file:"):
            return self._secret(reference, self._file)
        if reference.startswith("cmd:"):
            return self._secret(reference, self._command)
        name, has_default, default = reference.partition(":-")
        if not _NAME.fullmatch(name):
            raise ReferenceProblem(
                f"${{{reference:.60}}} is no reference",
                "write ${NAME}, ${NAME:-default}, ${file:PATH}, ${cmd:PROGRAM ARGS}, or $${…} for the characters",
            )
        return self._variable(name, default if has_default else None)

    def _variable(self, name: str, default: str | None) -> str:
        setting = self.variables.get(name, default)
        value = self._environment.get(name) or ""
        if not value and setting is None:
            hidden = self._hidden(name)
            if hidden is not None:
                raise HiddenVariable(hidden)
            state = "is empty" if name in self._environment else "is not set"
            raise ReferenceProblem(
                f"the variable {name} {state}", f"set it, or give it a default: ${{{name}:-default}}"
            )
        if not value:
            return setting or ""
        if not setting or _SECRET_NAME.search(name):
            self._hide(f"${{{name}}}", value)
        else:
            self._hide_password(value)
        return value

    def _hide_password(self, address: str) -> None:
        """A setting may still be an address with a password in it."""
        if "@" in address and "://" in address:
            try:
                password = urlsplit(address).password
            except ValueError:
                password = None
            if password:
                self.masker.add(password)

    def _hide(self, reference: str, value: str) -> None:
        if len(value) < MIN_LENGTH:
            self.short[reference] = None
        self.masker.add(value)

    def _secret(self, reference: str, read: Callable[[str], str]) -> str:
        """The value of a file or program, read once."""
        if reference not in self._read:
            try:
                value = read(reference.partition(":")[2].strip())
                self._hide(f"${{{reference}}}", value)
                self._read[reference] = value
            except ReferenceProblem as problem:
                self._read[reference] = problem
        found = self._read[reference]
        if isinstance(found, ReferenceProblem):
            raise found
        return found

    def _file(self, path: str) -> str:
        where = self._workspace / path
        try:
            with where.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "the path is not valid"
            raise ReferenceProblem(f"the secret file {path!r} cannot be read: {reason}") from None
        return _as_value(data, f"the secret file {path!r}")

    def _command(self, line: str) -> str:
        try:
            argv = shlex.split(line)
        except ValueError as error:
            raise ReferenceProblem(f"the command {line!r} cannot be split into words: {error}") from None
        if not argv:
            raise ReferenceProblem("a command is missing", "write ${cmd:PROGRAM ARGS}")
        status, data = _output(argv, self._workspace, self._environment)
        if status != 0:
            raise ReferenceProblem(f"the command {argv[0]!r} ended with status {status}", "run it by hand to see why")
        return _as_value(data, f"the command {argv[0]!r}")


def _as_value(data: bytes, what: str) -> str:
    if len(data) > MAX_BYTES:
        raise ReferenceProblem(f"{what} gives more than {MAX_BYTES // 1024} KiB; that is no secret")
    try:
        text = data.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ReferenceProblem(f"{what} gives no UTF-8 text") from None
    if not text:
        raise ReferenceProblem(f"{what} gives nothing")
    return text


def _output(argv: list[str], workspace: Path, environment: Mapping[str, str]) -> tuple[int, bytes]:
    """What a program prints, and its exit status. It and its children are ended after ten seconds."""
    try:
        process = subprocess.Popen(
            argv,
            cwd=workspace,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ReferenceProblem(f"the command {argv[0]!r} cannot be run: {reason}") from None
    try:
        data, _ = process.communicate(timeout=COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        raise ReferenceProblem(f"the command {argv[0]!r} took longer than {COMMAND_SECONDS:.0f} s") from None
    finally:
        _end(process)
    return process.returncode, data


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the process group: a grandchild may hold the pipe long after its parent is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def fill_settings(value: Any, environment: Mapping[str, str], variables: Mapping[str, str], masker: Masker) -> Any:
    """`value` with the variables in it replaced that are settings, such as a port; secrets stay references.

    What is a setting is said above. Nothing is read and no program runs.
    """

    def replacement(match: re.Match[str]) -> str:
        name, has_default, default = match[1].partition(":-")
        setting = variables.get(name, default if has_default else None)
        if match[0].startswith("$$") or not setting or _SECRET_NAME.search(name):
            return match[0]
        found = environment.get(name) or setting
        return match[0] if "${" in found or masker.mask(found) != found else found

    if isinstance(value, str):
        return _REFERENCE.sub(replacement, value) if "${" in value else value
    if isinstance(value, Mapping):
        return {key: fill_settings(each, environment, variables, masker) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [fill_settings(each, environment, variables, masker) for each in value]
    return value


def resolve_secrets(
    raw: Mapping[str, Any],
    environment: Mapping[str, str],
    workspace: Path,
    *,
    variables: Mapping[str, str] | None = None,
    masker: Masker | None = None,
) -> dict[str, Any]:
    """Options with their references replaced, for use at once. Raises ReferenceProblem, which contains no
    value.

    It reads files and runs programs, for up to ten seconds each: not for an event loop. `Loaded.resolve`
    calls it with the `vars` of opsdash.yaml and with the masker that has to learn the values.
    """
    references = References(environment, workspace, masker, variables)
    resolved: dict[str, Any] = references.resolve(raw)
    return resolved
