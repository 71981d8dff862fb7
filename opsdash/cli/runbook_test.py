"""`opsdash runbook test`: the checks of runbooks, executed all year, so that they work on the day.

Only `{check}` blocks are executed, never `{run}`, `{undo}` or `{show}`: a test changes nothing, and can be a part of
CI or of a nightly job. Programs run in this process's own children, with their time limits; lines of `opsdash` blocks
are measured by the engine if one runs, since it knows the environment, else in here. Nobody is asked anything: what a
parameter is comes from `--param`, the environment or its default.

What passes today says nothing about the failure for which the runbook was written. But a check that cannot even be
executed, because a program is missing or a name was changed, is found in peace.
"""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass, replace
from itertools import starmap
from typing import TYPE_CHECKING, TypedDict

from opsdash.cli import exits
from opsdash.cli.base import UsageError, unknown_runbook, with_files_or_engine, workspace_of
from opsdash.cli.terminal import Painted, Role, dim, out, out_json, say, sign
from opsdash.model.runbook import Role as BlockRole
from opsdash.storage.trust import Trust

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from opsdash.config.loader import Loaded
    from opsdash.engine.blocks import Command
    from opsdash.model.runbook import Block, Param, Runbook, Step
    from opsdash.service.client import EngineSession

AT_ONCE = 8
"""Runbooks that are tested at the same time; the checks of one come after each other."""

PASSED = "passed"
NOT_PASSED = "did not pass"
NOT_TOLD = "could not tell"
SIGNS: dict[str, Painted] = {
    PASSED: Painted("✓ passed", Role.OK),
    NOT_PASSED: Painted("✗ DID NOT PASS", Role.DOWN),
    NOT_TOLD: Painted("? could not tell", Role.UNKNOWN),
}
CODES = {PASSED: exits.OK, NOT_PASSED: exits.NOT_OK, NOT_TOLD: exits.NOT_KNOWN}


class Tested(TypedDict):
    """What became of one check. line: of its block in the file; result: passed | did not pass | could not tell."""

    component: str | None
    runbook: str
    file: str
    line: int
    step: str
    result: str
    detail: str
    output: str


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `opsdash runbook test`."""
    parser.add_argument("runbooks", nargs="*", metavar="RUNBOOK", help="default: all of them")
    parser.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="the value of a parameter of the runbooks"
    )
    parser.add_argument(
        "--once", action="store_true", help="try each check once, also one that may be repeated until it passes"
    )


def run(arguments: argparse.Namespace) -> int:
    """Test them. 0: all passed, 1: one did not pass, 3: nothing failed, but of one nobody can tell."""
    given = _given(arguments.param)

    async def ask_engine(session: EngineSession) -> list[Tested]:
        return await _test(workspace_of(arguments), arguments, given, _measured_by(session))

    def ask_files(workspace: Path) -> list[Tested]:
        return asyncio.run(_test(workspace, arguments, given, None))

    found = with_files_or_engine(arguments, ask_engine, ask_files)
    worst = next((word for word in (NOT_PASSED, NOT_TOLD) if any(each["result"] == word for each in found)), PASSED)
    if arguments.json:
        out_json({"component": None, "status": worst, "reason": _summary(found), "checks": found})
    else:
        _text(found)
    return CODES[worst]


def may_execute(runbook: Runbook, trust: Trust) -> str:
    """Why the blocks of a runbook may not be executed; "" when they may."""
    if not runbook.executable:
        return f"the runbook has errors: see `opsdash runbook lint {runbook.id}`"
    if trust.trusts(runbook.id, runbook.sha256):
        return ""
    return f"nobody has approved it as it is now: `opsdash runbook approve {runbook.id}` shows what it would execute"


# --- testing -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Values:
    """Values of a runbook's parameters, and why the others have none."""

    known: Mapping[str, str]
    missing: Mapping[str, str]


NO_VALUES = _Values({}, {})


async def _test(
    workspace: Path, arguments: argparse.Namespace, given: Mapping[str, str], command: Command | None
) -> list[Tested]:
    from opsdash.cli.offline import read_files

    loaded = await asyncio.to_thread(read_files, workspace)
    for name in arguments.runbooks:
        if name not in loaded.runbooks:
            raise unknown_runbook(name, loaded.runbooks)
    chosen = [loaded.runbooks[name] for name in dict.fromkeys(arguments.runbooks or sorted(loaded.runbooks))]
    _check_given(given, chosen)
    places, trust = asyncio.Semaphore(AT_ONCE), Trust.of(loaded.environment, loaded.workspace)
    await asyncio.to_thread(trust.load)

    async def one(runbook: Runbook) -> list[Tested]:
        async with places:
            hindrance = may_execute(runbook, trust)
            values = await asyncio.to_thread(_values, loaded, runbook.params, given) if not hindrance else NO_VALUES
            tester = _Tester(loaded, runbook, values, command or _measured_here(loaded))
            return await tester.test(hindrance, once=arguments.once)

    return [tested for each in await asyncio.gather(*map(one, chosen)) for tested in each]


@dataclass(frozen=True, slots=True)
class _Tester:
    """One runbook, with the values of its parameters; `command` measures checks of opsdash."""

    loaded: Loaded
    runbook: Runbook
    values: _Values
    command: Command

    async def test(self, hindrance: str, *, once: bool) -> list[Tested]:
        """Each check, one after the other, with what those before it have kept. hindrance: why none may be executed."""
        found = []
        kept: dict[str, str] = {}
        for step in self.runbook.steps:
            for number, block in enumerate(step.blocks):
                if block.role is BlockRole.CHECK:
                    tried = replace(block, for_=None, every=None) if once else block
                    found.append(await self._check(step, number, tried, hindrance, kept))
        return found

    async def _check(self, step: Step, number: int, block: Block, hindrance: str, kept: dict[str, str]) -> Tested:
        from opsdash.engine.blocks import Blocks, Execution
        from opsdash.model.effects import RunBlock
        from opsdash.model.run import BlockState

        runbook = self.runbook
        result, detail, output = NOT_TOLD, hindrance or self._hindrance(block, kept), ""
        if not detail:
            mask = self.loaded.secrets.mask
            workspace, known = self.loaded.workspace, {**self.values.known, **kept}
            blocks = Blocks(workspace=workspace, command=self.command, mask=mask)
            effect = RunBlock("test", runbook.id, runbook.component or "", step.id, number, "")
            execution = Execution(effect, block, mask, known)
            done = await blocks.execute(execution)
            result = {BlockState.PASSED: PASSED, BlockState.FAILED: NOT_PASSED}.get(done.state, NOT_TOLD)
            detail, output = done.detail, done.output
            if done.state is BlockState.PASSED and execution.parameter is not None:
                kept.update([execution.parameter])
        return {
            "component": runbook.component,
            "runbook": runbook.id,
            "file": runbook.path,
            "line": block.line,
            "step": step.title,
            "result": result,
            "detail": detail,
            "output": output,
        }

    def _hindrance(self, block: Block, kept: Mapping[str, str]) -> str:
        """Why a block cannot be executed here and now; "" when it can."""
        from opsdash.model.runbook import used_names

        used = used_names(block)
        missing = sorted(used & self.values.missing.keys())
        if missing:
            return self.values.missing[missing[0]]
        unkept = sorted((used & self.runbook.captures) - kept.keys())
        why = "which an earlier block keeps that has not passed, or that no test executes"
        return f"it needs {unkept[0]}, {why}" if unkept else ""


def _measured_by(session: EngineSession) -> Command:
    """`check` lines, measured by an engine."""

    async def measure(argv: tuple[str, ...], _who: str) -> tuple[bool | None, str]:
        from opsdash.service.session import SessionError

        try:
            seen = await session.observe(argv[1])
        except SessionError as error:
            return None, str(error)
        return _verdict(seen["raw_status"], seen["raw_detail"])

    return measure


def _measured_here(loaded: Loaded) -> Command:
    """`check` lines, measured in this process."""

    async def measure(argv: tuple[str, ...], _who: str) -> tuple[bool | None, str]:
        from opsdash.cli.oneshot import run_checks

        if argv[1] not in loaded.bindings:
            return False, f"there is no check {argv[1]}"
        results = await run_checks(loaded.workspace, loaded, [argv[1]])
        if not results:
            return None, f"{argv[1]} sends nothing: it waits for a report, which only an engine receives"
        return _verdict(results[0].verdict.status.value, results[0].detail)

    return measure


def _verdict(status: str, detail: str) -> tuple[bool | None, str]:
    verdicts: Mapping[str, bool | None] = {"ok": True, "degraded": True, "down": False}
    return verdicts.get(status), f"{status}, {detail}" if detail else status


# --- parameters --------------------------------------------------------------------------------------------------


def _given(words: Iterable[str]) -> dict[str, str]:
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError(f"--param {word!r} is no NAME=VALUE")
        found[name] = value
    return found


def _check_given(given: Mapping[str, str], runbooks: Sequence[Runbook]) -> None:
    known = {param.name for runbook in runbooks for param in runbook.params}
    for name in given:
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise UsageError(f"no runbook that is tested has a parameter {name!r}; there are: {listed}")


def _values(loaded: Loaded, params: Sequence[Param], given: Mapping[str, str]) -> _Values:
    """Reads secrets, so it belongs into a thread."""
    known: dict[str, str] = {}
    missing: dict[str, str] = {}
    for param, value in ((param, _value(loaded, param, given)) for param in params):
        if value is None:
            missing[param.name] = f"the parameter {param.name} has no value; give it one with --param {param.name}=…"
        elif param.pattern is not None and not _matches(param.pattern, value):
            shown = "its value" if param.secret else repr(value)
            missing[param.name] = f"the parameter {param.name} must look like {param.pattern}, and {shown} does not"
        else:
            known[param.name] = value
    return _Values(known, missing)


def _value(loaded: Loaded, param: Param, given: Mapping[str, str]) -> str | None:
    value = given.get(param.name, os.environ.get(param.name, param.default))
    if value is None and param.secret is not None:
        from opsdash.config.secrets import ReferenceProblem

        try:
            value = str(loaded.resolve({"value": param.reference})["value"])
        except ReferenceProblem:
            return None
    if value is not None and param.secret is not None:
        loaded.secrets.add(value)
    return value


def _matches(pattern: str, value: str) -> bool:
    try:
        return re.fullmatch(pattern, value) is not None
    except re.error:
        return False


# --- showing -----------------------------------------------------------------------------------------------------


def _summary(found: Sequence[Tested]) -> str:
    counts = [(sum(each["result"] == word for each in found), word) for word in (PASSED, NOT_PASSED, NOT_TOLD)]
    runbooks = len({each["runbook"] for each in found})
    told = ", ".join(starmap("{} {}".format, (pair for pair in counts if pair[0])))
    return f"{len(found)} checks of {runbooks} runbooks: {told}" if found else "no runbook has a check"


def _text(found: Sequence[Tested]) -> None:
    for each in found:
        detail = f": {each['detail']}" if each["detail"] else ""
        out(sign(SIGNS, each["result"]), "  ", f"{each['file']}:{each['line']}  ", dim(each["step"]), detail)
        if each["result"] != PASSED:
            for line in each["output"].splitlines():
                out("       │ ", line)
    say(_summary(found))
