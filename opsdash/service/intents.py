"""Intents as they come over the wire: a name and arguments, checked before they reach the engine."""

from __future__ import annotations

import math
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from opsdash.model import inputs as i
from opsdash.model.runbook import Language
from opsdash.model.switch import Refused, SwitchKind
from opsdash.model.text import clean, clean_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opsdash.engine.engine import Engine
    from opsdash.model.runbook import Block

TEXT_LIMIT = 2000
"""Characters of a text that a person may send."""

NOTE_LIMIT = 16_000
SEVERAL_LINES = frozenset({("note", "text"), ("edit_entry", "text"), ("offer_handover", "text")})
"""Intents and their arguments that may be a longer text of several lines."""

LARGEST = 253_402_300_799.0
"""Numbers beyond this are no time (the year 9999), no duration and no position."""

MEANINGLESS = frozenset({"unknown_intent", "arguments"})
"""Rules by which a request is refused that makes no sense, whatever the state of the operation."""

KINDS: dict[str, type] = {
    "undo": i.UndoIntent,
    "settle": i.SettleIntent,
    "take_over": i.TakeOverIntent,
    "abort": i.AbortIntent,
    "lift_blockade": i.LiftBlockadeIntent,
    "resume_auto": i.ResumeAutoIntent,
    "ack": i.AckIntent,
    "note": i.NoteIntent,
    "edit_entry": i.EditEntryIntent,
    "resolve": i.ResolveIntent,
    "cancel_incident": i.CancelIncidentIntent,
    "reopen": i.ReopenIntent,
    "rate": i.RateIntent,
    "incident_time": i.TimeIntent,
    "role": i.RoleIntent,
    "offer_handover": i.OfferHandoverIntent,
    "accept_handover": i.AcceptHandoverIntent,
    "mark": i.MarkIntent,
    "open_incident": i.OpenIncidentIntent,
    "pause": i.PauseIntent,
    "resume": i.ResumeIntent,
    "maintenance": i.MaintenanceIntent,
    "end_maintenance": i.EndMaintenanceIntent,
    "test_alarm": i.AlarmTestIntent,
    "tell": i.TellIntent,
    "poll": i.PollIntent,
    "away": i.AwayIntent,
    "tick": i.TickIntent,
    "mark_step": i.MarkStepIntent,
    "end_run": i.EndRunIntent,
}
SWITCHES = frozenset(kind.value for kind in SwitchKind)
NAMES = frozenset({*KINDS, *SWITCHES, "open_run", "run_block"})


def parse(engine: Engine, name: str, arguments: Mapping[str, Any]) -> i.Intent | Refused:
    """The intent that is meant, or why it makes no sense."""
    try:
        given = {key: _cleaned(value, lines=(name, key) in SEVERAL_LINES) for key, value in arguments.items()}
    except (ValueError, RecursionError) as error:
        return Refused("arguments", f"an argument is {error}" if isinstance(error, ValueError) else "too deep")
    if name in SWITCHES:
        switch: i.Intent | Refused = _build(i.SwitchIntent, {**given, "kind": name})
        return switch
    if name == "open_run":
        return _open_run(engine, given)
    if name == "run_block":
        return _run_block(engine, given)
    if name in ("tick", "mark_step"):
        return _of_a_step(engine, KINDS[name], given)
    kind = KINDS.get(name)
    if kind is None:
        return Refused("unknown_intent", f"there is no intent {name!r}; there are: {', '.join(sorted(NAMES))}")
    intent: i.Intent | Refused = _build(kind, given)
    return intent


def _cleaned(value: Any, *, lines: bool = False) -> Any:
    if isinstance(value, str):
        return clean_lines(value, NOTE_LIMIT) if lines else clean(value, TEXT_LIMIT)
    if isinstance(value, list):
        return [_cleaned(each) for each in value]
    if isinstance(value, int | float) and not (math.isfinite(value) and abs(value) <= LARGEST):
        raise ValueError("a number out of all range")
    return value


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _build(kind: type, arguments: Mapping[str, Any]) -> Any:
    known = {field.name for field in fields(kind)}
    unknown = sorted(arguments.keys() - known)
    if unknown:
        names = ", ".join(clean(name, 40) for name in unknown)
        return Refused("arguments", f"it takes no {names}; it takes {', '.join(sorted(known))}")
    try:
        return _adapter(kind).validate_python(dict(arguments))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return Refused("arguments", f"{where}: {first['msg']}")


def _open_run(engine: Engine, arguments: Mapping[str, Any]) -> i.OpenRunIntent | Refused:
    runbook = engine.loaded.runbooks.get(str(arguments.get("runbook")))
    if runbook is None:
        return Refused("unknown_runbook", f"there is no runbook {arguments.get('runbook')!r}")
    component = str(arguments.get("component") or runbook.component or "")
    if component not in engine.loaded.operation.components:
        return Refused("unknown_component", f"there is no component {component!r}")
    return i.OpenRunIntent(runbook.id, component, runbook.sha256)


def _of_a_step(engine: Engine, kind: type, arguments: Mapping[str, Any]) -> i.Intent | Refused:
    """A tick or a mark, of a step that the runbook has."""
    intent: i.TickIntent | i.MarkStepIntent | Refused = _build(kind, arguments)
    if isinstance(intent, Refused):
        return intent
    run = engine.runner.world.get("runs", intent.run)
    runbook = engine.loaded.runbooks.get(run.runbook) if run is not None else None
    step = runbook.step(intent.step) if runbook is not None else None
    if run is not None and step is None:
        return Refused("unknown_step", f"the runbook has no step {intent.step!r}; open it again")
    if isinstance(intent, i.TickIntent) and step is not None and not 0 <= intent.tick < len(step.ticks):
        return Refused("unknown_step", f"the step has {len(step.ticks)} ticks; there is no number {intent.tick}")
    return intent


def _run_block(engine: Engine, arguments: Mapping[str, Any]) -> i.RunBlockIntent | Refused:
    run = engine.runner.world.get("runs", str(arguments.get("run")))
    if run is None:
        return Refused("unknown_run", f"there is no open run {arguments.get('run')!r}; open the runbook again")
    runbook = engine.loaded.runbooks.get(run.runbook)
    step = runbook.step(str(arguments.get("step"))) if runbook else None
    index = arguments.get("block")
    if runbook is None or step is None or not isinstance(index, int) or not 0 <= index < len(step.blocks):
        return Refused("unknown_block", "the runbook no longer has this block; open it again")
    if not runbook.executable:
        return Refused(
            "not_executable", f"{runbook.path} has a problem that switches its execution off; see `runbook lint`"
        )
    if runbook.sha256 != run.sha256:
        return Refused("changed", "the runbook was edited since this run began; close the run and open it again")
    block = step.blocks[index]
    if (block.danger or step.danger) and arguments.get("typed") != run.component:
        return Refused("typed", f"this step is dangerous: the component's name has to be typed: {run.component}")
    return i.RunBlockIntent(run.id, step.id, index, _text(block))


def _text(block: Block) -> str:
    if block.language is Language.OPSDASH:
        return "; ".join(" ".join(command.argv) for command in block.commands)
    return block.code.strip()
