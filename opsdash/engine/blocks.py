"""Executing a block of a runbook: a program of its own, or commands of opsdash on the same audited path as a key.

A program gets the run's parameters as variables, its input is empty, and it ends by itself, at its deadline, or when
somebody cancels it; then its whole process group is ended. On another host it runs behind `ssh`, which asks nobody for
a password; the script with its variables goes through the pipe, never into the command line.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opsdash.engine.gated import GatedProgram
from opsdash.engine.output import Output
from opsdash.engine.poller import shown
from opsdash.kinds.processes import run_program, why_missing
from opsdash.model.empty import nothing
from opsdash.model.run import BlockResult, BlockState
from opsdash.model.runbook import Language, Role
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from opsdash.kinds.processes import Finished
    from opsdash.model.effects import RunBlock
    from opsdash.model.runbook import Block

DETAIL_LIMIT = 300
CAPTURED_LIMIT = 4096
DEFAULT_PAUSE = 2.0

END_WITHIN = 5.0
"""Seconds after its own time limit in which a program is ended and what it said is read."""

SSH = ("ssh", "-oBatchMode=yes", "-oConnectTimeout=10")
SSH_BROKE = 255
"""What ssh ends with when it is ssh that failed (ssh(1), EXIT STATUS)."""

Command = Callable[[tuple[str, ...], str], Awaitable[tuple[bool | None, str]]]
"""Carries out one `opsdash` command for somebody; answers whether it worked (None: unknown) and what it said."""

_STATES = {True: BlockState.PASSED, False: BlockState.FAILED, None: BlockState.UNKNOWN}


def begin_at_once(_pid: int, _identity: str) -> None:
    """For a program whose number need not be written down first."""


@dataclass(slots=True)
class Execution:
    """One execution of a block, while it goes on.

    variables: the run's parameters.  up: is told of the first program, which then waits for `release`; without it
    nothing waits.  output: what has been said so far.
    """

    effect: RunBlock
    block: Block
    mask: Callable[[str], str]
    variables: Mapping[str, str] = field(default_factory=nothing)
    up: Callable[[int, str], None] | None = None
    output: Output = field(init=False)
    captured: Output | None = None
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.output = Output(self.mask)

    def result(self, passed: bool | None, detail: str) -> BlockResult:
        """What became of it."""
        return BlockResult(
            step=self.effect.step,
            block=self.effect.block,
            state=_STATES[passed],
            started_at=0.0,
            detail=shown(detail, self.mask, DETAIL_LIMIT),
            output=self.output.text(),
            who=self.effect.who,
        )

    @property
    def parameter(self) -> tuple[str, str] | None:
        """The parameter that it gives to later blocks."""
        if self.block.as_ is None or self.captured is None:
            return None
        return self.block.as_, self.captured.text().strip()[:CAPTURED_LIMIT]


class Blocks:
    """Executes blocks. `command` carries out `opsdash` lines."""

    def __init__(
        self,
        *,
        workspace: Path,
        command: Command,
        mask: Callable[[str], str],
    ) -> None:
        self._workspace = workspace
        self._command = command
        self.mask = mask

    async def execute(self, running: Execution) -> BlockResult:
        """Run a block until it succeeds, fails, or its time is over.

        With `for` it is tried again and again for so long; the last try that came to an end is what counts.
        """
        block = running.block
        program = END_WITHIN if block.language is not Language.OPSDASH else 0.0
        deadline = block.timeout + program if block.for_ is None else block.for_
        passed: bool | None = None
        detail = f"not within {format_duration(block.timeout if block.for_ is None else block.for_)}"
        last: Output | None = None
        try:
            async with asyncio.timeout(deadline):
                while True:
                    passed, detail = await self._once(running)
                    if passed or block.for_ is None:
                        break
                    last = running.output
                    await asyncio.sleep(block.every or DEFAULT_PAUSE)
                    running.output = Output(self.mask)
        except TimeoutError:
            if last is not None:
                running.output = last
        return running.result(passed, detail)

    async def _once(self, running: Execution) -> tuple[bool | None, str]:
        if running.block.language is Language.OPSDASH:
            return await self._commands(running)
        return await self._program(running)

    async def _commands(self, running: Execution) -> tuple[bool | None, str]:
        """Line by line up to the first that did not work. What is only to be shown is shown to its end."""
        for command in running.block.commands:
            passed, text = await self._command(command.argv, running.effect.who)
            running.output.feed(1, f"{' '.join(command.argv)}: {text}\n".encode())
            if passed is not True and running.block.role is not Role.SHOW:
                return passed, text
        return True, ""

    async def _program(self, running: Execution) -> tuple[bool | None, str]:
        block, effect = running.block, running.effect
        variables = {
            "OPSDASH_WORKSPACE": str(self._workspace),
            "OPSDASH_RUN": effect.run,
            "OPSDASH_COMPONENT": effect.component,
            **running.variables,
        }
        argv, payload = _line(block, variables)
        folder = self._workspace / block.cwd if block.cwd and block.host is None else self._workspace
        missing = await why_missing(argv[0], folder, shown=block.cwd or "")
        if missing:
            return False, f"could not be started: {missing}"
        running.captured = Output(self.mask) if block.as_ is not None else None
        program = GatedProgram(running.output, running.captured, payload, running.up or begin_at_once)
        if running.up is None:
            running.released.set()
        opening = asyncio.ensure_future(_open_when_released(running, program))
        try:
            ended = await run_program(
                program.behind(argv),
                cwd=folder,
                env={} if block.host is not None else variables,
                timeout=block.timeout,
                watch=program,
            )
        finally:
            opening.cancel()
            program.close()
            for output in (running.output, running.captured):
                if output is not None:
                    output.finish()
            running.up = None
        if not program.begun:
            return False, f"nothing was executed: {ended.problem or 'its beginning could not be recorded in time'}"
        return _verdict(block, ended, running.output), _detail(block, ended, running.output)


async def _open_when_released(running: Execution, program: GatedProgram) -> None:
    await running.released.wait()
    await program.open_gate()


def _line(block: Block, variables: Mapping[str, str]) -> tuple[list[str], bytes]:
    """The program with its arguments, and what it reads on its input."""
    argv = {
        Language.SH: ["/bin/sh", "-eu", "-c", block.code],
        Language.BASH: ["bash", "-eu", "-o", "pipefail", "-c", block.code],
        Language.PYTHON: ["python3", "-c", block.code],
    }[block.language]
    if block.host is None:
        return argv, b""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    if block.cwd:
        lines.append(f"cd -- {shlex.quote(block.cwd)} || exit 126")
    lines.append(f"exec {shlex.join(argv)} </dev/null")
    return [*SSH, "--", block.host, "/bin/sh -s"], ("\n".join(lines) + "\n").encode()


def _verdict(block: Block, ended: Finished, output: Output) -> bool | None:
    if not ended.started:
        return False
    if ended.timed_out or ended.exit_code is None or _ssh_broke(block, ended):
        return None
    return ended.exit_code == block.rc and _matches(block, output)


def _ssh_broke(block: Block, ended: Finished) -> bool:
    return block.host is not None and ended.exit_code == SSH_BROKE


def _matches(block: Block, output: Output) -> bool:
    return block.expect is None or any(
        re.search(block.expect, text, re.MULTILINE) is not None for text in (output.raw(), output.text())
    )


def _detail(block: Block, ended: Finished, output: Output) -> str:
    if not ended.started:
        return f"could not be started: {ended.problem}"
    if ended.timed_out:
        there = f"; what it began on {block.host} may go on" if block.host else ""
        return f"still running after {block.timeout:.0f} s, ended{there}"
    if ended.exit_code is None:
        return f"ended by signal {ended.signal}"
    if _ssh_broke(block, ended):
        return f"{block.host} could not be reached, or the connection broke; look there by hand what it did"
    left = "; processes of its own go on running" if ended.leftover else ""
    if ended.exit_code != block.rc:
        return f"exit status {ended.exit_code}, expected {block.rc}{left}"
    if not _matches(block, output):
        return f"the output does not match {block.expect!r}{left}"
    return left.removeprefix("; ")
