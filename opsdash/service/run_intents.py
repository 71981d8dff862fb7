"""Intents about runs as they come over the wire: what they say of steps, blocks and texts is looked up here.

The core knows no runbooks, only runs; so what it has to know of a text (which blocks there are, what they need, what
comes next) goes along with the intent. Whatever is given by the client is compared with what the engine has.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from opsdash.core.chains import block_ref, chain, checks_of
from opsdash.core.runs import open_run_of
from opsdash.engine.runviews import branch
from opsdash.model import inputs as i
from opsdash.model.run import END, RunMode
from opsdash.model.switch import Refused
from opsdash.model.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opsdash.engine.engine import Engine
    from opsdash.engine.running import Standing
    from opsdash.model.run import BlockRef, Run
    from opsdash.model.runbook import Runbook, Step

LONGEST_VALUE = 1000
"""Characters of a parameter's value."""

Arguments = dict[str, Any]


def open_run(engine: Engine, given: Arguments) -> i.OpenRunIntent | Refused:
    """Begin to follow a runbook, or go on."""
    runbook = engine.loaded.runbooks.get(str(given.get("runbook")))
    if runbook is None:
        return Refused("unknown_runbook", f"there is no runbook {given.get('runbook')!r}")
    component = str(given.get("component") or runbook.component or engine.runs.component_of(runbook.id))
    if component not in engine.loaded.operation.components:
        return Refused("unknown_component", f"there is no component {component!r}")
    try:
        mode = RunMode(str(given.get("mode") or RunMode.STEP.value))
    except ValueError:
        return Refused("arguments", f"mode is one of {', '.join(each.value for each in RunMode)}")
    run = open_run_of(engine.viewer().draft, runbook.id, component, mode)
    standing = None if run is None else engine.runs.standing(run)
    checks: tuple[BlockRef, ...] = ()
    if standing is not None and run is not None and _hindrance(engine, run, standing) is None:
        checks = checks_of(standing.runbook, run)
    return i.OpenRunIntent(runbook.id, component, runbook.sha256, runbook.pins, mode, checks, runbook.titles)


def _standing(engine: Engine, given: Arguments) -> tuple[Run, Standing] | Refused:
    """The open run that is meant, and the text by which it goes."""
    run: Run | None = engine.runner.world.get("runs", str(given.get("run")))
    if run is None:
        return Refused("unknown_run", f"there is no open run {given.get('run')!r}; open the runbook again")
    standing = engine.runs.standing(run)
    if standing is None:
        return Refused("unknown_runbook", f"the text of {run.id} is not known any more; close the run")
    return run, standing


def _hindrance(engine: Engine, run: Run, standing: Standing) -> Refused | None:
    return engine.runs.hindrance(run, standing.runbook, changed=standing.changed)


def tick(engine: Engine, given: Arguments, build: Callable[..., Any]) -> i.TickIntent | Refused:
    """A tick, of a step that the runbook has."""
    intent: i.TickIntent | Refused = build(i.TickIntent, given)
    if isinstance(intent, Refused):
        return intent
    found = _standing(engine, given)
    if isinstance(found, Refused):
        return found
    step = found[1].runbook.step(intent.step)
    if step is None:
        return _no_step(intent.step)
    if not 0 <= intent.tick < len(step.ticks):
        return Refused("unknown_step", f"the step has {len(step.ticks)} ticks; there is no number {intent.tick}")
    return intent


def _no_step(step: str) -> Refused:
    return Refused("unknown_step", f"the runbook has no step {step!r}; open it again")


def mark_step(engine: Engine, given: Arguments, build: Callable[..., Any]) -> i.MarkStepIntent | Refused:
    """A mark, of a step that the runbook has. One that failed, or is done, leads to the step that it names for that."""
    intent: i.MarkStepIntent | Refused = build(i.MarkStepIntent, given)
    if isinstance(intent, Refused):
        return intent
    found = _standing(engine, given)
    if isinstance(found, Refused):
        return found
    runbook = found[1].runbook
    step = runbook.step(intent.step)
    if step is None:
        return _no_step(intent.step)
    goto = intent.goto or _goto(engine, runbook, step, intent.mark)
    return i.MarkStepIntent(intent.run, intent.step, intent.mark, goto)


def _goto(engine: Engine, runbook: Runbook, step: Step, mark: str) -> str:
    """The step of this runbook that comes next, where that is not the one after it."""
    if mark == "done" and step.then == "":
        return END
    target = {"done": step.then, "failed": step.if_fails}.get(mark)
    leads = branch(runbook, target, engine.loaded.runbooks)
    return leads[1] if leads is not None and leads[0] == runbook.id else ""


def run_block(engine: Engine, given: Arguments) -> i.RunBlockIntent | Refused:
    """Execute a block that the runbook has, as it stands there."""
    found = _standing(engine, given)
    if isinstance(found, Refused):
        return found
    run, standing = found
    step = standing.runbook.step(str(given.get("step")))
    index = given.get("block")
    if step is None or not isinstance(index, int) or not 0 <= index < len(step.blocks):
        return Refused("unknown_block", "the runbook no longer has this block; open it again")
    refused = _hindrance(engine, run, standing)
    if refused is not None:
        return refused
    ref = block_ref(standing.runbook, run, step, index)
    return i.RunBlockIntent(
        run.id, ref.step, ref.block, ref.text, ref.role, danger=ref.danger, once=ref.once, asks=ref.asks,
        typed=str(given.get("typed") or ""),
    )  # fmt: skip


def run_checks(engine: Engine, given: Arguments) -> i.RunChecksIntent | Refused:
    """Execute the checks that come next."""
    found = _standing(engine, given)
    if isinstance(found, Refused):
        return found
    run, standing = found
    refused = _hindrance(engine, run, standing)
    if refused is not None:
        return refused
    refs, stop = chain(standing.runbook, run)
    return i.RunChecksIntent(run.id, refs, stop)


def accept_run(engine: Engine, given: Arguments) -> i.AcceptRunIntent | Refused:
    """Go on by the text that the file has now, if it is the one that was shown."""
    found = _standing(engine, given)
    if isinstance(found, Refused):
        return found
    run, standing = found
    runbook = engine.loaded.runbooks.get(run.runbook)
    if runbook is None or not standing.changed:
        return Refused("same", f"{run.id} goes by the text that there is")
    if given.get("sha256") not in (None, runbook.sha256):
        return Refused("changed", "the file has been edited once more; look at the difference again")
    return i.AcceptRunIntent(run.id, runbook.sha256, runbook.pins, runbook.titles)


def approve_runbook(engine: Engine, given: Arguments) -> i.ApproveRunbookIntent | Refused:
    """Allow a runbook to be executed, as it was shown."""
    name = str(given.get("runbook"))
    runbook = engine.loaded.runbooks.get(name)
    if runbook is None:
        return Refused("unknown_runbook", f"there is no runbook {name!r}")
    wanted = str(given.get("sha256") or runbook.sha256)
    text = engine.runs.text(name, wanted)
    if text is None:
        return Refused("changed", f"{runbook.path} has been edited since it was shown; read it again")
    if not text.executable:
        reason = f"{runbook.path} has a problem that switches its execution off; see `opsdash runbook lint`"
        return Refused("not_executable", reason)
    return i.ApproveRunbookIntent(name, wanted)


def set_parameter(engine: Engine, given: Arguments, raw: Mapping[str, Any]) -> i.SetParameterIntent | Refused:
    """Give a parameter a value that it may have."""
    found = _standing(engine, given)
    if isinstance(found, Refused):
        return found
    run, standing = found
    name, value = str(given.get("name")), raw.get("value")
    if not isinstance(value, str):
        return Refused("arguments", "value is a text")
    problem = _value_problem(standing.runbook, name, value)
    return i.SetParameterIntent(run.id, name, value) if problem is None else problem


def _value_problem(runbook: Runbook, name: str, value: str) -> Refused | None:
    param = next((each for each in runbook.params if each.name == name), None)
    if param is None and name not in runbook.captures:
        known = ", ".join([each.name for each in runbook.params if each.secret is None]) or "none"
        return Refused("parameter", f"the runbook has no parameter {name!r}; there are: {known}")
    if param is not None and param.secret is not None:
        return Refused("parameter", f"{name} is a secret: it comes from {param.secret}, and is never typed in")
    if len(value) > LONGEST_VALUE:
        return Refused("parameter", f"{name} has {len(value)} characters; it may have {LONGEST_VALUE}")
    if clean(value, LONGEST_VALUE) != value:
        return Refused("parameter", f"{name} contains an invisible or control character")
    if param is not None and param.pattern is not None and re.fullmatch(param.pattern, value) is None:
        return Refused("parameter", f"{name} has to match {param.pattern}")
    return None
