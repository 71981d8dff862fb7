"""Executing a block of a runbook: a program of its own, or commands of opsdash on the same audited path as a key."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import TYPE_CHECKING

from opsdash.engine.poller import shown
from opsdash.kinds.processes import run_program
from opsdash.model.run import BlockResult, BlockState
from opsdash.model.runbook import Language, Role
from opsdash.model.text import clean
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from opsdash.kinds.processes import Finished
    from opsdash.model.effects import RunBlock
    from opsdash.model.runbook import Block

OUTPUT_LIMIT = 16 * 1024
DETAIL_LIMIT = 300
DEFAULT_PAUSE = 2.0

END_WITHIN = 5.0
"""Seconds after its own time limit in which a program is ended and what it said is read."""

Command = Callable[[tuple[str, ...], str], Awaitable[tuple[bool | None, str]]]
"""Carries out one `opsdash` command for somebody; answers whether it worked (None: unknown) and what it said."""


class Blocks:
    """Executes blocks. `command` carries out `opsdash` lines; programs find `parameters` in their environment."""

    def __init__(
        self,
        *,
        workspace: Path,
        command: Command,
        mask: Callable[[str], str],
        parameters: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._workspace = workspace
        self._command = command
        self.mask = mask
        self._parameters = parameters

    async def execute(self, effect: RunBlock, block: Block) -> BlockResult:
        """Run a block until it succeeds, fails, or its time is over.

        With `for` it is tried again and again for so long; the last try that came to an end is what counts.
        """
        program = END_WITHIN if block.language is not Language.OPSDASH else 0.0
        deadline = block.timeout + program if block.for_ is None else block.for_
        passed: bool | None = None
        output = ""
        detail = f"not within {format_duration(block.timeout if block.for_ is None else block.for_)}"
        try:
            async with asyncio.timeout(deadline):
                while True:
                    passed, output, detail = await self._once(effect, block)
                    if passed or block.for_ is None:
                        break
                    await asyncio.sleep(block.every or DEFAULT_PAUSE)
        except TimeoutError:
            pass
        states = {True: BlockState.PASSED, False: BlockState.FAILED, None: BlockState.UNKNOWN}
        return BlockResult(
            step=effect.step,
            block=effect.block,
            state=states[passed],
            started_at=0.0,
            detail=shown(detail, self.mask, DETAIL_LIMIT),
            output=self.mask(clean_lines(self.mask(output))),
            who=effect.who,
        )

    async def _once(self, effect: RunBlock, block: Block) -> tuple[bool | None, str, str]:
        if block.language is Language.OPSDASH:
            return await self._commands(effect, block)
        return await self._program(effect, block)

    async def _commands(self, effect: RunBlock, block: Block) -> tuple[bool | None, str, str]:
        """Line by line up to the first that did not work. What is only to be shown is shown to its end."""
        said: list[str] = []
        for command in block.commands:
            passed, text = await self._command(command.argv, effect.who)
            said.append(f"{' '.join(command.argv)}: {text}")
            if passed is not True and block.role is not Role.SHOW:
                return passed, "\n".join(said), text
        return True, "\n".join(said), ""

    async def _program(self, effect: RunBlock, block: Block) -> tuple[bool | None, str, str]:
        argv = {
            Language.SH: ["/bin/sh", "-eu", "-c", block.code],
            Language.BASH: ["bash", "-eu", "-o", "pipefail", "-c", block.code],
            Language.PYTHON: ["python3", "-c", block.code],
        }[block.language]
        folder = self._workspace / block.cwd if block.cwd else self._workspace
        environment = {
            **self._parameters,
            "OPSDASH_WORKSPACE": str(self._workspace),
            "OPSDASH_RUN": effect.run,
            "OPSDASH_COMPONENT": effect.component,
        }
        ended = await run_program(argv, cwd=folder, env=environment, timeout=block.timeout)
        output = ended.stdout + (f"\n{ended.stderr}" if ended.stderr else "")
        return _verdict(block, ended, output), output, _detail(block, ended, output)


def _verdict(block: Block, ended: Finished, output: str) -> bool | None:
    if not ended.started:
        return False
    if ended.timed_out or ended.exit_code is None:
        return None
    return ended.exit_code == block.rc and _matches(block, output)


def _matches(block: Block, output: str) -> bool:
    return block.expect is None or re.search(block.expect, output, re.MULTILINE) is not None


def _detail(block: Block, ended: Finished, output: str) -> str:
    if not ended.started:
        return f"could not be started: {ended.problem}"
    if ended.timed_out:
        return f"still running after {block.timeout:.0f} s, ended"
    if ended.exit_code is None:
        return f"ended by signal {ended.signal}"
    if ended.exit_code != block.rc:
        return f"exit status {ended.exit_code}, expected {block.rc}"
    if not _matches(block, output):
        return f"the output does not match {block.expect!r}"
    return ""


def clean_lines(text: str) -> str:
    """Output of several lines, each cleaned, capped as a whole."""
    lines = text[:OUTPUT_LIMIT].splitlines()
    return "\n".join(clean(line, 1000) for line in lines).strip("\n")
