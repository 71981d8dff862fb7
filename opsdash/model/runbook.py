"""A runbook: a Markdown file that a person can follow at 3 a.m., and of which opsdash can execute parts.

A runbook is plain CommonMark. Every `###` heading under `## Steps` is a *step*. Fences are text to read, unless
their info string gives them exactly one *role*, as in ```` ```sh {check timeout=10s} ````: then they are
*blocks*, which opsdash executes when a person asks for it. Task list items are *ticks*, which a person sets.

A runbook is never lost: what is wrong with it is told as *findings*, and an error among them takes away only the
execution. All text in these values is safe to show: what is invisible or would command a terminal has been
replaced by its visible name (`⟨U+202E⟩`) and reported.

Lines are counted from 1 and lie within `Runbook.text`. Durations are seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date

DEFAULT_TIMEOUT = 300.0

MOST_STEPS = 500
"""Steps of a runbook that can be followed; nobody follows more, and a client has to show them all."""

LONGEST_TITLE = 120
"""Characters of a step's title that a run keeps."""


class Severity(StrEnum):
    """An error takes the execution from a runbook, a warning takes nothing."""

    ERROR = "error"
    WARNING = "warning"


class Role(StrEnum):
    """What a block is for. Only `run` and `undo` are meant to change anything."""

    RUN = "run"
    CHECK = "check"
    UNDO = "undo"
    SHOW = "show"


class Language(StrEnum):
    """What opsdash can execute. `opsdash` lines are commands of opsdash itself, on the same audited path as a key."""

    SH = "sh"
    BASH = "bash"
    PYTHON = "python"
    OPSDASH = "opsdash"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with a runbook: what, where, and what to do. `code` is stable, scripts may match on it.

    column, end_column: from where in the line up to where, in characters from 1, the last one excluded; 0: not known.
    """

    severity: Severity
    code: str
    message: str
    remedy: str
    runbook: str
    path: str
    line: int
    column: int = 0
    end_column: int = 0

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.severity.value}: {self.message} [{self.code}]; {self.remedy}"


@dataclass(frozen=True, slots=True)
class Param:
    """A declared parameter: asked for when a block that uses it is first executed, and given to it as a variable.

    pattern: a regular expression that the whole value has to match.  secret: where the value comes from instead, each
    time anew: `env` (the variable of this name), `env:NAME`, `file:PATH` or `cmd:PROGRAM ARGS`. It is never stored.
    """

    name: str
    line: int
    default: str | None = None
    ask: str | None = None
    secret: str | None = None
    pattern: str | None = None

    @property
    def reference(self) -> str:
        """How the workspace's files would write the secret that it is."""
        where = self.secret or ""
        return f"${{{self.name}}}" if where == "env" else f"${{{where.removeprefix('env:')}}}"


@dataclass(frozen=True, slots=True)
class Command:
    """One line of an `opsdash` block: a verb and its arguments."""

    argv: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Block:
    """A fence with a role. `line` is its opening fence, `end_line` its closing one, the code lies between.

    timeout: of one execution; there is always one.  expect: a regular expression searched in the output, in
    multi-line mode.  rc: the exit status that means success.  every, for_: try again every so often, for so long,
    until it succeeds.  host: where, if not here.  as_: the name under which the output is kept.
    danger: asks for the component's name.  once: never repeated without asking.
    commands: of an `opsdash` block, else empty.
    """

    role: Role
    language: Language
    code: str
    line: int
    end_line: int
    timeout: float = DEFAULT_TIMEOUT
    expect: str | None = None
    rc: int = 0
    every: float | None = None
    for_: float | None = None
    host: str | None = None
    as_: str | None = None
    cwd: str | None = None
    danger: bool = False
    once: bool = False
    commands: tuple[Command, ...] = ()


@dataclass(frozen=True, slots=True)
class Tick:
    """A task list item: something that a person does and sets. It starts unset, whatever the file says."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Link:
    """A link as it stands in the file: `#anchor`, `other.md#anchor`, or an address."""

    target: str
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `id` is the anchor that GitHub gives its heading, so links and bookmarks agree everywhere.

    text: its Markdown, heading included.  expect, who, wait: what the author wrote after these labels.
    time, wait_for: the durations written after **Time:** and **Wait:**, None where there is no plain duration.
    if_fails: the target of the link after **If this fails:**.  danger: a caution or warning, or a danger block.
    then: where it goes on, if not at the next step: the target of the link after **Then:**, "" where it is over.
    """

    id: str
    title: str
    line: int
    end_line: int
    text: str
    sha256: str
    ticks: tuple[Tick, ...] = ()
    blocks: tuple[Block, ...] = ()
    expect: str | None = None
    time: float | None = None
    who: str | None = None
    wait: str | None = None
    wait_for: float | None = None
    if_fails: str | None = None
    danger: bool = False
    then: str | None = None


@dataclass(frozen=True, slots=True)
class Runbook:
    """A runbook as it was read.

    text: the source with line ends normalised and invisible characters made visible.  sha256: of the bytes of
    the file, as `sha256sum` prints it; a run pins it.  executable: it has steps and its file has no error.
    anchors: what a link may point to.  reviewed, review_every: when somebody last read it, and how often one should.
    """

    id: str
    title: str
    path: str
    text: str
    sha256: str
    executable: bool = False
    component: str | None = None
    failure_modes: tuple[str, ...] = ()
    owner: str | None = None
    reviewed: date | None = None
    review_every: float | None = None
    rto: float | None = None
    params: tuple[Param, ...] = ()
    steps: tuple[Step, ...] = ()
    anchors: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()

    def step(self, step_id: str) -> Step | None:
        """The step of that id."""
        return next((step for step in self.steps if step.id == step_id), None)

    @property
    def pins(self) -> tuple[tuple[str, str], ...]:
        """What a run pins: id and hash of each step, in order."""
        return tuple((step.id, step.sha256) for step in self.steps)

    @property
    def titles(self) -> tuple[str, ...]:
        """What its steps are called, in order; cut to what a line of a timeline can hold."""
        return tuple(step.title[:LONGEST_TITLE] for step in self.steps)

    @property
    def captures(self) -> frozenset[str]:
        """Names under which the output of blocks is kept."""
        return frozenset(block.as_ for step in self.steps for block in step.blocks if block.as_)


_SHELL_NAME = re.compile(r"\$\{?#?([A-Za-z_][A-Za-z0-9_]*)")
_PYTHON_NAME = re.compile(r"""["']([A-Za-z_][A-Za-z0-9_]*)["']""")


def used_names(block: Block) -> frozenset[str]:
    """Names of variables that a block's code mentions: `$name`, `${name}`, and in Python any quoted name.

    One name too many costs a question; one too few would run a command with an empty value.
    """
    if block.language is Language.OPSDASH:
        return frozenset()
    names = _PYTHON_NAME if block.language is Language.PYTHON else _SHELL_NAME
    return frozenset(names.findall(block.code))
